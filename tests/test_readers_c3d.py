import struct
from dataclasses import replace

import ezc3d
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motionpatches.processing import persons, readers_c3d
from motionpatches.processing.readers_c3d import read_c3d
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.processing.understanding import understand


OPTIONS = ReadOptions()
PLUGIN_GAIT = get_skeleton("plugin_gait")
GAIT_NAMES = list(PLUGIN_GAIT.joint_names[: PLUGIN_GAIT.num_joints])
SKIN = ["LASI", "RASI", "LPSI", "RPSI", "LTHI", "LKNE", "LTIB", "LANK"]
NAMES = ["Pelvis", "LHip", "LKnee", "LAnkle"]
BLOCK = 512


def points(num_frames, num_points, seed=0):
    return np.random.default_rng(seed).normal(0, 500, (num_frames, num_points, 3))


def write_c3d(path, labels, joints, *, rate=100.0, units="mm", residuals=None, analogs=0, parameters=()):
    """A file of floats, written by ezc3d."""
    c3d = ezc3d.c3d()
    c3d["parameters"]["POINT"]["RATE"]["value"] = [rate]
    c3d["parameters"]["POINT"]["LABELS"]["value"] = list(labels)
    c3d["parameters"]["POINT"]["UNITS"]["value"] = [units]
    data = np.ones((4, len(labels), len(joints)))
    data[:3] = np.moveaxis(joints, -1, 0).swapaxes(1, 2)
    c3d["data"]["points"] = data
    if residuals is not None:
        c3d["data"]["meta_points"]["residuals"] = np.asarray(residuals, float).T[None]
    if analogs:
        c3d["parameters"]["ANALOG"]["RATE"]["value"] = [10 * rate]
        c3d["parameters"]["ANALOG"]["LABELS"]["value"] = [f"force{i}" for i in range(analogs)]
        c3d["data"]["analogs"] = np.random.default_rng(1).normal(size=(1, analogs, 10 * max(len(joints), 1)))
    for group, name, value in parameters:
        c3d.add_parameter(group, name, value)
    c3d.write(str(path))
    return path


@pytest.mark.parametrize("analogs", [0, 3])
def test_labelled_points_are_read_as_ezc3d_wrote_them(tmp_path, analogs):
    joints = points(7, 4)
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", NAMES, joints, rate=120.0, analogs=analogs), OPTIONS)
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert recording.positions.dtype == np.float32
    assert (recording.names, recording.fps, recording.unit) == (NAMES, 120.0, "millimetres")
    assert (recording.parents, recording.skeleton, recording.up_axis, recording.notes) == (None, None, None, [])


def test_points_of_more_frames_than_a_chunk_are_all_read(tmp_path, monkeypatch):
    monkeypatch.setattr(readers_c3d, "_CHUNK_BYTES", 300)
    joints = points(50, 4)
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", NAMES, joints, analogs=2), OPTIONS)
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)


def test_points_with_a_residual_below_zero_are_missing(tmp_path):
    joints = points(5, 4)
    residuals = np.zeros((5, 4))
    residuals[2, 1] = -1
    joints[2, 1] = 0
    positions = read_c3d(write_c3d(tmp_path / "walk.c3d", NAMES, joints, residuals=residuals), OPTIONS).positions
    assert np.isnan(positions[2, 1]).all()
    assert np.isnan(positions).sum() == 3


@pytest.mark.parametrize(("units", "unit"), [("m", "metres"), ("CM", "centimetres"), ("in", "inches"), ("furlong", None)])
def test_the_unit_is_that_of_the_file(tmp_path, units, unit):
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", NAMES, points(3, 4), units=units), OPTIONS)
    assert recording.unit == unit
    assert any("'furlong' is not known" in note for note in recording.notes) == (unit is None)


@pytest.mark.parametrize(("screen", "up"), [("+Z", "z"), ("-Y", "-y"), ("Y", "y"), ("", None), ("up", None)])
def test_the_up_axis_is_the_one_that_points_up_on_the_screen(tmp_path, screen, up):
    path = write_c3d(tmp_path / "walk.c3d", NAMES, points(3, 4), parameters=[("POINT", "Y_SCREEN", screen)])
    assert read_c3d(path, OPTIONS).up_axis == up


