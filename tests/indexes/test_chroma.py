"""What is peculiar to `chroma` (extra of its own); the contract suite asks it the rest. Skipped where it is absent."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from adamem import MemoryEngine
from adamem.errors import MissingExtra
from adamem.index import index_class


@pytest.fixture
def chroma():
    """The class, where its library is installed."""
    try:
        return index_class("chroma")
    except MissingExtra as error:
        pytest.skip(str(error))


@pytest.fixture
def hard():
    """Vectors without clusters, of which a narrow search misses some: (4000, 32), and 100 queries."""
    rng = np.random.default_rng(8)
    return tuple(rng.standard_normal((n, 32)).astype(np.float32) for n in (4000, 100))


def recall(index, queries, vectors, oracle, **params) -> float:
    found = index.search(queries, 10, params=params)
    return oracle.recall("l2", found, queries, vectors, np.arange(len(vectors)), 10)


def test_asking_for_more_results_is_the_effort(chroma, hard, oracle):
    """Recall grows with `ef` as it does with the collection's own `ef_search`, and the larger of the two counts."""
    vectors, queries = hard
    narrow, wide = (
        chroma.build(vectors, np.arange(4000), metric="l2", params={"ef_search": effort}) for effort in (1, 200)
    )
    low, middle, high = (recall(narrow, queries, vectors, oracle, ef=ef) for ef in (10, 40, 200))
    assert low < middle - 0.05
    assert middle < high - 0.02
    assert recall(wide, queries, vectors, oracle, ef=10) == pytest.approx(high, abs=0.02)
    assert recall(wide, queries, vectors, oracle, ef=100) == pytest.approx(high, abs=0.02)


@pytest.mark.filterwarnings("ignore:legacy embedding function config:DeprecationWarning")
def test_a_collection_in_memory_does_not_take_another_effort(chroma, hard):
    """Why `ef` is what it is: Chroma records a changed `ef_search`, and answers as before. Once it does not, use it."""
    vectors, queries = hard
    index = chroma.build(vectors, np.arange(4000), metric="l2", params={"ef_search": 1})
    before = index.search(queries, 10)
    index._native.query.__self__.modify(configuration={"hnsw": {"ef_search": 200}})
    after = index.search(queries, 10)
    assert (before.ids == after.ids).all()


def test_more_rows_than_a_batch_takes_are_all_there(chroma):
    """Chroma refuses batches above its limit: a build of more goes in pieces, each under its own numbers."""
    vectors = np.random.default_rng(9).standard_normal((6000, 4)).astype(np.float32)
    index = chroma.build(vectors, np.arange(6000), metric="l2")
    assert index._native._server.get_max_batch_size() < 6000
    # the collection's own answer: what it does not find, or not truly, the adapter would scan for
    rows, _ = index._ask(vectors[::50], 1, {"ef": 50})
    assert (rows[:, 0] == np.arange(0, 6000, 50)).mean() > 0.97


def test_an_insertion_that_was_broken_off_can_be_made_again(chroma, hard):
    """Rows that a failed call left in the collection are overwritten by the next ones of their numbers."""
    vectors, _ = hard
    index = chroma.build(vectors[:1000], np.arange(1000), metric="l2")
    index._native.put(vectors[2000:2200], 1000)  # as if it had failed right behind
    index.insert(vectors[1000:1200], np.arange(1000, 1200))
    rows, distances = index._ask(vectors[1000:1200], 1, {"ef": 10})  # the collection's own answer, as above
    assert (rows[:, 0] == np.arange(1000, 1200)).all()
    assert (distances == 0).all()


def test_each_index_is_on_its_own(chroma, hard):
    """Two indexes and a client of the user's, with settings of its own, share neither rows nor settings."""
    import chromadb

    vectors, _ = hard
    client = chromadb.EphemeralClient(chromadb.config.Settings(anonymized_telemetry=True, allow_reset=True))
    first = chroma.build(vectors[:50], np.arange(50), metric="l2")
    second = chroma.build(vectors[50:90, :8], np.arange(40), metric="ip")
    assert client.list_collections() == []
    client.reset()
    assert (first.search(vectors[:50], 1).ids[:, 0] == np.arange(50)).all()
    assert len(np.unique(second.search(vectors[:1, :8], 40).ids)) == 40
    client.close()


