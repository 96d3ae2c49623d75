"""Motions as pictures of a stick figure, one a frame: videos where none were recorded, with things in them that no joint tells.

A figure may hold a coloured ball or box in either hand, before a coloured wall. Left limbs are light and right limbs are dark, so
that a viewer can tell the sides from any direction. The same arguments give the same pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .canonical import canonicalize, leg_length
from .skeletons import PARTS, Skeleton, get_skeleton


Color = tuple[int, int, int]

#: The colours that a thing in a hand can have, red, green and blue out of 255.
COLORS: dict[str, Color] = {
    "red": (220, 40, 40),
    "orange": (250, 140, 20),
    "yellow": (245, 225, 60),
    "green": (40, 165, 60),
    "blue": (45, 90, 225),
    "purple": (145, 55, 185),
}
#: The colours of walls, paler than those of things.
BACKGROUNDS: dict[str, Color] = {
    "grey": (150, 150, 150),
    **{name: (r * 3 // 5 + 51, g * 3 // 5 + 51, b * 3 // 5 + 51) for name, (r, g, b) in COLORS.items()},
}
HANDS = ("left", "right")
SHAPES = ("ball", "box")

_SIDES: dict[str, Color] = {"left": (245, 245, 245), "right": (25, 25, 25), "torso": (110, 110, 110)}
_LIMBS = {part: _SIDES[part.partition("_")[0]] for part in PARTS}
_RIM: Color = (255, 255, 255)
_FLOOR = 0.75  # brightness of the floor to that of the wall
_FINE = 2  # pixels drawn for each that is kept, along each side
_MIN_SIZE = 32

# In leg lengths, so that figures of any unit and size look alike.
_HEAD, _THING, _MARGIN = 0.14, 0.32, 0.06
_LIMB_WIDTH, _REACH, _FLOOR_DEPTH = 0.09, 0.12, 1.5
# Out of the width of the picture: the least radius of a thing, and the least room around all joints.
_MIN_THING, _MIN_ROOM = 0.06, 0.08


@dataclass(frozen=True)
class Prop:
    """A thing in a hand.

    Args:
        hand: One of `HANDS`: the person's own left or right.
        color: A key of `COLORS`.
        shape: One of `SHAPES`.

    Raises:
        ValueError: If one is unknown.
    """

    hand: str
    color: str
    shape: str = "ball"

    def __post_init__(self) -> None:
        for name, given, known in (("hand", self.hand, HANDS), ("color", self.color, COLORS), ("shape", self.shape, SHAPES)):
            if given not in known:
                raise ValueError(f"a prop has {name} {given!r}; expected one of {', '.join(known)}")


def render_motion(
    joints: Any,
    skeleton: str | Skeleton,
    props: Sequence[Prop] = (),
    background: str | Color = "grey",
    size: int = 96,
    azimuth: float | Sequence[float] = 0.0,
    elevation: float = 8.0,
    part_colors: Mapping[str, Color] | None = None,
) -> np.ndarray:
    """Draw a motion as the pictures of a camera that stands still and sees all of it.

    Args:
        joints: Shape (T, J, 3), in any unit, with the up axis of `skeleton`.
        skeleton: A name or a `Skeleton`.
        props: What the person holds, at most one thing in each hand.
        background: The colour of the wall, a key of `BACKGROUNDS` or a colour; the floor is a darker tone of it.
        size: Width and height of a picture in pixels, an even number.
        azimuth: Where the camera stands, in degrees around the person as they face in the first frame: 0 in front of them, 90 at
            their left, 180 behind them. One number, or one for each frame of a camera that turns.
        elevation: How far it looks down, in degrees below the horizontal, between -90 and 90.
        part_colors: A colour for each of `PARTS`, the head in that of the torso; default light left and dark right limbs.

    Returns:
        Shape (T, size, size, 3), uint8: red, green and blue.

    Raises:
        ValueError: If the joints do not fit the skeleton or are not finite, the skeleton has no arm to hold a thing, or an
            argument is out of range.
    """
    body = get_skeleton(skeleton)
    joints = np.asarray(joints, dtype=np.float64)
    angles = _check(joints, body, props, background, size, azimuth, elevation)
    world = canonicalize(joints, body, unit=False)
    unit = leg_length(world, body)
    if not unit > 0:
        raise ValueError("the legs have no length, so that nothing can be drawn to scale; are all joints at one place?")
    world = world / unit
    held = np.stack([_hand_places(world, body, prop.hand) for prop in props], axis=1) if props else world[:, :0]
    axes = _camera_axes(angles, elevation)
    seen = np.einsum("tij,tpj->tpi", axes, np.concatenate([world, held], axis=1))
    pixels_per_unit, shift = _framing(seen[..., :2], size)
    horizon = shift[1] - pixels_per_unit * _FLOOR_DEPTH * max(np.sin(np.radians(elevation)), 0.0)
    wall = BACKGROUNDS[background] if isinstance(background, str) else background
    canvas = Image.new("RGB", (size * _FINE, size * _FINE), wall)
    floor = [0, horizon * _FINE, size * _FINE, size * _FINE]
    if floor[1] < floor[3]:
        ImageDraw.Draw(canvas).rectangle(floor, fill=_shaded(wall, _FLOOR))
    seen[..., :2] = (seen[..., :2] * [1, -1] * pixels_per_unit + shift) * _FINE
    picture = _Picture(
        body,
        tuple(props),
        pixels_per_unit * _FINE,
        _MIN_THING * size * _FINE,
        _LIMBS if part_colors is None else part_colors,
    )
    return np.stack([np.asarray(_draw(canvas.copy(), places, picture).reduce(_FINE)) for places in seen])


def _check(
    joints: np.ndarray,
    body: Skeleton,
    props: Sequence[Prop],
    background: str | Color,
    size: int,
    azimuth: float | Sequence[float],
    elevation: float,
) -> np.ndarray:
    """The azimuth of each frame, shape (T,), once all arguments are found to be possible."""
    if joints.ndim != 3 or not len(joints) or joints.shape[1:] not in ((body.num_joints, 3), (body.num_nodes, 3)):
        raise ValueError(
            f"joints has shape {joints.shape}; skeleton {body.name!r} needs (T, {body.num_joints}, 3) with at least one frame"
        )
    if not np.isfinite(joints).all():
        raise ValueError("joints holds NaN or infinite values; fill or drop those frames")
    hands = [prop.hand for prop in props]
    if len(set(hands)) < len(hands):
        raise ValueError(f"the props are in the hands {', '.join(hands)}; a hand holds one thing")
    for hand in hands:
        if f"{hand}_wrist" not in body.landmarks and f"{hand}_hand" not in body.landmarks:
            raise ValueError(f"skeleton {body.name!r} has no {hand} wrist or hand that could hold a thing")
    if isinstance(background, str) and background not in BACKGROUNDS:
        raise ValueError(f"background is {background!r}; expected one of {', '.join(BACKGROUNDS)}")
    if isinstance(size, bool) or not isinstance(size, int) or size < _MIN_SIZE or size % 2:
        raise ValueError(f"size is {size!r}; expected an even number of pixels, at least {_MIN_SIZE}")
    if not np.isfinite(elevation) or abs(elevation) >= 90:
        raise ValueError(f"elevation is {elevation!r}; expected degrees between -90 and 90")
    angles = np.asarray(azimuth, dtype=np.float64)
    if angles.shape not in ((), (len(joints),)) or not np.isfinite(angles).all():
        raise ValueError(
            f"azimuth has shape {angles.shape}; expected one finite number of degrees, or one for each of {len(joints)} frames"
        )
    return np.broadcast_to(angles, (len(joints),))


def _camera_axes(angles: np.ndarray, elevation: float) -> np.ndarray:
    """Rows right, up and towards the camera, for each frame. Degrees (T,) → (T, 3, 3)."""
    turn, lift = np.radians(angles), np.radians(elevation)
    sin, cos, zero = np.sin(turn), np.cos(turn), np.zeros_like(turn)
    right = np.stack([cos, zero, -sin], axis=-1)
    up = np.stack([-np.sin(lift) * sin, np.cos(lift) + zero, -np.sin(lift) * cos], axis=-1)
    return np.stack([right, up, np.cross(right, up)], axis=1)


def _hand_places(world: np.ndarray, body: Skeleton, hand: str) -> np.ndarray:
    """Where a thing in a hand is: at the hand, or a little beyond the wrist. Shape (T, 3)."""
    at = body.landmarks
    if f"{hand}_hand" in at:
        return world[:, at[f"{hand}_hand"]]
    wrist = world[:, at[f"{hand}_wrist"]]
    along = wrist - world[:, body.parents[at[f"{hand}_wrist"]]]
    return wrist + _REACH * along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)


def _framing(seen: np.ndarray, size: int) -> tuple[float, np.ndarray]:
    """Pixels per leg length, and where the origin lies in the picture (x, y), so that all points (T, P, 2) are in it."""
    low, high = seen.min(axis=(0, 1)), seen.max(axis=(0, 1))
    span, room = float((high - low).max()), _THING + _MARGIN
    pixels = min(size / (span + 2 * room), (1 - 2 * _MIN_ROOM) * size / max(span, 1e-6))
    middle = (low + high) / 2 * [1, -1] * pixels
    return pixels, size / 2 - middle


class _Picture(NamedTuple):
    """What all pictures of a video share; lengths in fine pixels."""

    body: Skeleton
    props: tuple[Prop, ...]
    unit: float
    min_thing: float
    colors: Mapping[str, Color]


def _draw(image: Image.Image, places: np.ndarray, picture: _Picture) -> Image.Image:
    """Draw a pose, what is far first. Places (J + props, 3): x, y in fine pixels, and nearness."""
    draw, body, unit = ImageDraw.Draw(image), picture.body, picture.unit
    colors = _limb_colors(body, picture.colors)
    pen = max(2.0, _LIMB_WIDTH * unit)
    x, y, near = places.T.tolist()
    strokes: list[tuple[float, int, int]] = []
    for joint, parent in enumerate(body.parents):
        if parent >= 0:
            strokes.append(((near[joint] + near[parent]) / 2, joint, parent))
    strokes += [(near[body.num_nodes + number] + 0.1, -1, number) for number in range(len(picture.props))]
    if "head" in body.landmarks:
        strokes.append((near[body.landmarks["head"]], -2, body.landmarks["head"]))
    for _, joint, other in sorted(strokes):
        if joint == -1:
            number = body.num_nodes + other
            radius = max(_THING * unit, picture.min_thing)
            _dot(draw, x[number], y[number], radius, COLORS[picture.props[other].color], picture.props[other].shape, _RIM)
        elif joint == -2:
            _dot(draw, x[other], y[other], _HEAD * unit, picture.colors["torso"])
        else:
            ends = [(x[other], y[other]), (x[joint], y[joint])]
            draw.line(ends, fill=colors[joint], width=round(pen))
            for end in ends:
                _dot(draw, *end, pen / 2, colors[joint])
    return image


def _dot(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Color, shape: str = "ball", rim: Color | None = None
) -> None:
    corners = [x - radius, y - radius, x + radius, y + radius]
    form = draw.rectangle if shape == "box" else draw.ellipse
    form(corners, fill=fill, outline=rim, width=_FINE if rim else 0)


def _limb_colors(body: Skeleton, colors: Mapping[str, Color]) -> list[Color]:
    """The colour of the bone that ends in each joint; one of no limb, such as a thumb's, is as its parent's."""
    parts: dict[int, str] = {}
    for part in ("torso", *PARTS):
        for joint in body.chains[part]:
            parts.setdefault(joint, part)
    for joint in body.topological_order:
        parts.setdefault(joint, parts.get(body.parents[joint], "torso"))
    return [colors[parts[joint]] for joint in range(body.num_nodes)]


def _shaded(color: Color, factor: float) -> Color:
    red, green, blue = (int(part * factor) for part in color)
    return red, green, blue
