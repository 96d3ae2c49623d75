"""C3D files of motion capture → a `Recording`.

Section names are those of the C3D User Guide (Motion Lab Systems, https://www.c3d.org). The reading is our own, checked in the
tests against files that ezc3d writes: ezc3d itself ends the process on some damaged files, and takes about 200 bytes of memory
for a point in a frame.
"""

import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .joint_names import plain_name
from .persons import check_output_size, choose_person
from .recording import ReadOptions, Recording
from .skeletons import Skeleton, get_skeleton


_BLOCK = 512
_MAGIC = 0x50
_CHUNK_BYTES = 8 * 1024**2
_INTEL, _DEC, _MIPS = 84, 85, 86
_SHOWN = 5

_UNITS = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "metres"),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), "centimetres"),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), "millimetres"),
    **dict.fromkeys(("in", "inch", "inches"), "inches"),
}
# Points of Vicon's model outputs that are no positions are listed in these parameters of the group POINT.
_NO_POSITIONS = ("ANGLES", "FORCES", "MOMENTS", "POWERS", "SCALARS")
# Markers on the skin, of the marker sets of Plug-in Gait, Helen Hayes and CMU.
_SKIN_MARKER = re.compile(
    r"[LR](FHD|BHD|ASI|PSI|FWT|BWT|SHO|UPA|ELB|FRM|FRA|WRA|WRB|FIN|THI|KNE|TIB|SHN|ANK|HEE|TOE|MT1|MT5|BAK)|C7|T8|T10|CLAV|STRN|SACR",
    re.IGNORECASE,
)
_LEAST_SKIN_MARKERS = 4
# No marker lies at a hip: a file that names one has joint centres.
_HIP = re.compile(r"(left|right)_(hip|hjc|hip_?jc|hip(joint)?cent(er|re)|upleg|upperleg|thigh)|[lr]_?hjc", re.IGNORECASE)


