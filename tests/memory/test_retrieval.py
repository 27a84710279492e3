"""What a search finds: by meaning, by words, by both; at a time, of a type, on a condition; with what weight."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from adamem.errors import InvalidInput, UnknownName
from adamem.memory import Fusion, Hit, MemoryEngine, NewMemory, Weighting
from adamem.memory.context import estimated_tokens
from adamem.memory.encoder_in_use import EncoderInUse


@pytest.fixture(params=["file", "memory"])
def engine(request, opened, tmp_path):
    """One on a file, one in memory: they behave alike."""
    return opened(tmp_path / "memory.db" if request.param == "file" else ":memory:")


def texts(hits: list[Hit]) -> list[str]:
    return [hit.memory.text for hit in hits]


# -- words -------------------------------------------------------------------------------------------------------------


def test_words_are_found_in_every_form_english_and_russian(engine):
    """By their stems; ё as е, case and width as nothing."""
    engine.add("The bees were swarming over lavender fields")
    engine.add("Анна переехала в Даллас, её зовут Анна Фёдорова")
    engine.add("A router is reset by its button")
    assert texts(engine.search("swarm of bees", mode="lexical")) == ["The bees were swarming over lavender fields"]
    assert texts(engine.search("переезжала ли Анна? ФЕДОРОВА", mode="lexical"))[0].startswith("Анна")
    assert texts(engine.search("ＲＯＵＴＥＲＳ", mode="lexical")) == ["A router is reset by its button"]
    assert engine.search("zeppelin", mode="lexical") == []
    assert engine.search("?!", mode="lexical") == []


def test_the_lexical_score_is_bm25(engine):
    """With the namespace's own statistics, whatever other namespaces hold."""
    documents = ["red red apple", "green apple tree house", "a red car", "nothing of it at all", "one more text here"]
    for text in documents:
        engine.add(text, namespace="a")
    engine.add_many(["red apple red"] * 50, namespace="b")
    words = [text.split() for text in documents]
    mean = sum(map(len, words)) / len(words)

    def bm25(document: list[str], term: str) -> float:
        holding = sum(term in other for other in words)
        weight = math.log((len(words) - holding + 0.5) / (holding + 0.5))
        count = document.count(term)
        return weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(document) / mean))

    wanted = {text: bm25(text.split(), "red") + bm25(text.split(), "car") for text in documents}
    hits = engine.search("red cars", mode="lexical", namespace="a")
    assert texts(hits) == ["a red car", "red red apple"]
    assert [hit.score for hit in hits] == pytest.approx([wanted["a red car"], wanted["red red apple"]], rel=1e-6)
    assert hits[0].parts == {"lexical": hits[0].score}


def test_question_and_keywords_are_searched_too(engine):
    """Whatever can be read in a memory."""
    engine.update("How is the modem reset?", "Pull the plug")
    engine.add("It hums in summer", keywords=["beehive"])
    assert texts(engine.search("modems", mode="lexical")) == ["Pull the plug"]
    assert texts(engine.search("beehives", mode="lexical")) == ["It hums in summer"]


def test_a_word_that_most_have_counts_only_where_there_is_no_other(engine):
    """It would rank nothing."""
    engine.add_many([f"the user said {word}" for word in ("alpha", "beta", "gamma", "delta")])
    assert texts(engine.search("what has the user said of beta", mode="lexical")) == ["the user said beta"]
    assert len(engine.search("the user", mode="lexical")) == 4


@pytest.mark.parametrize(
    "query", ['"', "a AND b", "NEAR(a b)", "a*", "body: a", "-a", "(", "a'b", "%", "\\", "NOT", "^a"]
)
def test_a_query_is_words_and_never_syntax(engine, query):
    """Whatever it looks like."""
    engine.add("a and b near body not")
    engine.add("something else")
    engine.search(query, mode="lexical")
    engine.search(query, mode="hybrid")


def test_a_long_query_is_answered(engine):
    """By its rarest words."""
    engine.add_many([f"word{number} filler" for number in range(300)])
    query = " ".join(f"word{number}" for number in range(300))
    assert len(engine.search(query, mode="lexical", top_k=300)) == 64
    assert len(engine.search("filler " * 20_000, mode="lexical", top_k=3)) == 3


