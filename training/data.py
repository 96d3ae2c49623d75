"""Training motions and (motion, caption) pairs, and their batches in groups of like length."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import BatchFeature

from ..processing.mirroring import mirror_caption, mirror_joints
from ..processing.motion_table import MotionTable
from ..processing.patches import num_windows
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor, ResolvedMotion
from ..processing.skeletons import UNITS
from .augmentation import Augmentation, mix_parts
from .recipe import RunArguments
from .sampling import PairBatchSampler, PairKey


# In metres. Of numbers much larger, lengths and ratios in single precision are infinite or zero.
_FARTHEST = 1e6

# Compilers treat a group of one as a case of its own.
_SMALLEST_GROUP = 2


class BrokenSampleError(ValueError):
    """A row of the data cannot be used; the message names it. (Workers of a loader hand errors on by their message alone.)"""


class MotionDataset(torch.utils.data.Dataset):
    """Prepared motions of rows; subclasses say what an item is.

    Args:
        rows: A data set with the columns of `processing.corpora.load_motions`.
        processor: Prepares the motions.
        augmentation: Changes to the motions, drawn anew from the seed of each item; default none.
    """

    def __init__(self, rows: Dataset, processor: MotionPatchProcessor, augmentation: Augmentation | None = None) -> None:
        self.rows = MotionTable(rows)
        self.motion_processor = processor
        self.augmentation = augmentation or Augmentation()

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, row: int, seed: int, mirrored: bool = False) -> ResolvedMotion:
        """The motion of a row as the seed changes it, or its mirror image.

        Raises:
            BrokenSampleError: If the row holds no motion that can be prepared.
        """
        values = self.rows[int(row)]
        try:
            motion = _resolve(self.motion_processor, values)
            if mirrored:
                motion = motion._replace(joints=mirror_joints(motion.joints, motion.skeleton))
            return self.augmentation.prepare(self.motion_processor, motion, np.random.default_rng(seed))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise _broken(row, values, str(error).replace("motion 0", "the motion", 1)) from error


def _resolve(processor: MotionPatchProcessor, values: Mapping[str, Any]) -> ResolvedMotion:
    """The motion of a row, which must be whole: of other motions a processor assumes what they do not say."""
    missing = [name for name in ("joints", "num_frames", "num_joints", "fps") if values[name] is None]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    motion = processor.resolve([values])[0]
    farthest = np.abs(motion.joints).max() * UNITS[motion.skeleton.unit]
    if farthest > _FARTHEST:
        raise ValueError(f"it has joints {farthest:.3g} m from the origin, farther than any motion goes; check the unit")
    return motion


class MotionTextDataset(MotionDataset):
    """A prepared motion and one caption of a row. An item is asked for by a `PairKey`; arguments as in `MotionDataset`.

    Raises:
        BrokenSampleError: If a row has no caption, or one that is empty or no text.
    """

    def __init__(self, rows: Dataset, processor: MotionTextProcessor, augmentation: Augmentation | None = None) -> None:
        super().__init__(rows, processor.feature_extractor, augmentation)
        check_captions(rows)
        self.captions: list[list[str]] = rows["captions"][:]

    def __getitem__(self, key: PairKey) -> dict[str, Any]:
        row, number, seed, mirrored = key
        caption = self.captions[row][number]
        caption = mirror_caption(caption) if mirrored else caption
        return {"motion": self.draw(row, seed, mirrored), "caption": caption, "seed": seed}


def check_motions(rows: Dataset, processor: MotionPatchProcessor) -> None:
    """Prepare all motions of rows, in order.

    Raises:
        BrokenSampleError: For the first that cannot be prepared.
    """
    motions = MotionDataset(rows, processor)
    for row in range(len(motions)):
        motions.draw(row, seed=0)


def check_captions(rows: Dataset) -> None:
    """Look at all captions of rows.

    Raises:
        BrokenSampleError: If a row has no caption, or one that is empty or no text. It names the first, and says how many more
            there are.
    """
    reasons = {row: reason for row, texts in enumerate(rows["captions"][:]) if (reason := _caption_fault(texts))}
    if reasons:
        row = min(reasons)
        more = f" ({len(reasons)} of the {len(rows)} rows have such captions, this is the first)" if len(reasons) > 1 else ""
        raise _broken(row, rows[row], reasons[row] + more)


def _caption_fault(texts: Any) -> str | None:
    """What is wrong with the captions of a row, if anything is."""
    if texts is None or isinstance(texts, str) or not len(texts):
        return f"it has no list of captions, but {texts!r}"
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            return f"caption {number} is a {type(text).__name__}, not a text: {text!r}"
        if not text.strip():
            return f"caption {number} is empty: {text!r}"
    return None


def _broken(row: int, values: Mapping[str, Any], reason: str) -> BrokenSampleError:
    known = "".join(
        f", {name} {str(values[key])!r}" for name, key in (("id", "id"), ("data set", "dataset")) if key in values
    )
    return BrokenSampleError(
        f"row {int(row)} (counted from 0){known}, cannot be used: {reason.rstrip('.')}. Mend that row of the data, or remove it"
    )


class PairBatch(NamedTuple):
    """Pairs of motions and captions in groups of like length.

    Args:
        groups: Inputs of the model, each group padded to its own longest motion; captions to the longest of the batch.
        order: Shape (B,), int64: for the pairs of all groups one after the other, their places in the batch. So
            `embeds[order.argsort()]` puts embeddings of the groups back.
        targets: Shape (B, B), float32, in the order of the batch: how much each caption belongs to each motion; a row sums to 1.
            `None`: each to its own alone.
    """

    groups: list[BatchFeature]
    order: torch.Tensor
    targets: torch.Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PairBatch":
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "PairBatch":
        """The batch in pinned memory."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, change: Any) -> "PairBatch":
        groups = [BatchFeature({name: change(value) for name, value in group.items()}) for group in self.groups]
        return PairBatch(groups, change(self.order), None if self.targets is None else change(self.targets))


