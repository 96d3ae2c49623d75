"""Changes to a training motion that its captions survive. (Mirroring changes both: see `sampling.PairBatchSampler`.)"""

from dataclasses import dataclass

import numpy as np

from ..processing.processing_motionpatches import MotionPatchProcessor, ResolvedMotion


@dataclass(frozen=True)
class Augmentation:
    """How far each change may go; 0 switches it off.

    Args:
        heading: The motion is turned about the vertical by up to this many degrees either way, after the canonical frame.
        tempo: It is played faster or slower by up to this fraction.
        offset: Each joint is displaced by a constant with this standard deviation in metres, as another body would have it.
        jitter: Each joint of each frame is displaced with this standard deviation in metres, as a noisy sensor does.
    """

    heading: float = 0.0
    tempo: float = 0.0
    offset: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (name == "tempo" and value >= 1):
                raise ValueError(
                    f"augmentation {name}={value} must be at least 0" + (" and below 1" if name == "tempo" else "")
                )

    def prepare(
        self, processor: MotionPatchProcessor, motion: ResolvedMotion, generator: np.random.Generator
    ) -> ResolvedMotion:
        """`processor.prepare` of a changed motion. Where everything is off, of the motion itself."""
        if self.tempo:
            motion = motion._replace(fps=motion.fps * (1 + generator.uniform(-self.tempo, self.tempo)))
        motion = processor.prepare(motion)
        joints = motion.joints
        if self.heading:
            joints = joints @ _turn_about_y(generator.uniform(-self.heading, self.heading)).T
        if self.offset:
            joints = joints + generator.normal(scale=self.offset, size=(*joints.shape[:-3], 1, *joints.shape[-2:]))
        if self.jitter:
            joints = joints + generator.normal(scale=self.jitter, size=joints.shape)
        return motion._replace(joints=joints)


def _turn_about_y(degrees: float) -> np.ndarray:
    """Rotation matrix from +z towards +x: to the left of someone who faces +z with y up."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
