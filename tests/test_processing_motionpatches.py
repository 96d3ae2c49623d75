"""The processors: shapes, normalisation, what is saved, and what bad input is told."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from transformers import AutoFeatureExtractor, AutoProcessor

from motionpatches import MotionPatchProcessor, MotionTextProcessor, get_skeleton, make_motions
from motionpatches.processing.canonical import leg_length
from motionpatches.processing.motion import Motion
from motionpatches.processing.patches import interpolate, patch_matrix


def fitted(**kwargs):
    return MotionPatchProcessor(**kwargs).fit([swinging_motion(seed=s) for s in range(4)], "smpl22", 20)


# --- what comes out -------------------------------------------------------------------------------------------------------


def test_shapes_mask_and_zero_padding():
    out = fitted()([swinging_motion(num_frames=40), swinging_motion(num_frames=224)], "smpl22", 20, return_tensors="pt")
    assert out["motion_values"].shape == (2, 3, 224, 80)
    assert out["motion_values"].dtype == torch.float32
    assert out["motion_attention_mask"].tolist() == [[1, 1, 1] + [0] * 11, [1] * 14]
    assert out["motion_attention_mask"].dtype == torch.int64
    assert (out["motion_values"][0, :, 40:] == 0).all()
    assert (out["motion_values"][0, :, 39] != 0).all()


def test_longest_padding_is_whole_windows_of_the_longest():
    processor = fitted(padding="longest")
    motions = [swinging_motion(num_frames=n) for n in (17, 40)]
    assert processor(motions, "smpl22", 20)["motion_values"].shape == (2, 3, 48, 80)
    assert processor(motions, "smpl22", 20, padding="max_length")["motion_values"].shape == (2, 3, 224, 80)


@pytest.mark.parametrize("patch_size", [8, 16, 32])
def test_every_patch_size_of_the_paper(patch_size):
    out = fitted(patch_size=patch_size)(swinging_motion(), "smpl22", 20)
    assert out["motion_values"].shape == (1, 3, 224, 5 * patch_size)
    assert out["motion_attention_mask"].shape == (1, 224 // patch_size)


def test_values_are_the_z_scored_interpolated_joints():
    """The whole path by hand: published form, no frame, joints z-scored, then sampled."""
    joints = swinging_motion(num_frames=20)
    mean, std = joints.mean((0,)) + 0.1, joints.std((0,)) + 0.5
    processor = MotionPatchProcessor(canonicalize=False, statistics={"smpl22": {"mean": mean, "std": std}})
    values = processor(joints, "smpl22", 20)["motion_values"][0]
    torso = (joints - mean) / std
    expected = torch.nn.functional.interpolate(
        torch.tensor(torso[:, [0, 3, 6, 9, 12, 15]]).permute(0, 2, 1), size=16, mode="linear"
    ).numpy()  # (T, 3, 16)
    np.testing.assert_allclose(values[:, :20, 32:48], expected.transpose(1, 0, 2), atol=1e-6)


@pytest.mark.parametrize("normalization", ["joints", "points"])
def test_fit_makes_the_training_motions_zero_mean_unit_variance(normalization):
    motions = [swinging_motion(seed=s, num_frames=50 + s) for s in range(5)]
    processor = MotionPatchProcessor(normalization=normalization).fit(motions, "smpl22", 20)
    values = [processor(m, "smpl22", 20)["motion_values"][0, :, : len(m)] for m in motions]
    points = np.moveaxis(np.concatenate(values, axis=1), 0, -1)
    matrix = patch_matrix(get_skeleton("smpl22"), 16)
    at_a_joint = np.flatnonzero(matrix.max(axis=1) == 1)  # sample points that coincide with a joint
    checked = points if normalization == "points" else points[:, at_a_joint]
    moving = checked.std(axis=0) > 0.5  # all but those held at the smallest standard deviation
    assert moving.mean() > 0.9
    np.testing.assert_allclose(checked.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(checked.std(axis=0)[moving], 1, atol=1e-3)


def test_shared_statistics_are_pooled_over_frames_of_all_skeletons():
    motions = [
        {"joints": swinging_motion("smpl22", 30), "skeleton": "smpl22", "fps": 20},
        {"joints": swinging_motion("body21", 90), "skeleton": "body21", "fps": 20},
    ]
    processor = MotionPatchProcessor().fit(motions)
    points = [interpolate(processor.prepare(m).joints, patch_matrix(m.skeleton, 16)) for m in processor.resolve(motions)]
    np.testing.assert_allclose(processor.statistics["shared"]["mean"], np.concatenate(points).mean(axis=0), atol=1e-9)
    std = np.maximum(np.concatenate(points).std(axis=0), 1e-3)
    np.testing.assert_allclose(processor.statistics["shared"]["std"], std, atol=1e-9)


def test_a_skeleton_without_statistics_uses_the_shared_ones_and_says_so():
    processor = fitted()
    assert processor.statistics_for("smpl22") == "smpl22"
    with pytest.warns(UserWarning, match="no statistics for skeleton 'body21'.*using the shared ones"):
        out = processor(swinging_motion("body21"), "body21", 20)
    assert np.isfinite(out["motion_values"]).all()
    before = processor.statistics["shared"]
    processor.fit([swinging_motion("body21")], "body21", 20)
    assert processor.statistics_for("body21") == "body21"
    assert processor.statistics["shared"] == before  # a new target leaves the training statistics as they were


def test_what_hardly_moves_is_not_blown_up():
    still = np.repeat(get_skeleton("smpl22").rest_pose[None], 30, axis=0)
    processor = MotionPatchProcessor(min_std=0.1).fit([still], "smpl22", 20)
    assert np.min(processor.statistics["smpl22"]["std"]) == 0.1
    nudged = processor(still + np.eye(3)[2] * np.linspace(0, 0.05, 30)[:, None, None], "smpl22", 20)["motion_values"]
    assert np.abs(nudged).max() < 1
    with pytest.raises(ValueError, match="min_std must be above 0"):
        MotionPatchProcessor(min_std=0)


def test_fitting_again_changes_what_comes_out():
    processor = fitted()
    before = processor(swinging_motion(), "smpl22", 20)["motion_values"]
    processor.fit([1.3 * swinging_motion(seed=9)], "smpl22", 20)
    after = processor(swinging_motion(), "smpl22", 20)["motion_values"]
    assert np.abs(after - before).max() > 0.5


def test_shared_statistics_first_and_a_skeleton_of_its_own_later():
    processor = MotionPatchProcessor(per_skeleton=False).fit([swinging_motion()], "smpl22", 20)
    assert set(processor.statistics) == {"shared"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # shared statistics are what was asked for
        processor(swinging_motion("kinect20"), "kinect20", 20)
    shared = processor.statistics["shared"]
    processor.fit([swinging_motion("kinect20")], "kinect20", 20)
    assert set(processor.statistics) == {"shared", "kinect20"}
    assert processor.statistics["shared"] == shared


def test_across_skeletons_one_motion_looks_alike_and_another_does_not():
    names = ["smpl22", "kinect20", "coco17", "mixamo", "h36m17"]
    processor = MotionPatchProcessor.across_skeletons().fit(make_motions(20, "smpl22", seed=5))
    values = np.stack([processor(make_motions(6, name, seed=6))["motion_values"].reshape(6, -1) for name in names])
    distances = np.linalg.norm(values[:, None, :, None] - values[None, :, None, :], axis=-1)  # (skeletons, skeletons, 6, 6)
    across = distances[~np.eye(len(names), dtype=bool)]
    same, different = across[:, np.eye(6, dtype=bool)], across[:, ~np.eye(6, dtype=bool)]
    assert same.mean() < 0.5 * different.mean()
    assert MotionPatchProcessor.across_skeletons(body_scale=None).body_scale is None


def test_resampling_reaches_the_target_rate():
    out = fitted()(swinging_motion(num_frames=240), "smpl22", 120)
    assert out["motion_attention_mask"].sum() == 3  # 240 frames at 120 per second are 40 at 20


def test_millimetres_and_metres_of_one_motion_agree():
    kit = swinging_motion("kit21")
    processor = MotionPatchProcessor().fit([kit], "kit21", 20)
    in_millimetres = processor(kit, "kit21", 20)["motion_values"]
    in_metres = processor({"joints": kit / 1000, "skeleton": "kit21", "fps": 20, "unit": "metres"})["motion_values"]
    np.testing.assert_allclose(in_millimetres, in_metres, atol=1e-5)


def test_a_row_of_a_data_set_is_a_motion():
    joints = swinging_motion(num_frames=30)
    row = {"joints": (joints * 1000).round().astype(np.int16).reshape(-1), "num_frames": 30, "num_joints": 22}
    row |= {"skeleton": "smpl22", "fps": 20.0, "unit": "millimetres", "captions": ["a person walks"]}
    processor = fitted()
    np.testing.assert_allclose(processor(row)["motion_values"], processor(joints, "smpl22", 20)["motion_values"], atol=0.05)


def test_root_relative_patches_ignore_where_a_limb_travels():
    joints = swinging_motion()
    processor = MotionPatchProcessor(root="relative", normalization=None, canonicalize=False)
    still, moved = (processor(j, "smpl22", 20)["motion_values"][0, :, :40] for j in (joints, joints + np.array([7, 0, 0])))
    hand = slice(60, 64)  # the end of the right arm's chain
    np.testing.assert_allclose(still[:, :, hand], moved[:, :, hand], atol=1e-5)
    root = 32  # the beginning of the torso's chain
    np.testing.assert_allclose(moved[0, :, root] - still[0, :, root], 7, atol=1e-4)


def test_numpy_torch_motion_file_and_dict_agree(tmp_path):
    joints = swinging_motion().astype(np.float32)
    np.save(tmp_path / "a.npy", joints)
    processor = fitted()
    expected = processor(joints, "smpl22", 20)["motion_values"]
    for same in (
        torch.tensor(joints),
        {"joints": joints},
        Motion(joints, get_skeleton("smpl22"), 20.0),
        tmp_path / "a.npy",
        str(tmp_path / "a.npy"),
    ):
        named = {} if isinstance(same, Motion) else {"skeleton": "smpl22", "fps": 20}
        np.testing.assert_array_equal(processor(same, **named)["motion_values"], expected)


@pytest.mark.parametrize("skeleton", ["smpl22", "coco17", "panoptic19", "unreal"])
@pytest.mark.parametrize("options", [{}, {"canonicalize": False}, {"body_scale": 0.8, "root": "relative", "fps": 16.0}])
def test_tensors_take_the_same_way_on_their_own_device(skeleton, options):
    """A GPU's tensors are worked on by torch; the same code, on the CPU."""
    motions = [swinging_motion(skeleton, num_frames=n) for n in (40, 300)]
    processor = MotionPatchProcessor(**options).fit(motions, skeleton, 20)
    resolved = processor.resolve(motions, skeleton, 20)
    with pytest.warns(UserWarning, match="1 of 2 motions are longer"):
        expected = processor(motions, skeleton, 20)
    prepared = [processor.prepare(motion._replace(joints=torch.tensor(motion.joints))) for motion in resolved]
    out = processor.to_patches(prepared, warn=False)
    assert isinstance(out["motion_values"], torch.Tensor)
    np.testing.assert_allclose(out["motion_values"], expected["motion_values"], atol=1e-5)
    assert out["motion_attention_mask"].tolist() == expected["motion_attention_mask"].tolist()
    assert out["motion_attention_mask"].dtype == torch.int64


