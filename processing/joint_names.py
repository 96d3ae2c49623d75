"""Joint names as people and programs write them: prefixes, camel case, `L`, `_r`, `Left` … → side and plain name."""

import re


_SIDES = {"l": "left_", "left": "left_", "r": "right_", "right": "right_"}
_PREFIX = re.compile(r"^(mixamorig|character|bip|joint|cc_base)\d*[\s_.-]*(?=[a-z])", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def plain_name(name: str) -> str:
    """`mixamorig:LeftUpLeg` → `left_upleg`, `UpperArm_R` → `right_upperarm`, `lShldr` → `left_shldr`, `Spine1` → `spine1`."""
    words = [word.lower() for word in _WORD.findall(_PREFIX.sub("", name.rsplit(":", 1)[-1]))]
    for at in (0, -1):
        if len(words) > 1 and words[at] in _SIDES:
            return _SIDES[words.pop(at)] + "".join(words)
    plain = "".join(words)
    side = next((side for side in ("left", "right") if plain.startswith(side)), None)
    return f"{side}_{plain.removeprefix(side)}" if side else plain


def mirror_name(name: str, side: str) -> str | None:
    """The name of the joint across, if `name` is on the given side, written in the same way: `LeftForeArmRoll` →
    `RightForeArmRoll`, `twist_l` → `twist_r`. `None` for a name that is not on that side.
    """
    if not plain_name(name).startswith(f"{side}_"):
        return None
    other = {"left": "right", "right": "left"}[side]
    letter, swapped = side[0], other[0]
    for pattern, replacement in (
        (side, other),
        (side.capitalize(), other.capitalize()),
        (side.upper(), other.upper()),
        (rf"(?<![A-Za-z]){letter}(?![a-z])", swapped),
        (rf"(?<![A-Za-z]){letter.upper()}(?![A-Z])", swapped.upper()),
        (rf"(?<=[a-z0-9]){letter.upper()}$", swapped.upper()),
    ):
        mirrored, count = re.subn(pattern, replacement, name, count=1)
        if count:
            return mirrored
    return None
