"""What the benchmark of captions counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from motionpatches.training.sentences import SentenceEncoder


@pytest.fixture(scope="module")
def captions():
    file = Path(__file__).resolve().parent.parent / "benchmarks" / "captions.py"
    spec = importlib.util.spec_from_file_location("benchmark_captions", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(name, *captions, split="test", mirrored=False):
    return {"id": name, "split": split, "captions": list(captions), "mirrored": mirrored}


@pytest.fixture
def rows():
    return [
        row("1", "a man walks", "someone strolls"),
        row("M1", "a man walks", "someone strolls", mirrored=True),
        row("2", "A man walks.", "walking"),
        row("3", "a man jumps"),
        row("4", "a man waves", "waving", split="train"),
        row("5", "somebody runs", "a man jumps", split="train"),
    ]


def test_twins_near_duplicates_and_what_train_has(captions, rows, monkeypatch):
    kinds = {"walk": 0, "stroll": 0, "jump": 1}

    def encode(self, texts):
        return np.eye(3)[[next(kind for word, kind in kinds.items() if word in text) for text in texts]]

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    with pytest.warns(UserWarning, match="distinct captions are fewer than the 100"):
        found = captions.judge(rows, SentenceEncoder("words", "nowhere"), "test")
    assert (found["num"], found["num_captions"], found["distinct_captions"]) == (4, 7, 3)
    assert (found["equal_twin"], found["equal_twin_but_for_case_and_signs"], found["in_train"]) == (50, 75, 25)
    assert (found["near_duplicate"], found["near_duplicate_that_is_not_equal"]) == (75, 75)
    assert found["positives"] == {"mean": 2.5, "median": 3, "max": 3}
    assert found["without_mirrored"]["equal_twin"] == 0
    assert found["chance"]["strict"]["R@1"] == 25
    assert found["chance"]["caption_equal"]["R@1"] == pytest.approx((2 * 50 + 2 * 25) / 4)
    assert found["second_caption_by_first"]["num"] == 3
    assert found["second_caption_by_first"]["threshold"]["R@1"] == 100
    with pytest.raises(ValueError, match=r"no item is in split 'dev'; there are \['test', 'train'\]"):
        captions.judge(rows, SentenceEncoder("words", "nowhere"), "dev")


def test_what_is_equal_but_for_case_and_signs(captions):
    assert captions.normalize(" A man,  walks\tBACK-wards. ") == "a man walks back wards"
