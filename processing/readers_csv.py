"""Tables of joint positions, CSV or TSV, → a `Recording`: a column for each coordinate, or a row for each joint."""

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from .motive_tables import MOTIVE_START, read_motive
from .persons import check_output_size, choose_person
from .recording import ReadOptions, Recording
from .tables import Rows, fps_of_times, is_number, listed, missing_note, read_columns, sniff, time_unit


#: The most joints, persons and frames of a table with a row for each joint.
MAX_JOINTS = 1000
MAX_PERSONS = 1000
MAX_FRAMES = 10_000_000

_SAMPLE_BYTES = 65_536
_UNITS = {"m": "metres", "cm": "centimetres", "mm": "millimetres", "in": "inches"}

# `Head_x`, `Head.X`, `Head X`, `head:x`, `HeadX`, `Head_pos_x (mm)`.
_AXIS_LAST = re.compile(
    r"(?P<joint>.*?)(?:[\s_.:/\-]*(?:(?<![a-zA-Z])|(?=[A-Z]))(?i:position|pos|location|loc|coord))?[\s_.:/\-\[(|]*(?P<axis>[xyzXYZ])[\])]?"
    r"(?:[\s_]*[\[(](?P<unit>mm|cm|m|in)[\])])?"
)
# `x_Head`, `x0`.
_AXIS_FIRST = re.compile(r"(?P<axis>[xyzXYZ])[\s_.:/\-|]*(?P<joint>\w.*?)(?P<unit>)")
# The last word of what is no joint: Head_rot_x, HeadVelX.
_NO_POSITION = re.compile(
    r"(?:^|[\s_.:/\-]|(?<=[a-z])(?=[A-Z]))(?i:q|quat|quaternion|rot|rotation|euler|ori|orientation|angle|vel|velocity|acc|acceleration)$"
)
_COLUMNS = {
    "frame": {"frame", "frames", "frameid", "frameindex", "framenumber", "frameno", "framenum", "fieldnumber", "index"},
    "joint": {
        "joint",
        "jointname",
        "jointid",
        "marker",
        "markername",
        "keypoint",
        "bone",
        "landmark",
        "landmarkid",
        "label",
        "name",
    },
    "person": {"person", "personid", "body", "bodyid", "subject", "subjectid", "trackid", "trackingid", "actor"},
    **{axis: {axis, f"pos{axis}", f"position{axis}"} for axis in "xyz"},
}


