"""A motion beside its patches and the attention to them."""

import numpy as np
import pytest
from conftest import smpl_motion, swinging_motion

from motionpatches import MotionPatchProcessor
from motionpatches.processing.patched_motion import patch_motion


def test_patches_and_attention_are_those_of_the_model(model, processor):
    motion = smpl_motion(num_frames=30)
    found = patch_motion(motion, processor.feature_extractor, model)
    inputs = processor(motions=[motion], return_tensors="pt")
    np.testing.assert_array_equal(found.motion_values, inputs["motion_values"][0])
    np.testing.assert_array_equal(found.mask, inputs["motion_attention_mask"][0])
    expected = model.get_motion_attention(inputs["motion_values"], inputs["motion_attention_mask"])
    np.testing.assert_allclose(found.attention, expected[0], rtol=1e-5)
    assert (found.num_frames, found.num_shown, found.cut) == (30, 30, "")
    first = patch_motion(motion, processor.feature_extractor, model, layer=0, rollout=True)
    assert not np.allclose(first.attention, found.attention)


def test_a_model_that_takes_no_mask_attends_to_padding(model, processor):
    processor.feature_extractor.return_attention_mask = False
    processor.feature_extractor.padding = "max_length"
    motion = smpl_motion(num_frames=30)
    found = patch_motion(motion, processor.feature_extractor, model)
    inputs = processor(motions=[motion], return_tensors="pt")
    np.testing.assert_array_equal(found.attention, model.get_motion_attention(**inputs)[0])
    assert found.attention.shape == (8, 5)
    assert found.mask.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("truncation", ["start", "center", "random"])
def test_of_a_long_motion_the_beginning_is_shown_and_it_is_said(truncation):
    processor = MotionPatchProcessor(8, 32, 20.0, normalization=None, truncation=truncation)
    motion = {"joints": swinging_motion(num_frames=300), "skeleton": "smpl22", "fps": 60}
    with pytest.warns(UserWarning, match="1 of 1 motions are longer than max_frames=32"):
        found = patch_motion(motion, processor)
    assert (found.num_frames, found.num_shown) == (32, 96)
    assert found.cut == "the first 1.6 s of 5.0 s"
    assert found.attention is None
    whole = MotionPatchProcessor(8, 104, 20.0, normalization=None)(motion)["motion_values"][0]
    np.testing.assert_array_equal(found.motion_values, whole[:, :32])


def test_raw_joints_have_no_patches():
    processor = MotionPatchProcessor(1, 32, representation="joints", normalization=None)
    with pytest.raises(ValueError, match="takes raw joints"):
        patch_motion(smpl_motion(), processor)


def test_two_persons_are_refused():
    motion = {
        "joints": np.stack([swinging_motion(), swinging_motion(seed=1)]),
        "persons": 2,
        "skeleton": "smpl22",
        "fps": 20,
    }
    with pytest.raises(ValueError, match="of 2 persons"):
        patch_motion(motion, MotionPatchProcessor(normalization=None))
