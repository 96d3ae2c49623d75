"""Procedural motions: what the captions say is what the joints do."""

import json
import re

import numpy as np
import pytest
from scipy.signal import find_peaks

from motionpatches.processing.canonical import canonicalize
from motionpatches.processing.procedural import list_actions, make_motions
from motionpatches.processing.skeletons import Skeleton, get_skeleton, list_skeletons


POINTS = get_skeleton("smpl22").landmarks
FORWARD, LEFT, UP = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


def _point(motion, name):
    """A body point (T, 3) as seen by a body that faced +z at the start."""
    yaw = np.deg2rad(motion["params"]["heading"])
    unturn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    return motion["joints"][:, POINTS[name]] @ unturn.T


def _in_world(motion):
    """Joints (T, J + V, 3) in metres, y up."""
    return canonicalize(motion["joints"], get_skeleton(motion["skeleton"]), floor=False, center=False, heading=False)


def _facing(motion):
    """Heading (T,) in degrees, 0 at the start of a motion, left positive."""
    across = _point(motion, "left_hip") - _point(motion, "right_hip")
    return np.rad2deg(np.unwrap(np.arctan2(-across[:, 2], across[:, 0])))


def _drawn(action, num=24, seed=0, **wanted):
    found = [
        motion
        for motion in make_motions(num, seed=seed, actions=[action])
        if all(motion["params"][key] == value for key, value in wanted.items())
    ]
    assert found, f"no {action} with {wanted} among {num}"
    return found


def _flexion(motion, *names):
    """Angle (T,) in degrees by which a three-point limb departs from straight, positive where a knee may bend."""
    hip, knee, ankle = (_point(motion, name) for name in names)
    thigh, shin = knee - hip, ankle - knee
    across = _point(motion, "left_hip") - _point(motion, "right_hip")
    bend = np.cross(thigh, shin)
    return np.rad2deg(np.arctan2((bend * across).sum(-1) / np.linalg.norm(across, axis=-1), (thigh * shin).sum(-1)))


# ---- what is drawn ------------------------------------------------------------------------------------------------------


def test_same_seed_same_motions_and_other_seed_others():
    first, again, other = make_motions(4, seed=3), make_motions(4, seed=3), make_motions(4, seed=4)
    for a, b in zip(first, again, strict=True):
        assert a["params"] == b["params"]
        np.testing.assert_array_equal(a["joints"], b["joints"])
    assert [m["params"] for m in first] != [m["params"] for m in other]


def test_a_longer_list_begins_with_the_shorter():
    for a, b in zip(make_motions(5, seed=1), make_motions(10, seed=1)[:5], strict=True):
        assert (a["id"], a["captions"], a["params"]) == (b["id"], b["captions"], b["params"])
        np.testing.assert_array_equal(a["joints"], b["joints"])


@pytest.mark.parametrize("skeleton", list_skeletons())
def test_skeletons_share_parameters_captions_and_path(skeleton):
    found = get_skeleton(skeleton)
    ours, smpl = make_motions(3, skeleton, seed=2), make_motions(3, seed=2)
    below = 0.06 if found.pelvis >= found.num_joints else 1e-4  # a virtual pelvis lies between the hips
    for a, b in zip(ours, smpl, strict=True):
        assert (a["params"], a["captions"], a["label"]) == (b["params"], b["captions"], b["label"])
        assert a["skeleton"] == skeleton
        np.testing.assert_allclose(_in_world(a)[:, found.pelvis], b["joints"][:, 0], atol=below)


def test_every_block_has_every_action_once():
    num = len(list_actions())
    drawn = [motion["params"]["action"] for motion in make_motions(2 * num, seed=5)]
    assert sorted(drawn[:num]) == sorted(drawn[num:]) == list_actions()
    assert drawn[:num] != drawn[num:]


def test_motions_of_one_action_differ():
    a, b = make_motions(2, actions=["squat"])
    frames = min(len(a["joints"]), len(b["joints"]))
    assert np.abs(a["joints"][:frames] - b["joints"][:frames]).max() > 0.1


