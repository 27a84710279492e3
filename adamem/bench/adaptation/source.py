"""The records of a collection: what `load_texts` leaves out, such as a question's entity or label."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from adamem.bench.adaptation.leakage import normalised
from adamem.bench.adaptation.tasks import Document, General, Question
from adamem.data import card, load_texts
from adamem.data.cards import Role
from adamem.data.check import verified
from adamem.data.formats.jsonl import Record, read_qrels, read_records
from adamem.data.text_sets import text_files
from adamem.errors import DataError

T = TypeVar("T")


def records(source: str | Path, role: Role) -> list[Record]:
    """Those of a card's file, or of a folder of one's own.

    Raises
    ------
    UnknownName, StorageError, DataError
        as `load_texts`.
    """
    return list(read_records(_file(source, role)))


def field(record: Record, name: str) -> str:
    """A string that a record must have.

    Raises
    ------
    DataError
        if it has none of that name.
    """
    found = record.get(name)
    if not isinstance(found, str):
        raise DataError(f"{record['_id']!r} has {found!r} for the field {name!r}; expected a string; add it")
    return found


def relevant(source: str | Path) -> dict[str, list[str]]:
    """The ids of the documents that are relevant to each query, by its id, in the file's order."""
    found: dict[str, list[str]] = {}
    for _, query, document, grade in read_qrels(_file(source, "qrels")):
        if grade > 0:
            found.setdefault(query, []).append(document)
    return found


def general_set(source: str | Path, *, count: int, seed: int) -> General:
    """At most `count` judged queries of a collection, and the documents that answer them, in their order.

    Seeds from 0 take one share of a shuffle after the other: as many questions differ between them as can.
    """
    texts = load_texts(source)
    answers: dict[int, list[int]] = {}
    for query, document in zip(texts.qrels.query.tolist(), texts.qrels.document.tolist(), strict=True):
        answers.setdefault(query, []).append(document)
    order = np.random.default_rng(3).permutation(sorted(answers))
    count = min(count, order.size)
    asked = sorted(order.take(range(seed * count, (seed + 1) * count), mode="wrap").tolist())
    needed = sorted({document for query in asked for document in answers[query]})
    return General(
        texts.name,
        tuple(Document(texts.row_ids[row], texts.rows[row]) for row in needed),
        tuple(
            Question(texts.queries[query], tuple(texts.row_ids[row] for row in answers[query]), texts.query_ids[query])
            for query in asked
        ),
    )


def shuffled(items: list[T], rng: np.random.Generator) -> list[T]:
    """All of them in another order."""
    return [items[place] for place in rng.permutation(len(items)).tolist()]


def once(documents: list[Document]) -> dict[str, str]:
    """The id of the first document of the same text, by id."""
    first: dict[str, str] = {}
    return {document.id: first.setdefault(normalised(document.text), document.id) for document in documents}


def _file(source: str | Path, role: Role) -> Path:
    if Path(source).is_dir():
        found = (text_files(Path(source)) or {}).get(role)
    else:
        known = card(str(source))
        found = next((verified(known) / item.path for item in known.files if item.role == role), None)
    if found is None:
        raise DataError(f"{source} has no file for {role}; choose a collection that has one")
    return found
