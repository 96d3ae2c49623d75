"""MotionLlamo: a language model that takes motion as it is, without a codebook; an independent reimplementation of LLaMo (Li et
al., arXiv 2411.16805), of which neither code nor weights were released."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_motion_llamo import MotionLlamoConfig
from .modeling_motionpatches import MotionPatchesPreTrainedModel
from .motion_fusion import Clips, MotionCrossTalker, MotionProjector, Question, num_placeholders
from .motion_towers import MotionTowerMixin, MotionViTModel


# What each clip has of its own, which is not repeated by rows, and all that enters with the prompt alone.
_PER_CLIP = ("motion_values", "motion_attention_mask", "pixel_values_videos")
_CLIP_INPUTS = (*_PER_CLIP, "question_turns")
# Settings of language models that change the logits after the head.
_HEAD_SETTINGS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


@dataclass
class MotionLlamoModelOutput(ModelOutput):
    """Output of [`MotionLlamoModel`].

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch_size, tokens, hidden_size)`):
            Last states of the language model.
        past_key_values (`Cache`, *optional*):
            Keys and values for the next step of decoding.
        hidden_states (`tuple[torch.Tensor]`, *optional*):
            States of all layers.
        attentions (`tuple[torch.Tensor]`, *optional*):
            Attention weights of all layers.
        motion_hidden_states (`torch.Tensor`, *optional*):
            What entered the language model of all motions: (placeholders, hidden_size).
    """

    last_hidden_state: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    motion_hidden_states: torch.Tensor | None = None


@dataclass
class MotionLlamoCausalLMOutput(ModelOutput):
    """Output of [`MotionLlamoForConditionalGeneration`]; as [`MotionLlamoModelOutput`], and:

    Args:
        loss (`torch.Tensor` of shape `(1,)`, *optional*, returned when `labels` are given):
            Cross-entropy of the next token, over the labels that are not -100.
        logits (`torch.Tensor` of shape `(batch_size, tokens, vocab_size)`):
            Scores of the next token.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    motion_hidden_states: torch.Tensor | None = None


class MotionLlamoMotionTower(MotionTowerMixin, MotionPatchesPreTrainedModel):
    """The motion tower of a MotionPatches model, with the weights' names of it; its tokens are what it returns."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._add_motion_tower()
        if not isinstance(self.motion_model, MotionViTModel) or config.num_persons != 1:
            raise ValueError(
                f"motion_config has a tower of type {config.motion_config.model_type!r} for {config.num_persons} persons; "
                "MotionLlamo takes a ViT over motion patches of one person"
            )
        self.post_init()

    def forward(self, motion_values: torch.Tensor, motion_attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Patch tokens (M, W, parts, d) of motions (M, 3, F, 5·N); windows of padding hold no meaning."""
        outputs = self._encode_motions(motion_values, motion_attention_mask)
        tokens = self.motion_norm(outputs.last_hidden_state[:, 1:])
        parts = self.config.motion_grid.parts
        return tokens.reshape(len(tokens), -1, parts, tokens.shape[-1])


class MotionLlamoPreTrainedModel(PreTrainedModel):
    config: MotionLlamoConfig
    base_model_prefix = "model"
    input_modalities = ("text", "video")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MotionCrossTalker):
            module.reset_own_parameters()


class MotionLlamoModel(MotionLlamoPreTrainedModel):
    """Motion tower, optional video tower, what fuses them, and a language model without its head.

    Args:
        config: A [`MotionLlamoConfig`].
    """

    def __init__(self, config: MotionLlamoConfig) -> None:
        super().__init__(config)
        motion_config: PreTrainedConfig = config.motion_config
        text_config: PreTrainedConfig = config.text_config
        self.motion_tower = MotionLlamoMotionTower._from_config(motion_config)
        self.video_tower = None if config.video_config is None else AutoModel.from_config(config.video_config)
        fuse = MotionProjector if config.fusion == "projector" else MotionCrossTalker
        video_config: Any = config.video_config
        video_width = None if video_config is None else video_config.hidden_size
        self.fusion = fuse(config, motion_config.motion_config.hidden_size, video_width, text_config.hidden_size)
        self.language_model = AutoModel.from_config(text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    @can_return_tuple
    def get_video_features(
        self, pixel_values_videos: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """What the vision tower makes of videos (V, T, 3, H, W): as `pooler_output` (V, T, d) one feature for each frame.

        Raises:
            ValueError: If there is no video tower.
        """
        if self.video_tower is None:
            raise ValueError(
                "pixel_values_videos was given, but this model has no video tower; make one with video_config=… in the "
                "configuration, or leave the videos out"
            )
        leading = pixel_values_videos.shape[:2]
        frames = pixel_values_videos.flatten(0, 1).to(self.video_tower.dtype)
        outputs = self.video_tower(pixel_values=frames, return_dict=True, **kwargs)
        pooled = outputs.get("pooler_output")
        pooled = outputs.last_hidden_state.mean(dim=1) if pooled is None else pooled.flatten(1)
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state.unflatten(0, leading),
            pooler_output=pooled.unflatten(0, leading),
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        motion_values: torch.Tensor | None = None,
        motion_attention_mask: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        question_turns: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MotionLlamoModelOutput:
        """Args:
            input_ids: Shape (B, L), with placeholders where motions and videos go.
            attention_mask: Shape (B, L), 1 for tokens that count.
            motion_values: Shape (M, 3, F, 5·N): the motions of all rows, in the order of their placeholders.
            motion_attention_mask: Shape (M, F/N), 1 for windows that hold a real frame.
            pixel_values_videos: Shape (V, T, 3, H, W): T frames of each video of all rows, in the order of their placeholders.
            question_turns: Shape (B, L), of the cross talker: the number, from 1, of the user's turn that a token is of, its
                placeholders included; 0 for all other tokens. What selects a motion's units is the text of its own turn:
                answers, which must not leak into the selection, are 0. `None`: nothing asks.
            position_ids, past_key_values: As of any language model.
            inputs_embeds: Shape (B, L, D), in place of `input_ids`: placeholders are known by their embedding.

        Raises:
            ValueError: If placeholders and motions or videos do not match, or there are videos but no video tower.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass either input_ids or inputs_embeds")
        motion_states = None
        if motion_values is not None or pixel_values_videos is not None:
            is_motion, is_video = self.find_placeholders(input_ids, inputs_embeds)
            inputs_embeds = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
            inputs_embeds, motion_states = self._put_in_place(
                inputs_embeds, is_motion, is_video, motion_values, motion_attention_mask, pixel_values_videos, question_turns
            )
            input_ids = None
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:  # as `generate` counts them
            text: Any = input_ids if inputs_embeds is None else inputs_embeds
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -text.shape[1] :]
        outputs = self.language_model(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )
        return MotionLlamoModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.get("past_key_values"),
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
            motion_hidden_states=motion_states,
        )

    def find_placeholders(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where motions, and where videos, go in a text of ids (B, L) or of embeddings (B, L, D): two masks (B, L)."""
        text: Any = input_ids if inputs_embeds is None else inputs_embeds
        masks = []
        for token in (self.config.motion_token_id, self.config.video_token_id):
            if token is None:
                masks.append(torch.zeros(text.shape[:2], dtype=torch.bool, device=text.device))
            elif inputs_embeds is None:
                masks.append(torch.eq(text, token))
            else:
                embedding = self.get_input_embeddings()(torch.tensor(token, device=text.device))
                masks.append((text == embedding).all(dim=-1))
        return masks[0], masks[1]

    def _put_in_place(
        self,
        embeds: torch.Tensor,
        is_motion: torch.Tensor,
        is_video: torch.Tensor,
        motion_values: torch.Tensor | None,
        motion_mask: torch.Tensor | None,
        videos: torch.Tensor | None,
        turns: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Text embeddings (B, L, D) with motions and videos at their placeholders; and what entered of the motions."""
        config: Any = self.config
        turns = torch.zeros_like(is_motion, dtype=torch.long) if turns is None else turns
        motions, frames = None, None
        if motion_values is not None:
            tokens = self.motion_tower(motion_values, motion_mask)
            mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if motion_mask is None else motion_mask.bool()
            counts = [num_placeholders(config, number) for number in mask.sum(dim=1).tolist()]
            places = _places(is_motion, counts, "motion")
            motions = Clips(tokens, mask, motion_values, places[:, 0], turns[places[:, 0], places[:, 1]])
        if videos is not None:
            tokens = self.get_video_features(videos, return_dict=True).pooler_output[:, :, None]
            mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
            number = config.num_selected if config.fusion == "cross_talker" else tokens.shape[1]
            places = _places(is_video, [number] * len(tokens), "video")
            frames = Clips(tokens, mask, None, places[:, 0], turns[places[:, 0], places[:, 1]])
        is_text = ~(is_motion | is_video)
        asked = [None if clips is None else _question(clips, embeds, turns, is_text) for clips in (motions, frames)]
        fused = self.fusion(motions, frames, *asked)
        for clips, found, is_placeholder in zip((motions, frames), fused, (is_motion, is_video), strict=True):
            if clips is None:
                continue
            if found.question_update is not None:
                embeds = embeds.index_add(0, clips.rows, found.question_update.to(embeds.dtype))
            states = found.states.reshape(-1, embeds.shape[-1]).to(embeds.dtype)
            embeds = embeds.masked_scatter(is_placeholder[..., None], states)
        return embeds, None if fused[0] is None else fused[0].states


def _places(is_placeholder: torch.Tensor, counts: list[int], kind: str) -> torch.Tensor:
    """Row and column of the first placeholder of each clip, (M, 2)."""
    places = is_placeholder.nonzero()
    if len(places) != sum(counts):
        raise ValueError(
            f"the text has {len(places)} {kind} placeholders, but its {len(counts)} {kind}s need {sum(counts)}: {counts}. "
            "MotionLlamoProcessor puts in as many as are needed, of the same configuration as the model"
        )
    first = torch.tensor([0, *counts[:-1]], device=places.device).cumsum(0)
    last = torch.tensor(counts, device=places.device).cumsum(0) - 1
    if not bool((places[first, 0] == places[last, 0]).all()):
        raise ValueError(f"the placeholders of a {kind} are divided among rows; {kind}s must be in the order of their rows")
    return places[first]


def _question(clips: Clips, embeds: torch.Tensor, turns: torch.Tensor, is_text: torch.Tensor) -> Question:
    """The text of the turn of each clip."""
    is_asked = (turns[clips.rows] == clips.turns[:, None]) & (clips.turns[:, None] > 0) & is_text[clips.rows]
    return Question(embeds[clips.rows], is_asked)


class MotionLlamoForConditionalGeneration(MotionLlamoPreTrainedModel, GenerationMixin):
    """[`MotionLlamoModel`] with the head of the language model: answers questions about motion.

    Args:
        config: A [`MotionLlamoConfig`].

    Raises:
        ValueError: If the language model changes its logits after the head, which this model would leave out.
    """

    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012

    def __init__(self, config: MotionLlamoConfig) -> None:
        super().__init__(config)
        text_config: PreTrainedConfig = config.text_config
        changed = [name for name in _HEAD_SETTINGS if getattr(text_config, name, None) not in (None, 1, 1.0)]
        if changed:
            raise ValueError(
                f"text_config ({text_config.model_type}) has {', '.join(changed)}, which change the logits after the head; "
                "choose a language model whose head is a linear layer alone"
            )
        self.model = MotionLlamoModel(config)
        self.lm_head = nn.Linear(text_config.hidden_size, text_config.vocab_size, bias=False)
        embeddings = self.model.language_model.get_input_embeddings()
        name = next(name for name, module in self.named_modules() if module is embeddings)
        self._tied_weights_keys = {"lm_head.weight": f"{name}.weight"}
        self.post_init()
        placeholders = [config.motion_token_id, config.video_token_id]  # an answer has none
        self.generation_config.suppress_tokens = [token for token in placeholders if token is not None]

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_video_features(
        self, pixel_values_videos: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """As of [`MotionLlamoModel`]."""
        return self.model.get_video_features(pixel_values_videos, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        motion_values: torch.Tensor | None = None,
        motion_attention_mask: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        question_turns: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MotionLlamoCausalLMOutput:
        """As [`MotionLlamoModel`], and:

        Args:
            labels: Shape (B, L): the tokens to learn, -100 elsewhere.
            logits_to_keep: How many of the last tokens to give logits of, 0: all; or which.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            motion_values=motion_values,
            motion_attention_mask=motion_attention_mask,
            pixel_values_videos=pixel_values_videos,
            question_turns=question_turns,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        states = outputs.last_hidden_state
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(states[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.lm_head.out_features, **kwargs)
        return MotionLlamoCausalLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            motion_hidden_states=outputs.motion_hidden_states,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        is_first_iteration: bool | None = False,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Motions, videos and turns enter with the prompt alone; later steps, and later questions, find them in the cache."""
        length = kwargs.get("next_sequence_length")
        whole = input_ids if inputs_embeds is None or not is_first_iteration else inputs_embeds
        if is_first_iteration and length is not None:
            kwargs |= self._clips_from(whole.shape[1] - length, input_ids, inputs_embeds, kwargs)
        inputs = super().prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, inputs_embeds=inputs_embeds, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in _CLIP_INPUTS:
                inputs.pop(name, None)
        elif inputs.get("question_turns") is not None:  # without a cache the text grows by tokens that ask nothing
            turns = inputs["question_turns"]
            turns = F.pad(turns, (0, whole.shape[1] - turns.shape[1]))
            inputs["question_turns"] = turns if length is None else turns[:, -length:]
        return inputs

    def _clips_from(
        self, start: int, input_ids: torch.Tensor, inputs_embeds: torch.Tensor | None, inputs: dict[str, Any]
    ) -> dict[str, torch.Tensor | None]:
        """The clips of a text whose first `start` tokens are in the cache: those after them."""
        clips = {name: inputs[name] for name in _PER_CLIP if inputs.get(name) is not None}
        if not start:
            return clips
        places = self._places_of_clips(input_ids, inputs_embeds, clips)
        kept = {name: values[places[name][:, 1] >= start] for name, values in clips.items()}
        return {name: values if len(values) else None for name, values in kept.items()}

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Rows are repeated for beams and samples; the motions of a row, of which there may be several, with their row."""
        clips = {name: kwargs.pop(name) for name in _PER_CLIP if kwargs.get(name) is not None}
        rows = self._places_of_clips(input_ids, kwargs.get("inputs_embeds"), clips)
        expanded, kwargs = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
        for name, values in clips.items():
            of_row = rows[name][:, 0]
            groups = [(of_row == row).nonzero()[:, 0] for row in of_row.unique()]
            kwargs[name] = values[torch.cat([group for group in groups for _ in range(expand_size)])]
        return expanded, kwargs

    def _places_of_clips(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, clips: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """For each clip of each input the row and column of its first placeholder."""
        if not clips:
            return {}
        is_motion, is_video = self.model.find_placeholders(input_ids, inputs_embeds)
        places = {}
        for name, values in clips.items():
            of_video = name == "pixel_values_videos"
            if self.config.fusion == "cross_talker":
                counts = [self.config.num_selected] * len(values)
            elif of_video:
                counts = [values.shape[1]] * len(values)
            else:
                mask = clips.get("motion_attention_mask")
                windows = values.shape[2] // self.config.motion_grid.frames if name == "motion_values" else values.shape[1]
                numbers = [windows] * len(values) if mask is None else mask.sum(dim=1).tolist()
                counts = [num_placeholders(self.config, number) for number in numbers]
            places[name] = _places(is_video if of_video else is_motion, counts, "video" if of_video else "motion")
        return places


MotionLlamoModel.register_for_auto_class("AutoModel")
MotionLlamoForConditionalGeneration.register_for_auto_class("AutoModelForMultimodalLM")
