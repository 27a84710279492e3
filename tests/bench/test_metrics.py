"""Recall and task quality agree with the textbook, with scikit-learn and with a loop that anyone can read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from adamem.bench.metrics import METRICS_VERSION, distance_ratio, metrics_of, recall, recall_annb
from adamem.bench.quality import qrels_from_arrays, quality_of, task_quality
from adamem.bench.strata import by_stratum, tail
from adamem.bench.truth import Truth, encode
from adamem.data.dataset import Qrels
from adamem.errors import CorruptResult, InvalidInput, UnknownName


def on_a_line(positions, queries, *, depth):
    """One-dimensional vectors: every distance is plain to see. Returns the truth and a function ids -> `Answers`."""
    base = np.asarray(positions, dtype=np.float32)[:, None]
    asked = np.asarray(queries, dtype=np.float32)[:, None]
    every = (base[None, :, 0].astype(np.float64) - asked.astype(np.float64)) ** 2
    ids = np.argsort(every, axis=1, kind="stable")[:, :depth].astype(np.int64)
    truth = Truth(
        rows=np.arange(len(asked)),
        ids=ids,
        distances=np.take_along_axis(every, ids, 1),
        query_norms=(asked.astype(np.float64) ** 2).sum(1),
        base_norms=(base[ids, 0] ** 2).astype(np.float32),
    )
    return truth, lambda found: encode(np.asarray(found), truth, base=base, queries=asked, metric="l2")


LINE = [1, 2, 3, 4, 5, 6, 7, 8]


def test_recall_is_the_share_of_true_ids_found():
    """Two of the three nearest, at whatever places, are 2/3."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    assert recall(answer([[2, 7, 0]]), truth, 3)[0] == pytest.approx(2 / 3)


def test_only_the_first_k_answers_count():
    """Recall at 2 of an answer of 4 looks at its first 2 places."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    assert recall(answer([[6, 7, 0, 1]]), truth, 2)[0] == 0
    assert recall(answer([[1, 0, 6, 7]]), truth, 2)[0] == 1


def test_an_id_that_stands_twice_counts_once():
    """An index that repeats its best answer gets no credit for the repetitions, by either definition."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    assert recall(answer([[0, 0, 0, 0]]), truth, 4)[0] == 0.25
    assert recall_annb(answer([[0, 0, 0, 0]]), truth, 4, "l2")[0] == 0.25


def test_empty_places_never_count():
    """Id -1 is no answer, by either definition."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    assert recall(answer([[0, -1, -1, -1]]), truth, 4)[0] == 0.25
    assert recall_annb(answer([[-1, -1, -1, -1]]), truth, 4, "l2")[0] == 0


def test_an_answer_as_near_as_the_kth_is_credited_wherever_it_stands_in_the_list():
    """With 4 at equal distance on both sides, either of the tied ids completes the answer, listed or not."""
    for depth in (2, 4):  # the tied id is inside the list, then outside it
        truth, answer = on_a_line([-3, 3, -3, 3, 9], [0], depth=depth)
        assert recall(answer([[2, 3]]), truth, 2)[0] == 1


def test_a_tie_is_a_matter_of_rounding_and_not_of_nearness():
    """Distances that differ by less than 1e-6 of |q|^2 + |x|^2 tie; ten times as much does not."""
    scale = 1000.0**2 * 2
    for gap, expected in ((0.4e-6, 1.0), (10e-6, 0.0)):
        truth = Truth(
            np.arange(1), np.array([[0, 1]]), np.array([[4.0, 4.0 + gap * scale]]), np.array([1e6]),
            np.full((1, 2), 1e6, dtype=np.float32),
        )  # fmt: skip
        zeros = np.zeros((2, 1), dtype=np.float32)
        answers = encode(np.array([[1]]), truth, base=zeros, queries=zeros, metric="l2")
        assert recall(answers, truth, 1)[0] == expected


def test_recall_never_passes_one_however_many_tie():
    """Ten identical vectors: any three of them are a perfect answer at 3, not 10/3."""
    truth, answer = on_a_line([5] * 10, [5], depth=5)
    assert recall(answer([[9, 8, 7]]), truth, 3)[0] == 1
    assert recall(answer([[9, 8, 7, 6, 5]]), truth, 5)[0] == 1
    assert recall(answer([[9, 8, 7, 6, 5, 4, 3]]), truth, 7)[0] == 1


def test_a_collection_of_fewer_than_k_is_fully_found_when_all_of_it_is():
    """With 3 vectors and k = 5, an answer with the 3 and two empty places is perfect."""
    truth, answer = on_a_line([1, 2, 3], [0], depth=3)
    assert recall(answer([[0, 1, 2, -1, -1]]), truth, 5)[0] == 1
    assert recall(answer([[0, 1, -1, -1, -1]]), truth, 5)[0] == pytest.approx(2 / 3)


def test_the_slack_of_ann_benchmarks_is_in_its_own_units():
    """1e-3 is added to the Euclidean distance, not to its square; to 1 - cosine as it is."""
    truth, answer = on_a_line([1.0, 1.0009, 1.0011], [0], depth=1)
    assert recall_annb(answer([[1]]), truth, 1, "l2")[0] == 1
    assert recall_annb(answer([[2]]), truth, 1, "l2")[0] == 0
    # Read as cosine, 1.0009^2 = 1.0018 is beyond 1 + 1e-3.
    assert recall_annb(answer([[1]]), truth, 1, "cosine")[0] == 0


def test_ann_benchmarks_definition_forgives_what_id_recall_does_not():
    """Among near-duplicates not one true neighbour comes back, and their definition calls it perfect."""
    truth, answer = on_a_line([1, 1.0004, 1.0008], [0], depth=1)
    assert recall(answer([[2]]), truth, 1)[0] == 0
    assert recall_annb(answer([[2]]), truth, 1, "l2")[0] == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_without_ties_recall_is_the_intersection_of_two_sets(data):
    """For any answer, and any shuffling of it, recall is |answered and true| / k, in [0, 1]."""
    n, k = 12, data.draw(st.integers(1, 8))
    truth, answer = on_a_line([1.5**i for i in range(n)], [0], depth=9)
    found = data.draw(st.lists(st.integers(-1, n - 1), min_size=k, max_size=k))
    shuffled = data.draw(st.permutations(found))
    expected = len(set(found) & set(truth.ids[0, :k].tolist())) / k
    assert recall(answer([found]), truth, k)[0] == pytest.approx(expected)
    assert recall(answer([shuffled]), truth, k)[0] == pytest.approx(expected)
    assert recall(answer([found]), truth, k)[0] <= recall_annb(answer([found]), truth, k, "l2")[0]


@pytest.mark.parametrize("k", [0, 4])
def test_recall_at_a_k_that_was_not_answered_is_refused(k):
    """Answers of 3 places say nothing of recall at 4."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    with pytest.raises(InvalidInput, match=f"k={k} needs as many places, the answers have 3"):
        recall(answer([[0, 1, 2]]), truth, k)


