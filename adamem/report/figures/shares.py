"""What is found while the documents are embedded anew, share by share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.drift.gathered import WAYS, Gathered
from adamem.report.drift.tables import along
from adamem.report.figures.style import INK, Look, canvas, export, given_ticks, quiet, rounded

NAME = "shares"
_LINES = {
    "mixed": ("#d55e00", "o", "-"),
    "bridged": ("#0072b2", "s", (0, (5, 1.5))),
    "each-own": ("#009e73", "D", (0, (1.5, 1.2))),
    "by-rank": ("#cc79a7", "^", (0, (6, 1.5, 1.5, 1.5))),
}
"""Colour, marker and dash of each line."""


def data(gathered: Gathered) -> Figure | None:
    """A line a way, a panel an index, a row a set."""
    records: list[dict[str, Any]] = [
        {"set": one.key, "index": index, "way": way, "share": share}
        | {"relative": found.value, "low": found.low, "high": found.high}
        for one, drift in gathered.leads
        for index in gathered.indexes
        for way in WAYS
        for share, found in along(gathered, drift, index, way)
    ]
    if not records:
        return None
    middle = sorted({r["share"] for r in records})[len({r["share"] for r in records}) // 2]
    told = "; ".join(
        f"{r['set']}, {r['index']}, {WAYS[r['way']]}: {wording.score(r['relative'])}"
        for r in records
        if r["share"] == middle
    )
    return Figure(
        NAME,
        "Recall@10 relative to all documents embedded anew",
        "By the share of the documents that is embedded anew; thin lines: 95 % intervals. At 0 % the bridge is fitted "
        "to documents embedded for this alone; at 100 % the one index holds new vectors that were put into it.",
        f"At {wording.percent(middle)}: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    sets, indexes = (list(dict.fromkeys(r[name] for r in records)) for name in ("set", "index"))
    height = 2.3 * len(sets) + 0.97
    with canvas(height, len(indexes), len(sets), sharey="row", sharex=True) as (figure, panels):
        for place, axes in enumerate(panels):
            key, index = sets[place // len(indexes)], indexes[place % len(indexes)]
            axes.axhline(1.0, color=INK, linewidth=0.9, linestyle=(0, (1, 1.5)))
            for number, way in enumerate(WAYS):
                mine = [r for r in records if (r["set"], r["index"], r["way"]) == (key, index, way)]
                colour, marker, dash = _LINES[way]
                x = [100 * r["share"] + (number - 1.5) * 0.8 for r in mine]
                y = [r["relative"] for r in mine]
                axes.vlines(x, [r["low"] for r in mine], [r["high"] for r in mine], color=colour, linewidth=0.9)
                axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4, label=WAYS[way])
            places = sorted({r["share"] for r in records})
            given_ticks(axes.xaxis, [100 * share for share in places], [_percent(share) for share in places])
            axes.set_title(f"{key}: {index}" if len(sets) > 1 else index)
            if place % len(indexes) == 0:
                axes.set_ylabel("relative recall@10")
            if place // len(indexes) == len(sets) - 1:
                axes.set_xlabel("% embedded anew")
            axes.tick_params(labelsize=8.5)
            axes.set_xlim(-4, 104)
            quiet(axes)
        for row in range(len(sets)):
            low, high = panels[row * len(indexes)].get_ylim()
            panels[row * len(indexes)].set_ylim(min(low, 0.9), max(high, 1.01))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.03, 1.0), ncols=2, fontsize=9)
        figure.subplots_adjust(
            left=0.075, right=0.99, top=1 - 0.82 / height, bottom=0.48 / height, wspace=0.08, hspace=0.3
        )
        return export(figure)


def _percent(share: float) -> str:
    """A tick's text; none where it would touch that of an end."""
    return f"{100 * share:g}" if share in (0.0, 1.0) or 0.15 <= share <= 0.85 else ""
