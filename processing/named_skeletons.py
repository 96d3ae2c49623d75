"""The skeletons that the package knows by name, as data: joints in the order of their owner, and what each one marks."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Definition:
    """What `skeletons.Skeleton` is built from.

    Args:
        joints: (joint name, index of the parent or -1, key of `BODY_POINTS` or `None`) for each joint.
        virtual: Joints that motions of this skeleton do not hold: (name, parent, point, {joint index: weight}). Their
            indices follow those of `joints`.
        unit: Unit in which motions of this skeleton are distributed.
        up_axis: The axis that points up in them.
    """

    joints: list[tuple[str, int, str | None]]
    virtual: list[tuple[str, int, str, dict[int, float]]] = field(default_factory=list)
    unit: str = "metres"
    up_axis: str = "y"


DEFINITIONS: dict[str, Definition] = {
    # SMPL body without hands, as in HumanML3D's new_joints (Guo et al., CVPR 2022).
    "smpl22": Definition(
        joints=[
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
        ],
    ),
    # KIT-ML in HumanML3D's form. Public code disputes which side is left; this is the order of the published MotionPatches
    # code, which HumanML3D's facing-direction indices agree with (11 right hip, 5 right shoulder).
    "kit21": Definition(
        joints=[
            ("pelvis", -1, "pelvis"),
            ("spine", 0, "spine_low"),
            ("chest", 1, "chest"),
            ("neck", 2, "neck"),
            ("head", 3, "head"),
            ("right_shoulder", 3, "right_shoulder"),
            ("right_elbow", 5, "right_elbow"),
            ("right_wrist", 6, "right_wrist"),
            ("left_shoulder", 3, "left_shoulder"),
            ("left_elbow", 8, "left_elbow"),
            ("left_wrist", 9, "left_wrist"),
            ("right_hip", 0, "right_hip"),
            ("right_knee", 11, "right_knee"),
            ("right_ankle", 12, "right_ankle"),
            ("right_midfoot", 13, "right_midfoot"),
            ("right_toe", 14, "right_toe"),
            ("left_hip", 0, "left_hip"),
            ("left_knee", 16, "left_knee"),
            ("left_ankle", 17, "left_ankle"),
            ("left_midfoot", 18, "left_midfoot"),
            ("left_toe", 19, "left_toe"),
        ],
        unit="millimetres",
    ),
    # The joints that the common BVH conversions of mocap share (fingers, toes' ends and helper joints left out).
    "body21": Definition(
        joints=[
            ("pelvis", -1, "pelvis"),
            ("spine", 0, "spine_low"),
            ("chest", 1, "chest"),
            ("neck", 2, "neck"),
            ("head", 3, "head"),
            ("left_collar", 2, "left_collar"),
            ("left_shoulder", 5, "left_shoulder"),
            ("left_elbow", 6, "left_elbow"),
            ("left_wrist", 7, "left_wrist"),
            ("right_collar", 2, "right_collar"),
            ("right_shoulder", 9, "right_shoulder"),
            ("right_elbow", 10, "right_elbow"),
            ("right_wrist", 11, "right_wrist"),
            ("left_hip", 0, "left_hip"),
            ("left_knee", 13, "left_knee"),
            ("left_ankle", 14, "left_ankle"),
            ("left_toe", 15, "left_toe"),
            ("right_hip", 0, "right_hip"),
            ("right_knee", 17, "right_knee"),
            ("right_ankle", 18, "right_ankle"),
            ("right_toe", 19, "right_toe"),
        ],
    ),
    # CMU's ASF/AMC skeleton. A joint lies at the far end of the bone that names it: `lfemur` is the left knee.
    "cmu31": Definition(
        joints=[
            ("root", -1, "pelvis"),
            ("lhipjoint", 0, "left_hip"),
            ("rhipjoint", 0, "right_hip"),
            ("lowerback", 0, "spine_low"),
            ("lfemur", 1, "left_knee"),
            ("ltibia", 4, "left_ankle"),
            ("lfoot", 5, "left_midfoot"),
            ("ltoes", 6, "left_toe"),
            ("rfemur", 2, "right_knee"),
            ("rtibia", 8, "right_ankle"),
            ("rfoot", 9, "right_midfoot"),
            ("rtoes", 10, "right_toe"),
            ("upperback", 3, "spine_mid"),
            ("thorax", 12, "chest"),
            ("lowerneck", 13, "neck"),
            ("lclavicle", 13, "left_shoulder"),
            ("rclavicle", 13, "right_shoulder"),
            ("upperneck", 14, "neck_high"),
            ("head", 17, "head"),
            ("lhumerus", 15, "left_elbow"),
            ("lradius", 19, "left_wrist"),
            ("lwrist", 20, "left_palm"),
            ("lhand", 21, "left_hand"),
            ("lthumb", 21, "left_thumb"),
            ("lfingers", 22, "left_fingers"),
            ("rhumerus", 16, "right_elbow"),
            ("rradius", 25, "right_wrist"),
            ("rwrist", 26, "right_palm"),
            ("rhand", 27, "right_hand"),
            ("rthumb", 27, "right_thumb"),
            ("rfingers", 28, "right_fingers"),
        ],
    ),
    # Kinect v1 (Microsoft Kinect SDK 1.x), as in UTD-MHAD. The root is joint 3.
    "kinect20": Definition(
        joints=[
            ("head", 1, "head"),
            ("shoulder_center", 2, "neck"),
            ("spine", 3, "spine_mid"),
            ("hip_center", -1, "pelvis"),
            ("left_shoulder", 1, "left_shoulder"),
            ("left_elbow", 4, "left_elbow"),
            ("left_wrist", 5, "left_wrist"),
            ("left_hand", 6, "left_hand"),
            ("right_shoulder", 1, "right_shoulder"),
            ("right_elbow", 8, "right_elbow"),
            ("right_wrist", 9, "right_wrist"),
            ("right_hand", 10, "right_hand"),
            ("left_hip", 3, "left_hip"),
            ("left_knee", 12, "left_knee"),
            ("left_ankle", 13, "left_ankle"),
            ("left_foot", 14, "left_toe"),
            ("right_hip", 3, "right_hip"),
            ("right_knee", 16, "right_knee"),
            ("right_ankle", 17, "right_ankle"),
            ("right_foot", 18, "right_toe"),
        ],
    ),
}
