"""What is known of each task after each task: R as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.report import wording
from adamem.report.adaptation.gathered import Gathered
from adamem.report.document import Figure
from adamem.report.figures.style import INK, PAPER, Look, canvas, export, rounded

NAME = "forgetting"
SHOWN = ("lora", "lora-replay", "lora-steps", "query-only", "shuffled")
"""The arms that are drawn where they were measured; the others are neither drawn nor in the figure's CSV."""
_MOST = 4


def data(gathered: Gathered) -> Figure | None:
    """A cell a task and stage, a panel an arm, a row a sequence of more than one task."""
    records: list[dict[str, Any]] = []
    for one in gathered.sets:
        if len(one.facts["tasks"]) < 2:
            continue
        for name in [name for name in SHOWN if name in one.arms][:_MOST]:
            arm = one.arms[name]
            matrix = np.mean([stream.matrix() for stream in arm.streams], axis=0)
            records += [
                {"set": one.key, "arm": name, "title": arm.title, "after": after, "task": task + 1}
                | {"recall@1": float(matrix[after, task]), "change": float(matrix[after, task] - matrix[0, task])}
                for after in range(matrix.shape[0])
                for task in range(matrix.shape[1])
            ]
    if not records:
        return None
    last = max(r["after"] for r in records)
    told = "; ".join(
        f"{r['set']}, {r['title']}, task {r['task']}: {wording.score(r['recall@1'])}"
        for r in records
        if r["after"] == last
    )
    return Figure(
        NAME,
        "What is known of each task after each task",
        "Recall@1 of level a, the mean over seeds: a row after each task, a column for each, numbered as each seed "
        "learns them; framed: a task just learnt. Colours: the change against the untouched encoder, blue for more and "
        "orange for less.",
        f"After the last task: {told}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415  (heavy, and only now needed)
    from matplotlib.patches import Rectangle  # noqa: PLC0415  (as above)

    sets = list(dict.fromkeys(r["set"] for r in records))
    columns = max(len({r["arm"] for r in records if r["set"] == key}) for key in sets)
    tasks = max(r["task"] for r in records)
    each = 0.3 * (tasks + 1) + 0.75
    height = each * len(sets) + 0.35 + 0.15 * (len(sets) > 1)
    colours = LinearSegmentedColormap.from_list("change", ["#d55e00", PAPER, "#0072b2"])
    widest = max(0.05, *(abs(r["change"]) for r in records))
    with canvas(height, columns, len(sets)) as (figure, panels):
        for place, axes in enumerate(panels):
            key = sets[place // columns]
            arms = list(dict.fromkeys(r["arm"] for r in records if r["set"] == key))
            if place % columns >= len(arms):
                axes.set_axis_off()
                continue
            mine = [r for r in records if r["set"] == key and r["arm"] == arms[place % columns]]
            across, down = max(r["task"] for r in mine), max(r["after"] for r in mine)
            change = np.full((down + 1, across), np.nan)
            for r in mine:
                change[r["after"], r["task"] - 1] = r["change"]
                text = wording.fixed(r["recall@1"], 2)
                dark = abs(r["change"]) > 0.65 * widest
                axes.text(
                    r["task"] - 1, r["after"], text, ha="center", va="center", size=8, color=PAPER if dark else INK
                )
            axes.imshow(change, cmap=colours, vmin=-widest, vmax=widest, aspect="auto")
            for task in range(across):
                axes.add_patch(Rectangle((task - 0.5, task + 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.1))
            axes.set_xticks(range(across), [str(task + 1) for task in range(across)])
            axes.set_yticks(range(down + 1), ["0", *(str(after) for after in range(1, down + 1))])
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.set_title(f"{key}\n{mine[0]['title']}" if len(sets) > 1 else mine[0]["title"])
            axes.set_xlabel("asked about task")
            if place % columns == 0:
                axes.set_ylabel("tasks learnt")
        figure.subplots_adjust(
            left=0.06,
            right=0.985,
            top=1 - (0.3 + 0.15 * (len(sets) > 1)) / height,
            bottom=0.45 / height,
            wspace=0.22,
            hspace=0.75,
        )
        return export(figure)
