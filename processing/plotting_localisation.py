"""A picture of where in a long recording sentences fit: their scores over time, and the moments found."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .plotting import new_figure, plot_skeleton
from .skeletons import Skeleton


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOMENT, _TRUTH = "#E69F00", "#0072B2"
_GREYS = (0.0, 0.72)  # of the shortest windows and of the longest


def plot_localisation(
    seconds: Any,
    scores: Any,
    labels: Sequence[str],
    moments: Sequence[Mapping[str, Any]] = (),
    threshold: float | None = None,
    truth: Mapping[str, Sequence[Sequence[float]]] | None = None,
    joints: Any = None,
    skeleton: str | Skeleton | None = None,
    title: str | None = None,
    num_poses: int = 10,
) -> "Figure":
    """Scores over time, one panel a sentence, one line a window length; each window's score stands at its middle.

    Args:
        seconds: Shape (W, 2), beginning and end of each window.
        scores: Shape (L, W), a row for each sentence.
        labels: L sentences.
        moments: Dicts with `label`, `start`, `end` and `score`, as the pipeline returns them: shaded, numbered from the best of
            each sentence.
        threshold: Least score of a moment, a dashed line.
        truth: Of sentences for which it is known, when they are true: `{label: [(start, end), …]}`; a bar under the scores.
        joints: Shape (T, J, 3), in the unit and with the up axis of `skeleton`: drawn as a row of poses above. `None`: no poses.
        skeleton: Name or `Skeleton` of the joints.
        title: Text above the figure.
        num_poses: Poses to draw.

    Returns:
        The figure.

    Raises:
        ValueError: If the shapes do not fit, a score is not finite, a moment or truth is of another sentence, or joints come
            without a skeleton.
    """
    seconds, scores = np.asarray(seconds, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _check(seconds, scores, labels, moments, truth or {})
    if joints is not None and skeleton is None:
        raise ValueError("joints are drawn with a skeleton; pass skeleton=…")
    heights = [2.1] * len(labels)
    if joints is not None:
        heights = [1.9, *heights]
    figure = new_figure(sum(heights) + 0.8)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    if joints is not None and skeleton is not None:
        poses = figure.add_subplot(grid[0])
        plot_skeleton(joints, skeleton, num_poses, ax=poses, path=False)
        times = np.linspace(0, seconds.max(), len(poses.get_xticks()))
        poses.set_xticks(poses.get_xticks(), [f"{time:.1f} s" for time in times], fontsize=9.5, color="0.35")
    axes: list[Axes] = []
    for number, label in enumerate(labels):
        ax = figure.add_subplot(grid[number - len(labels)], sharex=axes[0] if axes else None)
        axes.append(ax)
        _draw_lines(ax, seconds, scores[number])
        _draw_moments(ax, [moment for moment in moments if moment["label"] == label])
        for start, end in (truth or {}).get(label, ()):
            ax.plot([start, end], [0.02, 0.02], color=_TRUTH, linewidth=5, transform=ax.get_xaxis_transform(), label="truth")
        if threshold is not None:
            ax.axhline(threshold, color="0.35", linewidth=1, linestyle="--", label="threshold")
        ax.set_title(label, fontsize=11.5, loc="left", parse_math=False)
        ax.set_ylabel("score", fontsize=10)
        ax.margins(y=0.22)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9.5, labelbottom=number == len(labels) - 1)
    axes[0].set_xlim(0, seconds.max())
    axes[-1].set_xlabel("time in seconds", fontsize=10)
    drawn = {name: line for ax in axes for line, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=6, fontsize=9.5, frameon=False)
    if title is not None:
        figure.suptitle(title, fontsize=12.5, parse_math=False)
    return figure


def _draw_lines(ax: "Axes", seconds: np.ndarray, scores: np.ndarray) -> None:
    lengths = np.round(seconds[:, 1] - seconds[:, 0], 3)
    distinct = np.unique(lengths)
    for length, grey in zip(distinct, np.linspace(*_GREYS, len(distinct)), strict=True):
        of_length = lengths == length
        middle, height = seconds[of_length].mean(axis=1), scores[of_length]
        order = np.argsort(middle)
        style: dict[str, Any] = {"color": str(grey), "linewidth": 1.6, "label": f"windows of {length:g} s"}
        if len(middle) == 1:  # no line of one point: as wide as the window
            ax.plot(seconds[of_length][0], [height[0]] * 2, **style)
        else:
            ax.plot(middle[order], height[order], **style)


def _draw_moments(ax: "Axes", moments: Sequence[Mapping[str, Any]]) -> None:
    best_first = sorted(moments, key=lambda moment: -moment["score"])
    for rank, moment in enumerate(best_first, 1):
        start, end = moment["start"], moment["end"]
        ax.axvspan(start, end, color=_MOMENT, alpha=0.38 if rank == 1 else 0.18, linewidth=0, label="moments found")
        ax.text(
            (start + end) / 2, 0.98, f"{rank}\n{moment['score']:.2f}", ha="center", va="top", fontsize=9.5,
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip


def _check(
    seconds: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    moments: Sequence[Mapping[str, Any]],
    truth: Mapping[str, Any],
) -> None:
    if not len(labels) or seconds.ndim != 2 or seconds.shape[1:] != (2,) or scores.shape != (len(labels), len(seconds)):
        raise ValueError(
            f"seconds has shape {seconds.shape} and scores {scores.shape}, for {len(labels)} labels; expected (windows, 2) and "
            "(labels, windows), with at least one label"
        )
    if not (np.isfinite(seconds).all() and np.isfinite(scores).all()):
        raise ValueError("seconds or scores hold NaN or infinity; expected finite numbers")
    others = sorted({*(moment["label"] for moment in moments), *truth} - set(labels))
    if others:
        raise ValueError(f"moments or truth are of {others}, which are none of the labels {list(labels)}")
