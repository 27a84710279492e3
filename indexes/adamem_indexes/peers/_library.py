"""The library that an adapter stands for, or a sentence that says how to get it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from adamem.errors import MissingExtra


def library(module: str, *, install: str = "pip install 'adamem[peers]'") -> Any:
    """The imported module, untyped: none of these libraries ships whole types.

    Raises
    ------
    MissingExtra
        with the line that installs it, if it is absent.
    """
    try:
        return import_module(module)
    except ImportError as error:
        needs = error.name or error
        raise MissingExtra(f"this index needs {needs}, which is not installed: {install}") from error
