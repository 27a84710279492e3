"""What is lost by each way to meet the documents: the encoder's part as a bar, with each index on top as a mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.bench.drift.measured import EXACT
from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.drift.gathered import VIEW_NAMES, Gathered
from adamem.report.figures.style import INK, MUTED, Look, canvas, export, quiet, rounded

NAME = "losses"
_BAR = "#c9d3da"


def data(gathered: Gathered) -> Figure | None:
    """A row a view, a panel a set."""
    records: list[dict[str, Any]] = []
    for one, drift in gathered.leads:
        for view in drift.views:
            for index in gathered.indexes:
                if not drift.has(index, view):
                    continue
                total = drift.split(index, view).total
                records.append(
                    {"set": one.key, "view": view, "index": index}
                    | {"loss": total.difference, "low": total.low, "high": total.high}
                )
    if not records:
        return None
    told = "; ".join(
        f"{r['set']}, {VIEW_NAMES[r['view']]}: {wording.points(r['loss'])}" for r in records if r["index"] == EXACT
    )
    return Figure(
        NAME,
        "What is lost of recall@10 against all documents embedded anew and searched exactly",
        "In points of 0.01. Bars: the encoder's part, by exact search, with its 95 % interval; marks: the whole loss "
        "by each index, so that the distance from the bar's end is the index's part. Left of 0 more is found.",
        f"By exact search: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    views = [view for view in VIEW_NAMES if any(r["view"] == view for r in records)]
    indexes = [index for index in dict.fromkeys(r["index"] for r in records) if index != EXACT]
    height = 1.0 + 0.36 * len(views)
    with canvas(height, len(sets), sharey=True) as (figure, panels):
        for key, axes in zip(sets, panels, strict=True):
            mine = {(r["view"], r["index"]): r for r in records if r["set"] == key}
            for row, view in enumerate(views):
                if (view, EXACT) not in mine:
                    continue
                bar = mine[view, EXACT]
                axes.barh(row, 100 * bar["loss"], color=_BAR, height=0.62, zorder=2)
                axes.plot([100 * bar["low"], 100 * bar["high"]], [row, row], color=MUTED, linewidth=1.2, zorder=3)
                for place, index in enumerate(indexes):
                    if (view, index) not in mine:
                        continue
                    look = looks[index]
                    offset = (place - (len(indexes) - 1) / 2) * 0.22
                    axes.plot(
                        100 * mine[view, index]["loss"],
                        row + offset,
                        "osD^vPX"[place % 7],
                        color=look.colour,
                        markersize=4.5,
                        linestyle="none",
                        clip_on=False,
                        label=index if row == 0 else None,
                        zorder=4,
                    )
            axes.axvline(0, color=INK, linewidth=0.9, zorder=3)
            axes.set_yticks(range(len(views)), [VIEW_NAMES[view] for view in views])
            axes.set_ylim(len(views) - 0.45, -0.55)
            axes.tick_params(axis="y", length=0, pad=6)
            low, high = axes.get_xlim()
            axes.set_xlim(min(low, 0.0), max(high, 2.0))  # less than two points would look like much
            axes.set_title(key)
            axes.set_xlabel("points of recall@10 lost")
            quiet(axes, grid="x")
        handles, labels = panels[0].get_legend_handles_labels()
        bar_handle = panels[0].barh([-9], [0], color=_BAR)[0]
        figure.legend(
            [bar_handle, *handles],
            ["the encoder's part (exact search)", *labels],
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=1 + len(indexes),
            fontsize=9,
        )
        figure.subplots_adjust(left=0.3, right=0.985, top=1 - 0.6 / height, bottom=0.5 / height, wspace=0.1)
        return export(figure)
