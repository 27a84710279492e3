"""Whether two things measured on the same queries differ: the mean difference, its interval, a test, an effect size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from adamem.types import AnyArray, DoubleArray

PERMUTATIONS = 9999


@dataclass(frozen=True)
class Paired:
    """b - a over the queries on which both are known."""

    queries: int
    difference: float
    """Mean of b - a; NaN without queries."""
    low: float
    high: float
    """95 % percentile bootstrap over queries, or over groups of them."""
    p_value: float
    """Two-sided sign-flip permutation test of "no difference"; 1 if no query differs."""
    effect: float
    """Cohen's d_z: the mean difference over the standard deviation of the differences; 0 if no query differs."""
    better: float
    """Share of the queries on which b is higher."""
    worse: float


def paired(
    a: DoubleArray,
    b: DoubleArray,
    *,
    groups: AnyArray | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Paired:
    """Compare `a` and `b`, float64 (q,) each, query by query; a query that is NaN in either is left out.

    Where queries are of `groups` (q,), whole groups are drawn and change their sign: queries about one thing are not so
    many independent ones (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).

    Under "no difference" each query's difference is as likely to have the other sign; the p-value is the share of sign
    patterns, the observed one among them, whose mean is at least as far from 0 (Phipson and Smyth, "Permutation
    p-values should never be zero", 2010).
    """
    change = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    known = np.isfinite(change)
    change = change[known]
    n = change.size
    if n == 0:
        return Paired(0, *([np.nan] * 7))
    mean = snapped(float(change.mean()))
    better, worse = float((change > 0).mean()), float((change < 0).mean())
    if not change.any():
        return Paired(n, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    sums, sizes = (change, np.ones(n)) if groups is None else in_groups(change, groups[known])
    weights, random = _drawn(seed, sums.size)
    drawn = weights.astype(np.float64)
    # Not by BLAS, whose threads wait for each other longer than so small a product takes.
    means = np.einsum("ij,j->i", drawn, sums) / np.einsum("ij,j->i", drawn, sizes)
    low, high = np.percentile(means, (2.5, 97.5))
    extreme = 1
    told = sums[sums != 0]  # a zero keeps its sign's no effect
    rounding = 1e-12 * float(np.abs(told).sum())  # thirds that cancel out do so but for their last bits
    for start in range(0, permutations, 500):
        tossed = random.integers(0, 2, size=(min(500, permutations - start), told.size), dtype=np.int8)
        signs = tossed.astype(np.float64)
        signs *= 2
        signs -= 1
        totals = np.einsum("ij,j->i", signs, told)
        extreme += int((np.abs(totals) >= abs(told.sum()) - rounding).sum())
    spread = float(change.std(ddof=1)) if n > 1 else 0.0
    effect = mean / spread if spread > 0 else float(np.copysign(np.inf, mean))
    return Paired(
        n, mean, snapped(float(low)), snapped(float(high)), extreme / (permutations + 1), effect, better, worse
    )


def in_groups(values: DoubleArray, groups: AnyArray) -> tuple[DoubleArray, DoubleArray]:
    """float64 (groups,) each: the sum of each group's values, and how many there are."""
    _, place = np.unique(groups, return_inverse=True)
    place = place.ravel()
    return np.bincount(place, weights=values).astype(np.float64), np.bincount(place).astype(np.float64)


def snapped(value: float) -> float:
    """0 where it is that but for rounding: no sign, and no side of zero, may hang on the last bits of a sum."""
    return 0.0 if abs(value) < 1e-14 else value


def resamples(n: int) -> AnyArray:
    """How often each of 1,000 resamples draws each of n queries, whole numbers (1000, n), read-only."""
    return _resamples(0, n)[0]


def _drawn(seed: int, n: int) -> tuple[AnyArray, np.random.Generator]:
    """How often each resample draws each of n queries, int (1000, n), and what the signs are drawn from."""
    weights, state = _resamples(seed, n)
    random = np.random.default_rng()
    random.bit_generator.state = state
    return weights, random


@lru_cache(maxsize=16)
def _resamples(seed: int, n: int) -> tuple[AnyArray, dict[str, Any]]:
    """The same for all comparisons of so many queries: a report makes thousands. And the generator's state after it."""
    random = np.random.default_rng([seed, n])
    weights = random.multinomial(n, np.full(n, 1 / n), size=1000)
    small = weights.astype(np.min_scalar_type(int(weights.max())))  # a quarter of a gigabyte less, and as exact
    small.flags.writeable = False  # shared: nobody may write into it
    return small, dict(random.bit_generator.state)


def holm(p_values: DoubleArray) -> DoubleArray:
    """P-values (m,) corrected for being m: Holm's step-down, which bounds the chance of any false alarm.

    S. Holm, "A simple sequentially rejective multiple test procedure", 1979. NaN stays NaN and is not counted.
    """
    out = np.full(np.shape(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(np.asarray(p_values)[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return out
