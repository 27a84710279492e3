"""The golden-angle lattice on the sphere, and its inverse."""

from __future__ import annotations

import numpy as np

from adamem.types import FloatArray

_TURN = (np.sqrt(5.0) - 1.0) / 2.0
"""The golden section of a full turn, by which each point is ahead of the one before."""


def fibonacci_sphere(count: int) -> FloatArray:
    """float32 (count, 3): directions that share the sphere out evenly, whatever their number.

    z_i = 1 - (2 i + 1) / count, and the longitude grows by the golden section of a turn.
    Source: Swinbank and Purser, Q. J. R. Meteorol. Soc. 132 (2006), section 2.
    """
    i = np.arange(count, dtype=np.float64)
    z = 1.0 - (2.0 * i + 1.0) / count
    longitude = 2.0 * np.pi * ((i * _TURN) % 1.0)
    radius = np.sqrt(1.0 - z * z)
    points = np.stack([radius * np.cos(longitude), radius * np.sin(longitude), z], axis=1)
    return points.astype(np.float32)
