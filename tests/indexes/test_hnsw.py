"""The hnswlib adapter beyond the contract: where the bare library fails."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.index import IdFilter, index_class

HnswIndex = index_class("hnsw")


def test_where_hnswlib_finds_too_few_the_answer_is_scanned(oracle):
    """Among very many copies hnswlib leaves some unreachable and raises; the adapter answers in full and truly."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([np.ones((1500, 6)), 5 + rng.standard_normal((200, 6))]).astype(np.float32)
    index = HnswIndex.build(vectors, np.arange(1700), metric="l2", params={"M": 4, "ef_construction": 10})
    queries = np.stack([vectors[0], vectors[1600]])
    with pytest.raises(RuntimeError, match="Cannot return the results"):
        index._native.knn_query(queries, 1700, num_threads=1)
    found = index.search(queries, 1700)
    assert (np.sort(found.ids, axis=1) == np.arange(1700)).all()
    assert oracle.recall("l2", found, queries, vectors, np.arange(1700), 1700) == 1.0
    single = index.search(queries[1], 1700)
    assert (single.ids == found.ids[1:]).all()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_inner_products_of_any_size_keep_their_digits(oracle, scale):
    """hnswlib ranks by 1 - q.x, which is 1 for short vectors; the adapter finds their neighbours all the same."""
    rng = np.random.default_rng(1)
    vectors = (scale * rng.standard_normal((1000, 16))).astype(np.float32)
    queries = (scale * rng.standard_normal((30, 16))).astype(np.float32)
    index = HnswIndex.build(vectors, np.arange(1000), metric="ip")
    for admitted in (None, IdFilter(np.arange(0, 1000, 2)), IdFilter(np.arange(12))):
        found = index.search(queries, 10, filter=admitted)
        rows = np.arange(1000) if admitted is None else admitted.ids
        truth = oracle.distances("ip", queries, vectors)
        got = np.take_along_axis(truth, found.ids, axis=1)
        np.testing.assert_allclose(found.distances, got, rtol=1e-4, atol=1e-5 * scale**2)
        best = np.sort(truth[:, rows], axis=1)[:, :10]
        assert (np.abs(got - best) <= 1e-5 * scale**2).mean() >= 0.95
    index.delete(np.arange(0, 1000, 2))
    index.maintain()
    found = index.search(queries, 5)
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(truth, found.ids, axis=1), rtol=1e-4, atol=1e-5 * scale**2
    )


def test_an_ef_below_k_is_raised(make_data, oracle):
    """ef = 1 still answers k = 20 in full."""
    small = make_data(n=500, dim=8, queries=10, seed=40)
    index = HnswIndex.build(small.vectors, small.ids, metric="l2")
    found = index.search(small.queries, 20, params={"ef": 1})
    assert (found.ids >= 0).all()
    assert oracle.recall("l2", found, small.queries, small.vectors, small.ids, 20) >= 0.8


def test_a_point_does_not_depend_on_the_searches_before_it(make_data):
    """Searching with a large ef, or with a filter, leaves a small ef's answers as they were."""
    small = make_data(n=2000, dim=24, queries=60)
    index = HnswIndex.build(small.vectors, small.ids, metric="ip")
    before = index.search(small.queries, 10, params={"ef": 10})
    strong = index.search(small.queries, 10, params={"ef": 800})
    index.search(small.queries, 10, filter=IdFilter(small.ids[:700]))
    after = index.search(small.queries, 10, params={"ef": 10})
    assert (before.ids != strong.ids).any()  # or the test would show nothing
    assert (before.ids == after.ids).all()


def test_the_bare_library_answers_the_same(make_data):
    """Our build and search are hnswlib's own: equal ids for equal parameters and seed."""
    import hnswlib

    small = make_data(n=800, dim=12, queries=20, seed=41)
    for metric in ("l2", "cosine"):
        params = {"M": 12, "ef_construction": 80}
        ours = HnswIndex.build(small.vectors, np.arange(800), metric=metric, params=params, seed=9)
        bare = hnswlib.Index(metric, 12)
        bare.init_index(800, M=12, ef_construction=80, random_seed=9)
        bare.add_items(small.vectors, np.arange(800), num_threads=1)
        bare.set_ef(20)
        expected = bare.knn_query(small.queries, 10, num_threads=1)
        found = ours.search(small.queries, 10, params={"ef": 20})
        assert (found.ids == expected[0]).all()
        np.testing.assert_allclose(found.distances, np.maximum(expected[1], 0), atol=1e-7)