class Collator:
    """Makes a `PairBatch` of items: mixes parts, pads, tokenizes captions. Motions that are too long are cropped at random.

    What is random is drawn from the items' own seeds, and does not depend on the groups.

    Args:
        processor: Where it pads all motions to one length, or gives no mask to tell padding by, groups of like length would gain
            nothing or change the embeddings: the batch then is one group.
        num_groups: Into how many groups of like length a batch is divided at most; see `group_by_length`.
        micro_batch_size: Most pairs in a group: larger ones are split evenly. `None`: any number.
        part_mix: Probability that a motion takes body parts from another; see `augmentation.mix_parts`.
        is_even: Cut the sorted batch evenly, so that the number of groups depends on the size of the batch alone: several
            processes must run the model equally often.

    Raises:
        ValueError: If a number is impossible, or parts are to be mixed of raw joints.
    """

    def __init__(
        self,
        processor: MotionTextProcessor,
        num_groups: int = 1,
        micro_batch_size: int | None = None,
        part_mix: float = 0.0,
        is_even: bool = False,
    ) -> None:
        for name, value in (("num_groups", num_groups), ("micro_batch_size", micro_batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if not 0 <= part_mix <= 1:
            raise ValueError(f"part_mix={part_mix} must be a probability, from 0 to 1")
        if part_mix and processor.feature_extractor.representation != "patches":
            raise ValueError(
                f"part_mix={part_mix} mixes the body parts of motion patches, but the processor has representation="
                f"{processor.feature_extractor.representation!r}, which has none; set augment_part_mix=0 or "
                "representation=patches"
            )
        self.processor = processor
        self.num_groups = num_groups
        self.micro_batch_size = micro_batch_size
        self.part_mix = part_mix
        self.is_even = is_even

    def __call__(self, items: list[dict[str, Any]]) -> PairBatch:
        patches = self.processor.feature_extractor
        batch = crop_and_pad(patches, items)
        num_frames = [min(item["motion"].joints.shape[-3], patches.max_frames) for item in items]
        values, targets = batch["motion_values"], None
        if self.part_mix:
            generator = np.random.default_rng([item["seed"] for item in items])
            targets = mix_parts(values, num_frames, patches.patch_size, self.part_mix, generator)
        windows = [num_windows(number, patches.patch_size) for number in num_frames]
        is_cut = patches.padding == "longest" and "motion_attention_mask" in batch
        groups, order = [], []
        for chosen in self._divide(windows) if is_cut else self._split(range(len(items))):
            longest = max(windows[place] for place in chosen) if is_cut else values.shape[-2] // patches.patch_size
            group = BatchFeature({"motion_values": values[..., : longest * patches.patch_size, :][chosen]})
            if "motion_attention_mask" in batch:
                group["motion_attention_mask"] = batch["motion_attention_mask"][chosen, ..., :longest]
            groups.append(group)
            order += chosen
        texts = tokenize(self.processor, [items[place]["caption"] for place in order])
        sizes = [len(group["motion_values"]) for group in groups]
        for name, values in texts.items():
            for group, part in zip(groups, values.split(sizes), strict=True):
                group[name] = part
        return PairBatch(groups, torch.tensor(order), targets)

    def _divide(self, windows: Sequence[int]) -> list[list[int]]:
        """The places of each group in a batch of motions of these lengths."""
        if not self.is_even:
            return [part for run in group_by_length(windows, self.num_groups) for part in self._split(run)]
        fewest = min(self.num_groups, len(windows) // _SMALLEST_GROUP)
        return self._split(np.argsort(windows, kind="stable"), fewest)

    def _split(self, places: Any, fewest: int = 1) -> list[list[int]]:
        """Even parts of at most a micro-batch, and at least so many."""
        number = 1 if self.micro_batch_size is None else -(-len(places) // self.micro_batch_size)
        return [part.tolist() for part in np.array_split(places, max(number, fewest))]


def group_by_length(lengths: Sequence[int], num_groups: int, min_size: int = _SMALLEST_GROUP) -> list[list[int]]:
    """Divide a batch so that padding each group to its own longest costs least.

    Of all ways to cut the items, sorted by length, into at most `num_groups` runs, that with the smallest sum over the runs of
    their size times their longest length; of equally good ones that with the fewest runs.

    Args:
        lengths: Of each item, in windows.
        num_groups: Most groups; at least 1.
        min_size: Fewest items in a group, unless there are not so many.

    Returns:
        The items of each group, from the shortest to the longest.

    Raises:
        ValueError: If there are no items, or a number is below 1.
    """
    if not len(lengths) or num_groups < 1 or min_size < 1:
        raise ValueError(
            f"got {len(lengths)} items, num_groups={num_groups}, min_size={min_size}; expected at least 1 of each"
        )
    order = np.argsort(lengths, kind="stable")
    ordered = np.asarray(lengths)[order]
    total = len(ordered)
    # A cut between equal lengths is of use only where the group after it is as small as it may be: with a larger one, its first
    # item would cost less, or as much, before the cut. So cuts lie where the length changes, or a few smallest groups before.
    changes = [*np.flatnonzero(np.diff(ordered)) + 1, total]
    cuts = np.unique([0, total, *(change - back * min_size for change in changes for back in range(num_groups))])
    cuts = cuts[cuts >= 0]
    sizes = cuts - cuts[:, None]  # of a group from one cut to another
    costs = np.where((sizes >= min_size) | (sizes == total), sizes * ordered[cuts - 1], np.inf)
    least = [np.where(cuts == 0, 0.0, np.inf)]  # for each number of groups, what those up to each cut cost
    starts = []  # and the cut that the last of them begins at
    for _ in range(num_groups):
        paths = least[-1][:, None] + costs
        least.append(paths.min(axis=0))
        starts.append(paths.argmin(axis=0))
    number = int(np.argmin([part[-1] for part in least]))
    bounds = [len(cuts) - 1]
    for start in reversed(starts[:number]):
        bounds.append(int(start[bounds[-1]]))
    return [order[cuts[first] : cuts[last]].tolist() for first, last in pairwise(reversed(bounds))]


def crop_and_pad(processor: MotionPatchProcessor, items: Sequence[Mapping[str, Any]]) -> BatchFeature:
    """Patches of the `motion` of each item. What is too long is cropped at random, from the item's own `seed` alone, so that it
    does not depend on what else is in the batch.
    """
    motions = []
    for item in items:
        motion, most = item["motion"], processor.max_frames
        surplus = motion.joints.shape[-3] - most
        if surplus > 0:
            first = int(np.random.default_rng([item["seed"], surplus]).integers(surplus + 1))
            motion = motion._replace(joints=motion.joints[..., first : first + most, :, :])
        motions.append(motion)
    return processor.to_patches(motions, return_tensors="pt")


def tokenize(processor: MotionTextProcessor, captions: Sequence[str]) -> BatchFeature:
    """Token ids of captions, padded to the longest; cut at the tokenizer's limit (see `count_long_captions`)."""
    return processor(text=list(captions), return_tensors="pt", padding=True, truncation=True)


def count_long_captions(processor: MotionTextProcessor, captions: Sequence[str]) -> int:
    """How many captions the tokenizer's limit cuts."""
    limit = processor.tokenizer.model_max_length
    return sum(len(ids) > limit for ids in processor.tokenizer(list(captions), verbose=False)["input_ids"])


def make_loader(
    rows: Dataset, processor: MotionTextProcessor, run: RunArguments, num_processes: int = 1, process_index: int = 0
) -> DataLoader:
    """A loader over training pairs, which gives `PairBatch`es; call `loader.batch_sampler.set_epoch` before each pass.

    It leaves the random state of torch alone, so that a resumed run may begin it anew.

    Args:
        rows: A data set with the columns of `processing.corpora.load_motions`.
        processor: Prepares motions and captions.
        run: Says how.
        num_processes: How many processes share each batch.
        process_index: Which of them this is.

    Raises:
        BrokenSampleError: If a row has captions that cannot be used.
        ValueError: If a field of the run is impossible.
    """
    augmentation = Augmentation.from_run(run)
    dataset = MotionTextDataset(rows, processor, augmentation)
    sampler = PairBatchSampler(
        dataset.captions,
        batch_size=run.batch_size,
        seed=run.seed,
        unique_captions=run.unique_captions,
        alike=_labels(rows) if run.unique_labels else None,
        mirror=run.augment_mirror,
        first_caption=run.caption_choice == "first",
        kinds=_kinds(rows, run.batch_by),
        sources=rows["dataset"][:] if run.balance else None,
        balance=run.balance,
        lengths=_count_frames(rows, processor.feature_extractor),
        buckets=run.length_buckets,
        num_processes=num_processes,
        process_index=process_index,
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=Collator(
            processor, run.length_groups, run.micro_batch_size, augmentation.part_mix, is_even=num_processes > 1
        ),
        num_workers=run.num_workers,
        persistent_workers=run.num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(run.seed),
    )


def add_label_captions(rows: Dataset, template: str) -> Dataset:
    """Rows with the label of each, if it has one, put into a template as one more caption.

    Args:
        rows: A data set with the columns of `processing.corpora.load_motions`.
        template: Text with `{}` for the label, as `evaluation.zero_shot` takes it.

    Raises:
        BrokenSampleError: If a row has captions that cannot be used.
        ValueError: If the template has no place for a label, or no row has a label.
    """
    if template.count("{}") != 1:
        raise ValueError(f"label_caption={template!r} must hold {{}} once, where the label goes, as in 'A person {{}}.'")
    check_captions(rows)
    labels = rows["label"][:] if "label" in rows.column_names else []
    if not any(labels):
        raise ValueError(
            f"label_caption={template!r} makes captions of labels, but no motion has any; give the data a column `label`, or "
            "leave label_caption out"
        )
    captions = [
        [*texts, template.replace("{}", label)] if label else texts
        for texts, label in zip(rows["captions"][:], labels, strict=True)
    ]
    return rows.remove_columns("captions").add_column("captions", captions)


def _labels(rows: Dataset) -> list[tuple[str, str | None] | None]:
    """Label and style of each row; `None` for a row without a label."""
    if "label" not in rows.column_names or not any(rows["label"][:]):
        raise ValueError(
            "unique_labels keeps motions of one label apart, but no motion has any; give the data a column `label`, or leave "
            "unique_labels out"
        )
    labels = rows["label"][:]
    styles = rows["style"][:] if "style" in rows.column_names else [None] * len(labels)
    return [(label, style) if label else None for label, style in zip(labels, styles, strict=True)]


def _kinds(rows: Dataset, column: str | None) -> list[str] | None:
    """What each row is by a column; `None` without one."""
    if column is None:
        return None
    if column not in rows.column_names:
        raise ValueError(f"batch_by={column!r} is no column of the data; it has {', '.join(rows.column_names)}")
    return [str(value) for value in rows[column][:]]


def _count_frames(rows: Dataset, processor: MotionPatchProcessor) -> list[float]:
    """Frames of each row at the processor's rate, as far as it keeps them."""
    num_frames, fps = (np.asarray(rows[name][:], dtype=float) for name in ("num_frames", "fps"))
    with np.errstate(divide="ignore", invalid="ignore"):  # a broken row is named when it is drawn
        return np.minimum(np.ceil(num_frames * processor.fps / fps), processor.max_frames).tolist()
