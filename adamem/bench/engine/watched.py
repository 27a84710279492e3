"""Time that work took, put among other facts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def timed(facts: dict[str, Any], name: str) -> Iterator[None]:
    """Add the seconds of the block to the fact of that name, which begins at 0."""
    begun = time.perf_counter()
    yield
    facts[name] = facts.get(name, 0.0) + time.perf_counter() - begun
