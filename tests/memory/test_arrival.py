"""Packages taken in a piece at a time."""

from __future__ import annotations

import dataclasses
import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.errors import StorageError
from adamem.memory import MemoryEngine, NewMemory, arrival, caretaker
from adamem.memory.shelves import Shelves


def texts(hits):
    return [hit.memory.text for hit in hits]


def crowded(engine: MemoryEngine, clock) -> None:
    """Slots that are filled in several namespaces, questions, links, what was superseded by id, what expires."""
    for turn in range(4):
        for space in ("a", "b", "c"):
            clock.now += timedelta(hours=1)
            engine.add(f"home {turn} of {space}", slot="home", namespace=space)
            engine.update("Where to?", f"there {turn} of {space}", namespace=space)
    first = engine.add("one", namespace="b", valid_from=datetime(2025, 1, 1, tzinfo=UTC))
    engine.add("old home", slot="home", namespace="c", valid_from=datetime(2024, 1, 1, tzinfo=UTC))
    engine.supersede(first.id, "two", links=[first.id, 3])
    engine.add("brief", namespace="a", ttl=timedelta(days=900))


@pytest.mark.parametrize("into", [None, "all"])
@pytest.mark.parametrize("encoder", ["hashing:64", "hashing:32"])
@pytest.mark.parametrize("piece", [1, 2, 7])
def test_pieces_make_no_difference(opened, clock, tmp_path, monkeypatch, piece, into, encoder):
    """However many are taken in at once, into whatever was there: the same memories, to the last field."""
    source = opened(tmp_path / "source.db", clock=clock)
    crowded(source, clock)
    source.export_package(tmp_path / "p.zip")
    with opened(tmp_path / "whole.db", clock=clock, encoder=open_encoder(encoder)) as here:
        here.add("home before", slot="home", namespace="all", valid_from=datetime(2026, 1, 1, 3, tzinfo=UTC))
        here.add("home before", slot="home", namespace="b", valid_from=datetime(2023, 1, 1, tzinfo=UTC))
        here.add("home to come", slot="home", namespace="c", valid_from=datetime(2040, 1, 1, tzinfo=UTC))
    shutil.copy(tmp_path / "whole.db", tmp_path / "pieces.db")
    clock.now = moment = clock.now + timedelta(days=1)
    engines = [
        opened(tmp_path / name, clock=clock, encoder=open_encoder(encoder)) for name in ("whole.db", "pieces.db")
    ]
    done = []
    for engine in engines:
        clock.now = moment
        done.append(engine.import_package(tmp_path / "p.zip", namespace=into))
        monkeypatch.setattr(arrival, "_PIECE", piece)
    assert done[0] == done[1]
    assert done[0].memories == 28
    one, other = engines
    clock_free = {"updated": None}
    for number in range(1, 32):
        mine, theirs = one.get(number), other.get(number)
        assert dataclasses.replace(mine, **clock_free) == dataclasses.replace(theirs, **clock_free)
        assert (mine.updated < moment) == (theirs.updated < moment)
    for engine in engines:  # the indexes have what may be found, and nothing else
        for number, (shelf, row) in engine._core.shelves._shelves.items():
            assert len(shelf) == engine._store.drift(number, row, 0).ids.size
        assert len(engine._core.shelves._shelves) == (3 if into is None else 1)
    for space in one.namespaces():
        assert one.count(namespace=space.name) == other.count(namespace=space.name)
        for query in ("home 3 of b", "there 2 of c", "two"):
            found = one.search(query, namespace=space.name, top_k=40)
            assert [(hit.memory.id, hit.score) for hit in found] == [
                (hit.memory.id, hit.score) for hit in other.search(query, namespace=space.name, top_k=40)
            ]
            assert len(found) == one.count(namespace=space.name)


