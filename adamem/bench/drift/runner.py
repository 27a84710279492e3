"""A run on drift: every drift of every collection, asked in every way by every index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adamem.bench.adaptation.remembered import Remembered
from adamem.bench.adapter import adapter_hash
from adamem.bench.context import Reporter, alone_in
from adamem.bench.drift.config import DriftExperiment, SetConfig
from adamem.bench.drift.drifts import DRIFTS, LEARNT, Setting
from adamem.bench.drift.measured import EXACT, Plan, measure_drift
from adamem.bench.drift.records import DriftFolder
from adamem.bench.drift.texts import Texts, texts_of
from adamem.bench.piecewise import Measured, Piecewise, refuse_foreign
from adamem.encoders import open_encoder
from adamem.encoders.lora import tunable


def run_drift(
    experiment: DriftExperiment,
    out: Path,
    *,
    only: tuple[str, ...] | None,
    reporter: Reporter,
    done: Callable[[Path], object],
) -> Path:
    """Run, or go on with, an experiment into the folder `out`; returns it.

    `only` are names of sets, or None for all; `done` is told at the end.

    Raises
    ------
    InvalidInput
        if the folder holds something else, the encoder is no sentence-transformers model, or a set is too small.
    MissingExtra
        if peft or an index's library is not installed.
    TrialFailed
        at the end, if the data of a set are not on this machine.
    """
    refuse_foreign(DriftFolder(out), experiment.name)
    wanted = parts(experiment) if only is None else only
    with alone_in(out) as scratch:
        run = _Run(experiment, reporter)
        pieces = Piecewise(DriftFolder(out), experiment, list(_names(experiment)), scratch=scratch, reporter=reporter)
        pieces.parts(wanted, lambda part: run.part(part, pieces), done=done, whole=only is None)
    return out


def parts(experiment: DriftExperiment) -> tuple[str, ...]:
    """What a run consists of: its sets."""
    return tuple(one.name for one in experiment.chosen.sets)


def drift_forecast(experiment: DriftExperiment) -> str:
    """What a run would do, in words."""
    chosen = experiment.chosen
    drifts = ", ".join(f"{drift} ({seeds})" for drift, seeds in chosen.drifts.items())
    told = [
        experiment.title,
        f"{experiment.size}: embedded by {experiment.encoder}; drifts (seeds): {drifts}; indexes: exact, "
        f"{', '.join(experiment.indexes)}",
    ]
    told += [
        f"--only {one.name}: at most {one.documents:,} documents, {chosen.lessons:,} lessons in {chosen.steps} steps, "
        f"{chosen.questions} questions"
        for one in chosen.sets
    ]
    if experiment.wall_minutes is not None and experiment.size == "default":
        told.append(f"took {experiment.wall_minutes:g} minutes on {experiment.machine or 'its author’s machine'}")
    return "\n".join(told)


@dataclass
class _Run:
    experiment: DriftExperiment
    reporter: Reporter

    @cached_property
    def known(self) -> Remembered:
        encoder = tunable(open_encoder(self.experiment.encoder))
        return Remembered(encoder if self.experiment.device == "auto" else encoder.on(self.experiment.device))

    def part(self, part: str, pieces: Piecewise) -> None:
        experiment = self.experiment
        chosen = experiment.chosen
        (config,) = (one for one in chosen.sets if one.name == part)
        plan = Plan(experiment.indexes, experiment.shares, experiment.bridge, experiment.over, experiment.effort)
        for seed in range(chosen.seeds):
            texts = self._texts(config, seed)
            asked: Measured = texts.arrays(), _facts(texts)
            pieces.piece(f"{part}.{seed}.questions", {"texts": texts.key}, partial(_told, asked))
            recipe = experiment.learning.recipe(steps=chosen.steps, seed=seed)
            for drift in chosen.of_seed(seed):
                setting = Setting(self.known, texts, recipe, seed)

                def measure(_: Path, drift: str = drift, setting: Setting = setting) -> Measured:
                    self.reporter.stage(f"{part}, seed {setting.seed}: {drift}", 2 + len(experiment.indexes))
                    return measure_drift(setting, DRIFTS[drift], plan, advance=self.reporter.advance)

                pieces.piece(f"{part}.{seed}.{drift}", self._spec(texts, drift, seed), measure)

    def _texts(self, config: SetConfig, seed: int) -> Texts:
        chosen = self.experiment.chosen
        self.reporter.now(f"{config.name}, seed {seed}: texts")
        return texts_of(
            config.name, documents=config.documents, lessons=chosen.lessons, questions=chosen.questions, seed=seed
        )

    def _spec(self, texts: Texts, drift: str, seed: int) -> dict[str, Any]:
        experiment = self.experiment
        measured = {"shares", "bridge", "over", "effort"}
        return {
            "texts": texts.key,
            "encoder": self.known.fingerprint,
            "device": experiment.device,
            "libraries": {name: version(name) for name in ("peft", "transformers")} if drift in LEARNT else {},
            "learning": experiment.learning.model_dump(mode="json") | {"steps": experiment.chosen.steps},
            "drift": drift,
            "indexes": {name: adapter_hash(name) for name in (EXACT, *experiment.indexes)},
            **experiment.model_dump(mode="json", include=measured),
            "seed": seed,
        }


def _told(known: Measured, _: Path) -> Measured:
    return known


def _facts(texts: Texts) -> dict[str, Any]:
    return {
        "language": texts.language,
        "documents": len(texts.documents),
        "lessons": len(texts.pairs),
        "questions": len(texts.questions),
    }


def _names(experiment: DriftExperiment) -> Iterator[str]:
    """The names of all pieces."""
    chosen = experiment.chosen
    for one in chosen.sets:
        for seed in range(chosen.seeds):
            yield from (f"{one.name}.{seed}.{what}" for what in ("questions", *chosen.of_seed(seed)))
