"""The harness itself stays small beside the vectors that it measures."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tomli_w

_COORDINATOR = """
import sys
from pathlib import Path
from adamem.bench import Experiment, read, run_experiment, validate
from adamem.cli.terminal import TerminalReporter
import adamem.report.diff, adamem.bench.kernels, sklearn

def peak(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1]) * 1024

before = peak("VmRSS")
with TerminalReporter() as reporter:
    experiment = validate(Experiment, read(Path(sys.argv[1])), source="big.toml")
    run_experiment(experiment, Path(sys.argv[2]), source="big.toml", reporter=reporter)
print(peak("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_coordinator_stays_below_one_and_a_half_times_the_vectors(tmp_path):
    """At Fashion-MNIST's size. What loads, finds the truth and scores; mapped pages count as its own."""
    vectors = np.random.default_rng(0).normal(size=(60_000, 784)).astype(np.float32)
    np.save(tmp_path / "base.npy", vectors)
    np.save(tmp_path / "queries.npy", vectors[:200] + np.float32(0.1))
    tables = {
        "name": "big",
        "title": "Big",
        "dataset": {"name": str(tmp_path), "metric": "l2", "queries": 200},
        "measure": {"k": [10], "recall_at": [10], "rounds": 1, "build_seeds": 1, "query_seconds": 0.5},
        "contestant": [{"name": "exact", "index": "exact"}],
    }
    config = tmp_path / "big.toml"
    config.write_text(tomli_w.dumps(tables))
    done = subprocess.run(
        [sys.executable, "-P", "-c", _COORDINATOR, str(config), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "ADAMEM_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 1.5 * vectors.nbytes
