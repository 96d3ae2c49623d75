"""How retrieval is scored. Equal scores count as their expectation under random order.

A positive tied with negatives is neither found nor missed: it is found with the probability that a shuffle of the tied
items would give. So a model that embeds everything alike scores exactly at chance, and no order of the gallery helps it.
Scores are exact (see `scoring`): results depend neither on the order of the pairs, nor on chunks, threads or device.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .classification_metrics import (
    classification_metrics,
    confused_pairs,
    confusion_matrix,
    majority_level,
    per_class_accuracy,
    top1_hits,
)
from .hits import hit_probability, percent
from .intervals import bootstrap_interval
from .label_metrics import label_chance, label_map, label_precisions
from .protocols import PROTOCOLS, Positives, make_galleries
from .scoring import check_chunk_size, score_chunks, unit_rows


__all__ = [
    "PROTOCOLS",
    "RECALL_AT",
    "chance_level",
    "classification_metrics",
    "confused_pairs",
    "confusion_matrix",
    "expected_ranks",
    "hit_probability",
    "label_chance",
    "label_map",
    "label_precisions",
    "majority_level",
    "metric_path",
    "per_class_accuracy",
    "retrieval_counts",
    "retrieval_hits",
    "retrieval_intervals",
    "retrieval_metrics",
    "summarize_counts",
    "top1_hits",
]

RECALL_AT = (1, 2, 3, 5, 10)

#: A number for each direction, or for each of its metrics.
Summary = dict[str, dict[str, float]]


def retrieval_metrics(
    text_embeds: Any,
    motion_embeds: Any,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    chunk_size: int | None = None,
    sentence_embeds: Any = None,
    ids: Sequence[str] | None = None,
) -> Summary:
    """Recall and rank of text-to-motion and motion-to-text retrieval by cosine similarity (paper section 4.2).

    Args:
        text_embeds: Shape (N, D), numpy array or torch tensor, any scale. On a GPU where this is a tensor there.
        motion_embeds: Shape (N, D); row i belongs to row i of `text_embeds`.
        captions: The N captions. `"caption_equal"`, `"nsim"` and `"small"` need them.
        protocol: What is judged, and which items count as found; the best of several counts.
            `"strict"`: item i alone is the positive of row i.
            `"caption_equal"`: so is every item whose caption is the same string (the published protocol).
            `"threshold"`: so is every item whose sentence embedding has a cosine above 0.90. Which encoder made the embeddings
            is part of the protocol: name it beside the numbers.
            `"nsim"`: strict among the pairs that `protocols.dissimilar_rows` selects, whose captions are unlike each other.
            `"small"`: caption-equal within seeded batches of 32, averaged over the batches, MedR and MeanR too; see
            `protocols.draw_batches`.
        chunk_size: Rows scored at a time; default what makes 8 million scores. The result does not depend on it.
        sentence_embeds: Shape (N, E), of the captions, by an encoder that is not under test. `"threshold"` and `"nsim"` need
            them.
        ids: The N ids. With them the pairs of `"small"` and `"nsim"` do not depend on the order of the rows either.

    Returns:
        `{"t2m": …, "m2t": …}`, text to motion and motion to text, each with `"R@1"`, `"R@2"`, `"R@3"`, `"R@5"`, `"R@10"`
        in percent, and `"MedR"` and `"MeanR"`, median and mean of the ranks, which count from 1.

    Raises:
        ValueError: If the protocol is unknown or needs what is not given, shapes or lengths disagree, a row is zero, or a value
            is not finite.
    """
    texts, motions = _checked_pairs(text_embeds, motion_embeds, chunk_size)
    found = []
    for gallery in make_galleries(len(texts), captions, protocol, sentence_embeds, ids):
        rows = torch.from_numpy(gallery.rows).to(texts.device)
        counts = _both_ways(texts[rows], motions[rows], gallery.positives, chunk_size)
        found.append({way: summarize_counts(values) for way, values in counts.items()})
    return _mean(found)


def retrieval_counts(
    text_embeds: Any,
    motion_embeds: Any,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    chunk_size: int | None = None,
    sentence_embeds: Any = None,
    ids: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """What decides each query's rank, from which all recalls and ranks follow; arguments and errors as `retrieval_metrics`.

    Returns:
        `"t2m"` and `"m2t"`, each of shape (3, n), integers: the negatives above the best positive, the negatives tied with it,
        and the positives tied there, itself included (see `hit_probability`). n is the size of the gallery.

    Raises:
        ValueError: Of `"small"` too, whose queries are asked in several batches.
    """
    texts, motions = _checked_pairs(text_embeds, motion_embeds, chunk_size)
    if protocol == "small":
        raise ValueError(
            "protocol 'small' asks each query in several batches; counts and intervals of queries have no meaning"
        )
    (gallery,) = make_galleries(len(texts), captions, protocol, sentence_embeds, ids)
    rows = torch.from_numpy(gallery.rows).to(texts.device)
    return _both_ways(texts[rows], motions[rows], gallery.positives, chunk_size)


def retrieval_hits(
    text_embeds: Any,
    motion_embeds: Any,
    k: int,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    chunk_size: int | None = None,
    sentence_embeds: Any = None,
    ids: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """For each query the chance that a positive is among the first k, of which R@k is the mean: for paired comparisons.

    Args:
        k: Length of the list, at least 1.
        text_embeds, motion_embeds, captions, protocol, chunk_size, sentence_embeds, ids: As in `retrieval_counts`, which names
            the errors too.

    Returns:
        `"t2m"` and `"m2t"`, each of shape (n,), in [0, 1]: 0 or 1 but for ties.
    """
    counts = retrieval_counts(text_embeds, motion_embeds, captions, protocol, chunk_size, sentence_embeds, ids)
    return {way: hit_probability(k, *values) for way, values in counts.items()}


def retrieval_intervals(counts: dict[str, np.ndarray]) -> dict[str, dict[str, tuple[float, float]]]:
    """95% intervals of recalls and ranks by a bootstrap over the queries.

    They say how much the numbers depend on which queries were asked, not how much on the seed of the training.

    Args:
        counts: Of `retrieval_counts`.

    Returns:
        Low and high end of each metric, in the layout of `retrieval_metrics`.
    """
    found = {}
    for way, values in counts.items():
        hits = {f"R@{k}": 100 * hit_probability(k, *values) for k in RECALL_AT}
        ranks = expected_ranks(values)
        found[way] = {name: bootstrap_interval(queries) for name, queries in hits.items()}
        found[way] |= {"MedR": bootstrap_interval(ranks, np.median), "MeanR": bootstrap_interval(ranks)}
    return found


def chance_level(
    captions_or_num: Sequence[str] | int,
    protocol: str = "strict",
    sentence_embeds: Any = None,
    ids: Sequence[str] | None = None,
) -> Summary:
    """What `retrieval_metrics` gives a model that scores all items alike, in closed form.

    Args:
        captions_or_num: The N captions, or N itself where the protocol needs no captions.
        protocol, sentence_embeds, ids: See `retrieval_metrics`.

    Returns:
        The same layout as `retrieval_metrics`; both directions are equal.

    Raises:
        ValueError: If the protocol is unknown or needs what is not given, or there are no items.
    """
    if isinstance(captions_or_num, (int, np.integer)):
        num, captions = int(captions_or_num), None
    else:
        num, captions = len(captions_or_num), captions_or_num
    found = []
    for gallery in make_galleries(num, captions, protocol, sentence_embeds, ids):
        positives = gallery.positives.counts()
        chance = summarize_counts(np.stack([np.zeros_like(positives), len(positives) - positives, positives]))
        found.append({"t2m": chance, "m2t": chance})
    return _mean(found)


def summarize_counts(counts: np.ndarray) -> dict[str, float]:
    """Recalls and ranks of one direction from the counts of its queries, shape (3, n); see `retrieval_counts`."""
    ranks = expected_ranks(counts)
    recalls = {f"R@{k}": percent(hit_probability(k, *counts)) for k in RECALL_AT}
    return {**recalls, "MedR": float(np.median(ranks)), "MeanR": math.fsum(ranks) / len(ranks)}


def expected_ranks(counts: np.ndarray) -> np.ndarray:
    """Rank of each query's best positive, counted from 1, over random orders of tied items; counts as in `retrieval_counts`."""
    above, tied, positives = counts
    return above + 1 + tied / (positives + 1)


