"""A recipe: everything that decides a training run, as typed fields in one flat YAML file."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from transformers import HfArgumentParser

from ..processing.processing_motionpatches import ACROSS_SKELETONS


@dataclass
class TowerArguments:
    """The motion tower; see `MotionPatchesConfig`."""

    motion_name: str | None = field(
        default=None, metadata={"help": "timm name, folder or Hub id of a vision model; empty: a ViT from scratch"}
    )
    motion_size: str = field(default="base", metadata={"help": "size of a ViT from scratch: tiny, small, base or large"})
    num_persons: int = field(default=1, metadata={"help": "persons in one motion, who share the motion tower"})
    motion_depth: int | None = field(default=None, metadata={"help": "layers of a ViT from scratch, if not the size's own"})
    motion_pooling: Literal["cls", "mean"] = "cls"


@dataclass
class ModelArguments(TowerArguments):
    """The networks of contrastive training; see `MotionPatchesConfig`."""

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
    text_pooling: Literal["cls", "mean", "eos"] = "cls"
    loss: Literal["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"] = "softmax_sum"
    temperature: float = 0.07
    learn_logit_scale: bool = False


@dataclass
class ClassifierArguments(TowerArguments):
    """The network of classification; the tower's fields are for one that starts from no checkpoint of ours."""

    classifier_dropout: float = field(default=0.0, metadata={"help": "dropout before the classifier"})


@dataclass
class LlamoArguments(TowerArguments):
    """The networks of MotionLlamo, see `MotionLlamoConfig`; the tower's fields are for one that starts from no checkpoint."""

    language_name: str | None = field(
        default="HuggingFaceTB/SmolLM2-135M-Instruct",
        metadata={
            "help": "folder or Hub id of a causal language model; empty: a small Llama from scratch, its tokenizer too"
        },
    )
    language_width: int = field(default=192, metadata={"help": "width of a language model from scratch"})
    language_depth: int = field(default=4, metadata={"help": "layers of a language model from scratch"})
    language_heads: int = field(default=4, metadata={"help": "attention heads of a language model from scratch"})
    vocab_size: int = field(default=2000, metadata={"help": "vocabulary of a tokenizer trained on the conversations"})
    max_tokens: int = field(default=1024, metadata={"help": "longest conversation of a language model from scratch"})
    fusion: Literal["projector", "cross_talker"] = "projector"
    selection_unit: Literal["patch", "window", "frame"] = "window"
    num_selected: int = 16
    num_segments: int = 8
    num_enhancer_layers: int = 1
    num_talker_layers: int = 1
    num_talker_heads: int = 4
    talker_dropout: float = 0.0
    video_frames: int = field(default=0, metadata={"help": "frames sampled of a video; 0: no video tower"})
    video_name: str | None = field(
        default=None, metadata={"help": "folder or Hub id of a vision model; empty: a small ViT of CLIP from scratch"}
    )
    video_image_size: int = field(default=64, metadata={"help": "pixels of a frame's side, of a vision model from scratch"})
    lora_rank: int = field(default=0, metadata={"help": "train the language model by LoRA of this rank; 0: as a whole"})
    lora_alpha: int = 32
    lora_dropout: float = 0.05


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
class OptimisationArguments:
    """Data and optimisation of any training."""

    datasets: list[str] | None = field(default=None, metadata={"help": "which folders of the data to take; default all"})
    epochs: int = 50
    batch_size: int = 256
    augment_heading: float = field(default=0.0, metadata={"help": "turn training motions by up to this many degrees"})
    augment_tempo: float = field(default=0.0, metadata={"help": "play them faster or slower by up to this fraction"})
    augment_offset: float = field(default=0.0, metadata={"help": "displace each joint, standard deviation in metres"})
    augment_jitter: float = field(default=0.0, metadata={"help": "displace each joint of each frame, likewise"})
    augment_scale: float = field(default=0.0, metadata={"help": "make bodies taller or smaller by up to this fraction"})
    augment_crop: float = field(default=0.0, metadata={"help": "cut up to this fraction of the frames off their two ends"})
    lr_motion: float = field(default=1e-4, metadata={"help": "0 freezes the tower"})
    layer_decay: float = field(
        default=1.0, metadata={"help": "each layer of a tower learns at this fraction of the rate of the layer above it"}
    )
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_ratio: float = 0.0
    max_grad_norm: float | None = field(default=1.0, metadata={"help": "clip gradients at this norm; empty: do not"})
    precision: Literal["auto", "no", "bf16", "fp16"] = field(
        default="auto", metadata={"help": "auto: bf16 on GPUs that have it"}
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "keep no activations of the layers but make them again: less memory, a third slower"},
    )
    compile: Literal["no", "inductor", "aot_eager"] = field(
        default="no", metadata={"help": "backend of torch.compile; inductor is the fast one and needs a C++ compiler"}
    )
    seed: int = 0
    num_workers: int = 0
    tracker: Literal["auto", "none", "tensorboard", "wandb"] = field(
        default="auto", metadata={"help": "auto: TensorBoard if installed"}
    )


