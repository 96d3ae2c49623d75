"""Moments found in recordings of several motions one after the other, beside chance and beside whole recordings.

    make quickstart
    python benchmarks/localisation.py --checkpoint quickstart/run/best --data FOLDER --data-checkpoint runs/mocap/best \
        --output docs/results/localisation.json

A recording is 3 to 5 motions of different actions, joined as `processing.instructions.join_motions` does. Each of its motions is
asked for by its first caption; the truth is when that motion begins and ends. Recordings are of procedural motion, on a skeleton
that the quickstart trains on and on one that it does not, from seeds of their own; and, with --data, of a split of real motion,
each data set by itself. No motion is in two recordings. In these, where one motion ends and the next begins is plainer than in a
recording of one take, which is likely to be harder.

Measured is how well the best moment fits the truth: recall@1 at IoU=m, the percentage of queries whose first moment has an
intersection over union in time of at least m with the truth, and the mean of that intersection over union. Recall@n at IoU=m is
the measure of moment retrieval in video (Gao et al., TALL: Temporal Activity Localization via Language Query, ICCV 2017,
section 5.1). Beside it:
    chance            one of the same windows, drawn evenly: the expectation over all of them, without drawing
    whole recording   what retrieval without localisation gives at best: the right recording, from its beginning to its end
    best window       the window that fits best, which no model can beat
Intervals (95%) are bootstrapped over queries, as if those of one recording had nothing to do with each other.
"""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from datasets import Dataset

from motionpatches import make_motions
from motionpatches.motion_moments import DEFAULT_STRIDE, temporal_iou
from motionpatches.processing.corpora import load_split, to_dataset
from motionpatches.processing.instructions import ClipReader
from motionpatches.training.card_results import weights_fingerprint
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.intervals import bootstrap_interval, difference_interval
from motionpatches.training.localisation import embed_recording, localise
from motionpatches.training.quickstart import AMPLITUDE, TEMPO, TRAINED_SKELETONS, UNSEEN_SKELETON
from motionpatches.training.results import command_line, environment, read_training_facts, write_json
from motionpatches.training.run import describe_data


IOUS = (0.3, 0.5, 0.7)
CLIPS = (3, 5)
TESTED = ("bandai_namco", "cmu", "utd_mhad")
# Far above the seeds of the quickstart's data, so that no motion is one of those.
_SEED_BASE = 2 * 10**9


class Recording(NamedTuple):
    """Motions one after the other.

    Args:
        motion: By reference, as `ClipReader` reads it.
        queries: Of each motion its caption, and its beginning and end in seconds.
    """

    motion: dict[str, Any]
    queries: list[tuple[str, tuple[float, float]]]


def main(
    checkpoint: Annotated[Path, typer.Option(help="A contrastive checkpoint, for procedural motion.")],
    output: Annotated[Path, typer.Option(help="Results file; written again after each data set.")],
    data: Annotated[Path | None, typer.Option(help="Folder of real motion.")] = None,
    data_checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint for real motion; default --checkpoint.")] = None,
    split: Annotated[str, typer.Option(help="Of --data; no checkpoint may have seen it.")] = "test",
    num: Annotated[int, typer.Option(help="Procedural motions on each skeleton.")] = 160,
    window: Annotated[
        list[float] | None, typer.Option(help="Seconds of windows; default the package's. Repeatable.")
    ] = None,
    stride: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = DEFAULT_STRIDE,
    seed: int = 0,
) -> None:
    """Join motions, look for each of them, and write how well the moments found fit."""
    warnings.simplefilter("ignore")  # recordings that are shorter than the longest windows
    facts = {
        "task": "localisation",
        "command": command_line(),
        "seed": seed,
        "clips": list(CLIPS),
        "window_lengths": window or "default",
        "stride": stride,
    }
    found_here = environment()
    results: dict[str, Any] = {}
    parts = [(checkpoint, name, rows) for name, rows in make_procedural(num, seed).items()]
    if data is not None:
        rows = load_split(data, split)
        named = np.array(rows["dataset"])
        kept = [name for name in sorted(set(named)) if name in TESTED or not set(named) & set(TESTED)]
        for name in kept:
            chosen = rows.select(np.flatnonzero(named == name))
            parts.append((data_checkpoint or checkpoint, f"{name}, {split}", chosen))
    for path, name, rows in parts:
        model, processor = load_checkpoint(path)
        reader = ClipReader(rows)
        recordings, left_out = make_recordings(rows, seed)
        found = judge(model, processor, reader, recordings, window, stride)
        results[name] = {
            "data": describe_data(rows),
            "motions_left_out": left_out,
            "checkpoint": {"weights": weights_fingerprint(model), "training": read_training_facts(path)},
            **found,
        }
        write_json(output, {**facts, "results": results, **found_here})
        show(name, results[name])


