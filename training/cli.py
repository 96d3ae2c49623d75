"""The console command `motionpatches`. Imports that take seconds stand inside the commands, so that `--help` is quick."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


app = typer.Typer(
    help="3D human motion and language in one space: train, evaluate, classify, retrieve, embed.\n\n"
    "New here? `motionpatches quickstart` makes motions, trains a small model on them and shows what it can do.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
console = Console()
_ANSWERS = "Options for a MotionLlamo"
_errors = Console(stderr=True)
_SHOWN = (ValueError, TypeError, OSError, ImportError, FloatingPointError)

Checkpoint = Annotated[str, typer.Argument(help="Folder or Hub id of a trained model.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of motion data, or of motion files (BVH, glTF, C3D, NumPy …).")]
Skeleton = Annotated[str | None, typer.Option(help="Skeleton of files that do not say theirs, e.g. smpl22.")]
Template = Annotated[
    str | None, typer.Option(help="Text into which a label is put, of a contrastive model; default “A person {}.”")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a field of the recipe: --set epochs=10. Repeatable.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")]
PushEpochs = Annotated[
    str | None, typer.Option(help="Push each epoch's checkpoint to this Hub repository, in the background.")
]
Private = Annotated[
    bool | None, typer.Option("--private/--public", help="Of a new repository; default as your account says.")
]
Fps = Annotated[float | None, typer.Option(help="Frames per second of files that do not say theirs.")]


def command(function: Callable[..., None], name: str | None = None) -> Callable[..., None]:
    """Register a command whose foreseeable errors are one line for a person; MOTIONPATCHES_TRACEBACK=1 shows them whole."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            _errors.print("interrupted; what was saved before is whole")
            raise typer.Exit(130) from None
        except _SHOWN as error:
            if os.environ.get("MOTIONPATCHES_TRACEBACK"):
                raise
            _errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    app.command(name)(wrapper)
    return wrapper


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


