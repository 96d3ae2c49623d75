"""What the app does for a visitor, without a page: what is found, and what a wrong upload is told."""

import io
import json
import zipfile

import numpy as np
import pytest
from conftest import swinging_motion
from rich.console import Console

from motionpatches import MotionIndex
from motionpatches.processing.readers import READABLE_SUFFIXES
from motionpatches.training.app_actions import MAX_LINES, UPLOAD_SUFFIXES, Actions, with_notes
from motionpatches.training.app_library import Library, open_library
from motionpatches.training.index_sources import open_source
from motionpatches.training.localisation import embed_recording, localise


pytest.importorskip("faiss")
CAPTIONS = {"walk.npz": "a person walks", "jump.npz": "a person jumps", "wave.npz": "someone waves"}


def quiet():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def folder(tmp_path):
    """Motion files with captions."""
    folder = tmp_path / "private" / "motions"
    folder.mkdir(parents=True)
    for seed, name in enumerate(CAPTIONS):
        np.savez(folder / name, joints=swinging_motion(seed=seed), skeleton="smpl22", fps=20)
    rows = [f'{name},"{text}"' for name, text in CAPTIONS.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,caption", *rows]))
    return folder


@pytest.fixture
def actions(model, processor, folder):
    return Actions(model, processor, open_library(model, processor, None, folder, quiet()), max_upload_mb=0.1)


def test_a_sentence_finds_what_the_index_finds(actions, model, processor, folder):
    hits = actions.find_motions("a person walks", top_k=2)
    index = MotionIndex((model, processor))
    index.add(folder)
    assert hits == index.search("a person walks", top_k=2)


def test_an_uploaded_motion_finds_itself_first(actions, folder):
    opened = actions.open(str(folder / "jump.npz"))
    (first, *others) = actions.find_motions(opened=opened, top_k=12)
    assert (first["id"], first["score"]) == ("jump.npz", pytest.approx(1, abs=1e-5))
    assert len(others) == 2
    assert actions.find_motions("someone waves", opened, weight=1, top_k=1)[0]["id"] == "jump.npz"


def test_conditions_stand_one_a_line(actions):
    hits = actions.find_motions("a person", top_k=3, where="id in walk.npz, wave.npz\nduration > 1\n")
    assert {hit["id"] for hit in hits} == {"walk.npz", "wave.npz"}
    with pytest.raises(ValueError, match="expected a column, an operator and a value"):
        actions.find_motions("a person", where="walk")


def test_captions_are_those_of_the_visitor_or_of_the_library(actions, folder):
    opened = actions.open(str(folder / "walk.npz"))
    own = actions.find_captions(opened, "one thing\n\nanother thing\none thing", top_k=9)
    assert {entry["text"] for entry in own} == {"one thing", "another thing"}
    found = actions.find_captions(opened, top_k=2)
    everything = actions.find_captions(opened, "\n".join(CAPTIONS.values()), top_k=3)
    assert [entry["text"] for entry in found] == [entry["text"] for entry in everything[:2]]
    assert found[0]["score"] == pytest.approx(everything[0]["score"], abs=1e-5)


def test_labels_are_scored_as_by_the_pipeline(actions, model, processor, folder):
    opened = actions.open(str(folder / "walk.npz"))
    scores = actions.classify(opened, "walks\njumps", "someone {} there")
    motion = {"joints": swinging_motion(), "skeleton": "smpl22", "fps": 20}
    texts = ["someone walks there", "someone jumps there"]
    inputs = processor(motions=motion, text=texts, return_tensors="pt", padding=True)
    expected = model(**inputs).logits_per_motion.softmax(-1)[0].tolist()
    assert [scores["walks"], scores["jumps"]] == pytest.approx(expected, abs=1e-5)
    assert sum(actions.classify(opened, "walks\njumps", multi_label=True).values()) != pytest.approx(1)


def test_moments_are_those_of_localise(actions, model, processor, folder):
    opened = actions.open(str(folder / "walk.npz"))
    found = actions.localise(opened, "a person walks\nsomeone waves", top_k=1)
    recording = embed_recording(model, processor, opened.given)
    assert found.moments == localise(model, processor, recording, ["a person walks", "someone waves"], 1).moments
    assert len(found.moments) == 2


def test_what_a_file_does_not_say_is_said_by_the_visitor(actions, tmp_path):
    np.save(tmp_path / "bare.npy", swinging_motion())
    with pytest.raises(ValueError, match="skeleton"):
        actions.open(str(tmp_path / "bare.npy"))
    opened = actions.open(str(tmp_path / "bare.npy"), "smpl22", 40)
    assert opened.facts == "1.0 s: 40 frames at 40 per second, skeleton smpl22"
    assert not opened.notes
    (note,) = actions.open(str(tmp_path / "bare.npy"), "smpl22").notes
    assert "no frame rate" in note


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("walk.txt", b"HIERARCHY", "suffix .txt; expected a motion file: .npy"),
        ("walk.pkl", b"\x80\x04", "suffix .pkl"),
        ("walk", b"", r"suffix \(none\)"),
        ("walk.bvh", b"HIERARCHY\nnonsense", "not a readable BVH file"),
        ("walk.npz", b"PK\x03\x04 cut off", "walk.npz"),
        ("walk.json", b'{"joints": ', "walk.json"),
        ("walk.npy", b"x" * 100_001, "has 0.1 MB; the app takes up to 0.1 MB"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong_and_no_folder(actions, tmp_path, name, content, words):
    file = tmp_path / "private" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        actions.open(str(file))
    assert "private" not in str(caught.value)
    assert name in str(caught.value)


def test_an_error_of_a_reader_is_no_trace(actions, folder, monkeypatch):
    def broken(*_):
        raise KeyError(f"at {folder}")

    monkeypatch.setattr("motionpatches.training.app_actions.read_motion", broken)
    with pytest.raises(ValueError, match=r"^walk\.npz cannot be read as a motion: it is damaged"):
        actions.open(str(folder / "walk.npz"))


def test_notes_name_no_folder(actions, folder):
    file = folder / "more.npz"
    np.savez(file, joints=swinging_motion(), skeleton="smpl22", fps=20, trophies=3)
    (note,) = actions.open(str(file)).notes
    assert note.startswith("more.npz: ")
    assert "private" not in note


def test_an_archive_that_unpacks_to_much_is_refused(actions, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", b"\0" * 2_000_000)
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"bomb.npz unpacks to 2.0 MB; the app takes up to 0.8 MB"):
        actions.open(str(tmp_path / "bomb.npz"))


def test_all_formats_of_one_file_can_be_uploaded():
    assert set(READABLE_SUFFIXES) - set(UPLOAD_SUFFIXES) == {".amc"}


def test_a_gltf_file_reads_no_other_file_of_the_machine(actions, tmp_path):
    document = {"asset": {"version": "2.0"}, "buffers": [{"uri": "../../etc/passwd", "byteLength": 8}]}
    (tmp_path / "file.gltf").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"file\.gltf"):
        actions.open(str(tmp_path / "file.gltf"))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda actions, opened: actions.open(None), "upload a motion file first"),
        (lambda actions, opened: actions.find_motions(" "), "write a sentence"),
        (lambda actions, opened: actions.find_motions("x" * 3000), "3000 letters; the app takes up to 2000"),
        (lambda actions, opened: actions.classify(opened, "\n"), "write labels, one a line"),
        (
            lambda actions, opened: actions.classify(opened, "\n".join(map(str, range(MAX_LINES + 1)))),
            "1001 labels; the app takes up to 1000",
        ),
        (lambda actions, opened: actions.classify(opened, "walks", "a person"), "needs {} once"),
        (lambda actions, opened: actions.classify(opened, "walks", "{} {0.__class__}"), "needs {} once"),
        (lambda actions, opened: actions.localise(opened, ""), "write sentences, one a line"),
    ],
)
def test_what_is_missing_is_named(actions, folder, ask, words):
    with pytest.raises(ValueError, match=words):
        ask(actions, actions.open(str(folder / "walk.npz")))


