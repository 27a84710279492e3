"""A small real run, and indexes that misbehave in every way the harness must survive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from adamem.bench import Experiment, run_experiment, validate


class QuietReporter:
    """An `adamem.bench.Reporter` that remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.said: list[str] = []

    def stage(self, what, total):
        self.stages.append(what)

    def now(self, what):
        pass

    def advance(self, steps=1.0):
        pass

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture
def reporter():
    """A new `QuietReporter`."""
    return QuietReporter()


def clustered(n: int, dim: int, seed: int) -> np.ndarray:
    """float32 (n, dim): twenty Gaussian clusters."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(20, dim)) * 3
    return (centres[random.integers(20, size=n)] + random.normal(size=(n, dim))).astype(np.float32)


@pytest.fixture(scope="session")
def vectors(tmp_path_factory) -> Path:
    """A folder with base.npy (1500, 16) and queries.npy (60, 16)."""
    folder = tmp_path_factory.mktemp("vectors")
    np.save(folder / "base.npy", clustered(1500, 16, 1))
    np.save(folder / "queries.npy", clustered(60, 16, 2))
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache of the tests' own, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ADAMEM_CACHE")
    os.environ["ADAMEM_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ADAMEM_CACHE"]
    else:
        os.environ["ADAMEM_CACHE"] = before


def tables_of(vectors: Path, **measure) -> dict:
    """A small experiment's tables: exact and hnsw."""
    return {
        "name": "small",
        "title": "A small run",
        "targets": [0.8, 0.9],
        "dataset": {"name": str(vectors), "metric": "l2", "queries": 60},
        "measure": {"k": [10, 20], "recall_at": [1, 10, 20], "rounds": 2, "build_seeds": 2, "build_threads": 1, **measure},
        "contestant": [
            {"name": "exact", "index": "exact"},
            {"name": "hnsw", "index": "hnsw", "build": {"M": [2, 4], "ef_construction": 20}, "search": {"ef": [1, 2, 4, 8, 16, 32]}},
        ],
    }  # fmt: skip


@pytest.fixture(scope="session", name="tables_of")
def _tables_of():
    """`tables_of(vectors, **measure)`."""
    return tables_of


@pytest.fixture(scope="session", name="clustered")
def _clustered():
    """`clustered(n, dim, seed)`."""
    return clustered


@pytest.fixture
def run_again():
    """`run_again(tables, out, reporter=None)`: run an experiment in this process."""

    def run(tables, out, reporter=None):
        experiment = validate(Experiment, tables, source="small.toml")
        return run_experiment(experiment, out, source="small.toml", reporter=reporter or QuietReporter())

    return run


@pytest.fixture(scope="session")
def small_run(vectors, cache, tmp_path_factory) -> Path:
    """The folder of a whole small run."""
    out = tmp_path_factory.mktemp("runs") / "small"
    experiment = validate(Experiment, tables_of(vectors), source="small.toml")
    return run_experiment(experiment, out, source="small.toml", reporter=QuietReporter())


