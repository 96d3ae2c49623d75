"""How fast the package trains, as a ratio to the straightforward loop in the same run. (`training_recall.py` compares recall.)

    python benchmarks/training_speed.py --output docs/results/training_speed.json

It trains ViT-B/16 and DistilBERT-base, from random weights and at full size, on made pairs as long as those of HumanML3D:
20 frames per second, at most 200 frames, 142 on average. Batches are prepared before the clock starts, for all loops. The
straightforward one pads every motion to 224 frames, without a mask, and encodes the batch in one pass; those of the package
encode it in groups of like length, or draw batches of like length. All take the same pairs, a step each in turn. Utilisation is
the operations of the model at real lengths, without padding, over the seconds and over the matrix rate: the operations per second
of a product of large square matrices of the same precision, measured in the same run.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
import typer
from accelerate import Accelerator
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from scipy.stats import norm
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import DistilBertConfig, get_scheduler

from motionpatches import (
    MotionPatchesConfig,
    MotionPatchesModel,
    MotionPatchProcessor,
    MotionTextProcessor,
    get_skeleton,
    list_actions,
    make_motions,
    motion_vit_config,
)
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.patches import num_windows
from motionpatches.training.builder import train_tokenizer
from motionpatches.training.contrastive import PairEncoder, backward
from motionpatches.training.data import PairBatch, group_by_length, make_loader
from motionpatches.training.optimisation import compile_towers, make_optimizer, parameter_groups
from motionpatches.training.recipe import RunArguments
from motionpatches.training.results import command_line, environment, write_json


# Quantiles of a normal distribution cut at both ends, in frames. HumanML3D has a mean of 142 (location 144.2 after the cut) and
# at most 200; the standard deviation is ours to choose. In words: 12 on average (Guo et al. 2022), the rest is ours too.
FRAMES = {"location": 144.2, "deviation": 45.0, "least": 40, "most": 200}
WORDS = {"location": 12.0, "deviation": 5.0, "least": 4, "most": 30}
RECIPE_MOTIONS, RECIPE_EPOCHS = 23_384, 50  # HumanML3D's train split and the recipe's epochs
BUCKETS = 20
BASELINE, GROUPS, BUCKETED = "padded", "length groups", "length buckets"
# What a recipe says for each way to train.
WAYS: dict[str, dict[str, Any]] = {
    BASELINE: {"padding": "max_length", "window_mask": False, "length_groups": 1, "length_buckets": 1},
    GROUPS: {"padding": "longest", "window_mask": True, "length_groups": 4, "length_buckets": 1},
    BUCKETED: {"padding": "longest", "window_mask": True, "length_groups": 1, "length_buckets": BUCKETS},
}


class Size(StrEnum):
    """ViT-B/16 and DistilBERT-base, or a model to try the script with."""

    base = "base"
    tiny = "tiny"


class Precision(StrEnum):
    """`no`: float32; `bf16`: autocast."""

    no = "no"
    bf16 = "bf16"


def speed(
    output: Annotated[Path, typer.Option(help="Results file.")],
    model: Annotated[Size, typer.Option(help="tiny: to try the script, not to measure.")] = Size.base,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto: cuda if there is one.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="no: float32; bf16: autocast, of both sides.")] = Precision.no,
    batch_size: Annotated[int | None, typer.Option(help="Pairs in a batch; default 16 on a CPU, 256 on a GPU.")] = None,
    batches: Annotated[int | None, typer.Option(help="Different batches; default 8 on a CPU, 20 on a GPU.")] = None,
    micro_batch_size: Annotated[int | None, typer.Option(help="Most pairs in memory, of the package's loops.")] = None,
    length_groups: Annotated[int, typer.Option(help="Groups of like length in a batch.")] = 4,
    repetitions: Annotated[int, typer.Option(help="How often all batches are trained on.")] = 3,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Also measure the package's loops with torch.compile.")
    ] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as many as there are cores.")] = 0,
    seed: int = 0,
) -> None:
    """Measure and write seconds for each pair, their ratios, and how much of the device's matrix rate is used."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    where = find_device(device)
    is_gpu = where.type == "cuda"
    left_out = {} if is_gpu else {"accelerator": "unmeasured: this run is on a CPU"}
    run = RunArguments(
        batch_size=batch_size or (256 if is_gpu else 16),
        length_groups=length_groups,
        micro_batch_size=micro_batch_size,
        precision=precision.value,
        unique_captions=False,  # which would leave pairs to later batches
        seed=seed,
    )
    num_batches = batches or (BUCKETS if is_gpu else 8)
    rows = make_pairs(num_batches * run.batch_size, seed)
    torch.manual_seed(seed)
    start = MotionPatchesModel(make_config(model))
    sides = make_sides(start, rows, run, where, compiled, left_out)
    before = matrix_rate(where, precision)
    for side in sides:
        side.warm_up()
    for _ in range(repetitions):  # a step of each in turn, so that a busy machine is busy for all
        for side in sides:
            side.seconds.append(np.zeros(2))
        for number in range(num_batches):
            for side in sides:
                side.step(number)
    rate = max(before, matrix_rate(where, precision))
    work = count_work(start.config, sides)
    content = {
        "task": "training_speed",
        "command": f"python benchmarks/{command_line()}",
        "data": describe_pairs(rows, sides[0]),
        "model": {"size": model.value, "parameters": sum(parameter.numel() for parameter in start.parameters())},
        "seed": seed,
        "threads": torch.get_num_threads(),
        "measured on": where.type,
        "precision": "bfloat16 autocast" if precision is Precision.bf16 else "float32",
        "batch_size": run.batch_size,
        "batches": num_batches,
        "repetitions": repetitions,
        "length_groups": length_groups,
        "length_buckets": min(BUCKETS, num_batches),
        "micro_batch_size": micro_batch_size,
        "matrix_rate": {"size": matrix_size(where), "operations_per_second": rate},
        "seconds to divide a batch into groups": time_grouping(rows, run),
        "sides": {side.name: describe_side(side, sides[0], work, rate) for side in sides},
        "left out": left_out,
        **environment(),
    }
    write_json(output, content)
    report_speed(content)


