"""A small run measured for real: every report test starts from raw files that the runner itself wrote."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from adamem.bench import Experiment, RunFolder, run_experiment
from adamem.bench.records import Block, DatasetInfo, Fitness, Point, QueryInfo, Run, Worker
from adamem.bench.truth import encode, truth_of
from adamem.data import exact_neighbours
from adamem.files import content_key
from adamem.report import write


class Quiet:
    """A reporter for a run that nobody watches."""

    def stage(self, what, total):
        pass

    def now(self, what):
        pass

    def advance(self, steps=1.0):
        pass

    def say(self, sentence):
        pass


@pytest.fixture(scope="session")
def quiet():
    """A `Quiet`."""
    return Quiet()


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    """A folder with 1,500 clustered vectors and 60 queries; the cache lies beside it while the session lasts."""
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    for name, count in (("base", 1500), ("queries", 60)):
        points = centres[rng.integers(40, size=count)] + 0.6 * rng.normal(size=(count, 16))
        np.save(folder / f"{name}.npy", points.astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAMEM_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="session")
def measure(toy_data):
    """A function that runs exact search and HNSW on the toy data into a folder, and writes the report."""

    def run(out, *, ef=(10, 20, 60), seeds=2, ef_construction=40, seed=0):
        experiment = Experiment.model_validate(
            {
                "name": "toy",
                "title": "A toy",
                "targets": [0.9, 0.95],
                "dataset": {"name": str(toy_data), "metric": "l2", "queries": 60},
                "measure": {"k": [10], "rounds": 2, "build_seeds": seeds, "query_seconds": 0.5, "seed": seed},
                "contestant": [
                    {"name": "exact", "index": "exact"},
                    {
                        "name": "hnsw",
                        "index": "hnsw",
                        "reference": True,
                        "build": {"M": 4, "ef_construction": ef_construction},
                        "reference_build": {"M": 4, "ef_construction": ef_construction},
                        "search": {"ef": list(ef)},
                    },
                ],
            }
        )
        run_experiment(experiment, out, source="toy.toml", reporter=Quiet())
        write(out)
        return out

    return run


@pytest.fixture(scope="session")
def measured_toy(measure, tmp_path_factory):
    """The toy run with its report; nobody writes into it."""
    return measure(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture
def toy_run(measured_toy, tmp_path):
    """A copy of the toy run, to be damaged at will."""
    return shutil.copytree(measured_toy, tmp_path / "toy")


class Handmade:
    """Raw files of a run whose every recall and time is known beforehand, written through the run's own folder.

    50 test queries over 600 vectors, k = 10. Each contestant is `(index, {effort: (share, seconds)})`: at that effort
    it answers so large a share of the true neighbours and takes so many seconds a query. An effort may be a pair, of
    which the second is another search parameter.
    """

    QUERIES = 50

    def __init__(self, path):
        self.path = path
        rng = np.random.default_rng(7)
        self.base = rng.normal(size=(600, 8)).astype(np.float32)
        self.queries = rng.normal(size=(100, 8)).astype(np.float32)
        self.folder = RunFolder(path)
        self.truths = {}
        for name, rows in (("calibration", np.arange(0, 50)), ("test", np.arange(50, 100))):
            ids, distances = exact_neighbours(self.base, self.queries[rows], 40, metric="l2")
            self.truths[name] = truth_of(rows, ids, distances, base=self.base, queries=self.queries, metric="l2")

    def write(
        self,
        contestants,
        *,
        reference="hnsw",
        seeds=2,
        rounds=3,
        title="A handmade run",
        failed=(),
        qrels=False,
        hardness=True,
        batch=True,
        status="complete",
        notes=(),
        twin_slower=1.02,
        targets=(0.9, 0.95),
        defaults=None,
    ):
        """Write run.json and all that it counts; returns the folder."""
        for name, truth in self.truths.items():
            self.folder.write_arrays(f"truth-{name}.npz", truth.arrays())
        if hardness:
            lid = np.linspace(2.0, 9.0, self.QUERIES)
            self.folder.write_arrays("hardness.npz", {"lid": lid, "relative_contrast": 3.0 - lid / 5})
        if qrels:
            query = np.arange(self.QUERIES)
            document_of_row = np.arange(600)
            relevant = document_of_row[self.truths["test"].ids[:, 2]]  # the third nearest is what was wanted
            self.folder.write_arrays(
                "qrels.npz",
                {
                    "query": query,
                    "document": relevant,
                    "grade": np.ones_like(query),
                    "document_of_row": document_of_row,
                },
            )
        sweep = []
        for number, (name, (index, points)) in enumerate(contestants.items()):
            worker, arrays = self._worker(name, index, "contestant", points, "calibration", 0, 1, number, batch=True)
            sweep.append(self._block("sweep", 0, 1, [worker], [arrays], ()))
        for name, why in failed:
            sweep.append(self._block("sweep", 0, 1, [self._failed(name, why, 0)], [{}], ()))
        blocks = []
        for seed in range(seeds) if contestants else ():
            held = []
            for number, (name, (index, points)) in enumerate(contestants.items()):
                role = "reference" if name == reference else "contestant"
                held.append(self._worker(name, index, role, points, "test", seed, rounds, number, batch=batch))
                if role == "reference":
                    slower = {effort: (share, spent * twin_slower) for effort, (share, spent) in points.items()}
                    held.append(self._worker(name, index, "twin", slower, "test", seed, rounds, number, batch=batch))
            workers, arrays = zip(*held, strict=True)
            blocks.append(self._block("measure", seed, rounds, list(workers), list(arrays), notes))
        names = [(name, index) for name, (index, _) in contestants.items()] + [(name, "hnsw") for name, _ in failed]
        experiment = Experiment.model_validate(
            {
                "name": "handmade",
                "title": title,
                "targets": list(targets),
                "dataset": {"name": "made", "queries": 100},
                "measure": {"k": [10], "rounds": rounds, "build_seeds": seeds},
                "contestant": [{"name": n, "index": i, "reference": n == reference} for n, i in names],
            }
        )
        run = Run(
            format=1,
            metrics_version=1,
            adamem="0.1.0",
            name="handmade",
            title=title,
            study="sweep",
            config={**experiment.resolved(), **({"defaults": defaults} if defaults else {})},
            dataset=DatasetInfo(
                name="made",
                metric="l2",
                n=600,
                dim=8,
                fingerprint="0" * 64,
                provenance={"licence": "CC0", "source": "made for this test"},
                queries=QueryInfo(calibration=50, test=50, distinct=100, split="at random"),
            ),
            machine={"cpu": "one of ours", "cores": 2, "fingerprint": "m"},
            versions={"numpy": "2"},
            started="2025-01-01T00:00:00+00:00",
            finished="2025-01-01T00:01:00+00:00" if status == "complete" else None,
            status=status,
            wall_seconds={"sweep": 1.0, "measure": 2.0},
            sweep=sweep,
            blocks=blocks,
            skipped=[],
        )
        self.folder.write_run(run)
        self.folder.write_manifest(run)
        return self.path

    def _worker(self, name, index, role, points, which, seed, rounds, number, *, batch):
        truth = self.truths[which]
        arrays, recorded = {}, []
        rng = np.random.default_rng([number, seed])
        for p, (effort, (share, spent)) in enumerate(points.items()):
            right = round(share * 10 * self.QUERIES)  # of 500 places; spread over the queries as evenly as may be
            found = truth.ids[:, :10].copy()
            for place in range(10 * self.QUERIES - right):
                found[place % self.QUERIES, 9 - place // self.QUERIES] = truth.ids[place % self.QUERIES, 39]
            # The same wrong id more than once would be a duplicate: empty places instead.
            wrong = found == truth.ids[:, 39:40]
            found[wrong & (np.cumsum(wrong, axis=1) > 1)] = -1
            arrays |= encode(found, truth, base=self.base, queries=self.queries, metric="l2").arrays(f"p{p}_")
            noise = rng.uniform(0.98, 1.02, size=(rounds, self.QUERIES))
            arrays[f"p{p}_one_ns"] = (1e9 * spent * 1.25 * noise).astype(np.uint32)
            if batch:
                arrays[f"p{p}_batch_ns"] = (1e9 * spent * self.QUERIES * noise[:, 0]).astype(np.int64)
            efforts = effort if isinstance(effort, tuple) else () if effort is None else (effort,)
            search = dict(zip(("ef", "k_factor"), efforts, strict=False))
            recorded.append(
                Point(
                    search=search,
                    k=10,
                    origin="grid",
                    distance_error=1e-7,
                    repeatable=True,
                    one_query=True,
                    batch=batch,
                    counters={"distances": 10.0 * (efforts or (60,))[0]},
                )
            )
        worker = Worker(
            contestant=name,
            role=role,
            index=index,
            build={} if index == "exact" else {"M": 16},
            seed=seed,
            status="ok",
            why="",
            build_seconds=0.01 if index == "exact" else 1.0 + 0.1 * seed + number,
            build_threads=2,
            import_seconds=0.02,
            first_query_seconds=1e-3,
            warm_query_seconds=1e-4,
            nbytes={"vectors": 19200} if index == "exact" else {"vectors": 19200, "graph": 9600},
            resident_bytes=40000,
            peak_bytes=80000,
            points=recorded,
        )
        return worker, arrays

    def _failed(self, name, why, seed):
        empty = dict.fromkeys(
            (
                "build_seconds",
                "import_seconds",
                "first_query_seconds",
                "warm_query_seconds",
                "resident_bytes",
                "peak_bytes",
            )
        )
        return Worker(
            contestant=name,
            role="contestant",
            index="hnsw",
            build={"M": 2},
            seed=seed,
            status="failed",
            why=why,
            build_threads=2,
            nbytes={},
            points=[],
            **empty,
        )

    def _block(self, stage, seed, rounds, workers, arrays, notes):
        key = content_key([stage, seed, [worker.contestant for worker in workers]])
        fitness = Fitness(load_before=0.1, steal=0.0, foreign=0.01, notes=list(notes))
        order = [list(range(len(workers)))] * rounds
        block = Block(
            format=1,
            key=key,
            stage=stage,
            cohort=0,
            seed=seed,
            rounds=rounds,
            order=order,
            started="2025-01-01T00:00:00+00:00",
            wall_seconds=1.0,
            machine="m",
            fitness=fitness,
            workers=workers,
            spec={},
        )
        self.folder.write_block(block, arrays)
        return key


THREE = {
    "exact": ("exact", {None: (1.0, 1e-3)}),
    "hnsw": ("hnsw", {10: (0.80, 1e-5), 20: (0.89, 2e-5), 40: (0.91, 3e-5), 80: (0.94, 6e-5), 160: (0.96, 9e-5)}),
    "pq <b>&|*": (
        "faiss_pq",
        {1: (0.70, 8e-6), 2: (0.89, 4e-5), 4: (0.905, 6e-5), 8: (0.945, 1e-4), 16: (0.955, 2e-4)},
    ),
}
"""HNSW ahead of PQ at both targets; PQ's name is one that must be escaped."""


@pytest.fixture(scope="session")
def handmade_at():
    """`handmade_at(path).write(...)`, where more than one is needed."""
    return Handmade


@pytest.fixture
def handmade(tmp_path):
    """A builder of runs with known figures; see `Handmade`."""
    return Handmade(tmp_path / "handmade")


@pytest.fixture(scope="session")
def three(tmp_path_factory):
    """The handmade run of `THREE` with judgements and one failure, its report written; nobody writes into it."""
    path = Handmade(tmp_path_factory.mktemp("three") / "run").write(
        THREE, qrels=True, failed=[("lost", "building it was stopped after 1 s: <script>alert(1)</script>")]
    )
    write(path)
    return path


@pytest.fixture(scope="session")
def contestants():
    """`THREE`."""
    return THREE
