"""From joints to motion patches (paper section 3.2): pure functions, one matrix product, no loops over frames or joints."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .skeletons import PARTS, Skeleton


_MAX_THREADS = min(os.cpu_count() or 1, 8)

INTERPOLATIONS = ("half_pixel", "align_corners", "arc_length")


def sample_positions(num_joints: int, num_points: int, method: str, arc: np.ndarray | None = None) -> np.ndarray:
    """Where along a chain of joints the sample points lie, as fractional joint indices.

    Args:
        num_joints: n joints of the chain.
        num_points: N sample points.
        method: `"half_pixel"`: point i at `(i + 0.5) · n / N - 0.5`, clamped to the chain, as the published code samples;
            `"align_corners"`: evenly from the first joint to the last; `"arc_length"`: evenly in metres along the bones.
        arc: For `"arc_length"`, the n distances of the joints along the chain, increasing, in metres.

    Returns:
        Shape (N,), in [0, n - 1].

    Raises:
        ValueError: If the method is unknown, or `arc` is missing.
    """
    if method == "half_pixel":
        return np.clip((np.arange(num_points) + 0.5) * num_joints / num_points - 0.5, 0, num_joints - 1)
    if method == "align_corners":
        return np.linspace(0, num_joints - 1, num_points)
    if method == "arc_length":
        if arc is None:
            raise ValueError("arc_length interpolation needs the distances of the joints along the chain")
        return np.interp(np.linspace(arc[0], arc[-1], num_points), arc, np.arange(num_joints))
    raise ValueError(f"unknown interpolation {method!r}; known: {', '.join(INTERPOLATIONS)}")


@lru_cache(maxsize=256)
def patch_matrix(skeleton: Skeleton, patch_size: int, interpolation: str = "half_pixel") -> np.ndarray:
    """The fixed linear map from the J joints of a frame (virtual ones included) to its 5·N sample points.

    Args:
        skeleton: Gives the five chains.
        patch_size: N sample points for each part.
        interpolation: See `sample_positions`.

    Returns:
        Shape (5·N, J), read-only; each row holds at most two weights, which sum to 1.
    """
    blocks = []
    for part in PARTS:
        chain = list(skeleton.chains[part])
        bones = np.linalg.norm(np.diff(skeleton.rest_pose[chain], axis=0), axis=-1)
        arc = np.concatenate([[0.0], np.cumsum(bones)])
        position = sample_positions(len(chain), patch_size, interpolation, arc)
        lower = np.floor(position).astype(int)
        upper = np.minimum(lower + 1, len(chain) - 1)
        weight = position - lower
        block = np.zeros((patch_size, skeleton.num_nodes))
        rows = np.arange(patch_size)
        np.add.at(block, (rows, np.array(chain)[lower]), 1 - weight)
        np.add.at(block, (rows, np.array(chain)[upper]), weight)
        blocks.append(block)
    matrix = np.concatenate(blocks)
    matrix.setflags(write=False)
    return matrix


def interpolate(joints: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Sample points of every frame: (T, J, 3) and a `patch_matrix` (5·N, J) → (T, 5·N, 3)."""
    return matrix @ joints


class PatchMap(NamedTuple):
    """Interpolation and z-score of one skeleton as one affine map for each of the coordinates x, y, z.

    `values[c] = (joints[..., c] - center[c]) @ weights[c] + offset[c]`

    Args:
        center: Shape (3, 1, J): subtracted first, so that single precision loses nothing.
        weights: Shape (3, J, 5·N).
        offset: Shape (3, 1, 5·N), or `None` for zero.
    """

    center: Any
    weights: Any
    offset: Any


def patch_map(
    matrix: np.ndarray, mean: np.ndarray | None = None, std: np.ndarray | None = None, per_joint: bool = False
) -> PatchMap:
    """The map from joints to normalised sample points.

    Args:
        matrix: A `patch_matrix`, (5·N, J).
        mean, std: Of the joints, (J, 3), or of the sample points, (5·N, 3). `None`: no z-score.
        per_joint: They are of the joints: the z-score comes before the interpolation.
    """
    if mean is None or std is None:
        return PatchMap(np.zeros((3, 1, matrix.shape[1])), np.repeat(matrix.T[None], 3, axis=0), None)
    if per_joint:
        return PatchMap(mean.T[:, None], matrix.T / std.T[:, :, None], None)
    center = np.linalg.lstsq(matrix, mean, rcond=None)[0]
    offset = (matrix @ center - mean) / std
    return PatchMap(center.T[:, None], matrix.T / std.T[:, None], offset.T[:, None])


def fill_values(values: Any, joints: Any, to_values: PatchMap) -> None:
    """Write the sample points of a motion where they belong.

    Args:
        values: Shape (3, T, 5·N), written in place; NumPy or torch like the rest.
        joints: Shape (T, J, 3).
        to_values: A map in the precision of `joints`.
    """
    if isinstance(joints, np.ndarray):
        centered = np.empty((3, *joints.shape[:2]), dtype=joints.dtype)
        np.subtract(joints.transpose(2, 0, 1), to_values.center, out=centered)
        if values.dtype == centered.dtype:
            np.matmul(centered, to_values.weights, out=values)
        else:
            values[:] = centered @ to_values.weights
    else:
        values[:] = (joints.permute(2, 0, 1) - to_values.center) @ to_values.weights
    if to_values.offset is not None:
        values += to_values.offset


def fill_all(jobs: Sequence[tuple[Any, Any, PatchMap]]) -> None:
    """`fill_values` of many motions; on the CPU by several threads, as the products of NumPy leave the interpreter free."""
    num_threads = min(len(jobs) // 32, _MAX_THREADS)
    if num_threads < 2 or not isinstance(jobs[0][0], np.ndarray):
        for job in jobs:
            fill_values(*job)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(lambda first: [fill_values(*job) for job in jobs[first::num_threads]], range(num_threads)))


def num_windows(num_frames: Any, patch_size: int) -> Any:
    """Windows of `patch_size` frames that hold `num_frames` frames, the last one perhaps in part."""
    return -(-num_frames // patch_size)


def window_mask(num_frames: Any, total_windows: int, patch_size: int) -> np.ndarray:
    """1 for each window that holds a real frame: shape (total_windows,), or (B, total_windows) for B numbers of frames; int64."""
    return (np.arange(total_windows) < np.asarray(num_windows(num_frames, patch_size))[..., None]).astype(np.int64)