def read_c3d(path: Path, options: ReadOptions) -> Recording:
    """Read the 3D points of a C3D file.

    Args:
        path: A `.c3d` file, of any processor type, with integers or floats.
        options: `person`: the subject, by the prefix of its labels (`Ann:LFEP`) or by index.

    Returns:
        The labelled points without their prefix, NaN where a marker was not seen (a residual below 0), with the unit and rate
        that the file states. The up axis is POINT:Y_SCREEN (the laboratory axis that points up on the screen), if the file
        has it. If all points of skeleton `plugin_gait` are there, exactly these, and that skeleton; otherwise every labelled
        point that is a position, and no skeleton and no parents, so that names decide.

    Raises:
        ValueError: If the file is damaged, declares more than it holds, has no points, several subjects of which none is
            chosen, or markers on the skin only.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream, path.stat().st_size, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{path}: not a readable C3D file ({str(error) or type(error).__name__}); copy or export it again"
        ) from error


def _read(stream: BinaryIO, size: int, options: ReadOptions) -> Recording:
    layout = _read_layout(stream, size)
    if layout.num_points == 0:
        raise ValueError("it has no 3D points (only analog channels); export the trajectories, or the skeleton, too")
    notes: list[str] = []
    names, columns = _choose_points(layout.parameters, layout.num_points, options.person, notes)
    skeleton = _plugin_gait(names)
    if skeleton is not None:
        wanted = skeleton.joint_names[: skeleton.num_joints]
        _note_left_out([name for name in names if name not in wanted], "without a place in skeleton 'plugin_gait'", notes)
        columns = [columns[names.index(name)] for name in wanted]
        names = list(wanted)
    else:
        _refuse_skin_markers(names)
    check_output_size(layout.num_frames, len(columns))
    positions = _read_points(stream, layout, columns)
    _note_rest(layout, size, notes)
    text = layout.parameters.text("POINT", "UNITS")
    unit = _UNITS.get(text.lower())
    if unit is None and text:
        notes.append(f"its unit {text[:20]!r} is not known")
    return Recording(
        names,
        positions,
        None if skeleton is None else skeleton.parents[: len(names)],
        fps=layout.rate,
        unit=unit,
        up_axis=_up_axis(layout.parameters.text("POINT", "Y_SCREEN")),
        skeleton=skeleton,
        notes=notes,
    )


def _note_rest(layout: "_Layout", size: int, notes: list[str]) -> None:
    """Files are padded to blocks, and may hold the group ROTATION behind the points; anything else is worth a word."""
    rest = size - layout.data_start - layout.num_frames * layout.frame_bytes
    if rest >= max(2 * _BLOCK, layout.frame_bytes) and layout.parameters.number("ROTATION", "USED", 0) == 0:
        notes.append(f"{rest} bytes follow the {layout.num_frames} frames that it declares, and are left out")


def _up_axis(screen: str) -> str | None:
    found = re.fullmatch(r"\+?(-?[xyz])", screen.lower())
    return found[1] if found else None


# ---- header and parameters ----------------------------------------------------------------------------------------------


@dataclass
class _Parameters:
    """The parameter section: (group, parameter) → type, dimensions and bytes, in the number format of the file."""

    byte_order: str = "<"
    processor: int = _INTEL
    values: dict[tuple[str, str], tuple[int, tuple[int, ...], bytes]] = field(default_factory=dict)

    def numbers(self, group: str, name: str) -> np.ndarray:
        kind, _, raw = self.values.get((group, name), (0, (), b""))
        if kind == 2:  # counts outgrew signed integers (C3D User Guide, POINT:FRAMES)
            return np.frombuffer(raw, f"{self.byte_order}u2").astype(np.float64)
        if kind == 4:
            return _to_floats(raw, self.processor).astype(np.float64)
        return np.frombuffer(raw, np.uint8).astype(np.float64) if kind == 1 else np.empty(0)

    def number(self, group: str, name: str, default: float) -> float:
        numbers = self.numbers(group, name)
        return float(numbers[0]) if len(numbers) and np.isfinite(numbers[0]) else default

    def is_float(self, group: str, name: str) -> bool:
        return self.values.get((group, name), (0,))[0] == 4

    def texts(self, group: str, name: str) -> list[str]:
        kind, dimensions, raw = self.values.get((group, name), (0, (), b""))
        if kind != -1 or not raw:
            return []
        width = dimensions[0] if dimensions else 1
        return [_decode(raw[start : start + width]) for start in range(0, len(raw), width)]

    def text(self, group: str, name: str) -> str:
        return next(iter(self.texts(group, name)), "")

    def long_texts(self, group: str, name: str) -> list[str]:
        """LABELS, LABELS2, LABELS3, ...: a dimension is a byte, so each holds 255 at most."""
        texts = self.texts(group, name)
        number = 2
        while more := self.texts(group, f"{name}{number}"):
            texts += more
            number += 1
        return texts


@dataclass(frozen=True)
class _Layout:
    """Where the points lie, after a check against the size of the file."""

    parameters: _Parameters
    num_points: int
    num_frames: int
    frame_bytes: int
    data_start: int
    scale: float  # of integers; floats have one below 0
    rate: float | None


def _read_layout(stream: BinaryIO, size: int) -> _Layout:
    head = stream.read(_BLOCK)
    if len(head) < _BLOCK or head[1] != _MAGIC or head[0] == 0:
        raise ValueError(f"it starts with {head[:4]!r}, which is no C3D header of {_BLOCK} bytes; export it again")
    start = (head[0] - 1) * _BLOCK
    stream.seek(start)
    prefix = stream.read(4)
    if len(prefix) < 4 or prefix[3] not in (_INTEL, _DEC, _MIPS):
        raise ValueError(f"its parameter section at byte {start} is damaged or cut off; copy or export it again")
    order = ">" if prefix[3] == _MIPS else "<"
    header_points, analog, first, last, _ = struct.unpack_from(f"{order}5H", head, 2)
    (header_start,) = struct.unpack_from(f"{order}H", head, 16)
    header_scale, header_rate = (float(_to_floats(head[at : at + 4], prefix[3])[0]) for at in (12, 20))

    # The count of blocks in the prefix is a byte and often wrong; the section ends where the data begin.
    length = max(header_start - 1, 0) * _BLOCK - start - 4
    parameters = _parse_parameters(stream.read(length if length > 0 else 255 * _BLOCK), order, prefix[3])
    num_points = int(parameters.number("POINT", "USED", header_points))
    if num_points != header_points:
        raise ValueError(f"its header declares {header_points} points, but POINT:USED is {num_points}; export it again")
    num_frames = _num_frames(parameters, last - first + 1)
    data_start = (int(parameters.number("POINT", "DATA_START", header_start)) - 1) * _BLOCK
    scale = parameters.number("POINT", "SCALE", header_scale)
    rate = parameters.number("POINT", "RATE", header_rate)
    frame_bytes = (4 * num_points + analog) * (4 if scale < 0 else 2)
    if num_points and num_frames < 1:
        raise ValueError(f"it declares {num_frames} frames; export it again")
    if data_start <= start or data_start + num_frames * frame_bytes > size:
        raise ValueError(
            f"it declares {num_frames} frames of {frame_bytes} bytes from byte {data_start}, but has {size} bytes; the file is "
            "cut off or damaged: copy or export it again"
        )
    if not np.isfinite(scale) or scale == 0:
        raise ValueError(f"its POINT:SCALE is {scale}; expected a factor, or a number below 0 for floats; export it again")
    return _Layout(parameters, num_points, num_frames, frame_bytes, data_start, scale, rate if 0 < rate < np.inf else None)


def _num_frames(parameters: _Parameters, in_header: int) -> int:
    """C3D User Guide, "The C3D frame count": an integer of 65535 means that there may be more, told elsewhere."""
    frames = parameters.number("POINT", "LONG_FRAMES", 0) or parameters.number("POINT", "FRAMES", 0)
    if frames and (frames != 65535 or parameters.is_float("POINT", "FRAMES")):
        return int(frames)
    fields = [parameters.numbers("TRIAL", f"ACTUAL_{end}_FIELD") for end in ("START", "END")]
    if all(len(words) == 2 for words in fields):  # low and high 16 bits
        first, last = (int(low) + 65536 * int(high) for low, high in fields)
        return last - first + 1
    return int(frames) or in_header


def _parse_parameters(section: bytes, order: str, processor: int) -> _Parameters:
    """Walk over groups and parameters. Every step goes forward, so a damaged section ends the walk or is an error."""
    parameters = _Parameters(order, processor)
    groups: dict[int, str] = {}
    named: list[tuple[int, str, tuple[int, tuple[int, ...], bytes]]] = []
    at = 0
    while at + 2 <= len(section):
        name_length, group = struct.unpack_from("bb", section, at)
        name_length = abs(name_length)  # below 0: locked
        if name_length == 0:
            break
        after_name = at + 2 + name_length
        if after_name + 2 > len(section):
            raise ValueError(f"its parameter section is cut off at byte {at} of {len(section)}; copy or export it again")
        name = _decode(section[at + 2 : after_name]).upper()
        (step,) = struct.unpack_from(f"{order}h", section, after_name)
        if group < 0:
            groups[-group] = name
        else:
            named.append((group, name, _parse_values(section, after_name + 2, name)))
        if step == 0:
            break
        if step < 2:
            raise ValueError(f"parameter {name[:20]!r} points {step} bytes on; the file is damaged: copy or export it again")
        at = after_name + step
    for group, name, value in named:
        parameters.values.setdefault((groups.get(group, ""), name), value)
    return parameters


def _parse_values(section: bytes, at: int, name: str) -> tuple[int, tuple[int, ...], bytes]:
    kind, num_dimensions = struct.unpack_from("bB", section, at) if at + 2 <= len(section) else (0, 0)
    dimensions = tuple(section[at + 2 : at + 2 + num_dimensions])
    count = 1
    for dimension in dimensions:
        count *= dimension
    start = at + 2 + num_dimensions
    raw = section[start : start + count * abs(kind)]
    if kind not in (-1, 1, 2, 4) or len(dimensions) < num_dimensions or len(raw) < count * abs(kind):
        raise ValueError(f"parameter {name[:20]!r} is damaged or cut off; copy or export the file again")
    return kind, dimensions, raw


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip(" \0")


def _to_floats(raw: bytes, processor: int) -> np.ndarray:
    """4-byte floats as float32. DEC's have their 16-bit halves swapped and an exponent that is 2 higher (C3D User Guide)."""
    if processor != _DEC:
        return np.frombuffer(raw, ">f4" if processor == _MIPS else "<f4").astype(np.float32)
    halves = np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1]
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(halves).view("<f4").reshape(-1) / np.float32(4)


