"""InterHuman's layout, made up: two persons of one frame in each row."""

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches import MotionPatchProcessor
from motionpatches.processing.building import make_row, read_item
from motionpatches.processing.corpora_interhuman import InterHuman
from motionpatches.processing.corpora_layout import Item


def add_motion(root, name, captions="two people shake hands\n\nthey greet\n", num_frames=(40, 40)):
    """Two persons, z up, in files of 492 columns; returns them y up, shape (2, T, 22, 3)."""
    persons = []
    for number, frames in enumerate(num_frames, start=1):
        y_up = swinging_motion(num_frames=frames, seed=number) + np.array([number, 0, 0])
        z_up = np.stack([y_up[..., 0], -y_up[..., 2], y_up[..., 1]], axis=-1)
        columns = np.random.default_rng(number).normal(size=(frames, 492)).astype(np.float32)
        columns[:, :66] = z_up.reshape(frames, 66)
        folder = root / "motions_processed" / f"person{number}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", columns)
        persons.append(y_up)
    (root / "annots").mkdir(exist_ok=True)
    (root / "annots" / f"{name}.txt").write_text(captions)
    return persons


def test_a_row_holds_both_persons_with_y_up_where_they_stand(tmp_path):
    persons = add_motion(tmp_path, "12")
    corpus = InterHuman(tmp_path)
    (clip,), faults = corpus.read(Item("12"))
    np.testing.assert_allclose(clip.joints, persons, atol=1e-5)
    assert (clip.fps, clip.captions, faults) == (30.0, ["two people shake hands", "they greet"], [])
    row = make_row(corpus, "interhuman", Item("12"), clip)
    assert (row["persons"], row["num_frames"], row["num_joints"], len(row["joints"])) == (2, 40, 22, 2 * 40 * 22 * 3)
    values = MotionPatchProcessor(normalization=None, padding="longest")(row)["motion_values"]
    assert values.shape[:3] == (1, 2, 3)


@pytest.mark.parametrize("folder", ["", "split"])
def test_the_lists_are_found_in_the_folder_or_in_split(tmp_path, folder):
    for name in ("1", "2", "3"):
        add_motion(tmp_path, name)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "train.txt").write_text("1\n2\n")
    (tmp_path / folder / "test.txt").write_text("3\n4\n")
    (tmp_path / folder / "ignore_list.txt").write_text("2\n")
    corpus = InterHuman(tmp_path)
    lists = corpus.lists()
    assert {split: [item.id for item in items] for split, items in lists.items.items()} == {
        "train": ["1", "2"],
        "test": ["3", "4"],
    }
    assert ("val.txt", "no such split list") in [(name, fault.kind) for name, fault in lists.remarks]
    assert read_item(corpus, lists.items["train"][1])[1][-1].kind == "in the owner's ignore_list.txt"
    assert read_item(corpus, lists.items["test"][1])[1][-1].kind == "neither motion nor caption file"


def test_a_pair_that_is_not_whole_says_why(tmp_path):
    corpus = InterHuman(tmp_path)
    add_motion(tmp_path, "1")
    (tmp_path / "motions_processed" / "person2" / "1.npy").unlink()
    add_motion(tmp_path, "2", num_frames=(40, 39))
    add_motion(tmp_path, "3", captions="\n")
    add_motion(tmp_path, "4")
    np.save(tmp_path / "motions_processed" / "person1" / "4.npy", np.zeros((40, 60), np.float32))
    reasons = [read_item(corpus, Item(name))[1][-1] for name in ("1", "2", "3", "4")]
    assert [reason.kind for reason in reasons] == [
        "no motion file", "persons of different length", "no caption that can be used", "file that cannot be read"
    ]  # fmt: skip
    assert reasons[0].detail == "of person2"
    assert "(40, 60)" in reasons[3].detail


def test_a_folder_of_pickles_alone_is_an_error(tmp_path):
    (tmp_path / "motions").mkdir()
    (tmp_path / "motions" / "1.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(FileNotFoundError, match="has no motions_processed/person1"):
        InterHuman(tmp_path).lists()
