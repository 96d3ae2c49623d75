"""The numbers of a card are those of a results file of the same model, with their protocol."""

import json
from pathlib import Path

import pytest

from motionpatches.training.card_results import (
    check_results,
    describe_results,
    describe_validation,
    read_results,
    training_facts,
    weights_fingerprint,
)


RESULTS = Path(__file__).parent.parent / "docs" / "results"
CLASSIFIED = {
    "num": 20,
    "num_classes": 3,
    "top1": 62.5,
    "top5": 100.0,
    "macro_top1": 61.25,
    "chance": {"top1": 33.3, "top5": 100.0, "macro_top1": 33.3},
    "majority": {"top1": 45.0, "macro_top1": 33.3},
    "confused": [],
    "left_out": {"unlabelled": 2, "unknown_labels": {"swims": 4}},
}


@pytest.fixture
def evaluated():
    return json.loads((RESULTS / "open_mocap.json").read_text())


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="results.json"):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return to_file


def test_an_evaluation_is_stated_with_its_protocol_and_chance(evaluated):
    text = describe_results([read_results(RESULTS / "open_mocap.json")])
    assert "### Test split" in text
    assert evaluated["command"] in text
    assert evaluated["data"] in text
    assert f"torch {evaluated['versions']['torch']}" in text
    assert f"commit {evaluated['commit']}" in text
    for name, result in evaluated["results"].items():
        assert f"**{name}**: {result['num']} motions, {result['distinct_captions']} distinct captions" in text
        for protocol in ("strict", "caption_equal"):
            for direction, values in (
                ("text→motion", result["retrieval"][protocol]["t2m"]),
                ("motion→text", result["retrieval"][protocol]["m2t"]),
                ("chance", result["chance"][protocol]["t2m"]),
            ):
                numbers = " | ".join(f"{values[column]:.1f}" for column in ("R@1", "R@2", "R@3", "R@5", "R@10", "MedR"))
                assert f"| {protocol} | {direction} | {numbers} |" in text
        zero_shot = result["zero_shot"]
        assert f"| {name} | {zero_shot['num']} | {zero_shot['num_classes']} | {zero_shot['top1']:.1f} |" in text
    assert "“A person {}.”" in text
    assert "body21: its own" in text


def test_validation_of_a_run_under_way_is_stated_beside_chance_and_as_no_test_result(trained_run):
    record = json.loads((trained_run / "history.jsonl").read_text().splitlines()[1])
    text = describe_validation(record)
    assert "**These are no test results.** They were measured on the validation split at the end of epoch 2" in text
    assert f"the mean of the recalls, {record['mean_recall']:.2f} over body21, smpl22." in text
    assert f"{record['mean_recall']:.2f} over smpl22." in describe_validation(record, ["smpl22"])
    header = "gallery | motions | text→motion R@1 | text→motion R@5 | text→motion R@10 | motion→text R@1"
    assert f"| {header} | motion→text R@5 | motion→text R@10 | zero-shot top-1 |" in text
    assert len(record["validation"]) == 3
    for name, result in record["validation"].items():
        strict, chance, zero_shot = result["retrieval"]["strict"], result["chance"]["strict"], result["zero_shot"]
        for row, recalls, top1 in (
            (f"{name} | {result['num']}", strict, zero_shot["top1"]),
            (f"{name}, chance | ", chance, zero_shot["chance"]["top1"]),
        ):
            numbers = " | ".join(f"{recalls[way][f'R@{k}']:.1f}" for way in ("t2m", "m2t") for k in (1, 5, 10))
            assert f"| {row} | {numbers} | {top1:.1f} |" in text


