"""One module a command; importing this registers them all."""

from adamem.cli.commands import compare, data, diff, index, memory, report, run, verify

__all__ = ["compare", "data", "diff", "index", "memory", "report", "run", "verify"]
