"""What was acknowledged is on the disk: shown by the system calls, and by killing whoever writes."""

from __future__ import annotations

import platform
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adamem.memory import MemoryEngine

ADDS = """
import os, sys
import numpy as np
from adamem.memory import MemoryEngine
engine = MemoryEngine(sys.argv[1])
vector = np.ones(64)
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
for turn in range(5):
    os.write(out, b"asked")
    if turn % 2:
        engine.add(f"memory {turn}", vector=vector)
    else:
        engine.add_many([f"memory {turn} {i}" for i in range(50)], vectors=np.tile(vector, (50, 1)))
    os.write(out, b"answered")
engine.close()
"""

WRITES = """
import sys
import numpy as np
from adamem.memory import MemoryEngine, NewMemory
path, seed = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(seed)
with MemoryEngine(path, tail=600) as engine:
    while True:
        count = int(random.choice([1, 3, 40, 300]))
        run = int(random.integers(1 << 60))
        vectors = random.normal(size=(count, 64))
        print("asked", run, count, flush=True)
        if count == 1:
            added = [engine.add(f"{run} 0", vector=vectors[0], slot="last")]
        else:
            added = engine.add_many([f"{run} {i}" for i in range(count)], vectors=vectors)
        print("added", run, count, added[0].id, flush=True)
        if random.random() < 0.3:
            victim = added[-1].id
            print("deleting", victim, flush=True)
            engine.delete(victim)
            print("deleted", victim, flush=True)
"""

CARES = """
import sys
import numpy as np
from adamem.memory import MemoryEngine
path, package, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
random = np.random.default_rng(seed)
with MemoryEngine(path) as engine:
    while True:
        verb = str(random.choice(["add_many", "defrag", "reembed", "snapshot", "import", "purge", "delete_namespace"]))
        mark = int(random.integers(1 << 60))
        print("asked", verb, mark, flush=True)
        said = 0
        if verb == "add_many":
            said = engine.add_many([f"{mark} {i % 40}" for i in range(50)], namespace=f"n{mark % 3}")[-1].id
        elif verb == "defrag":
            engine.defrag()
        elif verb == "reembed":
            engine.reembed("hashing:32" if engine.stats().dim == 64 else "hashing:64", keep=mark % 2 == 0)
        elif verb == "snapshot":
            for old in engine.versions()[2:]:
                engine.remove_version(old.name)
            engine.snapshot(f"v{mark}")
        elif verb == "import":
            engine.import_package(package, namespace=f"p{mark}")
        elif verb == "purge":
            some = [one.id for one in engine.get_all(namespace="n0")][:1]
            if some:
                print("purging", some[0], flush=True)
                engine.purge(some[0])
        else:
            for one in engine.namespaces():
                if one.name.startswith("p") and one.memories:
                    engine.delete_namespace(one.name)
                    break
        print("done", verb, mark, said, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A memory file whose encoder is known, so that what adds to it brings vectors and needs none."""
    where = tmp_path / "memory.db"
    with MemoryEngine(where, encoder="hashing:64") as engine:
        engine.add("the first")
    return where


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are traced on Linux with x86-64 only")
def test_a_flush_lies_between_the_last_write_and_the_return(path: Path, tmp_path: Path):
    """Of the log, in each call: what comes back as added has been given to the disk."""
    done = tmp_path / "done"
    traced = Path(__file__).with_name("traced.py")
    run = subprocess.run(
        [sys.executable, traced, ADDS, path, done], capture_output=True, text=True, check=True, timeout=300
    )
    calls = [tuple(line.split(" ", 1)) for line in run.stdout.splitlines()]
    log = f"{path}-wal"
    marks = [place for place, call in enumerate(calls) if call == ("write", str(done))]
    assert len(marks) == 10
    for asked, answered in zip(marks[::2], marks[1::2], strict=True):
        between = calls[asked + 1 : answered]
        writes = [place for place, (name, file) in enumerate(between) if file == log and "write" in name]
        flushes = [place for place, (name, file) in enumerate(between) if file == log and "sync" in name]
        assert writes
        assert flushes
        assert flushes[-1] > writes[-1]


