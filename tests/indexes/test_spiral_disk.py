"""SpiralGraph on disk: maps of a saved folder, and what happens to that folder meanwhile."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pytest

from adamem.errors import StorageError
from adamem.index import IdFilter, index_class
from adamem_indexes.spiral import _kernels as kernels

SPIRAL = index_class("spiral")


def vectors_of(n, dim=40, *, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(20, dim))
    return (centres[random.integers(20, size=n)] + 0.3 * random.normal(size=(n, dim))).astype(np.float32)


def build(rows, ids=None, *, metric="l2", **params):
    ids = np.arange(len(rows)) if ids is None else ids
    return SPIRAL.build(rows, ids, metric=metric, params={"scan_below": 0, **params})


def assert_same_answers(one, other, queries, **search):
    for k in (1, 10):
        found, expected = one.search(queries, k, **search), other.search(queries, k, **search)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def vectors():
    return vectors_of(3_000)


@pytest.fixture
def saved(vectors, tmp_path):
    """An index with twins and tombstones, and the folder it was saved in."""
    index = build(np.concatenate([vectors, vectors[:50]]), metric="cosine")
    index.delete(np.arange(100, 200))
    index.save(tmp_path / "saved")
    return index, tmp_path / "saved"


def test_a_mapped_index_answers_as_the_saved_one(saved, vectors):
    """Bit by bit, filters and all, through the kernels that are compiled already; its rows begin at cache lines."""
    index, folder = saved
    before = len(kernels.search.signatures), len(kernels.scan.signatures), len(kernels.link.signatures)
    mapped = SPIRAL.load(folder, mmap=True)
    assert type(mapped._body.rows.vectors) is np.ndarray
    assert mapped._body.rows.codes.ctypes.data % 64 == 0
    for some in (None, IdFilter(np.arange(0, 3_000, 2)), IdFilter(np.arange(20))):
        assert_same_answers(mapped, index, vectors[::30], filter=some)
    assert (len(kernels.search.signatures), len(kernels.scan.signatures), len(kernels.link.signatures)) == before


def test_a_mapped_index_takes_updates_and_leaves_its_files_alone(saved, vectors):
    """Inserted, deleted, replaced, maintained: as an index read into memory; not one byte of the folder changes."""
    _, folder = saved
    before = contents(folder)
    mapped, read = SPIRAL.load(folder, mmap=True), SPIRAL.load(folder)
    fresh = vectors_of(900, seed=1)
    for index in (mapped, read):
        index.delete(np.arange(300, 320))
        index.insert(fresh[:700], np.arange(10_000, 10_700))
        index.replace(fresh[700:], np.arange(1_000, 1_200))
    assert_same_answers(mapped, read, fresh[::20])
    for index in (mapped, read):
        index.delete(np.arange(1_200, 2_400))
        index.maintain()
    assert_same_answers(mapped, read, fresh[::20])
    assert contents(folder) == before


def test_what_is_written_to_a_mapped_row_stays_in_memory(saved):
    """A map is copied where it is written to."""
    _, folder = saved
    before = contents(folder)
    mapped = SPIRAL.load(folder, mmap=True)
    for part in (mapped._body.rows.links, mapped._body.rows.vectors, mapped._body.rows.codes, mapped._body.rows.twins):
        part[:] = 0
    assert contents(folder) == before


@pytest.mark.parametrize("gone", ["deleted", "saved over by another", "saved over by itself"])
def test_a_mapped_index_outlives_its_folder(saved, vectors, gone):
    """Files that are mapped stay until they are let go, whatever becomes of their names."""
    index, folder = saved
    mapped = SPIRAL.load(folder, mmap=True)
    if gone == "deleted":
        shutil.rmtree(folder)
    elif gone == "saved over by another":
        build(vectors_of(500, seed=2)).save(folder)
    else:
        mapped.save(folder)
        mapped.save(folder)
    assert_same_answers(mapped, index, vectors[::20])
    mapped.save(folder)
    assert_same_answers(SPIRAL.load(folder), index, vectors[::20])


_GROWTH = """
import gc, json, sys
from pathlib import Path
import numpy as np
from adamem.index import index_class

