"""What lies on the disk: one writer, many readers, files that are foreign, damaged, derived, or on a full disk."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from adamem.errors import CorruptResult, DataError, StorageError
from adamem.memory import MemoryEngine, schema

SECOND = """
import sys
from adamem.errors import UserError
from adamem.memory import MemoryEngine
try:
    with MemoryEngine(sys.argv[1], encoder="hashing:64", wait=float(sys.argv[2])) as engine:
        print(engine.add("from the second").id)
except UserError as error:
    print(type(error).__name__, error)
"""


def second_writer(path: Path, wait: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SECOND, str(path), str(wait)], stdout=subprocess.PIPE, text=True)


def test_a_second_writer_is_refused_or_waits(opened, tmp_path):
    """In another process as in the same one, as it was asked; when the first has closed, it goes on."""
    path = tmp_path / "memory.db"
    engine = opened(path)
    engine.add("from the first")
    with pytest.raises(StorageError, match=r"is being written by another engine; .* readonly=True, .* wait=10"):
        MemoryEngine(path, encoder="hashing:64")
    refused = second_writer(path)
    assert refused.communicate(timeout=120)[0].startswith(f"StorageError {path} is being written by another engine")
    waits = second_writer(path, wait=120)
    engine.add("the first goes on")
    engine.close()
    assert waits.communicate(timeout=120)[0] == "3\n"


def test_readers_see_what_another_process_writes(opened, tmp_path):
    """At once, and also what it deletes; they cannot write."""
    path = tmp_path / "memory.db"
    with opened(path) as engine:
        engine.add("the first memory")
        reader = opened(path, readonly=True)
        assert [hit.memory.id for hit in reader.search("memory")] == [1]
        engine.add("the second memory")
        assert sorted(hit.memory.id for hit in reader.search("memory")) == [1, 2]
        engine.delete(1)
        assert [hit.memory.id for hit in reader.search("memory")] == [2]
    assert second_writer(path).communicate(timeout=120)[0] == "3\n"
    assert sorted(hit.memory.id for hit in reader.search("memory from the second")) == [2, 3]
    for verb in (lambda: reader.add("x"), lambda: reader.delete(2)):
        with pytest.raises(StorageError, match="was opened for reading; open it without readonly=True"):
            verb()


def test_a_reader_needs_a_file(tmp_path):
    """And makes none."""
    with pytest.raises(StorageError, match="there is no memory file"):
        MemoryEngine(tmp_path / "none.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_refused_and_left_alone(tmp_path):
    """A text, another program's database, a folder, a newer version."""
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, " * 100)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE cats (name)")
    newer = tmp_path / "newer.db"
    MemoryEngine(newer, encoder="hashing:64").close()
    with sqlite3.connect(newer) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = {path: path.read_bytes() for path in (text, other, newer)}
    with pytest.raises(CorruptResult, match="is not a whole memory file"):
        MemoryEngine(text)
    with pytest.raises(DataError, match="is an SQLite database, but none of AdaMem's memories"):
        MemoryEngine(other)
    with pytest.raises(DataError, match=r"was written by a newer AdaMem .* upgrade"):
        MemoryEngine(newer)
    with pytest.raises(StorageError, match=r"is no file|cannot"):
        MemoryEngine(tmp_path)
    with pytest.raises(StorageError, match="choose a folder that exists"):
        MemoryEngine(tmp_path / "nowhere" / "memory.db")
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_database_is_told_and_left_alone(opened, tmp_path):
    """Pages overwritten in the middle: the error is a sentence, and no byte of the file is changed."""
    path = tmp_path / "memory.db"
    with opened(path) as engine:
        engine.add_many([f"memory number {i} " + "words " * 50 for i in range(400)])
    whole = bytearray(path.read_bytes())
    whole[4096:-4096] = b"\xa5" * (len(whole) - 8192)
    path.write_bytes(whole)
    with (
        pytest.raises(CorruptResult, match=r"is not a whole memory file .* it was left as it is"),
        opened(path) as engine,
    ):
        engine.search("memory")
    assert path.read_bytes() == bytes(whole)


