"""Orthonormal directions that a spiral lies over: the main ones of the data, or, for comparison, any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adamem.types import FloatArray

AxesOf = Callable[[FloatArray, int, np.random.Generator], FloatArray]
"""(centred points (n, parts), how many, random) -> float32 (how many, parts); zeros where there are fewer."""

AXES_SAMPLE = 2_000
"""Points from which the main directions are taken, at most."""
_ITERATIONS = 2
"""Twice as many find directions that lead a query no better, in twice the time."""


def main_axes(points: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    """Float32 (count, parts): the main directions of centred points (n, parts), by subspace iteration.

    Source: Halko, Martinsson and Tropp, SIAM Review 53(2) (2011), algorithm 4.4.
    """
    parts = points.shape[1]
    if points.shape[0] > AXES_SAMPLE:
        points = points[random.permutation(points.shape[0])[:AXES_SAMPLE]]
    found = random.normal(size=(parts, min(count, parts))).astype(np.float32)
    for _ in range(_ITERATIONS):
        moved = points.T @ (points @ found)
        largest = np.abs(moved).max()
        if not largest > 0:
            break
        found = np.linalg.qr(moved / largest)[0].astype(np.float32)
    return _padded(found, count)


def random_axes(points: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    """Float32 (count, parts): directions that know nothing of the points (n, parts)."""
    parts = points.shape[1]
    return _padded(np.linalg.qr(random.normal(size=(parts, min(count, parts))))[0].astype(np.float32), count)


def _padded(found: FloatArray, count: int) -> FloatArray:
    out = np.zeros((count, found.shape[0]), dtype=np.float32)
    out[: found.shape[1]] = found.T
    return out
