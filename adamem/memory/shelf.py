"""The vectors of one namespace as they are searched: an index, and an exact tail of what it was not told yet."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adamem.index import IdFilter
from adamem.memory.indexed import Indexed, IndexKind
from adamem.memory.store import Drift
from adamem.memory.tail import Tail
from adamem.types import FloatArray, IdArray

_INDEXED_FROM = 2_000
"""As long as a namespace has fewer vectors it has no index: all are scanned in less than a tenth of a millisecond."""
_MOVED_FROM = 1_000
"""A tail of so many is moved into the index; one shorter costs a search next to nothing."""
_PIECE = 500
"""Vectors that go into the index at a time."""
_HIDDEN_SHARE = 0.05
"""Hidden ids are taken out once they are such a share of the index."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a search takes at once."""

    base: Indexed | None
    tail: Tail


class Shelf:
    """Every vector is in the index, in the tail, or for a moment in both: a search never misses one.

    Adding and dropping is done by one thread at a time, tending by one thread (of `Upkeep`); searches run beside both.

    Parameters
    ----------
    dim
        The length of the vectors.
    kind
        The index.
    room
        How many vectors the tail may hold before `wait_for_room` waits.
    reread
        Gives the whole namespace's vectors as the store has them.
    """

    def __init__(self, dim: int, kind: IndexKind, *, room: int, reread: Callable[[], Drift]) -> None:
        self._kind = kind
        self._room = room
        self._reread = reread
        self._parts = _Parts(None, Tail(dim))
        self._changed = threading.Condition()
        # While vectors are on their way into an index: what was dropped meanwhile.
        self._dropped: set[int] | None = None
        self._sequence = 0
        self._session: str | None = None
        self._covered = 0
        self._failed: Exception | None = None
        self._purged = self._purged_in_base = 0  # how often; and up to which time of these the index is without it

    def __len__(self) -> int:
        """How many vectors can be found; while some are on their way, those restored meanwhile may count twice."""
        parts = self._parts
        return len(parts.tail) + (0 if parts.base is None else len(parts.base))

    @property
    def sequence(self) -> int:
        """The last write that it was told of."""
        return self._sequence

    def is_of_past(self, drift: Drift) -> bool:
        """Whether what was written up to `sequence` is the past of what a drift tells: else a rollback came between."""
        return self._session in (None, drift.since_session)

    @property
    def covered(self) -> int:
        """Whatever was written up to here is in the index, or gone."""
        return self._covered

    @property
    def base(self) -> Indexed | None:
        """The index, if there is one yet."""
        return self._parts.base

    @property
    def is_stained(self) -> bool:
        """Whether the index has something in it that must not be saved."""
        return self._purged != self._purged_in_base

    def expunge(self) -> None:
        """Something was purged: build the index anew from what is left."""
        with self._changed:
            self._purged += 1

    @property
    def tail_length(self) -> int:
        """How many vectors the index was not told of."""
        return len(self._parts.tail)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        parts = self._parts
        return parts.tail.nbytes + (0 if parts.base is None else parts.base.nbytes)

    def seed(self, base: Indexed, covered: int, session: str) -> None:
        """Begin with an index that holds all that was written up to `covered`; once, before anything else."""
        self._parts = _Parts(base, self._parts.tail)
        self._session = session
        self._sequence = self._covered = covered

    # -- searching -----------------------------------------------------------------------------------------------------

    @property
    def can_filter(self) -> bool:
        """Whether a search can be among some ids only."""
        base = self._parts.base
        return base is None or base.can_filter

    def search(self, query: FloatArray, k: int, admitted: IdFilter | None = None) -> tuple[IdArray, FloatArray]:
        """The k nearest to `query` (d,), of length 1, by (distance, id): ids, distances 1 - cos; fewer if there are.

        `admitted` are the ids in question, or None for all; only where `can_filter`.
        """
        parts = self._parts  # once: another may be put in its place meanwhile
        ids, distances = parts.tail.search(query, k, None if admitted is None else admitted.ids)
        if parts.base is None:
            return ids, distances
        base_ids, base_distances = parts.base.search(query, k, self._kind.search, admitted)
        if ids.size:
            twice = set(ids.tolist())
            fresh = np.array([number not in twice for number in base_ids.tolist()], dtype=bool)
            base_ids = np.concatenate([base_ids[fresh], ids])
            base_distances = np.concatenate([base_distances[fresh], distances])
        order = np.lexsort((base_ids, base_distances))[:k]
        return base_ids[order], base_distances[order]

    # -- changing ------------------------------------------------------------------------------------------------------

    def apply(self, drift: Drift) -> None:
        """Take over what was written up to `drift.sequence`."""
        with self._changed:
            base, tail = self._parts.base, self._parts.tail
            fresh = np.array([self._is_new(number, base, tail) for number in drift.ids.tolist()], dtype=bool)
            if fresh.any():
                tail.append(drift.ids[fresh], drift.vectors[fresh])
            for number in drift.gone.tolist():  # after what takes their place: a search meets one of them at least
                self._drop(number)
            if drift.sequence >= self._sequence:
                self._sequence, self._session = drift.sequence, drift.session
            if len(tail) == 0:
                self._covered = self._sequence

    def forget(self, ids: IdArray, sequence: int) -> None:
        """Let go of ids (m,) that after the write `sequence` could not be found any more, nor at any later time."""
        with self._changed:
            if self._sequence <= sequence:  # else one may have been restored since
                for number in ids.tolist():
                    self._drop(number)

    def wait_for_room(self, count: int, alive: Callable[[], bool]) -> None:
        """Return when the tail has room for `count` more, or nobody is left who would make room."""
        with self._changed:
            while len(self._parts.tail) + count > self._room and self._failed is None and alive():
                self._changed.wait(0.1)

    def _is_new(self, number: int, base: Indexed | None, tail: Tail) -> bool:
        if self._dropped is not None:
            self._dropped.discard(number)
        if number in tail:
            return False
        # While vectors are on their way, the index in use says nothing about the one to come.
        return base is None or not base.show(number) or self._dropped is not None

    def _drop(self, number: int) -> None:
        self._parts.tail.drop(number)
        if self._parts.base is not None:
            self._parts.base.hide(number)
        if self._dropped is not None:
            self._dropped.add(number)

    # -- tending -------------------------------------------------------------------------------------------------------

    def needs_tending(self) -> bool:
        """Whether `tend` would do anything."""
        return self._failed is None and self._task() is not None

    def tend(self, stopping: Callable[[], bool], *, threads: int) -> None:
        """Move the tail into the index, take out what is hidden, keep the index in shape; until done, or `stopping`.

        Also until the store has nothing of the tail any more, as where another encoder is in use by now and vectors of
        this one are deleted: whoever asks has another shelf then, and a build would be tried for ever.
        """
        while not stopping() and (task := self._task()) is not None:
            base = self._parts.base
            try:
                if task == "build":
                    if not self._build(threads):
                        return
                elif task == "move":
                    self._move()
                elif base is not None and task == "clear":
                    base.purge_hidden()
                elif base is not None:
                    base.maintain()
            except Exception as error:
                with self._changed:
                    self._failed = error
                    self._changed.notify_all()
                raise

    def _task(self) -> str | None:
        base, tail = self._parts.base, self._parts.tail
        half = max(1, self._room // 2)
        if base is None:
            return "build" if len(tail) >= min(_INDEXED_FROM, half) else None
        if self.is_stained:
            return "build"
        if len(tail) >= min(_MOVED_FROM, half):
            # Building in bulk takes less time a vector than adding one after the other.
            return "move" if base.can_insert and len(tail) < len(base) else "build"
        if base.hidden_count > _HIDDEN_SHARE * base.ids.size:
            if len(base) == 0:
                return "build"
            return "clear" if base.can_delete else "build"
        return "maintain" if base.needs_maintenance() else None

    def _build(self, threads: int) -> bool:
        """Build the index from what the store has; False where it has nothing of the tail."""
        with self._noting_drops() as dropped:
            purged = self._purged
            drift = self._reread()
            base = Indexed.build(self._kind, drift.ids, drift.vectors, threads=threads) if drift.ids.size else None
            with self._changed:
                waiting = len(self._parts.tail)
                left = self._arrive(base, drift.ids, dropped)
                self._cover(drift.sequence)
                self._purged_in_base = purged
        return left < waiting or waiting == 0

    def _move(self) -> None:
        base = self._parts.base
        assert base is not None  # `_task` has seen it
        with self._noting_drops() as dropped:
            ids, vectors = self._parts.tail.first(_PIECE)
            base.insert(ids, vectors)
            with self._changed:
                self._arrive(base, ids, dropped)
                self._cover(self._covered)

    @contextlib.contextmanager
    def _noting_drops(self) -> Iterator[set[int]]:
        with self._changed:
            dropped = self._dropped = set()
        try:
            yield dropped
        finally:
            with self._changed:
                self._dropped = None

    def _arrive(self, base: Indexed | None, ids: IdArray, dropped: set[int]) -> int:
        """The index has these ids now: the tail lets go of them, and what was dropped on the way is hidden.

        How many the tail holds then.
        """
        tail = self._parts.tail.without(ids)
        if base is not None:
            for number in dropped:
                base.hide(number)
            # What was restored on the way went to the tail as well, whether the index has it or not.
            waiting, _ = tail.first(len(tail))
            tail = tail.without(base.visible(waiting))
        self._parts = _Parts(base, tail)
        return len(tail)

    def _cover(self, sequence: int) -> None:
        self._covered = self._sequence if len(self._parts.tail) == 0 else max(self._covered, sequence)
        self._changed.notify_all()
