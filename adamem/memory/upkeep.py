"""The thread that moves what was added into the indexes, beside searches and writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from adamem.memory.shelf import Shelf

_log = logging.getLogger(__name__)


class Upkeep:
    """Tends shelves one after the other; its thread runs only while there is something to do.

    Parameters
    ----------
    threads
        For building an index.
    tended
        Called in the thread, with each shelf that was tended.
    """

    def __init__(self, *, threads: int, tended: Callable[[Shelf], None]) -> None:
        self._threads = threads
        self._tended = tended
        self._waiting: dict[int, Shelf] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def wake(self, shelf: Shelf) -> None:
        """See to a shelf, if it needs it."""
        if not shelf.needs_tending():
            return
        with self._lock:
            if self._stopping:
                return
            self._waiting[id(shelf)] = shelf
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="adamem-upkeep", daemon=True)
                try:
                    thread.start()
                except (
                    RuntimeError
                ) as error:  # no thread to be had: the tail is scanned, and the next write tries again
                    _log.warning("an index of the memory is not brought up to date: %s", error)
                    return
                self._thread = thread

    def is_alive(self) -> bool:
        """Whether it is at work on anything."""
        return self._thread is not None and not self._stopping

    def wait(self) -> None:
        """Return when nothing is left to do."""
        while (thread := self._thread) is not None:
            thread.join()

    def close(self) -> None:
        """End after the step in hand."""
        with self._lock:
            self._stopping = True
        self.wait()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._thread = None

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._stopping or not self._waiting:
                    self._thread = None
                    return
                _, shelf = self._waiting.popitem()
            try:
                shelf.tend(lambda: self._stopping, threads=self._threads)
                self._tended(shelf)
            except Exception:  # noqa: BLE001 -- of whatever index it is; told in the log
                # Nothing is lost: the store has it all, and what is in the tail is found there.
                _log.exception("an index of the memory could not be brought up to date; its tail is scanned instead")
