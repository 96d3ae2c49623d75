"""Write docs/skeletons.md and the figures that it shows, from the definitions of the named skeletons.

Run it after a change to processing/named_skeletons.py: python docs/draw_skeletons.py
"""

import io
from pathlib import Path

from motionpatches.processing.named_skeletons import DEFINITIONS
from motionpatches.processing.plotting_skeletons import plot_rest_pose
from motionpatches.processing.skeletons import PARTS, Skeleton, get_skeleton, list_skeletons


DOCS = Path(__file__).parent
DOTS_PER_INCH = 100
COLORS = 48

INTRODUCTION = """\
# Skeletons

<!-- Written by docs/draw_skeletons.py; change processing/named_skeletons.py and run it again. -->

The skeletons that the package knows by name. Joints are in the order of their owner, which is the order of the joint axis of
a motion, shape (T, J, 3). Unit and up axis are those in which motions of the skeleton are distributed; the processor
converts them. A motion in another unit or with another up axis needs a skeleton of its own, which is one line:
`dataclasses.replace(get_skeleton("h36m17"), name="h36m17_m", unit="metres")`.

Each joint *marks* a point of the body. From the points follow the rest pose in the figures, the joints that a mirror swaps,
and the five chains that become motion patches: two legs, two arms and the torso, each outwards from the torso. Joints in no
chain (fingers, faces, heels) are not seen by the model. *Virtual* joints are not in the data: each is the weighted mean of
joints that are, and gives a skeleton the pelvis, neck or head that it lacks. Figures face the reader, so that the right hand
is on the left.
"""


def page() -> str:
    """The text of docs/skeletons.md."""
    return "\n".join([INTRODUCTION, _overview(), *(_section(get_skeleton(name)) for name in list_skeletons())])


def _overview() -> str:
    rows = ["| skeleton | joints | unit | up | what it is |", "|---|---|---|---|---|"]
    for name in list_skeletons():
        skeleton = get_skeleton(name)
        count = f"{skeleton.num_joints}" + (f" + {len(skeleton.virtual)} virtual" if skeleton.virtual else "")
        about = DEFINITIONS[name].about
        rows.append(f"| [`{name}`](#{name}) | {count} | {skeleton.unit} | {skeleton.up_axis} | {about} |")
    return "\n".join(rows) + "\n"


def _section(skeleton: Skeleton) -> str:
    name, definition = skeleton.name, DEFINITIONS[skeleton.name]
    lines = [
        f"## {name}",
        "",
        definition.about,
        "",
        f"Source: {definition.source}. Unit: {skeleton.unit}. Up axis: {skeleton.up_axis}.",
        "",
        f"![Rest pose of {name}](images/skeletons/{name}.png)",
        "",
        "| index | joint | parent | marks |",
        "|---|---|---|---|",
        *(_row(skeleton, joint) for joint in range(skeleton.num_nodes)),
        "",
        "Chains:",
        "",
        *(f"- {part.replace('_', ' ')}: {_chain(skeleton, part)}" for part in PARTS),
        "",
    ]
    return "\n".join(lines)


def _row(skeleton: Skeleton, joint: int) -> str:
    parent, point = skeleton.parents[joint], skeleton.points[joint]
    name = f"`{skeleton.joint_names[joint]}`"
    if joint >= skeleton.num_joints:
        weights = skeleton.virtual[joint - skeleton.num_joints]
        name += " (virtual: " + " + ".join(f"{weight:g} · joint {other}" for other, weight in weights) + ")"
    return f"| {joint} | {name} | {'' if parent < 0 else parent} | {(point or '').replace('_', ' ')} |"


def _chain(skeleton: Skeleton, part: str) -> str:
    return " → ".join(f"{skeleton.joint_names[joint]} ({joint})" for joint in skeleton.chains[part])


def picture(name: str) -> bytes:
    """The figure of a named skeleton as PNG with few colours, which keeps it small."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    plot_rest_pose(name).savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    Image.open(drawn).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    images = DOCS / "images" / "skeletons"
    images.mkdir(parents=True, exist_ok=True)
    for name in list_skeletons():
        (images / f"{name}.png").write_bytes(picture(name))
    (DOCS / "skeletons.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
