"""Motion feature vectors of HumanML3D and KIT-ML, as text-to-motion models make them, → joint positions.

A frame of J joints is, in this order (Guo et al., "Generating Diverse and Natural 3D Human Motions from Text", CVPR 2022,
section 5; `motion_representation.ipynb` of github.com/EricGuo5513/HumanML3D for the conventions):

    root turn      1          half the angle about y by which the frame of the body turns until the next frame
    root velocity  2          x and z of the way of the root until the next frame, in the next frame's frame of the body
    root height    1          y
    positions      (J - 1)*3  joints 1 to J - 1 in the frame of the body, below the root in x and z
    rotations      (J - 1)*6  local rotations, two columns of a matrix each
    velocities     J*3        of all joints, in the frame of the body
    contacts       4          of heels and toes, 0 or 1

The frame of the body is y up and faces +z. What follows the positions repeats them, so joints need only the first 4 + (J - 1)*3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .detection import ANY_LEG_METRES, leg_units
from .skeletons import UNITS, get_skeleton


@dataclass(frozen=True)
class FeatureFormat:
    """Skeleton and frame rate of feature vectors of one width."""

    skeleton: str
    num_joints: int
    fps: float


#: Width of a feature vector → what it is. Positions are in the unit of the skeleton: metres in HumanML3D, millimetres in KIT-ML.
FEATURE_FORMATS = {263: FeatureFormat("smpl22", 22, 20.0), 251: FeatureFormat("kit21", 21, 12.5)}

# Columns of a rotation matrix are of length 1. Those that models make differ from it by some hundredths in the median, those of
# normalised vectors by 0.6 (three values of variance 1), but less for somebody who stands still; then the legs are too long.
_MOST_OFF_UNIT, _SURELY_OFF_UNIT = 0.1, 0.3
_MAX_SAMPLED = 1000


def decode_features(features: Any, mean: Any = None, std: Any = None) -> np.ndarray:
    """Joint positions of HumanML3D or KIT-ML feature vectors.

    Args:
        features: Shape (T, 263) (HumanML3D) or (T, 251) (KIT-ML).
        mean: Shape (263,) or (251,): for normalised vectors, `Mean.npy` of the data set that they were normalised with.
        std: Likewise `Std.npy`.

    Returns:
        Joints of shape (T, 22, 3), metres, or (T, 21, 3), millimetres; y up, float32. The first frame faces +z (by the hips
        and shoulders) and stands at x = z = 0, as vectors of velocities do not say where they start.

    Raises:
        ValueError: If the shapes are others, values are not finite, or the vectors are normalised and mean and std are missing.

    Source:
        Guo et al., CVPR 2022, section 5.
    """
    vectors = np.asarray(features)
    if vectors.ndim != 2 or vectors.shape[1] not in FEATURE_FORMATS or len(vectors) == 0 or vectors.dtype.kind not in "fiu":
        raise ValueError(
            f"features have shape {vectors.shape} and dtype {vectors.dtype}; expected floats of shape (T, 263) (HumanML3D) or "
            "(T, 251) (KIT-ML), at least one frame; pass a batch one motion at a time"
        )
    vectors = _denormalised(vectors, mean, std)
    num_joints = FEATURE_FORMATS[vectors.shape[1]].num_joints
    num_bad = int(np.count_nonzero(~np.isfinite(vectors[:, : 4 + (num_joints - 1) * 3])))
    if num_bad:
        raise ValueError(
            f"features hold {num_bad} NaN or infinite values; they sum up to the path of the root, so that none may be missing"
        )
    joints = _joints(vectors, num_joints)
    if mean is None and _look_normalised(vectors, joints):
        raise ValueError(
            "features look normalised (mean 0, deviation 1): the columns of their 6D rotations are not of length 1; decode them "
            "with the Mean.npy and Std.npy of the data set that they were normalised with: "
            "motionpatches.processing.humanml3d_features.decode_features(features, mean, std)"
        )
    return joints


def _look_normalised(vectors: np.ndarray, joints: np.ndarray) -> bool:
    """Whether feature vectors are z-scores instead of lengths and rotations. Rotations that are all zero tell nothing."""
    num_joints = joints.shape[1]
    start = 4 + (num_joints - 1) * 3
    sample = vectors[:: -(-len(vectors) // _MAX_SAMPLED), start : start + (num_joints - 1) * 6]
    if not np.any(sample):
        return False
    lengths = np.linalg.norm(sample.reshape(len(sample), -1, 3).astype(np.float64), axis=-1)
    off_unit = float(np.nanmedian(np.abs(lengths - 1)))
    skeleton = get_skeleton(FEATURE_FORMATS[vectors.shape[1]].skeleton)
    shortest, longest = ANY_LEG_METRES
    has_legs = shortest <= leg_units(joints, skeleton) * UNITS[skeleton.unit] <= longest
    return off_unit > (_SURELY_OFF_UNIT if has_legs else _MOST_OFF_UNIT)


def _denormalised(vectors: np.ndarray, mean: Any, std: Any) -> np.ndarray:
    if mean is None and std is None:
        return vectors
    if mean is None or std is None:
        raise ValueError(f"{'mean' if mean is None else 'std'} is missing; pass both mean and std, or neither")
    mean, std = (np.asarray(values, dtype=np.float32).reshape(-1) for values in (mean, std))
    width = vectors.shape[1]
    if mean.shape != (width,) or std.shape != (width,) or not np.all(np.isfinite(mean)) or not np.all(std > 0):
        raise ValueError(
            f"mean and std have shapes {mean.shape} and {std.shape}; expected ({width},) each, finite, std above 0: "
            "Mean.npy and Std.npy of the data set"
        )
    return vectors * std + mean


def _joints(vectors: np.ndarray, num_joints: int) -> np.ndarray:
    """Shape (T, 4 + (J - 1)*3 or more) → (T, J, 3)."""
    root_turn, root_x, root_z = vectors[:, :3].astype(np.float64).T
    heading = np.zeros(len(vectors))
    heading[1:] = 2 * np.cumsum(root_turn[:-1])  # of the body's frame in the world: quaternions hold half the angle
    cos, sin = np.cos(heading), np.sin(heading)
    # The rotation of the data set takes the world to the body, so its inverse is applied.
    way_x, way_z = np.zeros(len(vectors)), np.zeros(len(vectors))
    way_x[1:] = cos[1:] * root_x[:-1] - sin[1:] * root_z[:-1]
    way_z[1:] = sin[1:] * root_x[:-1] + cos[1:] * root_z[:-1]
    path_x, path_z = np.cumsum(way_x), np.cumsum(way_z)

    joints = np.empty((len(vectors), num_joints, 3), dtype=np.float32)
    local = vectors[:, 4 : 4 + (num_joints - 1) * 3].reshape(len(vectors), num_joints - 1, 3)
    joints[:, 0] = np.stack([path_x, vectors[:, 3], path_z], axis=-1)
    joints[:, 1:, 0] = cos[:, None] * local[..., 0] - sin[:, None] * local[..., 2] + path_x[:, None]
    joints[:, 1:, 1] = local[..., 1]
    joints[:, 1:, 2] = sin[:, None] * local[..., 0] + cos[:, None] * local[..., 2] + path_z[:, None]
    return joints
