"""IDX, as MNIST and Fashion-MNIST have it: a big-endian header and raw values, usually gzipped.

Source: "THE MNIST DATABASE of handwritten digits", section FILE FORMATS. Each item is flattened to one row.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def open_idx(path: Path) -> VectorSource:
    """An IDX file of two or more axes, plain or gzipped (told by its first bytes), as rows of its flattened items.

    Raises
    ------
    DataError
        if it is no IDX file, ends early, has bytes to spare, or fails gzip's own checksum.
    """
    try:
        with _open(path) as stream:
            shape, dtype = _header(stream, path)
    except (OSError, EOFError, zlib.error) as error:
        raise _broken(path, str(error)) from error
    rows, dim = shape[0], math.prod(shape[1:])

    def blocks(count: int) -> Iterator[AnyArray]:
        try:
            with _open(path) as stream:
                _header(stream, path)
                for start in range(0, rows, count):
                    wanted = min(count, rows - start) * dim * dtype.itemsize
                    raw = stream.read(wanted)
                    if len(raw) != wanted:
                        raise _broken(path, f"it ends in row {start + len(raw) // (dim * dtype.itemsize)} of {rows}")
                    yield np.frombuffer(raw, dtype).reshape(-1, dim)
                if stream.read(1):
                    raise _broken(path, f"it goes on after its {rows} rows")
        except (OSError, EOFError, zlib.error) as error:
            raise _broken(path, str(error)) from error

    return VectorSource(path, rows, dim, blocks)


def _open(path: Path) -> IO[bytes]:
    with open(path, "rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")  # type: ignore[return-value]  # GzipFile reads like any


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] < 2:
        raise DataError(
            f"{path} is no IDX file of vectors: it starts with {magic.hex() or 'nothing'}, expected 0000, a type "
            "and at least two axes; choose the images file, or fetch it again"
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) != 4 * magic[3]:
        raise _broken(path, "it ends inside its header")
    return struct.unpack(f">{magic[3]}I", sizes), np.dtype(_TYPES[magic[2]])


def _broken(path: Path, why: str) -> DataError:
    return DataError(f"{path} is truncated or altered: {why}; fetch or copy it again")
