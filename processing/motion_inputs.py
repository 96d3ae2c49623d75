"""What a user may call a motion → joints (T, J, 3), and what the motion says of itself. A refusal says which motion, and why."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .skeletons import UNITS


def read_input(motion: Any, index: int) -> tuple[np.ndarray, Any, Any, str | None]:
    """Joints, and the skeleton, frame rate and unit that the motion itself states (or `None`)."""
    skeleton = fps = unit = None
    if isinstance(motion, (str, os.PathLike)):
        motion = _read_file(motion)
    if isinstance(motion, Mapping):
        if "joints" not in motion:
            raise ValueError(f"motion {index} is a dict with keys {sorted(motion)}; it needs 'joints', an array (T, J, 3)")
        skeleton, fps = motion.get("skeleton"), motion.get("fps")
        is_row = "num_frames" in motion
        unit = motion.get("unit", "metres" if is_row else None)
        if unit is not None and unit not in UNITS:
            raise ValueError(f"motion {index} has unit {unit!r}; known: {', '.join(sorted(UNITS))}")
        motion = _unflatten(motion, index) if is_row else motion["joints"]
    elif hasattr(motion, "joints"):
        motion, skeleton, fps = motion.joints, motion.skeleton, motion.fps
    if hasattr(motion, "detach"):  # a torch tensor, wherever it lies
        motion = motion.detach().cpu().numpy()
    return _check_joints(motion, index), skeleton, fps, unit


def _unflatten(row: Mapping[str, Any], index: int) -> np.ndarray:
    """Joints (T, J, 3) of a data set row, which holds them flat beside `num_frames` and `num_joints`."""
    joints = np.asarray(row["joints"])
    shape = (int(row["num_frames"]), int(row["num_joints"]), 3)
    if joints.size != np.prod(shape):
        raise ValueError(f"motion {index} holds {joints.size} values, but num_frames and num_joints say {shape}")
    return joints.reshape(shape)


def _read_file(path: Any) -> Any:
    try:
        readers = importlib.import_module("motionpatches.processing.readers")
    except ImportError as error:
        raise ImportError(
            f"reading the file {path} needs the package: pip install motionpatches (arrays need nothing)"
        ) from error
    return readers.read_motion(path)


def _check_joints(motion: Any, index: int) -> np.ndarray:
    try:
        joints = np.asarray(motion, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"motion {index} is a {type(motion).__name__}; expected an array (T, J, 3), a file path, a Motion, or a dict with "
            "'joints'"
        ) from error
    if joints.ndim != 3 or joints.shape[-1] != 3:
        hint = "; pass a batch as a list of motions" if joints.ndim == 4 else ""
        raise ValueError(f"motion {index} has shape {joints.shape}; expected (frames, joints, 3){hint}")
    if joints.shape[1] == 0:
        raise ValueError(f"motion {index} has shape {joints.shape}: no joints")
    if len(joints) < 2:
        raise ValueError(f"motion {index} has {len(joints)} frames; a motion needs at least two")
    bad = ~np.isfinite(joints)
    if bad.any():
        frame, joint, _ = np.argwhere(bad)[0]
        raise ValueError(
            f"motion {index} has {int(bad.sum())} values that are NaN or infinite, the first at frame {frame}, joint {joint}; "
            "fill the gaps or leave those frames out first"
        )
    return joints


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
