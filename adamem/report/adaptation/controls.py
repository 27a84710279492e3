"""Whether what must not help does not."""

from __future__ import annotations

import numpy as np

from adamem.bench.adaptation.arms import FOLLOWS
from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.paired import Paired
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import CONTROLS, TITLES, ArmResult, Gathered
from adamem.report.adaptation.tables import Records, label, named, span
from adamem.report.document import Cell, Column, Group, Table

SHUFFLED = "shuffled"
"""The control that has to fall to chance: what it is taught is wrong."""


def controls(gathered: Gathered) -> Table | None:
    """Each control at every level, with chance, and how far it has moved the documents."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (one.arms[name] for name in CONTROLS if name in one.arms):
            tests, after = [arm.change(level) for level in range(len(LEVELS))], arm.share(0, -1)
            chance, beside = chance_of(arm), one.arms.get(FOLLOWS.get(arm.name, "lora"))
            said = [above(tests[0]), *([at_chance(after, chance)] if arm.name == SHUFFLED else [])]
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(wording.score(after.value), wording.interval(after, "score")),
                    Cell(wording.score(float(arm.pooled(0, 0).mean()))),
                    Cell(wording.score(chance)),
                    *(Cell(wording.points(test.difference), span(test)) for test in tests),
                    Cell(
                        wording.fixed(arm.document_cosine, 3),
                        "" if beside is None else f"{beside.title}: {wording.fixed(beside.document_cosine, 3)}",
                    ),
                    Cell("; ".join(said)),
                )
            )
            record: dict[str, str | int | float | bool | None] = {
                "set": one.key,
                "arm": arm.name,
                "seeds": len(arm.streams),
                "after": after.value,
                "after_low": after.low,
                "after_high": after.high,
                "untouched": float(arm.pooled(0, 0).mean()),
                "chance": chance,
                "not_above_untouched": tests[0].low <= 0,
                "at_chance": after.low <= chance <= after.high,
                "document_cosine": arm.document_cosine,
                "document_cosine_beside": None if beside is None else beside.document_cosine,
            }
            for name, test in zip(LEVELS, tests, strict=True):
                low, high = bounds(test)
                record |= {
                    f"{name}_questions": test.queries,
                    f"{name}_difference": test.difference,
                    f"{name}_low": low,
                    f"{name}_high": high,
                }
            records.append(record)
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "controls",
        "What must not help (recall@1)",
        (
            Column("control", number=False),
            Column("level a", "after the last task"),
            Column("level a", "untouched"),
            Column("chance", "level a"),
            *(Column(title.split(": ")[0], "change in points") for title in TITLES),
            Column("documents’ cosine", "new with old"),
            Column("verdict", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Shuffled pairs join each question with the document of another, by the same recipe. They have two things "
            "to show: that they find no more than the untouched encoder, and whether they have fallen to chance, which "
            "is told by their interval at level a. Chance is the mean over questions of the documents that answer one, "
            "as a share of all that are searched. The random adapter is a LoRA of random matrices, scaled until "
            "documents have moved as far as LoRA moved them after the same task: by the mean cosine of a document’s "
            "new and old vector, which stands beside LoRA’s. What it loses is what moving so far costs by itself.",
        ),
    )


def sentence(gathered: Gathered) -> str:
    """Whether a control helps where it must not, and whether shuffled pairs have fallen to chance."""
    found = [(one.key, arm) for one in gathered.sets for name, arm in one.arms.items() if name in CONTROLS]
    if not found:
        return ""
    failed = [
        f"{arm.title} on {key} ({wording.points(arm.change(0).difference)} points {span(arm.change(0))})"
        for key, arm in found
        if arm.change(0).low > 0
    ]
    if failed:
        return f"A control helps where it must not: {wording.listed(failed)}; what is said above is not to be trusted."
    names = wording.listed(list(dict.fromkeys(f"“{arm.title}”" for _, arm in found)))
    said = f"Controls are not shown to find more than the untouched encoder (level a, recall@1): {names}."
    wrong = [(key, arm) for key, arm in found if arm.name == SHUFFLED]
    told = []
    for key, arm in wrong:
        after, chance = arm.share(0, -1), chance_of(arm)
        told.append(f"{key} {at_chance(after, chance)} ({wording.score(after.value)} against {wording.score(chance)})")
    if told:
        said += f" Taught shuffled pairs, recall@1 of level a is: {'; '.join(told)}."
    return said


def chance_of(arm: ArmResult, level: int = 0) -> float:
    """Recall@1 of a document drawn by chance: the mean over the questions of a level and over seeds."""
    return float(np.concatenate([one.chance(level) for one in arm.streams]).mean())


def above(test: Paired) -> str:
    """Whether a control finds more than the untouched encoder."""
    if test.low > 0:
        return "fails: above the untouched encoder"
    return "below the untouched encoder" if test.high < 0 else "not told apart from the untouched encoder"


def at_chance(after: Estimate, chance: float) -> str:
    """Whether the interval of a recall holds chance."""
    if after.low > chance:
        return "still above chance"
    if after.high < chance:
        return "below chance"
    return "at chance"
