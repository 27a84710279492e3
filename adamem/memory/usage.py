"""How often memories are found: counted in memory, written now and then."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Integer, Text, bindparam, cast, func, select
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
        counts = json.dumps({number: [calls.count, calls.last] for number, calls in taken.items()})
        with store.database.write() as connection:
            connection.execute(_ADDED, {"counts": counts})


_entry = func.json_each(bindparam("counts", type_=Text)).table_valued("key", "value")
_fresh = insert(usage).from_select(
    ["memory", "calls", "last_access"],
    # Those that were purged meanwhile are left out.
    select(memories.c.id, func.json_extract(_entry.c.value, "$[0]"), func.json_extract(_entry.c.value, "$[1]")).where(
        memories.c.id == cast(_entry.c.key, Integer)
    ),
)
# One statement, within which SQLite lets other threads run: searches go on beside it.
_ADDED = _fresh.on_conflict_do_update(
    index_elements=[usage.c.memory],
    set_={"calls": usage.c.calls + _fresh.excluded.calls, "last_access": _fresh.excluded.last_access},
)
