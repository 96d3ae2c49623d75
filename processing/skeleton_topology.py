"""A body whose joint names tell nothing: two legs and two arms in the tree, told by their lengths and by how the body stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from .skeleton_limbs import ARM, LEG, REQUIRED_SIDED, SIDES, Found
from .skeleton_stance import Stance, foot_ways, front_of, stance_of
from .skeleton_torso import head_by_tree
from .skeleton_tree import Figure


# Two limbs are a pair if their lengths differ less than this, bone by bone.
_ALIKE = 0.1
# The two bones of a limb that are each longer than any other two by this factor are thigh and shin.
_DISTINCT = 1.2
_BONE_RATIO = 2.0
# Lengths of legs and arms, hip to ankle and shoulder to wrist, in lengths of the trunk from hips to shoulders. The generic adult
# has 1.6 and 1.0; children and drawn figures have shorter or longer ones.
_LEGS = (0.6, 3.5)
_ARMS = (0.4, 2.5)
_STANDS = -0.7
_WIDEST = 1.5
# A second reading of the tree that is this good makes it ambiguous.
_RIVAL = 0.6
_MOST_LIMBS = 8
_MOST_PAIRS = 24


class NoBodyError(ValueError):
    """The tree is not that of one person; the text says why, as a part of a sentence."""


@dataclass(frozen=True)
class _Limb:
    """A line of joints outwards, of which three from `start` on are hip, knee and ankle, or shoulder, elbow and wrist."""

    line: tuple[int, ...]
    start: int
    bones: tuple[float, float]

    @property
    def joints(self) -> tuple[int, ...]:
        return self.line[self.start : self.start + 3]

    @property
    def length(self) -> float:
        return sum(self.bones)


@dataclass(frozen=True)
class _Body:
    pelvis: int
    legs: tuple[_Limb, _Limb]
    arms: tuple[_Limb, _Limb]
    stance: Stance

    @property
    def size(self) -> float:
        return sum(limb.length for limb in (*self.legs, *self.arms))

    @property
    def joints(self) -> set[int]:
        return {joint for limb in (*self.legs, *self.arms) for joint in limb.joints}


def body_by_tree(figure: Figure, known: Found) -> Found:
    """Pelvis, legs, arms, neck and head of a body by tree and rest pose.

    Args:
        figure: The joints, with a hierarchy.
        known: The points that names tell; the tree must agree with each.

    Returns:
        All required points, and as many others of the chains as the tree tells.

    Raises:
        NoBodyError: If the tree has no two legs and two arms, several, or nothing tells left from right.
    """
    if figure.rest.positions is None:
        raise NoBodyError("it does not tell left from right without a rest pose (rest_pose=...)")
    children = figure.plain_children(set(known.values()))
    bodies = sorted(_bodies(figure, children), key=lambda body: -body.size)
    fitting = [body for body in bodies if _agrees(figure, body, known)]
    if bodies and not fitting:
        raise NoBodyError("the limbs that the tree shows are not those that the names say")
    if not fitting:
        raise NoBodyError("the tree shows no trunk that stands on a pair of legs and has a pair of arms")
    best = fitting[0]
    rivals = [body for body in fitting[1:] if body.joints != best.joints and body.size > _RIVAL * best.size]
    if rivals:
        ends = ", ".join(repr(figure.labels[limb.joints[0]]) for limb in (*rivals[0].legs, *rivals[0].arms))
        raise NoBodyError(
            f"the tree could be read in several ways (limbs also begin at {ends}): several people, or other limbs"
        )
    points = _label(figure, best, known)
    return points | head_by_tree(figure, known | points, best.stance, children)


# ---- candidates ---------------------------------------------------------------------------------------------------------


def _bodies(figure: Figure, children: list[list[int]]) -> Iterator[_Body]:
    pairs = sorted(_pairs(figure, children), key=lambda pair: -pair[0].length - pair[1].length)[:_MOST_PAIRS]
    for legs in pairs:
        for arms in pairs:
            body = _body(figure, children, legs, arms)
            if body is not None:
                yield body


def _pairs(figure: Figure, children: list[list[int]]) -> Iterator[tuple[_Limb, _Limb]]:
    """Limbs of equal lengths that hang from one joint."""
    depth = [0] * len(children)
    for joint in reversed(figure.tree.order):
        depth[joint] = 1 + max((depth[child] for child in children[joint]), default=0)
    for joint in figure.tree.order:
        deep = [child for child in children[joint] if depth[child] >= 3]
        limbs = [limb for limb in (_limb(figure, children, depth, child) for child in deep) if limb is not None]
        limbs = sorted(limbs, key=lambda limb: -limb.length)[:_MOST_LIMBS]
        for one, other in combinations(limbs, 2):
            alike = [abs(a - b) <= _ALIKE * max(a, b) for a, b in zip(one.bones, other.bones, strict=True)]
            if all(alike) and one.start == other.start:
                yield one, other


def _limb(figure: Figure, children: list[list[int]], depth: list[int], start: int) -> _Limb | None:
    """The limb that begins at a joint: its line up to where it branches, leaves (twist joints, heels) aside."""
    line = [start]
    while children[line[-1]]:
        below = children[line[-1]]
        ways = below if len(below) == 1 else [child for child in below if depth[child] > 1]
        if len(ways) != 1:
            break
        line.append(ways[0])
    bones = [figure.rest.distance(one, other) for one, other in pairwise(line)]
    if len(bones) < 2 or not np.isfinite(bones).all():
        return None
    shorter = [min(pair) for pair in pairwise(bones)]
    best = int(np.argmax(shorter))
    rival = max((length for at, length in enumerate(shorter) if at != best), default=0.0)
    upper, lower = bones[best], bones[best + 1]
    if shorter[best] < _DISTINCT * rival or max(upper, lower) > _BONE_RATIO * min(upper, lower):
        return None
    return _Limb(tuple(line), best, (upper, lower))


def _body(figure: Figure, children: list[list[int]], legs: tuple[_Limb, _Limb], arms: tuple[_Limb, _Limb]) -> _Body | None:
    tree = figure.tree
    starts = [limb.line[0] for limb in (*legs, *arms)]
    if any(one == other or tree.is_above(one, other) for one in starts for other in starts if one is not other):
        return None
    hang_legs, hang_arms = (tree.lowest_common([pair[0].line[0], pair[1].line[0]]) for pair in (legs, arms))
    if hang_legs is None or hang_arms is None or hang_legs == hang_arms:
        return None
    # DAZ and Character Creator hang the legs from a joint of their own below the hip.
    pelvis = tree.lowest_common([hang_legs, hang_arms])
    if pelvis is None or pelvis == hang_arms or (pelvis != hang_legs and hang_legs not in children[pelvis]):
        return None
    found = {
        f"{side}_{point}": joint
        for names, pair in ((LEG, legs), (ARM, arms))
        for side, limb in zip(SIDES, pair, strict=True)
        for point, joint in zip(names, limb.joints, strict=True)
    }
    stance = stance_of(figure, found)
    if stance is None or stance.legs > _STANDS:
        return None
    lengths = [sum(limb.length for limb in pair) / 2 / stance.trunk for pair in (legs, arms)]
    if not (_LEGS[0] <= lengths[0] <= _LEGS[1] and _ARMS[0] <= lengths[1] <= _ARMS[1]):
        return None
    widths = [figure.rest.distance(pair[0].joints[0], pair[1].joints[0]) for pair in (legs, arms)]
    return _Body(pelvis, legs, arms, stance) if max(widths) <= _WIDEST * stance.trunk else None


# ---- names and sides ----------------------------------------------------------------------------------------------------


def _agrees(figure: Figure, body: _Body, known: Found) -> bool:
    """Each point that a name tells is at a limb of its kind, at its place."""
    for names, pair in ((LEG, body.legs), (ARM, body.arms)):
        for place, point in enumerate(names):
            told = {known[f"{side}_{point}"] for side in SIDES if f"{side}_{point}" in known}
            if not told <= {limb.joints[place] for limb in pair}:
                return False
    return "pelvis" not in known or known["pelvis"] == body.pelvis or figure.tree.is_above(known["pelvis"], body.pelvis)


def _label(figure: Figure, body: _Body, known: Found) -> Found:
    left = _left_of(figure, body, known)
    points: Found = {} if "pelvis" in known else {"pelvis": body.pelvis}
    for names, pair, before in ((LEG, body.legs, None), (ARM, body.arms, "collar")):
        offset = _middle(figure, pair[0]) - _middle(figure, pair[1])
        if abs(float(offset @ left)) < 0.5 * float(np.linalg.norm(body.stance.across(offset))):
            raise NoBodyError("its arms and legs do not lie on opposite sides of the trunk")
        for side, limb in zip(SIDES, pair if offset @ left > 0 else pair[::-1], strict=True):
            points |= {f"{side}_{point}": joint for point, joint in zip(names, limb.joints, strict=True)}
            if before is not None and limb.start > 0:
                points[f"{side}_{before}"] = limb.line[limb.start - 1]
            if before is None:
                points |= {f"{side}_{point}": joint for point, joint in _foot(figure, limb).items()}
    wrong = [point for point in REQUIRED_SIDED if known.get(point, points[point]) != points[point]]
    if wrong:
        raise NoBodyError(f"names and tree disagree on {', '.join(wrong)}")
    return {point: joint for point, joint in points.items() if point not in known and joint not in known.values()}


def _middle(figure: Figure, limb: _Limb) -> np.ndarray:
    places = figure.rest.at(limb.joints)
    return np.zeros(3) if places is None else places.mean(axis=0)


def _foot(figure: Figure, limb: _Limb) -> Found:
    """Toe, or midfoot and toe: the joints behind the ankle. Of two, the first is a midfoot if it is nearer to the ankle."""
    ankle, beyond = limb.joints[2], limb.line[limb.start + 3 :][:2]
    if len(beyond) == 2:
        near, far = (figure.rest.distance(ankle, joint) for joint in beyond)
        if near < 0.62 * far:
            return {"midfoot": beyond[0], "toe": beyond[1]}
    return {"toe": beyond[0]} if beyond else {}


def _left_of(figure: Figure, body: _Body, known: Found) -> np.ndarray:
    """The way to the left of the body, shape (3,): as names say, or else as the feet point."""
    lefts = []
    for pair in (body.legs, body.arms):
        sides = [_side_of(figure, limb, known) for limb in pair]
        if set(sides) & {"left", "right"}:
            if sides[0] == sides[1] or "both" in sides:
                raise NoBodyError("names give two limbs the same side, or one limb both")
            offset = body.stance.across(_middle(figure, pair[0]) - _middle(figure, pair[1]))
            lefts.append(offset if sides[0] == "left" or sides[1] == "right" else -offset)
    if len(lefts) == 2 and lefts[0] @ lefts[1] < 0:
        raise NoBodyError("names put the left arm and the left leg on opposite sides")
    if lefts:
        left = sum(lefts[1:], lefts[0])
    else:
        front = front_of(body.stance, foot_ways(figure, [limb.joints[2] for limb in body.legs]))
        if front is None:
            raise NoBodyError(
                "neither names nor feet tell left from right (there are no toes, or they do not point forward)"
            )
        left = np.cross(body.stance.up, front)
    length = float(np.linalg.norm(left))
    if length == 0:
        raise NoBodyError("its arms and legs do not lie on opposite sides of the trunk")
    return left / length


def _side_of(figure: Figure, limb: _Limb, known: Found) -> str | None:
    """The side that the names in a limb say; "both" where they contradict each other."""
    inside = figure.tree.subtree(limb.line[0])
    sides = {side for joint in inside if (side := figure.names[joint].side) is not None}
    sides |= {point.split("_")[0] for point, joint in known.items() if joint in inside and point.startswith(SIDES)}
    return "both" if len(sides) > 1 else next(iter(sides), None)
