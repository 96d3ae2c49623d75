"""Frame rates: from any rate to the rate that a model was trained at."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np


resample_poly: Callable[..., np.ndarray] | None
try:
    from scipy.signal import resample_poly
except ImportError:  # this module travels with checkpoints to machines that may lack SciPy
    resample_poly = None


def resample(joints: np.ndarray, fps: float, target_fps: float) -> np.ndarray:
    """Resample a motion in time with an anti-aliasing polyphase filter (`scipy.signal.resample_poly`).

    Args:
        joints: Shape (T, J, 3).
        fps: Frame rate of `joints`, in frames per second.
        target_fps: Frame rate wanted. The ratio of the two is taken as the nearest fraction with a denominator of at most
            1000 (29.97 to 20 is off by less than 1e-6).

    Returns:
        Shape (ceil(T · target_fps / fps), J, 3). The first frame stays the first; equal rates return `joints` itself.

    Raises:
        ValueError: If a rate is not positive and finite.
        ImportError: If the rates differ and SciPy is not installed.
    """
    for name, rate in (("fps", fps), ("target_fps", target_fps)):
        if not np.isfinite(rate) or rate <= 0:
            raise ValueError(f"{name} must be a positive number of frames per second, got {rate}")
    ratio = Fraction(float(target_fps) / float(fps)).limit_denominator(1000)
    if ratio == 1 or len(joints) == 1:
        return joints
    if ratio == 0:
        raise ValueError(
            f"cannot resample from {fps} to {target_fps} frames per second: the rates differ by over 1000 times"
        )
    if resample_poly is None:
        raise ImportError(f"resampling from {fps} to {target_fps} frames per second needs SciPy: pip install scipy")
    return resample_poly(joints, ratio.numerator, ratio.denominator, axis=0, padtype="line")
