"""SpiralGraph on data of unusual shapes, under filters and turnover: what is promised, compared with exact search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamem.index import IdFilter, index_class
from adamem_indexes.spiral import _graph
from adamem_indexes.spiral import index as spiral_index

SCAN_SHARE = spiral_index._SCAN_SHARE
SHAPES = (
    "constant columns",
    "clustered",
    "tiny",
    "large",
    "tiny and large",
    "repeated rows",
    "one far outlier",
    "far from the origin",
    "two far clusters",
    "lengths from 1 to 1000",
    "sparse",
)


@pytest.fixture(autouse=True)
def graphs_are_walked(monkeypatch):
    """Left to itself, a search scans a few thousand rows rather than walk through their graph."""
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", 0.0)


@pytest.fixture
def it_may_scan(monkeypatch, graphs_are_walked):
    """Searches choose between graph and scan as they do for users."""
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", SCAN_SHARE)


def clustered(n, dim, *, seed=0, clusters=20, spread=0.3):
    return with_clusters(n, dim, seed=seed, clusters=clusters, spread=spread)[0]


def with_clusters(n, dim, *, seed=0, clusters=20, spread=0.3):
    """(vectors, the cluster of each, the clusters' centres)."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    which = random.integers(clusters, size=n)
    return (centres[which] + spread * random.normal(size=(n, dim))).astype(np.float32), which, centres


def build(vectors, metric="l2", ids=None, *, threads=1, **params):
    ids = np.arange(len(vectors)) if ids is None else ids
    params = {"scan_below": 0, **params}
    return index_class("spiral").build(vectors, ids, metric=metric, params=params, threads=threads)


def asked(index, queries, k=10, **search):
    """(answer, by how much each counter grew)."""
    before = index.counters()
    found = index.search(queries, k, **search)
    return found, {name: count - before[name] for name, count in index.counters().items()}


def recall(oracle, index, metric, vectors, queries, *, k=10, **search):
    """Of an index over `vectors` that bear their rows as ids, and whose graph must be walked."""
    found, spent = asked(index, queries, k, **search)
    assert spent["hops"] > 0
    assert (np.diff(found.distances, axis=1) >= 0).all()
    return oracle.recall(metric, found, queries, vectors, np.arange(len(vectors)), k)


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("size", [8, 60])
def test_near_duplicates_are_told_apart(oracle, metric, size):
    """Groups whose members differ by 1e-4 of their length, few or more than a node has links: the nearest are found.

    Each finds its group, and under l2 itself first; the cosines within a group are all 1 in single precision. Under ip
    a vector need not be its own nearest.
    """
    random = np.random.default_rng(2)
    once = clustered(2_400 // size, 48, seed=2)
    vectors = np.repeat(once, size, axis=0)
    apart = random.normal(size=vectors.shape)
    apart *= 1e-4 * np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(apart, axis=1, keepdims=True)
    vectors = (vectors + apart).astype(np.float32)
    index = build(vectors, metric)
    rows = np.arange(0, 2_400, 7)
    if metric != "ip":
        found = index.search(vectors[rows], 8)
        assert metric == "cosine" or (found.ids[:, 0] == rows).mean() > 0.99
        assert (found.ids // size == rows[:, None] // size).mean() > 0.99
    assert recall(oracle, index, metric, vectors, vectors[rows]) > 0.97


def shaped(shape):
    """float32 (1500, 32)."""
    random = np.random.default_rng(9)
    vectors = clustered(1_500, 32, seed=9)
    if shape == "constant columns":
        vectors[:, 3:30] = 5
    elif shape == "clustered":
        vectors = clustered(1_500, 32, seed=9, clusters=15, spread=1e-2)
    elif shape == "tiny":
        vectors *= np.float32(1e-12)
    elif shape == "large":
        vectors *= np.float32(1e12)
    elif shape == "tiny and large":
        vectors *= np.float32(10) ** random.integers(-6, 7, size=(1_500, 1)).astype(np.float32)
    elif shape == "repeated rows":
        vectors = vectors[random.integers(300, size=1_500)]
    elif shape == "one far outlier":
        vectors[700] *= np.float32(1e5)
    elif shape == "far from the origin":
        vectors += 1_000
    elif shape == "two far clusters":
        vectors[:700] += 500
    elif shape == "lengths from 1 to 1000":
        vectors *= np.geomspace(1, 1_000, 1_500, dtype=np.float32)[:, None]
    elif shape == "sparse":
        vectors[random.random(vectors.shape) < 0.9] = 0
        vectors[~vectors.any(axis=1), 0] = 1
    return vectors


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_hard_shapes_under_every_metric(oracle, metric, shape):
    """Nothing of it breaks the build, and the nearest are found; queries are rows, and others of the same shape."""
    vectors, others = np.split(shaped(shape), [1_440])
    queries = np.concatenate([vectors[::30], others])
    assert recall(oracle, build(vectors, metric), metric, vectors, queries, params={"ef": 100}) > 0.95


@pytest.mark.parametrize("share", [0.5, 0.06])
@pytest.mark.parametrize("order", ["close ones last", "close ones first", "mixed"])
def test_a_part_that_lies_close_together_is_told_apart_wherever_it_is_stored(share, order):
    """Wide data, and in it tight clusters that bytes cannot tell apart: whether they do does not hang on the order.

    Compared by ids: within a cluster all distances are equal up to what other tests let pass.
    """
    random = np.random.default_rng(4)
    close = int(3_000 * share)
    centres = random.normal(size=(3, 48))
    tight = centres[random.integers(3, size=close + 50)] + 1e-3 * random.normal(size=(close + 50, 48))
    queries = tight[close:].astype(np.float32)
    vectors = np.concatenate([random.normal(size=(3_000 - close, 48)), tight[:close]]).astype(np.float32)
    if order == "close ones first":
        vectors = vectors[::-1].copy()
    elif order == "mixed":
        random.shuffle(vectors)
    index, exact = build(vectors), index_class("exact").build(vectors, np.arange(3_000), metric="l2")
    found, spent = asked(index, queries)
    assert spent["hops"] > 0
    wanted = exact.search(queries, 10).ids
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found.ids, strict=True)]) > 0.95


