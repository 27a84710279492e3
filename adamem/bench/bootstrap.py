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
from functools import lru_cache

import numpy as np

from adamem.types import AnyArray, DoubleArray, IdArray

RESAMPLES = 1000


@dataclass(frozen=True)
class Draws:
    """b resamples of s build seeds, r rounds and q queries."""

    seeds: IdArray
    """int64 (b, s)."""
    rounds: IdArray
    """int64 (b, s, r): the rounds drawn for each drawn seed, ascending."""
    weights: DoubleArray
    """float64 (b, q): how often each query was drawn; rows sum to q."""


@lru_cache(maxsize=8)
def draws(seeds: int, rounds: int, queries: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """The draws for so many seeds, rounds and queries; equal arguments give equal draws."""
    random = np.random.default_rng([seed, seeds, rounds, queries, resamples])
    return _frozen(
        Draws(
            random.integers(seeds, size=(resamples, seeds)),
            np.sort(random.integers(max(rounds, 1), size=(resamples, seeds, rounds)), axis=2),
            random.multinomial(queries, np.full(queries, 1 / queries), size=resamples).astype(np.float64),
        )
    )


@lru_cache(maxsize=8)
def identity(seeds: int, rounds: int, queries: int) -> Draws:
    """The one draw that takes everything once: the estimate itself goes the same way as its resamples."""
    everything = np.tile(np.arange(rounds), (1, seeds, 1))
    return _frozen(Draws(np.arange(seeds)[None], everything, np.ones((1, queries))))


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
    out = np.empty((len(percents), *drawn.seeds.shape, values.shape[1]))  # (percents, b, s, p)
    for seed, rounds, where in _alike(drawn):
        taken = values[seed][:, rounds]  # (p, r, q)
        weights = drawn.weights[where[0]]
        if raw:
            taken = taken.reshape(taken.shape[0], -1)  # (p, r * q)
            weights = np.tile(weights, (1, rounds.size))
        else:
            taken = _median_over_rounds(taken)  # (p, q)
        for point in range(taken.shape[0]):
            out[(slice(None), *where, point)] = weighted_percentiles(taken[point], weights, percents)
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


def weighted_percentiles(values: DoubleArray, weights: DoubleArray, percents: Sequence[float]) -> DoubleArray:
    """float64 (p, m): `np.percentile` of `values` (n,), each repeated as often as each row of `weights` (m, n) says.

    NaN values are left out; NaN where nothing is left.
    """
    from adamem.bench import kernels  # noqa: PLC0415 -- brings numba, which only reports need

    out = np.full((len(percents), weights.shape[0]), np.nan)
    order = np.argsort(values)[: np.isfinite(values).sum()]
    if order.size:
        asked = np.asarray(percents, dtype=np.float64)
        kernels.weighted_percentiles(values[order], order, np.ascontiguousarray(weights), asked, out)
    return out


def _median_over_rounds(values: DoubleArray) -> DoubleArray:
    """float64 (p, q): medians of `values` (p, r, q) over the rounds that asked the query, NaN if none did."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)[:, None]
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(ordered, last // 2, axis=1)
    high = np.take_along_axis(ordered, (last + 1) // 2, axis=1)
    return np.asarray((low + high)[:, 0] / 2)


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
    for array in (drawn.seeds, drawn.rounds, drawn.weights):
        array.flags.writeable = False
    return drawn
