"""Sentences looked for in long recordings: the windows of a recording are embedded once, kept if wanted, and searched again.

What windows share, and what they cannot, is told in `motion_moments`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from safetensors import safe_open
from safetensors.numpy import save_file

from ..modeling_motionpatches import MotionPatchesModel
from ..motion_moments import (
    DEFAULT_OVERLAP,
    DEFAULT_STRIDE,
    Windows,
    check_choice,
    embed_windows,
    list_moments,
    window_motion,
)
from ..processing.processing_motionpatches import MotionTextProcessor
from .evaluation import embed_texts
from .index_checkpoint import checkpoint_fingerprint
from .index_sources import FileSource
from .inference import load_checkpoint
from .results import command_line, environment, write_json


if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARRAYS = ("spans", "seconds", "frames")


@dataclass(frozen=True)
class EmbeddedRecording:
    """The windows of a recording and their embeddings: what any number of sentences is compared with.

    Args:
        windows: W windows.
        embeddings: Shape (W, D), float32, of unit length.
    """

    windows: Windows
    embeddings: np.ndarray

    def score(self, text_embeds: np.ndarray) -> np.ndarray:
        """Cosine similarities with texts (Q, D) of unit length: shape (Q, W)."""
        return text_embeds @ self.embeddings.T

    def save(self, file: str | Path, made_of: Mapping[str, Any]) -> None:
        """Write a `.safetensors` file.

        Args:
            file: Its name.
            made_of: Facts, ready for JSON, that `load` insists on.

        Raises:
            ValueError: If the name has another suffix.
        """
        file = Path(file)
        _check_suffix(file, ".safetensors")
        facts = {"duration": json.dumps(self.windows.duration), "made_of": json.dumps(dict(made_of))}
        arrays = {name: np.ascontiguousarray(getattr(self.windows, name)) for name in _ARRAYS}
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(file.name + ".tmp")
        save_file({**arrays, "embeddings": np.ascontiguousarray(self.embeddings)}, new, metadata=facts)
        new.replace(file)

    @classmethod
    def load(cls, file: str | Path, made_of: Mapping[str, Any]) -> "EmbeddedRecording":
        """Read what `save` wrote.

        Raises:
            ValueError: If the file is of something else than these facts, or none of these files.
        """
        with safe_open(file, framework="numpy") as content:
            facts = content.metadata() or {}
            if "made_of" not in facts:
                raise ValueError(f"{file} holds no windows of a recording; name another file")
            own = json.loads(facts["made_of"])
            other = [name for name, value in json.loads(json.dumps(dict(made_of))).items() if own.get(name) != value]
            if other:
                raise ValueError(
                    f"{file} holds windows of another {', '.join(other)}; remove it to make it anew, or name another file"
                )
            arrays = {name: content.get_tensor(name) for name in (*_ARRAYS, "embeddings")}
        embeddings = arrays.pop("embeddings")
        return cls(Windows(**arrays, duration=json.loads(facts["duration"])), embeddings)


def embed_recording(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    motion: Any,
    lengths: Sequence[float] | None = None,
    stride: float = DEFAULT_STRIDE,
    skeleton: Any = None,
    fps: Any = None,
    batch_size: int = 64,
) -> EmbeddedRecording:
    """Embed each window of a recording once.

    Args:
        model, processor: The model, which is put into evaluation mode, and its processor.
        motion, lengths, stride, skeleton, fps: The recording and its windows, as `motion_moments.window_motion` takes them.
        batch_size: Windows in one forward pass.

    Raises:
        ValueError: As `motion_moments.window_motion`.
    """
    patches = processor.feature_extractor
    recording = window_motion(patches, motion, lengths, stride, skeleton, fps)
    return EmbeddedRecording(recording.windows, embed_windows(model.eval(), patches, recording, batch_size))


@dataclass(frozen=True)
class Localisation:
    """What was found in a recording.

    Args:
        queries: Q sentences.
        windows: W windows.
        scores: Shape (Q, W), cosine similarities.
        moments: As `motion_moments.list_moments` returns them.
    """

    queries: list[str]
    windows: Windows
    scores: np.ndarray
    moments: list[dict[str, Any]]


def localise(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    recording: EmbeddedRecording,
    queries: Sequence[str],
    top_k: int | None = 5,
    threshold: float | None = None,
    max_overlap: float = DEFAULT_OVERLAP,
) -> Localisation:
    """The moments of a recording that sentences describe.

    Args:
        model, processor: What the recording was embedded by.
        recording: The recording.
        queries: Sentences; one that occurs twice is asked once.
        top_k, threshold, max_overlap: As in `motion_moments.list_moments`.

    Raises:
        ValueError: If there is no sentence, one is empty, or a setting is out of range.
    """
    asked = _check_queries(queries)
    scores = recording.score(embed_texts(model, processor, asked))
    moments = list_moments(recording.windows, scores, asked, top_k, threshold, max_overlap)
    return Localisation(asked, recording.windows, scores, moments)


def _check_queries(queries: Sequence[str]) -> list[str]:
    asked = list(dict.fromkeys([queries] if isinstance(queries, str) else queries))
    empty = sum(not query.strip() for query in asked)
    if not asked or empty:
        raise ValueError(
            "there is no sentence to look for; pass at least one, such as 'a person kicks'"
            if not asked
            else f"{empty} of {len(asked)} sentences are empty; a sentence needs at least one word"
        )
    return asked


# ---- the command ----------------------------------------------------------------------------------------------------------


def run_localise(
    checkpoint: str,
    file: Path,
    queries: Sequence[str],
    console: Console,
    lengths: Sequence[float] | None = None,
    stride: float = DEFAULT_STRIDE,
    top_k: int = 3,
    threshold: float | None = None,
    max_overlap: float = DEFAULT_OVERLAP,
    skeleton: str | None = None,
    fps: float | None = None,
    picture: Path | None = None,
    json_file: Path | None = None,
    keep: Path | None = None,
) -> Localisation:
    """`motionpatches localise`: print the moments of a motion file that sentences describe.

    Args:
        checkpoint: Folder or Hub id.
        file: A motion file.
        queries: Sentences.
        console: Where to print.
        lengths, stride, skeleton, fps: As in `motion_moments.window_motion`.
        top_k, threshold, max_overlap: As in `motion_moments.list_moments`.
        picture: Draw the scores over time into this PNG.
        json_file: Write moments, windows and all scores to this file.
        keep: A `.safetensors` file for the embeddings of the windows. Where it exists, they are taken from it, if it is of this
            checkpoint, file and windows.

    Raises:
        ValueError: If an output is the input or another output, or has a wrong suffix; and as `localise`, `window_motion`, and
            `EmbeddedRecording.load`.
        FileNotFoundError: If there is no such file or checkpoint.
    """
    queries = _check_queries(queries)
    check_choice(top_k, max_overlap)
    _check_files(file, picture, json_file, keep)
    model, processor = load_checkpoint(checkpoint)
    recording = _embed_file(model, processor, file, lengths, stride, skeleton, fps, keep)
    found = localise(model, processor, recording, queries, top_k, threshold, max_overlap)
    print_localisation(found, console)
    if json_file is not None:
        write_json(json_file, describe(found, file))
        console.print(f"written to {json_file}", highlight=False, markup=False)
    if picture is not None:
        (resolved,) = processor.feature_extractor.resolve([str(file)], skeleton=skeleton, fps=fps)
        draw_localisation(found, file.name, threshold, resolved).savefig(picture, dpi=110)
        console.print(f"drawn in {picture}", highlight=False, markup=False)
    return found


def _embed_file(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    file: Path,
    lengths: Sequence[float] | None,
    stride: float,
    skeleton: str | None,
    fps: float | None,
    keep: Path | None,
) -> EmbeddedRecording:
    made_of: dict[str, Any] = {}
    if keep is not None:
        known = {name: value for name, value in (("skeleton", skeleton), ("fps", fps)) if value is not None}
        made_of = {
            "checkpoint": checkpoint_fingerprint(model, processor),
            "motion": FileSource(file.parent, [file], file.name, known=known).key(0),
            "window lengths": None if lengths is None else list(lengths),
            "stride": stride,
        }
        if keep.exists():
            return EmbeddedRecording.load(keep, made_of)
    recording = embed_recording(model, processor, str(file), lengths, stride, skeleton, fps)
    if keep is not None:
        recording.save(keep, made_of)
    return recording


def print_localisation(found: Localisation, console: Console) -> None:
    """A table of moments for each sentence."""
    length = f"{found.windows.duration:.1f} s, {len(found.windows)} windows"
    for query in found.queries:
        console.print(f"\n[bold]{escape(query)}[/] ({length})", highlight=False)
        table = Table("score", "from", "to", "frames")
        for moment in (moment for moment in found.moments if moment["label"] == query):
            times = [f"{moment[end]:.2f} s" for end in ("start", "end")]
            table.add_row(f"{moment['score']:.3f}", *times, f"{moment['start_frame']} – {moment['end_frame'] - 1}")
        console.print(table if table.rows else "no moment reaches the threshold")


def describe(found: Localisation, file: Path) -> dict[str, Any]:
    """What the JSON file of the command holds."""
    return {
        "task": "localise",
        "command": command_line(),
        "motion": file.name,
        "duration": found.windows.duration,
        "moments": found.moments,
        "windows": found.windows.seconds.tolist(),
        "scores": {query: row.tolist() for query, row in zip(found.queries, found.scores, strict=True)},
        **environment(),
    }


def draw_localisation(found: Localisation, name: str, threshold: float | None = None, resolved: Any = None) -> "Figure":
    """The scores over time below poses of the motion, where it is given, as a `matplotlib` figure."""
    from ..processing.plotting_localisation import plot_localisation

    poses = {} if resolved is None else {"joints": resolved.joints, "skeleton": resolved.skeleton}
    return plot_localisation(
        found.windows.seconds, found.scores, found.queries, found.moments, threshold, title=name, **poses
    )


def _check_files(file: Path, picture: Path | None, json_file: Path | None, keep: Path | None) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"no motion file {str(file)!r}")
    for output, suffix in ((picture, ".png"), (keep, ".safetensors")):
        if output is not None:
            _check_suffix(output, suffix)
    outputs = [path.resolve() for path in (picture, json_file, keep) if path is not None]
    if file.resolve() in outputs or len(set(outputs)) < len(outputs):
        raise ValueError(f"{file} and the files to write must be different files; got {', '.join(map(str, outputs))}")


def _check_suffix(file: Path, suffix: str) -> None:
    if file.suffix.lower() != suffix:
        raise ValueError(f"{file} is to be a {suffix} file; end its name in {suffix}")
