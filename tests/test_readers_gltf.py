"""glTF files, written here byte by byte, against joints computed here with 4×4 matrices."""

import base64
import json
import struct
import warnings

import numpy as np
import pygltflib
import pytest
from conftest import both_sides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from motionpatches.processing import gltf_document, readers_gltf
from motionpatches.processing.body_points import BODY_POINTS
from motionpatches.processing.readers import read_motion
from motionpatches.processing.readers_gltf import read_gltf
from motionpatches.processing.recording import ReadOptions


# (name, parent, body point), parents first.
BODY = [
    ("Hips", None, "pelvis"),
    ("Spine", "Hips", "spine_mid"),
    ("Neck", "Spine", "neck"),
    ("Head", "Neck", "head"),
    *both_sides(
        (
            ("Arm", "Spine", "shoulder"),
            ("ForeArm", "Arm", "elbow"),
            ("Hand", "ForeArm", "wrist"),
            ("UpLeg", "Hips", "hip"),
            ("Leg", "UpLeg", "knee"),
            ("Foot", "Leg", "ankle"),
        ),
        hubs=("Hips", "Spine"),
    ),
]
TURN = Rotation.from_euler("x", -90, degrees=True)  # z up → y up
FRAMES = np.arange(31) / 30
IDENTITY = np.eye(3)
COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


class Scene:
    """A glTF document that grows."""

    def __init__(self):
        self.blob = bytearray()
        self.json = {"asset": {"version": "2.0"}, "nodes": [], "accessors": [], "bufferViews": []}

    def node(self, name=None, parent=None, **properties):
        self.json["nodes"].append(({} if name is None else {"name": name}) | properties)
        index = len(self.json["nodes"]) - 1
        if parent is not None:
            self.json["nodes"][parent].setdefault("children", []).append(index)
        return index

    def view(self, content, **properties):
        self.blob += b"\0" * (-len(self.blob) % 4)
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(content)} | properties
        self.json["bufferViews"].append(view)
        self.blob += content
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values, dtype="f4", **properties):
        values = np.asarray(values)
        values = values.reshape(len(values), -1)
        content = values.astype(f"<{dtype}").tobytes()
        accessor = {"componentType": COMPONENTS[dtype], "count": len(values), "type": KINDS[values.shape[1]]}
        if "bufferView" not in properties and "sparse" not in properties:
            accessor["bufferView"] = self.view(content)
        self.json["accessors"].append(accessor | properties)
        return len(self.json["accessors"]) - 1

    def animate(self, node, path, times, values, interpolation=None, animation=0, output=None):
        animations = self.json.setdefault("animations", [])
        while len(animations) <= animation:
            animations.append({"name": f"take{len(animations)}", "channels": [], "samplers": []})
        sampler = {"input": self.accessor(times), "output": self.accessor(values) if output is None else output}
        if interpolation:
            sampler["interpolation"] = interpolation
        animations[animation]["samplers"].append(sampler)
        target = {"path": path} | ({} if node is None else {"node": node})
        animations[animation]["channels"].append({"sampler": len(animations[animation]["samplers"]) - 1, "target": target})

    def person(self, parent=None, prefix="", skin=True, turned=IDENTITY):
        """The nodes of BODY in a T-pose, by name, and a skin of them."""
        nodes = {}
        for name, above, point in BODY:
            offset = np.array(BODY_POINTS[point])
            if above is not None:
                offset = offset - BODY_POINTS[next(p for n, _, p in BODY if n == above)]
            nodes[name] = self.node(
                prefix + name, parent if above is None else nodes[above], translation=(turned @ offset).tolist()
            )
        if skin:
            self.json.setdefault("skins", []).append({"joints": list(nodes.values()), "name": f"{prefix}Armature"})
        return nodes

    def glb(self):
        if self.blob:
            self.json["buffers"] = [{"byteLength": len(self.blob)}]
        return glb_of(json.dumps(self.json).encode(), bytes(self.blob))

    def gltf(self, uri):
        self.json["buffers"] = [{"byteLength": len(self.blob), "uri": uri}]
        return json.dumps(self.json).encode()


def glb_of(text, blob=b""):
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if blob:
        chunks += struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def read(content, tmp_path, name="motion.glb", **options):
    (tmp_path / name).write_bytes(content)
    return read_gltf(tmp_path / name, ReadOptions(**options))


