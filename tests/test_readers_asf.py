"""ASF/AMC files. Forward kinematics are compared with matrices on row vectors, as the description of the format has them."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches.processing import asf_skeleton, readers_asf, text_frames
from motionpatches.processing.readers_asf import read_asf_amc
from motionpatches.processing.recording import ReadOptions
from motionpatches.processing.skeletons import get_skeleton


CMU31 = get_skeleton("cmu31")
ORDERS = ["".join(letters) for letters in itertools.permutations("xyz")]
TURNS = [[f"r{letter}" for letter in letters] for count in range(4) for letters in itertools.permutations("xyz", count)]


def bone(
    name, parent="root", direction=(0.0, 1.0, 0.0), length=2.0, axis=(0.0, 0.0, 0.0), order="XYZ", dof=("rx", "ry", "rz")
):
    return {
        "name": name,
        "parent": parent,
        "direction": direction,
        "length": length,
        "axis": axis,
        "order": order,
        "dof": dof,
    }


def numbers(values):
    return " ".join(repr(float(value)) for value in values)


def asf_text(bones, length="length 0.45", angle="deg", order="TX TY TZ RX RY RZ", root="", extra=""):
    blocks = []
    for number, item in enumerate(bones, 1):
        lines = [
            f"id {number}",
            f"name {item['name']}",
            f"direction {numbers(item['direction'])}",
            f"length {float(item['length'])!r}",
        ]
        lines.append(f"axis {numbers(item['axis'])}  {item['order']}")
        if item["dof"]:
            limits = ["(-160.0 20.0)"] * len(item["dof"])
            lines += [f"dof {' '.join(item['dof'])}", "limits " + "\n   ".join(limits)]
        blocks.append("\n     ".join(["  begin", *lines]) + "\n  end")
    names = ["root", *(item["name"] for item in bones)]
    children = [(name, [item["name"] for item in bones if item["parent"] == name]) for name in names]
    hierarchy = "\n".join(f"    {name} {' '.join(below)}" for name, below in children if below)
    bonedata = "\n".join(blocks)
    return (
        "# made by hand\n:version 1.10\n:name somebody\n:units\n  mass 1.0\n  "
        f"{length}\n  angle {angle}\n:documentation\n   begin nothing, end nothing\n"
        f":root\n  order {order}\n  axis XYZ\n  position 0 0 0\n  orientation 0 0 0\n{root}"
        f":bonedata\n{bonedata}\n{extra}:hierarchy\n  begin\n{hierarchy}\n  end\n"
    )


def amc_text(bones, frames, head=":FULLY-SPECIFIED\n:DEGREES\n", first=1, root_count=6):
    """`frames`: for each frame the values of the root and of every bone that has any, in the order of `bones`."""
    lines = ["#!OML:ASF made by hand\n" + head.rstrip("\n")]
    for number, values in enumerate(frames, first):
        left = list(values)
        lines.append(str(number))
        for name, count in [("root", root_count), *((item["name"], len(item["dof"])) for item in bones if item["dof"])]:
            lines.append(f"{name} {numbers(left[:count])}")
            del left[:count]
        assert not left
    return "\n".join(lines) + "\n"


def turn(letter, angle):
    """Turns a row vector that stands on its left."""
    c, s = np.cos(angle), np.sin(angle)
    turns = {
        "x": [[1, 0, 0], [0, c, s], [0, -s, c]],
        "y": [[c, 0, -s], [0, 1, 0], [s, 0, c]],
        "z": [[c, s, 0], [-s, c, 0], [0, 0, 1]],
    }
    return np.array(turns[letter])


def product(letters, angles):
    found = np.eye(3)
    for letter, angle in zip(letters.lower(), angles, strict=True):
        found = found @ turn(letter, angle)
    return found


def pose_by_hand(bones, order, values, angle=np.deg2rad):
    """One frame, {name: (position in the unit of the file, orientation of the bone's axes on column vectors)}."""
    values = iter(values)
    root = dict(zip(order.lower().split(), values, strict=False))
    letters = "".join(word[1] for word in order.lower().split() if word[0] == "r")
    world = {"root": product(letters, [angle(root[f"r{letter}"]) for letter in letters])}
    found = {"root": (np.array([root.get(f"t{letter}", 0.0) for letter in "xyz"]), world["root"].T)}
    for item in bones:  # parents first
        axes = product(
            item["order"], [angle(dict(zip("XYZ", item["axis"], strict=True))[letter]) for letter in item["order"].upper()]
        )
        given = {name: next(values) for name in item["dof"]}
        letters = "".join(name[1] for name in given if name != "l")
        motion = product(letters, [angle(given[f"r{letter}"]) for letter in letters])
        world[item["name"]] = np.linalg.inv(axes) @ motion @ axes @ world[item["parent"]]
        way = np.array(item["direction"]) * given.get("l", item["length"]) @ world[item["name"]]
        found[item["name"]] = (found[item["parent"]][0] + way, (axes @ world[item["name"]]).T)
    return found


def write(tmp_path, asf, amc, name="07_01.amc", asf_name="07.asf"):
    (tmp_path / asf_name).write_bytes(asf if isinstance(asf, bytes) else asf.encode())
    (tmp_path / name).write_bytes(amc if isinstance(amc, bytes) else amc.encode())
    return tmp_path / name


def read(tmp_path, asf, amc, **options):
    return read_asf_amc(write(tmp_path, asf, amc), ReadOptions(**options))


def check_by_hand(recording, bones, frames, order="TX TY TZ RX RY RZ", length=0.45, angle=np.deg2rad):
    assert sorted(recording.names) == sorted(["root", *(item["name"] for item in bones)])
    assert len(recording.positions) == len(recording.rotations) == len(frames)
    for frame, values in enumerate(frames):
        expected = pose_by_hand(bones, order, values, angle)
        for node, name in enumerate(recording.names):
            np.testing.assert_allclose(recording.positions[frame, node], expected[name][0] / length, atol=1e-9)
            matrix = Rotation.from_quat(recording.rotations[frame, node]).as_matrix()
            np.testing.assert_allclose(matrix, expected[name][1], atol=1e-6)


ARM = [
    bone("upper", axis=(10.0, -20.0, 30.0), order="XYZ"),
    bone("lower", "upper", direction=(0.6, 0.0, 0.8), length=3.0, axis=(-90.0, 5.0, 70.0), order="ZXY", dof=("rz", "rx")),
    bone("hand", "lower", direction=(1.0, 0.0, 0.0), length=0.5, dof=()),
]
FRAMES = np.random.default_rng(0).uniform(-80, 80, size=(5, 11))
ASF, AMC = asf_text(ARM), amc_text(ARM, FRAMES)


# ---- kinematics ---------------------------------------------------------------------------------------------------------


def test_a_bone_turns_about_its_own_axes_and_ends_at_its_node(tmp_path):
    recording = read(tmp_path, ASF, AMC)
    check_by_hand(recording, ARM, FRAMES)
    assert (list(recording.names), list(recording.parents)) == (["root", "upper", "lower", "hand"], [-1, 0, 1, 2])
    assert (recording.unit, recording.up_axis, recording.fps, recording.skeleton) == ("inches", "y", 120.0, None)
    np.testing.assert_allclose(recording.rest_pose * 0.45, [[0, 0, 0], [0, 2, 0], [1.8, 2, 2.4], [2.3, 2, 2.4]], atol=1e-9)


@st.composite
def skeletons(draw):
    bones = []
    for number in range(draw(st.integers(1, 5))):
        direction = np.random.default_rng(draw(st.integers(0, 99))).normal(size=3)
        parent = draw(st.sampled_from(["root", *(item["name"] for item in bones)]))
        order = draw(st.sampled_from(ORDERS))
        dof = draw(st.sampled_from(TURNS)) + draw(st.sampled_from([[], ["l"]]))
        axis = draw(st.tuples(*[st.integers(-180, 180).map(float)] * 3))
        length = draw(st.sampled_from([0.0, 0.5, 7.25]))
        bones.append(bone(f"b{number}", parent, direction / np.linalg.norm(direction), length, axis, order.upper(), dof))
    return bones, " ".join(draw(st.permutations(["TX", "ty", "TZ", "RX", "ry", "RZ"])))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(skeleton=skeletons(), seed=st.integers(0, 9))
def test_any_skeleton_moves_as_the_matrices_say(tmp_path, skeleton, seed):
    bones, order = skeleton
    frames = np.random.default_rng(seed).uniform(-180, 180, size=(3, 6 + sum(len(item["dof"]) for item in bones)))
    recording = read(tmp_path, asf_text(bones, order=order), amc_text(bones, frames))
    check_by_hand(recording, bones, frames, order)


def test_radians_are_told_apart_in_each_of_the_files(tmp_path):
    bones = [{**ARM[0], "axis": (0.2, -0.3, 0.4)}]
    frames = FRAMES[:, :9] / 50
    recording = read(tmp_path, asf_text(bones, angle="rad"), amc_text(bones, frames, ":FULLY-SPECIFIED\n:RADIANS\n"))
    check_by_hand(recording, bones, frames, angle=float)
    assert not any("RADIANS" in note for note in recording.notes)
    recording = read(tmp_path, asf_text(bones, angle="rad"), amc_text(bones, frames, ":FULLY-SPECIFIED\n"))
    check_by_hand(recording, bones, frames, angle=float)
    assert any("neither :DEGREES nor :RADIANS; read as radians" in note for note in recording.notes)


def test_degrees_of_the_motion_move_a_skeleton_in_radians(tmp_path):
    bones = [{**item, "axis": np.deg2rad(item["axis"])} for item in ARM]
    check_by_hand(read(tmp_path, asf_text(bones, angle="rad"), AMC), ARM, FRAMES)


@pytest.mark.parametrize(("line", "length"), [("length 1.0", 1.0), ("# none", 1.0)])
def test_the_unit_is_left_open_where_the_lengths_have_no_scale(tmp_path, line, length):
    recording = read(tmp_path, asf_text(ARM, length=line), AMC)
    assert recording.unit is None
    check_by_hand(recording, ARM, FRAMES, length=length)


def test_the_root_is_moved_and_turned_as_the_skeleton_says(tmp_path):
    root = "  position 1 2 3\n  axis ZXY\n  orientation 90 0 0\n"
    still = np.zeros((1, 11))
    recording = read(tmp_path, asf_text(ARM, root=root), amc_text(ARM, still))
    np.testing.assert_allclose(recording.positions[0, :2] * 0.45, [[1, 2, 3], [1, 2, 5]], atol=1e-9)
    assert any("turned by the orientation" in note for note in recording.notes)
    np.testing.assert_allclose(recording.rest_pose, recording.positions[0], atol=1e-9)


# ---- cmu31 --------------------------------------------------------------------------------------------------------------


def cmu_bones():
    rng = np.random.default_rng(3)
    bones = []
    for name, parent in list(zip(CMU31.joint_names, CMU31.parents, strict=True))[1:]:
        direction = rng.normal(size=3)
        dof = () if name.endswith("hipjoint") else ("rx", "ry", "rz")
        bones.append(
            bone(
                name, CMU31.joint_names[parent], direction / np.linalg.norm(direction), axis=rng.normal(size=3) * 50, dof=dof
            )
        )
    return bones


def test_the_bones_of_cmu_become_cmu31_whatever_their_order(tmp_path):
    bones = cmu_bones()
    frames = np.random.default_rng(4).uniform(-90, 90, size=(2, 6 + 28 * 3))
    shuffled = [bones[at] for at in np.random.default_rng(5).permutation(len(bones))]
    recording = read(tmp_path, asf_text(shuffled), amc_text(bones, frames))
    assert recording.skeleton is CMU31
    assert tuple(recording.names) == CMU31.joint_names
    assert tuple(recording.parents) == CMU31.parents
    check_by_hand(recording, bones, frames)


@pytest.mark.parametrize("change", ["parent", "name", "fewer"])
def test_other_bones_are_not_taken_for_cmu31(tmp_path, change):
    bones = cmu_bones()
    at = [item["name"] for item in bones].index("lthumb")
    bones[at] |= {"parent": {"parent": "lhand"}, "name": {"name": "lpinky"}, "fewer": {}}[change]
    if change == "fewer":
        del bones[at]
    frames = np.zeros((1, 6 + sum(len(item["dof"]) for item in bones)))
    recording = read(tmp_path, asf_text(bones), amc_text(bones, frames))
    assert recording.skeleton is None
    assert len(recording.names) == len(recording.parents) == len(bones) + 1


# ---- which skeleton -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        (["07_01.asf", "07.asf", "8.asf"], "07_01.asf"),
        (["07.asf", "08.asf"], "07.asf"),
        (["07.ASF", "08.asf"], "07.ASF"),
        (["skeleton.asf"], "skeleton.asf"),
    ],
)
def test_the_skeleton_is_found_beside_the_motion(tmp_path, others, chosen):
    for name in others:
        (tmp_path / name).write_text(ASF if name == chosen else asf_text(ARM, length="length 9"))
    (tmp_path / "07_01.amc").write_text(AMC)
    recording = read_asf_amc(tmp_path / "07_01.amc", ReadOptions())
    check_by_hand(recording, ARM, FRAMES)
    assert any("the only ASF file of the folder" in note for note in recording.notes) == (chosen == "skeleton.asf")


