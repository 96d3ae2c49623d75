"""Text-to-motion and motion-to-text retrieval, as a module of the library evaluate."""

import datasets
import evaluate

from motionpatches.training.metrics import chance_level, retrieval_counts, retrieval_intervals, retrieval_metrics


_DESCRIPTION = """
Recall and rank of text-to-motion and motion-to-text retrieval by the cosine similarity of embeddings, beside chance. Equal scores
count as their expectation under random order.
"""

_KWARGS_DESCRIPTION = """
Args:
    text_embeds: N embeddings of texts.
    motion_embeds: N embeddings of motions; the i-th belongs to the i-th text.
    protocol: "strict", "caption_equal", "threshold", "nsim" or "small"; see motionpatches.retrieval_metrics.
    captions: The N captions, for all protocols but strict and threshold.
    sentence_embeds: N embeddings of the captions by a sentence encoder, for threshold and nsim.
    ids: The N ids; with them nsim and small do not depend on the order of the pairs.
    intervals: Add 95% intervals by a bootstrap over the queries.

Returns:
    "t2m" and "m2t", each with "R@1", "R@2", "R@3", "R@5", "R@10" in percent, "MedR" and "MeanR"; "chance", the same of a model
    that scores all items alike; "protocol", "num", "distinct_captions" (None without captions); and "intervals", if asked for.

Examples:
    >>> import evaluate
    >>> from motionpatches.training.metrics import metric_path
    >>> metric = evaluate.load(metric_path("motion_retrieval"))
    >>> found = metric.compute(text_embeds=[[1.0, 0.0], [0.0, 1.0]], motion_embeds=[[2.0, 0.1], [0.1, 3.0]])
    >>> found["t2m"]["R@1"]
    100.0
"""

_CITATION = """
@inproceedings{yu2024exploring,
    title = {Exploring Vision Transformers for 3D Human Motion-Language Models with Motion Patches},
    author = {Yu, Qing and Tanaka, Mikihiro and Fujiwara, Kent},
    booktitle = {CVPR},
    year = {2024}
}
"""


class MotionRetrieval(evaluate.Metric):
    """`motionpatches.retrieval_metrics` on what `add_batch` gathered."""

    def _info(self):
        embedding = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"text_embeds": embedding, "motion_embeds": embedding}),
        )

    def _compute(
        self,
        text_embeds,
        motion_embeds,
        protocol="strict",
        captions=None,
        sentence_embeds=None,
        ids=None,
        intervals=False,
    ):
        asked = {"protocol": protocol, "sentence_embeds": sentence_embeds, "ids": ids}
        found = retrieval_metrics(text_embeds, motion_embeds, captions, **asked)
        found["chance"] = chance_level(len(text_embeds) if captions is None else captions, **asked)["t2m"]
        if intervals:
            found["intervals"] = retrieval_intervals(retrieval_counts(text_embeds, motion_embeds, captions, **asked))
        distinct = None if captions is None else len(set(captions))
        return {**found, "protocol": protocol, "num": len(text_embeds), "distinct_captions": distinct}