def test_validation_without_labels_or_with_one_data_set_alone(evaluated):
    gallery = {key: value for key, value in evaluated["results"]["all"].items() if key != "zero_shot"}
    text = describe_validation({"epoch": 1, "mean_recall": 12.5, "validation": {"all": gallery}})
    assert "the mean of the recalls, 12.50. In percent" in text
    assert "zero-shot" not in text
    mixed = describe_validation(
        {"epoch": 1, "mean_recall": 1.0, "validation": evaluated["results"] | {"unlabelled": gallery}}
    )
    row = next(line for line in mixed.splitlines() if line.startswith("| unlabelled |"))
    assert row.endswith(" | – |")


def test_the_quickstart_says_which_gallery_is_which():
    content = json.loads((RESULTS / "quickstart.json").read_text())
    found = read_results(RESULTS / "quickstart.json")
    text = describe_results([found])
    assert f"**unseen kinect20** ({content['data']['unseen kinect20']}): 320 motions" in text
    assert "kinect20: shared" in text
    assert training_facts(found)["recipe_name"] == "quickstart"
    assert training_facts(found)["training_data"] == content["data"]["train"]


def test_the_best_of_a_run_is_told_from_its_last(evaluated, write):
    evaluated["training"]["best_epoch"] = 24
    found = read_results(write(evaluated))
    assert training_facts(found)["epochs"] == "24, the best of 30"
    assert training_facts(found, is_best=False)["epochs"] == 30


def test_a_classifier_is_stated_beside_the_most_frequent_class(write):
    content = {"task": "evaluate", "data": "mine (26 motions)", "split": "test", "results": {"all": CLASSIFIED}}
    text = describe_results([read_results(write(content))])
    assert "| all | 20 | 3 | 62.5 | 100.0 | 61.2 | 33.3 | 100.0 | 45.0 |" in text
    assert "2 motions without a label; those of labels that are no class: swims (4)" in text
    assert "versions not stated" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(task="speed"), "no results file of a model: its task is 'speed'"),
        (lambda c: c.pop("split"), r"\(task 'evaluate'\) has no 'split'"),
        (lambda c: c["training"].pop("seed"), "has no 'seed'"),
        (lambda c: c.update(results=[1]), "unknown form"),
        (lambda c: c["results"]["all"].update(f1=3), "gallery 'all' has results that the card does not know: f1"),
    ],
)
def test_a_file_of_another_form_is_an_error(change, message, evaluated, write):
    change(evaluated)
    with pytest.raises(ValueError, match=message):
        read_results(write(evaluated))


@pytest.mark.parametrize("name", ["robustness.json", "speed.json"])
def test_measurements_of_something_else_are_no_results_of_a_model(name):
    with pytest.raises(ValueError, match="no results file of a model"):
        read_results(RESULTS / name)


def test_what_is_no_json_is_said(tmp_path):
    (tmp_path / "results.json").write_text("R@1 12.3")
    with pytest.raises(ValueError, match="is no JSON file"):
        read_results(tmp_path / "results.json")


def test_results_of_a_model_with_another_recipe_are_refused(model, processor):
    with pytest.raises(
        ValueError, match=r"open_mocap.json is of another model: its recipe has projection_dim=256, this model 16"
    ):
        check_results([read_results(RESULTS / "open_mocap.json")], model, processor)


def test_results_of_another_seed_are_refused(evaluated, write, model, processor):
    run = read_results(write(evaluated, "first.json"))
    evaluated["training"]["seed"] = 7
    second = read_results(write(evaluated, "second.json"))
    with pytest.raises(ValueError, match=r"second.json is of another model: its seed is 7, that of first.json is 0"):
        check_results([second], model, processor, run)


def test_results_that_name_no_model_are_taken_with_a_warning(evaluated, write, model, processor):
    with pytest.warns(UserWarning, match="does not say which weights"):
        check_results([read_results(write({**evaluated, "training": None}))], model, processor)


def test_the_fingerprint_knows_weights_and_not_their_precision(model):
    before = weights_fingerprint(model.bfloat16())
    assert weights_fingerprint(model.float()) == before
    model.logit_scale.data += 1
    assert weights_fingerprint(model) != before
