"""One experiment from config to raw results: prepare, sweep, choose, measure. Whatever is whole is never done twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from adamem import __version__
from adamem.bench import machine
from adamem.bench.config import Experiment
from adamem.bench.context import Context, Reporter, locate_vectors, scratch_folder
from adamem.bench.hardness import hardness
from adamem.bench.load import load_dataset, progress_of
from adamem.bench.measure import block_key, for_seed, measure_block, seats
from adamem.bench.metrics import METRICS_VERSION
from adamem.bench.plan import ContestantPlan, expand, reference_of, runtimes_told
from adamem.bench.queries import split
from adamem.bench.records import FORMAT, DatasetInfo, QueryInfo, Run
from adamem.bench.select import choose
from adamem.bench.store import RunFolder
from adamem.bench.sweep import sweep_key, sweep_one
from adamem.bench.truth import MAX_DEPTH, Truth, truth_of
from adamem.data import Dataset, Progress, ground_truth
from adamem.errors import ConfigError, TrialFailed
from adamem.types import AnyArray, IdArray

_MARGIN = 28
"""True neighbours kept beyond the largest k: most of what a fair answer gets wrong lies just past it."""


def run_experiment(experiment: Experiment, out: Path, *, source: str, reporter: Reporter) -> Path:
    """Run, or go on with, an experiment into the folder `out`; returns it.

    A run that was interrupted, at any moment and in any way, goes on where it stopped: only the block in flight is
    measured again. Raises `UserError`s before any work; failures of single indexes are recorded, not raised.
    """
    with scratch_folder(out, experiment.name) as scratch:
        clock = time.perf_counter()
        expand(experiment, metric=experiment.dataset.metric, source=source)  # before anything takes long
        dataset = load_dataset(experiment, reporter=reporter)
        plans = expand(experiment, metric=dataset.metric, source=source)
        folder = RunFolder(out)
        context, queries = _prepare(experiment, plans, dataset, folder, scratch, reporter, source)
        run = _begin(context, queries, time.perf_counter() - clock)
        run = _sweep(context, run)
        run = _measure(context, run)
        return _finish(folder, run)


def _prepare(
    experiment: Experiment,
    plans: list[ContestantPlan],
    dataset: Dataset,
    folder: RunFolder,
    scratch: Path,
    reporter: Reporter,
    source: str,
) -> tuple[Context, QueryInfo]:
    measure = experiment.measure
    largest = max([*measure.k, *measure.recall_at])
    if largest > dataset.base.shape[0]:
        raise ConfigError(
            f"{source}: measure.k or measure.recall_at asks for {largest} neighbours, but {dataset.name} holds only "
            f"{dataset.base.shape[0]} vectors; lower k or use a larger set"
        )
    if len(dataset.queries) < 2:
        raise ConfigError(f"{source}: {dataset.name} has fewer than 2 queries; half calibrate and half are the test")
    calibration, test, distinct, how = split(dataset, count=experiment.dataset.queries, seed=measure.seed)
    with progress_of(reporter) as bar:
        truths = {
            which: _truth(dataset, rows, depth, bar)
            for which, rows, depth in (
                ("calibration", calibration, measure.k[0]),
                ("test", test, max(measure.k)),
            )
        }
    files = {}
    for which, rows in (("calibration", calibration), ("test", test)):
        files[which] = scratch / f"queries-{which}.npy"
        np.save(files[which], np.ascontiguousarray(dataset.queries[rows], dtype=np.float32))
    context = Context(
        experiment=experiment,
        plans=plans,
        dataset=dataset,
        folder=folder,
        scratch=scratch,
        reporter=reporter,
        calibration=truths["calibration"],
        test=truths["test"],
        base=locate_vectors(dataset.base, scratch),
        queries=files,
        memory_budget=_memory_budget(folder),
    )
    return context, QueryInfo(calibration=calibration.size, test=test.size, distinct=distinct, split=how)


def _truth(dataset: Dataset, rows: IdArray, depth: int, bar: Progress) -> Truth:
    kept = min(depth + _MARGIN, MAX_DEPTH, dataset.base.shape[0])
    ids, distances = ground_truth(dataset, rows, kept, progress=bar)
    return truth_of(rows, ids, distances, base=dataset.base, queries=dataset.queries, metric=dataset.metric)


def _memory_budget(folder: RunFolder) -> int:
    """What the run began with on this machine; else 70 % of what is free now."""
    if folder.exists:
        before = folder.run()
        if before.memory_budget is not None and before.machine["fingerprint"] == machine.describe()["fingerprint"]:
            return before.memory_budget
    return int(0.7 * machine.free_memory())


def _begin(context: Context, queries: QueryInfo, seconds: float) -> Run:
    """Write what is known before anything is measured; a former piece's clock is carried on."""
    folder, dataset, experiment = context.folder, context.dataset, context.experiment
    before = folder.run() if folder.exists else None
    folder.write_arrays("truth-calibration.npz", context.calibration.arrays())
    folder.write_arrays("truth-test.npz", context.test.arrays())
    folder.write_arrays("hardness.npz", hardness(dataset, context.test, seed=experiment.measure.seed))
    if dataset.qrels is not None:
        folder.write_arrays("qrels.npz", _judgements(dataset, context.test))
    reference = reference_of(context.plans)
    run = Run(
        format=FORMAT,
        metrics_version=METRICS_VERSION,
        adamem=__version__,
        name=experiment.name,
        title=experiment.title,
        study=experiment.study,
        config={
            **experiment.resolved(),
            "reference": None if reference is None else {"name": reference.name, "build": reference.reference_build},
            "defaults": {
                plan.name: {"build": plan.default_build, "search": plan.default_search} for plan in context.plans
            },
            **runtimes_told(context.plans),
        },
        dataset=DatasetInfo(
            name=dataset.name,
            metric=dataset.metric,
            n=dataset.base.shape[0],
            dim=dataset.base.shape[1],
            fingerprint=dataset.fingerprint,
            provenance=dataset.provenance,
            queries=queries,
        ),
        machine=machine.describe(),
        versions=machine.library_versions(),
        memory_budget=context.memory_budget,
        started=before.started if before else datetime.now(UTC).isoformat(timespec="seconds"),
        finished=None,
        status="incomplete",
        wall_seconds={"prepare": round((before.wall_seconds.get("prepare", 0.0) if before else 0.0) + seconds, 1)},
        sweep=[],
        blocks=[],
        skipped=[],
    )
    folder.write_run(run)
    return run


