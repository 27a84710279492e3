"""The study of an encoder that learns from updates: what it gains, what it forgets, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamem.bench import Reporter, validate
from adamem.bench.adaptation.config import AdaptationExperiment, SizeName
from adamem.bench.adaptation.runner import adaptation_forecast, parts, run_adaptation
from adamem.errors import UnknownName


class AdaptationStudy:
    """`adamem run` on a config with ``study = "adaptation"``."""

    name: ClassVar[str] = "adaptation"
    summary: ClassVar[str] = (
        "what an encoder that learns from updates gains and forgets, against controls; what it costs"
    )

    def __init__(self, experiment: AdaptationExperiment, *, source: str, only: tuple[str, ...] | None = None) -> None:
        self.experiment = experiment
        self.source = source
        self.only = only

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> AdaptationStudy:
        """See `adamem.bench.adaptation.config.AdaptationExperiment` for the tables."""
        return cls(validate(AdaptationExperiment, tables, source=source), source=source)

    @property
    def folder_name(self) -> str:
        """The experiment's name, which has its size in it where that is not the default."""
        return self.experiment.name

    def sized(self, size: SizeName) -> AdaptationStudy:
        """The same in another size, into a folder of its own. Raises `InvalidInput` if there is no table for it."""
        return AdaptationStudy(self.experiment.sized(size), source=self.source, only=self.only)

    def part(self, keys: Sequence[str]) -> AdaptationStudy:
        """Only these sequences, or the single updates."""
        known = parts(self.experiment)
        for key in keys:
            if key not in known:
                raise UnknownName.of("part of this experiment", key, known)
        return AdaptationStudy(self.experiment, source=self.source, only=tuple(key for key in known if key in keys))

    def forecast(self, *, reporter: Reporter) -> str:  # noqa: ARG002 -- nothing needs to be measured to say this
        """The parts, and what the default size took where it was measured."""
        return adaptation_forecast(self.experiment)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One part after the other."""
        return run_adaptation(self.experiment, out, only=self.only, reporter=reporter, done=done)
