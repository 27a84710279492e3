"""The data sets of a suite as their own reports have them: read from those reports' CSVs, nothing is computed anew."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from adamem.bench import Experiment, RunFolder, Suite, experiments_of
from adamem.bench.curve import Quantity
from adamem.bench.records import Run
from adamem.bench.stats import AtRecall, Estimate, Status
from adamem.bench.suite import FILE, read_record
from adamem.errors import AdaMemError, CorruptResult

_STATUSES = get_args(Status)
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One contestant at one target recall, as headline.csv has it."""

    contestant: str
    index: str
    target: float
    build: str
    values: Mapping[Quantity, AtRecall]
    ratios: Mapping[Quantity, AtRecall]
    """To the reference; NaN where there is none."""
    build_seconds: Estimate
    build_ratio: Estimate
    bytes: float
    bytes_ratio: float
    level_with_best: bool

    def mark(self, what: Quantity) -> str:
        """The sign of a ratio that is a bound. Exact search has one point only: what it costs is what it costs."""
        return "" if self.index == "exact" else self.ratios[what].mark


@dataclass(frozen=True)
class Lead:
    """Who is fastest at one target recall and by how much, as lead.csv has it."""

    target: float
    best: str
    best_qps: AtRecall
    next: str
    next_ratio: Estimate
    next_bound: str
    """≤ where the ratio is at most that, ≥ where it is at least that, else empty."""
    next_outcome: str
    other: str
    """The fastest of another index than the best's."""
    other_ratio: Estimate
    other_bound: str
    other_outcome: str
    unranked: str
    """Those that outrun the best from above the target: where there are any, nobody leads."""


@dataclass(frozen=True)
class Member:
    """One finished data set."""

    key: str
    title: str
    folder: Path
    run: Run
    rows: tuple[Row, ...]
    leads: tuple[Lead, ...]
    reach: Mapping[str, float]
    """The highest recall at the first k that was measured of each contestant."""
    noise: float
    """The noise floor of QPS."""
    disturbed: str
    """How many of its blocks were disturbed by other processes, as a few words; empty if none."""
    stale: bool
    """Whether it was measured by another config than the suite has now."""

    def row(self, contestant: str, target: float) -> Row | None:
        """One contestant's row."""
        return next((row for row in self.rows if row.contestant == contestant and row.target == target), None)

    def lead(self, target: float) -> Lead | None:
        """Who leads at a target."""
        return next((lead for lead in self.leads if lead.target == target), None)


