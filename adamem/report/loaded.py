"""A run's raw results, gathered by contestant and build: what every figure of the report is computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.curve import Curve
from adamem.bench.metrics import MetricSet, metrics_of
from adamem.bench.quality import qrels_from_arrays
from adamem.bench.records import Block, Run, Worker
from adamem.bench.select import Candidate, Choice, candidate, choose
from adamem.bench.store import Measured, RunFolder
from adamem.bench.truth import Answers, Truth
from adamem.data.dataset import Qrels
from adamem.files import canonical_json
from adamem.types import AnyArray, DoubleArray, ParamValue

Params = dict[str, ParamValue]

_CLEARLY = 0.8


@dataclass(frozen=True)
class Spot:
    """One operating point of a build, as all its workers measured it."""

    search: Params
    k: int
    origin: str
    numbers: tuple[int, ...]
    """The point's number in each of the series' workers."""


@dataclass(frozen=True)
class Series:
    """One build of one contestant: its workers, one a block (that is, one a build seed and cohort)."""

    contestant: str
    index: str
    build: Params
    role: str
    blocks: tuple[str, ...]
    measured: tuple[Measured, ...]
    truth: Truth
    metrics: MetricSet
    stage1: Candidate | None
    """The same build as stage 1 saw it, None if it was not in the sweep."""
    _recalls: dict[tuple[tuple[int, ...], int], DoubleArray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `recall` has computed: a report asks for the same point many times."""

    @cached_property
    def spots(self) -> tuple[Spot, ...]:
        """The points that every worker measured, in the order of the first."""
        places = [{_spot_key(p.search, p.k): n for n, p in enumerate(m.worker.points)} for m in self.measured]
        out = []
        for point in self.measured[0].worker.points:
            key = _spot_key(point.search, point.k)
            if all(key in place for place in places):
                out.append(Spot(point.search, point.k, point.origin, tuple(place[key] for place in places)))
        return tuple(out)

    def at(self, k: int) -> list[Spot]:
        """The points of that k, by rising mean recall."""
        chosen = [spot for spot in self.spots if spot.k == k]
        return sorted(chosen, key=lambda spot: float(self.recall(spot, k).mean()))

    def front(self, k: int) -> list[Spot]:
        """Those points of `at` that none beats on the calibration queries; all, if stage 1 did not see this build."""
        spots = self.at(k)
        if self.stage1 is None:
            return spots
        searches = unbeaten(self.stage1)
        return [spot for spot in spots if spot.search in searches] or spots

    def line_for(self, target: float, k: int) -> list[Spot]:
        """The points of `front` that differ in effort alone, of that line on which calibration is fastest at `target`.

        What is between two points of different lines is no setting that anyone could choose.
        """
        spots = self.front(k)
        stage1 = self.stage1
        if stage1 is None:
            return spots
        effort = effort_name(stage1.searches)
        lines: dict[str, list[Spot]] = {}
        for spot in spots:
            lines.setdefault(line_of(spot.search, effort), []).append(spot)

        def cost(line: str) -> tuple[float, float]:
            seen = [
                (spent, score)
                for search, score, spent in zip(stage1.searches, stage1.recalls, stage1.seconds, strict=True)
                if line_of(search, effort) == line
            ]
            reaching = [spent for spent, score in seen if score >= target]
            return min(reaching, default=math.inf), -max((score for _, score in seen), default=-math.inf)

        return lines[min(lines, key=cost)] if lines else []

    def spot_for(self, target: float, k: int) -> Spot | None:
        """The point that calibration names for a recall: the cheapest that reaches it, else the best there is."""
        spots = {_spot_key(spot.search, k): spot for spot in self.at(k)}
        if self.stage1 is not None:
            seen = [
                (score, spent, spots[_spot_key(search, k)])
                for search, score, spent in zip(
                    self.stage1.searches, self.stage1.recalls, self.stage1.seconds, strict=True
                )
                if _spot_key(search, k) in spots
            ]
            reaching = [(spent, number) for number, (score, spent, _) in enumerate(seen) if score >= target]
            if reaching:
                return seen[min(reaching)[1]][2]
            if seen:
                return max(seen, key=lambda one: one[0])[2]
        return list(spots.values())[-1] if spots else None

    def answers(self, spot: Spot) -> list[Answers]:
        """What each worker answered there."""
        return [m.answers(number) for m, number in zip(self.measured, spot.numbers, strict=True)]

    def recall(self, spot: Spot, k: int) -> DoubleArray:
        """Primary recall at k <= spot.k, float64 (s, q)."""
        key = spot.numbers, k
        if key not in self._recalls:
            self._recalls[key] = np.stack([self.metrics.recall(one, self.truth, k) for one in self.answers(spot)])
        return self._recalls[key]

    def curve(self, spots: Sequence[Spot]) -> Curve:
        """The statistics' view of some points of one k."""
        pairs = [list(zip(self.measured, spot.numbers, strict=True)) for spot in spots]
        recorded = [m.worker.points[n] for pair in pairs for m, n in pair]
        one = batch = None
        if all(point.one_query for point in recorded):
            one = np.stack([np.stack([m.one_seconds(n) for m, n in pair]) for pair in pairs], axis=1)  # (s, p, r, q)
        if all(point.batch for point in recorded):
            batch = np.stack([np.stack([m.batch_seconds(n) for m, n in pair]) for pair in pairs], axis=1)  # (s, p, r)
        recall = np.stack([self.recall(spot, spot.k) for spot in spots], axis=1)  # (s, p, q)
        return Curve(self.blocks, recall, one, batch)

    def workers(self) -> list[Worker]:
        """The records of its workers."""
        return [m.worker for m in self.measured]


