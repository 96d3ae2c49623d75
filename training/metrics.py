"""How retrieval and classification are scored. Equal scores count as their expectation under random order.

A positive tied with negatives is neither found nor missed: it is found with the probability that a shuffle of the tied
items would give. So a model that embeds everything alike scores exactly at chance, and no order of the gallery helps it.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np


RECALL_AT = (1, 2, 3, 5, 10)

#: Which items are positives of some rows: row indices, shape (R,) → booleans, shape (R, N).
Positives = Callable[[np.ndarray], np.ndarray]


def retrieval_metrics(
    text_embeds: Any,
    motion_embeds: Any,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    chunk_size: int = 1024,
) -> dict[str, dict[str, float]]:
    """Recall and rank of text-to-motion and motion-to-text retrieval by cosine similarity (paper section 4.2).

    Args:
        text_embeds: Shape (N, D), numpy array or torch tensor, any scale.
        motion_embeds: Shape (N, D); row i belongs to row i of `text_embeds`.
        captions: The N captions. `"caption_equal"` needs them.
        protocol: Which items count as found. `"strict"`: item i alone is the positive of row i. `"caption_equal"`: so is
            every item whose caption is the same string, and the best of them counts (the published protocol).
        chunk_size: Rows scored at a time; memory grows with `chunk_size` times N. The result does not depend on it.

    Returns:
        `{"t2m": …, "m2t": …}`, text to motion and motion to text, each with `"R@1"`, `"R@2"`, `"R@3"`, `"R@5"`, `"R@10"`
        in percent, and `"MedR"` and `"MeanR"`, median and mean of the ranks, which count from 1.

    Raises:
        ValueError: If the protocol is unknown, shapes or lengths disagree, a row is zero, or a value is not finite.
    """
    texts, motions = _checked_pairs(text_embeds, motion_embeds, chunk_size)
    positives = _positives(len(texts), captions, protocol)
    return {
        "t2m": _summary(*_counts(texts, motions, positives, chunk_size)),
        "m2t": _summary(*_counts(motions, texts, positives, chunk_size)),
    }


def retrieval_hits(
    text_embeds: Any,
    motion_embeds: Any,
    k: int,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    chunk_size: int = 1024,
) -> dict[str, np.ndarray]:
    """For each query the chance that a positive is among the first k, of which R@k is the mean: for paired comparisons.

    Args:
        k: Length of the list, at least 1.
        text_embeds, motion_embeds, captions, protocol, chunk_size: As in `retrieval_metrics`, which names the errors too.

    Returns:
        `"t2m"` and `"m2t"`, each of shape (N,), in [0, 1]: 0 or 1 but for ties.
    """
    texts, motions = _checked_pairs(text_embeds, motion_embeds, chunk_size)
    positives = _positives(len(texts), captions, protocol)
    return {
        "t2m": hit_probability(k, *_counts(texts, motions, positives, chunk_size)),
        "m2t": hit_probability(k, *_counts(motions, texts, positives, chunk_size)),
    }


def chance_level(captions_or_num: Sequence[str] | int, protocol: str = "strict") -> dict[str, dict[str, float]]:
    """What `retrieval_metrics` gives a model that scores all items alike, in closed form.

    Args:
        captions_or_num: The N captions, or N itself where the protocol needs no captions.
        protocol: See `retrieval_metrics`.

    Returns:
        The same layout as `retrieval_metrics`; both directions are equal.

    Raises:
        ValueError: If the protocol is unknown or needs captions that are not given, or there are no items.
    """
    if isinstance(captions_or_num, (int, np.integer)):
        num, captions = int(captions_or_num), None
    else:
        num, captions = len(captions_or_num), captions_or_num
    if num < 1:
        raise ValueError(f"got {num} items; chance needs at least one")
    positives_of = _positives(num, captions, protocol)
    positives = np.array([positives_of(np.array([row])).sum() for row in range(num)])
    chance = _summary(np.zeros(num, dtype=int), num - positives, positives)
    return {"t2m": chance, "m2t": dict(chance)}


def classification_metrics(scores: Any, labels: Any, topk: Sequence[int] = (1, 5)) -> dict[str, Any]:
    """Accuracy of classification, zero-shot as in the paper's BABEL experiment (section 5.2) or by a trained classifier.

    Args:
        scores: Shape (N, C), numpy array or torch tensor; higher is better.
        labels: Shape (N,), integers in 0..C-1.
        topk: The k of each reported accuracy.

    Returns:
        `"top<k>"` for each k, in percent; `"macro_top1"`, the mean over the classes that occur in `labels` of the top-1
        accuracy within the class, in percent; `"num_classes"` C; `"num"` N; and `"chance"`, a dict of the accuracies that
        equal scores for every class would give.

    Raises:
        ValueError: If shapes disagree, a label is no integer in 0..C-1, a score is NaN, or a k is below 1.
    """
    scores, labels = _matrix(scores, "scores", "(N, C)"), _to_numpy(labels)
    num, num_classes = scores.shape
    _check_labels(labels, num, num_classes)
    if any(k < 1 for k in topk):
        raise ValueError(f"topk is {tuple(topk)}; every k must be at least 1")
    own = scores[np.arange(num), labels][:, None]
    above, tied = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1

    hits = hit_probability(1, above, tied, np.ones(num, dtype=int))
    support = np.bincount(labels, minlength=num_classes)
    per_class = np.bincount(labels, weights=hits, minlength=num_classes)[support > 0] / support[support > 0]
    top = {f"top{k}": _percent(hit_probability(k, above, tied, np.ones(num, dtype=int))) for k in topk}
    chance = {f"top{k}": 100.0 * min(k / num_classes, 1.0) for k in topk}
    return {
        **top,
        "macro_top1": _percent(per_class),
        "num_classes": num_classes,
        "num": num,
        "chance": {**chance, "macro_top1": 100.0 / num_classes},
    }


def majority_level(labels: Any, num_classes: int) -> dict[str, float]:
    """Accuracy of always answering the class that occurs most often in `labels` (N,), in percent: `"top1"`, `"macro_top1"`.

    Raises:
        ValueError: If a label is no integer in 0..num_classes-1.
    """
    labels = _to_numpy(labels)
    _check_labels(labels, len(labels), num_classes)
    support = np.bincount(labels, minlength=num_classes)
    return {"top1": float(100.0 * support.max() / len(labels)), "macro_top1": float(100.0 / np.count_nonzero(support))}


def confused_pairs(scores: Any, labels: Any, classes: Sequence[str], num: int = 10) -> list[dict[str, Any]]:
    """The pairs of classes that are mistaken for each other most often.

    Args:
        scores: Shape (N, C); the highest of a row is the answer, the first of equals.
        labels: Shape (N,), integers in 0..C-1.
        classes: Names of the C classes.
        num: How many pairs at most.

    Returns:
        `{"label", "answer", "num", "of"}`, most frequent first: `num` of the `of` motions of class `label` were taken for
        `answer`.

    Raises:
        ValueError: If shapes disagree, a label is no integer in 0..C-1, or a score is NaN.
    """
    scores, labels = _matrix(scores, "scores", "(N, C)"), _to_numpy(labels)
    _check_labels(labels, *scores.shape)
    if len(classes) != scores.shape[1]:
        raise ValueError(f"{len(classes)} classes for scores of shape {scores.shape}; expected one name a column")
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[: min(num, np.count_nonzero(counts))]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        {"label": classes[row], "answer": classes[column], "num": int(counts[row, column]), "of": int(support[row])}
        for row, column in pairs
    ]


def label_map(
    query_embeds: Any,
    gallery_embeds: Any,
    query_labels: Sequence[Hashable],
    gallery_labels: Sequence[Hashable],
    chunk_size: int = 1024,
) -> float:
    """Mean over the queries of `label_precisions`, in percent; arguments and errors as there."""
    return _percent(label_precisions(query_embeds, gallery_embeds, query_labels, gallery_labels, chunk_size))


def label_precisions(
    query_embeds: Any,
    gallery_embeds: Any,
    query_labels: Sequence[Hashable],
    gallery_labels: Sequence[Hashable],
    chunk_size: int = 1024,
) -> np.ndarray:
    """Average precision of retrieval by cosine similarity for each query, where positives share the query's label.

    Tied items count as the expectation under random order (McSherry and Najork, ECIR 2008).

    Args:
        query_embeds: Shape (Q, D), numpy array or torch tensor, any scale.
        gallery_embeds: Shape (G, D).
        query_labels: Q labels: strings, integers, or tuples such as (action, style).
        gallery_labels: G labels.
        chunk_size: Queries scored at a time; memory grows with `chunk_size` times G.

    Returns:
        Shape (Q,), in [0, 1].

    Raises:
        ValueError: If shapes or lengths disagree, a row is zero, a value is not finite, or a query's label is not in the
            gallery.
    """
    _check_chunk_size(chunk_size)
    queries, gallery = _unit_rows(query_embeds, "query_embeds"), _unit_rows(gallery_embeds, "gallery_embeds")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query_embeds has shape {queries.shape} and gallery_embeds {gallery.shape}; expected one D in (Q, D) and (G, D)"
        )
    query_labels, gallery_labels = _label_list(query_labels), _label_list(gallery_labels)
    for name, given, rows in (("query", query_labels, queries), ("gallery", gallery_labels, gallery)):
        if len(given) != len(rows):
            raise ValueError(f"{len(given)} {name}_labels for {len(rows)} rows of {name}_embeds; expected one label a row")
    absent = sorted({str(label) for label in set(query_labels) - set(gallery_labels)})
    if absent:
        raise ValueError(f"no gallery item has the query labels {absent}; leave those queries out")

    ids = _ids([*query_labels, *gallery_labels])
    query_ids, gallery_ids = ids[: len(queries)], ids[len(queries) :]
    precisions = [
        _average_precision(row, gallery_ids == label)
        for start, scores in _score_chunks(queries, gallery, chunk_size)
        for row, label in zip(scores, query_ids[start : start + len(scores)], strict=True)
    ]
    return np.array(precisions)


def hit_probability(k: int, above: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Chance that a random order of tied items puts a positive among the first k.

    With g negatives above and t tied with p positives: 0 if k <= g, else `1 - C(t, k-g) / C(t+p, k-g)`. The ratio is taken
    as a product of k - g fractions, which neither overflows nor cancels.

    Args:
        k: Length of the list, at least 1.
        above: Negatives strictly above the best positive, g. Shape (N,), integers.
        tied: Negatives tied with it, t. Shape (N,).
        positives: Positives tied there, itself included, p >= 1. Shape (N,).

    Returns:
        Shape (N,), in [0, 1].
    """
    miss = np.ones(len(above))
    for drawn in range(k):
        left = np.maximum(tied - drawn, 0)
        miss *= np.where(drawn < k - above, left / (left + positives), 1.0)
    return 1.0 - miss