def _sweep(context: Context, run: Run) -> Run:
    jobs = [(plan, build) for plan in context.plans for build in plan.builds]
    waiting = [job for job in jobs if not context.folder.has_block("sweep", sweep_key(context, *job)[0])]
    done = len(jobs) - len(waiting)
    again = f", {done} already measured" if done else ""
    context.reporter.stage(f"stage 1 of 2: {len(jobs)} builds on the calibration queries{again}", len(waiting))
    for plan, build in waiting:
        told = ", ".join(f"{name}={value}" for name, value in build.items())
        context.reporter.now(f"{plan.name} {told}".strip())
        block = sweep_one(context, plan, build)
        for worker in block.workers:
            if worker.status != "ok":
                context.reporter.say(f"{plan.name} ({told}) {worker.status}: {worker.why}")
        context.reporter.advance()
    keys = [sweep_key(context, *job)[0] for job in jobs]
    blocks = [context.folder.block("sweep", key) for key in keys]
    seconds = round(sum(block.wall_seconds for block in blocks), 1)
    grid = sum(len(plan.searches) for plan, _ in jobs)
    seen = sum(point.origin == "grid" for block in blocks for worker in block.workers for point in worker.points)
    skipped = []
    if grid > seen:
        skipped.append(
            f"{grid - seen} of {grid} grid points of stage 1 were not measured: less effort already reached recall "
            "0.9995, or the build failed"
        )
    for block in blocks:
        for worker in block.workers:
            if worker.status != "ok":
                told = ", ".join(f"{name}={value}" for name, value in worker.build.items())
                skipped.append(f"stage 1: {worker.contestant} ({told}) {worker.status}: {worker.why}")
    run = run.model_copy(
        update={"sweep": keys, "skipped": skipped, "wall_seconds": {**run.wall_seconds, "sweep": seconds}}
    )
    context.folder.write_run(run)
    return run


def _measure(context: Context, run: Run) -> Run:
    choices = choose(context.folder, run)
    skipped = list(run.skipped)
    for name, choice in choices.items():
        if not choice.builds:
            skipped.append(f"{name} is not measured in stage 2: none of its builds succeeded")
    if not any(choice.builds for choice in choices.values()):
        why = next((sentence for sentence in skipped if sentence.startswith("stage 1")), "no reason was given")
        raise TrialFailed(f"not one build succeeded, so there is nothing to measure; {why} (the next run tries again)")
    jobs = [
        (cohort, for_seed(seated, number), context.experiment.measure.seed + number)
        for cohort, seated in enumerate(seats(context, choices))
        for number in range(context.experiment.measure.build_seeds)
    ]
    keys = [block_key(context, *job)[0] for job in jobs]
    waiting = [job for job, key in zip(jobs, keys, strict=True) if not context.folder.has_block("measure", key)]
    done = len(jobs) - len(waiting)
    again = f", {done} already measured" if done else ""
    steps = sum(2 * len(seated) for _, seated, _ in waiting)
    context.reporter.stage(f"stage 2 of 2: {len(jobs)} blocks on the test queries{again}", steps)
    for cohort, seated, seed in waiting:
        block = measure_block(context, cohort, seated, seed)
        for worker in block.workers:
            if worker.status != "ok":
                context.reporter.say(f"{worker.contestant} (seed {seed}) {worker.status}: {worker.why}")
        for note in block.fitness.notes:
            context.reporter.say(f"the machine was not quiet: {note}; timings of this block are flagged")
    blocks = [context.folder.block("measure", key) for key in keys]
    seconds = round(sum(block.wall_seconds for block in blocks), 1)
    run = run.model_copy(
        update={"blocks": keys, "skipped": skipped, "wall_seconds": {**run.wall_seconds, "measure": seconds}}
    )
    context.folder.write_run(run)
    return run


def _finish(folder: RunFolder, run: Run) -> Path:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run = run.model_copy(update={"status": "complete", "finished": now})
    folder.write_manifest(run)
    folder.write_run(run)
    return folder.path


def _judgements(dataset: Dataset, truth: Truth) -> dict[str, AnyArray]:
    """The qrels of the test queries: ``query`` is the position in the truth."""
    assert dataset.qrels is not None
    place = np.full(dataset.queries.shape[0], -1, dtype=np.int64)
    place[truth.rows] = np.arange(truth.rows.size)
    kept = place[dataset.qrels.query] >= 0
    order = np.argsort(place[dataset.qrels.query][kept], kind="stable")
    return {
        "query": place[dataset.qrels.query][kept][order].astype(np.int32),
        "document": dataset.qrels.document[kept][order].astype(np.int32),
        "grade": dataset.qrels.grade[kept][order].astype(np.int16),
        "document_of_row": dataset.qrels.document_of_row.astype(np.int32),
    }
