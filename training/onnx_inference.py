"""Exported towers at work: motions and texts → embeddings by onnxruntime."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoProcessor


# What a tower's inputs are long in, and along which axis of the first of them.
_LENGTHS = {"motion_tower": ("frames", -2), "text_tower": ("tokens", -1)}


class OnnxMotionPatches:
    """The towers of a folder that `motionpatches export` wrote.

    ```python
    >>> from motionpatches import OnnxMotionPatches

    >>> model = OnnxMotionPatches.from_folder("exported", int8=True)
    >>> scores = model.embed_texts(["a person walks"]) @ model.embed_motions(["walk.bvh", "jump.bvh"]).T
    ```

    Args:
        sessions: `onnxruntime.InferenceSession` of `"motion_tower"`, of `"text_tower"`, or of both.
        processor: The processor of the exported model.
    """

    def __init__(self, sessions: dict[str, Any], processor: Any) -> None:
        self.sessions = sessions
        self.processor = processor

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        int8: bool = False,
        threads: int = 0,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> "OnnxMotionPatches":
        """Load the towers that a folder has, and its processor.

        Args:
            folder: What `motionpatches export` wrote.
            int8: Take the towers with weights in 8 bits (`export --int8`).
            threads: CPU threads of each tower; 0: as many as there are cores.
            providers: Execution providers of onnxruntime, the best first.

        Raises:
            FileNotFoundError: If the folder has no such tower.
            ImportError: If onnxruntime is not installed.
        """
        require_onnx("onnxruntime")
        import onnxruntime

        suffix = ".int8.onnx" if int8 else ".onnx"
        files = {name: Path(folder) / f"{name}{suffix}" for name in _LENGTHS}
        found = {name: file for name, file in files.items() if file.exists()}
        if not found:
            expected = " or ".join(file.name for file in files.values())
            raise FileNotFoundError(
                f"{str(folder)!r} has no {expected}; `motionpatches export CHECKPOINT --output FOLDER"
                f"{' --int8' if int8 else ''}` writes them"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        sessions = {
            name: onnxruntime.InferenceSession(file, options, providers=list(providers)) for name, file in found.items()
        }
        return cls(sessions, AutoProcessor.from_pretrained(folder))

    def run(self, tower: str, **inputs: np.ndarray) -> np.ndarray:
        """Embeddings (B, projection_dim) as the graph gives them, not of unit length.

        Args:
            tower: `"motion_tower"` or `"text_tower"`.
            inputs: What the processor returned with `return_tensors="np"`.

        Raises:
            ValueError: If the tower was not exported, its inputs are others, or a motion or text is longer than the graph covers.
        """
        least, most = self._limits(tower)
        session = self.sessions[tower]
        expected = [given.name for given in session.get_inputs()]
        if sorted(expected) != sorted(inputs):
            raise ValueError(f"{tower} takes {', '.join(expected)}; got {', '.join(inputs) or 'nothing'}")
        unit, axis = _LENGTHS[tower]
        size = inputs[expected[0]].shape[axis]
        if not least <= size <= most:
            raise ValueError(f"{expected[0]} has {size} {unit}; the exported {tower} takes {least} to {most}")
        return session.run(None, inputs)[0]

    def _limits(self, tower: str) -> tuple[int, int]:
        """The least and the most frames or tokens."""
        if tower not in self.sessions:
            raise ValueError(f"{tower!r} was not exported; there is {', '.join(self.sessions)}")
        facts, unit = self.sessions[tower].get_modelmeta().custom_metadata_map, _LENGTHS[tower][0]
        return int(facts[f"min_{unit}"]), int(facts[f"max_{unit}"])

    def embed_motions(self, motions: Any, skeleton: Any = None, fps: Any = None, batch_size: int = 64) -> np.ndarray:
        """Motion embeddings of unit length.

        Args:
            motions: A data set, or what `MotionPatchProcessor` takes: a motion, or a list of them.
            skeleton, fps: Of motions that do not say theirs; one value for all.
            batch_size: Motions in one run.

        Returns:
            Shape (N, projection_dim), float32, in the order of `motions`.

        Raises:
            ValueError: As `MotionPatchProcessor` and `run`; if there are no motions.
        """
        if hasattr(motions, "with_format"):
            motions = motions.with_format("numpy")
        elif not isinstance(motions, (list, tuple)):
            motions = [motions]

        def embed(batch: list[Any]) -> np.ndarray:
            inputs = self.processor(motions=batch, skeleton=skeleton, fps=fps, return_tensors="np")
            return self.run("motion_tower", **inputs)

        return _in_batches(embed, motions, batch_size)

    def embed_texts(self, texts: str | Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Text embeddings of unit length: shape (N, projection_dim), float32.

        Raises:
            ValueError: If a text is empty or longer than the limit of the tokenizer; if there are no texts.
        """

        def embed(batch: list[str]) -> np.ndarray:
            inputs = self.processor(text=batch, return_tensors="np", padding=True)
            return self.run("text_tower", **{name: inputs[name] for name in ("input_ids", "attention_mask")})

        return _in_batches(embed, [texts] if isinstance(texts, str) else texts, batch_size)


def _in_batches(embed: Any, items: Any, batch_size: int) -> np.ndarray:
    if len(items) == 0:
        raise ValueError("there is nothing to embed; pass at least one motion or text")
    starts = range(0, len(items), batch_size)
    rows = [embed([items[i] for i in range(start, min(start + batch_size, len(items)))]) for start in starts]
    embeddings = np.concatenate(rows)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def require_onnx(*packages: str) -> None:
    """Raise an `ImportError` that names the extra if one of the packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"ONNX needs {', '.join(missing)}: pip install 'motionpatches[onnx]'")
