"""The methodology: config -> plan -> workers in fresh processes -> raw results -> metrics and statistics.

Names are loaded when they are first used (PEP 562): a worker lives in this package, and the process that is measured
shall carry nothing that it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamem.bench.config import ContestantConfig, DatasetConfig, Experiment, MeasureConfig
    from adamem.bench.context import Reporter
    from adamem.bench.estimate import forecast
    from adamem.bench.load import progress_of
    from adamem.bench.plan import sweep_grid
    from adamem.bench.runner import run_experiment
    from adamem.bench.store import Measured, RunFolder
    from adamem.bench.suite import Suite, begin_suite, experiments_of
    from adamem.bench.toml import override, read, validate

__all__ = [
    "ContestantConfig",
    "DatasetConfig",
    "Experiment",
    "MeasureConfig",
    "Measured",
    "Reporter",
    "RunFolder",
    "Suite",
    "begin_suite",
    "experiments_of",
    "forecast",
    "override",
    "progress_of",
    "read",
    "run_experiment",
    "sweep_grid",
    "validate",
]

_HOMES = {
    "adamem.bench.config": ("ContestantConfig", "DatasetConfig", "Experiment", "MeasureConfig"),
    "adamem.bench.context": ("Reporter",),
    "adamem.bench.estimate": ("forecast",),
    "adamem.bench.load": ("progress_of",),
    "adamem.bench.plan": ("sweep_grid",),
    "adamem.bench.runner": ("run_experiment",),
    "adamem.bench.store": ("Measured", "RunFolder"),
    "adamem.bench.suite": ("Suite", "begin_suite", "experiments_of"),
    "adamem.bench.toml": ("override", "read", "validate"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
