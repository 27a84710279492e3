"""The one exact oracle: which rows are nearest, as certain as float64 makes it.

Candidates come from float32 matrix products; every row that their rounding could have kept out of the first k is
taken along, and all of them are ranked again in float64. With u = 2^-24 a float32 inner product of length d is off by
at most gamma(d) |q||x|, gamma(d) = d u / (1 - d u), in whatever order BLAS sums (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 3.1). Each row therefore has a *lower bound* of its distance; the k-th smallest
*upper bound* T caps the k-th true distance; rows whose lower bound exceeds T cannot belong.

The base is read once, chunk by chunk (it may be a memory map larger than memory); queries whose bound admits more
candidates than were kept get a second reading that keeps all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adamem.data.progress import Progress, silent
from adamem.errors import InvalidInput
from adamem.types import METRICS, AnyArray, DoubleArray, FloatArray, IdArray, Metric

ORACLE_VERSION = 1
"""Part of every cached truth's key: raised when the answer could differ."""

_CHUNK_BYTES = 16 << 20  # of float64 rows; several such arrays live at once
_QUERIES = 512
_UNIT = 2.0**-24
_UNDERFLOW = 2.0**-148  # absolute error of one operation on numbers too small for float32's normal range


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
    base: float32 (n, d), n >= k; may be a memory map. Finite.
    queries: float32 (q, d).

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
    frame = _Frame.around(base, queries, metric)
    keep = min(k + max(32, k // 2), base.shape[0])
    pool = _Pool.empty(len(queries), keep)
    for start, rows in _chunks(base):
        chunk = frame.rows(rows, start)
        for begin in range(0, len(queries), _QUERIES):
            part = slice(begin, min(begin + _QUERIES, len(queries)))
            pool.offer(part, frame.lower_bounds(queries[part], chunk), start)
        tell(min(start + len(rows), base.shape[0]), base.shape[0], "exact neighbours")
    ids = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k), np.float64)
    caps = np.empty(len(queries), np.float64)
    short: list[int] = []
    for q in range(len(queries)):
        order = np.argsort(pool.lower[q], kind="stable")
        lower, found = pool.lower[q][order].astype(np.float64), pool.ids[q][order]
        rows = np.asarray(base[np.sort(found)])[np.argsort(np.argsort(found))]  # read in file order, keep ours
        upper = lower + 2.0 * frame.error(queries[q], rows)
        caps[q] = np.partition(upper, k - 1)[k - 1]
        inside = lower <= caps[q]
        ids[q], distances[q] = _first(found[inside], _true(rows[inside], queries[q], metric), k)
        if inside.all() and keep < base.shape[0]:
            short.append(q)
    if short:
        _widen(base, queries, np.array(short), caps, frame, ids, distances, metric, tell)
    return ids, distances


def true_distances(base: FloatArray, queries: FloatArray, ids: IdArray, *, metric: Metric) -> DoubleArray:
    """Float64 distances (q, k) of the rows `ids` (q, k) to their queries; +inf where an id is -1."""
    out = np.full(ids.shape, np.inf)
    for q, row in enumerate(ids):
        found = row >= 0
        out[q, found] = _true(np.asarray(base[row[found]]), queries[q], metric)
    return out


@dataclass(frozen=True)
class _Rows:
    """A chunk of the base, ready for the matrix product."""

    vectors: FloatArray  # (c, d + 1): moved and scaled, its own length appended
    constant: FloatArray  # (c,): what does not depend on the query


