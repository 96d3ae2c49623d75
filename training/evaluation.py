"""How a model is judged: retrieval in both directions and zero-shot classification (paper sections 4.2 and 5.2)."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch.nn.functional import normalize
from tqdm import tqdm

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .data import tokenize
from .metrics import PROTOCOLS, chance_level, classification_metrics, retrieval_metrics


@torch.no_grad()
def embed_motions(
    model: MotionPatchesModel, processor: MotionTextProcessor, motions: Any, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Motion embeddings of unit length.

    Args:
        model: The model; it is put into evaluation mode.
        processor: Its processor.
        motions: A data set, or a list of anything that the processor takes.
        batch_size: Motions in one forward pass.
        progress: Show a progress bar.

    Returns:
        Shape (N, projection_dim), float32, in the order of `motions`.
    """
    model.eval()
    motions = motions.with_format("numpy") if isinstance(motions, Dataset) else motions
    patches = processor.feature_extractor
    embeddings, too_long = [], 0
    for start in tqdm(range(0, len(motions), batch_size), desc="motions", disable=None if progress else True, leave=False):
        batch = [motions[index] for index in range(start, min(start + batch_size, len(motions)))]
        prepared = [patches.prepare(motion) for motion in patches.resolve(batch)]
        too_long += sum(motion.joints.shape[-3] > patches.max_frames for motion in prepared)
        inputs = patches.to_patches(prepared, return_tensors="pt", warn=False).to(model.device)
        embeddings.append(normalize(model.get_motion_features(**inputs).pooler_output.float(), dim=-1).cpu())
    if too_long:
        warnings.warn(patches.describe_cut(too_long, len(motions), patches.truncation), stacklevel=3)  # past the decorator
    return torch.cat(embeddings).numpy()


