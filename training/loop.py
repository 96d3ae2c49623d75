"""The training loop."""

import importlib.util
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset, DatasetDict
from torch.optim import AdamW
from tqdm import tqdm
from transformers import AutoModel, AutoProcessor, get_scheduler

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .augmentation import Augmentation
from .builder import build_model, build_processor, check_fields, fit_processor
from .data import count_long_captions, make_loader
from .evaluation import evaluate, mean_recall
from .export import replace_folder, save_checkpoint
from .recipe import Recipe, RunArguments
from .results import environment, shorten_path, write_json


def train(
    recipe: Recipe, data: DatasetDict, output: Path, init_from: str | None = None, resume: bool = False
) -> dict[str, Any]:
    """Train a model and keep its last and its best state.

    `output` then holds `last/` and `best/` (each loads with `AutoModel` and `AutoProcessor`), `state/` (optimizer and random
    states, for `resume`), `recipe.yaml`, `history.jsonl` and `results.json`.

    Args:
        recipe: What to do.
        data: Splits `train` and, for the selection of the best epoch, `validation`. The test split is never looked at.
        output: Folder of the run.
        init_from: Start from this checkpoint's weights and processor; skeletons that it does not know get statistics.
        resume: Go on where the run in `output` stopped.

    Returns:
        The content of `results.json`.

    Raises:
        FileExistsError: If `output` holds a run and `resume` is off.
        FileNotFoundError: If `resume` is on and there is none.
        ValueError: If the data has no train split, or the recipe differs from that of the run to resume.
        FloatingPointError: If the loss is no longer finite.
    """
    if "train" not in data:
        raise ValueError(f"the data has no 'train' split; it has {sorted(data)}")
    run = recipe.run
    validation = data.get("validation")
    if validation is not None:
        check_fields(validation, run.select_on)
    _prepare_output(recipe, output, resume)
    accelerator = _make_accelerator(run, output)
    set_seed(run.seed)
    model, processor = _build(recipe, data["train"], output / "last" if resume else init_from, fit=not resume)
    _report(accelerator, data, processor)

    augmentation = Augmentation(run.augment_heading, run.augment_tempo, run.augment_offset, run.augment_jitter)
    loader = make_loader(
        data["train"],
        processor,
        run.batch_size,
        run.seed,
        run.unique_captions,
        run.num_workers,
        augmentation,
        run.augment_mirror,
    )
    optimizer = AdamW(parameter_groups(model, run), weight_decay=run.weight_decay)
    sampler: Any = loader.batch_sampler
    steps_per_epoch = len(sampler)
    total_steps = run.epochs * steps_per_epoch
    scheduler = get_scheduler(
        run.schedule,
        optimizer,
        num_warmup_steps=int(run.warmup_ratio * total_steps),
        num_training_steps=math.ceil(run.schedule_stretch * total_steps),
    )
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    start = None if init_from is None else shorten_path(init_from)
    history: list[dict[str, Any]] = []
    if resume:
        history, start = _load_state(accelerator, output)

    for epoch in range(len(history), run.epochs):
        started = time.perf_counter()
        sampler.set_epoch(epoch)
        loss = _train_epoch(accelerator, model, loader, optimizer, scheduler, run, epoch)
        record: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, "seconds": time.perf_counter() - started}
        plain = accelerator.unwrap_model(model)
        if validation is not None:
            judged = evaluate(plain, processor, validation)
            record["validation"] = judged
            record["mean_recall"] = mean_recall(judged, run.select_on)
        history.append(record)
        _keep(accelerator, plain, processor, recipe, data, output, history, start)
        _log(accelerator, record)
    accelerator.end_training()
    return _finish(recipe, data, output, history, start)


def parameter_groups(model: MotionPatchesModel, run: RunArguments) -> list[dict[str, Any]]:
    """Three groups with rates of their own: motion tower, text tower, and the heads with the temperature (paper section 4.3)."""
    towers = {
        "motion": [*model.motion_model.parameters(), *model.motion_norm.parameters()],
        "text": [*model.text_model.parameters()],
    }
    in_towers = {id(parameter) for group in towers.values() for parameter in group}
    head = [parameter for parameter in model.parameters() if id(parameter) not in in_towers]
    return [
        {"params": towers["motion"], "lr": run.lr_motion},
        {"params": towers["text"], "lr": run.lr_text},
        {"params": head, "lr": run.lr_head},
    ]