@dataclass(frozen=True)
class Overview:
    """A suite with those of its data sets that are finished."""

    suite: Suite
    config: Mapping[str, Any]
    """The suite's config as it was written down: a later version may know more keys."""
    members: tuple[Member, ...]
    missing: Mapping[str, str]
    """By key, why it is not here."""

    @property
    def targets(self) -> list[float]:
        """Recalls at which speed is compared, rising."""
        return list(self.suite.targets)

    @property
    def middle(self) -> float:
        """The target that stands for all where only one can be shown."""
        return self.targets[len(self.targets) // 2]

    @property
    def k(self) -> int:
        """The k on which everything is chosen."""
        return self.suite.measure.k[0]

    @property
    def contestants(self) -> list[tuple[str, str]]:
        """(name, index) of all, in the config's order."""
        return [(one.name, one.index) for one in self.suite.contestant]

    @property
    def scaling(self) -> bool:
        """Whether the data sets are sizes of one and the same."""
        kinds = {(one.run.config["dataset"]["name"], one.run.dataset.metric) for one in self.members}
        encoders = {one.run.config["dataset"]["encoder"] for one in self.members}
        sizes = {one.run.dataset.n for one in self.members}
        return len(kinds) == len(encoders) == 1 and len(sizes) == len(self.members) > 1


def read_overview(path: Path) -> Overview:
    """Gather a suite's folder.

    Raises
    ------
    CorruptResult
        if the suite's record, or a table of a finished data set, is not what was written.
    """
    record = read_record(path)
    suite = record.suite(Path(path) / FILE)
    experiments = experiments_of(suite, source=str(Path(path) / FILE))
    titles = {one.key: one.title or one.key for one in suite.dataset}
    members, missing = [], {}
    for key, experiment in experiments.items():
        why = _unfinished(Path(path) / key)
        if why:
            missing[key] = why
        else:
            members.append(_member(key, titles[key], Path(path) / key, experiment))
    return Overview(suite, record.config, tuple(members), missing)


def _unfinished(folder: Path) -> str:
    """Why a data set has nothing to show; empty if it has."""
    held = RunFolder(folder)
    if not held.exists:
        return "not run yet"
    try:
        if held.run().status != "complete":
            return "begun, not finished"
    except AdaMemError as error:
        return str(error)
    return "" if (folder / "tables" / "lead.csv").is_file() else "measured, but without a report"


def _member(key: str, title: str, folder: Path, experiment: Experiment) -> Member:
    run = RunFolder(folder).run()
    # Both as this version reads them, which may know more keys than the one that measured.
    known = {name: value for name, value in run.config.items() if name in Experiment.model_fields}
    asked, had = experiment.resolved(), Experiment.model_validate(known).resolved()
    headline = _table(folder, "headline", _row)
    points = _table(folder, "points", lambda one: (one["contestant"], int(one["k"]), _number(one["recall"])))
    notes = _table(folder, "fitness", lambda one: one["notes"])
    spoilt = sum(map(bool, notes))
    reach: dict[str, float] = {}
    for name, k, recall in points:
        if k == experiment.measure.k[0]:
            reach[name] = max(recall, reach.get(name, 0.0))
    return Member(
        key=key,
        title=title,
        folder=folder,
        run=run,
        rows=tuple(row for row, _ in headline),
        leads=tuple(_table(folder, "lead", _lead)),
        reach=reach,
        noise=headline[0][1] if headline else math.nan,
        disturbed=f"{spoilt} of {len(notes)} blocks disturbed" if spoilt else "",
        stale=any(had[part] != asked[part] for part in ("dataset", "measure", "contestant", "targets")),
    )


def _table(folder: Path, name: str, read: Callable[[Mapping[str, str]], T]) -> list[T]:
    path = folder / "tables" / f"{name}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [read(line) for line in csv.DictReader(stream)]
    except FileNotFoundError:
        return []  # nothing of the kind could be measured there
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CorruptResult(
            f"{path} is not a table that `adamem report` wrote ({error!r}); write it anew with `adamem report {folder}`"
        ) from error


def _row(line: Mapping[str, str]) -> tuple[Row, float]:
    shown: tuple[Quantity, ...] = ("qps", "qps_one", "p50", "p99")
    row = Row(
        contestant=line["contestant"],
        index=line["index"],
        target=float(line["target_recall"]),
        build=line["build"],
        values={what: _at_recall(line, what, what) for what in shown},
        ratios={what: _at_recall(line, f"{what}_ratio", what) for what in shown},
        build_seconds=_estimate(line, "build_seconds"),
        build_ratio=_estimate(line, "build_seconds_ratio"),
        bytes=_number(line["bytes"]),
        bytes_ratio=_number(line["bytes_ratio"]),
        level_with_best=line["level_with_best_qps"] == "yes",
    )
    return row, _number(line["qps_noise_floor"])


def _lead(line: Mapping[str, str]) -> Lead:
    return Lead(
        target=float(line["target_recall"]),
        best=line["best"],
        best_qps=_at_recall(line, "best_qps", "qps"),
        next=line["next"],
        next_ratio=_estimate(line, "next_ratio"),
        next_bound=_sign(line, "next_bound"),
        next_outcome=line["next_outcome"],
        other=line["other"],
        other_ratio=_estimate(line, "other_ratio"),
        other_bound=_sign(line, "other_bound"),
        other_outcome=line["other_outcome"],
        unranked=line["unranked"],
    )


def _at_recall(line: Mapping[str, str], name: str, what: Quantity) -> AtRecall:
    told = _estimate(line, name)
    status: Any = line[f"{name}_status"] or "unmeasured"
    if status not in _STATUSES:
        raise ValueError(f"{name}_status is {status!r}")
    return AtRecall(told.value, told.low, told.high, what, status, ())


def _estimate(line: Mapping[str, str], name: str) -> Estimate:
    return Estimate(_number(line[name]), _number(line[f"{name}_low"]), _number(line[f"{name}_high"]))


def _sign(line: Mapping[str, str], name: str) -> str:
    if line[name] not in {"", "≤", "≥"}:
        raise ValueError(f"{name} is {line[name]!r}")
    return line[name]


def _number(text: str) -> float:
    return float(text) if text else math.nan
