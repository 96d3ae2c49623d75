"""HumanML3D and KIT-ML in the folder layout of HumanML3D's owner.

    new_joints/ID.npy    joint positions (T, J, 3)
    texts/ID.txt         a caption a line: caption#caption with parts of speech#from#to, in seconds; 0.0#0.0 is all of the motion
    train.txt  val.txt  test.txt     ids, one a line; those that begin with M are mirror images

The layout is described at github.com/EricGuo5513/HumanML3D.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from .corpora_layout import (
    About,
    Clip,
    Corpus,
    Fault,
    Item,
    LeftOutError,
    Lists,
    list_others,
    read_joints,
    read_lines,
    settle_splits,
)
from .recording import ReadOptions
from .skeletons import get_skeleton


_LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}


@dataclass(frozen=True)
class HumanML3D(Corpus):
    """HumanML3D.

    Captions of a part of a motion make a row of their own, a sub-clip, whose id adds the first frame and the one after the last:
    `000123_40-110`. A motion with such captions only is no row itself.

    Args:
        root: The folder.
        sub_clips: Whether to make sub-clips. Without them a row is a motion of the lists, as in the galleries of most papers, and
            captions of a part are left out.
    """

    sub_clips: bool = True

    name: ClassVar[str] = "humanml3d"
    columns: ClassVar[tuple[str, ...]] = ("mirrored",)
    skeleton: ClassVar[str] = "smpl22"
    fps: ClassVar[float] = 20.0
    #: The shortest sub-clip: what the owner's own code leaves out below.
    min_part_frames: ClassVar[int] = 40
    about: ClassVar[About] = About(
        title="HumanML3D",
        origin="Motions of AMASS and HumanAct12, cut, brought to 20 frames per second and to one frame, and mirrored, by the "
        "owner of HumanML3D; captions by annotators. Here: joint positions as they are; captions of a part as sub-clips.",
        licence="The captions and the code of HumanML3D: MIT. The motions are derived from AMASS, whose licence is for "
        "non-commercial research and does not allow them to be passed on.",
        licence_id="other",
        may_be_shared=False,
        homepage="https://github.com/EricGuo5513/HumanML3D",
        citation="Guo et al., “Generating Diverse and Natural 3D Human Motions from Text”, CVPR 2022; Mahmood et al., “AMASS: "
        "Archive of Motion Capture as Surface Shapes”, ICCV 2019.",
    )

    def lists(self) -> Lists:
        self.require("new_joints", "texts")
        present = {split: file for split, file in _LISTS.items() if (self.root / file).exists()}
        if not present:
            raise FileNotFoundError(f"{str(self.root)!r} has none of the split lists {', '.join(_LISTS.values())}")
        named, remarks = {}, []
        for split, file in _LISTS.items():
            if split not in present:
                remarks.append((file, Fault("no such split list")))
                continue
            lines, faults = read_lines(self.root / file)
            named[split] = [Item(name, mirror_of=name[1:] if name.startswith("M") else None) for _, name in lines]
            remarks += [(file, fault) for fault in faults]
        items, repeated = settle_splits(named)
        ids = {item.id for split in items.values() for item in split}
        remarks += list_others(self.root / "new_joints", ".npy", ids, "motion that no split list names")
        remarks += list_others(self.root / "texts", ".txt", ids, "captions that no split list names")
        return Lists(items, present, repeated, remarks)

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        motion, text = self.root / "new_joints" / f"{item.id}.npy", self.root / "texts" / f"{item.id}.txt"
        if not motion.exists():
            raise LeftOutError("no motion file" if text.exists() else "neither motion nor caption file", f"{item.id}.npy")
        if not text.exists():
            raise LeftOutError("no caption file", text.name)
        captions, faults = read_captions(text)
        if not captions:
            raise LeftOutError(
                "no caption that can be used", "; ".join(fault.detail for fault in faults) or f"{text.name} is empty"
            )
        joints, skeleton, fps, remarks = read_joints(motion, ReadOptions(get_skeleton(self.skeleton), self.fps))
        faults += remarks
        texts: dict[tuple[int, int], list[str]] = {}
        for caption in captions:
            try:
                frames = self._frames(caption, len(joints), faults)
            except LeftOutError as error:
                faults.append(error.fault)
                continue
            if frames != (0, len(joints)) and not self.sub_clips:
                faults.append(Fault("caption of a part, as no sub-clips are made", caption.text[:60]))
                continue
            texts.setdefault(frames, []).append(caption.text)
        whole = texts.pop((0, len(joints)), None)
        clips = [] if whole is None else [Clip(joints, skeleton, fps, whole)]
        for (first, last), said in texts.items():
            clips.append(Clip(joints[first:last], skeleton, fps, said, part=f"{first}-{last}"))
        return clips, faults

    def _frames(self, caption: "Caption", num_frames: int, faults: list[Fault]) -> tuple[int, int]:
        """The first frame of a caption and the one after its last; what is cut is added to the faults."""
        if caption.start == caption.end == 0:
            return 0, num_frames
        where = f"{caption.start:g} to {caption.end:g} s of {num_frames / self.fps:g} s"
        # As the owner's code counts frames.
        first, last = int(caption.start * self.fps), int(caption.end * self.fps)
        if first < 0 or first >= num_frames:
            raise LeftOutError("sub-clip outside the motion", where)
        if last <= first:
            raise LeftOutError("sub-clip that ends before it begins", where)
        if last > num_frames:
            faults.append(Fault("sub-clip cut at the end of the motion", where))
            last = num_frames
        if last - first < self.min_part_frames and last - first < num_frames:
            raise LeftOutError(f"sub-clip shorter than {self.min_part_frames} frames", where)
        return first, last


@dataclass(frozen=True)
class KitML(HumanML3D):
    """KIT-ML as HumanML3D's owner distributes it: 12.5 frames per second, kept as they are."""

    name: ClassVar[str] = "kitml"
    skeleton: ClassVar[str] = "kit21"
    fps: ClassVar[float] = 12.5
    min_part_frames: ClassVar[int] = 24
    about: ClassVar[About] = About(
        title="KIT-ML",
        origin="The KIT Motion-Language Dataset, brought to 21 joints and 12.5 frames per second, and mirrored, by the owner of "
        "HumanML3D. Here: joint positions from millimetres to metres; the frame rate as it is.",
        licence="None found; its owner asks to be cited.",
        licence_id="unknown",
        may_be_shared=False,
        homepage="https://motion-annotation.humanoids.kit.edu/dataset/",
        citation="Plappert, Mandery and Asfour, “The KIT Motion-Language Dataset”, Big Data 4(4), 2016.",
    )


class Caption(NamedTuple):
    """A caption and the seconds it is of; 0 to 0 is all of the motion."""

    text: str
    start: float
    end: float


def read_captions(path: Path) -> tuple[list[Caption], list[Fault]]:
    """The captions of a text file, and what of it cannot be used."""
    lines, faults = read_lines(path)
    captions = []
    for number, line in lines:
        where = f"{path.name}, line {number}"
        fields = line.rsplit("#", 3)
        if len(fields) != 4:
            faults.append(Fault("line that is not caption#words#from#to", f"{where}: {line[:60]!r}"))
            continue
        text, _, *times = fields
        try:
            start, end = (0.0 if math.isnan(time) else time for time in map(float, times))
        except ValueError:
            faults.append(Fault("caption whose times are no numbers", f"{where}: {times}"))
            continue
        if not math.isfinite(start) or not math.isfinite(end):
            faults.append(Fault("caption whose times are no numbers", f"{where}: {times}"))
        elif not text.strip():
            faults.append(Fault("empty caption", where))
        else:
            captions.append(Caption(text.strip(), start, end))
    return captions, faults
