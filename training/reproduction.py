"""`motionpatches reproduce`: train and judge what a table of the paper needs, each model once, and print it beside the paper."""

import functools
import gc
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import DatasetDict
from rich.console import Console
from rich.table import Column, Table

from ..processing.corpora import SPLITS, load_motions, split_files
from .builder import fit_processor
from .card_results import weights_fingerprint
from .evaluation import evaluate
from .inference import load_checkpoint
from .loop import train
from .paper_tables import PaperTable, list_tables, load_table, pick_numbers, print_table
from .recipe import Recipe, load_recipe
from .results import command_line, environment, read_training_facts, shorten_path, write_json
from .run import describe_data
from .run_folder import can_resume


FORMS = ("paper", "published")
TEMPLATE = "A person {}"  # section 5.2, without a full stop
_BASES = ("humanml3d", "kitml")  # what all recipes of the tables stand on, with a recipe for each form
_TOWERS = ("motion_name", "text_name")
_DATA_FILES = "data_files.json"
_DECIDED = {
    "seed": "--seed",
    "datasets": "the table",
    **dict.fromkeys(_TOWERS, "the table; --weights NAME=FOLDER replaces one"),
}


@dataclass(frozen=True)
class Request:
    """What all runs have in common.

    Args:
        data: A folder that holds the data sets as folders of their own: `humanml3d/`, `kitml/`, `babel60/`, `interhuman/`.
        output: Where runs and tables are written.
        form: `"paper"` or `"published"`: which settings the recipes stand on.
        seed: Of every run.
        overrides: `"field=value"` strings for every recipe.
        weights: Name of pretrained weights in the recipes → a folder or Hub id to load in their place.

    Raises:
        ValueError: If the form is unknown, an override is of what the table decides, or no recipe has such weights.
    """

    data: Path
    output: Path
    form: str = "paper"
    seed: int = 0
    overrides: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"unknown form {self.form!r}; known: {', '.join(FORMS)}")
        for override in self.overrides:
            decided_by = _DECIDED.get(override.partition("=")[0].strip())
            if decided_by:
                raise ValueError(f"--set {override}: in a reproduction this is decided by {decided_by}")
        if self.weights:
            known = sorted(_pretrained_names())
            unknown = sorted(set(self.weights) - set(known))
            if unknown:
                raise ValueError(
                    f"no recipe of a table names the weights {', '.join(unknown)}; they name {', '.join(known)}"
                )


