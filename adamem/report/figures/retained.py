"""Whether what came first is still found when ever more has come after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.bench.engine.scores import DEPTH
from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.engine.gathered import Gathered
from adamem.report.engine.tables import retained
from adamem.report.figures.style import Look, canvas, export, given_ticks, label_right, quiet, rounded

NAME = "retained"


def data(gathered: Gathered) -> Figure | None:
    """A line a contestant."""
    records = retained(gathered)
    if not records:
        return None
    last = max(record["added"] for record in records)
    told = "; ".join(f"{r['contestant']} {wording.score(r['recall'])}" for r in records if r["added"] == last)
    return Figure(
        NAME,
        f"The first {records[0]['first']:,} memories, when more have come",
        f"Evidence recall@{DEPTH} of queries about them over how many memories there were. All fall together, because "
        "what is newer outranks some of them with exact search as well.",
        f"At {last:,} memories: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    with canvas(3.2) as (figure, (axes,)):
        labels = []
        for name in dict.fromkeys(r["contestant"] for r in records):
            mine = sorted((r for r in records if r["contestant"] == name), key=lambda r: r["added"])
            look = looks[name]
            x, y = [r["added"] for r in mine], [r["recall"] for r in mine]
            axes.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker)
            labels.append((x[-1], y[-1], name, look.colour))
        places = sorted({r["added"] for r in records})
        axes.set_xscale("log")
        given_ticks(axes.xaxis, places, [f"{place:,}" for place in places])
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("memories")
        axes.set_ylabel(f"evidence recall@{DEPTH}")
        quiet(axes)
        figure.subplots_adjust(left=0.08, right=0.84, top=0.97, bottom=0.16)
        label_right(axes, labels)
        return export(figure)
