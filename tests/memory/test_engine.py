"""The engine's verbs, as a program uses them."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.errors import InvalidInput, StorageError, UnknownName
from adamem.memory import Hit, Memory, MemoryEngine, NewMemory, Weighting


@pytest.fixture(params=["file", "memory"])
def engine(request, opened, tmp_path):
    """One on a file, one in memory: they behave alike."""
    return opened(tmp_path / "memory.db" if request.param == "file" else ":memory:")


def texts(hits: list[Hit]) -> list[str]:
    return [hit.memory.text for hit in hits]


def test_what_was_added_is_found_by_the_next_search(engine):
    """With its score, its rank, and whatever was said about it."""
    engine.add("Anna keeps bees in Dallas", metadata={"source": "chat"}, keywords=["bees"], credibility=0.5)
    added = engine.add("The router is reset by its button")
    hits = engine.search("how is the router reset")
    assert texts(hits) == ["The router is reset by its button", "Anna keeps bees in Dallas"]
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].memory.id == added.id
    assert hits[0].score > hits[1].score
    assert hits[0].parts == {"vector": hits[0].score}
    other = hits[1].memory
    assert (other.metadata, other.keywords, other.credibility) == ({"source": "chat"}, ("bees",), 0.5)
    assert (other.namespace, other.type, other.revision, other.slot) == ("global", "fact", 1, None)


def test_the_score_is_the_cosine(engine, unit):
    """Of the angle between the query's vector and the memory's, whatever their lengths."""
    a, b = unit(2)
    engine.add("one", vector=5 * a)
    (hit,) = engine.search(vector=0.1 * b)
    assert hit.score == pytest.approx(float(a @ b), abs=1e-6)


def test_top_k_is_four_and_ties_are_in_the_order_of_ids(engine, unit):
    """Equal vectors come in the order in which they were added."""
    (vector,) = unit(1)
    ids = [engine.add(f"copy {number}", vector=vector).id for number in range(9)]
    assert [hit.memory.id for hit in engine.search(vector=vector)] == ids[:4]
    assert [hit.memory.id for hit in engine.search(vector=vector, top_k=7)] == ids[:7]
    assert len(engine.search(vector=vector, top_k=50)) == 9


@pytest.mark.parametrize(
    "text",
    [
        "  spaces around  ",
        "e\u0301 is not \u00e9",
        "Жила-была",
        "🧠 \u200d",
        "line\r\nline\ttab",
        "'; DROP TABLE memories; --",
    ],
)
def test_text_is_kept_verbatim(opened, text):
    """Byte for byte, after reopening too."""
    with opened() as engine:
        number = engine.add(text, namespace=text, slot=text, metadata={text: [text, None, 1.5, {"a": True}]}).id
    again = opened().get(number)
    assert (again.text, again.namespace, again.slot) == (text, text, text)
    assert again.metadata == {text: [text, None, 1.5, {"a": True}]}


def test_all_is_there_after_reopening(opened):
    """By id, by search, and by listing."""
    with opened() as engine:
        first = engine.add("bees like lavender")
        engine.add("a wrench turns nuts")
    with opened() as engine:
        assert engine.get(first.id).text == "bees like lavender"
        assert texts(engine.search("lavender and bees", top_k=1)) == ["bees like lavender"]
        assert [one.text for one in engine.get_all()] == ["bees like lavender", "a wrench turns nuts"]
        assert engine.add("a third").id == 3


def test_namespaces_do_not_see_each_other(engine):
    """In searching, counting and listing; ids are unique across them, and get needs none."""
    a = engine.add("secret of a", namespace="a")
    b = engine.add("secret of b", namespace="b")
    assert a.id != b.id
    assert texts(engine.search("secret of b", namespace="a")) == ["secret of a"]
    assert [one.text for one in engine.get_all(namespace="b")] == ["secret of b"]
    assert engine.count(namespace="a") == 1
    assert engine.get(b.id).namespace == "b"
    assert engine.search("secret", namespace="c") == []
    assert engine.search("secret") == []


def test_the_default_namespace_is_the_callers_or_the_environments(opened, monkeypatch, tmp_path):
    """Else it is `global`."""
    monkeypatch.setenv("DEFAULT_NS", "team")
    by_environment = opened(tmp_path / "a.db")
    assert by_environment.get(by_environment.add("x").id).namespace == "team"
    by_caller = opened(tmp_path / "b.db", default_namespace="mine")
    assert by_caller.get(by_caller.add("x").id).namespace == "mine"
    monkeypatch.setenv("DEFAULT_NS", " ")
    by_neither = opened(tmp_path / "c.db")
    assert by_neither.get(by_neither.add("x").id).namespace == "global"


def test_a_fact_supersedes_the_one_in_its_slot(engine):
    """The new one is found, the old one is history, and other slots and namespaces are untouched."""
    old = engine.add("Anna lives in San Francisco", slot="home.city", namespace="anna")
    engine.add("Ben lives in San Francisco", slot="home.city", namespace="ben")
    engine.add("Anna works in San Francisco", slot="work.city", namespace="anna")
    new = engine.add("Anna moved to Dallas in May", slot="home.city", namespace="anna")
    assert new.superseded == old.id
    found = texts(engine.search("where does Anna live? San Francisco", namespace="anna", top_k=9))
    assert sorted(found) == ["Anna moved to Dallas in May", "Anna works in San Francisco"]
    assert engine.count(namespace="ben") == 1
    past = engine.history("home.city", namespace="anna")
    assert [one.id for one in past] == [old.id, new.id]
    assert past[0].valid_to == past[1].valid_from
    assert past[1].valid_to is None
    assert past[0].revision == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lives in SF", "Lives in Dallas"),
        ("Loves hiking", "Hates hiking"),
        ("Prefers Python over Java", "Prefers Java over Python"),
    ],
)
def test_sentences_that_look_alike_never_supersede(engine, one, other):
    """Without a slot, both are found."""
    assert engine.add(one).superseded is None
    assert engine.add(other).superseded is None
    assert sorted(texts(engine.search(one))) == sorted([one, other])


def test_a_fact_that_arrives_late_becomes_history_at_once(opened, clock):
    """By when it held, not by when it was told."""
    engine = opened(clock=clock)
    may, june = datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)
    new = engine.add("lives in Dallas", slot="city", valid_from=june)
    late = engine.add("lives in Boston", slot="city", valid_from=may)
    assert late.superseded is None
    assert texts(engine.search("lives in")) == ["lives in Dallas"]
    assert [(one.id, one.valid_to) for one in engine.history("city")] == [(late.id, june), (new.id, None)]


def test_a_fact_of_the_future_is_found_when_its_time_has_come(opened, clock):
    """Until then the present one holds; the index need not be told."""
    engine = opened(clock=clock)
    engine.add("lives in Boston", slot="city")
    engine.add("lives in Dallas", slot="city", valid_from=clock.now + timedelta(days=3))
    assert texts(engine.search("lives in")) == ["lives in Boston"]
    clock.now += timedelta(days=4)
    assert texts(engine.search("lives in")) == ["lives in Dallas"]


def test_within_one_call_the_later_one_of_a_slot_holds(engine):
    """And it says whom it superseded."""
    first, second, third = engine.add_many(
        [NewMemory(text="red", slot="colour"), NewMemory(text="blue", slot="colour"), "neither"]
    )
    assert (first.superseded, second.superseded, third.superseded) == (None, first.id, None)
    assert sorted(texts(engine.search("colour red blue"))) == ["blue", "neither"]


def test_an_answer_supersedes_the_one_to_the_same_question(engine):
    """Question and answer are kept apart, and both are searched."""
    old = engine.update("How do I reset the router?", "Hold the button for ten seconds", namespace="support")
    new = engine.update("how do I reset the router", "Pull the plug", namespace="support")
    engine.update("How do I reset the modem?", "Call us", namespace="support")
    assert new.superseded == old.id
    assert engine.count(namespace="support") == 2
    (hit,) = engine.search("reset the router", namespace="support", top_k=1)
    assert (hit.memory.text, hit.memory.question) == ("Pull the plug", "how do I reset the router")


def test_an_expired_memory_is_not_found(opened, clock):
    """From its time on; get still shows it."""
    engine = opened(clock=clock)
    brief = engine.add("the code is 1234", ttl=timedelta(hours=1))
    engine.add("the code is changed daily")
    assert len(engine.search("code")) == 2
    clock.now += timedelta(hours=2)
    assert texts(engine.search("code")) == ["the code is changed daily"]
    assert engine.count() == 1
    assert engine.get(brief.id).expires is not None


def test_deleting_hides_and_restoring_shows(engine):
    """As often as one likes; what was deleted is still there by its id."""
    number = engine.add("to be or not").id
    engine.add("another one")
    for turn in range(3):
        engine.delete(number)
        assert texts(engine.search("to be or not")) == ["another one"]
        assert engine.get(number).deleted is not None
        engine.restore(number)
        assert texts(engine.search("to be or not"))[0] == "to be or not"
        assert engine.get(number).revision == 3 + 2 * turn


def test_a_deleted_fact_gives_its_slot_to_nobody(engine):
    """What it had superseded does not come back; the next fact supersedes nobody that could be found."""
    engine.add("red", slot="colour")
    blue = engine.add("blue", slot="colour")
    engine.delete(blue.id)
    assert engine.search("red") == []
    green = engine.add("green", slot="colour")
    assert green.superseded is None
    assert texts(engine.search("red")) == ["green"]


def test_times_never_go_back_with_the_clock(opened, clock):
    """Where the machine's clock goes back, what is written bears the latest time there was."""
    engine = opened(clock=clock)
    first = engine.get(engine.add("before", slot="x").id)
    clock.now -= timedelta(days=400)
    second = engine.add("after", slot="x")
    assert second.superseded == first.id
    assert engine.get(second.id).created >= first.created
    assert texts(engine.search("before after")) == ["after"]