def test_single_and_double_precision_agree():
    motion = swinging_motion(num_frames=100)
    processor = fitted(body_scale=0.8, root="relative")
    single, double = (processor(motion.astype(kind), "smpl22", 30)["motion_values"] for kind in ("float32", "float64"))
    assert single.dtype == double.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-3)  # standard deviations of some centimetres


def test_a_large_batch_is_what_its_motions_are_one_by_one():
    """More motions than one thread takes, of two skeletons and many lengths."""
    names = ["smpl22", "kinect20"] * 50
    motions = [swinging_motion(name, num_frames=20 + i, seed=i) for i, name in enumerate(names)]
    processor = MotionPatchProcessor().fit(motions[:4], names[:4], 20)
    batch = processor(motions, names, 20)["motion_values"]
    for index in (0, 1, 50, 99):
        np.testing.assert_array_equal(batch[index], processor(motions[index], names[index], 20)["motion_values"][0])


def test_two_persons_share_a_frame():
    first, second = swinging_motion(num_frames=40), swinging_motion(num_frames=40, seed=1) + np.array([1.5, 0, 0])
    pair = {"joints": np.stack([first, second]), "persons": 2, "skeleton": "smpl22", "fps": 20}
    processor = MotionPatchProcessor(normalization=None, body_scale=0.8)
    out = processor([pair, pair])
    assert out["motion_values"].shape == (2, 2, 3, 224, 80)
    assert out["motion_attention_mask"].tolist() == [[[1] * 3 + [0] * 11] * 2] * 2
    alone = processor(first, "smpl22", 20)["motion_values"][0]
    apart = np.abs(out["motion_values"][0, 0] - alone).max()
    joints = processor.prepare(processor.resolve([pair])[0]).joints
    scale = 0.8 / leg_length(first, get_skeleton("smpl22"))
    before = np.linalg.norm(pair["joints"][1] - pair["joints"][0], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(joints[1] - joints[0], axis=-1), scale * before, atol=1e-9)
    np.testing.assert_allclose(joints[0, 0, 0, [0, 2]], 0, atol=1e-12)  # the first person starts at the origin
    assert apart < 0.1  # only the floor is the lower of both


