"""What the Python layer costs above the bare library, checks included: ``pytest --benchmark-only tests/indexes``.

Both calls go to the very same native object, in turn, each going first in half of the rounds, so that a machine that
is busy with something else slows both. Every test prints its line: the median of the paired differences with its 95 %
interval. The promise is at most 5 % of the bare call's median or 6 µs, whichever is larger, for one query, and 1 % for
a batch; a test fails where the whole interval lies beyond it. Not part of the ordinary run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from adamem.index import Index, index_class

CASES = [
    ("hnsw", "l2", {"ef": 64}),
    ("hnsw", "cosine", {"ef": 64}),
    ("faiss_hnsw", "l2", {"ef": 64}),
    ("faiss_hnsw", "cosine", {"ef": 64}),
    ("faiss_pq", "l2", {"nprobe": 32, "k_factor": 8}),
    ("faiss_nsg", "l2", {"search_L": 64}),
]
K = 10


@dataclass
class Comparison:
    """Medians in µs, and the median of the paired differences with its 95 % interval."""

    ours: float
    bare: float
    difference: float
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.difference / self.bare


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, 128))
    points = centres[rng.integers(0, 100, 10_500)] + 0.6 * rng.standard_normal((10_500, 128))
    return points.astype(np.float32)


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{metric}" for name, metric, _ in CASES])
def pair(request, vectors) -> tuple[Callable, Callable, np.ndarray, str]:
    """Our call, the bare one, and the queries."""
    name, metric, params = request.param
    index = index_class(name).build(vectors[:10_000], np.arange(10_000), metric=metric)
    queries = vectors[10_000:].copy()
    return lambda q: index.search(q, K, params=params), bare_call(index, params), queries, f"{name} {metric}"


def bare_call(index: Index, params: dict) -> Callable:
    """The library's own Python call on the index's native object, set up as its manual says.

    faiss has no cosine: its manual has the caller normalise a copy of the queries, which hnswlib does by itself.
    """
    native = index._native
    if index.name == "hnsw":
        native.set_ef(params["ef"])
        return lambda q: native.knn_query(q, K, num_threads=1)
    import faiss

    if index.name == "faiss_nsg":
        native.nsg.search_L = params["search_L"]
        return lambda q: native.search(q, K)
    if index.name == "faiss_hnsw":
        settings = faiss.SearchParametersHNSW(efSearch=params["ef"])
    else:
        inner = faiss.SearchParametersIVF(nprobe=params["nprobe"])
        settings = faiss.IndexRefineSearchParameters(k_factor=params["k_factor"], base_index_params=inner)
    if index.metric == "cosine":

        def normalising(q: np.ndarray) -> object:
            unit = q.copy()
            faiss.normalize_L2(unit)
            return native.search(unit, K, params=settings)

        return normalising
    return lambda q: native.search(q, K, params=settings)


@pytest.fixture(autouse=True)
def one_thread():
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def compare(ours: Callable, bare: Callable, inputs: list[np.ndarray], rounds: int) -> Comparison:
    """Call both in turn on the inputs, over and over."""
    clock = time.perf_counter_ns
    times = np.empty((rounds, 2))
    ours(inputs[0]), bare(inputs[0])
    for i in range(rounds):
        query = inputs[i % len(inputs)]
        # the second call finds the query's part of the graph in the cache, so that each is second half of the time
        if i % 2:
            start = clock()
            ours(query)
            times[i, 0] = clock() - start
            start = clock()
            bare(query)
            times[i, 1] = clock() - start
        else:
            start = clock()
            bare(query)
            times[i, 1] = clock() - start
            start = clock()
            ours(query)
            times[i, 0] = clock() - start
    paired = times[: rounds // 2 * 2].reshape(-1, 2, 2).mean(axis=1)  # both orders in one pair
    ours_median, bare_median = np.median(times, axis=0) / 1e3
    differences = np.sort(paired[:, 0] - paired[:, 1]) / 1e3
    # order statistics: the binomial's 95 % around the middle
    reach = 0.98 * np.sqrt(differences.size)
    low, high = (
        differences[int(np.clip(differences.size / 2 + side * reach, 0, differences.size - 1))] for side in (-1, 1)
    )
    return Comparison(ours_median, bare_median, float(np.median(differences)), float(low), float(high))


def report(label: str, found: Comparison, benchmark, capsys) -> None:
    benchmark.extra_info.update(
        ours_us=found.ours, bare_us=found.bare, difference_us=found.difference, share=found.share
    )
    with capsys.disabled():
        print(  # noqa: T201 -- printing the ratios is what this file is for
            f"\n{label:24} ours {found.ours:10.1f} µs   bare {found.bare:10.1f} µs   "
            f"difference {found.difference:8.2f} µs [{found.low:.2f}, {found.high:.2f}] = {100 * found.share:6.2f} % "
            f"[{100 * found.low / found.bare:.2f}, {100 * found.high / found.bare:.2f}]"
        )


def test_one_query_costs_little_more_than_the_bare_call(pair, benchmark, capsys):
    """At most 5 % or 6 µs, whichever is larger, in the median."""
    ours, bare, queries, label = pair
    inputs = [queries[i : i + 1].copy() for i in range(len(queries))]
    found = compare(ours, bare, inputs, 5000)
    benchmark.pedantic(ours, args=(inputs[0],), rounds=200, iterations=5)
    report(f"{label} one query", found, benchmark, capsys)
    assert found.low <= max(0.05 * found.bare, 6.0)


def test_a_batch_costs_one_percent_more_at_most(pair, benchmark, capsys):
    """500 queries in one call."""
    ours, bare, queries, label = pair
    found = compare(ours, bare, [queries], 160)
    benchmark.pedantic(ours, args=(queries,), rounds=5)
    report(f"{label} 500 queries", found, benchmark, capsys)
    assert found.low <= 0.01 * found.bare
