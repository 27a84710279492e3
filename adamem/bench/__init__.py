"""The methodology: config -> plan -> workers in fresh processes -> raw results -> metrics and statistics."""

from adamem.bench.config import ContestantConfig, DatasetConfig, Experiment, MeasureConfig
from adamem.bench.context import Reporter
from adamem.bench.forecast import forecast
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
