"""What a rest pose says of points that are already found: does the body stand, and is left on its left.

Everything is measured along the body, so that axes, units and headings do not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .body_points import BODY_POINTS
from .skeleton_limbs import ARM, LEG, SIDES, Found
from .skeleton_tree import Figure


# Cosines between the trunk and the legs: of who stands or sits; and of figures whose bones are all laid out along one axis
# (Bandai-Namco, LAFAN1), whose rest pose is no pose.
_UPRIGHT = -0.3
_LAID_OUT = 0.9
_PARALLEL = 0.7
# Arms (shoulder to wrist) that are longer than this, in lengths of the legs (hip to ankle), may be legs. A person's have 0.65.
_AS_LONG = 0.85
# Feet and shoulders tell front and left if they reach this far, in lengths of the trunk.
_LEAST_REACH = 0.04
_AGREES = 0.3


@dataclass(frozen=True)
class Stance:
    """How a body stands in its rest pose.

    Args:
        hips: Middle of the hips, shape (3,).
        up: Unit vector from the hips to the shoulders, shape (3,).
        trunk: Distance from the hips to the shoulders, along `up`.
        legs: Cosine of `up` with the way from hips to ankles: -1 for who stands.
        arms_along_legs: Cosine of the arms with the legs: 1 for who stands at attention, and for four legs.
        arms_by_legs: Length of the arms in lengths of the legs, along the bones.
    """

    hips: np.ndarray
    up: np.ndarray
    trunk: float
    legs: float
    arms_along_legs: float
    arms_by_legs: float

    @property
    def is_laid_out(self) -> bool:
        return self.legs > _LAID_OUT

    @property
    def is_upright(self) -> bool:
        return self.legs < _UPRIGHT

    @property
    def is_on_four_legs(self) -> bool:
        across = not self.is_upright and not self.is_laid_out
        return across and self.arms_along_legs > _PARALLEL and self.arms_by_legs > _AS_LONG

    def height(self, place: np.ndarray) -> float:
        """0 at the hips, 1 at the shoulders."""
        return float((place - self.hips) @ self.up) / self.trunk

    def across(self, way: np.ndarray) -> np.ndarray:
        """The part of a vector that does not run along the trunk."""
        return way - (way @ self.up) * self.up


def stance_of(figure: Figure, found: Found) -> Stance | None:
    """`None` where a point or its place is unknown, or trunk or legs have no length."""
    middles = {}
    for point in (*LEG, *ARM):
        joints = [found[f"{side}_{point}"] for side in SIDES if f"{side}_{point}" in found]
        places = figure.rest.at(joints) if len(joints) == 2 else None
        if places is None:
            return None
        middles[point] = places.mean(axis=0)
    trunk, legs, arms = (
        middles[end] - middles[start] for start, end in (("hip", "shoulder"), ("hip", "ankle"), ("shoulder", "wrist"))
    )
    lengths = [float(np.linalg.norm(way)) for way in (trunk, legs, arms)]
    if min(lengths[:2]) <= 1e-3 * figure.rest.size:
        return None
    up = trunk / lengths[0]
    along = float(arms @ legs) / (lengths[1] * lengths[2]) if lengths[2] > 0 else 0.0
    arm, leg = (
        sum(
            figure.rest.distance(found[f"{side}_{one}"], found[f"{side}_{other}"])
            for side in SIDES
            for one, other in pairwise(limb)
        )
        for limb in (ARM, LEG)
    )
    return Stance(middles["hip"], up, lengths[0], float(up @ legs) / lengths[1], along, arm / leg)


def generic_height(point: str) -> float:
    """`Stance.height` of a point of the generic adult."""
    hips, shoulders = (BODY_POINTS[f"left_{name}"][1] for name in ("hip", "shoulder"))
    return (BODY_POINTS[point][1] - hips) / (shoulders - hips)


def front_of(stance: Stance, feet: Sequence[np.ndarray]) -> np.ndarray | None:
    """The way that two feet point, a unit vector across the trunk; `None` where they do not tell.

    Args:
        feet: The ways from each ankle to the end of its foot, shape (3,) each.
    """
    across = [stance.across(foot) for foot in feet]
    if len(across) != 2 or across[0] @ across[1] <= 0:
        return None
    front = across[0] + across[1]
    reach = float(np.linalg.norm(front)) / 2
    return front / (2 * reach) if reach > _LEAST_REACH * stance.trunk else None


def foot_ways(figure: Figure, ankles: Sequence[int]) -> list[np.ndarray]:
    """From each ankle to the joint below it that lies farthest away across the trunk, end sites included."""
    ways = []
    for ankle in ankles:
        below = figure.tree.subtree(ankle)[1:]
        places = [figure.rest.at([ankle, joint]) for joint in below]
        reaches = [places[1] - places[0] for places in places if places is not None]
        if reaches:
            ways.append(max(reaches, key=lambda way: float(way @ way)))
    return ways


def sides_agree(figure: Figure, found: Found, stance: Stance) -> bool | None:
    """Whether joints called left lie on the left of a body whose feet point forward; `None` where that cannot be told."""
    feet = []
    for side in SIDES:
        tip = next((found[f"{side}_{point}"] for point in ("toe", "toe_tip", "midfoot") if f"{side}_{point}" in found), None)
        places = None if tip is None else figure.rest.at([found[f"{side}_ankle"], tip])
        if places is not None:
            feet.append(places[1] - places[0])
    front = front_of(stance, feet)
    across = np.zeros(3)
    for point in ("hip", "shoulder"):
        places = figure.rest.at([found[f"{side}_{point}"] for side in SIDES])
        if places is not None:
            across += stance.across(places[0] - places[1])
    width = float(np.linalg.norm(across))
    if front is None or width <= _LEAST_REACH * stance.trunk:
        return None
    cosine = float(np.cross(stance.up, front) @ across) / width
    return None if abs(cosine) < _AGREES else cosine > 0
