"""BVH files of every shape that the format allows. Forward kinematics are compared with matrices that are written out here."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import readers_bvh, text_frames
from motionpatches.processing.readers_bvh import read_bvh
from motionpatches.processing.recording import ReadOptions


ROTATIONS = ["".join(axes) for count in range(4) for axes in itertools.permutations("XYZ", count)]


def node(name, *children, offset=(1.0, 2.0, 3.0), channels=()):
    """A joint; without a name, an end site. `channels` as in "Xposition Zrotation"."""
    channels = channels.split() if isinstance(channels, str) else list(channels)
    return {"name": name, "offset": offset, "channels": channels, "children": list(children)}


def flat(tree, parent=-1, found=None):
    """Nodes in file order with the index of their parent."""
    found = [] if found is None else found
    at = len(found)
    found.append((tree, parent))
    for child in tree["children"]:
        flat(child, at, found)
    return found


def text_of(trees, frames, frame_time="0.01", declared=None):
    lines = ["HIERARCHY"]

    def block(tree, word):
        lines.append(f"{word} {tree['name']}" if tree["name"] else "End Site")
        lines.extend(["{", "OFFSET " + " ".join(repr(float(x)) for x in tree["offset"])])
        if tree["name"]:
            lines.append(f"CHANNELS {len(tree['channels'])} {' '.join(tree['channels'])}")
        for child in tree["children"]:
            block(child, "JOINT")
        lines.append("}")

    for tree in trees:
        block(tree, "ROOT")
    lines += ["MOTION", f"Frames: {len(frames) if declared is None else declared}", f"Frame Time: {frame_time}"]
    lines += [" ".join(repr(float(value)) for value in frame) for frame in frames]
    return "\n".join(lines) + "\n"


def turn(axis, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array(
        {"X": [[1, 0, 0], [0, c, -s], [0, s, c]], "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}.get(
            axis, [[c, -s, 0], [s, c, 0], [0, 0, 1]]
        )
    )


def pose_by_hand(tree, values):
    """Positions (N, 3) and world matrices (N, 3, 3) of one frame, from an iterator over its values."""
    places, matrices = [], []
    for item, parent in flat(tree):
        offset, local = np.array(item["offset"], float), np.eye(3)
        for channel in item["channels"]:
            value = next(values)
            if channel.endswith("position"):
                offset["XYZ".index(channel[0])] = value
            else:
                local = local @ turn(channel[0], value)
        above = np.eye(3) if parent < 0 else matrices[parent]
        places.append(above @ offset + (0 if parent < 0 else places[parent]))
        matrices.append(above @ local)
    return np.array(places), np.array(matrices)


def read(tmp_path, text, **options):
    path = tmp_path / "walk.bvh"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_bvh(path, ReadOptions(**options))


def check_by_hand(recording, tree, frames, skipped=0):
    for frame, values in enumerate(frames):
        places, matrices = pose_by_hand(tree, iter(values[skipped:]))
        np.testing.assert_allclose(recording.positions[frame], places, atol=1e-9)
        np.testing.assert_allclose(Rotation.from_quat(recording.rotations[frame]).as_matrix(), matrices, atol=1e-6)


def num_channels(tree):
    return sum(len(item["channels"]) for item, _ in flat(tree))


ARM = node(
    "Hips",
    node("Arm", node("Hand", node("", offset=(0.0, 0.5, 0.0)), channels="Yrotation"), channels="Zrotation Xrotation"),
    node("Leg", node(""), channels="Xrotation Yrotation Zrotation"),
    channels="Zposition Xposition Yposition Yrotation Zrotation Xrotation",
)
FRAMES = np.random.default_rng(0).uniform(-80, 80, size=(5, num_channels(ARM)))
CAPE = node("Cape", node("Tip", node("")), offset=(5.0, 6.0, 7.0), channels="Yposition")


# ---- hierarchies --------------------------------------------------------------------------------------------------------


@st.composite
def trees(draw, depth=3):
    kinds = st.permutations([*draw(st.sets(st.sampled_from(["Xposition", "Yposition", "Zposition"]))), "rotations"])
    rotations = [f"{axis}rotation" for axis in draw(st.sampled_from(ROTATIONS))]
    channels = [name for kind in draw(kinds) for name in (rotations if kind == "rotations" else [kind])]
    offset = draw(st.tuples(*[st.floats(-3, 3).map(lambda x: round(x, 3))] * 3))
    children = draw(st.lists(trees(depth=depth - 1), max_size=2)) if depth else []
    return node(draw(st.sampled_from(["a", "b", "c"])), *children, node("", offset=offset), offset=offset, channels=channels)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees(), seed=st.integers(0, 9))
def test_any_channels_in_any_order_move_as_the_matrices_say(tmp_path, tree, seed):
    tree["channels"] = tree["channels"] or ["Yrotation"]
    frames = np.random.default_rng(seed).uniform(-180, 180, size=(3, num_channels(tree)))
    recording = read(tmp_path, text_of([tree], frames))
    check_by_hand(recording, tree, frames)
    assert list(recording.parents) == [parent for _, parent in flat(tree)]
    assert list(recording.names) == [item["name"] for item, _ in flat(tree)]
    still = [value for item, _ in flat(tree) for value in [0.0] * len(item["channels"])]
    for item, _ in flat(tree):
        item["channels"] = [name for name in item["channels"] if name.endswith("rotation")]
    np.testing.assert_allclose(recording.rest_pose, pose_by_hand(tree, iter(still))[0], atol=1e-9)


def test_root_without_position_channels_stands_at_its_offset(tmp_path):
    tree = node("Hips", node("Leg", node(""), channels="Xrotation"), offset=(1.0, 90.0, 2.0), channels="Yposition Yrotation")
    frames = [[80.0, 30.0, 10.0], [81.0, 40.0, 20.0]]
    recording = read(tmp_path, text_of([tree], frames))
    check_by_hand(recording, tree, frames)
    np.testing.assert_allclose(recording.positions[:, 0], [[1, 80, 2], [1, 81, 2]])


def test_end_sites_have_the_orientation_of_their_joint(tmp_path):
    recording = read(tmp_path, text_of([ARM], FRAMES))
    ends = [at for at, name in enumerate(recording.names) if name == ""]
    assert ends == [3, 5]
    np.testing.assert_array_equal(recording.rotations[:, ends], recording.rotations[:, [2, 4]])


@pytest.mark.parametrize(
    "names", [["Bip01 L Thigh", "rig:Left Foot"], ["腰", "Hüfte à gauche"], ["lfemur", "1.2-x#y"], ["same", "same"]]
)
def test_names_are_kept_as_they_are_written(tmp_path, names):
    tree = node(names[0], node(names[1], node("")), channels="Yrotation")
    recording = read(tmp_path, text_of([tree], [[1.0]]))
    assert list(recording.names) == [*names, ""]


def test_deep_chains_are_read_and_endless_ones_refused(tmp_path):
    def chain(count):
        head = "".join(f"{'JOINT' if i else 'ROOT'} J{i}\n{{\nOFFSET 0 1 0\nCHANNELS 1 Yrotation\n" for i in range(count))
        return f"HIERARCHY\n{head}{'}' * count}".replace("}", "}\n") + f"MOTION\nFrames: 1\nFrame Time: 1\n{'0 ' * count}\n"

    recording = read(tmp_path, chain(readers_bvh.MAX_NODES))
    np.testing.assert_allclose(recording.positions[0, -1], [0, readers_bvh.MAX_NODES, 0])
    with pytest.raises(ValueError, match=r"line 4002: more than 1000 joints and end sites"):
        read(tmp_path, chain(readers_bvh.MAX_NODES + 1))


def test_several_braces_on_one_line_close_several_joints(tmp_path):
    lines = text_of([ARM], FRAMES)
    together = lines.replace("}\n}\n}\n", "} } }\n").replace("ROOT Hips\n{\n", "ROOT Hips {\n")
    assert "ROOT Hips {" in together
    assert "} } }" in together
    recording = read(tmp_path, together)
    assert list(recording.parents) == [-1, 0, 1, 2, 0, 4]
    check_by_hand(recording, ARM, FRAMES)


@pytest.mark.parametrize(
    "encode", [lambda t: t.replace("\n", "\r"), lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t]
)
def test_line_ends_and_byte_order_marks_do_not_matter(tmp_path, encode):
    recording = read(tmp_path, encode(text_of([ARM], FRAMES)))
    check_by_hand(recording, ARM, FRAMES)
    assert recording.names[0] == "Hips"


# ---- persons ------------------------------------------------------------------------------------------------------------

BOTH = np.concatenate([FRAMES, np.arange(5.0)[:, None]], axis=1)


@pytest.mark.parametrize(
    ("person", "tree", "skipped"), [("Hips", ARM, 0), (0, ARM, 0), ("Cape", CAPE, 12), (1, CAPE, 12), ("1", CAPE, 12)]
)
def test_a_person_is_chosen_by_name_or_index(tmp_path, person, tree, skipped):
    recording = read(tmp_path, text_of([ARM, CAPE], BOTH), person=person)
    assert list(recording.names) == [item["name"] for item, _ in flat(tree)]
    check_by_hand(recording, tree, BOTH, skipped)


@pytest.mark.parametrize("person", [None, "Anna", 2, -1])
def test_the_persons_are_listed_where_none_is_chosen(tmp_path, person):
    with pytest.raises(ValueError, match=r"walk\.bvh: .*'Hips' \(6 nodes\), 'Cape' \(3 nodes\).*person=") as info:
        read(tmp_path, text_of([ARM, CAPE], BOTH), person=person)
    assert "not a readable" not in str(info.value)


def test_damage_in_the_second_person_is_found_at_its_line(tmp_path):
    lines = text_of([ARM, CAPE], BOTH).split("\n")
    at = lines.index("OFFSET 5.0 6.0 7.0")
    lines[at] = "OFFSET 5.0 6.0"
    with pytest.raises(ValueError, match=rf"root Cape#1, at line {at - 1}: OFFSET must have 3 values"):
        read(tmp_path, "\n".join(lines), person="Cape")


# ---- long files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_bytes", [1, 5000])
def test_chunks_do_not_change_the_result(tmp_path, monkeypatch, chunk_bytes):
    frames = np.random.default_rng(1).uniform(-180, 180, size=(23, num_channels(ARM)))
    whole = read(tmp_path, text_of([ARM], frames))
    monkeypatch.setattr(text_frames, "_CHUNK_BYTES", chunk_bytes)
    chunked = read(tmp_path, text_of([ARM], frames))
    np.testing.assert_allclose(chunked.positions, whole.positions, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(chunked.rotations, whole.rotations, atol=1e-6)


def test_a_long_file_needs_little_more_memory_than_its_result(tmp_path, monkeypatch):
    tree = node("Hips", *(node(f"J{i}", channels="Zrotation Xrotation Yrotation") for i in range(12)))
    line = " ".join(["-12.345678"] * num_channels(tree)) + "\n"
    text = text_of([tree], [], declared=8000) + line * 8000
    read(tmp_path, text_of([ARM], FRAMES))  # imports what it needs
    monkeypatch.setattr(text_frames, "_CHUNK_BYTES", 256 * 1024)
    tracemalloc.start()
    try:
        path = tmp_path / "long.bvh"
        path.write_text(text)
        del text
        tracemalloc.reset_peak()
        recording = read_bvh(path, ReadOptions())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert recording.positions.shape == (8000, 13, 3)
    result = recording.positions.nbytes + recording.rotations.nbytes
    assert path.stat().st_size > 3 * 1024**2  # so that neither the text nor its numbers fit in what is left
    assert peak < result + 2 * 1024**2


# ---- damage -------------------------------------------------------------------------------------------------------------

VALID = text_of([ARM], FRAMES)
FAR = node("a", node("b", offset=(1e308, 0, 0)), channels="Xposition")
FIRST = VALID.split("\n").index("Frame Time: 0.01") + 2  # number of the first line of motion


def with_value(word):
    lines = VALID.split("\n")
    words = lines[FIRST].split()
    lines[FIRST] = " ".join([*words[:3], word, *words[4:]])
    return "\n".join(lines)


def edited(old, new):
    assert old in VALID
    return VALID.replace(old, new, 1)


@pytest.mark.parametrize("word", ["nan", "-inf", "1e999", "1_0", "0,5", "٣", "x", "0x10"])
def test_what_is_no_finite_number_is_refused_with_its_line(tmp_path, word):
    with pytest.raises(ValueError, match=rf"line {FIRST + 1}: '{word}' is no finite number"):
        read(tmp_path, with_value(word))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_value("1.0 2.0"), rf"line {FIRST + 1}: frame 1 has 13 values; its HIERARCHY declares 12 channels"),
        (with_value(""), rf"line {FIRST + 1}: frame 1 has 11 values"),
        (with_value("1" * 20000), rf"line {FIRST + 1}: more than \d+ characters"),
        (edited("Frames: 5", "Frames: 4"), "declares 4 frames, but holds 5 lines"),
        (edited("Frames: 5", "Frames: 6"), "declares 6 frames, but holds 5 lines"),
        (edited("Frames: 5", "Frames: 999999999999"), "declares 999999999999 frames, but holds 5 lines"),
        (text_of([ARM], [], declared=300) + "1\n" * 300, "300 frames are too short for the 12 channels"),
        (edited("Frame Time: 0.01\n", ""), "not followed by the lines"),
        (edited("Frame Time: 0.01", "Frame Time: 1e-320"), "frame time is 1e-320"),
        (edited("Zposition Xposition", "Zposition Zposition"), r"line 5: .* lists a channel twice"),
        (edited("Zrotation Xrotation", "Zrotation Zrotation"), r"line \d+: .* lists a channel twice"),
        (edited("Zposition", "Zscale"), r"line 5: .*'Zscale' is no channel; expected Xposition"),
        (edited("CHANNELS 1 Yrotation\n", "CHANNELS 1 Yrotation\nCHANNELS 1 Yrotation\n"), "second CHANNELS of one joint"),
        (edited("OFFSET 0.0 0.5 0.0", "OFFSET 0.0 nan 0.0"), r"OFFSET of node 3 \(End Site\).* not finite"),
        (edited("OFFSET 0.0 0.5 0.0", "OFFSET 0.0 half 0.0"), "could not convert string to float: 'half'"),
        (edited("{\nOFFSET 0.0 0.5", "{ OFFSET 0.0 0.5"), "goes on behind a brace; begin a new line there"),
        (edited("HIERARCHY\n", "HIERARCHY\nOFFSET 0 0 0\n"), r"line 2: 'OFFSET 0 0 0' stands before the first ROOT"),
        (edited("JOINT Arm", "ROOT Arm"), r"line 6: a second ROOT begins inside the first"),
        (VALID.replace("}\nMOTION", "}\n}\nMOTION"), r"braces unequally often \(difference -1\)"),
        ("HIERARCHY\nMOTION\nFrames: 1\nFrame Time: 1\n0\n", "has no ROOT"),
        (text_of([node("Hips", node(""))], [[]]), "declares no channels"),
        ("HIERARCHY\n" + "ROOT a\n{\n}\n" * 101 + "MOTION\n", "more than 100 persons"),
        (text_of([FAR], [[1e308]]), "frames 0 to 0 have positions beyond the range of numbers"),
        (b"HIERARCHY\n" + bytes(range(128, 256)) * 20, "is no part of a HIERARCHY|no line MOTION"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_damage_is_named_with_the_path_the_place_and_the_reason(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as info:
        read(tmp_path, text)
    assert str(info.value).startswith(str(tmp_path / "walk.bvh"))


def test_text_that_never_comes_to_its_motion_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(readers_bvh, "MAX_TEXT_BYTES", 1000)
    for padding in ("\n" * 2000, " " * 2000):
        with pytest.raises(ValueError, match="1000"):
            read(tmp_path, "HIERARCHY\n" + padding + VALID.removeprefix("HIERARCHY\n"))


def test_results_beyond_the_memory_limit_are_refused_before_any_frame_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(readers_bvh, "MAX_KINEMATICS_BYTES", 1199)  # 5 frames of 6 nodes of 3 float64 and 4 float32
    with pytest.raises(ValueError, match="5 frames of 6 nodes need 1200 bytes; the limit is 1199; split the motion"):
        read(tmp_path, with_value("nan"))


# ---- fuzz ---------------------------------------------------------------------------------------------------------------

TOKENS = ["", " ", "\n", "{", "}", "} }", "-", "1e400", "nan", "\x00", "\xff", "99999999999", "End Site", "ROOT", "JOINT"]
TOKENS += ["MOTION", "CHANNELS 3", "OFFSET", "Xrotation", "Frames: 3", "Frame Time:"]
SEED = text_of([ARM, CAPE], BOTH).encode()


@st.composite
def mutated(draw):
    content = bytearray(SEED)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 3, 10, 300]))
        content[start : start + length] = draw(st.sampled_from(TOKENS)).encode("latin-1") or draw(st.binary(max_size=4))
    return bytes(content)


@settings(max_examples=300, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=mutated(), person=st.sampled_from([None, 0, "Cape"]))
def test_mutated_files_are_read_in_full_or_refused(tmp_path, content, person):
    path, refusal = tmp_path / "walk.bvh", None
    try:
        recording = read(tmp_path, content, person=person)
        assert recording.positions.shape == (len(recording.positions), len(recording.names), 3)
        assert np.isfinite(recording.positions).all()
        np.testing.assert_allclose(np.linalg.norm(recording.rotations, axis=-1), 1, atol=1e-5)
    except ValueError as error:
        refusal = str(error)
    assert refusal is None or refusal.startswith(str(path))
