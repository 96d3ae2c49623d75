"""Folders of motion data become rows with the same columns whatever their layout."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from motionpatches import MotionPatchProcessor, make_motions
from motionpatches.processing.corpora import REQUIRED_COLUMNS, load_motions, to_dataset


@pytest.fixture
def parquet_folder(tmp_path):
    """Two data sets side by side, with joints in integer millimetres, and a folder without motions."""
    for name, skeleton in (("first", "smpl22"), ("second", "cmu31")):
        (tmp_path / name).mkdir()
        for split, seed in (("train", 0), ("test", 1)):
            rows = []
            for motion in make_motions(3, skeleton, seed):
                joints = (motion["joints"] * 1000).round().astype(np.int16)
                rows.append(
                    {
                        "id": motion["id"],
                        "joints": joints.reshape(-1).tolist(),
                        "num_frames": len(joints),
                        "num_joints": joints.shape[1],
                        "skeleton": skeleton,
                        "fps": 20.0,
                        "captions": motion["captions"],
                        "action": motion["label"],
                    }
                )
            Dataset.from_list(rows).to_parquet(str(tmp_path / name / f"{split}.parquet"))
    (tmp_path / "captions_only").mkdir()
    Dataset.from_list([{"id": "1"}]).to_parquet(str(tmp_path / "captions_only" / "all.parquet"))
    return tmp_path


def test_folders_side_by_side_become_one_data_set(parquet_folder):
    data = load_motions(parquet_folder)
    assert set(data) == {"train", "test"}
    assert data["train"]["dataset"][:] == ["first"] * 3 + ["second"] * 3
    assert set(REQUIRED_COLUMNS) <= set(data["train"].column_names)
    assert data["train"]["label"][0] == make_motions(1, "smpl22", 0)[0]["label"]
    assert set(load_motions(parquet_folder, ["second"])["test"]["skeleton"]) == {"cmu31"}


def test_integer_joints_are_millimetres_and_float_joints_metres(parquet_folder, tmp_path):
    motions = make_motions(3, "smpl22", 0)
    DatasetDict({"train": to_dataset(motions, "mine")}).save_to_disk(str(tmp_path / "saved"))
    processor = MotionPatchProcessor(normalization=None)
    from_floats = processor(load_motions(tmp_path / "saved")["train"].with_format("numpy")[1])["motion_values"]
    from_integers = processor(load_motions(parquet_folder / "first")["train"].with_format("numpy")[1])["motion_values"]
    np.testing.assert_allclose(from_floats, from_integers, atol=2e-3)


def test_made_motions_keep_their_size_in_every_unit():
    processor = MotionPatchProcessor(normalization=None)
    for skeleton in ("smpl22", "kit21"):
        motion = make_motions(1, skeleton, 0)[0]
        row = to_dataset([motion], "made").with_format("numpy")[0]
        direct = {"joints": motion["joints"], "skeleton": skeleton, "fps": 20}
        np.testing.assert_allclose(processor(row)["motion_values"], processor(direct)["motion_values"], atol=1e-4)


@pytest.fixture
def sharded_folder(tmp_path):
    """A data set as the Hub has it, and what a replacement that broke off left beside it."""
    for name in ("made", "made.new", "made.old", "made.partial"):
        (tmp_path / name / "data").mkdir(parents=True)
        rows = to_dataset(make_motions(5, "smpl22", 0), name)
        for number, part in enumerate((range(2), range(2, 5))):
            rows.select(part).to_parquet(str(tmp_path / name / "data" / f"train-{number:05d}-of-00002.parquet"))
    return tmp_path


def test_shards_are_one_split_in_their_order(sharded_folder):
    ids = [motion["id"] for motion in make_motions(5, "smpl22", 0)]
    assert load_motions(sharded_folder / "made")["train"]["id"][:] == ids
    assert load_motions(sharded_folder)["train"]["dataset"][:] == ["made"] * 5  # and not what was left over


def test_a_missing_shard_is_an_error(sharded_folder):
    (sharded_folder / "made" / "data" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"holds 1 shards of split 'train'; expected train-00000-of-00002\.parquet to"):
        load_motions(sharded_folder / "made")


def test_what_is_wrong_with_a_folder_is_said(tmp_path, parquet_folder):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_motions(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no motions"):
        load_motions(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"no data sets \['third'\]; it has \['first', 'second'\]"):
        load_motions(parquet_folder, ["third"])
    (tmp_path / "bare").mkdir()
    Dataset.from_list([{"id": "1"}]).to_parquet(str(tmp_path / "bare" / "train.parquet"))
    with pytest.raises(ValueError, match=r"'bare' lacks the columns \['joints'"):
        load_motions(tmp_path / "bare")


def test_real_motion_loads(data_dir):
    data = load_motions(data_dir)
    assert set(data["train"]["skeleton"]) == {"body21", "cmu31", "kinect20", "smpl22"}
    row = data["test"].with_format("numpy")[0]
    joints = MotionPatchProcessor(normalization=None).resolve([row])[0].joints
    assert 1.0 < np.ptp(joints[..., 1]) < 3.0  # a person, in metres
