"""What a source knows of its motions, and by what it tells that they have changed."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import swinging_motion
from datasets import Dataset, DatasetDict

from motionpatches import MotionPatchProcessor
from motionpatches.training.index_sources import open_source


def write_motion(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=swinging_motion(seed=seed), skeleton="smpl22", fps=20)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.npz", "b.npz", "more/c.npz"):
        write_motion(tmp_path / "library" / name, seed=len(name))
    return tmp_path / "library"


def keys_of(source):
    return {name: source.key(index) for index, name in enumerate(source.columns["id"].to_pylist())}


def test_files_of_a_folder_and_its_sub_folders(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "scene.json").write_text("{}")
    source = open_source(folder)
    assert source.name == "library"
    assert source.columns["id"].to_pylist() == ["a.npz", "b.npz", "more/c.npz"]
    assert source.columns["path"].to_pylist() == ["a.npz", "b.npz", "more/c.npz"]
    assert source.other_files == {".txt": 1, ".json": 1}
    assert len(open_source(folder, suffixes=[".json", ".npz"])) == 4


ROWS = [
    {"file_name": "a.npz", "caption": "a person walks", "actor": 7, "skeleton": "smpl22"},
    {"file_name": "a.npz", "caption": "someone walks", "actor": 7, "skeleton": "smpl22"},
    {"file_name": "more/c.npz", "caption": "a kick", "actor": 8, "skeleton": "smpl22"},
    {"file_name": "gone.npz", "caption": "a jump", "actor": 9, "skeleton": "smpl22"},
]


def write_table(path, rows):
    text = {
        ".jsonl": lambda: "\n".join(json.dumps(row) for row in rows),
        ".json": lambda: json.dumps(rows),
        ".csv": lambda: "\n".join([",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]),
        ".tsv": lambda: "\n".join(["\t".join(rows[0]), *("\t".join(str(cell) for cell in row.values()) for row in rows)]),
    }
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(text[path.suffix]() + "\n")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_a_table_gives_captions_and_columns(folder, suffix):
    write_table(folder / f"metadata{suffix}", ROWS)
    source = open_source(folder)
    assert source.columns["captions"].to_pylist() == [["a person walks", "someone walks"], [], ["a kick"]]
    assert source.columns["actor"].to_pylist() == [7, None, 8]
    assert source.faults == [("gone.npz", "named by the table, but no motion file", "")]
    assert source.other_files == {}
    (folder / f"metadata{suffix}").rename(folder.parent / f"table{suffix}")
    assert open_source(folder, metadata=folder.parent / f"table{suffix}").columns.equals(source.columns)


def test_captions_may_be_a_list_and_a_json_text(folder):
    rows = [{"file_name": "a.npz", "captions": ["one", " two "]}, {"file_name": "b.npz", "captions": []}]
    write_table(folder / "metadata.jsonl", rows)
    assert open_source(folder).columns["captions"].to_pylist() == [["one", "two"], [], []]
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text('file_name,captions\na.npz,"[""one"", ""two""]"\nb.npz,[sic] he walks\n')
    assert open_source(folder).columns["captions"].to_pylist() == [["one", "two"], ["[sic] he walks"], []]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,caption\na.npz,x\n", "has the columns name, caption; expected file_name"),
        ("file_name,actor\na.npz,1\na.npz,2\n", r"rows of 'a\.npz' contradict each other in actor"),
        ("file_name,actor\na.npz\n", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_understood(folder, text, message):
    (folder / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(folder)


def test_what_a_table_or_a_call_says_of_files_that_do_not(folder):
    np.save(folder / "bare.npy", swinging_motion())
    patches = MotionPatchProcessor()
    silent = open_source(folder)
    place = silent.columns["id"].to_pylist().index("bare.npy")
    with pytest.raises(ValueError, match="says no skeleton"):
        silent.read(place, patches)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is to be said comes as notes
        motion, notes = open_source(folder, skeleton="smpl22").read(place, patches)
        assert "say no frame rate" in " ".join(notes)
    motion, notes = open_source(folder, skeleton="smpl22", fps=30).read(place, patches)
    assert (motion.skeleton.name, motion.fps, notes) == ("smpl22", 30, [])
    (folder / "metadata.csv").write_text("file_name,skeleton,fps\nbare.npy,smpl22,60\n")
    told = open_source(folder, skeleton="mixamo", fps=30)
    assert told.read(place, patches)[0].fps == 60
    assert keys_of(told)["bare.npy"] != keys_of(silent)["bare.npy"]  # read in another way, it is another motion


def test_the_key_of_a_file_is_its_content(folder):
    before = keys_of(open_source(folder))
    write_motion(folder / "copy.npz", seed=len("a.npz"))
    write_motion(folder / "b.npz", seed=99)
    (folder / "metadata.csv").write_text("file_name,caption\na.npz,a person walks\n")
    after = keys_of(open_source(folder))
    assert after["a.npz"] == after["copy.npz"] == before["a.npz"]
    assert after["b.npz"] != before["b.npz"]
    assert after["more/c.npz"] == before["more/c.npz"]


def test_files_that_a_motion_is_read_with_count_as_its_content(tmp_path):
    (tmp_path / "07_01.amc").write_text(":FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 0 0 0 0 0\n")
    (tmp_path / "07.asf").write_text(":version 1.10\n")
    (tmp_path / "a.gltf").write_text(json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "my%20data.bin"}]}))
    (tmp_path / "my data.bin").write_bytes(b"1")
    (tmp_path / "broken.gltf").write_text("{")
    before = keys_of(open_source(tmp_path))
    (tmp_path / "07.asf").write_text(":version 1.20\n")
    (tmp_path / "my data.bin").write_bytes(b"2")
    after = keys_of(open_source(tmp_path))
    assert {name for name in before if before[name] != after[name]} == {"07_01.amc", "a.gltf"}


def test_rows_of_a_folder_of_motion_data(data_folder, tiny_data):
    source = open_source(data_folder)
    assert len(source) == sum(len(rows) for rows in tiny_data.values())
    assert set(source.columns["split"].to_pylist()) == {"train", "validation", "test"}
    assert source.columns["id"][0].as_py() == f"smpl22/{tiny_data['train'][0]['id']}"
    only = open_source(data_folder, split="test")
    assert only.columns["captions"].to_pylist() == tiny_data["test"]["captions"][:]
    motion, _ = only.read(3, MotionPatchProcessor())
    row = tiny_data["test"].with_format("numpy")[3]
    np.testing.assert_allclose(motion.joints, row["joints"].reshape(motion.joints.shape), atol=1e-6)
    with pytest.raises(ValueError, match="no split 'dev'; the data has train, validation, test"):
        open_source(data_folder, split="dev")


def test_the_key_of_a_row_is_its_motion(tiny_data):
    rows = tiny_data["test"].select(range(3))
    source = open_source(rows)
    assert len(set(keys_of(source).values())) == 3
    told = [{**row, "captions": ["x"]} for row in rows]
    assert keys_of(open_source(Dataset.from_list(told, features=rows.features))) == keys_of(source)
    told[1]["fps"] = 30.0
    told[2]["joints"] = [value + 1e-3 for value in told[2]["joints"]]
    changed = keys_of(open_source(Dataset.from_list(told, features=rows.features)))
    assert [changed[name] == key for name, key in keys_of(source).items()] == [True, False, False]


def test_what_cannot_be_a_source(folder, tiny_data, tmp_path):
    rows = tiny_data["test"]
    twice = DatasetDict({"train": rows, "test": rows})
    for arguments, error, message in (
        ((tmp_path / "nowhere",), FileNotFoundError, "no folder"),
        ((folder, None, "test"), ValueError, "motion files, which have no splits"),
        ((rows, None, "test"), ValueError, "is for motion data with splits"),
        ((rows, None, None, "table.csv"), ValueError, "metadata, skeleton and fps are for files"),
        ((rows.remove_columns("num_frames"),), ValueError, "the rows lack the columns num_frames"),
        ((twice,), ValueError, "12 ids occur twice in 'motions', such as"),
        ((folder, None, None, "table.csv"), FileNotFoundError, "no table 'table.csv'"),
        (([],), TypeError, "cannot index a list"),
    ):
        with pytest.raises(error, match=message):
            open_source(*arguments)