# ---- points -------------------------------------------------------------------------------------------------------------


def _choose_points(
    parameters: _Parameters, num_points: int, person: str | int | None, notes: list[str]
) -> tuple[list[str], list[int]]:
    """Names without prefix, and the column of each: of labelled positions of one subject."""
    labels = parameters.long_texts("POINT", "LABELS")[:num_points]
    labels += [""] * (num_points - len(labels))
    no_positions = {label for kind in _NO_POSITIONS for label in parameters.long_texts("POINT", kind)}
    columns = {}
    unlabelled = measures = twice = 0
    for column, label in enumerate(labels):
        if not label or label.startswith("*"):  # Vicon labels unknown markers *1, *2, ...
            unlabelled += 1
        elif label in no_positions:
            measures += 1
        elif label in columns:
            twice += 1
        else:
            columns[label] = column
    for count, what in (
        (unlabelled, "points without a label"),
        (measures, "points that are angles, forces, moments or powers"),
        (twice, "points with the label of another one"),
    ):
        if count:
            notes.append(f"left out {count} {what}")
    if not columns:
        raise ValueError(
            f"none of its {num_points} points is a labelled position; label the trajectories and export it again"
        )
    subjects = Counter(label.rpartition(":")[0] for label in columns if ":" in label)
    if len(subjects) > 1 or (subjects and person is not None):
        names = list(subjects)
        chosen = names[choose_person(names, [f"{count} points" for count in subjects.values()], person, "subject")]
        _note_left_out(
            [label for label in columns if label.rpartition(":")[0] != chosen], f"that are not of subject {chosen!r}", notes
        )
        columns = {label: column for label, column in columns.items() if label.rpartition(":")[0] == chosen}
    elif person is not None:
        choose_person([""], ["all points; no label has a prefix"], person, "subject")
    plain = {label.rpartition(":")[2]: column for label, column in reversed(columns.items())}
    if len(plain) < len(columns):
        notes.append(f"left out {len(columns) - len(plain)} points with the name of another one")
    names = list(reversed(plain))
    return names, [plain[name] for name in names]


