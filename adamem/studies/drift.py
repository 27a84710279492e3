"""The study of an index whose vectors are the old encoder's: what is lost, what bridges buy, what is the index's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamem.bench import Reporter, validate
from adamem.bench.adaptation.config import SizeName
from adamem.bench.drift.config import DriftExperiment
from adamem.bench.drift.runner import drift_forecast, parts, run_drift
from adamem.errors import UnknownName


class DriftStudy:
    """`adamem run` on a config with ``study = "drift"``."""

    name: ClassVar[str] = "drift"
    summary: ClassVar[str] = (
        "an index of the old encoder's vectors asked by the new one: what is lost, what bridges buy, whose loss it is"
    )

    def __init__(self, experiment: DriftExperiment, *, source: str, only: tuple[str, ...] | None = None) -> None:
        self.experiment = experiment
        self.source = source
        self.only = only

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> DriftStudy:
        """See `adamem.bench.drift.config.DriftExperiment` for the tables."""
        return cls(validate(DriftExperiment, tables, source=source), source=source)

    @property
    def folder_name(self) -> str:
        """The experiment's name, which has its size in it where that is not the default."""
        return self.experiment.name

    def sized(self, size: SizeName) -> DriftStudy:
        """The same in another size, into a folder of its own. Raises `InvalidInput` if there is no table for it."""
        return DriftStudy(self.experiment.sized(size), source=self.source, only=self.only)

    def part(self, keys: Sequence[str]) -> DriftStudy:
        """Only these sets."""
        known = parts(self.experiment)
        for key in keys:
            if key not in known:
                raise UnknownName.of("part of this experiment", key, known)
        return DriftStudy(self.experiment, source=self.source, only=tuple(key for key in known if key in keys))

    def forecast(self, *, reporter: Reporter) -> str:  # noqa: ARG002 -- nothing needs to be measured to say this
        """The parts, and what the default size took where it was measured."""
        return drift_forecast(self.experiment)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One part after the other."""
        return run_drift(self.experiment, out, only=self.only, reporter=reporter, done=done)
