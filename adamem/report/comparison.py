"""What the first screen rests on: every contestant at every target recall, against the reference and the best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from adamem.bench.curve import LARGER_IS_BETTER, Curve, Quantity
from adamem.bench.stats import (
    AtRecall,
    Estimate,
    NoiseFloor,
    at_recall,
    band,
    geometric_ratio,
    noise_floor,
    ratio_at_recall,
)
from adamem.report.loaded import Contestant, Loaded, Series, Spot

SHOWN: tuple[Quantity, ...] = ("qps", "qps_one", "p50", "p99", "p99_raw")
RATIOS: tuple[Quantity, ...] = ("qps", "qps_one", "p50", "p99")


@dataclass(frozen=True)
class Entry:
    """One contestant at one target recall."""

    contestant: Contestant
    target: float
    series: Series
    spots: tuple[Spot, ...]
    """The points of `curve`: of the build's front on the calibration queries, the line for this target."""
    curve: Curve
    values: dict[Quantity, AtRecall]
    ratios: dict[Quantity, AtRecall]
    """To the reference, where both were measured in one block."""
    build: Estimate | None
    """Seconds: the geometric mean over seeds."""
    build_ratio: Estimate | None
    bytes: int
    bytes_ratio: float | None


@dataclass(frozen=True)
class Verdict:
    """Whether one contestant is ahead of another at a target, beyond chance and noise."""

    winner: Entry
    loser: Entry
    margin: Estimate
    """The winner's speed over the loser's."""
    outcome: Literal["ahead", "level"]


@dataclass(frozen=True)
class Comparison:
    """All entries of a run, and the noise that differences must exceed."""

    loaded: Loaded
    entries: tuple[Entry, ...]
    noise: dict[Quantity, NoiseFloor]

    def at(self, target: float) -> list[Entry]:
        """The entries at a target, in the config's order."""
        return [entry for entry in self.entries if entry.target == target]

    def entry(self, name: str, target: float) -> Entry | None:
        """One contestant's entry."""
        return next((entry for entry in self.at(target) if entry.contestant.name == name), None)

    def ranked(self, target: float, what: Quantity = "qps") -> list[Entry]:
        """Those that have a value there, best first."""
        having = [entry for entry in self.at(target) if np.isfinite(entry.values[what].value)]
        sign = -1.0 if what in LARGER_IS_BETTER else 1.0
        return sorted(having, key=lambda entry: sign * entry.values[what].value)

    def duel(self, first: Entry, second: Entry, what: Quantity = "qps") -> Verdict:
        """Compare two entries of one target, inside their blocks where they share some."""
        margin = self.margin(first, second, what)
        if margin.value < 1:
            first, second = second, first
            margin = Estimate(1 / margin.value, 1 / margin.high, 1 / margin.low)
        floor = self.noise[what].relative
        ahead = margin.low > 1 and margin.value - 1 > (floor if np.isfinite(floor) else 0.0)
        return Verdict(first, second, margin, "ahead" if ahead else "level")

    def level_with_best(self, entry: Entry, what: Quantity = "qps") -> bool:
        """Whether the entry is its target's best in that quantity, or not told apart from it; see `unranked`."""
        ranked = self.ranked(entry.target, what)
        if entry not in ranked or (what == "qps" and self.unranked(entry.target)):
            return False
        return entry is ranked[0] or self.duel(ranked[0], entry, what).outcome == "level"

    def unranked(self, target: float) -> list[Entry]:
        """Those without a value at `target` that nevertheless outrun its best with a point above it.

        Where there are any, the target has no winner: naming the best of the others would mislead.
        """
        ranked = self.ranked(target)
        best = ranked[0].values["qps"].value if ranked else 0.0
        return [
            entry
            for entry in self.at(target)
            if entry.values["qps"].status == "gap" and self.fastest(entry, below=False) > best
        ]

    def fastest(self, entry: Entry, *, below: bool) -> float:
        """The highest QPS of the entry's points below its target, or of those that reach it."""
        recalls = entry.curve.recall.mean(axis=(0, 2))
        points = np.flatnonzero((recalls < entry.target) == below)
        return float(band(entry.curve.take(points), "qps", resamples=1).value.max())

    @cached_property
    def _margins(self) -> dict[tuple[int, int, Quantity], Estimate]:
        return {}

    def margin(self, first: Entry, second: Entry, what: Quantity) -> Estimate:
        """How many times better the first is, inside their blocks where they share some: > 1 says better."""
        key = (id(first), id(second), what)
        if key not in self._margins:
            self._margins[key] = self._compute_margin(first, second, what)
        return self._margins[key]

    def _compute_margin(self, first: Entry, second: Entry, what: Quantity) -> Estimate:
        if set(first.curve.blocks) & set(second.curve.blocks):
            ratio: Estimate = ratio_at_recall(first.curve, second.curve, first.target, what)
        else:
            # Of two cohorts: by way of the reference that both hold.
            mine, other = first.ratios.get(what), second.ratios.get(what)
            if mine is None or other is None:
                # Nothing of the two was ever measured side by side: absolute speeds of two blocks are not compared.
                return Estimate(np.nan, np.nan, np.nan)
            ratio = Estimate(mine.value / other.value, mine.low / other.high, mine.high / other.low)
        if what in LARGER_IS_BETTER:
            return Estimate(ratio.value, ratio.low, ratio.high)
        return Estimate(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)


