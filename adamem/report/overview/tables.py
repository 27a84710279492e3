"""The overview's tables: every data set at every target recall, each contestant against the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping

from adamem.bench.curve import Quantity
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.overview.members import Lead, Member, Overview, Row
from adamem.report.tables.duels import BOUNDS
from adamem.report.tables.headline import ratio_text


def lead(overview: Overview) -> Table:
    """For each data set and target the fastest, against the next and against the best of another index."""
    groups, records = [], []
    for member in overview.members:
        rows = []
        for one in member.leads:
            rows.append(
                (
                    Cell(f"{one.target:g}"),
                    Cell(one.best or wording.NOTHING, f"outrun from above by {one.unranked}" if one.unranked else ""),
                    Cell(f"{_bound(one, overview)}{wording.number(one.best_qps.value)}"),
                    _against(one.next, one.next_ratio, one.next_bound, one.next_outcome),
                    _against(one.other, one.other_ratio, one.other_bound, one.other_outcome),
                )
            )
            records.append({"dataset": member.key, **_lead_record(one)})
        groups.append(Group(_label(member), tuple(rows)))
    return Table(
        "lead",
        f"The fastest at equal recall@{overview.k}, in one call with all queries",
        (
            Column("recall"),
            Column("fastest", number=False),
            Column("QPS"),
            Column("to the next", number=False),
            Column("to the best of another index", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Ratios are paired inside blocks; in brackets the 95 % interval. Beyond the noise: the interval lies above "
            "1 and the ratio is above that data set's noise floor.",
            *((BOUNDS,) if any(record["next_bound"] or record["other_bound"] for record in records) else ()),
        ),
    )


def speed(overview: Overview) -> Table:
    """QPS of one call as a ratio to the reference, at every target."""
    columns = (Column("index", number=False), *(Column(f"at {target:g}") for target in overview.targets))
    groups = []
    for member in overview.members:
        rows = []
        for name in _ranked(overview, member):
            found = [member.row(name, target) for target in overview.targets]
            rows.append((Cell(name), *(_speed_cell(row) for row in found)))
        groups.append(Group(_label(member), tuple(rows)))
    records = [
        {**_who(member, row), **_put("qps", row.values["qps"]), **_put("qps_ratio", row.ratios["qps"])}
        | {"qps_status": row.values["qps"].status, "qps_ratio_status": row.ratios["qps"].status}
        | {"level_with_best_qps": row.level_with_best}
        for member in overview.members
        for row in member.rows
    ]
    return Table(
        "speed",
        f"QPS of one call, as a ratio to the reference, at equal recall@{overview.k}",
        columns,
        tuple(groups),
        tuple(records),
        notes=(
            "Each contestant with the build and the effort that calibration chose for it on that data set; the "
            "reference's build is fixed. Below each ratio its 95 % interval. Bold: the best of its data set, and what "
            "is not told apart from it. ≥ and ≤ mark bounds: the cheapest point lies above the target.",
        ),
    )


def latency(overview: Overview) -> Table:
    """p50 and p99 of single queries as ratios to the reference."""
    columns = [Column("index", number=False)]
    columns += [Column(f"{what} at {target:g}") for target in overview.targets for what in ("p50", "p99")]
    groups = []
    for member in overview.members:
        rows = []
        for name in _ranked(overview, member):
            cells = [Cell(name)]
            for target in overview.targets:
                row = member.row(name, target)
                cells += [_ratio_cell(row, "p50"), _ratio_cell(row, "p99")]
            rows.append(tuple(cells))
        groups.append(Group(_label(member), tuple(rows)))
    records = []
    for member in overview.members:
        for row in member.rows:
            record = _who(member, row)
            for what in ("qps_one", "p50", "p99"):
                record |= {**_put(what, row.values[what]), **_put(f"{what}_ratio", row.ratios[what])}
                record[f"{what}_ratio_status"] = row.ratios[what].status
            records.append(record)
    return Table(
        "latency",
        f"Latency of one query a call, as a ratio to the reference (less is better), at equal recall@{overview.k}",
        columns=tuple(columns),
        groups=tuple(groups),
        records=tuple(records),
    )


def costs(overview: Overview) -> Table:
    """Build time and bytes of the build chosen for the middle target; the CSV has every target."""
    groups = []
    for member in overview.members:
        rows = []
        for name in _ranked(overview, member):
            row = member.row(name, overview.middle)
            if row is None:
                continue
            rows.append(
                (
                    Cell(name, row.build),
                    Cell(wording.seconds(row.build_seconds.value)),
                    Cell(wording.times(row.build_ratio.value), _interval(row.build_ratio)),
                    Cell(wording.megabytes(row.bytes) if math.isfinite(row.bytes) else wording.NOTHING),
                    Cell(wording.times(row.bytes_ratio)),
                )
            )
        groups.append(Group(_label(member), tuple(rows)))
    records = [
        {**_who(member, row), **_put("build_seconds", row.build_seconds), **_put("build_ratio", row.build_ratio)}
        | {"bytes": row.bytes, "bytes_ratio": row.bytes_ratio}
        for member in overview.members
        for row in member.rows
    ]
    return Table(
        "costs",
        f"Build time and memory of the build chosen for recall {overview.middle:g}",
        (
            Column("index", number=False),
            Column("build"),
            Column("to the reference"),
            Column("memory", "as reported"),
            Column("to the reference"),
        ),
        tuple(groups),
        tuple(records),
    )


def members(overview: Overview) -> Table:
    """What was measured on, how, how long it took; and what is missing."""
    rows: list[tuple[Cell, ...]] = []
    records: list[Mapping[str, CsvValue]] = []
    found = {member.key: member for member in overview.members}
    for one in overview.suite.dataset:
        member = found.get(one.key)
        state = "measured" if member else overview.missing[one.key]
        if member and member.stale:
            state = "measured by an earlier config; run it again"
        told: dict[str, CsvValue] = dict.fromkeys(
            ("data", "n", "dim", "metric", "queries", "seeds", "rounds", "noise_floor", "disturbed", "wall_seconds")
        )
        if member:
            data = member.run.dataset
            told |= {
                "data": data.name,
                "n": data.n,
                "dim": data.dim,
                "metric": data.metric,
                "queries": data.queries.test,
                "seeds": member.run.config["measure"]["build_seeds"],
                "rounds": member.run.config["measure"]["rounds"],
                "noise_floor": member.noise,
                "disturbed": member.disturbed,
                "wall_seconds": math.fsum(member.run.wall_seconds.values()),
            }
            rows.append(
                (
                    Cell(one.key, data.name),
                    Cell(f"{data.n:,} × {data.dim}", data.metric),
                    Cell(f"{data.queries.test:,}"),
                    Cell(f"{told['seeds']} × {told['rounds']}"),
                    Cell(wording.percent(member.noise)),
                    Cell(wording.duration(math.fsum(member.run.wall_seconds.values()))),
                    Cell(state, member.disturbed),
                )
            )
        else:
            rows.append((Cell(one.key, one.name), *(Cell(wording.NOTHING) for _ in range(5)), Cell(state)))
        records.append({"dataset": one.key, "state": state, **told})
    return Table(
        "members",
        "The data sets",
        (
            Column("data set", number=False),
            Column("vectors"),
            Column("test queries"),
            Column("seeds × rounds"),
            Column("noise floor", "of QPS"),
            Column("wall time"),
            Column("state", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
    )


def _ranked(overview: Overview, member: Member) -> list[str]:
    """Contestants with a row, fastest at the middle target first; those without a figure there last."""
    names = list(dict.fromkeys(row.contestant for row in member.rows))

    def place(name: str) -> float:
        row = member.row(name, overview.middle)
        value = row.values["qps"].value if row else math.nan
        return -value if math.isfinite(value) else math.inf

    return sorted(names, key=place)


def _speed_cell(row: Row | None) -> Cell:
    if row is None:
        return Cell(wording.NOTHING)
    ratio = row.ratios["qps"]
    if not math.isfinite(ratio.value):
        return Cell(wording.why_none(row.values["qps"]))
    text, _, told = ratio_text(ratio).partition(" ")
    return Cell(f"{row.mark('qps')}{text}", told, best=row.level_with_best)


def _ratio_cell(row: Row | None, what: Quantity) -> Cell:
    if row is None or not math.isfinite(row.ratios[what].value):
        return Cell(wording.NOTHING)
    text, _, told = ratio_text(row.ratios[what]).partition(" ")
    return Cell(f"{row.mark(what)}{text}", told)


def _bound(one: Lead, overview: Overview) -> str:
    """The sign of a leader's bound; exact search has none, as in `Row.mark`."""
    return "" if dict(overview.contestants).get(one.best) == "exact" else one.best_qps.mark


