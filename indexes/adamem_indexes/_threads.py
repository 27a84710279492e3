"""Threads: BLAS kept to the caller's while a search runs; work on many pieces, a few at a time."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


@cache
def _blas_libraries() -> tuple[Any, ...]:
    # Finding them costs a millisecond, setting one a microsecond. faiss brings an OpenMP build of its own, which
    # follows the calling thread's OpenMP setting.
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 -- only some indexes need it

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return tuple(library for library in found if "faiss" not in library.filepath)


class _SingleThreadedBlas:
    """Counts those inside: BLAS has one thread count a process, so the first in sets it, the last out restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[int] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before = [library.get_num_threads() for library in _blas_libraries()]
                for library, count in zip(_blas_libraries(), self._before, strict=True):
                    if count != 1:
                        library.set_num_threads(1)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    for library, count in zip(_blas_libraries(), self._before, strict=True):
                        if count != 1:
                            library.set_num_threads(count)


single_threaded_blas = _SingleThreadedBlas()
"""``with single_threaded_blas():`` -- reentrant, and safe from several threads."""


def in_turn(work: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Iterator[_R]:
    """`work` of each of the items, in their order; so many threads, and at most one result more than that is held."""
    items = list(items)
    if threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[_R]] = deque()
        for item in items:
            if len(waiting) > threads:
                yield waiting.popleft().result()
            waiting.append(executor.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
