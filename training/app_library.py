"""The motions that the app finds: an index of them, and the motions themselves where they are on this machine."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor, ResolvedMotion
from ..processing.readers import read_motion
from .evaluation import embed_texts
from .index_sources import MotionSource, open_source
from .indexing import print_index_report
from .motion_index import MotionIndex


class Library:
    """Motions to search in.

    Args:
        index: The index, which holds at least one motion.
        source: The motions of the index, for pictures of them; default the files that its paths name.

    Raises:
        ValueError: If the index is empty, or holds none of the motions of the source.
    """

    def __init__(self, index: MotionIndex, source: MotionSource | None = None) -> None:
        if not len(index):
            raise ValueError("there is no motion to search in; put some into the index, or name other data")
        self.index, self._source = index, source
        self._positions: dict[str, int] = {}
        if source is not None:
            self._positions = {name: number for number, name in enumerate(source.columns["id"].to_pylist())}
            if not self._positions.keys() & set(index.table["id"].to_pylist()):
                raise ValueError(
                    f"none of the {len(index)} motions of the index is among the {len(source)} of {source.name!r}; name the "
                    "data that the index was made of, or leave the data out"
                )

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def captions(self) -> list[str]:
        """All distinct captions."""
        return list(dict.fromkeys(text for texts in self.index.table["captions"].to_pylist() for text in texts or ()))

    @cached_property
    def caption_embeds(self) -> np.ndarray:
        """Embeddings of `captions`, shape (N, D), float32, of unit length."""
        return embed_texts(*self.index.checkpoint.load(), self.captions)

    def read(self, hit: Mapping[str, Any]) -> ResolvedMotion:
        """The motion of a hit of `MotionIndex.search`.

        Raises:
            FileNotFoundError: If it is not on this machine.
            ValueError: If it cannot be read.
        """
        _, processor = self.index.checkpoint.load()
        patches = processor.feature_extractor
        if self._source is not None and hit["id"] in self._positions:
            return self._source.read(self._positions[hit["id"]], patches)[0]
        if hit["path"] is None or not Path(hit["path"]).is_file():
            raise FileNotFoundError("this motion is not on the machine of the app")
        motion = read_motion(hit["path"])
        (resolved,) = patches.resolve(
            [motion],
            skeleton=hit["skeleton"] if motion.skeleton is None else None,
            fps=hit["fps"] if motion.fps is None else None,
        )
        return resolved


def open_library(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    index: str | Path | None,
    data: str | Path | None,
    console: Console,
) -> Library | None:
    """The motions that a command names.

    Args:
        model, processor: What embeds them.
        index: Folder of an index, or its name on the Hub; default one that is made of the data now, in memory.
        data: A folder of motion files or motion data.
        console: Where to say what became of the data.

    Returns:
        The library; `None` if there is neither index nor data.

    Raises:
        ImportError: If FAISS is not installed.
        ValueError, FileNotFoundError: As `MotionIndex.load`, `MotionIndex.add` and `Library`.
    """
    if index is None and data is None:
        return None
    source = None if data is None else open_source(data)
    if index is not None:
        return Library(MotionIndex.load(index, (model, processor)), source)
    made = MotionIndex((model, processor))
    report = made.add(source, progress=True)
    print_index_report({**report, "total": len(made), "kind": made.kind}, console)
    return Library(made, source)
