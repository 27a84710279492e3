"""IdFilter: a set of ids that answers whether labels are in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamem.errors import InvalidInput
from adamem.index import IdFilter

# dense ones take the bitmap, far-apart ones the binary search
labels = st.one_of(st.integers(0, 200), st.integers(0, 2**63 - 1))


@given(admitted=st.lists(labels, max_size=30), asked=st.lists(labels, max_size=30))
def test_a_filter_is_a_set(admitted, asked):
    """Membership, one by one and by array, is that of a Python set; the ids are sorted and unique."""
    wanted = IdFilter(np.array(admitted, dtype=np.int64))
    truth = set(admitted)
    assert wanted.ids.tolist() == sorted(truth)
    assert len(wanted) == len(truth)
    questions = np.array([*asked, *admitted], dtype=np.int64)
    assert wanted.mask(questions).tolist() == [label in truth for label in questions.tolist()]
    assert all((label in wanted) == (label in truth) for label in questions.tolist())


def test_padding_is_never_admitted():
    """-1 is no id, whichever way membership is found."""
    for ids in ([0, 1, 2], [0, 2**62], []):
        assert IdFilter(ids).mask(np.array([[-1, 0]])).tolist() == [[False, bool(ids)]]


def test_the_given_array_is_copied():
    """Overwriting it afterwards changes nothing."""
    ids = np.array([5, 3])
    wanted = IdFilter(ids)
    ids[:] = 9
    assert wanted.ids.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.5], "one-dimensional array of integer ids"),
        ([[1, 2]], "one-dimensional array of integer ids"),
        (["a"], "one-dimensional array of integer ids"),
        ([3, -2], "holds the id -2"),
    ],
)
def test_what_is_no_set_of_ids_is_refused(ids, message):
    """With what was expected."""
    with pytest.raises(InvalidInput, match=message):
        IdFilter(ids)