def affine(translation=(0, 0, 0), rotation=(0, 0, 0, 1), scale=(1, 1, 1), matrix=None):
    if matrix is not None:
        return np.reshape(matrix, (4, 4), order="F")
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat(rotation).as_matrix() @ np.diag(scale)
    result[:3, 3] = translation
    return result


def worlds(scene, moved=None):
    """World matrix of each node; `moved` replaces properties of nodes."""
    nodes = scene.json["nodes"]
    parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}

    def world(index):
        keys = ("translation", "rotation", "scale", "matrix")
        local = affine(**({k: nodes[index][k] for k in keys if k in nodes[index]} | (moved or {}).get(index, {})))
        return world(parent[index]) @ local if index in parent else local

    return np.stack([world(index) for index in range(len(nodes))])


def walking_person():
    """A skinned person in centimetres, z up, under an armature that mends both; who walks and bends the left knee."""
    scene = Scene()
    armature = scene.node("Armature", scale=[0.01] * 3, rotation=TURN.as_quat().tolist(), translation=[1.0, 0.0, 2.0])
    nodes = scene.person(armature, turned=100 * TURN.inv().as_matrix())
    way = np.stack([FRAMES, -80 * FRAMES, 90 + np.sin(FRAMES)], axis=1)
    bend = Rotation.from_euler("x", 60 * FRAMES[:, None], degrees=True).as_quat()
    scene.animate(nodes["Hips"], "translation", FRAMES, way)
    scene.animate(nodes["LeftLeg"], "rotation", FRAMES, bend)
    return scene, nodes, way, bend


def single(times, values, path="translation", interpolation=None, rest=None):
    """One moved node and one below it, a metre along x."""
    scene = Scene()
    top = scene.node("Hips", **({} if rest is None else rest))
    scene.node("Tip", top, translation=[1, 0, 0])
    scene.animate(top, path, times, values, interpolation)
    return scene


# ---- what is read -------------------------------------------------------------------------------------------------------


def test_joints_lie_where_the_matrices_of_their_nodes_put_them(tmp_path):
    scene, nodes, way, bend = walking_person()
    recording = read(scene.glb(), tmp_path)
    moves = [{nodes["Hips"]: {"translation": w}, nodes["LeftLeg"]: {"rotation": b}} for w, b in zip(way, bend, strict=True)]
    expected = np.stack([worlds(scene, moved) for moved in moves])
    assert sorted(recording.names) == sorted(name for name, _, _ in BODY)
    order = [nodes[name] for name in recording.names]
    np.testing.assert_allclose(recording.positions, expected[:, order][..., :3, 3], atol=1e-5)
    turned = Rotation.from_matrix(expected[:, order][..., :3, :3].reshape(-1, 3, 3) / 0.01)
    assert (turned.inv() * Rotation.from_quat(recording.rotations.reshape(-1, 4))).magnitude().max() < 1e-5
    np.testing.assert_allclose(recording.rest_pose, worlds(scene)[order][:, :3, 3], atol=1e-7)
    for joint, (name, parent) in enumerate(zip(recording.names, recording.parents, strict=True)):
        assert {n: p for n, p, _ in BODY}[name] == (recording.names[parent] if parent >= 0 else None)
        assert parent < joint
    assert (recording.fps, recording.unit, recording.up_axis, recording.notes) == (30, "metres", "y", [])
    assert recording.positions.dtype == recording.rotations.dtype == np.float32


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(1, 4))
def test_any_tree_of_any_scales_moves_as_its_matrices_say(tmp_path, seed, num_nodes, num_frames):
    rng = np.random.default_rng(seed)

    def pose():
        return {
            "translation": rng.normal(size=3),
            "rotation": Rotation.random(rng=rng).as_quat(),
            "scale": rng.uniform(0.2, 2, 3),
        }

    scene, moved = Scene(), [pose() for _ in range(num_frames)]
    for index in range(num_nodes):
        properties = {key: value.tolist() for key, value in pose().items()}
        if index == 1:
            properties = {"matrix": affine(**properties).flatten("F").tolist()}
        scene.node(f"n{index}", int(rng.integers(index)) if index else None, **properties)
    for path in ("translation", "rotation", "scale"):
        scene.animate(0, path, np.arange(num_frames) / 25, [pose[path] for pose in moved])
    recording = read(scene.glb(), tmp_path)
    order = [int(name[1:]) for name in recording.names]
    expected = np.stack([worlds(scene, {0: pose}) for pose in moved])[:, order][..., :3, 3]
    np.testing.assert_allclose(recording.positions, expected, atol=2e-5 * 2**num_nodes)
    assert sorted(order) == list(range(num_nodes))


