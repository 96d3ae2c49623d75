"""MotionLlamo answers questions about motions: with the motion that a question is about, with another one, or with none."""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.instructions import ClipReader
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from ..processing.video_files import VideoReader


#: With which motion a question is asked. A model that answers as well with the last two as with the first knows language only.
MOTIONS = ("real", "shuffled", "zeroed")
#: With which video.
VIDEOS = ("real", "zeroed")


class Question(NamedTuple):
    """A conversation that ends before its last answer.

    Attributes:
        id: Name of the question.
        category: Its category.
        messages: All before the last answer; motions and videos by reference.
        motions: The references, in the order of the messages.
        answer: The last answer, which is to be found.
    """

    id: str
    category: str
    messages: list[Mapping[str, Any]]
    motions: list[Mapping[str, Any]]
    answer: str

    @property
    def text(self) -> str:
        """The words of the last message."""
        return text_of(self.messages[-1])

    @property
    def videos(self) -> list[Any]:
        """The videos, in the order of the messages."""
        return list(parts_of(self.messages, "video"))


def read_questions(instructions: Iterable[Mapping[str, Any]]) -> list[Question]:
    """The questions of conversations as `processing.instructions.make_instructions` gives them.

    Args:
        instructions: A data set or a list of rows with `id`, `category` and `messages`, the last of which is an answer.

    Raises:
        ValueError: If there are none, or a conversation does not end with a question and its answer.
    """
    questions, broken = [], []
    for row in instructions:
        messages = list(row["messages"] or [])
        roles = [message["role"] for message in messages[-2:]]
        answer = text_of(messages[-1]) if messages else ""
        if roles != ["user", "assistant"] or not answer:
            broken.append(f"{row['id']!r} ends with {' and '.join(roles) or 'nothing'}{'' if answer else ', and no text'}")
        else:
            prompt = messages[:-1]
            questions.append(Question(row["id"], row["category"], prompt, list(parts_of(prompt, "motion")), answer))
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(broken) + len(questions)} conversations have no answer to judge by: {broken[0]}; the last "
            "two messages must be of user and assistant, and the last one hold text"
        )
    if not questions:
        raise ValueError("there are no questions to answer")
    return questions


def answer_questions(
    model: MotionLlamoForConditionalGeneration,
    processor: MotionLlamoProcessor,
    instructions: Iterable[Mapping[str, Any]],
    reader: ClipReader,
    motion: str = "real",
    video: str = "real",
    video_folder: str | Path | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> list[str]:
    """The likeliest answers, token by token, to the last question of each conversation; earlier turns are in the prompt.

    Args:
        model: The model; it is put into evaluation mode.
        processor: Its processor.
        instructions: Rows as `read_questions` takes them.
        reader: Has the motions that they refer to.
        motion: One of `MOTIONS`. `"shuffled"`: each question gets the motion of another question of its category, see
            `shuffle_motions`. `"zeroed"`: `motion_values` are zero, while their mask still says how long the motion is.
        video: One of `VIDEOS`. `"zeroed"`: the pixels are zero.
        video_folder: What the paths of videos start from.
        batch_size: Questions in one batch; it changes no answer beyond rounding.
        max_new_tokens: Longest answer.
        seed: Of the shuffling.
        progress: Show a progress bar.

    Returns:
        An answer for each row, in their order, without special tokens.

    Warns:
        UserWarning: If motions are longer than the processor takes, or answers did not end; with their number.

    Raises:
        FileNotFoundError: If a video is not there.
        ValueError: If there are no questions, one has no answer or refers to motions that are not there, or a category has not
            enough motions to shuffle.
    """
    for name, kind, known in (("motion", motion, MOTIONS), ("video", video, VIDEOS)):
        if kind not in known:
            raise ValueError(f"{name}={kind!r} is unknown; choose one of {', '.join(known)}")
    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"got batch_size={batch_size}, max_new_tokens={max_new_tokens}; expected at least 1 of each")
    questions = read_questions(instructions)
    check_references(questions, reader, video_folder)
    references = shuffle_motions(questions, seed) if motion == "shuffled" else [question.motions for question in questions]
    lengths = _count_frames(references, reader, processor.feature_extractor)
    order = sorted(range(len(questions)), key=lambda index: sum(lengths[index]))  # alike lengths need little padding
    model.eval()
    ends = _end_tokens(model, processor)
    answers, unfinished = [""] * len(questions), 0
    for start in tqdm(
        range(0, len(order), batch_size), desc=f"answers, {motion} motion", disable=None if progress else True, leave=False
    ):
        chosen = order[start : start + batch_size]
        conversations = [_filled(questions[index].messages, references[index], reader, video_folder) for index in chosen]
        inputs = _encode(processor, conversations).to(model.device, dtype=model.dtype)
        for name, kind in (("motion_values", motion), ("pixel_values_videos", video)):
            if kind == "zeroed" and name in inputs:
                inputs[name] = torch.zeros_like(inputs[name])
        tokens: Any = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=ends,
            pad_token_id=processor.tokenizer.pad_token_id,
        )
        said = tokens[:, inputs["input_ids"].shape[1] :]
        unfinished += int((~torch.isin(said, said.new_tensor(ends)).any(dim=1)).sum())
        for index, text in zip(chosen, processor.tokenizer.batch_decode(said, skip_special_tokens=True), strict=True):
            answers[index] = text.strip()
    if unfinished:
        warnings.warn(
            f"{unfinished} of {len(questions)} answers to {motion} motion did not end within max_new_tokens={max_new_tokens} and "
            "were cut there",
            stacklevel=2,
        )
    return answers


