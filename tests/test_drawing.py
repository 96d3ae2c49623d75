"""`motionpatches draw`: the suffix says what is written."""

import numpy as np
import pytest
from conftest import swinging_motion
from PIL import Image

from motionpatches.processing import video_files
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.processing.video_files import read_frames
from motionpatches.training.drawing import KINDS, Drawing, draw_motion


STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".gif": b"GIF89a", ".html": b"<!DOCTYPE html>"}


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_every_kind_is_written(suffix, motion_file, tmp_path):
    output = tmp_path / "out" / f"picture{suffix.upper()}"
    assert draw_motion(motion_file, output, Drawing(title="a walk")) == KINDS[suffix]
    content = output.read_bytes()
    assert content[4:8] == b"ftyp" if suffix == ".mp4" else content.startswith(STARTS[suffix])
    assert len(list(output.parent.iterdir())) == 1


def test_options_reach_the_picture(motion_file, tmp_path):
    draw_motion(motion_file, tmp_path / "a.gif", Drawing(size=64, picture_fps=10, follow=True))
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.size, picture.n_frames) == ((64, 64), 20)
    draw_motion(motion_file, tmp_path / "a.mp4", Drawing(size=48, title="a walk"))
    assert read_frames(tmp_path / "a.mp4").shape[::2] == (40, 48)
    draw_motion(motion_file, tmp_path / "a.svg", Drawing(num_poses=4))
    assert (tmp_path / "a.svg").read_text().count("<!-- 13 -->") == 1


def test_a_page_of_a_checkpoint_has_attention(motion_file, trained_run, tmp_path):
    draw_motion(motion_file, tmp_path / "bare.html")
    draw_motion(motion_file, tmp_path / "page.html", Drawing(checkpoint=str(trained_run / "best"), rollout=True))
    columns = '"x":[0.5,1.5,2.5,3.5,4.5]'
    assert columns in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert columns not in (tmp_path / "bare.html").read_text(encoding="utf-8")


def test_what_the_file_does_not_say_can_be_said(tmp_path):
    np.save(tmp_path / "walk.npy", swinging_motion())
    with pytest.raises(ValueError, match=r"walk\.npy: .*has 22 joints and says no skeleton"):
        draw_motion(tmp_path / "walk.npy", tmp_path / "a.png")
    options = ReadOptions(skeleton=get_skeleton("smpl22"), fps=10)
    draw_motion(tmp_path / "walk.npy", tmp_path / "a.gif", Drawing(size=64), options)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 80  # 4 s at 20 per second


def broken(tmp_path, joints):
    np.savez(tmp_path / "broken.npz", joints=joints, skeleton="smpl22", fps=20)
    return tmp_path / "broken.npz"


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4", ".html"])
def test_what_cannot_be_drawn_is_named_and_leaves_nothing(suffix, tmp_path):
    joints = swinging_motion()
    joints[3, 5] = np.nan
    for made, message in (
        (joints, r"broken\.npz: has 3 values that are NaN or infinite, the first at frame 3, joint 5"),
        (joints[:1], r"broken\.npz: has 1 frames; a motion needs at least two"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_motion(broken(tmp_path, made), tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.npz"]


BAD = [
    ("a.bmp", {}, r"cannot draw into 'a\.bmp'; its name must end in \.png, \.pdf, \.svg, \.gif, \.mp4, \.html"),
    ("a", {}, "must end in"),
    ("a.gif", {"num_poses": 3}, "num_poses is for a strip of poses, and this is an animation"),
    ("a.png", {"follow": True}, "follow is for an animation, and this is a strip of poses"),
    ("a.mp4", {"checkpoint": "x"}, "checkpoint is for a page, and this is an animation"),
    ("a.html", {"layer": 0}, "name a checkpoint too"),
    ("a.png", {"num_poses": 0}, "num_poses is 0; expected at least 1"),
    ("a.gif", {"picture_fps": 100}, "at most 50 pictures"),
]


@pytest.mark.parametrize(("name", "drawing", "message"), BAD, ids=[message for *_, message in BAD])
def test_impossible_wishes(name, drawing, message, motion_file, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_motion(motion_file, tmp_path / name, Drawing(**drawing))
    assert [path.name for path in tmp_path.iterdir()] == [motion_file.name]


def test_a_missing_library_is_named_with_its_extra(motion_file, tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "is_av_available", lambda: False)
    with pytest.raises(ImportError, match=r"motionpatches\[video\]"):
        draw_motion(motion_file, tmp_path / "a.mp4")


def test_no_such_file_or_checkpoint(motion_file, tmp_path):
    with pytest.raises(FileNotFoundError):
        draw_motion(tmp_path / "none.bvh", tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        draw_motion(motion_file, tmp_path / "a.html", Drawing(checkpoint=str(tmp_path / "none")))
