"""Arrays that begin at a cache line."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from adamem.types import AnyArray
from adamem_indexes.spiral._kernels import LINE


def aligned(shape: tuple[int, ...], dtype: Any) -> AnyArray:
    """An array of zeros whose first byte lies at a multiple of 64; numpy itself promises 16."""
    bytes_ = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(bytes_ + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    whole: AnyArray = room[start : start + bytes_].view(dtype).reshape(shape)
    return whole


def give_back(array: AnyArray) -> None:
    """Let the system take back the memory of a mapped array; what is read again comes from its file.

    For arrays that only mirror their file: what was written to a private map is lost. Others stay as they are.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