def shuffle_motions(questions: Sequence[Question], seed: int = 0) -> list[list[Mapping[str, Any]]]:
    """For each question the motions of another one of its category, with as many motions, and none that is its own.

    Motions cut from the same recordings, in the same order, count as the same one. The motions of all questions are dealt out
    anew: each is asked about as often as before.

    Args:
        questions: The questions.
        seed: Of the draw.

    Raises:
        ValueError: If more than half of the questions of a category are about one motion.
    """
    groups = defaultdict(list)
    for place, question in enumerate(questions):
        if question.motions:
            groups[question.category, len(question.motions)].append(place)
    shuffled: list[list[Mapping[str, Any]]] = [[] for _ in questions]
    for number, ((category, num_motions), places) in enumerate(sorted(groups.items())):
        kinds = _alike([[_key(motion) for motion in questions[place].motions] for place in places])
        most = int(np.bincount(kinds).max())
        if 2 * most > len(places):
            raise ValueError(
                f"{most} of {len(places)} questions of category {category!r} with {num_motions} motions each are about one "
                "motion, so that they cannot all get another one; add questions about other motions, or leave the category or "
                "shuffled motion out"
            )
        generator = np.random.default_rng([seed, number])
        rank = generator.permutation(kinds.max() + 1)[kinds]
        order = np.lexsort((generator.permutation(len(places)), rank))  # questions about one motion side by side
        for place, source in zip(order, np.roll(order, -most), strict=True):  # so far on stands another motion
            shuffled[places[place]] = questions[places[source]].motions
    return shuffled


def check_references(questions: Sequence[Question], reader: ClipReader, video_folder: str | Path | None = None) -> None:
    """Look whether all motions and videos are there that questions refer to.

    Raises:
        FileNotFoundError: If a video is not there.
        ValueError: If a motion is not there, or there are videos, but no folder of them.
    """
    missing = [
        (question.id, clip["id"])
        for question in questions
        for motion in question.motions
        for clip in motion["clips"]
        if clip["id"] not in reader.places
    ]
    if missing:
        raise ValueError(
            f"{len({name for name, _ in missing})} of {len(questions)} questions refer to motions that the data does not have, "
            f"the first, {missing[0][0]!r}, to {missing[0][1]!r}; the data has {len(reader.places)} motions: pass those that the "
            "questions were made of"
        )
    for question in questions:
        for video in question.videos:
            _video_file(video, video_folder)


