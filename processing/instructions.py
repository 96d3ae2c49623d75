"""Conversations about motion, made from captioned and labelled motions: questions with short answers that can be checked.

A motion stands in a conversation by reference: `{"clips": [{"id", "start", "end"}]}`, pieces of motions of one skeleton, one
after the other; `ClipReader` makes joints of it. A video stands there as `{"path"}`, relative to the folder of the data;
`video_files.VideoReader` makes frames of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Features, Value
from datasets import List as ListOf

from .motion_facts import MotionFacts, facts_of, joints_of
from .skeletons import get_skeleton


class Piece(NamedTuple):
    """Frames from `start` up to `end` of a row, at the row's frame rate."""

    row: int
    start: int
    end: int


class Item(NamedTuple):
    """A question about pieces of motion one after the other, its answer, and, beside a video, what that shows."""

    pieces: tuple[Piece, ...]
    question: str
    answer: str
    scene: Any = None


#: How each category asks; `{…}` is filled in.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "caption": ("Describe the motion.", "What happens in this motion?", "Write a caption for this motion."),
    "action": ("Which action is this?", "What is the person doing?", "Name the action."),
    "side": ("Which side of the body acts?", "Is it done with the left, the right, or both?", "Which arm or leg is used?"),
    "direction": ("In which direction does the person go?", "Which way does the person travel?"),
    "turn": ("Which way does the person turn?", "Does the person turn left, right, or go straight?"),
    "repetitions": ("How many times is it done?", "How often does the person repeat it?", "Count the repetitions."),
    "order": ("Which action comes {place}?", "What does the person do {place}?"),
    "segment": ("What does the person do after this: {action}?", "Which action follows this one: {action}?"),
    "duration": ("How many seconds does it last?", "How long is the motion, in seconds?"),
    "speed": ("How fast does the person move about?", "Is the person staying in place, slow, or fast?"),
    "next": (
        "This is the first half. Which action is it going to be?",
        "The motion stops halfway. Which action does it become?",
    ),
    "sports": ("Which sport or exercise is this from?", "Name the sport or exercise."),
    "yes_no": ("Is this the action: {action}?", "Does the person do this: {action}?"),
}
_PLACES = ("first", "last")
_FADE = 5  # frames over which one piece turns into the next
#: The columns of questions; `needs` is `"motion"`, `"video"` or `"both"`: without what nobody can answer.
QUESTION_FEATURES = Features(
    {
        "id": Value("string"),
        "category": Value("string"),
        "skeleton": Value("string"),
        "needs": Value("string"),
        "messages": ListOf(
            {
                "role": Value("string"),
                "content": ListOf(
                    {
                        "type": Value("string"),
                        "text": Value("string"),
                        "motion": {"clips": ListOf({"id": Value("string"), "start": Value("int32"), "end": Value("int32")})},
                        "video": {"path": Value("string")},
                    }
                ),
            }
        ),
    }
)


def make_instructions(
    rows: Dataset,
    num: int,
    categories: Sequence[str] | None = None,
    seed: int = 0,
    clips: tuple[int, int] = (2, 4),
    max_seconds: float | None = None,
) -> Dataset:
    """Turn motions into questions with answers.

    In each category every answer is given equally often, as far as there are motions for it, and in `yes_no` every action is
    asked about as often where it is so as where it is not: from the language alone an answer can only be guessed.

    Args:
        rows: Motions with the columns of `corpora.load_motions`. Questions about a test split are made of that split alone.
        num: Questions in each category at most.
        categories: Out of `QUESTIONS`; default those that the motions give any of.
        seed: Seed of all that is drawn.
        clips: Fewest and most motions one after the other, of questions about order and segments.
        max_seconds: Leave out motions that are longer.

    Returns:
        Rows with `id`, `category`, `skeleton`, `needs` and `messages`: the user's, with a motion by reference and a question, and
        the answer.

    Raises:
        ValueError: If a category is unknown or impossible with these motions, they give no question at all, or a number is out of
            range.
    """
    unknown = sorted(set(categories or ()) - set(QUESTIONS))
    if unknown:
        raise ValueError(f"unknown categories {unknown}; known: {', '.join(QUESTIONS)}")
    if num < 1 or not 2 <= clips[0] <= clips[1]:
        raise ValueError(f"got num={num}, clips={clips}; expected at least one question, and at least 2 clips, fewest first")
    arrays = rows.with_format("numpy", columns=["joints"], output_all_columns=True)
    facts = [facts_of(row) for row in arrays]
    kept = [row for row, fact in enumerate(facts) if max_seconds is None or fact.seconds <= max_seconds]
    if not kept:
        raise ValueError(f"of {len(rows)} motions none is at most {max_seconds} s long")
    source = _Source(rows, facts, kept, clips)
    result: list[dict[str, Any]] = []
    for number, category in enumerate(QUESTIONS):
        if categories is not None and category not in categories:
            continue
        generator = np.random.default_rng([seed, number])
        items = balance(_MAKERS[category](source, category, generator), num, generator)
        if not items and categories is not None:
            raise ValueError(f"these {len(kept)} motions give no question of category {category!r} with two answers or more")
        result += [_to_row(source, category, index, item) for index, item in enumerate(items)]
    if not result:
        raise ValueError(
            f"these {len(kept)} motions give no question that has two answers or more; give them captions or labels, or add "
            "motions"
        )
    return Dataset.from_list(result, features=QUESTION_FEATURES)


