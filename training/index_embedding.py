"""Motions → embeddings in shards on the disk: each process of a launch embeds its share, and a run that was killed goes on.

A shard is a Parquet file of embeddings by the content of their motions. It is written whole or not at all, so whatever lies in
the folder is done, by whichever process.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from torch.nn.functional import normalize
from tqdm import tqdm

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionPatchProcessor, MotionTextProcessor, ResolvedMotion
from .index_sources import MotionSource


#: Motions in a shard: what a killed process loses at most.
SHARD_MOTIONS = 256
# What a broken file may raise in the libraries that read it.
_BROKEN = (ValueError, TypeError, LookupError, ArithmeticError, OSError, EOFError)
_OF_ONE = (
    ("1 of 1 motions say no frame rate and fps= was not given; they are taken", "it says no frame rate, and is taken"),
    ("1 of 1 motions are longer", "it is longer"),
    ("and were cut", "and was cut"),
    ("motion 0 ", "it "),
)
_FINGERPRINT_FILE = "fingerprint.txt"


class Embedded(NamedTuple):
    """What became of the motions of a source.

    Args:
        keys: Of each motion; `None` of one that could not be read at all.
        found: A row for each new key, see `found_schema`.
        faults: Id, kind and detail of each motion without an embedding.
        num_new: Motions that this call embedded.
        num_resumed: Motions whose embeddings an earlier call had left in the folder.
    """

    keys: list[str | None]
    found: pa.Table
    faults: list[tuple[str, str, str]]
    num_new: int
    num_resumed: int


def found_schema(size: int) -> pa.Schema:
    """What is found out of a motion: `key`, `skeleton`, `num_frames` at `fps`, `duration` in seconds, `notes` and `embedding`."""
    return pa.schema(
        {
            "key": pa.string(),
            "skeleton": pa.string(),
            "num_frames": pa.int64(),
            "fps": pa.float64(),
            "duration": pa.float64(),
            "notes": pa.list_(pa.string()),
            "embedding": pa.list_(pa.float32(), size),
        }
    )


def process_state() -> PartialState:
    """The processes of this launch; also those of `torchrun` on a machine without a GPU, which Accelerate takes for single ones
    unless it is told.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def embed_source(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    source: MotionSource,
    known: Set[str],
    folder: Path,
    fingerprint: str,
    batch_size: int = 64,
    progress: bool = False,
) -> Embedded:
    """Embed the motions of a source, those whose content is not known. All processes of a launch call this together.

    Args:
        model, processor: The model, on the device of this process, and its processor.
        source: The motions.
        known: Keys of motions that need no embedding.
        folder: For the shards; all processes see it. Shards of another fingerprint are deleted.
        fingerprint: Of model and processor.
        batch_size: Motions in one forward pass.
        progress: Show a progress bar, of the first process.

    Returns:
        The same in every process.

    Raises:
        OSError: If the folder cannot be written.
    """
    model.eval()
    state = process_state()
    if state.is_main_process:
        _start(folder, fingerprint)
    state.wait_for_everyone()
    keys, unreadable = _all_keys(source, state)
    resumed = _read_keys(folder) - known
    first = {key: index for index, key in reversed(list(enumerate(keys))) if key is not None}
    waiting = sorted(index for key, index in first.items() if key not in known and key not in resumed)
    own = waiting[state.process_index :: state.num_processes]
    state.wait_for_everyone()  # nobody writes a shard while another still looks at what there is
    faults: list[tuple[str, str, str]] = []
    hidden = None if progress and state.is_main_process else True
    with tqdm(total=len(own), desc=source.name, unit=" motions", disable=hidden, leave=False) as bar:
        for start in range(0, len(own), SHARD_MOTIONS):
            part = own[start : start + SHARD_MOTIONS]
            rows, left_out = _embed_part(model, processor, source, part, batch_size)
            faults += left_out
            table = [{"key": keys[index], **row} for index, row in rows]
            if table:
                _write_shard(pa.Table.from_pylist(table, schema=found_schema(model.config.projection_dim)), folder)
            bar.update(len(part))
    every_fault = gather_object(faults)
    state.wait_for_everyone()
    wanted = set(first) - known
    found = _read_shards(folder, wanted, model.config.projection_dim)
    reasons = {name: (kind, detail) for name, kind, detail in every_fault}
    ids = source.columns["id"].to_pylist()
    # A file with the content of one that cannot be used cannot be used either.
    broken = {keys[index]: reasons[ids[index]] for index in waiting if ids[index] in reasons}
    without = [(ids[index], *broken[key]) for index, key in enumerate(keys) if key in broken]
    num_resumed = len(resumed & wanted)
    return Embedded(keys, found, [*unreadable, *without], len(found) - num_resumed, num_resumed)


def _start(folder: Path, fingerprint: str) -> None:
    """Make the folder ready: what lies in it is of this model and processor."""
    record = folder / _FINGERPRINT_FILE
    if not (record.exists() and record.read_text(encoding="utf-8") == fingerprint):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        record.write_text(fingerprint, encoding="utf-8")
    for torn in folder.glob("*.tmp"):
        torn.unlink()


