"""The modules of the library evaluate, loaded by path as a user loads them."""

import evaluate
import numpy as np
import pytest

from motionpatches import retrieval_metrics
from motionpatches.training.generation_metrics import generation_metrics
from motionpatches.training.metrics import chance_level, metric_path


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(320, 8)).astype(np.float32)
    return texts, texts + 0.8 * rng.normal(size=(320, 8)).astype(np.float32), [f"caption {row // 2}" for row in range(320)]


@pytest.mark.parametrize("protocol", ["strict", "caption_equal", "threshold", "nsim", "small"])
def test_retrieval_is_that_of_the_package(pairs, protocol):
    texts, motions, captions = pairs
    sentences = np.repeat(np.random.default_rng(1).normal(size=(160, 12)), 2, axis=0)
    metric = evaluate.load(metric_path("motion_retrieval"))
    for start in (0, 200):
        part = slice(start, start + 200)
        metric.add_batch(text_embeds=texts[part], motion_embeds=motions[part])
    found = metric.compute(protocol=protocol, captions=captions, sentence_embeds=sentences)
    expected = retrieval_metrics(texts, motions, captions, protocol, sentence_embeds=sentences)
    assert {way: found[way] for way in ("t2m", "m2t")} == expected
    assert found["chance"] == chance_level(captions, protocol, sentences)["t2m"]
    assert (found["protocol"], found["num"], found["distinct_captions"]) == (protocol, 320, 160)


def test_retrieval_without_captions_and_with_intervals(pairs):
    texts, motions, _ = pairs
    metric = evaluate.load(metric_path("motion_retrieval"))
    found = metric.compute(text_embeds=texts[:50], motion_embeds=motions[:50], intervals=True)
    low, high = found["intervals"]["t2m"]["R@1"]
    assert low < found["t2m"]["R@1"] < high
    assert found["distinct_captions"] is None


def test_generation_is_that_of_the_package(pairs):
    texts, motions, captions = pairs
    metric = evaluate.load(metric_path("motion_generation"))
    arguments = {"text_embeds": texts, "reference_embeds": texts, "captions": captions, "seed": 4}
    with pytest.warns(UserWarning, match="160 have fewer motions"):
        found = metric.compute(generated_embeds=motions, **arguments)
    with pytest.warns(UserWarning, match="160 have fewer motions"):
        expected = generation_metrics(motions, **arguments)
    assert found == expected
