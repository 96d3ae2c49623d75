"""The page and the summary that compare two recipes say what their results files say."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest


FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "report_open_mocap.py"
NUM = 40


@pytest.fixture
def report(monkeypatch):
    spec = importlib.util.spec_from_file_location("report_open_mocap", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def results(setting, recipe, seed, found, variant="whole"):
    """A results file in which the first `found` of the queries are found at rank 1, and twice as many at rank 10."""

    def first(number):
        return {key: [float(index < number) for index in range(NUM)] for key in ("t2m", "m2t")}

    recalls = {f"R@{k}": 100.0 * min(k * found / NUM, 1) for k in (1, 3, 5, 10)} | {"MedR": 2.0}
    judged = {
        "num": NUM,
        "zero_shot": {"top1": found + seed, "num_classes": 27, "chance": {"top1": 3.7}},
        "retrieval": {name: {"t2m": recalls, "m2t": recalls} for name in ("strict", "caption_equal")},
    }
    kinect = {
        "num": NUM, "zero_shot": {"top1": float(found + seed)}, "nearest_by_embedding": 50.0, "nearest_by_joints": 61.5,
        "zero_shot_of_named_actions": {"top1": 25.0},
    }  # fmt: skip
    return {
        "setting": setting, "recipe": {"name": f"open_mocap_{recipe}"}, "seed": seed, "variant": variant, "data": "made",
        "results": {"all": judged}, "validation": {"all": judged}, "utd_mhad": kinect,
        "queries": {"hit@1": first(found), "hit@10": first(2 * found), "average_precision": first(found)},
    }  # fmt: skip


def write(folder, *runs):
    folder.mkdir()
    for number, run in enumerate(runs):
        (folder / f"{number}.json").write_text(json.dumps(run))
    return folder


def test_gains_are_paired_and_misses_counted(report, tmp_path):
    runs = [results("all", recipe, seed, 10 if recipe == "best" else 6) for recipe in report.RECIPES for seed in (0, 1)]
    report.main(write(tmp_path / "runs", *runs), tmp_path / "page.md", tmp_path / "summary.json")
    found = json.loads((tmp_path / "summary.json").read_text())["results"]
    assert found["seeds"] == {"all published": [0, 1], "all best": [0, 1]}
    assert set(found["gain"]) == {"all"}
    gain = found["gain"]["all"]["R@1"]["t2m"]
    assert (gain["published"], gain["best"], gain["difference"]) == pytest.approx((15.0, 25.0, 10.0))
    assert 0 < gain["low"] < 10 < gain["high"]
    assert found["retrieval"]["m2t"]["best"]["R@3"] == {"mean": pytest.approx(75.0), "deviation": 0.0}
    misses = found["gain"]["all"]["misses at R@10"]
    assert (misses["published"], misses["best"]) == pytest.approx((70.0, 50.0))
    assert misses["fewer_percent"] == pytest.approx(100 * 20 / 70)
    best = found["utd_mhad"]["all"]["best"]
    assert best["zero_shot"] == [10.0, 11.0]
    assert best["mean_zero_shot"] == pytest.approx(np.mean([10.0, 11.0]))
    page = (tmp_path / "page.md").read_text()
    assert "70.0 → 50.0, 29% fewer" in page
    assert "| R@1 | text→motion | 15.0 | 25.0 | +10.0 [" in page
    assert "**All data sets**: 40 motions. Misses at R@10: 70.0 → 50.0, 29% fewer." in page
    assert "joints in the canonical frame: 61.5" in page
    assert "| all data sets | best | 0, 1 | 10.5 ± 0.7 | 50.0 ± 0.0 |" in page
    assert "Ablation" not in page
    assert "left out" not in page


def test_both_directions_of_a_motion_are_one_query(report, tmp_path):
    runs = [results(setting, recipe, 0, 6) for setting in ("all", "kinect") for recipe in report.RECIPES]
    runs[3]["queries"]["hit@1"]["m2t"] = [1.0] * NUM  # found: 6 and 6 of 40 before, 6 and 40 after
    report.main(write(tmp_path / "runs", *runs), tmp_path / "page.md", tmp_path / "summary.json")
    gain = json.loads((tmp_path / "summary.json").read_text())["results"]["gain"]
    both = gain["kinect"]["R@1"]["both"]
    assert (both["published"], both["best"]) == pytest.approx((15.0, 57.5))
    assert 0 < both["low"] < both["difference"] < both["high"]
    assert gain["all"]["R@1"]["both"]["difference"] == 0


def test_settings_without_both_recipes_are_not_compared(report, tmp_path):
    runs = [results("style_out", "best", 0, 5), results("kinect", "best", 0, 9), results("kinect", "best", 0, 4, "no mask")]
    report.main(write(tmp_path / "runs", *runs), tmp_path / "page.md", tmp_path / "summary.json")
    page = (tmp_path / "page.md").read_text()
    assert not (tmp_path / "summary.json").exists()
    assert "Styles left out" not in page
    assert "Gain" not in page
    assert page.index("| best | 0 | 9.0") < page.index("| no mask | 0 | 4.0")
