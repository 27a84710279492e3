"""The contract of every registered index: several threads, and the threads of the caller's libraries."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from adamem.index import IdFilter


def efforts(case) -> list[dict]:
    """Two settings of the search that answer differently."""
    param = next((param for param in case.cls.search_params if param.effort), None)
    return [{}] if param is None else [{param.name: min(param.sweep)}, {param.name: max(param.sweep)}]


def test_threads_with_two_efforts_get_what_each_asked_for(case, built, data):
    """Eight threads that search with two efforts in turn get the answers of one thread, every time."""
    if not case.capabilities.threadsafe_search:
        pytest.skip(f"{case.name} declares that its search is not thread-safe")
    index = built(case)
    settings = efforts(case)
    filters = [None, IdFilter(data.ids[::3])] if case.capabilities.filter else [None]
    variants = [(params, admitted) for params in settings for admitted in filters]
    expected = [index.search(data.queries, 10, params=params, filter=admitted) for params, admitted in variants]
    start = threading.Barrier(8)

    def work(worker: int) -> int:
        start.wait(timeout=30)
        wrong = 0
        for turn in range(4):
            number = (worker + turn) % len(variants)
            params, admitted = variants[number]
            found = index.search(data.queries, 10, params=params, filter=admitted)
            wrong += int((found.ids != expected[number].ids).sum())
            for i in range(worker, 60, 20):
                found = index.search(data.queries[i], 10, params=params, filter=admitted)
                wrong += not np.allclose(found.distances[0], expected[number].distances[i], rtol=1e-4, atol=1e-5)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0


def test_builds_and_searches_give_the_callers_threads_back(case, make_data):
    """BLAS and OpenMP have as many threads after a build, an insert and a search as before."""
    small = make_data(n=300, dim=8, queries=40, seed=31)
    case.build(small.vectors, small.ids).search(small.queries, 5)  # loads what it loads

    def counts() -> dict[str, int]:
        return {library["filepath"]: library["num_threads"] for library in threadpool_info()}

    before = counts()
    index = case.build(small.vectors[:250], small.ids[:250], threads=2)
    index.search(small.queries, 5)
    if case.capabilities.insert:
        index.insert(small.vectors[250:], small.ids[250:])
    assert counts() == before


def wait_until_quiet() -> None:
    """OpenMP's workers spin for a while after a build of an earlier test."""
    for _ in range(200):
        before = time.process_time()
        time.sleep(0.02)
        if time.process_time() - before < 0.002:
            return
    pytest.fail("threads of the process spin for ever")


def test_a_search_runs_in_the_callers_thread(case, built, data):
    """While one thread searches, the process as a whole uses no more processor time than that thread."""
    index = built(case)
    queries = np.tile(data.queries, (20, 1))
    index.search(queries, 10)
    wait_until_quiet()
    own, whole = time.thread_time(), time.process_time()
    while time.thread_time() - own < 0.1:
        index.search(queries, 10)
    own, whole = time.thread_time() - own, time.process_time() - whole
    assert whole <= 1.3 * own