def _kill(path: Path, seed: int) -> None:
    """Let a program write, kill it at a random moment, and see what is there."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(path), str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline()]
    time.sleep(random.Random(seed).uniform(0.0, 0.6))
    writer.send_signal(signal.SIGKILL)
    rest, said = writer.communicate()
    assert writer.returncode == -signal.SIGKILL, said
    lines += rest.splitlines()
    asked: dict[int, int] = {}
    added: dict[int, int] = {}
    deleting: set[int] = set()
    deleted: set[int] = set()
    for line in lines:
        word, *numbers = line.split()
        if word == "asked" and len(numbers) == 2:
            asked[int(numbers[0])] = int(numbers[1])
        elif word == "added" and len(numbers) == 3:
            added[int(numbers[0])] = int(numbers[2])
        elif word == "deleting" and len(numbers) == 1:
            deleting.add(int(numbers[0]))
        elif word == "deleted" and len(numbers) == 1:
            deleted.add(int(numbers[0]))
    with MemoryEngine(path) as engine:
        found: dict[int, list[int]] = {}
        facts = set()
        connection = sqlite3.connect(path)  # what is in the file, whatever the engine makes of it
        rows = connection.execute("SELECT id, text, slot, deleted, valid_to FROM memories ORDER BY id").fetchall()
        connection.close()
        for number, text, slot, hidden_since, _ in rows:
            if text != "the first":
                run, place = text.split()
                found.setdefault(int(run), []).append(int(place))
                if number in deleted:
                    assert hidden_since is not None
                elif number not in deleting and int(run) in asked:
                    assert hidden_since is None
            if slot == "last" and hidden_since is None:
                facts.add(number)
        for run, count in asked.items():
            if run in added:
                assert found.get(run) == list(range(count)), "what was acknowledged is there"
            else:
                assert found.get(run, []) in ([], list(range(count))), "nothing is half there"
        # Index and store agree: what holds is found by its own vector, and nothing else is.
        holding = {number for number, _, _, hidden_since, ended in rows if hidden_since is None and ended is None}
        assert {memory.id for memory in engine.get_all()} == holding
        for vector in np.random.default_rng(seed).normal(size=(3, 64)):
            assert {hit.memory.id for hit in engine.search(vector=vector, top_k=100_000)} == holding
        assert {one.id for one in engine.history("last")} == facts
        assert sum(one.valid_to is None for one in engine.history("last")) <= 1


def _kill_in_care(path: Path, package: Path, seed: int) -> None:
    """Let a program keep a file in order, kill it at a random moment, and see what is there."""
    worker = subprocess.Popen(
        [sys.executable, "-c", CARES, str(path), str(package), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    lines = [worker.stdout.readline()]
    time.sleep(random.Random(seed).uniform(0.0, 1.0))
    worker.send_signal(signal.SIGKILL)
    rest, said = worker.communicate()
    assert worker.returncode == -signal.SIGKILL, said
    asked, done, purged = set(), {}, set()
    for words in (line.split() for line in [*lines, *rest.splitlines()]):
        if len(words) == 3 and words[0] == "asked":
            asked.add((words[1], int(words[2])))
        elif len(words) == 4 and words[0] == "done":
            done[words[1], int(words[2])] = int(words[3])
        elif len(words) == 2 and words[0] == "purging":
            purged.add(int(words[1]))
    with MemoryEngine(path) as engine:
        spaces = [one.name for one in engine.namespaces()]
        said_by: dict[int, set[int]] = {}
        for space in spaces:
            there = {one.id for one in engine.get_all(namespace=space)}
            for one in engine.get_all(namespace=space):
                if space.startswith("n"):
                    said_by.setdefault(int(one.text.split()[0]), set()).add(int(one.text.split()[1]))
            # Index and store agree, by whichever encoder it is now.
            assert {hit.memory.id for hit in engine.search("anything", namespace=space, top_k=100_000)} == there
            if space.startswith("p"):
                assert len(there) in (0, 300), "a package is there whole, or not at all"
        for verb, mark in asked:
            if verb == "add_many" and (verb, mark) in done:
                last = done[verb, mark]
                gone = {one for one in range(last - 49, last + 1) if one in purged}
                for one in set(range(last - 49, last + 1)) - gone:
                    try:
                        assert engine.get(one).text.split()[0] == str(mark), "what was acknowledged is there"
                    except LookupError:
                        # Its twin, to which its id led, was purged: one of the same text.
                        assert {other for other in purged if (other - last + 49) % 40 == (one - last + 49) % 40}
            elif verb == "add_many":
                assert said_by.get(mark, set()) in (set(), set(range(40))), "nothing is half there"
        names = {version.name for version in engine.versions()}
        folder = path.with_name("memory.db.versions")
        assert {home.name for home in folder.glob("v*")} <= names | {home.name for home in folder.glob("*.tmp*")}
    connection = sqlite3.connect(path)
    (missing,) = connection.execute(
        "SELECT count(*) FROM memories WHERE id NOT IN "
        "(SELECT memory FROM vectors v JOIN state s ON s.encoder = v.encoder)"
    ).fetchone()
    (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert (missing, sound) == (0, "ok")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """300 memories to take in."""
    where = tmp_path / "package.zip"
    with MemoryEngine(tmp_path / "source.db", encoder="hashing:64") as engine:
        engine.add_many([f"packed {i}" for i in range(300)])
        engine.export_package(where)
    return where


def test_kills_while_a_file_is_kept_in_order_leave_nothing_half_done(path: Path, package: Path):
    """10 of them: while defragmenting, embedding anew, taking versions, importing, purging."""
    for seed in range(10):
        _kill_in_care(path, package, seed)


@pytest.mark.soak
def test_many_kills_while_a_file_is_kept_in_order(path: Path, package: Path):
    """100 of them."""
    for seed in range(1_000, 1_100):
        _kill_in_care(path, package, seed)


def test_kills_lose_nothing_that_was_acknowledged(path: Path):
    """20 of them, one after the other on one file, which grows an index meanwhile."""
    for seed in range(20):
        _kill(path, seed)


@pytest.mark.soak
def test_many_kills_lose_nothing_that_was_acknowledged(path: Path):
    """200 of them; where the file has grown large, a new one is begun."""
    for seed in range(100, 300):
        if seed % 40 == 0:
            for file in path.parent.glob("memory.db*"):
                if file.is_file():
                    file.unlink()
            with MemoryEngine(path, encoder="hashing:64") as engine:
                engine.add("the first")
        _kill(path, seed)
