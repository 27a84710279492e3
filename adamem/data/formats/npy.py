"""NumPy's .npy (mapped, never loaded) and .npz (unpacked member by member)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from adamem.data.formats.source import VectorParts, VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray

_BASE_NAMES = ("base", "train", "vectors", "embeddings", "arr_0")
_QUERY_NAMES = ("queries", "query", "test", "arr_1")


def open_npy(path: Path) -> VectorSource:
    """A two-axis array of numbers in a .npy file.

    Raises
    ------
    DataError
        if it is no .npy file, is shorter than its header says, or holds anything but a table of numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no whole .npy file: {error}; fetch or write it again") from error
    _check_table(array.shape, array.dtype, str(path))
    mappable = array.dtype == np.dtype("<f4") and array.flags.c_contiguous

    def blocks(count: int) -> Iterator[AnyArray]:
        for start in range(0, array.shape[0], count):
            yield array[start : start + count]

    return VectorSource(path, array.shape[0], array.shape[1], blocks, mappable)


def open_npz(path: Path) -> VectorParts:
    """The members base (or train, vectors, embeddings), queries (or query, test) and learn of a .npz file.

    Raises
    ------
    DataError
        if it is no .npz file, has no base, or a member is not a table of numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is no whole .npz file: {error}; fetch or write it again") from error
    base = next((name for name in _BASE_NAMES if name in members), None)
    if base is None:
        raise DataError(
            f"{path} holds {', '.join(members) or 'no arrays'}; expected the vectors under one of the names "
            f"{', '.join(_BASE_NAMES)}; save it with np.savez(path, base=..., queries=...)"
        )
    queries = next((name for name in _QUERY_NAMES if name in members), None)
    return VectorParts(
        base=_member(path, base),
        queries=_member(path, queries) if queries else None,
        learn=_member(path, "learn") if "learn" in members else None,
        files=(path,),
    )


def _member(path: Path, name: str) -> VectorSource:
    label = f"{path} [{name}]"
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            shape, fortran, dtype = _member_header(stream)
    except (ValueError, zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{label} cannot be read: {error}; write it again") from error
    _check_table(shape, dtype, label)
    if fortran:
        raise DataError(f"{label} is stored column by column; save np.ascontiguousarray of it")
    rows, dim = shape

    def blocks(count: int) -> Iterator[AnyArray]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
                _member_header(stream)
                for start in range(0, rows, count):
                    wanted = min(count, rows - start) * dim * dtype.itemsize
                    raw = stream.read(wanted)
                    if len(raw) != wanted:
                        raise DataError(f"{label} is truncated: it ends before row {rows}; write it again")
                    yield np.frombuffer(raw, dtype).reshape(-1, dim)
                if stream.read(1):  # only at the very end is the archive's checksum compared
                    raise DataError(f"{label} goes on after its {rows} rows; write it again")
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{label} is truncated or altered: {error}; write it again") from error

    return VectorSource(path, rows, dim, blocks)


def _member_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _check_table(shape: tuple[int, ...], dtype: np.dtype[np.generic], label: str) -> None:
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise DataError(
            f"{label} holds {dtype} of shape {shape}; expected a table (rows, dimensions) of real numbers; "
            "reshape or convert it"
        )
