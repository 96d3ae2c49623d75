"""Each script of examples/ runs, at a small size, and leaves what it promises."""

import ast
import importlib.util
from pathlib import Path

import pytest
import test_sharing
from hub_server import USER
from transformers import AutoProcessor
from typer import Typer
from typer.testing import CliRunner

from motionpatches import AutoModelForMotionClassification, MotionIndex, MotionLlamoForConditionalGeneration


FOLDER = Path(__file__).resolve().parent.parent / "examples"
FILES = {file.stem: file for file in FOLDER.glob("*.py")}
hub = test_sharing.hub


def run(name, *arguments):
    """The lines that an example prints."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FILES[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = Typer()
    app.command()(module.main)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_own_bvh_library(after_quickstart):
    lines = run("own_bvh_library", "--output", "library")
    assert "6 of 6 files are in the index; left out: none" in lines
    index = MotionIndex.load("library/index")
    assert sorted(index.table["id"].to_pylist()) == sorted(file.name for file in Path("library/files").glob("*.bvh"))
    assert set(index.table["skeleton"].to_pylist()) == {"body21"}
    again = run("own_bvh_library", "--library", "library/files", "--output", "again", "--query", "a person waves")
    assert any("a person waves" in line for line in again)
    like = next(number for number, line in enumerate(again) if line.startswith("like "))
    assert again[like].removeprefix("like ") in again[like + 1]  # nothing is more like a motion than itself


def test_own_skeleton(after_quickstart):
    lines = run("own_skeleton", "--output", "studio", "--num", 4)
    assert "  left_arm: Chest → L_Clavicle → L_UpperArm → L_Forearm → L_Hand" in lines
    assert Path("studio/studio.png").read_bytes().startswith(b"\x89PNG")
    assert "studio" in AutoProcessor.from_pretrained("studio/processor").feature_extractor.statistics


def test_fine_tune(after_quickstart):
    lines = run("fine_tune", "--output", "classifier", "--num", 2, "--epochs", 1)
    assert any("by chance 25.0 %" in line for line in lines)
    assert len(AutoModelForMotionClassification.from_pretrained("classifier/best").config.id2label) == 4


def test_push_to_hub(after_quickstart, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(after_quickstart / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(after_quickstart / "cache"))
    run("push_to_hub", f"{USER}/example", "--licence", "cc-by-4.0")
    files = hub.files(f"{USER}/example")
    assert {"model.safetensors", "README.md", "processor_config.json"} <= set(files)
    assert "cc-by-4.0" in files["README.md"].decode()
    assert hub.repositories[f"{USER}/example"].private


@pytest.mark.filterwarnings("ignore:FID of", "ignore:diversity is defined")
def test_evaluate_generator(after_quickstart):
    fits, other, note = run("evaluate_generator", "--num", 32)
    assert "R-precision" in fits
    assert fits.partition("FID")[2] == other.partition("FID")[2]  # FID does not see the texts
    assert fits.partition("FID")[0].partition(":")[2] != other.partition("FID")[0].partition(":")[2]
    assert "compare only" in note


def test_localise(after_quickstart):
    run("localise", "--output", "pictures/moments.png")
    assert Path("pictures/moments.png").read_bytes().startswith(b"\x89PNG")
    lines = run("localise", "--recording", "quickstart/motions/wave.npz", "--query", "someone waves", "--output", "one.png")
    assert any(line.endswith("someone waves") and " to " in line for line in lines)


def test_ask_about_motion(after_quickstart):
    lines = run("ask_about_motion", "--output", "answers", "--num", 6, "--epochs", 1)
    assert sum("Which action is this?" in line for line in lines) == 3
    assert MotionLlamoForConditionalGeneration.from_pretrained("answers/best").config.text_config.num_hidden_layers == 1


def test_each_example_is_run_above_and_says_how_to_run_it():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(FILES) <= tests
    for name, file in FILES.items():
        says = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        assert f"    python examples/{name}.py" in says
