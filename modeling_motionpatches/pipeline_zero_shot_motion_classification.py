"""The pipeline `zero-shot-motion-classification`: name what a person does, with labels chosen at the time of asking."""

from typing import Any

import torch
from transformers import AutoModel

from .motion_pipeline import MotionPipeline, best_first, check_arguments, check_candidates, given, register


TASK = "zero-shot-motion-classification"


class ZeroShotMotionClassificationPipeline(MotionPipeline):
    """Classify 3D human motion among labels given as text, without training (paper section 5.2).

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import motionpatches

    >>> classify = pipeline("zero-shot-motion-classification", model="path/or/hub-id")
    >>> classify("walk.bvh", candidate_labels=["walks", "jumps", "waves"])
    ```
    """

    _load_processor = True

    def __call__(self, motions: Any, **kwargs: Any) -> Any:
        """Score labels for one motion, or for each of a list or dataset of motions.

        Args:
            motions: Anything that [`MotionPatchProcessor`] takes: an array (T, J, 3), the path of a motion file, a `Motion`, a
                dict with `joints`, `skeleton` and `fps`; or a list, dataset or generator of those.
            candidate_labels (`list[str]`): The labels.
            hypothesis_template (`str`, *optional*, defaults to `"A person {}."`): The text into which each label is put.
            multi_label (`bool`, *optional*, defaults to `False`): `False`: one label is right; the scores are a softmax over the
                labels and sum to 1. `True`: any number of labels may be right; each score is the sigmoid of the label's logit
                minus that of `neutral_label`, so that 0.5 is as fitting as the neutral text.
            neutral_label (`str`, *optional*, defaults to `"moves"`): See `multi_label`.
            top_k (`int`, *optional*): Return only the best `top_k` labels.
            skeleton, fps: Skeleton and frame rate of motions that do not say theirs.
            batch_size (`int`, *optional*, defaults to 1): Motions in one forward pass.

        Returns:
            For one motion a list of `{"score", "label"}`, best first; for several, a list of such lists.

        Raises:
            ValueError: If there are no labels, one is empty, or the template has no `{}`.
        """
        return super().__call__(motions, **kwargs)

    def _sanitize_parameters(
        self,
        candidate_labels: Any = None,
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        neutral_label: str | None = None,
        top_k: int | None = None,
        skeleton: Any = None,
        fps: float | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_arguments(unknown, top_k)
        check_candidates(candidate_labels, hypothesis_template)
        preprocess = given(
            candidate_labels=candidate_labels,
            hypothesis_template=hypothesis_template,
            neutral_label=neutral_label,
            skeleton=skeleton,
            fps=fps,
        )
        return preprocess, {}, given(multi_label=multi_label, top_k=top_k)

    def preprocess(
        self,
        motion: Any,
        candidate_labels: Any = None,
        hypothesis_template: str = "A person {}.",
        neutral_label: str = "moves",
        skeleton: Any = None,
        fps: float | None = None,
    ) -> dict[str, Any]:
        if candidate_labels is None:
            raise ValueError("pass candidate_labels=…, a list of texts such as ['walks', 'jumps']")
        texts = [hypothesis_template.format(label) for label in [*candidate_labels, neutral_label]]
        # All motions of a batch need one length; the window mask makes the padding harmless.
        inputs = self.processor(
            motions=[motion], skeleton=skeleton, fps=fps, return_tensors="pt", motion_padding="max_length"
        )
        text_inputs = self.processor(text=texts, return_tensors="pt", padding=True)
        return {**inputs.to(self.dtype), "labels": list(candidate_labels), "text_inputs": [text_inputs]}

    def _forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        labels, text_inputs = model_inputs.pop("labels"), model_inputs.pop("text_inputs")
        while isinstance(text_inputs, list):  # a batch repeats the texts of its motions
            text_inputs = text_inputs[0]
        outputs = self.model(**text_inputs, **model_inputs)
        return {"labels": labels, "logits": outputs.logits_per_motion}

    def postprocess(
        self, model_outputs: dict[str, Any], multi_label: bool = False, top_k: int | None = None
    ) -> list[dict[str, Any]]:
        logits = model_outputs["logits"].reshape(-1).float()
        labels, neutral = logits[:-1], logits[-1]
        scores = torch.sigmoid(labels - neutral) if multi_label else labels.softmax(dim=0)
        return best_first(scores.tolist(), model_outputs["labels"], top_k)


def register_pipeline() -> None:
    """Make `transformers.pipeline("zero-shot-motion-classification")` known; harmless when repeated."""
    register(TASK, ZeroShotMotionClassificationPipeline, AutoModel)
