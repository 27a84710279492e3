"""The one exact oracle: which rows are nearest, as certain as float64 makes it.

Candidates come from float32 matrix products; every row that their rounding could have kept out of the first k is
taken along, and all of them are ranked again in float64. Each row has a *lower bound* of its distance (`bounds`); the
k-th smallest *upper bound* caps the k-th true distance; rows whose lower bound exceeds that cap cannot belong.

The base is read once, chunk by chunk (it may be a memory map larger than memory); queries whose cap admits more
candidates than were kept get a second reading that keeps all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adamem.data.bounds import QUERIES, Frame
from adamem.data.distance import row_distances
from adamem.data.progress import Progress, silent
from adamem.errors import InvalidInput
from adamem.types import METRICS, DoubleArray, FloatArray, IdArray, Metric

ORACLE_VERSION = 1
"""Part of every cached truth's key: raised when the answer could differ."""

_CHUNK_BYTES = 16 << 20  # of float64 rows; several such arrays live at once


def exact_neighbours(
    base: FloatArray,
    queries: FloatArray,
    k: int,
    *,
    metric: Metric,
    progress: Progress | None = None,
) -> tuple[IdArray, DoubleArray]:
    """The k nearest rows of every query.

    Parameters
    ----------
    base
        float32 (n, d), n >= k, finite; may be a memory map.
    queries
        float32 (q, d), finite.
    k
        How many, 1 to n.
    metric
        How to compare.
    progress
        Told of every chunk of rows.

    Returns
    -------
    ids (q, k) int64 row numbers and distances (q, k) float64, sorted by (distance, id); by the convention of
    `adamem.types.Metric`. Memory beyond the two is bounded by about 150 MB plus 24 bytes a query and candidate.

    Raises
    ------
    InvalidInput
        if the metric is unknown, widths differ, k is not in 1..n, or a vector is zero under cosine.
    """
    _check(base, queries, k, metric)
    tell = progress or silent
    frame = Frame.around(base, queries, metric)
    keep = min(k + max(32, k // 2), len(base))
    pool = _Pool.empty(len(queries), keep)
    for start, rows in _chunks(base):
        chunk = frame.rows(rows, start)
        for begin in range(0, len(queries), QUERIES):
            part = slice(begin, min(begin + QUERIES, len(queries)))
            pool.offer(part, frame.lower_bounds(queries[part], chunk, begin), start)
        tell(start + len(rows), len(base), "exact neighbours")
    found = _rank(base, queries, k, frame, pool)
    # Where the last row kept is still within the cap, there may be others behind it.
    short = np.flatnonzero(pool.lower.max(axis=1) <= found.caps) if keep < len(base) else np.empty(0, np.int64)
    if len(short):
        _widen(base, queries, frame, short=short, found=found, tell=tell)
    return found.ids, found.distances


@dataclass(frozen=True)
class _Pool:
    """For every query, the rows of the smallest lower bounds so far."""

    lower: FloatArray  # (q, m)
    ids: IdArray  # (q, m)

    @classmethod
    def empty(cls, queries: int, keep: int) -> _Pool:
        return cls(np.full((queries, keep), np.inf, np.float32), np.full((queries, keep), -1, np.int64))

    def offer(self, part: slice, bounds: FloatArray, start: int) -> None:
        """Take those of `bounds` (b, c), rows start..start+c, that beat the worst kept."""
        lower, ids = self.lower[part], self.ids[part]
        keep = lower.shape[1]
        if np.isinf(lower).any():  # not full yet: nothing to compare with
            columns = np.arange(bounds.shape[1], dtype=np.int64)
            fresh, names = bounds, np.broadcast_to(columns + start, bounds.shape)
            if bounds.shape[1] > keep:
                best = np.argpartition(bounds, keep - 1, axis=1)[:, :keep]
                fresh, names = np.take_along_axis(bounds, best, axis=1), best + start
        else:
            query, column = np.nonzero(bounds < lower.max(axis=1)[:, None])
            if not len(query):
                return
            counts = np.bincount(query, minlength=len(bounds))
            place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
            fresh = np.full((len(bounds), int(counts.max())), np.inf, np.float32)  # (b, most hits of one query)
            names = np.full(fresh.shape, -1, np.int64)
            fresh[query, place], names[query, place] = bounds[query, column], column + start
        both, both_ids = np.concatenate([lower, fresh], axis=1), np.concatenate([ids, names], axis=1)
        best = np.argpartition(both, keep - 1, axis=1)[:, :keep]
        self.lower[part] = np.take_along_axis(both, best, axis=1)
        self.ids[part] = np.take_along_axis(both_ids, best, axis=1)


@dataclass(frozen=True)
class _Found:
    """The k nearest so far, and what each query's k-th distance cannot exceed on the bounds' scale."""

    ids: IdArray  # (q, k)
    distances: DoubleArray  # (q, k)
    caps: DoubleArray  # (q,)


def _rank(base: FloatArray, queries: FloatArray, k: int, frame: Frame, pool: _Pool) -> _Found:
    """Order each query's candidates by their true distances."""
    count = len(queries)
    found = _Found(np.empty((count, k), np.int64), np.empty((count, k)), np.empty(count))
    for q, query in enumerate(queries):
        order = np.argsort(pool.ids[q])  # so that the file is read forwards
        candidates, lower = pool.ids[q][order], pool.lower[q][order].astype(np.float64)
        rows = np.asarray(base[candidates])
        upper = lower + 2.0 * frame.error(query, rows)
        cap = np.partition(upper, k - 1)[k - 1]
        inside = lower <= cap
        exact = row_distances(rows[inside], query, frame.metric)
        found.ids[q], found.distances[q] = _first(candidates[inside], exact, k)
        found.caps[q] = cap
    return found


def _widen(
    base: FloatArray, queries: FloatArray, frame: Frame, *, short: IdArray, found: _Found, tell: Progress
) -> None:
    """Read the base again for the queries `short`, ranking every row within their caps; mends `found`."""
    k = found.ids.shape[1]
    for start, rows in _chunks(base):
        chunk = frame.rows(rows, start)
        for begin in range(0, len(short), QUERIES):
            some = short[begin : begin + QUERIES]
            inside = frame.lower_bounds(queries[some], chunk) <= found.caps[some, None]
            for q, hits in zip(some, inside, strict=True):
                columns = np.flatnonzero(hits)
                columns = columns[~np.isin(columns + start, found.ids[q])]
                exact = row_distances(rows[columns], queries[q], frame.metric)
                found.ids[q], found.distances[q] = _first(
                    np.concatenate([found.ids[q], columns + start]), np.concatenate([found.distances[q], exact]), k
                )
        tell(start + len(rows), len(base), f"exact neighbours, {len(short)} close calls")


def _first(ids: IdArray, distances: DoubleArray, k: int) -> tuple[IdArray, DoubleArray]:
    order = np.lexsort((ids, distances))[:k]
    return ids[order], distances[order]


def _chunks(base: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    step = max(1, _CHUNK_BYTES // (8 * base.shape[1]))
    for start in range(0, base.shape[0], step):
        yield start, base[start : start + step]


def _check(base: FloatArray, queries: FloatArray, k: int, metric: Metric) -> None:
    if metric not in METRICS:
        raise InvalidInput(f"metric {metric!r} is unknown; choose one of {', '.join(METRICS)}")
    if base.ndim != 2 or queries.ndim != 2 or base.shape[1] != queries.shape[1]:
        raise InvalidInput(f"base {base.shape} and queries {queries.shape} must be tables of the same width")
    if not 1 <= k <= base.shape[0]:
        raise InvalidInput(f"k = {k} is out of range: the base has {base.shape[0]} rows; choose k from 1 to that")
