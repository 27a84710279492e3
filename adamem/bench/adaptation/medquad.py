"""MedQuAD by collection: institutes that write about other diseases, each in its own way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.leakage import normalised
from adamem.bench.adaptation.source import field, general_set, once, records, relevant, shuffled
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence
from adamem.bench.engine.rewording import reworded
from adamem.data.formats.jsonl import full_text


def medquad(
    *,
    source: str | Path = "medquad-en",
    general: str | Path = "strategyqa-facts-en",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    words: int = 48,
    seed: int = 0,
) -> TaskSequence:
    """A task a collection, largest first; taught are MedQuAD's own questions about half of all entities.

    Level a asks for the same facts in other words; level b asks MedQuAD's questions about the other entities: none of
    them is taught in any task, is part of one that is or has one as its part ("Alzheimer disease" and "Alzheimer's
    disease", "arthritis" and "juvenile arthritis"). Documents are cut to `words` words. Answers that then read the same
    for two entities ("is inherited in an autosomal recessive pattern") answer neither and are left out.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as `load_texts` and `assembled`.
    """
    rng = np.random.default_rng([seed, 1])
    documents = [
        Document(record["_id"], " ".join(full_text(record).split()[:words])) for record in records(source, "corpus")
    ]
    same, text_of = once(documents), {document.id: document.text for document in documents}
    answers = {query: sorted({same[one] for one in found}) for query, found in relevant(source).items()}
    queries = [record for record in records(source, "queries") if record["_id"] in answers]
    focus = {record["_id"]: normalised(field(record, "focus")) for record in queries}
    about: dict[str, set[str]] = {}
    for query, entity in focus.items():
        for document in answers[query]:
            about.setdefault(document, set()).add(entity)
    entities = shuffled(sorted(set(focus.values())), rng)
    learnt = set(entities[: len(entities) // 2])
    apart = _unrelated(entities[len(entities) // 2 :], learnt)
    collections: dict[str, list[int]] = {}
    for number, record in enumerate(queries):
        if all(len(about[document]) == 1 for document in answers[record["_id"]]):
            collections.setdefault(field(record, "collection"), []).append(number)
    drafts = []
    for name, numbers in sorted(collections.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        lessons, wordings, neighbours = [], [], []
        for record in (queries[number] for number in shuffled(numbers, rng)):
            entity, found = focus[record["_id"]], answers[record["_id"]]
            other = reworded(record["text"])
            if entity in apart:
                neighbours.append(Question(record["text"], tuple(found), entity))
            elif entity in learnt and other is not None:
                lessons.append(Lesson(record["text"], found[0], entity))
                wordings.append(Question(other, tuple(found), entity))
        own = sorted({one for number in numbers for one in answers[queries[number]["_id"]]})
        drafts.append(
            Draft(
                name,
                tuple(Document(one, text_of[one]) for one in own),
                tuple(lessons),
                tuple(wordings),
                tuple(neighbours),
            )
        )
    return assembled(
        "medquad", "en", drafts, general_set(general, count=sizes.general, seed=seed), sizes=sizes, seed=seed
    )


def _unrelated(entities: Iterable[str], learnt: Iterable[str]) -> set[str]:
    """Those entities whose words neither hold all the words of a learnt one nor are all among them."""
    by_word: dict[str, list[frozenset[str]]] = {}
    for entity in learnt:
        words = frozenset(entity.split())
        for word in words:
            by_word.setdefault(word, []).append(words)
    return {
        entity
        for entity in entities
        if not any(
            mine <= theirs or theirs <= mine
            for mine in [frozenset(entity.split())]
            for word in mine
            for theirs in by_word.get(word, ())
        )
    }
