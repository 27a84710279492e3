"""The contract of every registered index under every metric it declares: what a search answers."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.errors import InvalidInput, UnknownName, UnsupportedOperation
from adamem.index import IdFilter, Index, index_class


def test_the_class_declares_itself(index_name):
    """Every registered class carries its entry point's name, a one-line summary and helpful parameters."""
    cls = index_class(index_name)
    assert cls.name == index_name
    assert cls.summary
    assert "\n" not in cls.summary
    assert cls.capabilities.metrics
    for param in (*cls.build_params, *cls.search_params):
        assert param.help
        for value in param.sweep:
            assert type(value) is type(param.default)
            assert param.low is None or value >= param.low
            assert param.high is None or value <= param.high


def test_an_index_satisfies_the_protocol(case, built):
    """A built index is an `Index`, knows how many ids it holds and what it weighs."""
    index = built(case)
    assert isinstance(index, Index)
    assert len(index) == 2000
    parts = index.nbytes()
    assert parts
    assert all(type(size) is int and size >= 0 for size in parts.values())
    assert sum(parts.values()) > 2000 * 8
    assert all(type(count) is int for count in index.counters().values())


def test_counted_cost_is_deterministic(case, built, data):
    """The same search costs the same again, and something, wherever the library counts."""
    index = built(case)
    costs = []
    for _ in range(2):
        before = index.counters()
        index.search(data.queries, 10)
        costs.append({name: count - before[name] for name, count in index.counters().items()})
    assert costs[0] == costs[1]
    assert all(cost > 0 for cost in costs[0].values())
    if case.name in {"exact", "faiss_hnsw", "faiss_pq"}:
        assert costs[0]


@pytest.mark.parametrize("k", [1, 10])
def test_recall_on_clusters_reaches_the_floor(case, built, data, oracle, k):
    """Default parameters find at least nine tenths of the true neighbours, an exact index all of them."""
    found = built(case).search(data.queries, k)
    assert oracle.recall(case.metric, found, data.queries, data.vectors, data.ids, k) >= case.floor


def test_recall_of_long_answers_reaches_the_floor(case, built, data, oracle):
    """At k = 50 the largest effort of the sweep reaches it (a graph under ip links short vectors badly)."""
    params = {param.name: max(param.sweep) for param in case.cls.search_params if param.effort}
    found = built(case).search(data.queries, 50, params=params)
    assert oracle.recall(case.metric, found, data.queries, data.vectors, data.ids, 50) >= case.floor


def test_recall_on_real_descriptors_reaches_the_floor(case, sift, oracle):
    """The same holds on real SIFT descriptors."""
    index = case.build(sift.vectors, sift.ids)
    found = index.search(sift.queries, 10)
    oracle.assert_valid(case, found, sift.queries, sift.vectors, sift.ids)
    assert oracle.recall(case.metric, found, sift.queries, sift.vectors, sift.ids, 10) >= case.floor


@pytest.mark.parametrize("k", [1, 10, 50])
def test_answers_are_ordered_unique_and_bear_true_distances(case, built, data, oracle, k):
    """Rows are sorted by (distance, id), hold no id twice, and distances equal the recomputed ones."""
    found = built(case).search(data.queries, k)
    assert found.ids.shape == (60, k)
    oracle.assert_valid(case, found, data.queries, data.vectors, data.ids)


def test_one_query_and_a_batch_answer_alike(case, built, data):
    """A query of shape (d,) answers as the same row of a batch, up to the rounding of another BLAS routine."""
    index = built(case)
    batch = index.search(data.queries, 10)
    for i in range(10):
        single = index.search(data.queries[i], 10)
        assert single.ids.shape == (1, 10)
        np.testing.assert_allclose(single.distances[0], batch.distances[i], rtol=1e-4, atol=1e-5)


def test_no_queries_give_no_rows(case, built, data):
    """An empty batch is an empty answer."""
    found = built(case).search(np.empty((0, data.queries.shape[1]), dtype=np.float32), 5)
    assert found.ids.shape == (0, 5)
    assert found.distances.shape == (0, 5)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_fewer_vectors_than_k_are_padded(case, make_data, oracle, n, capfd):
    """All n ids come back, then -1 at +inf; tiny collections build without a word on the terminal."""
    small = make_data(n=n, dim=6, queries=5, seed=n)
    found = case.build(small.vectors, small.ids).search(small.queries, n + 3)
    oracle.assert_valid(case, found, small.queries, small.vectors, small.ids)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dim", [2, 3, 7, 13, 33])
