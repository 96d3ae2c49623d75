"""Which (motion, caption) pairs meet in a batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from ..processing.mirroring import mirror_caption


class PairKey(NamedTuple):
    """Which pair: row and caption number, the seed of its augmentation, and whether motion and caption are mirrored."""

    row: int
    caption: int
    seed: int
    mirrored: bool


class PairBatchSampler(Sampler[list[PairKey]]):
    """Shuffled batches of pairs, a new caption drawn for each row in each epoch.

    Equal captions in one batch are false negatives of the contrastive loss; with `unique_captions` a row whose caption is already
    in the batch waits for a later one. The order depends on seed and epoch alone, so a resumed run sees the same batches.

    Args:
        captions: The captions of each row.
        batch_size: Pairs in a batch; the last ones may be smaller, but hold at least two.
        seed: Seed of shuffling, caption choice and augmentation.
        unique_captions: Keep equal captions apart.
        mirror: Probability of taking the mirror image of a pair; see `processing.mirroring`.

    Raises:
        ValueError: If there are fewer than two rows, a row has no caption, or the probability is none.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        batch_size: int,
        seed: int = 0,
        unique_captions: bool = True,
        mirror: float = 0.0,
    ) -> None:
        if not 0 <= mirror <= 1:
            raise ValueError(f"the probability of mirroring must be between 0 and 1, got {mirror}")
        if len(captions) < 2 or batch_size < 2:
            raise ValueError(
                f"contrastive training needs at least two pairs; got {len(captions)} rows, batch_size={batch_size}"
            )
        empty = [row for row, texts in enumerate(captions) if not len(texts)]
        if empty:
            raise ValueError(f"{len(empty)} of {len(captions)} rows have no caption, the first is row {empty[0]}")
        self.captions = captions
        self.batch_size = batch_size
        self.seed = seed
        self.unique_captions = unique_captions
        self.mirror = mirror
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next pass over the data is that of `epoch`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[PairKey]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[list[PairKey]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        chosen = [int(generator.integers(len(texts))) for texts in self.captions]
        seeds = generator.integers(2**31, size=len(chosen))
        waiting = generator.permutation(len(chosen)).tolist()
        mirrored = generator.random(len(chosen)) < self.mirror
        batches: list[list[PairKey]] = []
        while waiting:
            batch: list[PairKey] = []
            taken: set[str] = set()
            later: list[int] = []
            for row in waiting:
                caption = self.captions[row][chosen[row]]
                caption = mirror_caption(caption) if mirrored[row] else caption
                if len(batch) == self.batch_size or (self.unique_captions and caption in taken):
                    later.append(row)
                    continue
                taken.add(caption)
                batch.append(PairKey(row, chosen[row], int(seeds[row]), bool(mirrored[row])))
            waiting = later
            batches.append(batch)
        return [batch for batch in batches if len(batch) > 1]
