"""BVH files → a `Recording`: pybvh reads the hierarchy, the frames are read and posed in chunks."""

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .persons import choose_person
from .recording import ReadOptions, Recording
from .text_frames import NumberedLines, check_memory, decode, parse_numbers, pose_in_chunks


#: The largest HIERARCHY, in bytes; the most bytes that positions and rotations may need; the most joints and end sites.
MAX_TEXT_BYTES = 4 * 1024**2
MAX_KINEMATICS_BYTES = 4 * 1024**3
MAX_NODES = 1000

_MAX_PERSONS = 100
_LONGEST_NUMBER = 64  # characters; a float64 written out in full has 24
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


def read_bvh(path: Path, options: ReadOptions) -> Recording:
    """Read a BVH file.

    A joint may have any position and up to three rotation channels, in any order. Rotations follow the order of the
    channels, each about the axes that the ones before have turned; a position channel replaces that component of the
    joint's OFFSET, at the root as elsewhere. What has no channel stays as in the rest pose.

    The frames are read in chunks, so that a long file needs little more memory than the positions (float64) and rotations
    (float32) that are returned.

    Args:
        path: The file.
        options: `person` chooses one ROOT of a file of several, by its name or its index in the order of the file.

    Returns:
        All nodes of the person, end sites included, in the file's own unit and axes, with the orientation of every node in
        the world (an end site has that of its joint).

    Raises:
        ValueError: If the file is damaged or too large, or has several persons and `options.person` names none of them.
    """
    with path.open(encoding="latin-1") as stream:  # one character a byte, whatever the names are written in
        lines = NumberedLines(stream)
        with _reading(path):
            hierarchies = _parse_hierarchies(_read_header(lines))
        hierarchy = _choose(hierarchies, options.person, path)
        with _reading(path):
            num_frames, frame_time = _read_motion_header(lines)
            tree = _read_tree(hierarchy, frame_time)
            num_channels = sum(found.num_channels for found in hierarchies)
            num_frames = _checked_num_frames(num_frames, num_channels, tree, lines, path.stat().st_size)
            frames = _read_frames(lines, num_frames, num_channels)
            positions, rotations = pose_in_chunks(frames, num_frames, num_channels, len(tree.parents), partial(_pose, tree))
    return Recording(hierarchy.names, positions, tree.parents, fps=tree.fps, rotations=rotations, rest_pose=_rest_pose(tree))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: not a readable BVH file: {str(error) or type(error).__name__}") from error


def _choose(hierarchies: list["_Hierarchy"], person: str | int | None, path: Path) -> "_Hierarchy":
    names = [hierarchy.names[0] for hierarchy in hierarchies]
    try:
        return hierarchies[choose_person(names, [f"{len(found.names)} nodes" for found in hierarchies], person)]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# ---- HIERARCHY ----------------------------------------------------------------------------------------------------------


@dataclass
class _Hierarchy:
    """One ROOT and what hangs from it: the text for pybvh, and the channels, of which pybvh knows some only."""

    lines: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # line numbers in the file
    names: list[str] = field(default_factory=list)  # of every node in file order; "" is an end site
    open_braces: int = 0
    num_channels: int = 0
    rotations: dict[int, tuple[str, list[int]]] = field(default_factory=dict)  # node → axes, columns of the motion lines
    positions: dict[int, dict[int, int]] = field(default_factory=dict)  # node → axis → column


def _read_header(lines: NumberedLines) -> list[str]:
    """The lines before MOTION."""
    header: list[str] = []
    left = MAX_TEXT_BYTES
    while (line := lines.read(MAX_TEXT_BYTES)) is not None and line.split() != ["MOTION"]:
        header.append(line)
        left -= len(line)
        if left < 0:
            raise ValueError(f"no line MOTION within {MAX_TEXT_BYTES} bytes; a HIERARCHY is shorter than that")
    if line is None:
        raise ValueError("it has no line MOTION: the file is cut off; copy or export it again")
    return decode("".join(header)).split("\n")


def _parse_hierarchies(header: list[str]) -> list[_Hierarchy]:
    found: list[_Hierarchy] = []
    num_channels = 0
    for number, line in enumerate(header, 1):
        words = line.split() or [""]
        where = f"line {number}"
        if words[0] not in ("", "HIERARCHY", "ROOT", "JOINT", "End", "OFFSET", "CHANNELS", "{", "}"):
            raise ValueError(f"{where}: {line.strip()[:40]!r} is no part of a HIERARCHY")
        if words[0] == "ROOT":
            if found and found[-1].open_braces:
                raise ValueError(f"{where}: a second ROOT begins inside the first; the braces before it do not close")
            if len(found) == _MAX_PERSONS:
                raise ValueError(f"{where}: more than {_MAX_PERSONS} persons; split the file")
            found.append(_Hierarchy())
        elif not found:
            if words[0] in ("", "HIERARCHY"):
                continue
            raise ValueError(f"{where}: {line.strip()[:40]!r} stands before the first ROOT")
        num_channels += _parse_line(words, num_channels, found[-1], number)
    for hierarchy in found:
        if hierarchy.open_braces:
            raise ValueError(f"its HIERARCHY opens and closes braces unequally often (difference {hierarchy.open_braces})")
    if not found:
        raise ValueError("its HIERARCHY has no ROOT")
    if num_channels == 0:
        raise ValueError("its HIERARCHY declares no channels, so that nothing moves")
    return found


