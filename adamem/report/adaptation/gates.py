"""How many updates the gate refused, and what that saved."""

from __future__ import annotations

import numpy as np

from adamem.bench.adaptation.arms import GATED
from adamem.bench.adaptation.asked import LEVELS
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import TITLES, Gathered
from adamem.report.adaptation.tables import Records, label, named, span
from adamem.report.document import Cell, Column, Group, Table
from adamem.types import DoubleArray


def gates(gathered: Gathered) -> Table | None:
    """Each arm with a gate, against the same arm without."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (one.arms[name] for name in GATED if name in one.arms):
            bare = one.arms.get(GATED[arm.name])
            refused = np.concatenate([stream.arrays["refused"][1:] for stream in arm.streams])
            marks = np.concatenate([stream.arrays["marks"][1:] for stream in arm.streams])
            moved = marks[:, 1] - marks[:, 0]
            examined = np.sort(np.concatenate([stream.arrays["examined"][1:] for stream in arm.streams]))
            exam = float(np.mean([arm.streams[place].arrays["exam_seconds"][1:].mean() for place in arm.timed]))
            tests = [None if bare is None else arm.against(bare, level) for level in range(len(LEVELS))]
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(f"{int(refused.sum())} of {refused.size}"),
                    Cell(_spread(moved[~refused])),
                    Cell(_spread(moved[refused])),
                    *(
                        Cell(wording.NOTHING)
                        if test is None or not test.queries
                        else Cell(wording.points(test.difference), span(test))
                        for test in tests
                    ),
                    Cell(wording.seconds(exam), f"{examined[0]:,} to {examined[-1]:,} questions"),
                )
            )
            record: dict[str, str | int | float | None] = {
                "set": one.key,
                "arm": arm.name,
                "without": GATED[arm.name],
                "seeds": len(arm.streams),
                "updates": int(refused.size),
                "refused": int(refused.sum()),
                "exam_seconds": exam,
                "least_examined": int(examined[0]),
                "most_examined": int(examined[-1]),
            }
            for name, test in zip(LEVELS, tests, strict=True):
                low, high = (None, None) if test is None else bounds(test)
                record |= {
                    f"{name}_saved": None if test is None else test.difference,
                    f"{name}_low": low,
                    f"{name}_high": high,
                }
            records.append(record)
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "gates",
        "The gate: how many updates it refused, and what that saved (recall@1 after the last task)",
        (
            Column("arm", number=False),
            Column("refused", "of updates"),
            Column("taken", "change of MRR@10"),
            Column("refused", "change of MRR@10"),
            *(Column(title.split(": ")[0], "against no gate") for title in TITLES),
            Column("an exam"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "After each task the candidate is asked the questions of all tasks so far that were held out and never "
            f"taught ({gathered.experiment.variants.held_out:.0%} of each task's), and refused if their MRR@10 fell by "
            f"more than {gathered.experiment.variants.tolerance:g}; then the former weights stay. One answer of each "
            "is right to the exam, as to the engine's, which knows of no other. Against no gate: the difference to the "
            "same arm without one, in points of 0.01, on the questions of the seeds that both have, with a 95 % "
            "interval; that arm is taught the held-out lessons too. Where pairs are shuffled, those that are held out "
            "are not.",
        ),
    )


def refusals(gathered: Gathered) -> str:
    """How many updates were refused, in a sentence; empty where there was no gate."""
    told = []
    for name in GATED:
        arms = [one.arms[name] for one in gathered.sets if name in one.arms]
        refused = [bool(no) for arm in arms for stream in arm.streams for no in stream.arrays["refused"][1:]]
        if refused:
            told.append(f"{sum(refused)} of {len(refused)} updates of “{arms[0].title}”")
    return f"The gate refused {wording.listed(told)}." if told else ""


def _spread(moved: DoubleArray) -> str:
    if not moved.size:
        return wording.NOTHING
    low, high = wording.points(float(moved.min())), wording.points(float(moved.max()))
    return low if low == high else f"{low} to {high}"
