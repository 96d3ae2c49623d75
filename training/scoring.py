"""Cosine similarities that are exact: a score depends on its two embeddings alone.

A matrix product rounds its sums in an order that changes with the shape of the matrices, the position in them, the number of
threads and the device, so that two equal embeddings may get scores that differ in the last bit, which breaks their tie. Here
the entries of unit rows are rounded to multiples of 2^-26, finer than the noise of a network that computes in float32. Products
are then multiples of 2^-52, and every partial sum is below 2 (Cauchy and Schwarz): float64 holds all of them without rounding.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import torch


_GRID = 2.0**26
#: Scores held at a time where no chunk size is given: 64 MiB of float64, and some arrays of its size beside it.
_SCORES_AT_ONCE = 2**23


def unit_rows(embeds: Any, name: str) -> torch.Tensor:
    """Rows of length one on the grid, shape (N, D), float64: on the GPU that `embeds` is on, else on the CPU.

    They are computed on the CPU, so that every device gets the same. Apple's GPUs have no float64 and are not used.

    Raises:
        ValueError: If `embeds` is no matrix, a row is zero, or a value is not finite; the message calls it `name`.
    """
    rows = matrix(embeds, name, "(N, D)")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds infinite values; expected finite numbers")
    # Dividing by the largest entry first keeps the squares of very large or very small rows in range.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        raise ValueError(f"{name} has {len(zero)} zero rows, the first at index {zero[0]}; a zero row has no direction")
    rows = rows / largest
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    device = getattr(embeds, "device", None)
    on_gpu = isinstance(device, torch.device) and device.type == "cuda"
    return torch.from_numpy(np.rint(rows * _GRID) / _GRID).to(device if on_gpu else "cpu")


def score_chunks(queries: torch.Tensor, gallery: torch.Tensor, chunk_size: int | None) -> Iterator[tuple[int, torch.Tensor]]:
    """Cosines of some queries at a time, for unit rows (Q, D) and (G, D): their first index and scores of shape (chunk, G).

    The next chunk is written over the last one.
    """
    size = min(chunk_size or max(1, _SCORES_AT_ONCE // len(gallery)), len(queries))
    columns = gallery.to(queries.device).T
    buffer = queries.new_empty(size, len(gallery))
    for start in range(0, len(queries), size):
        chunk = queries[start : start + size]
        yield start, torch.mm(chunk, columns, out=buffer[: len(chunk)])


def check_chunk_size(chunk_size: int | None) -> None:
    """Raise a ValueError for a size below 1."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; expected at least 1, or None")


def matrix(values: Any, name: str, expected: str) -> np.ndarray:
    """A matrix as float64, C-contiguous, of a numpy array, lists, or a torch tensor on any device.

    Raises:
        ValueError: If it has another number of axes, no row or no column, or holds NaN; the message calls it `name`.
    """
    array = to_numpy(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {expected} with at least one row and one column")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if np.isnan(array).any():
        rows = np.flatnonzero(np.isnan(array).any(axis=1))
        raise ValueError(f"{name} holds NaN in {len(rows)} rows, the first at index {rows[0]}; expected numbers")
    return array


def to_numpy(values: Any) -> np.ndarray:
    """A numpy array of anything like one, also of a torch tensor on a device, in bfloat16, or with a gradient."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def number_values(values: Sequence[Hashable]) -> np.ndarray:
    """The same small integer for equal values, in the order of their first appearance. Shape (N,)."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
