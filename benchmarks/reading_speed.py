"""How fast prepared motions are read: at random by number, and in order as a stream; beside `datasets` as it comes.

    python benchmarks/reading_speed.py --output docs/results/reading_speed.json

Motions are random numbers as long as HumanML3D's (142 frames on average, 22 joints), in Parquet shards as `motionpatches prepare`
writes them. The files are read once before the clock starts, so that this measures the reading and not the disk. Each access is
whole: all columns of a row, joints as an array of shape (T, J, 3), of which one number is looked at.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset, disable_progress_bars, load_dataset

from motionpatches.processing.corpora import load_motions, stream_motions
from motionpatches.processing.motion_table import MotionTable
from motionpatches.training.results import command_line, environment, write_json


MEAN_FRAMES, SHORTEST, LONGEST, NUM_JOINTS = 142, 40, 200, 22


def main(
    output: Annotated[Path, typer.Option(help="Results file.")],
    num: Annotated[int, typer.Option(help="Motions.")] = 20_000,
    seed: int = 0,
) -> None:
    """Write made motions, read them in each way, and write the rates."""
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        write_motions(Path(folder), num, seed)
        rows = load_motions(folder)["train"]
        order = np.random.default_rng(seed).permutation(num)
        few = order[: num // 10]
        table = MotionTable(rows)
        as_numpy = load_dataset("parquet", data_files=f"{folder}/data/*.parquet", split="train").with_format("numpy")
        stream = stream_motions(folder, "train")
        rates = {
            "at random, MotionTable": rate(lambda: (table[row] for row in order), num),
            "at random, datasets with_format('numpy')": rate(lambda: (as_numpy[int(row)] for row in few), len(few)),
            "in order, stream_motions": rate(lambda: iter(stream.with_format("numpy")), num),
        }
    baseline = rates["at random, datasets with_format('numpy')"]
    results = {
        name: {"motions_per_second": found, "times_datasets_at_random": found / baseline} for name, found in rates.items()
    }
    for name, found in results.items():
        print(f"{name}: {found['motions_per_second']:.0f} a second, {found['times_datasets_at_random']:.1f} times")
    facts = {"task": "reading_speed", "command": command_line(), "num": num, "mean_frames": MEAN_FRAMES, "seed": seed}
    write_json(output, {**facts, "processes": 1, "results": results, **environment()})


def write_motions(folder: Path, num: int, seed: int) -> None:
    """Parquet shards of random motions."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.normal(MEAN_FRAMES, 45, num), SHORTEST, LONGEST).astype(int)
    (folder / "data").mkdir()
    shards = np.array_split(np.arange(num), max(num // 2000, 1))
    for number, rows in enumerate(shards):
        values: dict[str, list[Any]] = {
            "id": [f"{row:06d}" for row in rows],
            "joints": [generator.normal(size=lengths[row] * NUM_JOINTS * 3).astype(np.float32) for row in rows],
            "num_frames": lengths[rows].tolist(),
            "num_joints": [NUM_JOINTS] * len(rows),
            "skeleton": ["smpl22"] * len(rows),
            "fps": [20.0] * len(rows),
            "captions": [[f"a person walks {row} steps", "someone walks", "the figure goes"] for row in rows],
        }
        Dataset.from_dict(values).to_parquet(folder / "data" / f"train-{number:05d}-of-{len(shards):05d}.parquet")


def rate(start: Callable[[], Iterable[dict[str, Any]]], num: int) -> float:
    """Motions a second, the best of three passes after one that is not counted."""
    best = np.inf
    for _ in range(4):
        begun = time.perf_counter()
        total = 0.0
        for row in start():
            total += float(np.reshape(row["joints"], (row["num_frames"], row["num_joints"], 3))[0, 0, 0])
        best = min(best, time.perf_counter() - begun)
    return num / best


if __name__ == "__main__":
    typer.run(main)
