"""The encoder of a memory learns from questions and answers, in a process of its own, and never by halves."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from adamem.adapt import Exam, LoRAAdapter, ProcessEnded, QueryAdapter, Workshop
from adamem.encoders import open_encoder
from adamem.encoders.adaptation import open_adaptation
from adamem.encoders.bridged import BridgedLora
from adamem.encoders.bridges import Bridge
from adamem.encoders.query_map import QueryMap
from adamem.errors import CorruptResult, InvalidInput, LearningFailed, StorageError, UnknownName
from adamem.memory import LearningPlan, LearningTimings, MemoryEngine, Timings
from adamem.memory.reembedding import Reembedding
from adamem.memory.tutor import Tutor

NAMES = ["Brimolk", "Tavuri", "Ostrand", "Quelvo", "Pindara", "Zemthor", "Lurique", "Fanwick"]
PLACES = [
    *("a bakery in Lisbon", "the ferry to Oslo", "a library in Cairo", "the zoo of Berlin"),
    *("a vineyard in Chile", "the harbour of Kyoto", "a hospital in Lagos", "the opera in Vienna"),
]
MAP = QueryAdapter(rank=16, rate=1e-2, epochs=150, bound=0.95)
ALL = LearningPlan(after=1_000, held_out=0.0, nice=0)
"""Only when it is told to, and all of it. As other tests run beside it, at their priority."""


def asked(name):
    return f"Where does {name} work?"


def reworded(name):
    return f"Which place is {name} employed at?"


def filled(engine):
    """Places, as memories, and who is there, as lessons; ids by name."""
    ids = {name: engine.add(place).id for name, place in zip(NAMES, PLACES, strict=True)}
    for name, number in ids.items():
        engine.feedback(asked(name), number)
    return ids


def found(engine, ids, wording=asked):
    """How many of the names lead to their place at once."""
    return sum(engine.search(wording(name), top_k=1)[0].memory.id == number for name, number in ids.items())


def vectors_of(engine):
    """By memory: the vectors that are searched."""
    row = engine._core.known_encoder()
    ids = np.array([memory.id for memory in engine.get_all()])
    return {
        int(number): vector
        for some, rows in engine._store.vectors(ids, row)
        for number, vector in zip(some.tolist(), rows, strict=True)
    }


def queried(engine):
    """The vector that a query is searched by."""
    return engine._core.encoder.query("Where does anybody work?", engine._core.known_encoder())


def full(self, *given):
    """In the place of `Reembedding.embed`."""
    raise StorageError("no room on the disk")


def open_(path, **named):
    return MemoryEngine(path, **{"encoder": "hashing:256", "adapter": MAP, "plan": ALL, **named})


def test_queries_learn_and_documents_stay(tmp_path):
    """A query map: what was taught is found, no vector has changed, and it holds without the recipe, and can go."""
    path = tmp_path / "m.db"
    with open_(path) as engine:
        ids = filled(engine)
        before, vectors, query = found(engine, ids), vectors_of(engine), queried(engine)
        learnt = engine.learn()
        moved = queried(engine)
        assert np.abs(moved - query).max() > 0.01
        assert (learnt.standing, learnt.in_use, learnt.lessons, learnt.kind) == ("taken", True, 8, "query-map")
        assert learnt.before is None  # nothing was held out
        assert before <= 4
        assert found(engine, ids) == 8
        assert engine.learn() is None
        assert engine.adaptations() == [learnt]
        assert all((vectors[one] == vector).all() for one, vector in vectors_of(engine).items())
    with MemoryEngine(path, encoder="hashing:256") as engine:
        assert found(engine, ids) == 8
        np.testing.assert_allclose(queried(engine), moved, atol=1e-6)  # what was kept is not ignored
        with pytest.raises(InvalidInput, match="without an adapter"):
            engine.feedback("Where?", 1)
        engine.use_adaptation(None)
        assert found(engine, ids) == before
        assert not engine.adaptations()[0].in_use
    with MemoryEngine(path, readonly=True) as reader, MemoryEngine(path) as engine:
        assert found(reader, ids) == before
        engine.use_adaptation(learnt.id)
        assert found(engine, ids) == 8
        assert found(reader, ids) == 8  # who only reads sees it at the next search


@pytest.mark.minilm
def test_documents_are_embedded_anew_by_what_was_learnt(tmp_path):
    """A LoRA on both sides: other words lead there too, all vectors are of one encoder, and the way back is short."""
    path = tmp_path / "m.db"
    recipe = LoRAAdapter(rate=2e-3, steps=15, batch=8)
    with open_(path, encoder="minilm", adapter=recipe) as engine:
        ids = filled(engine)
        base, query = vectors_of(engine), queried(engine)
        before = found(engine, ids, reworded)
        spent = LearningTimings()
        begun = time.perf_counter()
        learnt = engine.learn(timings=spent)
        parts = [getattr(spent, part.name) for part in dataclasses.fields(spent)]
        assert sum(parts) <= time.perf_counter() - begun
        assert spent.exam == 0  # there was none
        assert spent.learning == learnt.seconds > 0
        assert min(parts[2:]) > 0
        assert (learnt.standing, learnt.in_use, learnt.moves) == ("taken", True, "both")
        assert before <= 3
        assert found(engine, ids, reworded) >= 7
        assert engine.stats().encoder == "minilm+lora"
        encoder = engine._core.encoder.open(engine._core.known_encoder())
        for number, vector in vectors_of(engine).items():
            np.testing.assert_allclose(vector, encoder.encode_document([engine.get(number).text])[0], atol=1e-5)
            assert np.abs(vector - base[number]).max() > 0.01
        late = engine.add("the market of Delhi").id
        assert engine.search("the market of Delhi", top_k=1)[0].memory.id == late
        moved, vectors = queried(engine), vectors_of(engine)
        assert np.abs(moved - query).max() > 0.01
    with MemoryEngine(path, encoder="minilm") as engine:
        assert found(engine, ids, reworded) >= 7
        np.testing.assert_allclose(queried(engine), moved, atol=1e-6)  # the adapter is not ignored on load
        again = engine._core.encoder.documents(["the market of Delhi"], engine._core.known_encoder())[0]
        np.testing.assert_allclose(again, vectors[late], atol=1e-6)
        begun = []
        engine.use_adaptation(None, progress=lambda done, total: begun.append((done, total)))
        assert begun[-1] == (9, 9)
        assert len(begun) == 1  # the one that came later was embedded; the others' vectors were there
        assert found(engine, ids, reworded) == before
        assert all((base[one] == vector).all() for one, vector in vectors_of(engine).items() if one in base)


@pytest.mark.minilm
def test_queries_go_over_a_bridge_and_documents_stay(tmp_path):
    """A LoRA and a bridge: no vector of a memory changes, queries do, and it is kept, judged as it is used, left again,
    taken back with a version and handed on like any other."""
    path = tmp_path / "m.db"
    golden = tuple((asked(name), place) for name, place in zip(NAMES, PLACES, strict=True))
    plan = dataclasses.replace(ALL, documents="bridge", golden=golden)
    others = [f"drawer {n} of the cupboard in room {n * 31 % 17}" for n in range(40)]
    with open_(path, encoder="minilm", adapter=LoRAAdapter(rate=2e-3, steps=15, batch=8), plan=plan) as engine:
        ids = filled(engine)
        engine.add_many(others)
        before, vectors, query = found(engine, ids, reworded), vectors_of(engine), queried(engine)
        engine.snapshot("untaught")
        learnt = engine.learn()
        assert (learnt.standing, learnt.in_use, learnt.kind, learnt.moves) == ("taken", True, "bridged-lora", "queries")
        assert all((vectors[one] == vector).all() for one, vector in vectors_of(engine).items())
        assert engine.stats().encoder == "minilm"
        assert before <= 3
        after = found(engine, ids, reworded)
        assert after >= before + 3
        moved = queried(engine)
        assert np.abs(moved - query).max() > 0.01
        # The exam's mark is that of the encoder that is in use, among all that is there.
        exam = Exam(tuple(one for one, _ in golden), (*PLACES, *others), tuple(range(8)))
        encoder = open_encoder("minilm")
        kept = open_adaptation(engine._core.learning.model(learnt.id).model)
        assert learnt.before == pytest.approx(exam.mark(encoder))
        assert learnt.after == pytest.approx(exam.mark(kept.applied_to(encoder)))
        late = engine.add("the market of Delhi").id
        np.testing.assert_allclose(
            vectors_of(engine)[late], encoder.encode_document(["the market of Delhi"])[0], atol=1e-6
        )
        engine.export_package(tmp_path / "learnt.zip", adaptation=True)
    with MemoryEngine(path, encoder="minilm") as engine:
        np.testing.assert_allclose(queried(engine), moved, atol=1e-6)
        engine.use_adaptation(None)
        np.testing.assert_allclose(queried(engine), query, atol=1e-6)
        engine.use_adaptation(learnt.id)
        assert found(engine, ids, reworded) == after
        engine.rollback("untaught")
        assert found(engine, ids, reworded) == before
        assert engine.adaptations() == []
        assert all((vectors[one] == vector).all() for one, vector in vectors_of(engine).items())
    with MemoryEngine(tmp_path / "n.db", encoder="minilm") as engine:
        brought = engine.import_package(tmp_path / "learnt.zip")
        engine.use_adaptation(brought.adaptation)
        np.testing.assert_allclose(queried(engine), moved, atol=1e-6)


@pytest.mark.minilm
def test_what_leaves_documents_is_not_learnt_where_they_were_moved(tmp_path):
    """Queries would be brought to where the documents are not: a sentence, and no lesson is lost."""
    path = tmp_path / "m.db"
    recipe = LoRAAdapter(steps=1, batch=8)
    with open_(path, encoder="minilm", adapter=recipe) as engine:
        ids = filled(engine)
        assert engine.learn().in_use
    for other in ({"adapter": recipe, "plan": dataclasses.replace(ALL, documents="bridge")}, {"adapter": MAP}):
        with open_(path, encoder="minilm", **other) as engine:
            before = found(engine, ids)
            engine.feedback(reworded("Tavuri"), ids["Tavuri"])
            with pytest.raises(InvalidInput, match=r"embedded by minilm\+lora.*use_adaptation\(None\)"):
                engine.learn()
            assert found(engine, ids) == before
    with open_(path, encoder="minilm", plan=dataclasses.replace(ALL, replay=8)) as engine:
        engine.use_adaptation(None)
        # What was learnt last is no beginning for a map, and not in its way.
        learnt = engine.learn()
        assert (learnt.standing, learnt.lessons, learnt.kind, learnt.in_use) == ("taken", 2, "query-map", True)
        engine.use_adaptation(1)
        assert engine.stats().encoder == "minilm+lora"


def test_vectors_that_were_to_be_kept_are_kept_when_it_learns(tmp_path):
    """Those of encoders that it learnt nothing on; what it has become since leaves none behind."""
    with open_(tmp_path / "m.db", adapter=LoRAAdapter(steps=1)) as engine:
        filled(engine)
        engine.reembed("minilm", keep=True)
        for _ in range(2):
            engine.learn()
            for number, name in enumerate(NAMES, start=1):
                engine.feedback(reworded(name), number)
        assert [one.in_use for one in engine.adaptations()] == [False, True]
        with engine._store.database.read() as connection:
            query = "SELECT name, count(*) FROM vectors v JOIN encoders e ON e.id = v.encoder GROUP BY e.id"
            kept = connection.exec_driver_sql(query).all()
        assert kept == [("hashing:256", 8), ("minilm", 8), ("minilm+lora", 8)]
        assert engine.reembed("hashing:256") == 0


def test_what_makes_the_exam_worse_is_refused(tmp_path):
    """Lessons that are false, and golden questions that know it: nothing of it is in use, nor kept."""
    golden = tuple((asked(name), place) for name, place in zip(NAMES, PLACES, strict=True))
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1_000, held_out=0.0, golden=golden, nice=0)) as engine:
        ids = filled(engine)
        learnt = engine.learn()
        assert learnt.standing == "taken"
        assert learnt.after > learnt.before
        numbers = list(ids.values())
        for name, number in zip(NAMES, numbers[1:] + numbers[:1], strict=True):
            for wording in (reworded, asked, "{} works at".format):
                engine.feedback(wording(name), number)
        refused = engine.learn()
        assert (refused.standing, refused.in_use, refused.bytes) == ("refused", False, 0)
        assert refused.after < refused.before - 0.01
        assert "fell from" in refused.reason
        assert found(engine, ids) == 8
        assert [one.in_use for one in engine.adaptations()] == [True, False]
        with pytest.raises(UnknownName, match="there are: 1"):
            engine.use_adaptation(refused.id)


def test_what_was_refused_is_not_replayed_and_can_be_taught_again(tmp_path, monkeypatch, caplog):
    """It would come in by pieces beside what is learnt later; whoever wants it says so."""
    golden = tuple((asked(name), place) for name, place in zip(NAMES, PLACES, strict=True))
    plan = LearningPlan(after=1_000, held_out=0.0, replay=10.0, golden=golden, nice=0)
    taught = []

    def spied(self, adapter, pairs, *, replay, **named):
        taught.append(({one.query for one in pairs}, {one.query for one in replay}))
        return learn(self, adapter, pairs, replay=replay, **named)

    learn = Workshop.learn
    monkeypatch.setattr(Workshop, "learn", spied)
    with open_(tmp_path / "m.db", plan=plan) as engine:
        ids = filled(engine)
        engine.learn()
        numbers = list(ids.values())
        for name, number in zip(NAMES, numbers[1:] + numbers[:1], strict=True):
            for wording in (reworded, "{} works at".format):
                engine.feedback(wording(name), number)
        assert engine.learn().standing == "refused"
        assert "is refused: MRR@10 of the exam fell" in caplog.text
        true, false = (taught[number][0] for number in (0, 1))
        engine.feedback("Who is in Chile?", ids["Pindara"])
        assert engine.learn().standing == "taken"
        assert taught[2] == ({"Who is in Chile?"}, true)
        assert engine.learn() is None
        assert engine.learn(again=True).lessons == len(false)
        assert taught[3][0] == false


def test_the_first_lessons_give_an_exam_already(tmp_path, caplog):
    """Five of the first thirty or so judge; before that, what is learnt is taken unjudged, and the log says so."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1_000, nice=0)) as engine:
        for number in range(40):
            engine.update(f"What is the code of drawer {number}?", f"it is {number * 7919 % 1000} and {number}")
            if number in (7, 36):
                caplog.clear()
                learnt = engine.learn()
                assert (learnt.before is None) == ("taken unjudged: fewer than 5 lessons" in caplog.text)
                assert (learnt.before is None) == (number == 7)


