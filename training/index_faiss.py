"""The FAISS side of an index: which structure each kind is, and how hard it searches."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars


#: Kind → its settings with their defaults. `None`: chosen by the number of motions.
KINDS: dict[str, dict[str, int | None]] = {
    "flat": {},
    "ivf": {"nlist": None, "nprobe": None, "refine": 32},
    "hnsw": {"m": 32, "ef_construction": 64, "ef_search": 128},
}
# From here on the lists of an IVF index hold codes of 4 bits for two dimensions, and the best are scored again exactly.
_COMPRESS_FROM = 50_000
_POINTS_PER_LIST = 64  # to train with
BLOCK = 65_536  # rows that exact search scores at once


def check_kind(kind: str, settings: Mapping[str, int] | None = None) -> None:
    """Raise a `ValueError` unless there is such a kind with such settings; an `ImportError` where FAISS is missing."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of index {kind!r}; known: {', '.join(KINDS)}")
    for name, value in (settings or {}).items():
        if name not in KINDS[kind]:
            known = ", ".join(KINDS[kind]) or "none"
            raise ValueError(f"an index of kind {kind!r} has no setting {name!r}; it has: {known}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"setting {name} must be a whole number above 0, got {value!r}")
    import_faiss()


def import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError("an index needs FAISS: pip install 'motionpatches[search]'") from error
    return faiss


def settle(kind: str, settings: Mapping[str, int], num: int) -> dict[str, int]:
    """The settings that an index of so many vectors gets."""
    found = {name: settings.get(name, default) for name, default in KINDS[kind].items()}
    if kind == "ivf":
        nlist = min(found["nlist"] or math.isqrt(num), num) or 1
        found |= {"nlist": nlist, "nprobe": min(found["nprobe"] or max(nlist // 16, 8), nlist)}
    return {name: value for name, value in found.items() if value is not None}


def make_empty(vectors: np.ndarray, kind: str, settings: Mapping[str, int], seed: int = 0) -> Any:
    """A FAISS index by inner product, trained where its kind needs that, without vectors in it.

    Args:
        vectors: What it is for, shape (N, D), float32.
        kind: A key of `KINDS`.
        settings: What `settle` found.
        seed: Of the vectors that it is trained with.
    """
    faiss = import_faiss()
    num, size = vectors.shape
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.index_factory(size, "Flat", metric)
    if kind == "hnsw":
        index = faiss.index_factory(size, f"HNSW{settings['m']},Flat", metric)
        index.hnsw.efConstruction = settings["ef_construction"]
        return index
    nlist = settings["nlist"]
    is_compressed = num >= _COMPRESS_FROM and size % 2 == 0
    codes = f"PQ{size // 2}x4fs,RFlat" if is_compressed else "Flat"
    index = faiss.index_factory(size, f"IVF{nlist},{codes}", metric)
    lists = faiss.extract_index_ivf(index.base_index if is_compressed else index)
    lists.cp.min_points_per_centroid = 1  # no warning: a small index has lists that are small
    lists.cp.seed = seed
    sample = min(num, max(_POINTS_PER_LIST * nlist, _COMPRESS_FROM))
    chosen = np.sort(np.random.default_rng(seed).choice(num, sample, replace=False))
    index.train(vectors[chosen])
    return index


def set_effort(index: Any, settings: Mapping[str, int], top_k: int = 1) -> None:
    """Let an index search as hard as its settings say, and hard enough for so many hits."""
    faiss = import_faiss()
    if "ef_search" in settings:
        index.hnsw.efSearch = max(settings["ef_search"], top_k)
    if "nprobe" in settings:
        base = index
        if isinstance(index, faiss.IndexRefine):
            index.k_factor = settings["refine"]
            base = index.base_index
        faiss.extract_index_ivf(base).nprobe = settings["nprobe"]


@contextmanager
def quietly() -> Iterator[None]:
    """Without the progress bars of `datasets`, which there is one of for each call."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def exact_search(
    vectors: np.ndarray, queries: np.ndarray, top_k: int, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The best vectors by inner product, all of them looked at.

    Args:
        vectors: Shape (N, D), float32.
        queries: Shape (Q, D), float32.
        top_k: How many.
        among: Row numbers to choose from, in ascending order; default all.

    Returns:
        Scores and row numbers, both (Q, min(top_k, number to choose from)), best first; of equal scores the first row.
    """
    num = len(vectors) if among is None else len(among)
    best_scores = np.empty((len(queries), 0), np.float32)
    best_rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, num, BLOCK):
        rows = np.arange(start, min(start + BLOCK, num)) if among is None else among[start : start + BLOCK]
        part = vectors[start : start + len(rows)] if among is None else vectors[rows]
        scores = np.concatenate([best_scores, queries @ part.T], axis=1)
        places = np.concatenate([best_rows, np.broadcast_to(rows, (len(queries), len(rows)))], axis=1)
        order = _best(scores, top_k)
        best_scores, best_rows = np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
    return best_scores, best_rows


def _best(scores: np.ndarray, top_k: int) -> np.ndarray:
    """Columns of the best scores of each row (Q, N), best first; of equal scores the first column."""
    if scores.shape[1] <= top_k:
        return np.argsort(-scores, axis=1, kind="stable")
    bar = np.partition(scores, -top_k, axis=1)[:, -top_k]
    chosen = np.empty((len(scores), top_k), np.int64)
    for row, (values, least) in enumerate(zip(scores, bar, strict=True)):
        candidates = np.flatnonzero(values >= least)
        chosen[row] = candidates[np.argsort(-values[candidates], kind="stable")][:top_k]
    return chosen
