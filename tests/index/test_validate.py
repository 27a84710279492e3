"""The shared validator: what it lets through unchanged, and what it refuses with which sentence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamem.errors import InvalidInput, UnknownName
from adamem.index import (
    Param,
    check_count,
    check_ids,
    check_k,
    check_metric,
    check_params,
    check_queries,
    check_seed,
    check_vectors,
)

PARAMS = (
    Param("ef", 64, "effort", low=1, high=1000),
    Param("alpha", 1.2, "slack", low=1.0, high=2.0),
    Param("storage", "fp32", "what is stored", choices=("fp32", "sq8")),
    Param("refine", True, "whether to re-rank"),
)


def test_good_vectors_pass_without_a_copy():
    """A C-contiguous float32 array comes back as the very same object."""
    vectors = np.ones((3, 4), np.float32)
    assert check_vectors(vectors, metric="l2") is vectors
    assert check_queries(vectors, metric="l2", dim=4) is vectors


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, ">f4"])
def test_other_real_numbers_become_float32(dtype):
    """Whole numbers, doubles, halves and byte-swapped floats are converted, with their values."""
    given = np.arange(6).reshape(2, 3).astype(dtype) + 1
    for checked in (check_vectors(given, metric="cosine"), check_queries(given, metric="cosine", dim=3)):
        assert checked.dtype == np.dtype("=f4")
        assert checked.flags.c_contiguous
        assert checked.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_strided_and_listed_vectors_become_contiguous():
    """A transposed view, every other column, and nested lists are copied into order."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6) + 1
    for odd in (base[:, ::2], np.asfortranarray(base[:, :3]), base[:, :3].tolist()):
        checked = check_queries(odd, metric="l2", dim=3)
        assert checked.flags.c_contiguous
        np.testing.assert_array_equal(checked, np.asarray(odd, dtype=np.float32))


def test_one_query_becomes_a_row():
    """Shape (d,) becomes (1, d), and no rows stay no rows."""
    assert check_queries(np.ones(4, np.float32), metric="l2", dim=4).shape == (1, 4)
    assert check_queries([1, 2, 3, 4], metric="l2", dim=4).shape == (1, 4)
    assert check_queries(np.empty((0, 4)), metric="l2", dim=4).shape == (0, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 5), (5,), (7, 5)])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_a_query_that_is_not_finite_never_passes(bad, shape, metric):
    """NaN or Inf anywhere is refused, in one query as in a batch."""
    for position in range(5):
        queries = np.ones(shape, np.float32)
        queries[..., position] = bad
        with pytest.raises(InvalidInput, match="holds NaN or Inf"):
            check_queries(queries, metric=metric, dim=5)


def test_infinities_that_would_cancel_never_pass():
    """+Inf beside -Inf, whose sum is NaN, and two rows whose squares are both Inf."""
    queries = np.array([[np.inf, -np.inf], [1, 2]], np.float32)
    with pytest.raises(InvalidInput, match="row 0 holds NaN or Inf"):
        check_queries(queries, metric="ip", dim=2)


