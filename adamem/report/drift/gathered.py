"""A run on drift, scored: what every figure of its report is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adamem.bench.drift.bridging import BRIDGES
from adamem.bench.drift.config import DriftExperiment
from adamem.bench.drift.measured import EXACT
from adamem.bench.drift.records import DriftFolder, DriftRun
from adamem.bench.paired import Paired, paired, resamples
from adamem.bench.pieces import Piece
from adamem.bench.quality import quality_of
from adamem.bench.stats import Estimate, mean_estimate
from adamem.bench.toml import validate
from adamem.data.dataset import Qrels
from adamem.errors import ConfigError, CorruptResult
from adamem.report.adaptation.distinct import means_by_key
from adamem.types import AnyArray, DoubleArray

Measure = Literal["recall@1", "recall@10"]
MEASURES: tuple[Measure, Measure] = ("recall@1", "recall@10")
LEAD = "lora"
"""The drift that the answer is about."""
DRIFT_NAMES = {
    "lora": "LoRA",
    "shuffled": "LoRA of shuffled pairs",
    "rotation": "rotation",
    "rotation-noise": "rotation and noise",
}
"""What the report calls the drifts."""
VIEW_NAMES = {
    "before": "old questions, old documents",
    "stale": "new questions, old documents",
    "procrustes": "new ones over Procrustes",
    "low-rank-affine": "new ones over a low-rank affine map",
    "mean-drift": "new ones over the mean drift",
    "query-map": "old questions over the query map",
    "placed": "new ones, new documents put in",
    "kept-up": "the same, maintained",
    "anew": "new questions, new documents",
}
"""What the report calls the ways in which questions meet documents."""
AT_REST = ("before", "stale", *BRIDGES, "query-map")
"""Those for which no document is embedded anew, but for the share that a bridge is fitted to."""
WAYS = {
    "mixed": "one index of both",
    "bridged": "two indexes, the old one over the bridge",
    "each-own": "two indexes, each asked by its own encoder",
    "by-rank": "two indexes, merged by rank",
}
"""What the report calls the ways in which documents are half embedded anew."""


_Asked = tuple[str, str, int]
"""An index, a view, and which of the view's shares; -1 where it has none."""


@dataclass(frozen=True)
class Measured:
    """One drift of one set with one seed."""

    seed: int
    piece: Piece
    arrays: dict[str, AnyArray]
    asked: dict[str, AnyArray]
    documents: int
    _found: dict[tuple[str, str, int, str], DoubleArray] = field(default_factory=dict, repr=False)
    """What has been scored already."""

    def values(self, index: str, view: str, measure: Measure, share: int = -1) -> DoubleArray:
        """float64 (q,): one value a question; `share` numbers the shares of a view that has them."""
        key = (index, view, share, measure)
        if key not in self._found:
            rows = self.arrays[f"{index}.{view}"]
            self._found[key] = self._scored(rows if share < 0 else rows[share], measure)
        return self._found[key]

    def nearest(self, index: str, view: str) -> DoubleArray:
        """float64 (q,): the share of exact search's ten that the index has found too."""
        truth, found = self.arrays[f"{EXACT}.{view}"], self.arrays[f"{index}.{view}"]
        hits = (truth[:, :, None] == found[:, None, :]).any(axis=2) & (truth >= 0)
        return np.asarray(hits.sum(axis=1) / (truth >= 0).sum(axis=1))

    def _scored(self, rows: AnyArray, measure: Measure) -> DoubleArray:
        query, document = (self.asked[name].astype(np.int64) for name in ("query", "document"))
        qrels = Qrels(query, document, np.ones(query.size, dtype=np.int64), np.arange(self.documents))
        k = 1 if measure == "recall@1" else 10
        return quality_of(rows[:, :k].astype(np.int64), qrels, k).recall_any


@dataclass(frozen=True)
class Split:
    """What is lost against all documents embedded anew and searched exactly: total = encoder + index."""

    total: Paired
    encoder: Paired
    """By exact search over the same vectors."""
    index: Paired
    """The index against exact search over the same vectors."""


