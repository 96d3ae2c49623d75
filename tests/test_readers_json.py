import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motionpatches.processing import persons, readers_json
from motionpatches.processing.readers_json import read_json
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.processing.understanding import understand


OPTIONS = ReadOptions()
SMPL22 = get_skeleton("smpl22")
NAMES = ["Hips", "Head", "LeftHand"]
JOINTS = np.round(np.random.default_rng(0).normal(size=(5, 3, 3)), 3)
AXES = "xyz"


def read(tmp_path, document, options=OPTIONS):
    path = tmp_path / "walk.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode("utf-8"))
    return read_json(path, options)


def keypoints(joints, confidence=0.9):
    """x, y, z, confidence of all joints in a row."""
    return np.concatenate([joints, np.full((len(joints), 1), confidence)], axis=1).reshape(-1).tolist()


def openpose(frames, people=1, key="pose_keypoints_3d"):
    return [
        {"version": 1.3, "people": [{"person_id": [-1], key: keypoints(frame + 9 * p)} for p in range(people)]}
        for frame in frames
    ]


def random_joints(num_frames, num_joints):
    return np.random.default_rng(1).normal(size=(num_frames, num_joints, 3))


# ---- plain objects ------------------------------------------------------------------------------------------------------


def test_an_object_of_joints_says_all_that_it_knows(tmp_path):
    document = {
        "joints": JOINTS.tolist(),
        "joint_names": NAMES,
        "parents": [None, 0, 0],
        "fps": 24,
        "unit": "cm",
        "up_axis": "Z",
    }
    recording = read(tmp_path, document)
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)
    assert recording.positions.dtype == np.float32
    assert (list(recording.names), recording.parents) == (NAMES, [-1, 0, 0])
    assert (recording.fps, recording.unit, recording.up_axis) == (24.0, "centimetres", "z")
    assert (recording.skeleton, recording.notes) == (None, [])


@pytest.mark.parametrize("by", ["the file", "the caller"])
def test_joints_of_a_named_skeleton_need_no_names(tmp_path, by):
    joints = SMPL22.rest_pose + np.random.default_rng(0).normal(0, 0.01, (5, 22, 3))
    document = {"joints": joints.tolist(), **({"skeleton": "smpl22"} if by == "the file" else {})}
    options = OPTIONS if by == "the file" else replace(OPTIONS, skeleton=SMPL22)
    motion, _ = understand(read(tmp_path, document, options), options)
    assert motion.skeleton == SMPL22
    np.testing.assert_allclose(motion.joints, joints, atol=1e-5)


def test_a_bare_array_is_read_as_the_skeleton_that_is_asked_for(tmp_path):
    joints = random_joints(4, 22)
    np.testing.assert_allclose(
        read(tmp_path, joints.tolist(), replace(OPTIONS, skeleton=SMPL22)).positions, joints, rtol=1e-6
    )
    with pytest.raises(ValueError, match='22 joints without names; add "joint_names" or "skeleton"'):
        read(tmp_path, joints.tolist())


def test_null_and_infinite_joints_are_missing_and_counted(tmp_path):
    text = json.dumps({"joints": JOINTS.tolist(), "joint_names": NAMES})
    document = json.loads(text)
    document["joints"][0][1] = None
    document["joints"][1][2] = [1.0, None, 2.0]
    document["joints"][2][0][1] = float("nan")
    document["joints"][3] = None
    document["joints"][4][0][2] = float("inf")
    recording = read(tmp_path, document)  # json writes NaN and Infinity
    missing = np.isnan(recording.positions).any(axis=-1)
    assert np.argwhere(missing).tolist() == [[0, 1], [1, 2], [2, 0], [3, 0], [3, 1], [3, 2], [4, 0]]
    assert recording.notes == ["7 of 15 joint positions are null or not finite"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": JOINTS[0].tolist()}, r"frame 0 is a list of 3, no list of joints|frame 0 has the shape \(3,\)"),
        ({"joints": JOINTS[..., :2].tolist()}, r"frame 0 has the shape \(3, 2\); expected \(3, 3\)"),
        ({"joints": [JOINTS[0].tolist(), JOINTS[1, :2].tolist()]}, r"frame 1 has the shape \(2, 3\); expected \(3, 3\)"),
        ({"joints": [JOINTS[0].tolist(), {"Head": [1, 2, 3]}]}, "frame 1 is an object with Head, no list of joints"),
        ({"joints": [[["a", 1, 2]] * 3]}, "frame 0 is a list of 3, no list of joints"),
        ({"joints": []}, "it is an object with joints, joint_names"),
        ({"joints": [[]]}, "it has 0 joints in a frame"),
        ({"joints": 7}, "it is an object with joints, joint_names; expected an object"),
        ({"joint_names": NAMES[:2]}, '3 joints in a frame, but "joint_names" has 2'),
        ({"joint_names": "Head"}, "\"joint_names\" is 'Head'; expected a list of strings"),
        ({"joint_names": None}, 'without names; add "joint_names"'),
        ({"skeleton": "smpl99"}, "\"skeleton\" is 'smpl99'; expected one of .*smpl22"),
        ({"skeleton": "smpl22"}, "3 joints in a frame, but skeleton 'smpl22' has 22"),
        ({"parents": [0, 1]}, '"parents" is a list of 2; expected 3 indices'),
        ({"parents": [-1, 0, 3]}, '"parents" is a list of 3; expected 3 indices'),
        ({"parents": [-1, 2, 1]}, '"parents" has a cycle'),
        ({"fps": 0}, '"fps" is 0; expected a number'),
        ({"fps": "fast"}, "\"fps\" is 'fast'"),
        ({"unit": "furlong"}, "\"unit\" is 'furlong'; expected one of m,"),
        ({"up_axis": "up"}, "\"up_axis\" is 'up'; expected one of x, y, z"),
    ],
)
def test_objects_that_contradict_themselves_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, {"joints": JOINTS.tolist(), "joint_names": NAMES} | change)
    assert str(caught.value).startswith(f"{tmp_path / 'walk.json'}: ")


