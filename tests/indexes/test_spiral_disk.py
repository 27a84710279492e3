"""SpiralGraph on disk: maps of a saved folder, and what happens to that folder meanwhile."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from adamem.index import IdFilter, index_class
from adamem_indexes.spiral import _kernels as kernels

SPIRAL = index_class("spiral")


def vectors_of(n, dim=40, *, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(20, dim))
    return (centres[random.integers(20, size=n)] + 0.3 * random.normal(size=(n, dim))).astype(np.float32)


def build(vectors, ids=None, *, metric="l2", **params):
    ids = np.arange(len(vectors)) if ids is None else ids
    return SPIRAL.build(vectors, ids, metric=metric, params={"scan_below": 0, **params})


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
