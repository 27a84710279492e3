"""Memories copied as they are, with their history."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, case, func, insert, select, text

from adamem.memory.schema import aliases, memories
from adamem.memory.store import Change
from adamem.memory.timeline import memory_topic

_PIECE = 500
_BY_ID = memory_topic(0)[:-1]
_COPIED = tuple(column.name for column in memories.columns if column.name not in ("id", "namespace", "sequence"))


def copy_namespace(change: Change, source: int, target: int) -> int:
    """Copy all memories of a namespace, with their vectors by every encoder, under new ids; how many."""
    count = 0
    ids: dict[int, int] = {}
    last = 0
    while True:
        rows = change.connection.execute(
            select(memories)
            .where(memories.c.namespace == source, memories.c.id > last)
            .order_by(memories.c.id)
            .limit(_PIECE)
        ).all()
        if not rows:
            break
        last = rows[-1].id
        fresh = []
        for row in rows:
            change.last_memory += 1
            ids[row.id] = change.last_memory
            values = {name: getattr(row, name) for name in _COPIED}
            fresh.append(values | {"id": change.last_memory, "namespace": target, "sequence": change.sequence})
        change.connection.execute(insert(memories), fresh)
        for row in rows:
            change.connection.execute(
                text(
                    "INSERT INTO vectors (memory, encoder, vector) "
                    "SELECT :new, encoder, vector FROM vectors WHERE memory = :old"
                ),
                {"new": ids[row.id], "old": row.id},
            )
        count += len(rows)
    follow(change, ids)
    return count


def foreign(row: dict[str, Any], change: Change) -> dict[str, Any]:
    """A row from elsewhere, whose topic is no memory's here: `follow` lets it lead to a copy."""
    topic = row["topic"]
    if topic is None or not topic.startswith(_BY_ID):
        return row
    return row | {"topic": f"{_BY_ID}{change.sequence}/{topic}"}


def links_now() -> ColumnElement[str]:
    """Of a row of `memories`: its links, by the id of what stays where one is of a memory that was merged."""
    entry = func.json_each(memories.c.links).table_valued("value")
    others = entry.outerjoin(aliases, aliases.c.id == entry.c.value)
    led = select(func.json_group_array(func.coalesce(aliases.c.memory, entry.c.value))).select_from(others)
    return case((memories.c.links == "[]", "[]"), else_=led.scalar_subquery())


def follow(change: Change, ids: dict[int, int], *, are_foreign: bool = False) -> None:
    """Let links and topics among memories that were copied lead to the copies.

    Links to other memories stay, unless the copies `are_foreign`: the ids are another file's then, and here they would
    lead to strangers.
    """
    copies = list(ids.values())
    topics: dict[tuple[int, str], str] = {}
    for start in range(0, len(copies), _PIECE):
        piece = copies[start : start + _PIECE]
        led = memories.c.links if are_foreign else links_now()
        query = select(memories.c.id, memories.c.namespace, memories.c.links, memories.c.topic, led.label("led"))
        for row in change.connection.execute(query.where(memories.c.id.in_(piece)).order_by(memories.c.id)).all():
            kept = [ids.get(one, one) for one in json.loads(row.led) if one in ids or not are_foreign]
            links = list(dict.fromkeys(kept))  # a memory and what was merged with it are one
            topic = row.topic
            if topic is not None and topic.startswith(_BY_ID):
                # Not by the old number, which may be another memory's here.
                topic = topics.setdefault((row.namespace, topic), memory_topic(row.id))
            if json.dumps(links) != row.links or topic != row.topic:
                change.connection.execute(
                    memories.update().where(memories.c.id == row.id).values(links=json.dumps(links), topic=topic)
                )
