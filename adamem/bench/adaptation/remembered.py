"""An encoder that embeds each text once: seeds share most of a collection's texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adamem.encoders import Encoder
from adamem.types import FloatArray


class Remembered:
    """Keeps every vector that `base` has given, in memory.

    Its vectors are the base's but for the rounding of other batches, so it bears the base's name and fingerprint.

    Parameters
    ----------
    base
        Embeds what has not been asked for yet.
    """

    def __init__(self, base: Encoder) -> None:
        self.base = base
        self._queries: dict[str, FloatArray] = {}
        self._documents: dict[str, FloatArray] = {}

    @property
    def name(self) -> str:
        """The base's."""
        return self.base.name

    @property
    def dim(self) -> int:
        """The base's."""
        return self.base.dim

    @property
    def fingerprint(self) -> str:
        """The base's."""
        return self.base.fingerprint

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        return self._all(texts, self._queries, self.base.encode_query)

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        return self._all(texts, self._documents, self.base.encode_document)

    def _all(
        self, texts: list[str], known: dict[str, FloatArray], encode: Callable[[list[str]], FloatArray]
    ) -> FloatArray:
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[text] for text in texts]) if texts else encode(texts)
