"""fbin, f16bin, u8bin, i8bin, ibin of the big-ann-benchmarks: uint32 rows, uint32 dimensions, then the values."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray

_VALUES = {".fbin": "<f4", ".f16bin": "<f2", ".u8bin": "u1", ".i8bin": "i1", ".ibin": "<i4"}
_HEADER = 8


def open_flat(path: Path) -> VectorSource:
    """One of the five, told by its suffix.

    Raises
    ------
    DataError
        if the file's size is not what its header says.
    """
    dtype = np.dtype(_VALUES[path.suffix])
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(_HEADER)
    rows, dim = struct.unpack("<2I", head) if len(head) == _HEADER else (0, 0)
    if size != _HEADER + rows * dim * dtype.itemsize or not dim:
        raise DataError(
            f"{path} is truncated, altered or no {path.suffix} file: its header says {rows} rows of {dim} dimensions, "
            f"which is not {size} bytes; fetch or copy it again, or correct the header of a cropped copy"
        )

    def blocks(count: int) -> Iterator[AnyArray]:
        table = np.memmap(path, dtype, "r", _HEADER, (rows, dim)) if rows else np.empty((0, dim), dtype)
        for start in range(0, rows, count):
            yield table[start : start + count]

    return VectorSource(path, rows, dim, blocks)
