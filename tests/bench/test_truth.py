"""The raw form of an answer keeps everything that was answered, and its distances are the true ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamem.bench.truth import ELSEWHERE, MISSING, Answers, Truth, distances_to, encode, truth_of
from adamem.errors import CorruptResult

METRICS = ("l2", "cosine", "ip")


def brute(base, queries, metric):
    """Float64 distances (q, n), one pair at a time."""
    out = np.empty((len(queries), len(base)))
    for i, q in enumerate(queries.astype(np.float64)):
        for j, x in enumerate(base.astype(np.float64)):
            if metric == "l2":
                out[i, j] = sum((q - x) ** 2)
            elif metric == "ip":
                out[i, j] = -float(q @ x)
            else:
                out[i, j] = 1 - float(q @ x) / (float(q @ q) * float(x @ x)) ** 0.5
    return out


def small(metric, *, depth=12, n=60, q=9, d=5, seed=1):
    """A base, queries, rows in a shuffled order, their truth, and all distances in the truth's order."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, d)).astype(np.float32)
    queries = rng.normal(size=(q, d)).astype(np.float32)
    rows = rng.permutation(q)[: q - 2].astype(np.int64)
    every = brute(base, queries[rows], metric)
    ids = np.argsort(every, axis=1, kind="stable")[:, :depth].astype(np.int64)
    truth = truth_of(rows, ids, np.take_along_axis(every, ids, 1), base=base, queries=queries, metric=metric)
    return base, queries, truth, every


@pytest.mark.parametrize("metric", METRICS)
def test_an_encoded_answer_gives_back_its_ids_true_distances_and_norms(metric):
    """Whatever ids an index answers, in the list, outside it, or none: `encode` loses nothing of them."""
    base, queries, truth, every = small(metric)
    found = np.random.default_rng(3).integers(-1, len(base), size=(len(truth.rows), 8))
    answers = encode(found, truth, base=base, queries=queries, metric=metric)
    assert np.array_equal(answers.ids(truth), found)
    expected = np.where(found < 0, np.inf, np.take_along_axis(every, np.maximum(found, 0), 1))
    np.testing.assert_allclose(answers.distances(truth), expected, rtol=1e-9, atol=1e-12)
    norms = np.ones(len(base)) if metric == "cosine" else (base.astype(np.float64) ** 2).sum(1)
    np.testing.assert_allclose(answers.norms(truth), np.where(found < 0, 0, norms[found]), rtol=1e-6)
    assert ((answers.ranks == MISSING) == (found < 0)).all()
    assert (answers.ranks == ELSEWHERE).any()


def test_the_true_neighbours_encode_as_their_own_places():
    """A perfect answer is the sequence 0, 1, 2 ..., with nothing kept besides."""
    base, queries, truth, _ = small("l2")
    answers = encode(truth.ids, truth, base=base, queries=queries, metric="l2")
    assert (answers.ranks == np.arange(truth.depth)).all()
    assert answers.elsewhere_ids.size == 0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_answers_survive_the_arrays_that_they_are_stored_as(data):
    """`Answers.arrays` and `from_arrays` are inverse, duplicates, gaps and strangers included."""
    base, queries, truth, _ = small("l2", depth=4, n=20)
    rows = data.draw(
        st.lists(
            st.lists(st.integers(-1, 19), min_size=6, max_size=6), min_size=len(truth.rows), max_size=len(truth.rows)
        )
    )
    answers = encode(np.array(rows), truth, base=base, queries=queries, metric="l2")
    again = Answers.from_arrays(answers.arrays("p0_"), "p0_")
    assert np.array_equal(again.ids(truth), np.array(rows))
    assert np.array_equal(again.distances(truth), answers.distances(truth))


def test_a_truth_survives_the_arrays_that_it_is_stored_as():
    """`Truth.arrays` and `from_arrays` are inverse."""
    _, _, truth, _ = small("ip")
    again = Truth.from_arrays(truth.arrays())
    for name in ("rows", "ids", "distances", "query_norms", "base_norms"):
        assert np.array_equal(getattr(again, name), getattr(truth, name)), name


def test_an_id_that_is_not_in_the_collection_is_refused():
    """An index that makes ids up is found out: too large and below -1 alike."""
    base, queries, truth, _ = small("l2")
    for strange in (len(base), -2):
        found = np.zeros((len(truth.rows), 2), dtype=np.int64)
        found[3, 1] = strange
        with pytest.raises(ValueError, match=f"the id {strange}, which is not in the collection"):
            encode(found, truth, base=base, queries=queries, metric="l2")


def test_cosine_distances_of_near_duplicates_keep_their_digits():
    """1 - cos of vectors that differ in the seventh digit is right to 1e-6, where 1 - x.q has lost half of it."""
    q = np.array([[1.0, 0.0]], dtype=np.float32)
    x = np.array([[1.0, 2e-7]], dtype=np.float32)
    angle = float(np.float64(x[0, 1]))
    got = distances_to(x, np.array([0]), q, np.array([0]), metric="cosine")
    np.testing.assert_allclose(got, [angle**2 / 2], rtol=1e-6)


@pytest.mark.parametrize("name", ["ids", "distances", "rows", "query_norms", "base_norms"])
def test_a_truth_that_lacks_an_array_is_refused(name):
    """A damaged truth is a sentence, not a KeyError."""
    arrays = small("l2")[2].arrays()
    del arrays[name]
    with pytest.raises(CorruptResult, match=f"lacks the array '{name}'"):
        Truth.from_arrays(arrays)


def test_a_truth_whose_arrays_differ_in_shape_is_refused():
    """Ids without distances cannot be scored."""
    arrays = small("l2")[2].arrays()
    arrays["distances"] = arrays["distances"][:, 1:]
    with pytest.raises(CorruptResult, match="differ in shape"):
        Truth.from_arrays(arrays)


def test_ranks_that_speak_of_ids_which_are_not_there_are_refused():
    """The number of places marked elsewhere must be the number of ids kept."""
    base, queries, truth, _ = small("l2", depth=4)
    found = np.array(np.argsort(brute(base, queries[truth.rows], "l2"), axis=1)[:, :6])
    arrays = encode(found, truth, base=base, queries=queries, metric="l2").arrays("p1_")
    arrays["p1_elsewhere_ids"] = arrays["p1_elsewhere_ids"][:-1]
    with pytest.raises(CorruptResult, match="ranks and ids do not fit together"):
        Answers.from_arrays(arrays, "p1_")
    del arrays["p1_ranks"]
    with pytest.raises(CorruptResult, match="lacks the array 'p1_ranks'"):
        Answers.from_arrays(arrays, "p1_")
