"""Motion files: what is on disk → a `Motion`."""

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from .motion import Motion
from .readers_bvh import read_bvh
from .recording import ReadOptions, Recording
from .skeletons import Skeleton, get_skeleton, list_skeletons
from .understanding import understand


#: The most bytes that an array in a file may need in memory; a header that declares more is refused before it is read.
MAX_ARRAY_BYTES = 2 * 1024**3

_NPZ_KEYS = ("joints", "skeleton", "fps")
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SNIFFED_BYTES = 256


def read_motion(
    path: str | os.PathLike[str],
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
    unit: str | None = None,
    up_axis: str | None = None,
    person: str | int | None = None,
    body_model: str | os.PathLike[str] | None = None,
    max_gap: float = 0.5,
) -> Motion:
    """Read a motion file: `.npy`, `.npz` or BVH, told apart by content.

    - `.npy`: joint positions, shape (T, J, 3). Skeleton and frame rate are `None`: the file does not say.
    - `.npz`: `joints` (T, J, 3), and optionally `skeleton` (name of a known skeleton) and `fps` (frames per second).
    - BVH: forward kinematics of the file's joints, mapped by their names to a known skeleton (`body21` where it fits),
      in the unit of that skeleton, y up. A BVH file states no unit and no up axis: both are guessed from the rest pose.

    Values are not checked: NaN or infinite positions are returned as they are.

    Args:
        path: The file. A suffix that belongs to another format than the content is an error, a foreign or missing
            suffix is not.
        skeleton, fps, unit, up_axis, person, body_model, max_gap: What the caller knows and the file may not say; see
            `ReadOptions`.

    Returns:
        The motion: joints of shape (T, J, 3), in the unit and with the up axis of its skeleton.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If it is a folder.
        ValueError: If the content is no known format, disagrees with the suffix, is damaged or too large, or has no
            joints that make a known skeleton.

    Warns:
        UserWarning: For whatever was guessed or left out: the unit and up axis of a BVH file, joints without a place in
            the skeleton, unknown keys of an `.npz` file.
    """
    path = Path(path)
    options = ReadOptions(
        None if skeleton is None else get_skeleton(skeleton), fps, unit, up_axis, person, body_model, max_gap
    )
    motion, notes = read_noting(path, options)
    for note in notes:
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    return motion


