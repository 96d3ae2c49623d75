"""glTF 2.0 documents: the JSON, parsed by pygltflib, and the numbers of its buffers, read by NumPy where they lie.

Section numbers are those of the specification (Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).
"""

import base64
import json
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import numpy as np


if TYPE_CHECKING:
    from pygltflib import GLTF2

#: The longest JSON that is parsed (base64 buffers included), the most objects and values in it, and the most bytes of sparse
#: accessors, which are the only ones that are copied.
MAX_JSON_BYTES = 256 * 1024**2
MAX_OBJECTS = 200_000
MAX_VALUES = 4_000_000
MAX_SPARSE_BYTES = 1024**3

_USED = ("asset", "nodes", "skins", "animations", "accessors", "bufferViews", "buffers")
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_DIVISORS = {"<i1": 127.0, "<u1": 255.0, "<i2": 32767.0, "<u2": 65535.0}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Numbers:
    """The rows of an accessor, in the type of the file and still in their place there. A slice of them is float64."""

    raw: np.ndarray  # (K, width)
    divisor: float | None  # of normalized integers

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, rows: slice) -> np.ndarray:
        values = self.raw[rows].astype(np.float64)
        if self.divisor is not None:
            values = np.maximum(values / self.divisor, -1.0)  # -128 and -127 both mean -1 (3.11)
        if not np.isfinite(values).all():
            raise ValueError("its animation holds NaN or infinite values; export it again")
        return values


