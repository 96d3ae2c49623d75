"""What goes into an index: a folder of motion files, or rows of a data set, item by item, each known by its content."""

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, concatenate_datasets

from ..processing.corpora import load_motions, to_dataset
from ..processing.motion_table import MotionTable
from ..processing.processing_motionpatches import MotionPatchProcessor, ResolvedMotion
from ..processing.readers import read_noting
from ..processing.recording import ReadOptions
from .inference import MOTION_SUFFIXES


#: Tables of captions and other columns that are found in a folder of motion files by their names.
METADATA_FILES = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.json", "metadata.parquet")
_CAPTIONS = ("captions", "caption", "text")
_OPTIONS = ("skeleton", "fps", "unit", "up_axis", "person")
# Columns of a row that the index finds out by itself.
_NOT_KEPT = ("joints", "num_frames", "skeleton", "fps")
_TEXTS = pa.list_(pa.string())


class MotionSource(ABC):
    """Motions with their columns, in an order that is the same each time.

    Attributes:
        name: How reports and the column `source` call it.
        folder: What the column `path` is relative to; `None` where there are no files.
        columns: Of each motion `id`, unique in the source, `path`, `captions`, and whatever else is known of it. N rows.
        faults: What is left out before a motion is read: id, kind, detail.
        other_files: Files that are no motions, by their suffix.
    """

    name: str
    folder: Path | None = None
    columns: pa.Table
    faults: list[tuple[str, str, str]]
    other_files: dict[str, int]

    def __len__(self) -> int:
        return len(self.columns)

    @abstractmethod
    def key(self, index: int) -> str:
        """SHA-256 of all that decides the embedding of a motion, besides the model.

        Raises:
            OSError: If a file cannot be read.
        """

    @abstractmethod
    def read(self, index: int, patches: MotionPatchProcessor) -> tuple[ResolvedMotion, list[str]]:
        """A motion, and what was guessed or changed on the way.

        Raises:
            Exception: Whatever the libraries that read a broken file raise.
        """


def open_source(
    source: Any,
    name: str | None = None,
    split: str | None = None,
    metadata: str | Path | None = None,
    suffixes: Sequence[str] = MOTION_SUFFIXES,
    skeleton: str | None = None,
    fps: float | None = None,
) -> MotionSource:
    """What a user calls motions, as a source.

    Args:
        source: A folder of motion files, searched with its sub-folders, or of motion data (see
            `processing.corpora.load_motions`); a `Dataset` or `DatasetDict` with the columns of `load_motions` and any others;
            or dicts as `make_motions` returns them.
        name: Default the name of the folder, else `"motions"`.
        split: Of motion data; default all, told apart by a column `split`.
        metadata: For motion files: a table (CSV, TSV, JSON, JSON lines or Parquet) with a column `file_name`, relative to the
            folder; default one of `METADATA_FILES` in it. `captions`, `caption` or `text` are captions; `skeleton`, `fps`,
            `unit`, `up_axis` and `person` say what the file does not; all others become columns of the index.
        suffixes: Of the files that are motions.
        skeleton, fps: Of motion files that do not say theirs, and for which the table says none.

    Raises:
        FileNotFoundError: If there is no such folder, or no motion in it, or no such table.
        ValueError: If there is no such split, or ids occur twice, or the table cannot be read.
        TypeError: If it is something else.
    """
    if isinstance(source, MotionSource):
        return source
    if isinstance(source, (str, Path)):
        known = {"skeleton": skeleton, "fps": fps}
        return _open_folder(
            Path(source), name, split, metadata, suffixes, {key: value for key, value in known.items() if value is not None}
        )
    if not (metadata is None and skeleton is None and fps is None):
        raise ValueError("metadata, skeleton and fps are for files; rows say theirs, and may have any columns")
    if isinstance(source, DatasetDict):
        return RowSource(_join_splits(source, split), name or "motions")
    if split is not None:
        raise ValueError(f"split={split!r} is for motion data with splits; leave it out")
    if isinstance(source, Sequence) and len(source) and all(isinstance(motion, Mapping) for motion in source):
        source = to_dataset(source, name or "motions")
    if isinstance(source, Dataset):
        return RowSource(source, name or "motions")
    raise TypeError(
        f"cannot index a {type(source).__name__}; expected a folder, a Dataset or DatasetDict of motions, or dicts as "
        "make_motions returns them"
    )


