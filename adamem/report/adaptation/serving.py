"""What a run says of an engine that serves while its encoder learns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.adaptation.serving import PARTS, STANDINGS, WINDOWS
from adamem.bench.bootstrap import RESAMPLES
from adamem.bench.pieces import Piece
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.adaptation.gathered import Gathered
from adamem.report.document import Block, Cell, Column, CsvValue, Group, Table
from adamem.types import AnyArray, DoubleArray

MOST = 2.0
"""The requirement: the 99th percentile of searches while something is learnt, over that while nothing is."""
PERCENTS = (50, 95, 99)
NAMES = {"lora": "LoRA", "query-map": "query map"}
"""By what the pieces are called."""
_FIRST = 5
"""The columns of `windows` before those of `PARTS`."""
_UPDATES = ("one", "batch")
_LAST = ("embedding", "switching", "clearing")
"""Parts that are told apart by when they were: an update ends with them."""
_STATES = {
    "before": "idle, before anything is learnt",
    "idle": "idle, between updates",
    "one": "one pair is learnt",
    "batch": "a batch is learnt",
    "embedding": "memories are embedded anew",
    "switching": "it is put to use",
    "after": "idle, after the last update",
}
Records = list[Mapping[str, CsvValue]]


@dataclass(frozen=True)
class Served:
    """One way of learning, over all seeds."""

    how: str
    pieces: tuple[Piece, ...]
    arrays: tuple[dict[str, AnyArray], ...]

    @property
    def title(self) -> str:
        """What the report calls it."""
        return NAMES.get(self.how, self.how)

    @cached_property
    def stretches(self) -> dict[str, list[DoubleArray]]:
        """By state: seconds that each search took, float64 (n,) for each stretch of time in which it began."""
        out: dict[str, list[DoubleArray]] = {state: [] for state in _STATES}
        for arrays in self.arrays:
            windows = arrays["windows"]
            idle = np.flatnonzero(windows[:, 0] == WINDOWS.index("idle")).tolist()
            for place, row in enumerate(windows):
                for state, begin, end in _states(row):
                    named = "before" if place == idle[0] else "after" if place == idle[-1] else state
                    out[named].append(_began(arrays["searches"], begin, end))
        return {state: [one for one in found if one.size] for state, found in out.items()}

    @cached_property
    def rounds(self) -> list[tuple[DoubleArray, DoubleArray]]:
        """Seconds of searches in each idle stretch that an update follows, and in that update."""
        out = []
        for arrays in self.arrays:
            windows = arrays["windows"]
            for idle, busy in itertools.pairwise(windows):
                if idle[0] == WINDOWS.index("idle") and busy[0] != WINDOWS.index("idle"):
                    out.append(tuple(_began(arrays["searches"], row[1], row[2]) for row in (idle, busy)))
        return [(idle, busy) for idle, busy in out if idle.size and busy.size]

    @cached_property
    def ratio(self) -> Estimate:
        """The 99th percentile in updates over that in the idle stretches before them.

        The interval resamples rounds, and the searches of each; NaN where there is none.
        """
        if not self.rounds:
            return Estimate(np.nan, np.nan, np.nan)
        value = _tail_ratio(self.rounds)
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(RESAMPLES):
            places = rng.integers(len(self.rounds), size=len(self.rounds))
            drawn.append(_tail_ratio([tuple(rng.choice(one, one.size) for one in self.rounds[at]) for at in places]))
        low, high = np.percentile(drawn, (2.5, 97.5))
        return Estimate(value, float(low), float(high))

    def updates(self, window: str) -> AnyArray:
        """The rows of `windows` of updates of one kind, int64 (u, columns)."""
        rows = np.concatenate([arrays["windows"] for arrays in self.arrays])
        return np.asarray(rows[rows[:, 0] == WINDOWS.index(window)])

    def in_use_seconds(self, window: str) -> DoubleArray:
        """float64 (u,): from the first feedback until what was learnt is in use."""
        rows = self.updates(window)
        return np.asarray((rows[:, 2] - rows[:, 1] - rows[:, _FIRST + PARTS.index("clearing")]) * 1e-9)

    def standing(self, what: str) -> int:
        """How many updates came to this."""
        rows = np.concatenate([self.updates(window) for window in _UPDATES])
        return int((rows[:, 4] == STANDINGS.index(what)).sum())

    @cached_property
    def first_seconds(self) -> DoubleArray:
        """float64 (f,): by fact, from when it was added until it was found first in other words.

        0 where it was at once, infinite where it never was.
        """
        out = []
        for arrays in self.arrays:
            for fact, added in enumerate(arrays["added"].tolist()):
                mine = arrays["checks"][arrays["checks"][:, 0] == fact]
                there = mine[mine[:, 2] == 1]
                out.append(np.inf if not len(there) else 0.0 if mine[0, 2] == 1 else float(there[0, 1] - added) * 1e-9)
        return np.array(out, np.float64)

    def pooled(self, name: str) -> DoubleArray:
        """Seconds of an array of nanoseconds, of all seeds."""
        return np.asarray(np.concatenate([arrays[name] for arrays in self.arrays]) * 1e-9)

    def peak(self, column: int) -> int:
        """The most bytes seen in the process that serves (1) or that learns (2)."""
        return max(int(arrays["memory"][:, column].max(initial=0)) for arrays in self.arrays)

    def fact(self, name: str) -> int | None:
        """A count of the first seed's piece."""
        found = self.pieces[0].facts.get(name)
        return None if found is None else int(found)


