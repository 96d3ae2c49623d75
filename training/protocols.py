"""Retrieval protocols: which pairs make up a gallery, and which items of it are right for a query."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .scoring import number_values, score_chunks, unit_rows


#: What each protocol counts as right.
PROTOCOLS = {
    "strict": "only a motion's own caption, and only a caption's own motion, is right",
    "caption_equal": "every motion with an equal caption is right, the best rank counts (the published protocol)",
    "threshold": "every motion whose caption is alike, with a cosine of the sentence embeddings above 0.90, is right",
    "nsim": "strict, among up to 100 pairs whose captions are as unlike each other as possible",
    "small": "in batches of 32 pairs, every motion with an equal caption is right; averaged over the batches",
}
SIMILAR = 0.90  # TMR (Petrovich et al., ICCV 2023) writes 0.95, on a scale from 0 to 1
DISSIMILAR_SIZE = 100  # TMR's subset has as many pairs
SMALL_BATCH = 32  # paper section 4.2
SMALL_ORDERS = 10
_NEEDS: dict[str, tuple[str, ...]] = {
    "caption_equal": ("captions",),
    "threshold": ("sentence_embeds",),
    "nsim": ("captions", "sentence_embeds"),
    "small": ("captions",),
}


class EqualIds:
    """The positives of an item are the items with its id; ids of shape (N,), integers."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = torch.from_numpy(ids)

    def mask(self, start: int, stop: int, device: torch.device) -> torch.Tensor:
        """Whether each of the N items is a positive of the items from `start` to `stop`. Shape (stop - start, N), booleans."""
        self.ids = self.ids.to(device)
        return self.ids[start:stop, None] == self.ids

    def counts(self) -> np.ndarray:
        """How many positives each item has, itself included. Shape (N,)."""
        ids = self.ids.cpu().numpy()
        return np.bincount(ids)[ids]


class SimilarSentences:
    """The positives of an item are itself and the items with a cosine above `SIMILAR`; unit rows of shape (N, E)."""

    def __init__(self, sentences: torch.Tensor) -> None:
        self.sentences = sentences

    def mask(self, start: int, stop: int, device: torch.device) -> torch.Tensor:
        """As `EqualIds.mask`."""
        self.sentences = self.sentences.to(device)
        positive = self.sentences[start:stop] @ self.sentences.T > SIMILAR
        rows = torch.arange(stop - start, device=device)
        positive[rows, rows + start] = True  # whatever the rounding of its length
        return positive

    def counts(self) -> np.ndarray:
        """As `EqualIds.counts`."""
        found = [
            (scores > SIMILAR).sum(dim=1).cpu().numpy() for _, scores in score_chunks(self.sentences, self.sentences, None)
        ]
        return np.maximum(np.concatenate(found), 1)


Positives = EqualIds | SimilarSentences


@dataclass(frozen=True)
class Gallery:
    """Some of the N pairs, judged by themselves.

    Attributes:
        rows: Which pairs, shape (n,).
        positives: Which of these n items are right for each of them.
    """

    rows: np.ndarray
    positives: Positives


def make_galleries(
    num: int,
    captions: Sequence[str] | None = None,
    protocol: str = "strict",
    sentence_embeds: Any = None,
    ids: Sequence[str] | None = None,
) -> list[Gallery]:
    """What a protocol makes of N pairs: one gallery, or of `"small"` many.

    Args:
        num: N.
        captions, protocol, sentence_embeds, ids: See `metrics.retrieval_metrics`.

    Raises:
        ValueError: If the protocol is unknown, needs what is not given, lengths disagree, or there are no pairs.
    """
    if num < 1:
        raise ValueError(f"got {num} items; retrieval and its chance need at least one")
    _check_given(num, protocol, captions, sentence_embeds, ids)
    everything = np.arange(num)
    if protocol == "strict":
        return [Gallery(everything, EqualIds(everything))]
    if protocol == "threshold":
        return [Gallery(everything, SimilarSentences(_sentences(sentence_embeds, num)))]
    assert captions is not None
    if protocol == "caption_equal":
        return [Gallery(everything, EqualIds(number_values(captions)))]
    if protocol == "nsim":
        rows = dissimilar_rows(captions, sentence_embeds, ids=ids)
        return [Gallery(rows, EqualIds(np.arange(len(rows))))]
    same = number_values(captions)
    return [Gallery(rows, EqualIds(same[rows])) for rows in draw_batches(num, ids)]