def test_params_and_captions_are_ready_for_json_and_durations_are_in_range():
    for motion in make_motions(3 * len(list_actions()), seed=6):
        json.dumps({key: value for key, value in motion.items() if key != "joints"})
        assert motion["joints"].dtype == np.float32
        assert np.isfinite(motion["joints"]).all()
        assert 1.0 <= len(motion["joints"]) / motion["fps"] <= 8.0


def test_tempo_range_shortens_and_amplitude_range_enlarges():
    slow = make_motions(4, actions=["wave"], tempo=(0.7, 0.8))
    fast = make_motions(4, actions=["wave"], tempo=(1.3, 1.4))
    for a, b in zip(slow, fast, strict=True):
        assert len(b["joints"]) < 0.75 * len(a["joints"])
        assert (a["params"]["speed"], b["params"]["speed"]) == ("slow", "fast")
    small, large = (make_motions(4, actions=["squat"], amplitude=(x, x)) for x in (0.6, 1.1))
    for a, b in zip(small, large, strict=True):
        assert _point(b, "pelvis")[:, 1].min() < _point(a, "pelvis")[:, 1].min() - 0.1


def test_frame_rate_samples_the_same_motion():
    for a, b in zip(make_motions(6, fps=20.0), make_motions(6, fps=40.0), strict=True):
        frames = min(len(a["joints"]), len(b["joints"][::2]))
        legs = a["joints"][:frames] - a["joints"][:frames, :1], b["joints"][::2][:frames] - b["joints"][::2][:frames, :1]
        np.testing.assert_allclose(*legs, atol=1e-5)


@pytest.mark.parametrize(
    "extreme",
    [
        {"fps": 1},
        {"fps": 1, "actions": ["run"]},
        {"fps": 120},
        {"amplitude": (0.2, 0.2)},
        {"amplitude": (2.0, 2.0)},
        {"tempo": (4.0, 4.0)},
    ],
)
def test_extreme_ranges_still_make_motions_above_the_floor(extreme):
    for motion in make_motions(len(list_actions()), **extreme):
        assert len(motion["joints"]) >= 2
        assert motion["joints"][..., 1].min() > -1e-4  # false for nan


# ---- bodies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skeleton", list_skeletons())
def test_bones_keep_their_length(skeleton):
    found = get_skeleton(skeleton)
    parents = np.array(found.parents)
    children = np.flatnonzero(
        (parents >= 0) & (parents < found.num_joints) & (np.arange(found.num_nodes) < found.num_joints)
    )
    for motion in make_motions(4, skeleton, actions=["squat", "wave", "kick", "bow"]):
        joints = _in_world(motion)
        lengths = np.linalg.norm(joints[:, children] - joints[:, parents[children]], axis=-1)
        assert np.ptp(lengths, axis=0).max() < 1e-4
        assert lengths.min() > 0.01


def test_kit_is_in_millimetres_and_smpl_in_metres():
    for skeleton, height in (("kit21", 1500.0), ("smpl22", 1.5)):
        joints = make_motions(1, skeleton, actions=["wave"])[0]["joints"]
        assert 0.7 * height < joints[0, :, 1].max() - joints[0, :, 1].min() < 1.4 * height


def test_up_axis_of_the_skeleton_is_kept():
    smpl = get_skeleton("smpl22")
    z_up = Skeleton("mine", smpl.joint_names, smpl.parents, smpl.points, smpl.chains, up_axis="z")
    ours, theirs = make_motions(1, z_up)[0]["joints"], make_motions(1, smpl)[0]["joints"]
    np.testing.assert_allclose(ours[..., [0, 2, 1]] * [1, 1, -1], theirs)


