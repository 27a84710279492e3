"""What one update teaches, and how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.report import wording
from adamem.report.adaptation.acquisition import moment_name
from adamem.report.adaptation.gathered import Gathered
from adamem.report.document import Figure
from adamem.report.figures.style import Look, canvas, export, quiet, rounded

NAME = "acquired"
_LINES = {
    (True, "anew"): ("taught, documents embedded anew", "#0072b2", "o", "-"),
    (True, "stale"): ("taught, documents as they were", "#56b4e9", "s", (0, (5, 1.5))),
    (False, "anew"): ("never taught, documents embedded anew", "#d55e00", "D", (0, (1.5, 1.2))),
    (False, "stale"): ("never taught, documents as they were", "#e69f00", "^", (0, (6, 1.5, 1.5, 1.5))),
}
"""Label, colour, marker and dash of each line."""


def data(gathered: Gathered) -> Figure | None:
    """A point a moment, a panel a sequence."""
    records: list[dict[str, Any]] = []
    for one in gathered.acquired:
        for taught, view in _LINES:
            for place, moment in enumerate(one.moments):
                found = one.estimate(moment, taught=taught, view=view)
                records.append(
                    {"set": one.key, "taught": taught, "documents": view, "place": place, "moment": moment}
                    | {"recall@1": found.value, "low": found.low, "high": found.high}
                )
    if not records:
        return None
    told = "; ".join(
        f"{r['set']}, {' '.join(moment_name(r['moment'])).strip()}: {wording.score(r['recall@1'])}"
        for r in records
        if r["taught"] and r["documents"] == "anew"
    )
    return Figure(
        NAME,
        "A fact before its update, right after it, and later",
        "Recall@1 of facts, asked for in words that were not taught; lines: 95 % intervals over distinct facts, each "
        "its mean over its questions and the seeds that ask for it. Facts that are never taught are asked for at the "
        "same moments: what they gain is the stream's, not the update's, and each line of taught facts is to be set "
        "beside the one of never taught facts over the same documents.",
        f"Taught, documents embedded anew: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    columns = min(2, len(sets))  # the names of the moments need room
    rows = -(-len(sets) // columns)
    height = 0.7 + 3.0 * rows
    with canvas(height, columns, rows, sharey=True) as (figure, panels):
        for axes in panels[len(sets) :]:
            axes.set_visible(False)
        for place, (key, axes) in enumerate(zip(sets, panels, strict=False)):
            for number, ((taught, view), (label, colour, marker, dash)) in enumerate(_LINES.items()):
                mine = [r for r in records if (r["set"], r["taught"], r["documents"]) == (key, taught, view)]
                x = [r["place"] + (number - 1.5) * 0.07 for r in mine]
                axes.vlines(x, [r["low"] for r in mine], [r["high"] for r in mine], color=colour, linewidth=1.2)
                axes.plot(x, [r["recall@1"] for r in mine], color=colour, marker=marker, linestyle=dash, label=label)
            moments = list(dict.fromkeys(r["moment"] for r in records if r["set"] == key))
            names = ["\n".join(part for part in moment_name(moment) if part) for moment in moments]
            if columns > 1:
                names = [name.replace(" later", "\nlater") for name in names]
            axes.set_xticks(range(len(moments)), names, fontsize=8.5)
            axes.set_ylim(0, 1.02)
            axes.set_xlim(-0.4, len(moments) - 0.55)  # the last name is wide
            axes.set_title(key)
            quiet(axes, grid="y")
            if place % columns == 0:
                axes.set_ylabel("recall@1")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.05, 1.0), ncols=2, fontsize=9, handlelength=3.2
        )
        figure.subplots_adjust(
            left=0.065, right=0.975, top=1 - 0.75 / height, bottom=0.65 / height, wspace=0.08, hspace=0.42
        )
        return export(figure)
