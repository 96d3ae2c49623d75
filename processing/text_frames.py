"""What the readers of motion in text files (BVH, AMC) share: numbered lines, numbers, and frames posed chunk by chunk."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

import numpy as np


#: Positions stay float64, as they were computed; rotations, which need no more than 1e-7, are stored as float32.
POSITION_DTYPE = np.dtype(np.float64)
ROTATION_DTYPE = np.dtype(np.float32)

_CHUNK_BYTES = 8 * 1024**2


class NumberedLines:
    """The lines of a text, counted, and none longer than the caller allows.

    Args:
        stream: A text stream with universal newlines. Where names may be in any code page, open it as latin-1, which has a
            character for every byte, and `decode` the names.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.number = 0

    def read(self, longest: int) -> str | None:
        """The next line with its newline; `None` at the end.

        Raises:
            ValueError: If it has more than `longest` characters.
        """
        line = self._stream.readline(longest + 1)
        if not line:
            return None
        self.number += 1
        if len(line) > longest:
            raise ValueError(f"line {self.number}: more than {longest} characters; copy or export the file again")
        return line

    def read_filled(self, longest: int) -> str | None:
        """The next line that is not blank; otherwise as `read`."""
        line = self.read(longest)
        while line is not None and line.isspace():
            line = self.read(longest)
        return line


def decode(text: str) -> str:
    """Names from a latin-1 stream as they were meant: UTF-8, or else a local code page of which ASCII is a part."""
    try:
        return text.encode("latin-1").decode("utf-8-sig")
    except UnicodeDecodeError:
        return text


def parse_numbers(words: Sequence[str], where: str) -> list[float]:
    """Finite decimal numbers.

    Raises:
        ValueError: If a word is none; `where` begins the message.
    """
    try:
        numbers = list(map(float, words))
        text = "".join(words)
        if all(map(math.isfinite, numbers)) and "_" not in text and text.isascii():
            return numbers
    except ValueError:
        pass
    wrong = next(word for word in words if not _is_number(word))
    raise ValueError(f"{where}: {decode(wrong)[:40]!r} is no finite number; correct it, or export the file again")


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word)) and "_" not in word and word.isascii()  # float("1_0") is 10 to Python
    except ValueError:
        return False


def check_memory(num_frames: int, num_nodes: int, limit: int) -> None:
    """Refuse a motion whose positions and rotations need more than `limit` bytes.

    Raises:
        ValueError: If they do.
    """
    needed = num_frames * num_nodes * (3 * POSITION_DTYPE.itemsize + 4 * ROTATION_DTYPE.itemsize)
    if needed > limit:
        raise ValueError(
            f"{num_frames} frames of {num_nodes} nodes need {needed} bytes; the limit is {limit}; split the motion"
        )


def pose_in_chunks(
    frames: Iterable[list[float]],
    num_frames: int,
    num_channels: int,
    num_nodes: int,
    pose: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Pose many frames in the memory of the result and a few megabytes.

    Args:
        frames: The C values of each of the T frames.
        num_frames, num_channels, num_nodes: T, C and N.
        pose: Values of shape (t, C) → positions (t, N, 3) and rotations (t, N, 4).

    Returns:
        Positions of shape (T, N, 3), `POSITION_DTYPE`, and rotations of shape (T, N, 4), `ROTATION_DTYPE`.

    Raises:
        ValueError: If a position is too large for a number, or there are not T frames.
    """
    size = max(1, min(num_frames, _CHUNK_BYTES // (8 * (num_channels + 16 * num_nodes))))
    positions = np.empty((num_frames, num_nodes, 3), POSITION_DTYPE)
    rotations = np.empty((num_frames, num_nodes, 4), ROTATION_DTYPE)
    chunk = np.empty((size, num_channels))
    stop = 0
    for frame, values in enumerate(frames):
        chunk[frame % size] = values
        if (frame + 1) % size and frame + 1 < num_frames:
            continue
        start, stop = stop, frame + 1
        with np.errstate(all="ignore"):  # what overflows is reported
            positions[start:stop], rotations[start:stop] = pose(chunk[: stop - start])
        if not (np.isfinite(positions[start:stop]).all() and np.isfinite(rotations[start:stop]).all()):
            raise ValueError(f"frames {start} to {stop - 1} have positions beyond the range of numbers; export them smaller")
    if stop != num_frames:
        raise ValueError(f"{stop} frames where {num_frames} were expected; copy or export the file again")
    return positions, rotations
