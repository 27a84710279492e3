"""An encoder made of another one and of what was learnt on top of it."""

from __future__ import annotations

from collections.abc import Callable

from adamem.encoders.protocol import Encoder
from adamem.files import content_key
from adamem.types import FloatArray

Encode = Callable[[list[str]], FloatArray]


class AdaptedEncoder:
    """`base` with other verbs, named and fingerprinted as an encoder of its own.

    Parameters
    ----------
    base
        Whose dimension it has.
    kind, learnt
        What was learnt on it, in a word and as a fingerprint.
    queries, documents
        Its verbs: texts become float32 (len(texts), base.dim), unit norm.
    """

    def __init__(self, base: Encoder, *, kind: str, learnt: str, queries: Encode, documents: Encode) -> None:
        self._base = base
        self._kind = kind
        self._learnt = learnt
        self._queries = queries
        self._documents = documents

    @property
    def name(self) -> str:
        """The base's name and what was learnt on it: ``minilm+lora``."""
        return f"{self._base.name}+{self._kind}"

    @property
    def dim(self) -> int:
        """The length of its vectors, which is the base's."""
        return self._base.dim

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the base's fingerprint and that of what was learnt."""
        return content_key({"kind": self._kind, "base": self._base.fingerprint, "learnt": self._learnt})

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        return self._queries(texts)

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        return self._documents(texts)