def _strict(num: int, captions: Sequence[str] | None) -> Positives:
    return lambda rows: rows[:, None] == np.arange(num)


def _caption_equal(num: int, captions: Sequence[str] | None) -> Positives:
    if captions is None:
        raise ValueError("protocol 'caption_equal' compares captions, but captions is None; pass the N captions")
    ids = _ids(captions)
    return lambda rows: ids[rows, None] == ids


#: Retrieval protocols by name: each takes N and the captions, or `None`, and returns the rule for its positives.
PROTOCOLS: dict[str, Callable[[int, Sequence[str] | None], Positives]] = {"strict": _strict, "caption_equal": _caption_equal}


def _positives(num: int, captions: Sequence[str] | None, protocol: str) -> Positives:
    """The rule of a protocol for N items, after checking its name and the captions."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if isinstance(captions, str):
        raise ValueError(f"captions is one string, {captions!r}; expected a list of {num} strings")
    if captions is not None and len(captions) != num:
        raise ValueError(f"{len(captions)} captions for {num} items; expected one caption an item")
    return PROTOCOLS[protocol](num, captions)


def _ids(values: Sequence[Hashable]) -> np.ndarray:
    """The same small integer for equal values. Shape (N,)."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values])


def _checked_pairs(text_embeds: Any, motion_embeds: Any, chunk_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as unit rows (N, D)."""
    _check_chunk_size(chunk_size)
    texts, motions = _unit_rows(text_embeds, "text_embeds"), _unit_rows(motion_embeds, "motion_embeds")
    if texts.shape != motions.shape:
        raise ValueError(
            f"text_embeds has shape {texts.shape} and motion_embeds {motions.shape}; expected one (N, D) for both, row i of "
            "one belonging to row i of the other"
        )
    return texts, motions


def _counts(queries: np.ndarray, gallery: np.ndarray, positives: Positives, chunk_size: int) -> np.ndarray:
    """The counts g, t and p of each query (see `hit_probability`), shape (3, N)."""
    counts = []
    for start, scores in _score_chunks(queries, gallery, chunk_size):
        positive = positives(np.arange(start, start + len(scores)))
        best = np.where(positive, scores, -np.inf).max(axis=1, keepdims=True)
        tied = scores == best
        counts.append([((scores > best) & ~positive).sum(1), (tied & ~positive).sum(1), (tied & positive).sum(1)])
    return np.concatenate(counts, axis=1)


def _summary(above: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> dict[str, float]:
    """Recalls and ranks from the counts g, t and p of each query (see `hit_probability`), each of shape (N,)."""
    ranks = above + 1 + tied / (positives + 1)
    recalls = {f"R@{k}": _percent(hit_probability(k, above, tied, positives)) for k in RECALL_AT}
    return {**recalls, "MedR": float(np.median(ranks)), "MeanR": float(ranks.mean())}


def _score_chunks(queries: np.ndarray, gallery: np.ndarray, chunk_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Cosines of some queries at a time: their first index and scores of shape (chunk, G).

    A matrix product may round the columns of two equal gallery rows differently, which would break their tie. Each distinct
    row is therefore scored once and its score copied.
    """
    distinct, copy_of = np.unique(gallery, axis=0, return_inverse=True)
    for start in range(0, len(queries), chunk_size):
        yield start, (queries[start : start + chunk_size] @ distinct.T)[:, copy_of.reshape(-1)]


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Expected average precision over random orders of tied items; scores and positive of shape (G,)."""
    order = np.argsort(-scores, kind="stable")
    ranked, relevant = scores[order], positive[order]
    position = np.arange(len(ranked))
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    block = np.cumsum(np.append(True, ranked[1:] != ranked[:-1])) - 1

    size = np.diff(np.append(starts, len(ranked)))[block]
    found = np.add.reduceat(relevant.astype(int), starts)
    before = (np.cumsum(found) - found)[block]
    found = found[block]
    # A positive at `position` has these many positives ahead of it in its own block of equal scores, on average.
    ahead = (position - starts[block]) * (found - 1) / np.maximum(size - 1, 1)
    precision = (before + 1 + ahead) / (position + 1)
    return float((found / size * precision).sum() / positive.sum())


def _unit_rows(embeds: Any, name: str) -> np.ndarray:
    """Rows of length one, shape (N, D), float64."""
    rows = _matrix(embeds, name, "(N, D)")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds infinite values; expected finite numbers")
    # Dividing by the largest entry first keeps the squares of very large or very small rows in range.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        raise ValueError(f"{name} has {len(zero)} zero rows, the first at index {zero[0]}; a zero row has no direction")
    rows = rows / largest
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _matrix(values: Any, name: str, expected: str) -> np.ndarray:
    array = _to_numpy(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {expected} with at least one row and one column")
    array = array.astype(np.float64)
    if np.isnan(array).any():
        rows = np.flatnonzero(np.isnan(array).any(axis=1))
        raise ValueError(f"{name} holds NaN in {len(rows)} rows, the first at index {rows[0]}; expected numbers")
    return array


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a torch tensor, perhaps on a device, in bfloat16, or with a gradient
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
        return values.numpy()
    return np.asarray(values)


def _check_labels(labels: np.ndarray, num: int, num_classes: int) -> None:
    if labels.shape != (num,):
        raise ValueError(f"labels has shape {labels.shape} for {num} rows of scores; expected ({num},)")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels has dtype {labels.dtype}; expected integers, the column of each row's class")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels lie in {labels.min()}..{labels.max()}; scores has columns 0..{num_classes - 1}")


def _label_list(labels: Any) -> list[Hashable]:
    return labels.tolist() if hasattr(labels, "tolist") else list(labels)


def _check_chunk_size(chunk_size: int) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; expected at least 1")


def _percent(fractions: np.ndarray) -> float:
    return float(100.0 * np.mean(fractions))
