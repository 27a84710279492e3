"""fvecs, ivecs, bvecs: every row is its own length as little-endian int32, then the values.

Source: "Datasets for approximate nearest neighbor search", corpus-texmex.irisa.fr, section "File format".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray

_VALUES = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}


def open_texmex(path: Path) -> VectorSource:
    """One of the three, told by its suffix.

    Raises
    ------
    DataError
        if its size is no whole number of rows, or a row claims another length than the first.
    """
    dtype = np.dtype(_VALUES[path.suffix])
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(4)
    dim = int(np.frombuffer(head, "<i4")[0]) if len(head) == 4 else 0
    if not 1 <= dim <= 1 << 20:
        raise DataError(f"{path} is no {path.suffix} file: its first row claims {dim} dimensions; choose another file")
    record = np.dtype([("dim", "<i4"), ("values", dtype, (dim,))])
    rows, rest = divmod(size, record.itemsize)
    if rest:
        raise DataError(
            f"{path} is truncated or altered: {size} bytes are no whole number of rows of {record.itemsize} bytes "
            f"({dim} dimensions); fetch or copy it again"
        )

    def blocks(count: int) -> Iterator[AnyArray]:
        table = np.memmap(path, record, "r", shape=(rows,))
        for start in range(0, rows, count):
            block = table[start : start + count]
            wrong = np.flatnonzero(block["dim"] != dim)
            if len(wrong):
                row = start + int(wrong[0])
                raise DataError(
                    f"{path}: row {row} claims {block['dim'][wrong[0]]} dimensions, the first has {dim}; the file is "
                    "altered: fetch or copy it again"
                )
            yield block["values"]

    return VectorSource(path, rows, dim, blocks)
