"""The compiled part of `tail`: a scan of 8-bit codes that leaves out what cannot be among the nearest."""

from __future__ import annotations

import numpy as np
from numba import njit

from adamem.simd import dot
from adamem.types import AnyArray, FloatArray

# Sums may be reordered into SIMD lanes; NaN and Inf keep their meaning.
_FLAGS = {"reassoc", "contract"}


@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def screen(
    codes: AnyArray,
    scales: FloatArray,
    errors: FloatArray,
    count: int,
    query: FloatArray,
    rounding: np.float32,
    k: int,
    estimates: FloatArray,
    out: AnyArray,
) -> int:  # pragma: no cover -- compiled
    """Write into `out` which of the first `count` rows can be among the k of largest inner product; how many.

    A row is scales[i] * (codes[i] - 128), of uint8 codes, up to a vector of length errors[i], the query a scale times
    codes of its own up to one of length `error`, and both are of length 1: so its inner product is the codes' own
    within errors[i] + (1 + errors[i]) * error. Rows whose upper bound is under the k-th largest lower bound are left
    out. A row of scale 0 is left out. `rounding` is what float32 may add to either length. Rows of `codes` are a
    multiple of `TURN` long; of what stands behind a vector's own codes nothing depends.
    """
    largest = np.float32(1e-30)
    for j in range(query.size):
        largest = max(largest, abs(query[j]))
    scale = largest / np.float32(127)
    width = np.uint64(codes.shape[1])
    code = np.zeros(codes.shape[1], dtype=np.int8)
    missed = np.float32(0)
    shift = np.int32(0)
    for j in range(query.size):
        code[j] = np.int8(np.rint(query[j] / scale))
        gap = query[j] - scale * np.float32(code[j])
        missed += gap * gap
        shift += np.int32(128) * np.int32(code[j])
    error = np.sqrt(missed) + np.float32(rounding)
    best = np.full(k, -np.inf, dtype=np.float32)  # the largest lower bounds, ascending
    here, base = np.uint64(code.ctypes.data), np.uint64(codes.ctypes.data)
    for i in range(count):
        total = dot(base + np.uint64(i) * width, here, width) - shift
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
