"""Rows with embeddings, and the FAISS index by which the nearest are found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable

from .index_faiss import check_kind, exact_search, make_empty, quietly, set_effort, settle
from .index_filters import Where, matching_rows
from .index_rows import EMBEDDING, to_matrix


_ADDED_AT_ONCE = 10_000
_REGROWN = 2  # an IVF index is trained anew when it has grown by this factor


class VectorIndex:
    """Rows, of which those whose embeddings are most like a query are found.

    The FAISS index is made when it is first needed. It is that of a `datasets.Dataset`.

    Args:
        table: N rows with the columns `key`, what an embedding is of, and `embedding`, lists of D numbers, of unit length.
        kind: `"flat"` looks at all rows; `"ivf"` at the lists of those that are near; `"hnsw"` follows a graph of neighbours.
        settings: Of `"ivf"`: `nlist`, the lists, `nprobe`, how many are looked at, and `refine`, how many times as many as asked
            for are scored again exactly where a large index holds compressed vectors. Of `"hnsw"`: `m`, `ef_construction` and
            `ef_search`. The more of each, the better and slower.

    Raises:
        ValueError: If there is no such kind or setting.
        ImportError: If FAISS is not installed.
    """

    def __init__(self, table: pa.Table | None, kind: str = "flat", settings: Mapping[str, int] | None = None) -> None:
        check_kind(kind, settings)
        self.kind = kind
        self.settings = dict(settings or {})
        self._table = None if table is None else table.combine_chunks()
        self._vectors: np.ndarray | None = None
        self._rows: Dataset | None = None  # with the FAISS index; None while it does not hold all rows
        self._faiss: Any = None
        self._trained_with = 0

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    @property
    def table(self) -> pa.Table:
        """All rows with all columns."""
        return self._table

    @property
    def vectors(self) -> np.ndarray:
        """The embeddings, shape (N, D), float32."""
        if self._vectors is None:
            self._vectors = to_matrix(self.table)
        return self._vectors

    @property
    def used_settings(self) -> dict[str, int]:
        """All settings of the kind, with those that follow from the number of rows."""
        return settle(self.kind, self.settings, self._trained_with or len(self))

    def search_vectors(
        self, queries: np.ndarray, top_k: int = 10, where: Where = None, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows of highest inner product with each of Q embeddings.

        FAISS takes as many threads as the machine has cores, or as the environment variable `OMP_NUM_THREADS` says. Where other
        programs keep the cores busy, one thread is faster.

        Args:
            queries: Shape (Q, D), float32.
            top_k: How many.
            where: Conditions on columns, all of which a row meets, such as `"duration > 2"`; see `index_filters.matching_rows`.
                All rows that meet them are looked at, so that what is found is the best of these.
            exact: Look at all rows, whatever the kind.

        Returns:
            Scores and row numbers, both (Q, min(top_k, rows that meet the conditions)), best first.

        Raises:
            ValueError: If the queries have another shape, there are no rows, `top_k` is below 1, or a condition cannot be
                understood.
        """
        if not len(self):
            raise ValueError("the index is empty; add motions first")
        if top_k < 1:
            raise ValueError(f"top_k is {top_k!r}; expected at least 1")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"queries have shape {queries.shape}; expected (number, {self.vectors.shape[1]})")
        if where is not None:
            among = matching_rows(self.table.drop_columns([EMBEDDING]), where)
            return exact_search(self.vectors, queries, top_k, among)
        wanted = min(top_k, len(self))
        if exact:
            return exact_search(self.vectors, queries, wanted)
        rows = self.build()
        set_effort(self._faiss, self.used_settings, wanted)
        found = rows.search_batch(EMBEDDING, queries, wanted)
        scores, places = np.asarray(found.total_scores), np.asarray(found.total_indices)
        short = np.flatnonzero((places < 0).any(axis=1))  # the lists that were looked at hold too few
        if len(short):
            scores[short], places[short] = exact_search(self.vectors, queries[short], wanted)
        return scores, places

    def measure_recall(self, queries: np.ndarray, top_k: int = 10) -> float:
        """The share of the exact best `top_k` that the FAISS index finds, over queries (Q, D): from 0 to 1."""
        _, found = self.search_vectors(queries, top_k)
        _, expected = self.search_vectors(queries, top_k, exact=True)
        return float(np.mean([np.isin(one, other).mean() for one, other in zip(expected, found, strict=True)]))

    def change_kind(self, kind: str, settings: Mapping[str, int] | None = None) -> None:
        """Take another kind or other settings; the FAISS index is made anew where they decide how it is made.

        Raises:
            ValueError: If there is no such kind or setting.
        """
        check_kind(kind, settings)
        old = self.kind, self.settings
        self.kind, self.settings = kind, dict(settings or {})
        if _decides_making(*old) != _decides_making(self.kind, self.settings):
            self._forget_faiss()

    def build(self) -> Dataset:
        """The rows as a `Dataset` with a FAISS index of the column `embedding` that holds all of them."""
        if self._rows is not None:
            return self._rows
        if self._faiss is None:
            self._trained_with = len(self)
            self._faiss = make_empty(self.vectors, self.kind, self.used_settings)
        rows = Dataset(InMemoryTable(self.table))
        added = self.vectors[self._faiss.ntotal :]
        with quietly():
            rows.add_faiss_index_from_external_arrays(added, EMBEDDING, custom_index=self._faiss, batch_size=_ADDED_AT_ONCE)
        self._rows = rows
        return rows

    def _replace_table(self, table: pa.Table) -> None:
        """Take other rows. A FAISS index that holds the first of them is kept, for the others to be added to."""
        if self._faiss is not None:
            held = self._faiss.ntotal
            old, new = (rows["key"].slice(0, held).to_pylist() for rows in (self.table, table))
            if old != new or (self.kind == "ivf" and len(table) >= _REGROWN * self._trained_with):
                self._forget_faiss()
        self._table, self._vectors, self._rows = table.combine_chunks(), None, None

    def _forget_faiss(self) -> None:
        self._faiss, self._rows, self._trained_with = None, None, 0

    def _load_faiss(self, file: Path, trained_with: int) -> None:
        """Take the FAISS index of these rows from a file.

        Raises:
            ValueError: If it is of other rows.
        """
        rows = Dataset(InMemoryTable(self.table))
        rows.load_faiss_index(EMBEDDING, str(file))
        index = rows.get_index(EMBEDDING).faiss_index
        if (index.ntotal, index.d) != self.vectors.shape:
            raise ValueError(
                f"{file} holds {index.ntotal} vectors of {index.d} numbers, and the rows beside it {len(self)} of "
                f"{self.vectors.shape[1]}; copy the index again, or make it anew"
            )
        self._rows, self._faiss, self._trained_with = rows, index, trained_with


def _decides_making(kind: str, settings: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """What the making of a FAISS index depends on, and not only the search in it."""
    return kind, {name: value for name, value in settings.items() if name not in ("nprobe", "refine", "ef_search")}
