"""The folder of a run: what decides it, and the state that it goes on from, which is whole at any moment."""

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator
from safetensors import SafetensorError

from .data import BrokenSampleError
from .folders import filled_beside, finish_replacing, recover_folder, set_aside, start_replacing
from .recipe import BaseRecipe
from .results import write_json


_PROGRESS = "progress.json"
#: Fields that change nothing of the weights: a resumed run may have others.
_FREE = {"save_steps", "tracker", "num_workers"}


@dataclass
class Progress:
    """How far a run is.

    Args:
        step: Steps done.
        epoch: Epochs done.
        batch: Batches done of the epoch under way.
        total_loss: Sum of their losses.
        seconds: What they took.
        history: A record of each epoch done.
        start: The weights that the run started from, or `None`.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    total_loss: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    start: str | None = None


def prepare_folder(recipe: BaseRecipe, output: Path, resume: bool) -> None:
    """Write the recipe of a new run into its folder, or compare it with that of the run to go on with.

    Raises:
        FileExistsError: If the folder holds a run and `resume` is off.
        FileNotFoundError: If `resume` is on and there is no state to go on from.
        ValueError: If the recipe is another than that of the run, or an earlier version left it.
    """
    saved = output / "recipe.yaml"
    recover_folder(output / "state")
    has_state = (output / "state").exists()
    if not resume:
        if has_state:
            raise FileExistsError(f"{output} already holds a run; go on with it by --resume, or choose another --output")
        output.mkdir(parents=True, exist_ok=True)
        saved.write_text(f"# {recipe.name}\n" + yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
        return
    if not saved.exists() or not has_state:
        raise FileNotFoundError(f"{output} holds no run with a saved state to resume; leave --resume out to start one")
    before = yaml.safe_load(saved.read_text(encoding="utf-8"))
    values = {key: value for key, value in recipe.to_dict().items() if key not in _FREE}
    changed = sorted(key for key, value in values.items() if key not in before or before[key] != value)
    if changed:
        raise ValueError(
            f"the run in {output} was started with other values of {', '.join(changed)}; resume it with its own recipe "
            f"(--recipe {saved}), or start a new run with --init-from {output / 'last'}"
        )
    if not (output / "state" / _PROGRESS).exists():
        raise ValueError(
            f"the state of the run in {output} is that of an earlier version; start a new run with --init-from "
            f"{output / 'last'}"
        )


def can_resume(output: Path) -> bool:
    """Whether the folder holds a state to go on from; one that was set aside while it was replaced is put back by
    `prepare_folder`. Nothing is changed."""
    return (output / "state").exists() or set_aside(output / "state").exists()


def save_state(accelerator: Accelerator, output: Path, progress: Progress) -> None:
    """Put the state of all that was prepared, of the random generators and of the run in the place of the one before, which stays
    whole until then. All processes call this."""
    folder = output / "state"
    if accelerator.is_main_process:
        start_replacing(folder)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(filled_beside(folder)))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_json(filled_beside(folder) / _PROGRESS, asdict(progress))
        finish_replacing(folder)
    accelerator.wait_for_everyone()


def load_state(accelerator: Accelerator, output: Path) -> Progress:
    """The state that `save_state` put there; all that is prepared is as it was. All processes call this."""
    accelerator.load_state(str(output / "state"))
    return Progress(**json.loads((output / "state" / _PROGRESS).read_text(encoding="utf-8")))


@contextmanager
def explained(output: Path, progress: Progress) -> Iterator[None]:
    """Say of an error while a run goes on what of it is whole."""
    try:
        yield
    except (FloatingPointError, BrokenSampleError) as error:
        raise type(error)(f"{error}. {_describe_state(output, progress)}") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if not _is_failed_write(error):
            raise
        free = shutil.disk_usage(output).free / 2**20
        raise OSError(
            f"could not write into {output} ({free:.0f} MiB free): {error}. {_describe_state(output, progress)}, when there is "
            "room"
        ) from error


def _is_failed_write(error: BaseException) -> bool:
    """Whether a file could not be written: safetensors and torch.save have errors of their own for that."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    text = str(error).lower()
    return any(
        sign in text for sign in ("i/o error", "file write failed", "unexpected pos", "no space left", "file too large")
    )


def _describe_state(output: Path, progress: Progress) -> str:
    recover_folder(output / "state")
    file = output / "state" / _PROGRESS
    if not file.exists():
        return f"Nothing was saved yet: the run was in step {progress.step + 1} of its first epoch; start it again"
    step = json.loads(file.read_text(encoding="utf-8"))["step"]
    return f"The state after step {step} is whole, and so is the checkpoint in {output / 'last'}; go on with --resume"
