"""Time that several stretches of work took together."""

from __future__ import annotations

import time


class Stopwatch:
    """``with stopwatch:`` adds to its seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun
