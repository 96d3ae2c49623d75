"""Windows over a long recording: where they lie, that each is embedded as if it were cut out, and which of them are kept."""

import numpy as np
import pytest
import torch
from conftest import smpl_motion, swinging_motion

from motionpatches import MotionPatchesModel, MotionPatchProcessor, MotionTextProcessor
from motionpatches.motion_moments import (
    embed_windows,
    list_moments,
    sliding_spans,
    suppress_overlaps,
    temporal_iou,
    window_motion,
)
from motionpatches.training.evaluation import embed_motions


def test_windows_begin_every_stride_and_the_last_ends_with_the_recording():
    assert sliding_spans(11, [4], 3).tolist() == [[0, 4], [3, 7], [6, 10], [7, 11]]
    assert sliding_spans(10, [4], 3).tolist() == [[0, 4], [3, 7], [6, 10]]
    assert sliding_spans(5, [5], 1).tolist() == [[0, 5]]


def test_no_window_is_there_twice():
    spans = sliding_spans(10, [4, 20, 4, 10, 30], 2).tolist()
    assert spans == [[0, 4], [2, 6], [4, 8], [6, 10], [0, 10]]


@pytest.mark.parametrize("wrong", [(0, [4], 1), (10, [], 1), (10, [0], 1), (10, [4], 0)])
def test_windows_need_frames(wrong):
    with pytest.raises(ValueError, match="expected 1 or more"):
        sliding_spans(*wrong)


