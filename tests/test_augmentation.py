"""Augmented motions: each change does what it says, and nothing where it is off."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from hypothesis import given, settings
from hypothesis import strategies as st

from motionpatches import MotionPatchProcessor, get_skeleton
from motionpatches.processing.canonical import facing_direction, leg_length
from motionpatches.processing.skeletons import UNITS
from motionpatches.training.augmentation import Augmentation, mix_parts
from motionpatches.training.recipe import FineTuningArguments, RunArguments


PROCESSOR = MotionPatchProcessor(normalization=None)
SMPL = get_skeleton("smpl22")


def points(augmentation, seed=0, motion=None, processor=PROCESSOR, skeleton="smpl22", fps=20):
    motion = swinging_motion(skeleton) if motion is None else motion
    resolved = processor.resolve([motion], skeleton, fps)[0]
    return augmentation.prepare(processor, resolved, np.random.default_rng(seed)).joints


PLAIN = points(Augmentation())


def test_switched_off_it_is_the_processor_itself():
    np.testing.assert_array_equal(PLAIN, PROCESSOR.prepare(PROCESSOR.resolve([swinging_motion()], "smpl22", 20)[0]).joints)


def test_heading_turns_all_frames_alike_about_the_vertical():
    found = []
    for seed in range(30):
        turned = points(Augmentation(heading=40), seed)
        np.testing.assert_allclose(turned[..., 1], PLAIN[..., 1], atol=1e-5)
        flat, flat_turned = PLAIN[..., [0, 2]] @ [1, 1j], turned[..., [0, 2]] @ [1, 1j]
        away = np.abs(flat) > 0.05  # on the axis there is no angle
        angles = np.degrees(np.angle(flat_turned[away] / flat[away]))
        assert np.ptp(angles) < 1e-2
        found.append(angles[0])
    assert -40 <= min(found) < -20
    assert 20 < max(found) <= 40


def test_tempo_changes_the_length_within_its_bound():
    lengths = {len(points(Augmentation(tempo=0.25), seed)) for seed in range(20)}
    assert min(lengths) >= 40 / 1.25
    assert max(lengths) <= np.ceil(40 / 0.75)
    assert len(lengths) > 5


def test_offset_is_constant_in_time_and_jitter_is_not():
    moved = points(Augmentation(offset=0.02)) - PLAIN
    assert np.abs(moved).max() > 0.01
    assert moved.std(axis=0).max() < 1e-6
    shaken = points(Augmentation(jitter=0.02)) - PLAIN
    assert shaken.std(axis=0).mean() == pytest.approx(0.02, rel=0.3)


def test_noise_is_in_metres_also_where_the_processor_keeps_millimetres():
    kept = MotionPatchProcessor(normalization=None, canonicalize=False)
    plain = points(Augmentation(), processor=kept, skeleton="kit21")
    for field in ("offset", "jitter"):
        moved = points(Augmentation(**{field: 0.02}), processor=kept, skeleton="kit21") - plain
        assert moved.std() * UNITS["millimetres"] == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("options", [{}, {"body_scale": 0.8}, {"canonicalize": False}])
@pytest.mark.parametrize("root", ["global", "relative"])
def test_scale_makes_the_whole_body_larger_with_its_feet_on_the_floor(root, options):
    processor = MotionPatchProcessor(normalization=None, root=root, **options)
    motion = swinging_motion() + np.array([0.5, -3.0, -2.0])  # what is not canonical stands elsewhere, on another floor
    plain = whole(points(Augmentation(), motion=motion, processor=processor), root)
    factors = []
    for seed in range(20):
        scaled = whole(points(Augmentation(scale=0.2), seed, motion, processor), root)
        factor = leg_length(scaled, SMPL) / leg_length(plain, SMPL)
        assert scaled[..., 1].min() == pytest.approx(plain[..., 1].min(), abs=1e-5)
        np.testing.assert_allclose(scaled[0, SMPL.pelvis, [0, 2]], plain[0, SMPL.pelvis, [0, 2]], atol=1e-5)
        np.testing.assert_allclose(scaled - scaled[0, 0], factor * (plain - plain[0, 0]), atol=1e-4)
        factors.append(factor)
    assert 0.8 <= min(factors) < 0.9
    assert 1.1 < max(factors) <= 1.2


def whole(joints, root):
    """The joints of a motion in one frame, from the form that the processor gives them."""
    if root == "global":
        return joints
    together = joints + joints[:, [SMPL.pelvis]]
    together[:, SMPL.pelvis] = joints[:, SMPL.pelvis]
    return together


@pytest.mark.parametrize("change", [{"heading": 60}, {"scale": 0.2}])
def test_the_vertical_is_that_of_the_skeleton_where_the_processor_keeps_it(change):
    kept = MotionPatchProcessor(normalization=None, canonicalize={"up_axis": False})
    plain, changed = (points(a, processor=kept, skeleton="mvn23") for a in (Augmentation(), Augmentation(**change)))
    heights, new_heights = plain[..., 2], changed[..., 2]
    factor = np.ptp(new_heights) / np.ptp(heights)
    np.testing.assert_allclose(new_heights - heights.min(), factor * (heights - heights.min()), atol=1e-5)
    assert np.abs(changed - plain).max() > 0.01


def test_a_change_of_several_persons_keeps_them_together():
    pair = {
        "joints": np.stack([swinging_motion(), swinging_motion(seed=1) + np.array([1, 0, 0])]),
        "persons": 2,
        "skeleton": "smpl22",
    }
    plain = points(Augmentation(), motion=pair, skeleton=None)
    changed = points(Augmentation(heading=50, scale=0.2, crop=0.5), motion=pair, skeleton=None)
    assert changed.shape[0] == 2
    scaled = points(Augmentation(heading=50, scale=0.2), motion=pair, skeleton=None)
    distances = [np.linalg.norm(joints[0] - joints[1], axis=-1) for joints in (plain, scaled)]
    assert np.ptp(distances[1] / distances[0]) < 1e-4


def test_crop_leaves_a_stretch_of_the_motion():
    kept = MotionPatchProcessor(normalization=None, canonicalize=False)
    motion = swinging_motion(num_frames=100)
    starts, ends, lengths = set(), set(), set()
    for seed in range(60):
        left = points(Augmentation(crop=0.4), seed, motion, kept)
        start = int(np.flatnonzero((motion == left[0]).all(axis=(1, 2)))[0])
        np.testing.assert_array_equal(left, motion[start : start + len(left)])
        starts.add(start)
        ends.add(start + len(left))
        lengths.add(len(left))
    assert min(lengths) >= 60
    assert min(lengths) < 70
    assert max(lengths) > 90
    assert min(starts) < 5
    assert max(starts) > 20
    assert min(ends) < 80
    assert max(ends) > 95


def test_after_a_crop_the_canonical_frame_begins_with_what_is_left():
    motion = swinging_motion(num_frames=100)
    for seed in range(5):
        left = points(Augmentation(crop=0.6), seed, motion)
        assert len(left) < 100
        np.testing.assert_allclose(left[0, SMPL.pelvis, [0, 2]], 0, atol=1e-5)
        np.testing.assert_allclose(facing_direction(left, SMPL)[0], [0, 0, 1], atol=1e-5)
        assert left[..., 1].min() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("num_frames", "fps", "left"), [(20, 20, 16), (60, 50, 16), (20, 20 / 3, 18), (12, 20, 12), (2, 60, 1)]
)
def test_a_crop_leaves_a_whole_window_if_there_was_one(num_frames, fps, left):
    motion = swinging_motion(num_frames=num_frames)
    lengths = [len(points(Augmentation(crop=0.95), seed, motion, fps=fps)) for seed in range(30)]
    assert min(lengths) == left


def test_a_crop_of_a_motion_at_another_tempo_leaves_a_whole_window():
    motion = swinging_motion(num_frames=60)
    assert 16 <= min(len(points(Augmentation(crop=0.95, tempo=0.5), seed, motion)) for seed in range(60)) < 20


def test_the_seed_decides():
    strong = Augmentation(heading=30, tempo=0.2, offset=0.02, jitter=0.01, scale=0.1, crop=0.3)
    np.testing.assert_array_equal(points(strong, 3), points(strong, 3))
    assert points(strong, 3).shape != points(strong, 4).shape or not np.allclose(points(strong, 3), points(strong, 4))


def test_single_precision_stays():
    every = Augmentation(heading=30, tempo=0.2, offset=0.02, jitter=0.01, scale=0.1, crop=0.3)
    assert points(every, motion=swinging_motion().astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"heading": -1}, "heading=-1 must be at least 0 and at most 180"),
        ({"heading": 200}, "heading=200 must be at least 0 and at most 180"),
        ({"tempo": 1.0}, "tempo=1.0 must be at least 0 and below 1"),
        ({"offset": float("inf")}, r"offset=inf must be at least 0 \(metres\)"),
        ({"jitter": -0.1}, "jitter=-0.1 must be at least 0"),
        ({"scale": 1}, "scale=1 must be at least 0 and below 1"),
        ({"crop": 1.5}, "crop=1.5 must be at least 0 and below 1"),
        ({"crop": float("nan")}, "crop=nan must be at least 0 and below 1"),
        ({"part_mix": 1.1}, "part_mix=1.1 must be at least 0 and at most 1"),
    ],
)
def test_impossible_amounts(bad, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**bad)


@pytest.mark.parametrize("arguments", [RunArguments, FineTuningArguments])
def test_a_recipe_says_all_amounts(arguments):
    names = [field.name for field in dataclasses.fields(arguments) if field.name.startswith("augment_")]
    amounts = {name: (number + 1) / 100 for number, name in enumerate(names)}
    made = Augmentation.from_run(arguments(**amounts))
    expected = {name.removeprefix("augment_"): amount for name, amount in amounts.items() if name != "augment_mirror"}
    assert {name: value for name, value in vars(made).items() if value} == expected
    with pytest.raises(ValueError, match="crop=2 must be"):
        Augmentation.from_run(arguments(augment_crop=2))


NUM_FRAMES = [64, 24, 40, 64, 9, 33]


def batch(persons=()):
    """Motions of patch size 8 whose values are all different: (6, 3, 64, 40)."""
    values = torch.arange(6 * 3 * 64 * 40, dtype=torch.float32).reshape(6, *(1 for _ in persons), 3, 64, 40)
    return values.repeat(1, *persons, 1, 1, 1).clone() if persons else values.clone()


def mix(probability=1.0, seed=0, values=None):
    values = batch() if values is None else values
    return values, mix_parts(values, NUM_FRAMES[: len(values)], 8, probability, np.random.default_rng(seed))


@given(st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_mixed_motions_take_whole_parts_of_a_donor_and_share_its_caption(seed):
    plain, (mixed, targets) = batch(), mix(seed=seed)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    for own in range(6):
        (donor,) = [other for other in range(6) if other != own and targets[own, other]]
        frames = min(NUM_FRAMES[own], NUM_FRAMES[donor])
        is_taken = [
            bool((mixed[own, :, 0, 8 * k : 8 * k + 8] != plain[own, :, 0, 8 * k : 8 * k + 8]).any()) for k in range(5)
        ]
        assert sum(is_taken) in (1, 2)
        for part, taken in enumerate(is_taken):
            columns = slice(8 * part, 8 * part + 8)
            source = plain[donor if taken else own, :, :frames, columns]
            torch.testing.assert_close(mixed[own, :, :frames, columns], source)
        torch.testing.assert_close(mixed[own, :, frames:], plain[own, :, frames:])  # where the donor ends, its own goes on
        assert targets[own, donor].item() == pytest.approx(sum(is_taken) / 5 * frames / NUM_FRAMES[own])


def test_a_probability_says_how_often_parts_are_mixed():
    mixed, targets = mix(0.0)
    torch.testing.assert_close(mixed, batch())
    torch.testing.assert_close(targets, torch.eye(6))
    kept = np.mean([(mix(0.25, seed)[1].diagonal() == 1).float().mean().item() for seed in range(60)])
    assert 0.65 < kept < 0.85


def test_all_parts_and_donors_come_and_one_or_two_at_a_time():
    donors, parts, numbers = set(), set(), set()
    for seed in range(40):
        mixed, targets = mix(seed=seed)
        donors |= {(i, j) for i in range(6) for j in range(6) if i != j and targets[i, j]}
        taken = (mixed != batch())[:, 0, 0, ::8].int()
        parts |= set(taken.nonzero()[:, 1].tolist())
        numbers |= set(taken.sum(dim=1).tolist())
    assert len(donors) == 30
    assert parts == {0, 1, 2, 3, 4}
    assert numbers == {1, 2}


def test_parts_of_several_persons_are_taken_together():
    values, targets = mix(values=batch(persons=(2,)))
    torch.testing.assert_close(values[:, 0], values[:, 1])
    assert (targets.diagonal() < 1).all()


def test_one_motion_alone_has_no_donor():
    mixed, targets = mix(values=batch()[:1].clone())
    torch.testing.assert_close(mixed, batch()[:1])
    assert targets.tolist() == [[1.0]]
