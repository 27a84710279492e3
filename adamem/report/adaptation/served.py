"""An engine that serves while its encoder learns: what is computed from its searches, its updates and its facts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.adaptation.serving import PARTS, STANDINGS, WINDOWS
from adamem.bench.bootstrap import RESAMPLES
from adamem.bench.pieces import Piece
from adamem.bench.stats import Estimate
from adamem.report.adaptation.gathered import Gathered
from adamem.types import AnyArray, DoubleArray

NAMES = {"lora": "LoRA", "query-map": "query map"}
"""By what the pieces are called."""
UPDATES = ("one", "batch")
"""The windows of updates."""
STATES = {
    "before": "idle, before anything is learnt",
    "idle": "idle, between updates",
    "one": "one pair is learnt",
    "batch": "a batch is learnt",
    "embedding": "memories are embedded anew",
    "switching": "it is put to use, former vectors go",
    "after": "idle, after the last update",
}
"""What stands beside a search."""
STEADY = 1.25
"""Idle stretches of one piece are alike where the largest of their medians is at most so many times the least."""
_FIRST = 5
"""The columns of `windows` before those of `PARTS`."""
_LAST = ("embedding", "switching", "clearing")
"""Parts that are told apart by when they were: an update ends with them."""


@dataclass(frozen=True)
class Pace:
    """How fast the idle searches of one piece were."""

    piece: str
    medians: tuple[float, ...]
    """Seconds: of each idle stretch, in their order."""

    @property
    def is_steady(self) -> bool:
        """Whether no stretch was much slower than another."""
        return self.spread <= STEADY

    @property
    def spread(self) -> float:
        """The largest median over the least."""
        return max(self.medians) / min(self.medians)


@dataclass(frozen=True)
class Fact:
    """Whether and when a fact was found first, asked for in words that were not taught."""

    before: bool
    """When it had been added, and was not yet taught."""
    right_after: bool
    """When its own update was over."""
    taken: bool
    """Whether the gate took its own update: what it refuses is never in use."""
    seconds: float
    """From when it was added until it was found first: 0 where it was at once, infinite where it never was."""

    @property
    def later(self) -> bool:
        """Whether it came first by a later update alone, which taught something else."""
        return not (self.before or self.right_after) and bool(np.isfinite(self.seconds))


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
        out: dict[str, list[DoubleArray]] = {state: [] for state in STATES}
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

    @cached_property
    def paces(self) -> list[Pace]:
        """Of each piece, how fast idle searches were from its first idle stretch to its last."""
        out = []
        for piece, arrays in zip(self.pieces, self.arrays, strict=True):
            windows = arrays["windows"]
            idle = (row for row in windows if row[0] == WINDOWS.index("idle"))
            stretches = [_began(arrays["searches"], row[1], row[2]) for row in idle]
            medians = [float(np.median(one)) for one in stretches if one.size]
            if medians:
                out.append(Pace(piece.name, tuple(medians)))
        return out

    @cached_property
    def beside(self) -> float:
        """The median over the rounds of a round's own ratio of 99th percentiles: no change between rounds is in it."""
        return float(np.median([_tail_ratio([one]) for one in self.rounds])) if self.rounds else float("nan")

    def updates(self, window: str, standing: str) -> AnyArray:
        """The rows of `windows` of updates of one kind that came to this, int64 (u, columns)."""
        rows = np.concatenate([arrays["windows"] for arrays in self.arrays])
        return np.asarray(rows[(rows[:, 0] == WINDOWS.index(window)) & (rows[:, 4] == STANDINGS.index(standing))])

    def seconds(self, window: str, standing: str) -> DoubleArray:
        """float64 (u,): from the first feedback until it is in use, if it was taken; else until it was given up."""
        rows = self.updates(window, standing)
        return np.asarray((rows[:, 2] - rows[:, 1] - rows[:, _FIRST + PARTS.index("clearing")]) * 1e-9)

    def parts(self, window: str, standing: str) -> DoubleArray:
        """float64 (u, parts): seconds of each of `PARTS` of the same updates."""
        return np.asarray(self.updates(window, standing)[:, _FIRST:] * 1e-9)

    def longest(self, window: str, standing: str) -> DoubleArray:
        """float64 (u,): seconds of the longest search that began in each of the same updates; 0 where none did."""
        at = WINDOWS.index(window), STANDINGS.index(standing)
        return np.array(
            [
                _began(arrays["searches"], row[1], row[2]).max(initial=0.0)
                for arrays in self.arrays
                for row in arrays["windows"]
                if (row[0], row[4]) == at
            ]
        )

    def standing(self, what: str) -> int:
        """How many updates came to this."""
        return sum(len(self.updates(window, what)) for window in UPDATES)

    @cached_property
    def facts(self) -> list[Fact]:
        """Those that were added, of all seeds."""
        out = []
        for arrays in self.arrays:
            windows = arrays["windows"]
            single = windows[windows[:, 0] == WINDOWS.index("one"), 4]  # one after the other, as facts are added
            for fact, added in enumerate(arrays["added"].tolist()):
                taken = bool((single[fact : fact + 1] == STANDINGS.index("taken")).any())
                mine = arrays["checks"][arrays["checks"][:, 0] == fact]
                found = mine[:, 2] == 1
                first = int(found.argmax()) if found.any() else -1
                until = np.inf if first < 0 else 0.0 if first == 0 else float(mine[first, 1] - added) * 1e-9
                out.append(Fact(bool(found[0]), bool(found[1:2].any()), taken, until))
        return out

    def pooled(self, name: str) -> DoubleArray:
        """Seconds of an array of nanoseconds, of all seeds."""
        return np.asarray(np.concatenate([arrays[name] for arrays in self.arrays]) * 1e-9)

    def peak(self, column: int) -> int:
        """The most bytes seen in the process that serves (1) or that learns (2)."""
        return max(int(arrays["memory"][:, column].max(initial=0)) for arrays in self.arrays)

    @property
    def config(self) -> Mapping[str, Any]:
        """How it was measured: of the first seed's piece."""
        told: Mapping[str, Any] = self.pieces[0].spec["config"]
        return told

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
