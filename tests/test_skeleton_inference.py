"""Skeletons that nobody named: every joint that is taken for the wrong one spoils a motion without a word."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motionpatches import Skeleton, get_skeleton, list_skeletons
from motionpatches.processing.body_points import ARM_POINTS, LEG_POINTS, TORSO_POINTS, mirror_point
from motionpatches.processing.skeleton_inference import LEAST_CONFIDENCE, REQUIRED, infer_points


CHAIN_POINTS = {*TORSO_POINTS, *(f"{side}_{point}" for side in ("left", "right") for point in (*LEG_POINTS, *ARM_POINTS))}
# No joint of these tells front, and with it left and right, where names do not.
WITHOUT_FEET = {"coco17", "h36m17", "panoptic19"}
WITH_FEET = [name for name in list_skeletons() if name not in WITHOUT_FEET]
every_skeleton = pytest.mark.parametrize("name", list_skeletons())
every_footed_skeleton = pytest.mark.parametrize("name", WITH_FEET)

SIDED_RIG = """
    Hips Spine LeftShoulder LeftArm LeftForeArm LeftHand
    Hips Spine RightShoulder RightArm RightForeArm RightHand
    Hips Spine Neck Head
    Hips LeftUpLeg LeftLeg LeftFoot LeftToeBase
    Hips RightUpLeg RightLeg RightFoot RightToeBase
"""


ACROSS = {"L": "R", "l": "r", "LEFT": "RIGHT", "left": "right"}


def tree(text):
    """Joint names and parents from the lines of a text, each a way from the root outwards."""
    names, parents = [], []
    for line in text.strip().splitlines():
        way = [word.strip() for word in line.split("|")] if "|" in line else line.split()
        for above, name in pairwise([None, *way]):
            if name not in names:
                names.append(name)
                parents.append(-1 if above is None else names.index(above))
    return names, parents


def mirrored(text):
    """The same names on the other side: `.L` → `.R`, `_l_` → `_r_`, `left_` → `right_`, `LEFT` → `RIGHT`."""
    return re.sub(r"(?<![A-Za-z])(L|l|LEFT|left)(?![A-Za-z])", lambda found: ACROSS[found.group()], text)


def both_sides(text):
    """The lines of a rig, and those of its left side for the right side."""
    lines = text.strip().splitlines()
    return "\n".join([*lines, *(mirrored(line) for line in lines if mirrored(line) != line)])


def labelled(names, parents, rest_pose=None):
    """Point → name."""
    points = infer_points(names, parents, rest_pose).points
    return {point: name for point, name in zip(points, names, strict=True) if point is not None}


def anonymous(skeleton):
    return [f"joint_{index}" for index in range(skeleton.num_nodes)]


# ---- names --------------------------------------------------------------------------------------------------------------


@every_skeleton
@pytest.mark.parametrize("posed", [False, True])
def test_every_named_skeleton_is_found_by_its_own_names(name, posed):
    skeleton = get_skeleton(name)
    found = infer_points(skeleton.joint_names, skeleton.parents, skeleton.rest_pose if posed else None)
    assert found.points == skeleton.points
    assert found.confidence == 1.0


@every_skeleton
def test_names_alone_are_enough_for_a_format_without_hierarchy(name):
    """As in C3D and CSV files. COCO's pelvis lies half-way between its hips, which are there."""
    skeleton = get_skeleton(name)
    names = skeleton.joint_names[: skeleton.num_joints]
    found = infer_points(names, [-1] * len(names))
    assert found.points == skeleton.points[: skeleton.num_joints]
    assert found.confidence == 1.0


def test_an_inferred_skeleton_has_the_chains_of_the_named_one():
    named = get_skeleton("mixamo")
    skeleton = Skeleton.infer(named.joint_names, named.parents, unit="centimetres")
    assert skeleton.chains == named.chains
    assert (skeleton.confidence, skeleton.unit) == (1.0, "centimetres")


