"""One search, one thread: BLAS kept to the caller's thread while a search runs, and then given back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any


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
