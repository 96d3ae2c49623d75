"""From a recipe to a MotionLlamo and its processor."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.models.llava_onevision import LlavaOnevisionVideoProcessor

from ..configuration_motion_llamo import MotionLlamoConfig
from ..configuration_motionpatches import MotionPatchesConfig, motion_vit_config
from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN, MotionLlamoProcessor
from ..processing.processing_motionpatches import MotionPatchProcessor
from .builder import build_motion_processor, fit_processor, train_tokenizer
from .inference import load_checkpoint
from .question_sets import holds_motion_llamo
from .recipe import InstructionRecipe, LlamoArguments


_TALKER = (
    "fusion", "selection_unit", "num_selected", "num_segments", "num_enhancer_layers", "num_talker_layers", "num_talker_heads",
    "talker_dropout",
)  # fmt: skip


def build_llamo(
    recipe: InstructionRecipe, rows: Dataset, texts: Sequence[str], checkpoint: str | None
) -> tuple[MotionLlamoForConditionalGeneration, MotionLlamoProcessor]:
    """The model of a recipe and its processor.

    Args:
        recipe: Says which networks; where it names none they are new.
        rows: Training motions, for the statistics of a new motion processor and of skeletons that a checkpoint does not know.
        texts: What is said in training, for a new tokenizer.
        checkpoint: A MotionLlamo checkpoint to go on with, as it is; or one of MotionPatches, whose motion tower and motion
            processor are taken. `None`: a new tower by the recipe.

    Raises:
        ValueError: If the checkpoint is neither, or the language model cannot be used.
    """
    if checkpoint is not None and holds_motion_llamo(checkpoint):
        processor = AutoProcessor.from_pretrained(checkpoint)
        fit_processor(processor.feature_extractor, rows, recipe.processor.per_skeleton, only_new=True)
        return MotionLlamoForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32), processor
    arguments = recipe.model
    tower, patches, motion_config = _motion_side(recipe, rows, checkpoint)
    tokenizer, language = _language_side(arguments, texts)
    vision, settings = _video_side(arguments)
    fields = {name: getattr(arguments, name) for name in _TALKER}
    processor = MotionLlamoProcessor(
        patches,
        tokenizer,
        video_settings=settings,
        **{name: fields[name] for name in ("fusion", "selection_unit", "num_selected")},
    )
    config = MotionLlamoConfig(
        motion_config=motion_config,
        text_config=language if isinstance(language, PreTrainedConfig) else language.config,
        video_config=vision.config if isinstance(vision, PreTrainedModel) else vision,
        motion_token_id=tokenizer.convert_tokens_to_ids(MOTION_TOKEN),
        video_token_id=None if vision is None else tokenizer.convert_tokens_to_ids(VIDEO_TOKEN),
        **fields,
    )
    model = MotionLlamoForConditionalGeneration(config)
    if tower is not None:
        copy_weights(tower, model.model.motion_tower, "motion tower")
    if isinstance(language, PreTrainedModel):
        copy_weights(language.base_model, model.model.language_model, "language model")
        head: Any = language.get_output_embeddings()
        if head.bias is not None:
            raise ValueError(f"{arguments.language_name!r} has a head with a bias, which MotionLlamo's has not")
        copy_weights(head, model.lm_head, "head")
        model.generation_config = language.generation_config
    video_tower: Any = model.model.video_tower
    if isinstance(vision, PreTrainedModel):
        copy_weights(vision, video_tower, "video tower")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


def copy_weights(source: torch.nn.Module, target: torch.nn.Module, name: str) -> None:
    """Give `target` the weights of `source`, which may have others besides.

    Raises:
        ValueError: If one is missing, or has another shape.
    """
    weights, wanted = source.state_dict(), target.state_dict()
    missing = [key for key, tensor in wanted.items() if key not in weights or weights[key].shape != tensor.shape]
    if missing:
        raise ValueError(
            f"the {name} lacks {len(missing)} of {len(wanted)} weights, or has them in another shape; the first is {missing[0]}"
        )
    target.load_state_dict({key: weights[key] for key in wanted})


def _motion_side(
    recipe: InstructionRecipe, rows: Dataset, checkpoint: str | None
) -> tuple[PreTrainedModel | None, MotionPatchProcessor, MotionPatchesConfig]:
    """The model whose motion tower is taken, if there is one; the motion processor; and the tower's configuration."""
    if checkpoint is not None:
        model, text_processor = load_checkpoint(checkpoint)
        patches = text_processor.feature_extractor
        fit_processor(patches, rows, recipe.processor.per_skeleton, only_new=True)
        return model, patches, model.config
    arguments = recipe.model
    if arguments.motion_name:
        raise ValueError(
            f"motion_name={arguments.motion_name!r}: MotionLlamo starts from a trained MotionPatches checkpoint, or from a new "
            "tower of motion_size; leave motion_name empty, and pass a checkpoint to start from"
        )
    patches = build_motion_processor(recipe.processor)
    fit_processor(patches, rows, recipe.processor.per_skeleton)
    depth = {} if arguments.motion_depth is None else {"num_hidden_layers": arguments.motion_depth}
    motion_config = motion_vit_config(
        arguments.motion_size, recipe.processor.patch_size, recipe.processor.max_frames, None, **depth
    )
    return None, patches, MotionPatchesConfig(motion_config=motion_config, motion_pooling=arguments.motion_pooling)


