"""What an arm gains at levels a and b, and whether the general set pays for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.paired import Paired, holm
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds, exact_interval, has_interval
from adamem.report.adaptation.gathered import OFFERED, TITLES, ArmResult, Gathered, SetResult
from adamem.report.adaptation.tables import ALPHA, HARDLY, Records, label, named, span, weak_notes
from adamem.report.document import Cell, Column, CsvValue, Group, Table

ALLOWED = 0.01
"""So much the general set may lose: one point."""
INVENTED = ("invented", "invented-renamed")
"""Sets whose facts were made up; the others are real texts."""
MEETS, LOSES, OPEN = "loses at most 1 point", "lost", "not decided"


MEASURES = ("recall@10", "recall@1")
"""By which the general set is judged: among ten it finds nearly all, so that only the first place can tell much."""


def verdict(*general: Paired) -> str:
    """Of the change of the general set by each measure: `MEETS` only where each interval lies above a loss of a point.

    Where no question differs, as many may be lost as the exact interval of none allows.
    """
    said = [_verdict(one) for one in general]
    return next((word for word in (LOSES, OPEN) if word in said), MEETS)


def _verdict(general: Paired) -> str:
    if not has_interval(general) and general.difference == 0:
        return MEETS if exact_interval(0.0, general.queries)[1] < ALLOWED else OPEN
    if general.low > -ALLOWED:
        return MEETS
    return LOSES if general.high < -ALLOWED else OPEN


def elsewhere(arm: ArmResult) -> str:
    """The `verdict` on what an arm has done to the general set."""
    return verdict(*(arm.change(2, measure=measure) for measure in MEASURES))


def gains(gathered: Gathered) -> Table | None:
    """Recall@10 of each arm at each level against the untouched encoder, with what the general set says."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            tests = [arm.change(level, measure="recall@10") for level in range(len(LEVELS))]
            first, said = arm.change(2), elsewhere(arm)
            rows.append(
                (
                    Cell(named(one, arm)),
                    *(
                        Cell(wording.points(test.difference), span(test), best=level < 2 and test.low > 0)
                        for level, test in enumerate(tests)
                    ),
                    Cell(wording.points(first.difference), span(first)),
                    Cell(said, f"{tests[2].queries:,} questions" + (f"; {HARDLY}" if one.can_hardly_lose else "")),
                )
            )
            records.append(_record(one, arm, tests, first, said))
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
            Column("c at 1", "general set"),
            Column("general set", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "All documents embedded anew. Small print: 95 % bootstrap intervals over what the questions are about, "
            "each question the mean over the seeds that ask it, against the untouched encoder. Bold: the interval lies "
            "above zero. The general set “loses at most 1 point” only where its intervals at recall@10 and at recall@1 "
            "both lie above −1 point, and has “lost” where one lies below; else its questions do not decide it. Where "
            "none differs, that decides it only if there are enough of them (the exact interval of none lost). In the "
            "table nothing is corrected for the number of arms; the answer above is, by Holm, over all arms and both "
            "levels of a set.",
            *weak_notes(gathered),
        ),
    )


def claim(gathered: Gathered) -> str:
    """On how many real sets an arm gains for certain while the general set loses at most one point.

    For certain: also when corrected for all arms that somebody might use, at both levels.
    """
    real = [one for one in gathered.sets if one.key not in INVENTED and any(arm in OFFERED for arm in one.arms)]
    if not real:
        return ""
    met, undecided = {}, []
    for one in real:
        judged = {arm.title: elsewhere(arm) for arm in ahead(one)}
        if by := [title for title, said in judged.items() if said == MEETS]:
            met[one.key] = by
        elif OPEN in judged.values():
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
        if len(met) > 1:
            both = [title for title in met[next(iter(met))] if all(title in by for by in met.values())]
            alike_by = wording.listed([f"“{title}”" for title in both])
            said += f" The same on each of them: {alike_by}." if both else " No arm does on each of them."
    else:
        said = f"On none of the {many} real sets" if many > 1 else "Not on the one real set"
        said += f" measured there is an arm that {what}."
    if undecided:
        said += f" On {wording.listed(undecided)} an arm gains, and the general set's questions do not decide its loss."
    return said


def ahead(one: SetResult) -> list[ArmResult]:
    """Those that somebody might use that gain at level a or b, corrected for being so many (Holm)."""
    arms = [arm for name, arm in one.arms.items() if name in OFFERED]
    tests = [[arm.change(level, measure="recall@10") for level in (0, 1)] for arm in arms]
    corrected = holm(np.array([[test.p_value for test in both] for both in tests]).ravel()).reshape(-1, 2)
    return [
        arm
        for arm, both, found in zip(arms, tests, corrected, strict=True)
        if any(test.low > 0 and p < ALPHA for test, p in zip(both, found, strict=True))
    ]


def _record(one: SetResult, arm: ArmResult, tests: list[Paired], first: Paired, said: str) -> Mapping[str, CsvValue]:
    told: dict[str, CsvValue] = {"set": one.key, "arm": arm.name, "seeds": len(arm.streams)}
    for name, test in zip(LEVELS, tests, strict=True):
        told |= {
            f"{name}_questions": test.queries,
            f"{name}_difference": test.difference,
            f"{name}_low": bounds(test)[0],
            f"{name}_high": bounds(test)[1],
            f"{name}_p": test.p_value,
        }
    told |= {"general_first_difference": first.difference}
    told |= dict(zip(("general_first_low", "general_first_high"), bounds(first), strict=True))
    return told | {"general_set": said, "general_can_hardly_lose": one.can_hardly_lose}
