"""Stage 2: the chosen builds, several times over, turn by turn, on the test queries.

A block is every build of one cohort with one build seed: each in a process of its own, all resident together. A round
gives the token to one worker after the other, in a new random order. Timings are compared inside a block only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from adamem.bench.context import Context
from adamem.bench.machine import Watch
from adamem.bench.plan import ContestantPlan, Params, reference_of
from adamem.bench.process import WorkerProcess
from adamem.bench.records import FORMAT, Block
from adamem.bench.select import Candidate, Choice, nearest_points, points_of
from adamem.bench.trial import Ask, Tally, take_turn, worker_record
from adamem.errors import TrialFailed
from adamem.files import content_key


@dataclass(frozen=True)
class Seat:
    """One worker of a block: which build, asked what."""

    plan: ContestantPlan
    role: Literal["contestant", "reference", "twin"]
    build: Params
    asks: tuple[Ask, ...]
    bytes: int
    """What it is expected to hold, from stage 1."""
    seeds: int | None = None
    """With how many of the build seeds it takes part; None: with all."""

    def spec(self) -> dict[str, Any]:
        """What bears on its figures."""
        return {
            "contestant": self.plan.name,
            "index": self.plan.config.index,
            "role": self.role,
            "build": self.build,
            "asks": [[ask.search, ask.k, ask.origin] for ask in self.asks],
        }


def seats(context: Context, choices: dict[str, Choice]) -> list[list[Seat]]:
    """Who sits in which cohort: all in one where memory allows; the reference's builds and its twin in every one."""
    experiment = context.experiment
    reference = reference_of(context.plans)
    everywhere: list[Seat] = []
    others: list[Seat] = []
    for plan in context.plans:
        choice = choices[plan.name]
        if not choice.builds:
            continue
        mine = [
            Seat(plan, "contestant", one.build, _asks(context, plan, one), one.resident_bytes, plan.config.build_seeds)
            for one in choice.builds
        ]
        largest = max(seat.bytes for seat in mine)
        if plan is reference:
            everywhere = _with_reference(context, plan, choice, mine)
            continue
        if all(seat.build != plan.default_build for seat in mine):
            k = experiment.measure.k[0]
            default = Ask(plan.default_search, k, "default")
            mine.append(Seat(plan, "contestant", plan.default_build, (default,), largest, seeds=1))
        others.extend(mine)
    return _fit(everywhere, others, budget=context.memory_budget)


def block_key(context: Context, cohort: int, seated: list[Seat], seed: int) -> tuple[str, dict[str, Any]]:
    """The key of a stage-2 block, and what it is the hash of."""
    spec = context.spec(
        stage="measure",
        cohort=cohort,
        build_seed=seed,
        rounds=context.experiment.measure.rounds,
        seats=[seat.spec() for seat in seated],
    )
    seated_indexes = {seat.plan.config.index for seat in seated}
    spec["adapters"] = {name: code for name, code in spec["adapters"].items() if name in seated_indexes}
    return content_key(spec), spec


def for_seed(seated: list[Seat], seed_number: int) -> list[Seat]:
    """Who takes part with the build seed of that number."""
    return [seat for seat in seated if seat.seeds is None or seed_number < seat.seeds]


