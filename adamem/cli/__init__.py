"""The command line."""

from adamem.cli.entry import main

__all__ = ["main"]
