"""A run on adaptation, scored: what every figure of its report is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.drift import DOCUMENT_COSINE
from adamem.bench.adaptation.records import FORMAT, AdaptationFolder, AdaptationRun
from adamem.bench.paired import Paired, paired
from adamem.bench.pieces import Piece
from adamem.bench.quality import TaskQuality, quality_of
from adamem.bench.stats import Estimate
from adamem.bench.toml import validate
from adamem.data.dataset import Qrels
from adamem.errors import ConfigError, CorruptResult
from adamem.report.adaptation.acquired import Acquired, named
from adamem.report.adaptation.distinct import means_by_key, share
from adamem.report.adaptation.timed import counting, mostly_on
from adamem.types import AnyArray, DoubleArray

MEASURES: dict[str, tuple[int, str]] = {
    **{f"recall@{k}": (k, "recall_any") for k in (1, 5, 10)},
    **{f"fraction@{k}": (k, "recall_fraction") for k in (1, 5, 10)},
    **{f"all@{k}": (k, "recall_all") for k in (1, 5, 10)},
    "mrr@10": (10, "mrr"),
    "ndcg@10": (10, "ndcg"),
}
"""So many places that count, and the field of `TaskQuality`. Recall is 1 where any answer is there, fraction the share
of the answers that are, and all is 1 where every one is."""
WEAK = 0.3
"""A general set of which the untouched encoder finds less at rank 1 can hardly show a loss."""
NAMES = {
    "none": "untouched",
    "lora": "LoRA",
    "lora-replay": "LoRA with replay",
    "lora-steps": "LoRA, a step an update",
    "query-only": "query map",
    "lora-queries": "LoRA of queries alone",
    "random": "random, as far as LoRA",
    "shuffled": "LoRA of shuffled pairs",
    "lora-4": "LoRA of rank 4",
    "lora-64": "LoRA of rank 64",
    "noise": "LoRA, 20 % wrong pairs",
    "joint": "LoRA, all tasks at once",
    "lora-gentle": "gentle LoRA",
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
    _found: dict[tuple[str, int], list[TaskQuality]] = field(default_factory=dict, repr=False)
    """What has been scored already, by view and number of places."""

    @property
    def after(self) -> list[int]:
        """How many tasks had been learnt at each stage."""
        return [int(number) for number in self.arrays["after"]]

    @property
    def moves_documents(self) -> bool:
        """Whether the arm moves the vectors of documents."""
        return bool((self.arrays["embedding_seconds"] > 0).any())

    def values(self, view: str = "anew", measure: str = "recall@1") -> DoubleArray:
        """float64 (s, q): one value a question at each stage; see `adamem.bench.adaptation.stream` for the views.

        Of views other than ``anew``, where documents move, the first stage and the last.
        """
        k, name = MEASURES[measure]
        if (view, k) not in self._found:
            rows = self.arrays["anew"]
            if view in self.arrays and view != "anew":  # those of the last stage
                rows = np.stack([rows[0], self.arrays[view]])
            self._found[view, k] = [self._scored(found, k) for found in rows]
        return np.stack([getattr(found, name) for found in self._found[view, k]])

    @property
    def seconds_a_task(self) -> float:
        """Of learning, of the gate's exams and of embedding the documents anew, together."""
        exams = self.arrays.get("exam_seconds", np.zeros(1))
        spent = self.arrays["learning_seconds"][-1] + self.arrays["embedding_seconds"].sum() + exams.sum()
        return float(spent) / max(self.after[-1], 1)

    def of_level(self, level: int, form: str | None = None) -> AnyArray:
        """Which questions are of a level, and where it is given of a form: bool (q,)."""
        mine = self.asked["level"] == level
        return np.asarray(mine if form is None else mine & (self.asked["form"] == form))

    def of_first(self, level: int) -> AnyArray:
        """Which questions are of a level of the first task: bool (q,)."""
        return np.asarray(self.of_level(level) & (self.asked["task"] == 0))

    def chance(self, level: int) -> DoubleArray:
        """float64 (q,): of each question of a level, the share of the documents searched that answer it."""
        own, every = (int(number) for number in self.asked["documents"])
        answers = np.bincount(self.asked["query"], minlength=self.asked["level"].size)
        return np.asarray(answers[self.of_level(level)] / (every - own if level == LEVELS.index("general") else own))

    def mixed(self, level: int) -> DoubleArray:
        """float64 (shares,): recall@1 of a level where `MIXED` shares of the documents are embedded anew.

        Empty where no document moves.
        """
        first = self.arrays.get("mixed", ())
        return np.array([self._scored(found[:, None], 1).recall_any[self.of_level(level)].mean() for found in first])

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

    def _scored(self, rows: AnyArray, k: int) -> TaskQuality:
        return quality_of(rows[:, :k].astype(np.int64), self._qrels, k)

    @cached_property
    def _qrels(self) -> Qrels:
        query, document = (self.asked[name].astype(np.int64) for name in ("query", "document"))
        documents = np.arange(int(self.asked["documents"][1]), dtype=np.int64)
        return Qrels(query, document, np.ones(query.size, dtype=np.int64), documents)