@pytest.mark.parametrize("skeleton", list_skeletons())
def test_bowing_bends_every_skeleton(skeleton):
    marks = get_skeleton(skeleton).landmarks
    joints = _in_world(make_motions(1, skeleton, actions=["bow"])[0])
    heights = joints[:, marks["neck"], 1]
    assert heights.min() < heights[0] - 0.15
    assert joints[:, marks["left_shoulder"], 1].min() < joints[0, marks["left_shoulder"], 1] - 0.15


def test_no_joint_is_below_the_floor_and_standing_is_on_it():
    # cmu31, because its fingers reach furthest down
    for motion in make_motions(3 * len(list_actions()), "cmu31", seed=7):
        lowest = motion["joints"][..., 1].min(axis=1)
        assert lowest.min() > -1e-4
        assert abs(lowest[0]) < 0.01
        assert abs(lowest[-1]) < 0.01


def test_knees_never_bend_backwards():
    for motion in make_motions(3 * len(list_actions()), seed=8):
        if motion["params"]["degrees"]:
            continue  # a turning leg's knee axis is not the hips' axis, by which flexion is measured here
        for side in ("left", "right"):
            flexion = _flexion(motion, *(f"{side}_{name}" for name in ("hip", "knee", "ankle")))
            assert flexion.min() > -6.0, motion["label"]  # the shin of the rest pose is tilted by a few degrees
            assert flexion.max() < 170.0


# ---- actions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_raised_arm_is_the_named_one(side, other):
    for motion in _drawn("raise arm", side=side):
        head = _point(motion, "head")[-1, 1]
        assert _point(motion, f"{side}_wrist")[-1, 1] > head
        assert _point(motion, f"{other}_wrist")[:, 1].max() < _point(motion, "chest")[:, 1].min()


@pytest.mark.parametrize(("direction", "sign"), [("left", 1), ("right", -1)])
@pytest.mark.parametrize("degrees", [90, 180])
def test_turns_go_the_named_way(direction, sign, degrees):
    for motion in _drawn("turn", direction=direction, degrees=degrees):
        facing = _facing(motion)
        assert facing[-1] - facing[0] == pytest.approx(sign * degrees, abs=6)
        assert np.linalg.norm(_point(motion, "pelvis")[-1] - _point(motion, "pelvis")[0]) < 0.2


@pytest.mark.parametrize(
    ("action", "direction", "way"),
    [
        ("walk", "forward", FORWARD),
        ("walk", "backward", -FORWARD),
        ("walk", "left", LEFT),
        ("walk", "right", -LEFT),
        ("run", "forward", FORWARD),
        ("jump", "forward", FORWARD),
        ("jump", "backward", -FORWARD),
        ("hop", "forward", FORWARD),
    ],
)
def test_travel_goes_the_named_way(action, direction, way):
    for motion in _drawn(action, num=36, direction=direction):
        travel = _point(motion, "pelvis")[-1] - _point(motion, "pelvis")[0]
        assert travel @ way > 0.25
        assert np.linalg.norm(travel - travel @ way * way) < 0.1
        assert np.abs(_facing(motion)).max() < 15


@pytest.mark.parametrize(
    ("action", "direction"), [("jump", "up"), ("hop", "in place"), ("jumping jack", None), ("march", None), ("kick", None)]
)
def test_what_is_done_in_place_ends_where_it_began(action, direction):
    for motion in _drawn(action, direction=direction):
        path = _point(motion, "pelvis")[:, [0, 2]]
        assert np.linalg.norm(path[-1] - path[0]) < 0.2 * (action == "kick") + 0.05


@pytest.mark.parametrize(("direction", "sign"), [("curve left", 1), ("curve right", -1)])
def test_curved_walks_bend_the_named_way(direction, sign):
    for motion in _drawn("walk", num=36, seed=1, direction=direction):
        travel = _point(motion, "pelvis")[-1] - _point(motion, "pelvis")[0]
        assert sign * travel[0] > 0.5
        assert sign * _facing(motion)[-1] > 60


