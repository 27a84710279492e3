import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from adamem.data import exact_neighbours, load, true_distances
from adamem.errors import InvalidInput


def by_brute_force(base, queries, k, metric):
    """An oracle of another make: scipy's distances in float64, a stable sort for ties."""
    base, queries = np.asarray(base, np.float64), np.asarray(queries, np.float64)
    if metric == "ip":
        table = -(queries @ base.T)
    else:
        table = cdist(queries, base, {"l2": "sqeuclidean", "cosine": "cosine"}[metric])
    ids = np.argsort(table, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(table, ids, axis=1)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_agrees_with_brute_force(metric):
    """On random vectors the rows are those of scipy's brute force, in its order, at its distances."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(5000, 33)).astype(np.float32)
    queries = rng.normal(size=(600, 33)).astype(np.float32)
    ids, distances = exact_neighbours(base, queries, 20, metric=metric)
    want, want_distances = by_brute_force(base, queries, 20, metric)
    assert np.array_equal(ids, want)
    np.testing.assert_allclose(distances, want_distances, rtol=1e-10, atol=1e-12)
    assert (ids.dtype, distances.dtype) == (np.int64, np.float64)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_agrees_with_brute_force_on_fashion_mnist(real_data, metric):
    """On real images the rows are those of brute force for all three metrics."""
    images = load("fashion-mnist", queries=20)
    ids, distances = exact_neighbours(images.base, images.queries, 100, metric=metric)
    want, want_distances = by_brute_force(images.base, images.queries, 100, metric)
    assert np.array_equal(ids, want)
    np.testing.assert_allclose(distances, want_distances, rtol=1e-10, atol=1e-12)


def test_near_duplicates_far_from_the_origin_are_told_apart():
    """Rows that differ in their last float32 digits only, where float32 products know nothing, come in true order."""
    rng = np.random.default_rng(1)
    centre = rng.normal(size=64) * 1000
    base = (centre + rng.normal(size=(9000, 64)) * 1e-3).astype(np.float32)
    queries = (centre + rng.normal(size=(20, 64)) * 1e-3).astype(np.float32)
    ids, distances = exact_neighbours(base, queries, 10, metric="l2")
    want, want_distances = by_brute_force(base, queries, 10, "l2")
    assert np.array_equal(ids, want)
    np.testing.assert_allclose(distances, want_distances, rtol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_a_narrow_cone_of_directions_is_ranked_exactly(metric):
    """Where all angles differ by less than float32's rounding, the second reading still finds the true first k."""
    rng = np.random.default_rng(2)
    axis = rng.normal(size=200)
    base = (axis + rng.normal(size=(4000, 200)) * 1e-5).astype(np.float32)
    queries = (axis + rng.normal(size=(8, 200)) * 1e-5).astype(np.float32)
    _, distances = exact_neighbours(base, queries, 15, metric=metric)
    exact = true_distances(base, queries, np.tile(np.arange(len(base)), (len(queries), 1)), metric=metric)
    assert np.array_equal(distances, np.sort(exact, axis=1)[:, :15])


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("dim", [3, 7, 784])
def test_equal_rows_come_in_the_order_of_their_ids(metric, dim):
    """Of exact duplicates, more than are asked for, the ones with the smallest ids are returned, ascending."""
    rng = np.random.default_rng(3)
    some = rng.normal(size=(4, dim)).astype(np.float32)
    base = some[rng.integers(0, 4, size=3000)]
    query = some[:1] * np.float32(1.5)
    ids, distances = exact_neighbours(base, query, 50, metric=metric)
    want, _ = by_brute_force(base, query, 3000, metric)
    nearest = np.flatnonzero((base == base[want[0, 0]]).all(axis=1))[:50]
    assert np.array_equal(ids[0], nearest)
    assert len(set(distances[0])) == 1


def test_integers_give_exact_integers():
    """Squared distances of bytes are whole numbers, ties among them by id."""
    rng = np.random.default_rng(4)
    base = rng.integers(0, 3, size=(5000, 8)).astype(np.float32)
    queries = rng.integers(0, 3, size=(40, 8)).astype(np.float32)
    ids, distances = exact_neighbours(base, queries, 200, metric="l2")
    want, want_distances = by_brute_force(base, queries, 200, "l2")
    assert np.array_equal(ids, want)
    assert np.array_equal(distances, want_distances)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e17])
