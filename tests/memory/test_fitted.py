"""`encoder="lsa"`: an encoder that is fitted to the memories themselves, and kept in their file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from adamem.adapt import QueryAdapter
from adamem.encoders.lsa import LsaEncoder, words
from adamem.encoders.query_map import QueryMap
from adamem.errors import CorruptResult, InvalidInput, UnknownName
from adamem.memory import Hit, LearningPlan, MemoryEngine, NewMemory

ANIMALS = ["the cat", "a kitten", "the mouse", "my dog", "a puppy", "the horse"]
DEEDS = ["sleeps in the barn", "drinks warm milk", "runs over the field", "is fed at noon", "likes to be brushed"]
SAID = [f"{animal} {deed}" for animal in ANIMALS for deed in DEEDS]


def texts(hits: list[Hit]) -> list[str]:
    return [hit.memory.text for hit in hits]


def holders(folder: Path, wanted: str) -> list[str]:
    """The files that have this word in them."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and wanted.encode() in path.read_bytes())


def fits(path: Path) -> int:
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM fitted").fetchone()
    connection.close()
    return int(count)


@pytest.fixture
def open_lsa(opened, tmp_path):
    """Engines on one file, by default with encoder="lsa"."""
    return lambda path=None, **settings: opened(path, **{"encoder": "lsa", **settings})


@pytest.mark.parametrize("path", ["memory.db", ":memory:"])
def test_a_new_file_is_fitted_to_the_first_texts(open_lsa, tmp_path, path):
    """All of one call; what is added later is embedded by the same fit."""
    engine = open_lsa(path if path == ":memory:" else tmp_path / path)
    engine.add_many(SAID)
    assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]
    dim = engine.stats().dim
    engine.add("the dog and the cat sleep")
    assert engine.stats().dim == dim <= 31
    assert "the dog and the cat sleep" in texts(engine.search("dog cat", top_k=4))


@pytest.mark.parametrize("settings", [{}, {"encoder": None}, {"readonly": True}, {"encoder": "lsa:256"}])
def test_the_fit_is_in_the_file(open_lsa, tmp_path, settings):
    """Whoever opens it, under whatever name of it, has the same vectors; nothing else beside the file is needed."""
    with open_lsa() as engine:
        engine.add_many(SAID)
        before = [(hit.memory.id, hit.score) for hit in engine.search("my horse at noon", top_k=9)]
        row = engine._core.row
    alone = tmp_path / "alone" / "m.db"
    alone.parent.mkdir()
    (tmp_path / "memory.db").rename(alone)
    with open_lsa(alone, **settings) as engine:
        assert [(hit.memory.id, hit.score) for hit in engine.search("my horse at noon", top_k=9)] == before
        if not settings.get("readonly"):
            engine.add("the horse neighs")
    with open_lsa(alone, encoder=row.name) as engine:
        assert texts(engine.search("mouse field", top_k=1)) == ["the mouse runs over the field"]


def test_of_two_who_add_to_a_new_file_one_fits(open_lsa, monkeypatch):
    """Also where one has looked for the file's encoder before the other has written it."""
    with open_lsa() as engine:
        look, looked, written = engine._store.encoder, threading.Event(), threading.Event()

        def slow():
            row = look()
            if threading.current_thread() is second:
                looked.set()
                assert written.wait(60)
            return row

        monkeypatch.setattr(engine._store, "encoder", slow)
        second = threading.Thread(target=lambda: engine.add_many(f"then {text}" for text in SAID))
        second.start()
        while second.is_alive() and not looked.wait(0.01):
            pass
        engine.add_many(SAID)
        written.set()
        second.join()
        row = engine._core.known_encoder()
        ids = np.arange(1, 1 + 2 * len(SAID))
        assert sum(len(some) for some, _ in engine._store.vectors(ids, row)) == len(ids)
    assert fits(engine._core.path) == 1


def test_another_process_gives_the_same_fit(open_lsa, tmp_path):
    """Equal texts, equal bytes; other texts, another fingerprint."""
    with open_lsa() as engine:
        engine.add_many(SAID)
    program = (
        "import sys; from adamem.memory import MemoryEngine\n"
        "with MemoryEngine(sys.argv[1], encoder='lsa') as engine:\n"
        f"    engine.add_many({SAID!r})\n"
        "    print(engine._core.row.fingerprint)"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "b.db")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.strip() == engine._core.row.fingerprint
    with open_lsa(tmp_path / "c.db") as other:
        other.add_many([*SAID, "the cat drinks milk"])
        assert other._core.row.fingerprint != engine._core.row.fingerprint


