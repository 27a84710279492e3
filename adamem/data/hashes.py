"""SHA-256 of files, remembered by size and time of change so that a large file is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from adamem.data.places import cache_folder
from adamem.errors import StorageError
from adamem.files import sha256_file, write_json

_SETTLED_NS = 2_000_000_000  # a file younger than this could change again within one tick of its clock


def known_sha256(path: Path) -> str:
    """The file's hex SHA-256; from memory where size and times are those of the last reading."""
    note = cache_folder() / "hashes" / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]}.json"
    stamp = stamp_of(path)
    try:
        remembered: dict[str, Any] = json.loads(note.read_text())
        if remembered["stamp"] == stamp:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no note, or not one of ours: read the file
    found = sha256_file(path)
    if stamp_of(path) == stamp and time.time_ns() - stamp["changed"] > _SETTLED_NS:
        with contextlib.suppress(StorageError):  # a read-only cache costs time, not correctness
            write_json(note, {"path": str(path), "stamp": stamp, "sha256": found})
    return found


def stamp_of(path: Path) -> dict[str, int]:
    """What changes when a file does: size, time of change in ns, inode."""
    found = path.stat()
    return {"size": found.st_size, "changed": max(found.st_mtime_ns, found.st_ctime_ns), "inode": found.st_ino}
