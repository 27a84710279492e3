"""Keeping a memory file in order: purging, versions, packages, another encoder, defragmenting, namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.errors import CorruptResult, DataError, InvalidInput, StorageError, UnknownName
from adamem.memory import Hit, MemoryEngine, NewMemory, schema
from adamem.memory.reembedding import Reembedding
from adamem.memory.scribe import Scribe
from adamem.memory.snapshots import Snapshots


def texts(hits: list[Hit]) -> list[str]:
    return [hit.memory.text for hit in hits]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holders(folder: Path, wanted: bytes) -> list[str]:
    """The files that have these bytes in them."""
    return sorted(str(path.relative_to(folder)) for path, content in files(folder).items() if wanted in content)


# -- purging -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["spiral", "hnsw"])
@pytest.mark.parametrize("size", [20, 2_500])
def test_what_is_purged_is_in_no_file_any_more(opened, unit, tmp_path, index, size):
    """Neither its words nor its vector: not in the database, its log, an index, the words or a version."""
    vectors = unit(size)
    secret, word = "the vault opens with xylophonequartz", b"xylophonequartz"
    place = size // 2
    engine = opened(index=index)
    said = [f"memory {i} says little" for i in range(size)]
    said[place] = secret
    engine.add_many(said, vectors=vectors)
    engine.add("later " * 50, vector=vectors[0])
    engine.flush()
    engine.search("vault", mode="lexical")
    engine.snapshot("before")
    # A cosine index keeps vectors as they are, scaled to length 1.
    blob = engine._store.database
    with blob.read() as connection:
        raw = connection.exec_driver_sql("SELECT vector FROM vectors WHERE memory = ?", (place + 1,)).scalar_one()
    assert holders(tmp_path, word)
    assert holders(tmp_path, raw)
    engine.purge(place + 1)
    assert texts(engine.search("vault opens", mode="lexical")) == []
    assert place + 1 not in {hit.memory.id for hit in engine.search(vector=vectors[place], top_k=size)}
    engine.flush()
    assert holders(tmp_path, word) == []
    assert holders(tmp_path, raw) == []
    engine.rollback("before")
    with pytest.raises(UnknownName, match="may have been purged"):
        engine.get(place + 1)
    engine.flush()
    engine.close()
    assert holders(tmp_path, word) == []
    assert holders(tmp_path, raw) == []
    with opened(index=index) as engine:
        assert engine.count() == size
        near = 3 if place != 3 else 4
        assert engine.search(vector=vectors[near], top_k=1)[0].memory.id == near + 1
        assert engine.add("x", vector=vectors[0]).id == size + 2


def test_purging_among_many_rows_of_all_sizes_leaves_nothing(opened, unit, tmp_path):
    """Rows that move between pages of the database leave no copy behind."""
    random = np.random.default_rng(5)
    engine = opened()
    numbers = []
    for turn in range(60):
        sizes = random.integers(1, 900, size=20)
        added = engine.add_many([f"mark{turn}x{i}z " + "w" * int(size) for i, size in enumerate(sizes)])
        numbers += [(one.id, f"mark{turn}x{i}z".encode()) for i, one in enumerate(added)]
        for one, _ in numbers[:: max(1, len(numbers) // 5)]:
            engine.add("other", slot=f"s{one}", vector=unit(1)[0])
    for one, mark in [numbers[int(place)] for place in random.permutation(len(numbers))[:40]]:
        engine.purge(one)
        assert holders(tmp_path, mark) == []


def test_a_purge_that_was_killed_is_finished_by_the_next_opening(opened, unit, tmp_path):
    """The row is out, and what is derived still has it: as after a kill between the two."""
    with opened() as engine:
        engine.add_many([f"m{i}" for i in range(2_500)], vectors=unit(2_500))
        engine.flush()
    path = tmp_path / "memory.db"
    assert list(path.with_name("memory.db.index").glob("*/current.json"))
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO unscrubbed VALUES (1)")
    connection.close()
    with opened() as engine:
        assert not list(path.with_name("memory.db.index").glob("*/current.json"))
        assert engine.search(vector=unit(2_500)[7], top_k=1)[0].memory.id == 8
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM unscrubbed").fetchone() == (0,)
    connection.close()


def test_purging_beside_a_reader_says_what_is_left(opened, unit, tmp_path, monkeypatch):
    """The reader's view of the log keeps it; when it has gone, the next opening empties it."""
    monkeypatch.setattr("adamem.memory.sqlite._WAIT_MS", 200)
    engine = opened()
    engine.add("first")
    secret = engine.add("zebrafish riddle").id
    reader = sqlite3.connect(tmp_path / "memory.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM memories").fetchone()
    with pytest.raises(StorageError, match="another process reads just now"):
        engine.purge(secret)
    assert texts(engine.search("zebrafish riddle")) == ["first"]
    reader.close()
    engine.close()
    opened().close()
    assert holders(tmp_path, b"zebrafish") == []


def test_a_namespace_is_deleted_for_good(opened, unit, tmp_path):
    """With all it has; one of the same name begins empty."""
    engine = opened()
    engine.add_many([f"quagga number{i}" for i in range(50)], namespace="zoo")
    engine.add("gnu", namespace="farm")
    engine.snapshot("all")
    assert engine.delete_namespace("zoo") == 50
    assert engine.search("quagga", namespace="zoo") == []
    assert [one.name for one in engine.namespaces()] == ["farm"]
    assert holders(tmp_path, b"quagga") == []
    with pytest.raises(UnknownName, match="namespace 'zoo'"):
        engine.delete_namespace("zoo")
    assert engine.add("okapi", namespace="zoo").id == 52
    assert texts(engine.search("quagga", namespace="zoo")) == ["okapi"]


# -- namespaces --------------------------------------------------------------------------------------------------------


