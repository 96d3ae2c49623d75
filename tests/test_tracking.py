"""What a run reports: nothing is lost or doubled by a resume, and what trackers get is what was meant."""

import io
import json
import sys
import time

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import TINY_RECIPE

from motionpatches.training import tracking
from motionpatches.training.recipe import parse_recipe
from motionpatches.training.tracking import (
    MetricsLog,
    ProgressBar,
    resolve_tracker,
    start_tracker,
    tracker_settings,
    validation_scalars,
)


def lines(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.fixture
def metrics(tmp_path):
    """Four lines of steps 1 to 4, the last of which is of a judged epoch."""
    path = tmp_path / "run" / "metrics.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write("train", step, 1, {"loss": 1 / step})
    log.write("validation", 4, 1, {"mean_recall": 12.5})
    return path


def test_a_line_is_whole_as_soon_as_it_is_written(metrics):
    assert lines(metrics)[-1] == {"kind": "validation", "step": 4, "epoch": 1, "mean_recall": 12.5}
    assert list(lines(metrics)[0]) == ["kind", "step", "epoch", "loss"]


def test_numbers_of_numpy_and_torch_and_those_that_are_not_finite(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    values = {"loss": torch.tensor(0.5), "lr": np.float32(0.25), "num": np.int64(3), "grad_norm": float("inf")}
    log.write("train", 1, 1, {**values, "nan": torch.tensor(float("nan")), "by": {"all": [np.float64("-inf"), 2]}})
    (found,) = lines(log.path)
    assert (found["loss"], found["lr"], found["num"]) == (0.5, 0.25, 3)
    assert (found["grad_norm"], found["nan"], found["by"]) == (None, None, {"all": [None, 2]})


def test_a_resumed_run_has_each_step_once(metrics, capsys):
    with metrics.open("a") as file:
        file.write('{"kind": "train", "step": 5, "ep')  # killed while writing
    log = MetricsLog(metrics, resume_at_step=2)
    assert "2 lines of steps after 2, which come again, and 1 half-written ones are dropped" in capsys.readouterr().out
    log.write("train", 3, 1, {"loss": 0.1})
    assert [line["step"] for line in lines(metrics)] == [1, 2, 3]
    assert lines(metrics)[-1]["loss"] == 0.1


def test_a_resume_that_drops_nothing_changes_and_says_nothing(metrics, capsys):
    before = metrics.read_bytes()
    MetricsLog(metrics, resume_at_step=4)
    assert metrics.read_bytes() == before
    assert capsys.readouterr().out == ""


def test_a_resume_from_the_first_steps_and_one_without_a_file(metrics, tmp_path):
    MetricsLog(metrics, resume_at_step=0)
    assert lines(metrics) == []
    MetricsLog(tmp_path / "other.jsonl", resume_at_step=7).write("train", 8, 1, {})
    assert len(lines(tmp_path / "other.jsonl")) == 1


def test_a_new_run_begins_a_new_file(metrics, capsys):
    MetricsLog(metrics)
    assert lines(metrics) == []
    assert capsys.readouterr().out == ""


def test_what_is_no_metric_is_refused_and_leaves_no_half_line(metrics):
    log = MetricsLog(metrics, resume_at_step=4)
    with pytest.raises(ValueError, match=r"metrics cannot be called epoch, step: those are the line's own"):
        log.write("train", 5, 1, {"step": 6, "epoch": 1})
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        log.write("train", 5, 1, {"loss": object()})
    assert len(lines(metrics)) == 4


def test_each_recall_is_a_curve(trained_run):
    found = json.loads((trained_run / "history.jsonl").read_text().splitlines()[-1])["validation"]
    scalars = validation_scalars(found)
    assert scalars["all/m2t_R@10"] == found["all"]["retrieval"]["strict"]["m2t"]["R@10"]
    assert scalars["smpl22/t2m_R@1"] == found["smpl22"]["retrieval"]["strict"]["t2m"]["R@1"]
    assert scalars["body21/zero_shot_top1"] == found["body21"]["zero_shot"]["top1"]
    assert len(scalars) == 3 * 7


def test_trackers_that_are_not_installed_name_their_extra(monkeypatch):
    assert resolve_tracker("none") is None
    assert resolve_tracker("auto") == "tensorboard"
    assert resolve_tracker("wandb") == "wandb"
    with pytest.raises(ValueError, match=r"unknown tracker 'mlflow'; expected auto, none, tensorboard, wandb"):
        resolve_tracker("mlflow")
    monkeypatch.setattr(tracking, "is_tensorboard_available", lambda: False)
    monkeypatch.setattr(tracking, "is_wandb_available", lambda: False)
    assert resolve_tracker("auto") is None
    with pytest.raises(
        ImportError, match=r"tracker=tensorboard needs TensorBoard: pip install 'motionpatches\[tensorboard\]'"
    ):
        resolve_tracker("tensorboard")
    with pytest.raises(ImportError, match=r"pip install 'motionpatches\[wandb\]', or set tracker=none"):
        resolve_tracker("wandb")


def test_trackers_learn_the_recipe_and_no_folder_of_this_machine(tmp_path):
    values = {**TINY_RECIPE, "text_name": "/home/me/models/clip", "datasets": ["a", "b"]}
    recipe = parse_recipe("tiny", values)
    for tracker in ("tensorboard", "wandb"):
        config = tracker_settings(recipe, tmp_path / "run", tracker)["config"]
        assert set(config) == set(recipe.to_dict())
        assert (config["text_name"], config["datasets"], config["batch_size"]) == ("models/clip", "a, b", 8)
        assert "/home" not in json.dumps(config)


def test_a_resumed_run_is_the_same_run_to_wandb_and_a_new_one_is_another(tiny_recipe, tmp_path):
    first, resumed, other = (
        tracker_settings(tiny_recipe, tmp_path / "first", "wandb", step)["init_kwargs"]["wandb"] for step in (None, 3, None)
    )
    assert first == resumed
    assert first["name"] == "first"
    assert other["id"] != first["id"]


def log_losses(recipe, output, tracker, losses, resume_at_step=None):
    accelerator = Accelerator(log_with=tracker, project_dir=str(output))
    start_tracker(accelerator, recipe, output, tracker, resume_at_step)
    for step, loss in losses.items():
        accelerator.log({"loss": loss}, step=step)
    accelerator.end_training()


def test_tensorboard_shows_a_resumed_run_as_one_curve(tiny_recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_losses(tiny_recipe, tmp_path, "tensorboard", {1: 4.0, 2: 3.0, 3: 2.5})
    time.sleep(1.1)  # TensorBoard reads files in the order of the seconds in their names
    log_losses(tiny_recipe, tmp_path, "tensorboard", {3: 2.0, 4: 1.0}, resume_at_step=2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)]


@pytest.fixture
def wandb_environment(monkeypatch, tmp_path):
    """Nobody is logged in, and wandb reads its settings anew."""
    import wandb

    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()


def test_wandb_gets_the_curves_without_a_network(tiny_recipe, tmp_path, wandb_environment):
    wandb_environment.setenv("WANDB_MODE", "offline")
    output = tmp_path / "run"
    accelerator = Accelerator(log_with="wandb", project_dir=str(output))
    start_tracker(accelerator, tiny_recipe, output, "wandb")
    run = accelerator.get_tracker("wandb", unwrap=True)
    accelerator.log({"loss": 4.0}, step=1)
    accelerator.log({"loss": 3.0, "mean_recall": 12.5}, step=7)
    accelerator.log({"loss": 2.0}, step=8)  # which closes the line of the step before
    assert (run.project, run.name, run.config["batch_size"]) == ("motionpatches", "run", tiny_recipe.run.batch_size)
    assert run.id == json.loads((output / "wandb.json").read_text())["id"]
    assert (run.summary["_step"], run.summary["loss"], run.summary["mean_recall"]) == (7, 3.0, 12.5)
    accelerator.end_training()
    assert len(list((output / "wandb").glob(f"offline-run-*/run-{run.id}.wandb"))) == 1


def test_wandb_without_a_login_says_what_to_do(tiny_recipe, tmp_path, wandb_environment):
    accelerator = Accelerator(log_with="wandb", project_dir=str(tmp_path))
    with pytest.raises(
        ConnectionError, match=r"W&B did not start: .*`wandb login`; or set WANDB_MODE=offline.*tracker=none"
    ):
        start_tracker(accelerator, tiny_recipe, tmp_path / "run", "wandb")


def test_no_tracker_starts_none(tiny_recipe, tmp_path):
    start_tracker(Accelerator(), tiny_recipe, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_goes_on_where_the_run_was_resumed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = ProgressBar(20, step=8)
    bar._bar.mininterval = 0  # show each step
    bar.update(3, 5, loss=1.2345, rate=320.4, lr=1e-4)
    shown = sys.stderr.getvalue().rpartition("\r")[2]
    bar.close()
    for part in ("epoch 3/5", "9/20", "loss=1.234", "pairs/s=320", "lr=1.0e-04"):
        assert part in shown


@pytest.mark.parametrize(("stream", "disable"), [(io.StringIO, False), (Terminal, True)])
def test_the_bar_is_silent_without_a_terminal_and_on_other_processes(stream, disable, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", stream())
    bar = ProgressBar(20, disable=disable)
    bar.update(1, 5, loss=1.0, rate=3.0)
    bar.write("epoch 1: loss 1.0000")
    bar.close()
    assert sys.stderr.getvalue() == ""
    assert capsys.readouterr().out == "epoch 1: loss 1.0000\n"