def text_of(message: Mapping[str, Any]) -> str:
    """The words of a message, whose content is a text or a list of parts."""
    content = message["content"]
    if isinstance(content, str):
        return content.strip()
    return " ".join(part["text"] for part in content or [] if part["type"] == "text" and part["text"]).strip()


def parts_of(messages: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Any]:
    """All motions, texts or videos of messages."""
    for message in messages:
        if not isinstance(message["content"], str):
            yield from (part[kind] for part in message["content"] if part["type"] == kind)


def _filled(
    messages: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    reader: ClipReader,
    video_folder: str | Path | None,
) -> list[dict[str, Any]]:
    """Messages with the motions of references, in their order, in place of their own, and with the files of their videos."""
    motions = iter(references)

    def fill(part: Mapping[str, Any]) -> dict[str, Any]:
        kind = part["type"]
        if kind == "motion":
            return {"type": kind, kind: reader.read(next(motions))}
        return {"type": kind, kind: _video_file(part[kind], video_folder) if kind == "video" else part[kind]}

    contents = [message["content"] for message in messages]
    filled = [content if isinstance(content, str) else [fill(part) for part in content] for content in contents]
    return [{"role": message["role"], "content": content} for message, content in zip(messages, filled, strict=True)]


def _video_file(video: Any, folder: str | Path | None) -> Any:
    """The file of `{"path": …}`; frames as they are."""
    if not isinstance(video, Mapping):
        return video
    if folder is None:
        raise ValueError(
            f"a question has the video {video['path']!r}; pass video_folder=…, the folder that it is relative to"
        )
    return str(VideoReader(folder).path(video))


def _encode(processor: MotionLlamoProcessor, conversations: list[list[dict[str, Any]]]) -> Any:
    """Inputs of `generate`, padded on the left, where answers do not go on."""
    tokenizer = processor.tokenizer
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".* longer than max_frames=")  # counted by `_count_frames`
            return processor.apply_chat_template(
                conversations, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", padding=True
            )
    finally:
        tokenizer.padding_side = side


def _end_tokens(model: MotionLlamoForConditionalGeneration, processor: MotionLlamoProcessor) -> list[int]:
    """Tokens that end an answer: the tokenizer's, and those of the model's own generation settings."""
    own: Any = model.generation_config.eos_token_id
    found = {processor.tokenizer.eos_token_id, *(own if isinstance(own, (list, tuple)) else [own])} - {None}
    if not found:
        raise ValueError("neither the tokenizer nor the model's generation_config has an eos_token, so that no answer ends")
    return sorted(found)


def _key(motion: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(clip["id"] for clip in motion["clips"])


def _alike(keys: Sequence[Sequence[tuple[str, ...]]]) -> np.ndarray:
    """For each question a number that all have that share a motion with it, or with one that does. Shape (N,)."""
    numbers: dict[tuple[str, ...], int] = {}
    pairs = [(row, numbers.setdefault(key, len(numbers))) for row, own in enumerate(keys) for key in own]
    rows, columns = np.array(pairs).T
    size = len(keys) + len(numbers)
    graph = coo_array((np.ones(len(pairs)), (rows, len(keys) + columns)), shape=(size, size))
    return np.unique(connected_components(graph, directed=False)[1][: len(keys)], return_inverse=True)[1]


def _count_frames(references: Sequence[Sequence[Mapping[str, Any]]], reader: ClipReader, patches: Any) -> list[list[int]]:
    """Frames of each motion at the processor's rate; those that are too long for it are counted in a warning."""
    lengths = [[math.ceil(reader.seconds(motion) * patches.fps - 1e-6) for motion in motions] for motions in references]
    total = sum(map(len, lengths))
    too_long = sum(one > patches.max_frames for motions in lengths for one in motions)
    if too_long:
        warnings.warn(patches.describe_cut(too_long, total, patches.truncation), stacklevel=3)
    return lengths
