"""How a model is judged: retrieval in both directions and zero-shot classification (paper sections 4.2 and 5.2)."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
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
from .metrics import (
    chance_level,
    classification_metrics,
    confusion_matrix,
    label_chance,
    label_map,
    per_class_accuracy,
    retrieval_counts,
    retrieval_intervals,
    retrieval_metrics,
    summarize_counts,
    top1_hits,
)
from .protocols import describe_galleries, make_galleries
from .sentences import SentenceEncoder


#: Always reported.
BASIC_PROTOCOLS = ("strict", "caption_equal")
#: Those that can be asked for besides; `"label"` is retrieval by label, scored by mean average precision.
MORE_PROTOCOLS = ("small", "threshold", "nsim", "label")
_BY_SENTENCES = ("threshold", "nsim")


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
    more_protocols: Sequence[str] = (),
    sentence_encoder: SentenceEncoder | None = None,
    intervals: bool = False,
    confusion: bool = False,
    queries: bool = False,
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
        more_protocols: Of `MORE_PROTOCOLS`, besides strict and caption_equal. The name of the sentence encoder becomes part of
            the name of those that use it: `"threshold (all-mpnet-base-v2)"`.
        sentence_encoder: For `"threshold"` and `"nsim"`.
        intervals: Add 95% intervals of a bootstrap over the queries.
        confusion: Add the accuracy within each class and the confusion matrix of zero-shot classification.
        queries: Add how each query fared, which paired comparisons need.

    Returns:
        `{gallery: {"num", "distinct_captions", "statistics", "retrieval": {protocol: {"t2m", "m2t"}}, "chance": {protocol: …},
        "zero_shot": …}}` where gallery is `"all"` or the name of a data set; `statistics` names, for each skeleton, the entry
        of the processor's statistics that was used. Where they are asked for: `"protocols"`, what
        `protocols.describe_galleries` says of each further protocol; `"label_map"`, mean average precision by label in percent,
        with its chance; `"intervals"`, as `metrics.retrieval_intervals`; `"queries"`: of each protocol the ids of its queries
        and their `metrics.retrieval_counts`, and of `"zero_shot"` the ids and `"hits"` of the motions with a label.

    Raises:
        ValueError: If there are no rows, a protocol is unknown, or the sentence encoder or labels that one needs are missing.
    """
    if not len(rows):
        raise ValueError("there are no motions to evaluate on")
    _check_protocols(more_protocols, sentence_encoder)
    captions = [texts[0] for texts in rows["captions"]]
    ids = row_ids(rows)
    sentences = None if sentence_encoder is None else sentence_encoder.encode(captions)
    labels = rows["label"][:] if "label" in rows.column_names else [None] * len(rows)
    if "label" in more_protocols and not any(label is not None for label in labels):
        raise ValueError("protocol 'label' needs labels, and no row has one; leave it out")
    skeletons = np.array(rows["skeleton"])
    motions = embed_motions(model, processor, rows, batch_size, progress)
    texts = embed_texts(model, processor, captions)

    results: dict[str, Any] = {}
    for name, index in split_galleries(rows["dataset"]).items():
        chosen = [captions[i] for i in index]
        result: dict[str, Any] = {
            "num": len(index),
            "distinct_captions": len(set(chosen)),
            "statistics": {str(s): _statistics_entry(processor, str(s)) for s in sorted(set(skeletons[index]))},
        }
        by = {"ids": [ids[i] for i in index], "sentence_embeds": None if sentences is None else sentences[index]}
        wanted = [*BASIC_PROTOCOLS, *(p for p in dict.fromkeys(more_protocols) if p not in (*BASIC_PROTOCOLS, "label"))]
        encoder = sentence_encoder.name if sentence_encoder else ""
        titles = {p: f"{p} ({encoder})" if p in _BY_SENTENCES else p for p in wanted}
        result |= _judge_retrieval(texts[index], motions[index], chosen, titles, by, intervals, queries)
        results[name] = result
        labelled = {i: label for i in index if (label := labels[i]) is not None}
        if labelled:
            own, names = list(labelled), list(labelled.values())
            found = zero_shot(model, processor, motions[own], names, hypothesis_template, confusion, hits=queries)
            if queries:
                result["queries"]["zero_shot"] = {"ids": [ids[i] for i in own], "hits": found.pop("hits")}
            result["zero_shot"] = found
            if "label" in more_protocols:
                result["label_map"] = _label_maps(texts[own], motions[own], names)
    return results