def test_finite_values_whose_squares_overflow_are_refused():
    """A finite row of squared length above float32's range is named as too long, also when it comes as float64."""
    with pytest.raises(InvalidInput, match="row 1 is so long"):
        check_vectors(np.array([[1, 1], [3e19, 1]], np.float32), metric="l2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidInput, match="row 0 holds NaN or Inf"):
            check_vectors(np.array([[1e300, 1.0]]), metric="l2")


def test_a_batch_whose_rows_are_each_fine_passes_though_their_sum_overflows():
    """The quick check over the whole batch is not the judge: each row is."""
    queries = np.full((40, 2), 1.2e19, np.float32)
    assert check_queries(queries, metric="l2", dim=2).shape == (40, 2)


def test_a_zero_row_is_refused_under_cosine_only():
    """It has no direction; the row is named."""
    vectors = np.ones((5, 3), np.float32)
    vectors[3] = 0
    with pytest.raises(InvalidInput, match="row 3 is a zero vector"):
        check_vectors(vectors, metric="cosine")
    with pytest.raises(InvalidInput, match="row 3 is a zero vector"):
        check_queries(vectors, metric="cosine", dim=3)
    with pytest.raises(InvalidInput, match="row 0 is a zero vector"):
        check_queries(np.zeros(3, np.float32), metric="cosine", dim=3)
    assert check_vectors(vectors, metric="ip") is vectors


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(3), r"shape \(n, d\), not \(3,\)"),
        (np.ones((2, 2, 2)), r"shape \(n, d\)"),
        (np.empty((0, 3)), "empty"),
        (np.empty((3, 0)), "0 dimensions"),
        (np.ones((1, 70_000), np.float32), "70000 dimensions"),
        (np.ones((2, 2), bool), "real numbers, not bool"),
        (np.ones((2, 2), object), "real numbers, not object"),
        (np.ones((2, 2), complex), "real numbers"),
        (np.ones((2, 2), np.longdouble), "real numbers"),
        (np.array([["a", "b"]]), "real numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(vectors, message):
    """Shape and type are named, with what was expected."""
    with pytest.raises(InvalidInput, match=message):
        check_vectors(vectors, metric="l2")


def test_bad_rows_beyond_the_first_piece_are_found():
    """Large matrices are looked at in pieces; the row's number counts from the start."""
    vectors = np.ones((70_000, 64), np.float32)
    vectors[69_999, 63] = np.nan
    with pytest.raises(InvalidInput, match="row 69999 holds NaN"):
        check_vectors(vectors, metric="l2")


@pytest.mark.parametrize("k", [1, 10, 1_000_000, np.int64(5), np.uint8(3)])
def test_whole_numbers_in_range_are_a_k(k):
    """numpy's integers too; a plain int comes back."""
    assert check_k(k) == int(k)
    assert type(check_k(k)) is int


@pytest.mark.parametrize("k", [0, -1, 1_000_001, 1.0, True, "3", None, np.float32(3), [3]])
def test_nothing_else_is_a_k(k):
    """The value is repeated in the sentence."""
    with pytest.raises(InvalidInput, match="k must be a whole number from 1 to 1000000"):
        check_k(k)


@pytest.mark.parametrize("value", [0, -3, 1.5, True, None, "2", 1025])
def test_a_count_is_a_whole_number_from_1_to_1024(value):
    """And it is called by the name that it was given."""
    assert check_count(np.int32(2), what="threads") == 2
    with pytest.raises(InvalidInput, match="threads must be a whole number from 1 to 1024"):
        check_count(value, what="threads")


@pytest.mark.parametrize("value", [-1, 1.5, "1", None, True, 1 << 63])
def test_a_seed_is_a_whole_number_from_0(value):
    """A generator would say no in words of its own."""
    with pytest.raises(InvalidInput, match=r"seed must be a whole number from 0 to 2\^63 - 1, not"):
        check_seed(value)
    assert check_seed(np.int64(7)) == 7


def test_good_ids_become_int64():
    """Any integer type, any order; none at all is fine."""
    assert check_ids(np.array([3, 1], np.uint32), count=2).dtype == np.int64
    assert check_ids([], count=0).size == 0
    assert check_ids([2**63 - 1, 0], count=2).tolist() == [2**63 - 1, 0]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], "3 vectors came with 2 ids"),
        ([[1], [2], [3]], "one-dimensional array of integers"),
        ([1.0, 2.0, 3.0], "array of integers, not float64"),
        (["a", "b", "c"], "array of integers"),
        ([True, False, True], "array of integers, not bool"),
        ([0, -5, 1], "the id -5 is negative"),
        ([7, 1, 7], "the id 7 stands 2 times"),
        (np.array([1, 2, 2**63], np.uint64), "does not fit int64"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    """Each with the id that is wrong."""
    with pytest.raises(InvalidInput, match=message):
        check_ids(ids, count=3)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_repeated_ids_are_refused_and_only_those(ids):
    """A list of ids passes exactly when it holds none twice."""
    if len(set(ids)) == len(ids):
        assert check_ids(ids, count=len(ids)).tolist() == ids
    else:
        with pytest.raises(InvalidInput, match="ids must be unique"):
            check_ids(ids, count=len(ids))


def test_metrics():
    """One that does not exist is unknown, one that the index lacks is invalid; both say which there are."""
    assert check_metric("l2", ("l2", "ip"), "tiny") == "l2"
    with pytest.raises(UnknownName, match="unknown metric 'cosin'; did you mean 'cosine'"):
        check_metric("cosin", ("l2",), "tiny")
    with pytest.raises(InvalidInput, match="tiny does not support the metric 'cosine'; it supports l2, ip"):
        check_metric("cosine", ("l2", "ip"), "tiny")


def test_parameters_are_completed_with_defaults():
    """What is not given takes its default; the given mapping is not changed."""
    given_params = {"ef": 10}
    resolved = check_params(given_params, PARAMS, index="tiny", stage="search")
    assert resolved == {"ef": 10, "alpha": 1.2, "storage": "fp32", "refine": True}
    assert given_params == {"ef": 10}
    assert check_params(None, PARAMS, index="tiny", stage="search")["ef"] == 64


def test_numbers_of_numpy_and_whole_floats_are_taken():
    """numpy's scalars count as what they hold, and 1 is a fine value for 1.0."""
    resolved = check_params({"ef": np.int64(7), "alpha": 1}, PARAMS, index="tiny", stage="search")
    assert type(resolved["ef"]) is int
    assert type(resolved["alpha"]) is float


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"eff": 3}, UnknownName, "unknown search parameter of tiny 'eff'; did you mean 'ef'"),
        ({"ef": 0}, InvalidInput, "tiny's parameter ef is 0, expected a whole number from 1 to 1000"),
        ({"ef": 1001}, InvalidInput, "expected a whole number from 1 to 1000"),
        ({"ef": 10.0}, InvalidInput, "expected a whole number"),
        ({"ef": True}, InvalidInput, "expected a whole number"),
        ({"alpha": float("nan")}, InvalidInput, "expected a number from 1 to 2"),
        ({"alpha": "1.2"}, InvalidInput, "expected a number"),
        ({"storage": "sq4"}, InvalidInput, "expected one of 'fp32', 'sq8'"),
        ({"refine": 1}, InvalidInput, "expected true or false"),
    ],
)
def test_wrong_parameters_are_refused(params, error, message):
    """Unknown names with the nearest one, wrong types and values with what was expected."""
    with pytest.raises(error, match=message):
        check_params(params, PARAMS, index="tiny", stage="search")
