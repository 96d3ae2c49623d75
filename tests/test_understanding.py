"""From joints under any names, in any unit and axes, to a motion that is what its skeleton says."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionpatches import get_skeleton, list_skeletons, make_motions
from motionpatches.processing import understanding
from motionpatches.processing.recording import ReadOptions, Recording
from motionpatches.processing.skeleton_inference import InferredPoints
from motionpatches.processing.skeletons import AXES, Skeleton
from motionpatches.processing.understanding import understand


BODY21 = get_skeleton("body21")
SMPL = get_skeleton("smpl22")
NO_OPTIONS = ReadOptions()
FROM_Y = {
    "x": Rotation.from_euler("z", -90, degrees=True),
    "y": Rotation.identity(),
    "z": Rotation.from_euler("x", 90, degrees=True),
    "-x": Rotation.from_euler("z", 90, degrees=True),
    "-y": Rotation.from_euler("x", 180, degrees=True),
    "-z": Rotation.from_euler("x", -90, degrees=True),
}


def rotated(positions, rotation):
    return rotation.apply(np.asarray(positions, np.float64).reshape(-1, 3)).reshape(np.shape(positions))


def walk(skeleton=BODY21, seed=0):
    return np.asarray(make_motions(1, skeleton, seed=seed, actions=["walk"])[0]["joints"], np.float64)


def recording(own=BODY21, positions=None, **changes):
    """A file whose nodes are called like the joints of the skeleton."""
    values = {
        "names": list(own.joint_names[: own.num_joints]),
        "positions": walk(own) if positions is None else positions,
        "parents": list(own.parents[: own.num_joints]),
        "fps": 20.0,
        "unit": own.unit,
        "up_axis": own.up_axis,
    }
    return Recording(**(values | changes))


def with_points(monkeypatch, points, confidence=1.0):
    """Let the joints be recognised as these points."""
    monkeypatch.setattr(
        understanding, "infer_points", lambda names, parents, rest: InferredPoints(tuple(points), confidence)
    )


def changed(joints, skeleton, point, values):
    joints = joints.copy()
    joints[..., skeleton.landmarks[point], :] = values
    return joints


# ---- skeleton ------------------------------------------------------------------------------------------------------------


def test_a_recording_of_body21_comes_through_unchanged():
    motion, notes = understand(recording(), NO_OPTIONS)
    assert motion.skeleton is BODY21
    np.testing.assert_array_equal(motion.joints, walk())
    assert (motion.fps, motion.rotations, notes) == (20.0, None, [])


@pytest.mark.parametrize("name", list_skeletons())
def test_a_format_with_a_skeleton_of_its_own_needs_no_names(name):
    skeleton = get_skeleton(name)
    names = [f"joint {i}" for i in range(skeleton.num_joints)]
    motion, notes = understand(recording(skeleton, names=names, parents=None, skeleton=skeleton), NO_OPTIONS)
    assert motion.skeleton is skeleton
    np.testing.assert_allclose(motion.joints, walk(skeleton))
    assert notes == []


def test_a_wrong_number_of_joints_for_the_format_is_refused():
    with pytest.raises(ValueError, match="20 joints, but skeleton 'smpl22' of this format has 22"):
        understand(recording(names=["x"] * 20, positions=np.ones((2, 20, 3)), skeleton=SMPL, parents=None), NO_OPTIONS)


def test_the_wanted_skeleton_is_taken_out_of_a_larger_one():
    wanted = get_skeleton("kinect20")
    cmu = get_skeleton("cmu31")
    motion, notes = understand(recording(cmu, skeleton=cmu), ReadOptions(skeleton=wanted))
    assert motion.skeleton is wanted
    for point, joint in wanted.landmarks.items():
        np.testing.assert_array_equal(motion.joints[:, joint], walk(cmu)[:, cmu.landmarks[point]])
    assert "left out 11 joints that have no place in the skeleton: lhipjoint" not in notes[0]
    assert notes[0].startswith("left out 11 joints that have no place in the skeleton: ")


def test_a_wanted_skeleton_that_is_not_all_there_names_what_is_missing():
    with pytest.raises(ValueError, match=r"'cmu31' needs .*left_palm.*; the file has pelvis, spine"):
        understand(recording(), ReadOptions(skeleton=get_skeleton("cmu31")))


def test_a_skeleton_of_the_users_own_takes_joints_by_their_names(monkeypatch):
    """Names that tell nothing are no obstacle to who wrote down what they mean."""
    own = dataclasses.replace(BODY21, name="mine", joint_names=tuple(f"bone.{i:02}" for i in range(21)), unit="centimetres")
    order = np.random.default_rng(0).permutation(22)
    names = np.array([*own.joint_names, "prop"])[order]
    positions = np.concatenate([walk(), np.full((len(walk()), 1, 3), np.nan)], axis=1)[:, order]
    monkeypatch.setattr(understanding, "infer_points", lambda *args: pytest.fail("names were guessed"))
    motion, notes = understand(recording(names=list(names), positions=positions, parents=None), ReadOptions(skeleton=own))
    assert motion.skeleton is own
    np.testing.assert_allclose(motion.joints, walk() * 100)
    assert notes == ["left out 1 joint that has no place in the skeleton: prop"]  # whose gaps do not matter


def test_among_named_skeletons_body21_is_preferred_and_then_the_largest(monkeypatch):
    cmu = get_skeleton("cmu31")
    with_points(monkeypatch, cmu.points)
    assert understand(recording(cmu), NO_OPTIONS)[0].skeleton is cmu  # without collars it is no body21
    kinect_points = get_skeleton("kinect20").points
    both = [*SMPL.points, *(point for point in kinect_points if point not in SMPL.points)]
    where = np.array([SMPL.rest_pose[SMPL.landmarks[p]] if p in SMPL.landmarks else np.ones(3) for p in both])
    with_points(monkeypatch, both)
    recorded = recording(names=[str(p) for p in both], positions=where[None], parents=None)
    assert understand(recorded, NO_OPTIONS)[0].skeleton is BODY21


def test_joints_that_fit_no_named_skeleton_make_one_of_their_own(monkeypatch):
    """Without a head; a root and a twist joint that mark nothing go, and their children hang from what is above."""
    kept = [joint for joint, point in enumerate(BODY21.points) if point not in ("head", "neck", "spine_low")]
    names = ["Reference", *(BODY21.joint_names[j] for j in kept), "left_twist", "left_hand_tip"]
    points = [None, *(BODY21.points[j] for j in kept), None, None]
    at = {name: node for node, name in enumerate(names)}
    parent_of = {"pelvis": "Reference", "chest": "Reference", "left_twist": "left_shoulder", "left_elbow": "left_twist"}
    parent_of |= {"left_hand_tip": "left_wrist"}
    parents = [-1] + [
        at[parent_of.get(name) or BODY21.joint_names[BODY21.parents[BODY21.joint_names.index(name)]]] for name in names[1:]
    ]
    zero = np.zeros((len(walk()), 1, 3))
    positions = np.concatenate([zero, walk()[:, kept], zero, zero], axis=1)
    with_points(monkeypatch, points)
    motion, notes = understand(recording(names=names, positions=positions, parents=parents), NO_OPTIONS)
    skeleton = motion.skeleton
    assert skeleton.name == "inferred"
    assert skeleton.joint_names == tuple(BODY21.joint_names[j] for j in kept)
    hangs = {name: skeleton.joint_names[p] for name, p in zip(skeleton.joint_names, skeleton.parents, strict=True) if p >= 0}
    assert skeleton.joint_names[skeleton.root] == "pelvis"
    assert (hangs["chest"], hangs["left_elbow"], hangs["left_collar"]) == ("pelvis", "left_shoulder", "chest")
    np.testing.assert_array_equal(motion.joints, walk()[:, kept])
    assert notes == ["left out 3 joints that have no place in the skeleton: Reference, left_twist, left_hand_tip"]


def test_markers_without_a_hierarchy_hang_as_the_body_does(monkeypatch):
    extra = ("nose", "left_heel", "right_heel", "left_index1", "left_index2", "left_eye")
    kept = [joint for joint, point in enumerate(SMPL.points) if point not in ("head", "spine_low", "spine_mid")]
    points = [*(SMPL.points[j] for j in kept), *extra]
    full = dataclasses.replace(SMPL, joint_names=(*SMPL.joint_names, *extra), points=(*SMPL.points, *extra),
                               parents=(*SMPL.parents, *(15, 7, 8, 20, 25, 15)), chains={})  # fmt: skip
    positions = walk(full)[:, [*kept, *range(22, 28)]]
    order = np.random.default_rng(1).permutation(len(points))
    points = [points[i] for i in order]
    with_points(monkeypatch, points)
    names = [f"M{i}" for i in range(len(points))]
    motion, _ = understand(recording(names=names, positions=positions[:, order], parents=None), NO_OPTIONS)
    hangs = {p: motion.skeleton.points[q] for p, q in zip(motion.skeleton.points, motion.skeleton.parents, strict=True)}
    del hangs["pelvis"]
    assert hangs | {
        "chest": "pelvis", "neck": "chest", "nose": "neck", "left_eye": "neck", "left_collar": "chest", "left_hip": "pelvis",
        "left_shoulder": "left_collar", "left_heel": "left_ankle", "left_toe": "left_ankle", "left_index1": "left_wrist",
        "left_index2": "left_index1", "right_wrist": "right_elbow", "right_ankle": "right_knee",
    } == hangs  # fmt: skip
    assert motion.skeleton.joint_names == tuple(names)


def test_too_little_of_a_body_is_refused_with_the_joints_of_the_file(monkeypatch):
    points = [None if point == "left_knee" else point for point in BODY21.points]
    with_points(monkeypatch, points)
    with pytest.raises(ValueError, match=r"recognised as left_knee; the file has pelvis, spine.*Known skeletons.*skeleton="):
        understand(recording(), NO_OPTIONS)


def test_doubt_about_the_joints_is_told_with_what_was_taken(monkeypatch):
    with_points(monkeypatch, BODY21.points, confidence=0.8)
    _, notes = understand(recording(names=[f"b{i}" for i in range(21)]), NO_OPTIONS)
    assert len(notes) == 1
    assert "recognised the joints with confidence 0.80: b0 as pelvis, b13 as left_hip, b14 as left_knee" in notes[0]


def test_many_joints_left_out_are_counted_once_each(monkeypatch):
    """End sites have no name and fingers come on two hands; the note stays short."""
    fingers = ["", "", *(f"finger{i}" for i in range(8)), "finger0"]
    positions = np.concatenate([walk(), np.zeros((len(walk()), len(fingers), 3))], axis=1)
    with_points(monkeypatch, [*BODY21.points, *[None] * len(fingers)])
    recorded = recording(names=[*BODY21.joint_names, *fingers], positions=positions, parents=[*BODY21.parents, *[0] * 11])
    assert understand(recorded, NO_OPTIONS)[1] == [
        "left out 8 joints that have no place in the skeleton: finger0, finger1, finger2, finger3, finger4, ..."
    ]


def test_notes_of_the_reader_come_first():
    assert understand(recording(notes=["skipped 3 force plates"]), NO_OPTIONS)[1] == ["skipped 3 force plates"]


# ---- unit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "stated", "wanted"),
    [(1000, "millimetres", None), (100, "millimetres", "centimetres"), (1 / 0.0254, None, "inches"), (1, "metres", None)],
)
@pytest.mark.parametrize("name", ["body21", "kit21"])
def test_a_stated_unit_is_converted_without_a_word(factor, stated, wanted, name):
    skeleton = get_skeleton(name)
    metres = walk(skeleton) * (0.001 if name == "kit21" else 1)
    motion, notes = understand(recording(skeleton, positions=metres * factor, unit=stated), ReadOptions(unit=wanted))
    np.testing.assert_allclose(motion.joints, walk(skeleton), rtol=1e-9)
    assert notes == []


def test_a_guessed_unit_is_told():
    motion, notes = understand(recording(positions=walk() * 100, unit=None), NO_OPTIONS)
    np.testing.assert_allclose(motion.joints, walk())
    assert len(notes) == 1
    assert notes[0].startswith("read as centimetres, because the legs measure ")


def test_an_implausible_stated_unit_is_told_and_kept():
    motion, notes = understand(recording(positions=walk() * 1000, unit="metres"), NO_OPTIONS)
    np.testing.assert_array_equal(motion.joints, walk() * 1000)
    assert "in metres, as stated, the legs measure" in notes[0]
    assert "unit='millimetres' would give 0." in notes[0]


def test_no_unit_at_all_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"legs of \d\.\d+ units fit none of metres.*pass unit="):
        understand(recording(positions=walk() * 5, unit=None), NO_OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ReadOptions(unit="feet"), "unit 'feet' is unknown; known: metres"),
        (ReadOptions(up_axis="up"), "up axis 'up' is unknown; known: x, y, z"),
        (ReadOptions(fps=0.0), "fps is 0.0"),
        (ReadOptions(fps=float("nan")), "fps is nan"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        understand(recording(), options)


# ---- up axis -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("target", AXES)
def test_any_stated_axis_is_turned_to_that_of_the_skeleton_without_mirroring(axis, target):
    own = dataclasses.replace(BODY21, name="own", up_axis=target)
    source = rotated(walk(), FROM_Y[axis])
    motion, notes = understand(recording(positions=source, up_axis=axis), ReadOptions(skeleton=own))
    assert notes == []
    turn, _ = Rotation.align_vectors(motion.joints[0] - motion.joints[0, 0], source[0] - source[0, 0])
    np.testing.assert_allclose(
        turn.apply(source.reshape(-1, 3)), motion.joints.reshape(-1, 3), atol=1e-9
    )  # proper, one for all
    up = motion.joints[:, 4] - motion.joints[:, 0]
    height = up[:, "xyz".index(target[-1])] * (-1 if target.startswith("-") else 1)
    assert (height > 0.5).all()


def test_the_caller_is_believed_before_the_file_and_the_file_before_the_joints():
    lying = rotated(walk(), FROM_Y["z"])
    assert understand(recording(positions=lying, up_axis="y"), NO_OPTIONS)[0].joints[0, 4, 1] < 0.5
    motion, _ = understand(recording(positions=lying, up_axis="y"), ReadOptions(up_axis="z"))
    np.testing.assert_allclose(motion.joints, walk(), atol=1e-9)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("has_rest_pose", [False, True])
def test_an_unstated_axis_is_told_by_who_stands(axis, has_rest_pose):
    if has_rest_pose and axis.endswith("x"):
        return  # such a rest pose says nothing: test_readers
    rest = rotated(BODY21.rest_pose, FROM_Y[axis]) if has_rest_pose else None
    motion, notes = understand(recording(positions=rotated(walk(), FROM_Y[axis]), up_axis=None, rest_pose=rest), NO_OPTIONS)
    np.testing.assert_allclose(motion.joints[..., 1], walk()[..., 1], atol=1e-9)
    expected = [] if axis == "y" else [f"turned from {axis} up to y up, because the figure stands along {axis}"]
    assert notes == expected


def test_who_does_not_stand_is_taken_as_y_up_with_a_word():
    sitting = BODY21.rest_pose.copy()
    for side in ("left", "right"):
        for point, place in (("knee", (0, 0.9, 0.4)), ("ankle", (0, 0.9, 0.8)), ("toe", (0, 1.0, 0.85))):
            sitting[BODY21.landmarks[f"{side}_{point}"]] = np.add(place, [0.1 if side == "left" else -0.1, 0, 0])
    motion, notes = understand(recording(positions=np.tile(sitting, (5, 1, 1)), up_axis=None), NO_OPTIONS)
    np.testing.assert_array_equal(motion.joints[0], sitting)
    assert "pass up_axis=" in notes[-1]


# ---- rotations and precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
def test_rotations_are_chosen_and_turned_with_the_joints(axis):
    """A bone carried by the rotation of its joint is where it was, seen from the joints."""
    rotations = Rotation.random(30 * 22, random_state=0).as_quat().reshape(30, 22, 4).astype(np.float32)
    joints = walk(SMPL)[:30]
    tips = joints + rotated(np.full((30, 22, 3), 0.1), Rotation.from_quat(rotations.reshape(-1, 4)))
    motion, _ = understand(
        recording(SMPL, rotated(joints, FROM_Y[axis]), up_axis=axis, rotations=turned_quaternions(rotations, FROM_Y[axis])),
        ReadOptions(skeleton=BODY21),
    )
    nodes = [SMPL.landmarks[point] for point in BODY21.points]
    assert motion.rotations.shape == (30, 21, 4)
    found = motion.joints + rotated(np.full((30, 21, 3), 0.1), Rotation.from_quat(motion.rotations.reshape(-1, 4)))
    shift = motion.joints - joints[:, nodes]
    heading, _ = Rotation.align_vectors(motion.joints[0] - motion.joints[0, 0], (joints[:, nodes])[0] - joints[0, nodes[0]])
    np.testing.assert_allclose(found, rotated(tips[:, nodes], heading), atol=1e-6)
    assert np.isfinite(shift).all()
    assert motion.rotations.dtype == np.float32


def turned_quaternions(rotations, turn):
    return (turn * Rotation.from_quat(rotations.reshape(-1, 4))).as_quat().reshape(rotations.shape).astype(rotations.dtype)


@pytest.mark.parametrize(("given", "kept"), [(np.float32, np.float32), (np.float64, np.float64), (np.int16, np.float64)])
def test_single_precision_stays_single(given, kept):
    positions = (rotated(walk(), FROM_Y["z"]) * 1000).astype(given)
    before = positions.copy()
    motion, _ = understand(recording(positions=positions, unit="millimetres", up_axis="z"), NO_OPTIONS)
    assert motion.joints.dtype == kept
    np.testing.assert_allclose(motion.joints, walk(), atol=2e-3)
    np.testing.assert_array_equal(positions, before)  # the recording is the caller's


# ---- gaps, damage, sides -------------------------------------------------------------------------------------------------


def test_gaps_of_joints_that_count_are_filled_and_told():
    positions = walk()
    positions[5:9, 12] = np.nan
    motion, notes = understand(recording(positions=positions), NO_OPTIONS)
    np.testing.assert_allclose(motion.joints, walk(), atol=0.02)
    assert notes == ["filled 4 missing positions of right_wrist in 4 frames by interpolation in time"]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (changed(walk(), BODY21, "left_knee", np.nan), "left_knee is missing in all"),
        (changed(walk(), BODY21, "left_knee", np.inf), "left_knee is infinite in"),
        (walk()[:0], "no frames"),
        (walk()[:, :, :2], "positions have shape"),
        (walk()[:, :20], "positions have shape"),
        (
            changed(walk(), BODY21, "left_wrist", walk()[:, BODY21.landmarks["left_elbow"]]),
            "left_elbow and left_wrist, recognised as left_elbow and left_wrist, lie in one place",
        ),
    ],
)
def test_damaged_positions_are_refused(positions, message):
    with pytest.raises(ValueError, match=message):
        understand(recording(positions=positions), NO_OPTIONS)


def test_gaps_longer_than_allowed_are_refused_and_the_option_helps():
    positions = walk()
    positions[5:20, 12] = np.nan
    with pytest.raises(ValueError, match=r"right_wrist \(15 frames or 0\.75 s from frame 5\)"):
        understand(recording(positions=positions), NO_OPTIONS)
    assert np.isfinite(understand(recording(positions=positions), ReadOptions(max_gap=1.0))[0].joints).all()


def test_joints_are_recognised_beside_a_frame_in_which_all_are_seen(monkeypatch):
    poses = []

    def recognise(names, parents, rest):
        poses.append(rest)
        return InferredPoints(BODY21.points, 1.0)

    monkeypatch.setattr(understanding, "infer_points", recognise)
    positions = walk()
    positions[:3] = np.nan
    positions[5, 8] = np.nan
    understand(recording(positions=positions, parents=None), NO_OPTIONS)
    np.testing.assert_array_equal(poses[0], positions[3])


@pytest.mark.parametrize("how", ["mirrored", "swapped"])
def test_left_and_right_in_contradiction_are_told_and_kept(how):
    positions = walk() * [-1, 1, 1]
    if how == "swapped":
        positions = walk()
        for left, right in BODY21.mirror_pairs:
            positions[:, [left, right]] = positions[:, [right, left]]
    motion, notes = understand(recording(positions=positions), NO_OPTIONS)
    np.testing.assert_array_equal(motion.joints, positions)
    assert "names say left, geometry says right: the file is probably mirrored or its sides are swapped" in notes[0]


# ---- frame rate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "wanted", "fps", "told"),
    [(None, None, None, False), (None, 25.0, 25.0, False), (30.0, 25.0, 25.0, True), (29.97, 30.0, 30.0, False)],
)
def test_the_frame_rate_is_the_callers_or_the_files(stated, wanted, fps, told):
    motion, notes = understand(recording(fps=stated), ReadOptions(fps=wanted))
    assert motion.fps == fps
    assert any("the file states 30" in note for note in notes) == told


def test_a_skeleton_with_virtual_joints_is_found_and_measured():
    names = (
        "head",
        *(f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")),
    )
    parents = (14, 14, 14, 1, 2, 3, 4, 13, 13, 7, 8, 9, 10, -1, 13)
    virtual = (((7, 0.5), (8, 0.5)), ((1, 0.5), (2, 0.5)))
    nodes = (*names, "pelvis", "neck")
    lean = Skeleton("lean", nodes, parents, nodes, virtual=virtual, unit="centimetres")
    source = rotated(walk(lean), FROM_Y["z"])
    recorded = recording(lean, positions=source / 2.54, unit=None, up_axis=None, parents=None)
    motion, notes = understand(recorded, ReadOptions(skeleton=lean))
    assert motion.joints.shape[1] == 13
    np.testing.assert_allclose(motion.joints[..., 1], walk(lean)[..., 1], atol=1e-6)
    assert [note.split(",")[0] for note in notes] == ["read as inches", "turned from z up to y up"]
