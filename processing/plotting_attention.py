"""A picture of what a motion tower attends to (paper Figure 7)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .plotting import new_figure, plot_patches, plot_skeleton
from .skeletons import PARTS, Skeleton


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def plot_attention(
    motion_values: Any,
    attention: Any,
    mask: Any = None,
    joints: Any = None,
    skeleton: str | Skeleton | None = None,
    title: str | None = None,
    num_poses: int = 6,
) -> "Figure":
    """Motion patches beside the attention that each of them gets (paper Figure 7), below the motion itself.

    Args:
        motion_values: Shape (3, F, 5·N), one motion.
        attention: Shape (F/N, 5): what `get_motion_attention` of a model returns for it.
        mask: Shape (F/N,), 1 for each window that holds a real frame; the others are drawn grey.
        joints: Shape (T, J, 3), in the unit and with the up axis of `skeleton`; drawn as a row of poses. `None`: no poses.
        skeleton: Name or `Skeleton` of the joints.
        title: Text above the figure.
        num_poses: Poses to draw.

    Returns:
        The figure.

    Raises:
        ValueError: If the shapes do not fit, a value is not finite or negative, or joints come without a skeleton.
    """
    if joints is not None and skeleton is None:
        raise ValueError("joints are drawn with a skeleton; pass skeleton=…")
    figure = new_figure(6.0 if joints is None else 9.0)
    rows = 1 if joints is None else 2
    grid = figure.add_gridspec(rows, 3, width_ratios=[1, 1, 0.05], height_ratios=[1, 2][-rows:])
    if joints is not None and skeleton is not None:
        plot_skeleton(joints, skeleton, num_poses, ax=figure.add_subplot(grid[0, :]))
    left, right, bar = (figure.add_subplot(grid[-1, column]) for column in range(3))
    plot_patches(motion_values, mask, ax=left)
    image = draw_attention(right, motion_values, attention, mask)
    figure.colorbar(image, cax=bar, label="attention, percent")
    if title is not None:
        figure.suptitle(title, fontsize=13, parse_math=False)
    return figure


def draw_attention(ax: "Axes", motion_values: Any, attention: Any, mask: Any = None) -> "AxesImage":
    """Motion patches under the attention, in percent, that each of them gets; arguments and errors as `plot_attention`.

    Returns:
        The image of the attention, for a colour bar.
    """
    values = np.asarray(motion_values)
    weights = np.asarray(attention, dtype=np.float64)
    num_parts = len(PARTS)
    windows = values.shape[1] * num_parts // values.shape[2] if values.ndim == 3 and values.shape[2] else 0
    if weights.shape != (windows, num_parts):
        raise ValueError(
            f"attention has shape {weights.shape} for motion_values of shape {values.shape}; expected ({windows}, {num_parts}): "
            "windows by body parts of one motion"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("attention holds negative values, NaN or infinity; expected weights")
    plot_patches(values, mask, ax=ax)
    real = np.ones(windows, dtype=bool) if mask is None else np.asarray(mask).astype(bool)
    shade = np.ma.masked_array(weights * 100, mask=~np.broadcast_to(real[:, None], weights.shape))
    frames, width = values.shape[1:]
    return ax.imshow(
        shade, aspect="auto", interpolation="nearest", extent=(0, width, frames, 0), cmap="inferno", alpha=0.85, vmin=0
    )
