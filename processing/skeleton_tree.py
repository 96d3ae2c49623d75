"""A hierarchy of joints, and where they lie in a rest pose, if that is known."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np

from .joint_names import parse_names


# Joints nearer to each other than this share of the size of the whole figure lie in one place.
_ONE_PLACE = 1e-5


class Tree:
    """Parents, children and depths of N joints; flat where a format has no hierarchy (all parents -1).

    Raises:
        ValueError: If there are no joints, a parent is out of range, there is a cycle, or there are several roots.
    """

    def __init__(self, parents: Sequence[int]) -> None:
        self.parents = _checked_parents(parents)
        self.flat = set(self.parents) == {-1} and len(self.parents) > 1
        self.children: list[list[int]] = [[] for _ in self.parents]
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                self.children[parent].append(joint)
        roots = [joint for joint, parent in enumerate(self.parents) if parent < 0]
        self.order = list(roots)
        for joint in self.order:
            self.order.extend(self.children[joint])
        if len(self.order) < len(self.parents):
            missed = sorted(set(range(len(self.parents))) - set(self.order))
            raise ValueError(f"parents have a cycle: joints {missed[:10]} never lead to a root; expected a tree")
        if len(roots) > 1 and not self.flat:
            raise ValueError(
                f"parents have {len(roots)} roots (-1), joints {roots[:10]}; expected one tree, so hang them from one joint, or "
                "give one person at a time (or -1 for every joint of a format without hierarchy)"
            )
        self.depth = [0] * len(self.parents)
        for joint in self.order:
            if self.parents[joint] >= 0:
                self.depth[joint] = self.depth[self.parents[joint]] + 1
        self._first, self._last = self._spans()

    def _spans(self) -> tuple[list[int], list[int]]:
        """For each joint, the places of the first and the last joint of its subtree when the tree is walked depth first."""
        place, first, last = 0, [0] * len(self.parents), [0] * len(self.parents)
        stack = [joint for joint in self.order if self.parents[joint] < 0][::-1]
        while stack:
            joint = stack.pop()
            first[joint] = place
            place += 1
            stack.extend(self.children[joint][::-1])
        for joint in reversed(self.order):
            last[joint] = max([first[joint], *(last[child] for child in self.children[joint])])
        return first, last

    def is_above(self, upper: int, lower: int) -> bool:
        """`lower` hangs from `upper`, at whatever distance."""
        return upper != lower and self._first[upper] <= self._first[lower] <= self._last[upper]

    def may_be_above(self, upper: int, lower: int) -> bool:
        """Nothing says that `lower` does not hang from `upper`."""
        return upper != lower if self.flat else self.is_above(upper, lower)

    def line(self, joint: int) -> list[int]:
        """The joints from the root to `joint`, both included."""
        line = [joint]
        while self.parents[line[-1]] >= 0:
            line.append(self.parents[line[-1]])
        return line[::-1]

    def between(self, upper: int, lower: int) -> list[int]:
        """The joints on the way down from `upper` to `lower`, without the two."""
        line = self.line(lower)
        return line[line.index(upper) + 1 : -1] if upper in line else []

    def lowest_common(self, joints: Iterable[int]) -> int | None:
        """The lowest joint that all of them are or hang from; `None` for a flat hierarchy."""
        lines = [self.line(joint) for joint in joints]
        shared = [same[0] for same in zip(*lines, strict=False) if len(set(same)) == 1]
        return shared[-1] if shared and not self.flat else None

    def subtree(self, joint: int) -> list[int]:
        nodes = [joint]
        for node in nodes:
            nodes.extend(self.children[node])
        return nodes


def _checked_parents(parents: Sequence[int]) -> tuple[int, ...]:
    checked = []
    for joint, parent in enumerate(parents):
        try:
            index = int(parent)
            whole = bool(index == parent)
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole or not -1 <= index < len(parents):
            raise ValueError(
                f"the parent of joint {joint} is {parent!r}; expected an index from 0 to {len(parents) - 1}, or -1 for the root"
            )
        checked.append(index)
    return tuple(checked)


class RestPose:
    """Where joints lie, as far as that is known.

    Args:
        positions: Shape (N, 3), any unit and axes; NaN where it is unknown; `None` for no pose.
        parents: N parent indices.

    Raises:
        ValueError: If the shape is another, or the values are no numbers.
    """

    def __init__(self, positions: Any, parents: Sequence[int]) -> None:
        self.positions: np.ndarray | None = None
        self.size = 0.0
        self._parents = parents
        if positions is None:
            return
        try:
            array = np.array(positions, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"rest_pose is no array of numbers ({error}); expected shape ({len(parents)}, 3)") from error
        if array.shape != (len(parents), 3):
            raise ValueError(f"rest_pose has shape {array.shape}; expected ({len(parents)}, 3), a position for each joint")
        array[~(np.abs(array) < 1e100).all(axis=1)] = np.nan  # beyond it, squares overflow
        seen = array[~np.isnan(array[:, 0])]
        self.size = float(np.ptp(seen, axis=0).max()) if len(seen) else 0.0
        if self.size > 0:
            self.positions = array

    def has_length(self, joint: int) -> bool:
        """A joint does not lie where its parent does, as far as is known."""
        parent = self._parents[joint]
        if self.positions is None:
            return True
        offset = self.positions[joint] - (self.positions[parent] if parent >= 0 else np.nan)
        return not float(np.linalg.norm(offset)) <= _ONE_PLACE * self.size

    def at(self, joints: Sequence[int]) -> np.ndarray | None:
        """Positions of these joints, shape (len(joints), 3); `None` where one is unknown."""
        if self.positions is None or not joints:
            return None
        found = self.positions[list(joints)]
        return None if np.isnan(found).any() else found

    def distance(self, one: int, other: int) -> float:
        """NaN where it is unknown."""
        if self.positions is None:
            return float("nan")
        return float(np.linalg.norm(self.positions[one] - self.positions[other]))


class Figure:
    """The joints of a file: their names as they are and taken apart, tree and rest pose.

    Args:
        labels: N names; "" for an end site.
        parents: N parent indices, or all -1.
        positions: The rest pose, shape (N, 3), or `None`.
    """

    def __init__(self, labels: Sequence[str], parents: Sequence[int], positions: Any) -> None:
        self.labels = list(labels)
        self.names = parse_names(self.labels)
        self.tree = Tree(parents)
        self.rest = RestPose(positions, self.tree.parents)
        # Rigs of Blender's Rigify have each bone twice or thrice; those that deform the body are the body.
        layers = {prefix for name in self.names for prefix in name.prefixes}
        doubled = {"org"} if {"def", "org"} <= layers else set()
        self.marking = [name.is_body and doubled.isdisjoint(name.prefixes) for name in self.names]

    def key(self, joint: int) -> tuple[int, int, str]:
        """By this key, the first of several joints of one name comes first: `thigh.L` before `thigh.L.001`."""
        digits = self.names[joint].digits
        return int(digits) if 0 < len(digits) <= 9 else -1, self.tree.depth[joint], self.labels[joint]

    def named(self, words: dict[str, int], side: str | None) -> list[int]:
        """The joints of one side that have one of these names, best first."""
        found = [
            joint
            for joint, name in enumerate(self.names)
            if self.marking[joint] and name.side == side and name.base in words
        ]
        return sorted(found, key=lambda joint: (words[self.names[joint].base], *self.key(joint)))

    def plain_children(self, known: Container[int]) -> list[list[int]]:
        """For each joint, the nearest joints below it that have a length and are known or have a name that tells nothing.

        Helpers, things, end sites and joints at the place of their parent are passed over; what hangs from them counts.
        """
        plain = [
            self.rest.has_length(joint) and (joint in known or name.tells_nothing) for joint, name in enumerate(self.names)
        ]
        below: list[list[int]] = [[] for _ in plain]
        for joint in reversed(self.tree.order):
            for child in self.tree.children[joint]:
                below[joint].extend([child] if plain[child] else below[child])
        return below