def test_an_index_is_saved_and_used_again(opened, tmp_path, unit, caplog):
    """The second opening builds none; searches answer alike."""
    path, vectors = tmp_path / "memory.db", unit(3_000)
    with opened(path) as engine:
        engine.add_many([f"m{i}" for i in range(3_000)], vectors=vectors)
        engine.flush()
        before = [hit.memory.id for hit in engine.search(vector=vectors[5], top_k=20)]
    (said,) = (tmp_path / "memory.db.index").glob("*/current.json")
    (folder,) = [one for one in said.parent.iterdir() if one.is_dir()]
    stamp = folder.stat().st_mtime_ns
    with opened(path) as engine:
        assert [hit.memory.id for hit in engine.search(vector=vectors[5], top_k=20)] == before
    assert folder.stat().st_mtime_ns == stamp
    assert not caplog.records


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "no index", "no json", "wrong ids", "foreign json", "wrong write"]
)
@pytest.mark.parametrize("index", ["spiral", "hnsw"])
def test_a_damaged_index_is_built_again_with_a_warning(opened, tmp_path, unit, caplog, damage, index):
    """Whatever happened to it, the memories are in the database."""
    path, vectors = tmp_path / "memory.db", unit(2_500)
    with opened(path, index=index) as engine:
        engine.add_many([f"m{i}" for i in range(2_500)], vectors=vectors)
        engine.flush()
    (said,) = (tmp_path / "memory.db.index").glob("*/current.json")
    (folder,) = [one for one in said.parent.iterdir() if one.is_dir()]
    largest = max((one for one in folder.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    if damage == "cut":
        os.truncate(largest, largest.stat().st_size // 2)
    elif damage == "flipped":
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 0x10
        largest.write_bytes(content)
    elif damage == "no index":
        shutil.rmtree(folder)
    elif damage == "no json":
        said.write_text("{")
    elif damage == "wrong ids":
        np.save(folder / "ids.npy", np.arange(2_500))
    elif damage == "wrong write":
        said.write_text(said.read_text().replace('"covered": ', '"covered": 1'))
    else:
        said.write_text(json.dumps({"format": 2, "folder": "../../..", "index": "spiral"}))
    with caplog.at_level(logging.WARNING), opened(path, index=index) as engine:
        assert engine.search(vector=vectors[9], top_k=1)[0].memory.id == 10
        engine.flush()
    assert "cannot be used and is built again from the memories" in caplog.text
    caplog.clear()
    with opened(path, index=index) as engine:
        assert engine.search(vector=vectors[9], top_k=1)[0].memory.id == 10
    assert not caplog.records


def test_the_index_of_another_past_is_not_used(opened, tmp_path, unit):
    """An older copy of the database brought back, and gone on with: the saved index knows memories that never were."""
    path, copy, vectors = tmp_path / "memory.db", tmp_path / "copy.db", unit(6_000)
    with opened(path) as engine:
        engine.add_many([f"m{i}" for i in range(2_500)], vectors=vectors[:2_500])
        engine.flush()
    shutil.copy(path, copy)
    with opened(path) as engine:
        engine.add_many([f"lost {i}" for i in range(3_000)], vectors=unit(3_000, seed=7))
        engine.flush()
    shutil.copy(copy, path)
    with opened(path) as engine:
        assert engine.search(vector=unit(3_000, seed=7)[0], top_k=1)[0].memory.id <= 2_500
        for i in range(1_200):
            engine.add_many([f"other {i}"], vectors=vectors[4_000 + i : 4_001 + i])
        engine.flush()
    with opened(path) as engine:
        for i in range(0, 1_200, 60):
            (hit,) = engine.search(vector=vectors[4_000 + i], top_k=1)
            assert hit.memory.text == f"other {i}"


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from adamem.errors import StorageError
from adamem.memory import MemoryEngine
with MemoryEngine(":memory:", encoder="hashing:64") as engine:  # what is imported late is imported now
    engine.add_many([f"memory {n}" for n in range(2_100)])
    engine.flush()
    engine.search("memory 3", mode="hybrid")
folder = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with MemoryEngine(folder / "memory.db", encoder="hashing:64", readonly=True) as engine:
    for mode in ("vector", "lexical", "hybrid"):
        print(engine.search("memory 7", top_k=1, mode=mode)[0].memory.text)
for name in ("memory.db", "new.db"):
    try:
        MemoryEngine(folder / name, encoder="hashing:64")
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed otherwise there")
def test_a_file_in_a_folder_that_is_closed_is_read_and_not_written(opened):
    """Whoever may not write there reads, with and without an index; writing is refused with the way out."""
    folder = Path(tempfile.mkdtemp(prefix="adamem-closed-"))  # not below tmp_path, which is closed to others
    try:
        with opened(folder / "memory.db") as engine:
            engine.add_many([f"memory {n}" for n in range(2_100)])
            engine.flush()
        before = sorted(path.name for path in folder.rglob("*"))
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, folder], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[:3] == ["memory 7"] * 3
        assert all("choose a folder that exists and that you may write to" in line for line in lines[3:])
        assert len(lines) == 5
        assert sorted(path.name for path in folder.rglob("*")) == before
    finally:
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            path.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"x", b"hi\n", b"SQLite format 3\0"])
def test_a_small_file_of_something_else_is_not_written_over(opened, tmp_path, content):
    """SQLite itself takes less than a page for nothing."""
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(DataError, match="notes"):
        opened(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_bytes() == content


FULL_AT_THE_END = """
import resource, signal, sys
from adamem.memory import MemoryEngine
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
engine = MemoryEngine(sys.argv[1], encoder="hashing:64")
engine.add("a memory")
for _ in range(3):
    engine.search("a memory", mode="hybrid")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
engine.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
with MemoryEngine(sys.argv[1], encoder="hashing:64") as engine:
    print(engine.search("a memory")[0].memory.text)
"""


def test_a_disk_that_is_full_at_the_end_keeps_nothing_from_being_closed(tmp_path):
    """Counts of what was found are lost, which were promised to nobody; all is closed, and the lock is free."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_AT_THE_END, tmp_path / "memory.db"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a memory\n"
    assert "is not written" in done.stderr


FULL = """
import resource, signal, sys
from adamem.errors import StorageError
from adamem.memory import MemoryEngine
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, what = sys.argv[1:]
with MemoryEngine(path + "/memory.db", encoder="hashing:64") as engine:
    numbers = [one.id for one in engine.add_many([f"memory {n} " + "word " * 40 for n in range(500)])]
    engine.add("memory 3 " + "word " * 40)
    engine.export_package(path + "/good.zip")
    verbs = {
        "snapshot": lambda: engine.snapshot("late"),
        "export": lambda: engine.export_package(path + "/late.zip"),
        "import": lambda: engine.import_package(path + "/good.zip", namespace="late"),
        "reembed": lambda: engine.reembed("hashing:512"),
        "defrag": lambda: engine.defrag(),
        "purge": lambda: engine.purge(numbers[7]),
        "copy": lambda: engine.copy_namespace("global", "late"),
        "delete": lambda: engine.delete_namespace("global"),
    }
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        verbs[what]()
        print("done")
    except StorageError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    found = engine.search("memory 9 " + "word " * 40, top_k=1)[0]
    print(engine.count(), found.memory.text[:9])
    verbs[what]()
with MemoryEngine(path + "/memory.db") as engine:
    print(engine.stats().memories)
"""


@pytest.mark.parametrize("what", ["snapshot", "export", "import", "reembed", "defrag", "purge", "copy", "delete"])
def test_a_disk_that_is_full_costs_no_verb_more_than_itself(tmp_path, what):
    """A sentence, all that was there is there, and when there is room again it is done."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path, what], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said, there, late = done.stdout.splitlines()
    assert "cannot" in said
    assert there.strip() == "501 memory 9"
    wanted = {"import": 1002, "copy": 1002, "defrag": 500, "purge": 500, "delete": 0}
    assert int(late) == wanted.get(what, 501)
    assert not list(tmp_path.glob("*.tmp"))


FILL_UP = """
import resource, signal, sys
from adamem.errors import StorageError
from adamem.memory import MemoryEngine
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with MemoryEngine(sys.argv[1], encoder="hashing:64") as engine:
    kept = 0
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        while True:
            engine.add(f"memory {kept} " + "word " * 2_000)
            kept += 1
    except StorageError as error:
        print(kept, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


def test_where_nothing_more_can_be_written_what_was_kept_stays(opened, tmp_path):
    """The add that does not fit raises a sentence; every one before it is there."""
    path = tmp_path / "memory.db"
    done = subprocess.run(
        [sys.executable, "-c", FILL_UP, path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    count, _, said = done.stdout.partition(" ")
    kept = int(count)
    assert kept > 3
    assert str(path) in said
    engine = opened(path)
    assert engine.count() == kept
    assert engine.search(f"memory {kept - 1}")
    engine.add("there is room again")
