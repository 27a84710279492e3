"""The search of the ablation: as the index's own, but it begins and walks as it is told.

These kernels are not cached: numba's cache does not notice a change in the other file that they are made of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._ablated_lattice import Spirals, spiral_seeds
from adamem_indexes.spiral._kernels import (
    L2,
    NIL,
    OFFSET,
    TAIL_FLOATS,
    _beam,
    _prepare,
    _seeds,
    _settle,
    _stretch,
    _true_distance,
    _unit,
    dot,
)

_kernel = numba.njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")


class Starts(NamedTuple):
    """Where searches begin, in place of the index's own seeds."""

    rows: AnyArray
    """uint32 (q or 1, s): the seeds of each query or of all; with s = 0 the spirals choose."""
    spirals: Spirals
    """Those that choose; where they have no cells, the index's own tree does."""
    upper: AnyArray
    """uint32 (levels, n, M): from the highest, the links of a hierarchy over the same rows, NIL behind the last; with
    no level the rows above are the seeds, else a descent begins at the first of them."""
    turn: FloatArray
    """float32 (parts, parts), or (0, 0) for none: what the components are turned by before their signs are taken."""
    cosines: FloatArray
    """float32 (parts + 1,): by how many signs differ, the largest cosine that is likely."""


class Walk(NamedTuple):
    """How the ablation's searches go through the graph; the index itself has None in its place, and no code for it."""

    prefetch: bool
    """Whether code rows and links are fetched ahead."""
    bits: AnyArray
    """uint64 (capacity, w), or (0, 0) for no filter: the signs of the components, then a word with two float32, the
    length of the components and the OFFSET."""
    bit_floats: FloatArray
    """The same memory as float32."""
    signs: AnyArray
    """uint64 (words,): the query's."""
    shares: FloatArray
    """float32 (parts + 1,): by how many signs differ, what the row's length is multiplied with and then taken from its
    OFFSET for the least distance that is likely."""
    tested: AnyArray
    """int64 (1,): grows by the rows whose signs were compared."""


@_kernel
def _estimate(rows: Any, scratch: Any, node: Any, factor: Any, correction: Any, square: Any) -> Any:
    """As in `_beam`."""
    if rows.plain:
        return _true_distance(rows.vectors[node], scratch.point, square)
    width = np.uint64(rows.codes.shape[1])
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    address = np.uint64(rows.codes.ctypes.data) + node * width
    product = np.float32(dot(address, np.uint64(scratch.code.ctypes.data), width) - correction)
    return rows.tails[node, at + np.uint64(OFFSET)] - factor * rows.tails[node, at] * product


@_kernel
def _descend(rows: Any, scratch: Any, upper: Any, start: Any, factor: Any, correction: Any, square: Any) -> Any:
    """From level to level to the nearest that each greedily leads to: (the last, how many estimates it took)."""
    node = np.uint64(start)
    least = _estimate(rows, scratch, node, factor, correction, square)
    spent = 1
    for level in range(upper.shape[0]):
        moved = True
        while moved:
            moved = False
            here = node
            for j in range(upper.shape[2]):
                other = upper[level, here, j]
                if other == NIL:
                    break
                estimate = _estimate(rows, scratch, np.uint64(other), factor, correction, square)
                spent += 1
                if estimate < least:
                    least, node, moved = estimate, np.uint64(other), True
    return node, spent


@_kernel
def _take_signs(parts: Any, starts: Any, walk: Any, factor: Any) -> None:
    """The signs of a query's components (parts,) into `walk.signs`, and `walk.shares` for it."""
    square = np.float32(0)
    for j in range(parts.shape[0]):
        square += parts[j] * parts[j]
    length = np.sqrt(square)
    walk.signs[:] = np.uint64(0)
    for j in range(parts.shape[0]):
        value = parts[j]
        if starts.turn.shape[0] > 0:
            value = np.float32(0)
            for i in range(parts.shape[0]):
                value += starts.turn[j, i] * parts[i]
        if value > np.float32(0):
            walk.signs[j >> 6] |= np.uint64(1) << np.uint64(j & 63)
    for differ in range(parts.shape[0] + 1):
        walk.shares[differ] = factor * length * starts.cosines[differ]


@_kernel
def search_from(
    queries: Any, metric: Any, handle: Any, starts: Any, walk: Any, ef: Any, rerank: Any, enough: Any, admitted: Any,
    ids: Any, distances: Any,
) -> Any:  # fmt: skip
    """`_kernels.search` with `Starts` and a `Walk`."""
    rows, scratch, counters = handle.rows, handle.scratch, handle.counters
    lens, spiral = handle.lens, handle.spiral
    short = 0
    for i in range(queries.shape[0]):
        query = queries[i]
        stretch = _stretch(query, lens) if lens.reach > 0.0 else np.float64(1)
        scale, correction = _prepare(query, _unit(query, metric), stretch, lens, scratch)
        two = np.float32(2) if metric == L2 else np.float32(1)
        factor = scale * two
        given = starts.rows[min(i, starts.rows.shape[0] - 1)]
        if starts.upper.shape[0] > 0:
            node, products = _descend(rows, scratch, starts.upper, given[0], factor, correction, metric == L2)
            scratch.fresh[0] = np.uint32(node)
            count = 1
            products -= 1  # the last one is estimated again on the ground
        elif given.shape[0] > 0:
            scratch.fresh[: given.shape[0]] = given
            count, products = given.shape[0], 0
        elif starts.spirals.cells.shape[0] > 0:
            count, products = spiral_seeds(starts.spirals, scratch.code, scale, correction, scratch.keys, scratch.fresh)
        else:
            count, products = _seeds(spiral, scratch.code, scale, correction, scratch.fresh)
        if walk.bits.shape[0] > 0:
            _take_signs(scratch.projected if lens.basis.shape[0] > 0 else scratch.centred, starts, walk, two)
        found, compared, hops = _beam(
            rows, scratch, OFFSET, factor, np.float32(0), correction, metric == L2, count, ef, walk
        )
        wanted = min(found, rerank)
        got = _settle(rows, scratch.point, metric, scratch.pool, wanted, np.bool_(1), admitted, ids[i], distances[i])
        short += got < enough
        counters[0] += compared + products
        counters[1] += hops
        counters[2] += wanted
    return short