@pytest.mark.parametrize("action", ["jump", "hop"])
def test_jumps_are_counted_by_flights(action):
    for motion in _drawn(action):
        height = motion["joints"][:, [POINTS["left_toe"], POINTS["right_toe"]], 1].min(axis=1)
        assert len(find_peaks(height, height=0.02, prominence=0.02)[0]) == motion["params"]["count"]


def test_punches_are_counted_by_extended_arms():
    for motion in _drawn("punch"):
        count, reached = 0, {}
        for side in ("left", "right"):
            reach = (_point(motion, f"{side}_wrist") - _point(motion, "pelvis")) @ FORWARD
            reached[side] = len(find_peaks(reach, height=0.45, prominence=0.15)[0])
            count += reached[side]
        assert count == motion["params"]["count"]
        expected = {"left": {"left"}, "right": {"right"}, "both": {"left", "right"}}[motion["params"]["side"]]
        assert {side for side, number in reached.items() if number} == expected


@pytest.mark.parametrize("amplitude", [0.7, 1.0, 1.5])
def test_claps_bring_the_hands_together_as_often_as_said(amplitude):
    for motion in make_motions(12, actions=["clap"], amplitude=(amplitude, amplitude)):
        gap = (_point(motion, "left_wrist") - _point(motion, "right_wrist")) @ LEFT
        closed = find_peaks(-gap, height=-0.2, prominence=0.1)[0]
        assert len(closed) == motion["params"]["count"]
        assert gap.min() > -0.02, "hands pass through each other"


@pytest.mark.parametrize("action", ["kick", "hop"])
@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_the_named_leg_acts(action, side, other):
    for motion in _drawn(action, side=side):
        free, standing = (side, other) if action == "kick" else (other, side)
        assert _point(motion, f"{free}_ankle")[:, 1].max() > _point(motion, f"{standing}_ankle")[:, 1].max() + 0.1


@pytest.mark.parametrize("action", ["wave", "throw"])
@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_the_named_arm_acts(action, side, other):
    for motion in _drawn(action, side=side):
        assert _point(motion, f"{side}_wrist")[:, 1].max() > _point(motion, f"{other}_wrist")[:, 1].max() + 0.05


def test_who_sits_has_level_thighs_and_an_upright_trunk():
    for motion in _drawn("sit down", num=8):
        thigh = (_point(motion, "left_knee") - _point(motion, "left_hip"))[-1]
        assert abs(np.rad2deg(np.arcsin(thigh @ UP / np.linalg.norm(thigh)))) < 12
        assert thigh @ FORWARD > 0.25
        trunk = (_point(motion, "neck") - _point(motion, "pelvis"))[-1]
        assert trunk @ UP > 0.9 * np.linalg.norm(trunk)
        assert _point(motion, "pelvis")[-1] @ FORWARD < -0.2


def test_standing_feet_stay_put_while_walking():
    for motion in _drawn("walk", num=36):
        pelvis = np.linalg.norm(np.diff(_point(motion, "pelvis")[:, [0, 2]], axis=0), axis=1)
        toes = np.stack([_point(motion, f"{side}_toe") for side in ("left", "right")])
        down = np.maximum(toes[:, 1:, 1], toes[:, :-1, 1]) < 0.004
        slid = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=1), axis=2)[down]
        assert down.sum() > 20
        assert slid.mean() < 0.1 * pelvis.mean()


def test_arms_swing_against_the_legs():
    for motion in _drawn("walk", direction="forward") + _drawn("run", direction="forward"):
        pelvis = _point(motion, "pelvis")
        arm, leg = ((_point(motion, f"left_{name}") - pelvis) @ FORWARD for name in ("wrist", "ankle"))
        assert np.corrcoef(arm, leg)[0, 1] < -0.5


