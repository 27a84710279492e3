"""SpiralGraph's own promises, with graphs that are walked (the contract suite's collections are mostly scanned)."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import weakref

import numba
import numpy as np
import pytest

from adamem.errors import CorruptResult, InvalidInput, StorageError
from adamem.index import IdFilter, index_class
from adamem_indexes.spiral import _body, _graph
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral import index as spiral_index
from adamem_indexes.spiral._kernels import NIL
from adamem_indexes.spiral.index import SpiralGraph

SCAN_SHARE = spiral_index._SCAN_SHARE


@pytest.fixture(autouse=True)
def graphs_are_walked(monkeypatch):
    """Left to itself, a search scans a few thousand rows rather than walk through their graph."""
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", 0.0)


def clustered(n, dim, *, seed=0, clusters=20, spread=0.3):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    return (centres[random.integers(clusters, size=n)] + spread * random.normal(size=(n, dim))).astype(np.float32)


def build(vectors, metric="l2", ids=None, *, threads=1, seed=0, **params):
    ids = np.arange(len(vectors)) if ids is None else ids
    params = {"scan_below": 0, **params}
    return index_class("spiral").build(vectors, ids, metric=metric, params=params, threads=threads, seed=seed)


def recall(oracle, index, metric, vectors, queries, *, ids=None, k=10, **search):
    hops = index.counters()["hops"]
    found = index.search(queries, k, **search)
    if index._body.spiral is not None and spiral_index._SCAN_SHARE == 0:
        assert index.counters()["hops"] > hops
    assert (np.diff(found.distances, axis=1) >= 0).all()
    return oracle.recall(metric, found, queries, vectors, np.arange(len(vectors)) if ids is None else ids, k)


def reachable(index, passed_over=frozenset()):
    """Nodes that links lead to from the root, by a search of the test's own."""
    links = index._body.rows.links
    seen = {int(index._body.spiral.root[0])}
    waiting = list(seen)
    while waiting:
        for other in links[waiting.pop()]:
            if other != NIL and int(other) not in seen and int(other) not in passed_over:
                seen.add(int(other))
                waiting.append(int(other))
    return seen


@pytest.fixture(scope="module")
def data():
    vectors = clustered(4_300, 48)
    return vectors[:4_000], vectors[4_000:4_100], vectors[4_100:]


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_the_graph_finds_the_nearest(data, oracle, metric):
    """Under every metric."""
    vectors, queries, _ = data
    assert recall(oracle, build(vectors, metric), metric, vectors, queries, params={"ef": 64}) > 0.97


@pytest.mark.parametrize("n", [1, 2, 3, 31, 33, 500])
def test_a_tiny_graph_is_whole(oracle, n):
    """From one vector on, each is its own nearest."""
    vectors = clustered(n, 12, seed=n)
    index = build(vectors)
    assert (index.search(vectors, 1, params={"ef": 64}).ids[:, 0] == np.arange(n)).all()
    assert recall(oracle, index, "l2", vectors, vectors, k=min(n, 10)) > 0.99


@pytest.mark.parametrize("dim", [1, 2, 3, 47, 48, 49, 112, 113, 200, 1100, 4096])
def test_any_dimension(oracle, dim):
    """Few, many, and those at which a code row grows by a line."""
    vectors, queries = np.split(clustered(920, dim, seed=dim), [900])
    assert recall(oracle, build(vectors), "l2", vectors, queries, params={"ef": 80}) > 0.95


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("dim", [300, 1100])
def test_codes_leave_out_what_hardly_varies(oracle, dim, metric):
    """Data near a plane of 40 dimensions has codes of one line, and is found all the same."""
    random = np.random.default_rng(dim)
    plane = random.normal(size=(40, dim)) / np.sqrt(40)
    vectors = (clustered(9_000, 40, seed=1) @ plane + 0.01 * random.normal(size=(9_000, dim))).astype(np.float32)
    vectors, queries = vectors[:8_900], vectors[8_900:]
    index = build(vectors, metric, ef_construction=60)
    assert index.nbytes()["codes"] == 64 * 8_900
    assert recall(oracle, index, metric, vectors, queries, params={"ef": 80}) > 0.95


@pytest.mark.parametrize(
    "shape",
    ["constant columns", "all equal", "far from the origin", "two far clusters", "lengths from 1 to 1000", "sparse"],
)
def test_data_that_is_hard_on_indexes(oracle, shape):
    """Nothing of it breaks the build, and the nearest are found."""
    random = np.random.default_rng(9)
    vectors = clustered(1_500, 32, seed=9)
    if shape == "constant columns":
        vectors[:, 3:30] = 5
    elif shape == "all equal":
        vectors[:] = vectors[0]
    elif shape == "far from the origin":
        vectors += 1000
    elif shape == "two far clusters":
        vectors[:700] += 500
    elif shape == "lengths from 1 to 1000":
        vectors *= np.geomspace(1, 1000, 1_500, dtype=np.float32)[:, None]
    else:
        vectors[random.random(vectors.shape) < 0.9] = 0
    index = build(vectors)
    assert recall(oracle, index, "l2", vectors, vectors[::15], params={"ef": 100}) > 0.95


def test_equal_vectors_share_a_node_and_all_come_back(oracle):
    """A thousand ids of one vector, among others: asked for more, all of them come, by id."""
    vectors = clustered(2_000, 24)
    vectors[500:1_500] = vectors[0]
    index = build(vectors)
    found = index.search(vectors[0], 1_001)
    assert found.ids[0].tolist() == [0, *range(500, 1_500)]
    assert not found.distances.any()
    assert recall(oracle, index, "l2", vectors, vectors[1_500::10], params={"ef": 64}) > 0.97
    index.delete([0])  # the first of them goes, the others stay
    assert index.search(vectors[0], 3).ids[0].tolist() == [500, 501, 502]
    index.insert(vectors[:1], [0])
    assert index.search(vectors[0], 3).ids[0].tolist() == [0, 500, 501]
    index.delete(np.arange(500, 1_200))
    index.maintain()
    assert index.search(vectors[0], 1_000).ids[0, :301].tolist() == [0, *range(1_200, 1_500)]
    assert recall(oracle, index, "l2", vectors[1_500:], vectors[1_500::10], ids=np.arange(1_500, 2_000), k=1) == 1
    index.delete([0, *range(1_200, 1_500)])  # now the node itself goes
    assert index.search(vectors[0], 1).distances[0, 0] > 0