@dataclass(frozen=True)
class DriftResult:
    """One drift of one set, over all seeds that were measured."""

    name: str
    seeds: tuple[Measured, ...]
    _compared: dict[tuple[_Asked, _Asked, Measure], Paired] = field(init=False, default_factory=dict, repr=False)
    """What has been compared already; a copy with other seeds begins with nothing."""

    @property
    def title(self) -> str:
        """What the report calls it."""
        return DRIFT_NAMES.get(self.name, self.name)

    @property
    def views(self) -> list[str]:
        """Those of single indexes that every seed has, in the report's order."""
        return [view for view in VIEW_NAMES if all(f"{EXACT}.{view}" in one.arrays for one in self.seeds)]

    def has(self, index: str, view: str) -> bool:
        """Whether every seed has it."""
        return all(f"{index}.{view}" in one.arrays for one in self.seeds)

    def pooled(self, index: str, view: str, measure: Measure = "recall@10", share: int = -1) -> DoubleArray:
        """float64 (q,): the questions of all seeds, each once, as the mean over the seeds that ask it."""
        values = np.concatenate([one.values(index, view, measure, share) for one in self.seeds])
        return means_by_key(values, np.concatenate([one.asked["key"] for one in self.seeds]))

    @cached_property
    def forms(self) -> list[str]:
        """The forms in which the collection is asked, by name; empty where it tells none apart."""
        return sorted(set(self._form.tolist()) - {""})

    def of_form(self, form: str, view: str, measure: Measure) -> DoubleArray:
        """float64 (q,): `pooled` by exact search, of the questions of one form."""
        return np.asarray(self.pooled(EXACT, view, measure)[self._form == form])

    @cached_property
    def _form(self) -> AnyArray:
        """Of each question of `pooled` its form: str (q,)."""
        keys = np.concatenate([one.asked["key"] for one in self.seeds])
        return np.concatenate([one.asked["form"] for one in self.seeds])[np.unique(keys, return_index=True)[1]]

    def score(self, index: str, view: str, measure: Measure = "recall@10", share: int = -1) -> Estimate:
        """The mean over questions, with its interval."""
        return mean_estimate(self.pooled(index, view, measure, share)[None])

    def against(self, view: str, other: str, measure: Measure = "recall@10", index: str = EXACT) -> Paired:
        """How much more `view` finds than `other`, question by question."""
        return self._paired((index, other, -1), (index, view, -1), measure)

    def ways(self, way: str, other: str, share: int, measure: Measure = "recall@10", index: str = EXACT) -> Paired:
        """The same of two ways of half embedded documents, at a share."""
        return self._paired((index, other, share), (index, way, share), measure)

    def split(self, index: str, view: str, measure: Measure = "recall@10", share: int = -1) -> Split:
        """The loss of a view by an index; `share` numbers the shares of a view that has them."""
        best, exact, mine = (EXACT, "anew", -1), (EXACT, view, share), (index, view, share)
        return Split(*(self._paired(*both, measure) for both in ((mine, best), (exact, best), (mine, exact))))

    def _paired(self, less: _Asked, more: _Asked, measure: Measure) -> Paired:
        if (less, more, measure) not in self._compared:
            values = (self.pooled(index, view, measure, share) for index, view, share in (less, more))
            self._compared[less, more, measure] = paired(*values)
        return self._compared[less, more, measure]

    def nearest(self, index: str, view: str) -> float:
        """The share of exact search's ten that the index has found too."""
        return float(np.concatenate([one.nearest(index, view) for one in self.seeds]).mean())

    def relative(self, index: str, view: str, share: int = -1, measure: Measure = "recall@10") -> Estimate:
        """Recall over that of all documents embedded anew, both by the same index, with its interval."""
        return ratio(self.pooled(index, view, measure, share), self.pooled(index, "anew", measure))

    def facts(self, *path: str) -> list[Any]:
        """A fact of each seed that has it."""
        found = []
        for one in self.seeds:
            here: Any = one.piece.facts
            for part in path:
                here = here.get(part) if isinstance(here, dict) else None
            if here is not None:
                found.append(here)
        return found

    def mean(self, *path: str) -> float:
        """The mean of a fact over seeds; NaN where there is none."""
        found = self.facts(*path)
        return float(np.mean(found)) if found else float("nan")

    @property
    def alarms(self) -> DoubleArray:
        """float64 (5,): the mean over seeds; see `adamem.bench.adaptation.stream.ALARMS`."""
        return np.asarray(np.mean([one.arrays["alarms"] for one in self.seeds], axis=0))


