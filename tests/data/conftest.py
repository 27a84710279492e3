import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own, and sees no mirror unless it asks for the real one."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ADAMEM_CACHE", str(folder))
    monkeypatch.delenv("ADAMEM_DATA", raising=False)
    return folder


_MIRROR = os.environ.get("ADAMEM_DATA")  # as it was before the fixture above hid it


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """One cache for all tests on real data: converting it again for each would only take time."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture
def real_data(cache, shared_cache, monkeypatch):
    """The mirror of real data sets, where this machine has one."""
    if not _MIRROR or not all(Path(part).is_dir() for part in _MIRROR.split(os.pathsep)):
        pytest.skip("ADAMEM_DATA names no folder with real data")
    monkeypatch.setenv("ADAMEM_DATA", _MIRROR)
    monkeypatch.setenv("ADAMEM_CACHE", str(shared_cache))
    return Path(_MIRROR.split(os.pathsep)[0])
