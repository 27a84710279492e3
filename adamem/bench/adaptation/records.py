"""What a run on adaptation writes down.

Its record is ``adaptation.json``; `adamem.bench.pieces` has the layout of the folder. Pieces, for a sequence of tasks
SET, a seed N and an arm:

* ``SET.N.questions``    ``level`` int8 (q,), from 0 for a; ``task`` int16 (q,), -1 at level c; ``key`` int64 (q,): one
  question has one in every seed; ``group`` int64 (q,): what it is about has one likewise; ``form`` str (q,);
  ``query``, ``document`` int32: judgements by number; ``documents`` int32 (2,): how many are the sequence's, and how
  many there are with those of level c
* ``SET.N.ARM``          ``anew`` (s, q, 10): rows with all documents embedded anew, -1 where there is none; the first
  stage is the untouched encoder; after the last task, where documents move, ``stale``, ``bridged`` (q, 10), with the
  documents as they were (`adamem.bench.adaptation.stream.KEPT`), and ``mixed`` (shares, q), the first row where a share
  of them is embedded anew; ``after`` int16 (s,): tasks learnt; ``steps``, ``nbytes`` int64 (s,), ``learning_seconds``
  (s,), up to there; ``embedding_seconds`` (s,): of the sequence's documents; ``alarms`` (s, 5); ``norms``
  (s - 1, layers); of arms with a gate ``refused`` bool (s,), ``marks`` (s, 2): MRR@10 of what was in use and of the
  candidate, NaN at first, ``examined`` int32 (s,): how many questions, and ``exam_seconds`` (s,), of each exam
* ``acquisition.SET.N.STEPS``  STEPS are those of a fact's own update. ``anew``, ``stale`` int32 (c, w): the rank of
  each question's best answer, from 1, when ``done`` int32 (c,) updates were done; ``taught`` int32 (p,): the number of
  each taught fact's update, from 0; ``fact`` int16 (w,): of each question, facts from p on being never taught; ``key``,
  ``group``, ``form`` (w,) as above; ``update_ns`` int64 (updates,); ``pool``, ``embedding_ns``
* ``serving.HOW.N``      HOW is ``lora`` or ``query-map``; all times in nanoseconds since its beginning: ``searches``
  int64 (n, 2): when each began and how long it took; ``windows`` int64 (w, 11): which of `WINDOWS`, begin, end,
  lessons, which of `STANDINGS`, then how long each of `PARTS` took (`adamem.bench.adaptation.serving`); ``added`` int64
  (f,): when each fact was; ``checks`` int64 (c, 3): a fact, when it was asked for, and its rank, 0 where it was not
  found; ``memory`` int64 (m, 3): when, and the bytes resident in the process that serves and in the one that learns;
  ``plain_ns``, ``adapted_ns``, ``map_ns`` int64 (q,): one query embedded as it was, by what was learnt, and its vector
  alone mapped (by the query map, or by a bridge)
"""

from __future__ import annotations

from pathlib import Path

from adamem.bench.pieces import Piece, PieceFolder, PiecesRun

FILE = "adaptation.json"
FORMAT = 3
AdaptationRun = PiecesRun


class AdaptationFolder(PieceFolder):
    """Reads and writes one run's folder."""

    FILE = FILE
    FORMAT = FORMAT
    ABOUT = "adaptation"
    SAYS_WHICH_PART = True


def is_adaptation(path: Path) -> bool:
    """Whether the folder is of a run on adaptation."""
    return AdaptationFolder.is_at(path)


__all__ = ["FILE", "FORMAT", "AdaptationFolder", "AdaptationRun", "Piece", "is_adaptation"]