def test_it_learns_beside_searches_when_enough_is_waiting(tmp_path):
    """In the background: eight answers make a batch, and searches go on meanwhile."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=8, held_out=0.0, nice=0)) as engine:
        for name, place in zip(NAMES, PLACES, strict=True):
            engine.update(asked(name), place)
        searches = 0
        while not engine.adaptations():
            assert engine.search("a library in Cairo", top_k=1)[0].memory.text == "a library in Cairo"
            searches += 1
            time.sleep(0.01)
        engine._tutor.wait()
        (learnt,) = engine.adaptations()
        assert (learnt.lessons, learnt.in_use) == (8, True)
        assert searches > 5
        engine.update(asked("Gorvane"), "a garage in Detroit")
        assert len(engine.adaptations()) == 1  # one is not enough


def test_lessons_that_come_when_the_thread_ends_are_learnt(tmp_path, monkeypatch):
    """At whichever look at what is waiting they come, they do not wait for those after them."""
    for look in (2, 3):
        with open_(tmp_path / f"{look}.db", plan=LearningPlan(after=2, held_out=0.0, nice=0)) as engine:
            ids = [engine.add(place).id for place in PLACES]
            learning, looks = engine._core.learning, []
            waiting = learning.waiting

            def watched(look=look, engine=engine, ids=ids, waiting=waiting, looks=looks):
                count = waiting()
                if threading.current_thread().name == "adamem-tutor":
                    looks.append(count)
                    if len(looks) == look:  # 0 by now, and before anybody acts on it
                        for number in (2, 3):
                            engine.feedback(asked(NAMES[number]), ids[number])
                return count

            monkeypatch.setattr(learning, "waiting", watched)
            for number in (0, 1):
                engine.feedback(asked(NAMES[number]), ids[number])
            engine._tutor.wait()
            assert looks[1:3] == ([0, 2] if look == 2 else [0, 0])
            assert [one.lessons for one in engine.adaptations()] == [2, 2]
            assert waiting() == 0


def test_an_answer_that_is_superseded_is_a_lesson_that_counts(tmp_path):
    """With it as many wait as are learnt together."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=8, held_out=0.0, nice=0)) as engine:
        for name, place in zip(NAMES[:7], PLACES, strict=False):
            last = engine.update(asked(name), place).id
        engine.feedback(asked(NAMES[7]), last)
        engine._tutor.wait()
        assert [one.lessons for one in engine.adaptations()] == [8]
        for name, place in zip(NAMES, PLACES, strict=True):
            number = engine.add(place).id
            if name != NAMES[7]:
                engine.feedback(reworded(name), number)
        engine._tutor.wait()
        assert len(engine.adaptations()) == 1
        engine.supersede(last, "a cellar")
        engine._tutor.wait()
        assert [one.lessons for one in engine.adaptations()] == [8, 8]


