"""glTF 2.0 files, `.glb` and `.gltf`, → a `Recording`: nodes, their animation, forward kinematics.

Section numbers are those of the specification (Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .gltf_document import Document, item, open_document
from .gltf_scene import KINDS, Animation, Curve, Curves, Tree, read_animations, read_tree
from .recording import ReadOptions, Recording


#: The most joints of a person, and the most bytes that their positions and rotations may need.
MAX_JOINTS = 1000
MAX_OUTPUT_BYTES = 4 * 1024**3

_DEFAULT_FPS = 30.0
_RATES = (10.0, 1000.0)  # key times below are poses that somebody set by hand, above they are noise: no frame rate
_ROUNDING = 0.1  # of a frame: how far float32 key times lie beside their frames after an hour
_LEAST_JOINTS = 13  # pelvis, and hip, knee, ankle, shoulder, elbow, wrist of both sides
_CHUNK = 2**18  # transforms that are held at a time while the joints are computed
_MAX_SKINS = 1000
_SHOWN = 20


def read_gltf(path: Path, options: ReadOptions) -> Recording:
    """Read the skeletal animation of a glTF file.

    The joints are those of the file's skin and the nodes between them; in a file without a skin, the nodes that an animation
    moves and those below them. The nodes above (an armature that scales and turns) are applied.

    Args:
        path: A `.glb` or `.gltf` file; a `.gltf` file may name data files in its own folder.
        options: `fps`: the rate at which the animation is sampled; without it the one that the key times show, else 30, with
            a note. `person`: which character of a file of several, by the name of its skin or top joint, or by index.

    Returns:
        The joints, parents first, in the world: metres, y up, as the format defines. Rotations are the orientations of the
        nodes; under unequal scales, the nearest rotations. The rest pose is that of the nodes without animation.

    Raises:
        ValueError: If the file is damaged or too large, has no animation that moves joints or several of them, has several
            characters of which none is chosen, keeps data outside of its folder, or compresses them.
    """
    try:
        return _read(path, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{path}: not a readable glTF file ({str(error) or type(error).__name__}); copy or export it again"
        ) from error


def _read(path: Path, options: ReadOptions) -> Recording:
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise ValueError(f"fps is {options.fps}; expected a number of frames per second above 0")
    document = open_document(path)
    notes = document.notes
    tree = read_tree(document)
    animations = read_animations(document, tree)
    person = _choose_person(_find_people(document, tree, animations), animations, options.person, notes)
    if len(person.nodes) > MAX_JOINTS or len(tree.with_ancestors(person.nodes)) > 2 * MAX_JOINTS:
        raise ValueError(f"{person.label} has {len(person.nodes)} joints; a person has fewer than {MAX_JOINTS}")
    curves = _choose_animation(person, animations, tree, notes)
    times, fps = _frame_times(curves, options.fps, len(person.nodes), notes)
    positions, rotations = _forward_kinematics(tree, curves, person.nodes, times)
    rest_pose, _ = _forward_kinematics(tree, {}, person.nodes, np.zeros(1))
    if rotations is None:
        notes.append("left the rotations out, because a node is mirrored or has no size (a scale of 0 or below)")
    return Recording(
        [tree.names[node] for node in person.nodes],
        positions,
        tree.parents_among(person.nodes),
        fps=fps,
        unit="metres",
        up_axis="y",
        rotations=rotations,
        rest_pose=rest_pose[0].astype(np.float64),
        notes=notes,
    )


# ---- who and what -------------------------------------------------------------------------------------------------------


@dataclass
class _Person:
    names: set[str]  # of its skins and its top joints
    nodes: list[int]  # parents first

    @property
    def label(self) -> str:
        return " / ".join(sorted(self.names)) or "a character without a name"


def _find_people(document: Document, tree: Tree, animations: list[Animation]) -> list[_Person]:
    """The characters: skins that hang together, or without skins, what is moved together. Props are left out."""
    people = _people_of_skins(document, tree)
    if not people:
        moved = {node for animation in animations for node, _ in animation.curves} - tree.cameras
        people = _people_of_nodes(tree, moved)
    bodies = [person for person in people if len(person.nodes) >= _LEAST_JOINTS]
    props = [person.label for person in people if len(person.nodes) < _LEAST_JOINTS]
    if bodies and props:
        document.notes.append(f"left out {len(props)} thing(s) of too few joints for a person: {_shown(props)}")
    return bodies or people


def _people_of_skins(document: Document, tree: Tree) -> list[_Person]:
    skins = []
    if len(document.gltf.skins) > _MAX_SKINS:
        raise ValueError(f"it has {len(document.gltf.skins)} skins; the limit is {_MAX_SKINS}; export one character alone")
    for skin in document.gltf.skins:
        for joint in skin.joints or []:
            item(tree.names, joint, "node")
        skins.append((skin.name, set(skin.joints or [])))
    tops = tree.tops(set().union(*(joints for _, joints in skins)))
    people: list[tuple[set[int], set[str], set[int]]] = []  # tops, names, joints
    for name, joints in skins:
        merged = ({tops[joint] for joint in joints}, {name} if isinstance(name, str) and name else set(), joints)
        for known in [known for known in people if known[0] & merged[0]]:  # body and clothes, say
            people.remove(known)
            merged = (merged[0] | known[0], merged[1] | known[1], merged[2] | known[2])
        if joints:
            people.append(merged)
    return [
        _Person(names | {tree.names[top] for top in ends if tree.names[top]}, tree.joined(joints))
        for ends, names, joints in people
    ]


def _people_of_nodes(tree: Tree, moved: set[int]) -> list[_Person]:
    tops = tree.tops(moved)
    people = {top: _Person({tree.names[top]} - {""}, []) for top in tops.values()}
    for node in tree.order:
        if node in tops:
            people[tops[node]].nodes.append(node)
    if any(len(person.nodes) >= _LEAST_JOINTS for person in people.values()):
        return list(people.values())
    below = {node for person in people.values() for node in person.nodes}  # limbs move, the pelvis does not
    return [_Person(set().union(*(person.names for person in people.values())), tree.joined(below))]


def _choose_person(
    people: list[_Person], animations: list[Animation], wanted: str | int | None, notes: list[str]
) -> _Person:
    listed = _shown(f"{index}: {person.label}" for index, person in enumerate(people))
    if wanted is None:
        moved = {node for animation in animations for node, curve in _moving(animation.curves)}
        found = [person for person in people if not moved.isdisjoint(person.nodes)] if len(people) > 1 else people
        if len(found) == 1 < len(people):
            notes.append(f"took {found[0].label}, the only one of {len(people)} characters that moves")
    else:
        found = [person for person in people if wanted in person.names]
        if not found and str(wanted).isdecimal() and int(wanted) < len(people):
            found = [people[int(wanted)]]
    if len(found) != 1:
        problem = "it has several characters" if wanted is None else f"person {wanted!r} is not one of its characters"
        raise ValueError(f"{problem} ({listed}); pass person= one of these indices or a name that only one of them has")
    return found[0]


def _moving(curves: Curves) -> list[tuple[int, Curve]]:
    return [(node, curve) for (node, _), curve in curves.items() if len(curve.times) > 1]


def _choose_animation(person: _Person, animations: list[Animation], tree: Tree, notes: list[str]) -> Curves:
    """The curves that move the person, of the one animation that does."""
    concerned = set(tree.with_ancestors(person.nodes))
    own = [{key: curve for key, curve in animation.curves.items() if key[0] in concerned} for animation in animations]
    posing = [number for number, curves in enumerate(own) if curves]
    found = [number for number in posing if _moving(own[number])] or posing
    if len(found) != 1:
        raise ValueError(
            f"it has {len(found)} animations of {person.label} ({_shown(animations[number].name for number in found)}); "
            "expected one: export one animation a file"
        )
    name, curves = animations[found[0]].name, own[found[0]]
    passed = [animations[number].name for number in posing if number != found[0]]
    if passed:
        notes.append(f"took the animation {name}; passed over {len(passed)} of a single pose: {_shown(passed)}")
    foreign = len(animations[found[0]].curves) - len(curves)
    if foreign:
        notes.append(f"ignored {foreign} animation channel(s) of nodes that are no joints of {person.label}")
    return curves


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


# ---- frames -------------------------------------------------------------------------------------------------------------


def _frame_times(curves: Curves, fps: float | None, num_nodes: int, notes: list[str]) -> tuple[np.ndarray, float | None]:
    """The times of the frames in seconds, (T,), and their rate; `None` for a single frame of unknown rate."""
    start = min(float(curve.times[0]) for curve in curves.values())
    duration = max(float(curve.times[-1]) for curve in curves.values()) - start
    if duration == 0:
        return np.array([start]), fps
    if fps is None:
        fps = _rate_of_keys(list(curves.values()), duration)
    if fps is None:
        fps = _DEFAULT_FPS
        notes.append(
            f"sampled at {fps:g} frames per second, because its key times show no frame rate; pass fps= for another"
        )
    num_frames = math.floor(duration * fps + _ROUNDING) + 1
    needed = num_frames * num_nodes * 7 * 4
    if needed > MAX_OUTPUT_BYTES:
        raise ValueError(
            f"{duration:g} s at {fps:g} frames per second with {num_nodes} joints need {needed} bytes; the limit is "
            f"{MAX_OUTPUT_BYTES}; split the motion or pass a lower fps="
        )
    return start + np.arange(num_frames) / fps, fps


def _rate_of_keys(curves: list[Curve], duration: float) -> float | None:
    """Frames per second of the key times: their median step, if (nearly) all steps are multiples of it."""
    union = np.zeros(0)
    for times in {id(curve.times): curve.times for curve in curves}.values():
        union = np.union1d(union, times)
    steps = np.diff(union)
    steps = steps[steps >= 1 / _RATES[1]]  # times that differ by rounding are one
    if len(steps) == 0:
        return None
    multiples = steps / np.median(steps)
    if np.mean(np.abs(multiples - np.round(multiples)) < _ROUNDING) < 0.9:
        return None
    rate = float(np.round(multiples).sum()) / duration  # all steps together are truer than one of them
    rate = round(rate) if abs(rate - round(rate)) < 2e-4 * rate else rate
    return float(rate) if _RATES[0] <= rate <= _RATES[1] else None


def _forward_kinematics(
    tree: Tree, curves: Curves, nodes: list[int], times: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions (T, N, 3) and orientations (T, N, 4) of the nodes in the world, float32; no orientations where one is none."""
    chain = tree.with_ancestors(nodes)
    column = {node: i for i, node in enumerate(nodes)}
    tolerance = _ROUNDING * (times[1] - times[0]) if len(times) > 1 else 0.0
    positions = np.empty((len(times), len(nodes), 3), np.float32)
    rotations: np.ndarray | None = np.empty((len(times), len(nodes), 4), np.float32)
    size = max(1, _CHUNK // len(chain))
    for start in range(0, len(times), size):
        frames = slice(start, start + size)
        world = {-1: (np.eye(3)[None], np.zeros((1, 3)))}
        for node in chain:
            linear, offset = _local(node, tree, curves, times[frames], tolerance)
            above, place = world[tree.parents[node]]
            world[node] = above @ linear, place + np.einsum("...ij,...j->...i", above, offset)
            if node not in column:
                continue
            with np.errstate(over="ignore"):
                positions[frames, column[node]] = world[node][1]
            if rotations is not None:
                oriented = _orientations(world[node][0])
                if oriented is None:
                    rotations = None
                else:
                    rotations[frames, column[node]] = oriented
    if not np.isfinite(positions).all():
        raise ValueError("its joints move to infinity; the file is damaged: export it again")
    return positions, rotations


def _local(node: int, tree: Tree, curves: Curves, times: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The linear part (C, 3, 3) and the translation (C, 3) of a node within its parent; C is 1 where it does not move."""
    transform = tree.transforms[node]
    if "matrix" in transform:
        return transform["matrix"][None, :3, :3], transform["matrix"][None, :3, 3]
    values = {path: value[None] for path, value in transform.items()}
    values |= {path: curves[node, path].sample(times, tolerance) for path in KINDS if (node, path) in curves}
    return Rotation.from_quat(values["rotation"]).as_matrix() * values["scale"][:, None, :], values["translation"]


def _orientations(linear: np.ndarray) -> np.ndarray | None:
    """Quaternions of linear maps (C, 3, 3) without their scale, (C, 4); `None` if one of them mirrors or flattens."""
    volume = np.linalg.det(linear)
    if (volume <= 1e-9 * np.linalg.norm(linear, axis=(1, 2)) ** 3).any():
        return None
    return Rotation.from_matrix(linear / np.cbrt(volume)[:, None, None]).as_quat()
