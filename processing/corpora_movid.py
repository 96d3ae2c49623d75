"""Questions in the layout of MoVid, the data of MotionLLM.

    video-QA.json                 a list of records: instruction, input, output
    videos/SUBSET/…               SUBSET: animation, dance, haa500, humman, idea400, kungfu, music, perform

As in Chen et al., “MotionLLM: Understanding Human Behaviors from Human Motions and Videos” (arXiv 2405.20340).

What was read of it: the names of files and folders, on the card of huggingface.co/datasets/EvanTHU/MoVid; that video-QA.json is a
list of records with `instruction`, `input` (a video) and `output`, in app.py of huggingface.co/spaces/EvanTHU/Movid-vis; the same
fields and, in lines that are commented out, a list `QA` of `Q` and `A` for several turns, in
scripts/video_dataset/prepare_video_dataset_video_llava.py of github.com/IDEA-Research/MotionLLM.

What is assumed, as no public source shows it: that `input` ends with the path of a video below `videos`; that the questions about
motions (H3DQA, of HumanML3D) are records of the same fields whose `input` is the id or the file name of a motion of HumanML3D;
that a record may name its `category`, by which MoVid-Bench reports. Both H3DQA and MoVid-Bench were not released when this was
written, and MoVid has no published splits: the caller says which file is which.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import Dataset

from .corpora_layout import Fault
from .corpora_questions import MotionKind, Questions, collect_questions, motion_kinds, read_json, text_of
from .instructions import make_messages


_VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_FOLDERS = ("", "videos")


def movid_questions(
    file: str | Path, motions: Dataset | None = None, root: str | Path | None = None, category: str = "movid"
) -> Questions:
    """The questions of a file of MoVid, about videos or about motions.

    Args:
        file: A list of records in JSON.
        motions: Rows that records about motions name by their ids: HumanML3D, as `motionpatches prepare` makes it and
            `corpora.load_motions` loads it.
        root: What paths of videos are relative to, for the questions too; default the folder of the file.
        category: The category of records that name none.

    Returns:
        The questions. Records of several turns are one conversation.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no list of records.

    Warns:
        UserWarning: If questions were left out: those without a question, an answer, or the motion or video they are about.
    """
    file = Path(file)
    records = read_json(file)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f"{file} is none of MoVid's: expected a list of records with instruction, input and output")
    kinds = {} if motions is None else motion_kinds(motions)
    folder = file.parent if root is None else Path(root)
    named = ((f"{file.stem}-{number:06d}", record) for number, record in enumerate(records))
    return collect_questions(str(file), ((name, _to_row(name, record, kinds, folder, category)) for name, record in named))


def _to_row(
    name: str, record: Mapping[str, Any], kinds: Mapping[str, MotionKind], folder: Path, category: str
) -> dict[str, Any] | Fault:
    turns = _turns(record)
    if not turns:
        return Fault("no question or no answer")
    given = text_of(record, "input")
    if given is None:
        return Fault("neither motion nor video", f"the fields are {', '.join(record)}")
    path = PurePosixPath(given.replace("\\", "/"))
    row = {"id": name, "category": text_of(record, "category") or category}
    if path.suffix.lower() in _VIDEO_SUFFIXES:
        video = _find_video(path, folder)
        if video is None:
            return Fault("no video file", given)
        return {**row, "skeleton": None, "needs": "video", "messages": make_messages(turns, video=video)}
    kind = kinds.get(path.stem)
    if kind is None:
        return Fault("motion that is not in the data", given)
    clip = (path.stem, 0, kind.num_frames)
    return {**row, "skeleton": kind.skeleton, "needs": "motion", "messages": make_messages(turns, [clip])}


def _turns(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Questions and answers, in order; none if one of them is missing."""
    if isinstance(record.get("QA"), list):
        said = [turn if isinstance(turn, dict) else {} for turn in record["QA"]]
        pairs = [(text_of(turn, "Q"), text_of(turn, "A")) for turn in said]
    else:
        pairs = [(text_of(record, "instruction"), text_of(record, "output"))]
    whole = [(asked, said) for asked, said in pairs if asked is not None and said is not None]
    return whole if len(whole) == len(pairs) else []


def _find_video(path: PurePosixPath, folder: Path) -> str | None:
    """The video whose path ends the given one, relative to the folder: as given, or without some of the first folders."""
    parts = [part for part in path.parts if part not in ("/", "..")]
    tries = [PurePosixPath(first, *parts[number:]) for number in range(len(parts)) for first in _FOLDERS]
    return next((str(found) for found in tries if (folder / found).is_file()), None)
