"""Evaluation: embeddings in the right order, galleries of the right size, numbers beside chance."""

import io

import numpy as np
import pytest
from conftest import swinging_motion
from rich.console import Console
from transformers import AutoModel, AutoProcessor

from motionpatches.training.evaluation import (
    embed_motions,
    embed_texts,
    evaluate,
    galleries_digest,
    mean_recall,
    print_evaluation,
    zero_shot,
)
from motionpatches.training.metrics import hit_probability, label_map, retrieval_metrics
from motionpatches.training.sentences import SentenceEncoder


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


@pytest.fixture
def sentence_encoder(monkeypatch):
    """Alike where the first two words are; needs no library."""
    words = {}

    def encode(self, texts):
        kinds = [words.setdefault(" ".join(text.split()[:2]), len(words)) for text in texts]
        return np.eye(100, dtype=np.float32)[kinds]

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    return SentenceEncoder("two-words", "nowhere")


@pytest.fixture
def judged(loaded, tiny_data, sentence_encoder):
    with pytest.warns(UserWarning, match="pairs do not fill a batch of 32") as caught:
        results = evaluate(
            *loaded,
            tiny_data["test"],
            more_protocols=("small", "threshold", "nsim", "label"),
            sentence_encoder=sentence_encoder,
            intervals=True,
            confusion=True,
            queries=True,
        )
    assert sum("do not fill a batch" in str(one.message) for one in caught) == 3  # each gallery says it once
    return results


def test_more_protocols_are_named_sized_and_beside_chance(judged, loaded, tiny_data):
    whole = judged["all"]
    names = {"strict", "caption_equal", "small", "threshold (two-words)", "nsim (two-words)"}
    assert set(whole["retrieval"]) == set(whole["chance"]) == names
    assert whole["protocols"]["small"]["num"] == 12
    assert whole["protocols"]["nsim (two-words)"] == {"galleries": 1, "num": 6, "distinct_captions": 6, "left_over": 6}
    assert whole["retrieval"]["threshold (two-words)"]["t2m"]["R@1"] >= whole["retrieval"]["caption_equal"]["t2m"]["R@1"]
    rows = tiny_data["test"]
    texts = embed_texts(*loaded, [captions[0] for captions in rows["captions"]])
    motions = embed_motions(*loaded, rows)
    assert whole["label_map"]["t2m"] == pytest.approx(label_map(texts, motions, rows["label"][:], rows["label"][:]))
    assert whole["label_map"]["num_labels"] == 3
    assert whole["retrieval"]["strict"] == retrieval_metrics(texts, motions)


def test_queries_intervals_and_confusion_agree_with_the_numbers(judged):
    for result in judged.values():
        assert set(result["queries"]) == {*result["retrieval"], "zero_shot"} - {"small"}
        for protocol, intervals in result["intervals"].items():
            queries = result["queries"][protocol]
            for way in ("t2m", "m2t"):
                number = result["retrieval"][protocol][way]["R@1"]
                counts = np.array(queries[way])
                assert counts.shape == (3, len(queries["ids"]))
                assert 100 * hit_probability(1, *counts).mean() == pytest.approx(number)
                assert intervals[way]["R@1"][0] <= number <= intervals[way]["R@1"][1]
        classified = result["zero_shot"]
        assert 100 * np.trace(classified["confusion"]) / classified["num"] == pytest.approx(classified["top1"])
        assert 100 * np.mean(result["queries"]["zero_shot"]["hits"]) == pytest.approx(classified["top1"])
        assert {entry["label"] for entry in classified["per_class"]} == set(classified["classes"])
    assert judged["all"]["queries"]["strict"]["ids"][0].startswith("smpl22/")


def test_one_table_says_protocol_size_captions_and_chance(judged):
    file = io.StringIO()
    print_evaluation(judged, Console(file=file, width=100))
    printed = " ".join(file.getvalue().split())
    assert "all: retrieval in %, 12 motions, 6 distinct captions" in printed
    strict = judged["all"]["retrieval"]["strict"]["t2m"]["R@1"]
    assert f"strict │ text→motion │ {strict:.1f}" in printed
    assert f"6 captions │ chance │ {100 / 12:.1f}" in printed
    assert "threshold (two-words)" in printed
    chance = judged["all"]["label_map"]["chance"]
    assert f"│ {chance:.1f} │" in printed.split("mean average precision")[1]


def test_what_a_protocol_lacks_is_said_before_anything_is_embedded(loaded, tiny_data):
    with pytest.raises(ValueError, match="unknown protocols best; known: strict, caption_equal, small, threshold"):
        evaluate(*loaded, tiny_data["test"], more_protocols=["best"])
    with pytest.raises(ValueError, match="--sentence-encoder"):
        evaluate(*loaded, tiny_data["test"], more_protocols=["threshold"])
    with pytest.raises(ValueError, match="'mini' is given, but no protocol asks it"):
        evaluate(*loaded, tiny_data["test"], sentence_encoder=SentenceEncoder("mini", "nowhere"))
    with pytest.raises(ValueError, match="protocol 'label' needs labels"):
        evaluate(*loaded, tiny_data["test"].remove_columns("label"), more_protocols=["label"])


def test_the_digest_of_a_gallery_changes_with_what_is_judged_and_not_with_its_order(tiny_data):
    rows = tiny_data["test"]
    digest = galleries_digest(rows)
    assert set(digest) == {"all", "smpl22", "body21"}
    assert galleries_digest(rows.select(list(range(12))[::-1])) == digest
    other = rows.map(lambda row, i: {"captions": ["other"] if i == 0 else row["captions"]}, with_indices=True)
    changed = {name for name, value in galleries_digest(other).items() if value != digest[name]}
    assert changed == {"all", "smpl22"}
