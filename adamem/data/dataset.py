"""A collection, its queries, and what is known about them: what every experiment runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adamem.types import AnyArray, FloatArray, IdArray, Metric


@dataclass(frozen=True)
class Qrels:
    """Which documents are relevant to which query, as a person (or the set's maker) judged it.

    Three parallel arrays, one entry a judgement, sorted by query; only grades above 0 are kept. Documents are counted
    apart from rows, because a document may be cut into passages that are embedded one by one.
    """

    query: IdArray
    """int64: the row of `Dataset.queries`."""
    document: IdArray
    """int64: the document's number."""
    grade: IdArray
    """int64, >= 1."""
    document_of_row: IdArray
    """int64 (n,): the document that each row of `Dataset.base` belongs to."""


@dataclass(frozen=True)
class Dataset:
    """Vectors to search in and vectors to search for. Row numbers serve as ids throughout the harness."""

    name: str
    metric: Metric
    base: FloatArray
    """float32 (n, d), C-contiguous, usually a read-only memory map of the cache."""
    queries: FloatArray
    """float32 (q, d)."""
    fingerprint: str
    """Hex SHA-256 of the metric and of the bytes of `base` and `queries`."""
    learn: FloatArray | None = None
    """float32 (l, d): vectors like the queries, to tune on; few sets have them."""
    base_ids: tuple[str, ...] | None = None
    """The rows' own names (n,), where they have some."""
    query_ids: tuple[str, ...] | None = None
    qrels: Qrels | None = None
    topics: AnyArray | None = None
    """int64 (q,): each query's topic, by which calibration and test queries are kept apart."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What a report must say of it, as JSON: licence, source, encoder and its fingerprint, rows dropped ..."""