def test_lessons_of_a_version_count_after_a_rollback(tmp_path):
    """Where as many wait as are learnt together, they are learnt at once; where fewer do, when the rest has come."""
    path = tmp_path / "m.db"
    with open_(path) as engine:
        ids = filled(engine)
        engine.snapshot("eight")
    with open_(path, plan=LearningPlan(after=8, held_out=0.0, nice=0)) as engine:
        engine._tutor.wait()
        engine.snapshot("none")
        engine.rollback("eight")
        engine._tutor.wait()
        assert [one.lessons for one in engine.adaptations()] == [8]
        engine.rollback("none")
        for name in NAMES[:7]:
            engine.feedback(reworded(name), ids[name])
        engine._tutor.wait()
        engine.snapshot("seven")
        engine.feedback(reworded(NAMES[7]), ids[NAMES[7]])
        engine._tutor.wait()
        assert len(engine.adaptations()) == 2
        engine.rollback("seven")
        engine.feedback(reworded(NAMES[7]), ids[NAMES[7]])
        engine._tutor.wait()
        assert [one.lessons for one in engine.adaptations()] == [8, 8]


def test_one_lesson_at_a_time_is_learnt_beside_former_ones(tmp_path):
    """At once: the first is told from nothing and waits, each later one is learnt beside the others."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1, held_out=0.0, replay=8, nice=0)) as engine:
        ids = {name: engine.add(place).id for name, place in zip(NAMES, PLACES, strict=True)}
        for name, number in ids.items():
            engine.feedback(asked(name), number)
            engine._tutor.wait()
        every = engine.adaptations()
        assert sum(one.lessons for one in every) >= 7
        assert {one.standing for one in every} == {"taken"}
        assert found(engine, ids) >= 6


@pytest.mark.parametrize("alike", ["memory", "text", "query"])
def test_lessons_that_tell_nothing_apart_keep_no_others_from_being_learnt(tmp_path, alike):
    """However many come first: of one memory, of memories that say the same, or of one query."""
    with open_(tmp_path / "m.db", plan=LearningPlan(held_out=0.0, nice=0)) as engine:
        ids = {name: engine.add(place).id for name, place in zip(NAMES, PLACES, strict=True)}
        one = engine.add("a cellar").id
        for number in range(40):
            memory = one if alike == "memory" else engine.add("a cellar" if alike == "text" else f"shelf {number}").id
            engine.feedback("Where is it?" if alike == "query" else f"Where is key {number}?", memory)
        assert engine.learn() is None
        for name, number in ids.items():
            engine.feedback(asked(name), number)
        engine.learn()
        assert {one.standing for one in engine.adaptations()} == {"taken"}
        assert engine._core.learning.waiting() == 0


def test_a_tenth_of_the_lessons_is_held_out_and_judges(tmp_path):
    """They are never taught; with five of them there is an exam."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1_000, nice=0)) as engine:
        for number in range(60):
            engine.update(f"What is the code of drawer {number}?", f"it is {number * 7919 % 1000} and {number}")
        spent = LearningTimings()
        learnt = engine.learn(timings=spent)
        assert learnt.lessons == 52  # two more than a tenth are held out: the first five come sooner
        assert learnt.before is not None
        assert spent.exam > 0
        assert spent.embedding == spent.clearing == 0  # documents stay


def test_what_the_process_that_learns_dies_of_costs_no_lesson(tmp_path):
    """A kill of it: the lessons wait, the memory goes on, and the next time they are learnt."""
    with open_(tmp_path / "m.db", adapter=QueryAdapter(epochs=1_000_000)) as engine:
        ids = filled(engine)
        errors = []

        def learn():
            try:
                engine.learn()
            except LearningFailed as error:
                errors.append(error)

        thread = threading.Thread(target=learn)
        thread.start()
        while engine._tutor._workshop is None or engine._tutor._workshop[1]._process is None:
            time.sleep(0.01)
        os.kill(engine._tutor._workshop[1]._process.pid, signal.SIGKILL)
        thread.join()
        assert "ended with the signal 9" in str(errors[0])
        assert engine.adaptations() == []
        assert engine._core.learning.waiting() == 8
        assert found(engine, ids) >= 0
    with open_(tmp_path / "m.db") as engine:
        assert engine.learn().lessons == 8


def test_closing_gives_up_what_is_being_learnt(tmp_path):
    """It does not wait for an hour of learning, and nothing is half there."""
    engine = open_(
        tmp_path / "m.db", adapter=QueryAdapter(epochs=1_000_000), plan=LearningPlan(after=8, held_out=0.0, nice=0)
    )
    filled(engine)
    while engine._tutor._workshop is None or engine._tutor._workshop[1]._process is None:
        time.sleep(0.01)
    begun = time.monotonic()
    engine.close()
    assert time.monotonic() - begun < 30
    with open_(tmp_path / "m.db") as engine:
        assert engine.adaptations() == []
        assert engine.learn().lessons == 8


