"""Checkpoints of the published MotionPatches code → a folder that `AutoModel`, `AutoProcessor` and `pipeline` load."""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from ..configuration_motionpatches import MotionPatchesConfig
from ..convert_motionpatches_to_hf import MOTION_TOWER, config_for_state_dict, convert_state_dict, read_state_dict
from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor
from ..processing.skeletons import get_skeleton
from .export import save_checkpoint


_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PublishedDataset:
    """What the published code does for one of its data sets, and does not save with the weights."""

    name: str
    skeleton: str
    projection_dropout: float
    resampling: str
    usage: str


PUBLISHED_DATASETS = {
    "humanml3d": PublishedDataset(
        "HumanML3D", "smpl22", 0.5, "antialias", "Motions are joints in metres in the frame of HumanML3D."
    ),
    "kitml": PublishedDataset(
        "KIT-ML",
        "kit21",
        0.0,
        "repeat",
        "Motions are joints as in KIT-ML's `new_joints`; pass `fps=12.5`: whole frames are then repeated up to 20 frames per "
        "second as in training, which plays them 4 % slower.",
    ),
}


def convert_checkpoint(
    checkpoint: Path,
    dataset: str,
    statistics: tuple[Path, Path],
    text_model: str,
    output: Path,
    num_heads: int | None = None,
    overwrite: bool = False,
) -> float:
    """Convert a checkpoint of the published code: model, processor with tokenizer, pipeline and card.

    Args:
        checkpoint: State dict of the published training script, by `torch.save` or as `.safetensors`.
        dataset: `"humanml3d"` or `"kitml"`: what it was trained on.
        statistics: `Mean_raw.npy` and `Std_raw.npy` of that data set, from the published `cal_mean_var.py`.
        text_model: Folder or Hub id of the text model that it was trained with; gives configuration and tokenizer.
        output: Folder to write.
        num_heads: See `config_for_state_dict`.
        overwrite: Replace a MotionPatches checkpoint in `output`.

    Returns:
        The largest difference between the features that the converted motion tower and timm's compute.

    Raises:
        FileExistsError: If `output` holds something that is not to be replaced.
        FileNotFoundError: If a file is not there.
        ValueError: If checkpoint, statistics, text model and data set do not fit together.
    """
    if dataset not in PUBLISHED_DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; known: {', '.join(PUBLISHED_DATASETS)}")
    facts = PUBLISHED_DATASETS[dataset]
    check_output(output, overwrite, [checkpoint, *statistics, Path(text_model)])
    moments = read_statistics(*statistics, facts.skeleton)
    state_dict = read_state_dict(checkpoint)
    text_config = AutoConfig.from_pretrained(text_model)
    if not hasattr(text_config, "vocab_size"):
        raise ValueError(f"{text_model!r} is a {text_config.model_type!r}, no text model")
    if Path(text_model).exists():
        text_config.name_or_path = ""  # a checkpoint tells no folders of a machine
    tokenizer = load_tokenizer(text_model, text_config.vocab_size)
    config = config_for_state_dict(state_dict, text_config, num_heads, projection_dropout=facts.projection_dropout)
    model = build_converted_model(state_dict, config)
    difference = compare_with_timm(model, state_dict)
    processor = MotionTextProcessor(build_published_processor(config, facts, moments), tokenizer)
    save_checkpoint(model, processor, output, card_facts(facts))
    return difference