def test_without_a_library_own_sentences_can_be_ranked(model, processor, folder):
    actions = Actions(model, processor)
    opened = actions.open(str(folder / "walk.npz"))
    assert len(actions.find_captions(opened, "one\ntwo")) == 2
    with pytest.raises(ValueError, match="write some sentences"):
        actions.find_captions(opened)
    with pytest.raises(ValueError, match="without --index and --data"):
        actions.find_motions("a person walks")


def test_what_a_model_does_not_see_is_noted(actions, folder):
    np.savez(folder / "long.npz", joints=swinging_motion(num_frames=100).astype(np.float32), skeleton="smpl22", fps=20)
    opened = actions.open(str(folder / "long.npz"))
    _, notes = with_notes(actions.find_motions, None, opened)
    assert any("longer than" in note for note in notes)


class TestLibrary:
    def test_an_index_on_the_disk_finds_its_files(self, model, processor, folder, tmp_path):
        index = MotionIndex((model, processor))
        index.add(folder)
        index.save(tmp_path / "index")
        library = open_library(model, processor, tmp_path / "index", None, quiet())
        (hit, *_) = library.index.search("a person walks", top_k=1)
        motion = library.read(hit)
        np.testing.assert_array_equal(motion.joints, np.load(folder / hit["id"])["joints"])
        (folder / hit["id"]).unlink()
        with pytest.raises(FileNotFoundError, match="not on the machine"):
            library.read(hit)

    def test_pictures_of_rows_come_from_the_data(self, model, processor, tiny_data, data_folder, tmp_path):
        index = MotionIndex((model, processor))
        index.add(tiny_data["test"], name="tiny")
        index.save(tmp_path / "index")
        hit = index.search("a person waves", top_k=1)[0]
        with pytest.raises(FileNotFoundError, match="not on the machine"):
            open_library(model, processor, tmp_path / "index", None, quiet()).read(hit)
        with_data = open_library(model, processor, tmp_path / "index", data_folder, quiet())
        assert with_data.read(hit).joints.shape[0] == hit["num_frames"]

    def test_frame_rate_and_skeleton_that_a_file_does_not_say_are_those_of_the_index(self, model, processor, tmp_path):
        (tmp_path / "bare").mkdir()
        np.save(tmp_path / "bare" / "walk.npy", swinging_motion("body21"))
        index = MotionIndex((model, processor))
        index.add(tmp_path / "bare", skeleton="body21", fps=33)
        motion = Library(index).read(index.search("a", top_k=1)[0])
        assert (motion.skeleton.name, motion.fps) == ("body21", 33)

    def test_data_of_another_index_is_refused(self, model, processor, folder, data_folder):
        index = MotionIndex((model, processor))
        index.add(folder)
        with pytest.raises(ValueError, match="none of the 3 motions of the index is among the"):
            Library(index, open_source(data_folder))
        with pytest.raises(ValueError, match="no motion to search in"):
            Library(MotionIndex((model, processor)))
