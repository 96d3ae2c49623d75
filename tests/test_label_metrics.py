"""Mean average precision by label against a slow reference that shuffles tied items in every order."""

import numpy as np
import pytest
import torch
from tied_scores import all_orders, cosine, tied_embeds

from motionpatches.training.metrics import label_chance, label_map, label_precisions


GOOD = np.eye(4)


def slow_average_precision(order: tuple[int, ...], positive: list[bool]) -> float:
    found, precisions = 0, []
    for position, item in enumerate(order, start=1):
        if positive[item]:
            found += 1
            precisions.append(found / position)
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("distinct", [1, 2, 4, 6])
def test_label_map_is_the_mean_over_every_order(distinct):
    queries, gallery = tied_embeds(5, 3, distinct, 5), tied_embeds(6, 3, distinct + 50, distinct)
    query_labels, gallery_labels = [0, 1, 2, 0, 1], [0, 1, 0, 2, 1, 0]
    expected = [
        np.mean([slow_average_precision(order, [other == label for other in gallery_labels]) for order in orders])
        for query, label in zip(queries, query_labels, strict=True)
        for orders in [all_orders([cosine(query, item) for item in gallery])]
    ]
    for chunk_size in (2, 1024):
        result = label_map(queries, gallery, query_labels, gallery_labels, chunk_size)
        assert result == pytest.approx(100 * np.mean(expected), abs=1e-9)


def test_label_map_by_hand_with_labels_of_any_kind():
    gallery = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    query = np.array([[2.0, 0.0]])
    labels = [("walk", "old"), ("run", "old"), ("walk", "old"), ("run", "old")]
    assert label_map(query, gallery, labels[:1], labels) == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert label_map(query, gallery, np.array(["run"]), [label[0] for label in labels]) == pytest.approx(50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GOOD, np.ones((4, 2)), [0] * 4, [0] * 4), r"\(4, 4\).*\(4, 2\)"),
        ((GOOD, GOOD, [0] * 3, [0] * 4), "3 query_labels for 4 rows"),
        ((GOOD, GOOD, [0] * 4, [0] * 5), "5 gallery_labels for 4 rows"),
        ((GOOD, GOOD, ["jump"] * 4, ["run"] * 4), r"\['jump'\]"),
        ((GOOD[:0], GOOD, [], ["run"] * 4), r"query_embeds has shape \(0, 4\)"),
    ],
)
def test_label_map_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_map(*arguments)


@pytest.mark.parametrize("labels", [list("aabbbcd"), ["a"] * 5, ["a"], list("abcdef")])
def test_a_constant_model_is_at_chance(labels):
    embeds = np.ones((len(labels), 3))
    assert label_map(embeds, embeds, labels, labels) == pytest.approx(label_chance(labels, labels), abs=1e-10)


def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(0)
    positive = [True, True, True, False, False, False, False]
    found = [slow_average_precision(tuple(rng.permutation(7)), positive) for _ in range(20_000)]
    assert label_chance(["x"], ["x"] * 3 + ["y"] * 4) == pytest.approx(100 * np.mean(found), abs=0.5)


def test_the_order_of_the_gallery_changes_nothing():
    rng = np.random.default_rng(1)
    queries, gallery = tied_embeds(40, 5, 0, 20), tied_embeds(60, 5, 1, 15)
    labels = rng.integers(4, size=60)
    order = rng.permutation(60)
    found = label_precisions(queries, gallery, labels[:40], labels)
    np.testing.assert_array_equal(label_precisions(queries, gallery[order], labels[:40], labels[order]), found)
