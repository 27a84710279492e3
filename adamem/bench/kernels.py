"""The one loop that numpy cannot do without large temporaries. Import it late: numba is slow to load."""

from __future__ import annotations

import numpy as np
from numba import njit

from adamem.types import CountArray, DoubleArray, IdArray


@njit(cache=True, nogil=True)
def weighted_percentiles(
    ordered: DoubleArray,
    round_of: IdArray,
    query_of: IdArray,
    times: CountArray,
    counts: CountArray,
    rows: IdArray,
    percents: DoubleArray,
    out: DoubleArray,
) -> None:  # pragma: no cover -- compiled
    """Fill `out` (p, m) with percentiles of `ordered` (n,), whose i-th value is of a round and of a query.

    In resample j it counts ``times[j, round] * counts[rows[j], query]`` times.
    """
    n = ordered.size
    whole = n == times.shape[1] * counts.shape[1]
    for j in range(rows.size):
        rounds, queries = times[j], counts[rows[j]]
        total = 0
        if whole:
            total = rounds.sum() * queries.sum()
        else:
            for i in range(n):
                total += rounds[round_of[i]] * queries[query_of[i]]
        if total == 0:
            out[:, j] = np.nan
            continue
        for number in range(percents.size):
            position = (total - 1.0) * (percents[number] / 100.0)
            low, high = int(np.floor(position)), int(np.ceil(position))
            # The copy number c (from 0) is the first value whose cumulative count exceeds c; counted from the nearer
            # end.
            counted = 0
            if position <= total / 2.0:
                i = 0
                weight = rounds[round_of[i]] * queries[query_of[i]]
                while i < n - 1 and counted + weight <= low:
                    counted += weight
                    i += 1
                    weight = rounds[round_of[i]] * queries[query_of[i]]
                left = ordered[i]
                while i < n - 1 and counted + weight <= high:
                    counted += weight
                    i += 1
                    weight = rounds[round_of[i]] * queries[query_of[i]]
                right = ordered[i]
            else:
                i = n - 1
                weight = rounds[round_of[i]] * queries[query_of[i]]
                while i > 0 and counted + weight <= total - 1 - high:
                    counted += weight
                    i -= 1
                    weight = rounds[round_of[i]] * queries[query_of[i]]
                right = ordered[i]
                while i > 0 and counted + weight <= total - 1 - low:
                    counted += weight
                    i -= 1
                    weight = rounds[round_of[i]] * queries[query_of[i]]
                left = ordered[i]
            out[number, j] = left + (position - low) * (right - left)
