"""A library of motions: what is found in it, what goes in and out, and that only its own checkpoint may search it."""

import json
import os

import datasets
import numpy as np
import pytest
import test_sharing
import torch
from conftest import CAPTIONS, smpl_motion, swinging_motion, tiny_config
from datasets import Dataset, load_dataset
from hub_server import USER
from huggingface_hub import constants

from motionpatches import MotionPatchesModel
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.motion_index import MotionIndex


hub = test_sharing.hub


def write_motion(path, seed, num_frames=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=swinging_motion(seed=seed, num_frames=num_frames), skeleton="smpl22", fps=20)


@pytest.fixture
def library(tmp_path):
    """Six motion files of 1.5 to 4 seconds, two of them in a sub-folder."""
    folder = tmp_path / "library"
    for number in range(6):
        write_motion(folder / ("more" if number > 3 else "") / f"{number}.npz", number, 30 + 10 * number)
    return folder


@pytest.fixture
def index(model, processor, library):
    index = MotionIndex((model, processor))
    index.add(library)
    return index


def vectors_of(index):
    return dict(zip(index.table["id"].to_pylist(), index.vectors, strict=True))


@pytest.fixture
def embedded(monkeypatch):
    """Numbers of motions that were embedded, of each forward pass."""
    calls = []
    original = MotionPatchesModel.get_motion_features

    def counted(self, *arguments, **inputs):
        calls.append(len(inputs["motion_values"]))
        return original(self, *arguments, **inputs)

    monkeypatch.setattr(MotionPatchesModel, "get_motion_features", counted)
    return calls


def test_a_sentence_a_motion_or_both_find_the_motions_that_score_best(index, model, processor, library):
    files = [library / name for name in index.table["id"].to_pylist()]
    motions = embed_motions(model, processor, [str(file) for file in files])
    text = embed_texts(model, processor, [CAPTIONS[0]])[0]
    for arguments, expected in (
        ({"text": CAPTIONS[0]}, motions @ text),
        ({"motion": str(files[2])}, motions @ motions[2]),
        ({"motion": smpl_motion(9)}, motions @ embed_motions(model, processor, [smpl_motion(9)])[0]),
        (
            {"text": CAPTIONS[0], "motion": str(files[2]), "weight": 0.25},
            0.75 * motions @ text + 0.25 * motions @ motions[2],
        ),
    ):
        hits = index.search(**arguments, top_k=3)
        order = np.argsort(-expected)[:3]
        assert [hit["id"] for hit in hits] == [index.table["id"][int(row)].as_py() for row in order]
        assert [hit["score"] for hit in hits] == pytest.approx(expected[order].tolist(), abs=1e-5)


def test_a_hit_says_what_is_known_of_the_motion(index, library):
    (hit,) = index.search(motion=str(library / "more" / "4.npz"), top_k=1)
    assert hit.pop("score") == pytest.approx(1, abs=1e-5)
    assert hit == {
        "id": "more/4.npz",
        "path": str(library / "more" / "4.npz"),
        "captions": [],
        "skeleton": "smpl22",
        "num_frames": 70,
        "fps": 20.0,
        "duration": 3.5,
    }


def test_conditions_find_all_that_meets_them_and_too_few_are_said(index):
    found = index.search(CAPTIONS[0], top_k=4, where="duration >= 2.5")
    assert {hit["id"] for hit in found} == {"2.npz", "3.npz", "more/4.npz", "more/5.npz"}
    with pytest.warns(UserWarning, match="5 motions were asked for, and there are 2 that meet the conditions"):
        found = index.search(CAPTIONS[0], top_k=5, where=["duration >= 2.5", "num_frames <= 60"])
    assert {hit["id"] for hit in found} == {"2.npz", "3.npz"}
    with pytest.warns(UserWarning, match="there are 6 in the index"):
        assert len(index.search(CAPTIONS[0])) == 6


