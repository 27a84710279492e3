"""Every measured point, and what each index gives without tuning."""

from __future__ import annotations

from typing import Any

import numpy as np

from adamem.bench.stats import band, mean_estimate
from adamem.report import wording
from adamem.report.document import Cell, Column, Group, Table
from adamem.report.loaded import Loaded, Series, Spot
from adamem.report.operating import defaults

_COLUMNS = (
    Column("search", number=False),
    Column("k"),
    Column("recall"),
    Column("QPS", "one call"),
    Column("p50", "one query"),
    Column("p99", "one query"),
)


def default_points(loaded: Loaded) -> Table | None:
    """What a user gets who sets nothing."""
    rows, records = [], []
    for one in defaults(loaded):
        cells, record = _point(loaded, one.series, one.spot, rows_name=one.contestant.name)
        rows.append((Cell(one.contestant.name, wording.params(one.series.build)), *cells))
        records.append(record)
    if not records:
        return None
    return Table(
        "defaults",
        "What each index gives with its defaults",
        (Column("index", number=False), *_COLUMNS),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Untuned figures stand at different recalls: they tell what happens to who sets nothing, not which index "
            "is better.",
        ),
    )


def all_points(loaded: Loaded) -> Table | None:
    """Every point of stage 2, the ones that no figure shows included."""
    groups, records = [], []
    for series in (one for contestant in loaded.contestants for one in contestant.series):
        rows = []
        for spot in sorted(series.spots, key=lambda spot: spot.k):
            cells, record = _point(loaded, series, spot, rows_name=series.contestant)
            rows.append(cells)
            records.append(record)
        role = " (the reference)" if series.role == "reference" else ""
        build = wording.params(series.build)
        groups.append(Group(f"{series.contestant}{role}{': ' if build else ''}{build}", tuple(rows)))
    if not records:
        return None
    return Table("points", "Every measured point", _COLUMNS, tuple(groups), tuple(records))


def _point(loaded: Loaded, series: Series, spot: Spot, *, rows_name: str) -> tuple[tuple[Cell, ...], dict[str, Any]]:
    curve = series.curve([spot])
    recall = mean_estimate(curve.recall[:, 0])
    answers = series.answers(spot)
    metric = loaded.run.dataset.metric
    record: dict[str, Any] = {
        "contestant": rows_name,
        "role": series.role,
        "build": wording.params(series.build),
        "search": wording.params(spot.search),
        "k": spot.k,
        "origin": spot.origin,
        "seeds": len(series.measured),
        "recall": recall.value,
        "recall_low": recall.low,
        "recall_high": recall.high,
        "recall_annb": float(
            np.mean([loaded.metrics.recall_annb(a, loaded.truth, spot.k, metric).mean() for a in answers])
        ),
    }
    for what in ("qps", "qps_one", "p50", "p99", "p99_raw"):
        # One resample: the value alone is wanted, intervals stand where points are compared.
        record[what] = float(band(curve, what, resamples=1).value[0]) if curve.measured(what) else None
    recorded = [m.worker.points[n] for m, n in zip(series.measured, spot.numbers, strict=True)]
    errors = [point.distance_error for point in recorded if point.distance_error is not None]
    record["distance_error"] = max(errors) if errors else None
    record["repeatable"] = all(point.repeatable for point in recorded)
    counters: dict[str, list[float]] = {}
    for point in recorded:
        for name, value in point.counters.items():
            counters.setdefault(name, []).append(value)
    means = {name: wording.settled(float(np.mean(values))) for name, values in sorted(counters.items())}
    record["counters"] = "; ".join(f"{name}={mean:.6g}" for name, mean in means.items())
    cells = (
        Cell(record["search"] or "none", "" if spot.origin == "grid" else spot.origin),
        Cell(str(spot.k)),
        Cell(wording.score(recall.value)),
        Cell(wording.number(record["qps"]) if record["qps"] is not None else "not measured"),
        *(
            Cell(wording.seconds(record[what]) if record[what] is not None else "not measured")
            for what in ("p50", "p99")
        ),
    )
    return cells, record