@dataclass(frozen=True)
class Contestant:
    """One contestant with its measured builds."""

    name: str
    index: str
    choice: Choice
    series: tuple[Series, ...]

    @property
    def is_exact(self) -> bool:
        """Whether this is exact search."""
        return self.index == "exact"

    def for_target(self, target: float) -> Series | None:
        """The build chosen for that recall; another kept one where that one failed; None if nothing was measured."""
        wanted = self.choice.per_target.get(target)
        kept = [one.build for one in self.choice.builds]
        by_rank = sorted(self.series, key=lambda one: (one.build != wanted, one.build not in kept))
        return by_rank[0] if by_rank else None


@dataclass(frozen=True)
class Loaded:
    """Everything that a report needs of a run."""

    run: Run
    truth: Truth
    metrics: MetricSet
    blocks: tuple[Block, ...]
    sweep: tuple[Block, ...]
    contestants: tuple[Contestant, ...]
    reference: Series | None
    twin: Series | None
    candidates: dict[str, list[Candidate]]
    """Stage 1's builds that succeeded, by contestant."""
    hardness: dict[str, AnyArray] | None
    qrels: Qrels | None

    @property
    def runtimes(self) -> dict[str, dict[str, Any]]:
        """By contestant, the interpreter and the environment of those that had their own."""
        told: dict[str, dict[str, Any]] = self.run.config.get("runtimes", {})
        return told

    @property
    def k(self) -> int:
        """The k on which everything is chosen."""
        return int(self.run.config["measure"]["k"][0])

    @property
    def targets(self) -> list[float]:
        """Recalls at which speed is compared, rising."""
        return [float(target) for target in self.run.config["targets"]]

    @property
    def middle(self) -> float:
        """The target that stands for all where only one can be shown: the middle one."""
        return self.targets[len(self.targets) // 2] if self.targets else 0.95

    @property
    def rounds(self) -> int:
        """Rounds a block."""
        return self.blocks[0].rounds if self.blocks else 0

    @property
    def seeds(self) -> int:
        """Distinct build seeds measured."""
        return len({block.seed for block in self.blocks})


def unbeaten(build: Candidate) -> list[Params]:
    """The search parameters that are worth choosing, by what stage 1 saw of a build.

    Stage 1 times a point once: too little to tell neighbours apart, and dropping one on such a difference would tear a
    hole into the curve. So along the effort a point is only beaten by less effort with no less recall, and across other
    parameters by as much recall in under `_CLEARLY` of its time.
    """
    effort = effort_name(build.searches)
    points = list(zip(build.searches, build.recalls, build.seconds, strict=True))

    def beats(rival: tuple[Params, float, float], point: tuple[Params, float, float]) -> bool:
        if rival[1] < point[1]:
            return False
        if effort is not None and {**rival[0], effort: 0} == {**point[0], effort: 0}:
            return float(rival[0][effort]) < float(point[0][effort])
        return rival[2] < _CLEARLY * point[2]

    return [point[0] for point in points if not any(beats(rival, point) for rival in points if rival is not point)]


def line_of(search: Params, effort: str | None) -> str:
    """What points that differ in effort alone have in common."""
    return canonical_json({name: value for name, value in search.items() if name != effort})


def effort_name(searches: Sequence[Params]) -> str | None:
    """The numeric search parameter with the most values; None if nothing varies."""
    values: dict[str, set[float]] = {}
    for search in searches:
        for name, value in search.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, set()).add(float(value))
    best = max(values, key=lambda name: len(values[name]), default=None)
    return best if best is not None and len(values[best]) > 1 else None


