"""Motions as pictures that move, GIF and MP4, and as a strip of poses. A file appears when it is whole."""

import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from .canonical import from_y_up, to_y_up
from .plotting import PART_COLORS, plot_skeleton
from .processing_motionpatches import MotionPatchProcessor, ResolvedMotion
from .rendering import render_motion
from .resampling import resample
from .skeletons import Skeleton
from .video_files import write_video


if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FPS = 20.0
#: Viewers play a GIF of more pictures per second slowly.
MAX_GIF_FPS = 50.0
MAX_BYTES = 2**30

_AZIMUTH = -35.0  # the side from which `plot_skeleton` shows a body
_WALL = (228, 228, 228)
_INK = (30, 30, 30)
_PAPER = (255, 255, 255)
_TITLE_LINES = 2
_PALETTE_FRAMES = 12
_DPI = 110


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write under, which becomes `path` when the block ends without an error; folders are made."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_figure(path: str | Path, figure: "Figure", dpi: int = _DPI) -> None:
    """Write a figure of matplotlib as its suffix says: `.png`, `.pdf` or `.svg`."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lower().lstrip("."), dpi=dpi)


def plot_strip(
    motion: Any,
    num_poses: int = 6,
    title: str | None = None,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
) -> "Figure":
    """A motion as a row of stick figures under a title; see `plot_skeleton`.

    Args:
        motion: Whatever a `MotionPatchProcessor` takes as the motion of one person: a file, a `Motion`, a dict, an array.
        num_poses: Poses to draw, evenly over time.
        title: Text above the poses, such as a caption.
        skeleton, fps: Of a motion that does not say its own.

    Returns:
        The figure.

    Raises:
        ValueError: If the motion is none, has values that are not finite, or is of several persons; or `num_poses` is below 1.
    """
    found = one_person(motion, skeleton, fps)
    figure = plot_skeleton(found.joints, found.skeleton, num_poses)
    if title:
        lines = textwrap.wrap(title, 100, max_lines=_TITLE_LINES, placeholder=" …")
        figure.set_figheight(figure.get_figheight() + 0.25 * (len(lines) + 1))
        figure.axes[0].set_title("\n".join(lines), fontsize=12, parse_math=False)
    return figure


def draw_frames(
    motion: Any,
    title: str | None = None,
    size: int = 320,
    picture_fps: float = PICTURE_FPS,
    follow: bool = False,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
) -> np.ndarray:
    """The pictures of an animation: a stick figure before a still camera, left limbs blue and right limbs red and orange.

    Args:
        motion, skeleton, fps: As in `plot_strip`.
        title: Text above the figure, such as a caption; at most two lines are kept.
        size: Width of a picture in pixels, an even number; its height without the title.
        picture_fps: Pictures per second; the motion is resampled.
        follow: The camera goes with the person, so that the figure stays large; else it stands still and sees the whole way.

    Returns:
        Shape (T', H, size, 3), uint8, H even: red, green and blue.

    Raises:
        ValueError: If the motion is none, has values that are not finite, or is of several persons; a number is out of range; or
            the pictures together are too large.
    """
    found = one_person(motion, skeleton, fps)
    joints = resample(np.asarray(found.joints, dtype=np.float64), found.fps, picture_fps)
    if 3 * len(joints) * size**2 > MAX_BYTES:
        raise ValueError(
            f"{len(joints)} pictures of {size}×{size} pixels, for {len(joints) / picture_fps:.0f} s of motion, are more than "
            f"{MAX_BYTES / 2**30:g} GiB; draw fewer per second, smaller ones, or a part of the motion"
        )
    frames = render_motion(
        _on_the_spot(joints, found.skeleton) if follow else joints,
        found.skeleton,
        background=_WALL,
        size=size,
        azimuth=_AZIMUTH,
        part_colors={part: ImageColor.getrgb(color)[:3] for part, color in PART_COLORS.items()},
    )
    if not title:
        return frames
    band = np.broadcast_to(_title_band(title, size), (len(frames), *_title_band(title, size).shape))
    return np.concatenate([band, frames], axis=1)


def write_gif(path: str | Path, motion: Any, picture_fps: float = PICTURE_FPS, **drawing: Any) -> None:
    """Write a motion as an animated GIF that starts again at its end and plays at the speed of the motion.

    Args:
        path: The file; what is there is replaced.
        motion: As in `draw_frames`.
        picture_fps: Pictures per second, at most `MAX_GIF_FPS`.
        drawing: The other arguments of `draw_frames`.

    Raises:
        ValueError: As `draw_frames`, or if there are too many pictures per second.
        OSError: If the file cannot be written.
    """
    if not 0 < picture_fps <= MAX_GIF_FPS:
        raise ValueError(f"picture_fps is {picture_fps!r}; a GIF has at most {MAX_GIF_FPS:g} pictures per second")
    frames = draw_frames(motion, picture_fps=picture_fps, **drawing)
    # A GIF counts in hundredths of a second: rounded one by one, delays would add up to another speed.
    ends = np.round(100 * np.arange(len(frames) + 1) / picture_fps).astype(int)
    some = frames[np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).round().astype(int)]
    palette = Image.fromarray(some.reshape(-1, *some.shape[2:])).quantize(dither=Image.Dither.NONE)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with whole_file(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=(10 * np.diff(ends)).tolist(),
            loop=0,
        )


def write_mp4(path: str | Path, motion: Any, picture_fps: float = PICTURE_FPS, **drawing: Any) -> None:
    """Write a motion as an MP4 file (H.264) that plays at the speed of the motion; see `write_gif` for the arguments.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: As `draw_frames`.
        OSError: If the file cannot be written.
    """
    frames = draw_frames(motion, picture_fps=picture_fps, **drawing)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, picture_fps)


def one_person(motion: Any, skeleton: str | Skeleton | None = None, fps: float | None = None) -> ResolvedMotion:
    """The motion of one person with its skeleton and frame rate settled, as a `MotionPatchProcessor` does.

    Raises:
        ValueError, TypeError: If it is no motion, has values that are not finite, or is of several persons.
    """
    (found,) = MotionPatchProcessor(fps=PICTURE_FPS, normalization=None).resolve([motion], skeleton, fps)
    if found.joints.ndim != 3:
        raise ValueError(f"the motion is of {len(found.joints)} persons; one is drawn: pass the joints (T, J, 3) of one")
    return found


def _on_the_spot(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Each frame moved along the ground so that its pelvis stays above one point. Shape (T, J, 3)."""
    upright = to_y_up(skeleton.complete(joints), skeleton)
    moved = upright - upright[:, [skeleton.pelvis]] * np.array([1.0, 0.0, 1.0])
    return from_y_up(moved, skeleton)


def _title_band(title: str, width: int) -> np.ndarray:
    """Dark words on white paper, as high as the lines need. Shape (H, width, 3), H even."""
    font = ImageFont.truetype(_font_file(), max(width // 20, 10))
    most = len(title)
    while most > 1 and max(map(font.getlength, _lines(title, most))) > 0.94 * width:
        most -= 1
    text = "\n".join(_lines(title, most))
    ascent, descent = font.getmetrics()
    line = round(1.15 * (ascent + descent))
    height = 2 * ((line * (text.count("\n") + 1) + line // 2) // 2)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, height / 2), text, fill=_INK, font=font, anchor="mm", align="center")
    return np.asarray(image)


def _lines(title: str, width: int) -> list[str]:
    return textwrap.wrap(title, width, max_lines=_TITLE_LINES, placeholder="…") or [""]


def _font_file() -> str:
    from matplotlib.font_manager import findfont

    return findfont("DejaVu Sans")  # comes with matplotlib
