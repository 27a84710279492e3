"""Speed at each target recall in full: whole batches, and queries asked one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from adamem.bench.curve import Quantity
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.comparison import Comparison, Entry
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.loaded import Spot
from adamem.report.tables.headline import build_cell, bytes_cell, ratio_text, shown_mark, value_cell


def at_recall(comparison: Comparison) -> Table:
    """QPS of one call at each target with its interval, the build and the points that it rests on."""
    columns = (
        Column("index", number=False),
        Column("points", "search parameters", number=False),
        Column("QPS", "one call"),
        Column("to the reference"),
        Column("to the best"),
        Column("build"),
        Column("memory"),
    )
    groups, records = [], []
    for target in comparison.loaded.targets:
        rows = []
        for entry in _ordered(comparison, target, "qps"):
            value = entry.values["qps"]
            rows.append(
                (
                    Cell(entry.contestant.name, wording.params(entry.series.build)),
                    Cell(setting(entry)),
                    value_cell(
                        entry,
                        "qps",
                        wording.number(value.value),
                        wording.interval(value),
                        best=comparison.level_with_best(entry),
                    ),
                    Cell(ratio_text(entry.ratios.get("qps")) or wording.NOTHING),
                    _to_best(comparison, entry),
                    build_cell(entry),
                    bytes_cell(comparison, entry),
                )
            )
            records.append(_record(entry, ("qps",)))
        groups.append(Group(f"recall@{comparison.loaded.k} = {target:g}", tuple(rows)))
    return Table(
        "at-recall",
        "Speed of one call with all queries, at each target recall",
        columns,
        tuple(groups),
        tuple(records),
        notes=(
            "Points: those between which ln(QPS) is interpolated in recall. To the best: how many times slower than "
            "the "
            "fastest of that target, with the interval, and whether that is told apart from 1 beyond the noise.",
        ),
    )


def one_query(comparison: Comparison) -> Table:
    """Latency of single queries at each target; contestants without a batch call stand here alone."""
    columns = (
        Column("index", number=False),
        Column("QPS", "one by one"),
        Column("p50"),
        Column("p99", "of per-query medians"),
        Column("p99 raw", "of all askings"),
    )
    shown: tuple[Quantity, ...] = ("qps_one", "p50", "p99", "p99_raw")
    groups, records = [], []
    for target in comparison.loaded.targets:
        rows = []
        for entry in _ordered(comparison, target, "p50"):
            cells = [Cell(entry.contestant.name, wording.params(entry.series.build))]
            for what in shown:
                value = entry.values[what]
                text = wording.number(value.value) if what == "qps_one" else wording.seconds(value.value)
                told = wording.interval(value, "plain" if what == "qps_one" else "seconds")
                ratio = entry.ratios.get(what)
                if ratio is not None and math.isfinite(ratio.value):
                    told = f"{told} · {wording.times(ratio.value)}"
                best = what != "p99_raw" and comparison.level_with_best(entry, what)
                cells.append(value_cell(entry, what, text, told, best=best))
            rows.append(tuple(cells))
            records.append(_record(entry, shown))
        groups.append(Group(f"recall@{comparison.loaded.k} = {target:g}", tuple(rows)))
    return Table(
        "one-query",
        "One query at a time, at each target recall",
        columns,
        tuple(groups),
        tuple(records),
        notes=(
            "p50 and p99 are percentiles over queries of each query's median over the rounds: how the index treats "
            "its queries. "
            "p99 raw is over every single asking: what the machine did meanwhile is in it. In brackets 95 % intervals, "
            "after the dot the ratio to the reference.",
            *_partly_asked(comparison),
        ),
    )


def _partly_asked(comparison: Comparison) -> tuple[str, ...]:
    """Who is too slow to be asked every query one by one, and how many it was asked."""
    told: dict[str, int] = {}
    total = comparison.loaded.run.dataset.queries.test
    for target in comparison.loaded.targets:
        for entry in comparison.at(target):
            if entry.curve.one is not None:
                asked = int(np.isfinite(entry.curve.one).any(axis=2).sum(axis=2).min())
                if asked < total:
                    told[entry.contestant.name] = min(asked, told.get(entry.contestant.name, asked))
    if not told:
        return ()
    who = wording.listed([f"{name} {asked:,}" for name, asked in told.items()])
    return (
        f"Of the {total:,} queries, slow points asked fewer one by one, the same ones in every round: {who} at least. "
        "Their percentiles rest on those.",
    )


def setting(entry: Entry) -> str:
    """The points that the value rests on, in words."""
    spots = [entry.spots[p] for p in entry.values["qps"].points]
    if not spots:
        return wording.NOTHING
    if len(spots) == 1:
        return wording.params(spots[0].search) or "it has no search parameters"
    return between(spots)


def between(spots: Sequence[Spot]) -> str:
    """Two settings as one: what both share once, the rest as a range."""
    first, second = spots[0].search, spots[1].search
    told = []
    for name, value in first.items():
        other = second.get(name, value)
        left, right = wording.params({name: value}), wording.params({name: other})
        told.append(left if left == right else f"{left} to {right.partition('=')[2]}")
    return ", ".join(told)


def _ordered(comparison: Comparison, target: float, what: Quantity) -> list[Entry]:
    ranked = comparison.ranked(target, what)
    return ranked + [entry for entry in comparison.at(target) if entry not in ranked]


def _to_best(comparison: Comparison, entry: Entry) -> Cell:
    ranked = comparison.ranked(entry.target)
    if entry not in ranked:
        return Cell(wording.NOTHING)
    if entry is ranked[0]:
        return Cell("the fastest with a figure" if comparison.unranked(entry.target) else "the fastest")
    duel = comparison.duel(ranked[0], entry)
    detail = "beyond the noise" if duel.outcome == "ahead" else "not told apart"
    return Cell(f"{wording.times(1 / duel.margin.value)} {_inverse(duel.margin)}".strip(), detail)


def _inverse(margin: Estimate) -> str:
    return wording.interval(Estimate(1 / margin.value, 1 / margin.high, 1 / margin.low))


def _record(entry: Entry, shown: tuple[Quantity, ...]) -> Mapping[str, CsvValue]:
    record: dict[str, CsvValue] = {
        "contestant": entry.contestant.name,
        "target_recall": entry.target,
        "build": wording.params(entry.series.build),
        "points": setting(entry),
    }
    for what in shown:
        value, ratio = entry.values[what], entry.ratios.get(what)
        record |= {
            what: value.value,
            f"{what}_low": value.low,
            f"{what}_high": value.high,
            f"{what}_status": value.status,
        }
        record[f"{what}_mark"] = shown_mark(entry, value)
        record[f"{what}_ratio"] = None if ratio is None else ratio.value
        record[f"{what}_ratio_low"] = None if ratio is None else ratio.low
        record[f"{what}_ratio_high"] = None if ratio is None else ratio.high
    return record