def test_only_what_is_new_or_changed_is_embedded(index, library, embedded):
    before = vectors_of(index)
    write_motion(library / "0.npz", seed=50)
    write_motion(library / "new.npz", seed=51)
    os.utime(library / "1.npz")  # another date is no other content
    (library / "2.npz").rename(library / "moved.npz")
    (library / "3.npz").unlink()
    report = index.add(library, prune=True)
    counts = {key: report[key] for key in ("found", "indexed", "added", "changed", "unchanged", "removed", "embedded")}
    assert counts == {
        "found": 6, "indexed": 6, "added": 2, "changed": 1, "unchanged": 3, "removed": 2, "embedded": 2,
    }  # fmt: skip
    assert sum(embedded) == 2
    after = vectors_of(index)
    assert sorted(after) == ["0.npz", "1.npz", "more/4.npz", "more/5.npz", "moved.npz", "new.npz"]
    np.testing.assert_array_equal(after["moved.npz"], before["2.npz"])
    np.testing.assert_array_equal(after["1.npz"], before["1.npz"])
    assert np.abs(after["0.npz"] - before["0.npz"]).max() > 1e-3
    assert index.search(motion=str(library / "0.npz"), top_k=1)[0]["id"] == "0.npz"
    assert index.add(library, prune=True)["unchanged"] == 6
    assert sum(embedded) == 3  # and the query


def test_what_is_gone_stays_unless_it_is_to_be_removed(index, library):
    (library / "0.npz").unlink()
    assert index.add(library)["removed"] == 0
    assert len(index) == 6
    assert index.add(library, prune=True)["removed"] == 1
    assert len(index) == 5


def test_a_motion_that_breaks_leaves_the_index(index, library):
    (library / "0.npz").write_bytes(b"PK\x03\x04 torn")
    report = index.add(library)
    assert (report["found"], report["indexed"], report["removed"]) == (6, 5, 1)
    assert report["left_out"]["motion that cannot be read"]["cases"][0]["id"] == "0.npz"
    assert "0.npz" not in vectors_of(index)


def test_removed_motions_are_not_found(index):
    assert index.remove(["0.npz", "more/5.npz"]) == 2
    hits = index.search(CAPTIONS[0], top_k=4)
    assert {hit["id"] for hit in hits} == {"1.npz", "2.npz", "3.npz", "more/4.npz"}
    with pytest.raises(KeyError, match=r"1 ids are not in the index, such as 0\.npz"):
        index.remove(["1.npz", "0.npz"])
    assert len(index) == 4
    assert index.remove("1.npz") == 1


def test_captions_and_own_columns_of_motions_that_are_there_are_brought_up_to_date(index, library, embedded):
    (library / "metadata.csv").write_text("file_name,caption,actor\n0.npz,a person waves,7\n1.npz,a person sits,8\n")
    assert index.add(library)["unchanged"] == 6
    assert not embedded
    (hit,) = index.search(CAPTIONS[0], top_k=1, where="actor = 7")
    assert (hit["id"], hit["captions"], hit["actor"]) == ("0.npz", ["a person waves"], 7)


def test_rows_of_a_data_set_with_columns_of_their_own(model, processor, tiny_data):
    rows = tiny_data["test"].add_column("take", list(range(12)))
    index = MotionIndex((model, processor))
    report = index.add(rows, name="tiny")
    assert report["indexed"] == 12
    np.testing.assert_allclose(index.vectors, embed_motions(model, processor, tiny_data["test"]), atol=1e-5)
    (hit,) = index.search(CAPTIONS[0], top_k=1, where="take = 3")
    assert hit["captions"] == rows[3]["captions"]
    assert hit["label"] == rows[3]["label"]


def test_several_sources_side_by_side(index, library, tiny_data, tmp_path):
    index.add(tiny_data["test"], name="tiny")
    assert len(index) == 18
    assert index.add(library, prune=True)["removed"] == 0  # what is of another source stays
    write_motion(tmp_path / "other" / "0.npz", seed=70)
    with pytest.raises(ValueError, match=r"1 ids of 'other' are in the index from another source, such as 0\.npz"):
        index.add(tmp_path / "other")
    assert len(index) == 18
    found = index.search(CAPTIONS[0], top_k=12, where="source = tiny")
    assert {hit["path"] for hit in found} == {None}


