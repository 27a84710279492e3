"""The library that an adapter stands for, or a sentence that says how to get it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from adamem.errors import MissingExtra


def library(module: str, *, extra: str = "peers") -> Any:
    """The imported module, untyped: none of these libraries ships whole types. The extra is the one that brings it.

    Raises
    ------
    MissingExtra
        with the line that installs it, if it is absent.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise _missing(error.name or str(error), extra) from error


def require(module: str) -> None:
    """Raise `MissingExtra` unless the module is installed; it is not imported."""
    try:
        found = find_spec(module) is not None
    except ImportError:  # a finder that refuses it
        found = False
    if not found:
        raise _missing(module, "peers")


def _missing(needs: str, extra: str) -> MissingExtra:
    return MissingExtra(f"this index needs {needs}, which is not installed: pip install 'adamem[{extra}]'")
