"""`motionpatches inspect`, as a person types it, on files made here."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import both_sides, run_command, swinging_motion
from scipy.spatial.transform import Rotation

import motionpatches
from motionpatches import get_skeleton
from motionpatches.processing.body_points import BODY_POINTS
from motionpatches.processing.motion import Motion
from motionpatches.processing.recording import ReadOptions
from motionpatches.training.inspection import MAX_DRAWN_SECONDS, draw_inspection, inspect_motion


# (name, parent, body point), parents first.
JOINTS = [
    ("Hips", None, "pelvis"),
    ("Spine", "Hips", "spine_low"),
    ("Spine1", "Spine", "chest"),
    ("Neck", "Spine1", "neck"),
    ("Head", "Neck", "head"),
    *both_sides(
        (
            ("Shoulder", "Spine1", "collar"),
            ("Arm", "Shoulder", "shoulder"),
            ("ForeArm", "Arm", "elbow"),
            ("Hand", "ForeArm", "wrist"),
            ("UpLeg", "Hips", "hip"),
            ("Leg", "UpLeg", "knee"),
            ("Foot", "Leg", "ankle"),
            ("ToeBase", "Foot", "toe"),
        ),
        hubs=("Hips", "Spine1"),
    ),
]


def bvh_text(unit=100.0, num_frames=40, turn=None):
    """A T-pose that slides 2 m ahead in all and bends the left knee, in units of which a metre has `unit`."""
    turn = np.eye(3) if turn is None else turn
    places = {name: turn @ np.array(BODY_POINTS[point]) * unit for name, _, point in JOINTS}
    lines, order = ["HIERARCHY"], []

    def block(name, parent):
        order.append(name)
        offset = places[name] - (places[parent] if parent else places[name])
        channels = (
            "3 Zrotation Yrotation Xrotation" if parent else "6 Xposition Yposition Zposition Zrotation Yrotation Xrotation"
        )
        lines.extend([f"{'JOINT' if parent else 'ROOT'} {name}", "{", "OFFSET " + " ".join(map(str, offset))])
        lines.append(f"CHANNELS {channels}")
        children = [child for child, above, _ in JOINTS if above == name]
        for child in children:
            block(child, name)
        if not children:
            lines.extend(["End Site", "{", f"OFFSET 0 0 {unit / 20}", "}"])
        lines.append("}")

    block("Hips", None)
    lines += ["MOTION", f"Frames: {num_frames}", "Frame Time: 0.05"]
    for way in np.linspace(0, 2, num_frames):
        root = places["Hips"] + turn @ np.array([0, 0, way]) * unit
        angles = [f"0 0 {30 * way}" if name == "LeftLeg" else "0 0 0" for name in order]
        lines.append(" ".join(map(str, root)) + " " + " ".join(angles))
    return "\n".join(lines) + "\n"


@pytest.fixture
def bvh_file(tmp_path):
    (tmp_path / "walk.bvh").write_text(bvh_text())
    return tmp_path / "walk.bvh"


def lines_of(result):
    """The rows of the tables, by their first column."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.output.splitlines() if "│" in line]
    return {row[0]: row[1] for row in rows}


def size_of(picture):
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    return struct.unpack(">II", content[16:24])


