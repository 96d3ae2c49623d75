"""On real motion capture: the frame, the sides and the learning that made-up motion cannot vouch for."""

import numpy as np
import pytest
from conftest import TINY_RECIPE

from motionpatches import MotionPatchProcessor, get_skeleton
from motionpatches.processing.canonical import facing_direction, leg_length
from motionpatches.processing.corpora import load_motions
from motionpatches.training.evaluation import evaluate
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.loop import train
from motionpatches.training.recipe import parse_recipe


@pytest.fixture(scope="module")
def test_rows(data_dir):
    return load_motions(data_dir)["test"].with_format("numpy")


def canonical(rows):
    processor = MotionPatchProcessor(normalization=None)
    return [(motion, processor.prepare(motion).joints) for motion in processor.resolve(list(rows))]


def labelled(rows, label):
    labels = np.array(rows["label"])
    return rows.select(np.flatnonzero(labels == label))


def test_every_skeleton_comes_out_upright_facing_forward_and_of_human_size(test_rows):
    skeletons = np.array(test_rows["skeleton"])
    for name in ("body21", "cmu31", "kinect20", "smpl22"):
        for motion, joints in canonical(test_rows.select(np.flatnonzero(skeletons == name)[:20])):
            assert 0.5 < leg_length(joints, motion.skeleton) < 1.1
            np.testing.assert_allclose(facing_direction(joints[:1], motion.skeleton)[0], [0, 0, 1], atol=1e-6)
            at = motion.skeleton.landmarks
            assert np.median(joints[:, at["head"], 1] - joints[:, at["left_ankle"], 1]) > 0.4
            assert joints[0, at["left_hip"], 0] > joints[0, at["right_hip"], 0]  # left is +x of who faces +z


@pytest.mark.parametrize(
    ("label", "side", "other"), [("raise-up-left-hand", "left", "right"), ("raise-up-right-hand", "right", "left")]
)
def test_left_is_left_in_real_recordings(test_rows, label, side, other):
    at = get_skeleton("body21").landmarks
    rows = labelled(test_rows, label)
    assert len(rows) > 5
    for _, joints in canonical(rows):
        assert joints[:, at[f"{side}_wrist"], 1].max() > joints[:, at[f"{other}_wrist"], 1].max() + 0.2


@pytest.mark.parametrize(("label", "sign"), [("walk-turn-left", 1), ("walk-turn-right", -1)])
def test_a_left_turn_stays_one(test_rows, label, sign):
    rows = labelled(test_rows, label)
    assert len(rows) > 3
    ends = [joints[-1, 0] for _, joints in canonical(rows)]
    assert np.mean([sign * x > 0.3 for x, _, _ in ends]) > 0.9  # the left of who first faced +z is +x


@pytest.mark.slow
def test_a_model_learns_real_actions(data_dir, tmp_path):
    recipe = parse_recipe(
        "real", {**TINY_RECIPE, "motion_depth": 4, "root": "relative", "body_scale": 0.8, "epochs": 15, "batch_size": 64,
                 "lr_motion": 5e-4, "lr_text": 5e-4, "datasets": ["utd_mhad"]},
    )  # fmt: skip
    data = load_motions(data_dir, recipe.run.datasets)
    train(recipe, data, tmp_path / "run")
    results = evaluate(*load_checkpoint(tmp_path / "run" / "best"), data["test"])["all"]
    assert results["zero_shot"]["top5"] > 3 * results["zero_shot"]["chance"]["top5"]
    assert results["retrieval"]["strict"]["t2m"]["R@10"] > 2 * results["chance"]["strict"]["t2m"]["R@10"]
