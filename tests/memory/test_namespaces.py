"""What is in one namespace is in no other, whatever their names look like."""

from __future__ import annotations

import tempfile
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamem.errors import InvalidInput
from adamem.memory import MemoryEngine

LONG = "n" * 4_095
NAMES = [
    "a",
    "A",
    "a@b",
    "a_b",
    "a%b",
    "a*",
    "a?b",
    "[a]",
    "a ",
    " a",
    "a\t",
    "a:b",
    "a/b",
    "a\\b",
    "..",
    ".",
    "../a",
    "/",
    "a'b",
    'a"b',
    "a' OR '1'='1",
    "a; DROP TABLE memories; --",
    "$.a",
    "NULL",
    "0",
    "1",
    "1.0",
    "global",
    "Global",
    "slot:a",
    unicodedata.normalize("NFC", "caf\u00e9"),
    unicodedata.normalize("NFD", "caf\u00e9"),
    "stra\u00dfe",
    "strasse",
    "\u2168",
    "IX",
    "\ufb01",
    "fi",
    "a\u200b",
    "\u0430",  # Cyrillic
    "\U0001f9e0",
    f"{LONG}a",
    f"{LONG}b",
    LONG,
]
"""No two are the same, and hardly one that something does not take for another."""

some_names = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
)
several = st.lists(some_names, min_size=2, max_size=4, unique=True)
MODES = ("vector", "lexical", "hybrid")


def _filled(engine: MemoryEngine, names: list[str]) -> dict[str, set[int]]:
    """The ids of each namespace's memories: the same texts, slots and questions in all of them."""
    ids: dict[str, set[int]] = {name: set() for name in names}
    for text in ("red stone", "blue stone"):
        for name in names:
            ids[name].add(engine.add(text, namespace=name, slot="colour", metadata={"of": name}).id)
    for name in names:
        ids[name].add(engine.update("Which stone?", "the red one", namespace=name).id)
        ids[name].add(engine.add("red stone", namespace=name, metadata={"of": name}).id)
    return ids


def _found(engine: MemoryEngine, name: str, **search: Any) -> set[int]:
    hits = engine.search("red blue stone", namespace=name, top_k=100, **search)
    assert {hit.memory.namespace for hit in hits} <= {name}
    return {hit.memory.id for hit in hits}


def _reached(engine: MemoryEngine, name: str, others: list[str]) -> dict[str, set[int]]:
    """What every way into a namespace gives."""
    found = {mode: _found(engine, name, mode=mode) for mode in MODES}
    found |= {f"{mode} of a type": _found(engine, name, mode=mode, type=["fact", "answer"]) for mode in MODES}
    found |= {f"{mode} of a name": _found(engine, name, mode=mode, where={"of": {"in": others}}) for mode in MODES}
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    found |= {f"{mode} at a time": _found(engine, name, mode=mode, as_of=moment) for mode in MODES}
    found["get_all"] = {one.id for one in engine.get_all(namespace=name)}
    found["history"] = {one.id for one in engine.history("colour", namespace=name)}
    return found


@settings(max_examples=15, deadline=None)
@given(several)
def test_no_way_into_a_namespace_leads_to_another(encoder: Any, names: list[str]):
    """Neither a search of any kind, nor a list, nor a history; and the same texts supersede within one alone."""
    with MemoryEngine(":memory:", encoder=encoder) as engine:
        ids = _filled(engine, names)
        for name in names:
            red, blue, answer, other = sorted(ids[name])
            for way, found in _reached(engine, name, names).items():
                assert found <= ids[name], way
                assert found, way
            assert {one.id for one in engine.history("colour", namespace=name)} == {red, blue}
            assert engine.get(blue).namespace == name
            assert {one.id for one in engine.get_all(namespace=name)} == {blue, answer, other}
            assert engine.count(namespace=name) == 3
            strangers = [one for one in names if one != name]
            assert _found(engine, name, where={"of": {"in": strangers}}) == set()
        assert {one.name: one.memories for one in engine.namespaces()} == dict.fromkeys(names, 3)


