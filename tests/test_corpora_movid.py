"""Records of MoVid, made up: questions about videos and about motions of HumanML3D."""

import json

import pytest
from test_corpora_humanml3d import add_motion, write_lists

from motionpatches.processing.corpora import load_motions
from motionpatches.processing.corpora_humanml3d import HumanML3D
from motionpatches.processing.corpora_movid import movid_questions
from motionpatches.processing.instructions import ClipReader
from motionpatches.processing.video_files import VideoReader
from motionpatches.training.preparing import prepare


def record(given, question="What is done?", answer="He walks.", **more):
    return {"instruction": question, "input": given, "output": answer, **more}


@pytest.fixture
def root(tmp_path):
    for name in ("kungfu/a.mp4", "dance/b.MP4"):
        file = tmp_path / "videos" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    return tmp_path


def write(root, records, name="video-QA.json"):
    (root / name).write_text(json.dumps(records))
    return root / name


def path_of(row):
    return row["messages"][0]["content"][0]["video"]["path"]


def test_videos_are_found_however_their_path_begins(root, recwarn):
    given = ["kungfu/a.mp4", "videos/kungfu/a.mp4", "/data/MoVid/videos/kungfu/a.mp4", "..\\x\\dance\\b.MP4"]
    rows, report = movid_questions(write(root, [record(path) for path in given]))
    assert [path_of(row) for row in rows] == ["videos/kungfu/a.mp4"] * 3 + ["videos/dance/b.MP4"]
    assert VideoReader(root).path({"path": path_of(rows[3])}) == root / "videos" / "dance" / "b.MP4"
    assert set(rows["needs"]) == {"video"}
    assert set(rows["skeleton"]) == {None}
    assert rows["id"][0] == "video-QA-000000"
    assert [part["text"] for message in rows[0]["messages"] for part in message["content"]] == [
        None,
        "What is done?",
        "He walks.",
    ]
    assert report == {"named": 4, "rows": 4, "left_out": {}}
    assert not recwarn


def test_motions_are_those_of_humanml3d(root, tmp_path):
    source = tmp_path / "HumanML3D"
    for name in ("000001", "000002"):
        add_motion(source, name, ["he walks"])
    write_lists(source, train=["000001"], test=["000002"])
    prepare(HumanML3D(source), tmp_path / "out")
    motions = load_motions(tmp_path / "out")
    file = write(
        root, [record("000001"), record("/motions/000001.npy", category="Direction"), record("000009")], "H3DQA.json"
    )
    with pytest.warns(
        UserWarning, match=r"H3DQA\.json: 1 of 3 questions left out: motion that is not in the data \(1, such as"
    ):
        rows, report = movid_questions(file, motions["train"], category="h3dqa")
    assert rows["category"][:] == ["h3dqa", "Direction"]
    assert (set(rows["needs"]), set(rows["skeleton"])) == ({"motion"}, {"smpl22"})
    length = motions["train"][0]["num_frames"]
    for row in rows:
        motion = row["messages"][0]["content"][0]["motion"]
        assert motion == {"clips": [{"id": "000001", "start": 0, "end": length}]}
        assert ClipReader(motions["train"]).read(motion)["joints"].shape == (length, 22, 3)
    assert report["left_out"]["motion that is not in the data"]["cases"] == [{"id": "H3DQA-000002", "detail": "000009"}]


def test_several_turns_are_one_conversation(root):
    turns = [{"Q": "What is done?", "A": "He walks."}, {"Q": "Which way?", "A": "Forward."}]
    ((row,), _) = movid_questions(write(root, [{"input": "kungfu/a.mp4", "QA": turns}]))
    said = [(message["role"], [part["type"] for part in message["content"]]) for message in row["messages"]]
    assert said == [("user", ["video", "text"]), ("assistant", ["text"]), ("user", ["text"]), ("assistant", ["text"])]
    assert row["messages"][2]["content"][0]["text"] == "Which way?"


def test_all_that_is_left_out_is_counted(root):
    records = [
        record("kungfu/a.mp4"),
        record("kungfu/b.mp4"),
        record("kungfu/a.mp4", answer=" "),
        record(None),
        {"input": "kungfu/a.mp4", "QA": [{"Q": "What?", "A": "This."}, {"Q": "And?"}]},
        {"input": "kungfu/a.mp4", "QA": ["What?"]},
        record("000001"),
    ]
    with pytest.warns(UserWarning, match="6 of 7 questions left out"):
        rows, report = movid_questions(write(root, records))
    assert len(rows) == report["rows"] == 1
    assert {kind: found["count"] for kind, found in report["left_out"].items()} == {
        "no question or no answer": 3,
        "no video file": 1,
        "neither motion nor video": 1,
        "motion that is not in the data": 1,
    }


def test_other_files_are_refused(root):
    with pytest.raises(ValueError, match="expected a list of records with instruction, input and output"):
        movid_questions(write(root, {"a": record("kungfu/a.mp4")}))
    with pytest.raises(FileNotFoundError):
        movid_questions(root / "missing.json")
