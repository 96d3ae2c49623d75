"""Find the moments of a long recording that sentences describe, and draw the scores over time.

The recording is looked at through windows of several lengths; each is embedded once, whatever the number of sentences.

    make quickstart                                 # leaves the model
    python examples/localise.py --recording FILE    # yours
    python examples/localise.py                     # three motions, one after the other
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from motionpatches import make_motions
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.localisation import draw_localisation, embed_recording, localise


def main(
    recording: Annotated[Path | None, typer.Option(help="A motion file; default one that is made.")] = None,
    query: Annotated[list[str], typer.Option(help="A sentence. Repeatable.")] = [  # noqa: B006
        "a person kicks",
        "a person waves",
    ],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a model.")] = "quickstart/run/best",
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("runs/examples/moments.png"),
) -> None:
    model, processor = load_checkpoint(checkpoint)
    motion = str(recording) if recording is not None else make_recording()
    embedded = embed_recording(model, processor, motion)  # each window once, for any number of sentences
    found = localise(model, processor, embedded, query, top_k=2)
    for moment in found.moments:
        print(f"  {moment['start']:5.1f} to {moment['end']:5.1f} s  {moment['score']:.3f}  {moment['label']}")
    output.parent.mkdir(parents=True, exist_ok=True)
    draw_localisation(found, "recording").savefig(output, dpi=110)
    print(f"drawn in {output}")


def make_recording() -> dict:
    """A walk, a kick and a wave, each beginning where the one before ended."""
    parts, place = [], np.zeros(3)
    for action in ("walk", "kick", "wave"):
        joints = make_motions(1, "smpl22", actions=[action])[0]["joints"]
        parts.append(joints - joints[0, 0] * [1, 0, 1] + place)
        place = parts[-1][-1, 0] * [1, 0, 1]
    print(f"a walk until {len(parts[0]) / 20:.1f} s, a kick until {(len(parts[0]) + len(parts[1])) / 20:.1f} s, then a wave")
    return {"joints": np.concatenate(parts), "skeleton": "smpl22", "fps": 20}


if __name__ == "__main__":
    typer.run(main)
