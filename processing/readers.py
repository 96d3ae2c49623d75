"""Motion files: what is on disk → a `Motion`."""

import importlib
import math
import mmap
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .motion import Motion
from .readers_arrays import write_npz, write_safetensors
from .recording import ReadOptions, Recording
from .skeletons import AXES, UNITS, Skeleton, get_skeleton
from .understanding import understand


__all__ = ["READABLE_SUFFIXES", "read_motion", "read_noting", "write_npz", "write_safetensors"]

_SNIFFED_BYTES = 4096


def read_motion(
    path: str | os.PathLike[str],
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
    unit: str | None = None,
    up_axis: str | None = None,
    person: str | int | None = None,
    body_model: str | os.PathLike[str] | None = None,
    asf: str | os.PathLike[str] | None = None,
    max_gap: float = 0.5,
) -> Motion:
    """Read a motion file, whose format is told by its content.

    - `.npy`: joint positions (T, J, 3), or (T, J*3) with `skeleton`, whose frame rate, unit and skeleton the file does not say;
      feature vectors of HumanML3D (T, 263) and KIT-ML (T, 251).
    - `.npz`, `.safetensors`: `joints` (T, J, 3), and optionally `rotations`, `skeleton`, `fps` and `unit`: what `write_npz` and
      `write_safetensors` write.
    - `.npz` of AMASS and other pose parameters of SMPL, SMPL-H and SMPL-X, with your own `body_model`.
    - BVH, ASF/AMC, glTF and GLB, C3D, NTU RGB+D skeletons, JSON, tables (CSV and TSV): see the `readers_` modules. Their
      joints are recognised by their names; unit and up axis are guessed where a format states none.

    Values of array files are not checked: NaN or infinite positions are returned as they are. In other formats, short gaps are
    filled.

    Args:
        path: The file. A suffix that belongs to another format than the content is an error, a foreign or missing
            suffix is not.
        skeleton, fps, unit, up_axis, person, body_model, asf, max_gap: What the caller knows and the file may not say; see
            `ReadOptions`.

    Returns:
        The motion: joints of shape (T, J, 3), in the unit and with the up axis of its skeleton.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If it is a folder.
        ValueError: If the content is no known format, disagrees with the suffix, is damaged or too large, or has no
            joints that make a known skeleton; or an option is none.

    Warns:
        UserWarning: For whatever was guessed, filled in or left out: the unit and up axis of a BVH file, joints without a place
            in the skeleton, unknown keys of an `.npz` file.
    """
    path = Path(path)
    options = ReadOptions(
        skeleton=None if skeleton is None else get_skeleton(skeleton),
        fps=fps,
        unit=unit,
        up_axis=up_axis,
        person=person,
        body_model=None if body_model is None else Path(body_model),
        asf=None if asf is None else Path(asf),
        max_gap=max_gap,
    )
    motion, notes = read_noting(path, options)
    for note in notes:
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    return motion


