"""A right motion may never be turned, rescaled or doubted; a wrong one should be noticed."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionpatches import get_skeleton, list_skeletons, make_motions
from motionpatches.processing.corpora import load_motions
from motionpatches.processing.detection import (
    FrameFindings,
    check_frame,
    check_sides,
    detect_unit,
    detect_up_axis,
)
from motionpatches.processing.skeletons import AXES, UNITS, Skeleton


SMPL = get_skeleton("smpl22")
NOTHING = FrameFindings()
# A rotation that takes y to each axis.
FROM_Y = {
    "x": Rotation.from_euler("z", -90, degrees=True),
    "y": Rotation.identity(),
    "z": Rotation.from_euler("x", 90, degrees=True),
    "-x": Rotation.from_euler("z", 90, degrees=True),
    "-y": Rotation.from_euler("z", 180, degrees=True),
    "-z": Rotation.from_euler("x", -90, degrees=True),
}
# COCO's points: no pelvis, neck or head of its own, but a face.
COCO_PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_NAMES = ("nose", *(f"{side}_{point}" for point in COCO_PAIRS for side in ("left", "right")))
COCO = Skeleton(
    "coco_like",
    (*COCO_NAMES, "pelvis", "neck"),
    (18, *(0, 0, 1, 2), 18, 18, 5, 6, 7, 8, 17, 17, 11, 12, 13, 14, -1, 17),
    (*COCO_NAMES, "pelvis", "neck"),
    virtual=(((11, 0.5), (12, 0.5)), ((5, 0.5), (6, 0.5))),
)


def plain(skeleton):
    """The same joints in metres, y up."""
    return dataclasses.replace(skeleton, unit="metres", up_axis="y")


@pytest.fixture(scope="module")
def procedural():
    """Every action on every named skeleton and on one with virtual joints, in metres, y up: (label, joints, skeleton)."""
    return [
        (f"{motion['label']} as {skeleton.name}", np.asarray(motion["joints"], np.float64), skeleton)
        for skeleton in (*(plain(get_skeleton(name)) for name in list_skeletons()), COCO)
        for motion in make_motions(19, skeleton, seed=5)
    ]


@pytest.fixture(scope="module")
def real(data_dir):
    motions = []
    for rows in load_motions(data_dir).values():
        for row in rows.with_format("numpy"):
            joints = row["joints"].reshape(int(row["num_frames"]), int(row["num_joints"]), 3)
            motions.append(
                (row["id"], joints * (0.001 if row["unit"] == "millimetres" else 1.0), plain(get_skeleton(row["skeleton"])))
            )
    assert len(motions) > 3000
    return motions


def rotated(joints, rotation):
    return rotation.apply(joints.reshape(-1, 3)).reshape(joints.shape)


def about_y(degrees):
    return Rotation.from_euler("y", degrees, degrees=True)


def swapped(joints, skeleton):
    order = np.arange(skeleton.num_nodes)
    for left, right in skeleton.mirror_pairs:
        order[[left, right]] = right, left
    return joints[:, order[: skeleton.num_joints]]


def posed(pitch, thigh, shin, arm, frames=60, stride=0.0, way=0.0):
    """smpl22 by hand, y up: trunk, thighs, shins and arms pitched by degrees about x from standing with arms stretched up.

    90 lays a segment down towards +z. Legs and arms swing by `stride` degrees in turn, the body travels `way` metres to +z,
    and the lowest joint is on the floor.
    """
    trunk_joints = {"spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar", "left_hip", "right_hip"}
    trunk_joints |= {"left_shoulder", "right_shoulder"}
    motion = np.zeros((frames, 22, 3))
    for t in range(frames):
        swing = stride * np.sin(2 * np.pi * t / 20)
        for joint in SMPL.topological_order[1:]:
            name = SMPL.joint_names[joint]
            offset = SMPL.rest_pose[joint] - SMPL.rest_pose[SMPL.parents[joint]]
            sign = 1 if name.startswith("left") else -1
            if name in trunk_joints:
                angle = pitch
            elif "elbow" in name or "wrist" in name:
                angle, offset = arm + sign * swing, np.array([0.0, np.linalg.norm(offset), 0.0])
            else:
                angle = (thigh if "knee" in name else shin) + sign * swing
            motion[t, joint] = motion[t, SMPL.parents[joint]] + Rotation.from_euler("x", angle, degrees=True).apply(offset)
    motion[..., 2] += np.linspace(0, way, frames)[:, None]
    motion[..., 1] -= motion[..., 1].min(axis=1, keepdims=True)
    return motion


def rolled():
    """Somebody lies along z and rolls over the floor to +x, twice about the long axis."""
    lying = posed(-90, -90, -90, 90)
    angles = np.linspace(0, 720, len(lying))
    motion = np.stack(
        [rotated(pose - pose[0], Rotation.from_euler("z", -a, degrees=True)) for pose, a in zip(lying, angles, strict=True)]
    )
    motion[..., 1] -= motion[..., 1].min(axis=1, keepdims=True)
    return motion + np.linspace([0, 0, 0], [2, 0, 0], len(lying))[:, None]


POSES = {
    "rolls over the floor": rolled(),
    "runs with wide strides": posed(0, -15, 15, 150, stride=45, way=6.0)[5::10],
    "lies and shifts to the side": posed(-90, -90, -90, 90) + np.linspace([0, 0, 0], [0.3, 0, 0], 60)[:, None],
    "lies on the back": posed(-90, -90, -90, 90),
    "lies on the front": posed(90, 90, 90, 90),
    "lies and lifts arms and legs": posed(-90, -90, -90, 0, stride=40),
    "crawls": posed(80, 0, 90, 180, stride=20, way=3.0),
    "creeps on the belly": posed(85, 85, 85, 85, stride=15, way=2.0),
    "does push-ups": posed(80, 80, 80, 180, stride=5),
    "sits on a chair": posed(0, -90, 0, 150),
    "sits on the floor with legs stretched": posed(0, -90, -90, 150),
    "bends down": posed(110, 0, 0, 180, stride=3),
    "stands on the hands": posed(180, 180, 180, 180),
    "walks on the hands": posed(180, 180, 180, 180, stride=20, way=3.0),
    "stands on the head": posed(180, 180, 180, 160),
    "stands on the forearms": posed(170, 185, 180, 175, stride=4),
}


# ---- nothing right is touched --------------------------------------------------------------------------------------------


def test_no_action_on_any_skeleton_is_touched_in_its_own_unit_and_axes(procedural):
    for label, joints, skeleton in procedural:
        own = COCO if skeleton is COCO else get_skeleton(skeleton.name)
        assert check_frame(rotated(joints, FROM_Y[own.up_axis]) / UNITS[own.unit], own) == NOTHING, label


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("heading", [0, 45, 90, 180, 271])
def test_nobody_who_lies_crawls_sits_or_stands_on_the_hands_is_turned(name, heading):
    assert check_frame(rotated(POSES[name], about_y(heading)), SMPL) == NOTHING


def test_who_lies_and_moves_like_who_stands_is_not_turned(procedural):
    """Every action, done lying on the back, the front or the side: the pelvis stays, nothing is below the floor."""
    for label, joints, skeleton in procedural[:19] + procedural[-19:]:
        relative = joints - skeleton.complete(joints)[:, skeleton.pelvis, None]
        for pitch, roll in ((-90, 0), (90, 0), (-90, 90), (80, 30)):
            lying = rotated(relative, Rotation.from_euler("yxy", [roll, pitch, 40], degrees=True))
            lying[..., 1] = np.maximum(lying[..., 1], -0.14)
            assert check_frame(lying, skeleton) == NOTHING, f"{label}, pitch {pitch}, roll {roll}"


def test_no_real_motion_is_touched(real):
    assert [name for name, joints, skeleton in real if check_frame(joints, skeleton) != NOTHING] == []


def test_a_single_frame_a_point_and_missing_joints_are_left_alone():
    walk = make_motions(1, "smpl22", actions=["walk"])[0]["joints"]
    for joints in (walk[:1], np.zeros((4, 22, 3)), np.full((4, 22, 3), np.nan), walk[:0]):
        assert check_frame(joints, SMPL) == NOTHING
    hidden = walk.copy()
    hidden[::3, 15] = np.nan
    hidden[5:20, 4] = np.nan
    assert check_frame(hidden, SMPL) == NOTHING


# ---- what is wrong is noticed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [axis for axis in AXES if axis != "y"])
@pytest.mark.parametrize("heading", [0, 60, 90, 200])
def test_walking_along_another_axis_than_the_declared_one_is_found(axis, heading):
    for motion in make_motions(6, "smpl22", seed=2, actions=["walk", "run"]):
        found = check_frame(rotated(motion["joints"], FROM_Y[axis] * about_y(heading)), SMPL)
        assert (found.unit, found.up_axis) == (None, axis)
        assert f"along {axis}, not along y" in found.notes[0]


def test_a_declared_axis_other_than_y_is_believed(procedural):
    for label, joints, skeleton in procedural[::5]:
        z_up = dataclasses.replace(skeleton, up_axis="z")
        assert check_frame(rotated(joints, FROM_Y["z"]), z_up) == NOTHING, label
    walk = make_motions(1, "smpl22", actions=["walk"])[0]["joints"]
    assert check_frame(walk, dataclasses.replace(SMPL, up_axis="z")).up_axis == "y"


@pytest.mark.parametrize(("factor", "unit"), [(1000, "millimetres"), (100, "centimetres"), (39.37, "inches")])
def test_a_unit_that_gives_giants_is_found(factor, unit):
    walk = make_motions(1, "smpl22", seed=3, actions=["walk"])[0]["joints"]
    found = check_frame(walk * factor, SMPL)
    assert (found.unit, found.up_axis, len(found.notes)) == (unit, None, 1)
    assert found.metres_per_unit * factor == pytest.approx(1, rel=1e-3)
    assert f"fit {unit}" in found.notes[0]


def test_dwarfs_of_a_skeleton_in_millimetres_are_in_metres():
    kit = get_skeleton("kit21")
    assert check_frame(make_motions(1, kit, actions=["wave"])[0]["joints"] / 1000, kit).unit == "metres"


def test_legs_of_no_unit_are_told_and_left():
    found = check_frame(make_motions(1, "smpl22", actions=["wave"])[0]["joints"] * 5, SMPL)
    assert (found.unit, found.metres_per_unit) == (None, None)
    assert "no other unit" in found.notes[0]


def test_children_are_no_error():
    assert check_frame(make_motions(1, "smpl22", actions=["wave"])[0]["joints"] * 0.5, SMPL) == NOTHING


# ---- unit and up axis of files that state none ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leg", "units"),
    [
        (0.8, ["metres"]),
        (80, ["centimetres"]),
        (800, ["millimetres"]),
        (33, ["inches"]),
        (15, ["CMU's units of 1/0.45 inch"]),
        (20, ["inches", "CMU's units of 1/0.45 inch"]),
        (0.4, ["metres"]),
        (4, []),
    ],
)
def test_units_are_told_by_the_legs(leg, units):
    joints = np.tile(SMPL.rest_pose, (5, 1, 1)) * leg / 0.8
    joints[1:, 4] = np.nan
    assert detect_unit(joints, SMPL) == units


@pytest.mark.parametrize("axis", AXES)
def test_the_up_axis_of_every_action_is_found(procedural, axis):
    for label, joints, skeleton in procedural[::3]:
        found, confidence = detect_up_axis(rotated(joints, FROM_Y[axis] * about_y(50)) * 100, skeleton)
        assert found == axis, label
        assert 0.5 < confidence <= 1, label


def test_the_up_axis_of_real_motion_is_found(real):
    assert [name for name, joints, skeleton in real if detect_up_axis(joints, skeleton)[0] != "y"] == []


@pytest.mark.parametrize(
    "name", ["lies on the back", "crawls", "creeps on the belly", "sits on the floor with legs stretched"]
)
@pytest.mark.parametrize("axis", ["y", "z", "-y"])
def test_who_lies_or_crawls_for_most_of_the_time_is_told_by_who_stands(name, axis):
    stand = posed(0, 0, 0, 170, frames=40)
    joints = rotated(np.concatenate([stand, POSES[name]]), FROM_Y[axis])
    joints[::7, 15] = np.nan
    assert detect_up_axis(joints, SMPL)[0] == axis


def test_who_never_stands_gives_no_confidence():
    assert detect_up_axis(POSES["crawls"], SMPL)[1] < 0.3
    assert detect_up_axis(np.zeros((3, 22, 3)), SMPL) == ("y", 0.0)


# ---- left and right ------------------------------------------------------------------------------------------------------


def test_left_is_left_in_every_action_on_every_skeleton(procedural):
    for label, joints, skeleton in procedural:
        assert check_sides(joints, skeleton) > 0.25, label


def test_left_is_left_in_real_motion(real):
    agreements = np.array([check_sides(joints, skeleton) for _, joints, skeleton in real], dtype=float)
    assert agreements.min() > 0  # Kinect v1 has toes and knees that bend backwards by noise
    assert np.quantile(agreements, 0.01) > 0.3
    exact = [a for a, (_, _, skeleton) in zip(agreements, real, strict=True) if skeleton.name != "kinect20"]
    assert min(exact) > 0.5


def test_swapped_sides_and_mirrored_axes_change_the_sign(procedural):
    for label, joints, skeleton in procedural:
        agreement = check_sides(joints, skeleton)
        assert check_sides(swapped(joints, skeleton), skeleton) == pytest.approx(-agreement), label
        assert check_sides(joints * [-1, 1, 1], skeleton) == pytest.approx(-agreement), label


@pytest.mark.parametrize("axis", AXES)
def test_sides_are_told_in_any_position_unit_and_axes(axis):
    for motion in make_motions(19, "smpl22", seed=1):
        joints = np.asarray(motion["joints"], np.float64)
        moved = rotated(joints, FROM_Y[axis] * about_y(77)) * 39.37 + [1e3, -50, 7]
        assert check_sides(moved, SMPL) == pytest.approx(check_sides(joints, SMPL), abs=1e-6)


def test_a_walk_without_toes_and_face_is_told_by_knees_and_way():
    points = tuple(p if p is not None and not p.endswith("toe") else None for p in SMPL.points)
    legs = dataclasses.replace(SMPL, points=points, chains={})
    for motion in make_motions(4, "smpl22", seed=4, actions=["walk"]):
        assert check_sides(motion["joints"], legs) > 0.4


def test_a_straight_stick_figure_tells_nothing():
    flat = SMPL.rest_pose * [1, 1, 0]  # no toes, no bend
    assert check_sides(flat[None], SMPL) is None
    assert check_sides(np.full((3, 22, 3), np.nan), SMPL) is None


def test_missing_joints_do_not_change_the_answer():
    joints = make_motions(1, "smpl22", actions=["walk"])[0]["joints"].copy()
    whole = check_sides(joints, SMPL)
    joints[::4, 10] = np.nan
    joints[3:9, 1] = np.nan
    assert check_sides(joints, SMPL) == pytest.approx(whole, abs=0.2)
