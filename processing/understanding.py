"""From a `Recording`, joints under names of their own, to a `Motion`: skeleton, unit, up axis."""

from collections.abc import Sequence

import numpy as np

from .motion import Motion
from .recording import ReadOptions, Recording
from .skeleton_inference import infer_points
from .skeletons import UNITS, Skeleton, get_skeleton, list_skeletons


_PREFERRED_SKELETON = "body21"
_SHOWN_JOINTS = 5

# BVH states no unit. CMU's own conversions are in units of 1/0.45 inch (mocap.cs.cmu.edu, "faqs").
_METRES_PER_UNIT = {
    **{unit: UNITS[unit] for unit in ("metres", "centimetres", "millimetres", "inches")},
    "CMU's units of 1/0.45 inch": 0.0254 / 0.45,
}
_LEG_METRES = (0.5, 1.2)


def understand(recording: Recording, options: ReadOptions) -> tuple[Motion, list[str]]:
    """A motion of a known skeleton, and notes for the user on what was guessed, left out or changed.

    Args:
        recording: What a reader found.
        options: What the caller knows.

    Returns:
        The motion (joints of shape (T, J, 3), in the unit of its skeleton, y up), and the notes.

    Raises:
        ValueError: If the joints make no known skeleton, or no unit gives them the size of a person.
    """
    names = list(recording.names)
    rest = recording.positions[0] if recording.rest_pose is None else recording.rest_pose
    points = infer_points(names, recording.parents or [-1] * len(names), rest).points
    skeleton, nodes = _choose_skeleton(names, points)
    at = {point: nodes[joint] for joint, point in enumerate(skeleton.points)}
    metres_per_unit, unit_note = _guess_unit(_leg_length(rest, at))
    joints = recording.positions[:, nodes] * (metres_per_unit / UNITS[skeleton.unit])
    joints, up_note = _to_y_up(joints, rest[at["head"]] - rest[at["pelvis"]], skeleton)
    notes = [*recording.notes, _left_out(names, nodes), unit_note, up_note]
    return Motion(joints, skeleton, recording.fps), [note for note in notes if note]


def _choose_skeleton(names: list[str], points: Sequence[str | None]) -> tuple[Skeleton, list[int]]:
    """A named skeleton whose points are all there, and the nodes that mark them."""
    nodes = {point: node for node, point in enumerate(points) if point is not None}
    for name in (_PREFERRED_SKELETON, *list_skeletons()):
        skeleton = get_skeleton(name)
        if set(skeleton.points) <= set(nodes):
            return skeleton, [nodes[point] for point in skeleton.points if point is not None]
    missing = [str(point) for point in get_skeleton(_PREFERRED_SKELETON).points if point not in nodes]
    raise ValueError(
        f"no joint is recognised as {', '.join(missing)}; the file has {', '.join(name for name in names if name)[:1000]}. "
        f"Known skeletons: {', '.join(list_skeletons())}. Rename the joints (e.g. Hips, Spine, Spine1, Neck, Head, "
        "LeftShoulder, LeftArm, LeftForeArm, LeftHand, LeftUpLeg, LeftLeg, LeftFoot, LeftToeBase), or pass the joint "
        "positions as an array with skeleton=..."
    )


def _left_out(names: list[str], used: list[int]) -> str | None:
    unused = [name for node, name in enumerate(names) if name and node not in used]
    if not unused:
        return None
    joints = "1 joint that has" if len(unused) == 1 else f"{len(unused)} joints that have"
    more = ", ..." if len(unused) > _SHOWN_JOINTS else ""
    return f"left out {joints} no place in the skeleton: {', '.join(unused[:_SHOWN_JOINTS])}{more}"


# ---- unit and up axis ---------------------------------------------------------------------------------------------------


def _leg_length(rest: np.ndarray, at: dict[str | None, int]) -> float:
    """Mean of both legs, hip to knee to ankle, in the unit of the file."""
    bones = [
        np.linalg.norm(rest[at[f"{side}_{upper}"]] - rest[at[f"{side}_{lower}"]])
        for side in ("left", "right")
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    return float(np.sum(bones)) / 2


def _guess_unit(leg: float) -> tuple[float, str | None]:
    shortest, longest = _LEG_METRES
    fitting = [unit for unit, metres in _METRES_PER_UNIT.items() if shortest <= leg * metres <= longest]
    if not fitting:
        raise ValueError(
            f"BVH files state no unit, and legs of {leg:.4g} units fit none of {', '.join(_METRES_PER_UNIT)} (a leg measures "
            f"{shortest} to {longest} m); scale the file, or pass the joint positions in metres as an array with skeleton=..."
        )
    unit = fitting[0]
    if fitting == ["metres"]:
        return 1.0, None
    others = f" ({' or '.join(fitting[1:])} would fit too)" if fitting[1:] else ""
    return _METRES_PER_UNIT[unit], f"read as {unit}{others}, because the legs measure {leg:.4g} units"


def _to_y_up(joints: np.ndarray, rest_up: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, str | None]:
    """Turn a z-up motion to y up: (x, y, z) → (x, z, -y). `rest_up` is the way from pelvis to head in the rest pose.

    The rest pose decides, but for two cases: a root that turns a z-up figure upright, which is y up already, and a rest
    pose whose bones all lie along x (Bandai-Namco, LAFAN1). There the mean of the motion decides, and a back along z is not
    enough (somebody crawls): the thighs must be, too.
    """
    at = skeleton.landmarks
    bones = (("pelvis", "head"), ("left_knee", "left_hip"))
    ways = [joints[:, at[upper]] - joints[:, at[lower]] for lower, upper in bones]
    motion_up = [np.nan_to_num(way, posinf=0.0, neginf=0.0).mean(axis=0) for way in ways]
    rest, back, thigh = (int(np.argmax(np.abs(up))) for up in (rest_up, *motion_up))
    z_up = back != 1 if rest == 2 else (rest, back, thigh) == (0, 2, 2)
    if not z_up:
        return joints, None
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([x, z, -y], axis=-1), "turned from z up to y up, because the figure stands along z"
