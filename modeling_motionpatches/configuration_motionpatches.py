"""Configuration of MotionPatches."""

import math
import re
from dataclasses import dataclass
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


def motion_vit_config(
    size: str = "base", patch_size: int = 16, max_frames: int = 224, num_joints: int | None = None, **kwargs: Any
) -> ViTConfig:
    """The configuration of a ViT over motion patches, or over raw joint sequences.

    Args:
        size: `"tiny"`, `"small"`, `"base"` or `"large"` (paper Table 8).
        patch_size: N: frames for each window, and sample points for each part (paper Table 10).
        max_frames: Frames that the position table covers, a multiple of `patch_size`.
        num_joints: For raw joint sequences (paper Table 4): each frame of this many joints is one token, and `patch_size` is
            not used.
        kwargs: Override single values of `transformers.ViTConfig`.

    Returns:
        A `ViTConfig` whose "image" is max_frames × 5·N in patches of N × N, or max_frames × J in patches of 1 × J.

    Raises:
        ValueError: For an unknown size, or if `max_frames` is no multiple of `patch_size`.
    """
    if size not in VIT_SIZES:
        raise ValueError(f"unknown ViT size {size!r}; known: {', '.join(VIT_SIZES)}")
    width, depth, heads = VIT_SIZES[size]
    values: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        **motion_image(patch_size, max_frames, num_joints),
        "layer_norm_eps": 1e-6,
    }
    return ViTConfig(**{**values, **kwargs})


def motion_image(patch_size: int = 16, max_frames: int = 224, num_joints: int | None = None) -> dict[str, Any]:
    """`image_size` and `patch_size` of a ViT over motion; arguments as in `motion_vit_config`.

    Raises:
        ValueError: If `max_frames` is no multiple of `patch_size`, or either is not positive.
    """
    if num_joints is not None:
        if num_joints < 1 or max_frames < 1:
            raise ValueError(f"num_joints={num_joints} and max_frames={max_frames} must be positive")
        return {"image_size": [max_frames, num_joints], "patch_size": [1, num_joints]}
    if patch_size < 1 or max_frames < patch_size or max_frames % patch_size:
        raise ValueError(f"max_frames={max_frames} must be a positive multiple of patch_size={patch_size}")
    return {"image_size": [max_frames, NUM_PARTS * patch_size], "patch_size": patch_size}


@dataclass(frozen=True)
class MotionGrid:
    """How a motion tower cuts `motion_values` (3, F, columns) into tokens: F / `frames` windows of `parts` tokens each."""

    frames: int
    columns: int
    parts: int


class CarriesPipelines:
    """A configuration whose checkpoint brings pipelines along."""

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
        values = super().to_dict()  # type: ignore[misc]
        pipelines = values.pop("_saved_pipelines", None)
        return {**values, "custom_pipelines": pipelines} if pipelines else values


@strict
class MotionPatchesConfig(CarriesPipelines, PreTrainedConfig):
    r"""
    Configuration of a [`MotionPatchesModel`].

    Args:
        motion_config (`PreTrainedConfig` or `dict`, *optional*):
            The motion tower. A `ViTConfig` of [`motion_vit_config`] is a ViT over motion patches or raw joints; any other
            vision model of `AutoModel` (CLIP's, `timm_wrapper`) is fed motions of one length at a time, as it takes no mask.
            Default: ViT-B/16 for 224 frames (paper section 3.3).
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            The text tower: the configuration of any model of `AutoModel`. Default: DistilBERT (paper section 3.4).
        projection_dim (`int`, *optional*, defaults to 256):
            Size of the embeddings (paper section 4.3).
        projection_dropout (`float`, *optional*, defaults to 0.5):
            Dropout inside the projection heads.
        motion_pooling (`str`, *optional*, defaults to `"cls"`):
            `"cls"`: the class token after the tower's final norm (the paper); of another tower than a ViT what it pools
            itself. `"mean"`: the mean of the patch tokens of real windows, then a norm (the published code).
        text_pooling (`str`, *optional*, defaults to `"cls"`):
            `"cls"` (token 0), `"mean"` over the attended tokens, or `"eos"` (the first end token, as CLIP).
        logit_scale_init_value (`float`, *optional*, defaults to ln(1 / 0.07)):
            Natural logarithm of the inverse temperature.
        learn_logit_scale (`bool`, *optional*, defaults to `False`):
            Whether the temperature is learned; the paper keeps it.
        loss (`str`, *optional*, defaults to `"softmax_sum"`):
            `"softmax_sum"`: sum of both directions' cross-entropies (paper equation 4). `"softmax_mean"`: their mean (the
            published code, and CLIP). `"sigmoid"`: each pair by itself, as SigLIP, with a learned bias on the logits.
            `"duplicate_aware"`: as `"softmax_sum"`, but all equal texts of a batch are positives.
        logit_bias_init_value (`float`, *optional*, defaults to -10.0):
            First value of the bias of `loss="sigmoid"`.
        num_persons (`int`, *optional*, defaults to 1):
            Persons in one motion; the tower is shared, its features are concatenated (paper section 5.3).
        classifier_dropout (`float`, *optional*, defaults to 0.0):
            Dropout before the classifier of [`MotionPatchesForMotionClassification`].
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
    loss: Literal["softmax_sum", "softmax_mean", "sigmoid", "duplicate_aware"] = "softmax_sum"
    logit_bias_init_value: float | int = -10.0
    num_persons: int = 1
    classifier_dropout: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # AutoModel has several classes for this configuration and looks here for the one to take.
        if self.architectures is None:
            self.architectures: list[str] | None = ["MotionPatchesModel"]

    @property
    def patch_size(self) -> int:
        """N: frames for each window, and sample points for each body part; 1 for raw joint sequences."""
        return self.motion_grid.frames

    @property
    def motion_grid(self) -> MotionGrid:
        """How the motion tower cuts its input into tokens."""
        motion_config: PreTrainedConfig = self.motion_config
        patch = getattr(motion_config, "patch_size", None)
        if patch is None:  # a convolutional network, or one of timm, whose patch size stands in its name
            named = re.search(r"patch(\d+)", getattr(motion_config, "architecture", ""))
            arguments = getattr(motion_config, "model_args", None) or {}
            patch = arguments.get("patch_size", int(named[1]) if named else 16)
        if isinstance(patch, int):
            return MotionGrid(patch, NUM_PARTS * patch, NUM_PARTS)
        frames, width = patch
        columns = motion_config.image_size[1]
        return MotionGrid(frames, columns, columns // width)


MotionPatchesConfig.register_for_auto_class("AutoConfig")