RIGS = {
    "rigify": (
        """
        root DEF-spine DEF-pelvis.L
        root DEF-spine DEF-thigh.L DEF-thigh.L.001 DEF-shin.L DEF-shin.L.001 DEF-foot.L DEF-toe.L
        root DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-spine.004 DEF-spine.005 DEF-spine.006
        root DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-breast.L
        root DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-shoulder.L DEF-upper_arm.L DEF-upper_arm.L.001 DEF-forearm.L
        root DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-shoulder.L DEF-upper_arm.L ORG-hand.L
        DEF-forearm.L DEF-forearm.L.001 DEF-hand.L DEF-palm.01.L DEF-f_index.01.L
        """,
        "DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-spine.004 DEF-spine.005 DEF-spine.006",
        "pelvis spine_low spine_mid chest neck neck_high head",
        "DEF-thigh.L DEF-shin.L DEF-foot.L DEF-toe.L",
        "DEF-shoulder.L DEF-upper_arm.L DEF-forearm.L DEF-hand.L DEF-f_index.01.L",
    ),
    "daz": (
        """
        Genesis8 hip pelvis l_ThighBend l_ThighTwist l_Shin l_Foot l_Metatarsals l_Toe l_BigToe
        Genesis8 hip abdomenLower abdomenUpper chestLower chestUpper neckLower neckUpper head lowerJaw
        Genesis8 hip abdomenLower abdomenUpper chestLower chestUpper l_Collar l_ShldrBend l_ShldrTwist l_ForearmBend l_Hand
        l_Hand l_Carpal1 l_Index1
        """,
        "hip abdomenLower abdomenUpper chestLower chestUpper neckLower neckUpper head",
        "pelvis spine_low spine_mid spine_high chest neck neck_high head",
        "l_ThighBend l_Shin l_Foot l_Metatarsals+midfoot l_Toe",
        "l_Collar l_ShldrBend l_ForearmBend l_Hand l_Index1",
    ),
    "biped": (
        """
        Bip01 | Bip01 Pelvis | Bip01 Spine | Bip01 L Thigh | Bip01 L Calf | Bip01 L Foot | Bip01 L Toe0 | Bip01 L Toe0Nub
        Bip01 | Bip01 Pelvis | Bip01 Spine | Bip01 Spine1 | Bip01 Neck | Bip01 Head | Bip01 HeadNub
        Bip01 Neck | Bip01 L Clavicle | Bip01 L UpperArm | Bip01 L Forearm | Bip01 L Hand | Bip01 L Finger1
        Bip01 L Hand | Bip01 L Finger0 | Bip01 L Finger01
        Bip01 L UpperArm | Bip01 LUpArmTwist
        """,
        "Bip01 Pelvis|Bip01 Spine|Bip01 Spine1|Bip01 Neck|Bip01 Head",
        "pelvis spine_low chest neck head",
        "Bip01 L Thigh|Bip01 L Calf|Bip01 L Foot|Bip01 L Toe0",
        "Bip01 L Clavicle|Bip01 L UpperArm|Bip01 L Forearm|Bip01 L Hand|Bip01 L Finger1",
    ),
    "unreal 5": (
        """
        root pelvis spine_01 spine_02 spine_03 spine_04 spine_05 neck_01 neck_02 head
        spine_05 clavicle_l upperarm_l lowerarm_l hand_l index_metacarpal_l index_01_l
        upperarm_l upperarm_twist_01_l
        pelvis thigh_l thigh_twist_01_l
        pelvis thigh_l calf_l foot_l ball_l
        root ik_foot_root ik_foot_l
        root ik_hand_root ik_hand_gun ik_hand_l
        """,
        "pelvis spine_01 spine_03 spine_04 spine_05 neck_01 neck_02 head",
        "pelvis spine_low spine_mid spine_high chest neck neck_high head",
        "thigh_l calf_l foot_l ball_l",
        "clavicle_l upperarm_l lowerarm_l hand_l index_01_l",
    ),
    "character creator": (
        """
        RL_BoneRoot CC_Base_Hip CC_Base_Pelvis CC_Base_L_Thigh CC_Base_L_Calf CC_Base_L_Foot CC_Base_L_ToeBase CC_Base_L_BigToe1
        CC_Base_L_Thigh CC_Base_L_ThighTwist01
        CC_Base_L_Calf CC_Base_L_KneeShareBone
        CC_Base_Hip CC_Base_Waist CC_Base_Spine01 CC_Base_Spine02 CC_Base_NeckTwist01 CC_Base_NeckTwist02 CC_Base_Head
        CC_Base_Spine02 CC_Base_L_Clavicle CC_Base_L_Upperarm CC_Base_L_Forearm CC_Base_L_Hand CC_Base_L_Index1
        """,
        "CC_Base_Hip CC_Base_Waist CC_Base_Spine01 CC_Base_Spine02 CC_Base_NeckTwist01 CC_Base_NeckTwist02 CC_Base_Head",
        "pelvis spine_low spine_mid chest neck neck_high head",
        "CC_Base_L_Thigh CC_Base_L_Calf CC_Base_L_Foot CC_Base_L_ToeBase",
        "CC_Base_L_Clavicle CC_Base_L_Upperarm CC_Base_L_Forearm CC_Base_L_Hand CC_Base_L_Index1",
    ),
    "vrm": (
        """
        Root J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_UpperChest J_Bip_C_Neck J_Bip_C_Head J_Sec_Hair1_01
        J_Bip_C_Head J_Adj_L_FaceEye
        J_Bip_C_UpperChest J_Sec_L_Bust1
        J_Bip_C_UpperChest J_Bip_L_Shoulder J_Bip_L_UpperArm J_Bip_L_LowerArm J_Bip_L_Hand J_Bip_L_Index1
        J_Bip_C_Hips J_Bip_L_UpperLeg J_Bip_L_LowerLeg J_Bip_L_Foot J_Bip_L_ToeBase
        """,
        "J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_UpperChest J_Bip_C_Neck J_Bip_C_Head",
        "pelvis spine_low spine_mid chest neck head",
        "J_Bip_L_UpperLeg J_Bip_L_LowerLeg J_Bip_L_Foot J_Bip_L_ToeBase",
        "J_Bip_L_Shoulder J_Bip_L_UpperArm J_Bip_L_LowerArm J_Bip_L_Hand J_Bip_L_Index1",
    ),
    "arkit": (
        """
        root hips_joint left_upLeg_joint left_leg_joint left_foot_joint left_toes_joint left_toesEnd_joint
        hips_joint spine_1_joint spine_4_joint spine_7_joint neck_1_joint neck_2_joint head_joint
        spine_7_joint left_shoulder_1_joint left_arm_joint left_forearm_joint left_hand_joint left_handIndex_1_joint
        """,
        "hips_joint spine_1_joint spine_4_joint spine_7_joint neck_1_joint neck_2_joint head_joint",
        "pelvis spine_low spine_mid chest neck neck_high head",
        "left_upLeg_joint left_leg_joint left_foot_joint left_toes_joint",
        "left_shoulder_1_joint left_arm_joint left_forearm_joint left_hand_joint left_handIndex_1_joint",
    ),
    "advanced skeleton": (
        """
        Root_M Hip_L Knee_L Ankle_L Toes_L ToesEnd_L
        Root_M Spine1_M Chest_M Neck_M Head_M HeadEnd_M
        Chest_M Scapula_L Shoulder_L Elbow_L Wrist_L IndexFinger1_L
        """,
        "Root_M Spine1_M Chest_M Neck_M Head_M",
        "pelvis spine_low chest neck head",
        "Hip_L Knee_L Ankle_L Toes_L",
        "Scapula_L Shoulder_L Elbow_L Wrist_L IndexFinger1_L",
    ),
    "numbers behind every name": (
        """
        _rootJoint Hips_01 left_UpLeg_02 left_Leg_03 left_Foot_04 left_ToeBase_05
        Hips_01 Spine_10 Spine1_11 Spine2_12 Neck_13 Head_14 HeadTop_End_15
        Spine2_12 left_Shoulder_20 left_Arm_21 left_ForeArm_22 left_Hand_23 left_HandIndex1_24
        """,
        "Hips_01 Spine_10 Spine1_11 Spine2_12 Neck_13 Head_14",
        "pelvis spine_low spine_mid chest neck head",
        "left_UpLeg_02 left_Leg_03 left_Foot_04 left_ToeBase_05",
        "left_Shoulder_20 left_Arm_21 left_ForeArm_22 left_Hand_23 left_HandIndex1_24",
    ),
    "azure kinect": (
        """
        PELVIS HIP_LEFT KNEE_LEFT ANKLE_LEFT FOOT_LEFT
        PELVIS SPINE_NAVEL SPINE_CHEST NECK HEAD
        SPINE_CHEST CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HAND_LEFT HANDTIP_LEFT
        WRIST_LEFT THUMB_LEFT
        """,
        "PELVIS SPINE_NAVEL SPINE_CHEST NECK HEAD",
        "pelvis spine_low chest neck head",
        "HIP_LEFT KNEE_LEFT ANKLE_LEFT FOOT_LEFT",
        "CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HANDTIP_LEFT+fingers",
    ),
}