def test_closing_before_the_process_that_learns_is_there_starts_none(tmp_path, monkeypatch):
    """It comes between what is to be learnt and the start of the process: nothing is learnt, and nothing stays."""
    begun, closing = threading.Event(), threading.Event()

    def examined(self, seed):
        begun.set()
        assert closing.wait(60)

    monkeypatch.setattr(Tutor, "_exam", examined)
    engine = open_(tmp_path / "m.db", plan=LearningPlan(after=8, held_out=0.0, nice=0))
    filled(engine)
    assert begun.wait(60)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while not engine._tutor._stopping:
        time.sleep(0.01)
    closing.set()
    closer.join()
    assert engine._tutor._workshop is None
    with open_(tmp_path / "m.db") as engine:
        assert engine._core.learning.waiting() == 8


def test_a_process_that_starts_while_it_is_being_closed_is_ended(monkeypatch):
    """Nobody else would end it."""
    start, started = subprocess.Popen, []
    workshop = Workshop(open_encoder("hashing:64"))

    def closed_meanwhile(*given, **named):
        workshop.close()
        started.append(start(*given, **named))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", closed_meanwhile)
    with pytest.raises(LearningFailed, match="was closed while its encoder was learning"):
        workshop.documents(None, ["a text"])
    assert started[0].poll() is not None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_leaves_what_is_being_learnt_alone(tmp_path):
    """Closing what it has inherited neither waits for a thread that it has not, nor ends the other's process."""
    engine = open_(
        tmp_path / "m.db", adapter=QueryAdapter(epochs=1_000_000), plan=LearningPlan(after=8, held_out=0.0, nice=0)
    )
    filled(engine)
    while engine._tutor._workshop is None or engine._tutor._workshop[1]._process is None:
        time.sleep(0.01)
    process = engine._tutor._workshop[1]._process
    child = os.fork()
    if child == 0:  # pragma: no cover -- in the child
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # which ends it, if it waits
        engine.close()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    still_learns = process.poll() is None
    engine.close()
    assert (status, still_learns) == (0, True)


KILLED = """
import sys
from adamem.adapt import LoRAAdapter
from adamem.memory import LearningPlan, MemoryEngine
path, documents = sys.argv[1:]
engine = MemoryEngine(path, encoder="minilm", adapter=LoRAAdapter(rate=2e-3, steps=4, batch=8),
                      plan=LearningPlan(after=8, held_out=0.0, nice=0, documents=documents))
print("open", flush=True)
places = [f"drawer {n} of the cupboard in room {n * 31 % 17}" for n in range(200)]
if engine.count() == 0:
    engine.add_many(places)
    for n in range(8):
        engine.feedback(f"Where is key {n}?", n + 1)
print("ready", flush=True)
engine._tutor.wait()
engine.close()
print("done", flush=True)
"""


@pytest.mark.minilm
@pytest.mark.parametrize(
    ("moment", "documents"),
    [
        (3.5, "anew"),
        *(pytest.param(0.4 * step, "anew", marks=pytest.mark.soak) for step in range(25)),
        *(pytest.param(1.0 * step, "bridge", marks=pytest.mark.soak) for step in range(10)),
    ],
)
def test_a_kill_while_it_learns_or_embeds_leaves_one_space(tmp_path, moment, documents):
    """kill -9 at some moments: the file opens, all vectors that are searched are of one encoder, and it is finished."""
    path = tmp_path / "m.db"
    command = [sys.executable, "-c", KILLED, str(path), documents]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    time.sleep(moment)
    process.kill()
    process.wait()
    process.stdout.close()
    with MemoryEngine(path, encoder="minilm") as engine:
        _all_of_one(engine)
        assert engine.search("drawer 17", top_k=1)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "open\nready\ndone\n"
    with MemoryEngine(path, encoder="minilm") as engine:
        (learnt,) = engine.adaptations()
        assert learnt.in_use
        assert engine.stats().encoder == ("minilm+lora" if documents == "anew" else "minilm")
        _all_of_one(engine)


def _all_of_one(engine):
    encoder = engine._core.encoder.open(engine._core.known_encoder())
    vectors = vectors_of(engine)
    assert len(vectors) == 200
    some = sorted(vectors)[::20]
    again = encoder.encode_document([engine.get(number).text for number in some])
    np.testing.assert_allclose(np.stack([vectors[number] for number in some]), again, atol=1e-5)


def test_a_version_has_what_was_learnt_by_then(tmp_path):
    """A rollback brings back what was in use, and what was waiting."""
    with open_(tmp_path / "m.db") as engine:
        ids = filled(engine)
        before = found(engine, ids)
        engine.snapshot("untaught")
        engine.learn()
        engine.snapshot("taught")
        engine.rollback("untaught")
        assert found(engine, ids) == before
        assert engine.adaptations() == []
        engine.rollback("taught")
        assert found(engine, ids) == 8
        assert engine.adaptations()[0].in_use


def test_a_reader_follows_a_rollback_to_what_another_file_has_learnt(tmp_path):
    """Its adaptation has the same number."""
    for name, wording in (("a", asked), ("b", reworded)):
        with open_(tmp_path / f"{name}.db") as engine:
            for known, place in zip(NAMES, PLACES, strict=True):
                engine.feedback(wording(known), engine.add(place).id)
            assert engine.learn().id == 1
            engine.snapshot(name)
    shutil.copytree(tmp_path / "a.db.versions" / "a", tmp_path / "b.db.versions" / "a")
    with open_(tmp_path / "b.db") as engine, MemoryEngine(tmp_path / "b.db", readonly=True) as reader:
        reader.search(asked("Tavuri"))
        engine.rollback("a")
        with MemoryEngine(tmp_path / "b.db", readonly=True) as fresh:
            for known in NAMES:
                wanted = fresh.search(asked(known), top_k=8)
                assert reader.search(asked(known), top_k=8) == wanted
                assert [hit.memory.id for hit in engine.search(asked(known), top_k=8)] == [
                    hit.memory.id for hit in wanted
                ]


def test_a_purge_takes_lessons_along(tmp_path):
    """No byte of a query stays that only a purged memory answered."""
    path = tmp_path / "m.db"
    with open_(path) as engine:
        filled(engine)
        number = engine.add("a cellar").id
        engine.feedback("Where did Xylophant hide the treasure?", number)
        engine.learn()
        engine.purge(number)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"Xylophant" not in file.read_bytes()


def test_what_is_there_twice_keeps_the_lessons_of_both(tmp_path):
    """Defragmenting merges memories, and what they answer."""
    with open_(tmp_path / "m.db") as engine:
        one, other, ferry = (engine.add(text).id for text in ("a bakery", "a bakery", "the ferry"))
        engine.feedback("Where is Brimolk?", other)
        engine.feedback("Who sails?", ferry)
        engine.defrag(near=None)
        assert engine.count() == 2
        assert [(lesson.memory, lesson.query) for lesson in engine._core.learning.next(9)] == [
            (one, "Where is Brimolk?"),
            (ferry, "Who sails?"),
        ]
        assert engine.learn().lessons == 2


def test_no_search_waits_for_what_was_chosen(tmp_path, monkeypatch):
    """It was opened and tried before it was chosen; the first query is embedded by that."""
    path = tmp_path / "m.db"
    with open_(path) as engine:
        ids = filled(engine)
        learnt = engine.learn()
        moved = queried(engine)
        engine.use_adaptation(None)

    def again(kept):
        raise AssertionError("opened for a search")

    with MemoryEngine(path) as engine:
        engine.use_adaptation(learnt.id)
        monkeypatch.setattr("adamem.memory.encoder_in_use.open_adaptation", again)
        np.testing.assert_array_equal(queried(engine), moved)
        assert found(engine, ids) == 8


