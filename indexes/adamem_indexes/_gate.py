"""A library whose search effort is a field of the index, used from several threads with several efforts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class EffortGate:
    """Lets in any number of searches of one effort at a time; one with another effort waits until those are out.

    A newcomer does not overtake a waiting one, so none starves. One thread alone pays two uncontended locks, about
    0.2 µs. `apply` is called with the new effort while no search runs.
    """

    def __init__(self, apply: Callable[[int], None]) -> None:
        self._apply = apply
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._effort: int | None = None
        self._inside = 0
        self._waiting = 0
        self._turn = 0

    def enter(self, effort: int) -> None:
        """Wait until searching with this effort is possible; `leave` must follow."""
        with self._lock:
            if self._inside == 0 and effort == self._effort:
                pass
            elif self._inside and (self._waiting or effort != self._effort):
                self._wait(effort)
            elif effort != self._effort:
                self._apply(effort)
                self._effort = effort
            self._inside += 1

    def leave(self) -> None:
        """The search is over, whether it succeeded or not."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._waiting:
                self._changed.notify_all()

    def _wait(self, effort: int) -> None:
        seen = self._turn
        self._waiting += 1
        try:
            # The first to wake once all are out opens a new turn; those of its effort who waited join it.
            while self._inside and not (self._turn != seen and self._effort == effort):
                self._changed.wait()
        finally:
            self._waiting -= 1
        if self._inside == 0:
            if self._effort != effort:
                self._apply(effort)
                self._effort = effort
            self._turn += 1
            self._changed.notify_all()