def _all_keys(source: MotionSource, state: PartialState) -> tuple[list[str | None], list[tuple[str, str, str]]]:
    """The key of each motion, each process finding a share of them; and what cannot be read."""
    found: list[tuple[int, str | None, str]] = []
    for index in range(state.process_index, len(source), state.num_processes):
        try:
            found.append((index, source.key(index), ""))
        except OSError as error:
            found.append((index, None, _describe(error, source)))
    gathered = sorted(gather_object(found), key=lambda entry: entry[0])
    ids = source.columns["id"]
    unreadable = [(ids[index].as_py(), "file that cannot be read", why) for index, key, why in gathered if key is None]
    return [key for _, key, _ in gathered], unreadable


def _embed_part(
    model: MotionPatchesModel, processor: MotionTextProcessor, source: MotionSource, indices: Sequence[int], batch_size: int
) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[str, str, str]]]:
    """Rows without keys of the motions that can be embedded, by their indices, and why the others cannot."""
    patches = processor.feature_extractor
    faults: list[tuple[str, str, str]] = []
    rows: list[tuple[int, dict[str, Any]]] = []

    def leave_out(index: int, kind: str, why: object) -> None:
        name = source.columns["id"][index].as_py()
        faults.append((name, kind, _describe(why, source).removeprefix(f"{name}: ")))

    for start in range(0, len(indices), batch_size):
        read: list[tuple[int, dict[str, Any], ResolvedMotion]] = []
        for index in indices[start : start + batch_size]:
            try:
                motion, notes = source.read(index, patches)
                prepared = patches.prepare(motion)
            except _BROKEN as error:
                leave_out(index, "motion that cannot be read", error)
                continue
            if prepared.joints.shape[-3] > patches.max_frames:
                notes.append(patches.describe_cut(1, 1, patches.truncation))
            read.append((index, _facts(motion, notes), prepared))
        for (index, facts, _), embedding in zip(read, _embed(model, patches, [motion for *_, motion in read]), strict=True):
            if isinstance(embedding, Exception):
                leave_out(index, "motion that the model does not take", embedding)
            elif not np.isfinite(embedding).all():
                leave_out(index, "embedding that is not finite", "")
            else:
                rows.append((index, {**facts, "embedding": embedding}))
    return rows, faults


def _facts(motion: ResolvedMotion, notes: Sequence[str]) -> dict[str, Any]:
    num_frames, fps = motion.joints.shape[-3], float(motion.fps)
    return {
        "skeleton": motion.skeleton.name,
        "num_frames": num_frames,
        "fps": fps,
        "duration": num_frames / fps,
        "notes": [_of_one(note) for note in notes],
    }


@torch.no_grad()
def _embed(
    model: MotionPatchesModel, patches: MotionPatchProcessor, prepared: Sequence[ResolvedMotion]
) -> list[np.ndarray | ValueError]:
    """Embeddings of unit length, or why there is none: a batch that is refused is tried motion by motion."""
    if not prepared:
        return []
    try:
        inputs = patches.to_patches(prepared, return_tensors="pt", warn=False).to(model.device)
        embeddings = normalize(model.get_motion_features(**inputs).pooler_output.float(), dim=-1)
        return list(embeddings.cpu().numpy())
    except ValueError as error:
        if len(prepared) == 1:
            return [error]
    return [_embed(model, patches, [motion])[0] for motion in prepared]


def _describe(error: object, source: MotionSource) -> str:
    """What is said of a motion, without the folders of this machine: a report may go to the Hub."""
    text = str(error) or type(error).__name__
    for folder in {str(source.folder), str(source.folder.resolve())} if source.folder else ():
        text = text.replace(f"{folder}{os.sep}", "")
    return _of_one(text)


def _of_one(text: str) -> str:
    """A sentence on a call with one motion as one on that motion."""
    for plural, single in _OF_ONE:
        text = text.replace(plural, single)
    return text


# ---- shards ---------------------------------------------------------------------------------------------------------------


def _write_shard(table: pa.Table, folder: Path) -> None:
    name = hashlib.sha256("".join(table["key"].to_pylist()).encode()).hexdigest()[:32]
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(folder / f"{name}.parquet")


def _shards(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.parquet"))


def _read_keys(folder: Path) -> set[str]:
    return {key for shard in _shards(folder) for key in pq.read_table(shard, columns=["key"])["key"].to_pylist()}


def _read_shards(folder: Path, wanted: Set[str], size: int) -> pa.Table:
    """The rows with these keys, each key once."""
    tables, seen = [found_schema(size).empty_table()], set[str]()
    for shard in _shards(folder):
        table = pq.read_table(shard)
        keys = table["key"].to_pylist()
        fresh = [row for row, key in enumerate(keys) if key in wanted and key not in seen]
        seen.update(keys[row] for row in fresh)
        tables.append(table.take(fresh) if len(fresh) < len(keys) else table)
    return pa.concat_tables(tables)