def test_another_encoder_is_not_moved_by_what_this_one_learnt(tmp_path):
    """Embedding anew by another encoder leaves adaptations behind, and they say so."""
    with open_(tmp_path / "m.db") as engine:
        ids = filled(engine)
        learnt = engine.learn()
        engine.reembed("hashing:128")
        assert not engine.adaptations()[0].in_use
        assert found(engine, ids) < 8
        with pytest.raises(InvalidInput, match="was learnt on hashing:256"):
            engine.use_adaptation(learnt.id)
        engine.reembed("hashing:256")
        engine.use_adaptation(learnt.id)
        assert found(engine, ids) == 8


def test_embedding_anew_by_the_encoder_in_use_leaves_what_it_has_learnt(tmp_path):
    """As embedding by another one and back does; no vector is made, and it can be taken up again."""
    with open_(tmp_path / "m.db") as engine:
        ids = filled(engine)
        before, query = found(engine, ids), queried(engine)
        learnt = engine.learn()
        assert engine.reembed("hashing:256") == 0
        assert not engine.adaptations()[0].in_use
        np.testing.assert_array_equal(queried(engine), query)
        assert found(engine, ids) == before
        engine.use_adaptation(learnt.id)
        assert found(engine, ids) == 8


@pytest.mark.minilm
def test_what_changed_nothing_is_taken_as_well(tmp_path):
    """Where the encoder that was learnt is the one in use, nothing is left to be embedded by it."""
    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=0)) as engine:
        ids = filled(engine)
        engine.learn()
        engine.feedback(reworded("Tavuri"), ids["Tavuri"])
        engine.learn()
        assert [one.standing for one in engine.adaptations()] == ["taken", "taken"]
        assert engine._core.learning.unfinished() is None


def test_what_is_learnt_while_all_is_embedded_by_another_encoder_is_kept_and_not_used(tmp_path, monkeypatch):
    """Its queries would be compared with vectors of another space."""
    with open_(tmp_path / "m.db") as engine:
        filled(engine)
        learn = Workshop.learn

        def slowly(self, *given, **named):
            outcome = learn(self, *given, **named)
            engine.reembed("hashing:128")
            return outcome

        monkeypatch.setattr(Workshop, "learn", slowly)
        learnt = engine.learn()
        assert (learnt.standing, learnt.in_use) == ("taken", False)
        assert engine.search("a library in Cairo", top_k=1)[0].memory.text == "a library in Cairo"


@pytest.mark.minilm
@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_lessons_wait_while_somebody_else_embeds_all_anew(tmp_path, monkeypatch, moment):
    """What came of them could not be embedded by, and what is learnt next would not go on from it."""
    begun, told = threading.Event(), threading.Event()
    learn = Workshop.learn

    def stop(done, total):
        begun.set()
        assert told.wait(60)
        raise KeyError("stopped")

    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=1)) as engine:
        filled(engine)

        def reembed():
            with pytest.raises(KeyError, match="stopped"):
                engine.reembed("hashing:128", progress=stop)

        somebody = threading.Thread(target=reembed)

        def overtaken(self, *given, **named):
            assert moment == "meanwhile"  # nothing is learnt in vain
            outcome = learn(self, *given, **named)
            somebody.start()
            assert begun.wait(60)
            return outcome

        if moment == "before":
            somebody.start()
            assert begun.wait(60)
        with monkeypatch.context() as patch:
            patch.setattr(Workshop, "learn", overtaken)
            with pytest.raises(StorageError, match="are being embedded anew already"):
                engine.learn()
        told.set()
        somebody.join()
        assert engine.adaptations() == []
        assert engine._core.learning.waiting() == 8
        learnt = engine.learn()
        assert (learnt.lessons, learnt.standing, learnt.in_use) == (8, "taken", True)


@pytest.mark.minilm
def test_lessons_that_waited_for_it_are_learnt_when_all_is_embedded_anew(tmp_path):
    """Or when that has come to nothing: no further lesson has to come."""
    begun, told = threading.Event(), threading.Event()

    def stop(done, total):
        begun.set()
        assert told.wait(60)
        raise KeyError("stopped")

    plan = LearningPlan(after=8, held_out=0.0, nice=0)
    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=1), plan=plan) as engine:
        engine.add("something that is embedded anew while others come")

        def reembed():
            with pytest.raises(KeyError, match="stopped"):
                engine.reembed("hashing:128", progress=stop)

        somebody = threading.Thread(target=reembed)
        somebody.start()
        assert begun.wait(60)
        filled(engine)
        engine._tutor.wait()
        assert engine.adaptations() == []
        told.set()
        somebody.join()
        engine._tutor.wait()
        assert [(one.lessons, one.standing) for one in engine.adaptations()] == [(8, "taken")]


@pytest.mark.minilm
def test_nothing_is_learnt_before_all_is_embedded_by_what_was(tmp_path, monkeypatch, caplog):
    """The disk is full: the log says so, later lessons wait, and go on from what was learnt once there is room."""
    path, recipe = tmp_path / "m.db", LoRAAdapter(steps=1)
    with open_(path, encoder="minilm", adapter=recipe) as engine:
        filled(engine)
    some = LearningPlan(after=4, held_out=0.0, nice=0)

    with monkeypatch.context() as patch:
        patch.setattr(Reembedding, "embed", full)
        with open_(path, encoder="minilm", adapter=recipe, plan=some) as engine:
            engine._tutor.wait()
            assert [(one.lessons, one.standing) for one in engine.adaptations()] == [(4, "waiting")]
            assert engine._core.learning.waiting() == 4
            assert "no room on the disk" in caplog.text
    learn, since = Workshop.learn, []

    def watched(self, *given, **named):
        since.append(named["since"])
        return learn(self, *given, **named)

    monkeypatch.setattr(Workshop, "learn", watched)
    with open_(path, encoder="minilm", adapter=recipe, plan=some) as engine:
        engine._tutor.wait()
        assert [(one.lessons, one.standing) for one in engine.adaptations()] == [(4, "taken"), (4, "taken")]
        assert since == [engine._core.learning.model(1).model]


@pytest.mark.minilm
def test_a_rollback_while_it_learns_to_what_was_not_embedded_yet_has_it_embedded(tmp_path, monkeypatch):
    """By the thread that gives up just then: nothing else would wake one until more lessons have come."""
    plan = LearningPlan(after=8, held_out=0.0, nice=0)
    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=1), plan=plan) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Reembedding, "embed", full)
            ids = filled(engine)
            engine._tutor.wait()
            assert [one.standing for one in engine.adaptations()] == ["waiting"]
            engine.snapshot("unfinished")
        learn = Workshop.learn

        def given_up(self, *given, **named):
            outcome = learn(self, *given, **named)
            engine.rollback("unfinished")
            return outcome

        monkeypatch.setattr(Workshop, "learn", given_up)
        for name in NAMES:
            engine.feedback(reworded(name), ids[name])
            engine._tutor.wait()  # so that no lesson comes while the last ones are learnt
        assert [(one.standing, one.in_use) for one in engine.adaptations()] == [("taken", True)]
        assert engine._core.learning.waiting() == 0


