"""Text tables, CSV or TSV, row by row: cells, numbers, columns of positions and of time."""

import csv
import itertools
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np

from .persons import check_output_size


#: The most columns of a table and the longest line.
MAX_COLUMNS = 20_000
MAX_LINE_CHARACTERS = 1024**2

_MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "-"))
_SHOWN = 5


def sniff(sample: str) -> tuple[str, str]:
    """Delimiter (tab, semicolon, comma or bar) and decimal sign of a table that starts so.

    `csv.Sniffer` is not asked, because it takes a decimal comma for a delimiter.
    """
    lines = [line for line in sample.splitlines() if line.strip()][:20]
    delimiter = next((sign for sign in "\t;,|" if sign in lines[0]), ",")
    decimal_comma = re.compile(r'\s*"?[-+]?\d*,\d+(e[-+]?\d+)?"?\s*', re.IGNORECASE)
    commas = delimiter != "," and any(decimal_comma.fullmatch(cell) for line in lines for cell in line.split(delimiter))
    return delimiter, "," if commas else "."


def to_number(cell: str, decimal: str = ".") -> float:
    """The number in a cell; NaN for a cell that says that there is none. ValueError for anything else."""
    if cell.strip().lower() in _MISSING:
        return math.nan
    return float(cell.replace(",", ".", 1) if decimal == "," else cell)


def is_number(cell: str, decimal: str = ".") -> bool:
    try:
        to_number(cell, decimal)
    except ValueError:
        return False
    return True


def listed(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(name[:40] for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


class Rows:
    """The rows of a table, with their line numbers. Rows without any content are passed over.

    Raises:
        ValueError: While iterating, if a line is longer than `MAX_LINE_CHARACTERS` or has more cells than `MAX_COLUMNS`.
    """

    def __init__(self, stream: TextIO, delimiter: str, decimal: str) -> None:
        self.decimal = decimal
        self._reader = csv.reader(_bounded_lines(stream), delimiter=delimiter)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        for row in self._reader:
            if len(row) > MAX_COLUMNS:
                raise ValueError(f"line {self.line} has {len(row)} cells; the limit is {MAX_COLUMNS}")
            if any(cell and not cell.isspace() for cell in row):
                return row
        raise StopIteration

    def under(self, header: Sequence[str]) -> Iterator[list[str]]:
        """The rows that follow, none of which may be longer than the header."""
        for row in self:
            if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                raise ValueError(
                    f"line {self.line} has {len(row)} cells, but the header has {len(header)}; export the table again"
                )
            yield row

    def numbers(self, row: Sequence[str], columns: Sequence[int]) -> list[float]:
        """The numbers of some columns; NaN where the row has no such cell or an empty one."""
        try:
            return [float(row[column]) for column in columns]
        except (ValueError, IndexError):  # an empty cell, a decimal comma, or an error that `_number` words
            return [self._number(row[column] if column < len(row) else "") for column in columns]

    def _number(self, cell: str) -> float:
        try:
            return to_number(cell, self.decimal)
        except ValueError:
            raise ValueError(
                f"line {self.line}: {cell.strip()[:40]!r} is no number; correct the cell or leave it empty"
            ) from None


def _bounded_lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise ValueError(f"a line is longer than {MAX_LINE_CHARACTERS} characters; this is no table of joint positions")
        yield line


def read_columns(
    rows: Rows, header: Sequence[str], columns: Sequence[int], time: int | None = None, first: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Some columns of all rows that follow.

    Args:
        rows: At the first row under the header.
        header: The header.
        columns: Indices of C columns.
        time: Index of one more column, which is returned by itself.
        first: A row before the others.

    Returns:
        Numbers of shape (T, C), float32, and times of shape (T,), float64, empty without a time column. NaN where there is
        none, or an infinite one.

    Raises:
        ValueError: If there is no row, a cell is no number, or the numbers would need too much memory.
    """
    values, times = array("f"), array("d")
    num_rows = 0
    for row in itertools.chain([] if first is None else [first], rows.under(header)):
        values.extend(rows.numbers(row, columns))
        if time is not None:
            times.extend(rows.numbers(row, [time]))
        num_rows += 1
        if num_rows % 4096 == 0:
            check_output_size(num_rows, -(-len(columns) // 3))
    if num_rows == 0:
        raise ValueError("it has a header, but no rows of numbers; export the motion again")
    table = np.frombuffer(values, np.float32).reshape(num_rows, len(columns))
    table[np.isinf(table)] = np.nan
    return table, np.frombuffer(times, np.float64)


def missing_note(positions: np.ndarray) -> list[str]:
    """A note that counts the cells without a number, if there are any."""
    missing = int(np.isnan(positions).sum())
    return [f"{missing} of {positions.size} cells hold no number"] if missing else []


# ---- time ---------------------------------------------------------------------------------------------------------------

_SECONDS_PER = {
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "milliseconds": 1e-3,
    "us": 1e-6,
    "microseconds": 1e-6,
    "usec": 1e-6,
}
_TIME = re.compile(
    rf"(timestamp|time|t)?[\s_]*[\[(]?({'|'.join(sorted(_SECONDS_PER, key=len, reverse=True))})?[\])]?", re.IGNORECASE
)


def time_unit(name: str) -> float | None:
    """Seconds per unit of a column of that name: `Time (Seconds)` → 1, `timestamp_ms` → 0.001, `time` → NaN (not said);
    `None` for a column that is no time.
    """
    match = _TIME.fullmatch(name.strip())
    if match is None or not (match[1] or (match[2] or "").startswith("sec")):
        return None
    return _SECONDS_PER[match[2].lower()] if match[2] else math.nan


def fps_of_times(times: np.ndarray, seconds_per_unit: float, notes: list[str]) -> float | None:
    """Frames per second, from the usual step of times (T,); `None`, with a note, where it cannot be told.

    Times of an unknown unit (NaN) are taken as seconds if they go up by less than 1, else as milliseconds if by less than 1000.
    """
    steps = np.diff(times)
    steps = steps[np.isfinite(steps)]
    if len(steps) == 0:
        return None
    median = float(np.median(steps))
    if math.isnan(seconds_per_unit):
        if median >= 1000 or median == 1:
            notes.append(f"its times go up by {median:.6g}, in no known unit; pass fps=...")
            return None
        seconds_per_unit = 1.0 if median < 1 else 1e-3
        if median > 1:
            notes.append(f"its times go up by {median:.6g} and are taken as milliseconds")
    if median <= 0:
        notes.append("its times do not go up, so they tell no frame rate; pass fps=...")
        return None
    # The mean of the usual steps, as times that are rounded (0.008, 0.017, 0.025) have a median of their own.
    step = float(steps[np.abs(steps - median) <= 0.5 * median].mean())
    irregular = int((np.abs(steps - step) > 0.05 * step).sum())
    if irregular:
        notes.append(
            f"{irregular} of {len(steps)} time steps differ from the usual one by over 5 %; the frames are read as they follow"
        )
    fps = 1 / (step * seconds_per_unit)
    return fps if math.isfinite(fps) else None
