"""A motion beside its patches and, of a model, the attention that each of them gets: what pictures of a checkpoint show."""

import math
from typing import Any, NamedTuple

import numpy as np

from .processing_motionpatches import MotionPatchProcessor, ResolvedMotion
from .skeletons import Skeleton


class PatchedMotion(NamedTuple):
    """A motion and what a model sees of it.

    Args:
        motion: The whole motion as it was given: joints (T, J, 3), skeleton, frames per second.
        num_shown: How many of its frames the patches show, from the first on.
        num_frames: How many rows of the patches are frames of it; the others are padding.
        motion_values: Shape (3, F, 5·N), NumPy float32.
        mask: Shape (F/N,), 1 for each window that holds a real frame.
        attention: Shape (F/N, 5), or `None` without a model. A model that takes no mask attends to padding too.
    """

    motion: ResolvedMotion
    num_shown: int
    num_frames: int
    motion_values: np.ndarray
    mask: np.ndarray
    attention: np.ndarray | None

    @property
    def cut(self) -> str:
        """Words for what the patches show of a motion that is longer than they are; empty if they show all of it."""
        joints, _, fps = self.motion
        if self.num_shown == len(joints):
            return ""
        return f"the first {self.num_shown / fps:.1f} s of {len(joints) / fps:.1f} s"


def patch_motion(
    motion: Any,
    processor: MotionPatchProcessor,
    model: Any = None,
    layer: int = -1,
    rollout: bool = False,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
) -> PatchedMotion:
    """Patches of a motion, as a processor makes them, and what a model attends to; of a longer one the first `max_frames` frames.

    Args:
        motion: Whatever the processor takes as the motion of one person.
        processor: Makes the patches.
        model: Has `get_motion_attention`, as a `MotionPatchesModel` has; `None` for no attention.
        layer, rollout: Whose attention; see `get_motion_attention`.
        skeleton, fps: Of a motion that does not say its own.

    Returns:
        Motion, patches, attention.

    Raises:
        ValueError: If the motion is none, has values that are not finite, or is of several persons; if the processor makes raw
            joints instead of patches; or if the model's attention is not known.
    """
    if processor.representation != "patches":
        raise ValueError(
            f"this checkpoint takes raw joints (representation={processor.representation!r}), so that there are no patches to "
            "draw; take a checkpoint with representation='patches'"
        )
    (resolved,) = processor.resolve([motion], skeleton, fps)
    if resolved.joints.ndim != 3:
        raise ValueError(f"the motion is of {len(resolved.joints)} persons; one is drawn: pass the joints (T, J, 3) of one")
    prepared = processor.prepare(resolved)
    padding = "longest" if processor.return_attention_mask else None  # without a mask a model attends to its usual padding
    inputs = processor.to_patches([prepared], "pt", padding, truncation="start", return_attention_mask=True)
    values, mask, attention = inputs["motion_values"], inputs["motion_attention_mask"], None
    if model is not None:
        attention = model.get_motion_attention(values.to(model.device), None, layer, rollout)[0].cpu().numpy()
    num_frames, num_shown = min(len(prepared.joints), processor.max_frames), len(resolved.joints)
    if num_frames < len(prepared.joints):
        num_shown = min(num_shown, math.ceil(num_frames * resolved.fps / processor.fps))
    return PatchedMotion(resolved, num_shown, num_frames, values[0].numpy(), mask[0].numpy(), attention)
