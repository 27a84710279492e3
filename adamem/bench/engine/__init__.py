"""The memory engine as its users meet it: what it finds, how long that takes, and what it holds.

A sweep measures indexes; this measures the whole engine, from the words of a question to the memories that come back,
on texts whose evidence people have marked.
"""

from adamem.bench.engine.config import EngineExperiment
from adamem.bench.engine.records import EngineFolder, EngineRun, is_engine
from adamem.bench.engine.runner import engine_forecast, run_engine

__all__ = ["EngineExperiment", "EngineFolder", "EngineRun", "engine_forecast", "is_engine", "run_engine"]
