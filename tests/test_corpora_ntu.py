"""NTU RGB+D's layout, made up: the splits of the papers, one body of each file."""

import numpy as np
import pytest
from test_readers_ntu import skeleton_text, walk

from motionpatches.processing.building import read_item
from motionpatches.processing.corpora_ntu import ACTIONS, NTU


def add_file(root, name, bodies=None):
    """A skeleton file of bodies (T, 25, 3); by default one."""
    bodies = {"72057594037931101": walk(6)} if bodies is None else bodies
    frames = [dict(zip(bodies, joints, strict=True)) for joints in zip(*bodies.values(), strict=True)]
    path = root / "nturgb+d_skeletons" / f"{name}.skeleton"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(skeleton_text(frames))
    return bodies


def splits_of(corpus):
    return {split: [item.id for item in items] for split, items in corpus.lists().items.items()}


def first_item(corpus):
    return next(item for items in corpus.lists().items.values() for item in items)


@pytest.mark.parametrize(
    ("protocol", "train"),
    [
        ("xsub", ["S001C001P001R001A001", "S002C003P103R001A120"]),
        ("xview", ["S002C002P003R001A060", "S002C003P103R001A120"]),
        ("xset", ["S002C002P003R001A060", "S002C003P103R001A120"]),
    ],
)
def test_the_splits_are_those_of_the_papers(tmp_path, protocol, train):
    names = ["S001C001P001R001A001", "S001C001P003R001A002", "S002C002P003R001A060", "S002C003P103R001A120"]
    for name in names:
        add_file(tmp_path, name)
    found = splits_of(NTU(tmp_path, protocol))
    assert found == {"train": train, "test": [name for name in names if name not in train]}


def test_a_row_is_the_body_with_the_action_as_label_and_caption(tmp_path):
    (joints,) = add_file(tmp_path, "S001C001P001R001A027").values()
    corpus = NTU(tmp_path)
    (clip,), faults = read_item(corpus, first_item(corpus))
    np.testing.assert_allclose(clip.joints, joints, atol=1e-5)
    assert (clip.label, clip.captions, clip.skeleton, clip.fps) == ("jump up", ["jump up"], "ntu25", 30.0)
    assert faults == []


def test_the_actions_stand_at_their_numbers():
    assert len(set(ACTIONS)) == 120
    assert [ACTIONS[number - 1] for number in (1, 43, 60, 61, 120)] == [
        "drink water", "falling", "walking apart from each other", "put on headphone",
        "finger-guessing game (playing rock-paper-scissors)",
    ]  # fmt: skip


@pytest.mark.parametrize("order", [("chair", "person"), ("person", "chair")])
def test_of_several_bodies_the_one_that_moves_most_is_taken_and_told_of(tmp_path, order):
    person = walk(6) + np.linspace(0, 1, 6)[:, None, None] * [1.0, 0, 0]
    bodies = {"chair": np.tile(walk(1), (6, 1, 1)), "person": person}
    add_file(tmp_path, "S001C001P001R001A001", {f"7205759403793{name}": bodies[name] for name in order})
    corpus = NTU(tmp_path)
    (clip,), faults = read_item(corpus, first_item(corpus))
    np.testing.assert_allclose(clip.joints, person, atol=1e-5)
    assert [(fault.kind, fault.detail) for fault in faults] == [
        ("several bodies, of which the one that moves most is taken", "2 bodies")
    ]


def test_the_owners_list_of_missing_skeletons_is_respected(tmp_path):
    for name in ("S001C001P001R001A001", "S001C001P001R001A002"):
        add_file(tmp_path, name)
    assert "no list of samples with missing skeletons" in str(NTU(tmp_path).lists().remarks)
    (tmp_path / "NTU_RGBD_samples_with_missing_skeletons.txt").write_text(
        "302 samples are broken.\n\nS001C001P001R001A002\n"
    )
    corpus = NTU(tmp_path)
    good, missing = corpus.lists().items["train"]
    assert read_item(corpus, good)[0]
    assert read_item(corpus, missing)[1][-1].kind == "in the owner's list of samples with missing skeletons"


def test_files_that_cannot_be_used_are_told_of(tmp_path):
    add_file(tmp_path, "S001C001P001R001A001").clear()
    file = tmp_path / "nturgb+d_skeletons" / "S001C001P001R001A001.skeleton"
    file.write_text(file.read_text()[:500])
    for name in ("walking", "S001C001P001R001A121"):
        add_file(tmp_path, name)
    corpus = NTU(tmp_path)
    assert [fault.kind for _, fault in corpus.lists().remarks].count("name that is not SsssCcccPpppRrrrAaaa") == 2
    clips, faults = read_item(corpus, first_item(corpus))
    assert clips == []
    assert "the file ends" in faults[-1].detail or "expected" in faults[-1].detail


def test_an_unknown_protocol_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"unknown protocol 'xcam'; known: xsub"):
        NTU(tmp_path, "xcam")
    with pytest.raises(FileNotFoundError, match=r"has no \.skeleton file"):
        NTU(tmp_path).lists()
