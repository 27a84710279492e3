"""What a run on drift writes down.

Its record is ``drift.json``; `adamem.bench.pieces` has the layout of the folder. Pieces, for a collection SET, a seed N
and a drift:

* ``SET.N.questions``  ``query``, ``document`` int32: judgements by number, sorted by question; ``key`` int64 (q,): one
  question has one in every seed; ``form`` str (q,)
* ``SET.N.DRIFT``      rows int32 (q, 10), -1 where there is none, as ``INDEX.VIEW``. Over old vectors: ``before`` (old
  questions), ``stale`` (new ones), ``procrustes``, ``low-rank-affine``, ``mean-drift`` (new ones over that bridge),
  ``query-map`` (old ones, mapped). Over new vectors: ``anew`` (built from them), ``placed`` (built from the old ones,
  in whose place they were put), ``kept-up`` (the same after its maintenance). Of each share, int32 (shares, q, 10):
  ``mixed`` (one index with vectors of both spaces); an index of each space, the old one asked ``bridged``,
  ``each-own`` (by the old questions) or by the new ones and merged ``by-rank``. And ``alarms`` (5,), as
  `adamem.bench.adaptation.drift.ALARMS` names them; ``ns.BRIDGE`` int64 (1000,): of one query
"""

from __future__ import annotations

from pathlib import Path

from adamem.bench.pieces import Piece, PieceFolder, PiecesRun

FILE = "drift.json"
FORMAT = 1
DriftRun = PiecesRun


class DriftFolder(PieceFolder):
    """Reads and writes one run's folder."""

    FILE = FILE
    FORMAT = FORMAT
    ABOUT = "drift"


def is_drift(path: Path) -> bool:
    """Whether the folder is of a run on drift."""
    return DriftFolder.is_at(path)


__all__ = ["FILE", "FORMAT", "DriftFolder", "DriftRun", "Piece", "is_drift"]