# ---- joints by name -----------------------------------------------------------------------------------------------------


def as_list(frame):
    return {name: xyz.tolist() for name, xyz in zip(NAMES, frame, strict=True)}


def as_objects(frame):
    return {name: dict(zip(AXES, xyz, strict=True)) for name, xyz in zip(NAMES, frame, strict=True)}


def kinect(frame, name="jointType", position="cameraSpace"):
    return {"joints": [{name: n, position: xyz, "trackingState": "Tracked"} for n, xyz in as_objects(frame).items()]}


@pytest.mark.parametrize(
    "form",
    [
        as_list,
        as_objects,
        lambda frame: {"joints": as_objects(frame)},
        kinect,
        lambda frame: kinect(frame, "name", "position"),
        lambda frame: {"joints": [{"name": name, **xyz} for name, xyz in as_objects(frame).items()]},
        lambda frame: {
            "joints": [
                {"Name": n, "Position": {"X": p["x"], "Y": p["y"], "Z": p["z"]}} for n, p in as_objects(frame).items()
            ]
        },
        lambda frame: {"bodies": [{"trackingId": 7205759, "joints": as_objects(frame)}, {"tracked": False}]},
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_frames_of_joints_by_name_are_read(tmp_path, form, wrapped):
    frames = [form(frame) for frame in JOINTS]
    recording = read(tmp_path, {"fps": 12, "unit": "mm", "frames": frames} if wrapped else frames)
    assert recording.names == NAMES
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)
    assert (recording.fps, recording.unit) == ((12.0, "millimetres") if wrapped else (None, None))
    assert recording.notes == []


def test_joints_that_a_frame_does_not_have_are_missing(tmp_path):
    frames = [as_list(frame) for frame in JOINTS]
    del frames[1]["Head"]
    frames[2]["LeftHand"] = None
    recording = read(tmp_path, frames)
    assert np.argwhere(np.isnan(recording.positions[..., 0])).tolist() == [[1, 1], [2, 2]]
    assert recording.notes == ["2 of 15 joint positions are missing or marked as not tracked"]


@pytest.mark.parametrize(
    "mark", [{"trackingState": 0}, {"trackingState": "NotTracked"}, {"confidence": 0}, {"confidence": 0.0}]
)
def test_joints_that_are_not_tracked_are_missing(tmp_path, mark):
    frames = [kinect(frame) for frame in JOINTS]
    del frames[3]["joints"][1]["trackingState"]
    frames[3]["joints"][1] |= mark
    assert np.argwhere(np.isnan(read(tmp_path, frames).positions[..., 0])).tolist() == [[3, 1]]


def test_numbers_of_kinect_joints_become_their_names(tmp_path):
    frames = [
        {"joints": [{"jointType": j, "position": p.tolist()} for j, p in enumerate(frame)]} for frame in random_joints(3, 25)
    ]
    assert tuple(read(tmp_path, frames).names) == get_skeleton("ntu25").joint_names


def test_keys_that_are_no_joints_are_named_and_times_give_the_frame_rate(tmp_path):
    frames = [{"time": 0.05 * t, "frame": t, "label": "wave", "speed": [1, 2], **as_list(JOINTS[t])} for t in range(5)]
    recording = read(tmp_path, frames)
    assert recording.names == NAMES
    assert recording.fps == pytest.approx(20)
    assert recording.notes == ["left out 2 keys that are no joints: label, speed"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([as_list(JOINTS[0])], "a single frame; pose estimators write a file for each frame"),
        (as_list(JOINTS[0]), "an object with Hips, Head, LeftHand, a single frame"),
        (kinect(JOINTS[0]), "a single frame"),
        ([as_list(JOINTS[0]), {"Head": "up"}], "frame 1: joint 'Head' is 'up'"),
        ([as_list(JOINTS[0]), 7], "frame 1 is 7; expected an object"),
        ([{"a": 1}, {"a": 2}], "its frames, the first an object with a, have no joints"),
        ([{"joints": [1]}, {"joints": [1]}], "the joints of a frame are a list of 1; expected objects with a name"),
        ([kinect(JOINTS[0]), {"joints": kinect(JOINTS[1])["joints"] * 2}], "a frame has two joints 'Hips'"),
        ([{f"j{t}-{j}": [1, 2, 3] for j in range(400)} for t in range(4)], "more than 1000 joints"),
        ([], "a list of 0; expected an object"),
        ("text", "it is 'text'"),
        ([None, None], "it is a list of 2"),
    ],
)
def test_frames_that_make_no_motion_are_refused(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, frames)


