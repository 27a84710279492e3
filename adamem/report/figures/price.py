"""What an arm costs after each task against what it gains: who is worth the seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adamem.report import wording
from adamem.report.adaptation.distinct import bounds
from adamem.report.adaptation.gathered import OFFERED, Gathered
from adamem.report.adaptation.timed import are_quiet
from adamem.report.document import Figure
from adamem.report.figures.style import INK, MUTED, PAPER, Look, canvas, export, log_ticks, quiet, rounded, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "price"
_COLOURS = {True: "#0072b2", False: "#d55e00"}
"""Arms on offer, and the others."""
_NEAR = 16.0
"""Numbers nearer than that, in points, are moved apart."""
_MARGIN = 0.12
"""Above and below what a panel shows, this share of it."""


def data(gathered: Gathered) -> Figure | None:
    """A point an arm, a panel a sequence; numbers stand for arms, the same in every panel."""
    names = [name for name in gathered.arms if name != "none" and any(name in one.arms for one in gathered.sets)]
    records: list[dict[str, Any]] = []
    for one in gathered.sets:
        mine: list[dict[str, Any]] = []
        for name in (name for name in names if name in one.arms):
            arm = one.arms[name]
            timed = [arm.streams[place] for place in arm.timed]
            seconds = [stream.seconds_a_task for stream in timed]
            changes = {level: arm.change(number) for number, level in enumerate("ab")}
            mine.append(
                {"set": one.key, "arm": name, "title": arm.title, "number": names.index(name) + 1}
                | {"seconds": sum(seconds) / len(seconds), "quiet": are_quiet([stream.piece for stream in timed])}
                | {f"gain_{level}": change.difference for level, change in changes.items() if change.queries}
                | dict(zip(("gain_b_low", "gain_b_high"), bounds(changes["b"]), strict=True))
                | {"seeds": len(arm.streams), "offered": name in OFFERED}
            )
        # Arms of fewer seeds were asked other questions and taught by fewer draws: they are shown, and beat nobody.
        most = max((r["seeds"] for r in mine), default=0)
        best = _front([r for r in mine if r["offered"] and r["seeds"] == most and "gain_b" in r])
        records += [r | {"front": r["arm"] in best} for r in mine if "gain_b" in r]
    if not records:
        return None
    told = [
        f"{r['set']}, {r['title']} {wording.points(r['gain_b'])} for {wording.seconds(r['seconds'])}"
        for r in sorted(records, key=lambda r: r["seconds"])
        if r["front"]
    ]
    busy = (
        "" if all(r["quiet"] for r in records) else " Some times are from a busy machine; the costs table says which."
    )
    return Figure(
        NAME,
        "What learning costs and what it gains",
        "Up and to the left is better. Gain: recall@1 of level b after the last task against the untouched encoder, "
        "the mean over distinct questions, documents embedded anew. Seconds after each task, of learning, of the "
        "gate's exams and of embedding the documents anew. Upright lines: 95 % intervals of the gain. Line: those arms "
        "on offer, of as many seeds as any, that no other beats in both; "
        "rings: controls, bounds, and what was made worse on purpose; what points down from the panel's foot lies "
        f"below it, at the gain beside its number.{busy}",
        f"Who is not beaten in both, in points of 0.01: {'; '.join(told)}.",
        rounded(records),
    )


def draw(records: tuple[Mapping[str, Any], ...], looks: Mapping[str, Look]) -> tuple[bytes, bytes]:  # noqa: ARG001
    """The figure as (svg, png)."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    keys = {r["number"]: (r["title"], r["offered"]) for r in sorted(records, key=lambda r: r["number"])}
    columns = min(3, len(sets))
    rows, lines = -(-len(sets) // columns), -(-len(keys) // 4)
    below = 0.55 + 0.2 * lines
    height = 2.75 * rows + below + 0.3
    with canvas(height, columns, rows) as (figure, panels):
        figure.subplots_adjust(
            left=0.075, right=0.985, top=1 - 0.3 / height, bottom=below / height, wspace=0.24, hspace=0.42
        )
        for axes in panels[len(sets) :]:
            axes.set_axis_off()
        for place, (key, axes) in enumerate(zip(sets, panels, strict=False)):
            mine = [r for r in records if r["set"] == key]
            _panel(axes, mine)
            axes.set_title(key)
            if place % columns == 0:
                axes.set_ylabel("gain in points, level b")
            if place + columns >= len(sets):
                axes.set_xlabel("seconds a task", color=MUTED)
        for place, (number, (title, offered)) in enumerate(keys.items()):
            column, line = place // lines, place % lines
            figure.text(
                0.02 + 0.245 * column,
                (below - 0.62 - 0.2 * line) / height,
                f"{number}  {title}",
                fontsize=9,
                color=_COLOURS[offered],
                va="center",
            )
        return export(figure)


def _panel(axes: Axes, mine: Sequence[Mapping[str, Any]]) -> None:
    axes.axhline(0, color=INK, linewidth=1.0, linestyle=(0, (1, 1.5)))
    best = sorted((r for r in mine if r["front"]), key=lambda r: r["seconds"])
    axes.plot([r["seconds"] for r in best], [100 * r["gain_b"] for r in best], color=_COLOURS[True], linewidth=1.2)
    floor = _floor(mine)
    held = [100 * r["gain_b"] for r in mine if 100 * r["gain_b"] >= floor]
    low, high = min([0.0, *held]), max([0.0, *held])
    room = _MARGIN * max(high - low, 1.0)  # where nobody gains or loses, a panel has some height too
    foot = low - room
    axes.set_ylim(foot, high + room)
    for r in mine:
        colour = _COLOURS[r["offered"]]
        if r["gain_b_low"] is not None:
            span = [100 * r["gain_b_low"], 100 * r["gain_b_high"]]
            axes.plot([r["seconds"]] * 2, span, color=colour, linewidth=1.0, alpha=0.35)
        face = colour if r["offered"] else PAPER
        below = 100 * r["gain_b"] < floor
        axes.plot(
            r["seconds"],
            foot if below else 100 * r["gain_b"],
            "v" if below else "o",
            markersize=6 if below else 5,
            color=colour,
            markerfacecolor=face,
            clip_on=False,
            zorder=3,  # above the axis, on which those stand that lie below
        )
    axes.set_xscale("log")
    quickest, slowest = min(r["seconds"] for r in mine), max(r["seconds"] for r in mine)
    # What lies below has its value beside its number, which takes more room.
    axes.set_xlim(quickest / 1.6, slowest * (4.5 if any(100 * r["gain_b"] < floor for r in mine) else 2.2))
    log_ticks(axes.xaxis, *axes.get_xlim(), lambda value: f"{value:g}")
    quiet(axes)
    _numbers(axes, mine)


def _numbers(axes: Axes, mine: Sequence[Mapping[str, Any]]) -> None:
    """Each arm's number to the right of its point, those of points that stand together moved apart.

    What lies below the panel has its gain beside its number. Behind a number no line is seen.
    """
    axes.figure.canvas.draw()
    point = 72 / axes.figure.dpi  # places in points, which are the same at any resolution
    floor, foot = _floor(mine), axes.get_ylim()[0]
    below = [100 * r["gain_b"] < floor for r in mine]
    places = [(r["seconds"], foot if under else 100 * r["gain_b"]) for r, under in zip(mine, below, strict=True)]
    at = [point * axes.transData.transform(place) for place in places]
    box = axes.get_window_extent()
    groups: list[list[int]] = []
    for one in sorted(range(len(mine)), key=lambda number: at[number][0]):
        if groups and at[one][0] - at[groups[-1][-1]][0] < _NEAR:
            groups[-1].append(one)
        else:
            groups.append([one])
    for group in groups:
        # Of equal heights the rightmost lowest, so that no two lines cross.
        group.sort(key=lambda number: (at[number][1], -at[number][0]))
        right = max(float(at[one][0]) for one in group) + 6
        heights = spread([float(at[one][1]) for one in group], 10.5, point * float(box.y0) + 5, point * float(box.y1))
        for one, height in zip(group, heights, strict=True):
            away = (right - float(at[one][0]), height - float(at[one][1]))
            line = {"arrowstyle": "-", "linewidth": 0.5, "color": MUTED, "shrinkA": 0, "shrinkB": 2}
            axes.annotate("", places[one], xytext=away, textcoords="offset points", arrowprops=line)
            axes.annotate(
                _numbered(mine[one], told=below[one]),
                places[one],
                xytext=away,
                textcoords="offset points",
                fontsize=8,
                color=_COLOURS[mine[one]["offered"]],
                va="center",
                bbox={"boxstyle": "square,pad=0.08", "facecolor": PAPER, "edgecolor": "none"},
                zorder=4,  # above all lines
            )


def _numbered(r: Mapping[str, Any], *, told: bool) -> str:
    return f"{r['number']}: {wording.fixed(100 * r['gain_b'], 1, '+').replace('-', '−')}" if told else str(r["number"])


def _floor(mine: Sequence[Mapping[str, Any]]) -> float:
    """The least gain in points that is drawn at its height: what ruins an encoder would press the others together."""
    return -0.6 * max(5.0, *(100 * float(r["gain_b"]) for r in mine))


def _front(mine: Sequence[Mapping[str, Any]]) -> set[str]:
    """The arms that no other beats in both seconds and gain."""
    best, out = float("-inf"), set()
    for r in sorted(mine, key=lambda r: (r["seconds"], -r["gain_b"])):
        if r["gain_b"] > best:
            best = r["gain_b"]
            out.add(r["arm"])
    return out
