"""RealMem by persona and time: whether what was learnt of one's earlier questions helps with the later ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

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
    of a held-out question or after it. A question with several pieces of evidence is a lesson with each; lessons that
    share evidence, directly or by others, are of one group. A question's evidence was said before it, and what its
    persona said later is remembered as well, which makes it harder to find.

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
    group = _components({record["_id"]: evidence[record["_id"]] for record in queries})
    drafts = []
    for persona, own in remembered.items():
        asked = sorted((one for one in queries if one["scope"] == persona), key=lambda one: int(one["order"]))
        if not asked:
            continue
        cut = int(asked[min(int(earlier * len(asked)), len(asked) - 1)]["order"])
        lessons = [
            Lesson(full_text(one), document, group[document])
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
                wordings.append(Question(full_text(one), answers, group[answers[0]]))
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


def _components(evidence: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The group of every document: those that a question has in common are of one."""
    number = {
        one: place for place, one in enumerate(dict.fromkeys(one for found in evidence.values() for one in found))
    }
    pairs = np.array(
        [(number[found[0]], number[one]) for found in evidence.values() for one in found], np.int64
    ).reshape(-1, 2)
    joined = sp.csr_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(number),) * 2)
    _, labels = connected_components(joined, directed=False)
    return {one: f"evidence {labels[place]}" for one, place in number.items()}