@pytest.mark.parametrize("what", ["rollback", "choice"])
@pytest.mark.parametrize(
    ("moment", "encoder", "recipe"),
    [
        ("learn", "hashing:256", MAP),
        pytest.param("learn", "minilm", LoRAAdapter(steps=1), marks=pytest.mark.minilm),
        pytest.param("documents", "minilm", LoRAAdapter(steps=1), marks=pytest.mark.minilm),
    ],
)
def test_what_is_given_up_while_it_is_learnt_or_embedded_is_not_used(
    tmp_path, monkeypatch, what, moment, encoder, recipe
):
    """By a rollback, or by who goes back to the encoder as it came: that is what holds, and the file opens with it."""
    path = tmp_path / "m.db"
    with open_(path, encoder=encoder, adapter=recipe) as engine:
        ids = filled(engine)
        before = found(engine, ids)
        engine.snapshot("untaught")
        done = getattr(Workshop, moment)

        def given_up(self, *given, **named):
            outcome = done(self, *given, **named)
            if what == "rollback":
                engine.rollback("untaught")
            else:
                engine.use_adaptation(None)
            return outcome

        monkeypatch.setattr(Workshop, moment, given_up)
        with pytest.raises(StorageError, match="was rolled back while this was under way, or what its encoder"):
            engine.learn()
        monkeypatch.undo()
        assert not any(one.in_use or one.standing == "waiting" for one in engine.adaptations())
        assert found(engine, ids) == before
    with MemoryEngine(path, encoder=encoder) as engine:
        assert (engine.stats().encoder, found(engine, ids)) == (encoder, before)
        waiting = engine._core.learning.waiting()
    # What was kept before it was given up is learnt, and can be chosen; nothing else is.
    assert waiting == (0 if (what, moment) == ("choice", "documents") else 8)


def test_an_encoder_that_cannot_be_sent_costs_no_lesson(tmp_path, caplog):
    """Beside everything else the log says so, once for as many lessons as are learnt together."""
    encoder = open_encoder("hashing:256")
    encoder.lock = threading.Lock()
    plan = LearningPlan(after=8, held_out=0.0, nice=0)
    with open_(tmp_path / "m.db", encoder=encoder, plan=plan) as engine:
        filled(engine)
        engine._tutor.wait()
        engine.feedback("Where else?", 1)
        engine._tutor.wait()
        assert caplog.text.count("cannot be sent to the process that learns") == 1
        assert engine.adaptations() == []
    with open_(tmp_path / "m.db") as engine:
        assert engine.learn().lessons == 9


FAILING = """
from adamem.encoders import open_encoder

class Failing:
    name, dim, fingerprint = "failing", 256, "f" * 64

    def __init__(self, outage):
        self._outage, self._encoder = outage, open_encoder("hashing:256")

    def encode_query(self, texts):
        return self._encoder.encode_query(texts)

    def encode_document(self, texts):
        if self._outage.exists():
            raise OSError("no file can be opened")
        return self._encoder.encode_document(texts)
"""


def test_an_outage_of_the_process_that_learns_costs_no_lesson(tmp_path, monkeypatch):
    """What an encoder of one's own raises there is told, whatever it is; once that is over all are learnt."""
    (tmp_path / "failing_encoder.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    outage = tmp_path / "outage"
    encoder = importlib.import_module("failing_encoder").Failing(outage)
    with open_(tmp_path / "m.db", encoder=encoder) as engine:
        filled(engine)
        outage.touch()
        with pytest.raises(LearningFailed, match="failed with OSError: no file can be opened"):
            engine.learn()
        assert engine.adaptations() == []
        assert engine._core.learning.waiting() == 8
        outage.unlink()
        assert engine.learn().lessons == 8


@pytest.mark.minilm
def test_a_recipe_that_does_not_fit_is_told_and_costs_nothing(tmp_path):
    """A LoRA needs a model: `learn` says so, and the lessons wait; a text of 100 kB is cut as the model does."""
    with open_(tmp_path / "m.db", adapter=LoRAAdapter()) as engine:
        ids = filled(engine)
        for _ in range(2):
            with pytest.raises(InvalidInput, match="needs an encoder that is a sentence-transformers model"):
                engine.learn()
        assert engine.adaptations() == []
        assert found(engine, ids) >= 0
    with open_(tmp_path / "m.db") as engine:
        assert engine.learn().lessons == 8
    with open_(tmp_path / "n.db", encoder="minilm", adapter=LoRAAdapter(steps=1, batch=2)) as engine:
        long = engine.add("word " * 20_000).id
        engine.feedback("What is long? " * 8_000, long)
        engine.feedback("What is short?", engine.add("a word").id)
        assert engine.learn().standing == "taken"
        assert len(engine.search("What is long? " * 8_000)) == 2
    with MemoryEngine(tmp_path / "n.db", encoder="minilm") as engine:
        assert engine.get(long).text == "word " * 20_000
        assert len(engine.search("What is long? " * 8_000)) == 2


@pytest.mark.parametrize(
    ("encoder", "recipe", "said"),
    [
        ("hashing:256", QueryAdapter(scale=1e308), "a query map is not finite any more"),
        pytest.param("minilm", LoRAAdapter(scale=1e39, steps=1), "a loss of nan", marks=pytest.mark.minilm),
    ],
)
def test_a_loss_that_is_not_finite_changes_nothing(tmp_path, encoder, recipe, said):
    """A sentence; vectors and queries are as they were; the lessons are learnt again, beside later ones or alone."""
    path = tmp_path / "m.db"
    with open_(path, encoder=encoder, adapter=recipe) as engine:
        ids = filled(engine)
        before, vectors, query = found(engine, ids), vectors_of(engine), queried(engine)
        failed = engine.learn()
        assert (failed.standing, failed.in_use, failed.bytes) == ("failed", False, 0)
        assert said in failed.reason
    with open_(path, encoder=encoder, plan=dataclasses.replace(ALL, replay=8)) as engine:
        assert found(engine, ids) == before
        assert queried(engine).tobytes() == query.tobytes()
        assert all((vectors[one] == vector).all() for one, vector in vectors_of(engine).items())
        assert engine.adaptations() == [failed]
        engine.feedback(reworded("Tavuri"), ids["Tavuri"])
        assert engine.learn().in_use
        assert found(engine, ids) == 8
        assert (engine.learn(again=True).lessons, engine.learn(again=True)) == (8, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"readonly": True}, "learns where its file is written"),
        ({"adapter": "lora"}, "takes a LoRAAdapter or a QueryAdapter"),
        ({"adapter": QueryAdapter}, r"write adapter=QueryAdapter\(\)"),
        ({"plan": {"after": 3}}, "takes a LearningPlan"),
        (
            {"plan": LearningPlan(documents="bridge")},
            "a query-map that moves queries only .* leave documents='bridge' out",
        ),
    ],
)
def test_mistakes_at_the_door_are_sentences(tmp_path, given, said):
    """What is no recipe, no plan, or no writer."""
    open_(tmp_path / "m.db").close()
    with pytest.raises(InvalidInput, match=said):
        open_(tmp_path / "m.db", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"after": 0}, "after"),
        ({"replay": float("nan")}, "replay"),
        ({"held_out": 0.9}, "held_out"),
        ({"tolerance": -1}, "tolerance"),
        ({"nice": 20}, "nice"),
        ({"nice": 2.7}, "nice of a LearningPlan must be from 0 to 19 and whole"),
        ({"nice": True}, "nice"),
        ({"after": 10**30}, "after"),
        ({"replay": True}, "replay"),
        ({"replay": 10**400}, "replay of a LearningPlan must be from 0 to 100, not 1000"),
        ({"replay": "1"}, "replay"),
        ({"tolerance": True}, "tolerance"),
        ({"golden": (("", "an answer"),)}, "nothing to ask or to find"),
        ({"golden": None}, "takes pairs of a question and a text, not None"),
        ({"golden": 5}, "takes pairs"),
        ({"golden": "ab"}, "takes pairs"),
        ({"golden": {"a": "b"}}, "takes pairs"),
        ({"golden": ("ab", "cd")}, "takes pairs of a question and a text, and has 'ab'"),
        ({"golden": (("a",),)}, "takes pairs"),
        ({"golden": (("a", "b", "c"),)}, "takes pairs"),
        ({"golden": ((1, 2),)}, "must be a string, not int"),
        ({"golden": (("\ud800", "x"),)}, "a text in golden"),
        ({"documents": "stay"}, "must be 'anew' or 'bridge', not 'stay'"),
    ],
)
def test_a_plan_is_checked(given, said):
    """Each of its values."""
    with pytest.raises(InvalidInput, match=said):
        LearningPlan(**given)


