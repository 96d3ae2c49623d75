import io
import json
import struct
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save, save_file
from scipy.spatial.transform import Rotation

from motionpatches.processing import npz_files, readers_arrays
from motionpatches.processing.motion import Motion
from motionpatches.processing.npz_files import NpzReader
from motionpatches.processing.readers import read_motion, write_npz, write_safetensors
from motionpatches.processing.skeletons import Skeleton, get_skeleton


BODY21, KIT21, SMPL22 = (get_skeleton(name) for name in ("body21", "kit21", "smpl22"))
JOINTS = np.random.default_rng(0).normal(size=(4, 21, 3)).astype(np.float32)
ROTATIONS = Rotation.random(4 * 21, rng=0).as_quat().reshape(4, 21, 4).astype(np.float32)
WRITERS = {".npz": write_npz, ".safetensors": write_safetensors}
OWN_SKELETONS = {
    "renamed": replace(BODY21, name="mine"),
    "of another unit": replace(BODY21, unit="inches", up_axis="-z"),
    "with a virtual joint": Skeleton(
        "no pelvis",
        (*BODY21.joint_names[1:], "middle of the hips"),
        (*(20 if parent == 0 else parent - 1 for parent in BODY21.parents[1:]), -1),
        (*BODY21.points[1:], "pelvis"),
        virtual=(((12, 0.5), (16, 0.5)),),
    ),
}


def write(path, content):
    path.write_bytes(content)
    return path


