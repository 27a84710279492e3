"""How much of a full re-embedding is there while it runs: recall where some documents are still the old encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.bench.adaptation.stream import MIXED
from adamem.report import wording
from adamem.report.adaptation.gathered import Gathered
from adamem.report.document import Figure
from adamem.report.figures.style import INK, MUTED, Look, canvas, export, given_ticks, quiet, rounded

NAME = "reembedded"
SHOWN = ("lora", "lora-replay", "lora-gentle", "lora-steps", "full-tuning", "random")
"""The arms that are drawn where they were measured; the others' values are in the figure's CSV."""


def data(gathered: Gathered) -> Figure | None:
    """A point a share, a line an arm, a panel a sequence."""
    records: list[dict[str, Any]] = []
    for one in gathered.sets:
        for name, arm in one.arms.items():
            for level, letter in enumerate("ab"):
                held = [found for stream in arm.streams if (found := stream.mixed(level)).size]
                mean = np.mean(held, axis=0) if held else np.empty(0)
                if mean.size and np.isfinite(mean).all() and mean[-1] > 0:
                    records += [
                        {"set": one.key, "arm": name, "title": arm.title, "level": letter, "share": share}
                        | {"seeds": len(held), "recall@1": float(value), "of_full": float(value / mean[-1])}
                        for share, value in zip(MIXED, mean, strict=True)
                    ]
    if not records:
        return None
    told = [
        f"{r['set']}, {r['title']}, {wording.percent(r['share'])} embedded anew: {wording.percent(r['of_full'])}"
        for r in records
        if r["level"] == "b" and r["arm"] in SHOWN and r["share"] in {0.0, 0.5}
    ]
    return Figure(
        NAME,
        "Recall while the documents are embedded anew",
        "Recall@1 of level b after the last task, as a share of what it is when all documents are embedded anew: some "
        "are the new encoder's already, drawn by chance, the others still the untouched one's, and questions are the "
        "new one's. Means over seeds, each of all that it asks. Above the line, what is mixed finds more than "
        "what is embedded anew.",
        f"Of a full re-embedding's recall: {'; '.join(told)}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    drawn = [r for r in records if r["level"] == "b" and r["arm"] in SHOWN] or [r for r in records if r["level"] == "b"]
    drawn = drawn or list(records)
    sets = list(dict.fromkeys(r["set"] for r in drawn))
    arms = {arm: r["title"] for arm in looks for r in drawn if r["arm"] == arm}
    columns = min(3, len(sets))
    rows, legend = -(-len(sets) // columns), -(-len(arms) // 3)
    height = 2.5 * rows + 0.55 + 0.22 * legend
    with canvas(height, columns, rows, sharey=True) as (figure, panels):
        for axes in panels[len(sets) :]:
            axes.set_axis_off()
        lines: dict[str, Any] = {}
        for place, (key, axes) in enumerate(zip(sets, panels, strict=False)):
            axes.axhline(1, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
            for arm in arms:
                mine = [r for r in drawn if (r["set"], r["arm"]) == (key, arm)]
                look = looks[arm]
                if mine:
                    x, y = [r["share"] for r in mine], [r["of_full"] for r in mine]
                    (lines[arm],) = axes.plot(
                        x, y, color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4
                    )
            given_ticks(axes.xaxis, MIXED, [f"{100 * share:.0f}" for share in MIXED])
            axes.set_title(key)
            if place % columns == 0:
                axes.set_ylabel("share of a full one's recall")
            if place + columns >= len(sets):
                axes.set_xlabel("% of documents embedded anew", color=MUTED)
            axes.tick_params(labelbottom=True)
            axes.tick_params(axis="x", labelsize=8)  # 90 and 100 stand close
            quiet(axes)
        figure.legend(
            [lines[arm] for arm in arms],
            list(arms.values()),
            loc="upper left",
            bbox_to_anchor=(0.05, 1.0),
            ncols=3,
            fontsize=9,
            handlelength=3.2,  # a dash shows as one
        )
        figure.subplots_adjust(
            left=0.075,
            right=0.985,
            top=1 - (0.32 + 0.22 * legend) / height,
            bottom=0.48 / height,
            wspace=0.12,
            hspace=0.5,
        )
        return export(figure)
