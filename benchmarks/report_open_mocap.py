"""From the results files of `open_mocap.py` to a page and a summary: means over seeds, and paired gains with their intervals.

python benchmarks/report_open_mocap.py docs/results/open_mocap docs/open_mocap.md docs/results/open_mocap_summary.json
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from motionpatches.training.evaluation import mean_recall
from motionpatches.training.intervals import difference_interval
from motionpatches.training.results import command_line, environment, write_json


RECIPES = ("published", "best")
COLUMNS = ("R@1", "R@3", "R@5", "R@10", "MedR")
SETTINGS = {
    "all": "all data sets",
    "kinect": "UTD-MHAD alone",
    "style_out": "styles left out",
    "skeleton_out": "UTD-MHAD left out",
}
#: Settings in which UTD-MHAD's training subjects are in training.
TRAINED_ON = {setting: SETTINGS[setting] for setting in ("all", "kinect")}
_TITLE = """# The best recipe against the published one

One model each for 2,886 motions on four skeletons of open mocap data (CMU, Bandai Namco Research, UTD-MHAD; most captions are
made from action labels), at equal epochs and towers: a small ViT from scratch, all-MiniLM-L6-v2 as text tower. The epoch is
chosen on the validation splits. `open_mocap_published` has the settings of the published code for HumanML3D, `open_mocap_best`
the package's.
The weights are not distributed. [Each run has a results file](results.md); this page is written by
`benchmarks/report_open_mocap.py` from what `make open-mocap` leaves.
"""
Runs = dict[tuple[str, str], list[dict[str, Any]]]


def main(
    results: Annotated[Path, typer.Argument(help="Folder of the results files.")],
    page: Annotated[Path, typer.Argument(help="Markdown page to write.")],
    summary: Annotated[Path, typer.Argument(help="JSON file to write.")],
) -> None:
    """Write the page, and what it is about in short."""
    runs: Runs = {}
    for file in sorted(results.glob("*.json")):
        content = json.loads(file.read_text())
        name = content["recipe"]["name"].removeprefix("open_mocap_")
        variant = content.get("variant", "whole")
        runs.setdefault((content["setting"], name if variant == "whole" else variant), []).append(content)
    parts = [_TITLE]
    if all(("all", name) in runs for name in RECIPES):
        compared = {
            setting: compare(runs, setting) for setting in SETTINGS if all((setting, name) in runs for name in RECIPES)
        }
        found = {
            "retrieval": recalls(runs), "gain": compared, "utd_mhad": by_subject(runs), "seeds": seeds_by_run(runs)
        }  # fmt: skip
        facts = {"task": "open_mocap_summary", "command": command_line(), "data": runs["all", "best"][0]["data"]}
        write_json(summary, {**facts, "results": found, **environment()})
        parts += [retrieval(runs, found["retrieval"]), gains(found["gain"]), kinect(runs, found["utd_mhad"])]
    parts += [left_out(runs, "style_out"), left_out(runs, "skeleton_out"), ablation(runs)]
    page.write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")


def recalls(runs: Runs) -> dict[str, Any]:
    """Recalls among all test motions: direction → recipe → column → mean and standard deviation over seeds."""
    judged = {name: [run["results"]["all"]["retrieval"]["strict"] for run in runs["all", name]] for name in RECIPES}
    return {
        way: {
            name: {column: mean_and_deviation([one[way][column] for one in found]) for column in COLUMNS}
            for name, found in judged.items()
        }
        for way in ("t2m", "m2t")
    }


def retrieval(runs: Runs, found: dict[str, Any]) -> str:
    """The gallery of all test motions, both directions."""
    rows = [
        [label, name, *(show(found[way][name][column]) for column in COLUMNS)]
        for way, label in (("t2m", "text→motion"), ("m2t", "motion→text"))
        for name in RECIPES
    ]
    num = runs["all", "best"][0]["results"]["all"]["num"]
    return (
        f"## Retrieval among {num} test motions\n\nStrict: only a motion's own caption is right. "
        + seeds_of(runs, "all")
        + table(["direction", "recipe", *COLUMNS], rows)
    )


def compare(runs: Runs, setting: str) -> dict[str, Any]:
    """What the best recipe gains on the test motions of a setting: measure → direction → means of both recipes in percent, their
    difference and its interval; and the misses at R@10."""
    gain: dict[str, Any] = {}
    for key, label in (("hit@1", "R@1"), ("hit@10", "R@10"), ("average_precision", "label mAP")):
        gain[label] = {}
        found = {way: {name: per_query(runs[setting, name], key, way) for name in RECIPES} for way in ("t2m", "m2t")}
        found["both"] = {name: (found["t2m"][name] + found["m2t"][name]) / 2 for name in RECIPES}
        for way, both in found.items():
            means = {name: float(values.mean()) for name, values in both.items()}
            low, high = difference_interval(both["published"], both["best"])
            gain[label][way] = {**means, "difference": means["best"] - means["published"], "low": low, "high": high}
    misses = {name: 100 - gain["R@10"]["both"][name] for name in RECIPES}
    gain["misses at R@10"] = {**misses, "fewer_percent": 100 * (1 - misses["best"] / misses["published"])}
    gain["num"] = runs[setting, "best"][0]["results"]["all"]["num"]
    return gain


def by_subject(runs: Runs) -> dict[str, Any]:
    """UTD-MHAD's test subject: setting → recipe → accuracies of each seed."""
    return {
        setting: {
            name: {
                "seeds": [run["seed"] for run in runs[setting, name]],
                "zero_shot": [run["utd_mhad"]["zero_shot"]["top1"] for run in runs[setting, name]],
                "mean_zero_shot": float(np.mean([run["utd_mhad"]["zero_shot"]["top1"] for run in runs[setting, name]])),
                "nearest_by_embedding": [run["utd_mhad"]["nearest_by_embedding"] for run in runs[setting, name]],
                "nearest_by_joints": runs[setting, name][0]["utd_mhad"]["nearest_by_joints"],
            }
            for name in RECIPES
            if (setting, name) in runs
        }
        for setting in TRAINED_ON
    }


