"""A recipe: everything that decides a training run, as typed fields in one flat YAML file."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import HfArgumentParser

from ..processing.processing_motionpatches import ACROSS_SKELETONS


@dataclass
class ModelArguments:
    """The networks; see `MotionPatchesConfig`."""

    motion_name: str | None = field(
        default=None, metadata={"help": "timm name, folder or Hub id of a vision model; empty: a ViT from scratch"}
    )
    motion_size: str = field(default="base", metadata={"help": "size of a ViT from scratch: tiny, small, base or large"})
    num_persons: int = field(default=1, metadata={"help": "persons in one motion, who share the motion tower"})
    motion_depth: int | None = field(default=None, metadata={"help": "layers of a ViT from scratch, if not the size's own"})
    text_name: str | None = field(
        default="distilbert-base-uncased",
        metadata={
            "help": "folder or Hub id of the text model; empty: a small DistilBERT from scratch, its tokenizer trained too"
        },
    )
    text_width: int = field(default=128, metadata={"help": "width of a text model from scratch"})
    text_depth: int = field(default=2, metadata={"help": "layers of a text model from scratch"})
    vocab_size: int = field(default=2000, metadata={"help": "vocabulary of a tokenizer trained on the captions"})
    projection_dim: int = 256
    projection_dropout: float = 0.5
    motion_pooling: Literal["cls", "mean"] = "cls"
    text_pooling: Literal["cls", "mean", "eos"] = "cls"
    loss: Literal["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"] = "softmax_sum"
    temperature: float = 0.07
    learn_logit_scale: bool = False


@dataclass
class ProcessorArguments:
    """How joints become patches; see `MotionPatchProcessor`, of whose `across_skeletons` these are the defaults."""

    patch_size: int = 16
    max_frames: int = 224
    fps: float = 20.0
    representation: Literal["patches", "joints"] = field(
        default="patches", metadata={"help": "joints: raw joint sequences of one skeleton, with patch_size=1"}
    )
    interpolation: Literal["landmarks", "half_pixel", "align_corners", "arc_length"] = ACROSS_SKELETONS["interpolation"]
    normalization: Literal["joints", "points", "none"] = ACROSS_SKELETONS["normalization"]
    min_std: float = field(
        default=ACROSS_SKELETONS["min_std"], metadata={"help": "smallest standard deviation of the normalisation, in metres"}
    )
    per_skeleton: bool = field(
        default=ACROSS_SKELETONS["per_skeleton"], metadata={"help": "statistics for each skeleton; else shared ones only"}
    )
    canonicalize: bool = ACROSS_SKELETONS["canonicalize"]
    body_scale: float | None = field(
        default=ACROSS_SKELETONS["body_scale"], metadata={"help": "scale every body to this leg length in metres"}
    )
    resampling: Literal["antialias", "repeat"] = field(
        default="antialias", metadata={"help": "repeat: whole frames, as the published code does for KIT-ML"}
    )
    root: Literal["global", "relative"] = ACROSS_SKELETONS["root"]
    padding: Literal["max_length", "longest"] = "longest"
    window_mask: bool = field(default=True, metadata={"help": "mask windows of padding; the published code does not"})


@dataclass
class RunArguments:
    """Data, optimisation, selection and what is kept."""

    datasets: list[str] | None = field(default=None, metadata={"help": "which folders of the data to take; default all"})
    epochs: int = 50
    batch_size: int = 256
    unique_captions: bool = field(
        default=True, metadata={"help": "keep equal captions out of one batch: they are false negatives"}
    )
    augment_heading: float = field(default=0.0, metadata={"help": "turn training motions by up to this many degrees"})
    augment_tempo: float = field(default=0.0, metadata={"help": "play them faster or slower by up to this fraction"})
    augment_offset: float = field(default=0.0, metadata={"help": "displace each joint, standard deviation in metres"})
    augment_jitter: float = field(default=0.0, metadata={"help": "displace each joint of each frame, likewise"})
    augment_mirror: float = field(
        default=0.0, metadata={"help": "take the mirror image of a motion and its caption with this probability"}
    )
    lr_motion: float = 1e-4
    lr_text: float = 1e-5
    lr_head: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    schedule_stretch: float = field(default=1.0, metadata={"help": "length of the schedule over that of the run"})
    warmup_ratio: float = 0.0
    max_grad_norm: float | None = field(default=1.0, metadata={"help": "clip gradients at this norm; empty: do not"})
    precision: Literal["auto", "no", "bf16", "fp16"] = field(
        default="auto", metadata={"help": "auto: bf16 on GPUs that have it"}
    )
    seed: int = 0
    num_workers: int = 0
    select_on: list[str] | None = field(
        default=None,
        metadata={"help": "data sets whose validation splits are averaged for the best checkpoint; default all"},
    )
    tracker: Literal["auto", "none", "tensorboard"] = field(
        default="auto", metadata={"help": "auto: TensorBoard if installed"}
    )


@dataclass
class Recipe:
    """A named set of arguments."""

    name: str
    model: ModelArguments
    processor: ProcessorArguments
    run: RunArguments

    def to_dict(self) -> dict[str, Any]:
        """Flat, as in the YAML file."""
        return {k: v for part in (self.model, self.processor, self.run) for k, v in dataclasses.asdict(part).items()}


_PARTS = (ModelArguments, ProcessorArguments, RunArguments)


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("motionpatches.training") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A name of `list_recipes`, or the path of a YAML file of your own.
        overrides: `"field=value"` strings that replace single fields; an empty value means none.

    Raises:
        FileNotFoundError: If it is neither a name nor a file.
        ValueError: If the file is no flat mapping, a field is unknown, or a value has the wrong type.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.exists():
            raise FileNotFoundError(f"no recipe file {str(path)!r}")
        text, name = path.read_text(encoding="utf-8"), path.stem
    elif str(name_or_path) in list_recipes():
        name = str(name_or_path)
        text = (resources.files("motionpatches.training") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(
            f"no recipe {str(name_or_path)!r}; pass the path of a .yaml file or one of: {', '.join(list_recipes())}"
        )
    values = yaml.safe_load(text) or {}
    if not isinstance(values, dict):
        raise ValueError(f"recipe {name!r} must be a flat mapping of fields, got {type(values).__name__}")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise ValueError(f"override {override!r} must have the form field=value")
        values[key.strip()] = yaml.safe_load(value) if value.strip().startswith("[") else value.strip() or None
    return parse_recipe(name, values)


def parse_recipe(name: str, values: Mapping[str, Any]) -> Recipe:
    """Check and convert flat values, as read from YAML or the command line.

    Raises:
        ValueError: If a field is unknown or a value has the wrong type.
    """
    fields = {f.name: f for part in _PARTS for f in dataclasses.fields(part)}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(sorted(fields))}"
            raise ValueError(f"recipe {name!r} has an unknown field {key!r}; {hint}")
    parser = HfArgumentParser(_PARTS, allow_abbrev=False)
    parser.error = _raise  # argparse would end the process
    arguments: list[str] = []
    for key, value in values.items():
        if value is not None:
            listed = value if isinstance(value, list) else [value]
            arguments += [f"--{key}", *(str(item) for item in listed)]
    try:
        parts = parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    except ValueError as error:
        raise ValueError(f"recipe {name!r}: {error}") from error
    for part in parts:  # an explicit null replaces a default, which argparse cannot say
        for field_ in dataclasses.fields(part):
            if field_.name in values and values[field_.name] is None:
                setattr(part, field_.name, None)
    return Recipe(name, *parts)


def _raise(message: str) -> None:
    raise ValueError(message)
