"""Two runs side by side: where the same contestant at the same setting answers better or faster in the second.

Recall and task quality are compared query by query. Timings of different runs never meet: each run's speed is taken
relative to its own reference, in the same blocks, and those ratios are compared, on one machine only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Group

from adamem.bench.curve import LARGER_IS_BETTER, Quantity
from adamem.bench.paired import Paired, holm, paired
from adamem.bench.quality import TaskQuality
from adamem.bench.stats import centred_interval, noise_floor, relative_to
from adamem.files import atomic_write, canonical_json
from adamem.report.loaded import Loaded, Series, Spot, load
from adamem.types import DoubleArray, ParamValue

_SPEEDS: tuple[Quantity, ...] = ("qps", "p50", "p99")
_TASK: tuple[str, ...] = ("ndcg", "mrr", "recall_fraction")
_TASK_K = 10


@dataclass(frozen=True)
class Setting:
    """A contestant at one operating point."""

    contestant: str
    build: dict[str, ParamValue]
    search: dict[str, ParamValue]
    k: int


@dataclass(frozen=True)
class QualityChange:
    """One measure of quality at one setting, in both runs, each query's mean over its build seeds."""

    setting: Setting
    measure: str
    """``recall@10``, ``ndcg@10`` ..."""
    a: float
    b: float
    paired: Paired
    p_corrected: float
    """Holm's correction over all the comparisons of the two runs."""


@dataclass(frozen=True)
class SpeedChange:
    """One quantity at one setting, as a multiple of the run's own reference."""

    setting: Setting
    what: Quantity
    a: float
    b: float
    change: float
    """b / a."""
    low: float
    high: float
    noise: float
    """The larger of the two runs' noise floors, as a share; NaN where neither has a twin."""

    @property
    def outcome(self) -> str:
        """``faster``, ``slower`` or ``level``: the interval must leave 1 out, and the change must exceed the noise."""
        floor = np.log1p(self.noise) if np.isfinite(self.noise) else 0.0
        if self.low <= 1.0 <= self.high or abs(np.log(self.change)) <= floor:
            return "level"
        return "faster" if (self.change > 1) == (self.what in LARGER_IS_BETTER) else "slower"


@dataclass(frozen=True)
class Difference:
    """What two runs differ in."""

    a: str
    b: str
    quality: tuple[QualityChange, ...]
    speed: tuple[SpeedChange, ...]
    notes: tuple[str, ...]
    """What could not be compared and why, as sentences."""

    def __rich__(self) -> Group:
        """How `rich` shows it on a terminal."""
        from adamem.report.diff_text import diff_tables  # noqa: PLC0415  (it imports this module)

        return diff_tables(self)

    def write_csv(self, path: Path) -> None:
        """Write every comparison as a line of CSV. Raises `StorageError` if that cannot be written."""
        from adamem.report.diff_text import diff_csv  # noqa: PLC0415  (it imports this module)

        with atomic_write(path) as stream:
            stream.write(diff_csv(self).encode())


def diff(a: Path, b: Path, *, seed: int = 0) -> Difference:
    """Compare the run in the folder `b` with the one in `a`, where they have a contestant, build and point in common.

    Raises
    ------
    DataError, CorruptResult
        if one of the folders holds no run, or a damaged one.
    """
    one, two = load(Path(a)), load(Path(b))
    notes = _why_not_quality(one, two)
    if notes:
        return Difference(str(a), str(b), (), (), tuple(notes))
    pairs = _pairs(one, two)
    notes += _only_in(one, two, {_key(setting) for setting, *_ in pairs})
    quality = _quality(one, two, pairs, seed)
    why = _why_not_speed(one, two)
    if why:
        return Difference(str(a), str(b), quality, (), (*notes, why))
    speed, more = _speed(one, two, pairs, seed)
    return Difference(str(a), str(b), quality, speed, (*notes, *more))


_Pair = tuple[Setting, Series, Spot, Series, Spot]


def _pairs(one: Loaded, two: Loaded) -> list[_Pair]:
    """Every setting that both runs measured, in the order of the first."""
    there = {_key(setting): (series, spot) for setting, series, spot in _settings(two)}
    return [
        (setting, series, spot, *there[_key(setting)])
        for setting, series, spot in _settings(one)
        if _key(setting) in there
    ]


def _settings(loaded: Loaded) -> list[tuple[Setting, Series, Spot]]:
    return [
        (Setting(series.contestant, series.build, spot.search, spot.k), series, spot)
        for contestant in loaded.contestants
        for series in contestant.series
        for spot in series.spots
    ]


def _key(setting: Setting) -> str:
    return canonical_json([setting.contestant, setting.build, setting.search, setting.k])


def _why_not_quality(one: Loaded, two: Loaded) -> list[str]:
    if one.run.dataset.fingerprint != two.run.dataset.fingerprint:
        names = one.run.dataset.name, two.run.dataset.name
        return [f"the runs are on different data ({names[0]} and {names[1]}, by fingerprint), so nothing can be paired"]
    if not np.array_equal(one.truth.rows, two.truth.rows):
        return ["the runs ask different queries, so nothing can be paired; give both the same dataset.queries and seed"]
    if one.run.metrics_version != two.run.metrics_version:
        versions = one.run.metrics_version, two.run.metrics_version
        return [f"the runs are scored by different metric versions ({versions[0]} and {versions[1]}); run one anew"]
    return []


