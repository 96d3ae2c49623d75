"""The pipeline, through `transformers.pipeline` on a saved checkpoint."""

import numpy as np
import pytest
import torch
from conftest import smpl_motion
from datasets import Dataset
from transformers import pipeline

from motionpatches import MotionPatchesModel
from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.export import save_checkpoint


LABELS = ["a person walks forward", "someone jumps twice"]
TASK = "temporal-motion-localization"


@pytest.fixture
def checkpoint(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


@pytest.fixture
def localise(checkpoint):
    return pipeline(TASK, model=checkpoint, device="cpu")


def test_moments_are_those_of_a_search_by_hand(localise, model, processor):
    motion = smpl_motion(num_frames=100)
    found = localise(motion, candidate_labels=LABELS, window_lengths=[1.0, 2.0], stride=0.5, top_k=2)
    texts = embed_texts(model, processor, LABELS)
    for label, text in zip(LABELS, texts, strict=True):
        spans = [(a, a + n) for n in (20, 40) for a in range(0, 101 - n, 10)]
        pieces = [{**motion, "joints": motion["joints"][a:b]} for a, b in spans]
        scores = embed_motions(model, processor, pieces) @ text
        best = spans[int(scores.argmax())]
        moments = [moment for moment in found if moment["label"] == label]
        assert len(moments) == 2
        assert moments[0]["score"] == pytest.approx(scores.max(), abs=1e-5)
        assert (moments[0]["start_frame"], moments[0]["end_frame"]) == best
        assert (moments[0]["start"], moments[0]["end"]) == pytest.approx((best[0] / 20, best[1] / 20))
    assert set(found[0]) == {"score", "label", "start", "end", "start_frame", "end_frame"}
    assert [moment["score"] for moment in found] == sorted((moment["score"] for moment in found), reverse=True)


def test_a_file_a_list_a_generator_and_a_data_set_agree(localise, tmp_path):
    motions = [smpl_motion(seed, frames) for seed, frames in ((0, 50), (1, 70))]
    one_by_one = [localise(motion, candidate_labels=LABELS) for motion in motions]
    np.savez(tmp_path / "long.npz", joints=motions[0]["joints"], skeleton="smpl22", fps=20)
    assert localise(str(tmp_path / "long.npz"), candidate_labels=LABELS) == one_by_one[0]
    rows = Dataset.from_list(
        [
            {**motion, "joints": motion["joints"].reshape(-1), "num_frames": len(motion["joints"]), "num_joints": 22}
            for motion in motions
        ]
    )
    for several in (
        localise(motions, candidate_labels=LABELS),
        list(localise((motion for motion in motions), candidate_labels=LABELS)),
        localise(rows, candidate_labels=LABELS, batch_size=3),
    ):
        assert len(several) == 2
        for alone, together in zip(one_by_one, several, strict=True):
            assert [m["label"] for m in together] == [m["label"] for m in alone]
            np.testing.assert_allclose([m["score"] for m in together], [m["score"] for m in alone], atol=1e-5)
            assert [m["start"] for m in together] == [m["start"] for m in alone]


def test_windows_are_embedded_once_for_all_labels_and_in_batches_of_the_given_size(localise, monkeypatch):
    sizes = []
    original = MotionPatchesModel.get_motion_features

    def counting(self, motion_values, *arguments, **kwargs):
        sizes.append(len(motion_values))
        return original(self, motion_values, *arguments, **kwargs)

    monkeypatch.setattr(MotionPatchesModel, "get_motion_features", counting)
    windows = {"window_lengths": [1.0], "stride": 0.25, "top_k": 1}
    found = localise(smpl_motion(num_frames=60), candidate_labels=[*LABELS, *LABELS], batch_size=4, **windows)
    assert sizes == [4, 4, 1]  # windows at 0, 5, … 40
    assert sorted(moment["label"] for moment in found) == sorted(LABELS)  # a label given twice is answered once


def test_threshold_overlap_and_template(localise, model, processor):
    motion = smpl_motion(num_frames=100)
    whole = localise(motion, candidate_labels=LABELS, max_overlap=1.0, top_k=1000)
    middle = whole[len(whole) // 2]["score"]
    assert localise(motion, candidate_labels=LABELS, max_overlap=1.0, top_k=1000, threshold=middle) == [
        moment for moment in whole if moment["score"] >= middle
    ]
    assert len(localise(motion, candidate_labels=LABELS, top_k=1000)) < len(whole)
    assert len(localise(motion, candidate_labels=LABELS[:1])) <= 5
    filled = localise(motion, candidate_labels=["walks forward"], hypothesis_template="a person {}", top_k=1)
    assert filled[0]["score"] == pytest.approx(localise(motion, candidate_labels=LABELS[:1], top_k=1)[0]["score"], abs=1e-6)


def test_half_precision(checkpoint, localise):
    half = pipeline(TASK, model=checkpoint, device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    found = half(smpl_motion(), candidate_labels=LABELS[:1], top_k=1)
    assert found[0]["score"] == pytest.approx(
        localise(smpl_motion(), candidate_labels=LABELS[:1], top_k=1)[0]["score"], abs=0.05
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidate_labels": []}, "candidate_labels is empty"),
        ({"candidate_labels": ["walks", " "]}, r"candidate_labels \[1\] are empty"),
        ({}, "pass candidate_labels"),
        ({"candidate_labels": LABELS, "hypothesis_template": "A person"}, "has no '{}'"),
        ({"candidate_labels": LABELS, "top_k": 0}, "top_k must be at least 1"),
        ({"candidate_labels": LABELS, "max_overlap": -0.1}, "from 0 to 1"),
        ({"candidate_labels": LABELS, "window_lengths": [9]}, "the model takes at most 3.2 s"),
    ],
)
def test_bad_arguments(localise, arguments, message):
    with pytest.raises(ValueError, match=message):
        localise(smpl_motion(), **arguments)


def test_misspelt_argument(localise):
    with pytest.raises(TypeError, match="unexpected arguments: windows"):
        localise(smpl_motion(), candidate_labels=LABELS, windows=[1])


def test_the_pipeline_can_be_saved_and_brings_its_code(localise, tmp_path):
    localise.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "pipeline_temporal_motion_localization.py").exists()
    assert (tmp_path / "saved" / "motion_moments.py").exists()
