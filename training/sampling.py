"""Which (motion, caption) pairs meet in a batch."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from ..processing.mirroring import mirror_caption


class PairKey(NamedTuple):
    """Which pair: row and caption number, the seed of its augmentation, and whether motion and caption are mirrored."""

    row: int
    caption: int
    seed: int
    mirrored: bool


# Of batches by kind, the share of rows that are of any.
_OF_ANY_KIND = 0.25

# Most times that an epoch takes one motion, however small its source is.
_MOST_REPEATS = 4


class SeededBatchSampler(Sampler[list[Any]]):
    """Batches whose order depends on seed and epoch alone: a resumed run sees the same ones, and several processes see parts of
    the same ones. Subclasses say what the batches of an epoch are.

    Args:
        num_processes: How many processes share a batch, each taking an equal part.
        process_index: Which part to give.
    """

    def __init__(self, num_processes: int = 1, process_index: int = 0) -> None:
        self.num_processes = num_processes
        self.process_index = process_index
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """The next pass over the data is that of `epoch`, without its first `start` batches."""
        self.epoch = epoch
        self.start = start
        self._whole = self.make_batches(epoch)

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in self._whole[self.start :]:
            yield batch[self.process_index :: self.num_processes]

    def __len__(self) -> int:
        """Batches of the whole epoch."""
        return len(self._whole)

    def make_batches(self, epoch: int) -> list[list[Any]]:
        """The batches of an epoch, of all processes together."""
        raise NotImplementedError

    def count_left_over(self) -> int:
        """Rows of this epoch that are in no batch."""
        raise NotImplementedError


class PairBatchSampler(SeededBatchSampler):
    """Shuffled batches of pairs, a new caption drawn for each row in each epoch.

    Equal captions in one batch are false negatives of the contrastive loss, and so are captions that say the same in other words;
    with `unique_captions` a row whose caption is already in the batch goes to a later one, with `alike` one that is like another.

    Args:
        captions: The captions of each row.
        batch_size: Pairs in a batch, of all processes together; the last ones may be smaller, but hold at least two.
        seed: Seed of shuffling, caption choice and augmentation.
        unique_captions: Keep equal captions apart.
        alike: What rows have in common whose captions say the same, such as the label: they are kept apart. `None` for a row that
            is like no other.
        mirror: Probability of taking the mirror image of a pair; see `processing.mirroring`.
        first_caption: Take the first caption of each row, in place of a random one.
        kinds: What each row is, such as its data set: three quarters of a batch are of one kind, whose pairs are harder to tell
            apart, and the rest of any, so that kinds are told apart too. Batches then come in random order.
        sources: What each row is from, such as its data set, for `balance`.
        balance: How far an epoch, which stays as long as there are rows, evens the sources out: a source of n rows is drawn as
            if it had n^(1 - balance). 0: each row once; 1: each source as often as any other. No row is drawn more than four
            times, so where there are tiny sources alone an epoch is shorter.
        lengths: Length of each row in any unit, for `buckets`.
        buckets: Sort so many batches of rows by length, so that a batch holds motions of like length; 1: do not. Batches then
            come in random order. It changes which pairs are each other's negatives.
        num_processes: How many processes share a batch, each taking an equal part.
        process_index: Which part to give.

    Raises:
        ValueError: If there are fewer than two rows for each batch or process, a row has no caption, or an argument is
            impossible.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        batch_size: int,
        seed: int = 0,
        unique_captions: bool = True,
        alike: Sequence[Hashable] | None = None,
        mirror: float = 0.0,
        first_caption: bool = False,
        kinds: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        balance: float = 0.0,
        lengths: Sequence[float] | None = None,
        buckets: int = 1,
        num_processes: int = 1,
        process_index: int = 0,
    ) -> None:
        if not 0 <= mirror <= 1:
            raise ValueError(f"the probability of mirroring must be between 0 and 1, got {mirror}")
        if len(captions) < 2 or batch_size < 2:
            raise ValueError(
                f"contrastive training needs at least two pairs; got {len(captions)} rows, batch_size={batch_size}"
            )
        if batch_size % num_processes or len(captions) < num_processes:
            raise ValueError(
                f"{num_processes} processes share each batch in equal parts; got batch_size={batch_size} and {len(captions)} "
                "rows. Choose a batch_size that is a multiple of the number of processes"
            )
        if kinds is not None and len(kinds) != len(captions):
            raise ValueError(f"kinds must say what each of the {len(captions)} rows is, got {len(kinds)}")
        if alike is not None and len(alike) != len(captions):
            raise ValueError(f"alike must say of each of the {len(captions)} rows what it is like, got {len(alike)}")
        if not 0 <= balance <= 1 or (balance and (sources is None or len(sources) != len(captions))):
            raise ValueError(f"balance={balance} must be between 0 and 1, and above 0 needs the source of each of the rows")
        if buckets < 1 or (buckets > 1 and (lengths is None or len(lengths) != len(captions))):
            raise ValueError(f"buckets={buckets} must be at least 1, and above 1 needs the length of each of the rows")
        empty = [row for row, texts in enumerate(captions) if not len(texts)]
        if empty:
            raise ValueError(f"{len(empty)} of {len(captions)} rows have no caption, the first is row {empty[0]}")
        self.captions = captions
        self.batch_size = batch_size
        self.seed = seed
        self.unique_captions = unique_captions
        self.alike = alike
        self.mirror = mirror
        self.first_caption = first_caption
        self.kinds = None if kinds is None else np.unique(kinds, return_inverse=True)[1]
        self.balance = balance
        self.sources = None if sources is None or not balance else np.unique(sources, return_inverse=True)[1]
        self.lengths = None if buckets == 1 or lengths is None else np.asarray(lengths)
        self.buckets = buckets
        super().__init__(num_processes, process_index)

    def count_left_over(self) -> int:
        """Pairs of this epoch that fill no batch: of a last batch of one, or that several processes cannot share equally."""
        return self._num_drawn - sum(len(batch) for batch in self._whole)

    def make_batches(self, epoch: int) -> list[list[PairKey]]:
        """The batches of an epoch, of all processes together."""
        generator = np.random.default_rng([self.seed, epoch])
        drawn = np.arange(len(self.captions))
        if self.sources is not None:
            drawn = _balanced(self.sources, self.balance, generator)
        rows = drawn.tolist()
        self._num_drawn = len(rows)
        chosen = [0 if self.first_caption else int(generator.integers(len(self.captions[row]))) for row in rows]
        seeds = generator.integers(2**31, size=len(drawn))
        order = generator.permutation(len(drawn))
        mirrored = generator.random(len(drawn)) < self.mirror
        if self.kinds is not None:
            order = _by_kind(order, self.kinds[drawn], generator)
        if self.lengths is not None:
            order = sort_within(order, self.lengths[drawn], self.buckets * self.batch_size)
        batches: list[list[PairKey]] = []
        next_free: dict[Hashable, int] = {}  # for what is in a batch once at most, the batch after the last one that has it
        first_open = 0  # batches before this one are full
        for number in order.tolist():
            row = rows[number]
            caption = self.captions[row][chosen[number]]
            caption = mirror_caption(caption) if mirrored[number] else caption
            once: list[Hashable] = [row]
            if self.unique_captions:
                once.append(caption)
            if self.alike is not None and self.alike[row] is not None:
                once.append((self.alike[row], bool(mirrored[number])))
            place = max(first_open, *(next_free.get(name, 0) for name in once))
            while place < len(batches) and len(batches[place]) == self.batch_size:
                place += 1
            if place == len(batches):
                batches.append([])
            batches[place].append(PairKey(row, chosen[number], int(seeds[number]), bool(mirrored[number])))
            next_free.update(dict.fromkeys(once, place + 1))
            while first_open < len(batches) and len(batches[first_open]) == self.batch_size:
                first_open += 1
        batches = [batch[: len(batch) - len(batch) % self.num_processes] for batch in batches]
        batches = [batch for batch in batches if len(batch) > 1]
        if self.kinds is not None or self.lengths is not None:
            batches = [batches[index] for index in generator.permutation(len(batches))]
        return batches


