"""The memory engine: facts outside the context window, on disk, and the few that matter for a query."""

from adamem.memory.aio import AsyncMemoryEngine
from adamem.memory.drafts import NewMemory
from adamem.memory.engine import DEFAULT_NAMESPACE, MemoryEngine
from adamem.memory.fusion import Fusion, Weighting
from adamem.memory.records import (
    Adapted,
    Added,
    Context,
    Defragmented,
    Hit,
    Imported,
    Json,
    LearningTimings,
    Memory,
    Namespace,
    Stats,
    Timings,
    Version,
)
from adamem.memory.tutor import LearningPlan

__all__ = [
    "DEFAULT_NAMESPACE",
    "Adapted",
    "Added",
    "AsyncMemoryEngine",
    "Context",
    "Defragmented",
    "Fusion",
    "Hit",
    "Imported",
    "Json",
    "LearningPlan",
    "LearningTimings",
    "Memory",
    "MemoryEngine",
    "Namespace",
    "NewMemory",
    "Stats",
    "Timings",
    "Version",
    "Weighting",
]