def test_a_stated_skeleton_goes_before_those_beside_the_motion(tmp_path):
    path = write(tmp_path, asf_text(ARM, length="length 9"), AMC)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text(ASF)
    check_by_hand(read_asf_amc(path, ReadOptions(asf=tmp_path / "elsewhere" / "mine.txt")), ARM, FRAMES)


@pytest.mark.parametrize("others", [[], ["a.asf", "b.asf"]])
def test_a_motion_without_its_skeleton_says_what_was_looked_for(tmp_path, others):
    for name in others:
        (tmp_path / name).write_text(ASF)
    (tmp_path / "07_01.amc").write_text(AMC)
    with pytest.raises(ValueError, match=r"07_01\.amc: .*looked in .* for 07_01\.asf or 07\.asf.*asf=") as info:
        read_asf_amc(tmp_path / "07_01.amc", ReadOptions())
    assert all(name in str(info.value) for name in others)
    with pytest.raises(ValueError, match=r"nowhere\.asf' is no file"):
        read_asf_amc(tmp_path / "07_01.amc", ReadOptions(asf=tmp_path / "nowhere.asf"))


def test_a_skeleton_in_place_of_a_motion_is_refused_with_what_to_pass(tmp_path):
    path = write(tmp_path, ASF, ASF)
    for given_path in (tmp_path / "07.asf", path):
        with pytest.raises(ValueError, match=r"an ASF file.*holds a skeleton.*pass the AMC file"):
            read_asf_amc(given_path, ReadOptions())


