"""Classification against slow references that shuffle tied classes in every order."""

import numpy as np
import pytest
import torch
from tied_scores import all_orders

from motionpatches.training.metrics import (
    classification_metrics,
    confusion_matrix,
    per_class_accuracy,
    top1_hits,
)


GOOD = np.eye(4)


@pytest.mark.parametrize("seed", range(4))
def test_classification_is_the_mean_over_every_order(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(3, size=(9, 5)).astype(float), rng.integers(4, size=9)
    result = classification_metrics(scores, labels, topk=(1, 3))
    hits = {
        k: np.array(
            [
                np.mean([label in order[:k] for order in all_orders(list(row))])
                for row, label in zip(scores, labels, strict=True)
            ]
        )
        for k in (1, 3)
    }
    assert result["top1"] == pytest.approx(100 * hits[1].mean())
    assert result["top3"] == pytest.approx(100 * hits[3].mean())
    assert result["macro_top1"] == pytest.approx(100 * np.mean([hits[1][labels == c].mean() for c in set(labels)]))


def test_classification_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
    result = classification_metrics(scores, torch.tensor([0, 0, 0, 2]), topk=(1, 2, 5))
    assert (result["top1"], result["top2"], result["top5"], result["macro_top1"]) == (75, 100, 100, 50)
    assert (result["num_classes"], result["num"]) == (3, 4)
    assert result["chance"] == pytest.approx({"top1": 100 / 3, "top2": 200 / 3, "top5": 100, "macro_top1": 100 / 3})


def test_constant_classifier_scores_at_chance():
    result = classification_metrics(np.zeros((50, 60)), np.arange(50) % 7)
    for name, value in result["chance"].items():
        assert result[name] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (GOOD, [0, 1, 2], r"labels has shape \(3,\) for 4 rows"),
        (GOOD, [0, 1, 2, 4], r"0..4; scores has columns 0..3"),
        (GOOD, [0, 1, 2, -1], r"-1..2"),
        (GOOD, [0.0, 1.0, 2.0, 3.0], "float64"),
        (GOOD * np.nan, [0, 1, 2, 3], "scores holds NaN"),
        (GOOD[0], [0], r"scores has shape \(4,\)"),
        (GOOD[:0], [], r"scores has shape \(0, 4\)"),
    ],
)
def test_classification_errors(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(scores, labels)
    with pytest.raises(ValueError, match="at least 1"):
        classification_metrics(GOOD, [0, 1, 2, 3], topk=(0,))


def test_the_confusion_matrix_shares_ties_and_agrees_with_top1():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(3, size=(60, 5)).astype(float), rng.integers(4, size=60)  # nothing of class 4
    result, confusion = classification_metrics(scores, labels), confusion_matrix(torch.tensor(scores), torch.tensor(labels))
    np.testing.assert_allclose(confusion.sum(axis=1), np.bincount(labels, minlength=5))
    assert 100 * np.trace(confusion) / 60 == pytest.approx(result["top1"])
    assert 100 * top1_hits(scores, labels).mean() == pytest.approx(result["top1"])
    per_class = per_class_accuracy(confusion, list("abcde"))
    assert [entry["label"] for entry in per_class] == list("abcd")
    assert np.mean([entry["top1"] for entry in per_class]) == pytest.approx(result["macro_top1"])
    with pytest.raises(ValueError, match="2 classes for a confusion matrix of shape"):
        per_class_accuracy(confusion, ["a", "b"])


def test_the_confusion_matrix_by_hand():
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.1], [0.5, 0.0, 0.5]])
    np.testing.assert_allclose(confusion_matrix(scores, [0, 0, 2]), [[1, 1, 0], [0, 0, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(top1_hits(scores, [0, 0, 2]), [1, 0, 0.5])
