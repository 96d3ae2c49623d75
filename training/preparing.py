"""`motionpatches prepare`: a motion data set in its owner's layout → a folder that `load_dataset` and `load_motions` read, with a
report and a card; and the same on the Hub.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, DatasetCard, DatasetCardData
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..processing.building import Built, Job, build, plan
from ..processing.corpora import load_motions
from ..processing.corpora_babel import Babel60, Babel120
from ..processing.corpora_babel_qa import BabelQA, babel_qa_questions
from ..processing.corpora_folder import MotionFolder
from ..processing.corpora_humanml3d import HumanML3D, KitML
from ..processing.corpora_interhuman import InterHuman
from ..processing.corpora_layout import Corpus
from ..processing.corpora_ntu import NTU
from .folders import recover_folder, replace_folder
from .results import card_digest, command_line, environment, write_json
from .sharing import explain_hub_errors, full_name, has_edited_card, make_api


#: Name on the command line → the data set.
CORPORA: dict[str, type[Corpus]] = {
    corpus.name: corpus for corpus in (HumanML3D, KitML, Babel60, Babel120, BabelQA, InterHuman, NTU, MotionFolder)
}
REPORT_FILE = "report.json"
#: Folder of the questions of a data set that has some; `question_sets.load_instructions` reads it.
QUESTIONS_FOLDER = "questions"
_SHOWN_CASES = 3
_CARD = """---
{{ card_data }}
---

# {{ title }}

3D human motions with captions, prepared by `motionpatches prepare` (motionpatches {{ version }}) from {{ source }}.

```python
from datasets import load_dataset

data = load_dataset("{{ name }}")
row = data["{{ first_split }}"].with_format("numpy")[0]
joints = row["joints"].reshape({{ shape }})  # metres
```

## Contents

| split | list | named there | found | rows | sub-clips | captions | minutes |
|---|---|---|---|---|---|---|---|
{% for row in splits -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% if skipped -%}
What the lists name and is not here:

| split | reason | number |
|---|---|---|
{% for row in skipped -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% endif -%}
`report.json` has the ids of all that was skipped, left out or changed.

Columns: `id`; `joints`, a flat list in the order {{ order }}; `num_frames`; `num_joints`; `skeleton`, a name that
`motionpatches.get_skeleton` knows; `fps`; `captions`{{ more_columns }}; `dataset`; `source_id`, the id in the owner's lists.

## Provenance and licence

{{ origin }}

| | |
|---|---|
| licence, as its owner states it | {{ licence }} |
| owner's page | {{ homepage }} |
| cite | {{ citation }} |

{% if not may_be_shared -%}
Whoever passes this data on needs the right to do so from its owners.
{% endif %}"""


def make_corpus(name: str, root: Path, **settings: Any) -> Corpus:
    """A data set in its owner's layout.

    Args:
        name: A key of `CORPORA`.
        root: The folder.
        settings: Further fields of that class; `None` leaves one at its default.

    Raises:
        ValueError: If the name is unknown, or the data set has no such setting.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(CORPORA)}")
    chosen = {key: value for key, value in settings.items() if value is not None}
    unknown = sorted(set(chosen) - set(CORPORA[name].__dataclass_fields__))
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; leave it out")
    return CORPORA[name](Path(root), **chosen)


