"""Where arrays lie: in memory, from a cache line on, or in a file that is mapped."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import weakref
from typing import Any

import numpy as np

from adamem.errors import StorageError
from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._kernels import LINE


def aligned(shape: tuple[int, ...], dtype: Any) -> AnyArray:
    """An array of zeros whose first byte lies at a multiple of 64 (numpy promises 16), and whose lines are its own.

    Two threads that write to arrays of theirs in one line would wait for each other.
    """
    bytes_ = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(bytes_ + 2 * LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    whole: AnyArray = room[start : start + bytes_].view(dtype).reshape(shape)
    return whole


class VectorFile:
    """Vectors in a file without a name, which the system may write out and drop from memory, and read again.

    It lies in the folder that TMPDIR names (where that is a tmpfs, which is memory itself, nothing is won), is mapped,
    and goes with the last array over it. Its blocks are taken before they are mapped: a full disk is an error here and
    not a signal at the first write. A process that was forked must not write into its parent's file: `is_ours` tells.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._rows = 0
        try:
            self._handle, name = tempfile.mkstemp(prefix="adamem-")
        except OSError as error:
            raise StorageError(
                f"cannot keep the vectors in a file: {error.strerror or error}; name a folder in TMPDIR, or build with "
                "vectors='memory'"
            ) from error
        self._folder = os.path.dirname(name)  # noqa: PTH120 -- a string, for a sentence
        weakref.finalize(self, os.close, self._handle)
        os.unlink(name)  # noqa: PTH108

    def is_ours(self) -> bool:
        """Whether this process made it."""
        return self._process == os.getpid()

    def array(self, rows: int, dim: int) -> FloatArray:
        """float32 (rows, dim): the first rows as they are, zeros behind.

        Raises
        ------
        StorageError
            if the disk has no room for so many; the arrays that there are stay good.
        """
        size = 4 * rows * dim
        if size == 0:
            return np.zeros((rows, dim), dtype=np.float32)
        try:
            os.posix_fallocate(self._handle, 0, size)
            room = mmap.mmap(self._handle, size)
        except OSError as error:
            os.ftruncate(self._handle, 4 * self._rows * dim)
            raise StorageError(
                f"cannot keep {size / 1e6:.1f} MB of vectors in a file in {self._folder}: {error.strerror or error}; "
                "free some space there, name another folder in TMPDIR, or build with vectors='memory'"
            ) from error
        self._rows = rows
        return np.ndarray((rows, dim), dtype=np.float32, buffer=room)


def give_back(array: AnyArray) -> None:
    """Let the system take back the memory of a mapped array; what is read again comes from its file.

    For arrays that only mirror their file: what was written to a private map is lost. Others stay as they are.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def trim() -> None:
    """Let the C library give freed memory back to the system, where it can: glibc keeps tens of megabytes for later."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
