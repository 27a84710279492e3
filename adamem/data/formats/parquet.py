"""Parquet with one column of lists of numbers, one vector a row; read by pyarrow where that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.errors import DataError, MissingExtra
from adamem.types import AnyArray


def open_parquet(path: Path) -> VectorSource:
    """The file's only column of lists of numbers; other columns are ignored.

    Raises
    ------
    MissingExtra
        if pyarrow is not installed.
    DataError
        if it is no whole Parquet file, has no such column or several, or its lists differ in length.
    """
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingExtra(f"reading {path} needs pyarrow, which is not installed: pip install pyarrow") from error

    def lists(kind: Any) -> bool:
        types = arrow.types
        if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
            return False
        return bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))

    try:
        with parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
            columns = [field.name for field in schema if lists(field.type)]
            if len(columns) != 1:
                raise DataError(
                    f"{path} has {len(columns)} columns of lists of numbers ({', '.join(columns) or 'none'}) among "
                    f"{', '.join(schema.names)}; expected one, the vectors; write a file with only that one"
                )
            first = next(file.iter_batches(1, columns=columns), None)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no whole Parquet file: {error}; fetch or write it again") from error
    dim = len(first.column(0)[0]) if first is not None and first.column(0)[0].is_valid else 0

    def blocks(count: int) -> Iterator[AnyArray]:
        start = 0
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(count, columns=columns):
                    column = batch.column(0)
                    lengths = np.asarray(column.value_lengths().fill_null(-1))
                    if (lengths != dim).any():
                        row = start + int(np.argmax(lengths != dim))
                        raise DataError(f"{path}: row {row} has not {dim} numbers like the first; mend or drop it")
                    yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
                    start += len(lengths)
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"{path} is truncated or altered: {error}; fetch or write it again") from error

    return VectorSource(path, rows, dim, blocks)
