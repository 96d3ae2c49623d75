"""The nodes of a glTF file and the curves that move them.

Section numbers are those of the specification (Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from .gltf_document import Document, Numbers, item


#: The properties of a node that move its joints, with the kind of their values.
KINDS = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3"}

_DEFAULTS = {"translation": (0.0, 0.0, 0.0), "rotation": (0.0, 0.0, 0.0, 1.0), "scale": (1.0, 1.0, 1.0)}


@dataclass
class Tree:
    """The nodes of a file. A local transform is a translation, rotation (x, y, z, w) and scale, or a matrix (4, 4)."""

    names: list[str]
    parents: list[int]
    transforms: list[dict[str, np.ndarray]]
    cameras: set[int]
    order: list[int] = field(default_factory=list)  # parents first

    def with_ancestors(self, nodes: Iterable[int]) -> list[int]:
        """The nodes and all above them, parents first."""
        found: set[int] = set()
        for node in nodes:
            while node >= 0 and node not in found:
                found.add(node)
                node = self.parents[node]
        return [node for node in self.order if node in found]

    def tops(self, among: set[int]) -> dict[int, int]:
        """For `among` and every node below one of them, the highest of `among` on its way upwards."""
        tops: dict[int, int] = {}
        for node in self.order:
            if self.parents[node] in tops:
                tops[node] = tops[self.parents[node]]
            elif node in among:
                tops[node] = node
        return tops

    def joined(self, joints: set[int]) -> list[int]:
        """The joints and the nodes between them, up to the lowest that is above (or is) all of them. Parents first."""
        above = self.with_ancestors(joints)
        below = {node: int(node in joints) for node in above}  # joints at the node or below it
        for node in reversed(above):
            if self.parents[node] >= 0:
                below[self.parents[node]] += below[node]
        lowest = max((i for i, node in enumerate(above) if below[node] == len(joints)), default=0)
        return above[lowest:]

    def parents_among(self, nodes: list[int]) -> list[int]:
        """The parents of `nodes` as indices into them, -1 for one whose parent is not among them."""
        index = {node: i for i, node in enumerate(nodes)}
        return [index.get(self.parents[node], -1) for node in nodes]


def read_tree(document: Document) -> Tree:
    nodes = document.gltf.nodes
    if not nodes:
        raise ValueError("it has no nodes, so nothing that could move; export the animated character")
    parents = [-1] * len(nodes)
    for parent, node in enumerate(nodes):
        for child in node.children or []:
            item(nodes, child, "node")
            if parents[child] >= 0:
                raise ValueError(f"node {child} has two parents, {parents[child]} and {parent}; export the file again")
            parents[child] = parent
    names = [node.name if isinstance(node.name, str) else "" for node in nodes]
    cameras = {index for index, node in enumerate(nodes) if node.camera is not None}
    tree = Tree(names, parents, [_read_transform(node, index) for index, node in enumerate(nodes)], cameras)
    stack = [node for node in reversed(range(len(nodes))) if parents[node] < 0]
    while stack:
        tree.order.append(stack.pop())
        stack.extend(reversed(nodes[tree.order[-1]].children or []))
    if len(tree.order) < len(nodes):
        raise ValueError("a node is below itself in its hierarchy; the file is damaged: export it again")
    return tree


def _read_transform(node: Any, index: int) -> dict[str, np.ndarray]:
    if node.matrix is not None:
        matrix = _floats(node.matrix, 16, f"the matrix of node {index}")
        return {"matrix": matrix.reshape(4, 4).T}  # stored by columns (3.5.3)
    transform = {}
    for key, default in _DEFAULTS.items():
        value = getattr(node, key)
        transform[key] = _floats(default if value is None else value, len(default), f"the {key} of node {index}")
    if not transform["rotation"].any():
        raise ValueError(f"the rotation of node {index} is (0, 0, 0, 0), which is none; export the file again")
    return transform


def _floats(values: Any, size: int, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError(f"{what} is {str(values)[:80]}, not {size} finite numbers; export the file again")
    return array


# ---- animations ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """How one property of a node moves: values at key times (K,), for CUBICSPLINE each between its two tangents."""

    path: str
    interpolation: str
    times: np.ndarray
    values: Numbers

    def sample(self, times: np.ndarray, tolerance: float) -> np.ndarray:
        """Values at rising times (C,), held before the first and after the last key. Shape (C, width).

        A STEP key counts from `tolerance` seconds before its time on: key times are float32, and lie beside those of frames.
        """
        first = max(int(np.searchsorted(self.times, times[0], "right")) - 1, 0)
        last = min(int(np.searchsorted(self.times, times[-1] + tolerance)), len(self.times) - 1)
        keys = self.times[first : last + 1]
        within = np.clip(times, keys[0], keys[-1])
        if self.interpolation == "CUBICSPLINE":
            triples = self.values[3 * first : 3 * last + 3].reshape(len(keys), 3, -1)
            if len(keys) > 1:
                return self._checked(_cubic(keys, triples, within))
            values = self._checked(triples[:, 1])
        else:
            values = self._checked(self.values[first : last + 1])
        if len(keys) == 1 or self.interpolation == "STEP":
            return values[np.maximum(np.searchsorted(keys, times + tolerance, "right") - 1, 0)]
        if self.path == "rotation":
            return Slerp(keys, Rotation.from_quat(values))(within).as_quat()
        return np.stack([np.interp(within, keys, column) for column in values.T], axis=1)

    def _checked(self, values: np.ndarray) -> np.ndarray:
        if self.path == "rotation" and np.abs(values).max(axis=1).min() < 1e-6:
            raise ValueError("its animation holds a rotation (0, 0, 0, 0), which is none; export it again")
        return values


def _cubic(keys: np.ndarray, triples: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Cubic Hermite splines (appendix C.5); `triples` (K, 3, width) are in-tangent, value and out-tangent of each key.

    SciPy's CubicHermiteSpline has one derivative at each key; here those on both sides may differ.
    """
    at = np.clip(np.searchsorted(keys, times, "right") - 1, 0, len(keys) - 2)
    step = (keys[at + 1] - keys[at])[:, None]
    t = (times - keys[at])[:, None] / step
    start, end = triples[at], triples[at + 1]
    return (
        (2 * t**3 - 3 * t**2 + 1) * start[:, 1]
        + step * (t**3 - 2 * t**2 + t) * start[:, 2]
        + (3 * t**2 - 2 * t**3) * end[:, 1]
        + step * (t**3 - t**2) * end[:, 0]
    )


