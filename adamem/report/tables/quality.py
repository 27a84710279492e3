"""What the answers are worth: recall at several k, and the worst queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.bench.stats import Estimate, band, mean_estimate
from adamem.bench.strata import tail
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.loaded import Loaded
from adamem.report.operating import Operating, operating
from adamem.types import DoubleArray


def recall_at(loaded: Loaded) -> Table | None:
    """Primary recall beside ann-benchmarks' at every k that was asked for, at each target's point."""
    wanted = [int(k) for k in loaded.run.config["measure"]["recall_at"]]
    groups: list[Group] = []
    records: list[Mapping[str, CsvValue]] = []
    for target in loaded.targets:
        rows = []
        for one in operating(loaded, target):
            cells = [Cell(one.contestant.name, one.setting)]
            for k in wanted:
                source = _covering(loaded, one, k)
                if source is None:
                    cells.append(Cell(wording.NOTHING))
                    continue
                primary, theirs = source.recall_estimate(k), mean_estimate(_annb(loaded, source, k))
                cells.append(Cell(wording.score(primary.value), f"{wording.score(theirs.value)} ann-b."))
                records.append(
                    {
                        "contestant": one.contestant.name,
                        "target_recall": target,
                        "build": wording.params(one.series.build),
                        "search": one.setting,
                        "k": k,
                        "answered_k": source.spot.k,
                        "recall": primary.value,
                        "recall_low": primary.low,
                        "recall_high": primary.high,
                        "recall_annb": theirs.value,
                        "distance_ratio": float(np.nanmean(ratio))
                        if np.isfinite(ratio := _ratio(loaded, source, k)).any()
                        else None,
                    }
                )
            rows.append(tuple(cells))
        groups.append(Group(f"the point for recall@{loaded.k} = {target:g}", tuple(rows)))
    if not records:
        return None
    return Table(
        "recall-at-k",
        "Recall at other k, at each target's operating point",
        (Column("index", number=False), *(Column(f"recall@{k}") for k in wanted)),
        tuple(groups),
        tuple(records),
        notes=(
            "Recall counts ids, ties credited. Below it ann-benchmarks' definition (distance within 0.001 of the "
            "k-th), for "
            "comparison with published figures: on near-duplicates it can be 1 where not one true neighbour came back. "
            "Points are chosen on the calibration queries, so recall here need not be the target's to the digit.",
        ),
    )


def other_k(loaded: Loaded) -> Table | None:
    """Speed at the other timed k, at the points of the targets."""
    others = [int(k) for k in loaded.run.config["measure"]["k"][1:]]
    groups, records = [], []
    for k in others:
        for target in loaded.targets:
            rows = []
            for one in operating(loaded, target):
                wide = one.widened(k)
                if wide is None:
                    continue
                curve = wide.series.curve([wide.spot])
                told: dict[str, Any] = {
                    "contestant": one.contestant.name,
                    "k": k,
                    "target_recall": target,
                    "build": wording.params(one.series.build),
                    "search": one.setting,
                }
                cells = [Cell(one.contestant.name, one.setting)]
                recall = wide.recall_estimate(k)
                told |= {"recall": recall.value, "recall_low": recall.low, "recall_high": recall.high}
                cells.append(Cell(wording.score(recall.value), wording.interval(recall, "score")))
                for what in ("qps", "p50", "p99"):
                    if not curve.measured(what):
                        cells.append(Cell("not measured"))
                        told |= {what: None, f"{what}_low": None, f"{what}_high": None}
                        continue
                    drawn = band(curve, what)
                    value = Estimate(float(drawn.value[0]), float(drawn.low[0]), float(drawn.high[0]))
                    told |= {what: value.value, f"{what}_low": value.low, f"{what}_high": value.high}
                    form = "plain" if what == "qps" else "seconds"
                    text = wording.number(value.value) if what == "qps" else wording.seconds(value.value)
                    cells.append(Cell(text, wording.interval(value, form)))
                rows.append(tuple(cells))
                records.append(told)
            if rows:
                groups.append(Group(f"k = {k}, the point for recall@{loaded.k} = {target:g}", tuple(rows)))
    if not records:
        return None
    return Table(
        "other-k",
        f"Speed at k = {', '.join(map(str, others))}",
        (
            Column("index", number=False),
            Column("recall", "at that k"),
            Column("QPS", "one call"),
            Column("p50", "one query"),
            Column("p99", "one query"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "The search parameters are those of the target at the first k; recall at the larger k is what they give.",
        ),
    )


def tails(loaded: Loaded) -> Table | None:
    """What a mean of recalls hides."""
    rows, records = [], []
    for one in operating(loaded, loaded.middle):
        found = tail(one.recall(loaded.k))
        rows.append(
            (
                Cell(one.contestant.name, one.setting),
                Cell(wording.score(found.mean)),
                Cell(wording.score(found.p5)),
                Cell(wording.percent(found.below_half)),
                Cell(wording.percent(found.zero)),
            )
        )
        records.append({"contestant": one.contestant.name, "search": one.setting, **found._asdict()})
    if not records:
        return None
    return Table(
        "worst-queries",
        f"The worst queries at the point for recall@{loaded.k} = {loaded.middle:g}",
        (
            Column("index", number=False),
            Column("mean recall"),
            Column("5th percentile"),
            Column("below 0.5", "of queries"),
            Column("nothing found", "of queries"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
    )


def _covering(loaded: Loaded, one: Operating, k: int) -> Operating | None:
    """The same search asked for the smallest timed k that covers `k`."""
    for timed in sorted(int(value) for value in loaded.run.config["measure"]["k"]):
        if timed >= k:
            found = one.widened(timed)
            if found is not None:
                return found
    return None


def _annb(loaded: Loaded, one: Operating, k: int) -> DoubleArray:
    metric = loaded.run.dataset.metric
    return np.stack([loaded.metrics.recall_annb(a, loaded.truth, k, metric) for a in one.series.answers(one.spot)])


def _ratio(loaded: Loaded, one: Operating, k: int) -> DoubleArray:
    metric = loaded.run.dataset.metric
    return np.stack([loaded.metrics.distance_ratio(a, loaded.truth, k, metric) for a in one.series.answers(one.spot)])