def test_the_name_in_the_environment_will_do(opened, tmp_path, monkeypatch):
    """EMBED_MODEL=lsa:4."""
    monkeypatch.setenv("EMBED_MODEL", "lsa:4")
    engine = opened(encoder=None)
    engine.add_many(SAID)
    assert (engine.stats().encoder, engine.stats().dim) == ("lsa:4", 4)


def test_too_few_texts_are_refused_with_the_way_out(open_lsa, tmp_path):
    """And so is what cannot be its own; nothing is kept of either, and the next call begins anew."""
    engine = open_lsa()
    for verb in (
        lambda: engine.add("one text"),
        lambda: engine.update("what?", "that"),
        lambda: engine.add_many(SAID[:19]),
    ):
        with pytest.raises(InvalidInput, match=r"at least 20 of them, not .* add_many, .* encoder='hashing' until"):
            verb()
    with pytest.raises(InvalidInput, match="learns words that two texts have"):
        engine.add_many([f"word{i}" for i in range(40)])
    with pytest.raises(InvalidInput, match="makes no vectors before"):
        engine.add_many(SAID, vectors=np.ones((len(SAID), 8)))
    with pytest.raises(InvalidInput, match=r"lsa:2000 has more dimensions than the 1,024"):
        open_lsa(tmp_path / "wide.db", encoder="lsa:2000").add_many(SAID)
    assert engine.search("anything") == []
    assert (engine.count(), engine.stats().encoder) == (0, None)
    engine.add_many(SAID[:20])
    assert engine.count() == 20


def test_what_fails_while_it_is_written_leaves_no_fit(open_lsa, tmp_path, monkeypatch):
    """The fit and the first vectors are one write."""
    engine = open_lsa()

    def fail(*given: object) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(type(engine._store), "add", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            engine.add_many([f"{text} secretly" for text in SAID])
    assert fits(tmp_path / "memory.db") == 0
    engine.add_many(SAID)
    assert fits(tmp_path / "memory.db") == 1
    assert holders(tmp_path, "secretly") == []


def test_of_two_who_add_first_one_fits(open_lsa):
    """At once, from threads; all is found afterwards, by one encoder."""
    engine = open_lsa()
    sets = [[f"{text} of {name}" for text in SAID[i:]] for i, name in enumerate(("anna", "ben", "carl", "dora"))]
    threads = [threading.Thread(target=engine.add_many, args=(one,)) for one in sets]
    go = threading.Event()
    engine._core.later(go.wait)  # nothing is written until all of them have found the file new
    for thread in threads:
        thread.start()
    while engine._core._writer._jobs.qsize() < 4:
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join()
    assert engine.count() == 4 * len(SAID) - 6
    encoder = engine._core.encoder.open(engine._core.row)
    with engine._store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT text, vector FROM memories JOIN vectors ON memory = id").all()
        assert connection.exec_driver_sql("SELECT count(*) FROM fitted").scalar_one() == 1
    kept = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4").reshape(len(rows), -1)
    np.testing.assert_allclose(kept, encoder.encode_document([row.text for row in rows]), atol=1e-6)


def test_other_encoders_are_told_from_a_fit(open_lsa, opened, tmp_path):
    """By name, both ways round, and an lsa of another dimension."""
    with open_lsa(encoder="lsa:8") as engine:
        engine.add_many(SAID)
    with open_lsa(encoder="hashing:64") as engine, pytest.raises(InvalidInput, match=r"encoder='lsa:8'"):
        engine.search("cat")
    with open_lsa(encoder="lsa:9") as engine, pytest.raises(InvalidInput, match=r"not of lsa:9; .* reembed\('lsa:9'\)"):
        engine.search("cat")
    with opened(tmp_path / "h.db") as engine:
        engine.add_many(SAID)
    with open_lsa(tmp_path / "h.db") as engine:
        with pytest.raises(InvalidInput, match=r"vectors of the encoder hashing:64 .* reembed\('lsa'\)"):
            engine.search("cat")
        engine.reembed("lsa")
        assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]


def test_an_encoder_of_ones_own_is_passed_again(opened):
    """It was fitted to who knows what, and is not kept."""
    mine = LsaEncoder(SAID, dim=6)
    with opened(encoder=mine) as engine:
        engine.add("my cat")
    with opened(encoder=None) as engine, pytest.raises(InvalidInput, match=r"that is not kept in it .* pass that very"):
        engine.search("cat")
    with opened(encoder=LsaEncoder(SAID, dim=6)) as engine:
        assert texts(engine.search("cat")) == ["my cat"]


