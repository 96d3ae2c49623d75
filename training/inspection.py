"""What the package understands of a motion file: facts for a person to check, and a picture of them."""

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..processing.canonical import leg_length, to_metres, to_y_up
from ..processing.detection import SIDES_WARNING, check_frame, check_sides
from ..processing.motion import Motion
from ..processing.readers import read_whole
from ..processing.recording import ReadOptions, Recording
from ..processing.skeletons import Skeleton, get_skeleton, list_skeletons


if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

#: The frame rate and the most seconds of the patches that are drawn; more would be thinner than a pixel.
PATCH_FPS = 20.0
MAX_DRAWN_SECONDS = 48.0

_SOURCES = {
    "stated": "stated",
    "guessed": "guessed from the body",
    "skeleton": "that of the skeleton",
    None: "unknown",
}
_PATCH_SIZE = 16
_NUM_POSES = 8
# Agreement of `check_sides` from which it is said to confirm (or contradict) the names.
_SIDES_SURE = 0.2


@dataclass(frozen=True)
class Inspection:
    """What was understood of a motion file. Lengths are metres, `None` is what cannot be told.

    Args:
        path: The file.
        format: What its content is.
        num_frames, num_joints, fps, duration: Duration in seconds.
        person: The person that was asked for.
        skeleton: Name of the skeleton that the joints were taken for.
        confidence: How sure that is, from 0 to 1.
        candidates: Without a skeleton, the known ones with as many joints.
        unit, up_axis: Those of the file.
        unit_source, up_axis_source: Who says so: `"stated"` (by the file or the caller), `"guessed"` (from the body), or
            `"skeleton"` (that in which motions of the skeleton are distributed).
        body_height: Median over frames of the way from the ankles to the top of the torso chain, along the bones.
        leg_length: Hip to knee to ankle; see `canonical.leg_length`.
        distance: The way of the pelvis over the ground.
        parts: For each of `PARTS`, the joint names of its chain, outwards.
        virtual_joints: Those among them that lie between other joints and are not in the file.
        sides: Whether the shape of the body confirms the names of left and right; see `detection.check_sides`.
        has_rotations: Whether orientations of the joints are known.
        warnings: What was guessed, left out, filled in, or looks wrong.
        motion: The motion itself; not part of `to_dict`.
    """

    path: str
    format: str
    num_frames: int
    num_joints: int
    fps: float | None
    duration: float | None
    person: str | int | None
    skeleton: str | None
    confidence: float | None
    candidates: list[str]
    unit: str | None
    unit_source: str | None
    up_axis: str | None
    up_axis_source: str | None
    body_height: float | None
    leg_length: float | None
    distance: float | None
    parts: dict[str, list[str]]
    virtual_joints: list[str]
    sides: float | None
    has_rotations: bool
    warnings: list[str]
    motion: Motion = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "motion"}

    @property
    def why_not_drawn(self) -> str | None:
        """What keeps `draw_inspection` from drawing, if something does."""
        if self.motion.skeleton is None:
            return "its skeleton is not known"
        if self.num_frames < 2:
            return "one frame is no motion"
        if not np.isfinite(self.motion.joints).all():
            return "some positions are NaN or infinite"
        return None

    @property
    def sides_verdict(self) -> str:
        """`sides` in words."""
        if self.sides is None:
            return "cannot be told from the shape of the body"
        words = (
            "confirmed"
            if self.sides >= _SIDES_SURE
            else "contradicted"
            if self.sides <= -_SIDES_SURE
            else "neither confirmed"
        )
        words += " nor contradicted" if abs(self.sides) < _SIDES_SURE else ""
        return f"{words} by the shape of the body (agreement {self.sides:.2f} of -1 to 1)"


def inspect_motion(path: Path, options: ReadOptions | None = None) -> Inspection:
    """Read a motion file as `read_motion` does, and say what was understood.

    Args:
        path: The file.
        options: What the caller knows and the file may not say.

    Returns:
        What was understood. A file that says no skeleton is no error; `candidates` then says which it could be.

    Raises:
        FileNotFoundError, IsADirectoryError, ValueError: As `read_motion`.
    """
    options = options or ReadOptions()
    motion, notes, format_name, recording = read_whole(path, options)
    skeleton, joints = motion.skeleton, motion.joints
    warnings = [*notes, *_missing_note(joints)]
    known: dict[str, Any] = {}
    if skeleton is None:
        num_joints = joints.shape[1]
        known["candidates"] = [name for name in list_skeletons() if get_skeleton(name).num_joints == num_joints]
    else:
        whole = joints[np.isfinite(joints).all(axis=(1, 2))]
        known["sides"] = check_sides(whole, skeleton) if len(whole) else None
        if recording is None:
            warnings += check_frame(whole, skeleton).notes
            warnings += [SIDES_WARNING] if known["sides"] is not None and known["sides"] <= -_SIDES_SURE else []
        known |= _frame_of(recording, options, notes, skeleton) | _measure(whole, skeleton)
        known |= {"skeleton": skeleton.name, "confidence": skeleton.confidence}
        known["parts"] = {part: [skeleton.joint_names[j] for j in chain] for part, chain in skeleton.chains.items()}
        known["virtual_joints"] = list(skeleton.joint_names[skeleton.num_joints :])
    if motion.fps is None:
        warnings.append("the file says no frame rate; pass fps=")
    facts = {
        "path": str(path),
        "format": format_name,
        "num_frames": len(joints),
        "num_joints": joints.shape[1],
        "fps": motion.fps,
        "duration": None if motion.fps is None else len(joints) / motion.fps,
        "person": options.person,
        "has_rotations": motion.rotations is not None,
        "warnings": warnings,
        "motion": motion,
    }
    empty: dict[str, Any] = {item.name: None for item in fields(Inspection)}
    return Inspection(**empty | {"candidates": [], "parts": {}, "virtual_joints": []} | known | facts)


