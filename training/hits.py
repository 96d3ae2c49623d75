"""The chance of a hit where scores are tied."""

import math

import numpy as np


def hit_probability(k: int, above: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Chance that a random order of tied items puts a positive among the first k.

    With g negatives above and t tied with p positives: 0 if k <= g, else `1 - C(t, k-g) / C(t+p, k-g)`. The ratio is taken
    as a product of k - g fractions, which neither overflows nor cancels.

    Args:
        k: Length of the list, at least 1.
        above: Negatives strictly above the best positive, g. Shape (N,), integers.
        tied: Negatives tied with it, t. Shape (N,).
        positives: Positives tied there, itself included, p >= 1. Shape (N,).

    Returns:
        Shape (N,), in [0, 1].
    """
    miss = np.ones(len(above))
    for drawn in range(k):
        left = np.maximum(tied - drawn, 0)
        miss *= np.where(drawn < k - above, left / (left + positives), 1.0)
    return 1.0 - miss


def percent(fractions: np.ndarray) -> float:
    """Mean of fractions in percent, the same in whatever order they come."""
    return 100.0 * math.fsum(fractions) / len(fractions)
