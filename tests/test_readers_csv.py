from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import persons, tables
from motionpatches.processing.readers_csv import read_csv
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.processing.understanding import understand


OPTIONS = ReadOptions()
SMPL22 = get_skeleton("smpl22")
NAMES = ["Head", "LeftHip", "spine_1"]
JOINTS = np.round(np.random.default_rng(0).normal(size=(6, 3, 3)), 4)


def table(header, rows, delimiter=","):
    return "\n".join(delimiter.join(str(cell) for cell in row) for row in [header, *rows]) + "\n"


def wide(pattern="{joint}_{axis}", joints=JOINTS, names=NAMES, axes="xyz", time=None, delimiter=","):
    """A column for each coordinate; `time`: (name, values) of a column before them."""
    header = [pattern.format(joint=name, axis=axis) for name in names for axis in axes]
    rows = [[f"{value:.4f}" for value in frame.reshape(-1)] for frame in joints]
    if time is not None:
        header, rows = [time[0], *header], [[value, *row] for value, row in zip(time[1], rows, strict=True)]
    return table(header, rows, delimiter)


def read(tmp_path, content, options=OPTIONS):
    path = tmp_path / "walk.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_csv(path, options)


# ---- a column for each coordinate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "axes"),
    [
        ("{joint}_{axis}", "xyz"),
        ("{joint}{axis}", "XYZ"),
        ("{joint}.{axis}", "XYZ"),
        ("{joint} {axis}", "XYZ"),
        ("{joint}:{axis}", "xyz"),
        ("{joint}[{axis}]", "xyz"),
        ("{joint}_pos_{axis}", "xyz"),
        ("{joint}.position.{axis}", "xyz"),
        ("{joint}Pos{axis}", "XYZ"),
        ("{joint}_{axis} (mm)", "xyz"),
        ("{axis}_{joint}", "xyz"),
        ('"{joint}_{axis}"', "xyz"),
    ],
)
def test_names_of_columns_are_understood_in_the_ways_that_people_write_them(tmp_path, pattern, axes):
    recording = read(tmp_path, wide(pattern, axes=axes))
    assert recording.names == NAMES
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)
    assert recording.positions.dtype == np.float32
    assert recording.unit == ("millimetres" if "mm" in pattern else None)
    assert (recording.parents, recording.fps, recording.up_axis, recording.notes) == (None, None, None, [])


def test_the_order_of_columns_does_not_matter(tmp_path):
    header = ["Head_z", "Hip_y", "Head_x", "Hip_z", "Head_y", "Hip_x"]
    recording = read(tmp_path, table(header, [[3, 5, 1, 6, 2, 4]]))
    assert recording.names == ["Head", "Hip"]
    assert recording.positions.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_a_table_with_the_joints_of_a_skeleton_is_understood(tmp_path):
    joints = SMPL22.rest_pose[None] + np.random.default_rng(1).normal(0, 0.01, (5, 22, 3))
    recording = read(tmp_path, wide(joints=joints, names=SMPL22.joint_names))
    motion, _ = understand(recording, replace(OPTIONS, skeleton=SMPL22))
    np.testing.assert_allclose(motion.joints, joints, atol=1e-4)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_delimiters_and_decimal_commas_are_told_from_the_file(tmp_path, delimiter, decimal):
    text = wide("{joint}_{axis}", delimiter=delimiter, time=("time", [f"{t * 0.02:.2f}" for t in range(6)]))
    recording = read(tmp_path, text.replace(".", decimal))
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)
    assert recording.fps == pytest.approx(50)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + wide().encode(), wide().encode("utf-16"), wide().replace("\n", "\r\n").encode()]
)
def test_what_spreadsheets_write_is_read(tmp_path, content):
    recording = read(tmp_path, content)
    assert recording.names == NAMES
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)


def test_names_in_latin_1_are_read(tmp_path):
    assert read(tmp_path, wide(names=["Hüfte", "Kopf", "Fuß"]).encode("latin-1")).names == ["Hüfte", "Kopf", "Fuß"]


def test_empty_cells_are_missing_and_counted(tmp_path):
    lines = wide().splitlines()
    lines[2] = lines[2].replace(lines[2].split(",")[3], "", 1)
    lines[3] = ",".join(["NaN", "NA", "inf", *lines[3].split(",")[3:]])
    lines[4] = ",".join(lines[4].split(",")[:6])  # a row that ends before its last joint
    recording = read(tmp_path, "\n".join(lines))
    missing = np.isnan(recording.positions)
    assert (missing[1, 1, 0], missing[2, 0].all(), missing[3, 2].all(), missing.sum()) == (True, True, True, 7)
    assert recording.notes == ["7 of 54 cells hold no number"]