@pytest.mark.parametrize("threads", [2, 3])
def test_the_graph_is_the_same_for_any_number_of_threads(data, threads):
    """Link by link; and another seed gives another graph."""
    vectors, _, more = data
    one, many = build(vectors), build(vectors, threads=threads)
    np.testing.assert_array_equal(one._body.rows.links, many._body.rows.links)
    one.insert(more, np.arange(5_000, 5_200))
    many.insert(more, np.arange(5_000, 5_200))
    np.testing.assert_array_equal(one._body.rows.links, many._body.rows.links)
    assert (build(vectors, seed=1)._body.rows.links != one._body.rows.links[: len(vectors)]).any()


@pytest.mark.parametrize("shape", ["clusters", "islands", "a line"])
def test_every_node_is_reached_from_the_root(shape):
    """Also where clusters lie far apart, and pruning would part them."""
    vectors = clustered(2_500, 16, seed=4)
    if shape == "islands":
        vectors = clustered(2_500, 16, seed=4, clusters=50, spread=1e-3) * 100
    elif shape == "a line":
        vectors = np.zeros((2_500, 16), dtype=np.float32)
        vectors[:, 0] = np.arange(2_500) ** 1.5
    index = build(vectors, R=8)
    nodes = np.flatnonzero(index._body.rows.links[:, 0] != NIL)
    assert len(nodes) == 2_500
    assert set(nodes.tolist()) <= reachable(index)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_a_node_leads_to_its_true_neighbour(metric):
    """Where all are compared with all, the nearest of all by codes is never missed, and never pruned."""
    vectors = clustered(3_001, 40, seed=6) * np.geomspace(1, 2, 3_001, dtype=np.float32)[:, None]
    rows = build(vectors, metric, R=32, threads=2)._body.rows
    tail = rows.tails[:, -4:].astype(np.float64)
    decoded = np.hstack([(rows.codes[:, :40].astype(np.float64) - 128) * tail[:, :1], tail[:, 1:2]])
    gaps = (decoded**2).sum(axis=1) - 2 * decoded @ decoded.T
    np.fill_diagonal(gaps, np.inf)
    leads = [gaps[node].argmin() in rows.links[node] for node in range(len(vectors))]
    assert np.mean(leads) > 0.999  # two may be as near as rounding can tell


@pytest.mark.parametrize("lengths", ["a tenth are thrice as long", "lognormal"])
def test_the_largest_products_are_found_for_queries_from_elsewhere(oracle, lengths):
    """Lengths differ, and queries are of clusters of their own: what they look for are the longest."""
    random = np.random.default_rng(0)
    vectors = clustered(6_600, 48, clusters=40, spread=0.5)
    vectors *= (
        np.where(random.random(6_600) < 0.1, 3, 1)[:, None]
        if lengths[0] == "a"
        else np.exp(0.5 * random.normal(size=(6_600, 1)))
    )
    index = build(vectors.astype(np.float32), "ip")
    queries = clustered(200, 48, seed=1, clusters=40, spread=0.5)
    assert recall(oracle, index, "ip", vectors.astype(np.float32), queries, params={"ef": 100}) > 0.97


UNEVEN = ["gaussian, sigma 0.5", "gaussian, sigma 1.0", "clusters, sigma 1.0", "off the origin, sigma 0.1"]


def uneven(shape):
    """12,000 vectors of 64 dimensions whose lengths are lognormal, and 200 queries from elsewhere."""
    random = np.random.default_rng(0)
    if shape[0] in "go":
        vectors, queries = random.normal(size=(12_000, 64)), random.normal(size=(200, 64))
    else:
        vectors, queries = (clustered(n, 64, seed=seed, clusters=40, spread=0.5) for n, seed in ((12_000, 0), (200, 1)))
    vectors += 3 * (shape[0] == "o")
    lengths = np.exp(float(shape[-3:]) * random.normal(size=(12_000, 1)))
    return (vectors * lengths).astype(np.float32), queries.astype(np.float32)


@pytest.mark.parametrize("shape", UNEVEN)
def test_the_largest_products_are_found_as_well_as_by_hnsw(oracle, shape):
    """At the same effort, where lengths differ much and few links would lead to the longest."""
    vectors, queries = uneven(shape)
    ids = np.arange(len(vectors))
    index = build(vectors, "ip")
    rival = index_class("hnsw").build(vectors, ids, metric="ip", params={"M": 16}, seed=0)
    for ef in (48, 100):
        theirs = oracle.recall("ip", rival.search(queries, 10, params={"ef": ef}), queries, vectors, ids, 10)
        assert recall(oracle, index, "ip", vectors, queries, params={"ef": ef}) > theirs - 0.01


