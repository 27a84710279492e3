"""Text collections: documents (or passages of them), queries and who judged what relevant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from adamem.data.dataset import Qrels
from adamem.data.formats.jsonl import Record, full_text, read_qrels, read_records
from adamem.errors import DataError
from adamem.types import IdArray

T = TypeVar("T")


@dataclass(frozen=True)
class Sides(Generic[T]):
    """Something known of rows and of queries."""

    rows: T
    queries: T


@dataclass(frozen=True)
class TextCollection:
    """What is embedded, and what is known about it. Rows are what becomes `Dataset.base`."""

    name: str
    rows: tuple[str, ...]
    """The text of every row: a document, or a passage of one."""
    row_ids: tuple[str, ...]
    queries: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: Qrels
    topics: IdArray | None = None
    """int64 (q,): the number of each query's topic."""
    scopes: Sides[tuple[str, ...]] | None = None
    """Whose memory each row is of, and each query is asked of."""
    orders: Sides[IdArray] | None = None
    """int64: when each row was said within its scope, and each query asked: after the rows up to its own order."""
    provenance: dict[str, Any] = field(default_factory=dict)


def read_collection(
    name: str,
    *,
    corpus: Path,
    queries: Path,
    qrels: Path,
    topic_field: str | None = None,
    scope_field: str | None = None,
    order_field: str | None = None,
    judged_only: bool = False,
) -> TextCollection:
    """A collection of three files; with `judged_only`, queries without a judgement are left out (BEIR's splits).

    Raises
    ------
    DataError
        if a file breaks off or is not of the format, or a judgement names what is not there.
    """
    row_ids, rows, scopes, orders = [], [], [], []
    for record in read_records(corpus):
        row_ids.append(record["_id"])
        rows.append(full_text(record))
        if scope_field is not None:
            scopes.append(_field(record, scope_field, str, corpus))
        if order_field is not None:
            orders.append(_field(record, order_field, int, corpus))
    if not rows:
        raise DataError(f"{corpus} has no documents; choose another file")
    asked = list(read_records(queries))
    judgements = list(read_qrels(qrels))
    if judged_only:
        judged = {query for _, query, _, _ in judgements}
        asked = [record for record in asked if record["_id"] in judged]
    query_ids = tuple(record["_id"] for record in asked)
    query_number = {name: number for number, name in enumerate(query_ids)}
    document_number = {name: number for number, name in enumerate(row_ids)}
    entries = []
    for line, query, document, grade in judgements:
        if query not in query_number or document not in document_number:
            lost = f"query {query!r}" if query not in query_number else f"document {document!r}"
            raise DataError(f"{qrels}, line {line} names the {lost}, not in the collection; fetch all its files again")
        if grade > 0:
            entries.append((query_number[query], document_number[document], grade))
    return TextCollection(
        name=name,
        rows=tuple(rows),
        row_ids=tuple(row_ids),
        queries=tuple(full_text(record) for record in asked),
        query_ids=query_ids,
        qrels=make_qrels(entries, np.arange(len(rows), dtype=np.int64)),
        topics=None if topic_field is None else _topics(asked, topic_field, queries),
        scopes=None
        if scope_field is None
        else Sides(tuple(scopes), tuple(_field(record, scope_field, str, queries) for record in asked)),
        orders=None
        if order_field is None
        else Sides(
            np.array(orders, np.int64),
            np.array([_field(record, order_field, int, queries) for record in asked], np.int64),
        ),
    )


def read_labelled(name: str, path: Path) -> TextCollection:
    """A labelled set as retrieval: the train split is searched with the test split; the same label is relevant.

    Raises
    ------
    DataError
        if a line has no label or split, or either split is empty.
    """
    parts: dict[str, list[Record]] = {"train": [], "test": []}
    for record in read_records(path):
        if not isinstance(record.get("label"), str) or record.get("split") not in parts:
            raise DataError(f"{path}: {record['_id']!r} lacks a label or a split that is 'train' or 'test'; add them")
        parts[record["split"]].append(record)
    train, test = parts["train"], parts["test"]
    if not train or not test:
        raise DataError(f"{path} has {len(train)} train and {len(test)} test texts; expected some of each")
    of_label: dict[str, list[int]] = {}
    for number, record in enumerate(train):
        of_label.setdefault(record["label"], []).append(number)
    entries = [(query, row, 1) for query, record in enumerate(test) for row in of_label.get(record["label"], ())]
    return TextCollection(
        name=name,
        rows=tuple(full_text(record) for record in train),
        row_ids=tuple(record["_id"] for record in train),
        queries=tuple(full_text(record) for record in test),
        query_ids=tuple(record["_id"] for record in test),
        qrels=make_qrels(entries, np.arange(len(train), dtype=np.int64)),
        topics=_topics(test, "label", path),
    )


def cut_passages(name: str, whole: TextCollection, *, words: int, least: int) -> TextCollection:
    """Every row cut into passages of `words` words; a rest of fewer than `least` is dropped unless it is all there is,
    and so is every exact repeat of an earlier passage. Passage 3 of document a0 is called a0#3.
    """
    rows, row_ids, owners = [], [], []
    seen: set[str] = set()
    for number, (text, document) in enumerate(zip(whole.rows, whole.row_ids, strict=True)):
        split = text.split()
        for place, start in enumerate(range(0, len(split), words)):
            piece = split[start : start + words]
            passage = " ".join(piece)
            if (place and len(piece) < least) or passage in seen:
                continue
            seen.add(passage)
            rows.append(passage)
            row_ids.append(f"{document}#{place}")
            owners.append(number)
    owned = np.array(owners, np.int64)
    scopes, orders = whole.scopes, whole.orders
    return replace(
        whole,
        name=name,
        rows=tuple(rows),
        row_ids=tuple(row_ids),
        qrels=replace(whole.qrels, document_of_row=owned),
        scopes=None if scopes is None else replace(scopes, rows=tuple(scopes.rows[owner] for owner in owners)),
        orders=None if orders is None else replace(orders, rows=orders.rows[owned]),
    )


def make_qrels(entries: Sequence[tuple[int, int, int]], document_of_row: IdArray) -> Qrels:
    """Judgements (query, document, grade), sorted by query and document; of repeated ones the highest grade counts."""
    table = np.array(sorted(entries), np.int64).reshape(-1, 3)
    last = np.ones(len(table), bool)
    last[:-1] = (table[1:, :2] != table[:-1, :2]).any(axis=1)
    table = table[last]
    return Qrels(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), document_of_row)


def _field(record: Record, name: str, kind: type[T], path: Path) -> T:
    found = record.get(name)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise DataError(
            f"{path}: {record['_id']!r} has {found!r} for the field {name!r}; expected one of type {kind.__name__}"
        )
    return found


def _topics(records: Sequence[Record], topic_field: str, path: Path) -> IdArray:
    lacking = next((record["_id"] for record in records if topic_field not in record), None)
    if lacking is not None:
        raise DataError(f"{path}: {lacking!r} has no field {topic_field!r}, which names the topics; choose another")
    names = [str(record[topic_field]) for record in records]
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64)
