"""Skeletons: which joints a motion has, how they hang together, and which five chains make its motion patches.

A skeleton is data. Each joint names its parent and the *point* of the human body that it marks; everything else (chains,
rest pose, mirror pairs, landmarks) follows from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .body_points import ARM_POINTS, BODY_POINTS, LEG_POINTS, TORSO_POINTS, mirror_point
from .joint_names import mirror_name
from .named_skeletons import DEFINITIONS, Definition


#: Column order of the motion patches: N sample points for each part, in this order (paper section 3.2).
PARTS = ("right_leg", "left_leg", "torso", "right_arm", "left_arm")

UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}
AXES = ("x", "y", "z", "-x", "-y", "-z")

REQUIRED_POINTS = (
    "pelvis",
    *(f"{side}_{point}" for side in ("left", "right") for point in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")),
)


@dataclass(frozen=True)
class Skeleton:
    """The joints of a motion and the five kinematic chains that become its motion patches.

    A *virtual* joint is one that motions do not hold: it lies at a weighted mean of those that they do, so that a skeleton
    without a pelvis or a neck has a torso all the same. Virtual joints come last, and have names, parents and points like the
    others; `complete` puts them in.

    Args:
        name: Name under which statistics are stored and looked up.
        joint_names: J + V joint names, in the order of the joint axis of a motion, then the virtual ones.
        parents: J + V parent indices; exactly one joint, the root, has -1.
        points: J + V keys of `BODY_POINTS`: the point of the body that each joint marks; `None` for one that marks none (a
            twist joint, a prop). No two joints mark the same point.
        chains: For each of `PARTS`, joint indices ordered outwards from the torso (paper section 3.2; the torso itself
            from the pelvis to the head). Default: `derive_chains`.
        unit: Unit in which motions of this skeleton are distributed: a key of `UNITS`.
        up_axis: The axis that points up in motions of this skeleton, one of `AXES`.
        virtual: For each of the V virtual joints, its (joint index, weight) pairs; the weights sum to 1.
        confidence: How sure `Skeleton.infer` is, from 0 to 1; 1 for a skeleton that somebody wrote down.

    Raises:
        ValueError: If the lengths disagree, the parents are no tree with one root, a chain is missing or out of range, two
            joints mark one point, or a point that the canonical frame needs is marked by no joint.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    points: tuple[str | None, ...]
    chains: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unit: str = "metres"
    up_axis: str = "y"
    virtual: tuple[tuple[tuple[int, float], ...], ...] = ()
    confidence: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        object.__setattr__(self, "parents", tuple(int(parent) for parent in self.parents))
        object.__setattr__(self, "points", tuple(self.points))
        virtual = tuple(tuple((int(joint), float(weight)) for joint, weight in pairs) for pairs in self.virtual)
        object.__setattr__(self, "virtual", virtual)
        self._validate_joints()
        chains = self.chains or derive_chains(self.parents, self.points)
        object.__setattr__(self, "chains", {part: tuple(int(j) for j in chain) for part, chain in chains.items()})
        self._validate_chains()

    def _validate_joints(self) -> None:
        num_nodes = len(self.joint_names)
        where = f"skeleton {self.name!r}"
        if len(self.parents) != num_nodes or len(self.points) != num_nodes:
            raise ValueError(
                f"{where} has {num_nodes} joint names, {len(self.parents)} parents and {len(self.points)} points; "
                "give one of each per joint"
            )
        if self.parents.count(-1) != 1:
            raise ValueError(f"{where} has {self.parents.count(-1)} roots (parent -1); a skeleton has exactly one")
        if any(not -1 <= parent < num_nodes for parent in self.parents):
            raise ValueError(f"{where} has a parent outside 0..{num_nodes - 1}: {self.parents}")
        marked = [point for point in self.points if point is not None]
        unknown = sorted(set(marked) - set(BODY_POINTS))
        if unknown:
            raise ValueError(f"{where} marks unknown body points {unknown}; known: {sorted(BODY_POINTS)}")
        absent = [point for point in REQUIRED_POINTS if point not in marked]
        if absent:
            raise ValueError(f"{where} has no joint for {absent}; the canonical frame needs them")
        twice = sorted({point for point in marked if marked.count(point) > 1})
        if twice:
            raise ValueError(f"{where} has several joints for {twice}; give all but one of them the point None")
        if self.unit not in UNITS or self.up_axis not in AXES:
            raise ValueError(
                f"{where} has unit {self.unit!r} and up axis {self.up_axis!r}; known units: {sorted(UNITS)}, "
                f"axes: {', '.join(AXES)}"
            )
        if len(self.topological_order) != num_nodes:
            raise ValueError(f"{where} has a cycle in its parents {self.parents}")
        for weights in self.virtual:
            if abs(sum(weight for _, weight in weights) - 1) > 1e-6 or any(
                not 0 <= joint < self.num_joints for joint, _ in weights
            ):
                raise ValueError(
                    f"{where} has a virtual joint of weights {weights}; they must sum to 1, over joints 0..{self.num_joints - 1}"
                )

    def _validate_chains(self) -> None:
        where = f"skeleton {self.name!r}"
        if set(self.chains) != set(PARTS):
            raise ValueError(f"{where} has chains {sorted(self.chains)}; expected exactly {sorted(PARTS)}")
        for part, chain in self.chains.items():
            if not chain or any(not 0 <= joint < self.num_nodes for joint in chain):
                raise ValueError(f"{where}: chain {part!r} = {chain} is empty or leaves 0..{self.num_nodes - 1}")

    def __hash__(self) -> int:  # a dict of chains has no hash; equality still compares it
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.joint_names, self.parents, self.points))

    @cached_property
    def num_joints(self) -> int:
        """J: the joints that a motion of this skeleton holds."""
        return len(self.joint_names) - len(self.virtual)

    @property
    def num_nodes(self) -> int:
        """J + V: with the virtual joints."""
        return len(self.joint_names)

    @cached_property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def pelvis(self) -> int:
        """The joint that carries the trajectory: the pelvis, which is not always the root of the tree."""
        return self.landmarks["pelvis"]

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
        return {point: joint for joint, point in enumerate(self.points) if point is not None}

    @cached_property
    def mirror_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs (left joint, right joint) that a left-right mirror swaps: by points, or by names for joints that mark none."""
        pairs = [
            (joint, self.landmarks[mirror_point(point)])
            for point, joint in self.landmarks.items()
            if point.startswith("left_") and mirror_point(point) in self.landmarks
        ]
        unmarked = {name: joint for joint, name in enumerate(self.joint_names) if self.points[joint] is None}
        for name, joint in unmarked.items():
            other = mirror_name(name, "left")
            if other is not None and other in unmarked:
                pairs.append((joint, unmarked[other]))
        return tuple(pairs)

    @cached_property
    def rest_pose(self) -> np.ndarray:
        """T-pose of a generic adult, facing +z, y up. Shape (J + V, 3), metres. A joint without a point lies at its parent."""
        pose = np.zeros((self.num_nodes, 3))
        for joint in self.topological_order:
            point = self.points[joint]
            if point is not None:
                pose[joint] = BODY_POINTS[point]
            elif self.parents[joint] >= 0:
                pose[joint] = pose[self.parents[joint]]
        return pose

    @cached_property
    def _virtual_matrix(self) -> np.ndarray:
        matrix = np.zeros((len(self.virtual), self.num_joints))
        for row, weights in zip(matrix, self.virtual, strict=True):
            for joint, weight in weights:
                row[joint] += weight
        return matrix

    def complete(self, joints: Any) -> Any:
        """Joints with the virtual ones behind them: (…, J, 3) → (…, J + V, 3), NumPy or torch; complete ones stay as they are."""
        if not self.virtual or joints.shape[-2] == self.num_nodes:
            return joints
        matrix = self._virtual_matrix
        if isinstance(joints, np.ndarray):
            return np.concatenate([joints, matrix.astype(joints.dtype) @ joints], axis=-2)
        return joints.new_tensor(np.concatenate([np.eye(self.num_joints), matrix])) @ joints

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
            "virtual": [[list(pair) for pair in weights] for weights in self.virtual],
        }

    @classmethod
    def infer(
        cls,
        joint_names: Sequence[str],
        parents: Sequence[int],
        rest_pose: Any = None,
        *,
        name: str = "inferred",
        unit: str = "metres",
        up_axis: str = "y",
    ) -> "Skeleton":
        """The skeleton that nobody named: what each joint marks, by its name, and where names tell nothing, by the tree.

        See `skeleton_inference.infer_points` for what is understood and when it refuses.

        Args:
            joint_names: J names.
            parents: J parent indices, -1 for the root.
            rest_pose: Optional, shape (J, 3): any upright pose, in any unit; settles what names and tree leave open.
            name, unit, up_axis: Of the skeleton that is made.

        Returns:
            A skeleton whose `confidence` says how sure this is. Joints that mark no point of the body (twist joints, props,
            fingers without a known name) stay, in no chain.

        Raises:
            ValueError: If the hierarchy is broken, or arms, legs or torso cannot be told apart for sure.
        """
        from .skeleton_inference import infer_points

        found = infer_points(joint_names, parents, rest_pose)
        return cls(
            name, tuple(joint_names), tuple(parents), found.points, unit=unit, up_axis=up_axis, confidence=found.confidence
        )


def derive_chains(parents: Sequence[int], points: Sequence[str | None]) -> dict[str, tuple[int, ...]]:
    """The five chains that the points of a tree make: joint indices by part, outwards.

    The torso runs from the pelvis to the head; a limb begins at the torso joint that it hangs from (paper section 3.2).
    """
    at = {point: joint for joint, point in enumerate(points) if point is not None}
    torso = tuple(at[point] for point in TORSO_POINTS if point in at)
    chains: dict[str, tuple[int, ...]] = {}
    for part in PARTS:
        side, _, limb = part.partition("_")
        if part == "torso":
            chains[part] = torso
            continue
        chain = [at[f"{side}_{point}"] for point in (LEG_POINTS if limb == "leg" else ARM_POINTS) if f"{side}_{point}" in at]
        start = parents[chain[0]]
        while start >= 0 and start not in torso:
            start = parents[start]
        chains[part] = (*([start] if start >= 0 else []), *chain)
    return chains


def _from_definition(name: str, definition: Definition) -> Skeleton:
    joints = [*definition.joints, *(virtual[:3] for virtual in definition.virtual)]
    names, parents, points = zip(*joints, strict=True)
    virtual = tuple(tuple(weights.items()) for _, _, _, weights in definition.virtual)
    return Skeleton(name, names, parents, points, unit=definition.unit, up_axis=definition.up_axis, virtual=virtual)


_SKELETONS: dict[str, Skeleton] = {name: _from_definition(name, definition) for name, definition in DEFINITIONS.items()}


# Other names that people call them by; capitals, blanks and punctuation do not count.
_ALIASES = {
    "smplh": "smplh52",
    "smplx": "smplx55",
    "smplxbody": "smplx22",
    "humanml3d": "smpl22",
    "kitml": "kit21",
    "kinectv1": "kinect20",
    "kinectv2": "ntu25",
    "ntu": "ntu25",
    "nturgbd": "ntu25",
    "human36m": "h36m17",
    "h36m": "h36m17",
    "openpose": "body25",
    "openpose25": "body25",
    "coco": "coco17",
    "panoptic": "panoptic19",
    "ue4": "unreal",
    "unrealmannequin": "unreal",
    "xsens": "mvn23",
    "xsensmvn": "mvn23",
    "mvn": "mvn23",
    "vicon": "plugin_gait",
    "pig": "plugin_gait",
    "lafan1": "lafan22",
    "lafan122": "lafan22",
    "motionbuilder": "humanik",
}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_ALIASES |= {_letters(name): name for name in _SKELETONS}


def list_skeletons() -> list[str]:
    """Names that `get_skeleton` knows, sorted."""
    return sorted(_SKELETONS)


def get_skeleton(skeleton: str | Skeleton) -> Skeleton:
    """A named skeleton; a `Skeleton` is returned as it is. `"SMPL-24"`, `"Human3.6M"` or `"xsens"` are understood too.

    Raises:
        ValueError: If no skeleton has that name.
        TypeError: If `skeleton` is neither a name nor a `Skeleton`.
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if not isinstance(skeleton, str):
        raise TypeError(f"skeleton must be a name or a Skeleton, got {type(skeleton).__name__}: {skeleton!r}")
    if skeleton not in _SKELETONS:
        skeleton = _ALIASES.get(_letters(skeleton), skeleton)
    if skeleton not in _SKELETONS:
        raise ValueError(
            f"unknown skeleton {skeleton!r}; known: {', '.join(list_skeletons())}. Pass a Skeleton object for one of your own "
            "(Skeleton.infer makes one from joint names and parents)"
        )
    return _SKELETONS[skeleton]