def test_lexical_search_sees_what_was_added_deleted_and_superseded(engine):
    """At once, as any search."""
    engine.add("Anna lives in Boston", slot="city")
    assert texts(engine.search("Boston", mode="lexical")) == ["Anna lives in Boston"]
    number = engine.add("Anna lives in Dallas", slot="city").id
    assert engine.search("Boston", mode="lexical") == []
    assert texts(engine.search("Dallas", mode="lexical")) == ["Anna lives in Dallas"]
    engine.delete(number)
    assert engine.search("Dallas", mode="lexical") == []
    engine.restore(number)
    assert texts(engine.search("Dallas", mode="lexical")) == ["Anna lives in Dallas"]


def test_words_of_many_memories_are_kept_in_a_file(opened, unit, tmp_path):
    """Which grows with them, is shared with readers, and is made again where it is damaged or gone."""
    path = tmp_path / "memory.db"
    texts_of = [f"memory of topic{number % 50} number{number}" for number in range(3_000)]
    with opened() as engine:
        engine.add_many(texts_of, vectors=unit(3_000))
        assert texts(engine.search("number77", mode="lexical")) == [texts_of[77]]
        (words,) = (tmp_path / "memory.db.index").glob("*.words")
        engine.add("a straggler", vector=unit(1)[0])
        reader = opened(readonly=True)
        assert texts(reader.search("stragglers", mode="lexical")) == ["a straggler"]
        assert texts(engine.search("stragglers", mode="lexical")) == ["a straggler"]
        assert len(engine.search("topic7", mode="lexical", top_k=100)) == 60
        reader.close()
    words.write_bytes(b"no database" * 1_000)
    with opened() as engine:
        assert texts(engine.search("number78", mode="lexical")) == [texts_of[78]]
    for file in path.parent.glob("memory.db.index/*.words*"):
        file.unlink()
    with opened(readonly=True) as engine:
        assert texts(engine.search("number79", mode="lexical")) == [texts_of[79]]


def test_words_of_another_past_are_not_used(opened, unit, tmp_path):
    """Where a copy of the file went its own way, its words are not this one's."""
    path = tmp_path / "memory.db"
    with opened() as engine:
        engine.add_many([f"common {number}" for number in range(2_500)], vectors=unit(2_500))
    copy = path.read_bytes()
    with opened() as engine:
        engine.add_many([f"first{number} life" for number in range(5)])
        assert len(engine.search("life", mode="lexical", top_k=9)) == 5
    path.write_bytes(copy)
    with opened() as engine:
        engine.add_many([f"second{number} try" for number in range(5)])
        assert len(engine.search("try", mode="lexical", top_k=9)) == 5
        assert engine.search("life", mode="lexical") == []


# -- both --------------------------------------------------------------------------------------------------------------


def test_a_hybrid_search_fuses_ranks(engine):
    """1 / (60 + rank) from each ranking that has it; the parts say what each gave."""
    for text in ("red apple", "green pear", "blue plum", "red plum"):
        engine.add(text)
    hits = engine.search("red plum", mode="hybrid", fusion=Fusion(kind="rrf"))
    by_vector = texts(engine.search("red plum", top_k=9))
    by_words = texts(engine.search("red plum", mode="lexical", top_k=9))
    for hit in hits:
        text = hit.memory.text
        wanted = sum(1 / (61 + ranking.index(text)) for ranking in (by_vector, by_words) if text in ranking)
        assert hit.score == pytest.approx(wanted)
        assert ("lexical" in hit.parts) == (text in by_words)
    assert hits[0].memory.text == "red plum"


def test_a_hybrid_search_adds_scores_where_nobody_says_otherwise(engine):
    """Each ranking's scores from 1 for its best to 0 for its last, summed."""
    for text in ("red apple", "green pear", "blue plum", "red plum"):
        engine.add(text)
    hits = engine.search("red plum", mode="hybrid")
    assert len(hits) == 4
    for name in ("vector", "lexical"):
        found = [hit.parts[name] for hit in hits if name in hit.parts]
        low, high = min(found), max(found)
        for hit in hits:
            if name in hit.parts:
                other = "lexical" if name == "vector" else "vector"
                rest = [one.parts[other] for one in hits if other in one.parts]
                mine = (hit.parts[name] - low) / (high - low)
                its = (hit.parts[other] - min(rest)) / (max(rest) - min(rest)) if other in hit.parts else 0.0
                assert hit.score == pytest.approx(mine + its)


