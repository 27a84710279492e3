"""A suite from the command line: whole, in pieces, interrupted, verified."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w


@pytest.fixture
def config(tmp_path, clusters) -> Path:
    """Two sizes of 600 vectors."""
    tables = {
        "name": "two",
        "title": "Two sizes",
        "study": "suite",
        "targets": [0.8],
        "measure": {"k": [5], "recall_at": [5], "rounds": 1, "build_seeds": 1, "build_threads": 1},
        "dataset": [
            {"key": key, "name": str(clusters), "metric": "l2", "limit": n, "queries": 40}
            for key, n in (("small", 200), ("large", 500))
        ],
        "contestant": [
            {"name": "exact", "index": "exact"},
            {"name": "hnsw", "index": "hnsw", "build": {"M": [4, 8]}, "search": {"ef": [5, 10, 20]}},
        ],
    }
    path = tmp_path / "two.toml"
    path.write_bytes(tomli_w.dumps(tables).encode())
    return path


def test_a_piece_then_the_rest(adamem, config, tmp_path):
    """One data set by --only, the overview names what is missing; then all, and what was measured stays."""
    done = adamem("run", config, "--only", "large")
    assert done.returncode == 0, done.stderr
    assert "Not in here: small (not run yet)." in done.stdout
    assert str(Path("reports", "two", "index.html")) in done.stdout
    assert (tmp_path / "reports" / "two" / "large" / "report.html").is_file()
    assert not (tmp_path / "reports" / "two" / "small").exists()
    again = adamem("run", config)
    assert again.returncode == 0, again.stderr
    assert "4 builds on the calibration queries, 4 already measured" in again.stderr
    assert "Not in here" not in again.stdout
    checked = adamem("verify", "reports/two")
    assert checked.returncode == 0, checked.stdout
    assert "reports/two: every figure follows from the raw files" in checked.stdout
    (tmp_path / "reports" / "two" / "tables" / "speed.csv").write_text("altered\n")
    (tmp_path / "reports" / "two" / "small" / "tables" / "sweep.csv").write_text("altered\n")
    checked = adamem("verify", "reports/two")
    assert checked.returncode == 1
    assert "reports/two: small: tables/sweep.csv" in checked.stdout
    assert "reports/two: tables/speed.csv" in checked.stdout
    assert adamem("report", "reports/two").returncode == 0
    assert adamem("verify", "reports/two").returncode == 0


def test_a_dry_run_tells_each_piece(adamem_here, config, tmp_path):
    """Its size and its cost; nothing is kept."""
    done = adamem_here("run", config, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "--only small\nTwo sizes: small" in done.stdout
    assert "500 vectors of 12 dimensions" in done.stdout
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "larg"), "unknown data set of this suite 'larg'; did you mean 'large'? known: large, small"),
        (("--set", "dataset.small.limt=3"), "dataset['small'].limt is not a key here; did you mean 'limit'?"),
        (("--set", "study=swep"), "unknown study 'swep'"),
        (("--set", "contestant.hnsw.build.M=1"), "dataset['small']: contestant['hnsw'].build.M = 1"),
    ],
)
def test_mistakes_are_sentences(adamem_here, config, arguments, sentence):
    """Before anything is measured, with exit status 2."""
    done = adamem_here("run", config, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_suite_goes_on(config, cache, tmp_path):
    """Ctrl-C in the second data set: the first has its report, and the same command ends what was begun."""
    out = tmp_path / "reports" / "two"
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "run", str(config)]
    environment = {**os.environ, "ADAMEM_CACHE": str(cache)}
    started = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    until = time.monotonic() + 240
    while not list(out.glob("large/raw/sweep/*/block.json")) and time.monotonic() < until:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130, said
    assert "the same command goes on from there" in said
    assert (out / "small" / "report.html").is_file()
    assert not (out / "large" / "report.html").exists()
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("1 blocks on the test queries, 1 already measured") == 1
    assert (out / "index.html").is_file()
