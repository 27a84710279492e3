"""What was taken out is in no file: whatever happened before it, and however a version or a rollback comes between."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import string
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.errors import CorruptResult, InvalidInput, StorageError, UnknownName
from adamem.memory import MemoryEngine, NewMemory

MANY = 2_500
"""With so many, there are an index and words in files."""


def holders(folder: Path, wanted: bytes) -> list[str]:
    """The files that have these bytes in them."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and wanted in path.read_bytes()
    )


def vector_of(engine: MemoryEngine, number: int) -> bytes:
    """As it is in the database."""
    with engine._store.database.read() as connection:
        query = "SELECT vector FROM vectors WHERE memory = ?"
        return bytes(connection.exec_driver_sql(query, (number,)).scalar_one())


def remade(folder: Path) -> None:
    """Take the memory file away, and leave its versions."""
    for path in folder.glob("memory.db*"):
        if path.is_file():
            path.unlink()


# -- what is derived ---------------------------------------------------------------------------------------------------


def given_up(opened, unit) -> tuple[MemoryEngine, int, bytes]:
    """A file with a version, and a memory of later that the saved index and words have; its id and vector."""
    engine = opened()
    vectors = unit(MANY + 1)
    engine.add_many([f"memory {i}" for i in range(MANY)], vectors=vectors[:MANY])
    engine.flush()
    engine.snapshot("before")
    secret = engine.add("the vault opens with xylophonequartz", vector=vectors[MANY]).id
    engine.add_many(["a"] * 1_300, vectors=unit(1_300, seed=4))
    engine.flush()
    raw = vector_of(engine, secret)
    engine.search("vault", mode="lexical")
    return engine, secret, raw


@pytest.mark.parametrize("has_version", [False, True])
def test_what_a_rollback_gave_up_is_in_no_derived_file(opened, unit, tmp_path, has_version):
    """It could not be purged from there any more: nobody knows which namespace it was of."""
    engine, secret, raw = given_up(opened, unit)
    if has_version:
        engine.snapshot("after")
    engine.close()
    assert holders(tmp_path / "memory.db.index", b"xylophonequartz")
    assert holders(tmp_path / "memory.db.index", raw)
    with opened() as engine:
        engine.search(vector=unit(1)[0])
        engine.rollback("before")
        assert bool(holders(tmp_path, b"xylophonequartz")) == has_version
        if has_version:
            engine.purge(secret)
        else:
            with pytest.raises(UnknownName, match="may have been purged already"):
                engine.purge(secret)
        engine.flush()
    assert holders(tmp_path, b"xylophonequartz") == []
    assert holders(tmp_path, raw) == []


def test_a_rollback_that_was_killed_is_finished_by_the_next_opening(opened, unit, tmp_path, monkeypatch):
    """The file is as it was, and what is derived has what was given up."""
    engine, _, raw = given_up(opened, unit)
    with monkeypatch.context() as patched:
        patched.setattr("adamem.memory.core.Core.scrub_or_tell", lambda self: None)
        engine.rollback("before")
        engine.close()
    assert holders(tmp_path, b"xylophonequartz")
    opened().close()
    assert holders(tmp_path, b"xylophonequartz") == []
    assert holders(tmp_path, raw) == []


def test_a_rollback_beside_a_reader_is_done_and_cleaned_up_later(opened, tmp_path, monkeypatch, caplog):
    """By the next purge, even of what is not there: it has not failed, so nothing is raised."""
    monkeypatch.setattr("adamem.memory.sqlite._WAIT_MS", 200)
    engine = opened()
    engine.add("first")
    engine.snapshot("before")
    secret = engine.add("zebrafish riddle").id
    reader = sqlite3.connect(tmp_path / "memory.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM memories").fetchone()
    with caplog.at_level(logging.WARNING):
        engine.rollback("before")
    assert "until the next purge or opening: another process reads" in caplog.text
    assert engine.count() == 1
    assert holders(tmp_path, b"zebrafish")
    reader.close()
    with pytest.raises(UnknownName):
        engine.purge(secret)
    assert holders(tmp_path, b"zebrafish") == []


