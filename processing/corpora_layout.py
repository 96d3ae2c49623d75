"""What the layouts of motion data sets share: items that split lists name, clips that become rows, and what is left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .readers import read_noting
from .recording import ReadOptions
from .resampling import resample
from .skeletons import UNITS, get_skeleton, list_skeletons


#: In the order in which an id that several lists name is given to a split: what is judged on is kept whole.
SPLIT_PRIORITY = ("test", "validation", "train")


class Fault(NamedTuple):
    """Why an item, or a part of one, became no row: what is counted together in a report, and the case at hand."""

    kind: str
    detail: str = ""


class LeftOutError(ValueError):
    """An item becomes no row; `fault` says why."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.fault = Fault(kind, detail)


class Item(NamedTuple):
    """What a split list names.

    Args:
        id: Unique in the data set.
        source: Whatever the layout needs to find it.
        mirror_of: Id of the motion that it is the mirror image of, if it is one.
    """

    id: str
    source: Any = None
    mirror_of: str | None = None


@dataclass(frozen=True)
class Clip:
    """A motion that becomes a row.

    Args:
        joints: Shape (T, J, 3), or (P, T, J, 3) of P persons, in metres and along the axes of the skeleton.
        skeleton: Name of the skeleton.
        fps: Frames per second.
        captions: At least one.
        label: The action, if the data set names one.
        part: Which part of the item it is, to be added to its id; "" is all of it.
    """

    joints: np.ndarray
    skeleton: str
    fps: float
    captions: list[str]
    label: str | None = None
    part: str = ""


@dataclass
class Lists:
    """What the split lists of a data set name.

    Args:
        items: Of each split; an id is there once in the data set.
        lists: What each split was read from.
        repeated: Ids that a split names, and that are not taken from it, with the reason.
        remarks: What concerns no split, such as files that no list names: id and reason.
        settings: What decided the splits, such as a seed.
    """

    items: dict[str, list[Item]]
    lists: dict[str, str]
    repeated: dict[str, list[tuple[str, Fault]]] = field(default_factory=dict)
    remarks: list[tuple[str, Fault]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


class About(NamedTuple):
    """What the card of a data set says of its origin.

    Args:
        title: How the data set is called.
        origin: Where motions and captions come from, and how they were changed here.
        licence: What its owner states.
        licence_id: The same as the Hub names it.
        may_be_shared: Whether the owner lets others pass it on.
        homepage: Of the owner.
        citation: What the owner asks to cite.
    """

    title: str
    origin: str
    licence: str
    licence_id: str
    may_be_shared: bool
    homepage: str
    citation: str


@dataclass(frozen=True)
class Corpus:
    """A data set in the folder layout of its owner. Subclasses say what the lists name and how an item is read.

    Args:
        root: The folder.
    """

    root: Path

    name: ClassVar[str]
    about: ClassVar[About]
    #: Optional columns of its rows.
    columns: ClassVar[tuple[str, ...]] = ()

    def lists(self) -> Lists:
        """What there should be.

        Raises:
            FileNotFoundError: If the folder is not in this layout.
            ValueError: If a list cannot be understood.
        """
        raise NotImplementedError

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        """The clips of an item, and what of it was left out.

        Raises:
            LeftOutError, ValueError, OSError: If it has no clip.
        """
        raise NotImplementedError

    def require(self, *names: str) -> None:
        """Raise a `FileNotFoundError` unless the folder holds these files or folders."""
        missing = [name for name in names if not (self.root / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"{str(self.root)!r} has no {', no '.join(missing)}; expected the layout of {self.about.title}, with "
                f"{', '.join(names)} (see docs/prepare.md)"
            )


def read_lines(path: Path) -> tuple[list[tuple[int, str]], list[Fault]]:
    """The lines of a text, stripped, with their numbers from 1, without blank ones. Those that are not UTF-8 are faults."""
    lines, faults = [], []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            faults.append(Fault("line of text that is not UTF-8", f"{path.name}, line {number}: {error.reason}"))
            continue
        if text:
            lines.append((number, text))
    return lines, faults


def settle_splits(named: Mapping[str, Iterable[Item]]) -> tuple[dict[str, list[Item]], dict[str, list[tuple[str, Fault]]]]:
    """Each id once: the first time it is named, in the order of `SPLIT_PRIORITY`.

    Args:
        named: What the list of each split names.

    Returns:
        The items of each split in the order of its list, and for each split the ids not taken from it, with the reason.
    """
    home: dict[str, str] = {}
    items: dict[str, list[Item]] = {}
    repeated: dict[str, list[tuple[str, Fault]]] = {}
    for split in sorted(named, key=SPLIT_PRIORITY.index):
        items[split], repeated[split] = [], []
        for item in named[split]:
            if item.id not in home:
                home[item.id] = split
                items[split].append(item)
            elif home[item.id] == split:
                repeated[split].append((item.id, Fault("named twice by the same list")))
            else:
                repeated[split].append((item.id, Fault(f"named by the list of split {home[item.id]} too, and kept there")))
    return {split: items[split] for split in named}, {split: repeated[split] for split in named}


def read_joints(path: Path, options: ReadOptions, fps: float | None = None) -> tuple[np.ndarray, str, float, list[Fault]]:
    """Read a motion file for a row.

    Args:
        path: The file.
        options: What is known of it.
        fps: The rate to resample to; default its own.

    Returns:
        Joints (T, J, 3) in metres, the name of their skeleton, their rate, and what the reader remarks.

    Raises:
        LeftOutError: If the motion has no frame rate, or no skeleton that has a name.
        ValueError, OSError: As `read_motion`.
    """
    motion, notes = read_noting(path, options)
    if motion.skeleton is None:
        raise LeftOutError("no skeleton", f"{path.name} has {motion.joints.shape[1]} joints and does not say which they are")
    name = motion.skeleton.name
    if name not in list_skeletons() or get_skeleton(name) != motion.skeleton:
        raise LeftOutError("skeleton without a name", f"{path.name}: rows name one of {', '.join(list_skeletons())}")
    if motion.fps is None:
        raise LeftOutError("no frame rate", f"{path.name} does not say how many frames a second it has")
    joints = motion.joints * UNITS[motion.skeleton.unit]
    faults = [Fault("remark of the reader", note) for note in notes]
    if fps is None or fps == motion.fps:
        return joints, name, float(motion.fps), faults
    check_joints(joints)  # a filter would spread what is not finite
    return resample(joints, motion.fps, fps), name, fps, faults


def check_joints(joints: np.ndarray) -> None:
    """Raise a `LeftOutError` unless joints (…, T, J, 3) are a motion: of two frames at least, and finite."""
    if joints.shape[-3] < 2:
        raise LeftOutError("fewer than two frames", f"{joints.shape[-3]}")
    finite = np.isfinite(joints)
    if not finite.all():
        *_, frame, joint, _ = np.argwhere(~finite)[0]
        count = int((~finite).sum())
        raise LeftOutError("NaN or infinite joints", f"{count} values, the first at frame {frame}, joint {joint}")


def list_others(folder: Path, suffix: str, known: Iterable[str], kind: str) -> list[tuple[str, Fault]]:
    """Files of a folder whose stem is no known id, as remarks."""
    stems = {file.stem for file in folder.glob(f"*{suffix}")}
    return [(stem, Fault(kind)) for stem in sorted(stems - set(known))]
