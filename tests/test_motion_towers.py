"""Towers of every kind behave alike: masks, poolings, raw joints, attention maps, compilation, precision."""

import pytest
import torch
from conftest import tiny_config
from transformers import (
    AutoModel,
    AutoModelForTextEncoding,
    AutoModelForVideoClassification,
    BertConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    ResNetConfig,
    TimmWrapperConfig,
)

from motionpatches import (
    AutoModelForMotionClassification,
    MotionPatchesConfig,
    MotionPatchesForMotionClassification,
    MotionPatchesModel,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
    motion_vit_config,
)


TINY_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
OTHER_TOWERS = {
    "clip": CLIPVisionConfig(**TINY_VIT, image_size=64, patch_size=8),
    "timm convolutions": TimmWrapperConfig(architecture="resnet10t"),
    "timm transformer": TimmWrapperConfig(
        architecture="vit_tiny_patch16_224",
        model_args={"embed_dim": 32, "depth": 2, "num_heads": 2, "act_layer": "quick_gelu", "dynamic_img_size": True},
    ),
    "convolutions": ResNetConfig(depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8),
}


def values(batch=3, windows=4, size=8, seed=0):
    return torch.randn(batch, 3, windows * size, 5 * size, generator=torch.Generator().manual_seed(seed))


def make(tokenizer, model_class=MotionPatchesModel, **kwargs):
    torch.manual_seed(0)
    config = tiny_config(tokenizer, **{key: value for key, value in kwargs.items() if key != "motion_config"})
    if "motion_config" in kwargs:
        config.motion_config = kwargs["motion_config"]
    return model_class(config).eval()


@pytest.fixture(params=sorted(OTHER_TOWERS))
def other_tower(request):
    return OTHER_TOWERS[request.param]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_a_tower_without_mask_sees_no_padding(tokenizer, other_tower, pooling):
    model = make(tokenizer, motion_config=other_tower, motion_pooling=pooling)
    size = model.config.patch_size
    motions, mask = values(3, 6, size), torch.ones(3, 6, dtype=torch.long)
    mask[0, 4:], mask[2, 3:] = 0, 0
    garbage = motions.clone()
    garbage[0, :, 4 * size :], garbage[2, :, 3 * size :] = 50.0, -50.0
    embeds = model.get_motion_features(motions, mask).pooler_output
    torch.testing.assert_close(model.get_motion_features(garbage, mask).pooler_output, embeds, rtol=0, atol=0)
    alone = model.get_motion_features(motions[2:, :, : 3 * size]).pooler_output
    torch.testing.assert_close(alone, embeds[2:], rtol=1e-5, atol=1e-5)
    assert (model.get_motion_features(motions).pooler_output[0] - embeds[0]).abs().max() > 1e-4


@torch.no_grad()
def test_the_mean_of_a_tower_without_mask_is_over_its_patches(tokenizer):
    model = make(tokenizer, motion_config=OTHER_TOWERS["clip"], motion_pooling="mean")
    outputs = model._encode_motions(values(2), None)
    expected = outputs.last_hidden_state[:, 1:].mean(dim=1)  # without CLIP's class token
    torch.testing.assert_close(outputs.pooler_output, model.motion_norm(expected))


def test_a_tower_without_mask_learns_from_batches_of_several_lengths(tokenizer, other_tower):
    model = make(tokenizer, motion_config=other_tower).train()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    model.get_motion_features(values(2, 4, model.config.patch_size), mask).pooler_output.sum().backward()
    without = [name for name, p in model.motion_model.named_parameters() if p.grad is None]
    assert without == []


def test_what_a_tower_without_mask_cannot_do_is_said(tokenizer):
    model = make(tokenizer, motion_config=OTHER_TOWERS["clip"])
    with pytest.raises(ValueError, match="has gaps; a motion tower without a mask needs the real windows first"):
        model.get_motion_features(values(1), torch.tensor([[1, 0, 1, 1]]))
    with pytest.raises(ValueError, match="leaves no window of 1 of 2 motions"):
        model.get_motion_features(values(2), torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"runs once for each length, here \[2, 4\] windows"):
        model.get_motion_features(values(2), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]), output_hidden_states=True)
    equal = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]])
    states = model.get_motion_features(values(2), equal, output_hidden_states=True).hidden_states
    assert [state.shape for state in states] == [(2, 1 + 2 * 5, 32)] * 3
    with pytest.raises(ValueError, match="attention over windows and parts is known of a ViT alone"):
        model.get_motion_attention(values(1))
    square = TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args={"embed_dim": 32, "depth": 1, "num_heads": 2})
    with pytest.raises(ValueError, match="does not take motions of 64 frames and 80 points: Input height"):
        make(tokenizer, motion_config=square).get_motion_features(values(1, 4, 16))


