"""Memories as rows of the database, and rows as memories."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Select, select

from adamem.memory.clock import to_datetime
from adamem.memory.drafts import Draft
from adamem.memory.records import Frozen, Memory
from adamem.memory.schema import memories, usage

_NOTHING: Frozen[str, Any] = Frozen()


def select_memories() -> Select[Any]:
    """All that `to_memory` reads."""
    return select(memories, usage.c.calls, usage.c.last_access).outerjoin(usage, usage.c.memory == memories.c.id)


def to_row(draft: Draft, *, now: int) -> dict[str, Any]:
    """A new memory's row, without id, namespace and sequence."""
    return {
        "text": draft.text,
        "type": draft.type,
        "slot": draft.slot,
        "question": draft.question,
        "topic": draft.topic,
        "metadata": draft.metadata,
        "keywords": draft.keywords,
        "links": draft.links,
        "credibility": draft.credibility,
        "created": now,
        "updated": now,
        "valid_from": now if draft.valid_from is None else draft.valid_from,
        "valid_to": None,
        "expires": None if draft.ttl is None else now + draft.ttl,
        "deleted": None,
        "revision": 1,
    }


def to_memory(row: Any, namespace: str) -> Memory:
    """The memory of a row of `select_memories`."""
    return Memory(
        id=row.id,
        text=row.text,
        namespace=namespace,
        type=row.type,
        slot=row.slot,
        question=row.question,
        metadata=_NOTHING if row.metadata == "{}" else json.loads(row.metadata, object_hook=Frozen),
        keywords=_several(row.keywords),
        links=_several(row.links),
        credibility=row.credibility,
        created=to_datetime(row.created),
        updated=to_datetime(row.updated),
        valid_from=to_datetime(row.valid_from),
        valid_to=_moment(row.valid_to),
        expires=_moment(row.expires),
        deleted=_moment(row.deleted),
        revision=row.revision,
        calls=row.calls or 0,
        last_access=_moment(row.last_access),
    )


def _several(listed: str) -> tuple[Any, ...]:
    return () if listed == "[]" else tuple(json.loads(listed))


def _moment(micros: int | None) -> Any:
    return None if micros is None else to_datetime(micros)
