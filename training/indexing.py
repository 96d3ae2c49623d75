"""What the commands `index`, `search` and `captions` do."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..processing.readers import read_motion
from .index_embedding import process_state
from .index_folder import read_facts
from .index_sources import MOTION_SUFFIXES, MotionSource, open_source
from .inference import load_checkpoint, texts_by_motion
from .motion_index import MotionIndex


_SHOWN_CASES = 3


def update_index(
    folder: str | Path,
    checkpoint: str,
    output: str | Path,
    kind: str | None = None,
    settings: Mapping[str, int] | None = None,
    split: str | None = None,
    metadata: str | Path | None = None,
    more_suffixes: Sequence[str] = (),
    skeleton: str | None = None,
    fps: float | None = None,
    overwrite: bool = False,
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Make the index of a folder, or bring it up to date: add what is new, embed anew what changed, remove what is gone.

    The index appears, or is replaced, when it is whole. Until then embeddings lie beside it in `<output>.partial`, and a second
    call goes on with them. Several processes may call this together, as `accelerate launch` and `torchrun` let them.

    Args:
        folder: Motion files or motion data.
        checkpoint: Folder or Hub id of the model.
        output: Folder of the index.
        kind, settings: As of `MotionIndex`; default those of the index that is there, else `"flat"`.
        split, metadata: As of `index_sources.open_source`.
        more_suffixes: Of files that are motions too, such as `.json` and `.csv`.
        skeleton, fps: Of motion files that do not say theirs.
        overwrite: Make an index of this folder alone in the place of one of another checkpoint or folder.
        batch_size: Motions in one forward pass.
        progress: Show a progress bar on stderr.

    Returns:
        The report of `MotionIndex.add`, with `total`, the motions in the index, and `kind`.

    Raises:
        ValueError: If the index there is of another checkpoint, or of a folder that has nothing in common with this one, or of
            several sources; or no motion could be embedded; and as `MotionIndex.add`.
        FileNotFoundError: If there are no motions.
        FileExistsError, OSError: If the output is something else, or cannot be written.
    """
    output = Path(output).absolute()
    process_state()  # before the model is loaded: it settles the device of this process
    is_there = read_facts(output) is not None
    if not is_there and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} holds something else than an index; choose another folder")
    if is_there and not overwrite:
        index = MotionIndex.load(output, checkpoint)
        if kind is not None or settings:
            index.change_kind(kind or index.kind, settings if settings or kind != index.kind else index.settings)
    else:
        index = MotionIndex(checkpoint, kind or "flat", settings)
    names = sorted(set(index.table["source"].to_pylist()))
    if len(names) > 1:
        raise ValueError(
            f"the index {output} holds motions of several sources ({', '.join(names)}); bring it up to date in Python"
        )
    suffixes = [*MOTION_SUFFIXES, *(suffix if suffix.startswith(".") else f".{suffix}" for suffix in more_suffixes)]
    source = open_source(folder, names[0] if names else None, split, metadata, suffixes, skeleton, fps)
    _check_same_folder(index, source, folder, output)
    work_dir = output.with_name(output.name + ".partial")
    report = index.add(source, prune=True, work_dir=work_dir, batch_size=batch_size, progress=progress)
    if not len(index):
        reasons = "; ".join(
            f"{kind} ({found['count']}), such as {_example(found)}" for kind, found in report["left_out"].items()
        )
        raise ValueError(f"none of the {len(source)} motions of {str(folder)!r} can be put into an index: {reasons}")
    index.save(output)
    if process_state().is_main_process:
        shutil.rmtree(work_dir, ignore_errors=True)
    return {**report, "total": len(index), "kind": index.kind}


def parse_settings(texts: Sequence[str]) -> dict[str, int]:
    """Settings of a kind of index as the command line has them: `["nprobe=64"]` → `{"nprobe": 64}`.

    Raises:
        ValueError: If one has another form.
    """
    settings = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not (name and value.isdecimal()):
            raise ValueError(f"setting {text!r}: expected a name and a whole number, such as nprobe=64")
        settings[name] = int(value)
    return settings


def _check_same_folder(index: MotionIndex, source: MotionSource, folder: str | Path, output: Path) -> None:
    """Raise a `ValueError` before an index loses all its motions to a wrong folder."""
    if len(index) and not set(index.table["id"].to_pylist()) & set(source.columns["id"].to_pylist()):
        made_of = ", ".join(index.folders.values()) or ", ".join(index.table["source"].unique().to_pylist())
        raise ValueError(
            f"none of the {len(index)} motions in the index {output} is in {str(folder)!r}; it was made of {made_of}. Choose "
            "another --output, or replace the index with --overwrite"
        )


