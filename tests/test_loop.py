"""Training: what a run leaves behind, and that nothing of it is lost."""

import dataclasses
import json

import pytest
import torch
from conftest import TINY_RECIPE, break_the_loss
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from motionpatches import MotionPatchesModel, make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training import loop
from motionpatches.training.builder import build_model, build_processor
from motionpatches.training.loop import parameter_groups, train
from motionpatches.training.recipe import load_recipe, parse_recipe


def weights(run, which="last"):
    return load_file(run / which / "model.safetensors")


def test_a_run_leaves_checkpoints_that_load_and_a_results_file(trained_run, tiny_data):
    for which in ("last", "best"):
        model = AutoModel.from_pretrained(trained_run / which)
        processor = AutoProcessor.from_pretrained(trained_run / which)
        inputs = processor(
            motions=tiny_data["test"].with_format("numpy")[0], text=["a person waves"], return_tensors="pt", padding=True
        )
        assert torch.isfinite(model(**inputs).logits_per_motion).all()
        card = (trained_run / which / "README.md").read_text()
        assert "body21 (12 motions), smpl22 (12 motions)" in card
        assert "zero-shot-motion-classification" in card
    results = json.loads((trained_run / "results.json").read_text())
    history = [json.loads(line) for line in (trained_run / "history.jsonl").read_text().splitlines()]
    assert (results["seed"], results["epochs"], len(history)) == (0, 3, 3)
    assert results["best_epoch"] == max(history, key=lambda record: record["mean_recall"])["epoch"]
    assert set(results["versions"]) >= {"motionpatches", "torch", "transformers"}


def test_training_learns(tiny_data, tmp_path):
    recipe = parse_recipe("tiny", {**TINY_RECIPE, "epochs": 15, "lr_motion": 1e-3, "lr_text": 1e-3})
    train(recipe, tiny_data, tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]


def test_the_test_split_plays_no_part(tiny_recipe, tiny_data, trained_run, tmp_path):
    without = {split: rows for split, rows in tiny_data.items() if split != "test"}
    train(tiny_recipe, type(tiny_data)(without), tmp_path / "run")
    for name, tensor in weights(tmp_path / "run").items():
        assert torch.equal(tensor, weights(trained_run)[name])


def test_resume_gives_the_weights_of_an_uninterrupted_run(tiny_recipe, tiny_data, trained_run, tmp_path, monkeypatch):
    run, original = tmp_path / "run", loop._train_epoch

    def stop_in_the_second_epoch(*arguments):
        if arguments[-1] == 1:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(loop, "_train_epoch", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe, tiny_data, run)
    monkeypatch.undo()
    assert len((run / "history.jsonl").read_text().splitlines()) == 1
    assert isinstance(AutoModel.from_pretrained(run / "last"), MotionPatchesModel)  # usable as it is
    results = train(tiny_recipe, tiny_data, run, resume=True)
    assert results["epochs"] == 3
    for name, tensor in weights(trained_run).items():
        assert torch.equal(tensor, weights(run)[name]), name


def test_a_run_interrupted_before_its_first_epoch_can_be_started_again(tiny_recipe, tiny_data, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_recipe, tiny_data, tmp_path / "run")
    short = dataclasses.replace(tiny_recipe, run=dataclasses.replace(tiny_recipe.run, epochs=1))
    assert train(short, tiny_data, tmp_path / "run")["epochs"] == 1


def test_the_saved_recipe_is_a_recipe(trained_run, tiny_recipe):
    assert load_recipe(trained_run / "recipe.yaml").to_dict() == tiny_recipe.to_dict()