def _missing_note(joints: np.ndarray) -> list[str]:
    missing = ~np.isfinite(joints).all(axis=-1)
    if not missing.any():
        return []
    frame, joint = np.argwhere(missing)[0]
    num_missing, num_frames = int(missing.sum()), int(missing.any(axis=1).sum())
    return [
        f"{num_missing} of {missing.size} joint positions are NaN or infinite, in {num_frames} frames, "
        f"first joint {joint} in frame {frame}; fill the gaps or leave those frames out before the motion is used"
    ]


def _frame_of(recording: Recording | None, options: ReadOptions, notes: list[str], skeleton: Skeleton) -> dict[str, str]:
    """Unit and up axis of the file and where they come from. What was guessed is told by the notes of `understand` alone."""
    guesses = {"unit": (r"read as (.+?)(?:,| \()", "metres"), "up_axis": (r"turned from (\S+) up to", skeleton.up_axis)}
    found: dict[str, str] = {}
    for key, (pattern, default) in guesses.items():
        given = getattr(options, key)
        stated = given if recording is None else given or getattr(recording, key)
        if stated is not None:
            found |= {key: stated, f"{key}_source": "stated"}
        elif recording is None:
            found |= {key: getattr(skeleton, key), f"{key}_source": "skeleton"}
        else:
            guess = next((match[1] for note in notes if (match := re.match(pattern, note))), default)
            found |= {key: guess, f"{key}_source": "guessed"}
    return found


def _measure(joints: np.ndarray, skeleton: Skeleton) -> dict[str, float | None]:
    """Sizes and way in metres, of the frames that have all joints."""
    if len(joints) == 0:
        return {}
    joints = to_y_up(to_metres(skeleton.complete(joints), skeleton), skeleton)
    leg = leg_length(joints, skeleton)
    torso = np.linalg.norm(np.diff(joints[:, list(skeleton.chains["torso"])], axis=1), axis=-1).sum(axis=1)
    steps = np.diff(joints[:, skeleton.pelvis][:, [0, 2]], axis=0)
    measured = {
        "leg_length": leg,
        "body_height": leg + float(np.median(torso)),
        "distance": float(np.linalg.norm(steps, axis=1).sum()),
    }
    return {key: value if math.isfinite(value) else None for key, value in measured.items()}


