"""Captioned human motions made from joint-angle keyframes: data for tests, examples and controlled experiments.

Angles → rotations → joints by forward kinematics. Where the body goes follows from its feet: the lowest point of the soles
is on the floor, and the foot that carries the body stays where it is. In the air, the body is a projectile.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation
from scipy.special import softmax

from motionpatches.processing.procedural_actions import (
    ACTIONS,
    ANGLE_WORDS,
    COUNT_WORDS,
    LIMITS,
    REST,
    SPEED_WORDS,
    SUBJECTS,
    Action,
    Clip,
    Keys,
)
from motionpatches.processing.skeletons import BODY_POINTS, UNITS, Skeleton, get_skeleton


_GRAVITY = 9.81
_SIDES = ("left", "right")
_TRUNK = ("pitch", "bend", "twist", "lean", "nod")
_ARMS = ("arm_fwd", "arm_out", "arm_in", "arm_twist", "elbow")
_LEGS = ("thigh", "knee", "hip_out", "foot", "hip_turn")
_CHANNELS = (*_TRUNK, *(f"{side}_{name}" for side in _SIDES for name in _ARMS + _LEGS))

# The point whose frame carries the bone that ends at a point. It belongs to the body and not to a skeleton, so a skeleton
# that leaves points out bends all the same, and shoulders that hang from a neck joint do not nod with the head.
_MEDIAN_CARRIERS = {
    "pelvis": "pelvis",
    "spine_low": "pelvis",
    "spine_mid": "spine_low",
    "chest": "spine_mid",
    "neck": "chest",
    "neck_high": "neck",
    "head": "neck",
    "head_top": "neck",
}
_SIDED_CARRIERS = {"hip": "pelvis", "collar": "chest", "shoulder": "chest"}
_LIMB_CARRIERS = {"knee": "hip", "ankle": "knee", "midfoot": "ankle", "toe": "ankle", "elbow": "shoulder"}
_LIMB_CARRIERS |= dict.fromkeys(("wrist", "palm", "hand", "fingers", "thumb"), "elbow")
_CARRIERS = {
    **_MEDIAN_CARRIERS,
    **{f"{side}_{point}": carrier for side in _SIDES for point, carrier in _SIDED_CARRIERS.items()},
    **{f"{side}_{point}": f"{side}_{carrier}" for side in _SIDES for point, carrier in _LIMB_CARRIERS.items()},
}


def list_actions() -> list[str]:
    """Names that `make_motions` takes as `actions`, sorted."""
    return sorted(ACTIONS)


def make_motions(
    num: int,
    skeleton: str | Skeleton = "smpl22",
    seed: int = 0,
    fps: float = 20.0,
    actions: Sequence[str] | None = None,
    tempo: tuple[float, float] = (0.7, 1.4),
    amplitude: tuple[float, float] = (0.8, 1.2),
) -> list[dict[str, Any]]:
    """Make captioned motions of known actions, each with its own body, speed, side, direction and count.

    The motions depend on `seed` and their index only: a longer list begins with the shorter one, and two skeletons, frame
    rates or ranges of tempo get the same actions, sides, directions and counts. Each block of `len(actions)` motions has
    every action once.

    Args:
        num: Number of motions.
        skeleton: Name of a skeleton, or a `Skeleton`.
        seed: Non-negative seed.
        fps: Frames per second.
        actions: Names out of `list_actions()`; all of them by default.
        tempo: Smallest and largest tempo to draw; 2 is twice as fast. A motion lasts 1 to 8 s for tempos of 0.7 and more.
        amplitude: Smallest and largest factor on the movements of arms and of legs, drawn separately. Angles are cut at
            what joints allow; far above 1.5, hands can reach through the floor.

    Returns:
        One dict per motion: `id`; `joints`, float32 (T, J, 3), in the unit and with the up axis that the skeleton
        declares (for the named skeletons y up; millimetres for kit21, else metres), floor at height 0; `skeleton`, its
        name; `fps`; `captions`, 2 to 4 different sentences; `label`, which completes "A person {label}."; `params`, what
        was drawn, ready for JSON.

    Raises:
        ValueError: If an argument is out of range or an action is unknown.
    """
    _check_integer("num", num)
    _check_integer("seed", seed)
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise ValueError(f"fps is {fps!r}; expected a positive number of frames per second, such as 20.0")
    names = _check_actions(actions)
    _check_range("tempo", tempo)
    _check_range("amplitude", amplitude)
    skeleton = get_skeleton(skeleton)
    motions = []
    for index in range(num):
        block, position = divmod(index, len(names))
        name = names[np.random.default_rng([seed, block, 1]).permutation(len(names))[position]]
        rng = np.random.default_rng([seed, index])
        params = _draw_params(name, rng, tempo, amplitude)
        motions.append(
            {
                "id": f"procedural-{seed}-{index:06d}",
                "joints": _animate(params, skeleton, float(fps), rng),
                "skeleton": skeleton.name,
                "fps": float(fps),
                "captions": _captions(params, np.random.default_rng([seed, index, 2])),
                "label": ACTIONS[name].label,
                "params": params,
            }
        )
    return motions


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} is {value!r}; expected an integer that is not negative, such as 100")


def _check_actions(actions: Sequence[str] | None) -> list[str]:
    if actions is None:
        return list_actions()
    known = f"known: {', '.join(list_actions())}"
    if isinstance(actions, str) or not isinstance(actions, Iterable):
        raise ValueError(f"actions is {actions!r}; expected a list of names, such as ['walk', 'wave']; {known}")
    names = list(actions)
    unknown = [name for name in names if name not in ACTIONS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(f"actions is {names}, of which {unknown} are unknown; give at least one name, each once; {known}")
    return names


def _check_range(name: str, value: Any) -> None:
    is_pair = isinstance(value, Sequence) and len(value) == 2 and all(isinstance(bound, int | float) for bound in value)
    if not (is_pair and 0 < value[0] <= value[1] < math.inf):
        raise ValueError(
            f"{name} is {value!r}; expected (smallest, largest) with 0 < smallest <= largest, such as (0.8, 1.2)"
        )


# ---- drawing ------------------------------------------------------------------------------------------------------------


def _draw_params(
    name: str, rng: np.random.Generator, tempo: tuple[float, float], amplitude: tuple[float, float]
) -> dict[str, Any]:
    """What a motion is to be. The number of draws does not depend on the ranges, so neither does what follows."""
    action = ACTIONS[name]
    direction = _choose(rng, sorted(action.clips))
    side = _choose(rng, sorted(action.sides))
    degrees = _choose(rng, action.degrees)
    count = _choose(rng, action.counts)
    cycles = int(rng.integers(action.cycles[0], action.cycles[1] + 1))
    if action.alternate and side == "both":
        count = max(count, 2)
    drawn_tempo = tempo[0] * (tempo[1] / tempo[0]) ** rng.random()
    arms, legs = amplitude[0] + (amplitude[1] - amplitude[0]) * rng.random(2)
    return {
        "action": name,
        "side": side,
        "direction": direction or None,
        "degrees": degrees if action.clips[direction].turn else None,
        "count": count,
        "cycles": None if action.counts else cycles,
        "speed": "slow" if drawn_tempo < 0.88 else "fast" if drawn_tempo > 1.14 else "normal",
        "tempo": drawn_tempo,
        "arm_amplitude": float(arms),
        "leg_amplitude": float(legs),
        "size": float(rng.uniform(0.88, 1.1)),
        "heading": float(rng.uniform(-180.0, 180.0)),
        "lead": float(rng.uniform(0.15, 0.4)),
        "tail": float(rng.uniform(0.15, 0.4)),
        "phase": float(rng.random()),
    }


def _choose(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of `options`, or None; always one draw."""
    draw = rng.random()
    return options[int(draw * len(options))] if options else None