@settings(max_examples=10, deadline=None)
@given(several, st.booleans())
def test_what_is_done_to_a_namespace_is_done_to_no_other(encoder: Any, names: list[str], whole: bool):
    """Deleting, purging, superseding and merging in one; or taking all of it out."""
    with MemoryEngine(":memory:", encoder=encoder) as engine:
        ids = _filled(engine, names)
        first, *others = names
        before = {name: _reached(engine, name, names) for name in others}
        if whole:
            assert engine.delete_namespace(first) == 4
            assert all(not found for found in _reached(engine, first, names).values())
            assert engine.count(namespace=first) == 0
        else:
            _, blue, answer, other = sorted(ids[first])
            engine.supersede(blue, "green stone")
            engine.update("which stone", "none", namespace=first)
            engine.delete(answer)
            engine.purge(other)
            engine.add("grey stone", namespace=first, slot="colour")
            assert engine.defrag(near=None).duplicates == 0  # the same text in another namespace is no twin
        assert {name: _reached(engine, name, names) for name in others} == before


@settings(max_examples=10, deadline=None)
@given(several, some_names)
def test_a_copy_and_a_package_hold_the_one_that_was_named(encoder: Any, names: list[str], target: str):
    """Under a name however near; nothing of another comes along."""
    with tempfile.TemporaryDirectory() as folder, MemoryEngine(":memory:", encoder=encoder) as engine:
        ids = _filled(engine, names)
        first, *others = names
        before = {name: _reached(engine, name, names) for name in names}
        if target in names:
            with pytest.raises(InvalidInput, match="already"):
                engine.copy_namespace(first, target)
        else:
            assert engine.copy_namespace(first, target) == 4
            copies = {one.id for one in engine.get_all(namespace=target)}
            assert len(copies) == 3
            assert all(
                found.isdisjoint(set().union(*ids.values())) for found in _reached(engine, target, names).values()
            )
            assert all(one.metadata.get("of", first) == first for one in engine.get_all(namespace=target))
        assert {name: _reached(engine, name, names) for name in names} == before
        package = Path(folder) / "p.zip"
        assert engine.export_package(package, namespaces=[first]) == 4
        with MemoryEngine(":memory:", encoder=encoder) as other:
            there = _filled(other, others)
            was = {name: _reached(other, name, names) for name in others}
            done = other.import_package(package)
            assert done.namespaces == (first,)
            assert set(done.ids) == ids[first]
            assert {name: _reached(other, name, names) for name in others} == was
            assert _found(other, first, mode="hybrid") <= set(done.ids.values())
            assert set(done.ids.values()).isdisjoint(set().union(*there.values()))


def test_all_names_are_kept_apart_on_the_disk(opened):
    """All at once, in a file, and after it was opened again: no name is a path, a pattern or a statement there."""
    engine = opened()
    for name in NAMES:
        engine.add(f"stone of {NAMES.index(name)}", namespace=name, slot="s")
    engine.close()
    engine = opened()
    assert {one.name: one.memories for one in engine.namespaces()} == dict.fromkeys(NAMES, 1)
    for place, name in enumerate(NAMES):
        for mode in MODES:
            assert [one.memory.text for one in engine.search("stone", namespace=name, mode=mode)] == [
                f"stone of {place}"
            ]
        assert [one.namespace for one in engine.history("s", namespace=name)] == [name]


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "is empty"), ("a\0", "NUL"), ("\ud800", "half of a character"), (f"{LONG}ab", "4,097 bytes")],
)
def test_what_is_no_name_is_refused_everywhere(opened, tmp_path, name, said):
    """By every verb that takes one."""
    engine = opened()
    engine.add("stone")
    for verb in (
        lambda: engine.add("x", namespace=name),
        lambda: engine.update("x", "y", namespace=name),
        lambda: engine.search("x", namespace=name),
        lambda: list(engine.get_all(namespace=name)),
        lambda: engine.history("x", namespace=name),
        lambda: engine.count(namespace=name),
        lambda: engine.create_namespace(name),
        lambda: engine.delete_namespace(name),
        lambda: engine.copy_namespace("global", name),
        lambda: engine.copy_namespace(name, "x"),
        lambda: engine.export_package(tmp_path / "p.zip", namespaces=[name]),
        lambda: engine.import_package(tmp_path / "p.zip", namespace=name),
    ):
        with pytest.raises(InvalidInput, match=said):
            verb()
    assert [one.name for one in engine.namespaces()] == ["global"]