def test_a_memory_of_a_thousand_is_listed_in_pieces(engine, unit):
    """get_all gives every one once, in order; of what comes meanwhile it knows nothing."""
    engine.add_many([f"number {i}" for i in range(1_201)], vectors=unit(1_201))
    seen = []
    for one in engine.get_all():
        seen.append(one.id)
        if one.id == 700:
            engine.add("added meanwhile", vector=unit(1)[0])
    assert seen == list(range(1, 1_202))
    assert engine.count() == 1_202


def test_results_cannot_be_changed(engine):
    """They are values."""
    memory = engine.get(engine.add("stone").id)
    with pytest.raises(AttributeError):
        memory.text = "water"
    assert isinstance(memory, Memory)
    assert hash(memory) == hash(engine.get(memory.id))


def test_mappings_in_results_cannot_be_changed(engine):
    """And are written, copied and compared as any others are."""
    number = engine.add("stone", metadata={"b": {"c": [1]}, "a": 2}).id
    (hit,) = engine.search("stone")
    for mapping in (hit.parts, hit.memory.metadata, hit.memory.metadata["b"], engine.get(engine.add("x").id).metadata):
        for change in (
            lambda one: one.__setitem__("x", 1),
            lambda one: one.update(x=1),
            lambda one: one.setdefault("x", 1),
            lambda one: one.pop("a", None),
            lambda one: one.clear(),
            lambda one: one.__ior__({"x": 1}),
            lambda one: one.__delitem__("a"),
            lambda one: one.popitem(),
        ):
            with pytest.raises(TypeError, match=r"cannot be changed; make a dict of it"):
                change(mapping)
    memory = engine.get(number)
    assert memory.metadata == {"a": 2, "b": {"c": [1]}}
    assert json.dumps(memory.metadata) == '{"a": 2, "b": {"c": [1]}}'
    for copied in (pickle.loads(pickle.dumps(hit)), copy.deepcopy(hit)):
        assert copied == hit
        assert type(copied.parts) is type(hit.parts)
    assert dataclasses.asdict(memory)["metadata"] == memory.metadata
    assert dict(memory.metadata) | {"x": 1} == {"a": 2, "b": {"c": [1]}, "x": 1}


