"""From a recipe to a processor and a model."""

import pytest
import torch
from conftest import TINY_RECIPE
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from motionpatches import make_motions
from motionpatches.training.builder import build_model, build_processor, train_tokenizer
from motionpatches.training.recipe import parse_recipe


@pytest.mark.parametrize("can_decode", [False, True])
def test_equal_captions_give_equal_tokenizers(can_decode):
    captions = [text for motion in make_motions(60) for text in motion["captions"]]
    first, *others = (train_tokenizer(captions, 500, can_decode) for _ in range(4))
    assert len(first) > 200
    assert all(other.get_vocab() == first.get_vocab() for other in others)


def test_trained_tokenizer_frames_and_lowers_text():
    tokenizer = train_tokenizer(["a person walks", "someone jumps"] * 5, 100)
    ids = tokenizer("A PERSON walks")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert ids == tokenizer("a person walks")["input_ids"]
    assert tokenizer.unk_token_id not in ids


def test_a_language_model_says_words_of_several_pieces_as_they_are():
    tokenizer = train_tokenizer(
        ["the person squats, then jumps", "both arms", "bowling (right hand)"] * 3, 45, can_decode=True
    )
    for text in ("the person squats, then jumps", "both arms", "the arms jump both", "bowling (right hand)"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert len(tokens) > len(text.split()) + 1
        assert tokenizer.decode(tokens) == text


def test_settings_reach_processor_and_model(tiny_data):
    values = {"root": "relative", "body_scale": 0.7, "normalization": "points", "loss": "softmax_mean", "temperature": 0.1}
    recipe = parse_recipe("mine", {**TINY_RECIPE, **values, "per_skeleton": False, "window_mask": False})
    processor = build_processor(recipe, tiny_data["train"])
    motion_processor = processor.feature_extractor
    assert (motion_processor.root, motion_processor.body_scale, motion_processor.max_frames) == ("relative", 0.7, 96)
    assert set(motion_processor.statistics) == {"shared"}
    assert motion_processor.return_attention_mask is False
    model = build_model(recipe, processor)
    assert model.config.loss == "softmax_mean"
    assert model.logit_scale.exp().item() == pytest.approx(10)
    assert model.config.text_config.vocab_size == len(processor.tokenizer)


def test_pretrained_text_tower_arrives_whole(tiny_data, tmp_path):
    tokenizer = train_tokenizer([text for texts in tiny_data["train"]["captions"] for text in texts], 200)
    tokenizer.save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    pretrained = BertModel(config)
    pretrained.save_pretrained(tmp_path)
    recipe = parse_recipe("mine", {**TINY_RECIPE, "text_name": str(tmp_path)})
    processor = build_processor(recipe, tiny_data["train"])
    model = build_model(recipe, processor)
    for name, tensor in model.text_model.state_dict().items():
        assert torch.equal(tensor, pretrained.state_dict()[name])


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"patch_size": 8}, 12 * 5),  # paper Table 10
        ({"patch_size": 32}, 3 * 5),
        ({"motion_size": "small"}, 6 * 5),  # Table 8
        ({"representation": "joints", "patch_size": 1}, 96),  # Table 4
        ({"num_persons": 2}, 2 * 6 * 5),  # section 5.3
    ],
)
def test_variants_of_the_paper_are_settings_of_a_recipe(settings, tokens, tiny_data):
    rows = tiny_data["train"].filter(lambda row: row["skeleton"] == "smpl22")
    recipe = parse_recipe("variant", {**TINY_RECIPE, **settings})
    processor = build_processor(recipe, rows)
    model = build_model(recipe, processor).eval()
    motion = rows.with_format("numpy")[0]
    if model.config.num_persons == 2:
        motion = {**motion, "persons": 2, "joints": motion["joints"].tolist() * 2}
    inputs = processor.feature_extractor([motion], return_tensors="pt", padding="max_length")
    outputs = model.get_motion_features(**inputs)
    assert outputs.last_hidden_state[:, 1:].flatten(0, 1).shape[0] == tokens
    assert outputs.pooler_output.shape == (1, 32)


def test_raw_joint_sequences_need_statistics_that_say_how_many(tiny_data):
    recipe = parse_recipe("variant", {**TINY_RECIPE, "representation": "joints", "patch_size": 1, "normalization": "none"})
    rows = tiny_data["train"].filter(lambda row: row["skeleton"] == "smpl22")
    with pytest.raises(ValueError, match="representation='joints' needs a normalization"):
        build_model(recipe, build_processor(recipe, rows))


def test_a_pretrained_vit_must_have_the_patches_of_the_recipe(tiny_data, tmp_path):
    tokenizer = train_tokenizer([text for texts in tiny_data["train"]["captions"] for text in texts], 200)
    tokenizer.save_pretrained(tmp_path / "text")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "text")
    ViTModel(ViTConfig(**sizes, image_size=64, patch_size=16), add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    names = {"motion_name": str(tmp_path / "vit"), "text_name": str(tmp_path / "text")}
    recipe = parse_recipe("mine", {**TINY_RECIPE, **names, "patch_size": 8})
    with pytest.raises(ValueError, match=r"has patches of 16, but the recipe says patch_size=8"):
        build_model(recipe, build_processor(recipe, tiny_data["train"]))


def test_a_pretrained_vit_needs_a_pretrained_text_model(tiny_data):
    recipe = parse_recipe("mine", {**TINY_RECIPE, "motion_name": "vit_tiny_patch16_224"})
    with pytest.raises(ValueError, match="motion_name needs text_name too"):
        build_model(recipe, build_processor(recipe, tiny_data["train"]))
