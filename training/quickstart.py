"""`motionpatches quickstart`: the whole path on procedural motion, with nothing to download."""

from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from rich.console import Console
from transformers import AutoModel, AutoProcessor, pipeline

from ..processing.corpora import to_dataset
from ..processing.motion import Motion
from ..processing.plotting import plot_motion_and_patches
from ..processing.procedural import list_actions, make_motions
from ..processing.readers import write_npz
from ..processing.skeletons import get_skeleton
from .evaluation import evaluate, print_evaluation
from .inference import Gallery, draw_hits, motions_by_text
from .loop import train
from .recipe import load_recipe
from .results import environment, write_json
from .run import describe_data


TRAINED_SKELETONS = ("smpl22", "body21", "cmu31", "kit21")
UNSEEN_SKELETON = "kinect20"
TEMPO, AMPLITUDE = (0.7, 1.4), (0.8, 1.2)
SLOWER, FASTER = (0.55, 0.65), (1.5, 1.8)
QUERIES = ("a person walks forward", "someone waves with the left hand", "a person jumps twice")
# Seeds of the parts are this far apart, so that no part repeats a motion of another.
_SEED_STEP = 1000


def run_quickstart(
    output: Path, seed: int, console: Console, motions_per_skeleton: int = 400, epochs: int | None = None
) -> dict:
    """Make motions, train, evaluate, save, reload, classify, retrieve and draw.

    `output` then holds `data/` (a saved `DatasetDict`), `motions/` (a motion file of each action), `run/` (the training run;
    `run/best` is the model), `results.json`, `retrieval.png` and `motion_patches.png`.

    Args:
        output: Folder; it must not hold an earlier quickstart.
        seed: Seed of data and training.
        console: Where to report.
        motions_per_skeleton: Training motions on each of `TRAINED_SKELETONS`.
        epochs: Replaces the recipe's number of epochs.

    Returns:
        The content of `results.json`.

    Raises:
        FileExistsError: If `output` holds an earlier quickstart.
    """
    if (output / "run").exists():
        raise FileExistsError(f"{output} holds an earlier quickstart; remove it, or choose another --output")
    console.rule("1. motions")
    data, galleries = make_data(seed, motions_per_skeleton)
    DatasetDict({**data, "test": galleries["test"]}).save_to_disk(str(output / "data"))
    files = write_samples(output / "motions", seed)
    console.print(f"train: {describe_data(data['train'])}; {len(list_actions())} actions", highlight=False)

    console.rule("2. training")
    recipe = load_recipe("quickstart", [f"seed={seed}", *([f"epochs={epochs}"] if epochs else [])])
    trained = train(recipe, data, output / "run")
    checkpoint = output / "run" / "best"

    console.rule("3. evaluation, each row beside chance")
    model, processor = AutoModel.from_pretrained(checkpoint), AutoProcessor.from_pretrained(checkpoint)
    results = {name: evaluate(model, processor, rows)["all"] for name, rows in galleries.items()}
    print_evaluation(results, console)

    console.rule("4. zero-shot classification of a file, and retrieval by a sentence")
    classify = pipeline("zero-shot-motion-classification", model=str(checkpoint))
    file = files["wave"]
    labels = ["walks", "jumps", "waves", "sits down", "kicks"]
    scores = classify(str(file), candidate_labels=labels)
    console.print(f"{file}: " + ", ".join(f"{entry['label']} {entry['score']:.2f}" for entry in scores), highlight=False)
    rows = galleries["test"]
    gallery = Gallery(rows, rows["id"][:], rows["captions"][:])
    found = motions_by_text(model, processor, QUERIES, gallery, top=3)
    for query, hits in zip(QUERIES, found, strict=True):
        console.print(f"“{query}” → {hits[0]['captions'][0]}", highlight=False)
    draw_hits(processor, gallery, list(QUERIES), found).savefig(output / "retrieval.png", dpi=110)
    draw_patches(processor, seed).savefig(output / "motion_patches.png", dpi=110)

    content = {
        "task": "quickstart",
        "command": f"motionpatches quickstart --seed {seed}",
        "data": {name: describe_data(part) for name, part in {"train": data["train"], **galleries}.items()},
        "ranges": {"tempo": TEMPO, "amplitude": AMPLITUDE, "outside": {"tempo": [SLOWER, FASTER]}},
        "seed": seed,
        "epochs": trained["epochs"],
        "best_epoch": trained["best_epoch"],
        "recipe": recipe.to_dict(),
        "results": results,
        **environment(),
    }
    write_json(output / "results.json", content)
    console.print(f"\nmodel: {checkpoint}\nresults: {output / 'results.json'}\npictures: {output}/*.png", highlight=False)
    return content


def make_data(seed: int, motions_per_skeleton: int) -> tuple[DatasetDict, dict[str, Dataset]]:
    """Training and validation motions, and three test galleries: `test`, made like the training motions; `slower and faster`, at
    tempos outside the training range; and `unseen …`, on a skeleton that training never saw."""
    base = seed * 100 * _SEED_STEP

    def make(part: int, num: int, skeletons: tuple[str, ...], tempo: tuple[float, float] = TEMPO) -> Dataset:
        rows = []
        for index, skeleton in enumerate(skeletons):
            motions = make_motions(num, skeleton, base + part * _SEED_STEP + index, tempo=tempo, amplitude=AMPLITUDE)
            rows.append(to_dataset(motions, f"procedural_{skeleton}"))
        return concatenate_datasets(rows)

    each = max(2, motions_per_skeleton // 5)
    data = DatasetDict(
        {"train": make(0, motions_per_skeleton, TRAINED_SKELETONS), "validation": make(1, each, TRAINED_SKELETONS)}
    )
    galleries = {
        "test": make(2, each, TRAINED_SKELETONS),
        "slower and faster": concatenate_datasets(
            [make(3, 2 * each, TRAINED_SKELETONS[:1], SLOWER), make(4, 2 * each, TRAINED_SKELETONS[:1], FASTER)]
        ),
        f"unseen {UNSEEN_SKELETON}": make(5, 4 * each, (UNSEEN_SKELETON,)),
    }
    return data, galleries


def write_samples(folder: Path, seed: int) -> dict[str, Path]:
    """One motion file of each action, to try the commands on; returns action → file."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for motion in make_motions(len(list_actions()), "smpl22", seed * 100 * _SEED_STEP + 9 * _SEED_STEP):
        action = motion["params"]["action"]
        files[action] = folder / f"{action.replace(' ', '_')}.npz"
        write_npz(files[action], Motion(motion["joints"], get_skeleton(motion["skeleton"]), motion["fps"]))
    return files


def draw_patches(processor: Any, seed: int) -> Any:
    """Motions beside their patches (paper Figure 4), as a `matplotlib` figure."""
    patches = processor.feature_extractor
    items = []
    for made in make_motions(3, "smpl22", seed, actions=["walk", "wave", "jump"]):
        inputs = patches(made)
        items.append(
            {
                "joints": made["joints"],
                "skeleton": made["skeleton"],
                "caption": made["captions"][0],
                "motion_values": inputs["motion_values"][0],
                "mask": inputs["motion_attention_mask"][0],
            }
        )
    return plot_motion_and_patches(items)