@command
def evaluate(
    checkpoint: Checkpoint,
    data: Annotated[Path, typer.Option(help="Folder of motion data.")],
    split: Annotated[str, typer.Option(help="Which split to evaluate on.")] = "test",
    datasets: Annotated[
        list[str] | None, typer.Option(help="Which folders of the data to take; default all. Repeatable.")
    ] = None,
    hypothesis_template: Template = None,
    protocols: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="Besides strict and caption_equal: small, label, threshold or nsim. Repeatable."),
    ] = None,
    sentence_encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of sentence-transformers that tells how alike captions are.", metavar="NAME=FOLDER|HUB_ID"
        ),
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95% intervals, by a bootstrap over the queries.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write the results to this JSON file.")] = None,
    save_queries: Annotated[
        bool,
        typer.Option("--save-queries", help="Write how each query fared too, for motionpatches compare; or all answers."),
    ] = False,
    instructions: Annotated[
        Path | None,
        typer.Option(help="Folder of questions with answers; default they are made of the split.", rich_help_panel=_ANSWERS),
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(
            "--num-questions", help="Questions made in each category, at most; default 100.", min=1, rich_help_panel=_ANSWERS
        ),
    ] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option("--category", help="Ask questions of this category alone. Repeatable.", rich_help_panel=_ANSWERS),
    ] = None,
    most_clips: Annotated[
        int | None,
        typer.Option(
            help="Most motions one after the other, of questions about order; default 4.", rich_help_panel=_ANSWERS
        ),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Longest motion to make questions of.", rich_help_panel=_ANSWERS)
    ] = None,
    video_folder: Annotated[
        Path | None,
        typer.Option(
            help="What the paths of videos start from; default the folder of --instructions.", rich_help_panel=_ANSWERS
        ),
    ] = None,
    retriever: Annotated[
        str | None,
        typer.Option(help="A contrastive checkpoint, for the R-precision of captions.", rich_help_panel=_ANSWERS),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Questions in one batch; default 16.", min=1, rich_help_panel=_ANSWERS)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens; default 64.", min=1, rich_help_panel=_ANSWERS)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the questions and of shuffled motion; default 0.", rich_help_panel=_ANSWERS),
    ] = None,
) -> None:
    """Measure retrieval in both directions and zero-shot classification; of a classifier its accuracy; of a MotionLlamo its
    answers to questions, by category, with real, shuffled and zeroed motion."""
    from ..processing.corpora import load_split
    from .card_results import weights_fingerprint
    from .classifier import evaluate_classifier, holds_classifier, load_classifier, print_classification
    from .evaluation import evaluate as judge
    from .evaluation import galleries_digest, print_evaluation
    from .inference import load_checkpoint
    from .instruction_evaluation import print_instruction_table
    from .question_sets import evaluate_answers, holds_motion_llamo
    from .results import command_line, environment, read_training_facts, write_json
    from .run import describe_data
    from .sentences import SentenceEncoder

    asking: dict[str, Any] = {
        "instructions": instructions, "num": num, "categories": categories, "most_clips": most_clips, "max_seconds": max_seconds,
        "video_folder": video_folder, "retriever": retriever, "batch_size": batch_size, "max_new_tokens": max_new_tokens,
        "seed": seed,
    }  # fmt: skip
    asking = {name: value for name, value in asking.items() if value is not None}
    wanted: dict[str, Any] = {} if hypothesis_template is None else {"hypothesis_template": hypothesis_template}
    if save_queries and output is None:
        raise ValueError("--save-queries writes into the file of --output; name one")
    facts: dict[str, Any] = {"task": "evaluate", "command": command_line()}
    if holds_motion_llamo(checkpoint):
        if wanted or protocols or sentence_encoder or intervals:
            raise ValueError(
                f"{checkpoint!r} holds a MotionLlamo, which answers questions; leave --hypothesis-template, --protocol, "
                "--sentence-encoder and --intervals out"
            )
        found = evaluate_answers(checkpoint, data, split, datasets, **asking, progress=True)
        print_instruction_table(found["results"], console)
        answers = found["results"].pop("answers")
        if output is not None:
            facts |= {"task": "answer", **found, **({"answers": answers} if save_queries else {})}
            write_json(output, {**facts, "training": read_training_facts(checkpoint), **environment()})
            console.print(f"written to {output}", highlight=False)
        return
    if asking:
        raise ValueError(
            f"{checkpoint!r} holds no MotionLlamo, so that nothing can be asked; leave the options about questions out: "
            f"{', '.join(asking)}"
        )
    if holds_classifier(checkpoint):
        if wanted or protocols or sentence_encoder or intervals or save_queries:
            raise ValueError(
                f"{checkpoint!r} holds a classifier with classes of its own; leave --hypothesis-template, --protocol, "
                "--sentence-encoder, --intervals and --save-queries out"
            )
        classifier, motion_processor = load_classifier(checkpoint)
        rows = load_split(data, split, datasets)
        results = evaluate_classifier(classifier, motion_processor, rows, split, progress=True)
        print_classification(results, console)
        judged: Any = classifier
    else:
        model, processor = load_checkpoint(checkpoint)
        rows = load_split(data, split, datasets)
        wanted |= {"more_protocols": protocols or (), "intervals": intervals, "confusion": output is not None}
        wanted["sentence_encoder"] = None if sentence_encoder is None else SentenceEncoder.parse(sentence_encoder)
        results = judge(model, processor, rows, **wanted, queries=save_queries, progress=True)
        print_evaluation(results, console)
        judged = model
        facts["galleries"] = galleries_digest(rows)
        if save_queries:
            facts["queries"] = {name: result.pop("queries") for name, result in results.items()}
    if output is not None:
        facts |= {"data": describe_data(rows), "split": split, "weights": weights_fingerprint(judged)}
        training = read_training_facts(checkpoint)
        write_json(output, {**facts, "training": training, "results": results, **environment()})
        console.print(f"written to {output}", highlight=False)


