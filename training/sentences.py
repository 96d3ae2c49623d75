"""Sentence embeddings of captions, by which the protocols `threshold` and `nsim` tell how alike they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class SentenceEncoder:
    """A sentence encoder, by the name that reports give it.

    Attributes:
        name: For example `all-mpnet-base-v2`.
        source: Folder or Hub id from which sentence-transformers loads it.
    """

    name: str
    source: str

    @classmethod
    def parse(cls, text: str) -> "SentenceEncoder":
        """`NAME=FOLDER`, or a folder or Hub id, of which the last part is the name.

        Raises:
            ValueError: If it has neither form.
        """
        name, separator, source = text.rpartition("=")
        if not source or (separator and not name):
            raise ValueError(f"sentence encoder {text!r}: expected NAME=FOLDER, a folder, or a Hub id")
        return cls(name or Path(source).name, source)

    def encode(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Embeddings of unit length, shape (N, E), float32. Equal texts get exactly equal embeddings.

        Raises:
            ImportError: If sentence-transformers is not installed.
            FileNotFoundError: If the source looks like a folder and is none.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                "sentence embeddings need sentence-transformers: pip install 'motionpatches[sentences]'"
            ) from error
        if self.source.startswith((".", "/")) and not Path(self.source).is_dir():
            raise FileNotFoundError(f"no folder {self.source!r} with a sentence encoder")
        distinct = list(dict.fromkeys(texts))
        model = SentenceTransformer(self.source)
        embeds = model.encode(distinct, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
        position = {text: index for index, text in enumerate(distinct)}
        return np.asarray(embeds, dtype=np.float32)[[position[text] for text in texts]]
