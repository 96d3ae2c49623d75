"""Pictures of skeletons: which joint is where, under which number, and in which chain."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .body_points import ARM_POINTS
from .plotting import PART_COLORS
from .skeletons import PARTS, Skeleton, get_skeleton


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_CHAIN_GREY = "#8C8C8C"

_WIDTH = 9.0  # inches
_LEFT, _RIGHT, _BOTTOM, _TOP, _TOP_WITH_FACE = -1.0, 1.0, -0.12, 1.66, 1.96  # metres on the page
_POINTS_PER_METRE = 72 * _WIDTH / (_RIGHT - _LEFT)
_FONT_SIZE = 8.5
_DIGIT = (0.64 * _FONT_SIZE, 0.85 * _FONT_SIZE)  # width and height of a digit, in points
_MARKER = 6.5
_SMALL_MARKER = 4.0

# The reader looks down at the figure by this angle, so that toes are below ankles and the nose is below the head.
_PITCH = np.radians(25.0)
_FROM_FRONT = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(_PITCH), -np.sin(_PITCH)]])
_FROM_ABOVE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_HAND = (*(f"{finger}{number}" for finger in _FINGERS for number in (1, 2, 3)), "wrist", "thumb", *ARM_POINTS[4:])
_FACE = ("nose", "jaw", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class _View:
    """Joints as they are drawn once more: `joints` through `axes` (2, 3), `scale` times as large, in the middle of `place`."""

    title: str
    joints: tuple[int, ...]
    axes: np.ndarray
    scale: float
    place: tuple[float, float]

    def project(self, rest_pose: np.ndarray) -> np.ndarray:
        """Rest pose (J + V, 3) in metres → (J + V, 2) in metres on the page."""
        flat = rest_pose @ self.axes.T
        shown = flat[list(self.joints)]
        return (flat - (shown.min(axis=0) + shown.max(axis=0)) / 2) * self.scale + np.array(self.place)


def plot_rest_pose(skeleton: str | Skeleton, ax: "Axes | None" = None) -> "Figure":
    """A skeleton in its rest pose, facing the reader: its joints with their indices, its chains in `PART_COLORS`.

    Joints in no chain are grey and small, virtual joints hollow. Hands with fingers, faces and feet with more than a toe are
    drawn once more beside the figure, enlarged, and numbered there.

    Args:
        skeleton: A name or a `Skeleton`.
        ax: Axes to draw on; a new figure without it. Numbers are kept apart for axes about as large as that figure.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: If no skeleton has that name.
    """
    skeleton = get_skeleton(skeleton)
    parts = _parts_of(skeleton)
    details = _details(skeleton)
    top = _TOP_WITH_FACE if any(view.title == "face" for view in details) else _TOP
    if ax is None:
        ax = _new_axes(top)
    inside = {joint for view in details for joint in view.joints if parts[joint] is None}
    outline = _View("", tuple(range(skeleton.num_nodes)), _FROM_FRONT, 1.0, (0.0, 0.78))
    labels = _Labels()
    for view in (outline, *details):
        flat = view.project(skeleton.rest_pose)
        _draw_bones(ax, flat, skeleton, parts, view.joints)
        _draw_joints(ax, flat, skeleton, parts, view.joints)
        labels.keep_clear(flat, view.joints, _bones(skeleton, view.joints))
        if view.title:
            above = flat[list(view.joints), 1].max() + 0.09
            ax.text(view.place[0], above, view.title, ha="center", va="bottom", fontsize=9, color="0.35")
    for view in (outline, *details):
        numbered = [joint for joint in view.joints if view is not outline or joint not in inside]
        _number(ax, view.project(skeleton.rest_pose), numbered, parts, labels)
    _frame(ax, skeleton, parts, top)
    return ax.figure.figure  # one step further where the axes lie in a subfigure


def _new_axes(top: float) -> "Axes":
    from matplotlib.figure import Figure

    title = 0.4  # inches
    height = _WIDTH * (top - _BOTTOM) / (_RIGHT - _LEFT)
    return Figure(figsize=(_WIDTH, height + title)).add_axes((0.0, 0.0, 1.0, height / (height + title)))


def _parts_of(skeleton: Skeleton) -> list[str | None]:
    """The part that each of the J + V joints is coloured as; the torso where it shares a joint with a limb."""
    found: dict[int, str] = {}
    for part in ("torso", *PARTS):
        for joint in skeleton.chains[part]:
            found.setdefault(joint, part)
    return [found.get(joint) for joint in range(skeleton.num_nodes)]


def _details(skeleton: Skeleton) -> list[_View]:
    """Enlarged views of what is too crowded in the figure: hands under the arms, the face above one, feet beside the others."""
    at = skeleton.landmarks

    def marked(points: Iterable[str], side: str = "") -> tuple[int, ...]:
        return tuple(at[side + point] for point in points if side + point in at)

    views = []
    for side, sign in (("left_", 1), ("right_", -1)):
        word = side.rstrip("_")
        if f"{side}middle1" in at:
            views.append(_View(f"{word} hand from above", marked(_HAND, side), _FROM_ABOVE, 3.6, (0.62 * sign, 0.78)))
        if f"{side}heel" in at:
            foot = marked(("ankle", "heel", "midfoot", "toe", "small_toe", "toe_tip"), side)
            views.append(_View(f"{word} foot from above", foot, _FROM_ABOVE, 2.2, (0.45 * sign, 0.25)))
    if len(marked(_FACE)) > 2:
        face = (*marked(_FACE), *marked(("head",)))
        views.append(_View("face", face, _FROM_FRONT, 3.6, (0.55, 1.62)))
    return views


def _bones(skeleton: Skeleton, joints: tuple[int, ...]) -> list[tuple[int, int]]:
    """(parent, joint) for each joint whose parent is drawn too."""
    return [(skeleton.parents[joint], joint) for joint in joints if skeleton.parents[joint] in joints]


def _draw_bones(ax: "Axes", flat: np.ndarray, skeleton: Skeleton, parts: list[str | None], joints: tuple[int, ...]) -> None:
    for parent, joint in _bones(skeleton, joints):
        part = parts[joint]
        virtual = max(joint, parent) >= skeleton.num_joints
        ax.plot(
            *flat[[parent, joint]].T,
            color=PART_COLORS[part] if part else NO_CHAIN_GREY,
            linewidth=2.4 if part else 1.0,
            linestyle=(0, (2, 1)) if virtual else "solid",
            zorder=2 if part else 1,
        )


def _draw_joints(ax: "Axes", flat: np.ndarray, skeleton: Skeleton, parts: list[str | None], joints: tuple[int, ...]) -> None:
    for joint in joints:
        part = parts[joint]
        color = PART_COLORS[part] if part else NO_CHAIN_GREY
        ax.plot(
            *flat[joint],
            marker="o",
            markersize=_MARKER if part else _SMALL_MARKER,
            color=color,
            markerfacecolor="white" if joint >= skeleton.num_joints else color,
            markeredgewidth=1.3,
            zorder=4 if part else 3,
        )


_Box = tuple[float, float, float, float]


def _box(middle: np.ndarray, half_width: float, half_height: float) -> _Box:
    x, y = middle
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


class _Labels:
    """Boxes on the page, in points, that no further number may touch."""

    def __init__(self) -> None:
        self.taken: list[_Box] = []

    def keep_clear(self, flat: np.ndarray, joints: tuple[int, ...], bones: list[tuple[int, int]]) -> None:
        """Joints and bones at positions (J + V, 2), in metres."""
        points = flat * _POINTS_PER_METRE
        self.taken += [_box(points[joint], _MARKER / 2, _MARKER / 2) for joint in joints]
        for parent, joint in bones:
            steps = max(int(np.hypot(*(points[joint] - points[parent])) / 3), 1)
            self.taken += [_box(point, 1.5, 1.5) for point in np.linspace(points[parent], points[joint], steps + 1)]

    def place(self, position: np.ndarray, text: str, preferred: float) -> np.ndarray:
        """Offset (2,), in points, of the middle of a number from its joint: the nearest free place, first at an angle."""
        half = np.array([_DIGIT[0] * len(text), _DIGIT[1]]) / 2
        for gap in (6.5, 9.0, 12.0, 17.0, 23.0, 30.0, 38.0):
            for turn in (0, 45, -45, 90, -90, 135, -135, 180):
                angle = np.radians(preferred + turn)
                offset = (gap + half) * np.array([np.cos(angle), np.sin(angle)])
                box = _box(position * _POINTS_PER_METRE + offset, *half)
                if not any(_overlap(box, other) for other in self.taken):
                    self.taken.append(box)
                    return offset
        return np.array([half[0] + 6.5, 0.0])


_ANGLES: Mapping[str | None, float] = {
    "right_leg": 180.0,
    "left_leg": 0.0,
    "torso": 0.0,
    "right_arm": 90.0,
    "left_arm": 90.0,
    None: -90.0,
}


def _number(ax: "Axes", flat: np.ndarray, joints: list[int], parts: list[str | None], labels: _Labels) -> None:
    """Indices beside their joints, those of the chains first; a thin line leads to a number that had to go further off."""
    for joint in sorted(joints, key=lambda joint: parts[joint] is None):
        offset = labels.place(flat[joint], str(joint), _ANGLES[parts[joint]])
        far = float(np.hypot(*offset)) > 16
        ax.annotate(
            str(joint),
            flat[joint],
            xytext=(float(offset[0]), float(offset[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_FONT_SIZE,
            color="0.1" if parts[joint] else "0.35",
            zorder=6,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 3.5, "shrinkB": 1} if far else None,
        )


def _frame(ax: "Axes", skeleton: Skeleton, parts: list[str | None], top: float) -> None:
    """Title, legend and limits."""
    from matplotlib.lines import Line2D

    count = f"{skeleton.num_joints} joints" + (f" + {len(skeleton.virtual)} virtual" if skeleton.virtual else "")
    title = f"{skeleton.name}: {count}, {skeleton.unit}, {skeleton.up_axis} up"
    ax.set_title(title, fontsize=13, parse_math=False)
    handles = [Line2D([], [], color=PART_COLORS[part], linewidth=2.4, label=part.replace("_", " ")) for part in PARTS]
    if None in parts:
        dot = Line2D(
            [], [], color=NO_CHAIN_GREY, marker="o", markersize=_SMALL_MARKER, linestyle="none", label="in no chain"
        )
        handles.append(dot)
    if skeleton.virtual:
        ring = Line2D([], [], color="0.3", marker="o", markersize=_MARKER, linestyle="none", label="virtual")
        ring.set_markerfacecolor("white")
        handles.append(ring)
    ax.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=9, handlelength=1.2)
    ax.set_xlim(_LEFT, _RIGHT)
    ax.set_ylim(_BOTTOM, top)
    ax.set_aspect("equal")
    ax.set_axis_off()
