"""Scores against slow references that shuffle tied items in every order."""

from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
import torch

from motionpatches.training.metrics import (
    RECALL_AT,
    chance_level,
    classification_metrics,
    hit_probability,
    label_map,
    label_precisions,
    retrieval_hits,
    retrieval_metrics,
)


PROTOCOLS = ("strict", "caption_equal")


def tied_embeds(num: int, dim: int, seed: int, distinct: int) -> np.ndarray:
    """Random rows, of which only `distinct` differ, so that many scores tie."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(distinct, dim))[rng.integers(distinct, size=num)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return round(float(a @ b / np.sqrt((a @ a) * (b @ b))), 9)


def all_orders(scores: list[float]) -> list[tuple[int, ...]]:
    """Every order of the items, best first, that the scores allow."""
    items = range(len(scores))
    return [order for order in permutations(items) if all(scores[i] >= scores[j] for i, j in pairwise(order))]


def slow_retrieval(queries: np.ndarray, gallery: np.ndarray, captions: list[str]) -> dict[str, float]:
    hits, ranks = {k: [] for k in RECALL_AT}, []
    for i, query in enumerate(queries):
        orders = all_orders([cosine(query, item) for item in gallery])
        found = [min(order.index(j) + 1 for j in range(len(captions)) if captions[j] == captions[i]) for order in orders]
        ranks.append(np.mean(found))
        for k in RECALL_AT:
            hits[k].append(np.mean([rank <= k for rank in found]))
    recalls = {f"R@{k}": 100 * np.mean(hits[k]) for k in RECALL_AT}
    return {**recalls, "MedR": np.median(ranks), "MeanR": np.mean(ranks)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(6))
def test_ties_score_the_mean_over_every_order(protocol, seed):
    texts, motions = tied_embeds(6, 3, seed, distinct=4), tied_embeds(6, 3, seed + 100, distinct=3)
    captions = ["a", "b", "a", "c", "b", "a"]
    positives = captions if protocol == "caption_equal" else list("012345")
    result = retrieval_metrics(texts, motions, captions, protocol)
    assert result["t2m"] == pytest.approx(slow_retrieval(texts, motions, positives), abs=1e-9)
    assert result["m2t"] == pytest.approx(slow_retrieval(motions, texts, positives), abs=1e-9)


def test_a_small_example_by_hand():
    # Text 0 finds motion 0 first; text 1 finds motion 2 before its own; text 2 finds its own last.
    motions = np.eye(3)
    texts = np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.5, 0.4, 0.1]])
    strict = retrieval_metrics(texts, motions)["t2m"]
    assert strict == pytest.approx(
        {"R@1": 100 / 3, "R@2": 200 / 3, "R@3": 100, "R@5": 100, "R@10": 100, "MedR": 2, "MeanR": 2}
    )
    # With equal captions for items 1 and 2, text 1 is right at once and text 2 finds motion 1 second.
    equal = retrieval_metrics(texts, motions, ["x", "y", "y"], "caption_equal")["t2m"]
    assert (equal["R@1"], equal["R@2"], equal["MedR"]) == pytest.approx((200 / 3, 100, 1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("num", "dim"), [(1, 4), (7, 4), (101, 37), (333, 256)])
def test_a_constant_model_scores_exactly_at_chance(protocol, num, dim):
    row = np.random.default_rng(num).normal(size=(1, dim))
    captions = [f"caption {i % (num // 2 + 1)}" for i in range(num)]
    result = retrieval_metrics(np.repeat(row, num, 0), np.repeat(row, num, 0), captions, protocol, chunk_size=50)
    chance = chance_level(captions, protocol)
    for direction in ("t2m", "m2t"):
        assert result[direction] == pytest.approx(chance[direction], abs=1e-12, rel=0)


def test_equal_gallery_rows_tie_exactly_wherever_they_lie():
    # Matrix products may round the last columns in another way than the first, which would break a tie.
    rng = np.random.default_rng(0)
    texts, centres = rng.normal(size=(259, 67)), rng.normal(size=(7, 67))
    result = retrieval_metrics(texts, np.repeat(centres, 37, axis=0))["t2m"]
    scores = texts @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    groups_above = [(row > row[i // 37]).sum() for i, row in enumerate(scores)]
    # Within its own group of 37 equal motions, a text's motion is at place 19 on average.
    assert result["MeanR"] == pytest.approx(37 * np.mean(groups_above) + 19, abs=1e-9)


def test_chance_in_closed_form():
    strict = chance_level(40)["m2t"]
    assert [strict[f"R@{k}"] for k in RECALL_AT] == pytest.approx([100 * k / 40 for k in RECALL_AT], abs=1e-12)
    assert strict["MedR"] == strict["MeanR"] == 20.5
    # One of 2 of the 5 "a", "a", "b", "c", "d" is among the first 2 with probability 1 - (3/5)(2/4).
    equal = chance_level(["a", "a", "b", "c", "d"], "caption_equal")["t2m"]
    assert equal["R@2"] == pytest.approx((2 * 70 + 3 * 40) / 5)
    assert equal["MeanR"] == pytest.approx((2 * 2 + 3 * 3) / 5)


def test_hit_probability_matches_binomials_and_survives_large_galleries():
    for k in RECALL_AT:
        for g in range(8):
            for t in range(8):
                for p in range(1, 5):
                    expected = 0 if k <= g else 1 - comb(t, k - g) / comb(t + p, k - g) if k - g <= t + p else 1
                    assert hit_probability(k, *np.array([[g], [t], [p]]))[0] == pytest.approx(expected, abs=1e-14)
    assert hit_probability(10, *np.array([[0], [10**9 - 1], [1]]))[0] == pytest.approx(1e-8, rel=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chunks_scale_and_torch_do_not_matter(protocol):
    rng = np.random.default_rng(3)
    texts, motions = rng.normal(size=(97, 16)), rng.normal(size=(97, 16))
    motions[50:60], texts[20:25] = motions[0], texts[1]
    captions = [str(i % 31) for i in range(97)]
    whole = retrieval_metrics(texts, motions, captions, protocol)
    chunked = retrieval_metrics(texts, motions, captions, protocol, chunk_size=7)
    tensors = retrieval_metrics(
        torch.tensor(texts, requires_grad=True), torch.tensor(motions), captions, protocol, chunk_size=96
    )
    scaled = retrieval_metrics(texts * 3.7, motions * 1e200, captions, protocol)
    for other in (chunked, tensors, scaled):
        for direction, values in whole.items():
            assert other[direction] == pytest.approx(values, abs=1e-9)


def test_bfloat16_tensors_are_taken():
    embeds = torch.eye(12, dtype=torch.bfloat16)
    assert retrieval_metrics(embeds, embeds)["t2m"]["R@1"] == 100


def test_perfect_embeddings_find_everything_in_both_directions():
    embeds = np.random.default_rng(0).normal(size=(30, 8))
    for values in retrieval_metrics(embeds, 5 * embeds).values():
        assert (values["R@1"], values["MedR"], values["MeanR"]) == (100, 1, 1)


def test_directions_are_not_swapped():
    texts, motions = np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    result = retrieval_metrics(texts, motions)
    assert (result["t2m"]["R@1"], result["m2t"]["R@1"]) == (50, 100)


@pytest.mark.parametrize("seed", range(5))
def test_caption_equal_never_scores_below_strict(seed):
    rng = np.random.default_rng(seed)
    texts, motions = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    captions = [str(c) for c in rng.integers(20, size=60)]
    strict, equal = (retrieval_metrics(texts, motions, captions, protocol) for protocol in PROTOCOLS)
    for direction in ("t2m", "m2t"):
        for name, value in strict[direction].items():
            better = equal[direction][name] - value
            assert better >= 0 if name.startswith("R@") else better <= 0
        assert equal[direction]["R@10"] > strict[direction]["R@10"]


def test_captions_differ_by_a_space_or_a_trailing_nul():
    embeds = np.ones((3, 2))
    result = retrieval_metrics(embeds, embeds, ["a", "a ", "a\0"], "caption_equal")
    assert result["t2m"]["R@1"] == pytest.approx(100 / 3)


GOOD = np.eye(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GOOD, GOOD[:3]), r"\(4, 4\).*\(3, 4\)"),
        ((GOOD, np.ones((4, 3))), r"\(4, 4\).*\(4, 3\)"),
        ((GOOD[0], GOOD), r"text_embeds has shape \(4,\)"),
        ((GOOD[:0], GOOD[:0]), r"text_embeds has shape \(0, 4\)"),
        ((GOOD, np.where(GOOD == 1, np.nan, 0)), "motion_embeds holds NaN in 4 rows"),
        ((GOOD, GOOD * np.array([[1], [1], [0], [1]])), "motion_embeds has 1 zero rows, the first at index 2"),
        ((np.where(GOOD == 1, np.inf, 0), GOOD), "text_embeds holds infinite"),
        ((GOOD, GOOD, ["a", "b"]), "2 captions for 4 items"),
        ((GOOD, GOOD, "abcd", "caption_equal"), "one string"),
        ((GOOD, GOOD, None, "caption_equal"), "pass the N captions"),
        ((GOOD, GOOD, None, "best"), "'best'; known: strict, caption_equal"),
        ((GOOD, GOOD, None, "strict", 0), "chunk_size is 0"),
    ],
)
def test_retrieval_errors_say_what_was_given(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"), [((0,), "0 items"), ((5, "caption_equal"), "captions"), (([],), "0 items")]
)
def test_chance_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        chance_level(*arguments)


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


def test_recalls_are_the_means_of_the_hits_of_each_query():
    rng = np.random.default_rng(0)
    texts, motions = rng.integers(-2, 3, size=(2, 30, 4)) + 0.5  # few values: ties
    captions = [f"caption {i % 20}" for i in range(30)]
    for protocol in ("strict", "caption_equal"):
        recalls = retrieval_metrics(texts, motions, captions, protocol)
        for k in (1, 5):
            hits = retrieval_hits(texts, motions, k, captions, protocol)
            for way in ("t2m", "m2t"):
                assert hits[way].shape == (30,)
                assert 100 * hits[way].mean() == pytest.approx(recalls[way][f"R@{k}"])
    with pytest.raises(ValueError, match=r"text_embeds has shape \(3, 4\)"):
        retrieval_hits(texts[:3], motions, 1)
    assert label_map(texts, motions, captions, captions) == pytest.approx(
        100 * label_precisions(texts, motions, captions, captions).mean()
    )