def _note_left_out(labels: Sequence[str], why: str, notes: list[str]) -> None:
    if labels:
        more = ", ..." if len(labels) > _SHOWN else ""
        notes.append(f"left out {len(labels)} points {why}: {', '.join(labels[:_SHOWN])}{more}")


def _plugin_gait(names: Sequence[str]) -> Skeleton | None:
    skeleton = get_skeleton("plugin_gait")
    return skeleton if set(skeleton.joint_names[: skeleton.num_joints]) <= set(names) else None


def _refuse_skin_markers(names: Sequence[str]) -> None:
    skin = [name for name in names if _SKIN_MARKER.fullmatch(name)]
    if len(skin) < _LEAST_SKIN_MARKERS or any(_HIP.fullmatch(text) for name in names for text in (name, plain_name(name))):
        return
    wanted = get_skeleton("plugin_gait")
    missing = [name for name in wanted.joint_names[: wanted.num_joints] if name not in names]
    raise ValueError(
        f"its points are markers on the skin ({', '.join(skin[:_SHOWN])}, ...), but joint centres are needed; run Plug-in Gait "
        f"and export its model outputs (missing: {', '.join(missing)}), or export the solved skeleton as BVH or FBX"
    )


def _read_points(stream: BinaryIO, layout: _Layout, columns: Sequence[int]) -> np.ndarray:
    """Positions of the points in `columns`, shape (T, N, 3), float32; NaN where the residual is below 0."""
    positions = np.empty((layout.num_frames, len(columns), 3), np.float32)
    frames = max(1, _CHUNK_BYTES // layout.frame_bytes)
    stream.seek(layout.data_start)
    for start in range(0, layout.num_frames, frames):
        count = min(frames, layout.num_frames - start)
        raw = stream.read(count * layout.frame_bytes)
        if layout.scale < 0:
            values = _to_floats(raw, layout.parameters.processor)
        else:
            values = np.frombuffer(raw, f"{layout.parameters.byte_order}i2").astype(np.float32)
        points = values.reshape(count, -1)[:, : 4 * layout.num_points].reshape(count, layout.num_points, 4)[:, columns]
        scale = np.float32(1.0 if layout.scale < 0 else layout.scale)
        with np.errstate(all="ignore"):
            positions[start : start + count] = points[..., :3] * scale
        positions[start : start + count][~(points[..., 3] >= 0)] = np.nan
    return positions
