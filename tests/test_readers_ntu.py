from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motionpatches.processing import persons
from motionpatches.processing.readers_ntu import read_ntu
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton


OPTIONS = ReadOptions()
NTU25 = get_skeleton("ntu25")
# What follows x, y, z of a joint: pixels of both cameras, orientation, and 2 for "tracked".
REST = "254.1 191.3 1042.0 519.2 -0.2 0.03 0.98 -0.01"


def joints_text(joints, states=None):
    states = np.full(len(joints), 2) if states is None else states
    return [f"{x:.6f} {y:.6f} {z:.6f} {REST} {state}" for (x, y, z), state in zip(joints, states, strict=True)]


def skeleton_text(frames, states=None):
    """`frames`: for each frame, {bodyID: joints (25, 3)}."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body, joints in bodies.items():
            lines += [f"{body} 0 1 1 1 1 0 0.01 -0.02 2", str(len(joints)), *joints_text(joints, states)]
    return "\n".join(lines) + "\n"


def walk(num_frames, seed=0):
    rng = np.random.default_rng(seed)
    return NTU25.rest_pose + np.cumsum(rng.normal(0, 0.01, (num_frames, 25, 3)), axis=0) + [0, -0.9, 3]


def write(path, text):
    path.write_text(text, encoding="ascii")
    return path


def test_the_only_body_is_read_joint_for_joint(tmp_path):
    joints = walk(4)
    recording = read_ntu(
        write(tmp_path / "S001.skeleton", skeleton_text([{"72057594037931691": j} for j in joints])), OPTIONS
    )
    np.testing.assert_allclose(recording.positions, joints, atol=1e-6)
    assert recording.positions.dtype == np.float32
    assert (recording.skeleton, recording.fps, recording.unit, recording.up_axis) == (NTU25, 30.0, "metres", "y")
    assert list(recording.names) == list(NTU25.joint_names)
    assert recording.notes == []


def test_bodies_are_followed_by_their_id_and_not_by_their_place_in_a_frame(tmp_path):
    first, second = walk(4, 1), walk(4, 2)
    frames = [{"8": first[t], "5": second[t]} if t % 2 else {"5": second[t], "8": first[t]} for t in range(4)]
    path = write(tmp_path / "S001.skeleton", skeleton_text(frames))
    np.testing.assert_allclose(read_ntu(path, replace(OPTIONS, person="8")).positions, first, atol=1e-6)
    np.testing.assert_allclose(read_ntu(path, replace(OPTIONS, person=8)).positions, first, atol=1e-6)
    # Index 0 is the body that appears first.
    np.testing.assert_allclose(read_ntu(path, replace(OPTIONS, person=0)).positions, second, atol=1e-6)
    np.testing.assert_allclose(read_ntu(path, replace(OPTIONS, person="1")).positions, first, atol=1e-6)


def test_several_bodies_are_listed_with_their_frames_and_movement(tmp_path):
    chair = np.tile(NTU25.rest_pose, (2, 1, 1))
    frames = [{"111": j} for j in walk(3)] + [{"222": j} for j in chair]
    path = write(tmp_path / "S001.skeleton", skeleton_text(frames))
    with pytest.raises(
        ValueError, match=r"S001.*2 persons: '111' \(3 frames, joints move by 0\.0.*'222' \(2 frames, joints move by 0\)"
    ):
        read_ntu(path, OPTIONS)
    with pytest.raises(ValueError, match=r"no body '333' in it; it has '111'"):
        read_ntu(path, replace(OPTIONS, person="333"))
    with pytest.raises(ValueError, match=r"no body '-1'"):
        read_ntu(path, replace(OPTIONS, person=-1))
    assert any("the file has also '222' (2 frames" in note for note in read_ntu(path, replace(OPTIONS, person=0)).notes)


def test_frames_without_the_body_are_cut_outside_and_nan_inside_and_counted(tmp_path):
    joints = walk(3)
    path = write(tmp_path / "S001.skeleton", skeleton_text([{}, {}, {"7": joints[0]}, {}, {"7": joints[2]}, {}]))
    recording = read_ntu(path, OPTIONS)
    np.testing.assert_allclose(recording.positions[[0, 2]], joints[[0, 2]], atol=1e-6)
    assert np.isnan(recording.positions[1]).all()
    assert any("cut 2 frames at the start and 1 at the end" in note for note in recording.notes)
    assert any("1 of 3 frames do not have body '7'" in note for note in recording.notes)


def test_joints_that_the_camera_does_not_track_are_missing(tmp_path):
    states = np.full(25, 2)
    states[3], states[9] = 0, 1  # 1 is "inferred": a position all the same
    recording = read_ntu(write(tmp_path / "a.skeleton", skeleton_text([{"7": j} for j in walk(3)], states)), OPTIONS)
    assert np.isnan(recording.positions[:, 3]).all()
    assert np.isfinite(np.delete(recording.positions, 3, axis=1)).all()
    assert any(note.startswith("3 of 75 joint positions") for note in recording.notes)


VALID = skeleton_text([{"7": j, "9": j + 1} for j in walk(3)])


def changed(line, text):
    lines = VALID.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file ends after line 0, where the number of frames"),
        ("0\n", "0 frames: the camera saw nobody"),
        ("2\n0\n0\n", "none of its 2 frames has a body"),
        (VALID[: len(VALID) // 2], r"line \d+ is|the file ends after line \d+"),
        ("\n".join(VALID.splitlines()[:100]), "the file ends after line 100"),
        (changed(1, "2"), r"line 112 follows the 2 frames that line 1 declares"),
        (changed(1, "4"), r"the file ends after line 166, where the number of bodies in frame 3"),
        (changed(1, "-3"), "line 1 is '-3'; expected the number of frames"),
        (changed(1, "three"), "line 1 is 'three'"),
        (changed(1, "²"), "line 1 is"),
        (changed(2, "1"), r"line 30 is '9 0 1"),
        (changed(2, "3"), "line 57 is '2'; expected 10 values of a body"),
        (changed(3, "7 0 1"), "line 3 is '7 0 1'; expected 10 values of a body"),
        (changed(4, "20"), "line 4 declares 20 joints; a body of NTU RGB.D has 25"),
        (changed(4, "26"), "line 4 declares 26 joints"),
        (changed(6, "0.1 0.2 here " + REST + " 2"), "line 6 is '0.1 0.2 here"),
        (changed(6, "0.1 0.2 nan " + REST + " 2"), "line 6 is.*finite"),
        (changed(6, "0.1 0.2 1e300 " + REST + " 2"), "line 6 is.*finite"),
        (changed(6, "0.1 0.2 0.3"), "line 6 is '0.1 0.2 0.3'; expected 12"),
        (changed(6, "0.1 0.2 0.3 " + REST + " 2 7"), "line 6 is.*expected 12"),
        (changed(6, "1" * 10_000), "line 6 is longer than"),
        (changed(30, "7 0 1 1 1 1 0 0.01 -0.02 2"), "line 56: body 7 is there twice in frame 0"),
        (VALID + "1\n", "line 167 follows"),
        (skeleton_text([{"7": j} for j in walk(2)], np.zeros(25, int)), "every joint of body '7' is marked as not tracked"),
    ],
)
def test_damaged_files_are_refused_with_the_line(tmp_path, text, message):
    path = tmp_path / "S001.skeleton"
    path.write_bytes(text.encode("utf-8"))
    with pytest.raises(ValueError, match=message) as caught:
        read_ntu(path, replace(OPTIONS, person="7"))
    assert str(caught.value).startswith(str(path))


def test_pixels_that_are_no_numbers_do_not_matter(tmp_path):
    text = VALID.replace("1042.0 519.2", "-1.#IND 1.#INF")
    assert read_ntu(write(tmp_path / "a.skeleton", text), replace(OPTIONS, person="7")).positions.shape == (3, 25, 3)


def test_blank_lines_behind_the_frames_are_no_damage(tmp_path):
    assert len(read_ntu(write(tmp_path / "a.skeleton", VALID + "\n \n"), replace(OPTIONS, person="7")).positions) == 3


def test_empty_frames_between_do_not_make_a_small_file_a_huge_array(tmp_path, monkeypatch):
    monkeypatch.setattr(persons, "MAX_OUTPUT_BYTES", 100_000)
    body = walk(1)[0]
    path = write(tmp_path / "a.skeleton", skeleton_text([{"7": body}, *[{}] * 1000, {"7": body}]))
    with pytest.raises(ValueError, match=r"1002 frames of 25 joints need 300600 bytes; the limit is 100000"):
        read_ntu(path, OPTIONS)


TOKENS = [b"", b"\n", b" ", b"-", b"\x00", b"\xff", b"nan", b"1e400", b"99999999999999999999", b"0\n", b"25\n"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path, data):
    content = bytearray(VALID.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.sampled_from([0, 1, 3, 90, 2000]))] = data.draw(st.sampled_from(TOKENS))
    path = tmp_path / "a.skeleton"
    path.write_bytes(content)
    refusal = str(path)
    try:
        assert read_ntu(path, replace(OPTIONS, person=0)).positions.shape[1:] == (25, 3)
    except ValueError as error:
        refusal = str(error)
    assert str(path) in refusal
