"""Changes to a training motion that its captions survive. (Mirroring changes both: see `sampling.PairBatchSampler`.)"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from ..processing.canonical import first_person, from_y_up, rotate, to_y_up
from ..processing.processing_motionpatches import MotionPatchProcessor, ResolvedMotion
from ..processing.skeletons import PARTS, UNITS
from .recipe import OptimisationArguments


# The most parts that a motion takes from another: the smaller half of the five.
_MAX_MIXED_PARTS = 2

# The largest amount of each change, whether it may be reached, and what it is. What is not here has no largest amount.
_LIMITS = {
    "heading": (180.0, True, "degrees"),
    "tempo": (1.0, False, "a fraction"),
    "scale": (1.0, False, "a fraction"),
    "crop": (1.0, False, "a fraction"),
    "part_mix": (1.0, True, "a probability"),
}


@dataclass(frozen=True)
class Augmentation:
    """How far each change may go; 0 switches it off.

    Args:
        heading: The motion is turned about the vertical by up to this many degrees either way, after the canonical frame.
        tempo: It is played faster or slower by up to this fraction.
        offset: Each joint is displaced by a constant with this standard deviation in metres, as another body would have it.
        jitter: Each joint of each frame is displaced with this standard deviation in metres, as a noisy sensor does.
        scale: The body is made taller or smaller by up to this fraction, its way and its steps along with it; the lowest joint
            stays where it is. It comes after the canonical frame, which would undo it where the processor has a `body_scale`.
        crop: Up to this fraction of the frames is cut off, at random from the two ends, but never so much that less than a
            window of the patches is left. It comes before the canonical frame, which begins with the first frame that is left.
        part_mix: Probability that a motion takes body parts from another one of its batch; see `mix_parts`, which is for whole
            batches of pairs: `prepare` leaves it out.

    Raises:
        ValueError: If an amount is impossible.
    """

    heading: float = 0.0
    tempo: float = 0.0
    offset: float = 0.0
    jitter: float = 0.0
    scale: float = 0.0
    crop: float = 0.0
    part_mix: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most, is_reached, kind = _LIMITS.get(name, (np.inf, False, "metres"))
            if not (0 <= value < most or (is_reached and value == most)):
                bound = "" if most == np.inf else f" and {'at most' if is_reached else 'below'} {most:g}"
                raise ValueError(f"augmentation {name}={value} must be at least 0{bound} ({kind}); 0 switches it off")

    @classmethod
    def from_run(cls, run: OptimisationArguments) -> "Augmentation":
        """What the fields `augment_…` of a recipe say; classification has no `augment_part_mix`."""
        amounts = {field.name: f"augment_{field.name}" for field in fields(cls)}
        return cls(**{name: getattr(run, key) for name, key in amounts.items() if hasattr(run, key)})

    def prepare(
        self, processor: MotionPatchProcessor, motion: ResolvedMotion, generator: np.random.Generator
    ) -> ResolvedMotion:
        """`processor.prepare` of a changed motion. Where everything is off, of the motion itself."""
        if self.tempo:
            motion = motion._replace(fps=motion.fps * (1 + generator.uniform(-self.tempo, self.tempo)))
        if self.crop:
            motion = _crop(motion, self.crop, processor, generator)
        motion = processor.prepare(motion)
        if self.heading or self.scale:
            degrees = generator.uniform(-self.heading, self.heading) if self.heading else 0.0
            factor = 1 + generator.uniform(-self.scale, self.scale) if self.scale else 1.0
            motion = motion._replace(joints=_turn_and_scale(motion, processor, degrees, factor))
        joints = motion.joints
        per_metre = _units_per_metre(motion, processor)
        if self.offset:
            shape = (*joints.shape[:-3], 1, *joints.shape[-2:])
            joints = joints + generator.normal(scale=self.offset * per_metre, size=shape).astype(joints.dtype)
        if self.jitter:
            joints = joints + generator.normal(scale=self.jitter * per_metre, size=joints.shape).astype(joints.dtype)
        return motion._replace(joints=joints)


def _crop(
    motion: ResolvedMotion, fraction: float, processor: MotionPatchProcessor, generator: np.random.Generator
) -> ResolvedMotion:
    """The motion without up to a fraction of its frames; what is left fills a window, if the motion did."""
    num_frames = motion.joints.shape[-3]
    least = max(2, int(np.ceil(processor.patch_size * motion.fps / processor.fps)))
    cut = int(generator.uniform(0, fraction) * num_frames)
    cut = min(cut, max(num_frames - least, 0))
    first = int(generator.integers(cut + 1))
    return motion._replace(joints=motion.joints[..., first : first + num_frames - cut, :, :])


def _turn_and_scale(motion: ResolvedMotion, processor: MotionPatchProcessor, degrees: float, factor: float) -> Any:
    """Prepared joints (T, J, 3) turned about the vertical and scaled, about the place on the floor where the pelvis begins."""
    skeleton, pelvis = motion.skeleton, motion.skeleton.pelvis
    is_y_up, is_relative = _is_on(processor, "up_axis"), processor.root == "relative"
    joints = motion.joints if is_y_up else to_y_up(motion.joints, skeleton)
    heights = joints[..., 1]
    if is_relative:  # all but the pelvis are measured from it
        heights = heights + joints[..., [pelvis], 1]
        heights[..., pelvis] = joints[..., pelvis, 1]
    x, _, z = first_person(joints)[0, pelvis]
    center = np.array([x, heights.min(), z])
    similarity = factor * _turn_about_y(degrees)
    joints = rotate(joints, similarity)
    placed = [pelvis] if is_relative else slice(None)
    joints[..., placed, :] += (center - similarity @ center).astype(joints.dtype)
    return joints if is_y_up else from_y_up(joints, skeleton)


def _turn_about_y(degrees: float) -> np.ndarray:
    """Rotation matrix from +z towards +x: to the left of someone who faces +z with y up."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def _units_per_metre(motion: ResolvedMotion, processor: MotionPatchProcessor) -> float:
    """How long a metre is in the unit of prepared joints: a processor may leave the skeleton's own."""
    is_metric = _is_on(processor, "unit") or processor.body_scale is not None
    return 1.0 if is_metric else 1 / UNITS[motion.skeleton.unit]


