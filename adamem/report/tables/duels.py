"""The fastest of each target recall against every other contestant, paired inside the blocks of the run."""

from __future__ import annotations

import math

from adamem.bench.curve import Quantity
from adamem.report import wording
from adamem.report.comparison import Comparison, Entry
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.tables.headline import shown_mark

BOUNDS = "≤ and ≥ mark bounds: all points of the one, or of the other, lie above the recall."
"""The note below a table in which there are some."""
_ASKED: tuple[Quantity, ...] = ("qps", "p50", "p99")


def duels(comparison: Comparison) -> Table | None:
    """One row a rival and target: by how much the fastest answers more queries, and single ones in less time.

    None where nobody has a rival.
    """
    groups, records = [], []
    for target in comparison.loaded.targets:
        ranked = comparison.ranked(target)
        if len(ranked) < 2:
            continue
        best, rivals = ranked[0], ranked[1:]
        groups.append(
            Group(
                f"{best.contestant.name} at {target:g} against",
                tuple(
                    (Cell(rival.contestant.name), *(_cell(comparison, best, rival, what) for what in _ASKED))
                    for rival in rivals
                ),
            )
        )
        records += [_record(comparison, best, rival) for rival in rivals]
    if not groups:
        return None
    return Table(
        "duels",
        "How many times as fast the fastest is: ratios inside the run's blocks, with their 95 % intervals",
        (
            Column("rival", number=False),
            Column("QPS", "one call"),
            Column("p50", "one query"),
            Column("p99", "one query"),
        ),
        tuple(groups),
        tuple(records),
        (BOUNDS,) if any(record[f"{what}_bound"] for record in records for what in _ASKED) else (),
    )


def _record(comparison: Comparison, best: Entry, rival: Entry) -> dict[str, CsvValue]:
    record: dict[str, CsvValue] = {
        "target_recall": best.target,
        "best": best.contestant.name,
        "rival": rival.contestant.name,
    }
    for what in _ASKED:
        margin = comparison.margin(best, rival, what)
        record |= {
            f"{what}_times": margin.value,
            f"{what}_times_low": margin.low,
            f"{what}_times_high": margin.high,
            f"{what}_bound": bound(best, rival, what),
        }
    return record


def _cell(comparison: Comparison, best: Entry, rival: Entry, what: Quantity) -> Cell:
    margin = comparison.margin(best, rival, what)
    if not math.isfinite(margin.value):
        return Cell(wording.NOTHING)
    return Cell(f"{bound(best, rival, what)}{wording.times(margin.value)}", wording.interval(margin))


def bound(best: Entry, rival: Entry, what: Quantity) -> str:
    """The sign of their ratio: whose points all lie above the target could be faster at it.

    "" where that holds of both, or of neither; exact search has one point only, and what it costs is what it costs.
    """
    mine, other = (bool(shown_mark(entry, entry.values[what])) for entry in (best, rival))
    return "" if mine == other else "≥" if mine else "≤"
