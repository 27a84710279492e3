"""Arrays that begin at a cache line."""

from __future__ import annotations

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