# -- another encoder, versions, packages -------------------------------------------------------------------------------


def test_a_file_goes_over_to_lsa_and_back(opened, tmp_path):
    """Fitted to all that is found or history; called again it embeds nothing, and when there is more it fits anew."""
    engine = opened()
    engine.add_many(SAID)
    hidden = [engine.add(f"platypus number{i}").id for i in range(3)]
    for one in hidden:
        engine.delete(one)
    engine.add("goose egg", slot="bird")
    engine.add("goose feather", slot="bird")
    assert engine.reembed("lsa:16") == len(SAID) + 5
    known = engine._core.encoder.open(engine._core.row).terms
    assert "goose" in known
    assert "platypus" not in known
    assert texts(engine.search("goose", top_k=1)) == ["goose feather"]
    assert engine.reembed("lsa:16") == 0
    before = engine._core.row
    engine.add_many([f"{text} again" for text in SAID])
    assert engine.reembed("lsa:16") == 2 * len(SAID) + 5
    assert engine._core.row != before
    assert fits(tmp_path / "memory.db") == 2
    assert engine.reembed("hashing:64", keep=False) == len(SAID)
    assert fits(tmp_path / "memory.db") == 0
    engine.close()
    with opened() as engine:
        assert texts(engine.search("goose feather", top_k=1)) == ["goose feather"]
        with pytest.raises(InvalidInput, match="at least 20 of them, not 0"):
            opened(tmp_path / "empty.db").reembed("lsa")


def test_going_over_that_is_stopped_goes_on(opened):
    """By another engine: the same texts give the same fit."""
    said = [f"{text} {i % 7}" for i in range(30) for text in SAID]
    with opened() as engine:
        engine.add_many(said)

        def stop(done: int, total: int) -> None:
            if done >= 300:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.reembed("lsa:16", progress=stop)
        assert engine.stats().dim == 64
    with opened() as engine:
        assert engine.reembed("lsa:16", keep=False) == 900 - 512
    with opened(encoder=None) as engine:
        assert texts(engine.search("kitten milk 3", top_k=1)) == ["a kitten drinks warm milk 3"]


def test_a_reader_follows_a_new_fit(open_lsa):
    """It opens what the writer has kept."""
    engine = open_lsa()
    engine.add_many(SAID)
    reader = open_lsa(readonly=True)
    assert texts(reader.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]
    engine.add_many([f"{text} today" for text in SAID])
    engine.reembed("lsa")
    assert texts(reader.search("kitten milk today", top_k=1)) == ["a kitten drinks warm milk today"]
    assert reader._core.encoder.open(reader._core.known_encoder()).terms.count("today") == 1


def test_a_rollback_brings_its_fit_back(open_lsa, tmp_path):
    """Also one that was dropped since."""
    engine = open_lsa()
    engine.snapshot("empty")
    engine.add_many(SAID)
    before = [(hit.memory.id, hit.score) for hit in engine.search("my horse at noon", top_k=9)]
    engine.snapshot("fitted")
    engine.reembed("hashing:32", keep=False)
    assert fits(tmp_path / "memory.db") == 0
    engine.rollback("fitted")
    assert [(hit.memory.id, hit.score) for hit in engine.search("my horse at noon", top_k=9)] == before
    engine.rollback("empty")
    assert fits(tmp_path / "memory.db") == 0
    with pytest.raises(InvalidInput, match="at least 20"):
        engine.add("one")
    engine.add_many(SAID[::-1])
    assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]


def test_a_package_between_two_fits_is_embedded_anew(open_lsa, opened, tmp_path):
    """And a new file is fitted to what comes in a package."""
    engine = open_lsa()
    engine.add_many(SAID)
    engine.export_package(tmp_path / "p.zip")
    other = open_lsa(tmp_path / "other.db", encoder="lsa:6")
    other.add_many([f"{text} elsewhere" for text in SAID])
    before = other._core.row
    assert other.import_package(tmp_path / "p.zip").memories == len(SAID)
    assert other._core.row == before
    assert texts(other.search("kitten milk", top_k=2)) != []
    new = open_lsa(tmp_path / "new.db")
    new.import_package(tmp_path / "p.zip")
    assert texts(new.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]
    assert fits(tmp_path / "new.db") == 1
    small = opened(tmp_path / "small.db")
    small.add("alone")
    small.export_package(tmp_path / "small.zip")
    with pytest.raises(InvalidInput, match="at least 20 of them, not 1"):
        open_lsa(tmp_path / "newer.db").import_package(tmp_path / "small.zip")


