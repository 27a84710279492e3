"""RealMem by persona and time: whether what was learnt of one's earlier questions helps with the later ones."""

from __future__ import annotations

from pathlib import Path

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.source import field, general_set, once, records, relevant
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence
from adamem.data.formats.jsonl import full_text


def realmem(
    *,
    source: str | Path = "realmem-en-dev",
    general: str | Path = "strategyqa-facts-en",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    earlier: float = 0.5,
    seed: int = 0,
) -> TaskSequence:
    """A task a persona; the `earlier` share of its questions, in time, is taught, and the later ones are asked.

    Level a are later questions with some evidence that was taught, level b those with none. No lesson is of the moment
    of a held-out question or after it. A question with several pieces of evidence is a lesson with each, and of the
    groups of all of them: no lesson is held against evidence for its own question. A question's evidence was said
    before it, and what its persona said later is remembered as well, which makes it harder to find.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as `load_texts` and `assembled`.
    """
    rows = records(source, "corpus")
    documents = [Document(record["_id"], full_text(record)) for record in rows]
    # Two personas may have said the same; each remembers it under the id of the first.
    same, text_of = once(documents), {document.id: document.text for document in documents}
    said_at = {record["_id"]: int(record["order"]) for record in rows}
    found = relevant(source)
    remembered: dict[str, list[str]] = {}
    for record in rows:
        remembered.setdefault(field(record, "scope"), []).append(same[record["_id"]])
    queries = [record for record in records(source, "queries") if record["_id"] in found]
    evidence = {
        record["_id"]: tuple(
            dict.fromkeys(same[one] for one in found[record["_id"]] if said_at[one] <= int(record["order"]))
        )
        for record in queries
    }
    queries = [record for record in queries if evidence[record["_id"]]]
    drafts = []
    for persona, own in remembered.items():
        asked = sorted((one for one in queries if one["scope"] == persona), key=lambda one: int(one["order"]))
        if not asked:
            continue
        cut = int(asked[min(int(earlier * len(asked)), len(asked) - 1)]["order"])
        lessons = [
            Lesson(full_text(one), document, document, evidence[one["_id"]])
            for one in asked
            if int(one["order"]) < cut
            for document in evidence[one["_id"]]
        ]
        taught = {lesson.document for lesson in lessons}
        wordings, neighbours = [], []
        for one in asked:
            if int(one["order"]) < cut:
                continue
            answers = evidence[one["_id"]]
            if taught & set(answers):
                wordings.append(Question(full_text(one), answers, answers[0]))
            else:
                # Its own fact, whatever else later questions join it with.
                neighbours.append(Question(full_text(one), answers, f"untaught {one['_id']}"))
        drafts.append(
            Draft(
                persona,
                tuple(Document(one, text_of[one]) for one in dict.fromkeys(own)),
                tuple(lessons),
                tuple(wordings),
                tuple(neighbours),
            )
        )
    return assembled(
        "realmem", "en", drafts, general_set(general, count=sizes.general, seed=seed), sizes=sizes, seed=seed
    )
