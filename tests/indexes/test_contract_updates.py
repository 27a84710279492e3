"""The contract of every registered index: inserting, deleting, replacing, and upkeep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamem.errors import InvalidInput
from adamem.index import IdFilter


def require(case, *operations):
    """Leave out an index that does not declare an operation; that it refuses is asserted in the search contract."""
    for operation in operations:
        if not getattr(case.capabilities, operation):
            pytest.skip(f"{case.name} declares no {operation}; the refusal is asserted elsewhere")


def test_inserted_vectors_are_found(case, data, oracle):
    """An index of which half was inserted afterwards, some of it one by one, reaches the recall floor."""
    require(case, "insert")
    index = case.build(data.vectors[:1000], data.ids[:1000])
    for row in range(1000, 1020):
        index.insert(data.vectors[row : row + 1], data.ids[row : row + 1])
    index.insert(data.vectors[1020:], data.ids[1020:])
    assert len(index) == 2000
    found = index.search(data.queries, 10)
    oracle.assert_valid(case, found, data.queries, data.vectors, data.ids)
    assert oracle.recall(case.metric, found, data.queries, data.vectors, data.ids, 10) >= case.floor


def test_half_deleted_reaches_the_floor(case, data, oracle):
    """With 50 % deleted no deleted id comes back and the floor holds, filtered or not, before upkeep and after."""
    require(case, "delete")
    index = case.build(data.vectors, data.ids)
    order = np.random.default_rng(3).permutation(2000)
    gone, left = order[:1000], order[1000:]
    index.delete(data.ids[gone])
    assert len(index) == 1000
    vectors, ids = data.vectors[left], data.ids[left]
    for _ in range(2):
        found = index.search(data.queries, 10)
        oracle.assert_valid(case, found, data.queries, vectors, ids)
        assert oracle.recall(case.metric, found, data.queries, vectors, ids, 10) >= case.floor
        if case.capabilities.filter:
            found = index.search(data.queries, 10, filter=IdFilter(data.ids[order[500:1500]]))
            oracle.assert_valid(case, found, data.queries, vectors[:500], ids[:500])
            assert oracle.recall(case.metric, found, data.queries, vectors[:500], ids[:500], 10) >= case.floor
        index.maintain()
        assert not index.needs_maintenance()


def test_upkeep_gives_the_space_back(case, data):
    """After half was deleted and `maintain` ran, the index weighs clearly less than when it was whole."""
    require(case, "delete")
    index = case.build(data.vectors, data.ids)
    whole = sum(index.nbytes().values())
    index.delete(data.ids[:1000])
    index.maintain()
    assert sum(index.nbytes().values()) < 0.8 * whole
    assert len(index) == 1000


def test_one_long_deletion_and_many_short_ones_agree(case, make_data, oracle):
    """Deleting in one call or one by one leaves the same ids, none of which was deleted."""
    require(case, "delete")
    small = make_data(n=300, dim=8, queries=10, seed=11)
    together, single = case.build(small.vectors, small.ids), case.build(small.vectors, small.ids)
    together.delete(small.ids[50:250])
    for row in range(50, 250):
        single.delete(small.ids[row : row + 1])
    left = np.r_[0:50, 250:300]
    for index in (together, single):
        found = index.search(small.queries, 100)
        oracle.assert_valid(case, found, small.queries, small.vectors[left], small.ids[left])


def test_an_emptied_index_answers_with_padding_and_fills_again(case, make_data, oracle):
    """Every id may be deleted; then nothing is found, and new vectors can come."""
    require(case, "insert", "delete")
    small = make_data(n=40, dim=6, queries=4, seed=12)
    index = case.build(small.vectors, small.ids)
    index.delete(small.ids)
    assert len(index) == 0
    assert (index.search(small.queries, 3).ids == -1).all()
    index.maintain()
    assert (index.search(small.queries, 3).ids == -1).all()
    index.insert(small.vectors[:10], small.ids[:10])
    found = index.search(small.queries, 12)
    oracle.assert_valid(case, found, small.queries, small.vectors[:10], small.ids[:10])


def test_a_replaced_vector_never_comes_back(case, data, oracle):
    """After `replace` answers follow the new vectors only, at the recall floor, and again after upkeep."""
    require(case, "replace")
    index = case.build(data.vectors, data.ids)
    vectors = data.vectors.copy()
    fresh = np.random.default_rng(4).permutation(vectors[:700])
    for start in range(0, 700, 100):
        index.replace(fresh[start : start + 100], data.ids[start : start + 100])
    vectors[:700] = fresh
    assert len(index) == 2000
    for _ in range(2):
        found = index.search(data.queries, 10)
        oracle.assert_valid(case, found, data.queries, vectors, data.ids)
        assert oracle.recall(case.metric, found, data.queries, vectors, data.ids, 10) >= case.floor
        if case.metric != "ip":  # a vector need not be its own nearest under ip
            own = index.search(vectors[:50], 1)
            assert (own.ids[:, 0] == data.ids[:50]).mean() >= case.floor
        index.maintain()


def test_the_caller_may_overwrite_what_it_inserted(case, make_data, oracle):
    """Inserted and replacing arrays are copied."""
    require(case, "insert", "replace")
    small = make_data(n=60, dim=6, queries=5, seed=13)
    index = case.build(small.vectors[:30], small.ids[:30])
    buffer, ids = small.vectors[30:45].copy(), small.ids[30:45].copy()
    index.insert(buffer, ids)
    buffer[:], ids[:] = small.vectors[45:], small.ids[:15]
    index.replace(buffer, ids)
    buffer[:], ids[:] = 9.0, 1
    vectors = np.concatenate([small.vectors[45:], small.vectors[15:45]])
    found = index.search(small.queries, 45)
    oracle.assert_valid(case, found, small.queries, vectors, small.ids[:45])


def test_updates_of_the_wrong_ids_are_refused_and_change_nothing(case, make_data, oracle):
    """Inserting a present id, deleting or replacing an absent one, repeats and wrong shapes are errors."""
    small = make_data(n=30, dim=6, queries=5, seed=14)
    index = case.build(small.vectors, small.ids)
    capabilities = case.capabilities
    if capabilities.insert:
        with pytest.raises(InvalidInput, match="already in the index"):
            index.insert(small.vectors[:2], [1, small.ids[4]])
        with pytest.raises(InvalidInput, match="5 dimensions, but the index has 6"):
            index.insert(np.ones((1, 5), np.float32), [1])
    if capabilities.delete:
        with pytest.raises(InvalidInput, match="is not in the index"):
            index.delete([small.ids[0], 1])
        with pytest.raises(InvalidInput, match="stands 2 times"):
            index.delete([small.ids[0], small.ids[0]])
        index.delete(np.empty(0, np.int64))
    if capabilities.replace:
        with pytest.raises(InvalidInput, match="is not in the index"):
            index.replace(small.vectors[:1], [1])
        with pytest.raises(InvalidInput, match="NaN"):
            index.replace(np.full((1, 6), np.nan, np.float32), small.ids[:1])
    found = index.search(small.queries, 30)
    oracle.assert_valid(case, found, small.queries, small.vectors, small.ids)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["insert", "delete", "replace", "maintain"]),
            st.integers(0, 2**32 - 1),
            st.integers(1, 12),
        ),
        max_size=10,
    ),
    start=st.integers(1, 40),
    k=st.integers(1, 30),
)
def test_any_sequence_of_updates_agrees_with_a_dictionary(case, oracle, steps, start, k):
    """After any inserts, deletes and replacements the answers hold just the live ids at their present vectors."""
    rng = np.random.default_rng(start)
    values = rng.standard_normal((start, 5)).astype(np.float32)
    truth = dict(enumerate(values))
    index = case.build(values, np.arange(start))
    for verb, seed, count in steps:
        rng = np.random.default_rng(seed)
        if verb == "maintain":
            index.maintain()
        elif not getattr(case.capabilities, verb):
            continue
        elif verb == "insert":
            ids = rng.choice(np.setdiff1d(np.arange(80), list(truth)), count, replace=False) if len(truth) < 60 else []
            if len(ids):
                values = rng.standard_normal((count, 5)).astype(np.float32)
                index.insert(values, ids)
                truth |= dict(zip(ids.tolist(), values, strict=True))
        else:
            ids = rng.permutation(list(truth))[:count].astype(np.int64)
            if verb == "delete":
                index.delete(ids)
                for label in ids.tolist():
                    del truth[label]
            elif len(ids):
                values = rng.standard_normal((len(ids), 5)).astype(np.float32)
                index.replace(values, ids)
                truth |= dict(zip(ids.tolist(), values, strict=True))
    assert len(index) == len(truth)
    queries = np.random.default_rng(k).standard_normal((4, 5)).astype(np.float32)
    found = index.search(queries, k)
    ids = np.array(sorted(truth), dtype=np.int64)
    vectors = np.array([truth[label] for label in ids.tolist()], dtype=np.float32).reshape(-1, 5)
    if len(ids):
        oracle.assert_valid(case, found, queries, vectors, ids)
        if case.capabilities.exact:
            assert oracle.recall(case.metric, found, queries, vectors, ids, k) == 1.0
    else:
        assert (found.ids == -1).all()