def test_more_labels_than_fit_one_parameter_are_read_from_labels2_and_on(tmp_path):
    names = [f"J{i}" for i in range(600)]
    joints = points(2, 600)
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", names, joints), OPTIONS)
    assert recording.names == names
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_frames", "parameters"),
    [
        (65_534, []),
        (65_535, []),
        (70_000, [("POINT", "LONG_FRAMES", [70_000.0])]),
        (70_000, [("TRIAL", "ACTUAL_START_FIELD", [11, 0]), ("TRIAL", "ACTUAL_END_FIELD", [70_010 - 65_536, 1])]),
    ],
)
def test_more_frames_than_16_bits_count_are_read(tmp_path, num_frames, parameters):
    joints = np.zeros((num_frames, 1, 3))
    joints[:, 0, 1] = np.arange(num_frames)
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", ["Pelvis"], joints, parameters=parameters), OPTIONS)
    np.testing.assert_array_equal(recording.positions[:, 0, 1], np.arange(num_frames))
    assert recording.notes == []


def test_frames_that_no_parameter_counts_are_noted(tmp_path):
    recording = read_c3d(write_c3d(tmp_path / "walk.c3d", ["Pelvis"], np.zeros((70_000, 1, 3))), OPTIONS)
    assert len(recording.positions) == 65_535
    assert any("bytes follow the 65535 frames" in note for note in recording.notes)


# ---- other number formats: the same file, rewritten by hand ------------------------------------------------------------


def parts(path):
    """Header, parameters (both as bytearrays) and points (T, N, 4) of a float file without analog data."""
    content = path.read_bytes()
    num_points, _, first, last = struct.unpack_from("<4H", content, 2)
    (start,) = struct.unpack_from("<H", content, 16)
    frames = np.frombuffer(content, "<f4", (last - first + 1) * num_points * 4, (start - 1) * BLOCK)
    return bytearray(content[: (start - 1) * BLOCK]), frames.reshape(-1, num_points, 4).copy()


def parameter_at(head, name):
    """Offset of the values of a scalar parameter, behind name, step, type and number of dimensions."""
    found = head.index(name) + len(name)
    assert head[found + 3] in (0, 1)
    return found + 4 + head[found + 3]


def test_integers_are_scaled(tmp_path):
    path = write_c3d(tmp_path / "walk.c3d", NAMES, points(5, 4))
    head, frames = parts(path)
    counts = np.round(frames / 0.1).astype("<i2")
    counts[1, 2] = (0, 0, 0, -1)
    counts[..., 3][counts[..., 3] >= 0] = 0x0705  # cameras and residual
    struct.pack_into("<f", head, 12, 0.1)
    struct.pack_into("<f", head, parameter_at(head, b"SCALE"), 0.1)
    path.write_bytes(bytes(head) + counts.tobytes())
    positions = read_c3d(path, OPTIONS).positions
    assert np.isnan(positions[1, 2]).all()
    seen = ~np.isnan(positions)
    assert seen.sum() == 5 * 4 * 3 - 3
    np.testing.assert_allclose(positions[seen], frames[..., :3][seen], atol=0.051)


def test_floats_of_dec_computers_are_converted(tmp_path):
    joints = points(5, 4)
    path = write_c3d(tmp_path / "walk.c3d", NAMES, joints)
    head, frames = parts(path)

    def to_dec(values):  # an exponent that is 2 higher, and the 16-bit halves exchanged
        return (np.asarray(values, "<f4") * 4).view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    for at in (12, 20, parameter_at(head, b"SCALE"), parameter_at(head, b"RATE")):
        head[at : at + 4] = to_dec(np.frombuffer(head, "<f4", 1, at))
    head[(head[0] - 1) * BLOCK + 3] = 85
    path.write_bytes(bytes(head) + to_dec(frames.reshape(-1)))
    recording = read_c3d(path, OPTIONS)
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert recording.fps == 100.0


