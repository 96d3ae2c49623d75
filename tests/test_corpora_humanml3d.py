"""HumanML3D's layout, made up: every caption becomes a row's or is told of."""

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches.processing.building import make_row, read_item
from motionpatches.processing.corpora_humanml3d import HumanML3D, KitML
from motionpatches.processing.corpora_layout import Item


WORDS = "a/DET man/NOUN walk/VERB"


def add_motion(root, name, captions=("a man walks",), num_frames=120, skeleton="smpl22", joints=None):
    """A motion and its captions: texts, or (text, from, to), or whole lines as bytes."""
    for folder in ("new_joints", "texts"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if joints is None:
        joints = swinging_motion(skeleton, num_frames, seed=len(name) + int(name[-1])).astype(np.float32)
    np.save(root / "new_joints" / f"{name}.npy", joints)
    lines = []
    for caption in captions:
        text, start, end = caption if isinstance(caption, tuple) else (caption, 0.0, 0.0)
        lines.append(text if isinstance(text, bytes) else f"{text}#{WORDS}#{start}#{end}".encode())
    (root / "texts" / f"{name}.txt").write_bytes(b"\n".join(lines) + b"\n")
    return joints


def write_lists(root, **splits):
    for split, names in splits.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")


def kinds(faults):
    return [fault.kind for fault in faults]


def rows_of(corpus, name, mirror_of=None):
    item = Item(name, mirror_of=mirror_of)
    return [make_row(corpus, "mine", item, clip) for clip in corpus.read(item)[0]]


def test_a_motion_is_the_array_of_its_file_with_all_its_captions(tmp_path):
    joints = add_motion(tmp_path, "000001", ["a man walks", "somebody strolls # and stops"])
    (row,) = rows_of(HumanML3D(tmp_path), "000001")
    np.testing.assert_array_equal(row["joints"].reshape(row["num_frames"], row["num_joints"], 3), joints)
    assert row["captions"] == ["a man walks", "somebody strolls # and stops"]
    assert (row["id"], row["skeleton"], row["fps"], row["mirrored"]) == ("000001", "smpl22", 20.0, False)


def test_captions_of_a_part_make_a_sub_clip_of_those_frames(tmp_path):
    captions = ["he walks", ("he turns", 2.0, 5.0), ("he spins", 2.01, 5.04), ("all of it", 0.0, 6.0), ("nan", "nan", "nan")]
    joints = add_motion(tmp_path, "000001", captions)
    whole, part = HumanML3D(tmp_path).read(Item("000001"))[0]
    assert (whole.part, whole.captions) == ("", ["he walks", "all of it", "nan"])
    assert (part.part, part.captions) == ("40-100", ["he turns", "he spins"])
    np.testing.assert_array_equal(part.joints, joints[40:100])
    assert [row["id"] for row in rows_of(HumanML3D(tmp_path), "000001")] == ["000001", "000001_40-100"]


def test_a_motion_with_captions_of_parts_alone_is_no_row_itself(tmp_path):
    add_motion(tmp_path, "000001", [("he turns", 1.0, 4.0)])
    assert [clip.part for clip in HumanML3D(tmp_path).read(Item("000001"))[0]] == ["20-80"]


def test_without_sub_clips_a_row_is_a_motion(tmp_path):
    add_motion(tmp_path, "000001", ["he walks", ("he turns", 1.0, 4.0), ("all of it", 0.0, 6.0)])
    add_motion(tmp_path, "000002", [("he turns", 1.0, 4.0)])
    corpus = HumanML3D(tmp_path, sub_clips=False)
    (clip,), faults = corpus.read(Item("000001"))
    assert (clip.part, clip.captions) == ("", ["he walks", "all of it"])
    assert [(fault.kind, fault.detail) for fault in faults] == [("caption of a part, as no sub-clips are made", "he turns")]
    assert read_item(corpus, Item("000002"))[1][-1].kind == "no part that can be used"


@pytest.mark.parametrize(
    ("times", "kind", "parts"),
    [
        ((1.0, 2.0), "sub-clip shorter than 40 frames", [""]),
        ((7.0, 9.0), "sub-clip outside the motion", [""]),
        ((-1.0, 3.0), "sub-clip outside the motion", [""]),
        ((4.0, 1.0), "sub-clip that ends before it begins", [""]),
        ((3.0, 9.0), "sub-clip cut at the end of the motion", ["", "60-120"]),
        ((5.0, 9.0), "sub-clip shorter than 40 frames", [""]),
    ],
)
def test_a_part_that_is_too_short_or_outside_is_told_of(tmp_path, times, kind, parts):
    add_motion(tmp_path, "000001", ["he walks", ("he turns", *times)])
    clips, faults = HumanML3D(tmp_path).read(Item("000001"))
    assert [clip.part for clip in clips] == parts
    assert faults[-1].kind == kind
    assert f"{times[0]:g} to {times[1]:g} s of 6 s" in faults[-1].detail


def test_lines_that_are_no_captions_are_told_of_and_the_others_kept(tmp_path):
    lines = ["he walks", (b"he walks", 0, 0), (f"  #{WORDS}#0.0#0.0".encode(), 0, 0), ("he turns", "soon", 3.0)]
    add_motion(tmp_path, "000001", [*lines, (b"caf\xe9#x#0.0#0.0", 0, 0), (b"", 0, 0), ("he runs", 0.0, "inf")])
    (clip,), faults = HumanML3D(tmp_path).read(Item("000001"))
    assert clip.captions == ["he walks"]
    assert sorted(kinds(faults)) == [
        "caption whose times are no numbers", "caption whose times are no numbers", "empty caption",
        "line of text that is not UTF-8", "line that is not caption#words#from#to",
    ]  # fmt: skip
    assert any("000001.txt, line 5" in fault.detail for fault in faults)


def test_a_motion_that_cannot_be_used_says_why(tmp_path):
    corpus = HumanML3D(tmp_path)
    for name in ("000001", "000002", "000003", "000004", "000005", "000006"):
        add_motion(tmp_path, name)
    (tmp_path / "new_joints" / "000001.npy").unlink()
    (tmp_path / "texts" / "000002.txt").unlink()
    (tmp_path / "texts" / "000003.txt").write_text("\n\n")
    broken = tmp_path / "new_joints" / "000004.npy"
    broken.write_bytes(broken.read_bytes()[:-100])
    joints = swinging_motion(num_frames=60)
    joints[7, 3, 1] = np.nan
    add_motion(tmp_path, "000005", joints=joints)
    add_motion(tmp_path, "000006", joints=joints[:1])
    found = {name: read_item(corpus, Item(name)) for name in [f"{i:06d}" for i in range(1, 8)]}
    assert all(clips == [] for clips, _ in found.values())
    assert [faults[-1].kind for _, faults in found.values()] == [
        "no motion file", "no caption file", "no caption that can be used", "file that cannot be read", "NaN or infinite joints",
        "fewer than two frames", "neither motion nor caption file",
    ]  # fmt: skip
    assert "frame 7, joint 3" in found["000005"][1][-1].detail
    assert "cut off" in found["000004"][1][-1].detail
    assert str(tmp_path) not in str(found)


def test_objects_in_an_array_file_are_never_unpickled(tmp_path):
    add_motion(tmp_path, "000001")
    np.save(tmp_path / "new_joints" / "000001.npy", np.array([{"joints": 1}], dtype=object), allow_pickle=True)
    clips, faults = read_item(HumanML3D(tmp_path), Item("000001"))
    assert clips == []
    assert "never unpickled" in faults[-1].detail


def test_each_id_is_taken_once_and_what_is_judged_on_stays_whole(tmp_path):
    for name in ("000001", "M000001", "000002", "000003"):
        add_motion(tmp_path, name)
    write_lists(tmp_path, train=["000001", "M000001", "000002", "000001"], val=["000002"], test=["000002", "000003"])
    lists = HumanML3D(tmp_path).lists()
    assert {split: [item.id for item in items] for split, items in lists.items.items()} == {
        "train": ["000001", "M000001"],
        "validation": [],
        "test": ["000002", "000003"],
    }
    assert [item.mirror_of for item in lists.items["train"]] == [None, "000001"]
    assert [(name, fault.kind) for name, fault in lists.repeated["train"]] == [
        ("000002", "named by the list of split test too, and kept there"),
        ("000001", "named twice by the same list"),
    ]


def test_files_that_no_list_names_are_told_of(tmp_path):
    add_motion(tmp_path, "000001")
    add_motion(tmp_path, "000002")
    (tmp_path / "texts" / "000003.txt").write_text("x#x#0#0\n")
    write_lists(tmp_path, train=["000001"])
    remarks = [(name, fault.kind) for name, fault in HumanML3D(tmp_path).lists().remarks]
    assert ("000002", "motion that no split list names") in remarks
    assert ("000003", "captions that no split list names") in remarks
    assert ("test.txt", "no such split list") in remarks


def test_a_folder_of_another_layout_is_an_error_that_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no new_joints, no texts; expected the layout of HumanML3D"):
        HumanML3D(tmp_path).lists()
    add_motion(tmp_path, "000001")
    with pytest.raises(FileNotFoundError, match=r"none of the split lists train\.txt, val\.txt, test\.txt"):
        HumanML3D(tmp_path).lists()


def test_kit_ml_becomes_metres_and_keeps_its_frame_rate(tmp_path):
    joints = add_motion(tmp_path, "00001", ["he walks", ("he turns", 1.0, 3.0)], skeleton="kit21")
    whole, part = KitML(tmp_path).read(Item("00001"))[0]
    np.testing.assert_allclose(whole.joints, joints / 1000, rtol=1e-6)
    assert 0.5 < np.ptp(whole.joints[0, :, 1]) < 2.5  # a person, in metres
    assert (whole.fps, whole.skeleton, len(whole.joints)) == (12.5, "kit21", 120)
    assert part.part == "12-37"
