"""The torso from the pelvis to the head: by the order of its joints, because their names mean another height in every file."""

from itertools import combinations

import numpy as np

from .skeleton_limbs import SIDES, Found
from .skeleton_stance import Stance, generic_height
from .skeleton_tree import Figure
from .skeleton_vocabulary import (
    CHEST_LEVEL,
    FACE_WORDS,
    HEAD_TOP_WORDS,
    HEAD_WORDS,
    NECK_NOSE,
    NECK_WORDS,
    SPINE_LEVELS,
    UPPER_NECK_WORDS,
    ranked,
)


_ABOVE_CHEST = ("neck", "neck_high", "head", "head_top")
# The longest line above the chest that is looked at: neck, head, and hair.
_MOST_ABOVE = 6
# A joint of the head lies more above the neck than in front of it; a nose does not.
_FORWARD = 0.6
# From this height on (1 is that of the shoulders), the joint that both arms hang from is the neck: if one joint lies above it,
# and if several do.
_NECK_HEIGHT, _NECK_BELOW_NECK_HEIGHT = 0.95, 1.05


def find_head(figure: Figure, found: Found) -> Found:
    """Neck, upper neck, head and its top, jaw and nose by their names, as far as the tree agrees."""
    points: Found = {}

    def named(groups: tuple[str, ...]) -> list[int]:
        joints = figure.named(ranked(groups), None)
        taken = {joint for point, joint in found.items() if point != "pelvis"} | set(points.values())
        return [
            joint
            for joint in joints
            if joint not in taken
            and not any(figure.tree.is_above(limb, joint) for limb in taken)
            and ("pelvis" not in found or figure.tree.may_be_above(found["pelvis"], joint))
        ]

    heads, nose_heads = named(HEAD_WORDS), named((NECK_NOSE,))
    if nose_heads:
        points["head"] = nose_heads[0]
        if heads:
            points["head_top"] = heads[0]
    elif heads:
        points["head"] = heads[0]
    tops = named(HEAD_TOP_WORDS)
    if tops and "head_top" not in points:
        points["head_top"] = tops[0]
    necks, upper_necks = named(NECK_WORDS[:1]), named(UPPER_NECK_WORDS)
    if not necks and ("head_top" in points or upper_necks):
        necks = named(NECK_WORDS[1:])
    points |= _order_necks(figure, necks + upper_necks, points.get("head"))
    for point, words in FACE_WORDS.items():
        joints = figure.named(ranked(words), None)
        if joints:
            points[point] = joints[0]
    return points


def _order_necks(figure: Figure, necks: list[int], head: int | None) -> Found:
    """The lowest joint of the neck that does not lie where its parent does, and the next one above it."""
    if figure.tree.flat:
        words = ranked(("lowerneck necklower shouldercenter shouldercentre spineshoulder trxo thorax", "neck", "upperneck"))
        necks = sorted(necks, key=lambda joint: (words.get(figure.names[joint].base, 1), *figure.key(joint)))
    else:
        necks = [joint for joint in necks if head is None or figure.tree.is_above(joint, head)]
        necks = sorted(necks, key=lambda joint: figure.tree.depth[joint])
    with_length = [joint for joint in necks if figure.rest.has_length(joint)] or necks[:1]
    return dict(zip(("neck", "neck_high"), with_length, strict=False))


def find_spine(figure: Figure, found: Found, stance: Stance | None) -> Found:
    """Spine and chest. The chest is the highest joint that both arms hang from, or the highest below the neck where the arms
    hang from the neck; the spine is the lowest. Joints at the place of their parent are passed over, and of more joints than
    there are points the others mark none.
    """
    shoulders = [found[f"{side}_shoulder"] for side in SIDES if f"{side}_shoulder" in found]
    if "pelvis" not in found or len(shoulders) < 2:
        return {}
    if figure.tree.flat:
        torso, chest = _spine_by_names(figure, found), -1
        carries_arms = "left_collar" in found  # collars hang from the trunk
    else:
        carrier = figure.tree.lowest_common(shoulders)
        torso = _spine_by_tree(figure, found, carrier)
        chest = max(
            (i for i, joint in enumerate(torso) if all(figure.tree.is_above(joint, arm) for arm in shoulders)), default=-1
        )
        carries_arms = torso[:1] == [carrier]
    if not torso:
        return {}
    chest = chest if chest >= 0 else len(torso) - 1
    if chest == 0:
        return {_single_spine(figure, torso[0], carries_arms, stance): torso[0]}
    middle = chest // 2
    high = (middle + chest + 1) // 2
    points = {"spine_low": torso[0], "chest": torso[chest]}
    points |= {"spine_mid": torso[middle]} if middle > 0 else {}
    return points | ({"spine_high": torso[high]} if middle < high < chest and middle > 0 else {})


def _spine_by_tree(figure: Figure, found: Found, carrier: int | None) -> list[int]:
    top = found.get("neck", found.get("head"))
    line = [] if carrier is None else figure.tree.line(carrier)
    if top is not None:
        line = figure.tree.line(top)[:-1]
    below = {*figure.tree.line(found["pelvis"]), *found.values()}
    return [
        joint
        for joint in line
        if joint not in below
        and figure.rest.has_length(joint)
        and not figure.names[joint].is_unmarked
        and figure.names[joint].side is None
    ]