@dataclass(frozen=True)
class ArmResult:
    """One arm along one sequence, over all seeds that were measured."""

    name: str
    streams: tuple[Stream, ...]
    machine: str = ""
    """The fingerprint of that which measured most of its set."""
    _compared: dict[tuple[Any, ...], Paired] = field(default_factory=dict, repr=False)
    """What has been compared already."""

    @property
    def title(self) -> str:
        """What the report calls it."""
        return NAMES.get(self.name, self.name)

    @property
    def moves_documents(self) -> bool:
        """Whether it moves the vectors of documents."""
        return any(one.moves_documents for one in self.streams)

    @property
    def views(self) -> tuple[str, ...]:
        """``anew``, and where documents move ``stale`` and ``bridged``."""
        return ("anew", "stale", "bridged") if self.moves_documents else ("anew",)

    def pooled(
        self, level: int, stage: int, view: str = "anew", measure: str = "recall@1", form: str | None = None
    ) -> DoubleArray:
        """float64 (q,): the distinct questions of a level, by rising key, each the mean over the seeds that ask it.

        At a stage: 0 is the untouched encoder, -1 the last. With `form` those of that form alone.
        """
        return self._distinct(stage, view, measure, lambda one: one.of_level(level, form))

    def change(self, level: int, view: str = "anew", measure: str = "recall@1", form: str | None = None) -> Paired:
        """The last stage against the untouched encoder, over distinct questions in their groups."""
        asked = (level, view, measure, form)
        if asked not in self._compared:
            at = [self.pooled(level, stage, *asked[1:]) for stage in (0, -1)]
            self._compared[asked] = paired(*at, groups=self.groups(level, form))
        return self._compared[asked]

    def share(self, level: int, stage: int, view: str = "anew") -> Estimate:
        """Recall@1 of a level at a stage, with its interval."""
        return share(self.pooled(level, stage, view), self.groups(level))

    def groups(self, level: int, form: str | None = None) -> AnyArray:
        """int64 (q,): the groups of the distinct questions of `pooled`."""
        return self._groups(lambda one: one.of_level(level, form))

    def first_task(self, level: int, measure: str) -> FirstTask | None:
        """Of the task that each seed learnt first, a level's distinct questions.

        None where it was not learnt by itself, or has no such question.
        """
        if 1 not in self.streams[0].after:
            return None
        asked = ("first", level, measure)
        at = [
            self._distinct(stage, "anew", measure, lambda one: one.of_first(level))
            for stage in (0, self.streams[0].after.index(1), -1)
        ]
        if not at[0].size:
            return None
        for since, values in (("untouched", at[0]), ("right after", at[1])):
            if (*asked, since) not in self._compared:
                groups = self._groups(lambda one: one.of_first(level))
                self._compared[*asked, since] = paired(values, at[2], groups=groups)
        untouched, right_after, last = (float(values.mean()) for values in at)
        kept, gained = self._compared[*asked, "right after"], self._compared[*asked, "untouched"]
        return FirstTask(untouched, right_after, last, kept, gained)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Of each seed."""
        return tuple(one.piece for one in self.streams)

    @property
    def timed(self) -> list[int]:
        """Which streams' times count, by their places."""
        return counting(self.pieces, self.machine)

    def against(
        self, other: ArmResult, level: int, measure: str = "recall@1", *, view: str = "anew", other_view: str = "anew"
    ) -> Paired:
        """After the last task, this one against another on the same questions: those of the seeds that both have."""
        asked = ("against", other.name, level, measure, view, other_view)
        if asked not in self._compared:
            both = {one.seed for one in self.streams} & {one.seed for one in other.streams}
            mine, theirs = (
                ArmResult(arm.name, tuple(one for one in arm.streams if one.seed in both)) for arm in (self, other)
            )
            at = [arm.pooled(level, -1, seen, measure) for arm, seen in ((theirs, other_view), (mine, view))]
            self._compared[asked] = paired(*at, groups=mine.groups(level))
        return self._compared[asked]

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
        """The stage after the first at which recall@1 is lowest, and how low."""
        along = self.along(level, view)
        stage = 1 + int(np.argmin(along[1:])) if along.size > 1 else 0
        return stage, float(along[stage])

    def along(self, level: int, view: str = "anew") -> DoubleArray:
        """float64 (s,): recall@1 of a level at each stage, the mean over its distinct questions."""
        return np.array([self.pooled(level, stage, view).mean() for stage in range(len(self.streams[0].after))])

    def asked(self, level: int, form: str | None = None) -> int:
        """How many distinct questions a level has."""
        return self.pooled(level, 0, form=form).size

    def forms(self, level: int) -> list[str]:
        """The forms in which a level asks, by name; empty where the collection tells none apart."""
        found = {str(form) for one in self.streams for form in one.asked["form"][one.of_level(level)]}
        return sorted(found - {""})

    @property
    def steps(self) -> float:
        """Of the optimiser, over all tasks: the mean over seeds."""
        return float(np.mean([one.arrays["steps"][-1] for one in self.streams]))

    @property
    def document_cosine(self) -> float:
        """Of a document's vector after the last task with the untouched one: the mean over documents and seeds."""
        return float(np.mean([one.arrays["alarms"][-1, DOCUMENT_COSINE] for one in self.streams]))

    def _distinct(self, stage: int, view: str, measure: str, chosen: Callable[[Stream], AnyArray]) -> DoubleArray:
        picked = [(one, chosen(one)) for one in self.streams]
        values = [one.values(view, measure)[stage][mine] for one, mine in picked]
        keys = [one.asked["key"][mine] for one, mine in picked]
        if not values:
            return np.empty(0)
        return means_by_key(np.concatenate(values), np.concatenate(keys))

    def _groups(self, chosen: Callable[[Stream], AnyArray]) -> AnyArray:
        picked = [(one.asked, chosen(one)) for one in self.streams]
        keys, groups = (np.concatenate([asked[what][mine] for asked, mine in picked]) for what in ("key", "group"))
        return np.asarray(groups[np.unique(keys, return_index=True)[1]])


