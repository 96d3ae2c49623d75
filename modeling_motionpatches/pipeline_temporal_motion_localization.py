"""The pipeline `temporal-motion-localization`: when in a long recording something is done that a sentence describes."""

from typing import Any

import torch.nn.functional as F
from transformers import AutoModel

from .motion_moments import (
    DEFAULT_OVERLAP,
    DEFAULT_STRIDE,
    WindowedMotion,
    check_choice,
    embed_windows,
    list_moments,
    window_motion,
)
from .motion_pipeline import MotionPipeline, check_arguments, check_candidates, given, register


TASK = "temporal-motion-localization"
_WINDOWS_AT_ONCE = 64


class TemporalMotionLocalizationPipeline(MotionPipeline):
    """Find the moments of long 3D human motion that sentences describe, without training.

    The recording is looked at through windows of several lengths. Each is embedded once, whatever number of labels, and scored
    against each label; of windows that overlap the best one stays.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import motionpatches

    >>> localise = pipeline("temporal-motion-localization", model="path/or/hub-id")
    >>> localise("session.bvh", candidate_labels=["a person kicks", "a person sits down"], top_k=2)
    ```
    """

    _load_processor = True

    def __call__(self, motions: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Find moments in one recording, or in each of a list or data set of recordings.

        Args:
            motions: Recordings of any length, each anything that [`MotionPatchProcessor`] takes: an array (T, J, 3), the path of
                a motion file, a `Motion`, a dict with `joints`, `skeleton` and `fps`; or a list, data set or generator of those.
                One with NaN in any frame is refused.
            batch_size (`int`, *optional*, defaults to 64): Windows in one forward pass.
            candidate_labels (`list[str]`): What to look for.
            hypothesis_template (`str`, *optional*, defaults to `"{}"`): The text into which each label is put.
            window_lengths (`list[float]`, *optional*): Seconds of windows; default 1, 2, 4 and 8, as far as the model takes
                motions that long.
            stride (`float`, *optional*, defaults to 0.25): Seconds from one window to the next.
            top_k (`int`, *optional*, defaults to 5): The most moments of each label.
            threshold (`float`, *optional*): Least score. Scores of different models, and of different labels, do not compare
                well: look at some (`plot_localisation`) before you choose it.
            max_overlap (`float`, *optional*, defaults to 0.1): Intersection over union with a better moment of the same label
                above which one is dropped.
            skeleton, fps: Skeleton and frame rate of motions that do not say theirs.

        Returns:
            For one recording a list of `{"score", "label", "start", "end", "start_frame", "end_frame"}`, best first: the cosine
            similarity, the time in seconds, and frames of the recording up to the one behind the last. For several, a list of
            such lists.

        Raises:
            ValueError: If there are no labels, one is empty, the template has no `{}`, or a window or the stride does not fit the
                model; see `motion_moments.window_motion`.
        """
        at_once = batch_size or self._batch_size or _WINDOWS_AT_ONCE
        return super().__call__(motions, batch_size=1, windows_at_once=at_once, **kwargs)

    def _sanitize_parameters(
        self,
        candidate_labels: Any = None,
        hypothesis_template: str | None = None,
        window_lengths: Any = None,
        stride: float | None = None,
        top_k: int | None = None,
        threshold: float | None = None,
        max_overlap: float | None = None,
        skeleton: Any = None,
        fps: float | None = None,
        windows_at_once: int | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_arguments(unknown, top_k)
        check_choice(top_k, max_overlap)
        check_candidates(candidate_labels, hypothesis_template)
        preprocess = given(
            candidate_labels=candidate_labels,
            hypothesis_template=hypothesis_template,
            window_lengths=window_lengths,
            stride=stride,
            skeleton=skeleton,
            fps=fps,
        )
        postprocess = given(top_k=top_k, threshold=threshold, max_overlap=max_overlap)
        return preprocess, given(windows_at_once=windows_at_once), postprocess

    def preprocess(
        self,
        motion: Any,
        candidate_labels: Any = None,
        hypothesis_template: str = "{}",
        window_lengths: Any = None,
        stride: float = DEFAULT_STRIDE,
        skeleton: Any = None,
        fps: float | None = None,
    ) -> dict[str, Any]:
        if candidate_labels is None:
            raise ValueError("pass candidate_labels=…, a list of texts such as ['a person kicks', 'a person sits down']")
        labels = list(dict.fromkeys(candidate_labels))
        texts = [hypothesis_template.format(label) for label in labels]
        return {
            "labels": labels,
            "text_inputs": dict(self.processor(text=texts, return_tensors="pt", padding=True)),
            "recording": window_motion(self.processor.feature_extractor, motion, window_lengths, stride, skeleton, fps),
        }

    def _forward(
        self, model_inputs: dict[str, Any], windows_at_once: int = _WINDOWS_AT_ONCE, **kwargs: Any
    ) -> dict[str, Any]:
        recording: WindowedMotion = model_inputs["recording"]
        texts = self.model.get_text_features(**model_inputs["text_inputs"]).pooler_output
        windows = embed_windows(self.model, self.processor.feature_extractor, recording, windows_at_once)
        scores = F.normalize(texts.float(), dim=-1).cpu().numpy() @ windows.T
        return {"labels": model_inputs["labels"], "windows": recording.windows, "scores": scores}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        top_k: int | None = 5,
        threshold: float | None = None,
        max_overlap: float = DEFAULT_OVERLAP,
    ) -> list[dict[str, Any]]:
        windows, scores, labels = (model_outputs[key] for key in ("windows", "scores", "labels"))
        return list_moments(windows, scores, labels, top_k, threshold, max_overlap)


def register_pipeline() -> None:
    """Make `transformers.pipeline("temporal-motion-localization")` known; harmless when repeated."""
    register(TASK, TemporalMotionLocalizationPipeline, AutoModel)
