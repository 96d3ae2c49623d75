"""Augmented motions: each change does what it says, and nothing where it is off."""

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches import MotionPatchProcessor
from motionpatches.training.augmentation import Augmentation


PROCESSOR = MotionPatchProcessor(normalization=None)


def points(augmentation, seed=0, motion=None):
    motion = swinging_motion() if motion is None else motion
    resolved = PROCESSOR.resolve([motion], "smpl22", 20)[0]
    return augmentation.prepare(PROCESSOR, resolved, np.random.default_rng(seed)).joints


PLAIN = points(Augmentation())


def test_switched_off_it_is_the_processor_itself():
    np.testing.assert_array_equal(PLAIN, PROCESSOR.prepare(PROCESSOR.resolve([swinging_motion()], "smpl22", 20)[0]).joints)


def test_heading_turns_all_frames_alike_about_the_vertical():
    turned = points(Augmentation(heading=40))
    np.testing.assert_allclose(turned[..., 1], PLAIN[..., 1], atol=1e-5)
    flat, flat_turned = PLAIN[..., [0, 2]] @ [1, 1j], turned[..., [0, 2]] @ [1, 1j]
    away = np.abs(flat) > 0.05  # on the axis there is no angle
    angles = np.degrees(np.angle(flat_turned[away] / flat[away]))
    assert np.ptp(angles) < 1e-2
    assert 0 < abs(angles[0]) <= 40


def test_tempo_changes_the_length_within_its_bound():
    lengths = {len(points(Augmentation(tempo=0.25), seed)) for seed in range(20)}
    assert min(lengths) >= 40 / 1.25
    assert max(lengths) <= np.ceil(40 / 0.75)
    assert len(lengths) > 5


def test_offset_is_constant_in_time_and_jitter_is_not():
    moved = points(Augmentation(offset=0.02)) - PLAIN
    assert np.abs(moved).max() > 0.01
    assert moved.std(axis=0).max() < 1e-6
    shaken = points(Augmentation(jitter=0.02)) - PLAIN
    assert shaken.std(axis=0).mean() == pytest.approx(0.02, rel=0.3)


def test_the_seed_decides():
    strong = Augmentation(heading=30, tempo=0.2, offset=0.02, jitter=0.01)
    np.testing.assert_array_equal(points(strong, 3), points(strong, 3))
    assert points(strong, 3).shape != points(strong, 4).shape or not np.allclose(points(strong, 3), points(strong, 4))


@pytest.mark.parametrize("bad", [{"heading": -1}, {"tempo": 1.0}, {"jitter": -0.1}])
def test_impossible_amounts(bad):
    with pytest.raises(ValueError, match="must be at least 0"):
        Augmentation(**bad)
