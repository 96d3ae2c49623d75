"""Joint names as people and programs write them: prefixes, camel case, `L`, `_r`, `Left` … → side, plain name and what it is."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .skeleton_vocabulary import (
    BIPED_FINGERS,
    BODY_WORDS,
    END_WORDS,
    FINGER_JOINTS,
    FINGERS,
    PREFIX_WORDS,
    SIDED_WORDS,
    SUFFIX_WORDS,
    UNMARKED_WORDS,
)


_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
_NAMESPACE = re.compile(r"[:|]")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_GLUED_HELPER = re.compile(r".+(twist|roll)")
_FINGER = re.compile(rf"(?:hand|f|finger)?({'|'.join(FINGERS)})(?:finger)?({'|'.join(FINGER_JOINTS)})?")
# A word before so many of the names is a prefix, whatever it is.
_SHARED = 0.8
_LEAST_NAMES = 5
_LONGEST_NAME = 200


@dataclass(frozen=True)
class JointName:
    """A joint name, taken apart.

    Args:
        side: `"left"`, `"right"` or `None`.
        words: Its words in lower case and its numbers as they are written, without prefixes and side.
        prefixes: The prefixes, in lower case.
    """

    side: str | None
    words: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    @cached_property
    def base(self) -> str:
        """The words without numbers, joined: `upleg`, `spine`."""
        return "".join(word for word in self.words if not word.isdecimal())

    @cached_property
    def digits(self) -> str:
        """The first number as it is written, or `""`."""
        return next((word for word in self.words if word.isdecimal()), "")

    @cached_property
    def is_body(self) -> bool:
        """It is a word for some point of the body."""
        if self.base in ("l", "t"):  # vertebrae have numbers
            return self.side is None and bool(self.digits)
        return self.base in BODY_WORDS or _FINGER.fullmatch(self.base) is not None

    @cached_property
    def is_end(self) -> bool:
        """It names the end of a bone: `LeftToe_End`, `HeadNub`, and the nameless end sites of BVH files."""
        if not self.words:
            return True
        words = [word for word in self.words if not word.isdecimal()]
        return not self.is_body and bool(words) and words[-1] in END_WORDS

    @cached_property
    def is_unmarked(self) -> bool:
        """It names a helper of the rig, clothing or a thing: no point of a body."""
        if self.is_body:
            return False
        return not UNMARKED_WORDS.isdisjoint((*self.words, self.base)) or _GLUED_HELPER.fullmatch(self.base) is not None

    @property
    def tells_nothing(self) -> bool:
        return not (self.is_body or self.is_end or self.is_unmarked)

    @property
    def finger(self) -> str | None:
        """The finger joint that it names for sure, as in `BODY_POINTS`: `HandIndex1` → `index1`; without its side."""
        found = _FINGER.fullmatch(self.base)
        if found is None:
            return None
        number = FINGER_JOINTS.get(found[2] or "") or (int(self.digits) if 0 < len(self.digits) <= 3 else 0)
        return f"{FINGERS[found[1]]}{number}" if 1 <= number <= 3 else None

    @property
    def biped_finger(self) -> str | None:
        """The finger joint of a 3ds Max Biped: `Finger0` → `thumb1`, `Finger01` → `thumb2`, `Finger12` → `index3`."""
        if self.base != "finger" or re.fullmatch(r"[0-4][12]?", self.digits) is None:
            return None
        return f"{BIPED_FINGERS[int(self.digits[0])]}{1 + int(self.digits[1:] or 0)}"


def parse_name(name: str, shared: Sequence[str] = ()) -> JointName:
    """Take a joint name apart.

    Namespaces (`mixamorig:`, `Armature|`), known prefixes and suffixes (`Bip01`, `CC_Base_`, `DEF-`, `_jnt`) and the prefix
    that all names of a file share are left out. The side is a word of its own wherever it stands (`L_Arm`, `LeftArm`,
    `thigh.L.001`), or is glued to a word that is known (`lfemur`, `LEFTARM`).

    Args:
        name: The name.
        shared: Words before all names of the file, from `shared_prefix`.
    """
    words = split_words(name)
    prefixes: list[str] = []
    for prefix in shared:
        if words[:1] == [prefix] and _has_letters(words[1:]):
            prefixes.append(words.pop(0))
    sides = {_SIDES[word] for word in words if word in _SIDES}
    rest = [word for word in words if word not in _SIDES]
    side = None
    if len(sides) == 1 and _has_letters(rest):  # L5 is a vertebra
        side, words = sides.pop(), rest
    words = _without_prefixes(words, prefixes)
    while len(words) > 1 and words[-1] in SUFFIX_WORDS and _has_letters(words[:-1]) and words[-2:] != ["hip", "joint"]:
        words.pop()
    if side is None:
        side, words = _glued_side(words)
    return JointName(side, tuple(words), tuple(prefixes))


def split_words(name: str) -> list[str]:
    """`mixamorig:LeftUpLeg` → left, up, leg."""
    return [word.lower() for word in _WORD.findall(_NAMESPACE.split(name)[-1] or name)]


def _has_letters(words: Sequence[str]) -> bool:
    """More than numbers and a side."""
    return any(not word.isdecimal() and word not in _SIDES for word in words)


def _without_prefixes(words: list[str], prefixes: list[str]) -> list[str]:
    words = list(words)
    while _has_letters(words[1:]) and (
        words[0] in PREFIX_WORDS or words[0].isdecimal() or (words[0] == "base" and prefixes[-1:] == ["cc"])
    ):
        prefixes.append(words.pop(0))
    return words


def _glued_side(words: list[str]) -> tuple[str | None, list[str]]:
    """The side of `lfemur`, `leftarm` or `armleft`, and the words without it."""
    base = "".join(word for word in words if not word.isdecimal())
    numbers = [word for word in words if word.isdecimal()]
    if base in BODY_WORDS:
        return None, words
    for side in ("left", "right"):
        for rest in (base.removeprefix(side), base.removesuffix(side), base[1:] if base[:1] == side[0] else base):
            if rest != base and rest in SIDED_WORDS:
                return side, [rest, *numbers]
        if base.startswith(side) and base != side:
            return side, [base.removeprefix(side), *numbers]
    return None, words


def shared_prefix(names: Sequence[str]) -> list[str]:
    """Words that stand before nearly all of the names, and are no words of a body: `Hero_LeftArm`, `Hero_Hips` → hero."""
    split = [words for words in map(split_words, names) if words]
    shared: list[str] = []
    while len(split) >= _LEAST_NAMES:
        word, count = Counter(words[0] for words in split).most_common(1)[0]
        rest = [words[1:] for words in split if words[0] == word and _has_letters(words[1:])]
        if len(rest) < max(_LEAST_NAMES, _SHARED * len(split)) or count < len(rest) or word in BODY_WORDS | set(_SIDES):
            break
        shared.append(word)
        split = rest
    return shared


def parse_names(names: Sequence[str]) -> list[JointName]:
    """The names of a file, taken apart, without the prefix that they share."""
    shared = shared_prefix(names)
    return [parse_name(name, shared) for name in names]


def plain_name(name: str) -> str:
    """`mixamorig:LeftUpLeg` → `left_upleg`, `UpperArm_R` → `right_upperarm`, `lShldr` → `left_shldr`, `Spine1` → `spine1`."""
    parsed = parse_name(name)
    plain = "".join(parsed.words)
    return f"{parsed.side}_{plain}" if parsed.side else plain


def mirror_name(name: str, side: str) -> str | None:
    """The name of the joint across, if `name` is on the given side, written in the same way: `LeftForeArmRoll` →
    `RightForeArmRoll`, `twist_l` → `twist_r`. `None` for a name that is not on that side.
    """
    if len(name) > _LONGEST_NAME or parse_name(name).side != side:
        return None
    other = {"left": "right", "right": "left"}[side]
    wanted = f"{other}{plain_name(name).removeprefix(side)}"
    for word, swapped in ((side, other), (side[0], other[0])):
        for found in re.finditer(word, name, re.IGNORECASE):
            mirrored = name[: found.start()] + _like(swapped, found.group()) + name[found.end() :]
            if plain_name(mirrored) == wanted:
                return mirrored
    return None


def _like(word: str, model: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
