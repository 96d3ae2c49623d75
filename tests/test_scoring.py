"""Scores that depend on two embeddings alone."""

import numpy as np
import pytest
import torch

from motionpatches.training.scoring import score_chunks, unit_rows


def scores_of(queries, gallery, chunk_size=None):
    return torch.cat([scores.clone() for _, scores in score_chunks(queries, gallery, chunk_size)]).numpy()


@pytest.mark.parametrize("dim", [3, 67, 512])
def test_a_score_is_the_same_to_the_last_bit_wherever_it_stands(dim):
    rng = np.random.default_rng(dim)
    queries, gallery = (unit_rows(rng.normal(size=(num, dim)), "x") for num in (131, 259))
    whole = scores_of(queries, gallery)
    for chunk_size in (1, 7, 130):
        np.testing.assert_array_equal(scores_of(queries, gallery, chunk_size), whole)
    order = torch.from_numpy(rng.permutation(259))
    np.testing.assert_array_equal(scores_of(queries, gallery[order]), whole[:, order])
    one_by_one = [[float((query * item).flip(0).sum()) for item in gallery[:20]] for query in queries[:20]]
    np.testing.assert_array_equal(one_by_one, whole[:20, :20])


def test_the_grid_is_finer_than_float32_noise():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 256))
    exact = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    unit = unit_rows(rows, "x")
    assert np.abs(unit.numpy() - exact).max() <= 2.0**-27
    assert np.abs(scores_of(unit, unit) - exact @ exact.T).max() < 1e-7


def test_any_scale_and_kind_gives_the_same_rows():
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    unit = unit_rows(rows, "x")
    assert unit.dtype == torch.float64
    for other in (
        np.asfortranarray(rows),
        torch.tensor(rows, requires_grad=True),
        rows.tolist(),
        4 * rows,
        rows.astype("f8"),
    ):
        assert torch.equal(unit_rows(other, "x"), unit)
    assert torch.allclose(unit_rows(rows.astype("f8") * 1e300, "x"), unit)
    assert torch.allclose(unit_rows(rows.astype("f8") * 1e-300, "x"), unit)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bits():
    rows = np.random.default_rng(0).normal(size=(300, 256))
    on_gpu = unit_rows(torch.tensor(rows).cuda(), "x")
    assert on_gpu.device.type == "cuda"
    found = torch.cat([scores.cpu() for _, scores in score_chunks(on_gpu, on_gpu, 64)])
    np.testing.assert_array_equal(found.numpy(), scores_of(unit_rows(rows, "x"), unit_rows(rows, "x")))
