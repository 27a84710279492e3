"""What the engine costs on top of encoder, index and disk: `pytest --benchmark-only tests/memory`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from adamem.memory import MemoryEngine

N, MORE, DIM = 100_000, 19_000, 384


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """float32 (N + MORE, DIM): round a thousand centres, so that neighbours mean something."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(1_000, DIM)).astype(np.float32)
    noise = random.normal(size=(N + MORE, DIM)).astype(np.float32)
    return unit(centres[random.integers(1_000, size=N + MORE)] + noise)


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


@pytest.fixture(scope="module")
def behind(filled, vectors, tmp_path_factory) -> Path:
    """The same and 19,000 more that its saved index was not told of: who only reads scans them."""
    path = copied(filled, tmp_path_factory.mktemp("behind"))
    with MemoryEngine(path) as engine:
        engine.add_many([f"memory number {number} more" for number in range(MORE)], vectors=vectors[N:])
    shutil.rmtree(f"{path}.index")
    shutil.copytree(f"{filled}.index", f"{path}.index")
    return path


def copied(path: Path, folder: Path) -> Path:
    """A memory file and its indexes, in a folder, over what is there."""
    shutil.rmtree(folder / "memory.db.index", ignore_errors=True)
    shutil.copytree(f"{path}.index", folder / "memory.db.index")
    return Path(shutil.copy(path, folder / "memory.db"))


def told(benchmark) -> None:
    """Put p50 and p99 into the extra information, in milliseconds."""
    times = 1e3 * np.array(benchmark.stats.stats.data)
    benchmark.extra_info |= {"p50": round(float(np.median(times)), 3), "p99": round(float(np.quantile(times, 0.99)), 3)}


def in_turn(vectors):
    """Another query at each call."""
    at = iter(np.random.default_rng(1).permutation(N).tolist() * 10)
    return lambda: ((), {"vector": vectors[next(at)]})


@pytest.mark.benchmark(group="search with a given vector, 100,000 memories")
@pytest.mark.parametrize("what", ["the bare index", "a writer", "a reader", "a reader with a full tail"])
def test_search(benchmark, request, filled, vectors, what):
    """Of four memories; p50 and p99 in milliseconds."""
    path = request.getfixturevalue("behind") if what == "a reader with a full tail" else filled
    with MemoryEngine(path, readonly=what != "a writer") as engine:
        engine.search(vector=vectors[0])
        ((shelf, _),) = engine._core.shelves._shelves.values()
        assert (shelf.tail_length >= MORE) == (what == "a reader with a full tail")
        search = engine.search
        if what == "the bare index":
            bare, params = shelf.base._index, engine._core.kind.search

            def search(vector):
                return bare.search(vector, 4, params=params)

        benchmark.pedantic(search, setup=in_turn(vectors), rounds=5_000, warmup_rounds=50)
    told(benchmark)


@pytest.mark.benchmark(group="a durable add to 100,000 memories, and the disk's own flush")
@pytest.mark.parametrize("what", ["fdatasync", "add"])
def test_add(benchmark, tmp_path, filled, vectors, what):
    """One memory with a given vector; beside it, 4 kB written and flushed."""
    if what == "fdatasync":
        handle = os.open(tmp_path / "plain", os.O_WRONLY | os.O_CREAT)

        def once() -> None:
            os.write(handle, b"x" * 4_096)
            os.fdatasync(handle)

        benchmark.pedantic(once, rounds=1_500, warmup_rounds=10)
        os.close(handle)
    else:
        with MemoryEngine(copied(filled, tmp_path)) as engine:
            engine.search(vector=vectors[0])
            engine.flush()
            at = iter(range(N, N + MORE))

            def one() -> None:
                engine.add("a fact of the usual length, about ten words", vector=vectors[next(at)])

            benchmark.pedantic(one, rounds=1_500, warmup_rounds=10)
    told(benchmark)


@pytest.mark.benchmark(group="add_many, 10,000 memories to 100,000")
def test_add_many(benchmark, tmp_path, filled, vectors):
    """To the durable acknowledgement; records a second in the extra information."""
    texts = [f"memory number {number} more" for number in range(10_000)]
    opened: list[MemoryEngine] = []

    def fresh():
        if opened:
            opened.pop().close()
        opened.append(MemoryEngine(copied(filled, tmp_path)))
        opened[0].search(vector=vectors[0])
        opened[0].flush()
        return (opened[0],), {}

    def add(engine: MemoryEngine) -> None:
        engine.add_many(texts, vectors=vectors[N : N + 10_000])

    benchmark.pedantic(add, setup=fresh, rounds=7)
    opened.pop().close()
    benchmark.extra_info["records a second"] = round(10_000 / benchmark.stats.stats.median)
    told(benchmark)


@pytest.mark.benchmark(group="open 100,000 memories, to the first answer")
def test_open(benchmark, filled, vectors):
    """With a saved index."""

    def once() -> None:
        with MemoryEngine(filled, readonly=True) as engine:
            assert engine.search(vector=vectors[5], top_k=1)[0].memory.id == 6

    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
