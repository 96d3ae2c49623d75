"""How classification is scored, zero-shot or by a trained classifier. Ties count as in `metrics`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .hits import hit_probability, percent
from .scoring import matrix, to_numpy


def classification_metrics(scores: Any, labels: Any, topk: Sequence[int] = (1, 5)) -> dict[str, Any]:
    """Accuracy of classification, zero-shot as in the paper's BABEL experiment (section 5.2) or by a trained classifier.

    Args:
        scores: Shape (N, C), numpy array or torch tensor; higher is better.
        labels: Shape (N,), integers in 0..C-1.
        topk: The k of each reported accuracy.

    Returns:
        `"top<k>"` for each k, in percent; `"macro_top1"`, the mean over the classes that occur in `labels` of the top-1
        accuracy within the class, in percent; `"num_classes"` C; `"num"` N; and `"chance"`, a dict of the accuracies that
        equal scores for every class would give.

    Raises:
        ValueError: If shapes disagree, a label is no integer in 0..C-1, a score is NaN, or a k is below 1.
    """
    scores, labels = matrix(scores, "scores", "(N, C)"), to_numpy(labels)
    num, num_classes = scores.shape
    _check_labels(labels, num, num_classes)
    if any(k < 1 for k in topk):
        raise ValueError(f"topk is {tuple(topk)}; every k must be at least 1")
    own = scores[np.arange(num), labels][:, None]
    above, tied = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1

    hits = hit_probability(1, above, tied, np.ones(num, dtype=int))
    support = np.bincount(labels, minlength=num_classes)
    per_class = np.bincount(labels, weights=hits, minlength=num_classes)[support > 0] / support[support > 0]
    top = {f"top{k}": percent(hit_probability(k, above, tied, np.ones(num, dtype=int))) for k in topk}
    chance = {f"top{k}": 100.0 * min(k / num_classes, 1.0) for k in topk}
    return {
        **top,
        "macro_top1": percent(per_class),
        "num_classes": num_classes,
        "num": num,
        "chance": {**chance, "macro_top1": 100.0 / num_classes},
    }


def majority_level(labels: Any, num_classes: int) -> dict[str, float]:
    """Accuracy of always answering the class that occurs most often in `labels` (N,), in percent: `"top1"`, `"macro_top1"`.

    Raises:
        ValueError: If a label is no integer in 0..num_classes-1.
    """
    labels = to_numpy(labels)
    _check_labels(labels, len(labels), num_classes)
    support = np.bincount(labels, minlength=num_classes)
    return {"top1": float(100.0 * support.max() / len(labels)), "macro_top1": float(100.0 / np.count_nonzero(support))}


def confused_pairs(scores: Any, labels: Any, classes: Sequence[str], num: int = 10) -> list[dict[str, Any]]:
    """The pairs of classes that are mistaken for each other most often.

    Args:
        scores: Shape (N, C); the highest of a row is the answer, the first of equals.
        labels: Shape (N,), integers in 0..C-1.
        classes: Names of the C classes.
        num: How many pairs at most.

    Returns:
        `{"label", "answer", "num", "of"}`, most frequent first: `num` of the `of` motions of class `label` were taken for
        `answer`.

    Raises:
        ValueError: If shapes disagree, a label is no integer in 0..C-1, or a score is NaN.
    """
    scores, labels = matrix(scores, "scores", "(N, C)"), to_numpy(labels)
    _check_labels(labels, *scores.shape)
    if len(classes) != scores.shape[1]:
        raise ValueError(f"{len(classes)} classes for scores of shape {scores.shape}; expected one name a column")
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[: min(num, np.count_nonzero(counts))]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        {"label": classes[row], "answer": classes[column], "num": int(counts[row, column]), "of": int(support[row])}
        for row, column in pairs
    ]


def confusion_matrix(scores: Any, labels: Any) -> np.ndarray:
    """How often motions of one class were taken for another. Classes tied for the highest score share an answer equally.

    Args:
        scores: Shape (N, C), numpy array or torch tensor; higher is better.
        labels: Shape (N,), integers in 0..C-1.

    Returns:
        Shape (C, C), float64: row is the class, column the answer; a row sums to the number of motions of its class.

    Raises:
        ValueError: If shapes disagree, a label is no integer in 0..C-1, or a score is NaN.
    """
    scores, labels = matrix(scores, "scores", "(N, C)"), to_numpy(labels)
    _check_labels(labels, *scores.shape)
    answers = (scores == scores.max(axis=1, keepdims=True)).astype(np.float64)
    answers /= answers.sum(axis=1, keepdims=True)
    counts = np.zeros((scores.shape[1],) * 2)
    np.add.at(counts, labels, answers)
    return counts


def top1_hits(scores: Any, labels: Any) -> np.ndarray:
    """For each motion the chance that the answer is right, of which top-1 accuracy is the mean. Shape (N,), in [0, 1].

    Arguments and errors as `confusion_matrix`.
    """
    scores, labels = matrix(scores, "scores", "(N, C)"), to_numpy(labels)
    _check_labels(labels, *scores.shape)
    best = scores == scores.max(axis=1, keepdims=True)
    return best[np.arange(len(labels)), labels] / best.sum(axis=1)


def per_class_accuracy(confusion: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Top-1 accuracy within each class that has motions.

    Args:
        confusion: Of `confusion_matrix`, shape (C, C).
        classes: Names of the C classes.

    Returns:
        `{"label", "num", "top1"}` in the order of the classes, `top1` in percent.

    Raises:
        ValueError: If the number of names is another.
    """
    if len(classes) != len(confusion):
        raise ValueError(
            f"{len(classes)} classes for a confusion matrix of shape {confusion.shape}; expected one name a row"
        )
    support = confusion.sum(axis=1)
    return [
        {"label": name, "num": round(num), "top1": float(100.0 * right / num)}
        for name, num, right in zip(classes, support, np.diag(confusion), strict=True)
        if num
    ]


def _check_labels(labels: np.ndarray, num: int, num_classes: int) -> None:
    if labels.shape != (num,):
        raise ValueError(f"labels has shape {labels.shape} for {num} rows of scores; expected ({num},)")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels has dtype {labels.dtype}; expected integers, the column of each row's class")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels lie in {labels.min()}..{labels.max()}; scores has columns 0..{num_classes - 1}")
