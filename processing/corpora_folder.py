"""A folder of motion files with a table of captions or labels, in the way of the folder builders of `datasets`.

metadata.csv, metadata.jsonl, metadata.json or captions.csv, in the folder or in each of train/, validation/ and test/:
    file_name                      relative to the table
    captions, caption or text      a caption; `captions` may be a list (in CSV: as JSON), and a file may have several rows
    label                          an action; the caption of a motion that has none
    split                          train, validation (val, dev, valid) or test
    fps, skeleton, unit, up_axis, person    what the file does not say, as `read_motion` takes it
"""

import csv
import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .corpora_layout import About, Clip, Corpus, Fault, Item, LeftOutError, Lists, read_joints, settle_splits
from .readers import READABLE_SUFFIXES
from .recording import ReadOptions
from .skeletons import get_skeleton


TABLES = ("metadata.csv", "metadata.jsonl", "metadata.json", "captions.csv")
_SPLITS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
_CAPTIONS = ("captions", "caption", "text")
_OPTIONS = ("skeleton", "fps", "unit", "up_axis", "person")
_SHARES = {"test": 0.1, "validation": 0.1}
_REST = "cells without a column"
_NO_MOTIONS = (".json", ".csv", ".tsv")  # so much else is written in these formats that lies beside motions


@dataclass(frozen=True)
class MotionFolder(Corpus):
    """A folder of motion files with a table. The id of a motion is its file name.

    Without splits, a tenth of the files is drawn for validation and a tenth for the test.

    Args:
        root: The folder.
        seed: Of the drawing.
        skeleton: Name of the skeleton of files that do not say theirs and for which the table names none.
        fps: Frame rate of such files.
    """

    seed: int = 0
    skeleton: str | None = None
    fps: float | None = None

    name: ClassVar[str] = "folder"
    columns: ClassVar[tuple[str, ...]] = ("label",)
    about: ClassVar[About] = About(
        title="Motion files",
        origin="Motion files with a table of captions or labels.",
        licence="Not stated.",
        licence_id="unknown",
        may_be_shared=True,
        homepage="",
        citation="",
    )

    def __post_init__(self) -> None:
        if self.skeleton is not None:
            get_skeleton(self.skeleton)

    def lists(self) -> Lists:
        tables = self._tables()
        remarks: list[tuple[str, Fault]] = []
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for table, split in tables.items():
            found, faults = read_table(table)
            remarks += [(table.name, fault) for fault in faults]
            for row in found:
                file = (table.parent.relative_to(self.root) / row["file_name"]).as_posix()
                rows[file].append({"split": split, **row} if split else row)
        if not rows:
            raise ValueError(f"{', '.join(table.name for table in tables)} in {str(self.root)!r} names no file")
        remarks += [
            (file, Fault("motion file that no table names"))
            for path in sorted(self.root.rglob("*"))
            if path.suffix.lower() in READABLE_SUFFIXES
            and path.suffix.lower() not in _NO_MOTIONS
            and (file := path.relative_to(self.root).as_posix()) not in rows
        ]
        settings: dict[str, Any] = {}
        if not any(row.get("split") for found in rows.values() for row in found):
            settings = {"splits": "drawn by file", "seed": self.seed, "shares": _SHARES}
            drawn = draw_splits(sorted(rows), self.seed)
            rows = {file: [{**row, "split": drawn[file]} for row in found] for file, found in rows.items()}
        named: dict[str, list[Item]] = {"train": [], "validation": [], "test": []}
        for file, found in rows.items():
            split, fault = _split_of(found)
            if fault is None:
                named[split].append(Item(file, found))
            else:
                remarks.append((file, fault))
        items, repeated = settle_splits({split: found for split, found in named.items() if found})
        lists = {split: ", ".join(str(table.relative_to(self.root)) for table in tables) for split in items}
        return Lists(items, lists, repeated, remarks, settings)

    def _tables(self) -> dict[Path, str]:
        """The tables and the split that each is of, "" where it says itself."""
        places = {self.root: "", **{self.root / folder: split for folder, split in _SPLITS.items()}}
        tables = {
            folder / table: split for folder, split in places.items() for table in TABLES if (folder / table).is_file()
        }
        in_root = [table for table, split in tables.items() if not split]
        if not tables:
            raise FileNotFoundError(
                f"{str(self.root)!r} has none of {', '.join(TABLES)}, also not in train/, validation/ and test/; such a table "
                "says, with columns file_name and captions (or label), what is done in each motion"
            )
        if len(in_root) > 1 or (in_root and len(tables) > 1):
            names = ", ".join(str(table.relative_to(self.root)) for table in tables)
            raise ValueError(f"{str(self.root)!r} has several tables: {names}; keep one, or one in each folder of a split")
        return tables

    def read(self, item: Item) -> tuple[list[Clip], list[Fault]]:
        rows, faults = item.source, []
        file = self.root / item.id
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise LeftOutError("file outside the folder", item.id)
        if not file.exists():
            raise LeftOutError("no motion file", item.id)
        label = _one_of(rows, "label")
        captions: list[str] = []
        for row in rows:
            for caption in _captions(row):
                text = caption.strip() if isinstance(caption, str) else ""
                if not text:
                    faults.append(Fault("empty caption", f"line {row['line']}: {caption!r}"))
                elif not _is_utf8(text):
                    faults.append(Fault("caption that is not UTF-8", f"line {row['line']}: {text!r}"))
                elif text in captions:
                    faults.append(Fault("caption there twice", f"line {row['line']}: {text[:60]!r}"))
                else:
                    captions.append(text)
        if not captions and label:
            captions = [str(label)]
        if not captions:
            raise LeftOutError("neither caption nor label", "; ".join(fault.detail for fault in faults))
        joints, skeleton, fps, remarks = read_joints(file, self._options(rows))
        return [Clip(joints, skeleton, fps, captions, None if label is None else str(label))], faults + remarks

    def _options(self, rows: list[dict[str, Any]]) -> ReadOptions:
        known = {name: _one_of(rows, name) for name in _OPTIONS}
        skeleton, fps = known["skeleton"] or self.skeleton, known["fps"] or self.fps
        return ReadOptions(
            skeleton=None if skeleton is None else get_skeleton(skeleton),
            fps=None if fps is None else float(fps),
            unit=known["unit"],
            up_axis=known["up_axis"],
            person=known["person"],
        )


