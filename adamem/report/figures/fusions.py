"""How much to listen to vectors and how much to words: nDCG on the development queries over the share of either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.bench.engine.scores import DEPTH
from adamem.report.document import Figure
from adamem.report.engine.gathered import Gathered
from adamem.report.figures.style import MUTED, Look, canvas, export, quiet, rounded

NAME = "fusions"
_KINDS = {"weighted": ("scores", "#009e73", "-"), "rrf": ("ranks", "#cc79a7", (0, (4, 1.5)))}


def data(gathered: Gathered) -> Figure | None:
    """A line a kind of fusion and set."""
    records: list[dict[str, Any]] = [
        {
            "set": one.config.key,
            "kind": tried.kind,
            "share": tried.share,
            "ndcg": tried.mean,
            "chosen": tried.fusion == one.chosen.fusion,
        }
        for one in gathered.sets
        for tried in one.tried
    ]
    if not records:
        return None
    told = "; ".join(f"{r['set']}: {_told(r)}" for r in records if r["chosen"])
    return Figure(
        NAME,
        "Weighing vectors and words",
        f"nDCG@{DEPTH} on the development queries over the share of the vectors; at the left end words decide alone, "
        "at the right end vectors. The dot is what was chosen.",
        f"Chosen: {told}.",
        rounded(records),
    )


def _told(record: Mapping[str, Any]) -> str:
    if record["kind"] == "alone":
        return "vectors alone" if record["share"] == 1 else "words alone"
    return f"{_KINDS[record['kind']][0]} at {record['share']:g}"


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    columns = min(3, len(sets))
    rows = -(-len(sets) // columns)
    height = 0.65 + 2.1 * rows
    with canvas(height, columns, rows) as (figure, panes):
        for axes, name in zip(panes, sets, strict=False):
            for kind, (label, colour, dash) in _KINDS.items():
                # Both lines end where one of the two decides alone.
                mine = sorted(
                    (r for r in records if r["set"] == name and r["kind"] in (kind, "alone")), key=lambda r: r["share"]
                )
                axes.plot(
                    [r["share"] for r in mine], [r["ndcg"] for r in mine], color=colour, linestyle=dash, label=label
                )
                for r in mine:
                    if r["chosen"]:
                        dot = MUTED if r["kind"] == "alone" else colour
                        axes.plot([r["share"]], [r["ndcg"]], color=dot, marker="o", markersize=7, clip_on=False)
            axes.set_title(name)
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["words", "", "", "", "vectors"])
            ticks = axes.get_xticklabels()
            ticks[0].set_horizontalalignment("left")
            ticks[-1].set_horizontalalignment("right")
            axes.tick_params(axis="x", labelcolor=MUTED)
            quiet(axes)
        for axes in panes[len(sets) :]:
            axes.set_visible(False)
        handles, labels = panes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.05, 1.0), ncols=2, fontsize=9.5)
        figure.subplots_adjust(
            left=0.06, right=0.98, top=1 - 0.67 / height, bottom=0.3 / height, wspace=0.24, hspace=0.42
        )
        return export(figure)
