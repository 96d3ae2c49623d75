"""What was not seen is filled where that is safe, counted, and refused where it is a guess."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import PchipInterpolator

from motionpatches.processing.gaps import fill_gaps


NAMES = ["LKNE", "RKNE", "LANK"]


def smooth(num_frames=60):
    times = np.linspace(0, 3, num_frames)[:, None, None]
    return np.sin(times + np.arange(9).reshape(3, 3)) * 500


def test_a_motion_without_gaps_is_returned_as_it_is():
    positions = smooth()
    filled, notes = fill_gaps(positions, None, 0.5, NAMES)
    assert filled is positions
    assert notes == []


def test_short_gaps_are_filled_close_to_the_truth_and_counted():
    truth = smooth()
    positions = truth.copy()
    positions[10:15, 0] = np.nan
    positions[13:16, 2] = np.nan
    positions[40, 2, 1] = np.nan  # one coordinate is enough
    given_positions = positions.copy()
    filled, notes = fill_gaps(positions, 30.0, 0.5, NAMES)
    assert np.abs(filled - truth).max() < 5  # of 500
    seen = np.isfinite(given_positions).all(axis=-1)
    np.testing.assert_array_equal(filled[seen], truth[seen])
    np.testing.assert_array_equal(positions, given_positions)  # the caller's array stays
    assert notes == ["filled 9 missing positions of LKNE, LANK in 7 frames by interpolation in time"]


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_that_of_all_frames_that_were_seen(seed):
    """Only the frames around a gap are interpolated, which must not change the curve."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(200, 1, 3))
    positions[rng.random(200) < 0.4] = np.nan
    filled, _ = fill_gaps(positions, 30.0, np.inf, ["HEAD"])
    seen = np.flatnonzero(np.isfinite(positions[:, 0, 0]))
    inside = np.arange(seen[0], seen[-1] + 1)
    np.testing.assert_allclose(filled[inside, 0], PchipInterpolator(seen, positions[seen, 0])(inside), atol=1e-12)


def test_the_ends_hold_the_nearest_position():
    positions = smooth()
    positions[:4, 1] = positions[-3:, 1] = np.nan
    filled, _ = fill_gaps(positions, 30.0, 0.5, NAMES)
    np.testing.assert_array_equal(filled[:4, 1], np.tile(positions[4, 1], (4, 1)))
    np.testing.assert_array_equal(filled[-3:, 1], np.tile(positions[-4, 1], (3, 1)))


def test_a_joint_seen_once_stays_there():
    positions = smooth(5)
    positions[[0, 1, 3, 4], 0] = np.nan
    filled, _ = fill_gaps(positions, 30.0, 0.5, NAMES)
    np.testing.assert_array_equal(filled[:, 0], np.tile(positions[2, 0], (5, 1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_kept(dtype):
    positions = smooth().astype(dtype)
    positions[5, 0] = np.nan
    assert fill_gaps(positions, 30.0, 0.5, NAMES)[0].dtype == dtype


def test_the_limit_is_in_seconds_and_includes_itself():
    positions = smooth()
    positions[10:25, 0] = np.nan  # 15 frames
    for fps in (30.0, 29.97, 60.0):
        limit = 15 / fps
        assert np.isfinite(fill_gaps(positions, fps, limit, NAMES)[0]).all()
        with pytest.raises(ValueError, match="LKNE"):
            fill_gaps(positions, fps, 14 / fps, NAMES)


def test_long_gaps_are_refused_with_the_joints_the_frame_and_a_way_out():
    positions = smooth()
    positions[12:36, 1] = np.nan
    positions[3:5, 1] = np.nan
    positions[50:52, 0] = np.nan  # short enough
    with pytest.raises(ValueError, match=r"RKNE \(24 frames or 0\.8 s from frame 12\)") as info:
        fill_gaps(positions, 30.0, 0.5, NAMES)
    assert "longer than max_gap=0.5 s" in str(info.value)
    assert "LKNE" not in str(info.value)
    mend = float(str(info.value).split("pass max_gap=")[1].split(" ")[0])
    assert np.isfinite(fill_gaps(positions, 30.0, mend, NAMES)[0]).all()  # the advice works


def test_many_long_gaps_do_not_flood_the_message():
    positions = np.full((100, 40, 3), np.nan)
    positions[[0, -1]] = 0.0
    with pytest.raises(ValueError, match=r"40 joints missing.*M4 .*, \.\.\.;") as info:
        fill_gaps(positions, 30.0, 0.5, [f"M{i}" for i in range(40)])
    assert "M6" not in str(info.value)


def test_a_joint_that_is_never_seen_is_refused_even_without_a_limit():
    positions = smooth()
    positions[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"LANK is missing in all 60 frames"):
        fill_gaps(positions, 30.0, np.inf, NAMES)


def test_infinite_positions_are_no_gaps():
    positions = smooth()
    positions[7:9, 1, 2] = np.inf
    with pytest.raises(ValueError, match="RKNE is infinite in 2 frames, first in frame 7"):
        fill_gaps(positions, 30.0, 0.5, NAMES)


def test_without_a_frame_rate_gaps_need_a_decision():
    positions = smooth()
    positions[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"RKNE.*fps=.*max_gap=float\('inf'\)"):
        fill_gaps(positions, None, 0.5, NAMES)
    assert np.isfinite(fill_gaps(positions, None, np.inf, NAMES)[0]).all()


@pytest.mark.parametrize("max_gap", [-1.0, np.nan])
def test_a_limit_that_is_none_is_refused(max_gap):
    with pytest.raises(ValueError, match="max_gap"):
        fill_gaps(smooth(), 30.0, max_gap, NAMES)


def test_no_gap_at_all_may_be_allowed():
    positions = smooth()
    positions[7, 1] = np.nan
    with pytest.raises(ValueError, match="max_gap=0 s"):
        fill_gaps(positions, 30.0, 0.0, NAMES)


@given(missing=arrays(bool, (30, 3)), seed=st.integers(0, 100))
def test_whatever_is_missing_is_filled_within_what_was_seen(missing, seed):
    positions = np.random.default_rng(seed).normal(size=(30, 3, 3))
    missing[seed % 30] = False
    positions[missing] = np.nan
    filled, notes = fill_gaps(positions, 30.0, np.inf, NAMES)
    assert (filled <= np.nanmax(positions, axis=0) + 1e-9).all()
    assert (filled >= np.nanmin(positions, axis=0) - 1e-9).all()
    assert bool(notes) == bool(missing.any())
