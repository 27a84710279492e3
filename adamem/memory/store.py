"""The system of record: memories and their vectors in one database; whatever else there is follows from it."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from adamem.errors import InvalidInput, UnknownName
from adamem.memory.clock import Clock, to_datetime, to_micros
from adamem.memory.drafts import Draft
from adamem.memory.records import Memory
from adamem.memory.schema import encoders, memories, namespaces, sessions, state, vectors
from adamem.memory.sqlite import Database
from adamem.memory.timeline import Stretch, Timeline
from adamem.types import FloatArray, IdArray

_PIECE = 500
"""Values in one IN (...), far below what any database takes."""
_LITTLE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """An encoder whose vectors are in the file."""

    id: int
    fingerprint: str
    name: str
    dim: int


@dataclass(slots=True)
class Change:
    """One write: everything in it is on the disk together, or nothing is."""

    connection: Connection
    sequence: int
    now: int
    """Microseconds since 1970; never before any earlier write, whatever the machine's clock says."""
    last_memory: int
    """The id that was given last."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What adding came to."""

    ids: IdArray
    """int64 (n,), ascending."""
    superseded: list[int | None]
    """Whom each one took the place of."""
    findable: npt.NDArray[np.bool_]
    """bool (n,): false for what became history at once."""
    gone: IdArray
    """int64: memories that were there before and cannot be found any more."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of a namespace's vectors after some write."""

    sequence: int
    """Up to which write this tells all."""
    ids: IdArray
    """int64 (n,): memories that can be found and were added or changed, in the order of their ids."""
    vectors: FloatArray
    """float32 (n, d): theirs."""
    gone: IdArray
    """int64 (m,): memories that were changed and cannot be found any more."""