def test_a_namespace_is_copied_with_its_history(opened, unit):
    """The copies go their own way."""
    engine = opened()
    engine.add("red", slot="colour", namespace="a", metadata={"k": [1]})
    engine.add("blue", slot="colour", namespace="a")
    first = engine.add("one", namespace="a")
    second = engine.add("two", namespace="a", links=[first.id, 777])
    engine.delete(engine.add("gone", namespace="a").id)
    engine.supersede(first.id, "one and a half")
    assert engine.copy_namespace("a", "b") == 6
    assert [one.text for one in engine.history("colour", namespace="b")] == ["red", "blue"]
    assert sorted(one.text for one in engine.get_all(namespace="b")) == ["blue", "one and a half", "two"]
    (copy,) = engine.search("two", namespace="b", top_k=1)
    assert copy.memory.links == (8 + 1, 777)
    assert copy.memory.id != second.id
    assert [one.text for one in engine.history(memory=9)] == ["one", "one and a half"]
    engine.supersede(12, "one and more")
    assert [one.text for one in engine.history(memory=first.id)] == ["one", "one and a half"]
    engine.add("green", slot="colour", namespace="b")
    assert [one.text for one in engine.history("colour", namespace="a")] == ["red", "blue"]
    with pytest.raises(InvalidInput, match="there is a namespace 'b' already"):
        engine.copy_namespace("a", "b")
    with pytest.raises(UnknownName, match="namespace 'c'"):
        engine.copy_namespace("c", "d")
    engine.create_namespace("empty")
    with pytest.raises(InvalidInput, match="there is a namespace 'empty' already"):
        engine.create_namespace("empty")
    assert [(one.name, one.memories) for one in engine.namespaces()] == [("a", 3), ("b", 3), ("empty", 0)]


def test_links_to_what_was_merged_are_copied_to_what_stays(opened):
    """By the old id, which leads to the memory that stays: in the copy, to that one's copy."""
    engine = opened()
    stone, twin = engine.add("stone"), engine.add("stone")
    see = engine.add("see stone", links=[twin.id, stone.id])
    engine.defrag(near=None)
    engine.copy_namespace("global", "copy")
    copies = {one.text: one for one in engine.get_all(namespace="copy")}
    assert copies["see stone"].links == (copies["stone"].id,)
    assert engine.get(engine.get(see.id).links[0]).id == stone.id


# -- defragmenting -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "memory"])
def engine(request, opened, clock, tmp_path):
    """One on a file, one in memory: they behave alike."""
    return opened(tmp_path / "memory.db" if request.param == "file" else ":memory:", clock=clock)


def test_defragmenting_takes_out_what_expired_and_what_is_there_twice(engine, clock):
    """The older one stays, its twin's id leads to it; what differs in anything is no twin."""
    engine.add("brief", ttl=timedelta(hours=1))
    first = engine.add("stone", links=[90])
    twin = engine.add("stone", links=[91])
    engine.add("stone", metadata={"a": 1})
    engine.add("stone", type="event")
    engine.add("stone", namespace="other")
    engine.add("stone", ttl=timedelta(days=9))
    hidden = engine.add("stone")
    engine.delete(hidden.id)
    third = engine.add("stone")
    engine.search("stone")
    clock.now += timedelta(hours=2)
    done = engine.defrag(near=None)
    assert (done.expired, done.duplicates, done.linked) == (1, 2, 0)
    assert engine.count() == 4
    for number in (first.id, twin.id, third.id):
        assert engine.get(number).id == first.id
    assert engine.get(first.id).links == (90, 91)
    assert engine.get(hidden.id).deleted is not None
    with pytest.raises(UnknownName):
        engine.get(1)
    assert sorted(hit.memory.id for hit in engine.search("stone", top_k=9)) == [2, 4, 5, 7]
    assert engine.defrag(near=None) == type(done)(0, 0, 0)
    engine.delete(twin.id)
    assert engine.get(first.id).deleted is not None


