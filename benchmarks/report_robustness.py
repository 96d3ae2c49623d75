"""The tables of a results file of `robustness.py`, as a page.

python benchmarks/report_robustness.py docs/results/robustness.json docs/robustness.md
"""

import json
from pathlib import Path
from typing import Any

import typer


PAGE = """# How robust motion patches are to the skeleton

Written by `python benchmarks/report_robustness.py` from `docs/results/{results}`; measured by
`python benchmarks/robustness.py --seed {seed} --precision {precision}` at commit {commit}, torch {torch}.

Training data: {data}. Epochs: {epochs}.

Every row is the base setting with one thing changed, or several that helped. A cell `a / b` gives the result with the *shared*
statistics of the training skeletons, and with statistics *fitted* on the target's motions without their labels. All but the first
column are percentages.

- **same / different**: the same procedural motions on every named skeleton: mean distance between the patches of one motion on
  two skeletons, over that between different motions on two skeletons. Less is better. **nearest is the same motion**: how often
  the nearest patches on another skeleton are those of the same motion.
- **unseen kinect20**: 190 procedural motions on a skeleton that training left out, classified over 19 actions: zero-shot by
  text, or by the nearest training motion.
- **CMU**: 27 trials that exist on body21 and on cmu31, kept out of training: each found on the other skeleton, first hit.
- **UTD**: UTD-MHAD, a Kinect data set that training never saw. *27 actions*: motions of one subject by the nearest of five other
  subjects. *named*: four actions that the training data names too, by text, or by the nearest training motion.
- **nearest neighbour on joints**: the baseline: leg-length scale, joints relative to the pelvis, first frame facing forward, 32
  frames, 13 points that all skeletons have.
"""
UNTRAINED = {
    "same / different": ("patches", "{}: same / different"),
    "nearest is the same motion": ("patches", "{}: nearest is the same motion"),
    "unseen kinect20: nearest": ("procedural", "nearest neighbour"),
    "CMU": ("real", "cmu retrieval"),
    "UTD, 27 actions: nearest": ("real", "utd 27, nearest neighbour"),
}
TRAINED = {
    "unseen kinect20: zero-shot": ("procedural", "zero-shot"),
    "nearest": ("procedural", "nearest neighbour"),
    "CMU": ("real", "cmu retrieval"),
    "UTD, named: zero-shot": ("real", "utd named"),
    "UTD, named: nearest": ("real", "utd named, nearest neighbour"),
    "UTD, 27 actions: nearest": ("real", "utd 27, nearest neighbour"),
}


def main(results: Path, output: Path) -> None:
    """Write the page."""
    content = json.loads(results.read_text(encoding="utf-8"))
    page = PAGE.format(
        **{key: content[key] for key in ("seed", "precision", "commit")},
        results=results.name,
        torch=content["versions"]["torch"],
        data="; ".join(f"{name}: {text}" for name, text in content["data"].items()),
        epochs=", ".join(f"{number} on {name} motion" for name, number in content["epochs"].items()),
    )
    measured = {name: entry for name, entry in content["settings"].items() if "untrained" in entry}
    untrained = {name: {"patches": entry["patches"], **entry["untrained"]} for name, entry in measured.items()}
    trained = {name: entry for name, entry in measured.items() if "real" in entry}
    trained |= {f"{name}, **target in training**": entry["seen"] for name, entry in trained.items() if "seen" in entry}
    references = {
        "*chance*": content["chance"],
        "*nearest neighbour on joints*": content["nearest neighbour on joints"],
    }
    lines = [page, "## Patches, before anything is learned", "", *table(UNTRAINED, references, untrained)]
    lines += ["", "## Trained models", "", *table(TRAINED, references, trained)]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(columns: dict[str, tuple[str, str]], references: dict[str, Any], rows: dict[str, Any]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = ["| setting | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    for name, values in references.items():
        cells = [format(values[key], ".1f") if key in values else "" for _, key in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, entry in rows.items():
        cells = [cell(entry.get(part), key) for part, key in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def cell(entry: dict[str, Any] | None, key: str) -> str:
    """`shared / fitted`, or one of them where they are the same thing."""
    if entry is None:
        return ""
    if "{}" in key:
        return " / ".join(format(entry[key.format(name)], ".2f" if "/" in key else ".1f") for name in ("shared", "fitted"))
    values = [format(entry[name][key], ".1f") for name in ("shared", "fitted") if name in entry]
    return values[0] if key == "cmu retrieval" else " / ".join(values)


if __name__ == "__main__":
    typer.run(main)
