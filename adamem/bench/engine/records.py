"""What a run on the engine writes down.

::

    <run>/
      engine.json         what was run: resolved config, machine, versions, status
      raw/<piece>.npz     the arrays of a piece
      raw/<piece>.json    its `Piece`: what it is of, how it went, and the SHA-256 of its arrays

A piece is there whole or not at all, and is measured once. Pieces, for a set S and a contestant C:

* ``S.questions``    ``test`` and ``development``: int64, numbers of queries; ``query``, ``document``, ``grade``: all
  judgements, by number; ``document_of_row``; ``shared`` bool: of each of `test`, whether it has a word in common with
  its evidence
* ``S.development``  ``vector_rows``, ``lexical_rows`` int32 (d, 50), -1 where there is none, ``..._scores`` float32;
  ``number`` int64: the id of each row's memory
* ``S.C``            for each mode M: ``M_rows`` int32 (q, 10), ``M_scores`` float32, ``M_ns`` int64 (q, 2), search and
  fetch, ``M_whole_ns`` int64 (q,), the whole call; for the first contestant ``encode_ns`` int64
* ``answers``        for each way E to embed and A to ask: ``E_A_rows`` int32 (q, 10); to question i belongs answer i
* ``retention.C``    ``rows`` int32 (stages, q, 10), numbered as they came; ``added`` int64 (stages,); ``first``; and
  ``query``, ``row``, ``document``: the evidence, by place
* ``scale.N``, ``namespaces``: nanoseconds; see `adamem.bench.engine.scale`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adamem.bench.records import Fitness
from adamem.bench.store import RunFolder, npz
from adamem.errors import CorruptResult, DataError
from adamem.files import atomic_write, sha256_file, write_json
from adamem.types import AnyArray

FILE = "engine.json"
FORMAT = 2
"""2: whole searches are timed, and words that queries share with their evidence counted."""


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


class EngineRun(_Record):
    """engine.json."""

    format: int
    adamem: str
    name: str
    title: str
    study: str
    config: dict[str, Any]
    """The resolved `EngineExperiment`."""
    machine: dict[str, Any]
    versions: dict[str, str]
    started: str
    finished: str | None
    status: Literal["incomplete", "complete"]
    pieces: list[str]
    """Those that this run counts, in order."""
    absent: dict[str, str]
    """By set, why it could not be measured here."""


def is_engine(path: Path) -> bool:
    """Whether the folder is of a run on the engine."""
    return (Path(path) / FILE).is_file()


class EngineFolder:
    """Reads and writes one run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._raw = RunFolder(path)

    def run(self) -> EngineRun:
        """engine.json. Raises `DataError` if there is none, `CorruptResult` if it is not what was written."""
        if not is_engine(self.path):
            raise DataError(f"{self.path} holds no run on the engine; name a folder that `adamem run` made")
        run = _read(self.path / FILE, EngineRun)
        if run.format > FORMAT:
            raise CorruptResult(f"{self.path / FILE} has format {run.format}; this version reads up to {FORMAT}")
        return run

    def write_run(self, run: EngineRun) -> None:
        """Write engine.json."""
        write_json(self.path / FILE, run.model_dump(mode="json"))

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

    def findings(self, run: EngineRun) -> list[str]:
        """What is wrong with the raw files, as sentences; empty if nothing is."""
        out = [] if run.status == "complete" else ["engine.json says that the run is incomplete; run it again"]
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