# ---- pose estimators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_joints", "name"), [(25, "body25"), (17, "coco17")])
def test_3d_keypoints_of_openpose_are_read(tmp_path, num_joints, name):
    joints = random_joints(4, num_joints)
    recording = read(tmp_path, openpose(joints))
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert recording.skeleton == get_skeleton(name)
    assert (recording.unit, recording.up_axis, recording.fps, recording.notes) == (None, None, None, [])


def test_keypoints_of_confidence_0_are_missing(tmp_path):
    frames = openpose(random_joints(3, 25))
    frames[1]["people"][0]["pose_keypoints_3d"][4 * 7 : 4 * 8] = [0, 0, 0, 0]
    frames[2]["people"][0]["pose_keypoints_3d"] = []
    positions = read(tmp_path, frames).positions
    assert np.isnan(positions[1, 7]).all()
    assert np.isnan(positions[2]).all()
    assert np.isnan(positions).sum() == 3 + 75


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            openpose(random_joints(3, 25), key="pose_keypoints_2d"),
            "keypoints are 2D.*3D positions are needed; lift it first",
        ),
        (openpose(random_joints(3, 18)), "a list of 72; expected.*18 are OpenPose's old COCO model"),
        (openpose(random_joints(3, 21)), "a list of 84; expected x, y, z, confidence of 25"),
        (openpose(random_joints(1, 25)), "a single frame; pose estimators write a file for each frame: join"),
        (openpose(random_joints(1, 25))[0], "a single frame; pose estimators write a file for each frame: join"),
        (
            [*openpose(random_joints(2, 25)), *openpose(random_joints(1, 17))],
            "frame 2: pose_keypoints_3d is a list of 68; expected 100",
        ),
        (
            [{"people": [{"pose_keypoints_3d": ["a"] * 100}]}] * 2,
            "frame 0: pose_keypoints_3d has something other than numbers",
        ),
        ([{"people": {"a": 1}}] * 2, "the persons of a frame are an object"),
        ([{"people": []}] * 2, "have no joints|no person"),
        (
            [{"people": [{"person_id": [3], "pose_keypoints_3d": [1] * 100}] * 2}] * 2,
            "frame 0 has person '3' twice",
        ),
        ([{"people": [{"pose_keypoints_3d": [0] * 100}]}] * 2, "every joint of person '0' is marked as not tracked"),
    ],
)
def test_keypoints_that_make_no_motion_are_refused(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, frames)


def test_persons_are_followed_by_their_ids(tmp_path):
    joints = random_joints(4, 19)
    frames = [
        {
            "univTime": t,
            "bodies": [{"id": i, "joints19": keypoints(joints[t] + 100 * i)} for i in ((4, 2) if t % 2 else (2, 4))],
        }
        for t in range(4)
    ]
    frames.append({"bodies": [{"id": 4, "joints19": keypoints(joints[0])}]})
    with pytest.raises(ValueError, match=r"2 persons: '2' \(4 frames, joints move by .*\), '4' \(5 frames"):
        read(tmp_path, frames)
    recording = read(tmp_path, frames, replace(OPTIONS, person="2"))
    np.testing.assert_allclose(recording.positions, joints + 200, rtol=1e-6)
    assert (recording.skeleton, recording.unit, recording.up_axis) == (get_skeleton("panoptic19"), "centimetres", "-y")
    assert any("cut 0 frames at the start and 1 at the end" in note for note in recording.notes)


