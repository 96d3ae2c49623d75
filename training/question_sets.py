"""`motionpatches evaluate` of a MotionLlamo checkpoint: what it loads, and the questions that it asks."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset, load_from_disk
from transformers import AutoModelForMultimodalLM, AutoProcessor, PreTrainedConfig

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.corpora import load_motions, split_files
from ..processing.instructions import ClipReader, make_instructions
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from .answering import MOTIONS, read_questions
from .card_results import weights_fingerprint
from .inference import load_checkpoint
from .instruction_evaluation import evaluate_instructions
from .run import describe_data


_COLUMNS = ("id", "category", "messages")


def evaluate_answers(
    checkpoint: str | Path,
    data: str | Path,
    split: str = "test",
    datasets: Sequence[str] | None = None,
    instructions: str | Path | None = None,
    num: int = 100,
    categories: Sequence[str] | None = None,
    most_clips: int = 4,
    max_seconds: float | None = None,
    video_folder: str | Path | None = None,
    retriever: str | Path | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Load a MotionLlamo checkpoint and evaluate it on questions about a folder of motions.

    Args:
        checkpoint: Folder or Hub id.
        data: Folder of motions, in the layouts of `corpora.load_motions`.
        split: The split that questions are asked about.
        datasets: For folders side by side, which of them to take; default all.
        instructions: Folder of questions, see `load_instructions`; majority answers are then those of its split `train`, if it
            has one. Default: questions made of the split by `make_instructions`.
        num, most_clips, max_seconds: Of the questions that are made: how many in each category at most, most motions one after
            the other in those about order, and the longest motion to ask about.
        categories: Ask questions of these alone; default all that there are.
        video_folder: What the paths of videos start from; default the folder of `instructions`.
        retriever: A MotionPatches checkpoint, for the R-precision of captions.
        batch_size, max_new_tokens, seed, progress: As in `evaluate_instructions`; the seed is also that of the questions.

    Returns:
        For a results file: `"data"`, `"split"`, `"questions"`: what they are and their SHA-256, `"seed"`, `"weights"`,
        `"retriever_weights"` where there is one, and `"results"` of `evaluate_instructions`.

    Raises:
        FileNotFoundError: If there is no such checkpoint or folder.
        ValueError: If the checkpoint is of another kind, or the data has no such split; and as `evaluate_instructions`.
    """
    model, processor = load_motion_llamo(checkpoint)
    judge = None if retriever is None else load_checkpoint(retriever)
    splits = load_motions(data, datasets)
    if split not in splits:
        raise ValueError(f"{str(data)!r} has no split {split!r}; it has {', '.join(splits)}")
    rows, train = splits[split], None
    facts: dict[str, Any] = {"data": describe_data(rows), "split": split}
    if instructions is None:
        questions = make_instructions(rows, num, categories, seed, (2, most_clips), max_seconds)
        made = {"num": num, "most_clips": most_clips, "max_seconds": max_seconds, "seed": seed}
    else:
        found = load_instructions(instructions)
        if split not in found:
            raise ValueError(f"{str(instructions)!r} has no questions of split {split!r}; it has {', '.join(found)}")
        questions, made = select_categories(found[split], categories), None
        train = found.get("train") if split != "train" else None
    results = evaluate_instructions(
        model,
        processor,
        questions,
        ClipReader(rows),
        train,
        judge,
        MOTIONS,
        video_folder or instructions,
        batch_size,
        max_new_tokens,
        seed,
        progress,
    )
    facts["questions"] = {"made": made, "categories": dict(Counter(questions["category"])), "sha256": _digest(questions)}
    facts |= {"seed": seed, "weights": weights_fingerprint(model)}
    if judge is not None:
        facts["retriever_weights"] = weights_fingerprint(judge[0])
    return {**facts, "results": results}


def holds_motion_llamo(checkpoint: str | Path) -> bool:
    """Whether a folder or Hub id holds a MotionLlamo; `False` also where there is no model."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(checkpoint)
    except OSError:
        return False
    return config.get("model_type") == "motion_llamo"


def load_motion_llamo(checkpoint: str | Path) -> tuple[MotionLlamoForConditionalGeneration, MotionLlamoProcessor]:
    """Model, in evaluation mode and on the GPU where there is one, and processor of a folder or Hub id.

    Raises:
        ValueError: If it holds no MotionLlamo.
    """
    if not holds_motion_llamo(checkpoint):
        raise ValueError(
            f"{str(checkpoint)!r} holds no MotionLlamo; expected a folder or Hub id of one, with its config.json"
        )
    model = AutoModelForMultimodalLM.from_pretrained(checkpoint)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), AutoProcessor.from_pretrained(checkpoint)


def load_instructions(path: str | Path) -> dict[str, Dataset]:
    """Questions by split, of a folder that `DatasetDict.save_to_disk` wrote, or of Parquet files (as `corpora.load_motions` has
    them, `test.parquet` …).

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no questions.
        ValueError: If a column is missing.
    """
    path = Path(path)
    files = {} if not path.is_dir() else {split: [str(file) for file in found] for split, found in split_files(path).items()}
    if (path / "dataset_dict.json").exists():
        splits = dict(load_from_disk(str(path)))
    elif files:
        splits = dict(load_dataset("parquet", data_files=files))
    else:
        raise FileNotFoundError(
            f"{str(path)!r} holds no questions; expected a folder of a saved DatasetDict, or with test.parquet …"
        )
    for split, rows in splits.items():
        missing = [column for column in _COLUMNS if column not in rows.column_names]
        if missing:
            raise ValueError(
                f"split {split!r} of {str(path)!r} lacks the columns {', '.join(missing)}; it has {', '.join(rows.column_names)}"
            )
    return splits


def select_categories(questions: Dataset, categories: Sequence[str] | None) -> Dataset:
    """The questions of some categories, or all.

    Raises:
        ValueError: If a category has no questions.
    """
    if categories is None:
        return questions
    found = questions["category"][:]
    missing = sorted(set(categories) - set(found))
    if missing:
        raise ValueError(
            f"there are no questions of categories {', '.join(missing)}, only of {', '.join(sorted(set(found)))}"
        )
    return questions.select([place for place, category in enumerate(found) if category in categories])


def _digest(questions: Dataset) -> str:
    """SHA-256 of categories, messages and answers, whatever their order: what was asked."""
    texts = sorted(json.dumps([one.category, one.messages, one.answer], sort_keys=True) for one in read_questions(questions))
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
