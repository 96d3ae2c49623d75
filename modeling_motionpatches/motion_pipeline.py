"""What the pipelines over motions share."""

from typing import Any

from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY


class MotionPipeline(Pipeline):
    """A pipeline whose inputs are motions: one, or a list, generator or data set of them."""

    _load_processor = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_tokenizer = False

    def __call__(self, motions: Any, **kwargs: Any) -> Any:
        """One result for one motion; for several, a list of results, or of a generator or a streamed data set a generator."""
        if not hasattr(motions, "features"):
            return super().__call__(motions, **kwargs)
        # A `datasets.Dataset`, which transformers would take for one motion; a streamed one gives its results one by one.
        results = super().__call__((row for row in motions), **kwargs)
        return list(results) if hasattr(motions, "__len__") else results


def given(**values: Any) -> dict[str, Any]:
    """The arguments that are not `None`."""
    return {name: value for name, value in values.items() if value is not None}


def check_arguments(unknown: dict[str, Any], top_k: int | None) -> None:
    """Raise a `TypeError` if there are unknown arguments, a `ValueError` unless `top_k` is `None` or at least 1."""
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")


def check_candidates(labels: Any, template: str | None) -> None:
    """Raise a `ValueError` unless what is given of these can be used: labels are texts, at least one, none of them empty, and a
    template has a place for one."""
    if template is not None and "{}" not in template:
        raise ValueError(f"hypothesis_template={template!r} has no '{{}}' for the label")
    if labels is None:
        return
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"candidate_labels must be a list of texts such as ['walks', 'jumps'], got {labels!r}")
    if not labels:
        raise ValueError("candidate_labels is empty; pass at least one label")
    empty = [index for index, label in enumerate(labels) if not label.strip()]
    if empty:
        raise ValueError(f"candidate_labels {empty} are empty texts")


def best_first(scores: list[float], labels: list[str], top_k: int | None = None) -> list[dict[str, Any]]:
    """`{"score", "label"}` for each label, best first, the best `top_k` alone; `None`: all."""
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
    return [{"score": score, "label": label} for score, label in ranked[:top_k]]


def register(task: str, pipeline_class: type[Pipeline], auto_class: Any) -> None:
    """Make `transformers.pipeline(task)` known; harmless when repeated."""
    if task not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(task, pipeline_class=pipeline_class, pt_model=auto_class, type="multimodal")
