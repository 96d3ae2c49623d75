"""How fast joints become motion patches, as ratios against baselines in the same run.

    python benchmarks/speed.py --output docs/results/speed.json

The baseline resizes each part of each frame by `cv2.resize`, the way motion patches are commonly made; a plain copy of the output
says what any code must cost. All input checks are on.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from motionpatches import MotionPatchProcessor, get_skeleton, make_motions
from motionpatches.processing.skeletons import PARTS
from motionpatches.training.results import environment, write_json


SKELETON = get_skeleton("smpl22")
NUM_FRAMES, PATCH_SIZE = 224, 16


def main(
    output: Annotated[Path, typer.Option(help="Results file.")],
    num: Annotated[int, typer.Option(help="Motions in a batch.")] = 1000,
    repeats: int = 7,
    seed: int = 0,
) -> None:
    """Measure and write the ratios."""
    # Made at 42 frames per second and taken as 20: about as long as those of HumanML3D, 7.1 s on average (Guo et al. 2022).
    motions = [motion["joints"] for motion in make_motions(num, SKELETON.name, seed, fps=42.0)]
    on, off = (MotionPatchProcessor(canonicalize=switch, max_frames=NUM_FRAMES) for switch in (True, False))
    for processor in (on, off):
        processor.fit(motions[:100], SKELETON.name, 20.0)
    some = motions[:50]
    statistics = off.statistics[SKELETON.name]
    mean, std = np.array(statistics["mean"]), np.array(statistics["std"])
    for joints in some[:5]:
        np.testing.assert_allclose(
            off(joints, SKELETON.name, 20.0)["motion_values"][0], by_resizing(joints, mean, std), atol=1e-4
        )

    values = off(motions, SKELETON.name, 20.0)["motion_values"]

    def one_by_one(processor: MotionPatchProcessor) -> None:
        for joints in some:
            processor(joints, SKELETON.name, 20.0)

    jobs: dict[str, tuple[Callable[[], Any], int]] = {
        "cv2.resize of each part of each frame": (lambda: [by_resizing(joints, mean, std) for joints in some], len(some)),
        "one motion at a time, canonical frame": (lambda: one_by_one(on), len(some)),
        "one motion at a time, no canonical frame": (lambda: one_by_one(off), len(some)),
        "batch, canonical frame": (lambda: on(motions, SKELETON.name, 20.0), num),
        "batch, no canonical frame": (lambda: off(motions, SKELETON.name, 20.0), num),
        "plain copy of the batch": (lambda: values.copy(), num),
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # procedural motions of more than 224 frames are cut, and the warning says so
        for _ in range(repeats):  # in turn, so that a busy machine is busy for all
            for name, (job, count) in jobs.items():
                seconds[name].append(timed(job) / count)
    best = {name: min(times) for name, times in seconds.items()}
    baseline, copy = best["cv2.resize of each part of each frame"], best["plain copy of the batch"]
    content = {
        "task": "speed",
        "command": f"python benchmarks/speed.py --num {num} --repeats {repeats} --seed {seed}",
        "data": f"{num} procedural motions on {SKELETON.name}, {np.mean([len(m) for m in motions]):.0f} frames on average",
        "seed": seed,
        "microseconds per motion, best of repeats": {name: 1e6 * value for name, value in best.items()},
        "times faster than cv2.resize": {name: baseline / best[name] for name in jobs if name.startswith(("one", "batch"))},
        "times the plain copy": {name: best[name] / copy for name in jobs if name.startswith("batch")},
        **environment(),
    }
    write_json(output, content)
    for key in ("times faster than cv2.resize", "times the plain copy"):
        print(key, {name: round(value, 1) for name, value in content[key].items()})


def timed(job: Callable[[], Any]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    result = job()
    elapsed = time.perf_counter() - started
    del result
    return elapsed


def by_resizing(joints: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The baseline: `(T, J, 3)` → `(3, 224, 80)`, a loop over frames and parts, as it is commonly written."""
    normalized = (joints - mean) / std
    points = np.zeros((NUM_FRAMES, len(PARTS) * PATCH_SIZE, 3), dtype=np.float32)
    for frame in range(min(len(joints), NUM_FRAMES)):
        for column, part in enumerate(PARTS):
            chain = normalized[frame, list(SKELETON.chains[part])].reshape(1, -1, 3)
            resized = cv2.resize(chain, (PATCH_SIZE, 1), interpolation=cv2.INTER_LINEAR)
            points[frame, PATCH_SIZE * column : PATCH_SIZE * (column + 1)] = resized[0]
    return np.moveaxis(points, -1, 0)


if __name__ == "__main__":
    typer.run(main)