# -- purging -----------------------------------------------------------------------------------------------------------


def test_what_is_purged_is_not_in_the_fit(open_lsa, tmp_path):
    """Its words that no other memory has: of the file and of every version; the other vectors stay as they are."""
    engine = open_lsa()
    added = engine.add_many([*SAID, "the xylophonequartz cat", "a xylophonequartz dog"])
    engine.snapshot("before")
    assert "xylophonequartz" in engine._core.encoder.open(engine._core.row).terms
    before = {hit.memory.id: hit.score for hit in engine.search("my horse at noon", top_k=30)}
    engine.purge(added[-1].id)
    assert "memory.db" in holders(tmp_path, "xylophonequartz")  # the other one has it
    assert texts(engine.search("xylophonequartz", top_k=1)) == ["the xylophonequartz cat"]
    row = engine._core.row
    engine.purge(added[-2].id)
    assert holders(tmp_path, "xylophonequartz") == []
    assert "xylophonequartz" not in engine._core.encoder.open(row).terms
    after = {hit.memory.id: hit.score for hit in engine.search("my horse at noon", top_k=30)}
    assert {one: score for one, score in after.items() if one in before} == {
        one: score for one, score in before.items() if one in after
    }
    engine.rollback("before")
    assert holders(tmp_path, "xylophonequartz") == []
    engine.close()
    with open_lsa() as engine:
        assert engine._core.row == row
        again = {hit.memory.id: hit.score for hit in engine.search("my horse at noon", top_k=30)}
        assert again == after


def test_a_namespace_that_is_deleted_leaves_no_word(open_lsa, tmp_path):
    """However many of its memories had it; even where nothing is left at all."""
    engine = open_lsa()
    engine.add_many([f"{text} quagga" for text in SAID], namespace="zoo")
    engine.add("a quagga", namespace="farm")
    engine.snapshot("all")
    engine.delete_namespace("zoo")
    assert holders(tmp_path, "barn") == []
    assert "memory.db" in holders(tmp_path, "quagga")
    assert texts(engine.search("the quagga", namespace="farm")) == ["a quagga"]
    engine.delete_namespace("farm")
    assert holders(tmp_path, "quagga") == []
    engine.add("nothing is known", namespace="farm")
    assert texts(engine.search("nothing", namespace="farm")) == ["nothing is known"]


@pytest.mark.parametrize("gone", ["rolled back", "expired"])
def test_what_only_a_version_has_is_purged_of_the_fit_as_well(open_lsa, tmp_path, clock, gone):
    """Of the version's and of the file's."""
    engine = open_lsa(clock=clock)
    engine.snapshot("empty")
    said = [NewMemory(text=text, ttl=timedelta(hours=1)) for text in ("a narwhal", "the narwhal")]
    added = engine.add_many([*SAID, *said])
    engine.snapshot("full")
    if gone == "expired":
        clock.now += timedelta(hours=2)
        assert engine.defrag(near=None).expired == 2
        assert "memory.db" in holders(tmp_path, "narwhal")
    else:
        engine.rollback("empty")
    for one in added[-2:]:
        engine.purge(one.id)
    assert holders(tmp_path, "narwhal") == []
    engine.rollback("full")
    assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]
    with pytest.raises(UnknownName):
        engine.get(added[-1].id)


def test_a_fit_that_was_damaged_is_refused(open_lsa, tmp_path):
    """Words and the other verbs go on."""
    with open_lsa() as engine:
        engine.add_many(SAID)
    connection = sqlite3.connect(tmp_path / "memory.db")
    (model,) = connection.execute("SELECT model FROM fitted").fetchone()
    connection.execute("UPDATE fitted SET model = ?", (model[:-8] + bytes(8),))
    connection.commit()
    connection.close()
    with open_lsa() as engine:
        with pytest.raises(CorruptResult, match=r"the lsa that is kept in .* reembed\('lsa'\)"):
            engine.search("cat")
        assert len(engine.search("kitten", mode="lexical", top_k=9)) == 5
        with pytest.raises(CorruptResult):
            engine.search("cat")
        engine.reembed("lsa")
        assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]


