"""The package's best recipe for open mocap data against the published one: runs, each with a results file of its own.

    python benchmarks/open_mocap.py --data FOLDER --text-model FOLDER --runs runs/open_mocap --output docs/results/open_mocap

FOLDER holds the data sets cmu, cmu_asf, bandai_namco and utd_mhad in the layout of `motionpatches.processing.corpora`. Runs
that have a results file are not run again, and a run that was interrupted goes on. `report_open_mocap.py` compares them.

Settings:
    all           train on all training splits; judged on the test splits of bandai_namco, cmu and utd_mhad (an unseen subject)
    style_out     three styles of bandai_namco are kept out of training and validation; judged on all motions in these styles
    skeleton_out  utd_mhad, the only Kinect, is kept out; judged on all of it
    kinect        utd_mhad alone, by subject, for twice the epochs; each part of the best recipe is left out in turn (`--variant`)
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset, DatasetDict, concatenate_datasets
from robustness import accuracy, embed_plainly, nearest

from motionpatches.processing.corpora import load_motions
from motionpatches.training.evaluation import embed_motions, embed_texts, evaluate, zero_shot
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.loop import train
from motionpatches.training.metrics import label_map, label_precisions, retrieval_hits
from motionpatches.training.recipe import load_recipe
from motionpatches.training.results import command_line, environment, shorten_path, write_json
from motionpatches.training.run import describe_data
from motionpatches.training.run_folder import can_resume


STYLES_OUT = ("elderly", "exhausted", "feminine")
TESTED = ("bandai_namco", "cmu", "utd_mhad")  # cmu_asf has the trials of cmu on another skeleton
#: Epochs of a setting whose runs are of other lengths than the recipes say: UTD-MHAD alone makes few steps in each.
EPOCHS = {"kinect": 40}
SELECTED_ON = {"skeleton_out": "bandai_namco", "kinect": "utd_mhad"}  # elsewhere as the recipes say
#: Actions of UTD-MHAD that the other data sets name too.
NAMED_ACTIONS = ("walking in place", "jogging in place", "right hand wave", "front boxing")
SETTINGS = ("all", "style_out", "skeleton_out", "kinect")
RECIPES = ("open_mocap_published", "open_mocap_best")
#: The best recipe with one part as in the published one, or otherwise; "whole" is the recipe itself. (`balance` and `batch_by`
#: change nothing where there is one data set.)
VARIANTS = {
    "whole": [],
    "batches of 128": ["batch_size=128"],
    "no label captions": ["label_caption="],
    "equal labels in a batch": ["unique_labels=false"],
    "part CutMix": ["augment_part_mix=0.3"],
    "no average of weights": ["ema_decay="],
    "fixed temperature": ["learn_logit_scale=false"],
    "no other augmentation": [f"augment_{name}=0" for name in ("heading", "tempo", "offset", "jitter")],
    "mirrored pairs": ["augment_mirror=0.5"],
    "no canonical frame, no body scale": ["canonicalize=false", "body_scale=", "root=global"],
    "published patches": ["interpolation=half_pixel", "normalization=joints", "min_std=0.001"],
    "no window mask": ["padding=max_length", "window_mask=false"],
    "published rates": ["lr_motion=1e-4", "lr_text=1e-5", "lr_head=1e-4", "max_grad_norm="],
    "frozen text tower": ["lr_text=0"],
    "sigmoid loss": ["loss=sigmoid"],
    "equal captions as positives": ["loss=duplicate_aware", "unique_captions=false", "unique_labels=false"],
}


def main(
    data: Annotated[Path, typer.Option(help="Folder with the data sets.")],
    text_model: Annotated[str, typer.Option(help="Folder or Hub id of the text model.")],
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")],
    output: Annotated[Path, typer.Option(help="Folder for the results files.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Which recipes; default both. Repeatable.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Which settings; default all. Repeatable.")] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Which variants of the best recipe in the setting kinect; default all.")
    ] = None,
    seeds: int = 3,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Replace a field of the recipes.")] = None,
) -> None:
    """Train and judge each recipe in each setting with each seed."""
    loaded = load_motions(data)
    for seed in range(seeds):
        for name in setting or SETTINGS:
            for chosen, part in to_compare(name, recipe or RECIPES, variant or VARIANTS):
                words = [name, chosen.removeprefix("open_mocap_"), *([] if part == "whole" else [part.replace(" ", "-")])]
                file = output / f"{'_'.join(words)}_seed{seed}.json"
                if not file.exists():
                    print(f"== {file.stem}", flush=True)
                    fields = [*VARIANTS[part], *(overrides or []), f"text_name={text_model}", f"seed={seed}", "tracker=none"]
                    write_json(file, {"variant": part, **run(name, chosen, fields, loaded, runs / file.stem)})


def to_compare(setting: str, recipes: Iterable[str], variants: Iterable[str]) -> list[tuple[str, str]]:
    """Recipes and variants of a setting: the variants are of the best recipe, in the setting `kinect`."""
    return [
        (recipe, variant)
        for recipe in recipes
        for variant in (variants if (setting, recipe) == ("kinect", "open_mocap_best") else ["whole"])
    ]


def run(setting: str, recipe_name: str, fields: list[str], loaded: DatasetDict, folder: Path) -> dict[str, Any]:
    """Train, or go on with, one run and judge its best checkpoint."""
    splits, tested = split(setting, loaded)
    if setting in SELECTED_ON:
        fields = [*fields, f"select_on=[{SELECTED_ON[setting]}]"]
    if setting in EPOCHS:
        fields = [f"epochs={EPOCHS[setting]}", *fields]
    recipe = load_recipe(recipe_name, fields)
    trained = train(recipe, splits, folder, resume=can_resume(folder))
    model, processor = load_checkpoint(folder / "best")
    facts = {
        "task": "open_mocap",
        "setting": setting,
        "command": command_line(),
        "recipe": {k: shorten_path(v) if isinstance(v, str) else v for k, v in trained["recipe"].items()},
        "seed": trained["seed"],
        "epochs": trained["epochs"],
        "best_epoch": trained["best_epoch"],
        "validation": trained["best"]["validation"],
        "data": {name: describe_data(rows) for name, rows in {**splits, "test": tested}.items()},
    }
    judged = {"results": evaluate(model, processor, tested), "queries": per_query(model, processor, tested)}
    if setting != "style_out":
        judged["utd_mhad"] = judge_kinect(model, processor, loaded, setting)
    return {**facts, **judged, **environment()}


def split(setting: str, loaded: DatasetDict) -> tuple[DatasetDict, Dataset]:
    """Splits train and validation, and what a setting is judged on."""
    names = {part: np.array(rows["dataset"]) for part, rows in loaded.items()}
    if setting == "all":
        return DatasetDict({part: loaded[part] for part in ("train", "validation")}), loaded["test"].select(
            np.flatnonzero(np.isin(names["test"], TESTED))
        )
    if setting == "style_out":
        out = {part: np.isin(np.array(rows["style"][:], dtype=object), STYLES_OUT) for part, rows in loaded.items()}
    elif setting == "kinect":
        alone = {part: loaded[part].select(np.flatnonzero(names[part] == "utd_mhad")) for part in loaded}
        return DatasetDict({part: alone[part] for part in ("train", "validation")}), alone["test"]
    else:
        out = {part: name == "utd_mhad" for part, name in names.items()}
    tested = concatenate_datasets([loaded[part].select(np.flatnonzero(out[part])) for part in loaded])
    kept = {part: loaded[part].select(np.flatnonzero(~out[part])) for part in ("train", "validation")}
    return DatasetDict(kept), tested


def per_query(model: Any, processor: Any, rows: Dataset) -> dict[str, Any]:
    """What paired comparisons need: for each motion, whether it was found, and the average precision by labels."""
    captions = [texts[0] for texts in rows["captions"]]
    motions, texts = embed_motions(model, processor, rows), embed_texts(model, processor, captions)
    labels = list(zip(rows["label"][:], rows["style"][:], strict=True))
    hits = {f"hit@{k}": retrieval_hits(texts, motions, k, captions) for k in (1, 10)}
    precision = {
        "t2m": label_precisions(texts, motions, labels, labels),
        "m2t": label_precisions(motions, texts, labels, labels),
    }
    actions = rows["label"][:]
    return {
        "label_map": {
            "action": {
                "t2m": label_map(texts, motions, actions, actions),
                "m2t": label_map(motions, texts, actions, actions),
            },
            "action_and_style": {way: 100 * float(values.mean()) for way, values in precision.items()},
        },
        "ids": rows["id"][:],
        **{
            name: {way: [round(float(v), 4) for v in values] for way, values in found.items()}
            for name, found in hits.items()
        },
        "average_precision": {way: [round(float(v), 4) for v in values] for way, values in precision.items()},
    }


def judge_kinect(model: Any, processor: Any, loaded: DatasetDict, setting: str) -> dict[str, Any]:
    """UTD-MHAD by subject: the test subject by text, and by the nearest motion of the training subjects; beside the nearest by
    plain geometry."""
    parts = {p: loaded[p].select(np.flatnonzero(np.array(loaded[p]["dataset"]) == "utd_mhad")) for p in ("train", "test")}
    embeds = {part: embed_motions(model, processor, rows) for part, rows in parts.items()}
    plain = {part: embed_plainly(rows) for part, rows in parts.items()}
    labels = {part: rows["label"][:] for part, rows in parts.items()}

    def by_nearest(features: dict[str, np.ndarray]) -> float:
        return accuracy([labels["train"][index] for index in nearest(features["test"], features["train"])], labels["test"])

    found = {
        "num": len(parts["test"]),
        "zero_shot": zero_shot(model, processor, embeds["test"], labels["test"]),
        "nearest_by_embedding": by_nearest(embeds),
        "nearest_by_joints": by_nearest(plain),
    }
    if setting == "skeleton_out":
        rows = concatenate_datasets(list(parts.values()))
        named = rows.select([i for i, label in enumerate(rows["label"]) if label in NAMED_ACTIONS])
        found["zero_shot_of_named_actions"] = zero_shot(
            model, processor, embed_motions(model, processor, named), named["label"][:]
        )
    return found


if __name__ == "__main__":
    typer.run(main)
