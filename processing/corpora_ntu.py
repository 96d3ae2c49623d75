"""NTU RGB+D and NTU RGB+D 120 in the layout of their owner: skeleton files SsssCcccPpppRrrrAaaa.skeleton, in any sub-folders.

Setup, camera, person, repetition and action stand in the name. A list of samples with missing skeletons that lies in the folder
(any `*missing*.txt`, as github.com/shahroudy/NTURGB-D has it) is respected. Splits as in Shahroudy et al., “NTU RGB+D: A Large
Scale Dataset for 3D Human Activity Analysis” (CVPR 2016), and Liu et al., “NTU RGB+D 120” (TPAMI 2020).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from .corpora_layout import (
    About,
    Clip,
    Corpus,
    Fault,
    Item,
    LeftOutError,
    Lists,
    read_joints,
    read_lines,
    settle_splits,
)
from .readers_ntu import list_bodies, read_ntu
from .recording import ReadOptions


_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
# How the reader says that a file holds several bodies.
# Of NTU RGB+D 120; those up to 40 are the training subjects of NTU RGB+D.
_TRAIN_SUBJECTS = frozenset(
    (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59,
     70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103)
)  # fmt: skip
_TRAIN_CAMERAS = (2, 3)
PROTOCOLS = {
    "xsub": "cross-subject: the training subjects of the papers",
    "xview": "cross-view: cameras 2 and 3 train, 1 test (NTU RGB+D)",
    "xset": "cross-setup: even setups train, odd test (NTU RGB+D 120)",
}
#: Of A1 to A120, as the owner writes them.
ACTIONS = (
    "drink water", "eat meal/snack", "brushing teeth", "brushing hair", "drop", "pickup", "throw", "sitting down",
    "standing up (from sitting position)", "clapping", "reading", "writing", "tear up paper", "wear jacket",
    "take off jacket", "wear a shoe", "take off a shoe", "wear on glasses", "take off glasses", "put on a hat/cap",
    "take off a hat/cap", "cheer up", "hand waving", "kicking something",
    "put something inside pocket / take out something from pocket", "hopping (one foot jumping)", "jump up",
    "make a phone call/answer phone", "playing with phone/tablet", "typing on a keyboard",
    "pointing to something with finger", "taking a selfie", "check time (from watch)", "rub two hands together",
    "nod head/bow", "shake head", "wipe face", "salute", "put the palms together", "cross hands in front (say stop)",
    "sneeze/cough", "staggering", "falling", "touch head (headache)", "touch chest (stomachache/heart pain)",
    "touch back (backache)", "touch neck (neckache)", "nausea or vomiting condition",
    "use a fan (with hand or paper)/feeling warm", "punching/slapping other person", "kicking other person",
    "pushing other person", "pat on back of other person", "point finger at the other person", "hugging other person",
    "giving something to other person", "touch other person's pocket", "handshaking", "walking towards each other",
    "walking apart from each other", "put on headphone", "take off headphone", "shoot at the basket", "bounce ball",
    "tennis bat swing", "juggling table tennis balls", "hush (quite)", "flick hair", "thumb up", "thumb down",
    "make ok sign", "make victory sign", "staple book", "counting money", "cutting nails", "cutting paper (using scissors)",
    "snapping fingers", "open bottle", "sniff (smell)", "squat down", "toss a coin", "fold paper", "ball up paper",
    "play magic cube", "apply cream on face", "apply cream on hand back", "put on bag", "take off bag",
    "put something into a bag", "take something out of a bag", "open a box", "move heavy objects", "shake fist",
    "throw up cap/hat", "hands up (both hands)", "cross arms", "arm circles", "arm swings", "running on the spot",
    "butt kicks (kick backward)", "cross toe touch", "side kick", "yawn", "stretch oneself", "blow nose",
    "hit other person with something", "wield knife towards other person", "knock over other person (hit with body)",
    "grab other person's stuff", "shoot at other person with a gun", "step on foot", "high-five", "cheers and drink",
    "carry something with other person", "take a photo of other person", "follow other person",
    "whisper in other person's ear", "exchange things with other person", "support somebody with one's hand",
    "finger-guessing game (playing rock-paper-scissors)",
)  # fmt: skip


@dataclass(frozen=True)
class NTU(Corpus):
    """NTU RGB+D, 60 or 120 actions, whichever files are there. The caption of a motion is the name of its action.

    A file may hold several bodies, some of them furniture. A row is the one whose joints spread most over the motion, which the
    owner proposes as the main one; of actions of two persons too, whose files often lack the second.

    Args:
        root: The folder.
        protocol: One of `PROTOCOLS`.
    """

    protocol: str = "xsub"

    name: ClassVar[str] = "ntu"
    columns: ClassVar[tuple[str, ...]] = ("label",)
    about: ClassVar[About] = About(
        title="NTU RGB+D",
        origin="25 joints of Kinect v2 cameras at 30 frames per second, in the frame of the camera, with the action of each. "
        "Here: one body of each file, short gaps filled; the caption is the name of the action.",
        licence="By the release agreement of the ROSE Lab: for academic, non-commercial research; not to be passed on.",
        licence_id="other",
        may_be_shared=False,
        homepage="https://rose1.ntu.edu.sg/dataset/actionRecognition/",
        citation="Shahroudy et al., “NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis”, CVPR 2016; Liu et al., "
        "“NTU RGB+D 120: A Large-Scale Benchmark for 3D Human Activity Understanding”, TPAMI 2020.",
    )

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            known = "; ".join(f"{name} ({about})" for name, about in PROTOCOLS.items())
            raise ValueError(f"unknown protocol {self.protocol!r}; known: {known}")

    def lists(self) -> Lists:
        files = sorted(self.root.rglob("*.skeleton"))
        if not files:
            raise FileNotFoundError(
                f"{str(self.root)!r} has no .skeleton file; expected those of NTU RGB+D, in any sub-folders"
            )
        missing, remarks = self._missing_skeletons()
        named: dict[str, list[Item]] = {"train": [], "test": []}
        for file in files:
            found = _NAME.fullmatch(file.stem)
            if found is None or not 1 <= int(found[5]) <= len(ACTIONS):
                remarks.append((str(file.relative_to(self.root)), Fault("name that is not SsssCcccPpppRrrrAaaa")))
                continue
            setup, camera, person = (int(found[group]) for group in (1, 2, 3))
            split = "train" if self._is_training(setup, camera, person) else "test"
            named[split].append(Item(file.stem, (str(file.relative_to(self.root)), file.stem in missing)))
        items, repeated = settle_splits(named)
        lists = dict.fromkeys(items, f"protocol {self.protocol}")
        return Lists(items, lists, repeated, remarks, {"protocol": PROTOCOLS[self.protocol]})

    def _is_training(self, setup: int, camera: int, person: int) -> bool:
        if self.protocol == "xsub":
            return person in _TRAIN_SUBJECTS
        return camera in _TRAIN_CAMERAS if self.protocol == "xview" else setup % 2 == 0

    def _missing_skeletons(self) -> tuple[set[str], list[tuple[str, Fault]]]:
        """Samples that the owner advises to leave out, and remarks."""
        missing: set[str] = set()
        remarks = []
        lists = sorted(self.root.rglob("*missing*.txt"))
        for file in lists:
            lines, faults = read_lines(file)
            missing |= {line for _, line in lines if _NAME.fullmatch(line)}
            remarks += [(file.name, fault) for fault in faults]
        if not lists:
            remarks.append(("*missing*.txt", Fault("no list of samples with missing skeletons, so none is left out for it")))
        return missing, remarks

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        path, is_missing = item.source
        if is_missing:
            raise LeftOutError("in the owner's list of samples with missing skeletons")
        joints, skeleton, fps, faults = _read_main_body(self.root / path)
        action = ACTIONS[int(item.id[-3:]) - 1]
        return [Clip(joints, skeleton, fps, [action], label=action)], faults


def _read_main_body(path: Path) -> tuple[np.ndarray, str, float, list[Fault]]:
    """`read_joints` of the body whose joints vary most, the variances of x, y and z added up."""
    bodies = list_bodies(path)
    if len(bodies) == 1:
        return read_joints(path, ReadOptions())
    spreads: dict[str, float] = {}
    refused = []
    for body in bodies:
        try:
            positions = read_ntu(path, ReadOptions(person=body)).positions
        except ValueError as error:  # none of its joints was tracked
            refused.append(str(error))
        else:
            spreads[body] = float(np.nanvar(positions, axis=(0, 1)).sum())
    if not spreads:
        raise LeftOutError("no body that was tracked", refused[0])
    joints, skeleton, fps, remarks = read_joints(path, ReadOptions(person=max(spreads, key=lambda body: spreads[body])))
    faults = [remark for remark in remarks if not remark.detail.startswith("read body")]
    faults.append(Fault("several bodies, of which the one that moves most is taken", f"{len(bodies)} bodies"))
    return joints, skeleton, fps, faults