def load(path: Path) -> Loaded:
    """Read a run's folder. Raises `DataError` if there is no run, `CorruptResult` if it is not what was written."""
    folder = RunFolder(path)
    run = folder.run()
    truth = folder.truth("test")
    metrics = metrics_of(run.metrics_version)
    sweep = [folder.block("sweep", key) for key in run.sweep]
    calibration = folder.truth("calibration")
    k = int(run.config["measure"]["k"][0])
    names = [one["name"] for one in run.config["contestant"]]
    candidates: dict[str, list[Candidate]] = {name: [] for name in names}
    for block in sweep:
        for held in folder.measured("sweep", block):
            if held.worker.status == "ok":
                candidates[held.worker.contestant].append(candidate(held, calibration, k))
    choices = choose(folder, run)
    blocks = [folder.block("measure", key) for key in run.blocks]
    series = _series(folder, blocks, truth, metrics, candidates)
    contestants = tuple(
        Contestant(
            one["name"],
            one["index"],
            choices[one["name"]],
            tuple(s for s in series if s.contestant == one["name"] and s.role != "twin"),
        )
        for one in run.config["contestant"]
    )
    return Loaded(
        run=run,
        truth=truth,
        metrics=metrics,
        blocks=tuple(blocks),
        sweep=tuple(sweep),
        contestants=contestants,
        reference=next((one for one in series if one.role == "reference"), None),
        twin=next((one for one in series if one.role == "twin"), None),
        candidates=candidates,
        hardness=folder.arrays("hardness.npz") if folder.has("hardness.npz") else None,
        qrels=qrels_from_arrays(folder.arrays("qrels.npz")) if folder.has("qrels.npz") else None,
    )


def _series(
    folder: RunFolder,
    blocks: Sequence[Block],
    truth: Truth,
    metrics: MetricSet,
    candidates: dict[str, list[Candidate]],
) -> list[Series]:
    """Workers that succeeded, gathered by contestant, build and role, in the order of their first block."""
    held: dict[str, list[tuple[str, Measured]]] = {}
    for block in blocks:
        for measured in folder.measured("measure", block):
            worker = measured.worker
            if worker.status == "ok" and worker.points:
                key = canonical_json([worker.contestant, worker.build, worker.role])
                held.setdefault(key, []).append((block.key, measured))
    out = []
    for members in held.values():
        worker = members[0][1].worker
        stage1 = next((one for one in candidates.get(worker.contestant, []) if one.build == worker.build), None)
        series = Series(
            contestant=worker.contestant,
            index=worker.index,
            build=worker.build,
            role=worker.role,
            blocks=tuple(key for key, _ in members),
            measured=tuple(measured for _, measured in members),
            truth=truth,
            metrics=metrics,
            stage1=stage1,
        )
        if series.spots:
            out.append(series)
    return out


def _spot_key(search: Params, k: int) -> str:
    return canonical_json([search, k])
