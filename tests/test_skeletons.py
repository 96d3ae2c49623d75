"""Skeletons are data: wrong data would silently mix up left and right, or arms and legs."""

import dataclasses
import json
import re
from itertools import pairwise

import numpy as np
import pytest

from motionpatches import Skeleton, get_skeleton, list_skeletons, make_motions
from motionpatches.processing.canonical import to_metres, to_y_up
from motionpatches.processing.skeletons import PARTS


# The chains of the published form, in the order of PARTS: right leg, left leg, torso, right arm, left arm.
CHAINS = {
    "smpl22": [(0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)],
    "kit21": [(0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)],
    "body21": [(0, 17, 18, 19, 20), (0, 13, 14, 15, 16), (0, 1, 2, 3, 4), (2, 9, 10, 11, 12), (2, 5, 6, 7, 8)],
    "kinect20": [(3, 16, 17, 18, 19), (3, 12, 13, 14, 15), (3, 2, 1, 0), (1, 8, 9, 10, 11), (1, 4, 5, 6, 7)],
    "cmu31": [
        (0, 2, 8, 9, 10, 11),
        (0, 1, 4, 5, 6, 7),
        (0, 3, 12, 13, 14, 17, 18),
        (13, 16, 25, 26, 27, 28, 30),
        (13, 15, 19, 20, 21, 22, 24),
    ],
}


# What the owners of the formats write: number of joints, unit, up axis, and some joints at their indices.
OWNERS = {
    "smpl22": (22, "metres", "y", {0: "pelvis", 1: "left_hip", 9: "spine3", 15: "head", 21: "right_wrist"}),
    "kit21": (21, "millimetres", "y", {0: "pelvis", 4: "head", 5: "right_shoulder", 11: "right_hip", 20: "left_toe"}),
    "body21": (21, "metres", "y", {0: "pelvis", 4: "head", 5: "left_collar", 17: "right_hip", 20: "right_toe"}),
    "cmu31": (31, "metres", "y", {0: "root", 1: "lhipjoint", 9: "rtibia", 18: "head", 23: "lthumb", 30: "rfingers"}),
    "kinect20": (20, "metres", "y", {0: "head", 3: "hip_center", 4: "left_shoulder", 19: "right_foot"}),
    "smpl24": (24, "metres", "y", {0: "pelvis", 12: "neck", 20: "left_wrist", 22: "left_hand", 23: "right_hand"}),
    "smplh52": (52, "metres", "y", {21: "right_wrist", 22: "left_index1", 36: "left_thumb3", 37: "right_index1"}),
    "smplx22": (22, "metres", "y", {3: "spine1", 11: "right_foot", 13: "left_collar", 20: "left_wrist"}),
    "smplx55": (55, "metres", "y", {22: "jaw", 24: "right_eye_smplhf", 25: "left_index1", 54: "right_thumb3"}),
    "ntu25": (25, "metres", "y", {0: "SpineBase", 3: "Head", 7: "HandLeft", 16: "HipRight", 20: "SpineShoulder"}),
    "h36m17": (17, "millimetres", "z", {0: "Hip", 1: "RHip", 6: "LFoot", 9: "Neck/Nose", 11: "LShoulder", 16: "RWrist"}),
    "body25": (25, "metres", "-y", {0: "Nose", 1: "Neck", 4: "RWrist", 8: "MidHip", 15: "REye", 21: "LHeel", 24: "RHeel"}),
    "coco17": (17, "metres", "y", {0: "nose", 1: "left_eye", 6: "right_shoulder", 11: "left_hip", 16: "right_ankle"}),
    "panoptic19": (19, "centimetres", "-y", {0: "Neck", 2: "BodyCenter", 3: "lShoulder", 14: "rAnkle", 18: "rEar"}),
    "mixamo": (22, "centimetres", "y", {0: "mixamorig:Hips", 5: "mixamorig:Head", 9: "mixamorig:LeftHand"}),
    "unreal": (22, "centimetres", "z", {0: "pelvis", 4: "clavicle_l", 12: "neck_01", 17: "ball_l", 21: "ball_r"}),
    "mvn23": (23, "metres", "z", {0: "Pelvis", 4: "T8", 7: "RightShoulder", 15: "RightUpperLeg", 22: "LeftToe"}),
    "plugin_gait": (20, "millimetres", "z", {0: "HEDO", 2: "LFEO", 3: "LFEP", 9: "PELO", 18: "TRXO"}),
    "lafan22": (22, "centimetres", "y", {0: "Hips", 4: "LeftToe", 9: "Spine", 13: "Head", 21: "RightHand"}),
    "humanik": (20, "centimetres", "y", {0: "Hips", 7: "Spine", 10: "LeftHand", 14: "Head", 19: "Neck"}),
}

