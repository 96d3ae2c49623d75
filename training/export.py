"""One call that saves everything a checkpoint needs: model, processor, pipeline code and card."""

import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedConfig

from ..modeling_motionpatches import MotionPatchesModel
from ..pipeline_zero_shot_motion_classification import TASK, ZeroShotMotionClassificationPipeline
from ..processing.processing_motionpatches import MotionTextProcessor


_NOT_STATED = "not stated"


def save_checkpoint(
    model: MotionPatchesModel, processor: MotionTextProcessor, folder: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Save model, processor, pipeline and card into a folder; an older checkpoint there is replaced only by a whole new one.

    Args:
        model: The model.
        processor: Its processor.
        folder: Where to. `AutoModel`, `AutoProcessor` and `pipeline` load it.
        facts: Fields of the card (`recipe_name`, `seed`, `epochs`, `training_data`, `results`, `licence`, `licence_note`).
    """

    def write(target: Path) -> None:
        pipe = ZeroShotMotionClassificationPipeline(model=model, processor=processor, task=TASK, device=model.device)
        pipe.save_pretrained(target)
        processor.save_pretrained(target)
        make_card(model, processor, folder.name, facts or {}).save(target / "README.md")

    replace_folder(folder, write)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a new folder with `write` and put it in the place of `folder`, which stays whole until then."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    new.mkdir(parents=True)
    write(new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def make_card(model: MotionPatchesModel, processor: MotionTextProcessor, name: str, facts: Mapping[str, Any]) -> ModelCard:
    """The model card: the template `hub_card.md`, filled with what is known."""
    config, motion = model.config, processor.feature_extractor
    motion_tower: PreTrainedConfig = config.motion_config
    text_tower: PreTrainedConfig = config.text_config
    return ModelCard.from_template(
        ModelCardData(
            license=facts.get("licence", "other"),
            language="en",
            library_name="transformers",
            pipeline_tag="feature-extraction",
            tags=["motionpatches", TASK, "human-motion", "text-to-motion-retrieval"],
        ),
        template_path=str(card_template()),
        model_name=name,
        package_version=metadata.version("motionpatches"),
        projection_dim=config.projection_dim,
        recipe_name=facts.get("recipe_name", _NOT_STATED),
        seed=facts.get("seed", _NOT_STATED),
        epochs=facts.get("epochs", _NOT_STATED),
        training_data=facts.get("training_data", _NOT_STATED),
        skeletons=", ".join(sorted(set(motion.statistics) - {"shared"})) or "none",
        motion_tower=(
            f"ViT, width {motion_tower.hidden_size}, {motion_tower.num_hidden_layers} layers, patches of {config.patch_size}, "
            f"pooling `{config.motion_pooling}`"
        ),
        text_tower=f"{text_tower.model_type}, width {text_tower.hidden_size}, pooling `{config.text_pooling}`",
        processing=(
            f"{motion.fps:g} frames per second, up to {motion.max_frames} frames, `interpolation={motion.interpolation!r}`, "
            f"`normalization={motion.normalization!r}`, `root={motion.root!r}`, `canonicalize={motion.canonicalize!r}`"
        ),
        results=facts.get("results", "Not measured yet."),
        licence_note=facts.get(
            "licence_note", "The licence of the weights follows that of their training data; it is not stated."
        ),
    )


def card_template() -> Path:
    """`hub_card.md`: inside an installed package, or at the root of a checkout."""
    template = Path(__file__).resolve().parent.parent / "hub_card.md"
    if not template.exists():
        raise FileNotFoundError(f"the card template is not at {template}: reinstall the package")
    return template
