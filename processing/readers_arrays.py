"""Array files, `.npy`, `.npz` and `.safetensors` ↔ a `Motion`."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from .canonical import rotate, to_y_up
from .humanml3d_features import FEATURE_FORMATS, decode_features
from .motion import Motion
from .npz_files import MAX_ARRAY_BYTES, NpzReader, read_npy_array, reading
from .recording import ReadOptions, Recording
from .skeletons import UNITS, Skeleton, get_skeleton, list_skeletons


#: The most characters of a skeleton of the user's own, and the most bytes of the header of a .safetensors file.
MAX_SKELETON_CHARS = 1_000_000
MAX_HEADER_BYTES = 16 * 1024**2

_KEYS = ("joints", "rotations", "skeleton", "fps", "unit")
_MAX_JOINTS = 1000
_BLOCK_FRAMES = 2**14
_UNIT_LENGTH = 1e-3  # how far the length of a unit quaternion may be from 1


def read_npy(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """Read joints or feature vectors from an `.npy` file.

    Args:
        path: The file: an array of shape (T, J, 3); (T, J*3) with `options.skeleton`; (T, 263) or (T, 251) of features.
        options: `skeleton`, `fps`, `unit` and `up_axis` of the array, which the file does not say.

    Raises:
        ValueError: If the file is damaged or too large, or holds another form of array.
    """
    with path.open("rb") as stream:
        array = read_npy_array(stream, path.stat().st_size, str(path))
    return _to_motion(path, options, [], array)


def read_npz(path: Path, options: ReadOptions) -> Recording | tuple[Motion, list[str]]:
    """Read an `.npz` file: `joints` and what `write_npz` stores with them, or SMPL pose parameters (see `readers_smpl`).

    Args:
        path: The file. Keys: `joints` as in `read_npy`, and optionally `rotations` (T, J, 4; unit quaternions x, y, z, w),
            `skeleton` (a name, or JSON of `Skeleton.to_dict`), `fps` and `unit` (a key of `UNITS`).
        options: Where the caller says otherwise than the file, the caller is right, with a note.

    Raises:
        ValueError: If the file is damaged or too large, or holds another form of arrays.
    """
    from .readers_smpl import is_smpl, read_smpl  # here, because it reads archives itself

    with NpzReader(path) as archive:
        if "joints" not in archive.keys:
            if is_smpl(archive.keys):
                return read_smpl(path, options)
            raise ValueError(
                f"{path}: an .npz motion needs the key 'joints' of shape (T, J, 3), or poses of SMPL (poses, trans, betas); "
                f"found {_listed(archive.keys)}; save it with np.savez(path, joints=...) or motionpatches.write_npz"
            )
        arrays: dict[str, Any] = {key: archive.read(key) for key in _KEYS if key in archive.keys}
        unknown = sorted(archive.keys - set(_KEYS))
    for key in ("skeleton", "unit"):
        if key in arrays:
            arrays[key] = _text_of(arrays[key], key, path)
    notes = [f"ignored keys {_listed(unknown)}; known keys are {list(_KEYS)}"] if unknown else []
    return _to_motion(path, options, notes, **arrays)


def read_safetensors(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """Read a `.safetensors` file: tensors `joints` and `rotations`, metadata `skeleton`, `fps` and `unit`, as in `read_npz`.

    Raises:
        ValueError: If the file is damaged or too large, or holds another form of tensors.
    """
    from safetensors import safe_open  # here, because only these files need it

    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > min(MAX_HEADER_BYTES, path.stat().st_size - 8):
        raise ValueError(
            f"{path}: it declares a header of {length} bytes, and has {path.stat().st_size} in all (the limit of a header is "
            f"{MAX_HEADER_BYTES}); copy or save it again"
        )
    with reading(path, "a .safetensors file"), safe_open(path, "numpy") as tensors:
        names, metadata = set(tensors.keys()), tensors.metadata() or {}
        for name in names & {"joints", "rotations"}:
            size = math.prod(tensors.get_slice(name).get_shape()) * 8
            if size > MAX_ARRAY_BYTES:
                raise ValueError(
                    f"tensor {name!r} needs up to {size} bytes; the limit is {MAX_ARRAY_BYTES}; split the motion"
                )
        arrays = {name: tensors.get_tensor(name) for name in sorted(names & {"joints", "rotations"})}
    if "joints" not in arrays:
        raise ValueError(
            f"{path}: a .safetensors motion needs the tensor 'joints' of shape (T, J, 3); found {_listed(names)}; save it with "
            "motionpatches.processing.readers.write_safetensors"
        )
    stated: dict[str, Any] = {key: metadata[key] for key in ("skeleton", "unit", "fps") if key in metadata}
    if "fps" in stated:
        try:
            stated["fps"] = np.asarray(float(stated["fps"]))
        except ValueError:
            stated["fps"] = np.asarray(stated["fps"])  # refused below, with every other wrong rate
    unknown = sorted((names - set(arrays)) | (set(metadata) - set(stated) - {"format"}))
    notes = [f"ignored keys {_listed(unknown)}; known keys are {list(_KEYS)}"] if unknown else []
    return _to_motion(path, options, notes, **arrays, **stated)


# ---- writing ------------------------------------------------------------------------------------------------------------


def write_npz(path: str | os.PathLike[str], motion: Motion) -> None:
    """Write a motion as the `.npz` file that `read_motion` reads.

    Args:
        path: File to write; it must end in `.npz`.
        motion: Joints of shape (T, J, 3) and rotations, stored as float32; what is `None` is left out. A named skeleton is
            stored by its name, one of the user's own as JSON.

    Raises:
        ValueError: If the path has another suffix, or the motion's shapes disagree.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: write_npz writes .npz files, got suffix {path.suffix!r}; end the path in .npz")
    arrays, stated = _contents(motion, path)
    contents: dict[str, Any] = {**arrays, **stated}
    with path.open("wb") as stream:  # a path would get a second suffix if it ended in .NPZ
        np.savez(stream, **contents)


