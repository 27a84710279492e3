"""Exact search by scanning: BLAS finds candidates, float64 settles them, a bound proves that none is missing."""

from __future__ import annotations

import numpy as np

from adamem.types import FloatArray, IdArray, Metric
from adamem_indexes import _kernels
from adamem_indexes._threads import single_threaded_blas

_BLOCK_BYTES = 8 << 20
_QUERY_BLOCK = 256


def row_norms(matrix: FloatArray) -> FloatArray:
    """Euclidean length of every row, float32 (n,), in pieces so that a memory-mapped matrix never comes in whole."""
    norms = np.empty(matrix.shape[0], dtype=np.float32)
    step = block_rows(matrix.shape[1])
    for start in range(0, matrix.shape[0], step):
        piece = matrix[start : start + step].astype(np.float64)
        norms[start : start + step] = np.sqrt(np.einsum("ij,ij->i", piece, piece))
    return norms


def block_rows(dim: int) -> int:
    """How many rows of float32 are worked on at once."""
    return max(64, _BLOCK_BYTES // (4 * dim))


def scan(
    matrix: FloatArray,
    norms: FloatArray,
    labels: IdArray,
    queries: FloatArray,
    k: int,
    *,
    metric: Metric,
    rows: IdArray | None = None,
) -> tuple[IdArray, FloatArray]:
    """The true k nearest rows of each query, as labels int64 (q, k) and distances float32 (q, k), padded.

    matrix is float32 (n, d), norms its rows' lengths float32 (n,), labels their ids int64 (n,), queries float32 (q, d);
    with `rows`, int64 (m,) ascending, only those are looked at. Memory: a block of the matrix and one of products.
    """
    available = matrix.shape[0] if rows is None else rows.size
    ids = np.full((queries.shape[0], k), -1, dtype=np.int64)
    distances = np.full((queries.shape[0], k), np.inf, dtype=np.float32)
    if available == 0:
        return ids, distances
    source, queries = matrix.view(), queries.view()
    source.flags.writeable = queries.flags.writeable = False  # one type for the kernels, whoever owns the memory
    with single_threaded_blas():
        for start in range(0, queries.shape[0], _QUERY_BLOCK):
            block = np.arange(start, min(start + _QUERY_BLOCK, queries.shape[0]))
            width = min(available, k + max(8, k // 4))
            while block.size:
                found, proven = _candidates(
                    source, norms, labels, queries[block], k=min(k, available), width=width, metric=metric, rows=rows
                )
                if width == available:
                    proven[:] = True
                done = block[proven]
                ids[done, : found[0].shape[1]] = found[0][proven]
                distances[done, : found[1].shape[1]] = found[1][proven]
                block = block[~proven]
                width = min(available, 4 * width)
    return ids, distances


def _candidates(
    matrix: FloatArray,
    norms: FloatArray,
    labels: IdArray,
    queries: FloatArray,
    *,
    k: int,
    width: int,
    metric: Metric,
    rows: IdArray | None,
) -> tuple[tuple[IdArray, FloatArray], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The best k of the `width` rows with the lowest bounds, and for which queries no other row can be nearer."""
    code = _kernels.METRIC_CODE[metric]
    dim = matrix.shape[1]
    # A float32 inner product of length d errs by about sqrt(d) roundings of |q||x| (Higham & Mary 2019, SIAM J. Sci.
    # Comput. 41(5), theorem 2.4); eight times that fails with a probability below 1e-12.
    slack = 8.0 * np.sqrt(dim) * 2.0**-24
    squares = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
    query_norms = np.sqrt(squares)
    bounds = np.full((queries.shape[0], width), np.inf)
    kept = np.full((queries.shape[0], width), -1, dtype=np.int64)
    available = matrix.shape[0] if rows is None else rows.size
    step = block_rows(dim)
    for start in range(0, available, step):
        stop = min(start + step, available)
        chosen = np.arange(start, stop) if rows is None else rows[start:stop]
        piece = matrix[start:stop] if rows is None else matrix[chosen]
        # (q, m): one query goes through the matrix-vector routine, which BLAS streams at memory speed
        dots = (piece @ queries[0])[None, :] if queries.shape[0] == 1 else queries @ piece.T
        piece_norms = norms[start:stop] if rows is None else norms[chosen]
        _kernels.keep_lowest(dots, piece_norms, query_norms, chosen, code, slack, bounds, kept)
    exact = np.empty(kept.shape)
    _kernels.true_distances(matrix, kept, queries, code, exact)
    rounded = exact.astype(np.float32)
    found = np.where(kept >= 0, labels[kept], np.iinfo(np.int64).max)
    order = np.lexsort((found, rounded), axis=1)[:, :k]
    settled = np.take_along_axis(exact, order[:, -1:], axis=1)[:, 0]
    worst = bounds[:, 0] + squares if metric == "l2" else bounds[:, 0]
    # A row that was dropped lies at `worst` or farther; it must also not round to the same float32 as the last kept.
    proven = worst > settled + np.abs(settled) * 2.0**-22 + 1e-300
    return (np.take_along_axis(found, order, axis=1), np.take_along_axis(rounded, order, axis=1)), proven