def test_a_kill_in_the_first_write_leaves_nothing_half(tmp_path):
    """At any moment: there are all memories and one fit, or nothing at all."""
    program = (
        "import sys; from adamem.memory import MemoryEngine\n"
        "engine = MemoryEngine(sys.argv[1], encoder='lsa')\n"
        "print('open', flush=True)\n"
        f"engine.add_many({SAID!r} * 20)\n"
        "print('done', flush=True)\n"
    )
    for turn, pause in enumerate((0.3, 0.7, 1.0, None)):
        path = tmp_path / f"{turn}.db"
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "open\n"
            if pause is None:
                assert child.stdout.readline() == "done\n"
            else:
                threading.Event().wait(pause)
            child.send_signal(signal.SIGKILL)
        with MemoryEngine(path, encoder="lsa") as engine:
            assert (engine.count(), fits(path)) in ([(600, 1)] if pause is None else [(0, 0), (600, 1)])
            if engine.count():
                assert texts(engine.search("kitten milk", top_k=1)) == ["a kitten drinks warm milk"]


# -- the encoder itself ------------------------------------------------------------------------------------------------


def test_an_encoder_is_the_same_when_it_is_opened_again():
    """To the last bit, and so is one that has forgotten words, for texts that have none of them."""
    encoder = LsaEncoder([*SAID, "кошка спит", "кошка ест"], dim=12, min_texts=2, max_terms=500)
    again = LsaEncoder.from_bytes(encoder.to_bytes())
    assert (again.fingerprint, again.dim, again.asked_dim, again.terms) == (
        encoder.fingerprint, encoder.dim, 12, encoder.terms,
    )  # fmt: skip
    np.testing.assert_array_equal(again.encode_query(SAID), encoder.encode_query(SAID))
    assert "кошка".encode() in encoder.to_bytes()
    fewer = LsaEncoder.from_bytes(again.without({"кошка", "zebra"}).to_bytes())
    assert set(encoder.terms) - set(fewer.terms) == {"кошка"}
    assert fewer.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(fewer.encode_query(SAID), encoder.encode_query(SAID))
    none = LsaEncoder.from_bytes(encoder.without(set(encoder.terms)).to_bytes())
    assert none.terms == none.without({"cat"}).terms == ()
    np.testing.assert_array_equal(none.encode_query(["cat"]), [[0.0] * 11 + [1.0]])
    assert words("Ein Wort, zwei-Wörter") == {"ein", "wort", "zwei", "wörter"}
    assert "barn" not in LsaEncoder(["one barn", "one", "two", "two"], min_texts=2).terms


@pytest.mark.parametrize("moment", ["before", "when it is taken", "after"])
def test_what_is_purged_is_gone_from_what_learns_and_has_learnt(open_lsa, monkeypatch, moment):
    """Neither a query that is moved nor the process that learns knows its words any more; others are as they were."""
    plan = LearningPlan(after=1_000, held_out=0.0, nice=0)
    secret = "where is the xylophant"
    with open_lsa(adapter=QueryAdapter(), plan=plan) as engine:
        engine.add_many([*SAID, "the xylophant sleeps", "the xylophant is fed"])
        applied, purged = QueryMap.applied_to, []

        def purge(*ids):
            for number in ids:
                engine.purge(number)
            purged.extend(ids)

        def purged_meanwhile(self, base):
            encoder = applied(self, base)
            if moment == "when it is taken" and not purged:
                purge(31, 32)
            return encoder

        def learn(first):
            for number in range(first, first + 4):
                engine.feedback(f"who {SAID[number - 1]}?", number)
            assert engine.learn().in_use

        monkeypatch.setattr(QueryMap, "applied_to", purged_meanwhile)
        if moment == "before":
            learn(5)
            purge(31, 32)
        learn(1)
        if moment == "after":
            purge(31, 32)
        assert purged == [31, 32]
        row = engine._core.known_encoder()
        query, other = engine._core.encoder.query(secret, row), engine._core.encoder.query("where is the cat", row)
        if moment == "before":
            there = engine._tutor._workshop[1].documents(None, [secret])
            np.testing.assert_array_equal(there, engine._core.encoder.open(row).encode_document([secret]))
    with open_lsa() as engine:
        row = engine._core.known_encoder()
        np.testing.assert_array_equal(query, engine._core.encoder.query(secret, row))
        np.testing.assert_array_equal(other, engine._core.encoder.query("where is the cat", row))