@pytest.mark.parametrize("scan_below", [0, 10_000])
@pytest.mark.parametrize("codes", ["sq8", "fp32"])
@pytest.mark.parametrize("offset", [0, 5])
def test_under_the_inner_product_a_querys_length_makes_no_difference(oracle, offset, codes, scan_below):
    """From 1e-30 to 1e12 times as long as the vectors, which may lie far from the origin: the same are nearest."""
    random = np.random.default_rng(6)
    vectors = (random.normal(size=(1_500, 40)) + offset).astype(np.float32)
    index = build(vectors, "ip", codes=codes, scan_below=scan_below)
    queries = random.normal(size=(40, 40)).astype(np.float32)
    wanted = index.search(queries, 10, params={"ef": 100})
    assert oracle.recall("ip", wanted, queries, vectors, np.arange(1_500), 10) > 0.95
    for length in (2.0**-100, 2.0**-20, 2.0**-7, 2.0**7, 2.0**40):
        scaled = queries * np.float32(length)
        found = index.search(scaled, 10, params={"ef": 100})
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.distances, wanted.distances * np.float32(length))


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("dim", [2, 3, 17, 4096])
@pytest.mark.parametrize("n", [5, 400])
def test_few_vectors_of_any_dimension(oracle, metric, dim, n):
    """Under every metric, from a handful on."""
    vectors, queries = np.split(clustered(n + 20, dim, seed=dim), [n])
    assert recall(oracle, build(vectors, metric), metric, vectors, queries, k=5, params={"ef": 64}) > 0.97