def split_names(text):
    return text.split("|") if "|" in text else text.split()


@pytest.mark.parametrize("rig", RIGS)
def test_rigs_of_many_programs_are_recognised(rig):
    """Twist joints, helpers, IK targets, hair and ends among them mark nothing."""
    text, torso, torso_points, leg, arm = RIGS[rig]
    found = labelled(*tree(both_sides(text)))
    expected = dict(zip(torso_points.split(), split_names(torso), strict=True))
    points = ("hip", "knee", "ankle", "toe"), ("collar", "shoulder", "elbow", "wrist", "index1")
    for names, plain in zip((leg, arm), points, strict=True):
        named = [name.split("+") for name in split_names(names)]
        free = [point for point in plain if len(named) == len(plain) or point in ("hip", "knee", "ankle", "toe")]
        for name, *other in named:
            expected[f"left_{other[0] if other else free.pop(0)}"] = name
    assert {point: found.get(point) for point in expected} == expected
    extra = {point for point in found if point in CHAIN_POINTS and not point.startswith("right_")} - set(expected)
    assert extra <= {"left_hand", "left_fingers"}
    for point, name in expected.items():  # the right side is that of the left
        assert found[mirror_point(point)] == (mirrored(name) if point.startswith("left_") else name)


# Words of one vocabulary belong together: `Leg` is a knee below an `UpLeg`, and a `Shoulder` a collar above an `Arm`.
SIDED = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
VOCABULARIES = {
    "motionbuilder": ("hips", "Shoulder", "Arm", "Fore Arm", "Hand", "Up Leg", "Leg", "Foot", "Toe Base"),
    "unity": ("hips", "Shoulder", "Upper Arm", "Lower Arm", "Hand", "Upper Leg", "Lower Leg", "Foot", "Toes"),
    "anatomy": ("pelvis", "Collar", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Foot"),
    "biped": ("pelvis", "Clavicle", "Upper Arm", "Forearm", "Hand", "Thigh", "Calf", "Foot", "Toe"),
    "poser": ("hip", "Collar", "Shldr", "Fore Arm", "Hand", "Thigh", "Shin", "Foot", "Toe"),
    "unreal": ("pelvis", "Clavicle", "Upper Arm", "Lower Arm", "Hand", "Thigh", "Calf", "Foot", "Ball"),
}
TRUNK = {"spine_low": "Spine 1", "spine_mid": "Spine 2", "chest": "Spine 3", "neck": "Neck", "head": "Head"}
BODY = [
    ("pelvis", None),
    *zip(TRUNK, ["pelvis", *list(TRUNK)[:-1]], strict=True),
    *((f"{side}_{point}", "chest" if point == "collar" else "pelvis" if point == "hip" else f"{side}_{SIDED[at - 1]}")
      for side in ("left", "right") for at, point in enumerate(SIDED)),
]  # fmt: skip
PREFIXES = [
    "", "mixamorig:", "mixamorig1:", "Character1_", "Bip01 ", "Bip001_", "CC_Base_", "DEF-", "Armature|", "file:rig:", "Hero_"
]  # fmt: skip
CASES = {
    "camel": lambda words: words[0].lower() + "".join(word.capitalize() for word in words[1:]),
    "pascal": lambda words: "".join(word.capitalize() for word in words),
    "snake": lambda words: "_".join(word.lower() for word in words),
    "upper snake": lambda words: "_".join(word.upper() for word in words),
    "dots": lambda words: ".".join(words),
    "kebab": lambda words: "-".join(words),
    "spaces": lambda words: " ".join(word.capitalize() for word in words),
}


@st.composite
def naming_styles(draw):
    """Point → joint name, for the points of BODY."""
    words = dict(zip(("pelvis", *SIDED), VOCABULARIES[draw(st.sampled_from(sorted(VOCABULARIES)))], strict=True))
    case = draw(st.sampled_from(sorted(CASES)))
    letters = draw(st.booleans())
    before = draw(st.booleans())
    prefix = draw(st.sampled_from(PREFIXES))
    if case == "camel" and letters and not before:
        letters = False  # nobody could read `thighl`

    def write(point):
        side, _, plain = point.partition("_")
        if side not in ("left", "right"):
            return prefix + CASES[case]((words | TRUNK)[point].split())
        mark = side[0] if letters else side
        split = words[plain].split()
        return prefix + CASES[case]([mark, *split] if before else [*split, mark])

    return {point: write(point) for point, _ in BODY}


@settings(deadline=None)
@given(style=naming_styles(), order=st.permutations(range(len(BODY))))
def test_one_body_is_the_same_in_every_naming_style_and_joint_order(style, order):
    parent_of = dict(BODY)
    points = [BODY[index][0] for index in order]
    parents = [-1 if parent_of[point] is None else points.index(parent_of[point]) for point in points]
    found = infer_points([style[point] for point in points], parents)
    assert found.points == tuple(points)
    assert found.confidence == 1.0


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(list_skeletons()), seed=st.integers(0, 10**6))
def test_the_order_of_the_joints_does_not_matter(name, seed):
    skeleton = get_skeleton(name)
    order = np.random.default_rng(seed).permutation(skeleton.num_nodes)
    place = np.argsort(order)
    parents = [-1 if skeleton.parents[j] < 0 else place[skeleton.parents[j]] for j in order]
    names = [skeleton.joint_names[j] for j in order]
    assert infer_points(names, parents).points == tuple(skeleton.points[j] for j in order)
    if name in WITH_FEET:
        unnamed, pose = anonymous(skeleton), skeleton.rest_pose
        straight = infer_points(unnamed, skeleton.parents, pose).points
        shuffled = infer_points([unnamed[j] for j in order], parents, pose[order]).points
        assert shuffled == tuple(straight[j] for j in order)


