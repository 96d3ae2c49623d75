"""Captioned human motions made from joint-angle keyframes: data for tests, examples and controlled experiments.

This module draws a motion, words it and sets its joint angles over time; `kinematics` turns the angles into joints.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from motionpatches.processing.canonical import from_y_up
from motionpatches.processing.kinematics import (
    ARMS,
    LEGS,
    SIDES,
    draw_body,
    flight_times,
    forward_kinematics,
    pose_frames,
    root_path,
    sole_positions,
    unsided,
)
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
from motionpatches.processing.skeletons import UNITS, Skeleton, get_skeleton


_TRUNK = ("pitch", "bend", "twist", "lean", "nod")
_CHANNELS = (*_TRUNK, *(f"{side}_{name}" for side in SIDES for name in ARMS + LEGS))


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

    rest = {channel: REST.get(unsided(channel), 0.0) for channel in _CHANNELS}
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

    body = draw_body(rng, params["size"])
    frames = pose_frames(angles, params["heading"] + turned)
    flights = flight_times(clip, params, start, end, period)
    leap = Rotation.from_euler("y", params["heading"], degrees=True).apply([clip.leap[1], 0.0, clip.leap[0]])
    leap *= params["leg_amplitude"]
    root = root_path(sole_positions(body, frames), times, flights, None if clip.gait else leap)
    joints = forward_kinematics(skeleton, body, frames, root) / UNITS[skeleton.unit]
    return from_y_up(joints, skeleton).astype(np.float32)


def _limits(channel: str) -> tuple[float, float]:
    return LIMITS.get(unsided(channel), (-math.inf, math.inf))


def _gain(channel: str, params: dict[str, Any], action: Action) -> float:
    return (params["arm_amplitude"] if unsided(channel) in ARMS else params["leg_amplitude"]) ** action.gain


def _near_sides(clip: Clip, action: Action, params: dict[str, Any]) -> list[tuple[str, ...]]:
    """The acting side or sides of each repetition."""
    side = clip.near or params["side"] or "both"
    repetitions = params["count"] or params["cycles"]
    if side != "both":
        return [(side,)] * repetitions
    return [(SIDES[i % 2],) if action.alternate else SIDES for i in range(repetitions)]


def _targets(channel: str, near: tuple[str, ...]) -> dict[str, float]:
    """The channels of the body that a clip's channel drives, and the sign with which."""
    prefix, name = channel.partition("_")[0], unsided(channel)
    if name in _TRUNK:
        return {name: -1.0 if prefix == "near" and near == ("right",) else 1.0}
    sides = {"near": near, "far": [side for side in SIDES if side not in near], "both": SIDES}[prefix]
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
        name = unsided(channel)
        held = clip.hold.get(name, rest[channel])
        delta: float | np.ndarray = held - rest[channel]
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
    for side, late in zip(SIDES, (0.0, 0.5), strict=True):
        strikes = origin + period * (np.arange(-2, math.ceil((times[-1] - origin) / period) + 2) - late)
        headings = np.interp(strikes + 0.5 * stance * period, times, turned)
        knots = np.stack([strikes, strikes + stance * period], axis=1).ravel()
        angles[f"{side}_hip_turn"] = PchipInterpolator(knots, np.repeat(headings, 2))(times) - turned


def _with_noise(angles: dict[str, np.ndarray], times: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Slow wavering of every joint; the legs' is small, because they carry the body."""
    frequencies = rng.uniform(0.15, 0.7, (len(_CHANNELS), 2))
    phases = rng.uniform(0.0, 2.0 * np.pi, (len(_CHANNELS), 2))
    degrees = np.array([0.2 if unsided(channel) in LEGS else 1.2 for channel in _CHANNELS])
    waves = np.sin(2.0 * np.pi * frequencies[..., None] * times + phases[..., None]).sum(axis=1) * degrees[:, None]
    return {channel: angles[channel] + wave for channel, wave in zip(_CHANNELS, waves, strict=True)}
