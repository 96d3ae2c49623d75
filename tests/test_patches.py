"""Interpolation and windows, checked by hand and against torch's own image resizing."""

import numpy as np
import pytest
import torch

from motionpatches import get_skeleton, list_skeletons
from motionpatches.processing.patches import (
    INTERPOLATIONS,
    fill_values,
    interpolate,
    num_windows,
    patch_map,
    patch_matrix,
    sample_positions,
    window_mask,
)
from motionpatches.processing.skeletons import PARTS


SMPL = get_skeleton("smpl22")


def test_half_pixel_positions_by_hand():
    # n=2 joints, N=4 points: (i + 0.5) * 2 / 4 - 0.5 = -0.25, 0.25, 0.75, 1.25, clamped to [0, 1]
    np.testing.assert_allclose(sample_positions(2, 4, "half_pixel"), [0, 0.25, 0.75, 1])


def test_align_corners_positions_by_hand():
    np.testing.assert_allclose(sample_positions(3, 5, "align_corners"), [0, 0.5, 1, 1.5, 2])


def test_arc_length_positions_by_hand():
    # bones of 1 m and 3 m: half of the way is 2 m, one third into the second bone
    np.testing.assert_allclose(sample_positions(3, 3, "arc_length", np.array([0.0, 1.0, 4.0])), [0, 4 / 3, 2])


def test_unknown_interpolation_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown interpolation 'cubic'; known: half_pixel"):
        sample_positions(3, 5, "cubic")


@pytest.mark.parametrize("name", list_skeletons())
@pytest.mark.parametrize(("method", "align_corners"), [("half_pixel", False), ("align_corners", True)])
@pytest.mark.parametrize("patch_size", [8, 16, 32])
def test_matrix_resizes_each_chain_as_torch_resizes_an_image(name, method, align_corners, patch_size):
    skeleton = get_skeleton(name)
    joints = np.random.default_rng(0).normal(size=(6, skeleton.num_nodes, 3))
    points = interpolate(joints, patch_matrix(skeleton, patch_size, method))
    assert points.shape == (6, 5 * patch_size, 3)
    for column, part in enumerate(PARTS):
        chain = torch.tensor(joints[:, list(skeleton.chains[part])]).permute(0, 2, 1)  # (T, 3, n)
        expected = torch.nn.functional.interpolate(chain, size=patch_size, mode="linear", align_corners=align_corners)
        mine = points[:, column * patch_size : (column + 1) * patch_size]
        np.testing.assert_allclose(mine, expected.permute(0, 2, 1).numpy(), atol=1e-12)


def test_arc_length_points_are_evenly_spaced_on_the_rest_pose():
    points = interpolate(SMPL.rest_pose[None], patch_matrix(SMPL, 64, "arc_length"))[0]
    leg = points[:64]
    steps = np.linalg.norm(np.diff(leg, axis=0), axis=-1)
    assert steps.std() / steps.mean() < 0.1  # corners of the chain cut a little


@pytest.mark.parametrize("per_joint", [True, False])
def test_one_map_is_the_z_score_before_or_after_the_interpolation(per_joint):
    generator = np.random.default_rng(0)
    joints, matrix = generator.normal(size=(4, 22, 3)), patch_matrix(SMPL, 16)
    mean, std = generator.normal(size=(22 if per_joint else 80, 3)), generator.uniform(0.1, 2, (22 if per_joint else 80, 3))
    values = np.empty((3, 4, 80))
    fill_values(values, joints, patch_map(matrix, mean, std, per_joint))
    expected = matrix @ ((joints - mean) / std) if per_joint else (matrix @ joints - mean) / std
    np.testing.assert_allclose(values, np.moveaxis(expected, -1, 0), atol=1e-12)


def test_a_far_away_motion_loses_nothing_in_single_precision():
    generator = np.random.default_rng(0)
    joints = (1000 + generator.normal(size=(4, 22, 3))).astype(np.float32)
    values = np.empty((3, 4, 80), dtype=np.float32)
    to_values = patch_map(patch_matrix(SMPL, 16), np.full((22, 3), 1000.0), np.full((22, 3), 0.5), True)
    fill_values(values, joints, type(to_values)(to_values.center.astype("f4"), to_values.weights.astype("f4"), None))
    expected = patch_matrix(SMPL, 16) @ ((joints.astype(float) - 1000) / 0.5)
    np.testing.assert_allclose(values, np.moveaxis(expected, -1, 0), atol=1e-5)


def test_landmarks_lie_at_the_same_place_of_the_body_whatever_the_skeleton():
    """The knee is at the same sample point on every skeleton, unlike where points follow joint indices."""
    names = [name for name in list_skeletons() if "left_toe" in get_skeleton(name).landmarks]
    for part, point in (("left_leg", "left_knee"), ("left_arm", "left_elbow")):
        places: dict[str, set[int]] = {"landmarks": set(), "half_pixel": set()}
        for method, found in places.items():
            for name in names:
                skeleton = get_skeleton(name)
                column = PARTS.index(part) * 32
                matrix = patch_matrix(skeleton, 32, method)[column : column + 32]
                found.add(int(matrix[:, skeleton.landmarks[point]].argmax()))
        assert len(places["landmarks"]) == 1
        assert len(places["half_pixel"]) > 1


def test_a_chain_that_ends_early_stays_at_its_end():
    skeleton = get_skeleton("h36m17")  # no toes, no hands
    matrix = patch_matrix(skeleton, 16, "landmarks")
    assert matrix[15, skeleton.landmarks["right_ankle"]] == 1
    assert matrix[63, skeleton.landmarks["right_wrist"]] == 1
    assert matrix[60, skeleton.landmarks["right_wrist"]] < 1


@pytest.mark.parametrize("name", list_skeletons())
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_every_sample_point_is_a_mean_of_joints_that_motions_hold(name, method):
    skeleton = get_skeleton(name)
    matrix = patch_matrix(skeleton, 16, method)
    assert matrix.shape == (80, skeleton.num_nodes)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_windows_by_hand():
    assert [num_windows(frames, 16) for frames in (1, 16, 17, 224)] == [1, 1, 2, 14]
    np.testing.assert_array_equal(window_mask(17, 4, 16), [1, 1, 0, 0])
