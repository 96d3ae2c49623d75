"""The skeletons that the package knows by name, as data: joints in the order of their owner, and what each one marks.

`docs/skeletons.md` shows them; `docs/draw_skeletons.py` writes that page from here.
"""

from dataclasses import dataclass, field


Joint = tuple[str, int, str | None]


@dataclass(frozen=True)
class Definition:
    """What `skeletons.Skeleton` is built from.

    Args:
        joints: (joint name, index of the parent or -1, key of `BODY_POINTS` or `None`) for each joint.
        virtual: Joints that motions of this skeleton do not hold: (name, parent, point, {joint index: weight}). Their
            indices follow those of `joints`.
        unit: Unit in which motions of this skeleton are distributed.
        up_axis: The axis that points up in them.
        about: What it is and whose, in a sentence or two for readers of the documentation.
        source: Where the owner's definition is found.
    """

    joints: list[Joint]
    virtual: list[tuple[str, int, str, dict[int, float]]] = field(default_factory=list)
    unit: str = "metres"
    up_axis: str = "y"
    about: str = ""
    source: str = ""


def _joints(*chains: tuple[str, str], prefix: str = "") -> list[Joint]:
    """Joints from chains: (name of the joint that the chain hangs from, or "" for the root; "name:point name:point ...").

    The joints are in the order in which they are written; a chain may hang from a joint of a later one.
    """
    names = [joint.split(":")[0] for _, chain in chains for joint in chain.split()]
    joints: list[Joint] = []
    for start, chain in chains:
        parent = names.index(start) if start else -1
        for joint in chain.split():
            name, point = joint.split(":")
            joints.append((prefix + name, parent, point))
            parent = len(joints) - 1
    return joints


# The body of SMPL and its successors, from the pelvis to the wrists: they share names, order and tree.
_SMPL_BODY: list[Joint] = [
    ("pelvis", -1, "pelvis"),
    ("left_hip", 0, "left_hip"),
    ("right_hip", 0, "right_hip"),
    ("spine1", 0, "spine_low"),
    ("left_knee", 1, "left_knee"),
    ("right_knee", 2, "right_knee"),
    ("spine2", 3, "spine_mid"),
    ("left_ankle", 4, "left_ankle"),
    ("right_ankle", 5, "right_ankle"),
    ("spine3", 6, "chest"),
    ("left_foot", 7, "left_toe"),
    ("right_foot", 8, "right_toe"),
    ("neck", 9, "neck"),
    ("left_collar", 9, "left_collar"),
    ("right_collar", 9, "right_collar"),
    ("head", 12, "head"),
    ("left_shoulder", 13, "left_shoulder"),
    ("right_shoulder", 14, "right_shoulder"),
    ("left_elbow", 16, "left_elbow"),
    ("right_elbow", 17, "right_elbow"),
    ("left_wrist", 18, "left_wrist"),
    ("right_wrist", 19, "right_wrist"),
]


def _smpl_hands(first: int) -> list[Joint]:
    """The 2 · 15 finger joints that SMPL-H and SMPL-X put behind the body, from index `first` on."""
    joints: list[Joint] = []
    for side, wrist in (("left", 20), ("right", 21)):
        for finger in ("index", "middle", "pinky", "ring", "thumb"):
            for number in (1, 2, 3):
                parent = wrist if number == 1 else first + len(joints) - 1
                joints.append((f"{side}_{finger}{number}", parent, f"{side}_{finger}{number}"))
    return joints