def test_a_file_can_be_opened_where_there_is_no_room_to_clean_it_up(opened, tmp_path, monkeypatch, caplog):
    """What a purge left stays noted, and is told."""
    opened().close()
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        connection.execute("INSERT INTO unscrubbed VALUES (1)")
    connection.close()

    for error in (StorageError("the disk is full"), CorruptResult("a page is damaged"), PermissionError("not yours")):

        def fail(self: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
            patched.setattr("adamem.memory.sqlite.Database.rebuild", fail)
            opened().close()
        assert f"until the next purge or opening: {error}" in caplog.text
    opened().close()
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        assert connection.execute("SELECT count(*) FROM unscrubbed").fetchone() == (0,)
    connection.close()


def test_what_expired_and_was_taken_out_is_in_no_file_any_more(opened, unit, tmp_path, clock):
    """And what was there twice has left no vector; ids of what expired are of nothing that could be purged."""
    vectors = unit(MANY + 2)
    engine = opened(clock=clock)
    said = [NewMemory(text=f"memory {i}") for i in range(MANY)]
    said += [NewMemory(text="the vault opens with xylophonequartz", ttl=timedelta(hours=1)), NewMemory(text="memory 7")]
    engine.add_many(said, vectors=vectors)
    engine.flush()
    engine.search("vault", mode="lexical")
    expired, twin = vector_of(engine, MANY + 1), vector_of(engine, MANY + 2)
    engine.close()
    for raw in (expired, twin, b"xylophonequartz"):
        assert holders(tmp_path / "memory.db.index", raw)
    clock.now += timedelta(hours=2)
    engine = opened(clock=clock)
    assert (done := engine.defrag(near=None)).expired == done.duplicates == 1
    for _ in range(2):
        for raw in (expired, twin, b"xylophonequartz"):
            assert holders(tmp_path, raw) == []
        engine.flush()
        assert engine.search("vault", mode="lexical") == []
        assert engine.search(vector=vectors[7], top_k=1)[0].memory.id == 8
        engine.close()
        engine = opened(clock=clock)


# -- the file itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_purged_topics_are_in_no_unused_part_of_a_page(opened, unit, tmp_path, seed):
    """Questions, slots and texts of all lengths, whose rows move between pages as others come and go."""
    random = np.random.default_rng(seed)

    def mark() -> str:
        return "".join(random.choice(list(string.ascii_lowercase), size=14))

    engine = opened()
    marks: dict[int, str] = {}
    for turn in range(15):
        some = [(mark(), int(random.integers(1, 700))) for _ in range(50)]
        new = [
            NewMemory(text=f"{one} text", slot=f"{one} {'s' * length}")
            if place % 2
            else NewMemory(text=f"{one} {'t' * length}", type="answer", question=f"{one} {'q' * length}")
            for place, (one, length) in enumerate(some)
        ]
        added = engine.add_many(new, vectors=unit(50, seed=turn))
        marks |= {one.id: said for one, (said, _) in zip(added, some, strict=True)}
    purged = random.permutation(sorted(marks))[:120].tolist()
    for one in purged:
        engine.purge(one)
    engine.close()
    assert [one for one in purged if holders(tmp_path, marks[one].encode())] == []


def test_names_of_namespaces_that_were_deleted_are_in_no_file(opened, tmp_path):
    """Long ones and short ones, whose order is not that in which they were made."""
    random = np.random.default_rng(3)
    engine = opened()
    names = [f"space{i}x" + "n" * int(random.integers(1, 900)) for i in random.permutation(200).tolist()]
    for one in names:
        engine.create_namespace(one)
    for one in names[:80]:
        engine.delete_namespace(one)
    engine.close()
    assert [one for one in names[:80] if holders(tmp_path, one.split("n")[0].encode())] == []


def test_a_purge_that_was_killed_in_a_version_is_finished_there(opened, tmp_path, monkeypatch):
    """The row is out of it, and its pages were not written anew."""
    engine = opened()
    secret = engine.add("narwhal").id
    engine.snapshot("v")
    engine.purge(secret)
    file = tmp_path / "memory.db.versions" / "v" / "memory.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE left_over AS SELECT 'narwhal' AS text")
        connection.execute("DROP TABLE left_over")
        connection.execute("INSERT INTO unscrubbed VALUES (0)")
    connection.close()
    assert holders(tmp_path, b"narwhal")
    with pytest.raises(UnknownName):
        engine.purge(secret)
    assert holders(tmp_path, b"narwhal") == []