def parse_weights(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=FOLDER` strings → name → folder.

    Raises:
        ValueError: If one has another form.
    """
    for pair in pairs:
        if not all(pair.partition("=")):
            raise ValueError(f"--weights {pair}: expected NAME=FOLDER, e.g. distilbert-base-uncased=models/distilbert")
    return dict(pair.split("=", 1) for pair in pairs)


@dataclass(frozen=True)
class Job:
    """A training run: its folder, its recipe, and the run whose best weights it starts from."""

    folder: Path
    recipe: Recipe
    start: "Job | None" = None


@dataclass(frozen=True)
class Judgement:
    """The best checkpoint of a run on the test split of a data set."""

    job: Job
    data: str

    @property
    def file(self) -> Path:
        """Where its results go."""
        return self.job.folder / "evaluations" / f"{self.data}.json"


#: The runs of a table, by their names there, each after the one that it starts from; and what is judged of them.
Plan = tuple[dict[str, Job], list[Judgement]]


def reproduce(names: Sequence[str], request: Request, console: Console, dry_run: bool = False) -> None:
    """Train and judge what tables need, print each beside the published numbers, and write it as a JSON file.

    A model that several tables need is trained and judged once. What is finished is not done again, and a run that was
    interrupted goes on.

    Args:
        names: Of `list_tables`, or `"all"`.
        request: See there.
        console: Where to print.
        dry_run: Only print what would be done.

    Raises:
        ValueError: If a table is unknown, a run in the output folder had another recipe or other data, or there are several
            processes.
        FileNotFoundError: If a data set is missing that is still needed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # each training ends the group of processes that it ran in
        raise ValueError(
            "reproduce works in one process. Train a run with several: torchrun … -m motionpatches train --recipe RECIPE "
            "--output RUN, with RUN as reproduce --dry-run names it in its output folder; reproduce then takes it as finished"
        )
    wanted = list_tables() if "all" in names else list(dict.fromkeys(names))
    tables = [load_table(name) for name in wanted]
    plans = {table.name: make_plan(table, request) for table in tables}
    if dry_run:
        _print_plan(plans.values(), request, console)
        return
    _check_data(plans, request)
    for table in tables:
        jobs, judgements = plans[table.name]
        for job in jobs.values():
            run_job(job, request)
        found = {judgement.file: judge(judgement, request) for judgement in judgements}
        report = make_report(table, jobs, found, request)
        print_table(report, table.columns, console)
        file = request.output / f"{table.name}-{request.form}-seed{request.seed}.json"
        write_json(file, report)
        console.print(f"written to {file}", highlight=False)


# ---- what a table needs -------------------------------------------------------------------------------------------------------


def make_plan(table: PaperTable, request: Request) -> Plan:
    """The runs of a table, by their names there, in order; and what is to be judged of them."""
    bases = {f"{base}_paper": f"{base}_{request.form}" for base in _BASES}
    overrides = [*request.overrides, f"seed={request.seed}"]
    jobs: dict[str, Job] = {}
    stems: dict[str, str] = {}
    for name, run in table.runs.items():
        recipe = load_recipe(run.recipe, overrides, bases)
        if run.recipe not in bases:
            recipe.name = f"{recipe.name} ({request.form} form)"
        for tower in _TOWERS:
            named = getattr(recipe.model, tower)
            setattr(recipe.model, tower, request.weights.get(named, named))
        stem = run.recipe.removesuffix("_paper")
        if run.init_from is not None:
            stem = f"{stem}-from-{stems[run.init_from]}"
        stems[name] = stem
        start = None if run.init_from is None else jobs[run.init_from]
        jobs[name] = Job(request.output / f"{stem}-{request.form}-seed{request.seed}", recipe, start)
    wanted = [Judgement(jobs[row.run], section.data) for section in table.sections for row in section.rows if row.run]
    return jobs, list({judgement.file: judgement for judgement in wanted}.values())


def _pretrained_names() -> set[str]:
    recipes = {run.recipe for name in list_tables() for run in load_table(name).runs.values()}
    named = [getattr(load_recipe(recipe).model, tower) for recipe in recipes for tower in _TOWERS]
    return {name for name in named if name}


def run_state(job: Job, request: Request) -> str:
    """`"finished"`, `"interrupted"` or `"to do"`.

    Raises:
        ValueError: If the folder holds a run with another recipe or on other data.
    """
    results = job.folder / "results.json"
    if not results.exists() and not can_resume(job.folder):
        return "to do"
    _check_same_files(job.folder / _DATA_FILES, _data_files(request.data, job.recipe.run.datasets), job.folder)
    if not results.exists():
        return "interrupted"  # training compares the recipes
    saved = json.loads(results.read_text(encoding="utf-8"))["recipe"]
    changed = [key for key, value in job.recipe.to_dict().items() if key in saved and saved[key] != value]
    if changed:
        raise ValueError(
            f"{job.folder} holds a finished run with other values of {', '.join(sorted(changed))}; ask for the same ones, or "
            "choose another --output"
        )
    return "finished"


def is_judged(judgement: Judgement, request: Request) -> bool:
    """Whether the results are there.

    Raises:
        ValueError: If they are of other data.
    """
    if not judgement.file.exists():
        return False
    _check_same_files(judgement.file, _data_files(request.data, [judgement.data], ("test",)), judgement.file)
    return True


def _data_files(data: Path, names: Sequence[str] | None, splits: Sequence[str] = SPLITS) -> dict[str, int]:
    """The files of data sets and their sizes, by which other data of the same name is known."""
    found = [split_files(data / name) for name in names or ()]
    files = [file for parts in found for split in splits for file in parts.get(split, [])]
    return {str(file.relative_to(data)): file.stat().st_size for file in files}


def _check_same_files(record: Path, found: Mapping[str, int], what: Path) -> None:
    known = json.loads(record.read_text(encoding="utf-8"))["files"] if record.exists() else {}
    changed = sorted(name for name, size in found.items() if known.get(name, size) != size)
    if changed:
        raise ValueError(f"{what} was made with other data: {', '.join(changed)} differ in size; choose another --output")


def _missing_files(plan: Plan, request: Request) -> list[str]:
    """Files of data sets that what is left to do needs and that are not there."""
    jobs, judgements = plan
    left = [job for job in jobs.values() if run_state(job, request) != "finished"]
    needed = [f"{name}/train.parquet" for job in left for name in job.recipe.run.datasets or ()]
    needed += [f"{judgement.data}/test.parquet" for judgement in judgements if not is_judged(judgement, request)]
    return [file for file in dict.fromkeys(needed) if Path(file).stem not in split_files(request.data / Path(file).parent)]


def _check_data(plans: Mapping[str, Plan], request: Request) -> None:
    missing = {name: files for name, plan in plans.items() if (files := _missing_files(plan, request))}
    if not missing:
        return
    others = [name for name in list_tables() if not _missing_files(make_plan(load_table(name), request), request)]
    files = sorted({file for listed in missing.values() for file in listed})
    raise FileNotFoundError(
        f"{', '.join(missing)}: {request.data} lacks {', '.join(files)}. A data set is a folder there that holds train.parquet, "
        "validation.parquet and test.parquet, as docs/reproduce.md describes. With the data sets that are there, these tables "
        f"can run: {', '.join(others) or 'none'}"
    )


# ---- training and judging -----------------------------------------------------------------------------------------------------


def run_job(job: Job, request: Request) -> None:
    """Train, unless that is done; go on where it was interrupted."""
    state = run_state(job, request)
    if state == "finished":
        return
    datasets = job.recipe.run.datasets
    rows = _load(request.data, tuple(datasets or ()))
    write_json(job.folder / _DATA_FILES, {"files": _data_files(request.data, datasets)})
    start = None if job.start is None else str(job.start.folder / "best")
    train(job.recipe, rows, job.folder, init_from=start, resume=state == "interrupted")
    if torch.cuda.is_available():  # the next model needs the room
        gc.collect()
        torch.cuda.empty_cache()


def judge(judgement: Judgement, request: Request) -> dict[str, Any]:
    """Results of a run's best checkpoint, measured unless they are there already.

    Where the processor has no statistics of a skeleton, they are fitted on the motions of the data set's train split: captions
    are not looked at. Without a train split the shared ones are used. The results say which were.
    """
    if is_judged(judgement, request):
        return json.loads(judgement.file.read_text(encoding="utf-8"))
    checkpoint = judgement.job.folder / "best"
    model, processor = load_checkpoint(checkpoint)
    splits = _load(request.data, (judgement.data,))
    rows = splits["test"]
    patches = processor.feature_extractor
    known = set(patches.statistics)
    if "train" in splits:
        fit_processor(patches, splits["train"], patches.per_skeleton, only_new=True)
    results = evaluate(model, processor, rows, TEMPLATE, progress=True, more_protocols=("small",))
    content = {
        "task": "evaluate",
        "command": command_line(),
        "data": describe_data(rows),
        "split": "test",
        "weights": weights_fingerprint(model),
        "training": read_training_facts(checkpoint),
        "fitted": sorted(set(patches.statistics) - known),
        "files": _data_files(request.data, [judgement.data], ("test",)),
        "results": results,
        **environment(),
    }
    write_json(judgement.file, content)
    return content


@functools.lru_cache(maxsize=8)
def _load(data: Path, names: tuple[str, ...]) -> DatasetDict:
    return load_motions(data, names)  # once: most tables train many models on the same data


# ---- what is reported ---------------------------------------------------------------------------------------------------------


def make_report(
    table: PaperTable, jobs: Mapping[str, Job], found: Mapping[Path, Mapping[str, Any]], request: Request
) -> dict[str, Any]:
    """The content of a table's JSON file: rows of the paper and ours, chance, and how the runs were made."""
    notes, sections = list(table.notes), []
    for section in table.sections:
        rows: list[dict[str, Any]] = []
        part: dict[str, Any] = {"title": section.title, "data": section.data, "protocol": section.protocol, "rows": rows}
        for row in section.rows:
            entry: dict[str, Any] = {"label": row.label, "published": row.published, "run": None, "measured": None}
            rows.append(entry)
            if row.run is None:
                continue
            job = jobs[row.run]
            content = found[Judgement(job, section.data).file]
            gallery = content["results"]["all"]
            entry["run"], entry["statistics"] = job.folder.name, gallery["statistics"]
            entry["measured"], part["chance"] = pick_numbers(content["results"], section, table.columns)
            part["num"] = gallery["num"]
            notes += [note for note in _remarks(row.label, section.data, content, section.classes) if note not in notes]
        sections.append(part)
    return {
        "task": "reproduce",
        "table": table.name,
        "title": table.title,
        "form": request.form,
        "seed": request.seed,
        "overrides": [shorten_path(override) for override in request.overrides],
        "weights": {name: shorten_path(folder) for name, folder in request.weights.items()},
        "command": command_line(),
        "sections": sections,
        "notes": notes,
        "runs": {job.folder.name: _describe_run(job) for job in jobs.values()},
        **environment(),
    }


def _remarks(label: str, data: str, content: Mapping[str, Any], classes: int | None) -> Iterator[str]:
    gallery = content["results"]["all"]
    if content["fitted"]:
        yield (
            f"{label}: the statistics of {', '.join(content['fitted'])} are fitted on the motions of the train split of {data}, "
            "without captions."
        )
    shared = sorted(name for name, entry in gallery["statistics"].items() if entry == "shared")
    if shared:
        yield f"{label}: {', '.join(shared)} of {data} has no statistics of its own, the shared ones are used."
    if classes is not None and gallery["zero_shot"]["num_classes"] != classes:
        yield f"The test split of {data} has {gallery['zero_shot']['num_classes']} labels, the paper {classes}."


def _describe_run(job: Job) -> dict[str, Any]:
    content = json.loads((job.folder / "results.json").read_text(encoding="utf-8"))
    source = {key: content[key] for key in ("versions", "device", "commit")}
    return {**(read_training_facts(job.folder / "best") or {}), **source}


def print_tables(console: Console) -> None:
    """What `reproduce --list` shows."""
    shown = Table("table", "title", "data sets", Column("recipes", no_wrap=True))
    for name in list_tables():
        table = load_table(name)
        recipes = {run.recipe: load_recipe(run.recipe) for run in table.runs.values()}
        data = {name for recipe in recipes.values() for name in recipe.run.datasets or ()}
        data |= {section.data for section in table.sections}
        shown.add_row(name, table.title, ", ".join(sorted(data)), "\n".join(recipes))
    console.print(shown)


def _print_plan(plans: Iterable[Plan], request: Request, console: Console) -> None:
    shown = Table("step", "run", "data", "state")
    steps: list[tuple[str, ...]] = []
    for jobs, judgements in plans:
        for job in jobs.values():
            data = ", ".join(job.recipe.run.datasets or ())
            steps.append(("train", job.folder.name, data, run_state(job, request)))
        for judgement in judgements:
            state = "finished" if is_judged(judgement, request) else "to do"
            steps.append(("evaluate", judgement.job.folder.name, judgement.data, state))
    for step in dict.fromkeys(steps):
        data_is_there = all((request.data / name).is_dir() for name in step[2].split(", "))
        state = step[3] if data_is_there or step[3] == "finished" else f"{step[3]}, data missing"
        shown.add_row(*step[:3], state)
    console.print(shown)