def describe_galleries(
    num: int, captions: Sequence[str], protocol: str, sentence_embeds: Any = None, ids: Sequence[str] | None = None
) -> dict[str, Any]:
    """What a report says of a protocol; arguments and errors as `make_galleries`.

    Returns:
        `"galleries"`, how many there are; `"num"`, the pairs in each; `"distinct_captions"` in each, on average; `"left_over"`,
        pairs that are in none, of `"small"` those of each order that fill no batch.
    """
    made = make_galleries(num, captions, protocol, sentence_embeds, ids)
    size = len(made[0].rows)
    distinct = float(np.mean([len({captions[row] for row in gallery.rows}) for gallery in made]))
    return {
        "galleries": len(made),
        "num": size,
        "distinct_captions": int(distinct) if distinct.is_integer() else distinct,
        "left_over": num % size if protocol == "small" else num - size,
    }


def dissimilar_rows(
    captions: Sequence[str], sentence_embeds: Any, size: int = DISSIMILAR_SIZE, ids: Sequence[str] | None = None
) -> np.ndarray:
    """Pairs whose captions are unlike each other, for the protocol `"nsim"`.

    TMR (Petrovich et al., ICCV 2023) reports on such a subset without publishing how it is selected, so this selection is ours,
    and numbers on it do not compare with others': begin with the caption that is first in the alphabet, then always take the
    one whose closest neighbour among those taken is farthest (Gonzalez, 1985), of equals the first in the alphabet. Of pairs
    with one caption that with the first id is taken, or without ids the first given. The model has no say in it.

    Args:
        captions: The N captions.
        sentence_embeds: Shape (N, E), of any scale; equal for equal captions.
        size: How many to take; if there are fewer distinct captions, all of them, with a warning.
        ids: The N ids.

    Returns:
        Row numbers, ascending, shape (n,).

    Raises:
        ValueError: If lengths disagree, a row is zero or a value is not finite.
    """
    _check_given(len(captions), "nsim", captions, sentence_embeds, ids)
    first: dict[str, int] = {}
    for row in _canonical_order(len(captions), ids):
        first.setdefault(captions[row], row)
    candidates = np.array([first[caption] for caption in sorted(first)])
    if len(candidates) < size:
        message = f"{len(candidates)} distinct captions are fewer than the {size} of protocol 'nsim'; it takes all of them"
        warnings.warn(message, stacklevel=2)
        return np.sort(candidates)
    sentences = _sentences(sentence_embeds, len(captions))[torch.from_numpy(candidates)]
    taken = [0]
    closest = sentences @ sentences[0]
    for _ in range(size - 1):
        closest[taken[-1]] = torch.inf
        taken.append(int(closest.cpu().numpy().argmin()))  # of equals the first
        closest = torch.maximum(closest, sentences @ sentences[taken[-1]])
    return np.sort(candidates[taken])


def draw_batches(num: int, ids: Sequence[str] | None = None, seed: int = 0) -> list[np.ndarray]:
    """Rows of the whole batches of 32 of ten random orders of N pairs; the pairs of an order that fill no batch are left out.

    The orders start from that of the ids, or without ids from the one given. Fewer than 32 pairs are one batch, with a warning.
    """
    order = np.array(_canonical_order(num, ids))
    if num < SMALL_BATCH:
        warnings.warn(f"{num} pairs do not fill a batch of {SMALL_BATCH}; they are judged as one batch", stacklevel=2)
        return [order]
    generator = np.random.default_rng(seed)
    whole = num - num % SMALL_BATCH
    return [
        batch for _ in range(SMALL_ORDERS) for batch in order[generator.permutation(num)[:whole]].reshape(-1, SMALL_BATCH)
    ]


def _canonical_order(num: int, ids: Sequence[str] | None) -> list[int]:
    return list(range(num)) if ids is None else sorted(range(num), key=lambda row: ids[row])


def _sentences(sentence_embeds: Any, num: int) -> torch.Tensor:
    sentences = unit_rows(sentence_embeds, "sentence_embeds")
    if len(sentences) != num:
        raise ValueError(f"{len(sentences)} rows of sentence_embeds for {num} items; expected one row an item")
    return sentences


def _check_given(
    num: int, protocol: str, captions: Sequence[str] | None, sentence_embeds: Any, ids: Sequence[str] | None
) -> None:
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if isinstance(captions, str):
        raise ValueError(f"captions is one string, {captions!r}; expected a list of {num} strings")
    for name, values in (("caption", captions), ("id", ids)):
        if values is not None and len(values) != num:
            raise ValueError(f"{len(values)} {name}s for {num} items; expected one {name} an item")
    for name in _NEEDS.get(protocol, ()):
        if name == "captions" and captions is None:
            raise ValueError(f"protocol {protocol!r} compares captions, but captions is None; pass the N captions")
        if name == "sentence_embeds" and sentence_embeds is None:
            raise ValueError(
                f"protocol {protocol!r} compares sentence embeddings, but sentence_embeds is None; pass an (N, E) array of "
                "embeddings of the captions, by a sentence encoder that is not the model under test"
            )