def prepare(
    corpus: Corpus, output: str | Path, num_workers: int = 1, overwrite: bool = False, progress: bool = False
) -> dict[str, Any]:
    """Write a data set as Parquet files with a card, `README.md`, and a report, `report.json`; of BABEL-QA also the folder
    `questions`.

    The folder appears when it is whole. Until then, what is done lies beside it in `<output>.partial`, and a second call goes on
    with it. A call for what is there already does nothing.

    Args:
        corpus: The data set.
        output: The folder.
        num_workers: Processes; a script that asks for several needs `if __name__ == "__main__":`.
        overwrite: Replace another data set in the folder.
        progress: Show a progress bar on stderr.

    Returns:
        The report; see `processing.building.make_report`.

    Raises:
        FileExistsError: If the folder holds something else and `overwrite` is off.
        FileNotFoundError, ValueError, OSError: As `processing.building.plan` and `build`.
    """
    output = Path(os.path.abspath(output))
    partial = output.with_name(output.name + ".partial")
    recover_folder(output)
    job = plan(corpus, output.name if corpus.name == MotionFolder.name else None)
    if not overwrite and output.exists():
        found = read_report(output)
        if found is not None and found["fingerprint"] == job.fingerprint:
            shutil.rmtree(partial, ignore_errors=True)
            return found
        if not output.is_dir() or any(output.iterdir()):
            raise FileExistsError(
                f"{output} holds {'another data set' if found else 'something else'}; choose another folder, or replace it with "
                "--overwrite"
            )
    built = build(job, partial, num_workers, progress)
    report = {"task": "prepare", "command": command_line(), **built.report, **environment()}
    replace_folder(output, lambda folder: _write_folder(folder, output.name, job, built, report))
    shutil.rmtree(partial, ignore_errors=True)
    return read_report(output) or report


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report of a folder that `prepare` wrote, or `None` of another."""
    file = folder / REPORT_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except ValueError:  # a report of something else
        return None
    return found if isinstance(found, dict) and found.get("task") == "prepare" else None


def _write_folder(folder: Path, name: str, job: Job, built: Built, report: dict[str, Any]) -> None:
    (folder / "data").mkdir()
    for split, shards in built.shards.items():
        for number, shard in enumerate(shards):
            _link(shard, folder / "data" / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
    if isinstance(job.corpus, BabelQA):
        report["questions"] = _write_questions(folder, job.corpus)
    card = make_card(job.corpus, report, name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_json(folder / REPORT_FILE, {**report, "card_sha256": card_digest(card)})


def _write_questions(folder: Path, corpus: BabelQA) -> dict[str, Any]:
    """Put questions beside the motions of a folder; returns for each split what was left out, and why."""
    (folder / QUESTIONS_FOLDER).mkdir()
    found = babel_qa_questions(corpus, load_motions(folder))
    for split, questions in found.items():
        questions.rows.to_parquet(folder / QUESTIONS_FOLDER / f"{split}.parquet")
    return {split: questions.report for split, questions in found.items()}


def _link(source: Path, target: Path) -> None:
    """A second name of the file where the file system has such, else a copy: what is done is not lost if this breaks off."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def make_card(corpus: Corpus, report: Mapping[str, Any], name: str) -> str:
    """The data set card: how to load it, its splits and counts, provenance and licence.

    Args:
        corpus: The data set.
        report: What `prepare` found.
        name: Name of the folder, or on the Hub.
    """
    splits = {split: part for split, part in report["splits"].items() if part["rows"]}
    about = corpus.about
    rows = sum(part["rows"] for part in splits.values())
    several = "persons" in corpus.columns
    licence: dict[str, Any] = {"license": about.licence_id}
    if about.licence_id == "other":
        licence |= {"license_name": corpus.name, "license_link": about.homepage}
    data = DatasetCardData(
        **licence,
        language=None if corpus.name == MotionFolder.name else "en",
        pretty_name=about.title if corpus.name != MotionFolder.name else report["dataset"],
        size_categories=[_size_category(rows)],
        tags=["motionpatches", "human-motion", "3d", "motion-capture"],
        configs=[
            {"config_name": "default", "data_files": [{"split": split, "path": f"data/{split}-*"} for split in splits]}
        ],
    )
    card = DatasetCard.from_template(
        data,
        template_str=_CARD,
        title=report["dataset"] if corpus.name == MotionFolder.name else f"{about.title}, prepared",
        source=f"[{about.title}]({about.homepage})" if about.homepage else "motion files",
        version=metadata.version("motionpatches"),
        name=name,
        first_split=next(iter(splits)),
        shape='row["persons"], row["num_frames"], row["num_joints"], 3' if several else 'row["num_frames"], row["num_joints"], 3',
        order="person, frame, joint, xyz" if several else "frame, joint, xyz",
        more_columns="".join(f"; `{column}`" for column in corpus.columns),
        splits=[
            (split, f"`{part['list']}`", part["named"], part["found"], part["rows"], part["sub_clips"], part["captions"]["total"],
             f"{part['seconds']['total'] / 60:.1f}")
            for split, part in splits.items()
        ],
        skipped=[
            (split, kind, found["count"]) for split, part in report["splits"].items() for kind, found in part["skipped"].items()
        ],
        origin=about.origin,
        licence=about.licence,
        homepage=about.homepage or "not stated",
        citation=about.citation or "not stated",
        may_be_shared=about.may_be_shared,
    )  # fmt: skip
    return str(card)


