"""SMPL pose parameters and made-up body models in the published layout; real ones may not be passed on."""

import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import readers_smpl
from motionpatches.processing.readers import read_motion
from motionpatches.processing.readers_smpl import read_smpl
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton


SMPL22 = get_skeleton("smpl22")
NUM_JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}
FRAMES = 7


def body_arrays(family, seed=0, num_betas=16):
    """A body model of two vertices a joint, in the layout of the published ones; all joints beyond 22 hang from the wrist."""
    rng = np.random.default_rng(seed)
    count = NUM_JOINTS[family]
    joints = np.concatenate([SMPL22.rest_pose - [0, 0.9, 0], rng.normal(size=(count - 22, 3))])
    spread = rng.normal(size=joints.shape) * 0.05
    regressor = np.zeros((count, 2 * count))
    regressor[np.arange(count), 2 * np.arange(count)] = regressor[np.arange(count), 2 * np.arange(count) + 1] = 0.5
    parents = [2**32 - 1, *SMPL22.parents[1:], *[21] * (count - 22)]
    return {
        "v_template": np.stack([joints + spread, joints - spread], axis=1).reshape(-1, 3),
        "shapedirs": rng.normal(size=(2 * count, 3, num_betas)) * 0.01,
        "posedirs": rng.normal(size=(2 * count, 3, 9 * (count - 1))) * 0.01,
        "J_regressor": regressor,
        "weights": np.full((2 * count, count), 1 / count),
        "kintree_table": np.array([parents, range(count)], dtype=np.uint32),
        "f": np.zeros((1, 3), dtype=np.uint32),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": rng.normal(size=45),
        "hands_meanr": rng.normal(size=45),
        "lmk_faces_idx": np.zeros(51, dtype=np.int64),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
    }


def save_body(path, family="smplh", seed=0, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {**body_arrays(family, seed), **changes}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def amass(family="smplh", seed=0, **changes):
    """The arrays of an AMASS file: a body that stands, z up, and moves at random."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(FRAMES, NUM_JOINTS[family], 3)) * 0.3
    poses[:, 0] = (Rotation.from_euler("z", 0.1 * np.arange(FRAMES)) * Rotation.from_euler("x", 90, degrees=True)).as_rotvec()
    arrays = {
        "poses": poses.reshape(FRAMES, -1),
        "trans": rng.normal(size=(FRAMES, 3)),
        "betas": rng.normal(size=16),
        "gender": "female",
        "mocap_framerate": 120.0,
        **changes,
    }
    return {key: array for key, array in arrays.items() if array is not None}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def expected_transforms(body, arrays):
    """Joints by homogeneous matrices: (T, J, 4, 4), z up as in the file."""
    betas = arrays["betas"]
    shaped = body["v_template"] + (body["shapedirs"][:, :, : len(betas)] * betas).sum(axis=2)
    rest = np.array([row @ shaped for row in body["J_regressor"]])
    vectors = arrays["poses"].reshape(len(arrays["poses"]), -1, 3)
    transforms = np.zeros((*vectors.shape[:2], 4, 4))
    for frame, trans in enumerate(arrays["trans"]):
        for joint in range(vectors.shape[1]):
            parent = -1 if joint == 0 else int(body["kintree_table"][0, joint])
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_rotvec(vectors[frame, joint]).as_matrix()
            matrix[:3, 3] = rest[joint] - (rest[parent] if parent >= 0 else -trans)
            transforms[frame, joint] = matrix if parent < 0 else transforms[frame, parent] @ matrix
    return transforms


def read(path, body_model):
    return read_smpl(path, ReadOptions(body_model=body_model))


# ---- joints -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", NUM_JOINTS)
@pytest.mark.parametrize("chunk", [3, 4096])
def test_joints_and_orientations_follow_from_poses_shape_and_way(tmp_path, monkeypatch, family, chunk):
    monkeypatch.setattr(readers_smpl, "_CHUNK", chunk)
    arrays = amass(family)
    recording = read(save(tmp_path / "walk.npz", arrays), save_body(tmp_path / "body.npz", family))
    expected = expected_transforms(body_arrays(family), arrays)[:, :22]
    np.testing.assert_allclose(recording.positions, expected[..., :3, 3], atol=1e-5)
    found = Rotation.from_quat(recording.rotations.reshape(-1, 4)).as_matrix()
    np.testing.assert_allclose(found, expected[..., :3, :3].reshape(-1, 3, 3), atol=1e-5)
    assert recording.positions.dtype == recording.rotations.dtype == np.float32
    assert (recording.skeleton, recording.fps, recording.unit, recording.up_axis) == (SMPL22, 120.0, "metres", "z")
    assert list(recording.names) == list(SMPL22.joint_names)


@pytest.mark.parametrize("family", NUM_JOINTS)
def test_joints_are_those_of_the_smplx_library(family):
    lbs = pytest.importorskip("smplx.lbs")
    torch = pytest.importorskip("torch")
    body, arrays = body_arrays(family), amass(family)
    tensors = {key: torch.tensor(np.asarray(array, dtype=np.float64)) for key, array in body.items()}
    parents = torch.tensor(body["kintree_table"][0].astype(np.int64))
    parents[0] = -1
    posedirs = tensors["posedirs"].reshape(-1, tensors["posedirs"].shape[-1]).T
    _, joints = lbs.lbs(
        torch.tensor(arrays["betas"])[None].repeat(FRAMES, 1),
        torch.tensor(arrays["poses"]),
        tensors["v_template"],
        tensors["shapedirs"],
        posedirs,
        tensors["J_regressor"],
        parents,
        tensors["weights"],
    )
    expected = (joints + torch.tensor(arrays["trans"])[:, None]).numpy()[:, :22]
    with io.BytesIO() as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers_smpl.NpzReader, "__init__", _in_memory)
        stream.seek(0)
        parameters = readers_smpl._read_parameters(arrays)
        rest = readers_smpl._rest_joints(readers_smpl._load_body.__wrapped__(body, 0, 0), parameters)
    positions, _ = readers_smpl._forward_kinematics(rest, parameters)
    np.testing.assert_allclose(positions, expected, atol=1e-5)
