"""`motionpatches compare`: two results files of `evaluate` side by side, with the interval of their difference."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .intervals import bootstrap_interval, difference_interval
from .metrics import RECALL_AT, expected_ranks, hit_probability


_COMPARED = (*(f"R@{k}" for k in RECALL_AT), "MedR", "MeanR")
_SHOWN = ("R@1", "R@5", "R@10", "MedR")
_WAYS = {"t2m": "text→motion", "m2t": "motion→text"}


def compare(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Put two evaluations of the same galleries side by side.

    The interval is of the paired difference, by a bootstrap over the queries (see `intervals`). It says whether the two models
    differ on queries like these, not how much either would change with another seed of its training.

    Args:
        first, second: Files that `motionpatches evaluate … --output FILE` wrote; with `--save-queries` for the intervals.

    Returns:
        `"first"` and `"second"`: names of the files, and the weights and training of each; `"results"`: gallery → `"num"`,
        `"distinct_captions"`, `"retrieval"`: protocol → direction → metric → `{"first", "second", "chance", "difference",
        "interval"}`, second minus first, with `None` for an interval that cannot be computed; `"zero_shot"`: the same of `top1`.
        `"no_interval"`: why there are none, protocol → reason, under `"all"` where it holds for everything.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If one is no results file of retrieval, or they are of other data, galleries, protocols or classes.
    """
    contents = _read(first), _read(second)
    names = Path(first).name, Path(second).name
    _check_same_data(contents, names)
    no_interval: dict[str, str] = {}
    results = {}
    for gallery, one in contents[0]["results"].items():
        other = contents[1]["results"][gallery]
        queries = [content.get("queries", {}).get(gallery) for content in contents]
        lacking = [name for name, found in zip(names, queries, strict=True) if found is None]
        if lacking:
            no_interval["all"] = (
                f"{' and '.join(lacking)} {'do' if len(lacking) > 1 else 'does'} not say how each query fared; write "
                f"{'them' if len(lacking) > 1 else 'it'} with motionpatches evaluate … --save-queries"
            )
        retrieval = {}
        for protocol, directions in one["retrieval"].items():
            pairs: Any = [(found or {}).get(protocol) for found in queries]
            if not lacking and None in pairs:
                no_interval[protocol] = "its queries are asked in several batches each"
            counts = None if None in pairs else _paired_counts(*pairs)
            retrieval[protocol] = {
                way: _compare_way(
                    values,
                    other["retrieval"][protocol][way],
                    one["chance"][protocol][way],
                    None if counts is None else counts[way],
                )
                for way, values in directions.items()
            }
        facts = {key: one[key] for key in ("num", "distinct_captions")}
        results[gallery] = {**facts, "retrieval": retrieval}
        if "zero_shot" in one:
            hits: Any = [(found or {}).get("zero_shot") for found in queries]
            results[gallery]["zero_shot"] = _compare_zero_shot(one["zero_shot"], other["zero_shot"], hits)
    about = {
        key: {"file": name, **{fact: content.get(fact) for fact in ("weights", "training")}}
        for key, name, content in zip(("first", "second"), names, contents, strict=True)
    }
    return {**about, "results": results, "no_interval": no_interval}


