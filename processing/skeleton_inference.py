"""What the joints of a skeleton mark that nobody named: by their names, the tree and a rest pose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .named_skeletons import DEFINITIONS
from .skeleton_limbs import REQUIRED_SIDED, SIDES, Found, fill_gaps, find_limbs, find_others, find_pelvis
from .skeleton_stance import Stance, sides_agree, stance_of
from .skeleton_topology import NoBodyError, body_by_tree
from .skeleton_torso import find_head, find_spine, head_by_tree, head_of_spine
from .skeleton_tree import Figure
from .skeleton_vocabulary import ANIMAL_WORDS, NO_ANIMAL_WORDS


#: What a required point counts for `confidence` if its name tells it, and if tree and rest pose do.
NAMED, BY_TREE = 1.0, 0.6
#: Factor for a rest pose that contradicts: the body does not stand, or left lies on its right.
CONTRADICTED = 0.75
#: Below this confidence, a skeleton is refused.
LEAST_CONFIDENCE = 0.5

REQUIRED = ("pelvis", *REQUIRED_SIDED)
_SHOWN = 1000


@dataclass(frozen=True)
class InferredPoints:
    """What `infer_points` found: for each joint a key of `BODY_POINTS` or `None`, and how sure it is, from 0 to 1."""

    points: tuple[str | None, ...]
    confidence: float


def infer_points(joint_names: Sequence[str], parents: Sequence[int], rest_pose: Any = None) -> InferredPoints:
    """What each joint marks.

    1. Names, in the many ways in which programs write them (`joint_names`, `skeleton_vocabulary`). What means several points
       is settled by the other names of the limb, and a joint is only taken for a point if it hangs where that point does.
    2. The tree, where names leave a gap: the one joint between a hip and an ankle is the knee.
    3. Tree and rest pose, where names tell nothing: a trunk that stands on two legs of one length and has two arms. The feet
       tell front, and so left from right. Nothing here depends on axes, unit or heading.

    `confidence` is the mean over the thirteen required points (pelvis, and hip, knee, ankle, shoulder, elbow and wrist of both
    sides) of 1 for a point that its name tells and 0.6 for one that only tree and rest pose do, times 0.75 if the body does
    not stand in the rest pose, or if not all points are named and the feet say that its left is its right. It is 1 if names
    tell everything and nothing contradicts them. A rest pose whose bones all run along one axis (Bandai-Namco, LAFAN1) says
    nothing.

    Args:
        joint_names: N names; "" for an end site.
        parents: N parent indices, -1 for the root; or all -1 for a format without hierarchy, in which names alone decide.
        rest_pose: Optional, shape (N, 3), any unit and axes, NaN where it is unknown: a pose in which the body is upright, feet
            forward.

    Returns:
        The points, and the confidence. Twist joints, helpers of a rig, things and surplus joints of the spine mark none; an end
        site marks one only as the toe of a foot without one. Without a hierarchy, the pelvis may be missing if both hips are
        there (COCO).

    Raises:
        ValueError: If lengths disagree, the parents are no tree, two joints for a point have the same name, there are four
            legs, the joints of one person are not all found or several persons' are, or the confidence is below 0.5.
    """
    figure = _figure(joint_names, parents, rest_pose)
    named = _find_by_names(figure)
    found = named | fill_gaps(figure, named)
    missing = _missing(figure, found)
    reason = ""
    if missing and not figure.tree.flat:
        try:
            found |= body_by_tree(figure, found)
        except NoBodyError as error:
            reason = str(error)
        missing = _missing(figure, found)
    if missing:
        raise ValueError(_missing_message(figure, found, missing, reason))
    _refuse_tangled_limbs(figure, found)
    _refuse_two_people(figure, named)
    stance = stance_of(figure, found)
    _refuse_four_legs(figure, stance)
    confidence = _confidence(figure, named, found, stance)
    found |= _find_rest(figure, found, stance)
    points: list[str | None] = [None] * len(figure.labels)
    for point, joint in found.items():
        points[joint] = point
    return InferredPoints(tuple(points), confidence)


def _figure(joint_names: Sequence[str], parents: Sequence[int], rest_pose: Any) -> Figure:
    labels = list(joint_names)
    if not labels:
        raise ValueError("there are no joints; give at least those of pelvis, legs and arms")
    strange = [name for name in labels if not isinstance(name, str)]
    if strange:
        raise ValueError(f"joint names must be strings, got {strange[:5]!r}")
    if len(parents) != len(labels):
        raise ValueError(
            f"{len(labels)} joint names, but {len(parents)} parents; give one parent for each joint, -1 for the root"
        )
    figure = Figure(labels, parents, rest_pose)
    seen: set[str] = set()
    twice = {name for name in labels if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
    # A thing may be there twice; the left knee may not.
    twice = {name for name, marking in zip(labels, figure.marking, strict=True) if marking and name in twice}
    if twice:
        raise ValueError(
            f"several joints have the name {', '.join(map(repr, sorted(twice)[:5]))}; give each joint a name of its own, and one "
            "person at a time"
        )
    return figure


def _find_by_names(figure: Figure) -> Found:
    found = find_limbs(figure)
    pelvis = find_pelvis(figure, found)
    found |= {} if pelvis is None else {"pelvis": pelvis}
    return found | find_head(figure, found)


def _find_rest(figure: Figure, found: Found, stance: Stance | None) -> Found:
    """What is not required: neck and head that names do not tell, spine, toes, face and fingers."""
    rest: Found = {}
    if not figure.tree.flat and not {"neck", "head"} & set(found):
        rest |= head_of_spine(figure, found)
    if "head" not in found | rest and not figure.tree.flat and stance is not None and stance.is_upright:
        above = head_by_tree(figure, found, stance, figure.plain_children(set(found.values())))
        rest |= {point: joint for point, joint in above.items() if point not in found}
    rest |= _toe_tips(figure, found)
    rest |= find_spine(figure, found | rest, stance)
    return find_others(figure, found | rest) | rest


def _toe_tips(figure: Figure, found: Found) -> Found:
    """Files without toe joints (DAZ and Poser figures) end their feet in an end site at the tip of the toes."""
    tips: Found = {}
    for side in SIDES:
        ankle = found.get(f"{side}_midfoot", found[f"{side}_ankle"])
        ends = [joint for joint in figure.tree.children[ankle] if figure.names[joint].is_end]
        if f"{side}_toe" not in found and len(ends) == 1 and ends[0] not in found.values():
            tips[f"{side}_toe"] = ends[0]
    return tips


# ---- how sure -----------------------------------------------------------------------------------------------------------


def _missing(figure: Figure, found: Found) -> list[str]:
    missing = [point for point in REQUIRED if point not in found]
    return [] if figure.tree.flat and missing == ["pelvis"] else missing


def _confidence(figure: Figure, named: Found, found: Found, stance: Stance | None) -> float:
    required = [point for point in REQUIRED if point in found]
    confidence = sum(NAMED if point in named else BY_TREE for point in required) / len(required)
    confidence = round(confidence, 6)
    if stance is not None and not stance.is_laid_out:
        # Sides that names alone tell are not doubted for one pose; `detection.check_sides` looks at a whole motion.
        doubted = confidence < NAMED and sides_agree(figure, found, stance) is False
        confidence *= CONTRADICTED if doubted or not stance.is_upright else 1.0
    if confidence < LEAST_CONFIDENCE:
        raise ValueError(
            f"the joints are recognised with a confidence of {confidence:.2f} only (least: {LEAST_CONFIDENCE}): "
            f"{_taken(figure, found)}; the rest pose contradicts, in which the body should stand upright. {_way_out()}"
        )
    return confidence


def _refuse_tangled_limbs(figure: Figure, found: Found) -> None:
    """No limb hangs from another."""
    for point in REQUIRED_SIDED:
        side, name = point.split("_")
        own = ("hip", "knee", "ankle") if name in ("hip", "knee", "ankle") else ("shoulder", "elbow", "wrist")
        others = [other for other in REQUIRED_SIDED if other not in {f"{side}_{word}" for word in own}]
        wrong = [other for other in others if figure.tree.is_above(found[other], found[point])]
        if wrong:
            joint, above = figure.labels[found[point]], figure.labels[found[wrong[0]]]
            raise ValueError(
                f"joint {joint!r}, recognised as {point}, hangs from {above!r}, recognised as {wrong[0]}; a limb hangs from the "
                f"trunk. {_way_out()}"
            )


def _refuse_two_people(figure: Figure, named: Found) -> None:
    """No required point has another joint of the same name, beside the one that is taken and with a limb of its own."""
    rivals = {}
    for point in REQUIRED_SIDED:
        if point not in named:
            continue
        taken = named[point]
        name = figure.names[taken]
        rivals[point] = [
            joint
            for joint, other in enumerate(figure.names)
            if joint != taken
            and figure.marking[joint]
            and (other.side, other.base) == (name.side, name.base)
            and (other.digits == name.digits if figure.tree.flat else _is_beside(figure, joint, taken))
        ]
    doubled = {point: joints for point, joints in rivals.items() if joints}
    # One more joint of a name is a helper; two that hang together are a second limb.
    limbs = [
        (point, joint)
        for side, points in ((side, points) for side in SIDES for points in (("hip", "knee"), ("shoulder", "elbow")))
        for point, below in ((f"{side}_{points[0]}", f"{side}_{points[1]}"),)
        for joint in doubled.get(point, [])
        if any(figure.tree.may_be_above(joint, lower) for lower in doubled.get(below, []))
    ]
    if limbs:
        point, joint = limbs[0]
        raise ValueError(
            f"{point} could be {figure.labels[named[point]]!r} and {figure.labels[joint]!r}, which both begin a limb: two people "
            f"in one tree? Give the joints of one person at a time. {_way_out()}"
        )


def _is_beside(figure: Figure, one: int, other: int) -> bool:
    return not (figure.tree.is_above(one, other) or figure.tree.is_above(other, one))


def _refuse_four_legs(figure: Figure, stance: Stance | None) -> None:
    animal = [
        label
        for label, name in zip(figure.labels, figure.names, strict=True)
        if not ANIMAL_WORDS.isdisjoint(name.words) and NO_ANIMAL_WORDS.isdisjoint(name.words)
    ]
    stands = stance is not None and stance.is_upright
    if stance is not None and stance.is_on_four_legs and not figure.tree.flat:
        raise ValueError(
            f"the trunk lies across four limbs that run the same way: a four-legged animal, or a rest pose that is not upright. "
            f"{_way_out()}"
        )
    if animal and not stands:
        raise ValueError(
            f"{', '.join(map(repr, animal[:5]))} are joints of an animal, and no rest pose shows one that stands upright; pass "
            f"rest_pose=... if it does. {_way_out()}"
        )


# ---- messages -----------------------------------------------------------------------------------------------------------


def _taken(figure: Figure, found: Found) -> str:
    taken = [f"{figure.labels[found[point]]!r} as {point}" for point in REQUIRED if point in found]
    return ", ".join(taken) or "none"


def _missing_message(figure: Figure, found: Found, missing: Sequence[str], reason: str) -> str:
    order = ("pelvis", "head", *REQUIRED_SIDED)
    absent = [point for point in order if point in missing or (point == "head" and "head" not in found)]
    names = ", ".join(name for name in figure.labels if name)[:_SHOWN]
    known = ", ".join(sorted(DEFINITIONS))
    if figure.tree.flat:
        reason = "there is no hierarchy, so that names alone decide"
    return (
        f"no joint is recognised as {', '.join(absent)}; the file has {names or 'no names'}. Recognised: {_taken(figure, found)}."
        f"{f' The tree does not help: {reason}.' if reason else ''} {_way_out()} Known skeletons: {known}"
    )


def _way_out() -> str:
    return (
        "Rename the joints (e.g. Hips, Spine, Spine1, Neck, Head, LeftShoulder, LeftArm, LeftForeArm, LeftHand, LeftUpLeg, "
        "LeftLeg, LeftFoot, LeftToeBase), or write down what they mark: Skeleton(name, joint_names, parents, points), which file "
        "readers take as skeleton=...."
    )
