"""JSON files of joint positions → a `Recording`: pose estimators, Kinect recorders, and plain objects of our own."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .json_frames import EXPECTED, About, is_joint, read_frames, shown
from .persons import check_output_size
from .recording import ReadOptions, Recording


#: The largest file that is parsed, and the most arrays, objects and values in it: each takes 30 to 70 bytes of memory.
MAX_BYTES = 512 * 1024**2
MAX_CONTAINERS = 16_000_000
MAX_VALUES = 64_000_000


def read_json(path: Path, options: ReadOptions) -> Recording:
    """Read a JSON file of joint positions.

    - An object with `joints`, shape (T, J, 3), and optionally `joint_names`, `parents`, `skeleton`, `fps`, `unit`, `up_axis`.
    - A list of frames, or an object with `frames` and the same options. A frame is an object of joints by name (`[x, y, z]` or
      `{"x": ..., "y": ..., "z": ...}`), also under `joints`; or has `joints` that each have a name and a position, as Kinect
      recorders write them.
    - A list of frames with persons: OpenPose (`people`, `pose_keypoints_3d`: x, y, z, confidence of 25 or 17 joints), the CMU
      Panoptic Toolbox (`bodies`, `joints19`), Azure Kinect's offline processor (`bodies`, `joint_positions`), or any of the
      frames above under `bodies`.

    Args:
        path: The file: UTF-8, UTF-16 or UTF-32, with one motion.
        options: `person`: the id of a person or an index in order of appearance. `skeleton`: for joints without names.

    Returns:
        The joints; NaN for those that are null, not finite, absent from a frame, or of confidence 0 or below, which is noted.

    Raises:
        ValueError: If the file is no JSON or too large, none of these, 2D only, a single frame, or has several persons of
            which none is chosen.
    """
    try:
        return _read(_parse(path), options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: its arrays or objects are nested too deeply for a motion; {EXPECTED}") from error
    except Exception as error:
        raise ValueError(f"{path}: not readable as a motion ({str(error) or type(error).__name__}); {EXPECTED}") from error


def _parse(path: Path) -> Any:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes of JSON; the limit is {MAX_BYTES}; save the joints as .npz")
    content = path.read_bytes()
    containers, values = content.count(b"[") + content.count(b"{"), content.count(b",")
    if containers > MAX_CONTAINERS or values > MAX_VALUES:
        raise ValueError(
            f"{containers} arrays and objects and {values} values; the limits are {MAX_CONTAINERS} and {MAX_VALUES}; save the "
            "joints as .npz"
        )
    try:
        return json.loads(content)
    except ValueError as error:
        if "Extra data" in str(error):
            raise ValueError(f"it holds several JSON values ({error}); join the frames into one list: [..., ...]") from error
        raise ValueError(f"not readable as JSON: {error}; copy or export it again") from error


def _read(document: Any, options: ReadOptions) -> Recording:
    about = document if isinstance(document, dict) else {}
    content = about.get("frames", about.get("joints", document))
    frames = content if isinstance(content, list) else [content]
    first = next((frame for frame in frames if frame is not None), None)
    if isinstance(first, list):
        return _read_array(frames, about, options)
    if not isinstance(first, dict):
        raise ValueError(f"it is {shown(document)}; {EXPECTED}")
    if len(frames) == 1 or is_joint(first):
        raise ValueError(
            f"it is {shown(document)}, a single frame; pose estimators write a file for each frame: join their objects into one "
            f"list, in the order of the frames; {EXPECTED}"
        )
    return read_frames(frames, About(about, options))


def _read_array(frames: Sequence[Any], document: Mapping[str, Any], options: ReadOptions) -> Recording:
    """Joints of shape (T, J, 3), as nested lists; null for a frame or joint that is missing."""
    about = About(document, options)
    num_joints = len(next(frame for frame in frames if frame is not None))
    names, skeleton = about.joints(num_joints)
    check_output_size(len(frames), num_joints)
    positions = np.full((len(frames), num_joints, 3), np.nan, np.float32)
    for index, frame in enumerate(frames):
        if frame is not None:
            positions[index] = _frame(frame, index, num_joints)
    positions[~np.isfinite(positions)] = np.nan
    missing = int(np.isnan(positions).any(axis=-1).sum())
    notes = [f"{missing} of {positions.shape[0] * num_joints} joint positions are null or not finite"] if missing else []
    return Recording(
        names,
        positions,
        about.parents(num_joints),
        about.fps(),
        about.unit(),
        about.up_axis(),
        skeleton=skeleton,
        notes=notes,
    )


def _frame(frame: Any, index: int, num_joints: int) -> np.ndarray:
    try:
        array = np.array([[math.nan] * 3 if joint is None else joint for joint in frame], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"frame {index} is {shown(frame)}, no list of joints [x, y, z]; {EXPECTED}") from None
    if array.shape != (num_joints, 3):
        raise ValueError(
            f"frame {index} has the shape {array.shape}; expected ({num_joints}, 3): the first has {num_joints} joints"
        )
    return array
