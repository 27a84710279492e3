"""Memories as a file to hand on: a zip of a manifest, one JSON object a memory, and their vectors.

If asked, what their encoder has learnt is in it too.

The same memories give the same bytes. A package that comes in is believed in nothing: names, sizes, checksums and every
single memory are looked at before anything is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from adamem.errors import CorruptResult, DataError, InvalidInput, StorageError
from adamem.files import atomic_write, canonical_json
from adamem.memory.clock import to_datetime, to_micros
from adamem.memory.drafts import MAX_LINKS, NewMemory, check_draft, check_memory_id, check_name
from adamem.memory.learning import Adaptation
from adamem.memory.rows import to_row
from adamem.memory.store import EncoderRow
from adamem.types import FloatArray

_KIND, _VERSION = "adamem memories", 2
_PLAIN = 1
"""The version of a package without an adaptation, which an older AdaMem takes in as well."""
_MANIFEST, _MEMORIES, _VECTORS, _ADAPTATION = "manifest.json", "memories.jsonl", "vectors.npy", "adaptation.bin"
_MEMBERS = (_MANIFEST, _MEMORIES, _VECTORS, _ADAPTATION)
_MOST_MANIFEST = 1 << 20
_MOST_LINE = 64 << 20  # far more than the limits of `drafts` allow, however it is escaped
_TIMES = ("created", "updated", "valid_from", "valid_to", "expires")
_COPIED = ("text", "type", "slot", "question", "topic", "credibility", "revision")


@dataclass(frozen=True, slots=True)
class Packed:
    """One memory of a package."""

    number: int
    """Its id where it comes from."""
    namespace: str
    row: dict[str, Any]
    """As `Store.insert` takes it."""


def write_package(
    path: Path,
    rows: Iterable[tuple[str, Any, bytes]],
    *,
    encoder: EncoderRow | None,
    licence: str | None,
    adaptation: Adaptation | None = None,
) -> int:
    """Write memories (namespace, row of `memories`, vector), by id, to a file that is there whole or not at all.

    Returns how many.
    """
    # Beside the package, where there must be room for it anyway: the folder for temporary files may be memory.
    folder = path.absolute().parent
    with tempfile.TemporaryFile(dir=folder) as lines, tempfile.TemporaryFile(dir=folder) as flat:
        said, bare = hashlib.sha256(), hashlib.sha256()
        names: set[str] = set()
        count = 0
        for namespace, row, vector in rows:
            line = canonical_json(_plain(namespace, row)).encode() + b"\n"
            lines.write(line)
            said.update(line)
            flat.write(vector)
            names.add(namespace)
            count += 1
        header = io.BytesIO()
        shape = (count, encoder.dim if encoder is not None else 0)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        bare.update(header.getvalue())
        flat.seek(0)
        while piece := flat.read(1 << 20):
            bare.update(piece)
        manifest: dict[str, Any] = {
            "kind": _KIND,
            "version": _PLAIN if adaptation is None else _VERSION,
            "memories": count,
            "namespaces": len(names),
            "licence": licence,
            "encoder": None if encoder is None else _named(encoder),
            "files": {
                _MEMORIES: {"bytes": lines.tell(), "sha256": said.hexdigest()},
                _VECTORS: {"bytes": len(header.getvalue()) + flat.tell(), "sha256": bare.hexdigest()},
            },
        }
        model = b"" if adaptation is None else adaptation.model
        if adaptation is not None:
            manifest["adapted"] = _named(adaptation.base)
            manifest["files"][_ADAPTATION] = {"bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}
        with atomic_write(path) as out, zipfile.ZipFile(out, "w") as package:
            _member(package, _MANIFEST, [io.BytesIO((json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())])
            lines.seek(0)
            _member(package, _MEMORIES, [lines])
            flat.seek(0)
            header.seek(0)
            _member(package, _VECTORS, [header, flat])
            if adaptation is not None:
                _member(package, _ADAPTATION, [io.BytesIO(model)])
    return count


def is_package(path: Path) -> bool:
    """Whether a file that is there looks like a package, whole or not; a file that may not be read does not."""
    try:
        with zipfile.ZipFile(path) as package:
            return _MANIFEST in package.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


class Package:
    """A package that was opened, and found to be whole.

    Parameters
    ----------
    path
        The file.
    most_bytes
        What its parts may have together.

    Raises
    ------
    StorageError
        if it cannot be read.
    DataError
        if it is no package, of a newer version, or larger than allowed.
    CorruptResult
        if it is not what was written.
    """

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}; check the path") from error
        except zipfile.BadZipFile as error:
            raise DataError(f"{path} is no package of memories ({error}); name a file that `export` wrote") from error
        try:
            self._check_members(most_bytes)
            self.manifest = self._manifest()
            self._check_sums()
        except BaseException:
            self._zip.close()
            raise

    @property
    def count(self) -> int:
        """How many memories it says that it has."""
        return int(self.manifest["memories"])

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    @property
    def fingerprint(self) -> str | None:
        """Of the encoder whose vectors it has."""
        encoder = self.manifest["encoder"]
        return None if encoder is None else str(encoder["fingerprint"])

    @property
    def licence(self) -> str | None:
        """Under which its memories were handed on, if that was said."""
        said = self.manifest.get("licence")
        return None if said is None else str(said)

    @property
    def adapted(self) -> str | None:
        """The fingerprint of the encoder that has learnt what is in it, or None."""
        return str(self.manifest["adapted"]["fingerprint"]) if _ADAPTATION in self.manifest["files"] else None

    def adaptation(self) -> bytes:
        """What that encoder has learnt, for `open_adaptation`."""
        return self._zip.read(_ADAPTATION)

    def memories(self) -> Iterator[Packed]:
        """One after the other, checked. Raises `CorruptResult` for one that no engine would have kept."""
        seen: set[int] = set()
        with self._zip.open(_MEMORIES) as lines:
            place = 0
            while line := lines.readline(_MOST_LINE):
                place += 1
                try:
                    packed = _packed(json.loads(line))
                except (InvalidInput, ValueError, KeyError, TypeError, RecursionError) as error:
                    raise CorruptResult(f"memory {place} of {self._path} is none that can be kept: {error}") from error
                if packed.number in seen:
                    raise CorruptResult(f"{self._path} has the memory {packed.number} twice; export it again")
                seen.add(packed.number)
                yield packed
        if len(seen) != self.manifest["memories"]:
            raise CorruptResult(f"{self._path} has {len(seen)} memories, not the {self.manifest['memories']} it says")

    def vectors(self, count: int) -> Iterator[FloatArray]:
        """Pieces of theirs, float32 (count, d) and the last one what is left, in the same order.

        Raises `CorruptResult` where there are fewer or more than memories.
        """
        dim = int(self.manifest["encoder"]["dim"])
        with self._zip.open(_VECTORS) as flat:
            try:
                version = np.lib.format.read_magic(flat)
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(flat)
            except ValueError as error:
                raise CorruptResult(f"the vectors of {self._path} are not what was written: {error}") from error
            if version != (1, 0) or fortran or dtype != np.dtype("<f4") or shape != (self.manifest["memories"], dim):
                raise CorruptResult(f"the vectors of {self._path} are {dtype} {shape}, not what its manifest says")
            seen = 0
            while piece := flat.read(4 * dim * count):
                if len(piece) % (4 * dim):
                    raise CorruptResult(f"the vectors of {self._path} end in the middle of one")
                seen += len(piece) // (4 * dim)
                yield np.frombuffer(piece, dtype="<f4").reshape(-1, dim).astype(np.float32, copy=False)
            if seen != self.count:
                raise CorruptResult(f"{self._path} has {seen} vectors for {self.count} memories; export it again")

    def _check_members(self, most: int) -> None:
        names = [info.filename for info in self._zip.infolist()]
        if _MANIFEST not in names:
            raise DataError(f"{self._path} is no package of memories: it has no {_MANIFEST}")
        for name in names:
            if name not in _MEMBERS:
                raise DataError(
                    f"{self._path} has {name[:100]!r} in it, which no package of memories has; it is refused"
                )
        if len(set(names)) != len(names):
            raise DataError(f"{self._path} has two files of one name in it; it is refused")
        for info in self._zip.infolist():
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{info.filename} in {self._path} is encrypted or packed in an unknown way; export it again"
                )
        size = sum(info.file_size for info in self._zip.infolist())
        if size > most:
            raise DataError(
                f"{self._path} unpacks to {size:,} bytes, and {most:,} are allowed; "
                f"if you trust it, say max_bytes={size}"
            )

    def _manifest(self) -> dict[str, Any]:
        info = self._zip.getinfo(_MANIFEST)
        if info.file_size > _MOST_MANIFEST:
            raise DataError(f"the manifest of {self._path} has {info.file_size:,} bytes; it is no package of memories")
        try:
            with self._zip.open(info) as handle:
                said = json.loads(handle.read(_MOST_MANIFEST + 1))
            if said["kind"] != _KIND:
                raise DataError(f"{self._path} is a package of {str(said['kind'])[:60]!r}, not of memories")
            if not isinstance(said["version"], int) or said["version"] > _VERSION:
                raise DataError(
                    f"{self._path} was written by a newer AdaMem (its format is {said['version']}, this one knows up "
                    f"to {_VERSION}); upgrade: pip install -U adamem"
                )
            encoder = said["encoder"]
            is_sound = isinstance(said["memories"], int) and said["memories"] >= 0
            if encoder is not None:
                is_sound = is_sound and isinstance(encoder["dim"], int) and 0 < encoder["dim"] <= 1 << 16
                is_sound = is_sound and isinstance(encoder["fingerprint"], str)
            files = said["files"]
            is_sound = is_sound and {_MEMORIES, _VECTORS} <= set(files) <= {_MEMORIES, _VECTORS, _ADAPTATION}
            if _ADAPTATION in files:
                is_sound = is_sound and isinstance(said["adapted"]["fingerprint"], str)
            if not is_sound or not all(
                isinstance(one, dict) and isinstance(one["bytes"], int) for one in files.values()
            ):
                raise CorruptResult(f"the manifest of {self._path} makes no sense; export it again")
        except (ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
            if isinstance(error, (DataError, CorruptResult)):
                raise
            raise CorruptResult(f"the manifest of {self._path} cannot be read ({error}); export it again") from error
        found: dict[str, Any] = said
        return found

    def _check_sums(self) -> None:
        for name, wanted in self.manifest["files"].items():
            try:
                info = self._zip.getinfo(name)
                if info.file_size != wanted["bytes"]:
                    raise CorruptResult(f"{name} in {self._path} has {info.file_size} bytes, not {wanted['bytes']}")
                digest, left = hashlib.sha256(), info.file_size
                with self._zip.open(info) as handle:
                    while piece := handle.read(1 << 20):
                        left -= len(piece)
                        if left < 0:  # more comes out than was said
                            raise CorruptResult(f"{name} in {self._path} is longer than it says; it is refused")
                        digest.update(piece)
            except (
                zipfile.BadZipFile,
                zlib.error,
                KeyError,
                EOFError,
                OSError,
                ValueError,
                NotImplementedError,
            ) as error:
                if isinstance(error, CorruptResult):
                    raise
                raise CorruptResult(f"{name} in {self._path} cannot be read ({error}); export it again") from error
            if left or digest.hexdigest() != wanted["sha256"]:
                raise CorruptResult(f"{name} in {self._path} is not what was written; export it again")


def _named(encoder: EncoderRow) -> dict[str, Any]:
    return {"fingerprint": encoder.fingerprint, "name": encoder.name, "dim": encoder.dim}


def _plain(namespace: str, row: Any) -> dict[str, Any]:
    said: dict[str, Any] = {name: getattr(row, name) for name in _COPIED}
    said |= {
        name: None if getattr(row, name) is None else to_datetime(getattr(row, name)).isoformat() for name in _TIMES
    }
    said |= {name: json.loads(getattr(row, name)) for name in ("metadata", "keywords", "links")}
    # A memory and what was merged with it are one; and a file of an older engine may have more than can be added.
    said["links"] = list(dict.fromkeys(said["links"]))[:MAX_LINKS]
    return said | {"id": row.id, "namespace": namespace}


def _packed(said: Any) -> Packed:
    if not isinstance(said, Mapping):
        raise InvalidInput("it is no JSON object")
    moments = {name: None if said[name] is None else datetime.fromisoformat(said[name]) for name in _TIMES}
    if moments["valid_from"] is None or moments["created"] is None or moments["updated"] is None:
        raise InvalidInput("it does not say since when it holds, or when it was added or changed")
    draft = check_draft(
        NewMemory(
            text=said["text"],
            type=said["type"],
            slot=said["slot"],
            question=said["question"],
            metadata=said["metadata"],
            keywords=said["keywords"],
            links=said["links"],
            credibility=said["credibility"],
            valid_from=moments["valid_from"],
        )
    )
    row = to_row(draft, now=0)
    row |= {name: None if moment is None else to_micros(moment, what=name) for name, moment in moments.items()}
    revision, topic = said["revision"], said["topic"]
    if isinstance(revision, bool) or not isinstance(revision, int) or not 1 <= revision < 1 << 62:
        raise InvalidInput(f"its revision is {revision!r}")
    if draft.topic is None and topic is not None:
        if not isinstance(topic, str) or not topic.startswith("memory:"):
            raise InvalidInput(f"its topic is {topic!r}")
        row["topic"] = check_name(topic, what="topic")
    row["revision"] = revision
    return Packed(check_memory_id(said["id"]), check_name(said["namespace"], what="namespace"), row)


def _member(package: zipfile.ZipFile, name: str, parts: list[IO[bytes]]) -> None:
    # Not packed, and of one date: so the bytes depend on the memories alone.
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    with package.open(info, "w", force_zip64=True) as out:
        for part in parts:
            while piece := part.read(1 << 20):
                out.write(piece)
