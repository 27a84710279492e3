"""From a question to hits: what is near by its vector, what shares words with it, or both; among what may be found."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from adamem.index import IdFilter
from adamem.memory.fusion import Fusion, Weighting
from adamem.memory.lexicon import Lexicon
from adamem.memory.records import Frozen, Hit, Timings
from adamem.memory.rows import to_memory
from adamem.memory.scope import Scope
from adamem.memory.shelves import Shelves
from adamem.memory.store import EncoderRow, Store
from adamem.types import DoubleArray, FloatArray, IdArray

_log = logging.getLogger(__name__)

Mode = Literal["vector", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = ("vector", "lexical", "hybrid")
_DEEP = 50
"""So many of each ranking are fused or weighted, or four times as many as are wanted."""
_ASKED = 1_000
"""Where the nearest so many do not hold enough that a condition admits, it is asked of all of them first."""
_SCANNED = 2_000
"""So few that are admitted are compared one by one: no index is faster."""
_TRIES, _TRIES_BESIDE = 20, 3
"""So often a search is begun anew that a write has overtaken; and so often, where writes can be kept waiting for it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, checked."""

    namespace: int
    name: str
    text: str | None
    vector: FloatArray | None
    """float32 (d,), of length 1; None for lexical search."""
    encoder: EncoderRow
    top_k: int
    mode: Mode
    scope: Scope
    is_past: bool
    """Whether `scope` asks what held at another time than now."""
    fusion: Fusion
    weighting: Weighting | None
    min_score: float | None


@dataclass(frozen=True, slots=True)
class _Found:
    """The best of one ranking that may be found."""

    scores: dict[int, float]
    """By id, best first."""
    rows: dict[int, Any]
    missing: Sequence[int] = ()
    """What was ranked as well, and could not be found."""
    admitted: IdArray | None = None
    """Among which ids it was, where these were read."""


_Once: TypeAlias = tuple[dict[str, _Found], int, bool]
_Undisturbed: TypeAlias = Callable[[Callable[[], _Once]], _Once]


class _Ranking(Protocol):
    """What gives ids with scores, best first."""

    sequence: int
    """All that was written up to here is in it."""

    def ask(self, k: int, admitted: IdArray | None) -> tuple[IdArray, DoubleArray]:
        """The k best, among `admitted`; fewer if there are."""

    def renew(self) -> None:
        """Take in what was written since."""

    def lapse(self, ids: Sequence[int] | None, now: int) -> None:
        """Those ids could not be found; None stands for many."""


class Retrieval:
    """Answers questions from a store, its shelves and its words.

    Parameters
    ----------
    store, shelves, lexicon
        What holds, its vectors and its words.
    undisturbed
        Calls something while nothing is written; None where another process writes.
    """

    def __init__(self, store: Store, shelves: Shelves, lexicon: Lexicon, undisturbed: _Undisturbed | None) -> None:
        self._store = store
        self._shelves = shelves
        self._lexicon = lexicon
        self._undisturbed = undisturbed

    def search(self, asked: Question, spent: Timings) -> list[Hit]:
        """At most `top_k` hits, best first, ties by id; what it took is added to `spent`."""
        begun = time.perf_counter()
        rankings: dict[str, _Ranking] = {}
        if asked.mode != "lexical":
            rankings["vector"] = _ByVector(self._store, self._shelves, asked)
        if asked.mode != "vector":
            rankings["lexical"] = _ByWords(self._lexicon, asked)
        spent.search += time.perf_counter() - begun
        found, at = self._found(rankings, asked, spent)
        begun = time.perf_counter()
        scores = next(iter(found.values())).scores
        if asked.mode == "hybrid":
            scores = asked.fusion.scores({name: one.scores for name, one in found.items()})
        rows = {number: row for one in found.values() for number, row in one.rows.items()}
        extra: dict[int, dict[str, float]] = {}
        if asked.weighting is not None:
            extra = {
                number: asked.weighting.parts((at - rows[number].valid_from) / 1e6, rows[number].credibility)
                for number in scores
            }
            scores = {number: score + sum(extra[number].values()) for number, score in scores.items()}
        best = sorted(scores, key=lambda number: (-scores[number], number))[: asked.top_k]
        if asked.min_score is not None:
            best = [number for number in best if scores[number] >= asked.min_score]
        hits = [
            Hit(
                memory=to_memory(rows[number], asked.name),
                score=scores[number],
                rank=rank,
                parts=Frozen(
                    {name: one.scores[number] for name, one in found.items() if number in one.scores}
                    | extra.get(number, {})
                ),
            )
            for rank, number in enumerate(best, start=1)
        ]
        spent.fetch += time.perf_counter() - begun
        return hits

    def _found(self, rankings: dict[str, _Ranking], asked: Question, spent: Timings) -> tuple[dict[str, _Found], int]:
        """The best of each ranking, all of one moment of the store; and the time that was asked about."""
        for turn in range(_TRIES):
            found, at, is_whole = self._once(rankings, asked, spent, is_anew=turn > 0)
            if is_whole:
                return found, at
            if self._undisturbed is not None and turn + 1 == _TRIES_BESIDE:
                found, at, _ = self._undisturbed(lambda: self._once(rankings, asked, spent, is_anew=True))
                return found, at
        # Another process writes faster than this one reads: at least nothing stands beside what took its place.
        scope = _at(asked, self._store.now())
        rows = self._store.visible(
            asked.namespace, sorted({one for some in found.values() for one in some.rows}), scope
        )
        for name, some in found.items():
            found[name] = _Found({one: score for one, score in some.scores.items() if one in rows}, rows)
        return found, scope.at

    def _once(self, rankings: dict[str, _Ranking], asked: Question, spent: Timings, *, is_anew: bool) -> _Once:
        """The best of each ranking; the time that was asked about; whether no write came between."""
        depth = asked.top_k
        if asked.mode == "hybrid" or asked.weighting is not None:
            depth = max(_DEEP, 4 * asked.top_k)
        if is_anew:
            for ranking in rankings.values():
                ranking.renew()
        # What was written since the last turn holds from later on.
        scope = _at(asked, self._store.now())
        found = {name: self._best(ranking, asked, scope, depth, spent) for name, ranking in rankings.items()}
        # What the nearest lead to that are all there is of one moment, whatever was written meanwhile: where it took
        # the place of one of them, that one is missing. Two rankings, or one among ids that were read after it was
        # brought up to date, may be of two moments.
        ((name, first), *others) = found.items()
        if others or first.admitted is not None or first.missing or name == "lexical":
            known = min(ranking.sequence for ranking in rankings.values())
            if self._store.written(asked.namespace) > known:
                return found, scope.at, False
        if not asked.is_past and not scope.is_narrowed:
            for name, some in found.items():
                if some.admitted is not None:
                    rankings[name].lapse(None, scope.at)  # more than a few have expired
                elif some.missing:
                    rankings[name].lapse(some.missing, scope.at)
        return found, scope.at, True

    def _best(self, ranking: _Ranking, asked: Question, scope: Scope, wanted: int, spent: Timings) -> _Found:
        """The best `wanted` of a ranking that may be found; fewer if there are."""
        admitted = self._store.matching(asked.namespace, scope) if asked.is_past else None
        asking = wanted
        while True:
            begun = time.perf_counter()
            ids, scores = ranking.ask(asking, admitted)
            ranked = time.perf_counter()
            rows = self._store.visible(asked.namespace, ids.tolist(), scope)
            spent.search += ranked - begun
            spent.fetch += time.perf_counter() - ranked
            if len(rows) >= wanted or ids.size < asking:
                break
            asking *= 4  # some are not what is asked for, or can be found no more
            if asking > _ASKED and admitted is None:
                admitted = self._store.matching(asked.namespace, scope)
        missing = [number for number in ids.tolist() if number not in rows]
        best = [(number, score) for number, score in zip(ids.tolist(), scores.tolist(), strict=True) if number in rows]
        return _Found(dict(best[:wanted]), rows, missing, admitted)


def _at(asked: Question, now: int) -> Scope:
    """What may be found: at the time that was asked about, or now."""
    return asked.scope if asked.is_past else replace(asked.scope, at=now)


class _ByVector:
    """By the cosine, from the shelf; or from the store, where few are in question or what held in the past."""

    def __init__(self, store: Store, shelves: Shelves, asked: Question) -> None:
        assert asked.vector is not None
        self._store, self._shelves, self._asked, self._query = store, shelves, asked, asked.vector
        self._take()

    def renew(self) -> None:
        if not self._asked.is_past:
            self._shelves.refresh(self._asked.namespace)  # whoever wrote may not have come to tell it yet
        self._take()

    def _take(self) -> None:
        if self._asked.is_past:
            self.sequence = self._store.sequence()  # it is read from the store
            return
        self._shelf = self._shelves.get(self._asked.namespace, self._asked.encoder)
        self.sequence = self._shelf.sequence

    def ask(self, k: int, admitted: IdArray | None) -> tuple[IdArray, DoubleArray]:
        if admitted is None:
            ids, distances = self._shelf.search(self._query, k)
        elif self._asked.is_past or admitted.size <= _SCANNED or not self._shelf.can_filter:
            ids, distances = self._scanned(k, admitted)
        else:
            ids, distances = self._shelf.search(self._query, k, IdFilter(admitted))
        return ids, 1.0 - distances.astype(np.float64)

    def lapse(self, ids: Sequence[int] | None, now: int) -> None:
        self._shelves.let_go(self._asked.namespace, ids, now)

    def _scanned(self, k: int, admitted: IdArray) -> tuple[IdArray, FloatArray]:
        ids, distances = np.empty(0, np.int64), np.empty(0, np.float32)
        for some, vectors in self._store.vectors(admitted, self._asked.encoder):
            ids = np.concatenate([ids, some])
            distances = np.concatenate([distances, np.float32(1) - vectors @ self._query])
            best = np.lexsort((ids, distances))[:k]
            ids, distances = ids[best], distances[best]
        return ids, distances


class _ByWords:
    """By BM25."""

    def __init__(self, lexicon: Lexicon, asked: Question) -> None:
        self._lexicon, self._asked = lexicon, asked
        self.renew()

    def renew(self) -> None:
        self._words, self.sequence = self._lexicon.get(self._asked.namespace)

    def ask(self, k: int, admitted: IdArray | None) -> tuple[IdArray, DoubleArray]:
        text = self._asked.text or ""
        try:
            return self._words.search(text, k, admitted)
        except sqlite3.ProgrammingError:  # closed meanwhile, for others that were asked since
            self.renew()
        except sqlite3.DatabaseError as error:
            _log.warning("the words of %s cannot be used and are made again: %s", self._asked.name, error)
            self._lexicon.forget(self._asked.namespace)
            self.renew()
        return self._words.search(text, k, admitted)

    def lapse(self, ids: Sequence[int] | None, now: int) -> None:
        """It keeps them, for what held in the past."""
