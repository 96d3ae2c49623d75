"""Named skeletons: which joints a motion has, how they hang together, and which five chains make its motion patches.

A skeleton is data. Each joint names its parent and the *point* of the human body that it marks; everything else (rest
pose, mirror pairs, landmarks) follows from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


#: Column order of the motion patches: N sample points for each part, in this order (paper section 3.2).
PARTS = ("right_leg", "left_leg", "torso", "right_arm", "left_arm")

UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}

# A generic adult of 1.7 m in a T-pose, facing +z with y up, in metres. Left is +x. Segment lengths follow the body
# proportions of Drillis and Contini (1966), rounded. Points without a side are listed once; a sided point is listed for
# the left side and mirrored for the right.
_MEDIAN_POINTS = {
    "pelvis": (0.0, 0.93, 0.0),
    "spine_low": (0.0, 1.04, -0.01),
    "spine_mid": (0.0, 1.16, -0.01),
    "chest": (0.0, 1.27, 0.0),
    "neck": (0.0, 1.43, 0.0),
    "neck_high": (0.0, 1.50, 0.01),
    "head": (0.0, 1.57, 0.02),
    "head_top": (0.0, 1.68, 0.03),
}
_LEFT_POINTS = {
    "hip": (0.09, 0.88, 0.0),
    "knee": (0.10, 0.47, 0.01),
    "ankle": (0.10, 0.08, -0.02),
    "midfoot": (0.10, 0.03, 0.06),
    "toe": (0.10, 0.02, 0.14),
    "collar": (0.05, 1.39, 0.0),
    "shoulder": (0.18, 1.39, 0.0),
    "elbow": (0.46, 1.39, -0.01),
    "wrist": (0.71, 1.39, 0.0),
    "palm": (0.75, 1.39, 0.0),
    "hand": (0.79, 1.39, 0.0),
    "fingers": (0.86, 1.39, 0.0),
    "thumb": (0.77, 1.38, 0.05),
}
BODY_POINTS: dict[str, tuple[float, float, float]] = {
    **_MEDIAN_POINTS,
    **{f"left_{name}": xyz for name, xyz in _LEFT_POINTS.items()},
    **{f"right_{name}": (-x, y, z) for name, (x, y, z) in _LEFT_POINTS.items()},
}

_REQUIRED_POINTS = (
    "pelvis",
    *(f"{side}_{point}" for side in ("left", "right") for point in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")),
)


@dataclass(frozen=True)
class Skeleton:
    """The joints of a motion and the five kinematic chains that become its motion patches.

    Args:
        name: Name under which statistics are stored and looked up.
        joint_names: J joint names, in the order of the joint axis of a motion.
        parents: J parent indices; exactly one joint, the root, has -1.
        points: J keys of `BODY_POINTS`: the point of the body that each joint marks.
        chains: For each of `PARTS`, joint indices ordered outwards from the torso (paper section 3.2; the torso itself
            from the pelvis to the head).
        unit: Unit in which motions of this skeleton are distributed: a key of `UNITS`.
        up_axis: The axis that points up in motions of this skeleton, `"y"` or `"z"`.

    Raises:
        ValueError: If the lengths disagree, the parents are no tree with one root, a chain is missing or out of range, or
            a point that the canonical frame needs is marked by no joint.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    points: tuple[str, ...]
    chains: Mapping[str, tuple[int, ...]]
    unit: str = "metres"
    up_axis: str = "y"

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        object.__setattr__(self, "parents", tuple(int(parent) for parent in self.parents))
        object.__setattr__(self, "points", tuple(self.points))
        object.__setattr__(self, "chains", {part: tuple(int(j) for j in chain) for part, chain in self.chains.items()})
        self._validate()

    def _validate(self) -> None:
        num_joints = len(self.joint_names)
        where = f"skeleton {self.name!r}"
        if len(self.parents) != num_joints or len(self.points) != num_joints:
            raise ValueError(
                f"{where} has {num_joints} joint names, {len(self.parents)} parents and {len(self.points)} points; "
                "give one of each per joint"
            )
        if self.parents.count(-1) != 1:
            raise ValueError(f"{where} has {self.parents.count(-1)} roots (parent -1); a skeleton has exactly one")
        if any(not -1 <= parent < num_joints for parent in self.parents):
            raise ValueError(f"{where} has a parent outside 0..{num_joints - 1}: {self.parents}")
        unknown = sorted(set(self.points) - set(BODY_POINTS))
        if unknown:
            raise ValueError(f"{where} marks unknown body points {unknown}; known: {sorted(BODY_POINTS)}")
        absent = [point for point in _REQUIRED_POINTS if point not in self.points]
        if absent:
            raise ValueError(f"{where} has no joint for {absent}; the canonical frame needs them")
        if set(self.chains) != set(PARTS):
            raise ValueError(f"{where} has chains {sorted(self.chains)}; expected exactly {sorted(PARTS)}")
        for part, chain in self.chains.items():
            if not chain or any(not 0 <= joint < num_joints for joint in chain):
                raise ValueError(f"{where}: chain {part!r} = {chain} is empty or leaves 0..{num_joints - 1}")
        if self.unit not in UNITS or self.up_axis not in ("y", "z"):
            raise ValueError(
                f"{where} has unit {self.unit!r} and up axis {self.up_axis!r}; known units: {sorted(UNITS)}, axes: y, z"
            )
        if len(self.topological_order) != num_joints:
            raise ValueError(f"{where} has a cycle in its parents {self.parents}")

    def __hash__(self) -> int:  # a dict of chains has no hash; equality still compares it
        return hash((self.name, self.joint_names, self.parents, self.points))

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def topological_order(self) -> tuple[int, ...]:
        """Joint indices with every parent before its children."""
        order = [self.root]
        for joint in order:
            order.extend(child for child, parent in enumerate(self.parents) if parent == joint)
        return tuple(order)

    @cached_property
    def landmarks(self) -> dict[str, int]:
        """Body point → joint index."""
        return {point: joint for joint, point in enumerate(self.points)}

    @cached_property
    def mirror_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs (left joint, right joint) that a left-right mirror swaps."""
        return tuple(
            (joint, self.landmarks["right_" + point.removeprefix("left_")])
            for point, joint in self.landmarks.items()
            if point.startswith("left_")
        )

    @cached_property
    def rest_pose(self) -> np.ndarray:
        """T-pose of a generic adult, facing +z, y up. Shape (J, 3), metres."""
        return np.array([BODY_POINTS[point] for point in self.points], dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, so that a processor can save a skeleton of the user's own."""
        return {
            "name": self.name,
            "joint_names": list(self.joint_names),
            "parents": list(self.parents),
            "points": list(self.points),
            "chains": {part: list(chain) for part, chain in self.chains.items()},
            "unit": self.unit,
            "up_axis": self.up_axis,
        }


