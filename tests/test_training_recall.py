"""The comparison of recall between ways to train, at a small size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from transformers.utils import logging
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def script():
    verbosity = logging.get_verbosity()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield importlib.import_module("training_recall")
    logging.set_verbosity(verbosity)


def test_recall_is_judged_in_all_ways_on_the_same_data(script, tmp_path):
    file = tmp_path / "recall.json"
    arguments = ["--output", file, "--motions", 12, "--epochs", 1, "--num-seeds", 1, "--batch-size", 4]
    arguments += ["--threads", torch.get_num_threads()]
    for override in ("motion_depth=1", "text_width=32", "text_depth=1", "max_frames=96"):
        arguments += ["--set", override]
    app = typer.Typer()
    app.command()(script.recall)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text(encoding="utf-8"))
    assert [run["way"] for run in content["runs"]] == ["padded", "length groups", "length buckets"]
    assert content["recipe"]["motion_depth"] == 1
    assert content["recipe"]["batch_size"] == 4
    assert "padding" not in content["recipe"]
    assert content["ways"]["padded"]["window_mask"] is False
    assert content["chance"]["t2m"] == {"R@1": 25.0, "R@10": 100.0}
    first = content["summary"]["padded"]["m2t R@1"]
    assert first["more than padded"] == {"mean": 0.0, "of each seed": [0.0]}
    assert "length buckets" in result.output


def test_recall_is_summed_up_by_way_and_against_padded(script):
    runs = []
    for seed, by_way in enumerate(((10, 14, 8), (20, 22, 21))):
        for way, value in zip(script.WAYS, by_way, strict=True):
            scores = {"R@1": value, "R@10": 2 * value}
            runs.append({"way": way, "seed": seed, "t2m": scores, "m2t": scores})
    found = script.summarize_recall(runs)
    assert found["length groups"]["t2m R@1"]["mean"] == 18
    assert found["length groups"]["t2m R@1"]["more than padded"] == {"mean": 3.0, "of each seed": [4, 2]}
    assert found["length buckets"]["m2t R@10"]["more than padded"] == {"mean": -1.0, "of each seed": [-4, 2]}
    assert found["padded"]["t2m R@1"]["std"] == pytest.approx(np.std([10, 20], ddof=1))


def test_training_motions_are_no_test_motions(script):
    parts = [set(part["id"]) for seed in (0, 1) for part in script.make_splits(12, seed).values()]
    assert len(set().union(*parts)) == sum(len(part) for part in parts) == 2 * (12 + 4 + 4)
