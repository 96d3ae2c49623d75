"""BABEL-QA, questions about motions of BABEL, in the layout that its owners' scripts write.

    questions.json               for each id of a question: babel_id, question, answer, query_type, relation_type, program
    split_question_ids.json      train, val, test: ids of questions; here or in BABEL-QA/, as it lies in the owners' repository
    motion_concepts.json         for each babel_id, segments: start_f, end_f, attributes (action, direction, body_part)
    motion_sequences/BABEL_ID/joints.npy    joints (T, 22, 3) of SMPL-H, z up, metres, 30 frames per second

As in Endo et al., “Motion Question Answering via Modular Motion Programs” (ICML 2023). The layout was read from the scripts of
github.com/markendo/HumanMotionQA: BABEL-QA/README.md, extract_motion_concepts.py, generate_questions.py,
process_amass_data/process_amass_data.py, and NSPose/datasets/humanmotionqa/dataset.py. No file that they write was at hand but
split_question_ids.json, which is in the repository. `questions.json` holds more questions than the splits name: those are none of
BABEL-QA and are not counted.

Where a motion has no joints.npy, it is read from AMASS, which BABEL's annotations name; see `corpora_babel` for their layout.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset

from .corpora_babel import Babel60
from .corpora_layout import About, Clip, Fault, Item, LeftOutError, Lists, read_joints, settle_splits
from .corpora_questions import MotionKind, Questions, collect_questions, motion_kinds, read_json, text_of
from .instructions import make_messages
from .recording import ReadOptions
from .skeletons import get_skeleton


_FPS = 30.0
_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_ANNOTATIONS = ("train.json", "val.json")
_ATTRIBUTES = ("action", "direction", "body_part")


@dataclass(frozen=True)
class BabelQA(Babel60):
    """The motions that BABEL-QA asks about, whole. The id of a row is BABEL's id of the motion.

    The captions are what the segments of a motion are about, one after the other: “A person walk, then sit”.

    Args:
        root: The folder.
        amass: The folder of AMASS, for motions without joints.npy; default `amass` in the root.
        body_model: File or folder of the body model, likewise; default `body_models` in the root.
    """

    name: ClassVar[str] = "babel_qa"
    columns: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About] = About(
        title="BABEL-QA",
        origin="Motions of AMASS that BABEL-QA asks about. Here: 22 joints of SMPL-H at 30 frames per second; captions made of "
        "the concepts that BABEL-QA's owners took from BABEL's annotations.",
        licence="BABEL and AMASS: for non-commercial scientific research; they are not to be passed on.",
        licence_id="other",
        may_be_shared=False,
        homepage="https://github.com/markendo/HumanMotionQA",
        citation="Endo, Hsu, Li and Wu, “Motion Question Answering via Modular Motion Programs”, ICML 2023; Punnakkal et al., "
        "“BABEL: Bodies, Action and Behavior with English Labels”, CVPR 2021; Mahmood et al., “AMASS: Archive of Motion Capture "
        "as Surface Shapes”, ICCV 2019.",
    )

    def lists(self) -> Lists:
        named: dict[str, list[Item]] = {}
        remarks: list[tuple[str, Fault]] = []
        for split, ids in self.splits.items():
            known = [self.questions[name] for name in ids if name in self.questions]
            if len(known) < len(ids):
                remarks.append((split, Fault("questions that questions.json does not have", f"{len(ids) - len(known)}")))
            named[split] = [Item(name) for name in dict.fromkeys(str(question["babel_id"]) for question in known)]
        items, repeated = settle_splits(named)
        return Lists(items, dict.fromkeys(items, self._split_file.name), repeated, remarks)

    @cached_property
    def questions(self) -> dict[str, dict[str, Any]]:
        """The questions by their ids.

        Raises:
            FileNotFoundError: If questions.json is missing.
            ValueError: If it is none of BABEL-QA's.
        """
        self.require("questions.json")
        file = self.root / "questions.json"
        found = read_json(file)
        keys = ("babel_id", "question", "answer", "query_type")
        if not isinstance(found, dict) or not all(
            isinstance(one, dict) and all(key in one for key in keys) for one in found.values()
        ):
            raise ValueError(f"{file} is none of BABEL-QA's: expected an object of questions with {', '.join(keys)}")
        return found

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """The ids of the questions of each split.

        Raises:
            FileNotFoundError, ValueError: As `questions`.
        """
        found = read_json(self._split_file)
        if not isinstance(found, dict) or not all(isinstance(found.get(name, []), list) for name in _SPLITS.values()):
            raise ValueError(
                f"{self._split_file} is none of BABEL-QA's: expected lists of ids, {', '.join(_SPLITS.values())}"
            )
        return {split: [str(one) for one in found[name]] for split, name in _SPLITS.items() if name in found}

    @property
    def _split_file(self) -> Path:
        tries = [self.root / folder / "split_question_ids.json" for folder in ("", "BABEL-QA")]
        file = next((path for path in tries if path.is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"{str(self.root)!r} has no split_question_ids.json; copy it there from the folder BABEL-QA of "
                f"{self.about.homepage}"
            )
        return file

    @cached_property
    def _concepts(self) -> dict[str, list[dict[str, Any]]]:
        self.require("motion_concepts.json")
        found = read_json(self.root / "motion_concepts.json")
        if not isinstance(found, dict) or not all(
            isinstance(segment, dict) and isinstance(segment.get("attributes"), dict)
            for segments in found.values()
            for segment in segments
        ):
            raise ValueError(
                f"{self.root / 'motion_concepts.json'} is none of BABEL-QA's: expected segments with attributes"
            )
        return found

    @cached_property
    def _files(self) -> dict[str, str]:
        """The file of AMASS that BABEL's annotations name for each motion."""
        return {
            str(name): str(annotation["feat_p"])
            for file in self._places(*_ANNOTATIONS)
            for name, annotation in read_json(file).items()
        }

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        captions = list(_captions(self._concepts.get(item.id, [])))
        if not captions:
            raise LeftOutError("no concepts of the motion", "in motion_concepts.json")
        file = self.root / "motion_sequences" / item.id / "joints.npy"
        if file.is_file():
            options = ReadOptions(get_skeleton("smpl22"), _FPS, up_axis="z")
            joints, skeleton, fps, faults = read_joints(file, options)
        else:
            named = self._files.get(item.id)
            found = None if named is None else self._find(named)
            if found is None:
                raise LeftOutError(
                    "no motion file", f"neither {file.relative_to(self.root)} nor {named or 'a file of AMASS'}"
                )
            joints, skeleton, fps, faults = read_joints(found, ReadOptions(body_model=self._body_model), _FPS)
            faults = [remark for remark in faults if "hands and face" not in remark.detail]  # which no motion here has
        return [Clip(joints, skeleton, fps, captions)], faults


