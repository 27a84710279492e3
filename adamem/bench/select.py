"""From stage 1 to stage 2: which builds of each contestant are worth measuring with care, and at which points.

Everything is chosen on the calibration queries, from raw stage-1 files: who has them comes to the same choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from adamem.bench.metrics import recall
from adamem.bench.plan import Params
from adamem.bench.records import Run
from adamem.bench.store import Measured, RunFolder
from adamem.bench.truth import Truth

_WORTH = 1.15
"""A further build is kept where it is at least so many times faster at a target than those already kept: less is hardly
more than the noise of one calibration, and each build kept costs minutes in every block."""
_PAST = 2.0
"""Past the highest target, points over so many times slower than the one that reaches it answer nothing that is
asked."""
REACH = 0.02
"""The test queries may shift recalls by so much: as far on each side of a target there are points ..."""
EVEN = 0.015
"""... and no wider gaps than that between them."""
_USEFUL = 0.5
"""Points below this recall are not measured again: no one uses them, and the figures start there."""


@dataclass(frozen=True)
class Candidate:
    """One build of one contestant as stage 1 saw it."""

    build: Params
    searches: list[Params]
    recalls: list[float]
    seconds: list[float]
    """Of the calibration queries in one call."""
    resident_bytes: int

    def seconds_at(self, target: float) -> float:
        """The least time among the points that reach `target`; infinite if none does."""
        reaching = [s for s, r in zip(self.seconds, self.recalls, strict=True) if r >= target]
        return min(reaching, default=np.inf)


@dataclass(frozen=True)
class Choice:
    """What stage 2 measures of one contestant."""

    tried: int
    """Builds in stage 1, failed ones included."""
    candidates: list[Candidate] = field(default_factory=list)
    """All that succeeded."""
    builds: list[Candidate] = field(default_factory=list)
    per_target: dict[float, Params | None] = field(default_factory=dict)
    """Which of the kept builds answers for each target: the fastest that reaches it, else the one nearest to it."""


def choose(folder: RunFolder, run: Run) -> dict[str, Choice]:
    """Every contestant's choice, in the config's order."""
    truth = folder.truth("calibration")
    found: dict[str, list[Candidate]] = {one["name"]: [] for one in run.config["contestant"]}
    tried = dict.fromkeys(found, 0)
    k = int(run.config["measure"]["k"][0])
    for key in run.sweep:
        block = folder.block("sweep", key)
        for measured in folder.measured("sweep", block):
            name = measured.worker.contestant
            tried[name] += 1
            if measured.worker.status == "ok":
                found[name].append(candidate(measured, truth, k))
    targets = [float(target) for target in run.config["targets"]]
    limit = int(run.config["measure"]["front_builds"])
    return {name: _choose_one(found[name], targets, limit, tried[name]) for name in found}


def candidate(measured: Measured, truth: Truth, k: int) -> Candidate:
    """A stage-1 worker, scored."""
    points = [p for p, point in enumerate(measured.worker.points) if point.k == k]
    return Candidate(
        build=measured.worker.build,
        searches=[measured.worker.points[p].search for p in points],
        recalls=[float(recall(measured.answers(p), truth, k).mean()) for p in points],
        seconds=[float(np.median(measured.batch_seconds(p))) for p in points],
        resident_bytes=max(measured.worker.resident_bytes or 0, sum(measured.worker.nbytes.values())),
    )


def points_of(one: Candidate, targets: list[float], effort: str | None) -> list[Params]:
    """The points of a kept build that stage 2 measures, by the other parameters, then by rising effort.

    Those that are useful and not beaten by far: a point stays if no other of the same build has at least its recall
    in under half its time and it does not lie far past the highest target, or if it brackets a target.
    """
    keep: set[int] = set()
    top = max(one.recalls)
    longest = _PAST * one.seconds_at(targets[-1])
    for p, (score, time) in enumerate(zip(one.recalls, one.seconds, strict=True)):
        beaten = any(
            other >= score and rival < 0.5 * time
            for q, (other, rival) in enumerate(zip(one.recalls, one.seconds, strict=True))
            if q != p
        )
        if score >= min(_USEFUL, top) and time <= longest and not beaten:
            keep.add(p)
    for target in targets:
        for group in _by_other_params(one, effort).values():
            above = [p for p in group if one.recalls[p] >= target]
            below = [p for p in group if one.recalls[p] < target]
            if above and below and min(one.seconds[p] for p in above) <= 2 * one.seconds_at(target):
                keep.update(_shoulder(one, sorted(above, key=lambda p: one.recalls[p]), target))
                keep.update(_shoulder(one, sorted(below, key=lambda p: -one.recalls[p]), target))
    return [search for p, search in enumerate(one.searches) if p in keep]


def _shoulder(one: Candidate, outward: list[int], target: float) -> list[int]:
    """Of the points on one side of a target, the nearest first: two, and as few more as leave no wide gap in reach."""
    kept = outward[:2]
    for here, beyond in itertools.pairwise(outward[2:]):
        if abs(one.recalls[kept[-1]] - target) >= REACH:
            break
        if abs(one.recalls[beyond] - one.recalls[kept[-1]]) > EVEN:
            kept.append(here)
    return kept


def nearest_points(one: Candidate, targets: list[float]) -> list[Params]:
    """For each target, the cheapest point that reaches it, or the best there is; without repeats."""
    chosen: list[Params] = []
    for target in targets:
        reaching = [p for p, score in enumerate(one.recalls) if score >= target]
        best = (
            min(reaching, key=lambda p: one.seconds[p])
            if reaching
            else max(range(len(one.recalls)), key=lambda p: one.recalls[p])
        )
        if one.searches[best] not in chosen:
            chosen.append(one.searches[best])
    return chosen


def _by_other_params(one: Candidate, effort: str | None) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for p, search in enumerate(one.searches):
        others = sorted((name, value) for name, value in search.items() if name != effort)
        groups.setdefault(repr(others), []).append(p)
    return groups


def _choose_one(candidates: list[Candidate], targets: list[float], limit: int, tried: int) -> Choice:
    if not candidates:
        return Choice(tried=tried, per_target=dict.fromkeys(targets))
    kept = worth_keeping(candidates, targets, limit)
    shortlist = [candidates[c] for c in kept]
    per_target: dict[float, Params | None] = {
        target: shortlist[_best_at(shortlist, target)].build for target in targets
    }
    return Choice(tried=tried, candidates=candidates, builds=shortlist, per_target=per_target)


def worth_keeping(candidates: list[Candidate], targets: list[float], limit: int) -> list[int]:
    """The build that is best at most targets, then the ones that gain most at some target, while they gain enough.

    A target that none reaches asks for no build of its own.
    """
    best = {target: _best_at(candidates, target) for target in targets}
    # Among equals the one of the higher target, the harder to replace.
    kept = [
        max(best.values(), key=lambda c: (sum(b == c for b in best.values()), max(t for t in best if best[t] == c)))
    ]
    while len(kept) < limit:
        gains = {
            target: min(candidates[c].seconds_at(target) for c in kept) / candidates[best[target]].seconds_at(target)
            for target in targets
            if np.isfinite(candidates[best[target]].seconds_at(target))
        }
        target = max(gains, key=lambda t: gains[t], default=None)
        if target is None or gains[target] < _WORTH:
            break
        kept.append(best[target])
    return kept


def _best_at(candidates: list[Candidate], target: float) -> int:
    """The fastest that reaches the target; where none does, the one that comes nearest."""
    times = [one.seconds_at(target) for one in candidates]
    if np.isfinite(min(times)):
        return int(np.argmin(times))
    return int(np.argmax([max(one.recalls) for one in candidates]))