def _spine_by_names(figure: Figure, found: Found) -> list[int]:
    joints = [joint for joint in figure.named(SPINE_LEVELS, None) if joint not in found.values()]

    def height(joint: int) -> tuple[int, int, str]:
        number, _, label = figure.key(joint)
        base = figure.names[joint].base
        return SPINE_LEVELS[base], -number if base in ("l", "t") else number, label  # vertebrae are counted downwards

    return sorted(joints, key=height)


def _single_spine(figure: Figure, joint: int, carries_arms: bool, stance: Stance | None) -> str:
    """What the only joint between pelvis and neck marks: by its name, else by its height, or as HumanIK and Kinect have it."""
    name = figure.names[joint]
    if name.is_body and SPINE_LEVELS.get(name.base, 0) >= CHEST_LEVEL:
        return "chest"
    place = figure.rest.at([joint])
    if not name.is_body and stance is not None and stance.is_upright and place is not None:
        height = stance.height(place[0])
        return min(("spine_low", "spine_mid", "chest"), key=lambda point: abs(generic_height(point) - height))
    return "spine_low" if carries_arms else "spine_mid"


# ---- without names ------------------------------------------------------------------------------------------------------


def head_by_tree(figure: Figure, found: Found, stance: Stance, children: list[list[int]]) -> Found:
    """Neck and head of a body whose names do not tell them: the line of joints above the joint that both arms hang from.

    Args:
        figure: The joints.
        found: What is known; both shoulders are.
        stance: The body stands.
        children: For each joint, those below it that may be body parts (`Figure.plain_children`).
    """
    carrier = figure.tree.lowest_common([found[f"{side}_shoulder"] for side in SIDES])
    if carrier is None or carrier == found.get("pelvis"):
        return {}
    limbs = {joint for point, joint in found.items() if point.startswith(("left_", "right_"))}
    lines = [_line_up(child, children) for child in children[carrier] if limbs.isdisjoint(figure.tree.subtree(child))]
    heights = [(_heights(figure, stance, line), line) for line in lines]
    rising = [(max(found_heights), line, found_heights) for found_heights, line in heights if found_heights]
    _, line, line_heights = max(rising, key=lambda entry: entry[0], default=(0.0, [], []))
    place = figure.rest.at([carrier])
    points: Found = {}
    least = _NECK_BELOW_NECK_HEIGHT if len(line) > 1 else _NECK_HEIGHT
    if "neck" not in found and place is not None and stance.height(place[0]) >= least:
        points["neck"] = carrier
    free = [point for point in _ABOVE_CHEST if point not in points and point not in found]
    chosen = _match_heights(line_heights, free)
    return points | {point: line[at] for at, point in chosen.items() if line[at] not in found.values()}


def head_of_spine(figure: Figure, found: Found) -> Found:
    """Neck and head of rigs that call them spine, too (Blender's Rigify: spine.004 to spine.006), by their number."""
    carrier = figure.tree.lowest_common([found[f"{side}_shoulder"] for side in SIDES])
    line = [] if carrier is None or figure.names[carrier].base != "spine" else [carrier]
    while line:
        above = [joint for joint in figure.tree.children[line[-1]] if _is_spine(figure, joint)]
        if len(above) != 1:
            break
        line.append(above[0])
    points: tuple[str, ...] = {3: ("neck", "head"), 4: ("neck", "neck_high", "head")}.get(len(line), ())
    return {point: joint for point, joint in zip(points, line[1:], strict=False) if joint not in found.values()}


def _is_spine(figure: Figure, joint: int) -> bool:
    return figure.names[joint].base == "spine" and figure.names[joint].side is None and figure.marking[joint]


def _line_up(start: int, children: list[list[int]]) -> list[int]:
    """The joints from `start` on, up to the first that several hang from (a head with a face)."""
    line = [start]
    while len(line) < _MOST_ABOVE and len(children[line[-1]]) == 1:
        line.append(children[line[-1]][0])
    return line


def _heights(figure: Figure, stance: Stance, line: list[int]) -> list[float]:
    """Heights of a line of joints; empty if one is unknown, or they lead forward more than up, or not above the shoulders."""
    base = figure.tree.parents[line[0]]
    places = figure.rest.at([base, *line])
    if places is None:
        return []
    heights = [stance.height(place) for place in places[1:]]
    rise = (heights[-1] - stance.height(places[0])) * stance.trunk
    forward = float(np.linalg.norm(stance.across(places[-1] - places[0])))
    return heights if heights[-1] > 1 and forward < _FORWARD * rise else []


def _match_heights(heights: list[float], points: list[str]) -> dict[int, str]:
    """Index of the height → point, in rising order, so that the heights are most like those of the generic adult."""
    best: tuple[float, dict[int, str]] = (np.inf, {})
    for number in range(min(len(heights), len(points)) + 1):
        for indices in combinations(range(len(heights)), number):
            for chosen in combinations(points, number):
                pairs = dict(zip(indices, chosen, strict=True))
                cost = sum(abs(heights[at] - generic_height(point)) for at, point in pairs.items())
                # Left-over joints, a missing head, and the points that few skeletons have.
                cost += 0.15 * (len(heights) - number) + 0.5 * ("head" in points and "head" not in chosen)
                cost += 0.3 * (len(heights) > 1 and "neck" in points and "neck" not in chosen)
                cost += 0.2 * sum(point in ("neck_high", "head_top") for point in chosen)
                if cost < best[0] - 1e-9:
                    best = (cost, pairs)
    return best[1]