def test_what_does_not_answer_a_query_is_held_against_it(tmp_path):
    """It waits for what does, then the query is turned away from it; what was learnt is learnt again; the last word
    counts; nothing is hidden."""
    far = {}
    for told in (False, True):
        with open_(tmp_path / f"{told}.db") as engine:
            ids = {name: engine.add(place).id for name, place in zip(NAMES, PLACES, strict=True)}
            wrong = engine.add("a timetable for Brimolk").id
            if told:
                engine.feedback(asked("Brimolk"), wrong, helpful=False)
                assert engine.learn() is None
            for name, number in ids.items():
                engine.feedback(asked(name), number)
            assert engine._core.learning.waiting() == 8
            assert engine.learn().lessons == 8
            hits = engine.search(asked("Brimolk"), top_k=9)
            assert len(hits) == 9  # nothing is hidden
            far[told] = next(hit.score for hit in hits if hit.memory.id == wrong)
    assert far[True] < far[False] - 0.1
    with open_(tmp_path / "False.db") as engine:
        # Learnt before: it is taught again, beside what is held against it now.
        engine.feedback(asked("Brimolk"), wrong, helpful=False)
        engine.feedback(asked("Brimolk"), wrong, helpful=False)
        (lesson,) = engine._core.learning.next(10)
        assert (lesson.query, lesson.against) == (asked("Brimolk"), ("a timetable for Brimolk",))
        engine.feedback(asked("Brimolk"), wrong)
        assert [one.against for one in engine._core.learning.next(10)] == [(), ()]
        engine.feedback(asked("Brimolk"), wrong, helpful=False)
        assert len(engine._core.learning.next(10)) == 1
        # An answer's own question counts as well.
        answer = engine.update("What is the code?", "it is 17").id
        assert len(engine._core.learning.next(10)) == 2
        engine.feedback("What is the code?", answer, helpful=False)
        assert len(engine._core.learning.next(10)) == 1
        engine.purge(wrong)
        assert [one.against for one in engine._core.learning.next(10)] == [()]
        assert engine.learn().standing == "taken"


def test_what_is_said_not_to_answer_while_its_query_is_learnt_is_not_lost(tmp_path, monkeypatch):
    """The query waits on and is learnt again, with that held against it; the others are learnt."""
    with open_(tmp_path / "m.db") as engine:
        filled(engine)
        learn, taught = Workshop.learn, []

        def told_meanwhile(self, adapter, pairs, **named):
            outcome = learn(self, adapter, pairs, **named)
            if not taught:
                engine.feedback(asked("Brimolk"), 2, helpful=False)
            taught.append({pair.query: pair.against for pair in pairs})
            return outcome

        monkeypatch.setattr(Workshop, "learn", told_meanwhile)
        engine.learn()
        assert len(taught[0]) == 8
        assert taught[0][asked("Brimolk")] == ()
        assert taught[1:] == [{asked("Brimolk"): (PLACES[1],)}]
        assert engine._core.learning.waiting() == 0


def test_golden_questions_may_come_from_anywhere():
    """They are kept: an iterator would be empty after the first exam."""
    assert LearningPlan(golden=iter([["a", "b"]])).golden == (("a", "b"),)


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (1e-320, 0), (0.1, 12), (0.3, 30), (0.4, 40), (0.5, 50)])
def test_the_share_that_is_held_out_is_what_the_plan_says(tmp_path, share, held):
    """Of a hundred; small shares are larger until five lessons judge."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1_000, held_out=share)) as engine:
        engine.add("a cellar")
        for number in range(100):
            engine.feedback(f"Where is key {number}?", 1)
        assert engine._core.learning.waiting() == 100 - held


@pytest.mark.parametrize("between", [1, 3, 4])
def test_what_is_said_not_to_answer_takes_no_place_among_those_that_are_held_out(tmp_path, between):
    """However regularly it comes between them, of a hundred lessons ten judge, and two for the sake of the first."""
    with open_(tmp_path / "m.db", plan=LearningPlan(after=1_000)) as engine:
        right, *wrong = [engine.add(place).id for place in PLACES[: 1 + between]]
        for number in range(100):
            engine.feedback(f"Where is key {number}?", right)
            for other in wrong:
                engine.feedback(f"Where is key {number}?", other, helpful=False)
        assert len(engine._core.learning.held(100)) in (11, 12, 13)


def test_what_is_said_again_is_taught_or_judges_and_never_both(tmp_path):
    """By whatever way it was said first; an exam asks each question once, and one question makes none."""
    plan = LearningPlan(after=1_000, held_out=0.5, nice=0)
    with open_(tmp_path / "m.db", plan=plan) as engine:
        learning = engine._core.learning
        pairs = [(engine.update(f"What is in drawer {n}?", f"a spoon and {n}").id, n) for n in range(4)]
        first = {one.memory for one in learning.held(100)}
        assert 0 < len(first) < 4
        for _ in range(10):
            for number, n in pairs:
                engine.feedback(f"What is in drawer {n}?", number)
        assert {one.memory for one in learning.next(100)} == {number for number, _ in pairs} - first
        assert sorted(one.memory for one in learning.held(100)) == sorted(first)
        assert engine.learn().before is None  # for an exam there are too few


def test_lessons_are_checked(tmp_path):
    """An empty query, and a memory that is none."""
    with open_(tmp_path / "m.db") as engine:
        number = engine.add("a cellar").id
        with pytest.raises(InvalidInput, match="query"):
            engine.feedback(" ", number)
        with pytest.raises(UnknownName, match="no memory 7"):
            engine.feedback("Where?", 7)
        with pytest.raises(InvalidInput, match=r"takes a LearningTimings of .*, not Timings"):
            engine.learn(timings=Timings())
        engine.feedback("Where?", number)
        assert engine.learn() is None  # alone it is told from nothing
        for mistake, error, said in (
            (-1, UnknownName, "no adaptation -1"),
            (2**63, UnknownName, "no adaptation 9223"),
            (True, InvalidInput, "an adaptation's id is a whole number"),
            ("1", InvalidInput, "an adaptation's id is a whole number"),
            (7, UnknownName, "no adaptation 7 to use; there are: none"),
        ):
            with pytest.raises(error, match=said):
                engine.use_adaptation(mistake)
        with pytest.raises(InvalidInput, match="progress must be a function"):
            engine.use_adaptation(None, progress=5)


def test_feedback_on_what_is_purged_just_then_is_told_so(tmp_path, monkeypatch):
    """It is no matter of the database."""
    with open_(tmp_path / "m.db") as engine:
        number = engine.add("a cellar").id
        require = engine._require_tutor

        def purged_meanwhile():
            engine.purge(number)
            return require()

        monkeypatch.setattr(engine, "_require_tutor", purged_meanwhile)
        with pytest.raises(UnknownName, match="it may have been purged"):
            engine.feedback("Where?", number)


def test_a_script_without_a_guard_is_not_run_twice(tmp_path):
    """The process that learns does not import the caller's main module."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from adamem.adapt import QueryAdapter
            from adamem.memory import LearningPlan, MemoryEngine
            print("once", flush=True)
            plan = LearningPlan(after=2, held_out=0.0, nice=0)
            with MemoryEngine(sys.argv[1], encoder="hashing:64", adapter=QueryAdapter(epochs=3), plan=plan) as engine:
                for n in range(2):
                    engine.feedback(f"key {n}?", engine.add(f"drawer {n}").id)
                print(engine.learn() is not None or len(engine.adaptations()))
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "m.db")], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[0] == "once"
    assert done.stdout.count("once") == 1
    assert done.returncode == 0, done.stderr


