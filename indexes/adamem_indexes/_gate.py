"""A library whose search effort is a field of the index, used from several threads with several efforts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class EffortGate:
    """Lets in any number of searches of one effort at a time; one with another effort waits until those are out.

    While one waits, newcomers do not overtake it. `apply` is called with the new effort while no search runs.

    A search that finds its effort set takes no lock, which would cost it about 2 µs: it enters first and looks then.
    Appending to a list, popping from it, and reading an attribute are each atomic in Python, so that either the search
    sees that a change has begun, and backs out, or the change sees that the search is inside, and waits.
    """

    def __init__(self, apply: Callable[[int], None]) -> None:
        self._apply = apply
        self._effort: int | None = None
        self._inside: list[None] = []
        self._changing = False
        self._moved = threading.Condition()

    def enter(self, effort: int) -> None:
        """Wait until searching with this effort is possible; `leave` must follow."""
        self._inside.append(None)
        if self._effort != effort or self._changing:
            self._wait(effort)

    def leave(self) -> None:
        """The search is over, whether it succeeded or not."""
        self._inside.pop()
        if self._changing:
            with self._moved:
                self._moved.notify_all()

    def _wait(self, effort: int) -> None:
        with self._moved:
            self._inside.pop()
            self._moved.notify_all()
            while self._changing:
                self._moved.wait()
            self._inside.append(None)
            if self._effort == effort:
                return
            self._inside.pop()
            self._changing = True
            try:
                while self._inside:
                    self._moved.wait()
                self._apply(effort)
                self._effort = effort
                self._inside.append(None)
            finally:
                self._changing = False
                self._moved.notify_all()
