"""How fast an index of a million vectors is searched, and how much of exact search it finds.

    python benchmarks/index_speed.py --output docs/results/index_speed.json

Vectors are made, of unit length, and so are the queries, which are not in the index:
    clusters    around a centre each, which are random directions; the noise around a centre has half its length
    random      random directions, which nothing like embeddings of motion is, and which are hard: all distances are alike
Queries come one at a time, through `VectorIndex.search_vectors`, which is what `MotionIndex.search` calls. Each is also searched
exactly in the same run, by an index of kind flat, in turn with the other. The ratio is that of the medians, to the faster of
exact search with one thread and with several.
Milliseconds are of the clock, so that whatever else the machine does is in them; `cpu_ms` is the processor time of the whole
process for a query, with all its threads. `load` is the load average of the machine while an index was measured.
"""

import os
import time
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import faiss
import numpy as np
import pyarrow as pa
import typer

from motionpatches.training.results import command_line, environment, write_json
from motionpatches.training.vector_index import VectorIndex


NOISE = 0.5
WARM_UP = 5
WANTED_RECALL, WANTED_MS = 0.95, 10.0


class Tried(NamedTuple):
    """An index to make, and how hard it searches then."""

    kind: str
    made_with: dict[str, int]
    efforts: list[dict[str, int]]


TRIED = (
    Tried("ivf", {}, [{"nprobe": 8}, {}, {"nprobe": 250}]),
    Tried("ivf", {"nlist": 16}, [{"nprobe": 16, "refine": 24}, {"nprobe": 16}]),
    Tried("hnsw", {}, [{"ef_search": 32}, {}, {"ef_search": 512}]),
)


def main(
    output: Annotated[Path, typer.Option(help="Results file; written again after each index.")],
    num: Annotated[int, typer.Option(help="Vectors.")] = 1_000_000,
    size: Annotated[int, typer.Option(help="Numbers in each.")] = 256,
    num_queries: int = 100,
    top_k: int = 10,
    threads: Annotated[int, typer.Option(help="The most threads; one is measured too.")] = 2,
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="ivf or hnsw; default both. Repeatable.")] = None,
    seed: int = 0,
) -> None:
    """Make vectors, search in them with each kind and setting, and write times and recalls."""
    facts = {
        "task": "index_speed",
        "command": command_line(),
        "num": num,
        "size": size,
        "num_queries": num_queries,
        "top_k": top_k,
        "seed": seed,
        "data": {
            "clusters": f"{max(num // 100, 1)} centres in random directions, noise of {NOISE} of their length",
            "random": "random directions",
        },
        "wanted": {"recall": WANTED_RECALL, "median_ms": WANTED_MS},
    }
    found = environment()
    found["versions"]["faiss-cpu"] = metadata.version("faiss-cpu")
    results: dict[str, list[dict[str, Any]]] = {"clusters": [], "random": []}
    waiting = [(tried, name) for tried in TRIED if not kinds or tried.kind in kinds for name in results]
    while waiting:
        tried, name = waiting.pop(0)
        results[name] += measure(*make_vectors(name, num, num_queries, size, seed), tried, top_k, threads, name)
        write_json(output, {**facts, "is_complete": not waiting, "results": results, **found})


def make_vectors(name: str, num: int, num_queries: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (num, size) and queries (num_queries, size) of unit length, float32."""
    generator = np.random.default_rng(seed)
    total = num + num_queries
    if name == "random":
        made = generator.standard_normal((total, size), dtype=np.float32)
    else:
        centres = _to_unit(generator.standard_normal((max(num // 100, 1), size), dtype=np.float32))
        made = centres[generator.integers(len(centres), size=total)]
        for start in range(0, total, 100_000):
            part = made[start : start + 100_000]
            part += generator.standard_normal(part.shape, dtype=np.float32) * np.float32(NOISE / np.sqrt(size))
    made = _to_unit(made)
    return made[:num], made[num:]


def _to_unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def measure(
    vectors: np.ndarray, queries: np.ndarray, tried: Tried, top_k: int, threads: int, name: str
) -> list[dict[str, Any]]:
    """Make an index and search in it with each effort."""
    keys = pa.array(np.arange(len(vectors)).astype(str))
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"key": keys, "embedding": column})
    faiss.omp_set_num_threads(threads)
    exact, index = VectorIndex(table, "flat"), VectorIndex(table, tried.kind, tried.made_with)
    exact.build()
    begun = time.perf_counter()
    index.build()
    seconds = time.perf_counter() - begun
    results = []
    for effort in tried.efforts:
        index.change_kind(tried.kind, {**tried.made_with, **effort})
        lines = []
        for number in sorted({1, threads}):
            faiss.omp_set_num_threads(number)
            facts = {"kind": tried.kind, "settings": index.used_settings, "threads": number, "build_seconds": seconds}
            facts["load"] = os.getloadavg()[0]
            lines.append({**facts, **compare(index, exact, queries, top_k)})
        fastest = min(line["exact_median_ms"] for line in lines)
        for line in lines:
            line["times_exact"] = fastest / line["median_ms"]
            print(
                f"{name}, {tried.kind} {line['settings']}, {line['threads']} threads: recall {line['recall']:.3f}, "
                f"{line['median_ms']:.2f} ms (95%: {line['p95_ms']:.2f}), {line['times_exact']:.1f} times exact search",
                flush=True,
            )
        results += lines
    return results


def compare(index: VectorIndex, exact: VectorIndex, queries: np.ndarray, top_k: int) -> dict[str, Any]:
    """Recall, milliseconds a query, and those of exact search, each query by both in turn."""
    times: dict[str, list[float]] = {"index": [], "exact": [], "cpu": []}
    hits = []
    for number, query in enumerate([*queries[:WARM_UP], *queries]):
        rows = {}
        for name, searched in (("exact", exact), ("index", index)):
            begun, begun_cpu = time.perf_counter(), time.process_time()
            _, rows[name] = searched.search_vectors(query[None], top_k)
            if number >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - begun))
        if number >= WARM_UP:
            times["cpu"].append(1000 * (time.process_time() - begun_cpu))
            hits.append(np.isin(rows["exact"], rows["index"]).mean())
    median, exact_median = (float(np.median(times[name])) for name in ("index", "exact"))
    recall = float(np.mean(hits))
    return {
        "recall": recall,
        "median_ms": median,
        "p95_ms": float(np.quantile(times["index"], 0.95)),
        "cpu_ms": float(np.median(times["cpu"])),
        "exact_median_ms": exact_median,
        "is_wanted": recall >= WANTED_RECALL and median < WANTED_MS,
    }


if __name__ == "__main__":
    typer.run(main)