@pytest.mark.parametrize("shape", UNEVEN)
def test_the_largest_products_are_found_among_what_came_later(oracle, shape):
    """Where the index is maintained when it asks for it: within a point of a whole build."""
    vectors, queries = uneven(shape)
    whole = recall(oracle, build(vectors, "ip"), "ip", vectors, queries, params={"ef": 100})
    grown = build(vectors[:9_000], "ip")
    for start in range(9_000, 12_000, 250):
        ids = np.arange(start, start + 250)
        grown.insert(vectors[ids], ids)
        if grown.needs_maintenance():
            grown.maintain()
    assert recall(oracle, grown, "ip", vectors, queries, params={"ef": 100}) > whole - 0.01


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_recall_is_the_same_where_only_some_are_compared_all_with_all(data, oracle, monkeypatch, share):
    """None, fewer than the spiral has leaves, or half of them: the rest is linked by searching, and all is found."""
    vectors, queries, _ = data
    whole = recall(oracle, build(vectors), "l2", vectors, queries, params={"ef": 24})
    width = build(vectors)._body.rows.codes.shape[1]
    monkeypatch.setattr(_graph, "_TOGETHER_BYTES", int(share * len(vectors) * width))
    index = build(vectors)
    assert recall(oracle, index, "l2", vectors, queries, params={"ef": 24}) > whole - 0.01
    assert reachable(index) >= set(range(len(vectors)))
    assert (index._body.rows.links == build(vectors, threads=2)._body.rows.links).all()


def test_what_is_inserted_later_is_found_as_well(data, oracle):
    """Half built, half inserted in portions: recall as of a whole build, within a point."""
    vectors, queries, _ = data
    grown = build(vectors[:2_000])
    for start in range(2_000, 4_000, 137):
        ids = np.arange(start, min(4_000, start + 137))
        grown.insert(vectors[ids], ids)
    whole = recall(oracle, build(vectors), "l2", vectors, queries, params={"ef": 24})
    assert recall(oracle, grown, "l2", vectors, queries, params={"ef": 24}) > whole - 0.01


def test_a_scanned_collection_becomes_a_graph_when_it_grows(oracle):
    """At `scan_below` rows, and the answers stay right on both sides."""
    vectors = clustered(1_200, 32)
    index = build(vectors[:900], scan_below=1_000)
    assert index._body.spiral is None
    assert recall(oracle, index, "l2", vectors[:900], vectors[::40]) > 0.99
    index.insert(vectors[900:], np.arange(900, 1_200))
    assert index._body.spiral is not None
    assert recall(oracle, index, "l2", vectors, vectors[::40], params={"ef": 64}) > 0.97


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_the_vectors_themselves_may_be_walked_on(data, oracle, metric):
    """Without codes: the same graph in its plain form, updates and all."""
    vectors, queries, more = data
    index = build(vectors, metric, codes="fp32")
    assert index.nbytes()["codes"] == 64 * len(vectors)
    index.insert(more, np.arange(len(vectors), len(vectors) + len(more)))
    everything = np.concatenate([vectors, more])
    assert recall(oracle, index, metric, everything, queries, params={"ef": 64}) > 0.97


@pytest.mark.parametrize(("share", "walked"), [(0.5, True), (0.1, True), (0.5, False), (0.1, False), (0.01, False)])
@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_a_filter_keeps_recall(data, oracle, monkeypatch, metric, share, walked):
    """At 50, 10 and 1 % of the ids, at the default effort: in the graph, and where the index may choose to scan."""
    if not walked:
        monkeypatch.setattr(spiral_index, "_SCAN_SHARE", SCAN_SHARE)
    vectors, queries, _ = data
    random = np.random.default_rng(5)
    ids = np.sort(random.permutation(len(vectors))[: int(share * len(vectors))])
    index = build(vectors, metric)
    assert recall(oracle, index, metric, vectors[ids], queries, ids=ids, filter=IdFilter(ids)) > 0.95


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_recall_stays_while_ids_are_deleted(data, oracle, share):
    """Tombstones cost effort, not recall; `maintain` drops them, and every answer is a live one throughout."""
    vectors, queries, _ = data
    random = np.random.default_rng(6)
    order = random.permutation(len(vectors))
    gone, kept = np.split(order, [int(share * len(vectors))])
    kept = np.sort(kept)
    index = build(vectors)
    index.delete(gone)
    assert index.needs_maintenance()
    assert recall(oracle, index, "l2", vectors[kept], queries, ids=kept, params={"ef": 48}) > 0.95
    before = sum(index.nbytes().values())
    index.maintain()
    assert not index.needs_maintenance()
    assert sum(index.nbytes().values()) < before
    assert recall(oracle, index, "l2", vectors[kept], queries, ids=kept, params={"ef": 48}) > 0.95