@command
def compare(
    first: Annotated[Path, typer.Argument(help="Results file of evaluate.")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same data.")],
    output: Annotated[Path | None, typer.Option(help="Write the comparison to this JSON file.")] = None,
) -> None:
    """Put two evaluations side by side, with the 95% interval of the paired difference where both saved their queries."""
    from .comparison import compare as put_side_by_side
    from .comparison import print_comparison
    from .results import command_line, environment, write_json

    compared = put_side_by_side(first, second)
    print_comparison(compared, console)
    if output is not None:
        write_json(output, {"task": "compare", "command": command_line(), **compared, **environment()})
        console.print(f"written to {output}", highlight=False)


@command
def score(
    checkpoint: Checkpoint,
    generated: Annotated[
        Path, typer.Argument(help="Folder of generated motions: motion data, captioned with their texts, or motion files.")
    ],
    reference: Annotated[Path | None, typer.Option(help="Folder of real motions, for FID.")] = None,
    split: Annotated[str, typer.Option(help="Which split of motion data to take.")] = "test",
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Write the scores to this JSON file.")] = None,
) -> None:
    """Score a motion generator: motion-text score, R-precision, multimodal distance, FID, diversity, multimodality."""
    from .card_results import weights_fingerprint
    from .generation_metrics import print_scores, score_motions
    from .inference import load_checkpoint, load_gallery
    from .results import command_line, environment, write_json

    model, processor = load_checkpoint(checkpoint)
    real = None if reference is None else load_gallery(reference, split)
    scores = score_motions(model, processor, load_gallery(generated, split), real, seed)
    print_scores(scores, console)
    if output is not None:
        facts = {"task": "score", "command": command_line(), "seed": seed, "weights": weights_fingerprint(model)}
        write_json(output, {**facts, "scores": scores, **environment()})
        console.print(f"written to {output}", highlight=False)


@command
def classify(
    checkpoint: Checkpoint,
    motions: Annotated[list[Path], typer.Argument(help="Motion files (BVH, glTF, C3D, NumPy …).")],
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="A label, e.g. walks; repeat for each. A classifier has classes of its own."),
    ] = None,
    hypothesis_template: Template = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Score each label on its own.")] = False,
    top: Annotated[int | None, typer.Option(help="How many labels to show; default all, of a classifier 5.", min=1)] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Name what a person does: among labels of your choice, without training; or by a classifier that knows its classes."""
    from .classifier import classification_pipeline

    pipe, arguments = classification_pipeline(checkpoint, labels or [], hypothesis_template, multi_label)
    for file in motions:
        scores = pipe(str(file), **arguments, top_k=top, skeleton=skeleton, fps=fps)
        console.print(f"\n[bold]{escape(str(file))}[/]", highlight=False)
        table = Table("score", "label")
        for entry in scores:
            table.add_row(f"{entry['score']:.3f}", escape(entry["label"]))
        console.print(table)


@command
def retrieve(
    checkpoint: Checkpoint,
    data: Data,
    query: Annotated[list[str] | None, typer.Option(help="Find motions by this text. Repeatable.")] = None,
    motion: Annotated[list[Path] | None, typer.Option(help="Find captions by this motion file. Repeatable.")] = None,
    top: Annotated[int, typer.Option(help="How many hits to show.", min=1)] = 3,
    split: Annotated[str, typer.Option(help="Which split of the data to search.")] = "test",
    picture: Annotated[Path | None, typer.Option(help="Draw the motions found into this PNG.")] = None,
) -> None:
    """Search motions with a sentence (--query), or captions with a motion (--motion)."""
    from .inference import draw_hits, load_checkpoint, load_gallery, motions_by_text, texts_by_motion

    if not query and not motion:
        raise ValueError("pass --query TEXT to find motions, or --motion FILE to find captions")
    model, processor = load_checkpoint(checkpoint)
    gallery = load_gallery(data, split)
    if query:
        found = motions_by_text(model, processor, query, gallery, top)
        for text, hits in zip(query, found, strict=True):
            console.print(f"\n[bold]{escape(text)}[/]", highlight=False)
            table = Table("score", "motion", "captions")
            for hit in hits:
                table.add_row(f"{hit['score']:.3f}", hit["id"], "; ".join(hit["captions"]))
            console.print(table)
        if picture is not None:
            draw_hits(processor, gallery, query, found).savefig(picture, dpi=110)
            console.print(f"drawn in {picture}", highlight=False)
    if motion:
        texts = [text for captions in gallery.captions for text in captions]
        for file, hits in zip(motion, texts_by_motion(model, processor, [str(m) for m in motion], texts, top), strict=True):
            console.print(f"\n[bold]{escape(str(file))}[/]", highlight=False)
            table = Table("score", "caption")
            for hit in hits:
                table.add_row(f"{hit['score']:.3f}", hit["text"])
            console.print(table)


@command
def index(
    folder: Annotated[Path, typer.Argument(help="Folder of motion files (BVH, glTF, C3D, NumPy …) or of motion data.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    output: Annotated[Path, typer.Option(help="Folder of the index; one that is there is brought up to date.")],
    kind: Annotated[str | None, typer.Option(help="flat, ivf or hnsw; default that of the index there, else flat.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the kind: --set nprobe=64. Repeatable.", metavar="NAME=NUMBER"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of motion data, which split; default all.")] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="Table with file_name, captions and columns of your own; default metadata.csv in the folder."),
    ] = None,
    suffixes: Annotated[
        list[str] | None, typer.Option("--suffix", help="Files that are motions too: --suffix .csv. Repeatable.")
    ] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an index of another checkpoint or folder in --output.")
    ] = False,
    push_to: Annotated[
        str | None, typer.Option("--push-to-hub", help="Name on the Hub, user/name, to push the index to.")
    ] = None,
    private: Private = None,
) -> None:
    """Embed a folder of motions once, to search in. Resumable; with torchrun or accelerate launch, several processes share it."""
    from .indexing import parse_settings, print_index_report, update_index
    from .motion_index import MotionIndex

    report = update_index(
        folder, checkpoint, output, kind, parse_settings(settings or []), split, metadata, suffixes or [], skeleton, fps,
        overwrite, progress=True,
    )  # fmt: skip
    if os.environ.get("RANK", "0") != "0":
        return
    print_index_report(report, console)
    console.print(f"indexed: {output}", highlight=False, markup=False)
    if push_to is not None:
        commit = MotionIndex.load(output, checkpoint).push_to_hub(push_to, private)
        console.print(f"pushed: {commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def search(
    text: Annotated[str | None, typer.Argument(help="A sentence.")] = None,
    index: Annotated[str, typer.Option(help="Folder of an index, or its name on the Hub.")] = "",
    motion: Annotated[Path | None, typer.Option(help="Search by this motion file, alone or with the sentence.")] = None,
    weight: Annotated[float, typer.Option(help="Of the motion beside a sentence, from 0 to 1.", min=0, max=1)] = 0.5,
    top_k: Annotated[int, typer.Option(help="How many motions.", min=1)] = 10,
    where: Annotated[
        list[str] | None, typer.Option(help="A condition on a column: --where 'duration > 2'. Repeatable; all are met.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Look at all motions, whatever the kind of the index.")] = False,
    checkpoint: Annotated[str | None, typer.Option(help="What the index was made by, if it has moved.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    output: Annotated[Path | None, typer.Option(help="Write what was found to this JSON file too.")] = None,
) -> None:
    """Search an index by a sentence, a motion, or both: motionpatches search "a person kicks" --index FOLDER."""
    from .indexing import print_hits, search_index
    from .results import write_json

    if not index:
        raise ValueError("say where to search: --index FOLDER; `motionpatches index` makes one")
    hits = search_index(index, text, motion, weight, top_k, where or [], exact, checkpoint, skeleton, fps)
    print_hits(hits, console)
    if output is not None:
        write_json(output, {"text": text, "motion": None if motion is None else str(motion), "hits": hits})
        console.print(f"written to {output}", highlight=False, markup=False)


@command
def captions(
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    candidates: Annotated[Path, typer.Option(help="Text file with a sentence a line.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    top: Annotated[int | None, typer.Option(help="How many to show; default all.", min=1)] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Rank candidate sentences for a motion."""
    from .indexing import rank_captions

    table = Table("score", "caption")
    for entry in rank_captions(checkpoint, motion, candidates, top, skeleton, fps):
        table.add_row(f"{entry['score']:.3f}", escape(entry["text"]))
    console.print(table)


