"""From a recipe and training rows to a processor and a model."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, DistilBertConfig, PreTrainedModel, PreTrainedTokenizerFast

from ..configuration_motionpatches import MotionPatchesConfig, motion_vit_config
from ..convert_vit_to_motionpatches import load_text_model, load_text_tower
from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor
from .data import check_motions
from .recipe import ModelArguments, ProcessorArguments, Recipe


_SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_MAX_TOKENS = 64


def build_processor(recipe: Recipe, rows: Dataset) -> MotionTextProcessor:
    """The processor of a recipe, its statistics fitted on training rows, its tokenizer loaded or trained on their captions."""
    if recipe.model.text_name:
        tokenizer = AutoTokenizer.from_pretrained(recipe.model.text_name)
    else:
        tokenizer = train_tokenizer((text for texts in rows["captions"] for text in texts), recipe.model.vocab_size)
    motion_processor = build_motion_processor(recipe.processor)
    fit_processor(motion_processor, rows, recipe.processor.per_skeleton)
    return MotionTextProcessor(motion_processor, tokenizer)


def build_motion_processor(arguments: ProcessorArguments) -> MotionPatchProcessor:
    """An unfitted `MotionPatchProcessor`."""
    return MotionPatchProcessor(
        patch_size=arguments.patch_size,
        max_frames=arguments.max_frames,
        fps=arguments.fps,
        representation=arguments.representation,
        interpolation=arguments.interpolation,
        normalization=None if arguments.normalization == "none" else arguments.normalization,
        min_std=arguments.min_std,
        per_skeleton=arguments.per_skeleton,
        canonicalize=arguments.canonicalize,
        body_scale=arguments.body_scale,
        resampling=arguments.resampling,
        root=arguments.root,
        padding=arguments.padding,
        return_attention_mask=arguments.window_mask,
    )


def fit_processor(processor: MotionPatchProcessor, rows: Dataset, per_skeleton: bool, only_new: bool = False) -> None:
    """Fit normalisation statistics on training rows; with `only_new`, for skeletons without an entry alone.

    Raises:
        BrokenSampleError: If a motion cannot be used.
    """
    if processor.normalization is None:
        return
    if only_new:
        known = set(processor.statistics)
        new = [index for index, skeleton in enumerate(rows["skeleton"]) if skeleton not in known]
        if not new or not per_skeleton:
            return
        rows = rows.select(new)
    try:
        processor.fit(list(rows.with_format("numpy")), per_skeleton=per_skeleton)
    except ValueError:
        check_motions(rows, processor)  # names the row that is broken, if one is
        raise


def train_tokenizer(captions: Iterable[str], vocab_size: int, can_decode: bool = False) -> PreTrainedTokenizerFast:
    """A lower-case byte-pair tokenizer with BERT's normalisation and special tokens, trained on captions.

    Byte pairs, as the trainer of WordPiece breaks ties at random: equal captions would give other vocabularies in each run.

    Args:
        captions: Texts to train on.
        vocab_size: Tokens at most.
        can_decode: Keep the blanks, as a language model needs them that is to say words of several pieces.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if can_decode:  # no marks of pieces that go on with a word: the trainer numbers those at random
        blanks = pre_tokenizers.Metaspace(prepend_scheme="always")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([blanks, pre_tokenizers.Punctuation()])
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    special = list(_SPECIAL_TOKENS.values())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    cls, sep = _SPECIAL_TOKENS["cls_token"], _SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=_MAX_TOKENS, **_SPECIAL_TOKENS)


def build_model(recipe: Recipe, processor: MotionTextProcessor) -> MotionPatchesModel:
    """The model of a recipe, its towers pretrained where the recipe names weights and new elsewhere."""
    arguments = recipe.model
    fields: dict[str, Any] = {
        "projection_dim": arguments.projection_dim,
        "projection_dropout": arguments.projection_dropout,
        "motion_pooling": arguments.motion_pooling,
        "text_pooling": arguments.text_pooling,
        "loss": arguments.loss,
        "logit_scale_init_value": float(np.log(1 / arguments.temperature)),
        "learn_logit_scale": arguments.learn_logit_scale,
        "num_persons": arguments.num_persons,
    }
    patches = processor.feature_extractor
    num_joints = count_joints(patches) if recipe.processor.representation == "joints" else None
    if arguments.motion_name and arguments.text_name:
        model = MotionPatchesModel.from_motion_text_pretrained(
            arguments.motion_name,
            arguments.text_name,
            max_frames=recipe.processor.max_frames,
            num_joints=num_joints,
            **fields,
        )
        check_patch_size(model, patches, arguments.motion_name)
        return model
    if arguments.motion_name:
        raise ValueError(
            "a recipe with motion_name needs text_name too: a pretrained ViT is paired with a pretrained text model"
        )
    depth = {} if arguments.motion_depth is None else {"num_hidden_layers": arguments.motion_depth}
    motion_config = motion_vit_config(
        arguments.motion_size, recipe.processor.patch_size, recipe.processor.max_frames, num_joints, **depth
    )
    if not arguments.text_name:
        text_config = _small_text_config(arguments, processor.tokenizer)
        return MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=text_config, **fields))
    text_model = load_text_model(arguments.text_name)
    model = MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=text_model.config, **fields))
    load_text_tower(model, text_model, arguments.text_name)
    return model


def check_patch_size(model: PreTrainedModel, patches: MotionPatchProcessor, name: str) -> None:
    """Raise a `ValueError` unless the pretrained tower `name` has the patches that the processor makes."""
    if model.config.patch_size != patches.patch_size:
        raise ValueError(
            f"{name!r} has patches of {model.config.patch_size}, but the recipe says patch_size={patches.patch_size}"
        )


def count_joints(patches: MotionPatchProcessor) -> int:
    """Joints of the skeleton that a processor of raw joint sequences was fitted on."""
    if "shared" not in patches.statistics:
        raise ValueError(
            "representation='joints' needs a normalization: the number of joints is that of the fitted statistics"
        )
    return len(patches.statistics["shared"]["mean"])


def _small_text_config(arguments: ModelArguments, tokenizer: Any) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=arguments.text_width,
        hidden_dim=4 * arguments.text_width,
        n_layers=arguments.text_depth,
        n_heads=max(1, arguments.text_width // 32),
        max_position_embeddings=_MAX_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
    )


def check_fields(rows: Dataset, names: Sequence[str] | None) -> None:
    """Raise a `ValueError` if data sets are named that the rows do not have."""
    if names:
        known = set(rows["dataset"])
        unknown = sorted(set(names) - known)
        if unknown:
            raise ValueError(f"unknown data sets {unknown}; the data has {sorted(known)}")