def _parse_line(words: list[str], column: int, hierarchy: _Hierarchy, number: int) -> int:
    """Add one line of the file to a hierarchy; the number of its channels, the first of them in `column`."""
    hierarchy.open_braces += words.count("{") - words.count("}")
    start = next((at for at, word in enumerate(words) if word in ("{", "}")), len(words))
    braces, content = [word for word in words[start:] if word in ("{", "}")], words[:start]
    if len(braces) < len(words) - start:
        raise ValueError(f"line {number}: {' '.join(words)[:40]!r} goes on behind a brace; begin a new line there")
    num_channels = 0
    if content and content[0] in ("ROOT", "JOINT", "End"):
        hierarchy.names.append("" if content[0] == "End" else " ".join(content[1:]) or "?")
        if len(hierarchy.names) > MAX_NODES:
            raise ValueError(f"line {number}: more than {MAX_NODES} joints and end sites; a person has fewer")
        if content[0] != "End":  # pybvh cuts names at a space and mixes up equal ones
            ascii_name = re.sub(r"\W", "_", hierarchy.names[-1], flags=re.ASCII)
            content = [content[0], f"{ascii_name}#{len(hierarchy.names)}"]
    elif content and content[0] == "CHANNELS":
        num_channels = len(content) - 2
        content = _parse_channels(content, column, hierarchy, number)
    for line in [" ".join(content), *braces]:  # pybvh looks at the first word of a line only
        hierarchy.lines.append(line)
        hierarchy.numbers.append(number)
    return num_channels


def _parse_channels(words: list[str], column: int, hierarchy: _Hierarchy, number: int) -> list[str]:
    """Note the columns of one joint; its CHANNELS for pybvh, which wants three rotations, and positions at the root."""
    channels = words[2:]
    declared = f"line {number}: {' '.join(words)[:80]!r}"
    if words[1:2] != [str(len(channels))]:
        raise ValueError(f"{declared} declares another number of channels than it lists")
    node = len(hierarchy.names) - 1
    if node in hierarchy.rotations:
        raise ValueError(f"{declared} are the second CHANNELS of one joint")
    axes = ""
    columns: list[int] = []
    moves: dict[int, int] = {}
    for place, channel in enumerate(channels, column):
        found = _CHANNEL.fullmatch(channel)
        if found is None:
            raise ValueError(f"{declared}: {channel!r} is no channel; expected Xposition, Zrotation, …")
        axis = found[1].upper()
        if found[2].lower() == "rotation":
            axes += axis
            columns.append(place)
        else:
            moves["XYZ".index(axis)] = place
    if len(set(axes)) < len(axes) or len(moves) + len(axes) < len(channels):
        raise ValueError(f"{declared} lists a channel twice")
    hierarchy.rotations[node], hierarchy.positions[node] = (axes, columns), moves
    hierarchy.num_channels += len(channels)
    others = [axis for axis in "XYZ" if axis not in axes]
    for_pybvh = [f"{axis}rotation" for axis in [*axes, *others]]
    if node == 0:
        for_pybvh = ["Xposition", "Yposition", "Zposition", *for_pybvh]
    return ["CHANNELS", str(len(for_pybvh)), *for_pybvh]


@dataclass
class _Tree:
    """A hierarchy as pybvh read it."""

    hierarchy: _Hierarchy
    parents: list[int]
    offsets: np.ndarray  # (N, 3)
    fps: float


def _read_tree(hierarchy: _Hierarchy, frame_time: float) -> _Tree:
    import pybvh  # here, because only BVH files need it

    num_values = 3 + 3 * sum(name != "" for name in hierarchy.names)
    motion = ["MOTION", "Frames: 1", f"Frame Time: {frame_time!r}", " ".join(["0"] * num_values), ""]
    with tempfile.TemporaryDirectory() as folder:  # pybvh reads from a path only
        plain = Path(folder) / "plain.bvh"
        plain.write_text("\n".join([*hierarchy.lines, *motion]), encoding="utf-8")
        try:
            bvh = pybvh.read_bvh_file(plain, world_up="+y")  # given, so that pybvh guesses and warns of nothing
        except Exception as error:
            message = str(error).replace(f" in file {plain}", "").replace(str(plain), "the file")
            raise ValueError(re.sub(r"\bline (\d+)", lambda at: _file_line(at, hierarchy), message)) from error
    topology = bvh.fk_topology
    if len(topology.offsets) != len(hierarchy.names):
        raise ValueError(f"its HIERARCHY names {len(hierarchy.names)} nodes, of which {len(topology.offsets)} have a place")
    offsets = np.array(topology.offsets, dtype=np.float64)
    if not np.isfinite(offsets).all():
        node = int(np.argmin(np.isfinite(offsets).all(axis=1)))
        raise ValueError(f"the OFFSET of node {node} ({hierarchy.names[node] or 'End Site'}) is {offsets[node]}, not finite")
    # pybvh mends frame times that were cut to a few digits: 0.0333333 is 30 frames per second.
    return _Tree(hierarchy, [int(parent) for parent in topology.parent_idx], offsets, 1 / bvh.frame_time)


