"""The tables of single updates: what one teaches, how long it lasts, what it takes."""

from __future__ import annotations

import numpy as np

from adamem.report import wording
from adamem.report.adaptation.acquired import Acquired
from adamem.report.adaptation.distinct import bounds, exact_interval
from adamem.report.adaptation.forms import explained
from adamem.report.adaptation.gathered import Gathered
from adamem.report.adaptation.tables import VIEW_NAMES, Records, seeds_span
from adamem.report.adaptation.timed import is_quiet, notes, timed_in
from adamem.report.document import Cell, Column, Group, Table

SIDES = {True: "taught by one update", False: "never taught"}
_VIEWS = ("anew", "stale")
OWN = "taught − never taught"


def acquisition(gathered: Gathered) -> Table | None:
    """The claim: what one update teaches, and how long it lasts."""
    if not gathered.acquired:
        return None
    groups, records = [], Records()
    for one in gathered.acquired:
        rows = [row for view in _VIEWS for row in _rows(one, view, None, VIEW_NAMES[view], records)]
        groups.append(Group(one.key, tuple(rows)))
    return Table(
        "acquisition",
        "Recall@1 of facts, asked for in words that were not taught",
        (Column("facts", number=False), *_headings(gathered)),
        tuple(groups),
        tuple(records),
        notes=(
            f"{_counted(gathered.acquired)} Each taught fact is one update of its own in a stream of updates with "
            "other facts: a step on the new pair, with former pairs beside it, and that is all that is ever learnt of "
            "it. As many facts that are never taught are asked for at the same moments and show what the stream does "
            "by itself. “Before” is just before the fact’s own update. “Taught − never taught” is the claim: the "
            "change since then of the taught facts less that of the others, in points of 0.01. Searched are the "
            "answers and other documents drawn at random. Where there are fewer other lessons than updates, those are "
            "learnt again. A fact counts once: the mean over its questions and over the seeds that ask for it. "
            "Intervals: 95 % over distinct facts; beside them, where there are several, the least and the most of the "
            "seeds. Where no fact of either side changed, resamples are all the same: there the exact interval "
            "(Clopper and Pearson) of the share of taught facts that change says how many it may be at most.",
        ),
    )


def acquisition_forms(gathered: Gathered) -> Table | None:
    """The same by the form in which a fact is asked for, documents embedded anew."""
    groups, records = [], Records()
    for one in (one for one in gathered.acquired if len(one.forms) > 1):
        rows = [row for form in one.forms for row in _rows(one, "anew", form, f"asked “{form}”", records)]
        groups.append(Group(one.key, tuple(rows)))
    if not groups:
        return None
    known = {form for one in gathered.acquired for form in one.forms}
    return Table(
        "acquisition_forms",
        "The same by the form of the question, documents embedded anew",
        (Column("facts", number=False), *_headings(gathered)),
        tuple(groups),
        tuple(records),
        notes=(explained(known),),
    )


def moment_name(moment: str) -> tuple[str, str]:
    """A heading, and what stands under it."""
    named = {"untouched": ("untouched", "encoder"), "before": ("before", "its update"), "0": ("right after", "")}
    return named.get(moment, (f"{moment} more", "updates later"))


