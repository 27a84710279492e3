"""Files that are whole or absent: temp + fsync + rename, and hashes to know them by.

A kill at any moment leaves the last good state: the temporary name lies in the target's own folder (a rename is
atomic only inside one file system), and both the file and the folder entry are flushed before the call returns.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from adamem.errors import StorageError

_CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN. Equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_key(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON; the name under which a result is stored."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing so that it appears whole or not at all.

    Raises
    ------
    StorageError
        if the folder or the file cannot be written (no permission, disk full); the former content stays.
    """
    scratch = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(scratch, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a scratch folder that becomes the new folder `path` when the block ends.

    `path` must not exist yet: a folder cannot be renamed over a full one in one step, so replacing one would leave
    a moment with neither. What is replaced is written as files behind a manifest instead.

    Raises
    ------
    StorageError
        if it cannot be written, or something of that name is there.
    """
    scratch = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        yield scratch
        for inner in sorted(scratch.rglob("*")):
            if inner.is_file():
                with open(inner, "rb") as stream:
                    os.fsync(stream.fileno())
        fsync_folder(scratch)
        scratch.rename(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Take a folder away whole: killed in the middle, it is there with all that it had, or not under its name.

    Raises
    ------
    StorageError
        if it cannot be taken away.
    """
    scratch = _beside(path)
    try:
        path.rename(scratch)
        fsync_folder(path.parent)
        shutil.rmtree(scratch)
    except OSError as error:
        raise storage_error(error, path) from error


def _beside(path: Path) -> Path:
    """A name for scratch, which nothing else has."""
    return path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as stream:
        stream.write(text.encode() + b"\n")


def fsync_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename inside it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError, path: Path) -> StorageError:
    """An operating-system error as a sentence about `path` with the way out."""
    if isinstance(error, StorageError):
        return error
    if error.errno == errno.ENOSPC:
        why, way = "the disk is full", "free some space or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why, way = "writing there is not permitted", "choose a folder that you may write to"
    else:
        why, way = error.strerror or str(error), "check the path"
    return StorageError(f"cannot write {path}: {why}; {way}")
