"""A run on adaptation, scored: what every figure of its report is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.records import AdaptationFolder, AdaptationRun
from adamem.bench.paired import Paired, paired
from adamem.bench.pieces import Piece
from adamem.bench.quality import quality_of
from adamem.bench.stats import Estimate, mean_estimate
from adamem.bench.toml import validate
from adamem.data.dataset import Qrels
from adamem.errors import ConfigError, CorruptResult
from adamem.types import AnyArray, DoubleArray

Measure = Literal["recall@1", "recall@10", "ndcg@10"]
NAMES = {
    "none": "untouched",
    "lora": "LoRA",
    "lora-replay": "LoRA with replay",
    "lora-steps": "LoRA, a step an update",
    "query-only": "query map",
    "random": "random, of LoRA's norm",
    "shuffled": "LoRA of shuffled pairs",
    "lora-4": "LoRA of rank 4",
    "lora-64": "LoRA of rank 64",
    "noise": "LoRA, 20 % wrong pairs",
    "joint": "LoRA, all tasks at once",
    "lora-gentle": "gentle LoRA with replay",
    "lora-gated": "LoRA behind a gate",
    "shuffled-gated": "shuffled pairs, gate",
    "own-hits": "LoRA of its own hits",
    "full-tuning": "the whole encoder",
}
"""What the report calls the arms."""
CONTROLS = ("random", "shuffled")
"""Arms from which nothing good is expected."""
OFFERED = tuple(name for name in NAMES if name not in {"none", *CONTROLS, "noise", "joint", "shuffled-gated"})
"""Arms that somebody might use: no control, nothing that was made worse on purpose, no bound."""
TITLES = ("a: other wordings", "b: other facts", "c: general set")
"""What the report calls the levels."""


@dataclass(frozen=True)
class Stream:
    """One arm along one sequence."""

    seed: int
    piece: Piece
    arrays: dict[str, AnyArray]
    asked: dict[str, AnyArray]
    _found: dict[tuple[str, str], DoubleArray] = field(default_factory=dict, repr=False)
    """What has been scored already."""

    @property
    def after(self) -> list[int]:
        """How many tasks had been learnt at each stage."""
        return [int(number) for number in self.arrays["after"]]

    @property
    def moves_documents(self) -> bool:
        """Whether the arm moves the vectors of documents."""
        return bool((self.arrays["embedding_seconds"] > 0).any())

    def values(self, view: str = "anew", measure: Measure = "recall@1") -> DoubleArray:
        """float64 (s, q): one value a question at each stage; see `adamem.bench.adaptation.stream` for the views."""
        if (view, measure) not in self._found:
            self._found[view, measure] = np.stack([self._scored(rows, measure) for rows in self.arrays[view]])
        return self._found[view, measure]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing else took so much of the machine that its times tell little."""
        return is_quiet(self.piece)

    @property
    def seconds_a_task(self) -> float:
        """Of learning, of the gate's exams and of embedding the documents anew, together."""
        exams = self.arrays.get("exam_seconds", np.zeros(1))
        spent = self.arrays["learning_seconds"][-1] + self.arrays["embedding_seconds"].sum() + exams.sum()
        return float(spent) / max(self.after[-1], 1)

    def of_level(self, level: int) -> AnyArray:
        """Which questions are of a level: bool (q,)."""
        return np.asarray(self.asked["level"] == level)

    def of_first(self, level: int) -> AnyArray:
        """Which questions are of a level of the first task: bool (q,)."""
        return np.asarray(self.of_level(level) & (self.asked["task"] == 0))

    def mixed(self, level: int, measure: Measure = "recall@1") -> DoubleArray:
        """float64 (shares,): the mean over a level where `MIXED` shares of the documents are embedded anew.

        Empty where no document moves.
        """
        rows = self.arrays.get("mixed", ())
        return np.array([self._scored(found, measure)[self.of_level(level)].mean() for found in rows])

    def matrix(self, view: str = "anew", level: int = 0) -> DoubleArray:
        """R: float64 (T + 1, T), recall@1 of each task's questions after so many tasks; NaN where not measured."""
        found = self.values(view)
        tasks = int(self.asked["task"].max()) + 1
        out = np.full((tasks + 1, tasks), np.nan)
        for task in range(tasks):
            mine = self.of_level(level) & (self.asked["task"] == task)
            if mine.any():
                out[self.after, task] = found[:, mine].mean(axis=1)
        return out

    def _scored(self, rows: AnyArray, measure: Measure) -> DoubleArray:
        query, document = (self.asked[name].astype(np.int64) for name in ("query", "document"))
        documents = np.arange(int(self.asked["documents"][1]), dtype=np.int64)
        qrels = Qrels(query, document, np.ones(query.size, dtype=np.int64), documents)
        k = 1 if measure == "recall@1" else 10
        found = quality_of(rows[:, :k].astype(np.int64), qrels, k)
        return found.ndcg if measure == "ndcg@10" else found.recall_any