def test_an_index_that_is_dropped_gives_its_threads_back(chroma, hard):
    """Chroma's runtime and its threads end with the index, and with what `maintain` replaces."""
    vectors, _ = hard
    process = psutil.Process()
    chroma.build(vectors[:50], np.arange(50), metric="l2").search(vectors[:1], 3)
    gc.collect()

    def threads() -> int:
        """Once their number stands still."""
        last = -1
        while last != (last := process.num_threads()):
            time.sleep(0.3)
        return last

    before = threads()
    for _ in range(5):
        index = chroma.build(vectors[:50], np.arange(50), metric="l2")
        index.delete(np.arange(25))
        index.maintain()
    del index
    gc.collect()
    assert threads() <= before


def test_the_first_build_says_how_many_threads_link(chroma):
    """Chroma's pool would take every core: it gets the threads of the build, and the environment is as it was."""
    code = """
import os, sys
import numpy as np, psutil
from adamem.index import index_class
before = dict(os.environ)
vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
index = index_class("chroma").build(vectors, np.arange(300), metric="l2", threads=int(sys.argv[1]))
assert dict(os.environ) == before
print(psutil.Process().num_threads())
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAYON_NUM_THREADS"}
    counts = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, threads], capture_output=True, check=True, env=environment
            ).stdout
        )
        for threads in ("1", "25")
    ]
    assert 20 <= counts[1] - counts[0] <= 28  # its other threads come and go


def test_it_opens_no_connection(chroma):
    """Neither importing nor building nor searching makes a socket of the network's, by Python or past it."""
    code = """
import os, socket
def refuse(*args, **kwargs):
    raise AssertionError(f"a connection was tried: {args}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
import numpy as np
from adamem.index import index_class
vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
index = index_class("chroma").build(vectors, np.arange(300), metric="cosine")
assert (index.search(vectors, 1).ids[:, 0] == np.arange(300)).all()
held = set()
for fd in os.listdir("/proc/self/fd"):
    try:
        held.add(os.readlink(f"/proc/self/fd/{fd}"))
    except FileNotFoundError:  # that of the listing
        pass
for kind in ("tcp", "tcp6", "udp", "udp6"):
    if os.path.exists(f"/proc/self/net/{kind}"):
        for line in open(f"/proc/self/net/{kind}").readlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in held, line
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_settings_lying_about_do_not_lead_it_elsewhere(chroma, monkeypatch, tmp_path):
    """Chroma's environment variables, and a file .env beside the program, make it no client and write nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHROMA_API_IMPL", "chromadb.api.fastapi.FastAPI")
    monkeypatch.setenv("IS_PERSISTENT", "1")
    (tmp_path / ".env").write_text("PERSIST_DIRECTORY=here\nANONYMIZED_TELEMETRY=1\n")
    index = chroma.build(np.eye(4, dtype=np.float32), np.arange(4), metric="l2")
    assert index.search(np.eye(4, dtype=np.float32), 1).ids[:, 0].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_the_memory_engine_works_over_it(chroma, tmp_path):
    """Memories are found, deleted ones are not, and a reopened file builds anew what cannot be saved."""
    rng = np.random.default_rng(10)
    vectors = rng.standard_normal((600, 64)).astype(np.float32)
    with MemoryEngine(tmp_path / "m.db", encoder="hashing:64", index="chroma") as memory:
        added = memory.add_many([f"memory {i}" for i in range(600)], vectors=vectors)
        numbers = [one.id for one in added]
        for i in range(0, 600, 3):
            memory.delete(numbers[i])
    with MemoryEngine(tmp_path / "m.db", encoder="hashing:64", index="chroma") as memory:
        for i in range(60):
            first = memory.search(vector=vectors[i], top_k=1)[0].memory.id
            assert (first == numbers[i]) == (i % 3 != 0)
