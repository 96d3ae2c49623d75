"""Skeletons are data: wrong data would silently mix up left and right, or arms and legs."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from motionpatches import Skeleton, get_skeleton, list_skeletons
from motionpatches.processing.skeletons import PARTS


# The chains of the published form, in the order of PARTS: right leg, left leg, torso, right arm, left arm.
CHAINS = {
    "smpl22": [(0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)],
    "kit21": [(0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)],
    "body21": [(0, 17, 18, 19, 20), (0, 13, 14, 15, 16), (0, 1, 2, 3, 4), (2, 9, 10, 11, 12), (2, 5, 6, 7, 8)],
    "kinect20": [(3, 16, 17, 18, 19), (3, 12, 13, 14, 15), (3, 2, 1, 0), (1, 8, 9, 10, 11), (1, 4, 5, 6, 7)],
    "cmu31": [
        (0, 2, 8, 9, 10, 11),
        (0, 1, 4, 5, 6, 7),
        (0, 3, 12, 13, 14, 17, 18),
        (13, 16, 25, 26, 27, 28, 30),
        (13, 15, 19, 20, 21, 22, 24),
    ],
}


def test_every_named_skeleton_has_its_published_chains():
    assert list_skeletons() == sorted(CHAINS)
    for name, chains in CHAINS.items():
        assert [get_skeleton(name).chains[part] for part in PARTS] == chains


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_chains_follow_the_tree_and_stay_on_their_side(name):
    skeleton = get_skeleton(name)
    for part, chain in skeleton.chains.items():
        for inner, outer in pairwise(chain):
            assert skeleton.parents[outer] == inner
        side = part.split("_")[0]
        if side in ("left", "right"):
            x = skeleton.rest_pose[list(chain[1:]), 0]
            assert (x > 0).all() if side == "left" else (x < 0).all()


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_mirror_pairs_swap_names_and_sides(name):
    skeleton = get_skeleton(name)
    paired = {joint for pair in skeleton.mirror_pairs for joint in pair}
    assert paired == {joint for joint, point in enumerate(skeleton.points) if point.startswith(("left_", "right_"))}
    for left, right in skeleton.mirror_pairs:
        np.testing.assert_allclose(skeleton.rest_pose[left] * [-1, 1, 1], skeleton.rest_pose[right])
        assert skeleton.joint_names[left].replace("left", "").removeprefix("l") == skeleton.joint_names[right].replace(
            "right", ""
        ).removeprefix("r")


def test_unit_of_kit_is_millimetres():
    assert get_skeleton("kit21").unit == "millimetres"
    assert get_skeleton("smpl22").unit == "metres"


def test_topological_order_has_parents_first_where_the_root_is_not_joint_zero():
    skeleton = get_skeleton("kinect20")
    assert skeleton.root == 3
    seen = set()
    for joint in skeleton.topological_order:
        assert skeleton.parents[joint] in seen | {-1}
        seen.add(joint)
    assert len(seen) == 20


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown skeleton 'smpl'; known: body21, cmu31"):
        get_skeleton("smpl")
    with pytest.raises(TypeError, match="must be a name or a Skeleton"):
        get_skeleton(22)


def test_round_trip_through_a_dict():
    skeleton = get_skeleton("cmu31")
    assert Skeleton(**skeleton.to_dict()) == skeleton


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("parents", lambda s: (-1, *s.parents[1:-1], -1), "2 roots"),
        ("parents", lambda s: (-1, 4, *s.parents[2:]), "cycle"),
        ("parents", lambda s: s.parents[:-1], "21 parents"),
        ("points", lambda s: ("tail", *s.points[1:]), r"unknown body points \['tail'\]"),
        ("points", lambda s: tuple("head" if p == "left_hip" else p for p in s.points), "no joint for"),
        ("chains", lambda s: {**s.chains, "torso": (0, 99)}, "'torso'"),
        ("chains", lambda s: {p: c for p, c in s.chains.items() if p != "left_arm"}, "expected exactly"),
        ("unit", lambda s: "feet", "unit 'feet'"),
        ("up_axis", lambda s: "w", "up axis 'w'"),
    ],
)
def test_broken_definitions_are_refused(field, change, message):
    skeleton = get_skeleton("smpl22")
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(skeleton, **{field: change(skeleton)})
