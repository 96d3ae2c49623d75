"""Whether the ways to train fast that `training_speed.py` measures cost recall.

    python benchmarks/training_recall.py --output docs/results/training_speed_recall.json

A small model is trained on procedural motion in each way, everything else equal, and judged on test motions.
"""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import DatasetDict
from rich.console import Console
from rich.table import Table
from training_speed import BASELINE, WAYS
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.evaluation import evaluate
from motionpatches.training.loop import train
from motionpatches.training.quickstart import AMPLITUDE, TEMPO
from motionpatches.training.recipe import load_recipe
from motionpatches.training.results import command_line, environment, write_json


_SEED_STEP = 1000  # between seeds of parts of the data, so that none repeats a motion of another


def recall(
    output: Annotated[Path, typer.Option(help="Results file.")],
    motions: Annotated[int, typer.Option(help="Training motions.")] = 600,
    batch_size: Annotated[
        int, typer.Option(help="Small, so that an epoch has more batches than are sorted at a time.")
    ] = 16,
    epochs: int = 8,
    num_seeds: Annotated[int, typer.Option(help="Runs of each way, each with data and seed of its own.")] = 3,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as many as there are cores.")] = 0,
    override: Annotated[list[str] | None, typer.Option("--set", help="field=value of the recipe, for all ways.")] = None,
) -> None:
    """Train in each way with the same data and seeds, and write the recall on test motions."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    warnings.simplefilter("ignore")  # cut motions: the same for all ways
    logging.set_verbosity_error()
    runs = []
    for seed in range(num_seeds):
        data = make_splits(motions, seed)
        for name, fields in WAYS.items():
            settings = {**fields, "batch_size": batch_size, "epochs": epochs, "seed": seed, "tracker": "none"}
            recipe = load_recipe("quickstart", [*(override or []), *(f"{key}={value}" for key, value in settings.items())])
            with tempfile.TemporaryDirectory() as folder:
                train(recipe, data, Path(folder) / "run")
                best = Path(folder) / "run" / "best"
                judged = evaluate(AutoModel.from_pretrained(best), AutoProcessor.from_pretrained(best), data["test"])["all"]
            found = judged["retrieval"]["strict"]
            runs.append({"way": name, "seed": seed, **{way: pick(found[way]) for way in ("t2m", "m2t")}})
    frames = np.asarray([number for part in data.values() for number in part["num_frames"]])
    content = {
        "task": "training_speed_recall",
        "command": f"python benchmarks/{command_line()}",
        "data": f"procedural motion on smpl22 from seeds of its own for each run; of the last, {len(data['train'])} motions to "
        f"train on, {len(data['validation'])} to choose the epoch and {len(data['test'])} to test; {frames.min()} to "
        f"{frames.max()} frames, mean {frames.mean():.0f}",
        "seeds": list(range(num_seeds)),
        "threads": torch.get_num_threads(),
        "ways": WAYS,
        "recipe": {key: value for key, value in recipe.to_dict().items() if key not in {*WAYS[BASELINE], "seed"}},
        "chance": {way: pick(judged["chance"]["strict"][way]) for way in ("t2m", "m2t")},
        "summary": summarize_recall(runs),
        "runs": runs,
        **environment(),
    }
    write_json(output, content)
    report_recall(content)


def make_splits(num: int, seed: int) -> DatasetDict:
    """Procedural motions of 1 to 8 s, a third as many to choose the epoch and to test as to train."""
    return DatasetDict(
        {
            name: to_dataset(
                make_motions(count, "smpl22", (10 * seed + part) * _SEED_STEP, tempo=TEMPO, amplitude=AMPLITUDE),
                "procedural",
            )
            for part, (name, count) in enumerate((("train", num), ("validation", num // 3), ("test", num // 3)))
        }
    )


def pick(scores: dict[str, float]) -> dict[str, float]:
    """The two that are reported."""
    return {key: float(scores[key]) for key in ("R@1", "R@10")}


def summarize_recall(runs: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Way → "t2m R@1", … → mean over the seeds, and how much more than padded in each seed."""

    def values(way: str, direction: str, key: str) -> np.ndarray:
        return np.array([run[direction][key] for run in runs if run["way"] == way])

    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for way in WAYS:
        for direction in ("t2m", "m2t"):
            for key in ("R@1", "R@10"):
                found = values(way, direction, key)
                more = found - values(BASELINE, direction, key)
                summary.setdefault(way, {})[f"{direction} {key}"] = {
                    "mean": float(found.mean()),
                    "std": float(found.std(ddof=1)) if len(found) > 1 else None,
                    f"more than {BASELINE}": {"mean": float(more.mean()), "of each seed": more.tolist()},
                }
    return summary


def report_recall(content: dict[str, Any]) -> None:
    """Print a row for each way."""
    table = Table(
        title=f"strict recall on test motions, mean of {len(content['seeds'])} seeds, and how much more than {BASELINE}"
    )
    table.add_column("")
    for name in content["summary"][BASELINE]:
        table.add_column(name, justify="right")
    for way, scores in content["summary"].items():
        table.add_row(way, *(f"{one['mean']:.2f} ({one[f'more than {BASELINE}']['mean']:+.2f})" for one in scores.values()))
    table.add_row("chance", *(f"{value:.1f}" for way in content["chance"].values() for value in way.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(recall)
