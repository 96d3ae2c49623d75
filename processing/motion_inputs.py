"""What a user may call a motion → joints (T, J, 3), and what the motion says of itself. A refusal says which motion, and why."""

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .canonical import change_up_axis, first_person, on_host
from .detection import are_plausible, check_frame
from .skeletons import AXES, UNITS, Skeleton, list_skeletons


# Frames of a motion that a first look at its unit and up axis takes.
_LOOKED_AT = 8


class Input(NamedTuple):
    """Joints (T, J, 3) or, of P persons, (P, T, J, 3), and what the motion itself states of them (or `None`)."""

    joints: Any
    skeleton: Any = None
    fps: Any = None
    unit: str | None = None
    up_axis: str | None = None


def read_input(motion: Any, index: int) -> Input:
    """What a user calls a motion, checked. Tensors of a GPU stay where they are, all else is NumPy.

    Raises:
        ValueError: For a wrong shape, too few frames, values that are not finite, or a dict without joints.
        TypeError: For something that is no motion.
    """
    if isinstance(motion, (str, os.PathLike)):
        motion = _read_file(motion)
    if isinstance(motion, Mapping):
        if "joints" not in motion:
            raise ValueError(f"motion {index} is a dict with keys {sorted(motion)}; it needs 'joints', an array (T, J, 3)")
        is_row = "num_frames" in motion
        unit = motion.get("unit", "metres" if is_row else None)
        if unit is not None and unit not in UNITS:
            raise ValueError(f"motion {index} has unit {unit!r}; known: {', '.join(sorted(UNITS))}")
        up_axis = motion.get("up_axis")
        if up_axis is not None and up_axis not in AXES:
            raise ValueError(f"motion {index} has up_axis {up_axis!r}; known: {', '.join(AXES)}")
        joints = _unflatten(motion, index) if is_row else motion["joints"]
        joints = _check_joints(joints, index, motion.get("persons"))
        return Input(joints, motion.get("skeleton"), motion.get("fps"), unit, up_axis)
    if hasattr(motion, "joints"):
        return Input(_check_joints(motion.joints, index), motion.skeleton, motion.fps)
    return Input(_check_joints(motion, index))


def _unflatten(row: Mapping[str, Any], index: int) -> np.ndarray:
    """Joints of a data set row, which holds them flat beside `num_frames`, `num_joints` and perhaps `persons`."""
    joints = np.asarray(row["joints"])
    persons = () if row.get("persons") is None else (int(row["persons"]),)
    shape = (*persons, int(row["num_frames"]), int(row["num_joints"]), 3)
    if joints.size != np.prod(shape):
        raise ValueError(f"motion {index} holds {joints.size} values, but its row says {shape}")
    return joints.reshape(shape)


def _read_file(path: Any) -> Any:
    try:
        readers = importlib.import_module("motionpatches.processing.readers")
    except ImportError as error:
        raise ImportError(
            f"reading the file {path} needs the package: pip install motionpatches (arrays need nothing)"
        ) from error
    return readers.read_motion(path)


def _check_joints(motion: Any, index: int, persons: Any = None) -> Any:
    joints = _as_floats(motion, index)
    if joints.ndim != (3 if persons is None else 4) or joints.shape[-1] != 3:
        expected, hint = "(frames, joints, 3)", ""
        if persons is not None:
            expected = "(persons, frames, joints, 3)"
        elif joints.ndim == 4:
            hint = "; pass a batch as a list of motions, persons who share a frame as {'joints': …, 'persons': P}"
        raise ValueError(f"motion {index} has shape {tuple(joints.shape)}; expected {expected}{hint}")
    if persons is not None and (len(joints) != int(persons) or len(joints) == 0):
        raise ValueError(f"motion {index} has shape {tuple(joints.shape)}, but says persons={persons}")
    if joints.shape[-2] == 0:
        raise ValueError(f"motion {index} has shape {tuple(joints.shape)}: no joints")
    if joints.shape[-3] < 2:
        raise ValueError(f"motion {index} has {joints.shape[-3]} frames; a motion needs at least two")
    _check_finite(joints, index)
    return joints


def _as_floats(motion: Any, index: int) -> Any:
    """A floating-point array, or a tensor if it lies on another device than the CPU."""
    if hasattr(motion, "detach"):
        motion = motion.detach()
        if motion.device.type != "cpu":
            return motion if motion.is_floating_point() else motion.double()
        motion = motion.numpy()
    try:
        joints = np.asarray(motion)
        return joints if joints.dtype.char in "fd" else joints.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"motion {index} is a {type(motion).__name__}; expected an array (T, J, 3), a file path, a Motion, or a dict with "
            "'joints'"
        ) from error


