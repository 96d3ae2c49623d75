"""Fine-tuning with labels: what is learned, what is kept, and what the numbers say."""

import json

import numpy as np
import pytest
import torch
from conftest import break_the_loss, run_command
from datasets import ClassLabel, DatasetDict
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, ViTConfig, ViTModel

from motionpatches import (
    AutoModelForMotionClassification,
    MotionPatchesForMotionClassification,
    classification_metrics,
    make_motions,
)
from motionpatches.processing.corpora import to_dataset
from motionpatches.training import classification
from motionpatches.training.augmentation import Augmentation
from motionpatches.training.classification import finetune, parameter_groups
from motionpatches.training.classifier import evaluate_classifier, load_classifier
from motionpatches.training.labels import LabelledMotions, select_labelled
from motionpatches.training.metrics import confused_pairs, majority_level
from motionpatches.training.recipe import (
    list_recipes,
    load_classification_recipe,
    load_recipe,
    parse_classification_recipe,
)


CLASSES = ["kicks", "squats", "waves"]
FIELDS = {
    "motion_size": "tiny",
    "motion_depth": 1,
    "motion_pooling": "mean",
    "max_frames": 96,
    "epochs": 3,
    "batch_size": 8,
    "lr_motion": 3e-3,
    "lr_classifier": 1e-3,
    "augment_heading": 10.0,
    "tracker": "none",
}
pytestmark = pytest.mark.filterwarnings("ignore:.* motions are longer than max_frames")


def recipe(**fields):
    return parse_classification_recipe("tiny", {**FIELDS, **fields})


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_equal_weights(first, second):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def with_labels(rows, labels):
    return rows.remove_columns("label").add_column("label", labels)


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory):
    """A finished run from scratch; tests read it and must not change it."""
    folder = tmp_path_factory.mktemp("classifier") / "run"
    finetune(recipe(epochs=8), tiny_data, folder)
    return folder


def test_a_run_learns_and_leaves_a_classifier_that_loads(run, tiny_data):
    model = AutoModelForMotionClassification.from_pretrained(run / "best")
    processor = AutoFeatureExtractor.from_pretrained(run / "best")
    assert model.config.id2label == dict(enumerate(CLASSES))
    assert model.config.label2id == {name: index for index, name in enumerate(CLASSES)}
    judged = evaluate_classifier(model, processor, tiny_data["test"])
    assert judged["all"]["top1"] > 75  # chance is 33
    assert judged["all"]["majority"]["top1"] == pytest.approx(100 / 3)
    assert set(judged) == {"all", "smpl22", "body21"}
    rows = list(tiny_data["test"].with_format("numpy"))
    with torch.no_grad():  # the numbers are those of the model, one motion at a time
        logits = torch.cat([model(**processor([row], return_tensors="pt")).logits for row in rows])
    expected = classification_metrics(logits, np.array([CLASSES.index(row["label"]) for row in rows]))
    assert {key: judged["all"][key] for key in expected} == expected


def test_the_results_file_says_what_was_done(run):
    results = json.loads((run / "results.json").read_text())
    assert (results["task"], results["classes"], results["seed"], results["start"]) == ("finetune", CLASSES, 0, None)
    assert results["data"]["train"] == "body21 (12 motions), smpl22 (12 motions)"
    assert results["left_out"]["train"] == {"unlabelled": 0, "unknown_labels": {}}
    assert set(results["versions"]) >= {"motionpatches", "torch", "transformers"}
    accuracy = [record["top1"] for record in results["history"]]
    assert len(accuracy) == results["epochs"] == 8
    assert results["best_epoch"] == accuracy.index(max(accuracy)) + 1
    assert results["validation"]["all"]["top1"] == max(accuracy) == results["best"]["top1"]
    assert load_classification_recipe(run / "recipe.yaml").to_dict() == recipe(epochs=8).to_dict()


def test_the_best_epoch_is_that_of_the_highest_validation_accuracy_the_first_of_equals(tiny_data, tmp_path, monkeypatch):
    accuracies = iter([50.0, 90.0, 70.0, 90.0])
    monkeypatch.setattr(classification, "_accuracies", lambda _: {"top1": next(accuracies)})
    results = finetune(recipe(epochs=4), tiny_data, tmp_path / "run")
    assert results["best_epoch"] == 2
    assert_equal_weights(tmp_path / "run" / "best", tmp_path / "run" / "state" / "checkpoint-6")  # of 3 steps an epoch