def cmu_names_at_near_ends():
    """The names of CMU's bones for joints that lie where a bone begins: what MuJoCo makes of them, say."""
    near = {"hipjoint": "pelvis", "femur": "hip", "tibia": "knee", "foot": "ankle", "toes": "toe", "clavicle": "collar"}
    near |= {"humerus": "shoulder", "radius": "elbow", "hand": "wrist"}
    names, parents = tree(
        both_sides("""
        root l_hipjoint l_femur l_tibia l_foot l_toes
        root lowerback thorax lowerneck head
        thorax l_clavicle l_humerus l_radius l_hand
        """)
    )
    generic = get_skeleton("smpl22")
    at = dict(zip(generic.points, generic.rest_pose, strict=True))
    trunk = {"root": "pelvis", "lowerback": "spine_low", "thorax": "chest", "lowerneck": "neck", "head": "head"}

    def place(name):
        side = {"l": "left_", "r": "right_"}[name[0]] if name[1] == "_" else ""
        point = trunk.get(name) or near[name[2:]]
        return at[point if point == "pelvis" else side + point]

    return names, parents, np.array([place(name) for name in names])


def test_bones_are_told_from_the_joints_at_their_ends():
    """`lfemur` is a knee where `lhipjoint` ends in the hip, and a hip where it begins in the root."""
    skeleton = get_skeleton("cmu31")
    assert labelled(skeleton.joint_names, skeleton.parents, skeleton.rest_pose)["left_knee"] == "lfemur"
    found = labelled(*cmu_names_at_near_ends())
    assert (found["left_hip"], found["left_knee"], found["right_ankle"]) == ("l_femur", "l_tibia", "r_foot")
    assert (found["left_shoulder"], found["left_elbow"], found["right_wrist"]) == ("l_humerus", "l_radius", "r_hand")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LeftShoulder LeftArm LeftForeArm LeftHand", "collar shoulder elbow wrist"),
        ("LeftShoulder LeftElbow LeftWrist LeftHand", "shoulder elbow wrist hand"),
        ("LeftArm LeftShoulder LeftElbow LeftHand", "collar shoulder elbow wrist"),
        ("LeftCollar LeftShoulder LeftForeArm LeftHand", "collar shoulder elbow wrist"),
    ],
)
def test_names_of_several_meanings_are_settled_by_the_rest_of_the_arm(line, expected):
    text = SIDED_RIG.replace("LeftShoulder LeftArm LeftForeArm LeftHand", line)
    found = labelled(*tree(text))
    assert [found[f"left_{point}"] for point in expected.split()] == line.split()
    assert found["right_collar"] == "RightShoulder"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LeftUpLeg LeftLeg LeftFoot LeftToeBase", "hip knee ankle toe"),
        ("LeftLeg LeftKnee LeftAnkle LeftFoot", "hip knee ankle toe"),
        ("LeftHip LeftLeg LeftFoot LeftBall", "hip knee ankle toe"),
        ("LeftThigh LeftShin LeftAnkle LeftFoot", "hip knee ankle toe"),
    ],
)
def test_names_of_several_meanings_are_settled_by_the_rest_of_the_leg(line, expected):
    found = labelled(*tree(SIDED_RIG.replace("LeftUpLeg LeftLeg LeftFoot LeftToeBase", line)))
    assert [found[f"left_{point}"] for point in expected.split()] == line.split()


def test_a_name_that_the_tree_contradicts_is_not_taken():
    names, parents = tree(SIDED_RIG)
    parents[names.index("LeftFoot")] = names.index("Head")
    with pytest.raises(ValueError, match="no joint is recognised as left_ankle"):
        infer_points(names, parents)


def test_a_second_foot_elsewhere_is_passed_over():
    found = labelled(*tree(SIDED_RIG + "\nHead LeftFoot_2"))
    assert found["left_ankle"] == "LeftFoot"


def test_of_a_hip_and_a_pelvis_the_one_that_carries_everything_is_taken():
    text = SIDED_RIG.replace("Hips LeftUpLeg", "Hips Pelvis LeftUpLeg").replace("Hips RightUpLeg", "Pelvis RightUpLeg")
    assert labelled(*tree(text))["pelvis"] == "Hips"


def test_a_root_on_the_floor_is_no_pelvis():
    text = SIDED_RIG.replace("Hips", "Centre").replace("Centre Spine", "Root Centre Spine", 1)
    found = infer_points(*tree(text))
    names = tree(text)[0]
    assert found.points[names.index("Centre")] == "pelvis"
    assert found.points[names.index("Root")] is None
    assert found.confidence == pytest.approx((12 + 0.6) / 13, abs=1e-5)


