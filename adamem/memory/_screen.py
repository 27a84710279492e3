"""The compiled part of `tail`: a scan of 8-bit codes that leaves out what cannot be among the nearest."""

from __future__ import annotations

import numpy as np
from numba import njit

from adamem.types import AnyArray, FloatArray, IdArray

# Sums may be reordered into SIMD lanes; NaN and Inf keep their meaning.
_FLAGS = {"reassoc", "contract"}


@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def screen(
    codes: AnyArray,
    scales: FloatArray,
    errors: FloatArray,
    count: int,
    query: AnyArray,
    scale: float,
    error: float,
    k: int,
    estimates: FloatArray,
    out: IdArray,
) -> int:  # pragma: no cover -- compiled
    """Write into `out` which of the first `count` rows can be among the k of largest inner product; how many.

    A row is scales[i] * codes[i] (int8) up to a vector of length errors[i], the query scale * query up to one of length
    `error`, and both are of length 1: so its inner product is the codes' own within errors[i] + (1 + errors[i]) *
    error. Rows whose upper bound is under the k-th largest lower bound are left out. A row of scale 0 is left out. The
    query's codes are int16, so that they are not widened again for every row.
    """
    best = np.full(k, -np.inf, dtype=np.float32)  # the largest lower bounds, ascending
    width = codes.shape[1]
    for i in range(count):
        total = np.int32(0)
        row = codes[i]
        for j in range(width):
            total = np.int32(total + np.int32(np.int16(row[j]) * query[j]))
        if scales[i] <= 0.0:
            estimates[i] = -np.inf
            continue
        estimate = np.float32(total) * scales[i] * scale
        slack = errors[i] + (np.float32(1.0) + errors[i]) * error
        estimates[i] = estimate + slack
        low = estimate - slack
        if low > best[0]:
            place = 0
            while place + 1 < k and best[place + 1] < low:
                best[place] = best[place + 1]
                place += 1
            best[place] = low
    found = 0
    for i in range(count):
        if estimates[i] >= best[0] and estimates[i] > -np.inf:
            out[found] = i
            found += 1
    return found
