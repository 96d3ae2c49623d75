"""Limbs and pelvis by their names, as far as the tree agrees, and the gaps between them that the tree alone fills."""

from collections.abc import Sequence

from .body_points import ARM_POINTS, LEG_POINTS
from .skeleton_tree import Figure
from .skeleton_vocabulary import (
    ARM_WORDS,
    FAR_END_ARM_WORDS,
    FAR_END_LEG_WORDS,
    FAR_END_SIGN,
    LEG_WORDS,
    OTHER_SIDED_WORDS,
    PELVIS_WORDS,
    ROOT_WORDS,
    ranked,
)


SIDES = ("left", "right")
LEG = ("hip", "knee", "ankle")
ARM = ("shoulder", "elbow", "wrist")
REQUIRED_SIDED = tuple(f"{side}_{point}" for side in SIDES for point in (*LEG, *ARM))

# More joints of one name than this are not looked at: real files have two or three.
_MOST_CANDIDATES = 6
# Lengths of the two bones of a limb differ less than this.
_BONE_RATIO = 2.5

Found = dict[str, int]


def find_limbs(figure: Figure) -> Found:
    """Points of legs and arms → joints.

    Of all ways to give the names of one limb to its points, the one is taken that finds most points, in the order in which
    they hang from each other, with the best words. That settles what means several points: `LeftShoulder` is a collar where a
    `LeftArm` hangs from it, `LeftLeg` a knee below a `LeftUpLeg` and a hip above a `LeftKnee`, `LeftFoot` an ankle, or with a
    `LeftAnkle` above it the toe. A joint that does not hang from the rest of its limb is not taken.
    """
    found: Found = {}
    for side in SIDES:
        far_end = _is_far_end(figure, side)
        for points, words, far_words in (
            (LEG_POINTS, LEG_WORDS, FAR_END_LEG_WORDS),
            (ARM_POINTS, ARM_WORDS, FAR_END_ARM_WORDS),
        ):
            chosen = far_words if far_end else words
            candidates = [_candidates(figure, side, point, chosen.get(point, ())) for point in points]
            found |= {f"{side}_{point}": joint for point, joint in _best_chain(figure, points, candidates).items()}
    return found


def _is_far_end(figure: Figure, side: str) -> bool:
    """Whether joints are called after the bone that ends in them, as in CMU's ASF files.

    Where joints are called after the bone that starts in them, the hip joint lies in the root.
    """
    words = {name.base: joint for joint, name in enumerate(figure.names) if name.side == side}
    return set(words) >= FAR_END_SIGN and figure.rest.has_length(words["hipjoint"])


def _candidates(figure: Figure, side: str, point: str, groups: tuple[str, ...]) -> list[tuple[int, int]]:
    """(cost, joint), cheapest first."""
    words = ranked(groups)
    joints = figure.named(words, side)[:_MOST_CANDIDATES]
    if point == "palm":  # palm.01 to palm.04 begin the fingers
        joints = [joint for joint in joints if not figure.names[joint].digits]
    return [(10 * words[figure.names[joint].base] + place, joint) for place, joint in enumerate(joints)]


def _best_chain(figure: Figure, points: Sequence[str], candidates: list[list[tuple[int, int]]]) -> Found:
    best: tuple[tuple[int, int, int], Found] = ((0, 0, 0), {})

    def extend(at: int, chain: Found, cost: int) -> None:
        nonlocal best
        if at == len(points):
            score = (sum(point in chain for point in (*LEG, *ARM)), len(chain), -cost)
            if score > best[0]:
                best = (score, dict(chain))
            return
        last = next(reversed(chain.values()), None)
        for price, joint in candidates[at]:
            if joint not in chain.values() and (last is None or figure.tree.may_be_above(last, joint)):
                chain[points[at]] = joint
                extend(at + 1, chain, cost + price)
                del chain[points[at]]
        extend(at + 1, chain, cost)

    extend(0, {}, 0)
    return best[1]


def find_pelvis(figure: Figure, found: Found) -> int | None:
    """The joint called so from which both legs hang; of several, one from which the arms hang, too (DAZ: hip, not pelvis)."""
    words = ranked(PELVIS_WORDS)
    tops = [[found[f"{side}_{point}"] for side in SIDES if f"{side}_{point}" in found] for point in ("hip", "shoulder")]
    hips, shoulders = tops

    def carries(joint: int, limbs: list[int]) -> bool:
        return all(figure.tree.may_be_above(joint, limb) for limb in limbs)

    carrier = figure.tree.lowest_common(hips) if len(hips) == 2 else None
    named = [
        joint
        for joint in figure.named(words, None)
        if joint not in found.values()
        and carries(joint, hips)
        # A root stands on the floor unless the legs hang from it.
        and (figure.names[joint].base not in ROOT_WORDS or carrier in (None, joint))
    ]

    return min(named, key=lambda joint: not carries(joint, shoulders), default=None)