def _skeleton(name: str, joints: Sequence[tuple[str, int, str]], chains: Sequence[Sequence[int]], **kwargs: str) -> Skeleton:
    names, parents, points = zip(*joints, strict=True)
    return Skeleton(name, names, parents, points, dict(zip(PARTS, map(tuple, chains), strict=True)), **kwargs)


# SMPL body without hands, as in HumanML3D's new_joints (Guo et al., CVPR 2022).
_SMPL22 = _skeleton(
    "smpl22",
    [
        ("pelvis", -1, "pelvis"),
        ("left_hip", 0, "left_hip"),
        ("right_hip", 0, "right_hip"),
        ("spine1", 0, "spine_low"),
        ("left_knee", 1, "left_knee"),
        ("right_knee", 2, "right_knee"),
        ("spine2", 3, "spine_mid"),
        ("left_ankle", 4, "left_ankle"),
        ("right_ankle", 5, "right_ankle"),
        ("spine3", 6, "chest"),
        ("left_foot", 7, "left_toe"),
        ("right_foot", 8, "right_toe"),
        ("neck", 9, "neck"),
        ("left_collar", 9, "left_collar"),
        ("right_collar", 9, "right_collar"),
        ("head", 12, "head"),
        ("left_shoulder", 13, "left_shoulder"),
        ("right_shoulder", 14, "right_shoulder"),
        ("left_elbow", 16, "left_elbow"),
        ("right_elbow", 17, "right_elbow"),
        ("left_wrist", 18, "left_wrist"),
        ("right_wrist", 19, "right_wrist"),
    ],
    [(0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)],
)

