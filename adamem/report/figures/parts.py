"""What a search spends its time on: embedding the query, ranking, fetching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.report import wording
from adamem.report.document import Figure
from adamem.report.engine.gathered import NAMES, Gathered
from adamem.report.figures.style import MUTED, Look, canvas, export, quiet, rounded

NAME = "parts"
_PARTS = {"search": "#0072b2", "fetch": "#e69f00"}


def data(gathered: Gathered) -> Figure | None:
    """A bar a mode and index, of the set with the most memories."""
    if not gathered.sets:
        return None
    one = max(gathered.sets, key=lambda found: int(found.questions.facts["rows"]))
    encode = one.first.arrays.get("encode_ns")
    records: list[dict[str, Any]] = []
    for mode in ("vector", "lexical", "tuned"):
        for name, over in one.over.items():
            if mode in over.modes:
                search, fetch = (float(value) for value in np.median(over.milliseconds(mode)[:, :2], axis=0))
                bar = NAMES[mode] if mode == "lexical" else f"{NAMES[mode]}, {name}"
                records.append({"bar": bar, "search": search, "fetch": fetch})
    told = "; ".join(f"{r['bar']}: {' + '.join(wording.number(r[part]) for part in _PARTS)}" for r in records)
    beside = ""
    if encode is not None:
        spent = wording.number(float(np.median(encode)) * 1e-6)
        beside = f" To embed the query takes another {spent} ms, but for words alone."
    return Figure(
        NAME,
        f"Milliseconds of a search among {one.questions.facts['rows']:,} memories ({one.config.key})",
        f"Medians, one query after the other.{beside}",
        f"Milliseconds of search + fetch: {told}.{beside}",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    height = 0.85 + 0.32 * len(records)
    with canvas(height) as (figure, (axes,)):
        y = list(range(len(records)))
        left = np.zeros(len(records))
        for part, colour in _PARTS.items():
            widths = np.array([r[part] for r in records])
            axes.barh(y, widths, left=left, color=colour, height=0.62, label=part)
            left += widths
        for place, r in enumerate(records):
            axes.annotate(
                " + ".join(wording.number(r[part]) for part in _PARTS),
                (left[place], place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=MUTED,
            )
        axes.set_yticks(y, [r["bar"] for r in records])
        axes.set_ylim(len(records) - 0.5, -0.5)
        axes.set_xlim(0, 1.18 * float(left.max()))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("milliseconds")
        quiet(axes, grid="x")
        figure.legend(loc="upper left", bbox_to_anchor=(0.22, 1.0), ncols=2, fontsize=9.5)
        figure.subplots_adjust(left=0.235, right=0.98, top=1 - 0.34 / height, bottom=0.46 / height)
        return export(figure)
