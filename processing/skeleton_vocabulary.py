"""The words that files have for the joints of a body, as data: lower case, without side, number and prefix."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Body point → groups of the words for it, best group first. Some words mean several points; which one is settled by the other
# joints of the limb and by the tree (`skeleton_limbs`). Limb points are listed outwards.
LEG_WORDS: dict[str, tuple[str, ...]] = {
    "hip": ("upleg upperleg thigh thighbend legupper femur fep", "hip hjc hipjc hipjointcenter", "hipjoint", "leg"),
    "knee": ("knee lowerleg lowleg loleg leglower shin calf tibia feo kjc", "leg"),
    "ankle": ("ankle talus tio ajc", "foot"),
    "midfoot": ("midfoot metatarsal metatarsals",),
    "toe": ("toe toes toebase ball bigtoe footindex foo", "foot"),
}
ARM_WORDS: dict[str, tuple[str, ...]] = {
    "collar": ("collar clavicle collarbone clav", "scapula shoulder", "arm"),
    "shoulder": ("upperarm uparm uarm armupper shldr shldrbend humerus clo sjc", "arm", "shoulder"),
    "elbow": ("elbow forearm forearmbend lowerarm lowarm loarm farm armlower ulna huo ejc", "radius"),
    "wrist": ("wrist rao wjc", "hand"),
    "palm": ("palm",),
    "hand": ("hand",),
    "fingers": ("fingers handtip fingertips fingerbase hno",),
}
# Sided points off the chains, and the joint of their own side, or of the body, that they hang from.
OTHER_SIDED_WORDS: dict[str, tuple[str, str]] = {
    "heel": ("heel calcn calcaneus", "ankle"),
    "small_toe": ("smalltoe littletoe", "ankle"),
    "toe_tip": ("toetip", "ankle"),
    "thumb": ("thumb handthumb", "wrist"),
    "eye": ("eye eyeball eyesmplhf", "head"),
    "ear": ("ear", "head"),
}
# CMU's ASF files (cmu31), where a joint lies at the far end of the bone that names it. Known by the words of `FAR_END_SIGN`.
FAR_END_LEG_WORDS: dict[str, tuple[str, ...]] = {
    "hip": ("hipjoint",),
    "knee": ("femur",),
    "ankle": ("tibia",),
    "midfoot": ("foot",),
    "toe": ("toes",),
}
FAR_END_ARM_WORDS: dict[str, tuple[str, ...]] = {
    "shoulder": ("clavicle",),
    "elbow": ("humerus",),
    "wrist": ("radius",),
    "palm": ("wrist",),
    "hand": ("hand",),
    "fingers": ("fingers",),
}
FAR_END_SIGN = {"hipjoint", "femur", "tibia", "humerus", "radius"}

PELVIS_WORDS = (
    "hips pelvis pelo",
    "hip hipcenter hipcentre midhip centerhip spinebase lowertorso bodycenter",
    "root",
)
ROOT_WORDS = frozenset({"root"})
# The base of the neck; above it `UPPER_NECK_WORDS`. A thorax is one where the head is marked as H36M and MPII mark it.
NECK_WORDS = ("neck necktwist lowerneck necklower neckbase shouldercenter shouldercentre spineshoulder trxo", "thorax")
UPPER_NECK_WORDS = ("upperneck neckupper",)
# Human3.6M's 17 joints call the head joint `Neck/Nose`, and `Head` what lies on top of it.
NECK_NOSE = "necknose"
HEAD_WORDS = ("head hedo",)
HEAD_TOP_WORDS = ("headtop",)
FACE_WORDS = {"jaw": ("jaw",), "nose": ("nose",)}
# Words of the trunk and how high they stand, for formats without a hierarchy; with one, its order decides. L5 … T8 are Xsens'.
SPINE_LEVELS: dict[str, int] = {
    **dict.fromkeys(("waist", "lowerback", "abdomenlower", "lumbar", "spinelower", "l"), 0),
    **dict.fromkeys(("spine", "abdomen", "ab", "stomach", "back", "spinenavel", "spinemid", "torso"), 1),
    **dict.fromkeys(("abdomenupper", "upperback", "spineupper"), 2),
    **dict.fromkeys(("chestlower", "t"), 3),
    **dict.fromkeys(("chest", "thorax", "ribs", "ribcage", "spinechest", "uppertorso", "trxp"), 4),
    **dict.fromkeys(("upperchest", "chestupper"), 5),
}
CHEST_LEVEL = 4

FINGERS = {
    "thumb": "thumb",
    "index": "index",
    "middle": "middle",
    "mid": "middle",
    "ring": "ring",
    "pinky": "pinky",
    "little": "pinky",
}
FINGER_JOINTS = {"proximal": 1, "intermediate": 2, "distal": 3}  # Unity's and VRM's names
BIPED_FINGERS = ("thumb", "index", "middle", "ring", "pinky")  # 3ds Max Biped: Finger0, Finger01, Finger02, Finger1, …

# Words of joints that mark no point of a body: helpers of the rig, clothes, hair, things.
UNMARKED_WORDS = _words(
    """
    twist roll rolled helper aux share corrective jiggle bulge muscle fat volume dyn phys physics sec slide ik pole target goal
    ctrl ctl control driver drv mch handle null loc locator dummy grp group offset socket attach attachment mesh geo
    hair pony ponytail hat helm helmet cape cloak skirt dress cloth coat ribbon scarf strap belt rope chain breast boob bust
    weapon sword shield gun rifle bow prop item bag backpack pouch holster sheath armor pad camera light
    brow eyebrow eyelid lid lip cheek tongue teeth tooth mouth nostril
    tail wing paw hoof fin
    """
)
END_WORDS = frozenset({"end", "nub", "site", "effector", "endsite"})
# Words of four legs and wings: a body that has them is a person only if a rest pose shows one that stands.
ANIMAL_WORDS = frozenset({"tail", "wing", "paw", "hoof", "fin"})
NO_ANIMAL_WORDS = frozenset({"pony", "coat", "hair", "dress", "cloak", "cape"})

# What rigs put before (and behind) the names of all their joints.
PREFIX_WORDS = _words(
    """
    mixamorig mixamo character bip joint jnt jt cc def org armature j b bn bone skeleton skel sk rig metarig avatar actor
    vrm c bind
    """
)
SUFFIX_WORDS = frozenset({"joint", "jnt", "jt", "bone", "bnd", "bind", "m", "c"})


def ranked(groups: tuple[str, ...]) -> dict[str, int]:
    """Word → index of its group."""
    return {word: rank for rank, group in enumerate(groups) for word in group.split()}


FINGER_WORDS = frozenset({f"{start}{finger}" for start in ("", "hand", "f", "finger") for finger in FINGERS} | {"finger"})
#: Words that stand for a joint on one side.
SIDED_WORDS = FINGER_WORDS | {
    word
    for groups in (
        *LEG_WORDS.values(),
        *ARM_WORDS.values(),
        *((words,) for words, _ in OTHER_SIDED_WORDS.values()),
    )
    for word in ranked(groups)
}
#: All words that stand for a point of the body.
BODY_WORDS = SIDED_WORDS | {
    word
    for groups in (
        PELVIS_WORDS,
        NECK_WORDS,
        UPPER_NECK_WORDS,
        (NECK_NOSE,),
        HEAD_WORDS,
        HEAD_TOP_WORDS,
        *FACE_WORDS.values(),
        tuple(SPINE_LEVELS),
    )
    for word in ranked(groups)
}
