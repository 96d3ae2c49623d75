"""Gaps: markers and joints that were not seen for some frames → filled, or refused where they are too long to guess."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator


_SHOWN = 5


def fill_gaps(
    positions: np.ndarray, fps: float | None, max_gap: float, names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Fill short gaps by interpolation in time, each joint for itself.

    Inside a motion the curve is `scipy.interpolate.PchipInterpolator`'s, which does not overshoot; at its ends the nearest
    position is held. A joint of which one coordinate is missing is missing.

    Args:
        positions: Shape (T, N, 3), in any unit; NaN where a joint was not seen.
        fps: Frames per second; `None` where it is unknown, which is an error if there are gaps and `max_gap` is finite.
        max_gap: Longest gap that is filled, in seconds.
        names: N names, for the messages.

    Returns:
        The positions, without NaN (the array that was given if it has none, else a copy of the same dtype), and at most one
        note, which counts what was filled.

    Raises:
        ValueError: If positions are infinite, a joint is never seen, a gap is longer than `max_gap`, or `max_gap` is no
            number of seconds.
    """
    if not max_gap >= 0:
        raise ValueError(f"max_gap is {max_gap!r}; expected seconds, such as 0.5, or 0 to fill nothing")
    missing = ~np.isfinite(positions).all(axis=-1)
    touched = np.flatnonzero(missing.any(axis=0)).tolist()
    if len(touched) == 0:
        return positions, []
    _refuse_infinite(positions, touched, names)
    _refuse_unseen(missing, touched, names)
    gaps = {node: _gaps(missing[:, node]) for node in touched}
    _refuse_long(gaps, fps, max_gap, names)
    filled = positions.copy()
    for node, runs in gaps.items():
        _fill(filled[:, node], missing[:, node], runs)
    count, frames = int(missing.sum()), int(missing.any(axis=1).sum())
    return filled, [
        f"filled {_plural(count, 'missing position')} of {_listed([names[node] for node in touched])} in "
        f"{_plural(frames, 'frame')} by interpolation in time"
    ]


def _gaps(missing: np.ndarray) -> np.ndarray:
    """Runs of missing frames as rows (first, behind the last), shape (G, 2), of a mask (T,)."""
    steps = np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def _fill(track: np.ndarray, missing: np.ndarray, gaps: np.ndarray) -> None:
    """Fill one joint (T, 3) in place."""
    seen = np.flatnonzero(~missing)
    lost = np.flatnonzero(missing)
    outside = (lost < seen[0]) | (lost > seen[-1])
    track[lost[outside]] = track[np.clip(lost[outside], seen[0], seen[-1])]
    inside = lost[~outside]
    if len(inside) == 0:
        return
    # The curve over a gap depends on two seen frames before it and two behind it only, so that long motions stay cheap.
    behind = np.searchsorted(seen, gaps[:, 0])
    near = np.unique(np.clip(behind[:, None] + np.arange(-2, 2), 0, len(seen) - 1))
    knots = seen[near]
    track[inside] = PchipInterpolator(knots, track[knots].astype(np.float64), axis=0)(inside)


# ---- refusals -----------------------------------------------------------------------------------------------------------


def _refuse_infinite(positions: np.ndarray, nodes: Sequence[int], names: Sequence[str]) -> None:
    for node in nodes:
        infinite = np.isinf(positions[:, node]).any(axis=-1)
        if infinite.any():
            raise ValueError(
                f"{names[node]} is infinite in {_plural(int(infinite.sum()), 'frame')}, first in frame "
                f"{int(np.argmax(infinite))}; export the motion again, or mark what was not seen as NaN"
            )


def _refuse_unseen(missing: np.ndarray, nodes: Sequence[int], names: Sequence[str]) -> None:
    unseen = [names[node] for node in nodes if missing[:, node].all()]
    if unseen:
        raise ValueError(
            f"{_listed(unseen)} {'is' if len(unseen) == 1 else 'are'} missing in all {_plural(len(missing), 'frame')}; label "
            "the markers again, or choose a skeleton without them (skeleton=...)"
        )


def _refuse_long(gaps: dict[int, np.ndarray], fps: float | None, max_gap: float, names: Sequence[str]) -> None:
    if max_gap == math.inf:
        return
    if fps is None:
        raise ValueError(
            f"positions of {_listed([names[node] for node in gaps])} are missing in some frames, but without a frame rate nobody "
            "knows for how long; pass fps=... (frames per second), or max_gap=float('inf') to fill all gaps"
        )
    longest = {}
    for node, runs in gaps.items():
        lengths = runs[:, 1] - runs[:, 0]
        worst = int(np.argmax(lengths))
        if lengths[worst] > max_gap * fps * (1 + 1e-9):
            longest[node] = int(runs[worst, 0]), int(lengths[worst])
    if not longest:
        return
    shown = [
        f"{names[node]} ({_plural(length, 'frame')} or {length / fps:.3g} s from frame {first})"
        for node, (first, length) in list(longest.items())[:_SHOWN]
    ]
    seconds = max(length for _, length in longest.values()) / fps
    raise ValueError(
        f"{_plural(len(longest), 'joint')} missing for longer than max_gap={max_gap:g} s: {', '.join(shown)}"
        f"{', ...' if len(longest) > _SHOWN else ''}; pass max_gap={math.ceil(seconds * 100) / 100:g} to fill them all the same, "
        "or leave those frames out"
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