def find_device(name: str) -> torch.device:
    """The device that is asked for.

    Raises:
        typer.BadParameter: If there is none such here.
    """
    has_gpu = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not has_gpu):
        raise typer.BadParameter(f"--device {name}: expected auto, cpu{' or cuda' if has_gpu else '; there is no GPU here'}")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def make_config(size: Size) -> MotionPatchesConfig:
    """The towers of the paper at full size, or tiny ones."""
    if size is Size.base:
        return MotionPatchesConfig(
            motion_config=motion_vit_config("base"), text_config=DistilBertConfig(), projection_dim=256
        )
    return MotionPatchesConfig(
        motion_config=motion_vit_config("tiny", hidden_size=32, num_attention_heads=2, num_hidden_layers=1),
        text_config=DistilBertConfig(dim=32, hidden_dim=64, n_layers=1, n_heads=2),
        projection_dim=16,
    )


def spread(num: int, location: float, deviation: float, least: float, most: float) -> np.ndarray:
    """So many equally likely values of a normal distribution that is cut at both ends, rounded, in ascending order."""
    return np.clip(np.rint(norm.ppf((np.arange(num) + 0.5) / num, location, deviation)), least, most).astype(int)


def make_pairs(num: int, seed: int) -> Dataset:
    """Motions, a rest pose that trembles, and captions, words in random order, as long as those of HumanML3D."""
    rng = np.random.default_rng(seed)
    skeleton = get_skeleton("smpl22")
    vocabulary = sorted({word for made in make_motions(len(list_actions())) for word in made["captions"][0].split()})
    frames, words = rng.permutation(spread(num, **FRAMES)), rng.permutation(spread(num, **WORDS))
    motions = [
        {
            "id": str(index),
            "joints": skeleton.rest_pose + 0.01 * rng.normal(size=(length, skeleton.num_joints, 3)),
            "skeleton": skeleton.name,
            "fps": 20.0,
            "captions": [" ".join(rng.choice(vocabulary, count))],
        }
        for index, (length, count) in enumerate(zip(frames, words, strict=True))
    ]
    return to_dataset(motions, "made")


