"""Whether the files of a data set are what they should be."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adamem.data.cards import Card, CardFile, card
from adamem.data.hashes import known_sha256
from adamem.data.locate import locate, require
from adamem.data.progress import Progress
from adamem.errors import DataError

RECORD = ".sha256"
"""What is appended to a file's name for the note of its checksum at first download."""


@dataclass(frozen=True)
class FileCheck:
    """What was found of one file."""

    path: Path
    state: Literal["ok", "altered", "absent", "unknown"]
    """`ok`: the checksum is the card's or the one of the first download. `unknown`: neither of them says one."""
    sha256: str | None
    expected: str | None


def check(name: str, progress: Progress | None = None) -> tuple[FileCheck, ...]:
    """Read every file of a data set and compare checksums; of a set made from others, theirs.

    Raises
    ------
    UnknownName
        if there is no such card. A bad file is a result, not an error.
    """
    checks = []
    for found in _with_sources(card(name)):
        folder = locate(found) or found.home
        for number, item in enumerate(item for item in found.files if item.role != "archive"):
            path = (folder / item.path) if folder else Path(found.name, item.path)
            checks.append(_check_file(path, item) if path.is_file() else FileCheck(path, "absent", None, item.sha256))
            if progress:
                progress(number + 1, len(found.files), f"checking {found.name}")
    return tuple(checks)


def verified(known: Card) -> Path:
    """The folder of the card's files, each of which has been compared with its checksum (once: it is remembered).

    Raises
    ------
    StorageError
        if they are not on this machine.
    DataError
        if one has another checksum.
    """
    folder = require(known)
    for item in known.files:
        if item.role in ("archive", "extra"):
            continue
        found = _check_file(folder / item.path, item)
        if found.state == "altered":
            # One's own files may be the only copy, and the change may be meant.
            way = "delete it and fetch or copy it again" if known.home is None else known.import_again()
            raise DataError(
                f"{found.path} is not the file that the card {known.name!r} describes: its SHA-256 is {found.sha256}, "
                f"expected {found.expected}; {way}"
            )
    return folder


def _check_file(path: Path, item: CardFile) -> FileCheck:
    sha256 = known_sha256(path)
    recorded = path.with_name(path.name + RECORD)
    noted = recorded.read_text(encoding="ascii", errors="replace").split() if recorded.is_file() else []
    expected = item.sha256 or (noted[0] if noted else None)
    if sha256 == expected:
        return FileCheck(path, "ok", sha256, expected)
    if item.unpacked_sha256 is not None:  # the same data, packed by another gzip
        same = _unpacked_sha256(path) == item.unpacked_sha256
        return FileCheck(path, "ok" if same else "altered", sha256, expected)
    return FileCheck(path, "altered" if expected else "unknown", sha256, expected)


def _unpacked_sha256(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except (OSError, EOFError, zlib.error):
        return None
    return digest.hexdigest()


def _with_sources(known: Card) -> tuple[Card, ...]:
    made_from = [name for name in (known.cut_from, known.judged_by) if name]
    return (known, *(card(name) for name in made_from))