@dataclass(frozen=True)
class FirstTask:
    """What became of what was learnt first."""

    untouched: float
    right_after: float
    last: float
    kept: Paired
    """After the last task against right after the first."""
    gained: Paired
    """After the last task against the untouched encoder."""


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

    @property
    def can_hardly_lose(self) -> bool:
        """Whether the untouched encoder finds so little of the general set that it can hardly show a loss."""
        return float(self.base.pooled(2, 0).mean()) < WEAK


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
        """Of each sequence each arm, and single updates, by what they are called, under no arm: how many seeds."""
        chosen = self.experiment.chosen
        sets, acquired = {one.key: one for one in self.sets}, {(one.set, one.steps): one for one in self.acquired}
        out = [
            (key, arm, len(sets[key].arms[arm].streams) if key in sets and arm in sets[key].arms else 0)
            for key in chosen.sets
            for arm in chosen.arms
        ]
        if chosen.acquisition is not None:
            out += [
                (named(key, steps), "", len(acquired[key, steps].pieces) if (key, steps) in acquired else 0)
                for key in chosen.acquisition.sets
                for steps in chosen.acquisition.own_steps
            ]
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
    if run.format < FORMAT:
        raise CorruptResult(
            f"{path} was measured before questions had groups (format {run.format}, expected {FORMAT}); run it again"
        )
    chosen, there = experiment.chosen, set(run.pieces)
    # Each arm over the seeds that there are of it: a run that was cut off has some of fewer.
    sets = [found for key in chosen.sets if (found := _set(folder, key, chosen.seeds, chosen.arms, there)) is not None]
    acquired = []
    if chosen.acquisition is not None:
        for key in chosen.acquisition.sets:
            for steps in chosen.acquisition.own_steps:
                names = [f"acquisition.{key}.{seed}.{steps}" for seed in range(chosen.seeds)]
                names = [name for name in names if name in there]
                if names:
                    acquired.append(
                        Acquired(
                            key,
                            steps,
                            tuple(folder.piece(name) for name in names),
                            tuple(folder.arrays(name) for name in names),
                            chosen.acquisition.further,
                        )
                    )
    return Gathered(path, run, experiment, sets, acquired, [folder.piece(name) for name in run.pieces])


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
    if not any(streams.values()):
        return None
    machine = mostly_on([stream.piece for found in streams.values() for stream in found])
    results = {arm: ArmResult(arm, found, machine) for arm, found in streams.items() if found}
    answered = {stream.seed for arm in results.values() for stream in arm.streams}
    questions = tuple(folder.piece(f"{key}.{seed}.questions") for seed in asked if seed in answered)
    return SetResult(key, questions, results)


__all__ = ["LEVELS", "NAMES", "ArmResult", "Gathered", "SetResult", "Stream", "continual", "gather"]
