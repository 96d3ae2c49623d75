"""Checkpoints of the published MotionPatches code (https://github.com/YU1ut/MotionPatches) → our state dict and configuration.

That code saves the state dict of its whole model: a timm ViT under `motion_encoder.model`, a text model of transformers under
`text_encoder.text_model`, the two projection heads, and the temperature.
"""

import copy
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModel, PreTrainedConfig
from transformers.utils import logging

from .configuration_motionpatches import NUM_PARTS, VIT_SIZES, MotionPatchesConfig, motion_vit_config
from .convert_vit_to_motionpatches import convert_timm_state_dict


MOTION_TOWER = "motion_encoder.model."
_TEXT_TOWER = "text_encoder.text_model."
_BLOCK_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_HEAD_LAYERS = ("projection", "fc", "layer_norm")
# Weights of a BERT-like model's pooler, which neither code asks, and counters that transformers once saved.
_UNUSED_TEXT = re.compile(r"^pooler\.|(^|\.)(position_ids|token_type_ids)$")
_HEADS = {width: heads for width, _, heads in VIT_SIZES.values()}
_LISTED = 12


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in a file of `torch.save` or `safetensors`; no code that the file may hold is run.

    Args:
        path: A `.safetensors` file, or one that `torch.save(model.state_dict(), path)` wrote.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {str(path)!r}; expected the .pt file of the published code")
    try:
        content = (
            load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it asks for {wanted[1]}, and code from a checkpoint is never run" if wanted else "it cannot be read as one"
        raise ValueError(
            f"{str(path)!r} is no file of tensors alone: {why}. Expected torch.save(model.state_dict(), …) or .safetensors; an "
            "unfinished download looks like this too"
        ) from error
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{str(path)!r} holds a {type(content).__name__}; expected a state dict, tensors by name")
    others = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(
            f"{str(path)!r} holds more than tensors: {_listed(map(str, others))}. If one of them is the state dict, save it "
            "alone: torch.save(content[…], …)"
        )
    return dict(content)


def convert_state_dict(
    state_dict: Mapping[str, torch.Tensor], text_config: PreTrainedConfig | None = None
) -> dict[str, torch.Tensor]:
    """Published state dict → state dict of `MotionPatchesModel`.

    Args:
        state_dict: As saved by the published training script; a prefix `module.` (of `DataParallel`) is understood.
        text_config: Configuration of the text model. With it, text weights get the names of the installed transformers and are
            checked; without it they keep those of the version that wrote them (the same for BERT and DistilBERT so far).

    Returns:
        The tensors by name. What is left out: the pooler of a BERT-like text model, which the published model does not use.

    Raises:
        ValueError: If keys are missing or unknown, weights are not finite, or the text model has other weights.
    """
    published = _without_wrapper(state_dict)
    _check_keys(published)
    _check_finite(published)
    converted: dict[str, torch.Tensor] = {}
    for key, value in convert_timm_state_dict(_below(published, MOTION_TOWER)).items():
        norm, is_norm = re.subn(r"^layernorm\.", "motion_norm.", key)  # timm's fc_norm, which follows the mean
        converted[norm if is_norm else f"motion_model.{key}"] = value
    text = {key: value for key, value in _below(published, _TEXT_TOWER).items() if not _UNUSED_TEXT.search(key)}
    if text_config is not None:
        text = _rename_text_weights(text, text_config)
    converted.update({f"text_model.{key}": value for key, value in text.items()})
    converted.update({key: value for key, value in published.items() if key.split(".")[0].endswith("_projection")})
    converted["logit_scale"] = published["logit_scale"].reshape(()).float()
    return converted


def config_for_state_dict(
    state_dict: Mapping[str, torch.Tensor], text_config: PreTrainedConfig, num_heads: int | None = None, **kwargs: Any
) -> MotionPatchesConfig:
    """The configuration that a published state dict has; all sizes are read from its weights.

    Args:
        state_dict: As for `convert_state_dict`.
        text_config: Configuration of the text model.
        num_heads: Attention heads of the ViT, which its weights do not tell. `None`: those of timm's tiny, small, base or large,
            by the width.
        kwargs: Other fields of `MotionPatchesConfig`, such as `projection_dropout`.

    Raises:
        ValueError: If keys are missing or unknown, shapes are not those of motion patches, the text model has another width, or
            `num_heads` is needed or does not divide the width.
    """
    published = _without_wrapper(state_dict)
    _check_keys(published)
    kernel = tuple(published[f"{MOTION_TOWER}patch_embed.proj.weight"].shape)
    tokens = published[f"{MOTION_TOWER}pos_embed"].shape[-2]
    if len(kernel) != 4 or kernel[1] != 3 or kernel[2] != kernel[3] or tokens < 1 + NUM_PARTS or (tokens - 1) % NUM_PARTS:
        raise ValueError(
            f"the checkpoint's ViT has a patch kernel {kernel} and {tokens} positions; expected (width, 3, N, N) and 1 + "
            f"{NUM_PARTS} · windows: it is no ViT over motion patches"
        )
    width, patch_size = kernel[0], kernel[2]
    text_width = published["text_projection.projection.weight"].shape[1]
    own_width = getattr(text_config, "hidden_size", None)
    if own_width != text_width:
        raise ValueError(
            f"the text model ({text_config.model_type}) has width {own_width}, but the checkpoint's text_projection "
            f"takes {text_width}; name the text model that the checkpoint was trained with"
        )
    motion_config = motion_vit_config(
        patch_size=patch_size,
        max_frames=(tokens - 1) // NUM_PARTS * patch_size,
        hidden_size=width,
        num_hidden_layers=_depth(published),
        num_attention_heads=_num_heads(width, num_heads),
        intermediate_size=published[f"{MOTION_TOWER}blocks.0.mlp.fc1.weight"].shape[0],
    )
    fields: dict[str, Any] = {
        "projection_dim": published["motion_projection.projection.weight"].shape[0],
        "motion_pooling": "mean",
        "text_pooling": "cls",
        "loss": "softmax_mean",
        "learn_logit_scale": False,
        "logit_scale_init_value": float(published["logit_scale"]),
    }
    return MotionPatchesConfig(motion_config=motion_config, text_config=text_config, **{**fields, **kwargs})


def _without_wrapper(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("module."): value for key, value in state_dict.items()}


def _below(state_dict: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}


def _depth(published: Iterable[str]) -> int:
    blocks = {match[1] for key in published if (match := re.match(rf"{re.escape(MOTION_TOWER)}blocks\.(\d+)\.", key))}
    return max(len(blocks), 1)


def _num_heads(width: int, num_heads: int | None) -> int:
    if num_heads is None and width not in _HEADS:
        known = ", ".join(f"{heads} of width {known_width}" for known_width, heads in _HEADS.items())
        raise ValueError(
            f"the checkpoint's ViT has width {width}, and weights do not tell the number of attention heads; pass num_heads "
            f"(--num-heads). Known: {known}"
        )
    heads = _HEADS[width] if num_heads is None else num_heads
    if heads < 1 or width % heads:
        raise ValueError(f"num_heads={heads} does not divide the width {width} of the checkpoint's ViT")
    return heads


def _check_keys(published: Mapping[str, torch.Tensor]) -> None:
    layers = ["patch_embed.proj", "fc_norm"]
    layers += [f"blocks.{block}.{layer}" for block in range(_depth(published)) for layer in _BLOCK_LAYERS]
    modules = [f"{MOTION_TOWER}{layer}" for layer in layers]
    modules += [f"{side}_projection.{layer}" for side in ("motion", "text") for layer in _HEAD_LAYERS]
    expected = {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    expected |= {f"{MOTION_TOWER}cls_token", f"{MOTION_TOWER}pos_embed", "logit_scale"}
    found = {key for key in published if not key.startswith(_TEXT_TOWER)}
    missing, unknown = expected - found, found - expected
    if len(found) == len(published):
        missing.add(f"{_TEXT_TOWER}*")
    if missing or unknown:
        raise ValueError(
            "this is no state dict of the published MotionPatches model, a timm ViT with global_pool='avg' and a text model: "
            f"missing {_listed(sorted(missing))}; unknown {_listed(sorted(unknown))}"
        )


def _check_finite(published: Mapping[str, torch.Tensor]) -> None:
    broken = [key for key, value in published.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ValueError(f"{len(broken)} of {len(published)} weights hold values that are not finite: {_listed(broken)}")


def _rename_text_weights(weights: Mapping[str, torch.Tensor], text_config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """Text weights in the names of the installed transformers, whose loading knows the names of its earlier versions."""
    with torch.device("meta"):  # for its class only
        model_class = type(AutoModel.from_config(text_config))
    with _quiet_transformers():
        model, loaded = model_class.from_pretrained(
            None,
            config=copy.deepcopy(text_config),
            state_dict=dict(weights),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below
        )
    missing = sorted(key for key in loaded["missing_keys"] if not _UNUSED_TEXT.search(key))
    unexpected = sorted(loaded["unexpected_keys"])
    shapes = sorted(f"{key} {tuple(ours)} ≠ {tuple(theirs)}" for key, ours, theirs in loaded["mismatched_keys"])
    if missing or unexpected or shapes:
        raise ValueError(
            f"the text model ({model_class.__name__}) is not the one that the checkpoint was trained with. Other shapes "
            f"(checkpoint ≠ text model): {_listed(shapes)}; missing in the checkpoint: {_listed(missing)}; in the checkpoint "
            f"only: {_listed(unexpected)}"
        )
    return {key: value for key, value in model.state_dict().items() if not _UNUSED_TEXT.search(key)}


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without the progress bar and the report of loading, whose content our own error tells."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more
