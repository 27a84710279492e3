"""What a person sees while work goes on: a bar with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

errors = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and errors; results go to standard output, so that they can be piped."""
output = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

_LINE_EVERY_SECONDS = 20.0


class TerminalReporter:
    """An `adamem.bench.Reporter` for people. Use it as a context manager."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("[dim]{task.fields[now]}"),
            console=errors,
            transient=False,
            speed_estimate_period=600.0,
        )
        self._plain = not errors.is_terminal
        self._task: TaskID | None = None
        self._stage = ""
        self._total = self._done = 0.0
        self._began = self._told = 0.0

    def __enter__(self) -> Self:
        if not self._plain:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._plain:
            self._bar.stop()

    def stage(self, what: str, total: float) -> None:
        """A new stretch of work begins."""
        self._stage, self._total, self._done = what, total, 0.0
        self._began = self._told = time.monotonic()
        if self._plain:
            errors.print(what)
            return
        if self._task is not None:
            self._bar.update(self._task, now="")
            self._bar.stop_task(self._task)
        self._task = self._bar.add_task(what, total=total or 1.0, completed=0 if total else 1, now="")

    def now(self, what: str) -> None:
        """What is being done at this moment."""
        if self._task is not None:
            self._bar.update(self._task, now=what)

    def advance(self, steps: float = 1.0) -> None:
        """So many steps are done."""
        self._done += steps
        if self._task is not None:
            self._bar.advance(self._task, steps)
        now = time.monotonic()
        if self._plain and self._total and now - self._told > _LINE_EVERY_SECONDS:
            self._told = now
            left = (now - self._began) * max(self._total - self._done, 0.0) / max(self._done, 1e-9)
            errors.print(f"  {self._done:.0f} of {self._total:.0f}, about {left:.0f} s left in this stage")

    def say(self, sentence: str) -> None:
        """Something worth a line of its own."""
        (errors if self._plain else self._bar.console).print(f"note: {sentence}")
