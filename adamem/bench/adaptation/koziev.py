"""Koziev's Russian facts by source file: the files differ in person and in length, so each is a shift of its own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.leakage import normalised
from adamem.bench.adaptation.source import field, general_set, once, records, relevant, shuffled
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence
from adamem.data.formats.jsonl import full_text

WHETHER, WHICH = "whether", "which"
"""The two forms of a question."""
_INTERROGATIVES = re.compile(
    r"\b(кто|что|ко(го|му)|че(го|му|м)|кем|ком|где|куда|откуда|когда|как|как(ой|ая|ое|ие|им|ими|их|ую|ого|ому|ом)|"
    r"сколько|почему|зачем|ч(ей|ь[яеию]|ьих|ьего|ьему|ьей|ьим)|котор\w+)\b"
)


def form(question: str) -> str:
    """Whether an interrogative stands in it for what is asked, or all is said and asked whether it holds."""
    return WHICH if _INTERROGATIVES.search(normalised(question)) else WHETHER


def koziev(
    *,
    source: str | Path = "koziev-facts-ru",
    general: str | Path = "strategyqa-facts-en",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    seed: int = 0,
) -> TaskSequence:
    """A task a source file with questions, by name; a slice of a shuffle would bring nothing new after the first.

    Only facts with exactly two questions take part. Of two thirds of them one question is taught and the other asked at
    level a (which of them is drawn); level b asks about the other third, one question each (drawn likewise, so that the
    two levels ask in the same forms). Most facts have one question that says the fact in another order (`WHETHER`) and
    one that has an interrogative in the place of what is asked (`WHICH`), which is far harder: the forms are told
    apart. So level a asks in the other of two known forms, not in free paraphrase. A question that several facts answer
    is left out, since it is no wording of one of them; so is the second of two questions that differ in the order of
    their words only.

    The general set is English: of Russian ones here this encoder finds next to nothing from the start, so that they
    could not show a loss.

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
                wordings.append(Question(questions[1], (fact,), fact, form(questions[1])))
            elif len(questions) == 2:
                neighbours.append(Question(questions[0], (fact,), fact, form(questions[0])))
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