def metric_path(name: str) -> str:
    """Folder of a metric of this package for `evaluate.load`: `"motion_retrieval"` or `"motion_generation"`.

    Raises:
        ValueError: If there is none of that name.
    """
    folder = Path(__file__).resolve().parent.parent / "metrics"  # in an installed package, or at the root of a checkout
    if not (folder / name / f"{name}.py").is_file():
        known = sorted(found.parent.name for found in folder.glob("*/*.py"))
        raise ValueError(
            f"no metric {name!r} in {str(folder)!r}; there are: {', '.join(known) or 'none, reinstall the package'}"
        )
    return str(folder / name)


def _checked_pairs(text_embeds: Any, motion_embeds: Any, chunk_size: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as unit rows (N, D), on the device of the texts."""
    check_chunk_size(chunk_size)
    texts, motions = unit_rows(text_embeds, "text_embeds"), unit_rows(motion_embeds, "motion_embeds")
    if texts.shape != motions.shape:
        raise ValueError(
            f"text_embeds has shape {tuple(texts.shape)} and motion_embeds {tuple(motions.shape)}; expected one (N, D) for "
            "both, row i of one belonging to row i of the other"
        )
    return texts, motions.to(texts.device)


def _both_ways(
    texts: torch.Tensor, motions: torch.Tensor, positives: Positives, chunk_size: int | None
) -> dict[str, np.ndarray]:
    return {
        "t2m": _counts(texts, motions, positives, chunk_size),
        "m2t": _counts(motions, texts, positives, chunk_size),
    }


def _counts(queries: torch.Tensor, gallery: torch.Tensor, positives: Positives, chunk_size: int | None) -> np.ndarray:
    """The counts of `retrieval_counts` for one direction."""
    counts = np.empty((3, len(queries)), dtype=np.int64)
    for start, scores in score_chunks(queries, gallery, chunk_size):
        rows = slice(start, start + len(scores))
        positive = positives.mask(rows.start, rows.stop, scores.device)
        best = torch.where(positive, scores, -torch.inf).amax(dim=1, keepdim=True)
        at_best = scores == best
        masks = (scores > best, at_best & ~positive, at_best & positive)
        counts[:, rows] = torch.stack([mask.sum(dim=1, dtype=torch.int32) for mask in masks]).cpu().numpy()
    return counts


def _mean(parts: Sequence[Summary]) -> Summary:
    def mean(values: Callable[[Summary], float]) -> float:
        return math.fsum(map(values, parts)) / len(parts)

    return {
        way: {key: mean(lambda part, way=way, key=key: part[way][key]) for key in values}  # type: ignore[misc]
        for way, values in parts[0].items()
    }
