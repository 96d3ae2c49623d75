"""The pipeline `motion-classification`: name what a person does, among the classes that a model was fine-tuned on."""

from typing import Any

import torch
from transformers import AutoModelForVideoClassification

from .motion_pipeline import MotionPipeline, best_first, check_arguments, given, register


TASK = "motion-classification"
_FUNCTIONS = ("softmax", "sigmoid", "none")


class MotionClassificationPipeline(MotionPipeline):
    """Classify 3D human motion by a [`MotionPatchesForMotionClassification`].

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import motionpatches

    >>> classify = pipeline("motion-classification", model="path/or/hub-id")
    >>> classify("walk.bvh", top_k=3)
    ```

    Raises:
        ValueError: If the model has no classifier, or one that no training has touched.
    """

    _load_feature_extractor = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_classifier(self.model)

    def __call__(self, motions: Any, **kwargs: Any) -> Any:
        """Score the classes for one motion, or for each of a list or data set of motions.

        Args:
            motions: Anything that [`MotionPatchProcessor`] takes: an array (T, J, 3), the path of a motion file, a `Motion`, a
                dict with `joints`, `skeleton` and `fps`; or a list, data set or generator of those.
            top_k (`int`, *optional*, defaults to 5): Return only the best `top_k` classes.
            function_to_apply (`str`, *optional*): `"softmax"`: one class is right; the scores of all sum to 1. `"sigmoid"`: each
                class on its own. `"none"`: the logits. Default: sigmoid where the model has one class or was trained on several
                labels at once (`problem_type="multi_label_classification"`), else softmax.
            skeleton, fps: Skeleton and frame rate of motions that do not say theirs.
            batch_size (`int`, *optional*, defaults to 1): Motions in one forward pass.

        Returns:
            For one motion a list of `{"score", "label"}`, best first; for several, a list of such lists.

        Raises:
            ValueError: If `top_k` is below 1 or the function is unknown.
        """
        return super().__call__(motions, **kwargs)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        skeleton: Any = None,
        fps: float | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_arguments(unknown, top_k)
        if function_to_apply is not None and function_to_apply not in _FUNCTIONS:
            raise ValueError(f"function_to_apply={function_to_apply!r} is unknown; choose one of {', '.join(_FUNCTIONS)}")
        return given(skeleton=skeleton, fps=fps), {}, given(top_k=top_k, function_to_apply=function_to_apply)

    def preprocess(self, motion: Any, skeleton: Any = None, fps: float | None = None) -> dict[str, Any]:
        # All motions of a batch need one length; the window mask makes the padding harmless.
        inputs = self.feature_extractor([motion], skeleton=skeleton, fps=fps, return_tensors="pt", padding="max_length")
        return dict(inputs.to(self.dtype))

    def _forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"logits": self.model(**model_inputs).logits}

    def postprocess(
        self, model_outputs: dict[str, Any], top_k: int | None = 5, function_to_apply: str | None = None
    ) -> list[dict[str, Any]]:
        logits, config = model_outputs["logits"].reshape(-1).float(), self.model.config
        if function_to_apply is None:
            alone = config.num_labels == 1 or config.problem_type == "multi_label_classification"
            function_to_apply = "sigmoid" if alone else "softmax"
        scores = {"softmax": logits.softmax(dim=0), "sigmoid": torch.sigmoid(logits), "none": logits}[function_to_apply]
        return best_first(scores.tolist(), [config.id2label[index] for index in range(config.num_labels)], top_k)


def _check_classifier(model: Any) -> None:
    """The Auto class gives a contrastive checkpoint a new classifier, whose scores would mean nothing."""
    if not hasattr(model, "classifier"):
        raise ValueError(f"the pipeline {TASK!r} needs a model with a classifier, got a {type(model).__name__}")
    config = model.config
    trained = type(model).__name__ in (config.architectures or [])
    if model.name_or_path and not trained and config.id2label == {i: f"LABEL_{i}" for i in range(config.num_labels)}:
        raise ValueError(
            f"{model.name_or_path!r} holds a {', '.join(config.architectures or ['model'])} without a classifier: fine-tune it "
            "with labels first (motionpatches finetune), or use the pipeline 'zero-shot-motion-classification' with labels of "
            "your choice"
        )


def register_pipeline() -> None:
    """Make `transformers.pipeline("motion-classification")` known; harmless when repeated."""
    # transformers knows no Auto class for motions: a checkpoint that is loaded without this package needs one that it knows.
    register(TASK, MotionClassificationPipeline, AutoModelForVideoClassification)
