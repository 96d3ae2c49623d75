"""Moments of a long recording: windows of time laid over it, their embeddings, and the best of them that hardly overlap.

The windows here are pieces of a recording, some seconds long. Each is embedded as if it had been cut out and were a motion of
its own. What they share is done once for the recording: reading, unit and up axis, resampling, virtual joints. What they cannot
share is the canonical frame, since each window has its own first pose, floor and, where bodies are scaled, leg length; so that
patches and tokens of the same instant differ from window to window, and each window goes through the motion tower: once,
however many sentences are asked about it.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


#: Seconds that windows last where nobody says, as far as the model takes motions that long; and from one to the next.
DEFAULT_LENGTHS = (1.0, 2.0, 4.0, 8.0)
DEFAULT_STRIDE = 0.25
#: Intersection over union above which the worse of two moments is dropped.
DEFAULT_OVERLAP = 0.1


@dataclass(frozen=True)
class Windows:
    """Where the windows of a recording lie.

    Args:
        spans: Shape (W, 2), first frame and the one behind the last, at the frame rate of the model; no two are equal.
        seconds: The same in seconds from the beginning of the recording, shape (W, 2).
        frames: The same in frames of the recording itself, shape (W, 2).
        duration: Of the recording, in seconds.
    """

    spans: np.ndarray
    seconds: np.ndarray
    frames: np.ndarray
    duration: float

    def __len__(self) -> int:
        return len(self.spans)


@dataclass(frozen=True)
class WindowedMotion:
    """A recording and the windows to look at.

    Args:
        motion: The `ResolvedMotion` at the model's frame rate, its joints not yet in the canonical frame.
        windows: Its windows.
    """

    motion: Any
    windows: Windows


def sliding_spans(num_frames: int, lengths: Sequence[int], stride: int) -> np.ndarray:
    """Windows of each length from the first frame on, and one that ends with the last frame.

    Args:
        num_frames: T frames of the recording.
        lengths: Frames of a window. One longer than the recording is the whole recording.
        stride: Frames from one window to the next.

    Returns:
        Shape (W, 2): first frame and the one behind the last, each pair once, by length and then by time.

    Raises:
        ValueError: If a number is below 1.
    """
    if num_frames < 1 or stride < 1 or not len(lengths) or min(lengths) < 1:
        raise ValueError(
            f"got {num_frames} frames, lengths {list(lengths)}, stride {stride}; expected 1 or more of each, in frames"
        )
    spans = []
    for length in sorted({min(length, num_frames) for length in lengths}):
        last = num_frames - length
        starts = np.union1d(np.arange(0, last + 1, stride), last)
        spans.append(np.stack([starts, starts + length], axis=1))
    return np.concatenate(spans)


def window_motion(
    patches: Any,
    motion: Any,
    lengths: Sequence[float] | None = None,
    stride: float = DEFAULT_STRIDE,
    skeleton: Any = None,
    fps: Any = None,
) -> WindowedMotion:
    """Read a recording, bring it to the model's frame rate and lay windows over it.

    Args:
        patches: The model's `MotionPatchProcessor`.
        motion: Whatever it takes as one motion, of any length: a file, an array (T, J, 3), a dict.
        lengths: Seconds of windows, one or several; rounded to frames. Default 1, 2, 4 and 8 s, as far as the model takes
            motions that long.
        stride: Seconds from one window to the next, of all lengths; rounded to frames. The last window of each length ends with
            the recording.
        skeleton, fps: Of a motion that does not say its own.

    Raises:
        ValueError: If a length or the stride is no time of at least 2 frames and 1 frame, or a length more than the model
            takes; and for motions that the processor refuses. A recording with NaN in any frame is refused, with the place
            of the first: fill the gaps or cut them out.

    Warns:
        UserWarning: If the recording is shorter than windows that were asked for, which are the whole of it then; or if the
            stride is longer than a window, so that some frames are in none.
    """
    in_frames, step = _to_frames(lengths, stride, patches.fps, patches.max_frames)
    (resolved,) = patches.resolve([motion], skeleton=skeleton, fps=fps)
    num_own = resolved.joints.shape[-3]
    duration = num_own / resolved.fps
    at_rate = _resampler(patches).prepare(resolved)
    num_frames = at_rate.joints.shape[-3]
    longer = sum(length > num_frames for length in in_frames)
    if longer and lengths is not None:
        warnings.warn(
            f"{longer} of {len(in_frames)} window lengths are longer than the recording ({duration:g} s); the whole recording "
            "is looked at in their place",
            stacklevel=2,
        )
    if step > min(in_frames) and num_frames > min(in_frames):
        warnings.warn(
            f"the stride of {step / patches.fps:g} s is longer than windows of {min(in_frames) / patches.fps:g} s, which leave "
            "frames between them that none looks at; pass a shorter stride",
            stacklevel=2,
        )
    spans = sliding_spans(num_frames, in_frames, step)
    # Frames that are repeated or left out stretch the time of the whole (KIT-ML's by 4 %), a filter does not.
    rate = num_frames / duration if patches.resampling == "repeat" else patches.fps
    seconds = np.minimum(spans / rate, duration)
    frames = np.rint(seconds * resolved.fps).astype(np.int64)
    return WindowedMotion(at_rate, Windows(spans, seconds, frames, duration))


def _to_frames(lengths: Sequence[float] | None, stride: float, fps: float, max_frames: int) -> tuple[list[int], int]:
    """Distinct window lengths and the stride, in frames."""
    longest = max_frames / fps
    if lengths is None:
        lengths = [length for length in DEFAULT_LENGTHS if length <= longest] or [longest]
    lengths = [float(length) for length in np.atleast_1d(lengths)]
    if not lengths:
        raise ValueError("there are no window lengths; pass at least one, in seconds")
    for name, value, least in (*(("window length", length, 2) for length in lengths), ("stride", float(stride), 1)):
        if not math.isfinite(value) or round(value * fps) < least:
            raise ValueError(
                f"{name} is {value:g} s; expected at least {least / fps:g} s, which is {least} frame{'s' * (least > 1)} at the "
                f"{fps:g} frames per second of the model"
            )
    frames = sorted({round(length * fps) for length in lengths})
    if frames[-1] > max_frames:
        raise ValueError(
            f"window length is {max(lengths):g} s, but the model takes at most {longest:g} s ({max_frames} frames at {fps:g} per "
            "second); pass shorter windows"
        )
    return frames, round(float(stride) * fps)


def _resampler(patches: Any) -> Any:
    """A processor that brings a motion to the same frame rate and does nothing else."""
    return type(patches)(fps=patches.fps, resampling=patches.resampling, canonicalize=False, normalization=None)


@torch.no_grad()
def embed_windows(model: Any, patches: Any, recording: WindowedMotion, batch_size: int = 64) -> np.ndarray:
    """The embedding of each window, equal to that of the same frames cut out of the resampled recording as a motion of their own.

    Args:
        model: A `MotionPatchesModel` in evaluation mode.
        patches: Its `MotionPatchProcessor`.
        recording: The recording with its windows.
        batch_size: Windows in one forward pass; all of a batch have one length.

    Returns:
        Shape (W, projection_dim), float32, of unit length.

    Raises:
        ValueError: As the processor.
    """
    spans, joints = recording.windows.spans, recording.motion.joints
    lengths = spans[:, 1] - spans[:, 0]
    # Windows of one length need no padding, unless the model was trained to attend to it.
    padding = "longest" if patches.return_attention_mask else None
    embeddings = np.empty((len(spans), model.config.projection_dim), dtype=np.float32)
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for chosen in np.split(alike, range(batch_size, len(alike), batch_size)):
            cut = [recording.motion._replace(joints=joints[..., start:end, :, :]) for start, end in spans[chosen]]
            inputs = patches.to_patches([patches.prepare(piece) for piece in cut], "pt", padding, warn=False)
            features = model.get_motion_features(**inputs.to(model.device, model.dtype)).pooler_output
            embeddings[chosen] = F.normalize(features.float(), dim=-1).cpu().numpy()
    return embeddings


def temporal_iou(spans: Any, span: Any) -> np.ndarray:
    """Intersection over union in time, in [0, 1]: spans (W, 2) and one span (start, end) → (W,)."""
    starts, ends = np.asarray(spans).T
    start, end = span
    shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0)
    return shared / ((ends - starts) + (end - start) - shared)


def suppress_overlaps(
    spans: np.ndarray,
    scores: np.ndarray,
    top_k: int | None = None,
    threshold: float | None = None,
    max_overlap: float = DEFAULT_OVERLAP,
) -> list[int]:
    """The best spans that hardly overlap (greedy non-maximum suppression).

    Args:
        spans: Shape (W, 2).
        scores: Shape (W,). Of equal scores the first is the better.
        top_k: How many at most; `None`: all.
        threshold: Least score.
        max_overlap: A span whose intersection over union with a better one is above this is dropped.

    Returns:
        Their numbers, best first.
    """
    left = np.argsort(-scores, kind="stable")
    if threshold is not None:
        left = left[scores[left] >= threshold]
    kept: list[int] = []
    while len(left) and (top_k is None or len(kept) < top_k):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[temporal_iou(spans[left], spans[best]) <= max_overlap]
    return kept


def list_moments(
    windows: Windows,
    scores: np.ndarray,
    labels: Sequence[str],
    top_k: int | None = 5,
    threshold: float | None = None,
    max_overlap: float = DEFAULT_OVERLAP,
) -> list[dict[str, Any]]:
    """The moments that each label describes best.

    Args:
        windows: W windows.
        scores: Shape (L, W), a row for each label.
        labels: L texts.
        top_k: The most moments of each label, since scores of different sentences do not compare well; `None`: all.
        threshold, max_overlap: As in `suppress_overlaps`; moments of different labels may overlap.

    Returns:
        `{"score", "label", "start", "end", "start_frame", "end_frame"}` in seconds, and in frames of the recording from the
        first to the one behind the last; best first.

    Raises:
        ValueError: If `top_k` is below 1 or `max_overlap` not in [0, 1].
    """
    check_choice(top_k, max_overlap)
    moments = []
    for label, row in zip(labels, scores, strict=True):
        for index in suppress_overlaps(windows.spans, row, top_k, threshold, max_overlap):
            (start, end), (first, behind) = windows.seconds[index].tolist(), windows.frames[index].tolist()
            place = {"start": start, "end": end, "start_frame": first, "end_frame": behind}
            moments.append({"score": float(row[index]), "label": label, **place})
    return sorted(moments, key=lambda moment: -moment["score"])


def check_choice(top_k: int | None = None, max_overlap: float | None = None) -> None:
    """Raise a `ValueError` if `top_k` is below 1 or `max_overlap` not in [0, 1]."""
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if max_overlap is not None and not 0 <= max_overlap <= 1:
        raise ValueError(f"max_overlap is an intersection over union from 0 to 1, got {max_overlap}")
