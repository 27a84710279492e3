"""Recall against the parameter that buys it: how an index is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import TYPE_CHECKING, Any

from adamem.bench.stats import mean_estimate
from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.pareto import TICKS, cap, stretch
from adamem.report.figures.style import Look, canvas, export, given_ticks, label_right, quiet, rounded, shorten
from adamem.report.loaded import effort_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "effort"


def data(comparison: Comparison) -> Figure | None:
    """Recall at every effort of each contestant's build for the middle target; None where none has an effort."""
    loaded = comparison.loaded
    records: list[dict[str, Any]] = []
    for contestant in loaded.contestants:
        series = contestant.for_target(loaded.middle)
        spots = [] if series is None else series.at(loaded.k)
        name = effort_name([spot.search for spot in spots])
        if series is None or name is None:
            continue
        for spot in sorted(spots, key=lambda one: float(one.search[name])):
            recall = mean_estimate(series.recall(spot, loaded.k))
            others = {key: value for key, value in spot.search.items() if key != name}
            records.append(
                {
                    "contestant": contestant.name,
                    "build": wording.params(series.build),
                    "parameter": name,
                    "effort": float(spot.search[name]),
                    "others": wording.params(others),
                    "recall": recall.value,
                    "recall_low": recall.low,
                    "recall_high": recall.high,
                }
            )
    if not records:
        return None
    names = list(dict.fromkeys(r["parameter"] for r in records))
    return Figure(
        NAME,
        f"Recall@{loaded.k} against effort",
        "How much of the search parameter a recall takes, with 95 % intervals. Efforts of different parameters are "
        "different "
        "things: compare inside a panel only. Several lines of one colour differ in another search parameter.",
        f"Recall against {wording.listed(names)}, one panel each, rising with effort for "
        f"{wording.listed(list(dict.fromkeys(r['contestant'] for r in records)))}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    names = list(dict.fromkeys(r["parameter"] for r in records))
    longest = max(len(shorten(r["contestant"])) for r in records)
    columns = min(2, len(names)) if longest <= 18 else 1  # beside a panel there is room for a short name only
    rows = -(-len(names) // columns)
    with canvas(3.6 * rows, columns, rows) as (figure, axes):
        top = cap(records)
        figure.subplots_adjust(left=0.08, right=0.81, top=0.97, bottom=0.14 / rows, wspace=0.62, hspace=0.3)
        ticks = [(stretch(value, 9.0), f"{value:g}") for value in TICKS if stretch(value, 9.0) <= top - 0.1]
        lowest = min(stretch(r["recall"], top) for r in records)
        for panel, name in zip(axes, names, strict=False):
            labels = []
            mine = [r for r in records if r["parameter"] == name]
            for contestant in dict.fromkeys(r["contestant"] for r in mine):
                look = looks[contestant]
                own = [r for r in mine if r["contestant"] == contestant]
                groups = [[r for r in own if r["others"] == other] for other in dict.fromkeys(r["others"] for r in own)]
                for group in groups:
                    x, y = [r["effort"] for r in group], [stretch(r["recall"], top) for r in group]
                    low, high = ([stretch(r[key], top) for r in group] for key in ("recall_low", "recall_high"))
                    panel.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)
                    panel.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker)
                last = max(groups, key=len)[-1]
                labels.append((last["effort"], stretch(last["recall"], top), contestant, look.colour))
            panel.set_xscale("log")
            _effort_ticks(panel, sorted({r["effort"] for r in mine}))
            panel.set_yticks([place for place, _ in ticks] + [top], [text for _, text in ticks] + ["1"])
            panel.set_ylim(max(0.0, lowest - 0.1), top + 0.08)
            panel.set_xlabel(name)
            panel.set_ylabel("recall")
            quiet(panel)
            label_right(panel, labels)
        for panel in axes[len(names) :]:
            panel.set_visible(False)
        return export(figure)


def _effort_ticks(panel: Axes, efforts: Sequence[float]) -> None:
    """The measured efforts as ticks, those that have room."""
    positive = [value for value in efforts if value > 0]
    span = max(log10(positive[-1] / positive[0]), 1e-9)
    shown: list[float] = []
    for value in positive:
        if not shown or log10(value / shown[-1]) > 0.10 * span:
            shown.append(value)
    given_ticks(panel.xaxis, shown, [f"{value:g}" for value in shown])