def babel_qa_questions(corpus: BabelQA, motions: Mapping[str, Dataset]) -> dict[str, Questions]:
    """The questions of BABEL-QA about motions that were read.

    Args:
        corpus: BABEL-QA.
        motions: Rows of each split, as `motionpatches prepare` makes them of `corpus` and `corpora.load_motions` loads them.

    Returns:
        For each split that both have, the questions. `category` is BABEL-QA's query_type: `query_action`, `query_direction`
        or `query_body_part`. A motion whose questions two splits share is in one of them; its questions in the other are left
        out, so that none is learned from and judged on.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is none of BABEL-QA's, or no split has motions.

    Warns:
        UserWarning: If questions were left out.
    """
    kinds = {split: motion_kinds(rows) for split, rows in motions.items() if split in corpus.splits}
    if not kinds:
        raise ValueError(f"the motions have splits {', '.join(motions)}; BABEL-QA has {', '.join(corpus.splits)}")
    found = {}
    for split in kinds:
        rows = ((name, _to_row(corpus, split, name, kinds)) for name in corpus.splits[split])
        found[split] = collect_questions(f"BABEL-QA, {split}", rows)
    return found


def _to_row(corpus: BabelQA, split: str, name: str, kinds: Mapping[str, Mapping[str, MotionKind]]) -> dict[str, Any] | Fault:
    question = corpus.questions.get(name)
    if question is None:
        return Fault("question that questions.json does not have")
    motion = str(question["babel_id"])
    asked, answer = text_of(question, "question"), text_of(question, "answer")
    if asked is None or answer is None:
        return Fault("no question or no answer", motion)
    kind = kinds[split].get(motion)
    if kind is None:
        others = [other for other, known in kinds.items() if motion in known]
        return Fault(f"motion that is in the split {others[0]}" if others else "motion that is not in the data", motion)
    return {
        "id": name,
        "category": str(question["query_type"]),
        "skeleton": kind.skeleton,
        "needs": "motion",
        "messages": make_messages([(asked, answer)], [(motion, 0, kind.num_frames)]),
    }


def _captions(segments: list[dict[str, Any]]) -> Iterator[str]:
    """A caption for each kind of attribute that the segments have, transitions left out."""
    for attribute in _ATTRIBUTES:
        words = [word for segment in segments for word in segment["attributes"].get(attribute, []) if word != "transition"]
        if words:
            verb = {"action": "", "direction": "move ", "body_part": "use the "}[attribute]
            yield f"A person {', then '.join(f'{verb}{word}' for word in words)}"
