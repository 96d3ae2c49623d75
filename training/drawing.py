"""`motionpatches draw`: a motion file as a picture, an animation or a page, by the suffix of what is written."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..processing.animation import plot_strip, save_figure, write_gif, write_mp4
from ..processing.motion_page import write_motion_page
from ..processing.readers import read_motion
from ..processing.recording import ReadOptions
from .inference import load_checkpoint


_STRIP, _MOVING, _PAGE = "a strip of poses", "an animation", "a page"
#: What is written under each suffix.
KINDS = {".png": _STRIP, ".pdf": _STRIP, ".svg": _STRIP, ".gif": _MOVING, ".mp4": _MOVING, ".html": _PAGE}
_OF_KIND = {
    "num_poses": _STRIP,
    "size": _MOVING,
    "picture_fps": _MOVING,
    "follow": _MOVING,
    "checkpoint": _PAGE,
    "layer": _PAGE,
    "rollout": _PAGE,
}


@dataclass(frozen=True)
class Drawing:
    """How a motion is drawn; `None` is the default of the kind of picture, and all that a kind does not know must be `None`.

    Args:
        title: Words above, such as a caption.
        num_poses: See `plot_strip`.
        size, picture_fps, follow: See `draw_frames`.
        checkpoint: Folder or Hub id of a contrastive model, whose patches and attention a page shows.
        layer, rollout: Which attention; see `get_motion_attention`.
    """

    title: str | None = None
    num_poses: int | None = None
    size: int | None = None
    picture_fps: float | None = None
    follow: bool | None = None
    checkpoint: str | None = None
    layer: int | None = None
    rollout: bool | None = None

    def for_kind(self, kind: str) -> dict[str, Any]:
        """What was given, for a kind of picture.

        Raises:
            ValueError: If something was given that this kind does not know.
        """
        given = {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}
        for name in given:
            if _OF_KIND.get(name, kind) != kind:
                raise ValueError(f"{name} is for {_OF_KIND[name]}, and this is {kind}; leave it out, or write another kind")
        if ("layer" in given or "rollout" in given) and "checkpoint" not in given:
            raise ValueError("layer and rollout choose among the attention of a model; name a checkpoint too")
        return given


def draw_motion(file: Path, output: Path, drawing: Drawing | None = None, options: ReadOptions | None = None) -> str:
    """Read a motion file and draw it.

    Args:
        file: The motion file.
        output: What is written; its suffix, one of `KINDS`, says what.
        drawing: How it is drawn.
        options: What the caller knows and the file may not say.

    Returns:
        What was drawn, in words.

    Raises:
        FileNotFoundError: If the file or the checkpoint is not there.
        ImportError: If the library that an MP4 or a page needs is not installed; the error names the extra.
        ValueError: If the suffix is another, an option is not for it, or the file holds no motion that can be drawn.
    """
    kind = KINDS.get(output.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot draw into {output.name!r}; its name must end in {', '.join(KINDS)}")
    given = (drawing or Drawing()).for_kind(kind)
    options = options or ReadOptions()
    motion = read_motion(file, **{item.name: getattr(options, item.name) for item in fields(options)})
    if "checkpoint" in given:
        given["model"], given["processor"] = load_checkpoint(given.pop("checkpoint"))
    try:
        if kind == _STRIP:
            save_figure(output, plot_strip(motion, **given))
        elif kind == _PAGE:
            write_motion_page(output, motion, **given)
        elif output.suffix.lower() == ".gif":
            write_gif(output, motion, **given)
        else:
            write_mp4(output, motion, **given)
    except ValueError as error:
        raise ValueError(f"{file}: {str(error).removeprefix('motion 0 ').removeprefix('motion 0: ')}") from error
    return kind
