"""Batches of training motions, and of (motion, caption) pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import BatchFeature

from ..processing.mirroring import mirror_caption, mirror_joints
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor, ResolvedMotion
from .augmentation import Augmentation
from .sampling import PairBatchSampler, PairKey


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
