"""Files of several persons: the choice of one, and the frames that have it."""

from array import array
from collections.abc import Sequence

import numpy as np


#: The most bytes that the positions of one person may need, and the most persons that a message lists.
MAX_OUTPUT_BYTES = 4 * 1024**3
MAX_LISTED = 12


class Tracks:
    """The persons of a file, as its frames bring them: joints as (x, y, z, confidence), float32.

    Args:
        num_joints: N, of each person.
        word: What the format calls a person.
    """

    def __init__(self, num_joints: int, word: str = "person") -> None:
        self.num_joints = num_joints
        self.word = word
        self._frames: dict[str, array] = {}
        self._values: dict[str, array] = {}

    @property
    def names(self) -> list[str]:
        """In the order of first appearance."""
        return list(self._frames)

    def add(self, name: str, frame: int, values: Sequence[float]) -> bool:
        """Append N * 4 values of a frame; frames must come in order. False, and nothing done, for a frame that is there."""
        frames = self._frames.setdefault(name, array("q"))
        if frames and frames[-1] == frame:
            return False
        frames.append(frame)
        self._values.setdefault(name, array("f")).extend(values)
        return True

    def values(self, name: str) -> np.ndarray:
        """Shape (F, N, 4), for the F frames that have this person."""
        return np.frombuffer(self._values[name], np.float32).reshape(-1, self.num_joints, 4)

    def choose(self, person: str | int | None) -> str:
        """The name of the person that is wanted; see `choose_person`."""
        return self.names[choose_person(self.names, [self._describe(name) for name in self.names], person, self.word)]

    def _describe(self, name: str) -> str:
        values = self.values(name)
        seen = values[:, :, 3] > 0
        with np.errstate(all="ignore"):
            weights = seen / np.maximum(seen.sum(axis=0), 1)
            mean = np.einsum("tn,tnc->nc", weights, np.where(seen[..., None], values[:, :, :3], 0.0))
            moved = np.sqrt(np.einsum("tn,tnc->n", weights, np.square(values[:, :, :3] - mean))).mean()
        return f"{len(values)} frames, joints move by {moved:.2g}"

    def positions(self, name: str, num_frames: int) -> tuple[np.ndarray, list[str]]:
        """Positions from the first to the last frame that has this person, shape (T, N, 3), float32, and notes.

        NaN in frames without the person and where the confidence is 0 or below.

        Raises:
            ValueError: If they would need more than `MAX_OUTPUT_BYTES`, or no confidence is above 0.
        """
        frames = np.frombuffer(self._frames[name], np.int64)
        values = self.values(name)
        first, length = int(frames[0]), int(frames[-1] - frames[0]) + 1
        check_output_size(length, self.num_joints)
        positions = np.full((length, self.num_joints, 3), np.nan, np.float32)
        positions[frames - first] = values[:, :, :3]
        notes = []
        untracked = values[:, :, 3] <= 0
        if untracked.all():
            raise ValueError(
                f"every joint of {self.word} {_shown(name)} is marked as not tracked, in every frame; leave the file out"
            )
        if untracked.any():
            at, joints = np.nonzero(untracked)
            positions[frames[at] - first, joints] = np.nan
            notes.append(f"{int(untracked.sum())} of {untracked.size} joint positions are missing or marked as not tracked")
        after = num_frames - first - length
        if first or after:
            notes.append(
                f"cut {first} frames at the start and {after} at the end, in which {self.word} {_shown(name)} is not seen"
            )
        if length > len(frames):
            notes.append(f"{length - len(frames)} of {length} frames do not have {self.word} {_shown(name)}")
        if len(self.names) > 1:
            others = [other for other in self.names if other != name]
            listed = _listed([f"{_shown(other)} ({self._describe(other)})" for other in others])
            notes.append(f"read {self.word} {_shown(name)}; the file has also {listed}")
        return positions, notes


def choose_person(names: Sequence[str], descriptions: Sequence[str], person: str | int | None, word: str = "person") -> int:
    """Index of the person that is wanted.

    Args:
        names: Names or ids of the persons of a file, in its order; at least one.
        descriptions: What tells them apart, one each.
        person: A name, or else an index; `None`: the only one.
        word: What the format calls a person.

    Raises:
        ValueError: If there is no such person, or several and none is wanted; all are listed.
    """
    if person is None and len(names) == 1:
        return 0
    wanted = None if person is None else str(person)
    if wanted is not None and wanted in names:
        return list(names).index(wanted)
    if wanted is not None and wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(names):
        return int(wanted)
    known = _listed([f"{_shown(name)} ({about})" for name, about in zip(names, descriptions, strict=True)])
    if wanted is None:
        raise ValueError(
            f"it holds {len(names)} persons: {known}; pass person=... with one of these names or an index from 0"
        )
    raise ValueError(
        f"there is no {word} {wanted[:60]!r} in it; it has {known}; pass person=... with a name or an index from 0"
    )


def check_output_size(num_frames: int, num_joints: int) -> None:
    """Refuse positions of float32 that would need more than `MAX_OUTPUT_BYTES`."""
    needed = num_frames * num_joints * 3 * 4
    if needed > MAX_OUTPUT_BYTES:
        raise ValueError(
            f"{num_frames} frames of {num_joints} joints need {needed} bytes; the limit is {MAX_OUTPUT_BYTES}; split the motion"
        )


def _shown(name: str) -> str:
    return repr(name[:60])


def _listed(items: Sequence[str]) -> str:
    more = f", and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(items[:MAX_LISTED]) + more
