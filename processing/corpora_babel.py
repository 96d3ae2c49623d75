"""BABEL's action recognition benchmark, of 60 or 120 actions, from BABEL's annotations and AMASS.

    babel_v1.0_release/train.json  val.json     segments of AMASS's motions and their actions
    action_label_2_idx.json                     actions by frequency, from github.com/abhinanda-punnakkal/BABEL
    amass/…/*_poses.npz                         SMPL-H parameters as AMASS comes
    body_models/…                               the SMPL-H body model, as `read_motion` takes it

As in Punnakkal et al., “BABEL: Bodies, Action and Behavior with English Labels” (CVPR 2021): each segment is cut into chunks of
five seconds at 30 frames per second, each of which is a sample of each of its actions. The test annotations are not public, so
`val.json` is the test.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .corpora_layout import About, Clip, Corpus, Fault, Item, LeftOutError, Lists, read_joints, settle_splits
from .recording import ReadOptions


_FPS = 30.0
_CHUNK_FRAMES = 150
_LISTS = {"train": "train.json", "test": "val.json"}
_LABELS = "action_label_2_idx.json"
# What a folder of AMASS is called that BABEL calls otherwise.
_RENAMED = {
    "BioMotionLab_NTroje": "BMLrub", "DFaust_67": "DFaust", "MPI_HDM05": "HDM05", "MPI_Limits": "PosePrior", "MPI_mosh": "MoSh",
    "SSM_synced": "SSM", "TCD_handMocap": "TCDHands", "Transitions_mocap": "Transitions", "Transitionsmocap": "Transitions",
}  # fmt: skip


class Segment(NamedTuple):
    """A labelled part of a motion, in seconds; `None` is all of it."""

    start: float | None
    end: float | None
    actions: list[str]


@dataclass(frozen=True)
class Babel60(Corpus):
    """BABEL-60. The id of a row is BABEL's id of the motion, then the segment, its chunk and the number of the action.

    Args:
        root: The folder with the annotations.
        amass: The folder of AMASS; default `amass` in the root.
        body_model: File or folder of the body model; default `body_models` in the root.
    """

    amass: Path | None = None
    body_model: Path | None = None

    name: ClassVar[str] = "babel60"
    columns: ClassVar[tuple[str, ...]] = ("label",)
    num_classes: ClassVar[int] = 60
    about: ClassVar[About] = About(
        title="BABEL",
        origin="Motions of AMASS with the actions that BABEL's annotators saw in them. Here: 22 joints of SMPL-H by the body "
        "model, resampled to 30 frames per second, in chunks of five seconds; the caption is “A person {action}”. The official "
        "validation split is the test split, as the annotations of the official test split are not public.",
        licence="BABEL and AMASS: for non-commercial scientific research; they are not to be passed on.",
        licence_id="other",
        may_be_shared=False,
        homepage="https://babel.is.tue.mpg.de",
        citation="Punnakkal et al., “BABEL: Bodies, Action and Behavior with English Labels”, CVPR 2021; Mahmood et al., “AMASS: "
        "Archive of Motion Capture as Surface Shapes”, ICCV 2019.",
    )

    def lists(self) -> Lists:
        folder = next((path.parent for path in self._places("train.json", "val.json")), None)
        if folder is None:
            raise FileNotFoundError(
                f"{str(self.root)!r} has neither train.json nor val.json, also not in babel_v1.0_release/; get BABEL's "
                f"annotations at {self.about.homepage}"
            )
        for folder_of, what in ((self._amass, "--amass"), (self._body_model, "--body-model")):
            if not folder_of.exists():
                raise FileNotFoundError(f"no {str(folder_of)!r}; pass {what}, or put it there (see docs/prepare.md)")
        classes = self.classes
        named, lists = {}, {}
        remarks: list[tuple[str, Fault]] = []
        for split, file in _LISTS.items():
            if not (folder / file).exists():
                remarks.append((file, Fault("no such split list")))
                continue
            named[split] = list(_read_annotations(folder / file))
            lists[split] = str((folder / file).relative_to(self.root))
        items, repeated = settle_splits(named)
        return Lists(items, lists, repeated, remarks, {"actions": list(classes)})

    @cached_property
    def classes(self) -> dict[str, int]:
        """The actions and their numbers, the most frequent first, from the file of the release."""
        file = next(self._places(_LABELS), None)
        if file is None:
            raise FileNotFoundError(
                f"{str(self.root)!r} has no {_LABELS}; copy it there from action_recognition/data of "
                "https://github.com/abhinanda-punnakkal/BABEL: it says which actions the benchmark has"
            )
        numbers = _read_json(file)
        is_valid = isinstance(numbers, dict) and all(isinstance(number, int) for number in numbers.values())
        classes = {name: n for name, n in numbers.items() if n < self.num_classes} if is_valid else {}
        if sorted(classes.values()) != list(range(self.num_classes)):
            raise ValueError(
                f"{file} does not give the numbers 0 to {self.num_classes - 1} to one action each; copy it again"
            )
        return classes

    @property
    def _amass(self) -> Path:
        return self.amass or self.root / "amass"

    @property
    def _body_model(self) -> Path:
        return self.body_model or self.root / "body_models"

    def _places(self, *files: str) -> Iterator[Path]:
        folders = [self.root, *sorted(self.root.glob("babel*")), *sorted(self.root.glob("babel*/babel*"))]
        folders.append(self.root / "action_recognition" / "data")
        return (folder / file for folder in folders for file in files if (folder / file).is_file())

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        path, segments = item.source
        faults = []
        known: list[tuple[int, Segment]] = []
        for number, segment in enumerate(segments):
            others = [action for action in segment.actions if action not in self.classes]
            if others or not segment.actions:
                kind = f"action that is none of the {self.num_classes}" if others else "segment without an action"
                faults.append(Fault(kind, f"segment {number}: {', '.join(others)}"))
            if len(others) < len(segment.actions):
                known.append((number, segment))
        if not known:
            raise LeftOutError(f"no segment with one of the {self.num_classes} actions", f"{len(segments)} segments")
        file = self._find(path)
        if file is None:
            raise LeftOutError("no motion file", path)
        joints, skeleton, fps, remarks = read_joints(file, ReadOptions(body_model=self._body_model), _FPS)
        faults += [remark for remark in remarks if "hands and face" not in remark.detail]  # which no motion here has
        clips = []
        for number, segment in known:
            try:
                first, last = _frames(segment, len(joints), faults)
            except LeftOutError as error:
                faults.append(Fault(error.fault.kind, f"segment {number}: {error.fault.detail}"))
                continue
            for chunk, start in enumerate(range(first, last, _CHUNK_FRAMES)):
                end = min(start + _CHUNK_FRAMES, last)
                if end - start < 2:
                    faults.append(Fault("chunk of a single frame", f"segment {number}, chunk {chunk}"))
                    continue
                for action in dict.fromkeys(segment.actions):
                    if action in self.classes:
                        part = f"segment{number}_chunk{chunk}_action{self.classes[action]}"
                        clips.append(Clip(joints[start:end], skeleton, fps, [f"A person {action}"], action, part))
        return clips, faults

    def _find(self, path: str) -> Path | None:
        """The file of AMASS that BABEL names, in any of the ways in which AMASS's archives are unpacked and called."""
        whole = Path(path)
        inner = Path(*whole.parts[1:])  # without the name of the archive
        tries = [whole, inner]
        for name in dict.fromkeys(whole.parts[:2]):
            tries += [Path(renamed, *whole.parts[2:]) for renamed in (name, _RENAMED.get(name)) if renamed]
        return next((self._amass / file for file in tries if (self._amass / file).is_file()), None)