def test_what_differs_in_the_order_of_its_metadata_is_there_twice(engine):
    """At every depth: an object of JSON has no order."""
    one = engine.add("stone", metadata={"a": 1, "b": {"c": 1, "d": [2]}})
    other = engine.add("stone", metadata={"b": {"d": [2], "c": 1}, "a": 1})
    engine.add("stone", metadata={"a": 1, "b": {"c": 1, "d": [3]}})
    assert engine.defrag(near=None).duplicates == 1
    assert engine.get(other.id).id == one.id
    assert engine.get(engine.add("x", metadata={"a": {1: 2, "b": 3}}).id).metadata == {"a": {"1": 2, "b": 3}}


BAD = [
    ({"text": ""}, "text is '': there is nothing to remember"),
    ({"text": " \n"}, "there is nothing to remember"),
    ({"text": None}, "text must be a string, not NoneType"),
    ({"text": "a\udc00b"}, "text holds half of a character at place 1"),
    ({"text": "a\0b"}, "text holds the character NUL at place 1"),
    ({"text": "x" * 2_000_000}, "text has 2,000,000 bytes, and at most 1,048,576 can be stored"),
    ({"text": "x", "namespace": ""}, "namespace is empty; give it a name"),
    ({"text": "x", "namespace": 5}, "namespace must be a string, not int"),
    ({"text": "x", "namespace": "n" * 5_000}, "namespace has 5,000 bytes, and at most 4,096"),
    ({"text": "x", "slot": ""}, "slot is empty"),
    ({"text": "x", "metadata": ["a"]}, "metadata must be a mapping"),
    ({"text": "x", "metadata": {"a": float("nan")}}, "metadata cannot be written as JSON"),
    ({"text": "x", "metadata": {"a": {1, 2}}}, "metadata cannot be written as JSON"),
    ({"text": "x", "metadata": {3: "a"}}, "a name in metadata must be a string, not int"),
    ({"text": "x", "keywords": "bees"}, "keywords must be several strings, not the one string 'bees'"),
    ({"text": "x", "links": [0]}, "there is no memory 0"),
    ({"text": "x", "links": ["1"]}, "a memory's id is a whole number, not '1'"),
    ({"text": "x", "credibility": 1.5}, "credibility must be a number from 0 to 1, not 1.5"),
    ({"text": "x", "credibility": float("nan")}, "credibility must be a number from 0 to 1, not nan"),
    ({"text": "x", "valid_from": datetime(2026, 1, 1)}, "names no time zone"),
    ({"text": "x", "valid_from": "2026-01-01"}, "valid_from must be a datetime, not str"),
    ({"text": "x", "ttl": timedelta(0)}, "ttl must be a timedelta above zero"),
    ({"text": "x", "ttl": 60}, "ttl must be a timedelta above zero, not 60"),
    ({"text": "x", "vector": np.ones(3)}, "the vectors have 3 dimensions, but the encoder of .* makes 64"),
    ({"text": "x", "vector": np.zeros(64)}, "vectors"),
    ({"text": "x", "vector": np.full(64, np.nan)}, "vectors"),
    ({"text": "x", "vector": np.ones((2, 64))}, r"vector must have the shape \(d,\), not \(2, 64\)"),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=[str(place) for place in range(len(BAD))])
