"""The study of an index whose vectors are the old encoder's: what is lost, what bridges buy, what is the index's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from adamem.bench import Reporter
from adamem.bench.drift.config import DriftExperiment
from adamem.bench.drift.runner import drift_forecast, parts, run_drift
from adamem.studies.sized import SizedStudy


class DriftStudy(SizedStudy[DriftExperiment]):
    """`adamem run` on a config with ``study = "drift"``."""

    name: ClassVar[str] = "drift"
    summary: ClassVar[str] = (
        "an index of the old encoder's vectors asked by the new one: what is lost, what bridges buy, whose loss it is"
    )
    experiments: ClassVar[type[DriftExperiment]] = DriftExperiment

    def parts(self) -> Sequence[str]:
        """Its sets, and what else it measures."""
        return parts(self.experiment)

    def forecast(self, *, reporter: Reporter) -> str:  # noqa: ARG002 -- nothing needs to be measured to say this
        """The parts, and what the default size took where it was measured."""
        return drift_forecast(self.experiment)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One part after the other."""
        return run_drift(self.experiment, out, only=self.only, reporter=reporter, done=done)