def _prepare_output(recipe: Recipe, output: Path, resume: bool) -> None:
    saved = output / "recipe.yaml"
    if not resume:
        if (output / "state").exists():  # an epoch counts as finished when its state is there
            raise FileExistsError(f"{output} already holds a run; go on with it by --resume, or choose another --output")
        output.mkdir(parents=True, exist_ok=True)
        saved.write_text(f"# {recipe.name}\n" + yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
        return
    if not saved.exists() or not (output / "state").exists():
        raise FileNotFoundError(f"{output} holds no run with a finished epoch to resume; leave --resume out to start one")
    before = yaml.safe_load(saved.read_text(encoding="utf-8"))
    changed = sorted(key for key, value in recipe.to_dict().items() if before.get(key) != value)
    if changed:
        raise ValueError(
            f"the run in {output} was started with other values of {', '.join(changed)}; resume it with its own recipe "
            f"(--recipe {saved}), or start a new run with --init-from {output / 'last'}"
        )


def _make_accelerator(run: RunArguments, output: Path) -> Accelerator:
    precision = run.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    has_tensorboard = importlib.util.find_spec("tensorboard") is not None
    if run.tracker == "tensorboard" and not has_tensorboard:
        raise ImportError(
            "tracker=tensorboard needs TensorBoard: pip install 'motionpatches[tensorboard]', or set tracker=none"
        )
    use_tensorboard = has_tensorboard and run.tracker in ("auto", "tensorboard")
    accelerator = Accelerator(
        mixed_precision=precision, log_with="tensorboard" if use_tensorboard else None, project_dir=str(output)
    )
    if accelerator.num_processes > 1:
        raise ValueError(
            f"started with {accelerator.num_processes} processes, but the contrastive loss does not reach across processes yet; "
            "start one process"
        )
    if use_tensorboard:
        accelerator.init_trackers("tensorboard")
    return accelerator


def _build(recipe: Recipe, rows: Dataset, checkpoint: Any, fit: bool) -> tuple[MotionPatchesModel, MotionTextProcessor]:
    if checkpoint is None:
        processor = build_processor(recipe, rows)
        return build_model(recipe, processor), processor
    processor = AutoProcessor.from_pretrained(checkpoint)
    if fit:
        fit_processor(processor.feature_extractor, rows, recipe.processor.per_skeleton, only_new=True)
    return AutoModel.from_pretrained(checkpoint, dtype=torch.float32), processor


def _report(accelerator: Accelerator, data: DatasetDict, processor: MotionTextProcessor) -> None:
    """Say what the limits of the model will cut."""
    rows, patches = data["train"], processor.feature_extractor
    seconds = [frames / fps for frames, fps in zip(rows["num_frames"], rows["fps"], strict=True)]
    long_motions = sum(length > patches.max_frames / patches.fps for length in seconds)
    long_captions = count_long_captions(processor, [text for texts in rows["captions"] for text in texts])
    accelerator.print(
        f"{len(rows)} training motions on {', '.join(sorted(set(rows['skeleton'])))}; {long_motions} are longer than "
        f"{patches.max_frames / patches.fps:g} s and are cropped at random; {long_captions} captions are longer than "
        f"{processor.tokenizer.model_max_length} tokens and are cut"
    )


def _train_epoch(
    accelerator: Accelerator, model: Any, loader: Any, optimizer: Any, scheduler: Any, run: RunArguments, epoch: int
) -> float:
    """One pass over the pairs; returns the mean loss of a batch."""
    model.train()
    total = 0.0
    bar = tqdm(loader, desc=f"epoch {epoch + 1}/{run.epochs}", unit="batch", disable=None, leave=False)
    for step, batch in enumerate(bar):
        loss = model(**batch.to(accelerator.device), return_loss=True).loss
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} in epoch {epoch + 1}, step {step + 1}; the checkpoints of the epoch before are whole. "
                "Lower the learning rates or max_grad_norm, or look for broken motions in the data"
            )
        accelerator.backward(loss)
        if run.max_grad_norm is not None:
            accelerator.clip_grad_norm_(model.parameters(), run.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        total += value
        bar.set_postfix(loss=f"{value:.3f}")
    return total / len(loader)


def _keep(
    accelerator: Accelerator,
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    recipe: Recipe,
    data: DatasetDict,
    output: Path,
    history: list[dict[str, Any]],
    start: str | None,
) -> None:
    """Save the last state, the best one if this epoch is it, and what is needed to resume."""
    facts = {
        "recipe_name": recipe.name,
        "seed": recipe.run.seed,
        "epochs": len(history),
        "start": start,
        "training_data": describe_data(data["train"]),
    }
    if _best_epoch(history) == len(history):
        save_checkpoint(model, processor, output / "best", facts)
    save_checkpoint(model, processor, output / "last", facts)

    def write(target: Path) -> None:
        accelerator.save_state(str(target))
        write_json(target / "history.json", {"epochs": history, "start": start})

    replace_folder(output / "state", write)
    (output / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")


def _load_state(accelerator: Accelerator, output: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The epochs so far, and the checkpoint that the run started from."""
    accelerator.load_state(str(output / "state"))
    kept = json.loads((output / "state" / "history.json").read_text(encoding="utf-8"))
    return kept["epochs"], kept.get("start")  # runs of earlier versions did not note it


def _best_epoch(history: list[dict[str, Any]]) -> int:
    """Number of the epoch with the highest validation metric, the first of equals; the last epoch where none was validated."""
    if "mean_recall" not in history[-1]:
        return len(history)
    return max(history, key=lambda record: (record["mean_recall"], -record["epoch"]))["epoch"]


def describe_data(rows: Dataset) -> str:
    """Data sets and their numbers of motions, as text."""
    counts: dict[str, int] = {}
    for name in rows["dataset"]:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name} ({count} motions)" for name, count in sorted(counts.items()))


def _log(accelerator: Accelerator, record: dict[str, Any]) -> None:
    scalars = {key: record[key] for key in ("loss", "mean_recall", "seconds") if key in record}
    accelerator.log(scalars, step=record["epoch"])
    shown = f", validation mean recall {record['mean_recall']:.2f}" if "mean_recall" in record else ""
    accelerator.print(f"epoch {record['epoch']}: loss {record['loss']:.4f}{shown}, {record['seconds']:.0f} s")


def _finish(
    recipe: Recipe, data: DatasetDict, output: Path, history: list[dict[str, Any]], start: str | None
) -> dict[str, Any]:
    best = _best_epoch(history)
    results = {
        "task": "train",
        "recipe": {"name": recipe.name, **recipe.to_dict()},
        "start": start,
        "data": {split: describe_data(rows) for split, rows in data.items() if split != "test"},
        "seed": recipe.run.seed,
        "epochs": len(history),
        "best_epoch": best,
        "best": history[best - 1],
        **environment(),
    }
    write_json(output / "results.json", results)
    return results