def served(gathered: Gathered) -> list[Served]:
    """What was measured, by the way of learning."""
    folder = AdaptationFolder(gathered.path)
    by: dict[str, list[Piece]] = {}
    for piece in gathered.pieces:
        part, _, rest = piece.name.partition(".")
        if part == "serving":
            by.setdefault(rest.rpartition(".")[0], []).append(piece)
    return [
        Served(how, tuple(pieces), tuple(folder.arrays(piece.name) for piece in pieces)) for how, pieces in by.items()
    ]


def sentences(found: Sequence[Served]) -> list[str]:
    """Whether searches are slowed down, and how soon a fact is found."""
    return [_said(one) for one in found]


def blocks(found: Sequence[Served]) -> tuple[Block | None, ...]:
    """The tables."""
    return latencies(found), updates(found), facts(found), costs(found)


def latencies(found: Sequence[Served]) -> Table | None:
    """How long searches take, by what happens beside them."""
    groups, records = [], Records()
    for one in found:
        rows = []
        for state, title in _STATES.items():
            if not one.stretches[state]:
                continue
            seconds = np.concatenate(one.stretches[state])
            percentiles = [float(value) for value in np.percentile(seconds, PERCENTS)]
            longest = float(seconds.max())
            cells = (Cell(wording.seconds(value)) for value in (*percentiles, longest))
            rows.append((Cell(title), Cell(f"{seconds.size:,}"), *cells))
            named = {f"p{percent}_seconds": value for percent, value in zip(PERCENTS, percentiles, strict=True)}
            records.append(
                {"how": one.how, "beside": state, "searches": int(seconds.size), **named, "longest_seconds": longest}
            )
        if not rows:
            continue
        ratio = one.ratio
        told = f"while it learns, p99 is {wording.times(ratio.value)} that of idle {wording.interval(ratio)}"
        groups.append(Group(f"{one.title}: {told}; {_verdict(ratio)}", tuple(rows)))
        records.append(
            {"how": one.how, "beside": "ratio", "p99_ratio": ratio.value, "low": ratio.low, "high": ratio.high}
        )
    if not groups:
        return None
    return Table(
        "serving",
        "Searches beside an encoder that learns",
        (
            Column("beside", number=False),
            Column("searches"),
            *(Column(f"p{percent}") for percent in PERCENTS),
            Column("longest"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "One engine on one file, asked one question after the other; a search counts where it begins, and one that "
            "has to wait is one search, however long: the longest tells it. The ratio "
            "is of whole updates to the idle stretches just before each; its 95 % interval resamples these rounds, and "
            f"the searches of each. Required: at most {MOST:g}×.",
        ),
    )


def updates(found: Sequence[Served]) -> Table | None:
    """How long an update takes, from feedback to use, and what of it."""
    groups, records = [], Records()
    for one in found:
        rows = []
        for window in _UPDATES:
            whole, parts = one.in_use_seconds(window), one.updates(window)[:, _FIRST:] * 1e-9
            if not whole.size:
                continue
            p50, p95 = (float(value) for value in np.percentile(whole, (50, 95)))
            medians = [float(value) for value in np.median(parts, axis=0)]
            lessons = int(one.updates(window)[0, 3])
            rows.append(
                (
                    Cell(f"{lessons} pair{'s' if lessons > 1 else ''}"),
                    Cell(f"{whole.size}"),
                    Cell(wording.seconds(p50)),
                    Cell(wording.seconds(p95)),
                    *(Cell(wording.seconds(value)) for value in medians),
                )
            )
            named = {f"{part}_seconds": value for part, value in zip(PARTS, medians, strict=True)}
            records.append(
                {
                    "how": one.how,
                    "pairs": lessons,
                    "updates": int(whole.size),
                    "p50_seconds": p50,
                    "p95_seconds": p95,
                    **named,
                }
            )
        if rows:
            came = ", ".join(f"{one.standing(what)} {what}" for what in STANDINGS if one.standing(what))
            groups.append(Group(f"{one.title}: {came}", tuple(rows)))
    if not groups:
        return None
    return Table(
        "serving_updates",
        "An update, from what the engine is told to what is in use",
        (
            Column("learnt", number=False),
            Column("updates"),
            Column("median"),
            Column("95 %"),
            *(Column(part, "median") for part in PARTS),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Median and 95 % are of whole updates, without deleting the former vectors (clearing); the very first "
            "update starts the process that learns. The exam asks before and after; what it refuses is not used.",
        ),
    )


def facts(found: Sequence[Served]) -> Table | None:
    """How soon a new fact is found first, asked for in words that were not taught."""
    rows, records = [], Records()
    for one in found:
        seconds = one.first_seconds
        if not seconds.size:
            continue
        at_once, never = float((seconds == 0).mean()), float(np.isinf(seconds).mean())
        learnt = seconds[(seconds > 0) & np.isfinite(seconds)]
        median = float(np.median(learnt)) if learnt.size else float("nan")
        rows.append(
            (
                Cell(one.title),
                Cell(f"{seconds.size}"),
                Cell(wording.percent(at_once)),
                Cell(wording.percent(learnt.size / seconds.size)),
                Cell(wording.seconds(median)),
                Cell(wording.percent(never)),
            )
        )
        records.append(
            {
                "how": one.how,
                "facts": int(seconds.size),
                "at_once": at_once,
                "after_learning": learnt.size / seconds.size,
                "median_seconds": median,
                "never": never,
            }
        )
    if not rows:
        return None
    return Table(
        "serving_facts",
        "A new fact, asked for in words that were not taught",
        (
            Column("learnt by", number=False),
            Column("facts"),
            Column("first at once", "nothing learnt"),
            Column("first later", "of all facts"),
            Column("median time", "of those"),
            Column("never first", "by the end"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Each fact is added, told one question that it answers, learnt alone, and asked for in another question "
            "after that update and each later one; which of them has brought it first is not told apart. The time "
            "begins when it is added; a fact that is not found first by the end is counted as never, though more "
            "updates might find it.",
        ),
    )


def costs(found: Sequence[Served]) -> Table | None:
    """Bytes, microseconds a query, and memory."""
    rows, records = [], Records()
    for one in found:
        plain, adapted, mapped = (float(np.median(one.pooled(name))) for name in ("plain_ns", "adapted_ns", "map_ns"))
        over = float(np.median(one.pooled("adapted_ns") - one.pooled("plain_ns")))
        bridge = one.fact("bridge_bytes")
        rows.append(
            (
                Cell(one.title),
                Cell(f"{one.fact('adapter_bytes'):,}", "" if bridge is None else f"bridge: {bridge:,}"),
                Cell(wording.seconds(plain)),
                Cell(wording.seconds(adapted)),
                Cell(f"{1e6 * over:+.0f} µs".replace("-", "−")),
                Cell(wording.seconds(mapped), "query map" if bridge is None else "bridge"),
                Cell(wording.megabytes(one.peak(1))),
                Cell(wording.megabytes(one.peak(2))),
            )
        )
        records.append(
            {
                "how": one.how,
                "adapter_bytes": one.fact("adapter_bytes"),
                "bridge_bytes": bridge,
                "plain_seconds": plain,
                "adapted_seconds": adapted,
                "overhead_seconds": over,
                "map_seconds": mapped,
                "serving_peak_bytes": one.peak(1),
                "learning_peak_bytes": one.peak(2),
            }
        )
    if not rows:
        return None
    return Table(
        "serving_costs",
        "What is kept, and what a query pays",
        (
            Column("learnt by", number=False),
            Column("bytes", "as kept"),
            Column("a query", "plain"),
            Column("a query", "adapted"),
            Column("difference"),
            Column("vector mapped", "alone"),
            Column("memory", "serving"),
            Column("memory", "learning"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Medians over queries, embedded plain and adapted in turns; the difference is the median of the pairs'. "
            "Memory is the most that was seen resident in either process, looked at ten times a second.",
        ),
    )


def _said(one: Served) -> str:
    ratio, seconds = one.ratio, one.first_seconds
    told = [
        f"While a {one.title} is learnt beside searches, the slowest hundredth of them (p99) take "
        f"{wording.times(ratio.value)} {wording.interval(ratio)} as long as when nothing is learnt, {_verdict(ratio)}"
    ]
    whole = one.in_use_seconds("one")
    if whole.size:
        told.append(f"one pair is in use after {wording.seconds(float(np.median(whole)))} (median)")
    if seconds.size:
        later = int(((seconds > 0) & np.isfinite(seconds)).sum())
        told.append(
            f"of {seconds.size} new facts {int((seconds == 0).sum())} are found first in other words at once, {later} "
            f"after learning, {int(np.isinf(seconds).sum())} not by the end"
        )
    return f"{'; '.join(told)}."


def _verdict(ratio: Estimate) -> str:
    if not np.isfinite(ratio.value):
        return "not measured"
    if ratio.high <= MOST:
        return f"within the {MOST:g}× that are required"
    return f"more than the {MOST:g}× that are required" if ratio.low > MOST else f"not told apart from {MOST:g}×"


def _states(row: AnyArray) -> list[tuple[str, int, int]]:
    """What happened in a window, from when until when: an update ends with `_LAST`, before which it learns."""
    begin, end = int(row[1]), int(row[2])
    name = WINDOWS[int(row[0])]
    if name == "idle":
        return [(name, begin, end)]
    embedding, switching, clearing = (int(row[_FIRST + PARTS.index(part)]) for part in _LAST)
    put = end - clearing
    return [
        (name, begin, put - switching - embedding),
        ("embedding", put - switching - embedding, put - switching),
        ("switching", put - switching, end),
    ]


def _began(searches: AnyArray, begin: int, end: int) -> DoubleArray:
    """Seconds of the searches that began from `begin` until `end`."""
    first, last = np.searchsorted(searches[:, 0], (begin, end))
    return np.asarray(searches[first:last, 1] * 1e-9)


def _tail_ratio(rounds: Sequence[tuple[DoubleArray, DoubleArray]]) -> float:
    idle, busy = (np.percentile(np.concatenate(side), 99) for side in zip(*rounds, strict=True))
    return float(busy / idle)
