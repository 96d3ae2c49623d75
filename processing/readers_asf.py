"""ASF/AMC files (Acclaim, as of the CMU Graphics Lab) → a `Recording`.

Read by hand: `asfamc-parser`, the one reader on PyPI, has had no release since 2021, keeps a whole file in memory and does
no kinematics; the readers on GitHub (`CalciferZh/AMCParser`) set robustness aside by their own words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .asf_skeleton import ASF_SECTIONS, MAX_BONES, ROOT, Asf, Line, filled_lines, listed, numbers_behind, read_asf
from .recording import ReadOptions, Recording
from .text_frames import NumberedLines, check_memory, parse_numbers, pose_in_chunks


#: The most bytes that positions and rotations may need.
MAX_KINEMATICS_BYTES = 4 * 1024**3

#: Frames per second of the CMU files. AMC files state none, but for the few with :SAMPLES-PER-SECOND.
CMU_FPS = 120.0


def read_asf_amc(path: Path, options: ReadOptions) -> Recording:
    """Read an AMC file with the ASF file of its skeleton.

    A node lies at the far end of the bone that names it, as in `cmu31`: `lfemur` is the left knee. Where the file has the
    bones of `cmu31`, its nodes come in the order of that skeleton. The AMC file is read twice, once to count the frames,
    in chunks, so that a long file needs little more memory than the positions (float64) and rotations (float32) that are
    returned.

    Args:
        path: The AMC file.
        options: `asf`, the ASF file; by default the one beside the AMC file of the same name, else of its subject
            (`07.asf` for `07_01.amc`), else the only one of the folder. `fps`, where the file states none.

    Returns:
        The root and the far end of every bone, y up, in inches where the ASF file says how its lengths are scaled. The
        rotations are the orientations of the bones' own axes in the world; they are the `axis` lines of the ASF file where
        all angles are zero.

    Raises:
        ValueError: If no ASF file is found, a file is damaged or too large, or the two do not fit.
    """
    if path.suffix.lower() == ".asf":
        raise ValueError(f"{path}: an ASF file holds a skeleton and no motion; pass the AMC file, and this one as asf=…")
    asf_path, found_note = _find_asf(path, options)
    with _reading(path, f"the skeleton {asf_path}"):
        asf = read_asf(asf_path)
    with _reading(path, "the AMC file"):
        motion = _read_amc_header(path, asf)
        positions, rotations = pose_in_chunks(
            _read_frames(path, asf, motion),
            motion.num_frames,
            motion.num_channels,
            len(asf.bones),
            partial(_pose, asf, motion.columns, motion.degrees),
        )
    fps, fps_note = _frame_rate(motion, options)
    rest_pose = _pose(asf, {}, True, np.empty((1, 0)))[0][0]
    notes = [found_note, *asf.notes, *motion.notes, fps_note]
    return Recording(
        [bone.name for bone in asf.bones],
        positions,
        asf.parents,
        fps=fps,
        unit=asf.unit,
        up_axis="y",
        rotations=rotations,
        rest_pose=rest_pose,
        skeleton=asf.skeleton,
        notes=[note for note in notes if note],
    )


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: {what} is not readable: {str(error) or type(error).__name__}") from error


def _find_asf(path: Path, options: ReadOptions) -> tuple[Path, str | None]:
    """The ASF file of an AMC file, and a note where it was taken for want of another."""
    if options.asf is not None:
        given = Path(options.asf)
        if not given.is_file():
            raise ValueError(
                f"{path}: asf={str(given)!r} is no file; pass the ASF file that holds the skeleton of this motion"
            )
        return given, None
    beside = sorted(other for other in path.parent.iterdir() if other.suffix.lower() == ".asf" and other.is_file())
    stems = list(dict.fromkeys([path.stem, path.stem.split("_")[0]]))
    for stem in stems:
        for other in beside:
            if other.stem.lower() == stem.lower():
                return other, None
    if len(beside) == 1:
        return beside[0], f"took the skeleton from {beside[0].name}, the only ASF file of the folder"
    sought = " or ".join(f"{stem}.asf" for stem in stems)
    found = f"{len(beside)} others ({listed([other.name for other in beside])})" if beside else "no ASF file at all"
    raise ValueError(
        f"{path}: an AMC file needs the ASF file of its skeleton; looked in {path.parent} for {sought}, and found {found}; "
        "pass it as asf=…"
    )


def _frame_rate(motion: "_Motion", options: ReadOptions) -> tuple[float, str | None]:
    if motion.fps is not None:
        return motion.fps, None
    if options.fps is not None:
        return float(options.fps), None
    return (
        CMU_FPS,
        f"the AMC file states no frame rate; read at {CMU_FPS:g} frames per second as CMU's; pass fps=… for another",
    )


# ---- AMC ----------------------------------------------------------------------------------------------------------------


@dataclass
class _Motion:
    """What an AMC file says before its values."""

    degrees: bool
    fps: float | None = None
    first: int = 1  # number of the first frame
    num_frames: int = 0
    names: list[str] = field(default_factory=list)  # of the bones in every frame
    columns: dict[int, list[int]] = field(default_factory=dict)  # node → columns of its values
    num_channels: int = 0
    notes: list[str] = field(default_factory=list)


def _read_amc_header(path: Path, asf: Asf) -> _Motion:
    """Keywords, the bones of the first frame, and the number of frames."""
    motion = _Motion(asf.degrees)
    keywords: dict[str, Line] = {}
    bones: list[Line] = []
    with path.open(encoding="latin-1") as stream:
        for number, words in filled_lines(NumberedLines(stream)):
            if _is_frame(words):
                motion.first = motion.first if motion.num_frames else int(words[0])
                motion.num_frames += 1
            elif motion.num_frames == 0:
                if words[0].lower() in ASF_SECTIONS:
                    raise ValueError(
                        f"line {number}: {words[0]} belongs to an ASF file, which holds a skeleton; pass the AMC file of the "
                        "motion, and this one as asf=…"
                    )
                if not words[0].startswith(":"):
                    raise ValueError(f"line {number}: {' '.join(words)[:40]!r} stands before the first frame")
                keywords[words[0].upper()] = (number, words)
            elif motion.num_frames == 1:
                bones.append((number, words))
                if len(bones) > MAX_BONES:
                    raise ValueError(f"line {number}: the first frame has more than {MAX_BONES} bones")
    if motion.num_frames == 0:
        raise ValueError("it has no frame (a line with nothing but its number); copy or export it again")
    _read_keywords(keywords, motion)
    _take_template(bones, asf, ":FULLY-SPECIFIED" in keywords, motion)
    check_memory(motion.num_frames, len(asf.bones), MAX_KINEMATICS_BYTES)
    return motion


def _is_frame(words: list[str]) -> bool:
    return len(words) == 1 and words[0].isascii() and words[0].isdecimal() and len(words[0]) <= 12


def _read_keywords(keywords: dict[str, Line], motion: _Motion) -> None:
    if ":DEGREES" in keywords and ":RADIANS" in keywords:
        raise ValueError("it says both :DEGREES and :RADIANS; delete the wrong one")
    if ":DEGREES" in keywords or ":RADIANS" in keywords:
        motion.degrees = ":DEGREES" in keywords
    else:
        motion.notes.append(
            f"the AMC file says neither :DEGREES nor :RADIANS; read as {'degrees' if motion.degrees else 'radians'}, "
            "the unit of the ASF file"
        )
    if ":SAMPLES-PER-SECOND" in keywords:
        number, words = keywords[":SAMPLES-PER-SECOND"]
        (motion.fps,) = numbers_behind(words, 1, number)
        if motion.fps <= 0:
            raise ValueError(f"line {number}: {motion.fps:g} samples per second; expected a number above 0")
    known = (":FULLY-SPECIFIED", ":DEGREES", ":RADIANS", ":SAMPLES-PER-SECOND")
    unknown = [word for word in keywords if word not in known]
    if unknown:
        motion.notes.append(f"ignored keywords of the AMC file: {listed(unknown)}")


def _take_template(bones: list[Line], asf: Asf, fully: bool, motion: _Motion) -> None:
    """What the first frame holds: the others must hold the same."""
    index = asf.index
    for number, words in bones:
        name = words[0].lower()
        if name not in index:
            raise ValueError(f"line {number}: unknown bone {words[0][:40]!r}; the ASF file has {listed(list(index))}")
        if name in motion.names:
            raise ValueError(f"line {number}: bone {name!r} is there twice")
        dof = asf.bones[index[name]].dof
        motion.names.append(name)
        motion.columns[index[name]] = list(range(motion.num_channels, motion.num_channels + len(dof)))
        motion.num_channels += len(dof)
    absent = [bone.name for node, bone in enumerate(asf.bones) if bone.dof and node not in motion.columns]
    if ROOT in absent or (absent and fully):
        raise ValueError(
            f"its first frame has no values for {listed(absent)}; copy or export the file again, or pass the ASF file that "
            "belongs to it"
        )
    if absent:
        motion.notes.append(f"{len(absent)} movable bones have no values and stay as in the rest pose: {listed(absent)}")


def _read_frames(path: Path, asf: Asf, motion: _Motion) -> Iterator[list[float]]:
    """The values of each frame, in the order of the first."""
    counts = [len(asf.bones[asf.index[name]].dof) for name in motion.names]
    frame: list[Line] = []
    count = 0
    with path.open(encoding="latin-1") as stream:
        for number, words in filled_lines(NumberedLines(stream)):
            if _is_frame(words):
                if count:
                    yield _frame_values(frame, motion, counts, count)
                if int(words[0]) != motion.first + count:
                    raise ValueError(f"line {number}: frame {words[0]} follows frame {motion.first + count - 1}")
                frame.clear()
                count += 1
            elif count:
                frame.append((number, words))
                if len(frame) > len(counts):
                    raise ValueError(f"line {number}: more bones than in the first frame, which has {len(counts)}")
    yield _frame_values(frame, motion, counts, count)


def _frame_values(frame: list[Line], motion: _Motion, counts: list[int], count: int) -> list[float]:
    if [words[0] for _, words in frame] != motion.names:
        frame = _in_order(frame, motion, motion.first + count - 1)
    if [len(words) - 1 for _, words in frame] != counts:
        number, words, expected = next(
            (number, words, expected)
            for (number, words), expected in zip(frame, counts, strict=True)
            if len(words) - 1 != expected
        )
        raise ValueError(
            f"line {number}: {words[0]!r} has {len(words) - 1} values; the ASF file gives it {expected} degrees of freedom"
        )
    try:
        return parse_numbers([word for _, words in frame for word in words[1:]], "")
    except ValueError:
        return [value for number, words in frame for value in parse_numbers(words[1:], f"line {number}")]


def _in_order(frame: list[Line], motion: _Motion, frame_number: int) -> list[Line]:
    by_name = {words[0].lower(): (number, words) for number, words in frame}
    for number, words in frame:
        if words[0].lower() not in motion.names:
            raise ValueError(f"line {number}: bone {words[0][:40]!r} is not in the first frame")
        if by_name[words[0].lower()][0] != number:
            raise ValueError(f"line {number}: bone {words[0][:40]!r} is there twice")
    absent = [name for name in motion.names if name not in by_name]
    if absent:
        raise ValueError(f"frame {frame_number} has no values for {listed(absent)}: it is cut off; copy or export it again")
    return [by_name[name] for name in motion.names]


# ---- kinematics ---------------------------------------------------------------------------------------------------------


def _pose(asf: Asf, columns: dict[int, list[int]], degrees: bool, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward kinematics of values (T, C): positions (T, N, 3), orientations of the bones' axes in the world (T, N, 4).

    A bone turns about its own axes: from the rest pose, in the frame of its parent, by C M C⁻¹ with C its axes in the rest
    pose and M its values.
    """
    num_frames = len(values)
    positions = np.empty((num_frames, len(asf.bones), 3))
    rotations = np.empty((num_frames, len(asf.bones), 4))
    world: list[Rotation] = []  # from the rest pose
    for node, (bone, parent) in enumerate(zip(asf.bones, asf.parents, strict=True)):
        given = dict(zip(bone.dof, columns.get(node, []), strict=False))  # none for a bone that does not move
        letters = "".join(name[1] for name in given if name.startswith("r"))
        angles = values[:, [given[f"r{letter}"] for letter in letters]]
        if letters:
            turn = Rotation.from_euler(letters, angles, degrees=degrees)
        else:
            turn = Rotation.from_quat(np.tile([0.0, 0.0, 0.0, 1.0], (num_frames, 1)))
        if parent < 0:
            moved = [values[:, given[name]] if name in given else np.zeros(num_frames) for name in ("tx", "ty", "tz")]
            world.append(turn * bone.axes)
            positions[:, node] = (asf.position + np.stack(moved, axis=-1)) / asf.length
            rotations[:, node] = world[node].as_quat()
            continue
        world.append(world[parent] * bone.axes * turn * bone.axes.inv())
        length = values[:, given["l"], None] if "l" in given else np.full((num_frames, 1), bone.length)
        positions[:, node] = positions[:, parent] + world[node].apply(bone.direction * length) / asf.length
        rotations[:, node] = (world[node] * bone.axes).as_quat()
    return positions, rotations