def prepare_batches(rows: Dataset, run: RunArguments, way: dict[str, Any]) -> list[PairBatch]:
    """An epoch as the package's loader gives it, in memory."""
    tokenizer = train_tokenizer((texts[0] for texts in rows["captions"]), vocab_size=2000)
    patches = MotionPatchProcessor(
        normalization=None, padding=way["padding"], return_attention_mask=way["window_mask"], fps=20.0
    )
    groups = run.length_groups if way["length_groups"] > 1 else 1
    run = replace(run, length_groups=groups, length_buckets=way["length_buckets"])
    return list(make_loader(rows, MotionTextProcessor(patches, tokenizer), run))


class Loop(Protocol):
    """What a step consists of."""

    def learn(self, batch: PairBatch) -> float:
        """Forward and backward pass; returns the loss."""

    def update(self) -> None:
        """Clip the gradients and change the weights."""


class StraightforwardLoop:
    """The whole batch in one pass, in plain PyTorch; the optimizer is the package's, so that ratios are of lengths alone."""

    def __init__(self, model: MotionPatchesModel, run: RunArguments, device: torch.device) -> None:
        self.model = model.to(device).train()
        self.optimizer = make_optimizer(parameter_groups(model, run), run)
        self.max_norm = run.max_grad_norm or math.inf
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16")
        self.device = device

    def learn(self, batch: PairBatch) -> float:
        (inputs,) = batch.groups
        inputs = inputs.to(self.device)
        with self.autocast:
            loss = self.model(**inputs, return_loss=True).loss
        loss.backward()
        return loss.item()

    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()


class PackageLoop:
    """A step of `training.loop`."""

    def __init__(self, model: MotionPatchesModel, run: RunArguments, device: torch.device) -> None:
        self.run = run
        self.accelerator = Accelerator(mixed_precision=run.precision, cpu=device.type == "cpu")
        optimizer = make_optimizer(parameter_groups(model, run), run)
        scheduler = get_scheduler(run.schedule, optimizer, num_warmup_steps=0, num_training_steps=10_000)
        self.encoder, self.optimizer, self.scheduler = self.accelerator.prepare(PairEncoder(model), optimizer, scheduler)
        self.encoder.train()

    def learn(self, batch: PairBatch) -> float:
        is_cached = self.run.micro_batch_size is not None
        return backward(self.accelerator, self.encoder, batch.to(self.accelerator.device), is_cached).item()

    def update(self) -> None:
        float(self.accelerator.clip_grad_norm_(self.encoder.parameters(), self.run.max_grad_norm))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()


