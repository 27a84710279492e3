"""What the engine gives back: small values that nothing can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, TypeAlias, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
"""What metadata may hold."""


class Frozen(dict[K, V]):
    """A dict that stays as it is; a dict and no other mapping, so that it is written as JSON and copied as one."""

    def _refuse(self, *_given: Any, **_named: Any) -> NoReturn:
        raise TypeError("what the engine gave cannot be changed; make a dict of it: dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Frozen, (dict(self),)


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
    calls: int
    """How many searches found it, as far as they were counted: readers of the file are not, and a kill takes some."""
    last_access: datetime | None
    """When a search found it last."""


@dataclass(frozen=True, slots=True)
class Added:
    """That a memory is kept: on the disk, and found by the next search."""

    id: int
    superseded: int | None = None
    """The id of the memory whose place this one takes, from its own `valid_from` on."""


@dataclass(slots=True)
class Timings:
    """How long the parts of searches took, in seconds, summed over those that it was given to."""

    encode: float = 0.0
    """Making the query's vector."""
    search: float = 0.0
    """Ranking: by the index, by the words."""
    fetch: float = 0.0
    """Reading what was ranked, and fusing."""


@dataclass(slots=True)
class LearningTimings:
    """How long the parts of learning took, in seconds, summed over those that it was given to; one after the other."""

    learning: float = 0.0
    """Finding the weights, in the process that learns."""
    exam: float = 0.0
    """Asking all of it twice there: of the encoder as it was, and as it would be."""
    loading: float = 0.0
    """Making the encoder that embeds queries by what was learnt, up to its first vector."""
    embedding: float = 0.0
    """Embedding all memories anew, where they are moved."""
    switching: float = 0.0
    """Writing that it is in use from now on."""
    clearing: float = 0.0
    """Deleting the vectors of what was in use before."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One memory that a search found."""

    memory: Memory
    score: float
    """Larger is better; from search to search comparable for one encoder, mode and weighting only."""
    rank: int
    """From 1."""
    parts: Mapping[str, float] = field(hash=False)
    """What the score is made of. ``vector`` is the cosine of the angle to the query, ``lexical`` BM25's score: either
    is the score where the search asks for it alone, and a hybrid search fuses both (see `Fusion`); one that is not
    there did not find it. ``recency`` and ``credibility`` are what a `Weighting` has added."""


@dataclass(frozen=True, slots=True)
class Context:
    """What `MemoryEngine.build_context` gives to a language model."""

    text: str
    """One memory a paragraph, best first, each after its citation: ``[12] Anna moved to Dallas in May``."""
    hits: tuple[Hit, ...]
    """Those that are in the text, in its order; their ids are its citations."""
    tokens: int
    """How many the text has, by whatever counted them."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace and what it holds."""

    name: str
    memories: int
    """How many hold now."""
    created: datetime


@dataclass(frozen=True, slots=True)
class Stats:
    """What is in a memory file, and what it takes."""

    path: str
    namespaces: int
    memories: int
    """How many hold now, in all namespaces."""
    history: int
    """Superseded ones."""
    expired: int
    deleted: int
    encoder: str | None
    """Whose vectors are searched."""
    dim: int | None
    index: str
    file_bytes: int
    """Of the database and its log; 0 in memory."""
    index_bytes: int
    """Of the folder of what is derived."""
    open_bytes: int
    """In memory, for the namespaces that are open."""


@dataclass(frozen=True, slots=True)
class Version:
    """A whole copy of the file, as it was once."""

    name: str
    created: datetime
    memories: int
    """How many held then, in all namespaces."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """What the encoder has learnt from some lessons, and what became of it."""

    id: int
    created: datetime
    kind: str
    """``lora``, ``bridged-lora`` or ``query-map``."""
    moves: str
    """``queries``, or ``both``: then the memories are embedded anew by it."""
    lessons: int
    """How many it was taught."""
    standing: str
    """``taken``; ``refused`` because the exam went worse after it than before; ``failed``, which `reason` says why."""
    in_use: bool
    """Whether queries are embedded by it."""
    before: float | None
    """MRR@10 of the exam by the encoder as it was; None where there was no exam."""
    after: float | None
    seconds: float
    """That learning took."""
    bytes: int
    """Of what is kept of it; 0 for what was refused."""
    reason: str


@dataclass(frozen=True, slots=True)
class Defragmented:
    """What `MemoryEngine.defrag` has done."""

    expired: int
    """Memories that were past their time, and are taken out."""
    duplicates: int
    """Memories that said the very same as an older one, to which their ids lead now."""
    linked: int
    """Pairs of memories that are near to each other and link to each other now."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in with a package."""

    memories: int
    namespaces: tuple[str, ...]
    ids: Mapping[int, int] = field(hash=False)
    """By its id in the package: each memory's id here."""
    adaptation: int | None = None
    """The number of what the package's encoder has learnt, where it had that and is this file's encoder too; it is not
    in use until `MemoryEngine.use_adaptation` says so."""