def write_safetensors(path: str | os.PathLike[str], motion: Motion) -> None:
    """Write a motion as the `.safetensors` file that `read_motion` reads: as `write_npz`, with strings as metadata.

    Raises:
        ValueError: If the path has another suffix than `.safetensors`, or the motion's shapes disagree.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise ValueError(
            f"{path}: write_safetensors writes .safetensors files, got suffix {path.suffix!r}; end the path in .safetensors"
        )
    arrays, stated = _contents(motion, path)
    tensors = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    save_file(tensors, path, metadata={key: str(value) for key, value in stated.items()})


def _contents(motion: Motion, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    joints = _checked_joints(np.asarray(motion.joints), path)
    arrays = {"joints": joints.astype(np.float32)}
    stated: dict[str, Any] = {}
    if motion.rotations is not None:
        arrays["rotations"] = _checked_rotations(np.asarray(motion.rotations), joints, path).astype(np.float32)
    if motion.skeleton is not None:
        _check_joint_count(joints, motion.skeleton, path)
        name = motion.skeleton.name
        named = name in list_skeletons() and get_skeleton(name) == motion.skeleton
        stated = {"skeleton": name if named else json.dumps(motion.skeleton.to_dict()), "unit": motion.skeleton.unit}
    if motion.fps is not None:
        stated["fps"] = _checked_fps(np.asarray(motion.fps), path)
    return arrays, stated


# ---- arrays → motion ----------------------------------------------------------------------------------------------------


def _to_motion(
    path: Path,
    options: ReadOptions,
    notes: list[str],
    joints: np.ndarray,
    rotations: np.ndarray | None = None,
    skeleton: str | None = None,
    fps: np.ndarray | None = None,
    unit: str | None = None,
) -> tuple[Motion, list[str]]:
    """A motion of what a file states and the caller knows: in the unit and with the up axis of its skeleton."""
    stated_skeleton = None if skeleton is None else _parse_skeleton(skeleton, path)
    stated_fps = None if fps is None else _checked_fps(fps, path)
    if unit is not None and unit not in UNITS:
        raise ValueError(f"{path}: key 'unit' is {unit[:40]!r}; expected one of {', '.join(UNITS)}")
    features = FEATURE_FORMATS.get(joints.shape[1]) if joints.ndim == 2 else None
    if features is not None:
        stated_skeleton = stated_skeleton or get_skeleton(features.skeleton)
        stated_fps = features.fps if stated_fps is None else stated_fps
    found = _settled("skeleton", stated_skeleton, options.skeleton, notes)
    if features is not None:
        if found.num_joints != features.num_joints:
            raise ValueError(
                f"{path}: feature vectors of width {joints.shape[1]} are of skeleton {features.skeleton!r}, but skeleton "
                f"{found.name!r} was asked for; leave it out"
            )
        try:
            joints = decode_features(joints)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        unit = unit or get_skeleton(features.skeleton).unit
    elif joints.ndim == 2 and found is not None and joints.shape[1] == 3 * found.num_joints:
        joints = joints.reshape(len(joints), -1, 3)
    joints = _checked_joints(joints, path)
    if rotations is not None:
        rotations = _checked_rotations(rotations, joints, path)
    unit = _settled("unit", unit, options.unit, notes)
    if found is None:
        if unit is not None or options.up_axis is not None:
            raise ValueError(
                f"{path}: a motion without a skeleton has no unit and no up axis, but unit={unit!r} and "
                f"up_axis={options.up_axis!r} are given; pass skeleton=... too"
            )
    else:
        _check_joint_count(joints, found, path)
        if unit is not None and unit != found.unit:
            joints = joints * np.asarray(UNITS[unit] / UNITS[found.unit], dtype=joints.dtype)
        if options.up_axis not in (None, found.up_axis):
            joints, rotations = _turned(joints, rotations, found, str(options.up_axis))
    return Motion(joints, found, _settled("fps", stated_fps, options.fps, notes), rotations), notes


def _settled(what: str, stated: Any, given: Any, notes: list[str]) -> Any:
    """What the caller gives, else what the file states; with a note where both do and disagree."""
    if given is None:
        return stated
    if stated is not None and stated != given:
        old, new = (value.name if isinstance(value, Skeleton) else value for value in (stated, given))
        notes.append(f"read with {what} {new!r} as passed, although the file or its format says {old!r}")
    return given


def _turned(
    joints: np.ndarray, rotations: np.ndarray | None, skeleton: Skeleton, up_axis: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Joints (T, J, 3) and rotations (T, J, 4), turned from another up axis to that of the skeleton."""

    from_axis, to_axis = (to_y_up(np.eye(3), replace(skeleton, up_axis=axis)).T for axis in (up_axis, skeleton.up_axis))
    turn = to_axis.T @ from_axis
    joints = rotate(joints, turn)
    if rotations is not None:  # the product of quaternions is linear, hence one matrix (4, 4)
        matrix = (Rotation.from_matrix(turn) * Rotation.from_quat(np.eye(4))).as_quat()
        rotations = rotations @ matrix.astype(rotations.dtype)
    return joints, rotations


