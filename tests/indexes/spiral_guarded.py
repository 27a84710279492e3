"""A program: a whole life of SpiralGraphs in arrays that end where the readable memory ends.

``python spiral_guarded.py``; with ``ablation``, the ablation's besides. With ``dots``, only the products of bytes, and
with ``past``, one that goes too far.
Kernels take addresses. A byte read or written past the end of an array is a crash here, for every large array is
followed by a page that cannot be touched; one written before its beginning is found in the bytes there. With
NUMBA_BOUNDSCHECK=1, indices are checked besides.
"""

from __future__ import annotations

import ctypes
import inspect
import itertools
import mmap
import sys
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numba.core.registry import cpu_target

from adamem.index import IdFilter, index_class
from adamem_indexes import _filtered, _labels
from adamem_indexes.spiral import (
    _ablated_order,
    _ablated_spirals,
    _body,
    _graph,
    _lens,
    _memory,
    _saved,
    _tree,
    ablation,
)
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral import index as spiral_index
from adamem_indexes.spiral._kernels import ABREAST, COLUMNS, dot, dot_path

SPIRAL = index_class("spiral")
ABLATION = index_class("spiral_ablation")
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


def copied(array: np.ndarray) -> np.ndarray:
    """The same, guarded."""
    out = guarded(array.shape, array.dtype)
    out[...] = array
    return out


def guard_arguments(function):
    """Whatever arrays a kernel is handed for one call: it sees guarded copies, which are copied back."""
    names = list(inspect.signature(getattr(function, "py_func", function)).parameters)

    def called(*arguments):
        given, copies = list(arguments), []
        for place, (name, array) in enumerate(zip(names, arguments, strict=True)):
            if isinstance(array, np.ndarray) and name not in {"codes", "tails", "links"}:  # those are guarded as it is
                given[place] = copied(array)
                copies.append((array, given[place]))
        result = function(*given)
        for array, copy in copies:
            if array.flags.writeable:
                array[...] = copy
        return result

    return called


def guard_parts(function, *names: str):
    """These arrays of the tuple that a function returns."""

    def returned(*args, **kwargs):
        parts = function(*args, **kwargs)
        return parts._replace(**{name: copied(getattr(parts, name)) for name in names})

    return returned


def guard_scratch(function):
    """The pool, the lists and whatever else one thread writes, guarded too."""

    def new_scratch(*args, **kwargs):
        scratch = function(*args, **kwargs)
        scratch = scratch._replace(pool=scratch.pool[: kwargs["most"]])  # not one more than is held
        return type(scratch)(*(copied(part) for part in scratch))

    return new_scratch


def guard_labels(reserve):
    """The ids by row, which a walk looks up for whatever it meets."""

    def guarded_reserve(labels, room):
        reserve(labels, room)
        labels.array = copied(labels.array)

    return guarded_reserve


def guard_filters(prepare):
    """The rows that a filter admits."""

    def guarded_prepare(cache, wanted):
        found = prepare(cache, wanted)
        return _filtered.Prepared(found.rows, copied(found.admitted))

    return guarded_prepare


def guard_kernels() -> None:
    """Queries, answers, and what else is handed to a kernel for one call."""
    for module, names in (
        (kernels, ("search", "scan", "detach", "close", "encode")),
        (_lens, ("encode",)),
        (_tree, ("encode",)),
        (_ablated_spirals, ("encode", "nearest_cells")),
        (_body, ("hash_rows", "normalise")),
        (_graph, ("link", "link_among", "link_back", "cell_of", "mend", "reach", "way_to", "unanswered")),
    ):
        for name in names:
            setattr(module, name, guard_arguments(getattr(module, name)))


def guard_ablation() -> None:
    """What the ablation makes on its way, for a whole index and for one call."""

    guarded_search = guard_arguments(ablation.search_from)

    def search_from(queries, metric, handle, starts, walk, *rest):
        spirals = starts.spirals
        spirals = spirals._replace(
            **{name: copied(getattr(spirals, name)) for name in ("lattice", "warps", "cells", "root")}
        )
        starts = starts._replace(
            spirals=spirals, **{name: copied(getattr(starts, name)) for name in ("rows", "upper", "turn", "cosines")}
        )
        walk = walk._replace(signs=copied(walk.signs), shares=copied(walk.shares))
        return guarded_search(queries, metric, handle, starts, walk, *rest)

    def new_scratch(index, body, most, *, function=ablation.SpiralAblation._new_scratch):
        return type(made := function(index, body, most))(*(copied(part) for part in made))

    ablation.search_from = search_from
    ablation.SpiralAblation._new_scratch = new_scratch


