"""Search a library of BVH files of your own, with a sentence, with a motion, and with both.

Each file is embedded once. The index is saved, and the same call again embeds only what is new or has changed.

    make quickstart                                         # leaves the model
    python examples/own_bvh_library.py --library FOLDER     # your files
    python examples/own_bvh_library.py                      # some files that it makes first
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from motionpatches import MotionIndex, get_skeleton, make_motions


def main(
    library: Annotated[Path | None, typer.Option(help="Folder of motion files; default some that are made.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a model.")] = "quickstart/run/best",
    output: Annotated[Path, typer.Option(help="Folder for the index.")] = Path("runs/examples/library"),
    query: Annotated[str, typer.Option(help="A sentence.")] = "a person kicks",
) -> None:
    if library is None:
        library = output / "files"
        make_library(library)
    index = MotionIndex(checkpoint)
    report = index.add(library)
    print(f"{report['indexed']} of {report['found']} files are in the index; left out: {report['left_out'] or 'none'}")
    index.save(output / "index")

    index = MotionIndex.load(output / "index")
    hits = index.search(query, top_k=3)
    show(f"“{query}”", hits)
    show(f"like {hits[0]['id']}", index.search(motion=hits[0]["path"], top_k=3))
    show(f"“{query}”, and a little like {hits[-1]['id']}", index.search(query, hits[-1]["path"], weight=0.3, top_k=3))
    show(f"“{query}”, longer than a second", index.search(query, top_k=3, where="duration > 1"))


def show(what: str, hits: list[dict]) -> None:
    print(what)
    for hit in hits:
        print(f"  {hit['score']:.3f}  {hit['id']}  {hit['duration']:.1f} s, {hit['skeleton']}")


def make_library(folder: Path) -> None:
    """A BVH file of each of a few actions, on the joints that BVH conversions of motion capture share."""
    folder.mkdir(parents=True, exist_ok=True)
    for motion in make_motions(6, "body21", actions=["walk", "kick", "wave", "jump", "squat", "sit down"]):
        name = motion["label"].replace(" ", "_")
        write_bvh(folder / f"{name}.bvh", motion["joints"], motion["skeleton"], motion["fps"])


def write_bvh(file: Path, joints: np.ndarray, skeleton: str, fps: float) -> None:
    """Joint positions (T, J, 3) as a BVH file whose joints move and do not turn."""
    tree = get_skeleton(skeleton)
    lines, columns = ["HIERARCHY"], []

    def write_joint(joint: int) -> None:
        parent = tree.parents[joint]
        place = joints[:, joint] if parent < 0 else joints[:, joint] - joints[:, parent]
        columns.append(place)
        lines.extend([f"{'ROOT' if parent < 0 else 'JOINT'} {tree.joint_names[joint]}", "{"])
        lines.extend([f"OFFSET {place[0, 0]:.5f} {place[0, 1]:.5f} {place[0, 2]:.5f}"])
        lines.append("CHANNELS 3 Xposition Yposition Zposition")
        children = [child for child, above in enumerate(tree.parents) if above == joint]
        for child in children:
            write_joint(child)
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 0 0", "}"])
        lines.append("}")

    write_joint(tree.parents.index(-1))
    frames = np.concatenate(columns, axis=1)
    lines.extend(["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1 / fps:.6f}"])
    lines.extend(" ".join(f"{value:.5f}" for value in frame) for frame in frames)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
