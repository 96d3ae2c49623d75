"""One call that saves everything a checkpoint needs: model, processor, pipeline code and card."""

import json
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import ModelCard, ModelCardData
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase

from .. import (
    pipeline_motion_classification,
    pipeline_motion_text_to_text,
    pipeline_zero_shot_motion_classification,
)
from ..motion_towers import tower_width
from ..pipeline_motion_classification import MotionClassificationPipeline
from ..pipeline_motion_text_to_text import MotionTextToTextPipeline
from ..pipeline_zero_shot_motion_classification import ZeroShotMotionClassificationPipeline
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor
from .folders import replace_folder
from .results import card_digest


#: Beside the card: the facts that it was filled with, and its SHA-256, by which an edited card is known.
CARD_FILE = "card.json"
_NOT_STATED = "not stated"
_NO_RESULTS = "Not measured yet."
_NO_TEST_RESULTS = "Not measured on test data yet."
_NO_LICENCE = "The licence of the weights is not stated: ask whoever shares them before you use them."
_TASKS = {
    "model": (pipeline_zero_shot_motion_classification.TASK, "text-to-motion-retrieval"),
    "classifier": (pipeline_motion_classification.TASK,),
    "language model": (pipeline_motion_text_to_text.TASK,),
}
# What the Hub calls the task; it has none for motions.
_HUB_TASKS = {"classifier": None, "language model": None}
_FACTS = {
    "recipe_name", "seed", "epochs", "start", "training_data", "trained_with", "results", "validation", "language",
    "licence", "licence_note", "data_licence",
}  # fmt: skip


def save_checkpoint(
    model: PreTrainedModel,
    processor: Any,
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    name: str | None = None,
    card: str | None = None,
) -> None:
    """Save model, processor, pipeline and card into a folder; an older checkpoint there is replaced only by a whole new one.

    Args:
        model: Any model of this package. `MotionPatchesModel`, `MotionPatchesForMotionClassification` and
            `MotionLlamoForConditionalGeneration` bring their pipeline.
        processor: A `MotionTextProcessor`; of a motion tower or a classifier a `MotionPatchProcessor` will do, of a text tower
            a tokenizer; of a MotionLlamo a `MotionLlamoProcessor`.
        folder: Where to. `AutoModel`, `AutoProcessor` and `pipeline` load it.
        facts: What the card states besides: `recipe_name`, `seed`, `epochs`, `start` (the weights that training started from),
            `training_data`, `trained_with`, `results` (Markdown), `validation` (Markdown; what was measured while training, of
            `describe_validation`), `language` of the captions, `licence` of the weights (as the Hub names it, e.g.
            `cc-by-4.0`), `licence_note`, `data_licence`. What is left out or `None` is “not stated”.
        name: What the card calls the model, and loads in its examples; default the folder's name.
        card: Text of a card of your own, written as it is.

    Raises:
        TypeError: If the processor is none for this model, or a MotionLlamo has no head.
        ValueError: If a fact is unknown.
    """
    facts = {key: value for key, value in (facts or {}).items() if value is not None}
    unknown = sorted(set(facts) - _FACTS)
    if unknown:
        raise ValueError(f"unknown facts {', '.join(unknown)}; a card states {', '.join(sorted(_FACTS))}")
    if _is_llamo(model) and model.get_output_embeddings() is None:
        raise TypeError(
            f"a {type(model).__name__} has no head, so it answers nothing: save the MotionLlamoForConditionalGeneration that it "
            "is part of"
        )
    check_processor(model, processor)

    def write(target: Path) -> None:
        processor.save_pretrained(target)  # before the pipeline, whose copy of the feature extractor then names it
        make_pipeline = _PIPELINES.get(type(model).__name__)
        (make_pipeline(model, processor) if make_pipeline else model).save_pretrained(target)
        text = card
        if text is None:
            text = str(make_card(model, processor, name or folder.name, facts))
        (target / "README.md").write_text(text, encoding="utf-8")
        written = {"facts": facts, "sha256": card_digest(text), "is_own": card is not None}
        (target / CARD_FILE).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

    replace_folder(folder, write)