def test_what_cannot_be_kept_is_refused_with_a_sentence(engine, given, said):
    """And nothing is written."""
    with pytest.raises(InvalidInput, match=said):
        engine.add(**given)
    assert engine.count() == 0
    assert engine.add("the next").id == 1


def test_of_several_none_is_kept_if_one_is_bad(engine):
    """Whatever is wrong with it."""
    with pytest.raises(InvalidInput, match=r"a memory to add must be a NewMemory, not int"):
        engine.add_many(["good", 5])
    with pytest.raises(InvalidInput, match="2 memories came with 1 vectors"):
        engine.add_many(["one", "two"], vectors=np.ones((1, 64)))
    with pytest.raises(InvalidInput, match=r"a memory has a slot .* or a question .* not both"):
        engine.add_many([NewMemory(text="a", slot="b", question="c")])
    assert engine.count() == 0
    assert engine.add_many([]) == []


def test_bad_questions_are_refused(engine):
    """Of the kinds that a program gets wrong."""
    engine.add("something")
    with pytest.raises(InvalidInput, match="a search needs a query"):
        engine.search()
    with pytest.raises(InvalidInput, match="query is '': there is nothing to look for; pass some words"):
        engine.search("")
    with pytest.raises(InvalidInput, match="top_k"):
        engine.search("x", top_k=0)
    with pytest.raises(InvalidInput, match="the vectors have 3 dimensions"):
        engine.search(vector=[1.0, 2.0, 3.0])
    with pytest.raises(UnknownName, match="there is no memory 99"):
        engine.get(99)
    with pytest.raises(UnknownName, match="there is no memory 99"):
        engine.delete(99)
    with pytest.raises(InvalidInput, match="the memory 1 is not deleted"):
        engine.restore(1)
    engine.delete(1)
    with pytest.raises(InvalidInput, match="the memory 1 is deleted already"):
        engine.delete(1)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"index": "spirale"}, UnknownName, "did you mean 'spiral'"),
        ({"index_params": {"r": 5}}, UnknownName, "did you mean 'R'|unknown"),
        ({"search_params": {"ef": 0}}, InvalidInput, "ef"),
        ({"tail": 0}, InvalidInput, "tail"),
        ({"default_namespace": "a\0"}, InvalidInput, "NUL"),
        ({"wait": "x"}, InvalidInput, "wait must be a number of seconds from 0 on, not 'x'"),
        ({"wait": -1}, InvalidInput, "wait must be a number of seconds"),
        ({"wait": float("nan")}, InvalidInput, "wait must be a number of seconds"),
        ({"cache_bytes": -1}, InvalidInput, "cache_bytes must be a whole number"),
        ({"encoder": 5}, InvalidInput, "encoder must be a name or an Encoder, not int"),
        ({"index": 5}, InvalidInput, "index must be a name, not int"),
        ({"index_params": 5}, InvalidInput, "index_params must be a mapping of names to values, not int"),
        ({"search_params": ["ef"]}, InvalidInput, "search_params must be a mapping of names to values, not list"),
        ({"clock": 5}, InvalidInput, "clock must be a function, not int"),
    ],
)
def test_an_engine_that_makes_no_sense_is_not_opened(opened, tmp_path, settings, error, said):
    """And leaves no file."""
    with pytest.raises(error, match=said):
        opened(**settings)
    assert list(tmp_path.iterdir()) == []


