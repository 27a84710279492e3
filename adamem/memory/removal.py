"""Taking memories out for good: from the tables, and from whatever was derived of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from adamem.memory.schema import aliases, lessons, memories, namespaces, unscrubbed, usage
from adamem.memory.store import Change, Store

_PIECE = 500


def purge(change: Change, number: int) -> int:
    """Take a memory that is there out of the tables, with its vectors; its namespace, which is to be scrubbed."""
    space = change.connection.execute(select(memories.c.namespace).where(memories.c.id == number)).scalar_one()
    take_out(change, [number])
    mark(change.connection, [space])
    return int(space)


def other_ids(store: Store, number: int) -> list[int]:
    """Ids that lead to a memory beside its own."""
    with store.database.read() as connection:
        return list(connection.execute(select(aliases.c.id).where(aliases.c.memory == number)).scalars())


def known(store: Store, numbers: Iterable[int]) -> set[int]:
    """Which of these ids lead to a memory that is there."""
    listed = func.json_each(json.dumps(sorted(numbers))).table_valued("value").c.value
    with store.database.read() as connection:
        return {
            number
            for table in (memories, aliases)
            for number in connection.execute(select(table.c.id).where(table.c.id.in_(select(listed)))).scalars()
        }


def take_out(change: Change, numbers: Sequence[int]) -> None:
    """Delete rows, and with them their vectors, counts and other ids."""
    for start in range(0, len(numbers), _PIECE):
        change.connection.execute(delete(memories).where(memories.c.id.in_(numbers[start : start + _PIECE])))


def purge_namespace(change: Change, namespace: int) -> int:
    """Take a namespace out of the tables with all that it has; how many memories that were, in whatever state."""
    count = change.connection.execute(
        select(func.count()).select_from(memories).where(memories.c.namespace == namespace)
    ).scalar_one()
    change.connection.execute(delete(memories).where(memories.c.namespace == namespace))
    change.connection.execute(delete(namespaces).where(namespaces.c.id == namespace))
    mark(change.connection, [namespace])
    return int(count)


def mark(connection: Connection, spaces: Iterable[int]) -> None:
    """Note that something was taken out of namespaces that derived files may still show; see `to_scrub`."""
    for space in spaces:
        connection.execute(insert(unscrubbed).values(namespace=space).on_conflict_do_nothing())


def to_scrub(store: Store) -> list[int]:
    """The namespaces that something was taken out of and that may have derived files that still show it."""
    with store.database.read() as connection:
        return list(connection.execute(select(unscrubbed.c.namespace)).scalars())


def scrubbed(store: Store, spaces: Sequence[int]) -> None:
    """Nothing is left of what was purged from them."""
    with store.database.write() as connection:
        connection.execute(delete(unscrubbed).where(unscrubbed.c.namespace.in_(spaces)))


def stand_in(change: Change, number: int, others: Sequence[int]) -> None:
    """Take memories out that say the same as `number`, whose ids lead to it from now on."""
    links: set[int] = set()
    first = change.now
    for piece in (others[start : start + _PIECE] for start in range(0, len(others), _PIECE)):
        for row in change.connection.execute(select(memories).where(memories.c.id.in_([number, *piece]))):
            links |= set(json.loads(row.links))
            first = min(first, row.valid_from)
        calls = select(func.sum(usage.c.calls), func.max(usage.c.last_access))
        total, last = change.connection.execute(calls.where(usage.c.memory.in_([number, *piece]))).one()
        if total:
            counted = insert(usage).values(memory=number, calls=total, last_access=last)
            change.connection.execute(
                counted.on_conflict_do_update(
                    index_elements=[usage.c.memory], set_={"calls": total, "last_access": last}
                )
            )
        for table in (aliases, lessons):
            change.connection.execute(update(table).where(table.c.memory.in_(piece)).values(memory=number))
        change.connection.execute(insert(aliases), [{"id": one, "memory": number} for one in piece])
        take_out(change, piece)
    change.connection.execute(
        update(memories)
        .where(memories.c.id == number)
        .values(
            links=json.dumps(sorted(links - {number, *others})),
            valid_from=first,
            updated=change.now,
            revision=memories.c.revision + 1,
            sequence=change.sequence,
        )
    )
