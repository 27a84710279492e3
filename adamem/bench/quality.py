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
    judged = np.bincount(qrels.query, minlength=count)[:count]  # documents a query
    rank, gain = _ranked(ids, qrels, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    # The best order of all judged documents: by query, the highest grades first.
    best = np.lexsort((-qrels.grade, qrels.query))
    place = np.arange(best.size) - (np.cumsum(judged) - judged)[qrels.query[best]]
    ideal = np.where(place < k, discounts[np.minimum(place, k - 1)], 0.0) * qrels.grade[best]
    hits = (gain > 0).sum(axis=1)
    first = np.where(gain > 0, rank, k).min(axis=1, initial=k)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = (
            (gain * discounts[np.minimum(rank, k - 1)]).sum(axis=1)
            / np.bincount(qrels.query[best], weights=ideal, minlength=count)[:count],
            np.where(hits > 0, 1.0 / (first + 1), 0.0),
            (hits > 0).astype(np.float64),
            hits / judged,
            (hits == judged).astype(np.float64),
        )
    return TaskQuality(*(np.where(judged > 0, score, np.nan) for score in scores))


def _ranked(ids: IdArray, qrels: Qrels, k: int) -> tuple[IdArray, IdArray]:
    """Of answered rows (q, places): the rank of each place's document, from 0, and its grade, both int64.

    The grade is 0 where a place is empty, its document stood before already, or comes after the first k.
    """
    found = np.where(ids >= 0, qrels.document_of_row[ids], -1)
    order = np.argsort(found, axis=1, kind="stable")
    ordered = np.take_along_axis(found, order, axis=1)
    is_first = np.ones(found.shape, dtype=bool)
    np.put_along_axis(is_first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    is_first &= found >= 0
    rank = np.cumsum(is_first, axis=1) - 1
    # Query and document as one number, which the judgements are looked up by.
    most = int(max(found.max(initial=0), qrels.document.max(initial=0))) + 1
    known = qrels.query * most + qrels.document
    sorted_ = np.argsort(known)
    wanted = np.arange(len(found))[:, None] * most + found
    at = np.minimum(np.searchsorted(known, wanted, sorter=sorted_), max(known.size - 1, 0))
    if known.size == 0:
        return rank, np.zeros(found.shape, dtype=np.int64)
    is_judged = known[sorted_][at] == wanted
    return rank, np.where(is_first & is_judged & (rank < k), qrels.grade[sorted_][at], 0)


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
