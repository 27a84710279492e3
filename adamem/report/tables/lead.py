"""The fastest at each target recall against the next, and against the best of another index: what a suite gathers."""

from __future__ import annotations

from collections.abc import Mapping

from adamem.report import wording
from adamem.report.comparison import Comparison, Entry
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.tables.duels import BOUNDS, bound
from adamem.report.tables.headline import shown_mark


def lead(comparison: Comparison) -> Table:
    """One row a target: who is fastest in one call, by how much, and whether that is beyond chance and noise."""
    rows, records = [], []
    for target in comparison.loaded.targets:
        ranked = comparison.ranked(target)
        others = [entry for entry in ranked if entry.contestant.index != ranked[0].contestant.index]
        best = ranked[0] if ranked else None
        following, other = (ranked[1] if len(ranked) > 1 else None), (others[0] if others else None)
        unranked = [entry.contestant.name for entry in comparison.unranked(target)]
        record: dict[str, CsvValue] = {
            "target_recall": target,
            "best": best.contestant.name if best else "",
            "best_qps": best.values["qps"].value if best else None,
            "best_qps_low": best.values["qps"].low if best else None,
            "best_qps_high": best.values["qps"].high if best else None,
            "best_qps_status": best.values["qps"].status if best else "",
            **_against(comparison, "next", best, following),
            **_against(comparison, "other", best, other),
            "unranked": "; ".join(unranked),
        }
        records.append(record)
        rows.append(
            (
                Cell(f"{target:g}"),
                Cell(best.contestant.name, "" if not unranked else f"outrun from above by {wording.listed(unranked)}")
                if best
                else Cell(wording.NOTHING),
                Cell(f"{shown_mark(best, best.values['qps'])}{wording.number(best.values['qps'].value)}")
                if best
                else Cell(wording.NOTHING),
                _cell(comparison, best, following),
                _cell(comparison, best, other),
            )
        )
    return Table(
        "lead",
        "The fastest of each target recall",
        (
            Column("recall"),
            Column("fastest", number=False),
            Column("QPS", "one call"),
            Column("to the next", number=False),
            Column("to the best of another index", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        (BOUNDS,) if any(record["next_bound"] or record["other_bound"] for record in records) else (),
    )


def _against(comparison: Comparison, name: str, best: Entry | None, rival: Entry | None) -> Mapping[str, CsvValue]:
    if best is None or rival is None:
        return {
            name: "",
            **dict.fromkeys((f"{name}_ratio", f"{name}_ratio_low", f"{name}_ratio_high")),
            f"{name}_bound": "",
            f"{name}_outcome": "",
        }
    duel = comparison.duel(best, rival)
    # Paired inside blocks, the other may turn out ahead of the one with the higher mean.
    value, low, high = duel.margin.value, duel.margin.low, duel.margin.high
    if duel.winner is not best:
        value, low, high = 1 / value, 1 / high, 1 / low
    return {
        name: rival.contestant.name,
        f"{name}_ratio": value,
        f"{name}_ratio_low": low,
        f"{name}_ratio_high": high,
        f"{name}_bound": bound(best, rival, "qps"),
        f"{name}_outcome": duel.outcome,
    }


def _cell(comparison: Comparison, best: Entry | None, rival: Entry | None) -> Cell:
    told = _against(comparison, "x", best, rival)
    value = told["x_ratio"]
    if rival is None or not isinstance(value, float):
        return Cell("nobody else has a figure")
    how = "beyond the noise" if told["x_outcome"] == "ahead" else "not told apart"
    return Cell(f"{told['x_bound']}{wording.times(value)} {rival.contestant.name}", how)
