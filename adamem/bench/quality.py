"""Task quality: how well the answers serve what the queries were asked for, judged by people and not by distances.

Rows are passages, judgements are on documents: a ranking of documents is the answered rows' documents, each where it
stands first. A query without a judgement has no quality: NaN, never 0 or 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adamem.bench.truth import Answers, Truth
from adamem.data.dataset import Qrels
from adamem.errors import CorruptResult, InvalidInput
from adamem.types import AnyArray, DoubleArray, IdArray


class TaskQuality(NamedTuple):
    """One value a query, float64 (q,) in [0, 1]; NaN where a query has no judgement."""

    ndcg: DoubleArray
    """nDCG@k: gain = grade, discount = log2(1 + rank), ideal over *all* judged documents (as trec_eval; Jarvelin and
    Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002, with the rank-1 discount of 1)."""
    mrr: DoubleArray
    """1 / rank of the first relevant document among the first k, 0 if there is none."""
    recall_any: DoubleArray
    """1 if a relevant document is among the first k."""
    recall_fraction: DoubleArray
    """Share of the relevant documents that are among the first k."""
    recall_all: DoubleArray
    """1 if every relevant document is among the first k: an answer that needs all of its evidence can be given."""


def task_quality(answers: Answers, truth: Truth, qrels: Qrels, k: int) -> TaskQuality:
    """Score the first k documents of each answer.

    `qrels` are those of raw/qrels.npz: ``query`` is the query's position in `truth`, not its row in the data set.
    Where several rows belong to one document, an answer of k rows may hold fewer than k documents; it is scored on
    those. Give every contestant answers of equal width.

    Raises
    ------
    InvalidInput
        if k < 1.
    """
    return quality_of(answers.ids(truth), qrels, k)


def quality_of(ids: IdArray, qrels: Qrels, k: int) -> TaskQuality:
    """As `task_quality`, of answered rows int64 (q, places), -1 where there is none; ``qrels.query`` is a row of `ids`.

    Raises
    ------
    InvalidInput
        if k < 1.
    """
    if k < 1:
        raise InvalidInput(f"task quality at k={k} is undefined; ask for k >= 1")
    count = ids.shape[0]
    positions = np.arange(count)
    start = np.searchsorted(qrels.query, positions, side="left")
    stop = np.searchsorted(qrels.query, positions, side="right")
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    out = np.full((5, count), np.nan)
    for query in np.flatnonzero(stop > start):
        judged = slice(start[query], stop[query])
        ranked = documents(ids[query], qrels.document_of_row)[:k]
        grade_of = dict(zip(qrels.document[judged].tolist(), qrels.grade[judged].tolist(), strict=True))
        gains = np.array([grade_of.get(document, 0) for document in ranked.tolist()], dtype=np.float64)
        ideal = np.sort(qrels.grade[judged])[::-1][:k].astype(np.float64)
        hits = np.flatnonzero(gains > 0)
        out[:, query] = (
            (gains @ discounts[: gains.size]) / (ideal @ discounts[: ideal.size]),
            1.0 / (hits[0] + 1) if hits.size else 0.0,
            float(hits.size > 0),
            hits.size / len(grade_of),
            float(hits.size == len(grade_of)),
        )
    return TaskQuality(*out)


def documents(ids: IdArray, document_of_row: IdArray) -> IdArray:
    """The documents of answered rows (k,), in order, each once; empty places (-1) are left out."""
    found = document_of_row[ids[ids >= 0]]
    return np.asarray(found[np.sort(np.unique(found, return_index=True)[1])])


def qrels_from_arrays(arrays: dict[str, AnyArray]) -> Qrels:
    """The judgements of raw/qrels.npz, ``query`` being the position in the test queries' `Truth`.

    Raises
    ------
    CorruptResult
        if an array is missing or they do not fit together.
    """
    try:
        qrels = Qrels(**{name: arrays[name].astype(np.int64) for name in _FIELDS})
    except KeyError as error:
        raise CorruptResult(f"the judgements lack the array {error}; run the experiment again") from error
    if not qrels.query.size == qrels.document.size == qrels.grade.size or (np.diff(qrels.query) < 0).any():
        raise CorruptResult("the judgements' arrays differ in length or are not sorted; run the experiment again")
    return qrels


_FIELDS = ("query", "document", "grade", "document_of_row")