def test_two_persons_as_a_row_fit_and_mix():
    pair = np.stack([swinging_motion(), swinging_motion(seed=1)])
    row = {"joints": pair.reshape(-1), "num_frames": 40, "num_joints": 22, "persons": 2, "skeleton": "smpl22", "fps": 20.0}
    processor = MotionPatchProcessor().fit([row])
    np.testing.assert_array_equal(
        processor(row)["motion_values"],
        processor({"joints": pair, "persons": 2, "skeleton": "smpl22", "fps": 20})["motion_values"],
    )
    with pytest.raises(ValueError, match=r"equally many persons .* got persons \[1, 2\]"):
        processor([row, swinging_motion()], ["smpl22"] * 2, 20)
    with pytest.raises(ValueError, match="persons=3"):
        processor({"joints": pair, "persons": 3, "skeleton": "smpl22"})
    with pytest.raises(ValueError, match=r"expected \(persons, frames, joints, 3\)"):
        processor({"joints": pair[0], "persons": 2, "skeleton": "smpl22"})


def walking(skeleton="smpl22"):
    return next(m for m in make_motions(4, skeleton, seed=1, actions=["walk"]))


def test_centimetres_are_noticed_said_and_converted():
    made = walking()
    processor = MotionPatchProcessor(normalization=None)
    expected = processor(made)["motion_values"]
    with pytest.warns(
        UserWarning, match=r"1 of 2 motions do not fit .* motion 1: legs of .* fit centimetres.*\(converted\)"
    ):
        out = processor([made, {**made, "joints": made["joints"] * 100}])
    np.testing.assert_allclose(out["motion_values"][1], expected[0], atol=1e-4)


