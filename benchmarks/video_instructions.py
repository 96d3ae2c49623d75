"""Whether MotionLlamo takes from motion and from video what each alone shows: questions that one of them answers, or only both.

    python benchmarks/video_instructions.py --checkpoint FOLDER --runs runs/video --output docs/results/video_instructions.json

Motion is procedural, the videos are stick figures that stand still and hold things of some colour. A vision tower of two layers
learns to say what rendered pictures show, in place of a pretrained one, and is then frozen, as the video encoder of LLaMo is. A
small MotionLlamo (recipe `llamo_small`) learns to answer what only video answers, then all questions. Asked about other motions
and scenes with all inputs, with zeroed motion, and with zeroed video. CHECKPOINT is a MotionPatches model: its motion tower is
taken.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset, DatasetDict
from rich.console import Console
from rich.table import Table
from tqdm import tqdm, trange
from transformers import CLIPVisionModel

from motionpatches import get_skeleton, make_motions
from motionpatches.processing.canonical import from_y_up
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader
from motionpatches.processing.rendering import BACKGROUNDS, COLORS, HANDS, SHAPES, Prop, render_motion
from motionpatches.processing.video_instructions import make_video_instructions
from motionpatches.training.answer_metrics import exact_match, majority_answers
from motionpatches.training.answering import answer_questions, read_questions
from motionpatches.training.export import save_checkpoint
from motionpatches.training.instruct import instruct
from motionpatches.training.instruction_data import InstructionData, texts_of
from motionpatches.training.intervals import bootstrap_interval
from motionpatches.training.llamo_builder import build_llamo, new_vision
from motionpatches.training.question_sets import load_motion_llamo
from motionpatches.training.recipe import load_instruction_recipe
from motionpatches.training.results import command_line, environment, shorten_path, write_json
from motionpatches.training.run import describe_data
from motionpatches.training.run_folder import can_resume


#: Name → motion and video that a question is asked with.
ASKED = {"both": ("real", "real"), "motion alone": ("real", "zeroed"), "video alone": ("zeroed", "real")}
NEEDS = ("motion", "video", "both")
FRAMES, SIDE = 2, 64  # frames of each video that are seen, and pixels along their sides
_SEED_STEP = 1000  # between seeds of the splits, so that none repeats a motion of another


def main(
    checkpoint: Annotated[Path, typer.Option(help="A MotionPatches model.")],
    runs: Annotated[Path, typer.Option(help="Folder for videos and the run, which goes on where it was interrupted.")],
    output: Annotated[Path, typer.Option(help="Results file.")],
    motions: Annotated[int, typer.Option(help="Training motions.")] = 1200,
    num: Annotated[int, typer.Option(help="Training questions of each category at most.")] = 600,
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
    tower = runs / "vision"
    if not (tower / "config.json").exists():
        train_vision(tower, seed)
    fields = [f"video_name={tower}", f"video_frames={FRAMES}", "augment_mirror=0", f"seed={seed}"]
    recipe = load_instruction_recipe("llamo_small", [*fields, *(overrides or [])])
    readers = {split: ClipReader(rows) for split, rows in data.items()}
    start = str(runs / "start")
    if not (runs / "start" / "config.json").exists():
        texts = texts_of(questions["train"])  # of both stages, so that the tokenizer knows all words
        begun = build_llamo(recipe, data["train"], texts, str(checkpoint))
        save_checkpoint(*begun, runs / "start")
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
        "recipe": {"name": recipe.name, **recipe.to_dict(), "video_name": shorten_path(str(tower))},
        "exact_match": judge(questions["train"], questions["test"], answers),
        **environment(),
    }
    write_json(output, content)
    report(content["exact_match"])


def needing(questions: Dataset, needs: set[str]) -> Dataset:
    """The questions that need one of these."""
    return questions.filter(lambda need: need in needs, input_columns="needs")


def train_vision(folder: Path, seed: int, num: int = 4000, epochs: int = 30, batch_size: int = 64) -> None:
    """Train a vision tower to say what single pictures show, and save it with its video processor.

    Args:
        folder: Where they are saved.
        seed: Of pictures, weights and order.
        num: Pictures.
        epochs: Passes over them.
        batch_size: Pictures in a step.
    """
    torch.manual_seed(seed)
    pictures, facts = render_scenes(num, seed)
    config, settings = new_vision(SIDE, FRAMES)
    shown = settings(list(pictures[:, None]), do_sample_frames=False, return_tensors="pt").pixel_values_videos[:, 0]
    tower = CLIPVisionModel(config)
    heads = torch.nn.ModuleDict(
        {name: torch.nn.Linear(config.hidden_size, int(known.max()) + 1) for name, known in facts.items()}
    )
    optimizer = torch.optim.AdamW([*tower.parameters(), *heads.parameters()], lr=1e-3, weight_decay=0.05)
    steps = epochs * -(-num // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    with tqdm(total=steps, desc="vision tower") as bar:
        for batch in (part for _ in range(epochs) for part in torch.randperm(num).split(batch_size)):
            pooled = tower(shown[batch]).pooler_output
            losses = [torch.nn.functional.cross_entropy(heads[name](pooled), known[batch]) for name, known in facts.items()]
            optimizer.zero_grad()
            sum(losses).backward()
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix({name: f"{loss.item():.2f}" for name, loss in zip(facts, losses, strict=True)})
    settings.save_pretrained(folder)
    tower.save_pretrained(folder)


def render_scenes(num: int, seed: int) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """Pictures (num, H, W, 3) of a figure with things in its hands, and what they show: for each fact (num,) numbers."""
    generator = np.random.default_rng(seed)
    body = get_skeleton("smpl22")
    still = from_y_up(body.rest_pose[None, : body.num_joints], body)
    colors, walls = list(COLORS), list(BACKGROUNDS)
    pictures, facts = [], []
    for _ in trange(num, desc="pictures"):
        held = [int(color) for color in generator.choice(len(colors), 2, replace=False)]
        shape, wall, empty = (int(generator.integers(top)) for top in (len(SHAPES), len(walls), 3))
        props = [Prop(hand, colors[held[n]], SHAPES[shape]) for n, hand in enumerate(HANDS) if n != empty]
        pictures += [*render_motion(still, body, props, walls[wall], azimuth=float(generator.uniform(-60, 60)))]
        nothing = len(colors)
        facts.append([*(nothing if n == empty else color for n, color in enumerate(held)), shape, wall])
    known = torch.tensor(facts).unbind(1)
    return np.stack(pictures), dict(zip((*HANDS, "shape", "wall"), known, strict=True))


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
