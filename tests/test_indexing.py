"""The commands `index`, `search` and `captions`."""

import io

import numpy as np
import pytest
from conftest import swinging_motion
from rich.console import Console

from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.indexing import (
    parse_settings,
    print_hits,
    print_index_report,
    rank_captions,
    search_index,
    update_index,
)
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.motion_index import MotionIndex


def write_motion(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=swinging_motion(seed=seed), skeleton="smpl22", fps=20)


@pytest.fixture
def library(tmp_path):
    for number in range(4):
        write_motion(tmp_path / "library" / f"{number}.npz", number)
    return tmp_path / "library"


@pytest.fixture
def checkpoint(trained_run):
    return str(trained_run / "best")


def printed(function, found):
    stream = io.StringIO()
    function(found, Console(file=stream, width=300))
    return stream.getvalue()


def test_index_again_adds_what_is_new_and_removes_what_is_gone(library, checkpoint, tmp_path):
    (library / "bad.bvh").write_text("HIERARCHY\n")
    (library / "notes.txt").write_text("mine")
    report = update_index(library, checkpoint, tmp_path / "index")
    text = printed(print_index_report, report)
    assert "4 motions in the index (flat): 4 added, 0 changed, 0 unchanged, 0 removed; 4 embedded now; 1 left out" in text
    assert "motion that cannot be read" in text
    assert "bad.bvh: not a readable BVH file" in text
    assert "files of other kinds, not looked at: 1 .txt" in text
    write_motion(library / "more" / "4.npz", 4)
    (library / "0.npz").unlink()
    text = printed(print_index_report, update_index(library, checkpoint, tmp_path / "index"))
    assert "4 motions in the index (flat): 1 added, 0 changed, 3 unchanged, 1 removed; 1 embedded now; 1 left out" in text
    ids = MotionIndex.load(tmp_path / "index", checkpoint).table["id"].to_pylist()
    assert sorted(ids) == ["1.npz", "2.npz", "3.npz", "more/4.npz"]
    assert not (tmp_path / "index.partial").exists()


def test_another_kind_needs_no_embedding_and_stays(library, checkpoint, tmp_path):
    update_index(library, checkpoint, tmp_path / "index")
    report = update_index(library, checkpoint, tmp_path / "index", kind="hnsw", settings={"m": 8})
    assert (report["kind"], report["embedded"]) == ("hnsw", 0)
    update_index(library, checkpoint, tmp_path / "index")
    index = MotionIndex.load(tmp_path / "index", checkpoint)
    assert (index.kind, index.settings) == ("hnsw", {"m": 8})


def test_an_index_of_another_checkpoint_or_folder_is_not_replaced_by_chance(library, checkpoint, trained_run, tmp_path):
    update_index(library, checkpoint, tmp_path / "index")
    model, processor = load_checkpoint(checkpoint)
    for parameter in model.parameters():
        parameter.data += 0.01
    for part in (model, processor):
        part.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="the index was made by the checkpoint run/best"):
        update_index(library, str(tmp_path / "other"), tmp_path / "index")
    report = update_index(library, str(tmp_path / "other"), tmp_path / "index", overwrite=True)
    assert report["embedded"] == 4
    write_motion(tmp_path / "wrong" / "x.npz", 9)
    with pytest.raises(ValueError, match=rf"none of the 4 motions in the index .* made of {library}"):
        update_index(tmp_path / "wrong", str(tmp_path / "other"), tmp_path / "index")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="something else than an index"):
            update_index(library, checkpoint, tmp_path / "mine", overwrite=overwrite)


def test_a_library_may_be_moved(library, checkpoint, tmp_path):
    update_index(library, checkpoint, tmp_path / "index")
    library.rename(tmp_path / "renamed")
    report = update_index(tmp_path / "renamed", checkpoint, tmp_path / "index")
    assert (report["unchanged"], report["embedded"]) == (4, 0)
    (hit,) = search_index(tmp_path / "index", motion=tmp_path / "renamed" / "1.npz", top_k=1)
    assert hit["path"] == str(tmp_path / "renamed" / "1.npz")


