"""Skeleton text files of NTU RGB+D → a `Recording`.

The files are those of Shahroudy et al., "NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis" (CVPR 2016), and
Liu et al., "NTU RGB+D 120" (TPAMI 2020): joints of Kinect v2 cameras.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .persons import Tracks
from .recording import ReadOptions, Recording
from .skeletons import get_skeleton


#: The longest line that is read.
MAX_LINE = 4096

_NUM_JOINTS = 25
_BODY_VALUES = 10  # bodyID, clipped edges, confidence and state of both hands, restricted, lean x and y, tracking state
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, tracking state
_FPS = 30.0
_LARGEST = 1e30  # of float32, with a margin


def read_ntu(path: Path, options: ReadOptions) -> Recording:
    """Read a skeleton file of NTU RGB+D.

    Args:
        path: A `.skeleton` text file.
        options: `person`: the body, by its bodyID or by index in the order in which bodies appear.

    Returns:
        25 joints of one body in metres, y up, at 30 frames per second, in the frame of the camera. Frames before the body
        appears and after it is last seen are cut; between, frames without it are NaN, and so are joints that the camera did
        not track. The notes count all three, and name the other bodies of the file. The camera's estimates of the
        orientation of joints are not read: those at the ends of the limbs have none.

    Raises:
        ValueError: If the file is damaged, with the line; or has several bodies of which none is chosen: they are listed with
            the number of their frames and how much they move, as the camera also takes furniture for people.
    """
    with _explained(path):
        tracks, num_frames = _read_file(path)
        body = tracks.choose(options.person)
        positions, notes = tracks.positions(body, num_frames)
    skeleton = get_skeleton("ntu25")
    names = skeleton.joint_names[: skeleton.num_joints]
    return Recording(names, positions, skeleton.parents[: len(names)], _FPS, "metres", "y", skeleton=skeleton, notes=notes)


def list_bodies(path: Path) -> list[str]:
    """The bodyIDs of a skeleton file, in the order in which the bodies appear.

    Raises:
        ValueError: If the file is damaged, with the line.
    """
    with _explained(path):
        return list(_read_file(path)[0].names)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        raise ValueError(f"{path}: not a readable .skeleton file ({str(error) or type(error).__name__})") from error


def _read_file(path: Path) -> tuple[Tracks, int]:
    # Latin-1 decodes any byte, so that a stray one is reported with its line
    with path.open(encoding="latin-1", newline=None) as stream:
        return _read_bodies(_Lines(stream))


class _Lines:
    """The lines of a text, one at a time, with their numbers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.number = 0

    def words(self, what: str) -> list[str]:
        line = self._next()
        if not line:
            raise ValueError(f"the file ends after line {self.number - 1}, where {what} should follow; copy it again")
        return line.split()

    def _next(self) -> str:
        self.number += 1
        line = self._stream.readline(MAX_LINE)
        if len(line) == MAX_LINE:
            raise ValueError(f"line {self.number} is longer than {MAX_LINE} characters; this is no .skeleton file")
        return line

    def count(self, what: str) -> int:
        words = self.words(what)
        if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
            raise self.error(words, what)
        return int(words[0])

    def error(self, words: list[str], expected: str) -> ValueError:
        return ValueError(f"line {self.number} is {' '.join(words)[:60]!r}; expected {expected}")

    def check_end(self, num_frames: int) -> None:
        while line := self._next():
            if line.strip():
                raise ValueError(
                    f"line {self.number} follows the {num_frames} frames that line 1 declares: {line.strip()[:60]!r}; "
                    "the count is wrong or two files were joined; copy the file again"
                )


def _read_bodies(lines: _Lines) -> tuple[Tracks, int]:
    num_frames = lines.count("the number of frames")
    if num_frames == 0:
        raise ValueError("it declares 0 frames: the camera saw nobody; leave the file out")
    tracks = Tracks(_NUM_JOINTS, "body")
    for frame in range(num_frames):  # every turn consumes a line or ends in an error
        for _ in range(lines.count(f"the number of bodies in frame {frame}")):
            header = lines.words("the line of a body")
            if len(header) != _BODY_VALUES:
                raise lines.error(
                    header, f"{_BODY_VALUES} values of a body: bodyID, clipped edges, hand states, lean, tracking"
                )
            num_joints = lines.count("the number of joints")
            if num_joints != _NUM_JOINTS:
                raise ValueError(f"line {lines.number} declares {num_joints} joints; a body of NTU RGB+D has {_NUM_JOINTS}")
            values = list(itertools.chain.from_iterable(_read_joint(lines) for _ in range(_NUM_JOINTS)))
            if not tracks.add(header[0], frame, values):
                raise ValueError(
                    f"line {lines.number}: body {header[0][:40]} is there twice in frame {frame}; copy the file again"
                )
    lines.check_end(num_frames)
    if not tracks.names:
        raise ValueError(f"none of its {num_frames} frames has a body: the camera saw nobody; leave the file out")
    return tracks, num_frames


def _read_joint(lines: _Lines) -> tuple[float, float, float, float]:
    """x, y, z and whether the joint is tracked. The other values are not read: files have '-1.#IND' among the pixels."""
    words = lines.words("a joint")
    try:
        x, y, z, state = (float(words[column]) for column in (0, 1, 2, _JOINT_VALUES - 1))
    except (ValueError, IndexError):
        raise lines.error(words, f"{_JOINT_VALUES} numbers of a joint") from None
    if len(words) != _JOINT_VALUES or not abs(x) + abs(y) + abs(z) + abs(state) < _LARGEST:
        raise lines.error(words, f"{_JOINT_VALUES} finite numbers of a joint")
    return x, y, z, state
