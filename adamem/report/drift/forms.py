"""A collection that asks in more than one form: what each form finds, and what a mix of them would."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamem.bench.bootstrap import RESAMPLES
from adamem.bench.stats import Estimate, mean_estimate
from adamem.report import wording
from adamem.report.adaptation.forms import explained
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.drift.gathered import MEASURES, VIEW_NAMES, DriftResult, Gathered, Measure, label
from adamem.types import DoubleArray

Records = list[Mapping[str, CsvValue]]


def forms(gathered: Gathered) -> Table | None:
    """What each way to meet the documents finds by exact search, by the form of the question."""
    told = [(one, drift) for one, drift in gathered.leads if len(drift.forms) > 1]
    groups, records = [], Records()
    columns = sorted({(form, measure) for _, drift in told for form in drift.forms for measure in MEASURES})
    for one, drift in told:
        rows = []
        for view in (view for view in drift.views if view not in ("placed", "kept-up")):
            cells = [Cell(VIEW_NAMES[view])]
            for form, measure in columns:
                if form not in drift.forms:
                    cells.append(Cell(wording.NOTHING))
                    continue
                values = drift.of_form(form, view, measure)
                found = mean_estimate(values[None])
                cells.append(Cell(wording.score(found.value), wording.interval(found, "score")))
                records.append(
                    {
                        "set": one.key,
                        "view": view,
                        "form": form,
                        "measure": measure,
                        "questions": int(values.size),
                        "value": found.value,
                        "low": found.low,
                        "high": found.high,
                    }
                )
            rows.append(tuple(cells))
        groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "forms",
        "The same by the form of the question",
        (
            Column("how they meet the documents", number=False),
            *(Column(f"“{form}”", measure) for form, measure in columns),
        ),
        tuple(groups),
        tuple(records),
        notes=(explained({form for form, _ in columns}),),
    )


def in_mix(drift: DriftResult, mix: Mapping[str, float], view: str, measure: Measure) -> Estimate:
    """What exact search would find of questions in this mix of forms: the mean of each form, weighted by its share.

    `mix` has a share for each of the drift's forms. The 95 % interval resamples the questions of each form.
    """
    rng = np.random.default_rng(0)
    parts = [(mix[form], drift.of_form(form, view, measure)) for form in drift.forms]
    value = sum(share * float(values.mean()) for share, values in parts)
    drawn = sum((share * _means(values, rng) for share, values in parts), np.zeros(RESAMPLES))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def mix_variance(drift: DriftResult, mix: Mapping[str, float], view: str, measure: Measure) -> float:
    """The square of the standard error of `in_mix`'s value."""
    parts = [(mix[form], drift.of_form(form, view, measure)) for form in drift.forms]
    return float(sum(share**2 * values.mean() * (1 - values.mean()) / values.size for share, values in parts))


def _means(values: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    """float64 (resamples,): the mean of each resample of `values` (q,)."""
    weights = rng.multinomial(values.size, np.full(values.size, 1 / values.size), size=RESAMPLES)
    return np.asarray(weights @ values / values.size)
