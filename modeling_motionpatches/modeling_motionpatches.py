"""MotionPatches (Yu, Tanaka and Fujiwara, CVPR 2024): a ViT over motion patches and a text encoder in one space."""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_motionpatches import MotionPatchesConfig
from .loss_motionpatches import equal_texts, make_contrastive_loss
from .motion_towers import MotionTowerMixin, masked_mean

# So that a model that was loaded and is saved again brings along the code of the pipelines that its configuration names.
from .pipeline_motion_classification import MotionClassificationPipeline  # noqa: F401
from .pipeline_zero_shot_motion_classification import ZeroShotMotionClassificationPipeline  # noqa: F401


@dataclass
class MotionPatchesOutput(ModelOutput):
    """Output of [`MotionPatchesModel`].

    Args:
        loss (`torch.Tensor` of shape `(1,)`, *optional*, returned when `return_loss` is `True`):
            Contrastive loss.
        logits_per_motion (`torch.Tensor` of shape `(motion_batch_size, text_batch_size)`):
            Cosine similarities over the temperature; softmax over a row gives the probabilities of the texts.
        logits_per_text (`torch.Tensor` of shape `(text_batch_size, motion_batch_size)`):
            The transpose.
        motion_embeds (`torch.Tensor` of shape `(motion_batch_size, projection_dim)`):
            Motion embeddings of unit length.
        text_embeds (`torch.Tensor` of shape `(text_batch_size, projection_dim)`):
            Text embeddings of unit length.
        motion_model_output (`BaseModelOutputWithPooling`):
            Output of the motion tower, its `pooler_output` projected.
        text_model_output (`BaseModelOutputWithPooling`):
            Output of the text tower, its `pooler_output` projected.
    """

    loss: torch.Tensor | None = None
    logits_per_motion: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    motion_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    motion_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())


