"""What the joints of a motion tell of themselves: their unit, which way is up, and whether left is left.

Everything is measured on the body, so nothing here asks for a unit, an axis or a heading. A few frames are enough.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .skeletons import AXES, UNITS, Skeleton


#: Metres per unit, likeliest first. CMU's own files are in units of 1/0.45 inch (mocap.cs.cmu.edu, "faqs").
METRES_PER_UNIT: dict[str, float] = {
    **{unit: UNITS[unit] for unit in ("metres", "centimetres", "millimetres", "inches")},
    "CMU's units of 1/0.45 inch": 0.0254 / 0.45,
}
#: Shortest and longest leg, hip to knee to ankle, in metres: of nearly everybody, and of anybody (small children, giants).
LEG_METRES = (0.5, 1.2)
ANY_LEG_METRES = (0.3, 1.3)

SIDES_WARNING = "names say left, geometry says right: the file is probably mirrored or its sides are swapped"

_MAX_FRAMES = 32
_LIMBS = (("knee", "hip"), ("ankle", "knee"))
# Cosine from which a segment runs along an axis (53 degrees), and the share of frames in which all of them must.
_ALONG = 0.6
_MOST_FRAMES = 0.5
# In leg lengths: how far the lowest point of somebody on a floor goes up and down; what no floor explains; and how far a
# body that lies cannot slide sideways.
_FLOOR_STEADY, _FLOOR_UNSTEADY, _SLIDE = 0.15, 0.25, 0.7


@dataclass(frozen=True)
class FrameFindings:
    """What is implausible in the declared unit and up axis of a motion, and what fits instead; all `None`: nothing.

    Args:
        unit: The unit that fits, a key of `METRES_PER_UNIT`.
        metres_per_unit: Its length in metres.
        up_axis: The axis that the figure stands along, one of `AXES`.
        notes: Sentences for the user, one for each finding.
    """

    unit: str | None = None
    metres_per_unit: float | None = None
    up_axis: str | None = None
    notes: tuple[str, ...] = ()


_NOTHING = FrameFindings()


@lru_cache(maxsize=256)
def _segments(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the segments that point up in who stands: the trunk, both thighs, both shins. Shape (5,) each."""
    at = skeleton.landmarks
    top = next(at[point] for point in ("head", "neck", "chest", "left_shoulder") if point in at)
    legs = [(at[f"{side}_{lower}"], at[f"{side}_{upper}"]) for lower, upper in _LIMBS for side in ("left", "right")]
    lower, upper = zip((skeleton.pelvis, top), *legs, strict=True)
    return np.array(lower), np.array(upper)


