"""BABEL-QA as its owners' scripts write it, made up: motions, and questions that refer to them."""

import json

import numpy as np
import pytest
from conftest import swinging_motion
from test_corpora_babel import add_amass, annotation
from test_readers_smpl import save_body

from motionpatches.processing.canonical import change_up_axis
from motionpatches.processing.corpora import load_motions
from motionpatches.processing.corpora_babel_qa import BabelQA, babel_qa_questions
from motionpatches.processing.instructions import ClipReader
from motionpatches.training.preparing import prepare
from motionpatches.training.question_sets import load_instructions


def question(number, babel_id, kind="action", answer="walk"):
    name = f"{number:06d}"
    program = [{"inputs": [], "function": "scene", "value_inputs": []}]
    return name, {
        "babel_id": babel_id,
        "program": program,
        "filter_answer_0": 0,
        "query_type": f"query_{kind}",
        "relation_type": "before",
        "question": f"What {kind} does the person do before they sit? ",
        "answer": answer,
        "question_id": name,
    }


def segment(start, end, **attributes):
    return {"start_f": start, "end_f": end, "attributes": attributes}


CONCEPTS = {
    "10": [segment(0, 20, action=["walk"], direction=["forward"]), segment(20, 40, action=["transition"])],
    "20": [segment(0, 40, body_part=["left hand"])],
    "30": [segment(0, 40, action=["walk", "wave"]), segment(40, 50, action=["sit"])],
    "40": [segment(0, 40, action=["run"])],
    "50": [segment(0, 10, action=["transition"])],
}
QUESTIONS = [
    question(0, "10"),
    question(1, "10", "direction", "forward"),
    question(2, "20", "body_part", "left hand"),
    question(3, "30", "action", "sit"),
    question(4, "40"),
    question(5, "50"),
    question(6, "10", "action", "sit"),
    question(7, "30"),
    question(8, "30", "action", " "),
    question(9, "10"),  # of no split
]
SPLITS = {
    "train": ["000000", "000001", "000004", "000005", "000007", "000099"],
    "val": ["000002"],
    "test": ["000003", "000008"],
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "BABEL-QA-data"
    root.mkdir()
    (root / "questions.json").write_text(json.dumps(dict(QUESTIONS)))
    (root / "split_question_ids.json").write_text(json.dumps(SPLITS))
    (root / "motion_concepts.json").write_text(json.dumps(CONCEPTS))
    for number in (10, 20, 30, 50):
        joints = change_up_axis(swinging_motion(num_frames=50, seed=number), "y", "z")
        folder = root / "motion_sequences" / str(number)
        folder.mkdir(parents=True)
        np.save(folder / "joints.npy", joints)
    return root


def test_motions_and_questions_of_them(root, tmp_path):
    corpus = BabelQA(root)
    with pytest.warns(UserWarning, match="questions left out"):
        report = prepare(corpus, tmp_path / "out")
    motions = load_motions(tmp_path / "out")
    assert {split: rows["id"][:] for split, rows in motions.items()} == {
        "train": ["10"],
        "validation": ["20"],
        "test": ["30"],
    }
    row = motions["train"][0]
    assert row["captions"] == ["A person walk", "A person move forward"]
    assert motions["test"][0]["captions"] == ["A person walk, then wave, then sit"]
    assert motions["validation"][0]["captions"] == ["A person use the left hand"]
    assert (row["fps"], row["skeleton"]) == (30.0, "smpl22")
    found = np.array(row["joints"]).reshape(-1, 22, 3)
    np.testing.assert_allclose(found, swinging_motion(num_frames=50, seed=10), atol=1e-6)  # y is up
    skipped = report["splits"]["train"]["skipped"]
    assert {kind: [case["id"] for case in each["cases"]] for kind, each in skipped.items()} == {
        "no motion file": ["40"],
        "no concepts of the motion": ["50"],
        "named by the list of split test too, and kept there": ["30"],
    }
    assert report["remarks"]["questions that questions.json does not have"]["cases"] == [{"id": "train", "detail": "1"}]

    with pytest.warns(UserWarning, match="questions left out") as warned:
        questions = babel_qa_questions(corpus, motions)
    assert [str(one.message).partition(":")[0] for one in warned] == ["BABEL-QA, train", "BABEL-QA, test"]
    assert "4 of 6 questions left out: motion that is not in the data (2, such as 000004)" in str(warned[0].message)
    assert warned[0].filename == __file__
    assert list(questions) == ["train", "validation", "test"]
    beside = load_instructions(tmp_path / "out" / "questions")  # what `motionpatches instruct --instructions` takes
    assert {split: rows[:] for split, rows in beside.items()} == {split: found.rows[:] for split, found in questions.items()}
    assert report["questions"]["train"]["named"] == 6
    rows, account = questions["train"]
    assert rows["id"][:] == ["000000", "000001"]
    assert rows["category"][:] == ["query_action", "query_direction"]
    user, assistant = rows[1]["messages"]
    assert user["content"][0]["motion"] == {"clips": [{"id": "10", "start": 0, "end": 50}]}
    assert user["content"][1]["text"] == "What direction does the person do before they sit?"
    assert assistant["content"][0]["text"] == "forward"
    assert ClipReader(motions["train"]).read(user["content"][0]["motion"])["joints"].shape == (50, 22, 3)
    assert (account["named"], account["rows"]) == (6, 2)
    assert {kind: [case["id"] for case in each["cases"]] for kind, each in account["left_out"].items()} == {
        "motion that is not in the data": ["000004", "000005"],
        "motion that is in the split test": ["000007"],
        "question that questions.json does not have": ["000099"],
    }
    assert questions["test"].report["left_out"]["no question or no answer"]["count"] == 1
    assert questions["validation"].report == {"named": 1, "rows": 1, "left_out": {}}


def test_a_motion_without_joints_is_read_from_amass(root, tmp_path):
    save_body(root / "body_models" / "smplh" / "SMPLH_FEMALE.npz")
    add_amass(root, seconds=2.0)
    folder = root / "babel_v1.0_release"
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps({"40": annotation(40)}))
    corpus = BabelQA(root)
    item = next(item for item in corpus.lists().items["train"] if item.id == "40")
    ((clip,), faults) = corpus.read(item)
    assert (len(clip.joints), clip.fps, clip.skeleton, clip.captions) == (60, 30.0, "smpl22", ["A person run"])
    assert faults == []


def test_the_splits_may_lie_as_in_the_owners_repository(root):
    (root / "BABEL-QA").mkdir()
    (root / "split_question_ids.json").rename(root / "BABEL-QA" / "split_question_ids.json")
    assert [item.id for item in BabelQA(root).lists().items["validation"]] == ["20"]


def test_what_is_missing_or_foreign_says_so(root):
    with pytest.raises(ValueError, match="the motions have splits dev; BABEL-QA has train, validation, test"):
        babel_qa_questions(BabelQA(root), {"dev": None})
    (root / "split_question_ids.json").write_text('["000001"]')
    with pytest.raises(ValueError, match="expected lists of ids, train, val, test"):
        BabelQA(root).lists()
    (root / "split_question_ids.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no split_question_ids\.json; copy it there from the folder BABEL-QA of https"
    ):
        BabelQA(root).lists()
    (root / "split_question_ids.json").write_text(json.dumps(SPLITS))
    (root / "questions.json").write_text('{"1": {"question": "?"}}')
    with pytest.raises(ValueError, match="expected an object of questions with babel_id, question, answer, query_type"):
        BabelQA(root).lists()
    (root / "questions.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        BabelQA(root).lists()
    (root / "questions.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no questions\.json"):
        BabelQA(root).lists()
