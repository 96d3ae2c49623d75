"""Motion towers: the ViT over motion patches, any other vision model, fed motions of one length at a time, and what models that
have a motion tower share."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, ViTConfig, ViTModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.vit.modeling_vit import ViTEmbeddings

from .configuration_motionpatches import NUM_PARTS, MotionGrid, MotionPatchesConfig


class MotionViTEmbeddings(ViTEmbeddings):
    """ViT embeddings over a grid of windows × parts, for any number of windows."""

    def __init__(self, config: ViTConfig, use_mask_token: bool = False) -> None:
        super().__init__(config, use_mask_token)
        height, width = _pair(config.patch_size)
        self.window = height
        self.grid = (config.image_size[0] // height, config.image_size[1] // width)

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Position embeddings for `height` frames: the first rows of the table for a shorter motion, so that padding in a
        batch changes nothing; a bicubic interpolation in time for a longer one. Shape (1, 1 + windows · parts, d)."""
        windows, (table_windows, parts) = height // self.window, self.grid
        if windows <= table_windows:
            return self.position_embeddings[:, : 1 + windows * parts]
        class_position, table = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        grid = table.reshape(1, table_windows, parts, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(windows, parts), mode="bicubic", antialias=True)
        return torch.cat([class_position, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


class MotionViTModel(ViTModel):
    """`transformers.ViTModel` without a pooler, over motions of any length; same weights, same names.

    Args:
        config: A `ViTConfig` of `motion_vit_config`.
        use_mask_token: Have a token for masked patches, as `ViTModel` for masked image modelling.

    Raises:
        ValueError: If `image_size` and `patch_size` are neither those of motion patches nor those of raw joint sequences.
    """

    def __init__(self, config: ViTConfig, use_mask_token: bool = False) -> None:
        super().__init__(config, add_pooling_layer=False, use_mask_token=use_mask_token)
        size, patch = _pair(config.image_size), _pair(config.patch_size)
        raw_joints = patch == (1, size[1])
        if size[0] % patch[0] or not (raw_joints or (patch[0] == patch[1] and size[1] == NUM_PARTS * patch[1])):
            raise ValueError(
                f"motion_config has image_size={config.image_size} and patch_size={config.patch_size}; expected [frames, "
                f"{NUM_PARTS} · patch_size] with whole windows, or [frames, joints] with patch_size=[1, joints]: see "
                "motion_vit_config"
            )
        self.embeddings = MotionViTEmbeddings(config, use_mask_token)
        self.post_init()


def tower_width(tower: PreTrainedModel, pooling: str) -> int:
    """Size of the features that `encode_by_length` pools from a tower."""
    if hasattr(tower, "timm_model"):
        return tower.timm_model.num_features if pooling == "mean" else tower.timm_model.head_hidden_size
    sizes = getattr(tower.config, "hidden_sizes", None)
    return tower.config.hidden_size if sizes is None else sizes[-1]


def encode_by_length(
    tower: PreTrainedModel, values: torch.Tensor, mask: torch.Tensor | None, grid: MotionGrid, pooling: str, **kwargs: Any
) -> BaseModelOutputWithPooling:
    """Run a tower that takes no mask once for each length that occurs in a batch, so that padding changes nothing.

    Args:
        tower: A vision model of transformers.
        values: Shape (B, 3, F, columns).
        mask: Shape (B, W), 1 for windows that hold a real frame; they come first. `None`: all do.
        grid: How many frames and patches a window has.
        pooling: `"cls"`: what the tower pools itself, or else its first token; `"mean"`: the mean of its patch tokens.
        kwargs: For the tower.

    Returns:
        `last_hidden_state` as tokens (B, L, d), zero where a shorter motion has none, and `pooler_output` (B, d).

    Raises:
        ValueError: If the tower does not take motions of that size, real windows do not come first, or hidden states or
            attentions are asked for of motions of several lengths.
    """
    if mask is None or bool(mask.all()):
        return _encode_whole(tower, values, grid, pooling, **kwargs)
    lengths = mask.sum(dim=-1)
    if not bool((mask.bool() == (torch.arange(mask.shape[1], device=mask.device) < lengths[:, None])).all()):
        raise ValueError("motion_attention_mask has gaps; a motion tower without a mask needs the real windows first")
    if not bool(lengths.all()):
        raise ValueError(f"motion_attention_mask leaves no window of {int((lengths == 0).sum())} of {len(mask)} motions")
    distinct = lengths.unique().tolist()
    if len(distinct) > 1 and (kwargs.get("output_hidden_states") or kwargs.get("output_attentions")):
        raise ValueError(
            f"a motion tower of type {tower.config.model_type!r} takes no mask and runs once for each length, here {distinct} "
            "windows: ask for hidden states and attentions of motions of one length"
        )
    if len(distinct) == 1:
        return _encode_whole(tower, values[:, :, : distinct[0] * grid.frames], grid, pooling, **kwargs)
    tokens: list[Any] = [None] * len(mask)
    pooled: list[Any] = [None] * len(mask)
    for length in distinct:
        rows = (lengths == length).nonzero()[:, 0]
        outputs = _encode_whole(tower, values[rows, :, : length * grid.frames], grid, pooling, **kwargs)
        for place, row in enumerate(rows.tolist()):
            tokens[row], pooled[row] = outputs.last_hidden_state[place], outputs.pooler_output[place]
    return BaseModelOutputWithPooling(
        last_hidden_state=nn.utils.rnn.pad_sequence(tokens, batch_first=True), pooler_output=torch.stack(pooled)
    )


def _encode_whole(
    tower: PreTrainedModel, values: torch.Tensor, grid: MotionGrid, pooling: str, **kwargs: Any
) -> BaseModelOutputWithPooling:
    """`encode_by_length` of motions of one length, without padding."""
    if "interpolate_pos_encoding" in inspect.signature(tower.forward).parameters:
        kwargs["interpolate_pos_encoding"] = True
    try:
        outputs = tower(pixel_values=values.to(tower.dtype), return_dict=True, **kwargs)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"the motion tower of type {tower.config.model_type!r} does not take motions of {values.shape[2]} frames and "
            f"{values.shape[3]} points: {error}"
        ) from error
    tokens = outputs.last_hidden_state
    if tokens.ndim == 4:  # the feature map of a convolutional network
        tokens = tokens.flatten(2).transpose(1, 2)
    num_patches = values.shape[2] // grid.frames * grid.parts
    if pooling == "mean":
        pooled = tokens[:, max(tokens.shape[1] - num_patches, 0) :].mean(dim=1)  # class and register tokens come first
    elif outputs.get("pooler_output") is not None:
        pooled = outputs.pooler_output.flatten(1)
    else:
        pooled = tokens[:, 0]
    return BaseModelOutputWithPooling(
        last_hidden_state=tokens,
        pooler_output=pooled,
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def masked_mean(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens that count: (B, L, d) and (B, L) → (B, d)."""
    if mask is None:
        return tokens.mean(dim=1)
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class MotionTowerMixin:
    """The motion side of a model: `motion_model`, the tower, and `motion_norm`, which follows its pooling."""

    config: MotionPatchesConfig

    def _add_motion_tower(self) -> int:
        """Make the tower; returns the size of the features of a motion, all its persons together."""
        config = self.config
        motion_config: PreTrainedConfig = config.motion_config
        is_vit = motion_config.model_type == "vit"
        self.motion_model = MotionViTModel._from_config(motion_config) if is_vit else AutoModel.from_config(motion_config)
        width = tower_width(self.motion_model, config.motion_pooling)
        self.motion_norm: nn.Module = nn.Identity()
        if config.motion_pooling == "mean":  # the norm follows the pooling, as in timm's average-pooled ViTs
            self.motion_norm = nn.LayerNorm(width, eps=getattr(motion_config, "layer_norm_eps", 1e-6))
            if is_vit:
                self.motion_model.layernorm = nn.Identity()
        return width * config.num_persons

    def get_input_embeddings(self) -> nn.Module:
        return self.motion_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.motion_model.set_input_embeddings(value)

    def _encode_motions(
        self, motion_values: torch.Tensor, motion_attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Output of the tower; `pooler_output` (B, P · d) holds the normed features of all persons of a motion."""
        self._check_motion_values(motion_values, motion_attention_mask)
        values = motion_values.reshape(-1, *motion_values.shape[-3:])
        mask = motion_attention_mask
        mask = None if mask is None else mask.reshape(-1, mask.shape[-1])
        grid, pooling = self.config.motion_grid, self.config.motion_pooling
        if isinstance(self.motion_model, MotionViTModel):
            if mask is not None:  # of tokens; the class token attends
                mask = F.pad(mask.repeat_interleave(grid.parts, dim=-1), (1, 0), value=1)
            outputs = self.motion_model(
                values, attention_mask=mask, interpolate_pos_encoding=True, return_dict=True, **kwargs
            )
            tokens = outputs.last_hidden_state
            pooled = tokens[:, 0]
            if pooling == "mean":
                pooled = masked_mean(tokens[:, 1:], None if mask is None else mask[:, 1:])
        else:
            outputs = encode_by_length(self.motion_model, values, mask, grid, pooling, **kwargs)
            pooled = outputs.pooler_output
        pooled = self.motion_norm(pooled)
        if self.config.num_persons > 1:  # else left as it is: torch.export cannot reshape a strided view of any batch size
            pooled = pooled.reshape(-1, self.config.num_persons * pooled.shape[-1])
        outputs.pooler_output = pooled
        return outputs

    @torch.no_grad()
    def get_motion_attention(
        self,
        motion_values: torch.Tensor,
        motion_attention_mask: torch.Tensor | None = None,
        layer: int = -1,
        rollout: bool = False,
    ) -> torch.Tensor:
        """What the pooled token attends to, over windows and body parts (paper Figure 7).

        With class-token pooling these are the attention weights from the class token to the patches, averaged over heads; with
        mean pooling the average of those of all real patches.

        Args:
            motion_values, motion_attention_mask: As in [`MotionPatchesModel.get_motion_features`].
            layer: Which layer's attention.
            rollout: Follow the attention from the input up to `layer` (attention rollout, Abnar and Zuidema, ACL 2020), which
                accounts for the mixing of tokens in the layers below.

        Returns:
            Shape (B, F/N, 5), or (B, P, F/N, 5) of P persons, float32, on the device of the model; of raw joint sequences
            (B, F, 1). Each map sums to 1; windows of padding have 0.

        Raises:
            ValueError: If the tower is no ViT, has no such layer, or the shapes do not fit the configuration.
        """
        tower = self.motion_model
        if not isinstance(tower, MotionViTModel):
            raise ValueError(
                f"the motion tower is a {tower.config.model_type!r}; attention over windows and parts is known of a ViT alone"
            )
        num_layers = tower.config.num_hidden_layers
        if not -num_layers <= layer < num_layers:
            raise ValueError(f"there is no layer {layer}; the motion tower has {num_layers}")
        implementation = tower.config._attn_implementation
        tower.set_attn_implementation("eager")  # the others do not return their weights
        try:
            outputs = self._encode_motions(motion_values, motion_attention_mask, output_attentions=True)
        finally:
            tower.set_attn_implementation(implementation)
        maps = [attention.float().mean(dim=1) for attention in outputs.attentions[: layer % num_layers + 1]]
        attention = maps[-1]
        if rollout:
            attention = identity = torch.eye(attention.shape[-1], device=attention.device)
            for below in maps:
                attention = (0.5 * below + 0.5 * identity) @ attention
        grid = self.config.motion_grid
        shape = (*motion_values.shape[:-3], motion_values.shape[-2] // grid.frames, grid.parts)
        real = torch.ones(shape, device=attention.device)
        if motion_attention_mask is not None:
            real = real * motion_attention_mask[..., None]
        real = real.reshape(len(attention), -1)
        pooled = attention[:, 0] if self.config.motion_pooling == "cls" else masked_mean(attention[:, 1:], real)
        pooled = pooled[:, 1:]
        return (pooled / pooled.sum(dim=-1, keepdim=True)).reshape(shape)

    def _check_motion_values(self, motion_values: torch.Tensor, mask: torch.Tensor | None) -> None:
        grid, persons = self.config.motion_grid, self.config.num_persons
        shape = tuple(motion_values.shape)
        fits = len(shape) == (4 if persons == 1 else 5) and shape[-3] == 3 and shape[-1] == grid.columns
        if not fits or shape[-2] == 0 or shape[-2] % grid.frames or (persons > 1 and shape[1] != persons):
            points = f"5·N) with N={grid.frames}" if grid.parts > 1 else f"J) with J={grid.columns} joints, N={grid.frames}"
            raise ValueError(
                f"motion_values has shape {shape}; expected ({'B' if persons == 1 else f'B, {persons}'}, 3, F, {points} and F "
                "a multiple of N. A processor with the model's patch_size makes them"
            )
        wanted = (*shape[:-3], shape[-2] // grid.frames)
        if mask is not None and tuple(mask.shape) != wanted:
            raise ValueError(f"motion_attention_mask has shape {tuple(mask.shape)}; expected {wanted}, one value a window")