def print_inspection(inspection: Inspection, console: "Console") -> None:
    """The facts, the joints of each part, and every warning, for a person."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"\n[bold]{escape(inspection.path)}[/]: {escape(inspection.format)}", highlight=False)
    table = Table(show_header=False)
    for name, value in _facts(inspection):
        table.add_row(name, escape(value))
    console.print(table)
    if inspection.skeleton is None:
        _print_candidates(inspection, console)
    else:
        table = Table("part", "joints, outwards")
        for part, joints in inspection.parts.items():
            marked = [f"{joint}*" if joint in inspection.virtual_joints else joint for joint in joints]
            table.add_row(part.replace("_", " "), escape(", ".join(marked)))
        console.print(table)
        if any(joint in inspection.virtual_joints for joints in inspection.parts.values() for joint in joints):
            console.print("* not in the file: lies between other joints", highlight=False)
    console.print(f"{len(inspection.warnings) or 'no'} warning{'s' * (len(inspection.warnings) != 1)}", highlight=False)
    for number, warning in enumerate(inspection.warnings, 1):
        console.print(f"{number}. {escape(warning)}", highlight=False, soft_wrap=True)


def _facts(inspection: Inspection) -> list[tuple[str, str]]:
    seconds = "" if inspection.duration is None else f", {inspection.duration:.2f} s at {inspection.fps:g} per second"
    facts = [
        ("frames", f"{inspection.num_frames}{seconds or ', at an unknown rate'}"),
        ("joints", str(inspection.num_joints)),
        ("skeleton", "unknown"),
        ("rotations", "known" if inspection.has_rotations else "not known"),
    ]
    if inspection.person is not None:
        facts.append(("person", f"{inspection.person}, as asked"))
    if inspection.skeleton is not None:
        sure = "" if inspection.confidence in (None, 1.0) else f" (inferred, confidence {inspection.confidence:.2f} of 1)"
        facts[2] = ("skeleton", inspection.skeleton + sure)
        facts += [
            ("unit", f"{inspection.unit} ({_SOURCES[inspection.unit_source]})"),
            ("up axis", f"{inspection.up_axis} ({_SOURCES[inspection.up_axis_source]})"),
            ("leg length", _metres(inspection.leg_length)),
            ("body height", f"{_metres(inspection.body_height)}, ankles to top of the torso along the bones"),
            ("distance", f"{_metres(inspection.distance)} over the ground"),
            ("left and right", inspection.sides_verdict),
        ]
    return facts


def _metres(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} m"


def _print_candidates(inspection: Inspection, console: "Console") -> None:
    if inspection.candidates:
        names = ", ".join(inspection.candidates)
        advice = f"known skeletons with {inspection.num_joints} joints: {names}; go on with --skeleton NAME"
    else:
        advice = (
            f"no known skeleton has {inspection.num_joints} joints; make one with Skeleton.infer(joint_names, parents) in Python "
            "and pass it as skeleton=, or save the motion as BVH, which names its joints"
        )
    console.print(advice, highlight=False, soft_wrap=True)


def check_outputs(file: Path, options: ReadOptions, picture: Path, json_file: Path | None) -> None:
    """Refuse to write over what is read, before anything is read.

    Raises:
        ValueError: If an output is an input or the other output, or the picture is no `.png`.
    """
    if picture.suffix.lower() != ".png":
        raise ValueError(f"cannot draw into {picture}: the picture is a .png file; end its name in .png")
    inputs = {Path(given).resolve() for given in (file, options.body_model, options.asf) if given is not None}
    outputs = [path.resolve() for path in (picture, json_file) if path is not None]
    for path in outputs:
        if path in inputs or path.is_dir():
            raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'read'}, so it is not written; pass another file")
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"{picture} cannot be both the picture and the JSON file; pass another --json")


def draw_inspection(inspection: Inspection) -> "Figure":
    """Poses and path above, the motion patches of the first `MAX_DRAWN_SECONDS` below, in the common frame (metres, y up).

    Raises:
        ValueError: If there is nothing to draw; `Inspection.why_not_drawn` tells before.
    """
    from matplotlib.figure import Figure

    from ..processing.plotting import PADDING_GREY, WIDTH, plot_patches, plot_skeleton
    from ..processing.processing_motionpatches import MotionPatchProcessor

    motion, reason = inspection.motion, inspection.why_not_drawn
    if reason is not None or motion.skeleton is None:
        raise ValueError(f"{inspection.path}: not drawn, because {reason}")
    fps = motion.fps or PATCH_FPS
    shown = min(len(motion.joints), max(2, math.ceil(MAX_DRAWN_SECONDS * fps)))
    max_frames = _PATCH_SIZE * math.ceil((shown * PATCH_FPS / fps + 1) / _PATCH_SIZE)
    processor = MotionPatchProcessor(
        _PATCH_SIZE, max_frames, PATCH_FPS, normalization=None, canonicalize=True, padding="longest"
    )
    prepared = processor.prepare(processor.resolve(Motion(motion.joints[:shown], motion.skeleton, fps))[0])
    values, num_real = processor.to_patches([prepared])["motion_values"][0], len(prepared.joints)
    values[:, num_real:] = values[:, num_real - 1 : num_real]  # so that padding has no part in the colours

    figure = Figure(figsize=(WIDTH, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    poses, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    plot_skeleton(motion.joints, motion.skeleton, _NUM_POSES, ax=poses)
    heights = [min(WIDTH * float(np.ptp(poses.get_ylim()) / np.ptp(poses.get_xlim())), 4.0) + 0.4, 5.0]
    figure.set_figheight(sum(heights) + 0.4)
    grid.set_height_ratios(heights)
    plot_patches(values, ax=below)
    below.axhspan(num_real, values.shape[1], color=str(PADDING_GREY), zorder=3)
    below.set_ylabel(f"frame, at {PATCH_FPS:g} per second", fontsize=11)
    part = f" (the first {shown / fps:.0f} s of {len(motion.joints) / fps:.0f} s)" if shown < len(motion.joints) else ""
    below.set_xlabel(f"motion patches: x, y and z as red, green and blue{part}", fontsize=10, labelpad=8)
    figure.suptitle(_title(inspection), fontsize=12, parse_math=False)
    return figure


def _title(inspection: Inspection) -> str:
    length = f"{inspection.num_frames} frames"
    if inspection.duration is not None:
        length += f", {inspection.duration:.1f} s"
    return f"{Path(inspection.path).name}: {inspection.skeleton}, {length}"
