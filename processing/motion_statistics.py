"""Mean and standard deviation of joints or sample points, for the z-score of the motion patches."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class RunningMoments:
    """Mean and standard deviation over frames, one motion at a time, by the pairwise update of Chan et al. (1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in the frames of one motion: (T, K, 3)."""
        count, mean = len(values), values.mean(axis=0)
        delta = mean - self.mean
        total = self.count + count
        self.squares = self.squares + values.var(axis=0) * count + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.count = total

    def statistics(self, min_std: float) -> dict[str, Any]:
        """`{"mean": (K, 3), "std": (K, 3)}` as lists, the standard deviations at least `min_std`."""
        std = np.sqrt(self.squares / self.count)
        return {"mean": self.mean.tolist(), "std": np.maximum(std, min_std).tolist()}


def check_statistics(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of a processor's statistics, checked: `{"mean": (K, 3), "std": (K, 3)}` as lists.

    Raises:
        ValueError: If a key is missing, the shapes disagree, or a standard deviation is not above 0.
    """
    missing = {"mean", "std"} - set(entry)
    if missing:
        raise ValueError(f"statistics of {name!r} lack {sorted(missing)}; each entry holds 'mean' and 'std'")
    mean, std = np.asarray(entry["mean"], dtype=np.float64), np.asarray(entry["std"], dtype=np.float64)
    if mean.ndim != 2 or mean.shape[1] != 3 or mean.shape != std.shape or not (std > 0).all():
        raise ValueError(
            f"statistics of {name!r} have mean {mean.shape} and std {std.shape}; expected two arrays (K, 3) of one shape, all "
            "standard deviations above 0"
        )
    return {"mean": mean.tolist(), "std": std.tolist()}
