"""Pictures of several motions for a paper: attention maps, and the captions that were found for motions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .plotting import CORRECT_GREEN, new_figure, plot_patches, plot_skeleton, wrap_words
from .plotting_attention import draw_attention


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 3.4  # inches
_LINE = 0.17  # inches, of a line of a caption
_POSES, _FOUND, _SCORE = (
    3.9,
    4.6,
    0.75,
)  # inches: widths of the columns of motions and captions, and of a rank with its score
_CHARACTERS = 44  # in a line of a found caption


def plot_attention_maps(items: Sequence[Mapping[str, Any]], num_poses: int = 4) -> "Figure":
    """Motions, their patches, and the attention that each patch gets, one row a motion (paper Figure 7).

    All maps share one scale.

    Args:
        items: Dicts with `joints` (T, J, 3), `skeleton`, `caption`, `motion_values` (3, F, 5·N), `mask` (F/N,) and `attention`
            (F/N, 5); see `plot_attention`.
        num_poses: Poses drawn of each motion.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no items or a shape does not fit.
    """
    if not items:
        raise ValueError("items is empty; expected at least one")
    figure = new_figure(len(items) * _ROW)
    grid = figure.add_gridspec(len(items), 4, width_ratios=[1.7, 1, 1, 0.05])
    images = []
    for row, item in enumerate(items):
        poses, patches, attention = (figure.add_subplot(grid[row, column]) for column in range(3))
        plot_skeleton(item["joints"], item["skeleton"], num_poses, ax=poses, path=False)
        poses.set_title(wrap_words(item["caption"], 48, 3), fontsize=11, parse_math=False)
        plot_patches(item["motion_values"], item["mask"], ax=patches)
        images.append(draw_attention(attention, item["motion_values"], item["attention"], item["mask"]))
    for image in images:
        image.set_clim(0, 100 * max(float(np.max(item["attention"])) for item in items))
    figure.colorbar(images[0], cax=figure.add_subplot(grid[:, 3]), label="attention, percent")
    return figure


def plot_found_captions(results: Sequence[Mapping[str, Any]], num_hits: int = 5, num_poses: int = 4) -> "Figure":
    """Motions and the captions found for them, one row a motion, best first, one column a model (paper Figure 9).

    Under each motion stand its own captions; found ones that are among them are green.

    Args:
        results: Dicts with `joints` (T, J, 3), `skeleton`, `captions` (those of the motion) and `hits`: for each model, under the
            name that heads its column, dicts with `text` and `score`.
        num_hits: Captions drawn of each model.
        num_poses: Poses drawn of each motion.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no results, or they are not of the same models.
    """
    if not results:
        raise ValueError("results is empty; expected at least one")
    names = list(results[0]["hits"])
    if any(list(result["hits"]) != names for result in results):
        raise ValueError(f"results are of different models; expected hits of {', '.join(names)} in each")
    heights = [
        max([2.6, *(0.4 + sum(_height(hit["text"]) for hit in hits[:num_hits]) for hits in result["hits"].values())])
        for result in results
    ]
    figure = new_figure(sum(heights), width=_POSES + _FOUND * len(names))
    grid = figure.add_gridspec(len(results), 1 + len(names), width_ratios=[_POSES, *[_FOUND] * len(names)])
    grid.set_height_ratios(heights)
    for row, result in enumerate(results):
        poses = figure.add_subplot(grid[row, 0])
        plot_skeleton(result["joints"], result["skeleton"], num_poses, ax=poses, path=False)
        poses.set_xlabel(wrap_words("; ".join(result["captions"]), 46, 4), fontsize=9.5, color="0.25", parse_math=False)
        for column, name in enumerate(names):
            ax = figure.add_subplot(grid[row, column + 1])
            _write_captions(ax, result["hits"][name][:num_hits], result["captions"])
            if name and not row:
                ax.set_title(wrap_words(name, _CHARACTERS), fontsize=12, fontweight="bold", pad=12, parse_math=False)
    return figure


def _write_captions(ax: "Axes", hits: Sequence[Mapping[str, Any]], captions: Sequence[str]) -> None:
    """Found captions under each other, from the upper edge of the axes down."""
    ax.set_axis_off()
    down = 0.0
    for rank, hit in enumerate(hits, 1):
        color, weight = (CORRECT_GREEN, "bold") if hit["text"] in captions else ("0.15", "normal")
        for right, words in ((0.0, f"{rank}.  {hit['score']:.2f}"), (_SCORE, _found_words(hit["text"]))):
            ax.annotate(
                words,
                (0, 1),
                (72 * right, -72 * down),
                xycoords="axes fraction",
                textcoords="offset points",
                va="top",
                fontsize=9.5,
                color=color,
                fontweight=weight,
                parse_math=False,
                in_layout=False,
            )
        down += _height(hit["text"])


def _height(text: str) -> float:
    return _LINE * (_found_words(text).count("\n") + 1) + 0.08


def _found_words(text: str) -> str:
    return wrap_words(text, _CHARACTERS, 3)
