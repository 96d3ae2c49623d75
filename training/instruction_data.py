"""Conversations about motion as batches to learn from."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from torch.utils.data import DataLoader
from transformers import BatchFeature

from ..processing.instructions import ClipReader, join_turns, make_instructions
from ..processing.mirroring import mirror_caption, mirror_joints
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from ..processing.processing_motionpatches import MotionPatchProcessor, ResolvedMotion
from .answering import check_references, parts_of, read_questions
from .augmentation import Augmentation
from .data import BrokenSampleError
from .question_sets import load_instructions
from .recipe import InstructionArguments
from .sampling import SeededBatchSampler, sort_within


# They change what is true of a motion: how long it lasts, how fast and how far it goes.
_UNTRUE = ("tempo", "scale", "crop")
#: Label of a token that is not to be learned.
IGNORED = -100


class ConversationKey(NamedTuple):
    """Which conversation, the seed of its augmentation, and whether it is mirrored."""

    row: int
    seed: int
    mirrored: bool


class ConversationSampler(SeededBatchSampler):
    """Shuffled batches of conversations.

    Args:
        lengths: Length of each, in any unit.
        batch_size: Conversations in a batch, of all processes together; the last one may be smaller.
        seed: Seed of shuffling and augmentation.
        mirror: Probability of taking the mirror image.
        buckets: Sort so many batches by length, so that a batch holds conversations of like length, which need little padding.
            Batches then come in random order. 1: do not.
        num_processes, process_index: As in `SeededBatchSampler`.

    Raises:
        ValueError: If there are fewer rows than processes, or the processes cannot share a batch equally.
    """

    def __init__(
        self,
        lengths: Sequence[float],
        batch_size: int,
        seed: int = 0,
        mirror: float = 0.0,
        buckets: int = 1,
        num_processes: int = 1,
        process_index: int = 0,
    ) -> None:
        if batch_size < 1 or batch_size % num_processes or len(lengths) < num_processes:
            raise ValueError(
                f"{num_processes} processes share each batch in equal parts; got batch_size={batch_size} and {len(lengths)} "
                "conversations. Choose a batch_size that is a multiple of the number of processes"
            )
        if not 0 <= mirror <= 1:
            raise ValueError(f"the probability of mirroring must be between 0 and 1, got {mirror}")
        if buckets < 1:
            raise ValueError(f"buckets={buckets} must be at least 1")
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self.mirror, self.buckets = mirror, buckets
        super().__init__(num_processes, process_index)

    def make_batches(self, epoch: int) -> list[list[ConversationKey]]:
        generator = np.random.default_rng([self.seed, epoch])
        number = len(self.lengths)
        seeds = generator.integers(2**31, size=number).tolist()
        mirrored = (generator.random(number) < self.mirror).tolist()
        order = generator.permutation(number)
        if self.buckets > 1:
            order = sort_within(order, self.lengths, self.buckets * self.batch_size)
        keys = [ConversationKey(row, seeds[row], mirrored[row]) for row in order.tolist()]
        batches = [keys[first : first + self.batch_size] for first in range(0, len(keys), self.batch_size)]
        batches = [batch[: len(batch) - len(batch) % self.num_processes] for batch in batches]
        batches = [batch for batch in batches if batch]
        return batches if self.buckets == 1 else [batches[place] for place in generator.permutation(len(batches))]

    def count_left_over(self) -> int:
        """Conversations of this epoch that several processes cannot share equally."""
        return len(self.lengths) - sum(len(batch) for batch in self._whole)


class Conversation(NamedTuple):
    """Messages in which motions stand without their joints, the prepared motions in their order, and the category."""

    messages: list[dict[str, Any]]
    motions: list[ResolvedMotion]
    category: str


class ConversationDataset(torch.utils.data.Dataset):
    """Conversations with their motions prepared. An item is asked for by a `ConversationKey`.

    Args:
        instructions: Rows as `make_instructions` gives them.
        reader: Has the motions that they refer to.
        processor: Prepares the motions.
        augmentation: Changes to the motions; default none.
        video_folder: What the paths of videos start from.

    Raises:
        ValueError: If a conversation has no answer, or refers to a motion or video that is not there.
    """

    def __init__(
        self,
        instructions: Dataset,
        reader: ClipReader,
        processor: MotionPatchProcessor,
        augmentation: Augmentation | None = None,
        video_folder: Path | None = None,
    ) -> None:
        check_references(read_questions(instructions), reader, video_folder)
        self.rows, self.reader, self.processor = instructions, reader, processor
        self.augmentation = augmentation or Augmentation()
        self.video_folder = video_folder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: ConversationKey) -> Conversation:
        row = self.rows[key.row]
        motions: list[ResolvedMotion] = []
        messages = []
        generator = np.random.default_rng(key.seed)
        try:
            for message in row["messages"]:
                content = message["content"]
                parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
                parts = [self._part(part, motions, key.mirrored, generator) for part in parts]
                messages.append({"role": message["role"], "content": parts})
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise BrokenSampleError(
                f"question {row['id']!r} (row {key.row}, counted from 0) cannot be used: {error}. Mend it, or remove it"
            ) from error
        return Conversation(messages, motions, row["category"])

    def _part(
        self, part: Mapping[str, Any], motions: list[ResolvedMotion], mirrored: bool, generator: np.random.Generator
    ) -> dict[str, Any]:
        """A part of a message as the chat template takes it; its motion is put to the others."""
        if part["type"] == "motion":
            motion = self.processor.resolve([self.reader.read(part["motion"])])[0]
            if mirrored:
                motion = motion._replace(joints=mirror_joints(motion.joints, motion.skeleton))
            motions.append(self.augmentation.prepare(self.processor, motion, generator))
            return {"type": "motion", "motion": part["motion"]}
        if part["type"] == "video":
            if mirrored:
                raise ValueError("it has a video, which augment_mirror cannot mirror; set augment_mirror=0")
            return {"type": "video", "video": str((self.video_folder or Path()) / part["video"]["path"])}
        return {"type": "text", "text": mirror_caption(part["text"]) if mirrored else part["text"]}


class ConversationBatch(NamedTuple):
    """Inputs of MotionLlamo with labels, in micro-batches.

    Attributes:
        parts: The micro-batches; labels are -100 where nothing is to be learned: everywhere but in answers.
        categories: Of each conversation.
    """

    parts: list[BatchFeature]
    categories: list[str]

    @property
    def num_labels(self) -> int:
        """Tokens to learn; the first of a text has nothing before it that it could follow from."""
        return sum(int((part["labels"][:, 1:] != IGNORED).sum()) for part in self.parts)

    def to(self, device: torch.device | str) -> "ConversationBatch":
        """The batch on a device."""
        return ConversationBatch([part.to(device) for part in self.parts], self.categories)


class ConversationCollator:
    """Makes a `ConversationBatch` of items.

    Args:
        processor: Of the model.
        micro_batch_size: Most conversations in a part; default all in one.
    """

    def __init__(self, processor: MotionLlamoProcessor, micro_batch_size: int | None = None) -> None:
        if micro_batch_size is not None and micro_batch_size < 1:
            raise ValueError(f"micro_batch_size={micro_batch_size} must be at least 1")
        self.processor, self.micro_batch_size = processor, micro_batch_size

    def __call__(self, items: list[Conversation]) -> ConversationBatch:
        size = self.micro_batch_size or len(items)
        parts = [self._encode(items[first : first + size]) for first in range(0, len(items), size)]
        return ConversationBatch(parts, [item.category for item in items])

    def _encode(self, items: Sequence[Conversation]) -> BatchFeature:
        motions = [motion for item in items for motion in item.motions]
        encoded = None
        if motions:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r".* longer than max_frames=")  # counted at the start of a run
                encoded = self.processor.feature_extractor.to_patches(
                    motions, return_tensors="np", return_attention_mask=True
                )
        batch = self.processor.apply_chat_template(
            [item.messages for item in items],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            return_assistant_tokens_mask=True,
            encoded_motions=encoded,
        )
        is_learned = torch.as_tensor(batch.pop("assistant_masks")).bool() & batch["attention_mask"].bool()
        batch["labels"] = batch["input_ids"].masked_fill(~is_learned, IGNORED)
        return batch


class InstructionData(NamedTuple):
    """Questions of each split, the motions that they refer to, and the folder that the paths of videos start from."""

    questions: DatasetDict
    readers: dict[str, ClipReader]
    video_folder: Path | None = None


def make_instruction_data(data: DatasetDict, run: InstructionArguments) -> InstructionData:
    """Questions about the motions of the splits `train` and `validation`, each made of its own split alone.

    Raises:
        ValueError: If a split gives no question, or none of a category that the recipe names.
    """
    numbers = {"train": run.num_questions, "validation": run.num_validation_questions}
    questions = {}
    for split in [name for name in numbers if name in data]:
        try:
            questions[split] = make_instructions(
                data[split], numbers[split], run.categories, run.seed, clips=(2, run.most_clips)
            )
        except ValueError as error:
            raise ValueError(f"split {split!r}: {error}") from error
    questions["train"] = join_turns(questions["train"], run.most_turns, run.seed)
    return InstructionData(DatasetDict(questions), {split: ClipReader(data[split]) for split in questions})


def load_instruction_data(folder: Path, motions: DatasetDict, video_folder: Path | None = None) -> InstructionData:
    """Questions of a folder, see `question_sets.load_instructions`, about motions of the same splits.

    Args:
        folder: The folder.
        motions: What the questions refer to.
        video_folder: What the paths of videos start from; default the folder.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no questions.
        ValueError: If it has no training questions, or questions of a split of which there are no motions.
    """
    questions = {split: rows for split, rows in load_instructions(folder).items() if split != "test"}
    alone = sorted(set(questions) - set(motions))
    if "train" not in questions or alone:
        raise ValueError(
            f"{str(folder)!r} has questions of the splits {sorted(questions)}, the motions are of {sorted(motions)}; expected "
            "training questions, and motions of each split"
        )
    return InstructionData(
        DatasetDict(questions), {split: ClipReader(motions[split]) for split in questions}, video_folder or folder
    )


def make_loader(
    data: InstructionData, processor: MotionLlamoProcessor, run: InstructionArguments, num_processes: int, process_index: int
) -> DataLoader:
    """A loader over training conversations, which gives `ConversationBatch`es; it leaves the random state of torch alone.

    Raises:
        ValueError: If an augmentation would make answers untrue, or a conversation cannot be used.
    """
    changed = [f"augment_{name}" for name in _UNTRUE if getattr(run, f"augment_{name}")]
    if changed:
        raise ValueError(
            f"{', '.join(changed)} change how long, how fast or how far a motion goes, so that answers would no longer be true; "
            "leave them at 0"
        )
    patches = processor.feature_extractor
    augmentation = Augmentation.from_run(run)
    reader = data.readers["train"]
    dataset = ConversationDataset(data.questions["train"], reader, patches, augmentation, data.video_folder)
    seconds = [sum(map(reader.seconds, motions_of(row["messages"]))) for row in data.questions["train"]]
    sampler = ConversationSampler(
        seconds, run.batch_size, run.seed, run.augment_mirror, run.length_buckets, num_processes, process_index
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=ConversationCollator(processor, run.micro_batch_size),
        num_workers=run.num_workers,
        persistent_workers=run.num_workers > 0,
        generator=torch.Generator().manual_seed(run.seed),
    )


def motions_of(messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The references to motions in messages."""
    return list(parts_of(list(messages), "motion"))


def said(row: Mapping[str, Any]) -> list[str]:
    """All texts of a conversation."""
    plain = [message["content"] for message in row["messages"] if isinstance(message["content"], str)]
    return [*plain, *parts_of(row["messages"], "text")]


def texts_of(instructions: Dataset) -> list[str]:
    """All that is said in conversations, each text once."""
    return list(dict.fromkeys(text for row in instructions for text in said(row)))
