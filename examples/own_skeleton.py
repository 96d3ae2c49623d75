"""Use a model on a skeleton that nobody named: understand its joints, look at it, and adapt the statistics without labels.

A studio's rig is described by the names of its joints and their parents. `Skeleton.infer` finds the five chains of motion patches
in it; `fit` computes what its motions look like on average, from motions alone.

    make quickstart                         # leaves the model, which never saw this skeleton
    python examples/own_skeleton.py
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from motionpatches import Skeleton, make_motions
from motionpatches.processing.plotting_skeletons import plot_rest_pose
from motionpatches.training.inference import load_checkpoint


LABELS = ["waves", "kicks", "squats", "jumps"]


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a model.")] = "quickstart/run/best",
    output: Annotated[Path, typer.Option(help="Folder for the picture and the adapted processor.")] = Path(
        "runs/examples/skeleton"
    ),
    num: Annotated[int, typer.Option(help="Motions without labels to adapt to.")] = 16,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    skeleton = Skeleton.infer(*rig(), name="studio")
    print(f"understood with confidence {skeleton.confidence:.2f}")
    for part, chain in skeleton.chains.items():
        print(f"  {part}: {' → '.join(skeleton.joint_names[joint] for joint in chain)}")
    plot_rest_pose(skeleton).savefig(output / "studio.png", dpi=110)

    model, processor = load_checkpoint(checkpoint)
    motion = as_input(make_motions(1, skeleton, seed=1, actions=["wave"])[0], skeleton)
    print(f"as trained: {best_label(model, processor, motion)}")
    unlabelled = [as_input(made, skeleton) for made in make_motions(num, skeleton, seed=2)]
    processor.feature_extractor.fit(unlabelled)
    print(f"adapted:    {best_label(model, processor, motion)}")
    processor.save_pretrained(output / "processor")


def rig() -> tuple[list[str], list[int]]:
    """Joint names, and the index of the parent of each; the root has -1."""
    names, parents = ["Hips", "Spine", "Chest", "Neck", "Head"], [-1, 0, 1, 2, 3]
    for side in ("L", "R"):
        for first, chain in ((0, ["Thigh", "Shin", "Foot", "Toe"]), (2, ["Clavicle", "UpperArm", "Forearm", "Hand"])):
            for place, joint in enumerate(chain):
                parents.append(first if place == 0 else len(names) - 1)
                names.append(f"{side}_{joint}")
    return names, parents


def as_input(made: dict, skeleton: Skeleton) -> dict:
    """What the processor takes: joints (T, J, 3), whose they are, and the frame rate."""
    return {"joints": made["joints"], "skeleton": skeleton, "fps": made["fps"]}


def best_label(model, processor, motion: dict) -> str:
    """The label that fits a motion best, with its share among all of them."""
    texts = [f"A person {label}." for label in LABELS]
    inputs = processor(motions=[motion], text=texts, return_tensors="pt", padding=True).to(model.device)
    with torch.no_grad():
        shares = model(**inputs).logits_per_motion.softmax(-1)[0]
    return f"{LABELS[int(shares.argmax())]} ({float(shares.max()):.2f})"


if __name__ == "__main__":
    typer.run(main)