def _against(name: str, ratio: Estimate, bound: str, outcome: str) -> Cell:
    if not name:
        return Cell("nobody else has a figure")
    if not math.isfinite(ratio.value):
        return Cell(f"never measured beside {name}")
    how = "beyond the noise" if outcome == "ahead" else "not told apart"
    return Cell(f"{bound}{wording.times(ratio.value)} {name}", f"{_interval(ratio)} {how}".strip())


def _interval(estimate: Estimate) -> str:
    # As in the headline: an interval over a decade says nothing, it is in the CSV.
    return wording.interval(estimate) if estimate.high < 10 * estimate.value else ""


def _label(member: Member) -> str:
    data = member.run.dataset
    return f"{member.title} ({data.n:,} × {data.dim}, {data.metric})"


def _who(member: Member, row: Row) -> dict[str, CsvValue]:
    return {
        "dataset": member.key,
        "n": member.run.dataset.n,
        "target_recall": row.target,
        "contestant": row.contestant,
        "index": row.index,
        "build": row.build,
    }


def _put(name: str, estimate: Estimate) -> dict[str, CsvValue]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _lead_record(one: Lead) -> dict[str, CsvValue]:
    return {
        "target_recall": one.target,
        "best": one.best,
        **_put("best_qps", one.best_qps),
        "next": one.next,
        **_put("next_ratio", one.next_ratio),
        "next_bound": one.next_bound,
        "next_outcome": one.next_outcome,
        "other": one.other,
        **_put("other_ratio", one.other_ratio),
        "other_bound": one.other_bound,
        "other_outcome": one.other_outcome,
        "unranked": one.unranked,
    }
