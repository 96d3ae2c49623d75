"""Exported towers give what the model gives, whatever the batch, the length and the mask."""

import copy
import json

import numpy as np
import pytest
import torch
from conftest import tiny_config
from transformers import CLIPVisionConfig

from motionpatches import (
    MotionPatchesConfig,
    MotionPatchesForMotionClassification,
    MotionPatchesModel,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
    MotionPatchProcessor,
    MotionTextProcessor,
)
from motionpatches.training import tower_export
from motionpatches.training.tower_export import export_towers, program_runner, quantize_onnx
from motionpatches.training.tower_graphs import list_graphs, motion_graph


BOTH = [{"num_persons": 1, "motion_pooling": "cls"}, {"num_persons": 2, "motion_pooling": "mean"}]


@pytest.mark.parametrize("settings", BOTH)
def test_a_torch_export_program_agrees_for_one_and_two_persons(settings, tokenizer, processor, tmp_path):
    model = MotionPatchesMotionModelWithProjection(tiny_config(tokenizer, **settings)).eval()
    report = export_towers(model, processor, tmp_path / "exported", "torch-export")
    assert report["limits"] == {"motion_tower": {"min_frames": 8, "max_frames": 64}}
    run = program_runner(tmp_path / "exported" / "motion_tower.pt2")
    persons = () if settings["num_persons"] == 1 else (2,)
    generator = torch.Generator().manual_seed(0)
    for batch, windows in ((1, 1), (4, 8), (7, 5)):  # traced with 2 and 3
        values = torch.randn(batch, *persons, 3, 8 * windows, 40, generator=generator)
        mask = torch.ones(batch, *persons, windows, dtype=torch.long)
        mask[-1, ..., windows // 2 + 1 :] = 0
        inputs = {"motion_values": values, "motion_attention_mask": mask}
        expected = model(**inputs).motion_embeds.detach()
        np.testing.assert_allclose(run(inputs), expected, atol=1e-5)
    too_long = {
        "motion_values": torch.zeros(1, *persons, 3, 72, 40),
        "motion_attention_mask": torch.ones(1, *persons, 9).long(),
    }
    with pytest.raises((AssertionError, RuntimeError)):
        run(too_long)


def test_a_model_without_window_mask_exports_without_one(tokenizer, processor, tmp_path):
    model = MotionPatchesMotionModelWithProjection(tiny_config(tokenizer)).eval()
    processor.feature_extractor.return_attention_mask = False
    export_towers(model, processor, tmp_path / "exported", "torch-export")
    values = torch.randn(3, 3, 40, 40)
    found = program_runner(tmp_path / "exported" / "motion_tower.pt2")({"motion_values": values})
    np.testing.assert_allclose(found, model(values).motion_embeds.detach(), atol=1e-5)


def test_a_tower_that_takes_no_mask_needs_motions_of_one_length(tokenizer):
    tower = CLIPVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=8
    )
    config = MotionPatchesConfig(motion_config=tower, text_config=tiny_config(tokenizer).text_config, projection_dim=16)
    model = MotionPatchesMotionModelWithProjection(config)
    patches = MotionPatchProcessor(patch_size=8, max_frames=64, normalization=None)
    with pytest.raises(ValueError, match=r"clip_vision_model.*takes no mask.*return_attention_mask = False"):
        motion_graph(model, MotionTextProcessor(patches, tokenizer))
    patches.return_attention_mask = False
    graph = motion_graph(model, MotionTextProcessor(patches, tokenizer))
    assert graph.limits == {"min_frames": 64, "max_frames": 64}
    assert list(graph.axes) == ["motion_values"]


def test_the_model_itself_stays_as_it_was(model, processor):
    model.train().to(torch.bfloat16)
    before = copy.deepcopy(model.state_dict())
    motion, text = list_graphs(model, processor)
    assert not motion.module.training
    assert {value.dtype for graph in (motion, text) for value in graph.module.parameters()} == {torch.float32}
    motion.module(**motion.sample(1, 1))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_text_tower_alone_is_exported_alone(tokenizer, processor, tmp_path):
    model = MotionPatchesTextModelWithProjection(tiny_config(tokenizer))
    report = export_towers(model, processor, tmp_path / "exported", "torch-export")
    assert list(report["towers"]) == ["text_tower.pt2"]
    assert not (tmp_path / "exported" / "motion_tower.pt2").exists()


