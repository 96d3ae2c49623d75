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


def test_rows_that_are_alike_never_share_a_batch():
    captions = [[f"caption {row}"] for row in range(12)]
    alike = [("kick", None), ("kick", "old"), None] * 4
    for seed in range(20):
        sampler = PairBatchSampler(captions, 6, seed, alike=alike)
        assert rows_of(sampler) == list(range(12))
        for batch in sampler:
            known = [alike[key.row] for key in batch if alike[key.row]]
            assert len(set(known)) == len(known)
    with pytest.raises(ValueError, match="each of the 12 rows what it is like, got 3"):
        PairBatchSampler(captions, 6, alike=alike[:3])


def test_mirrored_rows_are_like_mirrored_ones_alone():
    captions, alike = [[f"caption {row}"] for row in range(40)], ["wave"] * 40
    batches = [list(PairBatchSampler(captions, 4, seed, alike=alike, mirror=0.5)) for seed in range(5)]
    assert {len(batch) for found in batches for batch in found} == {2}
    assert all(batch[0].mirrored != batch[1].mirrored for found in batches for batch in found)


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


def test_several_processes_share_the_batches_of_one():
    captions = [[f"motion {i}"] for i in range(23)]
    whole = PairBatchSampler(captions, 6, seed=3)
    parts = [PairBatchSampler(captions, 6, seed=3, num_processes=3, process_index=index) for index in range(3)]
    for epoch in (0, 1):
        for sampler in (whole, *parts):
            sampler.set_epoch(epoch)
        for batch, *shares in zip(whole, *parts, strict=True):
            assert len({len(share) for share in shares}) == 1
            assert {key for share in shares for key in share} <= set(batch)
            assert sum(map(len, shares)) == len(batch) - len(batch) % 3
    assert (whole.count_left_over(), parts[0].count_left_over()) == (0, 2)  # 23 = 3 · 6 + 5, and 5 = 3 + 2


def test_pairs_that_fill_no_batch_are_counted():
    assert PairBatchSampler([["walks"], ["jumps"], ["sits"]], 2).count_left_over() == 1
    assert PairBatchSampler([["walks"], ["walks"], ["walks"], ["sits"]], 2).count_left_over() == 2


def test_buckets_bring_like_lengths_together_and_keep_each_row_once():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 200, size=160)
    captions = [[f"motion {i}"] for i in range(160)]
    bucketed = PairBatchSampler(captions, 8, seed=1, lengths=lengths, buckets=10)
    plain = PairBatchSampler(captions, 8, seed=1)

    def padding(sampler):
        return sum(len(batch) * lengths[[key.row for key in batch]].max() for batch in sampler) / lengths.sum() - 1

    assert padding(bucketed) < 0.3 * padding(plain)
    assert rows_of(bucketed) == list(range(160))
    longest = [lengths[[key.row for key in batch]].max() for batch in bucketed]
    assert longest != sorted(longest)  # batches come in random order
    first = list(bucketed)
    bucketed.set_epoch(1)
    assert {frozenset(key.row for key in batch) for batch in first} != {
        frozenset(key.row for key in batch) for batch in bucketed
    }


def test_rows_of_a_kind_meet_and_none_is_lost():
    captions = [[f"caption {row}"] for row in range(401)]
    kinds = ["lone"] + ["cmu"] * 150 + ["utd"] * 250
    share, apart, firsts, partners = [], [], set(), set()
    for seed in range(5):
        batches = PairBatchSampler(captions, 10, seed, kinds=kinds).make_batches(seed)
        assert len(rows_of(batches)) == 400  # the last one alone fills no batch
        counts = [max(sum(kinds[key.row] == kind for key in batch) for kind in ("cmu", "utd")) for batch in batches]
        share.append(np.mean(counts) / 10)
        mixed = PairBatchSampler(captions, 10, seed).make_batches(seed)
        apart.append(
            np.mean([max(sum(kinds[k.row] == kind for k in batch) for kind in ("cmu", "utd")) for batch in mixed]) / 10
        )
        firsts.add(kinds[batches[0][0].row])
        partners |= {kinds[key.row] for batch in batches for key in batch if kinds[batch[0].row] != kinds[key.row]}
    assert 0.8 < min(share) <= max(share) < 0.95  # three quarters, and what of the rest happens to be of the kind
    assert max(apart) < 0.75
    assert {"cmu", "utd"} <= firsts  # batches come in random order
    assert {"cmu", "utd"} <= partners  # kinds meet


def test_a_resumed_epoch_leaves_out_the_batches_that_were_seen():
    sampler = PairBatchSampler(CAPTIONS, 2, seed=1)
    whole = list(sampler)
    sampler.set_epoch(0, start=2)
    assert list(sampler) == whole[2:]
    assert len(sampler) == len(whole)


def test_the_first_caption_can_be_asked_for():
    for epoch in range(10):
        sampler = PairBatchSampler(CAPTIONS, 6, first_caption=True)
        sampler.set_epoch(epoch)
        assert all(key.caption == 0 for batch in sampler for key in batch)


def test_impossible_batches():
    with pytest.raises(ValueError, match="3 processes share each batch in equal parts; got batch_size=4"):
        PairBatchSampler(CAPTIONS, 4, num_processes=3)
    with pytest.raises(ValueError, match="buckets=2 must be at least 1, and above 1 needs the length"):
        PairBatchSampler(CAPTIONS, 4, buckets=2)
    with pytest.raises(ValueError, match="kinds must say what each of the 6 rows is, got 2"):
        PairBatchSampler(CAPTIONS, 2, kinds=["cmu", "utd"])


def test_balance_takes_more_of_small_sources():
    captions = [[f"caption {row}"] for row in range(100)]
    sources = ["large"] * 80 + ["small"] * 18 + ["tiny"] * 2
    numbers = {}
    for balance in (0.0, 0.5, 1.0):
        sampler = PairBatchSampler(captions, 10, balance=balance, sources=sources)
        drawn = [key.row for batch in sampler.make_batches(0) for key in batch]
        assert len(drawn) + sampler.count_left_over() == 100  # a repeated motion may find no batch
        numbers[balance] = [sum(sources[row] == name for row in drawn) for name in ("large", "small", "tiny")]
        assert max(drawn.count(row) for row in range(80)) == 1  # of one source each as often
    assert numbers[0.0] == [80, 18, 2]
    assert numbers[0.5] == pytest.approx([62, 30, 8], abs=1)  # as the square roots, but no motion more than four times
    assert numbers[1.0] == pytest.approx([46, 46, 8], abs=1)
    other = sorted(key.row for batch in sampler.make_batches(1) for key in batch)
    assert other != sorted(drawn)  # which of the large source is drawn is another thing each epoch


def test_one_batch_holds_no_motion_twice():
    captions = [[f"caption {row}", f"other {row}"] for row in range(60)]
    sampler = PairBatchSampler(captions, 6, balance=1.0, sources=["large"] * 54 + ["small"] * 6, unique_captions=False)
    assert all(len({key.row for key in batch}) == len(batch) for batch in sampler.make_batches(0))


def test_a_balance_without_sources_is_refused():
    with pytest.raises(ValueError, match=r"balance=0.5 must be .* needs the source"):
        PairBatchSampler([["a"], ["b"]], 2, balance=0.5)
    with pytest.raises(ValueError, match=r"balance=2 must be between 0 and 1"):
        PairBatchSampler([["a"], ["b"]], 2, balance=2, sources=["x", "y"])
