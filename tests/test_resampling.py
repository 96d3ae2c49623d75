"""Frame rates: the same motion at another rate, not another motion."""

import numpy as np
import pytest
import torch

from motionpatches.processing.resampling import repeated_frames, resample


def wave(fps, seconds=4.0, hertz=1.0):
    t = np.arange(int(seconds * fps)) / fps
    return np.sin(2 * np.pi * hertz * t)[:, None, None] * np.ones((1, 2, 3)) + 1.5


@pytest.mark.parametrize("fps", [120, 60, 30, 29.97, 12.5, 10])
def test_a_slow_wave_survives_any_rate(fps):
    out = resample(wave(fps), fps, 20)
    assert len(out) == pytest.approx(80, abs=1)
    inner = slice(10, 70)  # the filter rings at the ends
    np.testing.assert_allclose(out[inner], wave(20)[: len(out)][inner], atol=0.02)


def test_jitter_above_the_new_rate_is_filtered_not_aliased():
    jitter = wave(120, hertz=19) - 1.5  # every sixth frame alone would show it as a wave of 1 Hz at full size
    assert np.abs(jitter[::6]).max() > 0.9
    assert np.abs(resample(jitter, 120, 20)[10:70]).max() < 0.05


def test_there_and_back():
    motion = wave(20)
    np.testing.assert_allclose(resample(resample(motion, 20, 60), 60, 20)[10:70], motion[10:70], atol=5e-3)


def test_equal_rates_change_nothing():
    motion = wave(20)
    assert resample(motion, 20, 20.0) is motion


@pytest.mark.parametrize("fps", [0, -30, float("nan"), float("inf")])
def test_impossible_rates_are_refused(fps):
    with pytest.raises(ValueError, match="fps must be a positive number"):
        resample(wave(20), fps, 20)
    with pytest.raises(ValueError, match="target_fps must be a positive number"):
        resample(wave(20), 20, fps)


def test_rates_too_far_apart_are_refused():
    with pytest.raises(ValueError, match="differ by over 1000"):
        resample(wave(20), 1e7, 20)


@pytest.mark.parametrize(
    ("fps", "target", "expected"), [(30, 20, [0, 1, 3, 4, 6, 7, 9]), (40, 20, [0, 2, 4, 6, 8]), (10, 20, [0, 0, 1, 1])]
)
def test_repeated_frames_by_hand(fps, target, expected):
    frames = repeated_frames(60, fps, target)
    assert frames[: len(expected)].tolist() == expected
    assert len(frames) == 60 * target // fps


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown resampling 'nearest'; known: antialias, repeat"):
        resample(np.zeros((4, 2, 3)), 30, 20, "nearest")
    with pytest.raises(ValueError, match=r"at least 1 frame per second, got 0\.5"):
        resample(np.zeros((4, 2, 3)), 0.5, 20, "repeat")


def test_several_persons_and_tensors_are_resampled_alike():
    joints = np.random.default_rng(0).normal(size=(2, 60, 4, 3))
    both = resample(joints, 30, 20)
    np.testing.assert_array_equal(both[1], resample(joints[1], 30, 20))
    np.testing.assert_array_equal(resample(torch.tensor(joints), 30, 20).numpy(), both)
