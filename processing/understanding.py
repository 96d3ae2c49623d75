"""From a `Recording`, joints under names of their own, to a `Motion`: skeleton, gaps, unit, up axis."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from .body_points import ARM_POINTS, LEG_POINTS, TORSO_POINTS
from .canonical import from_y_up, rotate, to_y_up
from .detection import (
    ANY_LEG_METRES,
    LEG_METRES,
    METRES_PER_UNIT,
    SIDES_WARNING,
    check_sides,
    detect_up_axis,
    leg_units,
    units_of_leg,
)
from .gaps import fill_gaps
from .motion import Motion
from .recording import ReadOptions, Recording
from .skeleton_inference import infer_points
from .skeletons import AXES, REQUIRED_POINTS, UNITS, Skeleton, get_skeleton, list_skeletons


_PREFERRED_SKELETON = "body21"
_SHOWN_JOINTS = 5
# Agreement of `check_sides` below which names are doubted. Motions of Kinect v1 that are right come down to 0.1.
_SIDES_CONTRADICT = -0.2
_SURE_OF_UP = 0.3
_SAMPLED_FRAMES = 1000


def understand(recording: Recording, options: ReadOptions) -> tuple[Motion, list[str]]:
    """A motion of a known skeleton, and notes for the user on what was guessed, left out or changed.

    The skeleton is the wanted one, or that of the format; else `body21` if the file has its points, else the named skeleton with
    the most joints that it has, else one of the file's own joints. What the caller states of unit, up axis and frame rate goes
    before what the file states, and that before what the joints themselves tell.

    Args:
        recording: What a reader found.
        options: What the caller knows.

    Returns:
        The motion (joints of shape (T, J, 3), in the unit and with the up axis of its skeleton; float32 if the recording is, else
        float64), and the notes.

    Raises:
        ValueError: If the joints do not make the wanted skeleton or any, no unit gives them the size of a person, positions are
            infinite or missing for too long, or the recording or the options contradict themselves.
    """
    _check(recording, options)
    names = list(recording.names)
    skeleton, nodes, sure_note = _choose_skeleton(recording, options.skeleton)
    labels = [names[node] or skeleton.joint_names[joint] for joint, node in enumerate(nodes)]
    fps, fps_note = _frame_rate(recording.fps, options.fps)

    joints = recording.positions[:, nodes]
    joints = joints if joints.dtype == np.float32 else joints.astype(np.float64, copy=False)
    joints, gap_notes = fill_gaps(joints, fps, options.max_gap, labels)
    _refuse_points_in_one_place(joints, skeleton, labels)

    unit, unit_note = _metres_per_unit(joints, skeleton, options.unit or recording.unit)
    up_axis, up_note = _up_axis(joints, recording, skeleton, nodes, options.up_axis or recording.up_axis)
    turn = _turn(up_axis, skeleton)
    if unit != UNITS[skeleton.unit]:
        joints = joints * (unit / UNITS[skeleton.unit])
    joints = rotate(joints, turn)
    rotations = None if recording.rotations is None else _turn_rotations(recording.rotations[:, nodes], turn)
    notes = [
        *recording.notes,
        _left_out(names, nodes),
        sure_note,
        *gap_notes,
        fps_note,
        _sides_note(joints, skeleton),
        unit_note,
        up_note,
    ]
    return Motion(joints, skeleton, fps, rotations), [note for note in notes if note]


def _check(recording: Recording, options: ReadOptions) -> None:
    shape = recording.positions.shape
    if len(shape) != 3 or shape[-1] != 3 or shape[1] != len(recording.names):
        raise ValueError(
            f"positions have shape {shape} for {len(recording.names)} names; expected (frames, {len(recording.names)}, 3)"
        )
    if shape[0] < 1:
        raise ValueError("the file has no frames; export the motion again with at least one")
    for unit in (options.unit, recording.unit):
        if unit is not None and unit not in UNITS:
            raise ValueError(f"unit {unit!r} is unknown; known: {', '.join(UNITS)}")
    for axis in (options.up_axis, recording.up_axis):
        if axis is not None and axis not in AXES:
            raise ValueError(f"up axis {axis!r} is unknown; known: {', '.join(AXES)}")


def _frame_rate(stated: float | None, wanted: float | None) -> tuple[float | None, str | None]:
    fps = stated if wanted is None else wanted
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps is {fps!r}; expected a positive number of frames per second, such as 30.0")
    if wanted is not None and stated is not None and abs(wanted - stated) > 0.01 * stated:
        return fps, f"took {wanted:g} frames per second, as was asked, though the file states {stated:g}"
    return fps, None


# ---- skeleton -----------------------------------------------------------------------------------------------------------


def _choose_skeleton(recording: Recording, wanted: Skeleton | None) -> tuple[Skeleton, list[int], str | None]:
    """The skeleton, the nodes that are its J joints, and a note where the joints are not recognised for sure."""
    names = list(recording.names)
    own = recording.skeleton
    points: Sequence[str | None]
    if own is not None:
        if own.num_joints != len(names):
            raise ValueError(f"{len(names)} joints, but skeleton {own.name!r} of this format has {own.num_joints}")
        if wanted is None or wanted == own:
            return own, list(range(len(names))), None
        points, confidence = own.points[: own.num_joints], 1.0
    else:
        nodes = None if wanted is None else _by_name(wanted, names)
        if wanted is not None and nodes is not None:
            return wanted, nodes, None
        parents = [-1] * len(names) if recording.parents is None else list(recording.parents)
        found = infer_points(names, parents, _pose(recording))
        points, confidence = found.points, found.confidence
    skeleton, nodes = _match(wanted, recording, points)
    if wanted is None and skeleton.name not in list_skeletons():
        skeleton = replace(skeleton, confidence=confidence)
    return skeleton, nodes, _sure_note(names, points, confidence)


def _match(wanted: Skeleton | None, recording: Recording, points: Sequence[str | None]) -> tuple[Skeleton, list[int]]:
    if wanted is not None:
        nodes = _nodes_of(wanted, recording.names, points)
        missing = [str(wanted.points[j] or wanted.joint_names[j]) for j, node in enumerate(nodes) if node is None]
        if missing:
            raise ValueError(
                f"skeleton {wanted.name!r} needs {', '.join(missing)}, which no joint is recognised as; the file has "
                f"{_all_names(recording.names)}. Leave skeleton=None to take what the file has, or pass a Skeleton whose joint "
                "names are those of the file"
            )
        return wanted, [node for node in nodes if node is not None]
    others = sorted(map(get_skeleton, list_skeletons()), key=lambda skeleton: (-skeleton.num_joints, skeleton.name))
    for skeleton in (get_skeleton(_PREFERRED_SKELETON), *others):
        nodes = _nodes_of(skeleton, recording.names, points)
        if None not in nodes:
            return skeleton, [node for node in nodes if node is not None]
    if not set(REQUIRED_POINTS) <= set(points):
        raise ValueError(_unknown_message(recording.names, points))
    return _own_skeleton(recording.names, recording.parents, points)


def _by_name(skeleton: Skeleton, names: Sequence[str]) -> list[int] | None:
    """The nodes of a skeleton whose joint names are all in the file, each once: whoever wrote it down knows the file."""
    wanted = skeleton.joint_names[: skeleton.num_joints]
    if any(names.count(name) != 1 for name in wanted):
        return None
    return [names.index(name) for name in wanted]


def _nodes_of(skeleton: Skeleton, names: Sequence[str], points: Sequence[str | None]) -> list[int | None]:
    """For each joint that motions hold, the node that marks its point, or bears its name if it marks none."""
    at = {point: node for node, point in enumerate(points) if point is not None}
    named = {name: node for node, name in enumerate(names) if name and points[node] is None}
    joints = zip(skeleton.joint_names[: skeleton.num_joints], skeleton.points, strict=False)
    return [named.get(name) if point is None else at.get(point) for name, point in joints]


def _pose(recording: Recording) -> np.ndarray:
    """The rest pose, or the frame in which most nodes were seen, shape (N, 3)."""
    if recording.rest_pose is not None:
        return recording.rest_pose
    seen = np.isfinite(_sampled(recording.positions)).all(axis=-1).sum(axis=-1)
    return _sampled(recording.positions)[int(np.argmax(seen))]


def _sampled(positions: np.ndarray) -> np.ndarray:
    return positions[:: -(-len(positions) // _SAMPLED_FRAMES)]


def _own_skeleton(
    names: Sequence[str], parents: Sequence[int] | None, points: Sequence[str | None]
) -> tuple[Skeleton, list[int]]:
    """A skeleton of the joints that mark a point, each hung from the nearest such ancestor; without a tree, by the body."""
    nodes = [node for node, point in enumerate(points) if point is not None]
    joint_of = {node: joint for joint, node in enumerate(nodes)}
    kept_points = [str(points[node]) for node in nodes]
    pelvis = kept_points.index("pelvis")
    if parents is None:
        kept_parents = [_parent_in_body(point, kept_points) for point in kept_points]
    else:
        kept_parents = [_kept_ancestor(node, parents, joint_of) for node in nodes]
        root = pelvis
        while kept_parents[root] >= 0:
            root = kept_parents[root]
        # A root of no use (a reference, a floor) leaves several trees behind; they hang from the pelvis.
        kept_parents = [pelvis if parent < 0 and joint != root else parent for joint, parent in enumerate(kept_parents)]
    kept_names = [names[node] or point for node, point in zip(nodes, kept_points, strict=True)]
    return Skeleton("inferred", tuple(kept_names), tuple(kept_parents), tuple(kept_points)), nodes


def _kept_ancestor(node: int, parents: Sequence[int], joint_of: dict[int, int]) -> int:
    above = int(parents[node])
    while above >= 0 and above not in joint_of:
        above = int(parents[above])
    return joint_of.get(above, -1)


def _parent_in_body(point: str, points: Sequence[str]) -> int:
    """Index of the point, out of those given, from which another hangs; -1 for the pelvis."""
    side, _, plain = point.partition("_")
    line: tuple[str, ...] = ("chest", "neck", "spine_high", "spine_mid", "spine_low", "pelvis")
    if point in TORSO_POINTS:
        line = TORSO_POINTS[: TORSO_POINTS.index(point)][::-1]
    elif side not in ("left", "right") or plain in ("eye", "ear"):
        line = ("head", "neck_high", "neck", *line)
    else:
        foot = plain in (*LEG_POINTS, "heel", "small_toe", "toe_tip")
        limb = LEG_POINTS if foot else ARM_POINTS
        # What is off the chain (heel, fingers) hangs from the ankle or wrist, or from the last joint of the same finger.
        end = limb.index(plain) if plain in limb else limb.index("ankle" if foot else "wrist") + 1
        finger = tuple(f"{plain[:-1]}{number}" for number in range(int(plain[-1]) - 1, 0, -1)) if plain[-1].isdigit() else ()
        line = (*(f"{side}_{above}" for above in (*finger, *limb[:end][::-1])), *(("pelvis",) if foot else line))
    return next((points.index(above) for above in line if above in points), -1)


# ---- messages about joints ----------------------------------------------------------------------------------------------


def _all_names(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name)[:1000]


def _unknown_message(names: Sequence[str], points: Sequence[str | None]) -> str:
    missing = [str(point) for point in get_skeleton(_PREFERRED_SKELETON).points if point not in points]
    return (
        f"no joint is recognised as {', '.join(missing)}; the file has {_all_names(names)}. "
        f"Known skeletons: {', '.join(list_skeletons())}. Rename the joints (e.g. Hips, Spine, Spine1, Neck, Head, "
        "LeftShoulder, LeftArm, LeftForeArm, LeftHand, LeftUpLeg, LeftLeg, LeftFoot, LeftToeBase), or pass skeleton=... with a "
        "Skeleton whose joint names are those of the file"
    )


def _sure_note(names: Sequence[str], points: Sequence[str | None], confidence: float) -> str | None:
    if confidence >= 1.0:
        return None
    node_of = {point: node for node, point in enumerate(points) if point is not None}
    taken = [f"{names[node_of[point]] or 'an end site'} as {point}" for point in REQUIRED_POINTS if point in node_of]
    return (
        f"recognised the joints with confidence {confidence:.2f}: {', '.join(taken)}; if that is wrong, pass skeleton=... with a "
        "Skeleton whose joint names are those of the file"
    )


def _left_out(names: Sequence[str], used: Sequence[int]) -> str | None:
    taken = set(used)
    unused = list(dict.fromkeys(name for node, name in enumerate(names) if name and node not in taken))
    if not unused:
        return None
    joints = "1 joint that has" if len(unused) == 1 else f"{len(unused)} joints that have"
    more = ", ..." if len(unused) > _SHOWN_JOINTS else ""
    return f"left out {joints} no place in the skeleton: {', '.join(unused[:_SHOWN_JOINTS])}{more}"


def _refuse_points_in_one_place(joints: np.ndarray, skeleton: Skeleton, labels: Sequence[str]) -> None:
    """Bones of arms and legs without length: two points were taken for the same, or the export lost a joint."""
    sample, at = skeleton.complete(_sampled(joints)), skeleton.landmarks
    for side in ("left", "right"):
        for upper, lower in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            first, second = at[f"{side}_{upper}"], at[f"{side}_{lower}"]
            if (sample[:, first] == sample[:, second]).all():
                shown = " and ".join(labels[j] if j < len(labels) else skeleton.joint_names[j] for j in (first, second))
                raise ValueError(
                    f"{shown}, recognised as {side}_{upper} and {side}_{lower}, lie in one place in every frame; export the "
                    "motion again with both, or pass skeleton=... with a Skeleton that takes other joints"
                )


def _sides_note(joints: np.ndarray, skeleton: Skeleton) -> str | None:
    agreement = check_sides(joints, skeleton)
    if agreement is None or agreement > _SIDES_CONTRADICT:
        return None
    return f"{SIDES_WARNING} (agreement {agreement:.2f} of -1 to 1)"


# ---- unit and up axis ---------------------------------------------------------------------------------------------------


def _metres_per_unit(joints: np.ndarray, skeleton: Skeleton, stated: str | None) -> tuple[float, str | None]:
    """The unit that was stated, or the first that makes legs of human length; and a note where there is something to say."""
    leg = leg_units(joints, skeleton)
    fitting = units_of_leg(leg)
    shortest, longest = LEG_METRES
    if stated is not None:
        metres = UNITS[stated]
        if leg == 0 or ANY_LEG_METRES[0] <= leg * metres <= ANY_LEG_METRES[1]:
            return metres, None
        better = f"; unit={fitting[0]!r} would give {leg * METRES_PER_UNIT[fitting[0]]:.2g} m" if fitting else ""
        return metres, f"in {stated}, as stated, the legs measure {leg * metres:.3g} m, which is no person's{better}"
    if not fitting:
        raise ValueError(
            f"no unit is stated, and legs of {leg:.4g} units fit none of {', '.join(METRES_PER_UNIT)} (a leg measures "
            f"{shortest} to {longest} m); pass unit=..., or scale the file"
        )
    if fitting == ["metres"]:
        return 1.0, None
    others = f" ({' or '.join(fitting[1:])} would fit too)" if fitting[1:] else ""
    return METRES_PER_UNIT[fitting[0]], f"read as {fitting[0]}{others}, because the legs measure {leg:.4g} units"


def _up_axis(
    joints: np.ndarray, recording: Recording, skeleton: Skeleton, nodes: list[int], stated: str | None
) -> tuple[str, str | None]:
    if stated is not None:
        return stated, None
    ends = skeleton.pelvis, skeleton.landmarks.get("head", skeleton.landmarks["left_shoulder"])
    rest = None if recording.rest_pose is None else skeleton.complete(recording.rest_pose[nodes])
    if rest is not None and np.isfinite(rest).all() and (rest[ends[0]] != rest[ends[1]]).any():
        axis = _up_of_rest_pose(rest[ends[1]] - rest[ends[0]], skeleton.complete(_sampled(joints)), skeleton, ends)
    else:
        axis, confidence = detect_up_axis(joints, skeleton)
        if confidence < _SURE_OF_UP:
            return (
                "y",
                "no up axis is stated, and the figure stands too little to tell it: took y; pass up_axis=... if that is wrong",
            )
    if axis == skeleton.up_axis:
        return axis, None
    return axis, f"turned from {axis} up to {skeleton.up_axis} up, because the figure stands along {axis}"


def _up_of_rest_pose(rest_up: np.ndarray, sample: np.ndarray, skeleton: Skeleton, ends: tuple[int, int]) -> str:
    """The up axis of a file with a rest pose, whose way from pelvis to head is `rest_up`; `sample` (F, J + V, 3) is the motion.

    The rest pose decides, but for two cases: a root that turns a figure upright, so that y is up in the motion, and a rest
    pose whose bones all lie along x (Bandai-Namco, LAFAN1). There the mean of the motion decides, and a back along z is not
    enough (somebody crawls): the thighs must be, too.
    """
    at = skeleton.landmarks
    ways = [(ends[0], ends[1]), (at["left_knee"], at["left_hip"])]
    rest = _nearest_axis(rest_up)
    back, thigh = (_nearest_axis((sample[:, upper] - sample[:, lower]).mean(axis=0)) for lower, upper in ways)
    if rest == "y":
        return "y"
    if rest[-1] == "x":
        return back if back == thigh and back[-1] != "x" else "y"
    return back if back == "y" or back == thigh == "-y" else rest


def _nearest_axis(way: np.ndarray) -> str:
    largest = int(np.argmax(np.abs(way)))
    return ("-" if way[largest] < 0 else "") + "xyz"[largest]


def _turn(up_axis: str, skeleton: Skeleton) -> np.ndarray:
    """The rotation matrix that takes one up axis to that of the skeleton."""
    return from_y_up(to_y_up(np.eye(3), replace(skeleton, up_axis=up_axis)), skeleton).T


def _turn_rotations(rotations: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """World orientations (T, J, 4) after a turn of the world. The product of quaternions is linear, hence one matrix (4, 4)."""
    matrix = (Rotation.from_matrix(turn) * Rotation.from_quat(np.eye(4))).as_quat()
    return rotations @ matrix.astype(rotations.dtype)
