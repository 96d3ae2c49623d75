"""Shards and report: everything that the lists name is accounted for, and what is done is not done again."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import swinging_motion
from test_corpora_humanml3d import add_motion, write_lists

from motionpatches.processing import building
from motionpatches.processing.building import build, plan
from motionpatches.processing.corpora_humanml3d import HumanML3D


@pytest.fixture
def root(tmp_path):
    """HumanML3D with all that can be wrong."""
    root = tmp_path / "HumanML3D"
    for name in ("000001", "M000001", "000002", "M000002", "000003", "000004"):
        add_motion(root, name, ["he walks", "somebody walks", ("he turns", 1.0, 4.0)])
    joints = swinging_motion(num_frames=120)
    joints[50, 0] = np.inf
    add_motion(root, "000003", ["he walks", ("he turns", 3.0, 5.9)], joints=joints)
    add_motion(root, "000004", ["he walks", ("he turns", 3.0, 3.5), ""])
    add_motion(root, "000006")
    (root / "new_joints" / "000006.npy").unlink()
    write_lists(
        root,
        train=["000001", "M000001", "000002", "M000002", "000001", "000009"],
        val=["000003", "000006", "M000001"],
        test=["000004", "M000002"],
    )
    return root


def rows_of(shards):
    return {split: [row for file in files for row in pq.read_table(file).to_pylist()] for split, files in shards.items()}


def ids_of(kinds):
    return {kind: [case["id"] for case in found["cases"]] for kind, found in kinds.items()}


def test_everything_that_a_list_names_is_found_or_skipped_for_a_reason(root, tmp_path):
    built = build(plan(HumanML3D(root)), tmp_path / "work")
    for part in built.report["splits"].values():
        assert part["named"] == part["found"] + sum(found["count"] for found in part["skipped"].values())
    train, validation, test = (built.report["splits"][split] for split in ("train", "validation", "test"))
    assert (train["named"], train["found"], train["rows"], train["sub_clips"]) == (6, 2, 4, 2)
    assert ids_of(train["skipped"]) == {
        "neither motion nor caption file": ["000009"],
        "named by the list of split validation too, and kept there": ["M000001"],
        "named by the list of split test too, and kept there": ["M000002"],
        "named twice by the same list": ["000001"],
    }
    assert ids_of(validation["skipped"]) == {"no motion file": ["000006"]}
    assert (test["found"], test["rows"]) == (2, 3)
    assert ids_of(test["faults"]) == {"empty caption": ["000004"], "sub-clip shorter than 40 frames": ["000004"]}


def test_a_part_with_nan_is_left_out_and_the_other_part_kept(root, tmp_path):
    built = build(plan(HumanML3D(root)), tmp_path / "work")
    validation = built.report["splits"]["validation"]
    assert [row["id"] for row in rows_of(built.shards)["validation"]] == ["000003_60-118", "M000001", "M000001_20-80"]
    assert ids_of(validation["faults"]) == {"NaN or infinite joints": ["000003"]}


def test_lengths_captions_and_mirrored_pairs_are_counted(root, tmp_path):
    write_lists(root, train=["000001", "M000001", "M000002"], val=["000002"], test=["M000009", "000004"])
    train = build(plan(HumanML3D(root)), tmp_path / "work").report["splits"]["train"]
    assert train["captions"] == {"total": 9, "mean": 1.5, "per_motion": {"1": 3, "2": 3}}
    assert train["frames"] == {"min": 60, "median": 90.0, "max": 120, "total": 540.0}
    assert train["seconds"]["max"] == 6.0
    assert train["mirrored"] == {"motions": 2, "pairs": 1, "twin_in_another_split": ["M000002"], "without_twin": []}


def test_rows_hold_the_columns_of_the_hub(root, tmp_path):
    row = rows_of(build(plan(HumanML3D(root)), tmp_path / "work").shards)["train"][1]
    assert list(row) == [
        "id", "joints", "num_frames", "num_joints", "skeleton", "fps", "captions", "mirrored", "dataset", "source_id"
    ]  # fmt: skip
    assert (row["id"], row["source_id"], row["dataset"], row["captions"]) == (
        "000001_20-80",
        "000001",
        "humanml3d",
        ["he turns"],
    )
    joints = np.load(root / "new_joints" / "000001.npy")[20:80]
    np.testing.assert_array_equal(np.reshape(row["joints"], joints.shape), joints)


def test_a_build_that_broke_off_goes_on_where_it_was(root, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "SHARD_ITEMS", 1)
    expected = build(plan(HumanML3D(root)), tmp_path / "whole")
    read, seen = HumanML3D.read, []

    def interrupted(self, item):
        seen.append(item.id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(self, item)

    monkeypatch.setattr(HumanML3D, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(plan(HumanML3D(root)), tmp_path / "work")
    (tmp_path / "work" / "train-00002.parquet.tmp").write_bytes(b"PAR1")
    first = seen[:]
    built = build(plan(HumanML3D(root)), tmp_path / "work")
    assert seen == [*first, *[item.id for items in plan(HumanML3D(root)).lists.items.values() for item in items][2:]]
    assert rows_of(built.shards) == rows_of(expected.shards)
    assert built.report == expected.report


def test_a_shard_without_its_note_is_not_taken_for_whole(root, tmp_path):
    built = build(plan(HumanML3D(root)), tmp_path / "work")
    expected = rows_of(built.shards)
    shard = built.shards["train"][0]
    shard.write_bytes(shard.read_bytes()[:100])
    (tmp_path / "work" / "train-00000.note.json").unlink()
    assert rows_of(build(plan(HumanML3D(root)), tmp_path / "work").shards) == expected


def test_what_another_job_left_is_not_gone_on_with(root, tmp_path):
    build(plan(HumanML3D(root)), tmp_path / "work")
    write_lists(root, train=["000002"], val=[], test=[])
    built = build(plan(HumanML3D(root)), tmp_path / "work")
    assert [row["source_id"] for row in rows_of(built.shards)["train"]] == ["000002", "000002"]
    assert set(built.shards) == {"train"}
    assert len(list((tmp_path / "work").glob("*.parquet"))) == 1


def test_several_processes_build_what_one_does(root, tmp_path):
    one, two = (build(plan(HumanML3D(root)), tmp_path / str(number), num_workers=number) for number in (1, 2))
    assert rows_of(one.shards) == rows_of(two.shards)
    assert one.report == two.report


def test_a_report_tells_no_folders_of_a_machine(root, tmp_path):
    (root / "new_joints" / "000001.npy").write_bytes(b"\x93NUMPY, but no more")
    report = build(plan(HumanML3D(root)), tmp_path / "work").report
    assert "file that cannot be read" in report["splits"]["train"]["skipped"]
    assert str(tmp_path) not in json.dumps(report)


def test_a_data_set_without_a_row_is_an_error_with_the_reasons(root, tmp_path):
    write_lists(root, train=["000009"], val=["000006"], test=[])
    message = r"name makes a row: train: neither motion nor caption file \(1\); validation: no motion file \(1\)"
    with pytest.raises(ValueError, match=message):
        build(plan(HumanML3D(root)), tmp_path / "work")


def test_ids_that_would_be_alike_are_an_error(root, tmp_path):
    add_motion(root, "000001_20-80")
    write_lists(root, train=["000001", "000001_20-80"], val=[], test=[])
    with pytest.raises(ValueError, match="1 ids would occur twice, such as 000001_20-80"):
        build(plan(HumanML3D(root)), tmp_path / "work")
