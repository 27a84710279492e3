"""How every figure looks: one colour an index, direct labels, no more ink than the data need.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), the last one aside told apart by people with any
colour vision; past the seventh contestant they come again with another dash and marker. Matplotlib is imported when
something is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from adamem.report.wording import settled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

INK = "#1b1b1b"
PAPER = "#fefefe"
MUTED = "#6e6e6e"
GRID = "#d9d9d9"
"""The page gives these four the colours of its own theme (`adamem.report.html`), so no index may have them."""

_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#9a8700")
_OWN = {"hnsw": 0, "faiss_pq": 1, "faiss_nsg": 2, "faiss_hnsw": 5, "spiral": 3}
_MARKERS = "osD^vPX"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_PLACES, _LONG, _SPACE = re.compile(rb' (?:d|x|y)="[^"]*"'), re.compile(rb"\d+\.\d{3,}"), re.compile(rb"\s*\n\s*")

WIDTH = 8.8
"""Inches; at 100 dots an inch, what a laptop shows without scaling."""
_MANY, _LONGEST = 16, 25
"""More labels than that beside a figure are smaller, and so many letters of one are shown where there is room."""


@dataclass(frozen=True)
class Look:
    """How a contestant is drawn, the same in every figure."""

    colour: str
    marker: str
    dash: Any


_BLUE, _VERMILION, _GREEN, _PINK, _ORANGE, _SKY, _ = _PALETTE
_INDIGO, _GREY = "#332288", "#8a8a8a"
_SOLID, _DASHED, _DOTTED, _BOTH = _DASHES
_ARMS = {
    "lora": Look(_BLUE, "o", _SOLID),
    "lora-replay": Look(_VERMILION, "s", _SOLID),
    "lora-steps": Look(_GREEN, "^", _DASHED),
    "query-only": Look(_PINK, "v", _SOLID),
    "lora-gentle": Look(_ORANGE, "D", _DASHED),
    "lora-gated": Look(_SKY, "P", _BOTH),
    "full-tuning": Look(_INDIGO, "d", _BOTH),
    "lora-queries": Look(_PINK, "s", _DASHED),
    "lora-4": Look(_SKY, "v", _DASHED),
    "lora-64": Look(_GREEN, "D", _BOTH),
    "own-hits": Look(_ORANGE, "s", _BOTH),
    "shuffled": Look(_GREY, "X", _DOTTED),
    "random": Look(_GREY, "*", _DOTTED),
    "noise": Look(_VERMILION, "P", _DOTTED),
    "joint": Look(_BLUE, "o", _DOTTED),
    "shuffled-gated": Look(_SKY, "v", _DOTTED),
}
"""Arms of a study of adaptation: dotted what nobody would use, grey the controls. No two have both a dash and a marker
in common: there are more of them than colours, and without red or green vermilion is olive, and green and pink grey."""


def looks(contestants: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """A look for each (name, index), in the config's order.

    The first contestant of a known index has that index's own colour in every report; the others take what is free.
    Exact search is drawn in ink, and an arm of a study of adaptation as that arm in every report.
    """
    out: dict[str, Look] = {}
    taken: set[int] = set()
    for name, index in contestants:
        if index == "exact" and not any(look.colour == INK for look in out.values()):
            out[name] = Look(INK, "*", (0, (1, 1.5)))
        elif index in _ARMS:
            out[name] = _ARMS[index]
        elif index in _OWN and _OWN[index] not in taken:
            taken.add(_OWN[index])
            out[name] = Look(_PALETTE[_OWN[index]], _MARKERS[0], _DASHES[0])
    reserved = {_OWN[index] for _, index in contestants if index in _OWN}
    count = 0
    for name, _ in contestants:
        if name in out:
            continue
        free = [slot for slot in range(len(_PALETTE)) if slot not in taken | reserved]
        if free:
            slot, again = free[0], 0
            taken.add(slot)
        else:
            slot, again = count % len(_PALETTE), 1 + count // len(_PALETTE)
            count += 1
        out[name] = Look(_PALETTE[slot], _MARKERS[again % len(_MARKERS)], _DASHES[again % len(_DASHES)])
    return out


@contextmanager
def canvas(height: float, columns: int = 1, rows: int = 1, **kwargs: Any) -> Iterator[tuple[Canvas, list[Axes]]]:
    """A figure of the house's width with `rows` x `columns` axes, drawn under the house's settings alone."""
    import matplotlib as mpl  # noqa: PLC0415  (heavy, and only now needed)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (as above)
    from matplotlib.figure import Figure  # noqa: PLC0415  (as above)

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # its keys are typed as literals, release by release
        settings.update(_settings())
        figure = Figure(figsize=(WIDTH, height))
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
        yield figure, list(axes.ravel())


def export(figure: Canvas) -> tuple[bytes, bytes]:
    """The figure as (svg, png); equal figures give equal bytes. Call it inside `canvas`."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(
        svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}, transparent=True
    )
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None}, facecolor=PAPER)
    return _short(svg.getvalue()), _few_colours(png)