@pytest.mark.parametrize("codes", ["sq8", "fp32"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_a_deleted_node_is_taken_out_of_the_ways(data, metric, codes):
    """What led to it leads elsewhere, searches begin at a neighbour instead, and every live node is reached."""
    vectors, queries, _ = data
    index = build(vectors, metric, codes=codes, R=32, ef_construction=160)
    body = index._body
    gone = np.unique([body.spiral.root[0], *body.spiral.leaves[:20], *range(0, 4_000, 13)])
    links = body.rows.links
    ways_in = np.isin(links, gone).sum()
    index.search(queries, 10)
    before = index.counters()["distances"]
    index.delete(gone)
    assert index._body is body  # in place
    live = np.setdiff1d(np.arange(4_000), gone)
    assert np.isin(links[live], gone).sum() < 0.2 * ways_in
    assert not np.isin(body.spiral.leaves, gone).any()
    assert not np.isin(body.spiral.root, gone).any()
    assert set(live.tolist()) <= reachable(index)
    index.search(queries, 10)
    assert index.counters()["distances"] - before < 1.1 * before


@pytest.mark.parametrize("mmap", [False, True])
def test_repairs_are_saved(data, tmp_path, oracle, mmap):
    """What was deleted and repaired is so after loading, and the index goes on from there."""
    vectors, queries, more = data
    index = build(vectors)
    index.delete(np.arange(0, 400))
    index.save(tmp_path / "saved")
    again = index_class("spiral").load(tmp_path / "saved", mmap=mmap)
    assert again._detached == index._detached > 300
    np.testing.assert_array_equal(again.search(queries, 10).ids, index.search(queries, 10).ids)
    again.delete(np.arange(400, 700))
    again.insert(more, np.arange(5_000, 5_200))
    again.maintain()
    everything, ids = np.concatenate([vectors[700:], more]), np.array([*range(700, 4_000), *range(5_000, 5_200)])
    assert recall(oracle, again, "l2", everything, queries, ids=ids, params={"ef": 64}) > 0.97


@pytest.mark.parametrize("order", ["at random", "oldest first"])
def test_recall_stays_while_the_corpus_turns_over(oracle, order):
    """Ten times over, a twentieth at a time, recall at a fixed effort is as of a new build, within a point."""
    count, times = 2_400, 10
    vectors = clustered(count * (times + 1), 40, seed=12, clusters=60)
    if order == "oldest first":  # topics come and go
        vectors = vectors[np.argsort(vectors[:, 0] + 0.5 * np.random.default_rng(1).normal(size=len(vectors)))]
    random = np.random.default_rng(13)
    live = np.arange(count)
    index = build(vectors[live], R=16, ef_construction=80)
    step = count // 20
    for start in range(count, len(vectors), step):
        out = random.permutation(count)[:step] if order == "at random" else np.arange(step)
        index.delete(live[out])
        fresh = np.arange(start, start + step)
        index.insert(vectors[fresh], fresh)
        live = np.concatenate([np.delete(live, out), fresh])
        if index.needs_maintenance():
            index.maintain()
    queries = clustered(300, 40, seed=12, clusters=60) if order == "at random" else vectors[live[::8]] + np.float32(0.1)
    new = build(vectors[live], ids=live, R=16, ef_construction=80)
    for ef in (16, 48):
        turned, fresh = (
            recall(oracle, one, "l2", vectors[live], queries, ids=live, params={"ef": ef}) for one in (index, new)
        )
        assert turned > fresh - 0.01
    cost = []
    for one in (index, new):
        before = one.counters()["distances"]
        one.search(queries, 10, params={"ef": 48})
        cost.append(one.counters()["distances"] - before)
    assert cost[0] < 1.1 * cost[1]


def test_all_may_go_and_others_come(oracle):
    """One by one or at once, to the last one; and what comes after is found."""
    vectors = clustered(900, 16, seed=3)
    for step in (1, 45, 450):
        index = build(vectors[:450])
        for start in range(0, 450, step):
            index.delete(np.arange(start, start + step))
            if start % 2:
                index.insert(vectors[start : start + 1], [10_000 + start])
                index.delete([10_000 + start])
        assert len(index) == 0
        assert (index.search(vectors[:3], 2).ids == -1).all()
        index.insert(vectors[450:], np.arange(450, 900))
        found = recall(oracle, index, "l2", vectors[450:], vectors[450::9], ids=np.arange(450, 900), params={"ef": 60})
        assert found > 0.95
        index.maintain()
        found = recall(oracle, index, "l2", vectors[450:], vectors[450::9], ids=np.arange(450, 900), params={"ef": 60})
        assert found > 0.97


def test_codes_are_fitted_anew_when_the_collection_has_grown(oracle):
    """Built on ten vectors, grown to thousands: with the graph, and again when maintenance is asked for."""
    vectors = clustered(3_000, 300, seed=8)
    index = build(vectors[:10], scan_below=500)
    index.insert(vectors[10:900], np.arange(10, 900))
    assert index._body.fitted_on == 900
    assert not index.needs_maintenance()
    index.insert(vectors[900:], np.arange(900, 3_000))
    assert index.needs_maintenance()
    links = index._body.rows.links[:3_000].copy()
    index.maintain()
    assert not index.needs_maintenance()
    assert index._body.fitted_on == 3_000
    assert (index._body.rows.links == links).mean() > 0.99  # the graph was kept
    assert recall(oracle, index, "l2", vectors, vectors[::100], params={"ef": 64}) > 0.97


def test_counters_count():
    """Distances, hops and vectors compared grow with the effort."""
    vectors = clustered(6_000, 32)
    index = build(vectors)
    index.search(vectors[:10], 10, params={"ef": 10})
    little = index.counters()
    index.search(vectors[:10], 10, params={"ef": 100})
    assert all(0 < little[name] < index.counters()[name] - little[name] for name in ("distances", "hops", "reranked"))


def test_more_reranking_never_lowers_recall(data, oracle):
    """At a fixed effort."""
    vectors, queries, _ = data
    index = build(vectors, code_bytes=64)
    found = [
        recall(oracle, index, "l2", vectors, queries, params={"ef": 100, "rerank": rerank}) for rerank in (10, 30, 100)
    ]
    assert found == sorted(found)


def test_everything_is_compiled_once(data, tmp_path):
    """Before the first build; metrics, codes, threads, filters, updates and read-only arrays need nothing else."""
    vectors, queries, more = data
    build(vectors[:300])
    kinds = [one for name, one in vars(kernels).items() if name[0] != "_" and hasattr(one, "signatures")]
    assert kernels.detach in kinds
    before = [len(kind.signatures) for kind in kinds]
    assert set(before) == {1}
    np.save(tmp_path / "vectors.npy", vectors[:1_000])
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    frozen = queries.copy()
    frozen.flags.writeable = False
    for metric, codes in (("l2", "sq8"), ("cosine", "fp32"), ("ip", "sq8")):
        index = build(mapped, metric, codes=codes, threads=2)
        index.insert(more, np.arange(2_000, 2_200))
        index.delete([5, 2_001])
        index.replace(more[:4], [7, 8, 2_002, 2_003])
        index.search(frozen, 10)
        index.search(mapped[:3], 10, filter=IdFilter(np.arange(40)))
        index.save(tmp_path / metric)
        index_class("spiral").load(tmp_path / metric).search(frozen, 10)
        index.delete(np.arange(10, 400))
        index.maintain()
    assert [len(kind.signatures) for kind in kinds] == before


def test_codes_are_whole_cache_lines(data):
    """Another number of bytes is refused before any work."""
    with pytest.raises(InvalidInput, match="code_bytes is 70, expected 0 or a multiple of 64"):
        build(data[0], code_bytes=70)


@pytest.fixture
def often():
    """Threads take turns after microseconds instead of milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


STABLE = 20
"""Rows that are neither deleted nor replaced while others are."""


@pytest.mark.parametrize("share", [0.0, SCAN_SHARE])
@pytest.mark.parametrize(
    ("metric", "start", "scan_below"),
    [
        ("l2", 1_500, 1_000),
        ("ip", 1_500, 1_000),
        ("l2", 30, 0),
        ("l2", 900, 1_000),
    ],  # the last becomes a graph meanwhile
)
def test_readers_beside_a_writer_see_nothing_torn(metric, start, scan_below, share, often, monkeypatch):
    """While one thread inserts, deletes, replaces and maintains, others search: every answer is whole.

    Sorted, no id twice, none that was deleted before the search began, each at the distance of a vector that it had;
    as many as were asked for, and what nobody touched is among them.
    """
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", share)
    random = np.random.default_rng(11)
    pool = clustered(6_000, 24, seed=11)
    history = {row: [pool[row]] for row in range(start)}
    deleted = set()
    index = build(pool[:start], metric, scan_below=scan_below, R=12, ef_construction=40)
    queries = np.concatenate([pool[:STABLE], pool[STABLE::300]])
    filters = [None, IdFilter(np.arange(0, 6_000, 3)), IdFilter(np.arange(1_500, 6_000, 9))]
    stop, wrong, answered, missed = threading.Event(), [], [0, 0], [0, 0]

    def read(number):
        try:
            while not stop.is_set():
                some = filters[answered[number] % 3]
                before = frozenset(deleted)
                found = index.search(queries, 8, params={"ef": 20}, filter=some)
                for query, ids, distances in zip(queries, found.ids, found.distances, strict=True):
                    kept = ids[ids >= 0]
                    assert some is not None or kept.size == 8
                    assert len(set(kept.tolist())) == len(kept)
                    assert not before & set(kept.tolist())
                    assert (distances[1:] >= distances[:-1]).all()
                    for label, distance in zip(kept.tolist(), distances.tolist(), strict=False):
                        assert some is None or label in some
                        had = np.stack(history[label])
                        true = ((had - query) ** 2).sum(axis=1) if metric == "l2" else -(had @ query)
                        assert np.abs(true - distance).min() <= 1e-3
                if metric == "l2" and some is None:
                    missed[number] += int((found.ids[:STABLE, 0] != np.arange(STABLE)).sum())
                answered[number] += 1
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test's own thread shall tell
            wrong.append(error)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    live, coming = list(range(STABLE, start)), start
    for _ in range(60):
        fresh = np.arange(coming, coming + 60)
        coming += 60
        for label in fresh.tolist():
            history[label] = [pool[label]]
        index.insert(pool[fresh], fresh)
        live += fresh.tolist()
        gone = random.choice(live, size=40, replace=False)
        index.delete(gone)
        deleted.update(gone.tolist())
        live = sorted(set(live) - set(gone.tolist()))
        changed = random.choice(live, size=15, replace=False)
        others = pool[random.integers(STABLE, 6_000, size=15)]
        for label, vector in zip(changed.tolist(), others, strict=True):
            history[label] = [*history[label], vector]
        index.replace(others, changed)
        if index.needs_maintenance():
            index.maintain()
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong[0]
    assert min(answered) > 5
    assert sum(missed) <= 0.02 * STABLE * sum(answered) / 3
    live = [*range(STABLE), *live]
    assert len(index) == len(live)
    now = np.stack([history[label][-1] for label in live])
    found = index.search(now[::50], 1, params={"ef": 60})
    if metric == "l2":
        assert (found.distances < 1e-3).mean() > 0.95
    everybody = IdFilter(np.array(live))
    for some in (None, everybody, filters[1]):  # nothing stale was kept
        admitted = [label for label in live if some is None or label in some]
        found = index.search(queries[:1], len(live), filter=some)
        assert sorted(found.ids[0, : len(admitted)].tolist()) == admitted


def test_an_id_that_is_replaced_is_found_at_every_moment(often):
    """By its old vector or by its new one, which are near each other here: always, and never twice."""
    vectors = clustered(3_000, 24, seed=3)
    index = build(vectors, R=16, ef_construction=60)
    asked = np.arange(0, 3_000, 30)
    stop, wrong, answered = threading.Event(), [], [0, 0]

    def read(number):
        try:
            while not stop.is_set():
                found = index.search(vectors[asked], 4, params={"ef": 40}).ids
                assert (found[:, 0] == asked).all()
                assert all(len(set(row)) == 4 for row in found.tolist())
                answered[number] += 1
        except Exception as error:  # noqa: BLE001
            wrong.append(error)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    random = np.random.default_rng(1)
    for _ in range(25):
        near = vectors[asked] + np.float32(1e-3) * random.normal(size=(asked.size, 24)).astype(np.float32)
        index.replace(near, asked)
        if index.needs_maintenance():
            index.maintain()
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong[0]
    assert min(answered) > 5


def door(helper):
    """A helper of the kernels that Python can call; numba has no ``*args`` that would write it in one line."""
    names = ", ".join(inspect.signature(helper.py_func).parameters)
    return numba.njit(eval(f"lambda {names}: helper({names})", {"helper": helper}))


@pytest.mark.parametrize("seed", [3, 9])
@pytest.mark.filterwarnings("ignore::numba.NumbaTypeSafetyWarning")
def test_what_replaced_ids_lead_to_is_found_while_they_are_taken_out_of_the_graph(seed, monkeypatch):
    """Whenever a row of links has changed: some ways laid around one of a batch, the rest not yet. Seeds stay seeds.

    With this data, an id lies so far out that little leads there but the former row of another, which goes before.
    """
    vectors = clustered(3_000, 24, seed=seed)
    index = build(vectors, R=16, ef_construction=60)
    asked = np.arange(0, 3_000, 30)
    looked = []

    def look():
        found = index.search(vectors[asked], 4, params={"ef": 40}).ids
        looked.append(asked[found[:, 0] != asked].tolist())

    helpers = ("_key_node", "_is_live", "_stays", "_leads", "_around", "_nearest_of", "_link_to")
    doors = {name: door(getattr(kernels, name)) for name in helpers}
    for name in helpers:
        monkeypatch.setattr(kernels, name, doors[name])
    monkeypatch.setattr(kernels, "_link_to", lambda *given: (doors["_link_to"](*given), look()))
    monkeypatch.setattr(kernels, "detach", kernels.detach.py_func)
    monkeypatch.setattr(_body, "_CLOSED_AT_ONCE", 40)
    close = SpiralGraph._while_none_searches
    monkeypatch.setattr(SpiralGraph, "_while_none_searches", lambda self, change: (close(self, change), look()))
    random = np.random.default_rng(1)
    for _ in range(2):
        near = vectors[asked] + np.float32(1e-3) * random.normal(size=(asked.size, 24)).astype(np.float32)
        index.replace(near, asked)
    assert len(looked) > 2 * 30 * asked.size
    assert not any(looked)


def test_rows_are_closed_with_all_searches_begun_anew(monkeypatch):
    """One that has passed the links to a row before they were laid elsewhere must not find it closed as well."""
    vectors = clustered(2_000, 24)
    index = build(vectors, R=16)
    gone = np.unique(np.concatenate([index._body.spiral.root, index._body.spiral.leaves[:5]])).astype(np.int64)
    apart, open_ = SpiralGraph._while_none_searches, []

    def seen():
        return index._counters[kernels.HANDOVERS] & 1, _body.detached_rows(index._body).size

    def watched(self, change):
        open_.append(seen())
        apart(self, lambda: (open_.append(seen()), change(), open_.append(seen())))
        open_.append(seen())

    monkeypatch.setattr(SpiralGraph, "_while_none_searches", watched)
    index.replace(vectors[gone] + np.float32(1e-3), gone)
    handed_over = [(0, 0), (1, 0), (1, 0), (0, 0)]
    assert open_ == [*handed_over, (0, 0), (1, 0), (1, gone.size), (0, gone.size)]
    index.delete(np.arange(100, 140))
    assert len(open_) == 8  # who only deletes holds up nobody
    assert _body.detached_rows(index._body).size > gone.size
    seeds = set(index._body.spiral.leaves.tolist()) | set(index._body.spiral.root.tolist())
    assert not seeds & set(gone.tolist())
    assert (index._body.rows.labels[gone] == -1).all()


@pytest.mark.parametrize("verb", ["insert", "delete", "replace and delete"])
def test_of_two_writers_with_one_id_the_second_is_refused(monkeypatch, verb):
    """Both have looked whether the id is there before either takes its turn."""
    vectors = clustered(400, 16)
    index = build(vectors)
    both, failed, contains = threading.Barrier(2), [], type(index)._contains

    def looked(self, ids):
        answer = contains(self, ids)
        if threading.current_thread() is not threading.main_thread() and not self._changing.locked():
            both.wait(10)
        return answer

    monkeypatch.setattr(type(index), "_contains", looked)
    acts = {
        "insert": [lambda: index.insert(vectors[:1], [900])] * 2,
        "delete": [lambda: index.delete([7])] * 2,
        "replace and delete": [lambda: index.replace(vectors[:1], [7]), lambda: index.delete([7])],
    }[verb]

    def act(one):
        try:
            one()
        except InvalidInput as error:
            failed.append(str(error))

    threads = [threading.Thread(target=act, args=(one,)) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(type(index), "_contains", contains)
    expected = set(range(400)) ^ ({900} if verb == "insert" else {7})
    if verb == "replace and delete":
        assert len(failed) <= 1  # it was replaced and then deleted, or could not be replaced any more
    else:
        assert len(failed) == 1
    assert len(index) == len(expected)
    found = index.search(vectors[:1], 401, params={"ef": 500}).ids[0]
    assert set(found[found >= 0].tolist()) == expected


@pytest.mark.parametrize("degree", [8, 12, 48])
def test_links_lead_to_every_row_after_any_change(degree):
    """After a build, growth to twice the size, and a turnover of all rows, by large calls."""
    random = np.random.default_rng(5)
    vectors = clustered(24_000, 32, seed=5)
    index = build(vectors[:4_000], R=degree, ef_construction=60)

    def all_reached():
        body = index._body
        linked = set(np.flatnonzero(body.rows.links[: body.labels.rows, 0] != NIL).tolist())
        detached = set(_body.detached_rows(body).tolist())
        assert linked - detached <= reachable(index, passed_over=detached)

    all_reached()
    live = list(range(4_000))
    for coming in range(4_000, 24_000, 1_000):
        fresh = np.arange(coming, coming + 1_000)
        index.insert(vectors[fresh], fresh)
        live += fresh.tolist()
        if len(live) > 8_000:
            gone = random.choice(live, size=800, replace=False)
            index.delete(gone)
            live = sorted(set(live) - set(gone.tolist()))
            all_reached()
        if index.needs_maintenance():
            index.maintain()
            all_reached()
    all_reached()


def test_a_former_body_is_given_up_with_the_last_search_in_it():
    """Its rows are not kept for searches to come."""
    vectors = clustered(2_000, 16)
    index = build(vectors)
    index.search(vectors[:5], 3)
    former = weakref.ref(index._body.rows.codes)
    index.delete(np.arange(0, 2_000, 3))
    index.maintain()
    gc.collect()
    assert former() is None


def test_an_interrupt_after_the_exchange_leaves_the_replacement_done(monkeypatch):
    """What is left undone then is upkeep."""
    vectors = clustered(1_500, 16)
    index = build(vectors)
    detach = spiral_index.detach_rows

    def interrupted(*given):
        detach(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(spiral_index, "detach_rows", interrupted)
    others = clustered(50, 16, seed=9)
    with pytest.raises(KeyboardInterrupt):
        index.replace(others, np.arange(50))
    monkeypatch.undo()
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", 0.0)
    assert len(index) == 1_500
    assert (index.search(others, 1, params={"ef": 64}).ids[:, 0] == np.arange(50)).all()
    assert index._detached == _body.detached_rows(index._body).size > 0


def test_an_interrupt_before_rows_are_closed_leaves_an_index_that_can_be_saved(monkeypatch, tmp_path):
    vectors = clustered(1_500, 16)
    index = build(vectors)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_body, "_close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.delete(np.arange(50))
    monkeypatch.undo()
    monkeypatch.setattr(spiral_index, "_SCAN_SHARE", 0.0)
    assert index._detached == _body.detached_rows(index._body).size == 0
    index.save(tmp_path / "saved")
    for one in (index, SpiralGraph.load(tmp_path / "saved")):
        found = one.search(vectors, 1, params={"ef": 64}).ids[:, 0]
        assert not np.isin(found, np.arange(50)).any()
        assert (found[50:] == np.arange(50, 1_500)).mean() > 0.99


@pytest.mark.parametrize("times", [1.3, 4.0])
def test_longer_vectors_may_come_later(oracle, times):
    """Under the inner product they answer most queries: found while they are somewhat longer than all before.

    It asks for maintenance, and where they are far longer, finds them after that.
    """
    random = np.random.default_rng(3)
    centres = random.normal(size=(40, 32))

    def some(count):
        return (centres[random.integers(40, size=count)] + 0.5 * random.normal(size=(count, 32))).astype(np.float32)

    vectors = np.concatenate([some(3_000), np.float32(times) * some(300), some(1_000)])
    queries = some(200)
    index = build(vectors[:3_000], "ip")
    index.insert(vectors[3_000:3_300], np.arange(3_000, 3_300))
    index.insert(vectors[3_300:], np.arange(3_300, 4_300))
    assert index.needs_maintenance()
    if times > 2:
        index.maintain()
        assert not index.needs_maintenance()
    assert recall(oracle, index, "ip", vectors, queries, params={"ef": 48}) > 0.98


@pytest.mark.parametrize("start", [1, 10, 42, 300])
@pytest.mark.parametrize("codes", ["sq8", "fp32"])
def test_every_row_that_may_be_linked_has_a_label(start, codes):
    """In each body, however it grew: a walk looks up the label of whatever it meets, and does not ask for bounds."""
    vectors = clustered(700, 16, seed=1)
    index = build(vectors[:start], codes=codes)
    bodies = [index._body]
    for stop in (start + 1, start + 17, start + 60, 700):
        ids = np.arange(len(index), stop)
        index.insert(vectors[ids], ids)
        bodies.append(index._body)
    assert len({id(body.rows.links) for body in bodies}) > 1
    for body in bodies:
        assert body.rows.labels.size == body.rows.links.shape[0]
    assert bodies[-1].rows.labels is bodies[-1].labels.array


@pytest.mark.parametrize("codes", ["sq8", "fp32"])
def test_a_search_begins_at_rows_of_its_own_body(codes):
    """Where a seed is deleted, a row that came later may take its place, which a former body has no room for."""
    vectors = clustered(700, 16, seed=1)
    index = build(vectors[:40], codes=codes)
    bodies = [index._body]
    for start in range(40, 700, 60):
        index.insert(vectors[start : start + 60], np.arange(start, min(start + 60, 700)))
        for gone in np.unique(np.concatenate([index._body.spiral.leaves, index._body.spiral.root])):
            index.delete([int(gone)])
        bodies.append(index._body)
    assert len({id(body.rows.links) for body in bodies}) > 3
    for body in bodies:
        assert max(body.spiral.leaves.max(), body.spiral.root[0]) < body.rows.links.shape[0]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, StorageError])
@pytest.mark.parametrize("where", ["with_room", "write_rows", "link_rows", "_built_of"])
def test_an_insert_that_fails_leaves_what_was_there(oracle, monkeypatch, where, error):
    """Whichever step it was and however far it came; the same insert works when it is given again."""
    vectors = clustered(1_200, 24, seed=2)
    grows = where == "_built_of"
    index = build(vectors[:900], scan_below=1_000 if grows else 0)
    before = index.search(vectors[::50], 5)
    step = getattr(spiral_index, where)

    def fails(*given, **named):
        step(*given, **named)
        raise error("no more")

    monkeypatch.setattr(spiral_index, where, fails)
    for _ in range(2):
        with pytest.raises(error, match="no more"):
            index.insert(vectors[900:], np.arange(900, 1_200))
        assert len(index) == 900
    after = index.search(vectors[::50], 5)
    np.testing.assert_array_equal(before.ids, after.ids)
    gone = np.arange(0, 900, 50)
    index.delete(gone)
    assert not np.isin(index.search(vectors[gone], 5).ids, gone).any()
    monkeypatch.setattr(spiral_index, where, step)
    index.insert(vectors[900:], np.arange(900, 1_200))
    index.insert(vectors[gone], gone)
    assert recall(oracle, index, "l2", vectors, vectors[::20], params={"ef": 64}) > 0.97


@pytest.mark.parametrize("filtered", [False, True])
def test_a_scan_meets_no_row_that_came_after_its_body(filtered):
    """A reader that took the index just before an insert moved its rows: of the new ones it has nothing but zeros."""
    vectors = np.random.default_rng(0).normal(size=(200, 24)).astype(np.float32)
    index, alone = (build(vectors[:100], scan_below=10_000) for _ in range(2))
    former = index._body
    index.insert(vectors[100:], np.arange(100, 200))
    assert index._body.rows.labels is not former.rows.labels
    index._body = former
    wanted = IdFilter(np.arange(0, 200, 2)) if filtered else None
    found, expected = (one.search(vectors[100:], 5, filter=wanted) for one in (index, alone))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize(
    ("where", "scan_below"),
    [("with_room", 0), ("write_rows", 0), ("link_rows", 0), ("with_room", 10_000), ("write_rows", 10_000)],
)
def test_a_replacement_that_fails_leaves_the_former_vectors(monkeypatch, where, scan_below):
    """Under their ids, and they are found."""
    vectors = clustered(900, 24, seed=2)
    index = build(vectors, scan_below=scan_below)
    step = getattr(spiral_index, where)

    def fails(*given, **named):
        step(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(spiral_index, where, fails)
    ids = np.arange(0, 900, 9)
    others = clustered(100, 24, seed=20)
    with pytest.raises(KeyboardInterrupt):
        index.replace(others, ids)
    monkeypatch.setattr(spiral_index, where, step)
    assert len(index) == 900
    assert (index.search(vectors, 1, params={"ef": 64}).ids[:, 0] == np.arange(900)).all()
    index.replace(others, ids)
    assert (index.search(others, 1, params={"ef": 64}).ids[:, 0] == ids).all()
    assert index.search(vectors[ids], 1, params={"ef": 64}).distances.min() > 0


def test_what_lies_far_from_all_others_is_reached():
    """None of its neighbours keeps a link to it of its own accord: each has nearer ones enough."""
    vectors = clustered(2_000, 16, seed=5, clusters=4, spread=0.05)
    index = build(vectors, R=8, ef_construction=40)
    far = vectors[:40] + np.float32(100) * np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    for row, vector in enumerate(far):
        index.insert(vector[None], [5_000 + row])
    assert set(range(2_000, 2_040)) <= reachable(index)
    assert (index.search(far, 1, params={"ef": 64}).ids[:, 0] == np.arange(5_000, 5_040)).all()


def test_an_emptied_index_needs_no_maintenance_for_ever():
    """`while index.needs_maintenance(): index.maintain()` comes to an end."""
    index = build(clustered(200, 8))
    index.delete(np.arange(200))
    assert index.needs_maintenance()
    index.maintain()
    assert not index.needs_maintenance()


def test_reranking_less_than_is_asked_for_does_not_scan(data):
    """As many vectors are compared as answers are wanted, at least."""
    vectors, queries, _ = data
    index = build(vectors)
    index.search(queries, 10, params={"rerank": 10})
    cost = index.counters()
    found = index.search(queries, 10, params={"rerank": 1})
    assert (found.ids >= 0).all()
    assert index.counters() == {name: 2 * count for name, count in cost.items()}


def test_vectors_of_equal_hashes_are_not_taken_for_equal(monkeypatch):
    """All have one hash here; equal ones share a node, the others have their own, and all come back."""
    monkeypatch.setattr(_body, "hash_rows", lambda vectors, out: out.fill(7))
    vectors = clustered(120, 8, seed=3)
    vectors[40:80], vectors[80:] = vectors[:40], vectors[:40]
    index = build(vectors[:100])
    index.insert(vectors[100:], np.arange(100, 120))
    found = index.search(vectors[:40], 3)
    assert found.ids.tolist() == [[row, row + 40, row + 80] for row in range(40)]
    assert np.count_nonzero(index._body.rows.links[:120, 0] != NIL) == 40


def test_vectors_too_far_apart_for_float32_are_refused():
    """Each is short enough, but from where the others are it is infinitely far; nothing of it is kept."""
    vectors = clustered(300, 16) * np.float32(1e16) + np.float32(4e18)
    index = build(vectors)
    with pytest.raises(InvalidInput, match="distances overflow float32; scale them down"):
        index.insert(-vectors[:1], [300])
    assert len(index) == 300
    assert index.search(vectors[7], 1).ids.tolist() == [[7]]


def test_it_may_be_saved_while_it_is_changed(data, tmp_path):
    """Each save is of one moment, and can be loaded."""
    vectors, _, _ = data
    index = build(vectors[:500], R=12, ef_construction=40)
    stop = threading.Event()

    def write():
        for row in range(500, 4_000):
            if stop.is_set():
                return
            index.insert(vectors[row : row + 1], [row])
            if row % 3 == 0:
                index.delete([row - 400])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            index.save(tmp_path / "saved")
            assert len(index_class("spiral").load(tmp_path / "saved")) > 400
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("links", lambda a: a.__setitem__((17, 0), 4_000), "its links lead to rows that do not exist"),
        ("twins", lambda a: a.__setitem__(3, 3), "its links lead to rows that do not exist"),
        ("children", lambda a: a.__setitem__((0, slice(None)), 0), "its spiral leads nowhere"),
        ("leaves", lambda a: a.__setitem__(0, 4_000), "its spiral leads nowhere"),
    ],
)
def test_a_saved_graph_that_leads_nowhere_is_refused(data, tmp_path, part, change, said):
    """Kernels do not look: what is loaded is checked, even where every checksum fits."""
    index = build(data[0])
    body = index._body
    change(getattr(body.rows, part, getattr(body.spiral, part, None)))
    index.save(tmp_path / "saved")
    with pytest.raises(CorruptResult, match=said):
        index_class("spiral").load(tmp_path / "saved")