def test_z_up_is_noticed_said_and_turned():
    made = walking()
    x, y, z = np.moveaxis(made["joints"], -1, 0)
    processor = MotionPatchProcessor(normalization=None)
    with pytest.warns(UserWarning, match=r"stands along z, not along y, the up axis of skeleton 'smpl22' \(converted\)"):
        out = processor({**made, "joints": np.stack([x, -z, y], axis=-1)})
    np.testing.assert_allclose(out["motion_values"], processor(made)["motion_values"], atol=1e-4)


def test_a_stated_up_axis_is_followed():
    made = walking()
    x, y, z = np.moveaxis(made["joints"], -1, 0)
    processor = MotionPatchProcessor(normalization=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = processor({**made, "joints": np.stack([x, -z, y], axis=-1), "up_axis": "z"})
    np.testing.assert_allclose(out["motion_values"], processor(made)["motion_values"], atol=1e-4)


@pytest.mark.parametrize("said", [{"unit": "metres"}, None])
def test_who_states_the_unit_or_switches_detection_off_is_taken_at_his_word(said):
    made = {**walking(), "joints": walking()["joints"] * 100}
    processor = MotionPatchProcessor(normalization=None, canonicalize=True if said else {"detect": False})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = processor({**made, **(said or {})})
    assert np.abs(out["motion_values"]).max() > 50


def test_frames_are_repeated_as_published_where_that_is_asked_for():
    joints = swinging_motion("kit21", num_frames=30)
    processor = MotionPatchProcessor(normalization=None, canonicalize=False, resampling="repeat")
    prepared = processor.prepare(processor.resolve([joints], "kit21", 12.5)[0]).joints
    expected = [0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 11]
    np.testing.assert_array_equal(prepared[:20], joints[expected])
    np.testing.assert_array_equal(prepared[20:40], joints[12:][expected])
    assert len(prepared) == 50  # 30 frames that count as 2.5 s of 12: a 4 % stretch


def test_long_motions_are_cut_and_counted():
    processor = fitted(max_frames=32)
    long = swinging_motion(num_frames=50)
    with pytest.warns(UserWarning, match=r"1 of 2 motions are longer than max_frames=32 \(1.6 s\) and were cut"):
        start = processor([long, swinging_motion(num_frames=20)], "smpl22", 20)["motion_values"][0]
    whole = fitted()(long, "smpl22", 20)["motion_values"][0]
    np.testing.assert_array_equal(start, whole[:, :32])
    with pytest.warns(UserWarning, match="were cut"):
        np.testing.assert_array_equal(processor(long, "smpl22", 20, truncation="center")["motion_values"][0], whole[:, 9:41])


def test_random_crops_are_drawn_from_the_generator_and_lie_inside_the_motion():
    processor, long = fitted(max_frames=32), swinging_motion(num_frames=50)
    whole = fitted()(long, "smpl22", 20)["motion_values"][0]

    def crop(seed):
        return processor(long, "smpl22", 20, truncation="random", generator=np.random.default_rng(seed))["motion_values"][0]

    np.testing.assert_array_equal(crop(1), crop(1))
    starts = {next(s for s in range(19) if np.array_equal(crop(seed), whole[:, s : s + 32])) for seed in range(30)}
    assert len(starts) > 5


# --- saving ---------------------------------------------------------------------------------------------------------------


def test_save_and_load_give_the_same_patches(tmp_path):
    processor = fitted(padding="longest", root="relative", body_scale=0.8, canonicalize={"heading": False})
    processor.save_pretrained(tmp_path)
    for loaded in (MotionPatchProcessor.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)):
        assert isinstance(loaded, MotionPatchProcessor)
        motion = swinging_motion(seed=9)
        np.testing.assert_array_equal(
            loaded(motion, "smpl22", 20)["motion_values"], processor(motion, "smpl22", 20)["motion_values"]
        )


