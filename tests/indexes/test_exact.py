"""The exact index beyond the contract: hard numbers, bounded memory, maps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from adamem.index import IdFilter, index_class

ExactIndex = index_class("exact")


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_near_duplicates_far_from_the_origin_are_told_apart(metric):
    """Vectors that differ in the last digits of float32, where |x|^2 - 2 q.x cancels, are ranked as in float64."""
    rng = np.random.default_rng(0)
    base = (100.0 + rng.standard_normal(64)).astype(np.float32)
    vectors = (base + 1e-4 * rng.standard_normal((3000, 64))).astype(np.float32)
    queries = (base + 1e-4 * rng.standard_normal((5, 64))).astype(np.float32)
    found = ExactIndex.build(vectors, np.arange(3000), metric=metric).search(queries, 10)
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        truth = ((q[:, None] - x) ** 2).sum(axis=2)
    elif metric == "ip":
        truth = -(q @ x.T)
    else:
        truth = 1 - (q / np.linalg.norm(q, axis=1)[:, None]) @ (x / np.linalg.norm(x, axis=1)[:, None]).T
    for i in range(5):
        kth = np.sort(truth[i])[9]
        slack = 1e-12 if metric == "l2" else 1e-7 * abs(kth) + 1e-14
        assert (truth[i, found.ids[i]] <= kth + slack).all()
    nearest = np.sort(truth, axis=1)[:, :10]
    np.testing.assert_allclose(found.distances, nearest, rtol=1e-5, atol=1e-14)


def test_many_equal_vectors_give_the_smallest_ids():
    """Of a thousand exact ties, more than are looked at first, the k smallest ids are returned."""
    rng = np.random.default_rng(1)
    vectors = np.concatenate([rng.standard_normal((500, 8)) + 9, np.ones((1000, 8))]).astype(np.float32)
    ids = rng.permutation(1500)
    found = ExactIndex.build(vectors, ids, metric="l2").search(np.ones((1, 8), np.float32), 7)
    assert found.ids[0].tolist() == sorted(ids[500:].tolist())[:7]


def test_lengths_over_many_orders_of_magnitude(oracle):
    """Rows of length 1e-6 to 1e6 in one index do not hide each other."""
    rng = np.random.default_rng(2)
    vectors = (rng.standard_normal((2000, 16)) * 10.0 ** rng.integers(-6, 7, (2000, 1))).astype(np.float32)
    queries = (rng.standard_normal((20, 16)) * 10.0 ** rng.integers(-6, 7, (20, 1))).astype(np.float32)
    for metric in ("l2", "cosine", "ip"):
        found = ExactIndex.build(vectors, np.arange(2000), metric=metric).search(queries, 10)
        truth = oracle.distances(metric, queries, vectors)
        expected = np.sort(truth, axis=1)[:, :10]
        np.testing.assert_allclose(found.distances, expected, rtol=1e-6, atol=1e-7)


def test_blocks_of_rows_and_queries_join_without_a_seam(oracle, monkeypatch):
    """With blocks of 64 rows and 3 queries the answers are those of one large block, filtered or not."""
    from adamem_indexes import _scan

    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((1000, 12)).astype(np.float32)
    queries = rng.standard_normal((10, 12)).astype(np.float32)
    index = ExactIndex.build(vectors, np.arange(1000), metric="l2")
    some = IdFilter(np.arange(0, 1000, 3))
    whole = index.search(queries, 20), index.search(queries, 20, filter=some)
    monkeypatch.setattr(_scan, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(_scan, "_QUERY_BLOCK", 3)
    pieces = index.search(queries, 20), index.search(queries, 20, filter=some)
    for one, other in zip(whole, pieces, strict=True):
        assert (one.ids == other.ids).all()
        assert (one.distances == other.distances).all()
    assert oracle.recall("l2", whole[0], queries, vectors, np.arange(1000), 20) == 1.0


def test_a_read_only_map_is_kept_by_reference_and_copied_at_the_first_write(tmp_path):
    """The map is not copied at the build; an insert, a delete or a replacement works and leaves the file alone."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((500, 8)).astype(np.float32)
    np.save(tmp_path / "base.npy", vectors)
    for write in ("insert", "delete", "replace"):
        mapped = np.load(tmp_path / "base.npy", mmap_mode="r")
        index = ExactIndex.build(mapped, np.arange(500), metric="l2")
        assert np.shares_memory(index._vectors, mapped)
        query = vectors[7] + np.float32(1e-3)
        assert index.search(query, 1).ids[0, 0] == 7
        if write == "insert":
            index.insert(query[None], [900])
            assert index.search(query, 1).ids[0, 0] == 900
        elif write == "delete":
            index.delete([7])
            assert index.search(query, 1).ids[0, 0] != 7
        else:
            index.replace(-vectors[7:8], [7])
            assert index.search(-vectors[7], 1).ids[0, 0] == 7
        assert not np.shares_memory(index._vectors, mapped)
    assert (np.load(tmp_path / "base.npy") == vectors).all()


def test_a_writable_map_is_copied(tmp_path):
    """Someone could write to it."""
    np.save(tmp_path / "base.npy", np.eye(4, dtype=np.float32))
    mapped = np.load(tmp_path / "base.npy", mmap_mode="c")
    index = ExactIndex.build(mapped, np.arange(4), metric="l2")
    mapped[:] = 5
    assert index.search(np.eye(4, dtype=np.float32)[2], 1).ids[0, 0] == 2


_LIMITED = """
import resource, sys
import numpy as np
from adamem.index import index_class

cls = index_class("exact")
cls.build(np.eye(8, dtype=np.float32), np.arange(8), metric="ip").search(np.eye(8, dtype=np.float32), 2)
mapped = np.load(sys.argv[1], mmap_mode="r")
limit = resource.RLIMIT_DATA
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(limit, (used + (96 << 20), used + (96 << 20)))
index = cls.build(mapped, np.arange(len(mapped)), metric="ip")
queries = np.concatenate([mapped[:300], mapped[-300:]])
found = index.search(queries, 10)
print(int((found.ids >= 0).all()), index.search(queries[0], 3).ids.shape)
"""


def test_a_collection_larger_than_memory_is_searched_from_its_map(tmp_path):
    """256 MB of vectors are built over and searched with 96 MB to spare for the process's own data."""
    big = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (500_000, 128))
    rng = np.random.default_rng(5)
    for start in range(0, 500_000, 50_000):
        big[start : start + 50_000] = rng.random((50_000, 128), dtype=np.float32)
    big.flush()
    del big
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "big.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "1 (1, 3)"
