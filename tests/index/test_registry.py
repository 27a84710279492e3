"""The registry: indexes by name, through entry points."""

from __future__ import annotations

import contextlib
from importlib.metadata import EntryPoint

import pytest

from adamem.errors import InvalidInput, MissingExtra, UnknownName
from adamem.index import Index, index_class, index_names, names_that_can, registry


@pytest.fixture
def registered(monkeypatch):
    """Register entry points for one test."""

    def register(**values: str) -> None:
        entries = {name: EntryPoint(name, value, registry.GROUP) for name, value in values.items()}
        monkeypatch.setattr(registry, "_entries", lambda: entries)

    return register


def test_our_own_indexes_are_found_by_their_entry_points():
    """Those that come with AdaMem are there, sorted, and each that needs no extra has the protocol's members."""
    names = index_names()
    ours = {"exact", "hnsw", "faiss_hnsw", "faiss_pq", "faiss_nsg", "spiral"}
    assert ours <= set(names)
    assert list(names) == sorted(names)
    for name in ours:
        assert all(hasattr(index_class(name), member) for member in ("build", "search", "capabilities", "load"))


def test_an_unknown_name_gets_the_nearest_one():
    """And the list comes from the registry."""
    with pytest.raises(UnknownName, match=r"unknown index 'hsnw'; did you mean 'hnsw'\? known: .*exact"):
        index_class("hsnw")


def test_names_that_can_follows_the_declarations():
    """Exactly the indexes that declare an operation are named, of those whose libraries are installed."""
    installed = {}
    for name in index_names():
        with contextlib.suppress(MissingExtra):
            installed[name] = index_class(name).capabilities
    for operation in ("insert", "delete", "replace", "filter", "save"):
        able = names_that_can(operation)
        assert able == tuple(name for name, can in installed.items() if getattr(can, operation))
    assert names_that_can("fly") == ()


def test_an_index_whose_library_is_missing_says_so(registered):
    """An ImportError becomes MissingExtra with the library's name, and such an index is in no listing of abilities."""
    registered(broken="no_such_library_at_all:Index")
    with pytest.raises(MissingExtra, match="the index 'broken' needs no_such_library_at_all"):
        index_class("broken")
    assert names_that_can("save") == ()


def test_what_is_no_index_is_refused(registered):
    """A registered class without the protocol's members is named with what it lacks."""
    registered(strange="collections:OrderedDict")
    with pytest.raises(InvalidInput, match="collections:OrderedDict, registered as the index 'strange', lacks name"):
        index_class("strange")


def test_the_gate_asks_for_every_member_of_the_protocol():
    """The registry's list of members is the protocol's own."""
    own = {name for name in vars(Index) if not name.startswith("_")} | {"__len__"} | set(Index.__annotations__)
    assert set(registry._MEMBERS) == own