def test_a_version_that_is_read_by_another_keeps_nothing_of_what_is_said_to_be_purged(opened, tmp_path, monkeypatch):
    """The purge is refused as long as the version's log cannot be emptied, and done when it is asked for again."""
    monkeypatch.setattr("adamem.memory.sqlite._WAIT_MS", 200)
    engine = opened()
    first, secret = (one.id for one in engine.add_many(["first", "narwhal"]))
    engine.snapshot("v")
    engine.purge(first)
    reader = sqlite3.connect(tmp_path / "memory.db.versions" / "v" / "memory.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM memories").fetchone()
    with pytest.raises(StorageError, match="another process reads the version v just now"):
        engine.purge(secret)
    reader.close()
    engine.purge(secret)
    assert holders(tmp_path, b"narwhal") == []
    engine.rollback("v")
    assert engine.count() == 0


# -- versions that say it otherwise ------------------------------------------------------------------------------------


def merged(opened) -> MemoryEngine:
    """A file with versions: without 2 and 3, with both as rows of their own, and with 3 merged into 2."""
    engine = opened()
    engine.add("x")
    engine.snapshot("neither")
    engine.add("narwhal")
    engine.add("narwhal")
    engine.snapshot("two")
    engine.defrag(near=None)
    engine.snapshot("merged")
    return engine


@pytest.mark.parametrize("purged", [2, 3])
def test_what_was_merged_in_a_version_is_purged_by_any_of_its_ids(opened, tmp_path, purged):
    """Where the file itself has none of them."""
    engine = merged(opened)
    engine.rollback("neither")
    engine.purge(purged)
    assert holders(tmp_path, b"narwhal") == []
    for version in ("merged", "two"):
        engine.rollback(version)
        for one in (2, 3):
            with pytest.raises(UnknownName, match="may have been purged"):
                engine.get(one)


def test_what_is_apart_in_the_file_is_purged_apart(opened):
    """A version in which one is merged into the other forgets its id, and keeps the other."""
    engine = merged(opened)
    engine.rollback("two")
    engine.purge(3)
    assert engine.get(2).text == "narwhal"
    engine.rollback("merged")
    assert engine.get(2).text == "narwhal"
    with pytest.raises(UnknownName, match="may have been purged"):
        engine.get(3)


def test_a_namespace_of_another_number_in_a_version_is_deleted_with_it(opened, tmp_path):
    """What counts is its name, by which it would come back."""
    engine = opened()
    engine.add("x")
    engine.snapshot("without")
    engine.add("quagga", namespace="zoo")
    engine.snapshot("with")
    engine.rollback("without")
    engine.add("okapi", namespace="zoo")
    assert engine.delete_namespace("zoo") == 1
    assert holders(tmp_path, b"quagga") == holders(tmp_path, b"zoo") == []
    engine.rollback("with")
    assert [one.name for one in engine.namespaces()] == ["global"]


def test_a_namespace_that_only_versions_have_is_deleted_for_good(opened, tmp_path):
    """None of the file's own memories goes with it."""
    engine = opened()
    engine.add("x")
    engine.snapshot("without")
    engine.add("quagga", namespace="zoo")
    engine.snapshot("with")
    engine.rollback("without")
    assert engine.delete_namespace("zoo") == 0
    assert holders(tmp_path, b"quagga") == holders(tmp_path, b"zoo") == []
    with pytest.raises(UnknownName, match="namespace 'zoo'"):
        engine.delete_namespace("zoo")
    engine.rollback("with")
    assert engine.count() == 1