def test_a_folder_of_which_nothing_can_be_used(checkpoint, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "bad.bvh").write_text("HIERARCHY\n")
    with pytest.raises(
        ValueError, match=r"none of the 1 motions of .*motion that cannot be read \(1\), such as bad\.bvh: not a"
    ):
        update_index(tmp_path / "library", checkpoint, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_search_by_text_by_motion_and_by_both(library, checkpoint, tmp_path):
    (library / "metadata.csv").write_text("file_name,caption,label\n1.npz,a person [waves],wave\n")
    update_index(library, checkpoint, tmp_path / "index")
    model, processor = load_checkpoint(checkpoint)
    motions = embed_motions(model, processor, [str(library / f"{number}.npz") for number in range(4)])
    text = embed_texts(model, processor, ["a person waves"])[0]
    hits = search_index(tmp_path / "index", "a person waves", library / "2.npz", weight=0.25, top_k=4)
    expected = 0.75 * motions @ text + 0.25 * motions @ motions[2]
    assert {hit["id"]: hit["score"] for hit in hits} == pytest.approx(
        {f"{number}.npz": score for number, score in enumerate(expected)}, abs=1e-5
    )
    (hit,) = search_index(tmp_path / "index", "a person waves", top_k=1, where=["label = wave", "duration > 1"])
    assert hit["id"] == "1.npz"
    text = printed(print_hits, [hit])
    assert f"{hit['score']:.3f}" in text
    assert "a person [waves]" in text
    assert str(library / "1.npz") in text
    np.save(tmp_path / "bare.npy", swinging_motion(seed=3))
    (hit,) = search_index(tmp_path / "index", motion=tmp_path / "bare.npy", top_k=1, skeleton="smpl22", fps=20)
    assert hit["id"] == "3.npz"
    with pytest.raises(ValueError, match="a sentence, --motion FILE, or both"):
        search_index(tmp_path / "index")


def test_rows_of_a_data_set_are_indexed_by_split(data_folder, checkpoint, tmp_path):
    report = update_index(data_folder, checkpoint, tmp_path / "index", split="test")
    assert report["indexed"] == 12
    report = update_index(data_folder, checkpoint, tmp_path / "index")
    assert (report["unchanged"], report["added"], report["total"]) == (12, 36, 48)


def test_captions_are_ranked_for_a_motion(library, checkpoint, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\ufeffa person waves\n\n  a person kicks \na person waves\n", encoding="utf-8")
    model, processor = load_checkpoint(checkpoint)
    motion = embed_motions(model, processor, [str(library / "0.npz")])[0]
    expected = dict(
        zip(
            ["a person waves", "a person kicks"],
            embed_texts(model, processor, ["a person waves", "a person kicks"]) @ motion,
            strict=True,
        )
    )
    found = rank_captions(checkpoint, library / "0.npz", texts)
    assert {entry["text"]: entry["score"] for entry in found} == pytest.approx(expected, abs=1e-5)
    assert [entry["score"] for entry in found] == sorted(expected.values(), reverse=True)
    assert len(rank_captions(checkpoint, library / "0.npz", texts, top_k=1)) == 1
    texts.write_text("\n\n")
    with pytest.raises(ValueError, match="has no sentences: expected one a line"):
        rank_captions(checkpoint, library / "0.npz", texts)
    texts.write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        rank_captions(checkpoint, library / "0.npz", texts)
    with pytest.raises(FileNotFoundError, match="of candidate sentences"):
        rank_captions(checkpoint, library / "0.npz", tmp_path / "nothing.txt")


def test_settings_of_the_command_line():
    assert parse_settings(["nlist=100", "nprobe=8"]) == {"nlist": 100, "nprobe": 8}
    for text in ("nprobe", "nprobe=many", "=3"):
        with pytest.raises(ValueError, match="expected a name and a whole number, such as nprobe=64"):
            parse_settings([text])