# KIT-ML in HumanML3D's form. Public code disputes which side is left; this is the order of the published MotionPatches
# code, which HumanML3D's facing-direction indices agree with (11 right hip, 5 right shoulder).
_KIT21 = _skeleton(
    "kit21",
    [
        ("pelvis", -1, "pelvis"),
        ("spine", 0, "spine_low"),
        ("chest", 1, "chest"),
        ("neck", 2, "neck"),
        ("head", 3, "head"),
        ("right_shoulder", 3, "right_shoulder"),
        ("right_elbow", 5, "right_elbow"),
        ("right_wrist", 6, "right_wrist"),
        ("left_shoulder", 3, "left_shoulder"),
        ("left_elbow", 8, "left_elbow"),
        ("left_wrist", 9, "left_wrist"),
        ("right_hip", 0, "right_hip"),
        ("right_knee", 11, "right_knee"),
        ("right_ankle", 12, "right_ankle"),
        ("right_midfoot", 13, "right_midfoot"),
        ("right_toe", 14, "right_toe"),
        ("left_hip", 0, "left_hip"),
        ("left_knee", 16, "left_knee"),
        ("left_ankle", 17, "left_ankle"),
        ("left_midfoot", 18, "left_midfoot"),
        ("left_toe", 19, "left_toe"),
    ],
    [(0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)],
    unit="millimetres",
)

# The joints that the common BVH conversions of mocap share (fingers, toes' ends and helper joints left out).
_BODY21 = _skeleton(
    "body21",
    [
        ("pelvis", -1, "pelvis"),
        ("spine", 0, "spine_low"),
        ("chest", 1, "chest"),
        ("neck", 2, "neck"),
        ("head", 3, "head"),
        ("left_collar", 2, "left_collar"),
        ("left_shoulder", 5, "left_shoulder"),
        ("left_elbow", 6, "left_elbow"),
        ("left_wrist", 7, "left_wrist"),
        ("right_collar", 2, "right_collar"),
        ("right_shoulder", 9, "right_shoulder"),
        ("right_elbow", 10, "right_elbow"),
        ("right_wrist", 11, "right_wrist"),
        ("left_hip", 0, "left_hip"),
        ("left_knee", 13, "left_knee"),
        ("left_ankle", 14, "left_ankle"),
        ("left_toe", 15, "left_toe"),
        ("right_hip", 0, "right_hip"),
        ("right_knee", 17, "right_knee"),
        ("right_ankle", 18, "right_ankle"),
        ("right_toe", 19, "right_toe"),
    ],
    [(0, 17, 18, 19, 20), (0, 13, 14, 15, 16), (0, 1, 2, 3, 4), (2, 9, 10, 11, 12), (2, 5, 6, 7, 8)],
)

