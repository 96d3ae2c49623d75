"""Batches of training motions, and of (motion, caption) pairs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import BatchFeature

from ..processing.mirroring import mirror_caption, mirror_joints
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor, ResolvedMotion
from .augmentation import Augmentation


class PairKey(NamedTuple):
    """Which pair: row and caption number, the seed of its augmentation, and whether motion and caption are mirrored."""

    row: int
    caption: int
    seed: int
    mirrored: bool


class MotionDataset(torch.utils.data.Dataset):
    """Prepared motions of rows; subclasses say what an item is.

    Args:
        rows: A data set with the columns of `processing.corpora.load_motions`.
        processor: Prepares the motions.
        augmentation: Changes to the motions, drawn anew from the seed of each item; default none.
    """

    def __init__(self, rows: Dataset, processor: MotionPatchProcessor, augmentation: Augmentation | None = None) -> None:
        self.rows = rows.with_format("numpy")
        self.motion_processor = processor
        self.augmentation = augmentation or Augmentation()

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, row: int, seed: int, mirrored: bool = False) -> ResolvedMotion:
        """The motion of a row as the seed changes it, or its mirror image."""
        motion = self.motion_processor.resolve([self.rows[int(row)]])[0]
        if mirrored:
            motion = motion._replace(joints=mirror_joints(motion.joints, motion.skeleton))
        return self.augmentation.prepare(self.motion_processor, motion, np.random.default_rng(seed))


class MotionTextDataset(MotionDataset):
    """A prepared motion and one caption of a row. An item is asked for by a `PairKey`; arguments as in `MotionDataset`."""

    def __init__(self, rows: Dataset, processor: MotionTextProcessor, augmentation: Augmentation | None = None) -> None:
        super().__init__(rows, processor.feature_extractor, augmentation)
        self.captions: list[list[str]] = rows["captions"][:]

    def __getitem__(self, key: PairKey) -> dict[str, Any]:
        row, number, seed, mirrored = key
        caption = self.captions[row][number]
        caption = mirror_caption(caption) if mirrored else caption
        return {"motion": self.draw(row, seed, mirrored), "caption": caption, "seed": seed}


class Collator:
    """Pads a batch and tokenizes its captions. Motions that are too long are cropped at random, from the items' own seeds."""

    def __init__(self, processor: MotionTextProcessor) -> None:
        self.processor = processor

    def __call__(self, items: list[dict[str, Any]]) -> BatchFeature:
        batch = crop_and_pad(self.processor.feature_extractor, items)
        batch.update(tokenize(self.processor, [item["caption"] for item in items]))
        return batch


def crop_and_pad(processor: MotionPatchProcessor, items: Sequence[Mapping[str, Any]]) -> BatchFeature:
    """Patches of the `motion` of each item; what is too long is cropped at random, from the items' own `seed`s."""
    generator = np.random.default_rng([item["seed"] for item in items])
    motions = [item["motion"] for item in items]
    return processor.to_patches(motions, return_tensors="pt", truncation="random", generator=generator)


def tokenize(processor: MotionTextProcessor, captions: Sequence[str]) -> BatchFeature:
    """Token ids of captions, padded to the longest; cut at the tokenizer's limit (see `count_long_captions`)."""
    return processor(text=list(captions), return_tensors="pt", padding=True, truncation=True)


def count_long_captions(processor: MotionTextProcessor, captions: Sequence[str]) -> int:
    """How many captions the tokenizer's limit cuts."""
    limit = processor.tokenizer.model_max_length
    return sum(len(ids) > limit for ids in processor.tokenizer(list(captions), verbose=False)["input_ids"])


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


def make_loader(
    rows: Dataset,
    processor: MotionTextProcessor,
    batch_size: int,
    seed: int,
    unique_captions: bool,
    num_workers: int = 0,
    augmentation: Augmentation | None = None,
    mirror: float = 0.0,
) -> DataLoader:
    """A loader over training pairs; call `loader.batch_sampler.set_epoch` before each pass."""
    dataset = MotionTextDataset(rows, processor, augmentation)
    sampler = PairBatchSampler(dataset.captions, batch_size, seed, unique_captions, mirror)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=Collator(processor), num_workers=num_workers)
