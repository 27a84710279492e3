"""AdaMem: vector indexes as the long-term memory of language-model agents, compared on real data.

This is the library's door. Names are loaded when they are first used (PEP 562): importing adamem imports nothing else.

>>> import numpy as np
>>> from adamem import index_class
>>> vectors = np.eye(3, dtype=np.float32)
>>> index = index_class("exact").build(vectors, np.arange(3), metric="cosine")
>>> index.search(vectors[1], k=1).ids.tolist()
[[1]]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamem.data import Dataset, dataset_names, exact_neighbours, load
    from adamem.encoders import Encoder, encoder_names, open_encoder
    from adamem.errors import AdaMemError
    from adamem.index import (
        Capabilities,
        IdFilter,
        Index,
        IndexBase,
        Param,
        SearchResult,
        index_class,
        index_names,
    )
    from adamem.memory import AsyncMemoryEngine, Hit, Memory, MemoryEngine, NewMemory

__version__ = "0.1.0"

__all__ = [
    "AdaMemError",
    "AsyncMemoryEngine",
    "Capabilities",
    "Dataset",
    "Encoder",
    "Hit",
    "IdFilter",
    "Index",
    "IndexBase",
    "Memory",
    "MemoryEngine",
    "NewMemory",
    "Param",
    "SearchResult",
    "__version__",
    "dataset_names",
    "encoder_names",
    "exact_neighbours",
    "index_class",
    "index_names",
    "load",
    "open_encoder",
]

_HOMES = {
    "adamem.data": ("Dataset", "dataset_names", "exact_neighbours", "load"),
    "adamem.encoders": ("Encoder", "encoder_names", "open_encoder"),
    "adamem.errors": ("AdaMemError",),
    "adamem.index": (
        "Capabilities", "IdFilter", "Index", "IndexBase", "Param", "SearchResult", "index_class", "index_names",
    ),
    "adamem.memory": ("AsyncMemoryEngine", "Hit", "Memory", "MemoryEngine", "NewMemory"),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
