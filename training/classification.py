"""Fine-tuning with labels, by the Trainer of transformers."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import DatasetDict
from transformers import (
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..modeling_motionpatches import MotionPatchesForMotionClassification
from ..processing.processing_motionpatches import MotionPatchProcessor
from .augmentation import Augmentation
from .classifier import build_classifier, class_names, evaluate_classifier, load_classifier
from .export import save_checkpoint
from .labels import LabelledMotions, LabelledRows, count_cut, select_labelled
from .metrics import classification_metrics
from .optimisation import make_optimizer, tower_groups
from .recipe import ClassificationRecipe, FineTuningArguments, decided_by_checkpoint
from .results import environment, shorten_path, write_json
from .run import describe_data
from .tracking import resolve_tracker


def finetune(
    recipe: ClassificationRecipe, data: DatasetDict, output: Path, checkpoint: str | None = None, resume: bool = False
) -> dict[str, Any]:
    """Train a classifier of motions and keep its best state.

    `output` then holds `best/` (loads with `AutoModelForMotionClassification` and `AutoFeatureExtractor`), `state/` (the last
    epoch, for `resume`), `recipe.yaml` and `results.json`. The best epoch is the first with the highest top-1 accuracy on the
    validation split, or the last one where there is none; the test split is never looked at.

    Args:
        recipe: What to do.
        data: Splits `train` and `validation` with a column `label`. Motions without a label are left out, and so are those for
            validation whose label no training motion has: both are counted in a warning and in the results.
        output: Folder of the run.
        checkpoint: Start from this one: of a contrastive model the tower is taken and the classifier is new; a classifier goes on
            with its own classes. `None`: the tower that the recipe names.
        resume: Go on where the run in `output` stopped.

    Returns:
        The content of `results.json`.

    Raises:
        FileExistsError: If `output` holds a run and `resume` is off.
        FileNotFoundError: If `resume` is on and there is none.
        ValueError: If there are no labels or one class only, a classifier to go on with lacks a class of the data, or the
            recipe, checkpoint or classes differ from those of the run to resume.
        FloatingPointError: If the loss is no longer finite.
    """
    if "train" not in data:
        raise ValueError(f"the data has no 'train' split; it has {sorted(data)}")
    run = recipe.run
    train = select_labelled(data["train"], "train")
    set_seed(run.seed)
    last = _prepare_output(recipe, output, checkpoint, resume)
    start = last if last is not None else checkpoint
    model, processor = build_classifier(recipe, train, start, only_new=checkpoint is not None, fit=last is None)
    classes = class_names(model)
    validation = select_labelled(data["validation"], "validation", classes) if "validation" in data else None
    print(
        f"{len(train.labels)} training motions of {len(set(train.labels))} classes; {count_cut(train.rows, processor)} are "
        f"longer than {processor.max_frames / processor.fps:g} s and are cropped at random"
    )
    motions = LabelledMotions(train, classes, processor, Augmentation.from_run(run), run.seed)
    facts = {
        "recipe_name": recipe.name,
        "seed": run.seed,
        "start": None if checkpoint is None else shorten_path(checkpoint),
        "training_data": describe_data(train.rows),
    }
    trainer = Trainer(
        model,
        _training_arguments(run, output / "state", has_validation=validation is not None),
        data_collator=motions.collate,
        train_dataset=motions,
        eval_dataset=None if validation is None else LabelledMotions(validation, classes, processor),
        processing_class=processor,
        compute_metrics=_accuracies,
        callbacks=[_Keeper(motions, processor, output / "best", facts)],
        optimizers=(make_optimizer(parameter_groups(model, run), run), None),
    )
    trainer.remove_callback(PrinterCallback)  # it prints dictionaries; the keeper prints a line an epoch
    # The loss is a mean over the batch: what other losses are told to divide by is not for the motion tower.
    trainer.model_accepts_loss_kwargs = False
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    parts = {"train": train} if validation is None else {"train": train, "validation": validation}
    return _finish(recipe, checkpoint, parts, output, _history(trainer.state.log_history))


def parameter_groups(model: MotionPatchesForMotionClassification, run: FineTuningArguments) -> list[dict[str, Any]]:
    """Groups with rates of their own: the motion tower with its norm, by its layers where `layer_decay` asks for it, and the
    classifier."""
    tower = {name: parameter for name, parameter in model.named_parameters() if not name.startswith("classifier.")}
    return [
        *tower_groups("motion", tower, run.lr_motion, run.layer_decay),
        {"name": "classifier", "params": list(model.classifier.parameters()), "lr": run.lr_classifier},
    ]


def _prepare_output(recipe: ClassificationRecipe, output: Path, checkpoint: str | None, resume: bool) -> Path | None:
    """Write what the run is decided by, or check it; returns the folder of the last epoch to go on from."""
    last, started = _last_epoch(output), output / "state" / "start.json"
    values = recipe.to_dict()
    if not resume:
        if last is not None:
            raise FileExistsError(f"{output} already holds a run; go on with it by --resume, or choose another --output")
        write_json(started, {"checkpoint": checkpoint, "recipe": values})
        text = f"# {recipe.name}\n" + yaml.safe_dump(values, sort_keys=False)
        (output / "recipe.yaml").write_text(text, encoding="utf-8")
        return None
    if last is None:
        raise FileNotFoundError(f"{output} holds no run with a finished epoch to resume; leave --resume out to start one")
    before = json.loads(started.read_text(encoding="utf-8"))
    changed = sorted(key for key, value in values.items() if before["recipe"].get(key) != value)
    changed += ["the checkpoint it starts from"] if before["checkpoint"] != checkpoint else []
    if changed:
        raise ValueError(
            f"the run in {output} was started with other values of {', '.join(changed)}; resume it with its own recipe "
            f"(--recipe {output / 'recipe.yaml'}), or start a new run from {output / 'best'}"
        )
    return last


def _last_epoch(output: Path) -> Path | None:
    """The newest whole checkpoint of the Trainer, which writes its state last."""
    whole = [file.parent for file in (output / "state").glob(f"{PREFIX_CHECKPOINT_DIR}-*/trainer_state.json")]
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _training_arguments(run: FineTuningArguments, folder: Path, has_validation: bool) -> TrainingArguments:
    precision, has_gpu = run.precision, torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if has_gpu and torch.cuda.is_bf16_supported() else "no"
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=run.epochs,
        per_device_train_batch_size=run.batch_size,
        per_device_eval_batch_size=run.batch_size,
        lr_scheduler_type=run.schedule,
        warmup_steps=run.warmup_ratio,
        max_grad_norm=0.0 if run.max_grad_norm is None else run.max_grad_norm,
        seed=run.seed,
        data_seed=run.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=precision == "bf16" and not has_gpu,
        dataloader_num_workers=run.num_workers,
        dataloader_pin_memory=has_gpu,
        eval_strategy="epoch" if has_validation else "no",
        save_strategy="epoch",
        save_total_limit=2,  # of 1, the Trainer in the end deletes the last epoch and keeps the best
        metric_for_best_model="top1" if has_validation else None,
        greater_is_better=True if has_validation else None,
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        remove_unused_columns=False,  # the items are ours
        report_to=resolve_tracker(run.tracker) or "none",
        gradient_checkpointing=run.gradient_checkpointing,
        torch_compile=run.compile != "no",
        torch_compile_backend=None if run.compile == "no" else run.compile,
        disable_tqdm=not sys.stderr.isatty(),
    )


def _accuracies(prediction: EvalPrediction) -> dict[str, float]:
    scored = classification_metrics(prediction.predictions, prediction.label_ids)
    return {key: scored[key] for key in ("top1", "top5", "macro_top1")}


class _Keeper(TrainerCallback):
    """Tells the data the epoch, stops at a loss that is not finite, and saves the best model before the Trainer saves its state:
    an epoch whose state is there is one whose model was judged and kept.
    """

    def __init__(
        self, motions: LabelledMotions, processor: MotionPatchProcessor, folder: Path, facts: dict[str, Any]
    ) -> None:
        self.motions = motions
        self.processor = processor
        self.folder = folder
        self.facts = facts

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.motions.epoch = round(state.epoch or 0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any) -> None:
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"the loss is {logs['loss']} in epoch {round(state.epoch)}; what was kept of the epoch before is whole. Lower "
                "the learning rates or max_grad_norm, or look for broken motions in the data"
            )
        if args.eval_strategy == "no":
            self._save(state, model)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, model: Any = None, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            print(
                f"epoch {round(state.epoch)}: validation top-1 {metrics['eval_top1']:.1f}, loss {metrics['eval_loss']:.4f}"
            )
        # The Trainer notes the best value after this.
        if state.best_metric is None or metrics["eval_top1"] > state.best_metric:
            self._save(state, model)

    def _save(self, state: Any, model: Any) -> None:
        if state.is_world_process_zero:
            save_checkpoint(model, self.processor, self.folder, {**self.facts, "epochs": round(state.epoch)})


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the Trainer logged, a record an epoch."""
    records: dict[int, dict[str, Any]] = {}
    names = {"loss": "loss", "eval_loss": "validation_loss", "eval_top1": "top1", "eval_top5": "top5"}
    names |= {"eval_macro_top1": "macro_top1"}
    for entry in log:
        found = {names[key]: value for key, value in entry.items() if key in names}
        if found:
            epoch = round(entry["epoch"])
            records.setdefault(epoch, {"epoch": epoch}).update(found)
    return [records[epoch] for epoch in sorted(records)]


