"""Checkpoints of the published code become checkpoints of ours that compute the same, or are refused."""

import copy
import json
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from conftest import CAPTIONS, swinging_motion
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoProcessor, BertConfig, CLIPConfig, DistilBertConfig, RobertaConfig, pipeline
from transformers.utils import logging as transformers_logging
from typer.testing import CliRunner

from motionpatches.convert_motionpatches_to_hf import config_for_state_dict, convert_state_dict, read_state_dict
from motionpatches.training import conversion
from motionpatches.training.cli import app
from motionpatches.training.conversion import convert_checkpoint, read_statistics


CHAINS = {
    "humanml3d": ((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)),
    "kitml": ((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)),
}
SKELETONS = {"humanml3d": "smpl22", "kitml": "kit21"}
FPS = {"humanml3d": 20, "kitml": 12.5}
SCALE = 3.1  # of the logits: not the default, so that it must come from the checkpoint


class Published(nn.Module):
    """The published model: the names of its parts are those of its state dict."""

    def __init__(self, text_config, patch_size=16, frames=224, width=32, depth=2, num_heads=2, projection_dim=16):
        super().__init__()
        vit = timm.create_model(
            "vit_tiny_patch16_224", pretrained=False, num_classes=0, global_pool="avg", img_size=(frames, 5 * patch_size),
            patch_size=patch_size, embed_dim=width, depth=depth, num_heads=num_heads,
        )  # fmt: skip
        self.motion_encoder = nn.ModuleDict({"model": vit})
        self.text_encoder = nn.ModuleDict({"text_model": AutoModel.from_config(text_config)})
        for side, size in (("motion", width), ("text", text_config.hidden_size)):
            layers = {"projection": nn.Linear(size, projection_dim), "fc": nn.Linear(projection_dim, projection_dim)}
            setattr(self, f"{side}_projection", nn.ModuleDict({**layers, "layer_norm": nn.LayerNorm(projection_dim)}))
        self.logit_scale = nn.Parameter(torch.tensor(SCALE, dtype=torch.float64))
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:  # as if trained, so that a norm lost, or heads or projections mixed up, show
                nn.init.normal_(parameter, mean=1.0 * name.endswith("weight"), std=0.3)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
        self.eval()

    @staticmethod
    def head(layers, features):
        projected = layers["projection"](features)
        return F.normalize(layers["layer_norm"](projected + layers["fc"](F.gelu(projected))), dim=-1)

    @torch.no_grad()
    def forward(self, values, tokens):
        """Unit-length embeddings of motions and texts, and the logits of texts × motions."""
        motions = self.head(self.motion_projection, self.motion_encoder["model"](values))
        hidden = self.text_encoder["text_model"](tokens["input_ids"], attention_mask=tokens["attention_mask"])[0]
        texts = self.head(self.text_projection, hidden[:, 0])
        return motions, texts, texts @ motions.T * self.logit_scale.exp()


def published_values(joints, mean, std, dataset, patch_size=16, frames=224):
    """The published preprocessing of one motion in evaluation: (T, J, 3) → (3, frames, 5 · N)."""
    if dataset == "kitml":  # 12 frames a second are read, and 20 are made of them
        taken = [second + int(np.floor(0.625 * k)) for second in range(0, len(joints), 12) for k in range(20)]
        joints = joints[[frame for frame in taken if frame < len(joints)]]
    normalised = ((joints - mean) / std)[:frames]
    values = np.zeros((frames, 5 * patch_size, 3))
    for part, chain in enumerate(CHAINS[dataset]):
        for point in range(patch_size):
            place = min(max((point + 0.5) * len(chain) / patch_size - 0.5, 0), len(chain) - 1)
            before, after = int(place), min(int(place) + 1, len(chain) - 1)
            share = place - before
            column = (1 - share) * normalised[:, chain[before]] + share * normalised[:, chain[after]]
            values[: len(normalised), patch_size * part + point] = column
    return values.transpose(2, 0, 1)


def distilbert(tokenizer, **kwargs):
    sizes = {"vocab_size": len(tokenizer), "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, **kwargs}
    return DistilBertConfig(max_position_embeddings=64, pad_token_id=0, **sizes)


def bert(tokenizer):
    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3,
        max_position_embeddings=64,
    )  # fmt: skip


