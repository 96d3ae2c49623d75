"""MotionLlamo on real motion: one training run for each way of fusing, judged on held-out motions, styles and subjects.

    python benchmarks/instructions.py --data FOLDER --runs runs/instructions --output docs/results/instructions.json

FOLDER holds the data sets of `benchmarks/open_mocap.py`. First a motion tower is trained with captions (stage 0, a small text
tower from scratch), on procedural motion and the training splits; then the language model (recipe `llamo_small`) on questions
about the same motions. Judged on questions about the test splits alone: on short clips, one motion each, and on long ones, of
three to four motions with a question about one of them. Beside them on procedural motion of another seed, which gives enough
questions of the categories that the test splits have few of. Each run goes on where it was interrupted.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset, DatasetDict, concatenate_datasets
from rich.console import Console

from motionpatches import make_motions
from motionpatches.processing.corpora import load_motions, to_dataset
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.training.instruct import instruct
from motionpatches.training.instruction_data import make_instruction_data
from motionpatches.training.instruction_evaluation import evaluate_instructions, print_instruction_table
from motionpatches.training.loop import train
from motionpatches.training.question_sets import load_motion_llamo
from motionpatches.training.recipe import load_instruction_recipe, load_recipe
from motionpatches.training.results import command_line, environment, write_json
from motionpatches.training.run import describe_data
from motionpatches.training.run_folder import can_resume


FUSIONS = ("projector", "cross_talker")
#: Questions about one part of a motion of several.
LONG = ("order", "segment")
TESTED = ("bandai_namco", "cmu", "utd_mhad")
_TEST_SEED = 1000  # added to the seed of the procedural motions that are learned
_TOWER = [
    "max_frames=480", "epochs=20", "batch_by=dataset", "balance=0.75", "label_caption=A person {}.", "ema_decay=0.99",
    "augment_heading=20", "augment_offset=0.02", "augment_jitter=0.005",
]  # fmt: skip


def main(
    data: Annotated[Path, typer.Option(help="Folder with the data sets.")],
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")],
    output: Annotated[Path, typer.Option(help="Results file.")],
    fusion: Annotated[list[str] | None, typer.Option(help="Which ways of fusing; default both. Repeatable.")] = None,
    num: Annotated[int, typer.Option(help="Test questions of each category at most.")] = 150,
    procedural: Annotated[int, typer.Option(help="Procedural motions to train on besides.")] = 600,
    procedural_test: Annotated[int, typer.Option(help="Procedural motions to ask about besides.")] = 1200,
    seed: int = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Replace a field of llamo_small.")] = None,
) -> None:
    """Train and judge, and write the results file after each run."""
    splits = load_motions(data)
    test = splits["test"].filter(lambda name: name in TESTED, input_columns="dataset")
    made = to_dataset(make_motions(procedural, seed=seed), "procedural") if procedural else None
    motions = DatasetDict({"train": _joined(splits["train"], made), "validation": splits["validation"]})
    tower = _train_tower(motions, runs / "tower", seed)
    results: dict[str, Any] = {}
    for name in fusion or FUSIONS:
        recipe = load_instruction_recipe(
            "llamo_small", [f"fusion={name}", "most_clips=4", f"seed={seed}", *(overrides or [])]
        )
        questions = make_instruction_data(motions, recipe.run)
        single = make_instruction_data(motions, replace(recipe.run, most_turns=1))
        folder = runs / name
        if not (folder / "results.json").exists():
            instruct(recipe, motions, folder, str(tower), resume=can_resume(folder), instructions=questions)
        model, processor = load_motion_llamo(folder / "best")
        judged = {}
        for kind, (rows, asked) in _test_questions(test, procedural_test, num, seed).items():
            judged[kind] = evaluate_instructions(
                model, processor, asked, ClipReader(rows), single.questions["train"], seed=seed, progress=True
            )
            judged[kind].pop("answers")
            print_instruction_table(judged[kind], Console())
        results[name] = {"recipe": {"name": recipe.name, **recipe.to_dict()}, "results": judged}
        write_json(
            output,
            {
                "task": "instructions",
                "command": command_line(),
                "seed": seed,
                "data": {"train": describe_data(motions["train"]), "test": describe_data(test)},
                "procedural_test": procedural_test,
                "fusions": results,
                **environment(),
            },
        )


def _joined(rows: Dataset, more: Dataset | None) -> Dataset:
    if more is None:
        return rows
    shared = [name for name in rows.column_names if name in more.column_names]
    rows = rows.select_columns(shared)
    if rows.features["joints"].feature.dtype == "int16":
        more = more.map(lambda row: {"joints": np.rint(1000 * np.asarray(row["joints"])), "unit": "millimetres"})
    return concatenate_datasets([rows, more.select_columns(shared).cast(rows.features)])


def _train_tower(motions: DatasetDict, folder: Path, seed: int) -> Path:
    """Stage 0: motions and captions in one space."""
    if not (folder / "results.json").exists():
        train(load_recipe("quickstart", [*_TOWER, f"seed={seed}"]), motions, folder, resume=can_resume(folder))
    return folder / "best"


def _test_questions(test: Dataset, procedural: int, num: int, seed: int) -> dict[str, tuple[Dataset, Dataset]]:
    """Motions and questions about them: short clips, of all categories that they give any of; long ones; procedural ones."""
    made = to_dataset(make_motions(procedural, seed=seed + _TEST_SEED), "procedural")
    return {
        "short": (test, _about_one(make_instructions(test, num, seed=seed))),
        "long": (test, make_instructions(test, num, LONG, seed, clips=(3, 4))),
        "procedural": (made, _about_one(make_instructions(made, num, seed=seed))),
    }


def _about_one(questions: Dataset) -> Dataset:
    return questions.filter(lambda name: name not in LONG, input_columns="category")


if __name__ == "__main__":
    typer.run(main)
