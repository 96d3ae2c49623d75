import importlib
import io
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import both_sides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import readers, readers_bvh
from motionpatches.processing.body_points import BODY_POINTS
from motionpatches.processing.motion import Motion
from motionpatches.processing.readers import READABLE_SUFFIXES, read_motion
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton, list_skeletons


BODY21 = get_skeleton("body21")
# (name, parent, body point) in file order, parents first.
MIXAMO = [
    ("Hips", None, "pelvis"),
    ("Spine", "Hips", "spine_low"),
    ("Spine1", "Spine", "spine_mid"),
    ("Spine2", "Spine1", "chest"),
    ("Neck", "Spine2", "neck"),
    ("Head", "Neck", "head"),
    *both_sides(
        (
            ("Shoulder", "Spine2", "collar"),
            ("Arm", "Shoulder", "shoulder"),
            ("ForeArm", "Arm", "elbow"),
            ("Hand", "ForeArm", "wrist"),
            ("UpLeg", "Hips", "hip"),
            ("Leg", "UpLeg", "knee"),
            ("Foot", "Leg", "ankle"),
            ("ToeBase", "Foot", "toe"),
        ),
        hubs=("Hips", "Spine2"),
    ),
]


def renamed(joints, names):
    """The same joints under other names; a joint renamed to None goes, and its children hang from its parent."""
    parent_of = {name: parent for name, parent, _ in joints}

    def kept(name):
        while name is not None and names.get(name, name) is None:
            name = parent_of[name]
        return names.get(name, name)

    return [(names.get(name, name), kept(parent), point) for name, parent, point in joints if names.get(name, name)]


def sided(names):
    """{"Arm": "{}Shldr"} with sides l, r → {"LeftArm": "lShldr", "RightArm": "rShldr"}; L, R and left, right likewise."""
    return {
        f"{side}{old}": new and new.format(s=side[0].lower(), S=side[0], side=side.lower())
        for old, new in names.items()
        for side in ("Left", "Right")
    }


def bvh_text(
    joints=MIXAMO,
    angles=None,
    *,
    order="ZXY",
    unit=100.0,
    root=(0.0, 93.0, 0.0),
    root_channels="pos rot",
    frame_time="0.0333333",
    offsets=None,
    turn=None,
    end_sites=None,
    moves=None,
):
    """BVH text by hand. `angles` (T, J, 3) are degrees in the order of the channels, `moves` (T, J, 3) joint positions."""
    end_sites = end_sites or {}
    names = [name for name, _, _ in joints]
    parents = [-1 if parent is None else names.index(parent) for _, parent, _ in joints]
    places = np.array([BODY_POINTS[point] if isinstance(point, str) else point for _, _, point in joints]) * unit
    if turn is not None:
        places = places @ turn.T
    if offsets is None:
        offsets = np.array([np.zeros(3) if p < 0 else places[i] - places[p] for i, p in enumerate(parents)])
    angles = np.zeros((2, len(joints), 3)) if angles is None else angles
    rotation = " ".join(f"{axis}rotation" for axis in order)
    position = "Xposition Yposition Zposition"
    lines = ["HIERARCHY"]

    def block(i):
        lines.append(f"{'ROOT' if parents[i] < 0 else 'JOINT'} {names[i]}")
        lines.append("{")
        lines.append("OFFSET " + " ".join(f"{x:.9g}" for x in offsets[i]))
        if parents[i] < 0:
            channels = f"{position} {rotation}" if root_channels == "pos rot" else f"{rotation} {position}"
            lines.append(f"CHANNELS 6 {channels}")
        else:
            lines.append(f"CHANNELS 3 {rotation}" if moves is None else f"CHANNELS 6 {position} {rotation}")
        children = [j for j, p in enumerate(parents) if p == i]
        for j in children:
            block(j)
        if not children or names[i] in end_sites:
            tip = end_sites.get(names[i], (0.0, 0.0, 1.0))
            lines.extend(["End Site", "{", "OFFSET " + " ".join(f"{x:.9g}" for x in tip), "}"])
        lines.append("}")
        visited.append(i)

    visited: list[int] = []
    block(0)
    depth_first = [names.index(line.split(maxsplit=1)[1]) for line in lines if line.startswith(("ROOT", "JOINT"))]
    lines += ["MOTION", f"Frames: {len(angles)}", f"Frame Time: {frame_time}"]
    for frame, pose in enumerate(angles):
        values = []
        for i in depth_first:
            if parents[i] < 0:
                values += [*root, *pose[i]] if root_channels == "pos rot" else [*pose[i], *root]
            else:
                values += [*pose[i]] if moves is None else [*moves[frame, i], *pose[i]]
        lines.append(" ".join(f"{value:.9g}" for value in values))
    return "\n".join(lines) + "\n"


