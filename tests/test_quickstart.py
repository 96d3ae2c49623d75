"""The first thing a new user runs, at a small size."""

import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoModel, AutoProcessor, pipeline
from typer.testing import CliRunner

from motionpatches import MotionPatchesModel
from motionpatches.training.cli import app
from motionpatches.training.quickstart import TRAINED_SKELETONS, UNSEEN_SKELETON, make_data, run_quickstart


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("quickstart") / "out"
    console = Console(record=True, width=200, quiet=True)
    run_quickstart(output, 0, console, motions_per_skeleton=19, epochs=1)
    return output


def test_it_leaves_what_it_promises(finished):
    assert isinstance(AutoModel.from_pretrained(finished / "run" / "best"), MotionPatchesModel)
    for picture in ("retrieval.png", "motion_patches.png"):
        assert (finished / picture).read_bytes().startswith(b"\x89PNG")
    results = json.loads((finished / "results.json").read_text())
    assert len(results["results"]) == 3
    for gallery in results["results"].values():
        assert gallery["chance"]["strict"]["t2m"]["R@1"] == pytest.approx(100 / gallery["num"])
        assert gallery["zero_shot"]["num_classes"] >= 10
    unseen = results["results"][f"unseen {UNSEEN_SKELETON}"]
    assert unseen["statistics"] == {UNSEEN_SKELETON: "shared"}


def test_the_unseen_skeleton_and_the_test_motions_are_not_trained_on():
    data, galleries = make_data(seed=0, motions_per_skeleton=19)
    assert set(data["train"]["skeleton"]) == set(TRAINED_SKELETONS)
    assert UNSEEN_SKELETON not in TRAINED_SKELETONS
    parts = [data["train"], data["validation"], *galleries.values()]
    motions = [{tuple(joints[:30]) for joints in part["joints"]} for part in parts]
    for index, first in enumerate(motions):
        assert all(first.isdisjoint(second) for second in motions[index + 1 :])


def test_an_earlier_quickstart_is_not_overwritten(finished):
    with pytest.raises(FileExistsError, match="holds an earlier quickstart"):
        run_quickstart(finished, 0, Console(quiet=True))


@pytest.fixture
def as_in_the_readme(finished, monkeypatch):
    """The finished quickstart under the name that the README gives it, in the current folder."""
    monkeypatch.chdir(finished.parent)
    link = finished.parent / "quickstart"
    if not link.exists():
        link.symlink_to(finished)


def test_the_readme_python_works_on_what_it_left(as_in_the_readme):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "AutoProcessor" in block)
    scope: dict = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["classify"].task == "zero-shot-motion-classification"


def test_the_python_of_the_page_on_motion_files_works(as_in_the_readme):
    page = (ROOT / "docs" / "motion_files.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope: dict = {}
    for block in blocks:
        exec(compile(block, "motion_files.md", "exec"), scope)
    assert scope["motion"].skeleton.name == "smpl22"
    assert scope["values"].shape == (1, 2, 3, 224, 80)
    assert len(scope["skeleton"].chains["left_arm"]) == 5


def test_the_page_on_models_works(as_in_the_readme):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    lines = re.findall(r"^motionpatches ((?:attend|export) .*)$", page, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line))
        assert result.exit_code == 0, result.output
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "models.md", "exec"), scope)
    assert scope["scores"].shape == (1, 2)


LINES = re.findall(r"^motionpatches (.* quickstart/.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_the_readme_shell_lines_work_on_what_it_left(line, as_in_the_readme):
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == 0, result.output


def test_classification_of_a_sample_file_works_for_any_label(finished):
    classify = pipeline("zero-shot-motion-classification", model=str(finished / "run" / "best"))
    files = sorted((finished / "motions").glob("*.npz"))
    assert len(files) == 19
    assert len(classify([str(f) for f in files], candidate_labels=["walks", "jumps"])) == 19
    assert AutoProcessor.from_pretrained(finished / "run" / "best").feature_extractor.fps == 20
