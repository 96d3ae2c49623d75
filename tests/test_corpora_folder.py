"""A folder of motion files with a table: what people have who own no benchmark."""

import json
import re

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches.processing.building import plan, read_item
from motionpatches.processing.corpora_folder import MotionFolder, draw_splits


def add_files(root, *names, **more):
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, joints=swinging_motion(seed=number), **{"skeleton": "smpl22", "fps": 20, **more})


def items_of(corpus):
    return {item.id: item for items in corpus.lists().items.values() for item in items}


def read_all(corpus):
    return {name: read_item(corpus, item) for name, item in items_of(corpus).items()}


TABLES = {
    "metadata.csv": [
        "file_name,text,label,split", 'walk.npz,"a man walks, slowly",walk,train', "sub/kick.npz,he kicks,kick,val"
    ],
    "captions.csv": [
        "\ufefffile_name,captions,label,split", 'walk.npz,"[""a man walks, slowly""]",walk,train',
        "sub/kick.npz,he kicks,kick,val",
    ],
    "metadata.jsonl": [
        '{"file_name": "walk.npz", "captions": ["a man walks, slowly"], "label": "walk", "split": "train"}', "",
        '{"file_name": "sub/kick.npz", "caption": "he kicks", "label": "kick", "split": "validation"}',
    ],
    "metadata.json": [
        '[{"file_name": "walk.npz", "text": "a man walks, slowly", "label": "walk", "split": "Train"},',
        '{"file_name": "sub/kick.npz", "text": "he kicks", "label": "kick", "split": "dev"}]',
    ],
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_table_says_the_same(tmp_path, table):
    add_files(tmp_path, "walk.npz", "sub/kick.npz")
    (tmp_path / table).write_text("\n".join(TABLES[table]), encoding="utf-8")
    corpus = MotionFolder(tmp_path)
    lists = corpus.lists()
    assert {split: [item.id for item in items] for split, items in lists.items.items()} == {
        "train": ["walk.npz"],
        "validation": ["sub/kick.npz"],
    }
    (clip,), faults = read_item(corpus, lists.items["train"][0])
    assert (clip.captions, clip.label, clip.skeleton, clip.fps, faults) == (
        ["a man walks, slowly"],
        "walk",
        "smpl22",
        20.0,
        [],
    )
    np.testing.assert_allclose(clip.joints, swinging_motion(seed=0), atol=1e-6)


def test_several_rows_of_a_file_are_several_captions_of_one_motion(tmp_path):
    add_files(tmp_path, "walk.npz")
    (tmp_path / "captions.csv").write_text("file_name,caption\nwalk.npz,one\n./walk.npz,two\nwalk.npz,one\nwalk.npz,  \n")
    (((clip,), faults),) = read_all(MotionFolder(tmp_path)).values()
    assert clip.captions == ["one", "two"]
    assert [fault.kind for fault in faults] == ["caption there twice", "empty caption"]


def test_a_label_alone_is_the_caption(tmp_path):
    add_files(tmp_path, "a.npz", "b.npz")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.npz,jump\nb.npz,\n")
    found = read_all(MotionFolder(tmp_path))
    assert (found["a.npz"][0][0].captions, found["a.npz"][0][0].label) == (["jump"], "jump")
    assert found["b.npz"][1][-1].kind == "neither caption nor label"


def test_what_a_file_does_not_say_the_table_or_the_call_does(tmp_path):
    for name in ("bare", "other"):
        np.save(tmp_path / f"{name}.npy", swinging_motion())
    table = "file_name,text,skeleton,fps\nbare.npy,walks,smpl22,30\nother.npy,walks,,\n"
    (tmp_path / "metadata.csv").write_text(table)
    found = read_all(MotionFolder(tmp_path))
    assert (found["bare.npy"][0][0].skeleton, found["bare.npy"][0][0].fps) == ("smpl22", 30.0)
    assert found["other.npy"][1][-1].kind == "no skeleton"
    assert read_all(MotionFolder(tmp_path, skeleton="smpl22"))["other.npy"][1][-1].kind == "no frame rate"
    assert read_all(MotionFolder(tmp_path, skeleton="smpl22", fps=25))["other.npy"][0][0].fps == 25.0


def test_splits_that_the_table_does_not_say_are_drawn_by_seed(tmp_path):
    names = [f"{number:02d}.npz" for number in range(20)]
    add_files(tmp_path, *names)
    (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f"{name},one\n{name},two\n" for name in names))
    lists = MotionFolder(tmp_path, seed=3).lists()
    assert {split: len(items) for split, items in lists.items.items()} == {"train": 16, "validation": 2, "test": 2}
    assert (lists.settings["seed"], lists.settings["shares"]) == (3, {"test": 0.1, "validation": 0.1})
    assert MotionFolder(tmp_path, seed=3).lists().items == lists.items
    assert MotionFolder(tmp_path, seed=4).lists().items != lists.items
    assert plan(MotionFolder(tmp_path, seed=3)).fingerprint != plan(MotionFolder(tmp_path, seed=4)).fingerprint


