"""The memory engine: facts outside the context window, on disk, and the few that matter for a query."""

from adamem.memory.drafts import NewMemory
from adamem.memory.engine import DEFAULT_NAMESPACE, MemoryEngine
from adamem.memory.records import Added, Hit, Json, Memory

__all__ = ["DEFAULT_NAMESPACE", "Added", "Hit", "Json", "Memory", "MemoryEngine", "NewMemory"]