@dataclass
class Side:
    """A loop and its batches.

    `seconds` has an entry for each repetition: forward and backward passes, and clipping and optimizer, of all batches.
    A compiler, and a GPU, must have seen all batches before the clock starts.
    """

    name: str
    loop: Loop
    batches: list[PairBatch]
    device: torch.device
    is_compiled: bool = False
    seconds: list[np.ndarray] = field(default_factory=list)
    peak_memory: int = 0

    def warm_up(self) -> None:
        """Steps that are not timed."""
        for batch in self.batches if self.is_compiled or self.device.type == "cuda" else self.batches[:1]:
            self.loop.learn(batch)
            self.loop.update()

    def step(self, number: int) -> None:
        """A timed step.

        Raises:
            FloatingPointError: If its loss is not finite.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        started = self._clock()
        loss = self.loop.learn(self.batches[number])
        learned = self._clock()
        self.loop.update()
        self.seconds[-1] += np.array([learned - started, self._clock() - learned])
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"{self.name}: the loss of batch {number} is {loss}; what follows would not be training"
            )
        if self.device.type == "cuda":
            self.peak_memory = max(self.peak_memory, torch.cuda.max_memory_allocated())

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @property
    def num_pairs(self) -> int:
        """In all batches."""
        return sum(len(batch.order) for batch in self.batches)


def make_sides(
    start: MotionPatchesModel,
    rows: Dataset,
    run: RunArguments,
    device: torch.device,
    compiled: bool,
    left_out: dict[str, str],
) -> list[Side]:
    """The loops, each with a copy of the model, the straightforward one first."""

    def copy() -> MotionPatchesModel:
        model = MotionPatchesModel(start.config)
        model.load_state_dict(start.state_dict())
        return model

    whole = replace(run, micro_batch_size=None)
    sides = [Side(BASELINE, StraightforwardLoop(copy(), run, device), prepare_batches(rows, whole, WAYS[BASELINE]), device)]
    for name in (GROUPS, BUCKETED):
        sides.append(Side(name, PackageLoop(copy(), run, device), prepare_batches(rows, run, WAYS[name]), device))
    if compiled and device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        left_out["compiled"] = "there is no C++ compiler (g++), which inductor needs on a CPU"
    elif compiled:
        for side in sides[1:]:
            model = copy()
            compile_towers([model.motion_model, model.text_model], "inductor")
            name = f"{side.name}, compiled"
            sides = [*sides, Side(name, PackageLoop(model, run, device), side.batches, device, is_compiled=True)]
    return sides


# ---- what there is to compute -------------------------------------------------------------------------------------------


@dataclass
class Work:
    """Operations of forward and backward pass, and tokens; `real` without padding."""

    operations: int = 0
    motion_tokens: int = 0
    text_tokens: int = 0

    def add(self, num: int, windows: int, tokens: int, per_motion: dict[int, int], per_text: dict[int, int]) -> None:
        """So many pairs, of windows and of text tokens."""
        self.operations += num * (per_motion[windows] + per_text[tokens])
        self.motion_tokens += num * (1 + 5 * windows)
        self.text_tokens += num * tokens


def count_work(config: MotionPatchesConfig, sides: list[Side]) -> dict[str, Work]:
    """What each side computes in all its batches, and under "real" what they would without padding, which is the same for all.

    Counted on a forward and a backward pass of the model for each length. Left out are the logits, which are few, and what is
    computed twice to save memory.
    """
    padded: dict[str, list[tuple[int, int, int]]] = {
        side.name: [
            (len(group["input_ids"]), group["motion_values"].shape[-2] // config.patch_size, group["input_ids"].shape[1])
            for batch in side.batches
            for group in batch.groups
        ]
        for side in sides
    }
    real = [
        (1, int(windows), int(tokens))
        for batch in sides[1].batches
        for group in batch.groups
        for windows, tokens in zip(group["motion_attention_mask"].sum(-1), group["attention_mask"].sum(-1), strict=True)
    ]
    sizes = {**padded, "real": real}
    per_motion, per_text = count_operations(
        config,
        {windows for parts in sizes.values() for _, windows, _ in parts},
        {tokens for parts in sizes.values() for _, _, tokens in parts},
    )
    work = {}
    for name, parts in sizes.items():
        work[name] = Work()
        for num, windows, tokens in parts:
            work[name].add(num, windows, tokens, per_motion, per_text)
    return work


def count_operations(
    config: MotionPatchesConfig, windows: Iterable[int], tokens: Iterable[int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Operations to train on one motion of so many windows, and on one text of so many tokens, for each number; an addition and
    a multiplication are two. On torch's meta device, which computes shapes alone."""
    with torch.device("meta"):
        model = MotionPatchesModel(config)
        grid = config.motion_grid
        motions = {
            number: count(model.get_motion_features, torch.empty(1, 3, number * grid.frames, grid.columns))
            for number in set(windows)
        }
        texts = {number: count(model.get_text_features, torch.ones(1, number, dtype=torch.long)) for number in set(tokens)}
    return motions, texts


def count(features: Callable[[torch.Tensor], Any], inputs: torch.Tensor) -> int:
    """Operations of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        features(inputs).pooler_output.sum().backward()
    return counter.get_total_flops()


def matrix_size(device: torch.device) -> int:
    """Rows and columns of the matrices that `matrix_rate` multiplies."""
    return 8192 if device.type == "cuda" else 2048


def matrix_rate(device: torch.device, precision: Precision, repeats: int = 10) -> float:
    """Operations per second of the product of two large square matrices, median."""
    size = matrix_size(device)
    dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / float(np.median(seconds))


def time_grouping(rows: Dataset, run: RunArguments) -> float:
    """What the package's loader does more than another, per batch; the clock does not see it."""
    lengths = num_windows(np.asarray(rows["num_frames"][: run.batch_size]), 16)
    started = time.perf_counter()
    for _ in range(10):
        group_by_length(lengths, run.length_groups)
    return (time.perf_counter() - started) / 10


# ---- results ------------------------------------------------------------------------------------------------------------


