"""Stage 1: every build of every contestant once, on the calibration queries, to find out what is worth measuring.

Each build is a block of its own, so that a run can stop after any of them and go on later.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np

from adamem.bench.context import Context
from adamem.bench.machine import Watch
from adamem.bench.plan import ContestantPlan, Params
from adamem.bench.process import WorkerProcess
from adamem.bench.records import FORMAT, Block
from adamem.bench.select import EVEN, REACH
from adamem.bench.trial import Ask, Tally, take_turn, worker_record
from adamem.errors import TrialFailed
from adamem.files import content_key

_QUERY_SECONDS = 0.05
"""Stage 1 chooses by whole batches; the few single queries are there to be seen, not to be relied on."""
_NARROW = 0.01
_CLOSE = 1.2
"""Calibration halves the bracket around a target until its ends differ by no more than 0.01 in recall and a fifth in
effort: other queries and other build seeds shift the recall, and the target must still lie near a point ..."""
_STEPS = 5
"""... or until so many points have been spent on it, and as many on each of its shoulders."""


def sweep_key(context: Context, plan: ContestantPlan, build: Params) -> tuple[str, dict[str, object]]:
    """The key of a stage-1 block, and what it is the hash of."""
    spec = context.spec(
        stage="sweep",
        contestant=plan.name,
        index=plan.config.index,
        build=build,
        searches=plan.searches,
        default_search=plan.default_search,
        targets=context.experiment.targets,
        shoulders=[REACH, EVEN],
        k=context.experiment.measure.k[0],
    )
    spec["adapters"] = {plan.config.index: spec["adapters"][plan.config.index]}
    return content_key(spec), spec


def sweep_one(context: Context, plan: ContestantPlan, build: Params) -> Block:
    """Build once, measure the grid of efforts, calibrate to the targets, write the block. Failures are results too."""
    key, spec = sweep_key(context, plan, build)
    started, watch, clock = datetime.now(UTC), Watch.now(), time.perf_counter()
    process = context.start(f"sweep-{key[:16]}")
    tally = Tally()
    built, failure = None, ""
    try:
        built = context.build(process, plan, build, context.experiment.measure.seed)
        _measure_grid(context, plan, process, tally)
    except TrialFailed as error:
        failure = str(error)
    finally:
        living = process.cpu_seconds()
        fitness = watch.since(living)
        process.close()
    worker = worker_record(
        built,
        tally,
        contestant=plan.name,
        role="contestant",
        kind=plan.kind,
        build=build,
        seed=context.experiment.measure.seed,
        threads=context.experiment.measure.build_threads,
        truth=context.calibration,
        failure=failure,
    )
    block = Block(
        format=FORMAT,
        key=key,
        stage="sweep",
        cohort=0,
        seed=context.experiment.measure.seed,
        rounds=1,
        order=[[0]],
        started=started.isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
        machine=context.machine,
        fitness=fitness,
        workers=[worker],
        spec=spec,
    )
    context.folder.write_block(block, [tally.arrays()])
    return block


def _measure_grid(context: Context, plan: ContestantPlan, process: WorkerProcess, tally: Tally) -> None:
    k = context.experiment.measure.k[0]
    enough = max(0.9995, *context.experiment.targets)
    groups = _groups(plan.searches, plan.effort)
    for group in groups:
        for search in group:
            _ask(context, process, tally, Ask(search, k, "grid"))
            # Past the highest target and all but perfect, more effort can only cost time: the front ends here.
            if plan.effort and tally.recall(context.calibration, len(tally.asks) - 1) >= enough:
                break
    default = Ask(plan.default_search, k, "default")
    if all(ask.search != default.search for ask in tally.asks):
        _ask(context, process, tally, default)
    if plan.effort:
        for group in groups:
            for target in context.experiment.targets:
                _calibrate(context, plan.effort, process, tally, group[0], target)


def _calibrate(
    context: Context, effort: str, process: WorkerProcess, tally: Tally, example: Params, target: float
) -> None:
    """Close in on the least effort that reaches `target`, by halving the (geometric) bracket that the grid gave.

    Then see that it has even shoulders: other queries shift recalls, and the target may come to lie outside it.
    """
    k = context.experiment.measure.k[0]

    def seen() -> list[tuple[int, float]]:
        return sorted(
            (int(ask.search[effort]), tally.recall(context.calibration, p))
            for p, ask in enumerate(tally.asks)
            if {**ask.search, effort: 0} == {**example, effort: 0}
        )

    def try_between(low: int, high: int) -> bool:
        middle = int(np.sqrt(low * high).round())
        between = low < middle < high
        if between:
            _ask(context, process, tally, Ask({**example, effort: middle}, k, "calibrated"))
        return between

    for _ in range(_STEPS):
        points = seen()
        if not (points[0][1] < target <= points[-1][1]):
            return
        place = next(i for i, (_, score) in enumerate(points) if score >= target)
        if place == 0:
            return
        (low, low_score), (high, high_score) = points[place - 1], points[place]
        if (high_score - low_score <= _NARROW and high <= _CLOSE * low) or not try_between(low, high):
            break
    for outward in (-1, 1):
        for _ in range(_STEPS):
            gap = _gap(seen(), target, outward)
            if gap is None or not try_between(*gap):
                break


def _gap(points: list[tuple[int, float]], target: float, outward: int) -> tuple[int, int] | None:
    """The efforts between which the shoulder below the target (-1) or above it (1) is too steep; None if it is even."""
    place = next(i for i, (_, score) in enumerate(points) if score >= target)
    at = place if outward > 0 else place - 1
    while 0 <= at + outward < len(points) and abs(points[at][1] - target) < REACH:
        (here, score), (there, next_score) = points[at], points[at + outward]
        if abs(next_score - score) > EVEN:
            return min(here, there), max(here, there)
        at += outward
    return None


def _ask(context: Context, process: WorkerProcess, tally: Tally, ask: Ask) -> None:
    take_turn(
        process,
        tally,
        [ask],
        queries=context.queries["calibration"],
        truth=context.calibration,
        dataset=context.dataset,
        order_seed=len(tally.asks),
        query_seconds=_QUERY_SECONDS,
        scratch=context.scratch,
    )


def _groups(searches: list[Params], effort: str | None) -> list[list[Params]]:
    """Points that differ in effort alone, together, by rising effort."""
    groups: dict[str, list[Params]] = {}
    for search in searches:
        others = sorted((name, value) for name, value in search.items() if name != effort)
        groups.setdefault(repr(others), []).append(search)
    return list(groups.values())