def own():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS", "VmHWM")}

folder, mapped = sys.argv[1], sys.argv[2] == "mapped"
spiral = index_class("spiral")
few = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
spiral.build(few, np.arange(300), metric="l2").save(folder + "-few")
spiral.load(folder + "-few", mmap=mapped).search(few, 5)  # whatever is loaded and compiled on first use
gc.collect()
Path("/proc/self/clear_refs").write_text("5")
before = own()
index = spiral.load(folder, mmap=mapped)
after = own()
print(json.dumps({"own": after["RssAnon"] - before["RssAnon"], "peak": after["VmHWM"] - before["VmRSS"]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_loading_costs(tmp_path):
    """Mapped, next to no memory of its own; read, the arrays once and not twice."""
    vectors = np.random.default_rng(0).normal(size=(30_000, 512)).astype(np.float32)  # 61 MB
    index = SPIRAL.build(vectors, np.arange(30_000), metric="l2", params={"scan_below": 1_000_000})
    index.save(tmp_path / "saved")
    size = sum(index.nbytes().values())
    cost = {}
    for how in ("mapped", "read"):
        command = [sys.executable, "-c", _GROWTH, str(tmp_path / "saved"), how]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        cost[how] = json.loads(done.stdout)
    assert cost["mapped"]["own"] < 0.1 * size
    assert 0.8 * size < cost["read"]["own"] < 1.2 * size
    assert cost["mapped"]["peak"] < 0.6 * size  # codes and links were looked at, and are pages of their files
    assert cost["read"]["peak"] < 1.3 * size


def test_equal_vectors_inserted_at_once_join_the_one_that_is_there(vectors):
    """Five more ids of a vector that has two already: all seven come back."""
    index = build(np.concatenate([vectors, vectors[:1]]))
    index.insert(np.repeat(vectors[:1], 5, axis=0), np.arange(9_000, 9_005))
    assert index.search(vectors[0], 7).ids[0].tolist() == [0, 3_000, *range(9_000, 9_005)]


def test_a_pair_of_equals_that_stand_apart_survives_being_mended(vectors, tmp_path):
    """A search may have missed the first when the second came: linked anew, that one joins nobody, and saves load."""
    index = build(vectors)
    rows = index._body.rows
    rows.vectors[1], rows.codes[1] = rows.vectors[0], rows.codes[0]
    rows.links[1] = kernels.NIL
    index.delete(np.arange(2_000, 2_010))
    index.maintain()
    index.save(tmp_path / "saved")
    assert set(SPIRAL.load(tmp_path / "saved").search(vectors[0], 2).ids[0].tolist()) == {0, 1}


# -- vectors in a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_vectors_in_a_file_change_no_answer(vectors, tmp_path, metric):
    """Built, grown, replaced, maintained, saved and loaded: bit by bit as with the vectors in memory."""
    fresh = vectors_of(1_500, seed=3)
    pair = [build(vectors, metric=metric, vectors=where) for where in ("memory", "file")]
    for index in pair:
        for start in range(0, 1_000, 250):
            index.insert(fresh[start : start + 250], np.arange(10_000 + start, 10_250 + start))
        index.delete(np.arange(1_000, 1_900))
        index.replace(fresh[1_000:], np.arange(500))
    assert_same_answers(*pair, fresh[::10])
    for index in pair:
        index.maintain()
    assert_same_answers(*pair, fresh[::10])
    pair[1].save(tmp_path / "saved")
    loaded = SPIRAL.load(tmp_path / "saved")
    assert_same_answers(pair[0], loaded, fresh[::10])
    assert loaded.params["vectors"] == "file"
    for index in (pair[0], loaded):
        index.insert(fresh[:5], np.arange(20_000, 20_005))
    assert_same_answers(pair[0], loaded, fresh[::10])
    loaded.save(tmp_path / "saved")
    assert_same_answers(pair[0], SPIRAL.load(tmp_path / "saved"), fresh[::10])


_BUILD = """
import gc, json, sys
from pathlib import Path
import numpy as np
from adamem.index import index_class

def own():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS", "VmHWM")}

vectors = np.load(sys.argv[1])
kind, params = index_class(sys.argv[2]), json.loads(sys.argv[3])
kind.build(vectors[:1_000], np.arange(1_000), metric="cosine", params=params).search(vectors[:2], 5)
gc.collect()
Path("/proc/self/clear_refs").write_text("5")
before = own()
index = kind.build(vectors, np.arange(len(vectors)), metric="cosine", params=params)
after = own()
print(json.dumps({"own": after["RssAnon"] - before["RssAnon"], "peak": after["VmHWM"] - before["VmRSS"]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_an_index_takes_beside_hnsws(tmp_path):
    """In memory at most 1.3 times what hnswlib takes at M=16, at the peak of the build too; in a file half of it."""
    random = np.random.default_rng(0)
    plane = random.normal(size=(40, 384)) / np.sqrt(40)
    vectors = vectors_of(40_000, 40, seed=1) @ plane + 0.01 * random.normal(size=(40_000, 384))
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))
    cost = []
    few = {"R": 32, "ef_construction": 40}
    for name, params in (
        ("hnsw", {"M": 16, "ef_construction": 16}),
        ("spiral", few),
        ("spiral", few | {"vectors": "file"}),
    ):
        command = [sys.executable, "-c", _BUILD, str(tmp_path / "vectors.npy"), name, json.dumps(params)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        cost.append(json.loads(done.stdout))
    hnsw, memory, file = cost
    assert memory["own"] < 1.3 * hnsw["own"]
    assert memory["peak"] < 1.3 * hnsw["own"]
    assert file["own"] < 0.5 * hnsw["own"]
    assert file["peak"] < 0.7 * hnsw["own"]  # the sample that the codes are fitted to is of one size for any collection


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    gc.collect()  # an index whose vectors lie there
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(vectors, small_disk, monkeypatch):
    """Neither at a build nor when the file grows: the index answers on, and takes what there is room for."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(StorageError, match=r"cannot keep 2\.\d MB of vectors in a file in .*small: No space left"):
        build(vectors_of(17_000), vectors="file")  # 2.7 MB
    index = build(vectors, vectors="file")  # 0.5 MB
    expected = index.search(vectors[::10], 10)
    with pytest.raises(
        StorageError, match="free some space there, name another folder in TMPDIR, or build with vector"
    ):
        index.insert(vectors_of(17_000, seed=4), np.arange(10_000, 27_000))
    found = index.search(vectors[::10], 10)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as stream:
        while stream.write(bytes(4_096)):
            pass
    with pytest.raises(StorageError, match="No space left"):
        index.replace(vectors + 1, np.arange(len(vectors)))
    np.testing.assert_array_equal(index.search(vectors[::10], 10).ids, expected.ids)
    filler.unlink()
    fresh = vectors_of(2_000, seed=4)
    index.insert(fresh, np.arange(10_000, 12_000))
    assert (index.search(fresh[:50], 1, params={"ef": 80}).ids[:, 0] == np.arange(10_000, 10_050)).all()
    assert list(small_disk.iterdir()) == []  # it has no name


def test_no_folder_for_the_file_is_said(vectors, monkeypatch, tmp_path):
    """The error names what was tried and the ways out."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match=r"cannot keep the vectors in a file: No such file.*name a folder in TMPDIR"):
        build(vectors, vectors="file")


def test_a_full_disk_leaves_the_saved_index(vectors, small_disk):
    """What does not fit is refused, what was saved before loads, and nothing is left lying about."""
    index = build(vectors[:1_000])
    index.save(small_disk / "saved")
    before = contents(small_disk / "saved")
    large = build(vectors_of(9_000))
    for _ in range(2):
        with pytest.raises(StorageError, match="the disk is full; free some space or choose another folder"):
            large.save(small_disk / "saved")
    assert contents(small_disk / "saved") == before
    assert_same_answers(SPIRAL.load(small_disk / "saved"), index, vectors[::20])


def test_a_forked_process_writes_into_a_file_of_its_own(vectors):
    """What a child inserts after its parent did, into what both take for the same rows, leaves the parent's alone."""
    index = build(vectors[:2_000], vectors="file")
    index.insert(vectors[2_000:2_100], np.arange(2_000, 2_100))  # there is room for more
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that other tests left do not matter here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.read(read, 1)
            index.insert(vectors[2_100:2_200], np.arange(5_000, 5_100))
            found = index.search(vectors[2_100:2_200], 1, params={"ef": 100})
            status = 0 if (found.ids[:, 0] == np.arange(5_000, 5_100)).mean() > 0.95 else 2
        finally:
            os._exit(status)
    index.insert(vectors[2_500:2_600], np.arange(6_000, 6_100))
    os.write(write, b"x")
    os.close(write)
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = index.search(vectors[2_500:2_600], 1, params={"ef": 100})
    assert (found.ids[:, 0] == np.arange(6_000, 6_100)).mean() > 0.95
    assert (found.distances < 1e-3).mean() > 0.95


_KILLER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from adamem.index import index_class

spiral, random, folder = index_class("spiral"), np.random.default_rng(1), Path(sys.argv[1])
few = dict(metric="cosine", params={"scan_below": 0, "vectors": "file"})
for count in (400, 500):
    vectors = random.normal(size=(count, 16)).astype(np.float32)
    spiral.build(vectors, np.arange(count), **few).save(folder / str(count))
    spiral.load(folder / str(count)).save(folder / "saved")
for _ in range(12):
    child = os.fork()
    if child == 0:
        # one that was built here, one whose vectors are a map of the folder that is saved over, one mapped elsewhere
        indexes = [spiral.load(folder / "saved"), spiral.load(folder / "400", mmap=True), spiral.load(folder / "500")]
        indexes[2].insert(vectors[:100], np.arange(500, 600))
        while True:
            for index in indexes:
                index.save(folder / "saved")
    time.sleep(random.uniform(0.01, 0.06))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    index = spiral.load(folder / "saved", mmap=True)
    assert (index.search(index._body.rows.vectors[:50], 1, params={"ef": 80}).distances < 1e-4).mean() > 0.95
    print(len(index), flush=True)
"""


def test_a_kill_while_saving_mapped_indexes_leaves_a_whole_one(tmp_path):
    """Also where the vectors are mapped from the very folder that is saved over."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLER, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    sizes = done.stdout.split()
    assert len(sizes) == 12
    assert set(sizes) <= {"400", "500", "600"}


_SAVER = """
import sys
from pathlib import Path
import numpy as np
from adamem.index import index_class

vectors = np.random.default_rng(0).normal(size=(900, 16)).astype(np.float32)
indexes = [index_class("spiral").build(vectors[:n], np.arange(n), metric="l2") for n in (700, 900)]
while True:
    for index in indexes:
        index.save(Path(sys.argv[1]))
    print("saved", flush=True)
"""


@pytest.mark.parametrize("mmap", [False, True])
def test_a_folder_that_is_saved_over_while_it_is_loaded(tmp_path, mmap):
    """Another process saves without a pause: every load gives one of the two states, and no error."""
    with subprocess.Popen(
        [sys.executable, "-c", _SAVER, str(tmp_path / "saved")], stdout=subprocess.PIPE, text=True
    ) as saver:
        try:
            assert saver.stdout.readline() == "saved\n"
            sizes = {len(SPIRAL.load(tmp_path / "saved", mmap=mmap)) for _ in range(60)}
        finally:
            saver.kill()
    assert sizes <= {700, 900}