def test_a_graph_that_differs_is_not_written(model, processor, tmp_path, monkeypatch):
    (tmp_path / "exported").mkdir()
    off = lambda file: lambda inputs: np.full((len(next(iter(inputs.values()))), 16), np.nan)  # noqa: E731
    monkeypatch.setattr(tower_export, "program_runner", off)
    with pytest.raises(FloatingPointError, match=r"motion_tower\.pt2 differs from PyTorch"):
        export_towers(model, processor, tmp_path / "exported", "torch-export", tolerance=np.inf)
    assert not list((tmp_path / "exported").iterdir())


def test_an_earlier_export_is_replaced_but_nothing_else(tokenizer, processor, tmp_path):
    model = MotionPatchesTextModelWithProjection(tiny_config(tokenizer))
    folder = tmp_path / "exported"
    export_towers(model, processor, folder, "torch-export")
    first = (folder / "text_tower.pt2").stat().st_mtime_ns
    export_towers(model, processor, folder, "torch-export")
    assert (folder / "text_tower.pt2").stat().st_mtime_ns > first
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"1 files that no export wrote \(notes\.txt\)"):
        export_towers(model, processor, folder, "torch-export")
    assert (folder / "notes.txt").read_text() == "mine"
    assert set(json.loads((folder / "export.json").read_text())["files"]) == {path.name for path in folder.iterdir()} - {
        "notes.txt"
    }


def test_bad_requests_say_what_to_do(model, processor, tokenizer, tmp_path):
    def fails(match, chosen=model, **arguments):
        with pytest.raises(ValueError, match=match):
            export_towers(chosen, processor, tmp_path / "exported", **arguments)
        assert not (tmp_path / "exported").exists()

    fails("'tflite' is unknown; choose one of 'onnx', 'torch-export'", export_format="tflite")
    fails("int8 files are written with format 'onnx' alone", export_format="torch-export", int8=True)
    fails(
        "MotionPatchesForMotionClassification has no embeddings",
        MotionPatchesForMotionClassification(tiny_config(tokenizer)),
    )
    processor.feature_extractor.max_frames = 128
    fails("up to 16 windows, but the position table has 8 and .*max_frames = 64", export_format="torch-export")
    processor.feature_extractor.patch_size = 16
    fails("processor has patch_size=16, the model 8", export_format="torch-export")


def test_a_missing_package_names_the_extra(model, processor, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx, onnxscript, onnxruntime: pip install 'motionpatches\[onnx\]'"):
        export_towers(model, processor, tmp_path / "exported")


def test_two_persons_and_eight_bits_in_onnx(tokenizer, processor, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    model = MotionPatchesModel(tiny_config(tokenizer, num_persons=2)).eval()
    graph = motion_graph(model, processor)
    tower_export.save_onnx(tower_export.capture(graph), graph, tmp_path / "two.onnx")
    quantize_onnx(tmp_path / "two.onnx", tmp_path / "two.int8.onnx")
    values = torch.randn(3, 2, 3, 64, 40)
    mask = torch.ones(3, 2, 8, dtype=torch.long)
    mask[1, 0, 3:] = mask[2, 1, 1:] = 0
    expected = model.get_motion_features(values, mask).pooler_output.detach().numpy()
    inputs = {"motion_values": values.numpy(), "motion_attention_mask": mask.numpy()}
    for name, least in (("two.onnx", 0.999999), ("two.int8.onnx", 0.99)):
        session = onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
        assert [given.name for given in session.get_outputs()] == ["motion_embeds"]
        found = session.run(None, inputs)[0]
        cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosines.min() > least
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(expected, axis=1), rel=0.02)
