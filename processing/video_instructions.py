"""Conversations about a motion and a video together: questions that only the video answers, only the motion, or neither alone.

No video was recorded with the motions, so one is rendered for each question. It shows a figure of the motion's skeleton before a
coloured wall, with coloured things in its hands, seen by a camera that turns a little. What it shows is drawn apart from the
motion:

- What the figure holds, and where, and the wall: only the video tells, as no joint does.
- What the person does: only the motion tells, as the figure in the video keeps one pose. With `pose="rest"` that is the rest pose
  of the skeleton, the same for all motions, so that the video tells nothing of the motion at all. With `pose="first"` it is the
  first frame of the motion, which may hint at what follows.
- Questions that need both join the two: the colour of the thing in the hand that acts, for example.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from .canonical import from_y_up
from .instructions import QUESTION_FEATURES, QUESTIONS, Item, Piece, balance, claim_actions, make_messages
from .motion_facts import MotionFacts, facts_of, joints_of
from .rendering import COLORS, HANDS, SHAPES, Prop, render_motion
from .skeletons import get_skeleton
from .video_files import write_video


#: How each category asks, and what its answer needs; `{…}` is filled in.
VIDEO_QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "prop_color": ("video", ("What colour is the {shape}?", "Which colour does the {shape} in the video have?")),
    "prop_hand": ("video", ("Which hand holds the {shape}?", "In which hand is the {shape}?")),
    "prop_shape": ("video", ("Does the person hold a ball or a box?", "What is in the person's hand, a ball or a box?")),
    "background": ("video", ("What colour is the background?", "Which colour does the wall have?")),
    "action_with_video": ("motion", QUESTIONS["action"]),
    "side_with_video": ("motion", QUESTIONS["side"]),
    "direction_with_video": ("motion", QUESTIONS["direction"]),
    "acting_color": (
        "both",
        (
            "What colour is the thing in the hand of the side that acts?",
            "On the side that acts, which colour is in the hand?",
        ),
    ),
    "acting_hand": (
        "both",
        ("Is the {shape} on the side of the body that acts?", "Does the side that holds the {shape} act?"),
    ),
    "color_if": (
        "both",
        (
            "If this is the action: {action}, name the colour of the {shape}, otherwise that of the background.",
            "Does the person do this: {action}? If so, which colour is the {shape}? If not, which is the background?",
        ),
    ),
    "hand_and_action": ("both", ("Which hand holds the {shape}, and which action is it?",)),
}
POSES = ("rest", "first")
VIDEO_FOLDER = "videos"
_FRAMES, _FPS = 16, 8.0
_AZIMUTHS = (-50.0, 50.0)  # degrees around the person: always from the front, where both hands are seen
_SWING = 20.0  # degrees that the camera turns during the video
_LOOK = 2  # raised when the same scene comes to look otherwise


class Scene(NamedTuple):
    """What a video shows."""

    props: tuple[Prop, ...]
    background: str
    azimuth: float


def make_video_instructions(
    rows: Dataset,
    num: int,
    folder: str | Path,
    categories: Sequence[str] | None = None,
    seed: int = 0,
    pose: str = "rest",
    size: int = 96,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Dataset:
    """Turn motions into questions about a motion and a video, and render the videos.

    In each category every answer is given equally often, as far as there are motions for it. Colours, hands, shapes and cameras
    are drawn apart from the motions, and of motions that act with the left and with the right side as many are taken: from the
    language, or from the wrong one of motion and video, an answer can only be guessed. Of two things, the video alone leaves a
    guess between two.

    Args:
        rows: Motions with the columns of `corpora.load_motions`.
        num: Questions in each category at most.
        folder: The folder of the data; videos are written to its folder `videos`, one a scene. Those that are there are kept.
        categories: Out of `VIDEO_QUESTIONS`; default those that the motions give any of.
        seed: Seed of all that is drawn.
        pose: One of `POSES`: what the figure in the videos keeps.
        size: Width and height of the videos in pixels.
        max_seconds: Leave out motions that are longer.
        progress: Show a progress bar on stderr.

    Returns:
        Rows with the columns of `instructions.make_instructions`; `needs` says what the answer needs. In `messages` stand a
        motion by reference, the video by its path relative to `folder`, and the question.

    Raises:
        ValueError: If a category is unknown or impossible with these motions, or another argument is out of range.
        ImportError: If PyAV is not installed.
    """
    unknown = sorted(set(categories or ()) - set(VIDEO_QUESTIONS))
    if unknown:
        raise ValueError(f"unknown categories {unknown}; known: {', '.join(VIDEO_QUESTIONS)}")
    if num < 1 or pose not in POSES:
        raise ValueError(f"got num={num}, pose={pose!r}; expected at least one question, and one of {', '.join(POSES)}")
    arrays = rows.with_format("numpy", columns=["joints"], output_all_columns=True)
    source = _Source(rows, [facts_of(row) for row in arrays], max_seconds)
    if not source.kept:
        raise ValueError(f"of {len(rows)} motions none is at most {max_seconds} s long")
    chosen: list[tuple[str, int, Item]] = []
    for number, category in enumerate(VIDEO_QUESTIONS):
        if categories is not None and category not in categories:
            continue
        generator = np.random.default_rng([seed, number])
        items = balance(_MAKERS[category](source, category, generator), num, generator)
        if not items and categories is not None:
            raise ValueError(
                f"these {len(source.kept)} motions give no question of category {category!r} with two answers or more"
            )
        chosen += [(category, index, item) for index, item in enumerate(items)]
    videos = Path(folder) / VIDEO_FOLDER
    videos.mkdir(parents=True, exist_ok=True)
    result = []
    for category, index, item in tqdm(chosen, desc="videos", disable=not progress):
        name = _render(arrays[item.pieces[0].row], item.scene, videos, pose, size)
        result.append(_to_row(source, category, index, item, f"{VIDEO_FOLDER}/{name}"))
    return Dataset.from_list(result, features=QUESTION_FEATURES)


def _to_row(source: "_Source", category: str, index: int, item: Item, video: str) -> dict[str, Any]:
    clips = [(source.ids[piece.row], piece.start, piece.end) for piece in item.pieces]
    return {
        "id": f"{category}-{index:06d}",
        "category": category,
        "skeleton": source.skeletons[item.pieces[0].row],
        "needs": VIDEO_QUESTIONS[category][0],
        "messages": make_messages([(item.question, item.answer)], clips, video),
    }


def _render(row: Mapping[str, Any], scene: Scene, videos: Path, pose: str, size: int) -> str:
    """Write the video of a scene unless it is there; returns the name of the file, which is made of all that is in it."""
    body = get_skeleton(row["skeleton"])
    still = joints_of(row)[:1] if pose == "first" else from_y_up(body.rest_pose[None, : body.num_joints], body)
    described = [_LOOK, _FRAMES, _FPS, size, body.name, [vars(prop) for prop in scene.props], *scene[1:]]
    content = json.dumps(described).encode() + np.ascontiguousarray(still, dtype=np.float32).tobytes()
    path = videos / f"{hashlib.sha256(content).hexdigest()[:20]}.mp4"
    if not path.exists():
        turning = scene.azimuth + np.linspace(-_SWING / 2, _SWING / 2, _FRAMES)
        frames = render_motion(
            np.repeat(still, _FRAMES, axis=0), body, scene.props, scene.background, size, turning.tolist()
        )
        write_video(path, frames, _FPS)
    return path.name


class _Source:
    """The motions that questions are made of."""

    def __init__(self, rows: Dataset, facts: Sequence[MotionFacts], max_seconds: float | None) -> None:
        self.facts = facts
        self.kept = [row for row, known in enumerate(facts) if max_seconds is None or known.seconds <= max_seconds]
        self.ids, self.skeletons, self.frames = rows["id"][:], rows["skeleton"][:], rows["num_frames"][:]
        self.sources = rows["dataset"][:] if "dataset" in rows.column_names else [""] * len(rows)

    def known(self, name: str) -> list[tuple[int, str]]:
        """Rows whose fact of that name is known, and it."""
        found = ((row, getattr(self.facts[row], name)) for row in self.kept)
        return [(row, str(value)) for row, value in found if value is not None]

    def one_sided(self, generator: np.random.Generator) -> list[tuple[int, str]]:
        """Rows that act with one side, and which: of both sides as many."""
        by_side = {hand: [row for row, side in self.known("side") if side == hand] for hand in HANDS}
        most = min(len(found) for found in by_side.values())
        return [(row, hand) for hand, found in by_side.items() for row in generator.permutation(found)[:most].tolist()]

    def item(
        self, row: int, category: str, scene: Scene, answer: str, generator: np.random.Generator, **filled: str
    ) -> Item:
        _, forms = VIDEO_QUESTIONS[category]
        shape = scene.props[0].shape
        question = forms[generator.integers(len(forms))].format(shape=shape, **filled)
        return Item((Piece(row, 0, int(self.frames[row])),), question, answer, scene)


_Maker = Callable[[_Source, str, np.random.Generator], list[Item]]


def _draw_scene(
    generator: np.random.Generator,
    color: str | None = None,
    hand: str | None = None,
    shape: str | None = None,
    background: str | None = None,
    both_hands: bool = False,
) -> Scene:
    """A thing in a hand, or one in each, before a wall: all of different colours, and drawn where not given."""
    colors = [str(name) for name in generator.permutation(list(COLORS)) if name not in (color, background)]
    color, other = color or colors.pop(), colors.pop()
    hand, shape = hand or str(generator.choice(HANDS)), shape or str(generator.choice(SHAPES))
    props = [Prop(hand, color, shape)]
    if both_hands:
        props.append(Prop(_other_hand(hand), other, shape))
    wall = background or colors.pop()
    return Scene(tuple(props), wall, round(float(generator.uniform(*_AZIMUTHS)), 1))


def _other_hand(hand: str) -> str:
    return next(other for other in HANDS if other != hand)


def _deal(values: Sequence[str], num: int, generator: np.random.Generator) -> list[str]:
    """So many values in random order, each as often as the others, or once more."""
    return generator.permutation(np.resize(generator.permutation(values), num)).tolist()


def _of_scene(name: str, values: Sequence[str]) -> _Maker:
    def make(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
        items = []
        for row, answer in zip(source.kept, _deal(values, len(source.kept), generator), strict=True):
            given: dict[str, Any] = {name: answer}
            items.append(source.item(row, category, _draw_scene(generator, **given), answer, generator))
        return items

    return make


def _of_motion(fact: str) -> _Maker:
    def make(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
        known = source.known(fact)
        return [source.item(row, category, _draw_scene(generator), value, generator) for row, value in known]

    return make


def _acting_color(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    known = source.one_sided(generator)
    items = []
    for (row, side), color in zip(known, _deal(list(COLORS), len(known), generator), strict=True):
        scene = _draw_scene(generator, color, side, both_hands=True)
        items.append(source.item(row, category, scene, color, generator))
    return items


def _acting_hand(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    items = []
    for row, side in source.one_sided(generator):
        for answer, hand in (("yes", side), ("no", _other_hand(side))):
            items.append(source.item(row, category, _draw_scene(generator, hand=hand), answer, generator))
    return items


def _color_if(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    known = [(row, action, source.sources[row]) for row, action in source.known("action")]
    claims = list(claim_actions(known, generator))
    items = []
    for (row, action, is_so), color in zip(claims, _deal(list(COLORS), len(claims), generator), strict=True):
        scene = _draw_scene(generator, color=color) if is_so else _draw_scene(generator, background=color)
        items.append(source.item(row, category, scene, color, generator, action=action))
    return items


def _hand_and_action(source: _Source, category: str, generator: np.random.Generator) -> list[Item]:
    by_action: dict[str, list[int]] = defaultdict(list)
    for row, action in source.known("action"):
        by_action[action].append(row)
    items = []
    for action, rows in by_action.items():
        for row, hand in zip(rows, _deal(HANDS, len(rows), generator), strict=True):
            items.append(source.item(row, category, _draw_scene(generator, hand=hand), f"{hand}, {action}", generator))
    return items


_MAKERS: dict[str, _Maker] = {
    "prop_color": _of_scene("color", list(COLORS)),
    "prop_hand": _of_scene("hand", HANDS),
    "prop_shape": _of_scene("shape", SHAPES),
    "background": _of_scene("background", list(COLORS)),
    "action_with_video": _of_motion("action"),
    "side_with_video": _of_motion("side"),
    "direction_with_video": _of_motion("travel"),
    "acting_color": _acting_color,
    "acting_hand": _acting_hand,
    "color_if": _color_if,
    "hand_and_action": _hand_and_action,
}
