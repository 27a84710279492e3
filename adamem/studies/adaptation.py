"""The study of an encoder that learns from updates: what it gains, what it forgets, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from adamem.bench import Reporter
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.runner import adaptation_forecast, parts, run_adaptation
from adamem.studies.sized import SizedStudy


class AdaptationStudy(SizedStudy[AdaptationExperiment]):
    """`adamem run` on a config with ``study = "adaptation"``."""

    name: ClassVar[str] = "adaptation"
    summary: ClassVar[str] = (
        "what an encoder that learns from updates gains and forgets, against controls; what it costs"
    )
    experiments: ClassVar[type[AdaptationExperiment]] = AdaptationExperiment

    def parts(self) -> Sequence[str]:
        """Its sets, and what else it measures."""
        return parts(self.experiment)

    def forecast(self, *, reporter: Reporter) -> str:  # noqa: ARG002 -- nothing needs to be measured to say this
        """The parts, and what the default size took where it was measured."""
        return adaptation_forecast(self.experiment)

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """One part after the other."""
        return run_adaptation(self.experiment, out, only=self.only, reporter=reporter, done=done)
