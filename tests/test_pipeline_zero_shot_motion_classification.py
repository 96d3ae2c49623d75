"""The pipeline, through `transformers.pipeline` on a saved checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scores_of, smpl_motion
from datasets import Dataset
from transformers import AutoModel, pipeline

from motionpatches.training.export import save_checkpoint


LABELS = ["walks", "jumps", "waves"]
TASK = "zero-shot-motion-classification"


@pytest.fixture
def checkpoint(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


@pytest.fixture
def classify(checkpoint):
    return pipeline(TASK, model=checkpoint, device="cpu")


def test_one_motion_gives_labels_best_first_that_sum_to_one(classify, model, processor):
    result = classify(smpl_motion(), candidate_labels=LABELS)
    assert {entry["label"] for entry in result} == set(LABELS)
    scores = [entry["score"] for entry in result]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)
    inputs = processor(motions=smpl_motion(), text=[f"A person {x}." for x in LABELS], return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**inputs).logits_per_motion.softmax(-1)[0].tolist()
    assert [scores_of(result)[label] for label in LABELS] == pytest.approx(expected, abs=1e-5)


def test_list_generator_dataset_and_batches_agree(classify):
    motions = [smpl_motion(seed, frames) for seed, frames in ((0, 40), (1, 20), (2, 64))]
    one_by_one = [classify(m, candidate_labels=LABELS) for m in motions]
    rows = Dataset.from_list(
        [
            {
                "joints": m["joints"].reshape(-1),
                "num_frames": len(m["joints"]),
                "num_joints": 22,
                "skeleton": "smpl22",
                "fps": 20.0,
            }
            for m in motions
        ]
    )
    for several in (
        classify(motions, candidate_labels=LABELS),
        classify(motions, candidate_labels=LABELS, batch_size=2),
        list(classify((m for m in motions), candidate_labels=LABELS)),
        list(classify(rows, candidate_labels=LABELS, batch_size=3)),
    ):
        assert len(several) == 3
        for alone, together in zip(one_by_one, several, strict=True):
            for label, score in scores_of(alone).items():
                assert scores_of(together)[label] == pytest.approx(score, abs=1e-5)


def test_file_paths(classify, tmp_path):
    np.savez(tmp_path / "walk.npz", joints=smpl_motion()["joints"], skeleton="smpl22", fps=20)
    from_file = classify(str(tmp_path / "walk.npz"), candidate_labels=LABELS)
    assert scores_of(from_file) == pytest.approx(scores_of(classify(smpl_motion(), candidate_labels=LABELS)), abs=1e-6)


def test_template_reaches_the_text(classify):
    default = classify(smpl_motion(), candidate_labels=LABELS)
    same = classify(smpl_motion(), candidate_labels=LABELS, hypothesis_template="A person {}.")
    other = classify(smpl_motion(), candidate_labels=LABELS, hypothesis_template="the figure {} slowly twice")
    assert scores_of(same) == scores_of(default)
    assert scores_of(other) != pytest.approx(scores_of(default), abs=1e-4)


def test_multi_label_scores_do_not_depend_on_the_other_labels(classify):
    alone = classify(smpl_motion(), candidate_labels=["walks"], multi_label=True)
    among = classify(smpl_motion(), candidate_labels=LABELS, multi_label=True)
    assert scores_of(among)["walks"] == pytest.approx(alone[0]["score"], abs=1e-6)
    neutral = classify(smpl_motion(), candidate_labels=["moves"], multi_label=True)
    assert neutral[0]["score"] == pytest.approx(0.5, abs=1e-6)
    assert classify(smpl_motion(), candidate_labels=["walks"])[0]["score"] == pytest.approx(1)


def test_top_k(classify):
    whole = classify(smpl_motion(), candidate_labels=LABELS)
    assert classify(smpl_motion(), candidate_labels=LABELS, top_k=2) == whole[:2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidate_labels": []}, "candidate_labels is empty"),
        ({"candidate_labels": "walks, jumps"}, "must be a list of texts"),
        ({"candidate_labels": ["walks", " "]}, r"candidate_labels \[1\] are empty"),
        ({}, "pass candidate_labels"),
        ({"candidate_labels": LABELS, "hypothesis_template": "A person"}, "has no '{}'"),
        ({"candidate_labels": LABELS, "top_k": 0}, "top_k must be at least 1"),
    ],
)
def test_bad_arguments(classify, arguments, message):
    with pytest.raises(ValueError, match=message):
        classify(smpl_motion(), **arguments)


def test_misspelt_argument(classify):
    with pytest.raises(TypeError, match="unexpected arguments: candidate_label"):
        classify(smpl_motion(), candidate_label=LABELS)


def test_the_pipeline_code_stays_named_when_a_loaded_checkpoint_is_saved_again(checkpoint, tmp_path):
    AutoModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "again")
    for folder in (Path(checkpoint), tmp_path / "again"):
        named = json.loads((folder / "config.json").read_text())["custom_pipelines"][TASK]
        assert named["impl"] == "pipeline_zero_shot_motion_classification.ZeroShotMotionClassificationPipeline"
    assert (Path(checkpoint) / "pipeline_zero_shot_motion_classification.py").exists()


def test_checkpoint_without_a_processor(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises((OSError, ValueError), match=r"processor|preprocessor"):
        pipeline(TASK, model=str(tmp_path))
