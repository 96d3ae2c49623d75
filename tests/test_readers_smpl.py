"""SMPL pose parameters and made-up body models in the published layout; real ones may not be passed on."""

import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import readers_smpl
from motionpatches.processing.readers import read_motion, read_noting
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
    poses[:, 0] = (
        Rotation.from_euler("z", 0.1 * np.arange(FRAMES)[:, None]) * Rotation.from_euler("x", 90, degrees=True)
    ).as_rotvec()
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
def test_joints_are_those_of_the_smplx_library(tmp_path, family):
    lbs = pytest.importorskip("smplx.lbs")
    arrays = amass(family)
    body = {key: torch.tensor(array.astype(np.float64)) for key, array in body_arrays(family).items()}
    parents = body["kintree_table"][0].long()
    parents[0] = -1
    _, joints = lbs.lbs(
        torch.tensor(arrays["betas"])[None].repeat(FRAMES, 1),
        torch.tensor(arrays["poses"]),
        body["v_template"],
        body["shapedirs"],
        body["posedirs"].reshape(-1, body["posedirs"].shape[-1]).T,
        body["J_regressor"],
        parents,
        body["weights"],
    )
    recording = read(save(tmp_path / "walk.npz", arrays), save_body(tmp_path / "body.npz", family))
    np.testing.assert_allclose(recording.positions, joints[:, :22].numpy() + arrays["trans"][:, None], atol=1e-5)


def test_the_made_up_body_model_is_one_that_smplx_loads(tmp_path):
    smplx = pytest.importorskip("smplx")
    vertices = dict.fromkeys(smplx.vertex_ids.vertex_ids["smplh"], 0)
    save_body(tmp_path / "smplh" / "SMPLH_FEMALE.npz")
    options = {"gender": "female", "ext": "npz", "use_pca": False, "batch_size": FRAMES, "vertex_ids": vertices}
    model = smplx.create(str(tmp_path), "smplh", **options)
    arrays = amass(betas=np.zeros(16))  # smplx takes 10 of 16
    root, body = torch.tensor(arrays["poses"][:, :66].astype(np.float32)).split([3, 63], dim=1)
    posed = model(global_orient=root, body_pose=body, transl=torch.tensor(arrays["trans"].astype(np.float32)))
    recording = read(save(tmp_path / "walk.npz", arrays), tmp_path)
    np.testing.assert_allclose(recording.positions, posed.joints[:, :22].detach().numpy(), atol=1e-5)


def test_a_person_of_amass_stands_with_y_up(tmp_path):
    with pytest.warns(UserWarning, match="left out the 30 joints of hands and face"):
        motion = read_motion(save(tmp_path / "walk.npz", amass()), body_model=str(save_body(tmp_path / "body.npz")))
    at = SMPL22.landmarks
    assert (motion.joints[:, at["head"], 1] - motion.joints[:, at["pelvis"], 1] > 0.4).all()
    assert (motion.skeleton, motion.fps) == (SMPL22, 120.0)
    arrays = amass()
    places = expected_transforms(body_arrays("smplh"), arrays)[:, :22, :3, 3]
    np.testing.assert_allclose(motion.joints, places[..., [0, 2, 1]] * [1, 1, -1], atol=1e-5)
    bones = Rotation.from_quat(motion.rotations[:, 16]).inv().apply(motion.joints[:, 18] - motion.joints[:, 16])
    np.testing.assert_allclose(bones, bones[:1].repeat(FRAMES, axis=0), atol=1e-5)  # the arm in the frame of its shoulder


# ---- forms of parameters ------------------------------------------------------------------------------------------------


def split_keys(arrays, *, root, body, trans, width=63):
    poses = arrays["poses"]
    return {root: poses[:, :3], body: poses[:, 3 : 3 + width], trans: arrays["trans"], "betas": arrays["betas"]}


