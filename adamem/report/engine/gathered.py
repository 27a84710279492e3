"""A run on the engine, scored: what every figure of its report is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.engine import EngineExperiment, EngineFolder, EngineRun
from adamem.bench.engine.config import SetConfig
from adamem.bench.engine.records import Piece
from adamem.bench.engine.scores import DEPTH, Candidate, best, candidates, judgements, scored
from adamem.bench.paired import Paired, holm, paired
from adamem.bench.quality import TaskQuality
from adamem.bench.stats import Estimate, mean_estimate
from adamem.bench.toml import validate
from adamem.data.dataset import Qrels
from adamem.errors import ConfigError, CorruptResult
from adamem.memory import Fusion
from adamem.types import AnyArray, DoubleArray

MODES = ("vector", "lexical", "hybrid", "tuned")
NAMES = {"vector": "vectors", "lexical": "words", "hybrid": "both, as it comes", "tuned": "both, weighed"}
"""What the report calls the modes."""


@dataclass(frozen=True)
class Over:
    """A set over one contestant."""

    piece: Piece
    arrays: dict[str, AnyArray]
    qrels: Qrels

    @property
    def modes(self) -> list[str]:
        """Those that were asked."""
        return [mode for mode in MODES if f"{mode}_rows" in self.arrays]

    def rows(self, mode: str) -> AnyArray:
        """int32 (q, 10)."""
        return self.arrays[f"{mode}_rows"]

    def quality(self, mode: str, k: int = DEPTH) -> TaskQuality:
        """One value a query."""
        return scored(self.rows(mode), self.qrels, k)

    def milliseconds(self, mode: str) -> DoubleArray:
        """float64 (q, 3): search, fetch, and the whole call; NaN where that was not measured."""
        parts = self.arrays[f"{mode}_ns"]
        whole = self.arrays.get(f"{mode}_whole_ns", np.full(parts.shape[0], np.nan))
        return np.asarray(np.column_stack([parts, whole]) * 1e-6)


@dataclass(frozen=True)
class SetResult:
    """One set, over all contestants that were measured."""

    config: SetConfig
    questions: Piece
    tried: list[Candidate]
    """Every fusion on the development queries."""
    shared: AnyArray | None
    """bool (q,): which of the test queries have a word in common with their evidence, where that was recorded."""
    default: Candidate
    """The engine's own, there."""
    alone: dict[str, DoubleArray]
    """float64 (d,): nDCG@10 of ``vector`` and of ``lexical`` alone, there."""
    over: dict[str, Over]
    """By contestant; the first one first."""

    @property
    def title(self) -> str:
        """What the report calls it."""
        return self.config.title or self.config.dataset

    @property
    def chosen(self) -> Candidate:
        """The fusion that the test queries were asked with as ``tuned``."""
        return best(self.tried)

    @cached_property
    def first(self) -> Over:
        """Over the first contestant, which all are compared with."""
        return next(iter(self.over.values()))

    @property
    def better_part(self) -> str:
        """``vector`` or ``lexical``: which alone has the higher nDCG on the test queries."""
        means = {mode: float(np.nanmean(self.first.quality(mode).ndcg)) for mode in ("vector", "lexical")}
        return max(means, key=lambda mode: means[mode])

    def against(self, mode: str, other: str) -> Paired:
        """How much nDCG@10 one mode has more than another."""
        return paired(self.first.quality(other).ndcg, self.first.quality(mode).ndcg)


@dataclass(frozen=True)
class Gathered:
    """All that was measured."""

    path: Path
    run: EngineRun
    experiment: EngineExperiment
    sets: list[SetResult]
    other: dict[str, tuple[Piece, dict[str, AnyArray]]]
    """By name: the pieces that are of no set."""
    pieces: list[Piece]

    @property
    def contestants(self) -> list[tuple[str, str]]:
        """(name, index) of all, in the config's order."""
        return [(one.name, one.index) for one in self.experiment.contestant]

    def named(self, prefix: str) -> dict[str, tuple[Piece, dict[str, AnyArray]]]:
        """Pieces ``prefix.NAME`` by NAME."""
        return {
            name.removeprefix(f"{prefix}."): held for name, held in self.other.items() if name.startswith(f"{prefix}.")
        }

    def corrected(self, mode: str, against: str | None) -> dict[str, tuple[Paired, float]]:
        """By set: a mode against another (None: the better part), and Holm's p over all sets."""
        found = {one.config.key: one.against(mode, against or one.better_part) for one in self.sets}
        p = holm(np.array([one.p_value for one in found.values()]))
        return {key: (test, float(value)) for (key, test), value in zip(found.items(), p, strict=True)}


def gather(path: Path) -> Gathered:
    """Read and score a run's folder. Raises `DataError`, `CorruptResult`."""
    folder = EngineFolder(path)
    run = folder.run()
    known: dict[str, Any] = {name: value for name, value in run.config.items() if name in EngineExperiment.model_fields}
    try:
        experiment = validate(EngineExperiment, known, source=str(path))
    except ConfigError as error:
        raise CorruptResult(f"{error}; restore the file or run the experiment again") from error
    there = set(run.pieces)
    names = [one.name for one in experiment.contestant]
    sets = []
    for config in experiment.set:
        over = [name for name in names if f"{config.key}.{name}" in there]
        if {f"{config.key}.questions", f"{config.key}.development"} <= there and over[:1] == names[:1]:
            sets.append(_set(folder, config, over))
    of_sets = {f"{config.key}.{what}" for config in experiment.set for what in ("questions", "development", *names)}
    other = {name: (folder.piece(name), folder.arrays(name)) for name in run.pieces if name not in of_sets}
    return Gathered(path, run, experiment, sets, other, [folder.piece(name) for name in run.pieces])


def estimate(values: DoubleArray) -> Estimate:
    """The mean over queries (q,), with its interval."""
    return mean_estimate(values[None])


def _set(folder: EngineFolder, config: SetConfig, over: list[str]) -> SetResult:
    asked = folder.arrays(f"{config.key}.questions")
    rankings = folder.arrays(f"{config.key}.development")
    development = judgements(asked, asked["development"])
    test = judgements(asked, asked["test"])
    return SetResult(
        config,
        folder.piece(f"{config.key}.questions"),
        candidates(rankings, development),
        asked.get("shared"),
        candidates(rankings, development, [Fusion()])[0],
        {name: scored(rankings[f"{name}_rows"], development, DEPTH).ndcg for name in ("vector", "lexical")},
        {
            name: Over(folder.piece(f"{config.key}.{name}"), folder.arrays(f"{config.key}.{name}"), test)
            for name in over
        },
    )