def big_endian_file(joints):
    """The least that a C3D file of a MIPS computer holds, built by hand."""

    def parameter(name, group, kind, dimensions, raw):
        body = struct.pack("bB", kind, len(dimensions)) + bytes(dimensions) + raw + b"\0"
        return struct.pack("bb", len(name), group) + name + struct.pack(">h", len(body) + 2) + body

    num_frames, num_points = joints.shape[:2]
    section = struct.pack("bb", 5, -1) + b"POINT" + struct.pack(">h", 3) + b"\0"
    section += parameter(b"USED", 1, 2, (), struct.pack(">h", num_points))
    section += parameter(b"SCALE", 1, 4, (), struct.pack(">f", -1))
    section += parameter(b"LABELS", 1, -1, (4, num_points), b"".join(f"J{i:<3}".encode() for i in range(num_points)))
    section += parameter(b"RATE", 1, 4, (), struct.pack(">f", 50))
    header = bytes([2, 0x50]) + struct.pack(">5HfHHf", num_points, 0, 1, num_frames, 0, -1, 3, 0, 50)
    values = np.concatenate([joints, np.zeros((num_frames, num_points, 1))], axis=-1).astype(">f4").tobytes()
    return header.ljust(BLOCK, b"\0") + (bytes([1, 0x50, 1, 86]) + section).ljust(BLOCK, b"\0") + values


def test_big_endian_files_are_read(tmp_path):
    joints = points(3, 2)
    (tmp_path / "walk.c3d").write_bytes(big_endian_file(joints))
    recording = read_c3d(tmp_path / "walk.c3d", OPTIONS)
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-6)
    assert (recording.names, recording.fps, recording.unit) == (["J0", "J1"], 50.0, None)


# ---- which points -------------------------------------------------------------------------------------------------------


def test_model_outputs_of_plugin_gait_become_its_skeleton(tmp_path):
    rest = PLUGIN_GAIT.rest_pose[: PLUGIN_GAIT.num_joints] * 1000
    z_up = rest[:, [0, 2, 1]] * [1, -1, 1]  # (x, y, z) → (x, -z, y)
    joints = z_up + np.linspace(0, 300, 20)[:, None, None] * [0, 1, 0] + points(20, len(rest)) * 0.001
    labels = [*SKIN, *GAIT_NAMES[::-1], "LHipAngles"]
    everything = np.concatenate([points(20, len(SKIN)), joints[:, ::-1], points(20, 1)], axis=1)
    path = write_c3d(tmp_path / "gait.c3d", labels, everything, parameters=[("POINT", "ANGLES", ["LHipAngles"])])
    recording = read_c3d(path, OPTIONS)
    np.testing.assert_allclose(recording.positions, joints, rtol=1e-5, atol=1e-3)
    assert (recording.names, recording.skeleton) == (GAIT_NAMES, PLUGIN_GAIT)
    assert any("1 points that are angles" in note for note in recording.notes)
    assert any("8 points without a place in skeleton 'plugin_gait': LASI" in note for note in recording.notes)
    motion, _ = understand(recording, OPTIONS)
    np.testing.assert_allclose(motion.joints, joints, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("more", [[], GAIT_NAMES[:10], ["LHipAngles"]])
def test_markers_on_the_skin_alone_are_explained(tmp_path, more):
    labels = [*SKIN, *more]
    path = write_c3d(
        tmp_path / "markers.c3d",
        labels,
        points(3, len(labels)),
        parameters=[("POINT", "ANGLES", ["LHipAngles", "RHipAngles"])],
    )
    with pytest.raises(
        ValueError, match=r"markers\.c3d: its points are markers on the skin \(LASI, .*joint centres.*Plug-in Gait.*TRXO"
    ):
        read_c3d(path, OPTIONS)


def test_markers_beside_joint_centres_of_other_names_are_left_to_the_names(tmp_path):
    labels = [*SKIN, "LHJC", "RHJC"]
    assert read_c3d(write_c3d(tmp_path / "m.c3d", labels, points(3, 10)), OPTIONS).names == labels


def test_subjects_are_told_apart_by_the_prefix_of_their_labels(tmp_path):
    joints = points(3, 7)
    labels = ["Ann:Head", "Bob:Head", "Ann:LHip", "Bob:LHip", "Bob:RHip", "*12", "Ball"]
    path = write_c3d(tmp_path / "two.c3d", labels, joints)
    with pytest.raises(ValueError, match=r"2 persons: 'Ann' \(2 points\), 'Bob' \(3 points\)"):
        read_c3d(path, OPTIONS)
    for person in ("Bob", 1, "1"):
        recording = read_c3d(path, replace(OPTIONS, person=person))
        assert recording.names == ["Head", "LHip", "RHip"]
        np.testing.assert_allclose(recording.positions, joints[:, [1, 3, 4]], rtol=1e-6)
    assert "left out 1 points without a label" in recording.notes
    assert any("3 points that are not of subject 'Bob': Ann:Head, Ann:LHip, Ball" in note for note in recording.notes)
    with pytest.raises(ValueError, match="no subject 'Eve'"):
        read_c3d(path, replace(OPTIONS, person="Eve"))


def test_the_only_subject_needs_no_choice(tmp_path):
    path = write_c3d(tmp_path / "one.c3d", ["Ann:Head", "Ann:LHip"], points(3, 2))
    assert read_c3d(path, OPTIONS).names == ["Head", "LHip"]


@pytest.mark.parametrize(
    ("labels", "analogs", "message"),
    [([], 2, "no 3D points .only analog channels"), (["*1", "*2"], 0, "none of its 2 points is a labelled position")],
)
def test_files_without_positions_are_refused(tmp_path, labels, analogs, message):
    path = write_c3d(tmp_path / "a.c3d", labels, points(3, len(labels)), analogs=analogs)
    with pytest.raises(ValueError, match=message):
        read_c3d(path, OPTIONS)


# ---- damaged files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = tmp_path_factory.mktemp("c3d") / "valid.c3d"
    return write_c3d(path, NAMES, points(20, 4), analogs=2).read_bytes()


def changed(content, at, new):
    return content[:at] + new + content[at + len(new) :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: b"", "no C3D header"),
        (lambda c: c[:400], "no C3D header"),
        (lambda c: changed(c, 1, b"Q"), "no C3D header"),
        (lambda c: changed(c, 0, b"\xff"), "parameter section at byte 130048 is damaged"),
        (lambda c: c[: 2 * BLOCK], "parameter section is cut off at byte"),
        (lambda c: c[: len(c) - 3 * BLOCK], r"20 frames of 144 bytes from byte \d+, but has \d+ bytes; the file is cut off"),
        (lambda c: changed(c, BLOCK + 3, b"\x07"), "parameter section"),
        (lambda c: changed(c, 2, b"\xff\xff"), "header declares 65535 points, but POINT:USED is 4"),
        (lambda c: changed(c, 4, b"\xff\xff"), r"20 frames of 262204 bytes"),
        (lambda c: changed(c, c.index(b"FRAMES") + 10, b"\xfe\xff"), "it declares 65534 frames"),
        (lambda c: changed(c, c.index(b"LABELS") + 10, b"\xff\xff"), "parameter 'LABELS' is damaged or cut off"),
        (lambda c: changed(c, c.index(b"USED") + 4, b"\xff\xff"), "parameter 'USED' points -1 bytes on"),
    ],
)
def test_damaged_files_are_refused(tmp_path, valid, damage, message):
    path = tmp_path / "a.c3d"
    path.write_bytes(damage(valid))
    with pytest.raises(ValueError, match=message) as caught:
        read_c3d(path, OPTIONS)
    assert str(caught.value).startswith(f"{path}: ")


