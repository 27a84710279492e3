"""How hard each query is, by the data alone: relative contrast and local intrinsic dimension.

Both are stored as raw/hardness.npz (``relative_contrast``, ``lid``: float64 (q,), test queries in the order of their
`Truth`), so that strata can be recomputed without the data set.
"""

from __future__ import annotations

import numpy as np

from adamem.bench.metrics import own_units
from adamem.bench.truth import Truth
from adamem.data.dataset import Dataset
from adamem.types import AnyArray, DoubleArray, FloatArray, IdArray, Metric

SAMPLE = 1000
"""Base rows that the mean distance is estimated from."""
NEIGHBOUR = 10
"""The neighbour that the contrast refers to: with the first, a query with a copy in the base would have none."""


def hardness(dataset: Dataset, truth: Truth, *, seed: int) -> dict[str, AnyArray]:
    """The arrays of raw/hardness.npz for the queries of `truth`, with the contrast at its `NEIGHBOUR`-th neighbour.

    The mean distance is that to `SAMPLE` rows of the base, drawn by `seed` without replacement (all, if it has fewer).
    Under the inner product all is NaN: it has no zero that a ratio of distances could refer to.
    """
    if dataset.metric == "ip":
        return {name: np.full(truth.rows.size, np.nan) for name in ("relative_contrast", "lid")}
    n = dataset.base.shape[0]
    rows = np.sort(np.random.default_rng([seed, n]).choice(n, size=min(SAMPLE, n), replace=False))
    sample, queries = np.asarray(dataset.base[rows]), np.asarray(dataset.queries[truth.rows])
    means = mean_distances(sample, queries, metric=dataset.metric)
    distances = own_units(truth.distances, dataset.metric)
    return {"relative_contrast": relative_contrast(means, distances, NEIGHBOUR), "lid": lid(distances)}


def mean_distances(sample: FloatArray, queries: FloatArray, *, metric: Metric) -> DoubleArray:
    """float64 (q,): the mean distance, in the metric's own unit (Euclidean; 1 - cosine), to `sample` (m, d)."""
    x = np.asarray(sample, dtype=np.float64)
    q = np.asarray(queries, dtype=np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
        return np.asarray(1.0 - q @ x.mean(axis=0))
    out = np.empty(q.shape[0])
    norms = np.einsum("ij,ij->i", x, x)
    for start in range(0, q.shape[0], 1024):
        part = q[start : start + 1024]
        squared = np.einsum("ij,ij->i", part, part)[:, None] + norms - 2 * (part @ x.T)  # (part, m)
        out[start : start + 1024] = np.sqrt(np.maximum(squared, 0.0)).mean(axis=1)
    return out


def relative_contrast(means: DoubleArray, distances: DoubleArray, k: int) -> DoubleArray:
    """float64 (q,): mean distance `means` (q,) over that of the k-th true neighbour, `distances` (q, depth) ascending.

    The nearer to 1, the harder: everything is about equally far. NaN where the k-th distance is not positive (a
    duplicate has no contrast). He, Kumar and Chang, "On the difficulty of nearest
    neighbor search", ICML 2012, section 2, there over the nearest neighbour: k = 1.
    """
    kth = distances[:, min(k, distances.shape[1]) - 1]
    out = np.full(means.shape, np.nan)
    np.divide(means, kth, out=out, where=kth > 0)
    return out


def lid(distances: DoubleArray) -> DoubleArray:
    """float64 (q,): local intrinsic dimension from the true neighbours' distances (q, depth), ascending, not squared.

    The maximum-likelihood estimate -1 / mean(ln(d_i / d_k)) over the positive distances, d_k the last of them
    (Amsaleg et al., "Estimating Local Intrinsic Dimensionality", KDD 2015, equation 7, where the mean includes i = k).
    The higher, the harder. NaN with fewer than two distinct positive distances.
    """
    last = distances[:, -1:]
    positive = (distances > 0) & (last > 0)
    ratio = np.divide(distances, last, out=np.ones_like(distances), where=positive)
    total = np.log(ratio).sum(axis=1)
    out = np.full(distances.shape[0], np.nan)
    np.divide(-positive.sum(axis=1).astype(np.float64), total, out=out, where=total < 0)
    return out


def deciles(hardness: DoubleArray, *, hard_is_low: bool, groups: int = 10) -> IdArray:
    """int64 (q,): each query's stratum, 0 the easiest, by rank, in groups of equal size (to one); -1 where NaN.

    Relative contrast is hard where low, intrinsic dimension where high. Equal values are parted by position, so that
    the groups keep their size.
    """
    out = np.full(hardness.size, -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(hardness))
    order = known[np.argsort(-hardness[known] if hard_is_low else hardness[known], kind="stable")]
    out[order] = np.arange(order.size) * groups // max(order.size, 1)
    return out