Curves = dict[tuple[int, str], Curve]  # by node and path


@dataclass(frozen=True)
class Animation:
    name: str
    curves: Curves


def read_animations(document: Document, tree: Tree) -> list[Animation]:
    found = []
    shared_times: dict[bytes, np.ndarray] = {}
    weights = others = 0
    for number, animation in enumerate(document.gltf.animations):
        name = animation.name if isinstance(animation.name, str) and animation.name else f"animation {number}"
        curves: Curves = {}
        for channel in animation.channels:
            node, path = channel.target.node, channel.target.path
            if node is None or path not in KINDS:
                weights, others = weights + (path == "weights"), others + (path != "weights")
                continue
            item(tree.names, node, "node")
            if (node, path) in curves or "matrix" in tree.transforms[node]:
                raise ValueError(
                    f"{name} moves the {path} of node {node} twice, or the node has a matrix; glTF forbids both; export it "
                    "again"
                )
            curves[node, path] = _read_curve(
                document, item(animation.samplers, channel.sampler, "sampler"), path, shared_times
            )
        found.append(Animation(name, curves))
    if not any(animation.curves for animation in found):
        what = "only animations of morph targets" if weights else "no animation of nodes"
        raise ValueError(f"it has {what}; expected one that moves joints: export the character with its skeletal animation")
    if weights:
        document.notes.append(f"ignored {weights} animation channel(s) of morph targets, which move no joint")
    if others:
        document.notes.append(f"ignored {others} animation channel(s) that move something else than a node")
    return found


def _read_curve(document: Document, sampler: Any, path: str, shared_times: dict[bytes, np.ndarray]) -> Curve:
    interpolation = sampler.interpolation or "LINEAR"
    if interpolation not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise ValueError(f"an animation has interpolation {interpolation!r}; known: LINEAR, STEP, CUBICSPLINE")
    times = document.numbers(sampler.input, "SCALAR")[:][:, 0]
    if len(times) == 0 or (np.diff(times) <= 0).any():
        raise ValueError(
            f"accessor {sampler.input} holds {len(times)} key times; expected one or more that rise; export again"
        )
    # Most files repeat the same times for every curve; a digest finds them without keeping each.
    times = shared_times.setdefault(hashlib.sha256(times.tobytes()).digest(), times)
    num_values = len(times) * (3 if interpolation == "CUBICSPLINE" else 1)
    return Curve(path, interpolation, times, document.numbers(sampler.output, KINDS[path], num_values))