def test_frames_that_need_too_much_memory_are_refused(tmp_path, valid, monkeypatch):
    monkeypatch.setattr(persons, "MAX_OUTPUT_BYTES", 100)
    (tmp_path / "a.c3d").write_bytes(valid)
    with pytest.raises(ValueError, match=r"20 frames of 4 joints need 960 bytes; the limit is 100"):
        read_c3d(tmp_path / "a.c3d", OPTIONS)


def test_bytes_behind_the_frames_are_noted(tmp_path, valid):
    (tmp_path / "a.c3d").write_bytes(valid + bytes(5000))
    assert any("bytes follow the 20 frames" in note for note in read_c3d(tmp_path / "a.c3d", OPTIONS).notes)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, valid, data):
    content = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 30) | st.integers(BLOCK, 4 * BLOCK) | st.integers(0, len(content)))
        new = data.draw(st.binary(max_size=8) | st.sampled_from([b"\xff" * 8, bytes(8), b"\x7f\xff", b"\x80"]))
        content[start : start + (len(new) if data.draw(st.booleans()) else 2)] = new
    path = tmp_path / "a.c3d"
    path.write_bytes(content[: data.draw(st.sampled_from([None, None, None, len(content) // 2, 600]))])
    refusal = str(path)
    try:
        assert read_c3d(path, OPTIONS).positions.ndim == 3
    except ValueError as error:
        refusal = str(error)
    assert str(path) in refusal