@pytest.fixture(scope="module")
def many():
    """(vectors, queries, clusters of the vectors, clusters of the queries, centres)."""
    vectors, which, centres = with_clusters(12_200, 24, seed=3)
    return vectors[:12_000], vectors[12_000:], which[:12_000], which[12_000:], centres


@pytest.fixture(scope="module", params=["l2", "cosine", "ip"])
def large(request, many):
    """(metric, index over the many vectors)."""
    return request.param, build(many[0], request.param, threads=2)


def filtered(oracle, index, metric, vectors, queries, rows):
    """(recall, hops a query) where only `rows` (m,) are admitted."""
    found, spent = asked(index, queries, filter=IdFilter(rows))
    assert np.isin(found.ids, rows).all()
    return oracle.recall(metric, found, queries, vectors[rows], rows, 10), spent["hops"] / len(queries)


@pytest.mark.parametrize(("share", "walked"), [(0.5, True), (0.1, False), (0.01, False)])
def test_a_wide_filter_is_walked_and_a_narrow_one_scanned(many, large, it_may_scan, oracle, share, walked):
    """As the hops tell; and recall is kept."""
    vectors, queries, *_ = many
    metric, index = large
    rows = np.sort(np.random.default_rng(5).permutation(len(vectors))[: int(share * len(vectors))])
    found, hops = filtered(oracle, index, metric, vectors, queries[:60], rows)
    assert (hops > 0) == walked
    assert found > (0.95 if walked else 0.99)


def test_what_a_filter_admits_may_lie_far_from_the_query(many, large, it_may_scan, oracle):
    """Two fifths of the rows are admitted, all of the clusters farthest from the query's: walked, and found."""
    vectors, queries, which, asking, centres = many
    metric, index = large
    shares = []
    for cluster in np.unique(asking)[:8]:
        order = np.argsort(((centres - centres[cluster]) ** 2).sum(axis=1))
        upto = np.cumsum(np.bincount(which, minlength=20)[order[::-1]])
        far = order[::-1][: 1 + np.searchsorted(upto, 0.4 * len(vectors))]
        rows = np.flatnonzero(np.isin(which, far))
        found, hops = filtered(oracle, index, metric, vectors, queries[asking == cluster], rows)
        assert hops > 0
        shares.append(found)
    assert min(shares) >= 0.9


def test_recall_stays_while_every_vector_is_replaced(oracle):
    """Three times over, with rows replaced since the last upkeep: as of a new build within a point.

    And at a tenth more distances at most.
    """
    count, times = 2_400, 3
    vectors = clustered(count * (times + 1), 40, seed=12, clusters=60)
    random = np.random.default_rng(13)
    now = vectors[:count].copy()
    index = build(now, R=16, ef_construction=80)
    for turn in range(1, times + 1):
        fresh = vectors[turn * count : (turn + 1) * count]
        for ids in np.split(random.permutation(count), 25):
            index.replace(fresh[ids], ids)
            now[ids] = fresh[ids]
            assert len(index) == count
            if index.needs_maintenance():
                index.maintain()
    assert index._body.labels.dead > 0.15 * index._body.labels.rows
    new = build(now, R=16, ef_construction=80)
    queries = clustered(300, 40, seed=12, clusters=60)
    for ef in (16, 48):
        params = {"ef": ef}
        turned, fresh = (recall(oracle, one, "l2", now, queries, params=params) for one in (index, new))
        assert turned > fresh - 0.01
        turned, fresh = (asked(one, queries, params=params)[1]["distances"] for one in (index, new))
        assert turned < 1.1 * fresh