BAD_INDEXES = dedent('''
    """Indexes that misbehave."""

    import hashlib, os, signal, threading, time
    import numpy as np
    from adamem.index import Capabilities, IndexBase, Param, SearchResult


    class _Scan(IndexBase):
        summary = "scans, and misbehaves"
        capabilities = Capabilities(metrics=("l2",))

        @classmethod
        def _build(cls, vectors, ids, *, metric, params, seed, threads):
            self = cls()
            self.vectors, self.ids = vectors.copy(), ids.copy()
            return self

        def _search(self, queries, k, *, params, filter):
            d = ((queries[:, None, :] - self.vectors[None]) ** 2).sum(axis=2)
            order = np.argsort(d, axis=1, kind="stable")[:, :k]
            return SearchResult(self.ids[order], np.take_along_axis(d, order, axis=1).astype(np.float32))

        def _contains(self, ids):
            return np.isin(ids, self.ids)

        def nbytes(self):
            return {"vectors": self.vectors.nbytes}

        def __len__(self):
            return len(self.ids)


    class Crash(_Scan):
        name = "crash"
        def _search(self, queries, k, *, params, filter):
            os.kill(os.getpid(), signal.SIGSEGV)


    class Hang(_Scan):
        name = "hang"
        @classmethod
        def _build(cls, vectors, ids, *, metric, params, seed, threads):
            time.sleep(600)


    class Greedy(_Scan):
        name = "greedy"
        @classmethod
        def _build(cls, vectors, ids, *, metric, params, seed, threads):
            held = []
            while True:
                held.append(np.ones(8 << 20, dtype=np.uint8))
                time.sleep(0.02)


    class Raises(_Scan):
        name = "raises"
        @classmethod
        def _build(cls, vectors, ids, *, metric, params, seed, threads):
            raise RuntimeError("the moon is in the wrong house")


    class Chatty(_Scan):
        name = "chatty"
        def _search(self, queries, k, *, params, filter):
            os.write(1, b"a native library talks on file descriptor one\\n")
            return super()._search(queries, k, params=params, filter=filter)


    class Inventor(_Scan):
        name = "inventor"
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, k, params=params, filter=filter)
            found.ids[:, 0] = 10**7
            return found


    class Repeater(_Scan):
        """Answers the nearest one k times over."""
        name = "repeater"
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, k, params=params, filter=filter)
            return SearchResult(np.repeat(found.ids[:, :1], k, axis=1), np.repeat(found.distances[:, :1], k, axis=1))


    class Liar(_Scan):
        """Says it is exact and leaves out the nearest."""
        name = "liar"
        capabilities = Capabilities(metrics=("l2",), exact=True)
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, k + 1, params=params, filter=filter)
            return SearchResult(found.ids[:, 1:].copy(), found.distances[:, 1:].copy())


    class Blind(_Scan):
        """Finds the farthest."""
        name = "blind"
        def _search(self, queries, k, *, params, filter):
            d = -((queries[:, None, :] - self.vectors[None]) ** 2).sum(axis=2)
            order = np.argsort(d, axis=1, kind="stable")[:, :k]
            return SearchResult(self.ids[order], np.take_along_axis(-d, order, axis=1).astype(np.float32))


    class Nan(_Scan):
        name = "nan"
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, k, params=params, filter=filter)
            return SearchResult(found.ids, np.full_like(found.distances, np.nan))


    class Backwards(_Scan):
        """The more effort, the worse."""
        name = "backwards"
        search_params = (Param("effort", 1, "turns of the wrong screw", low=1, high=9, effort=True),)
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, k + 9, params=params, filter=filter)
            skip = params["effort"]
            return SearchResult(found.ids[:, skip:skip + k].copy(), found.distances[:, skip:skip + k].copy())


    class Spread(_Scan):
        """Takes every core for a call with many queries; with six threads, so that it gets them on a busy machine."""
        name = "spread"
        def _search(self, queries, k, *, params, filter):
            if len(queries) > 1:
                load = bytes(40_000_000)
                others = [threading.Thread(target=lambda: hashlib.sha256(load).digest()) for _ in range(6)]
                for other in others:
                    other.start()
                for other in others:
                    other.join()
            return super()._search(queries, k, params=params, filter=filter)


    class Fickle(_Scan):
        """Another answer every time."""
        name = "fickle"
        def _search(self, queries, k, *, params, filter):
            found = super()._search(queries, 2 * k, params=params, filter=filter)
            pick = np.sort(np.random.default_rng().permutation(2 * k)[:k])
            return SearchResult(found.ids[:, pick].copy(), found.distances[:, pick].copy())
''')  # fmt: skip


@pytest.fixture(scope="session")
def bad_indexes(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH with an installed distribution of misbehaving indexes."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "bad_indexes.py").write_text(BAD_INDEXES)
    info = folder / "bad_indexes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-indexes\nVersion: 1.0\n")
    names = (
        "crash",
        "hang",
        "greedy",
        "raises",
        "chatty",
        "inventor",
        "repeater",
        "liar",
        "blind",
        "nan",
        "backwards",
        "fickle",
        "spread",
    )
    entries = "".join(f"{name} = bad_indexes:{name.capitalize()}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[adamem.indexes]\n{entries}")
    return folder


@pytest.fixture(scope="session")
def start_adamem(cache, bad_indexes):
    """Run the command line in a process of its own: start_adamem("run", ...) -> CompletedProcess."""

    def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-P", "-c", "from adamem.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(bad_indexes), **environment},
        )

    return run
