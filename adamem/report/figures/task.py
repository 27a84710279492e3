"""Does recall matter to the task? The task's own measure against the recall of the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.bench.stats import mean_estimate
from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.pareto import cap, recall_axis, stretch
from adamem.report.figures.style import Look, canvas, export, label_right, quiet, rounded
from adamem.report.operating import Operating
from adamem.report.tables.task import TASK_K, task_values

NAME = "task"


def data(comparison: Comparison) -> Figure | None:
    """nDCG@10 at every point of each contestant's front; None where the data set has no judgements."""
    loaded = comparison.loaded
    if loaded.qrels is None:
        return None
    records: list[dict[str, Any]] = []
    for contestant in loaded.contestants:
        series = contestant.for_target(loaded.middle)
        for spot in [] if series is None else series.front(loaded.k):
            assert series is not None
            ndcg = mean_estimate(task_values(loaded, Operating(contestant, series, spot))["ndcg"])
            records.append(
                {
                    "contestant": contestant.name,
                    "exact": contestant.is_exact,
                    "search": wording.params(spot.search),
                    "recall": mean_estimate(series.recall(spot, loaded.k)).value,
                    "ndcg": ndcg.value,
                    "ndcg_low": ndcg.low,
                    "ndcg_high": ndcg.high,
                }
            )
    if not records:
        return None
    return Figure(
        NAME,
        f"nDCG@{TASK_K} against recall@{loaded.k}",
        "Where a line has reached the level of exact search, more recall buys the task nothing. Bands are 95 % "
        "intervals over "
        "seeds and judged queries; all share the queries, so neighbouring lines differ by less than the bands say.",
        f"nDCG@{TASK_K} against recall: " + _told(records),
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    with canvas(3.8) as (figure, (axes,)):
        top = cap(records)
        alpha = 0.10 if len({r["contestant"] for r in records}) <= 5 else 0.05
        labels = []
        for name in dict.fromkeys(r["contestant"] for r in records):
            mine = [r for r in records if r["contestant"] == name]
            look = looks[name]
            x, y = [stretch(r["recall"], top) for r in mine], [r["ndcg"] for r in mine]
            if mine[0]["exact"]:
                axes.axhspan(mine[0]["ndcg_low"], mine[0]["ndcg_high"], color=look.colour, alpha=0.08, linewidth=0)
                axes.axhline(y[0], color=look.colour, linestyle=look.dash, linewidth=1.3)
                labels.append((top, y[0], name, look.colour))
                continue
            axes.fill_between(
                x,
                [r["ndcg_low"] for r in mine],
                [r["ndcg_high"] for r in mine],
                color=look.colour,
                alpha=alpha,
                linewidth=0,
            )
            axes.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker)
            labels.append((x[-1], y[-1], name, look.colour))
        recall_axis(axes, records, top)
        axes.set_xlabel("recall")
        axes.set_ylabel(f"nDCG@{TASK_K}")
        quiet(axes)
        figure.subplots_adjust(left=0.09, right=0.79, top=0.97, bottom=0.13)
        label_right(axes, labels)
        return export(figure)


def _told(records: list[dict[str, Any]]) -> str:
    out = []
    for name in dict.fromkeys(r["contestant"] for r in records):
        mine = [r for r in records if r["contestant"] == name]
        first, last = (f"{wording.fixed(r['ndcg'], 3)} at {wording.score(r['recall'])}" for r in (mine[0], mine[-1]))
        out.append(f"{name} {first} to {last}")
    return "; ".join(out) + "."
