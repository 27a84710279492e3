"""The learning curve: what each arm finds after each task, its worst point marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adamem.report import wording
from adamem.report.adaptation.gathered import TITLES, Gathered
from adamem.report.document import Figure
from adamem.report.figures.style import INK, MUTED, Look, canvas, export, given_ticks, quiet, rounded

NAME = "stream"
MAIN = (
    *("none", "lora", "lora-replay", "lora-steps", "lora-gentle", "lora-gated", "query-only", "full-tuning"),
    "shuffled",
)
"""The arms that are drawn where they were measured; the others' values are in the figure's CSV, and in the table."""


def data(gathered: Gathered) -> Figure | None:
    """A line an arm, a panel a level, a row a sequence."""
    records: list[dict[str, Any]] = []
    for one in gathered.sets:
        for arm in one.arms.values():
            for level, title in enumerate(TITLES):
                along = arm.along(level)
                worst = arm.worst(level)[0]
                records += [
                    {"set": one.key, "arm": arm.name, "title": arm.title, "level": title, "after": after}
                    | {"seeds": len(arm.streams)}
                    | {"recall@1": float(value), "worst": stage == worst and stage > 0}
                    for stage, (after, value) in enumerate(zip(arm.streams[0].after, along, strict=True))
                ]
    if not records:
        return None
    last = [
        f"{r['set']}, {r['title']}: {wording.score(r['recall@1'])}"
        for one in gathered.sets
        for r in _drawn(records)
        if r["set"] == one.key and r["level"] == TITLES[0] and r["after"] == len(one.facts["tasks"])
    ]
    return Figure(
        NAME,
        "Recall@1 task after task",
        "Recall@1: the share of questions whose answer is found first. Means over the distinct questions of all "
        "tasks, each its mean over the seeds that ask it, documents embedded anew after each task; rings: the worst "
        "point of each arm along the stream, where it is below the untouched encoder’s; grey and dotted: a "
        "control; dotted and black: the untouched encoder.",
        f"Level a after the last task: {'; '.join(last)}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    records = tuple(_drawn(records))
    sets, levels = (list(dict.fromkeys(r[name] for r in records)) for name in ("set", "level"))
    arms = {r["arm"]: r["title"] for r in records if r["arm"] != "none"}
    legend = -(-len(arms) // 4)
    height = 2.5 * len(sets) + 0.5 + 0.22 * legend
    with canvas(height, len(levels), len(sets), sharex="row") as (figure, panels):
        lines: dict[str, Any] = {}
        for place, axes in enumerate(panels):
            key, level = sets[place // len(levels)], levels[place % len(levels)]
            shown = [r for r in records if r["set"] == key and r["level"] == level]
            axes.axhline(shown[0]["recall@1"], color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
            for arm, title in arms.items():
                mine = [r for r in shown if r["arm"] == arm]
                if not mine:
                    continue
                look = looks[arm]
                x, y = [r["after"] for r in mine], [r["recall@1"] for r in mine]
                (lines[title],) = axes.plot(
                    x, y, color=look.colour, linestyle=look.dash, marker=look.marker, markersize=3.5
                )
                for r in mine:
                    if r["worst"] and r["recall@1"] < shown[0]["recall@1"]:
                        axes.plot(
                            r["after"], r["recall@1"], "o", markersize=9, markerfacecolor="none", color=look.colour
                        )
            stages = sorted({r["after"] for r in shown})
            given_ticks(axes.xaxis, stages, [str(stage) for stage in stages])
            axes.set_ylim(0, 1.04)
            axes.set_title(f"{key}\n{level}" if len(sets) > 1 else level)
            if place % len(levels) == 0:
                axes.set_ylabel("recall@1")
            if place // len(levels) == len(sets) - 1:
                axes.set_xlabel("tasks learnt", color=MUTED)
            quiet(axes)
        titles = [title for title in arms.values() if title in lines]
        figure.legend(
            [lines[title] for title in titles],
            titles,
            loc="upper left",
            bbox_to_anchor=(0.05, 1.0),
            ncols=4,
            fontsize=9,
            handlelength=3.2,  # a dash shows as one
        )
        figure.subplots_adjust(
            left=0.065,
            right=0.985,
            top=1 - (0.35 + 0.22 * legend + 0.15 * (len(sets) > 1)) / height,
            bottom=0.48 / height,
            wspace=0.2,
            hspace=0.45,
        )
        return export(figure)


def _drawn(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the main arms, or all where none of them was measured."""
    every = list(records)
    return [r for r in every if r["arm"] in MAIN] if any(r["arm"] in MAIN[1:] for r in every) else every
