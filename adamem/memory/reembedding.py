"""All memories embedded anew by another encoder, in the shadow: the old vectors are searched until all are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from adamem.encoders import Encoder
from adamem.memory.drafts import embedded_text
from adamem.memory.encoder_in_use import checked
from adamem.memory.fitting import drop_others
from adamem.memory.schema import adaptations, encoders, memories, vectors
from adamem.memory.store import EncoderRow, Store
from adamem.types import FloatArray

Progress = Callable[[int, int], object]
"""Called with how many are done and how many there are."""
Do = Callable[[Callable[..., Any]], Any]
"""Has something done by whoever reads, or by whoever writes."""
_PIECE = 256
_ROUNDS = 20
"""So often what was added meanwhile is embedded beside everything else; then it is while nothing is written."""


class Reembedding:
    """Vectors by a new encoder, a piece at a time: what is stopped goes on from there.

    Parameters
    ----------
    store
        Where they go.
    encoder
        What makes them.
    row
        Its row in the store.
    """

    def __init__(self, store: Store, encoder: Encoder, row: EncoderRow) -> None:
        self._store = store
        self._encoder = encoder
        self._row = row

    def embed(self, read: Do, write: Do, progress: Progress | None) -> int:
        """Embed whatever has no vector yet; how many. Raises whatever `progress` raises, which stops it."""
        total, missing = read(self._counted)
        done, last, count = total - missing, 0, 0
        for _ in range(_ROUNDS):
            found_any = False
            while True:
                some = read(lambda last=last: self._read_next(last))
                if not some:
                    break
                found_any = True
                last = some[-1][0]
                made = self._made([text for _, text in some])
                write(lambda some=some, made=made: self._write([number for number, _ in some], made))
                done, count = done + len(some), count + len(some)
                if progress is not None:
                    progress(min(done, total), total)
            if not found_any:
                break
            last = 0
        return count

    def finish(self, connection: Connection) -> int:
        """Embed the last ones, inside of a write: nothing is added meanwhile; how many."""
        count = 0
        while some := self._next(connection, 0):
            self._insert(connection, [number for number, _ in some], self._made([text for _, text in some]))
            count += len(some)
        return count

    def drop_others(self, read: Do, write: Do) -> None:
        """Delete all other encoders' vectors, and what was fitted for them, a piece at a time."""
        self._drop(read, write, select(encoders.c.id).where(encoders.c.id != self._row.id))
        write(self._drop_fitted)

    def drop_adapted(self, read: Do, write: Do) -> None:
        """Delete the vectors of all others that encoders have become here by learning, a piece at a time."""
        learnt = select(adaptations.c.adapted).where(adaptations.c.adapted.is_not(None))
        others = encoders.c.id != self._row.id, encoders.c.fingerprint.in_(learnt)
        self._drop(read, write, select(encoders.c.id).where(*others))

    def _drop(self, read: Do, write: Do, others: Select[tuple[int]]) -> None:
        while some := read(lambda: self._next_of(others)):
            write(lambda some=some: self._delete(some, others))

    def _drop_fitted(self) -> None:
        with self._store.database.write() as connection:
            drop_others(connection, self._row.id)

    def _counted(self) -> tuple[int, int]:
        """How many memories there are, and how many have no vector yet."""
        every = select(func.count()).select_from(memories)
        with self._store.database.read() as connection:
            return connection.execute(every).scalar_one(), connection.execute(every.where(self._lacks())).scalar_one()

    def _next_of(self, others: Select[tuple[int]]) -> list[int]:
        query = select(vectors.c.memory).where(vectors.c.encoder.in_(others)).distinct().limit(_PIECE)
        with self._store.database.read() as connection:
            return list(connection.execute(query).scalars())

    def _read_next(self, after: int) -> list[tuple[int, str]]:
        with self._store.database.read() as connection:
            return self._next(connection, after)

    def _lacks(self) -> ColumnElement[bool]:
        return ~exists().where(vectors.c.memory == memories.c.id, vectors.c.encoder == self._row.id)

    def _next(self, connection: Connection, after: int) -> list[tuple[int, str]]:
        query = (
            select(memories.c.id, memories.c.question, memories.c.text)
            .where(memories.c.id > after, self._lacks())
            .order_by(memories.c.id)
            .limit(_PIECE)
        )
        return [(row.id, embedded_text(row.question, row.text)) for row in connection.execute(query)]

    def _made(self, texts: list[str]) -> FloatArray:
        return checked(self._encoder.encode_document(texts), len(texts))

    def _write(self, numbers: list[int], made: FloatArray) -> None:
        with self._store.database.write() as connection:
            # Some may have been purged meanwhile.
            there = set(connection.execute(select(memories.c.id).where(memories.c.id.in_(numbers))).scalars())
            stays = np.array([number in there for number in numbers], dtype=bool)
            self._insert(connection, [number for number in numbers if number in there], made[stays])

    def _insert(self, connection: Connection, numbers: list[int], made: FloatArray) -> None:
        if numbers:
            little = np.ascontiguousarray(made, dtype="<f4")
            connection.execute(
                insert(vectors).on_conflict_do_nothing(),
                [
                    {"memory": number, "encoder": self._row.id, "vector": vector.tobytes()}
                    for number, vector in zip(numbers, little, strict=True)
                ],
            )

    def _delete(self, numbers: list[int], others: Select[tuple[int]]) -> None:
        gone = delete(vectors).where(vectors.c.memory.in_(numbers), vectors.c.encoder.in_(others))
        with self._store.database.write() as connection:
            connection.execute(gone)
