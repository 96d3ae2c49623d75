"""Instruction tuning of MotionLlamo."""

import copy
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_available
from datasets import Dataset, DatasetDict
from torch import nn
from torch.utils.data import DataLoader

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.instructions import ClipReader
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from .forced_answers import answers_score, forced_answers
from .instruction_data import (
    ConversationBatch,
    ConversationCollator,
    ConversationDataset,
    ConversationKey,
    InstructionData,
    make_instruction_data,
    make_loader,
    motions_of,
    said,
    texts_of,
)
from .llamo_builder import build_llamo
from .optimisation import tower_groups
from .recipe import InstructionArguments, InstructionRecipe
from .run import TrainingRun


def instruct(
    recipe: InstructionRecipe,
    data: DatasetDict,
    output: Path,
    init_from: str | None = None,
    resume: bool = False,
    instructions: InstructionData | None = None,
    push_to: str | None = None,
    private: bool | None = None,
) -> dict[str, Any]:
    """Teach a language model to answer questions about motion, and keep its last and its best state.

    The stages of DESIGN are recipes: `llamo_alignment` trains what fuses motion and language on captions, the towers and the
    language model frozen; `llamo_instruction` goes on from there with all questions, the language model by LoRA; `llamo_small`
    does all at once with a small language model from scratch. Answers alone are learned.

    `output` holds what `training.loop.train` leaves, and with the same guarantees; `last/` and `best/` are whole models, LoRA
    merged into the language model. The best epoch is the first with the most validation questions answered word for word,
    captions left out; or, where there are captions alone, with the lowest loss on them.

    Args:
        recipe: What to do.
        data: Motions in the splits `train` and `validation`. The test split is never looked at.
        output: Folder of the run.
        init_from: A MotionPatches checkpoint, whose motion tower and processor are taken; or a MotionLlamo checkpoint to go on
            with.
        resume: Go on where the run in `output` stopped.
        instructions: Questions about the motions; default those that the recipe has made of them.
        push_to, private: As in `training.loop.train`.

    Returns:
        The content of `results.json`.

    Raises:
        ImportError: If the recipe asks for LoRA, and peft is not installed.
        ValueError: If the data has no train split or gives no questions, or the recipe is impossible or differs from that of the
            run to resume.
        FileExistsError, FileNotFoundError, BrokenSampleError, FloatingPointError, OSError, SystemExit: As in
            `training.loop.train`.
    """
    if "train" not in data:
        raise ValueError(f"the data has no 'train' split; it has {sorted(data)}")
    if recipe.model.lora_rank and not is_peft_available():
        raise ImportError(
            f"lora_rank={recipe.model.lora_rank} needs peft: pip install 'motionpatches[lora]', or set lora_rank=0"
        )
    questions = instructions or make_instruction_data(data, recipe.run)
    return _InstructionRun(questions, recipe, data, output, init_from, resume, push_to, private).run()


def warn_of_unknown(tokenizer: Any, texts: Sequence[str]) -> None:
    """Warn of texts that a tokenizer cannot give back, which a model then can neither read nor say."""
    if tokenizer.unk_token_id is None or not texts:
        return
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    lost = [text for text, tokens in zip(texts, encoded, strict=True) if tokenizer.unk_token_id in tokens]
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(texts)} different texts to learn hold characters that the tokenizer does not know, such as "
            f"{lost[0]!r}: the model can neither read nor say them. A tokenizer from scratch knows what its own run was trained "
            "on; start from another checkpoint, or from MotionPatches, for a new one",
            stacklevel=2,
        )


