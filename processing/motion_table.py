"""Rows of motions by number, without copies: what a loader with shuffled rows needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset


class MotionTable(Sequence[dict[str, Any]]):
    """A data set of motions as dicts, whose joints are views of the memory-mapped file.

    `Dataset` converts a whole row on each access. Here the joints of a row are found by their offsets; the other columns are
    small and are held as Python values from their first use on.

    Args:
        rows: A data set with the columns of `corpora.load_motions`, of which `joints` holds flat lists.

    Raises:
        ValueError: If there is no column `joints` of flat lists.
    """

    def __init__(self, rows: Dataset) -> None:
        column = rows.data.column("joints") if "joints" in rows.column_names else None
        if column is None or not _is_flat(column.type):
            raise ValueError(
                f"expected a column 'joints' of flat lists of numbers, got {'no such column' if column is None else column.type}"
            )
        self.rows = rows
        self._chunks = [_Chunk(chunk) for chunk in column.chunks]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
        indices = rows._indices  # of rows that were selected or shuffled; None: as they lie
        self._places = None if indices is None else indices.column(0).to_numpy()
        self._columns: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: Any) -> Any:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row = int(row) % len(self)
        values = {name: self.column(name)[row] for name in self.rows.column_names if name != "joints"}
        return {"joints": self.joints(row), **values}

    def joints(self, row: int) -> np.ndarray | None:
        """The flat list of a row, not to be written to; `None` where the row has none."""
        place = row if self._places is None else int(self._places[row])
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._chunks[number].read(place - int(self._starts[number]))

    def column(self, name: str) -> list[Any]:
        """All values of another column."""
        if name not in self._columns:
            self._columns[name] = self.rows.with_format(None)[name][:]
        return self._columns[name]

    def __reduce__(self) -> Any:  # the data set knows how to be sent to another process, by its files where it has any
        return MotionTable, (self.rows,)


class _Chunk:
    """Lists of numbers by their offsets."""

    def __init__(self, lists: pa.ListArray) -> None:
        self.offsets = lists.offsets.to_numpy()
        self.values = lists.values.to_numpy(zero_copy_only=False)  # a copy only where single numbers are missing
        self.is_missing = lists.is_null().to_numpy(zero_copy_only=False) if lists.null_count else None

    def read(self, place: int) -> np.ndarray | None:
        if self.is_missing is not None and self.is_missing[place]:
            return None
        return self.values[self.offsets[place] : self.offsets[place + 1]]


def _is_flat(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
