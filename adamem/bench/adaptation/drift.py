"""How far an encoder has moved, told from vectors alone: cheap alarms, which need no question and no answer."""

from __future__ import annotations

import numpy as np

from adamem.types import AnyArray, DoubleArray, FloatArray

NEIGHBOURS = 10
ALARMS = ("document_cosine", "question_cosine", "neighbour_overlap", "anisotropy", "effective_rank")
DOCUMENT_COSINE = ALARMS.index("document_cosine")


def mean_cosine(new: FloatArray, old: FloatArray) -> float:
    """Of each text's new vector with its old one; unit vectors float32 (n, dim) each."""
    return float(np.einsum("ij,ij->i", new, old).mean())


def neighbour_overlap(new: FloatArray, old: FloatArray) -> float:
    """The share of each text's ten nearest others that stay among them, in [0, 1]; unit vectors (n, dim) each."""
    before, after = _nearest(old), _nearest(new)
    return float((after[:, :, None] == before[:, None, :]).any(axis=2).mean())


def anisotropy(vectors: FloatArray) -> float:
    """The mean cosine of two different texts (Ethayarajh, 2019, arXiv 1909.00512): near 1, all point one way."""
    n = len(vectors)
    total = vectors.astype(np.float64).sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))


def effective_rank(vectors: FloatArray) -> float:
    """Exp of the entropy of the singular values, scaled to sum 1 (Roy and Vetterli, 2007): from 1 to dim."""
    values = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
    shares: DoubleArray = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _nearest(vectors: FloatArray) -> AnyArray:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    count = min(NEIGHBOURS, len(vectors) - 1)
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]
