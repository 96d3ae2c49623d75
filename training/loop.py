"""The loop of contrastive training."""

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from datasets import Dataset, DatasetDict
from transformers import AutoModel, AutoProcessor, get_scheduler

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .builder import build_model, build_processor, check_fields, fit_processor
from .card_results import describe_validation
from .contrastive import PairEncoder, backward
from .data import add_label_captions, count_long_captions, make_loader
from .evaluation import evaluate, mean_recall
from .export import save_checkpoint
from .labels import count_cut
from .optimisation import compile_towers, make_average, make_optimizer, parameter_groups
from .recipe import Recipe, RunArguments
from .results import environment, shorten_path, write_json
from .run_folder import Progress, explained, load_state, prepare_folder, save_state
from .sampling import PairBatchSampler
from .tracking import MetricsLog, ProgressBar, resolve_tracker, start_tracker, validation_scalars
from .uploads import BackgroundPush


_LOG_EVERY = 10  # steps
_UPLOAD_PATIENCE = 600.0  # seconds


def train(
    recipe: Recipe,
    data: DatasetDict,
    output: Path,
    init_from: str | None = None,
    resume: bool = False,
    push_to: str | None = None,
    private: bool | None = None,
) -> dict[str, Any]:
    """Train a model and keep its last and its best state.

    `output` then holds `last/` and `best/` (each loads with `AutoModel` and `AutoProcessor`), `state/` (all that `resume` needs:
    weights, optimizer, schedule, random states, average, place in the data), `recipe.yaml`, `metrics.jsonl` (while it goes on),
    `history.jsonl` (a line an epoch) and `results.json`. A run may be killed at any moment: `state/` is whole, and on one
    process a resumed run ends with the weights, bit for bit, of one that was never interrupted.

    The loop runs on Accelerate: started by `torchrun` or `accelerate launch` it shares each batch among the processes.

    Args:
        recipe: What to do.
        data: Splits `train` and, for the selection of the best epoch, `validation`. The test split is never looked at.
        output: Folder of the run.
        init_from: Start from this checkpoint's weights and processor; skeletons that it does not know get statistics.
        resume: Go on where the run in `output` stopped.
        push_to: Push the last checkpoint of each epoch, and in the end the best one, to this Hub repository, in the background.
        private: Of a new repository; default as the account says.

    Returns:
        The content of `results.json`.

    Raises:
        FileExistsError: If `output` holds a run and `resume` is off.
        FileNotFoundError: If `resume` is on and there is none.
        ValueError: If the data has no train split, the recipe differs from that of the run to resume, or is impossible.
        BrokenSampleError: If a motion or caption cannot be used.
        FloatingPointError: If the loss or a weight is no longer finite.
        OSError: If the run cannot be saved. Of all these, what was saved before stays whole.
        SystemExit: After SIGTERM, with the state saved; its code is 143.
    """
    if "train" not in data:
        raise ValueError(f"the data has no 'train' split; it has {sorted(data)}")
    if "validation" in data:
        check_fields(data["validation"], recipe.run.select_on)
    if recipe.run.label_caption is not None:
        data = DatasetDict({**data, "train": add_label_captions(data["train"], recipe.run.label_caption)})
    training = _Training(recipe, data, output, init_from, resume, push_to, private)
    try:
        with explained(output, training.progress), _sigterm(training.accelerator):
            training.run()
        return training.finish()
    finally:
        training.close()


