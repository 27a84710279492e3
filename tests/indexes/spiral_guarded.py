"""A program: a whole life of SpiralGraphs in arrays that end where the readable memory ends.

``python spiral_guarded.py``; with ``dots``, only the products of bytes, and with ``past``, one that goes too far.
Kernels take addresses. A byte read or written past the end of an array is a crash here, for every large array is
followed by a page that cannot be touched; one written before its beginning is found in the bytes there. With
NUMBA_BOUNDSCHECK=1, indices are checked besides.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numba
import numpy as np
from numba.core.registry import cpu_target

from adamem.index import IdFilter, index_class
from adamem_indexes import _filtered, _labels
from adamem_indexes.spiral import _body, _graph, _lens, _memory, _saved, _tree
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._kernels import ABREAST, COLUMNS, dot, dot_path

SPIRAL = index_class("spiral")
PAGE = mmap.PAGESIZE
POISON = 0xA5
made: list[tuple[np.ndarray, int]] = []
_c = ctypes.CDLL(None, use_errno=True)


def guarded(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that end at a page that cannot be touched, after poisoned bytes; whole lines begin at a multiple of 64."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // PAGE) + 1
    room = mmap.mmap(-1, (pages + 1) * PAGE)
    whole = np.frombuffer(room, dtype=np.uint8)
    start = pages * PAGE - size
    whole[:start] = POISON
    last = ctypes.c_void_p(whole.ctypes.data + pages * PAGE)
    assert _c.mprotect(last, ctypes.c_size_t(PAGE), 0) == 0
    made.append((whole, start))
    return whole[start : start + size].view(dtype).reshape(shape)


def check_poison() -> None:
    for whole, start in made:
        assert (whole[:start] == POISON).all(), "written before the beginning of an array"
    made.clear()


def guard_scratch(function):
    """The pool, the lists and whatever else one thread writes, guarded too."""

    def new_scratch(*args, **kwargs):
        scratch = function(*args, **kwargs)
        scratch = scratch._replace(pool=scratch.pool[: kwargs["most"]])  # not one more than is held
        parts = []
        for part in scratch:
            parts.append(guarded(part.shape, part.dtype))
            parts[-1][...] = part
        return type(scratch)(*parts)

    return new_scratch


def guard_rows(function):
    def new_rows(*args, **kwargs):
        rows = function(*args, **kwargs)
        links, twins = guarded(rows.links.shape, np.uint32), guarded(rows.twins.shape, np.uint32)
        links[...], twins[...] = rows.links, rows.twins
        return rows._replace(links=links, twins=twins)

    return new_rows


def guard_labels(reserve):
    """The ids by row, which a walk looks up for whatever it meets."""

    def guarded_reserve(labels, room):
        reserve(labels, room)
        array = guarded(labels.array.shape, np.int64)
        array[...] = labels.array
        labels.array = array

    return guarded_reserve


def guard_filters(prepare):
    """The rows that a filter admits."""

    def guarded_prepare(cache, wanted):
        found = prepare(cache, wanted)
        admitted = guarded(found.admitted.shape, np.uint8)
        admitted[...] = found.admitted
        return _filtered.Prepared(found.rows, admitted)

    return guarded_prepare


def live(metric: str, dim: int, **params) -> None:
    """Build, search, insert, delete, replace, maintain, and ask at every turn."""
    random = np.random.default_rng(dim)
    centres = random.normal(size=(8, dim))
    vectors = (centres[random.integers(8, size=420)] + 0.3 * random.normal(size=(420, dim))).astype(np.float32)
    vectors[300:310] = vectors[0]
    index = SPIRAL.build(vectors[:320], np.arange(320), metric=metric, params={"scan_below": 0, "R": 6, **params})

    def ask() -> None:
        for k, ef, rerank in ((1, 1, 0), (1, 1, 1), (3, 7, 3), (10, 64, 0), (500, 10, 0)):
            for some in (None, IdFilter(np.arange(0, 420, 2)), IdFilter(np.arange(5))):
                found = index.search(vectors[::60], k, params={"ef": ef, "rerank": rerank}, filter=some)
                assert (np.diff(found.distances[:, : min(k, 5)], axis=1) >= 0).all()

    ask()
    index.insert(vectors[320:], np.arange(320, 420))
    ask()
    index.delete(np.arange(50, 150))
    index.replace(vectors[:20], np.arange(200, 220))
    ask()
    index.maintain()
    ask()
    check_poison()


def llvm_features() -> str:
    """Of the target that is compiled for."""
    features: str = cpu_target.target_context.codegen().magic_tuple()[2]
    return features


@numba.njit
def product(row: Any, query: Any, width: Any) -> Any:
    """Of the two arrays' first `width` bytes."""
    return dot(np.uint64(row.ctypes.data), np.uint64(query.ctypes.data), width)


@numba.njit
def many(rows: Any, columns: Any, out: Any) -> None:
    """Products of all rows with all columns."""
    kernels.products(
        np.uint64(rows.ctypes.data),
        np.uint64(rows.shape[1]),
        np.uint64(columns.ctypes.data),
        np.uint64(columns.shape[0]),
        np.uint64(out.ctypes.data),
    )


def products() -> None:
    """Of rows of every width, both of which end where memory does."""
    random = np.random.default_rng(0)
    for width in (*range(64, 1_025, 64), PAGE, 65_536):
        row, query = guarded((width,), np.uint8), guarded((width,), np.int8)
        row[:], query[:] = random.integers(0, 256, width), random.integers(-127, 128, width)
        assert product(row, query, np.uint64(width)) == int(row.astype(np.int64) @ query.astype(np.int64))
    for groups in (1, 3, 45, 1_024):
        rows, columns = guarded((ABREAST, 4 * groups), np.int8), guarded((groups, COLUMNS, 4), np.uint8)
        out = guarded((ABREAST, COLUMNS), np.int32)
        rows[:], columns[:] = random.integers(-127, 128, rows.shape), random.integers(0, 256, columns.shape)
        many(rows, columns, out)
        flat = columns.transpose(1, 0, 2).reshape(COLUMNS, -1).astype(np.int64)
        assert (out == rows.astype(np.int64) @ flat.T).all()
    check_poison()


def main() -> None:
    if sys.argv[1:]:
        products()
        sys.stdout.write(f"within by {dot_path(llvm_features())}\n")
        sys.stdout.flush()
        if sys.argv[1] == "past":
            product(guarded((128,), np.uint8), guarded((128,), np.int8), np.uint64(192))
        return
    for module in (_body, _graph, _lens, _saved, _tree):
        if hasattr(module, "aligned"):
            module.aligned = guarded
    assert _memory.aligned is not guarded
    _body.new_scratch = guard_scratch(_graph.new_scratch)
    _body.new_rows = guard_rows(_body.new_rows)
    _labels.RowLabels.reserve = guard_labels(_labels.RowLabels.reserve)
    _filtered.FilterCache.prepare = guard_filters(_filtered.FilterCache.prepare)
    for metric, dim, params in (
        ("l2", 1, {}),
        ("l2", 48, {}),
        ("cosine", 49, {}),
        ("ip", 112, {}),
        ("l2", 200, {"code_bytes": 64}),
        ("cosine", 300, {"code_bytes": 128}),
        ("ip", 430, {"code_bytes": 192}),
        ("cosine", 450, {}),
        ("l2", 33, {"codes": "fp32"}),
        ("ip", 30, {"codes": "fp32"}),
        ("l2", 40, {"scan_below": 10_000}),
    ):
        live(metric, dim, **params)
    sys.stdout.write("whole\n")


if __name__ == "__main__":
    main()
