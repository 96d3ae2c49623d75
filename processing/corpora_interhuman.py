"""InterHuman in the folder layout of its owner (github.com/tr3e/InterGen).

    motions_processed/person1/ID.npy  person2/ID.npy    (T, 492): 62 joint positions, the first 22 those of SMPL, then rotations
    annots/ID.txt                                       a caption a line
    train.txt  val.txt  test.txt  ignore_list.txt       ids, one a line; here or in split/

The pickles in `motions/` are not read: reading one can run whatever code is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from .canonical import change_up_axis
from .corpora_layout import (
    About,
    Clip,
    Corpus,
    Fault,
    Item,
    LeftOutError,
    Lists,
    list_others,
    read_lines,
    settle_splits,
)
from .npz_files import read_npy_array


_LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
_PERSONS = ("person1", "person2")
_NUM_JOINTS = 22
_FPS = 30.0


@dataclass(frozen=True)
class InterHuman(Corpus):
    """InterHuman: two persons in one frame, joints (2, T, 22, 3)."""

    name: ClassVar[str] = "interhuman"
    columns: ClassVar[tuple[str, ...]] = ("persons",)
    about: ClassVar[About] = About(
        title="InterHuman",
        origin="Motions of two persons, recorded and fitted by the owner, with captions by annotators. Here: SMPL's 22 "
        "joints at 30 frames per second, turned from z up to y up; both persons in the owner's one frame.",
        licence="CC BY-NC-SA 4.0; the owner adds that the data must not be redistributed.",
        licence_id="cc-by-nc-sa-4.0",
        may_be_shared=False,
        homepage="https://github.com/tr3e/InterGen",
        citation="Liang et al., “InterGen: Diffusion-based Multi-human Motion Generation under Complex Interactions”, IJCV 2024.",
    )

    def lists(self) -> Lists:
        self.require(*(f"motions_processed/{person}" for person in _PERSONS), "annots")
        found = {split: path for split, file in _LISTS.items() if (path := self._find(file)) is not None}
        if not found:
            raise FileNotFoundError(
                f"{str(self.root)!r} has none of the split lists {', '.join(_LISTS.values())}, also not in its folder split/"
            )
        remarks = [(_LISTS[split], Fault("no such split list")) for split in _LISTS if split not in found]
        ignored: set[str] = set()
        named = {}
        for split, path in [*found.items(), ("", self._find("ignore_list.txt"))]:
            if path is None:
                continue
            lines, faults = read_lines(path)
            remarks += [(path.name, fault) for fault in faults]
            if split:
                named[split] = [name for _, name in lines]
            else:
                ignored = {name for _, name in lines}
        items, repeated = settle_splits(
            {split: [Item(name, name in ignored) for name in ids] for split, ids in named.items()}
        )
        ids = {item.id for split in items.values() for item in split}
        remarks += list_others(self.root / "motions_processed" / _PERSONS[0], ".npy", ids, "motion that no split list names")
        remarks += list_others(self.root / "annots", ".txt", ids, "captions that no split list names")
        return Lists(items, {split: str(path.relative_to(self.root)) for split, path in found.items()}, repeated, remarks)

    def _find(self, file: str) -> Path | None:
        return next((path for path in (self.root / file, self.root / "split" / file) if path.exists()), None)

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        if item.source:
            raise LeftOutError("in the owner's ignore_list.txt")
        text = self.root / "annots" / f"{item.id}.txt"
        files = [self.root / "motions_processed" / person / f"{item.id}.npy" for person in _PERSONS]
        missing = [file.parent.name for file in files if not file.exists()]
        if missing:
            kind = "no motion file" if text.exists() else "neither motion nor caption file"
            raise LeftOutError(kind, f"of {' and '.join(missing)}")
        if not text.exists():
            raise LeftOutError("no caption file", text.name)
        lines, faults = read_lines(text)
        if not lines:
            raise LeftOutError(
                "no caption that can be used", "; ".join(fault.detail for fault in faults) or f"{text.name} is empty"
            )
        persons = [_read_person(file) for file in files]
        if len(persons[0]) != len(persons[1]):
            raise LeftOutError("persons of different length", f"{len(persons[0])} and {len(persons[1])} frames")
        joints = change_up_axis(np.stack(persons), "z", "y")
        return [Clip(joints, "smpl22", _FPS, [caption for _, caption in lines])], faults


def _read_person(path: Path) -> np.ndarray:
    """Joints (T, 22, 3) of one person, z up, metres."""
    with path.open("rb") as stream:
        columns = read_npy_array(stream, path.stat().st_size, path.name, columns=3 * _NUM_JOINTS)
    return columns.reshape(len(columns), _NUM_JOINTS, 3)
