"""What a run reports while it goes on: metrics as JSON lines, a tracker, a progress bar."""

import json
import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import is_tensorboard_available, is_wandb_available
from tqdm import tqdm

from .recipe import BaseRecipe
from .results import shorten_path, write_json


_PROJECT = "motionpatches"
_WANDB_FILE = "wandb.json"  # in the run folder: the id under which a resumed run goes on


class MetricsLog:
    """Metrics as JSON lines, each whole on the disk when `write` returns.

    A line is `{"kind", "step", "epoch", …}`. It is JSON by the letter: a value that is not finite is `null`.

    Args:
        path: The file, `metrics.jsonl` of a run folder. One process writes it.
        resume_at_step: Steps done by the run to go on with: lines of later steps, which come again, are dropped, and so are
            those that were half written when it was killed. `None`: a new run, and a new file.
    """

    def __init__(self, path: Path, resume_at_step: int | None = None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().splitlines(keepends=True) if resume_at_step is not None and path.exists() else []
        steps = [_step_of(line) for line in lines]
        kept = [line for line, step in zip(lines, steps, strict=True) if step is not None and step <= (resume_at_step or 0)]
        torn = steps.count(None)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(b"".join(kept))
        temporary.replace(path)
        if len(kept) < len(lines):
            tqdm.write(
                f"{path.name}: {len(lines) - len(kept) - torn} lines of steps after {resume_at_step}, which come again, and "
                f"{torn} half-written ones are dropped"
            )

    def write(self, kind: str, step: int, epoch: int, values: Mapping[str, Any]) -> None:
        """Append a line.

        Args:
            kind: `"train"` for a step, `"validation"` for an epoch that was judged, or another word.
            step: Steps done.
            epoch: The epoch, from 1.
            values: Numbers, texts, lists and mappings of them; also numpy's and torch's.

        Raises:
            ValueError: If a value is called `kind`, `step` or `epoch`.
            TypeError: If a value is of another type.
            OSError: If it cannot be written.
        """
        head = {"kind": kind, "step": step, "epoch": epoch}
        if taken := sorted(set(head) & set(values)):
            raise ValueError(f"metrics cannot be called {', '.join(taken)}: those are the line's own")
        line = json.dumps(_plain({**head, **values}), allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _step_of(line: bytes) -> int | None:
    """The step of a line; `None` if it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def _plain(value: Any) -> Any:
    """A value as what JSON has."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def validation_scalars(found: Mapping[str, Any]) -> dict[str, float]:
    """What `evaluate` returned, as a number for each curve: `all/t2m_R@1` …, strict, and `all/zero_shot_top1`, in percent."""
    scalars: dict[str, float] = {}
    for name, result in found.items():
        for way, recalls in result["retrieval"]["strict"].items():
            scalars |= {f"{name}/{way}_R@{k}": recalls[f"R@{k}"] for k in (1, 5, 10)}
        if "zero_shot" in result:
            scalars[f"{name}/zero_shot_top1"] = result["zero_shot"]["top1"]
    return scalars


def resolve_tracker(name: str) -> str | None:
    """The tracker of Accelerate that a recipe's `tracker` means: `"tensorboard"`, `"wandb"` or `None`.

    Raises:
        ImportError: If its package is not there.
        ValueError: If there is no such tracker.
    """
    installed = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}
    if name == "auto":
        return "tensorboard" if is_tensorboard_available() else None
    if name == "none":
        return None
    if name not in installed:
        raise ValueError(f"unknown tracker {name!r}; expected auto, none, {', '.join(installed)}")
    if not installed[name]():
        package = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases"}[name]
        raise ImportError(f"tracker={name} needs {package}: pip install 'motionpatches[{name}]', or set tracker=none")
    return name


def tracker_settings(recipe: BaseRecipe, output: Path, tracker: str, resume_at_step: int | None = None) -> dict[str, Any]:
    """The arguments of `Accelerator.init_trackers`; `start_tracker` passes them.

    TensorBoard's files come into `tensorboard/` of the run folder, those of W&B into `wandb/`. A resumed run goes on with its
    curves: TensorBoard hides what was logged beyond the step, W&B knows the run by the id in `wandb.json`.

    Args:
        recipe: What the run does; absolute paths in it are shortened.
        output: Folder of the run, after which W&B calls it.
        tracker: `"tensorboard"` or `"wandb"`.
        resume_at_step: Steps done by the run to go on with; `None`: a new run.
    """
    config = None if resume_at_step is not None else {key: _setting(value) for key, value in recipe.to_dict().items()}
    arguments: dict[str, Any]
    if tracker == "tensorboard":  # a project is a folder there
        arguments = {} if resume_at_step is None else {"purge_step": resume_at_step + 1}
        return {"project_name": tracker, "config": config, "init_kwargs": {tracker: arguments}}
    saved = output / _WANDB_FILE
    if resume_at_step is None or not saved.exists():
        write_json(saved, {"id": uuid.uuid4().hex[:8]})
    run_id = json.loads(saved.read_text(encoding="utf-8"))["id"]
    arguments = {"name": output.resolve().name, "id": run_id, "resume": "allow", "dir": str(output)}
    return {"project_name": _PROJECT, "config": config, "init_kwargs": {tracker: arguments}}


def _setting(value: Any) -> Any:
    """A recipe's value as what every tracker takes."""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return shorten_path(value) if isinstance(value, str) else value


def start_tracker(
    accelerator: Accelerator, recipe: BaseRecipe, output: Path, tracker: str | None, resume_at_step: int | None = None
) -> None:
    """Start the tracker that `resolve_tracker` found, on the main process; arguments as of `tracker_settings`.

    Raises:
        ConnectionError: If W&B cannot be reached, or does not know who logs.
    """
    if tracker is None or not accelerator.is_main_process:
        return
    try:
        accelerator.init_trackers(**tracker_settings(recipe, output, tracker, resume_at_step))
    except Exception as error:
        if not type(error).__module__.startswith("wandb."):
            raise
        raise ConnectionError(
            f"W&B did not start: {error}. Log in with `wandb login`; or set WANDB_MODE=offline, and send the run later with "
            "`wandb sync`; or set tracker=none"
        ) from error


class ProgressBar:
    """One bar over the whole run, with rate and remaining time; silent where stderr is no terminal.

    Args:
        total_steps: Steps of the run.
        step: Steps done before.
        unit: What a batch holds.
        disable: Show none.
    """

    def __init__(self, total_steps: int, step: int = 0, unit: str = "pairs", disable: bool = False) -> None:
        self._unit = unit
        self._bar: tqdm[Any] = tqdm(
            total=total_steps, initial=step, unit="step", disable=disable or None, dynamic_ncols=True, leave=False
        )

    def update(self, epoch: int, epochs: int, loss: float, rate: float, lr: float | None = None) -> None:
        """Show that a step is done.

        Args:
            epoch: The epoch under way, from 1.
            epochs: Epochs of the run.
            loss: Loss of the step.
            rate: Units a second.
            lr: Learning rate.
        """
        if self._bar.disable:
            return
        shown = {"loss": f"{loss:.3f}", f"{self._unit}/s": f"{rate:.0f}", **({} if lr is None else {"lr": f"{lr:.1e}"})}
        self._bar.set_description(f"epoch {epoch}/{epochs}", refresh=False)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def write(self, text: str) -> None:
        """Print a line above the bar; where there is none, just print it."""
        tqdm.write(text)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
