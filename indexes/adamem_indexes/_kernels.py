"""Every numba kernel of the adapters: compiled on first use (a few seconds, once), then read from numba's cache.

One module, because numba's cache does not notice a change in another file. `warm_up` compiles or reads them all; each
adapter's `build` and `load` call it, so that no query pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from adamem.types import AnyArray, DoubleArray, FloatArray, IdArray

L2, COSINE, IP = 0, 1, 2
METRIC_CODE = {"l2": L2, "cosine": COSINE, "ip": IP}

# Sums may be reordered into SIMD lanes; NaN and Inf keep their meaning, so the full `fastmath` is not asked for.
_FLAGS = {"reassoc", "contract"}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _kernel(function: _Function) -> _Function:
    return cast("_Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def _summing_kernel(function: _Function) -> _Function:
    return cast("_Function", numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")(function))


@_kernel
def finish(rows: IdArray, distances: FloatArray, labels: IdArray, scale: float, offset: float, floor: float) -> int:
    """Turn a library's answer into ours, in place: rows (q, k) to labels, ordered by (distance, label), padded.

    A row below 0 is padding of the library's, a label below 0 is a deleted row; both are dropped. A distance becomes
    ``max(floor, distance * scale + offset)``. The input is nearly sorted, so that insertion sort is one pass.
    Returns how many queries are left with fewer than k.
    """
    queries, k = rows.shape
    short = 0
    for i in range(queries):
        # The usual answer, whole and in order, takes one pass without a branch that goes two ways.
        last = np.float32(-np.inf)
        plain = True
        for j in range(k):
            row = rows[i, j]
            label = labels[max(row, 0)]
            distance = np.float32(max(floor, distances[i, j] * scale + offset))
            plain &= (row >= 0) & (label >= 0) & (distance > last)
            last = distance
            if not plain:
                break
            rows[i, j] = label
            distances[i, j] = distance
        else:
            continue
        # From j on, entry by entry; what is before it is done.
        count = j
        for source in range(j, k):
            row = rows[i, source]
            if row < 0:
                continue
            label = labels[row]
            if label < 0:
                continue
            distance = np.float32(max(floor, distances[i, source] * scale + offset))
            slot = count
            while slot > 0 and (
                distances[i, slot - 1] > distance or (distances[i, slot - 1] == distance and rows[i, slot - 1] > label)
            ):
                distances[i, slot] = distances[i, slot - 1]
                rows[i, slot] = rows[i, slot - 1]
                slot -= 1
            distances[i, slot] = distance
            rows[i, slot] = label
            count += 1
        short += count < k
        for source in range(count, k):
            rows[i, source] = -1
            distances[i, source] = np.inf
    return short


@_summing_kernel
def least_square(queries: FloatArray) -> float:
    """The smallest sum of squares of a row of queries (q, d); NaN if any row's is not finite, or if there is none."""
    least = np.inf
    for i in range(queries.shape[0]):
        square = np.float32(0.0)
        for j in range(queries.shape[1]):
            square += queries[i, j] * queries[i, j]
        if not np.isfinite(square):
            return np.nan
        least = min(least, np.float64(square))
    return least if queries.shape[0] else np.nan


@_summing_kernel
def normalise(vectors: FloatArray, unit: bool, out: FloatArray) -> None:
    """Copy vectors (n, d) into out (n, w), w >= d, with zeros behind; scaled to length 1 if `unit`."""
    dim = vectors.shape[1]
    for i in range(vectors.shape[0]):
        scale = 1.0
        if unit:
            square = 0.0
            for t in range(dim):
                square += np.float64(vectors[i, t]) * np.float64(vectors[i, t])
            scale = 1.0 / np.sqrt(square)
        for t in range(dim):
            out[i, t] = np.float32(vectors[i, t] * scale)
        for t in range(dim, out.shape[1]):
            out[i, t] = np.float32(0.0)


@_kernel
def admit(
    rows: IdArray, distances: FloatArray, admitted: AnyArray, out_rows: IdArray, out_distances: FloatArray
) -> None:
    """Keep the first k admitted rows of each over-fetched answer.

    rows, distances (q, w) nearest first; admitted uint8, one a row of the index; out_* (q, k), padded with -1 and inf.
    """
    queries, width = rows.shape
    k = out_rows.shape[1]
    for i in range(queries):
        count = 0
        for j in range(width):
            row = rows[i, j]
            if count == k:
                break
            if row >= 0 and admitted[row]:
                out_rows[i, count] = row
                out_distances[i, count] = distances[i, j]
                count += 1
        for j in range(count, k):
            out_rows[i, j] = -1
            out_distances[i, j] = np.inf