def write(path, content):
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content, encoding="utf-8")
    return path


def read_noting(path):
    """The motion, and what the user is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = read_motion(path)
    return motion, [str(warning.message) for warning in caught if warning.category is UserWarning]


def read_quietly(path):
    return read_noting(path)[0]


def npy_bytes(array, **kwargs):
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


JOINTS = np.random.default_rng(0).normal(size=(4, 21, 3)).astype(np.float32)


# ---- which format -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("walk.bvh", npy_bytes(JOINTS), r"\.bvh promises BVH text.*looks like a NumPy array.*rename it to walk\.npy"),
        ("walk.npy", bvh_text(), r"\.npy promises a NumPy array.*looks like BVH text.*rename it to walk\.bvh"),
        ("walk.npz", npy_bytes(JOINTS), r"rename it to walk\.npy"),
        ("walk.BVH", npy_bytes(JOINTS), r"\.BVH promises BVH text"),
        ("walk.npy", b"PK\x03\x04", r"rename it to walk\.npz"),
        ("walk.bvh", b"", "promises BVH text.*it is empty"),
        ("walk.bvh", b"\x00\x01\x02", r"it starts with b'\\x00\\x01\\x02'"),
        ("walk.xyz", b"walk", r"no known motion file; known formats: \.npy .*\.npz .*\.bvh.*\.csv, \.tsv"),
        ("walk.gltf", b'{"joints": []}', r"\.gltf promises glTF.*looks like JSON.*rename it to walk\.json"),
        ("walk.json", b'{"asset": {"version": "2.0"}}', r"\.json promises JSON.*looks like glTF.*rename it to walk\.gltf"),
    ],
)
def test_suffix_and_content_must_agree(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_motion(write(tmp_path / name, content))


TABLE = b"frame,Head_x,Head_y,Head_z\n0,1,2,3\n"
STARTS = {
    "npy": (npy_bytes(JOINTS), "read_npy"),
    "npz": (b"PK\x03\x04\x14\x00", "read_npz"),
    "empty npz": (b"PK\x05\x06" + bytes(18), "read_npz"),
    "safetensors": (b"\x40\x00\x00\x00\x00\x00\x00\x00{}", "read_safetensors"),
    "BVH": (b"\xef\xbb\xbf \r\nHIERARCHY\r\nROOT Hips", "read_bvh"),
    "AMC of CMU": (b"#!OML:ASF F:\\USERDATA\\INSTALL\\subject01\n:FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3", "read_asf_amc"),
    "AMC with other comments": (b"# made by hand\r\n#\r\n:fully-specified\r\n:radians\r\n1\r\n", "read_asf_amc"),
    "AMC without keywords": (b"1\nroot 9.3 17.8 -17.3 -2 -3 2\nlowerback 1 2 3\n", "read_asf_amc"),
    "NTU": (b"103\r\n1\r\n72057594037931101 0 1 1 1 1 0 0.1 -0.2 2\r\n25\r\n", "read_ntu"),
    "C3D": (b"\x02\x50" + bytes(510), "read_c3d"),
    "GLB": (b"glTF\x02\x00\x00\x00", "read_gltf"),
    "glTF": (b'{"asset": {"extras": {"author": "?"}, "version": "2.0"}}', "read_gltf"),
    "glTF whose asset comes late": (b'{"nodes": [' + b"{}," * 5000 + b'{}], "asset":{"version":"2.0"}}', "read_gltf"),
    "JSON object": (b'\n {"joints": []}', "read_json"),
    "JSON list": (b'[{"Head": [1, 2, 3]}]', "read_json"),
    "JSON in UTF-16": ('{"joints": []}'.encode("utf-16"), "read_json"),
    "CSV": (TABLE, "read_csv"),
    "TSV": (TABLE.replace(b",", b"\t"), "read_csv"),
    "CSV with semicolons": (TABLE.replace(b",", b";"), "read_csv"),
    "CSV with comments": (b"# 120 Hz\n\n" + TABLE, "read_csv"),
    "CSV whose second letter is that of C3D": (b"XPos,YPos,ZPos\n1,2,3\n", "read_csv"),
    "CSV of Latin-1": ("Fuß_x,Fuß_y,Fuß_z\n".encode("latin-1"), "read_csv"),
    "bare numbers": (b"  0.1 -2e-3 .5 1\n0.1 0.2 0.3 0.4\n", "read_csv"),
}


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("name", ["walk", "walk.txt"])
def test_every_format_is_told_by_its_content(tmp_path, monkeypatch, kind, name):
    content, function = STARTS[kind]
    asked = []

    class Module:
        def __getattr__(self, name):
            return lambda path, options: asked.append(name) or (Motion(JOINTS), [])

    monkeypatch.setattr(readers.importlib, "import_module", lambda *args: Module())
    read_motion(write(tmp_path / name, content))
    assert asked == [function]


def test_every_format_has_a_reader_that_exists():
    for known in readers._FORMATS:
        assert callable(getattr(importlib.import_module(f"motionpatches.processing.{known.module}"), known.function))


def test_readable_suffixes_are_those_of_the_formats():
    assert {".npy", ".npz", ".safetensors", ".bvh", ".amc", ".c3d", ".glb", ".gltf", ".skeleton"} <= set(READABLE_SUFFIXES)
    assert not {".pkl", ".txt", ".asf"} & set(READABLE_SUFFIXES)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["walk.pkl", "walk.npy", "walk"])
def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch, protocol, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"is a pickle .*can run whatever code.*np\.savez"):
        read_motion(write(tmp_path / name, pickle.dumps(Bomb(), protocol)))
    assert not (tmp_path / "exploded").exists()


def test_torch_files_are_refused(tmp_path):
    torch.save({"joints": torch.zeros(4, 22, 3)}, tmp_path / "walk.pt")
    with pytest.raises(ValueError, match="is a pickle"):
        read_motion(tmp_path / "walk.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Kaydara FBX Binary  \x00\x1a\x00", "is FBX.*export it as BVH or GLB"),
        (b"; FBX 7.4.0 project file\n", "is FBX"),
        (b"# AST/ASF file generated using VICON BodyLanguage\n:version 1.10\n:name VICON\n", r"is ASF.*pass the \.amc"),
        (b":version 1.10\n", "is ASF"),
    ],
)
def test_what_is_no_motion_is_refused_with_a_way_out(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_motion(write(tmp_path / "walk", content))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"fps": np.nan}, "fps is nan"),
        ({"unit": "feet"}, "unit is 'feet'; expected one of metres, centimetres"),
        ({"up_axis": "up"}, "up_axis is 'up'; expected one of x, y, z"),
        ({"max_gap": -1}, "max_gap is -1"),
        ({"skeleton": "smpl99"}, "unknown skeleton 'smpl99'"),
    ],
)
def test_options_that_are_none_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_motion(write(tmp_path / "walk.npy", npy_bytes(JOINTS)), **options)


def test_every_option_reaches_the_reader(tmp_path, monkeypatch):
    asked = []

    class Module:
        def __getattr__(self, name):
            return lambda path, options: asked.append(options) or (Motion(JOINTS), [])

    monkeypatch.setattr(readers.importlib, "import_module", lambda *args: Module())
    path = write(tmp_path / "walk.npy", npy_bytes(JOINTS))
    read_motion(path, "body21", 30.0, "inches", "-z", "Ann", "models", "07.asf", 2.5)
    assert asked == [ReadOptions(BODY21, 30.0, "inches", "-z", "Ann", Path("models"), Path("07.asf"), 2.5)]


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bvh"):
        read_motion(tmp_path / "nowhere.bvh")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_motion(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match=r"pipe\.npy is not a regular file"):
        read_motion(tmp_path / "pipe.npy")


# ---- BVH: forward kinematics --------------------------------------------------------------------------------------------


def expected_positions(joints, angles, order, root, offsets):
    """Forward kinematics by scipy, joint by joint: {name: (T, 3)}. BVH rotates in the order of its channels, intrinsically."""
    place, turn = {}, {}
    for i, (name, parent, _) in enumerate(joints):
        local = Rotation.from_euler(order, angles[:, i], degrees=True)
        if parent is None:
            place[name], turn[name] = np.tile(root, (len(angles), 1)), local
        else:
            place[name] = place[parent] + turn[parent].apply(offsets[:, i])
            turn[name] = turn[parent] * local
    return place


def body21_names(joints):
    name_of = {point: name for name, _, point in joints}
    return [name_of[point] for point in BODY21.points]


def rest_offsets(joints, unit=100.0):
    place = {name: np.array(BODY_POINTS[point]) * unit for name, _, point in joints}
    return np.array([np.zeros(3) if parent is None else place[name] - place[parent] for name, parent, _ in joints])


@pytest.mark.parametrize("root_channels", ["pos rot", "rot pos"])
@pytest.mark.parametrize("order", ["ZXY", "XYZ"])
def test_forward_kinematics_honours_the_channel_order(tmp_path, order, root_channels):
    rng = np.random.default_rng(1)
    angles = rng.uniform(-60, 60, size=(3, len(MIXAMO), 3))
    root = (10.0, 95.0, -20.0)
    text = bvh_text(angles=angles, order=order, root=root, root_channels=root_channels)
    motion = read_quietly(write(tmp_path / "walk.bvh", text))
    offsets = np.tile(rest_offsets(MIXAMO), (3, 1, 1))
    place = expected_positions(MIXAMO, angles, order, root, offsets)
    expected = np.stack([place[name] for name in body21_names(MIXAMO)], axis=1) / 100
    np.testing.assert_allclose(motion.joints, expected, atol=1e-6)


def test_position_channels_of_a_joint_replace_its_offset(tmp_path):
    """Every joint of the Bandai-Namco files has six channels; their hips move below a root that stands still."""
    rng = np.random.default_rng(2)
    joints = [("joint_Root", None, (0.0, 0.0, 0.0)), ("Hips", "joint_Root", "pelvis"), *MIXAMO[1:]]
    angles = rng.uniform(-60, 60, size=(3, len(joints), 3))
    still = np.vstack([np.zeros((1, 3)), [np.array(BODY_POINTS["pelvis"]) * 100], rest_offsets(MIXAMO)[1:]])
    moves = still + rng.normal(size=(3, *still.shape))
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(joints, angles, root=(0, 0, 0), moves=moves)))
    place = expected_positions(joints, angles, "ZXY", (0, 0, 0), moves)
    expected = np.stack([place[name] for name in body21_names(joints)], axis=1) / 100
    np.testing.assert_allclose(motion.joints, expected, atol=1e-6)


def test_root_offset_is_not_added_to_the_root_position(tmp_path):
    offsets = rest_offsets(MIXAMO)
    offsets[0] = 500.0
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(offsets=offsets, root=(1.0, 93.0, 2.0))))
    np.testing.assert_allclose(motion.joints[0, 0], [0.01, 0.93, 0.02])


@pytest.mark.parametrize(("frame_time", "fps"), [("0.0333333", 30.0), ("0.00833333", 120.0), ("0.04", 25.0)])
def test_frame_rate_is_one_over_the_frame_time(tmp_path, frame_time, fps):
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(frame_time=frame_time)))
    assert motion.fps == pytest.approx(fps, rel=1e-9)
    assert motion.joints.shape == (2, 21, 3)


# ---- BVH: names ---------------------------------------------------------------------------------------------------------

LEGS = {"UpLeg": "{s}Thigh", "Leg": "{s}Shin", "Foot": "{s}Foot"}
CMU = [  # the helpers of the cgspeed files: hip joints and LowerBack at the hips, Neck at Spine1
    ("Hips", None, "pelvis"),
    ("LHipJoint", "Hips", "pelvis"),
    ("RHipJoint", "Hips", "pelvis"),
    ("LowerBack", "Hips", "pelvis"),
    ("Spine", "LowerBack", "spine_low"),
    ("Spine1", "Spine", "chest"),
    ("Neck", "Spine1", "chest"),
    ("Neck1", "Neck", "neck"),
    ("Head", "Neck1", "head"),
    *(
        (name, {"Spine2": "Spine1", "Hips": f"{name[0]}HipJoint"}.get(parent, parent), point)
        for name, parent, point in MIXAMO[6:]
    ),
    ("LThumb", "LeftHand", "left_thumb"),
]
VOCABULARIES = {
    "mixamo": [(f"mixamorig:{name}", parent and f"mixamorig:{parent}", point) for name, parent, point in MIXAMO],
    "motionbuilder": [(f"Character1_{name}", parent and f"Character1_{parent}", point) for name, parent, point in MIXAMO],
    "lafan1": renamed(MIXAMO, {"LeftToeBase": "LeftToe", "RightToeBase": "RightToe"}),
    "cmu": CMU,
    "one_spine_fewer": renamed(MIXAMO, {"Spine1": None}),
    "bandai_namco": renamed(
        MIXAMO,
        {"Spine1": None, "Spine2": "Chest"}
        | sided({"Shoulder": "Shoulder_{S}", "Arm": "UpperArm_{S}", "ForeArm": "LowerArm_{S}", "Hand": "Hand_{S}"})
        | sided({"UpLeg": "UpperLeg_{S}", "Leg": "LowerLeg_{S}", "Foot": "Foot_{S}", "ToeBase": "Toes_{S}"}),
    ),
    "daz": renamed(
        MIXAMO,
        {"Hips": "hip", "Spine": "abdomen", "Spine1": None, "Spine2": "chest", "Neck": "neck", "Head": "head"}
        | sided(
            {"Shoulder": "{s}Collar", "Arm": "{s}Shldr", "ForeArm": "{s}ForeArm", "Hand": "{s}Hand", "ToeBase": "{s}Toe"}
        )
        | sided(LEGS),
    ),
    "canonical": [  # the joints of body21 under their own names
        (name, None if parent < 0 else BODY21.joint_names[parent], point)
        for name, parent, point in zip(BODY21.joint_names, BODY21.parents, BODY21.points, strict=True)
    ],
    "smpl22": [
        (name, None if parent < 0 else get_skeleton("smpl22").joint_names[parent], point)
        for name, parent, point in zip(
            get_skeleton("smpl22").joint_names, get_skeleton("smpl22").parents, get_skeleton("smpl22").points, strict=True
        )
    ],
    "biped": renamed(
        MIXAMO,
        {"Hips": "Bip01 Pelvis", "Spine1": "Bip01 Spine1", "Neck": "Bip01 Neck", "Head": "Bip01 Head"}
        | sided({"Shoulder": "Bip01 {S} Clavicle", "Arm": "Bip01 {S} UpperArm", "ForeArm": "Bip01 {S} Forearm"})
        | sided({"Hand": "Bip01 {S} Hand", "UpLeg": "Bip01 {S} Thigh", "Leg": "Bip01 {S} Calf", "Foot": "Bip01 {S} Foot"})
        | sided({"ToeBase": "Bip01 {S} Toe0"}),
    ),
    "leg_is_the_hip_beside_a_knee": renamed(MIXAMO, sided({"UpLeg": "{side}Leg", "Leg": "{side}Knee"})),
    "anatomical": renamed(
        MIXAMO,
        sided({"Shoulder": "{side}Collar", "Arm": "{side}Shoulder", "ForeArm": "{side}Elbow", "Hand": "{side}Wrist"})
        | sided({"UpLeg": "{side}Hip", "Leg": "{side}Knee", "Foot": "{side}Ankle", "ToeBase": "{side}Foot"}),
    ),
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_joints_are_recognised_by_their_names(tmp_path, vocabulary):
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(VOCABULARIES[vocabulary])))
    assert motion.skeleton is BODY21
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)


def test_feet_without_toe_joints_end_in_their_end_sites(tmp_path):
    joints = renamed(MIXAMO, sided({"ToeBase": None}))
    text = bvh_text(joints, end_sites={"LeftFoot": (1, -2, 12), "RightFoot": (3, -4, 11)})
    motion = read_quietly(write(tmp_path / "walk.bvh", text))
    at = BODY21.landmarks
    toes = motion.joints[0, [at["left_toe"], at["right_toe"]]] - motion.joints[0, [at["left_ankle"], at["right_ankle"]]]
    np.testing.assert_allclose(toes, [[0.01, -0.02, 0.12], [0.03, -0.04, 0.11]], atol=1e-9)


def test_chest_is_where_both_arms_hang(tmp_path):
    """With joints between the arms and the neck, the chest is not the highest joint of the spine."""
    joints = [
        *MIXAMO[:4],
        ("Spine3", "Spine2", (0.0, 1.35, 0.0)),
        ("Neck", "Spine3", "neck"),
        *MIXAMO[5:],
    ]
    motion, notes = read_noting(write(tmp_path / "walk.bvh", bvh_text(joints)))
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)
    assert "left out 2 joints that have no place in the skeleton: Spine1, Spine3" in notes[0]


@pytest.mark.parametrize(("name", "unit"), [("kinect20", 1.0), ("kit21", 0.001)])
def test_another_named_skeleton_is_taken_where_body21_does_not_fit(tmp_path, name, unit):
    skeleton = get_skeleton(name)
    order = skeleton.topological_order
    joints = [
        (
            skeleton.joint_names[j],
            None if skeleton.parents[j] < 0 else skeleton.joint_names[skeleton.parents[j]],
            skeleton.points[j],
        )
        for j in order
    ]
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(joints)))
    assert motion.skeleton is skeleton
    np.testing.assert_allclose(motion.joints[0] * unit, skeleton.rest_pose, atol=1e-6)  # in the skeleton's own unit


def test_missing_joints_are_named_with_a_way_out(tmp_path):
    joints = renamed(MIXAMO, {"LeftLeg": "Chain7", "Head": "Helm"})
    with pytest.raises(
        ValueError, match=r"recognised as head, left_knee; the file has Hips, Spine,.*Chain7.*skeleton="
    ) as info:
        read_quietly(write(tmp_path / "walk.bvh", bvh_text(joints)))
    assert f"Known skeletons: {', '.join(list_skeletons())}" in str(info.value)


# ---- BVH: unit and up axis ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "note"),
    [
        (1.0, None),
        (100.0, "read as centimetres, because the legs measure 80"),
        (1000.0, "read as millimetres"),
        (1 / 0.0254, "read as inches,"),
        (0.45 / 0.0254, "read as CMU's units of 1/0.45 inch"),
        (25.0, "read as inches (CMU's units of 1/0.45 inch would fit too)"),
    ],
)
def test_unit_is_told_by_the_length_of_the_legs(tmp_path, unit, note):
    path = write(tmp_path / "walk.bvh", bvh_text(renamed(MIXAMO, {"Spine1": None}), unit=unit, root=(0, 0.93 * unit, 0)))
    motion, notes = read_noting(path)
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]
    scale = 25.0 * 0.0254 if unit == 25.0 else 1.0
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose * scale, atol=1e-5)


def test_legs_of_no_known_unit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"legs of 4\.\d+ units fit none of metres"):
        read_quietly(write(tmp_path / "walk.bvh", bvh_text(unit=5.0)))


Z_UP = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # (x, y, z) → (x, -z, y)


def test_z_up_is_turned_to_y_up(tmp_path):
    path = write(tmp_path / "walk.bvh", bvh_text(turn=Z_UP, root=(0, 0, 93)))
    motion, notes = read_noting(path)
    assert "from z up to y up" in notes[-1]
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)


def test_z_up_figure_that_its_root_turns_upright_is_left_alone(tmp_path):
    angles = np.zeros((2, len(MIXAMO), 3))
    angles[:, 0, 1] = -90.0  # about x: z → y
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(turn=Z_UP, angles=angles)))
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)


@pytest.mark.parametrize("root_turn", [0.0, 90.0])
def test_y_up_figure_that_stands_or_lies_stays_y_up(tmp_path, root_turn):
    angles = np.zeros((2, len(MIXAMO), 3))
    angles[:, 0, 1] = root_turn  # lies along z
    motion = read_quietly(write(tmp_path / "walk.bvh", bvh_text(angles=angles)))
    rotation = Rotation.from_euler("x", root_turn, degrees=True)
    expected = rotation.apply(BODY21.rest_pose - BODY21.rest_pose[0]) + BODY21.rest_pose[0]
    np.testing.assert_allclose(motion.joints[0], expected, atol=1e-6)


def test_rest_pose_along_x_is_judged_by_the_motion(tmp_path):
    """Bandai-Namco and LAFAN1 lay all bones along x, and the motion stands them up."""
    along_x = Rotation.from_euler("z", -90, degrees=True).as_matrix()
    upright = np.zeros((2, len(MIXAMO), 3))
    upright[:, 0, 0] = 90.0
    motion = read_quietly(write(tmp_path / "y.bvh", bvh_text(turn=along_x, angles=upright)))
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)
    upright[:, 0] = (0.0, 0.0, -90.0)  # from x to z
    path = write(tmp_path / "z.bvh", bvh_text(turn=along_x, angles=upright, root=(0, 0, 93)))
    motion, notes = read_noting(path)
    assert "from z up to y up" in notes[-1]
    np.testing.assert_allclose(motion.joints[0, :, 1], BODY21.rest_pose[:, 1], atol=1e-6)


def test_somebody_who_crawls_is_not_taken_for_z_up(tmp_path):
    along_x = Rotation.from_euler("z", -90, degrees=True).as_matrix()
    crawling = np.zeros((2, len(MIXAMO), 3))
    crawling[:, 0] = (0.0, 0.0, -90.0)  # the back along z
    for i, (name, _, _) in enumerate(MIXAMO):
        if name.endswith("UpLeg"):
            crawling[:, i] = (90.0, 0.0, 0.0)  # the thighs down
    motion, notes = read_noting(write(tmp_path / "walk.bvh", bvh_text(turn=along_x, angles=crawling)))
    assert not any("z up" in note for note in notes)
    at = BODY21.landmarks
    thigh = motion.joints[0, at["left_knee"]] - motion.joints[0, at["left_hip"]]
    assert thigh[1] == pytest.approx(-0.41, abs=0.01)


# ---- BVH: damage --------------------------------------------------------------------------------------------------------


def edited(old, new):
    text = bvh_text()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HIERARCHY", "no line MOTION"),
        (bvh_text()[:600], "no line MOTION"),
        ("HIERARCHY\nMOTION\nFrames: 1\nFrame Time: 0.1\n0 0 0\n", "not a readable BVH file"),
        (bvh_text().rsplit("\n", 2)[0], "declares 2 frames, but holds 1 lines"),
        (bvh_text()[:-30], "not a readable BVH file"),
        (bvh_text() + bvh_text().rsplit("\n", 2)[1], "declares 2 frames, but holds 3 lines"),
        (edited("Frames: 2", "Frames: 0"), "declares 0 frames"),
        (edited("Frames: 2", "Frames: -2"), "not followed by the lines"),
        (edited("Frames: 2", "Frames: 99999999999"), "declares 99999999999 frames"),
        (edited("Frame Time: 0.0333333", "Frame Time: 0"), "frame time is 0;"),
        (edited("Frame Time: 0.0333333", "Frame Time: -0.1"), "frame time is -0.1"),
        (edited("Frame Time: 0.0333333", "Frame Time: nan"), "frame time is nan"),
        (edited("Frame Time: 0.0333333", "Frame Time: inf"), "frame time is inf"),
        (edited("Frame Time: 0.0333333", "Frame Time: fast"), "fast"),
        (edited("CHANNELS 3 ", "CHANNELS 6 "), r"line \d+: 'CHANNELS 6 Z.*another number of channels than it lists"),
        (edited("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation"), "Wrotation"),
        (edited("CHANNELS 3 Zrotation Xrotation", "CHANNELS 2 Zrotation"), "not a readable BVH file"),
        (edited("JOINT Spine\n", "JOYNT Spine\n"), r"'JOYNT Spine' is no part of a HIERARCHY"),
        (edited("}\n", ""), "braces"),
        (edited("OFFSET 0 0 0", "OFFSET 0 0"), "OFFSET must have 3 values"),
        (edited("OFFSET 0 0 0\n", ""), "root Hips#1, at line 2: unexpected token 'JOINT'"),
        (edited("0 93 0", "0 ninety 0"), "not a readable BVH file"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_damaged_bvh_is_refused_with_the_path_and_the_reason(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as info:
        read_motion(write(tmp_path / "walk.bvh", text))
    assert str(info.value).startswith(str(tmp_path / "walk.bvh"))
    assert "plain.bvh" not in str(info.value)


def test_frame_with_a_missing_position_channel_is_refused(tmp_path):
    text = bvh_text(moves=np.zeros((2, len(MIXAMO), 3))).rstrip("\n").rsplit(" ", 1)[0]
    with pytest.raises(ValueError, match="frame 1 has 131 values; its HIERARCHY declares 132 channels"):
        read_motion(write(tmp_path / "walk.bvh", text))


@pytest.mark.parametrize("limit", ["MAX_TEXT_BYTES", "MAX_KINEMATICS_BYTES", "MAX_NODES"])
def test_bvh_beyond_the_limits_is_refused(tmp_path, monkeypatch, limit):
    path = write(tmp_path / "walk.bvh", bvh_text())
    monkeypatch.setattr(readers_bvh, limit, 10)
    with pytest.raises(ValueError, match="10"):
        read_motion(path)


@pytest.mark.parametrize(
    "encode", [lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"), lambda t: t.encode("cp932")]
)
def test_line_ends_marks_and_code_pages_do_not_matter(tmp_path, encode):
    text = bvh_text([*MIXAMO, ("髪の毛", "Head", "head_top")])
    motion, notes = read_noting(write(tmp_path / "walk.bvh", encode(text)))
    assert "left out 2 joints" in notes[0]
    np.testing.assert_allclose(motion.joints[0], BODY21.rest_pose, atol=1e-6)


# ---- fuzz ---------------------------------------------------------------------------------------------------------------

VALID = {".bvh": bvh_text().encode(), ".npy": npy_bytes(JOINTS)}
VALID[".moved.bvh"] = bvh_text(moves=np.ones((2, len(MIXAMO), 3))).encode()
with io.BytesIO() as _stream:
    np.savez(_stream, joints=JOINTS, skeleton="body21", fps=30.0)
    VALID[".npz"] = _stream.getvalue()
TOKENS = [b"", b"{", b"}", b"\n", b" ", b"-", b"\x00", b"\xff", b"nan", b"1e400", b"99999999999", b"JOINT", b"End Site"]


@st.composite
def mutated(draw):
    suffix = draw(st.sampled_from(sorted(VALID)))
    content = bytearray(VALID[suffix])
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 2, 8, 200]))
        content[start : start + length] = draw(st.sampled_from(TOKENS) | st.binary(max_size=6))
    return suffix, bytes(content)


def reads_or_refuses(path, content):
    path.write_bytes(content)
    refusal = str(path)
    try:
        assert read_quietly(path).joints.ndim == 3
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith(str(path))


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(mutation=mutated())
def test_mutated_files_are_read_or_refused(tmp_path, mutation):
    suffix, content = mutation
    reads_or_refuses(tmp_path / f"walk{suffix}", content)


@FUZZ
@given(
    suffix=st.sampled_from(["", ".npy", ".npz", ".bvh", ".xyz"]),
    start=st.sampled_from([b"", *(content for content, _ in STARTS.values())]),
    content=st.binary(max_size=200),
)
def test_random_bytes_are_read_or_refused(tmp_path, suffix, start, content):
    reads_or_refuses(tmp_path / f"walk{suffix}", start + content)
