"""Image-pretrained ViTs (timm or transformers) → the motion tower."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, ViTConfig, ViTModel

from .configuration_motionpatches import NUM_PARTS, MotionPatchesConfig
from .modeling_motionpatches import MotionPatchesModel


_TIMM_TO_VIT = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.(\d+)\.norm1\.", r"layers.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"layers.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"layers.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.mlp\.", r"layers.\1.mlp."),
    (r"^(norm|fc_norm)\.", "layernorm."),
)


def convert_timm_state_dict(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of a timm VisionTransformer → names of `transformers.ViTModel`; the fused qkv is split.

    The classification head is dropped. Position tables keep their size: see `resize_position_table`.

    Raises:
        ValueError: If a key has no counterpart.
    """
    converted: dict[str, torch.Tensor] = {}
    for key, value in state_dict.items():
        if key.startswith("head."):
            continue
        if fused := re.match(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$", key):
            for name, part in zip("qkv", value.chunk(3, dim=0), strict=True):
                converted[f"layers.{fused[1]}.attention.{name}_proj.{fused[2]}"] = part.clone()
            continue
        for pattern, replacement in _TIMM_TO_VIT:
            renamed, count = re.subn(pattern, replacement, key)
            if count:
                converted[renamed] = value.clone()
                break
        else:
            raise ValueError(
                f"the weight {key!r} has no counterpart in transformers' ViT: a plain VisionTransformer is expected"
            )
    return converted


def resize_position_table(table: torch.Tensor, old_grid: tuple[int, int], windows: int) -> torch.Tensor:
    """Resize (1, 1 + h·w, d) to (1, 1 + windows·5, d): bicubic with antialias, class slot kept, as timm does it."""
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(table, new_size=[windows, NUM_PARTS], old_size=list(old_grid), num_prefix_tokens=1)


def build_from_pretrained(
    model_class: type[MotionPatchesModel], motion_name: str, text_name: str, max_frames: int = 224, **kwargs: Any
) -> MotionPatchesModel:
    """See `MotionPatchesModel.from_motion_text_pretrained`."""
    motion_config, motion_state = _load_motion_tower(motion_name, max_frames)
    text_model = AutoModel.from_pretrained(text_name)
    model = model_class(MotionPatchesConfig(motion_config=motion_config, text_config=text_model.config, **kwargs))
    if model.config.motion_pooling == "mean":  # the pretrained final norm goes where the norm of this model is
        norm = {key.removeprefix("layernorm."): motion_state.pop(key) for key in ("layernorm.weight", "layernorm.bias")}
        model.motion_norm.load_state_dict(norm)
    _load_exactly(model.motion_model, motion_state, motion_name)
    load_text_tower(model, text_model, text_name)
    return model.eval()


def load_text_tower(model: MotionPatchesModel, pretrained: torch.nn.Module, name: str) -> None:
    """Copy a pretrained text model into the text tower, all but BERT's pooler, which the tower goes without.

    Raises:
        ValueError: If the weights do not fill the tower exactly.
    """
    _load_exactly(model.text_model, {k: v for k, v in pretrained.state_dict().items() if not k.startswith("pooler.")}, name)


def _load_exactly(module: torch.nn.Module, state_dict: Mapping[str, torch.Tensor], name: str) -> None:
    missing, unexpected = module.load_state_dict(state_dict, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"the weights of {name!r} do not fill the tower exactly: missing {list(missing)}, unexpected {list(unexpected)}"
        )


def _load_motion_tower(name: str, max_frames: int) -> tuple[ViTConfig, dict[str, torch.Tensor]]:
    config, state_dict = _load_timm(name) if _is_timm_name(name) else _load_transformers_vit(name)
    size = config.image_size if isinstance(config.image_size, (list, tuple)) else (config.image_size, config.image_size)
    patch_size = config.patch_size
    if max_frames < patch_size or max_frames % patch_size:
        raise ValueError(f"max_frames={max_frames} must be a positive multiple of the patch size {patch_size} of {name!r}")
    key = "embeddings.position_embeddings"
    old_grid = (size[0] // patch_size, size[1] // patch_size)
    state_dict[key] = resize_position_table(state_dict[key], old_grid, max_frames // patch_size)
    config.image_size = [max_frames, NUM_PARTS * patch_size]
    return config, state_dict


def _is_timm_name(name: str) -> bool:
    import timm

    return not Path(name).exists() and timm.is_model(name)


def _load_timm(name: str) -> tuple[ViTConfig, dict[str, torch.Tensor]]:
    import timm

    vit = timm.create_model(name, pretrained=True, num_classes=0)
    state_dict = convert_timm_state_dict(vit.state_dict())
    attention = vit.blocks[0].attn
    config = ViTConfig(
        hidden_size=vit.embed_dim,
        num_hidden_layers=len(vit.blocks),
        num_attention_heads=attention.num_heads,
        intermediate_size=vit.blocks[0].mlp.fc1.out_features,
        image_size=list(vit.patch_embed.img_size),
        patch_size=vit.patch_embed.patch_size[0],
        qkv_bias=attention.qkv.bias is not None,
        layer_norm_eps=vit.blocks[0].norm1.eps,
    )
    return config, state_dict


def _load_transformers_vit(name: str) -> tuple[ViTConfig, dict[str, torch.Tensor]]:
    config = AutoConfig.from_pretrained(name)
    if not isinstance(config, ViTConfig):
        raise ValueError(f"{name!r} is a {config.model_type!r}; the motion tower is a 'vit' or a timm VisionTransformer")
    return config, dict(ViTModel.from_pretrained(name, add_pooling_layer=False).state_dict())
