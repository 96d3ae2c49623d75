"""3D human motion and language in one embedding space, in the Hugging Face idiom.

Importing this package registers its models, processors and pipelines with the Auto classes and `pipeline` of transformers.
"""

import importlib
from typing import Any

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForMultimodalLM,
    AutoModelForTextEncoding,
    AutoModelForVideoClassification,
    AutoProcessor,
)

from .auto_motionpatches import AutoModelForMotionClassification
from .configuration_motion_llamo import MotionLlamoConfig
from .configuration_motionpatches import MotionPatchesConfig, motion_vit_config
from .modeling_motion_llamo import MotionLlamoForConditionalGeneration, MotionLlamoModel
from .modeling_motionpatches import (
    MotionPatchesForMotionClassification,
    MotionPatchesModel,
    MotionPatchesMotionModelOutput,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesOutput,
    MotionPatchesTextModelOutput,
    MotionPatchesTextModelWithProjection,
)
from .processing.processing_motion_llamo import MotionLlamoProcessor
from .processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor
from .processing.skeletons import Skeleton, get_skeleton, list_skeletons


__version__ = "0.1.0.dev0"

# Public names that need more than the core does; imported on first use.
_LAZY = {
    "Motion": "processing.motion",
    "read_motion": "processing.readers",
    "decode_features": "processing.humanml3d_features",
    "write_npz": "processing.readers",
    "write_safetensors": "processing.readers",
    "mirror_caption": "processing.mirroring",
    "mirror_joints": "processing.mirroring",
    "make_motions": "processing.procedural",
    "list_actions": "processing.procedural",
    "plot_skeleton": "processing.plotting",
    "plot_patches": "processing.plotting",
    "plot_retrieval": "processing.plotting",
    "plot_attention": "processing.plotting_attention",
    "plot_localisation": "processing.plotting_localisation",
    "plot_strip": "processing.animation",
    "write_gif": "processing.animation",
    "write_mp4": "processing.animation",
    "write_motion_page": "processing.motion_page",
    "plot_motion_player": "processing.motion_page",
    "MotionIndex": "training.motion_index",
    "OnnxMotionPatches": "training.onnx_inference",
    "push_to_hub": "training.sharing",
    "retrieval_metrics": "training.metrics",
    "classification_metrics": "training.metrics",
    "MotionClassificationPipeline": "pipeline_motion_classification",
    "MotionTextToTextPipeline": "pipeline_motion_text_to_text",
    "TemporalMotionLocalizationPipeline": "pipeline_temporal_motion_localization",
    "ZeroShotMotionClassificationPipeline": "pipeline_zero_shot_motion_classification",
}

__all__ = [
    "AutoModelForMotionClassification",
    "MotionPatchesConfig",
    "MotionPatchesModel",
    "MotionPatchesOutput",
    "MotionPatchesMotionModelWithProjection",
    "MotionPatchesMotionModelOutput",
    "MotionPatchesTextModelWithProjection",
    "MotionPatchesTextModelOutput",
    "MotionPatchesForMotionClassification",
    "MotionLlamoConfig",
    "MotionLlamoModel",
    "MotionLlamoForConditionalGeneration",
    "MotionLlamoProcessor",
    "MotionPatchProcessor",
    "MotionTextProcessor",
    "Skeleton",
    "get_skeleton",
    "list_skeletons",
    "motion_vit_config",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def _register() -> None:
    from . import (
        pipeline_motion_classification,
        pipeline_motion_text_to_text,
        pipeline_temporal_motion_localization,
        pipeline_zero_shot_motion_classification,
    )

    AutoConfig.register(MotionPatchesConfig.model_type, MotionPatchesConfig, exist_ok=True)
    # Of several classes AutoModel takes the one that a checkpoint names as its architecture, by default the first.
    classes = (
        MotionPatchesModel,
        MotionPatchesMotionModelWithProjection,
        MotionPatchesTextModelWithProjection,
        MotionPatchesForMotionClassification,
    )
    AutoModel.register(MotionPatchesConfig, classes, exist_ok=True)
    AutoModelForTextEncoding.register(MotionPatchesConfig, MotionPatchesTextModelWithProjection, exist_ok=True)
    for auto_class in (AutoModelForMotionClassification, AutoModelForVideoClassification):
        auto_class.register(MotionPatchesConfig, MotionPatchesForMotionClassification, exist_ok=True)
    AutoFeatureExtractor.register(MotionPatchesConfig, MotionPatchProcessor, exist_ok=True)
    AutoProcessor.register(MotionPatchesConfig, MotionTextProcessor, exist_ok=True)
    AutoConfig.register(MotionLlamoConfig.model_type, MotionLlamoConfig, exist_ok=True)
    AutoModel.register(MotionLlamoConfig, MotionLlamoModel, exist_ok=True)
    AutoModelForMultimodalLM.register(MotionLlamoConfig, MotionLlamoForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(MotionLlamoConfig, MotionLlamoProcessor, exist_ok=True)
    pipeline_zero_shot_motion_classification.register_pipeline()
    pipeline_motion_classification.register_pipeline()
    pipeline_motion_text_to_text.register_pipeline()
    pipeline_temporal_motion_localization.register_pipeline()


_register()
