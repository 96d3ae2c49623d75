"""Few labels on a skeleton that pre-training never saw: what a contrastive checkpoint is worth to a classifier.

    make quickstart
    python benchmarks/few_labels.py --checkpoint quickstart/run/best --output docs/results/few_labels.json

Procedural motion on kinect20, which the quickstart does not train on, from seeds of its own. Classifiers come about in three
ways: from the checkpoint; from the checkpoint, its tower frozen; and from scratch, a tower of the same size. All have the same
data, steps and validation; the best epoch is chosen on validation accuracy. Beside them the checkpoint without labels at all
(zero-shot) and chance.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset, DatasetDict
from transformers import ViTConfig
from transformers.utils import logging

from motionpatches import MotionPatchesModel, list_actions, make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.classification import finetune
from motionpatches.training.classifier import evaluate_classifier, load_classifier
from motionpatches.training.evaluation import embed_motions, zero_shot
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.quickstart import AMPLITUDE, TEMPO, TRAINED_SKELETONS, UNSEEN_SKELETON
from motionpatches.training.recipe import ClassificationRecipe, load_classification_recipe
from motionpatches.training.results import command_line, environment, write_json


PER_CLASS = (2, 5, 20)
PER_CLASS_VALIDATION, PER_CLASS_TEST = 2, 20
STEPS = 100  # of each run, whatever it has to learn from
BATCH_SIZE = 32
# Far above the seeds of the quickstart's data, so that no motion is one of those.
_SEED_BASE = 10**9


def main(
    checkpoint: Annotated[
        Path, typer.Option(help="A contrastive checkpoint that saw neither this skeleton nor these motions.")
    ],
    output: Annotated[Path, typer.Option(help="Results file.")],
    num_seeds: Annotated[int, typer.Option(help="Runs of each setting, each with data and seed of its own.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, 30 steps: to try the script, not to measure.")] = False,
) -> None:
    """Measure and write the accuracies."""
    warnings.simplefilter("ignore")  # cut motions: the same for all ways
    logging.set_verbosity_error()
    model, processor = load_checkpoint(checkpoint)
    check_unseen(checkpoint)
    seeds = range(1 if quick else num_seeds)
    steps = 30 if quick else STEPS
    test = make_part(PER_CLASS_TEST, 0)
    embeds = embed_motions(model, processor, test)
    without_labels = zero_shot(model, processor, embeds, test["label"][:])
    runs = []
    for seed in seeds:
        validation = make_part(PER_CLASS_VALIDATION, 2 * seed + 1)
        pool = make_part(max(PER_CLASS), 2 * seed + 2)
        for per_class in PER_CLASS:
            # Each block of as many motions as there are actions has every action once.
            train = pool.select(range(per_class * len(list_actions())))
            data = DatasetDict(train=train, validation=validation)
            for way in ("contrastive", "contrastive, tower frozen", "scratch"):
                recipe = make_recipe(model, way, len(train), steps, seed)
                judged, best_epoch = run(recipe, data, test, None if way == "scratch" else str(checkpoint))
                accuracy = {key: judged[key] for key in ("top1", "top5", "macro_top1")}
                runs.append({"start": way, "per_class": per_class, "seed": seed, "best_epoch": best_epoch, **accuracy})
                print(f"seed {seed}, {per_class:2d} a class, {way}: top-1 {judged['top1']:.1f}", flush=True)
    content = {
        "task": "few labels",
        "command": command_line(),
        "data": f"procedural motion on {UNSEEN_SKELETON}, {len(list_actions())} actions; validation {PER_CLASS_VALIDATION} and "
        f"test {PER_CLASS_TEST} motions a class; the checkpoint was trained on {', '.join(TRAINED_SKELETONS)}",
        "seeds": list(seeds),
        "steps": steps,
        "recipe": make_recipe(model, "scratch", 1, steps, 0).to_dict(),
        "chance": without_labels["chance"],
        "zero_shot": {key: without_labels[key] for key in ("top1", "top5", "macro_top1")},
        "mean_top1": summarize(runs),
        "runs": runs,
        **environment(),
    }
    write_json(output, content)
    print(json.dumps({"zero_shot": without_labels["top1"], **content["mean_top1"]}, indent=2))


def check_unseen(checkpoint: Path) -> None:
    """Refuse a checkpoint that was trained on the skeleton of the test motions."""
    facts = checkpoint.parent / "results.json"
    trained = json.loads(facts.read_text(encoding="utf-8"))["data"]["train"] if facts.exists() else "unknown data"
    if not facts.exists() or UNSEEN_SKELETON in trained:
        raise ValueError(f"{checkpoint} was trained on {trained}; expected a run that says it never saw {UNSEEN_SKELETON}")


def make_part(per_class: int, part: int) -> Dataset:
    """Motions with `per_class` of each action."""
    num = per_class * len(list_actions())
    motions = make_motions(num, UNSEEN_SKELETON, _SEED_BASE + part, tempo=TEMPO, amplitude=AMPLITUDE)
    return to_dataset(motions, f"procedural_{UNSEEN_SKELETON}")


def make_recipe(model: MotionPatchesModel, way: str, num: int, steps: int, seed: int) -> ClassificationRecipe:
    """The package's recipe with the tower of the checkpoint, and as many epochs as make the steps."""
    tower: ViTConfig = model.config.motion_config
    values = {
        "motion_depth": tower.num_hidden_layers,
        "motion_pooling": model.config.motion_pooling,
        "max_frames": tower.image_size[0],
        "patch_size": tower.patch_size,
        "epochs": round(steps / -(-num // BATCH_SIZE)),
        "batch_size": BATCH_SIZE,
        "lr_motion": {"contrastive": 2e-4, "contrastive, tower frozen": 0.0, "scratch": 1e-3}[way],
        "lr_classifier": {"contrastive": 2e-3, "contrastive, tower frozen": 2e-2, "scratch": 1e-3}[way],
        "seed": seed,
        "tracker": "none",
    }
    return load_classification_recipe("classification", [f"{key}={value}" for key, value in values.items()])


def run(
    recipe: ClassificationRecipe, data: DatasetDict, test: Dataset, checkpoint: str | None
) -> tuple[dict[str, Any], int]:
    """Accuracy of the best epoch on the test motions, and its number."""
    with tempfile.TemporaryDirectory() as folder:
        results = finetune(recipe, data, Path(folder) / "run", checkpoint)
        judged = evaluate_classifier(*load_classifier(Path(folder) / "run" / "best"), test)
    return judged["all"], results["best_epoch"]


def summarize(runs: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Mean and standard deviation of top-1 over the seeds: start → motions a class → `{"mean", "std"}`."""
    summary: dict[str, dict[str, dict[str, float | None]]] = {}
    for one in runs:
        same = [r["top1"] for r in runs if (r["start"], r["per_class"]) == (one["start"], one["per_class"])]
        found = {"mean": float(np.mean(same)), "std": float(np.std(same)) if len(same) > 1 else None}
        summary.setdefault(one["start"], {})[str(one["per_class"])] = found
    return summary


if __name__ == "__main__":
    typer.run(main)
