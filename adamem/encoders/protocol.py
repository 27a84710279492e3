"""The seam between AdaMem and any text encoder."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from adamem.types import FloatArray


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors.

    Two verbs, because models of the E5 kind prefix queries and passages differently, and because an adapter may move
    only the queries.
    """

    @property
    def name(self) -> str:
        """What a person would call it: ``minilm``, ``lsa``, ``intfloat/multilingual-e5-base``."""
        ...

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over everything that moves a vector: weights, adapter, prefixes, pooling, cut-off."""
        ...

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        ...

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        ...