def test_joint_processor_round_trip(processor, motions, captions, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, MotionTextProcessor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = (p(motions=motions, text=captions, return_tensors="pt", padding=True) for p in (processor, loaded))
    assert set(before) == {"input_ids", "attention_mask", "motion_values", "motion_attention_mask"}
    for key in before:
        assert torch.equal(before[key], after[key])


def test_a_skeleton_of_ones_own_travels_with_the_processor(tmp_path):
    own = dataclasses.replace(get_skeleton("smpl22"), name="my_rig", unit="centimetres")
    motion = swinging_motion() * 100
    processor = MotionPatchProcessor().fit([motion], own, 20)
    processor.save_pretrained(tmp_path)
    loaded = MotionPatchProcessor.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded(motion, "my_rig", 20)["motion_values"], processor(motion, own, 20)["motion_values"])


def test_saved_config_is_plain_json(tmp_path):
    fitted().save_pretrained(tmp_path)
    content = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert content["feature_extractor_type"] == "MotionPatchProcessor"
    assert len(content["statistics"]["smpl22"]["mean"]) == 22


# --- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (np.zeros((10, 21, 3)), r"motion 0 has 21 joints, but skeleton 'smpl22' has 22.*body21, kit21"),
        (np.zeros((10, 22)), r"has shape \(10, 22\); expected \(frames, joints, 3\)"),
        (np.zeros((2, 10, 22, 3)), r"pass a batch as a list"),
        (np.zeros((10, 22, 2)), r"has shape \(10, 22, 2\)"),
        (np.zeros((0, 22, 3)), "0 frames; a motion needs at least two"),
        (np.zeros((1, 22, 3)), "1 frames; a motion needs at least two"),
        (np.full((4, 22, 3), np.nan), "264 values that are NaN or infinite, the first at frame 0, joint 0"),
        (np.where(np.arange(264).reshape(4, 22, 3) == 200, np.inf, 0.0), "1 values .* first at frame 3, joint 0"),
        ({"positions": np.zeros((4, 22, 3))}, r"keys \['positions'\]; it needs 'joints'"),
        ({"joints": np.zeros(9), "num_frames": 2, "num_joints": 22}, r"holds 9 values"),
        ({"joints": np.zeros((4, 22, 3)), "unit": "feet"}, "unit 'feet'"),
        ({"joints": np.zeros((4, 22, 3)), "up_axis": "w"}, "up_axis 'w'; known: x, y"),
    ],
)
def test_bad_motions_are_named(motion, message):
    with pytest.raises(ValueError, match=message):
        fitted()(motion, "smpl22", 20)