PAIRS = [
    ("Lives in SF", "Lives in Dallas"),
    ("Loves hiking", "Hates hiking"),
    ("Prefers Python over Java", "Prefers Java over Python"),
    ("The meeting is at 3", "The meeting is at 4"),
    ("He is allergic to nuts", "He is not allergic to nuts"),
    ("The plan gets a 👍", "The plan gets a 👎"),
    ("It is -5 degrees", "It is 5 degrees"),
    ("x > y holds", "x < y holds"),
    ("Likes C++", "Likes C#"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_contradicts_is_linked_and_never_merged(engine, one, other):
    """However near the sentences are, even where they have one vector."""
    vector = np.ones(64)
    a, b = engine.add(one, vector=vector), engine.add(other, vector=vector)
    done = engine.defrag(near=0.9, merge=True)
    assert (done.duplicates, done.linked) == (0, 1)
    assert (engine.get(a.id).links, engine.get(b.id).links) == ((b.id,), (a.id,))
    assert {hit.memory.text for hit in engine.search(vector=vector)} == {one, other}
    assert engine.defrag(near=0.9, merge=True).linked == 0


def test_what_differs_in_writing_only_is_merged_on_request(engine):
    """Case, punctuation and spacing; without the request it is linked."""
    vector = np.ones(64)
    a, b = engine.add("Loves  hiking!", vector=vector), engine.add("loves hiking", vector=vector)
    assert engine.defrag().duplicates == 0
    assert engine.get(a.id).links == (b.id,)
    done = engine.defrag(merge=True)
    assert done.duplicates == 1
    assert engine.get(b.id).text == "Loves  hiking!"
    assert len(engine.search(vector=vector)) == 1


def test_what_was_said_of_two_differently_is_never_merged(engine):
    """Keywords and credibility."""
    vector = np.ones(64)
    engine.add("stone", vector=vector, credibility=0.1)
    engine.add("stone", vector=vector, credibility=0.9)
    engine.add("stone", vector=vector, keywords=["one"])
    engine.add("Stone", vector=vector, keywords=["two"])
    assert engine.defrag(merge=True).duplicates == 0
    assert len(engine.search(vector=vector, top_k=9)) == 4


def test_the_id_of_one_that_was_merged_leads_to_the_other_everywhere(engine):
    """In every verb that takes an id."""
    first, twin = engine.add("stone"), engine.add("stone")
    engine.defrag(near=None)
    assert [one.id for one in engine.history(memory=twin.id)] == [first.id]
    assert engine.supersede(twin.id, "water").superseded == first.id
    engine.delete(twin.id)
    engine.restore(twin.id)
    engine.purge(twin.id)
    with pytest.raises(UnknownName):
        engine.get(first.id)


def test_defragmenting_can_be_watched_and_stopped(engine, unit):
    """What its progress raises comes out; what was done stays done."""
    engine.add_many([f"m{i}" for i in range(2_200)], vectors=unit(2_200))
    seen = []
    engine.defrag(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1_000, 2_200), (2_000, 2_200), (2_200, 2_200)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.defrag(progress=stop)
    assert engine.count() == 2_200
    with pytest.raises(InvalidInput, match="near must be a cosine"):
        engine.defrag(near=2)


# -- another encoder ---------------------------------------------------------------------------------------------------


def test_reembedding_searches_by_the_new_encoder(engine):
    """And back, without embedding anything again."""
    engine.add_many([f"text number{i}" for i in range(700)])
    engine.delete(5)
    before = texts(engine.search("number77 text", top_k=3))
    seen = []
    assert engine.reembed("hashing:128", progress=lambda done, total: seen.append((done, total))) == 700
    assert seen[-1] == (700, 700)
    assert engine.stats().dim == 128
    assert texts(engine.search("number77 text", top_k=1)) == ["text number77"]
    with pytest.raises(InvalidInput, match="the vectors have 64 dimensions"):
        engine.search(vector=np.ones(64))
    engine.add("text of the new time")
    engine.restore(5)
    assert texts(engine.search("text number4", top_k=1)) == ["text number4"]
    assert engine.reembed("hashing:128") == 0
    assert engine.reembed("hashing:64") == 1
    assert texts(engine.search("number77 text", top_k=3)) == before
    assert texts(engine.search("the new time", top_k=1)) == ["text of the new time"]


def test_reembedding_that_is_stopped_goes_on(opened):
    """Also by another process; until it is done the old encoder is searched."""
    with opened() as engine:
        engine.add_many([f"text number{i}" for i in range(900)])

        def stop(done: int, total: int) -> None:
            if done >= 300:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.reembed("hashing:128", progress=stop)
        assert engine.stats().dim == 64
        assert texts(engine.search("number8 text", top_k=1)) == ["text number8"]
    with opened() as engine:
        assert engine.reembed("hashing:128", keep=False) == 900 - 512
    with opened(encoder=None) as engine:
        assert engine.stats().dim == 128
        assert texts(engine.search("number8 text", top_k=1)) == ["text number8"]
        assert engine.reembed("hashing:64") == 900


def test_searches_and_adds_go_on_while_all_is_embedded_anew(opened):
    """None fails, none misses what it just added; readers follow."""
    engine = opened()
    engine.add_many([f"text number{i}" for i in range(1_500)])
    reader = opened(readonly=True, encoder=None)
    failures: list[BaseException] = []
    stop = threading.Event()

    def work() -> None:
        turn = 0
        try:
            while not stop.is_set():
                text = f"meanwhile{turn} said"
                engine.add(text)
                assert texts(engine.search(text, top_k=1)) == [text]
                turn += 1
        except BaseException as error:  # noqa: BLE001 -- told in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    for dim in (96, 128, 64):
        engine.reembed(f"hashing:{dim}")
        assert texts(reader.search("number77 text", top_k=1)) == ["text number77"]
    stop.set()
    thread.join()
    assert failures == []
    with engine._store.database.read() as connection:
        (missing,) = connection.exec_driver_sql(
            "SELECT count(*) FROM memories WHERE id NOT IN "
            "(SELECT memory FROM vectors v JOIN state s ON v.encoder = s.encoder)"
        ).one()
    assert missing == 0


@pytest.mark.parametrize(("name", "keep"), [("hashing:128", True), ("hashing:128", False), ("lsa:16", True)])
def test_a_rollback_gives_up_what_is_being_embedded_anew(opened, name, keep):
    """It is told so; the file opens, with the encoder of the version."""
    with opened() as engine:
        engine.add_many([f"text number{i} of {i % 7}" for i in range(600)])
        engine.snapshot("v")
        engine.add("what comes later")

        def roll_back(done: int, total: int) -> None:
            if engine.count() > 600:
                engine.rollback("v")

        with pytest.raises(StorageError, match="was rolled back while this was under way"):
            engine.reembed(name, keep=keep, progress=roll_back)
        assert engine.stats().dim == 64
        assert texts(engine.search("number8 text", top_k=1)) == ["text number8 of 1"]
    for settings in ({}, {"encoder": None}):
        with opened(**settings) as engine:
            assert (engine.count(), engine.stats().encoder) == (600, "hashing:64")
            assert texts(engine.search("number8 text", top_k=1)) == ["text number8 of 1"]


def test_a_rollback_keeps_what_the_former_past_was_about_to_drop(opened, monkeypatch):
    """In the middle of taking out the vectors of the encoder before, which is in use again."""
    engine = opened()
    engine.add_many([f"text number{i}" for i in range(600)])
    engine.snapshot("v")
    next_of, rolled = Reembedding._next_of, []

    def roll_back(self, others):
        some = next_of(self, others)
        if len(rolled) < 1:
            rolled.append(engine.stats().dim)
            engine.rollback("v")
        return some

    monkeypatch.setattr(Reembedding, "_next_of", roll_back)
    with pytest.raises(StorageError, match="was rolled back"):
        engine.reembed("hashing:128", keep=False)
    assert rolled == [128]
    engine.close()
    with opened() as engine:
        assert len(engine.search("number8 text", top_k=700)) == 600


@pytest.mark.parametrize("index", ["tail", "saved index"])
def test_a_reader_follows_a_rollback_to_the_version_of_another_file(opened, tmp_path, index):
    """Its memories have the ids of those before and other vectors."""
    count = 2_100 if index == "saved index" else 12
    said = {word: [f"{word} fact number{i}" for i in range(count)] for word in ("alpha", "beta")}
    with opened(tmp_path / "a.db") as engine:
        engine.add_many(said["alpha"])
        engine.snapshot("va")
    with opened(tmp_path / "b.db") as engine:
        engine.add_many([*said["beta"], "beta at last"])
        engine.flush()
    shutil.copytree(tmp_path / "a.db.versions", tmp_path / "b.db.versions")
    engine, reader = opened(tmp_path / "b.db"), opened(tmp_path / "b.db", readonly=True)
    assert texts(reader.search("beta fact number7", top_k=1)) == ["beta fact number7"]
    engine.rollback("va")
    for asked in (reader, engine):
        hits = asked.search("alpha fact number7", top_k=12)
        assert len(hits) == 12
        assert (hits[0].memory.text, hits[0].score) == ("alpha fact number7", pytest.approx(1.0, abs=1e-5))


def test_a_search_in_the_middle_of_a_rollback_is_of_one_past(opened, tmp_path, monkeypatch):
    """Also where one that the rollback before has overtaken looked into what was another namespace by then."""
    with opened(tmp_path / "a.db") as engine:
        engine.add("of another namespace", namespace="other")
        engine.add_many([f"alpha fact number{i}" for i in range(30)])
        engine.snapshot("va")
    engine = opened(tmp_path / "b.db")
    engine.add_many([f"beta fact number{i}" for i in range(30)])
    engine.snapshot("vb")
    shutil.copytree(tmp_path / "a.db.versions" / "va", tmp_path / "b.db.versions" / "va")
    before = engine._core.whereabouts("global")
    engine.rollback("va")
    assert engine._core.whereabouts("global") != before
    engine._core.shelves.get(before[1], before[0])
    restore, seen = Snapshots.restore, []

    def search_then(self, source):
        restore(self, source)
        seen.append(texts(engine.search("fact number7", top_k=20)))

    monkeypatch.setattr(Snapshots, "restore", search_then)
    engine.rollback("vb")
    assert len(seen[0]) == 20
    assert seen[0][0] == "beta fact number7"


def test_a_rollback_to_no_version_gives_nothing_up(opened):
    """It is a mistake in a name."""
    engine = opened()
    engine.add_many([f"text number{i}" for i in range(300)])

    def mistake(done: int, total: int) -> None:
        with pytest.raises(UnknownName, match="nowhere"):
            engine.rollback("nowhere")

    assert engine.reembed("hashing:128", progress=mistake) == 300
    assert engine.stats().dim == 128


# -- versions ----------------------------------------------------------------------------------------------------------


def test_a_version_is_brought_back(opened, unit, tmp_path):
    """Memories, history, namespaces and encoder; ids go on, and indexes know."""
    vectors = unit(5_000)
    engine = opened()
    engine.add_many([f"m{i}" for i in range(2_500)], vectors=vectors[:2_500])
    engine.add("red", slot="colour", namespace="n")
    engine.flush()
    kept = engine.snapshot("first")
    assert (kept.name, kept.memories) == ("first", 2_501)
    assert kept.bytes > 2_500 * 256
    engine.add_many([f"later {i}" for i in range(2_500)], vectors=vectors[2_500:])
    engine.add("blue", slot="colour", namespace="n")
    engine.add("x", namespace="new")
    engine.delete(10)
    reader = opened(readonly=True)
    assert reader.search(vector=vectors[2_600], top_k=1)[0].memory.text == "later 100"
    engine.flush()
    engine.rollback("first")
    for one in (engine, reader):
        assert one.count() == 2_500
        assert one.search(vector=vectors[9], top_k=1)[0].memory.id == 10
        assert one.search(vector=vectors[2_600], top_k=1)[0].memory.id <= 2_500
        assert texts(one.search("m7", mode="lexical")) == ["m7"]
        assert one.search("later", mode="lexical") == []
        assert [memory.text for memory in one.history("colour", namespace="n")] == ["red"]
        assert [space.name for space in one.namespaces()] == ["global", "n"]
    assert engine.add("next", vector=vectors[0]).id == 5_004
    engine.close()
    with opened() as engine:
        assert [version.name for version in engine.versions()] == ["first"]
        assert engine.count() == 2_501
        assert engine.search(vector=vectors[9], top_k=1)[0].memory.id == 10
        assert engine.search(vector=vectors[2_600], top_k=1)[0].memory.id != 2_602
        shelf, _ = engine._core.shelves._shelves[1]
        assert len(shelf) == 2_501  # nothing of what was rolled back, which was saved with the index
        engine.remove_version("first")
        assert engine.versions() == []
        with pytest.raises(UnknownName, match="version"):
            engine.rollback("first")


def test_a_removal_that_is_cut_off_leaves_no_half_of_a_version(opened, tmp_path, monkeypatch):
    """Whatever of its files is gone by then; a purge takes away the rest."""
    with opened() as engine:
        engine.add("one")
        engine.snapshot("first")

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                engine.remove_version("first")
        folder = tmp_path / "memory.db.versions"
        assert [home.name for home in folder.iterdir() if not home.name.startswith(".")] == []
        assert engine.versions() == []
        engine.snapshot("first")
        engine.purge(engine.add("two").id)
        assert [home.name for home in folder.iterdir()] == ["first"]


def test_the_words_of_another_past_are_not_used_after_a_rollback(opened, tmp_path, monkeypatch):
    """Neither those in memory nor those in a file, and by no reader who has them open."""
    for kept_from in (0, 2_000):
        monkeypatch.setattr("adamem.memory.lexicon._KEPT_FROM", kept_from)
        engine = opened(tmp_path / f"{kept_from}.db")
        for text in ("one", "two", "three"):
            engine.add(f"{text} common")
        engine.snapshot("v0")
        engine.add_many(["delta four", "epsilon five"])
        engine.snapshot("v1")
        engine.rollback("v0")
        reader = opened(engine.stats().path, readonly=True)
        assert len(reader.search("common", mode="lexical")) == 3
        engine.add("zeta six")
        assert texts(reader.search("zeta", mode="lexical")) == ["zeta six"]
        engine.rollback("v1")
        engine.add("seven")
        for one in (reader, engine):
            assert texts(one.search("delta", mode="lexical")) == ["delta four"]
            assert one.search("zeta", mode="lexical") == []


def test_a_rollback_to_another_encoder_goes_on_with_it(opened):
    """The version's vectors are the old encoder's."""
    engine = opened()
    engine.add("hello there")
    engine.snapshot("v")
    engine.reembed("hashing:128")
    engine.rollback("v")
    assert texts(engine.search("hello")) == ["hello there"]
    assert engine.stats().dim == 64
    engine.add("and now")
    assert engine.reembed("hashing:128") == 2
    assert engine.reembed("hashing:128", keep=False) == 0
    with engine._store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(DISTINCT encoder) FROM vectors").scalar_one() == 1


def test_what_only_a_version_has_can_be_purged(opened, tmp_path):
    """And what a snapshot that was killed left of it."""
    engine = opened()
    engine.add("plain")
    engine.snapshot("before")
    secret = engine.add("narwhal password").id
    engine.snapshot("after")
    left = tmp_path / "memory.db.versions" / ".third.0123abcd.tmp"
    left.mkdir()
    (left / "memory.db").write_bytes(b"half of narwhal")
    engine.rollback("before")
    engine.purge(secret)
    assert holders(tmp_path, b"narwhal") == []
    engine.rollback("after")
    assert engine.count() == 1
    with pytest.raises(UnknownName, match="may have been purged already"):
        engine.purge(secret)


def test_only_one_embeds_anew_at_a_time(opened):
    """The second is told so."""
    engine = opened()
    engine.add_many([f"text {i}" for i in range(300)])

    def again(done: int, total: int) -> None:
        with pytest.raises(StorageError, match="are being embedded anew already"):
            engine.reembed("hashing:32")

    assert engine.reembed("hashing:128", progress=again) == 300


def test_versions_have_names_that_folders_may_have(opened, tmp_path):
    """And none is written over."""
    engine = opened()
    engine.add("x")
    unnamed = engine.snapshot()
    assert unnamed.name[:4].isdigit()
    engine.snapshot("a.b-c_1")
    for name in ("", ".", "..", "../x", "a/b", "a b", "x" * 101, "ä"):
        if name:
            with pytest.raises(InvalidInput, match="a version's name has letters"):
                engine.snapshot(name)
    with pytest.raises(InvalidInput, match=r"there is a version a\.b-c_1 already"):
        engine.snapshot("a.b-c_1")
    with pytest.raises(InvalidInput, match="must be a string"):
        engine.snapshot(5)
    with pytest.raises(UnknownName, match="version"):
        engine.rollback("../memory")
    memory = opened(":memory:")
    for verb in (memory.snapshot, memory.versions, lambda: memory.rollback("x")):
        with pytest.raises(StorageError, match='":memory:" has no versions'):
            verb()


def test_a_damaged_version_is_refused_and_changes_nothing(opened, tmp_path):
    """Whether its database or what is said about it."""
    engine = opened()
    engine.add_many([f"memory {i} " + "word " * 60 for i in range(200)])
    engine.snapshot("a")
    engine.snapshot("b")
    engine.add("after")
    (tmp_path / "memory.db.versions" / "a" / "version.json").write_text("{")
    database = tmp_path / "memory.db.versions" / "b" / "memory.db"
    whole = bytearray(database.read_bytes())
    whole[4096:-4096] = b"\xa5" * (len(whole) - 8192)
    database.write_bytes(whole)
    assert [version.name for version in engine.versions()] == ["b"]
    with pytest.raises(UnknownName):
        engine.rollback("a")
    with pytest.raises(CorruptResult):
        engine.rollback("b")
    assert engine.count() == 201
    engine.add("goes on")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_older_format_is_brought_up_to_date(opened, tmp_path, version):
    """Once, by who may write it; a version of that format too."""
    path = tmp_path / "memory.db"
    with opened(path) as engine:
        engine.add("red", slot="colour")
        engine.add("blue", slot="colour")
        engine.snapshot("old")

    def older_format(file: Path) -> None:
        connection = sqlite3.connect(file)
        connection.executescript(
            "DROP TABLE lessons; DROP TABLE adaptations; ALTER TABLE state RENAME TO newer;"
            "CREATE TABLE state (id INTEGER NOT NULL, sequence INTEGER NOT NULL, last_memory INTEGER NOT NULL, "
            "clock INTEGER NOT NULL, encoder INTEGER, PRIMARY KEY (id), FOREIGN KEY(encoder) REFERENCES encoders (id));"
            "INSERT INTO state SELECT id, sequence, last_memory, clock, encoder FROM newer; DROP TABLE newer"
        )
        if version <= 2:
            connection.execute("DROP TABLE fitted")
        if version == 1:
            for name in ("usage", "aliases", "unscrubbed"):
                connection.execute(f"DROP TABLE {name}")
            connection.execute("DROP INDEX memories_by_namespace")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
        connection.close()

    wanted = sqlite3.connect(path).execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 2").fetchall()
    older_format(path)
    older_format(tmp_path / "memory.db.versions" / "old" / "memory.db")
    with pytest.raises(DataError, match=r"was written by an older AdaMem .* open it once without readonly=True"):
        MemoryEngine(path, readonly=True)
    with opened(path) as engine:
        assert [one.text for one in engine.history("colour")] == ["red", "blue"]
        engine.add("green", slot="colour")
        engine.rollback("old")
        assert [one.text for one in engine.history("colour")] == ["red", "blue"]
        assert engine.defrag().expired == 0
    found = sqlite3.connect(path).execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 2").fetchall()
    assert found == wanted
    assert schema.VERSION == 4


# -- packages ----------------------------------------------------------------------------------------------------------


def filled(engine: MemoryEngine) -> None:
    engine.add("red", slot="colour", namespace="a", valid_from=datetime(2025, 1, 1, tzinfo=UTC))
    engine.add(
        "blue", slot="colour", namespace="a", metadata={"k": ["ü", 1.5, None]}, keywords=["sky"], credibility=0.5
    )
    engine.update("Why?", "Because", namespace="b")
    first = engine.add("one", namespace="b")
    engine.add("two", namespace="b", links=[first.id])
    engine.supersede(first.id, "one and a half", ttl=timedelta(days=1000))
    engine.delete(engine.add("deleted", namespace="b").id)


def test_a_package_brings_everything_elsewhere(opened, tmp_path):
    """Under new ids, with history, times, links and vectors; the same memories give the same bytes."""
    engine = opened()
    filled(engine)
    package = tmp_path / "memories.zip"
    assert engine.export_package(package, licence="CC-BY-4.0") == 6
    again = tmp_path / "again.zip"
    engine.export_package(again, licence="CC-BY-4.0")
    assert package.read_bytes() == again.read_bytes()
    other = opened(tmp_path / "other.db")
    other.add("here before", namespace="a")
    done = other.import_package(package)
    assert (done.memories, done.namespaces) == (6, ("a", "b"))
    assert sorted(done.ids) == [1, 2, 3, 4, 5, 6]
    for old, new in done.ids.items():
        one, two = engine.get(old), other.get(new)
        same = ("text", "namespace", "type", "slot", "question", "metadata", "keywords", "credibility", "created")
        for name in (*same, "updated", "valid_from", "valid_to", "expires", "revision"):
            assert getattr(one, name) == getattr(two, name), name
    assert other.get(done.ids[5]).links == (done.ids[4],)
    assert [one.text for one in other.history("colour", namespace="a")] == ["red", "blue"]
    assert [one.text for one in other.history(memory=done.ids[4])] == ["one", "one and a half"]
    for query in ("blue", "one", "why because"):
        for space in ("a", "b"):
            mine = {hit.memory.text: hit.score for hit in engine.search(query, namespace=space, top_k=9)}
            theirs = {hit.memory.text: hit.score for hit in other.search(query, namespace=space, top_k=9)}
            theirs.pop("here before", None)
            assert theirs == pytest.approx(mine)


def test_an_imported_fact_takes_its_place_in_its_slot(opened, tmp_path, clock):
    """By when it holds: an older one becomes history, a newer one supersedes; never two at once."""
    source = opened(tmp_path / "source.db", clock=clock)
    source.add("old town", slot="city", valid_from=datetime(2024, 1, 1, tzinfo=UTC))
    source.add("new town", slot="city", valid_from=datetime(2025, 6, 1, tzinfo=UTC))
    source.export_package(tmp_path / "p.zip")
    engine = opened(tmp_path / "here.db", clock=clock)
    engine.add("between", slot="city", namespace="mine", valid_from=datetime(2025, 1, 1, tzinfo=UTC))
    engine.import_package(tmp_path / "p.zip", namespace="mine")
    assert [one.text for one in engine.history("city", namespace="mine")] == ["old town", "between", "new town"]
    assert texts(engine.search("town", namespace="mine")) == ["new town"]
    assert texts(engine.search("x", namespace="mine", as_of=datetime(2025, 3, 1, tzinfo=UTC))) == ["between"]
    assert engine.search("town") == []


def test_what_was_superseded_by_its_id_stays_apart_from_others(opened, tmp_path):
    """A package taken in twice, into a namespace that has memories of the same numbers: three histories."""
    engine = opened()
    first = engine.add("one")
    engine.supersede(first.id, "two")
    engine.export_package(tmp_path / "p.zip")
    for _ in range(2):
        done = engine.import_package(tmp_path / "p.zip")
        assert [one.text for one in engine.history(memory=done.ids[first.id])] == ["one", "two"]
    assert [one.id for one in engine.history(memory=first.id)] == [1, 2]
    assert texts(engine.search("two", top_k=9)) == ["two"] * 3


def test_a_package_of_another_encoder_is_embedded_anew(opened, tmp_path):
    """Its vectors are not compared with ours."""
    source = opened(tmp_path / "source.db", encoder=open_encoder("hashing:128"))
    source.add_many(["stone in water", "bird in air"])
    source.export_package(tmp_path / "p.zip")
    engine = opened()
    engine.add("ship at sea")
    engine.import_package(tmp_path / "p.zip")
    assert texts(engine.search("bird air", top_k=1)) == ["bird in air"]
    assert engine.stats().dim == 64


def test_whatever_can_be_kept_can_be_handed_on(opened, tmp_path):
    """The longest texts, in the signs that take most room, and names of 4 kB."""
    engine = opened()
    longest = "\x01" * ((1 << 20) - 1) + "a"
    engine.add_many([NewMemory(text=longest, question=longest)], namespace="n" * 4_096)
    engine.add("x", keywords=["k" * 1_000] * 60, links=range(1, 10_001), metadata={"m": "\x02" * 150_000})
    for number in range(300):
        engine.create_namespace(f"{number:04}" * 1_000)
    engine.add("y", namespace="0000" * 1_000)
    assert engine.export_package(tmp_path / "p.zip") == 3
    other = opened(tmp_path / "other.db")
    ids = other.import_package(tmp_path / "p.zip").ids
    assert other.get(ids[1]).text == longest
    assert other.get(ids[2]).keywords == engine.get(2).keywords
    with pytest.raises(InvalidInput, match=r"keywords has .* bytes, and at most"):
        engine.add("z", keywords=["k" * 1_000] * 70)
    with pytest.raises(InvalidInput, match="a memory has 10,001 links"):
        engine.add("z", links=range(1, 10_002))


def test_links_out_of_a_package_lead_to_no_stranger(opened, tmp_path):
    """Ids of what stayed behind are other memories' where it comes to; those of what was merged are followed."""
    engine = opened()
    secret = engine.add("secret", namespace="b")
    stone, twin = engine.add("stone"), engine.add("stone")
    see = engine.add("see", links=[secret.id, twin.id, stone.id, 777])
    engine.defrag(near=None)
    engine.export_package(tmp_path / "p.zip", namespaces=["global"])
    other = opened(tmp_path / "other.db")
    other.add_many(["private", "more", "and more"], namespace="other")
    ids = other.import_package(tmp_path / "p.zip").ids
    assert other.get(ids[see.id]).links == (ids[stone.id],)


def test_what_was_merged_and_linked_without_end_can_be_handed_on(opened, tmp_path, monkeypatch):
    """No memory has more links than can be added, however it came to them; nor a package of a file that has some."""
    engine = opened()
    engine.add("stone", links=range(11, 6_011))
    engine.add("stone", links=range(6_011, 12_011))
    assert engine.defrag(near=None).duplicates == 1
    assert engine.get(1).links == tuple(range(11, 10_011))
    vector = np.ones(64)
    one = engine.add("near", vector=vector, links=range(100, 10_099))
    others = [engine.add(f"near {number}", vector=vector) for number in range(3)]
    assert engine.defrag().linked == 6
    assert engine.get(one.id).links == (*range(100, 10_099), others[0].id)
    assert engine.defrag().linked == 0
    monkeypatch.setattr("adamem.memory.drafts.MAX_LINKS", 20_000)
    engine.add("of an older engine", links=[1] * 15_000)
    monkeypatch.undo()
    count = engine.export_package(tmp_path / "p.zip")
    assert opened(tmp_path / "other.db").import_package(tmp_path / "p.zip").memories == count


def test_only_some_namespaces_are_exported(opened, tmp_path):
    """By name."""
    engine = opened()
    filled(engine)
    assert engine.export_package(tmp_path / "p.zip", namespaces=["a"]) == 2
    with pytest.raises(UnknownName, match="namespace 'c'"):
        engine.export_package(tmp_path / "q.zip", namespaces=["a", "c"])
    with pytest.raises(InvalidInput, match="several names, not the one string 'a'"):
        engine.export_package(tmp_path / "q.zip", namespaces="a")
    with pytest.raises(StorageError):
        engine.export_package(tmp_path / "p.zip" / "q.zip")
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == ["p.zip"]
    (tmp_path / "link.zip").symlink_to(tmp_path / "memory.db")
    for name in ("memory.db", "memory.db-wal", "memory.db.lock", "memory.db.index/x.zip", "link.zip"):
        with pytest.raises(InvalidInput, match="belongs to the memories themselves"):
            engine.export_package(tmp_path / name)
    (tmp_path / "link.zip").unlink()
    assert engine.count(namespace="a") == 1
    empty = opened(tmp_path / "empty.db")
    assert empty.export_package(tmp_path / "empty.zip") == 0
    assert engine.import_package(tmp_path / "empty.zip").memories == 0


def rewritten(path: Path, **parts: bytes | None) -> Path:
    """A package with other parts, and a manifest that knows of them."""
    import hashlib

    with zipfile.ZipFile(path) as package:
        content = {name: package.read(name) for name in package.namelist()}
    manifest = json.loads(content.pop("manifest.json"))
    for name, given in parts.items():
        whole = {"memories": "memories.jsonl", "vectors": "vectors.npy"}[name]
        if given is not None:
            content[whole] = given
            manifest["files"][whole] = {"bytes": len(given), "sha256": hashlib.sha256(given).hexdigest()}
    out = path.with_name("rewritten.zip")
    with zipfile.ZipFile(out, "w") as package:
        package.writestr("manifest.json", json.dumps(manifest))
        for name, given in content.items():
            package.writestr(name, given)
    return out


def test_a_package_takes_the_place_of_nothing_but_a_package(opened, tmp_path):
    """Other memories, a note, a zip of something else: each stays, and is named; a package is replaced."""
    engine = opened()
    engine.add("one")
    with opened(tmp_path / "other.db") as other:
        other.add("another's")
    (tmp_path / "note.txt").write_text("mine")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as mine:
        mine.writestr("photo.jpg", b"...")
    for name in ("other.db", "note.txt", "mine.zip"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InvalidInput, match=f"{name} is there and is no package"):
            engine.export_package(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    engine.export_package(tmp_path / "own.zip")
    engine.add("two")
    assert engine.export_package(tmp_path / "own.zip") == 2


def test_packages_that_were_tampered_with_are_refused_whole(opened, tmp_path):
    """Whatever is wrong with them; nothing of them is kept, and nothing is written elsewhere."""
    engine = opened()
    filled(engine)
    good = tmp_path / "good.zip"
    engine.export_package(good)
    with zipfile.ZipFile(good) as package:
        content = {name: package.read(name) for name in package.namelist()}
    manifest = json.loads(content["manifest.json"])
    lines = content["memories.jsonl"].splitlines(keepends=True)

    def packed(name: str, parts: dict[str, bytes], **how: int) -> Path:
        out = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(out, "w", **how) as package:
            for member, given in parts.items():
                package.writestr(member, given)
        return out

    def said(**other: object) -> bytes:
        return json.dumps(manifest | other).encode()

    one = json.loads(lines[1])
    flipped = bytearray(content["vectors.npy"])
    flipped[-3] ^= 0x40
    bomb = json.loads(content["manifest.json"])
    bomb["files"]["memories.jsonl"]["bytes"] = 64 << 20
    cases: list[tuple[Path, type[Exception], str]] = [
        (packed("traversal", content | {"../../evil": b"x"}), DataError, "which no package of memories has"),
        (packed("absolute", content | {"/tmp/evil": b"x"}), DataError, "which no package of memories has"),
        (packed("newer", content | {"manifest.json": said(version=3)}), DataError, "newer AdaMem"),
        (packed("other", content | {"manifest.json": said(kind="cats")}), DataError, "a package of 'cats'"),
        (packed("no manifest", {"memories.jsonl": b""}), DataError, "has no manifest.json"),
        (packed("no json", content | {"manifest.json": b"{"}), CorruptResult, "cannot be read"),
        (packed("half", content | {"manifest.json": b"{}"}), CorruptResult, "cannot be read"),
        (packed("flipped", content | {"vectors.npy": bytes(flipped)}), CorruptResult, "vectors.npy .* not what was"),
        (packed("cut", content | {"memories.jsonl": b"".join(lines[:-1])}), CorruptResult, "memories.jsonl"),
        (
            packed(
                "bomb",
                content | {"memories.jsonl": b"\n" * (64 << 20), "manifest.json": json.dumps(bomb).encode()},
                compression=zipfile.ZIP_DEFLATED,
            ),
            DataError,
            "unpacks to .* if you trust it, say max_bytes",
        ),
        (
            rewritten(good, memories=b"".join(lines[:-1])).rename(tmp_path / "fewer.zip"),
            CorruptResult,
            "has 5 memories, not the 6",
        ),
    ]
    for name, change in [
        ("twice", None),
        ("no text", {"text": ""}),
        ("number", {"id": -5}),
        ("huge number", {"id": 1 << 70}),
        ("text number", {"id": "5"}),
        ("no time", {"valid_from": None}),
        ("bad time", {"created": "yesterday"}),
        ("naive time", {"created": "2025-01-01T00:00:00"}),
        ("topic", {"slot": None, "topic": "slot:colour"}),
        ("revision", {"revision": 0}),
        ("surrogate", {"text": "\ud800"}),
        ("namespace", {"namespace": ""}),
    ]:
        line = lines[0] if change is None else json.dumps(one | change).encode() + b"\n"
        out = rewritten(good, memories=b"".join([lines[0], line, *lines[2:]])).rename(tmp_path / f"{name}.zip")
        cases.append((out, CorruptResult, "none that can be kept|twice"))
    good_vectors = content["vectors.npy"]
    for name, given in [
        (
            "pickled",
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (6,), }".ljust(128) + b"x",
        ),
        ("short", good_vectors[: -64 * 4]),
        ("nan", good_vectors[:-4] + np.float32(np.nan).tobytes()),
        ("zeros", good_vectors[: -64 * 4] + bytes(64 * 4)),
        ("no numpy", b"vectors"),
    ]:
        out = rewritten(good, vectors=given).rename(tmp_path / f"{name}.zip")
        cases.append((out, Exception, "."))
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    cases += [(text, DataError, "is no package of memories"), (tmp_path / "none.zip", StorageError, "cannot read")]
    other = opened(tmp_path / "other.db")
    other.add("here before")
    before = {path for path in tmp_path.parent.rglob("*") if "other.db" not in path.name}
    for path, kind, sentence in cases:
        with pytest.raises((DataError, CorruptResult, StorageError, InvalidInput), match=sentence) as raised:
            other.import_package(path, max_bytes=32 << 20)
        assert isinstance(raised.value, kind), path.name
    assert other.count() == 1
    assert [one.name for one in other.namespaces()] == ["global"]
    assert {path for path in tmp_path.parent.rglob("*") if "other.db" not in path.name} == before
    assert other.import_package(good).memories == 6
    assert not Path("/tmp/evil").exists()


# -- who may do what when ----------------------------------------------------------------------------------------------


def test_readers_may_look_and_not_touch(opened, tmp_path):
    """Exporting and the stats are reading."""
    with opened() as engine:
        engine.add("x")
        engine.snapshot("v")
    reader = opened(readonly=True)
    reader.export_package(tmp_path / "p.zip")
    assert (reader.stats().memories, len(reader.versions())) == (1, 1)
    for verb in (
        lambda: reader.purge(1),
        lambda: reader.supersede(1, "y"),
        reader.defrag,
        lambda: reader.reembed("hashing:32"),
        lambda: reader.snapshot("w"),
        lambda: reader.rollback("v"),
        lambda: reader.remove_version("v"),
        lambda: reader.delete_namespace("global"),
        lambda: reader.copy_namespace("global", "b"),
        lambda: reader.create_namespace("b"),
        lambda: reader.import_package(tmp_path / "p.zip"),
    ):
        with pytest.raises(StorageError, match="was opened for reading"):
            verb()


def test_what_is_deleted_is_written_over(opened):
    """And what is acknowledged flushed: whatever this SQLite does by itself."""
    engine = opened()
    with engine._store.database.raw() as connection:
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("path", ["memory.db", ":memory:"])
def test_interrupts_at_any_moment_harm_nothing(opened, tmp_path, path):
    """A hundred and fifty, while it writes and while it reads: what was acknowledged is there, and all goes on."""
    engine = opened(path if path == ":memory:" else tmp_path / path)
    engine.add("first")
    random, kept, interrupted = np.random.default_rng(0), [1], 0

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, float(random.uniform(1e-4, 6e-3)))
                for _ in range(100):
                    engine.search("first")
                    engine.history("slot")
                    kept.append(engine.add(f"fact {turn}", slot="slot").id)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 140
    assert {one.id for one in engine.history("slot")} | {1} >= set(kept)
    assert [hit.memory.text for hit in engine.search("first", top_k=1)] == ["first"]
    assert engine.count() == 2


def test_a_thread_that_is_taken_for_ended_does_its_work(monkeypatch):
    """An interrupt in the middle of `Thread.is_alive` lets Python take a thread at work for one that has ended."""
    scribe = Scribe()
    monkeypatch.setattr(scribe._thread, "is_alive", lambda: False)
    assert scribe.do(threading.current_thread) is scribe._thread
    scribe.close()
    assert scribe.do(threading.current_thread) is threading.current_thread()


def test_an_interrupt_in_the_middle_harms_nothing(opened, monkeypatch):
    """Ctrl-C while a write is on its way: it is done whole, and the engine goes on."""
    engine = opened()
    engine.add("first")
    done = threading.Event()
    original = type(engine._store).add

    def slow(self, *given):
        kept = original(self, *given)
        os.kill(os.getpid(), 2)  # SIGINT, while the writer's thread is in the middle of it
        done.wait(1)
        return kept

    monkeypatch.setattr(type(engine._store), "add", slow)
    with pytest.raises(KeyboardInterrupt):
        engine.add("second")
    done.set()
    monkeypatch.undo()
    assert engine.add("third").id == 3
    assert sorted(texts(engine.search("second"))) == ["first", "second", "third"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_is_told_to_open_its_own(opened):
    """A connection that crosses a fork damages files."""
    engine = opened()
    engine.add("x")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover -- in the child
        try:
            engine.search("x")
        except StorageError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert "was opened before a fork; open it in this process as well" in os.read(read, 1_000).decode()
    os.close(read)
    os.close(write)
    assert texts(engine.search("x")) == ["x"]


def test_the_awaited_engine_does_the_same(tmp_path, encoder):
    """Every verb of the engine has its twin."""
    import asyncio

    from adamem.memory import AsyncMemoryEngine

    async def program() -> list[str]:
        async with await AsyncMemoryEngine.open(tmp_path / "memory.db", encoder=encoder) as memory:
            added = await asyncio.gather(*(memory.add(f"text number{i}") for i in range(20)))
            assert sorted(one.id for one in added) == list(range(1, 21))
            assert (await memory.get(3)).id == 3
            assert len([one async for one in memory.get_all()]) == 20
            return texts(await memory.search("number7 text", top_k=1))

    async def impatient() -> int:
        async with await AsyncMemoryEngine.open(tmp_path / "memory.db", encoder=encoder) as memory:
            tasks = [asyncio.create_task(memory.add(f"cancelled {i}")) for i in range(100)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while (count := await memory.count()) < 120:
                await asyncio.sleep(0.01)
            return count

    assert asyncio.run(program()) == ["text number7"]
    assert asyncio.run(impatient()) == 120
    verbs = {name for name in vars(MemoryEngine) if not name.startswith("_")}
    assert verbs <= set(vars(AsyncMemoryEngine))
