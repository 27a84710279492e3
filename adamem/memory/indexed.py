"""Vectors in a registered index, whatever that one can and cannot do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adamem.errors import CorruptResult, InvalidInput
from adamem.index import IdFilter, Index, Param, check_metric, check_params, index_class
from adamem.types import FloatArray, IdArray, ParamValue

_MOST = 1_000_000
"""Answers that an index may be asked for."""
_EFFORT = 8
"""How many times its own default effort an index is asked for. Such defaults suit those who ask a million times: of
MedQuAD's questions among its 52,000 passages, `spiral` then misses the nearest of one in 24, and `hnsw` of one in 22.
At eight times that it is one in 210 and one in 125, for 0.15 ms and 0.7 ms more, where embedding a question takes 10.
"""


@dataclass(frozen=True, slots=True)
class IndexKind:
    """Which index, and with which parameters; those left out take the index's own defaults."""

    name: str
    build: Mapping[str, ParamValue] = field(default_factory=dict)
    search: Mapping[str, ParamValue] = field(default_factory=dict)


def index_kind(name: str, build: Mapping[str, ParamValue] | None, search: Mapping[str, ParamValue] | None) -> IndexKind:
    """The index that the engine makes of a name and parameters.

    What is left out is left to the index, but for the effort of a search: where it is a count (`ef`, `nprobe`), it is
    eight times the index's default, or as much as it takes.

    Raises
    ------
    UnknownName
        if there is no such index, or it knows no such parameter.
    InvalidInput
        if it does not compare by cosine, or a parameter is not of its kind.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"index must be a name, not {type(name).__name__}; 'spiral' for one")
    for what, given in (("index_params", build), ("search_params", search)):
        if given is not None and not isinstance(given, Mapping):
            raise InvalidInput(f"{what} must be a mapping of names to values, not {type(given).__name__}")
    cls = index_class(name)
    check_metric("cosine", cls.capabilities.metrics, name)
    check_params(build, cls.build_params, index=name, stage="build")
    check_params(search, cls.search_params, index=name, stage="search")
    effort = {param.name: _effort(param) for param in cls.search_params if param.effort and type(param.default) is int}
    return IndexKind(name, dict(build or {}), {**effort, **(search or {})})


def _effort(param: Param) -> ParamValue:
    assert isinstance(param.default, int)
    wanted = _EFFORT * param.default
    return wanted if param.high is None else min(wanted, int(param.high))


class Indexed:
    """The vectors of some ids, in an index by cosine; ids are hidden at once, and leave the index when it is tended.

    One thread at a time changes it. Searches may run beside that: an index that does not bear it is locked meanwhile.
    """

    def __init__(self, index: Index, ids: IdArray, hidden: set[int] | None = None) -> None:
        self._index = index
        self._ids = ids
        # Ids come and go in place; where many leave at once it is another set, so that a search that found them before
        # they left the index still knows that they are hidden.
        self._hidden = hidden or set()
        self._leaving = 0  # of the hidden ones, those that count as held no more
        self._book = threading.Lock()  # held while `_ids` and `_hidden` are exchanged, never for long
        beside = index.capabilities.search_beside_updates and index.capabilities.threadsafe_search
        self._turn: contextlib.AbstractContextManager[object] = contextlib.nullcontext() if beside else threading.Lock()

    @classmethod
    def build(cls, kind: IndexKind, ids: IdArray, vectors: FloatArray, *, threads: int) -> Indexed:
        """Over vectors (n, d) of ids (n,), unique."""
        order = np.argsort(ids)
        index = index_class(kind.name).build(
            vectors[order], ids[order], metric="cosine", params=kind.build, threads=threads
        )
        return cls(index, ids[order])

    @classmethod
    def load(cls, kind: IndexKind, folder: Path, ids: IdArray, hidden: set[int]) -> Indexed:
        """What `save` wrote. Raises `CorruptResult` where it is not what it was."""
        index = index_class(kind.name).load(folder)
        if len(index) != ids.size:
            raise CorruptResult(f"{folder} holds {len(index)} vectors, expected {ids.size}; delete it")
        return cls(index, ids, hidden)

    def __len__(self) -> int:
        """How many ids it holds that are not hidden."""
        with self._book:
            return int(self._ids.size) - len(self._hidden) + self._leaving

    def __contains__(self, number: int) -> bool:
        """Whether the index holds the id, hidden or not."""
        place = int(np.searchsorted(self._ids, number))
        return place < self._ids.size and bool(self._ids[place] == number)

    def visible(self, ids: IdArray) -> IdArray:
        """Which of these ids the index holds and does not hide."""
        held = ids[np.isin(ids, self._ids)]
        return held[[number not in self._hidden for number in held.tolist()]] if held.size else held

    @property
    def hidden(self) -> frozenset[int]:
        """The ids that are hidden and still in the index."""
        with self._book:
            return frozenset(self._hidden)

    @property
    def hidden_count(self) -> int:
        """How many ids are hidden and still in the index."""
        return len(self._hidden)

    @property
    def ids(self) -> IdArray:
        """int64, sorted: those that the index holds."""
        return self._ids

    @property
    def can_insert(self) -> bool:
        """Whether vectors can be added, and replaced."""
        return self._index.capabilities.insert and self._index.capabilities.delete

    @property
    def can_delete(self) -> bool:
        """Whether the hidden ones can be taken out."""
        return self._index.capabilities.delete

    @property
    def can_filter(self) -> bool:
        """Whether a search can be among some ids only."""
        return self._index.capabilities.filter

    @property
    def can_save(self) -> bool:
        """Whether it can be kept in files."""
        return self._index.capabilities.save

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(self._index.nbytes().values()) + self._ids.nbytes

    def search(
        self, query: FloatArray, k: int, params: Mapping[str, ParamValue], admitted: IdFilter | None = None
    ) -> tuple[IdArray, FloatArray]:
        """The k nearest to `query` (d,) that are not hidden, nearest first: ids and distances; fewer if there are."""
        hidden = self._hidden
        wanted = k
        while True:
            # Not cut to what `_ids` holds: beside an insert the index holds more, which would crowd the others out.
            asked = min(wanted + min(len(hidden), wanted), _MOST)
            with self._turn:
                found = self._index.search(query, asked, params=params, filter=admitted)
            ids, distances = found.ids[0], found.distances[0]
            there = ids >= 0
            stays = there
            if hidden:
                stays = np.array([one >= 0 and one not in hidden for one in ids.tolist()], dtype=bool)
            if int(stays.sum()) >= k or not there.all() or asked == _MOST:
                return ids[stays][:k], distances[stays][:k]
            wanted *= 4

    def hide(self, number: int) -> bool:
        """Keep an id out of all answers; whether the index holds it."""
        with self._book:
            if number not in self:
                return False
            self._hidden.add(number)
            return True

    def show(self, number: int) -> bool:
        """Let an id be found again that may be hidden; whether the index holds it."""
        with self._book:
            if number not in self:
                return False
            self._hidden.discard(number)
            return True

    def insert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Add vectors; ids that are here already get these."""
        stale = ids[np.isin(ids, self._ids)]
        with self._turn:
            if stale.size:
                self._index.delete(stale)
            self._index.insert(vectors, ids)
        with self._book:
            self._ids = np.union1d(self._ids, ids)
            self._hidden = self._hidden.difference(ids.tolist())

    def purge_hidden(self) -> None:
        """Take the hidden ids out of the index."""
        with self._book:
            gone = frozenset(self._hidden)
            doomed = np.fromiter(sorted(gone), np.int64, count=len(gone))
            # Not held any more from here on, so that one that is restored meanwhile is put where it can be found.
            self._ids = np.setdiff1d(self._ids, doomed, assume_unique=True)
            self._leaving = len(gone)
        with self._turn:
            self._index.delete(doomed)
        with self._book:
            self._hidden = self._hidden - gone
            self._leaving = 0

    def needs_maintenance(self) -> bool:
        """Whether the index asks for its upkeep."""
        return self._index.needs_maintenance()

    def maintain(self) -> None:
        """The index's own upkeep."""
        with self._turn:
            self._index.maintain()

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        with self._turn:
            self._index.save(folder)
