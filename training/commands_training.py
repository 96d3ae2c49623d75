"""The commands that train: quickstart, train, instruct, reproduce, finetune."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .commands import Overrides, Private, PushEpochs, Resume, command, console


@command
def quickstart(
    output: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("quickstart"),
    seed: Annotated[int, typer.Option(help="Seed of data and training.")] = 0,
) -> None:
    """Make motions, train a small model on them, evaluate it, classify and retrieve with it. No download, a few minutes."""
    from .quickstart import run_quickstart

    run_quickstart(output, seed, console)


@command
def train(
    recipe: Annotated[str, typer.Option(help="Name of a recipe of the package, or path of your own YAML file.")],
    data: Annotated[Path, typer.Option(help="Folder of motion data with splits train and validation.")],
    output: Annotated[Path, typer.Option(help="Folder of the run: last/, best/, state/, results.json.")],
    overrides: Overrides = None,
    init_from: Annotated[str | None, typer.Option(help="Start from this checkpoint (fine-tune it on your data).")] = None,
    resume: Resume = False,
    push_to: PushEpochs = None,
    private: Private = None,
) -> None:
    """Train a model by a recipe. With torchrun or accelerate launch before it, several processes share each batch."""
    from ..processing.corpora import load_motions
    from .loop import train as run_training
    from .recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    rows = load_motions(data, loaded.run.datasets)
    results = run_training(loaded, rows, output, init_from, resume, push_to, private)
    if os.environ.get("RANK", "0") == "0":
        console.print(f"best epoch {results['best_epoch']} of {results['epochs']}: {output / 'best'}", highlight=False)


@command
def instruct(
    data: Annotated[Path, typer.Option(help="Folder of motion data with splits train and validation.")],
    output: Annotated[Path, typer.Option(help="Folder of the run: last/, best/, state/, results.json.")],
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="A MotionPatches checkpoint, whose motion tower is taken, or a MotionLlamo one to go on with."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe of instruction tuning, or path of your own YAML file.")
    ] = "llamo_small",
    overrides: Overrides = None,
    instructions: Annotated[
        Path | None, typer.Option(help="Folder of questions with answers; default they are made of the motions.")
    ] = None,
    video_folder: Annotated[
        Path | None, typer.Option(help="What the paths of videos start from; default the folder of --instructions.")
    ] = None,
    resume: Resume = False,
    push_to: PushEpochs = None,
    private: Private = None,
) -> None:
    """Teach a language model to answer questions about motion (MotionLlamo)."""
    from ..processing.corpora import load_motions
    from .instruct import instruct as run_tuning
    from .instruction_data import load_instruction_data
    from .recipe import check_used, load_instruction_recipe

    loaded = load_instruction_recipe(recipe, overrides or [])
    if checkpoint is not None:
        check_used(overrides or [])
    rows = load_motions(data, loaded.run.datasets)
    questions = None if instructions is None else load_instruction_data(instructions, rows, video_folder)
    results = run_tuning(loaded, rows, output, checkpoint, resume, questions, push_to, private)
    if os.environ.get("RANK", "0") == "0":
        console.print(f"best epoch {results['best_epoch']} of {results['epochs']}: {output / 'best'}", highlight=False)


@command
def reproduce(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables of the paper, e.g. table5; or all.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds humanml3d/, kitml/, babel60/ and interhuman/.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for runs and tables; models in it are used again.")] = Path(
        "runs/reproduce"
    ),
    form: Annotated[str, typer.Option(help="Settings of the paper, or those of its published code: published.")] = "paper",
    seed: Annotated[int, typer.Option(help="Seed of every run.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a field of every recipe: --set epochs=1. Repeatable.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Load pretrained weights from a folder: --weights distilbert-base-uncased=FOLDER. Repeatable.",
            metavar="NAME=FOLDER",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what there is to do.")] = False,
    is_listed: Annotated[bool, typer.Option("--list", help="Show all tables, their data sets and recipes.")] = False,
) -> None:
    """Reproduce tables of the paper: train and evaluate what they need, once, and print them beside the published numbers."""
    from .reproduction import Request, parse_weights, print_tables
    from .reproduction import reproduce as run_reproduction

    if is_listed:
        print_tables(console)
        return
    if not tables or data is None:
        raise ValueError(
            "say which tables and which data: motionpatches reproduce table5 --data DIR; --list shows all tables"
        )
    request = Request(data, output, form, seed, tuple(overrides or ()), parse_weights(weights or []))
    run_reproduction(tables, request, console, dry_run)


@command
def finetune(
    data: Annotated[Path, typer.Option(help="Folder of motion data with labels and splits train and validation.")],
    output: Annotated[Path, typer.Option(help="Folder of the run: best/, state/, results.json.")],
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="Folder or Hub id of a model to start from; leave it out to start from the recipe's own tower."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe for classification, or path of your own YAML file.")
    ] = "classification",
    overrides: Overrides = None,
    resume: Resume = False,
) -> None:
    """Train a classifier with labels, from a contrastive model, a classifier, or a tower of its own."""
    from ..processing.corpora import load_motions
    from .classification import finetune as run_finetuning
    from .recipe import check_used, load_classification_recipe

    loaded = load_classification_recipe(recipe, overrides or [])
    if checkpoint is not None:
        check_used(overrides or [])
    results = run_finetuning(loaded, load_motions(data, loaded.run.datasets), output, checkpoint, resume)
    console.print(f"best epoch {results['best_epoch']} of {results['epochs']}: {output / 'best'}", highlight=False)