def compare(loaded: Loaded) -> Comparison:
    """Compute every entry of a run."""
    curves: dict[tuple[int, ...], Curve] = {}

    def curve_of(series: Series, spots: tuple[Spot, ...]) -> Curve:
        # One object a line: what it has resampled serves every target and ratio.
        key = (id(series), *(spot.numbers[0] for spot in spots))
        if key not in curves:
            curves[key] = series.curve(spots)
        return curves[key]

    entries = []
    for contestant in loaded.contestants:
        for target in loaded.targets:
            series = contestant.for_target(target)
            spots = () if series is None else tuple(series.line_for(target, loaded.k))
            if series is None or not spots:
                continue
            reference = None
            if loaded.reference is not None:
                reference = curve_of(loaded.reference, tuple(loaded.reference.line_for(target, loaded.k)))
            entries.append(
                _entry(
                    contestant,
                    target,
                    series=series,
                    spots=spots,
                    curve=curve_of(series, spots),
                    reference=loaded.reference,
                    reference_curve=reference,
                )
            )
    return Comparison(loaded, tuple(entries), _noise(loaded))


def _entry(
    contestant: Contestant,
    target: float,
    *,
    series: Series,
    spots: tuple[Spot, ...],
    curve: Curve,
    reference: Series | None,
    reference_curve: Curve | None,
) -> Entry:
    ratios: dict[Quantity, AtRecall] = {}
    if reference_curve is not None and set(curve.blocks) & set(reference_curve.blocks):
        ratios = {what: ratio_at_recall(curve, reference_curve, target, what) for what in RATIOS}
    size = sum(series.workers()[0].nbytes.values())
    their_size = sum(reference.workers()[0].nbytes.values()) if reference is not None else 0
    return Entry(
        contestant=contestant,
        target=target,
        series=series,
        spots=spots,
        curve=curve,
        values={what: at_recall(curve, target, what) for what in SHOWN},
        ratios=ratios,
        build=_build_seconds(series),
        build_ratio=None if reference is None else _build_ratio(series, reference),
        bytes=size,
        bytes_ratio=size / their_size if their_size and size else None,
    )


def _build_seconds(series: Series) -> Estimate | None:
    spent = [worker.build_seconds for worker in series.workers() if worker.build_seconds]
    return geometric_ratio(np.array(spent), np.ones(len(spent))) if spent else None


def _build_ratio(series: Series, reference: Series) -> Estimate | None:
    theirs = {block: m.worker.build_seconds for block, m in zip(reference.blocks, reference.measured, strict=True)}
    pairs = [
        (m.worker.build_seconds, theirs[block])
        for block, m in zip(series.blocks, series.measured, strict=True)
        if m.worker.build_seconds and theirs.get(block)
    ]
    if not pairs:
        return None
    return geometric_ratio(np.array([mine for mine, _ in pairs]), np.array([other for _, other in pairs]))


def _noise(loaded: Loaded) -> dict[Quantity, NoiseFloor]:
    pairs = []
    if loaded.reference is not None and loaded.twin is not None:
        mine = {(str(spot.search), spot.k): spot for spot in loaded.reference.at(loaded.k)}
        twins = {(str(spot.search), spot.k): spot for spot in loaded.twin.at(loaded.k)}
        both = [key for key in mine if key in twins]
        if both:
            reference = loaded.reference.curve([mine[key] for key in both])
            pairs = [(reference, loaded.twin.curve([twins[key] for key in both]))]
    return {what: noise_floor(pairs, what) for what in SHOWN}