def read_noting(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """`read_motion`, with what it would warn of as a list."""
    reading = read_whole(path, options)
    return reading.motion, reading.notes


class Reading(NamedTuple):
    """A motion file, read: the motion, what the user should know of it, the name of the format, and, of a format with joint names
    of its own, what the file itself states.
    """

    motion: Motion
    notes: list[str]
    format_name: str
    recording: Recording | None


def read_whole(path: Path, options: ReadOptions) -> Reading:
    """`read_motion`, with all that was found out on the way."""
    _check(options)
    known = _detect(path)
    found = known.read(path, options)
    if not isinstance(found, Recording):
        return Reading(*found, known.name, None)
    try:
        return Reading(*understand(found, options), known.name, found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check(options: ReadOptions) -> None:
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise ValueError(f"fps is {options.fps!r}; expected a number of frames per second above 0")
    if options.unit is not None and options.unit not in UNITS:
        raise ValueError(f"unit is {options.unit!r}; expected one of {', '.join(UNITS)}")
    if options.up_axis is not None and options.up_axis not in AXES:
        raise ValueError(f"up_axis is {options.up_axis!r}; expected one of {', '.join(AXES)}")
    if not options.max_gap >= 0:
        raise ValueError(f"max_gap is {options.max_gap!r}; expected seconds, 0 to fill nothing")


# ---- formats ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Start:
    """The first bytes of a file; `text` without a byte order mark and white space, "" if it is binary."""

    path: Path
    head: bytes
    text: str


@dataclass(frozen=True)
class _Format:
    """A file format: its suffixes, how it is called, how a file of it is told, and the function that reads it."""

    suffixes: tuple[str, ...]
    name: str
    matches: Callable[[_Start], bool]
    module: str
    function: str

    def read(self, path: Path, options: ReadOptions) -> Recording | tuple[Motion, list[str]]:
        # Imported here, so that a library that only one format needs is loaded for that format only.
        module = importlib.import_module(f".{self.module}", __package__)
        found: Recording | tuple[Motion, list[str]] = getattr(module, self.function)(path, options)
        return found


def _starts_with(*magic: bytes) -> Callable[[_Start], bool]:
    return lambda start: start.head.startswith(magic)


def _text(pattern: str) -> Callable[[_Start], bool]:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda start: found.match(start.text) is not None


def _is_gltf(start: _Start) -> bool:
    """Whether it is the JSON of glTF, whose `asset` with a `version` may lie anywhere in it."""
    if not start.text.startswith("{"):
        return False
    with start.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return re.search(rb'"asset"\s*:\s*\{', content) is not None and re.search(rb'"version"\s*:', content) is not None


_COMMENTS = r"(?:[ \t]*(?:#.*)?\r?\n)*"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+|nan)(?:e[-+]?\d+)?"
# In the order in which they are tried: the first that matches is taken.
_FORMATS = (
    _Format((".npy",), "a NumPy array", _starts_with(b"\x93NUMPY"), "readers_arrays", "read_npy"),
    _Format(
        (".npz",), "a zip archive of NumPy arrays", _starts_with(b"PK\x03\x04", b"PK\x05\x06"), "readers_arrays", "read_npz"
    ),
    _Format(
        (".safetensors",),
        "a safetensors file",
        lambda start: start.head[8:9] == b"{" and b"\0" in start.head[:8],
        "readers_arrays",
        "read_safetensors",
    ),
    _Format((".glb",), "binary glTF", _starts_with(b"glTF"), "readers_gltf", "read_gltf"),
    _Format((".c3d",), "C3D", lambda start: start.head[1:2] == b"\x50" and b"\0" in start.head, "readers_c3d", "read_c3d"),
    _Format((".bvh",), "BVH text that starts with HIERARCHY", _text("HIERARCHY"), "readers_bvh", "read_bvh"),
    _Format(
        (".amc",),
        "AMC text, which has an ASF file beside it",
        _text(rf"#!OML:ASF|{_COMMENTS}\s*(?::(?:fully-specified|degrees|radians)\b|\d+\s*\n\s*root\s)"),
        "readers_asf",
        "read_asf_amc",
    ),
    _Format((".gltf",), "glTF", _is_gltf, "readers_gltf", "read_gltf"),
    _Format((".json",), "JSON", _text(r"[{\[]"), "readers_json", "read_json"),
    _Format(
        (".skeleton",), "a skeleton file of NTU RGB+D", _text(r"\d+[ \t]*\r?\n\s*\d+[ \t]*\r?\n"), "readers_ntu", "read_ntu"
    ),
    _Format(
        (".csv", ".tsv"),
        "a table of text",
        _text(rf"{_COMMENTS}(?:[^\n]*[,;\t|]|\s*{_NUMBER}(?:[ \t]+{_NUMBER}){{2}})"),
        "readers_csv",
        "read_csv",
    ),
)
#: Suffixes of the files that `read_motion` reads, for who looks for motions in a folder.
READABLE_SUFFIXES = tuple(suffix for format_ in _FORMATS for suffix in format_.suffixes)

_PICKLED = (
    "is a pickle (.pkl, .pt and .pth files are), and reading one can run whatever code is in it, so none is read; convert one "
    "that you trust: load it with its own library, and save its arrays with np.savez(path, joints=...)"
)
_REFUSED: tuple[tuple[Callable[[_Start], bool], str], ...] = (
    (lambda start: re.match(rb"\x80[\x02-\x05]", start.head) is not None, _PICKLED),
    (lambda start: start.head.startswith(b"PK\x03\x04") and b"data.pkl" in start.head[:_SNIFFED_BYTES], _PICKLED),
    (
        lambda start: start.head.startswith(b"Kaydara FBX") or re.match(r"; FBX \d", start.text) is not None,
        "is FBX, a closed format; open it in a program that knows it (Blender, Maya, MotionBuilder) and export it as BVH or GLB",
    ),
    (
        _text(rf"{_COMMENTS}\s*:(?:version|name|units|documentation|root|bonedata|hierarchy)\b"),
        "is ASF: a skeleton without a motion; pass the .amc file that belongs to it, with asf=... if the two do not lie together",
    ),
)


def _detect(path: Path) -> _Format:
    """The format of a file by its content; a suffix that promises another one is an error."""
    start = _start(path)
    refused = next((reason for matches, reason in _REFUSED if matches(start)), None)
    if refused is not None:
        raise ValueError(f"{path}: {refused}")
    found = next((known for known in _FORMATS if start.head and known.matches(start)), None)
    promised = next((known for known in _FORMATS if path.suffix.lower() in known.suffixes), None)
    if found is None:
        known = ", ".join(f"{', '.join(format_.suffixes)} ({format_.name})" for format_ in _FORMATS)
        looks = f"it starts with {start.head[:16]!r}" if start.head else "it is empty"
        promise = f"its suffix promises {promised.name}, but " if promised else ""
        raise ValueError(f"{path}: {promise}{looks}, which is no known motion file; known formats: {known}; save it as one")
    if promised not in (None, found):
        raise ValueError(
            f"{path}: its suffix {path.suffix} promises {promised.name}, but its content looks like {found.name}; "
            f"rename it to {path.with_suffix(found.suffixes[0]).name}"
        )
    return found


def _start(path: Path) -> _Start:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; pass the path of one motion file")
    if not path.exists():
        raise FileNotFoundError(f"no motion file at {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file; copy its content to a file and pass that")
    with path.open("rb") as stream:
        head = stream.read(_SNIFFED_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace").replace("\0", "")
    else:
        text = "" if b"\0" in head else head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    return _Start(path, head, text.lstrip())
