"""What OptiTrack Motive exports as CSV → a `Recording`.

Format: https://docs.optitrack.com/motive/data-export/data-export-csv. A row of settings, an empty one, rows that say for each
column its type, name, ID and (since version 1.25) parent, whether it is a rotation or a position, and its axis; then the frames.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from .persons import choose_person
from .recording import ReadOptions, Recording
from .tables import Rows, is_number, listed, missing_note, read_columns


#: How such a file starts.
MOTIVE_START = "Format Version"

_HEADER_ROWS = 10
_UNITS = {"meters": "metres", "centimeters": "centimetres", "millimeters": "millimetres", "inches": "inches"}


def read_motive(rows: Rows, options: ReadOptions) -> Recording:
    """Read the bones of a skeleton, or the labelled markers of a file without bones.

    Args:
        rows: The table, from its start.
        options: `person`: which skeleton of several: what stands before the colon in the names of its bones.

    Returns:
        The joints at which the bones begin, NaN in empty cells, with the unit and rate that the file states. Rotations are
        those of the bones, if exported as quaternions. The up axis can be chosen on export and is not stated.

    Raises:
        ValueError: If the header is none of Motive's, the bones are relative to their parents, or there are several skeletons
            of which none is chosen.
    """
    settings = _settings(next(rows))
    labels, header = _read_header(rows)
    if settings.get("coordinate space", "global").lower() == "local":
        raise ValueError("its positions are relative to the parent bone (Coordinate Space: Local); export it as Global")
    notes: list[str] = []
    bones = _columns_of("bone", labels, header) or _columns_of("marker", labels, header)
    if not bones:
        raise ValueError(
            f"it has neither bones nor labelled markers, only {listed(sorted(set(labels['type']) - {''}))}; export bones"
        )
    bones = _of_one_person(bones, options.person, notes)

    quaternions = settings.get("rotation type", "").lower() == "quaternion" and all(
        {"rx", "ry", "rz", "w"} <= axes.keys() for axes in bones.values()
    )
    keys = ["x", "y", "z", *(["rx", "ry", "rz", "w"] if quaternions else [])]
    columns = [axes[key] for axes in bones.values() for key in keys]
    others = [column for column in range(2, len(header)) if labels["type"][column] and column not in set(columns)]
    if others:
        kinds = Counter(f"{labels['type'][column]} {labels['kind'][column]}".strip() for column in others)
        notes.append(f"left out {len(others)} columns: {listed(sorted(kinds))}")
    values, _ = read_columns(rows, header, columns)
    table = values.reshape(len(values), len(bones), len(keys))
    positions = np.ascontiguousarray(table[..., :3])
    notes += missing_note(positions)
    return Recording(
        [name.rpartition(":")[2] for name in bones],
        positions,
        None,
        fps=_rate(settings),
        unit=_UNITS.get(settings.get("length units", "").lower()),
        rotations=_unit_quaternions(table[..., 3:]) if quaternions else None,
        notes=notes,
    )


def _settings(row: Sequence[str]) -> dict[str, str]:
    """The first row holds names and values by turns."""
    return {name.strip().lower(): value.strip() for name, value in zip(row[::2], row[1::2], strict=False)}


def _rate(settings: dict[str, str]) -> float | None:
    for name in ("export frame rate", "capture frame rate"):
        text = settings.get(name, "")
        if text and is_number(text) and 0 < float(text) < np.inf:
            return float(text)
    return None


def _read_header(rows: Rows) -> tuple[dict[str, list[str]], list[str]]:
    """For each column its "type", "name" and "kind" (rotation or position), and the header: Frame, Time, X, Y, Z, ..."""
    above: list[list[str]] = []
    for row in islice(rows, _HEADER_ROWS):
        cells = [cell.strip() for cell in row]
        if cells[0].lower() == "frame":
            break
        above.append(cells)
    else:
        raise ValueError(
            f"none of the {_HEADER_ROWS} rows below the settings starts with Frame; export it with header information"
        )
    labels = {cell.lower(): row for row in above for cell in row[:2] if cell}
    if not {"type", "name"} <= set(labels):
        raise ValueError("its header has no rows Type and Name; export it with header information")
    padding = [""] * len(cells)
    found = {name: (labels[name] + padding)[: len(cells)] for name in ("type", "name")}
    return {**found, "kind": (above[-1] + padding)[: len(cells)]}, cells


def _columns_of(wanted: str, labels: dict[str, list[str]], header: Sequence[str]) -> dict[str, dict[str, int]]:
    """Name → columns x, y, z of the position, and rx, ry, rz, w of the rotation. Motive calls what it cannot name Unlabeled."""
    found: dict[str, dict[str, int]] = {}
    for column in range(2, len(header)):
        name, axis = labels["name"][column], header[column].lower()
        kind = labels["kind"][column].lower()
        if labels["type"][column].lower() != wanted or re.match(r"unlabell?ed", name, re.IGNORECASE):
            continue
        if kind in ("position", "rotation") and re.fullmatch("[xyzw]", axis):
            axes = found.setdefault(name, {})
            key = f"r{axis}" if kind == "rotation" and axis != "w" else axis
            if key in axes:
                raise ValueError(f"it has two columns for {kind} {axis} of {name[:40]!r}; export it again")
            axes[key] = column
    return {name: axes for name, axes in found.items() if {"x", "y", "z"} <= set(axes)}


def _of_one_person(
    bones: dict[str, dict[str, int]], person: str | int | None, notes: list[str]
) -> dict[str, dict[str, int]]:
    counts = Counter(name.rpartition(":")[0] for name in bones)
    names = list(counts)
    chosen = names[choose_person(names, [f"{count} joints" for count in counts.values()], person, "skeleton")]
    if len(names) > 1:
        notes.append(f"read skeleton {chosen!r}; left out {listed([name for name in names if name != chosen])}")
    return {name: axes for name, axes in bones.items() if name.rpartition(":")[0] == chosen}


def _unit_quaternions(rotations: np.ndarray) -> np.ndarray:
    """Of length 1, as far as they have one: cells are rounded. NaN for those of length 0."""
    length = np.linalg.norm(rotations, axis=-1, keepdims=True)
    return np.divide(rotations, length, out=np.full_like(rotations, np.nan), where=length > 0)
