"""What readers of published questions share: rows as `make_instructions` gives them, and an account of what became none."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from .corpora_layout import Fault
from .instructions import QUESTION_FEATURES


class Questions(NamedTuple):
    """Questions of a split.

    Args:
        rows: With the columns of `instructions.make_instructions`. Where a question has no motion, `skeleton` is `None`.
        report: `named` = `rows` + the counts in `left_out`, which holds the ids, and what was said of them, for each reason.
    """

    rows: Dataset
    report: dict[str, Any]


class MotionKind(NamedTuple):
    """What a question needs to know of a row of motion."""

    num_frames: int
    skeleton: str


def motion_kinds(rows: Dataset) -> dict[str, MotionKind]:
    """Of each motion by its id.

    Args:
        rows: With the columns of `corpora.load_motions`.

    Raises:
        ValueError: If two motions have one id.
    """
    ids = rows["id"][:]
    kinds = dict(zip(ids, map(MotionKind, rows["num_frames"][:], rows["skeleton"][:]), strict=True))
    if len(kinds) < len(ids):
        raise ValueError(f"{len(ids) - len(kinds)} motions have an id that another one has; ids must be unique")
    return kinds


def collect_questions(source: str, found: Iterable[tuple[str, dict[str, Any] | Fault]]) -> Questions:
    """Rows, and an account of what became none.

    Args:
        source: What was read, for messages.
        found: The id of each question, and its row or why it has none.

    Warns:
        UserWarning: If a question was left out.
    """
    rows, left_out = [], defaultdict(list)
    for name, row in found:
        if isinstance(row, Fault):
            left_out[row.kind].append({"id": name, "detail": row.detail})
        else:
            rows.append(row)
    kinds = sorted(left_out.items(), key=lambda entry: -len(entry[1]))
    named = len(rows) + sum(len(cases) for _, cases in kinds)
    report = {
        "named": named,
        "rows": len(rows),
        "left_out": {kind: {"count": len(cases), "cases": cases} for kind, cases in kinds},
    }
    if kinds:
        reasons = "; ".join(f"{kind} ({len(cases)}, such as {cases[0]['id']})" for kind, cases in kinds)
        warnings.warn(f"{source}: {named - len(rows)} of {named} questions left out: {reasons}", stacklevel=3)
    return Questions(Dataset.from_list(rows, features=QUESTION_FEATURES), report)


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}; copy it again") from error


def text_of(record: Mapping[str, Any], key: str) -> str | None:
    """A text of a record, stripped; `None` if it has none."""
    value = record.get(key)
    return value.strip() or None if isinstance(value, str) else None
