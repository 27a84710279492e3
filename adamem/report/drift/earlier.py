"""An earlier trial's figures beside a run's, in the mix of questions that the trial had."""

from __future__ import annotations

import math
from collections.abc import Mapping

from adamem.bench.drift.config import EarlierConfig
from adamem.bench.drift.measured import EXACT
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.drift.forms import in_mix, mix_variance
from adamem.report.drift.gathered import MEASURES, VIEW_NAMES, DriftResult, Gathered, Measure, SetResult, label

ASKED = {"koziev": {"whether": 7574, "which": 2816}}
"""By set: how many of all its questions are of which form. Counted over all queries of koziev-facts-ru by
`adamem.bench.adaptation.koziev.form`; a trial that drew its questions from them all had about this mix."""


def earlier(gathered: Gathered) -> Table | None:
    """An earlier trial's figures beside these."""
    groups: list[Group] = []
    records: list[Mapping[str, CsvValue]] = []
    for one, drift in gathered.leads:
        told = next((found for found in gathered.experiment.earlier if found.set == one.key), None)
        if told is None:
            continue
        mix = mix_of(one, drift)
        rows = []
        for view in ("before", "stale", "anew"):
            for place, measure in enumerate(MEASURES):
                then, now = getattr(told, view)[place], drift.score(EXACT, view, measure)
                mixed = in_mix(drift, mix, view, measure) if mix else None
                verdict = compared(told, one, drift, view, measure)
                rows.append(
                    (
                        Cell(f"{VIEW_NAMES[view]}, {measure}"),
                        Cell(wording.score(then)),
                        _score(now),
                        _score(mixed) if mixed else Cell(wording.NOTHING),
                        Cell(verdict),
                    )
                )
                records.append(_record(one, view, measure, then, now, mixed, verdict))
        cosine = float(drift.alarms[0])
        rows.append(
            (
                Cell("documents’ cosine, new with old"),
                Cell(wording.fixed(told.cosine, 2)),
                Cell(wording.fixed(cosine, 2)),
                Cell(wording.NOTHING),
                Cell(wording.NOTHING),
            )
        )
        records.append(_record(one, "cosine", "", told.cosine, Estimate(cosine, math.nan, math.nan), None, ""))
        groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "earlier",
        "Beside an earlier trial of one seed",
        (
            Column("what", number=False),
            Column("then"),
            Column("now"),
            Column("now", "in the collection’s mix"),
            Column("verdict", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Confirmed: the two differ by less than 1.96 standard errors of a difference between the trial's questions "
            "and these. The trial had one seed and no controls, and drew its questions otherwise. The untouched "
            "encoder is the same in both: where it finds something else, what is asked or searched is not the same, "
            "which corrects nothing. Where another number of documents is searched, nothing is compared.",
            *(_mixes(one.key) for one, drift in gathered.leads if mix_of(one, drift)),
        ),
    )


def mix_of(one: SetResult, drift: DriftResult) -> dict[str, float]:
    """The share of each form among all questions of the collection; empty where it is not known."""
    counts = ASKED.get(one.key, {})
    total = sum(counts.values())
    known = len(drift.forms) > 1 and set(drift.forms) == set(counts)
    return {form: count / total for form, count in counts.items()} if known else {}


def compared(told: EarlierConfig, one: SetResult, drift: DriftResult, view: str, measure: Measure) -> str:
    """Whether a figure of an earlier trial holds, in words; in the collection's mix of forms where that is known."""
    if told.documents != one.facts["documents"]:
        return f"not comparable: {one.facts['documents']:,} documents here, {told.documents:,} there"
    apart = _apart(told, one, drift, view, measure)
    if apart is None:
        return "confirmed"
    said = f"{wording.points(apart)} points"
    if view == "before":
        return f"differs by {said}: other questions or documents, the encoder is the same"
    if _apart(told, one, drift, "before", measure) is not None:
        return f"differs by {said}, but so does the untouched encoder"
    return f"corrected by {said}"


def _apart(told: EarlierConfig, one: SetResult, drift: DriftResult, view: str, measure: Measure) -> float | None:
    """By how much the run's figure is above the trial's; None where the two are not told apart."""
    then = getattr(told, view)[MEASURES.index(measure)]
    if mix := mix_of(one, drift):
        now, variance = in_mix(drift, mix, view, measure).value, mix_variance(drift, mix, view, measure)
    else:
        values = drift.pooled(EXACT, view, measure)
        now = float(values.mean())
        variance = now * (1 - now) / values.size
    error = math.sqrt(then * (1 - then) / told.questions + variance)
    return None if abs(now - then) <= 1.96 * error else now - then


def _mixes(key: str) -> str:
    counts = ASKED[key]
    total = sum(counts.values())
    told = wording.listed([f"{100 * count / total:.1f} % “{form}”" for form, count in counts.items()])
    return (
        f"{key}: this study draws one of the two questions of a fact, so that about half of them are of either form; "
        f"of all {total:,} questions of the collection {told}. That the trial drew from them all is inferred from its "
        "figures and was not recorded. The verdict is on the run's figures in that mix: the mean of each form, "
        "weighted by its share, its interval by resampling the questions of each form."
    )


def _score(found: Estimate) -> Cell:
    return Cell(wording.score(found.value), wording.interval(found, "score"))


def _record(
    one: SetResult, what: str, measure: str, then: float, now: Estimate, mixed: Estimate | None, verdict: str
) -> dict[str, CsvValue]:
    return {
        "set": one.key,
        "what": what,
        "measure": measure,
        "earlier": then,
        "now": now.value,
        "low": now.low,
        "high": now.high,
        "now_in_mix": None if mixed is None else mixed.value,
        "now_in_mix_low": None if mixed is None else mixed.low,
        "now_in_mix_high": None if mixed is None else mixed.high,
        "verdict": verdict,
    }