def _file_line(found: re.Match[str], hierarchy: _Hierarchy) -> str:
    at = int(found[1]) - 1
    return f"line {hierarchy.numbers[at]}" if at < len(hierarchy.numbers) else "its end"


def _rest_pose(tree: _Tree) -> np.ndarray:
    rest_pose = tree.offsets.copy()
    for node, parent in enumerate(tree.parents):  # parents come first in a BVH file
        if parent >= 0:
            rest_pose[node] += rest_pose[parent]
    return rest_pose


# ---- MOTION -------------------------------------------------------------------------------------------------------------


def _read_motion_header(lines: NumberedLines) -> tuple[int, float]:
    """The declared number of frames, and the seconds between them."""
    declared = re.fullmatch(r"\s*Frames:\s*(\d{1,12})\s*", lines.read_filled(1000) or "", re.ASCII)
    time = re.fullmatch(r"\s*Frame\s+Time:\s*(\S+)\s*", lines.read_filled(1000) or "")
    if declared is None or time is None:
        raise ValueError("MOTION is not followed by the lines 'Frames: <number>' and 'Frame Time: <seconds>'")
    (frame_time,) = parse_numbers(
        [time[1]], f"line {lines.number}: its frame time is {time[1][:40]}; expected seconds above 0"
    )
    if frame_time <= 0 or not 1 / frame_time < math.inf:
        raise ValueError(f"line {lines.number}: its frame time is {time[1]}; expected seconds above 0")
    return int(declared[1]), frame_time


def _checked_num_frames(declared: int, num_channels: int, tree: _Tree, lines: NumberedLines, num_bytes: int) -> int:
    """The declared number of frames, once the bytes of the file can hold it and memory the result."""
    if declared == 0 or declared * (2 * num_channels) > num_bytes + 1:  # a value has a digit and a separator
        num_lines = _count_lines(lines, num_channels)
        if num_lines != declared or not declared:
            raise ValueError(_frames_disagree(declared, num_lines))
        raise ValueError(f"its {declared} frames are too short for the {num_channels} channels that its HIERARCHY declares")
    check_memory(declared, len(tree.parents), MAX_KINEMATICS_BYTES)
    return declared


def _frames_disagree(declared: int, num_lines: int) -> str:
    return f"it declares {declared} frames, but holds {num_lines} lines of motion; copy or export it again"


def _count_lines(lines: NumberedLines, num_channels: int) -> int:
    count = 0
    while lines.read_filled(_longest_line(num_channels)) is not None:
        count += 1
    return count


def _longest_line(num_channels: int) -> int:
    return _LONGEST_NUMBER * (num_channels + 16)


def _read_frames(lines: NumberedLines, num_frames: int, num_channels: int) -> Iterator[list[float]]:
    """The values of each of the declared frames."""
    longest = _longest_line(num_channels)
    for frame in range(num_frames):
        line = lines.read_filled(longest)
        if line is None:
            raise ValueError(_frames_disagree(num_frames, frame))
        words = line.split()
        where = f"line {lines.number}"
        if len(words) != num_channels:
            raise ValueError(
                f"{where}: frame {frame} has {len(words)} values; its HIERARCHY declares {num_channels} channels"
            )
        yield parse_numbers(words, where)
    more = _count_lines(lines, num_channels)
    if more:
        raise ValueError(_frames_disagree(num_frames, num_frames + more))


def _pose(tree: _Tree, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward kinematics of motion lines (T, C): positions (T, N, 3), orientations in the world (T, N, 4)."""
    num_frames = len(values)
    still = Rotation.from_quat(np.tile([0.0, 0.0, 0.0, 1.0], (num_frames, 1)))
    positions = np.empty((num_frames, len(tree.parents), 3))
    world: list[Rotation] = []
    for node, parent in enumerate(tree.parents):
        offset = np.tile(tree.offsets[node], (num_frames, 1))
        for axis, column in tree.hierarchy.positions.get(node, {}).items():
            offset[:, axis] = values[:, column]
        above = world[parent] if parent >= 0 else still
        positions[:, node] = above.apply(offset) + (positions[:, parent] if parent >= 0 else 0.0)
        axes, columns = tree.hierarchy.rotations.get(node, ("", []))
        world.append(above * Rotation.from_euler(axes, values[:, columns], degrees=True) if axes else above)
    return positions, np.stack([rotation.as_quat() for rotation in world], axis=1)