def test_a_text_tower_must_have_the_token_that_is_pooled():
    motion_config = motion_vit_config("tiny", 8, 64, **TINY_VIT)
    clip = CLIPTextConfig(vocab_size=50, **TINY_VIT)
    with pytest.raises(ValueError, match="first token, which is the same for every text in CLIP's text model; use 'eos'"):
        MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=clip))
    bert = BertConfig(vocab_size=50, **TINY_VIT)
    with pytest.raises(ValueError, match=r"text_config \(bert\) has no eos_token_id; use 'cls' or 'mean'"):
        MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=bert, text_pooling="eos"))


@torch.no_grad()
def test_clip_texts_are_pooled_at_their_end_also_under_its_old_configuration():
    motion_config = motion_vit_config("tiny", 8, 64, **TINY_VIT)
    for eos_token_id in (99, 2):  # CLIP's first configurations say 2, where the end token is the highest
        clip = CLIPTextConfig(vocab_size=100, **TINY_VIT, eos_token_id=eos_token_id, bos_token_id=98)
        torch.manual_seed(0)
        model = MotionPatchesModel(
            MotionPatchesConfig(motion_config=motion_config, text_config=clip, text_pooling="eos")
        ).eval()
        embeds = model.get_text_features(torch.tensor([[98, 5, 99, 99], [98, 6, 99, 99], [98, 5, 99, 0]])).pooler_output
        assert (embeds[0] - embeds[1]).abs().max() > 1e-4
        torch.testing.assert_close(embeds[0], embeds[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eos_token_id", [49, [48, 49]])
@torch.no_grad()
def test_texts_are_pooled_at_their_first_end_token_or_their_last_token(eos_token_id):
    motion_config = motion_vit_config("tiny", 8, 64, **TINY_VIT)
    bert = BertConfig(vocab_size=50, **TINY_VIT, eos_token_id=eos_token_id)
    torch.manual_seed(0)
    model = MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=bert, text_pooling="eos")).eval()
    ids = torch.tensor([[1, 5, 49, 6, 49], [1, 5, 6, 7, 0], [1, 5, 6, 7, 8]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    tokens = model.text_model(ids, attention_mask=mask).last_hidden_state
    pooled = model._encode_texts(ids, mask).pooler_output
    torch.testing.assert_close(pooled, torch.stack([tokens[0, 2], tokens[1, 3], tokens[2, 4]]))


@torch.no_grad()
def test_raw_joint_sequences_are_one_token_a_frame(tokenizer):
    motion_config = motion_vit_config("tiny", max_frames=40, num_joints=22, **TINY_VIT)
    model = make(tokenizer, motion_config=motion_config)
    motions = torch.randn(2, 3, 30, 22)
    mask = torch.ones(2, 30, dtype=torch.long)
    mask[1, 20:] = 0
    outputs = model.get_motion_features(motions, mask)
    assert outputs.last_hidden_state.shape == (2, 31, 32)
    alone = model.get_motion_features(motions[1:, :, :20]).pooler_output
    torch.testing.assert_close(outputs.pooler_output[1:], alone, rtol=1e-5, atol=1e-5)
    swapped = motions[:, :, torch.arange(29, -1, -1)]  # without position encoding the order would not matter
    assert (
        model.get_motion_features(swapped).pooler_output - model.get_motion_features(motions).pooler_output
    ).abs().max() > 1e-4
    assert model.get_motion_features(torch.randn(1, 3, 60, 22)).pooler_output.shape == (1, 16)  # longer than the table
    with pytest.raises(ValueError, match="J=22 joints"):
        model.get_motion_features(torch.randn(1, 3, 30, 21))


@torch.no_grad()
def test_each_tower_loads_alone_from_a_whole_checkpoint(model, tokenizer, captions, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    tokens = tokenizer(captions, return_tensors="pt", padding=True, return_token_type_ids=False)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    motion, info = MotionPatchesMotionModelWithProjection.from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    expected = model.get_motion_features(values(), mask)
    torch.testing.assert_close(motion(values(), mask).motion_embeds, expected.pooler_output, rtol=0, atol=0)
    assert not any(name.startswith("text") for name in motion.state_dict())
    text = AutoModelForTextEncoding.from_pretrained(tmp_path / "whole")
    assert isinstance(text, MotionPatchesTextModelWithProjection)
    assert not any(name.startswith("motion") for name in text.state_dict())
    torch.testing.assert_close(text(**tokens).text_embeds, model.get_text_features(**tokens).pooler_output, rtol=0, atol=0)
    for tower in (motion, text):
        tower.save_pretrained(tmp_path / "tower")
        again = AutoModel.from_pretrained(tmp_path / "tower")
        assert type(again) is type(tower)
        assert again.state_dict().keys() == tower.state_dict().keys()


def test_a_classifier_takes_the_tower_of_a_checkpoint_and_gets_a_new_head(model, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    labels = {0: "wave", 1: "kick", 2: "squat"}
    classifier, info = AutoModelForMotionClassification.from_pretrained(
        tmp_path / "whole", id2label=labels, label2id={v: k for k, v in labels.items()}, output_loading_info=True
    )
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert not info["unexpected_keys"]
    torch.testing.assert_close(classifier.motion_model.state_dict(), model.motion_model.state_dict(), rtol=0, atol=0)
    outputs = classifier(values(), labels=torch.tensor([0, 1, 2]))
    expected = torch.nn.functional.cross_entropy(outputs.logits, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(outputs.loss, expected)
    classifier.save_pretrained(tmp_path / "classifier")
    for auto_class in (AutoModelForMotionClassification, AutoModelForVideoClassification, AutoModel):
        again = auto_class.from_pretrained(tmp_path / "classifier")
        assert isinstance(again, MotionPatchesForMotionClassification)
        assert again.config.id2label == labels
        torch.testing.assert_close(again(values()).logits, classifier(values()).logits)


def test_several_labels_at_once(tokenizer):
    model = make(tokenizer, MotionPatchesForMotionClassification, num_labels=4, problem_type="multi_label_classification")
    target = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    outputs = model(values(), labels=target)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs.logits, target)
    torch.testing.assert_close(outputs.loss, expected)


@torch.no_grad()
def test_persons_share_a_tower_whose_features_are_concatenated(tokenizer):
    model = make(tokenizer, num_persons=2)
    single = make(tokenizer)
    single.motion_model.load_state_dict(model.motion_model.state_dict())
    pair = torch.stack([values(seed=1), values(seed=2)], dim=1)
    mask = torch.tensor([[[1, 1, 1, 1], [1, 1, 0, 0]]]).repeat(3, 1, 1)
    first = single._encode_motions(pair[:, 0], mask[:, 0]).pooler_output
    second = single._encode_motions(pair[:, 1], mask[:, 1]).pooler_output
    expected = model.motion_projection(torch.cat([first, second], dim=-1))
    torch.testing.assert_close(model.get_motion_features(pair, mask).pooler_output, expected)
    classifier = make(tokenizer, MotionPatchesForMotionClassification, num_persons=2, num_labels=3)
    assert classifier(pair, mask).logits.shape == (3, 3)
    assert model.get_motion_attention(pair, mask).shape == (3, 2, 4, 5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_attention_is_what_the_pooled_token_looks_at(tokenizer, pooling):
    model = make(tokenizer, motion_pooling=pooling)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    attention = model.get_motion_attention(values(), mask)
    assert attention.shape == (3, 4, 5)
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(3))
    assert attention[1, 3].abs().max() == 0
    assert model.config.motion_config._attn_implementation == "sdpa"  # as before

    model.set_attn_implementation("eager")
    layers = [layer.mean(dim=1) for layer in model.get_motion_features(values(), mask, output_attentions=True).attentions]
    first = model.get_motion_attention(values(), mask, layer=0)
    rows = layers[0][2, :1] if pooling == "cls" else layers[0][2, 1:6]
    torch.testing.assert_close(first[2, 0], rows.mean(dim=0)[1:6] / rows.mean(dim=0)[1:6].sum())
    weights = layers[-1]
    # By hand for the third motion, which has one window: tokens 1 to 5 after the class token.
    rows = weights[2, :1] if pooling == "cls" else weights[2, 1:6]
    expected = rows.mean(dim=0)[1:6]
    torch.testing.assert_close(attention[2, 0], expected / expected.sum())


@torch.no_grad()
def test_attention_finds_the_part_that_a_model_was_made_to_look_at(tokenizer):
    model = make(tokenizer)
    for layer in model.motion_model.layers:  # keys and queries that meet where the third channel is high
        layer.attention.q_proj.weight.zero_()
        layer.attention.q_proj.bias.fill_(1.0)
    embeddings = model.motion_model.embeddings
    embeddings.position_embeddings.zero_()
    embeddings.patch_embeddings.projection.weight.zero_()
    embeddings.patch_embeddings.projection.weight[:16, 2] = 1.0
    direction = torch.cat([torch.ones(16), -torch.ones(16)])
    for layer in model.motion_model.layers:
        layer.attention.k_proj.weight.copy_(direction.expand(32, 32))
        layer.attention.k_proj.bias.zero_()
    motions = torch.zeros(1, 3, 32, 40)
    motions[0, 2, 8:16, 24:32] = 1.0  # second window, right arm
    for rollout in (False, True):
        attention = model.get_motion_attention(motions, layer=0, rollout=rollout)
        assert attention.flatten().argmax() == 5 + 3
    with pytest.raises(ValueError, match="there is no layer 2; the motion tower has 2"):
        model.get_motion_attention(motions, layer=2)


@torch.no_grad()
def test_rollout_mixes_the_layers_with_their_shortcuts(model):
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    rolled = model.get_motion_attention(values(), mask, rollout=True)
    model.set_attn_implementation("eager")
    layers = [a.mean(dim=1) for a in model.get_motion_features(values(), mask, output_attentions=True).attentions]
    first, second = (0.5 * layer + 0.5 * torch.eye(21) for layer in layers)
    expected = (second @ first)[:, 0, 1:].reshape(3, 4, 5)
    torch.testing.assert_close(rolled, expected / expected.sum(dim=(1, 2), keepdim=True))


@torch.no_grad()
def test_hidden_states_attentions_and_tuples(model, tokenizer, captions):
    tokens = tokenizer(captions[:3], return_tensors="pt", padding=True, return_token_type_ids=False)
    inputs = {"motion_values": values(), **tokens}
    model.set_attn_implementation("eager")
    out = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert [h.shape for h in out.motion_model_output.hidden_states] == [(3, 21, 32)] * 3
    assert [a.shape for a in out.motion_model_output.attentions] == [(3, 2, 21, 21)] * 2
    assert len(out.text_model_output.hidden_states) == 3
    assert len(out.text_model_output.attentions) == 2
    plain = model(**inputs)
    assert plain.motion_model_output.hidden_states is None
    as_tuple = model(**inputs, return_dict=False)
    assert isinstance(as_tuple, tuple)
    torch.testing.assert_close(as_tuple[0], plain.logits_per_motion)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_attention_implementations_agree(model, implementation):
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    expected = model.get_motion_features(values(), mask).pooler_output
    model.set_attn_implementation(implementation)
    assert model.config.motion_config._attn_implementation == implementation
    torch.testing.assert_close(model.get_motion_features(values(), mask).pooler_output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_both_towers_compile_in_one_graph(tokenizer, captions, pooling):
    model = make(tokenizer, motion_pooling=pooling, text_pooling=pooling)
    tokens = tokenizer(captions[:3], return_tensors="pt", padding=True, return_token_type_ids=False)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    motion = torch.compile(model.get_motion_features, backend="aot_eager", fullgraph=True)
    text = torch.compile(model.get_text_features, backend="aot_eager", fullgraph=True)
    expected = model.get_motion_features(values(), mask).pooler_output
    torch.testing.assert_close(motion(values(), mask).pooler_output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        text(**tokens).pooler_output, model.get_text_features(**tokens).pooler_output, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_stays_close(model, tokenizer, captions, dtype, tmp_path):
    model.save_pretrained(tmp_path)
    half = MotionPatchesModel.from_pretrained(tmp_path, dtype=dtype)
    assert half.motion_model.dtype == dtype
    tokens = tokenizer(captions[:3], return_tensors="pt", padding=True, return_token_type_ids=False)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    exact, close = (m(motion_values=values(), motion_attention_mask=mask, **tokens) for m in (model, half))
    assert close.motion_embeds.dtype == dtype
    assert ((exact.motion_embeds * close.motion_embeds).sum(dim=-1) > 0.99).all()
    assert ((exact.text_embeds * close.text_embeds).sum(dim=-1) > 0.99).all()


def test_gradient_checkpointing_gives_the_same_gradients(tokenizer, captions):
    tokens = tokenizer(captions[:3], return_tensors="pt", padding=True, return_token_type_ids=False)
    gradients = []
    for checkpointing in (False, True):
        model = make(tokenizer, projection_dropout=0.0).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.motion_model.layers[0].gradient_checkpointing
        model(motion_values=values(), return_loss=True, **tokens).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_vocabulary_grows_as_in_any_model_of_transformers(model):
    size = model.config.text_config.vocab_size
    model.resize_token_embeddings(size + 3)
    assert model.get_input_embeddings().weight.shape[0] == size + 3
    assert model.config.text_config.vocab_size == size + 3
    assert model.get_text_features(torch.tensor([[2, size + 2, 3]])).pooler_output.shape == (1, 16)


def test_a_configuration_alone_makes_the_dual_encoder(tokenizer):
    assert isinstance(AutoModel.from_config(tiny_config(tokenizer)), MotionPatchesModel)


@pytest.mark.parametrize(("architecture", "patch_size"), [("vit_base_patch32_clip_224.openai", 32), ("resnet10t", 16)])
def test_the_patch_size_of_a_network_of_timm_stands_in_its_name(tokenizer, architecture, patch_size):
    config = MotionPatchesConfig(
        motion_config=TimmWrapperConfig(architecture=architecture), text_config=tiny_config(tokenizer).text_config
    )
    assert config.patch_size == patch_size
    assert config.motion_grid.columns == 5 * patch_size
