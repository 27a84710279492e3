"""Raw results -> tables, figures, report.md and report.html."""

from adamem.report.terminal import summary
from adamem.report.writing import page, render, write

__all__ = ["page", "render", "summary", "write"]
