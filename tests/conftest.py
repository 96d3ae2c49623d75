"""Tiny models and motions, built once a test run."""

import os
from pathlib import Path

import ezc3d  # noqa: F401 - before faiss: both wrap C++ vectors by SWIG, and ezc3d fails to write where faiss came first
import numpy as np
import pytest
import torch
from transformers import DistilBertConfig

import motionpatches
from motionpatches import (
    MotionPatchesConfig,
    MotionPatchesModel,
    MotionPatchProcessor,
    MotionTextProcessor,
    motion_vit_config,
)
from motionpatches.processing.canonical import from_y_up
from motionpatches.processing.skeletons import UNITS
from motionpatches.training.builder import train_tokenizer


CAPTIONS = ["a person walks forward", "someone jumps twice", "the figure waves the left hand", "a person sits down slowly"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real motion that MOTIONPATCHES_DATA names."""
    folder = os.environ.get("MOTIONPATCHES_DATA")
    if not folder:
        pytest.skip("MOTIONPATCHES_DATA is not set: it names a folder of real motion with captions")
    return Path(folder)


def both_sides(limbs, hubs):
    """Limb joints (name, parent, body point) without their side → `LeftArm`, …, `RightArm`, …; joints in `hubs` have no side."""
    return [
        (f"{side}{name}", parent if parent in hubs else f"{side}{parent}", f"{side.lower()}_{point}")
        for side in ("Left", "Right")
        for name, parent, point in limbs
    ]


def swinging_motion(skeleton="smpl22", num_frames=40, seed=0):
    """A rest pose that drifts and swings smoothly: shape (num_frames, J, 3), in the skeleton's unit and axes."""
    rng = np.random.default_rng(seed)
    found = motionpatches.get_skeleton(skeleton)
    phase = np.linspace(0, 4 * np.pi, num_frames)[:, None, None] + rng.uniform(0, 6, (1, found.num_joints, 3))
    drift = np.linspace(0, 1, num_frames)[:, None, None] * rng.normal(size=3) * [1, 0, 1]
    joints = found.rest_pose[: found.num_joints] + 0.05 * np.sin(phase) + drift
    return from_y_up(joints, found) / UNITS[found.unit]


def smpl_motion(seed=0, num_frames=40):
    """A motion on smpl22 that says so."""
    return {"joints": swinging_motion(seed=seed, num_frames=num_frames), "skeleton": "smpl22", "fps": 20}


def run_command(*arguments, columns=200):
    """A line of the console command, as a person types it."""
    from typer.testing import CliRunner

    from motionpatches.training.cli import app

    environment = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def break_the_loss(monkeypatch, module_class, after):
    """Make the loss of a model, or a loss module, NaN after so many forward passes."""
    original, calls = module_class.forward, []

    def broken(self, *arguments, **kwargs):
        out = original(self, *arguments, **kwargs)
        calls.append(1)
        if len(calls) > after:
            if isinstance(out, torch.Tensor):
                return out * float("nan")
            out.loss = out.loss * float("nan")
        return out

    monkeypatch.setattr(module_class, "forward", broken)


def scores_of(result):
    """What a pipeline returned for one motion, label → score."""
    return {entry["label"]: entry["score"] for entry in result}


@pytest.fixture
def motion_file(tmp_path):
    np.savez(tmp_path / "walk.npz", joints=swinging_motion(), skeleton="smpl22", fps=20)
    return tmp_path / "walk.npz"


@pytest.fixture(scope="session")
def motions():
    return [
        {"joints": swinging_motion("smpl22", 40, 0), "skeleton": "smpl22", "fps": 20},
        {"joints": swinging_motion("cmu31", 70, 1), "skeleton": "cmu31", "fps": 20},
        {"joints": swinging_motion("kinect20", 25, 2), "skeleton": "kinect20", "fps": 20},
        {"joints": swinging_motion("kit21", 100, 3), "skeleton": "kit21", "fps": 20},
    ]


@pytest.fixture(scope="session")
def captions():
    return list(CAPTIONS)


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(CAPTIONS * 20, vocab_size=200)


@pytest.fixture
def motion_processor(motions):
    return MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(
        [m for m in motions if len(m["joints"]) < 70]
    )


@pytest.fixture
def processor(motion_processor, tokenizer):
    return MotionTextProcessor(motion_processor, tokenizer)


def tiny_config(tokenizer, **kwargs):
    motion_config = motion_vit_config(
        "tiny", patch_size=8, max_frames=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    text_config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=64, pad_token_id=0
    )
    return MotionPatchesConfig(motion_config=motion_config, text_config=text_config, projection_dim=16, **kwargs)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return MotionPatchesModel(tiny_config(tokenizer)).eval()


@pytest.fixture(scope="session")
def tiny_data():
    """Procedural motions on two skeletons: a `DatasetDict` with train, validation and test."""
    from datasets import DatasetDict, concatenate_datasets

    from motionpatches import make_motions
    from motionpatches.processing.corpora import to_dataset

    def part(num, seed):
        made = [to_dataset(make_motions(num, s, seed, actions=["wave", "kick", "squat"]), s) for s in ("smpl22", "body21")]
        return concatenate_datasets(made)

    return DatasetDict({"train": part(12, 0), "validation": part(6, 1), "test": part(6, 2)})


@pytest.fixture(scope="session")
def data_folder(tiny_data, tmp_path_factory):
    """`tiny_data` on the disk."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny_data.save_to_disk(str(folder))
    return folder


TINY_RECIPE = {
    "motion_size": "tiny",
    "motion_depth": 1,
    "motion_pooling": "mean",
    "text_name": None,
    "text_width": 32,
    "text_depth": 1,
    "text_pooling": "mean",
    "projection_dim": 32,
    "projection_dropout": 0.0,
    "max_frames": 96,
    "epochs": 3,
    "batch_size": 8,
    "tracker": "none",
}


@pytest.fixture(scope="session")
def still_text_model(tiny_data, tmp_path_factory):
    """Folder of a text model without dropout, so that nothing of a step is random."""
    from transformers import DistilBertModel

    folder = tmp_path_factory.mktemp("text")
    tokenizer = train_tokenizer((text for texts in tiny_data["train"]["captions"] for text in texts), 300)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=1, n_heads=2, dropout=0.0, attention_dropout=0.0
    )
    DistilBertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_recipe():
    from motionpatches.training.recipe import parse_recipe

    return parse_recipe("tiny", TINY_RECIPE)


@pytest.fixture(scope="session")
def trained_run(tiny_data, tmp_path_factory):
    """A finished training run; tests read it and must not change it."""
    from motionpatches.training.loop import train
    from motionpatches.training.recipe import parse_recipe

    folder = tmp_path_factory.mktemp("trained") / "run"
    train(parse_recipe("tiny", TINY_RECIPE), tiny_data, folder)
    return folder


@pytest.fixture(scope="session")
def quickstart_folder(tmp_path_factory):
    """What `make quickstart` leaves, of a model that saw little; tests read it and must not change it."""
    from rich.console import Console

    from motionpatches.training.quickstart import run_quickstart

    output = tmp_path_factory.mktemp("quickstart") / "out"
    run_quickstart(output, 0, Console(record=True, width=200, quiet=True), motions_per_skeleton=19, epochs=1)
    return output


@pytest.fixture
def after_quickstart(quickstart_folder, tmp_path, monkeypatch):
    """A current folder of one's own in which the finished quickstart has the name that the pages give it."""
    (tmp_path / "quickstart").symlink_to(quickstart_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def named_data(tiny_data):
    """`tiny_data` with ids that are unique over its two skeletons."""
    return tiny_data.map(lambda row: {"id": f"{row['skeleton']}_{row['id']}"})


@pytest.fixture(scope="session")
def named_folder(named_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("named") / "named"
    named_data.save_to_disk(str(folder))
    return folder
