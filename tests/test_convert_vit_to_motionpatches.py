"""Image-pretrained ViTs become motion towers exactly, or not at all."""

import pytest
import timm
import torch
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, DistilBertModel, ViTConfig, ViTModel

from motionpatches import MotionPatchesModel
from motionpatches.convert_vit_to_motionpatches import convert_timm_state_dict, load_exactly, resize_position_table
from motionpatches.motion_towers import MotionViTModel


def tiny_timm(**kwargs):
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, num_classes=0, embed_dim=32, depth=2, num_heads=2, img_size=64, **kwargs
    ).eval()


@pytest.fixture
def text_folder(tokenizer, tmp_path):
    from conftest import tiny_config

    folder = tmp_path / "text"
    DistilBertModel(tiny_config(tokenizer).text_config).save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def test_converted_timm_weights_compute_the_same():
    vit = tiny_timm()
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, image_size=64, layer_norm_eps=1e-6
    )
    model = ViTModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(convert_timm_state_dict(vit.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images).last_hidden_state, vit.forward_features(images), rtol=1e-5, atol=1e-5)


def test_a_foreign_weight_is_refused():
    with pytest.raises(ValueError, match=r"'blocks.0.ls1.gamma' has no counterpart"):
        convert_timm_state_dict(tiny_timm(init_values=0.1).state_dict())


def test_position_table_is_resized_to_windows_by_parts_with_the_class_slot_kept():
    table = torch.randn(1, 1 + 16, 8)
    resized = resize_position_table(table, (4, 4), (14, 5))
    assert resized.shape == (1, 1 + 14 * 5, 8)
    torch.testing.assert_close(resized[:, 0], table[:, 0])
    same = resize_position_table(torch.ones(1, 17, 8), (4, 4), (3, 5))
    torch.testing.assert_close(same, torch.ones(1, 16, 8))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_pretrained_towers_arrive_whole(pooling, text_folder, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64, layer_norm_eps=1e-6
    )
    vit = ViTModel(config, add_pooling_layer=False)
    vit.layernorm.weight.uniform_(0.5, 2)  # a norm that was dropped would show
    vit.save_pretrained(tmp_path / "vit")
    model = MotionPatchesModel.from_motion_text_pretrained(
        str(tmp_path / "vit"), text_folder, max_frames=64, motion_pooling=pooling, projection_dim=16
    )
    assert str(tmp_path) not in model.config.to_json_string(use_diff=False)  # no folders of this machine
    norm = model.motion_norm if pooling == "mean" else model.motion_model.layernorm
    torch.testing.assert_close(norm.weight, vit.layernorm.weight)
    torch.testing.assert_close(model.motion_model.layers[1].mlp.fc1.weight, vit.layers[1].mlp.fc1.weight)
    text = DistilBertModel.from_pretrained(text_folder)
    torch.testing.assert_close(model.text_model.embeddings.word_embeddings.weight, text.embeddings.word_embeddings.weight)
    assert model.get_motion_features(torch.randn(1, 3, 32, 80)).pooler_output.shape == (1, 16)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224.augreg_in21k", "timm/vit_tiny_patch16_224", "hf-hub:timm/vit_tiny_patch16_224"]
)
def test_timm_names_are_understood(name, text_folder, monkeypatch):
    vit = tiny_timm()
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, num_classes: asked.append((name, pretrained)) or vit)
    model = MotionPatchesModel.from_motion_text_pretrained(name, text_folder, max_frames=32)
    assert asked == [(name.rpartition("/")[2], True)]
    assert isinstance(model.motion_model, MotionViTModel)
    config = model.config.motion_config
    assert (list(config.image_size), config.hidden_size, config.layer_norm_eps) == ([32, 80], 32, 1e-6)
    torch.testing.assert_close(model.motion_model.embeddings.cls_token, vit.cls_token)