SETTINGS = {
    "canonical frame": {},
    "across skeletons": {"root": "relative", "body_scale": 0.8, "normalization": "points"},
    "published": {"canonicalize": False, "padding": "max_length", "return_attention_mask": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_window_is_embedded_as_the_same_frames_cut_out_alone(settings, model, tokenizer):
    motion = smpl_motion(num_frames=90)
    patches = MotionPatchProcessor(**{"patch_size": 8, "max_frames": 64, "padding": "longest", **settings}).fit([motion])
    recording = window_motion(patches, motion, [1.5, 0.7, 3.0], stride=0.35)
    embeddings = embed_windows(model, patches, recording, batch_size=4)
    cut_out = [{**motion, "joints": motion["joints"][start:end]} for start, end in recording.windows.frames]
    processor = MotionTextProcessor(patches, tokenizer)
    alone = np.concatenate([embed_motions(model, processor, [piece]) for piece in cut_out])
    assert len({len(piece["joints"]) for piece in cut_out}) == 3
    assert np.abs(alone[0] - alone[5]).max() > 1e-3  # else everything would be equal to everything
    np.testing.assert_allclose(embeddings, alone, atol=1e-5)


def test_a_recording_at_another_rate_is_resampled_once_and_cut_then(model, processor):
    patches = processor.feature_extractor
    motion = {"joints": swinging_motion(num_frames=181), "skeleton": "smpl22", "fps": 60}
    recording = window_motion(patches, motion, [1.0], stride=0.5)
    whole = MotionPatchProcessor(normalization=None, canonicalize=False).prepare(patches.resolve([motion])[0]).joints
    assert len(whole) == 61
    pieces = [{"joints": whole[a:b], "skeleton": "smpl22", "fps": 20} for a, b in recording.windows.spans]
    alone = embed_motions(model, processor, pieces)
    np.testing.assert_allclose(embed_windows(model, patches, recording), alone, atol=1e-5)
    assert recording.windows.seconds[:2].tolist() == [[0.0, 1.0], [0.5, 1.5]]
    assert recording.windows.frames[:2].tolist() == [[0, 60], [30, 90]]
    assert recording.windows.frames[-1, 1] == 181
    assert recording.windows.seconds[-1, 1] == recording.windows.duration == pytest.approx(181 / 60)


def test_frames_that_are_repeated_stretch_no_time(processor):
    """KIT-ML's 12.5 frames per second, read as 12, last 4 % longer at the model's rate; its moments are told in real seconds."""
    patches = MotionPatchProcessor(normalization=None, resampling="repeat", patch_size=8, max_frames=64)
    motion = {"joints": swinging_motion("kit21", 250), "skeleton": "kit21", "fps": 12.5}
    windows = window_motion(patches, motion, [2.0], stride=2.0).windows
    assert windows.duration == 20
    assert windows.spans[-1, 1] > 20 * 20
    assert windows.seconds[-1, 1] == pytest.approx(20)
    assert windows.frames[-1, 1] == 250
    assert windows.frames[5].tolist() == pytest.approx([5 * 24, 6 * 24], abs=1)  # 40 frames of the model are 24 of the file


def test_virtual_joints_and_persons_are_cut_along_time(processor):
    patches = MotionPatchProcessor(normalization=None, patch_size=8, max_frames=64)
    coco = swinging_motion("coco17", 60)
    recording = window_motion(patches, {"joints": coco, "skeleton": "coco17", "fps": 20}, [1.0])
    start, end = recording.windows.spans[3]
    cut = patches.prepare(recording.motion._replace(joints=recording.motion.joints[start:end])).joints
    alone = patches.prepare(patches.resolve([{"joints": coco[start:end], "skeleton": "coco17", "fps": 20}])[0]).joints
    np.testing.assert_allclose(cut, alone, atol=1e-6)
    both = {"joints": np.stack([swinging_motion(seed=s) for s in (0, 1)]), "skeleton": "smpl22", "fps": 20, "persons": 2}
    assert window_motion(patches, both, [1.0], stride=0.5).windows.spans.tolist() == [[0, 20], [10, 30], [20, 40]]


def test_each_window_goes_through_the_tower_once_and_padding_is_not_computed(model, processor, monkeypatch):
    shapes = []
    original = MotionPatchesModel.get_motion_features

    def counting(self, motion_values, *arguments, **kwargs):
        shapes.append((len(motion_values), motion_values.shape[2]))
        return original(self, motion_values, *arguments, **kwargs)

    monkeypatch.setattr(MotionPatchesModel, "get_motion_features", counting)
    patches = processor.feature_extractor
    recording = window_motion(patches, smpl_motion(num_frames=50), [1.0, 2.0, 2.5, 1.01], stride=0.5)
    embed_windows(model, patches, recording, batch_size=3)
    assert shapes == [(3, 24), (1, 24), (2, 40), (1, 56)]  # of 20, 40 and 50 frames, in whole patches of 8


def test_default_windows_are_those_that_the_model_takes(processor, recwarn):
    patches = processor.feature_extractor  # of 64 frames, which are 3.2 s
    spans = window_motion(patches, smpl_motion(num_frames=60)).windows.spans
    assert sorted(set((spans[:, 1] - spans[:, 0]).tolist())) == [20, 40]
    short = MotionPatchProcessor(normalization=None, patch_size=8, max_frames=16)
    assert window_motion(short, smpl_motion(num_frames=60)).windows.spans[0].tolist() == [0, 16]
    assert window_motion(patches, smpl_motion(num_frames=30)).windows.spans[-1].tolist() == [0, 30]
    assert not [str(warning.message) for warning in recwarn if "window" in str(warning.message)]


def test_a_recording_shorter_than_a_window_is_looked_at_as_a_whole(processor):
    with pytest.warns(UserWarning, match=r"2 of 3 window lengths are longer than the recording \(1.5 s\)"):
        recording = window_motion(processor.feature_extractor, smpl_motion(num_frames=30), [1.0, 2.0, 3.0], stride=0.25)
    assert recording.windows.spans.tolist() == [[0, 20], [5, 25], [10, 30], [0, 30]]


def test_a_stride_that_leaves_gaps_is_told(processor):
    with pytest.warns(UserWarning, match=r"stride of 2 s is longer than windows of 1 s"):
        window_motion(processor.feature_extractor, smpl_motion(num_frames=60), [1.0, 2.0], stride=2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": [3.5]}, r"window length is 3.5 s, but the model takes at most 3.2 s \(64 frames at 20 per second\)"),
        ({"lengths": [0.05]}, r"window length is 0.05 s; expected at least 0.1 s, which is 2 frames at the 20 frames"),
        ({"lengths": [-1]}, "window length is -1 s"),
        ({"lengths": [float("nan")]}, "window length is nan s"),
        ({"lengths": []}, "no window lengths"),
        ({"stride": 0.0}, r"stride is 0 s; expected at least 0.05 s, which is 1 frame at"),
        ({"stride": float("inf")}, "stride is inf s"),
    ],
)
def test_windows_that_cannot_be(processor, arguments, message):
    with pytest.raises(ValueError, match=message):
        window_motion(processor.feature_extractor, smpl_motion(), **arguments)


def test_a_recording_with_frames_that_are_not_a_number_is_refused_with_their_place(processor):
    motion = smpl_motion(num_frames=60)
    motion["joints"][33, 4] = np.nan
    with pytest.raises(
        ValueError, match=r"3 values that are NaN or infinite, the first at frame 33, joint 4; fill the gaps"
    ):
        window_motion(processor.feature_extractor, motion)


# ---- which windows are kept -----------------------------------------------------------------------------------------------


def test_intersection_over_union():
    spans = [[0, 4], [2, 6], [4, 8], [1, 3], [0, 2]]
    assert temporal_iou(spans, (0, 4)).tolist() == pytest.approx([1, 2 / 6, 0, 0.5, 0.5])


@pytest.mark.parametrize("max_overlap", [0.0, 0.2, 0.5, 1.0])
def test_suppression_is_that_of_torchvision(max_overlap):
    from torchvision.ops import nms

    rng = np.random.default_rng(0)
    spans = sliding_spans(200, [10, 20, 40], 5)
    scores = rng.permutation(len(spans)) / len(spans)
    boxes = torch.tensor([[start, 0, end, 1] for start, end in spans], dtype=torch.float64)
    assert (
        suppress_overlaps(spans, scores, max_overlap=max_overlap)
        == nms(boxes, torch.from_numpy(scores), max_overlap).tolist()
    )


def test_of_equal_scores_the_first_is_the_better():
    spans = sliding_spans(1000, [10], 10)
    assert suppress_overlaps(spans, np.arange(100) % 2) == [*range(1, 100, 2), *range(0, 100, 2)]


def test_moments_are_the_best_of_each_label_best_first(processor):
    windows = window_motion(processor.feature_extractor, smpl_motion(num_frames=60), [1.0], stride=0.5).windows
    scores = np.array([[0.1, 0.9, 0.8, 0.0, 0.3], [0.2, 0.2, 0.2, 0.2, 0.5]])
    moments = list_moments(windows, scores, ["kicks", "waves"], top_k=2)
    assert [(m["label"], m["score"], m["start"], m["end"]) for m in moments] == [
        ("kicks", 0.9, 0.5, 1.5),
        ("waves", 0.5, 2.0, 3.0),
        ("kicks", 0.3, 2.0, 3.0),  # the one of 0.8 overlaps the best
        ("waves", 0.2, 0.0, 1.0),  # of equal ones the first
    ]
    assert (moments[0]["start_frame"], moments[0]["end_frame"]) == (10, 30)
    assert [m["score"] for m in list_moments(windows, scores, ["a", "b"], None, threshold=0.3)] == [0.9, 0.5, 0.3]
    assert len(list_moments(windows, scores, ["a", "b"], None, max_overlap=1.0)) == 10
    assert list_moments(windows, scores, ["a", "b"], threshold=2.0) == []


@pytest.mark.parametrize(("wrong", "message"), [({"top_k": 0}, "top_k must be"), ({"max_overlap": 1.5}, "from 0 to 1")])
def test_choices_out_of_range(processor, wrong, message):
    windows = window_motion(processor.feature_extractor, smpl_motion(), [1.0]).windows
    with pytest.raises(ValueError, match=message):
        list_moments(windows, np.zeros((1, len(windows))), ["kicks"], **wrong)
