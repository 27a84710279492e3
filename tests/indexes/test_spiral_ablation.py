"""The ablation of SpiralGraph: every part can be replaced, over one graph, and what it costs is counted."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.errors import InvalidInput, UnsupportedOperation
from adamem.index import index_class
from adamem_indexes.spiral._ablated_order import ORDERS
from adamem_indexes.spiral._kernels import NIL

CLASS = index_class("spiral_ablation")
KINDS = next(param for param in CLASS.build_params if param.name == "seeds").choices


def clustered(n, dim, *, seed=0, clusters=20, spread=0.3):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    return (centres[random.integers(clusters, size=n)] + spread * random.normal(size=(n, dim))).astype(np.float32)


@pytest.fixture(scope="module")
def data():
    return np.split(clustered(4_100, 48), [4_000])


def build(vectors, *, metric="l2", **params):
    return CLASS.build(vectors, np.arange(len(vectors)), metric=metric, params=params)


def cost(index, queries, k=10, **search):
    """(answer, what each counter grew by)."""
    before = index.counters()
    found = index.search(queries, k, **search)
    return found, {name: count - before[name] for name, count in index.counters().items()}


def edges(index):
    """The graph as pairs of ids."""
    links, ids = index._body.rows.links, index._body.rows.labels
    rows, places = np.nonzero(links != NIL)
    return set(zip(ids[rows].tolist(), ids[links[rows, places]].tolist(), strict=True))


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("seeds", KINDS)
def test_every_kind_of_seeds_finds_the_nearest(data, oracle, seeds, metric):
    """Over the same graph."""
    vectors, queries = data
    found = build(vectors, metric=metric, seeds=seeds).search(queries, 10, params={"ef": 100})
    assert oracle.recall(metric, found, queries, vectors, np.arange(4_000), 10) > 0.9


def test_the_graph_is_one(data):
    """Whatever is replaced, the edges between ids are those of the index itself; other orders move the rows."""
    vectors, _ = data
    plain = index_class("spiral").build(
        vectors, np.arange(4_000), metric="l2", params={"codes": "sq8", "scan_below": 0}
    )
    expected = edges(plain)
    for seeds in KINDS:
        assert edges(build(vectors, seeds=seeds)) == expected
    for order in ORDERS:
        index = build(vectors, order=order)
        assert edges(index) == expected
        assert sorted(index._body.rows.labels.tolist()) == list(range(4_000))
        assert (index._body.rows.vectors == vectors[index._body.rows.labels]).all()
        assert (index._body.rows.labels == np.arange(4_000)).all() == (order == "insertion")


@pytest.mark.parametrize("linked", ["search", "near"])
def test_another_graph_is_as_good_and_another(data, oracle, linked):
    """And the index goes on building what it did."""
    vectors, queries = data
    before = edges(build(vectors))
    index = build(vectors, linked=linked)
    assert edges(build(vectors)) == before != edges(index)
    found = index.search(queries, 10, params={"ef": 100})
    assert oracle.recall("l2", found, queries, vectors, np.arange(4_000), 10) > 0.9


def test_the_graphs_own_parameters_reach_it(data):
    """Fewer places in a row, and none for what a nearer neighbour hides."""
    vectors, _ = data
    assert build(vectors, R=24)._body.rows.links.shape == (4_000, 24)
    assert len(edges(build(vectors, alpha=1.0))) < 0.7 * len(edges(build(vectors)))


@pytest.mark.parametrize("seeds", ["recursive-random", "several-random"])
def test_random_directions_know_nothing_of_the_data(data, seeds):
    """Among components that were chosen for what they tell, they would: that is refused, with the way out."""
    wide = np.concatenate([data[0], data[0]], axis=1)
    with pytest.raises(InvalidInput, match=r"the codes leave out what varies least; set code_bytes to 128"):
        build(wide, seeds=seeds, code_bytes=64)
    assert not build(wide, seeds=seeds, code_bytes=128)._body.fitted.basis.size


@pytest.mark.parametrize("change", [{"order": "random"}, {"order": "rcm"}, {"order": "spiral"}, {"prefetch": False}])
@pytest.mark.parametrize("seeds", ["recursive", "several", "hnsw", "kmeans32"])
def test_memory_changes_nothing_but_time(data, seeds, change):
    """Order and prefetching leave the answers as they are; prefetching every counter too, an order nearly."""
    vectors, queries = data
    expected, before = cost(build(vectors, seeds=seeds), queries)
    found, after = cost(build(vectors, seeds=seeds, **change), queries)
    if "prefetch" in change:
        assert after == before
        assert (found.ids == expected.ids).all()
    elif seeds == "recursive":  # the others' seeds are drawn or grown anew from the rows as they lie
        assert after["distances"] == pytest.approx(before["distances"], rel=0.01)
        assert (found.ids == expected.ids).mean() > 0.99


def test_the_index_itself_walks_alike(data):
    """With nothing replaced, answers and counters are those of `spiral`."""
    vectors, queries = data
    plain = index_class("spiral").build(
        vectors, np.arange(4_000), metric="l2", params={"codes": "sq8", "scan_below": 0}
    )
    (expected, theirs), (found, ours) = cost(plain, queries), cost(build(vectors), queries)
    assert (found.ids == expected.ids).all()
    assert ours == theirs


@pytest.mark.parametrize(
    ("seeds", "least", "most"),
    [("random1", 1, 1), ("random16", 16, 16), ("medoid", 1, 1), ("kmeans32", 20, 32), ("kmeans256", 150, 256),
     ("one", 3 + 2, 3 + 5), ("several", 24 + 2, 24 + 33), ("oracle", 1, 1), ("hnsw", 10, 300)],
)  # fmt: skip
def test_seeds_pay_for_themselves(data, seeds, least, most):
    """On a graph without links, what is left of the distances is what the seeds took; the oracle's are given."""
    vectors, queries = data
    index = build(vectors, seeds=seeds)
    index._body.rows.links[:] = NIL
    for query in queries[:20]:
        _, spent = cost(index, query, k=1)
        assert least <= spent["distances"] <= most


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_the_oracle_is_right(data, oracle, metric):
    """Its seed alone is the nearest of all, found without a single link."""
    vectors, queries = data
    index = build(vectors, metric=metric, seeds="oracle", order="random")
    index._body.rows.links[:] = NIL
    found = index.search(queries, 1)
    assert oracle.recall(metric, found, queries, vectors, np.arange(4_000), 1) == 1


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("code_bytes", [0, 64])
def test_signs_spare_distances(data, oracle, metric, code_bytes):
    """With and without a rotation of their own, they leave recall nearly as it was, and distances fewer."""
    vectors, queries = data
    plain = build(vectors, metric=metric, code_bytes=code_bytes)
    signs = build(vectors, metric=metric, code_bytes=code_bytes, codes="sq8+1bit")
    (expected, before), (found, after) = (cost(index, queries, params={"ef": 64}) for index in (plain, signs))
    assert after["distances"] < before["distances"]
    assert after["sign_tests"] > 0
    ids = np.arange(4_000)
    drop = oracle.recall(metric, expected, queries, vectors, ids, 10) - oracle.recall(
        metric, found, queries, vectors, ids, 10
    )
    assert drop < 0.03


def test_vectors_can_be_walked_on(data, oracle):
    """The same graph by the vectors themselves."""
    vectors, queries = data
    index = build(vectors, codes="fp32")
    assert index._body.plain
    found = index.search(queries, 10, params={"ef": 64})
    assert oracle.recall("l2", found, queries, vectors, np.arange(4_000), 10) > 0.97


def test_twins_are_found(oracle):
    """Rows with one vector share a node in every order and for every kind of seeds."""
    once = clustered(300, 12)
    vectors = np.repeat(once, 3, axis=0)
    for params in ({"order": "rcm"}, {"order": "spiral"}, {"seeds": "oracle"}, {"seeds": "hnsw"}, {"codes": "fp32"}):
        found = build(vectors, **params).search(once, 3, params={"ef": 60})
        assert (np.sort(found.ids, axis=1) == np.arange(900).reshape(300, 3)).mean() > 0.97


def test_it_cannot_be_changed(data):
    """It is a specimen."""
    index = build(data[0][:100])
    with pytest.raises(UnsupportedOperation, match="spiral_ablation cannot insert"):
        index.insert(data[1], np.arange(100, 200))