def some_vectors(dim: int) -> np.ndarray:
    """float32 (420, dim), of which 11 are equal."""
    random = np.random.default_rng(dim)
    centres = random.normal(size=(8, dim))
    vectors = (centres[random.integers(8, size=420)] + 0.3 * random.normal(size=(420, dim))).astype(np.float32)
    vectors[300:310] = vectors[0]
    return vectors


def live(metric: str, dim: int, **params) -> None:
    """Build, search, insert, delete, replace, maintain, and ask at every turn."""
    vectors = some_vectors(dim)
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


def ablate(metric: str, dim: int, **params) -> None:
    """Build the ablation, and ask."""
    vectors = some_vectors(dim)
    index = ABLATION.build(vectors, np.arange(420), metric=metric, params={"R": 6, **params})
    body = index._body
    rows = body.rows._replace(**{name: copied(getattr(body.rows, name)) for name in ("links", "labels", "twins")})
    spiral = body.spiral._replace(leaves=copied(body.spiral.leaves), root=copied(body.spiral.root))
    index._body = replace(body, rows=rows, spiral=spiral)
    for k, ef, rerank in ((1, 1, 0), (3, 7, 3), (10, 64, 0), (500, 10, 0)):
        found = index.search(vectors[::60], k, params={"ef": ef, "rerank": rerank})
        assert (np.diff(found.distances[:, : min(k, 5)], axis=1) >= 0).all()
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
    if sys.argv[1:] in (["dots"], ["past"]):
        products()
        sys.stdout.write(f"within by {dot_path(llvm_features())}\n")
        sys.stdout.flush()
        if sys.argv[1] == "past":
            product(guarded((128,), np.uint8), guarded((128,), np.int8), np.uint64(192))
        return
    for module in (_body, _graph, _lens, _saved, _tree, _ablated_order, _ablated_spirals, ablation):
        module.aligned = guarded
    assert _memory.aligned is not guarded
    _body.new_scratch = guard_scratch(_graph.new_scratch)
    _body.new_rows = guard_parts(_body.new_rows, "links", "twins")
    _body.lens_of = guard_parts(_body.lens_of, "centre")
    _body.grow_spiral = guard_parts(_body.grow_spiral, "children", "lattice", "leaves", "root")
    _graph._new_columns = guard_parts(_graph._new_columns, "nodes", "stages")
    _labels.RowLabels.reserve = guard_labels(_labels.RowLabels.reserve)
    _filtered.FilterCache.prepare = guard_filters(_filtered.FilterCache.prepare)
    guard_kernels()
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
    if sys.argv[1:] == ["ablation"]:
        guard_ablation()
        kinds = {param.name: param.choices for param in ABLATION.build_params if param.choices}
        kinds["prefetch"] = (False, True)
        metrics = itertools.cycle(("l2", "cosine", "ip"))
        for name, choices in kinds.items():
            for choice in choices:
                ablate(next(metrics), 48, **{name: choice})
        ablate("ip", 200, codes="sq8+1bit", code_bytes=64, prefetch=False)
        ablate("l2", 112, codes="sq8+1bit", seeds="several", order="spiral")
        ablate("cosine", 33, codes="fp32", seeds="hnsw", order="rcm")
    # Now few are compared all with all, most are linked in batches, and nothing is scanned.
    assert {"_SINGLY", "_TOGETHER_BYTES"} <= vars(_graph).keys()
    assert hasattr(spiral_index, "_SCAN_SHARE")
    _graph._SINGLY, spiral_index._SCAN_SHARE = 40, 0.0
    for together, metric, dim, params in (
        (0, "l2", 48, {}),
        (0, "cosine", 450, {}),
        (0, "ip", 300, {"code_bytes": 128}),
        (0, "l2", 33, {"codes": "fp32"}),
        (150 * 64, "ip", 40, {}),
    ):
        _graph._TOGETHER_BYTES = together
        live(metric, dim, **params)
    sys.stdout.write("whole\n")


if __name__ == "__main__":
    main()