def drawn(seed, count):
    """float32 (count, 6): from two clusters, some rows equal to others that may be drawn at any time."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 6)) + 8 * random.integers(2, size=(count, 1))
    whole = random.random(count) < 0.3
    vectors[whole] = random.integers(1, 3, size=(int(whole.sum()), 6))
    return vectors.astype(np.float32)


def check(index, live, metric, k):
    """Against a dictionary of the live vectors: no stranger, no repeat, none missing, each found where it is."""
    assert len(index) == len(live)
    labels = np.array(sorted(live), dtype=np.int64)
    vectors = np.array([live[label] for label in labels.tolist()], dtype=np.float32).reshape(-1, 6)
    found, spent = asked(index, drawn(k, 3), k)
    assert (spent["hops"] > 0) == (labels.size > 0)
    for ids, distances in zip(found.ids, found.distances, strict=True):
        count = min(k, labels.size)
        answer = ids[:count]
        assert len(set(answer.tolist())) == count
        assert np.isin(answer, labels).all()
        assert (ids[count:] == -1).all()
        assert np.isposinf(distances[count:]).all()
    if labels.size == 0:
        return
    own = index.search(vectors, 1, params={"ef": 1_000})  # as many as there are rows: whatever links lead to is met
    squares = np.einsum("ij,ij->i", vectors, vectors) if metric == "l2" else np.ones(len(vectors))
    assert (own.distances[:, 0] <= 1e-6 * squares).all()
    places = np.searchsorted(labels, own.ids[:, 0])
    if metric == "l2":
        assert (vectors[places] == vectors).all()  # itself, or one that is equal


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(1, 120),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["insert", "delete", "replace", "maintain"]), st.integers(0, 2**32 - 1), st.integers(1, 40)
        ),
        max_size=8,
    ),
    degree=st.sampled_from([16, 48]),
    k=st.integers(1, 150),
)
def test_any_life_of_a_walked_graph_agrees_with_a_dictionary(metric, start, steps, degree, k):
    """After any inserts, deletes, replacements and upkeep, and at every step between."""
    index = build(drawn(start, start), metric, R=degree, ef_construction=40)
    live = dict(enumerate(drawn(start, start)))
    check(index, live, metric, k)
    for verb, seed, count in steps:
        random = np.random.default_rng(seed)
        if verb == "insert":
            ids = random.choice(np.setdiff1d(np.arange(1_000), list(live)), count, replace=False)
            index.insert(drawn(seed, count), ids)
            live |= dict(zip(ids.tolist(), drawn(seed, count), strict=True))
        elif verb == "maintain":
            index.maintain()
        elif live:
            ids = random.permutation(np.array(sorted(live), dtype=np.int64))[:count]
            if verb == "delete":
                index.delete(ids)
                for label in ids.tolist():
                    del live[label]
            else:
                index.replace(drawn(seed, ids.size), ids)
                live |= dict(zip(ids.tolist(), drawn(seed, ids.size), strict=True))
        check(index, live, metric, k)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("together", [True, False])
def test_two_threads_fit_code_and_link_as_one_does(monkeypatch, metric, together):
    """Bit by bit, where a basis is fitted: basis, centre, codes and links; compared all with all, and by searching."""
    if not together:
        monkeypatch.setattr(_graph, "_TOGETHER_BYTES", 0)
    random = np.random.default_rng(1)
    plane = random.normal(size=(40, 384)) / np.sqrt(40)
    vectors = (clustered(3_200, 40, seed=1) @ plane + 0.01 * random.normal(size=(3_200, 384))).astype(np.float32)
    one, two = (build(vectors, metric, threads=threads, R=16, ef_construction=60)._body for threads in (1, 2))
    assert one.fitted.basis.shape[0] > 0
    for mine, other in (
        (one.fitted.basis, two.fitted.basis),
        (one.fitted.centre, two.fitted.centre),
        (one.rows.codes, two.rows.codes),
        (one.rows.links, two.rows.links),
        *zip(one.lens, two.lens, strict=True),
        *zip(one.spiral, two.spiral, strict=True),
    ):
        assert np.asarray(mine).tobytes() == np.asarray(other).tobytes()