@dataclass(frozen=True)
class ArmResult:
    """One arm along one sequence, over all seeds that were measured."""

    name: str
    streams: tuple[Stream, ...]
    _changes: dict[tuple[int, str, str], Paired] = field(default_factory=dict, repr=False)
    """What has been compared already."""

    @property
    def title(self) -> str:
        """What the report calls it."""
        return NAMES.get(self.name, self.name)

    @property
    def views(self) -> tuple[str, ...]:
        """``anew``, and where documents move ``stale`` and ``bridged``."""
        return ("anew", "stale", "bridged") if any(one.moves_documents for one in self.streams) else ("anew",)

    def pooled(self, level: int, stage: int, view: str = "anew", measure: Measure = "recall@1") -> DoubleArray:
        """float64 (q,): the questions of a level of all seeds, at a stage; 0 is the untouched encoder, -1 the last."""
        return np.concatenate([one.values(view, measure)[stage][one.of_level(level)] for one in self.streams])

    def change(self, level: int, view: str = "anew", measure: Measure = "recall@1") -> Paired:
        """The last stage against the untouched encoder, question by question."""
        asked = (level, view, measure)
        if asked not in self._changes:
            self._changes[asked] = paired(self.pooled(level, 0, view, measure), self.pooled(level, -1, view, measure))
        return self._changes[asked]

    def first_task(self, level: int, measure: Measure) -> tuple[DoubleArray, DoubleArray, DoubleArray] | None:
        """The first task's questions of a level, float64 (q,) of all seeds: untouched, right after it, after the last.

        None where it was not learnt by itself, or has no such question.
        """
        if 1 not in self.streams[0].after:
            return None
        when = (0, self.streams[0].after.index(1), -1)
        at = [
            np.concatenate([one.values("anew", measure)[stage][one.of_first(level)] for one in self.streams])
            for stage in when
        ]
        return (at[0], at[1], at[2]) if at[0].size else None

    @property
    def timed(self) -> tuple[Stream, ...]:
        """Those that were measured while the machine was quiet; all of them where none was."""
        return tuple(one for one in self.streams if one.is_quiet) or self.streams

    def against(self, other: ArmResult, level: int, measure: Measure = "recall@1") -> Paired:
        """After the last task, this one against another on the same questions: those of the seeds that both have."""
        both = {one.seed for one in self.streams} & {one.seed for one in other.streams}
        mine, theirs = (
            np.concatenate(
                [np.empty(0)]
                + [s.values("anew", measure)[-1][s.of_level(level)] for s in arm.streams if s.seed in both]
            )
            for arm in (self, other)
        )
        return paired(theirs, mine)

    def of_seeds(self, level: int, view: str = "anew") -> DoubleArray:
        """float64 (seeds,): the change of recall@1 of each seed."""
        found = [(one.values(view)[:, one.of_level(level)]) for one in self.streams]
        return np.array([values[-1].mean() - values[0].mean() for values in found])

    @cached_property
    def continual(self) -> dict[str, DoubleArray]:
        """By measure, float64 (seeds,); NaN where the tasks were not learnt one after the other."""
        found = [continual(one.matrix()) for one in self.streams]
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def worst(self, level: int, view: str = "anew") -> tuple[int, float]:
        """The stage after the first at which recall@1 is lowest, and how low: the mean over seeds."""
        along = self.along(level, view)
        stage = 1 + int(np.argmin(along[1:])) if along.size > 1 else 0
        return stage, float(along[stage])

    def along(self, level: int, view: str = "anew") -> DoubleArray:
        """float64 (s,): recall@1 of a level at each stage, the mean over seeds."""
        found = [one.values(view)[:, one.of_level(level)].mean(axis=1) for one in self.streams]
        return np.asarray(np.mean(found, axis=0))