def test_weights_decide_between_words_and_meaning(engine, unit):
    """With all weight on one of them, its order is the order."""
    engine.add("zeppelin", vector=-np.ones(64))
    engine.add("balloon", vector=np.ones(64))
    asked = {"query": "zeppelin", "vector": np.ones(64), "mode": "hybrid"}
    for kind in ("rrf", "weighted"):
        words = engine.search(**asked, fusion=Fusion(kind=kind, vector=0, lexical=1))
        meaning = engine.search(**asked, fusion=Fusion(kind=kind, vector=1, lexical=0))
        assert (texts(words)[0], texts(meaning)[0]) == ("zeppelin", "balloon")
    (hit, other) = engine.search(**asked, fusion=Fusion(kind="weighted", vector=2, lexical=1))
    assert (hit.score, other.score) == (2.0, 1.0)


def test_what_is_recent_or_credible_can_count(opened, clock):
    """Half of what recency adds is gone after each half-life."""
    engine = opened(clock=clock)
    vector = np.ones(64)
    start = clock.now
    old = engine.add("old", vector=vector, valid_from=start - timedelta(days=60), credibility=1.0)
    new = engine.add("new", vector=vector, credibility=0.5)
    assert [hit.memory.id for hit in engine.search(vector=vector)] == [old.id, new.id]
    hits = engine.search(vector=vector, weighting=Weighting(recency=0.4, half_life=timedelta(days=30)))
    assert [hit.memory.id for hit in hits] == [new.id, old.id]
    assert hits[1].parts["recency"] == pytest.approx(0.1, abs=1e-6)
    assert hits[1].score == pytest.approx(hits[1].parts["vector"] + hits[1].parts["recency"])
    hits = engine.search(vector=vector, weighting=Weighting(credibility=0.2))
    assert [hit.parts["credibility"] for hit in hits] == [0.2, 0.1]


def test_a_minimum_score_leaves_out_the_rest(engine):
    """In every mode."""
    engine.add("alpha", vector=np.ones(64))
    engine.add("beta", vector=-np.ones(64))
    assert texts(engine.search(vector=np.ones(64), min_score=0.5)) == ["alpha"]
    assert engine.search("alpha", mode="lexical", min_score=1e9) == []


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
@pytest.mark.parametrize("asks", ["writer", "reader"])
@pytest.mark.parametrize("what", ["reembed", "rollback"])
def test_a_search_that_is_overtaken_by_another_encoder_goes_by_that(opened, monkeypatch, mode, asks, what):
    """While its query is embedded, the vectors go that it would be compared with."""
    engine = opened()
    engine.add_many([f"text number{i} of {i % 7}" for i in range(60)])
    engine.snapshot("v")
    if what == "rollback":
        engine.reembed("hashing:128", keep=False)
    asking = engine if asks == "writer" else opened(readonly=True, encoder=None)
    query, overtaken = EncoderInUse.query, []

    def slow(self, text, row):
        found = query(self, text, row)
        if not overtaken:
            overtaken.append(row.name)
            if what == "reembed":
                engine.reembed("hashing:32", keep=False)
            else:
                engine.rollback("v")
        return found

    monkeypatch.setattr(EncoderInUse, "query", slow)
    hits = asking.search("text number8", top_k=50, mode=mode)
    assert overtaken == ["hashing:64" if what == "reembed" else "hashing:128"]
    assert len(hits) == 50
    assert hits[0].memory.text == "text number8 of 1"
    assert [hit.memory for hit in asking.search("text number8", top_k=50, mode=mode)] == [hit.memory for hit in hits]


# -- conditions --------------------------------------------------------------------------------------------------------

