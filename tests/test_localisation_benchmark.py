"""The benchmark joins motions as it says, and scores what is right as right and chance as chance."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from motionpatches.processing.instructions import ClipReader


@pytest.fixture(scope="module")
def benchmark():
    file = Path(__file__).resolve().parent.parent / "benchmarks" / "localisation.py"
    spec = importlib.util.spec_from_file_location("benchmark_localisation_itself", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def of_one_skeleton(rows):
    return rows.filter(lambda name: name == "smpl22", input_columns="skeleton")


def test_recordings_are_of_different_actions_and_each_motion_is_in_one(benchmark, tiny_data):
    rows = of_one_skeleton(tiny_data["train"])
    recordings, left_out = benchmark.make_recordings(rows, seed=0)
    place = {name: row for row, name in enumerate(rows["id"])}
    used = [clip["id"] for recording in recordings for clip in recording.motion["clips"]]
    assert len(used) == len(set(used))
    assert len(used) + left_out == len(rows)
    assert len(recordings) > 2
    reader = ClipReader(rows)
    for recording in recordings:
        chosen = [place[clip["id"]] for clip in recording.motion["clips"]]
        assert len({rows["label"][row] for row in chosen}) == len(chosen) == 3  # there are three actions
        assert [caption for caption, _ in recording.queries] == [rows["captions"][row][0] for row in chosen]
        ends = [end for _, (_, end) in recording.queries]
        assert [start for _, (start, _) in recording.queries] == [0, *ends[:-1]]
        joints = reader.read(recording.motion)["joints"]
        assert len(joints) == pytest.approx(20 * ends[-1])
    assert benchmark.make_recordings(rows, seed=0)[0] == recordings
    assert benchmark.make_recordings(rows, seed=1)[0] != recordings


def test_one_query_is_scored_in_expectation(benchmark):
    assert benchmark.score(np.array([0.6])) == {
        "R@1, IoU=0.3": 100, "R@1, IoU=0.5": 100, "R@1, IoU=0.7": 0, "mIoU": pytest.approx(60)
    }  # fmt: skip
    assert benchmark.score(np.array([0.3, 0.0, 0.7, 0.2])) == {
        "R@1, IoU=0.3": 50, "R@1, IoU=0.5": 25, "R@1, IoU=0.7": 25, "mIoU": pytest.approx(30)
    }  # fmt: skip


def test_who_finds_each_motion_is_judged_so_and_who_finds_nothing_is_at_chance(
    benchmark, tiny_data, model, processor, monkeypatch
):
    rows = of_one_skeleton(tiny_data["test"])
    reader, (recordings, _) = ClipReader(rows), benchmark.make_recordings(rows, seed=0)
    recordings = recordings[:2]
    truth = {}

    def oracle(model, processor, embedded, queries, top_k):
        recording = next(r for r in recordings if [caption for caption, _ in r.queries] == queries)
        truth.update(recording.queries)
        moments = [{"label": query, "start": truth[query][0], "end": truth[query][1]} for query in queries]
        return type("Found", (), {"moments": moments})

    monkeypatch.setattr(benchmark, "localise", oracle)
    found = benchmark.judge(model, processor, reader, recordings, [1.0, 2.0], 0.5)
    assert found["num_queries"] == sum(len(recording.queries) for recording in recordings)
    ways = found["ways"]
    assert ways["localised"]["mIoU"] == pytest.approx(100)
    assert ways["localised"]["intervals"]["R@1, IoU=0.7"] == (100, 100)
    whole = [100 * (end - start) / r.queries[-1][1][1] for r in recordings for _, (start, end) in r.queries]
    assert ways["whole recording"]["mIoU"] == pytest.approx(np.mean(whole))
    assert 0 < ways["chance"]["mIoU"] < ways["best window"]["mIoU"] <= 100
    low, high = found["localised_over"]["chance"]["mIoU"]
    assert low <= 100 - ways["chance"]["mIoU"] <= high
