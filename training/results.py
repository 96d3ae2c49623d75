"""Results files: what was measured, with what, and by which versions."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


_PACKAGES = ("motionpatches", "torch", "transformers", "datasets", "accelerate", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """Versions, device and, in a git checkout, the commit."""
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {os.cpu_count()} cores",
        "commit": _commit(),
    }


def command_line() -> str:
    """The command as typed; of absolute paths only the last two parts, as a results file is no place for a machine's folders."""
    return " ".join([Path(sys.argv[0]).name, *(shorten_path(word) for word in sys.argv[1:])])


def shorten_path(word: str) -> str:
    """`/home/me/data` → `me/data`, `text_name=/a/b/c` → `text_name=b/c`; anything else as it is."""
    key, separator, value = word.rpartition("=")
    path = Path(value)
    return f"{key}{separator}{'/'.join(path.parts[1:][-2:])}" if path.is_absolute() else word


def _commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package, or no git
    return found.stdout.strip()


def card_digest(text: str) -> str:
    """SHA-256 of a card. Editors and git change line ends and the last one; that is no edit of the card."""
    return hashlib.sha256(text.replace("\r", "").strip().encode()).hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write atomically: the old file stays whole until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_training_facts(checkpoint: str | Path) -> dict[str, Any] | None:
    """Recipe, seed and epochs of the run that a checkpoint folder belongs to, or `None`."""
    file = Path(checkpoint).parent / "results.json"
    if not file.exists():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    if content.get("task") not in ("train", "finetune", "instruct"):
        return None
    recipe = {key: shorten_path(value) if isinstance(value, str) else value for key, value in content["recipe"].items()}
    facts = ("start", "seed", "epochs", "best_epoch", "data")
    return {"recipe": recipe, **{key: content[key] for key in facts if key in content}}
