"""The words of a file's namespaces: taken in when a lexical search asks for them, and what is new with each."""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

from adamem.memory.store import Store
from adamem.memory.words import Told, Words

_KEPT_FROM = 2_000
"""The words of fewer memories are taken in anew, in memory, in some milliseconds; of more, they are kept in a file."""
_OPEN = 64
"""So many namespaces' words are held open."""
_PIECE = 5_000
_log = logging.getLogger(__name__)


class Lexicon:
    """One `Words` a namespace.

    Parameters
    ----------
    store
        Has all texts; words are derived from it.
    folder
        Where their files are kept, or None.
    """

    def __init__(self, store: Store, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self._open: dict[int, Words] = {}  # the least recently asked first
        self._lock = threading.RLock()

    def get(self, namespace: int) -> tuple[Words, int]:
        """A namespace's words, and up to which write they have all that was written."""
        with self._lock:
            words = self._open.pop(namespace, None)
            if words is not None and not self._is_of_this_past(words):
                words.close()  # a rollback came between
                words = None
            words = words or self._opened(namespace)
            try:
                sequence = self._catch_up(namespace, words)
            except sqlite3.Error as error:
                if self._folder is None:
                    raise
                # A full disk, a folder that nobody may write to: what is derived can be held in memory as well.
                _log.warning("the words of %s are held in memory: %s", self._path(namespace), error)
                words.close()
                words = Words(None)
                sequence = self._catch_up(namespace, words)
            self._open[namespace] = words
            while len(self._open) > _OPEN:
                self._open.pop(next(iter(self._open))).close()
            return words, sequence

    def forget(self, namespace: int) -> None:
        """Take in a namespace's words anew when they are next asked for, and leave nothing of them on the disk."""
        with self._lock:
            words = self._open.pop(namespace, None)
            if words is not None:
                words.close()
            if self._folder is not None:
                _remove(self._path(namespace))

    def forget_all(self) -> None:
        """Look at every namespace's words again when they are next asked for."""
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for words in self._open.values():
                words.close()
            self._open.clear()

    def _path(self, namespace: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{namespace}.words"

    def _opened(self, namespace: int) -> Words:
        if self._folder is None or not self._store.has_more_than(namespace, _KEPT_FROM):
            return Words(None)
        path = self._path(namespace)
        try:
            words = Words(path)
            if self._is_of_this_past(words):
                return words
            words.close()  # of what an older copy of this file became elsewhere
        except (sqlite3.Error, TypeError) as error:
            _log.warning("%s cannot be used and is made again from the memories: %s", path, error)
        try:
            _remove(path)
            return Words(path)
        except (sqlite3.Error, OSError) as error:
            _log.warning("the words of %s are held in memory: %s", path, error)
            return Words(None)

    def _is_of_this_past(self, words: Words) -> bool:
        told = words.told()
        return told.sequence == 0 or self._store.session_of(told.sequence) == told.session

    def _catch_up(self, namespace: int, words: Words) -> int:
        sequence = self._store.sequence()
        told = words.told()
        while words.current != sequence and (texts := self._store.texts(namespace, after=told.last, count=_PIECE)):
            told = Told(self._store.session_of(sequence) or "", sequence, texts[-1][0])
            words.tell(texts, told)
        words.current = sequence
        return sequence


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