def test_an_adaptation_of_other_dimensions_is_left_out(tmp_path, caplog):
    """A package says that it was learnt on the encoder of the file, which is not so."""
    with open_(tmp_path / "m.db", encoder="hashing:128") as engine:
        filled(engine)
        wrong = open_adaptation(engine._core.learning.model(engine.learn().id).model)
    with open_(tmp_path / "n.db") as engine:
        filled(engine)
        engine.learn()
        lie = QueryMap(open_encoder("hashing:256").fingerprint, *wrong.parts).to_bytes()
        with engine._store.database.write() as connection:
            connection.exec_driver_sql("UPDATE adaptations SET model = ?", (lie,))
        engine.export_package(tmp_path / "lie.zip", adaptation=True)
        engine.use_adaptation(None)
        with pytest.raises(InvalidInput, match="is of 128 dimensions"):
            engine.use_adaptation(1)
        assert len(engine.search("a library in Cairo")) == 4
    with MemoryEngine(tmp_path / "o.db", encoder="hashing:256") as engine:
        assert engine.import_package(tmp_path / "lie.zip").adaptation is None
        assert engine.count() == 8
        assert "left out: this query map is of 128 dimensions" in caplog.text


@pytest.mark.minilm
def test_what_no_search_could_go_by_is_not_chosen(tmp_path):
    """A bridge that leaves nothing of a query: it is told when it is chosen, and what is in use stays."""
    with open_(
        tmp_path / "m.db",
        encoder="minilm",
        adapter=LoRAAdapter(steps=1),
        plan=dataclasses.replace(ALL, documents="bridge"),
    ) as engine:
        ids = filled(engine)
        before = found(engine, ids)
        kept = open_adaptation(engine._core.learning.model(engine.learn().id).model)
        engine.use_adaptation(None)
        nowhere = Bridge("procrustes", joins=kept.bridge.joins, rotation=np.zeros((384, 384), np.float32))
        lie = BridgedLora(kept.learnt, nowhere).to_bytes()
        with engine._store.database.write() as connection:
            connection.exec_driver_sql("UPDATE adaptations SET model = ?", (lie,))
        with pytest.raises(InvalidInput, match="zero"):
            engine.use_adaptation(1)
        assert found(engine, ids) == before


@pytest.mark.minilm
def test_a_package_does_not_hide_what_has_still_to_be_embedded_by(tmp_path, monkeypatch):
    """An adaptation that comes in is newer than the one that is waiting."""
    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=1)) as engine:
        filled(engine)
        engine.learn()
        engine.export_package(tmp_path / "learnt.zip", adaptation=True)
    path = tmp_path / "n.db"
    with open_(path, encoder="minilm", adapter=LoRAAdapter(steps=1)) as engine:
        filled(engine)

        def ended(self, *given):
            raise ProcessEnded("killed")

        with monkeypatch.context() as patch:
            patch.setattr(Workshop, "documents", ended)
            with pytest.raises(LearningFailed, match="killed"):
                engine.learn()
        assert [one.standing for one in engine.adaptations()] == ["waiting"]
        engine.import_package(tmp_path / "learnt.zip")
    with open_(path, encoder="minilm", adapter=LoRAAdapter(steps=1)) as engine:
        engine._tutor.wait()
        assert [one.standing for one in engine.adaptations()] == ["taken", "taken"]
        assert engine.stats().encoder == "minilm+lora"


def test_what_was_learnt_goes_with_a_package_if_asked(tmp_path):
    """It comes in unused; another encoder's is left out; without it the package is as it always was."""
    with open_(tmp_path / "m.db") as engine:
        ids = filled(engine)
        with pytest.raises(InvalidInput, match="uses nothing that it has learnt"):
            engine.export_package(tmp_path / "none.zip", adaptation=True)
        engine.learn()
        engine.export_package(tmp_path / "plain.zip")
        engine.export_package(tmp_path / "learnt.zip", adaptation=True)
        engine.export_package(tmp_path / "again.zip", adaptation=True)
    assert (tmp_path / "learnt.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with MemoryEngine(tmp_path / "n.db", encoder="hashing:256") as engine:
        assert engine.import_package(tmp_path / "plain.zip").adaptation is None
        engine.delete_namespace("global")
        brought = engine.import_package(tmp_path / "learnt.zip")
        here = {name: brought.ids[number] for name, number in ids.items()}
        assert found(engine, here) < 8
        assert not engine.adaptations()[0].in_use
        engine.use_adaptation(brought.adaptation)
        assert found(engine, here) == 8
    with MemoryEngine(tmp_path / "o.db", encoder="hashing:128") as engine:
        assert engine.import_package(tmp_path / "learnt.zip").adaptation is None
        assert engine.count() == 8
    data = bytearray((tmp_path / "learnt.zip").read_bytes())
    at = data.index(b"adaptation.bin") + 500
    data[at] ^= 1
    (tmp_path / "broken.zip").write_bytes(data)
    with MemoryEngine(tmp_path / "p.db", encoder="hashing:256") as engine:
        with pytest.raises(CorruptResult, match="broken"):
            engine.import_package(tmp_path / "broken.zip")
        assert engine.count() == 0


@pytest.mark.minilm
def test_a_package_comes_in_without_what_this_machine_cannot_apply(tmp_path, monkeypatch, caplog):
    """All of it or nothing: the memories do, and the log says what was left out."""
    with open_(tmp_path / "m.db", encoder="minilm", adapter=LoRAAdapter(steps=1)) as engine:
        filled(engine)
        engine.learn()
        engine.export_package(tmp_path / "learnt.zip", adaptation=True)
    monkeypatch.setitem(sys.modules, "peft", None)
    with MemoryEngine(tmp_path / "n.db", encoder="minilm") as engine:
        engine.add("first")
        brought = engine.import_package(tmp_path / "learnt.zip")
        assert (brought.adaptation, brought.memories, engine.count()) == (None, 8, 9)
        assert engine.adaptations() == []
        assert "left out: a LoRA needs peft" in caplog.text


def test_a_package_comes_in_together_with_what_was_learnt_or_not_at_all(tmp_path, monkeypatch):
    """It is one write."""
    with open_(tmp_path / "m.db") as engine:
        filled(engine)
        engine.learn()
        engine.export_package(tmp_path / "learnt.zip", adaptation=True)
        for memory in list(engine.get_all()):
            engine.delete(memory.id)
        engine.export_package(tmp_path / "empty.zip", adaptation=True)

    def fail(*given):
        raise OSError("no room")

    with MemoryEngine(tmp_path / "n.db", encoder="hashing:256") as engine:
        with monkeypatch.context() as patch:
            patch.setattr(engine._core.learning, "bring", fail)
            with pytest.raises(OSError, match="no room"):
                engine.import_package(tmp_path / "learnt.zip")
        assert engine.count() == 0
        assert engine.import_package(tmp_path / "empty.zip").adaptation == 1
        assert engine.import_package(tmp_path / "learnt.zip").adaptation == 2
        assert engine.count() == 8
