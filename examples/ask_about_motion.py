"""Teach a small language model to answer questions about motion (MotionLlamo), and ask it.

The questions are made of the captions, labels and joints of the motions. With the few motions and epochs of the defaults it
learns the form of the answers and little more; `motionpatches instruct` on your data is the real thing.

    make quickstart                         # leaves the motion tower
    python examples/ask_about_motion.py
"""

from pathlib import Path
from typing import Annotated

import typer
from datasets import DatasetDict
from transformers import pipeline

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.instruct import instruct
from motionpatches.training.recipe import load_instruction_recipe


ACTIONS = ["wave", "kick", "squat"]
QUESTION = "Which action is this?"


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a model to start from.")] = "quickstart/run/best",
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/examples/answers"),
    num: Annotated[int, typer.Option(help="Motions to learn from.")] = 24,
    epochs: Annotated[int, typer.Option(help="How often each question is seen.")] = 4,
) -> None:
    data = DatasetDict(
        {
            split: to_dataset(make_motions(size, "smpl22", seed, actions=ACTIONS), split)
            for seed, (split, size) in enumerate({"train": num, "validation": len(ACTIONS) * 2}.items())
        }
    )
    settings = [f"epochs={epochs}", "batch_size=8", f"num_questions={num}", "categories=[action]", "language_depth=1"]
    trained = instruct(load_instruction_recipe("llamo_small", settings), data, output, checkpoint)
    print(f"best epoch {trained['best_epoch']} of {trained['epochs']}")

    ask = pipeline("motion-text-to-text", model=str(output / "best"))
    for motion in make_motions(len(ACTIONS), "smpl22", seed=9, actions=ACTIONS):
        shown = {key: motion[key] for key in ("joints", "skeleton", "fps")}
        answer = ask(shown, text=QUESTION, max_new_tokens=12)[0]["generated_text"]
        print(f"  {motion['label']}: {QUESTION} {answer}")


if __name__ == "__main__":
    typer.run(main)