# ---- torso, feet, hands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spine", "expected"),
    [
        (["Spine"], {"Spine": "spine_low"}),  # HumanIK
        (["Chest"], {"Chest": "chest"}),
        (["S1", "S2"], {"S1": "spine_low", "S2": "chest"}),
        (["S1", "S2", "S3"], {"S1": "spine_low", "S2": "spine_mid", "S3": "chest"}),
        (["S1", "S2", "S3", "S4"], {"S1": "spine_low", "S2": "spine_mid", "S3": "spine_high", "S4": "chest"}),
        ([f"S{i}" for i in range(7)], {"S0": "spine_low", "S3": "spine_mid", "S5": "spine_high", "S6": "chest"}),
    ],
)
def test_the_spine_is_labelled_by_its_order_whatever_its_names(spine, expected):
    text = SIDED_RIG.replace("Hips Spine", f"Hips {' '.join(spine)}")
    names, parents = tree(text)
    points = infer_points(names, parents).points
    assert {name: points[names.index(name)] for name in spine} == {name: expected.get(name) for name in spine}


def test_the_chest_is_the_highest_joint_that_both_arms_hang_from():
    found = labelled(*tree(SIDED_RIG.replace("Spine Neck", "Spine Spine1 Spine2 Neck").replace("Spine Left", "Spine Spine1 Left")
                           .replace("Spine Right", "Spine Spine1 Right")))  # fmt: skip
    assert (found["spine_low"], found["chest"]) == ("Spine", "Spine1")
    assert "Spine2" not in found.values()


def test_joints_of_the_torso_at_the_place_of_their_parent_are_passed_over():
    """As in CMU's BVH files: LowerBack lies in the hips, and Neck where the chest is."""
    text = SIDED_RIG.replace("Hips Spine", "Hips LowerBack Spine Spine1").replace("Neck Head", "Neck Neck1 Head")
    names, parents = tree(text)
    pose = standing(names, parents, {"LowerBack": "Hips", "Neck": "Spine1"})
    assert labelled(names, parents)["neck"] == "Neck"
    found = labelled(names, parents, pose)
    assert (found["spine_low"], found["chest"], found["neck"]) == ("Spine", "Spine1", "Neck1")
    assert "neck_high" not in found


def standing(names, parents, same=()):
    """A pose in which every joint has a place of its own, but for those that lie in another one."""
    pose = np.random.default_rng(0).normal(size=(len(names), 3))
    for name, other in dict(same).items():
        pose[names.index(name)] = pose[names.index(other)]
    return pose


@pytest.mark.parametrize("end", ["", "LeftFoot_End", "LeftFootNub"])
def test_the_end_site_of_a_foot_without_toes_is_its_toe(end):
    names, parents = tree(SIDED_RIG.replace(" LeftToeBase", ""))
    names, parents = [*names, end, "RightToeBase_end"], [*parents, names.index("LeftFoot"), names.index("RightToeBase")]
    points = infer_points(names, parents).points
    assert points[-2:] == ("left_toe", None)


def test_one_of_several_end_sites_of_a_foot_is_not_taken_for_its_toe():
    names, parents = tree(SIDED_RIG.replace(" LeftToeBase", ""))
    foot = names.index("LeftFoot")
    assert "left_toe" not in infer_points([*names, "", ""], [*parents, foot, foot]).points


def test_fingers_are_found_below_their_own_hand_only():
    names, parents = tree(
        SIDED_RIG + "\nLeftHand LeftHandIndex1 LeftHandIndex2\nRightHand LeftHandRing1\nLeftHand LeftHandIndex5"
    )
    found = labelled(names, parents)
    assert (found["left_index1"], found["left_index2"]) == ("LeftHandIndex1", "LeftHandIndex2")
    assert not {"LeftHandRing1", "LeftHandIndex5"} & set(found.values())


# ---- gaps between names -------------------------------------------------------------------------------------------------


def test_a_joint_between_named_ones_is_what_the_tree_says():
    names, parents = tree(SIDED_RIG.replace("LeftLeg", "j7").replace("RightForeArm", "左").replace("RightFoot", "Bone.003"))
    found = infer_points(names, parents)
    at = dict(zip(found.points, names, strict=True))
    assert (at["left_knee"], at["right_elbow"], at["right_ankle"]) == ("j7", "左", "Bone.003")
    assert found.confidence == pytest.approx((10 + 3 * 0.6) / 13, abs=1e-5)


@pytest.mark.parametrize(
    "line",
    [
        "LeftUpLeg Cape2 LeftFoot LeftToeBase",  # clothes
        "LeftUpLeg j7 j8 LeftFoot LeftToeBase",  # which of them?
        "LeftUpLeg RightBone LeftFoot LeftToeBase",  # of the other side
        "LeftUpLeg LeftFoot LeftToeBase",
    ],
)
def test_a_gap_that_the_tree_leaves_open_is_refused(line):
    text = SIDED_RIG.replace("LeftUpLeg LeftLeg LeftFoot LeftToeBase", line)
    with pytest.raises(ValueError, match=r"no joint is recognised as left_knee; the file has Hips, .* Skeleton\(name"):
        infer_points(*tree(text))


def test_a_gap_is_not_filled_by_a_joint_in_the_wrong_place():
    names, parents = tree(SIDED_RIG.replace("LeftLeg", "j7"))
    pose = named_pose(names)
    pose[names.index("j7")] = pose[names.index("LeftUpLeg")] + np.array([0, -0.02, 0])
    with pytest.raises(ValueError, match="left_knee"):
        infer_points(names, parents, pose)


def named_pose(names):
    """The T-pose of the generic adult under the names of SIDED_RIG."""
    named, parents = tree(SIDED_RIG)
    points = infer_points(named, parents).points
    generic = dict(zip(get_skeleton("smpl22").points, get_skeleton("smpl22").rest_pose, strict=True))
    at = {name: generic[point] for name, point in zip(named, points, strict=True)}
    return np.array([at.get(name, np.zeros(3)) for name in names])


