"""How much two threads gain on one, building and searching: ``pytest --benchmark-only tests/indexes/test_growth.py``.

All indexes take turns, with one thread and with two, so that a machine that is busy with something else slows them
alike. Every test prints a line an index: the median over rounds of the ratio of the two times, with the least and the
largest. Not part of the ordinary run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from adamem.index import index_class

BUILT = {
    "spiral": ({"R": 48, "ef_construction": 200}, {"ef": 24}),
    "hnsw": ({"M": 16, "ef_construction": 200}, {"ef": 64}),
    "faiss_hnsw": ({"storage": "sq8-refine", "M": 32}, {"ef": 48}),
    "faiss_pq": ({}, {"nprobe": 24, "k_factor": 8}),
}
K, ROUNDS = 10, 7


def build(name: str, vectors: np.ndarray, threads: int):
    with threadpool_limits(threads):
        return index_class(name).build(
            vectors, np.arange(len(vectors)), metric="cosine", params=BUILT[name][0], threads=threads
        )


def search(name: str, index, queries: np.ndarray, threads: int) -> None:
    """The queries in so many parts, each a call in a thread of its own."""
    with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:
        parts = np.array_split(queries, threads)
        list(executor.map(lambda part: index.search(part, K, params=BUILT[name][1]), parts))


def report(label: str, act: Callable[[str, int], object], benchmark, capsys, rounds: int) -> None:
    """Let `act` (index, threads) happen in turn."""
    seconds = {(name, threads): [] for name in BUILT for threads in (1, 2)}
    for _ in range(rounds):
        for (name, threads), taken in seconds.items():
            started = time.perf_counter()
            act(name, threads)
            taken.append(time.perf_counter() - started)
    for name in BUILT:
        one, two = (np.array(seconds[name, threads]) for threads in (1, 2))
        gains = one / two
        benchmark.extra_info[name] = {"one": one.tolist(), "two": two.tolist()}
        with capsys.disabled():
            print(  # noqa: T201 -- printing the ratios is what this file is for
                f"\n{label} {name:12} one thread {np.median(one):7.3f} s, two {np.median(two):7.3f} s, "
                f"gain {np.median(gains):.2f} [{gains.min():.2f}, {gains.max():.2f}]"
            )
    benchmark.pedantic(act, args=("spiral", 2), rounds=1)


def test_builds_gain_by_a_second_thread(passages, benchmark, capsys):
    """Each library's own threads."""
    for name in BUILT:
        build(name, passages[0][:3_000], 2)  # compiled, loaded
    report("build ", lambda name, threads: build(name, passages[0], threads), benchmark, capsys, 3)


def test_searches_gain_by_a_second_thread(passages, benchmark, capsys):
    """Calls beside each other, each of one thread."""
    built = {name: build(name, passages[0], 2) for name in BUILT}
    for name, index in built.items():
        search(name, index, passages[1], 2)
    report("search", lambda name, threads: search(name, built[name], passages[1], threads), benchmark, capsys, ROUNDS)
