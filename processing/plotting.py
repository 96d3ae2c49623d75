"""Pictures of motions, of their patches, and of what was retrieved. Every function returns a matplotlib `Figure`.

Nothing global is touched and no display is needed: the caller saves the figure, `figure.savefig("motion.png")`.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .canonical import canonicalize, leg_length
from .skeletons import PARTS, Skeleton, get_skeleton


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: A colour for each of `PARTS`, told apart by colour-blind readers too (Okabe and Ito, 2008): the right side is warm, the
#: left side is blue.
PART_COLORS = dict(zip(PARTS, ("#D55E00", "#0072B2", "#4D4D4D", "#E69F00", "#56B4E9"), strict=True))

WIDTH = 10.0  # inches, so that 100 dots per inch give 1000 pixels
PADDING_GREY = 0.87
CORRECT_GREEN = "#2E9E5B"


def plot_skeleton(
    joints: Any, skeleton: str | Skeleton, num_poses: int = 6, ax: "Axes | None" = None, path: bool = True
) -> "Figure":
    """A motion as a row of stick figures, time from left to right.

    Each pose stands in its own place, turned a little to the side; the first faces the reader. Colours follow `PART_COLORS`.
    Numbers under the figures are frames.

    Args:
        joints: Shape (T, J, 3), in the unit and with the up axis of `skeleton`.
        skeleton: A name or a `Skeleton`.
        num_poses: Poses to draw, evenly over time, first and last frame included; fewer where T is smaller.
        ax: Axes to draw on; a new figure without it.
        path: Draw the root's way over the ground, seen from above, at the right of the poses where it travels.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: If the shape does not fit the skeleton, a value is not finite, or `num_poses` is below 1.
    """
    if ax is not None:
        _draw_motion(ax, joints, skeleton, num_poses, path)
        return _root_figure(ax)
    figure = new_figure(3.5)
    ax = figure.add_subplot()
    _draw_motion(ax, joints, skeleton, num_poses, path)
    height_per_width = np.diff(ax.get_ylim())[0] / np.diff(ax.get_xlim())[0]
    figure.set_figheight(min(WIDTH * height_per_width, 4.0) + 0.5)
    return _settled(figure)


def plot_patches(motion_values: Any, mask: Any = None, title: str | None = None, ax: "Axes | None" = None) -> "Figure":
    """Motion patches as an image, x, y and z drawn as red, green and blue (paper section 3.2, Figure 4).

    Each channel is stretched between its 1st and 99th percentile over the real frames.

    Args:
        motion_values: Shape (3, F, 5·N): frames down, N sample points across for each of `PARTS`. F is a multiple of N.
        mask: Shape (F/N,), 1 for each window that holds a real frame; the others are drawn grey.
        title: Text above the image.
        ax: Axes to draw on; a new figure without it.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: If the shapes do not fit, a value is not finite, or no window is real.
    """
    values, real = _check_patches(motion_values, mask)
    size = values.shape[2] // len(PARTS)
    num_frames, width = values.shape[1:]
    if ax is None:
        ax = new_figure(7.0, width=7.0).add_subplot()

    ax.imshow(
        patch_image(values, np.repeat(real, size)), aspect="auto", interpolation="nearest", extent=(0, width, num_frames, 0)
    )
    ax.hlines(np.arange(size, num_frames, size), 0, width, color="white", linewidth=0.6)
    ax.vlines(np.arange(size, width, size), 0, num_frames, color="white", linewidth=2)
    _label_parts(ax, size)
    every = size * max(1, round(num_frames / size / 7))
    ax.set_yticks(np.arange(0, num_frames + 1, every))
    ax.tick_params(axis="y", labelsize=10)
    ax.set_ylabel("frame", fontsize=11)
    ax.spines[:].set_visible(False)
    if title is not None:
        ax.set_title(wrap_words(title, 60), fontsize=12, pad=12, parse_math=False)
    return _root_figure(ax)


def plot_motion_and_patches(items: Sequence[Mapping[str, Any]], num_poses: int = 5) -> "Figure":
    """Motions beside their patches, one row an item (the layout of the paper's Figure 4).

    Args:
        items: Dicts with `joints` (T, J, 3), `skeleton`, `caption`, `motion_values` (3, F, 5·N), and `mask` (F/N,) or none;
            see `plot_skeleton` and `plot_patches`.
        num_poses: Poses drawn of each motion.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no items, a key is missing, or a shape does not fit.
    """
    _check_dicts(items, "items", ("joints", "skeleton", "caption", "motion_values"))
    figure = new_figure(3.6 * len(items))
    grid = figure.add_gridspec(len(items), 2, width_ratios=[1.9, 1])
    for row, item in enumerate(items):
        left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
        _draw_motion(left, item["joints"], item["skeleton"], num_poses, path=True, aspect=2.3)
        left.set_title(wrap_words(item["caption"], 58), fontsize=12, parse_math=False)
        plot_patches(item["motion_values"], item.get("mask"), ax=right)
    return _settled(figure)


def plot_retrieval(results: Sequence[Mapping[str, Any]], num_hits: int = 3, num_poses: int = 4) -> "Figure":
    """Queries and the motions found for them, one row a query, best hit first (as in the paper's section 4.6).

    Args:
        results: Dicts with `query`, a text, and `hits`, dicts with `joints` (T, J, 3), `skeleton`, `score`, `caption`. A hit
            whose `correct` is true gets a green frame.
        num_hits: Hits drawn of each query.
        num_poses: Poses drawn of each hit.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no results, a result has no hits, a key is missing, or a shape does not fit.
    """
    _check_dicts(results, "results", ("query", "hits"))
    for number, result in enumerate(results):
        _check_dicts(result["hits"], f"results[{number}]['hits']", ("joints", "skeleton", "score", "caption"))
    figure = new_figure(3.1 * len(results))
    for row, result in zip(figure.subfigures(len(results), 1, squeeze=False)[:, 0], results, strict=True):
        _draw_hits(row, result, num_hits, num_poses)
    return _settled(figure)


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """A figure of so many inches whose parts keep clear of one another."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def _root_figure(ax: "Axes") -> "Figure":
    return ax.figure.figure  # one step further where the axes lie in a subfigure


def _settled(figure: "Figure") -> "Figure":
    """The figure after one round of its layout; axes of equal scale need two, and saving runs the second."""
    figure.draw_without_rendering()
    return figure


def _world(joints: Any, skeleton: Skeleton) -> np.ndarray:
    """Joints in metres, y up, on the floor, first frame facing +z. Shape (T, J, 3)."""
    joints = np.asarray(joints, dtype=np.float64)
    expected = (skeleton.num_joints, 3)
    if joints.ndim != 3 or joints.shape[1:] not in (expected, (skeleton.num_nodes, 3)) or len(joints) == 0:
        raise ValueError(
            f"joints has shape {joints.shape}; skeleton {skeleton.name!r} needs (T, {expected[0]}, 3) with at least one "
            "frame; reshape the joints or pass the skeleton that they have"
        )
    if not np.isfinite(joints).all():
        raise ValueError("joints holds NaN or infinite values; expected finite positions; fill or drop those frames")
    return canonicalize(joints, skeleton)


def _on_the_spot(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Each frame moved along the ground so that its root is at x = z = 0. Shape (T, J, 3)."""
    return joints - joints[:, [skeleton.pelvis]] * np.array([1.0, 0.0, 1.0])


def _view(yaw: float = 35.0, pitch: float = 8.0) -> np.ndarray:
    """Rotation to the reader's axes: x right, y up, z towards the reader. Angles in degrees. Shape (3, 3)."""
    yaw, pitch = np.radians([yaw, pitch])
    about_y = np.array([[np.cos(yaw), 0.0, np.sin(yaw)], [0.0, 1.0, 0.0], [-np.sin(yaw), 0.0, np.cos(yaw)]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(pitch), -np.sin(pitch)], [0.0, np.sin(pitch), np.cos(pitch)]])
    return about_x @ about_y


def _draw_motion(
    ax: "Axes", joints: Any, skeleton: str | Skeleton, num_poses: int, path: bool, aspect: float | None = None
) -> None:
    """Poses, frame numbers and path on axes of equal scale, as wide as they need or of the given width per height."""
    skeleton = get_skeleton(skeleton)
    world = _world(joints, skeleton)
    if num_poses < 1:
        raise ValueError(f"num_poses is {num_poses}; expected at least 1")
    frames = np.unique(np.linspace(0, len(world) - 1, num_poses).round().astype(int))
    size = max(leg_length(world, skeleton), 1e-3)
    ground = world[:, skeleton.pelvis][:, [0, 2]]
    path = path and bool(np.ptp(ground, axis=0).max() > 0.5 * size)

    poses = _on_the_spot(world[frames], skeleton) @ _view().T
    height = 0.3 * size + max(float(poses[..., 1].max()), 2 * size)
    aside = 0.5 * size + (2.1 * size if path else 0.0)
    places = _places(poses, gap=0.3 * size, width=(aspect or 0.0) * height - aside)
    poses[..., 0] += places[:, None]

    left, right = float(poses[..., 0].min()) - 0.25 * size, float(poses[..., 0].max()) + aside - 0.25 * size
    ax.axhline(0, color="0.75", linewidth=1, zorder=0)
    for pose in poses:
        _draw_pose(ax, pose, skeleton, head_radius=0.12 * size)
    if path:
        _draw_path(ax, ground, size, center=right - size)
    _frame_axes(ax, left, right, bottom=-0.15 * size, top=max(height, (right - left) / (aspect or np.inf)))
    ax.set_xticks(places, ["frame 0", *map(str, frames[1:])], fontsize=10, color="0.35")


def _places(poses: np.ndarray, gap: float, width: float) -> np.ndarray:
    """Where poses (P, J, 3) stand: evenly, at least `gap` apart, wider where that fills `width`. Shape (P,)."""
    if len(poses) == 1:
        return np.zeros(1)
    left, right = poses[..., 0].min(axis=1), poses[..., 0].max(axis=1)
    step = max((right[:-1] - left[1:]).max(), 0.0) + gap
    fill = (width + left[0] - right[-1]) / (len(poses) - 1)
    return max(step, fill) * np.arange(len(poses))


def _bone_parts(skeleton: Skeleton) -> list[str]:
    """The part of `PARTS` that each joint, and the bone from its parent, is coloured as. J strings.

    A joint of several chains belongs to the torso if that is one of them. A joint of none, such as a thumb, follows its
    parent.
    """
    found: dict[int, str] = {}
    for part in ("torso", *PARTS):
        for joint in skeleton.chains[part]:
            found.setdefault(joint, part)
    for joint in skeleton.topological_order:
        found.setdefault(joint, found.get(skeleton.parents[joint], "torso"))
    return [found[joint] for joint in range(skeleton.num_nodes)]


def _draw_pose(ax: "Axes", pose: np.ndarray, skeleton: Skeleton, head_radius: float) -> None:
    """One stick figure from joints (J, 3) in the reader's axes; bones behind are drawn first."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle

    parts = _bone_parts(skeleton)
    bones = [joint for joint in range(skeleton.num_nodes) if skeleton.parents[joint] >= 0]
    bones.sort(key=lambda joint: pose[joint, 2] + pose[skeleton.parents[joint], 2])
    lines = [pose[[skeleton.parents[joint], joint], :2] for joint in bones]
    colors = [PART_COLORS[parts[joint]] for joint in bones]
    ax.add_collection(LineCollection(lines, colors=colors, linewidths=2.6, capstyle="round", zorder=2))
    if "head" in skeleton.landmarks:
        x, y, _ = pose[skeleton.landmarks["head"]]
        ax.add_patch(Circle((x, y), head_radius, color=PART_COLORS["torso"], zorder=3))


def _draw_path(ax: "Axes", ground: np.ndarray, size: float, center: float) -> None:
    """The root's way from above, (T, 2) in metres, fitted into a square at x = `center`; +z points down, to the reader."""
    box = 1.3 * size
    scaled = (ground - (ground.min(axis=0) + ground.max(axis=0)) / 2) * (box / np.ptp(ground, axis=0).max())
    x, y = scaled[:, 0] + center, 0.2 * size + box / 2 - scaled[:, 1]
    ax.plot(x, y, color="0.45", linewidth=1.6)
    ax.plot(x[0], y[0], "o", color="0.45", markersize=6, markerfacecolor="white")
    ax.plot(x[-1], y[-1], "o", color="0.45", markersize=6)
    length = np.linalg.norm(np.diff(ground, axis=0), axis=1).sum()
    label = f"path from above\n{length:.1f} m"
    ax.text(center, 0.32 * size + box, label, ha="center", va="bottom", fontsize=10, color="0.35")


def _frame_axes(ax: "Axes", left: float, right: float, bottom: float, top: float) -> None:
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_aspect("equal")
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0)
    ax.spines[:].set_visible(False)


def _label_parts(ax: "Axes", size: int) -> None:
    """Names and colours of the parts above columns that are `size` wide."""
    from matplotlib.transforms import ScaledTranslation

    above = ScaledTranslation(0, 6 / 72, _root_figure(ax).dpi_scale_trans)
    for part, start in zip(PARTS, range(0, len(PARTS) * size, size), strict=True):
        ends = [start + 0.06 * size, start + 0.94 * size]
        (strip,) = ax.plot(ends, [1, 1], color=PART_COLORS[part], linewidth=4, solid_capstyle="butt", clip_on=False)
        strip.set_transform(ax.get_xaxis_transform() + above)
    ax.xaxis.tick_top()
    ax.set_xticks((np.arange(len(PARTS)) + 0.5) * size, [part.replace("_", "\n") for part in PARTS], fontsize=10)
    ax.tick_params(axis="x", length=0, pad=11)


def patch_image(values: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Values (3, F, W) as an image (F, W, 3) in [0, 1], grey where `real` (F,) is false."""
    low, high = np.percentile(values[:, real], [1, 99], axis=(1, 2))
    scale = np.where(high > low, high - low, 1.0)
    image = np.clip((values - low[:, None, None]) / scale[:, None, None], 0, 1).transpose(1, 2, 0)
    image[~real] = PADDING_GREY
    return image


def _draw_hits(row: "SubFigure", result: Mapping[str, Any], num_hits: int, num_poses: int) -> None:
    row.suptitle(wrap_words(result["query"], 90), x=0.01, ha="left", fontsize=13, fontweight="bold", parse_math=False)
    axes = row.subplots(1, num_hits, squeeze=False)[0]
    for ax in axes[len(result["hits"]) :]:
        ax.set_axis_off()
    captions = [wrap_words(hit["caption"], 40) for hit in result["hits"][:num_hits]]
    lines = max(caption.count("\n") for caption in captions)
    for rank, (ax, hit, caption) in enumerate(zip(axes, result["hits"], captions, strict=False), start=1):
        _draw_motion(ax, hit["joints"], hit["skeleton"], num_poses, path=False, aspect=1.65)
        below = "\n" * (lines - caption.count("\n"))  # so that the first lines of a row are level
        ax.set_title(f"{rank}.  {hit['score']:.2f}\n{caption}{below}", fontsize=10.5, parse_math=False)
        if hit.get("correct"):
            ax.spines[:].set(visible=True, color=CORRECT_GREEN, linewidth=3)


def wrap_words(text: str, width: int, lines: int = 2) -> str:
    """Text in lines of so many characters; what is more ends in an ellipsis."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))


def _check_patches(motion_values: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values (3, F, 5·N) as float64, and which of the F/N windows are real."""
    values = np.asarray(motion_values, dtype=np.float64)
    num_parts = len(PARTS)
    if values.ndim != 3 or values.shape[0] != 3 or 0 in values.shape or values.shape[2] % num_parts:
        raise ValueError(
            f"motion_values has shape {values.shape}; expected (3, F, {num_parts}·N): one motion, without a batch axis"
        )
    size = values.shape[2] // num_parts
    if values.shape[1] % size:
        raise ValueError(f"motion_values has {values.shape[1]} frames; expected a multiple of the patch size {size}")
    if not np.isfinite(values).all():
        raise ValueError("motion_values holds NaN or infinite values; expected finite numbers")
    windows = values.shape[1] // size
    real = np.ones(windows, dtype=bool) if mask is None else np.asarray(mask).astype(bool)
    if real.shape != (windows,):
        raise ValueError(f"mask has shape {real.shape}; expected ({windows},), one value for every {size} frames")
    if not real.any():
        raise ValueError("mask marks every window as padding; expected at least one real window")
    return values, real


def _check_dicts(items: Any, name: str, keys: Sequence[str]) -> None:
    if isinstance(items, Mapping) or len(items) == 0:
        given = "one dict" if isinstance(items, Mapping) else "an empty list"
        raise ValueError(f"{name} is {given}; expected a list of dicts with {', '.join(keys)}")
    for number, item in enumerate(items):
        absent = [key for key in keys if key not in item]
        if absent:
            raise ValueError(f"{name}[{number}] has no {', '.join(absent)}; it has {', '.join(map(str, item))}")