@dataclass
class Document:
    """A parsed file, and the way to its numbers.

    Args:
        path: The file.
        gltf: Nodes, skins, animations and accessors. The types of their fields are not checked.
        blob: The BIN chunk of a .glb file, uint8.
        notes: Sentences for the user.
    """

    path: Path
    gltf: "GLTF2"
    blob: np.ndarray | None
    notes: list[str]
    _buffers: dict[int, np.ndarray] = field(default_factory=dict)
    _sparse_bytes: int = 0

    def numbers(self, index: Any, kind: str, count: int | None = None) -> Numbers:
        """The values of an accessor.

        Args:
            index: Of the accessor, as the file states it.
            kind: `"SCALAR"`, `"VEC3"` or `"VEC4"`.
            count: How many values there must be, if that is known.

        Raises:
            ValueError: If there is no such accessor, it is of another kind or length, or its bytes are not there.
        """
        accessor = item(self.gltf.accessors, index, "accessor")
        where = f"accessor {index}"
        if accessor.type != kind or accessor.componentType not in _COMPONENTS:
            raise ValueError(
                f"{where} holds {accessor.type} of component type {accessor.componentType}; animation needs {kind} of "
                f"component type {', '.join(map(str, _COMPONENTS))}"
            )
        dtype, width, declared = _COMPONENTS[accessor.componentType], _WIDTHS[kind], _whole(accessor.count, where)
        if count not in (None, declared):
            raise ValueError(
                f"{where} holds {declared} values; its key times and interpolation need {count}; export it again"
            )
        if accessor.bufferView is not None:
            raw = self._rows(accessor.bufferView, accessor.byteOffset, dtype, width, declared, where)
        elif accessor.sparse is not None and declared <= MAX_VALUES:  # zeros that no byte of the file backs
            raw = np.zeros((declared, width), dtype)
        else:
            raise ValueError(f"{where} declares {declared} values without data; export the animation again")
        if accessor.sparse is not None:
            raw = self._replace_rows(raw, accessor.sparse, f"the sparse part of {where}")
        return Numbers(raw, _DIVISORS.get(dtype) if accessor.normalized else None)

    def _replace_rows(self, raw: np.ndarray, sparse: Any, where: str) -> np.ndarray:
        """Put in the rows that a sparse accessor states (3.6.2.3)."""
        self._sparse_bytes += raw.nbytes
        if self._sparse_bytes > MAX_SPARSE_BYTES:
            raise ValueError(f"its sparse accessors need over {MAX_SPARSE_BYTES} bytes; export it without sparse accessors")
        count, dtype = _whole(sparse.count, where), _COMPONENTS.get(sparse.indices.componentType)
        if dtype not in ("<u1", "<u2", "<u4"):
            raise ValueError(
                f"{where} has indices of component type {sparse.indices.componentType}; expected unsigned integers"
            )
        rows = self._rows(sparse.indices.bufferView, sparse.indices.byteOffset, dtype, 1, count, where)[:, 0]
        if count and int(rows.max()) >= len(raw):
            raise ValueError(f"{where} replaces row {int(rows.max())} of {len(raw)}; export it again")
        raw = np.array(raw)
        raw[rows] = self._rows(sparse.values.bufferView, sparse.values.byteOffset, raw.dtype.str, raw.shape[1], count, where)
        return raw

    def _rows(self, view_index: Any, offset: Any, dtype: str, width: int, count: int, where: str) -> np.ndarray:
        """Rows of a buffer view, interleaved with others or not, without a copy. Shape (count, width)."""
        view = item(self.gltf.bufferViews, view_index, "bufferView")
        if any("meshopt" in name for name in view.extensions or {}):
            raise ValueError("its animation is compressed with meshopt, which is not read; export it without compression")
        row_bytes = width * np.dtype(dtype).itemsize
        stride = _whole(view.byteStride, where) or row_bytes
        offset, start, length = (_whole(value, where) for value in (offset, view.byteOffset, view.byteLength))
        buffer = self._buffer(view.buffer)
        if stride < row_bytes or start + length > len(buffer):
            raise ValueError(
                f"bufferView {view_index} spans bytes {start} to {start + length} in steps of {stride}, but its buffer holds "
                f"{len(buffer)} bytes and a value takes {row_bytes}; the file is cut off or damaged: copy or export it again"
            )
        if count and offset + (count - 1) * stride + row_bytes > length:
            raise ValueError(
                f"{where} declares {count} values of {row_bytes} bytes at offset {offset}, more than the {length} bytes of "
                f"bufferView {view_index}; copy or export the file again"
            )
        if not count:
            return np.zeros((0, width), dtype)
        strides = (stride, np.dtype(dtype).itemsize)
        return np.ndarray((count, width), dtype, buffer[start : start + length].data, offset, strides)

    def _buffer(self, index: Any) -> np.ndarray:
        buffer = item(self.gltf.buffers, index, "buffer")
        if index not in self._buffers:
            held = self._load_uri(buffer.uri) if buffer.uri is not None else self.blob if index == 0 else None
            if held is None:
                raise ValueError(f"buffer {index} has no data: neither a uri nor a BIN chunk; copy or export the file again")
            length = _whole(buffer.byteLength, f"buffer {index}")
            if length > len(held):
                raise ValueError(f"buffer {index} declares {length} bytes, but {len(held)} are there; copy the file again")
            self._buffers[index] = held[:length]
        return self._buffers[index]

    def _load_uri(self, uri: str) -> np.ndarray:
        if uri.startswith("data:"):
            header, _, content = uri.partition(",")
            if not header.endswith(";base64"):
                raise ValueError(f"a buffer is embedded as {header[:60]!r}; expected base64; export it as .glb")
            return np.frombuffer(base64.b64decode(content, validate=True), np.uint8)
        name = unquote(uri)
        steps = re.split(r"[/\\]", name)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name) or not steps[0] or ".." in steps or "\0" in name:
            raise ValueError(
                f"it takes data from {uri[:100]!r}; only files in its own folder are read: put the data beside it, or export "
                "it as .glb"
            )
        file = self.path.parent / name
        if not file.is_file():
            raise ValueError(f"its data file {name!r} is not beside it; copy it along, or export as .glb")
        return _map_bytes(file, 0, file.stat().st_size)