def test_a_run_is_not_overwritten_nor_resumed_with_another_recipe(tiny_recipe, tiny_data, trained_run, tmp_path):
    with pytest.raises(FileExistsError, match="already holds a run; go on with it by --resume"):
        train(tiny_recipe, tiny_data, trained_run)
    changed = dataclasses.replace(tiny_recipe, run=dataclasses.replace(tiny_recipe.run, batch_size=4))
    with pytest.raises(ValueError, match="other values of batch_size"):
        train(changed, tiny_data, trained_run, resume=True)
    with pytest.raises(FileNotFoundError, match="holds no run with a finished epoch to resume"):
        train(tiny_recipe, tiny_data, tmp_path / "nothing", resume=True)


def test_fine_tuning_starts_from_the_weights_and_adds_statistics_of_a_new_skeleton(
    tiny_recipe, trained_run, tiny_data, tmp_path
):
    rows = to_dataset(make_motions(8, "kinect20", 5, actions=["wave", "kick"]), "mine")
    rates = {"lr_motion": 0.0, "lr_text": 0.0, "lr_head": 0.0}
    frozen = parse_recipe("tiny", {**TINY_RECIPE, "epochs": 1, "per_skeleton": True, **rates})
    train(frozen, type(tiny_data)({"train": rows}), tmp_path / "run", init_from=str(trained_run / "best"))
    resumed = train(frozen, type(tiny_data)({"train": rows}), tmp_path / "run", resume=True)
    assert resumed["start"].endswith("best")  # where the weights come from is not forgotten
    assert str(trained_run.parent) not in resumed["start"]
    kept = tmp_path / "run" / "state" / "history.json"
    kept.write_text(json.dumps({"epochs": json.loads(kept.read_text())["epochs"]}))  # as an earlier version left it
    assert train(frozen, type(tiny_data)({"train": rows}), tmp_path / "run", resume=True)["start"] is None
    for name, tensor in weights(trained_run, "best").items():
        assert torch.equal(tensor, weights(tmp_path / "run")[name])
    before, after = (
        AutoProcessor.from_pretrained(f).feature_extractor for f in (trained_run / "best", tmp_path / "run" / "last")
    )
    assert set(after.statistics) - set(before.statistics) == {"kinect20"}
    assert all(after.statistics[name] == before.statistics[name] for name in before.statistics)


def test_three_groups_hold_every_trained_parameter_once(tiny_data):
    recipe = parse_recipe(
        "tiny", {**TINY_RECIPE, "lr_motion": 1.0, "lr_text": 2.0, "lr_head": 3.0, "learn_logit_scale": True}
    )
    processor = build_processor(recipe, tiny_data["train"])
    model = build_model(recipe, processor)
    groups = parameter_groups(model, recipe.run)
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rate) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        expected = (
            1.0 if name.startswith(("motion_model.", "motion_norm.")) else 2.0 if name.startswith("text_model.") else 3.0
        )
        assert rate[id(parameter)] == expected, name


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_checkpoint(tiny_data, tmp_path, monkeypatch):
    recipe = parse_recipe("tiny", TINY_RECIPE)
    break_the_loss(monkeypatch, MotionPatchesModel, after=4)  # in the second epoch of three steps
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2, step 2; the checkpoints of the epoch before"):
        train(recipe, tiny_data, tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())


def test_tensorboard_gets_the_curves(tiny_data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(parse_recipe("tiny", {**TINY_RECIPE, "epochs": 2, "tracker": "tensorboard"}), tiny_data, tmp_path / "run")
    events = EventAccumulator(str(next((tmp_path / "run").rglob("events.out.*")).parent)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert {"loss", "mean_recall"} <= set(events.Tags()["scalars"])


def test_data_without_a_train_split(tiny_recipe, tiny_data, tmp_path):
    with pytest.raises(ValueError, match=r"no 'train' split; it has \['test'\]"):
        train(tiny_recipe, type(tiny_data)({"test": tiny_data["test"]}), tmp_path / "run")
    unknown = parse_recipe("tiny", {**TINY_RECIPE, "select_on": ["humanml3d"]})
    with pytest.raises(ValueError, match=r"unknown data sets \['humanml3d'\]"):
        train(unknown, tiny_data, tmp_path / "run2")
