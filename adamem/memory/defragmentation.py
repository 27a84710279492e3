"""What can be put in order by itself: what is past its time, what is there twice, and what is near to each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from adamem.memory.drafts import MAX_LINKS
from adamem.memory.removal import mark, stand_in, take_out
from adamem.memory.schema import memories
from adamem.memory.store import Change, Store
from adamem.memory.timeline import question_topic

_PIECE = 500


@dataclass(frozen=True, slots=True)
class Twins:
    """Memories of one namespace that say the same."""

    namespace: int
    stays: int
    """The oldest."""
    others: tuple[int, ...]


def expired(store: Store, now: int) -> Iterator[list[tuple[int, int]]]:
    """Pieces of memories past their time: (namespace, id)."""
    while True:
        query = select(memories.c.namespace, memories.c.id).where(memories.c.expires <= now).limit(_PIECE)
        with store.database.read() as connection:
            some = [(row.namespace, row.id) for row in connection.execute(query)]
        if not some:
            return
        yield some


def take_out_expired(change: Change, some: Sequence[tuple[int, int]]) -> None:
    """Delete them; their namespaces are to be scrubbed."""
    take_out(change, [number for _, number in some])
    mark(change.connection, {space for space, _ in some})


def exact_twins(store: Store, now: int) -> list[Twins]:
    """Memories that hold and are alike in text, type, metadata, keywords, credibility and time to live.

    Facts of one slot, and answers to one question, supersede each other and are never here.
    """
    alike = (
        memories.c.namespace,
        memories.c.type,
        memories.c.text,
        memories.c.metadata,
        memories.c.keywords,
        memories.c.credibility,
        memories.c.expires,
    )
    query = (
        select(memories.c.namespace, func.group_concat(memories.c.id).label("ids"))
        .where(memories.c.topic.is_(None), memories.c.deleted.is_(None), memories.c.valid_from <= now)
        .group_by(*alike)
        .having(func.count() > 1)
    )
    with store.database.read() as connection:
        return [_twins(row.namespace, map(int, row.ids.split(","))) for row in connection.execute(query)]


def wordwise_twins(store: Store, namespace: int, numbers: Sequence[int]) -> list[Twins]:
    """Of memories that are near to each other, those that have the same words in the same order.

    What differs is what makes no difference to a question either (`question_topic`): neither 5 and -5 nor two signs.
    """
    found: dict[tuple[str, ...], list[int]] = {}
    query = select(memories).where(
        memories.c.id.in_(numbers),
        memories.c.namespace == namespace,
        memories.c.topic.is_(None),
        memories.c.deleted.is_(None),
        memories.c.expires.is_(None),
    )
    with store.database.read() as connection:
        for row in connection.execute(query):
            said = (row.type, row.metadata, row.keywords, str(row.credibility), question_topic(row.text))
            found.setdefault(said, []).append(row.id)
    return [_twins(namespace, alike) for alike in found.values() if len(alike) > 1]


def merge(change: Change, twins: Twins) -> None:
    """Let the ids of all lead to the oldest, which has the links of all, at most `MAX_LINKS`: those to the oldest.

    Their namespace is to be scrubbed.
    """
    stand_in(change, twins.stays, twins.others)
    mark(change.connection, [twins.namespace])
    mine = memories.c.id == twins.stays
    links = json.loads(change.connection.execute(select(memories.c.links).where(mine)).scalar_one())
    if len(links) > MAX_LINKS:
        change.connection.execute(update(memories).where(mine).values(links=json.dumps(links[:MAX_LINKS])))


def link(change: Change, pairs: Sequence[tuple[int, int]]) -> int:
    """Let the memories of each pair link to each other; how many pairs did not yet.

    One that has `MAX_LINKS` already gets no more.
    """
    wanted: dict[int, set[int]] = {}
    for one, other in pairs:
        wanted.setdefault(one, set()).add(other)
        wanted.setdefault(other, set()).add(one)
    fresh: set[tuple[int, int]] = set()
    numbers = sorted(wanted)
    for start in range(0, len(numbers), _PIECE):
        query = select(memories.c.id, memories.c.links).where(memories.c.id.in_(numbers[start : start + _PIECE]))
        for row in change.connection.execute(query).all():
            links = json.loads(row.links)
            more = sorted(wanted[row.id] - set(links))[: max(0, MAX_LINKS - len(links))]
            if more:
                fresh |= {(min(row.id, other), max(row.id, other)) for other in more}
                change.connection.execute(
                    update(memories)
                    .where(memories.c.id == row.id)
                    .values(
                        links=json.dumps([*links, *more]),
                        updated=change.now,
                        revision=memories.c.revision + 1,
                        sequence=change.sequence,
                    )
                )
    return len(fresh)


def _twins(namespace: int, numbers: Iterator[int] | Sequence[int]) -> Twins:
    stays, *others = sorted(numbers)
    return Twins(namespace, stays, tuple(others))
