"""Several processes are one: the same losses and weights as a process that holds the whole batch."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from accelerate.utils import set_seed
from conftest import TINY_RECIPE
from safetensors.torch import load_file

from motionpatches.training.builder import build_model, build_processor
from motionpatches.training.recipe import load_recipe


STEPS = 20
#: Nothing is random: each pair is the same on any process.
FIELDS = {
    **TINY_RECIPE,
    "motion_depth": 2,
    "epochs": 5,
    "batch_size": 6,
    "unique_captions": False,  # 24 motions fill four batches then
    "lr_text": 1e-4,
    "learn_logit_scale": True,
}


@pytest.fixture(scope="module")
def recipe(still_text_model, tmp_path_factory):
    """A recipe without dropout: the text model, whose configuration has some by default, is given."""
    folder = tmp_path_factory.mktemp("recipe")
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**FIELDS, "text_name": str(still_text_model)}))
    return file


def run_processes(num, recipe, data_folder, output, *arguments):
    command = [sys.executable, "-m"]
    if num > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(num), "-m"]
    command += ["motionpatches", "train", "--recipe", str(recipe), "--data", str(data_folder), "--output", str(output)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((output / "results.json").read_text())


def losses_of(run):
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines]


def flat(weights):
    """All weights as one vector, but for those that attention does not depend on: their gradient is rounding alone."""
    return torch.cat(
        [weights[name].flatten() for name in sorted(weights) if not name.endswith(("k_proj.bias", "k_lin.bias"))]
    )


def assert_equal_runs(one, other, recipe, rows):
    assert losses_of(one) == pytest.approx(losses_of(other), rel=1e-5)
    loaded = load_recipe(recipe)
    set_seed(loaded.run.seed)
    start = flat(build_model(loaded, build_processor(loaded, rows)).state_dict())
    found, expected = (flat(load_file(run / "last" / "model.safetensors")) for run in (one, other))
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (found - expected).norm() < 1e-3 * (expected - start).norm()  # the weights moved, and moved alike


@pytest.fixture(scope="module")
def single(recipe, data_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("single") / "run"
    run_processes(1, recipe, data_folder, output)
    assert json.loads((output / "state" / "progress.json").read_text())["step"] == STEPS
    return output


def test_two_processes_equal_one(recipe, data_folder, single, tiny_data, tmp_path):
    results = run_processes(2, recipe, data_folder, tmp_path / "run")
    assert results["num_processes"] == 2
    assert_equal_runs(tmp_path / "run", single, recipe, tiny_data["train"])


def test_two_processes_in_parts_equal_one(recipe, data_folder, single, tiny_data, tmp_path):
    results = run_processes(2, recipe, data_folder, tmp_path / "run", "--set", "micro_batch_size=2")
    assert results["num_processes"] == 2
    assert_equal_runs(tmp_path / "run", single, recipe, tiny_data["train"])
