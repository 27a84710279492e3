"""The shelves of a file's namespaces: opened when they are first asked for, tended, and saved."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Sequence

import numpy as np

from adamem.errors import AdaMemError
from adamem.memory.index_files import IndexFiles, SavedIndex
from adamem.memory.indexed import IndexKind
from adamem.memory.shelf import Shelf
from adamem.memory.store import Drift, EncoderRow, Store
from adamem.memory.upkeep import Upkeep
from adamem.types import IdArray

_log = logging.getLogger(__name__)
_GROWN, _CLOSED = 0.2, 0.02
"""An index that changed by such a share since it was saved is saved again; when all is closed, by a smaller one. What
is missing from a saved index is read from the store when it is opened."""


class Shelves:
    """One shelf a namespace.

    Parameters
    ----------
    store
        Has all vectors; a shelf is derived from it.
    files
        Where indexes are kept, or None.
    kind
        Which index.
    room
        Vectors that a tail may hold.
    threads
        For building indexes.
    most_bytes
        What all of them may hold together; those least recently asked are closed, up to the one in use.
    writes
        Whether this process writes the store: else shelves are brought up to date with each question, and never saved.
    """

    def __init__(
        self,
        store: Store,
        files: IndexFiles | None,
        kind: IndexKind,
        *,
        room: int,
        threads: int,
        most_bytes: int,
        writes: bool,
    ) -> None:
        self._store = store
        self._files = files
        self._kind = kind
        self._room = room
        self._writes = writes
        self._most_bytes = most_bytes
        self._upkeep = Upkeep(threads=threads, tended=self._save_if_grown)
        self._shelves: dict[int, tuple[Shelf, EncoderRow]] = {}
        self._asked: dict[int, float] = {}  # by namespace: when last
        self._bytes: dict[int, int] = {}
        self._opening = threading.RLock()
        self._saving = threading.Lock()
        self._saved: dict[int, int] = {}  # by namespace: of how many vectors

    def get(self, namespace: int, row: EncoderRow) -> Shelf:
        """The shelf of a namespace, with all that was written so far."""
        found = self._shelves.get(namespace)
        self._asked[namespace] = time.monotonic()
        if found is not None and self._writes and found[1] == row:
            return found[0]
        with self._opening:
            found = self._shelves.get(namespace)
            if found is None or found[1] != row:
                found = self._open(namespace, row), row
                is_behind = True
            else:
                is_behind = found[0].sequence != self._store.sequence()
            if is_behind and not self._catch_up(namespace, *found):
                found = self._fresh(namespace, row), row
                self._catch_up(namespace, *found)
            self._shelves[namespace] = found
            self._make_room(namespace)
            return found[0]

    @property
    def nbytes(self) -> int:
        """Bytes held by all that are open."""
        return sum(shelf.nbytes for shelf, _ in list(self._shelves.values()))

    def tell(self, namespace: int, row: EncoderRow, drift: Drift) -> None:
        """Let a namespace's shelf know what was written, in pieces for which its tail has room."""
        shelf = self.get(namespace, row)
        piece = max(1, self._room // 4)
        for start in range(0, max(1, drift.ids.size), piece):
            some = slice(start, start + piece)
            is_last = start + piece >= drift.ids.size
            shelf.wait_for_room(drift.ids[some].size, self._upkeep.is_alive)
            sequence = drift.sequence if is_last else shelf.sequence
            shelf.apply(Drift(sequence, drift.ids[some], drift.vectors[some], drift.gone))
            self._upkeep.wake(shelf)
        self._bytes[namespace] = shelf.nbytes

    def tell_kept(
        self, namespace: int, row: EncoderRow, sequence: int, ids: IdArray, gone: IdArray, *, is_new: bool
    ) -> None:
        """As `tell`, of any number of ids (n,) whose vectors are read from the store, a piece at a time.

        A shelf that is not open is not told, unless the namespace is new: whoever opens it reads what was written.
        """
        with self._opening:
            found = self._shelves.get(namespace)
            if found is None:
                if not is_new:
                    return
                found = self._shelves[namespace] = self._open(namespace, row), row
                self._asked[namespace] = time.monotonic()
        none = np.empty(0, dtype=np.int64)
        for some, vectors in self._store.vectors(ids, row):
            self.tell(namespace, row, Drift(found[0].sequence, some, vectors, none))
        self.tell(namespace, row, Drift(sequence, none, np.empty((0, row.dim), dtype=np.float32), gone))
        with self._opening:
            self._make_room(namespace)

    def let_go(self, namespace: int, ids: Sequence[int] | None, now: int) -> None:
        """Let the shelf forget those of these ids, or of all, that have expired or been superseded meanwhile."""
        found = self._shelves.get(namespace)
        if found is not None:
            found[0].forget(*self._store.lapsed(namespace, ids, now))
            self._upkeep.wake(found[0])

    def refresh(self, namespace: int) -> None:
        """Read what was written, where the namespace's shelf is open."""
        with self._opening:
            found = self._shelves.get(namespace)
            if found is not None and not self._catch_up(namespace, *found):
                self.forget(namespace)

    def forget(self, namespace: int | None) -> None:
        """Open the namespace's shelf anew when it is next asked for: an error may have kept something from it."""
        with self._opening:
            if namespace is not None:
                self._shelves.pop(namespace, None)
                self._bytes.pop(namespace, None)

    def expunge(self, namespace: int) -> None:
        """Something was purged from a namespace: leave nothing of it on the disk, whatever it costs to save it anew."""
        with self._saving:
            if (found := self._shelves.get(namespace)) is not None:
                found[0].expunge()
            self._saved.pop(namespace, None)
            if self._files is not None:
                self._files.remove(namespace)
        if found is not None:
            self.refresh(namespace)

    def remove_saved(self, namespace: int, row: EncoderRow) -> None:
        """Remove what was saved of other encoders' vectors than this one's."""
        with self._saving:
            if self._files is not None:
                self._files.remove(namespace, but=_name(namespace, row))

    def forget_all(self) -> None:
        """Open every shelf anew when it is next asked for."""
        for namespace in list(self._shelves):
            self.forget(namespace)

    def flush(self) -> None:
        """Return when all indexes were told of everything."""
        self._upkeep.wait()

    def close(self) -> None:
        """End what is being done in the thread, and save."""
        self._upkeep.close()
        for namespace in list(self._shelves):
            self._save(namespace, share=_CLOSED)
        self._shelves.clear()

    def _fresh(self, namespace: int, row: EncoderRow) -> Shelf:
        reread = functools.partial(self._store.drift, namespace, row, 0)
        return Shelf(row.dim, self._kind, room=self._room, reread=reread)

    def _open(self, namespace: int, row: EncoderRow) -> Shelf:
        shelf = self._fresh(namespace, row)
        if self._files is not None:
            saved = self._files.load(_name(namespace, row), self._kind)
            if saved is not None and self._store.session_of(saved.covered) == saved.session:
                shelf.seed(saved.base, saved.covered, saved.session)
                self._saved[namespace] = len(saved.base)
        return shelf

    def _catch_up(self, namespace: int, shelf: Shelf, row: EncoderRow) -> bool:
        """Let a shelf know what was written since it was told last; False where another process has rolled that back.

        Nothing was told then: nothing says what is gone of what it has.
        """
        try:
            drift = self._store.drift(namespace, row, shelf.sequence)
            if not shelf.is_of_past(drift):
                return False
            shelf.apply(drift)
        except BaseException:  # an interrupt, of who reads only
            self._shelves.pop(namespace, None)
            raise
        self._bytes[namespace] = shelf.nbytes
        # Who only reads has the index that the writer has saved, and makes one of its own where that is far behind.
        if self._writes or shelf.tail_length > self._room:
            self._upkeep.wake(shelf)
        return True

    def _make_room(self, kept: int) -> None:
        """Close the shelves that were asked for the longest ago; what is not saved of them is in the store."""
        spare = sum(self._bytes.values()) - self._most_bytes
        if spare <= 0:
            return
        for namespace in sorted(self._bytes, key=lambda one: self._asked.get(one, 0.0)):
            if namespace != kept and spare > 0:
                spare -= self._bytes[namespace]
                self.forget(namespace)

    def _save_if_grown(self, shelf: Shelf) -> None:
        """In the upkeep's thread, which alone changes an index."""
        for namespace, (other, _) in list(self._shelves.items()):
            if other is shelf:  # else it was closed meanwhile
                self._bytes[namespace] = shelf.nbytes
                self._save(namespace, share=_GROWN)

    def _save(self, namespace: int, *, share: float) -> None:
        """Save an index that changed by more than such a share since it was saved."""
        with self._saving:
            shelf, row = self._shelves[namespace]
            covered, base = shelf.covered, shelf.base
            if not self._writes or self._files is None or base is None or not base.can_save or shelf.is_stained:
                return
            session = self._store.session_of(covered)
            before = self._saved.get(namespace, 0)
            if session is None or (before and abs(len(base) - before) <= share * before):
                return
            try:
                self._files.save(_name(namespace, row), self._kind, SavedIndex(base, session, covered))
            except (AdaMemError, OSError) as error:
                # It costs the next opening some time, and nothing else.
                _log.warning("an index of the memory could not be saved and will be built again: %s", error)
            else:
                self._saved[namespace] = len(base)


def _name(namespace: int, row: EncoderRow) -> str:
    return f"{namespace}-{row.id}"