def npy_bytes(array, **kwargs):
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def npy_header(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": descr})
    return stream.getvalue()


def safetensors_bytes(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def read_noting(path, **options):
    """The motion, and what the user is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = read_motion(path, **options)
    return motion, [str(warning.message) for warning in caught if warning.category is UserWarning]


# ---- arrays -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".NPY", "", ".motion"])
def test_npy_is_read_by_its_content(tmp_path, suffix):
    motion = read_motion(write(tmp_path / f"walk{suffix}", npy_bytes(JOINTS)))
    np.testing.assert_array_equal(motion.joints, JOINTS)
    assert (motion.skeleton, motion.fps) == (None, None)


def test_npy_of_whole_numbers_becomes_floats(tmp_path):
    motion = read_motion(write(tmp_path / "walk.npy", npy_bytes(np.arange(12, dtype=np.int16).reshape(2, 2, 3))))
    assert motion.joints.dtype == np.float64
    assert motion.joints[1, 1].tolist() == [9.0, 10.0, 11.0]


def test_npy_of_foreign_byte_order_becomes_native(tmp_path):
    motion = read_motion(write(tmp_path / "walk.npy", npy_bytes(JOINTS.astype(">f4"))))
    assert motion.joints.dtype.isnative
    np.testing.assert_array_equal(motion.joints, JOINTS)


def test_nan_is_left_to_the_processor(tmp_path):
    joints = np.full((1, 2, 3), np.nan)
    np.testing.assert_array_equal(read_motion(write(tmp_path / "walk.npy", npy_bytes(joints))).joints, joints)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 63)), r"shape \(4, 63\); expected \(T, J, 3\)"),
        (np.zeros((1, 4, 21, 3)), r"shape \(1, 4, 21, 3\)"),
        (np.zeros((4, 21, 2)), r"shape \(4, 21, 2\)"),
        (np.zeros((0, 21, 3)), "at least one frame"),
        (np.zeros((4, 21, 3), dtype=complex), "dtype complex128"),
        (np.zeros((4, 21, 3), dtype="U3"), "dtype <U3"),
        (np.zeros((4, 21, 3), dtype=object), "Python objects"),
    ],
)
def test_npy_of_another_form_is_refused(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        read_motion(write(tmp_path / "walk.npy", npy_bytes(array, allow_pickle=True)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy_bytes(JOINTS)[:-1], "cut off"),
        (npy_header((10**7, 21, 3)), "limit"),
        (npy_header((2**62, 21, 3)), "limit"),
        (npy_header((10**5, 21, 3)), "only 0 bytes follow"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((", "not readable as an .npy"),
        (b"\x93NUMPY\x07\x00", "not readable as an .npy"),
        (b"\x93NUMPY", "not readable as an .npy"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_arrays_are_refused_before_they_are_read(tmp_path, content, message, packed):
    path = tmp_path / "walk.npy"
    if packed:
        path = tmp_path / "walk.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("joints.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_motion(path)


def test_npz_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "walk.npz", joints=np.zeros((1000, 21, 3)))
    monkeypatch.setattr(npz_files, "MAX_ARRAY_BYTES", 100_000)
    with pytest.raises(ValueError, match=r"key 'joints': unpacks to \d+ bytes, more than the limit of 100000"):
        read_motion(tmp_path / "walk.npz")


def test_npz_with_unknown_keys_is_read_and_they_are_named(tmp_path):
    np.savez(tmp_path / "walk.npz", joints=JOINTS, caption="a walk", root=JOINTS[:, 0])
    with pytest.warns(UserWarning, match=r"ignored keys \['caption', 'root'\]") as caught:
        motion = read_motion(tmp_path / "walk.npz")
    assert caught[0].filename == __file__  # the warning points at the caller
    np.testing.assert_array_equal(motion.joints, JOINTS)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"places": JOINTS}, r"needs the key 'joints'.*found \['places'\]"),
        ({"joints": JOINTS[0]}, r"shape \(21, 3\)"),
        ({"joints": JOINTS, "skeleton": "smpl99"}, r"'smpl99'.*known skeleton: body21"),
        ({"joints": JOINTS, "skeleton": 7}, "key 'skeleton' is 7"),
        ({"joints": JOINTS, "skeleton": ["body21", "kit21"]}, r"key 'skeleton' is an array of shape \(2,\)"),
        ({"joints": JOINTS, "fps": 0.0}, "key 'fps' is 0.0"),
        ({"joints": JOINTS, "fps": np.nan}, "key 'fps' is nan"),
        ({"joints": JOINTS, "fps": np.inf}, "key 'fps' is inf"),
        ({"joints": JOINTS, "fps": "fast"}, "key 'fps' is 'fast'"),
        ({"joints": JOINTS, "fps": [30, 60]}, "key 'fps' is an array"),
        ({"joints": JOINTS, "skeleton": np.array({"a": 1}, dtype=object)}, "Python objects"),
    ],
)
def test_npz_of_another_form_is_refused(tmp_path, contents, message):
    np.savez(tmp_path / "walk.npz", **contents)
    with pytest.raises(ValueError, match=message):
        read_motion(tmp_path / "walk.npz")


# ---- what the caller knows ----------------------------------------------------------------------------------------------


def test_the_caller_says_what_an_array_is(tmp_path):
    motion = read_motion(write(tmp_path / "walk.npy", npy_bytes(JOINTS)), skeleton="body21", fps=25)
    np.testing.assert_array_equal(motion.joints, JOINTS)
    assert (motion.skeleton, motion.fps) == (BODY21, 25)


@pytest.mark.parametrize(("skeleton", "factor"), [("body21", 0.01), ("kit21", 10.0)])
def test_a_unit_is_converted_to_that_of_the_skeleton(tmp_path, skeleton, factor):
    path = write(tmp_path / "walk.npy", npy_bytes(JOINTS))
    motion = read_motion(path, skeleton=skeleton, unit="centimetres")
    np.testing.assert_allclose(motion.joints, JOINTS * factor, rtol=1e-6)
    assert motion.joints.dtype == np.float32


@pytest.mark.parametrize(("axis", "up"), [("z", [0, 0, 1]), ("-y", [0, -1, 0]), ("x", [1, 0, 0]), ("y", [0, 1, 0])])
def test_joints_and_rotations_are_turned_to_the_up_axis_of_the_skeleton(tmp_path, axis, up):
    """A figure of straight bones: each bone is the up axis of its joint's own frame, before and after."""
    joints = np.arange(4 * 21, dtype=np.float32).reshape(4, 21, 1) * np.float32(up)
    turn = Rotation.align_vectors([up], [[0, 0, 1]])[0]  # of every joint, which points along its own z
    rotations = np.tile(turn.as_quat(), (4, 21, 1)).astype(np.float32)
    np.savez(tmp_path / "walk.npz", joints=joints, rotations=rotations, skeleton="body21")
    motion = read_motion(tmp_path / "walk.npz", up_axis=axis)
    np.testing.assert_allclose(motion.joints[..., 1], np.arange(4 * 21).reshape(4, 21), atol=1e-4)
    np.testing.assert_allclose(motion.joints[..., [0, 2]], 0, atol=1e-4)
    pointing = Rotation.from_quat(motion.rotations.reshape(-1, 4)).apply([0, 0, 1])
    np.testing.assert_allclose(pointing, np.tile([0.0, 1.0, 0.0], (84, 1)), atol=1e-5)


def test_a_skeleton_of_another_up_axis_keeps_its_own(tmp_path):
    own = replace(BODY21, name="mine", up_axis="z")
    path = write(tmp_path / "walk.npy", npy_bytes(JOINTS))
    np.testing.assert_array_equal(read_motion(path, skeleton=own, up_axis="z").joints, JOINTS)
    turned = read_motion(path, skeleton=own, up_axis="y").joints
    np.testing.assert_allclose(turned[..., 2], JOINTS[..., 1], atol=1e-6)


def test_flat_joints_need_a_skeleton(tmp_path):
    path = write(tmp_path / "walk.npy", npy_bytes(JOINTS.reshape(4, 63)))
    np.testing.assert_array_equal(read_motion(path, skeleton="body21").joints, JOINTS)
    with pytest.raises(ValueError, match=r"shape \(4, 63\).*pass skeleton=\.\.\. of 21 joints"):
        read_motion(path)
    with pytest.raises(ValueError, match=r"shape \(4, 63\)"):
        read_motion(path, skeleton="smpl22")


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((1, 4, 21, 3), "looks like a batch"),
        ((1, 4, 263), "looks like a batch"),
        ((21, 3, 4), r"array\.transpose\(2, 0, 1\)"),
        ((4, 64), r"reshape the array to \(frames, joints, xyz\)"),
    ],
)
def test_arrays_of_another_form_are_refused_with_a_hint(tmp_path, shape, hint):
    with pytest.raises(ValueError, match=hint):
        read_motion(write(tmp_path / "walk.npy", npy_bytes(np.zeros(shape))))


