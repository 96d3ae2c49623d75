"""Batches: which pairs meet, and that a resumed run meets the same ones."""

import numpy as np
import pytest

from motionpatches import mirror_caption
from motionpatches.training.sampling import PairBatchSampler


CAPTIONS = [["walks", "goes"], ["walks"], ["jumps"], ["walks", "runs"], ["jumps"], ["sits"]]


def rows_of(batches):
    return sorted(row for batch in batches for row, *_ in batch)


def test_each_row_comes_once_an_epoch():
    assert rows_of(PairBatchSampler(CAPTIONS, 2, unique_captions=False)) == list(range(6))


def test_equal_captions_never_share_a_batch():
    for seed in range(20):
        sampler = PairBatchSampler(CAPTIONS, 4, seed)
        for batch in sampler:
            texts = [CAPTIONS[row][caption] for row, caption, *_ in batch]
            assert len(set(texts)) == len(texts)
    together = [
        [CAPTIONS[row][caption] for row, caption, *_ in batch]
        for seed in range(20)
        for batch in PairBatchSampler(CAPTIONS, 4, seed, unique_captions=False)
    ]
    assert any(len(set(texts)) < len(texts) for texts in together)


def test_order_depends_on_seed_and_epoch_alone():
    first, second = PairBatchSampler(CAPTIONS, 2, seed=1), PairBatchSampler(CAPTIONS, 2, seed=1)
    assert list(first) == list(second) == list(first)
    second.set_epoch(1)
    assert list(first) != list(second)
    assert list(PairBatchSampler(CAPTIONS, 2, seed=2)) != list(first)


def test_all_captions_of_a_row_are_drawn_in_time():
    sampler, drawn = PairBatchSampler(CAPTIONS, 6), set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn |= {(row, caption) for batch in sampler for row, caption, *_ in batch}
    assert {(0, 0), (0, 1), (3, 0), (3, 1)} <= drawn


def test_mirrored_captions_count_as_what_they_become():
    captions = [["waves the left hand"], ["waves the right hand"], ["turns"]]
    shares, mirrored = [], []
    for seed in range(60):
        for batch in PairBatchSampler(captions, 3, seed, mirror=0.5):
            texts = [mirror_caption(captions[key.row][0]) if key.mirrored else captions[key.row][0] for key in batch]
            assert len(set(texts)) == len(texts)
            shares.append(len(batch))
            mirrored += [key.mirrored for key in batch]
    assert set(shares) == {2, 3}
    assert 0.3 < np.mean(mirrored) < 0.7
    assert not any(key.mirrored for batch in PairBatchSampler(captions, 3) for key in batch)
    with pytest.raises(ValueError, match="probability of mirroring must be between 0 and 1, got 2"):
        PairBatchSampler(captions, 3, mirror=2)


def test_too_little_to_contrast():
    with pytest.raises(ValueError, match="at least two pairs; got 1 rows"):
        PairBatchSampler([["walks"]], 4)
    with pytest.raises(ValueError, match="1 of 2 rows have no caption, the first is row 1"):
        PairBatchSampler([["walks"], []], 4)