CASES = {  # data set, text model, sizes of the ViT; None: heads are left to be inferred
    "humanml3d": ("humanml3d", distilbert, {"num_heads": 4}),
    "other sizes": (
        "humanml3d",
        bert,
        {"patch_size": 32, "width": 192, "depth": 1, "num_heads": None, "projection_dim": 24},
    ),
    "few small patches": ("humanml3d", distilbert, {"patch_size": 8, "frames": 64, "width": 48, "num_heads": 3}),
    "kitml": ("kitml", distilbert, {"num_heads": 2}),
}


class Source:
    """What someone has who wants to convert: the files, and the model and motions to compare with."""

    def __init__(self, folder, tokenizer, dataset="humanml3d", text_config=distilbert, sizes=CASES["humanml3d"][2]):
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        self.dataset, self.num_heads, self.patch_size = dataset, sizes["num_heads"], sizes.get("patch_size", 16)
        self.frames = sizes.get("frames", 224)
        self.text_config = text_config(tokenizer)
        self.model = Published(self.text_config, **{**sizes, "num_heads": self.num_heads or 3})
        self.motions = [swinging_motion(SKELETONS[dataset], frames, frames).astype(np.float32) for frames in (30, 140, 300)]
        everything = np.concatenate(self.motions)
        self.mean, self.std = everything.mean(axis=0), everything.std(axis=0)
        self.checkpoint, self.text_model = folder / "best_model.pt", folder / "text"
        self.statistics = (folder / "Mean_raw.npy", folder / "Std_raw.npy")
        torch.save(self.model.state_dict(), self.checkpoint)
        for file, values in zip(self.statistics, (self.mean, self.std), strict=True):
            np.save(file, values)
        self.text_config.save_pretrained(self.text_model)
        tokenizer.save_pretrained(self.text_model)

    def convert(self, output, **kwargs):
        arguments = {"checkpoint": self.checkpoint, "dataset": self.dataset, "statistics": self.statistics,
                     "text_model": str(self.text_model), "num_heads": self.num_heads, **kwargs}  # fmt: skip
        return convert_checkpoint(output=output, **arguments)

    def values(self):
        made = [published_values(m, self.mean, self.std, self.dataset, self.patch_size, self.frames) for m in self.motions]
        return torch.tensor(np.stack(made)).float()


@pytest.fixture(scope="module")
def source(tokenizer, tmp_path_factory):
    """Tests read it and must not change it."""
    return Source(tmp_path_factory.mktemp("published"), tokenizer)


@pytest.fixture(scope="module", params=CASES)
def converted(request, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    made = Source(folder / "published", tokenizer, *CASES[request.param])
    made.convert(folder / "model")
    return made, folder / "model"


@torch.no_grad()
def test_a_converted_checkpoint_computes_what_the_published_model_does(converted):
    made, folder = converted
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    with pytest.warns(UserWarning, match=rf"of 3 motions are longer than max_frames={made.frames}"):
        inputs = processor(
            motions=made.motions, text=CAPTIONS, fps=FPS[made.dataset], return_tensors="pt", padding=True, truncation=True
        )
    assert set(inputs) == {"motion_values", "input_ids", "attention_mask"}
    torch.testing.assert_close(inputs["motion_values"], made.values(), rtol=0, atol=1e-5)
    alone = processor(motions=made.motions[0], fps=FPS[made.dataset], return_tensors="pt")["motion_values"]
    torch.testing.assert_close(alone, made.values()[:1], rtol=0, atol=1e-5)  # padded without a long one beside it
    outputs = model(**inputs)
    motions, texts, logits = made.model(made.values(), inputs)
    torch.testing.assert_close(outputs.motion_embeds, motions, rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs.text_embeds, texts, rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs.logits_per_text, logits.float(), rtol=0, atol=2e-4)
    assert model.logit_scale.item() == pytest.approx(SCALE, abs=1e-6)
    assert motions.std(dim=0).mean() > 0.01  # embeddings that are all alike would agree with anything


def test_the_configuration_is_that_of_the_published_training(converted):
    made, folder = converted
    config = AutoModel.from_pretrained(folder).config
    assert (config.motion_pooling, config.text_pooling, config.loss) == ("mean", "cls", "softmax_mean")
    assert config.learn_logit_scale is False
    assert config.logit_scale_init_value == pytest.approx(SCALE)
    assert config.projection_dropout == (0.0 if made.dataset == "kitml" else 0.5)
    assert list(config.motion_config.image_size) == [made.frames, 5 * made.patch_size]
    assert config.motion_config.num_attention_heads == (made.num_heads or 3)


def test_the_folder_serves_the_pipeline_and_tells_its_origin(converted):
    made, folder = converted
    classify = pipeline("zero-shot-motion-classification", model=str(folder))
    scores = classify(made.motions[0], candidate_labels=["walks", "jumps"], fps=FPS[made.dataset])
    assert sum(entry["score"] for entry in scores) == pytest.approx(1)
    card = (folder / "README.md").read_text()
    for said in ("converted from one of its checkpoints", "test split", "CC BY-NC 4.0", "Not measured after the conversion"):
        assert said in card
    assert {"humanml3d": "HumanML3D", "kitml": "KIT-ML"}[made.dataset] in card
    written = [path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".md", ".txt")]
    assert not [text for text in written if str(folder.parent) in text]  # it tells no folders of a machine


