"""What changes the weights: rates of the parameters, the optimizer, and the average of the weights."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel

from ..modeling_motionpatches import MotionPatchesModel
from .recipe import OptimisationArguments, RunArguments


# Modules of numbered layers, as transformers, CLIP and timm call them.
_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|resblocks|stages|h)\.(\d+)\.")


def parameter_groups(model: MotionPatchesModel, run: RunArguments) -> list[dict[str, Any]]:
    """Groups with rates of their own: motion tower, text tower, and the heads with the temperature (paper section 4.3); each
    tower by its layers, where `layer_decay` asks for it."""
    motion = {**_named(model.motion_model), **_named(model.motion_norm, "norm")}
    text = _named(model.text_model)
    in_towers = {id(parameter) for parameter in (*motion.values(), *text.values())}
    head = [parameter for parameter in model.parameters() if id(parameter) not in in_towers]
    return [
        *tower_groups("motion", motion, run.lr_motion, run.layer_decay),
        *tower_groups("text", text, run.lr_text, run.layer_decay),
        {"name": "head", "params": head, "lr": run.lr_head},
    ]


def tower_groups(name: str, parameters: dict[str, nn.Parameter], lr: float, decay: float) -> list[dict[str, Any]]:
    """Parameters of a tower by depth: what follows the layers and the last of them learn at `lr`, each layer below at `decay`
    times the rate of that above it, the embeddings slowest (BEiT, Bao et al., ICLR 2022, appendix).

    Args:
        name: Of the groups.
        parameters: By their names in the tower.
        lr: Rate of the topmost. 0 freezes the tower, which then has no groups and needs no backward pass.
        decay: Above 0 and at most 1; 1 makes one group.

    Raises:
        ValueError: If the decay is impossible.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay must be above 0 and at most 1, got {decay}")
    for parameter in parameters.values():
        parameter.requires_grad_(lr != 0)
    if lr == 0:
        return []
    layers = {key: int(found[1]) for key in parameters if (found := _LAYER.search(key))}
    if decay == 1 or not layers:
        return [{"name": name, "params": list(parameters.values()), "lr": lr}]
    top = max(layers.values())
    groups: dict[int, list[nn.Parameter]] = {}
    has_passed = False
    for key, parameter in parameters.items():  # in the order of the network: embeddings, layers, what follows
        has_passed = has_passed or key in layers
        below = top - layers[key] if key in layers else (0 if has_passed else top + 1)
        groups.setdefault(below, []).append(parameter)
    return [
        {"name": f"{name}, {below} below the top" if below else name, "params": group, "lr": lr * decay**below}
        for below, group in sorted(groups.items())
    ]


def _named(module: nn.Module, prefix: str = "") -> dict[str, nn.Parameter]:
    return {f"{prefix}.{name}" if prefix else name: parameter for name, parameter in module.named_parameters()}


def make_optimizer(groups: list[dict[str, Any]], run: OptimisationArguments) -> AdamW:
    """AdamW in one fused kernel, several times faster on a CPU than a loop over the weights; without weight decay it is the
    paper's Adam."""
    return AdamW(groups, weight_decay=run.weight_decay, fused=True)


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of a model that follows it as an exponential moving average; `update_parameters(model)` after each step.

    The decay of the first steps is lower, so that the average does not remember the first weights: after t steps at most
    (1 + t) / (10 + t).

    Raises:
        ValueError: If the decay is not between 0 and 1.
    """
    if not 0 < decay < 1:
        raise ValueError(f"ema_decay must be between 0 and 1, got {decay}")

    @torch.no_grad()
    def average(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], num_steps: Any) -> None:
        steps = int(num_steps)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new.to(old.dtype), weight)

    return AveragedModel(model, multi_avg_fn=average)


def compile_towers(towers: Sequence[nn.Module], backend: str) -> None:
    """Compile towers in place, for inputs of any length; names of weights stay as they are. The backend `"no"` does nothing."""
    if backend != "no":
        for tower in towers:
            tower.compile(backend=backend, dynamic=True)
