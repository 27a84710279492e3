"""What is left of what was learnt first."""

from __future__ import annotations

from adamem.bench.adaptation.asked import LEVELS
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import Gathered
from adamem.report.adaptation.tables import Records, change, label, named
from adamem.report.document import Cell, Column, Group, Table

_MEASURES = ("recall@1", "recall@10")


def retention(gathered: Gathered) -> Table | None:
    """The first task's questions: untouched, right after it was learnt, and after the last task."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none" and len(one.facts["tasks"]) > 1):
            cells = []
            for level in (0, 1):
                for measure in _MEASURES:
                    at = arm.first_task(level, measure)
                    if at is None:
                        cells.append(Cell(wording.NOTHING))
                        continue
                    told = (at.untouched, at.right_after, at.last)
                    (low, high), (gained_low, gained_high) = bounds(at.kept), bounds(at.gained)
                    cells.append(Cell(" → ".join(wording.score(value) for value in told), change(at.kept)))
                    records.append(
                        {
                            "set": one.key,
                            "arm": arm.name,
                            "level": LEVELS[level],
                            "measure": measure,
                            "seeds": len(arm.streams),
                            "questions": at.kept.queries,
                            "untouched": told[0],
                            "right_after": told[1],
                            "after_the_last": told[2],
                            "since_right_after": at.kept.difference,
                            "since_right_after_low": low,
                            "since_right_after_high": high,
                            "since_untouched": at.gained.difference,
                            "since_untouched_low": gained_low,
                            "since_untouched_high": gained_high,
                        }
                    )
            if any(cell.detail for cell in cells):
                rows.append((Cell(named(one, arm)), *cells))
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "retention",
        "The first task: untouched → right after it was learnt → after the last task",
        (
            Column("arm", number=False),
            *(Column(f"level {letter}", measure) for letter in "ab" for measure in _MEASURES),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "The distinct questions of the task that each seed learns first (seeds draw the order), documents embedded "
            "anew. Small print: after the last task against right after the first, in points of 0.01, with a 95 % "
            "interval over what they are about; against the untouched encoder in the CSV.",
        ),
    )
