"""Answers judged with the right words before each word: one forward pass in place of generation."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from .instruction_data import IGNORED, ConversationCollator, ConversationDataset, ConversationKey
from .instruction_evaluation import CAPTIONS


@torch.inference_mode()
def forced_answers(
    model: MotionLlamoForConditionalGeneration,
    processor: MotionLlamoProcessor,
    conversations: ConversationDataset,
    batch_size: int,
) -> dict[str, dict[str, float]]:
    """How well a model says the answers of conversations.

    An answer is right if each of its tokens, its end too, is the likeliest after the right ones before it: exactly then greedy
    generation gives it, token by token.

    Args:
        model: The model; its mode is left as it was.
        processor: Its processor.
        conversations: What is asked.
        batch_size: Conversations at a time.

    Returns:
        For each category `num`, `exact_match` in percent, and `loss`: the mean over its answer tokens.
    """
    collate = ConversationCollator(processor)
    right: dict[str, list[bool]] = defaultdict(list)
    losses: dict[str, float] = defaultdict(float)
    tokens: dict[str, int] = defaultdict(int)
    was_training = model.training
    model.eval()
    for start in range(0, len(conversations), batch_size):
        keys = [ConversationKey(row, 0, False) for row in range(start, min(start + batch_size, len(conversations)))]
        batch = collate([conversations[key] for key in keys]).to(model.device)
        labels = batch.parts[0].pop("labels")[:, 1:]
        logits = model(**batch.parts[0]).logits[:, :-1].float()
        each = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(dim=1)
        is_right = ((logits.argmax(dim=-1) == labels) | (labels == IGNORED)).all(dim=1)
        counts = (labels != IGNORED).sum(dim=1)
        for category, *found in zip(batch.categories, is_right.tolist(), each.tolist(), counts.tolist(), strict=True):
            right[category].append(found[0])
            losses[category] += found[1]
            tokens[category] += found[2]
    model.train(was_training)
    return {
        category: {
            "num": len(found),
            "exact_match": 100 * sum(found) / len(found),
            "loss": losses[category] / tokens[category],
        }
        for category, found in right.items()
    }


def answers_score(found: Mapping[str, Mapping[str, Any]]) -> float:
    """What `forced_answers` found as one number, the higher the better: the mean exact match of all categories but captions; of
    captions alone, minus their loss."""
    judged = [result["exact_match"] for category, result in found.items() if category != CAPTIONS]
    return sum(judged) / len(judged) if judged else -found[CAPTIONS]["loss"]