class Store:
    """Reads and writes of memories. Only one process has it open for writing; see `Database`."""

    def __init__(self, path: Path | None, *, readonly: bool, wait: float, clock: Clock) -> None:
        self._clock = clock
        self._latest = 0
        self._session = ""
        self._namespaces: dict[str, int] = {}
        self.database = Database(path, readonly=readonly, wait=wait)
        try:
            if not readonly:
                with self.database.write() as connection:
                    if connection.execute(select(state.c.id)).first() is None:
                        connection.execute(insert(state).values(id=1, sequence=0, last_memory=0, clock=0))
            with self.database.read() as connection:
                self._latest = int(connection.execute(select(state.c.clock)).scalar_one())
        except BaseException:
            self.database.close()
            raise

    def close(self) -> None:
        """Let another writer have the file."""
        self.database.close()

    # -- what is in use ------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Microseconds since 1970, as `Change.now`, for a read."""
        return max(self._clocked(), self._latest)

    def session_of(self, sequence: int) -> str | None:
        """A name for the engine that wrote that write, other than all others', or None if it was not written yet."""
        query = select(sessions.c.name).where(sessions.c.first <= sequence).order_by(sessions.c.first.desc()).limit(1)
        with self.database.read() as connection:
            if sequence > connection.execute(select(state.c.sequence)).scalar_one():
                return None
            return connection.execute(query).scalar()

    def encoder(self) -> EncoderRow | None:
        """The one whose vectors are searched, or None as long as nothing was added."""
        query = select(encoders).join(state, state.c.encoder == encoders.c.id)
        with self.database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else EncoderRow(row.id, row.fingerprint, row.name, row.dim)

    def use_encoder(self, change: Change, fingerprint: str, name: str, dim: int) -> EncoderRow:
        """Search this encoder's vectors from now on."""
        found = change.connection.execute(select(encoders.c.id).where(encoders.c.fingerprint == fingerprint)).scalar()
        if found is None:
            row = insert(encoders).values(fingerprint=fingerprint, name=name, dim=dim)
            found = change.connection.execute(row.returning(encoders.c.id)).scalar_one()
        change.connection.execute(update(state).values(encoder=found))
        return EncoderRow(int(found), fingerprint, name, dim)

    def namespace(self, name: str) -> int | None:
        """The number of a namespace, or None if there is none of that very name."""
        found = self._namespaces.get(name)
        if found is None:
            with self.database.read() as connection:
                found = connection.execute(select(namespaces.c.id).where(namespaces.c.name == name)).scalar()
            if found is not None:
                self._namespaces[name] = found
        return found

    def namespace_for(self, change: Change, name: str) -> int:
        """The number of a namespace, made if need be."""
        if name in self._namespaces:
            return self._namespaces[name]
        found = change.connection.execute(select(namespaces.c.id).where(namespaces.c.name == name)).scalar()
        if found is None:
            row = insert(namespaces).values(name=name, created=change.now)
            found = change.connection.execute(row.returning(namespaces.c.id)).scalar_one()
        return int(found)

    # -- writes --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """A write, which is on the disk when the block ends."""
        with self.database.write() as connection:
            row = connection.execute(select(state)).one()
            change = Change(connection, row.sequence + 1, max(row.clock, self._clocked()), row.last_memory)
            session = self._session or secrets.token_hex(8)
            if not self._session:
                connection.execute(insert(sessions).values(first=change.sequence, name=session))
            yield change
            connection.execute(
                update(state).values(sequence=change.sequence, clock=change.now, last_memory=change.last_memory)
            )
        self._session, self._latest = session, change.now

    def add(self, change: Change, namespace: int, encoder: int, drafts: Sequence[Draft], embedded: FloatArray) -> Kept:
        """Add drafts (n,) with their vectors (n, d)."""
        first = change.last_memory + 1
        ids = np.arange(first, first + len(drafts), dtype=np.int64)
        rows = [_row(draft, first + place, namespace, change) for place, draft in enumerate(drafts)]
        superseded, cut = self._supersede(change, namespace, rows)
        change.connection.execute(insert(memories), rows)
        little = np.ascontiguousarray(embedded, dtype=_LITTLE)
        change.connection.execute(
            insert(vectors),
            [
                {"memory": row["id"], "encoder": encoder, "vector": vector.tobytes()}
                for row, vector in zip(rows, little, strict=True)
            ],
        )
        change.last_memory += len(drafts)
        return Kept(
            ids=ids,
            superseded=superseded,
            findable=np.array([row["valid_to"] is None or row["valid_to"] > change.now for row in rows], dtype=bool),
            gone=np.array([one.id for one in cut if one.end is not None and one.end <= change.now], dtype=np.int64),
        )

    def delete(self, change: Change, ids: Sequence[int]) -> set[int]:
        """Hide memories until they are restored; the namespaces they are of.

        Raises `UnknownName` for one that is not there, `InvalidInput` for one that is hidden.
        """
        return self._mark(change, ids, deleted=change.now, was_deleted=False)

    def restore(self, change: Change, ids: Sequence[int]) -> set[int]:
        """Show hidden memories again; the namespaces they are of.

        Raises `UnknownName` for one that is not there, `InvalidInput` for one that is not hidden.
        """
        return self._mark(change, ids, deleted=None, was_deleted=True)

    def _mark(self, change: Change, ids: Sequence[int], *, deleted: int | None, was_deleted: bool) -> set[int]:
        found: dict[int, tuple[bool, int]] = {}
        for piece in _pieces(ids):
            query = select(memories.c.id, memories.c.deleted, memories.c.namespace).where(memories.c.id.in_(piece))
            found |= {row.id: (row.deleted is not None, row.namespace) for row in change.connection.execute(query)}
        for one in ids:
            if one not in found:
                raise UnknownName(f"there is no memory {one}; it may have been purged, or never added")
            if found[one][0] != was_deleted:
                how_it_is = "is not deleted" if was_deleted else "is deleted already"
                raise InvalidInput(f"the memory {one} {how_it_is}; get({one}) shows it")
        for piece in _pieces(ids):
            change.connection.execute(
                update(memories)
                .where(memories.c.id.in_(piece))
                .values(
                    deleted=deleted,
                    updated=change.now,
                    revision=memories.c.revision + 1,
                    sequence=change.sequence,
                )
            )
        return {namespace for _, namespace in found.values()}

    def _supersede(
        self, change: Change, namespace: int, rows: list[dict[str, Any]]
    ) -> tuple[list[int | None], list[Stretch]]:
        """Set `valid_to` of rows to be added, and cut those in the file that they supersede.

        Returns whom each row superseded, and what was cut.
        """
        topics = {row["topic"] for row in rows if row["topic"] is not None}
        superseded: list[int | None] = [None] * len(rows)
        if not topics:
            return superseded, []
        known: dict[str, list[Stretch]] = {topic: [] for topic in topics}
        hidden = set()
        for piece in _pieces(sorted(topics)):
            columns = (memories.c.topic, memories.c.id, memories.c.valid_from, memories.c.valid_to, memories.c.deleted)
            query = select(*columns).where(memories.c.namespace == namespace, memories.c.topic.in_(piece))
            for found in change.connection.execute(query):
                known[found.topic].append(Stretch(found.valid_from, found.id, found.valid_to))
                if found.deleted is not None:
                    hidden.add(found.id)
        timelines = {topic: Timeline(stretches) for topic, stretches in known.items()}
        added: dict[int, Stretch] = {}
        cut: dict[int, Stretch] = {}
        for place, row in enumerate(rows):
            if row["topic"] is not None:
                fresh = Stretch(row["valid_from"], row["id"], None)
                before = timelines[row["topic"]].insert(fresh)
                added[fresh.id] = fresh
                if before is not None:
                    superseded[place] = None if before.id in hidden else before.id
                    if before.id not in added:
                        cut[before.id] = before
        for row in rows:
            if row["id"] in added:
                row["valid_to"] = added[row["id"]].end
        if cut:
            change.connection.execute(
                update(memories)
                .where(memories.c.id == bindparam("cut"))
                .values(
                    valid_to=bindparam("end"),
                    updated=change.now,
                    revision=memories.c.revision + 1,
                    sequence=change.sequence,
                ),
                [{"cut": one.id, "end": one.end} for one in cut.values()],
            )
        return superseded, list(cut.values())

    # -- reads ---------------------------------------------------------------------------------------------------------

    def get(self, number: int) -> Memory | None:
        """A memory in whatever state it is, or None."""
        query = select(memories, namespaces.c.name).join(namespaces).where(memories.c.id == number)
        with self.database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _memory(row, row.name)

    def visible(self, namespace: int, name: str, ids: Sequence[int], at: int) -> dict[int, Memory]:
        """Of these ids, the memories of the namespace that can be found at a time."""
        found: dict[int, Memory] = {}
        with self.database.read() as connection:
            for piece in _pieces(ids):
                query = select(memories).where(
                    memories.c.id.in_(piece), memories.c.namespace == namespace, _findable(at)
                )
                found |= {row.id: _memory(row, name) for row in connection.execute(query)}
        return found

    def page(self, namespace: int, name: str, *, after: int, count: int, at: int) -> list[Memory]:
        """The next `count` memories with ids above `after` that can be found at a time, by id."""
        query = (
            select(memories)
            .where(memories.c.namespace == namespace, memories.c.id > after, _findable(at))
            .order_by(memories.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            return [_memory(row, name) for row in connection.execute(query)]

    def of_topic(self, namespace: int, name: str, topic: str) -> list[Memory]:
        """All memories of a topic that are not deleted, in the order in which they hold."""
        query = (
            select(memories)
            .where(memories.c.namespace == namespace, memories.c.topic == topic, memories.c.deleted.is_(None))
            .order_by(memories.c.valid_from, memories.c.id)
        )
        with self.database.read() as connection:
            return [_memory(row, name) for row in connection.execute(query)]

    def count(self, namespace: int, at: int) -> int:
        """How many memories can be found at a time."""
        query = select(func.count()).select_from(memories).where(memories.c.namespace == namespace, _findable(at))
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def sequence(self) -> int:
        """The number of the last write."""
        with self.database.read() as connection:
            return int(connection.execute(select(state.c.sequence)).scalar_one())

    def drift(self, namespace: int, encoder: EncoderRow, since: int) -> Drift:
        """What was written to a namespace after the write `since`; after 0, all that can be found."""
        with self.database.read() as connection:
            row = connection.execute(select(state.c.sequence, state.c.clock)).one()
            self._latest = max(self._latest, row.clock)
            changed = (memories.c.namespace == namespace, memories.c.sequence > since)
            stays = _may_be_found(row.clock)
            query = (
                select(memories.c.id, vectors.c.vector)
                .join(vectors, and_(vectors.c.memory == memories.c.id, vectors.c.encoder == encoder.id))
                .where(*changed, stays)
                .order_by(memories.c.id)
            )
            found = connection.execute(query).all()
            gone: list[int] = []
            if since:
                gone = list(connection.execute(select(memories.c.id).where(*changed, ~stays)).scalars())
        flat = np.frombuffer(b"".join(blob for _, blob in found), dtype=_LITTLE)
        return Drift(
            sequence=row.sequence,
            ids=np.fromiter((number for number, _ in found), dtype=np.int64, count=len(found)),
            vectors=flat.reshape(len(found), encoder.dim).astype(np.float32, copy=False),
            gone=np.array(gone, dtype=np.int64),
        )

    def _clocked(self) -> int:
        return to_micros(self._clock(), what="what the clock gives")


def _findable(at: int) -> ColumnElement[bool]:
    """Of a memory: whether a search finds it that asks what holds at a time."""
    return and_(
        memories.c.deleted.is_(None),
        memories.c.valid_from <= at,
        or_(memories.c.valid_to.is_(None), memories.c.valid_to > at),
        or_(memories.c.expires.is_(None), memories.c.expires > at),
    )


def _may_be_found(now: int) -> ColumnElement[bool]:
    """Whether a search for what holds now finds it, or one at a later time will."""
    return and_(
        memories.c.deleted.is_(None),
        or_(memories.c.valid_to.is_(None), memories.c.valid_to > now),
        or_(memories.c.expires.is_(None), memories.c.expires > now),
    )


def _row(draft: Draft, number: int, namespace: int, change: Change) -> dict[str, Any]:
    return {
        "id": number,
        "namespace": namespace,
        "text": draft.text,
        "type": draft.type,
        "slot": draft.slot,
        "question": draft.question,
        "topic": draft.topic,
        "metadata": draft.metadata,
        "keywords": draft.keywords,
        "links": draft.links,
        "credibility": draft.credibility,
        "created": change.now,
        "updated": change.now,
        "valid_from": change.now if draft.valid_from is None else draft.valid_from,
        "valid_to": None,
        "expires": None if draft.ttl is None else change.now + draft.ttl,
        "deleted": None,
        "revision": 1,
        "sequence": change.sequence,
    }


def _memory(row: Row[Any], namespace: str) -> Memory:
    return Memory(
        id=row.id,
        text=row.text,
        namespace=namespace,
        type=row.type,
        slot=row.slot,
        question=row.question,
        metadata=json.loads(row.metadata),
        keywords=tuple(json.loads(row.keywords)),
        links=tuple(json.loads(row.links)),
        credibility=row.credibility,
        created=to_datetime(row.created),
        updated=to_datetime(row.updated),
        valid_from=to_datetime(row.valid_from),
        valid_to=_moment(row.valid_to),
        expires=_moment(row.expires),
        deleted=_moment(row.deleted),
        revision=row.revision,
    )


def _moment(micros: int | None) -> Any:
    return None if micros is None else to_datetime(micros)


def _pieces(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), _PIECE):
        yield values[start : start + _PIECE]