def test_the_joints_must_be_those_of_the_skeleton(tmp_path):
    path = write(tmp_path / "walk.npy", npy_bytes(JOINTS))
    with pytest.raises(ValueError, match=r"shape \(4, 21, 3\), but skeleton 'smpl22' has 22 joints"):
        read_motion(path, skeleton="smpl22")
    np.savez(tmp_path / "walk.npz", joints=JOINTS, skeleton="smpl22")
    with pytest.raises(ValueError, match="skeleton 'smpl22' has 22 joints"):
        read_motion(tmp_path / "walk.npz")


@pytest.mark.parametrize("options", [{"unit": "metres"}, {"up_axis": "z"}])
def test_unit_and_up_axis_need_a_skeleton(tmp_path, options):
    with pytest.raises(ValueError, match=r"pass skeleton=\.\.\. too"):
        read_motion(write(tmp_path / "walk.npy", npy_bytes(JOINTS)), **options)


def test_the_caller_is_right_where_the_file_says_otherwise(tmp_path):
    np.savez(tmp_path / "walk.npz", joints=JOINTS, skeleton="body21", fps=30.0, unit="metres")
    motion, notes = read_noting(tmp_path / "walk.npz", skeleton="kit21", fps=20, unit="centimetres")
    assert (motion.skeleton, motion.fps) == (KIT21, 20)
    np.testing.assert_allclose(motion.joints, JOINTS * 10, rtol=1e-6)
    for what, old, new in (("skeleton", "body21", "kit21"), ("unit", "metres", "centimetres"), ("fps", "30.0", "20")):
        assert any(what in note and old in note and new in note for note in notes)
    assert read_noting(tmp_path / "walk.npz", skeleton="body21", fps=30, unit="metres")[1] == []