@_kernel
def keep_lowest(
    dots: FloatArray,
    norms: FloatArray,
    query_norms: DoubleArray,
    rows: IdArray,
    metric: int,
    slack: float,
    heap_bounds: DoubleArray,
    heap_rows: IdArray,
) -> None:
    """Feed a block of inner products into the queries' max-heaps of the lowest possible distances.

    dots (q, m) are float32 products with error up to ``slack * |q| |x|``; norms (m,) and query_norms (q,) are lengths;
    rows (m,) numbers the block's rows; heap_bounds, heap_rows (q, w) start at +inf, -1. For l2 the bound leaves |q|^2
    out. Keeping lower bounds, and not estimates, is what lets the caller prove that no nearer row was dropped.
    """
    queries, width = heap_bounds.shape
    for i in range(queries):
        length = query_norms[i]
        for j in range(dots.shape[1]):
            norm = np.float64(norms[j])
            dot = np.float64(dots[i, j])
            error = slack * length * norm
            if metric == L2:
                bound = norm * norm * (1.0 - slack) - 2.0 * (dot + error)
            elif metric == COSINE:
                bound = 1.0 - (dot + error) / (length * norm)
            else:
                bound = -dot - error
            if bound < heap_bounds[i, 0]:
                slot = 0
                while True:  # sift the new entry down from the root
                    child = 2 * slot + 1
                    if child >= width:
                        break
                    if child + 1 < width and heap_bounds[i, child + 1] > heap_bounds[i, child]:
                        child += 1
                    if heap_bounds[i, child] <= bound:
                        break
                    heap_bounds[i, slot] = heap_bounds[i, child]
                    heap_rows[i, slot] = heap_rows[i, child]
                    slot = child
                heap_bounds[i, slot] = bound
                heap_rows[i, slot] = rows[j]


@_summing_kernel
def true_distances(matrix: FloatArray, rows: IdArray, queries: FloatArray, metric: int, out: DoubleArray) -> None:
    """Distances between each query (q, d) and its rows (q, w) of matrix (n, d), summed in float64; -1 gives +inf."""
    dim = queries.shape[1]
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row = rows[i, j]
            if row < 0:
                out[i, j] = np.inf
                continue
            if metric == L2:
                total = 0.0
                for t in range(dim):
                    gap = np.float64(queries[i, t]) - np.float64(matrix[row, t])
                    total += gap * gap
                out[i, j] = total
            elif metric == IP:
                dot = 0.0
                for t in range(dim):
                    dot += np.float64(queries[i, t]) * np.float64(matrix[row, t])
                out[i, j] = -dot
            else:
                dot = 0.0
                query_square = 0.0
                row_square = 0.0
                for t in range(dim):
                    a = np.float64(queries[i, t])
                    b = np.float64(matrix[row, t])
                    dot += a * b
                    query_square += a * a
                    row_square += b * b
                out[i, j] = max(0.0, 1.0 - dot / np.sqrt(query_square * row_square))


@_kernel
def hash_rows(vectors: FloatArray, out: AnyArray) -> None:
    """A 64-bit hash of each row of vectors (m, d) into out uint64 (m,): equal rows have equal ones; -0.0 is 0.0.

    Source: the scheme of FNV-1a (Fowler, Noll and Vo), on the words of a float64 each.
    """
    word = np.empty(1, dtype=np.float64)
    bits = word.view(np.uint64)
    for i in range(vectors.shape[0]):
        value = np.uint64(14695981039346656037)
        for j in range(vectors.shape[1]):
            word[0] = np.float64(vectors[i, j]) + 0.0
            # the upper half is folded in: floats that are whole numbers have nothing in the lower one
            value = (value ^ bits[0] ^ (bits[0] >> np.uint64(29))) * np.uint64(1099511628211)
        out[i] = value


def warm_up() -> None:
    """Compile the kernels, or read them from the cache; later calls cost a microsecond."""
    global _warm  # noqa: PLW0603 -- the state is the process's: compiled or not
    if _warm:
        return
    warm_up_rows()
    rows = np.zeros((1, 1), dtype=np.int64)
    distances = np.zeros((1, 1), dtype=np.float32)
    labels = np.zeros(1, dtype=np.int64)
    doubles = np.full((1, 1), np.inf)
    matrix = _read_only()
    finish(rows, distances, labels, 1.0, 0.0, -np.inf)
    admit(rows, distances, np.ones(1, dtype=np.uint8), rows.copy(), distances.copy())
    keep_lowest(distances, distances[0], doubles[0].copy(), labels, L2, 0.0, doubles, rows.copy())
    true_distances(matrix, rows, matrix, L2, doubles)
    _warm = True


def warm_up_rows() -> None:
    """The same, but only of those that look at rows of vectors: an index with kernels of its own needs no others."""
    for vectors in (_read_only(), np.zeros((1, 1), dtype=np.float32)):  # read-only arrays are a type of their own
        normalise(vectors, True, np.empty((1, 1), dtype=np.float32))
        least_square(vectors)
        hash_rows(vectors, np.empty(1, dtype=np.uint64))


def _read_only() -> FloatArray:
    matrix = np.ones((1, 1), dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


_warm = False