@dataclass
class LoopArguments(OptimisationArguments):
    """Data, optimisation and what is kept, of the package's own loop."""

    ema_decay: float | None = field(
        default=None, metadata={"help": "judge and keep an exponential moving average of the weights with this decay"}
    )
    save_steps: int = field(
        default=200, metadata={"help": "save the state each so many steps of an epoch; 0: after it alone"}
    )
    schedule_stretch: float = field(default=1.0, metadata={"help": "length of the schedule over that of the run"})


@dataclass
class RunArguments(LoopArguments):
    """Data, optimisation, selection and what is kept, of contrastive training."""

    unique_captions: bool = field(
        default=True, metadata={"help": "keep equal captions out of one batch: they are false negatives"}
    )
    unique_labels: bool = field(
        default=False,
        metadata={
            "help": "keep motions of one label (and style) out of one batch: their captions say the same in other words"
        },
    )
    augment_mirror: float = field(
        default=0.0, metadata={"help": "take the mirror image of a motion and its caption with this probability"}
    )
    augment_part_mix: float = field(
        default=0.0,
        metadata={"help": "take body parts of a motion from another of its batch, whose caption then fits too, this often"},
    )
    caption_choice: Literal["random", "first"] = field(
        default="random", metadata={"help": "which caption of a motion an epoch takes"}
    )
    label_caption: str | None = field(
        default=None,
        metadata={"help": "a motion's label in this template, such as 'A person {}.', is one more of its captions"},
    )
    batch_by: str | None = field(
        default=None,
        metadata={"help": "three quarters of a batch share the value of this column, such as dataset; empty: any"},
    )
    balance: float = field(
        default=0.0,
        metadata={
            "help": "0: an epoch takes each motion once; up to 1: it takes more of small data sets and less of large ones"
        },
    )
    length_groups: int = field(
        default=4, metadata={"help": "encode a batch in up to so many groups of like length: the same loss, less padding"}
    )
    length_buckets: int = field(
        default=1,
        metadata={"help": "sort so many batches by length, so that a batch holds motions of like length; 1: do not"},
    )
    micro_batch_size: int | None = field(
        default=None,
        metadata={"help": "pairs in memory at a time; loss and gradients stay those of the whole batch (GradCache)"},
    )
    lr_text: float = field(default=1e-5, metadata={"help": "0 freezes the tower"})
    lr_head: float = 1e-3
    select_on: list[str] | None = field(
        default=None,
        metadata={"help": "data sets whose validation splits are averaged for the best checkpoint; default all"},
    )