def test_few_files_are_all_there_to_train_with():
    assert set(draw_splits(["a", "b"], 0).values()) == {"train"}
    assert sorted(draw_splits(["a", "b", "c"], 0).values()) == ["test", "train", "validation"]


def test_a_table_in_each_folder_of_a_split(tmp_path):
    for split in ("train", "test"):
        add_files(tmp_path / split, "a.npz")
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps({"file_name": "a.npz", "text": split}) + "\n")
    lists = MotionFolder(tmp_path).lists()
    assert {split: [item.id for item in items] for split, items in lists.items.items()} == {
        "train": ["train/a.npz"],
        "test": ["test/a.npz"],
    }


def test_rows_that_cannot_be_used_are_told_of(tmp_path):
    add_files(tmp_path / "data", "a.npz", "b.npz", "c.npz", "d.npz", "e.npz")
    add_files(tmp_path, "outside.npz")
    rows = [
        b"file_name,text,label,split", b"a.npz,good,x,train", b"a.npz,bad,y,train", b"b.npz,caf\xe9,,train", b"c.npz,one,,train",
        b"c.npz,two,,test", b"d.npz,one,,maybe", b",lost,,train", b"gone.npz,one,,train", b"../outside.npz,one,,test",
        b"e.npz,one,,test,more",
    ]  # fmt: skip
    (tmp_path / "data" / "metadata.csv").write_bytes(b"\n".join(rows))
    corpus = MotionFolder(tmp_path / "data")
    remarks = {(name, fault.kind) for name, fault in corpus.lists().remarks}
    assert remarks == {
        ("metadata.csv", "row without a file name"),
        ("metadata.csv", "row with more cells than columns"),
        ("c.npz", "rows of one file in several splits"),
        ("d.npz", "unknown split"),
        ("e.npz", "motion file that no table names"),
    }
    found = read_all(corpus)
    assert all(clips == [] for clips, _ in found.values())
    assert {name: faults[-1].kind for name, (_, faults) in found.items()} == {
        "a.npz": "rows of one file that contradict each other",
        "b.npz": "neither caption nor label",
        "gone.npz": "no motion file",
        "../outside.npz": "file outside the folder",
    }
    assert "caf" in found["b.npz"][1][-1].detail


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "has none of metadata.csv"),
        ({"metadata.csv": "file_name,text\n", "captions.csv": "file_name,text\n"}, "has several tables"),
        ({"metadata.csv": "file,text\na.npz,one\n"}, "has the columns file, text; expected file_name"),
        ({"metadata.csv": "file_name,fps\na.npz,20\n"}, "one of captions, caption, text or label"),
        ({"metadata.jsonl": '{"file_name": \n'}, "cannot be read"),
        ({"metadata.json": '{"file_name": "a.npz"}'}, "cannot be read"),
        ({"metadata.csv": "file_name,text\n"}, "names no file"),
    ],
)
def test_a_folder_without_a_good_table_is_an_error(tmp_path, tables, message):
    add_files(tmp_path, "a.npz")
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        MotionFolder(tmp_path).lists()