def test_half_way_between_two_keys_a_rotation_is_half_way_on_the_sphere(tmp_path):
    turns = Rotation.from_euler("z", [[0], [170]], degrees=True).as_quat()
    for sign in (1, -1):  # q and -q are one rotation, and the shorter way is taken
        recording = read(single([0, 1], [turns[0], sign * turns[1]], "rotation").glb(), tmp_path, fps=8)
        angles = np.radians(170 * np.arange(9) / 8)
        np.testing.assert_allclose(recording.positions[:, 1, :2], np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)


def test_a_translation_goes_straight_from_key_to_key_and_holds_outside(tmp_path):
    scene = single([0.5, 1.0, 1.5], [[0, 0, 0], [2, 4, 0], [2, 0, 8]])
    scene.animate(0, "rotation", [0, 2], [[0, 0, 0, 1]] * 2)
    recording = read(scene.glb(), tmp_path, fps=4)
    expected = [[0, 0, 0]] * 3 + [[1, 2, 0], [2, 4, 0], [2, 2, 4], [2, 0, 8]] + [[2, 0, 8]] * 2
    np.testing.assert_allclose(recording.positions[:, 0], expected, atol=1e-6)


def test_a_step_counts_from_the_frame_of_its_key(tmp_path):
    times = np.arange(3000, dtype=np.float32) / np.float32(29.97) + np.float32(12.345)  # rounded, unlike the frames' times
    values = np.stack([np.arange(3000), np.zeros(3000), np.zeros(3000)], axis=1)
    recording = read(single(times, values, interpolation="STEP").glb(), tmp_path)
    assert recording.fps == pytest.approx(29.97, rel=1e-5)
    np.testing.assert_array_equal(recording.positions[:, 0, 0], np.arange(3000))
    between = read(single([0, 1], [[0, 0, 0], [1, 0, 0]], interpolation="STEP").glb(), tmp_path, fps=4)
    np.testing.assert_array_equal(between.positions[:, 0, 0], [0, 0, 0, 0, 1])


def test_cubic_splines_follow_their_tangents(tmp_path):
    rng = np.random.default_rng(0)
    times = np.array([0.0, 0.5, 0.75, 2.0])
    values, tangents = rng.normal(size=(2, 4, 3))
    triples = np.stack([tangents, values, tangents], axis=1).reshape(-1, 3)
    recording = read(single(times, triples, interpolation="CUBICSPLINE").glb(), tmp_path, fps=16)
    expected = CubicHermiteSpline(times, values, tangents)(np.arange(33) / 16)
    np.testing.assert_allclose(recording.positions[:, 0], expected, atol=1e-5)


def test_a_cubic_spline_leaves_a_key_by_its_out_tangent(tmp_path):
    triples = [[9, 9, 9], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [9, 9, 9]]  # in, value, out, twice
    recording = read(single([0, 1], triples, interpolation="CUBICSPLINE").glb(), tmp_path, fps=2)
    np.testing.assert_allclose(recording.positions[1, 0], [1 / 8, -1 / 8, 0], atol=1e-6)  # t³-2t²+t and t³-t² at 1/2