def continual(matrix: DoubleArray) -> dict[str, float]:
    """What R (T + 1, T) says of learning in sequence (Lopez-Paz and Ranzato, 2017; Chaudhry et al., 2018).

    ``final`` is the mean of its last row; ``backward`` the mean of R[T][j] - R[j][j] over j < T; ``forgetting`` that of
    max R[i][j] - R[T][j] over i < T, the untouched encoder's i = 0 among them; ``forward`` the mean of
    R[j - 1][j] - R[0][j] over j > 1. All are NaN where a stage is missing, but ``final``; the last three with one task.
    """
    tasks = matrix.shape[1]
    final = float(np.nanmean(matrix[-1]))
    if tasks < 2 or np.isnan(matrix).any():
        return {"final": final, "backward": np.nan, "forgetting": np.nan, "forward": np.nan}
    own = np.array([matrix[task + 1, task] for task in range(tasks)])
    before = np.array([matrix[task, task] for task in range(tasks)])
    return {
        "final": final,
        "backward": float((matrix[-1] - own)[:-1].mean()),
        "forgetting": float((matrix[:-1].max(axis=0) - matrix[-1])[:-1].mean()),
        "forward": float((before - matrix[0])[1:].mean()),
    }


@dataclass(frozen=True)
class SetResult:
    """One sequence of tasks."""

    key: str
    questions: tuple[Piece, ...]
    """Of each seed."""
    arms: dict[str, ArmResult]
    """Those that were measured with at least one seed, each over the seeds that there are of it."""

    @property
    def facts(self) -> dict[str, Any]:
        """Of the first seed's sequence."""
        return self.questions[0].facts

    @property
    def base(self) -> ArmResult:
        """An arm of most seeds: the first stage of each is the untouched encoder."""
        return max(self.arms.values(), key=lambda arm: len(arm.streams))

    @property
    def lead(self) -> ArmResult | None:
        """The LoRA that the answer is about: with replay, if it was measured."""
        return self.arms.get("lora-replay") or self.arms.get("lora")


MOMENTS = ("untouched", "before")
"""The first moments at which facts are asked for; then come so many updates after their own."""


@dataclass(frozen=True)
class Acquired:
    """What single updates taught, over all seeds."""

    key: str
    pieces: tuple[Piece, ...]
    arrays: tuple[dict[str, AnyArray], ...]
    further: tuple[int, ...]

    @property
    def moments(self) -> tuple[str, ...]:
        """``untouched``, ``before`` its own update, and then ``0`` and so many further updates after it."""
        return (*MOMENTS, *(str(more) for more in (0, *self.further)))

    def found(self, moment: str, *, taught: bool, view: str = "anew") -> DoubleArray:
        """float64 (q,): 1 where the best answer is ranked first; a fact never taught is asked for when another is."""
        out = []
        for arrays in self.arrays:
            when = self._when(arrays, moment)
            probes = arrays["taught"].size
            mine = (arrays["fact"] < probes) == taught
            stage = np.searchsorted(arrays["done"], when[arrays["fact"] % probes])
            out.append((arrays[view][stage, np.arange(stage.size)] == 1)[mine])
        return np.concatenate(out).astype(np.float64)

    def estimate(self, moment: str, *, taught: bool, view: str = "anew") -> Estimate:
        """The share that is ranked first."""
        return estimate(self.found(moment, taught=taught, view=view))

    def change(self, moment: str, since: str, *, taught: bool, view: str = "anew") -> Paired:
        """One moment against another."""
        return paired(self.found(since, taught=taught, view=view), self.found(moment, taught=taught, view=view))

    @property
    def quiet(self) -> int:
        """How many of its pieces were measured while the machine was quiet."""
        return sum(is_quiet(piece) for piece in self.pieces)

    @property
    def update_seconds(self) -> DoubleArray:
        """float64 (updates,): of all seeds that were measured while the machine was quiet, or of all where none was."""
        timed = [
            arrays["update_ns"]
            for piece, arrays in zip(self.pieces, self.arrays, strict=True)
            if is_quiet(piece) or not self.quiet
        ]
        return np.concatenate(timed) * 1e-9

    @staticmethod
    def _when(arrays: dict[str, AnyArray], moment: str) -> AnyArray:
        if moment == "untouched":
            return np.zeros_like(arrays["taught"])
        if moment == "before":
            return arrays["taught"]
        return np.asarray(arrays["taught"] + 1 + int(moment))


