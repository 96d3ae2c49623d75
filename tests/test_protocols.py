"""Which pairs a protocol asks about."""

import numpy as np
import pytest

from motionpatches.training.protocols import describe_galleries, dissimilar_rows, draw_batches


def test_small_batches_are_whole_and_seeded():
    batches = [tuple(batch) for batch in draw_batches(70)]
    assert {len(batch) for batch in batches} == {32}
    assert len(batches) == 20
    assert all(len(set(batches[place] + batches[place + 1])) == 64 for place in range(0, 20, 2))
    assert batches == [tuple(batch) for batch in draw_batches(70)]
    assert batches != [tuple(batch) for batch in draw_batches(70, seed=1)]
    with pytest.warns(UserWarning, match="5 pairs do not fill a batch of 32"):
        assert [list(batch) for batch in draw_batches(5)] == [[0, 1, 2, 3, 4]]


def test_small_batches_hold_the_same_pairs_whatever_their_order():
    ids = [f"motion {row:03}" for row in np.random.default_rng(0).permutation(70)]
    shuffled = sorted(ids, key=lambda name: name[::-1])
    first, second = ([[names[row] for row in batch] for batch in draw_batches(70, names)] for names in (ids, shuffled))
    assert first == second


def clusters(num_clusters, per_cluster, seed=0):
    """Captions and their sentence embeddings: directions of their own, each with some near it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_clusters, 64))
    sentences = np.repeat(centres, per_cluster, axis=0) + 0.05 * rng.normal(size=(num_clusters * per_cluster, 64))
    return [f"caption {row:03}" for row in rng.permutation(len(sentences))], sentences


def test_the_dissimilar_subset_takes_one_of_each_kind():
    captions, sentences = clusters(20, 5)
    rows = dissimilar_rows(captions, sentences, size=20)
    assert sorted(rows // 5) == list(range(20))
    unit = sentences / np.linalg.norm(sentences, axis=1, keepdims=True)
    among = unit[rows] @ unit[rows].T - np.eye(20)
    assert among.max() < (unit @ unit.T - np.eye(100)).max()
    assert list(rows) == sorted(rows)


def test_the_dissimilar_subset_does_not_depend_on_the_order_and_repeats_no_caption():
    captions, sentences = clusters(30, 4)
    captions, sentences = captions + captions[:40], np.concatenate([sentences, sentences[:40]])
    ids = [f"{row:03}" for row in range(160)]
    chosen = {ids[row] for row in dissimilar_rows(captions, sentences, 50, ids)}
    assert len({captions[int(name)] for name in chosen}) == 50
    order = np.random.default_rng(3).permutation(160)
    names = [ids[row] for row in order]
    again = dissimilar_rows([captions[row] for row in order], sentences[order], 50, names)
    assert {names[row] for row in again} == chosen


def test_too_few_distinct_captions_are_all_taken_with_a_warning():
    with pytest.warns(UserWarning, match="3 distinct captions are fewer than the 100 of protocol 'nsim'"):
        assert list(dissimilar_rows(["b", "a", "b", "c"], np.eye(4)[[0, 1, 0, 2]])) == [0, 1, 3]


def test_what_a_report_says_of_a_protocol():
    captions = [f"caption {row // 2}" for row in range(70)]
    assert describe_galleries(70, captions, "strict") == {"galleries": 1, "num": 70, "distinct_captions": 35, "left_over": 0}
    small = describe_galleries(70, captions, "small")
    assert {key: small[key] for key in ("galleries", "num", "left_over")} == {"galleries": 20, "num": 32, "left_over": 6}
    assert 16 <= small["distinct_captions"] <= 32
    nsim = describe_galleries(70, captions, "nsim", np.random.default_rng(0).normal(size=(70, 8)))
    assert nsim == {"galleries": 1, "num": 35, "distinct_captions": 35, "left_over": 35}