def test_any_dimension_is_taken(case, make_data, oracle, dim):
    """Dimensions that are odd, prime or tiny build, answer validly and reach the floor."""
    small = make_data(n=300, dim=dim, queries=20, seed=dim)
    found = case.build(small.vectors, small.ids).search(small.queries, 5)
    oracle.assert_valid(case, found, small.queries, small.vectors, small.ids)
    assert oracle.recall(case.metric, found, small.queries, small.vectors, small.ids, 5) >= case.floor


def test_repeated_vectors_are_all_found(case, make_data, oracle):
    """Where every vector stands three times, answers hold no id twice and ties are credited."""
    once = make_data(n=200, dim=12, queries=20, seed=5)
    vectors, ids = np.repeat(once.vectors, 3, axis=0), np.arange(600, dtype=np.int64)
    found = case.build(vectors, ids).search(once.queries, 9)
    oracle.assert_valid(case, found, once.queries, vectors, ids)
    assert oracle.recall(case.metric, found, once.queries, vectors, ids, 9) >= case.floor


@pytest.mark.parametrize(("distinct", "copies"), [(1, 500), (40, 50), (1_500, 1)])
def test_a_vector_may_stand_any_number_of_times(case, make_data, oracle, distinct, copies):
    """One vector alone, each of forty fifty times, or one of them five hundred times: built, and answered whole.

    No recall is asked for: hnswlib's and faiss's graphs lose what lies behind a crowd of equal vectors.
    """
    once = make_data(n=distinct, dim=12, queries=10, seed=6)
    vectors = np.repeat(once.vectors, copies, axis=0)
    if copies == 1:
        vectors[:500] = vectors[0]
    ids = np.arange(len(vectors), dtype=np.int64)
    found = case.build(vectors, ids).search(once.queries, 5)
    oracle.assert_valid(case, found, once.queries, vectors, ids)


def test_equal_vectors_are_ordered_by_id(case):
    """Among exact ties the smaller id comes first, whatever the order of insertion."""
    vectors = np.tile(np.array([[1.0, 2.0, 0.5, 0.25]], dtype=np.float32), (12, 1))
    ids = np.array([90, 5, 70, 3, 60, 11, 8, 40, 2, 77, 1, 30], dtype=np.int64)
    found = case.build(vectors, ids).search(vectors[0], 12)
    assert found.ids[0].tolist() == sorted(ids.tolist())


def test_ids_may_be_any_int64(case, make_data, oracle):
    """Zero and numbers around 2^62 are ids like any others."""
    small = make_data(n=100, dim=8, queries=10, seed=3)
    ids = np.concatenate([[0, 2**63 - 1], 2**62 + 3 * np.arange(98)]).astype(np.int64)
    found = case.build(small.vectors, ids).search(small.queries, 100)
    oracle.assert_valid(case, found, small.queries, small.vectors, ids)


def test_the_caller_may_overwrite_its_arrays(case, make_data):
    """Neither the vectors and ids of the build nor the queries and results of a search are shared with the index."""
    small = make_data(n=150, dim=8, queries=10, seed=4)
    vectors, ids, queries = small.vectors.copy(), small.ids.copy(), small.queries.copy()
    index = case.build(vectors, ids)
    vectors[:], ids[:] = 7.0, 0
    first = index.search(queries, 5)
    kept = first.ids.copy(), first.distances.copy()
    queries[:] = 1.0
    index.search(queries, 5)
    assert (first.ids == kept[0]).all()
    assert (first.distances == kept[1]).all()
    first.ids[:], first.distances[:] = 0, 0.0
    again = index.search(small.queries, 5)
    assert (again.ids == kept[0]).all()
    assert (again.distances == kept[1]).all()


def test_equal_builds_answer_equally(case, make_data):
    """The same input, seed and one thread give the same answers, where the index declares so."""
    if not case.capabilities.deterministic:
        pytest.skip(f"{case.name} declares that it is not deterministic")
    small = make_data(n=500, dim=16, queries=30, seed=6)
    first = case.build(small.vectors, small.ids, seed=3).search(small.queries, 10)
    second = case.build(small.vectors, small.ids, seed=3).search(small.queries, 10)
    assert (first.ids == second.ids).all()
    assert (first.distances == second.distances).all()