def read_table(path: Path) -> tuple[list[dict[str, Any]], list[Fault]]:
    """The rows of a table that name a file, with their `line`, without empty cells; bytes that are not UTF-8 become surrogates.

    Raises:
        ValueError: If the table is none, or has no column `file_name` or none of captions or labels.
    """
    # Bytes that are not UTF-8 become lone surrogates, so that a row can be told of them.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        try:
            if path.suffix == ".csv":
                reader = csv.DictReader(stream, restkey=_REST, strict=True)
                rows = [{**row, "line": reader.line_num} for row in reader]
            elif path.suffix == ".jsonl":
                rows = [{**json.loads(line), "line": n} for n, line in enumerate(stream, start=1) if line.strip()]
            else:
                rows = [{**row, "line": number} for number, row in enumerate(json.load(stream), start=1)]
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read: {error}; expected a row with file_name for each motion") from error
    rows = [{str(key): value for key, value in row.items() if value not in (None, "")} for row in rows]
    columns = {column for row in rows for column in row}
    if rows and ("file_name" not in columns or not columns & {*_CAPTIONS, "label"}):
        raise ValueError(
            f"{path} has the columns {', '.join(sorted(columns - {'line', _REST}))}; expected file_name, and one of "
            f"{', '.join(_CAPTIONS)} or label"
        )
    good, faults = [], []
    for row in rows:
        where = f"line {row['line']}"
        name = str(row.get("file_name", ""))
        if not name:
            faults.append(Fault("row without a file name", where))
        elif _REST in row:
            faults.append(Fault("row with more cells than columns", where))
        elif not _is_utf8(name + str(row.get("label", ""))):
            faults.append(Fault("row whose file name or label is not UTF-8", f"{where}: {name!r}"))
        else:
            good.append({**row, "file_name": name})
    return good, faults


def draw_splits(files: list[str], seed: int) -> dict[str, str]:
    """A split for each file: a tenth each for test and validation, rounded, but at least one of three or more files."""
    order = np.random.default_rng(seed).permutation(len(files))
    splits, start = dict.fromkeys(files, "train"), 0
    for split, share in _SHARES.items():
        count = max(round(share * len(files)), 1) if len(files) >= 3 else 0
        for index in order[start : start + count]:
            splits[files[index]] = split
        start += count
    return splits


def _split_of(rows: list[dict[str, Any]]) -> tuple[str, Fault | None]:
    said = {str(row.get("split", "")).strip().lower() for row in rows}
    known = {_SPLITS.get(name) for name in said}
    if len(known) == 1 and None not in known:
        return _SPLITS[said.pop()], None
    shown = ", ".join(sorted(repr(name) for name in said))
    kind = "rows of one file in several splits" if len(said) > 1 else "no split" if said == {""} else "unknown split"
    return "", Fault(kind, shown)


def _one_of(rows: list[dict[str, Any]], name: str) -> Any:
    """What the rows of a file say of it."""
    said = {str(row[name]): row[name] for row in rows if row.get(name) is not None}
    if len(said) > 1:
        raise LeftOutError("rows of one file that contradict each other", f"{name}: {', '.join(sorted(said))}")
    return next(iter(said.values()), None)


def _captions(row: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for name in _CAPTIONS:
        value = row.get(name)
        if name == "captions" and isinstance(value, str) and value.startswith("["):
            with suppress(ValueError):  # else a caption that begins with a bracket
                value = json.loads(value)
        if value is not None:
            found += value if isinstance(value, list) else [value]
    return found


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
