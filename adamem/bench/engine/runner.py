"""A run on the engine, piece by piece: what is whole is never measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.context import Reporter, alone_in
from adamem.bench.engine import evidence, scores
from adamem.bench.engine.answers import load_answered, measure_answers
from adamem.bench.engine.config import EngineContestant, EngineExperiment, SetConfig
from adamem.bench.engine.records import FILE, EngineFolder, Piece
from adamem.bench.engine.retention import load_stream, measure_retention
from adamem.bench.engine.scale import INDEX, in_a_process, measure_namespaces, measure_scale
from adamem.bench.engine.sets import EvidenceSet, encoder_for, load_set
from adamem.bench.load import progress_of
from adamem.bench.piecewise import Measured, Piecewise, refuse_foreign
from adamem.data import card, dataset_names, load, locate
from adamem.encoders import Encoder, open_encoder
from adamem.errors import ConfigError
from adamem.index import check_params, index_class
from adamem.memory import Fusion
from adamem.memory.indexed import index_kind
from adamem.types import ParamValue


def run_engine(
    experiment: EngineExperiment,
    out: Path,
    *,
    only: tuple[str, ...] | None,
    reporter: Reporter,
    done: Callable[[Path], object],
) -> Path:
    """Run, or go on with, an experiment into the folder `out`; returns it.

    `only` are the keys of parts (see `parts`), or None for all; `done` is told after each. A set that is not on this
    machine does not keep the others from being measured; the error that says so comes at the end.
    """
    check(experiment, source=str(out))
    refuse_foreign(EngineFolder(out), experiment.name)
    with alone_in(out) as scratch:
        _Run(experiment, out, scratch, reporter).all(parts(experiment) if only is None else only, done)
    return out


def parts(experiment: EngineExperiment) -> tuple[str, ...]:
    """What a run consists of: the sets' keys, and the other studies."""
    others = ("answers", "retention", "scale", "namespaces")
    return (*(one.key for one in experiment.set), *(name for name in others if getattr(experiment, name) is not None))


def check(experiment: EngineExperiment, *, source: str) -> None:
    """Look at every index and parameter before anything takes long. Raises `UnknownName`, `InvalidInput`."""
    for one in experiment.contestant:
        cls = index_class(one.index)
        if "cosine" not in cls.capabilities.metrics:
            raise ConfigError(f"{source}: contestant[{one.name!r}].index = {one.index!r} does not compare by cosine")
        check_params(one.build, cls.build_params, index=one.index, stage="build")
        check_params(one.search, cls.search_params, index=one.index, stage="search")


def engine_forecast(experiment: EngineExperiment, *, source: str) -> str:
    """What a run would do, in words."""
    check(experiment, source=source)
    names = ", ".join(one.name for one in experiment.contestant)
    told = [experiment.title, f"embedded by {experiment.encoder}; underneath: {names}"]
    for one in experiment.set:
        there = "" if one.dataset not in dataset_names() or _is_here(one.dataset) else "; not on this machine"
        told.append(f"--only {one.key}: {one.dataset}, up to {one.queries:,} test queries{there}")
    told += [f"--only {name}" for name in parts(experiment)[len(experiment.set) :]]
    if experiment.wall_minutes is not None:
        told.append(f"took {experiment.wall_minutes:g} minutes on {experiment.machine or 'its author’s machine'}")
    return "\n".join(told)


def _is_here(name: str) -> bool:
    return locate(card(name)) is not None


