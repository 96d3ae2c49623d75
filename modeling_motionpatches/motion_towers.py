"""Motion towers: the ViT over motion patches, and any other vision model that is fed motions of one length at a time."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel, ViTConfig, ViTModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.vit.modeling_vit import ViTEmbeddings

from .configuration_motionpatches import NUM_PARTS, MotionGrid


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
