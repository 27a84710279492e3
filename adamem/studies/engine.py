"""The study of the memory engine as a whole: what it finds, how long that takes, what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamem.bench import Reporter, validate
from adamem.bench.engine import EngineExperiment, engine_forecast, run_engine
from adamem.bench.engine.runner import parts
from adamem.errors import UnknownName


class EngineStudy:
    """`adamem run` on a config with ``study = "engine"``."""

    name: ClassVar[str] = "engine"
    summary: ClassVar[str] = "evidence found by vectors, words and both, over several indexes; latency, retention, size"

    def __init__(self, experiment: EngineExperiment, *, source: str, only: tuple[str, ...] | None = None) -> None:
        self.experiment = experiment
        self.source = source
        self.only = only

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> EngineStudy:
        """See `adamem.bench.engine.EngineExperiment` for the tables."""
        return cls(validate(EngineExperiment, tables, source=source), source=source)

    @property
    def folder_name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    def part(self, keys: Sequence[str]) -> EngineStudy:
        """Only these sets or studies."""
        known = parts(self.experiment)
        for key in keys:
            if key not in known:
                raise UnknownName.of("part of this experiment", key, known)
        return EngineStudy(self.experiment, source=self.source, only=tuple(key for key in known if key in keys))

    def forecast(self, *, reporter: Reporter) -> str:  # noqa: ARG002 -- nothing needs to be measured to say this
        """The parts, and what they took where they were measured."""
        return engine_forecast(self.experiment, source=self.source)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One part after the other."""
        return run_engine(self.experiment, out, only=self.only, reporter=reporter, done=done)
