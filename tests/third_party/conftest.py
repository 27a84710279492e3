"""A third party's distribution, built and installed apart from the environment under test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory) -> Path:
    """The folder in which ``tiny-index`` is installed; with it on PYTHONPATH its entry point is found."""
    here = tmp_path_factory.mktemp("third-party")
    # A copy, because a build leaves files beside the sources.
    source = shutil.copytree(Path(__file__).parent / "tiny_index", here / "source")
    target = here / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return target