@dataclass
class InstructionArguments(LoopArguments):
    """Data and optimisation of instruction tuning."""

    task: Literal["instruction"] = "instruction"
    batch_size: int = 32
    categories: list[str] | None = field(
        default=None, metadata={"help": "kinds of questions that are made of the motions; default all that they give"}
    )
    num_questions: int = field(default=2000, metadata={"help": "training questions of each category at most"})
    num_validation_questions: int = field(default=100, metadata={"help": "validation questions of each category at most"})
    most_turns: int = field(
        default=1, metadata={"help": "put up to so many training questions about one motion into one conversation"}
    )
    most_clips: int = field(default=3, metadata={"help": "most motions one after the other, of questions about order"})
    augment_mirror: float = field(
        default=0.0, metadata={"help": "take the mirror image of motion, question and answer with this probability"}
    )
    length_buckets: int = field(
        default=10, metadata={"help": "sort so many batches by length, so that a batch needs little padding; 1: do not"}
    )
    micro_batch_size: int | None = field(
        default=None, metadata={"help": "conversations in memory at a time; the loss stays that of the whole batch"}
    )
    lr_fusion: float = field(default=1e-3, metadata={"help": "rate of what fuses motion and language"})
    lr_language: float = field(default=2e-4, metadata={"help": "0 freezes the language model"})
    lr_video: float = field(default=0.0, metadata={"help": "0 freezes the video tower"})


@dataclass
class FineTuningArguments(OptimisationArguments):
    """Data and optimisation of classification."""

    task: Literal["classification"] = "classification"
    batch_size: int = 32
    lr_classifier: float = field(default=1e-3, metadata={"help": "rate of the classifier; lr_motion=0 trains it alone"})


