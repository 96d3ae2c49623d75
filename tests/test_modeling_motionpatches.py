"""The dual encoder: masks, poolings, losses, saving, and how it trains."""

import math

import pytest
import torch
from conftest import tiny_config
from transformers import AutoConfig, AutoModel, BertConfig, CLIPTextConfig, Trainer, TrainingArguments, ViTConfig

from motionpatches import MotionPatchesConfig, MotionPatchesModel, motion_vit_config


def patches(batch=2, windows=4, seed=0):
    return torch.randn(batch, 3, windows * 8, 40, generator=torch.Generator().manual_seed(seed))


def text(tokenizer, captions):
    return dict(tokenizer(captions, return_tensors="pt", padding=True, return_token_type_ids=False))


@pytest.fixture(params=["cls", "mean"])
def pooled_model(request, tokenizer):
    torch.manual_seed(0)
    return MotionPatchesModel(tiny_config(tokenizer, motion_pooling=request.param)).eval()


@torch.no_grad()
def test_masked_windows_change_nothing(pooled_model):
    values, mask = patches(), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    garbage = values.clone()
    garbage[0, :, 16:] = 1e3
    garbage[1, :, 24:] = -1e3
    before, after = (pooled_model.get_motion_features(v, mask).pooler_output for v in (values, garbage))
    torch.testing.assert_close(before, after, rtol=0, atol=0)
    unmasked = pooled_model.get_motion_features(values).pooler_output
    assert (unmasked - before).abs().max() > 1e-3


@torch.no_grad()
def test_padding_in_a_batch_changes_nothing(pooled_model):
    short = patches(batch=1, windows=2)
    padded = torch.cat([short, torch.zeros(1, 3, 24, 40)], dim=2)
    alone = pooled_model.get_motion_features(short).pooler_output
    in_batch = pooled_model.get_motion_features(padded, torch.tensor([[1, 1, 0, 0, 0]])).pooler_output
    torch.testing.assert_close(alone, in_batch, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_motions_longer_than_the_table_interpolate_it_in_time_only(model):
    embeddings = model.motion_model.embeddings
    table = torch.linspace(0, 1, 8).repeat_interleave(5)[None, :, None] + torch.arange(5).repeat(8)[None, :, None] * 10
    embeddings.position_embeddings[:, 1:] = table
    position = embeddings.interpolate_pos_encoding(torch.empty(1, 81, 32), 128, 40)[0, 1:, 0].reshape(16, 5)
    assert position.shape == (16, 5)
    torch.testing.assert_close(position[:, 1:] - position[:, :-1], torch.full((16, 4), 10.0), rtol=1e-4, atol=1e-4)
    assert (position[1:, 0] > position[:-1, 0] - 1e-3).all()
    assert model.get_motion_features(patches(windows=16)).pooler_output.shape == (2, 16)


@torch.no_grad()
def test_outputs_are_cosines_over_the_temperature(model, tokenizer, captions):
    out = model(motion_values=patches(3), **text(tokenizer, captions))
    assert out.logits_per_motion.shape == (3, 4)
    torch.testing.assert_close(out.motion_embeds.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(out.text_embeds.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(out.logits_per_motion, out.motion_embeds @ out.text_embeds.t() / 0.07)
    torch.testing.assert_close(out.logits_per_text, out.logits_per_motion.t())
    assert out.loss is None


def test_loss_needs_pairs(model, tokenizer, captions):
    with pytest.raises(ValueError, match="got 3 motions and 4 texts"):
        model(motion_values=patches(3), return_loss=True, **text(tokenizer, captions))


def test_temperature_is_frozen_or_learned_also_after_loading(tokenizer, captions, tmp_path):
    for learn in (False, True):
        model = MotionPatchesModel(tiny_config(tokenizer, learn_logit_scale=learn))
        model.save_pretrained(tmp_path / str(learn))
        loaded = MotionPatchesModel.from_pretrained(tmp_path / str(learn))
        assert loaded.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
        assert ("logit_scale" in dict(loaded.named_parameters())) is learn
        assert "logit_scale" in loaded.state_dict()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_text_padding_changes_nothing(tokenizer, pooling):
    model = MotionPatchesModel(tiny_config(tokenizer, text_pooling=pooling)).eval()
    alone = model.get_text_features(**text(tokenizer, ["someone jumps twice"])).pooler_output
    padded = text(tokenizer, ["someone jumps twice", "the figure waves the left hand and the person sits down slowly"])
    torch.testing.assert_close(model.get_text_features(**padded).pooler_output[:1], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_eos_pooling_takes_the_first_end_token(tokenizer):
    text_config = CLIPTextConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, eos_token_id=99
    )
    config = tiny_config(tokenizer, text_pooling="eos")
    config = MotionPatchesConfig(motion_config=config.motion_config, text_config=text_config, text_pooling="eos")
    model = MotionPatchesModel(config).eval()
    short, padded = torch.tensor([[1, 5, 99]]), torch.tensor([[1, 5, 99, 99, 99]])
    first, second = (model.get_text_features(ids).pooler_output for ids in (short, padded))
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
    other = model.get_text_features(torch.tensor([[1, 6, 99]])).pooler_output
    assert (first - other).abs().max() > 1e-4


def test_any_text_tower(tokenizer, captions):
    text_config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    config = MotionPatchesConfig(motion_config=tiny_config(tokenizer).motion_config, text_config=text_config)
    model = MotionPatchesModel(config)
    loss = model(motion_values=patches(4), return_loss=True, **text(tokenizer, captions)).loss
    loss.backward()
    without_gradient = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without_gradient == []  # an unused pooler would stop distributed training


@torch.no_grad()
def test_two_persons_are_one_motion(tokenizer):
    model = MotionPatchesModel(tiny_config(tokenizer, num_persons=2)).eval()
    pair = torch.stack([patches(3, seed=1), patches(3, seed=2)], dim=1)
    features = model.get_motion_features(pair, torch.ones(3, 2, 4, dtype=torch.long)).pooler_output
    assert features.shape == (3, 16)
    assert (model.get_motion_features(pair.flip(1)).pooler_output - features).abs().max() > 1e-4


@torch.no_grad()
def test_save_and_load_give_the_same_embeddings(pooled_model, tokenizer, captions, tmp_path):
    pooled_model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, MotionPatchesModel)
    inputs = {"motion_values": patches(4), **text(tokenizer, captions)}
    torch.testing.assert_close(loaded(**inputs).logits_per_motion, pooled_model(**inputs).logits_per_motion)


def test_config_round_trip_and_defaults(tmp_path):
    config = MotionPatchesConfig()
    assert (config.motion_config.model_type, config.text_config.model_type) == ("vit", "distilbert")
    assert (config.projection_dim, config.motion_pooling, config.loss) == (256, "cls", "softmax_sum")
    assert list(config.motion_config.image_size) == [224, 80]
    config = MotionPatchesConfig(motion_config=motion_vit_config("tiny", 8, 64).to_dict(), motion_pooling="mean")
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded.motion_config, ViTConfig)
    assert loaded.motion_config.hidden_size == 192
    differing = {key for key, value in loaded.to_dict().items() if config.to_dict().get(key) != value}
    assert differing <= {"_name_or_path", "transformers_version"}


@pytest.mark.parametrize(("size", "width", "millions"), [("tiny", 192, 5.5), ("small", 384, 21.7), ("base", 768, 85.8)])
def test_vit_sizes_are_those_of_the_paper(size, width, millions):
    from motionpatches.motion_towers import MotionViTModel

    with torch.device("meta"):
        tower = MotionViTModel(motion_vit_config(size))
    assert tower.config.hidden_size == width
    assert sum(p.numel() for p in tower.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.zeros(2, 3, 32, 80), None, r"motion_values has shape \(2, 3, 32, 80\); expected .* N=8"),
        (torch.zeros(2, 3, 30, 40), None, "F a multiple of N"),
        (torch.zeros(2, 3, 0, 40), None, "expected"),
        (torch.zeros(3, 32, 40), None, "expected"),
        (torch.zeros(2, 3, 32, 40), torch.ones(2, 32), r"motion_attention_mask has shape \(2, 32\); expected \(2, 4\)"),
    ],
)
def test_wrong_shapes_are_named(model, values, mask, message):
    with pytest.raises(ValueError, match=message):
        model.get_motion_features(values, mask)