def test_columns_that_are_no_positions_are_named(tmp_path):
    text = table(
        [
            "frame",
            "Head_x",
            "Head_y",
            "Head_z",
            "Head_qx",
            "Head_rot_x",
            "Head_rot_y",
            "Head_rot_z",
            "Head_conf",
            "HeadVelX",
            "action",
        ],
        [[0, 1, 2, 3, 0, 9, 9, 9, 0.5, 4, "wave"]],
    )
    recording = read(tmp_path, text)
    assert (recording.names, recording.positions.tolist()) == (["Head"], [[[1, 2, 3]]])
    assert recording.notes == [
        "left out 7 columns that are no positions: Head_qx, Head_rot_x, Head_rot_y, Head_rot_z, Head_conf, ..."
    ]


@pytest.mark.parametrize(
    ("name", "step", "fps"),
    [
        ("time", 0.04, 25),
        ("Time (Seconds)", 0.04, 25),
        ("time_ms", 40, 25),
        ("timestamp", 40, 25),
        ("timestamp_us", 40_000, 25),
        ("t", 1.5, 1 / 0.0015),
        ("time", 1, None),
        ("time", 333_333, None),
        ("time", 0, None),
        ("frame", 1, None),
        ("time_s", 1, 1),
    ],
)
def test_the_frame_rate_is_that_of_the_time_column(tmp_path, name, step, fps):
    recording = read(tmp_path, wide(time=(name, [step * t for t in range(6)])))
    assert recording.fps == (None if fps is None else pytest.approx(fps))
    assert recording.names == NAMES
    assert any("pass fps=" in note for note in recording.notes) == (fps is None and name != "frame")


def test_times_that_are_rounded_give_the_true_rate(tmp_path):
    joints = np.zeros((241, 1, 3))
    text = wide(joints=joints, names=["Head"], time=("time", [f"{t / 120:.3f}" for t in range(241)]))
    assert read(tmp_path, text).fps == pytest.approx(120, rel=0.01)


def test_steps_that_are_irregular_are_counted(tmp_path):
    recording = read(tmp_path, wide(time=("time", [0, 0.1, 0.2, 0.3, 0.9, 1.0])))
    assert recording.fps == pytest.approx(10)
    assert any(note.startswith("1 of 5 time steps differ") for note in recording.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        (wide().splitlines()[0], "no rows of numbers"),
        (wide().replace(f"{JOINTS[2, 1, 1]:.4f}", "tall"), "line 4: 'tall' is no number"),
        (wide() + "1," * 9 + "7\n", "line 8 has 10 cells, but the header has 9"),
        ("Head_x,Head_y\n1,2\n", "its columns Head_x, Head_y make no joints"),
        ("Head_x,Head_y,Head_z,Head_x\n1,2,3,4\n", "two columns for x of 'Head'"),
        ("x,y,z\n1,2,3\n", "its columns x, y, z make no joints.*frame, joint, x, y, z"),
        ("1,2,3\n4,5,6\n", "no header, and rows of 3 numbers.*frame, joint, x, y, z"),
        ("1,2,3,4,5,6\n", "no header, and rows of 6 numbers.*pass skeleton="),
        ("a" * (2 * tables.MAX_LINE_CHARACTERS), "a line is longer than"),
        ("," * (tables.MAX_COLUMNS + 5) + "a\n", "line 1 has 20006 cells; the limit is 20000"),
        ('Head_x,Head_y,Head_z\n"1' + "\n1" * 200_000, "not a readable table"),
    ],
)
def test_tables_that_make_no_motion_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'walk.csv'}: ")


def test_numbers_without_a_header_are_read_as_the_skeleton_that_is_asked_for(tmp_path):
    joints = np.round(np.random.default_rng(0).normal(size=(4, 22, 3)), 3)
    text = "\n".join(" , ".join(map(str, frame.reshape(-1))) for frame in joints)
    recording = read(tmp_path, text, replace(OPTIONS, skeleton=SMPL22))
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert recording.skeleton == SMPL22
    with pytest.raises(ValueError, match=r"rows of 66 numbers; skeleton 'kit21' has 21 joints, 63"):
        read(tmp_path, text, replace(OPTIONS, skeleton=get_skeleton("kit21")))


def test_a_table_too_long_for_the_limit_is_refused_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(persons, "MAX_OUTPUT_BYTES", 10_000)
    with pytest.raises(ValueError, match="4096 frames of 3 joints need 147456 bytes; the limit is 10000"):
        read(tmp_path, wide(joints=np.zeros((5000, 3, 3))))


# ---- a row for each joint -----------------------------------------------------------------------------------------------


def long_rows(joints=JOINTS, names=NAMES, start=0):
    return [[start + t, name, *joints[t, j]] for t in range(len(joints)) for j, name in enumerate(names)]