# ---- no names -----------------------------------------------------------------------------------------------------------


@every_footed_skeleton
def test_a_standing_body_without_names_is_told_by_tree_and_rest_pose(name):
    skeleton = get_skeleton(name)
    found = infer_points(anonymous(skeleton), skeleton.parents, skeleton.rest_pose)
    assert found.confidence == 0.6
    taken = {point: joint for joint, point in enumerate(found.points) if point is not None}
    assert taken == {point: skeleton.landmarks[point] for point in taken}
    needed = {
        *REQUIRED,
        *(point for point in skeleton.points if "collar" in point or ("toe" in point and "small" not in point)),
    }
    assert needed | {"neck", "head"} <= set(taken)


AXIS_TURNS = st.builds(lambda seed: Rotation.random(random_state=seed).as_matrix(), st.integers(0, 10**6))


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(WITH_FEET),
    turn=AXIS_TURNS,
    scale=st.floats(1e-3, 1e4),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
    named=st.booleans(),
)
def test_axes_unit_and_place_of_the_rest_pose_do_not_matter(name, turn, scale, shift, named):
    skeleton = get_skeleton(name)
    names = skeleton.joint_names if named else anonymous(skeleton)
    pose = (skeleton.rest_pose @ turn.T + shift) * scale
    assert infer_points(names, skeleton.parents, pose) == infer_points(names, skeleton.parents, skeleton.rest_pose)


@every_footed_skeleton
def test_the_mirror_image_of_a_body_without_names_has_its_sides_swapped(name):
    skeleton = get_skeleton(name)
    straight = infer_points(anonymous(skeleton), skeleton.parents, skeleton.rest_pose).points
    mirrored = infer_points(anonymous(skeleton), skeleton.parents, skeleton.rest_pose * [-1, 1, 1]).points
    assert mirrored == tuple(point and mirror_point(point) for point in straight)


@every_footed_skeleton
def test_left_and_right_are_not_guessed_without_names_or_rest_pose(name):
    skeleton = get_skeleton(name)
    with pytest.raises(ValueError, match="left from right without a rest pose"):
        infer_points(anonymous(skeleton), skeleton.parents)


@pytest.mark.parametrize("name", sorted(WITHOUT_FEET))
def test_left_and_right_are_not_guessed_without_names_or_feet(name):
    skeleton = get_skeleton(name)
    with pytest.raises(ValueError, match="neither names nor feet tell left from right"):
        infer_points(anonymous(skeleton), skeleton.parents, skeleton.rest_pose)


@pytest.mark.parametrize("name", sorted(WITHOUT_FEET))
@pytest.mark.parametrize("mirrored", [False, True])
def test_names_that_say_no_more_than_a_side_are_enough_where_feet_are_missing(name, mirrored):
    """As Blender names the bones that it mirrors. A mirrored pose does not swap what names say."""
    skeleton = get_skeleton(name)
    marks = [{"left": ".L", "right": ".R"}.get((point or "").split("_")[0], "") for point in skeleton.points]
    names = [f"Bone{mark}.{index:03}" for index, mark in enumerate(marks)]
    pose = skeleton.rest_pose * [-1 if mirrored else 1, 1, 1]
    points = infer_points(names, skeleton.parents, pose).points
    for joint, point in enumerate(skeleton.points):
        if point in REQUIRED:
            assert points[joint] == point


def test_twist_joints_and_fingers_without_names_do_not_hide_a_limb():
    skeleton = get_skeleton("smplh52")
    parents, pose = list(skeleton.parents), list(skeleton.rest_pose)
    for point in ("left_shoulder", "left_elbow", "right_hip", "left_hip"):
        joint = skeleton.landmarks[point]
        parents.append(joint)
        child = skeleton.parents.index(joint)
        pose.append((pose[joint] + pose[child]) / 2)
    names = [f"ボーン{index}" for index in range(len(parents))]
    points = infer_points(names, parents, np.array(pose)).points
    for joint, point in enumerate(skeleton.points):
        if point in REQUIRED:
            assert points[joint] == point
    assert points[-4:] == (None,) * 4


def test_limbs_in_pieces_of_one_length_are_refused_without_names():
    """A thigh and a shin of two bones each: any of the joints between could be the knee."""
    skeleton = get_skeleton("smpl22")
    parents, pose = list(skeleton.parents), list(skeleton.rest_pose)
    for point in ("left_knee", "left_ankle", "right_knee", "right_ankle"):
        joint = skeleton.landmarks[point]
        pose.append((pose[joint] + pose[parents[joint]]) / 2)
        parents.append(parents[joint])
        parents[joint] = len(parents) - 1
    names = [f"j{index}" for index in range(len(parents))]
    with pytest.raises(ValueError, match="no trunk that stands on a pair of legs"):
        infer_points(names, parents, np.array(pose))


def test_a_name_here_and_there_must_agree_with_the_tree():
    skeleton = get_skeleton("smpl22")
    names = anonymous(skeleton)
    names[skeleton.landmarks["left_elbow"]] = "LeftForeArm"
    points = infer_points(names, skeleton.parents, skeleton.rest_pose).points
    assert points == skeleton.points
    names = anonymous(skeleton)
    names[skeleton.landmarks["left_knee"]] = "LeftForeArm"
    with pytest.raises(ValueError, match="the limbs that the tree shows are not those that the names say"):
        infer_points(names, skeleton.parents, skeleton.rest_pose)


def test_a_side_in_a_name_that_the_feet_contradict_is_not_believed():
    skeleton = get_skeleton("smpl22")
    names = anonymous(skeleton)
    for side, across in (("left", "R"), ("right", "L")):
        names[skeleton.landmarks[f"{side}_knee"]] = f"bone_{across}"
    with pytest.raises(ValueError, match=f"confidence of 0.45 only .least: {LEAST_CONFIDENCE}"):
        infer_points(names, skeleton.parents, skeleton.rest_pose)


