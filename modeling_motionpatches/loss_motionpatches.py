"""Contrastive losses over the similarities of a batch of (motion, text) pairs, one small module each."""

import torch
import torch.nn.functional as F
from torch import nn


class SymmetricCrossEntropy(nn.Module):
    """Cross-entropy over the texts of each motion and over the motions of each text (paper equations 2 to 4).

    Args:
        reduction: `"sum"` adds the two directions (equation 4), `"mean"` averages them (CLIP, and the published code).
    """

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
        self.reduction = reduction

    def forward(self, logits: torch.Tensor, positives: torch.Tensor | None = None) -> torch.Tensor:
        """Loss of a batch, a scalar.

        Args:
            logits: Shape (B, B): motion i against text j. Pairs lie on the diagonal.
            positives: Not used.

        Raises:
            ValueError: If the logits are not square.
        """
        target = torch.arange(_num_pairs(logits), device=logits.device)
        total = F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)
        return total / 2 if self.reduction == "mean" else total

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class DuplicateAwareCrossEntropy(nn.Module):
    """Symmetric cross-entropy, sum of both directions, in which each row may have several positives.

    The target of a row is spread evenly over its positives (UniCL, Yang et al., CVPR 2022, equations 3 to 5), so that equal
    captions in one batch are no false negatives. Where each row has one positive it is `SymmetricCrossEntropy("sum")`, and also
    where equal captions have equal embeddings: it differs in training, where dropout gives each copy an embedding of its own.
    """

    def forward(self, logits: torch.Tensor, positives: torch.Tensor | None = None) -> torch.Tensor:
        """Loss of a batch, a scalar.

        Args:
            logits: Shape (B, B): motion i against text j.
            positives: Shape (B, B), true where motion i and text j belong together; `None`: on the diagonal alone.

        Raises:
            ValueError: If the logits are not square.
        """
        num_pairs = _num_pairs(logits)
        own = torch.eye(num_pairs, dtype=torch.bool, device=logits.device)
        target = (own if positives is None else own | positives).to(logits.dtype)
        motion_to_text = F.cross_entropy(logits, target / target.sum(dim=1, keepdim=True))
        text_to_motion = F.cross_entropy(logits.t(), target.t() / target.t().sum(dim=1, keepdim=True))
        return motion_to_text + text_to_motion


class PairwiseSigmoid(nn.Module):
    """Each motion-text pair is a yes-or-no question of its own (SigLIP, Zhai et al., ICCV 2023, section 3.2)."""

    def forward(self, logits: torch.Tensor, positives: torch.Tensor | None = None) -> torch.Tensor:
        """Loss of a batch: summed over texts, averaged over motions; a scalar.

        Args:
            logits: Shape (B, B): motion i against text j, the bias included.
            positives: Not used.

        Raises:
            ValueError: If the logits are not square.
        """
        sign = 2 * torch.eye(_num_pairs(logits), dtype=logits.dtype, device=logits.device) - 1
        return -F.logsigmoid(sign * logits).sum(dim=1).mean()


def make_contrastive_loss(name: str) -> nn.Module:
    """The loss of `MotionPatchesConfig.loss`.

    Raises:
        ValueError: If there is no such loss.
    """
    if name == "softmax_sum":
        return SymmetricCrossEntropy("sum")
    if name == "softmax_mean":
        return SymmetricCrossEntropy("mean")
    if name == "sigmoid":
        return PairwiseSigmoid()
    if name == "duplicate_aware":
        return DuplicateAwareCrossEntropy()
    raise ValueError(f"unknown loss {name!r}; known: softmax_sum, softmax_mean, sigmoid, duplicate_aware")


def equal_texts(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
    """Which texts of a batch are equal to the text tower.

    Args:
        input_ids: Shape (B, L).
        attention_mask: Shape (B, L), 1 for tokens that count. `None`: all do.

    Returns:
        Shape (B, B), bool.
    """
    if attention_mask is not None:
        input_ids = input_ids.masked_fill(attention_mask == 0, -1)
    return (input_ids[:, None] == input_ids[None]).all(dim=-1)


def _num_pairs(logits: torch.Tensor) -> int:
    num_motions, num_texts = logits.shape
    if num_motions != num_texts:
        raise ValueError(
            f"the contrastive loss needs one text for each motion, got {num_motions} motions and {num_texts} texts"
        )
    return num_motions
