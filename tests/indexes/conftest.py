"""What the contract suite shares: every registered index under every metric it declares, data, and a float64 oracle."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from adamem.errors import MissingExtra
from adamem.index import Capabilities, Index, SearchResult, index_class, index_names
from adamem.types import METRICS, Metric

RECALL_FLOOR = 0.9


@dataclass(frozen=True)
class Case:
    """One index under one metric."""

    name: str
    metric: Metric

    @property
    def cls(self) -> type[Index]:
        return index_class(self.name)

    @property
    def capabilities(self) -> Capabilities:
        return self.cls.capabilities

    @property
    def floor(self) -> float:
        return 1.0 if self.capabilities.exact else RECALL_FLOOR

    def build(self, vectors, ids, **kwargs) -> Index:
        return self.cls.build(vectors, ids, metric=self.metric, **kwargs)


@dataclass(frozen=True)
class Data:
    """Vectors with ids, and queries."""

    vectors: np.ndarray
    ids: np.ndarray
    queries: np.ndarray


class Oracle:
    """The truth in float64, by a formula of its own."""

    @staticmethod
    def distances(metric: str, queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        q, x = queries.astype(np.float64), vectors.astype(np.float64)
        if metric == "l2":
            return np.stack([((x - row) ** 2).sum(axis=1) for row in q])
        if metric == "ip":
            return -(q @ x.T)
        return 1.0 - (q / np.linalg.norm(q, axis=1)[:, None]) @ (x / np.linalg.norm(x, axis=1)[:, None]).T

    @staticmethod
    def tolerance(metric: str, queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """What float32 may get wrong of a distance: 1e-6 of |q|^2 + |x|^2, both 1 under cosine."""
        if metric == "cosine":
            return np.full((len(queries), len(vectors)), 2e-6)
        q, x = queries.astype(np.float64), vectors.astype(np.float64)
        return 1e-6 * ((q**2).sum(axis=1)[:, None] + (x**2).sum(axis=1)[None, :])

    @classmethod
    def recall(cls, metric: str, found: SearchResult, queries, vectors, ids, k: int) -> float:
        """Mean share of the k nearest that were found, ties credited, repeats counted once."""
        distances = cls.distances(metric, queries, vectors)
        tolerance = cls.tolerance(metric, queries, vectors)
        k = min(k, len(ids))
        order = np.argsort(ids)
        shares = []
        for i in range(len(queries)):
            kth = np.sort(distances[i])[k - 1]
            answer = np.unique(found.ids[i, :k][found.ids[i, :k] >= 0])
            rows = order[np.searchsorted(ids[order], answer)]
            assert (ids[rows] == answer).all(), "an id that is not in the index was returned"
            shares.append(min(k, int((distances[i, rows] <= kth + tolerance[i, rows]).sum())) / k)
        return float(np.mean(shares))

    @classmethod
    def assert_valid(cls, case: Case, found: SearchResult, queries, vectors, ids) -> None:
        """Shapes, order, padding, no repeats, only known ids, and distances that are the true ones."""
        assert found.ids.dtype == np.int64
        assert found.distances.dtype == np.float32
        assert found.ids.shape == found.distances.shape
        k = found.ids.shape[1]
        distances = cls.distances(case.metric, queries, vectors)
        tolerance = cls.tolerance(case.metric, queries, vectors)
        row_of = {int(label): row for row, label in enumerate(ids)}
        for i in range(len(queries)):
            count = int((found.ids[i] >= 0).sum())
            assert count == min(k, len(ids))
            assert (found.ids[i, count:] == -1).all()
            assert np.isposinf(found.distances[i, count:]).all()
            answer = list(zip(found.distances[i, :count].tolist(), found.ids[i, :count].tolist(), strict=True))
            assert answer == sorted(answer), "rows must be ordered by (distance, id)"
            assert len({label for _, label in answer}) == count, "an id was returned twice"
            rows = [row_of[label] for _, label in answer]
            if case.capabilities.exact_distances:
                gap = np.abs(found.distances[i, :count] - distances[i, rows])
                assert (gap <= 2 * tolerance[i, rows] + 1e-5 * np.abs(distances[i, rows])).all()


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle


@cache
def missing(name: str) -> str:
    """What the registered index `name` lacks here, "" where its library is installed."""
    try:
        index_class(name)
    except MissingExtra as error:
        return str(error)
    return ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`case` runs over every registered index x metric, `index_name` over every index; skipped is one not installed."""
    if "case" in metafunc.fixturenames:
        names = [name for name in index_names() if not missing(name)]
        cases = [Case(name, metric) for name in names for metric in index_class(name).capabilities.metrics]
        metafunc.parametrize("case", cases, ids=[f"{case.name}-{case.metric}" for case in cases], scope="session")
    if "index_name" in metafunc.fixturenames:
        marks = {name: [pytest.mark.skip(reason=missing(name))] if missing(name) else [] for name in index_names()}
        metafunc.parametrize("index_name", [pytest.param(name, marks=marks[name]) for name in marks])


@cache
def clustered(n: int = 2000, dim: int = 24, queries: int = 60, seed: int = 1) -> Data:
    """Twenty Gaussian clusters whose vectors' lengths vary by a factor of several; ids are far apart and unsorted."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    points = centres[rng.integers(0, 20, n + queries)] + 0.4 * rng.standard_normal((n + queries, dim))
    points *= np.exp(0.3 * rng.standard_normal((n + queries, 1)))
    ids = rng.permutation(n).astype(np.int64) * 1_000_003 + 17
    points = points.astype(np.float32)
    data = Data(points[:n].copy(), ids, points[n:].copy())
    for array in (data.vectors, data.ids, data.queries):
        array.flags.writeable = False
    return data


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Data]:
    return clustered


@pytest.fixture(scope="session")
def data() -> Data:
    return clustered()


@pytest.fixture(scope="session")
def built(data) -> Callable[[Case], Index]:
    """The case's index over `data` with default parameters, built once: for tests that only read."""
    return cache(lambda case: case.build(data.vectors, data.ids))


@pytest.fixture(scope="session")
def sift() -> Data:
    """3,000 real SIFT descriptors and 60 held-out ones."""
    for folder in os.environ.get("ADAMEM_DATA", "").split(os.pathsep):
        path = Path(folder) / "ngt-sift5k" / "sift-dataset-5k.tsv"
        if folder and path.is_file():
            table = np.loadtxt(path, max_rows=3060)[:, :128].astype(np.float32)
            return Data(table[60:].copy(), np.arange(3000, dtype=np.int64), table[:60].copy())
    pytest.skip("ngt-sift5k is in no folder of ADAMEM_DATA")


@pytest.fixture(scope="session")
def all_metrics() -> tuple[Metric, ...]:
    return METRICS


@pytest.fixture(scope="session")
def medquad() -> tuple[np.ndarray, np.ndarray]:
    """52,176 real sentence embeddings, and questions."""
    for folder in os.environ.get("ADAMEM_DATA", "").split(os.pathsep):
        here = Path(folder) / "minilm-medquad384"
        if folder and here.is_dir():
            base, queries = (np.load(here / f"{name}.npy").astype(np.float32) for name in ("base", "query"))
            return base, queries
    pytest.skip("minilm-medquad384 is in no folder of ADAMEM_DATA")


@pytest.fixture(scope="session")
def passages(medquad) -> tuple[np.ndarray, np.ndarray]:
    """30,000 of them, and 4,000 questions."""
    base, queries = medquad
    rows = np.random.default_rng(0).permutation(len(base))[:30_000]
    return np.ascontiguousarray(base[rows]), queries[:4_000]
