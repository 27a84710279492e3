"""Sequences of tasks for an encoder that learns: large enough, the same every time, and without leaks."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from adamem.adapt import Pair
from adamem.bench.adaptation import (
    Document,
    General,
    Lesson,
    Question,
    Sizes,
    Task,
    TaskSequence,
    banking,
    invented,
    koziev,
    leaks,
    medquad,
    realmem,
    refuse_leaks,
)
from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.banking import SUBJECTS
from adamem.bench.adaptation.invented import invented_word
from adamem.bench.adaptation.koziev import form
from adamem.bench.adaptation.leakage import near_duplicates, normalised
from adamem.errors import DataError, InvalidInput, StorageError

GENERAL = General("other", (Document("g0", "The sea is deep."),), (Question("How deep is it?", ("g0",), "g0"),))
TASK = Task(
    "colours",
    ("d0", "d1", "d2"),
    (Lesson("Which colour has the door?", "d0", "door"),),
    (Question("What did they paint the door with?", ("d0",), "door"),),
    (Question("Is the roof made of slate?", ("d1",), "roof"),),
)
DOCUMENTS = (Document("d0", "The door is red."), Document("d1", "The roof is of slate."), Document("d2", "A wall."))
SEQUENCE = TaskSequence("small", "en", (TASK,), DOCUMENTS, GENERAL)


def written(folder, **files):
    """A collection in a folder: records by the name of their file, and qrels as pairs."""
    folder.mkdir()
    for name, records in files.items():
        if name == "qrels":
            (folder / "qrels.tsv").write_text("".join(f"{query}\t{document}\t1\n" for query, document in records))
            continue
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record) + "\n" for record in records)
    return folder


@pytest.fixture
def general(tmp_path):
    """Twelve facts of another kind."""
    return written(
        tmp_path / "general",
        corpus=[{"_id": f"g{n}", "text": f"Mountain {n} is {n} miles high."} for n in range(12)],
        queries=[{"_id": f"gq{n}", "text": f"How high is mountain {n}?"} for n in range(12)],
        qrels=[(f"gq{n}", f"g{n}") for n in range(12)],
    )


def asked(task):
    return task.wordings + task.neighbours


def test_texts_that_differ_in_case_marks_or_order_are_nearly_the_same():
    """Case, punctuation, spaces and ё are folded; nine words of ten in common are near, eight of ten are not."""
    assert normalised("  Где Её  дом?! ") == normalised("где ее дом")
    assert normalised("?!") == "?!"
    ten = "a b c d e f g h i j"
    texts = ["J i h g f e d c b a!", "a b c d e f g h i", "a b c d e f g h", "x", ten]
    assert near_duplicates(texts, [ten, "y z"]).tolist() == [True, True, False, False, True]
    many = [f"{number} only" for number in range(3000)]
    assert np.flatnonzero(near_duplicates(many, ["2999 only", "1024, ONLY"])).tolist() == [1024, 2999]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"wordings": (Question("which colour has the DOOR", ("d0",), "door"),)}, "level a: .* these very words"),
        ({"neighbours": (Question("Has the door which colour?", ("d1",), "roof"),)}, "level b: .* is nearly what is"),
        ({"neighbours": (Question("The door is red", ("d1",), "roof"),)}, "level b: .* these very words"),
        ({"neighbours": (Question("Anything else?", ("d0", "d1"), "roof"),)}, "'d0', which a lesson teaches"),
        ({"neighbours": (Question("Anything else?", ("d1",), "door"),)}, "about 'door', as a lesson is"),
    ],
)
def test_a_sequence_that_leaks_is_refused_in_words(changed, said):
    """What a level shares with a lesson is named; a sequence without leaks comes back as it is."""
    assert refuse_leaks(SEQUENCE) is SEQUENCE
    leaky = replace(SEQUENCE, tasks=(replace(TASK, **changed),))
    with pytest.raises(DataError, match=said):
        refuse_leaks(leaky)


def test_leaks_between_tasks_texts_and_the_general_set_are_found():
    """A later task's lesson counts, so does a document that reads the same, and so does any text of level c."""
    later = Task("later", ("d1",), (Lesson("What covers the house?", "d1", "cover"),), (), ())
    assert any("'d1'" in said for said in leaks(replace(SEQUENCE, tasks=(TASK, later))))
    twin = (*DOCUMENTS[:1], Document("d1", "the door is RED"), *DOCUMENTS[2:])
    assert any("nearly the same text" in said for said in leaks(replace(SEQUENCE, documents=twin)))
    for text in ("A wall.", "Which colour has the door?"):
        for shared in (
            replace(GENERAL, documents=(Document("g0", text),)),
            replace(GENERAL, questions=(Question(text, ("g0",), "g0"),)),
        ):
            assert any(said.startswith("level c") for said in leaks(replace(SEQUENCE, general=shared)))


