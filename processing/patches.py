"""From joints to motion patches (paper section 3.2): pure functions, one matrix product, no loops over frames or joints."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .body_points import ARM_POINTS, BODY_POINTS, LEG_POINTS, TORSO_POINTS
from .skeletons import PARTS, Skeleton


# From the joint of the torso that a limb hangs from to the limb, in metres: about that of collar bones and hip joints.
_TRUNK_TO_LIMB = 0.12
_MAX_THREADS = min(os.cpu_count() or 1, 8)

INTERPOLATIONS = ("half_pixel", "align_corners", "arc_length", "landmarks")


def sample_positions(
    num_joints: int, num_points: int, method: str, arc: np.ndarray | None = None, reach: float | None = None
) -> np.ndarray:
    """Where along a chain of joints the sample points lie, as fractional joint indices.

    Args:
        num_joints: n joints of the chain.
        num_points: N sample points.
        method: `"half_pixel"`: point i at `(i + 0.5) · n / N - 0.5`, clamped to the chain, as the published code samples;
            `"align_corners"`: evenly from the first joint to the last; `"arc_length"`: evenly in metres along the bones;
            `"landmarks"`: evenly in metres over the whole limb, so that a point lies at the same place of the body whatever
            joints a skeleton has; where a chain ends early (no toes, no fingers), at its end.
        arc: For `"arc_length"` and `"landmarks"`, the n distances of the joints along the chain, increasing, in metres.
        reach: For `"landmarks"`, the length of the whole limb, in metres.

    Returns:
        Shape (N,), in [0, n - 1].

    Raises:
        ValueError: If the method is unknown, or `arc` or `reach` is missing.
    """
    if method == "half_pixel":
        return np.clip((np.arange(num_points) + 0.5) * num_joints / num_points - 0.5, 0, num_joints - 1)
    if method == "align_corners":
        return np.linspace(0, num_joints - 1, num_points)
    if method in ("arc_length", "landmarks"):
        if arc is None or (reach is None and method == "landmarks"):
            raise ValueError(
                f"{method} interpolation needs the distances of the joints along the chain, and landmarks the reach"
            )
        end = float(arc[-1]) if reach is None else reach
        return np.interp(np.linspace(0, end, num_points), arc, np.arange(num_joints))
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
        arc, reach = (
            _along_body(skeleton, part) if interpolation == "landmarks" else (_lengths(skeleton.rest_pose[chain]), None)
        )
        position = sample_positions(len(chain), patch_size, interpolation, arc, reach)
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


def _along_body(skeleton: Skeleton, part: str) -> tuple[np.ndarray, float]:
    """How far out each joint of a chain lies, in metres along the generic body, and how far the whole limb or torso reaches.

    A limb's distances are measured from the shoulder or hip, so that they do not depend on where on the torso it is hung.
    """
    chain = list(skeleton.chains[part])
    side, _, limb = part.partition("_")
    names = {"leg": LEG_POINTS, "arm": ARM_POINTS}.get(limb)
    line = [BODY_POINTS[point if names is None else f"{side}_{point}"] for point in (names or TORSO_POINTS)]
    along = dict(zip(names or TORSO_POINTS, _lengths(line), strict=True))
    points = [(skeleton.points[joint] or "").removeprefix(f"{side}_") for joint in chain]
    if not all(point in along for point in points[1:]):  # a chain of the user's own
        arc = _lengths(skeleton.rest_pose[chain])
        return arc, float(arc[-1])
    start = _TRUNK_TO_LIMB if names else 0.0
    arc = np.array([0.0 if names else along[points[0]], *(start + along[point] for point in points[1:])])
    return np.maximum.accumulate(arc), start + along[{"leg": "toe", "arm": "fingers"}.get(limb, "head")]


def _lengths(line: Any) -> np.ndarray:
    """Distances along a line of points (n, 3) from its start. Shape (n,)."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(np.asarray(line), axis=0), axis=-1))])


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


def _fill_each(jobs: Sequence[tuple[Any, Any, PatchMap]]) -> None:
    for job in jobs:
        fill_values(*job)


def fill_all(jobs: Sequence[tuple[Any, Any, PatchMap]]) -> None:
    """`fill_values` of many motions; on the CPU by several threads, as the products of NumPy leave the interpreter free."""
    num_threads = min(len(jobs) // 32, _MAX_THREADS)
    if num_threads < 2 or not isinstance(jobs[0][0], np.ndarray):
        _fill_each(jobs)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        share = -(-len(jobs) // num_threads)  # neighbours in memory to one thread
        list(pool.map(_fill_each, [jobs[start : start + share] for start in range(0, len(jobs), share)]))


def num_windows(num_frames: Any, patch_size: int) -> Any:
    """Windows of `patch_size` frames that hold `num_frames` frames, the last one perhaps in part."""
    return -(-num_frames // patch_size)


def window_mask(num_frames: Any, total_windows: int, patch_size: int) -> np.ndarray:
    """1 for each window that holds a real frame: shape (total_windows,), or (B, total_windows) for B numbers of frames; int64."""
    return (np.arange(total_windows) < np.asarray(num_windows(num_frames, patch_size))[..., None]).astype(np.int64)