def test_a_damaged_version_is_named_and_can_be_removed(opened, tmp_path):
    """It may have what is to be purged, so nothing is said to be purged as long as it is there."""
    engine = opened()
    engine.add_many([f"memory {i} " + "word " * 60 for i in range(100)])
    secret = engine.add("narwhal", namespace="zoo").id
    for name in ("a", "b", "c"):
        engine.snapshot(name)
    versions = tmp_path / "memory.db.versions"
    whole = bytearray((versions / "a" / "memory.db").read_bytes())
    whole[4096:-4096] = b"\xa5" * (len(whole) - 8192)
    (versions / "a" / "memory.db").write_bytes(whole)
    (versions / "b" / "memory.db").write_bytes(b"no database at all" * 100)
    (versions / "b" / "version.json").write_text("{")
    (versions / "c" / "version.json").unlink()
    for name in ("a", "b"):
        for verb in (lambda: engine.purge(secret), lambda: engine.delete_namespace("zoo")):
            with pytest.raises(CorruptResult, match=rf"the version {name} is damaged.*remove_version\('{name}'\)"):
                verb()
        engine.remove_version(name)
    engine.purge(secret)
    assert holders(tmp_path, b"narwhal") == []
    engine.remove_version("c")
    assert list(versions.iterdir()) == []
    for name in ("c", "..", ".", ""):
        with pytest.raises(UnknownName, match="version"):
            engine.remove_version(name)


# -- versions of another past than the file's --------------------------------------------------------------------------


def test_ids_are_never_given_twice_after_a_rollback_to_a_later_version(opened, tmp_path):
    """The file was made anew, or an older copy of it was brought back."""
    with opened() as engine:
        engine.add("one")
    shutil.copy(tmp_path / "memory.db", tmp_path / "older.db")
    with opened() as engine:
        engine.add_many(["two", "three"])
        engine.snapshot("three")
        engine.purge(3)
    for make in (lambda: remade(tmp_path), lambda: shutil.copy(tmp_path / "older.db", tmp_path / "memory.db")):
        make()
        with opened() as engine:
            engine.rollback("three")
            assert engine.count() == 2
            assert engine.add("next").id == 4


def test_encoders_of_a_version_are_known_by_what_they_are(opened, tmp_path):
    """And not by a number, which in a file that was made anew may be another one's."""
    with opened(encoder="hashing:64") as engine:
        engine.add("stone in water")
        engine.snapshot("kept")
    remade(tmp_path)
    with opened(encoder="hashing:32") as engine:
        engine.add("x")
        engine.rollback("kept")
        assert engine.stats().encoder == "hashing:64"
        assert engine.stats().dim == 64
        with pytest.raises(InvalidInput, match="holds vectors of the encoder hashing:64"):
            engine.search("stone")
    with opened(encoder="hashing:64") as engine:
        assert [hit.memory.text for hit in engine.search("stone")] == ["stone in water"]
        assert engine.reembed("hashing:32") == 1
        assert [hit.memory.text for hit in engine.search("stone")] == ["stone in water"]


def test_a_fitted_encoder_of_a_version_comes_with_it(opened, tmp_path):
    """To a file that has another one of its number."""
    said = [f"text {i} of stone and water" for i in range(30)]
    with opened(encoder="lsa") as engine:
        engine.add_many(said)
        wanted = engine.search("stone water", mode="vector")
        engine.snapshot("kept")
    remade(tmp_path)
    with opened(encoder=open_encoder("hashing:64")) as engine:
        engine.add("x")
        engine.rollback("kept")
    with opened(encoder=None) as engine:
        assert [hit.memory.id for hit in engine.search("stone water", mode="vector")] == [
            hit.memory.id for hit in wanted
        ]