def _parse_skeleton(text: str, path: Path) -> Skeleton:
    """A skeleton by its name, or from JSON of `Skeleton.to_dict`."""
    if text in list_skeletons():
        return get_skeleton(text)
    if not text.startswith("{"):
        raise ValueError(
            f"{path}: key 'skeleton' is {text[:80]!r}; expected the name of a known skeleton: {', '.join(list_skeletons())}; or "
            "json.dumps(skeleton.to_dict()) of one of your own"
        )
    try:
        if len(text) > MAX_SKELETON_CHARS:
            raise ValueError(f"it has {len(text)} characters; the limit is {MAX_SKELETON_CHARS}")
        fields = json.loads(text)
        names = [fields["name"], *fields["joint_names"]]
        if len(names) > _MAX_JOINTS or not all(isinstance(name, str) for name in names):
            raise ValueError(f"it has {len(names) - 1} joints; expected at most {_MAX_JOINTS}, with strings as names")
        skeleton = Skeleton(**fields)
        hash(skeleton)
    except Exception as error:
        raise ValueError(
            f"{path}: key 'skeleton' is no readable skeleton: {str(error) or type(error).__name__}; write it as "
            "json.dumps(skeleton.to_dict())"
        ) from error
    return skeleton


# ---- checks -------------------------------------------------------------------------------------------------------------