@dataclass
class _Run:
    experiment: EngineExperiment
    out: Path
    scratch: Path
    reporter: Reporter

    def __post_init__(self) -> None:
        self.folder = EngineFolder(self.out)
        self._encoder: Encoder | None = None
        self._pieces = Piecewise(
            self.folder,
            self.experiment,
            list(_names(self.experiment)),
            scratch=self.scratch,
            reporter=self.reporter,
            holds=_of_now,
        )
        self._piece = self._pieces.piece

    @property
    def encoder(self) -> Encoder:
        if self._encoder is None:
            self._encoder = open_encoder(self.experiment.encoder)
        return self._encoder

    def all(self, wanted: tuple[str, ...], done: Callable[[Path], object]) -> None:
        whole = len(wanted) == len(parts(self.experiment))
        self._pieces.parts(wanted, self._part, done=done, whole=whole)

    def _part(self, part: str) -> None:
        experiment = self.experiment
        config = next((one for one in experiment.set if one.key == part), None)
        if config is not None:
            self._set(config)
        elif part == "answers":
            self._answers()
        elif part == "retention":
            self._retention()
        elif part == "scale":
            assert experiment.scale is not None
            for size in experiment.scale.sizes:
                spec = {"config": experiment.scale.model_dump(mode="json"), "size": size, "seed": experiment.seed}
                spec |= {"encoder": experiment.encoder, "kind": _kind(INDEX)}
                self._piece(f"scale.{size}", spec, partial(self._scale, size))
        else:
            assert experiment.namespaces is not None
            config_ = experiment.namespaces
            spec = {"config": config_.model_dump(mode="json"), "seed": experiment.seed, "kind": _kind(INDEX)}
            self._piece(
                "namespaces",
                spec,
                lambda folder: in_a_process(measure_namespaces, config_, str(folder), experiment.seed),
            )

    # -- one kind of piece after the other -----------------------------------------------------------------------------

    def _set(self, config: SetConfig) -> None:
        data = load_set(config, self.encoder, seed=self.experiment.seed, reporter=self.reporter)
        base: dict[str, Any] = {"set": data.key, "encoder": self.encoder.fingerprint}
        qrels = data.texts.qrels

        def questions(_: Path) -> Measured:
            facts = {
                "rows": len(data.texts.rows),
                "queries": len(data.texts.queries),
                "scopes": 1 if data.texts.scopes is None else len(set(data.texts.scopes.rows)),
                "ordered": data.texts.orders is not None,
                "words": float(np.median([len(text.split()) for text in data.texts.rows])),
                "provenance": data.texts.provenance,
            }
            arrays = {
                "test": data.test,
                "development": data.development,
                "query": qrels.query,
                "document": qrels.document,
                "grade": qrels.grade,
                "document_of_row": qrels.document_of_row,
                "shared": data.shared(data.test),
            }
            return arrays, facts

        self._piece(f"{config.key}.questions", base, questions)
        first = self.experiment.contestant[0]
        spec = base | _under(first)
        self._piece(f"{config.key}.development", spec, partial(self._development, data, first))
        tuned = self._tuned(config.key)
        for number, one in enumerate(self.experiment.contestant):
            encoded = 0 if number else self.experiment.encoded
            spec = base | _under(one) | {"encoded": encoded}
            spec |= {"tuned": _told(tuned), "default": _told(Fusion())}
            self._piece(f"{config.key}.{one.name}", spec, partial(self._test, data, one, tuned, number == 0))

    def _development(self, data: EvidenceSet, one: EngineContestant, folder: Path) -> Measured:
        self.reporter.stage(f"{data.config.key}: the development queries", data.development.size)
        remembering = evidence.Remembering(folder / "memory.db", self.encoder, one)
        with remembering.engine:
            return evidence.development(data, remembering, advance=self.reporter.advance), {}

    def _test(self, data: EvidenceSet, one: EngineContestant, tuned: Fusion, first: bool, folder: Path) -> Measured:
        self.reporter.stage(f"{data.config.key}: {data.test.size:,} queries over {one.name}", data.test.size)
        remembering = evidence.Remembering(folder / "memory.db", self.encoder, one)
        with remembering.engine:
            arrays = evidence.test(
                data,
                remembering,
                evidence.modes(tuned, all_of_them=first),
                encoded=self.experiment.encoded if first else 0,
                advance=self.reporter.advance,
            )
            return arrays, remembering.facts()

    def _tuned(self, key: str) -> Fusion:
        """The fusion that does best on a set's development queries."""
        asked = self.folder.arrays(f"{key}.questions")
        qrels = scores.judgements(asked, asked["development"])
        return scores.best(scores.candidates(self.folder.arrays(f"{key}.development"), qrels)).fusion

    def _answers(self) -> None:
        config = self.experiment.answers
        assert config is not None
        answered = load_answered(config, seed=self.experiment.seed)
        first = self.experiment.contestant[0]
        spec = {"answered": answered.key, "encoder": self.encoder.fingerprint, **_under(first)}

        def measure(folder: Path) -> Measured:
            arrays = measure_answers(answered, self.encoder, first, folder, reporter=self.reporter)
            shown = {"question": answered.questions[0], "reworded": answered.others[0]}
            return arrays, {"dataset": config.dataset, "questions": len(answered.questions), "example": shown}

        self._piece("answers", spec, measure)

    def _retention(self) -> None:
        config = self.experiment.retention
        assert config is not None
        with progress_of(self.reporter) as bar:
            stream = load_stream(config, self.encoder, seed=self.experiment.seed, progress=bar)
        for one in self.experiment.contestant:
            spec = {"stream": stream.key, **_under(one), "stages": sorted(config.stages)}

            def measure(folder: Path, one: EngineContestant = one) -> Measured:
                steps = len(config.stages) * stream.queries.shape[0]
                self.reporter.stage(f"retention: {one.name}", steps)
                arrays = measure_retention(
                    stream, config, self.encoder, one, folder / "memory.db", advance=self.reporter.advance
                )
                return arrays, {"dataset": config.dataset, "memories": int(stream.order.size)}

            self._piece(f"retention.{one.name}", spec, measure)

    def _scale(self, size: int, folder: Path) -> Measured:
        config = self.experiment.scale
        assert config is not None
        self.reporter.stage(f"{size:,} memories", 1)
        with progress_of(self.reporter) as bar:
            # Makes the vectors, if need be, before the process is watched.
            load(config.dataset, encoder=encoder_for(config.dataset, self.encoder), limit=size, progress=bar)
        return in_a_process(measure_scale, config, size, self.experiment.encoder, str(folder), self.experiment.seed)


