"""Whether MotionLlamo takes from motion and from video what each alone shows: questions that one of them answers, or only both.

    python benchmarks/video_instructions.py --checkpoint FOLDER --runs runs/video --output docs/results/video_instructions.json

Trains a small MotionLlamo with a video tower from scratch (recipe `llamo_small`) on procedural motion beside stick-figure videos,
in which the figure stands still and holds things of some colour: first on what only video answers, as motion, whose tower is
trained, would else be all that it learns to look at; then on all. Asks about others with all inputs, with zeroed motion, and with
zeroed video. CHECKPOINT is a MotionPatches model, whose motion tower is taken.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset, DatasetDict
from rich.console import Console
from rich.table import Table

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader
from motionpatches.processing.video_instructions import make_video_instructions
from motionpatches.training.answer_metrics import exact_match, majority_answers
from motionpatches.training.answering import answer_questions, read_questions
from motionpatches.training.instruct import instruct
from motionpatches.training.instruction_data import InstructionData
from motionpatches.training.intervals import bootstrap_interval
from motionpatches.training.question_sets import load_motion_llamo
from motionpatches.training.recipe import load_instruction_recipe
from motionpatches.training.results import command_line, environment, shorten_path, write_json
from motionpatches.training.run import describe_data
from motionpatches.training.run_folder import can_resume


#: Name → motion and video that a question is asked with.
ASKED = {"both": ("real", "real"), "motion alone": ("real", "zeroed"), "video alone": ("zeroed", "real")}
NEEDS = ("motion", "video", "both")
_SEED_STEP = 1000  # between seeds of the splits, so that none repeats a motion of another


def main(
    checkpoint: Annotated[Path, typer.Option(help="A MotionPatches model.")],
    runs: Annotated[Path, typer.Option(help="Folder for videos and the run, which goes on where it was interrupted.")],
    output: Annotated[Path, typer.Option(help="Results file.")],
    motions: Annotated[int, typer.Option(help="Training motions.")] = 600,
    num: Annotated[int, typer.Option(help="Training questions of each category at most.")] = 300,
    num_test: Annotated[int, typer.Option(help="Test questions of each category at most.")] = 100,
    seed: int = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Replace a field of the recipe.")] = None,
) -> None:
    """Train, ask in each way, and write the exact match by what a question needs."""
    sizes = {"train": (motions, num), "validation": (motions // 3, num_test), "test": (motions // 3, num_test)}
    data, questions = DatasetDict(), {}
    for number, (split, (size, asked)) in enumerate(sizes.items()):
        made = make_motions(size, seed=(3 * seed + number) * _SEED_STEP)
        data[split] = to_dataset([{**motion, "id": f"{split}-{motion['id']}"} for motion in made], "procedural")
        questions[split] = make_video_instructions(data[split], asked, runs, seed=seed, progress=True)
    recipe = load_instruction_recipe(
        "llamo_small", ["video_frames=2", "lr_video=1e-3", "augment_mirror=0", f"seed={seed}", *(overrides or [])]
    )
    readers = {split: ClipReader(rows) for split, rows in data.items()}
    start = str(checkpoint)
    for stage, needed in (("alone", {"video"}), ("all", set(NEEDS))):
        folder = runs / stage
        if not (folder / "results.json").exists():
            asked = {split: needing(questions[split], needed) for split in ("train", "validation")}
            learned = InstructionData(DatasetDict(asked), readers, runs)
            instruct(recipe, data, folder, start, resume=can_resume(folder), instructions=learned)
        start = str(folder / "best")
    model, processor = load_motion_llamo(start)
    answers = {
        name: answer_questions(model, processor, questions["test"], readers["test"], motion, video, runs, progress=True)
        for name, (motion, video) in ASKED.items()
    }
    content = {
        "task": "video_instructions",
        "command": command_line(),
        "seed": seed,
        "checkpoint": shorten_path(str(checkpoint)),
        "data": {split: describe_data(rows) for split, rows in data.items()},
        "recipe": {"name": recipe.name, **recipe.to_dict()},
        "exact_match": judge(questions["train"], questions["test"], answers),
        **environment(),
    }
    write_json(output, content)
    report(content["exact_match"])


def needing(questions: Dataset, needs: set[str]) -> Dataset:
    """The questions that need one of these."""
    return questions.filter(lambda need: need in needs, input_columns="needs")


def judge(train: Dataset, test: Dataset, answers: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """What a question needs, or its category → how it was asked, or `majority` → exact match in percent, with a 95% interval."""
    asked, learned, needs = read_questions(test), read_questions(train), np.array(test["needs"][:])
    truth = [question.answer for question in asked]
    common = majority_answers([question.category for question in learned], [question.answer for question in learned])
    given = {**answers, "majority": [common[question.category] for question in asked]}
    found: dict[str, dict[str, Any]] = {}
    categories = np.array([question.category for question in asked])
    kinds = {need: needs == need for need in NEEDS} | {
        name: categories == name for name in dict.fromkeys(categories.tolist())
    }
    for kind, is_of in kinds.items():
        found[kind] = {"num": int(is_of.sum())}
        for name, said in given.items():
            right = 100 * exact_match(said, truth)[is_of]
            found[kind][name] = {"score": float(right.mean()), "interval": list(bootstrap_interval(right))}
    return found


def report(found: dict[str, dict[str, Any]]) -> None:
    """Print a row for each kind of question."""
    table = Table("what the question needs", "questions", *(f"asked with {name}" for name in ASKED), "majority answer")
    for need, scores in found.items():
        table.add_row(need, str(scores["num"]), *(f"{scores[name]['score']:.1f}" for name in (*ASKED, "majority")))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
