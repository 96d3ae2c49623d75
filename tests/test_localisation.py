"""Recordings embedded once, kept and asked; the body of the command."""

import json

import numpy as np
import pytest
from conftest import smpl_motion
from rich.console import Console

from motionpatches.training.export import save_checkpoint
from motionpatches.training.localisation import EmbeddedRecording, embed_recording, localise, run_localise


QUERIES = ["a person walks forward", "someone jumps twice"]


@pytest.fixture
def checkpoint(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


@pytest.fixture
def long_file(tmp_path):
    np.savez(tmp_path / "long.npz", joints=smpl_motion(num_frames=100)["joints"], skeleton="smpl22", fps=20)
    return tmp_path / "long.npz"


@pytest.fixture
def forbid_motions(monkeypatch):
    """From its call on, no motion can be embedded."""

    def forbid():
        def refuse(*arguments, **kwargs):
            raise AssertionError("a motion was embedded again")

        monkeypatch.setattr("motionpatches.modeling_motionpatches.MotionPatchesModel.get_motion_features", refuse)

    return forbid


def test_a_recording_is_asked_again_without_being_embedded_again(model, processor, forbid_motions):
    model.train()  # as a training loop leaves it: dropout must not play
    motion = smpl_motion(num_frames=100)
    recording = embed_recording(model, processor, motion, [1.0, 2.0])
    np.testing.assert_allclose(
        recording.embeddings, embed_recording(model, processor, motion, [1.0, 2.0]).embeddings, atol=1e-6
    )
    forbid_motions()
    both = localise(model, processor, recording, QUERIES)
    for number, query in enumerate(QUERIES):
        alone = localise(model, processor, recording, [query])
        np.testing.assert_allclose(alone.scores[0], both.scores[number], atol=1e-6)
        mine = [moment for moment in both.moments if moment["label"] == query]
        assert [m["start"] for m in alone.moments] == [m["start"] for m in mine]
    assert len(localise(model, processor, recording, [QUERIES[0], QUERIES[0]]).queries) == 1


def test_kept_windows_are_the_same_when_they_are_read(model, processor, tmp_path):
    recording = embed_recording(model, processor, smpl_motion(num_frames=100), [1.0])
    recording.save(tmp_path / "kept.safetensors", {"motion": "a", "stride": 0.25})
    read = EmbeddedRecording.load(tmp_path / "kept.safetensors", {"motion": "a", "stride": 0.25})
    np.testing.assert_array_equal(read.embeddings, recording.embeddings)
    for name in ("spans", "seconds", "frames"):
        np.testing.assert_array_equal(getattr(read.windows, name), getattr(recording.windows, name))
    assert read.windows.duration == recording.windows.duration
    assert [file.name for file in tmp_path.iterdir()] == ["kept.safetensors"]
    with pytest.raises(ValueError, match=r"windows of another motion, stride; remove it"):
        EmbeddedRecording.load(tmp_path / "kept.safetensors", {"motion": "b", "stride": 0.5})


@pytest.mark.parametrize(("queries", "message"), [([], "no sentence"), (["walks", " "], "1 of 2 sentences are empty")])
def test_sentences_are_needed(model, processor, queries, message):
    recording = embed_recording(model, processor, smpl_motion(), [1.0])
    with pytest.raises(ValueError, match=message):
        localise(model, processor, recording, queries)


def test_the_command_prints_writes_and_draws(checkpoint, long_file, tmp_path):
    console = Console(record=True, width=120)
    picture, json_file = tmp_path / "scores.png", tmp_path / "found.json"
    found = run_localise(checkpoint, long_file, QUERIES, console, [1.0, 2.0], top_k=2, picture=picture, json_file=json_file)
    shown = console.export_text()
    tables = dict(zip(QUERIES, shown[shown.index(QUERIES[0]) :].split(QUERIES[1]), strict=True))
    for query, table in tables.items():
        moments = [moment for moment in found.moments if moment["label"] == query]
        assert len(moments) == table.count(" – ") == 2
        for moment in moments:
            assert f"{moment['score']:.3f}" in table
            assert f"{moment['start']:.2f} s" in table
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads(json_file.read_text())
    assert written["moments"] == found.moments
    assert len(written["scores"][QUERIES[1]]) == len(written["windows"]) == len(found.windows)
    assert written["motion"] == "long.npz"
    assert str(tmp_path) not in json_file.read_text()


def test_the_command_says_that_nothing_reaches_the_threshold(checkpoint, long_file):
    console = Console(record=True, width=120)
    run_localise(checkpoint, long_file, QUERIES[:1], console, threshold=1.5)
    assert "no moment reaches the threshold" in console.export_text()


def test_kept_windows_are_used_again_and_only_for_what_they_are_of(checkpoint, long_file, tmp_path, forbid_motions):
    keep = tmp_path / "kept.safetensors"
    console = Console(record=True)
    first = run_localise(checkpoint, long_file, QUERIES[:1], console, [1.0], keep=keep)
    forbid_motions()
    again = run_localise(checkpoint, long_file, QUERIES, console, [1.0], keep=keep)
    np.testing.assert_allclose(again.scores[0], first.scores[0], atol=1e-6)
    with pytest.raises(ValueError, match="windows of another window lengths"):
        run_localise(checkpoint, long_file, QUERIES, console, [2.0], keep=keep)
    np.savez(long_file, joints=smpl_motion(seed=1)["joints"], skeleton="smpl22", fps=20)
    with pytest.raises(ValueError, match="windows of another motion"):
        run_localise(checkpoint, long_file, QUERIES, console, [1.0], keep=keep)


def test_wrong_files_are_refused_before_anything_is_computed(checkpoint, long_file, tmp_path, forbid_motions):
    forbid_motions()
    console = Console(record=True)
    with pytest.raises(FileNotFoundError, match="no motion file"):
        run_localise(checkpoint, tmp_path / "none.npz", QUERIES, console)
    with pytest.raises(ValueError, match=r"end its name in \.png"):
        run_localise(checkpoint, long_file, QUERIES, console, picture=tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"end its name in \.safetensors"):
        run_localise(checkpoint, long_file, QUERIES, console, keep=tmp_path / "kept")
    with pytest.raises(ValueError, match="must be different files"):
        run_localise(checkpoint, long_file, QUERIES, console, json_file=long_file)
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "checkpoint" / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="holds no windows of a recording"):
        run_localise(checkpoint, long_file, QUERIES, console, keep=tmp_path / "other.safetensors")
