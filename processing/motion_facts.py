"""What is known of a motion: from its label and captions, and measured on its joints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .canonical import facing_direction, to_y_up
from .skeletons import UNITS, get_skeleton


_LIMB = r"(?:hands?|arms?|fists?|legs?|foot|feet|elbows?|knees?)"
_SIDE = re.compile(rf"\b(left|right|both|two)[- ]{_LIMB}\b", re.IGNORECASE)
_COUNTS = {"once": 1, "twice": 2, "one time": 1, "two times": 2, "three times": 3, "four times": 4, "five times": 5}
_COUNT = re.compile(rf"\b({'|'.join(_COUNTS)}|\d+ times)\b", re.IGNORECASE)
#: Words in a label that name a sport, a game or an exercise, and how the answer calls it.
SPORTS = {
    "baseball": "baseball", "basketball": "basketball", "soccer": "soccer", "tennis": "tennis", "bowling": "bowling",
    "boxing": "boxing", "golf": "golf", "squat": "squats", "lunge": "lunges", "arm curl": "biceps curls",
    "jumping jack": "jumping jacks",
}  # fmt: skip

# Limits between what is asked about and what lies so near another answer that it is left out.
_STAYS, _GOES = 0.3, 0.8  # metres from the first to the last frame
_SECTOR = 30.0  # degrees on either side of forward, left, backward and right
_STRAIGHT, _TURNS = 20.0, 45.0  # degrees between the first and the last heading
_SLOW, _FAST = (0.3, 1.1), (1.5, 2.0)  # metres per second: at most and at least
_ENDS = 5  # frames over which first and last headings are averaged


@dataclass(frozen=True)
class MotionFacts:
    """What can be asked about a motion; `None` where it is not known or not clear.

    Args:
        action: The label in words.
        side: `"left"`, `"right"` or `"both"`: which hand, arm or leg the texts name, where all that name one agree.
        count: How many times, as the texts say.
        sport: Sport or exercise, by the label.
        seconds: Duration.
        travel: `"forward"`, `"backward"`, `"left"`, `"right"` of where the person first faces, or `"in place"`.
        turn: `"left"`, `"right"` or `"straight"`: between the first and the last heading.
        pace: `"in place"`, `"slow"` or `"fast"`: mean speed of the pelvis over the ground.
    """

    action: str | None
    side: str | None
    count: int | None
    sport: str | None
    seconds: float
    travel: str | None
    turn: str | None
    pace: str | None


def facts_of(row: Mapping[str, Any]) -> MotionFacts:
    """The facts of a row with the columns of `corpora.load_motions`."""
    label = row.get("label")
    action = None if label is None else str(label).replace("-", " ")
    texts = [*([action] if action else []), *row["captions"]]
    joints, fps = joints_of(row), float(row["fps"])
    travel, turn, pace = _measure(joints, row["skeleton"], fps)
    return MotionFacts(
        action=action,
        side=_agreed([_sides(text) for text in texts]),
        count=_agreed([_counts(text) for text in texts]),
        sport=None if action is None else next((name for word, name in SPORTS.items() if word in action), None),
        seconds=len(joints) / fps,
        travel=travel,
        turn=turn,
        pace=pace,
    )


def joints_of(row: Mapping[str, Any]) -> np.ndarray:
    """Joints (T, J, 3) of a row, float32, in metres."""
    joints = np.asarray(row["joints"], dtype=np.float32).reshape(-1, row["num_joints"], 3)
    return joints * np.float32(UNITS[row.get("unit") or "metres"])


def _sides(text: str) -> set[str]:
    found = {word.lower() for word in _SIDE.findall(text)}
    found = {"both" if word == "two" else word for word in found}
    return {"both"} if found == {"left", "right"} else found


def _counts(text: str) -> set[int]:
    words = [word.lower() for word in _COUNT.findall(text)]
    return {_COUNTS[word] if word in _COUNTS else int(word.split()[0]) for word in words}


def _agreed(found: Sequence[set[Any]]) -> Any:
    """The one value that all texts give that give any."""
    values = set().union(*found)
    return values.pop() if len(values) == 1 else None


def _measure(joints: np.ndarray, skeleton: str, fps: float) -> tuple[str | None, str | None, str | None]:
    """Travel, turn and pace."""
    body = get_skeleton(skeleton)
    joints = to_y_up(joints, body).astype(np.float64)
    path = joints[:, body.pelvis, [0, 2]]
    headings = facing_direction(joints, body)[:, [0, 2]]
    first, last = headings[:_ENDS].mean(axis=0), headings[-_ENDS:].mean(axis=0)
    way = path[-1] - path[0]
    distance = float(np.hypot(*way))
    speed = float(np.hypot(*np.diff(path, axis=0).T).sum() * fps / max(len(path) - 1, 1))
    pace = "in place" if speed <= _SLOW[0] else "slow" if speed <= _SLOW[1] and distance >= _GOES else None
    pace = "fast" if speed >= _FAST[1] and distance >= _GOES else pace
    if min(np.hypot(*first), np.hypot(*last)) < 0.5:  # lying, or tumbling: no heading
        return None, None, pace
    travel = "in place" if distance <= _STAYS else None
    if distance >= _GOES:
        angle = _degrees(first, way)
        sectors = {"forward": 0.0, "left": 90.0, "backward": 180.0, "right": -90.0}
        travel = next((name for name, middle in sectors.items() if abs(_wrap(angle - middle)) <= _SECTOR), None)
    total = _total_turn(headings)
    turn = "straight" if abs(total) <= _STRAIGHT else ("left" if total > 0 else "right") if abs(total) >= _TURNS else None
    return travel, turn, pace


def _total_turn(headings: np.ndarray) -> float:
    """Degrees from the first to the last heading, to the left positive, whole turns counted."""
    angles = np.unwrap(np.arctan2(headings[:, 0], headings[:, 1]))
    ends = min(_ENDS, len(angles))
    return float(np.degrees(angles[-ends:].mean() - angles[:ends].mean()))


def _degrees(first: np.ndarray, second: np.ndarray) -> float:
    """From one direction (x, z) to another, to the left positive: with y up, from +z towards +x is to the left."""
    return _wrap(float(np.degrees(np.arctan2(second[0], second[1]) - np.arctan2(first[0], first[1]))))


def _wrap(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0