def _open_folder(
    folder: Path,
    name: str | None,
    split: str | None,
    metadata: str | Path | None,
    suffixes: Sequence[str],
    known: Mapping[str, Any],
) -> MotionSource:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {str(folder)!r}; expected a folder of motion data or motion files")
    name = name or folder.resolve().name
    present = sorted(file for file in folder.rglob("*") if file.is_file())
    files = [file for file in present if file.suffix.lower() in suffixes]
    if not files:
        if metadata is not None or known:
            raise ValueError(f"{str(folder)!r} holds no motion files: leave metadata, skeleton and fps out, rows say theirs")
        return RowSource(_join_splits(load_motions(folder), split), name)
    if split is not None:
        raise ValueError(f"{str(folder)!r} holds motion files, which have no splits: leave split={split!r} out")
    found = next((folder / table for table in METADATA_FILES if (folder / table).is_file()), None)
    table = found if metadata is None else Path(metadata)
    others = Counter(file.suffix.lower() for file in present if file.suffix.lower() not in suffixes and file != table)
    return FileSource(folder, files, name, table, known, dict(others))


def _join_splits(data: DatasetDict, split: str | None) -> Dataset:
    if split is not None:
        if split not in data:
            raise ValueError(f"there is no split {split!r}; the data has {', '.join(data)}")
        return data[split]
    return concatenate_datasets([rows.add_column("split", [name] * len(rows)) for name, rows in data.items()])


# ---- rows -----------------------------------------------------------------------------------------------------------------


class RowSource(MotionSource):
    """Rows of a data set.

    Args:
        rows: With the columns `id`, `joints`, `num_frames`, `num_joints`, `skeleton`, `fps`, and any others.
        name: The name.

    Raises:
        ValueError: If a column is missing, or ids occur twice.
    """

    def __init__(self, rows: Dataset, name: str) -> None:
        missing = [column for column in ("id", "joints", "num_frames", "num_joints") if column not in rows.column_names]
        if missing:
            raise ValueError(f"the rows lack the columns {', '.join(missing)}; they have {', '.join(rows.column_names)}")
        self.name, self.faults, self.other_files = name, [], {}
        self._rows = MotionTable(rows)
        columns = rows.remove_columns([column for column in _NOT_KEPT if column in rows.column_names])
        table = columns.with_format("arrow")[:]
        ids = table["id"].cast(pa.string()).to_pylist()
        if "dataset" in table.column_names and len(set(table["dataset"].to_pylist())) > 1:
            ids = [f"{dataset}/{row}" for dataset, row in zip(table["dataset"].to_pylist(), ids, strict=True)]
        _check_distinct(ids, name)
        own = table.drop_columns([column for column in ("id", "path", "captions") if column in table.column_names])
        texts = table["captions"] if "captions" in table.column_names else pa.nulls(len(ids), _TEXTS)
        paths = pa.nulls(len(ids), pa.string())
        self.columns = _with_first({"id": pa.array(ids, pa.string()), "path": paths, "captions": texts.cast(_TEXTS)}, own)

    def key(self, index: int) -> str:
        row = self._rows[index]
        shape = {
            column: row.get(column)
            for column in ("num_frames", "num_joints", "persons", "skeleton", "fps", "unit", "up_axis")
        }
        joints = row["joints"]
        digest = hashlib.sha256(json.dumps([shape, str(getattr(joints, "dtype", None))], sort_keys=True).encode())
        if joints is not None:
            digest.update(memoryview(joints).cast("B") if joints.flags.c_contiguous else joints.tobytes())
        return digest.hexdigest()

    def read(self, index: int, patches: MotionPatchProcessor) -> tuple[ResolvedMotion, list[str]]:
        return _resolve(self._rows[index], patches)


# ---- files ----------------------------------------------------------------------------------------------------------------


