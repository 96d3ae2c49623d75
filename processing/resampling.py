"""Frame rates: from any rate to the rate that a model was trained at."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from .canonical import on_host


resample_poly: Callable[..., np.ndarray] | None
try:
    from scipy.signal import resample_poly
except ImportError:  # this module travels with checkpoints to machines that may lack SciPy
    resample_poly = None

RESAMPLINGS = ("antialias", "repeat")


def resample(joints: Any, fps: float, target_fps: float, method: str = "antialias") -> Any:
    """A motion at another frame rate.

    Args:
        joints: Shape (T, J, 3) or (P, T, J, 3), NumPy or torch. A tensor goes through the host's memory and back.
        fps: Frame rate of `joints`, in frames per second.
        target_fps: Frame rate wanted. The ratio of the two is taken as the nearest fraction with a denominator of at most
            1000 (29.97 to 20 is off by less than 1e-6).
        method: `"antialias"`: an anti-aliasing polyphase filter (`scipy.signal.resample_poly`). `"repeat"`: see
            `repeated_frames`.

    Returns:
        Shape (ceil(T · target_fps / fps), J, 3), or as many frames as `repeated_frames` names. The first frame stays the first;
        equal rates return `joints` itself.

    Raises:
        ValueError: If a rate is not positive and finite, or the method is unknown.
        ImportError: If the rates differ and SciPy is not installed.
    """
    for name, rate in (("fps", fps), ("target_fps", target_fps)):
        if not np.isfinite(rate) or rate <= 0:
            raise ValueError(f"{name} must be a positive number of frames per second, got {rate}")
    if method not in RESAMPLINGS:
        raise ValueError(f"unknown resampling {method!r}; known: {', '.join(RESAMPLINGS)}")
    num_frames = joints.shape[-3]
    if fps == target_fps or num_frames == 1:
        return joints
    if method == "repeat":
        return joints[..., repeated_frames(num_frames, fps, target_fps), :, :]
    ratio = Fraction(float(target_fps) / float(fps)).limit_denominator(1000)
    if ratio == 1:
        return joints
    if ratio == 0 or ratio > 1000:
        raise ValueError(
            f"cannot resample from {fps} to {target_fps} frames per second: the rates differ by over 1000 times"
        )
    if resample_poly is None:
        raise ImportError(f"resampling from {fps} to {target_fps} frames per second needs SciPy: pip install scipy")
    frames = on_host(joints)
    resampled = resample_poly(frames, ratio.numerator, ratio.denominator, axis=frames.ndim - 3, padtype="line")
    return resampled if isinstance(joints, np.ndarray) else joints.new_tensor(resampled)


def repeated_frames(num_frames: int, fps: float, target_fps: float) -> np.ndarray:
    """Indices of the frames that the published code takes: whole frames, repeated or left out, second by second.

    A second is taken to have floor(fps) frames. KIT-ML's 12.5 frames per second thus count as 12 that become 20, which plays
    the motion 4 % slower.

    Args:
        num_frames: T.
        fps: Frame rate of the motion; at least 1.
        target_fps: Frame rate wanted; at least 1.

    Returns:
        Indices below T, ascending.

    Raises:
        ValueError: If a rate is below 1.
    """
    if fps < 1 or target_fps < 1:
        raise ValueError(f"repeating frames needs rates of at least 1 frame per second, got {fps} and {target_fps}")
    if int(fps) % int(target_fps) == 0:
        return np.arange(0, num_frames, fps / target_fps).astype(int)
    within = np.floor(fps / target_fps * np.arange(int(target_fps))).astype(int)
    seconds = np.arange(0, num_frames, int(fps))
    frames = (seconds[:, None] + within).reshape(-1)
    return frames[frames < num_frames]