@pytest.mark.parametrize(("width", "skeleton", "fps"), [(263, SMPL22, 20.0), (251, KIT21, 12.5)])
def test_feature_vectors_become_joints(tmp_path, width, skeleton, fps):
    features = np.zeros((5, width), dtype=np.float32)
    features[:, 2], features[:, 3] = 0.1, 0.9
    path = write(tmp_path / "walk.npy", npy_bytes(features))
    motion, notes = read_noting(path)
    assert (motion.skeleton, motion.fps, notes) == (skeleton, fps, [])
    np.testing.assert_allclose(motion.joints[:, 0], [[0, 0.9, 0.1 * frame] for frame in range(5)], atol=1e-6)
    assert read_noting(path, fps=30)[0].fps == 30
    with pytest.raises(ValueError, match=rf"are of skeleton '{skeleton.name}', but skeleton 'body25'"):
        read_motion(path, skeleton="body25")
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"again\.npy: features hold 1 NaN"):
        read_motion(write(tmp_path / "again.npy", npy_bytes(features)))


# ---- round trips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("skeleton", "fps", "rotations"),
    [(BODY21, 30.0, None), (None, None, None), (KIT21, 12.5, ROTATIONS), (None, 0.1, ROTATIONS)],
)
def test_written_motions_come_back(tmp_path, suffix, skeleton, fps, rotations):
    WRITERS[suffix](tmp_path / f"walk{suffix}", Motion(JOINTS.astype(np.float64), skeleton, fps, rotations))
    motion, notes = read_noting(tmp_path / f"walk{suffix}")
    np.testing.assert_array_equal(motion.joints, JOINTS)
    assert motion.joints.dtype == np.float32
    assert (motion.skeleton, motion.fps, notes) == (skeleton, fps, [])
    if rotations is None:
        assert motion.rotations is None
    else:
        np.testing.assert_array_equal(motion.rotations, rotations)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kind", OWN_SKELETONS)
def test_skeletons_of_the_users_own_come_back(tmp_path, suffix, kind):
    skeleton = OWN_SKELETONS[kind]
    joints = JOINTS[:, : skeleton.num_joints]
    WRITERS[suffix](tmp_path / f"walk{suffix}", Motion(joints, skeleton, 30.0))
    motion, notes = read_noting(tmp_path / f"walk{suffix}")
    assert motion.skeleton == skeleton
    assert motion.skeleton.chains == skeleton.chains
    np.testing.assert_array_equal(motion.joints, joints)
    assert notes == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    joints=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4).map(lambda shape: (*shape, 3))),
    fps=st.none() | st.floats(1e-300, 1e300),
    suffix=st.sampled_from(sorted(WRITERS)),
    strided=st.booleans(),
)
def test_every_value_comes_back_to_the_last_bit(tmp_path, joints, fps, suffix, strided):
    path = tmp_path / f"walk{suffix}"
    WRITERS[suffix](path, Motion(np.asfortranarray(joints) if strided else joints, fps=fps))
    motion = read_motion(path)
    assert motion.joints.tobytes() == joints.tobytes()
    assert motion.fps == fps


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (Motion(JOINTS[0]), r"shape \(21, 3\)"),
        (Motion(JOINTS, fps=-1.0), "fps"),
        (Motion(JOINTS, SMPL22), "skeleton 'smpl22' has 22 joints"),
        (Motion(JOINTS, rotations=ROTATIONS[:3]), r"rotations have shape \(3, 21, 4\)"),
        (Motion(JOINTS, rotations=2 * ROTATIONS), "84 rotations in frames 0 to 3 are not of length 1"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, suffix, motion, message):
    with pytest.raises(ValueError, match=message):
        WRITERS[suffix](tmp_path / f"walk{suffix}", motion)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", WRITERS)