def test_a_cubic_spline_of_rotations_keeps_bones_as_long_as_they_are(tmp_path):
    turns = Rotation.from_euler("z", [[0], [100]], degrees=True).as_quat()
    triples = [np.zeros(4), turns[0], np.zeros(4), np.zeros(4), turns[1], np.zeros(4)]
    recording = read(single([0, 1], triples, "rotation", "CUBICSPLINE").glb(), tmp_path, fps=10)
    np.testing.assert_allclose(np.linalg.norm(recording.positions[:, 1], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(recording.positions[5, 1], [np.cos(np.radians(50)), np.sin(np.radians(50)), 0], atol=1e-6)


def interleaved(scene, times, values):
    rows = np.concatenate([values, np.full((len(values), 2), 77.0)], axis=1).astype("<f4")
    view = scene.view(b"\1\2\3\4" + rows.tobytes(), byteStride=rows.strides[0])
    return scene.accessor(values, bufferView=view, byteOffset=4)


def sparse(scene, times, values):
    wrong = values.copy()
    wrong[[2, 5]] = 7
    replaced = {
        "count": 2,
        "indices": {"bufferView": scene.view(np.array([2, 5], "<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": scene.view(values[[2, 5]].astype("<f4").tobytes())},
    }
    return scene.accessor(values, bufferView=scene.view(wrong.astype("<f4").tobytes()), sparse=replaced)


def sparse_alone(scene, times, values):
    replaced = {
        "count": len(values),
        "indices": {"bufferView": scene.view(np.arange(len(values), dtype="u1").tobytes()), "componentType": 5121},
        "values": {"bufferView": scene.view(b"----" + values.astype("<f4").tobytes()), "byteOffset": 4},
    }
    return scene.accessor(values, sparse=replaced)


def shorts(scene, times, values):
    return scene.accessor(np.round(values * 32767), "i2", normalized=True)


def signed_bytes(scene, times, values):
    return scene.accessor(np.where(values <= -1, -128, np.round(values * 127)), "i1", normalized=True)


@pytest.mark.parametrize("layout", [interleaved, sparse, sparse_alone, shorts, signed_bytes])
def test_numbers_are_found_in_whatever_layout_they_lie(layout, tmp_path):
    way = np.sin(np.outer(FRAMES, [7, 9, 11]))
    way[3] = -1
    plain = read(single(FRAMES, way).glb(), tmp_path)
    scene = single(FRAMES, way)
    scene.json["animations"][0]["samplers"][0]["output"] = layout(scene, FRAMES, way)
    atol = {shorts: 2e-5, signed_bytes: 0.004}.get(layout, 1e-6)  # half a step of the integers
    np.testing.assert_allclose(read(scene.glb(), tmp_path).positions, plain.positions, atol=atol)


def test_gltf_text_takes_its_buffer_from_base64_or_from_a_file_beside_it(tmp_path):
    scene, *_ = walking_person()
    whole = read(scene.glb(), tmp_path)
    inside = scene.gltf("data:application/octet-stream;base64," + base64.b64encode(scene.blob).decode())
    (tmp_path / "my data.bin").write_bytes(scene.blob)
    for content in (inside, scene.gltf("my%20data.bin"), b"\xef\xbb\xbf" + scene.gltf("./my%20data.bin")):
        recording = read(content, tmp_path, "motion.gltf")
        np.testing.assert_array_equal(recording.positions, whole.positions)


def test_a_file_that_pygltflib_writes_is_read(tmp_path):
    scene, *_ = walking_person()
    plain = read(scene.glb(), tmp_path)
    written = pygltflib.GLTF2.load(tmp_path / "motion.glb")
    written.materials = [pygltflib.Material()]
    written.meshes = [pygltflib.Mesh(primitives=[pygltflib.Primitive(attributes=pygltflib.Attributes(POSITION=0))])]
    written.save(tmp_path / "again.glb")
    again = read_gltf(tmp_path / "again.glb", ReadOptions())
    np.testing.assert_array_equal(again.positions, plain.positions)


def test_chunks_of_frames_join_without_a_seam(tmp_path, monkeypatch):
    scene, nodes, *_ = walking_person()
    triples = np.random.default_rng(1).normal(size=(9, 3))
    scene.animate(nodes["Spine"], "scale", [0.1, 0.5, 0.9], triples, "CUBICSPLINE")
    scene.animate(nodes["Neck"], "translation", [0.3, 0.61], [[1, 2, 3], [3, 2, 1]], "STEP")
    whole = read(scene.glb(), tmp_path)
    monkeypatch.setattr(readers_gltf, "_CHUNK", 4 * 20)
    np.testing.assert_allclose(read(scene.glb(), tmp_path).positions, whole.positions, atol=1e-6)


def test_a_mirrored_character_has_positions_but_no_rotations(tmp_path):
    scene = single(FRAMES, np.outer(FRAMES, [1, 0, 0]), rest={"scale": [-1, 1, 1]})
    recording = read(scene.glb(), tmp_path)
    np.testing.assert_allclose(recording.positions[-1], [[1, 0, 0], [0, 0, 0]], atol=1e-6)
    assert recording.rotations is None
    assert "mirrored" in recording.notes[0]


@pytest.mark.parametrize("form", ["glb", "gltf"])
def test_read_motion_understands_the_joints_of_a_person(form, tmp_path):
    scene, nodes, way, bend = walking_person()
    content = scene.glb() if form == "glb" else scene.gltf("data:;base64," + base64.b64encode(scene.blob).decode())
    (tmp_path / f"walk.{form}").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        motion = read_motion(tmp_path / f"walk.{form}")
    expected = worlds(scene, {nodes["Hips"]: {"translation": way[-1]}, nodes["LeftLeg"]: {"rotation": bend[-1]}})
    for point, name in (("left_ankle", "LeftFoot"), ("right_wrist", "RightHand"), ("pelvis", "Hips")):
        joint = motion.skeleton.landmarks[point]
        np.testing.assert_allclose(motion.joints[-1, joint], expected[nodes[name], :3, 3], atol=1e-5)
        assert motion.joints[-1, joint, 1] == pytest.approx(BODY_POINTS[point][1], abs=0.3)
    assert motion.rotations.shape == (31, motion.skeleton.num_joints, 4)


# ---- frame rate ---------------------------------------------------------------------------------------------------------


def frames_of(times, tmp_path, **options):
    return read(single(times, np.outer(times, [1, 2, 3])).glb(), tmp_path, **options)


@pytest.mark.parametrize("rate", [24, 30, 60, 120, 30000 / 1001])
def test_the_rate_is_that_of_the_key_times(rate, tmp_path):
    times = np.arange(400) / rate
    for kept in (times, np.delete(times, [3, 4, 77, 78, 79])):  # exporters drop keys that change nothing
        recording = frames_of(kept, tmp_path)
        assert recording.fps == pytest.approx(rate, rel=1e-6)
        assert len(recording.positions) == 400
        assert recording.notes == []
        np.testing.assert_allclose(recording.positions[:, 0, 1], 2 * times, atol=1e-4)


def test_the_rate_survives_key_times_that_float32_has_rounded_coarsely(tmp_path):
    recording = frames_of(2500 + np.arange(5000) / 120, tmp_path)
    assert (recording.fps, len(recording.positions)) == (120, 5000)


@pytest.mark.parametrize("times", [[0, 0.5, 1], [0, 0.03, 0.1, 0.15, 0.29, 0.4, 1]])
def test_poses_set_by_hand_show_no_rate_and_are_sampled_at_30(times, tmp_path):
    recording = frames_of(np.array(times), tmp_path)
    assert (recording.fps, len(recording.positions)) == (30, 31)
    assert "30 frames per second" in recording.notes[0]


def test_a_rate_that_the_caller_gives_is_kept(tmp_path):
    recording = frames_of(np.arange(61) / 60, tmp_path, fps=20)
    assert (recording.fps, len(recording.positions)) == (20, 21)
    np.testing.assert_allclose(recording.positions[:, 0, 0], np.arange(21) / 20, atol=1e-6)
    with pytest.raises(ValueError, match=r"motion\.glb: fps is -1"):
        frames_of(FRAMES, tmp_path, fps=-1)


def test_a_single_pose_is_one_frame(tmp_path):
    recording = read(single([0.0], [[1, 2, 3]]).glb(), tmp_path)
    np.testing.assert_array_equal(recording.positions, [[[1, 2, 3], [2, 2, 3]]])
    assert recording.fps is None


# ---- who moves ----------------------------------------------------------------------------------------------------------


def two_people(both_move=True):
    scene = Scene()
    people = []
    for number, prefix in enumerate(("A:", "B:")):
        nodes = scene.person(scene.node(f"place{number}", translation=[5.0 * number, 0, 0]), prefix)
        people.append(nodes)
        if both_move or number == 1:
            scene.animate(nodes["Hips"], "translation", FRAMES, np.outer(FRAMES, [0, 0, 1]))
    return scene


def test_of_several_characters_one_is_chosen(tmp_path):
    content = two_people().glb()
    with pytest.raises(ValueError, match=r"several characters \(0: A:Armature / A:Hips, 1: B:Armature / B:Hips\)"):
        read(content, tmp_path)
    for person, x in (("A:Armature", 0), ("B:Hips", 5), (0, 0), ("1", 5)):
        recording = read(content, tmp_path, person=person)
        assert recording.positions[0, 0, 0] == x
        assert recording.names[0] == ("B:Hips" if x else "A:Hips")
        assert "ignored 1 animation channel(s) of nodes" in " ".join(recording.notes)
    for person in ("C", 2, -1, "7"):
        with pytest.raises(ValueError, match="is not one of its characters"):
            read(content, tmp_path, person=person)


def test_the_only_character_that_moves_is_taken(tmp_path):
    recording = read(two_people(both_move=False).glb(), tmp_path)
    assert recording.names[0] == "B:Hips"
    assert "the only one of 2 characters that moves" in recording.notes[0]


def test_skins_of_one_body_are_one_character(tmp_path):
    scene, nodes, *_ = walking_person()
    hair = scene.node("Hair", nodes["Head"], translation=[0, 0.1, 0])
    body = scene.json["skins"][0]
    body["joints"].remove(nodes["LeftArm"])  # carries no vertices, but an elbow
    scene.json["skins"] += [
        {"name": "shirt", "joints": [nodes["Spine"], nodes["LeftArm"]]},
        {"name": "hair", "joints": [hair]},
    ]
    recording = read(scene.glb(), tmp_path)
    assert sorted(recording.names) == sorted([*nodes, "Hair"])
    assert recording.notes == []


def test_a_node_between_joints_is_a_joint(tmp_path):
    scene, nodes, *_ = walking_person()
    scene.json["skins"][0]["joints"] = [node for name, node in nodes.items() if name not in ("Hips", "LeftLeg")]
    recording = read(scene.glb(), tmp_path)
    assert sorted(recording.names) == sorted(nodes)
    assert recording.parents.count(-1) == 1


def test_a_prop_with_a_skin_is_left_out(tmp_path):
    scene, *_ = walking_person()
    sword = scene.node("Sword")
    scene.json["skins"].append({"name": "sword", "joints": [sword]})
    scene.animate(sword, "translation", FRAMES, np.outer(FRAMES, [1, 1, 1]))
    recording = read(scene.glb(), tmp_path)
    assert "Sword" not in recording.names
    assert "left out 1 thing(s) of too few joints for a person: Sword / sword" in recording.notes


def test_without_a_skin_the_moved_nodes_and_those_below_are_joints(tmp_path):
    scene = Scene()
    armature = scene.node("Armature", scale=[0.01] * 3)
    nodes = scene.person(armature, skin=False)
    scene.node(None, nodes["LeftFoot"], translation=[0, 0, 10])
    camera = scene.node("Camera", camera=0)
    prop = scene.node("Ball")
    for node in (nodes["Hips"], camera, prop):
        scene.animate(node, "translation", FRAMES, np.outer(FRAMES, [1, 1, 1]))
    recording = read(scene.glb(), tmp_path)
    assert sorted(recording.names) == sorted([*nodes, ""])
    assert "left out 1 thing(s) of too few joints for a person: Ball" in recording.notes


def test_without_a_skin_limbs_that_move_alone_still_make_one_body(tmp_path):
    scene = Scene()
    nodes = scene.person(skin=False)
    for name in ("LeftArm", "RightArm", "LeftUpLeg", "RightUpLeg", "Neck"):
        scene.animate(nodes[name], "rotation", FRAMES, np.tile([0, 0, 0, 1], (31, 1)))
    assert sorted(read(scene.glb(), tmp_path).names) == sorted(nodes)


def test_of_several_animations_the_one_that_is_no_pose_is_taken(tmp_path):
    scene, nodes, way, _ = walking_person()
    plain = read(scene.glb(), tmp_path)
    scene.animate(nodes["Hips"], "translation", [0], [[9, 9, 9]], animation=1)
    scene.json["animations"].append({"name": "empty", "channels": [], "samplers": []})
    recording = read(scene.glb(), tmp_path)
    np.testing.assert_array_equal(recording.positions, plain.positions)
    assert recording.notes == ["took the animation take0; passed over 1 of a single pose: take1"]
    scene.animate(nodes["Hips"], "translation", FRAMES, way, animation=1)
    with pytest.raises(ValueError, match="twice"):
        read(scene.glb(), tmp_path)
    scene.json["animations"][1]["channels"].pop(0)
    with pytest.raises(ValueError, match=r"2 animations of Armature / Hips \(take0, take1\); expected one: export"):
        read(scene.glb(), tmp_path)


def test_morph_targets_are_counted_and_alone_are_no_motion(tmp_path):
    scene, nodes, *_ = walking_person()
    scene.animate(nodes["Head"], "weights", FRAMES, FRAMES)
    scene.animate(None, "pointer", FRAMES, FRAMES)
    notes = read(scene.glb(), tmp_path).notes
    assert len(notes) == 2
    assert all(note.startswith("ignored 1 animation channel(s)") for note in notes)
    scene.json["animations"][0]["channels"] = scene.json["animations"][0]["channels"][2:3]
    with pytest.raises(ValueError, match="only animations of morph targets"):
        read(scene.glb(), tmp_path)


# ---- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/a.bin", "file:///etc/passwd", "/etc/passwd", "../a.bin", "x/../../a.bin", "%2e%2e/a.bin",
        "..\\a.bin", "C:\\a.bin", "%2Fetc%2Fpasswd", "\\\\host\\a.bin",
    ],
)  # fmt: skip
def test_data_outside_of_the_folder_is_never_opened(uri, tmp_path):
    scene, *_ = walking_person()
    (tmp_path / "a.bin").write_bytes(scene.blob)
    (tmp_path / "in" / "x").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"motion\.gltf: it takes data from .* only files in its own folder"):
        read(scene.gltf(uri), tmp_path / "in", "motion.gltf")


def altered(path, value):
    def alter(scene):
        at = scene.json
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return alter


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (altered(["accessors", 0, "count"], 10**12), "declares 1000000000000 values of 4 bytes"),
        (altered(["accessors", 1, "count"], 10**12), "its key times and interpolation need 31"),
        (altered(["accessors", 0, "count"], -1), "where a whole number belongs"),
        (altered(["accessors", 0, "type"], "VEC3"), "animation needs SCALAR"),
        (altered(["accessors", 1, "componentType"], 5130), "component type 5130"),
        (altered(["bufferViews", 0, "byteLength"], 10**9), "cut off or damaged"),
        (altered(["bufferViews", 0, "byteStride"], 1), "cut off or damaged"),
        (altered(["bufferViews", 0, "buffer"], 3), "refers to buffer 3, but has 1"),
        (altered(["bufferViews", 0, "extensions"], {"EXT_meshopt_compression": {}}), "compressed with meshopt"),
        (altered(["accessors", 0, "bufferView"], None), "without data"),
        (altered(["accessors", 0, "bufferView"], 99), "refers to bufferView 99"),
        (altered(["animations", 0, "samplers", 0, "input"], 99), "refers to accessor 99"),
        (altered(["animations", 0, "samplers", 0, "interpolation"], "SPLINE"), "known: LINEAR, STEP, CUBICSPLINE"),
        (altered(["animations", 0, "samplers", 0, "interpolation"], "CUBICSPLINE"), "holds 31 values; .* need 93"),
        (altered(["animations", 0, "channels", 0, "target", "node"], 99), "refers to node 99"),
        (altered(["animations", 0, "channels", 0, "sampler"], 99), "refers to sampler 99"),
        (altered(["animations"], []), "no animation of nodes"),
        (altered(["nodes"], []), "no nodes"),
        (altered(["nodes", 5, "children"], [1]), "two parents"),
        (altered(["nodes", 5, "children"], [0]), "below itself"),
        (altered(["nodes", 1, "rotation"], [0, 0, 0, 0]), "which is none"),
        (altered(["nodes", 1, "translation"], [0, 0]), r"translation of node 1 is .*, not 3 finite"),
        (altered(["nodes", 1, "scale"], [1, 1, float("nan")]), "not 3 finite numbers"),
        (altered(["nodes", 1, "matrix"], np.eye(4).ravel().tolist()), "the node has a matrix"),
        (altered(["skins", 0, "joints"], [77]), "refers to node 77"),
        (altered(["asset", "version"], "1.0"), "of version '1.0', not glTF 2.0"),
        (altered(["asset"], None), "JSON without an asset"),
        (altered(["nodes"], 5), "not a readable glTF file"),
        (altered(["buffers"], None), "refers to buffer 0"),
    ],
)
def test_damage_is_named(alter, message, tmp_path):
    scene, *_ = walking_person()
    scene.json["buffers"] = [{"byteLength": len(scene.blob)}]
    alter(scene)
    with pytest.raises(ValueError, match=rf"motion\.glb: .*{message}"):
        read(glb_of(json.dumps(scene.json).encode(), bytes(scene.blob)), tmp_path)


