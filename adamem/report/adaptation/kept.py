"""What there is to be had where no document is embedded anew, side by side."""

from __future__ import annotations

from adamem.bench.adaptation.asked import LEVELS
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import TITLES, ArmResult, Gathered, SetResult
from adamem.report.adaptation.tables import ALPHA, VIEW_NAMES, Records, change, label, named
from adamem.report.document import Cell, Column, Group, Table

ARMS = ("query-only", "lora-queries", "lora", "lora-replay", "lora-gentle")
"""Those that are told: the first two leave documents as they are, the others are asked as if they did."""
MEASURE = "recall@10"
REFERENCE = "lora-queries"


def kept(gathered: Gathered) -> Table | None:
    """Each way to go on with old vectors, against a LoRA that was learnt for queries alone."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm, view in _ways(one):
            cells = [Cell(named(one, arm), "documents stay" if view == "anew" else VIEW_NAMES[view])]
            for level, name in enumerate(LEVELS):
                found = float(arm.pooled(level, -1, view, MEASURE).mean())
                reference = one.arms.get(REFERENCE)
                test = None if reference in (None, arm) else arm.against(reference, level, MEASURE, view=view)
                best = test is not None and test.p_value < ALPHA and test.difference > 0
                cells.append(Cell(wording.score(found), "" if test is None else change(test), best=best))
                low, high = (None, None) if test is None else bounds(test)
                records.append(
                    {
                        "set": one.key,
                        "arm": arm.name,
                        "documents": view,
                        "level": name,
                        MEASURE: found,
                        "difference": None if test is None else test.difference,
                        "low": low,
                        "high": high,
                        "p": None if test is None else test.p_value,
                    }
                )
            rows.append(tuple(cells))
        if len(rows) > 1:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "kept",
        "Where documents keep their vectors: recall@10 after the last task",
        (Column("arm", number=False), *(Column(title.split(": ")[0], title.split(": ")[1]) for title in TITLES)),
        tuple(groups),
        tuple(records),
        notes=(
            "Small print: the difference to the LoRA of queries alone on the same questions, in points of 0.01, with "
            "its 95 % interval over what they are about. Bold: ahead of it by a paired test at 5 % (uncorrected).",
        ),
    )


def _ways(one: SetResult) -> list[tuple[ArmResult, str]]:
    """Arms with the views in which they leave documents as they were."""
    out = []
    for arm in (one.arms[name] for name in ARMS if name in one.arms):
        out += [(arm, view) for view in (arm.views if len(arm.views) == 1 else arm.views[1:])]
    return out