@pytest.mark.parametrize(
    "header", [["frame", "joint", "x", "y", "z"], ["Frame_ID", "Joint Name", "pos_x", "Pos_Y", "position.z"]]
)
@pytest.mark.parametrize("sort", [lambda row: row[0], lambda row: (row[1] != "Head", row[1]), lambda row: -row[0]])
def test_a_row_for_each_joint_is_read_in_any_order(tmp_path, header, sort):
    recording = read(tmp_path, table(header, sorted(long_rows(), key=sort)))
    order = [recording.names.index(name) for name in NAMES]
    np.testing.assert_allclose(recording.positions[:, order], JOINTS, rtol=1e-6)
    assert recording.notes == []


def test_rows_have_a_frame_rate_if_they_have_times(tmp_path):
    rows = [[f"{row[0] / 25}", *row] for row in long_rows()]
    assert read(tmp_path, table(["time", "frame", "joint", "x", "y", "z"], rows)).fps == pytest.approx(25)
    only_time = [[row[0], *row[2:]] for row in rows]
    assert read(tmp_path, table(["time_s", "joint", "x", "y", "z"], only_time)).fps == pytest.approx(25)


def test_a_joint_without_a_row_is_missing_in_that_frame(tmp_path):
    rows = long_rows()
    del rows[4]
    recording = read(tmp_path, table(["frame", "joint", "x", "y", "z"], rows))
    assert np.isnan(recording.positions[1, 1]).all()
    assert np.isnan(recording.positions).sum() == 3
    assert recording.notes == ["3 of 54 cells hold no number"]


def test_persons_of_a_column_are_told_apart(tmp_path):
    rows = [["ann", *row] for row in long_rows()] + [["bob", *row] for row in long_rows(2 * JOINTS[:2], start=3)]
    text = table(["person", "frame", "joint", "x", "y", "z"], rows)
    with pytest.raises(ValueError, match=r"2 persons: 'ann' \(18 rows\), 'bob' \(6 rows\)"):
        read(tmp_path, text)
    recording = read(tmp_path, text, replace(OPTIONS, person="bob"))
    np.testing.assert_allclose(recording.positions, 2 * JOINTS[:2], rtol=1e-6)
    assert "cut 3 frames at the start and 1 at the end, in which person 'bob' is not seen" in recording.notes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, "Head", 1, 2, 3], [0, "Head", 1, 2, 3]], "1 rows are for a joint and frame that another row has"),
        ([["", "Head", 1, 2, 3]], "line 2 has no frame"),
        ([[0, "", 1, 2, 3]], "line 2 has no joint"),
        ([[0, "Head", 1, "b", 3]], "line 2: 'b' is no number"),
        ([], "no rows of numbers"),
        ([[t, f"j{t}", 1, 2, 3] for t in range(1500)], "more than 1000 joints"),
    ],
)
def test_rows_that_make_no_motion_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, table(["frame", "joint", "x", "y", "z"], rows))


# ---- OptiTrack Motive ---------------------------------------------------------------------------------------------------

SETTINGS = {
    "Format Version": "1.25",
    "Take Name": "Take, 1; with signs",
    "Capture Frame Rate": "240.000000",
    "Export Frame Rate": "120.000000",
    "Rotation Type": "Quaternion",
    "Length Units": "Centimeters",
    "Coordinate Space": "Global",
}