def test_a_sequence_that_does_not_hang_together_is_refused():
    """Ids are unique, what is asked is remembered, level a was taught, one document has one group, sizes are some."""
    with pytest.raises(InvalidInput, match="3 documents but 2 ids"):
        replace(SEQUENCE, documents=(*DOCUMENTS[:2], DOCUMENTS[0]))
    with pytest.raises(InvalidInput, match="lacks the document 'd2'"):
        replace(SEQUENCE, documents=DOCUMENTS[:2])
    with pytest.raises(InvalidInput, match="does not remember 'd0'"):
        replace(SEQUENCE, tasks=(replace(TASK, documents=("d1",)),))
    with pytest.raises(InvalidInput, match="without a relevant document"):
        replace(SEQUENCE, tasks=(replace(TASK, neighbours=(Question("Why?", (), "roof"),)),))
    with pytest.raises(InvalidInput, match="never taught its answer"):
        replace(SEQUENCE, tasks=(replace(TASK, wordings=TASK.neighbours),))
    with pytest.raises(InvalidInput, match="in the groups 'door' and 'gate'"):
        replace(SEQUENCE, tasks=(replace(TASK, lessons=(*TASK.lessons, Lesson("Red?", "d0", "gate"))),))
    with pytest.raises(InvalidInput, match="lessons=0"):
        Sizes(lessons=0)


def test_the_key_is_of_all_texts():
    """Any text, id, group or level that changes, changes the key."""
    other = replace(TASK, lessons=(replace(TASK.lessons[0], group="doors"),))
    changed = [
        replace(SEQUENCE, documents=(replace(DOCUMENTS[0], text="The door is blue."), *DOCUMENTS[1:])),
        replace(SEQUENCE, tasks=(other,)),
        replace(SEQUENCE, general=replace(GENERAL, name="another")),
    ]
    assert len({one.key for one in (SEQUENCE, *changed)}) == 4
    assert replace(SEQUENCE).key == SEQUENCE.key


def test_invented_terms_are_asked_in_wordings_that_were_never_taught(general):
    """Deterministic; no wording of a lesson is asked; untaught terms stay so; other names hide the terms."""
    sizes = Sizes(tasks=4, lessons=50, held_out=20, documents=100)
    made = invented(general=general, sizes=sizes, terms=12)
    assert made.key == invented(general=general, sizes=sizes, terms=12).key
    assert made.key != invented(general=general, sizes=sizes, terms=12, seed=1).key
    assert [len(task.lessons) for task in made.tasks] == [50] * 4
    assert all(len(task.wordings) == len(task.neighbours) == 20 for task in made.tasks)

    def frames(task, pairs):
        return {text.replace(term, "_").replace(task.name, "*") for text, term in pairs}

    for task in made.tasks:
        lessons = frames(task, [(one.question, one.group) for one in task.lessons])
        assert not lessons & frames(task, [(one.text, one.group) for one in asked(task)])
    text = {document.id: document.text for document in made.documents}
    assert all(one.group in text[one.relevant[0]] for task in made.tasks for one in asked(task))
    hidden = invented(general=general, sizes=sizes, terms=12, renamed=True)
    text = {document.id: document.text for document in hidden.documents}
    assert not any(one.group in text[one.relevant[0]] for task in hidden.tasks for one in asked(task))
    used: set[str] = set()
    assert invented_word(np.random.default_rng(0), used) != invented_word(np.random.default_rng(0), used)


