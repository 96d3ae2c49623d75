"""A training step: in groups, in parts, and over processes it is the step of one large batch."""

import dataclasses

import pytest
import torch
from accelerate import Accelerator
from conftest import TINY_RECIPE, tiny_config

from motionpatches import MotionPatchesModel, MotionPatchProcessor, MotionTextProcessor
from motionpatches.loss_motionpatches import equal_texts
from motionpatches.training.contrastive import PairEncoder, backward
from motionpatches.training.data import make_loader
from motionpatches.training.recipe import parse_recipe


@pytest.fixture(scope="module")
def pair_processor(tiny_data, tokenizer):
    motion_processor = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest")
    return MotionTextProcessor(motion_processor.fit(list(tiny_data["train"].with_format("numpy"))), tokenizer)


class OneByOne(torch.nn.Module):
    """Encodes the groups one after the other, as GradCache does, with all activations in memory."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.model = encoder, encoder.model

    def forward(self, groups):
        parts = [self.encoder([group]) for group in groups]
        return parts[0]._replace(motion=torch.cat([p.motion for p in parts]), text=torch.cat([p.text for p in parts]))


def step(pair_processor, rows, is_cached=False, model_fields=(), has_dropout=False, wrap=PairEncoder, **fields):
    """Loss, and gradients by name, of the first batch."""
    run = parse_recipe("tiny", {**TINY_RECIPE, "batch_size": 12, "length_groups": 1, **fields}).run
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(pair_processor.tokenizer, learn_logit_scale=True, **dict(model_fields)))
    accelerator = Accelerator(cpu=True)
    encoder = accelerator.prepare(wrap(model)).train(has_dropout)
    batch = next(iter(make_loader(rows, pair_processor, run)))
    torch.manual_seed(1)
    loss = backward(accelerator, encoder, batch, is_cached)
    return float(loss), {name: parameter.grad for name, parameter in model.named_parameters()}, batch


def assert_equal(one, other, tolerance=1e-5):
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert list(one[1]) == list(other[1])
    for name, gradient in one[1].items():
        scale = float(gradient.abs().max()) + 1e-3  # some gradients are zero but for rounding
        assert float((gradient - other[1][name]).abs().max()) < tolerance * scale * 10, name


def test_the_loss_is_that_of_the_model(pair_processor, tiny_data):
    loss, gradients, batch = step(pair_processor, tiny_data["train"])
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(pair_processor.tokenizer, learn_logit_scale=True)).eval()
    (group,) = batch.groups
    out = model(**group, return_loss=True)
    out.loss.backward()
    assert_equal((loss, gradients), (out.loss.item(), {name: p.grad for name, p in model.named_parameters()}))
    assert all(gradient is not None for gradient in gradients.values())


@pytest.mark.parametrize("loss", ["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"])
def test_groups_and_parts_change_nothing(pair_processor, tiny_data, loss):
    settings = {"model_fields": {"loss": loss}, "unique_captions": False}
    whole = step(pair_processor, tiny_data["train"], **settings)
    grouped = step(pair_processor, tiny_data["train"], length_groups=3, **settings)
    assert len(grouped[2].groups) == 3
    assert_equal(grouped, whole)
    cached = step(pair_processor, tiny_data["train"], is_cached=True, micro_batch_size=5, **settings)
    assert [len(group["input_ids"]) for group in cached[2].groups] == [4, 4, 4]
    assert_equal(cached, whole)
    if loss == "duplicate_aware":
        assert sum(equal_texts(g["input_ids"], g["attention_mask"]).sum() for g in whole[2].groups) > 12


def test_parts_repeat_their_dropout(pair_processor, tiny_data):
    settings = {"micro_batch_size": 5, "has_dropout": True}
    together = step(pair_processor, tiny_data["train"], wrap=lambda model: OneByOne(PairEncoder(model)), **settings)
    cached = step(pair_processor, tiny_data["train"], is_cached=True, **settings)
    assert_equal(cached, together)
    other = step(pair_processor, tiny_data["train"], micro_batch_size=5)
    assert abs(together[0] - other[0]) > 1e-3  # dropout was on


def test_equal_captions_are_positives_of_each_other(pair_processor, tiny_data):
    settings = {
        "unique_captions": False,
        "has_dropout": True,
    }  # without dropout their embeddings are equal, and so is the loss
    plain, _, batch = step(pair_processor, tiny_data["train"], **settings)
    aware, _, _ = step(pair_processor, tiny_data["train"], model_fields={"loss": "duplicate_aware"}, **settings)
    torch.manual_seed(0)
    config = tiny_config(pair_processor.tokenizer, learn_logit_scale=True, loss="duplicate_aware")
    model = MotionPatchesModel(config).train()
    torch.manual_seed(1)
    (group,) = batch.groups
    assert aware == pytest.approx(model(**group, return_loss=True).loss.item(), rel=1e-5)
    assert abs(aware - plain) > 1e-3


def test_mixed_motions_share_their_targets(pair_processor, tiny_data):
    loss, _, batch = step(pair_processor, tiny_data["train"], length_groups=3, augment_part_mix=1.0)
    assert batch.targets is not None
    assert len(batch.groups) == 3
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(pair_processor.tokenizer, learn_logit_scale=True)).eval()
    place = batch.order.argsort()
    with torch.no_grad():
        outputs = [model(**group) for group in batch.groups]
        motion, text = (torch.cat([getattr(out, key) for out in outputs])[place] for key in ("motion_embeds", "text_embeds"))
        logits = motion @ text.t() / 0.07
    rows, columns = batch.targets, batch.targets.t()
    expected = -(rows * logits.log_softmax(1)).sum(1).mean()
    expected -= (columns / columns.sum(1, keepdim=True) * logits.t().log_softmax(1)).sum(1).mean()
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_a_batch_on_another_device_is_whole(pair_processor, tiny_data):
    run = dataclasses.replace(parse_recipe("tiny", TINY_RECIPE).run, augment_part_mix=0.5)
    batch = next(iter(make_loader(tiny_data["train"], pair_processor, run))).to("meta")
    tensors = [batch.order, batch.targets, *(tensor for group in batch.groups for tensor in group.values())]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