def motive(bones, rotations=None, skeletons=("Ann",), settings=None, parents=True, empty=()):
    """`bones`: skeleton → (T, J, 3) of NAMES; with a marker and an unlabeled one behind them. `empty`: (frame, column)."""
    columns = []  # type, name, kind, axis, values
    for skeleton in skeletons:
        for j, name in enumerate(NAMES):
            for axis, k in zip("XYZW", range(4), strict=True):
                values = np.full(len(JOINTS), 0.5) if rotations is None else rotations[:, j, k]
                columns.append(("Bone", f"{skeleton}:{name}", "Rotation", axis, values))
            columns += [
                ("Bone", f"{skeleton}:{name}", "Position", axis, bones[skeleton][:, j, k]) for k, axis in enumerate("XYZ")
            ]
    for name in ("Ann:LKneeOut", "Unlabeled 1001"):
        columns += [("Marker", name, "Position", axis, np.full(len(JOINTS), 7.0)) for axis in "XYZ"]
    quoted = [f'"{value}"' if "," in value else value for pair in (SETTINGS | (settings or {})).items() for value in pair]
    lines = [",".join(quoted), ""]
    for label, values in (
        ("Type", [c[0] for c in columns]),
        ("Name", [c[1] for c in columns]),
        ("ID", ["1"] * len(columns)),
    ):
        lines.append(",".join(["", label, *values]))
    if parents:
        lines.append(",".join(["", "Parent", *["Root"] * len(columns)]))
    lines.append(",".join(["", "", *(c[2] for c in columns)]))
    lines.append(",".join(["Frame", "Time (Seconds)", *(c[3] for c in columns)]))
    for t in range(len(JOINTS)):
        cells = ["" if (t, c) in empty else f"{column[4][t]:.6f}" for c, column in enumerate(columns)]
        lines.append(",".join([str(t), f"{t / 120:.6f}", *cells]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("parents", [True, False])
def test_bones_of_motive_are_read_with_their_rotations(tmp_path, parents):
    rotations = Rotation.random(18, random_state=0).as_quat().reshape(6, 3, 4)
    recording = read(tmp_path, motive({"Ann": JOINTS}, rotations, parents=parents))
    assert recording.names == NAMES
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)
    np.testing.assert_allclose(recording.rotations, rotations, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(recording.rotations, axis=-1), 1, atol=1e-6)
    assert (recording.fps, recording.unit, recording.up_axis) == (120.0, "centimetres", None)
    assert recording.notes == ["left out 6 columns: Marker Position"]


def test_a_bone_that_motive_lost_is_missing(tmp_path):
    # The last bone: rotation in columns 14 to 17, position in 18 to 20.
    recording = read(tmp_path, motive({"Ann": JOINTS}, empty={(2, column) for column in range(14, 21)}))
    assert np.isnan(recording.positions[2, 2]).all()
    assert np.isnan(recording.rotations[2, 2]).all()
    assert np.isnan(recording.positions).sum() == 3


def test_rotations_as_angles_are_left_out_and_named(tmp_path):
    recording = read(tmp_path, motive({"Ann": JOINTS}, settings={"Rotation Type": "XYZ"}))
    assert recording.rotations is None
    assert "left out 18 columns: Bone Rotation, Marker Position" in recording.notes


def test_rotations_that_lack_a_column_are_left_out(tmp_path):
    text = motive({"Ann": JOINTS}).replace("Rotation", "Other", 3).replace("Other Type", "Rotation Type")
    recording = read(tmp_path, text)
    assert recording.rotations is None
    np.testing.assert_allclose(recording.positions, JOINTS, rtol=1e-6)


def test_skeletons_of_motive_are_told_apart(tmp_path):
    text = motive({"Ann": JOINTS, "Bob": JOINTS + 5}, skeletons=("Ann", "Bob"))
    with pytest.raises(ValueError, match=r"2 persons: 'Ann' \(3 joints\), 'Bob' \(3 joints\)"):
        read(tmp_path, text)
    np.testing.assert_allclose(read(tmp_path, text, replace(OPTIONS, person="Bob")).positions, JOINTS + 5, rtol=1e-6)


def test_markers_of_motive_are_read_where_there_are_no_bones(tmp_path):
    recording = read(tmp_path, motive({}, skeletons=()))
    assert recording.names == ["LKneeOut"]
    assert (recording.positions == 7).all()
    assert recording.rotations is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Global", "Local"), "relative to the parent bone.*export it as Global"),
        (lambda text: text.replace("Frame,Time", "Row,Time"), "starts with Frame"),
        (lambda text: text.replace(",Type,", ",Sort,"), "no rows Type and Name"),
        (
            lambda text: text.replace("Bone,", "Rigid Body,").replace("Marker", "Rigid Body Marker"),
            "neither bones nor labelled markers",
        ),
        (lambda text: "\n".join(text.splitlines()[:8]), "no rows of numbers"),
        (lambda text: "\n".join(text.splitlines()[:1]), "starts with Frame"),
        (lambda text: text.replace("0.500000", "half", 1), "line 9: 'half' is no number"),
    ],
)
def test_tables_of_motive_that_make_no_motion_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, change(motive({"Ann": JOINTS})))


# ---- fuzz ---------------------------------------------------------------------------------------------------------------

VALID = [wide(), wide(delimiter=";"), table(["frame", "joint", "x", "y", "z"], long_rows()), motive({"Ann": JOINTS})]
TOKENS = [
    b"",
    b",",
    b";",
    b"\n",
    b'"',
    b"\t",
    b"\x00",
    b"\xff",
    b"nan",
    b"1e400",
    b"x",
    b"Bone",
    b"_",
    b"9" * 400,
    b"\xff\xfe",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(VALID)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 60) | st.integers(0, len(content)))
        content[start : start + data.draw(st.sampled_from([0, 1, 2, 40, 500]))] = data.draw(st.sampled_from(TOKENS))
    refusal = str(tmp_path)
    try:
        assert read(tmp_path, bytes(content)).positions.ndim == 3
    except ValueError as error:
        refusal = str(error)
    assert str(tmp_path) in refusal