def updates(gathered: Gathered) -> Table | None:
    """How long one update takes."""
    rows, records = [], Records()
    for one in gathered.acquired:
        seconds = one.update_seconds
        p50, p95 = (float(value) for value in np.percentile(seconds, (50, 95)))
        rows.append(
            (
                Cell(one.key),
                Cell(f"{seconds.size:,}"),
                Cell(wording.seconds(p50)),
                Cell(wording.seconds(p95)),
                timed_in(gathered.run, one.pieces, one.timed),
            )
        )
        records.append(
            {
                "set": one.key,
                "updates": int(seconds.size),
                "p50_seconds": p50,
                "p95_seconds": p95,
                "pieces": len(one.pieces),
                "quiet_pieces": sum(is_quiet(one.pieces[place]) for place in one.timed),
            }
        )
    if not rows:
        return None
    beside = gathered.experiment.learning.beside
    return Table(
        "updates",
        f"One update: a step on a new pair with up to {beside} former ones",
        (
            Column("set", number=False),
            Column("updates"),
            Column("median"),
            Column("95 %"),
            Column("timed in", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=notes(
            gathered.run,
            pieces=[piece for one in gathered.acquired for piece in one.pieces],
            busy=any(not r["quiet_pieces"] for r in records),
        ),
    )


def _headings(gathered: Gathered) -> list[Column]:
    return [Column(*moment_name(moment)) for moment in gathered.acquired[0].moments]


def _rows(one: Acquired, view: str, form: str | None, told: str, records: Records) -> list[tuple[Cell, ...]]:
    """Facts that were taught, facts that never were, and the difference; `records` gets what they say."""
    rows = []
    for taught, title in SIDES.items():
        cells = [Cell(title, told)]
        for moment in one.moments:
            found = one.estimate(moment, taught=taught, view=view, form=form)
            since = one.change(moment, "before", taught=taught, view=view, form=form)
            low, high = bounds(since)
            cells.append(Cell(wording.score(found.value), wording.interval(found, "score")))
            records.append(
                {
                    **_told(one, view, form, moment, title),
                    "facts": since.queries,
                    "questions": one.questions(taught=taught, form=form),
                    "recall@1": found.value,
                    "low": found.low,
                    "high": found.high,
                    "since_before": since.difference,
                    "since_before_low": low,
                    "since_before_high": high,
                    "p": since.p_value,
                    "least_of_seeds": None,
                    "most_of_seeds": None,
                    "taught_facts_changed": None,
                    "changed_share_high": None,
                }
            )
        rows.append(tuple(cells))
    cells = [Cell(OWN, told)]
    for moment in one.moments:
        if moment in one.moments[:2]:
            cells.append(Cell(wording.NOTHING))
            continue
        own = one.own(moment, view, form)
        seeds = one.own_of_seeds(moment, view) if form is None else np.empty(0)
        spread = seeds_span(seeds)
        cells.append(
            Cell(
                wording.points(own.value),
                "; ".join(filter(None, (own_span(one, moment, view, form), spread))),
                own.low > 0,
            )
        )
        known, (changed, count) = bool(np.isfinite(own.low)), one.changed(moment, view, form)
        records.append(
            {
                **_told(one, view, form, moment, OWN),
                "facts": None,
                "questions": None,
                "recall@1": None,
                "low": None,
                "high": None,
                "since_before": own.value,
                "since_before_low": own.low if known else None,
                "since_before_high": own.high if known else None,
                "p": None,
                "least_of_seeds": float(seeds.min()) if seeds.size else None,
                "most_of_seeds": float(seeds.max()) if seeds.size else None,
                "taught_facts_changed": changed,
                "changed_share_high": exact_interval(changed / count, count)[1] if count else None,
            }
        )
    return [*rows, tuple(cells)]


def own_span(one: Acquired, moment: str, view: str = "anew", form: str | None = None) -> str:
    """The interval of `one.own` in points; where no fact changed, how many may at most, by Clopper and Pearson."""
    own = one.own(moment, view, form)
    if np.isfinite(own.low):
        return f"[{wording.points(own.low)}, {wording.points(own.high)}]"
    changed, count = one.changed(moment, view, form)
    if changed or own.value != 0:
        return "all facts alike"
    return f"none of {count} changed: at most {wording.percent(exact_interval(0, count)[1])} do, 95 %"


def _told(one: Acquired, view: str, form: str | None, moment: str, title: str) -> dict[str, str]:
    return {"set": one.key, "facts_are": title, "documents": view, "form": form or "", "moment": moment}


def _counted(acquired: list[Acquired]) -> str:
    told = [
        f"{one.key}: {one.found('0', taught=True).size} distinct facts taught and "
        f"{one.found('0', taught=False).size} never taught over {len(one.arrays)} "
        f"seed{'s' if len(one.arrays) > 1 else ''}, "
        f"{one.questions(taught=True) + one.questions(taught=False)} distinct questions, "
        f"{int(one.arrays[0]['pool'][0])} documents"
        for one in acquired
    ]
    return f"{'; '.join(told)}."
