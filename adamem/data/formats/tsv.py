"""Numbers as text, one vector a line: .tsv, .csv, .txt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray

_SEPARATORS = {".tsv": "\t", ".csv": ",", ".txt": None}


def open_tsv(path: Path, columns: int | None = None) -> VectorSource:
    """Vectors of the first `columns` columns, or of all; blank lines are skipped.

    Raises
    ------
    DataError
        if a line is not numbers only, or has fewer columns than the first.
    """
    separator = _SEPARATORS[path.suffix]
    try:
        with open(path, encoding="ascii") as stream:
            first = next((line for line in stream if line.strip()), "")
            rows = bool(first) + sum(1 for line in stream if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no table of numbers: {error}; choose another file") from error
    width = len(first.strip("\r\n").split(separator)) if first else 0
    dim = columns or width
    if not 1 <= dim <= width:
        raise DataError(f"{path} has {width} columns on its first line; expected at least {columns or 1}")

    def blocks(count: int) -> Iterator[AnyArray]:
        with open(path, encoding="ascii") as stream:
            lines = (line for line in stream if line.strip())
            for start in range(0, rows, count):
                some = list(itertools.islice(lines, count))
                try:
                    yield np.loadtxt(some, np.float64, delimiter=separator, usecols=range(dim), ndmin=2, comments=None)
                except ValueError as error:
                    raise DataError(
                        f"{path}: a line after row {start} does not have {dim} numbers: {error}; mend or fetch it again"
                    ) from error

    return VectorSource(path, rows, dim, blocks)
