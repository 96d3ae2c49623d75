"""From joint angles to joints: angles → rotations → joints by forward kinematics. Where the body goes follows from its feet:
the lowest point of the soles is on the floor, and the foot that carries the body stays where it is. In the air, the body
is a projectile.
"""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import softmax

from motionpatches.processing.body_points import BODY_POINTS
from motionpatches.processing.procedural_actions import Clip
from motionpatches.processing.skeletons import Skeleton


SIDES = ("left", "right")
ARMS = ("arm_fwd", "arm_out", "arm_in", "arm_twist", "elbow")
LEGS = ("thigh", "knee", "hip_out", "foot", "hip_turn")
_GRAVITY = 9.81

# The point whose frame carries the bone that ends at a point. It belongs to the body and not to a skeleton, so a skeleton
# that leaves points out bends all the same, and shoulders that hang from a neck joint do not nod with the head.
_MEDIAN_CARRIERS = {
    "pelvis": "pelvis",
    "spine_low": "pelvis",
    "spine_mid": "spine_low",
    "spine_high": "spine_mid",
    "chest": "spine_mid",
    "neck": "chest",
    **dict.fromkeys(("neck_high", "head", "head_top", "jaw", "nose"), "neck"),
}
_FOOT = ("heel", "midfoot", "toe", "small_toe", "toe_tip")
_HAND = ("wrist", "palm", "hand", "fingers", "thumb")
_FINGERS = tuple(f"{finger}{number}" for finger in ("thumb", "index", "middle", "ring", "pinky") for number in (1, 2, 3))
_SIDED_CARRIERS = {"hip": "pelvis", "collar": "chest", "shoulder": "chest", "eye": "neck", "ear": "neck"}
_LIMB_CARRIERS = {"knee": "hip", "ankle": "knee", "elbow": "shoulder", **dict.fromkeys(_FOOT, "ankle")}
_LIMB_CARRIERS |= dict.fromkeys((*_HAND, *_FINGERS), "elbow")
_CARRIERS = {
    **_MEDIAN_CARRIERS,
    **{f"{side}_{point}": carrier for side in SIDES for point, carrier in _SIDED_CARRIERS.items()},
    **{f"{side}_{point}": f"{side}_{carrier}" for side in SIDES for point, carrier in _LIMB_CARRIERS.items()},
}


def unsided(channel: str) -> str:
    """Name of a channel or point without its side: `left_knee` → `knee`."""
    prefix, _, name = channel.partition("_")
    return name if prefix in ("left", "right", "near", "far", "both") else channel


def draw_body(rng: np.random.Generator, size: float) -> dict[str, np.ndarray]:
    """A body of its own proportions: point → position (3,) in the T-pose, metres."""
    trunk, arms, legs = size * rng.uniform(0.95, 1.05, 3)
    body: dict[str, np.ndarray] = {"pelvis": np.zeros(3)}
    pelvis = np.array(BODY_POINTS["pelvis"])
    hip, shoulder = np.array(BODY_POINTS["left_hip"]), np.array(BODY_POINTS["left_shoulder"])
    mirror = np.array([-1.0, 1.0, 1.0])
    for point, xyz in BODY_POINTS.items():
        side = mirror if point.startswith("right") else np.ones(3)
        name = unsided(point)
        if name in ("knee", "ankle", *_FOOT):
            body[point] = trunk * side * (hip - pelvis) + legs * (xyz - side * hip)
        elif name in ("elbow", *(n for n, carrier in _LIMB_CARRIERS.items() if carrier == "elbow")):
            body[point] = trunk * side * (shoulder - pelvis) + arms * (xyz - side * shoulder)
        else:
            body[point] = trunk * (xyz - pelvis)
    return body


def pose_frames(angles: dict[str, np.ndarray], heading: np.ndarray) -> dict[str, Rotation]:
    """World rotation (T,) of the frame of each carrying point, from angles (T,) by channel and heading (T,) in degrees."""

    def turn(axes: str, *degrees: np.ndarray) -> Rotation:
        return Rotation.from_euler(axes, np.stack(degrees, axis=-1), degrees=True)

    level = turn("Y", heading)
    frames = {"pelvis": level * turn("X", angles["pitch"])}
    vertebra = turn("YZX", angles["twist"] / 3, -angles["lean"] / 3, angles["bend"] / 3)
    for below, above in (("pelvis", "spine_low"), ("spine_low", "spine_mid"), ("spine_mid", "chest")):
        frames[above] = frames[below] * vertebra
    frames["neck"] = frames["chest"] * turn("X", angles["nod"])
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        at = {name: angles[f"{side}_{name}"] for name in ARMS + LEGS}
        # From the T-pose: the arm's own axis, then down to the side (90 degrees) and out again, forwards, across.
        swing = turn("YX", -sign * at["arm_in"], -at["arm_fwd"])
        hang = turn("ZX", sign * (at["arm_out"] - 90.0), -at["arm_twist"])
        frames[f"{side}_shoulder"] = frames["chest"] * swing * hang
        frames[f"{side}_elbow"] = frames[f"{side}_shoulder"] * turn("Y", -sign * at["elbow"])
        foot_heading = level * turn("Y", at["hip_turn"])
        frames[f"{side}_hip"] = foot_heading * turn("ZX", sign * at["hip_out"], -at["thigh"])
        frames[f"{side}_knee"] = frames[f"{side}_hip"] * turn("X", at["knee"])
        frames[f"{side}_ankle"] = foot_heading * turn("X", -at["foot"])
    return frames


