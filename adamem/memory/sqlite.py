"""All that is particular to SQLite: how a memory file is opened, checked, locked and spoken of when it fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool, StaticPool

from adamem.errors import AdaMemError, CorruptResult, DataError, StorageError
from adamem.memory import schema
from adamem.memory.prepared import Prepared

_APPLICATION = 0x41644D65  # "AdMe", in the header of every memory file
_WAIT_MS = 10_000  # for a lock inside SQLite, which none holds for longer than a commit
_PAGES_KEPT = -64_000  # kibibytes, as SQLite writes it
_LEAST = 512  # bytes: the least page that a database can have


class Database:
    """The connections to one memory file, or to one that lives in memory (`path` None).

    Readers see the state of their transaction's beginning, however much is written meanwhile. There is one writer: a
    lock file beside the database says so to other processes, and is free again when the process ends in whatever way.

    Parameters
    ----------
    path
        The file; made if it is absent, unless `readonly`.
    readonly
        Open without the writer's lock; `write` is refused.
    wait
        Seconds to wait for another writer to close.

    Raises
    ------
    StorageError
        if the file cannot be opened or made, or another writer has it.
    DataError
        if the file is something else, or was written by a newer version.
    CorruptResult
        if it is damaged. It stays as it is.
    """

    def __init__(self, path: Path | None, *, readonly: bool, wait: float) -> None:
        self._path = path
        self._readonly = readonly
        self._alone = threading.RLock() if path is None else None
        self._readers = 0
        self._closed = False
        self._reading = threading.Condition()
        self._asking: list[PoolProxiedConnection] = []
        self._lock = None if path is None or readonly else _locked(path, wait)
        try:
            with self.sentences():
                if path is not None:
                    _check_header(path, readonly=readonly)
                self._engine = _engine(path, readonly=readonly)
                if not readonly:
                    self._make_tables()
        except BaseException:
            self._unlock()
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the file."""
        self._count_in()
        try:
            with self.sentences(), self._alone or contextlib.nullcontext(), self._engine.connect() as connection:
                yield connection
        finally:
            self._count_out()

    def rows(self, query: Prepared, **values: Any) -> list[Any]:
        """What one query finds, in a transaction of its own."""
        self._count_in()
        try:  # as in `read`, written out: generators would take as long as the query
            if self._alone is not None:
                with self._alone:
                    return self._rows(query, values)
            return self._rows(query, values)
        except (DBAPIError, sqlite3.Error) as error:
            raise _sentence(error, self._path) from error
        finally:
            self._count_out()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on the disk when the block ends, and as if it had never been where the block raises."""
        if self._readonly:
            raise StorageError(f"{self._path} was opened for reading; open it without readonly=True to change it")
        with (
            self.sentences(),
            self._alone or contextlib.nullcontext(),
            self._engine.connect() as connection,
            connection.execution_options(adamem_writes=True).begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection itself, outside of any transaction, for what cannot be said in one."""
        with self.sentences(), self._alone or contextlib.nullcontext(), self._engine.connect() as connection:
            yield driver(connection.connection)

    def rebuild(self) -> None:
        """Write the whole file anew, without what its pages have left of rows that were moved or deleted.

        What is deleted is written over, and a page that is given back too. But where rows move between pages, as those
        before and after them grow or go, a copy stays in the unused part of the page that they were in. It takes some
        seconds a GB, and as much room on the disk as the file has, twice, until it is done.
        """
        if self._path is not None:
            with self.raw() as connection:
                connection.execute("VACUUM")

    def empty_log(self) -> bool:
        """Bring the log into the file and cut it off, with all that was ever in it; False where a reader needs it."""
        with self.raw() as connection:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def close(self) -> None:
        """Bring all that is written into the one file, and let another writer have it; after the reads under way."""
        with self._reading:
            self._closed = True
            # An interrupt may have kept a reader from saying that it is done: none takes as long as this.
            self._reading.wait_for(lambda: self._readers == 0, timeout=_WAIT_MS / 1000)
        try:
            if not self._readonly and self._path is not None:
                # A reader in another process may keep the log in use: it stays then, and nothing is lost.
                with contextlib.suppress(AdaMemError):
                    self.empty_log()
        finally:
            while self._asking:
                self._asking.pop().close()
            self._engine.dispose()
            self._unlock()

    @contextlib.contextmanager
    def sentences(self) -> Iterator[None]:
        """Errors of the database as errors of AdaMem."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise _sentence(error, self._path) from error

    def _count_in(self) -> None:
        with self._reading:
            if self._closed:
                raise StorageError(f"{self._path or ':memory:'} was closed meanwhile; open it again")
            self._readers += 1

    def _count_out(self) -> None:
        with self._reading:
            self._readers -= 1
            self._reading.notify_all()

    def _rows(self, query: Prepared, values: dict[str, Any]) -> list[Any]:
        """By a connection that nobody else has, and that goes to whoever asks next: the pool takes longer than a query.

        Nothing is open on it in between: outside of a transaction, a query that was read to its end leaves nothing.
        """
        try:
            connection = self._asking.pop()
        except IndexError:
            connection = self._engine.raw_connection()
        try:
            rows = query.rows(driver(connection), values)
        except BaseException:
            connection.close()
            raise
        self._asking.append(connection)
        return rows

    def _make_tables(self) -> None:
        with self.write() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version == schema.VERSION:
                return
            if version == 0:
                schema.metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION}")
            for older in range(version, schema.VERSION) if version else ():
                for statement in schema.MIGRATIONS[older]:
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def driver(connection: PoolProxiedConnection) -> sqlite3.Connection:
    """The driver's own connection."""
    found = connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def _locked(path: Path, wait: float) -> FileLock:
    if not path.parent.is_dir():  # the lock's library would make it
        raise StorageError(f"cannot write {path}: there is no folder {path.parent}; choose a folder that exists")
    lock = FileLock(f"{path}.lock", thread_local=False, is_singleton=False)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise StorageError(
            f"{path} is being written by another engine; close that one, open this one with readonly=True, "
            "or say how many seconds to wait for it: wait=10"
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; "
            "choose a folder that exists and that you may write to, or open it with readonly=True"
        ) from error
    return lock