@command
def chat(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    question: Annotated[list[str] | None, typer.Option(help="Ask this, and leave. Repeatable.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 256,
) -> None:
    """Talk about a motion with a MotionLlamo on the terminal; answers appear word by word."""
    from .chat import chat as talk

    talk(checkpoint, motion, question or (), skeleton, fps, max_new_tokens, console)


@command
def localise(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file, of any length.")],
    query: Annotated[list[str], typer.Option(help="Find the moments that this sentence describes. Repeatable.")],
    window: Annotated[
        list[float] | None,
        typer.Option(help="Seconds of windows; default 1, 2, 4 and 8, as far as the model takes them. Repeatable."),
    ] = None,
    stride: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = 0.25,
    top_k: Annotated[int, typer.Option(help="The most moments to show of each sentence.", min=1)] = 3,
    threshold: Annotated[float | None, typer.Option(help="Least score of a moment.")] = None,
    max_overlap: Annotated[
        float, typer.Option(help="Drop a moment that overlaps a better one by more than this (IoU, 0 to 1).", min=0, max=1)
    ] = 0.1,
    skeleton: Skeleton = None,
    fps: Fps = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the scores over time into this PNG.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write moments, windows and scores to this JSON file.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the embedded windows in this .safetensors file; where it exists they are taken from it."),
    ] = None,
) -> None:
    """Find the moments of a long recording that sentences describe."""
    from .localisation import run_localise

    run_localise(
        checkpoint,
        motion,
        query,
        console,
        window,
        stride,
        top_k,
        threshold,
        max_overlap,
        skeleton,
        fps,
        picture,
        json_file,
        keep,
    )


@command
def attend(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    picture: Annotated[Path, typer.Option(help="Draw the attention into this PNG.")] = Path("attention.png"),
    layer: Annotated[int, typer.Option(help="Which layer of the motion tower; -1 is the last.")] = -1,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below.")] = False,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Show which windows and body parts of a motion the model looks at."""
    from ..processing.plotting_attention import plot_attention
    from .inference import load_checkpoint

    model, processor = load_checkpoint(checkpoint)
    patches = processor.feature_extractor
    (resolved,) = patches.resolve([str(motion)], skeleton=skeleton, fps=fps)
    inputs = patches.to_patches([patches.prepare(resolved)], "pt", padding="longest", return_attention_mask=True)
    mask = inputs["motion_attention_mask"] if patches.return_attention_mask else None
    attention = model.get_motion_attention(
        inputs["motion_values"].to(model.device), None if mask is None else mask.to(model.device), layer, rollout
    )
    figure = plot_attention(
        inputs["motion_values"][0],
        attention[0].cpu(),
        inputs["motion_attention_mask"][0],
        resolved.joints,
        resolved.skeleton,
    )
    figure.savefig(picture, dpi=110)
    console.print(f"drawn in {picture}", highlight=False)


@command
def embed(
    checkpoint: Checkpoint,
    source: Annotated[
        Path, typer.Argument(help="Folder of motion data or motion files, or a .txt file with a text a line.")
    ],
    output: Annotated[Path, typer.Option(help="A .safetensors or .parquet file.")],
    split: Annotated[str, typer.Option(help="Which split of motion data to embed.")] = "test",
) -> None:
    """Write the embeddings of a folder of motions, or of a file of texts."""
    from .evaluation import embed_motions, embed_texts
    from .inference import check_embedding_suffix, load_checkpoint, load_gallery, write_embeddings

    check_embedding_suffix(output)
    model, processor = load_checkpoint(checkpoint)
    if source.is_file():
        ids = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not ids:
            raise ValueError(f"{source} has no texts: expected one a line")
        embeddings = embed_texts(model, processor, ids)
    else:
        gallery = load_gallery(source, split)
        ids, embeddings = gallery.ids, embed_motions(model, processor, gallery.motions, progress=True)
    write_embeddings(output, ids, embeddings)
    console.print(f"{len(ids)} embeddings of {embeddings.shape[1]} dimensions written to {output}", highlight=False)


@command
def prepare(
    name: Annotated[
        str,
        typer.Argument(help="humanml3d, kitml, babel60, babel120, babel_qa, interhuman, ntu; folder: files with a table."),
    ],
    root: Annotated[Path, typer.Option(help="Folder of the data set, in the layout of its owner.")],
    output: Annotated[Path, typer.Option(help="Folder for Parquet files, card and report; it appears when it is whole.")],
    num_workers: Annotated[int | None, typer.Option(help="Processes; default one for each core.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set in --output.")] = False,
    sub_clips: Annotated[
        bool | None,
        typer.Option("--sub-clips/--no-sub-clips", help="HumanML3D, KIT-ML: rows of captions of a part; default yes."),
    ] = None,
    amass: Annotated[Path | None, typer.Option(help="BABEL: folder of AMASS; default amass in --root.")] = None,
    body_model: Annotated[Path | None, typer.Option(help="BABEL: the body model; default body_models in --root.")] = None,
    protocol: Annotated[str | None, typer.Option(help="NTU RGB+D: xsub (the default), xview or xset.")] = None,
    seed: Annotated[int | None, typer.Option(help="Folder: seed of splits that the table does not say; default 0.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    push_to: Annotated[str | None, typer.Option("--push-to-hub", help="Name on the Hub, user/name, to push to.")] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository; default private unless all may share it.")
    ] = None,
) -> None:
    """Make a data set of a download: HumanML3D, KIT-ML, BABEL, InterHuman, NTU RGB+D, or motion files with a table. Resumable."""
    from .preparing import available_cores, make_corpus, print_report, push_dataset
    from .preparing import prepare as build

    of_owner = {"sub_clips": sub_clips, "amass": amass, "body_model": body_model, "protocol": protocol}
    corpus = make_corpus(name, root, **of_owner, seed=seed, skeleton=skeleton, fps=fps)
    report = build(corpus, output, num_workers or available_cores(), overwrite, progress=True)
    print_report(report, console)
    console.print(f"prepared: {output}", highlight=False, markup=False)
    if push_to is not None:
        commit = push_dataset(output, push_to, private)
        console.print(f"pushed: {commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the published code: a .pt or .safetensors file.")],
    dataset: Annotated[str, typer.Option(help="What it was trained on: humanml3d or kitml.")],
    statistics: Annotated[
        tuple[Path, Path], typer.Option(help="Mean_raw.npy and Std_raw.npy of that data set.", metavar="MEAN STD")
    ],
    text_model: Annotated[str, typer.Option(help="Folder or Hub id of its text model, e.g. distilbert-base-uncased.")],
    output: Annotated[Path, typer.Option(help="Folder to write the converted model to.")],
    num_heads: Annotated[
        int | None, typer.Option(help="Attention heads of its ViT, if it is none of timm's tiny, small, base or large.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint in --output.")] = False,
) -> None:
    """Convert a checkpoint of the published MotionPatches code, so that this package and transformers load it."""
    from .conversion import convert_checkpoint

    difference = convert_checkpoint(checkpoint, dataset, statistics, text_model, output, num_heads, overwrite)
    console.print(f"motion features differ from timm's by at most {difference:.1e}", highlight=False)
    console.print(f"converted: {output}", highlight=False, markup=False)


