"""What a query costs in operations, where the index counts them: figures that carry over to other machines."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adamem.bench.bootstrap import Draws, resampled_means
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.comparison import Comparison, Entry
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.tables.headline import shown_mark
from adamem.types import DoubleArray

_FIRST = ("distances", "hops")


def counted(comparison: Comparison) -> Table | None:
    """Each counter a query at each target, with its interval; None where nothing counts."""
    found = {name for entry in comparison.entries for name in _counters(entry)}
    if not found:
        return None
    names = [*(name for name in _FIRST if name in found), *sorted(found - set(_FIRST))]
    groups, records = [], []
    for target in comparison.loaded.targets:
        rows = []
        for entry in comparison.at(target):
            told = {name: at_target(entry, name) for name in names}
            if not any(math.isfinite(one.value) for one in told.values()):
                continue
            mark = shown_mark(entry, entry.values["qps"])
            rows.append(
                (
                    Cell(entry.contestant.name, wording.params(entry.series.build)),
                    *(_cell(told[name], "≤" if mark else "") for name in names),
                )
            )
            records.append(_record(entry, told))
        if rows:
            groups.append(Group(f"recall@{comparison.loaded.k} = {target:g}", tuple(rows)))
    if not records:
        return None
    return Table(
        "counted",
        "Counted cost of a query, at each target recall",
        (Column("index", number=False), *(Column(name.replace("_", " "), "a query") for name in names)),
        tuple(groups),
        tuple(records),
        notes=(
            "Means over queries, as each index counts, interpolated in recall like the speeds; where every point is "
            "above the target the cheapest stands in. What one distance costs differs: of bytes, of floats, of looked "
            "up tables; compare indexes of one kind. What turning the query into its code costs is not among them "
            "(SpiralGraph: one product with a vector for each component of the code, where some are left out).",
        ),
    )


def at_target(entry: Entry, name: str) -> Estimate:
    """A counter at the entry's target, between the points that its speed rests on; NaN where there is none."""
    points = list(entry.values["qps"].points or entry.values["qps_one"].points)
    values = _counters(entry).get(name)
    if not points or values is None or not (values[:, points] > 0).all():
        return Estimate(math.nan, math.nan, math.nan)
    logs = np.log(values[:, points])
    recall = entry.curve.recall[:, points]
    value = _at(entry.target, recall, logs, entry.curve.once())
    low, high = np.percentile(_at(entry.target, recall, logs, entry.curve.draws(1000, 0)), (2.5, 97.5))
    return Estimate(*(wording.settled(float(np.exp(one))) for one in (value[0], low, high)))


def _at(target: float, recall: DoubleArray, logs: DoubleArray, drawn: Draws) -> DoubleArray:
    """float64 (b,): the logarithm at the target in each draw, of `logs` (s, p) and `recall` (s, p, q), p = 1 or 2."""
    means: DoubleArray = logs[drawn.seeds].mean(axis=1)  # (b, p)
    if means.shape[1] == 1:
        return means[:, 0]
    left, right = resampled_means(recall, drawn).T
    step = right - left
    # Where chance makes both recalls equal, the point in the middle stands for both.
    share = np.divide(target - left, step, out=np.full_like(step, 0.5), where=np.abs(step) > 1e-9)
    out: DoubleArray = means[:, 0] + share * (means[:, 1] - means[:, 0])
    return out


def _counters(entry: Entry) -> dict[str, DoubleArray]:
    """float64 (s, p) by name: what each worker counted a query at each point of the entry's curve."""
    recorded = [
        [measured.worker.points[spot.numbers[seed]].counters for spot in entry.spots]
        for seed, measured in enumerate(entry.series.measured)
    ]
    shared = set.intersection(*(set(one) for row in recorded for one in row))
    return {name: np.array([[one[name] for one in row] for row in recorded]) for name in shared}


def _cell(told: Estimate, mark: str) -> Cell:
    if not math.isfinite(told.value):
        return Cell(wording.NOTHING)
    detail = "" if told.low == told.high else wording.interval(told)
    return Cell(f"{mark}{wording.number(told.value)}", detail)


def _record(entry: Entry, told: Mapping[str, Estimate]) -> Mapping[str, CsvValue]:
    record: dict[str, CsvValue] = {
        "contestant": entry.contestant.name,
        "target_recall": entry.target,
        "build": wording.params(entry.series.build),
        "status": entry.values["qps"].status,
    }
    for name, one in told.items():
        record |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return record
