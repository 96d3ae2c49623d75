"""A motion data set in its owner's layout → Parquet shards and a report: in parallel, and resumable shard by shard.

A shard is a Parquet file and, written after it, a note of what became of its items. A shard with a note is whole.
"""

import dataclasses
import hashlib
import json
import os
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import forkserver, get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, List, Value
from tqdm import tqdm

from .corpora_layout import Clip, Corpus, Fault, Item, LeftOutError, Lists, check_joints


#: Items in a shard.
SHARD_ITEMS = 256

_VERSION = 1  # of the form of shards and notes: others are not gone on with
_JOB_FILE = "job.json"
_OPTIONAL = {"label": Value("string"), "mirrored": Value("bool"), "persons": Value("int64")}
# What a broken file may raise in the libraries that read it.
_BROKEN = (ValueError, TypeError, LookupError, ArithmeticError, OSError, EOFError)


@dataclass(frozen=True)
class Job:
    """A data set to build, and what its lists name.

    Args:
        corpus: The data set.
        dataset: The value of the column `dataset`.
        lists: What its lists name.
    """

    corpus: Corpus
    dataset: str
    lists: Lists

    @property
    def fingerprint(self) -> str:
        """Equal for jobs that would build the same from the same files."""
        settings = {field.name: str(getattr(self.corpus, field.name)) for field in dataclasses.fields(self.corpus)}
        items = {split: [item.id for item in items] for split, items in self.lists.items.items()}
        parts = [_VERSION, SHARD_ITEMS, self.corpus.name, self.dataset, settings, items]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def shards(self) -> Iterator[tuple[str, list[Item]]]:
        """The name and the items of each shard."""
        for split, items in self.lists.items.items():
            for number, start in enumerate(range(0, len(items), SHARD_ITEMS)):
                yield f"{split}-{number:05d}", items[start : start + SHARD_ITEMS]


class Built(NamedTuple):
    """What was built: the shards of each split that hold rows, and the report."""

    shards: dict[str, list[Path]]
    report: dict[str, Any]


def plan(corpus: Corpus, dataset: str | None = None) -> Job:
    """Find out what there is to build.

    Args:
        corpus: The data set.
        dataset: The value of the column `dataset`; default the name of the corpus.

    Raises:
        FileNotFoundError: If there is no such folder, or it is not in the layout.
        ValueError: If a list cannot be understood.
    """
    if not corpus.root.is_dir():
        raise FileNotFoundError(f"no folder {str(corpus.root)!r} to prepare ({corpus.about.title}); check --root")
    corpus = dataclasses.replace(corpus, **{name: Path(os.path.abspath(path)) for name, path in _folders(corpus).items()})
    return Job(corpus, dataset or corpus.name, corpus.lists())


def _folders(corpus: Corpus) -> dict[str, Path]:
    """The settings that are folders or files."""
    settings = {field.name: getattr(corpus, field.name) for field in dataclasses.fields(corpus)}
    return {name: value for name, value in settings.items() if isinstance(value, Path)}


def build(job: Job, folder: Path, num_workers: int = 1, progress: bool = False) -> Built:
    """Build the shards of a data set, those that are not there yet.

    Args:
        job: What to build.
        folder: For shards and notes. What another job left in it is deleted.
        num_workers: Processes; 1 is this one.
        progress: Show a progress bar on stderr.

    Raises:
        ValueError: If an id occurs twice, or none of the items makes a row.
        OSError: If the folder cannot be written.
    """
    _start(job, folder)
    waiting = [(name, items) for name, items in job.shards() if not _note_file(folder, name).exists()]
    total = sum(len(items) for _, items in job.shards())
    bar = tqdm(total=total, desc=job.dataset, unit=" motions", disable=not progress, smoothing=0)
    bar.update(total - sum(len(items) for _, items in waiting))
    with bar, closing(_run(job, folder, waiting, num_workers)) as done:
        for count in done:
            bar.update(count)
    return _gather(job, folder)


def _start(job: Job, folder: Path) -> None:
    """Make the folder ready: what lies in it is of this job."""
    record = folder / _JOB_FILE
    if record.exists() and json.loads(record.read_text(encoding="utf-8")) == {"fingerprint": job.fingerprint}:
        return
    folder.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    for file in [*folder.glob("*.parquet"), *folder.glob("*.json"), *folder.glob("*.tmp")]:
        file.unlink()
    _write(record, json.dumps({"fingerprint": job.fingerprint}))