def measure_block(context: Context, cohort: int, seated: list[Seat], seed: int) -> Block:
    """Build all, then `rounds` rounds; write the block. A worker that fails is recorded so and the rest go on."""
    key, spec = block_key(context, cohort, seated, seed)
    rng = np.random.default_rng([context.experiment.measure.seed, cohort, seed])
    started, watch, clock = datetime.now(UTC), Watch.now(), time.perf_counter()
    processes: dict[int, WorkerProcess] = {}
    tallies = [Tally() for _ in seated]
    built: list[dict[str, Any] | None] = [None] * len(seated)
    failures = [""] * len(seated)
    order: list[list[int]] = []
    try:
        for place in rng.permutation(len(seated)).tolist():
            seat = seated[place]
            context.reporter.now(f"seed {seed}: building {describe(seat)}")
            processes[place] = process = context.start(f"block-{key[:16]}-{place}")
            try:
                built[place] = context.build(process, seat.plan, seat.build, seed)
            except TrialFailed as error:
                failures[place] = str(error)
                process.close()
            context.reporter.advance(1.0)
        for number in range(context.experiment.measure.rounds):
            turn = [place for place in rng.permutation(len(seated)).tolist() if not failures[place]]
            order.append(turn)
            for place in turn:
                context.reporter.now(f"seed {seed}, round {number + 1}: {describe(seated[place])}")
                process = processes[place]
                try:
                    _turn(context, process, tallies[place], seated[place], int(rng.integers(2**31)))
                except TrialFailed as error:
                    failures[place] = str(error)
                    process.close()
                context.reporter.advance(1.0 / context.experiment.measure.rounds)
        fitness = watch.since(sum(process.cpu_seconds() for process in processes.values()))
    finally:
        for process in processes.values():
            process.close()
    workers = [
        worker_record(
            built[place],
            tallies[place],
            contestant=seat.plan.name,
            role=seat.role,
            kind=seat.plan.kind,
            build=seat.build,
            seed=seed,
            threads=context.experiment.measure.build_threads,
            truth=context.test,
            failure=failures[place],
        )
        for place, seat in enumerate(seated)
    ]
    block = Block(
        format=FORMAT,
        key=key,
        stage="measure",
        cohort=cohort,
        seed=seed,
        rounds=context.experiment.measure.rounds,
        order=order,
        started=started.isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
        machine=context.machine,
        fitness=fitness,
        workers=workers,
        spec=spec,
    )
    context.folder.write_block(block, [tally.arrays() for tally in tallies])
    return block


def describe(seat: Seat) -> str:
    """A seat in a few words, for the progress line."""
    told = ", ".join(f"{name}={value}" for name, value in seat.build.items())
    return f"{seat.plan.name}{' (twin)' if seat.role == 'twin' else ''} {told}".strip()


def _turn(context: Context, process: WorkerProcess, tally: Tally, seat: Seat, order_seed: int) -> None:
    take_turn(
        process,
        tally,
        list(seat.asks),
        queries=context.queries["test"],
        truth=context.test,
        dataset=context.dataset,
        order_seed=order_seed,
        query_seconds=context.experiment.measure.query_seconds,
        scratch=context.scratch,
    )


def _asks(context: Context, plan: ContestantPlan, one: Candidate) -> tuple[Ask, ...]:
    """The points of a kept build: its useful ones at the first k, the ones at the targets at every other k."""
    experiment = context.experiment
    first, *rest = experiment.measure.k
    searches = points_of(one, experiment.targets, plan.effort)
    asks = [Ask(search, first, "grid" if search in plan.searches else "calibrated") for search in searches]
    if one.build == plan.default_build and plan.default_search not in searches:
        asks.append(Ask(plan.default_search, first, "default"))
    asks.extend(Ask(search, k, "calibrated") for k in rest for search in nearest_points(one, experiment.targets))
    return tuple(asks)


def _with_reference(context: Context, plan: ContestantPlan, choice: Choice, mine: list[Seat]) -> list[Seat]:
    """The reference's seats: the build that ratios refer to, a twin of it, and whatever other builds were kept."""
    one = next((one for one in choice.candidates if one.build == plan.reference_build), None)
    if one is None:  # it failed in stage 1: the best of its kept builds stands in
        one = choice.builds[0]
    reference = Seat(plan, "reference", one.build, _asks(context, plan, one), one.resident_bytes)
    return [reference, replace(reference, role="twin"), *(seat for seat in mine if seat.build != one.build)]


def _fit(everywhere: list[Seat], others: list[Seat], *, budget: int) -> list[list[Seat]]:
    held = sum(seat.bytes for seat in everywhere)
    cohorts: list[list[Seat]] = []
    current: list[Seat] = []
    room = budget - held
    for seat in others:
        if current and seat.bytes > room:
            cohorts.append([*everywhere, *current])
            current, room = [], budget - held
        current.append(seat)
        room -= seat.bytes
    if current or everywhere:
        cohorts.append([*everywhere, *current])
    return cohorts