def check_processor(model: PreTrainedModel, processor: Any) -> None:
    """Raise a `TypeError` unless a processor can make what the model takes."""
    takes_motion, takes_text = hasattr(model, "motion_model"), hasattr(model, "text_model")
    # Classes of remote code are others by identity, and known by their names.
    name = type(processor).__name__
    if _is_llamo(model) != (name == MotionLlamoProcessor.__name__):
        expected = "a MotionLlamoProcessor" if _is_llamo(model) else "a processor of MotionPatches"
        raise TypeError(
            f"a {type(model).__name__} is saved with its processor, {expected}; got "
            f"{'none' if processor is None else f'a {name}'}"
        )
    gives_both = name == MotionTextProcessor.__name__
    gives_motion = gives_both or name == MotionPatchProcessor.__name__
    gives_text = gives_both or isinstance(processor, PreTrainedTokenizerBase)
    if (takes_motion and not gives_motion) or (takes_text and not gives_text):
        expected = "a MotionTextProcessor"
        if not takes_text:
            expected += " or a MotionPatchProcessor"
        elif not takes_motion:
            expected += " or a tokenizer"
        raise TypeError(
            f"a {type(model).__name__} is saved with its processor, {expected}: without it, it cannot be used; got "
            f"{'none' if processor is None else f'a {name}'}"
        )


def _is_llamo(model: PreTrainedModel) -> bool:
    return model.config.model_type == "motion_llamo"


def _zero_shot_pipeline(model: PreTrainedModel, processor: Any) -> Pipeline:
    task = pipeline_zero_shot_motion_classification.TASK
    return ZeroShotMotionClassificationPipeline(model=model, processor=processor, task=task, device=model.device)


def _classification_pipeline(model: PreTrainedModel, processor: Any) -> Pipeline:
    return MotionClassificationPipeline(
        model=model,
        feature_extractor=motion_processor_of(processor),
        task=pipeline_motion_classification.TASK,
        device=model.device,
    )


def _text_pipeline(model: PreTrainedModel, processor: Any) -> Pipeline:
    task = pipeline_motion_text_to_text.TASK
    return MotionTextToTextPipeline(model=model, processor=processor, task=task, device=model.device)


#: Model class → the pipeline whose code goes along; a class that is not here brings none.
_PIPELINES: dict[str, Callable[[PreTrainedModel, Any], Pipeline]] = {
    "MotionPatchesModel": _zero_shot_pipeline,
    "MotionPatchesForMotionClassification": _classification_pipeline,
    "MotionLlamoForConditionalGeneration": _text_pipeline,
}


def motion_processor_of(processor: Any) -> MotionPatchProcessor | None:
    """The motion side of a processor; `None` of a tokenizer."""
    if isinstance(processor, PreTrainedTokenizerBase):
        return None
    return getattr(processor, "feature_extractor", processor)


class SavedCard(NamedTuple):
    """The card of a checkpoint folder.

    Attributes:
        text: `None` where there is none.
        facts: What it was filled with.
        is_edited: Whether it is another than the one that was saved, and says something.
        is_own: Whether a card of the user's own was saved.
    """

    text: str | None
    facts: dict[str, Any]
    is_edited: bool
    is_own: bool


def read_card(folder: Path) -> SavedCard:
    """Read the card of a checkpoint; one that this package did not save counts as edited."""
    readme, facts_file = folder / "README.md", folder / CARD_FILE
    written: dict[str, Any] = {"facts": {}, "sha256": None, "is_own": False}
    if facts_file.exists():
        written = json.loads(facts_file.read_text(encoding="utf-8"))
    text = readme.read_text(encoding="utf-8") if readme.exists() else None
    says_something = text is not None and bool(ModelCard(text, ignore_metadata_errors=True).text.strip())
    is_edited = says_something and written["sha256"] != card_digest(text or "")
    return SavedCard(text, written["facts"], is_edited, written["is_own"])


