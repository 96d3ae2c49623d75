"""Training: what a run leaves behind, and that nothing of it is lost."""

import dataclasses
import json

import pytest
import torch
from accelerate.utils import set_seed
from conftest import TINY_RECIPE, break_the_loss
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from motionpatches import MotionPatchesModel, make_motions
from motionpatches.loss_motionpatches import SymmetricCrossEntropy
from motionpatches.processing.corpora import to_dataset
from motionpatches.training import loop
from motionpatches.training.builder import build_model, build_processor
from motionpatches.training.data import BrokenSampleError
from motionpatches.training.loop import train
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


def interrupt_in_step(monkeypatch, number):
    """Press Ctrl-C in the middle of a step of a run, counted from 1."""
    original, calls = loop.backward, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(loop, "backward", interrupted)


def test_resume_gives_the_weights_of_an_uninterrupted_run(tiny_recipe, tiny_data, trained_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        interrupt_in_step(patched, 5)  # the second of the second epoch
        with pytest.raises(KeyboardInterrupt):
            train(tiny_recipe, tiny_data, run)
    assert len((run / "history.jsonl").read_text().splitlines()) == 1
    assert isinstance(AutoModel.from_pretrained(run / "last"), MotionPatchesModel)  # usable as it is
    results = train(tiny_recipe, tiny_data, run, resume=True)
    assert results["epochs"] == 3
    for name, tensor in weights(trained_run).items():
        assert torch.equal(tensor, weights(run)[name]), name


def test_a_run_interrupted_before_it_was_saved_can_be_started_again(tiny_recipe, tiny_data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        interrupt_in_step(patched, 2)
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
    with pytest.raises(FileNotFoundError, match="holds no run with a saved state to resume"):
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
    for name, tensor in weights(trained_run, "best").items():
        assert torch.equal(tensor, weights(tmp_path / "run")[name])
    before, after = (
        AutoProcessor.from_pretrained(f).feature_extractor for f in (trained_run / "best", tmp_path / "run" / "last")
    )
    assert set(after.statistics) - set(before.statistics) == {"kinect20"}
    assert all(after.statistics[name] == before.statistics[name] for name in before.statistics)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_checkpoint(tiny_data, tmp_path, monkeypatch):
    recipe = parse_recipe("tiny", TINY_RECIPE)
    break_the_loss(monkeypatch, SymmetricCrossEntropy, after=4)  # in the second epoch of three steps
    message = "the loss is nan in epoch 2, step 2. Lower .*The state after step 3 is whole, and so is the checkpoint"
    with pytest.raises(FloatingPointError, match=message):
        train(recipe, tiny_data, tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())


@pytest.mark.parametrize(("save_steps", "broken", "whole"), [(1, 5, 4), (0, 6, 3)])  # within an epoch, and at its end
def test_broken_weights_never_replace_whole_ones(tiny_data, tmp_path, monkeypatch, save_steps, broken, whole):
    recipe = parse_recipe("tiny", {**TINY_RECIPE, "save_steps": save_steps})
    original, calls = loop.backward, []

    def overflow(accelerator, encoder, *arguments):
        loss = original(accelerator, encoder, *arguments)  # is finite, but a gradient is not
        calls.append(1)
        if len(calls) == broken:
            next(encoder.parameters()).grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(loop, "backward", overflow)
    with pytest.raises(
        FloatingPointError, match=rf"no longer finite after step {broken}.*The state after step {whole} is whole"
    ):
        train(recipe, tiny_data, tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())
    monkeypatch.undo()
    assert train(recipe, tiny_data, tmp_path / "run", resume=True)["epochs"] == 3


def test_a_broken_sample_stops_the_run_with_its_name(tiny_data, tmp_path):
    def data_with(joints):
        rows = list(tiny_data["train"])
        rows[5]["joints"] = joints
        return type(tiny_data)({"train": Dataset.from_list(rows, features=tiny_data["train"].features)})

    whole = tiny_data["train"][5]
    broken = data_with([float("nan"), *whole["joints"][1:]])
    with pytest.raises(BrokenSampleError, match=rf"row 5 .*{whole['id']}.*NaN.*Mend that row"):
        train(parse_recipe("tiny", TINY_RECIPE), broken, tmp_path / "new")
    # A run under way, whose data changed: its state stays, and it goes on when the row is mended.
    run = tmp_path / "run"
    train(parse_recipe("tiny", {**TINY_RECIPE, "epochs": 1}), data_with(whole["joints"]), run)
    longer = (run / "recipe.yaml").read_text().replace("epochs: 1", "epochs: 2")
    (run / "recipe.yaml").write_text(longer)
    recipe = parse_recipe("tiny", {**TINY_RECIPE, "epochs": 2})
    with pytest.raises(BrokenSampleError, match=rf"row 5 .*{whole['id']}.*The state after step 3 is whole"):
        train(recipe, broken, run, resume=True)
    assert train(recipe, data_with(whole["joints"]), run, resume=True)["epochs"] == 2


def test_the_average_is_what_is_judged_and_kept(tiny_data, tmp_path):
    recipe = parse_recipe("tiny", {**TINY_RECIPE, "ema_decay": 0.9})
    train(recipe, tiny_data, tmp_path / "run")
    set_seed(recipe.run.seed)
    start = build_model(recipe, build_processor(recipe, tiny_data["train"])).state_dict()
    trained = load_file(tmp_path / "run" / "state" / "model.safetensors")
    behind = moved = 0.0
    for name, kept in weights(tmp_path / "run").items():
        behind += float((kept - trained[f"model.{name}"]).square().sum())
        moved += float((start[name] - trained[f"model.{name}"]).square().sum())
    assert 0 < behind < 0.5 * moved  # between the first weights and the last ones, nearer to the last


@pytest.fixture(scope="module")
def still_loss(still_text_model, tiny_data, tmp_path_factory):
    """Trains an epoch in which nothing is random; the loss, of the plain way at first."""

    def loss(**fields):
        run = tmp_path_factory.mktemp("still") / "run"
        values = {**TINY_RECIPE, "text_name": str(still_text_model), "epochs": 1, **fields}
        return train(parse_recipe("tiny", values), tiny_data, run)["best"]["loss"]

    return loss, loss()


@pytest.mark.parametrize(
    ("fields", "apart"),
    [
        ({"micro_batch_size": 3}, 1e-4),
        ({"gradient_checkpointing": True}, 1e-4),
        ({"compile": "aot_eager"}, 1e-4),
        ({"length_groups": 1}, 1e-4),
        ({"precision": "bf16"}, 2e-2),
    ],
    ids=str,
)
def test_ways_to_compute_the_same(still_loss, fields, apart):
    loss, plain = still_loss
    assert loss(**fields) == pytest.approx(plain, rel=apart)


def test_metrics_lines_tell_how_it_goes(trained_run):
    lines = [json.loads(line) for line in (trained_run / "metrics.jsonl").read_text().splitlines()]
    first = lines[0]
    assert (first["kind"], first["step"], first["epoch"]) == ("train", 1, 1)
    assert {"loss", "lr_motion", "lr_text", "lr_head", "grad_norm", "pairs_per_second"} <= set(first)
    judged = [line for line in lines if line["kind"] == "validation"]
    assert [line["epoch"] for line in judged] == [1, 2, 3]
    assert all(line["mean_recall"] > 0 for line in judged)


def test_the_card_states_the_validation(trained_run):
    for which in ("last", "best"):
        assert "validation" in (trained_run / which / "README.md").read_text().lower()


def test_tensorboard_gets_the_curves(tiny_data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(parse_recipe("tiny", {**TINY_RECIPE, "epochs": 2, "tracker": "tensorboard"}), tiny_data, tmp_path / "run")
    events = EventAccumulator(str(next((tmp_path / "run").rglob("events.out.*")).parent)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [3, 6]  # steps: three an epoch
    assert {"loss", "mean_recall"} <= set(events.Tags()["scalars"])


def test_data_without_a_train_split(tiny_recipe, tiny_data, tmp_path):
    with pytest.raises(ValueError, match=r"no 'train' split; it has \['test'\]"):
        train(tiny_recipe, type(tiny_data)({"test": tiny_data["test"]}), tmp_path / "run")
    unknown = parse_recipe("tiny", {**TINY_RECIPE, "select_on": ["humanml3d"]})
    with pytest.raises(ValueError, match=r"unknown data sets \['humanml3d'\]"):
        train(unknown, tiny_data, tmp_path / "run2")
