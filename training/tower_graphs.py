"""The towers as graphs to export: what goes in, which sizes vary and how far, and inputs to check them with."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as shape_settings
from transformers import PreTrainedModel

from ..modeling_motionpatches import (
    MotionPatchesModel,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
)
from ..motion_towers import MotionViTModel
from ..processing.processing_motionpatches import MotionTextProcessor


@dataclass(frozen=True)
class TowerGraph:
    """A tower to export: its inputs, which of their axes vary, and how far."""

    name: str  # of the file
    output: str
    module: nn.Module
    axes: dict[str, dict[int, Any]]
    min_length: int  # in windows or tokens
    max_length: int
    unit: str  # frames or tokens
    step: int  # frames in a window
    sample: Callable[[int, int], dict[str, torch.Tensor]]  # batch size and length → inputs, their masks of mixed lengths

    @property
    def limits(self) -> dict[str, int]:
        """The least and the most frames or tokens that it takes."""
        return {f"min_{self.unit}": self.step * self.min_length, f"max_{self.unit}": self.step * self.max_length}

    def lengths_to_check(self) -> list[tuple[int, int]]:
        """Batch sizes and lengths: one item of one unit, the whole table, and what lies between."""
        between = max(self.min_length, self.max_length // 2), max(self.min_length, min(2, self.max_length))
        return list(dict.fromkeys([(1, self.min_length), (2, self.max_length), (3, between[0]), (5, between[1])]))


def list_graphs(model: PreTrainedModel, processor: MotionTextProcessor) -> list[TowerGraph]:
    """The graphs of a model: of both towers, or of the one that it is.

    Raises:
        ValueError: If the model has no tower with a projection, or the processor does not fit it.
    """
    makers = {MotionPatchesMotionModelWithProjection: motion_graph, MotionPatchesTextModelWithProjection: text_graph}
    if isinstance(model, MotionPatchesModel):
        return [make(model, processor) for make in makers.values()]
    for tower_class, make in makers.items():
        if isinstance(model, tower_class):
            return [make(model, processor)]
    raise ValueError(
        f"a {type(model).__name__} has no embeddings to export; expected a MotionPatchesModel or one of "
        f"{', '.join(tower_class.__name__ for tower_class in makers)}"
    )


class _MotionEmbeds(nn.Module):
    """Only what is exported of the tower's output; the names of the arguments become those of the inputs."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, motion_values: torch.Tensor, motion_attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.tower(motion_values=motion_values, motion_attention_mask=motion_attention_mask).motion_embeds


class _TextEmbeds(_MotionEmbeds):
    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.tower(input_ids=input_ids, attention_mask=attention_mask).text_embeds


def motion_graph(model: PreTrainedModel, processor: MotionTextProcessor) -> TowerGraph:
    """The motion tower and its projection; arguments and errors as in `list_graphs`."""
    config, patches = model.config, processor.feature_extractor
    grid, persons = config.motion_grid, config.num_persons
    if patches.patch_size != grid.frames:
        raise ValueError(f"the processor has patch_size={patches.patch_size}, the model {grid.frames}; they must be equal")
    tower = _alone(model, MotionPatchesMotionModelWithProjection)
    masked, windows = patches.return_attention_mask, patches.max_frames // grid.frames
    is_vit = isinstance(tower.motion_model, MotionViTModel)
    if not is_vit and (masked or patches.padding != "max_length"):
        raise ValueError(
            f"the motion tower is a {config.motion_config.model_type!r}, which takes no mask and runs once for each length; a "
            "graph can stand for one length alone. For a model trained on motions padded to one length, without a mask, set "
            "return_attention_mask = False and padding = 'max_length' of processor.feature_extractor"
        )
    table = config.motion_config.image_size[0] // grid.frames if is_vit else windows
    if windows > table:
        raise ValueError(
            f"the processor makes motions of up to {windows} windows, but the position table has {table} and a graph does not "
            f"interpolate it; set processor.feature_extractor.max_frames = {table * grid.frames}"
        )
    lead = () if persons == 1 else (persons,)

    def sample(batch: int, length: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([batch, length])
        shape = (batch, *lead, 3, length * grid.frames, grid.columns)
        inputs = {"motion_values": torch.from_numpy(rng.normal(size=shape).astype(np.float32))}
        if masked:
            real = np.resize([length, 1, max(1, length // 2)], (batch, *lead))
            inputs["motion_attention_mask"] = _first(real, length)
        return inputs

    size, varies = Dim("batch", min=1), is_vit and table > 1
    axes: dict[str, dict[int, Any]] = {"motion_values": {0: size}}
    if masked:
        axes["motion_attention_mask"] = {0: size}
    if varies:
        length = Dim("windows", min=1, max=table)
        axes["motion_values"][2 + len(lead)] = grid.frames * length if grid.frames > 1 else length
        if masked:
            axes["motion_attention_mask"][1 + len(lead)] = length
    least, embeds = 1 if varies else table, _MotionEmbeds(tower).eval()
    return TowerGraph("motion_tower", "motion_embeds", embeds, axes, least, table, "frames", grid.frames, sample)


def text_graph(model: PreTrainedModel, processor: MotionTextProcessor) -> TowerGraph:
    """The text tower and its projection; arguments and errors as in `list_graphs`."""
    config, tokenizer = model.config.text_config, processor.tokenizer
    tower = _alone(model, MotionPatchesTextModelWithProjection)
    limits = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    known = [int(limit) for limit in limits if limit and limit < 1_000_000]  # tokenizers without a limit say 10³⁰
    if not known:
        raise ValueError(
            "neither tokenizer nor text tower says how long a text may be; set processor.tokenizer.model_max_length"
        )
    padding, end = getattr(config, "pad_token_id", None) or 0, getattr(config, "eos_token_id", None)

    def sample(batch: int, length: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([batch, length])
        real = np.resize([length, 1, max(1, length // 2)], batch)
        mask = _first(real, length)
        ids = torch.from_numpy(rng.integers(min(5, config.vocab_size - 1), config.vocab_size, size=(batch, length)))
        if end is not None:  # which "eos" pools
            ids[torch.arange(batch), torch.from_numpy(real) - 1] = end
        return {"input_ids": ids.where(mask.bool(), padding), "attention_mask": mask}

    # Each text has its start and its end token; attention over one token alone is another program.
    axes = {
        name: {0: Dim("batch", min=1), 1: Dim("tokens", min=2, max=min(known))} for name in ("input_ids", "attention_mask")
    }
    return TowerGraph("text_tower", "text_embeds", _TextEmbeds(tower).eval(), axes, 2, min(known), "tokens", 1, sample)


def _first(real: np.ndarray, length: int) -> torch.Tensor:
    """A mask (…, length), int64, 1 at the first `real` (…) places."""
    return torch.from_numpy((np.arange(length) < real[..., None]).astype(np.int64))


def _alone(model: PreTrainedModel, tower_class: Any) -> Any:
    """A copy of one tower, on the CPU, in float32 and evaluation mode."""
    tower = tower_class(copy.deepcopy(model.config))
    names = tower.state_dict().keys()
    tower.load_state_dict({name: value for name, value in model.state_dict().items() if name in names})
    return tower.float().eval()


def capture(graph: TowerGraph) -> ExportedProgram:
    """The tower as a `torch.export` program of varying batch size and length."""
    inputs = graph.sample(2, max(graph.min_length, min(3, graph.max_length)))
    # Without this setting, which torch.onnx makes too, a program refuses batches of one and motions of one window.
    with torch.no_grad(), shape_settings.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(graph.module, (), kwargs=inputs, dynamic_shapes=graph.axes, strict=False)