@dataclass
class BaseRecipe:
    """A named set of arguments."""

    name: str
    model: TowerArguments
    processor: ProcessorArguments
    run: OptimisationArguments

    task: ClassVar[str]
    parts: ClassVar[tuple[type, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Flat, as in the YAML file."""
        return {k: v for part in (self.model, self.processor, self.run) for k, v in dataclasses.asdict(part).items()}


@dataclass
class Recipe(BaseRecipe):
    """A recipe of contrastive training."""

    model: ModelArguments
    run: RunArguments

    task = "contrastive"
    parts = (ModelArguments, ProcessorArguments, RunArguments)


@dataclass
class ClassificationRecipe(BaseRecipe):
    """A recipe of fine-tuning with labels."""

    model: ClassifierArguments
    run: FineTuningArguments

    task = "classification"
    parts = (ClassifierArguments, ProcessorArguments, FineTuningArguments)


@dataclass
class InstructionRecipe(BaseRecipe):
    """A recipe of instruction tuning."""

    model: LlamoArguments
    run: InstructionArguments

    task = "instruction"
    parts = (LlamoArguments, ProcessorArguments, InstructionArguments)


_FOLDER = resources.files("motionpatches.training") / "recipes"
_R = TypeVar("_R", bound=BaseRecipe)


def list_recipes(task: str = "contrastive") -> list[str]:
    """Names of the recipes for a task, `"contrastive"`, `"classification"` or `"instruction"`, that come with the package."""
    return [name for name in _packaged_names() if _task_of(_read(name)[1]) == task]


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = (), bases: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe of contrastive training.

    A recipe may say `extends: NAME`: the fields of that recipe hold where it has none of its own. NAME is a recipe of the
    package or, in a file of your own, also the path of another file, relative to it.

    Args:
        name_or_path: A name of `list_recipes`, or the path of a YAML file of your own.
        overrides: `"field=value"` strings that replace single fields; an empty value means none.
        bases: Recipes of the package, each to be read as another one, here or where it is extended:
            `{"humanml3d_paper": "humanml3d_published"}` gives what extends the one on the settings of the other.

    Raises:
        FileNotFoundError: If it, or what it extends, is neither a name nor a file.
        ValueError: If the file is no flat mapping, extends itself, is for another task, a field is unknown, or a value has the
            wrong type.
    """
    return _load(Recipe, name_or_path, overrides, bases)


def load_classification_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ClassificationRecipe:
    """Read a recipe of fine-tuning with labels, which says `task: classification`; arguments and errors as in `load_recipe`."""
    return _load(ClassificationRecipe, name_or_path, overrides)


def load_instruction_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> InstructionRecipe:
    """Read a recipe of instruction tuning, which says `task: instruction`; arguments and errors as in `load_recipe`."""
    return _load(InstructionRecipe, name_or_path, overrides)


def decided_by_checkpoint() -> set[str]:
    """The fields that are not used where training starts from a checkpoint: tower and patches are as they are."""
    return {f.name for part in (TowerArguments, ProcessorArguments) for f in dataclasses.fields(part)} - {"per_skeleton"}


def check_used(overrides: Sequence[str]) -> None:
    """Raise a `ValueError` if fine-tuning from a checkpoint is to replace a field that the checkpoint decides."""
    unused = [override for override in overrides if override.partition("=")[0].strip() in decided_by_checkpoint()]
    if unused:
        raise ValueError(
            f"--set {', '.join(unused)}: the tower and the patches of a checkpoint are kept as they are; leave that out, or "
            "leave the checkpoint out to start from a tower of the recipe's own"
        )


def parse_recipe(name: str, values: Mapping[str, Any]) -> Recipe:
    """Check and convert flat values, as read from YAML or the command line.

    Raises:
        ValueError: If a field is unknown or a value has the wrong type.
    """
    return _parse(Recipe, name, values)


def parse_classification_recipe(name: str, values: Mapping[str, Any]) -> ClassificationRecipe:
    """`parse_recipe` for classification."""
    return _parse(ClassificationRecipe, name, values)


def parse_instruction_recipe(name: str, values: Mapping[str, Any]) -> InstructionRecipe:
    """`parse_recipe` for instruction tuning."""
    return _parse(InstructionRecipe, name, values)


def _load(kind: type[_R], name_or_path: str | Path, overrides: Sequence[str], bases: Mapping[str, str] | None = None) -> _R:
    name, values = _read(name_or_path, bases)
    if _task_of(values) != kind.task:
        raise ValueError(
            f"recipe {name!r} is for {_task_of(values)} training, not for {kind.task}; of the package's those are: "
            f"{', '.join(list_recipes(kind.task))}. (A file of your own for another task than contrastive training says "
            "task: classification, or task: instruction.)"
        )
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise ValueError(f"override {override!r} must have the form field=value")
        values[key.strip()] = yaml.safe_load(value) if value.strip().startswith("[") else value.strip() or None
    return _parse(kind, name, values)


def _parse(kind: type[_R], name: str, values: Mapping[str, Any]) -> _R:
    fields = {f.name: f for part in kind.parts for f in dataclasses.fields(part)}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(sorted(fields))}"
            raise ValueError(f"recipe {name!r} has an unknown field {key!r}; {hint}")
    parser = HfArgumentParser(kind.parts, allow_abbrev=False)
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
    return kind(name, *parts)


def _packaged_names() -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def _read(
    name_or_path: str | Path,
    bases: Mapping[str, str] | None = None,
    folder: Path = Path(),
    extended_by: tuple[str, ...] = (),
) -> tuple[str, dict[str, Any]]:
    """Name of a recipe and its fields, with those of the recipe that it extends.

    Args:
        name_or_path, bases: As in `load_recipe`.
        folder: Where paths start.
        extended_by: The recipes on the way here, to find a circle.
    """
    path, name = folder / name_or_path, str(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.exists():
            raise FileNotFoundError(f"no recipe file {str(path)!r}")
        place, name, text = str(path.resolve()), path.stem, path.read_text(encoding="utf-8")
    elif name in _packaged_names():
        place = name = (bases or {}).get(name, name)
        text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(
            f"no recipe {name!r}; pass the path of a .yaml file or one of: {', '.join(_packaged_names())}"
        )
    if place in extended_by:
        raise ValueError(f"recipe {name!r} extends itself: {' → '.join((*extended_by, place))}")
    values = yaml.safe_load(text) or {}
    if not isinstance(values, dict):
        raise ValueError(f"recipe {name!r} must be a flat mapping of fields, got {type(values).__name__}")
    base = values.pop("extends", None)
    if base is None:
        return name, values
    if not isinstance(base, str):
        raise ValueError(f"recipe {name!r} must extend one recipe, by its name or path; got {base!r}")
    try:
        _, inherited = _read(base, bases, path.parent, (*extended_by, place))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"recipe {name!r} extends {base!r}: {error}") from error
    return name, {**inherited, **values}


def _task_of(values: Mapping[str, Any]) -> Any:
    return values.get("task", Recipe.task)


def _raise(message: str) -> None:
    raise ValueError(message)
