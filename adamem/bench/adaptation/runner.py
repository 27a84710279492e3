"""A run on adaptation: every arm along every sequence, and what single updates teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adamem.adapt import QueryAdapter
from adamem.bench.adaptation.acquisition import measure_acquisition, planned
from adamem.bench.adaptation.arms import ARMS, FOLLOWS, VARIES, Setting
from adamem.bench.adaptation.asked import Asked, Known
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.adaptation.sequences import sequence_of
from adamem.bench.adaptation.serving import adapters, material_of, measure_serving, sizes_of
from adamem.bench.adaptation.stream import run_stream
from adamem.bench.adaptation.tasks import TaskSequence
from adamem.bench.context import Reporter, alone_in
from adamem.bench.engine.scale import in_a_process
from adamem.bench.piecewise import Measured, Piecewise, refuse_foreign
from adamem.encoders import Encoder, open_encoder
from adamem.encoders.lora import tunable

ACQUISITION = "acquisition"
SERVING = "serving"


def run_adaptation(
    experiment: AdaptationExperiment,
    out: Path,
    *,
    only: tuple[str, ...] | None,
    reporter: Reporter,
    done: Callable[[Path], object],
) -> Path:
    """Run, or go on with, an experiment into the folder `out`; returns it.

    `only` are the keys of parts (see `parts`), or None for all; `done` is told at the end.

    Raises
    ------
    InvalidInput
        if the folder holds something else, or the encoder is no sentence-transformers model.
    MissingExtra
        if peft is not installed.
    TrialFailed
        at the end, if the data of a part are not on this machine.
    """
    refuse_foreign(AdaptationFolder(out), experiment.name)
    wanted = parts(experiment) if only is None else only
    with alone_in(out) as scratch:
        run = _Run(experiment, reporter)
        pieces = Piecewise(
            AdaptationFolder(out), experiment, list(_names(experiment)), scratch=scratch, reporter=reporter
        )
        pieces.parts(wanted, lambda part: run.part(part, pieces), done=done, whole=only is None)
    return out


def parts(experiment: AdaptationExperiment) -> tuple[str, ...]:
    """What a run consists of: the sequences' names, the single updates, and an engine that serves meanwhile."""
    chosen = experiment.chosen
    more = ((ACQUISITION, chosen.acquisition), (SERVING, chosen.serving))
    return (*chosen.sets, *(name for name, config in more if config is not None))


def adaptation_forecast(experiment: AdaptationExperiment) -> str:
    """What a run would do, in words."""
    chosen = experiment.chosen
    sizes = chosen.sizes
    told = [
        experiment.title,
        f"{experiment.size}: embedded by {experiment.encoder}; arms: {', '.join(chosen.arms)}; seeds: {chosen.seeds}",
    ]
    told += [
        f"--only {name}: {sizes.tasks} tasks of at most {sizes.lessons} lessons and {sizes.documents} documents"
        for name in chosen.sets
    ]
    if (single := chosen.acquisition) is not None:
        told.append(
            f"--only {ACQUISITION}: {single.probes} facts, asked for up to {single.further[-1]:,} updates after their "
            f"own, in {', '.join(single.sets)}"
        )
    if (serving := chosen.serving) is not None:
        told.append(
            f"--only {SERVING}: {serving.memories:,} memories, asked all the time, while their encoder learns "
            f"{serving.batches} batches and {serving.facts} single facts; by a LoRA, by a query map"
        )
    if experiment.wall_minutes is not None and experiment.size == "default":
        told.append(f"took {experiment.wall_minutes:g} minutes on {experiment.machine or 'its author’s machine'}")
    return "\n".join(told)


