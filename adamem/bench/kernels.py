"""The one loop that numpy cannot do without large temporaries. Import it late: numba is slow to load."""

from __future__ import annotations

import numpy as np
from numba import njit

from adamem.types import DoubleArray, IdArray


@njit(cache=True, nogil=True)
def weighted_percentiles(
    ordered: DoubleArray, order: IdArray, weights: DoubleArray, percent: float, out: DoubleArray
) -> None:  # pragma: no cover -- compiled
    """Fill `out` (m,) with the percentile of `ordered` (n,), whose i-th value counts `weights[:, order[i]]` times."""
    n = order.size
    for row in range(weights.shape[0]):
        total = 0.0
        for i in range(n):
            total += weights[row, order[i]]
        if total <= 0.0:
            out[row] = np.nan
            continue
        position = max(total - 1.0, 0.0) * (percent / 100.0)
        low, high = np.floor(position), np.ceil(position)
        # The copy number j (from 0) is the first value whose cumulative count exceeds j.
        reached = 0.0
        i = 0
        while i < n - 1 and reached + weights[row, order[i]] <= low:
            reached += weights[row, order[i]]
            i += 1
        left = ordered[i]
        while i < n - 1 and reached + weights[row, order[i]] <= high:
            reached += weights[row, order[i]]
            i += 1
        out[row] = left + (position - low) * (ordered[i] - left)
