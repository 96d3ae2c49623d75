"""Frames of joint positions in JSON, as pose estimators and Kinect recorders write them, → a `Recording`."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .persons import Tracks
from .recording import ReadOptions, Recording
from .skeletons import AXES, UNITS, Skeleton, get_skeleton, list_skeletons
from .tables import fps_of_times, listed, time_unit


#: The most joints of a person.
MAX_JOINTS = 1000

#: What is understood, for messages.
EXPECTED = (
    'expected an object with "joints" of shape (T, J, 3) and "joint_names" or "skeleton", or a list of frames: of OpenPose '
    '("people" with "pose_keypoints_3d"), of the Panoptic Toolbox ("bodies" with "joints19"), or of joints by name, '
    '{"Head": [x, y, z], ...}'
)
_UNIT_NAMES = {"m": "metres", "meters": "metres", "cm": "centimetres", "centimeters": "centimetres", "mm": "millimetres"}
_UNIT_NAMES |= {"millimeters": "millimetres", "in": "inches", **{unit: unit for unit in UNITS}}
_ID_KEYS = ("person_id", "id", "body_id", "trackingid", "tracking_id", "track_id", "bodyid")
_NAME_KEYS = ("name", "jointtype", "joint_name", "joint", "type")
_POSITION_KEYS = ("position", "cameraspace", "cameraspacepoint", "location", "xyz")
_CONFIDENCE_KEYS = ("confidence", "score", "visibility", "trackingstate", "tracking_state")
_NOT_TRACKED = frozenset(("nottracked", "not_tracked", "0"))
_OPENPOSE_SKELETONS = {25: "body25", 17: "coco17"}
_FLOATS = [float, float, float]
_MISSING = (math.nan, math.nan, math.nan, 0.0)
_NO_JOINTS = frozenset(("frame", "frame_id", "frame_index", "index", *_ID_KEYS))
_LARGEST = 1e30  # of float32, with a margin

_Point = tuple[float, float, float, float]  # x, y, z, confidence


@dataclass(frozen=True)
class _Layout:
    """How a person of a frame becomes N points."""

    names: Sequence[str]
    points: Callable[[dict[str, Any]], list[_Point]]
    skeleton: Skeleton | None = None
    unit: str | None = None
    up_axis: str | None = None
    notes: tuple[str, ...] = ()


def is_joint(value: Any) -> bool:
    """Whether this is one joint with its name and position, as in a list of the joints of one frame."""
    return isinstance(value, dict) and _name_of(value) is not None and _to_point(value) is not None


def read_frames(frames: Sequence[Any], about: "About") -> Recording:
    """The recording that a list of frames makes: objects, or null for frames without anybody.

    Raises:
        ValueError: See `readers_json.read_json`.
    """
    for index, frame in enumerate(frames):
        if frame is not None and not isinstance(frame, dict):
            raise ValueError(f"frame {index} is {shown(frame)}; expected an object, as the frames before it")
    layout = _find_layout(frames, about)
    tracks = Tracks(len(layout.names))
    for index, frame in enumerate(frames):
        for name, person in _people(frame):
            try:
                points = layout.points(person)
            except ValueError as error:
                raise ValueError(f"frame {index}: {error}") from error
            if len(points) != len(layout.names):
                raise ValueError(f"frame {index} has a person of {len(points)} joints; others have {len(layout.names)}")
            if not tracks.add(name, index, [value for point in points for value in point]):
                raise ValueError(f"frame {index} has person {name[:40]!r} twice; give the persons ids of their own")
    if not tracks.names:
        raise ValueError(f"none of its {len(frames)} frames has a person")
    positions, notes = tracks.positions(tracks.choose(about.options.person), len(frames))
    notes = [*layout.notes, *notes]
    if any(sum(_id_of(person) is None for _, person in _people(frame)) > 1 for frame in frames):
        notes.append("its persons have no ids and are told apart by their place in a frame, which may change between frames")
    return Recording(
        layout.names,
        positions,
        about.parents(len(layout.names)),
        about.fps() or _fps_of_frames(frames, notes),
        about.unit() or layout.unit,
        about.up_axis() or layout.up_axis,
        skeleton=layout.skeleton,
        notes=notes,
    )


def _people(frame: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """(id, person): by place in the list for those without an id, and "" for the only one of a frame without a list."""
    if frame is None:
        return []
    people = frame.get("people", frame.get("bodies"))
    if people is None:
        return [("", frame)]
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError(f"the persons of a frame are {shown(people)}; expected a list of objects")
    tracked = [person for person in people if person.get("tracked") is not False]
    return [(_id_of(person) or str(place), person) for place, person in enumerate(tracked)]


def _id_of(person: dict[str, Any]) -> str | None:
    given = _get(person, _ID_KEYS)
    if isinstance(given, list):  # OpenPose writes [-1] for a person that it does not track
        given = given[0] if given else None
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    return str(given) if isinstance(given, int | str) and given not in (-1, "") else None


def _get(value: dict[str, Any], keys: Collection[str]) -> Any:
    """The first value whose key is one of these in any case; `None` without one."""
    return next((item for key, item in value.items() if key.lower() in keys), None)


# ---- what a person looks like -------------------------------------------------------------------------------------------


def _find_layout(frames: Sequence[Any], about: "About") -> _Layout:
    flat = False
    for frame in frames:
        for _, person in _people(frame):
            if person.get("pose_keypoints_3d"):
                return _openpose(person["pose_keypoints_3d"])
            if "joints19" in person:
                return _of_skeleton(get_skeleton("panoptic19"), "joints19", "centimetres", "-y")
            if "joint_positions" in person:
                names = about.names()
                if names is None:
                    raise ValueError(
                        'its frames have "joint_positions", but there is no list "joint_names" beside them; add it'
                    )
                return _Layout(names, _azure_kinect, unit="millimetres", up_axis="-y")
            flat = flat or bool(person.get("pose_keypoints_2d"))
    if flat:
        raise ValueError(
            "its keypoints are 2D (pose_keypoints_2d), but 3D positions are needed; lift it first (by triangulation of several "
            "cameras, or a 2D-to-3D lifting model) and save pose_keypoints_3d"
        )
    return _named(frames)


def _openpose(keypoints: Any) -> _Layout:
    num_joints = len(keypoints) // 4 if isinstance(keypoints, list) else 0
    name = _OPENPOSE_SKELETONS.get(num_joints)
    if name is None or len(keypoints) != 4 * num_joints:
        hint = "; 18 are OpenPose's old COCO model: run it with --model_pose BODY_25" if num_joints == 18 else ""
        raise ValueError(
            f"its pose_keypoints_3d are {shown(keypoints)}; expected x, y, z, confidence of 25 joints (BODY_25) or 17 (COCO), a "
            f"list of 100 or 68{hint}"
        )
    return _of_skeleton(get_skeleton(name), "pose_keypoints_3d")


def _of_skeleton(skeleton: Skeleton, key: str, unit: str | None = None, up_axis: str | None = None) -> _Layout:
    """Points under `key` as x, y, z, confidence of all joints in a row; all missing where the list is empty."""
    num_joints = skeleton.num_joints

    def points(person: dict[str, Any]) -> list[_Point]:
        flat = person.get(key) or [None] * (4 * num_joints)
        if not isinstance(flat, list) or len(flat) != 4 * num_joints:
            raise ValueError(
                f"{key} is {shown(flat)}; expected {4 * num_joints} numbers: x, y, z, confidence of {num_joints} joints"
            )
        rows = [_to_point(flat[at : at + 4]) for at in range(0, len(flat), 4)]
        if None in rows:
            raise ValueError(f"{key} has something other than numbers at joint {rows.index(None)}")
        return [row for row in rows if row is not None]

    return _Layout(skeleton.joint_names[:num_joints], points, skeleton, unit, up_axis)


def _azure_kinect(person: dict[str, Any]) -> list[_Point]:
    joints = person.get("joint_positions")
    rows = [_to_point(joint) for joint in joints] if isinstance(joints, list) else [None]
    if None in rows:
        raise ValueError(f"joint_positions is {shown(joints)}; expected a list of [x, y, z]")
    return [row for row in rows if row is not None]


def _named(frames: Sequence[Any]) -> _Layout:
    """Joints by name: all names of all frames, in the order in which they appear."""
    names: dict[str, None] = {}
    others: dict[str, None] = {}
    for frame in frames:
        for _, person in _people(frame):
            for name, value in _joints_of(person).items():
                (others if _to_point(value) is None else names).setdefault(name)
        if len(names) > MAX_JOINTS:
            raise ValueError(f"it has more than {MAX_JOINTS} joints; {EXPECTED}")
    if not names:
        raise ValueError(
            f"its frames, the first {shown(next(frame for frame in frames if frame))}, have no joints; {EXPECTED}"
        )
    ignored = [name for name in others if name not in names and time_unit(name) is None and name.lower() not in _NO_JOINTS]

    def points(person: dict[str, Any]) -> list[_Point]:
        joints = _joints_of(person)
        found = [_MISSING if joints.get(name) is None else _to_point(joints[name]) for name in names]
        if None in found:
            name = list(names)[found.index(None)]
            raise ValueError(f"joint {name[:40]!r} is {shown(joints[name])}; expected [x, y, z]")
        return [point for point in found if point is not None]

    notes = (f"left out {len(ignored)} keys that are no joints: {listed(ignored)}",) if ignored else ()
    return _Layout(list(names), points, notes=notes)


def _joints_of(person: dict[str, Any]) -> dict[str, Any]:
    joints = person.get("joints", person)
    if isinstance(joints, dict):
        return joints
    found: dict[str, Any] = {}
    for joint in joints if isinstance(joints, list) else [None]:
        name = _name_of(joint) if isinstance(joint, dict) else None
        if name is None:
            raise ValueError(
                f"the joints of a frame are {shown(joints)}; expected objects with a name and a position; {EXPECTED}"
            )
        if name in found:
            raise ValueError(f"a frame has two joints {name[:40]!r}; rename one of them")
        found[name] = joint
    return found


def _name_of(joint: dict[str, Any]) -> str | None:
    """The name of a joint; a number is an index of Microsoft's JointType, whose order is that of NTU RGB+D."""
    name = _get(joint, _NAME_KEYS)
    if isinstance(name, str):
        return name
    skeleton = get_skeleton("ntu25")
    return skeleton.joint_names[name] if type(name) is int and 0 <= name < skeleton.num_joints else None