class _InstructionRun(TrainingRun):
    """Questions about motion and their answers."""

    recipe: InstructionRecipe
    task = "instruct"
    metric = ("score", "score")
    unit = "conversations"

    def __init__(self, questions: InstructionData, *args: Any) -> None:
        self.questions = questions
        super().__init__(*args)

    @property
    def run_arguments(self) -> InstructionArguments:
        return self.recipe.run

    def build(self, checkpoint: str | None, fit: bool) -> tuple[nn.Module, MotionLlamoProcessor]:
        texts = texts_of(self.questions.questions["train"])
        model, processor = build_llamo(self.recipe, self.data["train"], texts, checkpoint)
        warn_of_unknown(processor.tokenizer, texts)
        if self.recipe.model.lora_rank:
            add_lora(model, self.recipe)
        return model, processor

    def make_loader(self) -> DataLoader:
        accelerator = self.accelerator
        return make_loader(
            self.questions, self.processor, self.recipe.run, accelerator.num_processes, accelerator.process_index
        )

    def parameter_groups(self, model: MotionLlamoForConditionalGeneration) -> list[dict[str, Any]]:
        return parameter_groups(model, self.recipe.run)

    def towers(self, model: MotionLlamoForConditionalGeneration) -> list[nn.Module]:
        return [model.model.motion_tower, model.model.language_model]

    def backward(self, batch: ConversationBatch) -> torch.Tensor:
        """The mean over all tokens to learn, of all parts and processes."""
        accelerator = self.accelerator
        own = torch.tensor(float(batch.num_labels), device=accelerator.device)
        total = accelerator.reduce(own, "sum") / accelerator.num_processes  # gradients are averaged over processes
        losses = []
        for number, part in enumerate(batch.parts):
            is_last = number == len(batch.parts) - 1
            with nullcontext() if is_last else accelerator.no_sync(self.trained):  # gradients meet once
                loss = self.trained(**part, num_items_in_batch=total).loss
                accelerator.backward(loss)
            losses.append(loss.detach())
        return accelerator.reduce(torch.stack(losses).sum(), "mean")

    def batch_length(self, batch: ConversationBatch) -> int:
        return len(batch.categories)

    def to_keep(self, model: MotionLlamoForConditionalGeneration) -> MotionLlamoForConditionalGeneration:
        return merge_lora(model) if self.recipe.model.lora_rank else model

    def judge(self, model: MotionLlamoForConditionalGeneration, rows: Dataset) -> dict[str, Any]:
        if "validation" not in self.questions.questions:
            return {}
        questions, reader = self.questions.questions["validation"], self.questions.readers["validation"]
        patches = self.processor.feature_extractor
        conversations = ConversationDataset(questions, reader, patches, video_folder=self.questions.video_folder)
        found = forced_answers(model, self.processor, conversations, self.recipe.run.batch_size)
        return {"validation": found, "score": answers_score(found)}

    def describe(self) -> list[str]:
        questions, reader = self.questions.questions["train"], self.questions.readers["train"]
        patches, counts = self.processor.feature_extractor, Counter(questions["category"])
        longest = patches.max_frames / patches.fps
        seconds = [reader.seconds(motion) for row in questions for motion in motions_of(row["messages"])]
        cut = sum(length > longest + 0.5 / patches.fps for length in seconds)
        self._check_longest(questions, reader)
        of = ", ".join(f"{name} {number}" for name, number in counts.items())
        lines = [
            f"{len(questions)} training conversations ({of}); {cut} of their {len(seconds)} motions are longer than "
            f"{longest:g} s and are cut"
        ]
        left_over = self.sampler.count_left_over()
        if left_over:
            lines.append(
                f"{left_over} of {len(questions)} conversations of the first epoch fill no batch and are left to later ones"
            )
        return lines

    def _check_longest(self, questions: Dataset, reader: ClipReader) -> None:
        """Raise a `ValueError` now, not hours later, if the longest conversation is too long for the language model."""
        patches = self.processor.feature_extractor
        tokens_a_second = 5 * patches.fps / patches.patch_size if self.processor.fusion == "projector" else 0.0

        def length(row: dict[str, Any]) -> float:
            seconds = (
                min(reader.seconds(motion), patches.max_frames / patches.fps) for motion in motions_of(row["messages"])
            )
            return tokens_a_second * sum(seconds) + len(self.processor.tokenizer(" ".join(said(row)))["input_ids"])

        longest = max(range(len(questions)), key=lambda number: length(questions[number]))
        dataset: Any = self.loader.dataset
        ConversationCollator(self.processor)([dataset[ConversationKey(longest, 0, False)]])

    def card_of_validation(self, record: dict[str, Any]) -> str:
        lines = [
            f"| {category} | {result['num']} | {result['exact_match']:.1f} | {result['loss']:.3f} |"
            for category, result in record["validation"].items()
        ]
        return (
            "### Validation while training\n\n**These are no test results.** They were measured on validation questions at the "
            f"end of epoch {record['epoch']}, to choose the best checkpoint of the run, and flatter it. Exact match in percent, "
            "each word judged after the right ones before it.\n\n"
            "| category | questions | exact match | loss |\n|---|--:|--:|--:|\n" + "\n".join(lines)
        )

    def scalars_of_validation(self, record: dict[str, Any]) -> dict[str, float]:
        return {
            f"{category}/{name}": result[name]
            for category, result in record["validation"].items()
            for name in ("exact_match", "loss")
        }

    def check_fsdp(self, model: nn.Module) -> None:
        raise ValueError(
            "instruction tuning does not run under FSDP: run it on several processes that each hold the model, with "
            "micro_batch_size, gradient_checkpointing or LoRA where memory is short"
        )


def parameter_groups(model: MotionLlamoForConditionalGeneration, run: InstructionArguments) -> list[dict[str, Any]]:
    """Groups with rates of their own: motion tower, video tower, fusion, and the language model with its head; with LoRA, the
    adapters are all of it that learns."""
    inner = model.model
    language = dict(inner.language_model.named_parameters())
    adapters = {name: parameter for name, parameter in language.items() if "lora_" in name}
    if not adapters:
        known = {id(parameter) for parameter in language.values()}
        language |= {f"head.{n}": p for n, p in model.lm_head.named_parameters() if id(p) not in known}  # tied: known
    for parameter in model.lm_head.parameters():
        parameter.requires_grad_(not adapters and run.lr_language != 0)
    groups = [
        *tower_groups("motion", dict(inner.motion_tower.named_parameters()), run.lr_motion, run.layer_decay),
        *tower_groups("fusion", dict(inner.fusion.named_parameters()), run.lr_fusion, 1.0),
        *tower_groups("language", adapters or language, run.lr_language, 1.0),
    ]
    if inner.video_tower is not None:
        groups += tower_groups("video", dict(inner.video_tower.named_parameters()), run.lr_video, run.layer_decay)
    if not groups:
        raise ValueError("all rates are 0, so that nothing learns; give lr_fusion, lr_language or lr_motion a rate")
    return groups


def add_lora(model: MotionLlamoForConditionalGeneration, recipe: InstructionRecipe) -> None:
    """Put adapters into all linear layers of the language model, in place; the rest of it is frozen (Hu et al., ICLR 2022)."""
    from peft import LoraConfig, get_peft_model

    arguments = recipe.model
    settings = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules="all-linear",
    )
    model.model.language_model = get_peft_model(model.model.language_model, settings)


def merge_lora(model: MotionLlamoForConditionalGeneration) -> MotionLlamoForConditionalGeneration:
    """A copy of a model with the adapters merged into the weights: as any other MotionLlamo."""
    merged = copy.deepcopy(model)
    adapted: Any = merged.model.language_model
    merged.model.language_model = adapted.merge_and_unload()
    return merged