class _Training:
    """A run under way: what is trained, and how far it is."""

    def __init__(
        self,
        recipe: Recipe,
        data: DatasetDict,
        output: Path,
        init_from: str | None,
        resume: bool,
        push_to: str | None,
        private: bool | None,
    ) -> None:
        run = recipe.run
        self.recipe, self.data, self.output = recipe, data, output
        tracker = resolve_tracker(run.tracker)
        self.accelerator = Accelerator(
            mixed_precision=_precision(run),
            log_with=tracker,
            project_dir=str(output),
            step_scheduler_with_optimizer=False,  # steps are those of all processes together
        )
        if self.accelerator.is_main_process:
            prepare_folder(recipe, output, resume)
        self.accelerator.wait_for_everyone()
        self.push = None
        if push_to is not None and self.accelerator.is_main_process:
            self.push = BackgroundPush(push_to, private=private)
        set_seed(run.seed)
        checkpoint = output / "last" if resume else init_from
        model, self.processor = _build(recipe, data["train"], checkpoint, fit=not resume)
        if self.accelerator.distributed_type == DistributedType.FSDP:
            _check_fsdp(run, model)
        self.average = None
        if run.ema_decay is not None:
            self.average = make_average(model, run.ema_decay).to(self.accelerator.device)
            self.accelerator.register_for_checkpointing(self.average)
        if run.gradient_checkpointing:
            model.activation_checkpointing_enable()
        compile_towers(model, run.compile)
        self.loader = make_loader(
            data["train"], self.processor, run, self.accelerator.num_processes, self.accelerator.process_index
        )
        sampler: Any = self.loader.batch_sampler
        self.sampler: PairBatchSampler = sampler
        self.total_steps = sum(len(self.sampler.make_batches(epoch)) for epoch in range(run.epochs))
        optimizer = make_optimizer(parameter_groups(model, run), run)
        scheduler = get_scheduler(
            run.schedule,
            optimizer,
            num_warmup_steps=int(run.warmup_ratio * self.total_steps),
            num_training_steps=math.ceil(run.schedule_stretch * self.total_steps),
        )
        self.encoder, self.optimizer, self.scheduler = self.accelerator.prepare(PairEncoder(model), optimizer, scheduler)
        self.progress = Progress(start=None if init_from is None else shorten_path(init_from))
        if resume:
            self.progress = load_state(self.accelerator, output)
        elif self.accelerator.num_processes > 1:
            set_seed(run.seed, device_specific=True)  # dropout of each process is its own
        main = self.accelerator.is_main_process
        self.log = MetricsLog(output / "metrics.jsonl", self.progress.step if resume else None) if main else None
        self.bar = ProgressBar(self.total_steps, self.progress.step, disable=not main)
        self._report()
        start_tracker(self.accelerator, recipe, output, tracker, self.progress.step if resume else None)

    @property
    def model(self) -> MotionPatchesModel:
        """The model that is trained."""
        return self.accelerator.unwrap_model(self.encoder).model

    def run(self) -> None:
        """Go on to the end."""
        for epoch in range(self.progress.epoch, self.recipe.run.epochs):
            self._train_epoch(epoch)
            self._judge()

    def _train_epoch(self, epoch: int) -> None:
        run, progress = self.recipe.run, self.progress
        self.sampler.set_epoch(epoch, progress.batch)
        self.encoder.train()
        started = before = time.perf_counter()
        earlier = progress.seconds
        for batch in self.loader:
            loss, grad_norm = self._step(batch, epoch)
            progress.step += 1
            progress.batch += 1
            progress.total_loss += loss
            progress.seconds = earlier + time.perf_counter() - started
            num_pairs = len(batch.order) * self.accelerator.num_processes
            now = time.perf_counter()
            self._log_step(epoch, loss, grad_norm, num_pairs / (now - before))
            before = now
            is_stopped = self.accelerator.check_trigger()
            if is_stopped or (run.save_steps and progress.batch % run.save_steps == 0):
                self._check_weights()
                self._save(self._whole_model())
            if is_stopped:
                self._say(f"stopped in epoch {epoch + 1}, after step {progress.step}; go on with --resume")
                raise SystemExit(128 + signal.SIGTERM)

    def _step(self, batch: Any, epoch: int) -> tuple[float, float | None]:
        """Change the weights by one batch; returns its loss, and the norm of the gradients where they are clipped."""
        run, accelerator = self.recipe.run, self.accelerator
        loss = backward(accelerator, self.encoder, batch.to(accelerator.device), run.micro_batch_size is not None).item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch + 1}, step {self.progress.batch + 1}. Lower the learning rates or "
                "max_grad_norm, or look for broken motions in the data"
            )
        grad_norm = None
        if run.max_grad_norm is not None:
            grad_norm = float(accelerator.clip_grad_norm_(self.encoder.parameters(), run.max_grad_norm))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss, grad_norm

    def _judge(self) -> None:
        """End an epoch: judge it, note it and save it."""
        progress = self.progress
        self._check_weights()
        epoch_loss = progress.total_loss / progress.batch
        record: dict[str, Any] = {"epoch": progress.epoch + 1, "step": progress.step}
        record |= {"loss": epoch_loss, "seconds": progress.seconds}
        judged = self._whole_model()
        if "validation" in self.data and self.accelerator.is_main_process:
            found = evaluate(judged, self.processor, self.data["validation"])
            record["validation"] = found
            record["mean_recall"] = mean_recall(found, self.recipe.run.select_on)
        self.accelerator.wait_for_everyone()
        progress.history.append(record)
        progress.epoch += 1
        progress.batch, progress.total_loss, progress.seconds = 0, 0.0, 0.0
        if self.accelerator.is_main_process and _best_epoch(progress.history) == progress.epoch:
            self._keep(judged, "best")
        self._save(judged)
        self._log_epoch(record)
        if self.push is not None:
            self.push.push(self.output / "last", progress.step, progress.epoch)

    def _whole_model(self) -> MotionPatchesModel:
        """The model that is judged and kept: the average where there is one, and whole on the main process."""
        if self.average is not None:
            averaged: Any = self.average.module
            return averaged
        if self.accelerator.distributed_type != DistributedType.FSDP:
            return self.model
        weights = self.accelerator.get_state_dict(self.encoder)
        whole = MotionPatchesModel(self.model.config)
        if self.accelerator.is_main_process:
            whole.load_state_dict({name.removeprefix("model."): tensor for name, tensor in weights.items()})
        return whole.to(self.accelerator.device)

    def _check_weights(self) -> None:
        """Raise a `FloatingPointError` if weights are broken: they must not replace whole ones."""
        broken = [name for name, tensor in self.model.named_parameters() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise FloatingPointError(
                f"{len(broken)} weights are no longer finite after step {self.progress.step}, the first is {broken[0]}. Lower "
                "the learning rates or max_grad_norm"
            )

    def _save(self, model: MotionPatchesModel) -> None:
        """Save the model as `last/`, and the state; `_check_weights` comes first."""
        if self.accelerator.is_main_process:
            self._keep(model, "last")
            lines = (json.dumps(record) + "\n" for record in self.progress.history)
            (self.output / "history.jsonl").write_text("".join(lines), encoding="utf-8")
        save_state(self.accelerator, self.output, self.progress)

    def _keep(self, model: MotionPatchesModel, name: str) -> None:
        history, run = self.progress.history, self.recipe.run
        facts = {
            "recipe_name": self.recipe.name,
            "seed": run.seed,
            "epochs": len(history),
            "start": self.progress.start,
            "training_data": describe_data(self.data["train"]),
        }
        if history and "validation" in history[-1]:
            facts["validation"] = describe_validation(history[-1], run.select_on)
        save_checkpoint(model, self.processor, self.output / name, facts)

    def _log_step(self, epoch: int, loss: float, grad_norm: float | None, rate: float) -> None:
        step = self.progress.step
        self.bar.update(epoch + 1, self.recipe.run.epochs, loss, rate, self.optimizer.param_groups[0]["lr"])
        if step % _LOG_EVERY and step != 1:
            return
        groups = [group for group in self.optimizer.param_groups if "below" not in group["name"]]
        rates = {f"lr_{group['name']}": group["lr"] for group in groups}
        scalars: dict[str, Any] = {"loss": loss, **rates, "grad_norm": grad_norm, "pairs_per_second": rate}
        scalars["seconds"] = self.progress.seconds
        if self.log is not None:
            self.log.write("train", step, epoch + 1, scalars)
        self.accelerator.log({f"train/{key}": value for key, value in scalars.items() if value is not None}, step=step)

    def _log_epoch(self, record: dict[str, Any]) -> None:
        scalars: dict[str, Any] = {key: record[key] for key in ("loss", "mean_recall", "seconds") if key in record}
        scalars |= validation_scalars(record.get("validation", {}))
        if self.log is not None:
            self.log.write("validation" if "validation" in record else "epoch", self.progress.step, record["epoch"], scalars)
        self.accelerator.log(scalars, step=self.progress.step)
        shown = f", validation mean recall {record['mean_recall']:.2f}" if "mean_recall" in record else ""
        self._say(f"epoch {record['epoch']}: loss {record['loss']:.4f}{shown}, {record['seconds']:.0f} s")

    def _report(self) -> None:
        """Say what the limits of the model will cut, and what does not fill a batch."""
        rows, patches = self.data["train"], self.processor.feature_extractor
        long_captions = count_long_captions(self.processor, [text for texts in rows["captions"] for text in texts])
        self._say(
            f"{len(rows)} training motions on {', '.join(sorted(set(rows['skeleton'])))}; {count_cut(rows, patches)} are "
            f"longer than {patches.max_frames / patches.fps:g} s and are cropped at random; {long_captions} captions are "
            f"longer than {self.processor.tokenizer.model_max_length} tokens and are cut"
        )
        left_over = self.sampler.count_left_over()
        if left_over:
            self._say(f"{left_over} of {len(rows)} pairs of the first epoch fill no batch and are left to later epochs")
        if self.accelerator.num_processes > 1:
            self._say(f"{self.accelerator.num_processes} processes share each batch of {self.recipe.run.batch_size} pairs")

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            self.bar.write(text)

    def close(self) -> None:
        """Let go of bar, files and trackers, however the run ended."""
        self.bar.close()
        self.accelerator.end_training()
        AcceleratorState._reset_state()  # else the next run of this process could have no other precision

    def finish(self) -> dict[str, Any]:
        """Write `results.json`, and wait for the last push."""
        history = self.progress.history
        best = _best_epoch(history)
        results = {
            "task": "train",
            "recipe": {"name": self.recipe.name, **self.recipe.to_dict()},
            "start": self.progress.start,
            "data": {split: describe_data(rows) for split, rows in self.data.items() if split != "test"},
            "seed": self.recipe.run.seed,
            "num_processes": self.accelerator.num_processes,
            "epochs": len(history),
            "best_epoch": best,
            "best": history[best - 1],
            **environment(),
        }
        if self.accelerator.is_main_process:
            write_json(self.output / "results.json", results)
        if self.push is not None:
            self.push.push(self.output / "best", history[best - 1]["step"], best)
            self.push.close(_UPLOAD_PATIENCE)
        return results


@contextmanager
def _sigterm(accelerator: Accelerator) -> Iterator[None]:
    """Let SIGTERM end the run after the step under way, with its state saved."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda *_: accelerator.set_trigger())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _precision(run: RunArguments) -> str:
    has_gpu = torch.cuda.is_available()
    if run.precision == "auto":
        return "bf16" if has_gpu and torch.cuda.is_bf16_supported() else "no"
    if run.precision == "bf16" and not has_gpu and not torch.cpu._is_avx512_bf16_supported():
        warnings.warn("precision=bf16 on a CPU without bf16 instructions is several times slower than float32", stacklevel=4)
    return run.precision


def _check_fsdp(run: RunArguments, model: MotionPatchesModel) -> None:
    """Raise a `ValueError` if a run needs whole weights, or has weights that are single numbers, which FSDP cannot divide."""
    if run.ema_decay is not None:
        raise ValueError("ema_decay needs whole weights, which FSDP divides among the processes; leave one of them out")
    scalars = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
    if scalars:
        raise ValueError(
            f"FSDP cannot divide weights that are single numbers, here {', '.join(scalars)}; set learn_logit_scale=false and a "
            "softmax loss, or train without FSDP"
        )


def _build(recipe: Recipe, rows: Dataset, checkpoint: Any, fit: bool) -> tuple[MotionPatchesModel, MotionTextProcessor]:
    if checkpoint is None:
        processor = build_processor(recipe, rows)
        return build_model(recipe, processor), processor
    processor = AutoProcessor.from_pretrained(checkpoint)
    if fit:
        fit_processor(processor.feature_extractor, rows, recipe.processor.per_skeleton, only_new=True)
    return AutoModel.from_pretrained(checkpoint, dtype=torch.float32), processor


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
