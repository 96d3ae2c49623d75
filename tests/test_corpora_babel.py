"""BABEL's annotations and AMASS files, made up: segments become chunks, each a sample of each of its actions."""

import json

import numpy as np
import pytest
from test_readers_smpl import save_body

from motionpatches.processing.building import read_item
from motionpatches.processing.corpora_babel import Babel60, Babel120
from motionpatches.processing.corpora_layout import read_joints
from motionpatches.processing.recording import ReadOptions


ACTIONS = ["walk", "stand", *[f"action {number}" for number in range(2, 150)]]
FEAT_P = "BMLrub/BioMotionLab_NTroje/rub001/0000_treadmill_slow_poses.npz"


def segment(start, end, *actions):
    return {"seg_id": "x", "raw_label": "…", "proc_label": "…", "act_cat": list(actions), "start_t": start, "end_t": end}


def annotation(sid, *segments, path=FEAT_P, whole=()):
    dense = {"anntr_id": "x", "labels": list(segments)} if segments else None
    labels = [{"seg_id": "y", "raw_label": "…", "act_cat": list(whole)}]
    return {"babel_sid": sid, "feat_p": path, "dur": 12.0, "frame_ann": dense, "seq_ann": {"labels": labels}}


def add_amass(root, path="BMLrub/rub001/0000_treadmill_slow_poses.npz", seconds=12.0, fps=60.0):
    """Walks along x at one metre a second."""
    frames = int(seconds * fps)
    poses = np.zeros((frames, 156))
    poses[:, 0] = np.pi / 2  # stands, z up
    trans = np.zeros((frames, 3))
    trans[:, 0] = np.arange(frames) / fps
    file = root / "amass" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, poses=poses, trans=trans, betas=np.zeros(16), gender="female", mocap_framerate=fps)
    return file


@pytest.fixture
def babel(tmp_path):
    """A function that writes annotations and returns the items and what reads them."""
    save_body(tmp_path / "body_models" / "smplh" / "SMPLH_FEMALE.npz")
    (tmp_path / "action_label_2_idx.json").write_text(json.dumps({name: n for n, name in enumerate(ACTIONS)}))
    add_amass(tmp_path)

    def make(*train, val=(), corpus=Babel60):
        folder = tmp_path / "babel_v1.0_release"
        folder.mkdir(exist_ok=True)
        for name, annotations in (("train", train), ("val", val)):
            (folder / f"{name}.json").write_text(json.dumps({str(a["babel_sid"]): a for a in annotations}))
        return corpus(tmp_path)

    return make


def read_first(corpus):
    return read_item(corpus, corpus.lists().items["train"][0])


def test_a_segment_is_cut_into_chunks_of_five_seconds_for_each_action(babel, tmp_path):
    clips, faults = read_first(babel(annotation(7, segment(1.0, 8.0, "walk", "action 5"))))
    assert [(clip.part, len(clip.joints), clip.label, clip.captions) for clip in clips] == [
        ("segment0_chunk0_action0", 150, "walk", ["A person walk"]),
        ("segment0_chunk0_action5", 150, "action 5", ["A person action 5"]),
        ("segment0_chunk1_action0", 60, "walk", ["A person walk"]),
        ("segment0_chunk1_action5", 60, "action 5", ["A person action 5"]),
    ]
    assert faults == []
    assert {(clip.fps, clip.skeleton) for clip in clips} == {(30.0, "smpl22")}
    start = [clip.joints[0, 0, 0] for clip in clips]
    assert start[2] - start[0] == pytest.approx(5.0, abs=0.05)  # it walks a metre a second
    file = tmp_path / "amass" / "BMLrub" / "rub001" / "0000_treadmill_slow_poses.npz"
    whole, *_ = read_joints(file, ReadOptions(body_model=tmp_path / "body_models"))
    np.testing.assert_allclose(clips[0].joints[15], whole[90], atol=1e-3)  # 1.5 seconds, at 60 frames a second