def test_columns_that_do_not_fit_are_refused_before_the_work(index, model, processor, library, tiny_data, embedded):
    rows = tiny_data["test"]
    with pytest.raises(ValueError, match="columns of names that the index uses itself: duration, notes"):
        index.add(rows.add_column("notes", ["x"] * 12).add_column("duration", [1.0] * 12))
    index.add(rows.add_column("actor", [1] * 12).select(range(2)), name="numbers")
    with pytest.raises(ValueError, match="a column has another type than in the index"):
        index.add(rows.add_column("actor", ["a"] * 12).select(range(2, 4)), name="words")
    assert len(index) == 8


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_what_was_saved_is_loaded(kind, model, processor, library, tmp_path):
    index = MotionIndex((model, processor), kind)
    (library / "broken.bvh").write_text("HIERARCHY\n")
    index.add(library)
    index.save(tmp_path / "index")
    loaded = MotionIndex.load(tmp_path / "index", (model, processor))
    assert loaded.search(CAPTIONS[0], top_k=3) == index.search(CAPTIONS[0], top_k=3)
    assert loaded.left_out == index.left_out
    assert loaded.describe() == index.describe()
    loaded.remove("0.npz")
    loaded.save(tmp_path / "index")
    again = MotionIndex.load(tmp_path / "index", (model, processor))
    assert len(again) == 5
    assert [hit["id"] for hit in again.search(motion=str(library / "1.npz"), top_k=1)] == ["1.npz"]


def test_only_the_checkpoint_that_made_an_index_may_search_it(index, model, processor, tokenizer, library, tmp_path):
    index.save(tmp_path / "index")
    torch.manual_seed(1)
    other = MotionPatchesModel(tiny_config(tokenizer)).eval()
    with pytest.raises(ValueError, match=r"was made by the checkpoint a model in memory \(.{12}…\), and this is a model"):
        MotionIndex.load(tmp_path / "index", (other, processor))
    same = MotionPatchesModel(tiny_config(tokenizer)).eval()
    same.load_state_dict(model.state_dict())
    MotionIndex.load(tmp_path / "index", (same, processor))
    processor.feature_extractor.root = "relative"
    with pytest.raises(ValueError, match="their embeddings cannot be compared"):
        MotionIndex.load(tmp_path / "index", (same, processor))
    with pytest.raises(ValueError, match="is not here: pass checkpoint="):
        MotionIndex.load(tmp_path / "index")


def test_an_index_knows_its_checkpoint_and_finds_out_when_that_was_replaced(model, processor, tokenizer, library, tmp_path):
    for part in (model, processor):
        part.save_pretrained(tmp_path / "checkpoint")
    index = MotionIndex(tmp_path / "checkpoint")
    index.add(library)
    index.save(tmp_path / "index")
    expected = index.search(CAPTIONS[0], top_k=2)
    assert MotionIndex.load(tmp_path / "index").search(CAPTIONS[0], top_k=2) == expected
    MotionIndex.load(tmp_path / "index", (model, processor))  # the same in memory
    torch.manual_seed(1)
    MotionPatchesModel(tiny_config(tokenizer)).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="made by the checkpoint"):
        MotionIndex.load(tmp_path / "index").search(CAPTIONS[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say what to search for"),
        ({"text": "a", "motion": "b", "weight": 1.5}, "weight is 1.5; expected the motion's share, from 0 to 1"),
    ],
)
def test_a_wrong_search_says_what_is_wrong(index, arguments, message):
    with pytest.raises(ValueError, match=message):
        index.search(**arguments)


def test_an_empty_index_is_neither_searched_nor_saved(model, processor, tmp_path):
    index = MotionIndex((model, processor))
    with pytest.raises(ValueError, match="the index is empty; add motions first"):
        index.search(CAPTIONS[0])
    with pytest.raises(ValueError, match="nothing to save"):
        index.save(tmp_path / "index")


