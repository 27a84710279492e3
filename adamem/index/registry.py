"""Indexes by name, found through the entry-point group that third parties use too."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from adamem.errors import InvalidInput, MissingExtra, UnknownName
from adamem.index.protocol import Index

GROUP = "adamem.indexes"


@cache
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def index_names() -> tuple[str, ...]:
    """The names of every installed index, sorted; nothing is imported."""
    return tuple(_entries())


def index_class(name: str) -> type[Index]:
    """The class registered under `name`.

    Raises
    ------
    UnknownName
        if no installed distribution registers it.
    MissingExtra
        if the library it adapts is not installed.
    InvalidInput
        if what is registered is not an `Index`.
    """
    entry = _entries().get(name)
    if entry is None:
        raise UnknownName.of("index", name, _entries())
    try:
        loaded = entry.load()
    except MissingExtra:
        raise
    except ImportError as error:
        needs = error.name or error
        raise MissingExtra(f"the index {name!r} needs {needs}; install what {entry.value} imports") from error
    missing = [member for member in _MEMBERS if not hasattr(loaded, member)]
    if missing:
        lacks = ", ".join(missing)
        raise InvalidInput(f"{entry.value}, registered as the index {name!r}, lacks {lacks}; see adamem.index.Index")
    return cast("type[Index]", loaded)


def names_that_can(operation: str) -> tuple[str, ...]:
    """The installed indexes whose capabilities declare `operation` (``insert``, ``filter``, ``save`` ...)."""
    able = []
    for name in index_names():
        try:
            capabilities = index_class(name).capabilities
        except (MissingExtra, InvalidInput):
            continue
        if getattr(capabilities, operation, False):
            able.append(name)
    return tuple(able)


# Written out, because a Protocol's own list of its members is not public.
_MEMBERS = (
    *("name", "summary", "capabilities", "build_params", "search_params", "build", "search", "insert", "delete"),
    *("replace", "needs_maintenance", "maintain", "nbytes", "save", "load", "counters", "__len__"),
)
