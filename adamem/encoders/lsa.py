"""Latent semantic analysis: a real encoder that needs no torch and no download, only the collection itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from adamem.encoders.reserved_axis import with_reserved_axis
from adamem.errors import InvalidInput
from adamem.files import canonical_json
from adamem.types import DoubleArray, FloatArray

DEFAULT_DIM = 256
_MAX_TERMS = 100_000
_ITERATIONS = 5
_CELLS = 1 << 21
"""Of float64 in one dense piece: 16 MiB."""


class LsaEncoder:
    """TF-IDF, then a truncated SVD of the collection (Deerwester et al., 1990).

    Words are runs of Unicode word characters, lower-cased; term frequencies are sublinear (1 + ln tf), inverse
    document frequencies smoothed; the 100,000 most frequent terms are kept. dim - 1 axes carry the SVD, the last is
    kept for texts in which no word is known: see `with_reserved_axis`. A text's vector does not depend on the texts
    beside it. Equal texts, settings and library versions give equal bytes: the SVD (Halko et al., 2011) is seeded and
    runs on one thread.

    Parameters
    ----------
    texts
        What it is fitted to. Not empty.
    dim
        The length of the vectors, at least 2; less where the texts or their terms are fewer than dim - 1, or where
        the last axes would carry rounding only.
    seed
        Of the SVD's random projection.

    Raises
    ------
    InvalidInput
        if the texts hold no word.
    """

    def __init__(self, texts: Sequence[str], *, dim: int = DEFAULT_DIM, seed: int = 0) -> None:
        self._settings = {"kind": "lsa", "version": 1, "dim": dim, "seed": seed, "max_terms": _MAX_TERMS}
        self._tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", max_features=_MAX_TERMS)
        try:
            weights = self._tfidf.fit_transform(texts)  # (n, terms)
        except ValueError as error:
            raise InvalidInput(
                f"lsa cannot be fitted to {len(texts)} texts that hold no word; pass the collection's texts as fit_on"
            ) from error
        # One thread: how the work is split among threads changes the last bits, and with them the fingerprint.
        with threadpool_limits(limits=1):
            _, strength, axes = randomized_svd(
                weights, n_components=min(dim - 1, *weights.shape), n_iter=_ITERATIONS, random_state=seed
            )
        kept = int(np.count_nonzero(strength > 1e-9 * strength[0]))
        self._axes: DoubleArray = np.ascontiguousarray(axes[:kept].T, dtype=np.float64)  # (terms, kept)

    @property
    def name(self) -> str:
        """``lsa:`` and the dimension."""
        return f"lsa:{self.dim}"

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        return int(self._axes.shape[1]) + 1

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the settings, the terms, their weights and the axes."""
        digest = hashlib.sha256(canonical_json(self._settings).encode())
        digest.update(canonical_json(self._tfidf.get_feature_names_out().tolist()).encode())
        digest.update(np.asarray(self._tfidf.idf_, dtype="<f8").tobytes())
        digest.update(np.asarray(self._axes, dtype="<f8").tobytes())
        return digest.hexdigest()

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        return self.encode_document(texts)

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        step = max(1, _CELLS // self.dim)
        for start in range(0, len(texts), step):
            piece = texts[start : start + step]
            projected = self._tfidf.transform(piece) @ self._axes
            vectors[start : start + len(piece)] = with_reserved_axis(projected)
        return vectors
