"""What a motion file holds, before anybody has understood it: joints under names of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .skeletons import Skeleton


@dataclass(frozen=True)
class ReadOptions:
    """What the caller knows and a file may not say; every reader takes it and uses what concerns its format.

    Args:
        skeleton: The skeleton that is wanted.
        fps: Frames per second, for formats that state none.
        unit: A key of `UNITS`, for formats that state none.
        up_axis: One of `AXES`, likewise.
        person: Which person of a file of several: a name, an id or an index in the order of the file. `None`: the only one;
            a file of several is then an error that lists them.
        body_model: For SMPL parameter files, the user's own body model: a file or folder that `smplx.create` takes.
        asf: For AMC files, the ASF file with their skeleton, if it does not lie beside them.
        max_gap: The longest gap of missing markers that is filled, in seconds.
    """

    skeleton: Skeleton | None = None
    fps: float | None = None
    unit: str | None = None
    up_axis: str | None = None
    person: str | int | None = None
    body_model: str | Path | None = None
    asf: str | Path | None = None
    max_gap: float = 0.5


@dataclass(frozen=True)
class Recording:
    """The joints (nodes) of a file, under the file's own names.

    Args:
        names: N node names; "" for one without a name (an end site).
        positions: Shape (T, N, 3), in the unit and axes of the file. NaN where a marker was not seen.
        parents: N parent indices, -1 for a root; `None` where the format has no hierarchy (C3D, CSV).
        fps: Frames per second, if the file says.
        unit: Unit of the positions, a key of `UNITS`, if the file says or its format is defined so.
        up_axis: Axis that points up, one of `AXES`, likewise.
        rotations: Orientations of the nodes in the world, shape (T, N, 4), unit quaternions (x, y, z, w), if the source has
            them.
        rest_pose: Shape (N, 3): the pose with all rotations zero, if the source has one.
        skeleton: The skeleton that the format itself defines (NTU, Kinect, SMPL); the nodes are then its J joints in order.
        notes: What the reader left out, filled in or guessed: sentences for the user.
    """

    names: Sequence[str]
    positions: np.ndarray
    parents: Sequence[int] | None = None
    fps: float | None = None
    unit: str | None = None
    up_axis: str | None = None
    rotations: np.ndarray | None = None
    rest_pose: np.ndarray | None = None
    skeleton: Skeleton | None = None
    notes: list[str] = field(default_factory=list)