def _size_category(rows: int) -> str:
    """As the Hub writes it."""
    bounds = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M")]
    lower = "n"
    for bound, name in bounds:
        if rows < bound:
            return f"n<{name}" if lower == "n" else f"{lower}<n<{name}"
        lower = name
    return "1M<n<10M"


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """What was found and what was not, as tables."""
    has_mirrored = any("mirrored" in part for part in report["splits"].values())
    table = Table(
        "split", "list", "named", "found", "skipped", "rows", "sub-clips", "captions each", "seconds: min, median, max"
    )
    if has_mirrored:
        table.add_column("mirrored pairs")
    for split, part in report["splits"].items():
        skipped = sum(found["count"] for found in part["skipped"].values())
        captions, seconds = part["captions"], part["seconds"]
        cells = [split, part["list"], part["named"], part["found"], skipped, part["rows"], part["sub_clips"]]
        cells.append("–" if captions["mean"] is None else f"{captions['mean']:.2f}")
        cells.append(", ".join(f"{seconds[key]:.1f}" for key in ("min", "median", "max")) if part["rows"] else "–")
        if has_mirrored:
            cells.append(part["mirrored"]["pairs"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    console.print(table)
    cases = Table("split", "what", "number", "such as")
    for split, part in report["splits"].items():
        _add_cases(cases, split, "skipped", part["skipped"])
        _add_cases(cases, split, "of a motion that is there", part["faults"])
        for key in ("twin_in_another_split", "without_twin"):
            ids = part.get("mirrored", {}).get(key, [])
            if ids:
                cases.add_row(
                    split, f"mirrored: {key.replace('_', ' ')}", str(len(ids)), escape(", ".join(ids[:_SHOWN_CASES]))
                )
    for split, part in report.get("questions", {}).items():
        _add_cases(cases, split, "question left out", part["left_out"])
    _add_cases(cases, "", "remark", report["remarks"])
    if cases.row_count:
        console.print(cases)
    if "questions" in report:
        counts = (f"{split} {part['rows']} of {part['named']}" for split, part in report["questions"].items())
        console.print(f"questions: {', '.join(counts)}", highlight=False)


def _add_cases(table: Table, split: str, what: str, kinds: Mapping[str, Any]) -> None:
    for kind, found in kinds.items():
        shown = ", ".join(case["id"] for case in found["cases"][:_SHOWN_CASES])
        table.add_row(split, escape(f"{what}: {kind}"), str(found["count"]), escape(shown))


# ---- the Hub ------------------------------------------------------------------------------------------------------------------


def push_dataset(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    commit_message: str | None = None,
    token: str | None = None,
) -> CommitInfo:
    """Put a prepared data set on the Hub, in one commit.

    Parquet files of an older version are deleted in the same commit. A `README.md` that was edited in the folder goes along as it
    is; one that was edited on the Hub stays, unless the folder's was edited too.

    Args:
        folder: What `prepare` wrote.
        repo_id: `"user/name"`, made if there is none; `"name"` alone is one of your own.
        private: Whether a new repository is private; `None`: private where the owner of the data does not let others pass it on,
            else as your account's default is.
        commit_message: Default “Upload <data set>”.
        token: Default: the one of `hf auth login` or of the environment variable `HF_TOKEN`.

    Raises:
        ConnectionError, PermissionError, OSError: As `sharing.push_to_hub`.
        FileNotFoundError: If the folder was not written by `prepare`, or is not whole.
        ValueError: If the name is none, or an existing repository is not as private as asked for.
    """
    folder = Path(folder)
    report = read_report(folder)
    if report is None:
        raise FileNotFoundError(f"{folder} holds no prepared data set: it has no {REPORT_FILE} of `motionpatches prepare`")
    if private is None and not CORPORA[report["corpus"]].about.may_be_shared:
        private = True
    api = make_api(repo_id, token)
    with explain_hub_errors(api, repo_id):
        name = full_name(api, repo_id)
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        is_private = bool(api.repo_info(name, repo_type="dataset").private)
        if private is not None and is_private != private:
            raise ValueError(
                f"{name} exists and is {'private' if is_private else 'public'}, not {'private' if private else 'public'}; change "
                "that in its settings on the Hub, push to another name, or say --private or --public as it is"
            )
        present = api.list_repo_files(name, repo_type="dataset")
        operations = _operations(folder, name, report, present, has_edited_card(api, name, present, REPORT_FILE))
        message = commit_message or f"Upload {report['dataset']}"
        return api.create_commit(name, operations, repo_type="dataset", commit_message=message)


def _operations(
    folder: Path, name: str, report: Mapping[str, Any], present: list[str], theirs_is_edited: bool
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What puts the files of a folder into a repository in place of an older version. A card that was edited goes before one that
    was not.
    """
    data = {f"data/{file.name}": file for file in sorted((folder / "data").iterdir())}
    card = (folder / "README.md").read_text(encoding="utf-8")
    contents = {}
    if card_digest(card) != report["card_sha256"]:
        contents["README.md"] = card
    elif not theirs_is_edited:
        contents["README.md"] = card.replace(f'load_dataset("{folder.resolve().name}")', f'load_dataset("{name}")')
        report = {**report, "card_sha256": card_digest(contents["README.md"])}
    contents[REPORT_FILE] = json.dumps(report, indent=2) + "\n"
    stale = [file for file in present if file.startswith("data/") and file.endswith(".parquet") and file not in data]
    return [
        *(CommitOperationAdd(file, path) for file, path in data.items()),
        *(CommitOperationAdd(file, text.encode()) for file, text in contents.items()),
        *(CommitOperationDelete(file) for file in stale),
    ]
