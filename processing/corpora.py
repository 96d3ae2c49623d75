"""Motion data sets on disk → one `datasets.DatasetDict` with the columns that training and evaluation read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    Value,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)

from .canonical import to_metres
from .skeletons import get_skeleton


_Rows = TypeVar("_Rows", Dataset, IterableDataset)

SPLITS = ("train", "validation", "test")
REQUIRED_COLUMNS = ("id", "joints", "num_frames", "num_joints", "skeleton", "fps", "captions")
_OPTIONAL_COLUMNS = ("label", "style", "mirrored", "persons", "unit", "dataset")
# Of folders that a replacement that broke off left beside the whole one.
_NOT_WHOLE = (".partial", ".new", ".old")


def load_motions(path: str | Path, names: Sequence[str] | None = None) -> DatasetDict:
    """Load motions with captions from a folder.

    Known layouts: what `DatasetDict.save_to_disk` wrote; `train.parquet`, `validation.parquet`, `test.parquet` in the folder; the
    same in shards, `data/train-00000-of-00004.parquet`, as the Hub and `motionpatches prepare` have them; or several folders with
    such files side by side, which become one data set with a column `dataset`. Joints are flat lists in the
    order frame, joint, xyz: metres where they are floats, millimetres where they are integers.

    Args:
        path: The folder.
        names: For folders side by side, which of them to take; default all that hold motions.

    Returns:
        Splits with the columns `id`, `joints`, `num_frames`, `num_joints`, `skeleton`, `fps`, `captions`, `unit`, `dataset`, and
        `label` and `style` where the source has them (a column `action` is read as `label`).

    Raises:
        FileNotFoundError: If there is no such folder, or no motions in it.
        ValueError: If a name is unknown, or a column or a shard is missing.
    """
    path = Path(path)
    if (path / "dataset_dict.json").exists():
        return DatasetDict({split: _standardize(rows, path.name) for split, rows in load_from_disk(path).items()})
    folders = _find_folders(path, names)
    parts = [_load_folder(folder, name) for name, folder in folders.items()]
    splits = [split for split in SPLITS if any(split in part for part in parts)]
    return DatasetDict({split: _concatenate([part[split] for part in parts if split in part]) for split in splits})


def _find_folders(path: Path, names: Sequence[str] | None) -> dict[str, Path]:
    """The folders with Parquet files in a folder, or itself, by their names."""
    if not path.is_dir():
        raise FileNotFoundError(
            f"no folder {str(path)!r}; expected a folder of motion data (see load_motions for its layouts)"
        )
    folders = {path.name: path} if split_files(path) else _motion_folders(path)
    if not folders:
        raise FileNotFoundError(
            f"{str(path)!r} holds no motions: expected {SPLITS[0]}.parquet …, folders with those, or a saved DatasetDict"
        )
    if names is None:
        return folders
    unknown = sorted(set(names) - set(folders))
    if unknown:
        raise ValueError(f"{str(path)!r} has no data sets {unknown}; it has {sorted(folders)}")
    return {name: folders[name] for name in names}


def stream_motions(path: str | Path, split: str, names: Sequence[str] | None = None) -> IterableDataset:
    """Rows of one split in the order of their Parquet files, read as they are asked for: for data larger than the disk's cache.

    `shuffle(buffer_size=…)`, `datasets.distributed.split_dataset_by_node` and `torch.utils.data.DataLoader` work on it.

    Args:
        path: A folder of Parquet files, in the layouts of `load_motions`.
        split: The split.
        names: For folders side by side, which of them to take; default all that have the split.

    Returns:
        Rows with the columns of `load_motions`.

    Raises:
        FileNotFoundError, ValueError: As `load_motions`; or if no folder has the split.
    """
    folders = _find_folders(Path(path), names)
    files = {name: split_files(folder) for name, folder in folders.items()}
    parts = []
    for name, found in files.items():
        if split in found:
            rows = load_dataset(
                "parquet", data_files={split: [str(file) for file in found[split]]}, split=split, streaming=True
            )
            parts.append(_standardize(rows, name))
    if not parts:
        known = sorted({known for found in files.values() for known in found}, key=SPLITS.index)
        raise ValueError(f"{str(path)!r} has no split {split!r}; it has {', '.join(known)}")
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def split_files(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split in a folder: one, or its shards in their order.

    Raises:
        ValueError: If shards are missing.
    """
    files = {split: _files_of(folder, split) for split in SPLITS}
    return {split: found for split, found in files.items() if found}