def test_two_build_threads_reach_the_floor(case, make_data, oracle):
    """A build with several threads is as good."""
    small = make_data(n=500, dim=16, queries=30, seed=6)
    found = case.build(small.vectors, small.ids, threads=2).search(small.queries, 10)
    assert oracle.recall(case.metric, found, small.queries, small.vectors, small.ids, 10) >= case.floor


def test_more_effort_finds_more(case, built, data, oracle):
    """Recall at the largest effort of the sweep is at least that at the smallest, and nearly 1."""
    efforts = [param for param in case.cls.search_params if param.effort]
    if case.capabilities.exact:
        assert not efforts
        return
    effort = efforts[0]
    low, high = min(effort.sweep), max(effort.sweep)
    recalls = [
        oracle.recall(
            case.metric,
            built(case).search(data.queries, 10, params={effort.name: value}),
            data.queries,
            data.vectors,
            data.ids,
            10,
        )
        for value in (low, high)
    ]
    assert recalls[1] >= recalls[0]
    assert recalls[1] >= 0.97


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_filtered_recall_reaches_the_floor(case, built, data, oracle, share):
    """Only admitted ids come back, and of those the nearest, however few are admitted."""
    if not case.capabilities.filter:
        with pytest.raises(UnsupportedOperation, match=f"{case.name} cannot filter"):
            built(case).search(data.queries, 10, filter=IdFilter(data.ids[:10]))
        return
    rows = np.random.default_rng(2).permutation(2000)[: int(2000 * share)]
    admitted = IdFilter(np.concatenate([data.ids[rows], [3, 5]]))  # 3 and 5 are not in the index
    found = built(case).search(data.queries, 10, filter=admitted)
    oracle.assert_valid(case, found, data.queries, data.vectors[rows], data.ids[rows])
    recall = oracle.recall(case.metric, found, data.queries, data.vectors[rows], data.ids[rows], 10)
    assert recall >= case.floor


def test_a_filter_far_from_the_query_still_finds_its_own(case, built, data, oracle):
    """A filter that admits just the vectors farthest from the query is answered in full."""
    if not case.capabilities.filter:
        pytest.skip(f"{case.name} declares no filter; the refusal is asserted elsewhere")
    query = data.queries[:1]
    far = np.argsort(oracle.distances(case.metric, query, data.vectors)[0])[-300:]
    found = built(case).search(query, 10, filter=IdFilter(data.ids[far]))
    oracle.assert_valid(case, found, query, data.vectors[far], data.ids[far])
    assert oracle.recall(case.metric, found, query, data.vectors[far], data.ids[far], 10) >= case.floor


