"""Names of joints in the ways in which programs write them: a wrong side or a helper taken for a joint goes unnoticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motionpatches.processing.joint_names import mirror_name, parse_name, parse_names, plain_name, shared_prefix


PLAIN = {
    "mixamorig:LeftUpLeg": "left_upleg",
    "mixamorig1_LeftArm": "left_arm",
    "mixamorigLeftArm": "left_arm",
    "Character1_RightForeArm": "right_forearm",
    "Armature|Hips": "hips",
    "Bip01 L Thigh": "left_thigh",
    "Bip001 Spine1": "spine1",
    "Bip01_R_Toe0": "right_toe0",
    "CC_Base_L_Calf": "left_calf",
    "DEF-thigh.L": "left_thigh",
    "ORG-upper_arm.R": "right_upperarm",
    "thigh.L.001": "left_thigh001",
    "J_Bip_C_Hips": "hips",
    "J_Bip_R_LowerLeg": "right_lowerleg",
    "UpperArm_R": "right_upperarm",
    "upperarm_l": "left_upperarm",
    "upper-arm-l": "left_upperarm",
    "UpperArmL": "left_upperarm",
    "spine_01": "spine01",
    "lShldr": "left_shldr",
    "rThigh": "right_thigh",
    "LThigh": "left_thigh",
    "LTHIGH": "left_thigh",
    "LEFTARM": "left_arm",
    "LEFT_ARM": "left_arm",
    "leftarm": "left_arm",
    "LUArm": "left_uarm",
    "RFArm": "right_farm",
    "lhipjoint": "left_hipjoint",
    "LHipJoint": "left_hipjoint",
    "left_hand_joint": "left_hand",
    "rfemur": "right_femur",
    "LFEP": "left_fep",
    "HipLeft": "left_hip",
    "HandTipRight": "right_handtip",
    "ShoulderCenter": "shouldercenter",
    "left_upLeg_joint": "left_upleg",
    "Root_M": "root",
    "T12": "t12",
    "L5": "l5",  # a vertebra, on no side
    "ring": "ring",
    "lowerleg": "lowerleg",
    "radius": "radius",
    "joint_17": "joint17",
    "Bone.003": "bone003",
    "左足": "左足",
}


@pytest.mark.parametrize("name", PLAIN)
def test_prefix_case_and_side_are_taken_off_a_name(name):
    assert plain_name(name) == PLAIN[name]


@pytest.mark.parametrize(
    ("name", "side", "mirrored"),
    [
        ("LeftForeArmRoll", "left", "RightForeArmRoll"),
        ("RightForeArmRoll", "right", "LeftForeArmRoll"),
        ("twist_l", "left", "twist_r"),
        ("clavicle_twist_l", "left", "clavicle_twist_r"),
        ("CLAVICLE_TWIST_R", "right", "CLAVICLE_TWIST_L"),
        ("Bip01 L Calf", "left", "Bip01 R Calf"),
        ("lfemur", "left", "rfemur"),
        ("mixamorig:LeftEye", "left", "mixamorig:RightEye"),
        ("DEF-thigh.L.001", "left", "DEF-thigh.R.001"),
        ("HandTipLeft", "left", "HandTipRight"),
        ("twist_l", "right", None),
        ("Spine", "left", None),
        ("L5", "left", None),
    ],
)
def test_the_name_across_is_written_in_the_same_way(name, side, mirrored):
    assert mirror_name(name, side) == mirrored


@pytest.mark.parametrize(
    "name",
    [
        "upperarm_twist_01_l",
        "LeftForeArmRoll",
        "Bip01 LUpArmTwist",
        "leftarmroll",
        "ik_foot_l",
        "LeftHand_IK",
        "MCH-thigh.L",
        "hand_r_weapon",
        "J_Sec_Hair1_01",
        "Ponytail1",
        "Helmet",
        "chain_07",
        "BackPack",
        "CC_Base_L_KneeShareBone",
        "eyebrow.L",
    ],
)
def test_helpers_hair_and_things_are_no_body_parts(name):
    parsed = parse_name(name)
    assert parsed.is_unmarked
    assert not parsed.is_body


@pytest.mark.parametrize(
    "name", ["LeftToe_End", "HeadTop_End", "Bip01 HeadNub", "LeftArm_end", "hand.L_end", "End Site", ""]
)
def test_ends_of_bones_are_told_from_joints(name):
    parsed = parse_name(name)
    assert parsed.is_end
    assert not parsed.is_body


@pytest.mark.parametrize("name", ["joint_17", "Bone.003", "左足", "Armature", "Genesis8", "node12"])
def test_names_that_say_nothing_are_known_as_such(name):
    assert parse_name(name).tells_nothing


@pytest.mark.parametrize(
    ("name", "finger"),
    [
        ("LeftHandIndex1", "index1"),
        ("mixamorig:LeftHandPinky3", "pinky3"),
        ("LeftHandIndex4", None),  # the tip
        ("LeftInHandIndex", None),
        ("f_middle.02.L", "middle2"),
        ("thumb_03_l", "thumb3"),
        ("LeftRingDistal", "ring3"),
        ("lMid2", "middle2"),
        ("left_index", None),
        ("LeftHandIndex1_013", "index1"),
        ("index_1001_l", None),
    ],
)
def test_finger_joints_are_numbered_from_the_knuckle(name, finger):
    assert parse_name(name).finger == finger


@pytest.mark.parametrize(
    ("name", "finger"),
    [
        ("Bip01 L Finger0", "thumb1"),
        ("Bip01 L Finger02", "thumb3"),
        ("Bip01 L Finger11", "index2"),
        ("Bip01 L Finger5", None),
    ],
)
def test_fingers_of_a_biped_are_counted_from_the_thumb(name, finger):
    assert parse_name(name).biped_finger == finger


def test_a_prefix_that_all_names_share_is_left_out():
    names = ["Hero_Hips", "Hero_LeftArm", "Hero_RightArm", "Hero_Head", "Hero_LeftUpLeg", "camera"]
    assert shared_prefix(names) == ["hero"]
    assert [parsed.base for parsed in parse_names(names)] == ["hips", "arm", "arm", "head", "upleg", "camera"]


@pytest.mark.parametrize(
    "names",
    [
        ["LeftHand", "LeftIndex1", "LeftIndex2", "LeftThumb1", "LeftThumb2", "LeftPinky1"],  # a side
        [f"HandIndex{i}" for i in range(9)],  # a part of the body
        [f"joint_{i}" for i in range(9)],  # nothing would be left
        ["Hero_Hips", "Hero_Head"],  # too few to be sure
        ["A_Hips", "A_Spine", "A_Head", "B_Hips", "B_Spine", "B_Head"],
    ],
)
def test_what_is_no_prefix_stays(names):
    assert shared_prefix(names) == []


TEXT = st.text(alphabet="lrLRarmLeftRight_.-:| 019é左²", max_size=20) | st.text(max_size=20)


@given(name=TEXT)
def test_any_text_is_a_name(name):
    parsed = parse_name(name)
    assert parsed.side in (None, "left", "right")
    assert parsed.is_body + parsed.is_unmarked <= 1
    assert parsed.finger is None or parsed.finger[:-1].isalpha()
    mirrored = None if parsed.side is None else mirror_name(name, parsed.side)
    if mirrored is not None:
        other = "left" if parsed.side == "right" else "right"
        assert parse_name(mirrored).side == other
        assert plain_name(mirrored).removeprefix(other) == plain_name(name).removeprefix(parsed.side)
