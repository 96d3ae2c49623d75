"""Video files: frames ↔ MP4, with PyAV; and what a conversation refers to by the path of a file."""

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils.import_utils import is_av_available
from transformers.video_utils import load_video


_CODEC = "libx264"
# One thread and no look ahead: with either, the same frames made files that differed from run to run.
_SETTINGS = {"crf": "20", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
_PIXELS = "yuv420p"


def write_video(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Write frames as an MP4 file (H.264), which is there when it is whole.

    Args:
        path: The file; what is there is replaced. Its folder must be there.
        frames: Shape (T, H, W, 3), uint8; H and W even numbers.
        fps: Frames per second.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If the frames are of another form, there are none, or `fps` is not positive.
        OSError: If the file cannot be written.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"frames has shape {frames.shape} and type {frames.dtype}; expected (T, H, W, 3) of uint8")
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(f"frames are {width}×{height} pixels; H.264 needs even numbers")
    if not 0 < fps < 1000:
        raise ValueError(f"fps is {fps!r}; expected a positive number of frames per second, such as 20")
    _require_av(path)
    import av

    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with av.open(str(temporary), mode="w", format="mp4") as container:
            stream: Any = container.add_stream(_CODEC, rate=Fraction(fps).limit_denominator(1001), options=_SETTINGS)
            stream.width, stream.height, stream.pix_fmt = width, height, _PIXELS
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=_PIXELS)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_frames(path: str | Path, num_frames: int | None = None) -> np.ndarray:
    """Decode frames of a video file, evenly over its length.

    Args:
        path: The file.
        num_frames: How many; default all.

    Returns:
        Shape (T, H, W, 3), uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If PyAV is not installed.
        ValueError: If the file is no video, or has fewer frames.
    """
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; expected at least 1, or None for all")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no video file {str(path)!r}")
    _require_av(path)
    import av

    try:
        frames, _ = load_video(str(path), num_frames=num_frames, backend="pyav")
    except (av.FFmpegError, IndexError) as error:  # an index error: no stream of pictures
        raise ValueError(f"{str(path)!r} cannot be read as a video ({error}); is it whole?") from error
    except ValueError as error:  # fewer frames
        raise ValueError(f"{str(path)!r}: {error}") from error
    return np.asarray(frames)


class VideoReader:
    """Frames of videos by reference.

    Args:
        folder: What the paths of references start from.
        num_frames: Frames of each video, evenly over its length; default all.
    """

    def __init__(self, folder: str | Path, num_frames: int | None = None) -> None:
        self.folder, self.num_frames = Path(folder), num_frames

    def path(self, video: Mapping[str, Any]) -> Path:
        """The file of `{"path": …}`.

        Raises:
            FileNotFoundError: If there is none.
        """
        path = self.folder / str(video["path"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{str(self.folder)!r} has no video {video['path']!r}; pass the folder that it is relative to"
            )
        return path

    def read(self, video: Mapping[str, Any]) -> np.ndarray:
        """Frames (T, H, W, 3), uint8, of `{"path": …}`.

        Raises:
            FileNotFoundError, ImportError, ValueError: As `read_frames`.
        """
        return read_frames(self.path(video), self.num_frames)


def _require_av(path: str | Path) -> None:
    if not is_av_available():
        raise ImportError(f"the video {str(path)!r} needs PyAV: pip install 'motionpatches[video]'")