def test_waving_moves_the_hand_from_side_to_side_as_often_as_said():
    for motion in _drawn("wave", side="left"):
        raised = _point(motion, "left_elbow")[:, 1] > _point(motion, "left_shoulder")[:, 1] - 0.12
        outwards = (_point(motion, "left_wrist") - _point(motion, "left_elbow")) @ LEFT
        peaks = [frame for frame in find_peaks(outwards, prominence=0.06)[0] if raised[frame]]
        assert len(peaks) == motion["params"]["count"]


# ---- words --------------------------------------------------------------------------------------------------------------

COUNTS = {1: ("once", "one time"), 2: ("twice", "two times"), 3: ("three times",), 4: ("four times",)}
SPEEDS = {"slow": ("slow", "slowly"), "fast": ("fast", "quickly"), "normal": ()}
OPPOSITE = {"forward": "backward", "backward": "forward", "up": "forward", "in place": "forward"}


def _says(caption, words):
    return any(re.search(rf"\b{word}\b", caption) for word in words)


def test_captions_never_contradict_what_was_drawn():
    for motion in make_motions(12 * len(list_actions()), seed=9):
        params, captions = motion["params"], motion["captions"]
        sides = {params["side"]} | set((params["direction"] or "").split())
        if params["action"] == "turn":
            sides.add({"left": "counterclockwise", "right": "clockwise"}[params["direction"]])
        for caption in captions:
            for word in ("left", "right", "clockwise", "counterclockwise"):
                assert word in sides or not _says(caption, [word]), caption
            for count, words in COUNTS.items():
                assert count == params["count"] or not _says(caption, words), caption
            for speed, words in SPEEDS.items():
                assert speed == params["speed"] or not _says(caption, words), caption
            assert not _says(caption, [OPPOSITE.get(params["direction"], "nowhere")]), caption
            assert not (_says(caption, ["90 degrees", "quarter"]) and params["degrees"] != 90), caption
            assert not (_says(caption, ["180 degrees", "half"]) and params["degrees"] != 180), caption


def test_the_first_caption_says_all_that_was_drawn():
    for motion in make_motions(12 * len(list_actions()), seed=9):
        params, first = motion["params"], motion["captions"][0]
        if params["side"] in ("left", "right"):
            assert _says(first, [params["side"]]), first
        if params["count"]:
            assert _says(first, COUNTS[params["count"]]), first
        if params["speed"] != "normal":
            assert _says(first, SPEEDS[params["speed"]]), first
        for word in set((params["direction"] or "").split()) & {"left", "right"}:
            assert _says(first, [word, {"left": "counterclockwise", "right": "clockwise"}[word]]), first


def test_captions_are_two_to_four_different_sentences():
    motions = make_motions(12 * len(list_actions()), seed=10)
    for motion in motions:
        captions = motion["captions"]
        assert 2 <= len(captions) <= 4
        assert len(set(captions)) == len(captions)
        assert all(re.fullmatch(r"(a|the|someone)\b[a-z0-9 ]+\.", caption) and "  " not in caption for caption in captions)
    assert {len(motion["captions"]) for motion in motions} == {2, 3, 4}


# ---- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num": -1}, "num is -1"),
        ({"num": 2.0}, "num is 2.0"),
        ({"num": True}, "num is True"),
        ({"num": 1, "seed": -3}, "seed is -3"),
        ({"num": 1, "fps": 0}, "fps is 0"),
        ({"num": 1, "fps": float("nan")}, "fps is nan"),
        ({"num": 1, "actions": ["fly"]}, "'fly'.*known: .*walk"),
        ({"num": 1, "actions": "walk"}, "expected a list"),
        ({"num": 1, "actions": []}, "at least one"),
        ({"num": 1, "tempo": (1.4, 0.7)}, "tempo is"),
        ({"num": 1, "amplitude": (0.0, 1.0)}, "amplitude is"),
        ({"num": 1, "amplitude": ("low", "high")}, "amplitude is"),
        ({"num": 1, "skeleton": "octopus"}, "octopus"),
    ],
)
def test_unusable_arguments_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        make_motions(**arguments)


def test_no_motions_is_an_empty_list():
    assert make_motions(0) == []