def _short(svg: bytes) -> bytes:
    """Places to a hundredth of a point, which no screen shows, instead of a millionth; no indentation."""
    svg = _PLACES.sub(lambda place: _LONG.sub(lambda number: b"%.2f" % float(number[0]), place[0]), svg)
    return _SPACE.sub(b"\n", svg)


def _few_colours(png: io.BytesIO) -> bytes:
    """The picture in the 256 colours that are nearest: a third of the bytes."""
    from PIL import Image  # noqa: PLC0415  (as matplotlib)

    out = io.BytesIO()
    with Image.open(png) as image:
        few = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(out, format="png", optimize=True)
    return out.getvalue()


def label_right(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at the right edge, moved apart, a thin line to each; `labels` are (x, y, text, colour) of the ends."""
    if not labels:
        return
    size = 9.5 if len(labels) <= _MANY else 8.0
    figure = axes.figure
    figure.canvas.draw()
    scale = figure.dpi / 72
    gap = size * 1.28 * scale
    ends = [axes.transData.transform((x, y)) for x, y, _, _ in labels]
    box = axes.get_window_extent()
    order = sorted(range(len(labels)), key=lambda i: (ends[i][1], labels[i][2]))
    heights = spread([float(ends[i][1]) for i in order], gap, float(box.y0), float(box.y1))
    inverse = axes.transAxes.inverted()
    for i, height in zip(order, heights, strict=True):
        colour = labels[i][3]
        start = inverse.transform(ends[i])
        stop = inverse.transform((box.x1 + 10 * scale, height))
        axes.plot(
            [start[0], 1.0 + 2 * scale / box.width, stop[0]],
            [start[1], stop[1], stop[1]],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.6,
            alpha=0.6,
            clip_on=False,
            zorder=1,
        )
        named = axes.annotate(
            shorten(labels[i][2], _LONGEST),
            (stop[0], stop[1]),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            color=colour,
            fontsize=size,
            va="center",
            ha="left",
            annotation_clip=False,
        )
        length = _LONGEST
        while named.get_window_extent().x1 > figure.bbox.x1 and length > 1:
            length -= 1
            named.set_text(shorten(labels[i][2], length))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising positions near the rising `wanted` ones, at least `gap` apart, inside low..high while there is room."""
    groups: list[list[float]] = []  # [sum of (wanted - offset), count]: each group is one block of touching labels
    for value in wanted:
        groups.append([value, 1.0])
        while len(groups) > 1:
            (first, many), (second, more) = groups[-2], groups[-1]
            if second / more - first / many >= gap * (many + more) / 2:
                break
            groups[-2:] = [[first + second, many + more]]
    out: list[float] = []
    for total, count in groups:
        bottom = total / count - gap * (count - 1) / 2
        out.extend(bottom + gap * i for i in range(int(count)))
    for i in range(len(out) - 1, -1, -1):  # push down from the top, then up from the bottom
        out[i] = min(out[i], (high if i == len(out) - 1 else out[i + 1] - gap))
    for i in range(len(out)):
        out[i] = max(out[i], (low if i == 0 else out[i - 1] + gap))
    return out


def name_rows(axes: Axes, names: Sequence[str], looks: Mapping[str, Look]) -> None:
    """A row for each name, the first on top, in its colour."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.45, -0.55)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(looks[name].colour)
    axes.tick_params(axis="y", length=0)


def left_margin(names: Sequence[str], size: float = 9.5) -> float:
    """The share of the figure's width that the longest name needs, at most a third."""
    return min(0.33, 0.02 + max((len(name) for name in names), default=1) * size * 0.62 / 72 / WIDTH)


def shorten(name: str, limit: int = 34) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def quiet(axes: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """No frame but the lower left, a faint grid behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def log_ticks(axis: Axis, low: float, high: float, text: Callable[[float], str]) -> None:
    """Ticks of a logarithmic axis from `low` to `high` at 1, 2, 5, 10 ..., or the decades alone where those fill it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415  (heavy, and only now needed)

    span = high / low
    steps = (1.0, 2.0, 5.0) if span < 200 else (1.0, 3.0) if span < 2000 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(float(f"{value:.2g}"))))


def given_ticks(axis: Axis, places: Sequence[float], texts: Sequence[str]) -> None:
    """These ticks and no others."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator  # noqa: PLC0415  (as above)

    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_ticklabels(list(texts))


def rounded(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The records with floats as their CSV has them, so that a figure draws what its CSV says, to the digit."""
    return tuple(
        {key: float(f"{settled(value):.6g}") if isinstance(value, float) else value for key, value in record.items()}
        for record in records
    )


def _settings() -> dict[str, Any]:
    return {
        "svg.hashsalt": "adamem",
        "svg.fonttype": "path",  # the same letters on every machine, whatever fonts it has
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.8,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.5,
        "figure.dpi": 100,
        "savefig.dpi": 100,
        "axes.unicode_minus": False,
    }
