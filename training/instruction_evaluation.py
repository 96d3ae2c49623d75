"""How a MotionLlamo is judged: its answers to questions about motions, by category, beside those to other motions or none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..modeling_motionpatches import MotionPatchesModel
from ..processing.instructions import ClipReader
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from ..processing.processing_motionpatches import MotionTextProcessor
from .answer_metrics import counting_metrics, majority_answers, match_metrics
from .answering import MOTIONS, Question, answer_questions, check_references, read_questions, shuffle_motions
from .caption_scores import caption_precision, caption_scores
from .evaluation import embed_motions


#: Categories with measures of their own. Captions are free text, of which an exact match says nothing.
CAPTIONS, REPETITIONS = "caption", "repetitions"
#: What answers are called that were given with the real motion, but without the video.
ZEROED_VIDEO = "zeroed_video"
_ORDER = (*MOTIONS, ZEROED_VIDEO, "majority")
_SHOWN_DIFFERENCES = {
    "real_minus_majority": "real − majority",
    "real_minus_shuffled": "real − shuffled",
    "shuffled_minus_majority": "shuffled − majority",
}
_CAPTION_SCORES = {"bleu1": "BLEU-1", "bleu4": "BLEU-4", "rouge_l": "ROUGE-L", "cider": "CIDEr"}

Retriever = tuple[MotionPatchesModel, MotionTextProcessor]
Rows = Sequence[Mapping[str, Any]]


def evaluate_instructions(
    model: MotionLlamoForConditionalGeneration,
    processor: MotionLlamoProcessor,
    instructions: Rows,
    reader: ClipReader,
    train_instructions: Rows | None = None,
    retriever: Retriever | None = None,
    motions: Sequence[str] = MOTIONS,
    video_folder: str | Path | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Ask a model questions about motions, with the right motion and with controls, and judge the answers.

    Args:
        model, processor: The model and its processor.
        instructions: The questions with their answers; rows as `answering.read_questions` takes them.
        reader: Has the motions that they refer to.
        train_instructions: Questions of the training split, for the majority answers; default: the questions judged, which makes
            the majority answer as strong as one constant answer can be.
        retriever: A MotionPatches model and its processor, for the R-precision of captions.
        motions: Out of `answering.MOTIONS`, with `"real"`.
        video_folder: What the paths of videos start from. Questions with videos are also asked with zeroed ones.
        batch_size, max_new_tokens, seed, progress: As in `answering.answer_questions`.

    Returns:
        What `judge_answers` returns, and `"answers"`: of each question `id`, `category`, `question`, `truth` and an answer for
        each of `motions`, and `"zeroed_video"` if there are videos.

    Raises:
        FileNotFoundError: If a video is not there.
        ImportError: If there are captions, and the library that judges them is not installed.
        ValueError: As `answer_questions` and `judge_answers`, before any answer is generated; or if a kind of motion is unknown,
            or `"real"` is not among them.
    """
    unknown = sorted(set(motions) - set(MOTIONS))
    if unknown or "real" not in motions:
        raise ValueError(f"motions={list(motions)!r}: expected 'real' and perhaps others of {', '.join(MOTIONS)}")
    questions = read_questions(instructions)
    check_references(questions, reader, video_folder)
    if "shuffled" in motions:
        shuffle_motions(questions, seed)
    truth = [question.answer for question in questions]
    if retriever is not None:
        _check_captions([question for question in questions if question.category == CAPTIONS])
    # What cannot be judged is found before hours of answering.
    judge_answers(questions, {"real": truth}, reader, train_instructions)
    options: dict[str, Any] = {
        "video_folder": video_folder,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
        "progress": progress,
    }
    answers = {
        motion: answer_questions(model, processor, instructions, reader, motion, **options)
        for motion in dict.fromkeys(motions)
    }
    if any(question.videos for question in questions):
        answers[ZEROED_VIDEO] = answer_questions(model, processor, instructions, reader, video="zeroed", **options)
    results = judge_answers(questions, answers, reader, train_instructions, retriever, seed)
    results["answers"] = [
        {
            "id": question.id,
            "category": question.category,
            "question": question.text,
            "truth": question.answer,
            **{motion: texts[place] for motion, texts in answers.items()},
        }
        for place, question in enumerate(questions)
    ]
    return results


