"""Share a model on the Hub, with a card that says what was measured, and load it again by its name.

Model, processor, pipeline code and card go there in one commit. Log in once with `hf auth login`.

    make quickstart                         # leaves the model
    python examples/push_to_hub.py user/my-model
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import pipeline

from motionpatches import make_motions, push_to_hub
from motionpatches.training.inference import load_checkpoint


def main(
    repo_id: Annotated[str, typer.Argument(help="Name on the Hub: user/name.")],
    checkpoint: Annotated[str, typer.Option(help="Folder of a model.")] = "quickstart/run/best",
    results: Annotated[Path | None, typer.Option(help="Results file of `motionpatches evaluate`, for the card.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights, as the Hub names it, e.g. cc-by-4.0.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it.")] = False,
) -> None:
    model, processor = load_checkpoint(checkpoint)
    facts = {"language": "en", **({} if licence is None else {"licence": licence})}
    commit = push_to_hub(model, processor, repo_id, results=results, facts=facts, private=not public)
    print(f"pushed: {commit.commit_url}")

    classify = pipeline("zero-shot-motion-classification", model=repo_id)
    motion = make_motions(1, "smpl22", actions=["wave"])[0]
    for entry in classify(motion["joints"], candidate_labels=["waves", "kicks"], skeleton="smpl22", fps=motion["fps"]):
        print(f"  {entry['score']:.2f}  {entry['label']}")


if __name__ == "__main__":
    typer.run(main)
