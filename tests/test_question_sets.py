"""Evaluation of a MotionLlamo checkpoint by the folder: its questions are made, or read."""

import json

import pytest
from conftest import run_command
from datasets import DatasetDict
from tiny_llamo import make_model, make_processor

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.training.question_sets import (
    evaluate_answers,
    holds_motion_llamo,
    load_instructions,
    load_motion_llamo,
    select_categories,
)


CATEGORIES = ["side", "speed"]

pytestmark = pytest.mark.filterwarnings("ignore:.*did not end")


@pytest.fixture(scope="module")
def splits():
    return DatasetDict(
        {split: to_dataset(make_motions(60, seed=seed), "made") for seed, split in enumerate(["train", "test"])}
    )


@pytest.fixture(scope="module")
def folders(splits, tmp_path_factory):
    """Motions, questions, and a checkpoint."""
    root = tmp_path_factory.mktemp("questions")
    splits.save_to_disk(str(root / "motions"))
    made = DatasetDict(
        {split: make_instructions(rows, 6, [*CATEGORIES, "yes_no"], max_seconds=3.2) for split, rows in splits.items()}
    )
    made.save_to_disk(str(root / "asked"))
    (root / "parquet").mkdir()
    made["test"].to_parquet(root / "parquet" / "test.parquet")
    processor = make_processor(made["train"], ClipReader(splits["train"]))
    make_model(processor).save_pretrained(root / "model")
    processor.save_pretrained(root / "model")
    return root


def test_questions_are_made_of_the_split(folders):
    found = evaluate_answers(
        folders / "model", folders / "motions", num=5, categories=CATEGORIES, max_seconds=3.2, max_new_tokens=2, seed=1
    )
    assert found["questions"]["categories"] == {"side": 5, "speed": 5}
    assert found["questions"]["made"] == {"num": 5, "most_clips": 4, "max_seconds": 3.2, "seed": 1}
    assert found["data"] == "made (60 motions)"
    assert found["split"] == "test"
    assert found["results"]["majority_of"] == "judged questions"
    assert found["results"]["num"] == 10
    assert len(found["weights"]) == 64


def test_questions_are_read_with_their_training_split(folders):
    settings = {"max_new_tokens": 1, "categories": CATEGORIES}
    found = evaluate_answers(folders / "model", folders / "motions", instructions=folders / "asked", **settings)
    assert found["questions"]["made"] is None
    assert found["questions"]["categories"] == {"side": 6, "speed": 6}
    assert found["results"]["majority_of"] == "training questions"
    again = evaluate_answers(folders / "model", folders / "motions", instructions=folders / "parquet", **settings)
    assert again["results"]["majority_of"] == "judged questions"
    assert again["questions"]["sha256"] == found["questions"]["sha256"]
    settings["categories"] = ["side"]
    other = evaluate_answers(folders / "model", folders / "motions", instructions=folders / "parquet", **settings)
    assert other["questions"]["sha256"] != found["questions"]["sha256"]


def test_a_folder_says_what_it_holds(folders, trained_run):
    assert holds_motion_llamo(folders / "model")
    assert not holds_motion_llamo(trained_run / "best")
    assert not holds_motion_llamo(folders / "motions")
    assert set(load_instructions(folders / "asked")) == {"train", "test"}
    model, processor = load_motion_llamo(folders / "model")
    assert not model.training
    assert processor.feature_extractor.patch_size == 8


def test_bad_input(folders, splits, trained_run):
    with pytest.raises(ValueError, match="holds no MotionLlamo"):
        evaluate_answers(trained_run / "best", folders / "motions")
    with pytest.raises(ValueError, match="has no split 'dev'; it has train, test"):
        evaluate_answers(folders / "model", folders / "motions", split="dev")
    with pytest.raises(ValueError, match="has no questions of split 'train'; it has test"):
        evaluate_answers(folders / "model", folders / "motions", split="train", instructions=folders / "parquet")
    with pytest.raises(FileNotFoundError, match="holds no questions; expected a folder of a saved DatasetDict"):
        load_instructions(folders / "model")
    with pytest.raises(ValueError, match=r"split 'train' of .* lacks the columns category, messages"):
        load_instructions(folders / "motions")
    asked = load_instructions(folders / "asked")["test"]
    with pytest.raises(ValueError, match="no questions of categories order, only of side, speed, yes_no"):
        select_categories(asked, ["side", "order"])
    DatasetDict({"test": splits["train"]}).save_to_disk(str(folders / "other"))
    with pytest.raises(ValueError, match="refer to motions that the data does not have"):
        evaluate_answers(folders / "model", folders / "other", instructions=folders / "parquet")


def test_evaluate_asks_a_motion_llamo(folders, trained_run, data_folder, tmp_path):
    output, model, motions = tmp_path / "answers.json", folders / "model", folders / "motions"
    options = [
        "--num-questions",
        4,
        "--category",
        "side",
        "--category",
        "speed",
        "--max-seconds",
        3.2,
        "--max-new-tokens",
        2,
    ]
    found = run_command("evaluate", model, "--data", motions, *options, "--output", output, "--save-queries")
    assert found.exit_code == 0, found.output
    assert "real − shuffled" in found.output
    content = json.loads(output.read_text(encoding="utf-8"))
    assert (content["task"], content["split"]) == ("answer", "test")
    assert len(content["answers"]) == content["results"]["num"] == 8
    refused = run_command("evaluate", model, "--data", motions, "--protocol", "small")
    assert refused.exit_code == 1
    assert "holds a MotionLlamo, which answers questions" in refused.output
    refused = run_command("evaluate", trained_run / "best", "--data", data_folder, "--seed", 3)
    assert refused.exit_code == 1
    assert "leave the options about questions out: seed" in refused.output
