"""The system of record: memories and their vectors in one database; whatever else there is follows from it."""

from __future__ import annotations

import contextlib
import json
import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from adamem.errors import InvalidInput, UnknownName
from adamem.memory.clock import Clock, to_datetime, to_micros
from adamem.memory.drafts import Draft, embedded_text
from adamem.memory.prepared import Prepared, in_sql
from adamem.memory.records import Memory, Namespace
from adamem.memory.rows import select_memories, to_memory, to_row
from adamem.memory.schema import adaptations, aliases, encoders, fitted, memories, namespaces, sessions, state, vectors
from adamem.memory.scope import Scope, findable, may_be_found
from adamem.memory.sqlite import Database, driver
from adamem.memory.timeline import Stretch, Timeline, memory_topic
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
    adaptation: int | None = field(default=None, compare=False)
    """What was learnt on it and moves queries only: the number of that in the file."""
    adapted: str | None = field(default=None, compare=False)
    """The fingerprint of the two together: after a rollback another adaptation may have the number."""


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
    since_session: str | None = None
    """The session of the write after which this tells all, as it stands in the file now; None where nobody asked."""
    session: str | None = None
    """The session of `sequence`."""


class Store:
    """Reads and writes of memories. Only one process has it open for writing; see `Database`."""

    def __init__(self, path: Path | None, *, readonly: bool, wait: float, clock: Clock) -> None:
        self._clock = clock
        self._latest = 0
        self._session = ""
        # Only by who writes: elsewhere a namespace may be taken out and made anew, of another number.
        self._namespaces: dict[str, int] | None = None if readonly else {}
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
        self._latest = max(self._clocked(), self._latest)
        return self._latest

    def session_of(self, sequence: int) -> str | None:
        """A name for the engine that wrote that write, other than all others', or None if it was not written yet."""
        with self.database.read() as connection:
            if sequence > connection.execute(select(state.c.sequence)).scalar_one():
                return None
            return connection.execute(_session(sequence)).scalar()

    def encoder(self) -> EncoderRow | None:
        """The one whose vectors are searched, or None as long as nothing was added."""
        rows = self.database.rows(_ENCODER)
        return _encoder_row(rows[0]) if rows else None

    def encoder_for(self, change: Change, fingerprint: str, name: str, dim: int) -> EncoderRow:
        """The row of an encoder, made if need be."""
        found = change.connection.execute(select(encoders.c.id).where(encoders.c.fingerprint == fingerprint)).scalar()
        if found is None:
            row = insert(encoders).values(fingerprint=fingerprint, name=name, dim=dim)
            found = change.connection.execute(row.returning(encoders.c.id)).scalar_one()
        return EncoderRow(int(found), fingerprint, name, dim)

    def use_encoder(self, change: Change, row: EncoderRow) -> None:
        """Search this encoder's vectors from now on; what moved queries is not in use any more."""
        change.connection.execute(update(state).values(encoder=row.id, adaptation=None))

    def kept_encoder(self, row: EncoderRow) -> bytes | None:
        """What is kept of an encoder that was fitted to texts of this file, or None."""
        rows = self.database.rows(_FITTED, encoder=row.id)
        return bytes(rows[0].model) if rows else None

    def live_texts(self, *, after: int, count: int) -> list[tuple[int, str]]:
        """What is embedded of the next `count` memories with ids above `after` that are found or are history, by id."""
        query = (
            select(memories.c.id, memories.c.question, memories.c.text)
            .where(
                memories.c.id > after,
                memories.c.deleted.is_(None),
                or_(memories.c.expires.is_(None), memories.c.expires > self.now()),
            )
            .order_by(memories.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            return [(row.id, embedded_text(row.question, row.text)) for row in connection.execute(query)]

    def whereabouts(self, name: str) -> tuple[EncoderRow | None, int | None]:
        """`encoder` and `namespace` at once, for who only reads and must ask for both each time."""
        (row,) = self.database.rows(_WHEREABOUTS, name=name)
        return None if row.id is None else _encoder_row(row), row.namespace

    def namespace(self, name: str) -> int | None:
        """The number of a namespace, or None if there is none of that very name."""
        known = self._namespaces  # once: what is read may be of before they were forgotten
        if known and name in known:
            return known[name]
        rows = self.database.rows(_NAMESPACE, name=name)
        found = int(rows[0].id) if rows else None
        if found is not None and known is not None:
            known[name] = found
        return found

    def namespace_for(self, change: Change, name: str) -> int:
        """The number of a namespace, made if need be."""
        found = _NAMESPACE.rows(driver(change.connection.connection), {"name": name})
        if found:
            return int(found[0].id)
        row = insert(namespaces).values(name=name, created=change.now)
        return int(change.connection.execute(row.returning(namespaces.c.id)).scalar_one())

    def forget_namespaces(self) -> None:
        """Ask for all numbers anew: some may have changed."""
        if self._namespaces is not None:
            self._namespaces = {}

    def forget_session(self) -> None:
        """Begin another session with the next write: what was written before is not this file's past any more."""
        self._session = ""

    # -- writes --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """A write, which is on the disk when the block ends."""
        with self.database.write() as connection:
            (row,) = _STATE.rows(driver(connection.connection), {})
            change = Change(connection, row.sequence + 1, max(row.clock, self._clocked()), row.last_memory)
            session = self._session or secrets.token_hex(8)
            if not self._session:
                connection.execute(insert(sessions).values(first=change.sequence, name=session))
            yield change
            connection.exec_driver_sql(
                _UPDATE_STATE,
                {"sequence": change.sequence, "clock": change.now, "last_memory": change.last_memory},
            )
        self._session, self._latest = session, change.now

    def add(self, change: Change, namespace: int, encoder: int, drafts: Sequence[Draft], embedded: FloatArray) -> Kept:
        """Add drafts (n,) with their vectors (n, d)."""
        rows = [to_row(draft, now=change.now) for draft in drafts]
        return self.insert(change, namespace, encoder, rows, embedded)

    def insert(
        self,
        change: Change,
        namespace: int,
        encoder: int,
        rows: Sequence[dict[str, Any]],
        embedded: FloatArray,
        *,
        ids: IdArray | None = None,
        brought_from: int | None = None,
    ) -> Kept:
        """Insert rows of `memories` (n,), as they are but for id, namespace and sequence, and their vectors (n, d).

        Each takes its place among those of its topic, and holds no longer than it says. Where they are a piece of many
        that come together, `brought_from` is the id of the first of all: in the end it is as if all came in one piece.
        `ids` (n,), ascending, are theirs where they are not the next ones: `last_memory` is the caller's to set then.
        """
        first = change.last_memory + 1
        if ids is None:
            ids = np.arange(first, first + len(rows), dtype=np.int64)
            change.last_memory += len(rows)
        whole = [
            row | {"id": number, "namespace": namespace, "sequence": change.sequence}
            for number, row in zip(ids.tolist(), rows, strict=True)
        ]
        superseded, cut = self._supersede(change, namespace, whole, first if brought_from is None else brought_from)
        change.connection.exec_driver_sql(_INSERT_MEMORY, whole)
        little = np.ascontiguousarray(embedded, dtype=_LITTLE)
        change.connection.exec_driver_sql(
            _INSERT_VECTOR,
            [
                {"memory": number, "encoder": encoder, "vector": vector.tobytes()}
                for number, vector in zip(ids.tolist(), little, strict=True)
            ],
        )
        return Kept(
            ids=ids,
            superseded=superseded,
            findable=np.array([_may_be_found(row, change.now) for row in whole], dtype=bool),
            gone=np.array([one.id for one in cut if one.end is not None and one.end <= change.now], dtype=np.int64),
        )

    def delete(self, change: Change, number: int) -> int:
        """Hide a memory until it is restored; the namespace it is of.

        Raises `UnknownName` if it is not there, `InvalidInput` if it is hidden.
        """
        row = self._one(change, number)
        if row.deleted is not None:
            raise InvalidInput(f"the memory {number} is deleted already; get({number}) shows it")
        self._touch(change, row.id, deleted=change.now)
        return int(row.namespace)

    def restore(self, change: Change, number: int) -> int:
        """Show a hidden memory again; the namespace it is of.

        It takes its place among those of its topic as one that arrives now, and never holds for longer than before.
        Raises `UnknownName` if it is not there, `InvalidInput` if it is not hidden.
        """
        row = self._one(change, number)
        if row.deleted is None:
            raise InvalidInput(f"the memory {number} is not deleted; get({number}) shows it")
        end = row.valid_to
        if row.topic is not None:
            fresh = Stretch(row.valid_from, row.id, None)
            before = self._timelines(change, row.namespace, [row.topic])[row.topic].insert(fresh)
            self._cut(change, [] if before is None else [before])
            end = _earlier(end, fresh.end)
        self._touch(change, row.id, deleted=None, valid_to=end)
        return int(row.namespace)

    def topic_of(self, change: Change, number: int) -> str:
        """The topic of a memory that is to be superseded; it is given one if it has none.

        Raises `UnknownName` if it is not there, `InvalidInput` if it is hidden.
        """
        row = self._one(change, number)
        if row.deleted is not None:
            raise InvalidInput(f"the memory {number} is deleted; restore({number}) brings it back")
        if row.topic is None:
            self._touch(change, row.id, topic=memory_topic(row.id))
            return memory_topic(row.id)
        return str(row.topic)

    def _one(self, change: Change, number: int) -> Row[Any]:
        query = select(memories).where(memories.c.id == number)
        row = change.connection.execute(query).first()
        if row is None:
            query = select(memories).join(aliases, aliases.c.memory == memories.c.id).where(aliases.c.id == number)
            row = change.connection.execute(query).first()
        if row is None:
            raise UnknownName(f"there is no memory {number}; it may have been purged, or never added")
        return row

    def _touch(self, change: Change, number: int, **values: Any) -> None:
        row = {"updated": change.now, "revision": memories.c.revision + 1, "sequence": change.sequence, **values}
        change.connection.execute(update(memories).where(memories.c.id == number).values(row))

    def _timelines(self, change: Change, namespace: int, topics: Sequence[str]) -> dict[str, Timeline]:
        """By topic, of what is not deleted."""
        known: dict[str, list[Stretch]] = {topic: [] for topic in topics}
        for piece in _pieces(topics):
            query = select(memories.c.topic, memories.c.id, memories.c.valid_from, memories.c.valid_to).where(
                memories.c.namespace == namespace, memories.c.topic.in_(piece), memories.c.deleted.is_(None)
            )
            for found in change.connection.execute(query):
                known[found.topic].append(Stretch(found.valid_from, found.id, found.valid_to))
        return {topic: Timeline(stretches) for topic, stretches in known.items()}

    def _supersede(
        self, change: Change, namespace: int, rows: list[dict[str, Any]], first: int
    ) -> tuple[list[int | None], list[Stretch]]:
        """Set `valid_to` of rows to be added, and cut those in the file that they supersede.

        Returns whom each row superseded, and what was cut.
        """
        superseded: list[int | None] = [None] * len(rows)
        topics = sorted({row["topic"] for row in rows if row["topic"] is not None and row["deleted"] is None})
        if not topics:
            return superseded, []
        timelines = self._timelines(change, namespace, topics)
        added: dict[int, Stretch] = {}
        cut: dict[int, Stretch] = {}
        for place, row in enumerate(rows):
            if row["topic"] is not None and row["deleted"] is None:
                fresh = Stretch(row["valid_from"], row["id"], None)
                before = timelines[row["topic"]].insert(fresh)
                added[fresh.id] = fresh
                if before is not None:
                    superseded[place] = before.id
                    if before.id not in added:
                        cut[before.id] = before
        for row in rows:
            if row["id"] in added:
                row["valid_to"] = _earlier(row["valid_to"], added[row["id"]].end)
        self._cut(change, [one for one in cut.values() if one.id < first])
        self._shorten(change, [one for one in cut.values() if one.id >= first])
        return superseded, list(cut.values())

    def _cut(self, change: Change, cut: Sequence[Stretch]) -> None:
        """Write where stretches end now."""
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
                [{"cut": one.id, "end": one.end} for one in cut],
            )

    def _shorten(self, change: Change, cut: Sequence[Stretch]) -> None:
        """Write where stretches end that were added in this very write: nothing was there to be changed."""
        if cut:
            ends = update(memories).where(memories.c.id == bindparam("cut")).values(valid_to=bindparam("end"))
            change.connection.execute(ends, [{"cut": one.id, "end": one.end} for one in cut])

    # -- reads ---------------------------------------------------------------------------------------------------------

    def get(self, number: int) -> Memory | None:
        """A memory in whatever state it is, or None; for the id of one that was merged, the one that stayed."""
        with self.database.read() as connection:
            query = select_memories().add_columns(namespaces.c.name).join(namespaces)
            row = connection.execute(query.where(memories.c.id == number)).first()
            if row is None:
                other = select(aliases.c.memory).where(aliases.c.id == number).scalar_subquery()
                row = connection.execute(query.where(memories.c.id == other)).first()
        return None if row is None else to_memory(row, row.name)

    def visible(self, namespace: int, ids: Sequence[int], scope: Scope) -> dict[int, Any]:
        """Of these ids, the rows of memories of the namespace that may be found, for `to_memory`."""
        if not scope.is_narrowed:
            listed = json.dumps(ids)
            return {row.id: row for row in self.database.rows(_VISIBLE, ids=listed, namespace=namespace, at=scope.at)}
        found: dict[int, Any] = {}
        with self.database.read() as connection:
            for piece in _pieces(ids):
                query = select_memories().where(
                    memories.c.id.in_(piece), memories.c.namespace == namespace, scope.holds()
                )
                found |= {row.id: row for row in connection.execute(query)}
        return found

    def matching(self, namespace: int, scope: Scope) -> IdArray:
        """int64, sorted: the memories of the namespace that may be found."""
        query = select(memories.c.id).where(memories.c.namespace == namespace, scope.holds()).order_by(memories.c.id)
        with self.database.read() as connection:
            return np.fromiter(connection.execute(query).scalars(), dtype=np.int64)

    def lapsed(self, namespace: int, ids: Sequence[int] | None, now: int) -> tuple[IdArray, int]:
        """Of these ids, or of all, int64: those that are not found any more; and up to which write that was read."""
        gone: list[int] = []
        with self.database.read() as connection:
            sequence = int(connection.execute(select(state.c.sequence)).scalar_one())
            if ids is None:
                query = select(memories.c.id).where(memories.c.namespace == namespace, ~may_be_found(now))
                gone += connection.execute(query).scalars()
            for piece in _pieces(ids or ()):
                query = select(memories.c.id).where(memories.c.id.in_(piece), may_be_found(now))
                stays = set(connection.execute(query).scalars())
                gone += [number for number in piece if number not in stays]  # or there is no such row any more
        return np.array(gone, dtype=np.int64), sequence

    def vectors(self, ids: IdArray, encoder: EncoderRow) -> Iterator[tuple[IdArray, FloatArray]]:
        """Vectors of ids (n,), in pieces: ids int64 (m,), vectors float32 (m, d); those that have none are left out."""
        for piece in _pieces(ids.tolist()):
            query = select(vectors.c.memory, vectors.c.vector).where(
                vectors.c.memory.in_(piece), vectors.c.encoder == encoder.id
            )
            with self.database.read() as connection:
                rows = connection.execute(query).all()
            yield _vectors(rows, encoder.dim)

    def page(self, namespace: int, name: str, *, after: int, count: int, at: int) -> list[Memory]:
        """The next `count` memories with ids above `after` that can be found at a time, by id."""
        query = (
            select_memories()
            .where(memories.c.namespace == namespace, memories.c.id > after, findable(at))
            .order_by(memories.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            return [to_memory(row, name) for row in connection.execute(query)]

    def of_topic(self, namespace: int, name: str, topic: str) -> list[Memory]:
        """All memories of a topic that are not deleted, in the order in which they hold."""
        query = (
            select_memories()
            .where(memories.c.namespace == namespace, memories.c.topic == topic, memories.c.deleted.is_(None))
            .order_by(memories.c.valid_from, memories.c.id)
        )
        with self.database.read() as connection:
            return [to_memory(row, name) for row in connection.execute(query)]

    def topic(self, number: int) -> tuple[int, str, str | None] | None:
        """The namespace of a memory, its number and name, and its topic; None if there is no such memory."""
        query = select(memories.c.namespace, namespaces.c.name, memories.c.topic).join(namespaces)
        other = select(aliases.c.memory).where(aliases.c.id == number).scalar_subquery()
        with self.database.read() as connection:
            row = connection.execute(query.where(memories.c.id == number)).first()
            row = row or connection.execute(query.where(memories.c.id == other)).first()
        return None if row is None else (row.namespace, row.name, row.topic)

    def texts(self, namespace: int, *, after: int, count: int) -> list[tuple[int, str]]:
        """What can be read in the next `count` memories with ids above `after`, whatever state they are in, by id."""
        query = (
            select(memories.c.id, memories.c.question, memories.c.text, memories.c.keywords)
            .where(memories.c.namespace == namespace, memories.c.id > after)
            .order_by(memories.c.id)
            .limit(count)
        )
        with self.database.read() as connection:
            return [
                (row.id, "\n".join([row.question or "", row.text, *json.loads(row.keywords)]))
                for row in connection.execute(query)
            ]

    def has_more_than(self, namespace: int, count: int) -> bool:
        """Whether a namespace has more memories, in whatever state."""
        query = select(memories.c.id).where(memories.c.namespace == namespace).limit(1).offset(count)
        with self.database.read() as connection:
            return connection.execute(query).first() is not None

    def count(self, namespace: int, at: int) -> int:
        """How many memories can be found at a time."""
        query = select(func.count()).select_from(memories).where(memories.c.namespace == namespace, findable(at))
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def namespaces(self, at: int) -> list[Namespace]:
        """All of them, by name, with how many memories can be found at a time."""
        found = (
            select(memories.c.namespace, func.count().label("held"))
            .where(findable(at))
            .group_by(memories.c.namespace)
            .subquery()
        )
        query = select(namespaces, found.c.held).outerjoin(found, found.c.namespace == namespaces.c.id)
        with self.database.read() as connection:
            return [
                Namespace(row.name, row.held or 0, to_datetime(row.created))
                for row in connection.execute(query.order_by(namespaces.c.name))
            ]

    def tally(self, at: int) -> tuple[int, ...]:
        """How many namespaces there are, and memories: found at a time, superseded, expired, deleted."""
        is_expired = and_(memories.c.expires.is_not(None), memories.c.expires <= at)
        is_past = and_(memories.c.valid_to.is_not(None), memories.c.valid_to <= at)
        kinds = (
            findable(at),
            and_(memories.c.deleted.is_(None), is_past, ~is_expired),
            and_(memories.c.deleted.is_(None), is_expired),
            memories.c.deleted.is_not(None),
        )
        with self.database.read() as connection:
            many = connection.execute(select(func.count()).select_from(namespaces)).scalar_one()
            found: Any = connection.execute(select(*(func.count(case((kind, 1))) for kind in kinds))).one()
        return (many, *found)

    def sequence(self) -> int:
        """The number of the last write."""
        return int(self.database.rows(_SEQUENCE)[0].sequence)

    def written(self, namespace: int) -> int:
        """The number of the last write to a namespace, as far as its memories show it."""
        return int(self.database.rows(_WRITTEN, namespace=namespace)[0].sequence or 0)

    def drift(self, namespace: int, encoder: EncoderRow, since: int) -> Drift:
        """What was written to a namespace after the write `since`; after 0, all that can be found."""
        with self.database.read() as connection:
            row = connection.execute(select(state.c.sequence, state.c.clock)).one()
            self._latest = max(self._latest, row.clock)
            now = self.now()
            changed = (memories.c.namespace == namespace, memories.c.sequence > since)
            stays = may_be_found(now)
            query = (
                select(memories.c.id, vectors.c.vector)
                .join(vectors, and_(vectors.c.memory == memories.c.id, vectors.c.encoder == encoder.id))
                .where(*changed, stays)
                .order_by(memories.c.id)
            )
            # Of a whole namespace, no more than the vectors themselves is held.
            ids, found_vectors = _vectors(connection.execute(query.execution_options(yield_per=_PIECE)), encoder.dim)
            gone: list[int] = []
            if since:
                gone = list(connection.execute(select(memories.c.id).where(*changed, ~stays)).scalars())
            before, now_on = (connection.execute(_session(one)).scalar() for one in (since, row.sequence))
        return Drift(row.sequence, ids, found_vectors, np.array(gone, dtype=np.int64), before, now_on)

    def _clocked(self) -> int:
        return to_micros(self._clock(), what="what the clock gives")


_INSERT_MEMORY, _INSERT_VECTOR = in_sql(insert(memories)), in_sql(insert(vectors))
_UPDATE_STATE = in_sql(update(state).values({name: bindparam(name) for name in ("sequence", "clock", "last_memory")}))
_STATE = Prepared(select(state))
_AT: ColumnElement[int] = bindparam("at", type_=Integer)
_VISIBLE = Prepared(
    select_memories().where(
        memories.c.id.in_(select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value)),
        memories.c.namespace == bindparam("namespace"),
        findable(_AT),
    )
)
_SEQUENCE = Prepared(select(state.c.sequence))
_WRITTEN = Prepared(
    select(func.max(memories.c.sequence).label("sequence")).where(memories.c.namespace == bindparam("namespace"))
)
_ENCODER = Prepared(
    select(encoders, state.c.adaptation, adaptations.c.adapted)
    .join(state, state.c.encoder == encoders.c.id)
    .outerjoin(adaptations, adaptations.c.id == state.c.adaptation)
)
_FITTED = Prepared(select(fitted.c.model).where(fitted.c.encoder == bindparam("encoder")))
_WHEREABOUTS = Prepared(
    select(encoders, state.c.adaptation, adaptations.c.adapted, namespaces.c.id.label("namespace"))
    .select_from(state)
    .outerjoin(encoders, state.c.encoder == encoders.c.id)
    .outerjoin(adaptations, adaptations.c.id == state.c.adaptation)
    .outerjoin(namespaces, namespaces.c.name == bindparam("name"))
)
_NAMESPACE = Prepared(select(namespaces.c.id).where(namespaces.c.name == bindparam("name")))


def _encoder_row(row: Any) -> EncoderRow:
    return EncoderRow(row.id, row.fingerprint, row.name, row.dim, row.adaptation, row.adapted)


def _session(sequence: int) -> Select[Any]:
    return select(sessions.c.name).where(sessions.c.first <= sequence).order_by(sessions.c.first.desc()).limit(1)


def _earlier(one: int | None, other: int | None) -> int | None:
    """Of two ends, the first; None is for ever."""
    return min((end for end in (one, other) if end is not None), default=None)


def _may_be_found(row: dict[str, Any], now: int) -> bool:
    """As `scope.may_be_found`, of a row that is being written."""
    ends = (row["valid_to"], row["expires"])
    return row["deleted"] is None and all(end is None or end > now for end in ends)


def _vectors(rows: Iterable[Any], dim: int) -> tuple[IdArray, FloatArray]:
    """Rows (id, bytes) as ids int64 (m,) and vectors float32 (m, d)."""
    ids, flat = array("q"), bytearray()
    for number, blob in rows:
        ids.append(number)
        flat += blob
    found = np.frombuffer(flat, dtype=_LITTLE).reshape(len(ids), dim)
    return np.frombuffer(ids, dtype=np.int64), found.astype(np.float32, copy=False)


def _pieces(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), _PIECE):
        yield values[start : start + _PIECE]
