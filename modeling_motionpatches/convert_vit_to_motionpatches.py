"""Pretrained vision and text models (timm, transformers) → the two towers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    TimmWrapperConfig,
    ViTConfig,
    ViTModel,
)

from .configuration_motionpatches import MotionPatchesConfig, motion_image
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
_FUSED = re.compile(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")


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
        if fused := _FUSED.match(key):
            for name, part in zip("qkv", value.chunk(3, dim=0), strict=True):
                converted[f"layers.{fused[1]}.attention.{name}_proj.{fused[2]}"] = part.clone()
            continue
        renamed = _rename(key)
        if renamed is None:
            raise ValueError(
                f"the weight {key!r} has no counterpart in transformers' ViT: a plain VisionTransformer is expected"
            )
        converted[renamed] = value.clone()
    return converted


def _rename(key: str) -> str | None:
    for pattern, replacement in _TIMM_TO_VIT:
        renamed, count = re.subn(pattern, replacement, key)
        if count:
            return renamed
    return None


def resize_position_table(table: torch.Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int]) -> torch.Tensor:
    """Resize (1, 1 + h·w, d) to (1, 1 + h'·w', d): bicubic with antialias, class slot kept, as timm does it."""
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(table, new_size=list(new_grid), old_size=list(old_grid), num_prefix_tokens=1)


def build_from_pretrained(
    model_class: type[MotionPatchesModel],
    motion_name: str,
    text_name: str,
    max_frames: int = 224,
    num_joints: int | None = None,
    **kwargs: Any,
) -> MotionPatchesModel:
    """See `MotionPatchesModel.from_motion_text_pretrained`."""
    motion_config, motion_state, new = load_motion_tower(motion_name, max_frames, num_joints)
    text_model = load_text_model(text_name)
    if text_model.config.model_type == "clip_text_model":  # its first token is the same for every text
        kwargs.setdefault("text_pooling", "eos")
    model = model_class(MotionPatchesConfig(motion_config=motion_config, text_config=text_model.config, **kwargs))
    fill_motion_tower(model, motion_state, motion_name, new)
    load_text_tower(model, text_model, text_name)
    return model.eval()


def fill_motion_tower(
    model: Any, state_dict: Mapping[str, torch.Tensor], name: str, new: set[str] | frozenset[str] = frozenset()
) -> None:
    """Copy pretrained weights into the motion tower of any model here, all but those in `new`.

    The final norm of a ViT goes where the norm of the model is: behind the pooling, where that is the mean.

    Raises:
        ValueError: If the weights do not fill the tower exactly.
    """
    state_dict = dict(state_dict)
    if isinstance(model.config.motion_config, ViTConfig) and model.config.motion_pooling == "mean":
        norm = {key.removeprefix("layernorm."): state_dict.pop(key) for key in ("layernorm.weight", "layernorm.bias")}
        model.motion_norm.load_state_dict(norm)
    load_exactly(model.motion_model, state_dict, name, new)


def load_text_tower(model: MotionPatchesModel, pretrained: nn.Module, name: str) -> None:
    """Copy a pretrained text model into the text tower, all but BERT's pooler, which the tower goes without.

    Raises:
        ValueError: If the weights do not fill the tower exactly.
    """
    load_exactly(model.text_model, {k: v for k, v in pretrained.state_dict().items() if not k.startswith("pooler.")}, name)


def load_exactly(
    module: nn.Module, state_dict: Mapping[str, torch.Tensor], name: str, new: set[str] | frozenset[str] = frozenset()
) -> None:
    """Load weights of which exactly those in `new` are missing and none is left over.

    Raises:
        ValueError: If others are missing, or some are left over.
    """
    missing, unexpected = module.load_state_dict(state_dict, strict=False)
    if set(missing) != new or unexpected:
        raise ValueError(
            f"the weights of {name!r} do not fill the tower exactly: missing {sorted(set(missing) - new)}, unexpected "
            f"{sorted({*unexpected, *(new - set(missing))})}"
        )


def load_motion_tower(
    name: str, max_frames: int, num_joints: int | None = None
) -> tuple[PreTrainedConfig, dict[str, torch.Tensor], set[str]]:
    """A vision model made one over motions: its configuration, its weights, and the names of those that must be new.

    Arguments as `max_frames` and `num_joints` of `MotionPatchesModel.from_motion_text_pretrained`.

    Raises:
        ValueError: If it takes no images, or is asked to take raw joint sequences and is no ViT.
    """
    config, state_dict = _load_vision_model(name)
    if isinstance(config, ViTConfig):
        return config, state_dict, _fit_to_motion(config, state_dict, max_frames, num_joints)
    if num_joints is not None:
        raise ValueError(
            f"num_joints={num_joints} is for a ViT over raw joint sequences, but {name!r} is a {config.model_type!r}"
        )
    return config, state_dict, set()


def _fit_to_motion(
    config: ViTConfig, state_dict: dict[str, torch.Tensor], max_frames: int, num_joints: int | None
) -> set[str]:
    """Turn a ViT over images into one over motions, in place; returns the names of weights that must be new."""
    height, width = config.image_size if isinstance(config.image_size, (list, tuple)) else (config.image_size,) * 2
    patch_size = config.patch_size
    image = motion_image(patch_size, max_frames, num_joints)
    new_grid = (
        (max_frames, 1) if num_joints is not None else (max_frames // patch_size, image["image_size"][1] // patch_size)
    )
    key = "embeddings.position_embeddings"
    state_dict[key] = resize_position_table(state_dict[key], (height // patch_size, width // patch_size), new_grid)
    config.image_size, config.patch_size = image["image_size"], image["patch_size"]
    if num_joints is None:
        return set()
    patch_embedding = {key for key in state_dict if key.startswith("embeddings.patch_embeddings.")}
    for key in patch_embedding:
        del state_dict[key]
    return patch_embedding


def _load_vision_model(name: str) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
    """Configuration and weights of a vision model; of a plain ViT in the names of `transformers.ViTModel`."""
    import timm

    timm_name = re.sub(r"^(hf-hub:)?timm/", "", name)
    if not Path(name).exists() and timm.is_model(timm_name):
        return _load_timm(timm_name)
    config = AutoConfig.from_pretrained(name)
    if isinstance(config, ViTConfig):
        _forget_folder(config, name)
        return config, dict(ViTModel.from_pretrained(name, add_pooling_layer=False).state_dict())
    model = AutoModel.from_pretrained(name)
    tower = getattr(model, "vision_model", model)  # CLIP and its kin hold two towers
    if tower.main_input_name != "pixel_values":
        raise ValueError(
            f"{name!r} is a {config.model_type!r}, which takes no images; the motion tower is a vision model of transformers "
            "or a network of timm"
        )
    _forget_folder(tower.config, name)
    return tower.config, dict(tower.state_dict())


def _load_timm(name: str) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
    import timm

    network = timm.create_model(name, pretrained=True, num_classes=0)
    if not _is_plain_vit(network):
        # Transformers of timm take their training size alone, unless told otherwise; convolutions take any.
        arguments = {"dynamic_img_size": True} if hasattr(network, "dynamic_img_size") else None
        config = TimmWrapperConfig(architecture=name, model_args=arguments)
        return config, {f"timm_model.{key}": value for key, value in network.state_dict().items()}
    attention = network.blocks[0].attn
    vit_config = ViTConfig(
        hidden_size=network.embed_dim,
        num_hidden_layers=len(network.blocks),
        num_attention_heads=attention.num_heads,
        intermediate_size=network.blocks[0].mlp.fc1.out_features,
        image_size=list(network.patch_embed.img_size),
        patch_size=network.patch_embed.patch_size[0],
        qkv_bias=attention.qkv.bias is not None,
        layer_norm_eps=network.blocks[0].norm1.eps,
    )
    return vit_config, convert_timm_state_dict(network.state_dict())


def _is_plain_vit(network: Any) -> bool:
    """Whether a network of timm computes what `transformers.ViTModel` does: one class token, a learned table, plain blocks."""
    from timm.models.vision_transformer import Block, VisionTransformer

    if type(network) is not VisionTransformer or network.num_prefix_tokens != 1 or network.no_embed_class:
        return False
    activation = network.blocks[0].mlp.act
    exact_gelu = isinstance(activation, nn.GELU) and activation.approximate == "none"
    known = all(_rename(key) or _FUSED.match(key) for key in network.state_dict())
    return type(network.blocks[0]) is Block and exact_gelu and known


def load_text_model(name: str) -> Any:
    """A pretrained text model, its text tower where it has several (CLIP); folder or Hub id."""
    model = AutoModel.from_pretrained(name)
    tower = getattr(model, "text_model", model)
    _forget_folder(tower.config, name)
    return tower


def _forget_folder(config: PreTrainedConfig, name: str) -> None:
    """A checkpoint tells the Hub ids that its towers come from, but no folders of a machine."""
    if Path(name).exists():
        config.name_or_path = ""
