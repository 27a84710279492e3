"""A suite's contestants against the reference: a row each, a mark a data set; what holds everywhere and what not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.figures.style import (
    GRID,
    INK,
    MUTED,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from adamem.report.overview.members import Overview

SPEED, PRICES = "ratios", "prices"
NAMES = (SPEED, PRICES)
_MARKERS = "osD^vPX*<>"
_IN_A_ROW = 5
_WIDEST = 10.0
"""Intervals that span more than this factor are not drawn: they would hide the others and say nothing."""


def speed(overview: Overview) -> Figure | None:
    """QPS of one call as a ratio to the reference, a panel a target."""
    records = [
        _record(f"QPS at recall {target:g}", member.key, row.contestant, row.ratios["qps"], row.mark("qps"))
        for target in overview.targets
        for member in overview.members
        for row in member.rows
        if row.target == target and math.isfinite(row.ratios["qps"].value)
    ]
    return _figure(
        SPEED,
        "Speed against the reference, on every data set",
        "QPS of one call with all queries over the reference's, to the right is faster. One mark a data set, with its "
        "95 % interval; hollow marks are bounds (the cheapest point lies above the target).",
        records,
    )


def prices(overview: Overview) -> Figure | None:
    """p99, build time and bytes at the middle target as ratios to the reference."""
    records = []
    for member in overview.members:
        for row in member.rows:
            if row.target != overview.middle:
                continue
            for what, ratio in (
                (f"p99 at recall {overview.middle:g}", row.ratios["p99"]),
                ("build time", row.build_ratio),
                ("bytes", Estimate(row.bytes_ratio, math.nan, math.nan)),
            ):
                if math.isfinite(ratio.value):
                    mark = row.mark("p99") if what.startswith("p99") else ""
                    records.append(_record(what, member.key, row.contestant, ratio, mark))
    order = {what: place for place, what in enumerate(dict.fromkeys(record["what"] for record in records))}
    records.sort(key=lambda record: order[record["what"]])
    return _figure(
        PRICES,
        f"What it costs against the reference, at recall {overview.middle:g}",
        "p99 latency of single queries, build time and bytes over the reference's, to the left is better. One mark a "
        "data set, with its 95 % interval where there is one.",
        records,
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    panels = list(dict.fromkeys(record["what"] for record in records))
    keys = list(dict.fromkeys(record["dataset"] for record in records))
    names = _ordered(records, panels)
    marker = {key: _MARKERS[place % len(_MARKERS)] for place, key in enumerate(keys)}
    pitch = max(0.30, 0.085 * len(keys) + 0.12)  # inches a row: the data sets stand below one another in it
    top = 0.42 + 0.2 * -(-len(keys) // _IN_A_ROW)
    height = top + 0.6 + pitch * len(names)
    with canvas(height, len(panels)) as (figure, panes):
        alike = _limits(records) if panels[0].startswith("QPS") else None  # one quantity: one scale
        for axes, what in zip(panes, panels, strict=True):
            mine = [record for record in records if record["what"] == what]
            _panel(axes, mine, names, keys, marker, looks, alike or _limits(mine))
            axes.set_title(what)
        name_rows(panes[0], names, looks)
        panes[0].set_yticklabels([shorten(name) for name in names])
        for axes in panes[1:]:
            name_rows(axes, names, looks)
            axes.set_yticklabels([])
        handles = [
            panes[0].plot([], [], linestyle="none", marker=marker[key], color=MUTED, markersize=5.5, label=key)[0]
            for key in keys
        ]
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.01, 1.0),
            ncols=_IN_A_ROW,
            fontsize=8.5,
            handletextpad=0.2,
            columnspacing=1.0,
        )
        figure.subplots_adjust(
            left=left_margin([shorten(name) for name in names]),
            right=0.98,
            top=1 - top / height,
            bottom=0.5 / height,
            wspace=0.08,
        )
        return export(figure)


def _panel(
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    keys: Sequence[str],
    marker: Mapping[str, str],
    looks: Mapping[str, Look],
    limits: tuple[float, float],
) -> None:
    step = 0.8 / max(len(keys), 1)
    for record in records:
        row = names.index(record["contestant"]) + (keys.index(record["dataset"]) - (len(keys) - 1) / 2) * step
        colour, low, high = looks[record["contestant"]].colour, record["low"], record["high"]
        if _narrow(low, high):
            axes.plot([low, high], [row, row], color=colour, linewidth=1.1, alpha=0.55, solid_capstyle="butt")
        axes.plot(
            [record["value"]],
            [row],
            linestyle="none",
            marker=marker[record["dataset"]],
            markersize=4.6,
            color=colour,
            markerfacecolor="none" if record["mark"] else colour,
        )
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=GRID, linewidth=0.5)
    axes.axvline(1.0, color=INK, linestyle=(0, (4, 2)), linewidth=0.9)
    axes.set_xscale("log")
    low, high = limits
    axes.set_xlim(low, high)
    log_ticks(axes.xaxis, low, high * (7 if high / low > 30 else 1), lambda value: f"{value:g}×")
    axes.xaxis.set_tick_params(labelsize=8.5)
    quiet(axes, grid="x")
    axes.spines["left"].set_color(GRID)


def _limits(records: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """An axis on which everything shown fits, and two labelled ticks at least."""
    shown = [record["value"] for record in records]
    for record in records:
        if _narrow(record["low"], record["high"]):
            shown += [record["low"], record["high"]]
    return min([*shown, 0.5]) / 1.15, max([*shown, 2.0]) * 1.15


def _narrow(low: float | None, high: float | None) -> bool:
    """Whether there is an interval, and one that says something."""
    return low is not None and high is not None and 0 < low < high < _WIDEST * low


def _ordered(records: Sequence[Mapping[str, Any]], panels: Sequence[str]) -> list[str]:
    """Contestants by their geometric mean in the middle panel, the highest first; of build time and bytes too."""
    middle = panels[len(panels) // 2] if "recall" in panels[-1] else panels[0]

    def mean(name: str) -> float:
        logs = [math.log(r["value"]) for r in records if r["contestant"] == name and r["what"] == middle]
        return math.fsum(logs) / len(logs) if logs else math.inf

    names = list(dict.fromkeys(record["contestant"] for record in records))
    faster = middle.startswith("QPS")
    return sorted(names, key=lambda name: -mean(name) if faster and math.isfinite(mean(name)) else mean(name))


def _record(what: str, dataset: str, contestant: str, ratio: Estimate, mark: str) -> dict[str, Any]:
    low, high = (value if math.isfinite(value) else None for value in (ratio.low, ratio.high))
    return {
        "what": what,
        "dataset": dataset,
        "contestant": contestant,
        "value": ratio.value,
        "low": low,
        "high": high,
        "mark": mark,
    }


def _figure(name: str, title: str, caption: str, records: list[dict[str, Any]]) -> Figure | None:
    if not records:
        return None
    told = [f"{r['contestant']} on {r['dataset']} {wording.times(r['value'])} ({r['what']})" for r in records]
    shown = "; ".join(told[:40])
    return Figure(name, title, caption, f"{title}: {shown}{'; and more' if len(told) > 40 else ''}.", rounded(records))