def sole_positions(body: dict[str, np.ndarray], frames: dict[str, Rotation]) -> np.ndarray:
    """Heels and toes relative to the pelvis, (T, 4, 3), metres, of points (3,) carried by rotations (T,)."""
    soles = []
    for side in SIDES:
        ankle = np.zeros(3)
        for below, above in (("pelvis", "hip"), ("hip", "knee"), ("knee", "ankle")):
            start = "pelvis" if below == "pelvis" else f"{side}_{below}"
            ankle = ankle + frames[start].apply(body[f"{side}_{above}"] - body[start])
        to_toe = body[f"{side}_toe"] - body[f"{side}_ankle"]
        # A heel is half a foot's length behind the ankle's front, on the floor with the toe when the foot is flat.
        to_heel = to_toe * [1.0, 1.0, -0.3]
        soles += [ankle + frames[f"{side}_ankle"].apply(offset) for offset in (to_heel, to_toe)]
    return np.stack(soles, axis=1)


def flight_times(clip: Clip, params: dict[str, Any], start: float, end: float, period: float) -> list[tuple[float, float]]:
    """(take-off, landing) in seconds. A gait flies in full swing only."""
    if not clip.gait:
        repetitions = range(params["count"] or params["cycles"])
        return [(start + (i + a) * period, start + (i + b) * period) for i in repetitions for a, b in clip.flight]
    origin, ramp = start - params["phase"] * period, 0.4 * period
    every = [(origin + (i + a) * period, origin + (i + b) * period) for i in range(20) for a, b in clip.flight]
    return [(a, b) for a, b in every if a > start + ramp and b < end - ramp]


def root_path(
    soles: np.ndarray, times: np.ndarray, flights: list[tuple[float, float]], leap: np.ndarray | None
) -> np.ndarray:
    """Pelvis (T, 3) such that standing soles stay where they are, and a body in the air follows a parabola.

    Args:
        soles: Heels and toes relative to the pelvis, (T, 4, 3), metres.
        times: (T,) seconds.
        flights: (take-off, landing) in seconds.
        leap: Displacement (3,) that one flight adds up to, from standing to standing, metres. `None`: a flight goes on
            as fast as the body moves just before and after it.
    """
    airborne = np.zeros(len(times), dtype=bool)
    arc, flown = np.zeros(len(times)), np.zeros(len(times))
    for takeoff, landing in flights:
        airborne |= (times > takeoff) & (times < landing)
        arc += 0.5 * _GRAVITY * np.maximum(times - takeoff, 0.0) * np.maximum(landing - times, 0.0)
        flown += np.clip((times - takeoff) / (landing - takeoff), 0.0, 1.0)
    clearance = -soles[..., 1].min(axis=1)
    height = np.interp(times, times[~airborne], clearance[~airborne]) + arc

    # Of soles within some millimetres of the lowest, each has a say in which one carries the body.
    heights = 0.5 * (soles[1:, :, 1] + soles[:-1, :, 1])
    steps = -(softmax(-heights / 0.005, axis=1)[..., None] * np.diff(soles, axis=0)).sum(axis=1)
    in_air = airborne[1:] | airborne[:-1]
    middles = 0.5 * (times[1:] + times[:-1])
    standing = ~in_air
    for axis in (0, 2):
        goes_on = leap is None and standing.any()
        steps[in_air, axis] = np.interp(middles[in_air], middles[standing], steps[standing, axis]) if goes_on else 0.0
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    if flights and leap is not None:
        # Rolling over the feet has moved the body too; the flights make up for that.
        path += flown[:, None] * (leap - path[-1] / len(flights))
    path[:, 1] = np.maximum(height, clearance)
    return path


def forward_kinematics(
    skeleton: Skeleton, body: dict[str, np.ndarray], frames: dict[str, Rotation], root: np.ndarray
) -> np.ndarray:
    """Joints (T, J, 3) in metres, of points (3,) carried by rotations (T,), with the pelvis on its path `root` (T, 3)."""
    joints = np.zeros((len(root), skeleton.num_nodes, 3))
    points = [point or "" for point in skeleton.points]
    marked = [joint for joint in skeleton.topological_order if points[joint]]
    placed = [marked[0]]
    for joint in marked[1:]:
        parent = skeleton.parents[joint]
        while parent not in placed:  # joints that mark no point bend nothing
            parent = skeleton.parents[parent] if parent >= 0 else placed[0]
        bone = body[points[joint]] - body[points[parent]]
        joints[:, joint] = joints[:, parent] + frames[_CARRIERS[points[joint]]].apply(bone)
        placed.append(joint)
    for joint in skeleton.topological_order:
        if joint not in placed:  # at the joint that they hang from
            joints[:, joint] = joints[:, max(skeleton.parents[joint], 0)]
    return (joints - joints[:, skeleton.pelvis, None] + root[:, None])[:, : skeleton.num_joints]