DEFINITIONS: dict[str, Definition] = {
    # SMPL body without hands, as in HumanML3D's new_joints (Guo et al., CVPR 2022).
    "smpl22": Definition(
        joints=_SMPL_BODY,
        about="The body of SMPL without its hands, as HumanML3D stores it (`new_joints`).",
        source="Guo et al., CVPR 2022, github.com/EricGuo5513/HumanML3D",
    ),
    # KIT-ML in HumanML3D's form. Public code disputes which side is left; this is the order of the published MotionPatches
    # code, which HumanML3D's facing-direction indices agree with (11 right hip, 5 right shoulder).
    "kit21": Definition(
        joints=_joints(
            ("", "pelvis:pelvis spine:spine_low chest:chest neck:neck head:head"),
            ("neck", "right_shoulder:right_shoulder right_elbow:right_elbow right_wrist:right_wrist"),
            ("neck", "left_shoulder:left_shoulder left_elbow:left_elbow left_wrist:left_wrist"),
            ("pelvis", "right_hip:right_hip right_knee:right_knee right_ankle:right_ankle"),
            ("right_ankle", "right_midfoot:right_midfoot right_toe:right_toe"),
            ("pelvis", "left_hip:left_hip left_knee:left_knee left_ankle:left_ankle"),
            ("left_ankle", "left_midfoot:left_midfoot left_toe:left_toe"),
        ),
        unit="millimetres",
        about="The KIT Motion-Language data set in the form of HumanML3D.",
        source="Plappert et al., Big Data 2016; github.com/EricGuo5513/HumanML3D",
    ),
    # The joints that the common BVH conversions of mocap share (fingers, toes' ends and helper joints left out).
    "body21": Definition(
        joints=_joints(
            ("", "pelvis:pelvis spine:spine_low chest:chest neck:neck head:head"),
            ("chest", "left_collar:left_collar left_shoulder:left_shoulder left_elbow:left_elbow left_wrist:left_wrist"),
            (
                "chest",
                "right_collar:right_collar right_shoulder:right_shoulder right_elbow:right_elbow right_wrist:right_wrist",
            ),
            ("pelvis", "left_hip:left_hip left_knee:left_knee left_ankle:left_ankle left_toe:left_toe"),
            ("pelvis", "right_hip:right_hip right_knee:right_knee right_ankle:right_ankle right_toe:right_toe"),
        ),
        about="The joints that the common BVH conversions of motion capture share; defined by this package.",
        source="motionpatches",
    ),
    # CMU's ASF/AMC skeleton. A joint lies at the far end of the bone that names it: `lfemur` is the left knee.
    "cmu31": Definition(
        joints=_joints(
            ("", "root:pelvis lhipjoint:left_hip"),
            ("root", "rhipjoint:right_hip"),
            ("root", "lowerback:spine_low"),
            ("lhipjoint", "lfemur:left_knee ltibia:left_ankle lfoot:left_midfoot ltoes:left_toe"),
            ("rhipjoint", "rfemur:right_knee rtibia:right_ankle rfoot:right_midfoot rtoes:right_toe"),
            ("lowerback", "upperback:spine_mid thorax:chest lowerneck:neck"),
            ("thorax", "lclavicle:left_shoulder"),
            ("thorax", "rclavicle:right_shoulder"),
            ("lowerneck", "upperneck:neck_high head:head"),
            ("lclavicle", "lhumerus:left_elbow lradius:left_wrist lwrist:left_palm lhand:left_hand"),
            ("lwrist", "lthumb:left_thumb"),
            ("lhand", "lfingers:left_fingers"),
            ("rclavicle", "rhumerus:right_elbow rradius:right_wrist rwrist:right_palm rhand:right_hand"),
            ("rwrist", "rthumb:right_thumb"),
            ("rhand", "rfingers:right_fingers"),
        ),
        about="The ASF/AMC skeleton of the CMU Graphics Lab Motion Capture Database.",
        source="mocap.cs.cmu.edu",
    ),
    # Kinect v1 (Microsoft Kinect SDK 1.x), as in UTD-MHAD. The root is joint 3.
    "kinect20": Definition(
        joints=_joints(
            ("shoulder_center", "head:head"),
            ("spine", "shoulder_center:neck"),
            ("hip_center", "spine:spine_mid"),
            ("", "hip_center:pelvis"),
            (
                "shoulder_center",
                "left_shoulder:left_shoulder left_elbow:left_elbow left_wrist:left_wrist left_hand:left_hand",
            ),
            (
                "shoulder_center",
                "right_shoulder:right_shoulder right_elbow:right_elbow right_wrist:right_wrist right_hand:right_hand",
            ),
            ("hip_center", "left_hip:left_hip left_knee:left_knee left_ankle:left_ankle left_foot:left_toe"),
            ("hip_center", "right_hip:right_hip right_knee:right_knee right_ankle:right_ankle right_foot:right_toe"),
        ),
        about="Kinect v1 (Microsoft Kinect SDK 1.x), as in UTD-MHAD.",
        source="Chen, Jafari and Kehtarnavaz, ICIP 2015",
    ),
    # The last two joints are the roots of the hands of SMPL-H, about the middle of each hand.
    "smpl24": Definition(
        joints=[*_SMPL_BODY, ("left_hand", 20, "left_hand"), ("right_hand", 21, "right_hand")],
        about="The joints of the SMPL body model, with y up as the model has it (AMASS stores its parameters with z up).",
        source="Loper et al., SIGGRAPH Asia 2015; smplx/joint_names.py in github.com/vchoutas/smplx",
    ),
    "smplh52": Definition(
        joints=[*_SMPL_BODY, *_smpl_hands(first=22)],
        about="The joints of SMPL-H: the body of SMPL with three joints for each finger.",
        source="Romero, Tzionas and Black, SIGGRAPH Asia 2017; smplx/joint_names.py in github.com/vchoutas/smplx",
    ),
    "smplx22": Definition(
        joints=_SMPL_BODY,
        about="The body joints of SMPL-X, without face and hands: those of `smpl22`.",
        source="Pavlakos et al., CVPR 2019; smplx/joint_names.py in github.com/vchoutas/smplx",
    ),
    "smplx55": Definition(
        joints=[
            *_SMPL_BODY,
            ("jaw", 15, "jaw"),
            ("left_eye_smplhf", 15, "left_eye"),
            ("right_eye_smplhf", 15, "right_eye"),
            *_smpl_hands(first=25),
        ],
        about="All joints of SMPL-X: body, jaw, eyes and fingers (the landmarks that smplx appends to them are left out).",
        source="Pavlakos et al., CVPR 2019; smplx/joint_names.py in github.com/vchoutas/smplx",
    ),
    # The spine joint between the shoulders is at the base of the neck, and `Neck` half-way up. Parents as in the owner's
    # Matlab/show_skeleton.m.
    "ntu25": Definition(
        joints=_joints(
            ("", "SpineBase:pelvis SpineMid:spine_mid"),
            ("SpineShoulder", "Neck:neck_high Head:head"),
            ("SpineShoulder", "ShoulderLeft:left_shoulder ElbowLeft:left_elbow WristLeft:left_wrist HandLeft:left_hand"),
            (
                "SpineShoulder",
                "ShoulderRight:right_shoulder ElbowRight:right_elbow WristRight:right_wrist HandRight:right_hand",
            ),
            ("SpineBase", "HipLeft:left_hip KneeLeft:left_knee AnkleLeft:left_ankle FootLeft:left_toe"),
            ("SpineBase", "HipRight:right_hip KneeRight:right_knee AnkleRight:right_ankle FootRight:right_toe"),
            ("SpineMid", "SpineShoulder:neck"),
            ("HandLeft", "HandTipLeft:left_fingers"),
            ("HandLeft", "ThumbLeft:left_thumb"),
            ("HandRight", "HandTipRight:right_fingers"),
            ("HandRight", "ThumbRight:right_thumb"),
        ),
        about="Kinect v2 (JointType of the Microsoft Kinect SDK 2.0), as in NTU RGB+D and NTU RGB+D 120.",
        source="Shahroudy et al., CVPR 2016; github.com/shahroudy/NTURGB-D",
    ),
    # Joints 0-3, 6-8, 12-15, 17-19 and 25-27 of the 32. `Neck/Nose` is the head joint and `Head` the end site above it.
    "h36m17": Definition(
        joints=_joints(
            ("", "Hip:pelvis RHip:right_hip RKnee:right_knee RFoot:right_ankle"),
            ("Hip", "LHip:left_hip LKnee:left_knee LFoot:left_ankle"),
            ("Hip", "Spine:spine_mid Thorax:neck Neck/Nose:head Head:head_top"),
            ("Thorax", "LShoulder:left_shoulder LElbow:left_elbow LWrist:left_wrist"),
            ("Thorax", "RShoulder:right_shoulder RElbow:right_elbow RWrist:right_wrist"),
        ),
        unit="millimetres",
        up_axis="z",
        about="Human3.6M in its usual 17 joints, in the frame of the world (z up), not of a camera.",
        source="Ionescu et al., PAMI 2014; joint names of Martinez et al., ICCV 2017 (3d-pose-baseline)",
    ),
    # OpenPose calibrates in metres, in the frame of a camera: y down (doc/advanced/calibration_module.md).
    "body25": Definition(
        joints=_joints(
            ("Neck", "Nose:nose"),
            ("MidHip", "Neck:neck"),
            ("Neck", "RShoulder:right_shoulder RElbow:right_elbow RWrist:right_wrist"),
            ("Neck", "LShoulder:left_shoulder LElbow:left_elbow LWrist:left_wrist"),
            ("", "MidHip:pelvis RHip:right_hip RKnee:right_knee RAnkle:right_ankle"),
            ("MidHip", "LHip:left_hip LKnee:left_knee LAnkle:left_ankle"),
            ("Nose", "REye:right_eye"),
            ("Nose", "LEye:left_eye"),
            ("REye", "REar:right_ear"),
            ("LEye", "LEar:left_ear"),
            ("LAnkle", "LBigToe:left_toe LSmallToe:left_small_toe"),
            ("LAnkle", "LHeel:left_heel"),
            ("RAnkle", "RBigToe:right_toe RSmallToe:right_small_toe"),
            ("RAnkle", "RHeel:right_heel"),
        ),
        virtual=[("head", 1, "head", {17: 0.5, 18: 0.5})],
        up_axis="-y",
        about="OpenPose BODY-25 in 3D, in the frame of a camera as OpenPose reconstructs it (metres, y down).",
        source="Cao et al., PAMI 2019; doc/02_output.md in github.com/CMU-Perceptual-Computing-Lab/openpose",
    ),
    "coco17": Definition(
        joints=[
            ("nose", 19, "nose"),
            ("left_eye", 0, "left_eye"),
            ("right_eye", 0, "right_eye"),
            ("left_ear", 1, "left_ear"),
            ("right_ear", 2, "right_ear"),
            ("left_shoulder", 18, "left_shoulder"),
            ("right_shoulder", 18, "right_shoulder"),
            ("left_elbow", 5, "left_elbow"),
            ("right_elbow", 6, "right_elbow"),
            ("left_wrist", 7, "left_wrist"),
            ("right_wrist", 8, "right_wrist"),
            ("left_hip", 17, "left_hip"),
            ("right_hip", 17, "right_hip"),
            ("left_knee", 11, "left_knee"),
            ("right_knee", 12, "right_knee"),
            ("left_ankle", 13, "left_ankle"),
            ("right_ankle", 14, "right_ankle"),
        ],
        virtual=[
            ("pelvis", -1, "pelvis", {11: 0.5, 12: 0.5}),
            ("neck", 17, "neck", {5: 0.5, 6: 0.5}),
            ("head", 18, "head", {3: 0.5, 4: 0.5}),
        ],
        about="The COCO keypoints lifted to 3D. COCO itself has two dimensions, so that unit and up axis are this package's.",
        source="Lin et al., ECCV 2014; person keypoints of cocodataset.org",
    ),
    "panoptic19": Definition(
        joints=_joints(
            ("BodyCenter", "Neck:neck Nose:nose"),
            ("", "BodyCenter:pelvis"),
            ("Neck", "lShoulder:left_shoulder lElbow:left_elbow lWrist:left_wrist"),
            ("BodyCenter", "lHip:left_hip lKnee:left_knee lAnkle:left_ankle"),
            ("Neck", "rShoulder:right_shoulder rElbow:right_elbow rWrist:right_wrist"),
            ("BodyCenter", "rHip:right_hip rKnee:right_knee rAnkle:right_ankle"),
            ("Nose", "lEye:left_eye lEar:left_ear"),
            ("Nose", "rEye:right_eye rEar:right_ear"),
        ),
        virtual=[("head", 0, "head", {16: 0.5, 18: 0.5})],
        unit="centimetres",
        up_axis="-y",
        about="The 3D body keypoints of the CMU Panoptic Studio (`joints19` of hdPose3d_stage1_coco19).",
        source="Joo et al., PAMI 2017; github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox",
    ),
    "mixamo": Definition(
        joints=_joints(
            ("", "Hips:pelvis Spine:spine_low Spine1:spine_mid Spine2:chest Neck:neck Head:head"),
            ("Spine2", "LeftShoulder:left_collar LeftArm:left_shoulder LeftForeArm:left_elbow LeftHand:left_wrist"),
            ("Spine2", "RightShoulder:right_collar RightArm:right_shoulder RightForeArm:right_elbow RightHand:right_wrist"),
            ("Hips", "LeftUpLeg:left_hip LeftLeg:left_knee LeftFoot:left_ankle LeftToeBase:left_toe"),
            ("Hips", "RightUpLeg:right_hip RightLeg:right_knee RightFoot:right_ankle RightToeBase:right_toe"),
            prefix="mixamorig:",
        ),
        unit="centimetres",
        about="The body of a rig that Adobe Mixamo makes, without fingers and end joints.",
        source="mixamo.com; the joints of a downloaded character",
    ),
    "unreal": Definition(
        joints=_joints(
            ("", "pelvis:pelvis spine_01:spine_low spine_02:spine_mid spine_03:chest"),
            ("spine_03", "clavicle_l:left_collar upperarm_l:left_shoulder lowerarm_l:left_elbow hand_l:left_wrist"),
            ("spine_03", "clavicle_r:right_collar upperarm_r:right_shoulder lowerarm_r:right_elbow hand_r:right_wrist"),
            ("spine_03", "neck_01:neck head:head"),
            ("pelvis", "thigh_l:left_hip calf_l:left_knee foot_l:left_ankle ball_l:left_toe"),
            ("pelvis", "thigh_r:right_hip calf_r:right_knee foot_r:right_ankle ball_r:right_toe"),
        ),
        unit="centimetres",
        up_axis="z",
        about="The body of Epic's mannequin of Unreal Engine 4, without its root on the floor, fingers, twist and IK bones.",
        source="Unreal Engine 4, SK_Mannequin",
    ),
    # The origin of a segment is its proximal joint: L5 is at jL5S1, RightToe at jRightBallFoot.
    "mvn23": Definition(
        joints=_joints(
            ("", "Pelvis:pelvis L5:spine_low L3:spine_mid T12:spine_high T8:chest Neck:neck Head:head"),
            (
                "T8",
                "RightShoulder:right_collar RightUpperArm:right_shoulder RightForeArm:right_elbow RightHand:right_wrist",
            ),
            ("T8", "LeftShoulder:left_collar LeftUpperArm:left_shoulder LeftForeArm:left_elbow LeftHand:left_wrist"),
            ("Pelvis", "RightUpperLeg:right_hip RightLowerLeg:right_knee RightFoot:right_ankle RightToe:right_toe"),
            ("Pelvis", "LeftUpperLeg:left_hip LeftLowerLeg:left_knee LeftFoot:left_ankle LeftToe:left_toe"),
        ),
        up_axis="z",
        about="The origins of the 23 segments of Xsens MVN (Movella), as in MVNX files.",
        source="MVN User Manual, document MV0319P, sections 19.6 and 19.7",
    ),
    # A bone of Plug-in Gait has its origin at its far end: LFEO is the left knee and LTIO the ankle; LFEP, the near end of
    # the femur, is the hip. PELO is half-way between the hips, TRXO at the base of the neck, TRXP 20 cm below it, LFOO under
    # the marker LTOE and LHNO at the fingers. In the order in which Nexus writes them.
    "plugin_gait": Definition(
        joints=_joints(
            ("TRXO", "HEDO:head"),
            ("TRXO", "LCLO:left_shoulder"),
            ("LFEP", "LFEO:left_knee"),
            ("PELO", "LFEP:left_hip"),
            ("LTIO", "LFOO:left_toe"),
            ("LRAO", "LHNO:left_fingers"),
            ("LCLO", "LHUO:left_elbow LRAO:left_wrist"),
            ("LFEO", "LTIO:left_ankle"),
            ("", "PELO:pelvis"),
            ("TRXO", "RCLO:right_shoulder"),
            ("RFEP", "RFEO:right_knee"),
            ("PELO", "RFEP:right_hip"),
            ("RTIO", "RFOO:right_toe"),
            ("RRAO", "RHNO:right_fingers"),
            ("RCLO", "RHUO:right_elbow RRAO:right_wrist"),
            ("RFEO", "RTIO:right_ankle"),
            ("TRXP", "TRXO:neck"),
            ("PELO", "TRXP:chest"),
        ),
        unit="millimetres",
        up_axis="z",
        about="The joint centres of Vicon Plug-in Gait (full body), as its model outputs in C3D files name them.",
        source="Plug-in Gait Reference Guide, 'Plug-in Gait bones' and 'Plug-in Gait output specification' (docs.vicon.com)",
    ),
    "lafan22": Definition(
        joints=_joints(
            ("", "Hips:pelvis LeftUpLeg:left_hip LeftLeg:left_knee LeftFoot:left_ankle LeftToe:left_toe"),
            ("Hips", "RightUpLeg:right_hip RightLeg:right_knee RightFoot:right_ankle RightToe:right_toe"),
            ("Hips", "Spine:spine_low Spine1:spine_mid Spine2:chest Neck:neck Head:head"),
            ("Spine2", "LeftShoulder:left_collar LeftArm:left_shoulder LeftForeArm:left_elbow LeftHand:left_wrist"),
            ("Spine2", "RightShoulder:right_collar RightArm:right_shoulder RightForeArm:right_elbow RightHand:right_wrist"),
        ),
        unit="centimetres",
        about="LAFAN1, the Ubisoft La Forge animation data set.",
        source="Harvey et al., SIGGRAPH 2020; github.com/ubisoft/ubisoft-laforge-animation-dataset",
    ),
    # The nodes 1 to 20 of HumanIK, in the order of their ids: the fifteen that it requires, then toes, shoulders and neck.
    "humanik": Definition(
        joints=_joints(
            ("", "Hips:pelvis LeftUpLeg:left_hip LeftLeg:left_knee LeftFoot:left_ankle"),
            ("Hips", "RightUpLeg:right_hip RightLeg:right_knee RightFoot:right_ankle"),
            ("Hips", "Spine:spine_low"),
            ("LeftShoulder", "LeftArm:left_shoulder LeftForeArm:left_elbow LeftHand:left_wrist"),
            ("RightShoulder", "RightArm:right_shoulder RightForeArm:right_elbow RightHand:right_wrist"),
            ("Neck", "Head:head"),
            ("LeftFoot", "LeftToeBase:left_toe"),
            ("RightFoot", "RightToeBase:right_toe"),
            ("Spine", "LeftShoulder:left_collar"),
            ("Spine", "RightShoulder:right_collar"),
            ("Spine", "Neck:neck"),
        ),
        unit="centimetres",
        about="The required and the auxiliary body nodes of Autodesk HumanIK and MotionBuilder characters, with one spine node.",
        source="'HIK character structure', MotionBuilder and Maya help (help.autodesk.com)",
    ),
}
