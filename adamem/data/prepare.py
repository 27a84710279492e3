"""From any format to float32 rows on disk, block by block, checked and hashed on the way.

The result lies in the cache under a key made from the bytes of the files; a float32 .npy stays where it is and is only
checked. Rows of length zero are dropped under cosine, where they have no direction and no index accepts them; their
numbers are kept, so that ids and qrels stay aligned and a report can say how many they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from adamem.data.formats.source import VectorSource, rows_per_block
from adamem.data.hashes import stamp_of
from adamem.data.places import cache_folder
from adamem.data.progress import Progress, silent
from adamem.errors import DataError, StorageError
from adamem.files import atomic_folder, content_key, write_json
from adamem.types import FloatArray, Metric

_VERSION = 2
MIN_SQUARE = 1e-30
"""A squared length up to this counts as zero under cosine, as the indexes' own validator has it."""

_HEADER = 128  # bytes of a .npy header that _write_header pads to
_MANIFEST = "manifest.json"
_ABANDONED = 86_400.0  # seconds

log = logging.getLogger("adamem.data")


@dataclass(frozen=True)
class Prepared:
    """One matrix, ready to be mapped."""

    path: Path
    rows: int
    dim: int
    sha256: str
    """Of the rows' bytes, without any header."""
    dropped: tuple[int, ...]
    """Rows of the source that are not here, by their number there."""

    def map(self) -> FloatArray:
        """The rows, float32 (rows, dim), mapped read-only."""
        mapped: FloatArray = np.load(self.path, mmap_mode="r")
        return mapped


def prepare(
    sources: Mapping[str, VectorSource],
    *,
    metric: Metric,
    key: Mapping[str, Any],
    progress: Progress | None = None,
) -> dict[str, Prepared]:
    """Bring every source to float32 rows, or find them done in the cache.

    `key` must name the bytes of the files (their hashes) and all that changes how they are read.

    Raises
    ------
    DataError
        if a source breaks off, holds NaN, infinity or rows too long for float32, differs in width from the base, or has
        no rows or no dimensions.
    StorageError
        if the cache cannot be written.
    """
    zeros_go = metric == "cosine"
    name = content_key({"version": _VERSION, "zeros_go": zeros_go, "key": dict(key)})
    folder = cache_folder() / "prepared" / name[:40]
    found = _read(folder, sources)
    if found is None:
        _check_widths(sources)
        _fill(folder, sources, zeros_go, progress or silent)
        found = _read(folder, sources)
    if found is None:
        raise StorageError(f"{folder} changed while it was written; delete it and try again")
    return found


def _fill(folder: Path, sources: Mapping[str, VectorSource], zeros_go: bool, tell: Progress) -> None:
    _sweep(folder)
    try:
        with atomic_folder(folder) as scratch:
            parts: dict[str, Any] = {}
            for part, source in sources.items():
                target = scratch / f"{part}.npy"
                in_place = source.mappable
                done = _copy(source, None if in_place else target, zeros_go, tell)
                if in_place and done["dropped"]:  # it must be rewritten without those rows after all
                    in_place, done = False, _copy(source, target, zeros_go, tell)
                parts[part] = done | {"in_place": in_place, "stamp": None if in_place else stamp_of(target)}
            write_json(scratch / _MANIFEST, {"version": _VERSION, "parts": parts})
    except StorageError:
        if not (folder / _MANIFEST).is_file():  # else another process was first, with the same bytes
            raise


def _copy(source: VectorSource, target: Path | None, zeros_go: bool, tell: Progress) -> dict[str, Any]:
    """Check every row; write those that stay to `target`, if there is one."""
    digest, kept, seen = hashlib.sha256(), 0, 0
    dropped: list[int] = []
    with open(target, "xb") if target else contextlib.nullcontext() as stream:
        if stream:
            _write_header(stream, source.rows, source.dim)
        for block in source.blocks(rows_per_block(source.dim)):
            rows = _as_float32(block, source, seen)
            if zeros_go:
                zero = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) <= MIN_SQUARE
                if zero.any():
                    dropped.extend((np.flatnonzero(zero) + seen).tolist())
                    rows = rows[~zero]
            seen, kept = seen + len(block), kept + len(rows)
            raw = np.ascontiguousarray(rows).data.cast("B") if len(rows) else b""
            digest.update(raw)
            if stream:
                stream.write(raw)
            tell(seen, source.rows, f"reading {source.path.name}")
        if stream:
            stream.seek(0)
            _write_header(stream, kept, source.dim)
    if not kept:
        raise DataError(f"{source.path} has no rows to search among; choose another file")
    return {"rows": kept, "dim": source.dim, "sha256": digest.hexdigest(), "dropped": dropped}