# ---- frame rate, notes, spelling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "fps", "expected", "noted"),
    [
        ("", None, 120.0, True),
        ("", 60.0, 60.0, False),
        (":SAMPLES-PER-SECOND 100\n", None, 100.0, False),
    ],
)
def test_the_frame_rate_is_the_files_or_the_callers_or_that_of_cmu(tmp_path, head, fps, expected, noted):
    recording = read(tmp_path, ASF, amc_text(ARM, FRAMES, f":FULLY-SPECIFIED\n:DEGREES\n{head}"), fps=fps)
    assert recording.fps == expected
    assert any("states no frame rate" in note for note in recording.notes) == noted


def test_what_is_mended_or_ignored_is_counted(tmp_path):
    bones = [
        bone("flat", length=0.0),
        bone("long", direction=(0.0, 3.0, 0.0)),
        bone("still", direction=(0.0, 1.0, 0.0)),
    ]
    asf = asf_text(bones, extra=":frobnicate\n  x 1\n").replace("name flat", "name flat\ncolour red")
    frames = np.random.default_rng(1).uniform(-9, 9, (2, 12))
    recording = read(tmp_path, asf, amc_text(bones[:2], frames, ":DEGREES\n:MADE-BY hand\n"))
    notes = "\n".join(recording.notes)
    assert "1 of 3 bones have no length" in notes
    assert "directions of 1 bones are no unit vectors; scaled to length 1" in notes
    assert "1 movable bones have no values and stay as in the rest pose: still" in notes
    assert ":frobnicate" in notes
    assert "colour" in notes
    assert ":MADE-BY" in notes
    bones[1]["direction"] = (0.0, 1.0, 0.0)
    check_by_hand(recording, bones, np.hstack([frames, np.zeros((2, 3))]))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("upper", "Upper").replace("hierarchy", "hierachy").replace("root", "ROOT"),
        lambda text: text.replace("\n", " # remark\n\n"),
    ],
)
def test_spelling_does_not_matter(tmp_path, rewrite):
    check_by_hand(read(tmp_path, rewrite(ASF), rewrite(AMC)), ARM, FRAMES)


