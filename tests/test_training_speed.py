"""The benchmark of training: that it runs, that both sides train alike, and that its numbers say what they claim."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging
from typer.testing import CliRunner

from motionpatches import MotionPatchesModel
from motionpatches.training.data import PairBatch
from motionpatches.training.recipe import RunArguments


SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training_speed.py"
RUN = RunArguments(batch_size=6, unique_captions=False, precision="no")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("training_speed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["training_speed"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    verbosity = logging.get_verbosity()
    yield module
    logging.set_verbosity(verbosity)
    del sys.modules["training_speed"]


@pytest.fixture(scope="module")
def rows(script):
    return script.make_pairs(12, seed=0)


def start_model(script):
    """A tiny model without dropout."""
    config = script.make_config(script.Size.tiny)
    config.projection_dropout = config.text_config.dropout = config.text_config.attention_dropout = 0.0
    torch.manual_seed(0)
    return MotionPatchesModel(config)


def run_script(script, *arguments):
    app = typer.Typer()
    app.command()(script.speed)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_the_benchmark_runs_and_says_what_it_measured(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "matrix_size", lambda device: 64)
    file = tmp_path / "speed.json"
    arguments = ("--output", file, "--model", "tiny", "--device", "cpu", "--threads", torch.get_num_threads())
    arguments += ("--batch-size", 8, "--batches", 3, "--repetitions", 2, "--micro-batch-size", 4)
    result = run_script(script, *arguments)
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["measured on"] == "cpu"
    assert content["precision"] == "float32"
    assert "unmeasured" in content["left out"]["accelerator"]
    assert "left out: accelerator: unmeasured" in result.output
    sides = content["sides"]
    assert list(sides) == ["padded", "length groups", "length buckets"]
    for side in sides.values():
        assert side["pairs"] == 24
        assert side["seconds_per_pair"]["least"] <= side["seconds_per_pair"]["median"] <= side["seconds_per_pair"]["most"]
        assert side["operations_per_step"]["at real lengths"] == sides["padded"]["operations_per_step"]["at real lengths"]
    motion, computed = (
        {name: side[key][part] for name, side in sides.items()}
        for key, part in (("tokens over real tokens", "motion"), ("operations_per_step", "computed"))
    )
    assert 1 <= motion["length groups"] < motion["padded"]
    assert 1 <= motion["length buckets"] < motion["padded"]
    assert computed["length groups"] < computed["padded"]
    assert computed["length buckets"] < computed["padded"]
    # At most 14 windows of 5 patches and a class token, over as many as the frames need.
    frames = script.spread(24, **script.FRAMES)
    assert motion["padded"] == pytest.approx(71 * 24 / (24 + 5 * np.ceil(frames / 16).sum()))
    assert content["data"]["frames"]["mean"] == pytest.approx(frames.mean())


@pytest.mark.parametrize("num", [24, 128, 5120])
def test_motions_are_as_long_as_those_of_humanml3d_in_any_number_of_them(script, num):
    frames = script.spread(num, **script.FRAMES)
    assert frames.mean() == pytest.approx(142, abs=1)
    assert frames.min() >= 40
    assert frames.max() == 200


@pytest.mark.parametrize("max_grad_norm", [1.0, 1e-7])  # Adam sees how long gradients are only where they are tiny
def test_both_loops_take_the_same_step(script, rows, max_grad_norm):
    start, run = start_model(script), replace(RUN, max_grad_norm=max_grad_norm)
    changed = []
    batch = script.prepare_batches(rows, RUN, {**script.WAYS["length groups"], "length_groups": 1})[0]
    for loop_class in (script.StraightforwardLoop, script.PackageLoop):
        model = MotionPatchesModel(start.config)
        model.load_state_dict(start.state_dict())
        loop = loop_class(model, run, torch.device("cpu"))
        loss = loop.learn(batch)
        loop.update()
        assert model.motion_projection.fc.weight.grad is None  # the next step begins anew
        changed.append((loss, model.state_dict()))
    (plain_loss, plain), (loss, weights) = changed
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, plain[name], rtol=1e-5, atol=2e-5)
    moved = max(float((weight - start.state_dict()[name]).abs().max()) for name, weight in plain.items())
    assert moved > 9e-4 if max_grad_norm == 1.0 else 1e-5 < moved < 8e-4


def test_all_sides_have_the_same_pairs_and_start_alike(script, rows):
    start = start_model(script)
    sides = script.make_sides(start, rows, RUN, torch.device("cpu"), compiled=False, left_out={})
    lengths = []
    for side in sides:
        groups = [group for batch in side.batches for group in batch.groups]
        lengths.append(sorted(int(number) for group in groups for number in group["attention_mask"].sum(-1)))
        assert [len(batch.order) for batch in side.batches] == [6, 6]
    assert lengths[0] == lengths[1] == lengths[2]
    padded = sides[0].batches[0]
    assert len(padded.groups) == 1
    assert "motion_attention_mask" not in padded.groups[0]
    assert padded.groups[0]["motion_values"].shape[-2] == 224
    assert max(len(batch.groups) for batch in sides[1].batches) > 1
    assert [len(batch.groups) for batch in sides[2].batches] == [1, 1]
    shorter, longer = sorted((batch.groups[0]["motion_attention_mask"].sum(-1) for batch in sides[2].batches), key=sum)
    assert shorter.max() <= longer.min()
    models = [sides[0].loop.model, sides[1].loop.encoder.model, sides[2].loop.encoder.model]
    assert len({id(model.motion_projection.fc.weight) for model in models}) == 3
    for model in models:
        torch.testing.assert_close(model.state_dict(), start.state_dict())


def test_without_a_compiler_the_results_say_what_is_left_out(script, rows, monkeypatch):
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    left_out = {}
    sides = script.make_sides(start_model(script), rows, RUN, torch.device("cpu"), compiled=True, left_out=left_out)
    assert len(sides) == 3
    assert "no C++ compiler" in left_out["compiled"]


def test_compiled_sides_train_on_the_same_batches(script, rows, monkeypatch):
    monkeypatch.setattr(script.shutil, "which", lambda name: "/usr/bin/g++")
    sides = script.make_sides(start_model(script), rows, RUN, torch.device("cpu"), compiled=True, left_out={})
    assert [side.name for side in sides[3:]] == ["length groups, compiled", "length buckets, compiled"]
    assert sides[3].batches is sides[1].batches
    assert sides[4].batches is sides[2].batches
    assert all(side.is_compiled for side in sides[3:])


def test_operations_are_those_of_a_real_pass(script, rows):
    model = start_model(script)
    model.set_attn_implementation("eager")  # fused kernels compute a part twice
    sides = script.make_sides(model, rows, RUN, torch.device("cpu"), compiled=False, left_out={})
    work = script.count_work(model.config, sides)

    def count(groups, is_real=False):
        with FlopCounterMode(display=False) as counter:
            for group in groups:
                outputs = model.get_motion_features(group["motion_values"]).pooler_output.sum()
                length = group["attention_mask"].sum(dim=1).max() if is_real else group["input_ids"].shape[1]
                texts = (group[name][:, :length] for name in ("input_ids", "attention_mask"))
                outputs = outputs + model.get_text_features(*texts).pooler_output.sum()
                outputs.backward()
        return counter.get_total_flops()

    for side in sides:
        assert work[side.name].operations == count(group for batch in side.batches for group in batch.groups)
    alone = script.prepare_batches(rows, replace(RUN, micro_batch_size=1, length_groups=12), script.WAYS["length groups"])
    alone = [group for batch in alone for group in batch.groups]
    assert len(alone) == 12  # each pair without padding
    assert work["real"].operations == count(alone, is_real=True)


def test_results_follow_from_the_seconds(script):
    def side(name, seconds):
        batches = [PairBatch([], torch.arange(5)), PairBatch([], torch.arange(5))]
        return script.Side(name, None, batches, torch.device("cpu"), seconds=[np.array(one, dtype=float) for one in seconds])

    padded, groups = side("padded", [(8, 2), (18, 2), (10, 2)]), side("length groups", [(4, 1), (6, 2), (4, 2)])
    work = {
        "padded": script.Work(operations=3000, motion_tokens=30, text_tokens=20),
        "length groups": script.Work(operations=1200, motion_tokens=24, text_tokens=15),
        "real": script.Work(operations=1000, motion_tokens=20, text_tokens=10),
    }
    found = script.describe_side(groups, padded, work, rate=500.0)
    assert found["seconds_per_pair"] == {"median": 0.6, "least": 0.5, "most": 0.8}
    # In turn 10 / 5, 20 / 8 and 12 / 6.
    assert found["times_faster_than_padded"] == {"median": 2.0, "least": 2.0, "most": 2.5}
    assert found["seconds_per_step"] == {"forward and backward": 2.0, "clipping and optimizer": 1.0}
    assert found["operations_per_step"] == {"computed": 600.0, "at real lengths": 500.0}
    assert found["utilisation"] == pytest.approx(1000 / 6 / 500)
    assert found["utilisation, padding counted as work"] == pytest.approx(1200 / 6 / 500)
    assert found["tokens over real tokens"] == {"motion": 1.2, "text": 1.5}
    assert found["extrapolated, not measured"]["minutes"] == pytest.approx(23384 * 50 * 0.6 / 60)
    assert found["peak_memory_gib"] is None


def test_a_loss_that_is_not_finite_ends_the_measurement(script):
    class Broken:
        def learn(self, batch):
            return float("nan")

        def update(self):
            pass

    side = script.Side("padded", Broken(), [None], torch.device("cpu"), seconds=[np.zeros(2)])
    with pytest.raises(FloatingPointError, match="padded: the loss of batch 0 is nan"):
        side.step(0)


def test_a_device_that_is_not_there_is_refused(script, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run_script(script, "--output", tmp_path / "speed.json", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: expected auto, cpu; there is no GPU here" in result.output
    assert not list(tmp_path.iterdir())
