"""A saved index: content files under fresh names, and a manifest that names them, replaced last and atomically.

A kill at any moment leaves the former manifest and the files it names; what the killed call wrote beside them is swept
by the next save. Every file is known by size and SHA-256, and the manifest by its own, which `Snapshot.read` checks
before anything is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import math
import mmap
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adamem.errors import CorruptResult, StorageError
from adamem.files import content_key, fsync_folder, sha256_file, storage_error, write_json
from adamem.types import AnyArray

MANIFEST = "manifest.json"
_FORMAT = "adamem-index"
_OURS = re.compile(r"[a-z_]+-[0-9a-f]{16}\.(npy|bin)|\.manifest\.json\.[0-9a-f]+\.tmp")
"""What a save writes: parts, and the manifest under the name that it has until it is whole."""

_TRIES = 20
Loaded = TypeVar("Loaded")

_ALIGNED = 64
"""Where the array begins in an .npy file, numpy promises: at a multiple of this."""

Part = AnyArray | Callable[[Path], None]
"""An array, saved as .npy, or a function that writes the file whose path it is given."""


def save_snapshot(folder: Path, *, index: str, version: int, meta: dict[str, Any], parts: dict[str, Part]) -> None:
    """Write the parts and then the manifest into `folder`, made if it is absent.

    Raises
    ------
    StorageError
        if the folder or a file cannot be written; what was saved there before stays.
    """
    token = secrets.token_hex(8)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            files = {}
            for name, part in parts.items():
                path = folder / f"{name}-{token}.{'npy' if isinstance(part, np.ndarray) else 'bin'}"
                written.append(path)
                _write(path, part)
                files[name] = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            fsync_folder(folder)
            manifest = {"format": _FORMAT, "index": index, "version": version, "meta": meta, "files": files}
            write_json(folder / MANIFEST, signed(manifest))
            _sweep(path for path in folder.iterdir() if path not in written)
    except OSError as error:
        # The manifest may be in place although something failed after that: then the files are what it names.
        if token.encode() not in (_manifest_bytes(folder) or b""):
            _sweep(written)
        raise storage_error(error, folder) from error


def signed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as it is written: with the hash of what it says."""
    return {**manifest, "sha256": content_key(manifest)}


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for another save into the folder: each would sweep what the other has not named yet."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(paths: Iterable[Path]) -> None:
    """Delete those files that a save writes; a leftover costs space, not truth."""
    for path in paths:
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


class Header(NamedTuple):
    """What stands before an array in its file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    """The array's first byte; a multiple of 64."""


