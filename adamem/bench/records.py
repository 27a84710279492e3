"""What a run writes down: the JSON that stands beside the raw arrays, and the folder that holds it all.

::

    <run>/
      run.json                   what was run: resolved config, data set, machine, versions, wall time, status
      raw/manifest.json          every other raw file with its SHA-256
      raw/truth-calibration.npz  Truth of the calibration queries
      raw/truth-test.npz         Truth of the test queries
      raw/hardness.npz           per test query: relative contrast, local intrinsic dimension
      raw/qrels.npz              judgements, where the data set has some
      raw/sweep/<key>/           stage 1: one build of one contestant, on the calibration queries
      raw/blocks/<key>/          stage 2: one block, that is all builds of one cohort with one build seed, interleaved
        block.json               a `Block`
        <n>.npz                  the arrays of the block's n-th worker

A stage-1 folder is a block of one worker. The arrays of the point number p of a worker are named ``p<p>_...``:
the `Answers` (``ranks``, ``elsewhere_*``); ``one_ns`` int64 (rounds, q): nanoseconds of each query asked alone, 0 where
it was not asked, in the order of the `Truth`, whatever the order they were asked in; ``batch_ns`` int64 (rounds,): all
queries in one call.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from adamem.types import Metric, ParamValue

FORMAT = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Record):
    """One operating point of one worker: search parameters and k."""

    search: dict[str, ParamValue]
    """Complete search parameters."""
    k: int
    origin: Literal["grid", "calibrated", "default"]
    """Why it was measured: named by the config, found by calibration, or the index's defaults."""
    distance_error: float | None
    """Largest |reported - true distance| / (|q|^2 + |x|^2) over the answers; None where it reported none finite."""
    repeatable: bool
    """Whether every round gave the same answers."""
    one_query: bool
    """Whether ``one_ns`` is there."""
    batch: bool
    """Whether ``batch_ns`` is there."""
    agreement: float | None = None
    """The share of single queries whose answer was that of the one call with all queries; None in older runs."""
    cores: float | None = None
    """CPU seconds a second of the calls with all queries, by all threads of the process; None in older runs."""
    counters: dict[str, float]
    """Deterministic cost a query (``distances``, ``hops`` ...), where the index counts."""


class Worker(_Record):
    """One build of one contestant in one process, and all that was measured on it."""

    contestant: str
    """The contestant's name in the config, unique there."""
    role: Literal["contestant", "reference", "twin"]
    """The reference is what ratios refer to; the twin is a second build of it, which gives the noise floor."""
    index: str
    build: dict[str, ParamValue]
    """Complete build parameters."""
    seed: int
    status: Literal["ok", "invalid", "failed"]
    why: str
    """For invalid and failed workers, the reason as a sentence."""
    build_seconds: float | None
    build_threads: int
    import_seconds: float | None
    """Loading the index's library and a throw-away build on a few rows: with it JIT compilation, or its cached load."""
    first_query_seconds: float | None
    """The very first query after the build, page faults and all."""
    warm_query_seconds: float | None
    """The median of the warm-up's last queries."""
    nbytes: dict[str, int]
    """As the index reports, by part."""
    resident_bytes: int | None
    """What the process's own memory grew by over the build (RssAnon; mapped vectors are not its own)."""
    peak_bytes: int | None
    """What the process peaked at during the build, above what it held before it (VmHWM)."""
    points: list[Point]


class Fitness(_Record):
    """How quiet the machine was while a block was measured."""

    load_before: float
    """1-minute load average before the block; the run's own earlier blocks are in it, so it flags nothing."""
    steal: float
    """Share of CPU time the hypervisor gave to others."""
    foreign: float
    """Share of CPU time that processes other than ours used."""
    notes: list[str]
    """What spoils the timings, as sentences; empty if nothing does."""


class Block(_Record):
    """Workers measured together, turn by turn: the only place in which two timings may be compared."""

    format: int
    key: str
    stage: Literal["sweep", "measure"]
    cohort: int
    seed: int
    rounds: int
    order: list[list[int]]
    """For each round, the workers in the order they were given the token."""
    started: str
    wall_seconds: float
    machine: str
    """The machine's fingerprint: timings of different machines never meet."""
    fitness: Fitness
    workers: list[Worker]
    spec: dict[str, Any]
    """What the key is the hash of."""


class QueryInfo(_Record):
    """How the queries were chosen."""

    calibration: int
    test: int
    distinct: int
    """Distinct query vectors to draw from."""
    split: str
    """How they were split, as a sentence."""


class DatasetInfo(_Record):
    """The data set, as a reader of the report needs to know it."""

    name: str
    metric: Metric
    n: int
    dim: int
    fingerprint: str
    provenance: dict[str, Any]
    queries: QueryInfo


class Run(_Record):
    """run.json: what was run, where, and how far it came."""

    format: int
    metrics_version: int
    adamem: str
    name: str
    title: str
    study: str
    config: dict[str, Any]
    """The resolved config (`adamem.bench.config.Experiment`)."""
    dataset: DatasetInfo
    machine: dict[str, Any]
    """CPU, cores, memory, kernel, governor, Python; and ``fingerprint``."""
    versions: dict[str, str]
    """Of the libraries that bear on the figures."""
    memory_budget: int | None = None
    """Bytes that the workers of a block may hold together, set when the run began."""
    started: str
    finished: str | None
    status: Literal["incomplete", "complete"]
    wall_seconds: dict[str, float]
    """By stage (``prepare``, ``sweep``, ``measure``), over all the pieces the run was made in."""
    sweep: list[str]
    """The keys of the stage-1 blocks that this run counts, in the order of its plan."""
    blocks: list[str]
    """The keys of the stage-2 blocks."""
    skipped: list[str]
    """What was left out and why, as sentences (points that cannot reach the front, contestants that failed ...)."""
