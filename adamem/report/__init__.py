"""Raw results -> tables, figures, report.md, report.html; whether a report follows from its raw files; two runs compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["render", "summary", "write"]


def write(path: Path) -> Path:
    """Write the report of the run in the folder `path`; returns the path of report.html (see `adamem.report.writing`)."""
    from adamem.report.writing import write as door

    return door(path)


def render(path: Path) -> dict[str, bytes]:
    """Every text file of that report by name, as `write` writes it (see `adamem.report.writing`)."""
    from adamem.report.writing import render as door

    return door(path)


def summary(path: Path) -> Any:
    """The answer, the result table and the exact-search sentence, for `rich` to print."""
    from adamem.report.terminal import summary as door

    return door(path)
