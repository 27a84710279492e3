"""Latent semantic analysis: a real encoder that needs no torch and no download, only the collection itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from adamem.encoders.reserved_axis import with_reserved_axis
from adamem.errors import CorruptResult, InvalidInput
from adamem.files import canonical_json
from adamem.types import DoubleArray, FloatArray

DEFAULT_DIM = 256
_MAX_TERMS = 100_000
_ITERATIONS = 5
_WORD = r"(?u)\b\w+\b"
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
        What it is fitted to, read once. Not empty.
    dim
        The length of the vectors, at least 2; less where the texts or their terms are fewer than dim - 1, or where
        the last axes would carry rounding only.
    seed
        Of the SVD's random projection.
    min_texts
        In so many texts a word must occur to be learned.
    max_terms
        So many words are learned at most, those that occur most often.

    Raises
    ------
    InvalidInput
        if the texts hold no word that can be learned.
    """

    def __init__(
        self,
        texts: Iterable[str],
        *,
        dim: int = DEFAULT_DIM,
        seed: int = 0,
        min_texts: int = 1,
        max_terms: int = _MAX_TERMS,
    ) -> None:
        self._settings: dict[str, Any] = {"kind": "lsa", "version": 1, "dim": dim, "seed": seed, "max_terms": max_terms}
        if min_texts != 1:
            self._settings["min_texts"] = min_texts
        self._tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=_WORD, min_df=min_texts, max_features=max_terms)
        try:
            weights = self._tfidf.fit_transform(counted := _Counted(texts))  # (n, terms)
        except ValueError as error:
            raise InvalidInput(
                f"lsa cannot be fitted to {counted.count} texts that hold no word"
                f"{'' if min_texts == 1 else f' which {min_texts} of them have'}; pass the collection's texts as fit_on"
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

    @property
    def asked_dim(self) -> int:
        """The length that was asked for, which `dim` may be less than."""
        return int(self._settings["dim"])

    @property
    def terms(self) -> tuple[str, ...]:
        """The words that it knows, in the order of its axes' rows."""
        return tuple(self._tfidf.get_feature_names_out().tolist()) if len(self._axes) else ()

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
            if len(self._axes):  # scikit-learn knows no empty vocabulary
                projected = self._tfidf.transform(piece) @ self._axes
            else:
                projected = np.zeros((len(piece), self.dim - 1))
            vectors[start : start + len(piece)] = with_reserved_axis(projected)
        return vectors

    # -- kept and opened again -----------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """All that it is, words readable: a SHA-256, a line of JSON, then weights and axes as little-endian float64."""
        said = {
            "settings": self._settings,
            "fingerprint": self.fingerprint,
            "terms": self.terms,
            "axes": self._axes.shape[1],
        }
        head = json.dumps(said, ensure_ascii=False).encode() + b"\n"
        weights = self._tfidf.idf_ if len(self._axes) else np.empty(0)
        body = b"".join(
            [head, np.asarray(weights, dtype="<f8").tobytes(), np.asarray(self._axes, dtype="<f8").tobytes()]
        )
        return hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self:
        """The encoder that `to_bytes` has written; nothing in it is run. Raises `CorruptResult` if it is not whole."""
        body = kept[32:]
        if hashlib.sha256(body).digest() != kept[:32]:
            raise CorruptResult("a kept lsa is not what was written; fit it anew")
        line, _, arrays = body.partition(b"\n")
        said = json.loads(line)
        flat = np.frombuffer(arrays, dtype="<f8").astype(np.float64)
        terms = len(said["terms"])
        return cls._made(said, flat[:terms], flat[terms:].reshape(terms, said["axes"]))

    def without(self, words: AbstractSet[str]) -> LsaEncoder:
        """The same encoder, which does not know these words any more.

        The vector of a text that has none of them stays as it is, to the last bit; therefore the fingerprint stays too.
        """
        terms = self.terms
        stays = np.array([term not in words for term in terms], dtype=bool)
        said = {
            "settings": self._settings,
            "fingerprint": self.fingerprint,
            "terms": [term for term, is_kept in zip(terms, stays, strict=True) if is_kept],
        }
        return self._made(said, self._tfidf.idf_[stays] if len(terms) else np.empty(0), self._axes[stays])

    @classmethod
    def _made(cls, said: dict[str, Any], weights: DoubleArray, axes: DoubleArray) -> Self:
        self = cls.__new__(cls)
        self._settings = said["settings"]
        self.fingerprint = said["fingerprint"]
        self._axes = np.ascontiguousarray(axes)
        self._tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=_WORD, vocabulary=said["terms"] or None)
        if said["terms"]:
            self._tfidf.idf_ = weights
        return self


def words(text: str) -> set[str]:
    """What `LsaEncoder` takes for the words of a text."""
    return set(_WORDS.findall(text.lower()))


_WORDS = re.compile(_WORD)


class _Counted:
    """Texts that are read once, and how many there were."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.count += 1
            yield text
