"""The loop of contrastive training."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoProcessor

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .builder import build_model, build_processor, check_fields, fit_processor
from .card_results import describe_validation
from .contrastive import PairEncoder, backward
from .data import PairBatch, add_label_captions, count_long_captions, make_loader
from .evaluation import evaluate, mean_recall
from .labels import count_cut
from .optimisation import parameter_groups
from .recipe import Recipe, RunArguments
from .run import TrainingRun
from .tracking import validation_scalars


def train(
    recipe: Recipe,
    data: DatasetDict,
    output: Path,
    init_from: str | None = None,
    resume: bool = False,
    push_to: str | None = None,
    private: bool | None = None,
) -> dict[str, Any]:
    """Train a model and keep its last and its best state.

    `output` then holds `last/` and `best/` (each loads with `AutoModel` and `AutoProcessor`), `state/` (all that `resume` needs:
    weights, optimizer, schedule, random states, average, place in the data), `recipe.yaml`, `metrics.jsonl` (while it goes on),
    `history.jsonl` (a line an epoch) and `results.json`. A run may be killed at any moment: `state/` is whole, and on one
    process a resumed run ends with the weights, bit for bit, of one that was never interrupted.

    The loop runs on Accelerate: started by `torchrun` or `accelerate launch` it shares each batch among the processes.

    Args:
        recipe: What to do.
        data: Splits `train` and, for the selection of the best epoch, `validation`. The test split is never looked at.
        output: Folder of the run.
        init_from: Start from this checkpoint's weights and processor; skeletons that it does not know get statistics.
        resume: Go on where the run in `output` stopped.
        push_to: Push the last checkpoint of each epoch, and in the end the best one, to this Hub repository, in the background.
        private: Of a new repository; default as the account says.

    Returns:
        The content of `results.json`.

    Raises:
        FileExistsError: If `output` holds a run and `resume` is off.
        FileNotFoundError: If `resume` is on and there is none.
        ValueError: If the data has no train split, the recipe differs from that of the run to resume, or is impossible.
        BrokenSampleError: If a motion or caption cannot be used.
        FloatingPointError: If the loss or a weight is no longer finite.
        OSError: If the run cannot be saved. Of all these, what was saved before stays whole.
        SystemExit: After SIGTERM, with the state saved; its code is 143.
    """
    if "train" not in data:
        raise ValueError(f"the data has no 'train' split; it has {sorted(data)}")
    if "validation" in data:
        check_fields(data["validation"], recipe.run.select_on)
    if recipe.run.label_caption is not None:
        data = DatasetDict({**data, "train": add_label_captions(data["train"], recipe.run.label_caption)})
    return _ContrastiveRun(recipe, data, output, init_from, resume, push_to, private).run()


class _ContrastiveRun(TrainingRun):
    """Motions and captions in one space."""

    recipe: Recipe
    task = "train"
    metric = ("mean_recall", "mean recall")
    unit = "pairs"

    @property
    def run_arguments(self) -> RunArguments:
        return self.recipe.run

    def build(self, checkpoint: str | None, fit: bool) -> tuple[MotionPatchesModel, MotionTextProcessor]:
        rows = self.data["train"]
        if checkpoint is None:
            processor = build_processor(self.recipe, rows)
            return build_model(self.recipe, processor), processor
        processor = AutoProcessor.from_pretrained(checkpoint)
        if fit:
            fit_processor(processor.feature_extractor, rows, self.recipe.processor.per_skeleton, only_new=True)
        return AutoModel.from_pretrained(checkpoint, dtype=torch.float32), processor

    def make_loader(self) -> DataLoader:
        accelerator = self.accelerator
        return make_loader(
            self.data["train"], self.processor, self.recipe.run, accelerator.num_processes, accelerator.process_index
        )

    def parameter_groups(self, model: MotionPatchesModel) -> list[dict[str, Any]]:
        return parameter_groups(model, self.recipe.run)

    def towers(self, model: MotionPatchesModel) -> list[nn.Module]:
        return [model.motion_model, model.text_model]

    def wrap(self, model: MotionPatchesModel) -> nn.Module:
        return PairEncoder(model)

    def unwrap(self, trained: PairEncoder) -> MotionPatchesModel:
        return trained.model

    def backward(self, batch: PairBatch) -> torch.Tensor:
        return backward(self.accelerator, self.trained, batch, self.recipe.run.micro_batch_size is not None)

    def batch_length(self, batch: PairBatch) -> int:
        return len(batch.order)

    def judge(self, model: MotionPatchesModel, rows: Dataset) -> dict[str, Any]:
        found = evaluate(model, self.processor, rows)
        return {"validation": found, "mean_recall": mean_recall(found, self.recipe.run.select_on)}

    def describe(self) -> list[str]:
        rows, patches = self.data["train"], self.processor.feature_extractor
        long_captions = count_long_captions(self.processor, [text for texts in rows["captions"] for text in texts])
        lines = [
            f"{len(rows)} training motions on {', '.join(sorted(set(rows['skeleton'])))}; {count_cut(rows, patches)} are "
            f"longer than {patches.max_frames / patches.fps:g} s and are cropped at random; {long_captions} captions are "
            f"longer than {self.processor.tokenizer.model_max_length} tokens and are cut"
        ]
        left_over = self.sampler.count_left_over()
        if left_over:
            lines.append(f"{left_over} of {len(rows)} pairs of the first epoch fill no batch and are left to later epochs")
        return lines

    def card_of_validation(self, record: dict[str, Any]) -> str:
        return describe_validation(record, self.recipe.run.select_on)

    def scalars_of_validation(self, record: dict[str, Any]) -> dict[str, float]:
        return validation_scalars(record["validation"])

    def whole(self, weights: Any) -> MotionPatchesModel:
        model = MotionPatchesModel(self.model.config)
        if self.accelerator.is_main_process:
            model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in weights.items()})
        return model.to(self.accelerator.device)

    def check_fsdp(self, model: MotionPatchesModel) -> None:
        if self.recipe.run.ema_decay is not None:
            raise ValueError("ema_decay needs whole weights, which FSDP divides among the processes; leave one of them out")
        scalars = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
        if scalars:
            raise ValueError(
                f"FSDP cannot divide weights that are single numbers, here {', '.join(scalars)}; set learn_logit_scale=false "
                "and a softmax loss, or train without FSDP"
            )