# ---- what is no body ----------------------------------------------------------------------------------------------------


def on_all_fours(skeleton):
    """The trunk along z, arms and legs down, and arms as long as legs."""
    pose = skeleton.rest_pose @ Rotation.from_euler("x", 90, degrees=True).as_matrix().T
    for side in ("left", "right"):
        for points, start in (
            (("hip", "knee", "ankle", "toe"), pose[skeleton.landmarks[f"{side}_hip"]]),
            (("shoulder", "elbow", "wrist"), pose[skeleton.landmarks[f"{side}_shoulder"]]),
        ):
            for number, point in enumerate(points):
                pose[skeleton.landmarks[f"{side}_{point}"]] = start + np.array(
                    [0, -0.4 * min(number, 2), 0.1 * (number == 3)]
                )
    return pose


def test_a_quadruped_is_refused_with_and_without_names():
    skeleton = get_skeleton("smpl22")
    pose = on_all_fours(skeleton)
    with pytest.raises(ValueError, match="four-legged animal"):
        infer_points(skeleton.joint_names, skeleton.parents, pose)
    with pytest.raises(ValueError, match="no trunk that stands on a pair of legs"):
        infer_points(anonymous(skeleton), skeleton.parents, pose)


def test_a_tail_is_refused_unless_a_rest_pose_stands_upright():
    names, parents = tree(SIDED_RIG + "\nHips Tail Tail1")
    with pytest.raises(ValueError, match=r"'Tail', 'Tail1' are joints of an animal, and no rest pose"):
        infer_points(names, parents)
    assert infer_points(names, parents, named_pose(names)).confidence == 1.0
    assert infer_points(*tree(SIDED_RIG + "\nHead PonyTail CoatTail_1")).confidence == 1.0


def test_somebody_who_bends_down_is_still_a_person_but_less_sure():
    """Formats without a rest pose give any frame of the motion."""
    skeleton = get_skeleton("smpl22")
    pose = skeleton.rest_pose.copy()
    legs = [joint for joint, point in enumerate(skeleton.points) if point.split("_")[-1] in ("hip", "knee", "ankle", "toe")]
    upper = [joint for joint in range(22) if joint not in legs]
    hips = pose[skeleton.landmarks["pelvis"]]
    pose[upper] = (pose[upper] - hips) @ Rotation.from_euler("x", 90, degrees=True).as_matrix().T + hips
    found = infer_points(skeleton.joint_names, skeleton.parents, pose)
    assert found.points == skeleton.points
    assert found.confidence == 0.75


def two_people(prefixes):
    names, parents = tree(SIDED_RIG)
    both = [f"{prefix}{name}" for prefix in prefixes for name in names]
    return ["world", *both], [-1, *(parent + 1 + (index // len(names)) * len(names) if parent >= 0 else 0
                                     for index, parent in enumerate(parents * 2))]  # fmt: skip


def test_two_people_in_one_tree_are_refused_with_and_without_names():
    names, parents = two_people(("A:", "B:"))
    with pytest.raises(ValueError, match="'A:LeftUpLeg' and 'B:LeftUpLeg', which both begin a limb: two people"):
        infer_points(names, parents)
    with pytest.raises(ValueError, match="several joints have the name 'Head', 'Hips'"):
        infer_points(*two_people(("", "")))
    one = named_pose(tree(SIDED_RIG)[0])
    pose = np.concatenate([np.zeros((1, 3)), one, one + np.array([1, 0, 0])])
    with pytest.raises(ValueError, match="could be read in several ways"):
        infer_points([f"j{i}" for i in range(len(parents))], parents, pose)


def test_two_people_without_hierarchy_are_refused():
    names, _ = two_people(("A:", "B:"))
    with pytest.raises(ValueError, match="two people"):
        infer_points(names, [-1] * len(names))


@pytest.mark.parametrize("gone", ["Arm", "Leg"])
@pytest.mark.parametrize("named", [True, False])
def test_a_body_with_a_limb_missing_is_refused_by_what_is_missing(gone, named):
    cut = (
        "Hips Spine LeftShoulder LeftArm LeftForeArm LeftHand"
        if gone == "Arm"
        else "Hips LeftUpLeg LeftLeg LeftFoot LeftToeBase"
    )
    names, parents = tree(SIDED_RIG.replace(cut, "Hips"))
    pose = named_pose(names)
    missing = "left_shoulder, left_elbow, left_wrist" if gone == "Arm" else "left_hip, left_knee, left_ankle"
    if not named:
        names, missing = [f"j{i}" for i in range(len(names))], "pelvis, head, left_hip"
    with pytest.raises(ValueError, match=f"no joint is recognised as {missing}.*The tree does not help") as info:
        infer_points(names, parents, pose)
    assert "Rename the joints" in str(info.value)
    assert ("'RightHand' as right_wrist" in str(info.value)) == named


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("LeftHand LeftHandThumb1 LeftHandThumb2\nLeftHand LeftHandIndex1 LeftHandIndex2", "'LeftHand' as left_wrist"),
        ("Bone Bone.001 Bone.002", "Recognised: none"),
        ("root spine front_left_paw\nspine front_right_paw\nroot back_left_paw\nroot back_right_paw", "'root' as pelvis"),
    ],
)
def test_hands_things_and_animals_are_refused(text, known):
    names, parents = tree(text)
    for pose in (None, np.random.default_rng(0).normal(size=(len(names), 3))):
        with pytest.raises(ValueError, match=known):
            infer_points(names, parents, pose)


def test_limbs_that_hang_from_each_other_are_refused():
    names, parents = tree(SIDED_RIG)
    parents[names.index("RightUpLeg")] = names.index("LeftFoot")
    with pytest.raises(ValueError, match="'RightUpLeg', recognised as right_hip, hangs from 'LeftUpLeg'"):
        infer_points(names, parents)