def seeds_by_run(runs: Runs) -> dict[str, list[int]]:
    """Which seeds there are of each setting and recipe."""
    return {" ".join(key): sorted(run["seed"] for run in found) for key, found in runs.items()}


def gains(compared: dict[str, Any]) -> str:
    """Paired differences of best and published over the same queries."""
    parts = [
        "## Gain\n\nMean over the seeds of each query, then the difference of the two recipes over queries, in points, with the "
        "95% interval of a bootstrap over queries (BCa). R@1: only a motion's own caption is right, although most captions tell "
        "an action and a style that other motions share. Label mAP: positives share action and style."
    ]
    for setting, found in compared.items():
        rows = []
        for label in ("R@1", "R@10", "label mAP"):
            for way, direction in (("t2m", "text→motion"), ("m2t", "motion→text"), ("both", "both")):
                one = found[label][way]
                shown = f"{one['difference']:+.1f} [{one['low']:+.1f}, {one['high']:+.1f}]"
                rows.append([label, direction, f"{one['published']:.1f}", f"{one['best']:.1f}", shown])
        title = SETTINGS[setting]
        misses = found["misses at R@10"]
        missed = f"{misses['published']:.1f} → {misses['best']:.1f}, {misses['fewer_percent']:.0f}% fewer"
        parts.append(f"**{title[0].upper()}{title[1:]}**: {found['num']} motions. Misses at R@10: {missed}.")
        parts.append(table(["", "direction", "published", "best", "gain"], rows))
    return "\n\n".join(parts)


def kinect(runs: Runs, found: dict[str, Any]) -> str:
    """UTD-MHAD, a subject that training did not see."""
    rows = [
        [
            TRAINED_ON[setting], name, ", ".join(map(str, sorted(one["seeds"]))), spread(one["zero_shot"]),
            spread(one["nearest_by_embedding"]),
        ]
        for setting, recipes in found.items()
        for name, one in recipes.items()
    ]  # fmt: skip
    judged = runs["all", "best"][0]["utd_mhad"]
    return (
        f"## UTD-MHAD by subject\n\n{judged['num']} motions of subject 2, 27 actions; subjects 1, 3, 4, 5 and 7 are in "
        "training. Top-1 in percent; the nearest neighbour by plain geometry, root-relative joints in the canonical frame: "
        f"{judged['nearest_by_joints']:.1f}.\n\n"
        + table(["trained on", "recipe", "seeds", "zero-shot by text", "nearest training motion by embedding"], rows)
    )


