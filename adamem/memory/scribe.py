"""A thread that does what must not be left half done, so that an interrupt never falls into the middle of it."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "queue.SimpleQueue[tuple[bool, Any]] | None"]
_PATIENCE = 5.0
_log = logging.getLogger(__name__)


class Scribe:
    """Does one thing after the other, in a thread of its own.

    Python raises KeyboardInterrupt in the main thread only, at whatever instruction that has come to; where that is the
    first one under a lock, the lock is held for ever. Here it finds somebody who waits for an answer: what the thread
    is doing is done to its end, and what is asked next comes after that. Questions and answers go through queues that
    are one instruction each, which a `concurrent.futures.Future` is not.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Not `Thread.is_alive`: an interrupt in the middle of that takes a thread at work for one that has ended.
        self._ended: list[bool] = []
        self._thread = threading.Thread(target=_work, args=(self._jobs, self._ended), name="adamem", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._jobs.put, None).atexit = False

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, called in the thread."""
        if threading.current_thread() is self._thread or self._ended:
            return work()  # it is asked by what it does itself, or was closed
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._jobs.put((work, answer))
        while True:
            try:
                is_well, result = answer.get(timeout=_PATIENCE)
                break
            except queue.Empty:
                if self._ended:
                    return work()  # it was closed before it came to that
        if is_well:
            found: T = result
            return found
        try:
            raise result
        finally:
            del result, answer  # or the error would hold this frame, and this frame the error

    def later(self, work: Callable[[], object]) -> None:
        """Call `work` in the thread when it comes to that; whatever goes wrong with it is told in the log.

        After `close` it is left undone.
        """
        self._jobs.put((work, None))

    def close(self) -> None:
        """End the thread after what it was asked, and return then: what is asked from now on is done at once."""
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _work(jobs: queue.SimpleQueue[_Job | None], ended: list[bool]) -> None:
    try:
        _do_all(jobs)
    finally:
        ended.append(True)


def _do_all(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        work, answer = job
        result: Any
        try:
            is_well, result = True, work()
        except BaseException as error:  # noqa: BLE001 -- whoever asked gets it
            is_well, result = False, error
            if answer is None:
                _log.error("what was put off could not be done", exc_info=error)
        if answer is not None:
            answer.put((is_well, result))
        del job, work, answer, result