def test_something_that_is_no_motion():
    with pytest.raises(TypeError, match=r"motion 0 is a dict_keys|motion 0 is a object"):
        fitted()(object(), "smpl22", 20)


def test_the_index_of_the_bad_motion_is_said():
    with pytest.raises(ValueError, match="motion 1 has 21 joints"):
        fitted()([swinging_motion(), np.zeros((10, 21, 3))], "smpl22", 20)


def test_bare_array_needs_a_skeleton():
    with pytest.raises(
        ValueError, match=r"22 joints and says no skeleton; pass skeleton=… \(known with 22 joints: .*smpl22"
    ):
        fitted()(swinging_motion(), fps=20)
    with pytest.raises(ValueError, match="known with 21 joints: body21, kit21"):
        fitted()(np.zeros((5, 21, 3)), fps=20)
    out = fitted(default_skeleton="smpl22")(swinging_motion(), fps=20)
    assert out["motion_values"].shape[0] == 1


def test_unknown_frame_rate_is_assumed_aloud():
    with pytest.warns(UserWarning, match="1 of 1 motions say no frame rate.*taken as 20 frames per second"):
        fitted()(swinging_motion(), "smpl22")


@pytest.mark.parametrize("fps", [0, -20, float("nan")])
def test_impossible_frame_rates(fps):
    with pytest.raises(ValueError, match="fps must be a positive number"):
        fitted()(swinging_motion(), "smpl22", fps)


def test_contradictions_between_motion_and_call():
    motion = {"joints": swinging_motion(), "skeleton": "smpl22", "fps": 30}
    with pytest.raises(ValueError, match="says 30 frames per second, but the call says fps=20"):
        fitted()(motion, fps=20)
    with pytest.raises(ValueError, match="says its skeleton is 'smpl22', but the call says 'kit21'"):
        fitted()(motion, skeleton="kit21")


def test_lists_of_unequal_length():
    with pytest.raises(ValueError, match="got 2 motions but 3 values of skeleton="):
        fitted()([swinging_motion()] * 2, ["smpl22"] * 3, 20)
    with pytest.raises(ValueError, match="got 2 motions but 1 values of fps="):
        fitted()([swinging_motion()] * 2, "smpl22", [20])


def test_no_motions_at_all():
    with pytest.raises(ValueError, match="empty list of motions"):
        fitted()([])


def test_missing_statistics_say_how_to_get_them():
    with pytest.raises(ValueError, match=r"no statistics for skeleton 'smpl22' \(have: none\); call processor.fit"):
        MotionPatchProcessor()(swinging_motion(), "smpl22", 20)


def test_statistics_of_another_setting_are_refused():
    statistics = fitted().statistics
    processor = MotionPatchProcessor(normalization="points", statistics=statistics)
    with pytest.raises(ValueError, match="hold 22 rows, but normalization='points' with patch_size=16 needs 80"):
        processor(swinging_motion(), "smpl22", 20)
    with pytest.raises(ValueError, match="lack"):
        MotionPatchProcessor(statistics={"smpl22": {"mean": np.zeros((22, 3))}})
    with pytest.raises(ValueError, match="above 0"):
        MotionPatchProcessor(statistics={"smpl22": {"mean": np.zeros((22, 3)), "std": np.zeros((22, 3))}})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("interpolation", "cubic", "interpolation='cubic' is unknown; choose one of 'half_pixel'"),
        ("normalization", "minmax", "normalization='minmax'"),
        ("root", "none", "root='none'"),
        ("padding", True, "padding=True"),
        ("truncation", "end", "truncation='end'"),
        ("max_frames", 100, "max_frames=100 must be a positive multiple of patch_size=16"),
        ("fps", 0, "fps must be a positive number"),
        ("body_scale", -1.0, "body_scale must be"),
        ("canonicalize", {"yaw": False}, r"unknown steps \['yaw'\]"),
        ("default_skeleton", "smpl", "unknown skeleton 'smpl'"),
    ],
)
def test_bad_options_are_refused_at_construction(option, value, message):
    with pytest.raises(ValueError, match=message):
        MotionPatchProcessor(**{option: value})


@pytest.mark.parametrize("text", ["", "  ", ["a person walks", ""]])
def test_empty_text(processor, text):
    with pytest.raises(ValueError, match="is empty; a caption needs at least one word"):
        processor(text=text)


