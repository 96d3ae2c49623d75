"""A classifier of motions: where it comes from, and how it is judged."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import AutoFeatureExtractor, Pipeline, PreTrainedConfig

from ..configuration_motionpatches import MotionPatchesConfig, motion_vit_config
from ..convert_vit_to_motionpatches import fill_motion_tower, load_motion_tower
from ..modeling_motionpatches import MotionPatchesForMotionClassification
from ..pipeline_motion_classification import TASK as CLASSIFICATION
from ..pipeline_motion_classification import MotionClassificationPipeline
from ..pipeline_zero_shot_motion_classification import TASK as ZERO_SHOT
from ..pipeline_zero_shot_motion_classification import ZeroShotMotionClassificationPipeline
from ..processing.processing_motionpatches import MotionPatchProcessor
from .builder import build_motion_processor, check_patch_size, count_joints, fit_processor
from .evaluation import split_galleries
from .inference import load_checkpoint
from .labels import LabelledMotions, LabelledRows, count_cut, select_labelled
from .metrics import classification_metrics, confused_pairs, majority_level
from .recipe import ClassificationRecipe


_CLASSIFIER = {"classifier.weight", "classifier.bias"}


def holds_classifier(checkpoint: str | Path) -> bool:
    """Whether a folder or Hub id holds a `MotionPatchesForMotionClassification`; `False` also where there is no model."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(checkpoint)
    except OSError:
        return False
    return MotionPatchesForMotionClassification.__name__ in (config.get("architectures") or [])


def load_classifier(checkpoint: str | Path) -> tuple[MotionPatchesForMotionClassification, MotionPatchProcessor]:
    """Classifier, in evaluation mode and on the GPU where there is one, and processor of a folder or Hub id.

    Raises:
        ValueError: If it holds no classifier, or not all of it.
    """
    if not holds_classifier(checkpoint):
        raise ValueError(
            f"{str(checkpoint)!r} holds no classifier; `motionpatches finetune` makes one from motions with labels"
        )
    model = _load(checkpoint, new=set())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), AutoFeatureExtractor.from_pretrained(checkpoint)


def classification_pipeline(
    checkpoint: str, labels: list[str], hypothesis_template: str | None = None, multi_label: bool = False
) -> tuple[Pipeline, dict[str, Any]]:
    """The pipeline that fits a checkpoint, and its arguments: a classifier's own, or the zero-shot one with labels.

    Raises:
        ValueError: If a classifier is given labels, or a contrastive model none.
    """
    if holds_classifier(checkpoint):
        classifier, motion_processor = load_classifier(checkpoint)
        if labels or hypothesis_template is not None or multi_label:
            raise ValueError(
                f"{checkpoint!r} holds a classifier with classes of its own ({', '.join(class_names(classifier)[:5])}, …); leave "
                "--label, --hypothesis-template and --multi-label out, or pass a contrastive model"
            )
        return MotionClassificationPipeline(
            model=classifier, feature_extractor=motion_processor, task=CLASSIFICATION, device=classifier.device
        ), {}
    model, processor = load_checkpoint(checkpoint)
    if not labels:
        raise ValueError(
            f"{checkpoint!r} holds a contrastive model, which has no classes of its own; pass --label TEXT for each label, or "
            "make a classifier of it by `motionpatches finetune`"
        )
    arguments: dict[str, Any] = {"candidate_labels": labels, "multi_label": multi_label}
    if hypothesis_template is not None:
        arguments["hypothesis_template"] = hypothesis_template
    return ZeroShotMotionClassificationPipeline(
        model=model, processor=processor, task=ZERO_SHOT, device=model.device
    ), arguments


def class_names(model: MotionPatchesForMotionClassification) -> list[str]:
    """Names of the classes, in the order of the logits."""
    return [model.config.id2label[index] for index in range(model.config.num_labels)]


