"""What is asked in several seeds counts once: means over seeds first, and intervals over what differs from each other.

Two seeds draw some of the same questions, or all of them where a collection has no more. Resampled as if they were
others, they would narrow an interval that more seeds cannot narrow: what seeds spread by is told beside it. For the
same reason it is groups that are resampled: all questions about a fact, an intent, an entity or a term.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv  # the beta distribution's quantile; scipy.stats takes a second to import

from adamem.bench.bootstrap import RESAMPLES
from adamem.bench.paired import Paired, in_groups, resamples, snapped
from adamem.bench.stats import Estimate
from adamem.types import AnyArray, DoubleArray


def means_by_key(values: DoubleArray, keys: AnyArray) -> DoubleArray:
    """float64 (distinct keys,): the mean of the `values` (n,) of each of the `keys` (n,), by rising key."""
    _, place = np.unique(keys, return_inverse=True)
    place = place.ravel()
    return np.asarray(np.bincount(place, weights=values) / np.bincount(place))


def share(values: DoubleArray, groups: AnyArray) -> Estimate:
    """The mean of `values` (n,) in [0, 1] with its 95 % interval: bootstrap over `groups` (n,), or exact.

    Resamples of equal values are all the same, which says nothing of how many there were: there the interval is that of
    Clopper and Pearson (1934), of as many as there are groups.
    """
    if values.size == 0:
        return Estimate(np.nan, np.nan, np.nan)
    sums, sizes = in_groups(values, groups)
    value = float(values.mean())
    if np.ptp(values) == 0:
        return Estimate(value, *exact_interval(value, sums.size))
    drawn = resamples(sums.size)
    low, high = np.percentile((drawn @ sums) / (drawn @ sizes), (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def exact_interval(value: float, count: int) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson of a share `value` of `count`."""
    hits = value * count
    low = float(betaincinv(hits, count - hits + 1, 0.025)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, count - hits, 0.975)) if hits < count else 1.0
    return low, high


def has_interval(test: Paired) -> bool:
    """Whether resamples of the differences differ: else all are equal, and there is no interval to be had of them."""
    return test.high - test.low > 1e-12


def contrast(values: DoubleArray, keys: AnyArray, treated: AnyArray) -> Estimate:
    """The mean of those that were `treated`, bool (n,), less that of the others, with its 95 % interval.

    Each of the distinct `keys` (n,) counts once on its side, and is drawn as one where it is on both. No interval where
    on either side all values are equal and on the other, too.
    """
    names = np.unique(keys)
    sides = []
    for side in (treated, ~treated):
        at = np.searchsorted(names, np.unique(keys[side]))
        sides.append((at, means_by_key(values[side], keys[side])))
    value = snapped(float(sides[0][1].mean() - sides[1][1].mean()))
    if all(np.ptp(found) == 0 for _, found in sides):
        return Estimate(value, np.nan, np.nan)
    weights = resamples(names.size)
    means = []
    for at, found in sides:
        drawn = weights[:, at]  # (resamples, facts of this side)
        count = drawn.sum(axis=1)
        means.append(np.divide(drawn @ found, count, out=np.full(RESAMPLES, np.nan), where=count > 0))
    low, high = np.nanpercentile(means[0] - means[1], (2.5, 97.5))
    return Estimate(value, snapped(float(low)), snapped(float(high)))


def bounds(test: Paired) -> tuple[float | None, float | None]:
    """The interval of a difference; None where there is none."""
    return (test.low, test.high) if has_interval(test) else (None, None)
