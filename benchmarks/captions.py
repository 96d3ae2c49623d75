"""Captions alone, without motion: how often they repeat, how alike they are, and what that means for retrieval protocols.

    python benchmarks/captions.py --sentence-encoder all-MiniLM-L6-v2=FOLDER --output docs/results/captions.json

MOTIONPATCHES_DATA names a folder that holds `captions_only/humanml3d.parquet` and `captions_only/kitml.parquet`, with the
columns `id`, `split`, `captions` and `mirrored`. As in retrieval, an item of the test split is judged by its first caption. Both
data sets hold motions a second time, mirrored, with their captions; what repeats without these is reported too. The last part
searches with the first caption of an item for its second among all second captions, by the sentence encoder: what plain text
similarity finds.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from motionpatches.training.metrics import chance_level, retrieval_counts, retrieval_intervals, summarize_counts
from motionpatches.training.protocols import SIMILAR, describe_galleries, make_galleries
from motionpatches.training.results import command_line, environment, write_json
from motionpatches.training.scoring import score_chunks, unit_rows
from motionpatches.training.sentences import SentenceEncoder


DATASETS = ("humanml3d", "kitml")
COLUMNS = ["id", "split", "captions", "mirrored"]
PROTOCOLS = ("strict", "caption_equal", "threshold", "nsim")


def main(
    data: Annotated[Path, typer.Option(envvar="MOTIONPATCHES_DATA", help="Folder that holds captions_only/.")],
    sentence_encoder: Annotated[str, typer.Option(help="NAME=FOLDER, or a Hub id of sentence-transformers.")],
    output: Annotated[Path, typer.Option(help="Results file.")],
    split: Annotated[str, typer.Option(help="Which split is judged.")] = "test",
) -> None:
    """Measure, print and write."""
    encoder = SentenceEncoder.parse(sentence_encoder)
    results = {}
    for name in DATASETS:
        rows = pq.read_table(data / "captions_only" / f"{name}.parquet", columns=COLUMNS).to_pylist()
        results[name] = judge(rows, encoder, split)
    show(results, encoder, split)
    facts = {"task": "captions", "command": command_line(), "split": split, "sentence_encoder": encoder.name}
    write_json(output, {**facts, "threshold": SIMILAR, "results": results, **environment()})


def judge(rows: Sequence[dict[str, Any]], encoder: SentenceEncoder, split: str) -> dict[str, Any]:
    """What is reported of one data set; rows with `COLUMNS`."""
    items = [row for row in rows if row["split"] == split]
    if not items:
        raise ValueError(f"no item is in split {split!r}; there are {sorted({str(row['split']) for row in rows})}")
    ids, captions = [row["id"] for row in items], [row["captions"][0] for row in items]
    sentences = encoder.encode(captions)
    originals = [place for place, row in enumerate(items) if not row["mirrored"]]
    return {
        "num_captions": sum(len(row["captions"]) for row in items),
        **repetition(captions, sentences, rows),
        "without_mirrored": repetition([captions[place] for place in originals], sentences[originals], rows),
        "chance": {protocol: chance_of(captions, protocol, sentences, ids) for protocol in (*PROTOCOLS, "small")},
        "second_caption_by_first": search([row for row in items if len(row["captions"]) > 1], encoder),
    }


def repetition(captions: Sequence[str], sentences: np.ndarray, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often some captions repeat and how alike they are."""
    counts = {"num": len(captions), "distinct_captions": len(set(captions))}
    return {**counts, **twins(captions, rows), **neighbours(captions, sentences)}


