"""What an index costs to build and to hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamem.report import wording
from adamem.report.comparison import Comparison
from adamem.report.document import Figure
from adamem.report.figures.style import (
    GRID,
    INK,
    MUTED,
    Look,
    canvas,
    export,
    left_margin,
    log_ticks,
    name_rows,
    quiet,
    rounded,
    shorten,
)
from adamem.report.tables.costs import parts

NAME = "cost"
_IN_A_ROW = 5
_VISIBLE = 0.02
"""Of the largest part: narrower than that is a hair."""
_SHADES = ("#8c8c8c", "#bdbdbd", "#636363", "#a6a6a6", "#474747", "#cfcfcf")


def data(comparison: Comparison) -> Figure | None:
    """Build seconds of every seed and bytes by part, of the builds for the middle target; None where there are none."""
    loaded = comparison.loaded
    records: list[dict[str, Any]] = []
    for contestant in loaded.contestants:
        series = contestant.for_target(loaded.middle)
        if series is None:
            continue
        told = {"contestant": contestant.name, "build": wording.params(series.build)}
        records.extend(
            {**told, "what": "build seconds", "part": f"seed {worker.seed}", "value": worker.build_seconds}
            for worker in series.workers()
            if worker.build_seconds is not None
        )
        records.extend({**told, "what": "bytes", "part": part, "value": size} for part, size in parts(series).items())
    if not records:
        return None
    raw = loaded.run.dataset.n * loaded.run.dataset.dim * 4
    records.append({"contestant": "", "build": "", "what": "raw vectors", "part": "", "value": raw})
    return Figure(
        NAME,
        "Build time and memory",
        f"Left: one dot a build seed, {loaded.run.config['measure']['build_threads']} threads. Right: bytes as the "
        "index reports them, by part; the dashed line is the float32 vectors alone.",
        "Build time and bytes by index: " + _told(records),
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:
    """The figure as (svg, png)."""
    names = list(dict.fromkeys(r["contestant"] for r in records if r["contestant"]))
    sizes = _without_crumbs([r for r in records if r["what"] == "bytes"])
    shades = dict(zip(dict.fromkeys(r["part"] for r in sizes), _SHADES * 9, strict=False))
    legend_rows = -(-len(shades) // _IN_A_ROW)
    top = 0.15 + 0.2 * legend_rows  # inches
    height = 0.9 + top + 0.36 * len(names)
    with canvas(height, 2) as (figure, (left, right)):
        for row, name in enumerate(names):
            seconds = [r["value"] for r in records if r["contestant"] == name and r["what"] == "build seconds"]
            left.plot(
                seconds,
                [row] * len(seconds),
                linestyle="none",
                marker="o",
                markersize=6,
                color=looks[name].colour,
                alpha=0.75,
            )
            reach = 0.0
            for r in sizes:
                if r["contestant"] == name:
                    right.barh(row, r["value"] / 1e6, left=reach, height=0.55, color=shades[r["part"]])
                    reach += r["value"] / 1e6
            if reach:
                right.annotate(
                    wording.number(reach),
                    (reach, row),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    color=INK,
                    annotation_clip=False,
                )
        raw = next(r["value"] for r in records if r["what"] == "raw vectors") / 1e6
        right.axvline(raw, color=INK, linestyle=(0, (4, 2)), linewidth=0.9)
        for part, shade in shades.items():
            right.barh(0, 0, color=shade, label=part)
        if shades:
            right.legend(
                loc="lower left",
                bbox_to_anchor=(-0.02, 1.0),
                ncols=_IN_A_ROW,
                fontsize=8.5,
                handlelength=0.9,
                columnspacing=0.8,
                borderpad=0.1,
            )
        left.set_xscale("log")
        low, high = left.get_xlim()
        left.set_xlim(low / 1.3, high * 1.3)
        log_ticks(left.xaxis, low / 1.3, high * 1.3, lambda value: f"{value:,g}")
        left.set_xlabel("build, seconds")
        right.set_xlabel("MB")
        name_rows(left, names, looks)
        left.set_yticklabels([shorten(name) for name in names])
        name_rows(right, names, looks)
        right.set_yticklabels([])
        for axes in (left, right):
            quiet(axes, grid="x")
            axes.spines["left"].set_color(GRID)
            axes.xaxis.label.set_color(MUTED)
        figure.subplots_adjust(
            left=left_margin([shorten(name) for name in names]),
            right=0.94,
            top=1 - top / height,
            bottom=0.55 / height,
            wspace=0.08,
        )
        return export(figure)


def _without_crumbs(sizes: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Parts that no eye can see, in any bar, as one: the legend names what is in the picture."""
    seen = _VISIBLE * max((r["value"] for r in sizes), default=0)
    large = {r["part"] for r in sizes if r["value"] >= seen}
    rest: dict[str, float] = {}
    for r in sizes:
        if r["part"] not in large:
            rest[r["contestant"]] = rest.get(r["contestant"], 0) + r["value"]
    kept = [r for r in sizes if r["part"] in large]
    return kept + [{"contestant": name, "part": "the rest", "value": value} for name, value in rest.items()]


def _told(records: list[dict[str, Any]]) -> str:
    out = []
    for name in dict.fromkeys(r["contestant"] for r in records if r["contestant"]):
        seconds = [r["value"] for r in records if r["contestant"] == name and r["what"] == "build seconds"]
        size = sum(r["value"] for r in records if r["contestant"] == name and r["what"] == "bytes")
        spent = wording.seconds(sum(seconds) / len(seconds)) if seconds else "unknown time"
        out.append(f"{name} {spent}, {wording.megabytes(size) if size else 'bytes not reported'}")
    return "; ".join(out) + "."
