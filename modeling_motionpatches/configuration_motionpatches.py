"""Configuration of MotionPatches."""

import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, ViTConfig
from transformers.configuration_utils import SubConfigSpec


NUM_PARTS = 5

# Width, depth, heads of the ViTs of the paper's Table 8.
VIT_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}


def motion_vit_config(size: str = "base", patch_size: int = 16, max_frames: int = 224, **kwargs: Any) -> ViTConfig:
    """The configuration of a ViT over motion patches.

    Args:
        size: `"tiny"`, `"small"`, `"base"` or `"large"` (paper Table 8).
        patch_size: N: frames for each window, and sample points for each part.
        max_frames: Frames that the position table covers, a multiple of `patch_size`.
        kwargs: Override single values of `transformers.ViTConfig`.

    Returns:
        A `ViTConfig` whose "image" is max_frames × 5·N.

    Raises:
        ValueError: For an unknown size, or if `max_frames` is no multiple of `patch_size`.
    """
    if size not in VIT_SIZES:
        raise ValueError(f"unknown ViT size {size!r}; known: {', '.join(VIT_SIZES)}")
    if max_frames < patch_size or max_frames % patch_size:
        raise ValueError(f"max_frames={max_frames} must be a positive multiple of patch_size={patch_size}")
    width, depth, heads = VIT_SIZES[size]
    values: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "image_size": [max_frames, NUM_PARTS * patch_size],
        "patch_size": patch_size,
        "layer_norm_eps": 1e-6,
    }
    return ViTConfig(**{**values, **kwargs})


@strict
class MotionPatchesConfig(PreTrainedConfig):
    r"""
    Configuration of a [`MotionPatchesModel`].

    Args:
        motion_config (`ViTConfig` or `dict`, *optional*):
            The motion tower, a ViT over motion patches: `image_size` is (frames, 5 · `patch_size`). Default: ViT-B/16 for 224
            frames (paper section 3.3).
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            The text tower: the configuration of any model of `AutoModel`. Default: DistilBERT (paper section 3.4).
        projection_dim (`int`, *optional*, defaults to 256):
            Size of the embeddings (paper section 4.3).
        projection_dropout (`float`, *optional*, defaults to 0.5):
            Dropout inside the projection heads.
        motion_pooling (`str`, *optional*, defaults to `"cls"`):
            `"cls"`: the class token after the tower's final norm (the paper). `"mean"`: the mean of the patch tokens of real
            windows, then a norm (the published code).
        text_pooling (`str`, *optional*, defaults to `"cls"`):
            `"cls"` (token 0), `"mean"` over the attended tokens, or `"eos"` (the first end token, as CLIP).
        logit_scale_init_value (`float`, *optional*, defaults to ln(1 / 0.07)):
            Natural logarithm of the inverse temperature.
        learn_logit_scale (`bool`, *optional*, defaults to `False`):
            Whether the temperature is learned; the paper keeps it.
        loss (`str`, *optional*, defaults to `"softmax_sum"`):
            `"softmax_sum"`: sum of both directions' cross-entropies (paper equation 4). `"softmax_mean"`: their mean (the
            published code, and CLIP).
        num_persons (`int`, *optional*, defaults to 1):
            Persons in one motion; the tower is shared, its features are concatenated (paper section 5.3).
    """

    model_type = "motionpatches"
    sub_configs_defaults = {  # noqa: RUF012 (transformers declares the ClassVar)
        "motion_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="vit",
            init_kwargs={"image_size": [224, 80], "layer_norm_eps": 1e-6},
        ),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="distilbert"),
    }

    motion_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    projection_dropout: float | int = 0.5
    motion_pooling: Literal["cls", "mean"] = "cls"
    text_pooling: Literal["cls", "mean", "eos"] = "cls"
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    learn_logit_scale: bool = False
    loss: Literal["softmax_sum", "softmax_mean"] = "softmax_sum"
    num_persons: int = 1

    @property
    def custom_pipelines(self) -> dict[str, Any]:
        """The pipelines whose code a checkpoint brings along, for `trust_remote_code=True`.

        Where this package is installed they are registered already, and `transformers.pipeline` refuses a task that the
        configuration names unless remote code is trusted: so the installed class keeps them for saving only.
        """
        return self.__dict__.get("_saved_pipelines", {}) if __name__.startswith("transformers_modules") else {}

    @custom_pipelines.setter
    def custom_pipelines(self, pipelines: dict[str, Any]) -> None:
        self.__dict__["_saved_pipelines"] = dict(pipelines)

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        pipelines = values.pop("_saved_pipelines", None)
        return {**values, "custom_pipelines": pipelines} if pipelines else values

    @property
    def patch_size(self) -> int:
        """N: frames for each window, and sample points for each body part."""
        motion_config: PreTrainedConfig = self.motion_config
        return motion_config.patch_size


MotionPatchesConfig.register_for_auto_class("AutoConfig")
