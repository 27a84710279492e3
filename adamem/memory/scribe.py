"""A thread that does what must not be left half done, so that an interrupt never falls into the middle of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Scribe:
    """Does one thing after the other, in a thread of its own.

    Python raises KeyboardInterrupt in the main thread only, at whatever instruction that has come to. Here it finds
    somebody who waits: what the thread is doing is done to its end, and what is asked next comes after that.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="adamem")

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, called in the thread. Not to be called in the thread itself."""
        try:
            promised = self._pool.submit(work)
        except RuntimeError:
            # The interpreter ends (this is called by `atexit`), or `close` was: nobody else calls any more.
            return work()
        return promised.result()

    def later(self, work: Callable[[], object]) -> None:
        """Call `work` in the thread when it comes to that; whatever goes wrong with it is told in the log."""

        def attempt() -> None:
            try:
                work()
            except Exception:  # noqa: BLE001 -- nobody waits for it
                _log.exception("what was put off could not be done")

        with contextlib.suppress(RuntimeError):  # closed, or the interpreter ends: it was for later only
            self._pool.submit(attempt)

    def close(self) -> None:
        """End the thread after what it was asked."""
        self._pool.shutdown(wait=False)