def _example(found: Mapping[str, Any]) -> str:
    case = found["cases"][0]
    return f"{case['id']}: {case['detail']}" if case["detail"] else case["id"]


def print_index_report(report: Mapping[str, Any], console: Console) -> None:
    """What became of the motions, in one line, and what was left out or guessed as tables."""
    left_out = sum(found["count"] for found in report["left_out"].values())
    console.print(
        f"{report['total']} motions in the index ({report['kind']}): {report['added']} added, {report['changed']} changed, "
        f"{report['unchanged']} unchanged, {report['removed']} removed; {report['embedded']} embedded now"
        f"{', ' + str(report['resumed']) + ' by a call before' if report['resumed'] else ''}; {left_out} left out",
        highlight=False,
        soft_wrap=True,
    )
    cases = Table("left out", "number", "such as")
    for kind, found in report["left_out"].items():
        shown = [
            f"{case['id']}: {case['detail']}" if case["detail"] else case["id"] for case in found["cases"][:_SHOWN_CASES]
        ]
        cases.add_row(escape(kind), str(found["count"]), escape("\n".join(shown)))
    if cases.row_count:
        console.print(cases)
    if report["notes"]:
        table = Table("guessed or changed", "what")
        for note in report["notes"][:_SHOWN_CASES]:
            table.add_row(escape(note["id"]), escape(note["note"]))
        if len(report["notes"]) > _SHOWN_CASES:
            table.add_row("…", f"{len(report['notes'])} in all; the column `notes` has them")
        console.print(table)
    if report["other_files"]:
        counts = ", ".join(
            f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(report["other_files"].items())
        )
        console.print(f"files of other kinds, not looked at: {counts}", highlight=False, markup=False)


def search_index(
    index: str | Path,
    text: str | None = None,
    motion: str | Path | None = None,
    weight: float = 0.5,
    top_k: int = 10,
    where: Sequence[str] = (),
    exact: bool = False,
    checkpoint: str | None = None,
    skeleton: str | None = None,
    fps: float | None = None,
) -> list[dict[str, Any]]:
    """Search an index by a sentence, a motion file, or both.

    Args:
        index: Folder of the index, or its name on the Hub.
        text, weight, top_k, exact: As of `MotionIndex.search`.
        motion: A motion file.
        where: Conditions, all of which a hit meets.
        checkpoint: What the index was made by, where it does not say or that has moved.
        skeleton, fps: What the motion file does not say.

    Returns:
        Hits, as `MotionIndex.search`.

    Raises:
        ValueError, FileNotFoundError: As `MotionIndex.load` and `search`, and `read_motion`.
    """
    if text is None and motion is None:
        raise ValueError("say what to search for: a sentence, --motion FILE, or both")
    query = None if motion is None else read_motion(motion, skeleton, fps)
    return MotionIndex.load(index, checkpoint).search(text, query, weight, top_k, list(where) or None, exact)


def print_hits(hits: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Hits as a table."""
    has_label = any(hit.get("label") for hit in hits)
    table = Table("score", "motion", "seconds", "captions", *(["label"] if has_label else []))
    for hit in hits:
        cells = [hit["path"] or hit["id"], f"{hit['duration']:.1f}", "; ".join(hit["captions"] or ())]
        cells += [str(hit.get("label") or "")] if has_label else []
        table.add_row(f"{hit['score']:.3f}", *(escape(cell) for cell in cells))
    console.print(table)


def rank_captions(
    checkpoint: str,
    motion: str | Path,
    candidates: str | Path,
    top_k: int | None = None,
    skeleton: str | None = None,
    fps: float | None = None,
) -> list[dict[str, Any]]:
    """Candidate sentences for a motion, best first.

    Args:
        checkpoint: Folder or Hub id of the model.
        motion: A motion file.
        candidates: Text file with a sentence a line; empty lines are passed over, and equal ones are one.
        top_k: How many; default all.
        skeleton, fps: What the motion file does not say.

    Returns:
        `{"text", "score"}` of each; the score is the cosine similarity.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If there are no sentences, or the motion cannot be read.
    """
    file = Path(candidates)
    if not file.is_file():
        raise FileNotFoundError(f"no file {str(file)!r} of candidate sentences, one a line")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error}; save it as UTF-8, a sentence a line") from error
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{file} has no sentences: expected one a line")
    query = read_motion(motion, skeleton, fps)
    model, processor = load_checkpoint(checkpoint)
    return texts_by_motion(model, processor, [query], texts, len(texts) if top_k is None else top_k)[0]
