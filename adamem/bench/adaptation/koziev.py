"""Koziev's Russian facts by source file: the files differ in person and in length, so each is a shift of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.leakage import normalised
from adamem.bench.adaptation.source import field, general_set, once, records, relevant, shuffled
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence
from adamem.data.formats.jsonl import full_text


def koziev(
    *,
    source: str | Path = "koziev-facts-ru",
    general: str | Path = "rumeddanet-ru",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    seed: int = 0,
) -> TaskSequence:
    """A task a source file with questions, by name; a slice of a shuffle would bring nothing new after the first.

    Of two thirds of the facts with exactly two questions, one question is taught and the other asked at level a (which
    of them is drawn). Level b asks about the other third and about the facts with one question. A question that
    several facts answer is left out, since it is no wording of one of them; so is the second of two questions that
    differ in the order of their words only.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as `load_texts` and `assembled`.
    """
    rng = np.random.default_rng([seed, 1])
    rows = records(source, "corpus")
    documents = [Document(record["_id"], full_text(record)) for record in rows]
    same, text_of = once(documents), {document.id: document.text for document in documents}
    told_in = {record["_id"]: field(record, "source") for record in rows}
    found = relevant(source)
    answered: dict[str, set[str]] = {}
    wording: dict[str, str] = {}
    for record in records(source, "queries"):
        folded = " ".join(sorted(normalised(record["text"]).split()))
        wording.setdefault(folded, record["text"])
        answered.setdefault(folded, set()).update(same[one] for one in found.get(record["_id"], ()))
    asked: dict[str, list[str]] = {}
    for folded, facts in answered.items():
        if len(facts) == 1:
            asked.setdefault(min(facts), []).append(wording[folded])
    drafts = []
    for name in sorted({told_in[fact] for fact in asked}):
        mine = shuffled([fact for fact in asked if told_in[fact] == name], rng)
        two = [fact for fact in mine if len(asked[fact]) == 2]
        taught = set(two[: 2 * len(two) // 3])
        lessons, wordings, neighbours = [], [], []
        for fact in mine:
            questions = shuffled(asked[fact], rng)
            if fact in taught:
                lessons.append(Lesson(questions[0], fact, fact))
                wordings.append(Question(questions[1], (fact,), fact))
            elif len(questions) <= 2:
                neighbours.append(Question(questions[0], (fact,), fact))
        own = dict.fromkeys(one for document, one in same.items() if told_in[one] == name and told_in[document] == name)
        drafts.append(
            Draft(
                name.removesuffix(".txt"),
                tuple(Document(one, text_of[one]) for one in own),
                tuple(lessons),
                tuple(wordings),
                tuple(neighbours),
            )
        )
    return assembled(
        "koziev", "ru", drafts, general_set(general, count=sizes.general, seed=seed), sizes=sizes, seed=seed
    )