@pytest.mark.parametrize(
    ("family", "form"),
    [
        ("smplh", lambda a: {**a, "poses": a["poses"].reshape(FRAMES, 52, 3)}),
        ("smplh", lambda a: {**a, "poses": a["poses"][:, :66]}),
        ("smplx", lambda a: split_keys(a, root="root_orient", body="pose_body", trans="trans")),
        (
            "smplx",
            lambda a: split_keys(a, root="global_orient", body="body_pose", trans="transl") | {"jaw_pose": np.zeros(3)},
        ),
        ("smpl", lambda a: split_keys(a, root="global_orient", body="body_pose", trans="transl", width=69)),
        ("smplh", lambda a: {**a, "poses": np.asfortranarray(a["poses"])}),
        ("smplh", lambda a: {**a, "betas": a["betas"][None]}),
        ("smplh", lambda a: {**a, "betas": np.tile(a["betas"], (FRAMES, 1))}),
        ("smplh", lambda a: {**a, "gender": b"female"}),
        ("smplh", lambda a: {**a, "gender": "b'female'", "mocap_frame_rate": 30}),
    ],
)
def test_all_forms_of_the_same_parameters_give_the_same_joints(tmp_path, family, form):
    arrays = amass(family)
    save_body(tmp_path / f"{family.upper()}_FEMALE.npz", family)
    save_body(tmp_path / f"{family.upper()}_NEUTRAL.npz", family)
    expected = read(save(tmp_path / "a.npz", arrays), tmp_path)
    found = read(save(tmp_path / "b.npz", form(arrays)), tmp_path / f"{family.upper()}_FEMALE.npz")
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-5)
    np.testing.assert_allclose(found.rotations, expected.rotations, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"trans": None}, "no key 'trans'"),
        ({"betas": None}, "no key 'betas': the joints are those of the mean body"),
        ({"gender": "other"}, "key 'gender' is none of neutral, female, male; took neutral"),
        ({"gender": np.array("female", dtype=object)}, "took neutral"),
        ({"betas": np.arange(16.0 * FRAMES).reshape(FRAMES, 16) / 100}, "the shape changes from frame to frame"),
        ({"betas": np.ones(20)}, "left out 4 shape coefficients"),
    ],
)
def test_what_is_missing_or_left_out_is_noted(tmp_path, changes, note):
    recording = read(save(tmp_path / "walk.npz", amass(**changes)), save_body(tmp_path / "body.npz"))
    assert sum(note in found for found in recording.notes) == 1
    quiet = read(save(tmp_path / "quiet.npz", amass(poses=amass()["poses"][:, :66])), tmp_path / "body.npz")
    assert quiet.notes == []


def test_only_amass_is_known_to_be_z_up(tmp_path):
    recording = read(save(tmp_path / "walk.npz", amass(mocap_framerate=None)), save_body(tmp_path / "body.npz"))
    assert (recording.up_axis, recording.fps) == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": np.zeros((FRAMES, 100))}, r"key 'poses': has shape \(7, 100\); expected rotation vectors.*as_rotvec"),
        ({"poses": np.zeros((FRAMES, 24, 3, 3))}, "as_rotvec"),
        ({"poses": np.zeros(156)}, r"shape \(156,\)"),
        ({"poses": np.zeros((0, 156))}, "expected floats"),
        ({"poses": np.zeros((FRAMES, 156), dtype=object)}, "Python objects"),
        ({"trans": np.zeros((FRAMES - 1, 3))}, "7 frames of poses, but 6 of 'trans'"),
        ({"trans": np.zeros((FRAMES, 2))}, "key 'trans'"),
        ({"betas": np.full(16, np.nan)}, "16 of them NaN or infinite"),
        ({"betas": np.zeros(400)}, "at most 300"),
        ({"betas": np.zeros((3, 16))}, r"shape \(3, 16\)"),
        ({"betas": "thin"}, "dtype <U4"),
        ({"mocap_framerate": 0}, "key 'mocap_framerate': expected one number of frames per second above 0"),
    ],
)
def test_damaged_parameters_are_refused(tmp_path, changes, message):
    path = save(tmp_path / "walk.npz", amass(**changes))
    with pytest.raises(ValueError, match=message) as info:
        read(path, save_body(tmp_path / "body.npz"))
    assert str(info.value).startswith(str(path))


