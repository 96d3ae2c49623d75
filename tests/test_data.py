"""Training pairs and their batches: what the model is given."""

import numpy as np

from motionpatches import make_motions, mirror_caption, mirror_joints
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.data import MotionTextDataset, count_long_captions, make_loader
from motionpatches.training.sampling import PairKey


def test_a_mirrored_pair_is_mirrored_in_motion_and_caption(processor):
    rows = to_dataset(make_motions(1, "smpl22", 0, actions=["kick"]), "made")
    dataset = MotionTextDataset(rows, processor)
    plain, mirrored = dataset[PairKey(0, 0, 0, False)], dataset[PairKey(0, 0, 0, True)]
    assert mirrored["caption"] == mirror_caption(plain["caption"])
    twice = mirror_joints(mirrored["motion"].joints, mirrored["motion"].skeleton)
    np.testing.assert_allclose(twice, plain["motion"].joints, atol=1e-5)
    assert np.abs(mirrored["motion"].joints - plain["motion"].joints).max() > 0.1


def test_loader_gives_what_the_model_takes(processor):
    rows = to_dataset(make_motions(5, "smpl22", 0, actions=["wave", "kick"]), "made")
    loader = make_loader(rows, processor, batch_size=3, seed=0, unique_captions=True)
    batch = next(iter(loader))
    assert set(batch) == {"motion_values", "motion_attention_mask", "input_ids", "attention_mask"}
    assert batch["motion_values"].shape[:2] == (3, 3)
    again = next(iter(make_loader(rows, processor, batch_size=3, seed=0, unique_captions=True)))
    np.testing.assert_array_equal(batch["motion_values"], again["motion_values"])  # random crops included


def test_long_captions_are_counted(processor):
    assert count_long_captions(processor, ["walks", "walks " * 63]) == 1