@dataclass
class MotionPatchesMotionModelOutput(ModelOutput):
    """Output of [`MotionPatchesMotionModelWithProjection`].

    Args:
        motion_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Motion embeddings, not scaled to unit length.
        last_hidden_state (`torch.Tensor` of shape `(batch_size, 1 + windows · 5, hidden_size)`):
            Tokens of the motion tower; of P persons the first size is `batch_size · P`.
        hidden_states (`tuple[torch.Tensor]`, *optional*, returned when `output_hidden_states=True`):
            Tokens after the embeddings and after each layer.
        attentions (`tuple[torch.Tensor]`, *optional*, returned when `output_attentions=True`):
            Attention weights of each layer, `(batch_size, heads, tokens, tokens)`.
    """

    motion_embeds: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class MotionPatchesTextModelOutput(ModelOutput):
    """Output of [`MotionPatchesTextModelWithProjection`].

    Args:
        text_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Text embeddings, not scaled to unit length.
        last_hidden_state (`torch.Tensor` of shape `(batch_size, tokens, hidden_size)`):
            Tokens of the text tower.
        hidden_states (`tuple[torch.Tensor]`, *optional*, returned when `output_hidden_states=True`):
            Tokens after the embeddings and after each layer.
        attentions (`tuple[torch.Tensor]`, *optional*, returned when `output_attentions=True`):
            Attention weights of each layer, `(batch_size, heads, tokens, tokens)`.
    """

    text_embeds: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class MotionPatchesProjection(nn.Module):
    """Projection head of the published code: `p = W1 x`, then `LayerNorm(p + Dropout(W2 GELU(p)))`.

    Shape (B, in_features) → (B, projection_dim).
    """

    def __init__(self, in_features: int, projection_dim: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(in_features, projection_dim)
        self.fc = nn.Linear(projection_dim, projection_dim)
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(projection_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        projected = self.projection(features)
        return self.layer_norm(projected + self.dropout(self.fc(F.gelu(projected))))


class MotionPatchesPreTrainedModel(PreTrainedModel):
    config: MotionPatchesConfig
    base_model_prefix = "motionpatches"
    main_input_name = "motion_values"
    input_modalities = ("text",)
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["MotionViTEmbeddings", "ViTLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MotionPatchesModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, self.config.logit_bias_init_value)


class TextTowerMixin:
    """The text side of a model: `text_model`, the tower."""

    config: MotionPatchesConfig

    def _add_text_tower(self) -> int:
        """Make the tower; returns the size of its features."""
        text_config: PreTrainedConfig = self.config.text_config
        if self.config.text_pooling == "eos" and text_config.eos_token_id is None:
            raise ValueError(
                f"text_pooling='eos' needs an end token, but text_config ({text_config.model_type}) has no eos_token_id; use "
                "'cls' or 'mean'"
            )
        if self.config.text_pooling == "cls" and text_config.model_type == "clip_text_model":
            raise ValueError(
                "text_pooling='cls' takes the first token, which is the same for every text in CLIP's text model; use 'eos'"
            )
        self.text_model = AutoModel.from_config(text_config)
        if getattr(self.text_model, "pooler", None) is not None:
            self.text_model.pooler = None  # BERT's own; unused weights would break distributed training
        return text_config.hidden_size

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.set_input_embeddings(value)

    def _encode_texts(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Output of the tower; `pooler_output` (B, d) is what the configuration's pooling takes."""
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        tokens = outputs.last_hidden_state
        if self.config.text_pooling == "cls":
            pooled = tokens[:, 0]
        elif self.config.text_pooling == "mean":
            pooled = masked_mean(tokens, attention_mask)
        elif self.text_model.config.model_type == "clip_text_model":
            pooled = outputs.pooler_output  # the end token; CLIP knows of checkpoints whose configuration misnames it
        else:
            ends = torch.isin(input_ids, torch.tensor(self.text_model.config.eos_token_id, device=input_ids.device))
            counts = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            last = (counts * torch.arange(input_ids.shape[1], device=input_ids.device)).argmax(dim=-1)
            end = torch.where(ends.any(dim=-1), ends.int().argmax(dim=-1), last)  # a text that was cut may have none
            pooled = tokens[torch.arange(len(tokens), device=tokens.device), end]
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=pooled,
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )


class MotionPatchesModel(TextTowerMixin, MotionTowerMixin, MotionPatchesPreTrainedModel):
    """The dual encoder: motion patches → ViT, text → language encoder, each with a projection head (paper section 3).

    Args:
        config: A [`MotionPatchesConfig`].

    Raises:
        ValueError: If the motion tower is a ViT over other images than motions, or the text tower has no token to pool.
    """

    main_input_name = "input_ids"

    def __init__(self, config: MotionPatchesConfig) -> None:
        super().__init__(config)
        motion_width, text_width = self._add_motion_tower(), self._add_text_tower()
        dim, dropout = config.projection_dim, config.projection_dropout
        self.motion_projection = MotionPatchesProjection(motion_width, dim, dropout)
        self.text_projection = MotionPatchesProjection(text_width, dim, dropout)
        logit_scale = torch.tensor(float(config.logit_scale_init_value))
        if config.learn_logit_scale:
            self.logit_scale = nn.Parameter(logit_scale)
        else:  # a buffer, since loading a checkpoint would set requires_grad on a frozen parameter
            self.register_buffer("logit_scale", logit_scale)
        self.logit_bias = (
            nn.Parameter(torch.tensor(float(config.logit_bias_init_value))) if config.loss == "sigmoid" else None
        )
        self.contrastive_loss = make_contrastive_loss(config.loss)
        self.post_init()

    @can_return_tuple
    def get_motion_features(
        self,
        motion_values: torch.Tensor,
        motion_attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Output of the motion tower; `pooler_output` (B, projection_dim) is the embedding before scaling to unit length.

        Args:
            motion_values: Shape (B, 3, F, 5·N), or (B, P, 3, F, 5·N) for P persons. F is a multiple of N. Of a tower over raw
                joints (B, 3, F, J).
            motion_attention_mask: Shape (B, F/N) or (B, P, F/N), 1 for windows that hold a real frame. `None`: all do.

        Raises:
            ValueError: If the shapes do not fit the configuration.
        """
        outputs = self._encode_motions(motion_values, motion_attention_mask, **kwargs)
        outputs.pooler_output = self.motion_projection(outputs.pooler_output)
        return outputs

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Output of the text tower; `pooler_output` (B, projection_dim) is the embedding before scaling to unit length.

        Args:
            input_ids: Shape (B, L).
            attention_mask: Shape (B, L), 1 for tokens that count. `None`: all do.
        """
        outputs = self._encode_texts(input_ids, attention_mask, **kwargs)
        outputs.pooler_output = self.text_projection(outputs.pooler_output)
        return outputs

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        motion_values: torch.FloatTensor | None = None,
        motion_attention_mask: torch.Tensor | None = None,
        return_loss: bool | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MotionPatchesOutput:
        """Embed motions and texts and compare each with each (paper section 3.1, equation 1).

        Args:
            input_ids: Shape (text_batch, L).
            attention_mask: Shape (text_batch, L).
            motion_values: Shape (motion_batch, 3, F, 5·N), or (motion_batch, P, 3, F, 5·N) for P persons.
            motion_attention_mask: Shape (motion_batch, F/N), or (motion_batch, P, F/N).
            return_loss: Whether to return the contrastive loss; text i then belongs to motion i.
            token_type_ids: Shape (text_batch, L), for text towers that have them.

        Returns:
            A [`MotionPatchesOutput`].

        Raises:
            ValueError: If motions or texts are missing or of a shape that does not fit the configuration.
        """
        if input_ids is None or motion_values is None:
            raise ValueError(
                "forward compares motions with texts and needs both motion_values and input_ids; for one side alone use "
                "get_motion_features or get_text_features"
            )
        motion_outputs = self.get_motion_features(motion_values, motion_attention_mask, **kwargs)
        text_kwargs = kwargs if token_type_ids is None else {**kwargs, "token_type_ids": token_type_ids}
        text_outputs = self.get_text_features(input_ids, attention_mask, **text_kwargs)
        motion_embeds = F.normalize(motion_outputs.pooler_output, dim=-1)
        text_embeds = F.normalize(text_outputs.pooler_output, dim=-1)
        logits_per_motion = self.logit_scale.exp() * motion_embeds @ text_embeds.t()
        if self.logit_bias is not None:
            logits_per_motion = logits_per_motion + self.logit_bias
        loss = None
        if return_loss:
            targets = equal_texts(input_ids, attention_mask) if self.config.loss == "duplicate_aware" else None
            loss = self.contrastive_loss(logits_per_motion, targets)
        return MotionPatchesOutput(
            loss=loss,
            logits_per_motion=logits_per_motion,
            logits_per_text=logits_per_motion.t(),
            motion_embeds=motion_embeds,
            text_embeds=text_embeds,
            motion_model_output=motion_outputs,
            text_model_output=text_outputs,
        )

    @classmethod
    def from_motion_text_pretrained(cls, motion_name: str, text_name: str, **kwargs: Any) -> "MotionPatchesModel":
        """A model whose two towers come pretrained; its projection heads are new and need training.

        Args:
            motion_name: A timm name (`"vit_base_patch16_224.augreg_in21k"`), or the folder or Hub id of a vision model of
                transformers, CLIP's included. Of a plain ViT the position table is resized to windows × 5 as timm resizes it,
                and the final norm is kept; other networks run as they are.
            text_name: The folder or Hub id of a text model, CLIP's included.
            kwargs: Fields of [`MotionPatchesConfig`]; `max_frames` (default 224), the frames that the position table covers;
                and `num_joints`, for a ViT over raw joint sequences, whose patch embedding is new then (paper Table 4).

        Raises:
            ValueError: If a tower's weights do not fill the model exactly.
        """
        # Not an import statement: this file travels with checkpoints, the loader does not.
        loader = importlib.import_module("motionpatches.convert_vit_to_motionpatches")
        return loader.build_from_pretrained(cls, motion_name, text_name, **kwargs)


class MotionPatchesMotionModelWithProjection(MotionTowerMixin, MotionPatchesPreTrainedModel):
    """The motion tower and its projection head alone; loads from a checkpoint of [`MotionPatchesModel`] too.

    Args:
        config: A [`MotionPatchesConfig`].
    """

    input_modalities = ("image",)
    _keys_to_ignore_on_load_unexpected = [r"^text_", r"^logit_", r"^classifier\."]  # noqa: RUF012

    def __init__(self, config: MotionPatchesConfig) -> None:
        super().__init__(config)
        width = self._add_motion_tower()
        self.motion_projection = MotionPatchesProjection(width, config.projection_dim, config.projection_dropout)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        motion_values: torch.FloatTensor,
        motion_attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MotionPatchesMotionModelOutput:
        """Embed motions; arguments as in [`MotionPatchesModel.get_motion_features`].

        Returns:
            A [`MotionPatchesMotionModelOutput`].

        Raises:
            ValueError: If the shapes do not fit the configuration.
        """
        outputs = self._encode_motions(motion_values, motion_attention_mask, **kwargs)
        return MotionPatchesMotionModelOutput(
            motion_embeds=self.motion_projection(outputs.pooler_output),
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class MotionPatchesTextModelWithProjection(TextTowerMixin, MotionPatchesPreTrainedModel):
    """The text tower and its projection head alone; loads from a checkpoint of [`MotionPatchesModel`] too.

    Args:
        config: A [`MotionPatchesConfig`].
    """

    main_input_name = "input_ids"
    _keys_to_ignore_on_load_unexpected = [r"^motion_", r"^logit_", r"^classifier\."]  # noqa: RUF012

    def __init__(self, config: MotionPatchesConfig) -> None:
        super().__init__(config)
        width = self._add_text_tower()
        self.text_projection = MotionPatchesProjection(width, config.projection_dim, config.projection_dropout)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MotionPatchesTextModelOutput:
        """Embed texts.

        Args:
            input_ids: Shape (B, L).
            attention_mask: Shape (B, L), 1 for tokens that count. `None`: all do.
            token_type_ids: Shape (B, L), for text towers that have them.

        Returns:
            A [`MotionPatchesTextModelOutput`].
        """
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        outputs = self._encode_texts(input_ids, attention_mask, **kwargs)
        return MotionPatchesTextModelOutput(
            text_embeds=self.text_projection(outputs.pooler_output),
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class MotionPatchesForMotionClassification(MotionTowerMixin, MotionPatchesPreTrainedModel):
    """The motion tower and a linear classifier on its pooled features, to be fine-tuned with labels.

    Loads the tower from a checkpoint of [`MotionPatchesModel`]; the classifier is new then.

    Args:
        config: A [`MotionPatchesConfig`]; `num_labels` or `id2label` give the classes.
    """

    input_modalities = ("image",)
    _keys_to_ignore_on_load_unexpected = [r"^text_", r"^logit_", r"^motion_projection\."]  # noqa: RUF012

    def __init__(self, config: MotionPatchesConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.loss_type = "ForSequenceClassification"
        width = self._add_motion_tower()
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        motion_values: torch.FloatTensor,
        motion_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify motions.

        Args:
            motion_values, motion_attention_mask: As in [`MotionPatchesModel.get_motion_features`].
            labels: Shape (B,), int64 class numbers: cross-entropy. Floats (B, num_labels) are several labels at once, with
                `problem_type="multi_label_classification"`, as everywhere in transformers.

        Returns:
            A `SequenceClassifierOutput`: `loss` where labels are given, `logits` (B, num_labels).

        Raises:
            ValueError: If the shapes do not fit the configuration.
        """
        outputs = self._encode_motions(motion_values, motion_attention_mask, **kwargs)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        return SequenceClassifierOutput(
            loss=None if labels is None else self.loss_function(labels, logits, self.config),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


for _model_class in (MotionPatchesModel, MotionPatchesMotionModelWithProjection, MotionPatchesTextModelWithProjection):
    _model_class.register_for_auto_class("AutoModel")
MotionPatchesForMotionClassification.register_for_auto_class("AutoModelForVideoClassification")