def _check_header(path: Path, *, readonly: bool) -> None:
    """Refuse what is no memory file before anything is written to it."""
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        if readonly:
            raise StorageError(f"there is no memory file {path}; check the path, or open it without readonly=True")
        return
    if not path.is_file():
        raise StorageError(f"{path} is no file; name the file that the memories are kept in")
    if path.stat().st_size < _LEAST:  # SQLite would take it for an empty file, and write over it
        raise DataError(f"{path} is no memory file; name another file")
    connection = sqlite3.connect(_uri(path, readonly=True), uri=True, timeout=_WAIT_MS / 1000)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        connection.close()
    if application != _APPLICATION and not (application == version == tables == 0):
        raise DataError(f"{path} is an SQLite database, but none of AdaMem's memories; name another file")
    if version > schema.VERSION:
        raise DataError(
            f"{path} was written by a newer AdaMem (its format is {version}, this one knows up to {schema.VERSION}); "
            "upgrade: pip install -U adamem"
        )
    if readonly and 0 < version < schema.VERSION:
        raise DataError(
            f"{path} was written by an older AdaMem (its format is {version}, this one's {schema.VERSION}); "
            "open it once without readonly=True, which brings it up to date"
        )


def _uri(path: Path, *, readonly: bool) -> str:
    """A file as SQLite opens it."""
    target = f"{path.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    log = path.with_name(f"{path.name}-wal")
    if readonly and not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        # A reader makes the files by which it and a writer know of each other, and here nobody may: what is all in one
        # file is read as it stands.
        target += "&immutable=1"
    return target


def _engine(path: Path | None, *, readonly: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        target = ":memory:" if path is None else _uri(path, readonly=readonly)
        connection = sqlite3.connect(
            target,
            uri=path is not None,
            timeout=_WAIT_MS / 1000,
            check_same_thread=False,
            isolation_level=None,  # transactions begin where `_begin` says, and nowhere by themselves
            cached_statements=256,
        )
        try:
            if not readonly:
                # FULL: the log is flushed to the disk before a commit returns.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")  # what is purged is written over
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = {_PAGES_KEPT}")
        except BaseException:
            connection.close()
            raise
        return connection

    # One connection is the whole database where it lives in memory; else each thread has one while it reads.
    pool = {"poolclass": StaticPool} if path is None else {"poolclass": QueuePool, "pool_size": 8, "max_overflow": -1}
    engine = create_engine("sqlite://", creator=connect, **pool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("adamem_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sentence(error: Exception, path: Path | None) -> AdaMemError:
    """What went wrong, by an error of the driver or by SQLAlchemy's of it."""
    error = getattr(error, "orig", None) or error
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptResult(
            f"{path} is not a whole memory file ({error}); it was left as it is: bring back a copy of it, "
            "or import a package that was exported from it into a new file"
        )
    if name == "SQLITE_FULL":
        return StorageError(f"cannot write {path}: the disk is full; free some space and try again, nothing is lost")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return StorageError(
            f"cannot open or write {path}: {error}; choose a folder that exists and that you may write to"
        )
    if name.startswith("SQLITE_BUSY"):
        return StorageError(f"{path} is locked by another program for over {_WAIT_MS // 1000} s; close that one")
    if name.startswith("SQLITE_IOERR"):
        return StorageError(f"cannot read or write {path}: {error}; check the disk and its free space")
    where = path or ":memory:"
    return StorageError(f"the database {where} refused: {error}; check that no other program changed its tables")
