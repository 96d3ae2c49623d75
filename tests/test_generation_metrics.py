"""Scores of generators against their definitions."""

import json

import numpy as np
import pytest
import torch
from conftest import run_command
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from motionpatches import make_motions
from motionpatches.training.generation_metrics import (
    diversity,
    frechet_distance,
    generation_metrics,
    motion_text_score,
    multimodal_distance,
    multimodality,
    r_precision,
)


def unit(num, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(num, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(texts, noise, seed=1):
    rows = texts + noise * unit(*texts.shape, seed)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_fid_is_the_frechet_distance_of_the_definition():
    first = np.random.default_rng(0).normal(size=(300, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    second = 0.3 + np.random.default_rng(2).normal(size=(200, 12)) @ np.random.default_rng(3).normal(size=(12, 12))
    means, covariances = zip(*((rows.mean(axis=0), np.cov(rows.T)) for rows in (first, second)), strict=True)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(torch.tensor(second), first) == pytest.approx(expected, rel=1e-9)


def test_fid_of_the_same_and_of_moved_and_of_scaled_motions():
    rows = np.random.default_rng(0).normal(size=(400, 8))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows + 2, rows) == pytest.approx(8 * 4)
    centred = rows - rows.mean(axis=0)
    assert frechet_distance(3 * centred, centred) == pytest.approx(4 * np.trace(np.cov(rows.T)))  # (3 − 1)² Tr C


def test_fid_warns_of_fewer_motions_than_dimensions():
    with pytest.warns(UserWarning, match="FID of 10 rows of embeds in 12 dimensions: the covariance is singular"):
        found = frechet_distance(unit(10, 12), unit(300, 12, 1))
    assert found > 0
    with pytest.raises(ValueError, match="1 row; a covariance needs at least two"):
        frechet_distance(unit(1, 4), unit(9, 4))


def test_r_precision_counts_the_own_text_among_the_nearest_of_each_pool():
    texts = unit(64, 16)
    motions = near(texts, 3.0)
    found = r_precision(texts, motions, seed=3)
    order = np.random.default_rng(3)
    ranks = []
    for _ in range(10):
        for pool in order.permutation(64).reshape(2, 32):
            distances = cdist(motions[pool], texts[pool])
            ranks += list((distances < np.diag(distances)[:, None]).sum(axis=1))
    for k in (1, 2, 3):
        assert found[f"top{k}"] == pytest.approx(100 * np.mean(np.array(ranks) < k))
    assert found["top1"] < found["top2"] < found["top3"] < 100
    assert (found["pool"], found["left_over"], found["chance"]["top3"]) == (32, 0, 100 * 3 / 32)
    assert r_precision(texts, motions, seed=3) == found != r_precision(texts, motions, seed=4)


def test_r_precision_of_a_constant_generator_is_chance():
    found = r_precision(unit(70, 8), np.ones((70, 8)))
    assert found["left_over"] == 6
    constant = r_precision(np.ones((70, 8)), unit(70, 8))
    assert {key: constant[key] for key in ("top1", "top2", "top3")} == pytest.approx(constant["chance"])


def test_distance_and_score_by_hand():
    texts, motions = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [3.0, 4.0]])
    assert multimodal_distance(texts, motions) == pytest.approx((0 + np.hypot(3, 3)) / 2)
    assert motion_text_score(texts, motions) == pytest.approx((1 + 0.8) / 2)


def test_diversity_is_the_mean_distance_of_pairs():
    rows = unit(400, 6)
    expected = cdist(rows, rows).mean()
    assert np.mean([diversity(rows, seed=seed) for seed in range(20)]) == pytest.approx(expected, rel=0.02)
    assert diversity(2 * rows) == pytest.approx(2 * diversity(rows))
    outlier = np.eye(300)[:, :1]  # drawn without replacement: once into either subset
    assert {round(300 * diversity(outlier, seed=seed)) for seed in range(20)} <= {0, 2}
    with pytest.warns(UserWarning, match="there are 20 motions, so it is of as many"):
        assert diversity(np.ones((20, 3))) == 0


def test_multimodality_looks_within_texts_alone():
    centres = 100 * unit(5, 6)
    rows = np.concatenate([centre + unit(30, 6, seed) for seed, centre in enumerate(centres)])
    captions = [f"text {row // 30}" for row in range(150)]
    within = np.mean([cdist(rows[start : start + 30], rows[start : start + 30]).mean() for start in range(0, 150, 30)])
    found = [multimodality(rows, captions, seed=seed) for seed in range(20)]
    assert np.mean(found) == pytest.approx(within, rel=0.05)
    assert diversity(rows, 150) > 10 * within
    with pytest.warns(UserWarning, match="1 texts with one motion are left out, 1 have fewer motions than 10"):
        assert multimodality(np.ones((5, 3)), ["a", "a", "a", "a", "b"]) == 0
    with pytest.raises(ValueError, match="no text has two"):
        multimodality(np.ones((2, 3)), ["a", "b"])


def test_what_is_scored_follows_from_what_is_given():
    texts = unit(320, 6)
    motions = near(texts, 0.5)
    alone = generation_metrics(motions)
    assert set(alone) == {"num", "diversity", "note"}
    assert "by the same checkpoint" in alone["note"]
    captions = [f"text {row // 20}" for row in range(320)]
    whole = generation_metrics(motions, texts, unit(310, 6, 5), captions)
    assert {"motion_text_score", "r_precision", "multimodal_distance", "fid", "multimodality"} < set(whole)
    better = generation_metrics(near(texts, 0.1), texts)
    assert better["motion_text_score"] > whole["motion_text_score"]
    assert better["r_precision"]["top1"] > whole["r_precision"]["top1"]
    assert better["multimodal_distance"] < whole["multimodal_distance"]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (multimodal_distance, (unit(3, 4), unit(4, 4)), r"\(3, 4\) and motion_embeds \(4, 4\)"),
        (frechet_distance, (unit(9, 4), unit(9, 5)), r"\(9, 4\) and reference_embeds \(9, 5\)"),
        (diversity, (np.full((9, 4), np.nan),), "embeds holds NaN in 9 rows"),
        (diversity, (np.full((9, 4), np.inf),), "embeds holds infinite"),
        (multimodality, (unit(9, 4), ["a"]), "1 captions for 9 motions"),
        (motion_text_score, (np.zeros((2, 3)), np.ones((2, 3))), "2 pairs hold a zero row"),
    ],
)
def test_bad_embeddings_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.filterwarnings(
    "ignore:FID of:UserWarning", "ignore:diversity is:UserWarning", "ignore:.* do not fill:UserWarning"
)
def test_the_command_scores_motion_data_and_motion_files(trained_run, data_folder, tmp_path):
    best = trained_run / "best"
    result = run_command("score", best, data_folder, "--reference", data_folder, "--output", tmp_path / "scores.json")
    assert result.exit_code == 0, result.output
    assert "R-precision top1 of 12" in result.output
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["scores"]["fid"] == pytest.approx(0, abs=1e-6)
    assert written["scores"]["num"] == 12
    assert written["weights"]
    assert str(tmp_path) not in json.dumps(written)
    for index, motion in enumerate(make_motions(2, seed=1)):
        np.savez(tmp_path / f"{index}.npz", **{key: motion[key] for key in ("joints", "skeleton", "fps")})
    result = run_command("score", best, tmp_path, "--reference", data_folder)
    assert result.exit_code == 0, result.output
    assert "not scored, for lack of captions" in result.output
    assert "by the same checkpoint" in result.output
