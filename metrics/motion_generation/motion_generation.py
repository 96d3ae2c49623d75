"""Scores of motion generators on embeddings of a MotionPatches checkpoint, as a module of the library evaluate."""

import datasets
import evaluate

from motionpatches.training.generation_metrics import generation_metrics


_DESCRIPTION = """
Motion–text score, R-precision in pools of 32, multimodal distance, FID, diversity and multimodality of generated motions, on the
embeddings of a MotionPatches checkpoint. Scores of different checkpoints do not compare.
"""

_KWARGS_DESCRIPTION = """
Args:
    generated_embeds: N embeddings of generated motions.
    text_embeds: N embeddings of the texts that they were made from.
    reference_embeds: M embeddings of real motions, for FID.
    captions: The N texts, for multimodality where several motions were made from one.
    seed: Of all draws.

Returns:
    What motionpatches.training.generation_metrics.generation_metrics returns.

Examples:
    >>> import evaluate
    >>> from motionpatches.training.metrics import metric_path
    >>> metric = evaluate.load(metric_path("motion_generation"))
    >>> found = metric.compute(generated_embeds=motions, text_embeds=texts, reference_embeds=real)  # doctest: +SKIP
"""

_CITATION = """
@inproceedings{guo2022generating,
    title = {Generating Diverse and Natural 3D Human Motions from Text},
    author = {Guo, Chuan and Zou, Shihao and Zuo, Xinxin and Wang, Sen and Ji, Wei and Li, Xingyu and Cheng, Li},
    booktitle = {CVPR},
    year = {2022}
}
"""


class MotionGeneration(evaluate.Metric):
    """`generation_metrics` on what `add_batch` gathered. The reference, which has a length of its own, comes with the call."""

    def _info(self):
        embedding = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"generated_embeds": embedding, "text_embeds": embedding}),
        )

    def _compute(self, generated_embeds, text_embeds, reference_embeds=None, captions=None, seed=0):
        return generation_metrics(generated_embeds, text_embeds, reference_embeds, captions, seed)
