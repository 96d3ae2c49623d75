"""A common frame for motions of any source: metres, y up, floor at zero, starting at the origin, facing +z.

Each step is a pure function from joints (T, J, 3) to joints (T, J, 3), on NumPy arrays and on torch tensors of any device. Every
step but `scale_body` is a rigid motion or a change of unit, so that left stays left and a turn keeps its direction.

Several persons are (P, T, J, 3): what is measured on a body is measured on the first person, what is done is done to all, so
that they keep their places and sizes relative to each other.
"""

import math
from typing import Any

import numpy as np

from .skeletons import UNITS, Skeleton


# Rows of the rotation that takes each axis to y; all are proper (determinant 1), so that none mirrors.
_TO_Y_UP = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def like(values: Any, joints: Any) -> Any:
    """An array of constants in the library, precision and place of `joints`."""
    if isinstance(joints, np.ndarray):
        return np.asarray(values, dtype=joints.dtype)
    return joints.new_tensor(np.asarray(values, dtype=np.float64).tolist())


def on_host(joints: Any) -> np.ndarray:
    """The joints as NumPy."""
    return joints if isinstance(joints, np.ndarray) else joints.detach().cpu().numpy()


def rotate(joints: Any, rotation: Any) -> Any:
    """Every joint turned by a rotation matrix (3, 3). Shape (…, 3) → (…, 3)."""
    return (joints.reshape(-1, 3) @ like(rotation, joints).T).reshape(joints.shape)


def first_person(joints: Any) -> Any:
    """The joints (T, J, 3) of one person, of (T, J, 3) or (P, T, J, 3)."""
    return joints if joints.ndim == 3 else joints[0]


def to_metres(joints: Any, skeleton: Skeleton) -> Any:
    """Joints in metres. Shape (T, J, 3) in the skeleton's unit → (T, J, 3)."""
    return joints if skeleton.unit == "metres" else joints * UNITS[skeleton.unit]


def to_y_up(joints: Any, skeleton: Skeleton) -> Any:
    """Joints with y up, by a rotation from the skeleton's up axis. Shape (T, J, 3) → (T, J, 3)."""
    return joints if skeleton.up_axis == "y" else rotate(joints, _TO_Y_UP[skeleton.up_axis])


def from_y_up(joints: Any, skeleton: Skeleton) -> Any:
    """The inverse of `to_y_up`: joints with y up → with the skeleton's own up axis. Shape (T, J, 3) → (T, J, 3)."""
    return joints if skeleton.up_axis == "y" else rotate(joints, np.transpose(_TO_Y_UP[skeleton.up_axis]))


def change_up_axis(joints: Any, up_axis: str, wanted: str) -> Any:
    """Joints turned so that what pointed along one of `skeletons.AXES` points along another. Shape (…, 3) → (…, 3)."""
    return rotate(joints, np.transpose(_TO_Y_UP[wanted]) @ np.array(_TO_Y_UP[up_axis]))


def leg_length(joints: Any, skeleton: Skeleton) -> float:
    """Mean over both legs of hip-knee plus knee-ankle, each bone's median over the frames, in the unit of `joints` (T, J, 3)."""
    upper, lower = _leg_bones(skeleton)
    bones = joints[:, upper] - joints[:, lower]
    lengths = (bones * bones).sum(-1) ** 0.5
    middle = lengths.shape[0] // 2
    if isinstance(lengths, np.ndarray):
        return float(np.partition(lengths, middle, axis=0)[middle].sum()) / 2
    return float(lengths.sort(0).values[middle].sum()) / 2


def _leg_bones(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    at = skeleton.landmarks
    bones = [(f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))]
    return [at[upper] for upper, _ in bones], [at[lower] for _, lower in bones]


def scale_body(joints: Any, skeleton: Skeleton, target_leg_length: float) -> Any:
    """Scale the whole motion so that the legs measure `target_leg_length`. Shape (T, J, 3) → (T, J, 3).

    Raises:
        ValueError: If the legs have no length.
    """
    length = leg_length(first_person(joints), skeleton)
    if not length > 0:
        raise ValueError(
            f"the legs of this {skeleton.name!r} motion have length {length}; it cannot be scaled to a leg length of "
            f"{target_leg_length}; check the joint order, or set body_scale=None"
        )
    return joints * (target_leg_length / length)