def test_the_distance_ratio_says_how_much_farther_the_answers_are():
    """Answers at 2 and 4 where 1 and 2 were to be had are twice as far; a missing place is not counted as far."""
    truth, answer = on_a_line(LINE, [0], depth=6)
    assert distance_ratio(answer([[1, 3]]), truth, 2, "l2")[0] == pytest.approx(2.0)
    assert distance_ratio(answer([[0, -1]]), truth, 2, "l2")[0] == pytest.approx(1.0)
    assert np.isnan(distance_ratio(answer([[-1, -1]]), truth, 2, "l2")[0])
    assert np.isnan(distance_ratio(answer([[0, 1]]), truth, 2, "ip")[0])


def test_a_run_is_scored_by_the_version_it_recorded():
    """The current version is known; one from the future is refused with the way out."""
    assert metrics_of(METRICS_VERSION).recall is recall
    assert metrics_of(METRICS_VERSION).version == METRICS_VERSION
    with pytest.raises(UnknownName, match=r"unknown metrics version 99.*upgrade adamem"):
        metrics_of(99)


# -- task quality ------------------------------------------------------------------------------------------------------


def judged(seed, *, q=12, n=40, per_document=1):
    """Random graded judgements, some queries without any; documents of `per_document` rows each."""
    rng = np.random.default_rng(seed)
    document_of_row = np.arange(n) // per_document
    query, document, grade = [], [], []
    for number in range(q):
        for chosen in rng.permutation(document_of_row.max() + 1)[: rng.integers(0, 6)]:
            query.append(number)
            document.append(chosen)
            grade.append(rng.integers(1, 4))
    return Qrels(*(np.array(column, dtype=np.int64) for column in (query, document, grade)), document_of_row)


