"""Embeddings with ties, and every order of the items that their scores allow."""

from itertools import pairwise, permutations

import numpy as np


def tied_embeds(num: int, dim: int, seed: int, distinct: int) -> np.ndarray:
    """Random rows, of which only `distinct` differ, so that many scores tie."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(distinct, dim))[rng.integers(distinct, size=num)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return round(float(a @ b / np.sqrt((a @ a) * (b @ b))), 9)


def all_orders(scores: list[float]) -> list[tuple[int, ...]]:
    """Every order of the items, best first, that the scores allow."""
    items = range(len(scores))
    return [order for order in permutations(items) if all(scores[i] >= scores[j] for i, j in pairwise(order))]