@command
def inspect(
    file: Annotated[Path, typer.Argument(help="A motion file.")],
    skeleton: Skeleton = None,
    fps: Fps = None,
    unit: Annotated[str | None, typer.Option(help="Unit of files that do not say theirs, e.g. centimetres.")] = None,
    up_axis: Annotated[str | None, typer.Option(help="Up axis of files that do not say theirs, e.g. z.")] = None,
    person: Annotated[str | None, typer.Option(help="Which person of a file of several: name or index.")] = None,
    body_model: Annotated[Path | None, typer.Option(help="Body model for files of SMPL parameters.")] = None,
    asf: Annotated[Path | None, typer.Option(help="ASF file with the skeleton of an AMC file.")] = None,
    output: Annotated[Path | None, typer.Option(help="The picture; default <name>_inspect.png in this folder.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was understood to this JSON file.")] = None,
) -> None:
    """Show what is understood of a motion file: skeleton, unit, axes, size, sides, warnings, and a picture."""
    from ..processing.recording import ReadOptions
    from ..processing.skeletons import get_skeleton
    from .inspection import check_outputs, draw_inspection, inspect_motion, print_inspection
    from .results import write_json

    wanted = None if skeleton is None else get_skeleton(skeleton)
    options = ReadOptions(
        skeleton=wanted, fps=fps, unit=unit, up_axis=up_axis, person=person, body_model=body_model, asf=asf
    )
    picture = output or Path(f"{file.stem}_inspect.png")
    check_outputs(file, options, picture, json_file)
    found = inspect_motion(file, options)
    print_inspection(found, console)
    if json_file is not None:
        write_json(json_file, found.to_dict())
        console.print(f"written to {json_file}", highlight=False, markup=False)
    if found.why_not_drawn is None:
        draw_inspection(found).savefig(picture, dpi=110)
    drawn = f"not drawn: {found.why_not_drawn}" if found.why_not_drawn else f"drawn in {picture}"
    console.print(drawn, highlight=False, markup=False)


