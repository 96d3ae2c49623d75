"""Fine-tune a classifier on few labelled motions of a skeleton that the model never saw, and judge it.

Motions are rows with `joints`, `skeleton`, `fps`, `captions` and `label`. Here they are made; `load_motions(FOLDER)` reads yours.

    make quickstart                         # leaves the model
    python examples/fine_tune.py
"""

from pathlib import Path
from typing import Annotated

import typer
from datasets import DatasetDict
from transformers import pipeline

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.classification import finetune
from motionpatches.training.classifier import evaluate_classifier, load_classifier
from motionpatches.training.recipe import load_classification_recipe


ACTIONS = ["wave", "kick", "squat", "jump"]


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a model to start from.")] = "quickstart/run/best",
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/examples/classifier"),
    num: Annotated[int, typer.Option(help="Labelled motions of each action.")] = 4,
    epochs: Annotated[int, typer.Option(help="How often each is seen.")] = 10,
) -> None:
    parts = {"train": num, "validation": 2, "test": 5}
    data = DatasetDict(
        {
            split: to_dataset(make_motions(each * len(ACTIONS), "kinect20", seed, actions=ACTIONS), split)
            for seed, (split, each) in enumerate(parts.items())
        }
    )
    recipe = load_classification_recipe("classification", [f"epochs={epochs}", "batch_size=8"])
    trained = finetune(recipe, data, output, checkpoint)
    print(f"best epoch {trained['best_epoch']} of {trained['epochs']}")

    classifier, processor = load_classifier(output / "best")
    results = evaluate_classifier(classifier, processor, data["test"], "test")["all"]
    print(f"top-1 on the test split: {results['top1']:.1f} %, by chance {results['chance']['top1']:.1f} %")

    classify = pipeline("motion-classification", model=str(output / "best"))
    motion = make_motions(1, "kinect20", seed=9, actions=["kick"])[0]
    for entry in classify({key: motion[key] for key in ("joints", "skeleton", "fps")}, top_k=2):
        print(f"  {entry['score']:.2f}  {entry['label']}")


if __name__ == "__main__":
    typer.run(main)
