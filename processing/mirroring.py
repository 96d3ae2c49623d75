"""The mirror image of a motion and of its caption: left becomes right, clockwise becomes counterclockwise."""

import re
from functools import lru_cache
from typing import Any

import numpy as np

from .canonical import like
from .skeletons import Skeleton


_SWAPPED = {
    "left": "right",
    "leftward": "rightward",
    "leftwards": "rightwards",
    "leftmost": "rightmost",
    "clockwise": "counterclockwise",
}
_SWAPPED |= {swapped: word for word, swapped in _SWAPPED.items()}
_COUNTERCLOCKWISE = r"(?:counter|anti)[-\s]?clockwise"
# "right away" and "a right angle" have no side.
_NO_SIDE = r"(?!\s+(?:away|after|before|now|then|angles?)(?![A-Za-z]))"
_WORDS = re.compile(
    rf"(?<![A-Za-z])(?:{_COUNTERCLOCKWISE}|clockwise|(?:left|right)(?:wards?|most)|left|right{_NO_SIDE})(?![A-Za-z])",
    re.IGNORECASE,
)


@lru_cache(maxsize=100_000)
def mirror_caption(caption: str) -> str:
    """The caption of the mirror image.

    `left` and `right` (also `leftwards`, `leftmost`, `left-handed`) change places, and so do `clockwise` and `counterclockwise`
    (also `counter-clockwise`, `anticlockwise`), in whatever case they are written; never inside another word (`upright`,
    `leftover`), nor where `right` has no side (`right away`, `right angle`).
    """
    return _WORDS.sub(_swap, caption)


def _swap(found: re.Match[str]) -> str:
    word = found.group()
    plain = "counterclockwise" if re.fullmatch(_COUNTERCLOCKWISE, word, re.IGNORECASE) else word.lower()
    swapped = _SWAPPED[plain]
    if word.isupper():
        return swapped.upper()
    return swapped.capitalize() if word[0].isupper() else swapped


def mirror_joints(joints: Any, skeleton: Skeleton) -> Any:
    """The motion seen in a mirror that stands upright: what was done with the left is done with the right.

    Args:
        joints: Shape (…, J, 3), NumPy or torch, with the up axis of `skeleton`; virtual joints may be among them.
        skeleton: The skeleton of the joints.

    Returns:
        Shape (…, J, 3). Mirroring twice gives the motion itself.
    """
    order = np.arange(skeleton.num_nodes)
    for left, right in skeleton.mirror_pairs:
        order[[left, right]] = right, left
    order = order[: joints.shape[-2]]
    flip = [1.0, 1.0, -1.0] if skeleton.up_axis in ("x", "-x") else [-1.0, 1.0, 1.0]
    return joints[..., order.tolist(), :] * like(flip, joints)