PEOPLE = {
    "Anna": {"city": "Dallas", "age": 31, "tags": ["bees", "go"], "active": True},
    "Ben": {"city": "Boston", "age": 31.5, "tags": [], "active": False},
    "Clio": {"city": "dallas", "age": 7, "tags": ["go"], "note": None},
    "Dan": {"city": "Dallas Fort Worth", "age": "31"},
    "Eve": {},
}
CONDITIONS = [
    ({"city": "Dallas"}, "Anna"),
    ({"city": {"eq": "Dallas"}}, "Anna"),
    ({"city": {"ne": "Dallas"}}, "Ben Clio Dan Eve"),
    ({"city": {"in": ["Dallas", "Boston"]}}, "Anna Ben"),
    ({"city": {"in": []}}, ""),
    ({"city": {"nin": ["Dallas", "Boston"]}}, "Clio Dan Eve"),
    ({"age": 31}, "Anna"),
    ({"age": 31.0}, "Anna"),
    ({"age": {"gt": 7}}, "Anna Ben"),
    ({"age": {"gte": 7, "lt": 31.5}}, "Anna Clio"),
    ({"age": {"lte": "4"}}, "Dan"),
    ({"city": {"gt": "E"}}, "Clio"),
    ({"city": {"contains": "allas"}}, "Anna Clio Dan"),
    ({"tags": {"contains": "go"}}, "Anna Clio"),
    ({"tags": {"contains": "g"}}, ""),
    ({"tags": "go"}, ""),
    ({"active": True}, "Anna"),
    ({"active": 1}, ""),
    ({"active": {"ne": False}}, "Anna Clio Dan Eve"),
    ({"note": None}, "Clio"),
    ({"city": "Dallas", "age": 7}, ""),
    ({"OR": [{"city": "Dallas"}, {"age": 7}]}, "Anna Clio"),
    ({"AND": [{"age": {"gt": 5}}, {"NOT": {"city": "Boston"}}]}, "Anna Clio"),
    ({"NOT": {"OR": [{"city": "Dallas"}, {"tags": {"contains": "go"}}]}}, "Ben Dan Eve"),
    ({"OR": []}, ""),
    ({"AND": []}, "Anna Ben Clio Dan Eve"),
    ({}, "Anna Ben Clio Dan Eve"),
    ({"a'; DROP TABLE memories; --": 1}, ""),
]


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
@pytest.mark.parametrize(("where", "who"), CONDITIONS, ids=[str(place) for place in range(len(CONDITIONS))])
def test_a_condition_admits_whom_it_says(engine, where, who, mode):
    """In every mode."""
    for name, metadata in PEOPLE.items():
        engine.add(f"{name} person", metadata=metadata)
    found = engine.search("a person", where=where, top_k=9, mode=mode)
    assert sorted(hit.memory.text.split()[0] for hit in found) == who.split()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("city", "a condition must be a mapping of names to values, not 'city'"),
        ({"city": {"like": "D"}}, "operator on 'city'"),
        ({"city": {}}, "has no operator; known: eq, ne"),
        ({"city": ["Dallas"]}, r"for several values write \{'in'"),
        ({"city": {"in": "Dallas"}}, "in on 'city' takes a list of values"),
        ({"OR": {"city": "x"}}, "OR takes a list of conditions"),
        ({"age": {"gt": None}}, "gt on 'age' compares numbers or strings, not None"),
        ({"age": math.nan}, "which no metadata can hold"),
        ({"age": 1 << 70}, "does not fit 64 bits"),
        ({"city": "\udc00"}, "half of a character"),
        ({3: "x"}, "names metadata by strings, not 3"),
        ({"city": {"in": list(range(501))}}, "compares 501 values, and at most 500"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(engine, where, said):
    """With a sentence."""
    with pytest.raises((InvalidInput, UnknownName), match=said):
        engine.search("x", where=where)


def test_a_condition_may_not_be_nested_without_end(engine):
    """Neither Python nor the database would bear it."""
    where: dict[str, object] = {"a": 1}
    for _ in range(30):
        where = {"NOT": where}
    with pytest.raises(InvalidInput, match="nested deeper than 20"):
        engine.search("x", where=where)


@pytest.mark.parametrize("index", ["spiral", "hnsw", "exact"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_conditions_keep_recall_whatever_they_leave(opened, unit, index, share):
    """The nearest of those that are admitted, in a namespace with an index, a tail and hidden ids."""
    vectors = unit(6_000)
    admitted = np.random.default_rng(1).random(6_000) < share
    engine = opened(index=index)
    new = [NewMemory(text=f"m{i}", metadata={"in": bool(admitted[i])}) for i in range(6_000)]
    engine.add_many(new[:5_000], vectors=vectors[:5_000])
    engine.flush()
    engine.add_many(new[5_000:], vectors=vectors[5_000:])
    for number in range(1, 200, 7):
        engine.delete(number)
        admitted[number - 1] = False
    there = np.flatnonzero(admitted)
    everything = np.array([i for i in range(6_000) if i + 1 not in range(1, 200, 7)])
    kept, kept_of_all = 0, 0
    for query in unit(40, seed=9):
        nearest = set((there[np.argsort(-(vectors[there] @ query))[:10]] + 1).tolist())
        found = [hit.memory.id for hit in engine.search(vector=query, top_k=10, where={"in": True})]
        assert len(found) == min(10, there.size)
        assert set(found) <= set((there + 1).tolist())
        kept += len(nearest & set(found))
        of_all = set((everything[np.argsort(-(vectors[everything] @ query))[:10]] + 1).tolist())
        kept_of_all += len(of_all & {hit.memory.id for hit in engine.search(vector=query, top_k=10)})
    # Random vectors are hard for a graph: no condition makes them harder.
    assert kept / (40 * min(10, there.size)) >= kept_of_all / 400 - 0.05


def test_types_narrow_a_search(engine):
    """To one or to several."""
    for kind in ("fact", "event", "habit"):
        engine.add(f"a {kind}", type=kind)
    assert texts(engine.search("a", type="event")) == ["a event"]
    assert sorted(texts(engine.search("a", type=["event", "habit"]))) == ["a event", "a habit"]
    assert engine.search("a", type="Event") == []
    with pytest.raises(InvalidInput, match="type is an empty list"):
        engine.search("a", type=[])


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_what_held_at_a_time_is_found_for_that_time(opened, clock, mode):
    """The old fact then, the new one now; what was told late counts from when it held; of two of one day the later."""
    engine = opened(clock=clock)

    def day(month: int) -> datetime:
        return datetime(2025, month, 1, tzinfo=UTC)

    def then(month: int) -> list[str]:
        return texts(engine.search("Anna lives where", as_of=day(month), mode=mode))

    engine.add("Anna lives in Boston", slot="city", valid_from=day(1))
    engine.add("Anna lives in Dallas", slot="city", valid_from=day(6))
    engine.add("Anna lives in Austin", slot="city", valid_from=day(3))
    engine.add("Anna lives in Houston", slot="city", valid_from=day(3))
    assert texts(engine.search("Anna lives where", mode=mode)) == ["Anna lives in Dallas"]
    assert then(2) == ["Anna lives in Boston"]
    assert then(3) == ["Anna lives in Houston"]
    assert then(5) == ["Anna lives in Houston"]
    assert then(6) == ["Anna lives in Dallas"]
    assert texts(engine.search("Anna lives", as_of=datetime(2024, 1, 1, tzinfo=UTC), mode=mode)) == []
    with pytest.raises(InvalidInput, match="names no time zone"):
        engine.search("x", as_of=datetime(2025, 1, 1))


def test_what_expired_is_found_for_when_it_held(opened, clock):
    """And a deleted memory for no time."""
    engine = opened(clock=clock)
    engine.add("the code is 1234", ttl=timedelta(hours=1))
    start = clock.now
    gone = engine.add("the code is deleted")
    engine.delete(gone.id)
    clock.now += timedelta(days=1)
    assert engine.search("code") == []
    assert texts(engine.search("code", as_of=start)) == ["the code is 1234"]


def test_a_thousand_expired_do_not_hide_one_that_holds(opened, clock, unit):
    """And they leave the index once they were met."""
    engine = opened(clock=clock)
    vector = unit(1)[0]
    near = vector + 0.01 * unit(3_000, seed=3)
    engine.add_many([NewMemory(text=f"brief {i}", ttl=timedelta(hours=1)) for i in range(3_000)], vectors=near)
    engine.add("it stays", vector=-vector)
    engine.flush()
    clock.now += timedelta(days=1)
    assert texts(engine.search(vector=vector)) == ["it stays"]
    engine.flush()
    (shelf, _) = next(iter(engine._core.shelves._shelves.values()))
    assert len(shelf) == 1
    assert texts(engine.search(vector=vector)) == ["it stays"]


# -- superseding by id -------------------------------------------------------------------------------------------------


def test_a_memory_is_superseded_by_its_id(engine):
    """With or without a slot; the old one is its history."""
    first = engine.add("the key is under the mat", type="secret")
    second = engine.supersede(first.id, "the key is in the shed")
    third = engine.supersede(second.id, "the key is lost", type="fact")
    assert (second.superseded, third.superseded) == (first.id, second.id)
    assert texts(engine.search("key")) == ["the key is lost"]
    assert [one.text for one in engine.history(memory=second.id)] == [
        "the key is under the mat",
        "the key is in the shed",
        "the key is lost",
    ]
    assert [one.type for one in engine.history(memory=first.id)] == ["secret", "secret", "fact"]
    slotted = engine.add("red", slot="colour", namespace="n")
    fresh = engine.get(engine.supersede(slotted.id, "blue").id)
    assert (fresh.slot, fresh.namespace) == ("colour", "n")
    assert [one.text for one in engine.history("colour", namespace="n")] == ["red", "blue"]
    answer = engine.update("Why?", "Because")
    assert engine.get(engine.supersede(answer.id, "No reason").id).question == "Why?"
    assert texts(engine.search("why")) != []
    engine.delete(third.id)
    with pytest.raises(InvalidInput, match="is deleted; restore"):
        engine.supersede(third.id, "x")
    with pytest.raises(UnknownName, match="there is no memory 999"):
        engine.supersede(999, "x")


def test_what_is_history_is_not_superseded_in_the_place_of_another(engine):
    """What holds since is named; what held when the old one did can be put right."""
    red, blue = engine.add("red", slot="colour"), engine.add("blue", slot="colour")
    said = (
        f"the text would take the place of the memory {blue.id}, not of {red.id}, which does not hold then; "
        rf"supersede\({blue.id}, ...\), or pass valid_from=..., a time at which {red.id} held"
    )
    with pytest.raises(InvalidInput, match=said):
        engine.supersede(red.id, "crimson")
    assert texts(engine.search("blue")) == ["blue"]
    assert [one.text for one in engine.history("colour")] == ["red", "blue"]
    early = engine.supersede(red.id, "crimson", valid_from=engine.get(red.id).valid_from + timedelta(microseconds=1))
    assert early.superseded == red.id
    assert [one.text for one in engine.history("colour")] == ["red", "crimson", "blue"]
    engine.delete(blue.id)
    assert engine.supersede(red.id, "green").superseded is None  # nothing holds in its place
    assert texts(engine.search("green")) == ["green"]


def test_a_deleted_fact_cuts_nothing_short(opened, clock):
    """Of what is added after it was deleted; restored, it takes its place again."""
    engine = opened(clock=clock)
    planned = engine.add("moves to Rome", slot="city", valid_from=clock.now + timedelta(days=30))
    engine.delete(planned.id)
    here = engine.add("lives in Dallas", slot="city")
    assert engine.get(here.id).valid_to is None
    clock.now += timedelta(days=60)
    assert texts(engine.search("lives")) == ["lives in Dallas"]
    engine.restore(planned.id)
    assert texts(engine.search("lives")) == ["moves to Rome"]
    assert engine.get(here.id).valid_to == engine.get(planned.id).valid_from


def test_history_needs_one_of_two(engine):
    """A slot or a memory."""
    with pytest.raises(InvalidInput, match="history takes a slot or the id"):
        engine.history()
    with pytest.raises(InvalidInput, match="history takes a slot or the id"):
        engine.history("a", memory=1)
    with pytest.raises(UnknownName, match="there is no memory 5"):
        engine.history(memory=5)
    number = engine.add("alone").id
    assert [one.id for one in engine.history(memory=number)] == [number]


# -- what else is known ------------------------------------------------------------------------------------------------


def test_a_context_has_what_there_is_room_for(engine):
    """Best first, with the ids as citations, never longer than it may be."""
    first = engine.add("Anna moved to Dallas in May").id
    second = engine.update("Where does Anna work?", "At the harbour").id
    engine.add("Anna " * 400)
    context = engine.build_context("where did Anna move", max_tokens=40)
    assert f"[{first}] Anna moved to Dallas in May" in context.text.split("\n\n")
    assert f"[{second}] Where does Anna work?\nAt the harbour" in context.text.split("\n\n")
    assert {hit.memory.id for hit in context.hits} == {first, second}
    assert context.tokens <= 40
    assert engine.build_context("Anna", max_tokens=1).text == ""
    by_letters = engine.build_context("where did Anna move", max_tokens=60, count_tokens=len)
    assert len(by_letters.text) <= 60
    assert by_letters.tokens == len(by_letters.text)
    with pytest.raises(InvalidInput, match="max_tokens"):
        engine.build_context("x", max_tokens=0)


@pytest.mark.minilm
@pytest.mark.parametrize(
    "text",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "The build d41d8cd98f00b204e9800998ecf8427e of 2026-11-23T02:41:07Z took 12,345.678 s.",
        'Anna moved to Dallas in May, and keeps bees; "apiary" is what she calls it (twice).',
        "Аня переехала в Даллас и держит пчёл.",
        "QX-7731/b, ISBN 978-3-16-148410-0, 4111 1111 1111 1111",
    ],
)
def test_tokens_are_estimated_rather_too_many(text):
    """As counted by a model's own tokenizer, codes and numbers among them."""
    from adamem.encoders import open_encoder

    true = len(open_encoder("minilm")._model.tokenizer.tokenize(text))
    assert true <= estimated_tokens(text) <= 3 * true


def test_searches_are_counted(opened, clock):
    """Seen after reopening; those of readers are not counted."""
    with opened(clock=clock) as engine:
        number = engine.add("stone").id
        engine.add("water")
        for _ in range(3):
            engine.search("stone", top_k=1)
        last = clock.now
    with opened(readonly=True) as reader:
        reader.search("stone")
        assert reader.get(number).calls == 3
        assert abs(reader.get(number).last_access - last) < timedelta(seconds=1)
        assert (reader.get(2).calls, reader.get(2).last_access) == (0, None)


def test_the_stats_say_what_there_is(engine):
    """Of all namespaces."""
    engine.add("red", slot="colour")
    engine.add("blue", slot="colour")
    engine.delete(engine.add("gone", namespace="b").id)
    stats = engine.stats()
    assert (stats.namespaces, stats.memories, stats.history, stats.deleted, stats.expired) == (2, 1, 1, 1, 0)
    assert (stats.encoder, stats.dim, stats.index) == ("hashing:64", 64, "spiral")
    assert [(one.name, one.memories) for one in engine.namespaces()] == [("b", 0), ("global", 1)]


def test_bad_questions_are_refused(engine):
    """With a sentence each."""
    engine.add("x")
    with pytest.raises(UnknownName, match="mode"):
        engine.search("x", mode="lexicl")
    with pytest.raises(InvalidInput, match="a search needs a query"):
        engine.search(vector=np.ones(64), mode="hybrid")
    with pytest.raises(InvalidInput, match="min_score must be a finite number"):
        engine.search("x", min_score=math.nan)
    with pytest.raises(InvalidInput, match="fusion takes a Fusion"):
        engine.search("x", fusion="rrf")
    with pytest.raises(InvalidInput, match="a fusion is 'rrf' or 'weighted'"):
        Fusion(kind="rank")
    with pytest.raises(InvalidInput, match="the weight vector must be a number"):
        Fusion(vector=-1)
    with pytest.raises(InvalidInput, match="needs a weight above 0"):
        Fusion(vector=0, lexical=0)
    with pytest.raises(InvalidInput, match="half_life must be a timedelta above zero"):
        Weighting(half_life=timedelta(0))


def test_ten_thousand_bytes_of_cache_are_kept(opened, unit):
    """Shelves that were asked for the longest ago are closed; what they hold is found all the same."""
    engine: MemoryEngine = opened(cache_bytes=400_000)
    vectors = unit(2_000)
    for number in range(20):
        some = slice(100 * number, 100 * number + 100)
        engine.add_many([f"m{i}" for i in range(100)], namespace=f"n{number}", vectors=vectors[some])
    for number in range(20):
        (hit,) = engine.search(vector=vectors[100 * number + 5], namespace=f"n{number}", top_k=1)
        assert hit.memory.text == "m5"
        assert engine.stats().open_bytes <= 400_000
    assert len(engine._core.shelves._shelves) < 20
