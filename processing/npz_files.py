"""`.npy` streams and `.npz` archives of numbers and strings: read with bounded memory, and never unpickled."""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np


#: The most bytes that an array in a file may need in memory; a header that declares more is refused before it is read.
MAX_ARRAY_BYTES = 2 * 1024**3

_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BLOCK_VALUES = 2**20  # that are held at a time of an array of which columns are kept


class NpzReader:
    """An `.npz` archive.

    Raises:
        ValueError: If the file is no zip archive.
    """

    def __init__(self, path: Path):
        self.path = path
        with reading(path, "an .npz file"):
            self._archive = zipfile.ZipFile(path)
        self._members: Mapping[str, zipfile.ZipInfo] = {
            info.filename.removesuffix(".npy"): info for info in self._archive.infolist()
        }

    def __enter__(self) -> "NpzReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._archive.close()

    @property
    def keys(self) -> set[str]:
        return set(self._members)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape that the array of a key declares.

        Raises:
            ValueError: As `read`.
        """
        with self._open(key) as stream:
            return _read_header(stream, self._members[key].file_size, self._where(key))[0]

    def read(self, key: str, columns: int | None = None) -> np.ndarray:
        """The array of a key; with `columns`, the first ones of each row (…, flattened) as float32, shape (T, columns).

        Raises:
            ValueError: If the array is damaged, too large, or holds Python objects.
        """
        with self._open(key) as stream:
            return read_npy_array(stream, self._members[key].file_size, self._where(key), columns)

    def _where(self, key: str) -> str:
        return f"{self.path}, key {key!r}"

    def _open(self, key: str) -> IO[bytes]:
        size = self._members[key].file_size
        if size > MAX_ARRAY_BYTES:
            raise ValueError(
                f"{self._where(key)}: unpacks to {size} bytes, more than the limit of {MAX_ARRAY_BYTES}; split the motion"
            )
        with reading(self._where(key), "a member of an .npz file"):
            return self._archive.open(self._members[key])


def read_npy_array(stream: IO[bytes], num_bytes: int, where: str, columns: int | None = None) -> np.ndarray:
    """The array of an .npy stream of `num_bytes`, after a check of what its header declares; `columns` as in `NpzReader.read`.

    Raises:
        ValueError: Prefixed with `where`, if the array is damaged, too large, or holds Python objects.
    """
    shape, fortran, dtype = _read_header(stream, num_bytes, where)
    if columns is None or fortran:
        with reading(where, "an .npy file"):
            stream.seek(0)
            array = np.lib.format.read_array(stream, allow_pickle=False)
        if columns is None:
            return array
    width = math.prod(shape[1:])
    if len(shape) < 2 or shape[0] < 1 or width < columns or dtype.kind not in "fiu":
        raise ValueError(f"{where}: has shape {shape} and dtype {dtype}; expected floats of shape (T, {columns} or more)")
    if fortran:
        return array.reshape(len(array), -1)[:, :columns].astype(np.float32)
    kept = np.empty((shape[0], columns), dtype=np.float32)
    block = max(1, _BLOCK_VALUES // width)
    for start in range(0, len(kept), block):
        size = min(block, len(kept) - start) * width * dtype.itemsize
        with reading(where, "an .npy file"), np.errstate(over="ignore", invalid="ignore"):
            rows = np.frombuffer(_read_all(stream, size), dtype).reshape(-1, width)
            kept[start : start + len(rows)] = rows[:, :columns]
    return kept


def _read_all(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise ValueError("it is cut off: copy or save it again")
    return content


def _read_header(stream: IO[bytes], num_bytes: int, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype of an array that is surely there and not too large."""
    with reading(where, "an .npy file"):
        version = np.lib.format.read_magic(stream)
        if version not in _NPY_HEADERS:
            raise ValueError(f"its version is {version}; known: {sorted(_NPY_HEADERS)}")
        shape, fortran, dtype = _NPY_HEADERS[version](stream)
        held = num_bytes - stream.tell()
    if dtype.hasobject:
        raise ValueError(
            f"{where}: holds Python objects (dtype {dtype}), which are never unpickled; expected an array of numbers; "
            "save it as np.save(path, np.stack(frames).astype('float32'))"
        )
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared > MAX_ARRAY_BYTES:
        raise ValueError(
            f"{where}: its header declares shape {shape} of {dtype}, {declared} bytes; the limit is {MAX_ARRAY_BYTES} bytes; "
            "split the motion"
        )
    if declared > held:
        raise ValueError(
            f"{where}: its header declares shape {shape} of {dtype}, {declared} bytes, but only {held} bytes follow; "
            "the file is cut off: copy or save it again"
        )
    return shape, fortran, dtype


@contextmanager
def reading(where: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{where}: not readable as {what}: {str(error) or type(error).__name__}") from error
