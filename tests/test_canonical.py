"""The common frame may move and turn a motion, never bend, mirror or slow it."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches import get_skeleton
from motionpatches.processing.canonical import (
    canonicalize,
    change_up_axis,
    facing_direction,
    from_y_up,
    leg_length,
    relative_to_root,
    to_y_up,
)
from motionpatches.processing.skeletons import AXES, UNITS


SMPL = get_skeleton("smpl22")


def turned(joints, degrees, shift=(0, 0, 0)):
    return joints @ Rotation.from_euler("y", degrees, degrees=True).as_matrix().T + np.array(shift)


@pytest.mark.parametrize("degrees", [0, 37, 90, 180, 271])
def test_heading_place_and_height_of_the_source_do_not_matter(degrees):
    joints = swinging_motion()
    np.testing.assert_allclose(
        canonicalize(turned(joints, degrees, (3, -0.4, 8)), SMPL), canonicalize(joints, SMPL), atol=1e-9
    )


@given(
    degrees=st.floats(-720, 720),
    shift=st.tuples(*[st.floats(-100, 100)] * 3),
    axis=st.sampled_from(AXES),
    unit=st.sampled_from(sorted(UNITS)),
)
def test_no_source_frame_matters(degrees, shift, axis, unit):
    """Whatever the heading, place, up axis and unit of the source, the canonical motion is the same: none of them mirrors."""
    mine = dataclasses.replace(SMPL, unit=unit, up_axis=axis)
    source = from_y_up(turned(swinging_motion(num_frames=5), degrees, shift), mine) / UNITS[unit]
    np.testing.assert_allclose(canonicalize(source, mine), canonicalize(swinging_motion(num_frames=5), SMPL), atol=1e-7)


@given(st.sampled_from(AXES), st.sampled_from(AXES))
def test_changing_the_up_axis_is_a_rotation_and_has_a_way_back(one, other):
    joints = swinging_motion(num_frames=3)
    there = change_up_axis(joints, one, other)
    np.testing.assert_allclose(change_up_axis(there, other, one), joints)
    rotation = change_up_axis(np.eye(3), one, other)
    assert np.linalg.det(rotation) == pytest.approx(1)
    up = {axis: np.eye(3)["xyz".index(axis[-1])] * (-1 if axis[0] == "-" else 1) for axis in AXES}
    np.testing.assert_allclose(change_up_axis(up[one], one, other), up[other])


@pytest.mark.parametrize("name", ["coco17", "body25", "kinect20", "unreal"])
def test_every_step_is_the_same_on_tensors(name):
    skeleton = get_skeleton(name)
    joints = swinging_motion(name)
    expected = relative_to_root(canonicalize(joints, skeleton, body_scale=0.8), skeleton)
    tensors = relative_to_root(canonicalize(torch.tensor(joints), skeleton, body_scale=0.8), skeleton)
    assert tensors.dtype == torch.float64
    np.testing.assert_allclose(tensors.numpy(), expected, atol=1e-12)
    assert expected.shape[1] == skeleton.num_nodes


def test_the_frame_is_what_it_says():
    joints = canonicalize(turned(swinging_motion(), 130, (5, 2, -1)), SMPL)
    np.testing.assert_allclose(joints[0, 0, [0, 2]], 0, atol=1e-12)
    assert joints[..., 1].min() == pytest.approx(0)
    np.testing.assert_allclose(facing_direction(joints[:1], SMPL)[0], [0, 0, 1], atol=1e-12)


def test_left_stays_left_and_a_left_turn_stays_a_left_turn():
    pose = SMPL.rest_pose
    angles = np.linspace(0, 90, 30)  # about +y, from +z towards +x: to the left
    motion = np.stack([turned(pose, angle) for angle in angles])
    canonical = canonicalize(turned(motion, 200), SMPL)
    assert canonical[0, SMPL.landmarks["left_hip"], 0] > 0 > canonical[0, SMPL.landmarks["right_hip"], 0]
    np.testing.assert_allclose(facing_direction(canonical, SMPL)[-1], [1, 0, 0], atol=1e-9)


def test_millimetres_become_metres_and_can_be_left():
    kit = get_skeleton("kit21")
    joints = swinging_motion("kit21")
    assert leg_length(canonicalize(joints, kit), kit) == pytest.approx(leg_length(joints, kit) / 1000)
    assert leg_length(canonicalize(joints, kit, unit=False), kit) == pytest.approx(leg_length(joints, kit))


def test_z_up_becomes_y_up_without_mirroring():
    import dataclasses

    z_up = dataclasses.replace(SMPL, name="smpl22_z", up_axis="z")
    source = SMPL.rest_pose[None] @ Rotation.from_euler("x", 90, degrees=True).as_matrix().T  # y up -> z up
    np.testing.assert_allclose(to_y_up(source, z_up)[0], SMPL.rest_pose, atol=1e-12)


def test_body_scale_sets_the_leg_length_and_keeps_proportions():
    joints = swinging_motion()
    small, large = canonicalize(joints * 0.7, SMPL, body_scale=0.8), canonicalize(joints * 1.3, SMPL, body_scale=0.8)
    assert leg_length(small, SMPL) == pytest.approx(0.8)
    np.testing.assert_allclose(small, large, atol=1e-9)


def test_body_scale_refuses_a_body_without_legs():
    with pytest.raises(ValueError, match="legs of this 'smpl22' motion have length 0"):
        canonicalize(np.zeros((3, 22, 3)), SMPL, body_scale=0.8)


@pytest.mark.parametrize("step", ["floor", "center", "heading"])
def test_each_step_can_be_switched_off(step):
    joints = turned(swinging_motion(), 50, (1, 1, 1))
    assert not np.allclose(canonicalize(joints, SMPL, **{step: False}), canonicalize(joints, SMPL))
    everything_off = {"unit": False, "up_axis": False, "floor": False, "center": False, "heading": False}
    np.testing.assert_array_equal(canonicalize(joints, SMPL, **everything_off), joints)


def test_a_pose_without_a_direction_keeps_its_heading():
    joints = np.zeros((2, 22, 3))
    np.testing.assert_array_equal(canonicalize(joints, SMPL), joints)


def test_relative_to_root_keeps_the_trajectory_in_the_root_alone():
    joints = swinging_motion()
    relative = relative_to_root(joints, SMPL)
    np.testing.assert_array_equal(relative[:, 0], joints[:, 0])
    np.testing.assert_allclose(relative[:, 5] + joints[:, 0], joints[:, 5])
    moved = relative_to_root(joints + np.array([9, 0, 0]), SMPL)
    np.testing.assert_allclose(moved[:, 1:], relative[:, 1:], atol=1e-12)