def test_names_of_data_parallel_and_of_older_transformers_are_understood(source):
    plain = source.model.state_dict()
    older = {f"module.{k.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}": v
             for k, v in plain.items()}  # fmt: skip
    assert any(key.endswith("gamma") for key in older)
    older["module.text_encoder.text_model.embeddings.position_ids"] = torch.arange(64)[None]
    expected, found = (convert_state_dict(states, source.text_config) for states in (plain, older))
    assert set(expected) == set(found)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    assert found["logit_scale"].dtype == torch.float32


def test_the_state_dict_converts_without_a_text_configuration_too(source):
    alone = convert_state_dict(source.model.state_dict())
    assert set(alone) == set(convert_state_dict(source.model.state_dict(), source.text_config))


def test_the_messages_of_transformers_stay_as_the_user_set_them(source):
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    assert before[1]
    convert_state_dict(source.model.state_dict(), source.text_config)
    assert before == (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled())


def test_a_safetensors_file_reads_the_same(source, tmp_path):
    save_file({k: v.contiguous() for k, v in source.model.state_dict().items()}, tmp_path / "model.safetensors")
    read = read_state_dict(tmp_path / "model.safetensors")
    for key, value in read_state_dict(source.checkpoint).items():
        torch.testing.assert_close(read[key], value, rtol=0, atol=0)


