"""What the engine gives back: small values that nothing can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
"""What metadata may hold."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory, as it stood when it was read.

    All times are aware, in UTC.
    """

    id: int
    """Unique in the whole file, across namespaces; never given twice, not even after a purge."""
    text: str
    """Verbatim, as it was added."""
    namespace: str
    type: str
    slot: str | None
    """What the fact is of (``home.city``): of a slot's facts one is current, and the others are its history."""
    question: str | None
    """The question that `text` answers, where `MemoryEngine.update` brought it."""
    metadata: Mapping[str, Json] = field(hash=False)
    keywords: tuple[str, ...]
    links: tuple[int, ...]
    """The ids of memories that this one points to."""
    credibility: float
    """From 0 to 1, as whoever added it judged."""
    created: datetime
    """When it was added."""
    updated: datetime
    """When anything of it last changed."""
    valid_from: datetime
    """Since when it holds in the world; when it was added, where nothing else was said."""
    valid_to: datetime | None
    """Until when it held: since then another one of its slot, or another answer to its question, holds."""
    expires: datetime | None
    """From when on it is not found any more (its time to live)."""
    deleted: datetime | None
    revision: int
    """1 when added, and one more with each change."""


@dataclass(frozen=True, slots=True)
class Added:
    """That a memory is kept: on the disk, and found by the next search."""

    id: int
    superseded: int | None = None
    """The id of the memory in whose place this one stands now."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One memory that a search found."""

    memory: Memory
    score: float
    """Larger is nearer; from search to search comparable for one encoder only."""
    rank: int
    """From 1."""
    parts: Mapping[str, float] = field(hash=False)
    """What the score is made of: ``vector``, the cosine of the angle to the query."""