def judge_answers(
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[str]],
    reader: ClipReader,
    train_instructions: Rows | None = None,
    retriever: Retriever | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge answers, of whatever model.

    Args:
        questions: Of `answering.read_questions`, N.
        answers: What was shown (`"real"` motion, `"shuffled"`, `"zeroed"`, …) → N answers.
        reader, train_instructions, retriever: As in `evaluate_instructions`.
        seed: Of the pools of R-precision.

    Returns:
        `"num"`; `"majority_of"`: `"training questions"` or `"judged questions"`; `"exact_match"`: what
        `answer_metrics.match_metrics` gives of all categories but captions; `"captions"`: `"num"`, `"references"`, their mean
        number, and `"scores"`, what was shown or `"majority"` → what `caption_scores` gives, with `"r_precision"` where there is
        a retriever, also of `"truth"`, the true answers; `"repetitions"`: what was shown or `"majority"` → what
        `answer_metrics.counting_metrics` gives. The last three are there where there are such questions.

    Raises:
        ImportError: If there are captions, and the library that judges them is not installed.
        ValueError: If lengths differ, or a true answer or caption cannot be judged by; as the functions named.
    """
    for motion, texts in answers.items():
        if len(texts) != len(questions):
            raise ValueError(f"{len(texts)} answers ({motion}) to {len(questions)} questions; expected one to each")
    known = questions if train_instructions is None else read_questions(train_instructions)
    majority = majority_answers([one.category for one in known], [one.answer for one in known])
    results: dict[str, Any] = {
        "num": len(questions),
        "majority_of": "judged questions" if train_instructions is None else "training questions",
    }
    places = [place for place, one in enumerate(questions) if one.category != CAPTIONS]
    if places:
        chosen = [questions[place] for place in places]
        said = {motion: [texts[place] for place in places] for motion, texts in answers.items()}
        results["exact_match"] = match_metrics(
            [one.category for one in chosen], [one.answer for one in chosen], said, majority
        )
    captioned = _part(questions, answers, majority, CAPTIONS)
    if captioned is not None:
        results["captions"] = _judge_captions(*captioned, reader, retriever, seed)
    counted = _part(questions, answers, majority, REPETITIONS)
    if counted is not None:
        chosen, said = counted
        truth = [one.answer for one in chosen]
        results["repetitions"] = {motion: counting_metrics(texts, truth) for motion, texts in said.items()}
    return results


def print_instruction_table(results: Mapping[str, Any], console: Console) -> None:
    """A table of exact match by category, and those of captions and repetitions where there are any."""
    if "exact_match" in results:
        _print_matches(results["exact_match"], results["majority_of"], console)
    if "repetitions" in results:
        _print_counts(results["repetitions"], console)
    if "captions" in results:
        _print_captions(results["captions"], console)


def _part(
    questions: Sequence[Question], answers: Mapping[str, Sequence[str]], majority: Mapping[str, str], category: str
) -> tuple[list[Question], dict[str, list[str]]] | None:
    """The questions of a category, and their answers, also by the majority; `None` where there are none."""
    places = [place for place, one in enumerate(questions) if one.category == category]
    if not places:
        return None
    if category not in majority:
        raise ValueError(f"there is no majority answer of category {category!r}: the training questions have none of it")
    said = {motion: [texts[place] for place in places] for motion, texts in answers.items()}
    return [questions[place] for place in places], {**said, "majority": [majority[category]] * len(places)}


def _judge_captions(
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[str]],
    reader: ClipReader,
    retriever: Retriever | None,
    seed: int,
) -> dict[str, Any]:
    references = _caption_references(questions, reader)
    scores: dict[str, Any] = {motion: caption_scores(texts, references) for motion, texts in answers.items()}
    if retriever is not None:
        _check_captions(questions)
        embeds = embed_motions(*retriever, [reader.read(one.motions[0]) for one in questions])
        told = {**answers, "truth": [one.answer for one in questions]}
        for motion, texts in told.items():
            scores.setdefault(motion, {})["r_precision"] = caption_precision(*retriever, texts, embeds, seed)
    return {
        "num": len(questions),
        "references": sum(map(len, references)) / len(references),
        "scores": scores,
    }


def _check_captions(questions: Sequence[Question]) -> None:
    """Raise a ValueError if R-precision cannot be had of captions."""
    unfit = [question.id for question in questions if len(question.motions) != 1]
    if unfit:
        raise ValueError(
            f"{len(unfit)} of {len(questions)} questions for captions have not one motion each, the first {unfit[0]!r}; "
            "R-precision needs one: leave the retriever out"
        )


def _caption_references(questions: Sequence[Question], reader: ClipReader) -> list[list[str]]:
    """Of a whole motion all its captions; where it has none, and of a part or several pieces, the answer of the question."""
    plain = reader.rows.with_format(None)
    captions, num_frames = plain["captions"][:], plain["num_frames"][:]
    references = []
    for question in questions:
        clips = [clip for motion in question.motions for clip in motion["clips"]]
        place = reader.places[clips[0]["id"]] if len(clips) == 1 else None
        is_whole = place is not None and clips[0]["start"] == 0 and clips[0]["end"] >= num_frames[place]
        references.append(list(captions[place]) if is_whole and captions[place] else [question.answer])
    return references


def _print_matches(found: Mapping[str, Any], majority_of: str, console: Console) -> None:
    console.print("\nexact match in %, [95% interval]; differences in points", highlight=False, markup=False)
    kinds = [kind for kind in _ORDER if kind in found["micro"]["exact_match"]]
    differences = [key for key in _SHOWN_DIFFERENCES if key in found["micro"]["differences"]]
    table = Table(
        "category", "n", *(kind.replace("_", " ") for kind in kinds), *(_SHOWN_DIFFERENCES[key] for key in differences)
    )

    def add(name: str, scores: Mapping[str, Any]) -> None:
        cells = [_cell(scores["exact_match"][kind], with_interval=kind == "real") for kind in kinds]
        cells += [_cell(scores["differences"][key], True, "+") for key in differences]
        table.add_row(name, str(scores["num"]), *cells)

    for name, scores in found["categories"].items():
        add(escape(name), scores)
    table.add_section()
    add("all questions", found["micro"])
    add("mean of categories", {**found["macro"], "num": ""})
    console.print(table)
    console.print(f"majority: the most frequent answer of each category, of the {majority_of}", highlight=False)


def _print_counts(found: Mapping[str, Any], console: Console) -> None:
    console.print("\ncounting of repetitions, [95% interval]", highlight=False, markup=False)
    table = Table("motion", "n", "OBO in %", "MAE / count", "MAE", "no number")
    for motion, scores in found.items():
        numbers = [_cell(scores["obo"]), *(_cell(scores[key], digits=2) for key in ("mae", "absolute_mae"))]
        table.add_row(motion.replace("_", " "), str(scores["num"]), *numbers, str(scores["no_number"]))
    console.print(table)


def _print_captions(found: Mapping[str, Any], console: Console) -> None:
    size = f"{found['num']} motions, {found['references']:.1f} references each"
    console.print(f"\ncaptions: {size}; in %, but CIDEr from 0 to 10", highlight=False)
    precision = next((scores["r_precision"] for scores in found["scores"].values() if "r_precision" in scores), None)
    tops = [] if precision is None else [key for key in precision if key.startswith("top")]
    heads = [] if precision is None else [f"R-precision {key} of {precision['pool']}" for key in tops]
    table = Table("motion", *_CAPTION_SCORES.values(), *heads)
    for motion, scores in found["scores"].items():
        cells = [
            f"{scores[key]:.2f}" if key == "cider" else f"{scores[key]:.1f}" for key in _CAPTION_SCORES if key in scores
        ]
        cells = cells or [""] * len(_CAPTION_SCORES)
        table.add_row(motion.replace("_", " "), *cells, *(f"{scores['r_precision'][key]:.1f}" for key in tops))
    if precision is not None:
        table.add_row(
            "chance", *[""] * len(_CAPTION_SCORES), *(f"{precision['chance'][key]:.1f}" for key in tops), style="dim"
        )
    console.print(table)


def _cell(score: Mapping[str, Any], with_interval: bool = True, sign: str = "", digits: int = 1) -> str:
    form = f"{sign}.{digits}f"
    low, high = (round(end, digits) + 0.0 for end in score["interval"])  # no “-0.0”
    value = f"{round(score['score'], digits) + 0.0:{form}}"
    return escape(f"{value} [{low:{form}}, {high:{form}}]") if with_interval else value
