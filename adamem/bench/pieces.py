"""A run's folder of pieces: each is there whole or not at all, knows what it is of, and is measured once.

::

    <run>/
      <study>.json        what was run: resolved config, machine, versions, status
      raw/<piece>.npz     the arrays of a piece
      raw/<piece>.json    its `Piece`: what it is of, how it went, and the SHA-256 of its arrays
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adamem.bench.records import Fitness
from adamem.bench.store import RunFolder, npz
from adamem.errors import CorruptResult, DataError
from adamem.files import atomic_write, sha256_file, write_json
from adamem.types import AnyArray


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Piece(_Record):
    """The record of one piece."""

    format: int
    name: str
    key: str
    """The hash of what it depends on."""
    spec: dict[str, Any]
    """What that is."""
    facts: dict[str, Any]
    """Whatever else was seen: counts, bytes, seconds."""
    started: str
    wall_seconds: float
    machine: str
    """The machine's fingerprint."""
    fitness: Fitness
    arrays: str
    """SHA-256 of the .npz."""


class PiecesRun(_Record):
    """<study>.json."""

    format: int
    adamem: str
    name: str
    title: str
    study: str
    config: dict[str, Any]
    """The resolved experiment."""
    machine: dict[str, Any]
    """That which measured most of the pieces."""
    others: list[dict[str, Any]] = []
    """Further machines that measured some, those with more first."""
    versions: dict[str, str]
    started: str
    finished: str | None
    status: Literal["incomplete", "complete"]
    pieces: list[str]
    """Those that this run counts, in order."""
    absent: dict[str, str]
    """By part, why it could not be measured here."""


class PieceFolder:
    """Reads and writes one run's folder; a study says what its record is called and what it measures."""

    FILE: ClassVar[str]
    FORMAT: ClassVar[int]
    ABOUT: ClassVar[str]
    """As in: holds no run on <about>."""
    SAYS_WHICH_PART: ClassVar[bool] = False
    """Whether the report of a run that is not complete says which part of it there is: then that is no fault."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._raw = RunFolder(path)

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether the folder is of a run of this study."""
        return (Path(path) / cls.FILE).is_file()

    def run(self) -> PiecesRun:
        """The run's record. Raises `DataError` if there is none, `CorruptResult` if it is not what was written."""
        if not self.is_at(self.path):
            raise DataError(f"{self.path} holds no run on {self.ABOUT}; name a folder that `adamem run` made")
        run = _read(self.path / self.FILE, PiecesRun)
        if run.format > self.FORMAT:
            raise CorruptResult(
                f"{self.path / self.FILE} has format {run.format}; this version reads up to {self.FORMAT}"
            )
        return run

    def write_run(self, run: PiecesRun) -> None:
        """Write the run's record."""
        write_json(self.path / self.FILE, run.model_dump(mode="json"))

    def has(self, name: str, key: str) -> bool:
        """Whether a piece was measured whole, of just this."""
        file = self._json(name)
        if not file.is_file():
            return False
        piece = _read(file, Piece)
        return piece.key == key and self._npz(name).is_file() and sha256_file(self._npz(name)) == piece.arrays

    def piece(self, name: str) -> Piece:
        """The record of a piece. Raises `CorruptResult`."""
        if not self._json(name).is_file():
            raise CorruptResult(f"the raw file {self._json(name)} is missing; run the experiment again")
        return _read(self._json(name), Piece)

    def arrays(self, name: str) -> dict[str, AnyArray]:
        """The arrays of a piece. Raises `CorruptResult`."""
        return self._raw.arrays(f"{name}.npz")

    def write(self, piece: Piece, arrays: dict[str, AnyArray]) -> Piece:
        """Write a piece, its record last; gives the record as it was written."""
        with atomic_write(self._npz(piece.name)) as stream:
            stream.write(npz(arrays))
        whole = piece.model_copy(update={"arrays": sha256_file(self._npz(piece.name))})
        write_json(self._json(piece.name), whole.model_dump(mode="json"))
        return whole

    def findings(self, run: PiecesRun) -> list[str]:
        """What is wrong with the raw files, as sentences; empty if nothing is."""
        whole = run.status == "complete" or self.SAYS_WHICH_PART
        out = [] if whole else [f"{self.FILE} says that the run is incomplete; run it again"]
        for name in run.pieces:
            try:
                piece = self.piece(name)
                if not self._npz(name).is_file():
                    out.append(f"raw/{name}.npz is missing")
                elif sha256_file(self._npz(name)) != piece.arrays:
                    out.append(f"raw/{name}.npz is not what was written: its SHA-256 differs from its record's")
                else:
                    self.arrays(name)
            except CorruptResult as error:
                out.append(str(error))
        return out

    def _json(self, name: str) -> Path:
        return self._raw.raw / f"{name}.json"

    def _npz(self, name: str) -> Path:
        return self._raw.raw / f"{name}.npz"


Record = TypeVar("Record", bound=_Record)


def _read(path: Path, model: type[Record]) -> Record:
    try:
        return model.model_validate_json(path.read_bytes())
    except (ValidationError, ValueError) as error:
        raise CorruptResult(
            f"{path} is not what was written ({str(error).splitlines()[0]}); delete it and run the experiment again"
        ) from error