def sort_within(order: np.ndarray, lengths: np.ndarray, pool: int) -> np.ndarray:
    """Rows in an order, each `pool` of which that follow one another are sorted by length."""
    parts = [order[first : first + pool] for first in range(0, len(order), pool)]
    return np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])


def _balanced(sources: np.ndarray, balance: float, generator: np.random.Generator) -> np.ndarray:
    """The rows of an epoch, ascending: of each source as many as its part of all is, each row equally often but for one."""
    sizes = np.bincount(sources)
    total, numbers = len(sources), np.zeros(len(sizes))
    is_open = np.ones(len(sizes), dtype=bool)
    while is_open.any():  # what a source at its limit leaves is for the others
        weights = np.where(is_open, sizes ** (1.0 - balance), 0.0)
        shares = (total - numbers[~is_open].sum()) * weights / weights.sum()
        full = is_open & (shares > _MOST_REPEATS * sizes)
        numbers = np.where(is_open, shares, numbers)
        if not full.any():
            break
        numbers[full] = _MOST_REPEATS * sizes[full]
        is_open &= ~full
    drawn = []
    for source, number in enumerate(np.round(numbers).astype(int)):
        rows = np.flatnonzero(sources == source)
        whole, rest = divmod(int(number), len(rows))
        drawn += [np.repeat(rows, whole), generator.permutation(rows)[:rest]]
    return np.sort(np.concatenate(drawn))


def _by_kind(order: np.ndarray, kinds: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows in an order in which those of a kind follow one another, all but some that may stand anywhere."""
    turns = generator.permutation(kinds.max() + 1)
    is_free = generator.random(len(order)) < _OF_ANY_KIND
    bound = order[~is_free]
    bound = bound[np.argsort(turns[kinds[bound]], kind="stable")]
    places = np.concatenate([np.linspace(0, 1, len(bound)), generator.random(int(is_free.sum()))])
    return np.concatenate([bound, order[is_free]])[np.argsort(places, kind="stable")]