def test_very_small_and_very_large_numbers_do_not_under_or_overflow(scale):
    """The order does not change with the unit of measurement, even where squares leave float32's range."""
    rng = np.random.default_rng(5)
    base, queries = rng.normal(size=(3000, 16)), rng.normal(size=(10, 16))
    base, queries = (base * scale).astype(np.float32), (queries * scale).astype(np.float32)
    ids, _ = exact_neighbours(base, queries, 5, metric="l2")
    assert np.array_equal(ids, by_brute_force(base.astype(np.float64) / scale, queries / scale, 5, "l2")[0])


def test_one_enormous_row_spoils_nothing():
    """An outlier a million times longer than the rest neither hides true neighbours nor becomes one."""
    rng = np.random.default_rng(6)
    base = rng.normal(size=(4000, 24)).astype(np.float32)
    base[1234] *= 1e6
    queries = rng.normal(size=(30, 24)).astype(np.float32)
    ids, _ = exact_neighbours(base, queries, 10, metric="l2")
    assert np.array_equal(ids, by_brute_force(base, queries, 10, "l2")[0])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 400),
    dim=st.integers(1, 40),
    spread=st.sampled_from([1e-7, 1e-4, 1.0]),
    shift=st.sampled_from([0.0, 1.0, 1e4]),
    metric=st.sampled_from(["l2", "ip"]),
    data=st.data(),
)
def test_distances_are_always_the_smallest_there_are(seed, rows, dim, spread, shift, metric, data):
    """Whatever the spread, the offset and k: the distances are the k smallest of all true ones, each at its own row."""
    rng = np.random.default_rng(seed)
    base = (shift + rng.normal(size=(rows, dim)) * spread).astype(np.float32)
    queries = (shift + rng.normal(size=(5, dim)) * spread).astype(np.float32)
    k = data.draw(st.integers(1, rows))
    ids, distances = exact_neighbours(base, queries, k, metric=metric)
    everything = true_distances(base, queries, np.tile(np.arange(rows), (5, 1)), metric=metric)
    assert np.array_equal(distances, np.sort(everything, axis=1)[:, :k])
    assert np.array_equal(distances, np.take_along_axis(everything, ids, axis=1))
    assert all(len(set(row)) == k for row in ids.tolist())


def test_a_vector_is_at_distance_zero_from_itself_under_cosine():
    """Cosine distance is taken by differences, so equal directions are at exactly 0, not at a rounding error."""
    base = np.random.default_rng(7).normal(size=(100, 50)).astype(np.float32)
    ids, distances = exact_neighbours(base, base * 4, 1, metric="cosine")
    assert np.array_equal(ids[:, 0], np.arange(100))
    assert not distances.any()


def test_padding_is_infinitely_far():
    """`true_distances` gives +inf where an id is -1, and the true distance elsewhere."""
    base = np.eye(3, dtype=np.float32)
    found = true_distances(base, base[:1], np.array([[1, -1]]), metric="l2")
    assert found.tolist() == [[2.0, np.inf]]


def test_progress_is_told_to_the_end():
    """The callable hears every chunk, and last that all rows are done."""
    heard = []
    base = np.random.default_rng(8).normal(size=(6000, 784)).astype(np.float32)
    exact_neighbours(base, base[:2], 3, metric="l2", progress=lambda *told: heard.append(told))
    assert len(heard) > 1
    assert heard[-1] == (6000, 6000, "exact neighbours")


def test_refuses_what_has_no_answer():
    """k out of range, other widths, zero vectors under cosine and NaN are errors that say which."""
    base = np.ones((4, 2), np.float32)
    with pytest.raises(InvalidInput, match=r"k = 5 is out of range: the base has 4 rows"):
        exact_neighbours(base, base, 5, metric="l2")
    with pytest.raises(InvalidInput, match=r"\(4, 2\) and queries \(4, 3\)"):
        exact_neighbours(base, np.ones((4, 3), np.float32), 1, metric="l2")
    with pytest.raises(InvalidInput, match="length zero has no cosine"):
        exact_neighbours(base, np.zeros((1, 2), np.float32), 1, metric="cosine")
    with pytest.raises(InvalidInput, match="metric 'hamming' is unknown"):
        exact_neighbours(base, base, 1, metric="hamming")
    broken = base.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InvalidInput, match="row 2 is not finite"):
        exact_neighbours(broken, base, 1, metric="ip")
    with pytest.raises(InvalidInput, match="query 2 is not finite"):
        exact_neighbours(base, broken, 1, metric="ip")