@torch.no_grad()
def evaluate_classifier(
    model: MotionPatchesForMotionClassification,
    processor: MotionPatchProcessor,
    rows: Dataset,
    split: str = "test",
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Judge a classifier on rows: over all of them, and for each data set alone where there are several.

    Args:
        model, processor: The classifier, which is put into evaluation mode, and its processor.
        rows: Rows with the columns of `processing.corpora.load_motions` and `label`. Those without a label, or with one that is
            no class of the model, are left out, counted in a warning and in the results.
        split: Name of the rows, for messages.
        batch_size: Motions in one forward pass.
        progress: Show a progress bar.

    Returns:
        `{name: …}` where name is `"all"` or that of a data set; each holds what `classification_metrics` gives, `majority` (see
        `majority_level`) and `confused` (see `confused_pairs`); that of `"all"` also `left_out`: `unlabelled`, a number, and
        `unknown_labels`, label → number.

    Raises:
        ValueError: If no row is left.
    """
    model.eval()
    classes = class_names(model)
    part = select_labelled(rows, split, classes)
    if cut := count_cut(part.rows, processor):
        warnings.warn(processor.describe_cut(cut, len(part.rows), processor.truncation), stacklevel=3)  # past the decorator
    motions = LabelledMotions(part, classes, processor)
    loader = DataLoader(motions, batch_size, collate_fn=motions.collate)
    batches = tqdm(loader, desc="motions", disable=None if progress else True, leave=False)
    scores = torch.cat([model(**batch.to(model.device)).logits.float().cpu() for batch in batches]).numpy()
    targets = np.array(motions.targets)
    results: dict[str, Any] = {
        name: {
            **classification_metrics(scores[index], targets[index]),
            "majority": majority_level(targets[index], len(classes)),
            "confused": confused_pairs(scores[index], targets[index], classes),
        }
        for name, index in split_galleries(part.rows["dataset"]).items()
    }
    results["all"]["left_out"] = part.left_out()
    return results


def print_classification(results: dict[str, Any], console: Console) -> None:
    """A table of accuracies beside chance and the most frequent class, and one of the classes that are confused most."""
    console.print("\nclassification in %", highlight=False)
    table = Table("gallery", "motions", "classes", "top-1", "top-5", "per class", "chance", "majority")
    for name, values in results.items():
        numbers = [
            values["top1"],
            values["top5"],
            values["macro_top1"],
            values["chance"]["top1"],
            values["majority"]["top1"],
        ]
        table.add_row(name, str(values["num"]), str(values["num_classes"]), *(f"{number:.1f}" for number in numbers))
    console.print(table)
    confused = results["all"]["confused"]
    if confused:
        console.print("\nconfused most", highlight=False)
        table = Table("class", "taken for", "motions", "of")
        for pair in confused:
            table.add_row(escape(pair["label"]), escape(pair["answer"]), str(pair["num"]), str(pair["of"]))
        console.print(table)


def build_classifier(
    recipe: ClassificationRecipe, train: LabelledRows, start: Any, only_new: bool, fit: bool
) -> tuple[MotionPatchesForMotionClassification, MotionPatchProcessor]:
    """Model and processor: of a checkpoint, or new ones by the recipe."""
    found = sorted(set(train.labels))
    processor = build_motion_processor(recipe.processor) if start is None else AutoFeatureExtractor.from_pretrained(start)
    if fit:
        fit_processor(processor, train.rows, recipe.processor.per_skeleton, only_new=only_new)
    settings: dict[str, Any] = {"classifier_dropout": recipe.model.classifier_dropout}
    if start is not None and holds_classifier(start):
        model = _load(start, new=set(), **settings)
        missing = sorted(set(found) - set(class_names(model)))
        if missing:
            raise ValueError(
                f"the classifier {str(start)!r} does not know the classes {missing} of the training data, only "
                f"{class_names(model)}; start from a contrastive checkpoint, whose classifier is new"
            )
        return model, processor
    if len(found) < 2:
        raise ValueError(
            f"a classifier needs at least two classes; all {len(train.labels)} training motions are {found[0]!r}"
        )
    settings |= {"id2label": dict(enumerate(found)), "label2id": {name: index for index, name in enumerate(found)}}
    model = _new_classifier(recipe, processor, settings) if start is None else _load(start, new=_CLASSIFIER, **settings)
    return model, processor


def _load(checkpoint: str | Path, new: set[str], **settings: Any) -> MotionPatchesForMotionClassification:
    """A checkpoint of ours, of which exactly the weights in `new` are missing."""
    model, info = MotionPatchesForMotionClassification.from_pretrained(
        checkpoint, dtype=torch.float32, output_loading_info=True, **settings
    )
    missing = set(info["missing_keys"])
    if missing != new or info["unexpected_keys"] or info["mismatched_keys"]:
        raise ValueError(
            f"the weights of {str(checkpoint)!r} do not fill the classifier's tower exactly: missing {sorted(missing - new)}, "
            f"unexpected {sorted(info['unexpected_keys'])}, of another shape {sorted(map(str, info['mismatched_keys']))}"
        )
    return model


def _new_classifier(
    recipe: ClassificationRecipe, processor: MotionPatchProcessor, settings: dict[str, Any]
) -> MotionPatchesForMotionClassification:
    """A classifier on the tower that a recipe names: pretrained on images, or from scratch."""
    arguments, max_frames = recipe.model, recipe.processor.max_frames
    num_joints = count_joints(processor) if recipe.processor.representation == "joints" else None
    settings |= {"motion_pooling": arguments.motion_pooling, "num_persons": arguments.num_persons}
    if arguments.motion_name is None:
        depth = {} if arguments.motion_depth is None else {"num_hidden_layers": arguments.motion_depth}
        motion_config = motion_vit_config(
            arguments.motion_size, recipe.processor.patch_size, max_frames, num_joints, **depth
        )
        return MotionPatchesForMotionClassification(MotionPatchesConfig(motion_config=motion_config, **settings))
    motion_config, state, new = load_motion_tower(arguments.motion_name, max_frames, num_joints)
    model = MotionPatchesForMotionClassification(MotionPatchesConfig(motion_config=motion_config, **settings))
    check_patch_size(model, processor, arguments.motion_name)
    fill_motion_tower(model, state, arguments.motion_name, new)
    return model
