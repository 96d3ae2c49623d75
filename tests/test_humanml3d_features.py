"""Feature vectors of HumanML3D and KIT-ML: an encoder written from the definition, and what its decoder must give back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from motionpatches.processing.humanml3d_features import decode_features
from motionpatches.processing.skeletons import get_skeleton


SKELETONS = {263: get_skeleton("smpl22"), 251: get_skeleton("kit21")}
WIDTHS = sorted(SKELETONS)


def heading_to_z(joints, skeleton):
    """For each frame, the rotation about y that turns the front of the body to +z: across hips and shoulders, then up."""
    at = skeleton.landmarks
    across = sum(joints[:, at[f"left_{point}"]] - joints[:, at[f"right_{point}"]] for point in ("hip", "shoulder"))
    front = np.cross(across, [0.0, 1.0, 0.0])
    return Rotation.from_euler("y", -np.arctan2(front[:, 0], front[:, 2])[:, None])


def encode(joints, skeleton, rng):
    """T + 1 frames of joints → T feature vectors. What the decoder need not look at is random, but rotations are rotations."""
    frames, count = len(joints) - 1, skeleton.num_joints
    to_body = heading_to_z(joints, skeleton)
    turn = (to_body[1:] * to_body[:-1].inv()).as_quat()
    turn *= np.sign(turn[:, 3:])  # q and -q are one rotation
    root_turn = np.arcsin(turn[:, 1])
    root_way = to_body[1:].apply(joints[1:, 0] - joints[:-1, 0])
    local = joints - joints[:, :1] * [1, 0, 1]
    local = np.stack([turn.apply(frame) for turn, frame in zip(to_body, local, strict=True)])[:-1, 1:]
    rotations = Rotation.random(frames * (count - 1), rng=rng).as_matrix()[:, :, :2].transpose(0, 2, 1)
    return np.concatenate(
        [
            root_turn[:, None],
            root_way[:, [0, 2]],
            joints[:-1, 0, 1:2],
            local.reshape(frames, -1),
            rotations.reshape(frames, -1),
            rng.normal(size=(frames, count * 3)),
            rng.integers(0, 2, size=(frames, 4)),
        ],
        axis=1,
    )


def wandering(skeleton, frames, rng, turns):
    """A body that sways, walks and turns `turns` times about itself."""
    size = 1000.0 if skeleton.unit == "millimetres" else 1.0
    sway = 0.05 * np.sin(np.linspace(0, 9, frames)[:, None, None] + rng.uniform(0, 6, (1, skeleton.num_joints, 3)))
    heading = Rotation.from_euler("y", np.linspace(0, 2 * np.pi * turns, frames)[:, None] + rng.uniform(-3, 3))
    path = np.cumsum(rng.normal(size=(frames, 3)) * [0.05, 0.01, 0.05], axis=0) + rng.normal(size=3) * [5, 0, 5]
    body = [turn.apply(frame) for turn, frame in zip(heading, skeleton.rest_pose[: skeleton.num_joints] + sway, strict=True)]
    return size * (np.stack(body) + path[:, None])


def started_at_the_origin(joints, skeleton):
    joints = joints - joints[:1, :1] * [1, 0, 1]
    return np.stack([heading_to_z(joints, skeleton)[0].apply(frame) for frame in joints])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("turns", [0.0, 2.5, -3.2])
def test_encoded_joints_come_back_from_the_origin_facing_z(width, turns):
    skeleton, rng = SKELETONS[width], np.random.default_rng(0)
    joints = wandering(skeleton, 80, rng, turns)
    features = encode(joints, skeleton, rng)
    assert features.shape == (79, width)
    decoded = decode_features(features.astype(np.float32))
    size = 1000.0 if width == 251 else 1.0
    np.testing.assert_allclose(decoded, started_at_the_origin(joints, skeleton)[:-1], atol=1e-4 * size)
    assert decoded.dtype == np.float32


def still(width, frames):
    features = np.zeros((frames, width))
    features[:, 3] = 0.9
    return features


@pytest.mark.parametrize("width", WIDTHS)
def test_a_body_that_turns_right_by_quarters_walks_a_square(width):
    """By hand: +z is ahead and +x left, so who turns right faces -x next. Half an angle of pi/4 is a quarter turn."""
    features = still(width, 5)
    features[:, 0], features[:, 2] = np.pi / 4, 1.0
    features[:, 4:7] = [0.0, 0.5, 1.0]  # joint 1 is ahead of the root
    decoded = decode_features(features)
    square = [[0, 0.9, 0], [-1, 0.9, 0], [-1, 0.9, -1], [0, 0.9, -1], [0, 0.9, 0]]
    np.testing.assert_allclose(decoded[:, 0], square, atol=1e-6)
    ahead = [[0, 0.5, 1], [-2, 0.5, 0], [-1, 0.5, -2], [1, 0.5, -1], [0, 0.5, 1]]
    np.testing.assert_allclose(decoded[:, 1], ahead, atol=1e-6)


def test_the_way_of_a_frame_ends_in_the_next_one():
    features = still(263, 3)
    features[0, 1:3] = [2.0, 3.0]
    features[2, 1:3] = 100.0  # of the last frame leads nowhere
    np.testing.assert_allclose(decode_features(features)[:, 0], [[0, 0.9, 0], [2, 0.9, 3], [2, 0.9, 3]])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("turns", [0.0, 1.0])
def test_normalised_vectors_need_their_mean_and_std(width, turns):
    skeleton, rng = SKELETONS[width], np.random.default_rng(1)
    features = encode(wandering(skeleton, 60, rng, turns), skeleton, rng)
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-3
    normalised = (features - mean) / std
    with pytest.raises(ValueError, match=r"look normalised.*decode_features\(features, mean, std\)"):
        decode_features(normalised)
    expected = decode_features(features)
    np.testing.assert_allclose(decode_features(normalised, mean[None], std), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_vectors_of_a_model_that_is_not_exact_are_not_taken_for_normalised(noise):
    skeleton, rng = SKELETONS[263], np.random.default_rng(2)
    features = encode(wandering(skeleton, 60, rng, 0.0), skeleton, rng)
    assert decode_features(features + noise * rng.normal(size=features.shape)).shape == (60 - 1, 22, 3)


def test_somebody_who_stands_still_is_normalised_all_the_same():
    """Rotations near their mean are near 0 and long ones near 1 at times; then the legs are of no person."""
    rng = np.random.default_rng(3)
    pose = np.concatenate(
        [rng.normal(size=67), Rotation.random(42, rng=rng).apply([1.25, 0, 0]).ravel(), rng.normal(size=70)]
    )
    with pytest.raises(ValueError, match="look normalised"):
        decode_features(np.tile(pose, (9, 1)))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((5, 262)), r"shape \(5, 262\).*expected floats of shape \(T, 263\)"),
        (np.zeros((1, 5, 263)), r"shape \(1, 5, 263\).*one motion at a time"),
        (np.zeros((0, 263)), "at least one frame"),
        (np.zeros((5, 263), dtype=complex), "dtype complex128"),
        (np.full((2, 263), np.nan), "134 NaN or infinite values"),
    ],
)
def test_other_arrays_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        decode_features(features)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros(263), None, "std is missing"),
        (None, np.ones(263), "mean is missing"),
        (np.zeros(251), np.ones(251), r"shapes \(251,\) and \(251,\); expected \(263,\) each"),
        (np.zeros(263), np.zeros(263), "std above 0"),
        (np.full(263, np.inf), np.ones(263), "finite"),
    ],
)
def test_other_means_and_deviations_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        decode_features(still(263, 3), mean, std)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), width=st.sampled_from(WIDTHS), frames=st.integers(1, 4))
def test_any_vectors_are_decoded_or_refused(data, width, frames):
    features = data.draw(hnp.arrays(np.float32, (frames, width), fill=st.nothing() | st.just(0.0)))
    try:
        shape = decode_features(features).shape
    except ValueError as error:
        shape, refusal = None, str(error)
    assert shape == (frames, SKELETONS[width].num_joints, 3) or refusal.startswith("features")