def _check_finite(joints: Any, index: int) -> None:
    if isinstance(joints, np.ndarray):
        finite = np.isfinite(joints)
        if finite.all():
            return
    else:
        finite = joints.isfinite()
        if bool(finite.all()):
            return
        finite = finite.cpu().numpy()
    *_, frame, joint, _ = np.argwhere(~finite)[0]
    raise ValueError(
        f"motion {index} has {int((~finite).sum())} values that are NaN or infinite, the first at frame {frame}, joint {joint}; "
        "fill the gaps or leave those frames out first"
    )


def settle_fps(said: Any, given: Any, index: int) -> float | None:
    """The frame rate that the motion or the call states, checked; `None` where neither does."""
    if said is not None and given is not None and float(said) != float(given):
        raise ValueError(f"motion {index} says {said} frames per second, but the call says fps={given}; drop one of the two")
    rate = given if said is None else said
    if rate is None:
        return None
    rate = float(rate)
    if not np.isfinite(rate) or rate <= 0:
        raise ValueError(f"motion {index}: fps must be a positive number of frames per second, got {rate}")
    return rate


def one_per_motion(name: str, value: Any, num_motions: int) -> list[Any]:
    """An argument that may be one value or a list of one for each motion, as such a list."""
    if not isinstance(value, (list, tuple)):
        return [value] * num_motions
    if len(value) != num_motions:
        raise ValueError(f"got {num_motions} motions but {len(value)} values of {name}=; pass one, or one for each motion")
    return list(value)


def settle_skeleton(
    motion: Input, given: Any, index: int, find: Callable[[Any], Skeleton], more: Iterable[str], default: Any = None
) -> Skeleton:
    """The skeleton that the motion or the call states, or else the default, checked.

    Args:
        motion: What the motion itself states.
        given: What the call states, a name or `Skeleton`, or `None`.
        index: Of the motion in the call.
        find: Name → skeleton.
        more: Names that `find` knows beside the named skeletons.
        default: For motions of which neither says anything.
    """
    said = None if motion.skeleton is None else find(motion.skeleton)
    given = None if given is None else find(given)
    if said is not None and given is not None and said != given:
        raise ValueError(
            f"motion {index} says its skeleton is {said.name!r}, but the call says {given.name!r}; drop one of the two"
        )
    found = said or given or (None if default is None else find(default))
    num_joints = motion.joints.shape[-2]
    if found is not None and found.num_joints == num_joints:
        return found
    fitting = [name for name in sorted({*list_skeletons(), *more}) if find(name).num_joints == num_joints]
    hint = f"known with {num_joints} joints: {', '.join(fitting) or 'none'}"
    if found is None:
        raise ValueError(f"motion {index} has {num_joints} joints and says no skeleton; pass skeleton=… ({hint})")
    raise ValueError(
        f"motion {index} has {num_joints} joints, but skeleton {found.name!r} has {found.num_joints}; "
        f"pass another skeleton=… ({hint})"
    )


def fit_declared_frames(motions: list[Any], indices: list[int], skeleton: Skeleton) -> list[str]:
    """Put motions that clearly are not in the unit and along the up axis that their skeleton declares into them.

    Args:
        motions: Have `joints` and `_replace`; changed in place.
        indices: Those to look at, all of this skeleton.
        skeleton: Declares unit and up axis.

    Returns:
        A sentence for each motion in which something was found.
    """
    poses = [first_person(motions[index].joints) for index in indices]
    moments = (np.arange(_LOOKED_AT) * (np.array([len(pose) for pose in poses])[:, None] - 1)) // (_LOOKED_AT - 1)
    frames = np.stack([on_host(pose[frame.tolist()]) for pose, frame in zip(poses, moments, strict=True)])
    notes = []
    for place in np.flatnonzero(~are_plausible(frames, skeleton)):
        motion = motions[indices[place]]
        found = check_frame(on_host(poses[place]), skeleton)
        joints = motion.joints
        if found.metres_per_unit is not None:
            joints = joints * (found.metres_per_unit / UNITS[skeleton.unit])
        if found.up_axis is not None:
            joints = change_up_axis(joints, found.up_axis, skeleton.up_axis)
        changed = joints is not motion.joints
        motions[indices[place]] = motion._replace(joints=joints)
        if found.notes:
            notes.append(f"motion {indices[place]}: {', '.join(found.notes)}{' (converted)' if changed else ''}")
    return notes
