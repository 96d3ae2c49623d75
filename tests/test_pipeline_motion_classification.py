"""The pipeline of a fine-tuned classifier, through `transformers.pipeline` on a saved checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scores_of, smpl_motion, tiny_config
from datasets import Dataset
from transformers import pipeline

from motionpatches import MotionPatchesForMotionClassification
from motionpatches.pipeline_motion_classification import MotionClassificationPipeline
from motionpatches.training.export import save_checkpoint


TASK = "motion-classification"
NAMES = ["jumps", "kicks", "walks", "waves"]


@pytest.fixture
def classifier(tokenizer):
    torch.manual_seed(0)
    config = tiny_config(tokenizer, id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
    model = MotionPatchesForMotionClassification(config).eval()
    torch.nn.init.normal_(model.classifier.weight)  # scores that differ
    return model


@pytest.fixture
def checkpoint(classifier, motion_processor, tmp_path):
    save_checkpoint(classifier, motion_processor, tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


@pytest.fixture
def classify(checkpoint):
    return pipeline(TASK, model=checkpoint, device="cpu")


def logits_of(classifier, motion_processor, motions):
    with torch.no_grad():
        return classifier(**motion_processor(motions, return_tensors="pt")).logits


def test_scores_are_the_softmax_of_the_logits_best_first(classify, classifier, motion_processor):
    result = classify(smpl_motion())
    scores = [entry["score"] for entry in result]
    assert scores == sorted(scores, reverse=True)
    expected = logits_of(classifier, motion_processor, smpl_motion()).softmax(-1)[0].tolist()
    assert [scores_of(result)[name] for name in NAMES] == pytest.approx(expected, abs=1e-5)
    assert classify(smpl_motion(), top_k=2) == result[:2]


def test_other_functions_of_the_logits(classify, classifier, motion_processor):
    logits = logits_of(classifier, motion_processor, smpl_motion())[0]
    raw, each = (scores_of(classify(smpl_motion(), function_to_apply=name)) for name in ("none", "sigmoid"))
    assert [raw[name] for name in NAMES] == pytest.approx(logits.tolist(), abs=1e-5)
    assert [each[name] for name in NAMES] == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)
    classify.model.config.problem_type = "multi_label_classification"
    assert scores_of(classify(smpl_motion())) == each


def test_only_the_five_best_of_many_classes_are_shown_unless_asked(tokenizer, motion_processor):
    many = MotionPatchesForMotionClassification(tiny_config(tokenizer, num_labels=7))
    classify = MotionClassificationPipeline(model=many, feature_extractor=motion_processor, task=TASK)
    assert len(classify(smpl_motion())) == 5
    assert len(classify(smpl_motion(), top_k=7)) == 7


def test_list_generator_dataset_files_and_batches_agree(classify, tmp_path):
    motions = [smpl_motion(seed, frames) for seed, frames in ((0, 40), (1, 20), (2, 64))]
    one_by_one = [classify(m) for m in motions]
    files = []
    for index, m in enumerate(motions):
        files.append(str(tmp_path / f"{index}.npz"))
        np.savez(files[-1], joints=m["joints"], skeleton="smpl22", fps=20)
    shape = {"num_joints": 22, "skeleton": "smpl22", "fps": 20.0}
    rows = Dataset.from_list([{"joints": m["joints"].ravel(), "num_frames": len(m["joints"]), **shape} for m in motions])
    for several in (
        classify(motions),
        classify(motions, batch_size=2),
        list(classify(m for m in motions)),
        classify(rows, batch_size=3),
        classify(files),
    ):
        assert len(several) == 3
        for alone, together in zip(one_by_one, several, strict=True):
            assert scores_of(together) == pytest.approx(scores_of(alone), abs=1e-5)


def test_skeleton_and_rate_of_a_bare_array(classify):
    bare = classify(smpl_motion()["joints"], skeleton="smpl22", fps=20)
    assert scores_of(bare) == pytest.approx(scores_of(classify(smpl_motion())), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "top_k must be at least 1"),
        ({"function_to_apply": "relu"}, ValueError, "function_to_apply='relu' is unknown; choose one of softmax"),
        ({"candidate_labels": ["walks"]}, TypeError, "unexpected arguments: candidate_labels"),
    ],
)
def test_bad_arguments(classify, arguments, error, message):
    with pytest.raises(error, match=message):
        classify(smpl_motion(), **arguments)


def test_a_contrastive_checkpoint_is_refused_not_given_a_random_classifier(trained_run, model, motion_processor):
    with pytest.raises(ValueError, match="holds a MotionPatchesModel without a classifier: fine-tune it with labels first"):
        pipeline(TASK, model=str(trained_run / "best"), feature_extractor=motion_processor)
    with pytest.raises(ValueError, match="needs a model with a classifier, got a MotionPatchesModel"):
        MotionClassificationPipeline(model=model, feature_extractor=motion_processor, task=TASK)


def test_the_code_travels_with_the_checkpoint(checkpoint):
    config = json.loads((Path(checkpoint) / "config.json").read_text())
    assert set(config["custom_pipelines"]) == {TASK}
    script = (
        "import sys; sys.modules['motionpatches'] = None\n"
        "import numpy as np; from transformers import pipeline\n"
        "classify = pipeline(model=sys.argv[1], trust_remote_code=True)\n"
        "joints = np.random.default_rng(0).normal(size=(30, 22, 3))\n"
        "print(type(classify).__name__, classify(joints, skeleton='smpl22', fps=20)[0]['label'])\n"
    )
    environment = {**os.environ, "HF_HOME": str(Path(checkpoint).parent / "home"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script, checkpoint], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    name, label = ran.stdout.split()[-2:]
    assert name == "MotionClassificationPipeline"
    assert label in NAMES
