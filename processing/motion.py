"""The one value that every reader returns and every consumer takes."""

from dataclasses import dataclass

import numpy as np

from .skeletons import Skeleton


@dataclass(frozen=True)
class Motion:
    """A motion of one person.

    Args:
        joints: Joint positions, shape (T, J, 3), in the unit and with the up axis of `skeleton`.
        skeleton: What the J joints are, or `None` where a file does not say.
        fps: Frames per second, or `None` where a file does not say.
        rotations: Where the source has them, the orientation of each joint's own frame in the world, shape (T, J, 4): unit
            quaternions (x, y, z, w) as in SciPy, turned along with the joints. `None` where it has positions only.
    """

    joints: np.ndarray
    skeleton: Skeleton | None = None
    fps: float | None = None
    rotations: np.ndarray | None = None
