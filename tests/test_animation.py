"""Strips, GIFs and MP4s of a motion: what is drawn, how fast it plays, and that a file is whole or not there."""

import numpy as np
import pytest
from conftest import smpl_motion, swinging_motion
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from motionpatches import get_skeleton, read_motion
from motionpatches.processing import animation
from motionpatches.processing.animation import draw_frames, plot_strip, save_figure, whole_file, write_gif, write_mp4
from motionpatches.processing.canonical import from_y_up
from motionpatches.processing.plotting import PART_COLORS
from motionpatches.processing.skeletons import UNITS
from motionpatches.processing.video_files import read_frames


def color_of(part):
    return np.round(255 * np.array(to_rgb(PART_COLORS[part]))).astype(np.uint8)


def columns_of(frame, part):
    """Columns of the pixels that have about the colour of a part."""
    apart = np.abs(frame.astype(int) - color_of(part)).sum(axis=-1)
    return np.argwhere(apart < 30)[:, 1]


def walking(distance, num_frames=20, fps=20):
    pose = np.repeat(get_skeleton("smpl22").rest_pose[None], num_frames, axis=0)
    return {
        "joints": pose + np.linspace(0, distance, num_frames)[:, None, None] * [0, 0, 1],
        "skeleton": "smpl22",
        "fps": fps,
    }


def test_left_and_right_have_their_colours_and_sides():
    frames = draw_frames(walking(0.0, 3))
    for left, right in (("left_arm", "right_arm"), ("left_leg", "right_leg")):
        assert columns_of(frames[0], left).mean() > columns_of(frames[0], right).mean()  # the person faces the reader


@pytest.mark.parametrize("name", ["kit21", "cmu31", "coco17", "smplx55"])
def test_skeletons_of_any_unit_and_axes_have_their_sides(name):
    frame = draw_frames(swinging_motion(name, 2), skeleton=name, fps=20)[0]
    assert columns_of(frame, "left_leg").mean() > columns_of(frame, "right_leg").mean()
    assert columns_of(frame, "left_arm").mean() > columns_of(frame, "right_arm").mean()


@pytest.mark.parametrize(("fps", "picture_fps"), [(20, 20), (120, 30), (12.5, 12.5), (30, 15)])
def test_a_gif_plays_as_long_as_the_motion(tmp_path, fps, picture_fps):
    motion = {**smpl_motion(num_frames=31), "fps": fps}
    write_gif(tmp_path / "a.gif", motion, picture_fps=picture_fps, size=64)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.info["loop"] == 0
        milliseconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(picture))
        assert picture.size == (64, 64)
    num = -(-31 * picture_fps // fps)
    assert milliseconds == pytest.approx(1000 * num / picture_fps, abs=5)


def test_colours_in_a_gif_are_those_of_the_drawing(tmp_path):
    motion = smpl_motion(num_frames=12)
    write_gif(tmp_path / "a.gif", motion, size=128)
    with Image.open(tmp_path / "a.gif") as picture:
        read = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(picture)]
    drawn = draw_frames(motion, size=128)
    assert len(read) == 12
    for one, other in zip(read, drawn, strict=True):
        assert np.abs(one - other).mean() < 1


def test_an_mp4_holds_the_frames(tmp_path):
    motion = walking(2.0, 10)
    write_mp4(tmp_path / "new" / "a.mp4", motion, title="a person walks", size=96)
    read, drawn = read_frames(tmp_path / "new" / "a.mp4"), draw_frames(motion, title="a person walks", size=96)
    assert read.shape == drawn.shape
    assert np.abs(read.astype(int) - drawn).mean() < 6
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "a.mp4"]


def test_the_camera_stands_still_or_follows():
    far, near = (draw_frames(walking(8.0), follow=follow, size=96) for follow in (False, True))
    way = [columns_of(frame, "torso").mean() for frame in (far[0], far[-1])]
    spot = [columns_of(frame, "torso").mean() for frame in (near[0], near[-1])]
    assert way[1] - way[0] > 20
    assert abs(spot[1] - spot[0]) < 1
    assert len(columns_of(near[0], "torso")) > 2 * len(columns_of(far[0], "torso"))  # and the figure is larger