def test_what_breaks_off_in_the_middle_leaves_nothing(opened, tmp_path, monkeypatch):
    """Neither in the file nor in an index nor in the numbers of memories."""
    source = opened(tmp_path / "source.db")
    source.add_many([f"text number{i}" for i in range(50)])
    source.export_package(tmp_path / "p.zip")
    engine = opened()
    engine.add("here before")
    monkeypatch.setattr(arrival, "_PIECE", 10)
    original, turns = type(engine._store).insert, []

    def break_off(self, *given, **named):
        turns.append(1)
        if len(turns) == 4:
            raise StorageError("the disk is full")
        return original(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(type(engine._store), "insert", break_off)
        with pytest.raises(StorageError, match="the disk is full"):
            engine.import_package(tmp_path / "p.zip", namespace="global")
    assert texts(engine.search("text number7", top_k=9)) == ["here before"]
    assert engine.import_package(tmp_path / "p.zip").ids[1] == 2
    assert texts(engine.search("text number7", top_k=1)) == ["text number7"]
    assert {path.name for path in tmp_path.iterdir()} >= {"memory.db", "p.zip"}
    assert not list(tmp_path.glob("tmp*"))


class Overtaken:
    """Something else is done once, before it embeds."""

    name, dim, fingerprint = "overtaken", 64, "e" * 64

    def __init__(self):
        self.by, self._encoder = [], open_encoder("hashing:64")

    def encode_document(self, said):
        if self.by:
            self.by.pop()()
        return self._encoder.encode_document(said)

    encode_query = encode_document


def test_what_is_embedded_anew_meanwhile_keeps_no_package_out(opened, tmp_path):
    """However long it took to embed it: it is embedded once more, by the encoder that the file has by then."""
    source, encoder = opened(tmp_path / "source.db"), Overtaken()
    source.add_many([f"text number{i}" for i in range(50)])
    source.export_package(tmp_path / "p.zip")
    engine = opened(tmp_path / "here.db", encoder=encoder)
    engine.add("here before")
    encoder.by.append(lambda: engine.reembed("hashing:32"))
    assert engine.import_package(tmp_path / "p.zip").memories == 50
    assert (engine.count(), engine.stats().encoder) == (51, "hashing:32")
    assert texts(engine.search("text number7", top_k=1)) == ["text number7"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("way", ["add", "import"])
def test_a_new_file_that_is_embedded_anew_meanwhile_takes_no_vector_of_the_former(opened, tmp_path, way, first):
    """Also where it had no memory yet, and so no vectors of any encoder."""
    source, encoder = opened(tmp_path / "source.db"), Overtaken()
    source.add_many([f"text number{i}" for i in range(50)])
    source.export_package(tmp_path / "p.zip")
    engine = opened(tmp_path / "here.db", encoder=encoder)
    if not first:
        engine.add("here before")
    encoder.by.append(lambda: engine.reembed("hashing:48"))
    if way == "import":
        engine.import_package(tmp_path / "p.zip")
    else:
        engine.add_many([f"text number{i}" for i in range(50)])
    assert engine.stats().encoder == "hashing:48"
    assert texts(engine.search("text number7", mode="vector", top_k=1)) == ["text number7"]


@pytest.mark.parametrize("same", [True, False])
def test_few_are_held_at_once(opened, tmp_path, monkeypatch, same):
    """Of 4,000 with 384 dimensions, which are 6 MB of vectors alone: half of that at most; so when they go out."""
    count, dim = 4_000, 384
    monkeypatch.setattr(arrival, "_PIECE", 100)
    monkeypatch.setattr(caretaker, "_PIECE", 100)

    class Constant:
        name, dim, fingerprint = "constant", 384, "c" * 64

        def encode_document(self, said):
            return np.ones((len(said), dim), dtype=np.float32)

        encode_query = encode_document

    class Other(Constant):
        fingerprint = "d" * 64

    source = opened(tmp_path / "source.db", encoder=Constant(), index="exact")
    source.add_many([NewMemory(text=f"number {i}") for i in range(count)])
    source.flush()
    engine = opened(encoder=Constant() if same else Other())
    engine.search("x")
    # An index holds what it holds: here it is about the package.
    monkeypatch.setattr(Shelves, "tell_kept", lambda *given, **named: None)
    tracemalloc.start()
    try:
        source.export_package(tmp_path / "p.zip")
        _, going_out = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert engine.import_package(tmp_path / "p.zip").memories == count
        _, coming_in = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert going_out < 3 << 20
    assert coming_in < 3 << 20