def make_procedural(num: int, seed: int) -> dict[str, Dataset]:
    """Motions on a skeleton that the quickstart trains on, and on the one that it does not."""
    made = {}
    for part, (skeleton, kind) in enumerate(((TRAINED_SKELETONS[0], "trained"), (UNSEEN_SKELETON, "unseen"))):
        motions = make_motions(num, skeleton, _SEED_BASE + 2 * seed + part, tempo=TEMPO, amplitude=AMPLITUDE)
        made[f"procedural, {kind} {skeleton}"] = to_dataset(motions, f"procedural_{skeleton}")
    return made


def make_recordings(rows: Dataset, seed: int, clips: tuple[int, int] = CLIPS) -> tuple[list[Recording], int]:
    """Recordings of motions with one skeleton and frame rate, and different labels and captions; and how many motions are left.

    No motion is in two recordings.
    """
    generator = np.random.default_rng(seed)
    captions = [texts[0] for texts in rows["captions"]]
    ids, frames = rows["id"][:], rows["num_frames"][:]
    labels = rows["label"][:] if "label" in rows.column_names else [None] * len(rows)
    kinds = defaultdict(list)
    for row, kind in enumerate(zip(rows["skeleton"], rows["fps"], strict=True)):
        kinds[kind].append(row)
    recordings, left_out = [], 0
    for (_, fps), members in kinds.items():
        waiting = [members[place] for place in generator.permutation(len(members))]
        while True:
            wanted = int(generator.integers(clips[0], clips[1] + 1))
            chosen: list[int] = []
            said: set[str] = set()
            for row in waiting:
                own = {captions[row], labels[row] or captions[row]}
                if len(chosen) < wanted and not own & said:
                    chosen.append(row)
                    said |= own
            if len(chosen) < clips[0]:
                break
            waiting = [row for row in waiting if row not in chosen]
            ends = np.cumsum([frames[row] for row in chosen]) / fps
            spans = zip([0.0, *ends[:-1].tolist()], ends.tolist(), strict=True)
            pieces = [{"id": ids[row], "start": 0, "end": frames[row]} for row in chosen]
            recordings.append(Recording({"clips": pieces}, list(zip([captions[row] for row in chosen], spans, strict=True))))
        left_out += len(waiting)
    return recordings, left_out


def judge(
    model: Any, processor: Any, reader: ClipReader, recordings: list[Recording], lengths: list[float] | None, stride: float
) -> dict[str, Any]:
    """Recalls and mean intersection over union of each way, in percent."""
    scored: dict[str, list[dict[str, float]]] = defaultdict(list)
    durations, num_windows = [], 0
    for recording in recordings:
        embedded = embed_recording(model, processor, reader.read(recording.motion), lengths, stride)
        windows = embedded.windows
        durations.append(windows.duration)
        num_windows += len(windows)
        found = localise(model, processor, embedded, [caption for caption, _ in recording.queries], top_k=1)
        best = {moment["label"]: (moment["start"], moment["end"]) for moment in found.moments}
        for caption, truth in recording.queries:
            every = temporal_iou(windows.seconds, truth)
            scored["localised"].append(score(temporal_iou([best[caption]], truth)))
            scored["chance"].append(score(every))
            scored["whole recording"].append(score(temporal_iou([(0.0, windows.duration)], truth)))
            scored["best window"].append(score(every[[every.argmax()]]))
    return {
        "num_queries": len(scored["localised"]),
        "num_recordings": len(recordings),
        "num_windows": num_windows,
        "mean_seconds": float(np.mean(durations)),
        "ways": {way: summarize(values) for way, values in scored.items()},
        "localised_over": {
            way: {
                name: difference_interval(column(scored[way], name), column(scored["localised"], name))
                for name in scored[way][0]
            }
            for way in ("chance", "whole recording")
        },
    }


def score(ious: np.ndarray) -> dict[str, float]:
    """What one query earns in percent, in expectation over windows (W,) that are equally likely."""
    recalls = {f"R@1, IoU={least}": 100 * float(np.mean(ious >= least)) for least in IOUS}
    return {**recalls, "mIoU": 100 * float(np.mean(ious))}


def column(values: list[dict[str, float]], name: str) -> np.ndarray:
    return np.array([value[name] for value in values])


def summarize(values: list[dict[str, float]]) -> dict[str, Any]:
    """Means over queries and their intervals."""
    means = {name: float(column(values, name).mean()) for name in values[0]}
    return {**means, "intervals": {name: bootstrap_interval(column(values, name)) for name in values[0]}}


def show(name: str, result: dict[str, Any]) -> None:
    print(
        f"\n{name}: {result['num_queries']} queries, {result['num_recordings']} recordings of {result['mean_seconds']:.1f} s in "
        f"the mean, {result['num_windows']} windows",
        flush=True,
    )
    for way, values in result["ways"].items():
        print(f"{way:>16}  " + "  ".join(f"{key} {value:5.1f}" for key, value in values.items() if key != "intervals"))


if __name__ == "__main__":
    typer.run(main)