def make_card(model: PreTrainedModel, processor: Any, name: str, facts: Mapping[str, Any]) -> ModelCard:
    """The model card: the template `hub_card.md`, filled with what is known; arguments as in `save_checkpoint`."""
    config, kind, motion = model.config, _kind(model), motion_processor_of(processor)
    stated = {key: facts.get(key, _NOT_STATED) for key in _FACTS}
    if "recipe_name" in facts:
        stated["recipe_name"] = f"`{facts['recipe_name']}`"
    stated["validation"] = facts.get("validation")
    stated["results"] = facts.get("results", _NO_TEST_RESULTS if stated["validation"] else _NO_RESULTS)
    stated["licence_note"] = facts.get("licence_note", "" if "licence" in facts else _NO_LICENCE)
    about_motion = {}
    if motion is not None:
        persons = 1 if kind == "language model" else config.num_persons
        about_motion = {
            "seconds": f"{motion.max_frames / motion.fps:.3g}",
            "skeletons": ", ".join(sorted(set(motion.statistics) - {"shared"})) or "none",
            "persons": "one person" if persons == 1 else f"{persons} persons",
        }
    return ModelCard.from_template(
        ModelCardData(
            license=facts.get("licence"),
            language=facts.get("language"),
            library_name="transformers",
            pipeline_tag=_HUB_TASKS.get(kind, "feature-extraction"),
            tags=["motionpatches", "human-motion", *_TASKS.get(kind, ())],
        ),
        template_path=str(card_template()),
        model_name=name,
        kind=kind,
        package_version=metadata.version("motionpatches"),
        projection_dim=getattr(config, "projection_dim", None),
        takes_video=getattr(config, "video_config", None) is not None,
        classes=[f"“{config.id2label[index]}”" for index in range(config.num_labels)] if kind == "classifier" else [],
        auto_processor=_auto_processor(processor),
        parts=_describe_parts(model, motion),
        **about_motion,
        **stated,
    )


def _kind(model: PreTrainedModel) -> str:
    if _is_llamo(model):
        return "language model"
    if hasattr(model, "classifier"):
        return "classifier"
    if hasattr(model, "motion_model"):
        return "model" if hasattr(model, "text_model") else "motion tower"
    return "text tower"


def _auto_processor(processor: Any) -> str:
    if isinstance(processor, PreTrainedTokenizerBase):
        return "AutoTokenizer"
    return "AutoProcessor" if hasattr(processor, "feature_extractor") else "AutoFeatureExtractor"


def _describe_parts(model: Any, motion: Any) -> list[tuple[str, str]]:
    """Rows of the card: the towers that the model has, and how motions are processed."""
    config, rows = model.config, []
    if _is_llamo(model):
        rows += _describe_llamo(model)
    if hasattr(model, "motion_model"):
        details = [*_describe_tower(model), f"pooling `{config.motion_pooling}`"]
        rows.append(("motion tower", ", ".join(details)))
    if hasattr(model, "text_model"):
        tower = config.text_config
        rows.append(("text tower", f"`{tower.model_type}`, width {tower.hidden_size}, pooling `{config.text_pooling}`"))
    if motion is not None:
        settings = ("representation", "interpolation", "normalization", "root", "canonicalize")
        shown = ", ".join(f"`{setting}={getattr(motion, setting)!r}`" for setting in settings)
        rows.append(("motion processing", f"{motion.fps:g} frames per second, up to {motion.max_frames} frames, {shown}"))
    return rows


def _describe_tower(model: Any) -> list[str]:
    """Of a model with a motion tower, what that is."""
    config = model.config
    details = [
        f"`{config.motion_config.model_type}`",
        f"width {tower_width(model.motion_model, config.motion_pooling)}",
    ]
    if hasattr(config.motion_config, "num_hidden_layers"):
        details.append(f"{config.motion_config.num_hidden_layers} layers")
    return [*details, f"patches of {config.patch_size}"]


def _describe_llamo(model: Any) -> list[tuple[str, str]]:
    config = model.config
    text, video = config.text_config, config.video_config
    fusion = f"`{config.fusion}`"
    if config.fusion == "cross_talker":
        fusion += f", {config.num_selected} units of a motion, unit `{config.selection_unit}`"
    rows = [
        ("motion tower", ", ".join(_describe_tower(model.model.motion_tower))),
        ("fusion", fusion),
        ("language model", f"`{text.model_type}`, width {text.hidden_size}, {text.num_hidden_layers} layers"),
    ]
    return rows if video is None else [*rows, ("video tower", f"`{video.model_type}`, width {video.hidden_size}")]


def card_template() -> Path:
    """`hub_card.md`: inside an installed package, or at the root of a checkout."""
    template = Path(__file__).resolve().parent.parent / "hub_card.md"
    if not template.exists():
        raise FileNotFoundError(f"the card template is not at {template}: reinstall the package")
    return template
