"""What a search in vectors finds: the best of those that it looks at, and all of them where it must be exact."""

import numpy as np
import pyarrow as pa
import pytest

from motionpatches.training import index_faiss
from motionpatches.training.vector_index import VectorIndex


SIZE = 16


def made(num, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((num, SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rows_of(vectors, first=0):
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), SIZE)
    numbers = np.arange(first, first + len(vectors))
    return pa.table({"key": numbers.astype(str), "part": numbers % 5, "embedding": column})


def brute_force(vectors, queries, top_k, among=None):
    scores = queries @ vectors.T
    if among is not None:
        scores[:, ~among] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, 1), order


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_every_kind_finds_the_best(kind):
    vectors, queries = made(2000), made(20, seed=1)
    everything = {"ivf": {"nlist": 8, "nprobe": 8}, "hnsw": {"ef_search": 2000}}.get(kind)
    index = VectorIndex(rows_of(vectors), kind, everything)
    scores, rows = index.search_vectors(queries, 10)
    expected_scores, expected = brute_force(vectors, queries, 10)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert index.measure_recall(queries) == 1


def test_less_effort_finds_less_and_says_so():
    index = VectorIndex(rows_of(made(5000)), "ivf", {"nlist": 100, "nprobe": 1})
    queries = made(50, seed=1)
    little = index.measure_recall(queries)
    faiss_index = index.build().get_index("embedding").faiss_index
    index.change_kind("ivf", {"nlist": 100, "nprobe": 100})
    assert little < 0.9
    assert index.measure_recall(queries) == 1
    assert index.build().get_index("embedding").faiss_index is faiss_index  # other effort needs no new index
    index.change_kind("flat")
    assert index.build().get_index("embedding").faiss_index is not faiss_index


def test_compressed_lists_are_scored_again_exactly(monkeypatch):
    monkeypatch.setattr(index_faiss, "_COMPRESS_FROM", 1000)
    vectors, queries = made(3000), made(20, seed=1)
    index = VectorIndex(rows_of(vectors), "ivf", {"nlist": 4, "nprobe": 4})
    scores, rows = index.search_vectors(queries, 5)
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, rows, 1), atol=1e-6)
    assert index.measure_recall(queries, 5) > 0.95
    assert type(index.build().get_index("embedding").faiss_index).__name__.startswith("IndexRefine")


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_conditions_leave_the_exact_best_of_what_meets_them(kind):
    vectors, queries = made(3000), made(20, seed=1)
    index = VectorIndex(rows_of(vectors), kind)
    scores, rows = index.search_vectors(queries, 10, where="part = 3")
    expected_scores, expected = brute_force(vectors, queries, 10, np.arange(3000) % 5 == 3)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert index.search_vectors(queries, 10, where="part > 5")[1].shape == (20, 0)


def test_exact_search_goes_through_all_blocks(monkeypatch):
    monkeypatch.setattr(index_faiss, "BLOCK", 7)
    vectors = made(50)
    vectors[30] = vectors[11]  # of equal ones the first comes first
    for among in (None, np.arange(0, 50, 3)):
        chosen = None if among is None else np.isin(np.arange(50), among)
        scores, rows = index_faiss.exact_search(vectors, vectors[[11]], 20, among)
        expected_scores, expected = brute_force(vectors, vectors[[11]], min(20, 50 if among is None else len(among)), chosen)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_lists_that_hold_too_few_are_no_reason_to_return_fewer():
    vectors = made(400)
    index = VectorIndex(rows_of(vectors), "ivf", {"nlist": 40, "nprobe": 1})
    scores, rows = index.search_vectors(vectors[:3], 300)
    assert (rows >= 0).all()
    np.testing.assert_allclose(scores, brute_force(vectors, vectors[:3], 300)[0], atol=1e-6)


def test_rows_that_come_are_added_and_rows_that_go_are_not_found():
    vectors, queries = made(300), made(10, seed=1)
    index = VectorIndex(rows_of(vectors[:200]), "hnsw")
    index.build()
    held = index.build().get_index("embedding").faiss_index
    index._replace_table(rows_of(vectors))
    assert index.build().get_index("embedding").faiss_index is held  # not made anew
    np.testing.assert_array_equal(index.search_vectors(queries, 5)[1], brute_force(vectors, queries, 5)[1])
    index._replace_table(index.table.slice(100))
    np.testing.assert_array_equal(index.search_vectors(queries, 5)[1], brute_force(vectors[100:], queries, 5)[1])


def test_an_ivf_index_that_has_grown_is_trained_anew():
    vectors = made(500)
    index = VectorIndex(rows_of(vectors[:100]), "ivf")
    index.build()
    assert index.used_settings["nlist"] == 10
    index._replace_table(rows_of(vectors))
    index.build()
    assert index.used_settings["nlist"] == 22


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((made(1), 0), "top_k is 0; expected at least 1"),
        ((made(1)[:, :5],), r"queries have shape \(1, 5\); expected \(number, 16\)"),
        ((made(1), 3, "size = 3"), "names no column"),
    ],
)
def test_a_wrong_search_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        VectorIndex(rows_of(made(5))).search_vectors(*arguments)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("tree", None, "unknown kind of index 'tree'; known: flat, ivf, hnsw"),
        ("flat", {"nprobe": 3}, "kind 'flat' has no setting 'nprobe'; it has: none"),
        ("ivf", {"nprobe": 0}, "nprobe must be a whole number above 0, got 0"),
    ],
)
def test_a_wrong_kind_or_setting_says_what_is_known(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        VectorIndex(rows_of(made(5)), kind, settings)


def test_without_faiss_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'motionpatches\[search\]'"):
        VectorIndex(rows_of(made(5)))
