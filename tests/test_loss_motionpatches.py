"""Each contrastive loss against its equation, written as slow loops over plain numbers."""

import math

import pytest
import torch
from conftest import tiny_config

from motionpatches import MotionPatchesModel
from motionpatches.loss_motionpatches import (
    PairwiseSigmoid,
    SymmetricCrossEntropy,
    equal_texts,
    make_contrastive_loss,
)


@pytest.fixture
def logits():
    return torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def log_probability(row, index):
    return row[index] - math.log(sum(math.exp(value) for value in row))


def slow_cross_entropy(rows, positives):
    """Mean over rows of the mean negative log-probability of the row's positives."""
    total = 0.0
    for i, row in enumerate(rows):
        own = [j for j in range(len(row)) if positives[i][j]]
        total -= sum(log_probability(row, j) for j in own) / len(own)
    return total / len(rows)


def transposed(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("reduction", "factor"), [("sum", 1.0), ("mean", 0.5)])
def test_symmetric_cross_entropy_is_equations_2_to_4(logits, reduction, factor):
    rows, diagonal = logits.tolist(), torch.eye(5).tolist()
    expected = slow_cross_entropy(rows, diagonal) + slow_cross_entropy(transposed(rows), diagonal)
    assert SymmetricCrossEntropy(reduction)(logits).item() == pytest.approx(factor * expected, rel=1e-12)


def test_sigmoid_asks_a_question_for_each_pair(logits):
    expected = 0.0
    for i, row in enumerate(logits.tolist()):
        for j, value in enumerate(row):
            expected += math.log(1 + math.exp(-value if i == j else value))
    assert PairwiseSigmoid()(logits).item() == pytest.approx(expected / 5, rel=1e-12)


def test_equal_captions_share_the_target(logits):
    positives = torch.eye(5, dtype=torch.bool)
    for i, j in ((0, 3), (3, 0)):
        positives[i, j] = True
    rows, own = logits.tolist(), positives.tolist()
    expected = slow_cross_entropy(rows, own) + slow_cross_entropy(transposed(rows), transposed(own))
    loss = SymmetricCrossEntropy("sum")
    assert loss(logits, positives).item() == pytest.approx(expected, rel=1e-12)
    positives[1, 4] = True  # of one row only
    rows, own = logits.tolist(), positives.tolist()
    expected = slow_cross_entropy(rows, own) + slow_cross_entropy(transposed(rows), transposed(own))
    assert loss(logits, positives).item() == pytest.approx(expected, rel=1e-12)
    plain = SymmetricCrossEntropy("sum")(logits)
    torch.testing.assert_close(loss(logits), plain)
    assert abs(loss(logits, positives) - plain) > 1e-3


def test_the_gradient_does_not_push_equal_captions_apart():
    logits = torch.zeros(3, 3, requires_grad=True)
    positives = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    SymmetricCrossEntropy("sum")(logits, positives).backward()
    assert logits.grad[0, 1] < 0 < logits.grad[0, 2]  # a descent raises the first and lowers the second


def test_equal_texts_are_equal_whatever_the_padding_holds():
    ids = torch.tensor([[1, 5, 2, 0], [1, 5, 2, 9], [1, 5, 2, 7], [1, 6, 2, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]])
    same = equal_texts(ids, mask)
    assert same.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert equal_texts(ids).sum() == 4


@pytest.mark.parametrize("name", ["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"])
def test_a_loss_needs_pairs(name):
    with pytest.raises(ValueError, match="got 3 motions and 4 texts"):
        make_contrastive_loss(name)(torch.zeros(3, 4))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown loss 'triplet'; known: softmax_sum"):
        make_contrastive_loss("triplet")
    with pytest.raises(ValueError, match="'sum' or 'mean', got 'max'"):
        SymmetricCrossEntropy("max")


@pytest.mark.parametrize("name", ["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"])
def test_the_model_computes_the_loss_of_its_configuration(tokenizer, name):
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(tokenizer, loss=name, projection_dropout=0.0)).eval()
    captions = ["a person walks forward", "someone jumps twice", "a person walks forward"]
    tokens = tokenizer(captions, return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model(motion_values=torch.randn(3, 3, 32, 40), return_loss=True, **tokens)
    cosines = out.motion_embeds @ out.text_embeds.t()
    logits = cosines / 0.07 - (10 if name == "sigmoid" else 0)
    torch.testing.assert_close(out.logits_per_motion, logits)
    torch.testing.assert_close(out.loss, make_contrastive_loss(name)(logits))
    out.loss.backward()
    assert (model.logit_bias is not None) == (name == "sigmoid")
    if name == "sigmoid":
        assert model.logit_bias.grad.abs() > 0


def test_equal_captions_under_dropout_are_positives_of_each_other(tokenizer):
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(tokenizer, loss="duplicate_aware")).train()
    captions = ["a person walks forward", "someone jumps twice", "a person walks forward"]
    tokens = tokenizer(captions, return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model(motion_values=torch.randn(3, 3, 32, 40), return_loss=True, **tokens)
    positives = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.bool)
    loss = SymmetricCrossEntropy("sum")
    torch.testing.assert_close(out.loss, loss(out.logits_per_motion, positives))
    assert abs(out.loss - loss(out.logits_per_motion)) > 1e-3