def _checked_joints(joints: np.ndarray, path: Path) -> np.ndarray:
    if joints.ndim != 3 or joints.shape[-1] != 3 or 0 in joints.shape:
        raise ValueError(
            f"{path}: joints have shape {joints.shape}; expected (T, J, 3), at least one frame; {_shape_hint(joints)}"
        )
    if joints.dtype.kind not in "fiu":
        raise ValueError(f"{path}: joints have dtype {joints.dtype}; expected floats, e.g. joints.astype('float32')")
    native = joints.dtype.newbyteorder("=") if joints.dtype.kind == "f" else np.float64
    return joints.astype(native, copy=False)


def _shape_hint(joints: np.ndarray) -> str:
    if (joints.ndim, joints.shape[-1:]) == (4, (3,)) or (joints.ndim == 3 and joints.shape[-1] in FEATURE_FORMATS):
        return "this looks like a batch: save one motion a file, or pass the motions as a list of arrays"
    if joints.ndim == 2 and joints.shape[1] % 3 == 0:
        return (
            f"for flat joints of shape (T, J*3) pass skeleton=... of {joints.shape[1] // 3} joints, or reshape to (T, J, 3)"
        )
    if joints.ndim == 3 and joints.shape[1] == 3:
        return "for joints of shape (J, 3, T), as some generators save them, save array.transpose(2, 0, 1)"
    return "reshape the array to (frames, joints, xyz)"


def _check_joint_count(joints: np.ndarray, skeleton: Skeleton, path: Path) -> None:
    if joints.shape[1] not in (skeleton.num_joints, skeleton.num_nodes):
        raise ValueError(
            f"{path}: joints have shape {joints.shape}, but skeleton {skeleton.name!r} has {skeleton.num_joints} joints; pass "
            f"the skeleton that they belong to (known: {', '.join(list_skeletons())})"
        )


def _checked_rotations(rotations: np.ndarray, joints: np.ndarray, path: Path) -> np.ndarray:
    expected = (*joints.shape[:2], 4)
    if rotations.shape != expected or rotations.dtype.kind != "f":
        raise ValueError(
            f"{path}: rotations have shape {rotations.shape} and dtype {rotations.dtype}; expected {expected} floats: "
            "quaternions (x, y, z, w)"
        )
    rotations = rotations.astype(rotations.dtype.newbyteorder("="), copy=False)
    for start in range(0, len(rotations), _BLOCK_FRAMES):
        block = rotations[start : start + _BLOCK_FRAMES].astype(np.float64)
        with np.errstate(all="ignore"):
            num_bad = int(np.count_nonzero(np.abs((block**2).sum(axis=-1) - 1) > 2 * _UNIT_LENGTH))
        if num_bad:
            raise ValueError(
                f"{path}: {num_bad} rotations in frames {start} to {start + len(block) - 1} are not of length 1; expected unit "
                "quaternions (x, y, z, w), NaN where unknown"
            )
    return rotations


def _checked_fps(fps: np.ndarray, path: Path) -> float:
    if fps.size != 1 or fps.dtype.kind not in "fiu" or not 0 < float(fps.item()) < math.inf:
        raise ValueError(f"{path}: key 'fps' is {_shown(fps)}; expected one number of frames per second above 0")
    return float(fps.item())


def _text_of(array: np.ndarray, key: str, path: Path) -> str:
    if array.size != 1 or array.dtype.kind != "U":
        raise ValueError(f"{path}: key {key!r} is {_shown(array)}; expected a string")
    return str(array.item())


def _shown(array: np.ndarray) -> str:
    if array.size != 1:
        return f"an array of shape {array.shape} and dtype {array.dtype}"
    return repr(array.item())[:80]


def _listed(names: Any) -> str:
    shown = [str(name)[:40] for name in sorted(names)]
    return str(shown) if len(shown) <= 20 else f"{shown[:20]} and {len(shown) - 20} more"
