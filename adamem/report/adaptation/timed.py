"""Whose times count, where pieces were measured beside other work or on several machines, and how tables say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adamem.bench.pieces import Piece, PiecesRun
from adamem.report.document import Cell
from adamem.report.pieces import are_elsewhere, numbered

_QUIET = (
    "Times are those of quiet pieces alone, in which the hypervisor took at most 2 % of the CPU time and other "
    "processes at most 5 %, wherever there is one."
)
_SEVERAL = (
    "Of what several machines measured, the times are those of the machine that measured most of a set, wherever there "
    "is one; they are not to be set beside another machine's."
)
_BUSY = "* The machine was busy with other things all the while: these times are longer than they would be by itself."


def is_quiet(piece: Piece) -> bool:
    """Whether neither others nor the hypervisor took a share of the CPU that spoils timings (`machine.Watch`)."""
    return not piece.fitness.notes


def mostly_on(pieces: Sequence[Piece]) -> str:
    """The fingerprint of the machine that measured most of them."""
    return Counter(piece.machine for piece in pieces).most_common(1)[0][0]


def counting(pieces: Sequence[Piece], machine: str) -> list[int]:
    """The places of those whose times count: of one machine, that one if it measured any, and quiet if any were."""
    if all(piece.machine != machine for piece in pieces):
        machine = mostly_on(pieces)
    there = [place for place, piece in enumerate(pieces) if piece.machine == machine]
    return [place for place in there if is_quiet(pieces[place])] or there


def timed_in(run: PiecesRun, pieces: Sequence[Piece], places: Sequence[int]) -> Cell:
    """In how many of the pieces the times that count were taken, and on which machine, where not on the run's first."""
    used = [pieces[place] for place in places]
    where = f"machine {numbered(run).get(used[0].machine, '?')}" if are_elsewhere(run, used) else ""
    if are_quiet(used):
        return Cell(f"{len(used)} of {len(pieces)} pieces", where)
    count = f"{len(used)}" if len(used) == len(pieces) else f"{len(used)} of {len(pieces)}"
    return Cell(f"{count}, none quiet*", where)


def are_quiet(pieces: Sequence[Piece]) -> bool:
    """Whether all of them were measured while the machine was quiet."""
    return all(is_quiet(piece) for piece in pieces)


def notes(run: PiecesRun, *told: str, pieces: Sequence[Piece], busy: bool) -> tuple[str, ...]:
    """What is said below a table of times of these pieces, after what is told; some may be a busy machine's."""
    several = [_SEVERAL] if are_elsewhere(run, pieces) else []
    return (" ".join((*told, _QUIET, *several)), *([_BUSY] if busy else []))
