"""True distances, in float64, by the one convention of `adamem.types.Metric`."""

from __future__ import annotations

import numpy as np

from adamem.types import AnyArray, DoubleArray, FloatArray, IdArray, Metric


def true_distances(base: FloatArray, queries: FloatArray, ids: IdArray, *, metric: Metric) -> DoubleArray:
    """Float64 distances (q, k) of the rows `ids` (q, k) to their queries; +inf where an id is -1."""
    out = np.full(ids.shape, np.inf)
    for q, row in enumerate(ids):
        found = row >= 0
        out[q, found] = row_distances(np.asarray(base[row[found]]), queries[q], metric)
    return out


def row_distances(rows: AnyArray, query: AnyArray, metric: Metric) -> DoubleArray:
    """Distances (c,) from one query (d,) to rows (c, d).

    Differences are taken before squares, so that near-duplicates do not cancel; for cosine too: 1 - cos equals half the
    squared distance of the unit vectors.
    """
    x, q = np.asarray(rows, np.float64), np.asarray(query, np.float64)
    out: DoubleArray
    if metric == "ip":
        out = -(x * q).sum(axis=1)
        return out
    if metric == "cosine":
        x = x / np.sqrt((x * x).sum(axis=1))[:, None]
        q = q / np.sqrt((q * q).sum())
    difference = x - q
    out = (difference * difference).sum(axis=1)
    return out if metric == "l2" else 0.5 * out