def test_an_answer_of_two_entities_is_no_answer_and_entities_are_taught_in_all_tasks_or_in_none(tmp_path, general):
    """MedQuAD: cut documents, other words at level a, other entities at level b, templated answers left out."""
    corpus, queries, qrels = [], [], []
    for number in range(80):
        kin = "'s syndrome" if number % 2 else ""  # every odd one has the even one before it as its part
        name, where = f"Disease{number % 40 // 2}{kin}", "AB"[number // 40]  # each entity in both collections
        for kind, question in enumerate(("What causes {} ?", "Is {} inherited ?", "How to prevent {} ?")):
            one = f"{number}-{kind}"
            text = "It runs in families as all of these do" if kind == 1 else f"{name} {where} {kind} has a long answer"
            corpus.append({"_id": f"a{one}", "text": text})
            queries.append({"_id": f"q{one}", "text": question.format(name), "focus": name, "collection": where})
            qrels.append((f"q{one}", f"a{one}"))
    folder = written(tmp_path / "medquad", corpus=corpus, queries=queries, qrels=qrels)
    made = medquad(source=folder, general=general, words=4)
    assert sorted(task.name for task in made.tasks) == ["A", "B"]
    assert all(len(document.text.split()) <= 4 for document in made.documents)
    lessons = [lesson for task in made.tasks for lesson in task.lessons]
    assert len(lessons) == 80
    assert not any("inherited" in one.question for one in lessons)
    taught = {lesson.group for lesson in lessons}
    for task in made.tasks:
        assert len(task.wordings) == 40
        assert all("come from" in one.text or "avoid" in one.text for one in task.wordings)
        assert {one.group for one in task.wordings} == {one.group for one in task.lessons}
        assert {one.group for one in task.neighbours}
        assert not {one.split()[0] for one in taught} & {one.group.split()[0] for one in task.neighbours}
    small = medquad(source=folder, general=general, sizes=Sizes(1, 20, 7, 5, 3))
    assert [len(small.tasks), len(small.documents), len(small.tasks[0].lessons)] == [1, 20, 7]
    assert [len(small.tasks[0].wordings), len(small.tasks[0].neighbours), len(small.general.questions)] == [5, 5, 3]
    with pytest.raises(InvalidInput, match="are allowed; allow more"):
        medquad(source=folder, general=general, sizes=Sizes(1, 10, 7, 5, 3))


def test_a_document_that_is_nearly_a_taught_one_is_not_asked_for_at_level_b():
    """The same words in another order are the same document to an encoder that was taught one of them."""
    documents = (*DOCUMENTS[:1], Document("d1", "Red is the door."), DOCUMENTS[2])
    other = Question("Which wall is it?", ("d2",), "wall")
    draft = Draft("colours", documents, TASK.lessons, TASK.wordings, (*TASK.neighbours, other))
    made = assembled("small", "en", [draft], GENERAL, sizes=Sizes(), seed=0)
    assert made.tasks[0].neighbours == (other,)
    assert made.tasks[0].wordings == TASK.wordings


def test_all_intents_have_a_subject_and_only_some_are_taught(tmp_path, general):
    """BANKING77: 77 intents once each; memories of an intent answer it; a near-duplicate of a lesson is not asked."""
    intents = [intent for listed in SUBJECTS.values() for intent in listed]
    assert len(intents) == len(set(intents)) == 77
    records = [
        {"_id": f"{intent}{n}", "text": f"{intent} {n} {n * 7}", "label": intent, "split": "test" if n > 9 else "train"}
        for intent in SUBJECTS["cash"]
        for n in range(14)
    ]
    records.append(
        {"_id": "twice", "text": f"{SUBJECTS['cash'][0]} 1 7!", "label": SUBJECTS["cash"][1], "split": "test"}
    )
    first = banking(source=written(tmp_path / "a", labelled=records), general=general, memories=3)
    (task,) = first.tasks
    assert len(task.documents) == 8 * 3
    assert len({one.group for one in task.lessons}) == 6
    label = {record["_id"]: record["label"] for record in records}
    assert all(label[lesson.document] == lesson.group for lesson in task.lessons)
    assert all({label[found] for found in one.relevant} == {one.group} for one in asked(task))
    assert all(len(one.relevant) == 3 for one in asked(task))
    assert len(task.wordings) == 6 * 4
    assert len(task.neighbours) == 2 * 4
    spoken = [one.question for one in task.lessons] + [one.text for one in asked(task)]
    assert not any(normalised(f"{SUBJECTS['cash'][0]} 1 7") == normalised(text) for text in spoken)
    copied = [
        *records,
        {"_id": "copy", "text": f"{task.lessons[0].question} !!", "label": task.lessons[0].group, "split": "test"},
    ]
    second = banking(source=written(tmp_path / "b", labelled=copied), general=general, memories=3)
    assert second.near_duplicates == 1
    assert second.tasks == first.tasks


def test_no_question_is_taught_after_one_that_is_held_out(tmp_path, general):
    """RealMem: lessons are earlier than questions; level a has some taught evidence, level b none; groups join."""
    corpus = [
        {"_id": f"{who}{n}", "text": f"{who} said {n}", "scope": who, "order": n} for who in "xy" for n in range(20)
    ]
    # The first half asks for two facts each, which overlap; the later ones for an early fact or a new one.
    queries, qrels = [], []
    for who in "xy":
        for n in range(1, 20):
            queries.append({"_id": f"q{who}{n}", "text": f"{who} asks {n}", "scope": who, "order": n})
            evidence = (n, n - 1) if n < 10 else (n if n % 2 else 3,)
            qrels += [(f"q{who}{n}", f"{who}{one}") for one in evidence]
    folder = written(tmp_path / "realmem", corpus=corpus, queries=queries, qrels=qrels)
    made = realmem(source=folder, general=general, earlier=0.5)
    assert sorted(task.name for task in made.tasks) == ["x", "y"]
    when = {query["text"]: query["order"] for query in queries}
    for task in made.tasks:
        latest = max(when[lesson.question] for lesson in task.lessons)
        assert latest == 9  # the moment of the tenth question of nineteen is 10, and it is asked
        assert [when[one.question] for one in task.lessons] == sorted(when[one.question] for one in task.lessons)
        assert all(when[one.text] > latest for one in asked(task))
        taught = {lesson.document for lesson in task.lessons}
        assert task.wordings
        assert all(taught & set(one.relevant) for one in task.wordings)
        assert task.neighbours
        assert not any(taught & set(one.relevant) for one in task.neighbours)
        assert all({lesson.document} <= set(lesson.shared) for lesson in task.lessons)
        several = [one for one in task.lessons if len(one.shared) > 1]
        assert several
        for one in several:
            keys = Pair(one.question, one.document, one.group, shared=one.shared).keys
            assert keys >= {"\0" + other for other in one.shared}
    queries[0]["order"] = 0  # now its evidence, said at 1, is of the future, and the one said at 0 is left
    early = written(tmp_path / "early", corpus=corpus, queries=queries, qrels=qrels)
    firsts = [task.lessons[0] for task in realmem(source=early, general=general).tasks]
    assert ("x asks 1", "x0") in [(first.question, first.document) for first in firsts]


def test_of_two_questions_about_a_fact_one_is_taught_and_the_other_asked(tmp_path, general):
    """Koziev: one wording a side, no question of several facts, files without lessons are no tasks."""
    corpus, queries, qrels = [], [], []
    for n in range(60):
        source = f"file{n % 3}.txt"
        corpus.append({"_id": f"f{n}", "text": f"Я нашёл вещь{n}", "source": source})
        asked_of = [f"кто нашёл вещь{n}?", f"что лежало слева от окна{n}?"][: 1 if n % 3 == 2 else 2]
        for place, text in enumerate([*asked_of, "что ты нашёл?" if n == 0 else f"вещь{n} нашёл кто"]):
            queries.append({"_id": f"q{n}-{place}", "text": text})
            qrels.append((f"q{n}-{place}", f"f{n}"))
    qrels.append(("q0-2", "f3"))
    folder = written(tmp_path / "facts", corpus=corpus, queries=queries, qrels=qrels)
    made = koziev(source=folder, general=general)
    assert sorted(task.name for task in made.tasks) == ["file0", "file1"]
    orders = {tuple(task.name for task in koziev(source=folder, general=general, seed=n).tasks) for n in range(9)}
    assert len(orders) == 2
    for task in made.tasks:
        assert len(task.lessons) == len(task.wordings) == 13
        assert len(task.neighbours) == 7
        assert {one.document for one in task.lessons} == {one.relevant[0] for one in task.wordings}
        assert len({one.question for one in task.lessons} | {one.text for one in asked(task)}) == 33
        assert not any(one.text == "что ты нашёл?" for one in asked(task))
        assert {form(one.text) for one in asked(task)} == {"which"} == {one.form for one in asked(task)}
    assert form("сигарету погасил ты?") == "whether"


_MIRROR = os.environ.get("ADAMEM_DATA")


@pytest.mark.parametrize(
    ("make", "tasks", "level_a", "level_b"),
    [
        pytest.param(medquad, 8, 700, 700, id="medquad"),
        pytest.param(banking, 7, 600, 600, id="banking"),
        pytest.param(realmem, 6, 100, 200, id="realmem"),
        pytest.param(koziev, 4, 300, 300, id="koziev"),
        pytest.param(invented, 8, 800, 800, id="invented"),
        pytest.param(partial(invented, renamed=True), 8, 800, 800, id="invented-renamed"),
    ],
)
def test_the_real_sequences_are_large_enough_the_same_every_time_and_do_not_leak(
    make, tasks, level_a, level_b, monkeypatch
):
    """What the study is run on, at its default sizes."""
    if _MIRROR is None:
        pytest.skip("ADAMEM_DATA names no folder with real data")
    monkeypatch.setenv("ADAMEM_DATA", _MIRROR)
    try:
        made = make()
    except StorageError as absent:
        pytest.skip(str(absent))
    assert len(made.tasks) == tasks
    assert sum(len(task.wordings) for task in made.tasks) >= level_a
    assert sum(len(task.neighbours) for task in made.tasks) >= level_b
    assert len(made.general.questions) == 500
    assert made.general.half_width < 0.05
    assert leaks(made) == []
    assert make().key == made.key
    task = made.tasks[0]
    known = Question(task.lessons[0].question, task.wordings[0].relevant, task.wordings[0].group)
    with pytest.raises(DataError, match="these very words"):
        refuse_leaks(replace(made, tasks=(replace(task, wordings=(known,)), *made.tasks[1:])))