def print_comparison(compared: Mapping[str, Any], console: Console) -> None:
    """A table for each gallery: first, second, chance, and the difference with its interval."""
    console.print(f"A: {compared['first']['file']}\nB: {compared['second']['file']}", highlight=False, markup=False)
    for name, result in compared["results"].items():
        console.print(f"\n[bold]{escape(name)}[/]: retrieval in %, {_size(result)}", highlight=False)
        table = Table("", "A", "B", "chance", "B − A [95% interval]")
        for protocol, directions in result["retrieval"].items():
            table.add_row(f"[bold]{escape(protocol)}[/]")
            for way, metrics in directions.items():
                for metric in _SHOWN:
                    table.add_row(f"{_WAYS[way]} {metric}", *_cells(metrics[metric]))
            table.add_section()
        console.print(table)
    zero_shot = {name: result["zero_shot"] for name, result in compared["results"].items() if "zero_shot" in result}
    if zero_shot:
        console.print("\nzero-shot classification, top-1 in %", highlight=False)
        table = Table("gallery", "A", "B", "chance", "B − A [95% interval]")
        for name, values in zero_shot.items():
            table.add_row(name, *_cells(values["top1"]))
        console.print(table)
    console.print("\nintervals: of the paired difference, by a bootstrap over the queries", highlight=False)
    for protocol, reason in compared["no_interval"].items():
        of = "" if protocol == "all" else f" of {protocol}"
        console.print(f"no intervals{of}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _cells(values: Mapping[str, Any]) -> list[str]:
    numbers = [f"{values[key]:.1f}" for key in ("first", "second", "chance")]
    interval = "" if values["interval"] is None else " [{:+.1f}, {:+.1f}]".format(*values["interval"])
    return [*numbers, f"{round(values['difference'], 1) + 0.0:+.1f}{interval}"]  # no “-0.0”


def _read(file: str | Path) -> dict[str, Any]:
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no results file {str(path)!r}; motionpatches evaluate … --output FILE writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON file: {error}") from error
    task = content.get("task") if isinstance(content, dict) else None
    if task != "evaluate":
        raise ValueError(f"{str(path)!r} is no results file of motionpatches evaluate: its task is {task!r}")
    if not all("retrieval" in result for result in content["results"].values()):
        raise ValueError(f"{str(path)!r} holds the results of a classifier; compare takes those of retrieval")
    return content


def _check_same_data(contents: tuple[dict[str, Any], dict[str, Any]], names: tuple[str, str]) -> None:
    """Raise a ValueError where numbers cannot be compared."""

    def check(
        what: str, of: Callable[[Any], Any], pair: Any, advice: str = "evaluate both on the same data and split"
    ) -> None:
        first, second = map(of, pair)
        if first != second:
            raise ValueError(f"{names[0]} and {names[1]} do not compare: {what}: {first} and {second}; {advice}")

    def chance(result: dict[str, Any]) -> dict[str, str]:
        return {protocol: f"{level['t2m']['R@10']:.6f}" for protocol, level in result["chance"].items()}

    check("they are of other data", lambda content: content["data"], contents)
    check("they are of other splits", lambda content: content["split"], contents)
    check("they have other galleries", lambda content: sorted(content["results"]), contents)
    for gallery in contents[0]["results"]:
        pair = [content["results"][gallery] for content in contents]
        check(f"gallery {gallery!r} differs", _size, pair)
        same_options = "evaluate both with the same --protocol options"
        check("they have other protocols", lambda result: sorted(result["retrieval"]), pair, same_options)
        check(f"gallery {gallery!r} differs in its level of chance, R@10", chance, pair)
        same_template = "use one --hypothesis-template for both"
        check("zero-shot classification asked otherwise", _asked, pair, same_template)
    if all("galleries" in content for content in contents):
        check("their ids, captions or labels differ, by SHA-256", lambda content: content["galleries"], contents)


def _size(result: Mapping[str, Any]) -> str:
    return f"{result['num']} motions, {result['distinct_captions']} distinct captions"


def _asked(result: Mapping[str, Any]) -> str | None:
    zero_shot = result.get("zero_shot")
    return (
        None
        if zero_shot is None
        else f"“{zero_shot['template']}”, {zero_shot['num_classes']} classes, {zero_shot['num']} motions"
    )


def _paired_counts(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
    """Of each direction the counts of both files, each of shape (3, n), in one order of queries."""
    orders = [sorted(range(len(found["ids"])), key=found["ids"].__getitem__) for found in (first, second)]
    asked = [[found["ids"][row] for row in order] for found, order in zip((first, second), orders, strict=True)]
    if asked[0] != asked[1]:
        raise ValueError("the two files are of other queries: their ids differ; evaluate both on the same data and split")
    pairs = list(zip((first, second), orders, strict=True))
    return {way: [np.array(found[way])[:, order] for found, order in pairs] for way in _WAYS}


def _compare_way(
    first: Mapping[str, float],
    second: Mapping[str, float],
    chance: Mapping[str, float],
    counts: list[np.ndarray] | None,
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for metric in _COMPARED:
        interval = None
        if counts is not None and metric.startswith("R@"):
            k = int(metric.removeprefix("R@"))
            first_hits, second_hits = (100 * hit_probability(k, *values) for values in counts)
            interval = difference_interval(first_hits, second_hits)
        elif counts is not None:
            first_ranks, second_ranks = map(expected_ranks, counts)
            interval = difference_interval(first_ranks, second_ranks, np.median if metric == "MedR" else np.mean)
        found[metric] = _difference(first[metric], second[metric], chance[metric], interval)
    return found


def _compare_zero_shot(first: Mapping[str, Any], second: Mapping[str, Any], hits: list[Any]) -> dict[str, dict[str, Any]]:
    interval = None
    if None not in hits:
        before, after = (dict(zip(found["ids"], found["hits"], strict=True)) for found in hits)
        interval = bootstrap_interval(np.array([100 * (after[name] - before[name]) for name in sorted(before)]))
    return {"top1": _difference(first["top1"], second["top1"], first["chance"]["top1"], interval)}


def _difference(first: float, second: float, chance: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {"first": first, "second": second, "chance": chance, "difference": second - first, "interval": interval}