def below_a_scaled_node(values):
    scene = Scene()
    top = scene.node("top", scale=[10, 10, 10])
    scene.animate(scene.node("below", top), "translation", [0, 1], values)
    return scene


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (single([0, 1], [[0, 0, 0], [0, np.nan, 0]]), "NaN or infinite"),
        (single([0, 1], [[0, 0, 0, 1], [0, 0, 0, 0]], "rotation"), r"rotation \(0, 0, 0, 0\)"),
        (single([0, 1, 1], np.zeros((3, 3))), "rise"),
        (single([0, np.inf], np.zeros((2, 3))), "NaN or infinite"),
        (below_a_scaled_node([[3e38, 0, 0]] * 2), "to infinity"),
    ],
)
def test_values_that_place_nothing_are_refused(scene, message, tmp_path):
    with pytest.raises(ValueError, match=rf"motion\.glb: .*{message}"):
        read(scene.glb(), tmp_path)


def test_a_file_that_is_cut_off_says_so(tmp_path):
    scene, *_ = walking_person()
    content = scene.glb()
    for length in (5, 15, 25, 500, len(content) - 1):
        with pytest.raises(ValueError, match=r"cut off|ends within|JSON"):
            read(content[:length], tmp_path)
    (tmp_path / "short.bin").write_bytes(scene.blob[:-1])
    with pytest.raises(ValueError, match=r"declares \d+ bytes, but"):
        read(scene.gltf("short.bin"), tmp_path, "motion.gltf")
    with pytest.raises(ValueError, match=r"'none\.bin' is not beside it"):
        read(scene.gltf("none.bin"), tmp_path, "motion.gltf")
    assert "ignored 3 bytes" in read(content + b"abc", tmp_path).notes[0]


