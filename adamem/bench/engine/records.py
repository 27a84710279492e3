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

from adamem.bench.pieces import Piece, PieceFolder, PiecesRun

FILE = "engine.json"
FORMAT = 2
"""2: whole searches are timed, and words that queries share with their evidence counted."""
EngineRun = PiecesRun


class EngineFolder(PieceFolder):
    """Reads and writes one run's folder."""

    FILE = FILE
    FORMAT = FORMAT
    ABOUT = "the engine"


def is_engine(path: Path) -> bool:
    """Whether the folder is of a run on the engine."""
    return EngineFolder.is_at(path)


__all__ = ["FILE", "FORMAT", "EngineFolder", "EngineRun", "Piece", "is_engine"]
