"""Scores of motion generators by a MotionPatches checkpoint, as CLIPScore and FID judge images.

The metrics are those of Guo et al., “Generating Diverse and Natural 3D Human Motions from Text” (CVPR 2022), which names them
R-precision, multimodal distance, FID, diversity and multimodality, on the unit embeddings of this package; beside them the
motion–text score, a cosine. An embedding space is a ruler: numbers of two checkpoints do not compare, and none of them compares
with numbers by the evaluator that came with that paper.
"""

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.linalg import eigh, eigvalsh

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .evaluation import embed_motions, embed_texts
from .hits import hit_probability, percent
from .inference import Gallery
from .metrics import retrieval_counts
from .protocols import draw_batches
from .scoring import matrix, number_values


NOT_COMPARABLE = "scores compare only with others by the same checkpoint and processor, on the same captions and reference"
PRECISION_AT = (1, 2, 3)
DIVERSITY_PAIRS = 300
MULTIMODALITY_PAIRS = 10


def generation_metrics(
    generated_embeds: Any,
    text_embeds: Any = None,
    reference_embeds: Any = None,
    captions: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All scores for which there is what they need.

    Args:
        generated_embeds: Embeddings of the generated motions, shape (N, D), numpy array or torch tensor.
        text_embeds: Of the text that each was made from, shape (N, D): for score, R-precision and distance to the text.
        reference_embeds: Of real motions, shape (M, D): for FID, and the diversity to compare with.
        captions: The N texts themselves: for multimodality, where several motions were made from one.
        seed: Of all draws.

    Returns:
        `"num"`; `"diversity"`; with texts `"motion_text_score"`, `"r_precision"` and `"multimodal_distance"`; with a reference
        `"num_reference"`, `"fid"` and `"reference_diversity"`; where texts occur twice `"multimodality"`; and `"note"`, that
        scores of different checkpoints do not compare.

    Raises:
        ValueError: If shapes or lengths disagree, a row is zero, or a value is not finite.
    """
    generated = _embeds(generated_embeds, "generated_embeds")
    found: dict[str, Any] = {"num": len(generated)}
    if text_embeds is not None:
        found["motion_text_score"] = motion_text_score(text_embeds, generated)
        found["r_precision"] = r_precision(text_embeds, generated, seed)
        found["multimodal_distance"] = multimodal_distance(text_embeds, generated)
    if reference_embeds is not None:
        reference = _embeds(reference_embeds, "reference_embeds")
        found["num_reference"] = len(reference)
        found["fid"] = frechet_distance(generated, reference)
        found["reference_diversity"] = diversity(reference, seed=seed)
    found["diversity"] = diversity(generated, seed=seed)
    if captions is not None and len(set(captions)) < len(captions):
        found["multimodality"] = multimodality(generated, captions, seed=seed)
    return {**found, "note": NOT_COMPARABLE}


def score_motions(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    generated: Gallery,
    reference: Gallery | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """`generation_metrics` of motions, each with the text that it was made from as its first caption.

    Args:
        model, processor: The checkpoint that judges.
        generated: Of `inference.load_gallery`. Without captions, as motion files are, only what needs no text is scored.
        reference: Real motions.
        seed: Of all draws.

    Raises:
        ValueError: If some of the generated motions have a caption and some have none.
    """
    without = sum(not texts for texts in generated.captions)
    if 0 < without < len(generated.captions):
        raise ValueError(f"{without} of {len(generated.captions)} generated motions have no caption; caption all or none")
    captions = None if without else [texts[0] for texts in generated.captions]
    texts = None if captions is None else embed_texts(model, processor, captions)
    real = None if reference is None else embed_motions(model, processor, reference.motions, progress=True)
    motions = embed_motions(model, processor, generated.motions, progress=True)
    return generation_metrics(motions, texts, real, captions, seed)


def print_scores(scores: Mapping[str, Any], console: Console) -> None:
    """A table of `generation_metrics`, a line each, beside what the reference or chance has."""
    table = Table("score", "generated", "beside")
    precision = scores.get("r_precision", {})
    for key, value in precision.items():
        if key.startswith("top"):
            beside = f"chance {precision['chance'][key]:.1f}"
            table.add_row(f"R-precision {key} of {precision['pool']}, %", f"{value:.1f}", beside)
    names = ("motion_text_score", "multimodal_distance", "fid", "diversity", "multimodality")
    for name in names:
        if name in scores:
            beside = f"reference {scores['reference_diversity']:.3f}" if f"reference_{name}" in scores else ""
            table.add_row(name.replace("_", " "), f"{scores[name]:.3f}", beside)
    console.print(table)
    left = [name.replace("_", " ") for name in names if name not in scores]
    if left:
        console.print(f"not scored, for lack of captions, of a reference, or of texts with two motions: {', '.join(left)}")
    console.print(scores["note"], highlight=False)


def motion_text_score(text_embeds: Any, motion_embeds: Any) -> float:
    """Mean cosine of each motion with its own text, in [-1, 1]; arguments and errors as `multimodal_distance`.

    CLIPScore (Hessel et al., EMNLP 2021) without its rescaling and its cut at zero.
    """
    texts, motions = _pairs(text_embeds, motion_embeds)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(motions, axis=1)
    if not lengths.all():
        raise ValueError(f"{np.count_nonzero(lengths == 0)} pairs hold a zero row, which has no direction")
    return float(np.mean((texts * motions).sum(axis=1) / lengths))


def multimodal_distance(text_embeds: Any, motion_embeds: Any) -> float:
    """Mean Euclidean distance of each motion to its own text: (1/N) Σ ‖m_i − t_i‖; smaller is better.

    Args:
        text_embeds: Shape (N, D), numpy array or torch tensor.
        motion_embeds: Shape (N, D); row i was made from text i.

    Raises:
        ValueError: If shapes disagree or a value is not finite.
    """
    texts, motions = _pairs(text_embeds, motion_embeds)
    return float(np.linalg.norm(motions - texts, axis=1).mean())


def r_precision(text_embeds: Any, motion_embeds: Any, seed: int = 0, top: Sequence[int] = PRECISION_AT) -> dict[str, Any]:
    """How often a motion's own text is among the k nearest of a pool of 32: its own and 31 others.

    Guo et al. draw the 31 at random. Here the pools are the batches of the protocol `"small"` (`protocols.draw_batches`), so
    that each text is in as many pools as any other; only a motion's own text is right, equal scores count as their expectation.
    On unit rows the order by distance is that by cosine.

    Args:
        text_embeds, motion_embeds: As in `multimodal_distance`; of any scale.
        seed: Of the pools.
        top: The k of each score.

    Returns:
        `"top<k>"` in percent for each k, `"pool"`, the size of a pool (32, or N if there are fewer, with a warning),
        `"left_over"`, motions of each of the ten orders that fill no pool, and `"chance"`, a dict of the scores by chance.

    Raises:
        ValueError: As `metrics.retrieval_metrics`.
    """
    texts, motions = _pairs(text_embeds, motion_embeds)
    pools = draw_batches(len(texts), seed=seed)
    size = len(pools[0])
    counts = np.concatenate([retrieval_counts(texts[rows], motions[rows])["m2t"] for rows in pools], axis=1)
    return {
        **{f"top{k}": percent(hit_probability(k, *counts)) for k in top},
        "pool": size,
        "left_over": len(texts) % size,
        "chance": {f"top{k}": 100.0 * min(k / size, 1.0) for k in top},
    }


def frechet_distance(embeds: Any, reference_embeds: Any) -> float:
    """FID: the squared Fréchet distance of two Gaussians with the means and covariances of the embeddings; 0 for the same.

    ‖μ₁ − μ₂‖² + Tr(C₁ + C₂ − 2 (C₁ C₂)^½) (Dowson and Landau 1982; Heusel et al. 2017). The trace of the root is that of
    (C₁^½ C₂ C₁^½)^½, which is symmetric: its eigenvalues are real, whatever the rank.

    Args:
        embeds: Shape (N, D), numpy array or torch tensor, N >= 2.
        reference_embeds: Shape (M, D), M >= 2.

    Warns:
        UserWarning: If there are not more rows than dimensions: the covariance is then singular and the distance too large.

    Raises:
        ValueError: If D differs, there are fewer than two rows, or a value is not finite.
    """
    first, second = _embeds(embeds, "embeds"), _embeds(reference_embeds, "reference_embeds")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"embeds has shape {first.shape} and reference_embeds {second.shape}; expected one D in (N, D), (M, D)"
        )
    for name, rows in (("embeds", first), ("reference_embeds", second)):
        if len(rows) < 2:
            raise ValueError(f"{name} has {len(rows)} row; a covariance needs at least two")
        if len(rows) <= rows.shape[1]:
            warnings.warn(
                f"FID of {len(rows)} rows of {name} in {rows.shape[1]} dimensions: the covariance is singular and the distance "
                "too large; compare it only with others of as many motions",
                stacklevel=2,
            )
    means = first.mean(axis=0) - second.mean(axis=0)
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second)]
    values, vectors = eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    trace_of_root = np.sqrt(np.maximum(eigvalsh(root @ covariances[1] @ root), 0)).sum()
    distance = means @ means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * trace_of_root
    return max(float(distance), 0.0)  # rounding alone makes it negative


def diversity(embeds: Any, num_pairs: int = DIVERSITY_PAIRS, seed: int = 0) -> float:
    """Mean distance of S motions to S others, two subsets drawn without replacement: (1/S) Σ ‖v_i − v'_i‖.

    Near that of real motions is better; it is no score by itself.

    Args:
        embeds: Shape (N, D), numpy array or torch tensor.
        num_pairs: S; if there are fewer motions, as many as there are, with a warning.
        seed: Of the draws.

    Raises:
        ValueError: If there is no row or a value is not finite.
    """
    rows = _embeds(embeds, "embeds")
    if len(rows) < num_pairs:
        warnings.warn(
            f"diversity is defined on {num_pairs} pairs; there are {len(rows)} motions, so it is of as many", stacklevel=2
        )
    return float(_paired_distances(rows, min(num_pairs, len(rows)), np.random.default_rng(seed)).mean())


def multimodality(embeds: Any, captions: Sequence[Hashable], num_pairs: int = MULTIMODALITY_PAIRS, seed: int = 0) -> float:
    """How much the motions of one text differ: the diversity of S pairs within each text, averaged over texts.

    (1/(C·S)) Σ_c Σ_i ‖v_{c,i} − v'_{c,i}‖ over C texts.

    Args:
        embeds: Shape (N, D), numpy array or torch tensor.
        captions: What each motion was made from, N values; motions of equal ones belong together.
        num_pairs: S; of a text with fewer motions as many as it has, with a warning that counts them.
        seed: Of the draws.

    Raises:
        ValueError: If the lengths disagree, no text has two motions, or a value is not finite.
    """
    rows = _embeds(embeds, "embeds")
    if len(captions) != len(rows):
        raise ValueError(f"{len(captions)} captions for {len(rows)} motions; expected one a motion")
    ids = number_values(captions)
    groups = [group for group in (np.flatnonzero(ids == one) for one in range(ids.max() + 1)) if len(group) > 1]
    if not groups:
        raise ValueError("multimodality compares motions of one text, and no text has two; generate several of each")
    alone, few = len(set(captions)) - len(groups), sum(len(group) < num_pairs for group in groups)
    if alone or few:
        warnings.warn(
            f"multimodality: {alone} texts with one motion are left out, {few} have fewer motions than {num_pairs} pairs need",
            stacklevel=2,
        )
    generator = np.random.default_rng(seed)
    distances = [_paired_distances(rows[group], min(num_pairs, len(group)), generator).mean() for group in groups]
    return math.fsum(distances) / len(distances)


def _paired_distances(rows: np.ndarray, num_pairs: int, generator: np.random.Generator) -> np.ndarray:
    first, second = (generator.choice(len(rows), num_pairs, replace=False) for _ in range(2))
    return np.linalg.norm(rows[first] - rows[second], axis=1)


def _pairs(text_embeds: Any, motion_embeds: Any) -> tuple[np.ndarray, np.ndarray]:
    texts, motions = _embeds(text_embeds, "text_embeds"), _embeds(motion_embeds, "motion_embeds")
    if texts.shape != motions.shape:
        raise ValueError(
            f"text_embeds has shape {texts.shape} and motion_embeds {motions.shape}; expected one (N, D) for both, motion i made "
            "from text i"
        )
    return texts, motions


def _embeds(embeds: Any, name: str) -> np.ndarray:
    rows = matrix(embeds, name, "(N, D)")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds infinite values; expected finite numbers")
    return rows