def test_what_is_of_another_kind_is_refused_with_a_sentence(engine, tmp_path):
    """Not by Python, which does not know the way out."""
    engine.add("stone")
    for given, said in (
        (lambda: engine.add_many(5), "add_many takes several memories, not 5; write a list"),
        (lambda: engine.reembed(5), "encoder must be a name or an Encoder, not int"),
        (lambda: engine.reembed("hashing", progress=5), "progress must be a function, not int"),
        (lambda: engine.defrag(progress=5), "progress must be a function, not int"),
        (lambda: engine.build_context("stone", count_tokens=3), "count_tokens must be a function, not int"),
        (lambda: engine.export_package(tmp_path / "p.zip", namespaces=5), "namespaces must be several names, not 5"),
    ):
        with pytest.raises(InvalidInput, match=said):
            given()
    assert not (tmp_path / "p.zip").exists()


@pytest.mark.parametrize("path", ["", None, 5, "a\0b"])
def test_what_is_no_path_is_refused(path):
    """With the way out."""
    with pytest.raises(InvalidInput, match=r"is no path; name the file|NUL"):
        MemoryEngine(path)


def test_a_closed_engine_says_so(engine):
    """Closing twice is no error."""
    engine.add("x")
    engine.close()
    engine.close()
    for verb in (lambda: engine.add("y"), lambda: engine.search("x"), lambda: engine.get(1), engine.count):
        with pytest.raises(StorageError, match="is closed; open it again"):
            verb()


