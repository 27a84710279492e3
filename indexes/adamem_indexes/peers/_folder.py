"""A library that saves itself into folders, and a snapshot whose parts are single files."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adamem.errors import CorruptResult


@contextmanager
def packing(path: Path) -> Iterator[Path]:
    """A fresh folder to write into; on leaving, what lies in it goes into the one file `path`, uncompressed.

    The folder is the system's temporary one: a kill leaves nothing in the snapshot's that its sweep does not know.
    """
    with tempfile.TemporaryDirectory(prefix="adamem-") as folder:
        yield Path(folder)
        with tarfile.open(path, "x") as archive:
            archive.add(folder, arcname=".")


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """What `packing` put into `path`, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="adamem-") as folder:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise CorruptResult(f"{path} is not an archive as save writes it; save the index again") from error
        yield Path(folder)
