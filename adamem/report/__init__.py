"""Raw results -> tables, figures, report.md and report.html."""

from adamem.report.terminal import summary
from adamem.report.writing import render, write

__all__ = ["render", "summary", "write"]