@dataclass(frozen=True)
class Babel120(Babel60):
    """BABEL-120; as `Babel60`."""

    name: ClassVar[str] = "babel120"
    num_classes: ClassVar[int] = 120


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_pairs)
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}; copy it again") from error


class _Repeated(dict):
    """An object of JSON, with the keys that it has more than once."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = _Repeated(found)
    marked.repeated = tuple(key for key in found if sum(key == other for other, _ in pairs) > 1)
    return marked


def _read_annotations(file: Path) -> Iterator[Item]:
    """An item for each motion: what is annotated of its frames or, where nothing is, of all of it.

    Raises:
        ValueError: If the file is none of BABEL's.
    """
    annotations = _read_json(file)
    if not isinstance(annotations, dict):
        raise ValueError(
            f"{file} holds a {type(annotations).__name__}; expected BABEL's annotations, an object of one for each id"
        )
    for key, annotation in annotations.items():
        try:
            dense = annotation.get("frame_ann")
            labels = (dense or annotation.get("seq_ann") or {}).get("labels") or []
            segments = [
                Segment(
                    float(label["start_t"]) if dense else None,
                    float(label["end_t"]) if dense else None,
                    list(label["act_cat"] or []),
                )
                for label in labels
            ]
            item = Item(str(key), (str(annotation["feat_p"]), segments))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: the annotation of {key!r} is none of BABEL's ({type(error).__name__}: {error})"
            ) from error
        yield item
        if key in getattr(annotations, "repeated", ()):
            yield item  # named twice, which is reported


def _frames(segment: Segment, num_frames: int, faults: list[Fault]) -> tuple[int, int]:
    """The first frame of a segment and the one after its last; what is cut is added to the faults."""
    if segment.start is None or segment.end is None:
        return 0, num_frames
    where = f"{segment.start:g} to {segment.end:g} s of {num_frames / _FPS:g} s"
    if not np.isfinite([segment.start, segment.end]).all() or segment.start < 0 or int(segment.start * _FPS) >= num_frames:
        raise LeftOutError("segment outside the motion", where)
    first, last = int(segment.start * _FPS), int(segment.end * _FPS)
    if last <= first:
        raise LeftOutError("segment without a frame", where)
    if last > num_frames + 1:  # a frame more is rounding
        faults.append(Fault("segment cut at the end of the motion", where))
    return first, min(last, num_frames)