def _sample(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """At most 32 frames over the whole motion, with virtual joints. Shape (T, J, 3) → (F, J + V, 3)."""
    return skeleton.complete(joints[:: -(-len(joints) // _MAX_FRAMES)])


def _bones(sample: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """The segments of `_segments`, shape (F, 5, 3), and their lengths (F, 5)."""
    lower, upper = _segments(skeleton)
    bones = sample[:, upper] - sample[:, lower]
    return bones, np.sqrt(np.einsum("fsc,fsc->fs", bones, bones))


def _median_leg(lengths: np.ndarray) -> float:
    """Median over frames of the mean of both legs, in the unit of the joints; 0 where no frame has them. Shape (F, 5)."""
    legs = np.sort(lengths[:, 1:].sum(axis=1))  # NaN comes last
    seen = int(np.isfinite(legs).sum())
    return float(legs[seen // 2]) / 2 if seen else 0.0


# ---- unit ---------------------------------------------------------------------------------------------------------------


def detect_unit(joints: np.ndarray, skeleton: Skeleton) -> list[str]:
    """The units in which these legs are those of a person.

    Args:
        joints: Shape (T, J, 3), any unit and axes; NaN where a joint is missing.
        skeleton: The skeleton of the joints.

    Returns:
        Keys of `METRES_PER_UNIT`, likeliest first: those that make a leg of 0.5 to 1.2 m, or else one of 0.3 to 1.3 m. Empty
        where none does.
    """
    _, lengths = _bones(_sample(joints, skeleton), skeleton)
    return units_of_leg(_median_leg(lengths))


def units_of_leg(leg: float) -> list[str]:
    """`detect_unit` for a leg of this many units."""
    for shortest, longest in (LEG_METRES, ANY_LEG_METRES):
        fitting = [unit for unit, metres in METRES_PER_UNIT.items() if shortest <= leg * metres <= longest]
        if fitting:
            return fitting
    return []


def leg_units(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Median leg length (hip to knee to ankle) in the unit of the joints (T, J, 3); 0 where it cannot be told."""
    return _median_leg(_bones(_sample(joints, skeleton), skeleton)[1])


# ---- up axis ------------------------------------------------------------------------------------------------------------


def _uprightness(bones: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How much trunk, thighs and shins run along each of x, y, z: cosines of shape (F, 3 segments, 3 axes); NaN → 0."""
    cosines = np.divide(bones, lengths[..., None], out=np.zeros_like(bones), where=lengths[..., None] > 0)
    return np.nan_to_num(np.stack([cosines[:, 0], cosines[:, 1:3].mean(axis=1), cosines[:, 3:].mean(axis=1)], axis=1))


def _spread(heights: np.ndarray) -> float:
    """Range of all but the outer tenths of values (F,); 0 for fewer than two."""
    known = np.sort(heights[np.isfinite(heights)])
    cut = len(known) // 10
    return float(known[-1 - cut] - known[cut]) if len(known) > 1 else 0.0


def _along(sample: np.ndarray, axis: str) -> np.ndarray:
    """Coordinates along a signed axis, shape (F, J)."""
    return sample[..., "xyz".index(axis[-1])] * (-1.0 if axis.startswith("-") else 1.0)


def _floor_spread(sample: np.ndarray, axis: str) -> float:
    """How far the lowest joint goes up and down, if this axis points up. Little for who is on a floor."""
    return _spread(np.fmin.reduce(_along(sample, axis), axis=1))


def detect_up_axis(joints: np.ndarray, skeleton: Skeleton) -> tuple[str, float]:
    """The axis that most likely points up.

    In frames in which trunk, thighs and shins run one way, that way is up; so who sits or crawls for a while has no say. Who lies
    has: the axis counts the more, the steadier the height of the lowest joint along it, as a floor keeps it.

    Args:
        joints: Shape (T, J, 3), any unit and axes; NaN where a joint is missing.
        skeleton: The skeleton of the joints.

    Returns:
        One of `AXES`, and a confidence from 0 to 1: above 0.5 for a figure that stands for much of the motion; near 0 for one
        that only sits, crawls or bends. A figure that lies still all the time looks like one that stands.
    """
    sample = _sample(joints, skeleton)
    bones, lengths = _bones(sample, skeleton)
    cosines = _uprightness(bones, lengths)
    leg = _median_leg(lengths)
    standing, scores = [], []
    for axis in AXES:
        along = _along(cosines, axis)
        least = along.min(axis=1)
        floor = _floor_spread(sample, axis) / (0.2 * leg) if leg > 0 else 0.0
        standing.append(float(np.where(least > 0.5, least, 0.0).mean()))
        scores.append((standing[-1] + 0.1 * float(along.mean())) / (1.0 + floor**2))
    best, second = np.argsort(scores)[::-1][:2]
    if scores[best] <= 0:
        return "y", 0.0
    lead = 1.0 - max(scores[second], 0.0) / scores[best]
    return AXES[best], lead * min(1.0, 1.5 * standing[best])


def _standing_axis(sample: np.ndarray, skeleton: Skeleton, cosines: np.ndarray, leg: float, declared: str) -> str | None:
    """The axis other than the declared one that a figure clearly stands along, or `None`.

    Who lies in a true frame has the same pose as who stands in a wrong one. What tells them apart is the floor: standing, the
    lowest joint keeps its height along the axis of the body, and does not along the declared one, or the body slides far
    sideways without rolling, which nobody does who lies. Who stands on the head has the arms above (below) the head.
    """
    upright = {axis: (_along(cosines, axis) > _ALONG).all(axis=1) for axis in AXES}
    if upright[declared].any():
        return None
    axis = max(upright, key=lambda a: float(upright[a].mean()))
    if upright[axis].mean() < _MOST_FRAMES:
        return None
    at = skeleton.landmarks
    if axis[-1] == declared[-1]:
        reach = _along(sample, axis)
        shoulders = (reach[:, at["left_shoulder"]] + reach[:, at["right_shoulder"]]) / 2
        hands = np.fmin(reach[:, at["left_wrist"]], reach[:, at["right_wrist"]])
        hanging = hands - shoulders < 0.1 * leg
        return axis if hanging.mean() >= _MOST_FRAMES else None
    if _floor_spread(sample, axis) > _FLOOR_STEADY * leg:
        return None
    if _floor_spread(sample, declared) > _FLOOR_UNSTEADY * leg:
        return axis
    sideways = next(a for a in "xyz" if a not in (axis[-1], declared[-1]))
    hips = sample[:, at["left_hip"]] - sample[:, at["right_hip"]]
    rolls = not (np.einsum("fc,c->f", hips, np.nansum(hips, axis=0)) > 0).all()
    slides = _spread(_along(sample, sideways)[:, skeleton.pelvis]) > _SLIDE * leg
    return axis if slides and not rolls else None


def are_plausible(frames: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Which of many motions `check_frame` need not look at: those with the legs of a person, who somewhere stands up straight.

    Args:
        frames: A few frames of each motion, shape (B, F, J, 3), in the declared unit and axes.
        skeleton: The skeleton of the joints.

    Returns:
        Shape (B,), true for motions in which `check_frame` finds nothing.
    """
    num, per_motion = frames.shape[:2]
    bones, lengths = _bones(skeleton.complete(frames.reshape(-1, *frames.shape[2:])), skeleton)
    legs = (
        np.sort(lengths[:, 1:].sum(axis=1).reshape(num, per_motion), axis=1)[:, per_motion // 2] / 2 * UNITS[skeleton.unit]
    )
    stands = (_along(bones, skeleton.up_axis) > _ALONG * lengths).all(axis=1).reshape(num, per_motion).any(axis=1)
    return stands & (legs >= ANY_LEG_METRES[0]) & (legs <= ANY_LEG_METRES[1])


def check_frame(joints: np.ndarray, skeleton: Skeleton) -> FrameFindings:
    """Whether a motion can be in the unit and with the up axis that its skeleton declares; in doubt, it can.

    Args:
        joints: Shape (T, J, 3) in the declared unit and axes; a few dozen frames over the whole motion are looked at.
        skeleton: The skeleton of the joints.

    Returns:
        What fits instead. The unit: if the legs measure 0.3 to 1.3 m in another one only. The up axis: if the figure stands
        along another one, and neither lies nor stands on its head (see `_standing_axis`). A figure that hardly moves gives no
        evidence, and its axis stays.
    """
    if len(joints) == 0:
        return _NOTHING
    sample = _sample(joints, skeleton)
    bones, lengths = _bones(sample, skeleton)
    leg = _median_leg(lengths)
    declared = skeleton.up_axis
    unit_is_fine = ANY_LEG_METRES[0] <= leg * UNITS[skeleton.unit] <= ANY_LEG_METRES[1] or not 0 < leg < np.inf
    # The way of most motions: somewhere, somebody stands up straight.
    stands = (_along(bones, declared) > _ALONG * lengths).all(axis=1).any()
    if unit_is_fine and stands:
        return _NOTHING
    notes = []
    unit = metres = axis = None
    if not unit_is_fine:
        where = f"legs of {leg:.4g} {skeleton.unit}, the unit of skeleton {skeleton.name!r}, are no person's"
        unit = next(iter(units_of_leg(leg)), None)
        metres = None if unit is None else METRES_PER_UNIT[unit]
        notes.append(
            f"{where}; they fit {unit}" if unit else f"{where}, and no other unit makes them so; pass joints in metres"
        )
    if not stands and 0 < leg < np.inf:
        axis = _standing_axis(sample, skeleton, _uprightness(bones, lengths), leg, declared)
        if axis is not None:
            notes.append(f"the figure stands along {axis}, not along {declared}, the up axis of skeleton {skeleton.name!r}")
    return FrameFindings(unit, metres, axis, tuple(notes))


# ---- left and right -----------------------------------------------------------------------------------------------------

# How much each cue counts, and how much there must be in a mean frame to tell anything at all.
_WEIGHTS = {"toe": 1.0, "knee": 1.5, "elbow": 0.3, "face": 1.0, "travel": 0.1}
_LEAST_EVIDENCE = 0.02
# Sine of the angle (12 degrees) from which a bend is more than noise: straight knees of Kinect bend backwards by a few degrees.
_LEAST_SINE = 0.2


def check_sides(joints: np.ndarray, skeleton: Skeleton) -> float | None:
    """Whether the joints that are named left are on the left of the body, told by its shape alone.

    Left is up × forward. Forward is where toes point, knees bend, elbows flex, the face looks and, weakly, the body travels; up
    is along the shins, legs, upper arms, neck and trunk themselves. So a body may lie, sit, crawl or stand on its hands, and
    neither unit nor axes matter, as long as the axes are right-handed.

    Args:
        joints: Shape (T, J, 3); NaN where a joint is missing.
        skeleton: The skeleton of the joints.

    Returns:
        From -1 to 1: above 0 where names and geometry agree, below 0 where they contradict each other. Exchanging left and right
        joints changes the sign, and so does mirroring the coordinates. `None` where nothing can be told.
    """
    sample = _sample(joints, skeleton)
    at = skeleton.landmarks

    def side(point: str) -> np.ndarray:  # shape (2, F, 3): left, right
        return np.stack([sample[:, at[f"left_{point}"]], sample[:, at[f"right_{point}"]]])

    hips, knees, ankles = side("hip"), side("knee"), side("ankle")
    shoulders, elbows, wrists = side("shoulder"), side("elbow"), side("wrist")
    across_hips, across_shoulders = _unit(hips[0] - hips[1]), _unit(shoulders[0] - shoulders[1])
    trunk = shoulders.mean(axis=0) - sample[:, skeleton.pelvis]
    cues = [
        ("knee", _left(hips - ankles, knees - ankles), across_hips),
        ("elbow", _left(shoulders - elbows, wrists - elbows), across_shoulders),
        ("travel", _left(trunk, _travel(sample[:, skeleton.pelvis], trunk))[None], across_hips),
    ]
    front = next((point for point in ("toe", "toe_tip", "small_toe", "midfoot") if f"left_{point}" in at), None)
    if front is not None:
        back = side("heel") if "left_heel" in at else ankles
        cues.append(("toe", _left(knees - ankles, side(front) - back), across_hips))
    face = _face(sample, skeleton)
    if face is not None:
        cues.append(("face", _left(trunk, face)[None], across_shoulders))
    agreement = total = 0.0
    for name, left, across in cues:
        # Of both limbs together, as legs and arms turn outwards and inwards by themselves.
        agreement += _WEIGHTS[name] * float((left.mean(axis=0) * across).sum())
        total += _WEIGHTS[name] * float(np.linalg.norm(left, axis=-1).mean(axis=0).sum())
    if total <= _LEAST_EVIDENCE * len(sample):
        return None
    return max(-1.0, min(1.0, agreement / total))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Directions; zero where a joint is missing or two are in one place."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _left(up: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """up × forward of the directions, shortened so that what hardly differs (a straight knee) tells nothing."""
    left = np.cross(_unit(up), _unit(forward))
    sine = np.linalg.norm(left, axis=-1, keepdims=True)
    return left * np.divide(np.maximum(sine - _LEAST_SINE, 0.0), sine, out=np.zeros_like(sine), where=sine > 0)


def _travel(pelvis: np.ndarray, trunk: np.ndarray) -> np.ndarray:
    """Where the body goes from frame to frame, (F, 3), as long as it goes far: below a tenth of the trunk is standing."""
    way = np.gradient(pelvis, axis=0) if len(pelvis) > 1 else np.zeros_like(pelvis)
    far = np.linalg.norm(way, axis=-1) > 0.1 * np.linalg.norm(trunk, axis=-1)
    return np.where(far[:, None], way, 0.0)


def _face(sample: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """The way from the middle of the head to the face, (F, 3), if the skeleton has points there."""
    at = skeleton.landmarks

    def middle(point: str) -> np.ndarray | None:
        if point in at:
            return sample[:, at[point]]
        pair = [at[f"{side}_{point}"] for side in ("left", "right") if f"{side}_{point}" in at]
        return sample[:, pair].mean(axis=1) if len(pair) == 2 else None

    front = next((way for way in map(middle, ("nose", "eye", "jaw")) if way is not None), None)
    back = next((way for way in map(middle, ("ear", "head", "neck_high", "neck")) if way is not None), None)
    return None if front is None or back is None else front - back
