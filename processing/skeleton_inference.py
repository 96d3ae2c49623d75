"""What the joints of a skeleton mark that nobody named: by their names, the tree and a rest pose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .joint_names import plain_name


# Body point → the names that files give it, best first. Each joint is used once and points are filled in this order,
# which settles the ambiguous names: `LeftShoulder` is the shoulder unless `LeftArm` is, and then the collar; `LeftLeg` is
# the knee unless `LeftKnee` is, and then the hip; `LeftFoot` is the ankle unless `LeftAnkle` is, and then the toe.
_SIDED_NAMES = {
    "knee": ("knee", "lowerleg", "lowleg", "shin", "calf", "leg"),
    "hip": ("upleg", "upperleg", "thigh", "hip", "leg"),
    "ankle": ("ankle", "foot"),
    "midfoot": ("midfoot",),
    "toe": ("toe", "toes", "toebase", "toe0", "foot"),
    "shoulder": ("upperarm", "uparm", "shldr", "arm", "shoulder"),
    "collar": ("collar", "clavicle", "collarbone", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm"),
    "wrist": ("wrist", "hand"),
    "hand": ("hand",),
}
_MEDIAN_NAMES = {
    "pelvis": ("hips", "pelvis", "hip", "hipcenter", "root"),
    "head": ("head",),
}
_NECK_NAMES = ("neck", "neck1", "neck2", "lowerneck", "upperneck", "shouldercenter")


@dataclass(frozen=True)
class InferredPoints:
    """What `infer_points` found: for each joint a key of `BODY_POINTS` or `None`, and how sure it is, from 0 to 1."""

    points: tuple[str | None, ...]
    confidence: float


def infer_points(joint_names: Sequence[str], parents: Sequence[int], rest_pose: Any = None) -> InferredPoints:
    """What each joint marks."""
    if rest_pose is None:
        rest_pose = np.arange(3 * len(joint_names), dtype=float).reshape(-1, 3)
    rest = np.asarray(rest_pose)
    offsets = rest - np.stack([rest[p] if p >= 0 else np.zeros(3) for p in parents])
    found = _find_points(_RestPose(list(joint_names), tuple(parents), offsets))
    points: list[str | None] = [None] * len(joint_names)
    for point, node in found.items():
        points[node] = point
    return InferredPoints(tuple(points), 1.0)


@dataclass(frozen=True)
class _RestPose:
    """The nodes of a file in file order, parents first: names ("" for end sites), parents and offsets (N, 3)."""

    names: list[str]
    parents: tuple[int, ...]
    offsets: np.ndarray

    def line(self, node: int) -> list[int]:
        """The nodes from the root to `node`, both included."""
        line = [node]
        while self.parents[line[-1]] >= 0:
            line.append(self.parents[line[-1]])
        return line[::-1]

    def between(self, start: int, end: int) -> np.ndarray:
        """The way from one node to another with all rotations zero, shape (3,)."""
        return self.offsets[self.line(end)].sum(axis=0) - self.offsets[self.line(start)].sum(axis=0)

    def has_length(self, node: int) -> bool:
        return bool(np.linalg.norm(self.offsets[node]) > 1e-6)

    def end_site(self, node: int) -> int | None:
        """The end site of a joint, if it has exactly one."""
        ends = [i for i, name in enumerate(self.names) if not name and self.parents[i] == node]
        return ends[0] if len(ends) == 1 else None


def _find_points(rest: _RestPose) -> dict[str, int]:
    """Body point (a key of `BODY_POINTS`) → node, for every point that the names and the hierarchy tell."""
    free: dict[str, int] = {}
    for node, name in enumerate(rest.names):
        if name:
            free.setdefault(plain_name(name), node)
    wanted = dict(_MEDIAN_NAMES)
    for side in ("left_", "right_"):
        wanted |= {side + point: tuple(side + name for name in names) for point, names in _SIDED_NAMES.items()}
    found: dict[str, int] = {}
    for point, names in wanted.items():
        best = next((name for name in names if name in free), None)
        if best is not None:
            found[point] = free.pop(best)
    necks = [free[name] for name in _NECK_NAMES if name in free]
    if necks:
        found["neck"] = next((node for node in sorted(necks) if rest.has_length(node)), min(necks))
    return found | _find_toe_tips(rest, found) | _find_torso(rest, found)


def _find_toe_tips(rest: _RestPose, found: dict[str, int]) -> dict[str, int]:
    """Files without toe joints (DAZ and Poser figures) end their feet in an end site at the tip of the toes."""
    tips = {
        f"{side}_toe": rest.end_site(found[f"{side}_ankle"])
        for side in ("left", "right")
        if f"{side}_ankle" in found and f"{side}_toe" not in found
    }
    return {point: node for point, node in tips.items() if node is not None}


def _find_torso(rest: _RestPose, found: dict[str, int]) -> dict[str, int]:
    """Spine and chest by their order from the pelvis to the neck, because their names mean another height in every file.

    The chest is the highest joint that both arms still hang from (or the highest below the neck, where the arms hang from
    the neck); the spine is the lowest. Joints at the place of their parent are passed over.
    """
    if not {"pelvis", "neck", "left_shoulder", "right_shoulder"} <= set(found):
        return {}
    line = rest.line(found["neck"])
    arms = set(rest.line(found["left_shoulder"])) & set(rest.line(found["right_shoulder"]))
    below = set(rest.line(found["pelvis"]))
    torso = [node for node in line[:-1] if node not in below and rest.has_length(node)]
    if not torso:
        return {}
    chest = max((i for i, node in enumerate(torso) if node in arms), default=len(torso) - 1)
    points = {"chest": torso[chest], "spine_mid": torso[chest // 2]}
    return points | {"spine_low": torso[0]} if chest > 0 else points
