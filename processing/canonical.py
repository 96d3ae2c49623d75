"""A common frame for motions of any source: metres, y up, floor at zero, starting at the origin, facing +z.

Each step is a pure function from joints (T, J, 3) to joints (T, J, 3). Every step but `scale_body` is a rigid motion or a
change of unit, so that left stays left and a turn keeps its direction.
"""

import numpy as np

from .skeletons import UNITS, Skeleton


def to_metres(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints in metres. Shape (T, J, 3) in the skeleton's unit → (T, J, 3)."""
    return joints * UNITS[skeleton.unit]


def to_y_up(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints with y up, by a quarter turn about x where the skeleton says z up. Shape (T, J, 3) → (T, J, 3)."""
    if skeleton.up_axis == "y":
        return joints
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([x, z, -y], axis=-1)


def leg_length(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Median over frames and sides of hip-knee plus knee-ankle, in the unit of `joints` (T, J, 3)."""
    at = skeleton.landmarks
    lengths = [
        np.linalg.norm(joints[:, at[f"{side}_{upper}"]] - joints[:, at[f"{side}_{lower}"]], axis=-1)
        for side in ("left", "right")
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    return float(np.median(lengths[0] + lengths[1] + lengths[2] + lengths[3]) / 2)


def scale_body(joints: np.ndarray, skeleton: Skeleton, target_leg_length: float) -> np.ndarray:
    """Scale the whole motion so that the legs measure `target_leg_length`. Shape (T, J, 3) → (T, J, 3).

    Raises:
        ValueError: If the legs have no length.
    """
    length = leg_length(joints, skeleton)
    if length <= 0:
        raise ValueError(
            f"the legs of this {skeleton.name!r} motion have length {length}; it cannot be scaled to a leg length of "
            f"{target_leg_length}; check the joint order, or set body_scale=None"
        )
    return joints * (target_leg_length / length)


def floor_to_zero(joints: np.ndarray) -> np.ndarray:
    """Put the lowest joint of the whole motion at y = 0 (as HumanML3D does). Shape (T, J, 3), y up → (T, J, 3)."""
    return joints - np.array([0.0, joints[..., 1].min(), 0.0])


def center_root(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Put the root of the first frame at x = z = 0. Shape (T, J, 3), y up → (T, J, 3)."""
    x, _, z = joints[0, skeleton.pelvis]
    return joints - np.array([x, 0.0, z])


def facing_direction(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
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
    across = (
        joints[:, at["right_hip"]]
        - joints[:, at["left_hip"]]
        + joints[:, at["right_shoulder"]]
        - joints[:, at["left_shoulder"]]
    )
    forward = np.cross([0.0, 1.0, 0.0], across)
    norm = np.linalg.norm(forward, axis=-1, keepdims=True)
    return np.divide(forward, norm, out=np.zeros_like(forward), where=norm > 1e-6)


def face_forward(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Turn the motion about the vertical so that the first frame faces +z. Shape (T, J, 3), y up → (T, J, 3).

    A first frame without a facing direction leaves the heading as it is.
    """
    x, _, z = facing_direction(joints[:1], skeleton)[0]
    if x == 0.0 and z == 0.0:
        return joints
    # The rotation about y that takes (x, 0, z) to (0, 0, 1).
    rotation = np.array([[z, 0.0, -x], [0.0, 1.0, 0.0], [x, 0.0, z]])
    return joints @ rotation.T


def canonicalize(
    joints: np.ndarray,
    skeleton: Skeleton,
    *,
    unit: bool = True,
    up_axis: bool = True,
    body_scale: float | None = None,
    floor: bool = True,
    center: bool = True,
    heading: bool = True,
) -> np.ndarray:
    """The motion in the common frame; each step can be switched off.

    Args:
        joints: Shape (T, J, 3), in the unit and with the up axis of `skeleton`.
        skeleton: The skeleton of the joints.
        unit: Convert to metres.
        up_axis: Turn y up.
        body_scale: Scale the body to this leg length in metres (hip to ankle); `None` keeps its size.
        floor: Lowest joint of the motion at y = 0.
        center: Root of the first frame at x = z = 0.
        heading: First frame faces +z.

    Returns:
        Shape (T, J, 3), float64.
    """
    joints = np.asarray(joints, dtype=np.float64)
    if unit:
        joints = to_metres(joints, skeleton)
    if up_axis:
        joints = to_y_up(joints, skeleton)
    if body_scale is not None:
        joints = scale_body(joints, skeleton, body_scale)
    if floor:
        joints = floor_to_zero(joints)
    if center:
        joints = center_root(joints, skeleton)
    if heading:
        joints = face_forward(joints, skeleton)
    return joints


def relative_to_root(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Every joint relative to the root of its own frame; the root joint alone keeps the trajectory.

    Shape (T, J, 3) → (T, J, 3).
    """
    root = joints[:, skeleton.pelvis]
    relative = joints - root[:, None]
    relative[:, skeleton.pelvis] = root
    return relative