def test_the_test_split_plays_no_part(run, tiny_data, tmp_path):
    without = DatasetDict({split: rows for split, rows in tiny_data.items() if split != "test"})
    finetune(recipe(epochs=8), without, tmp_path / "run")
    assert_equal_weights(run / "best", tmp_path / "run" / "best")


def test_resume_gives_the_weights_of_an_uninterrupted_run(run, tiny_data, tmp_path, monkeypatch):
    def stop_in_the_third_epoch(self, args, state, control, **kwargs):
        if round(state.epoch) == 2:
            raise KeyboardInterrupt
        self.motions.epoch = round(state.epoch)

    with monkeypatch.context() as patched:
        patched.setattr(classification._Keeper, "on_epoch_begin", stop_in_the_third_epoch)
        with pytest.raises(KeyboardInterrupt):
            finetune(recipe(epochs=8), tiny_data, tmp_path / "run")
    assert load_classifier(tmp_path / "run" / "best")  # usable as it is
    (tmp_path / "run" / "state" / "checkpoint-9").mkdir()  # as an interruption while saving leaves it
    results = finetune(recipe(epochs=8), tiny_data, tmp_path / "run", resume=True)
    assert results["history"] == json.loads((run / "results.json").read_text())["history"]
    for folder in ("best", "state/checkpoint-24"):
        assert_equal_weights(run / folder, tmp_path / "run" / folder)


def test_a_run_is_not_overwritten_nor_resumed_with_another_recipe_or_start(run, tiny_data, trained_run, tmp_path):
    with pytest.raises(FileExistsError, match="already holds a run; go on with it by --resume"):
        finetune(recipe(), tiny_data, run)
    with pytest.raises(ValueError, match="other values of batch_size; resume it with its own recipe"):
        finetune(recipe(epochs=8, batch_size=4), tiny_data, run, resume=True)
    with pytest.raises(ValueError, match="other values of the checkpoint it starts from"):
        finetune(recipe(epochs=8), tiny_data, run, str(trained_run / "best"), resume=True)
    with pytest.raises(FileNotFoundError, match="holds no run with a finished epoch to resume"):
        finetune(recipe(), tiny_data, tmp_path / "nothing", resume=True)


def test_from_a_contrastive_checkpoint_the_tower_is_kept_and_rates_are_separate(trained_run, tiny_data, tmp_path):
    start = str(trained_run / "best")
    results = finetune(recipe(epochs=1, lr_motion=0.0), tiny_data, tmp_path / "run", start)
    before, after = weights(trained_run / "best"), weights(tmp_path / "run" / "best")
    assert {name for name in after if not name.startswith("classifier.")} == {
        name for name in before if name.startswith(("motion_model.", "motion_norm."))
    }
    for name, tensor in after.items():
        assert name.startswith("classifier.") or torch.equal(tensor, before[name]), name
    new = MotionPatchesForMotionClassification.from_pretrained(start, num_labels=3)
    assert after["classifier.weight"].shape == new.classifier.weight.shape
    assert after["classifier.bias"].abs().max() > 0  # it starts at zero
    assert results["start"].endswith("run/best")
    assert "motion_size" not in results["recipe"]  # the checkpoint decided it
    old, kept = (AutoFeatureExtractor.from_pretrained(f) for f in (start, tmp_path / "run" / "best"))
    assert kept.statistics == old.statistics


def test_a_checkpoint_that_lacks_more_than_the_classifier_is_refused(trained_run, tiny_data, tmp_path):
    for file in (trained_run / "best").iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    broken = {name: tensor for name, tensor in weights(trained_run / "best").items() if name != "motion_norm.weight"}
    save_file(broken, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"do not fill the classifier's tower exactly: missing \['motion_norm.weight'\]"):
        finetune(recipe(), tiny_data, tmp_path / "run", str(tmp_path))


