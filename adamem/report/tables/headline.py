"""The first screen's table: every contestant at every target recall, with ratios to the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adamem.bench.curve import Quantity
from adamem.bench.stats import AtRecall, Estimate
from adamem.report import wording
from adamem.report.comparison import SHOWN, Comparison, Entry
from adamem.report.document import Cell, Column, CsvValue, Group, Table


def headline(comparison: Comparison) -> Table:
    """QPS and latency at each target, build time and bytes; best first by QPS at the middle target."""
    loaded = comparison.loaded
    columns = [Column("index", number=False)]
    columns += [Column(f"QPS at {target:g}", "one call") for target in loaded.targets]
    columns += [Column(f"p50 / p99 at {target:g}", "one query") for target in loaded.targets]
    columns += [Column("build", f"{threads(comparison)} threads"), Column("memory", "as reported")]
    rows = tuple(_row(comparison, name) for name in ranked_names(comparison))
    return Table(
        name="headline",
        caption=f"Speed at equal recall@{loaded.k}, build time and memory",
        columns=tuple(columns),
        groups=(Group("", rows),),
        records=tuple(_record(comparison, entry) for entry in comparison.entries),
        notes=tuple(_notes(comparison)),
    )


def ranked_names(comparison: Comparison) -> list[str]:
    """Measured contestants, fastest at the middle target first; those without a value there after them."""
    entries = comparison.at(comparison.loaded.middle)
    first = [entry.contestant.name for entry in comparison.ranked(comparison.loaded.middle)]
    return first + [entry.contestant.name for entry in entries if entry.contestant.name not in first]


def threads(comparison: Comparison) -> int:
    """Build threads, the same for all."""
    return int(comparison.loaded.run.config["measure"]["build_threads"])


def value_cell(entry: Entry, what: Quantity, text: str, detail: str, *, best: bool) -> Cell:
    """A value at a target, or why there is none."""
    value = entry.values[what]
    if not math.isfinite(value.value):
        return Cell(wording.why_none(value), nearest_points(entry, value) if what in ("qps", "qps_one") else "")
    return Cell(f"{shown_mark(entry, value)}{text}", detail, best)


def shown_mark(entry: Entry, value: AtRecall) -> str:
    """The sign of a bound. Exact search has one point only: what it costs is what it costs."""
    return "" if entry.contestant.is_exact else value.mark


def nearest_points(entry: Entry, value: AtRecall) -> str:
    """What was measured instead."""
    recalls = np.sort(entry.curve.recall.mean(axis=(0, 2)))
    if value.status == "unreached":
        return f"best {wording.score(float(recalls[-1]))}"
    if value.status == "gap":
        low, high = recalls[recalls <= entry.target].max(), recalls[recalls >= entry.target].min()
        return f"{wording.score(float(low))} … {wording.score(float(high))}"
    return ""


def ratio_text(ratio: Estimate | None) -> str:
    """1.32× [1.25, 1.40]; nothing where there is no ratio."""
    if ratio is None or not math.isfinite(ratio.value):
        return ""
    if ratio.low == ratio.value == ratio.high:
        return "reference" if ratio.value == 1 else wording.times(ratio.value)
    # A t interval of two builds spans decades and says nothing; it is in the CSV.
    told = wording.interval(ratio) if ratio.high < 10 * ratio.value else ""
    return f"{wording.times(ratio.value)} {told}".strip()


def _row(comparison: Comparison, name: str) -> tuple[Cell, ...]:
    entries = [comparison.entry(name, target) for target in comparison.loaded.targets]
    have = [entry for entry in entries if entry is not None]
    middle = comparison.entry(name, comparison.loaded.middle) or have[0]
    cells = [
        Cell(name, ", ".join(filter(None, (wording.params(middle.series.build), _missing_seeds(comparison, middle)))))
    ]
    for entry in have:
        text = wording.number(entry.values["qps"].value)
        best = comparison.level_with_best(entry)
        cells.append(value_cell(entry, "qps", text, ratio_text(entry.ratios.get("qps")), best=best))
    for entry in have:
        text = wording.two_seconds(entry.values["p50"].value, entry.values["p99"].value)
        best = comparison.level_with_best(entry, "p50")
        ratio = ratio_text(entry.ratios.get("p99"))
        cells.append(value_cell(entry, "p50", text, f"p99 {ratio}" if "×" in ratio else ratio, best=best))
    cells.append(build_cell(middle))
    cells.append(bytes_cell(comparison, middle))
    return tuple(cells)


def _missing_seeds(comparison: Comparison, entry: Entry) -> str:
    """How many of the seeds its figures rest on, where some of its builds failed."""
    seeds = comparison.loaded.seeds
    return "" if len(entry.series.blocks) >= seeds else f"only {len(entry.series.blocks)} of {seeds} seeds"


def build_cell(entry: Entry) -> Cell:
    """Build seconds with the ratio."""
    if entry.build is None:
        return Cell(wording.NOTHING)
    return Cell(wording.seconds(entry.build.value), ratio_text(entry.build_ratio))


def bytes_cell(comparison: Comparison, entry: Entry) -> Cell:
    """Bytes as the index reports them; the least is marked."""
    if not entry.bytes:
        return Cell("not reported")
    least = min(one.bytes for one in comparison.at(entry.target) if one.bytes)
    ratio = wording.times(entry.bytes_ratio) if entry.bytes_ratio else ""
    return Cell(wording.megabytes(entry.bytes), ratio, best=entry.bytes == least)


def _notes(comparison: Comparison) -> list[str]:
    loaded, noise = comparison.loaded, comparison.noise
    notes = []
    if loaded.reference is not None:
        notes.append(
            f"Below each figure: its ratio to the reference, {loaded.reference.contestant} with "
            f"{wording.params(loaded.reference.build)}, formed inside the blocks both were measured in, with the 95 % "
            "interval."
        )
    else:
        notes.append("There is no reference (no hnsw, and no contestant marked so), hence no ratios.")
    if math.isfinite(noise["qps"].relative):
        told = [f"{wording.percent(noise['qps'].relative)} of QPS"]
        told += [
            f"{wording.percent(noise[q].relative)} of {q}" for q in ("p50", "p99") if math.isfinite(noise[q].relative)
        ]
        notes.append(
            f"Noise floor: two builds of one and the same thing differed by up to {wording.listed(told)} (95 % of "
            "their "
            "points); smaller differences are noise. Bold: the best, and what is not told apart from it."
        )
    else:
        notes.append(
            "No noise floor: there was no twin of the reference. Bold: the best, and what is not told apart from it."
        )
    statuses = {entry.values["qps"].status for entry in comparison.entries}
    if "gap" in statuses:
        notes.append(
            "Not bracketed: no measured point lies within 0.02 of that recall on each side, so nothing is claimed; "
            "below it the nearest points' recalls."
        )
    if "unreached" in statuses:
        notes.append("Not reached: every measured point has a lower recall; below it the best one's.")
    if any(shown_mark(entry, entry.values["qps"]) for entry in comparison.entries):
        notes.append(
            "≥ and ≤: every measured point has a higher recall; the cheapest stands in, and with less effort the "
            "index could "
            "only be faster."
        )
    fewer = {
        entry.contestant.name: len(entry.series.blocks)
        for entry in comparison.entries
        if loaded.reference is not None and len(entry.series.blocks) < len(loaded.reference.blocks)
    }
    if loaded.run.status == "complete" and fewer:
        who = wording.listed([f"{name} ({count})" for name, count in fewer.items()])
        notes.append(f"Built fewer times than the others: {who}; their intervals know less of what builds differ by.")
    notes.append(
        f"The build named is the one chosen, on the calibration queries, for recall {loaded.middle:g}; build time and "
        "memory are that one's."
    )
    return notes


def _record(comparison: Comparison, entry: Entry) -> Mapping[str, CsvValue]:
    record: dict[str, CsvValue] = {
        "contestant": entry.contestant.name,
        "index": entry.contestant.index,
        "target_recall": entry.target,
        "build": wording.params(entry.series.build),
    }
    for what in SHOWN:
        _put(record, what, entry.values[what])
        record[f"{what}_status"] = entry.values[what].status
        if what in entry.ratios:
            _put(record, f"{what}_ratio", entry.ratios[what])
            record[f"{what}_ratio_status"] = entry.ratios[what].status
        else:
            _put(record, f"{what}_ratio", None)
            record[f"{what}_ratio_status"] = ""
    _put(record, "build_seconds", entry.build)
    _put(record, "build_seconds_ratio", entry.build_ratio)
    record["bytes"] = entry.bytes
    record["bytes_ratio"] = entry.bytes_ratio
    record["level_with_best_qps"] = comparison.level_with_best(entry)
    record["qps_noise_floor"] = comparison.noise["qps"].relative
    return record


def _put(record: dict[str, CsvValue], name: str, estimate: Estimate | None) -> None:
    record[name] = None if estimate is None else estimate.value
    record[f"{name}_low"] = None if estimate is None else estimate.low
    record[f"{name}_high"] = None if estimate is None else estimate.high