def answered(found, *, n):
    """Answers with these ids, judged only by what they are."""
    q = len(found)
    truth = Truth(
        np.arange(q)[::-1].copy(), np.zeros((q, 1), np.int64), np.zeros((q, 1)), np.ones(q), np.ones((q, 1), np.float32)
    )
    zeros = np.zeros((max(n, q), 1), dtype=np.float32)
    return encode(np.asarray(found), truth, base=zeros, queries=zeros, metric="l2"), truth


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_that_of_scikit_learn(seed):
    """Graded nDCG@10 equals `sklearn.metrics.ndcg_score` over all documents, unanswered ones last."""
    rng = np.random.default_rng(seed)
    qrels = judged(seed)
    found = np.stack([rng.permutation(40)[:15] for _ in range(12)])
    answers, truth = answered(found, n=40)
    got = task_quality(answers, truth, qrels, 10).ndcg
    for number in range(12):
        grades = np.zeros(40)
        mine = qrels.query == number
        grades[qrels.document[mine]] = qrels.grade[mine]
        if not grades.any():
            assert np.isnan(got[number])
            continue
        scores = np.zeros(40)
        scores[found[number]] = np.arange(15, 0, -1) + 1.0
        scores[scores == 0] = -1.0 - np.arange((scores == 0).sum()) * 1e-3  # no ties, all below
        assert got[number] == pytest.approx(ndcg_score([grades], [scores], k=10), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_other_task_measures_are_what_a_loop_says(seed):
    """MRR@k and recall any, fraction and all, document by document, each where it first stands."""
    rng = np.random.default_rng(seed)
    qrels = judged(seed, per_document=3)
    found = np.stack([rng.permutation(40)[:15] for _ in range(12)])
    found[0, 4:] = -1
    answers, truth = answered(found, n=40)
    got = task_quality(answers, truth, qrels, 4)
    for number in range(12):
        relevant = set(qrels.document[qrels.query == number].tolist())
        ranked = []
        for row in found[number]:
            if row >= 0 and row // 3 not in ranked:
                ranked.append(row // 3)
        hits = [place for place, document in enumerate(ranked[:4], start=1) if document in relevant]
        mine = [got.mrr[number], got.recall_any[number], got.recall_fraction[number], got.recall_all[number]]
        if not relevant:
            assert np.isnan([*mine, got.ndcg[number]]).all()
        else:
            expected = [1 / hits[0] if hits else 0, bool(hits), len(hits) / len(relevant), len(hits) == len(relevant)]
            assert mine == pytest.approx([float(value) for value in expected])


def test_a_query_without_a_judgement_is_missing_and_not_perfect():
    """No judgement, no quality: NaN in every measure, whatever was answered."""
    qrels = Qrels(np.array([1]), np.array([0]), np.array([1]), np.arange(3))
    answers, truth = answered([[0, 1], [0, 1]], n=3)
    got = task_quality(answers, truth, qrels, 2)
    assert all(np.isnan(measure[0]) for measure in got)
    assert [measure[1] for measure in got] == [1, 1, 1, 1, 1]


def test_the_ideal_ranking_uses_every_judged_document():
    """An answer that misses the best document is measured against a ranking that has it."""
    qrels = Qrels(np.array([0, 0]), np.array([0, 1]), np.array([3, 1]), np.arange(4))
    answers, truth = answered([[1, 2]], n=4)
    assert task_quality(answers, truth, qrels, 2).ndcg[0] == pytest.approx(1 / (3 + 1 / np.log2(3)))


def test_a_document_stands_where_its_first_row_stands():
    """Rows 4, 5 and 0 of two-row documents are the documents 2 and 0, first and second; empty places are none."""
    ids = np.array([[4, 5, -1, 0, 4]])
    for document, rank in ((2, 1), (0, 2)):
        qrels = Qrels(np.array([0]), np.array([document]), np.array([1]), np.arange(6) // 2)
        assert quality_of(ids, qrels, 2).mrr.tolist() == [1 / rank]
        assert quality_of(ids, qrels, rank).recall_all.tolist() == [1.0]
    assert quality_of(ids, qrels, 1).recall_any.tolist() == [0.0]


def test_task_quality_at_zero_is_refused():
    """k = 0 asks for nothing."""
    answers, truth = answered([[0]], n=1)
    with pytest.raises(InvalidInput, match="k=0 is undefined"):
        task_quality(answers, truth, judged(0), 0)


def test_damaged_judgements_are_refused():
    """A missing array, arrays of different lengths, and unsorted queries are each a sentence."""
    names = ("query", "document", "grade", "document_of_row")
    good = {name: getattr(judged(1), name).astype(np.int32) for name in names}
    assert np.array_equal(qrels_from_arrays(good).document, judged(1).document)
    with pytest.raises(CorruptResult, match="lack the array 'grade'"):
        qrels_from_arrays({name: array for name, array in good.items() if name != "grade"})
    for bad in ({"grade": good["grade"][1:]}, {"query": good["query"][::-1]}):
        with pytest.raises(CorruptResult, match="differ in length or are not sorted"):
            qrels_from_arrays({**good, **bad})


# -- strata ------------------------------------------------------------------------------------------------------------


def test_the_tail_shows_what_the_mean_hides():
    """Ninety perfect queries and ten with nothing: mean 0.9, and a tenth with recall 0."""
    values = np.r_[np.ones(90), np.zeros(10)]
    assert tail(values) == pytest.approx((0.9, 0.0, 0.1, 0.1))
    assert tail(np.r_[np.ones(99), 0.4])[1:] == pytest.approx((1.0, 0.01, 0.0))


def test_recall_by_stratum_is_the_mean_of_its_members_over_all_seeds():
    """Members of each stratum are averaged over seeds and queries; a stratum without queries is NaN; -1 is in none."""
    values = np.array([[1.0, 0.0, 0.5, 0.9], [0.0, 0.0, 0.5, 0.9]])
    got = by_stratum(values, np.array([0, 0, 2, -1]), 3)
    assert got[[0, 2]] == pytest.approx([0.25, 0.5])
    assert np.isnan(got[1])
