"""Where the nanoseconds of a query go: ``pytest --benchmark-only tests/indexes/test_anatomy.py``.

The steps of SpiralGraph's search are run over all queries up to each of them in turn; what a step adds is its price.
Prints, for several efforts, the median over rounds. Not part of the ordinary run.
"""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest

from adamem.index import index_class
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral.index import SpiralGraph

STEPS = ("code of the query", "spiral: where to begin", "walk on codes", "vectors settle the order")
EFFORTS = (10, 20, 60, 120)
K, ROUNDS = 10, 15


@numba.njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def up_to(step, queries, metric, handle, ef, rerank, admitted, ids, distances):
    """`kernels.search`, which ends after the given step."""
    rows, scratch, lens, spiral = handle.rows, handle.scratch, handle.lens, handle.spiral
    done = 0.0
    for i in range(queries.shape[0]):
        query = queries[i]
        scale, correction = kernels._prepare(query, kernels._unit(query, metric), np.float64(1), lens, scratch)
        done += scale
        if step == 0:
            continue
        count, _ = kernels._seeds(spiral, scratch.code, scale, correction, scratch.fresh)
        done += count
        if step == 1:
            continue
        factor = scale * (np.float32(2) if metric == kernels.L2 else np.float32(1))
        found, _, _ = kernels._beam(
            rows, scratch, np.uint64(kernels.OFFSET), factor, np.float32(0), correction, metric == kernels.L2, count,
            ef, None,
        )  # fmt: skip
        done += found
        if step == 2:
            continue
        wanted = min(found, rerank)
        done += kernels._settle(
            rows, scratch.point, metric, scratch.pool, wanted, np.bool_(1), admitted, ids[i], distances[i]
        )
    return done


@pytest.fixture(scope="module")
def text(medquad) -> tuple[SpiralGraph, np.ndarray]:
    """The index over real sentence embeddings, and questions."""
    base, queries = medquad
    rows = np.random.default_rng(0).permutation(len(queries))[:1_000]
    built = index_class("spiral").build(
        base, np.arange(len(base)), metric="cosine", params={"ef_construction": 240}, threads=2
    )
    return built, np.ascontiguousarray(queries[rows])


def nanoseconds(act, count: int) -> float:
    """A query's, of one call."""
    started = time.perf_counter()
    act()
    return 1e9 * (time.perf_counter() - started) / count


def test_where_the_time_of_a_query_goes(text, benchmark, capsys):
    """Step by step in one call; then what the door adds, in one call and asked one by one."""
    index, queries = text
    body, count = index._body, len(queries)
    admitted = np.empty(0, dtype=np.uint8)
    ids, distances = np.empty((count, K), dtype=np.int64), np.empty((count, K), dtype=np.float32)
    for ef in EFFORTS:
        rerank = 2 * K + 10 + ef // 3
        handle = index._take(body, ef).handle
        ways = {
            name: lambda step=step, ef=ef, rerank=rerank, handle=handle: up_to(
                step, queries, index._code, handle, ef, rerank, admitted, ids, distances
            )
            for step, name in enumerate(STEPS)
        }
        ways["one call"] = lambda ef=ef: index.search(queries, K, params={"ef": ef})
        ways["one by one"] = lambda ef=ef: [index.search(one, K, params={"ef": ef}) for one in queries]
        for act in ways.values():
            act()
        before = index.counters()
        found = index.search(queries, K, params={"ef": ef})
        np.testing.assert_array_equal(found.ids, ids)
        cost = {name: (value - before[name]) / count for name, value in index.counters().items()}
        taken = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, act in ways.items():
                taken[name].append(nanoseconds(act, count))
        median = {name: float(np.median(times)) for name, times in taken.items()}
        steps = np.diff([0.0, *(median[name] for name in STEPS)])
        benchmark.extra_info[f"ef={ef}"] = {"nanoseconds": taken, "cost": cost}
        with capsys.disabled():
            counted = ", ".join(f"{value:.0f} {name}" for name, value in cost.items())
            print(f"\nef = {ef}: {counted}")  # noqa: T201 -- printing the profile is what this file is for
            for name, spent in zip(STEPS, steps, strict=True):
                print(f"  {name:26} {spent:9,.0f} ns {100 * spent / median[STEPS[-1]]:5.1f} %")  # noqa: T201
            for name in ("one call", "one by one"):
                print(f"  {name:26} {median[name]:9,.0f} ns")  # noqa: T201
    benchmark.pedantic(ways["one call"], rounds=1)
