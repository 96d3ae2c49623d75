"""Mirroring changes sides in the motion and in the caption alike, and nothing else."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from hypothesis import given
from hypothesis import strategies as st

from motionpatches import MotionPatchProcessor, get_skeleton, list_skeletons, make_motions, mirror_caption, mirror_joints
from motionpatches.processing.canonical import canonicalize, facing_direction, from_y_up, to_y_up
from motionpatches.processing.skeletons import AXES


@pytest.mark.parametrize(
    ("caption", "mirrored"),
    [
        ("a person waves the left hand", "a person waves the right hand"),
        ("Left foot first, then the RIGHT one.", "Right foot first, then the LEFT one."),
        ("walks clockwise", "walks counterclockwise"),
        ("turns counter-clockwise", "turns clockwise"),
        ("turns Anti Clockwise, then clockwise", "turns Clockwise, then counterclockwise"),
        (
            "a left-handed throw to the leftmost target, rightwards",
            "a right-handed throw to the rightmost target, leftwards",
        ),
        ("stands upright in bright light with leftovers", "stands upright in bright light with leftovers"),
        ("sits down right away", "sits down right away"),
        ("bends the right arm at a right angle", "bends the left arm at a right angle"),
        ("raises the right arm right after the left", "raises the left arm right after the right"),
    ],
)
def test_captions_change_sides(caption, mirrored):
    assert mirror_caption(caption) == mirrored


WORDS = ("left", "right", "Left", "RIGHT", "clockwise", "counterclockwise", "upright", "walks", "leftwards", "right away")


@given(st.lists(st.sampled_from(WORDS)))
def test_a_caption_mirrored_twice_is_itself(words):
    caption = ", ".join(words)
    assert mirror_caption(mirror_caption(caption)) == caption


@pytest.mark.parametrize("name", list_skeletons())
def test_a_motion_mirrored_twice_is_itself_and_once_is_not(name):
    skeleton = get_skeleton(name)
    joints = swinging_motion(name)
    once = mirror_joints(joints, skeleton)
    np.testing.assert_array_equal(mirror_joints(once, skeleton), joints)
    assert np.abs(once - joints).max() > 0.01
    np.testing.assert_array_equal(mirror_joints(torch.tensor(joints), skeleton).numpy(), once)


@pytest.mark.parametrize("name", list_skeletons())
def test_what_the_left_hand_did_the_right_hand_does(name):
    skeleton = get_skeleton(name)
    made = next(m for m in make_motions(40, name, actions=["wave"]) if m["params"]["side"] == "left")
    height = canonicalize(made["joints"], skeleton)[..., 1]
    mirrored = canonicalize(mirror_joints(made["joints"], skeleton), skeleton)
    left, right = skeleton.landmarks["left_wrist"], skeleton.landmarks["right_wrist"]
    np.testing.assert_allclose(mirrored[:, right, 1], height[:, left], atol=1e-5)
    np.testing.assert_allclose(mirrored[:, left, 1], height[:, right], atol=1e-5)
    assert height[:, left].max() > height[:, right].max() + 0.2


@pytest.mark.parametrize("axis", AXES)
def test_the_mirror_stands_upright_whichever_axis_points_up(axis):
    skeleton = dataclasses.replace(get_skeleton("smpl22"), up_axis=axis)
    joints = swinging_motion()
    height = to_y_up(mirror_joints(from_y_up(joints, skeleton), skeleton), skeleton)[..., 1]
    expected = mirror_joints(joints, get_skeleton("smpl22"))[..., 1]
    np.testing.assert_allclose(height, expected, atol=1e-9)


def test_a_turn_to_the_left_becomes_a_turn_to_the_right():
    skeleton = get_skeleton("smpl22")
    angle = np.linspace(0, np.pi / 2, 40)
    turn = np.stack([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in angle])
    joints = np.einsum("tij,kj->tki", turn, skeleton.rest_pose)
    assert facing_direction(joints, skeleton)[-1, 0] == pytest.approx(1)  # +x is left
    assert facing_direction(mirror_joints(joints, skeleton), skeleton)[-1, 0] == pytest.approx(-1)


def test_patches_of_the_mirror_image_swap_the_limbs():
    processor = MotionPatchProcessor(normalization=None)
    made = make_motions(1, seed=3)[0]
    plain = processor(made)["motion_values"][0]
    mirrored = processor({**made, "joints": mirror_joints(made["joints"], get_skeleton("smpl22"))})["motion_values"][0]
    flipped = plain * np.array([-1, 1, 1])[:, None, None]
    np.testing.assert_allclose(mirrored[..., :16], flipped[..., 16:32], atol=1e-5)  # right leg ← left leg
    np.testing.assert_allclose(mirrored[..., 32:48], flipped[..., 32:48], atol=1e-5)  # torso
    np.testing.assert_allclose(mirrored[..., 48:64], flipped[..., 64:], atol=1e-5)  # right arm ← left arm
