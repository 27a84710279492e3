"""Saved indexes as folders: what two saves at once, or a failure at the very end, leave there."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from adamem import files
from adamem.errors import StorageError
from adamem_indexes._store import Snapshot, save_snapshot


def save(folder, value, **parts):
    save_snapshot(folder, index="some", version=1, meta={"value": value}, parts={"a": np.full(3, value), **parts})


def test_two_saves_into_one_folder_wait_for_each_other(tmp_path):
    """The second begins in the middle of the first, and each would sweep what the other has written."""
    second = threading.Thread(target=save, args=(tmp_path, 2))

    def slow(path):
        second.start()
        second.join(timeout=0.3)
        path.write_bytes(b"late")

    save(tmp_path, 1, b=slow)
    second.join()
    found = Snapshot.read(tmp_path, index="some", version=1)
    assert found.meta == {"value": 2}
    assert found.array("a").tolist() == [2, 2, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_after_the_manifest_is_in_place_keeps_what_it_names(tmp_path, monkeypatch):
    """The last flush of the folder fails: the call says so, and the folder holds the one or the other state whole."""
    save(tmp_path, 1)

    def fails(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "fsync_folder", fails)
    with pytest.raises(StorageError, match="Input/output error"):
        save(tmp_path, 2)
    assert Snapshot.read(tmp_path, index="some", version=1).array("a").tolist() == [2, 2, 2]