@dataclass(frozen=True)
class Gathered:
    """All that was measured."""

    path: Path
    run: AdaptationRun
    experiment: AdaptationExperiment
    sets: list[SetResult]
    acquired: list[Acquired]
    pieces: list[Piece]

    @property
    def arms(self) -> list[str]:
        """All arms, in the config's order."""
        return list(self.experiment.chosen.arms)

    @property
    def ran(self) -> list[tuple[str, str, int]]:
        """Of each sequence each arm, and the single updates of each set under no arm: how many seeds there are."""
        chosen = self.experiment.chosen
        sets, acquired = {one.key: one for one in self.sets}, {one.key: one for one in self.acquired}
        out = [
            (key, arm, len(sets[key].arms[arm].streams) if key in sets and arm in sets[key].arms else 0)
            for key in chosen.sets
            for arm in chosen.arms
        ]
        if chosen.acquisition is not None:
            out += [(key, "", len(acquired[key].pieces) if key in acquired else 0) for key in chosen.acquisition.sets]
        return out

    @property
    def contestants(self) -> list[tuple[str, str]]:
        """The arms as figures have them; the untouched encoder is drawn as exact search is elsewhere, in ink."""
        return [(arm, "exact" if arm == "none" else arm) for arm in self.arms]


def gather(path: Path) -> Gathered:
    """Read and score a run's folder. Raises `DataError`, `CorruptResult`."""
    folder = AdaptationFolder(path)
    run = folder.run()
    try:
        experiment = validate(AdaptationExperiment, run.config, source=str(path))
    except ConfigError as error:
        raise CorruptResult(f"{error}; restore the file or run the experiment again") from error
    chosen, there = experiment.chosen, set(run.pieces)
    # Each arm over the seeds that there are of it: a run that was cut off has some of fewer.
    sets = [found for key in chosen.sets if (found := _set(folder, key, chosen.seeds, chosen.arms, there)) is not None]
    acquired = []
    if chosen.acquisition is not None:
        for key in chosen.acquisition.sets:
            names = [f"acquisition.{key}.{seed}" for seed in range(chosen.seeds)]
            names = [name for name in names if name in there]
            if names:
                acquired.append(
                    Acquired(
                        key,
                        tuple(folder.piece(name) for name in names),
                        tuple(folder.arrays(name) for name in names),
                        tuple(chosen.acquisition.further),
                    )
                )
    return Gathered(path, run, experiment, sets, acquired, [folder.piece(name) for name in run.pieces])


def estimate(values: DoubleArray) -> Estimate:
    """The mean over questions (q,), with its interval."""
    return mean_estimate(values[None])


def is_quiet(piece: Piece) -> bool:
    """Whether neither others nor the hypervisor took a share of the CPU that spoils timings (`machine.Watch`)."""
    return not piece.fitness.notes


def _set(folder: AdaptationFolder, key: str, seeds: int, arms: Sequence[str], there: set[str]) -> SetResult | None:
    asked = {
        seed: folder.arrays(f"{key}.{seed}.questions") for seed in range(seeds) if f"{key}.{seed}.questions" in there
    }
    streams = {
        arm: tuple(
            Stream(seed, folder.piece(f"{key}.{seed}.{arm}"), folder.arrays(f"{key}.{seed}.{arm}"), questions)
            for seed, questions in asked.items()
            if f"{key}.{seed}.{arm}" in there
        )
        for arm in arms
    }
    results = {arm: ArmResult(arm, found) for arm, found in streams.items() if found}
    if not results:
        return None
    questions = tuple(folder.piece(f"{key}.{seed}.questions") for seed in asked)
    return SetResult(key, questions, results)


__all__ = ["LEVELS", "NAMES", "Acquired", "ArmResult", "Gathered", "SetResult", "Stream", "continual", "gather"]
