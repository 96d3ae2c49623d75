"""Judge motions that a generator made from texts, beside real motions: motion-text score, R-precision, FID, diversity.

Two made-up generators stand in for yours: one whose motions fit their texts, and one whose motions belong to other texts. FID
cannot tell the second from the first, as it looks at the motions alone; R-precision can.

    make quickstart                         # leaves the model that judges
    python examples/evaluate_generator.py
"""

from typing import Annotated

import typer

from motionpatches import make_motions
from motionpatches.training.generation_metrics import score_motions
from motionpatches.training.inference import Gallery, load_checkpoint


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of the model that judges.")] = "quickstart/run/best",
    num: Annotated[
        int, typer.Option(help="Motions of each generator, more than the embedding has dimensions.", min=32)
    ] = 320,
) -> None:
    model, processor = load_checkpoint(checkpoint)
    real, made = (make_motions(num, "smpl22", seed) for seed in (0, 1))
    texts = [motion["captions"][0] for motion in made]
    for name, captions in (("fits its texts", texts), ("other texts", [*texts[1:], texts[0]])):
        scores = score_motions(model, processor, gallery(made, captions), gallery(real), seed=0)
        precision = scores["r_precision"]
        print(
            f"{name}: score {scores['motion_text_score']:.3f}, R-precision {precision['top1']:.1f} % "
            f"(by chance {precision['chance']['top1']:.1f}), FID {scores['fid']:.4f}, diversity {scores['diversity']:.3f} "
            f"(real {scores['reference_diversity']:.3f})"
        )
    print(scores["note"])


def gallery(motions: list[dict], captions: list[str] | None = None) -> Gallery:
    """Motions as they are judged: what the processor takes, an id and the texts of each."""
    inputs = [{key: motion[key] for key in ("joints", "skeleton", "fps")} for motion in motions]
    texts = [[caption] for caption in captions] if captions else [motion["captions"] for motion in motions]
    return Gallery(inputs, [motion["id"] for motion in motions], texts)


if __name__ == "__main__":
    typer.run(main)
