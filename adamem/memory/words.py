"""Lexical search in one namespace: BM25 by SQLite's FTS5, in a file of its own that is derived from the memories.

A file a namespace, so that the statistics by which BM25 weighs a word are the namespace's own: others' texts neither
change its ranking nor show in it. Texts never change, so it only ever grows; what cannot be found any more is left out
of the answers by whoever asked.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamem.memory.stems import stems
from adamem.types import DoubleArray, IdArray

_VERSION = 1
_WAIT_MS = 10_000
_MOST_WORDS = 64
"""Of a longer query, the rarest."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a `Words` knows."""

    session: str = ""
    sequence: int = 0
    """A write that was there when it was last told of anything, and the engine that wrote it; see
    `Store.session_of`."""
    last: int = 0
    """All memories of the namespace up to this id are in."""


class Words:
    """The words of a namespace's memories.

    Parameters
    ----------
    path
        The derived file, or None for one in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.current = 0
        """The write up to which whoever opened it has told it everything."""
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None, timeout=_WAIT_MS / 1000
        )
        try:
            # Derived: what a power cut takes is made again, and a kill leaves what was committed.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            with self._change():
                if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                    self._connection.execute("CREATE TABLE told (session TEXT, sequence INTEGER, last INTEGER)")
                    self._connection.execute("INSERT INTO told VALUES ('', 0, 0)")
                    # Of what `stems` gives, nothing is folded or split further; the text itself is not kept.
                    self._connection.execute(
                        "CREATE VIRTUAL TABLE words USING fts5(body, content = '', "
                        "tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\")"
                    )
                    self._connection.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row)")
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            self._connection.close()
            raise

    def told(self) -> Told:
        """What it knows."""
        with self._lock:
            return self._told()

    def tell(self, texts: Iterable[tuple[int, str]], told: Told) -> None:
        """Take in memories (id, text), of ascending ids; those up to `told.last` that it has not got already."""
        with self._lock, self._change():
            last = self._told().last  # another process may have come first
            fresh = ((number, " ".join(stems(text))) for number, text in texts if number > last)
            self._connection.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", fresh)
            if told.last >= last:
                self._connection.execute(
                    "UPDATE told SET session = ?, sequence = ?, last = ?", (told.session, told.sequence, told.last)
                )

    def search(self, query: str, k: int, admitted: IdArray | None = None) -> tuple[IdArray, DoubleArray]:
        """The k memories that BM25 ranks highest of those with a word of `query`: ids, scores; ties by id.

        A word that more than half of the memories have weighs nothing and is left out, where there is another one.
        `admitted`, int64, are the ids in question, or None for all.

        Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond"; k1 = 1.2 and b =
        0.75 are FTS5's own.
        """
        with self._lock:
            wanted = self._telling(stems(query))
            if not wanted:
                return np.empty(0, np.int64), np.empty(0, np.float64)
            match = " OR ".join(f'"{word}"' for word in wanted)
            statement = "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ? ORDER BY score DESC, rowid"
            if admitted is None:
                found = self._connection.execute(f"{statement} LIMIT ?", (match, k)).fetchall()
            else:
                allowed, found = set(admitted.tolist()), []
                for row in self._connection.execute(statement, (match,)):
                    if row[0] in allowed:
                        found.append(row)
                        if len(found) == k:
                            break
        return np.array([one for one, _ in found], np.int64), np.array([score for _, score in found], np.float64)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _told(self) -> Told:
        return Told(*self._connection.execute("SELECT session, sequence, last FROM told").fetchone())

    def _telling(self, words: list[str]) -> list[str]:
        """Which words of a query tell memories from each other: the rarest first."""
        marks = ", ".join("?" * len(set(words)))
        known = dict(
            self._connection.execute(f"SELECT term, doc FROM vocabulary WHERE term IN ({marks})", sorted(set(words)))
        )
        total = self._connection.execute("SELECT count(*) FROM words").fetchone()[0] if known else 0
        rare = [word for word in known if 2 * known[word] <= total]
        return sorted(rare or known, key=lambda word: (known[word], word))[:_MOST_WORDS]

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