def test_a_folder_with_something_else_is_not_replaced(index, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    with pytest.raises(FileExistsError, match="holds something else than an index"):
        index.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all my work"
    with pytest.raises(FileNotFoundError, match="holds no index; `motionpatches index FOLDER"):
        MotionIndex.load(tmp_path / "mine")
    with pytest.raises(FileNotFoundError, match="no folder '/nowhere/index'"):
        MotionIndex.load("/nowhere/index")


def test_an_index_that_is_not_whole_is_refused(index, model, processor, tmp_path):
    index.save(tmp_path / "index")
    (tmp_path / "index" / "index.faiss").unlink()
    with pytest.raises(ValueError, match=r"is not whole: 6 of 6 rows, and no file index\.faiss"):
        MotionIndex.load(tmp_path / "index", (model, processor))


def test_a_save_that_breaks_off_leaves_the_older_index(index, model, processor, tmp_path, monkeypatch):
    index.save(tmp_path / "index")
    index.remove("0.npz")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "save_faiss_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.save(tmp_path / "index")
    assert len(MotionIndex.load(tmp_path / "index", (model, processor))) == 6


def test_a_name_that_is_neither_folder_nor_on_the_hub_says_so(hub):
    with pytest.raises(FileNotFoundError, match=r"no folder 'me/nothing' with an index here, and the Hub gave none"):
        MotionIndex.load("me/nothing")


def test_what_was_pushed_is_loaded_by_its_name(hub, index, model, processor, library, tmp_path, monkeypatch):
    (library / "broken.bvh").write_text("HIERARCHY\n")
    index.add(library)
    expected = index.search(CAPTIONS[0], top_k=2)
    index.push_to_hub("moves", licence="cc-by-4.0")
    repository = f"datasets/{USER}/moves"
    assert hub.commits(repository) == ["Upload an index of 6 motions"]
    files = hub.files(repository)
    assert set(files) == {
        ".gitattributes", "README.md", "index.json", "index.faiss", "data/motions-00000-of-00001.parquet",
    }  # fmt: skip
    assert not any(str(tmp_path).encode() in content for content in files.values())  # tells no folders of a machine
    card = files["README.md"].decode()
    assert f'MotionIndex.load("{USER}/moves", checkpoint=…)' in card
    assert "license: cc-by-4.0" in card
    assert "| library | motion that cannot be read | 1 |" in card
    assert json.loads(files["index.json"])["checkpoint"]["fingerprint"] in card
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    loaded = MotionIndex.load(f"{USER}/moves", (model, processor))
    hits = loaded.search(CAPTIONS[0], top_k=2)
    assert [(hit["score"], hit["id"]) for hit in hits] == [(hit["score"], hit["id"]) for hit in expected]
    assert [hit["path"] for hit in hits] == [hit["id"] for hit in hits]  # where the files lie is known to the owner alone
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}")
    rows = load_dataset(f"{USER}/moves", split="motions", cache_dir=str(tmp_path / "cache"))
    np.testing.assert_array_equal(np.array(rows["embedding"], np.float32), index.vectors)


def test_a_later_push_replaces_the_rows_and_keeps_an_edited_card(hub, index):
    index.push_to_hub("moves", private=True)
    repository = f"datasets/{USER}/moves"
    assert hub.repositories[repository].private
    edited = hub.files(repository)["README.md"] + b"\nMeasured in the gym.\n"
    index.remove("0.npz")
    index.push_to_hub("moves")
    assert json.loads(hub.files(repository)["index.json"])["num"] == 5
    hub.put(repository, "README.md", edited)
    index.remove("1.npz")
    index.push_to_hub("moves")
    assert hub.files(repository)["README.md"] == edited
    assert json.loads(hub.files(repository)["index.json"])["num"] == 4
    with pytest.raises(ValueError, match="exists and is private, not public"):
        index.push_to_hub("moves", private=False)


def test_made_motions_can_be_added(model, processor):
    from motionpatches import make_motions

    index = MotionIndex((model, processor))
    made = make_motions(3, seed=0)
    assert index.add(made)["indexed"] == 3
    assert index.add(to_dataset(made, "motions"))["unchanged"] == 3
    with pytest.raises(TypeError, match="cannot index a int; expected a folder"):
        index.add(3)
