"""Pictures of motions: what a viewer is meant to see is there, and stays where it is."""

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches import get_skeleton, make_motions
from motionpatches.processing.canonical import from_y_up
from motionpatches.processing.rendering import BACKGROUNDS, COLORS, Prop, render_motion
from motionpatches.processing.skeletons import PARTS, UNITS


def rest(name, frames=1):
    body = get_skeleton(name)
    pose = from_y_up(body.rest_pose[None, : body.num_joints], body) / UNITS[body.unit]
    return np.repeat(pose, frames, axis=0)


def places_of(frame, color):
    """Columns and rows (x, y) of the pixels of a colour."""
    return np.argwhere((frame == color).all(axis=-1))[:, ::-1]


def test_pictures_have_the_size_and_number_that_were_asked_for():
    frames = render_motion(swinging_motion(num_frames=7), "smpl22", size=64)
    assert (frames.shape, frames.dtype) == ((7, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(frames, render_motion(swinging_motion(num_frames=7), "smpl22", size=64))


@pytest.mark.parametrize("shape", ["ball", "box"])
@pytest.mark.parametrize("color", sorted(COLORS))
def test_a_thing_is_seen_in_its_colour_and_hand(color, shape):
    centres = {}
    for hand in ("left", "right"):
        (frame,) = render_motion(rest("smpl22"), "smpl22", [Prop(hand, color, shape)], color)
        found = places_of(frame, COLORS[color])
        assert len(found) > 20
        centres[hand] = found.mean(axis=0)
    assert centres["left"][0] > 60 > 36 > centres["right"][0]  # the person faces the camera
    assert abs(centres["left"][1] - centres["right"][1]) < 2


def test_two_things_are_told_apart_and_a_box_has_corners():
    (frame,) = render_motion(rest("smpl22"), "smpl22", [Prop("left", "red", "box"), Prop("right", "blue")])
    box, ball = (places_of(frame, COLORS[color]) for color in ("red", "blue"))
    assert box[:, 0].mean() > ball[:, 0].mean()
    assert len(box) == np.prod(np.ptp(box, axis=0) + 1)
    assert len(ball) < np.prod(np.ptp(ball, axis=0) + 1)


def test_a_thing_goes_with_the_hand():
    (motion,) = make_motions(1, actions=["jumping jack"])
    frames = render_motion(motion["joints"], "smpl22", [Prop("left", "green")])
    heights = np.array([places_of(frame, COLORS["green"])[:, 1].mean() for frame in frames])
    hands = motion["joints"][:, get_skeleton("smpl22").landmarks["left_wrist"], 1]
    assert np.corrcoef(heights, -hands)[0, 1] > 0.99  # rows of a picture count downwards


@pytest.mark.parametrize("background", sorted(BACKGROUNDS))
def test_the_wall_has_its_colour_and_the_floor_a_darker_one(background):
    frames = render_motion(swinging_motion(num_frames=3), "smpl22", background=background)
    assert (frames[:, 0] == BACKGROUNDS[background]).all()
    assert (frames[:, -1, 0] < BACKGROUNDS[background]).all()


def test_colours_are_far_apart():
    for named in (COLORS, BACKGROUNDS):
        values = np.array(list(named.values()), dtype=float)
        apart = np.linalg.norm(values[:, None] - values[None], axis=-1) + 1e3 * np.eye(len(values))
        assert apart.min() > 40


def test_the_camera_goes_around_the_person():
    thing = [Prop("left", "red")]
    columns = {
        azimuth: places_of(render_motion(rest("smpl22"), "smpl22", thing, azimuth=azimuth)[0], COLORS["red"])[:, 0].mean()
        for azimuth in (0, 90, 180)
    }
    assert columns[0] > 60
    assert 40 < columns[90] < 56  # the camera is at their left: the hand points to it
    assert columns[180] < 36
    turning = render_motion(rest("smpl22", 3), "smpl22", thing, azimuth=[0, 90, 180])
    found = [places_of(frame, COLORS["red"])[:, 0].mean() for frame in turning]
    assert found[0] > found[1] > found[2]
    turned = rest("smpl22") @ np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])  # about y
    np.testing.assert_array_equal(render_motion(turned, "smpl22", thing), render_motion(rest("smpl22"), "smpl22", thing))


def test_nothing_leaves_a_picture_when_the_person_walks_away():
    walk = rest("smpl22", 20) + np.linspace(0, 6, 20)[:, None, None] * [1, 0, 0]
    frames = render_motion(walk, "smpl22", [Prop("left", "red"), Prop("right", "blue")])
    for color in ("red", "blue"):
        columns = [places_of(frame, COLORS[color])[:, 0].mean() for frame in frames]
        assert (np.diff(columns) > 0).all()
    figure = (frames != frames[:, :, :1]).any(axis=-1)
    assert not figure[:, :, [0, -1]].any()
    assert not figure[:, 0].any()


@pytest.mark.parametrize("name", ["kit21", "h36m17", "body25", "unreal", "cmu31"])
def test_units_and_axes_make_no_difference(name):
    (frame,) = render_motion(rest(name), name, [Prop("left", "red"), Prop("right", "blue")])
    left, right = (places_of(frame, COLORS[color]).mean(axis=0) for color in ("red", "blue"))
    assert left[0] > 60 > 36 > right[0]
    assert abs(left[1] - right[1]) < 2


def test_left_limbs_are_light_and_right_ones_dark():
    (frame,) = render_motion(rest("smpl22"), "smpl22")
    light, dark = places_of(frame, (245, 245, 245)), places_of(frame, (25, 25, 25))
    assert light[:, 0].min() >= 47
    assert dark[:, 0].max() <= 48


def test_parts_and_wall_may_have_colours_of_their_own():
    colors = dict(zip(PARTS, [(200, 0, 0), (0, 0, 200), (0, 90, 0), (250, 120, 0), (0, 120, 250)], strict=True))
    (frame,) = render_motion(rest("smpl22"), "smpl22", background=(240, 241, 242), part_colors=colors)
    assert (frame[0] == (240, 241, 242)).all()
    columns = {part: places_of(frame, color)[:, 0].mean() for part, color in colors.items()}
    assert columns["right_arm"] < columns["right_leg"] < columns["torso"] < columns["left_leg"] < columns["left_arm"]


BAD = [
    ({"joints": np.zeros((5, 20, 3))}, r"shape \(5, 20, 3\); skeleton 'smpl22' needs \(T, 22, 3\)"),
    ({"joints": np.zeros((0, 22, 3))}, "at least one frame"),
    ({"joints": np.full((5, 22, 3), np.nan)}, "NaN or infinite"),
    ({"joints": np.zeros((5, 22, 3))}, "the legs have no length"),
    ({"props": [Prop("left", "red"), Prop("left", "blue")]}, "hands left, left; a hand holds one thing"),
    ({"background": "pink"}, "background is 'pink'; expected one of grey, red"),
    ({"size": 65}, "size is 65; expected an even number"),
    ({"size": 8}, "at least 32"),
    ({"elevation": 90.0}, "between -90 and 90"),
    ({"azimuth": [0.0, 1.0]}, "one for each of 5 frames"),
    ({"azimuth": float("nan")}, "finite number of degrees"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_motion(**{"joints": swinging_motion(num_frames=5), "skeleton": "smpl22", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("foot", "red"), "hand 'foot'; expected"),
        (("left", "pink"), "color 'pink'"),
        (("left", "red", "cone"), "shape 'cone'"),
    ],
)
def test_impossible_things(arguments, message):
    with pytest.raises(ValueError, match=message):
        Prop(*arguments)
