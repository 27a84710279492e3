"""From a worker's replies to records: true distances, repeatability, and the gates that mark a figure INVALID."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adamem.bench.metrics import recall
from adamem.bench.plan import Params
from adamem.bench.process import WorkerProcess
from adamem.bench.records import Point, Worker
from adamem.bench.truth import Answers, Truth, encode
from adamem.data.dataset import Dataset
from adamem.errors import TrialFailed
from adamem.index import Index
from adamem.types import AnyArray

_DISTANCE_ERROR = 1e-3
"""Float32 sums stay far below it; codes passed off as vectors do not."""
_CORES = 1.25
_LONG_NS = 20_000_000
"""A search has one thread. Over calls of this length together, more CPU time than wall time is a second thread."""

Origin = Literal["grid", "calibrated", "default"]


@dataclass(frozen=True)
class Ask:
    """One operating point to measure."""

    search: Params
    k: int
    origin: Origin


@dataclass
class Tally:
    """What has been measured on one worker so far, round after round."""

    asks: list[Ask] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    hashes: list[set[str]] = field(default_factory=list)
    errors: list[float | None] = field(default_factory=list)
    counters: list[dict[str, float]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    one_ns: list[list[AnyArray]] = field(default_factory=list)
    batch_ns: list[list[int]] = field(default_factory=list)
    batch_cpu_ns: list[int] = field(default_factory=list)

    def recall(self, truth: Truth, point: int) -> float:
        """Mean primary recall of a point at its own k."""
        return float(recall(self.answers[point], truth, self.asks[point].k).mean())

    def cores(self, point: int) -> float:
        """CPU seconds a second of the point's calls with all queries."""
        return self.batch_cpu_ns[point] / max(sum(self.batch_ns[point]), 1)

    def points(self) -> list[Point]:
        """The records of all points."""
        return [
            Point(
                search=ask.search,
                k=ask.k,
                origin=ask.origin,
                distance_error=self.errors[p],
                repeatable=len(self.hashes[p]) == 1,
                one_query=True,
                batch=True,
                agreement=self.agreements[p],
                cores=round(self.cores(p), 3),
                counters=self.counters[p],
            )
            for p, ask in enumerate(self.asks)
        ]

    def arrays(self) -> dict[str, AnyArray]:
        """The raw arrays of all points."""
        out: dict[str, AnyArray] = {}
        for p, answers in enumerate(self.answers):
            out.update(answers.arrays(f"p{p}_"))
            out[f"p{p}_one_ns"] = np.stack(self.one_ns[p])  # (rounds, q)
            out[f"p{p}_batch_ns"] = np.array(self.batch_ns[p], dtype=np.int64)
        return out


def take_turn(
    process: WorkerProcess,
    tally: Tally,
    asks: list[Ask],
    *,
    queries: Path,
    truth: Truth,
    dataset: Dataset,
    order_seed: int,
    query_seconds: float,
    scratch: Path,
) -> None:
    """Give the token to one worker: it measures every point of `asks` once, and `tally` takes the results in.

    Points that the tally does not know yet are new; their answers are scored against the truth here, by us.

    Raises
    ------
    TrialFailed
        if the worker fails, or answers with ids that do not exist.
    """
    out = scratch / f"turn-{id(tally)}.npz"
    known = {_name(ask): p for p, ask in enumerate(tally.asks)}
    request = [
        {
            "search": ask.search,
            "k": ask.k,
            "answers": _name(ask) not in known,
            "asked": tally.asked[known[_name(ask)]] if _name(ask) in known else None,
        }
        for ask in asks
    ]
    reply = process.ask(
        "measure",
        queries=str(queries),
        points=request,
        order_seed=order_seed,
        query_seconds=query_seconds,
        out=str(out),
    )
    with np.load(out) as arrays:
        for number, (ask, told) in enumerate(zip(asks, reply["points"], strict=True)):
            point = known.get(_name(ask))
            if point is None:
                point = len(tally.asks)
                _score(tally, ask, told, arrays[f"p{number}_ids"], arrays[f"p{number}_distances"], truth, dataset)
            tally.hashes[point].add(told["ids_sha256"])
            tally.agreements[point] = min(tally.agreements[point], told["agreement"])
            tally.one_ns[point].append(arrays[f"p{number}_one_ns"])
            tally.batch_ns[point].append(int(arrays[f"p{number}_batch_ns"][0]))
            tally.batch_cpu_ns[point] += told["batch_cpu_ns"]
    out.unlink()


