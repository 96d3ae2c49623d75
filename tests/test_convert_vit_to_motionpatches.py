"""Image-pretrained ViTs become motion towers exactly, or not at all."""

import pytest
import timm
import torch
from transformers import DistilBertModel, ViTConfig, ViTModel

from motionpatches import MotionPatchesModel
from motionpatches.convert_vit_to_motionpatches import convert_timm_state_dict, resize_position_table
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
    resized = resize_position_table(table, (4, 4), windows=14)
    assert resized.shape == (1, 1 + 14 * 5, 8)
    torch.testing.assert_close(resized[:, 0], table[:, 0])
    same = resize_position_table(torch.ones(1, 17, 8), (4, 4), windows=3)
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
    norm = model.motion_norm if pooling == "mean" else model.motion_model.layernorm
    torch.testing.assert_close(norm.weight, vit.layernorm.weight)
    torch.testing.assert_close(model.motion_model.layers[1].mlp.fc1.weight, vit.layers[1].mlp.fc1.weight)
    text = DistilBertModel.from_pretrained(text_folder)
    torch.testing.assert_close(model.text_model.embeddings.word_embeddings.weight, text.embeddings.word_embeddings.weight)
    assert model.get_motion_features(torch.randn(1, 3, 32, 80)).pooler_output.shape == (1, 16)


def test_timm_names_are_understood(text_folder, monkeypatch):
    vit = tiny_timm()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, num_classes: vit)
    model = MotionPatchesModel.from_motion_text_pretrained("vit_tiny_patch16_224.augreg_in21k", text_folder, max_frames=32)
    assert isinstance(model.motion_model, MotionViTModel)
    config = model.config.motion_config
    assert (list(config.image_size), config.hidden_size, config.layer_norm_eps) == ([32, 80], 32, 1e-6)
    torch.testing.assert_close(model.motion_model.embeddings.cls_token, vit.cls_token)


def test_other_models_are_refused(text_folder):
    with pytest.raises(ValueError, match="is a 'distilbert'; the motion tower is a 'vit'"):
        MotionPatchesModel.from_motion_text_pretrained(text_folder, text_folder)
