"""BVH files → a `Motion`: read by pybvh, joints recognised by their names, unit and up axis guessed from the rest pose."""

import math
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .motion import Motion
from .skeletons import UNITS, Skeleton, get_skeleton, list_skeletons


if TYPE_CHECKING:
    import pybvh

#: The largest BVH file that is read, the most bytes that its forward kinematics may need, and the most joints and end sites.
MAX_TEXT_BYTES = 256 * 1024**2
MAX_KINEMATICS_BYTES = 4 * 1024**3
MAX_NODES = 1000

_PREFERRED_SKELETON = "body21"
_SHOWN_JOINTS = 5

# BVH states no unit. CMU's own conversions are in units of 1/0.45 inch (mocap.cs.cmu.edu, "faqs").
_METRES_PER_UNIT = {
    **{unit: UNITS[unit] for unit in ("metres", "centimetres", "millimetres", "inches")},
    "CMU's units of 1/0.45 inch": 0.0254 / 0.45,
}
_LEG_METRES = (0.5, 1.2)

# Body point → the names that BVH files give it, best first. Each joint is used once and points are filled in this order,
# which settles the ambiguous names: `LeftShoulder` is the shoulder unless `LeftArm` is, and then the collar; `LeftLeg` is
# the knee unless `LeftKnee` is, and then the hip; `LeftFoot` is the ankle unless `LeftAnkle` is, and then the toe.
_SIDED_NAMES = {
    "knee": ("knee", "lowerleg", "lowleg", "shin", "calf", "leg"),
    "hip": ("upleg", "upperleg", "thigh", "hip", "leg"),
    "ankle": ("ankle", "foot"),
    "midfoot": ("midfoot",),
    "toe": ("toe", "toes", "toebase", "toe0", "foot"),
    "shoulder": ("upperarm", "uparm", "shldr", "arm", "shoulder"),
    "collar": ("collar", "clavicle", "collarbone", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm"),
    "wrist": ("wrist", "hand"),
    "hand": ("hand",),
}
_MEDIAN_NAMES = {
    "pelvis": ("hips", "pelvis", "hip", "hipcenter", "root"),
    "head": ("head",),
}
_NECK_NAMES = ("neck", "neck1", "neck2", "lowerneck", "upperneck", "shouldercenter")
_SIDES = {"l": "left_", "left": "left_", "r": "right_", "right": "right_"}
_PREFIX = re.compile(r"^(mixamorig|character|bip|joint|cc_base)\d*[\s_.-]*(?=[a-z])", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def read_bvh(path: Path) -> tuple[Motion, list[str]]:
    """Read a BVH file.

    Args:
        path: The file.

    Returns:
        The motion (joints of shape (T, J, 3), in the unit of its skeleton, y up), and notes for the user on what was
        guessed and what was left out.

    Raises:
        ValueError: If the file is damaged or too large, or its joints make no known skeleton.
    """
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes of BVH text; the limit is {MAX_TEXT_BYTES}; split the motion")
    try:
        text = _parse_text(_decode(path.read_bytes()))
        _check_size(text)
        bvh = _read_with_pybvh(text)
        with np.errstate(all="ignore"):  # infinite values are the caller's to judge
            positions = _positions(bvh, text.moves)
    except Exception as error:
        raise ValueError(f"{path}: not a readable BVH file: {str(error) or type(error).__name__}") from error

    rest = _RestPose(text.names, tuple(int(p) for p in bvh.fk_topology.parent_idx), bvh.fk_topology.offsets)
    try:
        skeleton, nodes = _choose_skeleton(rest)
        metres_per_unit, unit_note = _guess_unit(_leg_length(rest, nodes))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    joints = positions[:, [nodes[point] for point in skeleton.points]] * (metres_per_unit / UNITS[skeleton.unit])
    joints, up_note = _to_y_up(joints, rest.between(nodes["pelvis"], nodes["head"]), skeleton)
    notes = (_left_out(rest.names, [nodes[point] for point in skeleton.points]), unit_note, up_note)
    return Motion(joints, skeleton, 1 / bvh.frame_time), [note for note in notes if note]


# ---- text → pybvh -------------------------------------------------------------------------------------------------------


@dataclass
class _Text:
    """A BVH text, taken apart so far that pybvh can read it and nothing that pybvh passes over is lost."""

    header: list[str] = field(default_factory=list)  # HIERARCHY, without position channels below the root
    names: list[str] = field(default_factory=list)  # of every node in file order; "" is an end site
    num_channels: int = 0
    rotations: list[int] = field(default_factory=list)  # columns of the motion lines that pybvh reads
    positions: list[tuple[int, int, int]] = field(default_factory=list)  # (node, axis, column) below the root
    frame_time: float = 0.0
    lines: list[str] = field(default_factory=list)
    moves: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # (node, axis) → offset in every frame, (T,)


def _decode(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # joint names in a local code page; numbers and keywords are ASCII in all of them
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parse_text(content: str) -> _Text:
    text = _Text()
    lines = content.split("\n")
    start = next((number for number, line in enumerate(lines) if line.split() == ["MOTION"]), None)
    if start is None:
        raise ValueError("it has no line MOTION: the file is cut off; copy or export it again")
    _parse_header(lines[:start], text)
    _parse_motion([line for line in lines[start + 1 :] if line.strip()], text)
    if text.positions:
        _take_out_positions(text)
    return text


def _parse_header(lines: list[str], text: _Text) -> None:
    open_braces = 0
    for number, line in enumerate(lines, 1):
        words = line.split() or [""]
        if words[0] not in ("", "HIERARCHY", "ROOT", "JOINT", "End", "OFFSET", "CHANNELS", "{", "}"):
            raise ValueError(f"line {number}: {line.strip()[:40]!r} is no part of a HIERARCHY")
        open_braces += words.count("{") - words.count("}")
        if words[0] in ("ROOT", "JOINT"):
            text.names.append(" ".join(word for word in words[1:] if word != "{") or "?")
            ascii_name = re.sub(r"\W", "_", text.names[-1], flags=re.ASCII)
            line = f"{words[0]} {ascii_name}#{len(text.names)}"  # pybvh cuts names at a space and mixes up equal ones
        elif words[0] == "End":
            text.names.append("")
        elif words[0] == "CHANNELS":
            line = _parse_channels(words, number, text)
        text.header.append(line)
    if open_braces:
        raise ValueError(f"its HIERARCHY opens and closes braces unequally often (difference {open_braces})")


def _parse_channels(words: list[str], number: int, text: _Text) -> str:
    """Note the columns of one joint and return the CHANNELS line for pybvh, which knows positions at the root only."""
    channels = words[2:]
    if words[1:2] != [str(len(channels))]:
        raise ValueError(f"line {number}: {' '.join(words)[:80]!r} declares another number of channels than it lists")
    node = len(text.names) - 1
    kept = []
    for column, channel in enumerate(channels, text.num_channels):
        axis = "XYZ".find(channel[0].upper())
        if node > 0 and axis >= 0 and channel[1:].lower() == "position":
            text.positions.append((node, axis, column))
        else:
            kept.append(channel)
            text.rotations.append(column)
    text.num_channels += len(channels)
    return f"CHANNELS {len(kept)} {' '.join(kept)}"


def _parse_motion(lines: list[str], text: _Text) -> None:
    declared = re.fullmatch(r"\s*Frames:\s*(\d{1,12})\s*", lines[0] if lines else "")
    time = re.fullmatch(r"\s*Frame\s+Time:\s*(\S+)\s*", lines[1] if len(lines) > 1 else "")
    if declared is None or time is None:
        raise ValueError("MOTION is not followed by the lines 'Frames: <number>' and 'Frame Time: <seconds>'")
    text.lines, text.frame_time = lines[2:], float(time[1])
    if not 0 < text.frame_time < math.inf or not 1 / text.frame_time < math.inf:
        raise ValueError(f"its frame time is {time[1]}; expected seconds above 0")
    if not text.lines or int(declared[1]) != len(text.lines):
        raise ValueError(
            f"it declares {int(declared[1])} frames, but holds {len(text.lines)} lines of motion; copy or export it again"
        )


def _check_size(text: _Text) -> None:
    if len(text.names) > MAX_NODES:
        raise ValueError(f"{len(text.names)} joints and end sites; a person has fewer than {MAX_NODES}")
    needed = 12 * 8 * len(text.names) * len(text.lines)  # a rotation matrix and a position of float64 for each node
    if needed > MAX_KINEMATICS_BYTES:
        raise ValueError(
            f"{len(text.lines)} frames of {len(text.names)} nodes need {needed} bytes; the limit is {MAX_KINEMATICS_BYTES}; "
            "split the motion"
        )


def _take_out_positions(text: _Text) -> None:
    """Move the position channels below the root from the motion lines to `moves`."""
    moves = np.empty((len(text.positions), len(text.lines)))
    for frame, line in enumerate(text.lines):
        words = line.split()
        if len(words) != text.num_channels:
            raise ValueError(f"frame {frame} has {len(words)} values; its HIERARCHY declares {text.num_channels} channels")
        moves[:, frame] = [float(words[column]) for _, _, column in text.positions]
        text.lines[frame] = " ".join(words[column] for column in text.rotations)
    text.moves = {(node, axis): move for (node, axis, _), move in zip(text.positions, moves, strict=True)}


def _read_with_pybvh(text: _Text) -> "pybvh.Bvh":
    import pybvh  # here, because only BVH files need it

    motion = ["MOTION", f"Frames: {len(text.lines)}", f"Frame Time: {text.frame_time!r}", *text.lines, ""]
    with tempfile.TemporaryDirectory() as folder:  # pybvh reads from a path only
        plain = Path(folder) / "plain.bvh"
        plain.write_text("\n".join([*text.header, *motion]), encoding="utf-8")
        try:
            return pybvh.read_bvh_file(plain, world_up="+y")  # given, so that pybvh guesses and warns of nothing
        except Exception as error:
            raise ValueError(str(error).replace(f" in file {plain}", "").replace(str(plain), "the file")) from error


def _positions(bvh: "pybvh.Bvh", moves: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Positions of all nodes, shape (T, N, 3). A position channel replaces the offset of its joint."""
    if not moves:
        return bvh.node_positions()
    topology = bvh.fk_topology
    root_positions, rotations = bvh.to_rotmat()
    positions = np.empty((len(root_positions), len(topology.offsets), 3))
    world = np.empty((*positions.shape, 3))
    for node, (parent, joint) in enumerate(zip(topology.parent_idx, topology.joint_idx, strict=True)):
        if parent < 0:
            positions[:, node], world[:, node] = root_positions, rotations[:, joint]
            continue
        offset = np.tile(topology.offsets[node], (len(positions), 1))
        for axis in range(3):
            offset[:, axis] = moves.get((node, axis), offset[:, axis])
        positions[:, node] = positions[:, parent] + np.einsum("tij,tj->ti", world[:, parent], offset)
        if joint >= 0:  # an end site has no rotation
            world[:, node] = world[:, parent] @ rotations[:, joint]
    return positions


# ---- joint names → body points ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RestPose:
    """The nodes of a file in file order, parents first: names ("" for end sites), parents and offsets (N, 3)."""

    names: list[str]
    parents: tuple[int, ...]
    offsets: np.ndarray

    def line(self, node: int) -> list[int]:
        """The nodes from the root to `node`, both included."""
        line = [node]
        while self.parents[line[-1]] >= 0:
            line.append(self.parents[line[-1]])
        return line[::-1]

    def between(self, start: int, end: int) -> np.ndarray:
        """The way from one node to another with all rotations zero, shape (3,)."""
        return self.offsets[self.line(end)].sum(axis=0) - self.offsets[self.line(start)].sum(axis=0)

    def has_length(self, node: int) -> bool:
        return bool(np.linalg.norm(self.offsets[node]) > 1e-6)

    def end_site(self, node: int) -> int | None:
        """The end site of a joint, if it has exactly one."""
        ends = [i for i, name in enumerate(self.names) if not name and self.parents[i] == node]
        return ends[0] if len(ends) == 1 else None


def _plain_name(name: str) -> str:
    """`mixamorig:LeftUpLeg` → `left_upleg`, `UpperArm_R` → `right_upperarm`, `lShldr` → `left_shldr`, `Spine1` → `spine1`."""
    words = [word.lower() for word in _WORD.findall(_PREFIX.sub("", name.rsplit(":", 1)[-1]))]
    for at in (0, -1):
        if len(words) > 1 and words[at] in _SIDES:
            return _SIDES[words.pop(at)] + "".join(words)
    plain = "".join(words)
    side = next((side for side in ("left", "right") if plain.startswith(side)), None)
    return f"{side}_{plain.removeprefix(side)}" if side else plain


def _find_points(rest: _RestPose) -> dict[str, int]:
    """Body point (a key of `BODY_POINTS`) → node, for every point that the names and the hierarchy tell."""
    free: dict[str, int] = {}
    for node, name in enumerate(rest.names):
        if name:
            free.setdefault(_plain_name(name), node)
    wanted = dict(_MEDIAN_NAMES)
    for side in ("left_", "right_"):
        wanted |= {side + point: tuple(side + name for name in names) for point, names in _SIDED_NAMES.items()}
    found: dict[str, int] = {}
    for point, names in wanted.items():
        best = next((name for name in names if name in free), None)
        if best is not None:
            found[point] = free.pop(best)
    necks = [free[name] for name in _NECK_NAMES if name in free]
    if necks:
        found["neck"] = next((node for node in sorted(necks) if rest.has_length(node)), min(necks))
    return found | _find_toe_tips(rest, found) | _find_torso(rest, found)


def _find_toe_tips(rest: _RestPose, found: dict[str, int]) -> dict[str, int]:
    """Files without toe joints (DAZ and Poser figures) end their feet in an end site at the tip of the toes."""
    tips = {
        f"{side}_toe": rest.end_site(found[f"{side}_ankle"])
        for side in ("left", "right")
        if f"{side}_ankle" in found and f"{side}_toe" not in found
    }
    return {point: node for point, node in tips.items() if node is not None}


def _find_torso(rest: _RestPose, found: dict[str, int]) -> dict[str, int]:
    """Spine and chest by their order from the pelvis to the neck, because their names mean another height in every file.

    The chest is the highest joint that both arms still hang from (or the highest below the neck, where the arms hang from
    the neck); the spine is the lowest. Joints at the place of their parent are passed over.
    """
    if not {"pelvis", "neck", "left_shoulder", "right_shoulder"} <= set(found):
        return {}
    line = rest.line(found["neck"])
    arms = set(rest.line(found["left_shoulder"])) & set(rest.line(found["right_shoulder"]))
    below = set(rest.line(found["pelvis"]))
    torso = [node for node in line[:-1] if node not in below and rest.has_length(node)]
    if not torso:
        return {}
    chest = max((i for i, node in enumerate(torso) if node in arms), default=len(torso) - 1)
    points = {"chest": torso[chest], "spine_mid": torso[chest // 2]}
    return points | {"spine_low": torso[0]} if chest > 0 else points


def _choose_skeleton(rest: _RestPose) -> tuple[Skeleton, dict[str, int]]:
    nodes = _find_points(rest)
    for name in (_PREFERRED_SKELETON, *list_skeletons()):
        skeleton = get_skeleton(name)
        if set(skeleton.points) <= set(nodes):
            return skeleton, nodes
    missing = [point for point in get_skeleton(_PREFERRED_SKELETON).points if point not in nodes]
    raise ValueError(
        f"no joint is recognised as {', '.join(missing)}; the file has {', '.join(name for name in rest.names if name)[:1000]}. "
        f"Known skeletons: {', '.join(list_skeletons())}. Rename the joints (e.g. Hips, Spine, Spine1, Neck, Head, "
        "LeftShoulder, LeftArm, LeftForeArm, LeftHand, LeftUpLeg, LeftLeg, LeftFoot, LeftToeBase), or pass the joint "
        "positions as an array with skeleton=..."
    )


def _left_out(names: list[str], used: list[int]) -> str | None:
    unused = [name for node, name in enumerate(names) if name and node not in used]
    if not unused:
        return None
    joints = "1 joint that has" if len(unused) == 1 else f"{len(unused)} joints that have"
    more = ", ..." if len(unused) > _SHOWN_JOINTS else ""
    return f"left out {joints} no place in the skeleton: {', '.join(unused[:_SHOWN_JOINTS])}{more}"


# ---- unit and up axis ---------------------------------------------------------------------------------------------------


def _leg_length(rest: _RestPose, nodes: dict[str, int]) -> float:
    """Mean of both legs, hip to knee to ankle, in the unit of the file."""
    bones = [
        np.linalg.norm(rest.between(nodes[f"{side}_{upper}"], nodes[f"{side}_{lower}"]))
        for side in ("left", "right")
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    return float(np.sum(bones)) / 2


def _guess_unit(leg: float) -> tuple[float, str | None]:
    shortest, longest = _LEG_METRES
    fitting = [unit for unit, metres in _METRES_PER_UNIT.items() if shortest <= leg * metres <= longest]
    if not fitting:
        raise ValueError(
            f"BVH files state no unit, and legs of {leg:.4g} units fit none of {', '.join(_METRES_PER_UNIT)} (a leg measures "
            f"{shortest} to {longest} m); scale the file, or pass the joint positions in metres as an array with skeleton=..."
        )
    unit = fitting[0]
    if fitting == ["metres"]:
        return 1.0, None
    others = f" ({' or '.join(fitting[1:])} would fit too)" if fitting[1:] else ""
    return _METRES_PER_UNIT[unit], f"read as {unit}{others}, because the legs measure {leg:.4g} units"


def _to_y_up(joints: np.ndarray, rest_up: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, str | None]:
    """Turn a z-up motion to y up: (x, y, z) → (x, z, -y). `rest_up` is the way from pelvis to head in the rest pose.

    The rest pose decides, but for two cases: a root that turns a z-up figure upright, which is y up already, and a rest
    pose whose bones all lie along x (Bandai-Namco, LAFAN1). There the mean of the motion decides, and a back along z is not
    enough (somebody crawls): the thighs must be, too.
    """
    at = skeleton.landmarks
    bones = (("pelvis", "head"), ("left_knee", "left_hip"))
    ways = [joints[:, at[upper]] - joints[:, at[lower]] for lower, upper in bones]
    motion_up = [np.nan_to_num(way, posinf=0.0, neginf=0.0).mean(axis=0) for way in ways]
    rest, back, thigh = (int(np.argmax(np.abs(up))) for up in (rest_up, *motion_up))
    z_up = back != 1 if rest == 2 else (rest, back, thigh) == (0, 2, 2)
    if not z_up:
        return joints, None
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([x, z, -y], axis=-1), "turned from z up to y up, because the figure stands along z"
