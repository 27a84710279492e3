"""How often memories are found: counted in memory, written now and then."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from adamem.memory.schema import memories, usage
from adamem.memory.store import Store

_WRITTEN_AT = 2_000
"""So many counts are kept before they are written."""


@dataclass(slots=True)
class _Calls:
    count: int
    last: int


class Usage:
    """Counts since the last `write`. What a kill takes of them is lost; nothing else depends on them."""

    def __init__(self) -> None:
        self._calls: dict[int, _Calls] = {}
        self._lock = threading.Lock()
        self._noted = 0

    def note(self, ids: Iterable[int], now: int) -> bool:
        """Count memories as found at a time; whether it is time to write."""
        with self._lock:
            for number in ids:
                calls = self._calls.setdefault(number, _Calls(0, now))
                calls.count, calls.last = calls.count + 1, now
                self._noted += 1
            return self._noted >= _WRITTEN_AT

    def write(self, store: Store) -> None:
        """Add to what is in the file."""
        with self._lock:
            taken, self._calls, self._noted = self._calls, {}, 0
        if not taken:
            return
        with store.database.write() as connection:
            for piece in (list(taken)[start : start + 500] for start in range(0, len(taken), 500)):
                there = connection.execute(select(memories.c.id).where(memories.c.id.in_(piece))).scalars().all()
                rows = [{"memory": one, "calls": taken[one].count, "last_access": taken[one].last} for one in there]
                if rows:
                    fresh = insert(usage)
                    more = fresh.on_conflict_do_update(
                        index_elements=[usage.c.memory],
                        set_={
                            "calls": usage.c.calls + fresh.excluded.calls,
                            "last_access": fresh.excluded.last_access,
                        },
                    )
                    connection.execute(more, rows)
