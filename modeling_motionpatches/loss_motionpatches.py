"""Contrastive losses over the similarities of a batch of (motion, text) pairs, one small module each."""

import torch
import torch.nn.functional as F
from torch import nn


class SymmetricCrossEntropy(nn.Module):
    """Cross-entropy over the texts of each motion and over the motions of each text (paper equations 2 to 4).

    A row may have several positives: its target is then spread over them by their weights (UniCL, Yang et al., CVPR 2022,
    equations 3 to 5), so that equal captions in one batch are no false negatives. Where equal captions have equal embeddings
    too, loss and gradient are those of the plain form; in training, dropout gives each copy an embedding of its own.

    Args:
        reduction: `"sum"` adds the two directions (equation 4), `"mean"` averages them (CLIP, and the published code).
    """

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
        self.reduction = reduction

    def forward(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor | None = None,
        logits_per_text: torch.Tensor | None = None,
        targets_per_text: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of a batch, a scalar.

        Args:
            logits: Shape (B, B): motion i against text j. A process that holds b of the B pairs gives the rows of its own motions
                (b, B), and those of its own texts as `logits_per_text`.
            targets: Shape of the logits, weights of at least 0: how much text j belongs to motion i. `None`: pairs lie on the
                diagonal.
            logits_per_text: Shape (b, B): text i against motion j. `None`: the transpose of square logits.
            targets_per_text: Likewise; `None`: the transpose of `targets`.

        Raises:
            ValueError: If the logits are not square where they stand for all pairs.
        """
        if logits_per_text is None:
            _check_square(logits)
            logits_per_text = logits.t()
            targets_per_text = None if targets is None else targets.t()
        total = self._one_direction(logits, targets) + self._one_direction(logits_per_text, targets_per_text)
        return total / 2 if self.reduction == "mean" else total

    @staticmethod
    def _one_direction(logits: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        if targets is None:
            return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
        weights = targets.to(logits.dtype)
        return F.cross_entropy(logits, weights / weights.sum(dim=1, keepdim=True))

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class PairwiseSigmoid(nn.Module):
    """Each motion-text pair is a yes-or-no question of its own (SigLIP, Zhai et al., ICCV 2023, section 3.2)."""

    def forward(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor | None = None,
        logits_per_text: torch.Tensor | None = None,
        targets_per_text: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of a batch: summed over texts, averaged over motions; a scalar.

        Args:
            logits: Shape (B, B): motion i against text j, the bias included; of a process with b motions (b, B).
            targets: Shape of the logits, between 0 and 1: whether text j belongs to motion i. `None`: on the diagonal alone.
            logits_per_text, targets_per_text: Not used: each pair is asked for once, by the process that holds the motion.

        Raises:
            ValueError: If the logits are not square and have no targets.
        """
        if targets is None:
            _check_square(logits)
            targets = torch.eye(len(logits), dtype=logits.dtype, device=logits.device)
        targets = targets.to(logits.dtype)
        return -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).sum(dim=1).mean()


def make_contrastive_loss(name: str) -> nn.Module:
    """The loss of `MotionPatchesConfig.loss`.

    Raises:
        ValueError: If there is no such loss.
    """
    if name in ("softmax_sum", "duplicate_aware"):  # the latter differs in its targets: see `equal_texts`
        return SymmetricCrossEntropy("sum")
    if name == "softmax_mean":
        return SymmetricCrossEntropy("mean")
    if name == "sigmoid":
        return PairwiseSigmoid()
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


def _check_square(logits: torch.Tensor) -> None:
    num_motions, num_texts = logits.shape
    if num_motions != num_texts:
        raise ValueError(
            f"the contrastive loss needs one text for each motion, got {num_motions} motions and {num_texts} texts"
        )
