"""A trained checkpoint at work: load it, gather a gallery, search it, write embeddings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import save_file
from transformers import AutoModel, AutoProcessor

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.corpora import load_split
from ..processing.processing_motionpatches import MotionTextProcessor
from ..processing.readers import READABLE_SUFFIXES
from .evaluation import embed_motions, embed_texts


# What a gallery gathers from a folder: not the formats in which so much else is written that lies beside motions.
MOTION_SUFFIXES = tuple(suffix for suffix in READABLE_SUFFIXES if suffix not in (".json", ".csv", ".tsv"))
EMBEDDING_SUFFIXES = (".safetensors", ".parquet")


def load_checkpoint(checkpoint: str | Path) -> tuple[MotionPatchesModel, MotionTextProcessor]:
    """Model, in evaluation mode and on the GPU where there is one, and processor of a folder or Hub id.

    Raises:
        FileNotFoundError: If a folder is not there or lacks the model or the processor.
        ValueError: If it holds another kind of model.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        _check_part(folder, "config.json", "model")
    elif str(checkpoint).startswith((".", "/")) or str(checkpoint).count("/") > 1:
        raise FileNotFoundError(f"no checkpoint folder {str(folder)!r}")
    model = AutoModel.from_pretrained(checkpoint)
    if not isinstance(model, MotionPatchesModel):
        raise ValueError(f"checkpoint {str(checkpoint)!r} holds a {type(model).__name__}; a MotionPatchesModel is needed")
    if folder.is_dir():
        _check_part(folder, "processor_config.json", "processor")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), AutoProcessor.from_pretrained(checkpoint)


def _check_part(folder: Path, file: str, what: str) -> None:
    if not (folder / file).exists():
        raise FileNotFoundError(
            f"checkpoint {str(folder)!r} has no {what} ({file}); {what}.save_pretrained({str(folder)!r}) writes it"
        )


@dataclass
class Gallery:
    """Motions to search in: `motions` as the processor takes them, their ids, and the captions of each (perhaps none)."""

    motions: Any
    ids: list[str]
    captions: list[list[str]]


def load_gallery(path: str | Path, split: str = "test") -> Gallery:
    """A folder of motion data (see `processing.corpora.load_motions`) or of motion files, searched with its sub-folders.

    Raises:
        FileNotFoundError: If there is no such folder, or no motion in it.
        ValueError: If the data has no such split.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {str(path)!r}; expected a folder of motion data or motion files")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in MOTION_SUFFIXES)
    if files:
        return Gallery([str(file) for file in files], [str(file.relative_to(path)) for file in files], [[] for _ in files])
    rows = load_split(path, split)
    return Gallery(rows, rows["id"][:], rows["captions"][:])


def search(query_embeds: np.ndarray, gallery_embeds: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosine similarities of the best `top` gallery items for each query; both (Q, min(top, N)), best first."""
    scores = query_embeds @ gallery_embeds.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return order, np.take_along_axis(scores, order, axis=1)


def motions_by_text(
    model: MotionPatchesModel, processor: MotionTextProcessor, queries: Sequence[str], gallery: Gallery, top: int = 3
) -> list[list[dict[str, Any]]]:
    """Text→motion: for each query the best motions, as `{"index", "id", "score", "captions"}`."""
    found, scores = search(embed_texts(model, processor, queries), embed_motions(model, processor, gallery.motions), top)
    return [
        [
            {"index": int(i), "id": gallery.ids[i], "score": float(score), "captions": gallery.captions[i]}
            for i, score in zip(indices, row, strict=True)
        ]
        for indices, row in zip(found, scores, strict=True)
    ]


def texts_by_motion(
    model: MotionPatchesModel, processor: MotionTextProcessor, motions: Sequence[Any], texts: Sequence[str], top: int = 3
) -> list[list[dict[str, Any]]]:
    """Motion→text: for each motion the best of the distinct texts, as `{"text", "score"}`.

    Raises:
        ValueError: If there are no texts.
    """
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        raise ValueError("there are no texts to search in")
    found, scores = search(embed_motions(model, processor, motions), embed_texts(model, processor, distinct), top)
    return [
        [{"text": distinct[i], "score": float(score)} for i, score in zip(indices, row, strict=True)]
        for indices, row in zip(found, scores, strict=True)
    ]


def write_embeddings(path: str | Path, ids: Sequence[str], embeddings: np.ndarray) -> None:
    """Write embeddings (N, D) with their ids: `.parquet` (columns `id`, `embedding`) or `.safetensors` (tensor `embeddings`, ids
    as a JSON list in its metadata).

    Raises:
        ValueError: If the suffix is another.
    """
    path = Path(path)
    check_embedding_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), embeddings.shape[1])
        pq.write_table(pa.table({"id": list(ids), "embedding": column}), path)
    else:
        save_file({"embeddings": np.ascontiguousarray(embeddings)}, path, metadata={"ids": json.dumps(list(ids))})


def check_embedding_suffix(path: Path) -> None:
    """Raise a `ValueError` unless embeddings can be written under this name."""
    if path.suffix not in EMBEDDING_SUFFIXES:
        raise ValueError(f"cannot write embeddings to {path.name!r}; the name must end in {' or '.join(EMBEDDING_SUFFIXES)}")


def draw_hits(processor: Any, gallery: Any, queries: list[str], found: list[list[dict[str, Any]]]) -> Any:
    """A `matplotlib` figure: each query with its hits as stick figures."""
    from ..processing.plotting import plot_retrieval

    motions = gallery.motions.with_format("numpy") if hasattr(gallery.motions, "with_format") else gallery.motions
    rows = []
    for query, hits in zip(queries, found, strict=True):
        drawn = []
        for hit in hits:
            resolved = processor.feature_extractor.resolve([motions[hit["index"]]])[0]
            caption = hit["captions"][0] if hit["captions"] else hit["id"]
            drawn.append(
                {"joints": resolved.joints, "skeleton": resolved.skeleton, "score": hit["score"], "caption": caption}
            )
        rows.append({"query": query, "hits": drawn})
    return plot_retrieval(rows)
