"""The tables of the paper: which runs each needs, what it prints, and what the paper has there."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table


_FOLDER = resources.files("motionpatches.training") / "reproductions"
_DIRECTIONS = {"t2m": "text→motion", "m2t": "motion→text", "zero_shot": "classification"}
_PROTOCOLS = ("caption_equal", "small", "zero_shot")

#: Direction → column → number.
Numbers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class PaperRun:
    """A training run: a recipe of the package in its paper form, and the run of the same table whose best weights it starts
    from."""

    recipe: str
    init_from: str | None = None


@dataclass(frozen=True)
class PaperRow:
    """A row: what the paper has there, and the run of ours that is judged for it, if it is one of ours."""

    label: str
    published: Numbers
    run: str | None = None


@dataclass(frozen=True)
class PaperSection:
    """Rows judged alike.

    Attributes:
        title: As in the paper.
        data: The data set whose test split is judged.
        protocol: `"caption_equal"` (the paper's “All”), `"small"` (its “Small batches”) or `"zero_shot"`.
        rows: In the paper's order.
        classes: Of zero-shot classification: how many the paper has.
    """

    title: str
    data: str
    protocol: str
    rows: tuple[PaperRow, ...]
    classes: int | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table; `runs` by their names, each after the one that it starts from."""

    name: str
    title: str
    columns: tuple[str, ...]
    runs: dict[str, PaperRun]
    sections: tuple[PaperSection, ...]
    notes: tuple[str, ...] = ()


def list_tables() -> list[str]:
    """Names of the tables, `"table2"` to `"table11"`."""
    names = [entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")]
    return sorted(names, key=lambda name: int(name.removeprefix("table")))


def load_table(name: str) -> PaperTable:
    """A table by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in list_tables():
        raise ValueError(f"no table {name!r} of the paper; pass all, or one of: {', '.join(list_tables())}")
    content = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    columns = tuple(content["columns"])
    return PaperTable(
        name=name,
        title=content["title"],
        columns=columns,
        runs={key: PaperRun(**run) for key, run in content["runs"].items()},
        sections=tuple(_read_section(section, columns) for section in content["sections"]),
        notes=tuple(content.get("notes", ())),
    )


def _read_section(section: dict[str, Any], columns: tuple[str, ...]) -> PaperSection:
    if section["protocol"] not in _PROTOCOLS:
        raise ValueError(f"unknown protocol {section['protocol']!r}; known: {', '.join(_PROTOCOLS)}")
    return PaperSection(**{**section, "rows": tuple(_read_row(row, columns) for row in section["rows"])})


def _read_row(row: dict[str, Any], columns: tuple[str, ...]) -> PaperRow:
    published = {key: dict(zip(columns, row[key], strict=True)) for key in _DIRECTIONS if key in row}
    return PaperRow(row["label"], published, row.get("run"))


def pick_numbers(results: Mapping[str, Any], section: PaperSection, columns: tuple[str, ...]) -> tuple[Numbers, Numbers]:
    """What a section shows of the results of `evaluation.evaluate`: the numbers, and those of chance."""
    gallery = results["all"]
    if section.protocol == "zero_shot":
        scored: Mapping[str, Any] = {"zero_shot": gallery["zero_shot"]}
        chance: Mapping[str, Any] = {"zero_shot": gallery["zero_shot"]["chance"]}
    else:
        scored, chance = gallery["retrieval"][section.protocol], gallery["chance"][section.protocol]
    return tuple({way: {c: values[c] for c in columns} for way, values in part.items()} for part in (scored, chance))  # type: ignore[return-value]


def print_table(report: Mapping[str, Any], columns: tuple[str, ...], console: Console) -> None:
    """Print a table: for each section and direction the paper's numbers and, below each row of ours, those measured.

    Args:
        report: What `reproduction.reproduce` writes.
        columns: Of the table.
        console: Where to.
    """
    heading = f"[bold]{escape(report['table'])}[/]: {escape(report['title'])}, {report['form']} form, seed {report['seed']}"
    console.print(f"\n{heading}", highlight=False)
    for section in report["sections"]:
        for way in section["rows"][0]["published"]:
            console.print(f"\n{escape(section['title'])}, {_DIRECTIONS[way]}, {section['num']} motions", highlight=False)
            table = Table("method", "", *columns)
            for row in section["rows"]:
                table.add_row(escape(row["label"]), "paper", *_cells(row["published"][way], columns))
                if row["measured"] is not None:
                    table.add_row("", "here", *_cells(row["measured"][way], columns), style="bold")
            table.add_row("chance", "", *_cells(section["chance"][way], columns), style="dim")
            console.print(table)
    for note in report["notes"]:
        console.print(f"- {escape(note)}", highlight=False)


def _cells(numbers: Mapping[str, float], columns: tuple[str, ...]) -> list[str]:
    return [f"{numbers[column]:.2f}" for column in columns]
