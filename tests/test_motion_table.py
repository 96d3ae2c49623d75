"""Rows by number without copies: the same as the data set gives, however it was stored, selected and sent around."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from conftest import swinging_motion
from datasets import Dataset, concatenate_datasets, load_from_disk

from motionpatches import make_motions
from motionpatches.processing.corpora import stream_motions, to_dataset
from motionpatches.processing.motion_table import MotionTable


@pytest.fixture(scope="module")
def rows():
    return to_dataset(make_motions(12, seed=3), "made")


def assert_same(table, rows):
    assert len(table) == len(rows)
    for number, expected in enumerate(rows.with_format("numpy", columns=["joints"], output_all_columns=True)):
        found = table[number]
        assert sorted(found) == sorted(expected)
        np.testing.assert_array_equal(found.pop("joints"), expected.pop("joints"))
        assert found == expected


def test_rows_are_those_of_the_data_set_however_it_lies(rows, tmp_path):
    rows.save_to_disk(tmp_path / "disk", num_shards=3)
    mapped = load_from_disk(tmp_path / "disk")
    chunked = concatenate_datasets([rows, mapped.select(range(2, 7)), rows])
    for form in (rows, mapped, mapped.select(range(3, 9)), mapped.select([5, 0, 5, 11]), mapped.shuffle(seed=0), chunked):
        assert_same(MotionTable(form), form)
    assert_same(pickle.loads(pickle.dumps(MotionTable(mapped))), mapped)


def test_joints_are_views_of_the_file(rows, tmp_path):
    rows.save_to_disk(tmp_path)
    table = MotionTable(load_from_disk(tmp_path))
    first, again = table.joints(4), table.joints(4)
    assert np.shares_memory(first, again)
    assert not first.flags.writeable


def test_rows_without_joints_and_other_columns(rows):
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "joints": pa.array([[1.0, 2.0], None, [3.0, None]], type=pa.list_(pa.float32())),
            "note": [1, 2, None],
        }
    )
    found = MotionTable(Dataset(table))
    assert found[1] == {"joints": None, "id": "b", "note": 2}
    assert found[0]["joints"].tolist() == [1.0, 2.0]
    assert np.isnan(found[-1]["joints"]).tolist() == [False, True]
    assert found.column("note") == [1, 2, None]
    with pytest.raises(IndexError, match="row 3 of 3"):
        found[3]
    for broken in (rows.remove_columns("joints"), Dataset.from_dict({"joints": [[[1.0]], [[2.0]]]})):
        with pytest.raises(ValueError, match="a column 'joints' of flat lists"):
            MotionTable(broken)


def test_integers_stay_integers():
    joints = (swinging_motion() * 1000).astype(np.int16)
    rows = Dataset(pa.table({"joints": pa.array([joints.reshape(-1)], type=pa.list_(pa.int16()))}))
    np.testing.assert_array_equal(MotionTable(rows)[0]["joints"], joints.reshape(-1))


@pytest.mark.parametrize("layout", ["whole", "shards"])
def test_a_stream_gives_the_rows_of_the_files_in_order(rows, tmp_path, layout):
    names = {"whole": ["made/train.parquet"], "shards": [f"made/data/train-0000{part}-of-00002.parquet" for part in (0, 1)]}[
        layout
    ]
    for part, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        rows.remove_columns(["unit", "dataset"]).shard(len(names), part, contiguous=True).to_parquet(tmp_path / name)
    for folder in (tmp_path, tmp_path / "made"):
        stream = stream_motions(folder, "train")
        assert [row["id"] for row in stream] == rows["id"][:]
        first = next(iter(stream))
        assert first == rows[0]
    assert [row["id"] for row in stream_motions(tmp_path, "train", ["made"]).shuffle(seed=0, buffer_size=12)] != rows["id"][
        :
    ]
    with pytest.raises(ValueError, match=r"no split 'test'; it has train"):
        stream_motions(tmp_path, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no motions"):
        stream_motions(tmp_path / "empty", "train")
