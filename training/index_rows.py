"""The rows of an index: what a source gives and what was found out of its motions, put together; new rows among old ones."""

from collections.abc import Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .index_embedding import Embedded, found_schema
from .index_sources import MotionSource


EMBEDDING = "embedding"


def empty_rows(size: int) -> pa.Table:
    """No rows, with the columns that every index has; embeddings of `size` numbers."""
    of_source = pa.schema({"id": pa.string(), "path": pa.string(), "captions": pa.list_(pa.string()), "source": pa.string()})
    return pa.unify_schemas([of_source, found_schema(size)]).empty_table()


def check_fits(table: pa.Table, source: MotionSource) -> None:
    """Find out before the work what of a source does not fit the rows of an index.

    Raises:
        ValueError: If a column has a reserved name or another type than in the index, or ids are there from another source.
    """
    reserved = sorted(set(source.columns.column_names) & {*found_schema(1).names, "source"})
    if reserved:
        raise ValueError(
            f"{source.name!r} has columns of names that the index uses itself: {', '.join(reserved)}; rename them"
        )
    _join(table.slice(0, 0), source.columns.slice(0, 0))
    owners = table.select(["id", "source"])
    owners = owners.filter(pc.is_in(owners["id"], source.columns["id"].combine_chunks()))
    theirs = owners.filter(pc.not_equal(owners["source"], source.name))["id"].to_pylist()
    if theirs:
        raise ValueError(
            f"{len(theirs)} ids of {source.name!r} are in the index from another source, such as {', '.join(theirs[:3])}; an id "
            "is there once: rename them, or make an index of its own"
        )


def make_rows(source: MotionSource, embedded: Embedded, table: pa.Table) -> pa.Table:
    """The rows of a source's motions that have an embedding, in its order.

    Args:
        source: The motions.
        embedded: What became of them.
        table: The rows of the index, whose embeddings serve motions of the same content.
    """
    facts = embedded.found.schema
    rows = pa.concat_tables([embedded.found, table.select(facts.names).cast(facts)])
    place: dict[str | None, int] = {}
    for row, key in enumerate(rows["key"].to_pylist()):
        place.setdefault(key, row)
    kept = [index for index, key in enumerate(embedded.keys) if key in place]
    made = source.columns.take(pa.array(kept, pa.int64()))
    made = made.append_column("source", pa.array([source.name] * len(kept), pa.string()))
    found = rows.take(pa.array([place[embedded.keys[index]] for index in kept], pa.int64()))
    for field in facts:
        made = made.append_column(field, found[field.name])
    return made


def merge_rows(table: pa.Table, new: pa.Table, source: str, found: Set[str], prune: bool) -> tuple[pa.Table, dict[str, int]]:
    """Put the rows of a source among those of an index.

    Rows that stay, stay in their order; those of other content and new ones come behind them.

    Args:
        table: The rows of the index.
        new: Rows of the source.
        source: Its name.
        found: All ids of the source, also of motions that could not be embedded.
        prune: Remove rows of the source whose motions are gone, too.

    Returns:
        The rows, and how many were `added`, `changed`, `unchanged` and `removed`.
    """
    start = len(table)
    waiting = {name: start + row for row, name in enumerate(new["id"].to_pylist())}
    new_keys = new["key"].to_pylist()
    stay: list[int] = []
    changed: list[int] = []
    unchanged = removed = 0
    columns = (table[name].to_pylist() for name in ("id", "source", "key"))
    for row, (name, owner, key) in enumerate(zip(*columns, strict=True)):
        target = waiting.pop(name, None)
        if target is None:
            is_gone = owner == source and (prune or name in found)
            removed += is_gone
            stay += [] if is_gone else [row]
        elif new_keys[target - start] == key:
            unchanged += 1
            stay.append(target)  # its captions and other columns may be new
        else:
            changed.append(target)
    order = pa.array([*stay, *changed, *waiting.values()], pa.int64())
    counts = {"added": len(waiting), "changed": len(changed), "unchanged": unchanged, "removed": removed}
    return _join(table, new).take(order), counts


def _join(table: pa.Table, other: pa.Table) -> pa.Table:
    try:
        return pa.concat_tables([table, other], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"a column has another type than in the index: {error}; give both the same type") from error


def to_matrix(table: pa.Table) -> np.ndarray:
    """The embeddings as an array (N, D), float32; without a copy where they are one chunk."""
    column = table[EMBEDDING]
    size = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, size) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, size), np.float32), *parts])