def test_writers_want_their_own_suffix_in_any_case(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf"end the path in \{suffix}"):
        WRITERS[suffix](tmp_path / "walk.npy", Motion(JOINTS))
    WRITERS[suffix](tmp_path / f"walk{suffix.upper()}", Motion(JOINTS))
    assert [path.name for path in tmp_path.iterdir()] == [f"walk{suffix.upper()}"]


# ---- skeletons, units and rotations in files ----------------------------------------------------------------------------


def own_skeleton_json(**changes):
    return json.dumps({**OWN_SKELETONS["renamed"].to_dict(), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no readable skeleton"),
        ("{}", "no readable skeleton"),
        (own_skeleton_json(parents=[0] * 21), "0 roots"),
        (own_skeleton_json(joint_names=list(range(21))), "strings as names"),
        (own_skeleton_json(joint_names=["x"] * 1001), "at most 1000"),
        (own_skeleton_json(points=[["pelvis"]] * 21), "no readable skeleton"),
        (own_skeleton_json(parents=[1e400] * 21), "no readable skeleton"),
        (own_skeleton_json(root=3), "root"),
        (own_skeleton_json(chains={}, virtual=[[[0, 2.0]]]), "no readable skeleton"),
        ('{"name":' + "[" * 100_000, "no readable skeleton"),
        ("{" + " " * 1_000_001, "limit is 1000000"),
    ],
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_broken_skeletons_are_refused(tmp_path, suffix, text, message):
    path = tmp_path / f"walk{suffix}"
    if suffix == ".npz":
        np.savez(path, joints=JOINTS, skeleton=text)
    else:
        save_file({"joints": JOINTS}, path, metadata={"skeleton": text})
    with pytest.raises(ValueError, match=message) as info:
        read_motion(path)
    assert str(info.value).startswith(str(path))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"unit": "feet"}, "key 'unit' is 'feet'; expected one of metres"),
        ({"unit": 1.0}, "key 'unit' is 1.0; expected a string"),
        ({"rotations": ROTATIONS[..., :3]}, r"rotations have shape \(4, 21, 3\).*expected \(4, 21, 4\)"),
        ({"rotations": ROTATIONS * 1.01}, "84 rotations in frames 0 to 3 are not of length 1"),
        ({"rotations": np.ones((4, 21, 4), dtype=int)}, "dtype int64"),
    ],
)
def test_wrong_units_and_rotations_are_refused(tmp_path, contents, message):
    np.savez(tmp_path / "walk.npz", joints=JOINTS, skeleton="body21", **contents)
    with pytest.raises(ValueError, match=message):
        read_motion(tmp_path / "walk.npz")


def test_unknown_rotations_may_be_nan(tmp_path):
    rotations = ROTATIONS.copy()
    rotations[1, 2] = np.nan
    write_npz(tmp_path / "walk.npz", Motion(JOINTS, BODY21, rotations=rotations))
    np.testing.assert_array_equal(read_motion(tmp_path / "walk.npz").rotations, rotations)


# ---- safetensors --------------------------------------------------------------------------------------------------------


def tensor_header(shape, end, dtype="F32", start=0):
    return {"joints": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<Q", 2**62) + b"{}", "declares a header of 4611686018427387904 bytes"),
        (struct.pack("<Q", 1000) + b"{}", "declares a header of 1000 bytes"),
        (safetensors_bytes(b"{" + b" " * 100), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([10**9, 21, 3], 252 * 10**9)), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([2**61, 2**61, 3], 4)), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([1, 1, 3], 12), bytes(8)), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([1, 1, 3], 12, start=-4), bytes(12)), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([1, 1, 3], 24, start=12), bytes(24)), "not readable as a .safetensors"),
        (safetensors_bytes(tensor_header([1, 1, 3], 12, dtype="O8"), bytes(12)), "not readable as a .safetensors"),
        (safetensors_bytes({}), r"needs the tensor 'joints'.*found \[\]"),
        (save({"joints": JOINTS > 0}), "dtype bool"),
        (save({"joints": JOINTS[0]}), r"shape \(21, 3\)"),
        (save({"joints": JOINTS}, metadata={"fps": "fast"}), "key 'fps' is 'fast'"),
        (save({"joints": JOINTS}, metadata={"fps": "nan"}), "key 'fps' is nan"),
        (save({"joints": JOINTS}, metadata={"skeleton": "smpl99"}), "key 'skeleton' is 'smpl99'"),
    ],
)
def test_hostile_safetensors_are_refused(tmp_path, content, message):
    path = write(tmp_path / "walk.safetensors", content)
    with pytest.raises(ValueError, match=message) as info:
        read_motion(path)
    assert str(info.value).startswith(str(path))