@pytest.mark.parametrize("ids", [[], [1, 2, 3]], ids=["empty", "absent"])
def test_a_filter_that_admits_nothing_gives_padding(case, built, data, ids):
    """An empty filter, or one of unknown ids, is no error: nothing is found."""
    if not case.capabilities.filter:
        pytest.skip(f"{case.name} declares no filter; the refusal is asserted elsewhere")
    found = built(case).search(data.queries, 4, filter=IdFilter(ids))
    assert (found.ids == -1).all()
    assert np.isposinf(found.distances).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vectors": np.ones(6, np.float32)}, InvalidInput, r"shape \(n, d\)"),
        ({"vectors": np.empty((0, 6), np.float32), "ids": np.empty(0, np.int64)}, InvalidInput, "empty"),
        ({"vectors": np.full((3, 6), np.nan, np.float32)}, InvalidInput, "row 0 holds NaN or Inf"),
        ({"vectors": np.full((3, 6), np.inf, np.float32)}, InvalidInput, "row 0 holds NaN or Inf"),
        ({"vectors": np.full((3, 6), 1e30, np.float32)}, InvalidInput, "overflows"),
        ({"vectors": np.ones((3, 6), np.complex64)}, InvalidInput, "real numbers"),
        ({"vectors": np.array([["a"] * 6] * 3)}, InvalidInput, "real numbers"),
        ({"ids": np.array([1, 1, 2])}, InvalidInput, "the id 1 stands 2 times"),
        ({"ids": np.array([-1, 1, 2])}, InvalidInput, "negative"),
        ({"ids": np.array([1, 2])}, InvalidInput, "3 vectors came with 2 ids"),
        ({"ids": np.array([1.0, 2.0, 3.0])}, InvalidInput, "array of integers"),
        ({"ids": np.array([1, 2, 2**63], np.uint64)}, InvalidInput, "does not fit int64"),
        ({"threads": 0}, InvalidInput, "threads"),
        ({"params": {"no_such": 1}}, UnknownName, "no_such"),
    ],
)
def test_a_bad_build_is_refused(case, change, error, message):
    """What would crash or corrupt native code is refused with a sentence."""
    good = {"vectors": np.ones((3, 6), np.float32), "ids": np.array([1, 2, 3])}
    with pytest.raises(error, match=message):
        case.build(**(good | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queries": np.ones((1, 5), np.float32)}, InvalidInput, "5 dimensions, but the index has 24"),
        ({"queries": np.full((1, 24), np.nan, np.float32)}, InvalidInput, "NaN or Inf"),
        ({"queries": np.ones((1, 1, 24), np.float32)}, InvalidInput, "shape"),
        ({"queries": np.ones((1, 24), np.complex64)}, InvalidInput, "real numbers"),
        ({"k": 0}, InvalidInput, "k must be"),
        ({"k": 2.0}, InvalidInput, "k must be"),
        ({"k": True}, InvalidInput, "k must be"),
        ({"k": 10**9}, InvalidInput, "k must be"),
        ({"params": {"no_such": 1}}, UnknownName, "no_such"),
    ],
)
def test_a_bad_search_is_refused(case, built, change, error, message):
    """The same for a search."""
    good = {"queries": np.ones((1, 24), np.float32), "k": 3}
    with pytest.raises(error, match=message):
        built(case).search(**(good | change))


def test_a_zero_vector_is_refused_under_cosine_only(case):
    """It has no direction; the other metrics take it."""
    vectors = np.zeros((2, 4), np.float32)
    vectors[1] = 1.0
    if case.metric == "cosine":
        with pytest.raises(InvalidInput, match="zero vector"):
            case.build(vectors, [1, 2])
    else:
        assert len(case.build(vectors, [1, 2])) == 2


def test_parameters_outside_their_range_are_refused(case, built, data):
    """One below the lowest value, or of another type, names the parameter and the index."""
    for param in case.cls.search_params:
        if param.low is not None:
            wrong = type(param.default)(param.low - 1)
            with pytest.raises(InvalidInput, match=f"{case.name}'s parameter {param.name}"):
                built(case).search(data.queries, 3, params={param.name: wrong})
        with pytest.raises(InvalidInput, match=f"{case.name}'s parameter {param.name}"):
            built(case).search(data.queries, 3, params={param.name: None})


def test_undeclared_metrics_are_refused(index_name, all_metrics):
    """A metric that the index does not declare is refused by name, one that does not exist too."""
    cls = index_class(index_name)
    vectors = np.ones((3, 4), np.float32)
    for metric in set(all_metrics) - set(cls.capabilities.metrics):
        with pytest.raises(InvalidInput, match=f"{index_name} does not support the metric"):
            cls.build(vectors, [1, 2, 3], metric=metric)
    with pytest.raises(UnknownName, match="unknown metric 'hamming'"):
        cls.build(vectors, [1, 2, 3], metric="hamming")


def test_undeclared_operations_are_refused(case, make_data, tmp_path):
    """What the capabilities do not declare raises, naming the index."""
    small = make_data(n=30, dim=4, queries=1, seed=9)
    index = case.build(small.vectors, small.ids)
    calls = {
        "insert": lambda: index.insert(small.queries, [1]),
        "delete": lambda: index.delete(small.ids[:1]),
        "replace": lambda: index.replace(small.queries, small.ids[1:2]),
        "filter": lambda: index.search(small.queries, 1, filter=IdFilter([1])),
        "save": lambda: index.save(tmp_path / "saved"),
    }
    for operation, call in calls.items():
        if getattr(case.capabilities, operation):
            call()
        else:
            with pytest.raises(UnsupportedOperation, match=f"{case.name} cannot {operation}"):
                call()