def _files_of(folder: Path, split: str) -> list[Path]:
    whole = folder / f"{split}.parquet"
    if whole.exists():
        return [whole]
    shards = sorted((folder / "data").glob(f"{split}-*-of-*.parquet"))
    if shards:
        number = int(shards[0].stem.rpartition("-")[2])
        expected = [f"{split}-{index:05d}-of-{number:05d}.parquet" for index in range(number)]
        if [shard.name for shard in shards] != expected:
            raise ValueError(
                f"{folder / 'data'} holds {len(shards)} shards of split {split!r}; expected {expected[0]} to {expected[-1]}; "
                "copy or prepare the data again"
            )
    return shards


def _motion_folders(path: Path) -> dict[str, Path]:
    return {
        folder.name: folder
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.endswith(_NOT_WHOLE) and split_files(folder)
    }


def _load_folder(folder: Path, name: str) -> DatasetDict:
    files = {split: [str(file) for file in found] for split, found in split_files(folder).items()}
    splits = load_dataset("parquet", data_files=files)
    return DatasetDict({split: _standardize(rows, name) for split, rows in splits.items()})


def _standardize(rows: _Rows, name: str) -> _Rows:
    columns = set(rows.column_names)
    if "label" not in columns and "action" in columns:
        rows = rows.rename_column("action", "label")
        columns = columns - {"action"} | {"label"}
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise ValueError(f"data set {name!r} lacks the columns {missing}; it has {rows.column_names}")
    is_integer = rows.features["joints"].feature.dtype.startswith("int")
    for column, value in (("unit", "millimetres" if is_integer else "metres"), ("dataset", name)):
        if column not in columns:
            rows = _add_constant(rows, column, value)
            columns.add(column)
    return rows.select_columns([column for column in (*REQUIRED_COLUMNS, *_OPTIONAL_COLUMNS) if column in columns])


def _add_constant(rows: _Rows, column: str, value: str) -> _Rows:
    if isinstance(rows, Dataset):
        return rows.add_column(column, [value] * len(rows))
    features = Features({**rows.features, column: Value("string")})
    as_tables = rows.with_format("arrow")  # without a Python number for each of the joints
    return as_tables.map(
        lambda table: table.append_column(column, pa.array([value] * len(table), pa.string())),
        batched=True,
        features=features,
    ).with_format(None)


def _concatenate(parts: list[Dataset]) -> Dataset:
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def to_dataset(motions: Sequence[Mapping[str, Any]], name: str) -> Dataset:
    """Motions in memory → rows as `load_motions` gives them, joints in metres.

    Args:
        motions: Dicts as `make_motions` returns them: `id`, `joints` (T, J, 3) in the unit of the skeleton, `skeleton`, `fps`,
            `captions`, and optionally `label`.
        name: Value of the column `dataset`.
    """
    rows: list[dict[str, Any]] = []
    for motion in motions:
        joints = to_metres(np.asarray(motion["joints"]), get_skeleton(motion["skeleton"]))
        row = {
            "id": motion["id"],
            "joints": joints.astype(np.float32).reshape(-1),
            "num_frames": joints.shape[0],
            "num_joints": joints.shape[1],
            "skeleton": motion["skeleton"],
            "fps": float(motion["fps"]),
            "captions": list(motion["captions"]),
            "label": motion.get("label"),
            "unit": "metres",
            "dataset": name,
        }
        rows.append(row)
    return Dataset.from_list(rows)


def load_split(folder: str | Path, split: str, datasets: Sequence[str] | None = None) -> Dataset:
    """One split of `load_motions`.

    Raises:
        ValueError: If the data has no such split; and as `load_motions`.
    """
    splits = load_motions(folder, datasets)
    if split not in splits:
        raise ValueError(f"{str(folder)!r} has no split {split!r}; it has {', '.join(splits)}")
    return splits[split]
