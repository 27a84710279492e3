"""What a run would do and about how long it would take, from a probe on a small sample of the real vectors."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from threadpoolctl import threadpool_limits

from adamem.bench.config import Experiment
from adamem.bench.context import Reporter, locate_vectors
from adamem.bench.load import load_dataset
from adamem.bench.machine import free_memory
from adamem.bench.plan import ContestantPlan, Params, expand
from adamem.bench.process import WorkerProcess
from adamem.bench.runtime import Runtime
from adamem.errors import TrialFailed, UserError
from adamem.types import FloatArray, Metric

_PROBE = 1500
"""Vectors in the probe: about a second a build for the slowest libraries at 784 dimensions."""
_FEW = 256
"""Vectors in the build that is thrown away, as in a worker."""
_GROWTH = 1.15
"""Build time is taken to grow as n^1.15: graphs grow as n log n and fall out of the caches on the way."""
_STARTUP_SECONDS = 1.5
_PROBE_SECONDS = 300.0


def forecast(experiment: Experiment, *, source: str, reporter: Reporter) -> str:
    """The trials of both stages with a rough cost, as text. Loads (and embeds, where need be) the data set."""
    expand(experiment, metric=experiment.dataset.metric, source=source)  # before anything takes long
    dataset = load_dataset(experiment, reporter=reporter)
    plans = expand(experiment, metric=dataset.metric, source=source)
    measure, n = experiment.measure, dataset.base.shape[0]
    sample = np.ascontiguousarray(dataset.base[:_PROBE])
    growth = (n / sample.shape[0]) ** _GROWTH
    halves = min(experiment.dataset.queries, dataset.queries.shape[0]) // 2
    lines = [
        f"{experiment.title}",
        f"data: {dataset.name}, {n} vectors of {dataset.base.shape[1]} dimensions, {dataset.metric}; "
        f"{halves} calibration and {halves} test queries",
        "",
        "stage 1, each build once on the calibration queries:",
    ]
    jobs = sum(len(plan.builds) for plan in plans)
    reporter.stage("probing build times on a small sample", jobs)
    first = second = 0.0
    for plan in plans:
        times = [
            _probe(plan, build, sample, dataset.metric, measure.build_threads, reporter) * growth
            for build in plan.builds
        ]
        first += sum(times) + _STARTUP_SECONDS * len(times)
        kept = min(measure.front_builds, len(times))
        seeds = min(measure.build_seeds, plan.config.build_seeds or measure.build_seeds)
        second += seeds * (kept * float(np.mean(times)) + _STARTUP_SECONDS * kept)
        lines.append(
            f"  {plan.name}: {len(plan.builds)} builds x {len(plan.searches)} points, builds about {_span(times)} each"
        )
    lines += [
        "",
        f"stage 2, {measure.build_seeds} build seeds x {measure.rounds} rounds on the test queries: at most "
        f"{measure.front_builds} builds of each contestant, the reference and its twin",
        "",
        f"building alone: about {_minutes(first)} in stage 1 and {_minutes(second)} in stage 2 "
        f"(extrapolated from {sample.shape[0]} vectors; right within a factor of about 3); "
        "measuring usually adds half as much again. No result was kept.",
    ]
    return "\n".join(lines)


def _probe(
    plan: ContestantPlan, build: Params, sample: FloatArray, metric: Metric, threads: int, reporter: Reporter
) -> float:
    if plan.runtime is not None:
        seconds = _probe_elsewhere(plan, plan.runtime, build, sample, metric, threads, reporter)
        reporter.advance()
        return seconds
    ids = np.arange(sample.shape[0], dtype=np.int64)
    with threadpool_limits(limits=threads):
        with contextlib.suppress(Exception):  # as a worker does: what is compiled on first use is no build's time
            plan.kind.build(sample[:_FEW], ids[:_FEW], metric=metric, params=build, seed=0, threads=threads)
        started = time.perf_counter()
        try:
            plan.kind.build(sample, ids, metric=metric, params=build, seed=0, threads=threads)
        except UserError as error:
            reporter.say(f"{plan.name} {build}: {error}")
        seconds = time.perf_counter() - started
    reporter.advance()
    return seconds


def _probe_elsewhere(
    plan: ContestantPlan,
    runtime: Runtime,
    build: Params,
    sample: FloatArray,
    metric: Metric,
    threads: int,
    reporter: Reporter,
) -> float:
    """As a run would: in a worker of that interpreter and environment."""
    with TemporaryDirectory() as name:
        scratch = Path(name)
        np.save(scratch / "queries.npy", sample[:1])
        worker = WorkerProcess(
            log=scratch / "worker.log", build_threads=threads, memory_limit=free_memory(), timeout=_PROBE_SECONDS
        )
        try:
            worker.launch(python=runtime.python, environment=runtime.environment)
            built = worker.ask(
                "build",
                index=plan.config.index,
                metric=metric,
                base=locate_vectors(sample, scratch),
                build=build,
                seed=0,
                threads=threads,
                queries=str(scratch / "queries.npy"),
            )
        except TrialFailed as error:
            reporter.say(f"{plan.name} {build}: {error}")
            return 0.0
        finally:
            worker.close()
    return float(built["build_seconds"])


def _span(times: list[float]) -> str:
    low, high = min(times), max(times)
    return f"{low:.1f} s" if high < 1.3 * low + 0.1 else f"{low:.1f} to {high:.1f} s"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
