"""Recall by how hard the queries are: the mean hides those for which an index finds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.bench.hardness import deciles
from adamem.bench.strata import by_stratum
from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.style import Look, canvas, export, label_right, quiet, rounded
from adamem.report.operating import operating

NAME = "hardness"
_KINDS = (("lid", "local intrinsic dimension", False), ("relative_contrast", "relative contrast", True))


def data(comparison: Comparison) -> Figure | None:
    """Mean recall in each decile of difficulty, at the points for the middle target; None where hardness is unknown."""
    loaded = comparison.loaded
    if loaded.hardness is None:
        return None
    records: list[dict[str, Any]] = []
    for key, label, hard_is_low in _KINDS:
        values = loaded.hardness[key]
        if not np.isfinite(values).any():
            continue
        strata = deciles(values, hard_is_low=hard_is_low)
        for one in operating(loaded, loaded.middle):
            means = by_stratum(one.recall(loaded.k), strata)
            for group in np.flatnonzero(np.isfinite(means)):
                inside = values[strata == group]
                records.append(
                    {
                        "by": label,
                        "contestant": one.contestant.name,
                        "search": one.setting,
                        "decile": int(group) + 1,
                        "from": float(inside.min()),
                        "to": float(inside.max()),
                        "queries": int(inside.size),
                        "recall": float(means[group]),
                    }
                )
    if not records:
        return None
    return Figure(
        NAME,
        f"Recall@{loaded.k} by difficulty, at the point for recall {loaded.middle:g}",
        "Queries in ten groups of equal size, the hardest at the right. Left by local intrinsic dimension (high is "
        "hard), right by "
        "relative contrast (mean distance over that of the tenth neighbour; low is hard).",
        "Mean recall by decile of difficulty: " + _told(records),
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    kinds = list(dict.fromkeys(r["by"] for r in records))
    with canvas(3.5, len(kinds), sharey=True) as (figure, axes):
        figure.subplots_adjust(left=0.08, right=0.80, top=0.92, bottom=0.14, wspace=0.07)
        for panel, kind in zip(axes, kinds, strict=True):
            labels = []
            for name in dict.fromkeys(r["contestant"] for r in records):
                mine = [r for r in records if r["contestant"] == name and r["by"] == kind]
                if mine:
                    x, y = [r["decile"] for r in mine], [r["recall"] for r in mine]
                    look = looks[name]
                    panel.plot(x, y, color=look.colour, marker=look.marker, linestyle=look.dash)
                    labels.append((x[-1], y[-1], name, look.colour))
            panel.set_title(f"by {kind}", pad=8)
            panel.set_xticks([1, 10], ["easiest tenth", "hardest tenth"])
            panel.get_xticklabels()[0].set_horizontalalignment("left")
            panel.get_xticklabels()[-1].set_horizontalalignment("right")
            panel.set_xlim(0.8, 10.2)
            lowest = min(r["recall"] for r in records)
            panel.set_ylim(max(0.0, lowest - 0.08 * (1.0 - lowest) - 0.005), 1.0 + 0.06 * (1.0 - lowest) + 0.002)
            quiet(panel)
            if panel is axes[-1]:
                label_right(panel, labels)
        axes[0].set_ylabel("mean recall")
        return export(figure)


def _told(records: list[dict[str, Any]]) -> str:
    kind = records[0]["by"]
    out = []
    for name in dict.fromkeys(r["contestant"] for r in records):
        mine = [r for r in records if r["contestant"] == name and r["by"] == kind]
        if mine:
            out.append(f"{name} from {wording.fixed(mine[0]['recall'], 3)} to {wording.fixed(mine[-1]['recall'], 3)}")
    return f"by {kind}, easiest to hardest, {'; '.join(out)}."
