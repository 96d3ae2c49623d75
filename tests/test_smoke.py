"""What must work in any installation: these tests also run against the wheel and the sdist (`make smoke`)."""

import os
import subprocess
import sys
from importlib import metadata, resources

import pytest
import torch
from conftest import TINY_RECIPE
from transformers import AutoModel, AutoProcessor, pipeline

import motionpatches
from motionpatches.training.export import card_template, save_checkpoint
from motionpatches.training.metrics import metric_path
from motionpatches.training.recipe import list_recipes


pytestmark = pytest.mark.smoke


def test_every_public_name_is_there():
    for name in motionpatches.__all__:
        assert getattr(motionpatches, name) is not None
    assert motionpatches.__version__ == metadata.version("motionpatches")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        motionpatches.nothing  # noqa: B018


def test_package_data_is_there():
    assert (resources.files("motionpatches") / "py.typed").is_file()
    assert {"open_mocap", "quickstart"} <= set(list_recipes())
    assert "## Licence and limits" in card_template().read_text(encoding="utf-8")


def test_metrics_load_by_path_without_a_network():
    code = (
        "import sys, evaluate; metric = evaluate.load(sys.argv[1]); embeds = [[1.0, 0.0], [0.0, 1.0]]; "
        "print(metric.compute(text_embeds=embeds, motion_embeds=embeds[::-1])['t2m'])"
    )
    command = [sys.executable, "-c", code, metric_path("motion_retrieval")]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    found = subprocess.run(command, env=offline, capture_output=True, text=True, check=True)
    assert "'R@1': 0.0, 'R@2': 100.0" in found.stdout


def test_generic_folder_names_are_not_importable(tmp_path):
    names = ("processing", "training", "modeling_motionpatches")
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_console_command_and_module(tmp_path):
    for command in (["motionpatches"], [sys.executable, "-m", "motionpatches"]):
        executable = [os.path.join(os.path.dirname(sys.executable), command[0])] if len(command) == 1 else command
        shown = subprocess.run([*executable, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "quickstart" in shown.stdout


def test_made_motion_to_saved_model_to_answer(model, processor, tmp_path):
    """The whole path on a tiny model: motions → processor → model → folder → Auto classes → pipeline → card."""
    save_checkpoint(model, processor, tmp_path / "model")
    motion = motionpatches.make_motions(1, "smpl22", actions=["wave"])[0]
    loaded, its_processor = AutoModel.from_pretrained(tmp_path / "model"), AutoProcessor.from_pretrained(tmp_path / "model")
    inputs = its_processor(motions=motion, text=["a person waves", "a person walks"], return_tensors="pt", padding=True)
    with torch.no_grad():
        assert loaded(**inputs).logits_per_motion.softmax(-1).sum().item() == pytest.approx(1, abs=1e-5)
    classify = pipeline("zero-shot-motion-classification", model=str(tmp_path / "model"))
    assert {entry["label"] for entry in classify(motion, candidate_labels=["waves", "walks"])} == {"waves", "walks"}
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card
    assert "{{" not in card


def test_a_model_learns_in_an_installed_package(tiny_data, tmp_path):
    from motionpatches.training.loop import train
    from motionpatches.training.recipe import parse_recipe

    results = train(parse_recipe("tiny", {**TINY_RECIPE, "epochs": 1}), tiny_data, tmp_path / "run")
    assert results["epochs"] == 1