@pytest.mark.parametrize(
    "settings", [{"act_layer": "quick_gelu"}, {"init_values": 0.1}, {"reg_tokens": 2}, {"pre_norm": True}, {"qk_norm": True}]
)
@torch.no_grad()
def test_a_vit_of_timm_that_transformers_does_not_have_runs_as_timm_does(settings, text_folder, monkeypatch):
    vit = tiny_timm(dynamic_img_size=True, **settings)
    create = timm.create_model

    def fake(name, pretrained=False, **kwargs):
        return vit if pretrained else create(name, embed_dim=32, depth=2, num_heads=2, img_size=64, **settings, **kwargs)

    monkeypatch.setattr(timm, "create_model", fake)
    model = MotionPatchesModel.from_motion_text_pretrained("vit_tiny_patch16_224", text_folder)
    assert model.config.motion_config.model_type == "timm_wrapper"
    motions = torch.randn(2, 3, 32, 80)
    expected = vit.forward_head(vit.forward_features(motions), pre_logits=True)
    torch.testing.assert_close(model._encode_motions(motions, None).pooler_output, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_convolutional_network_of_timm_runs_as_timm_does(text_folder, monkeypatch):
    network = timm.create_model("resnet10t", num_classes=0).eval()
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained=False, **k: network if pretrained else create(name, **k)
    )
    model = MotionPatchesModel.from_motion_text_pretrained("resnet10t", text_folder)
    motions = torch.randn(2, 3, 64, 80)
    torch.testing.assert_close(model._encode_motions(motions, None).pooler_output, network(motions), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_clip_gives_either_tower_or_both(text_folder, tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    clip = CLIPModel(
        CLIPConfig(
            vision_config={**sizes, "image_size": 64, "patch_size": 8},
            text_config={**sizes, "vocab_size": 60, "eos_token_id": 59, "bos_token_id": 58},
        )
    ).eval()
    clip.save_pretrained(tmp_path / "clip")
    folder = str(tmp_path / "clip")
    model = MotionPatchesModel.from_motion_text_pretrained(folder, folder)
    assert (model.config.text_pooling, model.config.patch_size) == ("eos", 8)
    motions, ids = torch.randn(2, 3, 32, 40), torch.tensor([[58, 4, 59]])
    expected = clip.vision_model(motions, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(model._encode_motions(motions, None).pooler_output, expected)
    torch.testing.assert_close(model._encode_texts(ids, None).pooler_output, clip.text_model(ids).pooler_output)
    mixed = MotionPatchesModel.from_motion_text_pretrained(folder, text_folder)
    assert (mixed.config.text_pooling, mixed.config.text_config.model_type) == ("cls", "distilbert")


def test_raw_joint_sequences_take_the_layers_of_a_pretrained_vit(text_folder, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64, layer_norm_eps=1e-6
    )
    vit = ViTModel(config, add_pooling_layer=False)
    vit.save_pretrained(tmp_path / "vit")
    model = MotionPatchesModel.from_motion_text_pretrained(str(tmp_path / "vit"), text_folder, max_frames=40, num_joints=22)
    assert model.config.patch_size == 1
    assert model.motion_model.embeddings.patch_embeddings.projection.weight.shape == (32, 3, 1, 22)
    assert model.motion_model.embeddings.position_embeddings.shape == (1, 41, 32)
    torch.testing.assert_close(model.motion_model.layers.state_dict(), vit.layers.state_dict())
    torch.testing.assert_close(model.motion_model.embeddings.cls_token, vit.embeddings.cls_token)
    assert model.get_motion_features(torch.randn(1, 3, 30, 22)).pooler_output.shape == (1, 256)


def test_weights_that_do_not_fill_the_tower_are_named(text_folder, tmp_path):
    config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64)
    vit = ViTModel(config, add_pooling_layer=False)
    state_dict = dict(vit.state_dict())
    state_dict["layers.0.mlp.extra"] = state_dict.pop("layers.1.mlp.fc1.bias")
    with pytest.raises(
        ValueError, match=r"'mine' .* missing \['layers.1.mlp.fc1.bias'\], unexpected \['layers.0.mlp.extra'\]"
    ):
        load_exactly(vit, state_dict, "mine")
    with pytest.raises(ValueError, match=r"unexpected \['layers.0.mlp.fc1.bias'\]"):  # expected to be new, but it is there
        load_exactly(vit, dict(vit.state_dict()), "mine", {"layers.0.mlp.fc1.bias"})


def test_other_models_are_refused(text_folder, tmp_path):
    with pytest.raises(ValueError, match="is a 'distilbert', which takes no images"):
        MotionPatchesModel.from_motion_text_pretrained(text_folder, text_folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=64, patch_size=8)).save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="num_joints=22 is for a ViT over raw joint sequences"):
        MotionPatchesModel.from_motion_text_pretrained(str(tmp_path / "clip"), text_folder, num_joints=22)
