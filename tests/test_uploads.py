"""Pushes while the training goes on: they arrive whole, and whatever the Hub does, the training goes on."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import test_sharing
import torch
from conftest import TINY_RECIPE, run_command
from hub_server import READER, TOKEN, USER, Repository
from safetensors.torch import load
from test_sharing import REPO, holds, readme

from motionpatches.training.export import save_checkpoint
from motionpatches.training.sharing import push_to_hub
from motionpatches.training.uploads import BackgroundPush


hub = test_sharing.hub
run_folder = test_sharing.run_folder
PATIENCE = 200.0  # seconds; nothing waits so long unless it is broken


class SlowBlobs(dict):
    """Takes no large file before the gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def __setitem__(self, oid, content):
        self.gate.wait(PATIENCE)
        super().__setitem__(oid, content)


@pytest.fixture
def slow_hub(hub):
    hub.blobs = SlowBlobs()
    yield hub
    hub.blobs.gate.set()


def wait_for(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def save(model, processor, tmp_path):
    """Saves a checkpoint as a run does, in the place of the one before; its temperature is that of the epoch."""

    def to_folder(epoch):
        model.logit_scale.data.fill_(epoch)
        save_checkpoint(model, processor, tmp_path / "run" / "last", {"epochs": epoch})
        return tmp_path / "run" / "last"

    return to_folder


def epoch_of(files):
    return load(files["model.safetensors"])["logit_scale"].item()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name not in ("last", "best", "results.json")]


def test_a_push_arrives_whole(hub, save, model):
    push = BackgroundPush("model")
    folder = save(3)
    push.push(folder, step=30, epoch=3)
    assert push.close(PATIENCE)
    assert hub.commits(REPO) == ["Epoch 3, step 30: last"]
    assert holds(hub.files(REPO), model)
    assert f'from_pretrained("{REPO}")' in readme(hub)
    assert "epochs: 3 |" in readme(hub)
    assert leftovers(folder.parent) == []


def test_a_slow_hub_holds_nothing_up_and_gets_the_newest_of_those_that_waited(slow_hub, save, capsys):
    push = BackgroundPush(REPO)
    push.push(save(1), 10, 1)
    wait_for(lambda: slow_hub.uploads == 1)
    push.push(save(2), 20, 2)
    push.push(save(3), 30, 3)  # while the first one is still on its way
    shutil.rmtree(save(4))
    assert slow_hub.commits(REPO) == []
    slow_hub.blobs.gate.set()
    assert push.close(PATIENCE)
    told = capsys.readouterr().err
    assert f"last of epoch 2 (step 20) is not pushed to {REPO}: last of epoch 3 (step 30) came before its turn" in told
    assert re.search(rf"waiting up to {PATIENCE:.0f} s for the push of last of epoch . \(step .0\) to {REPO}", told)
    commits = slow_hub.repositories[REPO].branches["main"][1:]
    assert [(commit.title, epoch_of(commit.files)) for commit in commits] == [
        ("Epoch 1, step 10: last", 1.0),  # as it was when it was pushed, although the folder was replaced
        ("Epoch 3, step 30: last", 3.0),
    ]


@pytest.mark.parametrize("where", ["upload", "commit"])
def test_a_push_that_breaks_off_is_told_of_and_the_next_one_tries_again(where, hub, save, capsys):
    push = BackgroundPush(REPO)
    hub.broken = where
    push.push(save(1), 10, 1)
    assert not push.close(PATIENCE)
    told = capsys.readouterr().err
    assert f"the push of last of epoch 1 (step 10) to {REPO} failed: the connection to {hub.url} broke off" in told
    assert "Training goes on; the next push tries again" in told
    assert f"/last {REPO}" in told
    hub.broken = None
    push.push(save(2), 20, 2)
    assert push.close(PATIENCE)
    assert epoch_of(hub.files(REPO)) == 2


def test_whatever_fails_nothing_is_raised(hub, save, tmp_path, capsys):
    push = BackgroundPush(REPO)
    push.push(tmp_path / "nothing", 1, 1)
    assert "is not pushed: [Errno 2] No such file" in capsys.readouterr().err
    assert not push.close(PATIENCE)
    folder = save(1)
    (folder / "card.json").write_text("[]")
    push.push(folder, 2, 1)
    assert not push.close(PATIENCE)
    assert "failed: TypeError: list indices" in capsys.readouterr().err
    assert leftovers(tmp_path / "run") == []


def test_an_older_push_that_arrives_does_not_count_for_the_last_one(slow_hub, save, tmp_path):
    push = BackgroundPush(REPO)
    push.push(save(1), 10, 1)
    wait_for(lambda: slow_hub.uploads == 1)
    push.push(tmp_path / "nothing", 20, 2)
    slow_hub.blobs.gate.set()
    assert not push.close(PATIENCE)
    assert epoch_of(slow_hub.files(REPO)) == 1


def test_waiting_ends_and_the_command_that_is_named_pushes_by_hand(slow_hub, save, capsys):
    push = BackgroundPush(REPO, private=True, revision="run1")
    push.push(save(1), 10, 1)
    assert not push.close(0.01)
    told = capsys.readouterr().err
    command = shlex.split(re.search(r"the last checkpoint is not on the Hub; push it with: motionpatches (.*)", told)[1])
    slow_hub.blobs.gate.set()
    assert push.close(PATIENCE)  # it went on
    save(2)
    result = run_command(*command)
    assert result.exit_code == 0, result.output
    assert epoch_of(slow_hub.files(REPO, "run1")) == 2
    assert slow_hub.repositories[REPO].private


