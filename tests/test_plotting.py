"""Pictures are judged by what they draw: lines, colours, pixels and words, not by their files."""

import importlib.util
import io
import sys
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.text import Text

from motionpatches.processing import plotting
from motionpatches.processing.plotting import (
    CORRECT_GREEN,
    PADDING_GREY,
    PART_COLORS,
    plot_motion_and_patches,
    plot_patches,
    plot_retrieval,
    plot_skeleton,
)
from motionpatches.processing.skeletons import PARTS, get_skeleton, list_skeletons


SMPL = get_skeleton("smpl22")


def swaying(skeleton, num_frames=40, speed=0.0):
    """The rest pose, swaying from side to side and walking towards +z, in the skeleton's unit (metres here)."""
    time = np.linspace(0, 1, num_frames)
    sway = 0.2 * np.sin(2 * np.pi * time)[:, None] * skeleton.rest_pose[:, 1]
    joints = np.repeat(skeleton.rest_pose[None], num_frames, axis=0)
    joints[..., 0] += sway
    joints[..., 2] += (speed * time)[:, None]
    return joints


def poses_of(ax):
    """The bones of each pose, from left to right: arrays (J - 1, 2, 2)."""
    bones = [np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)]
    return sorted(bones, key=lambda lines: lines[..., 0].min())


