"""One step of contrastive training: over groups of pairs, over several processes, and over more pairs than memory holds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.utils.checkpoint import get_device_states, set_device_states

from ..loss_motionpatches import equal_texts
from ..modeling_motionpatches import MotionPatchesModel
from .data import PairBatch


_MOTION_INPUTS = ("motion_values", "motion_attention_mask")


class PairEmbeddings(NamedTuple):
    """Unit-length embeddings of the pairs of one process, motion and text of shape (b, D), and what turns their cosines into
    logits: the scale, and the bias where the loss has one."""

    motion: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None


class PairEncoder(nn.Module):
    """Embeds groups of pairs in one forward pass, which is what wrappers for several processes expect to see.

    Args:
        model: The dual encoder.
    """

    def __init__(self, model: MotionPatchesModel) -> None:
        super().__init__()
        self.model = model

    @property
    def _no_split_modules(self) -> Any:  # where FSDP may divide it
        return self.model._no_split_modules

    def forward(self, groups: Sequence[Mapping[str, torch.Tensor]]) -> PairEmbeddings:
        """Args:
        groups: Inputs of `MotionPatchesModel`, each group padded to its own longest motion. All texts have one length and go
            through their tower at once: each pass more would make a gradient as large as the whole vocabulary's embeddings.
        """
        texts = {name: torch.cat([group[name] for group in groups]) for name in groups[0] if name not in _MOTION_INPUTS}
        motions = [self.model.get_motion_features(**{k: group[k] for k in _MOTION_INPUTS if k in group}) for group in groups]
        # In float32: under autocast the scaling to unit length would be rounded.
        motion = torch.cat([out.pooler_output for out in motions]).float()
        text = self.model.get_text_features(**texts).pooler_output.float()
        return PairEmbeddings(
            F.normalize(motion, dim=-1), F.normalize(text, dim=-1), self.model.logit_scale.exp(), self.model.logit_bias
        )


def backward(accelerator: Accelerator, encoder: nn.Module, batch: PairBatch, is_cached: bool = False) -> torch.Tensor:
    """Add the gradients of the contrastive loss of a batch, the batches of all processes taken as one.

    Each process computes the rows of its own motions and texts against those of all (a local loss on embeddings gathered with
    their gradient), which gives the loss and the gradients of one process that holds the whole batch.

    Args:
        accelerator: Prepared `encoder`.
        encoder: A `PairEncoder`.
        batch: The pairs of this process; all processes hold equally many.
        is_cached: Embed the groups without gradient first, and again one at a time when the gradient of the loss in their
            embeddings is known (GradCache; Gao et al., RepL4NLP 2021): activations of one group are in memory at a time, and the
            result is the same, dropout included.

    Returns:
        The loss, a scalar without gradient, of all processes.
    """
    model = accelerator.unwrap_model(encoder, keep_torch_compile=False).model
    targets = _make_targets(accelerator, model.config.loss, batch)
    if not is_cached:
        loss = _loss(accelerator, model, encoder(batch.groups), targets)
        accelerator.backward(loss)
        return accelerator.reduce(loss.detach(), "mean")
    parts: list[PairEmbeddings] = []
    states: list[_RandomState] = []
    with torch.no_grad():
        for group in batch.groups:
            states.append(_RandomState(group["motion_values"]))
            parts.append(encoder([group]))
    sizes = [len(part.motion) for part in parts]
    bias = None if parts[0].bias is None else parts[0].bias.detach().requires_grad_()
    motion = torch.cat([part.motion for part in parts]).requires_grad_()
    text = torch.cat([part.text for part in parts]).requires_grad_()
    scale = parts[0].scale.detach().requires_grad_()
    loss = _loss(accelerator, model, PairEmbeddings(motion, text, scale, bias), targets)
    wanted = [motion, text, scale] if bias is None else [motion, text, scale, bias]
    motion_grad, text_grad, scale_grad, *bias_grad = torch.autograd.grad(loss, wanted)
    motion_grads, text_grads = motion_grad.split(sizes), text_grad.split(sizes)
    for number, (group, state) in enumerate(zip(batch.groups, states, strict=True)):
        is_last = number == len(sizes) - 1
        with nullcontext() if is_last else accelerator.no_sync(encoder), state.restored():
            again = encoder([group])
            surrogate = (again.motion * motion_grads[number]).sum() + (again.text * text_grads[number]).sum()
            if is_last:
                surrogate = surrogate + again.scale * scale_grad
                if again.bias is not None:
                    surrogate = surrogate + again.bias * bias_grad[0]
            accelerator.backward(surrogate)
    return accelerator.reduce(loss.detach(), "mean")


def _loss(
    accelerator: Accelerator, model: MotionPatchesModel, embeds: PairEmbeddings, targets: torch.Tensor | None
) -> torch.Tensor:
    """The rows of this process of the contrastive loss; `targets` (B, B) of the pairs of all processes."""
    motion, text, scale, bias = embeds
    first, num_pairs = accelerator.process_index * len(motion), len(motion)
    all_motion, all_text = motion, text
    if accelerator.num_processes > 1:
        all_motion, all_text = _Gather.apply(motion), _Gather.apply(text)
        if targets is None:
            targets = torch.eye(len(all_motion), device=motion.device)
    logits, logits_per_text = scale * motion @ all_text.t(), scale * text @ all_motion.t()
    if bias is not None:
        logits, logits_per_text = logits + bias, logits_per_text + bias
    if targets is None:
        return model.contrastive_loss(logits)
    own = slice(first, first + num_pairs)
    return model.contrastive_loss(logits, targets[own], logits_per_text, targets.t()[own])


def _make_targets(accelerator: Accelerator, loss: str, batch: PairBatch) -> torch.Tensor | None:
    """How much each text belongs to each motion, (B, B) of the pairs of all processes in the order of their groups; `None`: each
    to its own alone."""
    mixed = None if batch.targets is None else batch.targets[batch.order][:, batch.order]
    if mixed is not None and accelerator.num_processes > 1:
        mixed = torch.block_diag(*accelerator.gather(mixed[None].contiguous()))
    if loss != "duplicate_aware":
        return mixed
    all_ids = torch.cat([group["input_ids"].masked_fill(group["attention_mask"] == 0, -1) for group in batch.groups])
    if accelerator.num_processes > 1:
        all_ids = accelerator.gather(accelerator.pad_across_processes(all_ids, dim=1, pad_index=-1))
    equal = equal_texts(all_ids)
    return equal.float() if mixed is None else mixed @ equal.float()


class _Gather(torch.autograd.Function):
    """Tensors of all processes, (b, D) → (B, D); each gets back the gradients that it has in the losses of all processes."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        ctx.size = len(own)
        gathered = own.new_empty(dist.get_world_size() * len(own), *own.shape[1:])
        dist.all_gather_into_tensor(gathered, own.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.size
        return total[first : first + ctx.size]


class _RandomState:
    """The state of the random generators of the CPU and of the device of a tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.cpu = torch.get_rng_state()
        self.devices, self.states = get_device_states(tensor)

    @contextmanager
    def restored(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.states)
            yield
