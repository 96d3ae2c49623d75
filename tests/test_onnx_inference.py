"""A folder of `motionpatches export` embeds as its checkpoint does."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from motionpatches.training.cli import app
from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.onnx_inference import OnnxMotionPatches


pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

TEXTS = ["a person waves", "someone kicks with the right leg", "squat"]


@pytest.fixture(scope="module")
def checkpoint(trained_run):
    model, processor = load_checkpoint(trained_run / "best")
    return model.cpu(), processor


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    arguments = ["export", str(trained_run / "best"), "--output", str(folder), "--int8"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "motion_tower.int8.onnx" in result.output
    return folder


@pytest.fixture(scope="module")
def onnx_model(exported):
    return OnnxMotionPatches.from_folder(exported, threads=1)


def motion_inputs(batch, windows, seed=0):
    values = np.random.default_rng(seed).normal(size=(batch, 3, 16 * windows, 80)).astype(np.float32)
    mask = np.ones((batch, windows), dtype=np.int64)
    mask[0, windows // 2 + 1 :] = 0
    return {"motion_values": values, "motion_attention_mask": mask}


@pytest.mark.parametrize(("batch", "windows"), [(1, 1), (1, 6), (4, 2), (5, 5)])
def test_the_motion_graph_agrees_at_every_size(checkpoint, onnx_model, batch, windows):
    inputs = motion_inputs(batch, windows)
    with torch.no_grad():
        features = checkpoint[0].get_motion_features(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    found = onnx_model.run("motion_tower", **inputs)
    np.testing.assert_allclose(found, features.pooler_output.numpy(), atol=1e-4)


def test_what_the_mask_hides_changes_nothing_and_the_rest_does(onnx_model):
    inputs = motion_inputs(2, 4)
    plain = onnx_model.run("motion_tower", **inputs)
    hidden = {**inputs, "motion_values": inputs["motion_values"].copy()}
    hidden["motion_values"][0, :, 3 * 16 :] = 50.0
    np.testing.assert_allclose(onnx_model.run("motion_tower", **hidden), plain, atol=1e-5)
    shown = {**inputs, "motion_values": inputs["motion_values"].copy()}
    shown["motion_values"][0, :, 2 * 16 : 3 * 16] = 50.0
    assert np.abs(onnx_model.run("motion_tower", **shown) - plain)[0].max() > 1e-2

    ids = {"input_ids": np.full((1, 5), 7), "attention_mask": np.array([[1, 1, 1, 0, 0]])}
    other = {**ids, "input_ids": np.array([[7, 7, 7, 9, 9]])}
    np.testing.assert_allclose(onnx_model.run("text_tower", **ids), onnx_model.run("text_tower", **other), atol=1e-5)


def test_motions_and_texts_embed_as_with_the_checkpoint(checkpoint, onnx_model, tiny_data):
    motions = tiny_data["test"]
    found = onnx_model.embed_motions(motions, batch_size=5)
    np.testing.assert_allclose(found, embed_motions(*checkpoint, motions), atol=1e-5)
    np.testing.assert_allclose(onnx_model.embed_texts(TEXTS, batch_size=2), embed_texts(*checkpoint, TEXTS), atol=1e-5)
    np.testing.assert_allclose(onnx_model.embed_texts(TEXTS[0]), embed_texts(*checkpoint, TEXTS[:1]), atol=1e-5)
    row = motions.with_format("numpy")[0]
    np.testing.assert_allclose(onnx_model.embed_motions(row), found[:1], atol=1e-5)


def test_eight_bits_keep_the_ranking_where_it_is_clear(exported, onnx_model, tiny_data):
    small = OnnxMotionPatches.from_folder(exported, int8=True, threads=1)
    motions, texts = tiny_data["test"], [captions[0] for captions in tiny_data["test"]["captions"]]
    exact = onnx_model.embed_texts(texts) @ onnx_model.embed_motions(motions).T
    rough = small.embed_texts(texts) @ small.embed_motions(motions).T
    clear = np.abs(exact[:, :, None] - exact[:, None, :]) > 0.1  # of the cosine
    assert clear.mean() > 0.1
    assert ((exact[:, :, None] > exact[:, None, :]) == (rough[:, :, None] > rough[:, None, :]))[clear].all()
    assert 0 < np.abs(exact - rough).max() < 0.05
    for tower in ("motion_tower", "text_tower"):
        sizes = [(exported / f"{tower}{suffix}").stat().st_size for suffix in (".int8.onnx", ".onnx")]
        assert sizes[0] < sizes[1]


def test_motions_and_texts_beyond_the_tables_are_refused(onnx_model):
    with pytest.raises(ValueError, match="motion_values has 112 frames; the exported motion_tower takes 16 to 96"):
        onnx_model.run("motion_tower", **motion_inputs(1, 7))
    too_long = np.full((1, 65), 7)
    with pytest.raises(ValueError, match="input_ids has 65 tokens; the exported text_tower takes 2 to 64"):
        onnx_model.run("text_tower", input_ids=too_long, attention_mask=np.ones_like(too_long))
    with pytest.raises(ValueError, match="longer than the tokenizer's limit"):
        onnx_model.embed_texts("walk " * 100)
    # Without this class too: an error, not numbers.
    with pytest.raises(Exception, match="broadcast"):
        onnx_model.sessions["motion_tower"].run(None, motion_inputs(1, 7))


def test_missing_inputs_towers_and_files_are_named(exported, onnx_model, tmp_path):
    with pytest.raises(ValueError, match="motion_tower takes motion_values, motion_attention_mask; got motion_values"):
        onnx_model.run("motion_tower", motion_values=motion_inputs(1, 1)["motion_values"])
    alone = OnnxMotionPatches({"text_tower": onnx_model.sessions["text_tower"]}, onnx_model.processor)
    with pytest.raises(ValueError, match="'motion_tower' was not exported; there is text_tower"):
        alone.run("motion_tower", **motion_inputs(1, 1))
    with pytest.raises(ValueError, match="nothing to embed"):
        onnx_model.embed_texts([])
    with pytest.raises(FileNotFoundError, match=r"no motion_tower\.int8\.onnx.*motionpatches export.*--int8"):
        OnnxMotionPatches.from_folder(tmp_path, int8=True)


def test_the_command_refuses_before_it_loads_the_model(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    result = CliRunner().invoke(app, ["export", "nowhere", "--output", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "mine.txt" in result.output