def test_text_that_is_none(processor):
    with pytest.raises(ValueError, match="pass motions=…, text=…, or both"):
        processor()
    with pytest.raises(ValueError, match="empty list of texts"):
        processor(text=[])
    with pytest.raises(TypeError, match="text 0 is a int"):
        processor(text=[3])


def test_long_texts_are_not_cut_in_silence(processor):
    with pytest.raises(
        ValueError, match=r"1 of 2 texts are longer than the tokenizer's limit of 64 tokens.*truncation=True"
    ):
        processor(text=["walks", "walks " * 100])
    assert processor(text=["walks " * 100], truncation=True, return_tensors="pt")["input_ids"].shape == (1, 64)


def test_padding_means_the_text_and_motions_have_their_own(processor, motions, captions):
    out = processor(motions=motions[:1], text=captions, return_tensors="pt", padding=True, motion_padding="max_length")
    assert out["motion_values"].shape == (1, 3, 64, 40)
    assert out["input_ids"].shape[0] == 4


def test_raw_joint_sequences_keep_the_joints_as_they_are(motions):
    motion = motions[0]
    processor = MotionPatchProcessor(
        representation="joints", patch_size=1, max_frames=64, normalization=None, canonicalize=False
    )
    batch = processor([motion, {**motion, "joints": motion["joints"][:25]}], padding="longest")
    assert batch["motion_values"].shape == (2, 3, 40, 22)
    np.testing.assert_allclose(batch["motion_values"][0], motion["joints"].transpose(2, 0, 1), atol=1e-6)
    assert batch["motion_attention_mask"].sum(axis=1).tolist() == [40, 25]
    assert np.abs(batch["motion_values"][1][:, 25:]).max() == 0


@pytest.mark.parametrize("normalization", ["joints", "points"])
def test_raw_joint_sequences_are_normalised_by_joint(motions, normalization, tmp_path):
    settings = {"representation": "joints", "patch_size": 1, "max_frames": 64, "padding": "longest"}
    processor = MotionPatchProcessor(**settings, normalization=normalization, min_std=1e-6).fit([motions[0]])
    values = processor(motions[0])["motion_values"][0]
    moving = values.std(axis=1) > 0.5
    np.testing.assert_allclose(values.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=1)[moving], 1, atol=1e-3)
    assert moving.mean() > 0.9
    processor.save_pretrained(tmp_path)
    again = MotionPatchProcessor.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(motions[0])["motion_values"][0], values)


def test_raw_joint_sequences_of_several_skeletons_have_no_common_form(motions):
    processor = MotionPatchProcessor(representation="joints", patch_size=1, max_frames=64, normalization=None)
    with pytest.raises(ValueError, match=r"one skeleton, got \['cmu31', 'smpl22'\]"):
        processor(motions[:2])
    with pytest.raises(ValueError, match="one skeleton"):
        MotionPatchProcessor(representation="joints", patch_size=1, max_frames=64).fit(motions[:2])
    with pytest.raises(ValueError, match="needs patch_size=1, got 16"):
        MotionPatchProcessor(representation="joints")


@pytest.mark.parametrize("wrong", [{"motion": [1]}, {"paddding": True}, {"text_kwargs": {"paddding": True}}])
def test_a_misspelt_argument_is_not_dropped(processor, captions, wrong):
    with pytest.raises(TypeError, match=r"unexpected arguments \['(motion|paddding)'\]; known are motions, text"):
        processor(text=captions, **wrong)


def test_arguments_of_the_tokenizer_by_name_or_as_a_dict(processor, captions):
    by_name = processor(text=captions, padding="max_length", max_length=20)
    nested = processor(text=captions, text_kwargs={"padding": "max_length", "max_length": 20})
    assert by_name["input_ids"] == nested["input_ids"]
    assert len(nested["input_ids"][0]) == 20
    with pytest.raises(TypeError, match="padding given twice"):
        processor(text=captions, padding=True, text_kwargs={"padding": True})


def test_a_folder_without_a_tokenizer_says_what_to_load(model, motion_processor, tmp_path):
    motion_processor.save_pretrained(tmp_path)
    model.config.save_pretrained(tmp_path)
    assert isinstance(AutoFeatureExtractor.from_pretrained(tmp_path), MotionPatchProcessor)
    with pytest.raises(ValueError, match=r"no processor with a tokenizer; of a classifier .* AutoFeatureExtractor loads"):
        AutoProcessor.from_pretrained(tmp_path)
