"""The main study: how fast and how right indexes are over grids of builds and efforts, on one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamem.bench import Experiment, Reporter, forecast, run_experiment, validate
from adamem.errors import ConfigError


class SweepStudy:
    """`adamem run` on a config without ``study``, and `adamem compare`."""

    name: ClassVar[str] = "sweep"
    summary: ClassVar[str] = "recall, speed, build time and memory of indexes over grids of parameters"

    def __init__(self, experiment: Experiment, *, source: str) -> None:
        self.experiment = experiment
        self.source = source

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> SweepStudy:
        """See `adamem.bench.Experiment` for the tables."""
        return cls(validate(Experiment, tables, source=source), source=source)

    @property
    def folder_name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    def forecast(self, *, reporter: Reporter) -> str:
        """The plan, and its cost from a probe on a small sample."""
        return forecast(self.experiment, source=self.source, reporter=reporter)

    def part(self, keys: Sequence[str]) -> SweepStudy:
        """It is one piece."""
        raise ConfigError(
            f"{self.source}: has one data set and no pieces, so {keys[0]!r} is none of them; leave out --only"
        )

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """Both stages."""
        folder = run_experiment(self.experiment, out, source=self.source, reporter=reporter)
        done(folder)
        return folder
