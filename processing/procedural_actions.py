"""The actions of `procedural`, as data: keyframes of joint angles, and the words for them.

Angles are in degrees, relative to a body that stands with its arms hanging, and positive in the direction a joint bends:

    thigh, foot        forwards or toe up, measured in the world, so that 0 is a vertical thigh and a flat foot
    knee, elbow        flexion
    hip_out, arm_out   away from the midline
    arm_fwd, arm_in    arm lifted forwards; then swung across the body about the vertical
    arm_twist          upper arm about its own axis: 90 turns a forearm that points forwards to point up
    pitch, bend        lean of the pelvis, and further lean of the spine, forwards
    twist, lean, nod   spine to the left about its axis, spine to the left sideways, head forwards

A limb's channel begins with `near_` (the acting side), `far_` or `both_`; `near_twist` and `near_lean` go towards the
acting side. In a gait the limbs have no such prefix: the right one follows half a cycle after the left one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


Keys = tuple[tuple[float, float | None], ...]

#: Posture that a motion starts from and, mostly, returns to. Absent channels rest at 0.
REST = {"arm_out": 9.0, "elbow": 15.0, "thigh": 2.0, "knee": 4.0, "hip_out": 2.0}

#: What human joints allow, roughly; amplitudes and noise are cut here.
LIMITS = {
    "pitch": (-30.0, 60.0),
    "bend": (-30.0, 60.0),
    "twist": (-60.0, 60.0),
    "nod": (-45.0, 45.0),
    "knee": (0.0, 150.0),
    "elbow": (0.0, 150.0),
    "thigh": (-50.0, 130.0),
    "foot": (-75.0, 45.0),
    "hip_out": (-20.0, 50.0),
    "hip_turn": (-50.0, 50.0),
    "arm_fwd": (-60.0, 178.0),
    "arm_out": (-10.0, 178.0),
}


@dataclass(frozen=True)
class Clip:
    """One way of moving, played `count` times (or for a number of gait cycles).

    Args:
        keys: Channel → (phase, angle) pairs, phase 0..1 of one repetition. `None` is the angle that the channel is held at;
            a repetition begins and ends there unless the keys say otherwise.
        period: Seconds for one repetition at tempo 1.
        hold: Channel → angle held during all repetitions.
        fixed: Channels that no amplitude scales, because hands have to meet, say: their keys, or what is held if without keys.
        gait: The keys are one leg's cycle, phase 0 its foot strike; the legs alternate.
        flight: Phases (take-off, landing) in the air.
        leap: Metres forwards and to the left that one flight gains.
        turn: 1 to turn left meanwhile, -1 right, 0 straight on.
        reverse: Play the gait backwards.
        near: Acting side, where the direction decides it.
    """

    keys: Mapping[str, Keys]
    period: float
    hold: Mapping[str, float] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    gait: bool = False
    flight: tuple[tuple[float, float], ...] = ()
    leap: tuple[float, float] = (0.0, 0.0)
    turn: int = 0
    reverse: bool = False
    near: str | None = None


@dataclass(frozen=True)
class Action:
    """An action: its clips and its words.

    Args:
        label: Fits "A person {label}.".
        clips: Direction → clip; the key `""` where there is no direction.
        phrases: At least four, with the slots `{side}`, `{direction}` and `{angle}` where they apply; the first has them all.
        sides: Side → wordings. Empty where sides make no difference.
        directions: Direction → wordings.
        counts: Numbers of repetitions to draw from; empty for a gait, and for what is done once and not counted.
        cycles: Smallest and largest number of repetitions where they are not counted.
        degrees: Angles to draw from for a clip that turns.
        alternate: With side `"both"`, the sides take turns instead of acting together.
        gain: How strongly the drawn amplitude acts: 1 fully, 0 not at all.
    """

    label: str
    clips: Mapping[str, Clip]
    phrases: tuple[str, ...]
    sides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    directions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: tuple[int, ...] = ()
    cycles: tuple[int, int] = (1, 1)
    degrees: tuple[int, ...] = ()
    alternate: bool = False
    gain: float = 1.0


SUBJECTS = ("a person", "someone", "the figure", "the person", "a human")
COUNT_WORDS = {1: ("once", "one time"), 2: ("twice", "two times"), 3: ("three times",), 4: ("four times",)}
SPEED_WORDS = {"slow": ("slowly", "in a slow manner"), "fast": ("quickly", "fast", "in a fast manner"), "normal": ("",)}
ANGLE_WORDS = {90: ("90 degrees", "by a quarter turn"), 180: ("180 degrees", "by a half turn")}


def _sides(*templates: str, both: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    words = {side: tuple(template.format(side) for template in templates) for side in ("left", "right")}
    return words | ({"both": both} if both else {})


_CURVES = {
    "curve left": ("in a curve to the left", "along an arc that bends left"),
    "curve right": ("in a curve to the right", "along an arc that bends right"),
}
_ONWARDS = {"forward": ("forward", "straight ahead"), "backward": ("backward", "backwards")}
_SIDEWAYS = {"left": ("sideways to the left",), "right": ("sideways to the right",)}

# Joint angles of walking and running after the textbook curves of clinical gait analysis, rounded.
_WALK = Clip(
    period=1.1,
    gait=True,
    keys={
        "thigh": ((0.0, 27), (0.12, 22), (0.5, -20), (0.62, -8), (0.85, 32)),
        "knee": ((0.0, 5), (0.13, 16), (0.4, 5), (0.5, 12), (0.62, 42), (0.73, 66), (0.95, 6)),
        "foot": ((0.0, 18), (0.1, 0), (0.38, 0), (0.6, -52), (0.75, -16), (0.9, 14)),
        "arm_fwd": ((0.0, -24), (0.5, 22)),
        "elbow": ((0.0, 14), (0.5, 32)),
        "twist": ((0.0, 7), (0.5, -7)),
    },
    hold={"pitch": 3},
)
_RUN = Clip(
    period=0.72,
    gait=True,
    flight=((0.34, 0.5), (0.84, 1.0)),
    keys={
        "thigh": ((0.0, 32), (0.14, 14), (0.34, -22), (0.55, 8), (0.8, 55), (0.93, 40)),
        "knee": ((0.0, 22), (0.14, 40), (0.34, 12), (0.58, 100), (0.75, 95), (0.93, 26)),
        "foot": ((0.0, 6), (0.06, 0), (0.16, 0), (0.34, -58), (0.56, -85), (0.8, -25), (0.94, 6)),
        "arm_fwd": ((0.0, -42), (0.5, 34)),
        "twist": ((0.0, 10), (0.5, -10)),
    },
    hold={"pitch": 8, "elbow": 85},
)
_SIDESTEP = Clip(
    period=0.95,
    keys={
        "near_hip_out": ((0.1, None), (0.4, 16), (0.6, 16), (0.9, None)),
        "far_hip_out": ((0.1, None), (0.4, 16), (0.6, 16), (0.9, None)),
        "near_thigh": ((0.0, None), (0.25, 20), (0.48, None)),
        "near_knee": ((0.0, None), (0.25, 42), (0.48, None)),
        "far_thigh": ((0.52, None), (0.75, 18), (1.0, None)),
        "far_knee": ((0.52, None), (0.75, 40), (1.0, None)),
    },
)
_STEP_IN_PLACE = Clip(
    period=0.95,
    gait=True,
    keys={
        "thigh": ((0.0, None), (0.6, None), (0.8, 24)),
        "knee": ((0.0, None), (0.6, None), (0.8, 48)),
        "foot": ((0.0, 0), (0.6, 0), (0.78, -18)),
        "arm_fwd": ((0.3, 6), (0.8, -6)),
    },
)
_MARCH = Clip(
    period=1.05,
    gait=True,
    keys={
        "thigh": ((0.0, None), (0.54, None), (0.77, 80)),
        "knee": ((0.0, None), (0.54, None), (0.77, 88)),
        "foot": ((0.0, 0), (0.54, 0), (0.75, -15)),
        "arm_fwd": ((0.27, 38), (0.77, -28)),
        "elbow": ((0.27, 55), (0.77, 25)),
    },
)
_JUMP = Clip(
    period=1.3,
    flight=((0.45, 0.73),),
    keys={
        "both_thigh": ((0.3, 50), (0.45, 0), (0.58, 24), (0.73, 12), (0.83, 42)),
        "both_knee": ((0.3, 85), (0.45, 4), (0.58, 46), (0.73, 20), (0.83, 75)),
        "both_foot": ((0.33, 0), (0.45, -50), (0.58, -28), (0.73, -20), (0.78, 0)),
        "both_arm_fwd": ((0.22, -40), (0.5, 110), (0.72, 60), (0.92, 5)),
        "pitch": ((0.3, 32), (0.46, 2), (0.7, 5), (0.83, 26)),
    },
)
# A leap leaves the ground with the body past the feet and lands with it behind them, and travels in between.
_JUMP_FORWARD = replace(
    _JUMP,
    leap=(1.0, 0.0),
    keys={**_JUMP.keys, "both_thigh": ((0.3, 48), (0.45, -20), (0.59, 25), (0.73, 34), (0.84, 46))},
)
_JUMP_BACKWARD = replace(
    _JUMP,
    leap=(-0.7, 0.0),
    keys={**_JUMP.keys, "both_thigh": ((0.3, 54), (0.45, 14), (0.59, 10), (0.73, -2), (0.83, 38))},
)
_HOP = Clip(
    period=1.0,
    flight=((0.45, 0.73),),
    hold={"far_knee": 78, "far_thigh": 14, "far_foot": -60, "near_hip_out": -5, "both_elbow": 50, "both_arm_out": 24},
    fixed=("near_hip_out",),
    keys={
        "near_thigh": ((0.28, 26), (0.45, -2), (0.58, 18), (0.73, 10), (0.83, 24)),
        "near_knee": ((0.28, 46), (0.45, 4), (0.58, 36), (0.73, 14), (0.83, 40)),
        "near_foot": ((0.32, 0), (0.45, -44), (0.58, -24), (0.73, -18), (0.79, 0)),
        "both_arm_fwd": ((0.28, -18), (0.5, 45), (0.85, 0)),
        "pitch": ((0.28, 14), (0.46, 2), (0.83, 12)),
    },
)
_WAVE = Clip(
    period=0.65,
    hold={"near_arm_out": 88, "near_arm_twist": 88, "near_elbow": 75},
    keys={"near_elbow": ((0.3, 38), (0.75, 112))},
)
_PUNCH = Clip(
    period=0.85,
    hold={"both_arm_fwd": 28, "both_elbow": 118, "both_arm_out": 12, "both_knee": 14, "both_thigh": 8, "pitch": 5},
    keys={
        "near_arm_fwd": ((0.12, 18), (0.4, 86), (0.48, 86)),
        "near_elbow": ((0.12, 126), (0.4, 6), (0.48, 6)),
        "near_twist": ((0.12, 10), (0.42, -30)),
        "near_arm_in": ((0.1, 0), (0.42, -14)),
    },
)
_KICK = Clip(
    period=1.3,
    keys={
        "near_thigh": ((0.1, 6), (0.26, -20), (0.45, 58), (0.55, 82), (0.72, 45)),
        "near_knee": ((0.1, 28), (0.26, 70), (0.42, 92), (0.55, 8), (0.72, 62)),
        "near_foot": ((0.1, -8), (0.26, -58), (0.42, -30), (0.55, 35), (0.72, -10), (0.9, 0)),
        "far_hip_out": ((0.2, -5), (0.8, -5)),
        "far_knee": ((0.25, 16), (0.8, 14)),
        "far_thigh": ((0.25, 8), (0.8, 7)),
        "far_arm_fwd": ((0.25, -20), (0.55, 40)),
        "near_arm_fwd": ((0.25, 25), (0.55, -30)),
        "both_elbow": ((0.25, 50), (0.7, 50)),
        "both_arm_out": ((0.25, 25), (0.7, 25)),
        "pitch": ((0.25, 10), (0.55, -12)),
    },
)
_SQUAT = Clip(
    period=1.7,
    keys={
        "both_thigh": ((0.06, None), (0.45, 82), (0.55, 82), (0.94, None)),
        "both_knee": ((0.06, None), (0.45, 118), (0.55, 118), (0.94, None)),
        "both_hip_out": ((0.06, None), (0.5, 12), (0.94, None)),
        "both_arm_fwd": ((0.06, None), (0.45, 75), (0.55, 75), (0.94, None)),
        "pitch": ((0.06, None), (0.45, 30), (0.55, 30), (0.94, None)),
        "bend": ((0.5, 8),),
    },
)
_BOW = Clip(
    period=1.8,
    keys={
        "pitch": ((0.08, None), (0.42, 42), (0.58, 42), (0.94, None)),
        "bend": ((0.08, None), (0.42, 42), (0.58, 42), (0.94, None)),
        "nod": ((0.08, None), (0.42, 18), (0.58, 18), (0.94, None)),
        "both_thigh": ((0.08, None), (0.42, 9), (0.58, 9), (0.94, None)),
        "both_arm_fwd": ((0.08, None), (0.42, 38), (0.58, 38), (0.94, None)),
    },
)
_CLAP = Clip(
    period=0.7,
    hold={"both_arm_fwd": 55, "both_elbow": 62, "both_arm_out": 0, "both_arm_in": -14},
    fixed=("both_arm_fwd", "both_elbow", "both_arm_in"),
    keys={"both_arm_in": ((0.5, 19),)},
)
_RAISE = Clip(period=1.3, keys={"near_arm_fwd": ((0.1, None), (1.0, 164)), "near_elbow": ((0.5, 30), (1.0, 8))})
_RAISE_BOTH = Clip(period=1.3, keys={"both_arm_fwd": ((0.1, None), (1.0, 164)), "both_elbow": ((0.5, 30), (1.0, 8))})
_SIT = Clip(
    period=1.9,
    keys={
        "both_thigh": ((0.08, None), (0.55, 56), (1.0, 88)),
        "both_knee": ((0.08, None), (0.5, 74), (1.0, 90)),
        "pitch": ((0.08, None), (0.55, 42), (1.0, 2)),
        "bend": ((0.5, 10), (1.0, 4)),
        "both_arm_fwd": ((0.5, 35), (1.0, 12)),
        "both_elbow": ((0.5, 30), (1.0, 58)),
    },
)
_STAND_UP = Clip(
    period=1.7,
    keys={channel: tuple((1.0 - phase, angle) for phase, angle in reversed(keys)) for channel, keys in _SIT.keys.items()},
)
# The leg on the other side steps out while the arm is drawn back, and steps home again at the end.
_THROW = Clip(
    period=1.9,
    keys={
        "near_arm_out": ((0.12, None), (0.38, 92), (0.56, 92), (0.68, 55), (1.0, None)),
        "near_arm_twist": ((0.1, 0), (0.38, 92), (0.56, 10), (1.0, 0)),
        "near_elbow": ((0.1, None), (0.38, 100), (0.46, 85), (0.55, 10), (1.0, None)),
        "near_arm_in": ((0.1, 0), (0.38, -22), (0.57, 72), (0.7, 80), (1.0, 0)),
        "near_twist": ((0.1, 0), (0.38, 34), (0.58, -36), (1.0, 0)),
        "pitch": ((0.1, 0), (0.36, -7), (0.6, 17), (1.0, 0)),
        "far_arm_fwd": ((0.1, None), (0.36, 60), (0.58, 0)),
        "far_thigh": ((0.05, None), (0.2, 32), (0.36, 22), (0.74, 22), (0.85, 28), (1.0, None)),
        "far_knee": ((0.05, None), (0.2, 54), (0.36, 14), (0.74, 14), (0.85, 44), (1.0, None)),
        "near_thigh": ((0.2, None), (0.38, -14), (0.76, -14), (0.95, None)),
        "near_foot": ((0.2, 0), (0.38, -14), (0.76, -14), (0.95, 0)),
    },
)
_PICK_UP = Clip(
    period=2.5,
    keys={
        "both_thigh": ((0.06, None), (0.42, 73), (0.52, 73), (0.94, None)),
        "both_knee": ((0.06, None), (0.42, 99), (0.52, 99), (0.94, None)),
        "pitch": ((0.06, None), (0.42, 46), (0.52, 46), (0.92, None)),
        "bend": ((0.06, None), (0.42, 34), (0.52, 34), (0.92, None)),
        "near_lean": ((0.42, 8), (0.52, 8)),
        "near_arm_fwd": ((0.1, None), (0.42, 82), (0.52, 82), (1.0, 15)),
        "near_elbow": ((0.42, 6), (0.52, 6), (0.95, 80), (1.0, 80)),
        "far_elbow": ((0.42, 45), (0.52, 45)),
        "far_arm_fwd": ((0.42, 38), (0.52, 38)),
    },
)
_JACK = Clip(
    period=1.15,
    flight=((0.14, 0.36), (0.62, 0.84)),
    keys={
        "both_hip_out": ((0.1, None), (0.36, 19), (0.6, 19), (0.84, None)),
        "both_arm_out": ((0.05, None), (0.42, 158), (0.55, 158), (0.95, None)),
        "both_thigh": ((0.07, 18), (0.15, 2), (0.36, 6), (0.46, 16), (0.55, 16), (0.62, 2), (0.84, 6), (0.92, 16)),
        "both_knee": ((0.07, 34), (0.15, 4), (0.36, 10), (0.46, 30), (0.55, 30), (0.62, 4), (0.84, 10), (0.92, 30)),
        "both_foot": ((0.08, 0), (0.15, -38), (0.36, -20), (0.42, 0), (0.54, 0), (0.62, -38), (0.84, -20), (0.9, 0)),
    },
)

_HANDS = ("with the {} hand", "with the {} arm", "using the {} hand")

ACTIONS: dict[str, Action] = {
    "walk": Action(
        label="walks",
        clips={
            "forward": _WALK,
            "backward": replace(_WALK, reverse=True),
            "left": replace(_SIDESTEP, near="left"),
            "right": replace(_SIDESTEP, near="right"),
            "curve left": replace(_WALK, turn=1),
            "curve right": replace(_WALK, turn=-1),
        },
        phrases=("walks {direction}", "is walking {direction}", "takes several steps {direction}", "steps {direction}"),
        directions={**_ONWARDS, **_SIDEWAYS, **_CURVES},
        degrees=(70, 100, 130),
        cycles=(3, 4),
    ),
    "run": Action(
        label="runs",
        clips={"forward": _RUN, "curve left": replace(_RUN, turn=1), "curve right": replace(_RUN, turn=-1)},
        phrases=("runs {direction}", "is running {direction}", "goes for a run {direction}", "moves {direction} by running"),
        directions={"forward": _ONWARDS["forward"], **_CURVES},
        degrees=(70, 100, 130),
        cycles=(3, 5),
    ),
    "jump": Action(
        label="jumps",
        clips={"up": _JUMP, "forward": _JUMP_FORWARD, "backward": _JUMP_BACKWARD},
        phrases=("jumps {direction}", "is jumping {direction}", "leaps {direction}", "crouches and then jumps {direction}"),
        directions={"up": ("up", "up into the air"), **_ONWARDS},
        counts=(1, 2, 3),
    ),
    "hop": Action(
        label="hops on one leg",
        clips={"in place": _HOP, "forward": replace(_HOP, leap=(0.4, 0.0))},
        phrases=(
            "hops {direction} {side}",
            "is hopping {side} {direction}",
            "jumps {direction} on one leg",
            "balances on one leg and hops {direction}",
        ),
        sides=_sides("on the {} leg", "on the {} foot"),
        directions={"in place": ("in place", "on the spot"), "forward": ("forward",)},
        counts=(1, 2, 3, 4),
    ),
    "turn": Action(
        label="turns",
        clips={"left": replace(_STEP_IN_PLACE, turn=1), "right": replace(_STEP_IN_PLACE, turn=-1)},
        phrases=(
            "turns {angle} {direction}",
            "is turning {direction} {angle}",
            "rotates on the spot {direction}",
            "turns {direction} with small steps",
        ),
        directions={"left": ("to the left", "counterclockwise"), "right": ("to the right", "clockwise")},
        degrees=(90, 180),
        cycles=(3, 4),
    ),
    "wave": Action(
        label="waves",
        clips={"": _WAVE},
        phrases=("waves {side}", "is waving {side}", "greets somebody by waving {side}", "says hello with a wave {side}"),
        sides=_sides(*_HANDS, both=("with both hands", "with both arms")),
        counts=(2, 3, 4),
    ),
    "punch": Action(
        label="punches",
        clips={"": _PUNCH},
        phrases=("punches {side}", "is punching forward {side}", "boxes the air {side}", "strikes forward {side}"),
        sides=_sides("with the {} fist", "with the {} hand", both=("with alternating fists", "with both fists in turn")),
        counts=(1, 2, 3, 4),
        alternate=True,
    ),
    "kick": Action(
        label="kicks",
        clips={"": _KICK},
        phrases=(
            "kicks {side}",
            "is kicking forward {side}",
            "swings a leg up in a kick {side}",
            "kicks out in front {side}",
        ),
        sides=_sides("with the {} leg", "with the {} foot", "using the {} leg"),
        counts=(1, 2, 3, 4),
    ),
    "squat": Action(
        label="squats",
        clips={"": _SQUAT},
        phrases=("squats down and stands up again", "is squatting", "bends the knees into a squat", "performs a squat"),
        counts=(1, 2, 3),
    ),
    "bow": Action(
        label="bows",
        clips={"": _BOW},
        phrases=("bows", "is bowing forward", "takes a bow", "bends forward at the waist in a bow"),
        counts=(1, 2, 3),
    ),
    "clap": Action(
        label="claps",
        clips={"": _CLAP},
        phrases=("claps", "is clapping both hands", "applauds by clapping", "brings the hands together in a clap"),
        counts=(1, 2, 3, 4),
    ),
    "raise arm": Action(
        label="raises one arm",
        clips={"": _RAISE},
        phrases=("raises {side}", "is lifting {side} overhead", "reaches up with {side}", "puts up {side}"),
        sides=_sides("the {} arm", "the {} hand"),
        gain=0.25,
    ),
    "raise both arms": Action(
        label="raises both arms",
        clips={"": _RAISE_BOTH},
        phrases=("raises both arms", "is lifting both hands overhead", "reaches up with both arms", "puts up both hands"),
        gain=0.25,
    ),
    "sit down": Action(
        label="sits down",
        clips={"": _SIT},
        phrases=("sits down", "is sitting down on a chair", "lowers the body onto a seat", "takes a seat"),
        gain=0.2,
    ),
    "stand up": Action(
        label="stands up",
        clips={"": _STAND_UP},
        phrases=("stands up from a chair", "is getting up from a seat", "rises from sitting", "stands up"),
        gain=0.2,
    ),
    "throw": Action(
        label="throws something",
        clips={"": _THROW},
        phrases=("throws a ball {side}", "is throwing something {side}", "hurls an object {side}", "makes a throw {side}"),
        sides=_sides(*_HANDS),
        gain=0.6,
    ),
    "pick up": Action(
        label="picks something up from the floor",
        clips={"": _PICK_UP},
        phrases=(
            "picks something up from the floor {side}",
            "is picking up an object {side}",
            "bends down to pick something up {side}",
            "reaches to the ground {side} and gets up again",
        ),
        sides=_sides(*_HANDS),
        gain=0.15,
    ),
    "jumping jack": Action(
        label="does jumping jacks",
        clips={"": _JACK},
        phrases=(
            "does a jumping jack",
            "is performing a jumping jack",
            "jumps with arms and legs apart and back together",
            "hops the legs apart while raising both arms",
        ),
        counts=(1, 2, 3, 4),
    ),
    "march": Action(
        label="marches in place",
        clips={"": _MARCH},
        phrases=("marches in place", "is marching on the spot", "lifts the knees high in place", "steps in place"),
        cycles=(2, 4),
    ),
}