@pytest.mark.parametrize("key", ["poses", "trans"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_frames_that_are_not_finite_count_as_missing(tmp_path, key, value):
    arrays = amass()
    expected = read(save(tmp_path / "a.npz", arrays), save_body(tmp_path / "body.npz"))
    arrays[key][3, 1] = value
    path = save(tmp_path / "walk.npz", arrays)
    recording = read(path, tmp_path / "body.npz")
    assert np.isnan(recording.positions[3]).all()
    assert np.isnan(recording.rotations[3]).all()
    np.testing.assert_array_equal(np.delete(recording.positions, 3, axis=0), np.delete(expected.positions, 3, axis=0))
    assert "1 of 7 frames hold NaN or infinite parameters, and count as missing" in recording.notes
    motion, notes = read_noting(path, ReadOptions(body_model=tmp_path / "body.npz"))
    assert np.isfinite(motion.joints).all()
    assert any("filled 22 missing positions" in note for note in notes)


def test_split_keys_must_have_the_same_frames(tmp_path):
    arrays = split_keys(amass("smplx"), root="root_orient", body="pose_body", trans="trans")
    arrays["root_orient"] = arrays["root_orient"][1:]
    with pytest.raises(ValueError, match="6 frames of 'root_orient', but 7 of 'pose_body'"):
        read(save(tmp_path / "walk.npz", arrays), save_body(tmp_path / "body.npz", "smplx"))


# ---- body models --------------------------------------------------------------------------------------------------------


def test_without_a_body_model_the_error_says_where_to_get_one(tmp_path):
    message = r"walk\.npz: holds pose parameters of smplh \(gender female\).*mano\.is\.tue\.mpg\.de.*body_model=\.\.\."
    with pytest.raises(ValueError, match=message):
        read_motion(save(tmp_path / "walk.npz", amass()))


@pytest.mark.parametrize(
    "place", ["smplh/SMPLH_FEMALE.npz", "SMPLH_FEMALE.npz", "smplh/female/model.npz", "female/model.npz"]
)
def test_the_body_model_of_the_gender_is_found_in_a_folder(tmp_path, place):
    path = save(tmp_path / "walk.npz", amass())
    other = place.replace("FEMALE", "MALE") if "FEMALE" in place else place.replace("female", "male")
    save_body(tmp_path / "models" / other, seed=1)
    with pytest.raises(FileNotFoundError, match=r"no body model for gender 'female'.*smplh/SMPLH_FEMALE\.npz"):
        read(path, tmp_path / "models")
    save_body(tmp_path / "models" / place, seed=2)
    expected = read(path, save_body(tmp_path / "body.npz", seed=2))
    np.testing.assert_array_equal(read(path, tmp_path / "models").positions, expected.positions)


def test_a_body_model_that_is_replaced_is_read_anew(tmp_path):
    path = save(tmp_path / "walk.npz", amass())
    before = read(path, save_body(tmp_path / "body.npz", seed=1)).positions
    after = read(path, save_body(tmp_path / "body.npz", seed=2)).positions
    assert np.abs(after - before).max() > 1e-3


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["SMPLH_FEMALE.pkl", "SMPLH_FEMALE.npz"])
@pytest.mark.parametrize("folder", [False, True])
def test_pickled_body_models_are_refused_and_never_run(tmp_path, monkeypatch, name, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(pickle.dumps(Bomb()))
    model = tmp_path / "models" if folder else tmp_path / "models" / name
    path = save(tmp_path / "walk.npz", amass())
    with pytest.raises(ValueError, match=rf"{name}: unpickling can run code.*np\.savez"):
        read(path, model)
    assert not (tmp_path / "exploded").exists()


def test_pickled_arrays_of_a_body_model_are_refused_if_needed_and_passed_over_if_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = np.array([Bomb()], dtype=object)
    path = save(tmp_path / "walk.npz", amass())
    assert len(read(path, save_body(tmp_path / "body.npz", joint2num=bomb)).positions) == FRAMES
    with pytest.raises(ValueError, match=r"J_regressor.*Python objects"):
        read(path, save_body(tmp_path / "body.npz", J_regressor=bomb))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_template": None, "f": None}, "is no SMPL body model: it has no v_template"),
        ({"J_regressor": np.zeros((16, 104))}, "is no SMPL body model: J_regressor"),
        ({"J_regressor": np.zeros(104)}, "is no SMPL body model: J_regressor"),
        ({"shapedirs": np.zeros((104, 3))}, "is no SMPL body model: J_regressor"),
        ({"kintree_table": np.zeros((2, 52), dtype=np.int64)}, "kintree_table is another tree"),
        ({"kintree_table": np.zeros((0, 52), dtype=np.int64)}, "is no SMPL body model"),
        ({"v_template": np.full((104, 3), np.inf)}, "NaN or infinite"),
    ],
)
def test_what_is_no_body_model_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read(save(tmp_path / "walk.npz", amass()), save_body(tmp_path / "body.npz", **changes))


def test_the_body_model_must_be_of_the_family_of_the_poses(tmp_path):
    path = save(tmp_path / "walk.npz", amass())
    with pytest.raises(ValueError, match=r"has poses of smplh, but the body model .*body\.npz is of smplx"):
        read(path, save_body(tmp_path / "body.npz", "smplx"))
    with pytest.raises(FileNotFoundError, match=r"no body model at .*nowhere"):
        read(path, tmp_path / "nowhere.npz")


@pytest.mark.parametrize(("num_directions", "used"), [(20, 10), (16, 16), (400, 300)])
def test_directions_of_the_face_are_not_taken_for_shape(tmp_path, num_directions, used):
    arrays = amass("smplx", betas=np.ones(300))
    body = body_arrays("smplx", num_betas=num_directions)
    recording = read(save(tmp_path / "walk.npz", arrays), save(tmp_path / "body.npz", body))
    body["shapedirs"][:, :, used:] = 0
    arrays["betas"] = np.ones(used)
    np.testing.assert_allclose(recording.positions, expected_transforms(body, arrays)[:, :22, :3, 3], atol=1e-4)


# ---- fuzz ---------------------------------------------------------------------------------------------------------------


def packed(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


PARAMETERS, BODY = packed(amass()), packed(body_arrays("smplh"))
TOKENS = [b"", b"\x00", b"\xff", b"9999999999", b"-1", b"<f8", b"|O", b"(", b"gender", b"nan"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), mutate_body=st.booleans())
def test_mutated_files_are_read_or_refused(tmp_path, data, mutate_body):
    content = bytearray(BODY if mutate_body else PARAMETERS)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)) | st.integers(0, 300))
        length = data.draw(st.sampled_from([0, 1, 2, 8, 200]))
        content[start : start + length] = data.draw(st.sampled_from(TOKENS) | st.binary(max_size=6))
    walk, body = tmp_path / "walk.npz", tmp_path / "body.npz"
    walk.write_bytes(PARAMETERS if mutate_body else bytes(content))
    body.write_bytes(bytes(content) if mutate_body else BODY)
    readers_smpl._load_body.cache_clear()
    refusal = str(tmp_path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_motion(walk, body_model=body).joints.shape[1:] == (22, 3)
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith(str(tmp_path))
