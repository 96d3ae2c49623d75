"""A training run: its loop, its saving and its reports, whatever is trained."""

import json
import math
import signal
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from datasets import Dataset, DatasetDict
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, get_scheduler

from .export import save_checkpoint
from .optimisation import compile_towers, make_average, make_optimizer
from .recipe import BaseRecipe, LoopArguments
from .results import environment, shorten_path, write_json
from .run_folder import Progress, explained, load_state, prepare_folder, save_state
from .sampling import SeededBatchSampler
from .tracking import MetricsLog, ProgressBar, resolve_tracker, start_tracker
from .uploads import BackgroundPush


_LOG_EVERY = 10  # steps
_UPLOAD_PATIENCE = 600.0  # seconds


class TrainingRun(ABC):
    """A run under way: what is trained, and how far it is.

    A run may be killed at any moment: `state/` of its folder is whole, and on one process a resumed run ends with the weights,
    bit for bit, of one that was never interrupted. Subclasses say what the model is, what a batch, and what its loss.

    Args:
        recipe: What to do.
        data: Splits `train` and, for the selection of the best epoch, `validation`.
        output: Folder of the run.
        init_from: Weights to start from.
        resume: Go on where the run in `output` stopped.
        push_to: Push the last checkpoint of each epoch, and in the end the best one, to this Hub repository, in the background.
        private: Of a new repository; default as the account says.
    """

    #: What the results file calls it.
    task: ClassVar[str]
    #: Of an epoch's record, what decides which epoch is the best, the higher the better; and how it is called.
    metric: ClassVar[tuple[str, str]]
    #: What a batch holds.
    unit: ClassVar[str]

    def __init__(
        self,
        recipe: BaseRecipe,
        data: DatasetDict,
        output: Path,
        init_from: str | None = None,
        resume: bool = False,
        push_to: str | None = None,
        private: bool | None = None,
    ) -> None:
        self.recipe, self.data, self.output = recipe, data, output
        run = self.run_arguments
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
        model, self.processor = self.build(str(output / "last") if resume else init_from, fit=not resume)
        if self.accelerator.distributed_type == DistributedType.FSDP:
            self.check_fsdp(model)
        self.average = None
        if run.ema_decay is not None:
            self.average = make_average(model, run.ema_decay).to(self.accelerator.device)
            self.accelerator.register_for_checkpointing(self.average)
        if run.gradient_checkpointing:
            model.activation_checkpointing_enable()
        compile_towers(self.towers(model), run.compile)
        self.loader = self.make_loader()
        sampler: Any = self.loader.batch_sampler
        self.sampler: SeededBatchSampler = sampler
        self.total_steps = sum(len(self.sampler.make_batches(epoch)) for epoch in range(run.epochs))
        optimizer = make_optimizer(self.parameter_groups(model), run)
        scheduler = get_scheduler(
            run.schedule,
            optimizer,
            num_warmup_steps=int(run.warmup_ratio * self.total_steps),
            num_training_steps=math.ceil(run.schedule_stretch * self.total_steps),
        )
        self.trained, self.optimizer, self.scheduler = self.accelerator.prepare(self.wrap(model), optimizer, scheduler)
        self.progress = Progress(start=None if init_from is None else shorten_path(init_from))
        if resume:
            self.progress = load_state(self.accelerator, output)
        elif self.accelerator.num_processes > 1:
            set_seed(run.seed, device_specific=True)  # dropout of each process is its own
        main = self.accelerator.is_main_process
        self.log = MetricsLog(output / "metrics.jsonl", self.progress.step if resume else None) if main else None
        self.bar = ProgressBar(self.total_steps, self.progress.step, self.unit, disable=not main)
        for line in self.describe():
            self.say(line)
        if self.accelerator.num_processes > 1:
            self.say(f"{self.accelerator.num_processes} processes share each batch of {run.batch_size} {self.unit}")
        start_tracker(self.accelerator, recipe, output, tracker, self.progress.step if resume else None)

    @property
    @abstractmethod
    def run_arguments(self) -> LoopArguments:
        """The part of the recipe about data and optimisation."""

    @abstractmethod
    def build(self, checkpoint: str | None, fit: bool) -> tuple[PreTrainedModel, Any]:
        """Model and processor, new ones or those of a checkpoint; with `fit`, what the data decides is made of it."""

    @abstractmethod
    def make_loader(self) -> DataLoader:
        """Gives the batches of this process, each of which has `to(device)`; its batch sampler is a `SeededBatchSampler`."""

    @abstractmethod
    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        """What learns, with a name and a rate for each group."""

    @abstractmethod
    def towers(self, model: Any) -> list[nn.Module]:
        """What `compile` compiles."""

    @abstractmethod
    def backward(self, batch: Any) -> torch.Tensor:
        """Add the gradients of a batch's loss, which is returned, a scalar without gradient, of all processes."""

    @abstractmethod
    def batch_length(self, batch: Any) -> int:
        """How many units a batch of this process holds."""

    @abstractmethod
    def judge(self, model: Any, rows: Dataset) -> dict[str, Any]:
        """Entries of an epoch's record: `validation`, and the metric."""

    @abstractmethod
    def describe(self) -> list[str]:
        """Lines about the data, said at the start: above all what of it is cut or left out."""

    @abstractmethod
    def card_of_validation(self, record: dict[str, Any]) -> str:
        """Markdown for the card of what `judge` found."""

    @abstractmethod
    def scalars_of_validation(self, record: dict[str, Any]) -> dict[str, float]:
        """What `judge` found, as a number for each curve of a tracker."""

    def wrap(self, model: Any) -> nn.Module:
        """What is called in `backward`."""
        return model

    def unwrap(self, trained: Any) -> Any:
        """The model in what `wrap` returned."""
        return trained

    def to_keep(self, model: Any) -> PreTrainedModel:
        """The model as it is judged and kept."""
        return model

    def whole(self, weights: Mapping[str, torch.Tensor]) -> Any:
        """A model of the whole weights that FSDP divides among the processes."""
        raise NotImplementedError

    @abstractmethod
    def check_fsdp(self, model: Any) -> None:
        """Raise a `ValueError` if FSDP cannot train the model."""

    def run(self) -> dict[str, Any]:
        """Go on to the end.

        Returns:
            The content of `results.json`.
        """
        try:
            with explained(self.output, self.progress), _sigterm(self.accelerator):
                for epoch in range(self.progress.epoch, self.run_arguments.epochs):
                    self._train_epoch(epoch)
                    self._end_epoch()
            return self._finish()
        finally:
            self._close()

    @property
    def model(self) -> Any:
        """The model that is trained."""
        return self.unwrap(self.accelerator.unwrap_model(self.trained))

    def _train_epoch(self, epoch: int) -> None:
        run, progress = self.run_arguments, self.progress
        self.sampler.set_epoch(epoch, progress.batch)
        self.trained.train()
        started = before = time.perf_counter()
        earlier = progress.seconds
        for batch in self.loader:
            loss, grad_norm = self._step(batch, epoch)
            progress.step += 1
            progress.batch += 1
            progress.total_loss += loss
            progress.seconds = earlier + time.perf_counter() - started
            number = self.batch_length(batch) * self.accelerator.num_processes
            now = time.perf_counter()
            self._log_step(epoch, loss, grad_norm, number / (now - before))
            before = now
            is_stopped = self.accelerator.check_trigger()
            if is_stopped or (run.save_steps and progress.batch % run.save_steps == 0):
                self._check_weights()
                self._save(self._judged_model())
            if is_stopped:
                self.say(f"stopped in epoch {epoch + 1}, after step {progress.step}; go on with --resume")
                raise SystemExit(128 + signal.SIGTERM)

    def _step(self, batch: Any, epoch: int) -> tuple[float, float | None]:
        """Change the weights by one batch; returns its loss, and the norm of the gradients where they are clipped."""
        run, accelerator = self.run_arguments, self.accelerator
        loss = self.backward(batch.to(accelerator.device)).item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch + 1}, step {self.progress.batch + 1}. Lower the learning rates or "
                "max_grad_norm, or look for broken motions in the data"
            )
        grad_norm = None
        if run.max_grad_norm is not None:
            grad_norm = float(accelerator.clip_grad_norm_(self.trained.parameters(), run.max_grad_norm))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss, grad_norm

    def _end_epoch(self) -> None:
        """Judge an epoch, note it and save it."""
        progress = self.progress
        self._check_weights()
        epoch_loss = progress.total_loss / progress.batch
        record: dict[str, Any] = {"epoch": progress.epoch + 1, "step": progress.step}
        record |= {"loss": epoch_loss, "seconds": progress.seconds}
        judged = self._judged_model()
        if "validation" in self.data and self.accelerator.is_main_process:
            record |= self.judge(judged, self.data["validation"])
        self.accelerator.wait_for_everyone()
        progress.history.append(record)
        progress.epoch += 1
        progress.batch, progress.total_loss, progress.seconds = 0, 0.0, 0.0
        if self.accelerator.is_main_process and self._best_epoch() == progress.epoch:
            self._keep(judged, "best")
        self._save(judged)
        self._log_epoch(record)
        if self.push is not None:
            self.push.push(self.output / "last", progress.step, progress.epoch)

    def _judged_model(self) -> Any:
        """The model that is judged and kept: the average where there is one, and whole on the main process."""
        if self.average is not None:
            return self.to_keep(self.average.module)
        if self.accelerator.distributed_type != DistributedType.FSDP:
            return self.to_keep(self.model)
        return self.whole(self.accelerator.get_state_dict(self.trained))

    def _check_weights(self) -> None:
        """Raise a `FloatingPointError` if weights are broken: they must not replace whole ones."""
        broken = [name for name, tensor in self.model.named_parameters() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise FloatingPointError(
                f"{len(broken)} weights are no longer finite after step {self.progress.step}, the first is {broken[0]}. Lower "
                "the learning rates or max_grad_norm"
            )

    def _save(self, model: Any) -> None:
        """Save the model as `last/`, and the state; `_check_weights` comes first."""
        if self.accelerator.is_main_process:
            self._keep(model, "last")
            lines = (json.dumps(record) + "\n" for record in self.progress.history)
            (self.output / "history.jsonl").write_text("".join(lines), encoding="utf-8")
        save_state(self.accelerator, self.output, self.progress)

    def _keep(self, model: Any, name: str) -> None:
        history = self.progress.history
        facts = {
            "recipe_name": self.recipe.name,
            "seed": self.run_arguments.seed,
            "epochs": len(history),
            "start": self.progress.start,
            "training_data": describe_data(self.data["train"]),
        }
        if history and "validation" in history[-1]:
            facts["validation"] = self.card_of_validation(history[-1])
        save_checkpoint(model, self.processor, self.output / name, facts)

    def _log_step(self, epoch: int, loss: float, grad_norm: float | None, rate: float) -> None:
        step = self.progress.step
        self.bar.update(epoch + 1, self.run_arguments.epochs, loss, rate, self.optimizer.param_groups[0]["lr"])
        if step % _LOG_EVERY and step != 1:
            return
        groups = [group for group in self.optimizer.param_groups if "below" not in group["name"]]
        rates = {f"lr_{group['name']}": group["lr"] for group in groups}
        scalars: dict[str, Any] = {"loss": loss, **rates, "grad_norm": grad_norm, f"{self.unit}_per_second": rate}
        scalars["seconds"] = self.progress.seconds
        if self.log is not None:
            self.log.write("train", step, epoch + 1, scalars)
        self.accelerator.log({f"train/{key}": value for key, value in scalars.items() if value is not None}, step=step)

    def _log_epoch(self, record: dict[str, Any]) -> None:
        key, name = self.metric
        scalars: dict[str, Any] = {key: record[key] for key in ("loss", key, "seconds") if key in record}
        if "validation" in record:
            scalars |= self.scalars_of_validation(record)
        if self.log is not None:
            self.log.write("validation" if "validation" in record else "epoch", self.progress.step, record["epoch"], scalars)
        self.accelerator.log(scalars, step=self.progress.step)
        shown = f", validation {name} {record[key]:.2f}" if key in record else ""
        self.say(f"epoch {record['epoch']}: loss {record['loss']:.4f}{shown}, {record['seconds']:.0f} s")

    def _best_epoch(self) -> int:
        """Number of the epoch with the highest metric, the first of equals; the last epoch where none was validated."""
        history, key = self.progress.history, self.metric[0]
        if key not in history[-1]:
            return len(history)
        return max(history, key=lambda record: (record[key], -record["epoch"]))["epoch"]

    def say(self, text: str) -> None:
        """Print a line above the bar, once of all processes."""
        if self.accelerator.is_main_process:
            self.bar.write(text)

    def _close(self) -> None:
        """Let go of bar, files and trackers, however the run ended."""
        self.bar.close()
        self.accelerator.end_training()
        AcceleratorState._reset_state()  # else the next run of this process could have no other precision

    def _finish(self) -> dict[str, Any]:
        """Write `results.json`, and wait for the last push."""
        history = self.progress.history
        best = self._best_epoch()
        results = {
            "task": self.task,
            "recipe": {"name": self.recipe.name, **self.recipe.to_dict()},
            "start": self.progress.start,
            "data": {split: describe_data(rows) for split, rows in self.data.items() if split != "test"},
            "seed": self.run_arguments.seed,
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


def _precision(run: LoopArguments) -> str:
    has_gpu = torch.cuda.is_available()
    if run.precision == "auto":
        return "bf16" if has_gpu and torch.cuda.is_bf16_supported() else "no"
    if run.precision == "bf16" and not has_gpu and not torch.cpu._is_avx512_bf16_supported():
        warnings.warn("precision=bf16 on a CPU without bf16 instructions is several times slower than float32", stacklevel=4)
    return run.precision


def describe_data(rows: Dataset) -> str:
    """Data sets and their numbers of motions, as text."""
    counts: dict[str, int] = {}
    for name in rows["dataset"]:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name} ({count} motions)" for name, count in sorted(counts.items()))