class Snapshot:
    """What `save_snapshot` wrote, checked."""

    def __init__(self, folder: Path, meta: dict[str, Any], files: dict[str, Path]) -> None:
        self.folder = folder
        self.meta = meta
        self._files = files

    @classmethod
    def read(cls, folder: Path, *, index: str, version: int) -> Snapshot:
        """Open the snapshot in `folder` and check every file it names.

        Raises
        ------
        StorageError
            if there is no such folder, or it cannot be read.
        CorruptResult
            if it is not a snapshot of this index, or a file is missing, truncated or altered.
        """
        path = folder / MANIFEST
        if not folder.is_dir():
            raise StorageError(f"cannot read {folder}: there is no such folder; check the path, or save an index there")
        try:
            manifest = json.loads(path.read_bytes())
            is_whole = manifest.pop("sha256", None) == content_key(manifest)
            kind, holds, found = manifest["format"], manifest["index"], manifest["version"]
            meta, entries = dict(manifest["meta"]), dict(manifest["files"])
            expected = {
                name: (folder / Path(entry["file"]).name, int(entry["bytes"]), str(entry["sha256"]))
                for name, entry in entries.items()
            }
            holds, found = str(holds), int(found)
        except FileNotFoundError as error:
            raise CorruptResult(
                f"{folder} holds no {MANIFEST}, so it is no saved index; name the folder that save was given"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise CorruptResult(f"{path} is not a manifest as save writes it; save the index again") from error
        if kind != _FORMAT or holds != index:
            raise CorruptResult(f"{folder} holds a saved {holds!r}, expected {index!r}; load it with that index")
        if found != version:
            raise CorruptResult(
                f"{folder} was saved in format version {found}, but this {index} reads version {version}; "
                "build the index again"
            )
        if not is_whole:
            raise CorruptResult(f"{path} was altered: what it says has another SHA-256; save the index again")
        for file, size, digest in expected.values():
            _check_file(file, size, digest)
        return cls(folder, meta, {name: file for name, (file, _, _) in expected.items()})

    def array(self, name: str) -> AnyArray:
        """A part that was saved as an array."""
        with self._opened(name) as (stream, header):
            out = np.empty(header.shape, dtype=header.dtype)
            _fill(stream, out)
        return out

    def array_into(self, name: str, out: AnyArray) -> None:
        """The same, into memory that is there: `out` is C-contiguous and of the part's dtype and shape."""
        with self._opened(name) as (stream, header):
            if (header.dtype, header.shape) != (out.dtype, out.shape):
                raise ValueError(f"{name} is {header.dtype} of shape {header.shape}, not {out.dtype} of {out.shape}")
            _fill(stream, out)

    def mapped(self, name: str) -> AnyArray:
        """The same, its pages read when they are looked at, and copied when they are written to: never the file.

        The first byte lies at a multiple of 64. The array stays whole when the file is deleted or the folder saved over
        (which writes new files); a program that cuts the file short or writes into it breaks the array, as ever with
        mapped files.
        """
        with self._opened(name) as (stream, header):
            # A plain array, not numpy's memmap: a slice of that costs a microsecond, and numba compiles anew for it.
            room = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return np.ndarray(header.shape, dtype=header.dtype, buffer=room, offset=header.start)

    def header(self, name: str) -> Header:
        """The shape and the kind of a part that was saved as an array."""
        with self._opened(name) as (_, header):
            return header

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[tuple[io.BufferedReader, Header]]:
        """A part's file, at the first byte of the array, and what stands before it."""
        path = self.file(name)
        try:
            with open(path, "rb") as stream:
                yield stream, _read_header(stream, path)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}; load the index again") from error

    def file(self, name: str) -> Path:
        """The path of a part."""
        try:
            return self._files[name]
        except KeyError as error:
            raise CorruptResult(f"{self.folder} lacks the part {name!r}; save the index again") from error


def while_it_stays(folder: Path, load: Callable[[], Loaded]) -> Loaded:
    """What `load` makes of the folder; once more if it fails while the folder is saved over, and its files replaced."""
    for _ in range(_TRIES):
        before = _manifest_bytes(folder)
        try:
            return load()
        except (CorruptResult, StorageError):
            if before is None or _manifest_bytes(folder) == before:
                raise
    return load()


def _manifest_bytes(folder: Path) -> bytes | None:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError:
        return None


def _check_file(file: Path, size: int, digest: str) -> None:
    """Refuse a file that is not the one that the manifest means."""
    try:
        if not file.is_file():
            raise CorruptResult(f"{file} is missing, though {MANIFEST} names it; save the index again")
        if file.stat().st_size != size:
            raise CorruptResult(f"{file} has {file.stat().st_size} bytes, expected {size}; save the index again")
        if sha256_file(file) != digest:
            raise CorruptResult(f"{file} was altered: its SHA-256 is not that of {MANIFEST}; save the index again")
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}; check its permissions") from error


def _read_header(stream: io.BufferedReader, path: Path) -> Header:
    """Read up to the first byte of the array, and refuse a file that is not exactly as long as it says."""
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # whatever numpy's parser stumbles over
        raise CorruptResult(f"{path} is no .npy file as save writes it; save the index again") from error
    start = stream.tell()
    size = os.fstat(stream.fileno()).st_size
    fits = all(count >= 0 for count in shape) and start + math.prod(shape) * dtype.itemsize == size
    if by_columns or dtype.hasobject or start % _ALIGNED or not fits:
        raise CorruptResult(f"{path} is no .npy file as save writes it; save the index again")
    return Header(tuple(map(int, shape)), dtype, start)


def _fill(stream: io.BufferedReader, out: AnyArray) -> None:
    into = out.reshape(-1).view(np.uint8)
    done = 0
    while done < into.size:
        count = stream.readinto(into[done:].data)
        if not count:
            raise CorruptResult(f"{stream.name} was cut short while it was read; load the index again")
        done += count


def _write(path: Path, part: Part) -> None:
    if isinstance(part, np.ndarray):
        with open(path, "xb") as stream:
            # As np.save does, by rows; but `tofile` would not say why it stopped, a full disk say.
            array = np.asarray(part, order="C")
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
            stream.write(array.reshape(-1).view(np.uint8).data)
    else:
        part(path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