def test_vectors_of_another_encoder_are_never_compared(opened):
    """Neither of another dimension nor of the same one."""
    with opened() as engine:
        engine.add("x")
    said = r"holds vectors of the encoder hashing:64 .* open it with encoder='hashing:64'"
    with pytest.raises(InvalidInput, match=said):
        opened(encoder=open_encoder("hashing:128"))
    engine = opened(encoder="hashing:128")
    for verb in (lambda: engine.search("x"), lambda: engine.add("y")):
        with pytest.raises(InvalidInput, match=said):
            verb()
    reader = opened(readonly=True, encoder="hashing:128")
    with pytest.raises(InvalidInput, match=said):
        reader.search("x")


def test_without_an_encoder_the_files_own_is_used(opened, monkeypatch):
    """Whatever EMBED_MODEL says, which is for new files."""
    monkeypatch.setenv("EMBED_MODEL", "hashing:32")
    with opened(encoder=None) as engine:
        engine.add("x")
    monkeypatch.setenv("EMBED_MODEL", "hashing:48")
    engine = opened(encoder=None)
    assert texts(engine.search("x")) == ["x"]
    assert engine.search(vector=np.ones(32))


def test_threads_may_share_an_engine(engine):
    """Adds and searches beside each other: all are kept, and each finds what it added itself."""
    failures: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for turn in range(25):
                text = f"worker{who} did task{turn}"
                engine.add(text, namespace=f"n{who % 2}")
                assert texts(engine.search(text, namespace=f"n{who % 2}", top_k=1)) == [text]
        except BaseException as error:  # noqa: BLE001 -- told in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert engine.count(namespace="n0") == engine.count(namespace="n1") == 50
    assert len({one.id for name in ("n0", "n1") for one in engine.get_all(namespace=name)}) == 100


@pytest.mark.parametrize("index", ["spiral", "hnsw", "faiss_hnsw", "exact"])
def test_a_namespace_that_outgrows_the_scan_gets_an_index(opened, unit, index):
    """Whichever it is; the nearest are found before, meanwhile and after, and after reopening from its saved form."""
    vectors = unit(5_000)
    with opened(index=index) as engine:
        for start in range(0, 5_000, 500):
            engine.add_many([f"m{i}" for i in range(start, start + 500)], vectors=vectors[start : start + 500])
            found = [engine.search(vector=vectors[i], top_k=1)[0].memory.id for i in range(start, start + 500, 50)]
            assert found == list(range(start + 1, start + 501, 50))
        engine.flush()
        engine.delete(7)
        assert engine.search(vector=vectors[6], top_k=1)[0].memory.id != 7
    with opened(index=index) as engine:
        assert [engine.search(vector=vectors[i], top_k=1)[0].memory.id for i in range(50, 5_000, 99)] == list(
            range(51, 5_001, 99)
        )
        assert engine.search(vector=vectors[6], top_k=1)[0].memory.id != 7


