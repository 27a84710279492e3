"""What an arm gains at levels a and b, and whether the general set pays for it."""

from __future__ import annotations

from collections.abc import Mapping

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.paired import Paired
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds, exact_interval, has_interval
from adamem.report.adaptation.gathered import OFFERED, TITLES, ArmResult, Gathered, SetResult
from adamem.report.adaptation.tables import HARDLY, Records, label, named, span, weak_notes
from adamem.report.document import Cell, Column, CsvValue, Group, Table

ALLOWED = 0.01
"""So much the general set may lose: one point."""
INVENTED = ("invented", "invented-renamed")
"""Sets whose facts were made up; the others are real texts."""
MEETS, LOSES, OPEN = "loses at most 1 point", "lost", "not decided"


def verdict(general: Paired) -> str:
    """Of the change of the general set: `MEETS` only where its interval lies above a loss of one point.

    Where no question differs, as many may be lost as the exact interval of none allows.
    """
    if not has_interval(general) and general.difference == 0:
        return MEETS if exact_interval(0.0, general.queries)[1] < ALLOWED else OPEN
    if general.low > -ALLOWED:
        return MEETS
    return LOSES if general.high < -ALLOWED else OPEN


def gains(gathered: Gathered) -> Table | None:
    """Recall@10 of each arm at each level against the untouched encoder, with what the general set says."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            tests = [arm.change(level, measure="recall@10") for level in range(len(LEVELS))]
            said = verdict(tests[2])
            rows.append(
                (
                    Cell(named(one, arm)),
                    *(
                        Cell(wording.points(test.difference), span(test), best=level < 2 and test.low > 0)
                        for level, test in enumerate(tests)
                    ),
                    Cell(said, f"{tests[2].queries:,} questions" + (f"; {HARDLY}" if one.can_hardly_lose else "")),
                )
            )
            records.append(_record(one, arm, tests, said))
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "gains",
        "Recall@10 after the last task against the untouched encoder, in points of 0.01",
        (
            Column("arm", number=False),
            *(Column(title.split(": ")[0], title.split(": ")[1]) for title in TITLES),
            Column("general set", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "All documents embedded anew. Small print: 95 % bootstrap intervals over distinct questions, each the mean "
            "over the seeds that ask it, against the untouched encoder. Bold: the interval lies above zero. The "
            "general set “loses at most 1 point” only where its interval lies above −1 point, and has “lost” where it "
            "lies below; else its questions do not decide it. Where none differs, that decides it only if there are "
            "enough of them (the exact interval of none lost). Nothing is corrected for the number of arms.",
            *weak_notes(gathered),
        ),
    )


def claim(gathered: Gathered) -> str:
    """On how many real sets an arm gains for certain while the general set loses at most one point."""
    real = [one for one in gathered.sets if one.key not in INVENTED and any(arm in OFFERED for arm in one.arms)]
    if not real:
        return ""
    met, undecided = {}, []
    for one in real:
        ahead = {
            arm.title: verdict(arm.change(2, measure="recall@10"))
            for name, arm in one.arms.items()
            if name in OFFERED and any(arm.change(level, measure="recall@10").low > 0 for level in (0, 1))
        }
        if by := [title for title, said in ahead.items() if said == MEETS]:
            met[one.key] = by
        elif OPEN in ahead.values():
            undecided.append(one.key)
    what = (
        "finds more at level a or b (recall@10, interval clear of zero) while the general set loses at most one point"
    )
    many = len(real)
    if met:
        weak = {one.key for one in real if one.can_hardly_lose}
        alike: dict[tuple[str, ...], list[str]] = {}
        for key, by in met.items():
            named_key = f"{key} (whose general set {HARDLY})" if key in weak else key
            alike.setdefault(tuple(f"“{title}”" for title in by), []).append(named_key)
        where = "; ".join(f"{wording.listed(keys)}, by {wording.listed(list(by))}" for by, keys in alike.items())
        on = f"{len(met)} of {many} real sets" if many > 1 else "the one real set"
        said = f"On {on} measured an arm {what}: {where}."
    else:
        said = f"On none of the {many} real sets" if many > 1 else "Not on the one real set"
        said += f" measured there is an arm that {what}."
    if undecided:
        said += f" On {wording.listed(undecided)} an arm gains, and the general set's questions do not decide its loss."
    return said


def _record(one: SetResult, arm: ArmResult, tests: list[Paired], said: str) -> Mapping[str, CsvValue]:
    told: dict[str, CsvValue] = {"set": one.key, "arm": arm.name, "seeds": len(arm.streams)}
    for name, test in zip(LEVELS, tests, strict=True):
        told |= {
            f"{name}_questions": test.queries,
            f"{name}_difference": test.difference,
            f"{name}_low": bounds(test)[0],
            f"{name}_high": bounds(test)[1],
            f"{name}_p": test.p_value,
        }
    return told | {"general_set": said, "general_can_hardly_lose": one.can_hardly_lose}
