"""A run cannot be lost: real processes that are killed, told to stop, or run out of room."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
import yaml
from conftest import TINY_RECIPE
from safetensors.torch import load_file
from transformers import AutoModel

from motionpatches import MotionPatchesModel


# Dropout, augmentation and a moving average are on: all of their states must come back.
FIELDS = {
    **TINY_RECIPE,
    "epochs": 3,
    "batch_size": 6,
    "projection_dropout": 0.3,
    "ema_decay": 0.9,
    "augment_heading": 20,
    "augment_mirror": 0.5,
    "save_steps": 2,
    "warmup_ratio": 0.2,
}
STEPS = 12  # of the 24 motions, 4 an epoch


@pytest.fixture(scope="module")
def start_run(data_folder, tmp_path_factory):
    """Starts `motionpatches train` in a process of its own."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "short.yaml").write_text(yaml.safe_dump(FIELDS))

    def start(output, *arguments, before=None):
        command = [sys.executable, "-m", "motionpatches", "train", "--recipe", str(folder / "short.yaml")]
        command += ["--data", str(data_folder), "--output", str(output), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "500"}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
        )

    return start


@pytest.fixture(scope="module")
def uninterrupted(start_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start_run(run)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return run


def weights(run, part="state"):
    return load_file(run / part / "model.safetensors")


def steps_of(run):
    """Steps that the run has noted; the log is written before a step is saved."""
    try:
        return json.loads((run / "state" / "progress.json").read_text())["step"]
    except FileNotFoundError:
        return 0


def wait_until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the run does not get there"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def assert_same_end(run, other):
    for part in ("state", "last", "best"):
        expected = weights(other, part)
        for name, tensor in weights(run, part).items():
            assert tensor.equal(expected[name]), (part, name)
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (run, other))
    assert one["best_epoch"] == two["best_epoch"]
    losses = [[json.loads(line)["loss"] for line in (f / "history.jsonl").read_text().splitlines()] for f in (run, other)]
    assert losses[0] == losses[1]
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def kill_at_random(start_run, run, seed, times=2):
    """Start a run, kill it with SIGKILL at random moments, go on, and let it end."""
    generator = random.Random(seed)
    for number in range(times):
        goal = generator.randrange(2, 5) + 4 * number
        process = start_run(run, *(["--resume"] if steps_of(run) else []))
        if generator.random() < 0.5:
            wait_until(lambda g=goal: steps_of(run) >= g, process)
        else:  # in the middle of a save
            wait_until(lambda g=goal: steps_of(run) >= g - 2 and (run / "state.new").exists(), process)
        time.sleep(generator.random() * 0.05)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if (run / "last").exists():
            assert isinstance(AutoModel.from_pretrained(run / "last"), MotionPatchesModel)
    process = start_run(run, *(["--resume"] if (run / "state").exists() or (run / "state.old").exists() else []))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(start_run, uninterrupted, tmp_path):
    kill_at_random(start_run, tmp_path / "run", seed=0)
    assert_same_end(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_more_killed_runs(start_run, uninterrupted, tmp_path, seed):
    kill_at_random(start_run, tmp_path / "run", seed, times=3)
    assert_same_end(tmp_path / "run", uninterrupted)


def test_sigterm_saves_and_exits(start_run, uninterrupted, tmp_path):
    run = tmp_path / "run"
    process = start_run(run, "--set", "save_steps=0")
    wait_until(lambda: steps_of(run) >= 4, process)  # the end of the first epoch: the next state is two away
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output + errors
    assert "go on with --resume" in output
    stopped = steps_of(run)
    assert f"after step {stopped}" in output
    process = start_run(run, "--resume", "--set", "save_steps=0")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same_end(run, uninterrupted)


def test_a_disk_without_room_ends_the_run_with_its_last_state_whole(start_run, uninterrupted, tmp_path):
    run = tmp_path / "run"
    process = start_run(run)
    wait_until(lambda: steps_of(run) >= 4, process)
    process.kill()
    process.communicate()
    before = steps_of(run)
    room = 400_000  # bytes in a file: less than the weights

    process = start_run(run, "--resume", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, output + errors
    assert "could not write into" in errors
    assert f"The state after step {before} is whole" in errors
    assert steps_of(run) == before
    assert isinstance(AutoModel.from_pretrained(run / "last"), MotionPatchesModel)
    process = start_run(run, "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same_end(run, uninterrupted)
