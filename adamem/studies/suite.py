"""Several sweeps as one: the same contestants on several data sets, or on several sizes of one, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamem.bench import Experiment, Reporter, Suite, begin_suite, experiments_of, forecast, run_experiment, validate
from adamem.bench.suite import check, some_of
from adamem.errors import AdaMemError, StorageError, TrialFailed


class SuiteStudy:
    """`adamem run` on a config with ``study = "suite"``."""

    name: ClassVar[str] = "suite"
    summary: ClassVar[str] = "the same sweep on several data sets, or sizes of one, with an overview"

    def __init__(self, suite: Suite, experiments: Mapping[str, Experiment], *, source: str) -> None:
        self.suite = suite
        self.experiments = dict(experiments)
        self.source = source

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> SuiteStudy:
        """See `adamem.bench.Suite` for the tables."""
        suite = validate(Suite, tables, source=source)
        return cls(suite, experiments_of(suite, source=source), source=source)

    @property
    def folder_name(self) -> str:
        """The suite's name."""
        return self.suite.name

    def part(self, keys: Sequence[str]) -> SuiteStudy:
        """Only these data sets; the overview still knows of all."""
        return SuiteStudy(self.suite, some_of(self.experiments, list(keys)), source=self.source)

    def forecast(self, *, reporter: Reporter) -> str:
        """Each data set's forecast; one that is not on this machine is said to be absent."""
        check(self.experiments, source=self.source)
        told = []
        for key, experiment in self.experiments.items():
            try:
                said = forecast(experiment, source=self.source, reporter=reporter)
            except StorageError as error:
                said = f"{experiment.title}\ncannot be run: {error}"
            told.append(f"--only {key}\n{said}")
        return "\n\n".join(told)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One data set after the other, then the overview.

        A data set that fails, or is not on this machine, does not keep the others from being measured; the error that
        says so comes at the end.
        """
        check(self.experiments, source=self.source)
        begin_suite(out, self.suite)
        failed: dict[str, AdaMemError] = {}
        for number, (key, experiment) in enumerate(self.experiments.items(), start=1):
            reporter.say(f"data set {number} of {len(self.experiments)}: {key}")
            try:
                done(run_experiment(experiment, out / key, source=self.source, reporter=reporter))
            except AdaMemError as error:
                failed[key] = error
                reporter.say(f"{key}: {error}")
        done(out)
        if failed:
            told = "; ".join(f"{key}: {error}" for key, error in failed.items())
            raise TrialFailed(f"{len(failed)} of {len(self.experiments)} data sets could not be measured: {told}")
        return out
