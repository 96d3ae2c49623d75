"""The figures of the paper that show what a model does, drawn of any checkpoint and any data."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..processing.animation import save_figure
from ..processing.patched_motion import PatchedMotion, patch_motion
from ..processing.plotting import plot_motion_and_patches, plot_retrieval
from ..processing.plotting_figures import plot_attention_maps, plot_found_captions
from .inference import Gallery, load_checkpoint, load_gallery, motions_by_text, texts_by_motion


if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What each figure shows.
FIGURES = {
    4: "motions beside their patches",
    5: "motions found by texts",
    7: "attention to body parts and windows",
    8: "motions found by texts, beside those that another checkpoint finds",
    9: "captions found by motions, beside those that another checkpoint finds",
}
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")

_BY_TEXT, _BY_MOTION = (5, 8), (4, 7, 9)
_COMPARING = (8, 9)
_NUM_HITS = {5: 3, 8: 3, 9: 5}


@dataclass(frozen=True)
class FigureRequest:
    """Which figure to draw, and of what.

    Args:
        number: A key of `FIGURES`.
        checkpoint: Folder or Hub id of a contrastive model.
        data: Folder of motion data or motion files.
        split: Which split of motion data.
        num: How many motions or texts, one a row. Those that are not named are drawn at random by `seed`.
        ids: Motions to show (Figures 4, 7 and 9).
        queries: Free texts to search by (Figures 5 and 8); captions of the data come before them.
        baseline: Another checkpoint, for comparison (Figures 8 and 9).
        seed: Of the choice of motions and captions.
        layer, rollout: Which attention (Figure 7); see `get_motion_attention`.

    Raises:
        ValueError: If there is no such figure, a number is impossible, or something is given that the figure does not show.
    """

    number: int
    checkpoint: str
    data: Path
    split: str = "test"
    num: int = 3
    ids: Sequence[str] = field(default=())
    queries: Sequence[str] = field(default=())
    baseline: str | None = None
    seed: int = 0
    layer: int = -1
    rollout: bool = False

    def __post_init__(self) -> None:
        if self.number not in FIGURES:
            known = "; ".join(f"{number}: {what}" for number, what in FIGURES.items())
            raise ValueError(f"figure {self.number} of the paper shows no checkpoint at work; those that do are {known}")
        if self.num < 1:
            raise ValueError(f"a figure of {self.num} rows shows nothing; expected at least 1")
        misplaced = {
            "ids": bool(self.ids) and self.number not in _BY_MOTION,
            "queries": bool(self.queries) and self.number not in _BY_TEXT,
            "baseline": self.baseline is not None and self.number not in _COMPARING,
            "layer and rollout": (self.layer != -1 or self.rollout) and self.number != 7,
        }
        for what, is_given in misplaced.items():
            if is_given:
                raise ValueError(f"figure {self.number} ({FIGURES[self.number]}) takes no {what}; leave it out")


def draw_figure(request: FigureRequest, output: Path) -> None:
    """Draw a figure of the paper into a file.

    Args:
        request: Which, and of what.
        output: A file that ends in one of `FIGURE_SUFFIXES`.

    Raises:
        FileNotFoundError: If checkpoint or data are not there.
        ValueError: If the suffix is another, there is no such motion or split, or there are no captions where they are needed.
    """
    if output.suffix.lower() not in FIGURE_SUFFIXES:
        raise ValueError(f"cannot draw a figure into {output.name!r}; its name must end in {', '.join(FIGURE_SUFFIXES)}")
    gallery = load_gallery(request.data, request.split)
    plot = _plot_by_text if request.number in _BY_TEXT else _plot_by_motion
    save_figure(output, plot(request, gallery))


def _plot_by_text(request: FigureRequest, gallery: Gallery) -> "Figure":
    """Figures 5 and 8."""
    sampled = _sample_captions(request, gallery, request.num - len(request.queries))
    queries = [*sampled, *request.queries]
    by_model = []
    for name in _checkpoints(request):
        model, processor = load_checkpoint(name)
        found = motions_by_text(model, processor, queries, gallery, _NUM_HITS[request.number])
        by_model.append([_result(processor, gallery, query, hits) for query, hits in zip(queries, found, strict=True)])
    if request.baseline is None:
        return plot_retrieval(by_model[0])
    titles = [_title(name) for name in _checkpoints(request)]
    return plot_retrieval(
        [
            {**result, "query": f"{title}: {result['query']}"}
            for results in zip(*by_model, strict=True)
            for title, result in zip(titles, results, strict=True)
        ]
    )


def _result(processor: Any, gallery: Gallery, query: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """A query and its hits as `plot_retrieval` takes them; hits that have the query as a caption are right."""
    hits = []
    for hit in found:
        motion = _resolve(processor, gallery, hit["index"])
        hits.append({
            "joints": motion.joints, "skeleton": motion.skeleton, "score": hit["score"], "correct": query in hit["captions"],
            "caption": _caption(gallery, hit["index"]),
        })  # fmt: skip
    return {"query": query, "hits": hits}


def _plot_by_motion(request: FigureRequest, gallery: Gallery) -> "Figure":
    """Figures 4, 7 and 9."""
    rows = _choose_motions(request, gallery)
    if request.number == 9:
        return _plot_captions(request, gallery, rows)
    model, processor = load_checkpoint(request.checkpoint)
    items = []
    for row in rows:
        attending = model if request.number == 7 else None
        found = patch_motion(_motion(gallery, row), processor.feature_extractor, attending, request.layer, request.rollout)
        items.append(_item(found, gallery, row))
    return plot_attention_maps(items) if request.number == 7 else plot_motion_and_patches(items)


def _item(found: PatchedMotion, gallery: Gallery, row: int) -> dict[str, Any]:
    caption = _caption(gallery, row)
    return {
        "joints": found.motion.joints[: found.num_shown], "skeleton": found.motion.skeleton, "motion_values": found.motion_values,
        "mask": found.mask, "attention": found.attention, "caption": f"{caption} ({found.cut})" if found.cut else caption,
    }  # fmt: skip


def _plot_captions(request: FigureRequest, gallery: Gallery, rows: Sequence[int]) -> "Figure":
    """Figure 9."""
    texts = [text for captions in gallery.captions for text in captions]
    if not texts:
        raise ValueError(f"{str(request.data)!r} has no captions to search in; expected motion data with captions")
    motions = [_motion(gallery, row) for row in rows]
    hits: list[dict[str, Any]] = [{} for _ in rows]
    for name in _checkpoints(request):
        model, processor = load_checkpoint(name)
        found = texts_by_motion(model, processor, motions, texts, _NUM_HITS[9])
        for own, best in zip(hits, found, strict=True):
            own[_title(name) if request.baseline is not None else ""] = best
    shown = [_resolve(processor, gallery, row) for row in rows]
    return plot_found_captions(
        [
            {"joints": motion.joints, "skeleton": motion.skeleton, "captions": gallery.captions[row], "hits": own}
            for motion, row, own in zip(shown, rows, hits, strict=True)
        ]
    )


def _checkpoints(request: FigureRequest) -> list[str]:
    """The baseline comes first, as in the paper."""
    return [request.checkpoint] if request.baseline is None else [request.baseline, request.checkpoint]


def _title(checkpoint: str) -> str:
    """A name for a checkpoint: its last two folders, or its name on the Hub."""
    return "/".join(Path(checkpoint).parts[-2:])


def _motion(gallery: Gallery, row: int) -> Any:
    motions = gallery.motions.with_format("numpy") if hasattr(gallery.motions, "with_format") else gallery.motions
    return motions[row]


def _resolve(processor: Any, gallery: Gallery, row: int) -> Any:
    (motion,) = processor.feature_extractor.resolve([_motion(gallery, row)])
    if motion.joints.ndim != 3:
        raise ValueError(f"motion {gallery.ids[row]!r} is of {len(motion.joints)} persons; figures show one person each")
    return motion


def _choose_motions(request: FigureRequest, gallery: Gallery) -> list[int]:
    """Rows of the motions that are named, then of others with different first captions, until there are enough."""
    place = {name: row for row, name in enumerate(gallery.ids)}
    unknown = [name for name in request.ids if name not in place]
    if unknown:
        raise ValueError(
            f"{str(request.data)!r} has no motion {', '.join(map(repr, unknown))}; ids look like "
            f"{', '.join(map(repr, gallery.ids[:3]))}"
        )
    chosen = [place[name] for name in request.ids]
    seen = {_caption(gallery, row) for row in chosen}
    for row in _shuffled(request, len(gallery.ids)):
        if len(chosen) < request.num and _caption(gallery, row) not in seen:
            chosen.append(row)
            seen.add(_caption(gallery, row))
    if len(chosen) < request.num:
        warnings.warn(f"the data has {len(chosen)} different motions for {request.num} rows", stacklevel=4)
    return chosen


def _caption(gallery: Gallery, row: int) -> str:
    """What is written at a motion: its first caption, or its name where it has none."""
    return gallery.captions[row][0] if gallery.captions[row] else gallery.ids[row]


def _sample_captions(request: FigureRequest, gallery: Gallery, num: int) -> list[str]:
    """Different captions of the data, drawn at random."""
    if num < 1:
        return []
    captions = sorted({text for captions in gallery.captions for text in captions})
    if not captions:
        raise ValueError(
            f"{str(request.data)!r} has no captions to take as queries; pass all {request.num} queries, or fewer rows"
        )
    if len(captions) < num:
        warnings.warn(f"the data has {len(captions)} different captions for {num} rows", stacklevel=4)
    return [captions[place] for place in _shuffled(request, len(captions))[:num]]


def _shuffled(request: FigureRequest, num: int) -> list[int]:
    return np.random.default_rng([request.number, request.seed]).permutation(num).tolist()