def _best_epoch(history: list[dict[str, Any]]) -> int:
    """Number of the epoch with the highest validation accuracy, the first of equals; the last where none was validated."""
    if "top1" not in history[-1]:
        return len(history)
    return max(history, key=lambda record: (record["top1"], -record["epoch"]))["epoch"]


def _finish(
    recipe: ClassificationRecipe,
    checkpoint: str | None,
    parts: dict[str, LabelledRows],
    output: Path,
    history: list[dict[str, Any]],
) -> dict[str, Any]:
    best_model, processor = load_classifier(output / "best")
    best = _best_epoch(history)
    unused = set() if checkpoint is None else decided_by_checkpoint()
    results: dict[str, Any] = {
        "task": "finetune",
        "recipe": {"name": recipe.name, **{k: v for k, v in recipe.to_dict().items() if k not in unused}},
        "start": None if checkpoint is None else shorten_path(checkpoint),
        "data": {split: describe_data(part.rows) for split, part in parts.items()},
        "left_out": {split: part.left_out() for split, part in parts.items()},
        "classes": class_names(best_model),
        "seed": recipe.run.seed,
        "epochs": len(history),
        "best_epoch": best,
        "best": history[best - 1],
        "history": history,
        **environment(),
    }
    if "validation" in parts:
        results["validation"] = evaluate_classifier(best_model, processor, parts["validation"].rows, "validation")
    write_json(output / "results.json", results)
    return results