def _is_on(processor: MotionPatchProcessor, step: str) -> bool:
    """Whether the processor takes a step of the canonical frame."""
    steps = processor.canonicalize
    return steps if isinstance(steps, bool) else steps.get(step, True)


def mix_parts(
    values: torch.Tensor, num_frames: Sequence[int], patch_size: int, probability: float, generator: np.random.Generator
) -> torch.Tensor:
    """Motions of a batch take one or two body parts from another motion of it, whose caption then fits them too.

    CutMix (Yun et al., ICCV 2019) on body parts: the caption of the donor gets the share of the motion that is the donor's. A
    part is taken over the frames that both motions have; where the donor is shorter, the rest stays. Donors give what they were
    before any mixing.

    Args:
        values: Shape (B, 3, F, 5·N), or (B, P, 3, F, 5·N) of P persons, who all take the same parts. Changed in place.
        num_frames: Of each motion, how many of the F frames are real.
        patch_size: N.
        probability: How often a motion is mixed. A batch of one has no donors.
        generator: Random state.

    Returns:
        The targets (B, B), float32: row i holds how much each caption of the batch belongs to motion i. A row sums to 1; that of
        a motion that was left as it is has a 1 for its own.
    """
    targets = torch.eye(len(values))
    taken = []
    for own in range(len(values)):
        if len(values) == 1 or generator.random() >= probability:
            continue
        donor = (own + int(generator.integers(1, len(values)))) % len(values)
        parts = generator.choice(len(PARTS), size=generator.integers(1, _MAX_MIXED_PARTS + 1), replace=False)
        columns = (parts[:, None] * patch_size + np.arange(patch_size)).ravel().tolist()
        frames = min(num_frames[own], num_frames[donor])
        taken.append((own, frames, columns, values[donor][..., :frames, columns]))  # a copy
        share = len(parts) / len(PARTS) * frames / num_frames[own]
        targets[own, own], targets[own, donor] = 1 - share, share
    for own, frames, columns, part in taken:
        values[own][..., :frames, columns] = part
    return targets
