"""IndexBase: the checks and refusals that every subclass inherits, shown on an index of twenty lines."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.errors import InvalidInput, UnsupportedOperation
from adamem.index import Capabilities, IdFilter, Index, IndexBase, Param, SearchResult, empty_result


class Recording(IndexBase):
    """Finds nothing, and remembers how it was asked."""

    name = "recording"
    summary = "remembers its calls"
    capabilities = Capabilities(metrics=("l2", "cosine"), filter=True)
    search_params = (Param("ef", 64, "effort", low=1), Param("alpha", 1.0, "slack"), Param("deep", False, "depth"))

    def __init__(self, count):
        self.count = count
        self.asked = []

    @classmethod
    def _build(cls, vectors, ids, *, metric, params, seed, threads):
        return cls(len(ids))

    def _search(self, queries, k, *, params, filter):
        self.asked.append((queries, k, params, filter))
        return empty_result(len(queries), k)

    def _contains(self, ids):
        return np.zeros(ids.shape, dtype=bool)

    def nbytes(self):
        return {}

    def __len__(self):
        return self.count


@pytest.fixture
def index():
    return Recording.build(np.eye(3, dtype=np.float32), [1, 2, 3], metric="cosine")


def test_a_subclass_is_an_index(index):
    """Structurally, without registration."""
    assert isinstance(index, Index)
    assert index.counters() == {}
    assert not index.needs_maintenance()
    assert index.maintain() is None


def test_the_hook_gets_checked_input(index):
    """Queries as float32 rows, k as int, parameters complete."""
    index.search([1, 2, 3], np.int64(4), params={"ef": 7})
    queries, k, params, admitted = index.asked[0]
    assert queries.dtype == np.float32
    assert queries.shape == (1, 3)
    assert type(k) is int
    assert params == {"ef": 7, "alpha": 1.0, "deep": False}
    assert admitted is None


def test_parameters_are_checked_on_every_call_though_the_last_are_remembered(index):
    """A change of value or of type is seen, also in the caller's own dictionary; equal is not the same as right."""
    query, params = np.ones((1, 3), np.float32), {"ef": 1}
    index.search(query, 1, params=params)
    index.search(query, 1, params=params)
    params["ef"] = 9
    index.search(query, 1, params=params)
    assert [params["ef"] for _, _, params, _ in index.asked] == [1, 1, 9]
    index.search(query, 1, params={"ef": 1})
    for wrong in (True, 1.0, "1"):
        with pytest.raises(InvalidInput, match="recording's parameter ef"):
            index.search(query, 1, params={"ef": wrong})
    with pytest.raises(InvalidInput, match="recording's parameter ef is 0"):
        index.search(query, 1, params={"ef": 0})
    assert len(index.asked) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e19])
def test_a_bad_single_query_never_reaches_the_hook(index, bad):
    """The quick way for one query refuses what the thorough one does."""
    with pytest.raises(InvalidInput, match="queries row 0"):
        index.search(np.array([[1, bad, 1]], np.float32), 1)
    with pytest.raises(InvalidInput, match="zero vector"):
        index.search(np.zeros((1, 3), np.float32), 1)
    with pytest.raises(InvalidInput, match="4 dimensions"):
        index.search(np.ones((1, 4), np.float32), 1)
    assert index.asked == []


def test_a_query_in_another_layout_is_copied_into_order(index):
    """A row that is a column of another array reaches the hook contiguous."""
    index.search(np.arange(1, 10, dtype=np.float32).reshape(3, 3).T[:1], 1)
    queries = index.asked[0][0]
    assert queries.flags.c_contiguous
    assert queries.tolist() == [[1, 4, 7]]


def test_nothing_to_find_asks_no_one(index):
    """No queries, an empty filter, or an empty index give padding without a call."""
    found = index.search(np.ones((2, 3), np.float32), 3, filter=IdFilter([]))
    assert isinstance(found, SearchResult)
    assert found.ids.tolist() == [[-1, -1, -1]] * 2
    assert index.search(np.empty((0, 3), np.float32), 3).ids.shape == (0, 3)
    index.count = 0
    assert np.isposinf(index.search(np.ones((1, 3), np.float32), 1).distances).all()
    assert index.asked == []


def test_a_filter_must_be_an_id_filter(index):
    """A bare list is refused with the way out."""
    with pytest.raises(InvalidInput, match=r"not list; wrap the ids: IdFilter\(ids\)"):
        index.search(np.ones((1, 3), np.float32), 1, filter=[1, 2])


def test_what_is_not_declared_is_refused_by_name(index, tmp_path):
    """Each refusal names this index, the operation, and those that can."""
    calls = {
        "insert": lambda: index.insert(np.ones((1, 3), np.float32), [9]),
        "delete": lambda: index.delete([1]),
        "replace": lambda: index.replace(np.ones((1, 3), np.float32), [1]),
        "save": lambda: index.save(tmp_path),
    }
    for operation, call in calls.items():
        with pytest.raises(UnsupportedOperation, match=f"recording cannot {operation}; indexes that can: .*exact"):
            call()
    with pytest.raises(UnsupportedOperation, match="recording cannot save"):
        Recording.load(tmp_path)
