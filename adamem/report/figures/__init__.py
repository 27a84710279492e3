"""The report's figures: each module says what it draws (`data`) and draws exactly that (`draw`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adamem.report.document import Figure
from adamem.report.figures import (
    acquired,
    cost,
    effort,
    evidence,
    forgetting,
    fusions,
    hardness,
    latency,
    losses,
    pareto,
    parts,
    price,
    ratios,
    reembedded,
    retained,
    scaling,
    shares,
    stream,
    task,
)
from adamem.report.figures.style import Look, looks

_DRAWERS: dict[str, Callable[[tuple[Mapping[str, Any], ...], Mapping[str, Look]], tuple[bytes, bytes]]] = {
    module.NAME: module.draw
    for module in (
        *(pareto, effort, latency, cost, hardness, task, scaling),
        *(evidence, fusions, parts, retained),
        *(acquired, stream, forgetting, price, reembedded),
        *(losses, shares),
    )
} | dict.fromkeys(ratios.NAMES, ratios.draw)


def draw(figure: Figure, contestants: list[tuple[str, str]]) -> tuple[bytes, bytes]:
    """A figure as (svg, png), drawn from its records alone; `contestants` are the run's (name, index), for colours."""
    return _DRAWERS[figure.name](figure.records, looks(contestants))


__all__ = ["draw"]
