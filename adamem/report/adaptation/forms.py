"""A collection that asks in more than one form: what each gains, where one form is far harder than another."""

from __future__ import annotations

from collections.abc import Mapping

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.adaptation.koziev import WHETHER, WHICH
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import ArmResult, Gathered, SetResult
from adamem.report.adaptation.tables import Records, change, label, named
from adamem.report.document import Cell, Column, Group, Table

EXPLAINED: Mapping[str, str] = {
    WHETHER: "says the fact in another order of its words and asks whether it holds",
    WHICH: "has an interrogative in the place of what is asked",
}
"""What a question of a form does."""
_ASKED = (0, 1)
"""Levels whose questions have forms."""


def forms(gathered: Gathered) -> Table | None:
    """Each arm at levels a and b, by the form of the question."""
    groups, records = [], Records()
    told = [one for one in gathered.sets if has_forms(one)]
    columns = list(dict.fromkeys(column for one in told for column in _columns(one)))
    for one in told:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            cells = [Cell(named(one, arm))]
            for level, form in columns:
                if form not in arm.forms(level):
                    cells.append(Cell(wording.NOTHING))
                    continue
                test = arm.change(level, form=form)
                before, after = (float(arm.pooled(level, stage, form=form).mean()) for stage in (0, -1))
                cells.append(Cell(f"{wording.score(before)} → {wording.score(after)}", change(test)))
                low, high = bounds(test)
                records.append(
                    {
                        "set": one.key,
                        "arm": arm.name,
                        "level": LEVELS[level],
                        "form": form,
                        "seeds": len(arm.streams),
                        "questions": test.queries,
                        "before": before,
                        "after": after,
                        "difference": test.difference,
                        "low": low,
                        "high": high,
                        "p": test.p_value,
                    }
                )
            rows.append(tuple(cells))
        groups.append(Group(label(one), tuple(rows)))
    if not records:
        return None
    known = {form for _, form in columns}
    return Table(
        "forms",
        "Recall@1 by the form of the question, before the first task → after the last",
        (
            Column("arm", number=False),
            *(Column(f"{'abc'[level]}: “{form}”", _counted(told, level, form)) for level, form in columns),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            f"{explained(known)} Documents embedded anew. Small print: the change in points of 0.01, with a 95 % "
            "interval over what they are about.",
        ),
    )


def has_forms(one: SetResult) -> bool:
    """Whether some level of a set asks in more than one form."""
    return any(len(one.base.forms(level)) > 1 for level in _ASKED)


def explained(known: set[str]) -> str:
    """What the forms are, in sentences."""
    told = [f"A question of the form “{form}” {what}." for form, what in EXPLAINED.items() if form in known]
    return " ".join(told)


def sentence(arm: ArmResult) -> str:
    """How much of what an arm gains at level a is of which form; empty where there are not two."""
    names = arm.forms(0)
    if len(names) < 2:
        return ""
    parts = {name: arm.change(0, form=name).difference * arm.asked(0, name) / arm.asked(0) for name in names}
    told = []
    for name in sorted(names, key=lambda name: -abs(parts[name])):
        before, after = (wording.score(float(arm.pooled(0, stage, form=name).mean())) for stage in (0, -1))
        what = f"“{name}”, which {EXPLAINED[name]}" if name in EXPLAINED else f"“{name}”"
        told.append(f"{wording.points(parts[name])} come from the form {what} ({before} to {after})")
    return f"Of the {wording.points(sum(parts.values()))} points of level a, {wording.listed(told)}."


def _columns(one: SetResult) -> list[tuple[int, str]]:
    return [(level, form) for level in _ASKED for form in one.base.forms(level)]


def _counted(sets: list[SetResult], level: int, form: str) -> str:
    return f"{wording.listed([f'{one.base.asked(level, form):,}' for one in sets])} questions"