def _of_now(piece: Piece) -> bool:
    """Whether a piece was measured over an index that the engine asks as it does by now."""
    if "kind" not in piece.spec:
        return True
    under = piece.spec.get("contestant", {"index": INDEX, "build": {}, "search": {}})
    return bool(piece.spec["kind"] == _kind(under["index"], under["build"], under["search"]))


def _names(experiment: EngineExperiment) -> Iterator[str]:
    """The names of all pieces."""
    names = [one.name for one in experiment.contestant]
    for one in experiment.set:
        yield from (f"{one.key}.{what}" for what in ("questions", "development", *names))
    if experiment.answers is not None:
        yield "answers"
    if experiment.retention is not None:
        yield from (f"retention.{name}" for name in names)
    if experiment.scale is not None:
        yield from (f"scale.{size}" for size in experiment.scale.sizes)
    if experiment.namespaces is not None:
        yield "namespaces"


def _under(one: EngineContestant) -> dict[str, Any]:
    """What a piece depends on of its contestant: what the config says, and what the engine makes of it."""
    return {"contestant": one.model_dump(mode="json"), "kind": _kind(one.index, one.build, one.search)}


def _kind(
    index: str, build: Mapping[str, ParamValue] | None = None, search: Mapping[str, ParamValue] | None = None
) -> dict[str, Any]:
    """An index with every parameter that it is built and asked with, the engine's defaults and its own filled in."""
    kind, cls = index_kind(index, build, search), index_class(index)
    return {
        "index": kind.name,
        "build": check_params(kind.build, cls.build_params, index=index, stage="build"),
        "search": check_params(kind.search, cls.search_params, index=index, stage="search"),
    }


def _told(fusion: Fusion) -> dict[str, Any]:
    return {"kind": fusion.kind, "vector": fusion.vector, "lexical": fusion.lexical}


__all__ = ["FILE", "check", "engine_forecast", "parts", "run_engine"]
