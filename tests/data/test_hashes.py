import hashlib
import json
import os
import shutil

import numpy as np
import pytest

from adamem.data import hashes, load
from adamem.data.hashes import known_sha256


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once; otherwise a test would have to wait for two seconds."""
    monkeypatch.setattr(hashes, "_SETTLED_NS", -(10**12))


def test_a_file_is_read_once(tmp_path, cache, settled):
    """The second answer comes from the note, which a doctored note shows; the note goes with size and time."""
    file = tmp_path / "a"
    file.write_bytes(b"one")
    assert known_sha256(file) == hashlib.sha256(b"one").hexdigest()
    (note,) = (cache / "hashes").iterdir()
    note.write_text(json.dumps(json.loads(note.read_text()) | {"sha256": "remembered"}))
    assert known_sha256(file) == "remembered"


def test_a_changed_file_is_read_again(tmp_path, settled):
    """Another content of the same length, even with the old time of change put back, is noticed."""
    file = tmp_path / "a"
    file.write_bytes(b"one")
    known_sha256(file)
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known_sha256(file) == hashlib.sha256(b"two").hexdigest()


def test_a_young_file_is_not_remembered(tmp_path, cache):
    """A file that was written a moment ago could change again within one tick of the clock."""
    (tmp_path / "a").write_bytes(b"one")
    known_sha256(tmp_path / "a")
    assert not (cache / "hashes").exists()


def test_what_a_killed_conversion_left_is_swept(tmp_path, cache):
    """A scratch folder of the same data goes once it is a day old; a younger one may be another process's."""
    np.save(tmp_path / "a.npy", np.ones((5, 2)))
    load(tmp_path / "a.npy", metric="l2", queries=1)
    (folder,) = (path for path in (cache / "prepared").iterdir() if (path / "base.npy").stat().st_size == 128 + 40)
    shutil.rmtree(folder)
    old, young = (folder.with_name(f".{folder.name}.{kind}.tmp") for kind in ("old", "young"))
    old.mkdir()
    young.mkdir()
    os.utime(old, (1, 1))
    load(tmp_path / "a.npy", metric="l2", queries=1)
    assert not old.exists()
    assert young.exists()
