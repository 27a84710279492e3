"""The hierarchical bootstrap: resample build seeds, in each its rounds, and the queries; then compute everything anew.

Build seeds and rounds are nested (a round belongs to one seed's block); queries are crossed with both (every build and
round answers the same ones), so they are drawn once a resample. Two contestants of the same blocks get the very same
draws: what made a round slow or a query hard falls out of their ratio.

Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8 on nested resampling, 5.3 on
percentile intervals. With three seeds the spread between seeds is understated by about sqrt(2/3): the report says how
many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from adamem.types import AnyArray, CountArray, DoubleArray, IdArray

RESAMPLES = 1000


@dataclass(frozen=True)
class Draws:
    """b resamples of s build seeds, r rounds and q queries."""

    seeds: IdArray
    """int64 (b, s)."""
    rounds: IdArray
    """int64 (b, s, r): the rounds drawn for each drawn seed, ascending."""
    counts: CountArray
    """int32 (b, q): how often each query was drawn; rows sum to q."""

    @cached_property
    def weights(self) -> DoubleArray:
        """float64 (b, q): the counts, for a BLAS."""
        weights = self.counts.astype(np.float64)
        weights.flags.writeable = False
        return weights


@lru_cache(maxsize=8)
def draws(seeds: int, rounds: int, queries: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """The draws for so many seeds, rounds and queries; equal arguments give equal draws."""
    random = np.random.default_rng([seed, seeds, rounds, queries, resamples])
    return _frozen(
        Draws(
            random.integers(seeds, size=(resamples, seeds)),
            np.sort(random.integers(max(rounds, 1), size=(resamples, seeds, rounds)), axis=2),
            random.multinomial(queries, np.full(queries, 1 / queries), size=resamples).astype(np.int32),
        )
    )


@lru_cache(maxsize=8)
def identity(seeds: int, rounds: int, queries: int) -> Draws:
    """The one draw that takes everything once: the estimate itself goes the same way as its resamples."""
    everything = np.tile(np.arange(rounds), (1, seeds, 1))
    return _frozen(Draws(np.arange(seeds)[None], everything, np.ones((1, queries), dtype=np.int32)))


def resampled_means(values: DoubleArray, drawn: Draws) -> DoubleArray:
    """float64 (b, p): means over the drawn seeds and queries of `values` (s, p, q)."""
    seeds, points, queries = values.shape
    columns = np.ascontiguousarray(values.reshape(seeds * points, queries).T)  # twice as fast as the transposed rows
    means = (drawn.weights @ columns).reshape(-1, seeds, points) / queries
    return np.asarray(np.take_along_axis(means, drawn.seeds[:, :, None], axis=1).mean(axis=1))


def resampled_log_seconds(values: DoubleArray, drawn: Draws) -> DoubleArray:
    """float64 (b, p): mean logarithms over the drawn seeds and rounds of `values` (s, p, r)."""
    logs = np.log(values).transpose(0, 2, 1)  # (s, r, p)
    picked = logs[drawn.seeds[:, :, None], drawn.rounds]  # (b, s, r, p)
    return np.asarray(picked.mean(axis=(1, 2)))


def resampled_log_percentiles(
    values: DoubleArray, drawn: Draws, percents: Sequence[float], *, raw: bool
) -> list[DoubleArray]:
    """float64 (b, p) each: mean over the drawn seeds of the log of percentiles over queries of `values` (s, p, r, q).

    The percentiles are those of each query's median over the rounds drawn, or with `raw` of all (round, query) pairs.
    NaN (not asked) is left out; a draw in which nothing was asked is NaN.
    """
    seeds, points, rounds, _ = values.shape
    out = np.empty((len(percents), *drawn.seeds.shape, points))
    if raw:
        # A round drawn twice counts twice: one sorting of all rounds does for every draw.
        times = (drawn.rounds[..., None] == np.arange(rounds)).sum(axis=2, dtype=np.int32)  # (b, s, r)
        for seed in range(seeds):
            resamples, slots = np.nonzero(drawn.seeds == seed)
            for point in range(points):
                out[:, resamples, slots, point] = weighted_percentiles(
                    values[seed, point], times[resamples, slots], drawn.counts, resamples, percents
                )
    else:
        for seed, chosen, (resamples, slots) in _alike(drawn):
            medians = _median_over_rounds(values[seed][:, chosen])  # (p, q)
            once = np.ones((resamples.size, 1), dtype=np.int32)
            for point in range(points):
                out[:, resamples, slots, point] = weighted_percentiles(
                    medians[point, None], once, drawn.counts, resamples, percents
                )
    return list(np.log(out).mean(axis=2))


def resampled_log_means(values: DoubleArray, drawn: Draws) -> DoubleArray:
    """float64 (b, p): mean over the drawn seeds of ln(mean over rounds and queries) of `values` (s, p, r, q)."""
    out = np.empty((*drawn.seeds.shape, values.shape[1]))
    for seed, rounds, where in _alike(drawn):
        taken = values[seed][:, rounds]  # (p, r, q)
        weights = drawn.weights[where[0]]
        asked = np.isfinite(taken)
        total = weights @ np.where(asked, taken, 0.0).sum(axis=1).T
        count = weights @ asked.sum(axis=1).T.astype(np.float64)
        out[where] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.asarray(np.log(out).mean(axis=1))


def weighted_percentiles(
    values: DoubleArray, times: CountArray, counts: CountArray, rows: IdArray, percents: Sequence[float]
) -> DoubleArray:
    """float64 (p, m): `np.percentile` of `values` (r, q), each repeated so many times, for each of m resamples.

    In resample i that is ``times[i, round] * counts[rows[i], query]``: int32 (m, r), int32 (b, q), int64 (m,). NaN
    values are left out; NaN where nothing is left.
    """
    from adamem.bench import kernels  # noqa: PLC0415 -- brings numba, which only reports need

    out = np.full((len(percents), rows.size), np.nan)
    order = np.argsort(values, axis=None)[: np.isfinite(values).sum()]
    if order.size:
        round_of, query_of = np.divmod(order, values.shape[1])
        asked = np.asarray(percents, dtype=np.float64)
        kernels.weighted_percentiles(values.ravel()[order], round_of, query_of, times, counts, rows, asked, out)
    return out


def _median_over_rounds(values: DoubleArray) -> DoubleArray:
    """float64 (p, q): medians of `values` (p, r, q) over the rounds that asked the query, NaN if none did."""
    asked = np.isfinite(values)
    ordered = _ordered(list(np.where(asked, values, np.inf).transpose(1, 0, 2)))
    if asked.all():
        return np.asarray((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)
    count = asked.sum(axis=1)
    last = np.maximum(count - 1, 0)
    low, high = (np.choose(place, ordered) for place in (last // 2, (last + 1) // 2))
    return np.where(count > 0, (low + high) / 2, np.nan)


def _ordered(rows: list[DoubleArray]) -> list[DoubleArray]:
    """The same arrays, ascending at each place: for five of them this takes a sixth of the time of `np.sort`."""
    for end in range(len(rows) - 1, 0, -1):
        for i in range(end):
            rows[i], rows[i + 1] = np.minimum(rows[i], rows[i + 1]), np.maximum(rows[i], rows[i + 1])
    return rows


def _alike(drawn: Draws) -> list[tuple[int, IdArray, tuple[AnyArray, AnyArray]]]:
    """The distinct (seed, rounds) among the draws, with the (resample, slot) indices at which each stands.

    Five rounds can be drawn in only 126 ways: grouping spares most of the sorting.
    """
    wide = np.concatenate([drawn.seeds[:, :, None], drawn.rounds], axis=2)  # (b, s, 1 + r)
    kinds, inverse = np.unique(wide.reshape(-1, wide.shape[2]), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(kinds.shape[0] + 1))
    slots = drawn.seeds.shape[1]
    out = []
    for number, kind in enumerate(kinds):
        flat = order[bounds[number] : bounds[number + 1]]
        out.append((int(kind[0]), kind[1:], (flat // slots, flat % slots)))
    return out


def _frozen(drawn: Draws) -> Draws:
    # Cached and shared: nobody may write into them.
    for array in (drawn.seeds, drawn.rounds, drawn.counts):
        array.flags.writeable = False
    return drawn