def twins(captions: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share in percent of captions that another item has too, as they stand and without case, signs and double spaces; and of
    those that an item of the train split has."""
    plain = [normalize(caption) for caption in captions]
    counts, plain_counts = Counter(captions), Counter(plain)
    trained = {caption for row in rows if row["split"] == "train" for caption in row["captions"]}
    return {
        "equal_twin": share(counts[caption] > 1 for caption in captions),
        "equal_twin_but_for_case_and_signs": share(plain_counts[caption] > 1 for caption in plain),
        "in_train": share(caption in trained for caption in captions),
        "most_frequent": max(counts.values()),
    }


def normalize(caption: str) -> str:
    """Lower case, letters and digits alone, one space between words."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in caption.lower()).split())


def neighbours(captions: Sequence[str], sentences: np.ndarray) -> dict[str, Any]:
    """How many captions are alike by the sentence encoder, and how like its nearest other a caption is."""
    (gallery,) = make_galleries(len(captions), captions, "threshold", sentences)
    positives = gallery.positives.counts()
    unit = unit_rows(sentences, "sentences")
    equal = np.array([captions.count(caption) for caption in captions])
    nearest = []
    for start, scores in score_chunks(unit, unit, None):
        own = np.arange(len(scores))
        scores[own, own + start] = -1
        nearest.append(scores.amax(dim=1).numpy())
    return {
        "near_duplicate": share(positives > 1),
        "near_duplicate_that_is_not_equal": share(positives > equal),
        "positives": {
            "mean": float(positives.mean()),
            "median": float(np.median(positives)),
            "max": int(positives.max()),
        },
        "nearest_cosine": {f"{q}%": float(np.percentile(np.concatenate(nearest), q)) for q in (5, 25, 50, 75, 95)},
    }


def chance_of(captions: Sequence[str], protocol: str, sentences: np.ndarray, ids: Sequence[str]) -> dict[str, Any]:
    """Chance and galleries of a protocol."""
    with warnings.catch_warnings():
        facts = describe_galleries(len(captions), captions, protocol, sentences, ids)
        return {**facts, **chance_level(captions, protocol, sentences, ids)["t2m"]}


def search(items: Sequence[dict[str, Any]], encoder: SentenceEncoder) -> dict[str, Any]:
    """Retrieval of an item's second caption by its first, by cosine of the sentence embeddings. A second caption equal or alike
    to the first ones of others counts as the protocol says of the first ones."""
    first, second = [row["captions"][0] for row in items], [row["captions"][1] for row in items]
    queries, gallery = encoder.encode(first), encoder.encode(second)
    found: dict[str, Any] = {"num": len(items)}
    for protocol in PROTOCOLS:
        counts = retrieval_counts(queries, gallery, first, protocol, None, queries, [row["id"] for row in items])["t2m"]
        found[protocol] = {**summarize_counts(counts), "interval_R@1": retrieval_intervals({"t2m": counts})["t2m"]["R@1"]}
    return found


def share(is_so: Any) -> float:
    """Percent of what is true."""
    return 100.0 * float(np.mean(list(is_so)))


def show(results: dict[str, Any], encoder: SentenceEncoder, split: str) -> None:
    """Print a table."""
    table = Table(f"first captions of the {split} split", *results)
    lines = {
        "items": lambda one: str(one["num"]),
        "distinct captions": lambda one: str(one["distinct_captions"]),
        "with an equal twin, %": lambda one: f"{one['equal_twin']:.1f}",
        "equal twin without mirrored items, %": lambda one: f"{one['without_mirrored']['equal_twin']:.1f}",
        "equal twin but for case and signs, %": lambda one: f"{one['equal_twin_but_for_case_and_signs']:.1f}",
        "also in the train split, %": lambda one: f"{one['in_train']:.1f}",
        f"with a near-duplicate by {encoder.name}, %": lambda one: f"{one['near_duplicate']:.1f}",
        "near-duplicate without mirrored items, %": lambda one: f"{one['without_mirrored']['near_duplicate']:.1f}",
        "positives under threshold: mean": lambda one: f"{one['positives']['mean']:.2f}",
        "… without mirrored items: mean": lambda one: f"{one['without_mirrored']['positives']['mean']:.2f}",
        "… median, max": lambda one: f"{one['positives']['median']:.0f}, {one['positives']['max']}",
    }
    lines |= {f"chance R@10, {p}": lambda one, p=p: f"{one['chance'][p]['R@10']:.2f}" for p in (*PROTOCOLS, "small")}
    lines |= {
        f"second caption by first, R@1, {p}": lambda one, p=p: f"{one['second_caption_by_first'][p]['R@1']:.1f}"
        for p in PROTOCOLS
    }
    for label, of in lines.items():
        table.add_row(label, *(of(one) for one in results.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
