"""Unit vectors from rows that may be zero."""

from __future__ import annotations

import numpy as np

from adamem.types import DoubleArray, FloatArray

_NOTHING = 1e-6
"""Rows shorter than this are rounding, not content: a row that says something has a length near 1."""


def with_reserved_axis(rows: DoubleArray) -> FloatArray:
    """Scale `rows` (n, d-1) to unit length and append one axis: float32 (n, d).

    The last axis is 0 for every row that says something and 1 for a row that is zero, a text in which nothing is
    known. So each vector has unit norm, as cosine needs; an unknown text is at distance 1 from every known one and at
    distance 0 from the other unknown ones.
    """
    norms = np.linalg.norm(rows, axis=1)
    unknown = norms <= _NOTHING
    vectors = np.zeros((rows.shape[0], rows.shape[1] + 1), dtype=np.float32)
    vectors[:, :-1] = rows / np.where(unknown, 1.0, norms)[:, np.newaxis]
    vectors[unknown, :-1] = 0.0
    vectors[unknown, -1] = 1.0
    return vectors
