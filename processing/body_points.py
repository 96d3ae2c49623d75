"""Points of the human body that the joints of any skeleton mark, and where they lie on a generic adult."""

# A generic adult of 1.7 m in a T-pose, facing +z with y up, in metres. Left is +x. Segment lengths follow the body
# proportions of Drillis and Contini (1966), rounded. Points without a side are listed once; a sided point is listed for
# the left side and mirrored for the right.
_MEDIAN_POINTS = {
    "pelvis": (0.0, 0.93, 0.0),
    "spine_low": (0.0, 1.04, -0.01),
    "spine_mid": (0.0, 1.16, -0.01),
    "spine_high": (0.0, 1.215, -0.005),
    "chest": (0.0, 1.27, 0.0),
    "neck": (0.0, 1.43, 0.0),
    "neck_high": (0.0, 1.50, 0.01),
    "head": (0.0, 1.57, 0.02),
    "head_top": (0.0, 1.68, 0.03),
    "jaw": (0.0, 1.53, 0.07),
    "nose": (0.0, 1.57, 0.12),
}
_LEFT_POINTS = {
    "hip": (0.09, 0.88, 0.0),
    "knee": (0.10, 0.47, 0.01),
    "ankle": (0.10, 0.08, -0.02),
    "heel": (0.10, 0.02, -0.06),
    "midfoot": (0.10, 0.03, 0.06),
    "toe": (0.10, 0.02, 0.14),
    "small_toe": (0.15, 0.02, 0.11),
    "toe_tip": (0.10, 0.01, 0.20),
    "collar": (0.05, 1.39, 0.0),
    "shoulder": (0.18, 1.39, 0.0),
    "elbow": (0.46, 1.39, -0.01),
    "wrist": (0.71, 1.39, 0.0),
    "palm": (0.75, 1.39, 0.0),
    "hand": (0.79, 1.39, 0.0),
    "fingers": (0.86, 1.39, 0.0),
    "thumb": (0.77, 1.38, 0.05),
    "eye": (0.03, 1.60, 0.10),
    "ear": (0.07, 1.57, 0.02),
    # Three joints of each finger, from the knuckle outwards.
    "thumb1": (0.735, 1.38, 0.02),
    "thumb2": (0.76, 1.375, 0.04),
    "thumb3": (0.785, 1.37, 0.055),
    "index1": (0.80, 1.39, 0.025),
    "index2": (0.835, 1.39, 0.028),
    "index3": (0.86, 1.385, 0.03),
    "middle1": (0.805, 1.392, 0.002),
    "middle2": (0.842, 1.392, 0.002),
    "middle3": (0.868, 1.388, 0.002),
    "ring1": (0.80, 1.388, -0.02),
    "ring2": (0.832, 1.388, -0.022),
    "ring3": (0.857, 1.384, -0.024),
    "pinky1": (0.79, 1.382, -0.04),
    "pinky2": (0.815, 1.382, -0.043),
    "pinky3": (0.835, 1.38, -0.045),
}
BODY_POINTS: dict[str, tuple[float, float, float]] = {
    **_MEDIAN_POINTS,
    **{f"left_{name}": xyz for name, xyz in _LEFT_POINTS.items()},
    **{f"right_{name}": (-x, y, z) for name, (x, y, z) in _LEFT_POINTS.items()},
}

# Points of the five chains, outwards from the torso (paper section 3.2). Face, fingers and heels are no part of them.
TORSO_POINTS = ("pelvis", "spine_low", "spine_mid", "spine_high", "chest", "neck", "neck_high", "head", "head_top")
LEG_POINTS = ("hip", "knee", "ankle", "midfoot", "toe")
ARM_POINTS = ("collar", "shoulder", "elbow", "wrist", "palm", "hand", "fingers")


def mirror_point(point: str) -> str:
    """The point on the other side of the body: `left_knee` → `right_knee`; a point without a side is its own mirror."""
    side, _, name = point.partition("_")
    return {"left": f"right_{name}", "right": f"left_{name}"}.get(side, point)