def _judge_retrieval(
    texts: np.ndarray,
    motions: np.ndarray,
    captions: Sequence[str],
    titles: Mapping[str, str],
    by: Mapping[str, Any],
    intervals: bool,
    queries: bool,
) -> dict[str, Any]:
    """The part of a gallery's results that is about retrieval; `titles`: protocol → what the results call it."""
    found: dict[str, dict[str, Any]] = {"retrieval": {}, "chance": {}, "protocols": {}, "intervals": {}, "queries": {}}
    for protocol, title in titles.items():
        with warnings.catch_warnings():
            found["chance"][title] = chance_level(captions, protocol, **by)
            if protocol not in BASIC_PROTOCOLS:
                warnings.simplefilter("ignore")  # said once
                found["protocols"][title] = describe_galleries(len(captions), captions, protocol, **by)
            if protocol == "small":  # which has no counts of queries
                found["retrieval"][title] = retrieval_metrics(texts, motions, captions, protocol, **by)
                continue
            counts = retrieval_counts(texts, motions, captions, protocol, **by)
            found["retrieval"][title] = {way: summarize_counts(values) for way, values in counts.items()}
            if intervals:
                found["intervals"][title] = retrieval_intervals(counts)
            if queries:
                (gallery,) = make_galleries(len(captions), captions, protocol, **by)
                found["queries"][title] = {
                    "ids": [by["ids"][row] for row in gallery.rows],
                    **{way: values.tolist() for way, values in counts.items()},
                }
    return {key: values for key, values in found.items() if values}


def _label_maps(texts: np.ndarray, motions: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "num": len(labels),
        "num_labels": len(set(labels)),
        "t2m": label_map(texts, motions, labels, labels),
        "m2t": label_map(motions, texts, labels, labels),
        "chance": label_chance(labels, labels),
    }


def _check_protocols(wanted: Sequence[str], sentence_encoder: SentenceEncoder | None) -> None:
    unknown = sorted(set(wanted) - set(BASIC_PROTOCOLS) - set(MORE_PROTOCOLS))
    if unknown:
        raise ValueError(f"unknown protocols {', '.join(unknown)}; known: {', '.join((*BASIC_PROTOCOLS, *MORE_PROTOCOLS))}")
    needing = [protocol for protocol in _BY_SENTENCES if protocol in wanted]
    if needing and sentence_encoder is None:
        raise ValueError(
            f"protocol {' and '.join(needing)}: say which sentence encoder tells how alike captions are, for example "
            "--sentence-encoder sentence-transformers/all-mpnet-base-v2, or NAME=FOLDER"
        )
    if sentence_encoder is not None and not needing:
        raise ValueError(
            f"sentence encoder {sentence_encoder.name!r} is given, but no protocol asks it; add --protocol threshold or nsim"
        )


def row_ids(rows: Dataset) -> list[str]:
    """The data set and the id of each row, unique over data sets."""
    return [f"{dataset}/{name}" for dataset, name in zip(rows["dataset"], rows["id"], strict=True)]


