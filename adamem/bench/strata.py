"""What a mean of recalls hides: the worst queries, and how recall falls as queries grow harder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adamem.types import DoubleArray, IdArray


class Tail(NamedTuple):
    """The lower end of a distribution of per-query recalls."""

    mean: float
    p5: float
    """5th percentile over queries."""
    below_half: float
    """Share of the queries with a recall under 0.5."""
    zero: float
    """Share of the queries for which nothing true came back."""


def tail(recall: DoubleArray) -> Tail:
    """The tail of per-query recalls, of whatever shape (s, q) or (q,): all pooled."""
    flat = np.ravel(recall)
    return Tail(
        float(flat.mean()), float(np.percentile(flat, 5)), float((flat < 0.5).mean()), float((flat == 0).mean())
    )


def by_stratum(values: DoubleArray, strata: IdArray, groups: int = 10) -> DoubleArray:
    """float64 (groups,): the mean of `values` (..., q) in each stratum (q,) of `adamem.bench.hardness.deciles`.

    NaN where a stratum has no query (strata number -1 are in none).
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1, strata.size).mean(axis=0)  # (q,)
    out = np.full(groups, np.nan)
    for group in range(groups):
        member = strata == group
        if member.any():
            out[group] = flat[member].mean()
    return out
