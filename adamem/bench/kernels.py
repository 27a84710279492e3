"""The one loop that numpy cannot do without large temporaries. Import it late: numba is slow to load."""

from __future__ import annotations

import numpy as np
from numba import njit

from adamem.types import DoubleArray, IdArray


@njit(cache=True, nogil=True)
def weighted_percentiles(
    ordered: DoubleArray, order: IdArray, weights: DoubleArray, percents: DoubleArray, out: DoubleArray
) -> None:  # pragma: no cover -- compiled
    """Fill `out` (p, m) with percentiles of `ordered` (n,), whose i-th value counts `weights[:, order[i]]` times.

    Weights are whole numbers; those of values that are not in `order` do not count.
    """
    n = order.size
    whole = n == weights.shape[1]
    for row in range(weights.shape[0]):
        total = 0.0
        for i in range(n):  # in the order of memory where it can be
            total += weights[row, i] if whole else weights[row, order[i]]
        if total <= 0.0:
            out[:, row] = np.nan
            continue
        for number in range(percents.size):
            position = (total - 1.0) * (percents[number] / 100.0)
            low, high = np.floor(position), np.ceil(position)
            # The copy number j (from 0) is the first value whose cumulative count exceeds j; counted from the nearer
            # end.
            counted = 0.0
            if position <= total / 2.0:
                i = 0
                while i < n - 1 and counted + weights[row, order[i]] <= low:
                    counted += weights[row, order[i]]
                    i += 1
                left = ordered[i]
                while i < n - 1 and counted + weights[row, order[i]] <= high:
                    counted += weights[row, order[i]]
                    i += 1
                right = ordered[i]
            else:
                i = n - 1
                while i > 0 and counted + weights[row, order[i]] <= total - 1.0 - high:
                    counted += weights[row, order[i]]
                    i -= 1
                right = ordered[i]
                while i > 0 and counted + weights[row, order[i]] <= total - 1.0 - low:
                    counted += weights[row, order[i]]
                    i -= 1
                left = ordered[i]
            out[number, row] = left + (position - low) * (right - left)