def read_noting(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """`read_motion`, with what it would warn of as a list."""
    found = _detect(path).read(path, options)
    if isinstance(found, Recording):
        try:
            return understand(found, options)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def write_npz(path: str | os.PathLike[str], motion: Motion) -> None:
    """Write a motion as the `.npz` file that `read_motion` reads.

    Args:
        path: File to write; it must end in `.npz`.
        motion: Joints of shape (T, J, 3), stored as float32; skeleton and frame rate are left out where they are `None`.

    Raises:
        ValueError: If the path has another suffix, the joints have another shape, or the skeleton is not a named one.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: write_npz writes .npz files, got suffix {path.suffix!r}; end the path in .npz")
    contents: dict[str, Any] = {"joints": _checked_joints(np.asarray(motion.joints), path).astype(np.float32)}
    if motion.skeleton is not None:
        name = motion.skeleton.name
        if name not in list_skeletons() or get_skeleton(name) != motion.skeleton:
            raise ValueError(
                f"{path}: skeleton {name!r} is not one of the named skeletons ({', '.join(list_skeletons())}), and a file "
                "stores the name only; write the motion with skeleton=None and pass the Skeleton again after reading"
            )
        contents["skeleton"] = name
    if motion.fps is not None:
        contents["fps"] = _checked_fps(np.asarray(motion.fps), path)
    np.savez(path, **contents)


def _read_npy(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    with path.open("rb") as stream:
        array = _read_array(stream, path.stat().st_size, str(path))
    return Motion(_checked_joints(array, path)), []


def _read_npz(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    with _reading(path, "an .npz file"):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "joints" not in members:
            raise ValueError(
                f"{path}: an .npz motion needs the key 'joints' of shape (T, J, 3); found {sorted(members)}; "
                "save it with np.savez(path, joints=...) or motionpatches.processing.readers.write_npz"
            )
        arrays = {key: _read_member(archive, members[key], path) for key in _NPZ_KEYS if key in members}
    skeleton = _checked_skeleton_name(arrays["skeleton"], path) if "skeleton" in arrays else None
    motion = Motion(
        _checked_joints(arrays["joints"], path),
        None if skeleton is None else get_skeleton(skeleton),
        _checked_fps(arrays["fps"], path) if "fps" in arrays else None,
    )
    unknown = sorted(set(members) - set(_NPZ_KEYS))
    return motion, [f"ignored keys {unknown}; known keys are {list(_NPZ_KEYS)}"] if unknown else []


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    where = f"{path}, key {info.filename.removesuffix('.npy')!r}"
    if info.file_size > MAX_ARRAY_BYTES:
        raise ValueError(
            f"{where}: unpacks to {info.file_size} bytes, more than the limit of {MAX_ARRAY_BYTES}; split the motion"
        )
    with _reading(where, "a member of an .npz file"):
        stream = archive.open(info)
    with stream:
        return _read_array(stream, info.file_size, where)


def _read_array(stream: IO[bytes], num_bytes: int, where: str) -> np.ndarray:
    """The array of an .npy stream of `num_bytes`, after a check of what its header declares."""
    with _reading(where, "an .npy file"):
        version = np.lib.format.read_magic(stream)
        if version not in _NPY_HEADERS:
            raise ValueError(f"its version is {version}; known: {sorted(_NPY_HEADERS)}")
        shape, _, dtype = _NPY_HEADERS[version](stream)
        held = num_bytes - stream.tell()
    if dtype.hasobject:
        raise ValueError(
            f"{where}: holds Python objects (dtype {dtype}), which are never unpickled; expected numbers of shape (T, J, 3); "
            "save it as np.save(path, np.stack(frames).astype('float32'))"
        )
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared > MAX_ARRAY_BYTES:
        raise ValueError(
            f"{where}: its header declares shape {shape} of {dtype}, {declared} bytes; the limit is {MAX_ARRAY_BYTES} bytes; "
            "split the motion"
        )
    if declared > held:
        raise ValueError(
            f"{where}: its header declares shape {shape} of {dtype}, {declared} bytes, but only {held} bytes follow; "
            "the file is cut off: copy or save it again"
        )
    with _reading(where, "an .npy file"):
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


@contextmanager
def _reading(where: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{where}: not readable as {what}: {str(error) or type(error).__name__}") from error


def _checked_joints(joints: np.ndarray, path: Path) -> np.ndarray:
    if joints.ndim != 3 or joints.shape[-1] != 3 or 0 in joints.shape:
        raise ValueError(
            f"{path}: joints have shape {joints.shape}; expected (T, J, 3), at least one frame of J joint positions; "
            "reshape the array to (frames, joints, xyz)"
        )
    if joints.dtype.kind not in "fiu":
        raise ValueError(f"{path}: joints have dtype {joints.dtype}; expected floats, e.g. joints.astype('float32')")
    native = joints.dtype.newbyteorder("=") if joints.dtype.kind == "f" else np.float64
    return joints.astype(native, copy=False)


def _checked_skeleton_name(name: np.ndarray, path: Path) -> str:
    if name.size != 1 or name.dtype.kind != "U" or name.item() not in list_skeletons():
        raise ValueError(
            f"{path}: key 'skeleton' is {_shown(name)}; expected the name of a known skeleton: {', '.join(list_skeletons())}; "
            "for another skeleton leave the key out and pass the joints as an array with skeleton=..."
        )
    return str(name.item())


def _checked_fps(fps: np.ndarray, path: Path) -> float:
    if fps.size != 1 or fps.dtype.kind not in "fiu" or not 0 < float(fps.item()) < math.inf:
        raise ValueError(f"{path}: key 'fps' is {_shown(fps)}; expected one number of frames per second above 0")
    return float(fps.item())


def _shown(array: np.ndarray) -> str:
    return repr(array.item()) if array.size == 1 else f"an array of shape {array.shape} and dtype {array.dtype}"


@dataclass(frozen=True)
class _Format:
    """A file format: how it is called, how a file of it starts, and who reads it into a motion and notes for the user."""

    suffix: str
    name: str
    starts_with: bytes
    read: Callable[[Path, ReadOptions], Recording | tuple[Motion, list[str]]]


_FORMATS = (
    _Format(".npy", "a NumPy array", b"\x93NUMPY", _read_npy),
    _Format(".npz", "a zip archive of NumPy arrays", b"PK\x03\x04", _read_npz),
    _Format(".bvh", "BVH text that starts with HIERARCHY", b"HIERARCHY", read_bvh),
)


def _detect(path: Path) -> _Format:
    """The format of a file by its content; a suffix that promises another one is an error."""
    head = _head(path)
    found = next((known for known in _FORMATS if head.startswith(known.starts_with)), None)
    promised = next((known for known in _FORMATS if known.suffix == path.suffix.lower()), None)
    if found is None:
        known = ", ".join(f"{format_.suffix} ({format_.name})" for format_ in _FORMATS)
        looks = f"it starts with {head[:16]!r}" if head else "it is empty"
        promise = f"its suffix promises {promised.name}, but " if promised else ""
        raise ValueError(f"{path}: {promise}{looks}, which is no known motion file; known formats: {known}; save it as one")
    if promised not in (None, found):
        raise ValueError(
            f"{path}: its suffix {path.suffix} promises {promised.name}, but its content looks like {found.name}; "
            f"rename it to {path.with_suffix(found.suffix).name}"
        )
    return found


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; pass the path of one motion file")
    if not path.exists():
        raise FileNotFoundError(f"no motion file at {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file; copy its content to a file and pass that")
    with path.open("rb") as stream:
        head = stream.read(_SNIFFED_BYTES)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip() or head
