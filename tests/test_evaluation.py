"""Evaluation: embeddings in the right order, galleries of the right size, numbers beside chance."""

import numpy as np
import pytest
from conftest import swinging_motion
from transformers import AutoModel, AutoProcessor

from motionpatches.training.evaluation import embed_motions, embed_texts, evaluate, mean_recall, zero_shot


@pytest.fixture(scope="module")
def loaded(trained_run):
    return AutoModel.from_pretrained(trained_run / "best"), AutoProcessor.from_pretrained(trained_run / "best")


def test_embeddings_keep_their_order_whatever_the_batch(loaded, tiny_data):
    rows = tiny_data["test"]
    whole = embed_motions(*loaded, rows)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embed_motions(*loaded, rows, batch_size=5), whole, atol=1e-5)
    np.testing.assert_allclose(embed_motions(*loaded, rows.select([7, 2])), whole[[7, 2]], atol=1e-5)


def test_cut_motions_are_counted_once_over_all_batches(loaded):
    long = [{"joints": swinging_motion(num_frames=150), "skeleton": "smpl22", "fps": 20}] * 3
    with pytest.warns(UserWarning, match=r"^3 of 4 motions are longer than max_frames=96 \(4.8 s\) and were cut") as caught:
        embed_motions(*loaded, [*long, {**long[0], "joints": swinging_motion()}], batch_size=2)
    assert len(caught) == 1


def test_equal_texts_get_exactly_equal_embeddings(loaded):
    texts = ["a person waves", "someone kicks with the left leg twice", "a person waves", "squats"]
    together = embed_texts(*loaded, texts, batch_size=2)
    np.testing.assert_array_equal(together[0], together[2])
    for text, embedding in zip(texts, together, strict=True):
        np.testing.assert_allclose(embed_texts(*loaded, [text])[0], embedding, atol=1e-5)


def test_galleries_protocols_and_what_was_used(loaded, tiny_data):
    results = evaluate(*loaded, tiny_data["test"])
    assert {name: result["num"] for name, result in results.items()} == {"all": 12, "smpl22": 6, "body21": 6}
    assert results["all"]["statistics"] == {"body21": "shared", "smpl22": "shared"}
    assert results["all"]["chance"]["strict"]["t2m"]["R@1"] == pytest.approx(100 / 12)
    for direction in ("t2m", "m2t"):
        strict, equal = (results["all"]["retrieval"][p][direction] for p in ("strict", "caption_equal"))
        assert equal["R@1"] >= strict["R@1"]
    assert results["all"]["zero_shot"]["num_classes"] == 3
    assert results["all"]["zero_shot"]["chance"]["top1"] == pytest.approx(100 / 3)
    # the same seed gives the two skeletons the same captions, so each caption has a twin
    assert results["all"]["distinct_captions"] == 6


def test_rows_without_labels_have_no_zero_shot(loaded, tiny_data):
    assert "zero_shot" not in evaluate(*loaded, tiny_data["test"].remove_columns("label"))["all"]


def test_zero_shot_is_right_where_embeddings_are(loaded):
    labels = ["waves", "kicks", "squats", "waves"]
    perfect = embed_texts(*loaded, [f"A person {label}." for label in labels])
    assert zero_shot(*loaded, perfect, labels)["top1"] == pytest.approx(100)


def test_mean_recall_averages_data_sets_not_motions(loaded, tiny_data):
    results = evaluate(*loaded, tiny_data["test"])
    single = {name: mean_recall(results, [name]) for name in ("smpl22", "body21")}
    assert mean_recall(results) == pytest.approx(np.mean(list(single.values())))
    by_hand = [results["smpl22"]["retrieval"]["strict"][way][f"R@{k}"] for way in ("t2m", "m2t") for k in (1, 5, 10)]
    assert single["smpl22"] == pytest.approx(np.mean(by_hand))
    with pytest.raises(ValueError, match=r"no validation results for \['kit'\]"):
        mean_recall(results, ["kit"])


def test_nothing_to_evaluate(loaded, tiny_data):
    with pytest.raises(ValueError, match="no motions to evaluate on"):
        evaluate(*loaded, tiny_data["test"].select([]))