def test_safetensors_beyond_the_limits_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "walk.safetensors", save({"joints": JOINTS}))
    monkeypatch.setattr(readers_arrays, "MAX_ARRAY_BYTES", JOINTS.size * 8 - 1)
    with pytest.raises(ValueError, match="tensor 'joints' needs up to 2016 bytes; the limit is 2015"):
        read_motion(path)
    monkeypatch.setattr(readers_arrays, "MAX_HEADER_BYTES", 10)
    with pytest.raises(ValueError, match="limit of a header is 10"):
        read_motion(path)


def test_safetensors_of_other_people_are_read_and_unknown_parts_are_named(tmp_path):
    content = save({"joints": JOINTS.astype(np.float16), "root": JOINTS[:, 0]}, metadata={"format": "np", "author": "?"})
    motion, notes = read_noting(write(tmp_path / "walk.safetensors", content))
    np.testing.assert_array_equal(motion.joints, JOINTS.astype(np.float16))
    assert len(notes) == 1
    assert "ignored keys ['author', 'root']" in notes[0]


# ---- columns of archives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("block", [1, 50, 2**20])
def test_the_first_columns_are_those_of_the_whole_array(tmp_path, monkeypatch, dtype, order, compress, block):
    monkeypatch.setattr(npz_files, "_BLOCK_VALUES", block)
    array = np.arange(7 * 4 * 5).reshape(7, 4, 5).astype(dtype, order=order)
    (np.savez_compressed if compress else np.savez)(tmp_path / "a.npz", poses=array)
    with NpzReader(tmp_path / "a.npz") as archive:
        assert archive.shape("poses") == (7, 4, 5)
        found = archive.read("poses", columns=6)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array.reshape(7, 20)[:, :6])
        with pytest.raises(ValueError, match=r"shape \(7, 4, 5\).*expected floats of shape \(T, 21 or more\)"):
            archive.read("poses", columns=21)


# ---- fuzz ---------------------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKENS = [b"", b"{", b"}", b"\x00", b"\xff", b"9999999999", b"-1", b"F64", b"[", b'"', b"null", b"body21"]


def valid_files():
    files = {}
    for suffix, array_writer in (("npz", np.savez), ("packed.npz", np.savez_compressed)):
        stream = io.BytesIO()
        array_writer(stream, joints=JOINTS, rotations=ROTATIONS, skeleton=own_skeleton_json(), fps=30.0, unit="metres")
        files[suffix] = stream.getvalue()
    files["safetensors"] = save(
        {"joints": JOINTS, "rotations": ROTATIONS}, metadata={"skeleton": own_skeleton_json(), "fps": "30", "unit": "metres"}
    )
    files["npy"] = npy_bytes(np.zeros((3, 263)))
    return files


VALID = valid_files()


@FUZZ
@given(data=st.data(), kind=st.sampled_from(sorted(VALID)))
def test_mutated_files_are_read_or_refused(tmp_path, data, kind):
    content = bytearray(VALID[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)) | st.integers(0, 300))
        length = data.draw(st.sampled_from([0, 1, 2, 8, 200]))
        content[start : start + length] = data.draw(st.sampled_from(TOKENS) | st.binary(max_size=6))
    path = write(tmp_path / f"walk.{kind}", bytes(content))
    refusal = str(path)
    try:
        assert read_noting(path)[0].joints.ndim == 3
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith(str(path))
