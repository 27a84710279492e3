"""The command line."""

from adamem.cli.entry import adapmem, main

__all__ = ["adapmem", "main"]