class Intruder:
    """Runs a command when it is unpickled without care."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_a_checkpoint_is_not_run(source, tmp_path):
    torch.save({**source.model.state_dict(), "x": Intruder(f"touch {tmp_path / 'trace'}")}, tmp_path / "best_model.pt")
    with pytest.raises(ValueError, match=r"it asks for \w+\.system, and code from a checkpoint is never run"):
        source.convert(tmp_path / "model", checkpoint=tmp_path / "best_model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["best_model.pt"]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"plain text\n", b"PK\x03\x04cut off"])
@pytest.mark.parametrize("name", ["best_model.pt", "model.safetensors"])
def test_other_files_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is no file of tensors alone: it cannot be read as one"):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "state_dict": {"a": torch.zeros(1)}}, r"holds more than tensors: epoch, state_dict\. If one"),
        ([torch.zeros(1)], "holds a list; expected a state dict"),
        ({}, "holds a dict; expected a state dict"),
    ],
)
def test_files_without_a_bare_state_dict_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=message):
        read_state_dict(tmp_path / "last.pt")


def test_a_missing_file_is_named(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        read_state_dict(tmp_path / "best_model.pt")
    with pytest.raises(FileNotFoundError, match=r"no file .*Std_raw.npy'; the published cal_mean_var.py"):
        source.convert(tmp_path / "model", statistics=(source.statistics[0], tmp_path / "Std_raw.npy"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda states: states.pop("logit_scale"), "missing logit_scale; unknown none"),
        (lambda states: states.pop("text_projection.fc.bias"), r"missing text_projection\.fc\.bias; unknown none"),
        (lambda states: states.update(extra=torch.zeros(1)), "missing none; unknown extra"),
        (lambda states: states.update({"motion_encoder.model.head.bias": torch.zeros(1)}), r"unknown motion_.*head\.bias"),
        (lambda states: _rename(states, ".fc_norm.", ".norm."), r"missing .*fc_norm\.weight; unknown .*model\.norm\.weight"),
        (
            lambda states: _rename(states, ".blocks.1.", ".blocks.2."),
            r"missing .*blocks\.1\.attn.*unknown .*blocks\.2\.attn",
        ),
        (lambda states: _drop(states, "text_encoder"), r"missing text_encoder\.text_model\.\*"),
        (lambda states: _drop(states, "motion_"), r"missing .*\(\d+ in all\); unknown none"),
        (
            lambda states: states["motion_projection.fc.bias"].fill_(torch.nan),
            r"1 of \d+ weights .* not finite: motion_proj",
        ),
    ],
)
def test_missing_and_unknown_weights_are_listed(change, message, source):
    states = copy.deepcopy(source.model.state_dict())
    change(states)
    with pytest.raises(ValueError, match=message):
        convert_state_dict(states)


def _rename(states, old, new):
    for key in [key for key in states if old in key]:
        states[key.replace(old, new)] = states.pop(key)


def _drop(states, prefix):
    for key in [key for key in states if key.startswith(prefix)]:
        del states[key]


@pytest.mark.parametrize(
    ("text_config", "message"),
    [
        (
            lambda t: distilbert(t, vocab_size=len(t) + 7),
            r"Other shapes .*word_embeddings\.weight \(\d+, 32\) ≠ \(\d+, 32\)",
        ),
        (lambda t: distilbert(t, dim=64), "has width 64, but the checkpoint's text_projection takes 32"),
        (lambda t: distilbert(t, hidden_dim=128), r"lin1\.weight \(64, 32\) ≠ \(128, 32\)"),
        (lambda t: distilbert(t, n_layers=3), r"missing in the checkpoint: transformer\.layer\.2\."),
        (lambda t: distilbert(t, n_layers=1), r"in the checkpoint only: transformer\.layer\.1\."),
        (lambda t: RobertaConfig(vocab_size=len(t), hidden_size=32, num_attention_heads=2), "RobertaModel.* is not the one"),
    ],
)
def test_a_text_model_that_does_not_fit_is_refused(text_config, message, source, tokenizer, tmp_path, monkeypatch, caplog):
    text_config(tokenizer).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(ValueError, match=message):
        source.convert(tmp_path / "model", text_model=str(tmp_path / "text"))
    assert any("is it its own?" in str(warning.message) for warning in warned) == ("word_embeddings" in message)
    assert not (tmp_path / "model").exists()
    assert "LOAD REPORT" not in caplog.text  # one error, not two


def test_a_text_folder_without_its_tokenizer_is_refused(source, tokenizer, tmp_path):
    source.text_config.save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="has no tokenizer"):
        source.convert(tmp_path / "model", text_model=str(tmp_path / "text"))
    distilbert(tokenizer, vocab_size=len(tokenizer) - 1).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match=rf"knows {len(tokenizer)} tokens, but the text model only {len(tokenizer) - 1}"):
        source.convert(tmp_path / "model", text_model=str(tmp_path / "text"))
    CLIPConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="is a 'clip', no text model"):
        source.convert(tmp_path / "model", text_model=str(tmp_path / "clip"))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros((21, 3)), np.ones((21, 3)), r"holds float64 of shape \(21, 3\); expected floats of shape \(22, 3\)"),
        (np.zeros(263), np.ones(263), r"shape \(263,\).*not the Mean\.npy and Std\.npy of the data set's features"),
        (np.ones((22, 3)), np.zeros((22, 3)), "66 standard deviations that are not above 0; the mean comes first"),
        (np.full((22, 3), np.nan), np.ones((22, 3)), "Mean_raw.npy' holds 66 values that are not finite"),
        (np.array([object()]), np.ones((22, 3)), "is no .npy file of numbers"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(mean, std, message, tmp_path):
    files = (tmp_path / "Mean_raw.npy", tmp_path / "Std_raw.npy")
    for file, values in zip(files, (mean, std), strict=True):
        np.save(file, values, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read_statistics(*files, "smpl22")


def test_heads_are_asked_for_where_the_width_does_not_tell(source):
    states = source.model.state_dict()
    with pytest.raises(
        ValueError, match=r"width 32, .* pass num_heads \(--num-heads\)\. Known: 3 of width 192, 6 of width 384"
    ):
        config_for_state_dict(states, source.text_config)
    with pytest.raises(ValueError, match="num_heads=5 does not divide the width 32"):
        config_for_state_dict(states, source.text_config, num_heads=5)


def test_a_vit_over_other_images_is_refused(source):
    states = copy.deepcopy(source.model.state_dict())
    states["motion_encoder.model.pos_embed"] = torch.zeros(1, 197, 32)
    with pytest.raises(ValueError, match=r"197 positions; expected .* 1 \+ 5 · windows"):
        config_for_state_dict(states, source.text_config, num_heads=2)


def test_weights_that_do_not_fit_each_other_are_refused(source, tmp_path):
    states = copy.deepcopy(source.model.state_dict())
    states["text_projection.fc.weight"] = torch.zeros(17, 16)
    torch.save(states, tmp_path / "best_model.pt")
    with pytest.raises(ValueError, match=r"do not fit each other: [\s\S]*text_projection\.fc\.weight"):
        source.convert(tmp_path / "model", checkpoint=tmp_path / "best_model.pt")


def test_nothing_is_written_when_the_tower_computes_something_else(source, tmp_path, monkeypatch):
    build = conversion.build_converted_model

    def build_wrongly(*arguments):
        model = build(*arguments)
        model.config.motion_config.num_attention_heads = 1
        return model

    monkeypatch.setattr(conversion, "build_converted_model", build_wrongly)
    with pytest.raises(ValueError, match="converted motion tower differs from timm's by"):
        source.convert(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_output_folder_is_not_replaced_by_accident(source, tmp_path):
    output = tmp_path / "model"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="no folder of a MotionPatches checkpoint: it is never replaced"):
            source.convert(output, overwrite=overwrite)
    assert (output / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match=r"output '\.' has no name of its own"):
        source.convert(Path("."))
    with pytest.raises(FileExistsError, match="never replaced"):  # a text model is a checkpoint too, but none of ours
        source.convert(source.text_model, overwrite=True)
    (output / "notes.txt").unlink()
    source.convert(output)
    before = load_file(output / "model.safetensors")
    with pytest.raises(FileExistsError, match="holds a checkpoint; choose another output, or replace it by --overwrite"):
        source.convert(output)
    torch.save(source.model.state_dict() | {"logit_scale": torch.tensor(1.0)}, output / "best_model.pt")
    with pytest.raises(FileExistsError, match=r"would be replaced with what is converted in it: .*best_model\.pt"):
        source.convert(output, checkpoint=output / "best_model.pt", overwrite=True)
    (output / "best_model.pt").rename(tmp_path / "other.pt")
    source.convert(output, checkpoint=tmp_path / "other.pt", overwrite=True)
    after = load_file(output / "model.safetensors")
    assert (before["logit_scale"].item(), after["logit_scale"].item()) == (pytest.approx(SCALE), 1.0)


def test_an_unknown_dataset_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="unknown dataset 'babel'; known: humanml3d, kitml"):
        source.convert(tmp_path / "model", dataset="babel")


def test_the_command_converts(source, tmp_path):
    arguments = [
        "convert", source.checkpoint, "--dataset", "humanml3d", "--statistics", *source.statistics,
        "--text-model", source.text_model, "--output", tmp_path / "model",
    ]  # fmt: skip
    run = [
        CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300", "NO_COLOR": "1"})
        for words in (arguments, [*arguments, "--num-heads", 4], [*arguments, "--num-heads", 4])
    ]
    assert [result.exit_code for result in run] == [1, 0, 1]
    assert "pass num_heads (--num-heads)" in run[0].output
    assert "motion features differ from timm's by at most" in run[1].output
    assert "replace it by --overwrite" in run[2].output
    assert "Traceback" not in run[0].output + run[2].output
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_motionpatches.MotionPatchesModel"