def galleries_digest(rows: Dataset) -> dict[str, str]:
    """SHA-256 of the ids, first captions and labels of each gallery of `evaluate`, whatever their order: what was judged."""
    labels = rows["label"][:] if "label" in rows.column_names else [None] * len(rows)
    captions = [texts[0] for texts in rows["captions"]]
    items = list(zip(row_ids(rows), captions, labels, strict=True))
    return {
        name: hashlib.sha256(json.dumps(sorted((items[i] for i in index), key=str)).encode()).hexdigest()
        for name, index in split_galleries(rows["dataset"]).items()
    }


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
    confusion: bool = False,
    hits: bool = False,
) -> dict[str, Any]:
    """Accuracy over the distinct labels, each put into the template (paper section 5.2).

    Args:
        model, processor: Embed the labels.
        motion_embeds: Shape (N, D), unit rows.
        labels: N labels.
        hypothesis_template: Text into which a label is put.
        confusion: Add `"classes"`, `"per_class"` (see `metrics.per_class_accuracy`) and `"confusion"`, a row for each class and
            a column for each answer.
        hits: Add `"hits"` (see `metrics.top1_hits`).

    Returns:
        What `metrics.classification_metrics` returns, and `"template"`.
    """
    classes = sorted(set(labels))
    texts = embed_texts(model, processor, [hypothesis_template.format(name) for name in classes])
    target = np.array([classes.index(label) for label in labels])
    scores = motion_embeds @ texts.T
    found = {"template": hypothesis_template, **classification_metrics(scores, target)}
    if confusion:
        counts = confusion_matrix(scores, target)
        found |= {"classes": classes, "per_class": per_class_accuracy(counts, classes), "confusion": counts.tolist()}
    if hits:
        found["hits"] = top1_hits(scores, target).tolist()
    return found


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
    """For each gallery a table of retrieval, with size, distinct captions and chance of each protocol; then those of labels."""
    columns = ("R@1", "R@2", "R@3", "R@5", "R@10", "MedR")
    for name, result in results.items():
        size = f"{result['num']} motions, {result['distinct_captions']} distinct captions"
        console.print(f"\n[bold]{escape(name)}[/]: retrieval in %, {size}", highlight=False)
        table = Table("protocol", "direction", *columns)
        for protocol, directions in result["retrieval"].items():
            facts = result.get("protocols", {}).get(protocol, {**result, "galleries": 1})
            times = f"{facts['galleries']} × " if facts["galleries"] > 1 else ""
            distinct = facts["distinct_captions"]
            captions = f"{distinct:.1f}" if isinstance(distinct, float) else str(distinct)
            heads = (protocol, f"{times}{facts['num']} motions", f"{captions} captions")
            chance = result["chance"][protocol]["t2m"]
            scored = (("text→motion", directions["t2m"]), ("motion→text", directions["m2t"]), ("chance", chance))
            for head, (direction, values) in zip(heads, scored, strict=True):
                numbers = [f"{values[column]:.1f}" for column in columns]
                table.add_row(head, direction, *numbers, style="dim" if direction == "chance" else None)
        console.print(table)
        _print_intervals(result.get("intervals", {}), console)
    by_label = {name: result["label_map"] for name, result in results.items() if "label_map" in result}
    if by_label:
        console.print("\nretrieval by label, mean average precision in %", highlight=False)
        table = Table("gallery", "motions", "labels", "text→motion", "motion→text", "chance")
        for name, values in by_label.items():
            numbers = [f"{values[key]:.1f}" for key in ("t2m", "m2t", "chance")]
            table.add_row(name, str(values["num"]), str(values["num_labels"]), *numbers)
        console.print(table)
    zero_shot = {name: result["zero_shot"] for name, result in results.items() if "zero_shot" in result}
    if zero_shot:
        console.print("\nzero-shot classification in %", highlight=False)
        table = Table("gallery", "classes", "top-1", "top-5", "per class", "chance")
        for name, values in zero_shot.items():
            numbers = [f"{values[key]:.1f}" for key in ("top1", "top5", "macro_top1")]
            table.add_row(name, str(values["num_classes"]), *numbers, f"{values['chance']['top1']:.1f}")
        console.print(table)


def _print_intervals(intervals: Mapping[str, Any], console: Console) -> None:
    if not intervals:
        return
    columns = ("R@1", "R@5", "R@10", "MedR")
    console.print("95% intervals, bootstrap over queries", highlight=False)
    table = Table("protocol", "direction", *columns)
    for protocol, directions in intervals.items():
        for direction, way in (("text→motion", "t2m"), ("motion→text", "m2t")):
            ends = [directions[way][column] for column in columns]
            table.add_row(protocol, direction, *(f"{low:.1f} – {high:.1f}" for low, high in ends))
    console.print(table)
