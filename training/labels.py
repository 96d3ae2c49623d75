"""Rows with labels: which of them a classifier can learn from or be judged on, and their batches."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import ClassLabel, Dataset
from transformers import BatchFeature

from ..processing.processing_motionpatches import MotionPatchProcessor
from .augmentation import Augmentation
from .data import MotionDataset, crop_and_pad


class LabelledRows(NamedTuple):
    """Rows, the label of each, how many rows were left out as they have none, and those left out as no class is called so."""

    rows: Dataset
    labels: list[str]
    unlabelled: int
    unknown: dict[str, int]

    def left_out(self) -> dict[str, Any]:
        """What was left out, for a results file."""
        return {"unlabelled": self.unlabelled, "unknown_labels": self.unknown}


def select_labelled(rows: Dataset, split: str, classes: Sequence[str] | None = None) -> LabelledRows:
    """The rows that have a label, among `classes` where these are given; what is left out is counted in a warning.

    Args:
        rows: Rows with the columns of `processing.corpora.load_motions`.
        split: Their name, for messages.
        classes: The classes that the labels must be among; default any.

    Raises:
        ValueError: If no row is left.
    """
    labels = _labels(rows)
    known = [index for index, label in enumerate(labels) if label is not None and (classes is None or label in classes)]
    unlabelled = labels.count(None)
    unknown = dict(Counter(label for label in labels if label is not None and classes is not None and label not in classes))
    if not known:
        found = f"only the labels {_listed(unknown)}" if unknown else "no labels: a column `label` is needed"
        expected = "" if classes is None else f"; the classes are {_listed(classes)}"
        raise ValueError(f"none of the {len(rows)} motions of split {split!r} can be used, it has {found}{expected}")
    if unlabelled:
        warnings.warn(f"{unlabelled} of {len(rows)} motions of split {split!r} have no label and are left out", stacklevel=2)
    if unknown:
        warnings.warn(
            f"{sum(unknown.values())} of {len(rows)} motions of split {split!r} have labels that are no class of the model and "
            f"are left out: {_listed([f'{label} ({count})' for label, count in unknown.items()])}",
            stacklevel=2,
        )
    chosen = rows if len(known) == len(rows) else rows.select(known)
    return LabelledRows(chosen, [str(labels[index]) for index in known], unlabelled, unknown)


def _labels(rows: Dataset) -> list[str | None]:
    """The labels as texts; `None` where there is none, or an empty one."""
    if "label" not in rows.column_names:
        return [None] * len(rows)
    feature = rows.features["label"]
    named = feature.int2str if isinstance(feature, ClassLabel) else str
    values = rows["label"][:]
    return [None if value is None or not str(value).strip() else named(value) for value in values]


def _listed(names: Any, most: int = 12) -> str:
    names = list(names)
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


class LabelledMotions(MotionDataset):
    """A prepared motion and the number of its class.

    Args:
        part: The rows and their labels.
        classes: The names of the classes, all labels among them.
        processor: Prepares the motions.
        augmentation: Changes to training motions, drawn anew in each `epoch`; `None`: the motions are to be judged, as they are.
        seed: Seed of the changes.
    """

    def __init__(
        self,
        part: LabelledRows,
        classes: Sequence[str],
        processor: MotionPatchProcessor,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(part.rows, processor, augmentation)
        number = {name: index for index, name in enumerate(classes)}
        self.targets = [number[label] for label in part.labels]
        self.is_training = augmentation is not None
        self.seed = seed
        self.epoch = 0

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not self.is_training:
            return {"motion": self.draw(row, 0), "target": self.targets[row]}
        seed = int(np.random.SeedSequence([self.seed, self.epoch, row]).generate_state(1)[0])
        return {"motion": self.draw(row, seed), "target": self.targets[row], "seed": seed}

    def collate(self, items: list[dict[str, Any]]) -> BatchFeature:
        """A batch for the model: training motions that are too long are cropped at random, others as the processor says."""
        if "seed" in items[0]:
            batch = crop_and_pad(self.motion_processor, items)
        else:
            batch = self.motion_processor.to_patches([item["motion"] for item in items], return_tensors="pt", warn=False)
        batch["labels"] = torch.tensor([item["target"] for item in items])
        return batch


def count_cut(rows: Dataset, processor: MotionPatchProcessor) -> int:
    """How many motions are longer than the processor keeps."""
    longest = processor.max_frames / processor.fps
    return sum(frames / fps > longest for frames, fps in zip(rows["num_frames"], rows["fps"], strict=True))