# CMU's ASF/AMC skeleton. A joint lies at the far end of the bone that names it: `lfemur` is the left knee.
_CMU31 = _skeleton(
    "cmu31",
    [
        ("root", -1, "pelvis"),
        ("lhipjoint", 0, "left_hip"),
        ("rhipjoint", 0, "right_hip"),
        ("lowerback", 0, "spine_low"),
        ("lfemur", 1, "left_knee"),
        ("ltibia", 4, "left_ankle"),
        ("lfoot", 5, "left_midfoot"),
        ("ltoes", 6, "left_toe"),
        ("rfemur", 2, "right_knee"),
        ("rtibia", 8, "right_ankle"),
        ("rfoot", 9, "right_midfoot"),
        ("rtoes", 10, "right_toe"),
        ("upperback", 3, "spine_mid"),
        ("thorax", 12, "chest"),
        ("lowerneck", 13, "neck"),
        ("lclavicle", 13, "left_shoulder"),
        ("rclavicle", 13, "right_shoulder"),
        ("upperneck", 14, "neck_high"),
        ("head", 17, "head"),
        ("lhumerus", 15, "left_elbow"),
        ("lradius", 19, "left_wrist"),
        ("lwrist", 20, "left_palm"),
        ("lhand", 21, "left_hand"),
        ("lthumb", 21, "left_thumb"),
        ("lfingers", 22, "left_fingers"),
        ("rhumerus", 16, "right_elbow"),
        ("rradius", 25, "right_wrist"),
        ("rwrist", 26, "right_palm"),
        ("rhand", 27, "right_hand"),
        ("rthumb", 27, "right_thumb"),
        ("rfingers", 28, "right_fingers"),
    ],
    [
        (0, 2, 8, 9, 10, 11),
        (0, 1, 4, 5, 6, 7),
        (0, 3, 12, 13, 14, 17, 18),
        (13, 16, 25, 26, 27, 28, 30),
        (13, 15, 19, 20, 21, 22, 24),
    ],
)

# Kinect v1 (Microsoft Kinect SDK 1.x), as in UTD-MHAD. The root is joint 3.
_KINECT20 = _skeleton(
    "kinect20",
    [
        ("head", 1, "head"),
        ("shoulder_center", 2, "neck"),
        ("spine", 3, "spine_mid"),
        ("hip_center", -1, "pelvis"),
        ("left_shoulder", 1, "left_shoulder"),
        ("left_elbow", 4, "left_elbow"),
        ("left_wrist", 5, "left_wrist"),
        ("left_hand", 6, "left_hand"),
        ("right_shoulder", 1, "right_shoulder"),
        ("right_elbow", 8, "right_elbow"),
        ("right_wrist", 9, "right_wrist"),
        ("right_hand", 10, "right_hand"),
        ("left_hip", 3, "left_hip"),
        ("left_knee", 12, "left_knee"),
        ("left_ankle", 13, "left_ankle"),
        ("left_foot", 14, "left_toe"),
        ("right_hip", 3, "right_hip"),
        ("right_knee", 16, "right_knee"),
        ("right_ankle", 17, "right_ankle"),
        ("right_foot", 18, "right_toe"),
    ],
    [(3, 16, 17, 18, 19), (3, 12, 13, 14, 15), (3, 2, 1, 0), (1, 8, 9, 10, 11), (1, 4, 5, 6, 7)],
)

_SKELETONS: dict[str, Skeleton] = {s.name: s for s in (_SMPL22, _KIT21, _BODY21, _CMU31, _KINECT20)}


def list_skeletons() -> list[str]:
    """Names that `get_skeleton` knows, sorted."""
    return sorted(_SKELETONS)


def get_skeleton(skeleton: str | Skeleton) -> Skeleton:
    """A named skeleton; a `Skeleton` is returned as it is.

    Raises:
        ValueError: If no skeleton has that name.
        TypeError: If `skeleton` is neither a name nor a `Skeleton`.
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if not isinstance(skeleton, str):
        raise TypeError(f"skeleton must be a name or a Skeleton, got {type(skeleton).__name__}: {skeleton!r}")
    if skeleton not in _SKELETONS:
        raise ValueError(
            f"unknown skeleton {skeleton!r}; known: {', '.join(list_skeletons())}. Pass a Skeleton object for one of your own"
        )
    return _SKELETONS[skeleton]
