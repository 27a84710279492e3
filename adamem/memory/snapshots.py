"""Versions of a memory file: whole copies of the database, each in a folder of its own beside it."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from adamem.errors import AdaMemError, CorruptResult, DataError, InvalidInput, StorageError, UnknownName
from adamem.files import atomic_folder, remove_folder, write_json
from adamem.memory import schema
from adamem.memory.fitting import forget_words
from adamem.memory.records import Version
from adamem.memory.sqlite import Database
from adamem.memory.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATABASE, _ABOUT = "memory.db", "version.json"
_RESTORED = (
    *(schema.fitted, schema.adaptations, schema.namespaces, schema.memories, schema.vectors),
    *(schema.lessons, schema.usage, schema.aliases),
)
_ENCODER = (
    "(SELECT here.id FROM main.encoders AS here JOIN version.encoders AS there ON here.fingerprint = there.fingerprint "
    "WHERE there.id = {})"
)
"""The number in the file of the encoder that a column of the version names: another file may number them otherwise."""
_log = logging.getLogger(__name__)


class Snapshots:
    """The versions of one memory file.

    Parameters
    ----------
    store
        The file.
    folder
        Where they are kept.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def take(self, name: str, *, created: datetime, memories: int) -> Version:
        """Keep the file as it is now. Raises `InvalidInput` for a name that is taken or that no folder may have."""
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"a version's name has letters, digits, points, dashes and underscores, up to 100, not {name[:120]!r}"
            )
        home = self._folder / name
        if home.exists():
            raise InvalidInput(f"there is a version {name} already; choose another name, or remove that one")
        with atomic_folder(home) as scratch:
            with self._store.database.raw() as connection:
                connection.execute("VACUUM INTO ?", (str(scratch / _DATABASE),))
            about = {"created": created.isoformat(), "memories": memories, "bytes": _size(scratch / _DATABASE)}
            write_json(scratch / _ABOUT, about)
        return self._version(name)

    def all(self) -> list[Version]:
        """By when they were taken; what is damaged is left out, and told in the log."""
        found = []
        for home in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            if _NAME.fullmatch(home.name) and (home / _ABOUT).exists():
                try:
                    found.append(self._version(home.name))
                except AdaMemError as error:
                    _log.warning("%s", error)
        return sorted(found, key=lambda version: (version.created, version.name))

    def remove(self, name: str) -> None:
        """Take a version away, whole or damaged."""
        if not _NAME.fullmatch(str(name)) or not (self._folder / name).is_dir():
            raise UnknownName.of("version", name, [version.name for version in self.all()])
        remove_folder(self._folder / name)

    def database(self, name: str) -> Path:
        """The database of a version, for `restore`. Raises `UnknownName` if there is none."""
        known = [version.name for version in self.all()]
        if name not in known:
            raise UnknownName.of("version", name, known)
        return self._folder / name / _DATABASE

    def restore(self, source: Path) -> None:
        """Make the file what it was when a version was taken: in one transaction, whole or not at all.

        Numbers of memories that were given since are never given again. What is derived of any namespace is to be
        scrubbed then.
        """
        Database(source, readonly=False, wait=0.0).close()  # brings one of an older format up to date
        with self._store.database.raw() as connection:
            connection.execute("ATTACH DATABASE ? AS version", (f"{source.resolve().as_uri()}?mode=rw",))
            try:
                self._copy(connection)
            finally:
                connection.execute("DETACH DATABASE version")
        _tidy(source)

    def purge(self, statement: Callable[[sqlite3.Connection], bool]) -> bool:
        """Run what deletes rows in every version; what it returns says whether there were any, as this does of all."""
        found = False
        for home in self._folder.iterdir() if self._folder.is_dir() else ():
            if not _NAME.fullmatch(home.name):  # of a snapshot that was killed
                shutil.rmtree(home, ignore_errors=True)
        for home in self._homes():
            with _opened(home) as connection:
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    is_here = statement(connection)
                    if forget_words(connection) or is_here:
                        connection.execute("INSERT OR IGNORE INTO unscrubbed VALUES (0)")
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                found = found or is_here
                # There are some too where one who purged was killed between the two.
                if connection.execute("SELECT 1 FROM unscrubbed").fetchone():
                    # What a page had that rows moved away from is only gone when the page is.
                    connection.execute("VACUUM")
                    connection.execute("DELETE FROM unscrubbed")
        return found

    def aliases(self) -> set[tuple[int, int]]:
        """Of all versions: ids of memories that were merged, and of those that they lead to there."""
        found: set[tuple[int, int]] = set()
        for home in self._homes():
            with _opened(home) as connection:
                found.update(connection.execute("SELECT id, memory FROM aliases"))
        return found

    def _homes(self) -> list[Path]:
        """The folders of all versions that have a database."""
        return sorted(
            database.parent for database in self._folder.glob(f"*/{_DATABASE}") if _NAME.fullmatch(database.parent.name)
        )

    def _copy(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("UPDATE main.state SET adaptation = NULL")  # or what it names could not be taken out
            # What is derived from a past that is given up may have what nobody could ask to be purged any more.
            mark = "INSERT OR IGNORE INTO main.unscrubbed SELECT id FROM"
            connection.execute(f"{mark} main.namespaces")
            connection.execute(f"{mark} version.namespaces")
            for table in reversed(_RESTORED):
                connection.execute(f"DELETE FROM main.{table.name}")
            connection.execute(
                "INSERT OR IGNORE INTO main.encoders (fingerprint, name, dim) "
                "SELECT fingerprint, name, dim FROM version.encoders ORDER BY id"
            )
            for table in _RESTORED:
                names = [column.name for column in table.columns]
                taken = ", ".join(_ENCODER.format(name) if name in ("encoder", "base") else name for name in names)
                connection.execute(
                    f"INSERT INTO main.{table.name} ({', '.join(names)}) SELECT {taken} FROM version.{table.name}"
                )
            # To whoever has read the file before, every memory has changed; no index that was saved before is used. A
            # version may be later than the file, where an older copy of that was brought back.
            connection.execute(
                "UPDATE main.state SET sequence = main.state.sequence + 1, "
                "last_memory = max(main.state.last_memory, there.last_memory), "
                "clock = max(main.state.clock, there.clock), encoder = there.encoder, adaptation = there.adaptation "
                f"FROM (SELECT last_memory, clock, {_ENCODER.format('encoder')} AS encoder, adaptation "
                "FROM version.state) AS there"
            )
            connection.execute("UPDATE main.memories SET sequence = (SELECT sequence FROM main.state)")
            connection.execute("DELETE FROM main.sessions")
            connection.execute("INSERT INTO main.sessions VALUES (0, ?)", (secrets.token_hex(8),))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _version(self, name: str) -> Version:
        path = self._folder / name / _ABOUT
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            return Version(name, datetime.fromisoformat(about["created"]), about["memories"], about["bytes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptResult(
                f"{path} is not what was written ({error}); remove_version({name!r}) takes it away"
            ) from error


@contextlib.contextmanager
def _opened(home: Path) -> Iterator[sqlite3.Connection]:
    """The database of a version, to be changed.

    Raises `CorruptResult` where it is damaged, `StorageError` where what was changed cannot be brought into it.
    """
    try:
        database = Database(home / _DATABASE, readonly=False, wait=10.0)
        try:
            with database.raw() as connection:
                yield connection
            if not database.empty_log():  # and else that would be lost with the log
                raise StorageError(
                    f"another process reads the version {home.name} just now, so that its log, which has what was "
                    "taken out of it, cannot be emptied; close that one, and do this again"
                )
        finally:
            database.close()
    except (CorruptResult, DataError) as error:
        raise CorruptResult(
            f"the version {home.name} is damaged, and what it has cannot be taken out of it; "
            f"remove_version({home.name!r}) takes all of it away, and then this can be done"
        ) from error
    _tidy(home / _DATABASE)


def _tidy(database: Path) -> None:
    """Of a version nothing stays open."""
    for end in ("-wal", "-shm", ".lock"):
        database.with_name(database.name + end).unlink(missing_ok=True)


def no_versions() -> StorageError:
    """What is said where there is no file."""
    return StorageError('":memory:" has no versions; open a file')


def _size(path: Path) -> int:
    return path.stat().st_size