@command
def export(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="Folder for motion_tower, text_tower, processor and configuration.")],
    export_format: Annotated[str, typer.Option("--format", help="onnx or torch-export.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Also write ONNX files with weights in 8 bits.")] = False,
) -> None:
    """Write the two towers as ONNX or torch.export graphs, checked against PyTorch."""
    from .inference import load_checkpoint
    from .tower_export import check_request, export_towers

    check_request(output, export_format, int8)
    model, processor = load_checkpoint(checkpoint)
    report = export_towers(model, processor, output, export_format, int8)
    table = Table("file", "largest difference from PyTorch", "least cosine similarity")
    for name, found in report["towers"].items():
        table.add_row(name, f"{found['max_difference']:.1e}", f"{found['min_cosine']:.5f}")
    console.print(table)
    console.print(f"exported: {output}", highlight=False, markup=False)


@command
def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint, e.g. runs/first/best.")],
    repo_id: Annotated[str, typer.Argument(help="Name on the Hub: user/name.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="Results file of `evaluate`, for the card. Repeatable; a run's own is found.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights as the Hub names it, e.g. cc-by-4.0.")] = None,
    data_licence: Annotated[str | None, typer.Option(help="Licence of the training data, for the card.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the captions, e.g. en, for the card.")] = None,
    card: Annotated[Path | None, typer.Option(help="A card of your own, put there as it is.")] = None,
    new_card: Annotated[bool, typer.Option("--new-card", help="Write a new card over one written by hand.")] = False,
    private: Private = None,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to; default main.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request in place of a commit.")] = False,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
) -> None:
    """Share a checkpoint on the Hub: model, processor, pipeline code and card in one commit. Log in with `hf auth login`."""
    from .sharing import push_checkpoint

    facts = {"licence": licence, "data_licence": data_licence, "language": language}
    commit = push_checkpoint(
        checkpoint,
        repo_id,
        results=results,
        facts={key: value for key, value in facts.items() if value is not None},
        card=card,
        new_card=new_card,
        private=private,
        revision=revision,
        create_pr=create_pr,
        commit_message=message,
    )
    console.print(f"pushed: {commit.pr_url or commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def draw(
    file: Annotated[Path, typer.Argument(help="A motion file.")],
    output: Annotated[
        Path, typer.Option(help="What is written: .png, .pdf, .svg: a strip of poses; .gif, .mp4; .html: a page to play it.")
    ],
    title: Annotated[str | None, typer.Option(help="Words above, such as a caption.")] = None,
    num_poses: Annotated[int | None, typer.Option("--poses", help="Poses in a strip; default 6.", min=1)] = None,
    size: Annotated[int | None, typer.Option(help="Width of an animation in pixels; default 320.")] = None,
    picture_fps: Annotated[float | None, typer.Option(help="Pictures per second of an animation; default 20.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="The camera of an animation goes with the person.")] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model whose patches and attention a page shows.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Attention of which layer; default the last.")] = None,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below.")] = False,
    skeleton: Skeleton = None,
    fps: Fps = None,
    unit: Annotated[str | None, typer.Option(help="Unit of files that do not say theirs, e.g. centimetres.")] = None,
    up_axis: Annotated[str | None, typer.Option(help="Up axis of files that do not say theirs, e.g. z.")] = None,
    person: Annotated[str | None, typer.Option(help="Which person of a file of several: name or index.")] = None,
    body_model: Annotated[Path | None, typer.Option(help="Body model for files of SMPL parameters.")] = None,
    asf: Annotated[Path | None, typer.Option(help="ASF file with the skeleton of an AMC file.")] = None,
) -> None:
    """Draw a motion file: stick figures, an animation, or a page that plays it beside its patches and a model's attention."""
    from ..processing.recording import ReadOptions
    from ..processing.skeletons import get_skeleton
    from .drawing import Drawing, draw_motion

    wanted = None if skeleton is None else get_skeleton(skeleton)
    options = ReadOptions(
        skeleton=wanted, fps=fps, unit=unit, up_axis=up_axis, person=person, body_model=body_model, asf=asf
    )
    drawing = Drawing(title, num_poses, size, picture_fps, follow or None, checkpoint, layer, rollout or None)
    kind = draw_motion(file, output, drawing, options)
    console.print(f"{kind}: {output}", highlight=False, markup=False)


@command
def figure(
    number: Annotated[int, typer.Argument(help="Figure of the paper: 4, 5, 7, 8 or 9.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="A .png, .pdf or .svg file.")],
    split: Annotated[str, typer.Option(help="Which split of the data to take.")] = "test",
    num: Annotated[int, typer.Option("--rows", help="How many motions or texts.", min=1)] = 3,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Show this motion (4, 7, 9). Repeatable.")] = None,
    queries: Annotated[
        list[str] | None, typer.Option("--query", help="Search by this text (5, 8), after captions of the data. Repeatable.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Another checkpoint to compare with (8, 9).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of motions and captions.")] = 0,
    layer: Annotated[int, typer.Option(help="Attention of which layer (7); -1 is the last.")] = -1,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below (7).")] = False,
) -> None:
    """Draw a figure of the paper with a checkpoint: patches (4), retrieval (5, 8), attention (7), captions found (9)."""
    from .figures import FigureRequest, draw_figure

    request = FigureRequest(number, checkpoint, data, split, num, ids or (), queries or (), baseline, seed, layer, rollout)
    draw_figure(request, output)
    console.print(f"drawn in {output}", highlight=False, markup=False)


def show_app(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    index: Annotated[
        str | None, typer.Option(help="Folder of an index, or its name on the Hub: the motions to find.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of motion files or data: what is found, or pictures of the index.")
    ] = None,
    llamo: Annotated[str | None, typer.Option(help="Folder or Hub id of a MotionLlamo to talk with.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is reached from this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Default the first free one from 7860 on.", min=1, max=65535)] = None,
    max_upload_mb: Annotated[float, typer.Option(help="Largest file that can be uploaded, in MB.")] = 50,
) -> None:
    """A page in the browser: find, see, classify and localise motions, and talk about them."""
    from .app import run_app

    run_app(checkpoint, index, data, llamo, host, port, max_upload_mb, console)


command(show_app, "app")  # the name `app` is that of all commands here


def main() -> None:
    """Entry point of the console command."""
    app()