class FileSource(MotionSource):
    """Motion files of a folder.

    Args:
        folder: The folder.
        files: Files in it.
        name: The name.
        metadata: A table of captions and other columns, or `None`.
        known: `skeleton` and `fps` of files that do not say theirs.
        other_files: Files beside them that are no motions, by their suffix.

    Raises:
        FileNotFoundError: If there is no such table.
        ValueError: If it cannot be read, or its rows of one file contradict each other.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        name: str,
        metadata: Path | None = None,
        known: Mapping[str, Any] | None = None,
        other_files: dict[str, int] | None = None,
    ) -> None:
        self.name, self.folder, self.other_files = name, folder, other_files or {}
        self._files = list(files)
        self._of_skeletons: dict[Path, bytes] = {}  # digests of the ASF files of each folder
        ids = [file.relative_to(folder).as_posix() for file in files]
        table = pa.table({}) if metadata is None else _read_table(metadata)
        rows = {} if metadata is None else _rows_by_file(table, metadata)
        present = set(ids)
        self.faults = [(file, "named by the table, but no motion file", "") for file in rows if file not in present]
        own = [column for column in table.column_names if column not in ("file_name", "id", "path", *_CAPTIONS, *_OPTIONS)]
        first = pa.array([rows[file].first if file in rows else None for file in ids], pa.int64())
        captions = pa.array([rows[file].captions if file in rows else [] for file in ids], _TEXTS)
        names = pa.array(ids, pa.string())
        self.columns = _with_first(
            {"id": names, "path": names, "captions": captions}, table.select(own).take(first) if own else None
        )
        self._options = [{**(known or {}), **(rows[file].options if file in rows else {})} for file in ids]

    def key(self, index: int) -> str:
        file = self._files[index]
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        digest.update(json.dumps(self._options[index], sort_keys=True).encode())
        for content in self._companions(file):
            digest.update(content)
        return digest.hexdigest()

    def _companions(self, file: Path) -> list[bytes]:
        """Digests of the files beside a motion file that it is read with: skeletons of AMC, buffers of glTF."""
        if file.suffix.lower() == ".amc":
            if file.parent not in self._of_skeletons:
                others = sorted(other for other in file.parent.iterdir() if other.suffix.lower() == ".asf")
                digest = hashlib.sha256(b"".join(hashlib.sha256(other.read_bytes()).digest() for other in others))
                self._of_skeletons[file.parent] = digest.digest()
            return [self._of_skeletons[file.parent]]
        if file.suffix.lower() == ".gltf":
            with suppress(
                ValueError, TypeError, LookupError, AttributeError
            ):  # a broken file, of which its reader will tell
                names = [buffer.get("uri", "data:") for buffer in json.loads(file.read_bytes())["buffers"]]
                beside = [file.parent / unquote(name) for name in names if not name.startswith("data:")]
                return [hashlib.sha256(other.read_bytes()).digest() for other in beside if other.is_file()]
        return []

    def read(self, index: int, patches: MotionPatchProcessor) -> tuple[ResolvedMotion, list[str]]:
        known = self._options[index]
        name = known.get("skeleton") or patches.default_skeleton
        options = ReadOptions(**{**known, "skeleton": None if name is None else patches.get_skeleton(name)})
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            motion, notes = read_noting(self._files[index], options)
        resolved, more = _resolve(motion, patches)
        return resolved, [*notes, *(str(warning.message) for warning in raised), *more]


def _resolve(motion: Any, patches: MotionPatchProcessor) -> tuple[ResolvedMotion, list[str]]:
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        (resolved,) = patches.resolve([motion])
    return resolved, [str(warning.message) for warning in raised]


def _check_distinct(ids: Sequence[str], name: str) -> None:
    twice = [found for found, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} ids occur twice in {name!r}, such as {', '.join(map(str, twice[:5]))}; make them distinct"
        )


def _with_first(first: Mapping[str, Any], others: pa.Table | None) -> pa.Table:
    table = pa.table(dict(first))
    if others is not None:
        for column in others.column_names:
            table = table.append_column(column, others[column])
    return table.replace_schema_metadata(None)


# ---- tables ---------------------------------------------------------------------------------------------------------------


class _FileRows:
    """What the rows of one file say."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.captions: list[str] = []
        self.options: dict[str, Any] = {}


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise FileNotFoundError(f"no table {str(path)!r} of captions and other columns")
    try:
        table = _parse_table(path)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    if "file_name" not in table.column_names:
        raise ValueError(
            f"{path} has the columns {', '.join(table.column_names)}; expected file_name, and others as you like"
        )
    return table


def _parse_table(path: Path) -> pa.Table:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t" if suffix == ".tsv" else ","))
    if suffix == ".jsonl":
        return pa.json.read_json(path)
    if suffix == ".json":
        return pa.Table.from_pylist(json.loads(path.read_text(encoding="utf-8")))
    if suffix == ".parquet":
        return pq.read_table(path)
    raise ValueError(f"its name must end in .csv, .tsv, .jsonl, .json or .parquet, not in {suffix!r}")


def _rows_by_file(table: pa.Table, path: Path) -> dict[str, _FileRows]:
    found: dict[str, _FileRows] = {}
    rows = table.to_pylist()
    single = [column for column in table.column_names if column not in ("file_name", *_CAPTIONS)]
    for number, row in enumerate(rows):
        name = row["file_name"]
        if name is None:
            raise ValueError(f"{path}: row {number + 1} names no file")
        name = Path(str(name)).as_posix()
        entry = found.setdefault(name, _FileRows(number))
        entry.captions += [text for text in _captions_of(row) if text not in entry.captions]
        differing = [column for column in single if row[column] != rows[entry.first][column]]
        if differing:
            raise ValueError(
                f"{path}: the rows of {name!r} contradict each other in {', '.join(differing)}; make them equal"
            )
        entry.options = {key: row[key] for key in _OPTIONS if row.get(key) not in (None, "")}
    return found


def _captions_of(row: Mapping[str, Any]) -> list[str]:
    captions: list[str] = []
    for column in _CAPTIONS:
        value = row.get(column)
        if isinstance(value, str) and value.startswith("["):
            with suppress(ValueError):  # else a caption that begins with a bracket
                value = json.loads(value)
        values = value if isinstance(value, list) else [value]
        captions += [str(text).strip() for text in values if text is not None and str(text).strip()]
    return captions
