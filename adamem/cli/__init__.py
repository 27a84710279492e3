"""The command line."""

from adamem.cli.app import main

__all__ = ["main"]