def test_a_bvh_file_is_explained_and_drawn(bvh_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_command("inspect", bvh_file, "--json", "facts.json")
    assert result.exit_code == 0, result.output
    shown = lines_of(result)
    assert "BVH" in result.output.splitlines()[1]
    assert shown["frames"] == "40, 2.00 s at 20 per second"
    assert shown["skeleton"] == "body21"
    assert shown["unit"] == "centimetres (guessed from the body)"
    assert shown["up axis"].startswith("y ")
    assert shown["distance"].startswith("2.00 m")
    assert shown["left and right"].startswith("confirmed")
    assert shown["rotations"] == "known"
    assert shown["left leg"] == "pelvis, left_hip, left_knee, left_ankle, left_toe"
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert f"{len(facts['warnings'])} warning" in result.output
    for number, warning in enumerate(facts["warnings"], 1):
        assert f"{number}. {warning}" in result.output
    assert any("centimetres" in warning for warning in facts["warnings"])
    leg = np.linalg.norm(np.subtract(BODY_POINTS["left_hip"], BODY_POINTS["left_knee"])) + np.linalg.norm(
        np.subtract(BODY_POINTS["left_knee"], BODY_POINTS["left_ankle"])
    )
    assert facts["leg_length"] == pytest.approx(leg, rel=1e-3)
    assert 1.3 < facts["body_height"] < 1.6  # from the ankles to the middle of the head of somebody of 1.7 m
    assert "motion" not in facts
    assert size_of(tmp_path / "walk_inspect.png")[0] > 800


@pytest.mark.parametrize(
    ("options", "unit", "source"),
    [((), "inches", "guessed"), (("--unit", "inches"), "inches", "stated"), ((), "metres", "guessed")],
)
def test_who_says_the_unit_is_shown(options, unit, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.bvh").write_text(bvh_text(unit={"inches": 1 / 0.0254, "metres": 1}[unit]))
    result = run_command("inspect", "walk.bvh", "--json", "facts.json", *options)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert (facts["unit"], facts["unit_source"]) == (unit, source)
    assert facts["distance"] == pytest.approx(2, rel=1e-3)


def test_a_file_with_z_up_says_so(tmp_path):
    (tmp_path / "walk.bvh").write_text(bvh_text(turn=Rotation.from_euler("x", 90, degrees=True).as_matrix()))
    found = inspect_motion(tmp_path / "walk.bvh")
    assert (found.up_axis, found.up_axis_source) == ("z", "guessed")
    assert found.distance == pytest.approx(2, rel=1e-3)


def test_an_npz_file_has_the_unit_of_its_skeleton(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "swing.npz", joints=swinging_motion("kit21"), skeleton="kit21", fps=12.5)
    result = run_command("inspect", "swing.npz")
    assert result.exit_code == 0, result.output
    shown = lines_of(result)
    assert shown["unit"] == "millimetres (that of the skeleton)"
    assert shown["frames"] == "40, 3.20 s at 12.5 per second"
    assert 0.7 < float(shown["leg length"].removesuffix(" m")) < 0.9
    assert "no warnings" in result.output
    assert (tmp_path / "swing_inspect.png").exists()


def test_sides_that_are_swapped_are_doubted(tmp_path):
    motion = motionpatches.make_motions(1, "smpl22", 0, actions=["squat"])[0]
    joints = np.asarray(motion["joints"], dtype=np.float32).reshape(-1, 22, 3)
    np.savez(tmp_path / "good.npz", joints=joints, skeleton="smpl22", fps=20)
    np.savez(tmp_path / "mirrored.npz", joints=joints * [-1, 1, 1], skeleton="smpl22", fps=20)
    good, bad = inspect_motion(tmp_path / "good.npz"), inspect_motion(tmp_path / "mirrored.npz")
    assert good.sides_verdict.startswith("confirmed")
    assert bad.sides_verdict.startswith("contradicted")
    assert good.sides == pytest.approx(-bad.sides)
    assert not any("left" in warning for warning in good.warnings)
    assert any("names say left" in warning for warning in bad.warnings)


def test_a_bare_array_lists_the_skeletons_that_it_could_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "bare.npy", swinging_motion("smpl22"))
    result = run_command("inspect", "bare.npy")
    assert result.exit_code == 0, result.output
    assert "known skeletons with 22 joints" in result.output
    assert "smpl22" in result.output
    assert "--skeleton NAME" in result.output
    assert "no frame rate" in result.output
    assert not (tmp_path / "bare_inspect.png").exists()
    result = run_command("inspect", "bare.npy", "--skeleton", "smpl22", "--fps", "20")
    assert result.exit_code == 0, result.output
    assert lines_of(result)["skeleton"] == "smpl22"
    assert lines_of(result)["frames"] == "40, 2.00 s at 20 per second"
    assert (tmp_path / "bare_inspect.png").exists()
    np.save(tmp_path / "odd.npy", np.zeros((4, 7, 3)))
    assert "no known skeleton has 7 joints" in run_command("inspect", "odd.npy").output


def test_unit_and_axis_of_a_bare_array_are_those_that_are_stated(tmp_path):
    metres = swinging_motion("smpl22")
    np.save(tmp_path / "bare.npy", metres[..., [0, 2, 1]] * [1000, -1000, 1000])  # millimetres, z up
    skeleton = get_skeleton("smpl22")
    found = inspect_motion(tmp_path / "bare.npy", ReadOptions(skeleton=skeleton, fps=20.0, unit="millimetres", up_axis="z"))
    legs = np.linalg.norm(metres[:, [1, 4, 2, 5]] - metres[:, [4, 7, 5, 8]], axis=-1)
    assert found.leg_length == pytest.approx(np.median(legs, axis=0).sum() / 2, rel=0.02)
    assert found.distance == pytest.approx(np.linalg.norm(np.diff(metres[:, 0][:, [0, 2]], axis=0), axis=1).sum(), rel=1e-6)
    wrong = inspect_motion(tmp_path / "bare.npy", ReadOptions(skeleton=skeleton, fps=20.0))
    assert any("millimetres" in warning for warning in wrong.warnings)


def test_every_option_reaches_the_reader(monkeypatch):
    seen = []

    def stop(path, options):
        seen.append(options)
        raise ValueError("far enough")

    monkeypatch.setattr("motionpatches.training.inspection.inspect_motion", stop)
    result = run_command(
        "inspect", "a.amc", "--skeleton", "smpl22", "--fps", 25, "--unit", "inches", "--up-axis", "-z", "--person", "Ann",
        "--body-model", "b.npz", "--asf", "c.asf",
    )  # fmt: skip
    assert "far enough" in result.output
    stated = {"fps": 25.0, "unit": "inches", "up_axis": "-z", "person": "Ann", "body_model": Path("b.npz")}
    assert seen == [ReadOptions(skeleton=get_skeleton("smpl22"), asf=Path("c.asf"), **stated)]


def test_missing_joints_are_counted_and_nothing_is_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joints = swinging_motion("smpl22")
    joints[3:5, 7] = np.nan
    np.savez(tmp_path / "gap.npz", joints=joints, skeleton="smpl22", fps=20)
    result = run_command("inspect", "gap.npz", "--json", "facts.json")
    assert result.exit_code == 0, result.output
    assert "2 of 880 joint positions are NaN or infinite, in 2 frames, first joint 7 in frame 3" in result.output
    assert "not drawn: some positions are NaN" in result.output
    assert json.loads((tmp_path / "facts.json").read_text())["leg_length"] > 0.5
    joints[:] = np.inf
    np.savez(tmp_path / "gap.npz", joints=joints, skeleton="smpl22", fps=20)
    assert run_command("inspect", "gap.npz").exit_code == 0
    np.savez(tmp_path / "still.npz", joints=swinging_motion("smpl22")[:1], skeleton="smpl22", fps=20)
    assert "not drawn: one frame is no motion" in run_command("inspect", "still.npz").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.bvh",), "no motion file at none.bvh"),
        (("notes.txt",), "no known motion file"),
        (("walk.bvh", "--skeleton", "nobody"), "unknown skeleton 'nobody'"),
        (("bare.npy", "--skeleton", "kit21"), "skeleton 'kit21' has 21 joints"),
        (("walk.bvh", "--unit", "feet"), "feet"),
        (("walk.bvh", "--output", "walk.pdf"), "end its name in .png"),
        (("walk.bvh", "--json", "walk.bvh"), "is read, so it is not written"),
        (("walk.bvh", "--asf", "body.png", "--output", "body.png"), "is read, so it is not written"),
        (("walk.bvh", "--output", "both.png", "--json", "both.png"), "cannot be both"),
        (("walk.bvh", "--output", "folder.png"), "is a folder"),
    ],
)
def test_mistakes_end_in_one_line_and_overwrite_nothing(arguments, message, bvh_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "bare.npy", swinging_motion("smpl22"))
    (tmp_path / "notes.txt").write_text("no motion")
    (tmp_path / "body.png").write_text("skeleton")
    (tmp_path / "folder.png").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    result = run_command("inspect", *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_former_picture_is_replaced(bvh_file, tmp_path):
    picture = tmp_path / "mine.png"
    picture.write_bytes(b"old")
    assert run_command("inspect", bvh_file, "--output", picture).exit_code == 0
    assert size_of(picture)[0] > 800


def test_brackets_in_names_are_shown_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[red]walk.bvh").write_text(bvh_text())
    result = run_command("inspect", "[red]walk.bvh")
    assert result.exit_code == 0, result.output
    assert "[red]walk.bvh: BVH" in result.output
    assert "drawn in [red]walk_inspect.png" in result.output


def test_the_picture_shows_poses_above_and_patches_below(tmp_path):
    np.savez(tmp_path / "swing.npz", joints=swinging_motion("smpl22", 70), skeleton="smpl22", fps=30)
    figure = draw_inspection(inspect_motion(tmp_path / "swing.npz"))
    poses, patches = figure.axes
    assert [label.get_text() for label in poses.get_xticklabels()][::7] == ["frame 0", "69"]
    assert [label.get_text() for label in patches.get_xticklabels()] == [
        "right\nleg", "left\nleg", "torso", "right\narm", "left\narm",
    ]  # fmt: skip
    assert patches.images[0].get_array().shape[0] == 48  # 70 frames at 30 are 47 at 20, in windows of 16
    assert poses.get_position().y0 >= patches.get_position().y1
    assert figure.get_suptitle() == "swing.npz: smpl22, 70 frames, 2.3 s"


def test_of_a_long_motion_the_first_part_is_drawn_and_the_picture_says_so(tmp_path):
    joints = np.tile(swinging_motion("smpl22", 40), (60, 1, 1))
    found = inspect_motion_of(joints, 20.0, tmp_path)
    patches = draw_inspection(found).axes[1]
    assert patches.images[0].get_array().shape[0] <= 20 * MAX_DRAWN_SECONDS + 32
    assert "the first 48 s of 120 s" in patches.get_xlabel()


def inspect_motion_of(joints, fps, folder):
    np.savez(folder / "made.npz", joints=joints.astype(np.float32), skeleton="smpl22", fps=fps)
    found = inspect_motion(folder / "made.npz")
    assert isinstance(found.motion, Motion)
    return found
