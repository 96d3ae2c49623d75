"""MotionPatches (Yu, Tanaka and Fujiwara, CVPR 2024): a ViT over motion patches and a text encoder in one space."""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, ViTModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.vit.modeling_vit import ViTEmbeddings
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_motionpatches import NUM_PARTS, MotionPatchesConfig


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


def contrastive_loss(logits_per_motion: torch.Tensor, loss: str = "softmax_sum") -> torch.Tensor:
    """Symmetric cross-entropy over a batch of pairs (paper equations 2 to 4).

    Args:
        logits_per_motion: Shape (B, B); row i and column i belong together.
        loss: `"softmax_sum"` adds motion→text and text→motion (equation 4); `"softmax_mean"` averages them.

    Returns:
        A scalar.

    Raises:
        ValueError: If the logits are not square.
    """
    num_motions, num_texts = logits_per_motion.shape
    if num_motions != num_texts:
        raise ValueError(
            f"the contrastive loss needs one text for each motion, got {num_motions} motions and {num_texts} texts"
        )
    target = torch.arange(num_motions, device=logits_per_motion.device)
    total = F.cross_entropy(logits_per_motion, target) + F.cross_entropy(logits_per_motion.t(), target)
    return total / 2 if loss == "softmax_mean" else total


class MotionViTEmbeddings(ViTEmbeddings):
    """ViT embeddings over a grid of windows × parts, for any number of windows."""

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Position embeddings for `height` frames: the first rows of the table for a shorter motion, so that padding in a
        batch changes nothing; a bicubic interpolation in time for a longer one. Shape (1, 1 + windows · 5, d)."""
        windows = height // self.patch_size
        table_windows = self.image_size[0] // self.patch_size
        if windows <= table_windows:
            return self.position_embeddings[:, : 1 + windows * NUM_PARTS]
        class_position, table = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        grid = table.reshape(1, table_windows, NUM_PARTS, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(windows, NUM_PARTS), mode="bicubic", antialias=True)
        return torch.cat([class_position, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


class MotionViTModel(ViTModel):
    """`transformers.ViTModel` without a pooler, over motion patches of any length; same weights, same names."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, add_pooling_layer=False)
        frames, points = config.image_size
        if points != NUM_PARTS * config.patch_size or frames % config.patch_size:
            raise ValueError(
                f"motion_config has image_size={list(config.image_size)} and patch_size={config.patch_size}; expected [frames, "
                f"{NUM_PARTS} · patch_size] with whole windows: see motion_vit_config"
            )
        self.embeddings = MotionViTEmbeddings(config)
        self.post_init()


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
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["MotionViTEmbeddings", "ViTLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MotionPatchesModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)


class MotionPatchesModel(MotionPatchesPreTrainedModel):
    """The dual encoder: motion patches → ViT, text → language encoder, each with a projection head (paper section 3).

    Args:
        config: A [`MotionPatchesConfig`].

    Raises:
        ValueError: If the motion tower is no ViT over five parts.
    """

    def __init__(self, config: MotionPatchesConfig) -> None:
        super().__init__(config)
        motion_config: PreTrainedConfig = config.motion_config
        text_config: PreTrainedConfig = config.text_config
        if motion_config.model_type != "vit":
            raise ValueError(f"motion_config has model_type {motion_config.model_type!r}; the motion tower is a 'vit'")
        self.motion_model = MotionViTModel._from_config(motion_config)
        self.motion_norm: nn.Module = nn.Identity()
        if config.motion_pooling == "mean":  # the norm follows the pooling, as in timm's average-pooled ViTs
            self.motion_model.layernorm = nn.Identity()
            self.motion_norm = nn.LayerNorm(motion_config.hidden_size, eps=motion_config.layer_norm_eps)
        self.text_model = AutoModel.from_config(text_config)
        if getattr(self.text_model, "pooler", None) is not None:
            self.text_model.pooler = None  # BERT's own; unused weights would break distributed training

        self.motion_projection = MotionPatchesProjection(
            motion_config.hidden_size * config.num_persons, config.projection_dim, config.projection_dropout
        )
        self.text_projection = MotionPatchesProjection(
            text_config.hidden_size, config.projection_dim, config.projection_dropout
        )
        logit_scale = torch.tensor(float(config.logit_scale_init_value))
        if config.learn_logit_scale:
            self.logit_scale = nn.Parameter(logit_scale)
        else:  # a buffer, since loading a checkpoint would set requires_grad on a frozen parameter
            self.register_buffer("logit_scale", logit_scale)
        self.post_init()

    @can_return_tuple
    def get_motion_features(
        self,
        motion_values: torch.Tensor,
        motion_attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Output of the motion tower; `pooler_output` (B, projection_dim) is the embedding before scaling to unit length.

        Args:
            motion_values: Shape (B, 3, F, 5·N), or (B, P, 3, F, 5·N) for P persons. F is a multiple of N.
            motion_attention_mask: Shape (B, F/N) or (B, P, F/N), 1 for windows that hold a real frame. `None`: all do.

        Raises:
            ValueError: If the shapes do not fit the configuration.
        """
        persons = self.config.num_persons
        self._check_motion_values(motion_values, motion_attention_mask)
        motion_values = motion_values.reshape(-1, *motion_values.shape[-3:])
        token_mask = None
        if motion_attention_mask is not None:
            windows = motion_attention_mask.reshape(-1, motion_attention_mask.shape[-1])
            token_mask = F.pad(windows.repeat_interleave(NUM_PARTS, dim=-1), (1, 0), value=1)  # the class token attends
        outputs = self.motion_model(
            motion_values, attention_mask=token_mask, interpolate_pos_encoding=True, return_dict=True, **kwargs
        )
        pooled = self.motion_norm(self._pool_motion(outputs.last_hidden_state, token_mask))
        pooled = pooled.reshape(-1, persons * pooled.shape[-1])
        outputs.pooler_output = self.motion_projection(pooled)
        return outputs

    def _check_motion_values(self, motion_values: torch.Tensor, mask: torch.Tensor | None) -> None:
        patch_size, persons = self.config.patch_size, self.config.num_persons
        expected = "(B, 3, F, 5·N)" if persons == 1 else f"(B, {persons}, 3, F, 5·N)"
        shape = tuple(motion_values.shape)
        fits = len(shape) == (4 if persons == 1 else 5) and shape[-3] == 3 and shape[-1] == NUM_PARTS * patch_size
        if not fits or shape[-2] == 0 or shape[-2] % patch_size or (persons > 1 and shape[1] != persons):
            raise ValueError(
                f"motion_values has shape {shape}; expected {expected} with N={patch_size} and F a multiple of N. "
                "A processor with the model's patch_size makes them"
            )
        wanted = (*shape[:-3], shape[-2] // patch_size)
        if mask is not None and tuple(mask.shape) != wanted:
            raise ValueError(f"motion_attention_mask has shape {tuple(mask.shape)}; expected {wanted}, one value a window")

    def _pool_motion(self, tokens: torch.Tensor, token_mask: torch.Tensor | None) -> torch.Tensor:
        if self.config.motion_pooling == "cls":
            return tokens[:, 0]
        return _masked_mean(tokens[:, 1:], None if token_mask is None else token_mask[:, 1:])

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Output of the text tower; `pooler_output` (B, projection_dim) is the embedding before scaling to unit length.

        Args:
            input_ids: Shape (B, L).
            attention_mask: Shape (B, L), 1 for tokens that count. `None`: all do.
        """
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        tokens = outputs.last_hidden_state
        if self.config.text_pooling == "cls":
            pooled = tokens[:, 0]
        elif self.config.text_pooling == "mean":
            pooled = _masked_mean(tokens, attention_mask)
        else:
            text_config: PreTrainedConfig = self.config.text_config
            end = (input_ids == text_config.eos_token_id).int().argmax(dim=-1)
            pooled = tokens[torch.arange(len(tokens), device=tokens.device), end]
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=self.text_projection(pooled),
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        motion_values: torch.FloatTensor | None = None,
        motion_attention_mask: torch.Tensor | None = None,
        return_loss: bool | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Any,
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
        return MotionPatchesOutput(
            loss=contrastive_loss(logits_per_motion, self.config.loss) if return_loss else None,
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
            motion_name: A timm name (`"vit_base_patch16_224.augreg_in21k"`), or the folder or Hub id of a ViT of
                transformers. Its position table is resized to windows × 5 as timm resizes it, and the tower's final norm is
                kept.
            text_name: The folder or Hub id of a text model.
            kwargs: Fields of [`MotionPatchesConfig`]; and `max_frames` (default 224), the frames that the position table
                covers.

        Raises:
            ValueError: If a tower's weights do not fill the model exactly.
        """
        # Not an import statement: this file travels with checkpoints, the loader does not.
        loader = importlib.import_module("motionpatches.convert_vit_to_motionpatches")
        return loader.build_from_pretrained(cls, motion_name, text_name, **kwargs)


def _masked_mean(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens that count: (B, L, d) and (B, L) → (B, d)."""
    if mask is None:
        return tokens.mean(dim=1)
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


MotionPatchesModel.register_for_auto_class("AutoModel")
