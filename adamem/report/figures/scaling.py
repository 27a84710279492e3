"""How contestants grow with the number of vectors: speed at each target, build time, bytes, recall within reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.figures.style import MUTED, Look, canvas, export, given_ticks, log_ticks, quiet, rounded, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from adamem.report.overview.members import Overview

NAME = "scaling"
_BUILD, _BYTES, _REACH = "build, seconds", "memory, MB", "highest recall measured"
_IN_A_ROW = 5


def data(overview: Overview) -> Figure | None:
    """A line a contestant over the sizes; None where nothing was measured."""
    records: list[dict[str, Any]] = []

    def put(what: str, contestant: str, n: int, value: float, low: float = math.nan, high: float = math.nan) -> None:
        if math.isfinite(value):
            ends = (end if math.isfinite(end) else None for end in (low, high))
            told = dict(zip(("low", "high"), ends, strict=True))
            records.append({"what": what, "contestant": contestant, "n": n, "value": value, **told})

    members = sorted(overview.members, key=lambda member: member.run.dataset.n)
    names = [name for name, _ in overview.contestants]
    for target in overview.targets:
        for member in members:
            for name in names:
                row = member.row(name, target)
                if row is not None:
                    held = row.values["qps"]
                    put(f"QPS at recall {target:g}", name, member.run.dataset.n, held.value, held.low, held.high)
    for member in members:
        n = member.run.dataset.n
        for name in names:
            row = member.row(name, overview.middle)
            if row is not None:
                spent = row.build_seconds
                put(_BUILD, name, n, spent.value, spent.low, spent.high)
                put(_BYTES, name, n, row.bytes / 1e6)
            put(_REACH, name, n, member.reach.get(name, math.nan))
    if not records:
        return None
    sizes = [member.run.dataset.n for member in members]
    return Figure(
        NAME,
        f"From {sizes[0]:,} to {sizes[-1]:,} vectors",
        "Above: queries a second in one call at each target recall, each with the build and effort chosen at that size "
        "(thin: 95 % interval; no mark where that recall is not reached or not bracketed). Below: build time, bytes as "
        f"the index reports them, both of the build for recall {overview.middle:g}, and the highest recall that was "
        "measured.",
        "Lines over the number of vectors: " + _told(records),
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    speeds = list(dict.fromkeys(r["what"] for r in records if r["what"].startswith("QPS")))
    panels = [*speeds, *(what for what in (_BUILD, _BYTES, _REACH) if any(r["what"] == what for r in records))]
    present = {r["contestant"] for r in records}
    names = [name for name in looks if name in present]
    columns = 3
    rows = -(-len(panels) // columns)
    legend = 0.12 + 0.2 * -(-len(names) // _IN_A_ROW)
    height = legend + 0.35 + 2.75 * rows
    with canvas(height, columns, rows) as (figure, panes):
        for axes, what in zip(panes, panels, strict=False):
            _panel(axes, [r for r in records if r["what"] == what], names, looks)
            axes.set_title(what)
        for axes in panes[len(panels) :]:
            axes.set_visible(False)
        if len(speeds) > 1:
            # Speeds are compared across targets: one scale for all.
            low = min(axes.get_ylim()[0] for axes in panes[: len(speeds)])
            high = max(axes.get_ylim()[1] for axes in panes[: len(speeds)])
            for axes in panes[: len(speeds)]:
                axes.set_ylim(low, high)
                log_ticks(axes.yaxis, low, high, lambda value: f"{value:,g}")
        handles = [
            panes[0].plot(
                [],
                [],
                color=looks[name].colour,
                marker=looks[name].marker,
                linestyle=looks[name].dash,
                label=shorten(name, 24),
            )[0]
            for name in names
        ]
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.01, 1.0),
            ncols=_IN_A_ROW,
            fontsize=9,
            handlelength=2.2,
            columnspacing=1.2,
        )
        figure.subplots_adjust(
            left=0.075, right=0.985, top=1 - (legend + 0.3) / height, bottom=0.5 / height, wspace=0.27, hspace=0.36
        )
        return export(figure)


def _panel(axes: Axes, records: list[Mapping[str, Any]], names: list[str], looks: Mapping[str, Look]) -> None:
    sizes = sorted({r["n"] for r in records})
    for name in names:
        mine = sorted((r for r in records if r["contestant"] == name), key=lambda r: r["n"])
        if not mine:
            continue
        look = looks[name]
        axes.plot(
            [r["n"] for r in mine],
            [r["value"] for r in mine],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            linewidth=1.5,
            clip_on=False,
        )
        for r in mine:
            if r["low"] is not None and r["high"] is not None and r["high"] < 10 * r["low"]:
                axes.plot([r["n"]] * 2, [r["low"], r["high"]], color=look.colour, linewidth=0.9, alpha=0.6)
    axes.set_xscale("log")
    if records and records[0]["what"] != _REACH:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        log_ticks(axes.yaxis, low, high, lambda value: f"{value:,g}")
    given_ticks(axes.xaxis, sizes, [_size(n) for n in sizes])
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel("vectors", color=MUTED)
    quiet(axes)


def _size(n: int) -> str:
    for unit, scale in (("M", 1_000_000), ("k", 1_000)):
        if n >= scale:
            return f"{n / scale:.3g}{unit}"
    return str(n)


def _told(records: list[dict[str, Any]]) -> str:
    out = []
    for what in dict.fromkeys(r["what"] for r in records):
        for name in dict.fromkeys(r["contestant"] for r in records):
            mine = [r for r in records if r["what"] == what and r["contestant"] == name]
            if len(mine) > 1:
                ends = [f"{wording.number(r['value'])} at {_size(r['n'])}" for r in (mine[0], mine[-1])]
                out.append(f"{name} {what} {' to '.join(ends)}")
    return "; ".join(out[:30]) + "."
