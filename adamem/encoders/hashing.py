"""Hashed words and character n-grams: an encoder without a model, for tests and tiny installs."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from adamem.encoders.reserved_axis import with_reserved_axis
from adamem.files import content_key
from adamem.types import FloatArray

DEFAULT_DIM = 512
_CELLS = 1 << 21
"""Of float64 in one dense piece: 16 MiB."""


class HashingEncoder:
    """Counts of words and of character 3- to 5-grams inside words, hashed with signs onto dim - 1 axes.

    Feature hashing (Weinberger et al., 2009): the signs let collisions cancel instead of adding up. Words and n-grams
    weigh the same. It knows no meaning, only spelling, in any language; the same text gives the same bytes everywhere.
    The last axis is kept for texts without any word character: see `with_reserved_axis`.
    """

    def __init__(self, *, dim: int = DEFAULT_DIM) -> None:
        self._dim = dim
        # norm="l2" on each, so that a text's many n-grams do not drown its few words.
        self._words = HashingVectorizer(n_features=dim - 1, analyzer="word", token_pattern=r"(?u)\b\w+\b", norm="l2")
        self._grams = HashingVectorizer(n_features=dim - 1, analyzer="char_wb", ngram_range=(3, 5), norm="l2")

    @property
    def name(self) -> str:
        """``hashing:`` and the dimension."""
        return f"hashing:{self._dim}"

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        return self._dim

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the settings: there is nothing else."""
        return content_key({"kind": "hashing", "version": 1, "dim": self._dim, "words": 1, "char_wb": [3, 5]})

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        return self.encode_document(texts)

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        vectors = np.empty((len(texts), self._dim), dtype=np.float32)
        step = max(1, _CELLS // self._dim)
        for start in range(0, len(texts), step):
            piece = texts[start : start + step]
            summed = self._words.transform(piece) + self._grams.transform(piece)
            vectors[start : start + len(piece)] = with_reserved_axis(summed.toarray())
        return vectors