def _only_in(one: Loaded, two: Loaded, shared: set[str]) -> list[str]:
    """Settings that have no partner, counted by contestant."""
    out = []
    for label, loaded in (("first", one), ("second", two)):
        for contestant in loaded.contestants:
            mine = {_key(setting) for setting, *_ in _settings(loaded) if setting.contestant == contestant.name}
            alone = len(mine - shared)
            if alone:
                out.append(f"{contestant.name}: {alone} of {len(mine)} points are only in the {label} run")
    return out


def _quality(one: Loaded, two: Loaded, pairs: list[_Pair], seed: int) -> tuple[QualityChange, ...]:
    rows: list[tuple[Setting, str, float, float, Paired]] = []
    for setting, mine, my_spot, other, other_spot in pairs:
        before = _measures(one, mine, my_spot)
        after = _measures(two, other, other_spot)
        for measure in (name for name in before if name in after):
            found = paired(before[measure], after[measure], seed=seed)
            if found.queries:
                both = np.isfinite(before[measure]) & np.isfinite(after[measure])
                a, b = (float(values[both].mean()) for values in (before[measure], after[measure]))
                rows.append((setting, measure, a, b, found))
    corrected = holm(np.array([row[-1].p_value for row in rows]))
    return tuple(QualityChange(*row, float(p)) for row, p in zip(rows, corrected, strict=True))


def _measures(loaded: Loaded, series: Series, spot: Spot) -> dict[str, DoubleArray]:
    """Per-query quality (q,) by name: the mean over build seeds."""
    cuts = sorted({int(k) for k in loaded.run.config["measure"]["recall_at"] if k <= spot.k} | {spot.k})
    out = {f"recall@{k}": series.recall(spot, k).mean(axis=0) for k in cuts}
    if loaded.qrels is not None and spot.k >= _TASK_K:
        scored = [loaded.metrics.task_quality(one, loaded.truth, loaded.qrels, _TASK_K) for one in series.answers(spot)]
        for name in _TASK:
            place = TaskQuality._fields.index(name)
            out[f"{name}@{_TASK_K}"] = np.mean([one[place] for one in scored], axis=0)
    return out


def _why_not_speed(one: Loaded, two: Loaded) -> str:
    machines = {block.machine for loaded in (one, two) for block in loaded.blocks}
    if len(machines) > 1:
        return (
            f"speed is not compared: the runs were timed on different machines ({', '.join(sorted(machines))}), "
            "and timings of different machines cannot be compared"
        )
    if one.reference is None or two.reference is None:
        return "speed is not compared: a run has no reference, and timings of different runs can only meet through one"
    if canonical_json(one.reference.build) != canonical_json(two.reference.build) or (
        one.reference.index != two.reference.index
    ):
        return "speed is not compared: the runs refer to different references"
    return ""


def _speed(one: Loaded, two: Loaded, pairs: list[_Pair], seed: int) -> tuple[tuple[SpeedChange, ...], list[str]]:
    assert one.reference is not None
    assert two.reference is not None
    there = {canonical_json([spot.search, spot.k]): spot for spot in two.reference.spots}
    common = [
        (spot, there[canonical_json([spot.search, spot.k])])
        for spot in one.reference.spots
        if canonical_json([spot.search, spot.k]) in there and spot.k == one.k
    ]
    if not common:
        return (), ["speed is not compared: the references of the two runs have no point in common"]
    my_reference = one.reference.curve([spot for spot, _ in common])
    other_reference = two.reference.curve([spot for _, spot in common])
    floors = {what: _noise(one, two, what) for what in _SPEEDS}
    rows, alone = [], set()
    for setting, mine, my_spot, other, other_spot in pairs:
        before, after = mine.curve([my_spot]), other.curve([other_spot])
        if not set(before.blocks) & set(my_reference.blocks) or not set(after.blocks) & set(other_reference.blocks):
            alone.add(setting.contestant)
            continue
        for what in _SPEEDS:
            if not all(curve.measured(what) for curve in (before, after, my_reference, other_reference)):
                continue
            # Different draws: the blocks of two runs have nothing to do with one another.
            first = relative_to(before, my_reference, what, seed=seed)
            second = relative_to(after, other_reference, what, seed=seed + 1)
            change = second.logs - first.logs
            low, high = centred_interval(change, second.resamples - first.resamples)
            rows.append(
                SpeedChange(
                    setting, what, float(np.exp(first.logs[0])), float(np.exp(second.logs[0])),
                    float(np.exp(change[0])), float(np.exp(low[0])), float(np.exp(high[0])), floors[what],
                )
            )  # fmt: skip
    return tuple(rows), [f"{name}: no block that its reference was in, so no speed" for name in sorted(alone)]


def _noise(one: Loaded, two: Loaded, what: Quantity) -> float:
    floors = []
    for loaded in (one, two):
        if loaded.reference is not None and loaded.twin is not None:
            shared = [spot for spot in loaded.reference.spots if spot.k == loaded.k]
            names = {canonical_json([spot.search, spot.k]): spot for spot in loaded.twin.spots}
            both = [(s, names[key]) for s in shared if (key := canonical_json([s.search, s.k])) in names]
            if both:
                pair = loaded.reference.curve([s for s, _ in both]), loaded.twin.curve([s for _, s in both])
                floors.append(noise_floor([pair], what).relative)
    return max(floors, default=float("nan"))