@torch.no_grad()
def embed_texts(
    model: MotionPatchesModel, processor: MotionTextProcessor, texts: Sequence[str], batch_size: int = 256
) -> np.ndarray:
    """Text embeddings of unit length. Equal texts get exactly equal embeddings. Shape (N, projection_dim), float32."""
    model.eval()
    distinct = list(dict.fromkeys(texts))
    order = sorted(range(len(distinct)), key=lambda index: len(distinct[index]))  # alike lengths need little padding
    embeddings = np.empty((len(distinct), model.config.projection_dim), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        inputs = tokenize(processor, [distinct[index] for index in chosen]).to(model.device)
        embeddings[chosen] = normalize(model.get_text_features(**inputs).pooler_output.float(), dim=-1).cpu().numpy()
    position = {text: index for index, text in enumerate(distinct)}
    return embeddings[[position[text] for text in texts]]


def evaluate(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    rows: Dataset,
    hypothesis_template: str = "A person {}.",
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Judge a model on rows: over all of them as one gallery, and for each data set alone.

    The gallery holds one item for each motion with its first caption. Where rows have labels, each motion is also classified
    among all the labels that occur in the same gallery, as `hypothesis_template` puts them.

    Args:
        model, processor: The model and its processor.
        rows: Rows with the columns of `processing.corpora.load_motions`.
        hypothesis_template: Text into which a label is put.
        batch_size: Motions in one forward pass.
        progress: Show a progress bar.

    Returns:
        `{gallery: {"num", "distinct_captions", "statistics", "retrieval": {protocol: {"t2m", "m2t"}}, "chance": {protocol: …},
        "zero_shot": …}}` where gallery is `"all"` or the name of a data set; `statistics` names, for each skeleton, the entry
        of the processor's statistics that was used.

    Raises:
        ValueError: If there are no rows.
    """
    if not len(rows):
        raise ValueError("there are no motions to evaluate on")
    captions = [texts[0] for texts in rows["captions"]]
    labels = rows["label"][:] if "label" in rows.column_names else [None] * len(rows)
    skeletons = np.array(rows["skeleton"])
    motions = embed_motions(model, processor, rows, batch_size, progress)
    texts = embed_texts(model, processor, captions)

    results = {}
    for name, index in split_galleries(rows["dataset"]).items():
        chosen = [captions[i] for i in index]
        results[name] = {
            "num": len(index),
            "distinct_captions": len(set(chosen)),
            "statistics": {str(s): _statistics_entry(processor, str(s)) for s in sorted(set(skeletons[index]))},
            "retrieval": {p: retrieval_metrics(texts[index], motions[index], chosen, protocol=p) for p in PROTOCOLS},
            "chance": {p: chance_level(chosen, protocol=p) for p in PROTOCOLS},
        }
        labelled = {i: label for i in index if (label := labels[i]) is not None}
        if labelled:
            results[name]["zero_shot"] = zero_shot(
                model, processor, motions[list(labelled)], list(labelled.values()), hypothesis_template
            )
    return results


def split_galleries(sources: Sequence[str]) -> dict[str, np.ndarray]:
    """Row numbers of `"all"` and, where there are several, of each data set, by the data set of each row."""
    named = np.array(sources)
    galleries = {"all": np.arange(len(named))}
    if len(set(named)) > 1:
        galleries.update({str(name): np.flatnonzero(named == name) for name in sorted(set(named))})
    return galleries


def _statistics_entry(processor: MotionTextProcessor, skeleton: str) -> str:
    return processor.feature_extractor.statistics_for(skeleton, warn=False) or "none"


def zero_shot(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    motion_embeds: np.ndarray,
    labels: Sequence[str],
    hypothesis_template: str = "A person {}.",
) -> dict[str, Any]:
    """Accuracy over the distinct labels, each put into the template (paper section 5.2); motion_embeds (N, D), N labels."""
    classes = sorted(set(labels))
    texts = embed_texts(model, processor, [hypothesis_template.format(name) for name in classes])
    target = np.array([classes.index(label) for label in labels])
    return {"template": hypothesis_template, **classification_metrics(motion_embeds @ texts.T, target)}


def mean_recall(results: dict[str, Any], names: Sequence[str] | None = None) -> float:
    """The validation metric: mean of strict R@1, R@5 and R@10 in both directions, then over data sets; greater is better.

    Args:
        results: What `evaluate` returned.
        names: The data sets to average over; default each on its own, or `"all"` where there is one only.

    Raises:
        ValueError: If a name has no results.
    """
    names = list(names) if names else [name for name in results if name != "all"] or ["all"]
    if len(results) == 1:  # one data set: its gallery is the whole
        names = ["all"]
    unknown = [name for name in names if name not in results]
    if unknown:
        raise ValueError(f"no validation results for {unknown}; have {sorted(results)}")
    per_set = [
        [results[name]["retrieval"]["strict"][way][f"R@{k}"] for way in ("t2m", "m2t") for k in (1, 5, 10)] for name in names
    ]
    return float(np.mean(per_set))


def print_evaluation(results: dict[str, Any], console: Console) -> None:
    """A table of retrieval for each gallery, with its chance levels, and one of zero-shot classification."""
    columns = ("R@1", "R@2", "R@3", "R@5", "R@10", "MedR")
    for name, result in results.items():
        size = f"{result['num']} motions, {result['distinct_captions']} distinct captions"
        console.print(f"\n[bold]{escape(name)}[/]: retrieval in %, {size}", highlight=False)
        table = Table("protocol", "direction", *columns)
        for protocol, directions in result["retrieval"].items():
            scored = [("text→motion", directions["t2m"]), ("motion→text", directions["m2t"])]
            for direction, values in [*scored, ("chance", result["chance"][protocol]["t2m"])]:
                numbers = [f"{values[column]:.1f}" for column in columns]
                table.add_row(protocol, direction, *numbers, style="dim" if direction == "chance" else None)
        console.print(table)
    zero_shot = {name: result["zero_shot"] for name, result in results.items() if "zero_shot" in result}
    if zero_shot:
        console.print("\nzero-shot classification in %", highlight=False)
        table = Table("gallery", "classes", "top-1", "top-5", "per class", "chance")
        for name, values in zero_shot.items():
            numbers = [f"{values[key]:.1f}" for key in ("top1", "top5", "macro_top1")]
            table.add_row(name, str(values["num_classes"]), *numbers, f"{values['chance']['top1']:.1f}")
        console.print(table)