def assert_words_are_whole_and_apart(figure: Figure):
    """Nothing that is written leaves the picture or touches other words."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} is cut: {box}"
    for (one, box), (other, other_box) in combinations(zip(texts, boxes, strict=True), 2):
        assert not box.overlaps(other_box), f"{one.get_text()!r} overlaps {other.get_text()!r}"


@pytest.mark.parametrize("name", list_skeletons())
def test_every_skeleton_is_drawn_whole_and_its_poses_stay_apart(name):
    skeleton = replace(get_skeleton(name), unit="metres")
    figure = plot_skeleton(swaying(skeleton), skeleton, num_poses=5)
    poses = poses_of(figure.axes[0])
    assert [len(pose) for pose in poses] == [skeleton.num_nodes - 1] * 5
    for one, other in pairwise(poses):
        assert one[..., 0].max() < other[..., 0].min()
    assert_words_are_whole_and_apart(figure)


def test_frames_are_evenly_spread_and_named():
    ax = plot_skeleton(swaying(SMPL, 41), SMPL, num_poses=5).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["frame 0", "10", "20", "30", "40"]
    assert len(poses_of(plot_skeleton(swaying(SMPL, 3), SMPL, num_poses=6).axes[0])) == 3
    assert len(poses_of(plot_skeleton(swaying(SMPL, 1), SMPL).axes[0])) == 1


def test_bones_have_the_colour_of_their_part_and_sides_are_as_seen_from_the_front():
    ax = plot_skeleton(SMPL.rest_pose[None], "smpl22").axes[0]
    (bones,) = (c for c in ax.collections if isinstance(c, LineCollection))
    middle = {}
    for lines, color in zip(bones.get_segments(), bones.get_colors(), strict=True):
        middle.setdefault(to_hex(color).upper(), []).append(lines.mean(axis=0))
    mean = {part: np.mean(middle[color], axis=0) for part, color in PART_COLORS.items()}
    counts = {part: len(middle[color]) for part, color in PART_COLORS.items()}
    # The chains' attachments (pelvis, chest) belong to the torso, so a leg is 4 bones and an arm 4.
    assert counts == {"right_leg": 4, "left_leg": 4, "torso": 5, "right_arm": 4, "left_arm": 4}
    # A person who faces the reader has the right arm on the reader's left.
    assert mean["right_arm"][0] < mean["torso"][0] < mean["left_arm"][0]
    assert mean["right_leg"][1] < mean["torso"][1]
    assert len(set(PART_COLORS.values())) == len(PARTS)


def test_a_thumb_outside_the_chains_has_the_colour_of_its_arm():
    ax = plot_skeleton(get_skeleton("cmu31").rest_pose[None], "cmu31").axes[0]
    (bones,) = (c for c in ax.collections if isinstance(c, LineCollection))
    colors = [to_hex(color).upper() for color in bones.get_colors()]
    assert colors.count(PART_COLORS["left_arm"]) == colors.count(PART_COLORS["right_arm"]) == 7


def test_a_joint_of_leg_and_torso_counts_as_torso():
    parents = list(SMPL.parents)
    parents[0], parents[3] = 3, -1  # rooted at the spine, so that a bone ends at the pelvis
    skeleton = replace(SMPL, name="spine first", parents=tuple(parents))
    (bones,) = (
        c for c in plot_skeleton(SMPL.rest_pose[None], skeleton).axes[0].collections if isinstance(c, LineCollection)
    )
    assert [to_hex(color).upper() for color in bones.get_colors()].count(PART_COLORS["torso"]) == 5


def test_place_heading_unit_and_up_axis_do_not_change_the_picture():
    joints = swaying(SMPL)
    expected = poses_of(plot_skeleton(joints, SMPL).axes[0])
    quarter_turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    x, y, z = np.moveaxis(joints, -1, 0)
    others = {
        "moved": (joints + np.array([5.0, 1.0, -3.0]), SMPL),
        "turned": (joints @ quarter_turn.T, SMPL),
        "millimetres": (joints * 1000, replace(SMPL, unit="millimetres")),
        "z up": (np.stack([x, -z, y], axis=-1), replace(SMPL, up_axis="z")),
    }
    for name, (other, skeleton) in others.items():
        np.testing.assert_allclose(poses_of(plot_skeleton(other, skeleton).axes[0]), expected, atol=1e-9, err_msg=name)


def test_the_person_stands_on_the_ground_with_the_head_on_top():
    ax = plot_skeleton(SMPL.rest_pose[None], SMPL).axes[0]
    (head,) = (patch for patch in ax.patches if isinstance(patch, Circle))
    (pose,) = poses_of(ax)
    assert head.center[1] == pytest.approx(pose[..., 1].max(), abs=0.02)
    assert 1.4 < head.center[1] < 1.7  # metres
    assert abs(pose[..., 1].min()) < 0.1
    assert ax.get_aspect() == 1


def test_the_path_is_drawn_where_the_root_travels():
    def words(speed, **kwargs):
        ax = plot_skeleton(swaying(SMPL, speed=speed), SMPL, **kwargs).axes[0]
        return [text.get_text() for text in ax.texts]

    assert words(0.0) == []
    assert words(3.0, path=False) == []
    (label,) = words(3.0)
    # 3 m forward; the sway of the pelvis makes the way a little longer.
    assert 3.0 <= float(label.split()[-2]) < 3.3


def test_an_axes_of_the_callers_is_used():
    figure = Figure()
    ax = figure.add_subplot()
    assert plot_skeleton(swaying(SMPL), SMPL, ax=ax) is figure
    assert len(poses_of(ax)) == 6


def ramps(num_frames=64, size=8):
    """x grows with time, y across the columns, z is constant. Shape (3, F, 5·N)."""
    time, column = np.meshgrid(np.arange(num_frames), np.arange(5 * size), indexing="ij")
    return np.stack([time, column, np.full_like(time, 7)]).astype(np.float32)


def image_of(figure):
    (image,) = figure.axes[0].images
    return np.asarray(image.get_array())


def test_patches_are_rgb_with_time_down():
    image = image_of(plot_patches(ramps()))
    assert image.shape == (64, 40, 3)
    assert image.min() >= 0
    assert image.max() <= 1
    assert (np.diff(image[:, 0, 0]) >= 0).all()  # x is red and grows downwards
    assert image[0, 0, 0] < 0.02
    assert image[-1, 0, 0] > 0.98
    assert (np.diff(image[0, :, 1]) >= 0).all()  # y is green and grows across
    assert np.ptp(image[..., 2]) == 0


def test_padded_windows_are_grey_and_do_not_change_the_colours():
    values = ramps()
    plain = image_of(plot_patches(values[:, :24]))
    values[:, 24:] = 1e6
    masked = image_of(plot_patches(values, mask=np.array([1, 1, 1, 0, 0, 0, 0, 0])))
    np.testing.assert_allclose(masked[:24], plain)
    np.testing.assert_array_equal(masked[24:], PADDING_GREY)


def test_one_outlier_does_not_wash_the_picture_out():
    values = ramps()
    values[0, 3, 3] = 1e6
    assert np.ptp(image_of(plot_patches(values))[:, 0, 0]) > 0.9


def test_parts_are_named_in_order_and_windows_are_separated():
    figure = plot_patches(ramps(), title="a person pays $5 or $6")
    ax = figure.axes[0]
    assert [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()] == [
        "right leg",
        "left leg",
        "torso",
        "right arm",
        "left arm",
    ]
    across, down = (np.array(c.get_segments()) for c in ax.collections)
    assert across[:, 0, 1].tolist() == [8, 16, 24, 32, 40, 48, 56]
    assert down[:, 0, 0].tolist() == [8, 16, 24, 32]
    assert (ax.get_title(), ax.title.get_parse_math()) == ("a person pays $5 or $6", False)
    assert_words_are_whole_and_apart(figure)
    for label, strip in zip(ax.get_xticklabels(), ax.lines, strict=True):
        assert label.get_window_extent().y0 > strip.get_window_extent().y1


LONG = (
    "a person walks in a counterclockwise circle, stops, turns around, waves with both hands, and then sits down again " * 3
)


def test_motions_stand_beside_their_patches():
    items = [
        {"joints": swaying(SMPL, 64), "skeleton": "smpl22", "caption": caption, "motion_values": ramps(), "mask": mask}
        for caption, mask in (("it costs $5 or $6", None), (LONG, np.arange(8) < 3))
    ]
    figure = plot_motion_and_patches(items)
    left, right = figure.axes[::2], figure.axes[1::2]
    assert [len(poses_of(ax)) for ax in left] == [5, 5]
    assert [len(ax.images) for ax in right] == [1, 1]
    assert (left[0].get_title(), left[0].title.get_parse_math()) == ("it costs $5 or $6", False)
    assert left[1].get_title().endswith("…")
    assert (np.asarray(right[1].images[0].get_array())[24:] == PADDING_GREY).all()
    assert_words_are_whole_and_apart(figure)
    for one, other in zip(left, right, strict=True):
        assert one.get_position().x1 < other.get_position().x0


def hit(score, **kwargs):
    return {"joints": swaying(SMPL, speed=2.0), "skeleton": SMPL, "score": score, "caption": LONG, **kwargs}


def test_retrieval_shows_rank_score_caption_and_what_is_correct():
    figure = plot_retrieval(
        [
            {"query": "wave", "hits": [hit(0.876, correct=False), hit(0.5, correct=True), hit(0.25), hit(0.1)]},
            {"query": LONG, "hits": [hit(-0.33)]},
        ]
    )
    drawn = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title().split("\n")[0] for ax in drawn] == ["1.  0.88", "2.  0.50", "3.  0.25", "1.  -0.33"]
    assert drawn[0].get_title().split("\n")[1].startswith("a person walks in a")
    framed = [
        all(spine.get_visible() and spine.get_edgecolor() == to_rgba(CORRECT_GREEN) for spine in ax.spines.values())
        for ax in drawn
    ]
    assert framed == [False, True, False, False]
    assert figure.subfigs[0].get_suptitle() == "wave"
    assert not any(text.get_parse_math() for ax in drawn for text in (ax.title, ax.figure._suptitle))
    assert not any(ax.texts for ax in drawn)  # small pictures leave the path out
    assert_words_are_whole_and_apart(figure)


def test_pyplot_is_never_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    plot_retrieval([{"query": "wave", "hits": [hit(0.9, correct=True)]}]).savefig(io.BytesIO(), format="png")
    plot_patches(ramps()).savefig(io.BytesIO(), format="svg")


def test_the_module_loads_without_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("motionpatches.processing.plotting_again", plotting.__file__)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.parametrize(
    ("joints", "kwargs", "message"),
    [
        (np.zeros((5, 21, 3)), {}, r"\(5, 21, 3\).*'smpl22' needs \(T, 22, 3\)"),
        (np.zeros((22, 3)), {}, r"\(22, 3\)"),
        (np.zeros((0, 22, 3)), {}, "at least one"),
        (np.full((5, 22, 3), np.nan), {}, "NaN"),
        (np.ones((5, 22, 3)), {"num_poses": 0}, "num_poses is 0"),
    ],
)
def test_joint_errors(joints, kwargs, message):
    with pytest.raises(ValueError, match=message):
        plot_skeleton(joints, "smpl22", **kwargs)


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (np.zeros((1, 3, 16, 40)), None, r"\(1, 3, 16, 40\).*without a batch axis"),
        (np.zeros((16, 40, 3)), None, r"\(16, 40, 3\)"),
        (np.zeros((3, 16, 41)), None, r"\(3, 16, 41\)"),
        (np.zeros((3, 17, 40)), None, "17 frames; expected a multiple of the patch size 8"),
        (np.full((3, 16, 40), np.inf), None, "infinite"),
        (np.zeros((3, 16, 40)), np.ones(16), r"mask has shape \(16,\); expected \(2,\)"),
        (np.zeros((3, 16, 40)), np.zeros(2), "every window as padding"),
    ],
)
def test_patch_errors(values, mask, message):
    with pytest.raises(ValueError, match=message):
        plot_patches(values, mask)


@pytest.mark.parametrize(
    ("plot", "argument", "message"),
    [
        (plot_motion_and_patches, [], "items is an empty list"),
        (plot_motion_and_patches, {"joints": 1}, "items is one dict"),
        (plot_motion_and_patches, [{"joints": 1, "skeleton": "smpl22"}], r"items\[0\] has no caption, motion_values"),
        (plot_retrieval, [], "results is an empty list"),
        (plot_retrieval, [{"query": "x", "hits": []}], r"results\[0\]\['hits'\] is an empty list"),
        (plot_retrieval, [{"query": "x", "hits": [{"joints": 1}]}], "has no skeleton, score, caption"),
    ],
)
def test_list_errors(plot, argument, message):
    with pytest.raises(ValueError, match=message):
        plot(argument)
