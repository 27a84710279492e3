"""A third party's index stands in the command line beside ours."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np


def test_a_third_partys_index_runs_through_compare(tiny_index, tmp_path):
    """Installed apart, named on the command line, measured in workers, in the table."""
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "compare", "--dataset", "data.npy"]
    command += ["--metric", "l2", "--index", "tiny", "--rounds", "1", "--queries", "20", "-k", "5"]
    environment = {**os.environ, "PYTHONPATH": str(tiny_index), "ADAMEM_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tiny" in done.stdout
    assert "report: " in done.stdout