def move_to_origin(joints: Any, skeleton: Skeleton, floor: bool = True, center: bool = True) -> Any:
    """The motion moved as a whole, y up: (T, J, 3) → (T, J, 3).

    Args:
        joints: The joints.
        skeleton: Their skeleton.
        floor: Lowest joint of the whole motion at y = 0 (as HumanML3D does).
        center: Pelvis of the first frame at x = z = 0.
    """
    x, _, z = first_person(joints)[0, skeleton.pelvis].tolist() if center else (0.0, 0.0, 0.0)
    y = float(joints[..., 1].min()) if floor else 0.0
    return joints - like([x, y, z], joints)


def facing_direction(joints: Any, skeleton: Skeleton) -> Any:
    """Where the body faces in each frame: a unit vector in the ground plane.

    It is at a right angle to the line across the body, the sum of right minus left hip and right minus left shoulder, as
    in HumanML3D.

    Args:
        joints: Shape (T, J, 3), y up.
        skeleton: The skeleton of the joints.

    Returns:
        Shape (T, 3). Where a body gives no direction (lying across the vertical, or all joints in one point), zeros.
    """
    at = skeleton.landmarks
    across = joints[:, [at["right_hip"], at["right_shoulder"]]] - joints[:, [at["left_hip"], at["left_shoulder"]]]
    across = across.sum(1) * like([1.0, 0.0, 1.0], joints)
    forward = across[:, [2, 1, 0]] * like([1.0, 0.0, -1.0], joints)  # y × across
    norm = (forward * forward).sum(-1)[:, None] ** 0.5
    return forward / (norm + (norm <= 1e-6)) * (norm > 1e-6)


def face_forward(joints: Any, skeleton: Skeleton) -> Any:
    """Turn the motion about the vertical so that the first frame faces +z. Shape (T, J, 3), y up → (T, J, 3).

    A first frame without a facing direction leaves the heading as it is.
    """
    at, pose = skeleton.landmarks, first_person(joints)[0].tolist()  # one pose: numbers are quicker than arrays
    x, z = (
        sum(pose[at[f"right_{point}"]][axis] - pose[at[f"left_{point}"]][axis] for point in ("hip", "shoulder"))
        for axis in (2, 0)
    )
    norm = math.hypot(x, z)
    if norm <= 1e-6:
        return joints
    x, z = x / norm, -z / norm  # y × across, as in `facing_direction`
    # The rotation about y that takes (x, 0, z) to (0, 0, 1).
    return rotate(joints, [[z, 0.0, -x], [0.0, 1.0, 0.0], [x, 0.0, z]])


def canonicalize(
    joints: Any,
    skeleton: Skeleton,
    *,
    unit: bool = True,
    up_axis: bool = True,
    body_scale: float | None = None,
    floor: bool = True,
    center: bool = True,
    heading: bool = True,
) -> Any:
    """The motion in the common frame; each step can be switched off.

    Args:
        joints: Shape (T, J, 3), or (P, T, J, 3) of persons who share a frame, in the unit and with the up axis of `skeleton`.
        skeleton: The skeleton of the joints. Virtual joints that `joints` does not hold are put in.
        unit: Convert to metres.
        up_axis: Turn y up.
        body_scale: Scale the body to this leg length in metres (hip to ankle); `None` keeps its size.
        floor: Lowest joint of the motion at y = 0.
        center: Pelvis of the first frame (of the first person) at x = z = 0.
        heading: First frame (of the first person) faces +z.

    Returns:
        Shape (T, J + V, 3) or (P, T, J + V, 3), floating point; an array of integers becomes float64.
    """
    if isinstance(joints, (list, tuple)) or (isinstance(joints, np.ndarray) and joints.dtype.kind != "f"):
        joints = np.asarray(joints, dtype=np.float64)
    joints = skeleton.complete(joints)
    if unit:
        joints = to_metres(joints, skeleton)
    if up_axis:
        joints = to_y_up(joints, skeleton)
    if body_scale is not None:
        joints = scale_body(joints, skeleton, body_scale)
    if floor or center:
        joints = move_to_origin(joints, skeleton, floor, center)
    if heading:
        joints = face_forward(joints, skeleton)
    return joints


def relative_to_root(joints: Any, skeleton: Skeleton) -> Any:
    """Every joint relative to the pelvis of its own frame; the pelvis alone keeps the trajectory.

    Shape (T, J, 3) → (T, J, 3), or (P, T, J, 3) → (P, T, J, 3).
    """
    root = joints[..., [skeleton.pelvis], :]
    relative = joints - root
    relative[..., skeleton.pelvis, :] = root[..., 0, :]
    return relative