def _as_float32(block: np.typing.NDArray[Any], source: VectorSource, seen: int) -> FloatArray:
    with np.errstate(over="ignore"):
        rows: FloatArray = np.ascontiguousarray(block, dtype=np.float32)
    good = np.isfinite(rows).all(axis=1)
    if not good.all():
        worst = int(np.argmin(good))
        column = int(np.argmin(np.isfinite(rows[worst])))
        raise DataError(
            f"{source.path}: row {seen + worst}, column {column} is {block[worst, column]}; expected a finite float32 "
            "number; mend or drop that row"
        )
    with np.errstate(over="ignore"):
        squares = np.vecdot(rows, rows)
    if not np.isfinite(squares).all():  # no index can compare such rows
        raise DataError(
            f"{source.path}: row {seen + int(np.argmin(np.isfinite(squares)))} is so long that its squared length is "
            "beyond float32; scale the vectors down"
        )
    return rows


def _write_header(stream: IO[bytes], rows: int, dim: int) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
    if stream.tell() != _HEADER:
        raise StorageError(f"a .npy header took {stream.tell()} bytes instead of {_HEADER}; use another numpy version")


def _read(folder: Path, sources: Mapping[str, VectorSource]) -> dict[str, Prepared] | None:
    """What the cache has; an entry that is not what was written is removed, and said to be."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
    except FileNotFoundError:
        if folder.exists():
            _discard(folder, "its manifest is gone")
        return None
    except (OSError, ValueError):
        _discard(folder, "its manifest cannot be read")
        return None
    found = {}
    try:
        for part, source in sources.items():
            entry = manifest["parts"][part]
            path = source.path if entry["in_place"] else folder / f"{part}.npy"
            if not entry["in_place"] and stamp_of(path) != entry["stamp"]:
                if not _same_bytes(path, entry):
                    _discard(folder, f"{path.name} is not what was written")
                    return None
                _restamp(folder, manifest, part)
            found[part] = Prepared(path, entry["rows"], entry["dim"], entry["sha256"], tuple(entry["dropped"]))
    except (OSError, KeyError, TypeError) as error:
        _discard(folder, f"{type(error).__name__}: {error}")
        return None
    return found


def _same_bytes(path: Path, entry: Mapping[str, Any]) -> bool:
    if path.stat().st_size != _HEADER + 4 * entry["rows"] * entry["dim"]:
        return False
    with open(path, "rb") as stream:
        stream.seek(_HEADER)
        return hashlib.file_digest(stream, "sha256").hexdigest() == str(entry["sha256"])


def _restamp(folder: Path, manifest: dict[str, Any], part: str) -> None:
    manifest["parts"][part]["stamp"] = stamp_of(folder / f"{part}.npy")
    with contextlib.suppress(StorageError):  # a read-only cache costs another reading, no more
        write_json(folder / _MANIFEST, manifest)


def _discard(folder: Path, why: str) -> None:
    log.warning("the cache entry %s is damaged (%s); it is made again", folder, why)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed conversions of the same data left behind, once it is surely no other process's."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left)


def _check_widths(sources: Mapping[str, VectorSource]) -> None:
    base = sources["base"]
    if base.rows and not base.dim:
        raise DataError(f"{base.path} has {base.rows} rows of 0 dimensions; expected at least 1; choose another file")
    for part, source in sources.items():
        if source.dim != base.dim:
            raise DataError(
                f"{source.path}: {part} have {source.dim} dimensions, but the base in {base.path} has {base.dim}; "
                "expected the same; choose files that belong together"
            )