def left_out(runs: Runs, setting: str) -> str:
    """What was kept out of training."""
    if not all((setting, name) in runs for name in RECIPES):
        return ""
    rows = []
    for name in RECIPES:
        found = [run["results"]["all"] for run in runs[setting, name]]
        row = [name, spread([one["zero_shot"]["top1"] for one in found])]
        row += [spread([one["retrieval"]["caption_equal"]["t2m"]["R@10"] for one in found])]
        if setting == "skeleton_out":
            judged = [run["utd_mhad"] for run in runs[setting, name]]
            row += [spread([one["zero_shot_of_named_actions"]["top1"] for one in judged])]
            row += [spread([one["nearest_by_embedding"] for one in judged])]
        rows.append(row)
    one = runs[setting, "best"][0]["results"]["all"]
    columns = ["recipe", f"zero-shot top-1 of {one['zero_shot']['num_classes']}", "text→motion R@10, caption-equal"]
    if setting == "style_out":
        text = "## Styles left out\n\nThree styles of Bandai Namco Research are in neither training nor validation"
    else:
        columns += ["zero-shot top-1 of 4 named elsewhere", "nearest training motion by embedding, 27 actions"]
        text = "## A skeleton left out\n\nUTD-MHAD, the only Kinect, is in neither training nor validation"
    chance = one["zero_shot"]["chance"]["top1"]
    return f"{text}; {one['num']} motions. Chance of the first column: {chance:.1f}. {seeds_of(runs, setting)}" + table(
        columns, rows
    )


def ablation(runs: Runs) -> str:
    """The best recipe without each of its parts."""
    found = {name: found for (setting, name), found in runs.items() if setting == "kinect"}
    if "best" not in found:
        return ""
    rows = []
    for name in ["best", *sorted(set(found) - set(RECIPES)), *(["published"] if "published" in found else [])]:
        validation = [run["validation"]["all"] for run in found[name]]
        test = [run["results"]["all"] for run in found[name]]
        row = [name, ", ".join(str(seed) for seed in sorted(run["seed"] for run in found[name]))]
        for results in (validation, test):
            row += [spread([one["zero_shot"]["top1"] for one in results])]
            row += [spread([mean_recall({"all": one}) for one in results])]
        rows.append([*row, spread([run["utd_mhad"]["nearest_by_embedding"] for run in found[name]])])
    return (
        "## Ablation\n\nUTD-MHAD alone: the best recipe, then with one part changed, then the published one. Recipes were "
        "chosen on the validation subject. Zero-shot: top-1 of 27 actions by text; mean recall: of strict R@1, R@5 and R@10 in "
        "both directions; nearest: the action of the nearest training motion by embedding.\n\n"
        + table(["", "seeds", "validation: zero-shot", "mean recall", "test: zero-shot", "mean recall", "nearest"], rows)
    )


def per_query(runs: list[dict[str, Any]], key: str, way: str) -> np.ndarray:
    """Mean over seeds for each query, shape (N,), in percent."""
    return 100 * np.mean([run["queries"][key][way] for run in runs], axis=0)


def mean_and_deviation(values: list[float]) -> dict[str, float]:
    """Mean over seeds, and their standard deviation where there are several."""
    deviation = {} if len(values) == 1 else {"deviation": float(np.std(values, ddof=1))}
    return {"mean": float(np.mean(values)), **deviation}


def show(found: dict[str, float]) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {found['deviation']:.1f}" if "deviation" in found else ""
    return f"{found['mean']:.1f}{deviation}"


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds where there are several."""
    return show(mean_and_deviation(values))


def seeds_of(runs: Runs, setting: str) -> str:
    """Which seeds a table is over."""
    seeds = {name: sorted(run["seed"] for run in runs[setting, name]) for name in RECIPES}
    listed = "; ".join(f"{name}: {', '.join(map(str, found))}" for name, found in seeds.items())
    return f"Seeds, mean and standard deviation over them ({listed}).\n\n"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    typer.run(main)