def read_csv(path: Path, options: ReadOptions) -> Recording:
    """Read a table of joint positions.

    Three forms are understood: a column for each coordinate (`Head_x`, `Head.Y`, `Head Z`, `HeadX`, `x_Head`, ...); a row for
    each joint of each frame (columns frame or time, joint, x, y, z, and perhaps person); and what OptiTrack Motive exports,
    see `motive_tables.read_motive`. Delimiter (comma, semicolon, tab, bar) and decimal comma are told from the file.

    Args:
        path: The file: text, UTF-8 or Latin-1.
        options: `skeleton`: for numbers without a header, what their J * 3 columns are. `person`: of a table of several.

    Returns:
        The joints, NaN where a cell is empty; no parents, so that names decide. Frames per second if there is a time column;
        the unit if the column names state it, `Head_x (mm)`. Columns that are no positions are named in the notes.

    Raises:
        ValueError: If a cell is no number, a row has more cells than the header, no columns make joints, there are several
            persons of which none is chosen, or the table is too large. Rows are named by their line.
    """
    try:
        with path.open(encoding=_encoding(path), errors="replace", newline="") as stream:
            return _read(stream, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        raise ValueError(f"{path}: not a readable table ({str(error) or type(error).__name__}); export it again") from error


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # what spreadsheets call Unicode text
        return "utf-16"
    try:
        head[: head.rfind(b"\n") + 1 or len(head)].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _read(stream: TextIO, options: ReadOptions) -> Recording:
    sample = stream.read(_SAMPLE_BYTES)
    if not sample.strip():
        raise ValueError("it is empty; expected a table with a header row")
    stream.seek(0)
    if sample.lstrip().startswith(MOTIVE_START):
        return read_motive(Rows(stream, ",", "."), options)
    rows = Rows(stream, *sniff(sample))
    header = [cell.strip() for cell in next(rows)]
    if all(is_number(cell, rows.decimal) for cell in header):
        return _read_headerless(rows, header, options)
    found = _columns_by_meaning(header)
    if {"joint", "x", "y", "z"} <= set(found):
        return _read_long(rows, header, found, options)
    return _read_wide(rows, header, found)


def _columns_by_meaning(header: Sequence[str]) -> dict[str, int]:
    """Keys of `_COLUMNS`, and "time" → column."""
    found: dict[str, int] = {}
    for column, name in enumerate(header):
        plain = re.sub(r"[\s_#.:]", "", name).lower()
        for meaning, names in _COLUMNS.items():
            if plain in names:
                found.setdefault(meaning, column)
        if time_unit(name) is not None:
            found.setdefault("time", column)
    return found


def _fps(times: np.ndarray, header: Sequence[str], found: dict[str, int], notes: list[str]) -> float | None:
    unit = time_unit(header[found["time"]]) if "time" in found else None
    return None if unit is None else fps_of_times(times, unit, notes)


# ---- a column for each coordinate -----------------------------------------------------------------------------------------


def _read_wide(rows: Rows, header: list[str], found: dict[str, int]) -> Recording:
    joints, unit = _joint_columns(header)
    if not joints:
        raise ValueError(
            f"its columns {listed(header)} make no joints; expected three for each, such as Head_x, Head_y, Head_z, or the "
            "columns frame, joint, x, y, z"
        )
    columns = [column for axes in joints.values() for column in axes]
    understood = {*columns, *(found[meaning] for meaning in ("frame", "time") if meaning in found)}
    ignored = [name for column, name in enumerate(header) if name and column not in understood]
    notes = [f"left out {len(ignored)} columns that are no positions: {listed(ignored)}"] if ignored else []
    values, times = read_columns(rows, header, columns, found.get("time"))
    notes += missing_note(values)
    fps = _fps(times, header, found, notes)
    return Recording(list(joints), values.reshape(len(values), len(joints), 3), None, fps, unit, notes=notes)


def _joint_columns(header: Sequence[str]) -> tuple[dict[str, list[int]], str | None]:
    """Joint name → its columns x, y, z, in the order of the header; and the unit, if the columns agree on one."""
    for pattern in (_AXIS_LAST, _AXIS_FIRST):
        found: dict[str, dict[str, int]] = {}
        units = {}
        for column, name in enumerate(header):
            match = pattern.fullmatch(name)
            if match is None or not match["joint"] or _NO_POSITION.search(match["joint"]):
                continue
            axes = found.setdefault(match["joint"], {})
            if match["axis"].lower() in axes:
                raise ValueError(
                    f"it has two columns for {match['axis'].lower()} of {match['joint'][:40]!r}; rename one of them"
                )
            axes[match["axis"].lower()] = column
            units[match["joint"]] = _UNITS.get(match["unit"] or "")
        joints = {joint: [axes[axis] for axis in "xyz"] for joint, axes in found.items() if len(axes) == 3}
        if joints:
            stated = {units[joint] for joint in joints}
            return joints, stated.pop() if len(stated) == 1 else None
    return {}, None


def _read_headerless(rows: Rows, first: list[str], options: ReadOptions) -> Recording:
    skeleton = options.skeleton
    if skeleton is None or len(first) != 3 * skeleton.num_joints:
        wanted = (
            ""
            if skeleton is None
            else f"; skeleton {skeleton.name!r} has {skeleton.num_joints} joints, {3 * skeleton.num_joints}"
        )
        hint = (
            "one row for each joint of each frame needs the columns frame, joint, x, y, z"
            if len(first) == 3
            else ("pass skeleton=... for rows of J * 3 numbers")
        )
        raise ValueError(
            f"it has no header, and rows of {len(first)} numbers{wanted}; add a header such as Head_x, Head_y, Head_z; {hint}"
        )
    values, _ = read_columns(rows, first, range(len(first)), first=first)
    names = skeleton.joint_names[: skeleton.num_joints]
    positions = values.reshape(len(values), len(names), 3)
    return Recording(names, positions, None, skeleton=skeleton, notes=missing_note(values))


# ---- a row for each joint -----------------------------------------------------------------------------------------------


class _Index:
    """Numbers for names, in the order of first appearance; a limited count of them."""

    def __init__(self, what: str, limit: int) -> None:
        self.keys: list[str | float] = []
        self._numbers: dict[str | float, int] = {}
        self._what, self._limit = what, limit

    def number(self, key: str | float) -> int:
        number = self._numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            if number == self._limit:
                raise ValueError(f"it has more than {self._limit} {self._what}; split the motion")
            self.keys.append(key)
        return number


def _read_long(rows: Rows, header: list[str], found: dict[str, int], options: ReadOptions) -> Recording:
    key = found.get("frame", found.get("time"))
    if key is None:
        raise ValueError("it has a row for each joint, but no column frame or time; add one")
    columns = [key, found.get("time", key), *(found[axis] for axis in "xyz")]
    frames, joints, persons = _Index("frames", MAX_FRAMES), _Index("joints", MAX_JOINTS), _Index("persons", MAX_PERSONS)
    places, numbers, times = array("q"), array("f"), array("d")
    for row in rows.under(header):
        frame, time, *xyz = rows.numbers(row, columns)
        joint = _text(row, found["joint"])
        if frame != frame or not joint:
            raise ValueError(f"line {rows.line} has no {header[key] if joint else header[found['joint']]}; fill the cell")
        places.extend((frames.number(frame), joints.number(joint), persons.number(_text(row, found.get("person")))))
        numbers.extend(xyz)
        if len(frames.keys) > len(times):
            times.append(time)
    if not numbers:
        raise ValueError("it has a header, but no rows of numbers; export the motion again")

    order = np.argsort(np.array(frames.keys), kind="stable")
    table = np.frombuffer(places, np.int64).reshape(-1, 3)
    table[:, 0] = np.argsort(order)[table[:, 0]]  # frames by their place in time
    counts = np.bincount(table[:, 2], minlength=len(persons.keys))
    names = [str(name) for name in persons.keys]
    person = choose_person(names, [f"{count} rows" for count in counts], options.person)
    notes = []
    if len(names) > 1:
        notes.append(
            f"read person {names[person]!r}; left out {len(table) - counts[person]} rows of {len(names) - 1} others"
        )
    mine = table[:, 2] == person
    positions, first = _scatter(table[mine, :2], np.frombuffer(numbers, np.float32).reshape(-1, 3)[mine], joints.keys)
    after = len(order) - first - len(positions)
    if first or after:
        notes.append(
            f"cut {first} frames at the start and {after} at the end, in which person {names[person]!r} is not seen"
        )
    notes += missing_note(positions)
    fps = _fps(np.frombuffer(times, np.float64)[order], header, found, notes)
    return Recording([str(joint) for joint in joints.keys], positions, None, fps, notes=notes)


def _text(row: Sequence[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _scatter(table: np.ndarray, numbers: np.ndarray, joints: Sequence[str | float]) -> tuple[np.ndarray, int]:
    """Rows of (frame, joint), shape (R, 2), and their positions (R, 3) → positions of shape (T, J, 3), and the first frame."""
    first = int(table[:, 0].min())
    num_frames = int(table[:, 0].max()) - first + 1
    check_output_size(num_frames, len(joints))
    places = (table[:, 0] - first) * len(joints) + table[:, 1]
    unique = len(np.unique(places))
    if unique < len(places):
        raise ValueError(
            f"{len(places) - unique} rows are for a joint and frame that another row has, too; if there are several persons, add "
            "a column person"
        )
    positions = np.full((num_frames * len(joints), 3), np.nan, np.float32)
    positions[places] = np.where(np.isinf(numbers), np.nan, numbers)
    return positions.reshape(num_frames, len(joints), 3), first