def test_bones_may_change_places_from_frame_to_frame(tmp_path):
    lines = AMC.rstrip("\n").split("\n")
    lines[-2:] = lines[:-3:-1]
    check_by_hand(read(tmp_path, ASF, "\n".join(lines)), ARM, FRAMES)


def test_frames_may_be_numbered_from_any_number(tmp_path):
    check_by_hand(read(tmp_path, ASF, amc_text(ARM, FRAMES, first=98)), ARM, FRAMES)


# ---- long files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_bytes", [1, 2000])
def test_chunks_do_not_change_the_result(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(text_frames, "_CHUNK_BYTES", chunk_bytes)
    check_by_hand(read(tmp_path, ASF, AMC), ARM, FRAMES)


def test_a_long_file_needs_little_more_memory_than_its_result(tmp_path, monkeypatch):
    values = "root 0 0 0 0 0 0\nupper -12.3456789012345 2.34567890123456 3.45678901234567\nlower 1.23456789012345 1\n"
    path = write(tmp_path, ASF, ":DEGREES\n" + "".join(f"{number}\n{values}" for number in range(1, 8001)))
    monkeypatch.setattr(text_frames, "_CHUNK_BYTES", 64 * 1024)
    tracemalloc.start()
    try:
        recording = read_asf_amc(path, ReadOptions())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert recording.positions.shape == (8000, 4, 3)
    assert path.stat().st_size > 800_000  # so that the text does not fit in what is left
    assert peak < recording.positions.nbytes + recording.rotations.nbytes + 500_000


def test_results_beyond_the_memory_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(readers_asf, "MAX_KINEMATICS_BYTES", 799)  # 5 frames of 4 nodes of 3 float64 and 4 float32
    with pytest.raises(ValueError, match="5 frames of 4 nodes need 800 bytes; the limit is 799; split the motion"):
        read(tmp_path, ASF, AMC)


# ---- damage -------------------------------------------------------------------------------------------------------------


def edited(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("asf", "message"),
    [
        ("", r"no section :root, :bonedata, :hierarchy, found none"),
        (edited(ASF, ":hierarchy", ":skin"), "no section :hierarchy, found :version"),
        (edited(ASF, ":version", "version"), r"line 2: 'version 1.10' stands before the first section"),
        (edited(ASF, ":documentation", ":units"), "line 8: a second section :units"),
        (edited(ASF, "length 0.45", "length 0"), "line 6: the unit of length is 0"),
        (edited(ASF, "length 0.45", "length"), "line 6: 'length'; expected 1 numbers"),
        (edited(ASF, "angle deg", "angle turns"), "line 7: 'angle turns'; expected 'angle deg' or 'angle rad'"),
        (edited(ASF, "order TX TY TZ RX RY RZ", ""), ":root has no line 'order'"),
        (edited(ASF, "TX TY TZ", "TX TX TZ"), "line 11: .*each once"),
        (edited(ASF, "TX TY TZ", "TX TW TZ"), "line 11: .*expected some of tx ty tz rx ry rz"),
        (edited(ASF, "position 0 0 0", "position 0 0"), "line 13: 'position 0 0'; expected 3 numbers"),
        (edited(ASF, "direction 0.0 1.0", "direction nan 1.0"), r"line 19: 'nan' is no finite number"),
        (edited(ASF, "direction 0.0 1.0 0.0", "direction 0 0 0"), r"line 20: bone 'upper' has length 2 and direction \[0"),
        (edited(ASF, "length 2.0", "length -2.0"), r"bone 'upper' has length -2"),
        (edited(ASF, "length 2.0\n", "\n"), r"line 26: the bone that ends here has no length"),
        (edited(ASF, "  XYZ", "  XYX"), r"line 21: XYX is no order of axes|'XYX' is no order of axes"),
        (edited(ASF, "  XYZ", ""), r"line 21: '' is no order of axes"),
        (edited(ASF, "dof rx", "dof tx"), r"line 22: 'dof tx ry rz'; expected some of rx ry rz l"),
        (edited(ASF, "name lower", "name upper"), "two bones have the name 'upper'"),
        (edited(ASF, "name hand", "name root"), "two bones have the name 'root'"),
        (edited(ASF, "name hand", "name left hand"), "expected 'name' and one word"),
        (ASF[: ASF.index("name hand")] + ":hierarchy\nbegin\nend\n", "its last bone has no 'end': the file is cut off"),
        (edited(ASF, ":bonedata\n  begin", ":bonedata\n"), "stands outside of begin and end"),
        (edited(ASF, "    lower hand", "    lower foot"), r"line \d+: the :hierarchy names foot"),
        (edited(ASF, "    lower hand", "    lower hand upper"), r"line \d+: 'upper' has a second parent, 'lower'"),
        (edited(ASF, "    lower hand", "    lower hand root"), r"'root' has a second parent"),
        (edited(ASF, "    lower hand", ""), "all bones but hand; they hang nowhere"),
        (edited(ASF, "    root upper", "    hand upper"), "all bones but upper, lower, hand; .* in a circle"),
        ("a" * 5000, "line 1: more than 4096 characters"),
    ],
)
def test_damage_of_the_skeleton_is_named_with_both_paths_and_the_line(tmp_path, asf, message):
    with pytest.raises(ValueError, match=message) as info:
        read(tmp_path, asf, AMC)
    assert str(info.value).startswith(f"{tmp_path / '07_01.amc'}: the skeleton {tmp_path / '07.asf'} is not readable")


def test_skeletons_beyond_the_limits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(asf_skeleton, "MAX_BONES", 2)
    with pytest.raises(ValueError, match="2 bones; a person has fewer"):
        read(tmp_path, ASF, AMC)
    monkeypatch.setattr(asf_skeleton, "MAX_ASF_BYTES", 100)
    with pytest.raises(ValueError, match=f"{len(ASF)} bytes; a skeleton has less than 100"):
        read(tmp_path, ASF, AMC)


LAST = AMC.rstrip("\n").rsplit("\n", 1)[0] + "\n"  # without its last bone
NO_NUMBERS = ("nan", "inf", "1e999", "1_0", "0,5", "٣", "x")


def with_line(number, line):
    lines = AMC.split("\n")
    lines[number - 1] = line
    return "\n".join(lines)


HAND = edited(AMC, "upper ", "hand 1.0\nupper ")


@pytest.mark.parametrize(
    ("amc", "message"),
    [
        ("", "no frame"),
        (":FULLY-SPECIFIED\n:DEGREES\n", "no frame"),
        (edited(AMC, "\n1\n", "\n"), r"line 4: 'root .*' stands before the first frame"),
        (edited(AMC, "\n3\n", "\n4\n"), r"line \d+: frame 4 follows frame 2"),
        (edited(AMC, "\n3\n", "\n2\n"), r"line \d+: frame 2 follows frame 2"),
        (edited(AMC, "\n3\n", "\n"), r"line \d+: more bones than in the first frame, which has 3"),
        (LAST, "frame 5 has no values for lower: it is cut off"),
        (AMC.rstrip("\n").rsplit(" ", 1)[0], r"line 23: 'lower' has 1 values; the ASF file gives it 2 degrees of freedom"),
        (edited(AMC, "lower ", "lower 1.0 "), r"line 7: 'lower' has 3 values"),
        (edited(AMC, "lower ", "elbow "), r"line 7: unknown bone 'elbow'; the ASF file has root, upper, lower, hand"),
        (with_line(23, "hand 1.0 2.0"), r"line 23: bone 'hand' is not in the first frame"),
        (with_line(23, "upper 1.0 2.0 3.0"), r"line 22: bone 'upper' is there twice"),
        (edited(AMC, "lower ", "upper "), r"line 7: bone 'upper' is there twice"),
        (HAND, r"line 6: 'hand' has 1 values; the ASF file gives it 0"),
        ("\n".join(line for line in AMC.split("\n") if "lower" not in line), "first frame has no values for lower"),
        ("\n".join(line for line in AMC.split("\n") if "root" not in line and ":FULLY" not in line), "no values for root"),
        (edited(AMC, ":DEGREES", ":DEGREES\n:RADIANS"), "both :DEGREES and :RADIANS"),
        (edited(AMC, ":DEGREES", ":SAMPLES-PER-SECOND 0"), "line 3: 0 samples per second"),
        (edited(AMC, ":DEGREES", ":SAMPLES-PER-SECOND fast"), "line 3: 'fast' is no finite number"),
        (AMC + "upper " + "1" * 5000, "more than 4096 characters"),
        *((with_line(7, f"lower {word} 1.0"), f"line 7: '{word}' is no finite number") for word in NO_NUMBERS),
        (with_line(5, "root 1e308 0 0 0 0 0"), "beyond the range of numbers"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_damage_of_the_motion_is_named_with_the_path_and_the_line(tmp_path, amc, message):
    with pytest.raises(ValueError, match=message) as info:
        read(tmp_path, ASF, amc)
    assert str(info.value).startswith(f"{tmp_path / '07_01.amc'}: the AMC file is not readable")


# ---- fuzz ---------------------------------------------------------------------------------------------------------------

TOKENS = [
    "",
    " ",
    "\n",
    ":",
    "#",
    "-",
    "1e400",
    "nan",
    "\x00",
    "\xff",
    "999999999999999",
    "begin",
    "end",
    "root",
    "upper",
    "dof rx",
]
TOKENS += [":bonedata", ":hierarchy", "limits", "2\n", "axis 1 2 3 ZYX", "(", "length 0"]


@st.composite
def mutated(draw):
    files = [bytearray(ASF.encode()), bytearray(AMC.encode())]
    for _ in range(draw(st.integers(1, 4))):
        content = files[draw(st.integers(0, 1))]
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 3, 10, 300]))
        content[start : start + length] = draw(st.sampled_from(TOKENS)).encode("latin-1") or draw(st.binary(max_size=4))
    return [bytes(content) for content in files]


@settings(max_examples=300, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=mutated())
def test_mutated_files_are_read_in_full_or_refused(tmp_path, files):
    refusal = None
    try:
        recording = read(tmp_path, *files)
        assert recording.positions.shape == (len(recording.positions), len(recording.names), 3)
        assert np.isfinite(recording.positions).all()
        np.testing.assert_allclose(np.linalg.norm(recording.rotations, axis=-1), 1, atol=1e-5)
    except ValueError as error:
        refusal = str(error)
    assert refusal is None or refusal.startswith(str(tmp_path / "07_01.amc"))