@pytest.fixture
def hears_ctrl_c():
    """Processes that a shell starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_ends_the_waiting(slow_hub, save, capsys):
    push = BackgroundPush(REPO)
    push.push(save(1), 10, 1)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        push.close(PATIENCE)
    assert f"push it with: motionpatches push {save(1)} {REPO}" in capsys.readouterr().err
    slow_hub.blobs.gate.set()
    assert push.close(PATIENCE)


ENDS = """
import sys
from pathlib import Path
from motionpatches.training.uploads import BackgroundPush
push = BackgroundPush("{repo}")
push.push(Path(sys.argv[1]), 10, 1)
sys.stdin.readline()
print("arrived:", push.close(0.01))
"""


def test_the_process_ends_although_an_upload_hangs(slow_hub, save):
    folder = save(1)
    environment = {**os.environ, "HF_ENDPOINT": slow_hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    command = [sys.executable, "-c", ENDS.format(repo=REPO), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            wait_for(lambda: slow_hub.uploads == 1)
            out, _ = process.communicate("\n", timeout=PATIENCE / 2)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "arrived: False\n")
    assert not slow_hub.blobs.gate.is_set()
    assert leftovers(folder.parent) == []


def test_the_random_numbers_of_the_training_are_as_without_a_push(hub, save):
    folder = save(1)

    def states():
        numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), numpy_state, torch.get_rng_state().tolist(), torch.get_default_dtype(), os.getcwd()

    before = states()
    push = BackgroundPush(REPO)
    push.push(folder, 10, 1)
    assert push.close(PATIENCE)
    assert states() == before


def test_what_can_be_known_before_the_training_is_an_error(hub, model, processor, monkeypatch):
    with pytest.raises(ValueError, match="no name on the Hub; expected 'user/name'"):
        BackgroundPush("my model")
    with pytest.raises(PermissionError, match=r"no right to write to 'others/model'"):
        BackgroundPush("others/model")
    hub.repositories["others/model"] = Repository(private=False)
    hub.repositories["others/model"].add_commit("main", "initial commit", {})
    with pytest.raises(PermissionError, match=r"no right to write to 'others/model'"):
        BackgroundPush("others/model")  # one that is there, too
    with pytest.raises(PermissionError, match=r"the token needs the right to write"):
        BackgroundPush(REPO, token=READER)
    push_to_hub(model, processor, REPO)
    with pytest.raises(ValueError, match="exists and is public, not private"):
        BackgroundPush(REPO, private=True)
    hub.put(REPO, "README.md", (readme(hub) + "\nEdited.\n").encode())
    with pytest.raises(ValueError, match=r"written by hand and would be replaced; choose another name.*--new-card"):
        BackgroundPush(REPO)
    BackgroundPush(f"{USER}/other", revision="run1")
    assert set(hub.repositories[f"{USER}/other"].branches) == {"main", "run1"}
    assert hub.commits(f"{USER}/other") == []
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError, match="no token of the Hub: log in with `hf auth login`"):
        BackgroundPush(REPO)


def test_at_the_end_of_a_run_its_results_go_along(hub, run_folder):
    push = BackgroundPush(REPO)
    push.push(run_folder / "best", 9, 3)
    assert push.close(PATIENCE)
    best = json.loads((run_folder / "results.json").read_text())["best"]["validation"]["all"]
    assert "### Validation split" in readme(hub)
    assert f"| strict | text→motion | {best['retrieval']['strict']['t2m']['R@1']:.1f} |" in readme(hub)


def test_results_of_an_earlier_run_in_the_folder_do_not_go_along(hub, run_folder):
    os.utime(run_folder / "results.json", (0, 0))
    push = BackgroundPush(REPO)
    push.push(run_folder / "best", 9, 3)
    assert push.close(PATIENCE)
    assert "### Validation split" not in readme(hub)


def test_what_a_killed_run_left_is_cleared(hub, save):
    folder = save(1)
    (folder.parent / ".pushing-killed" / "last").mkdir(parents=True)
    push = BackgroundPush(REPO)
    push.push(folder, 10, 1)
    assert push.close(PATIENCE)
    assert leftovers(folder.parent) == []


def test_training_pushes_its_checkpoints_as_it_goes(hub, data_folder, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(json.dumps({**TINY_RECIPE, "epochs": 2}))
    run = tmp_path / "run"
    done = run_command("train", "--recipe", recipe, "--data", data_folder, "--output", run, "--push-to", REPO, "--private")
    assert done.exit_code == 0, done.output
    titles = hub.commits(REPO)
    assert titles[-1].endswith(": best")  # what the run ends with, whatever was skipped on the way
    assert set(titles) <= {"Epoch 1, step 3: last", "Epoch 2, step 6: last", titles[-1]}
    assert hub.repositories[REPO].private
    assert "### Validation split" in readme(hub)


def test_a_hub_that_refuses_is_known_before_the_training(hub, data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READER)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(json.dumps(TINY_RECIPE))
    done = run_command("train", "--recipe", recipe, "--data", data_folder, "--output", tmp_path / "run", "--push-to", REPO)
    assert done.exit_code == 1
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