# ---- broken input -------------------------------------------------------------------------------------------------------

NAMES, PARENTS = tree(SIDED_RIG)


@pytest.mark.parametrize(
    ("names", "parents", "pose", "message"),
    [
        ([], [], None, "no joints"),
        (NAMES, PARENTS[:-1], None, f"{len(NAMES)} joint names, but {len(PARENTS) - 1} parents"),
        (NAMES, [*PARENTS[:-1], 99], None, r"parent of joint \d+ is 99; expected an index from 0 to"),
        (NAMES, [*PARENTS[:-1], -2], None, "is -2; expected"),
        (NAMES, [*PARENTS[:-1], 1.5], None, "is 1.5; expected"),
        (NAMES, [*PARENTS[:-1], None], None, "is None; expected"),
        (NAMES, [*PARENTS[:-1], float("nan")], None, "is nan; expected"),
        (NAMES, [*PARENTS[:-1], -1], None, "2 roots"),
        (NAMES, [len(NAMES) - 1, *PARENTS[1:]], None, "cycle"),
        (NAMES, [*PARENTS[:-1], len(NAMES) - 1], None, "cycle"),
        (["Head", *NAMES[1:]], PARENTS, None, "several joints have the name 'Head'"),
        ([3, *NAMES[1:]], PARENTS, None, r"must be strings, got \[3\]"),
        (NAMES, PARENTS, np.zeros((3, 3)), r"shape \(3, 3\); expected \(\d+, 3\)"),
        (NAMES, PARENTS, "upright", "no array of numbers"),
    ],
)
def test_broken_input_is_refused_with_what_was_given(names, parents, pose, message):
    with pytest.raises(ValueError, match=message):
        infer_points(names, parents, pose)


def test_things_of_equal_names_do_no_harm():
    names, parents = tree(SIDED_RIG)
    found = infer_points([*names, "Prop", "Prop", "", ""], [*parents, 0, 0, 0, 0])
    assert found.points[-4:] == (None,) * 4


@pytest.mark.parametrize("pose", [np.zeros, lambda shape: np.full(shape, np.nan), lambda shape: np.full(shape, 1e300)])
def test_a_rest_pose_that_says_nothing_is_no_rest_pose(pose):
    for name in ("mixamo", "kinect20"):
        skeleton = get_skeleton(name)
        found = infer_points(skeleton.joint_names, skeleton.parents, pose((skeleton.num_nodes, 3)))
        assert found == infer_points(skeleton.joint_names, skeleton.parents)


def test_a_rest_pose_with_all_bones_along_one_axis_says_nothing():
    """Bandai-Namco and LAFAN1 write their skeletons so."""
    skeleton = get_skeleton("lafan22")
    pose = np.zeros((22, 3))
    for joint in skeleton.topological_order[1:]:
        parent = skeleton.parents[joint]
        length = np.linalg.norm(skeleton.rest_pose[joint] - skeleton.rest_pose[parent])
        pose[joint] = pose[parent] + [length, 0, 0]
    found = infer_points(skeleton.joint_names, skeleton.parents, pose)
    assert (found.points, found.confidence) == (skeleton.points, 1.0)


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(list_skeletons()), seen=st.sets(st.integers(0, 54)))
def test_joints_whose_place_is_unknown_do_not_change_what_names_say(name, seen):
    skeleton = get_skeleton(name)
    pose = skeleton.rest_pose.copy()
    pose[[joint for joint in range(len(pose)) if joint not in seen]] = np.nan
    assert infer_points(skeleton.joint_names, skeleton.parents, pose).points == skeleton.points


WORDS = ["Left", "Right", "L_", "_r", "Arm", "Leg", "Foot", "Hand", "Hips", "Head", "Neck", "Spine", "Shoulder", "UpLeg", "x",
         "Knee", "_End", "1", "DEF-", "lfemur", "rtibia", "Finger0", "Thorax", "Neck/Nose", ""]  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), size=st.integers(1, 40))
def test_any_tree_of_any_names_is_labelled_or_refused(data, size):
    """No name, tree or pose leads to another error, and what is labelled makes a skeleton."""
    names = data.draw(st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map("".join), min_size=size, max_size=size))
    parents = [-1, *(data.draw(st.integers(0, joint - 1)) for joint in range(1, size))]
    pose = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(size, 3)) if data.draw(st.booleans()) else None
    try:
        found = infer_points(names, parents, pose)
    except ValueError:
        return
    assert set(REQUIRED) <= set(found.points)
    assert LEAST_CONFIDENCE <= found.confidence <= 1
    assert Skeleton.infer(names, parents, pose).points == found.points


@settings(max_examples=80, deadline=None)
@given(data=st.data(), name=st.sampled_from(WITH_FEET))
def test_a_damaged_tree_without_names_is_never_labelled_wrongly(data, name):
    """Joints that hang elsewhere, moved places: the limbs are found as they are, or not at all."""
    skeleton = get_skeleton(name)
    parents, pose = list(skeleton.parents), skeleton.rest_pose.copy()
    joint = data.draw(st.sampled_from([joint for joint in range(len(parents)) if parents[joint] >= 0]))
    parents[joint] = data.draw(st.integers(0, len(parents) - 1))
    pose += np.random.default_rng(data.draw(st.integers(0, 999))).normal(scale=0.005, size=pose.shape)
    assume(parents[joint] != skeleton.parents[joint])
    try:
        points = infer_points(anonymous(skeleton), parents, pose).points
    except ValueError:
        return
    sided = {"hip", "knee", "ankle", "shoulder", "elbow", "wrist"}
    for at, point in enumerate(points):
        if point is not None and point.split("_")[-1] in sided and "spine" not in point:
            assert point == skeleton.points[at]
