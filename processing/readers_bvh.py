"""BVH files → a `Recording`, read by pybvh."""

import math
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .recording import ReadOptions, Recording


if TYPE_CHECKING:
    import pybvh

#: The largest BVH file that is read, the most bytes that its forward kinematics may need, and the most joints and end sites.
MAX_TEXT_BYTES = 256 * 1024**2
MAX_KINEMATICS_BYTES = 4 * 1024**3
MAX_NODES = 1000


def read_bvh(path: Path, options: ReadOptions) -> Recording:
    """Read a BVH file.

    Args:
        path: The file.
        options: Nothing in them concerns the reading itself.

    Returns:
        All nodes of the file, end sites included, in its own unit and axes.

    Raises:
        ValueError: If the file is damaged or too large.
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
    parents = [int(parent) for parent in bvh.fk_topology.parent_idx]
    rest_pose = np.array(bvh.fk_topology.offsets, dtype=np.float64)
    for node, parent in enumerate(parents):  # parents come first in a BVH file
        if parent >= 0:
            rest_pose[node] += rest_pose[parent]
    return Recording(text.names, positions, parents, fps=1 / bvh.frame_time, rest_pose=rest_pose)


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