@dataclass(frozen=True)
class _Frame:
    """The coordinates in which float32 loses least: moved to the data's middle (l2) or to unit length (cosine), and
    scaled by a power of two, which is exact, so that squares neither overflow nor underflow."""

    metric: Metric
    centre: DoubleArray  # (d,)
    scale: float
    slack: float

    @classmethod
    def around(cls, base: FloatArray, queries: FloatArray, metric: Metric) -> _Frame:
        dim = base.shape[1]
        slack = 2.0 * (dim + 8) * _UNIT / (1.0 - (dim + 8) * _UNIT)
        if metric == "cosine":
            return cls(metric, np.zeros(dim), 1.0, slack)
        sample = np.asarray(base[:: max(1, base.shape[0] // 2048)], np.float64)
        # Any centre is right; one near the middle makes the bound tight.
        centre = sample.mean(axis=0) if metric == "l2" else np.zeros(dim)
        longest = float(np.sqrt(((sample - centre) ** 2).sum(axis=1)).max(initial=0.0))
        for begin in range(0, len(queries), _QUERIES):
            moved = np.asarray(queries[begin : begin + _QUERIES], np.float64) - centre
            longest = max(longest, float(np.sqrt((moved**2).sum(axis=1)).max(initial=0.0)))
        scale = 2.0 ** -round(np.log2(longest)) if longest > 0 else 1.0
        return cls(metric, centre, scale, slack)

    def place(self, vectors: AnyArray) -> tuple[DoubleArray, DoubleArray]:
        """Vectors (c, d) in this frame, and their lengths (c,)."""
        moved = (np.asarray(vectors, np.float64) - self.centre) * self.scale
        lengths = np.sqrt((moved**2).sum(axis=1))
        if self.metric == "cosine":
            if not lengths.all():
                raise InvalidInput("a vector of length zero has no cosine; drop it or choose l2")
            moved /= lengths[:, None]
            lengths = np.ones(len(moved))
        return moved, lengths

    def rows(self, vectors: FloatArray, start: int) -> _Rows:
        moved, lengths = self.place(vectors)
        if not lengths.max(initial=0.0) < 1e17:
            worst = start + int(np.argmax(lengths))
            raise InvalidInput(f"row {worst} is not finite, or 1e17 times longer than others; mend or drop it")
        extended = np.concatenate([moved, lengths[:, None]], axis=1).astype(np.float32)  # (c, d + 1)
        constant = (1.0 - self.slack) * lengths**2 if self.metric == "l2" else np.zeros(len(moved))
        return _Rows(extended, constant.astype(np.float32))

    def lower_bounds(self, queries: FloatArray, rows: _Rows) -> FloatArray:
        """(b, c): what each distance is at least, less the query's own constant.

        l2:  |x|^2 - 2 q.x - slack (|q| + |x|)^2, the |q|^2 terms left out. The rest: -q.x - slack |q||x|.
        """
        moved, lengths = self.place(queries)
        weight = self.slack * lengths
        extended = np.concatenate([moved, weight[:, None]], axis=1).astype(np.float32)
        product = extended @ rows.vectors.T  # (b, c)
        product *= np.float32(-2.0 if self.metric == "l2" else -1.0)
        if self.metric == "l2":
            product += rows.constant
        return product

    def error(self, query: FloatArray, rows: FloatArray) -> DoubleArray:
        """(c,): half the width between the lower bound above and an upper bound on the same scale, generously."""
        _, length = self.place(query[None])
        _, lengths = self.place(rows)
        reach = (length[0] + lengths) ** 2 if self.metric == "l2" else length[0] * lengths
        return 1.5 * self.slack * reach + (len(query) + 8) * _UNDERFLOW


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


def _widen(
    base: FloatArray,
    queries: FloatArray,
    short: IdArray,
    caps: DoubleArray,
    frame: _Frame,
    ids: IdArray,
    distances: DoubleArray,
    metric: Metric,
    tell: Progress,
) -> None:
    """Read the base again for the queries `short`, ranking every row within their caps; mends ids and distances."""
    k = ids.shape[1]
    for start, rows in _chunks(base):
        chunk = frame.rows(rows, start)
        for begin in range(0, len(short), _QUERIES):
            some = short[begin : begin + _QUERIES]
            inside = frame.lower_bounds(queries[some], chunk) <= caps[some, None]
            for q, hits in zip(some, inside, strict=True):
                columns = np.flatnonzero(hits)
                columns = columns[~np.isin(columns + start, ids[q])]
                if len(columns):
                    exact = _true(rows[columns], queries[q], metric)
                    ids[q], distances[q] = _first(
                        np.concatenate([ids[q], columns + start]), np.concatenate([distances[q], exact]), k
                    )
        tell(min(start + len(rows), base.shape[0]), base.shape[0], f"exact neighbours, {len(short)} close calls")


def _true(rows: AnyArray, query: AnyArray, metric: Metric) -> DoubleArray:
    """Distances (c,) in float64. Differences are taken before squares, so that near-duplicates do not cancel; for
    cosine too: 1 - cos equals half the squared distance of the unit vectors."""
    x, q = np.asarray(rows, np.float64), np.asarray(query, np.float64)
    if metric == "ip":
        return -(x * q).sum(axis=1)
    if metric == "cosine":
        x = x / np.sqrt((x * x).sum(axis=1))[:, None]
        q = q / np.sqrt((q * q).sum())
    difference = x - q
    squares = (difference * difference).sum(axis=1)
    return squares if metric == "l2" else 0.5 * squares


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