def _run(job: Job, folder: Path, waiting: Sequence[tuple[str, list[Item]]], num_workers: int) -> Generator[int]:
    """Build shards; yields the number of items of each when it is whole."""
    if num_workers <= 1 or len(waiting) <= 1:
        for name, items in waiting:
            yield build_shard(job.corpus, job.dataset, items, folder, name)
        return
    pool = ProcessPoolExecutor(min(num_workers, len(waiting)), _context(), _start_worker)
    try:
        futures = [pool.submit(build_shard, job.corpus, job.dataset, items, folder, name) for name, items in waiting]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise OSError(
            f"a worker process was ended from outside, perhaps for want of memory ({error}); start again, with fewer workers: "
            "what is done is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """How workers start: not forked from this process, which may have threads; where that can be, imports are done once."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    if threading.current_thread() is not threading.main_thread():
        return context  # only the main thread may handle signals
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the server inherits: Ctrl-C would break into its imports
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


def _start_worker() -> None:
    """Ctrl-C is for the parent alone, which then stops the workers; one whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def build_shard(corpus: Corpus, dataset: str, items: Sequence[Item], folder: Path, name: str) -> int:
    """Write a shard and its note; returns the number of items."""
    rows: list[dict[str, Any]] = []
    note: dict[str, list[Any]] = {"rows": [], "skipped": [], "faults": []}
    for item in items:
        clips, faults = read_item(corpus, item)
        if not clips:
            note["skipped"].append([item.id, *faults.pop()])
        note["faults"] += [[item.id, *fault] for fault in faults]
        for clip in clips:
            row = make_row(corpus, dataset, item, clip)
            rows.append(row)
            seconds = row["num_frames"] / clip.fps
            about = {"id": row["id"], "item": item.id, "frames": row["num_frames"], "seconds": seconds}
            note["rows"].append(
                {**about, "captions": len(clip.captions), "is_part": clip.part != "", "mirror_of": item.mirror_of}
            )
    if rows:
        schema = features_of(corpus).arrow_schema
        columns = {column: [row[column] for row in rows] for column in schema.names}
        temporary = folder / f"{name}.parquet.{os.getpid()}.tmp"
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")
        temporary.replace(folder / f"{name}.parquet")
    _write(_note_file(folder, name), json.dumps(note))
    return len(items)


def read_item(corpus: Corpus, item: Item) -> tuple[list[Clip], list[Fault]]:
    """The clips of an item that can be used, and what was left out; the last fault says why there is no clip."""
    try:
        clips, faults = corpus.read(item)
    except LeftOutError as error:
        return [], [_clean(corpus, error.fault)]
    except _BROKEN as error:
        return [], [_clean(corpus, Fault("file that cannot be read", str(error) or type(error).__name__))]
    good, refused = [], []
    for clip in clips:
        try:
            check_joints(clip.joints)
        except LeftOutError as error:
            refused.append(Fault(error.fault.kind, " ".join(filter(None, [clip.part, error.fault.detail]))))
        else:
            good.append(clip)
    if not clips and not faults:
        faults = [Fault("nothing in it")]
    if not clips:
        refused = [Fault("no part that can be used", faults[-1].kind)]
    return good, [_clean(corpus, fault) for fault in [*faults, *refused]]


def _clean(corpus: Corpus, fault: Fault) -> Fault:
    """Without the folders of this machine: a report may go to the Hub."""
    detail = fault.detail
    for folder in _folders(corpus).values():
        detail = detail.replace(f"{folder}{os.sep}", "")
    return Fault(fault.kind, detail)


def features_of(corpus: Corpus) -> Features:
    """The columns of the rows of a data set."""
    columns = {
        "id": Value("string"),
        "joints": List(Value("float32")),
        "num_frames": Value("int64"),
        "num_joints": Value("int64"),
        "skeleton": Value("string"),
        "fps": Value("float64"),
        "captions": List(Value("string")),
    }
    optional = {column: _OPTIONAL[column] for column in corpus.columns}
    return Features({**columns, **optional, "dataset": Value("string"), "source_id": Value("string")})


def make_row(corpus: Corpus, dataset: str, item: Item, clip: Clip) -> dict[str, Any]:
    """The row of a clip; see `load_motions` for its columns."""
    values = {
        "id": f"{item.id}_{clip.part}" if clip.part else item.id,
        "joints": clip.joints.astype(np.float32).reshape(-1),
        "num_frames": clip.joints.shape[-3],
        "num_joints": clip.joints.shape[-2],
        "skeleton": clip.skeleton,
        "fps": clip.fps,
        "captions": clip.captions,
        "label": clip.label,
        "mirrored": item.mirror_of is not None,
        "persons": clip.joints.shape[0] if clip.joints.ndim == 4 else None,
        "dataset": dataset,
        "source_id": item.id,
    }
    return {column: values[column] for column in features_of(corpus)}


def _note_file(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.note.json"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


# ---- the report ---------------------------------------------------------------------------------------------------------------


def _gather(job: Job, folder: Path) -> Built:
    shards: dict[str, list[Path]] = {split: [] for split in job.lists.items}
    notes: dict[str, dict[str, list[Any]]] = {split: {"rows": [], "skipped": [], "faults": []} for split in job.lists.items}
    for name, _ in job.shards():
        split = name.rpartition("-")[0]
        note = json.loads(_note_file(folder, name).read_text(encoding="utf-8"))
        for part, entries in note.items():
            notes[split][part] += entries
        if note["rows"]:
            shards[split].append(folder / f"{name}.parquet")
    _check_ids(row["id"] for note in notes.values() for row in note["rows"])
    report = make_report(job, notes)
    if not any(shards.values()):
        reasons = "; ".join(
            f"{split}: {kind} ({found['count']})"
            for split, part in report["splits"].items()
            for kind, found in part["skipped"].items()
        )
        raise ValueError(
            f"none of the motions that the lists of {str(job.corpus.root)!r} name makes a row: {reasons or 'they are empty'}"
        )
    return Built({split: files for split, files in shards.items() if files}, report)


def _check_ids(ids: Iterable[str]) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} ids would occur twice, such as {', '.join(twice[:5])}; rename those motions")


def make_report(job: Job, notes: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, Any]:
    """What became of everything that the lists name.

    Args:
        job: What was built.
        notes: The notes of the shards of each split, put together.

    Returns:
        `splits`: for each, `named` = `found` + the counts in `skipped`, which holds the ids of each reason; `faults`, the same
        for parts of motions that were left out or changed; `rows`, `sub_clips`, `captions`, `frames`, `seconds`, `mirrored`.
        `remarks`: what concerns no split.
    """
    homes = {row["item"]: split for split, note in notes.items() for row in note["rows"]}
    splits = {}
    for split, note in notes.items():
        repeated = [[name, *fault] for name, fault in job.lists.repeated.get(split, [])]
        rows = note["rows"]
        splits[split] = {
            "list": job.lists.lists[split],
            "named": len(job.lists.items[split]) + len(repeated),
            "found": len({row["item"] for row in rows}),
            "skipped": _by_kind([*note["skipped"], *repeated]),
            "rows": len(rows),
            "sub_clips": sum(row["is_part"] for row in rows),
            "faults": _by_kind(note["faults"]),
            "captions": _describe_captions([row["captions"] for row in rows]),
            "frames": _describe([row["frames"] for row in rows]),
            "seconds": _describe([row["seconds"] for row in rows]),
        }
        if "mirrored" in job.corpus.columns:
            splits[split]["mirrored"] = _describe_mirrored(rows, split, homes)
    return {
        "dataset": job.dataset,
        "corpus": job.corpus.name,
        "settings": job.lists.settings,
        "splits": splits,
        "remarks": _by_kind([[name, *_clean(job.corpus, fault)] for name, fault in job.lists.remarks]),
        "fingerprint": job.fingerprint,
    }


def _by_kind(entries: Iterable[Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Faults by kind, the most frequent first, each with its ids and what was said of them."""
    kinds: dict[str, list[dict[str, str]]] = defaultdict(list)
    for name, kind, detail in entries:
        kinds[kind].append({"id": name, "detail": detail})
    ordered = sorted(kinds.items(), key=lambda found: -len(found[1]))
    return {kind: {"count": len(cases), "cases": cases} for kind, cases in ordered}


def _describe_captions(counts: Sequence[int]) -> dict[str, Any]:
    per_motion = {str(number): count for number, count in sorted(Counter(counts).items())}
    return {"total": sum(counts), "mean": float(np.mean(counts)) if counts else None, "per_motion": per_motion}


def _describe(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"min": None, "median": None, "max": None, "total": 0}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values), "total": float(sum(values))}


def _describe_mirrored(rows: Sequence[Mapping[str, Any]], split: str, homes: Mapping[str, str]) -> dict[str, Any]:
    """Mirror images: how many have the motion itself in their split, in another one (a leak), or nowhere."""
    twins = {row["item"]: row["mirror_of"] for row in rows if row["mirror_of"] is not None}
    elsewhere = [item for item, twin in twins.items() if homes.get(twin, split) != split]
    alone = [item for item, twin in twins.items() if twin not in homes]
    return {
        "motions": len(twins),
        "pairs": len(twins) - len(elsewhere) - len(alone),
        "twin_in_another_split": elsewhere,
        "without_twin": alone,
    }