def worker_record(
    built: dict[str, Any] | None,
    tally: Tally,
    *,
    contestant: str,
    role: Literal["contestant", "reference", "twin"],
    kind: type[Index],
    build: Params,
    seed: int,
    threads: int,
    truth: Truth,
    failure: str,
) -> Worker:
    """The record of one worker, INVALID if what it answered cannot be true."""
    why = failure or gate(tally, kind, truth)
    told = built or {}
    return Worker(
        contestant=contestant,
        role=role,
        index=kind.name,
        build=build,
        seed=seed,
        status="failed" if failure else "invalid" if why else "ok",
        why=why,
        build_seconds=told.get("build_seconds"),
        build_threads=threads,
        import_seconds=told.get("import_seconds"),
        first_query_seconds=told.get("first_query_seconds"),
        warm_query_seconds=told.get("warm_query_seconds"),
        nbytes=told.get("nbytes", {}),
        resident_bytes=told.get("resident_bytes"),
        peak_bytes=told.get("peak_bytes"),
        points=[] if failure else tally.points(),
    )


def gate(tally: Tally, kind: type[Index], truth: Truth) -> str:
    """Why the figures cannot stand, as a sentence; empty if they can."""
    means = [tally.recall(truth, p) for p in range(len(tally.asks))]
    for p, (ask, mean) in enumerate(zip(tally.asks, means, strict=True)):
        if kind.capabilities.exact and mean < 1.0:
            return f"exact search scored {mean:.4f} at k={ask.k} instead of 1.000"
        if not np.isfinite(mean) or tally.errors[p] is None:
            return f"it reported no finite distance at {ask.search}, k={ask.k}"
        if kind.capabilities.exact_distances and (tally.errors[p] or 0.0) > _DISTANCE_ERROR:
            return f"it reported distances that are off by up to {tally.errors[p]:.2g} of |q|^2 + |x|^2 at {ask.search}"
        if sum(tally.batch_ns[p]) >= _LONG_NS and tally.cores(p) > _CORES:
            return f"it searched with {tally.cores(p):.1f} cores instead of one at {ask.search}, k={ask.k}"
    if means and max(means) == 0.0:
        return "it found not one true neighbour at any setting"
    return _falling(tally, kind, truth)


def _falling(tally: Tally, kind: type[Index], truth: Truth) -> str:
    """More effort must not lose recall beyond chance: a paired difference below zero by over 4 standard errors."""
    effort = next((param.name for param in kind.search_params if param.effort), None)
    if effort is None:
        return ""
    groups: dict[str, list[int]] = {}
    for p, ask in enumerate(tally.asks):
        others = {name: value for name, value in ask.search.items() if name != effort}
        groups.setdefault(f"{ask.k} {sorted(others.items())}", []).append(p)
    for members in groups.values():
        members.sort(key=lambda p: float(tally.asks[p].search[effort]))
        scores = [recall(tally.answers[p], truth, tally.asks[p].k) for p in members]
        for i in range(1, len(members)):
            change = scores[i] - scores[i - 1]
            error = float(change.std(ddof=1)) / np.sqrt(change.size) if change.size > 1 else 0.0
            if change.mean() < -max(4.0 * error, 1e-3):
                low, high = (tally.asks[members[j]].search[effort] for j in (i - 1, i))
                return (
                    f"its recall fell from {scores[i - 1].mean():.4f} to {scores[i].mean():.4f} "
                    f"as {effort} rose from {low} to {high}"
                )
    return ""


def _score(
    tally: Tally, ask: Ask, told: dict[str, Any], ids: AnyArray, reported: AnyArray, truth: Truth, dataset: Dataset
) -> None:
    if ids.shape != (truth.rows.size, ask.k) or reported.shape != ids.shape:
        raise TrialFailed(f"it answered {ids.shape} ids to {truth.rows.size} queries at k={ask.k}")
    try:
        answers = encode(ids, truth, base=dataset.base, queries=dataset.queries, metric=dataset.metric)
    except ValueError as error:
        raise TrialFailed(str(error)) from error
    true, found = answers.distances(truth), ids >= 0
    scale = truth.query_norms[:, None] + answers.norms(truth)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(reported.astype(np.float64) - true) / np.maximum(scale, 1e-30)
    known = found & np.isfinite(reported)
    tally.asks.append(ask)
    tally.answers.append(answers)
    tally.hashes.append(set())
    tally.errors.append(float(off[known].max()) if known.any() and np.isfinite(reported[found]).all() else None)
    tally.counters.append(told["counters"])
    tally.asked.append(told["asked"])
    tally.agreements.append(1.0)
    tally.one_ns.append([])
    tally.batch_ns.append([])
    tally.batch_cpu_ns.append(0)


def _name(ask: Ask) -> str:
    return f"{ask.k} {sorted(ask.search.items())}"
