"""Configuration of MotionLlamo."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_motionpatches import CarriesPipelines, MotionGrid, MotionPatchesConfig


@strict
class MotionLlamoConfig(CarriesPipelines, PreTrainedConfig):
    r"""
    Configuration of a [`MotionLlamoModel`] and a [`MotionLlamoForConditionalGeneration`].

    Args:
        motion_config (`MotionPatchesConfig` or `dict`, *optional*):
            The motion tower is that of this MotionPatches configuration; its text side is not used.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            The language model: the configuration of any model of `AutoModelForCausalLM`.
        video_config (`PreTrainedConfig` or `dict`, *optional*):
            The vision tower over the frames of a video: the configuration of any vision model of `AutoModel`. `None`: no videos.
        motion_token_id (`int`, *optional*, defaults to 0):
            Token that stands for a piece of motion in the text.
        video_token_id (`int`, *optional*):
            Likewise of video; a model with a video tower needs it.
        fusion (`str`, *optional*, defaults to `"projector"`):
            `"projector"`: each patch token goes through a two-layer MLP into the language model (as LLaVA). `"cross_talker"`: the
            question selects what of the motion enters.
        selection_unit (`str`, *optional*, defaults to `"window"`):
            What the cross talker selects: `"patch"`, a window of one body part; `"window"`, all parts of a window; `"frame"`.
        num_selected (`int`, *optional*, defaults to 16):
            K: units that enter the language model, and so the placeholders of a motion or video.
        num_segments (`int`, *optional*, defaults to 8):
            Segments of equal length whose means are the global context.
        num_enhancer_layers (`int`, *optional*, defaults to 1):
            Layers of the enhancer: self-attention over each stream, cross-attention from motion to video.
        num_talker_layers (`int`, *optional*, defaults to 1):
            Layers of attention both ways between the selected units and the question.
        num_talker_heads (`int`, *optional*, defaults to 4):
            Attention heads of enhancer and talker.
        talker_dropout (`float`, *optional*, defaults to 0.0):
            Dropout in them.
    """

    model_type = "motion_llamo"
    # The concrete class: where this file travels with a checkpoint, AutoConfig does not know motionpatches.
    sub_configs_defaults = {  # noqa: RUF012 (transformers declares the ClassVar)
        "motion_config": SubConfigSpec(config_class=MotionPatchesConfig),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "video_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model", optional=True),
    }

    motion_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    video_config: dict | PreTrainedConfig | None = None
    motion_token_id: int = 0
    video_token_id: int | None = None
    fusion: Literal["projector", "cross_talker"] = "projector"
    selection_unit: Literal["patch", "window", "frame"] = "window"
    num_selected: int = 16
    num_segments: int = 8
    num_enhancer_layers: int = 1
    num_talker_layers: int = 1
    num_talker_heads: int = 4
    talker_dropout: float | int = 0.0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        text_config: PreTrainedConfig = self.text_config
        if text_config.tie_word_embeddings:  # transformers follows the outer value alone
            self.tie_word_embeddings = True
        if self.video_config is not None and self.video_token_id is None:
            raise ValueError("video_config is given, but no video_token_id: the token that stands for video in the text")
        for name in ("num_selected", "num_segments", "num_talker_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    @property
    def motion_grid(self) -> MotionGrid:
        """How the motion tower cuts its input into tokens."""
        motion_config: Any = self.motion_config
        return motion_config.motion_grid


MotionLlamoConfig.register_for_auto_class("AutoConfig")