def test_a_motion_without_segments_is_one_whole(babel):
    clips, _ = read_first(babel(annotation(7, whole=["stand"])))
    assert [len(clip.joints) for clip in clips] == [150, 150, 60]


@pytest.mark.parametrize(("corpus", "labels"), [(Babel60, ["walk"]), (Babel120, ["walk", "action 100"])])
def test_the_classes_are_the_first_of_the_release(babel, corpus, labels):
    made = babel(
        annotation(7, segment(0, 4, "walk"), segment(4, 8, "action 100"), segment(8, 9, "action 140")), corpus=corpus
    )
    clips, faults = read_first(made)
    assert [clip.label for clip in clips] == labels
    assert [fault.kind for fault in faults] == [f"action that is none of the {made.num_classes}"] * (3 - len(labels))


def test_val_is_the_test_and_train_the_training_split(babel):
    lists = babel(annotation(7), annotation(8), val=[annotation(9), annotation(8)]).lists()
    assert {split: [item.id for item in items] for split, items in lists.items.items()} == {
        "train": ["7"],
        "test": ["9", "8"],
    }
    assert lists.repeated["train"][0][0] == "8"
    assert lists.settings["actions"] == ACTIONS[:60]


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ((13.0, 14.0), "segment outside the motion"),
        ((3.0, 3.01), "segment without a frame"),
        ((3.0, 3.04), "chunk of a single frame"),
        ((11.0, 14.0), "segment cut at the end of the motion"),
    ],
)
def test_segments_that_are_not_whole_are_told_of(babel, times, kind):
    clips, faults = read_first(babel(annotation(7, segment(0, 2, "walk"), segment(*times, "walk"))))
    assert [fault.kind for fault in faults] == [kind]
    assert len(clips) == (2 if "cut" in kind else 1)


@pytest.mark.parametrize("place", ["BioMotionLab_NTroje/rub001", "BMLrub/BioMotionLab_NTroje/rub001", "BMLrub/rub001"])
def test_a_motion_is_found_however_amass_is_unpacked(babel, tmp_path, place):
    file = tmp_path / "amass" / "BMLrub" / "rub001" / "0000_treadmill_slow_poses.npz"
    content = file.read_bytes()
    file.unlink()
    target = tmp_path / "amass" / place / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    assert read_first(babel(annotation(7, whole=["walk"])))[0]


def test_motions_without_a_file_or_a_known_action_say_so(babel):
    corpus = babel(annotation(7, whole=["walk"], path="KIT/KIT/3/missing_poses.npz"), annotation(8, whole=["action 99"]))
    reasons = [read_item(corpus, item)[1][-1] for item in corpus.lists().items["train"]]
    assert [reason.kind for reason in reasons] == ["no motion file", "no segment with one of the 60 actions"]
    assert reasons[0].detail == "KIT/KIT/3/missing_poses.npz"


def test_an_id_that_is_there_twice_is_told_of(babel, tmp_path):
    corpus = babel(annotation(7, whole=["walk"]))
    one = json.dumps(annotation(7, whole=["walk"]))
    (tmp_path / "babel_v1.0_release" / "train.json").write_text(f'{{"7": {one}, "7": {one}}}')
    assert [(name, fault.kind) for name, fault in corpus.lists().repeated["train"]] == [
        ("7", "named twice by the same list")
    ]


def test_what_is_missing_is_an_error_that_says_where_to_get_it(babel, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train\.json nor val\.json.*https://babel"):
        Babel60(tmp_path).lists()
    corpus = babel(annotation(7))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*pass --amass"):
        Babel60(tmp_path, amass=tmp_path / "nowhere").lists()
    (tmp_path / "action_label_2_idx.json").write_text('{"walk": 0}')
    with pytest.raises(ValueError, match="does not give the numbers 0 to 59"):
        corpus.lists()
    (tmp_path / "action_label_2_idx.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no action_label_2_idx\.json; copy it there"):
        Babel60(tmp_path).lists()