def _captions(params: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """2 to 4 sentences, each with another phrase. The first says all that was drawn, the others perhaps less."""
    action = ACTIONS[params["action"]]
    others = [str(phrase) for phrase in rng.permutation(action.phrases[1:])[: int(rng.integers(1, 4))]]
    full = _caption(action, action.phrases[0], params, rng, keep=1.0)
    return [full, *(_caption(action, phrase, params, rng, keep=0.6) for phrase in others)]


def _caption(action: Action, phrase: str, params: dict[str, Any], rng: np.random.Generator, keep: float) -> str:
    words = {
        "side": action.sides.get(params["side"]),
        "direction": action.directions.get(params["direction"]),
        "angle": ANGLE_WORDS.get(params["degrees"]),
        "count": COUNT_WORDS.get(params["count"]),
        "speed": SPEED_WORDS[params["speed"]],
    }
    # "reaches up with ..." needs its object; elsewhere a slot can stay empty.
    needed = {"side"} if params["action"] == "raise arm" else set()
    said = {
        slot: str(rng.choice(options)) if options and (rng.random() < keep or slot in needed) else ""
        for slot, options in words.items()
    }
    sentence = f"{rng.choice(SUBJECTS)} {phrase} {{count}} {{speed}}".format(**said)
    return " ".join(sentence.split()) + "."


# ---- joint angles -------------------------------------------------------------------------------------------------------


def _animate(params: dict[str, Any], skeleton: Skeleton, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Joints (T, J, 3), float32, in the skeleton's unit and with its up axis."""
    action = ACTIONS[params["action"]]
    clip = action.clips[params["direction"] or ""]
    period = clip.period / params["tempo"]
    intro = 0.45 / params["tempo"] if clip.hold and not clip.gait else 0.0
    start = params["lead"] + intro
    end = start + (params["count"] or params["cycles"]) * period
    total = max(end + intro + params["tail"], 1.0)
    times = np.arange(max(2, round(total * fps))) / fps

    rest = {channel: REST.get(_name(channel), 0.0) for channel in _CHANNELS}
    gains = {channel: _gain(channel, params, action) for channel in _CHANNELS}
    if clip.gait:
        angles = _gait_angles(clip, rest, gains, times, start, end, period, params["phase"])
    else:
        near = _near_sides(clip, action, params)
        angles = _repeated_angles(clip, near, rest, gains, times, start, period, intro)
    turned = clip.turn * (params["degrees"] or 0) * _ease((times - start) / (end - start))
    if clip.turn:
        _plant_turning_feet(angles, turned, times, start - params["phase"] * period, period)
    angles = {channel: np.clip(angle, *_limits(channel)) for channel, angle in _with_noise(angles, times, rng).items()}

    body = _draw_body(rng, params["size"])
    frames = _frames(angles, params["heading"] + turned)
    flights = _flights(clip, params, start, end, period)
    leap = Rotation.from_euler("y", params["heading"], degrees=True).apply([clip.leap[1], 0.0, clip.leap[0]])
    leap *= params["leg_amplitude"]
    root = _root_path(_soles(body, frames), times, flights, None if clip.gait else leap)
    joints = _forward_kinematics(skeleton, body, frames, root) / UNITS[skeleton.unit]
    if skeleton.up_axis == "z":
        joints = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)
    return joints.astype(np.float32)


def _name(channel: str) -> str:
    """`left_knee` → `knee`."""
    prefix, _, name = channel.partition("_")
    return name if prefix in ("left", "right", "near", "far", "both") else channel


def _limits(channel: str) -> tuple[float, float]:
    return LIMITS.get(_name(channel), (-math.inf, math.inf))


def _gain(channel: str, params: dict[str, Any], action: Action) -> float:
    return (params["arm_amplitude"] if _name(channel) in _ARMS else params["leg_amplitude"]) ** action.gain


def _near_sides(clip: Clip, action: Action, params: dict[str, Any]) -> list[tuple[str, ...]]:
    """The acting side or sides of each repetition."""
    side = clip.near or params["side"] or "both"
    repetitions = params["count"] or params["cycles"]
    if side != "both":
        return [(side,)] * repetitions
    return [(_SIDES[i % 2],) if action.alternate else _SIDES for i in range(repetitions)]


def _targets(channel: str, near: tuple[str, ...]) -> dict[str, float]:
    """The channels of the body that a clip's channel drives, and the sign with which."""
    prefix, name = channel.partition("_")[0], _name(channel)
    if name in _TRUNK:
        return {name: -1.0 if prefix == "near" and near == ("right",) else 1.0}
    sides = {"near": near, "far": [side for side in _SIDES if side not in near], "both": _SIDES}[prefix]
    return {f"{side}_{name}": 1.0 for side in sides}


def _ease(fraction: np.ndarray) -> np.ndarray:
    """0 → 1 with zero slope at both ends."""
    fraction = np.clip(fraction, 0.0, 1.0)
    return fraction**2 * (3.0 - 2.0 * fraction)


def _repeated_angles(
    clip: Clip,
    near: list[tuple[str, ...]],
    rest: dict[str, float],
    gains: dict[str, float],
    times: np.ndarray,
    start: float,
    period: float,
    intro: float,
) -> dict[str, np.ndarray]:
    """Angles (T,) by channel: rest, plus what is held, plus the keys of every repetition."""
    held, hold_gains = dict(rest), dict(gains)
    for channel, angle in clip.hold.items():
        targets = _targets(channel, near[0])
        held |= {target: sign * angle for target, sign in targets.items()}
        if channel in clip.fixed and channel not in clip.keys:
            hold_gains |= dict.fromkeys(targets, 1.0)
    weight = np.ones_like(times)
    if intro:
        end = start + len(near) * period
        weight = _ease((times - start + intro) / intro) - _ease((times - end) / intro)
    angles = {c: rest[c] + hold_gains[c] * (held[c] - rest[c]) * weight for c in _CHANNELS}
    for channel, knots in _knots(clip, near, held, gains).items():
        phases, deltas = np.array(knots).T
        curve = PchipInterpolator(phases, deltas)
        angles[channel] += curve(np.clip((times - start) / period, phases[0], phases[-1]))
    return angles


def _knots(
    clip: Clip, near: list[tuple[str, ...]], held: dict[str, float], gains: dict[str, float]
) -> dict[str, list[tuple[float, float]]]:
    """Channel → (phase, degrees away from the held angle), phases counting on over the repetitions."""
    knots: dict[str, list[tuple[float, float]]] = {}
    for repetition, sides in enumerate(near):
        for channel, keys in clip.keys.items():
            for target, sign in _targets(channel, sides).items():
                line = knots.setdefault(target, [])
                gain = 1.0 if channel in clip.fixed else gains[target]
                offsets = [(u, 0.0 if angle is None else gain * (sign * angle - held[target])) for u, angle in keys]
                if offsets[0][0] > 0.0:
                    offsets.insert(0, (0.0, 0.0))
                if offsets[-1][0] < 1.0:
                    offsets.append((1.0, 0.0))
                # The end of one repetition is the beginning of the next.
                line.extend((repetition + u, d) for u, d in offsets if not line or repetition + u > line[-1][0] + 1e-9)
    return knots


def _gait_angles(
    clip: Clip,
    rest: dict[str, float],
    gains: dict[str, float],
    times: np.ndarray,
    start: float,
    end: float,
    period: float,
    phase: float,
) -> dict[str, np.ndarray]:
    """Angles (T,) by channel of legs that alternate, swelling from standing and dying away to it."""
    ramp = 0.5 * period
    swell = _ease((times - start) / ramp) * _ease((end - times) / ramp)
    cycles = (times - start) / period * (-1.0 if clip.reverse else 1.0) + phase
    angles = {}
    for channel in _CHANNELS:
        name = _name(channel)
        held = clip.hold.get(name, rest[channel])
        delta = held - rest[channel]
        if name in clip.keys:
            late = 0.5 if channel.startswith("right") else 0.0
            delta = delta + _cyclic(clip.keys[name], held, cycles + late)
        angles[channel] = rest[channel] + gains[channel] * delta * swell
    return angles


def _cyclic(keys: Keys, held: float, cycles: np.ndarray) -> np.ndarray:
    """Degrees away from `held`, repeated every whole cycle."""
    phases = np.array([u for u, _ in keys])
    deltas = np.array([0.0 if angle is None else angle - held for _, angle in keys])
    curve = PchipInterpolator(np.concatenate([phases - 1, phases, phases + 1]), np.tile(deltas, 3))
    return curve(cycles % 1.0)


def _plant_turning_feet(
    angles: dict[str, np.ndarray], turned: np.ndarray, times: np.ndarray, origin: float, period: float
) -> None:
    """Keep a foot's heading while it stands and turn it on while it swings, by rotating the hips against the pelvis."""
    stance = 0.6
    for side, late in zip(_SIDES, (0.0, 0.5), strict=True):
        strikes = origin + period * (np.arange(-2, math.ceil((times[-1] - origin) / period) + 2) - late)
        headings = np.interp(strikes + 0.5 * stance * period, times, turned)
        knots = np.stack([strikes, strikes + stance * period], axis=1).ravel()
        angles[f"{side}_hip_turn"] = PchipInterpolator(knots, np.repeat(headings, 2))(times) - turned


def _with_noise(angles: dict[str, np.ndarray], times: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Slow wavering of every joint; the legs' is small, because they carry the body."""
    frequencies = rng.uniform(0.15, 0.7, (len(_CHANNELS), 2))
    phases = rng.uniform(0.0, 2.0 * np.pi, (len(_CHANNELS), 2))
    degrees = np.array([0.2 if _name(channel) in _LEGS else 1.2 for channel in _CHANNELS])
    waves = np.sin(2.0 * np.pi * frequencies[..., None] * times + phases[..., None]).sum(axis=1) * degrees[:, None]
    return {channel: angles[channel] + wave for channel, wave in zip(_CHANNELS, waves, strict=True)}


# ---- from angles to joints ----------------------------------------------------------------------------------------------


def _draw_body(rng: np.random.Generator, size: float) -> dict[str, np.ndarray]:
    """A body of its own proportions: point → position (3,) in the T-pose, metres."""
    trunk, arms, legs = size * rng.uniform(0.95, 1.05, 3)
    body: dict[str, np.ndarray] = {"pelvis": np.zeros(3)}
    pelvis = np.array(BODY_POINTS["pelvis"])
    hip, shoulder = np.array(BODY_POINTS["left_hip"]), np.array(BODY_POINTS["left_shoulder"])
    mirror = np.array([-1.0, 1.0, 1.0])
    for point, xyz in BODY_POINTS.items():
        side = mirror if point.startswith("right") else np.ones(3)
        name = _name(point)
        if name in ("knee", "ankle", "midfoot", "toe"):
            body[point] = trunk * side * (hip - pelvis) + legs * (xyz - side * hip)
        elif name in ("elbow", *(n for n, carrier in _LIMB_CARRIERS.items() if carrier == "elbow")):
            body[point] = trunk * side * (shoulder - pelvis) + arms * (xyz - side * shoulder)
        else:
            body[point] = trunk * (xyz - pelvis)
    return body


def _frames(angles: dict[str, np.ndarray], heading: np.ndarray) -> dict[str, Rotation]:
    """World rotation (T,) of the frame of each carrying point."""

    def turn(axes: str, *degrees: np.ndarray) -> Rotation:
        return Rotation.from_euler(axes, np.stack(degrees, axis=-1), degrees=True)

    level = turn("Y", heading)
    frames = {"pelvis": level * turn("X", angles["pitch"])}
    vertebra = turn("YZX", angles["twist"] / 3, -angles["lean"] / 3, angles["bend"] / 3)
    for below, above in (("pelvis", "spine_low"), ("spine_low", "spine_mid"), ("spine_mid", "chest")):
        frames[above] = frames[below] * vertebra
    frames["neck"] = frames["chest"] * turn("X", angles["nod"])
    for side, sign in zip(_SIDES, (1.0, -1.0), strict=True):
        at = {name: angles[f"{side}_{name}"] for name in _ARMS + _LEGS}
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


def _soles(body: dict[str, np.ndarray], frames: dict[str, Rotation]) -> np.ndarray:
    """Heels and toes relative to the pelvis, (T, 4, 3)."""
    soles = []
    for side in _SIDES:
        ankle = np.zeros(3)
        for below, above in (("pelvis", "hip"), ("hip", "knee"), ("knee", "ankle")):
            start = "pelvis" if below == "pelvis" else f"{side}_{below}"
            ankle = ankle + frames[start].apply(body[f"{side}_{above}"] - body[start])
        to_toe = body[f"{side}_toe"] - body[f"{side}_ankle"]
        # A heel is half a foot's length behind the ankle's front, on the floor with the toe when the foot is flat.
        to_heel = to_toe * [1.0, 1.0, -0.3]
        soles += [ankle + frames[f"{side}_ankle"].apply(offset) for offset in (to_heel, to_toe)]
    return np.stack(soles, axis=1)


def _flights(clip: Clip, params: dict[str, Any], start: float, end: float, period: float) -> list[tuple[float, float]]:
    """(take-off, landing) in seconds. A gait flies in full swing only."""
    if not clip.gait:
        repetitions = range(params["count"] or params["cycles"])
        return [(start + (i + a) * period, start + (i + b) * period) for i in repetitions for a, b in clip.flight]
    origin, ramp = start - params["phase"] * period, 0.4 * period
    every = [(origin + (i + a) * period, origin + (i + b) * period) for i in range(20) for a, b in clip.flight]
    return [(a, b) for a, b in every if a > start + ramp and b < end - ramp]


def _root_path(
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


def _forward_kinematics(
    skeleton: Skeleton, body: dict[str, np.ndarray], frames: dict[str, Rotation], root: np.ndarray
) -> np.ndarray:
    """Joints (T, J, 3) in metres, with the pelvis on its path `root` (T, 3)."""
    joints = np.zeros((len(root), skeleton.num_joints, 3))
    for joint in skeleton.topological_order[1:]:
        parent, point = skeleton.parents[joint], skeleton.points[joint]
        bone = body[point] - body[skeleton.points[parent]]
        joints[:, joint] = joints[:, parent] + frames[_CARRIERS[point]].apply(bone)
    pelvis = skeleton.landmarks["pelvis"]
    return joints - joints[:, pelvis, None] + root[:, None]