def item(items: Sequence[_Item], index: Any, what: str) -> _Item:
    """`items[index]`, for an index that comes from a file."""
    if not isinstance(index, int) or not 0 <= index < len(items):
        raise ValueError(
            f"it refers to {what} {index!r}, but has {len(items)} of them; the file is damaged: export it again"
        )
    return items[index]


def open_document(path: Path) -> Document:
    """Parse a `.glb` or `.gltf` file, told apart by content. Buffers stay on disk until they are asked for.

    Raises:
        ValueError: If it is damaged, too large or no glTF 2.0.
    """
    size = path.stat().st_size
    notes: list[str] = []
    with path.open("rb") as stream:
        if stream.read(4) == b"glTF":
            json_bytes, blob = _find_chunks(stream, size, notes)
            stream.seek(20)
        else:
            json_bytes, blob = size, None
            stream.seek(0)
        if not 0 < json_bytes <= MAX_JSON_BYTES:
            raise ValueError(f"it holds {json_bytes} bytes of JSON; expected 1 to {MAX_JSON_BYTES}; export it as .glb")
        gltf = _parse(stream.read(json_bytes))
    return Document(path, gltf, None if blob is None else _map_bytes(path, *blob), notes)


def _find_chunks(stream: IO[bytes], size: int, notes: list[str]) -> tuple[int, tuple[int, int] | None]:
    """The length of the JSON chunk, and start and length of the BIN chunk (4.4)."""
    header = stream.read(16)
    if len(header) < 16:
        raise ValueError("it ends within its header; copy or export it again")
    version, end, json_bytes, kind = struct.unpack("<III4s", header)
    if version != 2 or kind != b"JSON":
        raise ValueError(
            f"it is GLB version {version} and starts with a chunk {kind!r}; expected 2 and JSON; export it again"
        )
    if max(end, 20 + json_bytes) > size:
        raise ValueError(f"it declares {max(end, 20 + json_bytes)} bytes, but holds {size}: it is cut off; copy it again")
    if end < size:
        notes.append(f"ignored {size - end} bytes behind the end that the file declares")
    start = 20 + json_bytes
    while start + 8 <= end:
        stream.seek(start)
        chunk_bytes, kind = struct.unpack("<I4s", stream.read(8))
        start += 8
        if start + chunk_bytes > end:
            raise ValueError(f"a chunk of {chunk_bytes} bytes reaches beyond its end; copy or export it again")
        if kind == b"BIN\0":
            return json_bytes, (start, chunk_bytes)
        start += chunk_bytes  # chunks of unknown types are passed over (4.4.3.1)
    return json_bytes, None


def _map_bytes(file: Path, start: int, length: int) -> np.ndarray:
    return np.memmap(file, np.uint8, "r", start, (length,)) if length else np.zeros(0, np.uint8)


def _parse(text: bytes) -> "GLTF2":
    """What of the document concerns motion; meshes and materials are no business of ours and many objects."""
    objects, values = text.count(b"{"), text.count(b",") + text.count(b"[")
    if objects > MAX_OBJECTS or values > MAX_VALUES:
        raise ValueError(
            f"its JSON holds {objects} objects and {values} values; the limits are {MAX_OBJECTS} and {MAX_VALUES}; export "
            "the animated character alone"
        )
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"its JSON is damaged ({error}); copy or export it again") from error
    asset = document.get("asset") if isinstance(document, dict) else None
    if not isinstance(asset, dict) or not str(asset.get("version")).startswith("2."):
        given = f"of version {asset.get('version')!r}" if isinstance(asset, dict) else "JSON without an asset"
        raise ValueError(f"it is {given}, not glTF 2.0; export it as glTF 2.0")

    from pygltflib import GLTF2  # here, because only glTF files need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pygltflib's, of fields that are absent
        return GLTF2.from_dict({key: document[key] for key in _USED if document.get(key) is not None}, infer_missing=True)


def _whole(value: Any, where: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{where} has {value!r} where a whole number belongs; the file is damaged: export it again")
    return value