def test_a_classifier_goes_on_with_its_own_classes(run, tiny_data, tmp_path):
    rates = {"lr_motion": 0.0, "lr_classifier": 0.0}
    some = tiny_data["train"].filter(lambda row: row["label"] != "kicks")
    results = finetune(recipe(epochs=1, **rates), DatasetDict(train=some), tmp_path / "run", str(run / "best"))
    assert results["classes"] == CLASSES
    assert_equal_weights(run / "best", tmp_path / "run" / "best")
    other = DatasetDict(train=with_labels(some, ["dances"] + ["waves"] * (len(some) - 1)))
    with pytest.raises(ValueError, match=r"does not know the classes \['dances'\] of the training data, only \['kicks'"):
        finetune(recipe(), other, tmp_path / "other", str(run / "best"))


def test_a_pretrained_vision_tower_arrives_whole(tiny_data, tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    pretrained = ViTModel(ViTConfig(**sizes, image_size=64, layer_norm_eps=1e-6), add_pooling_layer=False)
    torch.nn.init.normal_(pretrained.layernorm.weight)
    pretrained.save_pretrained(tmp_path / "vit")
    rates = {"lr_motion": 0.0, "lr_classifier": 0.0}
    finetune(recipe(epochs=1, motion_name=str(tmp_path / "vit"), **rates), tiny_data, tmp_path / "run")
    model, _ = load_classifier(tmp_path / "run" / "best")
    assert torch.equal(model.motion_norm.weight, pretrained.layernorm.weight)
    for ours, theirs in zip(model.motion_model.layers.parameters(), pretrained.layers.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="has patches of 16, but the recipe says patch_size=8"):
        finetune(recipe(motion_name=str(tmp_path / "vit"), patch_size=8), tiny_data, tmp_path / "other")


def test_without_a_validation_split_the_last_epoch_is_kept(tiny_data, tmp_path):
    results = finetune(recipe(epochs=2), DatasetDict(train=tiny_data["train"]), tmp_path / "run")
    assert (results["best_epoch"], results["epochs"]) == (2, 2)
    assert_equal_weights(tmp_path / "run" / "best", tmp_path / "run" / "state" / "checkpoint-6")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_epoch_before(tiny_data, tmp_path, monkeypatch):
    break_the_loss(monkeypatch, MotionPatchesForMotionClassification, after=4)  # in the second epoch of three steps
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2; what was kept of the epoch before is whole"):
        finetune(recipe(), DatasetDict(train=tiny_data["train"]), tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run" / "best").values())
    assert [folder.name for folder in (tmp_path / "run" / "state").glob("checkpoint-*")] == ["checkpoint-3"]


def test_bfloat16_is_an_option(tiny_data, tmp_path):
    finetune(recipe(epochs=1, precision="bf16"), tiny_data, tmp_path / "run")
    assert {tensor.dtype for tensor in weights(tmp_path / "run" / "best").values()} == {torch.float32}


def test_every_parameter_is_in_one_group(tokenizer):
    from conftest import tiny_config

    model = MotionPatchesForMotionClassification(tiny_config(tokenizer, num_labels=3, motion_pooling="mean"))
    groups = parameter_groups(model, recipe(lr_motion=1.0, lr_classifier=2.0).run)
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rate) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rate[id(parameter)] == (2.0 if name.startswith("classifier.") else 1.0), name


def test_motions_without_a_label_are_counted_and_left_out(tiny_data, tmp_path):
    rows = tiny_data["train"].select(range(23, -1, -1))
    some = DatasetDict(train=with_labels(rows, [None, " ", *rows["label"][2:]]))
    with pytest.warns(UserWarning, match="2 of 24 motions of split 'train' have no label and are left out"):
        results = finetune(recipe(epochs=1), some, tmp_path / "run")
    assert results["left_out"]["train"] == {"unlabelled": 2, "unknown_labels": {}}
    assert results["data"]["train"] == "body21 (10 motions), smpl22 (12 motions)"
    assert list(dict.fromkeys(rows["label"][2:])) != CLASSES
    assert results["classes"] == CLASSES  # sorted, whatever the order of the rows
    for none in (with_labels(rows, [None] * len(rows)), rows.remove_columns("label")):
        with pytest.raises(ValueError, match="none of the 24 motions of split 'train' can be used, it has no labels"):
            finetune(recipe(), DatasetDict(train=none), tmp_path / "none")
    with pytest.raises(ValueError, match="at least two classes; all 24 training motions are 'waves'"):
        finetune(recipe(), DatasetDict(train=with_labels(rows, ["waves"] * 24)), tmp_path / "one")
    with pytest.raises(ValueError, match=r"no 'train' split; it has \['test'\]"):
        finetune(recipe(), DatasetDict(test=rows), tmp_path / "none")


def test_labels_that_training_lacks_are_counted_and_left_out_of_what_is_judged(run, tiny_data, tmp_path):
    rows = tiny_data["validation"]
    odd = with_labels(rows, ["dances", "dances", *rows["label"][2:]])
    message = r"2 of 12 motions of split 'validation' have labels that are no class of the model .*: dances \(2\)"
    with pytest.warns(UserWarning, match=message):
        results = finetune(recipe(epochs=1), DatasetDict(train=tiny_data["train"], validation=odd), tmp_path / "run")
    assert results["left_out"]["validation"] == {"unlabelled": 0, "unknown_labels": {"dances": 2}}
    assert (results["validation"]["all"]["num"], results["classes"]) == (10, CLASSES)
    with pytest.warns(UserWarning, match=message):
        judged = evaluate_classifier(*load_classifier(run / "best"), odd, "validation")
    assert (judged["all"]["num"], judged["all"]["left_out"]["unknown_labels"]) == (10, {"dances": 2})
    with pytest.raises(ValueError, match=r"only the labels dances; the classes are kicks, squats, waves"):
        evaluate_classifier(*load_classifier(run / "best"), with_labels(rows, ["dances"] * 12), "validation")


def test_labels_may_be_numbers_with_names(tiny_data):
    rows = tiny_data["test"]
    numbers = with_labels(rows, [CLASSES.index(label) for label in rows["label"]])
    named = numbers.cast_column("label", ClassLabel(names=CLASSES))
    assert select_labelled(named, "test").labels == list(rows["label"])
    assert select_labelled(numbers, "test").labels[0] == str(CLASSES.index(rows["label"][0]))


def test_training_motions_change_from_epoch_to_epoch_and_judged_ones_never(tiny_data, motion_processor):
    part = select_labelled(tiny_data["test"], "test")
    moving = LabelledMotions(part, CLASSES, motion_processor, Augmentation(jitter=0.01))
    first, again = moving[0]["motion"].joints, moving[0]["motion"].joints
    np.testing.assert_array_equal(first, again)
    moving.epoch = 1
    assert np.abs(moving[0]["motion"].joints - first).max() > 0.001
    still = LabelledMotions(part, CLASSES, motion_processor)
    plain = still[0]["motion"].joints
    still.epoch = 1
    np.testing.assert_array_equal(still[0]["motion"].joints, plain)


def test_long_motions_are_cropped_at_random_in_training_and_at_the_start_when_judged(motion_processor):
    made = to_dataset(make_motions(10, "smpl22", 0, actions=["jumping jack"]), "made")
    rows = made.filter(lambda row: row["num_frames"] > motion_processor.max_frames + 5).select(range(2))
    part = select_labelled(rows, "train")
    training, judged = (LabelledMotions(part, list(set(part.labels)), motion_processor, a) for a in (Augmentation(), None))
    expected = motion_processor(list(rows.with_format("numpy")), return_tensors="pt")["motion_values"]
    batch = judged.collate([judged[0], judged[1]])
    torch.testing.assert_close(batch["motion_values"], expected)
    assert batch["labels"].tolist() == [0, 0]
    crops = []
    for training.epoch in range(4):
        crops.append(training.collate([training[0], training[1]])["motion_values"])
    assert len({tuple(crop[0].flatten().tolist()) for crop in crops}) > 1


def test_baselines_and_confusions_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert majority_level(labels, 4) == {"top1": 50.0, "macro_top1": pytest.approx(100 / 3)}
    answers = np.array([0, 2, 2, 1, 0, 2])
    scores = np.eye(4)[answers]
    pairs = confused_pairs(scores, labels, ["a", "b", "c", "d"])
    assert pairs == [{"label": "a", "answer": "c", "num": 2, "of": 3}, {"label": "b", "answer": "a", "num": 1, "of": 2}]
    assert confused_pairs(scores, labels, ["a", "b", "c", "d"], num=1) == pairs[:1]
    with pytest.raises(ValueError, match=r"3 classes for scores of shape \(6, 4\)"):
        confused_pairs(scores, labels, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"labels lie in 0..2; scores has columns 0..1"):
        majority_level(labels, 2)


@pytest.mark.parametrize("name", list_recipes("classification"))
def test_every_classification_recipe_of_the_package_loads(name):
    assert load_classification_recipe(name).name == name


def test_recipes_of_the_two_kinds_are_not_mistaken_for_each_other(tmp_path):
    assert "classification" not in list_recipes()
    with pytest.raises(
        ValueError, match=r"'classification' is for classification training, not for contrastive; .* quickstart"
    ):
        load_recipe("classification")
    with pytest.raises(
        ValueError, match=r"'quickstart' is for contrastive training, not for classification; .* classification"
    ):
        load_classification_recipe("quickstart")
    with pytest.raises(ValueError, match="unknown field 'lr_text'"):
        load_classification_recipe("classification", ["lr_text=1e-4"])
    loaded = load_classification_recipe("classification", ["lr_classifier=2e-3", "motion_name="])
    assert (loaded.run.lr_classifier, loaded.model.motion_name) == (pytest.approx(2e-3), None)


# The console command


def test_finetune_evaluate_and_classify_on_the_shell(trained_run, data_folder, motion_file, tmp_path):
    fields = [part for name in ("epochs=2", "batch_size=8", "tracker=none") for part in ("--set", name)]
    result = run_command("finetune", trained_run / "best", "--data", data_folder, "--output", tmp_path / "run", *fields)
    assert result.exit_code == 0, result.output
    assert "of 2" in result.output
    best = tmp_path / "run" / "best"
    result = run_command("evaluate", best, "--data", data_folder, "--output", tmp_path / "results.json")
    assert result.exit_code == 0, result.output
    assert "majority" in result.output
    written = json.loads((tmp_path / "results.json").read_text())
    assert (written["split"], written["results"]["all"]["num"], written["training"]["epochs"]) == ("test", 12, 2)
    assert written["training"]["start"].endswith("run/best")
    assert str(tmp_path) not in json.dumps(written)
    assert "`classification`" in (best / "README.md").read_text()
    result = run_command("classify", best, motion_file)
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in CLASSES)
    shown = run_command("classify", best, motion_file, "--top", "1").output
    assert sum(name in shown for name in CLASSES) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("classify", "{run}/best", "{file}", "--label", "waves"),
            "holds a classifier with classes of its own (kicks, squats",
        ),
        (
            ("classify", "{run}/best", "{file}", "--multi-label"),
            "leave --label, --hypothesis-template and --multi-label out",
        ),
        (("classify", "{contrastive}/best", "{file}"), "has no classes of its own; pass --label TEXT for each label"),
        (("classify", "/nowhere/model", "{file}"), "no checkpoint folder '/nowhere/model'"),
        (
            ("evaluate", "{run}/best", "--data", "{data}", "--hypothesis-template", "{{}}"),
            "classes of its own; leave --hypothesis-template,",
        ),
        (("evaluate", "{run}/best", "--data", "{data}", "--split", "dev"), "no split 'dev'; it has train, validation, test"),
        (("finetune", "--data", "{data}", "--output", "{run}"), "already holds a run"),
        (("finetune", "--data", "{data}", "--output", "x", "--recipe", "quickstart"), "is for contrastive training"),
        (
            ("finetune", "{contrastive}/best", "--data", "{data}", "--output", "x", "--set", "motion_size=base"),
            "--set motion_size=base: the tower and the patches of a checkpoint are kept",
        ),
        (("train", "--recipe", "classification", "--data", "{data}", "--output", "x"), "is for classification training"),
    ],
)
def test_mistakes_end_in_one_line_and_status_1(arguments, message, run, trained_run, data_folder, motion_file):
    places = {"run": run, "contrastive": trained_run, "data": data_folder, "file": motion_file}
    result = run_command(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert "Traceback" not in result.output
