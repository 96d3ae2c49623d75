"""Which checkpoint an index was made by: embeddings of different checkpoints cannot be compared."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .card_results import weights_fingerprint
from .inference import load_checkpoint
from .results import shorten_path


# What differs between a model in memory and the same one loaded, and decides no embedding.
_PASSING = {
    "_name_or_path", "_attn_implementation", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype",
    "processor_class", "feature_extractor_type", "id2label", "label2id", "problem_type", "return_dict", "output_hidden_states",
    "output_attentions", "use_cache", "is_encoder_decoder", "chunk_size_feed_forward",
}  # fmt: skip


def checkpoint_fingerprint(model: MotionPatchesModel, processor: MotionTextProcessor) -> str:
    """SHA-256 of the weights, the configuration, the settings of the motion processor and the tokenizer; the same for a model in
    memory and the checkpoint that it was saved as.
    """
    tokenizer = processor.tokenizer
    vocabulary = sorted(tokenizer.get_vocab().items())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rules = {key: value for key, value in json.loads(backend.to_str()).items() if key not in ("truncation", "padding")}
        vocabulary = [rules]
    parts = [
        weights_fingerprint(model),
        _lasting(model.config.to_dict()),
        _lasting(processor.feature_extractor.to_dict()),
        vocabulary,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()


def _lasting(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {str(key): _lasting(value) for key, value in settings.items() if key not in _PASSING and value is not None}
    return settings


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


class Checkpoint:
    """A model with its processor, loaded when it is first needed.

    Args:
        source: Folder or Hub id, or the model and its processor themselves.

    Attributes:
        name: What to load it by again: an absolute path or Hub id; `None` of a model in memory.
    """

    def __init__(self, source: str | Path | tuple[MotionPatchesModel, MotionTextProcessor]) -> None:
        self._loaded = source if isinstance(source, tuple) else None
        self.name: str | None = None
        if not isinstance(source, tuple):
            self.name = str(Path(source).resolve()) if Path(source).is_dir() else str(source)
        self._fingerprint: str | None = None

    @property
    def label(self) -> str:
        """How to call it without the folders of this machine."""
        return "a model in memory" if self.name is None else shorten_path(self.name)

    @property
    def hub_id(self) -> str | None:
        """Its name on the Hub, if it is from there."""
        return None if self.name is None or Path(self.name).is_absolute() else self.name

    def load(self) -> tuple[MotionPatchesModel, MotionTextProcessor]:
        """Model, in evaluation mode, and processor; errors as `inference.load_checkpoint`."""
        if self._loaded is None:
            self._loaded = load_checkpoint(str(self.name))
        return self._loaded

    @property
    def fingerprint(self) -> str:
        """See `checkpoint_fingerprint`."""
        if self._fingerprint is None:
            self._fingerprint = checkpoint_fingerprint(*self.load())
        return self._fingerprint