def test_more_at_once_than_the_tail_may_hold(opened, unit):
    """One call adds ten tails full: all are found when it returns."""
    engine = opened(tail=300, index="hnsw")
    vectors = unit(3_000)
    engine.add_many([f"m{i}" for i in range(3_000)], vectors=vectors)
    assert [engine.search(vector=vectors[i], top_k=1)[0].memory.id for i in range(0, 3_000, 97)] == list(
        range(1, 3_001, 97)
    )


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))),
    ],
)
def test_a_moment_that_utc_has_not_is_refused(engine, moment):
    """Before anything that could not be read again is written."""
    with pytest.raises(InvalidInput, match="lies outside of the years 1 to 9999"):
        engine.add("x", valid_from=moment)
    assert engine.count() == 0


def test_a_fact_is_found_at_every_moment_of_its_supersession(engine):
    """Exactly one holds, whenever it is asked for: the old one or the new one, never none and never both."""
    vector = np.ones(64)
    engine.add("fact 0", slot="s", vector=vector)
    seen: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.append(len(engine.search(vector=vector)))

    thread = threading.Thread(target=ask)
    thread.start()
    for turn in range(1, 200):
        engine.add(f"fact {turn}", slot="s", vector=vector)
    stop.set()
    thread.join()
    assert set(seen) == {1}


def _asked_beside(writer: MemoryEngine, asked: MemoryEngine, **search: Any) -> set[tuple[str, ...]]:
    """The first words of all answers to a search for one slot's fact while it is superseded again and again."""
    seen: set[tuple[str, ...]] = set()
    stop, failed = threading.Event(), []

    def ask() -> None:
        try:
            while not stop.is_set():
                seen.add(tuple(one.split()[0] for one in texts(asked.search("fact", **search))))
        except BaseException as error:  # noqa: BLE001 -- told in the test's own thread
            failed.append(error)

    # Of so many that were superseded, a search by words asks for those that hold first.
    writer.add_many([NewMemory(text=f"fact {turn}", slot="s", metadata={"k": 1}) for turn in range(300)])
    thread = threading.Thread(target=ask)
    thread.start()
    for turn in range(100):
        writer.add(f"fact {turn}", slot="s", metadata={"k": 1})
    stop.set()
    thread.join()
    assert failed == []
    return seen


@pytest.mark.parametrize(
    "search",
    [
        {"mode": "vector", "where": {"k": 1}},
        {"mode": "lexical"},
        {"mode": "lexical", "type": "fact"},
        {"mode": "hybrid"},
        {"weighting": Weighting(recency=0.1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [":memory:", None])
def test_an_answer_is_of_one_moment_whatever_is_written_beside_it(opened, path, search):
    """Of a slot that changes all the time, each mode finds one fact: neither two nor none."""
    engine = opened(path)
    engine.add("fact zero", slot="s", metadata={"k": 1})
    engine.add_many([f"something else {i}" for i in range(3)], namespace="other")
    assert _asked_beside(engine, engine, **search) == {("fact",)}


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_what_reads_only_never_finds_two_of_a_slot(opened, mode):
    """However fast another engine writes."""
    writer = opened()
    writer.add("fact zero", slot="s", metadata={"k": 1})
    assert ("fact", "fact") not in _asked_beside(writer, opened(readonly=True), mode=mode)


def test_writes_to_other_namespaces_do_not_overtake_a_search(engine, monkeypatch):
    """A search is done once, whatever was written elsewhere since its namespace was."""
    engine.add("stone")
    engine.add("water", namespace="other")
    engine.search("stone", mode="hybrid")
    asked = []
    once = engine._retrieval._once
    monkeypatch.setattr(engine._retrieval, "_once", lambda *given, **named: asked.append(1) or once(*given, **named))
    assert texts(engine.search("stone", mode="hybrid")) == ["stone"]
    assert len(asked) == 1
