"""Saved indexes beside the database: derived, so that whatever is wrong with them only costs building them again."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adamem.errors import AdaMemError, CorruptResult
from adamem.files import atomic_folder, content_key, sha256_file, storage_error, write_json
from adamem.memory.indexed import Indexed, IndexKind

_FORMAT = 2
_CURRENT = "current.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """An index and what it is of."""

    base: Indexed
    session: str
    """The name of the engine that wrote the write `covered`; see `Store.session_of`."""
    covered: int
    """Up to which write it is whole."""


class IndexFiles:
    """The saved indexes of one database, a folder a namespace and encoder.

    A save is written whole into a folder of a new name and fsynced before ``current.json`` names it; what was there
    before is removed after that.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, kind: IndexKind, saved: SavedIndex) -> None:
        """Write an index under a name."""
        home, base = self._folder / name, saved.base
        inner = f"{saved.covered}-{secrets.token_hex(4)}"
        with atomic_folder(home / inner) as scratch:
            base.save(scratch / "index")
            np.save(scratch / "ids.npy", base.ids)
            np.save(scratch / "hidden.npy", np.array(sorted(base.hidden), dtype=np.int64))
        said = {
            "format": _FORMAT,
            "folder": inner,
            "index": kind.name,
            "build": dict(kind.build),
            "session": saved.session,
            "covered": saved.covered,
            "sha256": {part: sha256_file(home / inner / part) for part in ("ids.npy", "hidden.npy")},
        }
        write_json(home / _CURRENT, {**said, "key": content_key(said)})
        for other in home.iterdir():
            if other.name not in {inner, _CURRENT}:
                shutil.rmtree(other, ignore_errors=True)

    def remove(self, namespace: int, *, but: str = "") -> None:
        """Remove what was saved of a namespace, `but` what is under one name. Raises `StorageError` if it cannot."""
        for home in self._folder.glob(f"{namespace}-*"):
            if home.name == but:
                continue
            try:
                shutil.rmtree(home)
            except OSError as error:
                raise storage_error(error, home) from error

    def load(self, name: str, kind: IndexKind) -> SavedIndex | None:
        """What was saved, or None where there is none that can be used."""
        home, said = self._folder / name, None
        while True:
            before = said
            try:
                said = _read(home / _CURRENT)
                if said is None or said["index"] != kind.name or said["build"] != dict(kind.build):
                    return None
                return _loaded(home / said["folder"], kind, said)
            except (AdaMemError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                # A writer may have put another one in its place meanwhile, and removed this one.
                if said is None or said == before:
                    _log.warning("the index %s cannot be used and is built again from the memories: %s", home, error)
                    return None


def _loaded(folder: Path, kind: IndexKind, said: dict[str, Any]) -> SavedIndex:
    for part, wanted in said["sha256"].items():
        if sha256_file(folder / part) != wanted:
            raise CorruptResult(f"{folder / part} is not what was written")
    hidden = set(np.load(folder / "hidden.npy").tolist())
    base = Indexed.load(kind, folder / "index", np.load(folder / "ids.npy"), hidden)
    return SavedIndex(base, str(said["session"]), int(said["covered"]))


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict) or said.get("format") != _FORMAT or said.pop("key", "") != content_key(said):
        raise CorruptResult(f"{path} is not what was written")
    return said
