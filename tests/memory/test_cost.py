"""What the engine costs on top of encoder, index and disk: `pytest --benchmark-only tests/memory`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adamem.memory import MemoryEngine

N, DIM = 100_000, 384


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """float32 (N + 20,000, DIM): round a thousand centres, so that neighbours mean something."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(1_000, DIM)).astype(np.float32)
    noise = random.normal(size=(N + 20_000, DIM)).astype(np.float32)
    return unit(centres[random.integers(1_000, size=N + 20_000)] + noise)


@pytest.fixture(scope="module")
def filled(vectors, tmp_path_factory) -> Path:
    """100,000 memories in one namespace, and their index saved."""
    path = tmp_path_factory.mktemp("filled") / "memory.db"
    with MemoryEngine(path, encoder=f"hashing:{DIM}", threads=2) as engine:
        for start in range(0, N, 10_000):
            some = slice(start, start + 10_000)
            texts = [f"memory number {number} of the hundred thousand" for number in range(start, start + 10_000)]
            engine.add_many(texts, vectors=vectors[some])
        engine.flush()
    return path


def in_turn(vectors):
    """Another query at each call."""
    at = iter(np.random.default_rng(1).permutation(N).tolist() * 10)
    return lambda: ((), {"vector": vectors[next(at)]})


@pytest.mark.benchmark(group="search with a given vector, 100,000 memories")
@pytest.mark.parametrize("tail", ["no tail", "a full tail"])
def test_search(benchmark, filled, vectors, tail):
    """Of four memories: p50 and p99 in the extra information, in milliseconds."""
    with MemoryEngine(filled, readonly=True) as engine:
        shelf = None
        engine.search(vector=vectors[0])
        if tail == "a full tail":
            (shelf, _) = next(iter(engine._core.shelves._shelves.values()))
            shelf._parts.tail.append(np.arange(1_000_000, 1_020_000), vectors[N:])
        benchmark.pedantic(engine.search, setup=in_turn(vectors), rounds=3_000, warmup_rounds=50)
    times = 1e3 * np.array(benchmark.stats.stats.data)
    benchmark.extra_info |= {"p50": round(float(np.median(times)), 4), "p99": round(float(np.quantile(times, 0.99)), 4)}


@pytest.mark.benchmark(group="a durable add, and the disk's own flush")
@pytest.mark.parametrize("what", ["fdatasync", "add"])
def test_add(benchmark, tmp_path, vectors, what):
    """One memory with a given vector; beside it, 4 kB written and flushed."""
    if what == "fdatasync":
        handle = os.open(tmp_path / "plain", os.O_WRONLY | os.O_CREAT)

        def once() -> None:
            os.write(handle, b"x" * 4_096)
            os.fdatasync(handle)

        benchmark.pedantic(once, rounds=500, warmup_rounds=10)
        os.close(handle)
        return
    with MemoryEngine(tmp_path / "memory.db", encoder=f"hashing:{DIM}") as engine:
        at = iter(range(N))

        def one() -> None:
            engine.add("a fact of the usual length, about ten words", vector=vectors[next(at)])

        benchmark.pedantic(one, rounds=1_500, warmup_rounds=10)


@pytest.mark.benchmark(group="add_many, 20,000 memories")
def test_add_many(benchmark, tmp_path, vectors):
    """To the durable acknowledgement; records a second in the extra information."""
    texts = [f"memory number {number} of twenty thousand" for number in range(20_000)]
    paths = iter(range(1_000))

    def fresh():
        engine = MemoryEngine(tmp_path / f"{next(paths)}.db", encoder=f"hashing:{DIM}")
        engine.add("the first")
        return (engine,), {}

    def add(engine: MemoryEngine) -> None:
        engine.add_many(texts, vectors=vectors[:20_000])

    benchmark.pedantic(add, setup=fresh, rounds=5)
    benchmark.extra_info["records a second"] = round(20_000 / benchmark.stats.stats.median)


@pytest.mark.benchmark(group="open 100,000 memories, to the first answer")
def test_open(benchmark, filled, vectors):
    """With a saved index."""

    def once() -> None:
        with MemoryEngine(filled, readonly=True) as engine:
            assert engine.search(vector=vectors[5], top_k=1)[0].memory.id == 6

    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
