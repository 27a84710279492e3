"""The bridges by which new questions meet old documents: fitted, and timed query by query."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from adamem.encoders.bridges import Bridge, low_rank_affine, mean_drift, procrustes
from adamem.types import AnyArray, FloatArray

BRIDGES: dict[str, Callable[[FloatArray, FloatArray], Bridge]] = {
    "procrustes": procrustes,
    "low-rank-affine": low_rank_affine,
    "mean-drift": mean_drift,
}
"""By the names that an experiment gives them; each takes new and old vectors of the same texts."""
_CALLS = 1000


def fitted(name: str, new: FloatArray, old: FloatArray) -> tuple[Bridge, float]:
    """A bridge, and the seconds that fitting it took."""
    begun = time.perf_counter()
    bridge = BRIDGES[name](new, old)
    return bridge, time.perf_counter() - begun


def nanoseconds(mapped: Callable[[FloatArray], FloatArray], queries: FloatArray) -> AnyArray:
    """What one query at a time takes, over a thousand calls: int64 (1000,)."""
    rows = [np.ascontiguousarray(queries[row % len(queries)][None]) for row in range(_CALLS)]
    for row in rows[:50]:
        mapped(row)
    taken = np.empty(_CALLS, dtype=np.int64)
    for place, row in enumerate(rows):
        begun = time.perf_counter_ns()
        mapped(row)
        taken[place] = time.perf_counter_ns() - begun
    return taken
