"""The tail: exact, whatever is in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamem.memory.tail import Tail


def by_force(ids, vectors, query, k):
    distances = np.float32(1) - vectors @ query
    order = np.lexsort((ids, distances))[:k]
    return ids[order], distances[order]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(n, dim, seed, spread):
    """Vectors round a few centres, some of them equal."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(5, dim))[random.integers(5, size=n)] + spread * random.normal(size=(n, dim))
    rows[random.integers(n, size=n // 10)] = rows[0]
    return unit(rows)


@settings(deadline=None, max_examples=60)
@given(
    n=st.sampled_from([1, 5, 511, 512, 513, 1_500]),
    dim=st.sampled_from([2, 3, 31, 64, 384]),
    k=st.sampled_from([1, 4, 10, 100, 5_000]),
    spread=st.sampled_from([1e-3, 0.05, 1.0]),
    seed=st.integers(0, 1_000),
    dropped=st.sampled_from([0.0, 0.3, 0.99]),
)
def test_a_search_meets_every_vector(n, dim, k, spread, seed, dropped):
    """The distances are those of all vectors compared by force, however the codes round; ids where they do not tie."""
    random = np.random.default_rng(seed)
    vectors, query = clustered(n, dim, seed, spread), unit(random.normal(size=(1, dim)))[0]
    ids = random.permutation(10 * n)[:n].astype(np.int64)
    tail = Tail(dim)
    for start in range(0, n, 400):
        tail.append(ids[start : start + 400], vectors[start : start + 400])
    gone = random.random(n) < dropped
    for number in ids[gone].tolist():
        assert tail.drop(number)
        assert not tail.drop(number)
    assert len(tail) == n - gone.sum()
    found, distances = tail.search(query, k)
    wanted, expected = by_force(ids[~gone], vectors[~gone], query, k)
    np.testing.assert_allclose(distances, expected, atol=2e-6)
    places = {number: place for place, number in enumerate(ids.tolist())}
    own = np.float32(1) - vectors[[places[number] for number in found.tolist()]] @ query
    np.testing.assert_allclose(distances, own, atol=2e-6)  # each id with its own distance
    _, one_more = by_force(ids[~gone], vectors[~gone], query, k + 1)
    clear = np.diff(one_more) > 4e-6  # whatever is nearer to each other may be ordered by rounding
    assert set(found) <= set(ids[~gone].tolist())
    assert found.size == np.unique(found).size == wanted.size
    if clear.all():
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("n", [300, 3_000])
def test_a_search_among_some_ids_finds_those_alone(n):
    """All that are admitted and here, and no other."""
    vectors = clustered(n, 48, 0, 0.5)
    tail = Tail(48)
    tail.append(np.arange(n), vectors)
    admitted = np.arange(0, 2 * n, 7)
    found, _ = tail.search(vectors[0], 20, admitted)
    inside = admitted[admitted < n]
    wanted, _ = by_force(inside, vectors[inside], vectors[0], 20)
    assert set(found) == set(wanted)


def test_dropped_places_are_used_again():
    """A tail in which much comes and goes stays as large as what is in it."""
    tail = Tail(16)
    vectors = clustered(64, 16, 0, 1.0)
    for turn in range(200):
        ids = np.arange(64 * turn, 64 * turn + 64)
        tail.append(ids, vectors)
        for number in ids.tolist():
            tail.drop(number)
    assert len(tail) == 0
    assert tail.nbytes < 50_000
    assert tail.search(vectors[0], 3)[0].size == 0


def test_what_is_moved_away_is_not_there_any_more():
    """`without` keeps the rest, and leaves the one it was made from as it is."""
    vectors = clustered(1_000, 16, 0, 1.0)
    tail = Tail(16)
    tail.append(np.arange(1_000), vectors)
    first, _ = tail.first(300)
    rest = tail.without(first)
    assert len(tail) == 1_000
    assert len(rest) == 700
    assert 299 not in rest
    assert 300 in rest
    assert set(rest.search(vectors[0], 1_000)[0]) == set(range(300, 1_000))
