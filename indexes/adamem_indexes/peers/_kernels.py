"""What is done to a library's answer before it is believed: numba kernels, compiled on first use.

Libraries leave the places of neighbours that they did not find unwritten (VSAG), or write row 0 at distance 0 there
(SVS): nothing in the answer tells which. The stored vectors do.
"""

from __future__ import annotations

import numba
import numpy as np

from adamem.types import FloatArray, IdArray

# As in `adamem_indexes._kernels`: sums may be reordered into SIMD lanes, NaN and Inf keep their meaning.
_FLAGS = {"reassoc", "contract"}
_NEAR = 1e-4
"""How far a right distance may be off, relative to the squared lengths: float32 errs by less."""


@numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy", inline="always")
def _compare(query: FloatArray, row: FloatArray, ip: bool) -> tuple[np.float32, np.float32]:
    """The squared distance, or the negated product if `ip`; and the size of what was summed, to judge errors by."""
    total = np.float32(0.0)
    size = np.float32(0.0)
    for t in range(query.shape[0]):
        if ip:
            total -= query[t] * row[t]
        else:
            gap = query[t] - row[t]
            total += gap * gap
        size += query[t] * query[t] + row[t] * row[t]
    return total, size


@numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def settle(rows: IdArray, distances: FloatArray, matrix: FloatArray, queries: FloatArray, ip: bool) -> None:
    """Replace the distances (q, k) by those of the vectors, in place; what is no row, or stands twice, becomes -1.

    matrix float32 (n, d); rows int64 (q, k), anything; squared distances, or negated products if `ip`.
    """
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row = rows[i, j]
            if row < 0 or row >= matrix.shape[0]:
                rows[i, j] = -1
                continue
            distances[i, j], _ = _compare(queries[i], matrix[row], ip)
            for earlier in range(j):
                if rows[i, earlier] == row:
                    rows[i, j] = -1


@numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def verify(rows: IdArray, distances: FloatArray, matrix: FloatArray, queries: FloatArray, ip: bool) -> int:
    """Make -1 of what the library did not write, in place; returns how many queries were touched.

    A library writes what it found from the front. So an answer is whole if its rows exist, its distances ascend, and
    the last of them is that of its row: one vector is read. Otherwise all are compared, and the false ones go.
    """
    touched = 0
    k = rows.shape[1]
    for i in range(rows.shape[0]):
        whole = True
        last = np.float32(-np.inf)
        for j in range(k):
            row = rows[i, j]
            whole = bool(whole & (row >= 0) & (row < matrix.shape[0]) & (distances[i, j] >= last))
            last = distances[i, j]
        if whole:
            total, size = _compare(queries[i], matrix[rows[i, k - 1]], ip)
            whole = bool(abs(total - last) <= _NEAR * size)
        if whole:
            continue
        touched += 1
        for j in range(k):
            row = rows[i, j]
            if row < 0 or row >= matrix.shape[0]:
                rows[i, j] = -1
                continue
            total, size = _compare(queries[i], matrix[row], ip)
            keep = abs(total - distances[i, j]) <= _NEAR * size
            for earlier in range(j):
                keep &= rows[i, earlier] != row
            if not keep:
                rows[i, j] = -1
    return touched


def warm_up() -> None:
    """Compile the kernels, or read them from the cache; later calls cost a microsecond."""
    global _warm  # noqa: PLW0603 -- the state is the process's: compiled or not
    if _warm:
        return
    rows, matrix = np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=np.float32)
    fixed = matrix.copy()
    fixed.flags.writeable = False  # a caller's read-only queries are a type of their own
    for queries in (matrix, fixed):
        settle(rows, matrix.copy(), matrix, queries, False)
        verify(rows, matrix.copy(), matrix, queries, False)
    _warm = True


_warm = False
