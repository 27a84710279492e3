"""How long single queries take: the distribution, not its mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.style import (
    INK,
    Look,
    canvas,
    export,
    left_margin,
    log_ticks,
    name_rows,
    quiet,
    rounded,
    shorten,
)
from adamem.report.operating import operating, query_medians

NAME = "latency"
_PERCENTS = (1, 5, 25, 50, 75, 95, 99)


def data(comparison: Comparison) -> Figure | None:
    """Percentiles of one-query latency at the points for the middle target; None where no query was asked alone."""
    loaded = comparison.loaded
    records = []
    for one in operating(loaded, loaded.middle):
        if not all(m.worker.points[n].one_query for m, n in zip(one.series.measured, one.spot.numbers, strict=True)):
            continue
        medians = query_medians(one.series, one.spot)
        seconds = medians[np.isfinite(medians)]
        if seconds.size == 0:
            continue
        record: dict[str, Any] = {
            "contestant": one.contestant.name,
            "build": wording.params(one.series.build),
            "search": one.setting,
            "recall": one.recall_estimate(loaded.k).value,
        }
        record |= {f"p{percent}": float(np.percentile(seconds, percent)) for percent in _PERCENTS}
        record["max"] = float(seconds.max())
        records.append(record)
    if not records:
        return None
    told = "; ".join(
        f"{r['contestant']} median {wording.seconds(r['p50'])}, p99 {wording.seconds(r['p99'])}" for r in records
    )
    return Figure(
        NAME,
        f"One-query latency at the point for recall@{loaded.k} = {loaded.middle:g}",
        "Each query's median over the rounds, all build seeds together. Box: the middle half; line: 5 % to 95 %; "
        "dot: median; "
        "tick: p99; open dot: the slowest query. The recall reached is at the right.",
        f"Latency of single queries on a logarithmic axis: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    with canvas(0.9 + 0.36 * len(records)) as (figure, (axes,)):
        for row, r in enumerate(records):
            colour = looks[r["contestant"]].colour
            axes.plot([r["p5"], r["p95"]], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
            axes.plot([r["p25"], r["p75"]], [row, row], color=colour, linewidth=8, alpha=0.35, solid_capstyle="butt")
            axes.plot(r["p50"], row, marker="o", markersize=6, color=colour)
            axes.plot([r["p99"]] * 2, [row - 0.24, row + 0.24], color=colour, linewidth=1.8)
            axes.plot(r["max"], row, marker="o", markersize=4, markerfacecolor="none", color=colour)
            axes.annotate(
                wording.score(r["recall"]),
                (1.0, row),
                xycoords=("axes fraction", "data"),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                annotation_clip=False,
            )
        axes.annotate(
            "recall",
            (1.0, 1.0),
            xycoords="axes fraction",
            xytext=(8, 3),
            textcoords="offset points",
            color=INK,
            annotation_clip=False,
        )
        axes.set_xscale("log")
        log_ticks(axes.xaxis, *axes.get_xlim(), wording.seconds)
        names = [r["contestant"] for r in records]
        name_rows(axes, names, looks)
        axes.set_yticklabels([shorten(name) for name in names])
        quiet(axes, grid="x")
        axes.spines["left"].set_visible(False)
        height = 0.9 + 0.36 * len(records)
        figure.subplots_adjust(
            left=left_margin([shorten(n) for n in names]), right=0.91, top=1 - 0.25 / height, bottom=0.4 / height
        )
        return export(figure)