def test_following_somebody_who_stays_changes_nothing():
    skeleton = get_skeleton("h36m17")
    assert skeleton.up_axis != "y"
    pose = from_y_up(skeleton.rest_pose[None, : skeleton.num_joints], skeleton) / UNITS[skeleton.unit]
    motion = {"joints": np.repeat(pose, 2, axis=0), "skeleton": skeleton, "fps": 20}
    still, followed = (draw_frames(motion, size=96, follow=follow).astype(int) for follow in (False, True))
    assert np.abs(still - followed).mean() < 0.5


def test_a_title_stands_above_and_is_whole():
    motion = walking(0.0, 2)
    bare = draw_frames(motion, size=160)
    for title, lines in (("a person waits", 1), ("a person waits for a bus that comes late", 2), ("word " * 60, 2)):
        frames = draw_frames(motion, title=title, size=160)
        band = frames[:, : frames.shape[1] - 160]
        np.testing.assert_array_equal(frames[:, band.shape[1] :], bare)
        dark = band[0].max(axis=-1) < 128
        assert dark.any()
        assert not dark[:, [0, -1]].any()  # nothing touches the edge
        assert frames.shape[1] % 2 == 0
        heights = {1: (14, 26), 2: (26, 44)}[lines]
        assert heights[0] <= band.shape[1] <= heights[1]


def test_a_strip_has_its_title_and_poses(tmp_path):
    figure = plot_strip(smpl_motion(), num_poses=3, title="costs $5 & <b>more</b>")
    (ax,) = figure.axes
    assert ax.get_title() == "costs $5 & <b>more</b>"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["frame 0", "20", "39"]
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        save_figure(tmp_path / f"strip{suffix}", figure)
        assert (tmp_path / f"strip{suffix}").read_bytes().startswith(start)


def test_a_file_and_a_motion_are_drawn_alike(motion_file):
    np.testing.assert_array_equal(draw_frames(motion_file, size=64), draw_frames(read_motion(motion_file), size=64))


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "a.gif").write_text("old")
    monkeypatch.setattr(Image.Image, "save", lambda self, file, **_: (file.write_text("half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        write_gif(tmp_path / "a.gif", smpl_motion(num_frames=3), size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
    assert (tmp_path / "a.gif").read_text() == "old"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), whole_file(tmp_path):
        pass


PAIR = {"joints": np.zeros((2, 10, 22, 3)), "persons": 2, "skeleton": "smpl22", "fps": 20}
BAD = [
    (smpl_motion(), {"picture_fps": 60}, "at most 50 pictures per second"),
    (smpl_motion(), {"picture_fps": 0}, "at most 50 pictures per second"),
    (smpl_motion(), {"size": 65}, "even number"),
    (np.zeros((0, 22, 3)), {"skeleton": "smpl22"}, "has 0 frames"),
    (np.full((5, 22, 3), np.nan), {"skeleton": "smpl22"}, "NaN or infinite"),
    (np.zeros((5, 22, 3)), {}, "says no skeleton"),
    (PAIR, {}, "of 2 persons; one is drawn"),
]


@pytest.mark.parametrize(("motion", "arguments", "message"), BAD, ids=[message for *_, message in BAD])
def test_what_cannot_be_drawn(tmp_path, motion, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_gif(tmp_path / "a.gif", motion, **arguments)
    assert not list(tmp_path.iterdir())


def test_too_many_pictures_are_refused_before_they_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(animation, "MAX_BYTES", 3 * 64 * 64 * 39)
    with pytest.raises(ValueError, match="40 pictures of 64×64 pixels, for 2 s of motion"):
        draw_frames(smpl_motion(num_frames=40), size=64)
    assert len(draw_frames(smpl_motion(num_frames=39), size=64)) == 39
