"""Video files: what was written is read again, and is whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches.processing import video_files
from motionpatches.processing.rendering import Prop, render_motion
from motionpatches.processing.video_files import VideoReader, read_frames, write_video


av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'motionpatches[video]'")


@pytest.fixture(scope="module")
def frames():
    return render_motion(swinging_motion(num_frames=20), "smpl22", [Prop("left", "red")], "blue", 64)


def test_frames_come_back(tmp_path, frames):
    write_video(tmp_path / "a.mp4", frames, 12.5)
    found = read_frames(tmp_path / "a.mp4")
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    assert np.abs(found.astype(int) - frames).mean() < 4
    np.testing.assert_array_equal(read_frames(tmp_path / "a.mp4", 5), found[::4])
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_the_same_frames_are_the_same_file(tmp_path, frames):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, frames, 20)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_references_are_read_from_the_folder_of_the_data(tmp_path, frames):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", frames, 20)
    reader = VideoReader(tmp_path, num_frames=4)
    assert reader.read({"path": "videos/a.mp4"}).shape == (4, 64, 64, 3)
    assert VideoReader(tmp_path).read({"path": "videos/a.mp4"}).shape == (20, 64, 64, 3)
    with pytest.raises(FileNotFoundError, match=r"has no video 'videos/b\.mp4'; pass the folder"):
        reader.read({"path": "videos/b.mp4"})


class Stopped(BaseException):
    """What ends a process."""


@pytest.mark.parametrize("killed", [False, True])
def test_a_file_that_cannot_be_made_whole_is_not_there(tmp_path, frames, monkeypatch, killed):
    write_video(tmp_path / "a.mp4", frames, 20)
    before = (tmp_path / "a.mp4").read_bytes()
    original, calls = av.VideoFrame, []

    class Frame:
        @staticmethod
        def from_ndarray(*arguments, **kwargs):
            calls.append(1)
            if len(calls) == 15:
                raise Stopped
            return original.from_ndarray(*arguments, **kwargs)

    monkeypatch.setattr(av, "VideoFrame", Frame)
    if killed:  # who is killed cleans nothing up
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    for name in ("a.mp4", "b.mp4"):
        calls.clear()
        with pytest.raises(Stopped):
            write_video(tmp_path / name, frames, 20)
    assert (tmp_path / "a.mp4").read_bytes() == before
    left = sorted(file.name for file in tmp_path.iterdir())
    assert [name for name in left if name.endswith(".mp4")] == ["a.mp4"]
    assert killed == (len(left) > 1)


def test_what_is_no_video_says_so(tmp_path, frames):
    with pytest.raises(FileNotFoundError, match="no video file"):
        read_frames(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"a\.mp4' cannot be read as a video"):
        read_frames(tmp_path / "a.mp4")
    write_video(tmp_path / "b.mp4", frames, 20)
    with pytest.raises(ValueError, match=r"b\.mp4'.*num_frames=21"):
        read_frames(tmp_path / "b.mp4", 21)
    with pytest.raises(ValueError, match="num_frames is 0"):
        read_frames(tmp_path / "b.mp4", 0)
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as a video"):
        read_frames(tmp_path / "b.mp4", 5)


@pytest.mark.parametrize(
    ("shape", "kind", "fps", "message"),
    [
        ((3, 64, 64, 4), np.uint8, 20, r"shape \(3, 64, 64, 4\)"),
        ((0, 64, 64, 3), np.uint8, 20, r"expected \(T, H, W, 3\)"),
        ((3, 64, 64, 3), np.float32, 20, "type float32"),
        ((3, 63, 64, 3), np.uint8, 20, "64×63 pixels; H.264 needs even numbers"),
        ((3, 64, 64, 3), np.uint8, 0, "fps is 0"),
    ],
)
def test_impossible_frames(tmp_path, shape, kind, fps, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", np.zeros(shape, kind), fps)


def test_without_pyav_the_extra_is_named(tmp_path, frames, monkeypatch):
    monkeypatch.setattr(video_files, "is_av_available", lambda: False)
    with pytest.raises(ImportError, match=r"needs PyAV: pip install 'motionpatches\[video\]'"):
        write_video(tmp_path / "a.mp4", frames, 20)
