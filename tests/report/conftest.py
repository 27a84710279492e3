"""A small run measured for real: every report test starts from raw files that the runner itself wrote."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from adamem.bench import Experiment, run_experiment
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
