"""Retrieval scores against slow references that shuffle tied items in every order."""

from math import comb

import numpy as np
import pytest
import torch
from tied_scores import all_orders, cosine, tied_embeds

from motionpatches.training.metrics import (
    PROTOCOLS,
    RECALL_AT,
    chance_level,
    hit_probability,
    metric_path,
    retrieval_counts,
    retrieval_hits,
    retrieval_intervals,
    retrieval_metrics,
    summarize_counts,
)


WHOLE = ("strict", "caption_equal")


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


@pytest.mark.parametrize("protocol", WHOLE)
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


@pytest.mark.parametrize("protocol", WHOLE)
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


@pytest.mark.parametrize("protocol", WHOLE)
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
    strict, equal = (retrieval_metrics(texts, motions, captions, protocol) for protocol in WHOLE)
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
        ((GOOD, GOOD, None, "best"), "'best'; known: strict, caption_equal, threshold, nsim, small"),
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


def published(queries, gallery, captions):
    """The published evaluation: the best rank among equal captions, and the median of ranks that count from 1."""
    scores = queries @ gallery.T
    ranks = np.array(
        [
            min(rank for rank, item in enumerate(np.argsort(-row)) if captions[item] == captions[i])
            for i, row in enumerate(scores)
        ]
    )
    return {**{f"R@{k}": 100 * np.mean(ranks < k) for k in RECALL_AT}, "MedR": np.median(ranks + 1)}


@pytest.mark.parametrize("seed", range(4))
def test_caption_equal_is_the_published_definition_where_nothing_ties(seed):
    rng = np.random.default_rng(seed)
    texts, motions = rng.normal(size=(2, 150, 12))
    texts, motions = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (texts, motions))
    captions = [f"caption {c}" for c in rng.integers(60, size=150)]
    found = retrieval_metrics(texts, motions, captions, "caption_equal")
    for way, expected in (("t2m", published(texts, motions, captions)), ("m2t", published(motions, texts, captions))):
        assert {key: found[way][key] for key in expected} == pytest.approx(expected)