def _to_point(value: Any) -> _Point | None:
    """x, y, z, confidence; `None` if this is no point. Confidence is 1 where none is given, 0 for a point that is not finite."""
    if type(value) is list and [type(number) for number in value] == _FLOATS and sum(map(abs, value)) < _LARGEST:
        return value[0], value[1], value[2], 1.0  # nearly all points of nearly all files
    confidence: Any = 1.0
    if isinstance(value, dict):
        inner = _get(value, _POSITION_KEYS)
        given = _get(value, _CONFIDENCE_KEYS)
        if given is not None:
            confidence = 0.0 if str(given).lower() in _NOT_TRACKED else given
        value = inner if inner is not None else value
        if isinstance(value, dict):
            lower = {key.lower(): item for key, item in value.items()}
            value = [lower[axis] for axis in "xyz"] if {"x", "y", "z"} <= lower.keys() else None
    if not isinstance(value, list) or len(value) not in (3, 4):
        return None
    numbers = [math.nan if number is None else number for number in value]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return None
    x, y, z, confidence = *numbers[:3], numbers[3] if len(numbers) == 4 else confidence
    if not isinstance(confidence, int | float):  # a word, such as Tracked or Inferred
        confidence = 1.0
    if not all(abs(number) < _LARGEST for number in (x, y, z)) or not confidence > 0:
        return _MISSING
    return float(x), float(y), float(z), float(min(confidence, 1.0))


