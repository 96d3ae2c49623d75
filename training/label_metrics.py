"""Retrieval where positives share a label, scored by mean average precision: for captions that are made from labels."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch

from .hits import percent
from .scoring import check_chunk_size, number_values, score_chunks, unit_rows


_SORTED_AT_ONCE = 2**21  # scores, of which a dozen arrays of this size are made


def label_map(
    query_embeds: Any,
    gallery_embeds: Any,
    query_labels: Sequence[Hashable],
    gallery_labels: Sequence[Hashable],
    chunk_size: int | None = None,
) -> float:
    """Mean over the queries of `label_precisions`, in percent; arguments and errors as there."""
    return percent(label_precisions(query_embeds, gallery_embeds, query_labels, gallery_labels, chunk_size))


def label_precisions(
    query_embeds: Any,
    gallery_embeds: Any,
    query_labels: Sequence[Hashable],
    gallery_labels: Sequence[Hashable],
    chunk_size: int | None = None,
) -> np.ndarray:
    """Average precision of retrieval by cosine similarity for each query, where positives share the query's label.

    Tied items count as the expectation under random order (McSherry and Najork, ECIR 2008).

    Args:
        query_embeds: Shape (Q, D), numpy array or torch tensor, any scale. On a GPU where this is a tensor there.
        gallery_embeds: Shape (G, D).
        query_labels: Q labels: strings, integers, or tuples such as (action, style).
        gallery_labels: G labels.
        chunk_size: Queries scored at a time; default what makes 2 million scores. The result does not depend on it.

    Returns:
        Shape (Q,), in [0, 1].

    Raises:
        ValueError: If shapes or lengths disagree, a row is zero, a value is not finite, or a query's label is not in the
            gallery.
    """
    check_chunk_size(chunk_size)
    queries, gallery = unit_rows(query_embeds, "query_embeds"), unit_rows(gallery_embeds, "gallery_embeds")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query_embeds has shape {tuple(queries.shape)} and gallery_embeds {tuple(gallery.shape)}; expected one D in (Q, D) "
            "and (G, D)"
        )
    query_labels, gallery_labels = _label_list(query_labels), _label_list(gallery_labels)
    for name, given, rows in (("query", query_labels, queries), ("gallery", gallery_labels, gallery)):
        if len(given) != len(rows):
            raise ValueError(f"{len(given)} {name}_labels for {len(rows)} rows of {name}_embeds; expected one label a row")
    _check_present(query_labels, gallery_labels)

    ids = torch.from_numpy(number_values([*query_labels, *gallery_labels])).to(queries.device)
    query_ids, gallery_ids = ids[: len(queries)], ids[len(queries) :]
    size = chunk_size or max(1, _SORTED_AT_ONCE // len(gallery))
    precisions = [
        _average_precisions(scores, query_ids[start : start + len(scores), None] == gallery_ids)
        for start, scores in score_chunks(queries, gallery, size)
    ]
    return torch.cat(precisions).cpu().numpy()


def label_chance(query_labels: Sequence[Hashable], gallery_labels: Sequence[Hashable]) -> float:
    """`label_map` of a model that scores all items alike, in percent, in closed form.

    With p positives among G items, the one at place i of a random order has (i - 1)(p - 1)/(G - 1) others before it on average.

    Raises:
        ValueError: If there are no queries, or a query's label is not in the gallery.
    """
    query_labels, gallery_labels = _label_list(query_labels), _label_list(gallery_labels)
    if not query_labels:
        raise ValueError("there are no query labels")
    _check_present(query_labels, gallery_labels)
    size = len(gallery_labels)
    harmonic = math.fsum(1 / place for place in range(1, size + 1))

    def expected(positives: int) -> float:
        slope = (positives - 1) / max(size - 1, 1)
        return (harmonic * (1 - slope) + size * slope) / size

    support = {label: gallery_labels.count(label) for label in set(query_labels)}
    return percent(np.array([expected(support[label]) for label in query_labels]))


def _average_precisions(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Expected average precision over random orders of tied items; scores and positive of shape (Q, G). Shape (Q,)."""
    ranked, order = scores.sort(dim=1, descending=True)
    found = positive.gather(1, order).cumsum(1)
    position = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    # First and last position of the block of equal scores that each position lies in.
    changes = ranked[:, 1:] != ranked[:, :-1]
    edge = torch.ones_like(changes[:, :1]) if changes.shape[1] else torch.ones_like(positive)
    starts, ends = torch.cat([edge, changes], dim=1), torch.cat([changes, edge], dim=1)
    first = torch.where(starts, position, 0).cummax(1).values
    last = torch.where(ends, position, scores.shape[1]).flip(1).cummin(1).values.flip(1)

    size = (last - first + 1).double()
    before = torch.where(first > 0, found.gather(1, (first - 1).clamp_min(0)), 0)
    in_block = (found.gather(1, last) - before).double()
    # A positive at `position` has these many positives ahead of it in its own block of equal scores, on average.
    ahead = (position - first) * (in_block - 1) / (size - 1).clamp_min(1)
    precision = (before + 1 + ahead) / (position + 1)
    return (in_block / size * precision).sum(dim=1) / found[:, -1]


def _check_present(query_labels: list[Hashable], gallery_labels: list[Hashable]) -> None:
    absent = sorted({str(label) for label in set(query_labels) - set(gallery_labels)})
    if absent:
        raise ValueError(f"no gallery item has the query labels {absent}; leave those queries out")


def _label_list(labels: Any) -> list[Hashable]:
    return labels.tolist() if hasattr(labels, "tolist") else list(labels)
