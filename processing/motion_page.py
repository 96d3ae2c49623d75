"""A page that plays a motion in 3D beside its patches and what a model attends to: one HTML file that needs nothing else."""

import base64
import html
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .animation import PICTURE_FPS, whole_file
from .canonical import canonicalize
from .patched_motion import PatchedMotion, patch_motion
from .plotting import PART_COLORS, patch_image
from .plotting_skeletons import NO_CHAIN_GREY
from .processing_motionpatches import MotionPatchProcessor
from .resampling import resample
from .skeletons import PARTS, Skeleton


if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: How much is shown of a motion where no processor of a model says it.
MAX_FRAMES = 960

# Places in the width of the page: the body, the patches, the attention.
_BODY, _BODY_ALONE = (0.0, 0.55), (0.0, 0.72)
_PATCHES, _PATCHES_ALONE = (0.61, 0.77), (0.78, 1.0)
_ATTENTION = (0.80, 0.96)
_MARGIN = 0.2  # metres of floor around the way
_AZIMUTH = -35.0  # degrees: the side from which `plot_skeleton` shows a body
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>html, body {{ height: 100%; margin: 0; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


def write_motion_page(path: str | Path, motion: Any, title: str | None = None, **drawing: Any) -> None:
    """Write `plot_motion_player` as an HTML file that works without a network.

    Args:
        path: The file; what is there is replaced.
        motion, title: As in `plot_motion_player`.
        drawing: Its other arguments.

    Raises:
        ImportError, ValueError: As `plot_motion_player`.
        OSError: If the file cannot be written.
    """
    figure = plot_motion_player(motion, title=title, **drawing)
    body = figure.to_html(full_html=False, include_plotlyjs=True, auto_play=False, config={"displaylogo": False})
    with whole_file(path) as temporary:
        temporary.write_text(_PAGE.format(title=html.escape(title or "motion"), figure=body), encoding="utf-8")


def plot_motion_player(
    motion: Any,
    model: Any = None,
    processor: Any = None,
    title: str | None = None,
    layer: int = -1,
    rollout: bool = False,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
) -> "Figure":
    """A motion to play, to wind with a slider and, while it stands, to turn with the mouse, beside its patches.

    The patches are an image of x, y and z as red, green and blue. With a model, the attention to each body part and window stands
    beside it, and the joints of the body have the colour of the attention to their part. A line shows the time in both.

    Args:
        motion: Whatever a `MotionPatchProcessor` takes as the motion of one person: a file, a `Motion`, a dict, an array.
        model: Has `get_motion_attention`, as a `MotionPatchesModel` has; it comes with its processor.
        processor: The `MotionTextProcessor` or `MotionPatchProcessor` that makes the patches; default one that does not
            normalise. Of a motion longer than its `max_frames` the beginning is shown, with a warning.
        title: Words above, such as a caption.
        layer, rollout: Which attention; see `get_motion_attention`.
        skeleton, fps: Of a motion that does not say its own.

    Returns:
        A figure of plotly.

    Raises:
        ImportError: If plotly is not installed.
        ValueError: As `patch_motion`; or if a model comes without its processor.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError("an interactive page needs plotly: pip install 'motionpatches[pages]'") from error
    if model is not None and processor is None:
        raise ValueError("a model sees what its own processor makes; pass processor=… with it")
    if processor is None:
        processor = MotionPatchProcessor(max_frames=MAX_FRAMES, fps=PICTURE_FPS, normalization=None)
    patches = getattr(processor, "feature_extractor", processor)
    scene = _Scene(patch_motion(motion, patches, model, layer, rollout, skeleton, fps), patches)
    moving = scene.moving(0)
    frames = [
        go.Frame(data=scene.moving(frame), name=str(frame), traces=list(range(len(moving))))
        for frame in range(scene.found.num_frames)
    ]
    return go.Figure(moving + scene.still(), scene.layout(title), frames)


class _Scene:
    """What a page shows, as plotly's dicts."""

    def __init__(self, found: PatchedMotion, processor: MotionPatchProcessor) -> None:
        self.found, self.fps, self.size = found, float(processor.fps), processor.patch_size
        self.skeleton = found.motion.skeleton
        joints = resample(found.motion.joints, found.motion.fps, processor.fps, processor.resampling)
        world = canonicalize(np.asarray(joints, dtype=np.float64), self.skeleton)
        self.world = world[: found.num_frames, :, [2, 0, 1]].round(3)  # plotly's z is up
        self.num_patch_frames = found.motion_values.shape[1]
        self.parts = {joint: part for part in PARTS for joint in self.skeleton.chains[part]}
        self.parts |= dict.fromkeys(self.skeleton.chains["torso"], "torso")  # the limbs begin at its joints
        self.loose = [
            (parent, joint) for joint, parent in enumerate(self.skeleton.parents) if parent >= 0 and joint not in self.parts
        ]

    def moving(self, frame: int) -> list[dict[str, Any]]:
        """The body, and the line of time in each image, at one frame."""
        pose = self.world[frame]
        lines = [([pose[list(self.skeleton.chains[part])]], PART_COLORS[part], 9, _words(part)) for part in PARTS]
        if self.loose:
            lines.append(([pose[list(bone)] for bone in self.loose], NO_CHAIN_GREY, 4, "in no chain"))
        traces = [_line(*line) for line in lines]
        traces.append(self._joints(pose, frame))
        traces.append(self._time(frame, "", len(PARTS) * self.size, "#FFFFFF"))
        if self.found.attention is not None:
            traces.append(self._time(frame, "2", len(PARTS), "#1FD1D1"))
        return traces

    def still(self) -> list[dict[str, Any]]:
        """The way of the pelvis over the floor, and the images."""
        way = self.world[:, self.skeleton.pelvis] * [1.0, 1.0, 0.0]
        traces = [_line([way], "#9A9A9A", 3, "way over the floor"), self._patches()]
        return traces if self.found.attention is None else [*traces, self._attention(self.found.attention)]

    def _joints(self, pose: np.ndarray, frame: int) -> dict[str, Any]:
        chosen, head = list(self.parts), self.skeleton.landmarks.get("head")
        marker: dict[str, Any] = {"opacity": 1, "size": [16 if joint == head else 5 for joint in chosen]}
        if self.found.attention is None:
            marker["color"] = [PART_COLORS[part] for part in self.parts.values()]
        else:
            now = 100 * self.found.attention[frame // self.size]
            marker |= {
                "color": [round(float(now[PARTS.index(part)]), 3) for part in self.parts.values()],
                "coloraxis": "coloraxis",
                "size": [16 if joint == head else 8 for joint in chosen],
            }
        names = [self.skeleton.joint_names[joint] for joint in chosen]
        return {
            **_places(pose[chosen]), "type": "scatter3d", "mode": "markers", "marker": marker, "text": names,
            "hoverinfo": "text", "showlegend": False,
        }  # fmt: skip

    def _time(self, frame: int, axes: str, width: int, color: str) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "lines", "x": [0, width], "y": [frame + 0.5] * 2, "xaxis": f"x{axes}", "yaxis": f"y{axes}",
            "line": {"color": color, "width": 3}, "hoverinfo": "skip", "showlegend": False,
        }  # fmt: skip

    def _patches(self) -> dict[str, Any]:
        real = np.arange(self.num_patch_frames) < self.found.num_frames
        pixels = (255 * patch_image(np.asarray(self.found.motion_values, dtype=np.float64), real)).round().astype(np.uint8)
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, format="PNG")
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        return {"type": "image", "source": source, "x0": 0.5, "y0": 0.5, "hoverinfo": "skip"}

    def _attention(self, attention: np.ndarray) -> dict[str, Any]:
        shown = [
            [round(100 * float(weight), 3) if is_real else None for weight in row]
            for row, is_real in zip(attention, self.found.mask, strict=True)
        ]
        return {
            "type": "heatmap", "z": shown, "x": [column + 0.5 for column in range(len(PARTS))],
            "y": [(window + 0.5) * self.size for window in range(len(attention))], "xaxis": "x2", "yaxis": "y2",
            "coloraxis": "coloraxis", "text": [[_words(part) for part in PARTS]] * len(attention),
            "hovertemplate": "%{text}: %{z:.1f} %<extra></extra>",
        }  # fmt: skip

    def layout(self, title: str | None) -> dict[str, Any]:
        """Places, axes, buttons and the slider."""
        is_alone = self.found.attention is None
        words = [html.escape(line, quote=False) for line in textwrap.wrap(title or "", 110)]
        words += [f"<i>{self.found.cut}</i>"] if self.found.cut else []
        layout = {
            "template": "plotly_white",
            "title": {"text": "<br>".join(words), "x": 0.5, "y": 1.0, "yanchor": "top", "pad": {"t": 12}},
            "margin": {"l": 10, "r": 10, "t": 90 + 24 * len(words), "b": 10},
            "scene": self._scene(_BODY_ALONE if is_alone else _BODY),
            "xaxis": _part_axis(_PATCHES_ALONE if is_alone else _PATCHES, self.size, "patches, x, y, z as RGB"),
            "yaxis": self._frame_axis("x", f"frame, {self.fps:g} per second"),
            "legend": {"x": 0.0, "y": 1.0, "xanchor": "left", "yanchor": "top"},
            "sliders": [self._slider()],
            "updatemenus": [self._buttons()],
        }
        if self.found.attention is not None:
            layout["xaxis2"] = _part_axis(_ATTENTION, 1, "attention") | {"anchor": "y2"}
            layout["yaxis2"] = self._frame_axis("x2", "") | {"showticklabels": False}
            bar = {"title": {"text": "attention, percent", "side": "right"}, "x": 0.97, "thickness": 14, "len": 0.9}
            most = 100 * float(self.found.attention.max())
            layout["coloraxis"] = {"colorscale": "Inferno", "cmin": 0, "cmax": most, "colorbar": bar}
        return layout

    def _scene(self, width: tuple[float, float]) -> dict[str, Any]:
        low, high = self.world.min(axis=(0, 1)) - _MARGIN, self.world.max(axis=(0, 1)) + _MARGIN
        low[2] = -0.02  # so that the floor does not hide half of the feet
        axes = {
            f"{name}axis": {
                "range": [float(low[axis]), float(high[axis])], "title": {"text": ""}, "showticklabels": False, "dtick": 0.5,
                "showbackground": name == "z", "backgroundcolor": "#E4E4E4", "gridcolor": "#FFFFFF", "showspikes": False,
                "zeroline": False,
            }
            for axis, name in enumerate("xyz")
        }  # fmt: skip
        turn = np.radians(_AZIMUTH)
        eye = {"x": 1.4 * float(np.cos(turn)), "y": 1.4 * float(np.sin(turn)), "z": 0.35}
        ratio = dict(zip("xyz", ((high - low) / (high - low).max()).tolist(), strict=True))
        return {
            **axes,
            "domain": {"x": width},
            "aspectmode": "manual",
            "aspectratio": ratio,
            "camera": {"eye": eye},
            "uirevision": "still",
        }

    def _frame_axis(self, anchor: str, title: str) -> dict[str, Any]:
        return {
            "range": [self.num_patch_frames, 0], "anchor": anchor, "title": {"text": title}, "showgrid": False, "zeroline": False,
            "scaleanchor": False, "dtick": self.size * max(1, round(self.num_patch_frames / self.size / 7)),
        }  # fmt: skip

    def _slider(self) -> dict[str, Any]:
        steps = [
            {"method": "animate", "label": f"{frame / self.fps:.2f} s", "args": [[str(frame)], _at_once(0)]}
            for frame in range(self.found.num_frames)
        ]
        return {"steps": steps, "x": 0.14, "len": 0.86, "pad": {"t": 30}, "currentvalue": {"prefix": "time "}}

    def _buttons(self) -> dict[str, Any]:
        play = {**_at_once(1000 / self.fps), "fromcurrent": True}
        return {
            "type": "buttons", "direction": "left", "x": 0.0, "y": 0.0, "xanchor": "left", "yanchor": "top",
            "pad": {"t": 50}, "showactive": False,
            "buttons": [
                {"label": "Play", "method": "animate", "args": [None, play]},
                {"label": "Pause", "method": "animate", "args": [[None], _at_once(0)]},
            ],
        }  # fmt: skip


def _words(part: str) -> str:
    return part.replace("_", " ")


def _places(points: np.ndarray) -> dict[str, list[float]]:
    return {name: points[:, axis].tolist() for axis, name in enumerate("xyz")}


def _line(pieces: list[np.ndarray], color: str, width: int, name: str) -> dict[str, Any]:
    """Polylines (n, 3), one trace with gaps between them."""
    places: dict[str, list[float | None]] = {"x": [], "y": [], "z": []}
    for piece in pieces:
        for axis, values in _places(piece).items():
            places[axis] += [None, *values] if places[axis] else values
    line = {"color": color, "width": width}
    return {**places, "type": "scatter3d", "mode": "lines", "line": line, "name": name, "hoverinfo": "skip"}


def _part_axis(place: tuple[float, float], width: int, title: str) -> dict[str, Any]:
    """Parts beside each other in columns that are so wide."""
    return {
        "domain": place, "range": [0, len(PARTS) * width], "side": "top", "title": {"text": title, "font": {"size": 13}},
        "tickangle": 0, "tickfont": {"size": 10}, "tickvals": [(part + 0.5) * width for part in range(len(PARTS))],
        "ticktext": [_words(part).replace(" ", "<br>") for part in PARTS], "showgrid": False, "zeroline": False,
    }  # fmt: skip


def _at_once(milliseconds: float) -> dict[str, Any]:
    """Options of plotly's animation: show a frame for so long, without a transition."""
    return {"mode": "immediate", "frame": {"duration": milliseconds, "redraw": True}, "transition": {"duration": 0}}