def _language_side(
    arguments: LlamoArguments, texts: Sequence[str]
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel | LlamaConfig]:
    """The tokenizer with the tokens that stand for clips, and the language model, or the configuration of a new one."""
    clips = [MOTION_TOKEN, VIDEO_TOKEN] if arguments.video_frames else [MOTION_TOKEN]
    tokenizer: Any
    if arguments.language_name:
        tokenizer = AutoTokenizer.from_pretrained(arguments.language_name)
        tokenizer.add_special_tokens({"additional_special_tokens": clips}, replace_extra_special_tokens=False)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        language = AutoModelForCausalLM.from_pretrained(arguments.language_name, dtype=torch.float32)
        if len(tokenizer) > language.get_input_embeddings().num_embeddings:
            language.resize_token_embeddings(len(tokenizer))
        _pad_left(tokenizer)
        return tokenizer, language
    tokenizer = train_tokenizer(texts, arguments.vocab_size, can_decode=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [*ROLE_TOKENS, *clips], "eos_token": "[SEP]"})
    tokenizer.model_max_length = arguments.max_tokens
    tokenizer.init_kwargs["model_max_length"] = arguments.max_tokens
    _pad_left(tokenizer)
    return tokenizer, LlamaConfig(
        hidden_size=arguments.language_width,
        intermediate_size=4 * arguments.language_width,
        num_hidden_layers=arguments.language_depth,
        num_attention_heads=arguments.language_heads,
        num_key_value_heads=arguments.language_heads,
        max_position_embeddings=arguments.max_tokens,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


def _pad_left(tokenizer: Any) -> None:
    """Answers go on at the right."""
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left"


def _video_side(arguments: LlamoArguments) -> tuple[PreTrainedModel | CLIPVisionConfig | None, Any]:
    """The vision tower or the configuration of a new one, and what turns videos into frames for it."""
    if not arguments.video_frames:
        return None, None
    if arguments.video_name:
        vision: Any = AutoModel.from_pretrained(arguments.video_name, dtype=torch.float32)
        vision = getattr(vision, "vision_model", vision)
        settings = AutoVideoProcessor.from_pretrained(arguments.video_name, num_frames=arguments.video_frames)
        return vision, settings
    return new_vision(arguments.video_image_size, arguments.video_frames)


def new_vision(side: int, num_frames: int) -> tuple[CLIPVisionConfig, LlavaOnevisionVideoProcessor]:
    """The configuration of a small vision tower for frames of `side` pixels, and what turns videos into `num_frames` of them."""
    config = CLIPVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, image_size=side, patch_size=16
    )
    size = {"height": side, "width": side}
    return config, LlavaOnevisionVideoProcessor(size=size, do_sample_frames=True, num_frames=num_frames)