def join_turns(instructions: Dataset, most: int, seed: int = 0) -> Dataset:
    """Put questions about one motion into one conversation, in which the motion stands once.

    Questions about a motion come in random order. What has several motions, several turns, or no motion stays as it is.

    Args:
        instructions: Rows as `make_instructions` gives them.
        most: Questions in a conversation at most; where there are more, they are divided evenly.
        seed: Of the order.

    Returns:
        Rows with the same columns; id, category and needs of a joined one are those of its first question.

    Raises:
        ValueError: If `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"most={most}: a conversation has at least one question")
    generator = np.random.default_rng(seed)
    alike: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, row in enumerate(instructions):
        alike[_motion_key(row["messages"]) or number].append(row)
    joined = []
    for rows in alike.values():
        order = generator.permutation(len(rows))
        for part in np.array_split(order, -(-len(rows) // most)):
            first, *others = (rows[place] for place in part)
            later = [message for row in others for message in _without_motion(row["messages"])]
            joined.append({**first, "messages": [*first["messages"], *later]})
    return Dataset.from_list(joined, features=instructions.features)


def _motion_key(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, ...] | None:
    """What is the same for questions about the same motion; `None` where there is not one question about one motion alone."""
    parts = [part for message in messages for part in message["content"]]
    if (
        len(messages) != 2
        or [part["type"] for part in parts].count("motion") != 1
        or any(p["type"] == "video" for p in parts)
    ):
        return None
    clips = next(part["motion"]["clips"] for part in parts if part["type"] == "motion")
    return tuple((clip["id"], clip["start"], clip["end"]) for clip in clips)


def _without_motion(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**message, "content": [p for p in message["content"] if p["type"] != "motion"]} for message in messages]


class ClipReader:
    """Joints of motions by reference.

    Args:
        rows: The motions that conversations refer to by their `id`.

    Raises:
        ValueError: If two motions have one id.
    """

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows.with_format("numpy", columns=["joints"], output_all_columns=True)
        ids, self._fps = rows["id"][:], rows["fps"][:]
        self.places = {name: place for place, name in enumerate(ids)}
        if len(self.places) < len(ids):
            raise ValueError(f"{len(ids) - len(self.places)} motions have an id that another one has; ids must be unique")

    def seconds(self, motion: Mapping[str, Any]) -> float:
        """How long the motion of `{"clips": […]}` lasts, without reading it."""
        places = [self.places[clip["id"]] for clip in motion["clips"]]
        pieces = zip(motion["clips"], places, strict=True)
        return sum((clip["end"] - clip["start"]) / self._fps[row] for clip, row in pieces)

    def read(self, motion: Mapping[str, Any]) -> dict[str, Any]:
        """A motion as `MotionPatchProcessor` takes it: `{"joints", "skeleton", "fps", "unit"}` of `{"clips": […]}`.

        Raises:
            KeyError: If there is no motion of an id.
            ValueError: If pieces are of several skeletons or frame rates, or a piece is empty or ends after its motion.
        """
        parts, kinds = [], set()
        for clip in motion["clips"]:
            if clip["id"] not in self.places:
                raise KeyError(f"no motion has the id {clip['id']!r}; the data has {len(self.places)} others")
            row = self.rows[self.places[clip["id"]]]
            if not 0 <= clip["start"] < clip["end"] <= row["num_frames"]:
                raise ValueError(
                    f"frames {clip['start']} to {clip['end']} of {clip['id']!r} are none of its: it has {row['num_frames']}"
                )
            parts.append(joints_of(row)[clip["start"] : clip["end"]])
            kinds.add((row["skeleton"], float(row["fps"])))
        if len(kinds) != 1:
            raise ValueError(f"pieces of one motion need one skeleton and frame rate, got {sorted(kinds)}")
        skeleton, fps = kinds.pop()
        return {"joints": join_motions(parts, skeleton), "skeleton": skeleton, "fps": fps, "unit": "metres"}


def join_motions(parts: Sequence[np.ndarray], skeleton: str) -> np.ndarray:
    """Motions one after the other: each begins where the one before ends, and fades in over a few frames.

    Args:
        parts: Joints (T, J, 3) in metres, of one skeleton.
        skeleton: Its name.

    Returns:
        Shape (ΣT, J, 3).
    """
    body = get_skeleton(skeleton)
    ground = [axis for axis in range(3) if axis != "xyz".index(body.up_axis[-1])]
    joined = [np.asarray(parts[0])]
    for part in parts[1:]:
        part, last = np.array(part), joined[-1][-1]
        part[..., ground] += last[body.pelvis, ground] - part[0, body.pelvis, ground]
        length = min(_FADE, len(part))
        weights = ((np.arange(length) + 1) / (length + 1))[:, None, None]
        part[:length] = weights * part[:length] + (1 - weights) * last
        joined.append(part)
    return np.concatenate(joined)


class _Source:
    """The motions that questions are made of."""

    def __init__(self, rows: Dataset, facts: Sequence[MotionFacts], kept: Sequence[int], clips: tuple[int, int]) -> None:
        self.facts, self.kept, self.clips = facts, kept, clips
        self.ids, self.captions = rows["id"][:], rows["captions"][:]
        self.skeletons, self.frames = rows["skeleton"][:], rows["num_frames"][:]
        self.sources = rows["dataset"][:] if "dataset" in rows.column_names else [""] * len(rows)

    def whole(self, row: int) -> Piece:
        return Piece(row, 0, int(self.frames[row]))

    def known(self, name: str) -> list[tuple[int, Any]]:
        """Rows whose fact of that name is known, and it."""
        found = ((row, getattr(self.facts[row], name)) for row in self.kept)
        return [(row, value) for row, value in found if value is not None]


_Maker = Callable[[_Source, str, np.random.Generator], list[Item]]


def _ask(category: str, generator: np.random.Generator, **filled: str) -> str:
    forms = QUESTIONS[category]
    return forms[generator.integers(len(forms))].format(**filled)


def _about_fact(name: str) -> _Maker:
    def make(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
        return [Item((source.whole(row),), _ask(category, generator), str(value)) for row, value in source.known(name)]

    return make


def _captions(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    items = []
    for row in source.kept:
        texts = source.captions[row]
        if texts:
            items.append(Item((source.whole(row),), _ask(category, generator), texts[generator.integers(len(texts))]))
    return items


def _duration(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    items = []
    for row in source.kept:
        seconds = source.facts[row].seconds
        if abs(seconds - round(seconds)) <= 0.35 and round(seconds) >= 1:  # not halfway between two answers
            items.append(Item((source.whole(row),), _ask(category, generator), str(round(seconds))))
    return items


def _first_half(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    return [
        Item((Piece(row, 0, max(int(source.frames[row]) // 2, 2)),), _ask(category, generator), action)
        for row, action in source.known("action")
    ]


def _yes_no(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    known = [(row, action, source.sources[row]) for row, action in source.known("action")]
    return [
        Item((source.whole(row),), _ask(category, generator, action=action), "yes" if is_so else "no")
        for row, action, is_so in claim_actions(known, generator)
    ]


def claim_actions(known: Iterable[tuple[int, str, str]], generator: np.random.Generator) -> Iterator[tuple[int, str, bool]]:
    """Each action where it is so, and as often where it is another of the same data set, the most alike in words first.

    Args:
        known: Rows with their action and data set.
        generator: What others are drawn with.

    Yields:
        Row, action, and whether it is so.
    """
    by_source = defaultdict(list)
    for row, action, name in known:
        by_source[name].append((row, action))
    for rows in by_source.values():
        actions = sorted({action for _, action in rows})
        if len(actions) < 2:
            continue
        near = {action: _alike(action, actions) for action in actions}
        for row, action in rows:
            yield row, action, True
            others = [other for other in actions if action in near[other]] or [other for other in actions if other != action]
            yield row, others[generator.integers(len(others))], False


def _alike(action: str, actions: Iterable[str], num: int = 3) -> set[str]:
    """The actions with the most words in common."""
    words = set(action.split())
    others = sorted(
        (other for other in actions if other != action), key=lambda other: (-len(words & set(other.split())), other)
    )
    return set(others[:num])


def _order(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    items = []
    for pieces, actions in _chains(source, generator):
        place = _PLACES[generator.integers(len(_PLACES))]
        items.append(Item(pieces, _ask(category, generator, place=place), actions[0 if place == "first" else -1]))
    return items


def _segment(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    items = []
    for pieces, actions in _chains(source, generator):
        before = int(generator.integers(len(actions) - 1))
        items.append(Item(pieces, _ask(category, generator, action=actions[before]), actions[before + 1]))
    return items


def _chains(source: _Source, generator: np.random.Generator) -> list[tuple[tuple[Piece, ...], list[str]]]:
    """Motions of different actions, one after the other; each motion is once the first of a chain."""
    by_kind = defaultdict(list)
    for row, action in source.known("action"):
        by_kind[source.sources[row], source.skeletons[row]].append((row, action))
    chains = []
    for rows in by_kind.values():
        for start, action in rows:
            wanted = int(generator.integers(source.clips[0], source.clips[1] + 1))
            chosen, actions = [start], [action]
            for place in generator.permutation(len(rows))[: 8 * wanted]:
                row, other = rows[place]
                if len(chosen) < wanted and other not in actions:
                    chosen.append(row)
                    actions.append(other)
            if len(chosen) >= source.clips[0]:
                order = generator.permutation(len(chosen))
                chains.append((tuple(source.whole(chosen[i]) for i in order), [actions[i] for i in order]))
    return chains


_MAKERS: dict[str, _Maker] = {
    "caption": _captions,
    "action": _about_fact("action"),
    "side": _about_fact("side"),
    "direction": _about_fact("travel"),
    "turn": _about_fact("turn"),
    "repetitions": _about_fact("count"),
    "order": _order,
    "segment": _segment,
    "duration": _duration,
    "speed": _about_fact("pace"),
    "next": _first_half,
    "sports": _about_fact("sport"),
    "yes_no": _yes_no,
}


def balance(items: list[Item], num: int, generator: np.random.Generator) -> list[Item]:
    """At most `num` items in random order, drawn from the answers in turn, so that none is given much more often than others."""
    by_answer = defaultdict(list)
    for place in generator.permutation(len(items)):
        by_answer[items[place].answer].append(items[place])
    if len(by_answer) < 2:
        return []
    most = sorted(len(found) for found in by_answer.values())[-2]  # no answer more often than the second most frequent
    turns = [(turn, order, item) for order, found in enumerate(by_answer.values()) for turn, item in enumerate(found[:most])]
    chosen = [item for _, _, item in sorted(turns, key=lambda entry: entry[:2])[:num]]
    return [chosen[place] for place in generator.permutation(len(chosen))]


def _to_row(source: _Source, category: str, index: int, item: Item) -> dict[str, Any]:
    return {
        "id": f"{category}-{index:06d}",
        "category": category,
        "skeleton": source.skeletons[item.pieces[0].row],
        "needs": "motion",
        "messages": make_messages(
            [(item.question, item.answer)], [(source.ids[row], *times) for row, *times in item.pieces]
        ),
    }


def make_messages(
    turns: Sequence[tuple[str, str]], clips: Sequence[tuple[str, int, int]] = (), video: str | None = None
) -> list[dict[str, Any]]:
    """A conversation as the column `messages` has it.

    Args:
        turns: Questions and their answers.
        clips: Of the motion before the first question: id, first frame, and the frame after the last of each piece.
        video: The path of the video before the first question.
    """
    messages = []
    for number, (question, answer) in enumerate(turns):
        asked = []
        if number == 0 and clips:
            asked.append(
                _part("motion", {"clips": [{"id": name, "start": start, "end": end} for name, start, end in clips]})
            )
        if number == 0 and video is not None:
            asked.append(_part("video", {"path": video}))
        messages.append({"role": "user", "content": [*asked, _part("text", question)]})
        messages.append({"role": "assistant", "content": [_part("text", answer)]})
    return messages


def _part(kind: str, value: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"text": None, "motion": None, "video": None, "type": kind, kind: value}
