"""Intervals by the bootstrap, of a number and of the difference of two that were measured on the same queries."""

from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap


CONFIDENCE = 0.95
_RESAMPLES = 9999
_MANY = 10_000
_VALUES_AT_ONCE = 2**24


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean, seed: int = 0
) -> tuple[float, float]:
    """95% interval of a statistic over queries that are drawn again and again, with replacement.

    Of a mean with up to 10,000 values it is corrected for bias and skewness (BCa, Efron 1987). Beyond, and for other statistics,
    it lies between percentiles.

    Args:
        values: One for each query, shape (n,). Of a paired comparison, the differences.
        statistic: Takes `axis`, as `numpy.mean` and `numpy.median` do.
        seed: Of the draws.

    Raises:
        ValueError: If there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise ValueError("there are no values for an interval")
    if (values == values[0]).all():  # nothing to draw from
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,),
        statistic,
        n_resamples=_RESAMPLES,
        batch=max(1, _VALUES_AT_ONCE // len(values)),
        confidence_level=CONFIDENCE,
        method="BCa" if statistic is np.mean and len(values) <= _MANY else "percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def difference_interval(
    first: np.ndarray, second: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean, seed: int = 0
) -> tuple[float, float]:
    """95% interval of `statistic(second) - statistic(first)`, both measured on the same queries, which are drawn in pairs.

    Args:
        first, second: Shape (n,), in the same order of queries.
        statistic, seed: As in `bootstrap_interval`, which says how the interval is made.

    Raises:
        ValueError: If the shapes differ or there are no values.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired values of shapes {first.shape} and {second.shape}; expected those of the same queries")
    if statistic is np.mean:
        return bootstrap_interval(second - first, seed=seed)
    if not len(first):
        raise ValueError("there are no values for an interval")
    found = bootstrap(
        (first, second),
        lambda a, b, axis=-1: statistic(b, axis=axis) - statistic(a, axis=axis),
        paired=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _VALUES_AT_ONCE // len(first)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
