"""The command line in processes of its own, as a person starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache that only these tests use."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def adamem(cache, tmp_path):
    """`adamem("index", "list", NAME=value)`: run a command in an empty folder."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", "from adamem.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=300,
            env={**os.environ, "ADAMEM_CACHE": str(cache), "COLUMNS": "160", **environment},
        )

    return run


@pytest.fixture
def adamem_here(cache, tmp_path, monkeypatch, capsys):
    """The same in this very process, which saves the second that a start takes: for what is refused, or only told.

    Not for --debug, which a process keeps.
    """
    from adamem.cli import main

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        assert "--debug" not in arguments[:1]
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.chdir(tmp_path)
            patched.setattr(sys, "argv", ["adamem", *map(str, arguments)])
            for name, value in ({"ADAMEM_CACHE": str(cache), "COLUMNS": "160"} | environment).items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, told.out, told.err)

    return run


@pytest.fixture(scope="session")
def clusters(tmp_path_factory) -> Path:
    """A .npy file of 600 x 12 float32 in clusters."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(12, 12)) * 3
    path = tmp_path_factory.mktemp("clusters") / "clusters.npy"
    np.save(path, (centres[random.integers(12, size=600)] + random.normal(size=(600, 12))).astype(np.float32))
    return path