def example(num=240, seed=0):
    """Embeddings with ties, repeated captions, and sentence embeddings of which some are alike."""
    rng = np.random.default_rng(seed)
    captions = [f"caption {c}" for c in rng.integers(num * 4 // 5, size=num)]
    sentence_of = {caption: rng.normal(size=6) for caption in sorted(set(captions))}
    texts = tied_embeds(num, 9, seed, num // 2).astype(np.float32)
    motions = (texts + 0.7 * tied_embeds(num, 9, seed + 1, num // 2)).astype(np.float32)
    return texts, motions, captions, np.array([sentence_of[c] for c in captions]), [f"motion {i:04}" for i in range(num)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_order_of_the_pairs_changes_anything(protocol):
    texts, motions, captions, sentences, ids = example()
    first = retrieval_metrics(texts, motions, captions, protocol, sentence_embeds=sentences, ids=ids)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(ids))
        shuffled = [[values[i] for i in order] for values in (captions, ids)]
        again = retrieval_metrics(
            texts[order], motions[order], shuffled[0], protocol, 7 + seed, sentences[order], shuffled[1]
        )
        assert again == first  # to the last bit


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_constant_model_is_at_chance_under_every_protocol(protocol):
    _, _, captions, sentences, ids = example()
    row = np.random.default_rng(5).normal(size=(1, 33))
    constant = np.repeat(row, len(ids), axis=0)
    found = retrieval_metrics(constant, 3 * constant, captions, protocol, sentence_embeds=sentences, ids=ids)
    chance = chance_level(captions, protocol, sentences, ids)
    for way in ("t2m", "m2t"):
        assert found[way] == pytest.approx(chance[way], abs=1e-11, rel=0)
    assert 0 < chance["t2m"]["R@1"] < 10


def test_threshold_takes_alike_sentences_as_right_and_only_those():
    motions = np.eye(4)
    texts = motions[[1, 0, 2, 3]]  # texts 0 and 1 find each other's motion
    angles = np.arccos([1.0, 0.901, 0.0, 0.899])
    sentences = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert retrieval_metrics(texts, motions)["t2m"]["R@1"] == 50
    assert retrieval_metrics(texts, motions, None, "threshold", sentence_embeds=sentences)["t2m"]["R@1"] == 100
    sentences[1] = sentences[2]  # no longer alike
    assert retrieval_metrics(texts, motions, None, "threshold", sentence_embeds=100 * sentences)["t2m"]["R@1"] == 50


def test_threshold_with_a_sentence_of_its_own_for_each_is_strict_and_with_equal_ones_caption_equal():
    texts, motions, captions, _, _ = example()
    distinct = np.eye(len(captions))
    strict = retrieval_metrics(texts, motions)
    assert retrieval_metrics(texts, motions, None, "threshold", sentence_embeds=distinct) == strict
    names = sorted(set(captions))
    equal = np.eye(len(names))[[names.index(caption) for caption in captions]]
    found = retrieval_metrics(texts, motions, None, "threshold", sentence_embeds=equal)
    assert found == retrieval_metrics(texts, motions, captions, "caption_equal") != strict


def test_nsim_is_strict_among_the_selected_pairs():
    from motionpatches.training.protocols import dissimilar_rows

    texts, motions, captions, sentences, ids = example()
    rows = dissimilar_rows(captions, sentences, ids=ids)
    found = retrieval_metrics(texts, motions, captions, "nsim", sentence_embeds=sentences, ids=ids)
    assert found == retrieval_metrics(texts[rows], motions[rows])
    assert chance_level(captions, "nsim", sentences, ids)["t2m"]["R@1"] == pytest.approx(1)


def test_small_batches_are_galleries_of_their_own():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(48, 64))
    motions = np.repeat(directions, 2, axis=0)  # each has a twin, with a caption of its own
    captions = [f"caption {row}" for row in range(96)]
    scored = retrieval_metrics(motions, motions, captions, "small")
    # A twin is in the same batch of 32 with probability 31 / 95, and then takes half of the first places.
    assert scored["t2m"]["R@1"] == pytest.approx(100 * (1 - 31 / 95 / 2), abs=4)
    assert scored["t2m"]["R@2"] == 100
    assert retrieval_metrics(motions, motions, captions)["t2m"]["R@1"] == 50
    assert chance_level(captions, "small")["t2m"] == pytest.approx(chance_level(32)["t2m"])
    equal = retrieval_metrics(motions, motions, [f"caption {row // 2}" for row in range(96)], "small")
    assert equal["m2t"]["R@1"] == 100  # equal captions are all correct


def test_counts_hold_all_that_the_metrics_say():
    texts, motions, captions, sentences, ids = example()
    for protocol in ("strict", "caption_equal", "threshold", "nsim"):
        asked = (captions, protocol, None, sentences, ids)
        counts = retrieval_counts(texts, motions, *asked)
        found = {way: summarize_counts(values) for way, values in counts.items()}
        assert found == retrieval_metrics(texts, motions, *asked)
    with pytest.raises(ValueError, match="'small' asks each query in several batches"):
        retrieval_counts(texts, motions, captions, "small")


def test_intervals_hold_the_number_and_shrink_with_the_queries():
    widths = []
    for num in (50, 200):
        rng = np.random.default_rng(0)
        texts = rng.normal(size=(num, 40))
        counts = retrieval_counts(texts, texts + 2 * rng.normal(size=(num, 40)))
        for way, intervals in retrieval_intervals(counts).items():
            for name, (low, high) in intervals.items():
                assert low <= summarize_counts(counts[way])[name] <= high
        low, high = retrieval_intervals(counts)["t2m"]["R@5"]
        widths.append(high - low)
    assert 0 < widths[1] < widths[0]


@pytest.mark.parametrize(
    ("protocol", "arguments", "message"),
    [
        ("small", {}, "pass the N captions"),
        ("nsim", {"captions": list("abcd")}, "'nsim' compares sentence embeddings, but sentence_embeds is None"),
        ("threshold", {}, "by a sentence encoder that is not the model under test"),
        ("threshold", {"sentence_embeds": np.eye(3)}, "3 rows of sentence_embeds for 4 items"),
        ("threshold", {"sentence_embeds": np.zeros((4, 2))}, "sentence_embeds has 4 zero rows"),
        ("small", {"captions": list("abcd"), "ids": ["a"]}, "1 ids for 4 items"),
    ],
)
def test_what_a_protocol_needs_is_said(protocol, arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(GOOD, GOOD, protocol=protocol, **arguments)


def test_a_metric_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match=r"no metric 'bleu' .* motion_generation, motion_retrieval"):
        metric_path("bleu")