def test_little_files_that_declare_much_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="split the motion or pass a lower fps"):
        read(single([0, 1e9], [[0, 0, 0], [1, 1, 1]]).glb(), tmp_path)
    deep = Scene()
    for index in range(3000):
        deep.node(None, index - 1 if index else None)
    deep.animate(2999, "translation", FRAMES, np.outer(FRAMES, [1, 1, 1]))
    with pytest.raises(ValueError, match="fewer than 1000"):
        read(deep.glb(), tmp_path)
    with pytest.raises(ValueError, match="not a readable glTF file"):
        read(b'{"asset": ' + b"[" * 100_000, tmp_path, "motion.gltf")
    monkeypatch.setattr(gltf_document, "MAX_OBJECTS", 10)
    with pytest.raises(ValueError, match="objects"):
        read(walking_person()[0].glb(), tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_raises_value_errors_only(tmp_path, monkeypatch, data):
    monkeypatch.setattr(readers_gltf, "MAX_OUTPUT_BYTES", 2**24)
    scene = two_people(both_move=False) if data.draw(st.booleans()) else single(FRAMES, np.outer(FRAMES, [1, 1, 1]))
    scene.json["buffers"] = [{"byteLength": len(scene.blob)}]
    text, blob = bytearray(json.dumps(scene.json).encode()), scene.blob
    damage = st.sampled_from([b"", b"-", b"9", b"0", b"1", b"null", b"[]", b"{}", b'"', b"1e99", b"\xff", b"\0\0\0\x80"])
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from([text, text, blob]))
        numbers = [at for at, byte in enumerate(part) if byte in b"0123456789"]  # changed numbers leave the JSON whole
        start = data.draw(st.sampled_from(numbers) | st.integers(0, len(part) - 1))
        part[start : start + data.draw(st.integers(1, 3))] = data.draw(damage)
    content = glb_of(bytes(text), bytes(blob))
    content = content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    failed = ""
    try:
        recording = read(content, tmp_path)
    except ValueError as error:
        failed = str(error)
    assert "motion.glb: " in failed if failed else np.isfinite(recording.positions).all()