# ---- gaps ---------------------------------------------------------------------------------------------------------------


def fill_gaps(figure: Figure, found: Found) -> Found:
    """Points between named ones, where the tree leaves one choice, and the choice has a name that tells nothing."""
    if figure.tree.flat:
        return {}
    filled: Found = {}
    if "pelvis" not in found:
        pelvis = _carrier_of_legs(figure, found)
        filled |= {} if pelvis is None else {"pelvis": pelvis}
    for side in SIDES:
        for start, points in (("pelvis", LEG), (f"{side}_collar", ARM)):
            line = [start, *(f"{side}_{point}" for point in points)]
            for before, missing, after in zip(line[:-1], line[1:], [*line[2:], None], strict=True):
                known = found | filled
                if missing in known or before not in known or (after is not None and after not in known):
                    continue
                choice = _between(figure, side, known[before], None if after is None else known[after])
                if choice is not None and _is_plausible(figure, known, line, missing, choice):
                    filled[missing] = choice
    return filled


def _carrier_of_legs(figure: Figure, found: Found) -> int | None:
    """The lowest joint that both legs hang from, unless it is called after another part of the body than the trunk."""
    hips = [found[f"{side}_hip"] for side in SIDES if f"{side}_hip" in found]
    carrier = figure.tree.lowest_common(hips) if len(hips) == 2 else None
    if carrier is None or carrier in found.values():
        return None
    name = figure.names[carrier]
    return carrier if name.tells_nothing or (name.side is None and name.base in ("spine", "waist", "torso")) else None


def _between(figure: Figure, side: str, before: int, after: int | None) -> int | None:
    """The one joint without a telling name between two, or below one."""
    if after is None:
        choices = [joint for joint in figure.tree.children[before] if not _is_extra(figure, joint)]
    else:
        choices = [joint for joint in figure.tree.between(before, after) if not _is_extra(figure, joint)]
    if len(choices) != 1:
        return None
    name = figure.names[choices[0]]
    return choices[0] if name.tells_nothing and name.side in (None, side) else None


def _is_extra(figure: Figure, joint: int) -> bool:
    return figure.names[joint].is_end or figure.names[joint].is_unmarked or not figure.rest.has_length(joint)


def _is_plausible(figure: Figure, known: Found, line: list[str], missing: str, choice: int) -> bool:
    """The two bones of the limb have about the same length, as far as there is a rest pose."""
    upper, middle, lower = (choice if point == missing else known.get(point) for point in line[1:])
    if upper is None or middle is None or lower is None:
        return True
    one, other = figure.rest.distance(upper, middle), figure.rest.distance(middle, lower)
    return not max(one, other) > _BONE_RATIO * min(one, other)  # NaN: unknown


# ---- what is off the chains ---------------------------------------------------------------------------------------------


def find_others(figure: Figure, found: Found) -> Found:
    """Heels, small toes, thumbs, eyes, ears and fingers, where they hang from the ankle, wrist or head."""
    others: Found = {}
    taken = set(found.values())
    for side in SIDES:
        for point, (words, carrier) in OTHER_SIDED_WORDS.items():
            above = found.get("head" if carrier == "head" else f"{side}_{carrier}")
            choices = [joint for joint in figure.named(ranked((words,)), side) if joint not in taken]
            if point == "thumb":
                choices = [joint for joint in choices if not figure.names[joint].digits]
            elif point in ("eye", "ear"):
                above = None  # trees of key points hang them anywhere
            choices = [joint for joint in choices if above is None or figure.tree.may_be_above(above, joint)]
            if choices and (above is not None or carrier == "head"):
                others[f"{side}_{point}"] = choices[0]
        others |= _find_fingers(figure, side, found)
    return others


def _find_fingers(figure: Figure, side: str, found: Found) -> Found:
    wrist = found.get(f"{side}_wrist")
    fingers: dict[str, list[int]] = {}
    own = [joint for joint, name in enumerate(figure.names) if name.side == side and figure.marking[joint]]
    is_biped = any(name.side == side and name.base == "finger" and name.digits == "0" for name in figure.names)
    for joint in own:
        name = figure.names[joint]
        point = name.biped_finger if is_biped and name.base == "finger" else name.finger
        if point is not None and wrist is not None and figure.tree.may_be_above(wrist, joint):
            fingers.setdefault(f"{side}_{point}", []).append(joint)
    return {point: min(joints, key=figure.key) for point, joints in fingers.items() if joints[0] not in found.values()}
