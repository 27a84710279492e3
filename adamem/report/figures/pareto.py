"""Speed against recall: the figure that the field reads first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamem.bench.curve import Quantity
from adamem.bench.stats import band
from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.style import Look, canvas, export, label_right, log_ticks, quiet, rounded
from adamem.report.loaded import Contestant, Series, effort_name, line_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "pareto"
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)


def data(comparison: Comparison) -> Figure | None:
    """The fronts of every contestant's chosen builds, with intervals; None where nothing was measured."""
    loaded = comparison.loaded
    records: list[dict[str, Any]] = []
    for contestant in loaded.contestants:
        for series in chosen(contestant, loaded.targets, loaded.middle):
            spots = series.front(loaded.k)
            effort = effort_name(series.stage1.searches if series.stage1 else [spot.search for spot in spots])
            curve = series.curve(spots)
            what: Quantity = "qps" if curve.batch is not None else "qps_one"
            recall, speed = band(curve, "recall"), band(curve, what)
            for p, spot in enumerate(spots):
                records.append(
                    {
                        "contestant": contestant.name,
                        "index": contestant.index,
                        "exact": contestant.is_exact,
                        "build": wording.params(series.build),
                        "chosen_at_middle_target": series is contestant.for_target(loaded.middle),
                        "search": wording.params(spot.search),
                        "line": line_of(spot.search, effort),
                        "recall": float(recall.value[p]),
                        "recall_low": float(recall.low[p]),
                        "recall_high": float(recall.high[p]),
                        "qps": float(speed.value[p]),
                        "qps_low": float(speed.low[p]),
                        "qps_high": float(speed.high[p]),
                        "asked": "in one call" if what == "qps" else "one by one",
                    }
                )
    if not records:
        return None
    return Figure(
        NAME,
        f"Speed against recall@{loaded.k}",
        "Up and to the right is better. Both axes are stretched: the upward one is logarithmic, the other widens "
        "towards "
        "recall 1. Bands and whiskers are 95 % intervals over build seeds, rounds and queries. Faint lines are builds "
        "chosen for another target; several lines of one colour differ in another search parameter.",
        "Queries a second on a logarithmic axis against recall, one line an index: " + _told(records),
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    with canvas(4.9) as (figure, (axes,)):
        top = cap(records)
        alpha = 0.18 if len({r["contestant"] for r in records}) <= 5 else 0.09  # many bands would hide the lines
        labels = []
        ends_of: dict[str, list[tuple[float, float]]] = {}
        for name, build, line in dict.fromkeys((r["contestant"], r["build"], r["line"]) for r in records):
            mine = [r for r in records if (r["contestant"], r["build"], r["line"]) == (name, build, line)]
            look, main = looks[name], bool(mine[0]["chosen_at_middle_target"])
            x = [stretch(r["recall"], top) for r in mine]
            y = [r["qps"] for r in mine]
            if mine[0]["exact"]:
                axes.axhspan(mine[0]["qps_low"], mine[0]["qps_high"], color=look.colour, alpha=0.10, linewidth=0)
                axes.axhline(y[0], color=look.colour, linestyle=look.dash, linewidth=1.3)
                labels.append((top, y[0], name, look.colour))
                continue
            if main:
                low, high = [r["qps_low"] for r in mine], [r["qps_high"] for r in mine]
                axes.fill_between(x, low, high, color=look.colour, alpha=alpha, linewidth=0)
                for r in mine:
                    ends = [stretch(r["recall_low"], top), stretch(r["recall_high"], top)]
                    axes.plot(ends, [r["qps"]] * 2, color=look.colour, linewidth=1.0, alpha=0.5)
                ends_of.setdefault(name, []).append((x[-1], y[-1]))
            axes.plot(
                x,
                y,
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markersize=4.5 if main else 2.5,
                alpha=1.0 if main else 0.4,
                linewidth=1.7 if main else 1.0,
            )
        labels += [(*max(places), name, looks[name].colour) for name, places in ends_of.items()]
        axes.set_yscale("log")
        recall_axis(axes, records, top)
        axes.set_ylabel("queries a second" if records[0]["asked"] == "in one call" else "queries a second, one by one")
        axes.set_xlabel("recall")
        log_ticks(axes.yaxis, *axes.get_ylim(), lambda value: f"{value:,.0f}" if value >= 1 else f"{value:g}")
        quiet(axes)
        figure.subplots_adjust(left=0.105, right=0.79, top=0.97, bottom=0.11)
        label_right(axes, labels)
        return export(figure)


def chosen(contestant: Contestant, targets: list[float], middle: float) -> list[Series]:
    """A contestant's builds that answer for some target, the middle one's first, each once."""
    out: list[Series] = []
    for target in [middle, *targets]:
        series = contestant.for_target(target)
        if series is not None and not any(series is one for one in out):
            out.append(series)
    return out


def stretch(recall: float, top: float) -> float:
    """-log10(1 - recall): 0.9 at 1, 0.99 at 2; perfect recall at `top`."""
    return min(-math.log10(max(1.0 - recall, 1e-12)), top)


def cap(records: tuple[Mapping[str, Any], ...]) -> float:
    """Where recall 1 is drawn: a little past the best recall below it, at least past 0.999."""
    below = [r["recall"] for r in records if r["recall"] < 1.0 and not r.get("exact")]
    return max([2.3, *(stretch(value, 5.0) + 0.15 for value in below)])


def recall_axis(axes: Axes, records: tuple[Mapping[str, Any], ...], top: float) -> None:
    """Ticks at the recalls that people name, as far as the data go."""
    lowest = min([stretch(r["recall"], top) for r in records if not r.get("exact")] or [1.0])
    left = max(0.0, min(lowest, 1.0) - 0.08)
    ticks: list[tuple[float, str]] = []
    for value in TICKS:
        place = stretch(value, 9.0)
        if left <= place <= top - 0.12 and (not ticks or place - ticks[-1][0] > 0.055 * (top - left)):
            ticks.append((place, f"{value:g}"))
    ticks.append((top, "1"))
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.set_xlim(left, top + 0.03 * (top - left))


def _told(records: list[dict[str, Any]]) -> str:
    parts = []
    for name in dict.fromkeys(r["contestant"] for r in records):
        mine = [r for r in records if r["contestant"] == name and r["chosen_at_middle_target"]]
        first, last = mine[0], mine[-1]
        if len(mine) == 1:
            parts.append(f"{name} {wording.number(first['qps'])} at {wording.score(first['recall'])}")
        else:
            parts.append(
                f"{name} from {wording.number(first['qps'])} at {wording.score(first['recall'])} to "
                f"{wording.number(last['qps'])} at {wording.score(last['recall'])}"
            )
    return "; ".join(parts) + "."