def _fps_of_frames(frames: Sequence[Any], notes: list[str]) -> float | None:
    first = next(frame for frame in frames if frame is not None)
    for key in first:
        times = [frame.get(key) for frame in frames if frame is not None]
        if time_unit(key) is not None and all(isinstance(time, int | float) for time in times):
            return fps_of_times(np.array(times, np.float64), time_unit(key) or math.nan, notes)
    return None


# ---- what a document says of its frames ---------------------------------------------------------------------------------


class About:
    """What an object says of its own joints: optional keys, checked when they are asked for."""

    def __init__(self, document: Mapping[str, Any], options: ReadOptions) -> None:
        self._document = document
        self.options = options

    def joints(self, num_joints: int) -> tuple[Sequence[str], Skeleton | None]:
        """Names of the joints, and their skeleton if it is given by name."""
        if not 0 < num_joints <= MAX_JOINTS:
            raise ValueError(f"it has {num_joints} joints in a frame; expected 1 to {MAX_JOINTS}")
        names = self.names()
        skeleton = self.options.skeleton if names is None else None
        if self._document.get("skeleton") is not None:
            skeleton = get_skeleton(self._text("skeleton", list_skeletons()))
        if names is not None and len(names) != num_joints:
            raise ValueError(f'it has {num_joints} joints in a frame, but "joint_names" has {len(names)}')
        if skeleton is None:
            if names is None:
                raise ValueError(
                    f'it has {num_joints} joints without names; add "joint_names" or "skeleton", or pass skeleton=...'
                )
            return names, None
        own = skeleton.joint_names[: skeleton.num_joints]
        if len(own) != num_joints:
            raise ValueError(f"it has {num_joints} joints in a frame, but skeleton {skeleton.name!r} has {len(own)}")
        if names is not None and names != list(own):
            raise ValueError(f'its "joint_names" are not those of its skeleton {skeleton.name!r}; leave one of the two out')
        return own, skeleton

    def names(self) -> list[str] | None:
        names = self._document.get("joint_names")
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f'"joint_names" is {shown(names)}; expected a list of strings')
        return names

    def parents(self, num_joints: int) -> list[int] | None:
        given = self._document.get("parents")
        if given is None:
            return None
        parents = [-1 if parent is None else parent for parent in given] if isinstance(given, list) else []
        if len(parents) != num_joints or not all(type(parent) is int and -1 <= parent < num_joints for parent in parents):
            raise ValueError(f'"parents" is {shown(given)}; expected {num_joints} indices of joints, -1 for the root')
        for joint in range(num_joints):
            for _ in range(num_joints):
                joint = parents[joint] if joint >= 0 else joint
            if joint >= 0:
                raise ValueError('"parents" has a cycle; expected a tree, with -1 for the root')
        return parents

    def fps(self) -> float | None:
        fps = next((self._document[key] for key in ("fps", "frame_rate", "framerate") if key in self._document), None)
        if fps is not None and (not isinstance(fps, int | float) or not 0 < fps < math.inf):
            raise ValueError(f'"fps" is {shown(fps)}; expected a number of frames per second above 0')
        return None if fps is None else float(fps)

    def unit(self) -> str | None:
        return _UNIT_NAMES[self._text("unit", _UNIT_NAMES)] if self._document.get("unit") is not None else None

    def up_axis(self) -> str | None:
        return self._text("up_axis", AXES).lower() if self._document.get("up_axis") is not None else None

    def _text(self, key: str, known: Collection[str]) -> str:
        value = self._document[key]
        found = next((name for name in known if isinstance(value, str) and name == value.strip().lower()), None)
        if found is None:
            raise ValueError(f'"{key}" is {shown(value)}; expected one of {", ".join(known)}')
        return found


def shown(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, dict):
        return f"an object with {listed([str(key) for key in value]) or 'nothing'}"
    return f"a list of {len(value)}" if isinstance(value, list) else repr(value)[:40]
