"""The commands that measure: evaluate, compare, score."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .commands import Checkpoint, Template, command, console


_ANSWERS = "Options for a MotionLlamo"


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