# Trees as the owners draw them. NTU: connecting_joint of show_skeleton.m, counted from 0; Human3.6M: VideoPose3D's 17.
TREES = {
    "ntu25": (-1, 0, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 7, 11, 11),
    "h36m17": (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    "smpl24": (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
    "lafan22": (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 12, 11, 14, 15, 16, 11, 18, 19, 20),
}

# Virtual joint → the two joints that it lies half-way between.
VIRTUAL = {
    "body25": {25: (17, 18)},
    "coco17": {17: (11, 12), 18: (5, 6), 19: (3, 4)},
    "panoptic19": {19: (16, 18)},
}

SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
every_skeleton = pytest.mark.parametrize("name", list_skeletons())


def side_and_rest(name):
    """The side that a sided joint name says, and the name without it."""
    patterns = ("left|right", "_[lr]$", "^[lr]")
    found = next(match for pattern in patterns if (match := re.search(pattern, name, re.IGNORECASE)))
    return SIDES[found[0].strip("_").lower()], name[: found.start()] + name[found.end() :]


def test_every_named_skeleton_has_its_published_chains():
    for name, chains in CHAINS.items():
        assert [get_skeleton(name).chains[part] for part in PARTS] == chains


def test_the_named_skeletons_are_those_of_their_owners():
    assert list_skeletons() == sorted(OWNERS)
    for name, (num_joints, unit, up_axis, joints) in OWNERS.items():
        skeleton = get_skeleton(name)
        assert (skeleton.num_joints, skeleton.unit, skeleton.up_axis) == (num_joints, unit, up_axis), name
        assert {index: skeleton.joint_names[index] for index in joints} == joints, name
        assert len(set(skeleton.joint_names)) == skeleton.num_nodes, name
    for name, parents in TREES.items():
        assert get_skeleton(name).parents == parents, name


def test_joints_of_the_smpl_family_are_those_of_the_smplx_package():
    names = pytest.importorskip("smplx.joint_names")
    assert list(get_skeleton("smplx55").joint_names) == names.JOINT_NAMES[:55]
    assert list(get_skeleton("smplx22").joint_names) == names.JOINT_NAMES[:22]
    assert list(get_skeleton("smplh52").joint_names) == names.SMPLH_JOINT_NAMES[:52]
    assert list(get_skeleton("smpl24").joint_names)[:22] == names.SMPLH_JOINT_NAMES[:22]


@pytest.mark.parametrize("name", ["smplh52", "smplx55"])
def test_fingers_hang_from_their_wrist_joint_by_joint(name):
    skeleton = get_skeleton(name)
    for joint, parent in enumerate(skeleton.parents):
        finger = re.fullmatch(r"(left|right)_(index|middle|pinky|ring|thumb)([123])", skeleton.joint_names[joint])
        if finger:
            side, word, number = finger.groups()
            inner = f"{side}_wrist" if number == "1" else f"{side}_{word}{int(number) - 1}"
            assert skeleton.joint_names[parent] == inner


@every_skeleton
def test_chains_follow_the_tree_and_stay_on_their_side(name):
    skeleton = get_skeleton(name)
    for part, chain in skeleton.chains.items():
        for inner, outer in pairwise(chain):
            assert skeleton.parents[outer] == inner
        side = part.split("_")[0]
        if side in ("left", "right"):
            x = skeleton.rest_pose[list(chain[1:]), 0]
            assert (x > 0).all() if side == "left" else (x < 0).all()


@every_skeleton
def test_chains_run_outwards_over_a_standing_body(name):
    skeleton = get_skeleton(name)
    chains = {part: skeleton.rest_pose[list(chain)] for part, chain in skeleton.chains.items()}
    assert (np.diff(chains["torso"][:, 1]) > 0).all()
    for side in ("left", "right"):
        assert (np.diff(chains[f"{side}_leg"][:, 1]) < 0).all()
        assert (np.diff(np.abs(chains[f"{side}_arm"][:, 0])) > 0).all()
        assert len(chains[f"{side}_leg"]) >= 4  # pelvis, hip, knee, ankle
        assert len(chains[f"{side}_arm"]) >= 4  # the torso's joint, shoulder, elbow, wrist
    assert {"pelvis", "neck", "head"} <= {skeleton.points[joint] for joint in skeleton.chains["torso"]}


@every_skeleton
def test_no_chain_holds_a_joint_of_face_or_finger(name):
    skeleton = get_skeleton(name)
    for chain in skeleton.chains.values():
        for joint in chain:
            point = skeleton.points[joint]
            assert not re.search(r"eye|ear|nose|jaw|thumb|index|middle|ring|pinky|heel|small_toe", point), point


@every_skeleton
def test_every_sided_joint_has_its_mirror_joint_and_its_name_says_the_side(name):
    skeleton = get_skeleton(name)
    paired = [joint for pair in skeleton.mirror_pairs for joint in pair]
    assert sorted(paired) == [joint for joint, (x, _, _) in enumerate(skeleton.rest_pose) if x != 0]
    for left, right in skeleton.mirror_pairs:
        np.testing.assert_allclose(skeleton.rest_pose[left] * [-1, 1, 1], skeleton.rest_pose[right])
        (left_side, left_rest), (right_side, right_rest) = (side_and_rest(skeleton.joint_names[i]) for i in (left, right))
        assert (left_side, right_side, left_rest) == ("left", "right", right_rest)


@every_skeleton
def test_topological_order_has_every_joint_behind_its_parent(name):
    skeleton = get_skeleton(name)
    seen = set()
    for joint in skeleton.topological_order:
        assert skeleton.parents[joint] in seen | {-1}
        seen.add(joint)
    assert seen == set(range(skeleton.num_nodes))


def test_virtual_joints_lie_half_way_between_the_joints_of_their_weights():
    assert {name for name in list_skeletons() if get_skeleton(name).virtual} == set(VIRTUAL)
    for name, halves in VIRTUAL.items():
        skeleton = get_skeleton(name)
        joints = np.random.default_rng(0).normal(size=(4, skeleton.num_joints, 3))
        completed = skeleton.complete(joints)
        assert completed.shape == (4, skeleton.num_joints + len(halves), 3)
        np.testing.assert_array_equal(completed[:, : skeleton.num_joints], joints)
        for joint, (one, other) in halves.items():
            np.testing.assert_allclose(completed[:, joint], (joints[:, one] + joints[:, other]) / 2)


@every_skeleton
def test_made_motions_are_a_plausible_figure_on_every_skeleton(name):
    skeleton = get_skeleton(name)
    for motion in make_motions(2, name, actions=["walk", "wave"]):
        assert motion["joints"].shape[1:] == (skeleton.num_joints, 3)
        joints = skeleton.complete(to_y_up(to_metres(motion["joints"].astype(float), skeleton), skeleton))
        children = [joint for joint, parent in enumerate(skeleton.parents) if parent >= 0]
        bones = joints[:, children] - joints[:, [skeleton.parents[joint] for joint in children]]
        lengths = np.linalg.norm(bones, axis=-1)
        assert lengths.min() > 0.01
        assert lengths.max() < 0.8

        at = skeleton.landmarks
        heights = [joints[0, at[point], 1] for point in ("left_ankle", "left_knee", "pelvis", "neck", "head")]
        assert heights == sorted(heights)
        assert 1.2 < heights[-1] - heights[0] < 1.8

        # The way in which the body faces at the start is drawn with the motion, not measured on its joints.
        heading = np.radians(motion["params"]["heading"])
        leftwards = np.array([np.cos(heading), 0.0, -np.sin(heading)])
        for left, right in skeleton.mirror_pairs:
            assert (joints[0, left] - joints[0, right]) @ leftwards > 0


def test_unit_of_kit_is_millimetres():
    assert get_skeleton("kit21").unit == "millimetres"
    assert get_skeleton("smpl22").unit == "metres"


def test_the_root_need_not_be_joint_zero():
    roots = {name: get_skeleton(name).root for name in ("kinect20", "body25", "coco17", "plugin_gait")}
    assert roots == {"kinect20": 3, "body25": 8, "coco17": 17, "plugin_gait": 9}


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown skeleton 'smpl'; known: body21, body25, cmu31"):
        get_skeleton("smpl")
    with pytest.raises(TypeError, match="must be a name or a Skeleton"):
        get_skeleton(22)


@every_skeleton
def test_round_trip_through_json(name):
    skeleton = get_skeleton(name)
    again = Skeleton(**json.loads(json.dumps(skeleton.to_dict())))
    assert again == skeleton
    joints = np.random.default_rng(0).normal(size=(2, skeleton.num_joints, 3))
    np.testing.assert_array_equal(again.complete(joints), skeleton.complete(joints))


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("parents", lambda s: (-1, *s.parents[1:-1], -1), "2 roots"),
        ("parents", lambda s: (-1, 4, *s.parents[2:]), "cycle"),
        ("parents", lambda s: s.parents[:-1], "21 parents"),
        ("points", lambda s: ("tail", *s.points[1:]), r"unknown body points \['tail'\]"),
        ("points", lambda s: tuple("head" if p == "left_hip" else p for p in s.points), "no joint for"),
        ("chains", lambda s: {**s.chains, "torso": (0, 99)}, "'torso'"),
        ("chains", lambda s: {p: c for p, c in s.chains.items() if p != "left_arm"}, "expected exactly"),
        ("unit", lambda s: "feet", "unit 'feet'"),
        ("up_axis", lambda s: "w", "up axis 'w'"),
    ],
)
def test_broken_definitions_are_refused(field, change, message):
    skeleton = get_skeleton("smpl22")
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(skeleton, **{field: change(skeleton)})