@dataclass
class _Run:
    experiment: AdaptationExperiment
    reporter: Reporter

    @cached_property
    def encoder(self) -> Encoder:
        encoder = tunable(open_encoder(self.experiment.encoder))
        return encoder if self.experiment.device == "auto" else encoder.on(self.experiment.device)

    @cached_property
    def device(self) -> str:
        """What ``auto`` has come to on this machine."""
        from sentence_transformers.util import get_device_name  # noqa: PLC0415 -- slow to import

        return str(get_device_name()) if self.experiment.device == "auto" else self.experiment.device

    def part(self, part: str, pieces: Piecewise) -> None:
        if part == SERVING:
            self._serving(pieces)
            return
        for seed in range(self.experiment.chosen.seeds):
            if part == ACQUISITION:
                self._single_updates(pieces, seed)
            else:
                self._set(part, pieces, seed)

    def _set(self, name: str, pieces: Piecewise, seed: int) -> None:
        chosen = self.experiment.chosen
        sequence = sequence_of(name, sizes=chosen.sizes.sizes(), seed=seed)
        asked = Asked.of(sequence)
        known = Known(self.encoder, asked)
        pieces.piece(
            f"{name}.{seed}.questions", {"sequence": sequence.key}, lambda _: (asked.arrays(), _facts(sequence))
        )
        for arm in chosen.arms:
            followed = f"{name}.{seed}.{FOLLOWS[arm]}" if arm in FOLLOWS else None
            setting = Setting(
                self.encoder,
                known,
                sequence,
                self.experiment.learning.learning(),
                seed=seed,
                followed=None if followed is None else pieces.folder.arrays(followed),
                variants=self.experiment.variants.variants(),
            )
            spec = self._spec(sequence, seed) | {
                "arm": arm,
                "followed": None if followed is None else pieces.folder.piece(followed).key,
            }
            if arm in VARIES:
                spec["variants"] = self.experiment.variants.model_dump(mode="json", include=set(VARIES[arm]))

            def measure(_: Path, arm: str = arm, setting: Setting = setting) -> Measured:
                self.reporter.stage(f"{name}, seed {seed}: {arm}", len(sequence.tasks))
                return run_stream(setting, ARMS[arm], asked, known, advance=self.reporter.advance)

            pieces.piece(f"{name}.{seed}.{arm}", spec, measure)

    def _single_updates(self, pieces: Piecewise, seed: int) -> None:
        config = self.experiment.chosen.acquisition
        assert config is not None
        for name in config.sets:
            sequence = sequence_of(name, sizes=config.sizes(), seed=seed)
            told = config.model_dump(mode="json", exclude={"sets", "own_steps"})

            def measure(_: Path, steps: int, sequence: TaskSequence = sequence) -> Measured:
                what = f"single updates of {sequence.name}, seed {seed}"
                what += f", {steps} steps for a fact’s own" if steps > 1 else ""
                self.reporter.stage(what, len(planned(sequence, config, seed=seed).updates))
                arrays = measure_acquisition(
                    self.encoder,
                    sequence,
                    config,
                    self.experiment.learning.learning(),
                    steps=steps,
                    seed=seed,
                    advance=self.reporter.advance,
                )
                return arrays, _facts(sequence)

            for steps in config.own_steps:
                spec = self._spec(sequence, seed) | {"config": told | {"own_steps": steps}}
                pieces.piece(f"{ACQUISITION}.{name}.{seed}.{steps}", spec, partial(measure, steps=steps))

    def _serving(self, pieces: Piecewise) -> None:
        config, learning = self.experiment.chosen.serving, self.experiment.learning.learning()
        assert config is not None
        for seed in range(config.seeds):
            sequence = sequence_of(config.set, sizes=sizes_of(config), seed=seed)
            material = material_of(sequence, config, seed=seed)
            for how, adapter in adapters(learning, seed=seed).items():
                told = config.model_dump(mode="json", exclude={"seeds"})
                spec = self._spec(sequence, seed) | {"config": told, "how": how}

                def measure(
                    scratch: Path, how: str = how, adapter: Any = adapter, material: Any = material, seed: int = seed
                ) -> Measured:
                    self.reporter.stage(f"an engine serves and learns: {how}, seed {seed}", 1)
                    found = in_a_process(
                        measure_serving, self.encoder, material, config, adapter, learning.beside, str(scratch), seed
                    )
                    self.reporter.advance()
                    return found

                pieces.piece(f"{SERVING}.{how}.{seed}", spec, measure)

    def _spec(self, sequence: TaskSequence, seed: int) -> dict[str, Any]:
        experiment = self.experiment
        return {
            "sequence": sequence.key,
            "encoder": self.encoder.fingerprint,
            "device": self.device,
            "libraries": {name: version(name) for name in ("peft", "transformers")},
            "learning": experiment.learning.model_dump(mode="json"),
            "recipes": {
                "lora": asdict(experiment.learning.learning().recipe(seed=seed)),
                "query_map": asdict(QueryAdapter(seed=seed)),
            },
            "seed": seed,
        }


def _facts(sequence: TaskSequence) -> dict[str, Any]:
    return {
        "sequence": sequence.name,
        "language": sequence.language,
        "tasks": [task.name for task in sequence.tasks],
        "lessons": [len(task.lessons) for task in sequence.tasks],
        "documents": len(sequence.documents),
        "general": sequence.general.name,
        "general_documents": len(sequence.general.documents),
        "near_duplicates": sequence.near_duplicates,
    }


def _names(experiment: AdaptationExperiment) -> Iterator[str]:
    """The names of all pieces."""
    chosen = experiment.chosen
    for name in chosen.sets:
        for seed in range(chosen.seeds):
            yield from (f"{name}.{seed}.{what}" for what in ("questions", *chosen.arms))
    if chosen.acquisition is not None:
        for seed in range(chosen.seeds):
            single = chosen.acquisition
            yield from (f"{ACQUISITION}.{name}.{seed}.{steps}" for name in single.sets for steps in single.own_steps)
    if chosen.serving is not None:
        for seed in range(chosen.serving.seeds):
            yield from (f"{SERVING}.{how}.{seed}" for how in adapters(experiment.learning.learning(), seed=seed))