@dataclass(frozen=True)
class SetResult:
    """One collection."""

    key: str
    questions: tuple[Piece, ...]
    """Of each seed."""
    drifts: dict[str, DriftResult]

    @property
    def facts(self) -> dict[str, Any]:
        """Of the first seed."""
        return self.questions[0].facts

    @property
    def lead(self) -> DriftResult | None:
        """The drift that the answer is about."""
        return self.drifts.get(LEAD)


@dataclass(frozen=True)
class Gathered:
    """All that was measured."""

    path: Path
    run: DriftRun
    experiment: DriftExperiment
    sets: list[SetResult]
    pieces: list[Piece]

    @property
    def indexes(self) -> list[str]:
        """Exact search first, then the others in the config's order."""
        return [EXACT, *self.experiment.indexes]

    @property
    def contestants(self) -> list[tuple[str, str]]:
        """The indexes as figures have them."""
        return [(name, name) for name in self.indexes]

    @property
    def leads(self) -> list[tuple[SetResult, DriftResult]]:
        """Each set of which the lead drift was measured."""
        return [(one, one.lead) for one in self.sets if one.lead is not None]


def gather(path: Path) -> Gathered:
    """Read and score a run's folder. Raises `DataError`, `CorruptResult`."""
    folder = DriftFolder(path)
    run = folder.run()
    try:
        experiment = validate(DriftExperiment, run.config, source=str(path))
    except ConfigError as error:
        raise CorruptResult(f"{error}; restore the file or run the experiment again") from error
    chosen, there = experiment.chosen, set(run.pieces)
    sets = []
    for one in chosen.sets:
        seeds = [seed for seed in range(chosen.seeds) if f"{one.name}.{seed}.questions" in there]
        drifts = {
            drift: [seed for seed in seeds if f"{one.name}.{seed}.{drift}" in there and seed < count]
            for drift, count in chosen.drifts.items()
        }
        if any(drifts.values()):
            sets.append(_set(folder, one.name, seeds, drifts))
    return Gathered(path, run, experiment, sets, [folder.piece(name) for name in run.pieces])


def label(one: SetResult, drift: DriftResult) -> str:
    """A group's heading."""
    seeds = len(drift.seeds)
    return f"{one.key} ({one.facts['language']}), {drift.title}, {seeds} seed{'s' if seeds > 1 else ''}"


def ratio(values: DoubleArray, reference: DoubleArray) -> Estimate:
    """The mean of `values` (q,) over that of `reference` (q,), with a bootstrap interval over the questions."""
    weights = resamples(values.size).astype(np.float64)
    above, below = (np.einsum("ij,j->i", weights, one) for one in (values, reference))
    if not (below > 0).all():
        return Estimate(np.nan, np.nan, np.nan)
    low, high = np.percentile(above / below, (2.5, 97.5))
    return Estimate(float(values.mean() / reference.mean()), float(low), float(high))


def _set(folder: DriftFolder, key: str, seeds: Sequence[int], drifts: dict[str, list[int]]) -> SetResult:
    questions = {seed: folder.piece(f"{key}.{seed}.questions") for seed in seeds}
    asked = {seed: folder.arrays(f"{key}.{seed}.questions") for seed in seeds}
    results = {
        drift: DriftResult(
            drift,
            tuple(
                Measured(
                    seed,
                    folder.piece(f"{key}.{seed}.{drift}"),
                    folder.arrays(f"{key}.{seed}.{drift}"),
                    asked[seed],
                    int(questions[seed].facts["documents"]),
                )
                for seed in of_drift
            ),
        )
        for drift, of_drift in drifts.items()
        if of_drift
    }
    return SetResult(key, tuple(questions.values()), results)
