"""What vectors, words and both find, set by set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.bench.engine.scores import DEPTH
from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.engine.gathered import NAMES, Gathered, estimate
from adamem.report.figures.style import INK, Look, canvas, export, quiet, rounded

NAME = "evidence"
LOOKS = {"vector": ("#0072b2", "o"), "lexical": ("#d55e00", "s"), "hybrid": ("#8a8a8a", "D"), "tuned": ("#009e73", "^")}
"""Colour and marker of each mode, in every figure."""
_STEP = 0.17


def data(gathered: Gathered) -> Figure | None:
    """A dot a mode and set."""
    records: list[dict[str, Any]] = []
    for one in gathered.sets:
        for mode in one.first.modes:
            ndcg = estimate(one.first.quality(mode).ndcg)
            label = f"{one.config.key}\n{one.config.language}" if one.config.language else one.config.key
            records.append(
                {"set": one.config.key, "label": label, "mode": mode, "ndcg": ndcg.value}
                | {"low": ndcg.low, "high": ndcg.high}
            )
    if not records:
        return None
    told = "; ".join(f"{r['set']}, {NAMES[r['mode']]}: {wording.score(r['ndcg'])}" for r in records)
    return Figure(
        NAME,
        f"Evidence found, as nDCG@{DEPTH}",
        "Each set's own queries, over exact search, so that no index is to blame; lines: 95 % intervals over queries.",
        f"nDCG@{DEPTH} by set: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    labels = {r["set"]: r["label"] for r in records}
    height = 0.95 + 0.72 * len(sets)
    with canvas(height) as (figure, (axes,)):
        for mode, (colour, marker) in LOOKS.items():
            mine = [r for r in records if r["mode"] == mode]
            if not mine:
                continue
            place = (list(LOOKS).index(mode) - (len(LOOKS) - 1) / 2) * _STEP
            y = [sets.index(r["set"]) + place for r in mine]
            x = [r["ndcg"] for r in mine]
            axes.hlines(y, [r["low"] for r in mine], [r["high"] for r in mine], color=colour, linewidth=1.4)
            axes.plot(x, y, linestyle="", color=colour, marker=marker, markersize=5.5, label=NAMES[mode])
        for place in range(1, len(sets)):
            axes.axhline(place - 0.5, color=INK, linewidth=0.4, alpha=0.25)
        axes.set_yticks(range(len(sets)), [labels[name] for name in sets])
        axes.set_ylim(len(sets) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"nDCG@{DEPTH}")
        quiet(axes, grid="x")
        figure.legend(loc="upper left", bbox_to_anchor=(0.15, 1.0), ncols=len(LOOKS), fontsize=9.5, handletextpad=0.3)
        figure.subplots_adjust(left=0.165, right=0.975, top=1 - 0.36 / height, bottom=0.48 / height)
        return export(figure)