def test_persons_without_ids_are_told_apart_by_their_place(tmp_path):
    joints = random_joints(3, 25)
    recording = read(tmp_path, openpose(joints, people=2), replace(OPTIONS, person=1))
    np.testing.assert_allclose(recording.positions, joints + 9, rtol=1e-6)
    assert any("have no ids" in note for note in recording.notes)


def test_recordings_of_azure_kinect_are_read(tmp_path):
    joints = random_joints(4, 3)
    frames = [
        {"timestamp_usec": 33_333 * t, "num_bodies": 1, "bodies": [{"body_id": 1, "joint_positions": frame.tolist()}]}
        for t, frame in enumerate(joints)
    ]
    recording = read(tmp_path, {"joint_names": NAMES, "bone_list": [], "frames": frames})
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert (list(recording.names), recording.unit, recording.up_axis) == (NAMES, "millimetres", "-y")
    assert recording.fps == pytest.approx(30, rel=1e-3)
    with pytest.raises(ValueError, match='no list "joint_names" beside them'):
        read(tmp_path, frames)


# ---- hostile files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as JSON"),
        (b'{"joints": [[[1, 2', "not readable as JSON"),
        (b"[" * 200_000, "nested too deeply|not readable"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"joints": ' + b"[" * 500 + b"]" * 500 + b', "skeleton": "smpl22"}', "joints"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b'{"Head": [1, 2, 3]}\n{"Head": [1, 2, 3]}\n', r"several JSON values.*join the frames into one list"),
        (b'{"joints": [[[1, 2, ' + b"9" * 5000 + b']]], "joint_names": ["a"]}', "not readable"),
        (b'{"joints": [[[1, 2, ' + b"9" * 400 + b']]], "joint_names": ["a"]}', "not readable|frame 0"),
    ],
)
def test_what_is_no_json_of_joints_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'walk.json'}: ")


@pytest.mark.parametrize(
    ("limit", "message"), [("MAX_BYTES", "bytes of JSON"), ("MAX_CONTAINERS", "arrays"), ("MAX_VALUES", "values")]
)
def test_files_that_would_need_too_much_memory_are_refused_before_they_are_parsed(tmp_path, monkeypatch, limit, message):
    monkeypatch.setattr(readers_json, limit, 10)
    monkeypatch.setattr(readers_json.json, "loads", lambda content: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"joints": JOINTS.tolist(), "joint_names": NAMES})


def test_null_frames_do_not_make_a_small_file_a_huge_array(tmp_path, monkeypatch):
    monkeypatch.setattr(persons, "MAX_OUTPUT_BYTES", 10_000)
    for document in (
        {"joints": [JOINTS[0].tolist(), *[None] * 1000], "joint_names": NAMES},
        [as_list(JOINTS[0]), *[None] * 1000, as_list(JOINTS[1])],
    ):
        with pytest.raises(ValueError, match=r"100[12] frames of 3 joints need \d+ bytes; the limit is 10000"):
            read(tmp_path, document)


VALID = [
    {"joints": JOINTS.tolist(), "joint_names": NAMES, "fps": 30, "parents": [-1, 0, 0]},
    [as_list(frame) for frame in JOINTS],
    {"frames": [kinect(frame) for frame in JOINTS]},
    openpose(random_joints(2, 17), people=2),
    [{"bodies": [{"id": 0, "joints19": keypoints(frame)}]} for frame in random_joints(2, 19)],
]
JUNK = st.sampled_from(
    [None, True, "", "a", [], {}, [None], [[]], {"x": 1}, -1, 10**400, float("nan"), [[[0]]], {"people": 3}]
)


def mutated(draw, value):
    """The same, with something else at one place."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 6)):
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(keys))
        copy = value.copy()
        if draw(st.integers(0, 8)) == 0:
            del copy[key]
        else:
            copy[key] = mutated(draw, value[key])
        return copy
    return draw(JUNK)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, data):
    document = data.draw(st.sampled_from(VALID))
    for _ in range(data.draw(st.integers(1, 2))):
        document = mutated(data.draw, document)
    content = bytearray(json.dumps(document).encode())
    if data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + 1] = data.draw(st.sampled_from([b"", b"[", b"}", b",", b"\x00", b"\xff", b"1e999"]))
    refusal = str(tmp_path)
    try:
        assert read(tmp_path, bytes(content), replace(OPTIONS, person=0)).positions.ndim == 3
    except ValueError as error:
        refusal = str(error)
    assert str(tmp_path) in refusal
