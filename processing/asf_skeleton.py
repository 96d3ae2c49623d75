"""ASF files (Acclaim skeletons, as of the CMU Graphics Lab): bones, how they hang together and what moves them.

Sources: "Acclaim Skeleton File Definition" 1.10 (M. Schafer, 1994), "Acclaim Format - ASF line details" (Oxford Metrics),
and J. Lander's description of both files (research.cs.wisc.edu/graphics/Courses/cs-838-1999/Jeff/ASF-AMC.html), whose
matrices act on row vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .skeletons import Skeleton, get_skeleton
from .text_frames import NumberedLines, parse_numbers


#: The largest ASF file, and the most bones.
MAX_ASF_BYTES = 4 * 1024**2
MAX_BONES = 1000

ROOT = "root"
#: What an ASF file consists of. The definition itself spells :hierarchy in both ways.
ASF_SECTIONS = (":version", ":name", ":units", ":documentation", ":root", ":bonedata", ":hierarchy", ":hierachy", ":skin")

_LONGEST_LINE = 4096
_SHOWN = 5
_CHANNELS = ("tx", "ty", "tz", "rx", "ry", "rz")
_BONE_FIELDS = ("id", "name", "direction", "length", "axis", "dof", "limits", "bodymass", "cofmass")

Line = tuple[int, list[str]]  # number in the file, words


@dataclass
class Bone:
    """A bone, or the root: a bone of no length that moves.

    Args:
        name: In lower case, because case does not tell bones apart.
        direction: Unit vector (3,) in the world of the rest pose.
        length: In the unit of the file.
        axes: Orientation of the bone's own axes in the rest pose; for the root, of the whole skeleton.
        dof: Degrees of freedom, in the order of the values in the AMC file: tx, ty, tz (root), rx, ry, rz, l (length).
    """

    name: str
    direction: np.ndarray
    length: float
    axes: Rotation
    dof: list[str]


@dataclass
class Asf:
    """What an ASF file holds.

    Args:
        bones: N of them, the root first, every parent before its children; in the order of `skeleton` if there is one.
        parents: N indices, -1 for the root.
        position: Of the root in the rest pose, (3,), in the unit of the file.
        length: How many units of the file make one unit of length.
        degrees: Whether the angles are degrees; else they are radians.
        notes: What was ignored or mended: sentences for the user.
        skeleton: `cmu31`, if these are its joints.
    """

    bones: list[Bone]
    parents: list[int]
    position: np.ndarray
    length: float
    degrees: bool
    notes: list[str]
    skeleton: Skeleton | None = None

    @property
    def unit(self) -> str | None:
        """Inches if lengths are scaled: the definition's `2.54` stands for data in centimetres, CMU's is 0.45."""
        return "inches" if self.length != 1 else None

    @property
    def index(self) -> dict[str, int]:
        return {bone.name: node for node, bone in enumerate(self.bones)}


def read_asf(path: Path) -> Asf:
    """Read an ASF file.

    Raises:
        ValueError: If it is damaged or too large; the message does not name the file.
    """
    if path.stat().st_size > MAX_ASF_BYTES:
        raise ValueError(f"{path.stat().st_size} bytes; a skeleton has less than {MAX_ASF_BYTES}")
    with path.open(encoding="latin-1") as stream:
        sections = _sections(filled_lines(NumberedLines(stream), ",()"))
    hierarchy = sections.get(":hierarchy", sections.get(":hierachy"))
    missing = [name for name in (":root", ":bonedata") if name not in sections] + [":hierarchy"] * (hierarchy is None)
    if missing or hierarchy is None:
        raise ValueError(
            f"it has no section {', '.join(missing)}, found {listed(list(sections)) or 'none'}; export it again"
        )
    length, degrees = _read_units(sections.get(":units", []))
    root, position = _read_root(sections[":root"], degrees)
    notes: list[str] = []
    if root.axes.magnitude() > 0:
        notes.append("the skeleton is turned by the orientation that its :root states, before the motion turns it")
    unknown = [name for name in sections if name not in ASF_SECTIONS]
    if unknown:
        notes.append(f"ignored sections of the ASF file: {listed(unknown)}")
    bones = [root, *_read_bones(sections[":bonedata"], degrees, notes)]
    bones, parents = _arrange(bones, hierarchy)
    return _like_cmu31(Asf(bones, parents, position, length, degrees, notes))


def _sections(lines: Iterator[Line]) -> dict[str, list[Line]]:
    sections: dict[str, list[Line]] = {}
    name = ""
    for number, words in lines:
        if words[0].startswith(":"):
            name = words[0].lower()
            if name in sections:
                raise ValueError(f"line {number}: a second section {name}")
            sections[name] = [(number, words[1:])] if words[1:] else []
        elif not name:
            raise ValueError(f"line {number}: {' '.join(words)[:40]!r} stands before the first section (:version, :name, …)")
        else:
            sections[name].append((number, words))
    return sections


def _read_units(section: list[Line]) -> tuple[float, bool]:
    """The length of a unit, and whether angles are degrees."""
    length, degrees = 1.0, True
    for number, words in section:
        key = words[0].lower()
        if key == "length":
            (length,) = numbers_behind(words, 1, number)
            if length <= 0:
                raise ValueError(f"line {number}: the unit of length is {length:g}; expected a number above 0")
        elif key == "angle":
            if [word[:3].lower() for word in words[1:]] not in (["deg"], ["rad"]):
                raise ValueError(f"line {number}: {' '.join(words)[:40]!r}; expected 'angle deg' or 'angle rad'")
            degrees = words[1].lower().startswith("deg")
    return length, degrees


def numbers_behind(words: list[str], count: int, number: int) -> list[float]:
    """The `count` numbers behind the first word of a line."""
    if len(words) < count + 1:
        raise ValueError(f"line {number}: {' '.join(words)[:40]!r}; expected {count} numbers behind {words[0]!r}")
    return parse_numbers(words[1 : count + 1], f"line {number}")


def _axes(letters: str, angles: Sequence[float], degrees: bool, number: int) -> Rotation:
    """Turns about the fixed axes of the world, one after the other in the order of `letters`."""
    if sorted(letters.lower()) != ["x", "y", "z"]:
        raise ValueError(
            f"line {number}: {letters[:40]!r} is no order of axes; expected XYZ or another order of these three"
        )
    by_letter = dict(zip("xyz", angles, strict=True))
    return Rotation.from_euler(letters.lower(), [by_letter[letter] for letter in letters.lower()], degrees=degrees)


def _read_root(section: list[Line], degrees: bool) -> tuple[Bone, np.ndarray]:
    """The root, and its position in the rest pose."""
    order: list[str] = []
    letters, angles, angles_number = "XYZ", [0.0, 0.0, 0.0], 0
    position = np.zeros(3)
    for number, words in section:
        key = words[0].lower()
        if key == "order":
            order = _degrees_of_freedom(words, _CHANNELS, number)
        elif key == "axis":
            letters, angles_number = (words[1:] or [""])[0], number
        elif key == "position":
            position = np.array(numbers_behind(words, 3, number))
        elif key == "orientation":
            angles, angles_number = numbers_behind(words, 3, number), number
    if not order:
        raise ValueError("its :root has no line 'order' that says what the values of the root are (order TX TY TZ RX RY RZ)")
    return Bone(ROOT, np.zeros(3), 0.0, _axes(letters, angles, degrees, angles_number), order), position


def _degrees_of_freedom(words: list[str], known: Sequence[str], number: int) -> list[str]:
    dof = [word.lower() for word in words[1:]]
    if len(set(dof)) < len(dof) or not set(dof) <= set(known):
        raise ValueError(f"line {number}: {' '.join(words)[:60]!r}; expected some of {' '.join(known)}, each once")
    return dof


def _read_bones(section: list[Line], degrees: bool, notes: list[str]) -> list[Bone]:
    bones: list[Bone] = []
    fields: dict[str, Line] | None = None
    unknown: dict[str, None] = {}
    field_name = ""
    for number, words in section:
        key = words[0].lower()
        if key == "begin":
            fields, field_name = {}, key
        elif fields is None:
            raise ValueError(f"line {number}: {' '.join(words)[:40]!r} stands outside of begin and end")
        elif key == "end":
            bones.append(_make_bone(fields, number, degrees))
            fields = None
        elif key in _BONE_FIELDS:
            fields[key], field_name = (number, words), key
        elif field_name != "limits":  # which go on over several lines
            unknown[key] = None
        if len(bones) >= MAX_BONES:
            raise ValueError(f"line {number}: {MAX_BONES} bones; a person has fewer")
    if fields is not None:
        raise ValueError("its last bone has no 'end': the file is cut off; copy or export it again")
    if unknown:
        notes.append(f"ignored fields of the bones in the ASF file: {listed(list(unknown))}")
    still = sum(bone.length == 0 for bone in bones)
    if still:
        notes.append(f"{still} of {len(bones)} bones have no length: their far ends lie at those of their parents")
    uneven = [bone for bone in bones if bone.length > 0 and abs(np.linalg.norm(bone.direction) - 1) > 1e-3]
    for bone in uneven:
        bone.direction = bone.direction / np.linalg.norm(bone.direction)
    if uneven:
        notes.append(f"the directions of {len(uneven)} bones are no unit vectors; scaled to length 1")
    return bones


def _make_bone(fields: dict[str, Line], end: int, degrees: bool) -> Bone:
    missing = [name for name in ("name", "direction", "length", "axis") if name not in fields]
    if missing:
        raise ValueError(f"line {end}: the bone that ends here has no {', '.join(missing)}")
    number, words = fields["name"]
    if len(words) != 2:
        raise ValueError(f"line {number}: {' '.join(words)[:60]!r}; expected 'name' and one word")
    name = words[1].lower()
    direction = np.array(numbers_behind(fields["direction"][1], 3, fields["direction"][0]))
    (length,) = numbers_behind(fields["length"][1], 1, fields["length"][0])
    if length < 0 or (length > 0 and not 0 < np.linalg.norm(direction) < np.inf):
        raise ValueError(f"line {fields['length'][0]}: bone {name!r} has length {length:g} and direction {direction}")
    number, words = fields["axis"]
    axes = _axes(" ".join(words[4:]), numbers_behind(words, 3, number), degrees, number)
    dof_number, dof_words = fields.get("dof", (end, ["dof"]))
    return Bone(name, direction, length, axes, _degrees_of_freedom(dof_words, ("rx", "ry", "rz", "l"), dof_number))


def _arrange(bones: list[Bone], hierarchy: list[Line]) -> tuple[list[Bone], list[int]]:
    """The bones with every parent before its children, and the parents."""
    by_name = {bone.name: bone for bone in bones}
    if len(by_name) < len(bones):
        twice = next(bone.name for bone in bones if bone is not by_name[bone.name])
        raise ValueError(f"two bones have the name {twice!r}")
    children: dict[str, list[str]] = {}
    placed: set[str] = set()
    for number, words in hierarchy:
        names = [word.lower() for word in words]
        if names in (["begin"], ["end"]):
            continue
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ValueError(f"line {number}: the :hierarchy names {listed(unknown)}, of which :bonedata knows nothing")
        for name in names[1:]:
            if name in placed or name == ROOT:
                raise ValueError(f"line {number}: {name!r} has a second parent, {names[0]!r}")
            placed.add(name)
        children.setdefault(names[0], []).extend(names[1:])
    order, parents = [ROOT], [-1]
    for node, name in enumerate(order):
        order.extend(children.get(name, []))
        parents.extend([node] * len(children.get(name, [])))
    loose = [name for name in by_name if name not in set(order)]
    if loose:
        raise ValueError(
            f"the :hierarchy leads from the root to all bones but {listed(loose)}; they hang nowhere or in a circle"
        )
    return [by_name[name] for name in order], parents


def _like_cmu31(asf: Asf) -> Asf:
    """In the order of `cmu31`, if the bones and what they hang from are those of that skeleton."""
    cmu31 = get_skeleton("cmu31")
    theirs = _parent_names(cmu31.joint_names, cmu31.parents)
    index = asf.index
    if _parent_names([bone.name for bone in asf.bones], asf.parents) == theirs:
        asf.bones = [asf.bones[index[name]] for name in cmu31.joint_names]
        asf.parents = list(cmu31.parents)  # parents come first there, too
        asf.skeleton = cmu31
    return asf


def _parent_names(names: Sequence[str], parents: Sequence[int]) -> dict[str, str | None]:
    return {name: None if parent < 0 else names[parent] for name, parent in zip(names, parents, strict=True)}


# ---- lines --------------------------------------------------------------------------------------------------------------


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def filled_lines(lines: NumberedLines, whitespace: str = "") -> Iterator[Line]:
    """The lines that hold anything, without comments; the characters of `whitespace` separate words too."""
    blank = str.maketrans(whitespace, " " * len(whitespace))
    while (line := lines.read(_LONGEST_LINE)) is not None:
        if lines.number == 1:
            line = line.removeprefix("\xef\xbb\xbf")  # a byte order mark, read as latin-1
        if "#" in line:
            line = line.partition("#")[0]
        words = (line.translate(blank) if whitespace else line).split()
        if words:
            yield lines.number, words