def test_one_side_alone_points_to_the_right_method(model):
    with pytest.raises(ValueError, match="use get_motion_features or get_text_features"):
        model(motion_values=patches())


def test_wrong_configs_are_refused():
    with pytest.raises(ValueError, match="unknown ViT size 'huge'; known: tiny"):
        motion_vit_config("huge")
    with pytest.raises(ValueError, match="max_frames=100 must be a positive multiple"):
        motion_vit_config("tiny", 16, 100)
    square = ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=[224, 224]
    )
    with pytest.raises(ValueError, match=r"image_size=\[224, 224\].*see motion_vit_config"):
        MotionPatchesModel(MotionPatchesConfig(motion_config=square))
    with pytest.raises(Exception, match="loss"):
        MotionPatchesConfig(loss="triplet")


def test_trains_under_the_trainer_of_transformers(tokenizer, captions, tmp_path):
    torch.manual_seed(0)
    model = MotionPatchesModel(tiny_config(tokenizer, projection_dropout=0.0, motion_pooling="mean"))
    tokens = text(tokenizer, captions)
    rows = [{"motion_values": patches(1, seed=i)[0], **{k: v[i] for k, v in tokens.items()}} for i in range(4)]

    def collate(items):
        return {**{key: torch.stack([item[key] for item in items]) for key in items[0]}, "return_loss": True}

    arguments = TrainingArguments(
        str(tmp_path), max_steps=40, per_device_train_batch_size=4, learning_rate=1e-3, report_to=[], save_strategy="no",
        disable_tqdm=True, use_cpu=True, remove_unused_columns=False, logging_steps=1,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=collate)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]  # a model whose parts do not learn stays at 2 ln 4