def check_output(output: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Make sure that nothing but an older MotionPatches checkpoint is replaced, and that only if it is to be.

    Raises:
        FileExistsError: If there is something else, `overwrite` is off, or an input lies in the folder.
        ValueError: If it is the current folder.
    """
    if not output.name:
        raise ValueError(f"output {str(output)!r} has no name of its own; name a folder to be made")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not _is_checkpoint(output):
        raise FileExistsError(
            f"{str(output)!r} exists and is no folder of a MotionPatches checkpoint: it is never replaced; choose another output"
        )
    if not overwrite:
        raise FileExistsError(f"{str(output)!r} holds a checkpoint; choose another output, or replace it by --overwrite")
    inside = [str(path) for path in inputs if path.exists() and path.resolve().is_relative_to(output.resolve())]
    if inside:
        raise FileExistsError(f"{str(output)!r} would be replaced with what is converted in it: {', '.join(inside)}")


def _is_checkpoint(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == MotionPatchesConfig.model_type


def read_statistics(mean_file: Path, std_file: Path, skeleton: str) -> dict[str, Any]:
    """Mean and standard deviation of the joints, each (J, 3), for the processor.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If it is no NumPy array of the skeleton's joints, not finite, or a standard deviation is not above 0.
    """
    found = {}
    shape = (get_skeleton(skeleton).num_joints, 3)
    for kind, file in (("mean", mean_file), ("std", std_file)):
        if not file.is_file():
            raise FileNotFoundError(
                f"no file {str(file)!r}; the published cal_mean_var.py writes Mean_raw.npy and Std_raw.npy"
            )
        try:
            values = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{str(file)!r} is no .npy file of numbers: {error}") from error
        if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind != "f":
            got = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "several arrays"
            raise ValueError(
                f"{str(file)!r} holds {got}; expected floats of shape {shape}, one row for each joint of {skeleton!r} (the "
                "published Mean_raw.npy and Std_raw.npy, not the Mean.npy and Std.npy of the data set's features)"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{str(file)!r} holds {int((~np.isfinite(values)).sum())} values that are not finite")
        found[kind] = values.astype(np.float64)
    if not (found["std"] > 0).all():
        raise ValueError(
            f"{str(std_file)!r} holds {int((found['std'] <= 0).sum())} standard deviations that are not above 0; the mean comes "
            "first, then the standard deviation"
        )
    return found


def load_tokenizer(name: str, vocab_size: int) -> Any:
    """The tokenizer of a text model whose table has `vocab_size` rows.

    Raises:
        ValueError: If there is none, or it knows more tokens than the table.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where the files are missing
        raise ValueError(f"{name!r} has no tokenizer (tokenizer.json, vocab.txt, …); tokenizer.save_pretrained writes it")
    if len(tokenizer) > vocab_size:
        raise ValueError(f"the tokenizer of {name!r} knows {len(tokenizer)} tokens, but the text model only {vocab_size}")
    if len(tokenizer) < vocab_size:
        warnings.warn(
            f"the tokenizer of {name!r} knows {len(tokenizer)} tokens, the text model {vocab_size}: is it its own?",
            stacklevel=2,
        )
    return tokenizer


def build_converted_model(state_dict: Mapping[str, torch.Tensor], config: MotionPatchesConfig) -> MotionPatchesModel:
    """The model of a published state dict, in evaluation mode.

    Raises:
        ValueError: If the weights do not fill it exactly.
    """
    model = MotionPatchesModel(config)
    try:
        model.load_state_dict(convert_state_dict(state_dict, config.text_config))
    except RuntimeError as error:  # torch lists the shapes
        raise ValueError(f"the checkpoint's weights do not fit each other: {error}") from error
    return model.eval()


@torch.no_grad()
def compare_with_timm(model: MotionPatchesModel, state_dict: Mapping[str, torch.Tensor]) -> float:
    """Largest difference between the motion features of a converted model and of the published one's own ViT.

    Raises:
        ValueError: If it is more than rounding.
    """
    from timm.models.vision_transformer import VisionTransformer

    config: Any = model.config.motion_config
    vit = VisionTransformer(
        img_size=tuple(config.image_size),
        patch_size=config.patch_size,
        num_classes=0,
        global_pool="avg",
        embed_dim=config.hidden_size,
        depth=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        mlp_ratio=(config.intermediate_size + 0.5) / config.hidden_size,  # timm cuts the product to a whole number
    ).eval()
    own = {key.removeprefix("module."): value for key, value in state_dict.items()}
    vit.load_state_dict({key.removeprefix(MOTION_TOWER): own[key] for key in own if key.startswith(MOTION_TOWER)})
    motion = torch.randn(1, 3, *config.image_size, generator=torch.Generator().manual_seed(0))
    converted = model.motion_norm(model.motion_model(motion).last_hidden_state[:, 1:].mean(dim=1))
    difference = float((converted - vit(motion)).abs().max())
    if not difference < _TOLERANCE:
        raise ValueError(
            f"the converted motion tower differs from timm's by {difference:.2g}, expected less than {_TOLERANCE:g}: this "
            "version of timm or transformers computes something else; nothing was written"
        )
    return difference


def build_published_processor(
    config: MotionPatchesConfig, dataset: PublishedDataset, statistics: Mapping[str, Any]
) -> MotionPatchProcessor:
    """The processor that does what the published code does in evaluation."""
    motion_config: Any = config.motion_config
    return MotionPatchProcessor(
        patch_size=config.patch_size,
        max_frames=motion_config.image_size[0],
        fps=20.0,
        interpolation="half_pixel",
        normalization="joints",
        statistics={dataset.skeleton: statistics},
        canonicalize=False,
        resampling=dataset.resampling,
        root="global",
        padding="max_length",
        truncation="start",
        return_attention_mask=False,
        default_skeleton=dataset.skeleton,
    )


def card_facts(dataset: PublishedDataset) -> dict[str, str]:
    """What the card of a converted checkpoint says."""
    return {
        "recipe_name": "published",
        "training_data": (
            f"{dataset.name}; the statistics of the normalisation are those of the published code: over all splits, the test "
            "split included, which is a leak, and it selects its best epoch on the test split"
        ),
        "trained_with": (
            "the [published code](https://github.com/YU1ut/MotionPatches); these weights are converted from one of its "
            "checkpoints, not trained with this package"
        ),
        "language": "en",
        "results": f"Not measured after the conversion.\n\n{dataset.usage} Pass `truncation=True` for long texts.",
        "licence": "other",
        "licence_note": (
            "The licence of these weights is that of the checkpoint they are converted from; the conversion does not change it: "
            f"the published code is CC BY-NC 4.0 (non-commercial), and {dataset.name} and the motion data in it have licences of "
            "their own. Ask the source of the checkpoint before you pass them on."
        ),
    }
