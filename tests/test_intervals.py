"""Bootstrap intervals."""

import numpy as np
import pytest

from motionpatches.training.intervals import bootstrap_interval, difference_interval


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_there_are_many_values():
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    low, high = bootstrap_interval(values)
    margin = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.1 * margin)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    found = [bootstrap_interval(rng.binomial(1, 0.3, size=80), seed=trial) for trial in range(60)]
    assert sum(low <= 0.3 <= high for low, high in found) >= 51  # 57 expected


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(0)
    first = rng.normal(size=300)
    second = first + 0.1 + 0.05 * rng.normal(size=300)
    low, high = difference_interval(first, second)
    assert 0.09 < low < high < 0.11
    alone = bootstrap_interval(first)
    assert high - low < 0.1 * (alone[1] - alone[0])
    assert difference_interval(second, first)[1] < 0


def test_the_difference_of_medians_is_paired_too():
    first = np.random.default_rng(0).permutation(np.arange(1.0, 102.0))
    low, high = difference_interval(first, first + 4, np.median)
    assert (low, high) == (4, 4)


def test_many_values_and_equal_values():
    assert bootstrap_interval(np.full(50, 7.0)) == (7, 7)
    values = np.random.default_rng(0).normal(size=10_001)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval(np.array([]))
    with pytest.raises(ValueError, match="those of the same queries"):
        difference_interval(np.zeros(3), np.zeros(4))