def describe_pairs(rows: Dataset, side: Side) -> dict[str, Any]:
    """How long the motions and captions are, and how they came about."""
    frames = np.asarray(rows["num_frames"][:])
    tokens = [int(number) for batch in side.batches for group in batch.groups for number in group["attention_mask"].sum(-1)]
    drawn = "quantiles of a normal distribution, cut and rounded, in random order"
    return {
        "motions": "a rest pose of smpl22 that trembles",
        "captions": "words in random order",
        "pairs": side.num_pairs,
        "frames": {"drawn": drawn, **FRAMES, "mean": float(frames.mean()), "std": float(frames.std())},
        "words": {"drawn": drawn, **WORDS},
        "tokens of a caption": {"mean": float(np.mean(tokens)), "most": max(tokens)},
    }


def describe_side(side: Side, baseline: Side, work: dict[str, Work], rate: float) -> dict[str, Any]:
    """What was measured of a side. Medians, smallest and largest are over repetitions."""
    per_pair = np.array([seconds.sum() for seconds in side.seconds]) / side.num_pairs
    faster = np.array([seconds.sum() for seconds in baseline.seconds]) / baseline.num_pairs / per_pair
    passes, update = np.median(side.seconds, axis=0) / len(side.batches)
    own, real = work[side.name], work["real"]
    pairs_per_second = 1 / float(np.median(per_pair))
    return {
        "pairs": side.num_pairs,
        "seconds_per_pair": describe_spread(per_pair),
        f"times_faster_than_{BASELINE}": describe_spread(faster),
        "pairs_per_second": pairs_per_second,
        "seconds_per_step": {"forward and backward": float(passes), "clipping and optimizer": float(update)},
        "operations_per_step": {
            "computed": own.operations / len(side.batches),
            "at real lengths": real.operations / len(side.batches),
        },
        "utilisation": real.operations / side.num_pairs * pairs_per_second / rate,
        "utilisation, padding counted as work": own.operations / side.num_pairs * pairs_per_second / rate,
        "tokens over real tokens": {
            "motion": own.motion_tokens / real.motion_tokens,
            "text": own.text_tokens / real.text_tokens,
        },
        "peak_memory_gib": side.peak_memory / 2**30 if side.peak_memory else None,
        "extrapolated, not measured": {
            "what": f"HumanML3D's {RECIPE_MOTIONS} motions, {RECIPE_EPOCHS} epochs, without evaluation and saving",
            "minutes": RECIPE_MOTIONS * RECIPE_EPOCHS / pairs_per_second / 60,
            "operations at real lengths": RECIPE_MOTIONS * RECIPE_EPOCHS * real.operations / side.num_pairs,
        },
    }


def describe_spread(values: np.ndarray) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": float(np.median(values)), "least": float(values.min()), "most": float(values.max())}


def report_speed(content: dict[str, Any]) -> None:
    """Print a row for each side."""
    of = (content["model"]["size"], content["measured on"], content["precision"], f"{content['batch_size']} pairs a batch")
    table = Table(title=", ".join(of))
    for name in ("", "ms a pair", "times faster", "from – to", "optimizer", "used", "motion", "text"):
        table.add_column(name, justify="right" if name else "left")
    for name, side in content["sides"].items():
        faster, steps = side[f"times_faster_than_{BASELINE}"], side["seconds_per_step"]
        tokens = side["tokens over real tokens"]
        table.add_row(
            name,
            f"{1000 * side['seconds_per_pair']['median']:.1f}",
            f"{faster['median']:.2f}",
            f"{faster['least']:.2f} – {faster['most']:.2f}",
            f"{100 * steps['clipping and optimizer'] / sum(steps.values()):.0f}%",
            f"{100 * side['utilisation']:.0f}%",
            f"{tokens['motion']:.2f}",
            f"{tokens['text']:.2f}",
        )
    console = Console()
    console.print(table)
    rate = content["matrix_rate"]["operations_per_second"]
    print(f"used: of the matrix rate, {rate / 1e12:.3g}e12 operations per second, by operations at real lengths")
    print("optimizer: its share of a step; motion, text: tokens that are computed over real ones")
    for name, side in content["sides"].items():
        guess = side["extrapolated, not measured"]
        print(f"{name}: {guess['minutes']:.1f} minutes, extrapolated and not measured, for {guess['what']}")
    for name, reason in content["left out"].items():
        print(f"left out: {name}: {reason}")


if __name__ == "__main__":
    typer.run(speed)
